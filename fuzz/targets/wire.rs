//! Bytes of a connection: heads, bodies, frames, event streams. Whatever the split, the same comes out; what is taken reads the same when
//! it is written again.

use mockd::base::limits;
use mockd::engine::cors;
use mockd::model::recording::{Frame, Protocol, SseEvent, decode};
use mockd::model::recording_text;
use mockd::wire::body::{BodyReader, Framing, LAST_CHUNK, push_chunk};
use mockd::wire::handshake;
use mockd::wire::head::{Headers, Malformed, RequestHead, ResponseHead};
use mockd::wire::sse::{Block, EventStreamParser};
use mockd::wire::ws::{FrameGuard, Message, MessageReader, Side, close_payload, opcode, parse_close, push_frame};

use super::input::{Dice, splits};

/// A request's head.
pub fn request_head(data: &[u8]) {
    check_prefixes(data, RequestHead::parse);
    let (head, length) = match RequestHead::parse(data) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return,
        Err(error) => {
            assert!(matches!(error.status, 400 | 431 | 501 | 505), "{error:?}");
            return;
        }
    };
    assert!(length <= data.len() && head.headers.0.len() <= limits::MAX_HEADERS);
    assert!(head.target.starts_with('/') || head.target == "*", "{:?}", head.target);
    assert!(head.path().len() <= head.target.len() && head.query().is_none_or(|query| head.target.ends_with(query)));
    check_fields(&head.headers);
    let mut written = Vec::new();
    head.write(&mut written);
    let again = RequestHead::parse(&written).expect("what was taken is taken again");
    assert_eq!(again, Some((head.clone(), written.len())), "{}", String::from_utf8_lossy(&written));
    if let Err(error) = head.framing() {
        assert!(matches!(error.status, 400 | 501), "{error:?}");
    }
    let accepted = handshake::accept_key(&head);
    assert!(accepted.is_ok_and(|key| key.len() == 28) || handshake::accept_key(&head).is_err());
    let offered = handshake::offered_subprotocols(&head);
    assert!(offered.iter().all(|name| name.trim() == name));
    // What mockd adds to an answer of its own comes out whole, whatever the request's Origin is.
    let mut answer = ResponseHead::new(200);
    cors::allow(&mut answer.headers, &head, None);
    for answer in [answer, cors::preflight(&head, &[])] {
        let mut written = Vec::new();
        answer.write(&mut written);
        let (again, length) = ResponseHead::parse(&written).expect("an answer is sound").expect("an answer is whole");
        assert_eq!((again.headers.0.len(), length), (answer.headers.0.len(), written.len()));
    }
}

/// A response's head.
pub fn response_head(data: &[u8]) {
    check_prefixes(data, ResponseHead::parse);
    let Ok(Some((head, length))) = ResponseHead::parse(data) else { return };
    assert!(length <= data.len() && (100..1000).contains(&head.status) && head.headers.0.len() <= limits::MAX_HEADERS);
    check_fields(&head.headers);
    let mut written = Vec::new();
    head.write(&mut written);
    let (again, length) = ResponseHead::parse(&written).expect("what was taken is taken again").expect("it is whole");
    assert_eq!((again.status, again.minor_version, length), (head.status, head.minor_version, written.len()));
    assert_eq!(again.headers, head.headers);
    let mut twice = Vec::new();
    again.write(&mut twice);
    assert_eq!(twice, written);
    for method in ["GET", "HEAD", "CONNECT"] {
        match head.framing(method) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.status, 502),
        }
    }
    head.is_event_stream();
}

/// What is true of a head is true of no shorter part of it: that is neither whole nor refused.
fn check_prefixes<T: PartialEq + std::fmt::Debug>(data: &[u8], parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, Malformed>) {
    let Ok(Some((head, length))) = parse(data) else { return };
    assert_eq!(parse(&data[..length]), Ok(Some((head, length))));
    let mut dice = Dice::of(data);
    for _ in 0..20 {
        let part = &data[..dice.below(length)];
        assert_eq!(parse(part), Ok(None), "{:?}", String::from_utf8_lossy(part));
    }
}

