//! The mock port: what serves a request. A pending replay session first, then a mock, then an upstream, then a 404 that says how to
//! add one. How each of them is met stands in the files below.

mod deck;
mod mocks;
mod relay;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::door::Behind;
use crate::base::error::{Error, Result};
use crate::base::time::Origin;
use crate::engine::app::App;
use crate::engine::inlet::{HeadLimits, Inlet};
use crate::engine::mocks::Wanted;
use crate::engine::relay_http::{After, pairs};
use crate::engine::replay_door::Met;
use crate::engine::replays::{Asked, Claim};
use crate::engine::upstream::Route;
use crate::engine::{answer, cors};
use crate::model::pairs::Pairs;
use crate::model::recording::{Metadata, Protocol, Source};
use crate::wire::body::Framing;
use crate::wire::handshake;
use crate::wire::head::{Headers, Malformed, RequestHead, ResponseHead};
use crate::wire::url;

/// The query parameter and the header by which a client names its session.
const SESSION_PARAMETER: &str = "mockd-replay";
const SESSION_HEADER: &str = "X-Mockd-Replay";

/// Behind the mock port.
#[derive(Debug)]
pub struct MockPort {
    app: Arc<App>,
    head_limits: HeadLimits,
}

impl MockPort {
    /// The mock port of a server.
    pub fn new(app: Arc<App>) -> Self {
        let settings = &app.settings;
        let head_limits = HeadLimits {
            max_head_bytes: settings.max_head_bytes,
            head_timeout: Duration::from_millis(settings.head_timeout_ms),
            idle_timeout: Duration::from_millis(settings.idle_timeout_ms),
        };
        Self { app, head_limits }
    }
}

impl Behind for MockPort {
    fn head_limits(&self) -> HeadLimits {
        self.head_limits
    }

    fn max_connections(&self) -> u64 {
        self.app.max_connections
    }

    fn count(&self, admitted: bool) {
        let counters = &self.app.counters;
        counters.accepted.fetch_add(1, Ordering::Relaxed);
        if !admitted {
            counters.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn too_many(&self) -> String {
        "this server is at its limit of connections; try again, or raise --max-connections".to_owned()
    }

    fn answer(&self, client: Inlet, head: RequestHead, peer: SocketAddr) -> Option<(Inlet, After)> {
        self.app.counters.requests.fetch_add(1, Ordering::Relaxed);
        let request = Request::new(&self.app, &head, peer);
        log::debug!("{} {}", head.method, self.app.redactor.url(&head.target));
        request.answer(client)
    }
}

/// One request on the mock port.
struct Request<'a> {
    app: &'a Arc<App>,
    head: &'a RequestHead,
    /// When it had been read.
    origin: Origin,
    peer: SocketAddr,
    path: &'a str,
    /// The target without the parameter that names a session.
    target: String,
    websocket: bool,
}

/// What became of a request: the connection is an inlet's no more where it became a WebSocket.
type Outcome = std::result::Result<Option<(Inlet, After)>, (Inlet, Error)>;

impl<'a> Request<'a> {
    fn new(app: &'a Arc<App>, head: &'a RequestHead, peer: SocketAddr) -> Self {
        let target = if head.target.contains(SESSION_PARAMETER) || head.target.contains('%') {
            url::without_parameter(&head.target, SESSION_PARAMETER)
        } else {
            head.target.clone()
        };
        Self { app, head, origin: Origin::now(), peer, path: head.path(), target, websocket: head.is_websocket_upgrade() }
    }

    fn answer(&self, mut client: Inlet) -> Option<(Inlet, After)> {
        if let Err(malformed) = self.framing() {
            answer::refuse_unread(&mut client, &malformed, Headers::default());
            return Some((client, After::Close));
        }
        match self.serve(client) {
            Ok(outcome) => outcome,
            Err((mut client, error)) => {
                let after = self.refuse(&mut client, &error);
                Some((client, after))
            }
        }
    }

