//! wss and https upstreams behind a private CA, both directions at once under load.

use std::sync::mpsc::channel;

use crate::support::http::{ask, request_head};
use crate::support::sse::Stream;
use crate::support::stuck::reset;
use crate::support::tls::{before, before_as, ending_with, fixture};
use crate::support::wait;
use crate::support::ws::{Client, MASK, Raw, frame};
use crate::support::{Conn, Server, Upstream};

#[test]
fn https_and_wss_work_with_the_private_ca() {
    let plain = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret");
    let server = Server::builder()
        .upstream(format!("https://localhost:{}", before(plain.address).port()))
        .option("--upstream-ca", fixture("ca.pem").display())
        .start();
    assert_eq!(ask(server.mock, "GET", "/x", &[], b"").text(), "secret");

    let echo = Upstream::echo();
    let server =
        Server::builder().upstream(format!("wss://{}", before(echo.address))).option("--upstream-ca", fixture("ca.pem").display()).start();
    let mut client = Client::open(server.mock, "/ws");
    client.text("over TLS");
    assert_eq!(client.next(), "text over TLS");
}

#[test]
fn event_streams_come_through_tls_as_they_arrive() {
    let plain = Upstream::events(&["data: one\n\n", "data: two\n\n"]);
    let server = Server::builder()
        .upstream(format!("https://localhost:{}", before(plain.address).port()))
        .option("--upstream-ca", fixture("ca.pem").display())
        .start();
    let id = server.record("sse", "/events");
    assert_eq!(Stream::open(server.mock, "/events", &[]).rest_text(), "data: one\n\ndata: two\n\n");
    assert_eq!(server.finished(&id)["stats"]["eventCount"], 2);
}

#[test]
fn without_the_ca_it_is_502() {
    let plain = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let server = Server::builder().upstream(format!("https://localhost:{}", before(plain.address).port())).start();
    ask(server.mock, "GET", "/x", &[], b"").expect_error(502, "bad_gateway", &["localhost", "--upstream-ca"]);
    Raw::try_open(server.mock, "/ws", &[]).expect_err("a refusal").expect_error(502, "bad_gateway", &[]);
    assert!(plain.is_unasked());
}

#[test]
fn the_file_that_ssl_cert_file_names_is_trusted() {
    let plain = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let server = Server::builder()
        .upstream(format!("https://localhost:{}", before(plain.address).port()))
        .env("SSL_CERT_FILE", fixture("ca.pem").to_str().unwrap())
        .start();
    assert_eq!(ask(server.mock, "GET", "/x", &[], b"").text(), "ok");
}

/// `openssl req -x509` makes a certificate that says it is a CA, and its server uses it itself.
#[test]
fn a_self_signed_certificate_that_is_given_is_trusted() {
    let plain = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let url = format!("https://localhost:{}", before_as("self", plain.address).port());
    let file = fixture("self.pem");
    let server = Server::builder().upstream(&url).option("--upstream-ca", file.display()).start();
    assert_eq!(ask(server.mock, "GET", "/x", &[], b"").text(), "ok");
    let server = Server::builder().upstream(&url).env("SSL_CERT_FILE", file.to_str().unwrap()).start();
    assert_eq!(ask(server.mock, "GET", "/x", &[], b"").text(), "ok");
    let server = Server::builder().upstream(&url).option("--upstream-ca", fixture("ca.pem").display()).start();
    ask(server.mock, "GET", "/x", &[], b"").expect_error(502, "bad_gateway", &["localhost", "--upstream-ca"]);
}

#[test]
fn insecure_skips_the_check() {
    let plain = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let server =
        Server::builder().upstream(format!("https://localhost:{}", before(plain.address).port())).flag("--upstream-insecure").start();
    assert_eq!(ask(server.mock, "GET", "/x", &[], b"").text(), "ok");
}

