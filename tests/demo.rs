//! `serve --demo`: the built-in upstream, so that the quick start works on a machine with nothing else.

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::http::ask;
use crate::support::sse::Stream;
use crate::support::ws::{Client, Raw};

fn demo() -> Server {
    Server::builder().flag("--demo").start()
}

#[test]
fn chat_welcomes_echoes_and_ticks() {
    let server = demo();
    let mut client = Raw::open(server.mock, "/ws/chat");
    let welcome: Value = serde_json::from_str(&client.frame().text()).expect("a JSON welcome");
    assert_eq!(welcome["type"], "welcome");
    client.run("send text {\"type\":\"join\",\"room\":\"general\"}");
    let (mut echoed, mut ticks, mut binary, mut pings) = (false, 0, 0, 0);
    while !(echoed && ticks > 1 && binary > 0 && pings > 0) {
        let frame = client.frame();
        match frame.opcode() {
            1 if frame.text().contains("general") => echoed = true,
            1 if frame.text().contains("tick") => ticks += 1,
            2 => binary += 1,
            9 => pings += 1,
            _ => {}
        }
    }
    client.close(1000, "seen");
}

#[test]
fn events_are_named_and_end_after_twenty() {
    let server = demo();
    let text = Stream::open(server.mock, "/events", &[]).rest_text();
    assert_eq!(text.matches("data:").count(), 20, "{text}");
    for field in ["event:", "id:", "retry:", "\n:"] {
        assert!(format!("\n{text}").contains(field), "{field} is not in {text}");
    }
}

#[test]
fn completions_stream_tokens() {
    let server = demo();
    let body = json!({"model": "demo", "stream": true, "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let mut stream = Stream::ask(server.mock, "POST", "/v1/chat/completions", &[("Content-Type", "application/json")], body.as_bytes());
    assert_eq!(
        (stream.head.status(), stream.head.field("content-type").map(|kind| kind.starts_with("text/event-stream"))),
        (200, Some(true))
    );
    let text = stream.rest_text();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let first: Value = serde_json::from_str(text.lines().next().unwrap().strip_prefix("data: ").unwrap()).expect("a JSON chunk");
    assert_eq!(first["object"], "chat.completion.chunk");
}

#[test]
fn what_the_demo_does_not_have_is_404() {
    let server = demo();
    assert_eq!(ask(server.mock, "GET", "/nothing", &[], b"").status(), 404);
}

#[test]
fn a_recording_of_the_demo_replays_equal() {
    let server = demo();
    let id = server.record("websocket", "/ws/chat");
    let mut client = Client::open(server.mock, "/ws/chat");
    client.text("hello");
    let live = client.take(4);
    server.stop(&id);
    drop(client);
    let replay = server.replay(&id, &json!({"timingScale": 0}));
    let mut again = Client::open(server.mock, "/ws/chat");
    assert_eq!(again.take(4), live);
    assert!(server.view(&replay)["totalFrames"].as_u64().unwrap() >= 3);

    let id = server.record("sse", "/events");
    let live = Stream::open(server.mock, "/events", &[]).rest();
    server.stop(&id);
    server.replay(&id, &json!({"timingScale": 0}));
    assert_eq!(Stream::open(server.mock, "/events", &[]).rest(), live);
}
