//! The messages of a WebSocket in an HTTP archive: Chrome's `_webSocketMessages`, which Playwright and mitmproxy write as well.

use serde_json::value::RawValue;

use super::Setting;
use super::har::{Exchange, plain_tail};
use super::plan::{FramePlace, Frames, Plan};
use super::times::{Moment, moment, seconds};
use crate::base::error::{Error, Result};
use crate::base::time;
use crate::model::har::MessageIn;
use crate::model::raw::{Items, words};
use crate::model::recording::{Direction, Encoding, Frame, FrameType, StreamHead, StreamTail, WsFrame};
use crate::wire::ws::{self, opcode};

/// Reads the WebSocket of an entry.
pub(super) fn read_messages<'a>(exchange: &Exchange<'a>, setting: Setting<'a>) -> Result<Plan<'a>> {
    let status = exchange.entry.response.as_ref().and_then(|response| response.status).unwrap_or(0);
    let Some(list) = exchange.entry.messages.filter(|list| list.get() != "null") else {
        return Err(exchange.wrong("it is a WebSocket without its messages: there is no _webSocketMessages"));
    };
    let place = format!("{}._webSocketMessages", exchange.place);
    let items = Items::of(list.get(), &place)?;
    let survey = Survey::of(items.clone(), &place)?;
    if survey.messages == 0 && status != 101 {
        return Err(exchange.wrong(format!("it is a WebSocket that was never opened: its status is {status}")));
    }
    // A clock that went back must not lose the gaps between messages.
    let start_us = match (exchange.start_us, survey.first) {
        (Some(start), Some(first)) => start.min(first.wall_us(start)),
        (Some(start), None) => start,
        (None, Some(Moment::Wall(first))) => first,
        (None, _) => setting.now_us,
    };
    let headers = exchange.response_headers();
    let subprotocol = headers.first("Sec-WebSocket-Protocol").map(str::to_owned);
    let mut head = exchange.head(start_us, StreamHead::WebSocket { subprotocol })?;
    head.metadata.method = Some("GET".to_owned());
    let stream = StreamTail::WebSocket { close_code: None, close_reason: None, closed_by: None, end_relative_us: None };
    let mut tail = plain_tail(stream);
    let (_, end_us) = exchange.phases();
    tail.end_time = (end_us > 0).then(|| time::rfc3339(exchange.start_us.unwrap_or(start_us).saturating_add(end_us).max(start_us)));
    let frames: Frames<'a> = Box::new(each(items, place.clone(), foreign_reader(start_us)));
    let mut plan = Plan::new(head, tail, frames, FramePlace::List(place.clone()), setting)?;
    if survey.errors > 0 {
        plan.left_out.push(format!("{place}: {} that the browser added, which are no frames", count(survey.errors, "error message")));
    }
    if survey.untimed > 0 {
        plan.left_out.push(format!("{place}: the times of {}, which this HAR was told to omit", count(survey.untimed, "message")));
    }
    if survey.unknown > 0 {
        plan.left_out.push(format!("{place}: {} with an opcode that is none of 1, 2, 8, 9, 10", count(survey.unknown, "message")));
    }
    Ok(plan)
}

/// What a first look at all messages tells.
#[derive(Default)]
struct Survey {
    messages: u64,
    errors: u64,
    unknown: u64,
    /// Messages that come right after the one before, for all that the archive knows.
    untimed: u64,
    first: Option<Moment>,
}

impl Survey {
    fn of(mut items: Items<'_>, place: &str) -> Result<Self> {
        let mut survey = Self::default();
        while let Some(message) = items.read::<MessageIn<'_>>() {
            let message = message.map_err(|error| Error::invalid(format!("{place}[{}]", items.given() - 1), error))?;
            if message.kind.as_deref() == Some("error") {
                survey.errors += 1;
            } else if kind_of(message.opcode.unwrap_or(1)).is_none() {
                survey.unknown += 1;
            } else {
                survey.messages += 1;
                survey.untimed += u64::from(is_untimed(&message));
                survey.first = survey.first.or_else(|| moment(message.time?.get()));
            }
        }
        Ok(survey)
    }
}

/// `1 message`, `2 messages`.
fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The frames that `read` makes of messages; of some it makes none.
fn each<'a>(
    mut items: Items<'a>,
    place: String,
    mut read: impl FnMut(MessageIn<'a>) -> std::result::Result<Option<WsFrame>, String> + 'a,
) -> impl Iterator<Item = Result<Frame>> + 'a {
    std::iter::from_fn(move || {
        loop {
            let at = items.given();
            match items.read::<MessageIn<'a>>()?.and_then(&mut read) {
                Ok(None) => {}
                Ok(Some(frame)) => return Some(Ok(Frame::WebSocket(frame))),
                Err(message) => return Some(Err(Error::invalid(format!("{place}[{at}]"), message))),
            }
        }
    })
}