    // Apart, like all that a stream does not need: what lies in the frames below one stays in memory for as long as it runs.
    #[inline(never)]
    fn refuse(&self, client: &mut Inlet, error: &Error) -> After {
        let words = error.to_string();
        let words = self.app.redactor.plain(&words).unwrap_or(words);
        log::debug!("{} {}: {words}", self.head.method, self.app.redactor.url(self.path));
        answer::refuse(client, self.head, error, self.cors_origin())
    }

    /// How the body is framed. A handshake has none: what one side takes for a body the other could take for frames.
    fn framing(&self) -> std::result::Result<(), Malformed> {
        match self.head.framing()? {
            Framing::None | Framing::Length(0) => Ok(()),
            _ if self.websocket => Err(Malformed::new(400, "a WebSocket handshake has no body; send it without Content-Length")),
            _ => Ok(()),
        }
    }

    fn serve(&self, mut client: Inlet) -> Outcome {
        if cors::is_preflight(self.head) && self.answers_preflight() {
            let after = self.answer_preflight(&mut client);
            return Ok(Some((client, after)));
        }
        let named = self.named_session();
        let accept = match self.websocket.then(|| handshake::accept_key(self.head)).transpose() {
            Ok(accept) => accept,
            // A handshake that must fail uses up no session; where nothing here waits for one it is the upstream's matter.
            Err(malformed) if named.is_some() || self.awaits_handshake() => {
                return Ok(Some((self.refuse_handshake(client, &malformed), After::Close)));
            }
            Err(_) => return self.forward(client),
        };
        match self.claim(&client, named) {
            Ok(Claim::Session(seat, player)) => {
                let metadata = self.metadata(Source::Replay, None);
                let met = Met { app: self.app, seat, player, guest: None, head: self.head, origin: self.origin, metadata };
                self.replay(client, met, accept.as_deref())
            }
            // 204 tells an EventSource to stop asking (HTML standard §9.2.3).
            Ok(Claim::Ended) => {
                let after = answer::send(&mut client, self.head, answer::no_content(), None, self.cors_origin());
                Ok(Some((client, after)))
            }
            Ok(Claim::Nothing) => match self.meet_deck(client, accept.as_deref()) {
                Ok(outcome) => outcome,
                Err(client) => self.meet_mock(client, accept.as_deref()),
            },
            Err(error) => Err((client, error)),
        }
    }

    /// Whether a session, a recording that is played or a mock would take a handshake here.
    fn awaits_handshake(&self) -> bool {
        self.app.replays.awaits(Protocol::WebSocket, self.path, &self.head.method)
            || self.app.deck.first_at(Protocol::WebSocket, &self.head.method, self.path).is_some()
            || self.app.mocks.find(self.wanted(None)).is_some()
    }

    /// The session that the client names, in a header or in its URL.
    fn named_session(&self) -> Option<String> {
        let in_query = || url::parameters(self.head.query()?).find(|(name, _)| name == SESSION_PARAMETER).map(|(_, value)| value);
        self.head.headers.get(SESSION_HEADER).map(str::to_owned).or_else(in_query)
    }

    fn protocol(&self) -> Protocol {
        if self.websocket { Protocol::WebSocket } else { Protocol::Sse }
    }

    /// A replay's preflight is ours, so is that of a recording that is played, and that of a mock that takes the method which it asks for, unless one takes OPTIONS itself.
    /// Where no upstream serves the path now, so are that of a replay that has ended and of any mock.
    fn answers_preflight(&self) -> bool {
        let (replays, mocks) = (&self.app.replays, &self.app.mocks);
        let asked = self.head.headers.get("Access-Control-Request-Method").unwrap_or_default();
        if replays.is_on(self.path, false) || self.app.deck.first_at(self.protocol(), asked, self.path).is_some() {
            return true;
        }
        if mocks.find(self.wanted(None)).is_some() {
            return false;
        }
        let is_upstream = || self.app.upstreams.route(self.protocol(), self.path, &self.app.recordings).is_some();
        mocks.answers(self.path, Some(asked)) || ((replays.is_on(self.path, true) || mocks.answers(self.path, None)) && !is_upstream())
    }

