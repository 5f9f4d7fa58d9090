//! What a mock cannot hold of a recording, counted while it is converted and named in words. What to do about it is decided elsewhere.

use crate::model::recording::{Status, Tail};

/// What was left out, or is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// Pings of either side.
    pub pings: u64,
    /// Pongs of either side.
    pub pongs: u64,
    /// The client closed.
    pub client_close: bool,
    /// An error in one side's framing ended the connection.
    pub protocol_error: bool,
    /// Client messages with a redacted value in them.
    pub redacted_messages: u64,
    /// Client messages that are texts and no UTF-8.
    pub client_garbage: u64,
    /// Server messages that are texts and no UTF-8.
    pub server_garbage: u64,
    /// A close code that may not be sent.
    pub close_code: Option<u16>,
    /// A close reason that is too long.
    pub close_reason: bool,
    /// A subprotocol that no handshake can name.
    pub subprotocol: bool,
    /// Delays and waits of more than a month.
    pub delays: u64,
    /// Events that were received in another form than a mock sends them in.
    pub raw_events: u64,
    /// Bytes after the stream's last blank line.
    pub tail_bytes: usize,
    /// A status that no mock can have.
    pub status: Option<u16>,
    /// Redacted response header fields.
    pub redacted_fields: u64,
    /// Response header fields that no response can have.
    pub unfit_fields: u64,
    /// Events whose type or id has a line end or a NUL in it.
    pub cut_names: u64,
    /// A redacted value is in the path.
    pub redacted_path: bool,
    /// The recording's end is not known; with its reason.
    pub incomplete: Option<String>,
}

impl LeftOut {
    /// Takes in what the recording's tail says of itself.
    pub(super) fn look_at(&mut self, tail: &Tail) {
        if tail.status == Status::Incomplete {
            self.incomplete = Some(tail.status_reason.clone().unwrap_or_else(|| "cut short".to_owned()));
        }
    }

    /// Everything in words, a line each; no line where nothing was left out.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut say = |line: String| lines.push(line);
        let plural = |count: u64, one: &str, more: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {more}") };
        for (count, one, more) in [(self.pings, "ping", "pings"), (self.pongs, "pong", "pongs")] {
            if count > 0 {
                say(plural(count, one, more));
            }
        }
        if self.client_close {
            say("the client's close".to_owned());
        }
        if self.protocol_error {
            say("the end of the connection by a protocol error".to_owned());
        }
        if self.redacted_messages > 0 {
            let messages = plural(self.redacted_messages, "client message", "client messages");
            say(format!("the content of {messages} with redacted values (any message of the same type will do)"));
        }
        if self.client_garbage > 0 {
            let messages = plural(self.client_garbage, "client text message", "client text messages");
            say(format!("the content of {messages} that are not UTF-8 (any text message will do)"));
        }
        if self.server_garbage > 0 {
            say(format!("{} that are not UTF-8", plural(self.server_garbage, "server text message", "server text messages")));
        }
        if let Some(code) = self.close_code {
            say(format!("the server's close code {code}, which no endpoint may send (the mock's close frame has none)"));
        }
        if self.close_reason {
            say("the end of the server's close reason, which is longer than 123 bytes".to_owned());
        }
        if self.subprotocol {
            say("the subprotocol, which no handshake can name".to_owned());
        }
        if self.raw_events > 0 {
            let events = plural(self.raw_events, "event", "events");
            say(format!("the line ends, field order or unknown fields of {events} (what they say is kept)"));
        }
        if self.tail_bytes > 0 {
            say(format!("{} after the last event", plural(self.tail_bytes as u64, "byte", "bytes")));
        }
        if let Some(status) = self.status {
            say(format!("the response's status {status}, which no mock can have (it has 200)"));
        }
        if self.redacted_fields > 0 {
            say(plural(self.redacted_fields, "redacted response header field", "redacted response header fields"));
        }
        if self.unfit_fields > 0 {
            say(format!("{} that no response can have", plural(self.unfit_fields, "response header field", "response header fields")));
        }
        if self.cut_names > 0 {
            say(format!("line ends and NULs in the type or id of {}", plural(self.cut_names, "event", "events")));
        }
        if self.redacted_path {
            say("a redacted part of the path (choose another with endpointPath)".to_owned());
        }
        if self.delays > 0 {
            say(format!("what is longer than 31 days of {}", plural(self.delays, "delay", "delays")));
        }
        if let Some(reason) = &self.incomplete {
            // The reason may have come with an imported file; it stands in a header.
            let reason: String = reason.chars().take(64).map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
            say(format!("the end, since the recording is incomplete ({reason})"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_named_in_characters_that_a_header_takes() {
        let all = LeftOut {
            pings: 1,
            pongs: 2,
            client_close: true,
            protocol_error: true,
            redacted_messages: 3,
            client_garbage: 1,
            server_garbage: 4,
            close_code: Some(1004),
            close_reason: true,
            subprotocol: true,
            delays: 1,
            raw_events: 5,
            tail_bytes: 6,
            status: Some(999),
            redacted_fields: 1,
            unfit_fields: 2,
            cut_names: 1,
            redacted_path: true,
            incomplete: Some("a\r\nX-Evil: é".to_owned()),
        };
        let lines = all.lines();
        assert_eq!(lines.len(), 19);
        assert!(lines.iter().all(|line| line.chars().all(|c| matches!(c, ' '..='~') && c != ';')), "{lines:?}");
        assert_eq!(lines[..3], ["1 ping", "2 pongs", "the client's close"]);
        assert_eq!(lines[18], "the end, since the recording is incomplete (a??X-Evil: ?)");
        assert_eq!(LeftOut::default().lines(), Vec::<String>::new());
    }
}
