//! The opening handshake (RFC 6455 §4), both sides of it. (skeleton)

use super::head::{Malformed, RequestHead, ResponseHead};

/// Checks a client's handshake: version 13 (else 426 with `Sec-WebSocket-Version: 13` is due), a key of 16 bytes in base64.
/// Gives the value of `Sec-WebSocket-Accept`.
pub fn accept_key(_request: &RequestHead) -> Result<String, Malformed> { todo!() }

/// The subprotocols that the client offers, in order.
pub fn offered_subprotocols(_request: &RequestHead) -> Vec<String> { todo!() }

/// The 101 response of a server, with the subprotocol that it chose.
pub fn switching_protocols(_accept: &str, _subprotocol: Option<&str>) -> ResponseHead { todo!() }

/// Whether `response` accepts the handshake that `request` began: 101, `Upgrade: websocket`, the right accept key.
pub fn is_accepted(_request: &RequestHead, _response: &ResponseHead) -> bool { todo!() }
