//! Where an HTTP client meets a mock: event streams and plain responses. When which event is due is not decided here
//! (`rules/events.rs`), nor which mock takes a request.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::event_stream::{Opening, hear_end};
use super::inlet::Inlet;
use super::mock_ws::Visit;
use super::performance;
use super::relay_http::After;
use super::{answer, cors};
use crate::base::error::Result;
use crate::base::time::{self, Micros};
use crate::base::{limits, platform, sync};
use crate::model::mock_http::{HttpResponse, SseMock};
use crate::model::pairs::Pairs;
use crate::rules::events::EventShow;
use crate::rules::performance::{Act, Heard, Moment, Performance};
use crate::rules::resume::SentIds;
use crate::wire::body::Framing;
use crate::wire::head::{Headers, ResponseHead};
use crate::wire::stream::Stream;

impl Visit<'_> {
    /// Shows the events of an SSE mock. The request's body may be read or not yet.
    ///
    /// # Errors
    /// What is wrong with the request's body; the system gives no thread.
    pub fn show_events(self, client: &mut Inlet, events: &Arc<SseMock>) -> Result<After> {
        // One more than a recording keeps, so that a longer body is seen to be longer.
        let kept_bytes = self.app.settings.max_request_body_bytes.saturating_add(1);
        let Some(body) = self.read_body(client, kept_bytes)? else { return Ok(After::Close) };
        let headers = self.headers(&events.headers);
        let response = ResponseHead { headers, ..ResponseHead::new(events.status) };
        if response.framing(&self.head.method) == Ok(Framing::None) {
            // HEAD, or a status that has no body: 204 tells an EventSource to stop (HTML standard §9.2.3).
            let due_us = self.origin.mono_us.saturating_add(events.timing.initial_delay_us);
            let stays = self.await_due(&client.stream, due_us);
            return Ok(if stays { self.finish(client, response, None) } else { After::Close });
        }
        let show = self.show(events);
        let start_us = self.origin.mono_us;
        let resume = events.resume;
        let remembers = resume.enabled && (resume.buffer_size.is_some() || resume.max_age_us.is_some());
        let show: Box<dyn Performance> = if remembers {
            Box::new(Remembered { show, mock: Arc::clone(events), sent: Arc::clone(self.guest.mock().sent()) })
        } else {
            Box::new(show)
        };
        let hear = hear_end(&client.stream);
        let opening = Opening { app: self.app, head: self.head, origin: self.origin, metadata: self.metadata, body };
        client.rest();
        let line = opening.open(&client.stream, response.status, response.headers);
        performance::perform(self.app, show, line, start_us, hear)?;
        Ok(After::Close)
    }

    /// Sends a plain response.
    ///
    /// # Errors
    /// As [`Visit::show_events`].
    pub fn respond(self, client: &mut Inlet, response: &HttpResponse) -> Result<After> {
        if self.read_body(client, 0)?.is_none() || !self.await_due(&client.stream, self.origin.mono_us.saturating_add(response.delay_us)) {
            return Ok(After::Close);
        }
        let head = ResponseHead { headers: self.headers(&response.headers), ..ResponseHead::new(response.status) };
        // The length of a response to HEAD is that of the one to GET.
        let body = (head.framing("GET") != Ok(Framing::None)).then_some(response.body.as_slice());
        Ok(self.finish(client, head, body))
    }

    fn read_body(&self, client: &mut Inlet, kept_bytes: u64) -> Result<Option<Vec<u8>>> {
        let kept_bytes = usize::try_from(kept_bytes).unwrap_or(usize::MAX);
        client.read_body(self.head, kept_bytes, Duration::from_millis(self.app.settings.head_timeout_ms))
    }

    /// Sends a response to a request whose body has been read.
    fn finish(&self, client: &Inlet, response: ResponseHead, body: Option<&[u8]>) -> After {
        answer::finish(client, self.head, response, body, true, Duration::from_millis(self.app.settings.stall_timeout_ms))
    }

    /// The fields of a response as the mock gives them, and those of CORS that it does not give.
    fn headers(&self, given: &Pairs) -> Headers {
        let mut headers = Headers::default();
        given.iter().for_each(|(name, value)| headers.push(name, value));
        cors::allow(&mut headers, self.head, self.app.settings.cors_origin.as_deref());
        headers
    }

    /// The stream for this client: from its start, or after the event that it had last.
    fn show(&self, events: &Arc<SseMock>) -> EventShow {
        let last = self.head.headers.get("Last-Event-ID");
        let after = last.and_then(|last| sync::lock(self.guest.mock().sent()).place_of(events, last, self.origin.mono_us));
        EventShow::new(Arc::clone(events), after)
    }

    /// Waits until `due_us`; `false` when the client has gone before. A client that closed its sending half with its request waits too.
    fn await_due(&self, client: &Stream, due_us: Micros) -> bool {
        let mut half_close_counts = !platform::has_half_closed(client.fd());
        loop {
            let now_us = time::now_us();
            let left = Duration::from_micros(due_us.saturating_sub(now_us));
            if left < Duration::from_millis(1) {
                // Shorter than what poll can wait for.
                std::thread::sleep(left);
                return true;
            }
            if platform::wait_hang_up(client.fd(), half_close_counts, left).unwrap_or(true) {
                let came_with_request = time::now_us().saturating_sub(self.origin.mono_us) <= limits::HALF_CLOSE_US;
                if !half_close_counts || !came_with_request {
                    return false;
                }
                half_close_counts = false;
            }
        }
    }
}

/// A stream whose ids the mock remembers as they are sent.
struct Remembered {
    show: EventShow,
    mock: Arc<SseMock>,
    sent: Arc<Mutex<SentIds>>,
}

impl Performance for Remembered {
    fn start(&mut self, now_us: u64) {
        self.show.start(now_us);
    }

    fn head_due_us(&self) -> Option<u64> {
        self.show.head_due_us()
    }

    fn next(&mut self, at: Moment) -> Act {
        let from = self.show.position();
        let act = self.show.next(at);
        if self.show.position() > from {
            sync::lock(&self.sent).note(&self.mock, from, self.show.position(), at.now_us);
        }
        act
    }

    fn hear(&mut self, heard: Heard<'_>, at: Moment) {
        self.show.hear(heard, at);
    }
}
