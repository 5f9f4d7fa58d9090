//! The WebSocket relay: two threads, one for each direction, that forward the very bytes they read. Frame headers are looked
//! at, payloads are not; the recorder gets a copy after the frame has gone out.
//!
//! A recorded frame: `read` → `forward` → `push`. No lock is shared between the directions for longer than a push.

use std::io::ErrorKind;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::flow::{discard, send_recorded};
use super::inlet::Inlet;
use super::read_buffer::ReadBuffer;
use super::tape::{End, Tape};
use crate::base::{id, limits, sync};
use crate::model::recording::Direction;
use crate::wire::stream::{Stream, Wait, has_stalled};
use crate::wire::ws::{self, FrameGuard, Side, Violation, opcode};

/// What one direction's writer and those who want to end the connection agree on.
#[derive(Debug, Default)]
struct Outlet {
    /// A write is under way, or ended in the middle of a frame.
    mid_frame: bool,
    /// A close frame of ours that waits for the next frame boundary.
    due: Option<Vec<u8>>,
    /// Nothing more goes out: a close frame of ours has.
    shut: bool,
    /// The peer's own close frame has been forwarded.
    closed: bool,
}

/// What became of bytes that were passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Whole,
    /// The other side is gone.
    Refused,
    /// The other side takes nothing, and the one that sent it has gone.
    GivenUp,
}

/// A relayed WebSocket.
#[derive(Debug)]
pub struct Relay {
    client: Arc<Stream>,
    upstream: Arc<Stream>,
    tape: Option<Arc<Tape>>,
    max_message_bytes: u64,
    stall: Duration,
    to_client: Mutex<Outlet>,
    to_upstream: Mutex<Outlet>,
    /// Which directions have ended.
    ended: Mutex<[bool; 2]>,
    change: Condvar,
}

impl Relay {
    /// A relay between two connections whose handshake is done. Once one side has gone the other may take no byte for `stall`.
    pub fn new(client: Arc<Stream>, upstream: Arc<Stream>, tape: Option<Arc<Tape>>, max_message_bytes: u64, stall: Duration) -> Self {
        Self {
            client,
            upstream,
            tape,
            max_message_bytes,
            stall,
            to_client: Mutex::default(),
            to_upstream: Mutex::default(),
            ended: Mutex::default(),
            change: Condvar::new(),
        }
    }

    /// Relays until both directions have ended. `client` and `upstream` hold what was read with the handshake.
    ///
    /// # Errors
    /// The system gives no thread for the second direction.
    pub fn run(self: &Arc<Self>, mut client: Inlet, mut upstream: Inlet) -> crate::base::error::Result<()> {
        let _ending = Ending(self.tape.as_deref());
        let relay = Arc::clone(self);
        let early = upstream.take_data();
        let other = sync::spawn("relay s2c", move || relay.pump(Direction::ServerToClient, early))?;
        let early = client.take_data();
        drop((client, upstream));
        self.pump(Direction::ClientToServer, early);
        // The thread catches its own panics, so there is nothing in the result.
        drop(other.join());
        Ok(())
    }

    /// Sends both sides a close frame at their next frame boundary, and drops the connections where that takes more than a second.
    pub fn close_both(&self, code: u16, reason: &str) {
        for direction in [Direction::ServerToClient, Direction::ClientToServer] {
            let mask = (direction == Direction::ClientToServer).then(|| (id::random_u64() as u32).to_ne_bytes());
            let mut frame = Vec::new();
            ws::push_frame(&mut frame, opcode::CLOSE, &ws::close_payload(Some(code), reason), mask);
            let mut outlet = sync::lock(self.outlet(direction));
            if outlet.shut || outlet.closed {
                continue;
            }
            outlet.due = Some(frame);
            self.send_due(direction, &mut outlet);
        }
    }