fn check_fields(headers: &Headers) {
    for (name, value) in &headers.0 {
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{name}");
        assert!(headers.all(name).any(|known| known == value));
    }
    let forwarded = headers.end_to_end(&[]);
    assert!(forwarded.0.iter().all(|field| headers.0.contains(field)));
    assert_eq!(forwarded.end_to_end(&[]), forwarded);
}

/// Data, consumed bytes, the refusal, whether it ended.
type Body = (Vec<u8>, usize, Option<Malformed>, bool);

fn read_body(framing: Framing, pieces: &[&[u8]]) -> Body {
    let mut reader = BodyReader::new(framing);
    let (mut data, mut consumed) = (Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() && !reader.is_done() {
            match reader.next(rest) {
                Ok(piece) => {
                    assert!(piece.consumed > 0 && piece.data.len() <= piece.consumed && piece.done == reader.is_done());
                    data.extend_from_slice(piece.data);
                    consumed += piece.consumed;
                    rest = &rest[piece.consumed..];
                }
                Err(error) => return (data, consumed, Some(error), false),
            }
        }
    }
    (data, consumed, None, reader.is_done())
}

/// A message's body.
pub fn body(data: &[u8]) {
    let mut dice = Dice::of(data);
    let length = dice.below(data.len() + 2) as u64;
    for framing in [Framing::Chunked, Framing::Length(length), Framing::UntilClose, Framing::None] {
        let (whole, consumed, refused, done) = read_body(framing, &[data]);
        assert!(whole.len() <= consumed && consumed <= data.len());
        for pieces in splits(data) {
            let (other, other_consumed, other_refused, other_done) = read_body(framing, &pieces);
            assert_eq!((&other, &other_refused, other_done), (&whole, &refused, done));
            assert!(refused.is_some() || other_consumed == consumed);
        }
        if done && consumed > 0 {
            // The last byte was needed, and none behind it.
            assert_eq!(read_body(framing, &[&data[..consumed]]), (whole.clone(), consumed, None, true));
            assert!(!read_body(framing, &[&data[..consumed - 1]]).3);
        }
        if refused.is_none() && !done && framing != Framing::None && !matches!(framing, Framing::Length(0)) {
            assert_eq!(consumed, data.len());
        }
    }
    let mut coded = Vec::new();
    for piece in splits(data).pop().unwrap_or_default() {
        push_chunk(&mut coded, piece);
    }
    coded.extend_from_slice(LAST_CHUNK);
    let length = coded.len();
    coded.extend_from_slice(data);
    assert_eq!(read_body(Framing::Chunked, &[&coded]), (data.to_vec(), length, None, true));
}

const MAX_MESSAGE: u64 = 4096;

/// Good bytes, whether a close frame ended within them, the violation's code.
fn guard(side: Side, pieces: &[&[u8]]) -> (Vec<u8>, bool, Option<u16>) {
    let mut guard = FrameGuard::new(side, MAX_MESSAGE);
    let (mut waiting, mut good, mut closed) = (Vec::new(), Vec::new(), false);
    for piece in pieces {
        waiting.extend_from_slice(piece);
        let scan = guard.scan(&waiting);
        good.extend(waiting.drain(..scan.good));
        closed |= scan.closed;
        if let Some(violation) = scan.violation {
            assert!(violation.reason.len() <= limits::MAX_CLOSE_REASON_BYTES);
            return (good, closed, Some(violation.code));
        }
        assert!(waiting.len() < 14, "a guard keeps no more than a header");
    }
    (good, closed, None)
}

fn messages(side: Side, pieces: &[&[u8]]) -> (Vec<Message>, Option<u16>) {
    let mut reader = MessageReader::new(side, MAX_MESSAGE);
    let mut messages = Vec::new();
    for piece in pieces {
        if let Err(violation) = reader.feed(piece, &mut |message| messages.push(message)) {
            return (messages, Some(violation.code));
        }
    }
    (messages, None)
}

