//! Answers: status, header fields and body, and how they are written. What an answer says is the handlers' matter.

use std::borrow::Cow;
use std::io::Write;

use serde::Serialize;
use serde_json::json;

use super::outlet::Outlet;
use crate::base::error::{Error, Result};

/// What writes the body of a streamed answer.
pub type Writing = Box<dyn FnOnce(&mut Outlet) -> Result<()> + Send>;

/// The body of an answer.
pub enum Body {
    /// None at all, not even an empty one: 204.
    None,
    /// In memory.
    Bytes(Cow<'static, [u8]>),
    /// Written piece by piece, never held whole.
    Stream(Writing),
}

/// One answer.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Header fields besides those of every answer.
    pub fields: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

impl Answer {
    /// JSON with a line feed at its end, so that a shell's prompt stands on a line of its own.
    ///
    /// # Errors
    /// What serde says; none for the types of `model`.
    pub fn json(status: u16, value: &impl Serialize) -> Result<Self> {
        let mut bytes =
            serde_json::to_vec(value).map_err(|error| Error::Failed(format!("an answer cannot be written as JSON: {error}")))?;
        bytes.push(b'\n');
        Ok(Self::bytes(status, "application/json", bytes))
    }

    /// Bytes of a type.
    pub fn bytes(status: u16, content_type: &'static str, bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        Self { status, fields: vec![("Content-Type", content_type.to_owned())], body: Body::Bytes(bytes.into()) }
    }

    /// 204.
    pub fn empty() -> Self {
        Self { status: 204, fields: Vec::new(), body: Body::None }
    }

    /// 200 with a body that is written piece by piece.
    pub fn stream(content_type: &'static str, writing: impl FnOnce(&mut Outlet) -> Result<()> + Send + 'static) -> Self {
        Self { status: 200, fields: vec![("Content-Type", content_type.to_owned())], body: Body::Stream(Box::new(writing)) }
    }

    /// An error: `{"error": code, "message": what is wrong and what to do}`.
    pub fn error(error: &Error) -> Self {
        let mut value = json!({"error": error.code(), "message": error.to_string()});
        let mut fields = vec![("Content-Type", "application/json".to_owned())];
        match error {
            Error::Ambiguous { candidates, .. } => value["candidates"] = json!(candidates),
            Error::MethodNotAllowed { allow } => fields.push(("Allow", allow.clone())),
            Error::Unauthorized => fields.push(("WWW-Authenticate", "Bearer".to_owned())),
            _ => {}
        }
        Self { status: error.status(), fields, body: Body::Bytes(format!("{value}\n").into_bytes().into()) }
    }

