//! TLS against a server of the test's own. (Tests of `trust.rs` and `duplex.rs`.)

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread::scope;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

use super::*;
use crate::base::arrivals::Arrivals;
use crate::base::time;
use crate::wire::stream::{Stream, Wait};

const SERVER: &[u8] = include_bytes!("../../../tests/fixtures/tls/server.pem");
const KEY: &[u8] = include_bytes!("../../../tests/fixtures/tls/server.key");
const LIMIT: Duration = Duration::from_secs(20);

fn ca_file() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls/ca.pem"))
}

fn trusting() -> TlsSettings {
    TlsSettings::new(Some(&ca_file()), false).expect("a CA")
}

fn server_config(versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(SERVER).collect::<std::result::Result<Vec<_>, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_protocol_versions(versions).expect("versions").with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).expect("a certificate");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A connection to `serve`, which gets the other end.
fn tcp_to(serve: impl FnOnce(TcpStream) + Send + 'static) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let socket = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    let (far, _) = listener.accept().expect("a connection");
    [&socket, &far].into_iter().for_each(|end| end.set_nodelay(true).expect("no delay"));
    std::thread::spawn(move || serve(far));
    socket
}

/// A server by rustls' own blocking stream: it sends back what it gets, up to the end.
fn echo(far: TcpStream, config: Arc<ServerConfig>) {
    let mut tls = rustls::StreamOwned::new(ServerConnection::new(config).expect("a server"), far);
    let mut buffer = [0; 1000];
    while let Ok(length) = tls.read(&mut buffer) {
        if length == 0 || tls.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    tls.conn.send_close_notify();
    drop(tls.flush());
}

/// Both ends of one TLS connection.
fn pair() -> (Stream, Stream) {
    let (to_test, from_server) = std::sync::mpsc::channel();
    let socket = tcp_to(move |far| {
        let connection = ServerConnection::new(server_config(rustls::ALL_VERSIONS)).expect("a server");
        let stream = TlsStream::handshake(connection.into(), far, LIMIT).expect("a handshake");
        to_test.send(stream).expect("the test waits");
    });
    let near = trusting().connect("localhost", socket, LIMIT).expect("trusted");
    (Stream::Tls(Box::new(near)), Stream::Tls(Box::new(from_server.recv().expect("a connection"))))
}

#[test]
fn plaintext_has_the_time_at_which_its_ciphertext_came() {
    let (near, far) = pair();
    let mut arrivals = near.note_arrivals();
    let mut buffer = [0; 3];
    let mut read = || {
        let read = near.read_noted(&mut buffer, &mut arrivals).expect("sound TLS");
        (read, arrivals.wall_us())
    };
    // The system begins to note a moment after it was asked.
    loop {
        far.write_all(b"x", Wait::Endless).expect("room");
        if read().1.is_some() {
            break;
        }
    }
    let before = time::wall_us();
    far.write_all(b"twice", Wait::Endless).expect("room");
    let after = time::wall_us();
    std::thread::sleep(Duration::from_millis(30));
    let (first, rest) = (read(), read());
    assert_eq!((first.0, rest.0, rest.1), (3, 2, first.1), "one record");
    assert!(first.1.is_some_and(|arrived| (before..=after).contains(&arrived)), "{before} {first:?} {after}");
}

fn read_to_end(stream: &Stream) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 777]);
    loop {
        match stream.read(&mut buffer).expect("sound TLS") {
            0 => return all,
            length => all.extend_from_slice(&buffer[..length]),
        }
    }
}

#[test]
fn a_private_ca_is_trusted_for_names_and_addresses() {
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        for host in ["localhost", "127.0.0.1", "::1"] {
            let config = server_config(versions);
            let tls = trusting().connect(host, tcp_to(|far| echo(far, config)), LIMIT).expect("trusted");
            let stream = Stream::Tls(Box::new(tls));
            stream.write_all(b"hello ", Wait::Endless).expect("room");
            assert_eq!(stream.write_now(b"there").expect("room"), 5);
            stream.shutdown_write();
            assert_eq!(read_to_end(&stream), b"hello there");
            assert_eq!(stream.read(&mut [0; 9]).expect("still the end"), 0);
        }
    }
}

#[test]
fn what_is_not_to_be_trusted_is_a_bad_gateway_that_says_what_to_do() {
    let untrusting = TlsSettings::new(None, false).expect("settings");
    for (settings, host, what) in [
        (untrusting, "localhost", "its issuer is not known here; give its CA with --upstream-ca FILE,"),
        (trusting(), "example.com", "it is for another name; ask for a name that it has,"),
    ] {
        let config = server_config(rustls::ALL_VERSIONS);
        let error = settings.connect(host, tcp_to(|far| echo(far, config)), LIMIT).expect_err("not trusted");
        let text = error.to_string();
        assert!(matches!(error, Error::BadGateway(_)), "{text}");
        assert!(text.contains(what) && text.contains("--upstream-insecure"), "{text}");
    }
}

