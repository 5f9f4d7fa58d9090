//! TLS to upstreams, full duplex for two threads: whom to trust (`trust`), and the connection (`duplex`).
//! A build without the feature `tls` has the same names and says so when TLS is used (`absent`). Serving TLS never belongs here.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod duplex;
#[cfg(feature = "tls")]
mod trust;

#[cfg(not(feature = "tls"))]
pub use absent::{TlsSettings, TlsStream};
#[cfg(feature = "tls")]
pub use duplex::TlsStream;
#[cfg(feature = "tls")]
pub use trust::TlsSettings;
