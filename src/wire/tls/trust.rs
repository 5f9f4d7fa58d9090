//! Whom a TLS connection trusts: the roots, a private CA, or everybody. Certificates are read here, connections are not.

use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::duplex::{HandshakeError, TlsStream};
use crate::base::error::{Error, Result};

/// Where Debian, Ubuntu, Alpine and others keep the system's roots.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How upstreams are verified; made once, shared.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ca: Vec<CertificateDer<'static>>,
    insecure: bool,
    /// Made by the first connection; reading all roots takes milliseconds that a server without TLS need not spend.
    config: OnceLock<Arc<ClientConfig>>,
}

impl TlsSettings {
    /// The webpki roots, `SSL_CERT_FILE` and /etc/ssl/certs/ca-certificates.crt where present, and `ca`, a PEM file. What `SSL_CERT_FILE` and
    /// `ca` hold may also be the server's own certificate.
    /// `insecure` skips verification. Roots are loaded when first needed, `ca` is read now.
    ///
    /// # Errors
    /// `Error::File` where `ca` can't be read or holds no certificate; `Error::Failed` in a build without the feature `tls`, when TLS is used.
    pub fn new(ca: Option<&Path>, insecure: bool) -> Result<Self> {
        let ca = ca.map_or_else(|| Ok(Vec::new()), read_ca)?;
        Ok(Self { shared: Arc::new(Shared { ca, insecure, config: OnceLock::new() }) })
    }

    /// Makes a TLS connection of a TCP one, with `host` for SNI and verification (ALPN http/1.1), within `limit`.
    ///
    /// # Errors
    /// `Error::BadGateway` for what is not to be trusted, `Error::GatewayTimeout`.
    pub fn connect(&self, host: &str, tcp: TcpStream, limit: Duration) -> Result<TlsStream> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Error::BadGateway(format!("{host:?} is no host name that a certificate could be made for")))?;
        let config = self.config()?;
        let connection = ClientConnection::new(config, name).map_err(|error| Error::BadGateway(failed(host, &error)))?;
        TlsStream::handshake(connection.into(), tcp, limit).map_err(|error| match error {
            HandshakeError::Tls(error) => Error::BadGateway(explain(host, &error)),
            HandshakeError::TimedOut => {
                Error::GatewayTimeout(format!("{host} did not finish the TLS handshake within {} ms", limit.as_millis()))
            }
            HandshakeError::Ended => {
                Error::BadGateway(format!("{host} closed the connection during the TLS handshake; is this port one for https and wss?"))
            }
            HandshakeError::Io(error) => Error::BadGateway(failed(host, &error)),
        })
    }

    fn config(&self) -> Result<Arc<ClientConfig>> {
        if let Some(config) = self.shared.config.get() {
            return Ok(config.clone());
        }
        let made = Arc::new(self.shared.make_config()?);
        // Two first connections may both get here; then one of the two equal configs is kept.
        Ok(self.shared.config.get_or_init(|| made).clone())
    }
}

impl Shared {
    fn make_config(&self) -> Result<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Failed(format!("TLS cannot be set up: {error}")))?;
        let verifier: Arc<dyn ServerCertVerifier> =
            if self.insecure { Arc::new(TrustEverybody(provider)) } else { Arc::new(self.trust_given(provider)?) };
        let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn trust_given(&self, provider: Arc<CryptoProvider>) -> Result<TrustGiven> {
        let mut given = self.ca.clone();
        if let Some(file) = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty()) {
            match read_certificates(Path::new(&file)) {
                Ok(found) => given.extend(found),
                Err(message) => log::warn!("SSL_CERT_FILE is left out: {}: {message}", Path::new(&file).display()),
            }
        }
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Ok(found) = read_certificates(Path::new(SYSTEM_ROOTS)) {
            roots.add_parsable_certificates(found);
        }
        roots.add_parsable_certificates(given.iter().cloned());
        let by_roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let by_roots = by_roots.map_err(|error| Error::Failed(format!("TLS cannot be set up: {error}")))?;
        Ok(TrustGiven { by_roots, given })
    }
}

fn read_ca(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found = read_certificates(path).map_err(|message| Error::file(path, "", message))?;
    // What is no certificate inside its PEM armour would be found out by the first connection only.
    let (used, unused) = RootCertStore::empty().add_parsable_certificates(found.iter().cloned());
    if used == 0 {
        let message = if unused == 0 { "holds no certificate; it must be a PEM file" } else { "holds no certificate that can be read" };
        return Err(Error::file(path, "", message));
    }
    Ok(found)
}

fn read_certificates(path: &Path) -> std::result::Result<Vec<CertificateDer<'static>>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    CertificateDer::pem_slice_iter(&bytes).collect::<std::result::Result<_, _>>().map_err(|error| format!("is no PEM file: {error}"))
}

/// What is wrong with a certificate and what to do about it, in words.
fn explain(host: &str, error: &rustls::Error) -> String {
    use CertificateError as Wrong;
    const OF_NO_NAME: &str = "it names no host; make it with a subjectAltName";
    let rustls::Error::InvalidCertificate(wrong) = error else { return failed(host, error) };
    let (what, mend) = match wrong {
        Wrong::UnknownIssuer => ("its issuer is not known here".to_owned(), "give its CA with --upstream-ca FILE"),
        Wrong::Expired | Wrong::ExpiredContext { .. } => ("it has expired".to_owned(), "renew it"),
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => ("it is not valid yet".to_owned(), "set the clock right"),
        Wrong::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            (OF_NO_NAME.to_owned(), "`openssl req -x509` takes -addext subjectAltName=DNS:localhost")
        }
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => {
            ("it is for another name".to_owned(), "ask for a name that it has")
        }
        Wrong::Other(_) => ("it is that of a CA, or cannot be read".to_owned(), "give it with --upstream-ca FILE"),
        other => (other.to_string(), "give its CA with --upstream-ca FILE"),
    };
    format!("the certificate of {host} is not to be trusted: {what}; {mend}, or skip verification with --upstream-insecure")
}

fn failed(host: &str, error: &dyn std::fmt::Display) -> String {
    format!("TLS with {host} failed: {error}")
}

/// The verifier of all others: by the roots, and by the very certificate where the user gave it. The usual self-signed one, as
/// `openssl req -x509` makes it, says that it is a CA; by the roots alone such a one is nobody's own.
#[derive(Debug)]
struct TrustGiven {
    by_roots: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for TrustGiven {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let by_roots = self.by_roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match by_roots {
            // No way to a root, or one that a CA cannot go (which has no name of its own there). Both are found out only of a certificate
            // whose time is right; that it is for this name is not.
            Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_)))
                if self.given.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            by_roots => by_roots,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.by_roots.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.by_roots.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_roots.supported_verify_schemes()
    }
}

/// The verifier of `--upstream-insecure`: any certificate will do, for any name. Signatures of the handshake are not checked
/// either, so that certificates work that no library would read.
#[derive(Debug)]
struct TrustEverybody(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustEverybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
