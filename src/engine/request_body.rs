//! A request's body, read by mockd itself: used up for what mockd answers, or only looked at, so that the relay can still forward
//! the very bytes. What a body means is not decided here.

use std::time::Duration;

use super::inlet::Inlet;
use super::upload::Arrival;
use crate::base::error::{Error, Result};
use crate::base::limits;
use crate::wire::body::{BodyReader, Framing};
use crate::wire::head::{Malformed, RequestHead};
use crate::wire::stream::Wait;

impl Inlet {
    /// Tells a client that waits for it to send its body (RFC 9110 §10.1.1); once for each request, and not where some of it is here.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn say_continue(&mut self, head: &RequestHead) -> std::io::Result<()> {
        let has_body = head.framing().is_ok_and(|framing| !matches!(framing, Framing::None | Framing::Length(0)));
        let expects = head.minor_version == 1 && head.headers.has_token("Expect", "100-continue");
        if has_body && expects && !self.continued && self.data().is_empty() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n", Wait::Limit(Duration::from_millis(limits::STALL_TIMEOUT_MS)))?;
            self.continued = true;
        }
        Ok(())
    }

    /// Looks at the body of the request that `head` began, without using it up: its data, as far as its first `max_bytes` on the
    /// wire hold it. What lies beyond stays unread. `None` when the client leaves in the middle of it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for malformed framing; [`Error::TimedOut`] where it does not come in time, as [`Arrival`] has it.
    pub fn peek_body(&mut self, head: &RequestHead, max_bytes: usize, patience: Duration) -> Result<Option<Vec<u8>>> {
        let mut reader = BodyReader::new(head.framing().map_err(invalid)?);
        let (mut body, mut seen) = (Vec::new(), 0);
        let mut arrival = Arrival::new(patience);
        while !reader.is_done() && seen < max_bytes {
            if self.data().len() == seen && !self.await_body(head, &mut arrival)? {
                return Ok(None);
            }
            let until = self.data().len().min(max_bytes);
            let piece = reader.next(&self.data()[seen..until]).map_err(invalid)?;
            body.extend_from_slice(piece.data);
            seen += piece.consumed;
        }
        Ok(Some(body))
    }

    /// Reads the body to its end and gives its first `kept_bytes`; `None` when the client leaves in the middle of it.
    ///
    /// # Errors
    /// As [`Inlet::peek_body`].
    pub fn read_body(&mut self, head: &RequestHead, kept_bytes: usize, patience: Duration) -> Result<Option<Vec<u8>>> {
        let mut reader = BodyReader::new(head.framing().map_err(invalid)?);
        let mut body = Vec::new();
        let mut arrival = Arrival::new(patience);
        while !reader.is_done() {
            if self.data().is_empty() && !self.await_body(head, &mut arrival)? {
                return Ok(None);
            }
            let piece = reader.next(self.data()).map_err(invalid)?;
            body.extend_from_slice(&piece.data[..piece.data.len().min(kept_bytes - body.len())]);
            let consumed = piece.consumed;
            self.consume(consumed);
        }
        Ok(Some(body))
    }

    /// Reads more of a body; `false` when the client has left.
    fn await_body(&mut self, head: &RequestHead, arrival: &mut Arrival) -> Result<bool> {
        if self.say_continue(head).is_err() {
            return Ok(false);
        }
        arrival.wait(&self.stream)?;
        let read = self.fill().unwrap_or_default();
        arrival.note(read);
        Ok(read > 0)
    }
}

