//! Requests and responses with random faults: what a second reading, by the standard alone, takes for whole messages is what passes
//! through mockd, or less of it.

use super::crowds::settled;
use super::reference::{self, Reading};
use super::responses;
use super::tap::Tap;
use crate::support::effort::{Dice, rounds};
use crate::support::http::Conn;
use crate::support::usage::Usage;
use crate::support::{Server, Upstream};

/// What faults are made of: bytes that some reader has stumbled over.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b"\x7f",
    b"\xff",
    b":",
    b";",
    b",",
    b"#",
    b"?",
    b"/",
    b"*",
    b"\"",
    b"0",
    b"5",
    b"a",
    b"+",
    b"-",
    b"\r\n\r\n",
    b"\r\n ",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/2.0",
    b"Host: b\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: x, chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: Content-Length, Transfer-Encoding\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
];

/// One to four faults: a byte changed, a piece put in, a piece taken out or repeated, two places swapped.
pub fn spoil(dice: &mut Dice, bytes: &mut Vec<u8>) {
    for _ in 0..=dice.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = dice.below(bytes.len() as u64) as usize;
        let length = (1 + dice.below(12) as usize).min(bytes.len() - at);
        match dice.below(6) {
            0 => bytes[at] = dice.below(256) as u8,
            1 | 2 => drop(bytes.splice(at..at, dice.pick(PIECES).iter().copied())),
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let again = bytes[at..at + length].to_vec();
                drop(bytes.splice(at..at, again));
            }
            // Between two lines, where a field fits.
            _ => {
                let ends: Vec<usize> = bytes.windows(2).enumerate().filter(|(_, two)| two == b"\r\n").map(|(at, _)| at + 2).collect();
                if !ends.is_empty() {
                    let at = *dice.pick(&ends);
                    drop(bytes.splice(at..at, dice.pick(PIECES).iter().copied()));
                }
            }
        }
    }
}

/// One to three requests, each sound before it is spoilt.
pub fn requests(dice: &mut Dice, targets: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..=dice.below(3) {
        let target = dice.pick(targets);
        let request = match dice.below(5) {
            0 => format!("GET {target}?{number} HTTP/1.1\r\nHost: localhost\r\nA: b\r\n\r\n"),
            1 => format!("POST {target}?{number} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"),
            2 => format!(
                "POST {target}?{number} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n3\r\n\r\n0\r\n0\r\nT: 1\r\n\r\n"
            ),
            3 => format!(
                "PUT http://localhost{target}?{number} HTTP/1.1\r\nhost: localhost\r\nContent-Length: 37\r\n\r\nGET /hidden HTTP/1.1\r\nHost: localhost\r\n"
            ),
            _ => format!("GET {target}?{number} HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"),
        };
        bytes.extend_from_slice(request.as_bytes());
    }
    if !dice.once_in(10) {
        spoil(dice, &mut bytes);
    }
    bytes
}

/// Checks that what a client got is sound: whole responses, one after the other, of which the last may end with the connection.
#[track_caller]
pub fn expect_responses(mut bytes: &[u8], sent: &[u8]) -> usize {
    let mut count = 0;
    while !bytes.is_empty() {
        match reference::response(bytes, "GET", true) {
            Reading::Whole(_, length) => bytes = &bytes[length..],
            // What a request that breaks off had been told.
            _ if bytes == b"HTTP/1.1 100 Continue\r\n\r\n" => return count,
            other => panic!("{other:?} in {:?} after {:?}", String::from_utf8_lossy(bytes), String::from_utf8_lossy(sent)),
        }
        count += 1;
    }
    count
}

/// Sends all of it, ends the sending half, and reads what comes back.
pub fn exchange(address: std::net::SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut conn = Conn::open(address);
    // A refusal may end the connection before all is written.
    drop(std::io::Write::write_all(&mut conn.stream, bytes));
    drop(conn.stream.shutdown(std::net::Shutdown::Write));
    conn.read_to_end()
}

