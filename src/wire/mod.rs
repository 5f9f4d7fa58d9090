//! Floor 1: bytes to protocol and back: HTTP/1.1 heads and bodies, event streams, WebSocket frames, TLS, URLs.
//!
//! It relies on `base`, httparse, tungstenite's frame headers and rustls. Parsers here take bytes as they come, in any
//! split, and say what they found; they hold no policy, and what is recorded, mocked or forwarded never belongs here.

pub mod body;
pub mod handshake;
pub mod head;
pub mod headers;
pub mod sse;
pub mod stream;
pub mod tls;
pub mod url;
pub mod ws;