fn invalid(malformed: Malformed) -> Error {
    Error::invalid("", malformed.message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use super::*;
    use crate::engine::inlet::HeadLimits;
    use crate::wire::stream::Stream;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn pair() -> (Inlet, Stream) {
        let (near, far) = UnixStream::pair().unwrap();
        (Inlet::new(Arc::new(Stream::Unix(near))), Stream::Unix(far))
    }

    /// An inlet that has read a request's head with `fields`, its other end, and the head.
    fn asked(fields: &str, body: &[u8]) -> (Inlet, Stream, RequestHead) {
        let (mut inlet, far) = pair();
        let head = format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        far.write_all(&[head.as_bytes(), body].concat(), Wait::Endless).unwrap();
        let within = HeadLimits { max_head_bytes: 9_999, head_timeout: PATIENCE, idle_timeout: PATIENCE };
        let head = inlet.read_request(within).unwrap();
        (inlet, far, head)
    }

    #[test]
    fn a_body_is_seen_and_stays() {
        for (fields, wire, data) in [
            ("", "GET /next", ""),
            ("Content-Length: 0\r\n", "GET /next", ""),
            ("Content-Length: 3\r\n", "abcGET /next", "abc"),
            ("Transfer-Encoding: chunked\r\n", "2;x=1\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\nGET /next", "abc"),
            ("Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", "0\r\n\r\n", ""),
        ] {
            let (mut inlet, far, head) = asked(fields, b"");
            far.write_all(wire.as_bytes(), Wait::Endless).unwrap();
            assert_eq!(inlet.peek_body(&head, 1_000, PATIENCE).unwrap().as_deref(), Some(data.as_bytes()), "{wire:?}");
            assert_eq!(inlet.peek_body(&head, 1_000, PATIENCE).unwrap().as_deref(), Some(data.as_bytes()), "{wire:?}");
            while inlet.data().len() < wire.len() {
                inlet.fill().unwrap();
            }
            assert_eq!(inlet.data(), wire.as_bytes());
            assert_eq!(inlet.read_body(&head, 1_000, PATIENCE).unwrap().as_deref(), Some(data.as_bytes()), "{wire:?}");
            assert!(inlet.data().is_empty() || inlet.data() == b"GET /next", "{wire:?}");
        }
    }

    #[test]
    fn of_a_large_body_only_the_front_is_waited_for() {
        let (mut inlet, _far, head) = asked("Content-Length: 1000000\r\n", b"abcdef");
        assert_eq!(inlet.peek_body(&head, 4, PATIENCE).unwrap().as_deref(), Some(&b"abcd"[..]));
        assert_eq!(inlet.data(), b"abcdef");
        // Framing counts, so that a body of nothing else has a bound as well.
        let (mut inlet, _far, head) = asked("Transfer-Encoding: chunked\r\n", b"2\r\nab\r\n2\r\ncd\r\n");
        assert_eq!(inlet.peek_body(&head, 11, PATIENCE).unwrap().as_deref(), Some(&b"abc"[..]));
        assert_eq!(inlet.peek_body(&head, 0, PATIENCE).unwrap().as_deref(), Some(&b""[..]));
    }

    #[test]
    fn a_body_comes_in_any_split() {
        let (mut inlet, far, head) = asked("Transfer-Encoding: chunked\r\n", b"1");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for byte in b"0\r\n0123456789abcdef\r\n0\r\n\r\n" {
                    far.write_all(&[*byte], Wait::Endless).unwrap();
                }
            });
            assert_eq!(inlet.peek_body(&head, 1_000, PATIENCE).unwrap().as_deref(), Some(&b"0123456789abcdef"[..]));
        });
        assert_eq!(inlet.data(), b"10\r\n0123456789abcdef\r\n0\r\n\r\n");
    }

    #[test]
    fn an_expectation_is_met_once() {
        let (mut inlet, far, head) = asked("Content-Length: 3\r\nExpect: 100-Continue\r\n", b"");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut buffer = [0; 99];
                let read = far.read(&mut buffer).unwrap();
                assert_eq!(&buffer[..read], b"HTTP/1.1 100 Continue\r\n\r\n");
                far.write_all(b"abc", Wait::Endless).unwrap();
            });
            assert_eq!(inlet.peek_body(&head, 1_000, PATIENCE).unwrap().as_deref(), Some(&b"abc"[..]));
        });
        assert!(inlet.continued);
        inlet.read_body(&head, 9, PATIENCE).unwrap();
        // The next request on the connection may expect it again.
        far.write_all(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", Wait::Endless).unwrap();
        inlet.read_request(HeadLimits { max_head_bytes: 999, head_timeout: PATIENCE, idle_timeout: PATIENCE }).unwrap();
        assert!(!inlet.continued);
    }

    #[test]
    fn what_is_broken_late_or_gone_is_told_apart() {
        let (mut inlet, _far, head) = asked("Transfer-Encoding: chunked\r\n", b"2\r\nabX");
        assert!(matches!(inlet.peek_body(&head, 1_000, PATIENCE), Err(Error::Invalid { .. })));
        let (mut inlet, _far, head) = asked("Content-Length: 3\r\n", b"ab");
        let stalled = inlet.peek_body(&head, 1_000, Duration::from_millis(10));
        assert_eq!(stalled.map_err(|error| error.status()), Err(408));
        let (mut inlet, far, head) = asked("Content-Length: 3\r\n", b"ab");
        drop(far);
        assert_eq!(inlet.peek_body(&head, 1_000, PATIENCE), Ok(None));
    }

    #[test]
    fn a_long_body_is_read_to_its_end_and_kept_in_part() {
        let (mut inlet, far, head) = asked("Content-Length: 300000\r\n", b"");
        std::thread::scope(|scope| {
            scope.spawn(|| far.write_all(&[vec![b'x'; 300_000], b"GET".to_vec()].concat(), Wait::Endless).unwrap());
            assert_eq!(inlet.read_body(&head, 5, PATIENCE).unwrap().as_deref(), Some(&b"xxxxx"[..]));
        });
    }
}
