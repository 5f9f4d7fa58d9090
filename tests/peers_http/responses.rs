//! Upstreams that answer wrongly: the client gets a sound answer, a 502, or a message that is visibly cut off, and no connection on
//! which the next answer could be mistaken.

use super::reference::{self, Reading, Response};
use crate::support::http::Conn;
use crate::support::upstream::gate;
use crate::support::{Server, Upstream, recordings, wait};

/// An upstream that answers `/x` with the bytes of its query's number, and everything else with a mark.
pub fn answering(table: Vec<Vec<u8>>) -> Upstream {
    Upstream::http(move |head, mut conn| {
        let number = head.target().strip_prefix("/x?").and_then(|number| number.parse::<usize>().ok());
        match number {
            Some(number) => {
                // A client that has seen enough may have gone.
                drop(std::io::Write::write_all(&mut conn.stream, &table[number]));
            }
            None => conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmark"),
        }
    })
}

/// What a client gets for `/x?number` and a request behind it: all bytes up to the end.
pub fn get(server: &Server, method: &str, number: usize) -> Vec<u8> {
    let mut conn = Conn::open(server.mock);
    conn.send(format!("{method} /x?{number} HTTP/1.1\r\nHost: h\r\n\r\nGET /mark HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    conn.read_to_end()
}

/// Checks that `bytes` are one answer with this status and, where the connection went on, the mark.
#[track_caller]
fn expect_answer(bytes: &[u8], method: &str, shown: &str) -> Response {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let Reading::Whole(response, length) = reference::response(bytes, method, true) else { panic!("{shown}: no whole answer: {text}") };
    if length < bytes.len() {
        let rest = reference::response(&bytes[length..], "GET", true);
        let mark = Response { status: 200, body: b"mark".to_vec(), to_end: false };
        assert_eq!(rest, Reading::Whole(mark, bytes.len() - length), "{shown}: {text}");
    }
    response
}

#[test]
fn a_response_head_that_makes_no_sense_is_502_and_the_connection_goes_on() {
    let with = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n").into_bytes();
    let mut table: Vec<Vec<u8>> = [
        "",
        "\r\n\r\n",
        "GARBAGE\r\n\r\n",
        "SSH-2.0-OpenSSH_9.7\r\n",
        "\x15\x03\x01\0\x02\x02\x16",
        "HTTP/0.9 200 OK\r\n\r\nhello",
        "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 099 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 abc OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 O\0K\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\0\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\rB: c\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA : b\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n c\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nnothing\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Len",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: -5",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding:",
    ] {
        table.push(with(fields));
    }
    table.push(format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(100_000)).into_bytes());
    table.push(format!("HTTP/1.1 200 {}", "x".repeat(100_000)).into_bytes());
    table.push(format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(5_000)).into_bytes());
    let upstream = answering(table.clone());
    let server = Server::before(&upstream);
    for (number, answer) in table.iter().enumerate() {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(150)]).into_owned();
        let bytes = get(&server, "GET", number);
        let response = expect_answer(&bytes, "GET", &shown);
        assert_eq!(response.status, 502, "{shown:?}");
        assert!(bytes.ends_with(b"mark"), "{shown:?}: {}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn odd_responses_with_one_meaning_reach_the_client_as_that() {
    let table = [
        ("GET", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", 200, "hello"),
        ("GET", "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
        ("GET", "HTTP/1.1 599 \u{e9}t\u{e9}\r\nContent-Length: 5\r\n\r\nhello", 599, "hello"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", 200, "hello"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more", 200, "hello"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", 200, "hello"),
        ("GET", "HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n005;a=\"b\"\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\nevil",
            200,
            "hello",
        ),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", 204, ""),
        ("GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 204, ""),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", 304, ""),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 304, ""),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, ""),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, ""),
        (
            "GET",
            "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            200,
            "hello",
        ),
        ("GET", "HTTP/1.0 200 OK\r\n\r\nto the end", 200, "to the end"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: \u{e9}\t\u{fc}\r\n\r\nhello", 200, "hello"),
    ];
    let upstream = answering(table.iter().map(|(_, bytes, ..)| bytes.as_bytes().to_vec()).collect());
    let server = Server::before(&upstream);
    for (number, (method, sent, status, body)) in table.into_iter().enumerate() {
        let bytes = get(&server, method, number);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let response = expect_answer(&bytes, method, sent);
        assert_eq!((response.status, String::from_utf8_lossy(&response.body).as_ref()), (status, body), "{sent:?}: {text}");
        assert_eq!(bytes.ends_with(b"mark"), !response.to_end, "{sent:?}: {text}");
        let head = text.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
        assert!(
            head.matches("content-length").count() <= 1 && !(head.contains("content-length") && head.contains("transfer-encoding: ch")),
            "{text}"
        );
        if status == 204 {
            assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{text}");
        }
    }
}

/// A length that is not kept shows by itself; where the end of the connection is the end of the body, only a reset does.
#[test]
fn a_body_that_breaks_off_is_seen_to_be_cut() {
    let table: Vec<&str> = vec![
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: 1\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n-1\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n 4\r\nevil\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0x4\r\nevil\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n4\nevil\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n00000000000000004\r\nevil\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nX",
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\nhello",
    ];
    let upstream = answering(table.iter().map(|text| text.as_bytes().to_vec()).collect());
    let server = Server::before(&upstream);
    for (number, sent) in table.into_iter().enumerate() {
        let bytes = get(&server, "GET", number);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(reference::response(&bytes, "GET", true), Reading::Cut, "{sent:?}: {text}");
        assert!(text.contains("hello") && !text.contains("evil") && !text.contains("mark"), "{sent:?}: {text}");
        // For a client of HTTP/1.0 chunks are undone, and the end is all that is left to see.
        if sent.contains("chunked") {
            let mut conn = Conn::open(server.mock);
            conn.send(format!("GET /x?{number} HTTP/1.0\r\n\r\n"));
            assert_eq!(conn.head().status(), 200);
            assert!(is_reset(&mut conn), "{sent:?}");
        }
    }
}

/// Whether the connection ends with a reset.
fn is_reset(conn: &mut Conn) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match conn.read(&mut buffer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn a_body_up_to_the_end_of_a_connection_that_breaks_is_not_taken_for_the_whole() {
    let (go, gate) = gate();
    let upstream = Upstream::http(move |head, mut conn| {
        conn.send("HTTP/1.1 200 OK\r\n\r\nhalf of it");
        gate.wait();
        if head.target() == "/reset" {
            mockd::base::platform::reset_at_close(&conn.stream).expect("a socket");
        }
    });
    let server = Server::before(&upstream);
    for (target, reset) in [("/whole", false), ("/reset", true)] {
        for version in ["1.1", "1.0"] {
            let mut conn = Conn::open(server.mock);
            conn.send(format!("GET {target} HTTP/{version}\r\nHost: h\r\n\r\n"));
            assert_eq!(conn.head().field("connection"), Some("close"));
            assert_eq!(conn.exact(10), b"half of it");
            go.send(()).unwrap();
            assert_eq!(is_reset(&mut conn), reset, "{target} {version}");
        }
    }
}

#[test]
fn resets_at_every_stage_of_a_response_end_it_and_nothing_else() {
    let upstream = Upstream::http(|head, conn| {
        let mut conn = conn;
        let length: usize = head.target().trim_start_matches("/x?").parse().unwrap_or_default();
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        conn.send(&answer[..length.min(answer.len() - 1)]);
        mockd::base::platform::reset_at_close(&conn.stream).expect("a socket");
    });
    let server = Server::before(&upstream);
    for length in 0..62 {
        let mut conn = Conn::open(server.mock);
        conn.send(format!("GET /x?{length} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let head = conn.try_head();
        // A reset overtakes what was sent before it; then it is a 502.
        match head.map(|head| head.status()) {
            Some(502) => {}
            Some(200) => assert!(length >= 47 && !conn.read_to_end().ends_with(b"\r\n0\r\n\r\n"), "{length}"),
            other => panic!("{length}: {other:?}"),
        }
    }
    assert_eq!(server.get("/health")["status"], "ok");
}

/// Interim responses have no bound of their own.
#[test]
fn interim_responses_without_end_are_502() {
    let (gone, end) = std::sync::mpsc::channel();
    let upstream = Upstream::http(move |_, mut conn| {
        let flood = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n".repeat(100);
        while std::io::Write::write_all(&mut conn.stream, &flood).is_ok() {}
        gone.send(()).expect("the test runs");
    });
    let server = Server::before(&upstream);
    for version in ["1.1", "1.0"] {
        let mut conn = Conn::open(server.mock);
        conn.send(format!("GET /x HTTP/{version}\r\nHost: h\r\n\r\n"));
        let mut head = conn.head();
        while head.status() == 103 {
            head = conn.head();
        }
        assert_eq!(head.status(), 502, "{version}");
        let body = conn.body(&head);
        assert!(String::from_utf8_lossy(&body).contains("too large"), "{}", String::from_utf8_lossy(&body));
        wait::next("the end of the flood", &end);
    }
}

/// What a file says cannot end a header field and begin another, nor a response.
#[test]
fn line_ends_in_the_header_values_of_mocks_and_recordings_split_nothing() {
    let evil = "1\\r\\nX-Evil: 2\\r\\n\\r\\nHTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nevil";
    let config = format!(
        "mocks:\n  - type: http\n    matcher: {{path: /plain}}\n    response: {{headers: {{X-A: \"{evil}\"}}, body: hello}}\n  \
         - type: http\n    matcher: {{path: /events}}\n    sse: {{headers: {{X-A: \"{evil}\"}}, events: [{{data: x}}]}}\n"
    );
    let place = crate::support::server::Place::new();
    let path = place.file("evil.yaml", &config);
    let checked = place.run(&["check", &path.display().to_string()]);
    if checked.code == 0 {
        let server = Server::builder().place(&place).config(&config).start();
        for target in ["/plain", "/events"] {
            let mut conn = Conn::open(server.mock);
            conn.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
            let head = conn.head();
            assert_eq!((head.field("x-evil"), head.fields("x-a").count()), (None, 1), "{target}: {head:?}");
            let body = conn.body(&head);
            assert!(!String::from_utf8_lossy(&body).contains("evil") && conn.read_to_end().is_empty(), "{target}");
        }
    }
    let fields = serde_json::json!({
        "X-A": "1\r\nX-Evil: 2", "X-B\r\nX-Evil": "3", "Content-Type": "text/event-stream\r\nX-Evil: 4"
    });
    let server = Server::start();
    let id = recordings::sse("/events").set("/sse/responseHeaders", fields).data(0, "x").end("server", 1).save(&server.place.data_dir());
    server.replay(&id, &serde_json::json!({"timingScale": 0}));
    let mut conn = Conn::open(server.mock);
    conn.send("GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = conn.head();
    assert_eq!((head.status(), head.field("x-evil")), (200, None), "{head:?}");
    assert!(head.fields.iter().all(|(_, value)| !value.contains(['\r', '\n'])), "{head:?}");
}
