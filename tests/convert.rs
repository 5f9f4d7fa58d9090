//! Conversion: the config that comes out is served, and its clients get what was recorded.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::http::{Answer, ask};
use crate::support::recordings::{Made, put, sse, ws};
use crate::support::server::{Place, text};
use crate::support::sse::Stream;
use crate::support::ws::{BINARY, Client, Raw, TEXT, hex};
use crate::support::{Server, Upstream};

/// A conversation with everything that a scenario can hold, and some of what it can't.
fn chat() -> Made {
    ws("/ws/chat")
        .set("/websocket/subprotocol", json!("chat.v1"))
        .set("/name", json!("chat #1"))
        .s2c(1_000, "{ \"b\" :1,\n \"a\": \"{{uuid}} $uuid\" }")
        .c2s(2_000, "{ \"type\" : \"join\" }")
        .control("s2c", "ping", 2_100, "p")
        .control("c2s", "pong", 2_200, "p")
        .binary("s2c", 3_250, "AAH/")
        .c2s(4_000, "{{message}}")
        .binary("c2s", 5_000, "AAE=")
        .s2c(6_000, "")
        .close("server", 7_500, 4001, "bye")
}

/// A client that talks as the one of [`chat`] did, and gets what that one got.
#[track_caller]
fn talk(server: &Server, path: &str) {
    let mut client = Raw::open_with(server.mock, path, &[("Sec-WebSocket-Protocol", "other, chat.v1")]);
    assert_eq!(client.head.field("Sec-WebSocket-Protocol"), Some("chat.v1"));
    assert_eq!(client.frame().text(), "{ \"b\" :1,\n \"a\": \"{{uuid}} $uuid\" }");
    client.run("send text {\"type\":\"join\"}\nexpect binary 0001ff\nsend text {{message}}\nsend binary ff");
    let empty = client.frame();
    assert_eq!((empty.opcode(), empty.text().as_str()), (TEXT, ""));
    client.run("expect close 4001 bye");
}

/// An event stream with everything that a mock can hold, and some of what it can't.
fn events() -> Made {
    sse("/v1/chat")
        .set("/metadata/method", json!("POST"))
        .set("/sse/request", json!({"method": "POST", "body": "{\"q\":1}"}))
        .set("/sse/responseStatus", json!(201))
        .set(
            "/sse/responseHeaders",
            json!({"Content-Type": "text/event-stream; charset=utf-8", "X-Two": ["1", "2"], "Content-Length": "9"}),
        )
        .set("/sse/headRelativeUs", json!(2_000))
        .event(3_000, json!({"retry": 250, "comment": "hello"}))
        .event(4_000, json!({"type": "message", "data": "{ \"t\" : \"$uuid\" }", "id": "1"}))
        .event(
            5_000,
            json!({"type": "token", "data": "a\n\n b", "id": "", "raw": "event:token\r\ndata:a\r\ndata:\r\ndata:  b\r\nid\r\n\r\n"}),
        )
        .event(6_000, json!({"type": "message", "data": "", "id": "3"}))
        .set("/sse/tail", json!("data: to"))
        .end("server", 7_000)
}

const EVENTS: &str =
    ": hello\nretry: 250\n\nid: 1\ndata: { \"t\" : \"$uuid\" }\n\nevent: token\nid: \ndata: a\ndata: \ndata:  b\n\nid: 3\ndata: \n\n";

fn serve(place: &Place, config: &str) -> Server {
    Server::builder().place(place).option("--config", place.home().join(config).display()).start()
}

fn convert(server: &Server, id: &str, body: &Value) -> Answer {
    server.post(&format!("/stream-recordings/{id}/convert"), body)
}