#[test]
fn an_upstream_gets_the_requests_that_the_standard_sees_or_fewer() {
    let mut dice = Dice::new("spoilt requests");
    let tap = Tap::start();
    let server = Server::before(&tap.upstream);
    let before = settled(&server);
    tap.requests();
    let count = rounds(300, 20_000);
    let (mut sound, mut passed, mut answered) = (0, 0, 0);
    for _ in 0..count {
        let sent = requests(&mut dice, &["/a", "/b/c"]);
        let got = exchange(server.mock, &sent);
        answered += expect_responses(&got, &sent);
        let seen = reference::requests(&sent);
        let heard: Vec<reference::Request> = tap.requests().iter().flat_map(|bytes| reference::requests(bytes)).collect();
        let shown = String::from_utf8_lossy(&sent).into_owned();
        assert!(heard.len() <= seen.len(), "{shown:?}: {heard:?}, but there are only {seen:?}");
        assert_eq!(heard, seen[..heard.len()], "{shown:?}");
        sound += seen.len();
        passed += heard.len();
    }
    assert!(passed * 3 > sound * 2, "most of what is sound passes: {passed} of {sound}");
    let after = Usage::back_to(server.pid, &before);
    assert!(!server.log().contains("panicked"), "{}", server.log());
    println!("spoilt requests: {count} connections, {sound} whole requests, {passed} passed, {answered} answers; {before:?}, {after:?}");
}

#[test]
fn a_client_gets_the_response_that_the_standard_sees_or_sees_that_it_is_none() {
    let mut dice = Dice::new("spoilt responses");
    let mut table: Vec<Vec<u8>> = Vec::new();
    let count = rounds(300, 20_000);
    for _ in 0..count {
        let mut bytes = match dice.below(6) {
            0 => &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\nhello"[..],
            1 => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n3\r\n\r\n0\r\n0\r\nT: 1\r\n\r\n",
            2 => b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello",
            3 => b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nto the end",
            4 => b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n",
            _ => {
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nb\r\ndata: x\r\n\r\n\r\n0\r\n\r\n"
            }
        }
        .to_vec();
        if !dice.once_in(10) {
            spoil(&mut dice, &mut bytes);
        }
        table.push(bytes);
    }
    let upstream: Upstream = responses::answering(table.clone());
    let server = Server::before(&upstream);
    let before = settled(&server);
    let (mut sound, mut whole, mut refused, mut cut) = (0, 0, 0, 0);
    for (number, sent) in table.iter().enumerate() {
        let got = responses::get(&server, "GET", number);
        let shown = || format!("{:?} became {:?}", String::from_utf8_lossy(sent), String::from_utf8_lossy(&got));
        // Lines of a head may end with LF alone: mockd passes on what it has made of it.
        let lenient = has_bare_lf(sent);
        let seen = reference::response(sent, "GET", true);
        sound += usize::from(matches!(seen, Reading::Whole(..)));
        match reference::response(&got, "GET", true) {
            Reading::Whole(answer, length) => {
                let rest = &got[length..];
                let is_mark = matches!(reference::response(rest, "GET", true),
                    Reading::Whole(mark, all) if mark.body == b"mark" && all == rest.len());
                assert!(rest.is_empty() || is_mark, "{}", shown());
                match &seen {
                    Reading::Whole(seen, _) if answer.status != 502 => {
                        assert!(lenient || (seen.status, &seen.body) == (answer.status, &answer.body), "{}", shown());
                        whole += 1;
                    }
                    _ => {
                        assert!(answer.status == 502 || lenient, "{}", shown());
                        refused += 1;
                    }
                }
            }
            Reading::Cut => {
                // What the standard sees as whole, mockd may refuse in the middle, but must then say so.
                assert!(!got.ends_with(b"mark"), "{}", shown());
                cut += 1;
            }
            Reading::Wrong => panic!("{}", shown()),
        }
    }
    let after = Usage::back_to(server.pid, &before);
    assert!(!server.log().contains("panicked"), "{}", server.log());
    assert!(whole * 3 > sound * 2, "most of what is sound passes: {whole} of {sound}");
    println!("spoilt responses: {count}, {sound} whole, {whole} passed, {refused} refused, {cut} cut; {before:?}, {after:?}");
}

fn has_bare_lf(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().any(|(at, &byte)| byte == b'\n' && (at == 0 || bytes[at - 1] != b'\r'))
}
