//! The admin port behind its gate: requests come from `tiny_http` on a Unix socket, each is answered on a thread of its own.
//!
//! The gate in front caps connections, head size and head time; here stand who may ask (`access`), what there is to ask
//! (`routes`), what was asked (`call`) and how it is answered (`answer`). Nothing of a recording or a replay is decided here.

pub mod about;
pub mod access;
pub mod answer;
pub mod call;
pub mod convert;
pub mod frames;
pub mod mocks;
pub mod outlet;
pub mod recordings;
pub mod replays;
pub mod routes;
pub mod socket;
pub mod transfer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tiny_http::{Request, Server};

use self::access::{Asked, Verdict};
use self::answer::Answer;
use self::call::{Asker, Budget, Call, Parameters};
use self::routes::Found;
use super::callers::{CALLER_FIELD, Caller, Callers};
use crate::base::error::{Error, Result};
use crate::base::sync::Place;
use crate::base::{limits, sync, time};
use crate::engine::app::App;

pub use self::socket::{AdminSocket, bind};

/// Requests answered at once for each connection that the gate lets in: a call that waits for something outlives its connection for
/// up to a second, so there is a bound here too.
const CALLS_PER_CONNECTION: u64 = 2;

/// Whether the body of a request may be large: `target` as it stands in the request line.
pub fn takes_large_body(method: &str, target: &str) -> bool {
    matches!(routes::find(method, Target::of(target).path), Found::Call(route, _) if route.large)
}

/// Starts the HTTP server on a socket of its own; it ends when the socket is dropped. `callers` are those whom the gate, which lets in
/// `max_connections`, sees leave.
///
/// # Errors
/// There is no place for the socket, or no thread.
pub fn open(app: &Arc<App>, callers: &Arc<Callers>, max_connections: u64) -> Result<AdminSocket> {
    let socket = bind(&socket_parents())?;
    let (app, callers, server) = (Arc::clone(app), Arc::clone(callers), Arc::clone(&socket.server));
    sync::spawn("admin calls", move || serve_requests(&app, &callers, max_connections * CALLS_PER_CONNECTION, &server))?;
    Ok(socket)
}

/// Where the admin port's inner socket may be, best first.
fn socket_parents() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    runtime.into_iter().chain([std::env::temp_dir(), PathBuf::from("/dev/shm"), PathBuf::from(".")]).collect()
}

/// Answers requests until `server` is unblocked.
fn serve_requests(app: &Arc<App>, callers: &Arc<Callers>, max_calls: u64, server: &Server) {
    // The uptime counts from the first look at the clock.
    time::now_us();
    let under_way = Arc::new(AtomicU64::new(0));
    // Bytes of large bodies.
    let held = Arc::new(AtomicU64::new(0));
    loop {
        let request = match server.recv() {
            Ok(request) => request,
            // That is how tiny_http says that it was unblocked.
            Err(error) if error.kind() == std::io::ErrorKind::Other => return,
            // It accepts nothing more, but requests that it has accepted still come.
            Err(error) => {
                log::warn!("the admin port's inner listener broke: {error}; the next call gets a new one");
                continue;
            }
        };
        let place = Place::take(&under_way);
        if place.number > max_calls {
            let error = Error::TooMany(format!("{max_calls} calls are under way; try again when some of them have ended"));
            let answer = Answer::error(&error).with_common_fields(origin_of(&request));
            finish(answer::send_unread(request, answer));
            continue;
        }
        let (app, callers, held) = (Arc::clone(app), Arc::clone(callers), Arc::clone(&held));
        // Where there is no thread the request is dropped with the closure, which tiny_http answers with 500.
        let started = sync::spawn("admin call", move || {
            let _place = place;
            serve(&app, &callers, &held, request);
        });
        if let Err(error) = started {
            log::warn!("an admin call gets no answer: {error}");
        }
    }
}