    /// One direction: reads, checks, forwards, records, until it ends. `early` has been read already.
    fn pump(&self, direction: Direction, early: Vec<u8>) {
        let leaving = Leaving { relay: self, direction };
        let (source, side) = match direction {
            Direction::ClientToServer => (&self.client, Side::Client),
            Direction::ServerToClient => (&self.upstream, Side::Server),
        };
        let mut guard = FrameGuard::new(side, self.max_message_bytes);
        let mut skip_read = !early.is_empty();
        let mut buffer = ReadBuffer::holding(early);
        // What a server says has the time at which it came; what a client says that at which it is passed on, for its answer counts from there.
        if direction == Direction::ServerToClient && self.tape.is_some() {
            buffer.note_arrivals(source);
        }
        let mut is_large = false;
        // The other side takes nothing any more.
        let mut gone = false;
        loop {
            if !skip_read {
                match buffer.fill(source) {
                    // Read all the same: unread bytes would turn the close into a reset, which overtakes what goes the other way.
                    Ok(read @ 1..) if gone => {
                        buffer.consume(read);
                        continue;
                    }
                    Ok(1..) => {}
                    Err(error) if is_large && error.kind() == ErrorKind::WouldBlock && !self.has_closed() => {
                        buffer.shrink();
                        is_large = false;
                        self.limit_silence(source, None);
                        continue;
                    }
                    Ok(_) | Err(_) => break self.end_side(if gone { opposite(direction) } else { direction }),
                }
                if is_large != buffer.is_large() {
                    is_large = buffer.is_large();
                    self.limit_silence(source, is_large.then_some(limits::QUIET_MS));
                }
            }
            skip_read = false;
            let stamp = self.tape.as_ref().and_then(|tape| tape.stamp(direction, buffer.arrived_us()));
            let scan = guard.scan(buffer.data());
            let sent = self.forward(direction, source, &buffer.data()[..scan.good], scan.at_boundary, scan.closed, stamp);
            if let Some(violation) = scan.violation {
                break self.fail(source, violation);
            }
            match sent {
                Sent::Whole => buffer.consume(scan.good),
                Sent::GivenUp => break self.end_side(direction),
                Sent::Refused => {
                    // What the other side said last may still be on its way through the other thread, which will see its end.
                    gone = true;
                    buffer.consume(buffer.data().len());
                }
            }
        }
        drop(leaving);
    }

    /// Writes to the other side and then to the tape; to the tape first where the other side takes no bytes now, which is then waited
    /// for as [`Wait::Relay`] says.
    fn forward(&self, direction: Direction, source: &Stream, bytes: &[u8], at_boundary: bool, closed: bool, stamp: Option<u64>) -> Sent {
        let record = || {
            if let (Some(tape), Some(stamp)) = (&self.tape, stamp) {
                tape.push(direction, stamp, bytes);
            }
        };
        {
            let mut outlet = sync::lock(self.outlet(direction));
            if outlet.shut || bytes.is_empty() {
                record();
                return Sent::Whole;
            }
            outlet.mid_frame = true;
        }
        let wait = Wait::Relay { source, stall: self.stall };
        let sent = match send_recorded(self.target(direction), bytes, wait, record) {
            Ok(()) => Sent::Whole,
            Err(error) if has_stalled(&error) => Sent::GivenUp,
            Err(_) => Sent::Refused,
        };
        let mut outlet = sync::lock(self.outlet(direction));
        // What was given up broke off somewhere.
        outlet.mid_frame = sent == Sent::GivenUp || !at_boundary;
        outlet.closed |= closed;
        self.send_due(direction, &mut outlet);
        drop(outlet);
        if closed {
            self.check_closed();
        }
        sent
    }

    /// When both close frames have passed the WebSocket has ended, whatever becomes of TCP (RFC 6455 §7.1.3): so has its recording,
    /// and a peer that does not end its connection within a second is not waited for.
    fn check_closed(&self) {
        if !self.has_closed() {
            return;
        }
        if let Some(tape) = &self.tape {
            tape.end(End::Side(Direction::ServerToClient));
        }
        [&self.client, &self.upstream].into_iter().for_each(|stream| self.limit_silence(stream, None));
    }

    /// Whether both close frames have passed.
    fn has_closed(&self) -> bool {
        [Direction::ClientToServer, Direction::ServerToClient].iter().all(|direction| sync::lock(self.outlet(*direction)).closed)
    }

    /// Says how many milliseconds a read waits; in a WebSocket that has ended it is a second, whatever was asked for.
    fn limit_silence(&self, stream: &Stream, limit_ms: Option<u64>) {
        let set = |limit_ms: Option<u64>| {
            if let Err(error) = stream.set_read_timeout(limit_ms.map(Duration::from_millis)) {
                log::debug!("a WebSocket waits for its peer without a limit: {error}");
            }
        };
        set(limit_ms);
        // Asked afterwards: the other direction may have seen the end between, and set its limit before.
        if self.has_closed() {
            set(Some(limits::CLOSE_GRACE_MS));
        }
    }

    /// Sends the close frame that waits, if there is one, this is a frame boundary, and the peer's own has not passed. Nothing
    /// waits for a side that takes no byte now: its frame stays for the next boundary, or the next try of [`Relay::fail`].
    fn send_due(&self, direction: Direction, outlet: &mut Outlet) {
        if outlet.mid_frame {
            return;
        }
        let Some(frame) = outlet.due.take().filter(|_| !outlet.closed) else { return };
        match self.target(direction).write_now(&frame) {
            Ok(0) => outlet.due = Some(frame),
            sent => {
                if let Err(error) = sent {
                    log::debug!("a close frame could not be sent: {error}");
                }
                outlet.shut = true;
                self.change.notify_all();
            }
        }
    }

