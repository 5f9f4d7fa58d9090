//! What mockd itself answers on the mock port: errors and short replies, as JSON, with CORS. It writes heads and bodies; it decides nothing.

use std::time::Duration;

use super::cors;
use super::flow::discard;
use super::inlet::Inlet;
use super::relay_http::After;
use crate::base::error::Error;
use crate::base::limits;
use crate::wire::body::Framing;
use crate::wire::head::{Headers, Malformed, RequestHead, ResponseHead};
use crate::wire::stream::Wait;

/// The JSON of an error: `{"error":…,"message":…}`, with the candidates of an ambiguous id.
pub fn error_body(error: &Error) -> Vec<u8> {
    let mut body = serde_json::json!({"error": error.code(), "message": error.to_string()});
    if let Error::Ambiguous { candidates, .. } = error {
        body["candidates"] = serde_json::json!(candidates);
    }
    format!("{body}\n").into_bytes()
}

/// Answers a request with an error, as JSON.
pub fn refuse(client: &mut Inlet, request: &RequestHead, error: &Error, cors_origin: Option<&str>) -> After {
    let mut response = ResponseHead::new(error.status());
    if let Error::MethodNotAllowed { allow } = error {
        response.headers.push("Allow", allow.as_str());
    }
    send(client, request, response, Some(&error_body(error)), cors_origin)
}

/// Answers a request that could not be read, with more header fields than those that every such answer has. The connection ends with it.
pub fn refuse_unread(client: &mut Inlet, malformed: &Malformed, more: Headers) {
    let code = match malformed.status {
        408 => "timeout",
        413 => "too_large",
        431 => "head_too_large",
        501 => "not_implemented",
        505 => "version_not_supported",
        _ => "bad_request",
    };
    let body = format!("{}\n", serde_json::json!({"error": code, "message": malformed.message}));
    let mut response = ResponseHead { headers: more, ..ResponseHead::new(malformed.status) };
    response.headers.push("Content-Type", "application/json");
    response.headers.push("Content-Length", body.len().to_string());
    response.headers.push("Connection", "close");
    write_and_end(client, response, body.as_bytes(), STALL);
}

/// Sends a response of ours with its body (`None`: a status that has none), CORS and length.
pub fn send(
    client: &mut Inlet,
    request: &RequestHead,
    mut response: ResponseHead,
    body: Option<&[u8]>,
    cors_origin: Option<&str>,
) -> After {
    cors::allow(&mut response.headers, request, cors_origin);
    if body.is_some() && response.headers.get("Content-Type").is_none() {
        response.headers.push("Content-Type", "application/json");
    }
    // A body that nobody read stands before the next request; it is cheaper to end the connection than to read it.
    let is_read = request.framing() == Ok(Framing::None);
    finish(client, request, response, body, is_read, STALL)
}

/// How long a client may take no byte of an answer.
const STALL: Duration = Duration::from_millis(limits::STALL_TIMEOUT_MS);

/// Sends a response whose fields are all there but its length, to a client that may take no byte for `stall`. `is_read`: nothing of
/// the request is left, so that another may follow.
pub fn finish(
    client: &Inlet,
    request: &RequestHead,
    mut response: ResponseHead,
    body: Option<&[u8]>,
    is_read: bool,
    stall: Duration,
) -> After {
    if let Some(body) = body {
        response.headers.push("Content-Length", body.len().to_string());
    }
    let body = if request.method == "HEAD" { &[] } else { body.unwrap_or_default() };
    if request.keep_alive() && request.minor_version == 1 && is_read {
        return if write(client, response, body, stall) { After::KeepAlive } else { After::Close };
    }
    response.headers.push("Connection", "close");
    write_and_end(client, response, body, stall);
    After::Close
}

fn write(client: &Inlet, response: ResponseHead, body: &[u8], stall: Duration) -> bool {
    let mut bytes = Vec::with_capacity(256 + body.len());
    response.write(&mut bytes);
    bytes.extend_from_slice(body);
    client.stream.write_all(&bytes, Wait::Limit(stall)).is_ok()
}

/// Writes a last response and ends the connection so that it arrives: a close with unread bytes would be a reset, which overtakes it.
fn write_and_end(client: &Inlet, response: ResponseHead, body: &[u8], stall: Duration) {
    if write(client, response, body, stall) {
        client.stream.shutdown_write();
        discard(&client.stream, Duration::from_millis(limits::CLOSE_GRACE_MS));
    }
    client.stream.shutdown();
}

/// A 204 without a body.
pub fn no_content() -> ResponseHead {
    ResponseHead { headers: Headers::default(), ..ResponseHead::new(204) }
}