/// Answers one request.
fn serve(app: &Arc<App>, callers: &Arc<Callers>, held: &Arc<AtomicU64>, mut request: Request) {
    let method = request.method().as_str().to_owned();
    let url = request.url().to_owned();
    let target = Target::of(&url);
    let fields = match Fields::of(&request, target.authority) {
        Ok(fields) => fields,
        Err(error) => {
            let answer = Answer::error(&error).with_common_fields(origin_of(&request));
            return finish(answer::send_unread(request, answer));
        }
    };
    let found = routes::find(&method, target.path);
    let preflight = method == "OPTIONS" && fields.origin.is_some() && fields.is_preflight;
    let open = preflight || matches!(found, Found::Call(route, _) if route.open);
    let Verdict { origin, refused } = access::judge(fields.asked(), app.settings.admin_token.as_deref(), open);

    let large = matches!(found, Found::Call(route, _) if route.large);
    let limit = if large { app.settings.max_bytes } else { limits::MAX_API_BODY_BYTES };
    let declared = request.body_length();
    let held = if large { Arc::clone(held) } else { Arc::default() };
    let mut budget = Budget::of(&held, app.settings.max_bytes);
    // The body is read in any case, since a close with unread bytes could overtake the answer; but a large one is held for nobody
    // who is refused.
    let body = match (&refused, large) {
        (Some(error), true) => Err(error.clone()),
        _ => call::read_body(request.as_reader(), declared, limit, &mut budget),
    };
    let unread = body.is_err();
    let result = match (refused, body) {
        (Some(error), _) | (None, Err(error)) => Err(error),
        (None, Ok(_)) if preflight => Ok(allow_preflight()),
        (None, Ok(body)) => {
            let caller = Caller::of(callers, fields.caller.as_deref());
            let asker = Asker { app: Arc::clone(app), caller };
            answer_found(found, &target, &method, asker, fields.last_event_id.clone(), body)
        }
    };
    let answer = result.unwrap_or_else(|error| Answer::error(&error)).with_common_fields(origin);
    log::debug!("{method} {} {}", target.path, answer.status);
    finish(if unread { answer::send_unread(request, answer) } else { answer::send(request, answer) });
}

/// The origin that a refusal echoes which was made before the request was judged.
fn origin_of(request: &Request) -> Option<&str> {
    let mut all = request.headers().iter().filter(|header| header.field.equiv("Origin")).map(|header| header.value.as_str());
    let origin = all.next().filter(|_| all.next().is_none());
    // A foreign one is echoed nowhere.
    access::judge_origin(origin).unwrap_or_default()
}

fn finish(sent: Result<()>) {
    if let Err(error) = sent {
        log::debug!("admin port: {error}");
    }
}

fn answer_found(
    found: Found<'_>,
    target: &Target<'_>,
    method: &str,
    asker: Asker,
    last_event_id: Option<String>,
    body: Vec<u8>,
) -> Result<Answer> {
    let (route, segment) = match found {
        Found::Call(route, segment) => (route, segment),
        Found::Methods(allow) if method == "OPTIONS" => return Ok(Answer::empty().with("Allow", allow)),
        Found::Methods(allow) => return Err(Error::MethodNotAllowed { allow }),
        Found::Nothing => return Err(routes::no_such_path(target.path)),
    };
    let id = routes::read_id(route, segment)?;
    let parameters = Parameters::read(target.query, route.parameters)?;
    let call = Call { asker, id, parameters, last_event_id, body };
    catch_unwind(AssertUnwindSafe(|| (route.handler)(&call))).unwrap_or_else(|_| {
        log::error!("{} {} panicked; its caller got 500, the rest goes on", route.method, route.path);
        Err(Error::Failed("this call failed inside the server; its log says where".to_owned()))
    })
}

/// What a page of an allowed origin may send. It learns from the call itself whether the path and the method exist.
fn allow_preflight() -> Answer {
    Answer::empty()
        .with("Access-Control-Allow-Methods", "GET, HEAD, POST, PATCH, DELETE")
        .with("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, Cache-Control, Last-Event-ID, X-Requested-With")
        .with("Access-Control-Max-Age", "600")
}