#[test]
fn a_converted_websocket_says_the_same_in_either_format() {
    let place = Place::new();
    let id = chat().save(&place.data_dir());
    for file in ["chat.json", "chat.yaml"] {
        let output = place.run(&["stream-recordings", "convert", &id, "-o", file]).expect(0);
        assert_eq!(output.stdout, format!("Converted {id} to {file}\n"));
        assert_eq!(output.stderr, "mockd: left out: 1 ping\nmockd: left out: 1 pong\n");
        let server = serve(&place, file);
        talk(&server, "/ws/chat");
        let mocks = server.get("/mocks");
        assert_eq!((&mocks["total"], &mocks["mocks"][0]["name"], &mocks["mocks"][0]["id"]), (&json!(1), &json!("chat #1"), &json!(id)));
    }
}

#[test]
fn a_converted_event_stream_says_the_same() {
    let place = Place::new();
    let id = events().save_pretty(&place.data_dir());
    for file in ["events.json", "events.yml"] {
        let output = place.run(&["sr", "convert", &id, "-o", file]).expect(0);
        let words = "mockd: left out: the line ends, field order or unknown fields of 1 event (what they say is kept)\n\
                     mockd: left out: 8 bytes after the last event\n";
        assert_eq!(output.stderr, words);
        let server = serve(&place, file);
        ask(server.mock, "GET", "/v1/chat", &[], b"").expect(404);
        let mut stream = Stream::ask(server.mock, "POST", "/v1/chat", &[], b"{\"q\":2}");
        assert_eq!(stream.head.status(), 201);
        assert_eq!(stream.head.field("Content-Type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(stream.head.fields("X-Two").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(stream.rest_text(), EVENTS);
        let rest = Stream::ask(server.mock, "POST", "/v1/chat", &[("Last-Event-ID", "1")], b"").rest_text();
        assert_eq!(rest, EVENTS.split_once("$uuid\" }\n\n").expect("the first event").1);
    }
}

#[test]
fn the_answer_of_the_call_is_the_file_of_the_command() {
    let server = Server::start();
    let (chat, events) = (chat().save(&server.place.data_dir()), events().save(&server.place.data_dir()));
    let answer = convert(&server, &chat, &Value::Null).expect(200);
    assert_eq!(answer.head.field("Content-Type"), Some("application/json"));
    assert_eq!(answer.head.field("Content-Disposition"), Some("attachment; filename=\"chat-1.json\""));
    assert_eq!(answer.head.field("X-Mockd-Left-Out"), Some("1 ping; 1 pong"));
    assert_eq!(answer.text(), server.run(&["sr", "convert", &chat]).ok());
    let options = json!({"format": "yaml", "mockName": "v2", "endpointPath": "/v2", "simplifyTiming": true, "minDelay": 1, "maxDelay": 2});
    let answer = convert(&server, &events[..20], &options).expect(200);
    assert_eq!(answer.head.field("Content-Type"), Some("application/yaml"));
    assert_eq!(answer.head.field("Content-Disposition"), Some("attachment; filename=\"v2.yaml\""));
    let flags =
        ["--format", "yaml", "--mock-name", "v2", "--endpoint-path", "/v2", "--simplify-timing", "--min-delay", "1", "--max-delay=2"];
    assert_eq!(answer.text(), server.run(&[&["sr", "convert", &events], &flags[..]].concat()).ok());
    let plain = ws("/a").s2c(1, "a").save(&server.place.data_dir());
    assert_eq!(convert(&server, &plain, &json!({})).expect(200).head.field("X-Mockd-Left-Out"), None);
}

#[test]
fn timing_client_messages_and_repetitions_are_options() {
    let place = Place::new();
    let made = ws("/ws").s2c(5_000, "a").s2c(105_000, "a").c2s(200_000, "q").s2c(9_200_000, "a").close("server", 9_201_000, 1000, "");
    let id = made.save(&place.data_dir());
    let steps = |flags: &[&str]| -> Vec<String> {
        let config = place.run(&[&["stream-recordings", "convert", &id], flags].concat()).json();
        let steps = config["mocks"][0]["websocket"]["scenario"]["steps"].as_array().expect("steps").clone();
        let delay = |step: &Value| if step["type"] == "close" { step["delay"].clone() } else { step["message"]["delay"].clone() };
        steps.iter().map(|step| format!("{} {}", text(&step["type"]), delay(step))).collect()
    };
    assert_eq!(steps(&[]), ["send 5", "send 100", "expect null", "send 9000", "close 1"]);
    assert_eq!(steps(&["--simplify-timing"]), ["send 0", "send 100", "expect null", "send 5000", "close 0"]);
    let fine = ["--simplify-timing", "--min-delay", "50", "--max-delay", "2000"];
    assert_eq!(steps(&fine), ["send 0", "send 100", "expect null", "send 2000", "close 0"]);
    for flags in [&["--include-client-messages=false"][..], &["--include-client=false"], &["--include-client-messages", "false"]] {
        assert_eq!(steps(flags), ["send 5", "send 100", "send 9095", "close 1"]);
    }
    assert_eq!(steps(&["--include-client-messages", "--deduplicate-messages"]), ["send 5", "expect null", "send 9000", "close 1"]);
    assert_eq!(steps(&["--include-client-messages", "false", "--deduplicate"]), ["send 5", "close 9196"]);
}

#[test]
fn what_cannot_be_converted_is_refused_with_what_to_do() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let dir = server.place.data_dir();
    let deleted = chat().save(&dir);
    server.call("DELETE", &format!("/stream-recordings/{deleted}"), &Value::Null).expect(204);
    convert(&server, &deleted, &json!({})).expect_error(404, "not_found", &[&deleted]);
    put(&dir, "rec_01BROKEN0000.json", b"{\"formatVersion\":");
    convert(&server, "01BROKEN0000", &json!({})).expect_error(409, "corrupted", &["can't be converted"]);
    let session = server.record("websocket", "/running");
    convert(&server, &session, &json!({})).expect_error(409, "still_recording", &["stop it"]);
    let client = Client::open(server.mock, "/running");
    server.begun(&session);
    convert(&server, &session, &json!({})).expect_error(409, "still_recording", &["stop it, then convert it"]);
    server.run(&["sr", "convert", &session]).expect_error(1, &["stop it, then convert it"]);
    drop(client);
    convert(&server, "01NOSUCH0000", &json!({})).expect_error(404, "not_found", &["01NOSUCH0000"]);

    let id = chat().save(&dir);
    for (body, words) in [
        (json!({"simplifyTimming": true}), "did you mean \"simplifyTiming\"?"),
        (json!({"minDelay": 5}), "minDelay: this goes with simplifyTiming: true only"),
        (json!({"simplifyTiming": true, "minDelay": 50, "maxDelay": 20}), "50 is more than 20"),
        (json!({"format": "toml"}), "\"toml\" is none of json, yaml"),
        (json!({"endpointPath": "ws"}), "must begin with"),
        (json!({"endpointPath": "/é*é"}), "at its end only"),
        (json!({"deduplicateMessages": 1}), "true or false"),
    ] {
        convert(&server, &id, &body).expect_error(400, "bad_request", &[words]);
    }
    for (flags, words) in [
        (&["--min-delay", "5"][..], &["--min-delay: this goes with --simplify-timing only"][..]),
        (&["--simplify-timing", "--max-delay", "5"], &["--min-delay: this must not be more than --max-delay: 10 is more than 5"]),
        (&["--endpoint-path", "ws"], &["--endpoint-path: \"ws\" must begin with"]),
        (&["--include-client-messages=no"], &["--include-client-messages", "true, false"]),
        (&["--format", "toml"], &["json, yaml"]),
    ] {
        server.place.run(&[&["sr", "convert", &id, "-o", "none.json"], flags].concat()).expect_error(2, words);
    }
    assert!(!server.place.home().join("none.json").exists());
    server.place.run(&["sr", "convert", &id, "-o", "no/such/folder.json"]).expect_error(1, &["no/such/folder.json"]);
    let bad = ws("/ws").binary("s2c", 1, "?").save(&dir);
    server.place.run(&["sr", "convert", &bad, "-o", "none.json"]).expect_error(1, &["frames[0]: its data is no base64"]);
    assert!(!server.place.home().join("none.json").exists());
    convert(&server, &bad, &json!({})).expect_error(400, "bad_request", &["frames[0]: its data is no base64"]);
}

#[test]
fn a_file_that_is_there_is_replaced_and_its_ending_or_the_flag_says_the_format() {
    let place = Place::new();
    let id = chat().save(&place.data_dir());
    let file = place.file("c.yaml", "old");
    place.run(&["sr", "convert", &id, "-o", "c.yaml"]).ok();
    let yaml = std::fs::read_to_string(&file).expect("the file");
    assert!(yaml.starts_with("version: \"1.0\"\nmocks:\n  - id: "), "{yaml}");
    assert_eq!(yaml, place.run(&["sr", "convert", &id, "--format", "yaml"]).ok());
    place.run(&["sr", "convert", &id, "-o", "c.yaml", "--format", "json"]).ok();
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), place.run(&["sr", "convert", &id, "-o", "-"]).ok());
    // As the document's use case does it.
    place.run(&["sr", "convert", &id, "-o", "fixtures/chat.json"]).ok();
    place.run(&["check", "fixtures/chat.json"]).ok();
}

