//! What a mock's connection is to the thread that serves it: something that is asked what to do next and told what was heard.
//! The scenario of a WebSocket mock and the events of an event stream are such things. No clock and no chance of its own.

use super::player::Finale;
use crate::model::recording::FrameType;

/// A moment, with what is uncertain about it: time and chance are arguments.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Microseconds of the monotonic clock.
    pub now_us: u64,
    /// Microseconds since 1970.
    pub wall_us: u64,
    /// 64 random bits at each call.
    pub random: fn() -> u64,
}

impl Moment {
    /// 128 random bits.
    pub fn random_u128(&self) -> u128 {
        (u128::from((self.random)()) << 64) | u128::from((self.random)())
    }

    /// A whole number by chance, both ends included.
    pub fn random_between(&self, low: i64, high: i64) -> i64 {
        let (low, high) = (i128::from(low.min(high)), i128::from(low.max(high)));
        let count = (high - low + 1) as u128;
        // The upper half of a product is below the number of choices; what it favours is beyond notice.
        let step = (u128::from((self.random)()) * count) >> 64;
        i64::try_from(low + step as i128).unwrap_or(i64::MAX)
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Write these bytes: whole WebSocket frames, or bytes of an event stream (chunks are the writer's matter).
    Write(Vec<u8>),
    /// Nothing before this moment of the monotonic clock, or before something is heard.
    Sleep {
        /// Microseconds.
        until_us: u64,
    },
    /// Nothing before something is heard.
    Wait,
    /// End the connection so.
    End(Finale),
}

/// What was heard of the client.
#[derive(Debug, Clone, Copy)]
pub enum Heard<'a> {
    /// A data message.
    Message(FrameType, &'a [u8]),
    /// A pong.
    Pong,
    /// It has said so much that the rest is left unread for now, and with it whatever pongs there are.
    Held,
}

/// What waits to be dealt with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Client messages.
    pub messages: usize,
    /// The bytes of their payloads.
    pub bytes: usize,
}

/// A mock's side of one connection.
pub trait Performance: Send {
    /// The connection begins: the 101 has been sent, or the request read.
    fn start(&mut self, now_us: u64);

    /// The moment at which an event stream's head is due; `None`: at once.
    fn head_due_us(&self) -> Option<u64> {
        None
    }

    /// What to do now. After a `Write` it is asked again when the bytes are out.
    fn next(&mut self, at: Moment) -> Act;

    /// The client said something.
    fn hear(&mut self, heard: Heard<'_>, at: Moment);

    /// The client messages that wait in it.
    fn queued(&self) -> Backlog {
        Backlog::default()
    }

    /// Asked while a write waits for its client, which took a byte at `moved_us` last: the end, where a time-out is over.
    fn expire(&self, _at: Moment, _moved_us: u64) -> Option<Finale> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_stays_between_its_ends() {
        let at = |random| Moment { now_us: 0, wall_us: 0, random };
        for (low, high) in [(1, 6), (6, 1), (-3, 3), (5, 5), (i64::MIN, i64::MAX)] {
            assert_eq!(at(|| 0).random_between(low, high), low.min(high));
            assert_eq!(at(|| u64::MAX).random_between(low, high), low.max(high));
        }
        assert_eq!(at(|| 1 << 63).random_between(1, 6), 4);
        assert_eq!(at(|| 7).random_u128(), (7 << 64) | 7);
    }
}