/// WebSocket frames.
pub fn ws(data: &[u8]) {
    for (side, mask) in [(Side::Client, Some([7, 0, 255, 33])), (Side::Server, None)] {
        let scanned = guard(side, &[data]);
        let read = messages(side, &[data]);
        assert_eq!(scanned.2, read.1, "guard and reader judge alike");
        assert!(data.starts_with(&scanned.0), "what is forwarded are the bytes that came");
        for pieces in splits(data) {
            assert_eq!(guard(side, &pieces), scanned);
            assert_eq!(messages(side, &pieces), read);
        }
        assert_eq!(messages(side, &[&scanned.0]), (read.0.clone(), None), "what is forwarded has no violation in it");
        let mut written = Vec::new();
        for message in &read.0 {
            assert!(message.payload.len() as u64 <= MAX_MESSAGE);
            push_frame(&mut written, message.opcode, &message.payload, mask);
            if message.opcode == opcode::CLOSE {
                let (code, reason) = parse_close(&message.payload);
                let payload = close_payload(code, &reason);
                assert!(payload.len() <= 125 && parse_close(&payload).0 == code && reason.starts_with(&parse_close(&payload).1));
            }
        }
        assert_eq!(messages(side, &[&written]), (read.0, None));
    }
}

fn blocks(max: u64, pieces: &[&[u8]]) -> (Vec<Block>, Option<Vec<u8>>) {
    let mut parser = EventStreamParser::new(max);
    let mut blocks = Vec::new();
    for piece in pieces {
        if parser.feed(piece, &mut |block| blocks.push(block)).is_err() {
            return (blocks, None);
        }
    }
    (blocks, Some(parser.into_tail()))
}

/// Blocks by what they say.
fn bare(blocks: &[Block]) -> Vec<Block> {
    blocks.iter().map(|block| Block { raw: Vec::new(), ..block.clone() }).collect()
}

/// Event streams, up to what a recording keeps of them.
pub fn sse(data: &[u8]) {
    let (whole, tail) = blocks(u64::MAX, &[data]);
    let tail = tail.expect("there is no limit");
    for pieces in splits(data) {
        let (pieced, rest) = blocks(u64::MAX, &pieces);
        assert_eq!(bare(&pieced), bare(&whole));
        // The LF of a CRLF that comes in a later piece stands where it came.
        let mut stream: Vec<u8> = pieced.iter().flat_map(|block| block.raw.clone()).collect();
        stream.extend(rest.expect("there is no limit"));
        assert_eq!(stream, data);
    }
    let mut stream: Vec<u8> = whole.iter().flat_map(|block| block.raw.clone()).collect();
    stream.extend_from_slice(&tail);
    assert_eq!(stream, data, "no byte is lost and none is added");
    let (limited, rest) = blocks(300, &[data]);
    assert!(limited.iter().all(|block| block.raw.len() <= 300) && rest.is_none_or(|rest| rest.len() <= 300));
    let mut replayed = Vec::new();
    for block in whole {
        let canonical = block.canonical();
        assert_eq!(block.is_canonical(), canonical == block.raw);
        let event = SseEvent::of_block(block.clone(), 0, 5);
        match &event.raw {
            Some(raw) => replayed.extend(decode(raw, event.raw_encoding).expect("raw decodes")),
            None => replayed.extend(event.canonical()),
        }
        // Written without its raw bytes, as a redacted one is, it means the same to a client.
        let (again, rest) = blocks(u64::MAX, &[&event.canonical()]);
        let says_something = event.data.is_some() || event.id.is_some() || event.retry.is_some() || event.comment.is_some();
        assert_eq!((again.len(), rest), (usize::from(says_something), Some(if says_something { Vec::new() } else { b"\n".to_vec() })));
        if let Some(again) = again.first() {
            assert_eq!((&again.data, &again.id, again.retry), (&block.data, &block.id, block.retry));
            if block.data.is_some() {
                assert_eq!(again.event.as_deref().unwrap_or("message"), block.event.as_deref().unwrap_or("message"));
            }
            assert_eq!(again.comment, block.comment);
        }
        let frame = Frame::Sse(event);
        let mut line = Vec::new();
        recording_text::push_frame_line(&mut line, &frame, true).expect("a frame is written");
        assert_eq!(recording_text::parse_frame_line(Protocol::Sse, &line).expect("a line is read"), frame);
    }
    replayed.extend_from_slice(&tail);
    assert_eq!(replayed, data, "a replay sends the bytes that were recorded");
}