#[test]
fn a_converted_mock_can_be_live_at_once() {
    let server = Server::start();
    let id = chat().save(&server.place.data_dir());
    let answer = convert(&server, &id, &json!({"addToServer": true, "format": "yaml"})).expect(200);
    assert_eq!(answer.text(), server.run(&["sr", "convert", &id, "--format", "yaml"]).ok());
    talk(&server, "/ws/chat");
    // Once more: the newer one takes its place.
    convert(&server, &id, &json!({"addToServer": true, "mockName": "newer"})).expect(200);
    let mocks = server.get("/mocks");
    assert_eq!((&mocks["total"], &mocks["mocks"][0]["name"]), (&json!(1), &json!("newer")));
    // On another path it stands beside.
    let output = server.run(&["sr", "convert", &id, "--endpoint-path", "/v2/*", "--add-to-server", "-o", "v2.json"]).expect(0);
    assert_eq!(output.stdout, format!("Converted {id} to v2.json\n"));
    assert_eq!(server.get("/mocks")["total"], 2);
    talk(&server, "/ws/chat");
    talk(&server, "/v2/chat");
    server.place.run(&["sr", "convert", &id, "--add-to-server", "-o", "v3.json", "--admin-url", "http://127.0.0.1:1"]).expect(1);
    assert!(!server.place.home().join("v3.json").exists());

    server.run(&["sr", "convert", &id, "-o", "mine.json"]).ok();
    let other = serve(&server.place, "mine.json");
    convert(&other, &id, &json!({"addToServer": true})).expect_error(409, "already_exists", &["a mock of the config", &id]);
}

