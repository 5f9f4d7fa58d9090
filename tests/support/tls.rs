//! TLS in front of any scripted upstream: it terminates with the certificate of `tests/fixtures/tls` and pumps both ways at once.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

/// A file of `tests/fixtures/tls`.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// Listens with TLS and passes what comes on to `plain`; gives the port's address. It lives as long as the test program.
pub fn before(plain: SocketAddr) -> SocketAddr {
    before_as("server", plain)
}

/// The same with another certificate of `tests/fixtures/tls`.
pub fn before_as(certificate: &str, plain: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let config = config(certificate);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || pump(socket, plain, config));
        }
    });
    address
}

/// Listens with TLS, and answers one request with `answer` and the end of the stream in one write. It then waits for the client's end, as
/// servers do that end TLS properly. It lives as long as the test program.
pub fn ending_with(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let Ok((mut socket, _)) = listener.accept() else { return };
        let mut tls = ServerConnection::new(config("server")).expect("a server");
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).expect("a handshake");
        }
        rustls::Stream::new(&mut tls, &mut socket).read_exact(&mut [0]).expect("a request");
        let mut bytes = Vec::new();
        tls.writer().write_all(answer.as_bytes()).expect("room");
        tls.send_close_notify();
        while tls.wants_write() {
            tls.write_tls(&mut bytes).expect("a vector takes all");
        }
        socket.write_all(&bytes).expect("the client takes bytes");
        // However it ends.
        drop(socket.read_to_end(&mut Vec::new()));
    });
    address
}

fn config(certificate: &str) -> Arc<ServerConfig> {
    let certificates = CertificateDer::pem_file_iter(fixture(&format!("{certificate}.pem"))).expect("the certificate").flatten().collect();
    let key = PrivateKeyDer::from_pem_file(fixture(&format!("{certificate}.key"))).expect("the key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("protocol versions");
    Arc::new(config.with_no_client_auth().with_single_cert(certificates, key).expect("a certificate and its key"))
}

/// The connection's state; held only for work in memory, and for writes, whose order it keeps.
struct Wire {
    tls: ServerConnection,
    socket: TcpStream,
}

impl Wire {
    fn flush(&mut self) -> std::io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

fn pump(socket: TcpStream, plain: SocketAddr, config: Arc<ServerConfig>) {
    let (Ok(tls), Ok(plain)) = (ServerConnection::new(config), TcpStream::connect(plain)) else { return };
    let (Ok(reading), Ok(plain_reading)) = (socket.try_clone(), plain.try_clone()) else { return };
    let wire = Arc::new(Mutex::new(Wire { tls, socket }));
    let other = Arc::clone(&wire);
    let back = std::thread::spawn(move || plain_to_tls(plain_reading, &other));
    // Errors here are connections that ended, which the test sees at its own end.
    drop(tls_to_plain(&reading, &plain, &wire));
    drop(plain.shutdown(Shutdown::Write));
    drop(back.join());
    drop(reading.shutdown(Shutdown::Both));
}

fn tls_to_plain(mut reading: &TcpStream, mut plain: &TcpStream, wire: &Mutex<Wire>) -> std::io::Result<()> {
    let mut cipher = vec![0; 16 * 1024];
    loop {
        let read = reading.read(&mut cipher)?;
        let mut clear = Vec::new();
        {
            let mut wire = wire.lock().expect("no holder panics");
            let mut rest = &cipher[..read];
            loop {
                wire.tls.read_tls(&mut rest)?;
                let state = wire.tls.process_new_packets().map_err(std::io::Error::other)?;
                let mut part = vec![0; state.plaintext_bytes_to_read()];
                wire.tls.reader().read_exact(&mut part)?;
                clear.extend(part);
                if rest.is_empty() {
                    break;
                }
            }
            wire.flush()?;
        }
        plain.write_all(&clear)?;
        if read == 0 {
            return Ok(());
        }
    }
}

fn plain_to_tls(mut plain: TcpStream, wire: &Mutex<Wire>) {
    let mut clear = vec![0; 16 * 1024];
    loop {
        let read = plain.read(&mut clear).unwrap_or(0);
        let mut wire = wire.lock().expect("no holder panics");
        if read == 0 {
            wire.tls.send_close_notify();
            drop(wire.flush());
            drop(wire.socket.shutdown(Shutdown::Write));
            return;
        }
        if wire.tls.writer().write_all(&clear[..read]).and_then(|()| wire.flush()).is_err() {
            return;
        }
    }
}