/// Trap: a reader that holds the TLS lock while it blocks starves the other direction.
#[test]
fn a_message_goes_out_while_the_other_direction_is_silent() {
    let plain =
        Upstream::script("expect text one\nexpect text two\nexpect text three\nsend text all three\nexpect close 1000\nsend close 1000");
    let server =
        Server::builder().upstream(format!("wss://{}", before(plain.address))).option("--upstream-ca", fixture("ca.pem").display()).start();
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text one\nsend text two\nsend text three\nexpect text all three\nsend close 1000\nexpect close 1000");
}

#[test]
fn both_directions_are_full_at_once_over_tls() {
    const FRAMES: usize = 300;
    let plain = Upstream::websocket(None, |mut raw| {
        let mut writer = Conn::over(raw.conn.stream.try_clone().unwrap());
        let writing = std::thread::spawn(move || (0..FRAMES).for_each(|at| writer.send(frame(0x82, None, &[at as u8; 20_000]))));
        for at in 0..FRAMES {
            assert_eq!(raw.frame().payload, [at as u8; 20_000]);
        }
        writing.join().unwrap();
        raw.run("send close 1000 full\nexpect close 1000 full");
    });
    let server =
        Server::builder().upstream(format!("wss://{}", before(plain.address))).option("--upstream-ca", fixture("ca.pem").display()).start();
    let mut client = Raw::open(server.mock, "/ws");
    let mut writer = Conn::over(client.conn.stream.try_clone().unwrap());
    let writing = std::thread::spawn(move || (0..FRAMES).for_each(|at| writer.send(frame(0x82, Some(MASK), &[at as u8; 20_000]))));
    for at in 0..FRAMES {
        assert_eq!(client.frame().payload, [at as u8; 20_000]);
    }
    writing.join().unwrap();
    client.run("expect close 1000 full\nsend close 1000 full\nend");
}

#[test]
fn an_upstream_that_never_answers_the_tls_handshake_is_504() {
    let silent = Upstream::http(|_, _| unreachable!("a TLS hello is no request"));
    let url = format!("https://localhost:{}", silent.address.port());
    let server = Server::builder().upstream(url).config("server:\n  connectTimeout: 300\n").start();
    ask(server.mock, "GET", "/x", &[], b"").expect_error(504, "gateway_timeout", &["localhost", "ms"]);
    Raw::try_open(server.mock, "/ws", &[]).expect_err("a refusal").expect_error(504, "gateway_timeout", &[]);
}

/// Trap: the first bytes of a TLS 1.3 server are its tickets, so that its socket can be read and there is nothing to read.
#[test]
fn a_tls_upstream_that_is_silent_after_its_handshake_is_504() {
    let silent = Upstream::http(|_, mut conn| drop(conn.read_to_end()));
    let server = Server::builder()
        .upstream(format!("wss://{}", before(silent.address)))
        .option("--upstream-ca", fixture("ca.pem").display())
        .config("server:\n  connectTimeout: 300\n")
        .start();
    Raw::try_open(server.mock, "/ws", &[]).expect_err("a refusal").expect_error(504, "gateway_timeout", &["300 ms"]);
}

/// The same trap.
#[test]
fn a_client_that_leaves_a_silent_tls_upstream_ends_its_request() {
    let (tell, ended) = channel();
    let silent = Upstream::http(move |_, mut conn| {
        conn.read_to_end();
        tell.send(()).expect("the test runs");
    });
    let server = Server::builder()
        .upstream(format!("https://localhost:{}", before(silent.address).port()))
        .option("--upstream-ca", fixture("ca.pem").display())
        .start();
    let mut client = Conn::open(server.mock);
    client.send(request_head("GET", "/x", &[], 0));
    silent.head();
    reset(client);
    wait::next("the end of the request", &ended);
}

#[test]
fn the_end_of_a_tls_stream_that_comes_with_its_last_bytes_is_seen() {
    let upstream = ending_with("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: last\n\n");
    let server = Server::builder()
        .upstream(format!("https://localhost:{}", upstream.port()))
        .option("--upstream-ca", fixture("ca.pem").display())
        .start();
    assert_eq!(Stream::open(server.mock, "/events", &[]).rest_text(), "data: last\n\n");
}
