//! The built-in upstream of `--demo`: a chat, named events and a token stream, so that everything can be tried on a machine
//! with nothing else. It speaks the protocols as a plain server would; that it runs in the same process is nobody's concern.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::answer;
use super::inlet::{HeadLimits, Inlet};
use super::relay_http::After;
use crate::base::error::{Error, Result};
use crate::base::{id, limits, sync, time};
use crate::rules::chat::Chat;
use crate::rules::performance::Moment;
use crate::wire::body;
use crate::wire::handshake;
use crate::wire::head::{RequestHead, ResponseHead};
use crate::wire::stream::{Stream, Wait};
use crate::wire::ws::{self, Message, MessageReader, Side, opcode};

/// Milliseconds between two ticks of the chat.
const TICK_MS: u64 = 500;
/// Milliseconds between two events of `/events`.
const EVENT_MS: u64 = 100;
/// How many events `/events` has.
const EVENTS: u32 = 20;
/// Milliseconds between two tokens.
const TOKEN_MS: u64 = 30;

/// Starts it on a free loopback port.
///
/// # Errors
/// No port or no thread.
pub fn start() -> Result<SocketAddr> {
    let listener =
        TcpListener::bind(("127.0.0.1", 0)).map_err(|error| Error::Failed(format!("the demo upstream can't listen: {error}")))?;
    let address = listener.local_addr().map_err(|error| Error::Failed(format!("the demo upstream has no address: {error}")))?;
    sync::spawn("demo", move || {
        for tcp in listener.incoming().flatten() {
            if let Err(error) = tcp.set_nodelay(true) {
                log::debug!("no TCP_NODELAY in the demo: {error}");
            }
            if let Err(error) = sync::spawn("demo connection", move || serve(Inlet::new(Arc::new(Stream::Tcp(tcp))))) {
                log::warn!("the demo upstream drops a connection: {error}");
            }
        }
    })?;
    Ok(address)
}

fn serve(mut client: Inlet) {
    let within = HeadLimits {
        max_head_bytes: limits::MAX_HEAD_BYTES,
        head_timeout: Duration::from_millis(limits::HEAD_TIMEOUT_MS),
        idle_timeout: Duration::from_millis(limits::IDLE_TIMEOUT_MS),
    };
    while let Ok(head) = client.read_request(within) {
        let after = match (head.method.as_str(), head.path()) {
            ("GET", "/ws/chat") if head.is_websocket_upgrade() => {
                // The peer that leaves early ends the conversation; there is nobody to tell.
                drop(chat(client, &head));
                return;
            }
            ("GET", "/events") => events(&client),
            ("POST", "/v1/chat/completions") => completions(&mut client, &head),
            _ => {
                let hint = "the demo has /ws/chat (WebSocket), /events (SSE) and POST /v1/chat/completions (token stream)";
                Ok(answer::refuse(&mut client, &head, &Error::NoRoute(hint.to_owned()), None))
            }
        };
        if !matches!(after, Ok(After::KeepAlive)) {
            return;
        }
    }
}

/// A welcome, an echo of every message, a tick every half second; a binary frame and a ping among them.
fn chat(mut client: Inlet, head: &RequestHead) -> std::io::Result<()> {
    let Ok(accept) = handshake::accept_key(head) else { return Ok(()) };
    let offered = handshake::offered_subprotocols(head);
    let chosen = offered.iter().find(|name| name.starts_with("chat")).or(offered.first()).map(String::as_str);
    let stream = Arc::clone(&client.stream);
    let mut out = Vec::new();
    handshake::switching_protocols(&accept, chosen).write(&mut out);
    ws::push_frame(&mut out, opcode::TEXT, json!({"type": "welcome", "room": "general"}).to_string().as_bytes(), None);
    stream.write_all(&out, Wait::Endless)?;
    let (inbox, heard) = channel::<Message>();
    let from = Arc::clone(&stream);
    let early = client.take_data();
    let reader = sync::spawn("demo reader", move || {
        let mut reader = MessageReader::new(Side::Client, limits::MAX_MESSAGE_BYTES);
        let mut buffer = [0; 4096];
        let mut bytes: &[u8] = &early;
        loop {
            let mut listening = true;
            let read = reader.feed(bytes, &mut |message| listening &= inbox.send(message).is_ok());
            if read.is_err() || !listening {
                return;
            }
            bytes = match from.read(&mut buffer) {
                Ok(read @ 1..) => &buffer[..read],
                _ => return,
            };
        }
    });
    if reader.is_err() {
        return Ok(());
    }
    let began = Instant::now();
    let mut ticks = 0u64;
    loop {
        out.clear();
        let due = began + Duration::from_millis(TICK_MS * (ticks + 1));
        match heard.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(Message { opcode: opcode::CLOSE, payload }) => {
                ws::push_frame(&mut out, opcode::CLOSE, &payload, None);
                stream.write_all(&out, Wait::Endless)?;
                stream.shutdown_write();
                return Ok(());
            }
            Ok(Message { opcode: opcode::PING, payload }) => ws::push_frame(&mut out, opcode::PONG, &payload, None),
            Ok(Message { opcode: opcode::PONG, .. }) => continue,
            Ok(Message { opcode, payload }) => ws::push_frame(&mut out, opcode, &payload, None),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                ticks += 1;
                ws::push_frame(&mut out, opcode::TEXT, json!({"type": "tick", "n": ticks}).to_string().as_bytes(), None);
                match ticks % 4 {
                    1 => ws::push_frame(&mut out, opcode::BINARY, &[0, 1, 2, 0xfe, 0xff], None),
                    3 => ws::push_frame(&mut out, opcode::PING, b"mockd", None),
                    _ => {}
                }
            }
        }
        stream.write_all(&out, Wait::Endless)?;
    }
}

