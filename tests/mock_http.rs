//! Plain responses of mocks (SPEC 6), and request bodies by which a mock is chosen and which still reach the upstream as they came.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::{Conn, ask};
use crate::support::server::Builder;
use crate::support::wait::eventually;
use crate::support::{Server, Upstream};

fn with_mocks(mocks: &Value) -> Builder {
    Server::builder().config(&json!({"mocks": mocks}).to_string())
}

fn mock(method: &str, path: &str, response: &Value) -> Value {
    json!({"type": "http", "http": {"matcher": {"method": method, "path": path}, "response": response}})
}

/// An upstream that answers with the bytes of the request's body as they came on the wire, framing included, as far as `mark`.
fn wire_mirror(mark: &'static str) -> Upstream {
    Upstream::http(move |_, mut conn| {
        let body = conn.through(mark.as_bytes()).expect("the body");
        conn.send([format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat());
        // The connection stays until mockd has read the answer.
        drop(conn.try_head());
    })
}

#[test]
fn a_response_is_what_the_mock_says() {
    let server = with_mocks(&json!([
        mock(
            "GET",
            "/text",
            &json!({"statusCode": 418, "headers": {"X-A": ["1", "2"], "Content-Type": "text/plain; charset=utf-8"}, "body": "é\n"})
        ),
        mock("GET", "/json", &json!({"body": {"z": 1, "a": [1.0, null]}})),
        mock("GET", "/typed", &json!({"headers": {"content-type": "application/problem+json"}, "body": {"a": 1}})),
        mock("DELETE", "/gone", &json!({"statusCode": 204})),
        mock("GET", "/empty", &json!({})),
        mock("GET", "/cached", &json!({"statusCode": 304, "headers": {"ETag": "\"x\""}})),
    ]))
    .start();
    let mut conn = Conn::open(server.mock);
    let text = conn.ask("GET", "/text", &[], b"");
    let fields: Vec<(&str, &str)> = text.head.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(text.head.start, "HTTP/1.1 418 I'm a teapot");
    assert_eq!(fields, [("X-A", "1"), ("X-A", "2"), ("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "3")]);
    assert_eq!(text.text(), "é\n");
    let whole = conn.ask("GET", "/json", &[], b"").expect(200);
    assert_eq!((whole.head.field("content-type"), whole.text().as_str()), (Some("application/json"), "{\"z\":1,\"a\":[1.0,null]}"));
    let typed = conn.ask("GET", "/typed", &[], b"").expect(200);
    assert_eq!(typed.head.fields("content-type").collect::<Vec<_>>(), ["application/problem+json"]);
    let gone = conn.ask("DELETE", "/gone", &[], b"").expect(204);
    assert_eq!(gone.head.field("content-length"), None);
    let empty = conn.ask("GET", "/empty", &[], b"").expect(200);
    assert_eq!((empty.head.field("content-length"), empty.body.len()), (Some("0"), 0));
    assert_eq!(conn.ask("GET", "/cached", &[], b"").expect(304).head.field("etag"), Some("\"x\""));
    // HEAD goes with GET.
    let head = conn.ask("HEAD", "/json", &[], b"").expect(200).head;
    assert_eq!((head.field("content-length"), head.field("content-type")), (Some("22"), Some("application/json")));
    assert_eq!(conn.ask("GET", "/empty", &[], b"").status(), 200, "all on one connection");
}

#[test]
fn bodies_of_requests_are_read_so_that_the_connection_goes_on() {
    let server = with_mocks(&json!([mock("POST", "/in", &json!({"body": "ok"}))])).start();
    let mut conn = Conn::open(server.mock);
    assert_eq!(conn.ask("POST", "/in", &[], &vec![b'x'; 300_000]).text(), "ok");
    conn.send("POST /in HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n");
    assert_eq!(conn.answer("POST").text(), "ok");
    conn.send("POST /in HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(conn.head().start, "HTTP/1.1 100 Continue");
    // Two requests in one write.
    conn.send("abcPOST /in HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!((conn.answer("POST").text(), conn.answer("POST").text()), ("ok".to_owned(), "ok".to_owned()));
    assert_eq!(conn.ask("POST", "/in", &[("Connection", "close")], b"").head.field("connection"), Some("close"));
    assert_eq!(conn.read_to_end(), b"");
    let mut old = Conn::open(server.mock);
    old.send("POST /in HTTP/1.0\r\nContent-Length: 1\r\n\r\nx");
    let text = String::from_utf8(old.read_to_end()).expect("text");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nok"), "{text}");
    let mut broken = Conn::open(server.mock);
    broken.send("POST /in HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense");
    broken.answer("POST").expect_error(400, "bad_request", &["chunk"]);
}

#[test]
fn a_delay_ends_with_its_client() {
    let server = with_mocks(&json!([
        mock("GET", "/slow", &json!({"body": "late", "delayMs": 60.5})),
        mock("GET", "/never", &json!({"delayMs": 3_600_000})),
    ]))
    .start();
    let asked = Instant::now();
    assert_eq!(ask(server.mock, "GET", "/slow", &[], b"").text(), "late");
    assert!(asked.elapsed() >= Duration::from_micros(60_500));
    let metric = |line: &str| {
        eventually(line, || server.call("GET", "/metrics", &Value::Null).text().contains(&format!("\n{line}\n")).then_some(()));
    };
    let mut leaving = Conn::open(server.mock);
    leaving.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    metric("mockd_requests_total 2");
    // Whoever closes its sending half with its request waits for the answer. Later, it is the end of the client.
    let mut half = Conn::open(server.mock);
    half.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    half.shut_write();
    assert_eq!(half.answer("GET").text(), "late");
    drop((half, leaving));
    metric("mockd_connections 0");
}

#[test]
fn pages_may_read_it() {
    let server = with_mocks(&json!([
        mock("PUT", "/plain", &json!({"body": "a"})),
        mock("GET", "/own", &json!({"headers": {"Access-Control-Expose-Headers": "X-A"}, "body": "a"})),
        mock("GET", "/ours", &json!({"headers": {"Access-Control-Allow-Origin": "https://own.test"}, "body": "a"})),
        mock("OPTIONS", "/options", &json!({"statusCode": 200, "body": "mine"})),
    ]))
    .start();
    let origin = ("Origin", "http://app.test");
    let head = ask(server.mock, "PUT", "/plain", &[origin], b"x").expect(200).head;
    assert_eq!((head.field("access-control-allow-origin"), head.field("vary")), (Some("http://app.test"), Some("Origin")));
    assert_eq!(ask(server.mock, "PUT", "/plain", &[], b"x").head.field("access-control-allow-origin"), None);
    let head = ask(server.mock, "GET", "/own", &[origin], b"").expect(200).head;
    let fields = (head.field("access-control-allow-origin"), head.field("access-control-expose-headers"));
    assert_eq!(fields, (Some("http://app.test"), Some("X-A")), "what the mock does not say is said as ever");
    let head = ask(server.mock, "GET", "/ours", &[origin], b"").expect(200).head;
    assert_eq!(
        (head.field("access-control-allow-origin"), head.field("access-control-allow-credentials")),
        (Some("https://own.test"), None)
    );
    let asks = [origin, ("Access-Control-Request-Method", "GET")];
    let head = ask(server.mock, "OPTIONS", "/ours", &asks, b"").expect(204).head;
    assert_eq!(head.field("access-control-allow-origin"), Some("https://own.test"), "a preflight says the same");
    let asks = [origin, ("Access-Control-Request-Method", "PUT")];
    let head = ask(server.mock, "OPTIONS", "/plain", &asks, b"").expect(204).head;
    assert_eq!(head.field("access-control-allow-methods"), Some("PUT"));
    assert_eq!(ask(server.mock, "OPTIONS", "/options", &asks, b"").expect(200).text(), "mine");
    ask(server.mock, "OPTIONS", "/nothing", &asks, b"").expect(404);
}

/// Two mocks on one path that look at the body, a third that does not, and the upstream for whatever is no POST.
fn choosing(upstream: &Upstream) -> Builder {
    let on = |body: &str, name: &str| json!({"http": {"matcher": {"method": "POST", "path": "/choose", "bodyContains": body}, "response": {"body": name}}});
    with_mocks(&json!([on("\"op\":\"a\"", "A"), on("\"op\":\"b\"", "B")])).upstream(upstream.url())
}

#[test]
fn a_body_chooses_its_mock_and_another_goes_on_to_the_upstream_as_it_came() {
    let upstream = wire_mirror("\r\n\r\n");
    let server = choosing(&upstream).start();
    let mut conn = Conn::open(server.mock);
    assert_eq!(conn.ask("POST", "/choose", &[], b"{\"op\":\"b\"}").text(), "B");
    conn.send("POST /choose HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"op\"\r\n5;x\r\n:\"a\"}\r\n0\r\n\r\n");
    assert_eq!(conn.answer("POST").text(), "A");
    let framed = "5;x=\"y\"\r\n{\"op\"\r\n005\r\n:\"c\"}\r\n0\r\nTrailer: 1\r\n\r\n";
    conn.send(format!("POST /choose HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{framed}"));
    assert_eq!(conn.answer("POST").text(), framed, "the very bytes");
    assert_eq!(upstream.head().field("transfer-encoding"), Some("chunked"));
}

#[test]
fn an_expectation_is_answered_once() {
    let upstream = wire_mirror("{\"op\":\"c\"}");
    let server = choosing(&upstream).start();
    let mut conn = Conn::open(server.mock);
    for (body, answer) in [("{\"op\":\"a\"}", "A"), ("{\"op\":\"c\"}", "{\"op\":\"c\"}")] {
        conn.send(format!("POST /choose HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n", body.len()));
        assert_eq!(conn.head().start, "HTTP/1.1 100 Continue");
        conn.send(body);
        assert_eq!(conn.head().start, "HTTP/1.1 200 OK", "no second 100");
        assert_eq!(conn.exact(answer.len()), answer.as_bytes());
    }
}

#[test]
fn of_a_large_body_the_front_counts() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup");
    let server = choosing(&upstream).start();
    let mut conn = Conn::open(server.mock);
    let front = [b"{\"op\":\"a\"}".to_vec(), vec![b' '; 100_000]].concat();
    assert_eq!(conn.ask("POST", "/choose", &[], &front).text(), "A");
    let back = [vec![b' '; 9 << 20], b"{\"op\":\"a\"}".to_vec()].concat();
    assert_eq!(conn.ask("POST", "/choose", &[], &back).text(), "up");
    assert_eq!(conn.ask("POST", "/choose", &[], b"{\"op\":\"b\"}").text(), "B", "the connection goes on");
}

#[test]
fn a_body_that_is_broken_or_stalls_is_refused() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup");
    let server = choosing(&upstream).option("--head-timeout", 50).start();
    let mut broken = Conn::open(server.mock);
    broken.send("POST /choose HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd");
    broken.answer("POST").expect_error(400, "bad_request", &["chunk"]);
    let mut stalling = Conn::open(server.mock);
    stalling.send("POST /choose HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{\"op\"");
    stalling.answer("POST").expect_error(408, "timeout", &["50 ms"]);
    assert_eq!(stalling.read_to_end(), b"");
    let mut leaving = Conn::open(server.mock);
    leaving.send("POST /choose HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{\"op\"");
    leaving.shut_write();
    assert_eq!(leaving.read_to_end(), b"");
    assert!(upstream.is_unasked(), "nothing of these went on");
}