    /// Whether a direction has had its close frame; sends the one that waits where that is possible now.
    fn is_told(&self, direction: Direction) -> bool {
        let mut outlet = sync::lock(self.outlet(direction));
        self.send_due(direction, &mut outlet);
        outlet.shut || outlet.closed
    }

    /// A side has vanished or has ended its connection: the other is told by the same.
    fn end_side(&self, side: Direction) {
        if let Some(tape) = &self.tape {
            tape.end(End::Side(side));
        }
        self.target(side).shutdown_write();
    }

    /// One side's framing is wrong: both get a close frame at their next boundary, within a second.
    fn fail(&self, source: &Stream, violation: Violation) {
        log::info!("a WebSocket peer broke the protocol: {}", violation.reason);
        if let Some(tape) = &self.tape {
            tape.end(End::ProtocolError(violation.code, violation.reason.to_owned()));
        }
        self.close_both(violation.code, violation.reason);
        let both = [Direction::ClientToServer, Direction::ServerToClient];
        self.wait(|| both.iter().filter(|direction| self.is_told(**direction)).count() == both.len());
        both.iter().for_each(|direction| self.target(*direction).shutdown_write());
        // Bytes that nobody reads would turn the close into a reset, which overtakes the close frame.
        discard(source, Duration::from_millis(limits::CLOSE_GRACE_MS));
    }

    /// This direction is done. The other gets a second to end by itself, so that what is under way arrives; then both are shut.
    fn leave(&self, direction: Direction) {
        let mine = usize::from(direction == Direction::ServerToClient);
        sync::lock(&self.ended)[mine] = true;
        self.change.notify_all();
        self.wait(|| sync::lock(&self.ended)[1 - mine]);
        self.client.shutdown();
        self.upstream.shutdown();
    }

    /// Waits until `done`, for at most [`limits::CLOSE_GRACE_MS`].
    fn wait(&self, done: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_millis(limits::CLOSE_GRACE_MS);
        while !done() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let ended = sync::lock(&self.ended);
            // `done` may have become true before the lock was taken; a short wait makes that harmless.
            drop(sync::wait(&self.change, ended, left.min(Duration::from_millis(20))));
        }
    }

    fn outlet(&self, direction: Direction) -> &Mutex<Outlet> {
        match direction {
            Direction::ClientToServer => &self.to_upstream,
            Direction::ServerToClient => &self.to_client,
        }
    }

    fn target(&self, direction: Direction) -> &Stream {
        match direction {
            Direction::ClientToServer => &self.upstream,
            Direction::ServerToClient => &self.client,
        }
    }
}

/// Leaves with its direction, also with one that panics: the other must not go on alone.
struct Leaving<'a> {
    relay: &'a Relay,
    direction: Direction,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if let Some(tape) = &self.relay.tape {
            // What was read and never pushed, for a panic, must not keep the recording open.
            tape.push(self.direction, 0, b"");
        }
        self.relay.leave(self.direction);
    }
}