/// Twenty events with names, ids, a retry and comments; then the stream ends.
fn events(client: &Inlet) -> std::io::Result<After> {
    let began = Instant::now();
    begin_stream(client)?;
    for number in 1..=EVENTS {
        wait_until(began + Duration::from_millis(EVENT_MS * u64::from(number)));
        let mut text = String::new();
        if number == 1 {
            text.push_str(": the demo's events\nretry: 2000\n\n");
        } else if number % 5 == 0 {
            text.push_str(": keep-alive\n\n");
        }
        let name = ["update", "price", "message"][number as usize % 3];
        let data = json!({"n": number, "text": format!("événement {number}")});
        if name != "message" {
            text.push_str(&format!("event: {name}\n"));
        }
        text.push_str(&format!("id: evt-{number:03}\ndata: {data}\n\n"));
        send_chunk(client, &text)?;
    }
    client.stream.write_all(body::LAST_CHUNK, Wait::Endless)?;
    Ok(After::KeepAlive)
}

/// The tokens of an answer, in the shape that clients of LLM APIs expect; whole where the request does not ask for a stream.
fn completions(client: &mut Inlet, head: &RequestHead) -> std::io::Result<After> {
    let Some(request) = read_json(client, head) else {
        let error = Error::invalid("", "the body is no JSON object of a chat completion");
        return Ok(answer::refuse(client, head, &error, None));
    };
    let model = request["model"].as_str().unwrap_or("demo").to_owned();
    let words = ["Streams", " recorded", " once", " play", " for", " ever", "."];
    let chat = Chat::new(Moment { now_us: time::now_us(), wall_us: time::wall_us(), random: id::random_u64 });
    if request["stream"] != Value::Bool(true) {
        let message = json!({"role": "assistant", "content": words.concat()});
        let usage = json!({"prompt_tokens": 1, "completion_tokens": words.len(), "total_tokens": words.len() + 1});
        let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
        let whole = json!({
            "id": chat.id, "object": "chat.completion", "created": chat.created, "model": model, "choices": [choice], "usage": usage,
        });
        let whole = whole.to_string();
        let mut bytes = Vec::new();
        let mut response = ResponseHead::new(200);
        response.headers.push("Content-Type", "application/json");
        response.headers.push("Content-Length", whole.len().to_string());
        response.write(&mut bytes);
        bytes.extend_from_slice(whole.as_bytes());
        client.stream.write_all(&bytes, Wait::Endless)?;
        return Ok(After::KeepAlive);
    }
    let began = Instant::now();
    begin_stream(client)?;
    let send = |first, content, finish_reason| {
        let chunk = chat.chunk(&model, first, content, finish_reason);
        send_chunk(client, &format!("data: {chunk}\n\n"))
    };
    send(true, Some(""), None)?;
    for (index, word) in words.iter().enumerate() {
        wait_until(began + Duration::from_millis(TOKEN_MS * (index as u64 + 1)));
        send(false, Some(*word), None)?;
    }
    send(false, None, Some("stop"))?;
    send_chunk(client, "data: [DONE]\n\n")?;
    client.stream.write_all(body::LAST_CHUNK, Wait::Endless)?;
    Ok(After::KeepAlive)
}

fn read_json(client: &mut Inlet, head: &RequestHead) -> Option<Value> {
    let patience = Duration::from_millis(limits::HEAD_TIMEOUT_MS);
    let text = client.read_body(head, limits::MAX_API_BODY_BYTES as usize, patience).ok()??;
    serde_json::from_slice::<Value>(&text).ok().filter(Value::is_object)
}

fn begin_stream(client: &Inlet) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let mut response = ResponseHead::new(200);
    response.headers.push("Content-Type", "text/event-stream");
    response.headers.push("Cache-Control", "no-cache");
    response.headers.push("Transfer-Encoding", "chunked");
    response.write(&mut bytes);
    client.stream.write_all(&bytes, Wait::Endless)
}

fn send_chunk(client: &Inlet, text: &str) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    body::push_chunk(&mut bytes, text.as_bytes());
    client.stream.write_all(&bytes, Wait::Endless)
}

fn wait_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}