#[test]
fn a_redacted_value_is_never_expected() {
    let upstream = Upstream::script("expect text {\"password\":\"hunter2\",\"n\":1}\nsend text ok\nexpect text plain\nsend text bye");
    let server = Server::builder().upstream(upstream.url()).config("recording: {filterBodyKeys: [password]}").start();
    let session = server.record("websocket", "/login");
    let mut client = Client::open(server.mock, "/login");
    client.text("{\"password\":\"hunter2\",\"n\":1}");
    assert_eq!(client.next(), "text ok");
    client.text("plain");
    assert_eq!(client.next(), "text bye");
    drop(client);
    server.stop(&session);
    let answer = convert(&server, &session, &json!({"addToServer": true})).expect(200);
    let named = answer.head.field("X-Mockd-Left-Out").expect("something is left out").to_owned();
    assert!(named.contains("the content of 1 client message with redacted values"), "{named}");
    assert!(!answer.text().contains("REDACTED") && !answer.text().contains("hunter2"));
    let mut client = Client::open(server.mock, "/login");
    client.text("{\"password\":\"swordfish\"}");
    assert_eq!(client.next(), "text ok");
    client.text("plain");
    assert_eq!(client.next(), "text bye");
}

#[test]
fn an_incomplete_recording_goes_as_far_as_it_does() {
    let place = Place::new();
    let made = ws("/ws").set("/status", json!("incomplete")).set("/statusReason", json!("crashed")).s2c(1_000, "a").s2c(2_000, "b");
    let id = made.save(&place.data_dir());
    let output = place.run(&["sr", "convert", &id, "-o", "c.json"]).expect(0);
    assert_eq!(output.stderr, "mockd: left out: the end, since the recording is incomplete (crashed)\n");
    let server = serve(&place, "c.json");
    let mut client = Raw::open(server.mock, "/ws");
    assert_eq!(client.words(2), ["text a", "text b"]);
    client.close(1000, "");
}