/// Ends a recording whose relay did not come to its end: no thread for it, or a panic. Otherwise it has been ended before.
struct Ending<'a>(Option<&'a Tape>);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if let Some(tape) = self.0 {
            tape.end(End::CutShort("relay_failed"));
        }
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::ClientToServer => Direction::ServerToClient,
        Direction::ServerToClient => Direction::ClientToServer,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    const STALL: Duration = Duration::from_secs(60);

    #[test]
    fn a_relay_that_did_not_come_to_its_end_ends_its_recording() {
        let tape = Tape::new("id".into());
        drop(Ending(Some(&tape)));
        assert!(!tape.is_open());
    }

    #[test]
    fn a_direction_that_panics_takes_the_other_with_it() {
        for panics in [Direction::ClientToServer, Direction::ServerToClient] {
            let pairs = [UnixStream::pair().unwrap(), UnixStream::pair().unwrap()];
            let [(mut client, near), (mut server, far)] = pairs;
            let ends = [near, far].map(|end| Arc::new(Stream::Unix(end)));
            let relay = Relay::new(Arc::clone(&ends[0]), Arc::clone(&ends[1]), None, limits::MAX_MESSAGE_BYTES, STALL);
            std::thread::scope(|scope| {
                scope.spawn(|| relay.pump(opposite(panics), Vec::new()));
                let panicking = scope.spawn(|| {
                    let _leaving = Leaving { relay: &relay, direction: panics };
                    panic!("on purpose");
                });
                assert!(panicking.join().is_err());
            });
            for end in [&mut client, &mut server] {
                assert_eq!(end.read(&mut [0; 9]).unwrap(), 0, "{panics:?}");
            }
        }
    }

    #[test]
    fn a_read_that_is_never_pushed_does_not_keep_the_recording_open() {
        for panics in [Direction::ClientToServer, Direction::ServerToClient] {
            let ends = [(); 2].map(|()| Arc::new(Stream::Unix(UnixStream::pair().unwrap().0)));
            let tape = Arc::new(Tape::new("id".into()));
            let relay = Relay::new(Arc::clone(&ends[0]), Arc::clone(&ends[1]), Some(Arc::clone(&tape)), limits::MAX_MESSAGE_BYTES, STALL);
            *sync::lock(&relay.ended) = [true; 2];
            let leaving = Leaving { relay: &relay, direction: panics };
            tape.stamp(panics, None).unwrap();
            drop(leaving);
            drop(Ending(Some(&tape)));
            let mut stretch = crate::engine::stretch::Stretch::default();
            tape.take(&mut stretch);
            assert!(matches!(stretch.end, Some((End::CutShort("relay_failed"), _))), "{panics:?}: {:?}", stretch.end);
        }
    }

    /// Trap: the last frames are on their way to a slow client when a message of its own finds the server gone.
    #[test]
    fn a_message_to_a_server_that_has_left_does_not_cut_off_its_last_frames() {
        let (mut client, near) = UnixStream::pair().unwrap();
        let (mut server, far) = UnixStream::pair().unwrap();
        let ends = [near, far].map(|end| Arc::new(Stream::Unix(end)));
        let relay = Arc::new(Relay::new(Arc::clone(&ends[0]), Arc::clone(&ends[1]), None, limits::MAX_MESSAGE_BYTES, STALL));
        let [near, far] = ends.map(Inlet::new);
        let running = std::thread::spawn(move || relay.run(near, far));
        // More than one pair of sockets holds, less than both do.
        let mut sent = Vec::new();
        (0..30).for_each(|_| ws::push_frame(&mut sent, opcode::BINARY, &[7; 10_000], None));
        ws::push_frame(&mut sent, opcode::CLOSE, &ws::close_payload(Some(1000), "bye"), None);
        server.write_all(&sent).unwrap();
        drop(server);
        let mut message = Vec::new();
        ws::push_frame(&mut message, opcode::TEXT, b"late", Some([1, 2, 3, 4]));
        client.write_all(&message).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        assert_eq!((got.len(), got == sent), (sent.len(), true));
        drop(client);
        running.join().unwrap().unwrap();
    }

    /// Trap: reads have a limit while there is room for a burst, and the same limit ends a WebSocket that has closed.
    #[test]
    fn a_silence_after_a_burst_ends_nothing_but_a_closed_websocket() {
        let (mut client, near) = UnixStream::pair().unwrap();
        let (mut server, far) = UnixStream::pair().unwrap();
        let ends = [near, far].map(|end| Arc::new(Stream::Unix(end)));
        let relay = Arc::new(Relay::new(Arc::clone(&ends[0]), Arc::clone(&ends[1]), None, limits::MAX_MESSAGE_BYTES, STALL));
        let [near, far] = ends.map(Inlet::new);
        let running = std::thread::spawn(move || relay.run(near, far));
        let mut burst = Vec::new();
        (0..10).for_each(|_| ws::push_frame(&mut burst, opcode::BINARY, &[7; 10_000], None));
        let mut got = vec![0; burst.len()];
        for _ in 0..2 {
            server.write_all(&burst).unwrap();
            client.read_exact(&mut got).unwrap();
            assert!(got == burst);
            std::thread::sleep(Duration::from_millis(limits::QUIET_MS + 200));
        }
        // Neither side ends its connection.
        let start = Instant::now();
        let mut pass_close = |from: &mut UnixStream, to: &mut UnixStream, mask| {
            let mut close = Vec::new();
            ws::push_frame(&mut close, opcode::CLOSE, &ws::close_payload(Some(1000), "bye"), mask);
            from.write_all(&close).unwrap();
            to.read_exact(&mut got[..close.len()]).unwrap();
            assert_eq!(got[..close.len()], close);
        };
        pass_close(&mut server, &mut client, None);
        pass_close(&mut client, &mut server, Some([1, 2, 3, 4]));
        running.join().unwrap().unwrap();
        let took = start.elapsed();
        assert!(took < Duration::from_millis(limits::CLOSE_GRACE_MS + 3_000), "{took:?}");
    }
}
