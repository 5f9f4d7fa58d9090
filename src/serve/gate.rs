//! The gate before the admin port's HTTP server: it caps connections, head size, head time and silences, refuses what that server
//! would stumble over, and relays one request at a time over a Unix socket. It knows no route.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::admin::answer::{Answer, Body, common_fields};
use super::admin::{self, AdminSocket, access};
use super::callers::{CALLER_FIELD, Callers};
use super::door::Behind;
use crate::base::error::{Error, Result};
use crate::base::time::Origin;
use crate::base::{limits, sync, text};
use crate::engine::answer;
use crate::engine::app::App;
use crate::engine::inlet::{HeadLimits, Inlet};
use crate::engine::relay_http::{After, Exchange, Patience};
use crate::wire::body::Framing;
use crate::wire::head::{Headers, Malformed, RequestHead, ResponseHead};
use crate::wire::stream::Stream;

/// Behind the admin port.
pub struct Gate {
    app: Arc<App>,
    /// The HTTP server's socket; `None` when the server ends.
    inner: Mutex<Option<AdminSocket>>,
    callers: Arc<Callers>,
    head_limits: HeadLimits,
    patience: Patience,
    max_connections: u64,
    /// The limit has been told of, and nobody has found a place since.
    is_full: AtomicBool,
}

impl Gate {
    /// Starts the HTTP server and puts the gate before it, for at most so many connections at once.
    ///
    /// # Errors
    /// There is no place for its socket, or no thread.
    pub fn open(app: Arc<App>, max_connections: u64) -> Result<Self> {
        let callers = Arc::default();
        let inner = admin::open(&app, &callers, max_connections)?;
        let settings = &app.settings;
        let head_limits = HeadLimits {
            max_head_bytes: settings.max_head_bytes,
            head_timeout: Duration::from_millis(settings.head_timeout_ms),
            idle_timeout: Duration::from_millis(settings.idle_timeout_ms),
        };
        let patience = Patience { body: head_limits.head_timeout, stall: Duration::from_millis(settings.stall_timeout_ms) };
        Ok(Self { app, inner: Mutex::new(Some(inner)), callers, head_limits, patience, max_connections, is_full: AtomicBool::new(false) })
    }

    /// Ends the HTTP server and removes its socket.
    pub fn close(&self) {
        drop(sync::lock(&self.inner).take());
    }

    /// A connection to the HTTP server. Where somebody has cleaned its socket away, or it has closed it (as it does for ever after one
    /// connection that it could not accept, for want of a descriptor), there is a new one.
    fn connect(&self) -> Result<UnixStream> {
        let ends = || Error::Failed("the server is ending".to_owned());
        let path = sync::lock(&self.inner).as_ref().map(|inner| inner.path.clone()).ok_or_else(ends)?;
        let failed =
            |error: std::io::Error| Error::Failed(format!("the admin port's server at {} does not answer: {error}", path.display()));
        match UnixStream::connect(&path) {
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => {
                log::warn!("nobody answers at the admin port's inner socket {} any more ({error}); it gets a new one", path.display());
                let mut inner = sync::lock(&self.inner);
                // Another call may have been here first.
                if inner.as_ref().is_some_and(|inner| inner.path == path) {
                    *inner = Some(admin::open(&self.app, &self.callers, self.max_connections)?);
                }
                let path = inner.as_ref().map(|inner| inner.path.clone()).ok_or_else(ends)?;
                drop(inner);
                UnixStream::connect(path).map_err(failed)
            }
            connected => connected.map_err(failed),
        }
    }

    /// What the inner server would not survive or would misread.
    fn check(&self, head: &RequestHead) -> std::result::Result<(), Malformed> {
        let malformed = |status, message: &str| Malformed { status, message: message.to_owned() };
        // A browser sends what any port of localhost has set as a cookie to all of them; it is not relayed.
        let is_relayed = |name: &str| !name.eq_ignore_ascii_case("Cookie");
        if let Some((name, _)) = head.headers.0.iter().find(|(name, value)| is_relayed(name) && !value.is_ascii()) {
            return Err(malformed(400, &format!("the header field {} of an admin call must be ASCII", text::shorten(name, 64))));
        }
        if head.headers.get("Expect").is_some_and(|expect| !expect.eq_ignore_ascii_case("100-continue")) {
            return Err(malformed(417, "the only expectation that is met is 100-continue"));
        }
        let limit = if is_large(head) { self.app.settings.max_bytes } else { limits::MAX_API_BODY_BYTES };
        match head.framing()? {
            Framing::Length(length) if length > limit => {
                Err(malformed(413, &format!("the body is larger than its limit of {limit} bytes")))
            }
            _ => Ok(()),
        }
    }

    fn relay(&self, client: &mut Inlet, head: &RequestHead) -> Result<After> {
        let inner = self.connect()?;
        let caller = self.callers.enter();
        let mut headers = head.headers.end_to_end(&[]);
        // It takes the place of one that the client sent.
        headers.set(CALLER_FIELD, caller.number.to_string());
        headers.set("Connection", "close");
        // It is met here.
        headers.remove("Expect");
        // Nobody reads it, and it may hold what the inner server would stumble over.
        headers.remove("Cookie");
        // The inner server makes room for what is declared of a body and does not come, waits for a short one before it hands out the
        // request, takes a chunk that breaks off for a whole one, and reads one length where two stand. In chunks of ours, which
        // declare nothing and are whole, it reads what was read here.
        let in_chunks = !matches!(head.framing(), Ok(Framing::None | Framing::Length(0)));
        if in_chunks {
            headers.remove("Content-Length");
            headers.set("Transfer-Encoding", "chunked");
        }
        let outgoing = RequestHead { headers, ..head.clone() };
        let mut exchange = Exchange {
            live: &self.app.live,
            record: None,
            origin: Origin::now(),
            max_request_body_bytes: 0,
            max_head_bytes: self.head_limits.max_head_bytes,
            continued: false,
            in_chunks,
            patience: Some(self.patience),
        };
        exchange.run(client, head, &outgoing, Stream::Unix(inner))
    }