#[test]
fn a_certificate_without_a_subject_alt_name_is_said_to_name_no_host() {
    let host = ServerName::try_from("localhost").expect("a name");
    let wrong = rustls::CertificateError::NotValidForNameContext { expected: host, presented: Vec::new() };
    let words = explain("localhost", &rustls::Error::InvalidCertificate(wrong));
    assert!(words.contains("it names no host; make it with a subjectAltName; `openssl req -x509` takes -addext"), "{words}");
}

#[test]
fn a_given_certificate_is_its_own_proof_for_its_names_and_time_only() {
    let own = CertificateDer::from_pem_slice(include_bytes!("../../../tests/fixtures/tls/self.pem")).expect("a certificate");
    let shared = |ca: Vec<CertificateDer<'static>>| Shared { ca, insecure: false, config: OnceLock::new() };
    let verify = |ca, name: &str, at_s| {
        let verifier = shared(ca).trust_given(Arc::new(rustls::crypto::ring::default_provider())).expect("a verifier");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at_s));
        verifier.verify_server_cert(&own, &[], &name, &[], at).map(|_| ()).map_err(|error| explain("host", &error))
    };
    let now = UnixTime::now().as_secs();
    let others = CertificateDer::pem_slice_iter(SERVER).flatten().collect();
    assert_eq!(verify(vec![own.clone()], "localhost", now), Ok(()));
    for (ca, name, at_s, what) in [
        (vec![own.clone()], "example.com", now, "another name"),
        (vec![own.clone()], "localhost", now + 200 * 366 * 86_400, "expired"),
        (vec![own.clone()], "localhost", 0, "not valid yet"),
        (others, "localhost", now, "--upstream-ca FILE"),
    ] {
        let refused = verify(ca, name, at_s).expect_err("not trusted");
        assert!(refused.contains(what), "{refused}");
    }
}

#[test]
fn insecure_trusts_everybody() {
    let settings = TlsSettings::new(None, true).expect("settings");
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let config = server_config(versions);
        settings.clone().connect("example.com", tcp_to(|far| echo(far, config)), LIMIT).expect("trusted");
    }
}

#[test]
fn handshakes_that_fail_say_so() {
    let settings = trusting();
    let error = settings.connect("localhost", tcp_to(|mut far| drop(far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"))), LIMIT);
    assert!(matches!(error, Err(Error::BadGateway(_))), "{error:?}");
    let error = settings.connect("localhost", tcp_to(drop), LIMIT);
    assert!(matches!(error, Err(Error::BadGateway(_))), "{error:?}");
    // This peer is silent until the test has its answer and closes.
    let silent = tcp_to(|mut far| drop(far.read_to_end(&mut Vec::new())));
    let error = settings.connect("localhost", silent, Duration::from_millis(30));
    assert!(matches!(error, Err(Error::GatewayTimeout(_))), "{error:?}");
}

#[test]
fn a_ca_file_is_read_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, content) in [
        ("absent", None),
        ("empty", Some("")),
        ("text", Some("hello")),
        ("armour", Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
    ] {
        let path = directory.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).expect("a file");
        }
        let result = TlsSettings::new(Some(&path), false);
        assert!(matches!(&result, Err(Error::File { path: named, .. }) if *named == path), "{name}: {result:?}");
    }
}

#[test]
fn plaintext_that_did_not_fit_is_buffered() {
    let (near, far) = pair();
    far.write_all(b"hello", Wait::Endless).expect("room");
    let mut two = [0; 2];
    assert_eq!((near.read(&mut two).expect("bytes"), near.has_buffered()), (2, true));
    assert_eq!((near.read(&mut two).expect("bytes"), near.has_buffered()), (2, true));
    assert_eq!((near.read(&mut two).expect("bytes"), near.has_buffered()), (1, false));
    near.set_read_timeout(Some(Duration::from_millis(1))).expect("a limit");
    assert_eq!(near.read(&mut two).map_err(|error| error.kind()), Err(std::io::ErrorKind::WouldBlock));
}

/// Trap: a server of TLS 1.3 sends tickets behind its handshake; who polls sees them, and a read that waits for more waits without end.
#[test]
fn words_of_tls_alone_are_nothing_to_read() {
    let (near, far) = pair();
    let mut buffer = [0; 9];
    assert!(crate::base::platform::wait_readable(near.fd(), LIMIT).expect("a socket"), "tickets come");
    assert_eq!(near.read_ready(&mut buffer, &mut Arrivals::default()).expect("sound TLS"), None);
    far.write_all(b"bytes", Wait::Endless).expect("room");
    let read = loop {
        if let Some(read) = near.read_ready(&mut buffer, &mut Arrivals::default()).expect("sound TLS") {
            break read;
        }
    };
    assert_eq!(&buffer[..read], b"bytes");
}