/// Reads messages of another program.
fn foreign_reader<'a>(start_us: u64) -> impl FnMut(MessageIn<'a>) -> std::result::Result<Option<WsFrame>, String> {
    let mut last_us = 0;
    move |message| foreign_frame(message, start_us, &mut last_us)
}

/// Whether a message was written without its time: Playwright writes -1 then, where it was told to omit timings.
fn is_untimed(message: &MessageIn<'_>) -> bool {
    message.time.is_some_and(|time| time.get() == "-1")
}

/// The frame of a message of another program; `None` for what is no frame.
fn foreign_frame(message: MessageIn<'_>, start_us: u64, last_us: &mut u64) -> std::result::Result<Option<WsFrame>, String> {
    let direction = match message.kind.as_deref() {
        Some("error") => return Ok(None),
        Some("send" | "sent") => Direction::ClientToServer,
        Some("receive" | "received") => Direction::ServerToClient,
        _ => return Err("its type is none of send, receive".to_owned()),
    };
    let Some(kind) = kind_of(message.opcode.unwrap_or(1)) else { return Ok(None) };
    let relative_us = if is_untimed(&message) {
        *last_us
    } else {
        let at = message.time.and_then(|time| moment(time.get())).ok_or("it has no time")?;
        at.wall_us(start_us).saturating_sub(start_us)
    };
    *last_us = relative_us;
    let data = message.data.unwrap_or_default();
    let mut frame = frame_of(direction, kind, &data, relative_us, start_us);
    // Said here, where it is known which message of the list this is: those that are no frames are not counted later.
    if frame.payload().is_none() {
        return Err("its data is no base64".to_owned());
    }
    if frame.close_code.is_none() {
        frame.close_code = message.code.filter(|_| kind == FrameType::Close);
    }
    Ok(Some(frame))
}

/// The frames of messages that this program wrote.
pub(super) fn own_frames(items: Items<'_>, place: String, start_us: u64) -> Frames<'_> {
    Box::new(each(items, place, move |message| own_frame(message, start_us).map(Some)))
}

fn own_frame(message: MessageIn<'_>, start_us: u64) -> std::result::Result<WsFrame, String> {
    let data = message.data.unwrap_or_default();
    if let Some(own) = message.own {
        let mut frame: WsFrame = serde_json::from_str(own.get()).map_err(|error| words(&error))?;
        if frame.data.is_empty() && frame.kind != FrameType::Close {
            frame.data = data.into_owned();
        }
        return Ok(frame);
    }
    let direction = if message.kind.as_deref() == Some("send") { Direction::ClientToServer } else { Direction::ServerToClient };
    let kind = kind_of(message.opcode.unwrap_or(1)).ok_or("its opcode is none of 1, 2, 8, 9, 10")?;
    let at = message.time.map(RawValue::get).and_then(seconds).ok_or("it has no time")?;
    Ok(frame_of(direction, kind, &data, at.saturating_sub(start_us), start_us))
}

/// The frame that the fields of a message tell. A close frame's data is its payload in base64, as Chrome's protocol has it, or its
/// reason as text.
pub fn frame_of(direction: Direction, kind: FrameType, data: &str, relative_us: u64, start_us: u64) -> WsFrame {
    let (mut close_code, mut close_reason) = (None, None);
    if kind == FrameType::Close {
        let payload = data_encoding::BASE64.decode(data.as_bytes()).unwrap_or_default();
        let (code, reason) = ws::parse_close(&payload);
        let is_payload = code.is_some_and(|code| (1000..5000).contains(&code)) && std::str::from_utf8(&payload[2..]).is_ok();
        (close_code, close_reason) = if is_payload { (code, Some(reason)) } else { (None, Some(data.to_owned())) };
    }
    WsFrame {
        direction,
        kind,
        data: if kind == FrameType::Close { String::new() } else { data.to_owned() },
        encoding: (kind == FrameType::Binary).then_some(Encoding::Base64),
        close_code,
        close_reason: close_reason.filter(|reason| !reason.is_empty()),
        timestamp: time::rfc3339(start_us.saturating_add(relative_us)),
        relative_ms: Some(relative_us / 1000),
        relative_us: Some(relative_us),
        extra: serde_json::Map::new(),
    }
}

fn kind_of(code: i64) -> Option<FrameType> {
    match u8::try_from(code).ok()? {
        opcode::TEXT => Some(FrameType::Text),
        opcode::BINARY => Some(FrameType::Binary),
        opcode::CLOSE => Some(FrameType::Close),
        opcode::PING => Some(FrameType::Ping),
        opcode::PONG => Some(FrameType::Pong),
        _ => None,
    }
}