/// What a side of a generated conversation says.
#[derive(Debug, Clone)]
struct Said {
    by_client: bool,
    binary: Option<Vec<u8>>,
    text: String,
}

fn any_said() -> impl Strategy<Value = Said> {
    let text = prop_oneof![
        any::<String>(),
        Just("{ \"b\":1 , \"a\" :[1.0, 2e5] }".to_owned()),
        Just("{{message}}{{uuid}}$uuid\u{2028}\u{85}\u{feff}\r\n\t".to_owned()),
        Just(String::new()),
        proptest::num::f64::NORMAL.prop_map(|number| format!("[{number}]")),
    ];
    (any::<bool>(), proptest::option::weighted(0.2, any::<Vec<u8>>()), text).prop_map(|(by_client, binary, text)| Said {
        by_client,
        binary,
        text,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    /// A few generated recordings through the real binary and real sockets; `rules` has the many.
    #[test]
    fn generated_recordings_come_back_over_the_wire(
        said in proptest::collection::vec(any_said(), 1..12), yaml in any::<bool>(), datas in proptest::collection::vec("[ -~é\n{}$]{0,20}", 1..8),
    ) {
        let (mut made, mut stream) = (ws("/ws"), sse("/events"));
        for (index, said) in said.iter().enumerate() {
            let us = 20_000_000 * (index as u64 + 1);
            let direction = if said.by_client { "c2s" } else { "s2c" };
            made = match &said.binary {
                Some(bytes) => made.binary(direction, us, &data_encoding::BASE64.encode(bytes)),
                None => made.control(direction, "text", us, &said.text),
            };
        }
        let mut wanted = String::new();
        for (index, data) in datas.iter().enumerate() {
            stream = stream.data(10_000_000 * (index as u64 + 1), data);
            data.split('\n').for_each(|line| wanted.push_str(&format!("data: {line}\n")));
            wanted.push('\n');
        }
        let place = Place::new();
        let ending = if yaml { "yaml" } else { "json" };
        let ids = [made.close("server", 1_000_000_000, 1000, "end").save(&place.data_dir()), stream.end("server", 900_000_000).save(&place.data_dir())];
        let server = Server::builder().place(&place);
        let server = ids.iter().fold(server, |server, id| {
            let file = format!("{id}.{ending}");
            place.run(&["sr", "convert", id, "-o", &file, "--simplify-timing", "--max-delay", "0", "--min-delay", "0"]).expect(0);
            server.option("--config", place.home().join(file).display())
        });
        let server = server.start();
        let mut client = Raw::open(server.mock, "/ws");
        for said in &said {
            let (opcode, payload) = match &said.binary {
                Some(bytes) => (BINARY, bytes.as_slice()),
                None => (TEXT, said.text.as_bytes()),
            };
            if said.by_client {
                client.send(opcode, payload);
            } else {
                let frame = client.frame();
                prop_assert_eq!((frame.opcode(), hex(&frame.payload)), (opcode, hex(payload)));
            }
        }
        prop_assert_eq!(client.words(1), ["close 1000 end"]);
        prop_assert_eq!(Stream::open(server.mock, "/events", &[]).rest_text(), wanted);
    }
}
