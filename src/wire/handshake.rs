//! The opening handshake (RFC 6455 §4), both sides of it. Which subprotocol is chosen, and whether an origin is welcome, is decided above.

use tungstenite::handshake::derive_accept_key;

use super::head::{Malformed, RequestHead, ResponseHead};

/// Checks a client's handshake: version 13 (else 426 with `Sec-WebSocket-Version: 13` is due), a key of 16 bytes in base64.
/// Gives the value of `Sec-WebSocket-Accept`.
///
/// # Errors
/// [`Malformed`] with 400 or 426.
pub fn accept_key(request: &RequestHead) -> Result<String, Malformed> {
    if sole(request, "Sec-WebSocket-Version").map(<[u8]>::trim_ascii) != Some(b"13") {
        return Err(Malformed::new(426, "only version 13 of the WebSocket protocol is spoken here: Sec-WebSocket-Version: 13"));
    }
    let key = sole(request, "Sec-WebSocket-Key").map(<[u8]>::trim_ascii);
    match key {
        Some(key) if data_encoding::BASE64.decode(key).is_ok_and(|bytes| bytes.len() == 16) => Ok(derive_accept_key(key)),
        _ => Err(Malformed::new(400, "Sec-WebSocket-Key must be 16 bytes in base64, once")),
    }
}

/// The subprotocols that the client offers, in order.
pub fn offered_subprotocols(request: &RequestHead) -> Vec<String> {
    request.headers.list("Sec-WebSocket-Protocol").map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// The 101 response of a server, with the subprotocol that it chose.
pub fn switching_protocols(accept: &str, subprotocol: Option<&str>) -> ResponseHead {
    let mut response = ResponseHead::new(101);
    response.headers.push("Upgrade", "websocket");
    response.headers.push("Connection", "Upgrade");
    response.headers.push("Sec-WebSocket-Accept", accept);
    if let Some(subprotocol) = subprotocol {
        response.headers.push("Sec-WebSocket-Protocol", subprotocol);
    }
    response
}

/// Checks a response of status 101 to the handshake that `request` began: `Upgrade: websocket`, `Connection: Upgrade`, the right
/// accept key (RFC 6455 §4.1).
///
/// # Errors
/// What is wrong with it, in words that follow "with 101 and".
pub fn check_accepted(request: &RequestHead, response: &ResponseHead) -> Result<(), &'static str> {
    if !response.headers.has_token("Upgrade", "websocket") {
        return Err("no Upgrade: websocket");
    }
    if !response.headers.has_token("Connection", "upgrade") {
        return Err("no Connection: Upgrade");
    }
    let accept = sole(request, "Sec-WebSocket-Key").map(|key| derive_accept_key(key.trim_ascii()));
    let mut given = response.headers.all("Sec-WebSocket-Accept").map(<[u8]>::trim_ascii);
    match (accept, given.next(), given.next()) {
        (Some(accept), Some(given), None) if given == accept.as_bytes() => Ok(()),
        _ => Err("a wrong Sec-WebSocket-Accept"),
    }
}

/// The value of a field that stands there once.
fn sole<'a>(request: &'a RequestHead, name: &'a str) -> Option<&'a [u8]> {
    let mut values = request.headers.all(name);
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and the answer of RFC 6455 §1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn request(fields: &str) -> RequestHead {
        let text = format!("GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\r\n");
        RequestHead::parse(text.as_bytes()).expect("sound").expect("whole").0
    }

    #[test]
    fn handshakes_are_checked() {
        for (fields, expected) in [
            (format!("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"), Ok(ACCEPT.to_owned())),
            (format!("Sec-WebSocket-Key: {KEY}\r\n"), Err(426)),
            (format!("Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: {KEY}\r\n"), Err(426)),
            (format!("Sec-WebSocket-Version: 13, 8\r\nSec-WebSocket-Key: {KEY}\r\n"), Err(426)),
            ("Sec-WebSocket-Version: 13\r\n".to_owned(), Err(400)),
            ("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \r\n".to_owned(), Err(400)),
            ("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2hvcnQ=\r\n".to_owned(), Err(400)),
            ("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: not base64 at all\r\n".to_owned(), Err(400)),
            (format!("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Key: {KEY}\r\n"), Err(400)),
        ] {
            assert_eq!(accept_key(&request(&fields)).map_err(|error| error.status), expected, "{fields:?}");
        }
    }

    #[test]
    fn subprotocols_are_offered_in_order() {
        let head = request("Sec-WebSocket-Protocol: b, a\r\nSec-WebSocket-Protocol: c\r\n");
        assert_eq!(offered_subprotocols(&head), ["b", "a", "c"]);
        assert!(offered_subprotocols(&request("")).is_empty());
    }

    #[test]
    fn answers_are_checked() {
        let head = request(&format!("Sec-WebSocket-Key: {KEY}\r\n"));
        let good = switching_protocols(ACCEPT, Some("chat"));
        assert_eq!(check_accepted(&head, &good), Ok(()));
        assert_eq!(good.headers.get("sec-websocket-protocol"), Some("chat"));
        let other = switching_protocols("s3pPLMBiTxaQ9kYGzzhZRbK+xOO=", None);
        assert_eq!(check_accepted(&head, &other), Err("a wrong Sec-WebSocket-Accept"));
        let mut twice = good.clone();
        twice.headers.push("Sec-WebSocket-Accept", ACCEPT);
        assert_eq!(check_accepted(&head, &twice), Err("a wrong Sec-WebSocket-Accept"));
        assert_eq!(check_accepted(&request(""), &good), Err("a wrong Sec-WebSocket-Accept"));
        for (name, wrong) in [("Upgrade", "no Upgrade: websocket"), ("Connection", "no Connection: Upgrade")] {
            let mut plain = good.clone();
            plain.headers.remove(name);
            assert_eq!(check_accepted(&head, &plain), Err(wrong));
        }
    }
}
