//! The mock port's way to an upstream: the request is changed as little as it must be, its answer is passed on, recorded if a session asks for it.

use std::sync::Arc;
use std::time::Duration;

use super::{Outcome, Request};
use crate::base::error::Error;
use crate::base::time::Origin;
use crate::engine::inlet::{Inlet, Patience};
use crate::engine::live::Running;
use crate::engine::relay_http::{After, Exchange, upstream_head};
use crate::engine::relay_ws::Relay;
use crate::engine::tape::End;
use crate::engine::upstream::Route;
use crate::model::recording::{Direction, Protocol, Source, StreamHead};
use crate::wire::handshake;
use crate::wire::head::{RequestHead, ResponseHead};
use crate::wire::stream::{Stream, Wait};

impl Request<'_> {
    /// To the upstream, where there is one.
    pub(super) fn forward(&self, client: Inlet) -> Outcome {
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

    fn relay_http(&self, mut client: Inlet, route: &Route, outgoing: &RequestHead, upstream: Stream) -> Outcome {
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
            patience: None,
        }
    }

    /// The upstream's handshake first; the client gets its answer.
    fn relay_websocket(&self, client: Inlet, route: &Route, outgoing: &RequestHead, upstream: Stream) -> Outcome {
        let upstream = Arc::new(upstream);
        let mut bytes = Vec::with_capacity(1024);
        outgoing.write(&mut bytes);
        // One time for all of the handshake: interim responses do not begin it again.
        let patience = Patience::new(Duration::from_millis(self.app.settings.connect_timeout_ms));
        if let Err(error) = upstream.write_all(&bytes, Wait::Limit(patience.limit)) {
            return Err((client, Error::BadGateway(format!("the connection to the upstream broke: {error}"))));
        }
        let mut inlet = Inlet::new(Arc::clone(&upstream));
        let response = loop {
            match inlet.read_response(&client.stream, None, self.app.settings.max_head_bytes, Some(patience)) {
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
        if let Err(wrong) = handshake::check_accepted(outgoing, &response) {
            let why = format!("the upstream answered the WebSocket handshake with 101 and {wrong}");
            return Err((client, Error::BadGateway(why)));
        }
        let subprotocol = response.headers.get("Sec-WebSocket-Protocol").map(str::to_owned);
        let mut headers = response.headers.end_to_end(&["Connection", "Upgrade"]);
        headers.remove("Sec-WebSocket-Extensions");
        let mut bytes = Vec::with_capacity(512);
        ResponseHead { headers, ..response }.write(&mut bytes);
        let recordings = &self.app.recordings;
        let reserved = recordings.claim(Protocol::WebSocket, self.metadata(Source::Proxy, Some(route)));
        // Before the write: it wakes the client, which may take this very core, and the stream's times would begin late.
        let origin = Origin::now();
        let stall = self.app.live.stall;
        let sent = client.stream.write_all(&bytes, Wait::Relay { source: &upstream, stall });
        let tape = reserved.map(|reserved| recordings.begin(reserved, origin, StreamHead::WebSocket { subprotocol }));
        if sent.is_err() {
            tape.iter().for_each(|tape| tape.end(End::Side(Direction::ClientToServer)));
            return Ok(None);
        }
        let relay = Arc::new(Relay::new(Arc::clone(&client.stream), upstream, tape, self.app.settings.max_message_bytes, stall));
        let _entry = self.app.live.enter(Running::WebSocket(Arc::clone(&relay)));
        if let Err(error) = relay.run(client, inlet) {
            log::error!("a WebSocket could not be relayed: {error}");
        }
        Ok(None)
    }
}
