//! The thread of a mock's connection against a list of acts: bytes, their order, and the end. No server.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::*;
use crate::rules::player::Finale;

/// Acts from a list; it notes what it hears.
struct Listed {
    acts: VecDeque<Act>,
    heard: Vec<String>,
    head_due_us: Option<u64>,
}

impl Performance for Listed {
    fn start(&mut self, _now_us: u64) {}

    fn head_due_us(&self) -> Option<u64> {
        self.head_due_us
    }

    fn next(&mut self, _at: Moment) -> Act {
        match self.acts.front() {
            Some(Act::Wait) if self.heard.is_empty() => Act::Wait,
            Some(Act::Wait) => {
                self.acts.pop_front();
                Act::Write(self.heard.join(",").into_bytes())
            }
            _ => self.acts.pop_front().unwrap_or(Act::Wait),
        }
    }

    fn hear(&mut self, heard: Heard<'_>, _at: Moment) {
        self.heard.push(match heard {
            Heard::Message(_, payload) => String::from_utf8_lossy(payload).into_owned(),
            Heard::Pong => "pong".to_owned(),
            Heard::Held => "held".to_owned(),
        });
    }
}

/// Runs the acts to a client that first has these inputs heard, and gives all that the client gets.
fn run(acts: Vec<Act>, head: Option<(u64, &str)>, inputs: Vec<Input>) -> String {
    let (mut client, near) = UnixStream::pair().unwrap();
    let stream = Arc::new(Stream::Unix(near));
    let stall = Duration::from_secs(5);
    let line = match head {
        Some((_, head)) => Line::event_stream(stream, stall, head.as_bytes().to_vec(), true, Box::new(|_| None)),
        None => Line::websocket(stream, stall, None),
    };
    let (inbox, heard) = channel();
    inputs.into_iter().for_each(|input| inbox.send(input).unwrap());
    let performance = Box::new(Listed { acts: acts.into(), heard: Vec::new(), head_due_us: head.map(|(due_us, _)| due_us) });
    let stage = Stage { performance, line, inbox: heard, taken: Taken::new(Arc::default()), between: Vec::new(), over: None };
    let thread = std::thread::spawn(move || stage.run());
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    client.write_all(b"x").unwrap();
    // The client has closed: what a reader would say.
    drop(inbox.send(Input::Gone));
    thread.join().unwrap();
    String::from_utf8_lossy(&got).into_owned()
}

#[test]
fn what_is_owed_to_a_client_that_closes_arrives_whole_and_in_order() {
    let big = vec![b'x'; 4 << 20];
    for closes_before in [true, false] {
        let (mut client, near) = UnixStream::pair().unwrap();
        let line = Line::websocket(Arc::new(Stream::Unix(near)), Duration::from_secs(9), None);
        let (inbox, heard) = channel();
        let close = || inbox.send(Input::ClientClose(None, String::new())).unwrap();
        if closes_before {
            close();
        }
        let acts = [Act::Write(big.clone()), write("after"), Act::Wait].into();
        let performance = Box::new(Listed { acts, heard: Vec::new(), head_due_us: None });
        let stage = Stage { performance, line, inbox: heard, taken: Taken::new(Arc::default()), between: Vec::new(), over: None };
        let thread = std::thread::spawn(move || stage.run());
        let mut got = vec![0];
        client.read_exact(&mut got).unwrap();
        if !closes_before {
            // The first write has begun, and is more than the socket takes.
            close();
        }
        client.read_to_end(&mut got).unwrap();
        drop(inbox);
        thread.join().unwrap();
        assert_eq!(got.len(), big.len() + "after".len() + 2);
        assert!(got.starts_with(&big) && got[big.len()..].starts_with(b"after\x88\0"), "closes before: {closes_before}");
    }
}

fn write(text: &str) -> Act {
    Act::Write(text.as_bytes().to_vec())
}

#[test]
fn an_event_stream_has_its_head_its_chunks_and_its_end() {
    let due_us = time::now_us() + 2000;
    let acts = |finale| vec![write("data: 1\n\n"), Act::Sleep { until_us: due_us + 1000 }, write("ab"), Act::End(finale)];
    assert_eq!(run(acts(Finale::EndStream), Some((due_us, "HEAD")), vec![]), "HEAD9\r\ndata: 1\n\n\r\n2\r\nab\r\n0\r\n\r\n");
    assert_eq!(run(acts(Finale::Drop), Some((0, "HEAD")), vec![]), "HEAD9\r\ndata: 1\n\n\r\n2\r\nab\r\n");
    let stop = Input::Stop { reason: "server_ended" };
    assert_eq!(run(vec![write("never")], Some((u64::MAX, "HEAD")), vec![stop]), "HEAD0\r\n\r\n", "a stream that had not begun");
}

#[test]
fn a_websocket_hears_pongs_and_is_answered() {
    let inputs = || vec![Input::Pong, Input::Ping(b"p".to_vec()), Input::Message(crate::model::recording::FrameType::Text, b"m".to_vec())];
    let close = Finale::Close { code: None, reason: String::new() };
    let got = run(vec![Act::Wait, Act::End(close)], None, inputs());
    assert_eq!(got, "\u{fffd}\u{1}ppong,m\u{fffd}\0", "pong, answer, close frame; their first bytes are no UTF-8");
    // Who closes right after a message gets what is due to it before its own close frame's answer.
    let inputs = inputs().into_iter().chain([Input::ClientClose(None, String::new())]).collect();
    let got = run(vec![Act::Wait], None, inputs);
    assert!(got.starts_with("pong,m"), "{got:?}");
}