    /// The same with one more header field.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Adds what every answer has.
    pub fn with_common_fields(mut self, origin: Option<&str>) -> Self {
        self.fields.extend(common_fields(origin));
        self
    }
}

/// What every answer has: it is kept by no cache, guessed at by no browser, and read by pages of `origin`, the one that may.
pub fn common_fields(origin: Option<&str>) -> Vec<(&'static str, String)> {
    let mut fields =
        vec![("Cache-Control", "no-store".to_owned()), ("X-Content-Type-Options", "nosniff".to_owned()), ("Vary", "Origin".to_owned())];
    if let Some(origin) = origin {
        fields.push(("Access-Control-Allow-Origin", origin.to_owned()));
        fields.push(("Access-Control-Expose-Headers", "Allow, Content-Disposition, X-Mockd-Left-Out".to_owned()));
    }
    fields
}

/// Writes an answer to a request whose body has been read. `tiny_http`'s own `Response` gathers a streamed body before
/// it sends the first byte of it, and gives a 204 a length, so the head is ours.
///
/// # Errors
/// [`Error::Failed`] where the client is gone or the body broke off; then there is nobody left to tell but the log.
pub fn send(request: tiny_http::Request, answer: Answer) -> Result<()> {
    let with_body = *request.method() != tiny_http::Method::Head;
    let chunked = *request.http_version() >= tiny_http::HTTPVersion(1, 1);
    let mut out = request.into_writer();
    let gone = |error: std::io::Error| Error::Failed(format!("the client took no answer: {error}"));
    let mut head = head(answer.status, &answer.fields);
    match answer.body {
        Body::None => head.extend_from_slice(b"\r\n"),
        Body::Bytes(bytes) => {
            head.extend_from_slice(format!("Content-Length: {}\r\n\r\n", bytes.len()).as_bytes());
            if with_body {
                head.extend_from_slice(&bytes);
            }
        }
        Body::Stream(writing) => {
            // HTTP/1.0 knows no chunks: there the end of the connection is the end of the body.
            head.extend_from_slice(if chunked { b"Transfer-Encoding: chunked\r\n\r\n" } else { b"Connection: close\r\n\r\n" });
            if with_body {
                return write_stream(Outlet::new(out, head, chunked), writing, &answer.fields);
            }
        }
    }
    out.write_all(&head).and_then(|()| out.flush()).map_err(gone)
}

/// Writes a streamed body. What fails before its first byte is out is still told with the right status; what fails
/// later leaves the chunks without their end, so that the client knows that something is missing.
fn write_stream(mut outlet: Outlet, writing: Writing, fields: &[(&'static str, String)]) -> Result<()> {
    let error = match writing(&mut outlet) {
        Ok(()) => return outlet.finish().map_err(|error| Error::Failed(format!("the client left: {error}"))),
        Err(error) => error,
    };
    if let Some(mut out) = outlet.into_unstarted() {
        let Answer { status, fields: own, body } = Answer::error(&error);
        let common = fields.iter().filter(|(name, _)| !matches!(*name, "Content-Type" | "Content-Disposition")).cloned();
        let mut bytes = head(status, &own.into_iter().chain(common).collect::<Vec<_>>());
        if let Body::Bytes(text) = body {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", text.len()).as_bytes());
            bytes.extend_from_slice(&text);
        }
        // The error below is told in any case; a client that is gone as well adds nothing to it.
        drop(out.write_all(&bytes).and_then(|()| out.flush()));
    }
    Err(Error::Failed(format!("an answer broke off: {error}")))
}

/// Answers a request whose body is still on its way and will not be read: too large, or too slow.
///
/// # Errors
/// [`Error::Failed`] where the client is gone.
pub fn send_unread(request: tiny_http::Request, answer: Answer) -> Result<()> {
    let bytes = match answer.body {
        Body::Bytes(bytes) => bytes.into_owned(),
        Body::None | Body::Stream(_) => Vec::new(),
    };
    let mut response = tiny_http::Response::from_data(bytes).with_status_code(answer.status);
    for (name, value) in &answer.fields {
        if let Ok(field) = tiny_http::Header::from_bytes(name.as_bytes(), value.as_bytes()) {
            response.add_header(field);
        }
    }
    request.respond(response).map_err(|error| Error::Failed(format!("the client took no answer: {error}")))
}

/// Status line and header fields, without the empty line that ends them. A line end in a value would begin a field
/// of somebody else's making, so such a value is left out.
fn head(status: u16, fields: &[(&'static str, String)]) -> Vec<u8> {
    let reason = tiny_http::StatusCode(status).default_reason_phrase();
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n").into_bytes();
    for (name, value) in fields.iter().filter(|(_, value)| !value.contains(['\r', '\n', '\0'])) {
        head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: &Answer) -> String {
        match &answer.body {
            Body::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            _ => panic!("no bytes"),
        }
    }

    #[test]
    fn errors_have_a_code_and_a_message_and_what_belongs_to_them() {
        let answer = Answer::error(&Error::invalid("mode", "wrong"));
        assert_eq!((answer.status, text(&answer).as_str()), (400, "{\"error\":\"bad_request\",\"message\":\"mode: wrong\"}\n"));
        let ambiguous = Error::Ambiguous { prefix: "01HXYZ".into(), candidates: vec!["01HXYZA".into(), "01HXYZB".into()] };
        let answer = Answer::error(&ambiguous);
        assert_eq!(answer.status, 409);
        assert!(text(&answer).contains("\"candidates\":[\"01HXYZA\",\"01HXYZB\"]"));
        let answer = Answer::error(&Error::MethodNotAllowed { allow: "GET, HEAD".into() });
        assert!(answer.status == 405 && answer.fields.contains(&("Allow", "GET, HEAD".to_owned())));
        let answer = Answer::error(&Error::Unauthorized);
        assert!(answer.status == 401 && answer.fields.contains(&("WWW-Authenticate", "Bearer".to_owned())));
    }

    #[test]
    fn no_value_can_add_a_header_field() {
        let answer = Answer::empty().with("X-A", "1\r\nX-Evil: 2").with("X-B", "3");
        assert_eq!(head(answer.status, &answer.fields), b"HTTP/1.1 204 No Content\r\nX-B: 3\r\n");
    }

    #[test]
    fn every_answer_varies_by_origin_and_only_allowed_ones_are_echoed() {
        let names = |answer: &Answer| answer.fields.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let plain = Answer::empty().with_common_fields(None);
        assert_eq!(names(&plain), ["Cache-Control", "X-Content-Type-Options", "Vary"]);
        let cors = Answer::error(&Error::Unauthorized).with_common_fields(Some("http://localhost:3000"));
        assert!(cors.fields.contains(&("Access-Control-Allow-Origin", "http://localhost:3000".to_owned())));
    }

    #[test]
    fn statuses_have_their_words() {
        for (status, line) in [(200, "HTTP/1.1 200 OK"), (408, "HTTP/1.1 408 Request Timeout"), (507, "HTTP/1.1 507 Insufficient Storage")]
        {
            assert!(head(status, &[]).starts_with(line.as_bytes()), "{status}");
        }
    }
}