    #[inline(never)]
    fn answer_preflight(&self, client: &mut Inlet) -> After {
        let asked = self.head.headers.get("Access-Control-Request-Method").unwrap_or_default();
        let response = cors::preflight(self.head, &self.app.mocks.own_cors(self.path, asked));
        answer::send(client, self.head, response, None, self.cors_origin())
    }

    /// The request as mocks see it, with what is known of its body.
    fn wanted<'b>(&'b self, body: Option<&'b [u8]>) -> Wanted<'b> {
        Wanted { protocol: self.protocol(), path: self.path, head: self.head, body }
    }

    fn claim(&self, client: &Inlet, named: Option<String>) -> Result<Claim> {
        let asked = Asked {
            protocol: self.protocol(),
            path: self.path,
            method: &self.head.method,
            resumes: self.head.method == "GET" && !self.websocket && self.head.headers.get("Last-Event-ID").is_some(),
            client: &client.stream,
        };
        match named {
            Some(id) => self.app.replays.claim_named(&id, asked),
            None => Ok(self.app.replays.claim(asked)),
        }
    }

    /// Replays to a WebSocket, whose key `accept` answers, or to the client of an event stream.
    fn replay(&self, mut client: Inlet, met: Met<'_>, accept: Option<&str>) -> Outcome {
        let Some(accept) = accept else {
            return match met.run_event_stream(&mut client) {
                Ok(after) => Ok(Some((client, after))),
                Err(error) => Err((client, error)),
            };
        };
        if let Err(error) = met.run_websocket(client, accept) {
            log::error!("a replay could not be begun: {error}");
        }
        Ok(None)
    }

    #[inline(never)]
    fn refuse_handshake(&self, mut client: Inlet, malformed: &Malformed) -> Inlet {
        let mut response = ResponseHead::new(malformed.status);
        if malformed.status == 426 {
            response.headers.push("Sec-WebSocket-Version", "13");
        }
        let body = format!("{}\n", serde_json::json!({"error": "bad_handshake", "message": malformed.message}));
        answer::send(&mut client, self.head, response, Some(body.as_bytes()), self.cors_origin());
        client
    }

    /// What a recording keeps of the connection. Boxed, as it is handed through functions whose frames stay for as long as the connection.
    fn metadata(&self, source: Source, route: Option<&Route>) -> Box<Metadata> {
        let mut headers = pairs(&self.head.headers);
        headers.remove(SESSION_HEADER);
        let mut query = Pairs::default();
        if let Some((_, parameters)) = self.target.split_once('?') {
            url::parameters(parameters).for_each(|(name, value)| query.add_parameter(&name, value));
        }
        Box::new(Metadata {
            path: self.path.to_owned(),
            method: Some(self.head.method.clone()),
            headers,
            query,
            source: Some(source),
            upstream: route.map(|route| route.url.join(&self.target, self.websocket)),
            client_ip: Some(self.peer.ip().to_canonical().to_string()),
            ..Metadata::default()
        })
    }

    /// What to do about a request that nothing takes; first of all, why the mocks of its path don't.
    #[inline(never)]
    fn nothing_here(&self) -> Error {
        if let Some(error) = self.not_in_deck() {
            return error;
        }
        let protocol = if self.websocket { "websocket" } else { "sse" };
        let but = self.app.mocks.why_not(self.wanted(None)).map_or_else(String::new, |why| format!(" ({why})"));
        Error::NoRoute(format!(
            "nothing serves {} {}{but}: start mockd with --upstream URL or --demo, add an upstream or a mock to the config, add a mock with \
             POST /mocks, give \"upstream\" to POST /stream-recordings/start, or replay a {protocol} recording of this path with \
             POST /stream-recordings/{{id}}/replay",
            self.head.method, self.path
        ))
    }

    fn cors_origin(&self) -> Option<&'a str> {
        self.app.settings.cors_origin.as_deref()
    }
}
