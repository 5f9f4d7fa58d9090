//! Calls with random faults: those are made that the standard sees in the bytes, or fewer.

use crate::peers_http::crowds::settled;
use crate::peers_http::generated::{exchange, expect_responses, spoil};
use crate::peers_http::reference;
use crate::support::Server;
use crate::support::effort::{Dice, rounds};
use crate::support::usage::Usage;

#[test]
fn the_calls_that_are_made_are_those_that_the_standard_sees_or_fewer() {
    let mut dice = Dice::new("spoilt calls");
    let server = Server::start();
    let before = settled(&server);
    let count = rounds(200, 20_000);
    let (mut sound, mut made, mut answered) = (0, 0, 0);
    for round in 0..count {
        let mut sent = Vec::new();
        for number in 0..=dice.below(2) {
            let body = format!("{{\"protocol\":\"sse\",\"path\":\"/{round}/{number}\"}}");
            let length = body.len();
            let framed = match dice.below(3) {
                0 => format!("Content-Length: {length}\r\n\r\n{body}"),
                1 => format!("Transfer-Encoding: chunked\r\n\r\n{length:x};a=b\r\n{body}\r\n0\r\nT: 1\r\n\r\n"),
                _ => format!("Transfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", &body[..5], length - 5, &body[5..]),
            };
            sent.extend_from_slice(format!("POST /stream-recordings/start HTTP/1.1\r\nHost: localhost\r\n{framed}").as_bytes());
        }
        if !dice.once_in(10) {
            spoil(&mut dice, &mut sent);
        }
        let got = exchange(server.admin, &sent);
        answered += expect_responses(&got, &sent);
        // Each that was made opened a session on the path of its body.
        let seen: Vec<String> = reference::requests(&sent).into_iter().map(|request| path(&request.body)).collect();
        sound += seen.len();
        let mut rest = seen.iter();
        for session in server.get("/stream-recordings/sessions")["sessions"].as_array().expect("a list") {
            let (id, path) = (session["id"].as_str().expect("an id"), session["path"].as_str().expect("a path"));
            assert!(rest.any(|seen| seen == path), "{path:?} is not in {seen:?} of {:?}", String::from_utf8_lossy(&sent));
            made += 1;
            server.stop(id);
            server.call("DELETE", &format!("/stream-recordings/{id}?permanent=true"), &serde_json::Value::Null).expect(204);
        }
    }
    // Some 60 in 100: the fault of the others stands in their JSON. Of few, by chance, fewer.
    assert!(made * 3 > sound, "what is sound is made: {made} of {sound}");
    // Threads of the inner server wait some seconds for more.
    let after = Usage::back_to(server.pid, &Usage { threads: before.threads + 4, ..before });
    assert!(!server.log().contains("panicked"), "{}", server.log());
    println!("spoilt calls: {count} connections, {sound} whole requests, {made} made, {answered} answers; {before:?}, {after:?}");
}

/// The path in a body, as JSON says.
fn path(body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)).unwrap_or_default();
    json["path"].as_str().unwrap_or_default().to_owned()
}
