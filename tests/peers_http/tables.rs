//! Requests that have no one meaning, for both ports: the bytes, and the answer that each gets. It asks nobody.

/// Bytes, the status and the code of the refusal.
pub type Refused = (Vec<u8>, u16, &'static str);

/// Heads that neither port takes. The connection ends with the refusal.
pub fn heads() -> Vec<Refused> {
    let bad = |bytes: &[u8]| (bytes.to_vec(), 400, "bad_request");
    let get = |fields: &str| bad(format!("GET /x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").as_bytes());
    let line = |line: &str| bad(format!("{line}\r\nHost: localhost\r\n\r\n").as_bytes());
    let mut all = vec![
        bad(b"GARBAGE\r\n\r\n"),
        bad(b"\0\0\0\0\r\n\r\n"),
        bad(b"\xff\xfe\xfd\r\n\r\n"),
        bad(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        bad(b"\n\nGET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        bad(b"GET /x HTTP/1.1\nHost: localhost\n\n"),
        bad(b"GET /x HTTP/1.1\r\nHost: localhost\n\r\n"),
        bad(b"GET /x HTTP/1.1\r\nHost: localhost\r\nA: b\r\n\n"),
        bad(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\nGET /y HTTP/1.1\r\n\r\n"),
        bad(b"GET /x HTTP/1.1\rHost: localhost\r\r"),
        bad(b"GET /x HTTP/1.1\r\nHost: localhost\r\nA: b\rB: c\r\n\r\n"),
        bad(b"GET /x HTTP/1.1\r\n\r\n"),
        bad(b"GET /x HTTP/1.1\r\n Host: localhost\r\n\r\n"),
        bad(b"GET /x HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"),
        bad(b"GET /x HTTP/1.1\r\nHost: localhost\r\nhost: evil\r\n\r\n"),
        bad(b"GET /x HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        bad(b"GET /x HTTP/1.1\r\nHost: a b\r\n\r\n"),
        bad(b"GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        bad(b"GET /x HTTP/1.1\r\nHost: u@a\r\n\r\n"),
        bad(b"GET /x HTTP/1.1\r\nHost: a, b\r\n\r\n"),
        bad(b"GET /x\r\n\r\n"),
        get("A : b\r\n"),
        get("A\t: b\r\n"),
        get("A b: c\r\n"),
        get(": b\r\n"),
        get("nothing\r\n"),
        get("A: b\r\n c\r\n"),
        get("A: b\r\n\tc\r\n"),
        get("A: \0\r\n"),
        get("A: \x0b\r\n"),
        get("A: \x7f\r\n"),
        get("A\x01: b\r\n"),
        get("A(: b\r\n"),
        line("GET  /x HTTP/1.1"),
        line(" GET /x HTTP/1.1"),
        line("GET /x  HTTP/1.1"),
        line("GET /x y HTTP/1.1"),
        line("GET\t/x\tHTTP/1.1"),
        line("G(T /x HTTP/1.1"),
        line("G\0T /x HTTP/1.1"),
        line("GET x HTTP/1.1"),
        line("GET * HTTP/1.1"),
        line("GET localhost:80 HTTP/1.1"),
        line("GET ftp://localhost/ HTTP/1.1"),
        line("GET http:///x HTTP/1.1"),
        line("GET http:// HTTP/1.1"),
        line("GET http://u:p@localhost/x HTTP/1.1"),
        line("GET /x#y HTTP/1.1"),
        line("GET /#/route HTTP/1.1"),
        line("GET http://localhost/x#y HTTP/1.1"),
        line("GET /\u{e9} HTTP/1.1"),
        line("GET /\x01 HTTP/1.1"),
        line("GET /\x7f HTTP/1.1"),
        line("GET /x HTTPS/1.1"),
        line("GET /x http/1.1"),
        line("GET /x HTTP/1"),
        line("GET /x HTTP/11"),
    ];
    for version in ["0.9", "1.2", "2.0", "3.0"] {
        all.push((format!("GET /x HTTP/{version}\r\nHost: localhost\r\n\r\n").into_bytes(), 505, "version_not_supported"));
    }
    all.push((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 505, "version_not_supported"));
    all.push((b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n".to_vec(), 501, "not_implemented"));
    all.push((b"CONNECT / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), 501, "not_implemented"));
    let long = "x".repeat(70_000);
    for head in [
        format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET /x HTTP/1.1\r\nHost: localhost\r\nA: {long}\r\n\r\n"),
        format!("GET /x HTTP/1.1\r\nHost: localhost\r\n{long}: a\r\n\r\n"),
        format!("{long} / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        // Without an end.
        format!("GET /{long}"),
        format!("GET /x HTTP/1.1\r\nHost: localhost\r\nA: {long}"),
        format!("GET /x HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(5_000)),
    ] {
        all.push((head.into_bytes(), 431, "head_too_large"));
    }
    all
}

/// Heads whose body could be read in more than one way, with bytes that would be the next request for whoever reads another one.
pub fn framings() -> Vec<Refused> {
    let with = |fields: &str, status, code| {
        let head = format!("POST /x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n");
        (format!("{head}0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes(), status, code)
    };
    let mut all: Vec<Refused> = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: 5,",
        "Content-Length: ,5",
        "Content-Length: 5 5",
        "Content-Length: 5;5",
        "Content-Length: -5",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: 5.0",
        "Content-Length: 5e0",
        "Content-Length: five",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999999999",
        "Content-Length : 5",
        "Content-Length: 5\r\n 6",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding:",
        "Transfer-Encoding: ,",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
    ]
    .into_iter()
    .map(|fields| with(fields, 400, "bad_request"))
    .collect();
    all.push(with("Transfer-Encoding: gzip, chunked", 501, "not_implemented"));
    all.push(with("Transfer-Encoding: identity, chunked", 501, "not_implemented"));
    let old = "POST /x HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    all.push((old.as_bytes().to_vec(), 400, "bad_request"));
    all
}

/// Chunked bodies that break a rule of RFC 9112 §7.1: what comes before the fault, and the rest with it.
pub fn chunks() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";x\r\n0\r\n\r\n",
        "00000000000000000005\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\r\nhello\r\n0\r\n\r\n",
        "5;x\ny\r\nhello\r\n0\r\n\r\n",
        "5;x\ry\r\nhello\r\n0\r\n\r\n",
        "5;x=\"\n\"\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello, world\r\n0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "5\r\nhello\r\n\r\n0\r\n\r\n",
        "0\n\r\n",
        "0\r\n\n",
        "0\r\nT: 1\n\r\n",
        "0\r\nT: \0\r\n\r\n",
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    all.push(format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20_000)).into_bytes());
    all.push(format!("0\r\nT: {}\r\n\r\n", "x".repeat(20_000)).into_bytes());
    all.push(format!("0\r\n{}\r\n", "T: 1\r\n".repeat(4_000)).into_bytes());
    all
}