    /// Relays a call, or refuses it. Whose page asks is judged first, for it decides who may read the refusals that follow.
    fn meet(&self, client: &mut Inlet, head: &RequestHead) -> After {
        let origin = match judge_origin(head) {
            Ok(origin) => origin,
            Err(error) => return self.refuse(client, head, &error, None),
        };
        if let Err(malformed) = self.check(head) {
            answer::refuse_unread(client, &malformed, as_headers(common_fields(origin)));
            return After::Close;
        }
        match self.relay(client, head) {
            Ok(after) => after,
            Err(error) => {
                // A body that is wrong or late is the caller's matter.
                if !matches!(error, Error::Invalid { .. } | Error::TimedOut(_)) {
                    log::error!("an admin call failed: {error}");
                }
                self.refuse(client, head, &error, origin)
            }
        }
    }

    /// Answers a call as the server behind the gate would: the mock port's CORS is for everybody, this port's is not.
    fn refuse(&self, client: &Inlet, head: &RequestHead, error: &Error, origin: Option<&str>) -> After {
        log::debug!("{} {} {}", head.method, head.path(), error.status());
        let Answer { status, fields, body } = Answer::error(error).with_common_fields(origin);
        let response = ResponseHead { headers: as_headers(fields), ..ResponseHead::new(status) };
        let body = match &body {
            Body::Bytes(bytes) => Some(&**bytes),
            Body::None | Body::Stream(_) => None,
        };
        // A body that nobody read stands before the next request.
        let is_read = head.framing() == Ok(Framing::None);
        answer::finish(client, head, response, body, is_read, self.patience.stall)
    }
}

/// The origin of a request that may use the port, for the answer to echo; `None` where it has none.
///
/// # Errors
/// [`Error::Forbidden`] for a foreign one, [`Error::Invalid`] for two.
fn judge_origin(head: &RequestHead) -> Result<Option<&str>> {
    let mut all = head.headers.all("Origin");
    match (all.next(), all.next()) {
        (_, Some(_)) => Err(Error::invalid("Origin", "this header field may stand once only")),
        // What is no text names no loopback host.
        (origin, None) => access::judge_origin(origin.map(|origin| std::str::from_utf8(origin).unwrap_or("\u{fffd}"))),
    }
}

/// The one `Origin` in the front of a head that could not be read. A line that is cut may go on, so that it says nothing.
fn origin_in(read: &[u8]) -> Option<&str> {
    let lines = read.split_inclusive(|&byte| byte == b'\n').map_while(|line| line.strip_suffix(b"\r\n"));
    let mut all = lines.skip(1).take_while(|line| !line.is_empty()).filter_map(|line| {
        let (name, value) = line.split_at_checked("Origin:".len())?;
        name.eq_ignore_ascii_case(b"Origin:").then_some(value.trim_ascii())
    });
    let origin = all.next().filter(|_| all.next().is_none())?;
    std::str::from_utf8(origin).ok()
}

/// Header fields of the admin port for an answer of the gate's own.
fn as_headers(fields: Vec<(&'static str, String)>) -> Headers {
    Headers(fields.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect())
}

/// Whether the call may have a large body.
fn is_large(head: &RequestHead) -> bool {
    admin::takes_large_body(&head.method, &head.target)
}

impl Behind for Gate {
    fn head_limits(&self) -> HeadLimits {
        self.head_limits
    }

    fn max_connections(&self) -> u64 {
        self.max_connections
    }

    fn count(&self, admitted: bool) {
        if admitted {
            self.is_full.store(false, Ordering::Relaxed);
            return;
        }
        // Once for each time that it fills up: a flood of connections is no flood of the log.
        let level = if self.is_full.swap(true, Ordering::Relaxed) { log::Level::Debug } else { log::Level::Warn };
        log::log!(level, "the admin port is at its limit of {} connections", self.max_connections);
    }

    fn too_many(&self) -> String {
        format!("the admin port is at its limit of {} connections; try again when some of them have ended", self.max_connections)
    }

    fn refusal_fields(&self, read: &[u8]) -> Headers {
        // A foreign one is echoed nowhere.
        as_headers(common_fields(access::judge_origin(origin_in(read)).unwrap_or_default()))
    }

    fn answer(&self, mut client: Inlet, head: RequestHead, _peer: SocketAddr) -> Option<(Inlet, After)> {
        let after = self.meet(&mut client, &head);
        Some((client, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_line_of_a_refused_head_says_whose_page_asks() {
        for (read, origin) in [
            ("GET / HTTP/1.1\r\nOrigin: http://localhost\r\nX: ", Some("http://localhost")),
            ("GET / HTTP/1.1\r\nhost: a\r\norigin:http://a \r\n\r\n", Some("http://a")),
            ("GET / HTTP/1.1\r\nOrigin: http://localhost", None),
            ("GET / HTTP/1.1\r\nOrigin: http://localhost\n", None),
            ("GET / HTTP/1.1\r\nOrigin: http://localhost\r\nOrigin: http://a\r\n", None),
            ("GET / HTTP/1.1\r\nX: 1\r\n Origin: http://localhost\r\n", None),
            ("GET / HTTP/1.1\r\nX: 1\r\n\r\nOrigin: http://localhost\r\n", None),
            ("Origin: http://localhost\r\n", None),
            ("", None),
        ] {
            assert_eq!(origin_in(read.as_bytes()), origin, "{read:?}");
        }
    }
}
