//! The mock port: what serves a request. A pending replay session first, then an upstream, then a 404 that says how to add one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::door::Behind;
use crate::base::error::{Error, Result};
use crate::base::time::Origin;
use crate::engine::app::App;
use crate::engine::inlet::{HeadLimits, Inlet};
use crate::engine::live::Running;
use crate::engine::relay_http::{After, Exchange, pairs, upstream_head};
use crate::engine::relay_ws::Relay;
use crate::engine::replay_door::Met;
use crate::engine::replays::{Asked, Claim};
use crate::engine::tape::End;
use crate::engine::upstream::Route;
use crate::engine::{answer, cors};
use crate::model::pairs::Pairs;
use crate::model::recording::{Direction, Metadata, Protocol, Source, StreamHead};
use crate::wire::handshake;
use crate::wire::head::{Malformed, RequestHead, ResponseHead};
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
        if let Err(malformed) = self.head.framing() {
            answer::refuse_unread(&mut client, &malformed);
            return Some((client, After::Close));
        }
        match self.serve(client) {
            Ok(outcome) => outcome,
            Err((mut client, error)) => {
                log::debug!("{} {}: {error}", self.head.method, self.path);
                let after = answer::refuse(&mut client, self.head, &error, self.cors_origin());
                Some((client, after))
            }
        }
    }

    fn serve(&self, mut client: Inlet) -> Outcome {
        if cors::is_preflight(self.head) && self.answers_preflight() {
            let after = answer::send(&mut client, self.head, cors::preflight(self.head), None, self.cors_origin());
            return Ok(Some((client, after)));
        }
        let named = self.named_session();
        let accept = match self.websocket.then(|| handshake::accept_key(self.head)).transpose() {
            Ok(accept) => accept,
            // A handshake that must fail uses up no session; without a name it is the upstream's matter.
            Err(malformed) if named.is_some() => return Ok(Some((self.refuse_handshake(client, &malformed), After::Close))),
            Err(_) => return self.forward(client),
        };
        match self.claim(&client, named) {
            Ok(Claim::Session(seat, player)) => {
                let metadata = self.metadata(Source::Replay, None);
                let met = Met { app: self.app, seat, player, head: self.head, origin: self.origin, metadata };
                self.replay(client, met, accept.as_deref())
            }
            // 204 tells an EventSource to stop asking (HTML standard §9.2.3).
            Ok(Claim::Ended) => {
                let after = answer::send(&mut client, self.head, answer::no_content(), None, self.cors_origin());
                Ok(Some((client, after)))
            }
            Ok(Claim::Nothing) => self.forward(client),
            Err(error) => Err((client, error)),
        }
    }

    /// The session that the client names, in a header or in its URL.
    fn named_session(&self) -> Option<String> {
        let in_query = || url::parameters(self.head.query()?).find(|(name, _)| name == SESSION_PARAMETER).map(|(_, value)| value);
        self.head.headers.get(SESSION_HEADER).map(str::to_owned).or_else(in_query)
    }

    fn protocol(&self) -> Protocol {
        if self.websocket { Protocol::WebSocket } else { Protocol::Sse }
    }

    /// A replay's preflight is ours; so is that of one that has ended, unless an upstream serves its path now.
    fn answers_preflight(&self) -> bool {
        let replays = &self.app.replays;
        replays.is_on(self.path, false)
            || (replays.is_on(self.path, true) && self.app.upstreams.route(self.protocol(), self.path, &self.app.recordings).is_none())
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

    fn refuse_handshake(&self, mut client: Inlet, malformed: &Malformed) -> Inlet {
        let mut response = ResponseHead::new(malformed.status);
        if malformed.status == 426 {
            response.headers.push("Sec-WebSocket-Version", "13");
        }
        let body = format!("{}\n", serde_json::json!({"error": "bad_handshake", "message": malformed.message}));
        answer::send(&mut client, self.head, response, Some(body.as_bytes()), self.cors_origin());
        client
    }

    /// To the upstream, where there is one.
    fn forward(&self, client: Inlet) -> Outcome {
        match self.app.upstreams.route(self.protocol(), self.path, &self.app.recordings) {
            Some(route) => self.relay(client, &route),
            None => Err((client, self.nothing_here())),
        }
    }

    fn relay(&self, client: Inlet, route: &Route) -> Outcome {
        // `OPTIONS *` asks for the whole server (RFC 9110 §9.3.7); no prefix makes a path of it.
        let prefix = if self.target == "*" { "" } else { route.url.path_prefix.as_str() };
        let target = format!("{prefix}{}", self.target);
        let kept: &[&str] = if self.websocket { &["Connection", "Upgrade"] } else { &[] };
        let mut outgoing = upstream_head(self.head, target, Some(&route.url.authority()), route.origin.as_deref(), kept);
        if self.websocket {
            // Whatever else `Connection` names ends here.
            outgoing.headers.set("Connection", "Upgrade");
        } else if self.head.headers.get("Transfer-Encoding").is_some() {
            outgoing.headers.push("Transfer-Encoding", "chunked");
        }
        let upstream = match self.app.upstreams.connect(&route.url) {
            Ok(upstream) => upstream,
            Err(error) => return Err((client, error)),
        };
        if self.websocket {
            self.relay_websocket(client, route, &outgoing, upstream)
        } else {
            self.relay_http(client, route, &outgoing, upstream)
        }
    }

    fn relay_http(&self, mut client: Inlet, route: &Route, outgoing: &RequestHead, upstream: crate::wire::stream::Stream) -> Outcome {
        let mut exchange = self.exchange(route);
        match exchange.run(&mut client, self.head, outgoing, upstream) {
            Ok(after) => Ok(Some((client, after))),
            Err(error) => Err((client, error)),
        }
    }

    fn exchange(&self, route: &Route) -> Exchange<'_> {
        let recordings = &self.app.recordings;
        let settings = &self.app.settings;
        Exchange {
            live: &self.app.live,
            record: recordings.wants(Protocol::Sse, self.path).then(|| (recordings, self.metadata(Source::Proxy, Some(route)))),
            origin: self.origin,
            max_request_body_bytes: settings.max_request_body_bytes,
            max_head_bytes: settings.max_head_bytes,
            continued: false,
            in_chunks: false,
        }
    }

    /// The upstream's handshake first; the client gets its answer.
    fn relay_websocket(&self, client: Inlet, route: &Route, outgoing: &RequestHead, upstream: crate::wire::stream::Stream) -> Outcome {
        let upstream = Arc::new(upstream);
        let mut bytes = Vec::with_capacity(1024);
        outgoing.write(&mut bytes);
        if let Err(error) = upstream.write_all(&bytes, None) {
            return Err((client, Error::BadGateway(format!("the connection to the upstream broke: {error}"))));
        }
        let mut inlet = Inlet::new(Arc::clone(&upstream));
        let limit = Duration::from_millis(self.app.settings.connect_timeout_ms);
        let response = loop {
            match inlet.read_response(&client.stream, 0, self.app.settings.max_head_bytes, Some(limit)) {
                Ok(Some(response)) if (100..200).contains(&response.status) && response.status != 101 => {}
                Ok(Some(response)) => break response,
                Ok(None) => return Ok(Some((client, After::Close))),
                Err(error) => return Err((client, error)),
            }
        };
        if response.status != 101 {
            let stream = Arc::clone(&client.stream);
            let mut exchange = Exchange { record: None, ..self.exchange(route) };
            return match exchange.relay_final_of(&stream, self.head, inlet, response) {
                Ok(after) => Ok(Some((client, after))),
                Err(error) => Err((client, error)),
            };
        }
        if !handshake::is_accepted(outgoing, &response) {
            let why = "the upstream answered the WebSocket handshake with 101 and a wrong Sec-WebSocket-Accept".to_owned();
            return Err((client, Error::BadGateway(why)));
        }
        let subprotocol = response.headers.get("Sec-WebSocket-Protocol").map(str::to_owned);
        let mut headers = response.headers.end_to_end(&["Connection", "Upgrade"]);
        headers.remove("Sec-WebSocket-Extensions");
        let mut bytes = Vec::with_capacity(512);
        ResponseHead { headers, ..response }.write(&mut bytes);
        let recordings = &self.app.recordings;
        let reserved = recordings.claim(Protocol::WebSocket, self.metadata(Source::Proxy, Some(route)));
        let sent = client.stream.write_all(&bytes, None);
        let origin = Origin::now();
        let tape = reserved.map(|reserved| recordings.begin(reserved, origin, StreamHead::WebSocket { subprotocol }));
        if sent.is_err() {
            tape.iter().for_each(|tape| tape.end(End::Side(Direction::ClientToServer)));
            return Ok(None);
        }
        let relay = Arc::new(Relay::new(Arc::clone(&client.stream), upstream, tape, self.app.settings.max_message_bytes));
        let _entry = self.app.live.enter(Running::WebSocket(Arc::clone(&relay)));
        if let Err(error) = relay.run(client, inlet) {
            log::error!("a WebSocket could not be relayed: {error}");
        }
        Ok(None)
    }

    /// What a recording keeps of the connection.
    fn metadata(&self, source: Source, route: Option<&Route>) -> Metadata {
        let mut headers = pairs(&self.head.headers);
        headers.remove(SESSION_HEADER);
        let mut query = Pairs::default();
        if let Some((_, parameters)) = self.target.split_once('?') {
            url::parameters(parameters).for_each(|(name, value)| query.add_parameter(&name, value));
        }
        Metadata {
            path: self.path.to_owned(),
            method: Some(self.head.method.clone()),
            headers,
            query,
            source: Some(source),
            upstream: route.map(|route| route.url.join(&self.target, self.websocket)),
            client_ip: Some(self.peer.ip().to_canonical().to_string()),
            ..Metadata::default()
        }
    }

    fn nothing_here(&self) -> Error {
        let protocol = if self.websocket { "websocket" } else { "sse" };
        Error::NoRoute(format!(
            "nothing serves {} {}: start mockd with --upstream URL or --demo, add an upstream to the config, give \"upstream\" to \
             POST /stream-recordings/start, or replay a {protocol} recording of this path with POST /stream-recordings/{{id}}/replay",
            self.head.method, self.path
        ))
    }

    fn cors_origin(&self) -> Option<&'a str> {
        self.app.settings.cors_origin.as_deref()
    }
}