/// A request target in its parts (RFC 9112 §3.2).
#[derive(Debug, PartialEq, Eq)]
struct Target<'a> {
    /// Of the absolute form; it takes the place of `Host`.
    authority: Option<&'a str>,
    path: &'a str,
    query: &'a str,
}

impl<'a> Target<'a> {
    fn of(target: &'a str) -> Self {
        let absolute = target.split_once("://").filter(|(scheme, _)| scheme.bytes().all(|b| b.is_ascii_alphabetic()) && !scheme.is_empty());
        let (authority, rest) = match absolute {
            None => (None, target),
            Some((_, rest)) => {
                let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                (Some(authority), rest)
            }
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = if path.is_empty() && authority.is_some() { "/" } else { path };
        Self { authority, path, query }
    }
}

/// The header fields that a call depends on.
#[derive(Debug, Default)]
struct Fields {
    host: Option<String>,
    origin: Option<String>,
    authorization: Option<String>,
    is_preflight: bool,
    last_event_id: Option<String>,
    caller: Option<String>,
}

impl Fields {
    /// # Errors
    /// [`Error::Invalid`] for a field that stands twice: two readers of such a request may believe different ones.
    fn of(request: &Request, authority: Option<&str>) -> Result<Self> {
        let single = |name: &'static str| {
            let mut values =
                request.headers().iter().filter(|header| header.field.equiv(name)).map(|header| header.value.as_str().to_owned());
            match (values.next(), values.next()) {
                (_, Some(_)) => Err(Error::invalid(name, "this header field may stand once only")),
                (value, None) => Ok(value),
            }
        };
        let host = single("Host")?;
        Ok(Self {
            host: authority.map(str::to_owned).or(host),
            origin: single("Origin")?,
            authorization: single("Authorization")?,
            is_preflight: single("Access-Control-Request-Method")?.is_some(),
            last_event_id: single("Last-Event-ID")?,
            caller: single(CALLER_FIELD)?,
        })
    }

    fn asked(&self) -> Asked<'_> {
        Asked { host: self.host.as_deref(), origin: self.origin.as_deref(), authorization: self.authorization.as_deref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_split_as_rfc_9112_says() {
        for (target, authority, path, query) in [
            ("/replay?all=true", None, "/replay", "all=true"),
            ("/", None, "/", ""),
            ("/a?b?c", None, "/a", "b?c"),
            ("http://localhost:4290/health?x", Some("localhost:4290"), "/health", "x"),
            ("http://localhost", Some("localhost"), "/", ""),
            ("http://evil.com?/x", Some("evil.com"), "/", "/x"),
            ("/x?u=http://y/z", None, "/x", "u=http://y/z"),
            ("*", None, "*", ""),
            ("", None, "", ""),
        ] {
            assert_eq!(Target::of(target), Target { authority, path, query }, "{target}");
        }
    }

    #[test]
    fn a_deciding_field_that_stands_twice_is_refused() {
        let request = |fields: &[&str]| {
            let request = fields.iter().fold(tiny_http::TestRequest::new(), |request, field| request.with_header(field.parse().unwrap()));
            Fields::of(&Request::from(request), None).map(|fields| (fields.host, fields.origin))
        };
        assert_eq!(request(&["Host: localhost", "Origin: null"]), Ok((Some("localhost".into()), Some("null".into()))));
        for name in ["Host", "Origin", "Authorization"] {
            let twice = request(&[&format!("{name}: localhost"), &format!("{name}: example.com")]);
            assert_eq!(twice.unwrap_err().status(), 400, "{name}");
        }
    }

    #[test]
    fn places_are_given_back() {
        let under_way = Arc::new(AtomicU64::new(0));
        let (first, second) = (Place::take(&under_way), Place::take(&under_way));
        assert_eq!((first.number, second.number), (1, 2));
        drop(first);
        assert_eq!(Place::take(&under_way).number, 2);
        drop(second);
        assert_eq!(under_way.load(std::sync::atomic::Ordering::Relaxed), 0);
    }
}