/// Trap: an end that came along with the last bytes is shown by no socket any more.
#[test]
fn an_end_behind_the_last_bytes_is_buffered_as_they_are() {
    let socket = tcp_to(|mut far| {
        let mut server = ServerConnection::new(server_config(rustls::ALL_VERSIONS)).expect("a server");
        while server.is_handshaking() {
            server.complete_io(&mut far).expect("a handshake");
        }
        server.writer().write_all(b"bye").expect("room");
        server.send_close_notify();
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("a vector takes all");
        }
        far.write_all(&bytes).expect("room");
        // Until the test is over.
        drop(far.read_to_end(&mut Vec::new()));
    });
    let near = Stream::Tls(Box::new(trusting().connect("localhost", socket, LIMIT).expect("trusted")));
    let mut two = [0; 2];
    for (length, buffered) in [(2, true), (1, true), (0, true), (0, true)] {
        assert_eq!((near.read(&mut two).expect("sound TLS"), near.has_buffered()), (length, buffered));
    }
}

#[test]
fn an_end_without_close_notify_is_an_end() {
    let (near, far) = pair();
    far.write_all(b"bye", Wait::Endless).expect("room");
    far.shutdown();
    assert_eq!(read_to_end(&near), b"bye");
}

#[test]
fn bytes_that_are_no_tls_are_an_error() {
    let (near, far) = pair();
    far.write_all(b"good", Wait::Endless).expect("room");
    let Stream::Tls(tls) = &far else { panic!("TLS") };
    tls.socket().write_all(b"these bytes are no record of TLS at all").expect("room");
    let mut all = Vec::new();
    let mut buffer = [0; 100];
    let error = loop {
        match near.read(&mut buffer) {
            Ok(length) => all.extend_from_slice(&buffer[..length]),
            Err(error) => break error,
        }
    };
    assert_eq!((all.as_slice(), error.kind()), (&b"good"[..], std::io::ErrorKind::InvalidData));
    assert_eq!(near.read(&mut buffer).expect("the end"), 0);
}

/// A stall is noticed, and shutdown wakes who waits.
#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    let (near, _far) = pair();
    let result = near.write_all(&vec![0; 64 << 20], Wait::Limit(Duration::from_millis(20)));
    assert_eq!(result.map_err(|error| error.kind()), Err(std::io::ErrorKind::TimedOut));
    assert_eq!(near.write_now(b"x").expect("a full socket is no error"), 0);
    scope(|scope| {
        let reader = scope.spawn(|| near.read(&mut [0; 9]));
        let writer = scope.spawn(|| near.write_all(&[0; 9], Wait::Endless));
        near.shutdown();
        assert!(reader.join().expect("no panic").is_ok_and(|length| length == 0));
        assert!(writer.join().expect("no panic").is_err());
    });
}

/// The trap: a reader that holds the connection's lock while it waits, so that the other direction starves.
#[test]
fn both_directions_flow_at_once_under_load() {
    const TOTAL: usize = 4 << 20;
    let pattern = |side: u8| -> Vec<u8> { (0..TOTAL).map(|at| (at / 3 + at / 1000) as u8 ^ side).collect() };
    let (near, far) = pair();
    let ends = [(&near, &far, pattern(0)), (&far, &near, pattern(0x55))];
    // Both directions are full before anyone reads, and both have ciphertext that waits.
    let begun = ends.each_ref().map(|(from, _, bytes)| {
        let mut taken = 0;
        while taken + 30_000 < TOTAL {
            match from.write_now(&bytes[taken..taken + 30_000]).expect("room") {
                0 => break,
                length => taken += length,
            }
        }
        taken
    });
    scope(|scope| {
        for ((from, to, bytes), begun) in ends.iter().zip(begun) {
            scope.spawn(move || {
                for part in bytes[begun..].chunks(100_001) {
                    let taken = from.write_now(part).expect("a sound connection");
                    from.write_all(&part[taken..], Wait::Limit(LIMIT)).expect("a sound connection");
                }
                from.shutdown_write();
            });
            scope.spawn(move || assert!(read_to_end(to) == *bytes, "other bytes arrived"));
        }
    });
}

/// Reading goes on while a thread waits in `read` on the same connection: nothing written depends on what is read.
#[test]
fn a_waiting_reader_does_not_hold_up_a_writer() {
    let (near, far) = pair();
    scope(|scope| {
        let reader = scope.spawn(|| read_to_end(&near));
        for _ in 0..100 {
            near.write_all(b"ping", Wait::Limit(LIMIT)).expect("room");
            let mut buffer = [0; 4];
            assert_eq!(far.read(&mut buffer).expect("bytes"), 4);
        }
        far.write_all(b"done", Wait::Endless).expect("room");
        far.shutdown_write();
        assert_eq!(reader.join().expect("no panic"), b"done");
    });
}

/// Connections run on threads with the small stacks of this crate.
#[test]
fn a_handshake_fits_on_a_small_stack() {
    let config = server_config(rustls::ALL_VERSIONS);
    let socket = tcp_to(|far| echo(far, config));
    let (to_test, made) = std::sync::mpsc::channel();
    let connect = move || to_test.send(trusting().connect("localhost", socket, LIMIT)).expect("the test waits");
    crate::base::sync::spawn("handshake", connect).expect("a thread");
    made.recv().expect("an answer").expect("trusted");
}
