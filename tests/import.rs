//! Files become recordings: those of browsers and proxies, of the original mockd, our own; over the admin port and the command line.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::http::{Conn, ask};
use crate::support::server::{Place, text};
use crate::support::{Server, recordings, sse, ws};

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/har").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn import(server: &Server, body: &[u8]) -> Value {
    ask(server.admin, "POST", "/stream-recordings/import", &[], body).expect(201).json()
}

/// Imports a file and gives its recordings, whole, and what was left out.
#[track_caller]
fn imported(server: &Server, body: &[u8]) -> (Vec<Value>, Vec<String>) {
    let answer = import(server, body);
    let whole = |summary: &Value| {
        let recording = server.recording(summary["id"].as_str().unwrap());
        assert_eq!(recording["stats"]["fileSizeBytes"], summary["fileSizeBytes"]);
        assert_eq!(recording["stats"]["frameCount"], summary["frameCount"]);
        recording
    };
    let recordings = answer["recordings"].as_array().unwrap().iter().map(whole).collect();
    (recordings, answer["leftOut"].as_array().unwrap().iter().map(text).collect())
}

/// `s2c text hi 100000` for each frame.
fn frames(recording: &Value) -> Vec<String> {
    let frames = recording["websocket"]["frames"].as_array().unwrap();
    let line = |frame: &Value| {
        format!("{} {} {} {}", text(&frame["direction"]), text(&frame["type"]), text(&frame["data"]), frame["relativeUs"].as_u64().unwrap())
    };
    frames.iter().map(line).collect()
}

/// `price evt-001 data 100000` for each event; `-` for what it has not.
fn events(recording: &Value) -> Vec<String> {
    let events = recording["sse"]["events"].as_array().unwrap();
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |event: &Value| {
        format!("{} {} {} {}", word(&event["type"]), word(&event["id"]), word(&event["data"]), event["relativeUs"].as_u64().unwrap())
    };
    events.iter().map(line).collect()
}

#[test]
fn a_har_of_chrome_gives_its_streams_and_names_the_rest() {
    let server = Server::start();
    let (recordings, left_out) = imported(&server, &fixture("chrome.har"));
    let [chat, events_of] = recordings.as_slice() else { panic!("{recordings:?}") };
    assert_eq!(
        frames(chat),
        [
            "s2c text {\"type\":\"welcome\"} 100000",
            "c2s text {\"type\":\"join\",\"room\":\"general\"} 250001",
            "c2s binary AAEC/v8= 300000"
        ]
    );
    assert_eq!(
        (&chat["startTime"], &chat["duration"], &chat["status"]),
        (&json!("2024-01-15T10:30:00.000000Z"), &json!(1500), &json!("complete"))
    );
    assert_eq!(chat["metadata"]["query"], json!({"room": "general", "token": "[REDACTED]"}));
    assert_eq!((&chat["metadata"]["source"], &chat["metadata"]["path"]), (&json!("import"), &json!("/ws/chat")));
    assert_eq!((&chat["websocket"]["subprotocol"], &chat["websocket"]["closedBy"]), (&json!("chat.v1"), &Value::Null));
    assert_eq!(events(events_of), ["message evt-001 Hello world 120000", "price - line 1\nline 2 500000", "message evt-003 größe 1000000"]);
    assert_eq!((&events_of["sse"]["headRelativeUs"], &events_of["sse"]["endedBy"]), (&json!(100_000), &json!("client")));
    assert_eq!(
        left_out,
        [
            "log.entries[1]._webSocketMessages: 1 error message that the browser added, which are no frames",
            "log.entries[3]: it is a WebSocket that was never opened: its status is 403",
            "an entry that is no WebSocket and no event stream: GET https://app.example.com/app.js",
        ]
    );
    let stored = String::from_utf8(server.place.stored_bytes()).unwrap();
    assert!(!stored.contains("sekret"), "what is secret stays off the disk");
}

#[test]
fn a_har_of_playwright_has_milliseconds_and_may_lack_contents() {
    let server = Server::start();
    let (recordings, left_out) = imported(&server, &fixture("playwright.har"));
    let [live, chat] = recordings.as_slice() else { panic!("{recordings:?}") };
    assert_eq!(frames(live), ["c2s text ping? 100000", "s2c text pong! 250250", "s2c binary /wA= 500500"]);
    assert_eq!(events(chat), ["message - {\"n\":1} 50000", "message - {\"n\":\"é\"} 200000", "message - [DONE] 350000"]);
    assert_eq!(chat["sse"]["request"], json!({"method": "POST", "body": "{\"stream\":true}"}));
    assert_eq!(chat["sse"]["responseHeaders"], json!({"Content-Type": "text/event-stream"}), "the text in a HAR has no coding");
    assert_eq!(left_out, ["log.entries[2]: its text is in another file: save the HAR with its contents embedded"]);
}

#[test]
fn a_har_of_mitmproxy_has_http_urls_and_base64_contents() {
    let server = Server::start();
    let (recordings, left_out) = imported(&server, &fixture("mitmproxy.har"));
    let [chat, stream] = recordings.as_slice() else { panic!("{recordings:?}") };
    assert_eq!(frames(chat), ["c2s text hello 60500", "s2c binary AP8Q 120125", "s2c text bye 200000"]);
    assert_eq!(events(stream), ["message 1 a\u{fffd} 60000", "- - - 160000", "message - b 260000"]);
    assert_eq!((&stream["sse"]["endRelativeUs"], left_out.len()), (&json!(260_000), 0));
}

#[test]
fn hars_of_a_real_chromium_replay_what_the_browser_saw() {
    let server = Server::start();
    for name in ["chromium-devtools.har", "chromium-playwright.har"] {
        let (recordings, left_out) = imported(&server, &fixture(name));
        let [chat, events_of, completion] = recordings.as_slice() else { panic!("{recordings:?}") };
        assert_eq!(left_out.len(), 1, "{left_out:?}");
        let said: Vec<String> = frames(chat).iter().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect();
        assert_eq!(
            said,
            [
                "c2s text {\"type\":\"join\",\"room\":\"general\"}",
                "c2s binary AAH+/w==",
                "c2s text bye 👋",
                "s2c text {\"type\":\"welcome\",\"room\":\"general\"}",
                "s2c text {\"type\":\"join\",\"room\":\"general\"}",
                "s2c binary AAH+/w==",
                "s2c text bye 👋",
                "s2c text {\"type\":\"tick\",\"n\":1}",
                "s2c binary AAEC/v8=",
                "s2c text {\"type\":\"tick\",\"n\":2}",
                "s2c text {\"type\":\"tick\",\"n\":3}",
            ],
            "{name}"
        );
        assert_eq!(events_of["stats"]["eventCount"], 20);
        assert!(events(events_of)[1].starts_with("price evt-001 {\"n\":1,\"text\":\"événement 1\"} "), "{:?}", events(events_of)[1]);
        assert_eq!(completion["sse"]["request"]["method"], "POST");

        server.replay(&text(&chat["id"]), &json!({"timingScale": 0}));
        let mut client = ws::Client::open(server.mock, "/ws/chat");
        let received = client.take(4);
        assert!(received[0].contains("welcome") && received[3].contains("bye 👋"), "{received:?}");
        server.replay(&text(&events_of["id"]), &json!({"timingScale": 0}));
        let body = ask(server.mock, "GET", "/events", &[], b"").expect(200).text();
        assert!(
            body.starts_with(": the demo's events\nretry: 2000\n\nevent: price\nid: evt-001\ndata: {\"n\":1,\"text\":\"événement 1\"}\n\n"),
            "{body}"
        );
    }
}

#[test]
fn a_go_recording_is_told_by_its_fields() {
    let server = Server::start();
    let body = json!({"id": "01HXYZ0123456789ABCDEFGHJK", "version": "1.0", "protocol": "websocket", "name": "theirs", "updatedAt": "2024-01-15T10:30:01Z",
        "syncStatus": "local", "status": "complete", "startTime": "2024-01-15T10:30:00Z", "duration": 900,
        "metadata": {"path": "/ws", "source": "manual", "queryParams": {"token": "sekret"}},
        "websocket": {"connectedAt": "2024-01-15T10:30:00Z", "closeCode": 1000, "frames": [
            {"seq": 1, "ts": "2024-01-15T10:30:00.1Z", "rel": 100, "dir": "s2c", "type": "text", "data": "a", "encoding": "utf8", "size": 1}]}});
    let (recordings, _) = imported(&server, body.to_string().as_bytes());
    assert_eq!(frames(&recordings[0]), ["s2c text a 100000"]);
    assert_eq!(
        (&recordings[0]["metadata"]["source"], &recordings[0]["metadata"]["query"]["token"]),
        (&json!("import"), &json!("[REDACTED]"))
    );
    assert_ne!(recordings[0]["id"], body["id"]);
    assert_eq!((&recordings[0]["syncStatus"], &recordings[0]["duration"]), (&json!("local"), &json!(900)));
}

#[test]
fn a_recording_gets_a_new_id_and_keeps_what_it_had() {
    let server = Server::start();
    let made = recordings::ws("/ws").s2c(1000, "hello").c2s(2500, "you").close("server", 3000, 1000, "bye").set("/mine", json!({"a": [1]}));
    let body = made.json();
    for body in [body.to_string(), format!("\u{feff}{body:#}\n")] {
        let (recordings, left_out) = imported(&server, body.as_bytes());
        let recording = &recordings[0];
        assert_eq!((recordings.len(), left_out.len(), &recording["mine"]), (1, 0, &json!({"a": [1]})));
        assert_eq!((&recording["metadata"]["source"], &recording["stats"]["frameCount"]), (&json!("proxy"), &json!(2)));
        assert_eq!(recording["metadata"]["redaction"]["redactValue"], "[REDACTED]");
        assert_eq!(frames(recording), ["s2c text hello 1000", "c2s text you 2500", "s2c close  3000"]);
    }
    assert_eq!(server.get("/stream-recordings")["total"], 2);
}

#[test]
fn what_is_redacted_here_is_redacted_in_what_comes_in() {
    let server =
        Server::builder().config("recording: {filterBodyKeys: [password], filterPatterns: ['sk-[0-9]+'], filterHeaders: [X-Mine]}").start();
    let made = recordings::ws("/ws")
        .s2c(1, "{\"password\":\"sekret\",\"b\":1}")
        .s2c(2, "key sk-123")
        .set("/metadata/headers", json!({"X-Mine": "sekret"}));
    let body =
        made.set("/metadata/redaction", json!({"headers": ["X-Theirs"], "redactValue": "***"})).set("/other", json!("sk-456")).json();
    let (recordings, _) = imported(&server, body.to_string().as_bytes());
    assert_eq!(frames(&recordings[0]), ["s2c text {\"password\":\"***\",\"b\":1} 1", "s2c text key *** 2"]);
    let redaction = &recordings[0]["metadata"]["redaction"];
    assert_eq!(
        (&redaction["headers"], &redaction["bodyKeys"], &redaction["redactValue"]),
        (&json!(["X-Theirs", "X-Mine"]), &json!(["password"]), &json!("***"))
    );
    assert_eq!(recordings[0]["other"], "***");
    assert!(!String::from_utf8_lossy(&server.place.stored_bytes()).contains("sekret"));
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_kept() {
    let server = Server::start();
    let refuse = |body: &str, words: &[&str]| {
        ask(server.admin, "POST", "/stream-recordings/import", &[], body.as_bytes()).expect_error(400, "bad_request", words);
    };
    refuse("", &["nothing to import"]);
    refuse("{\n  \"protocol\": ws\n}", &["line 2 column 15"]);
    refuse("{\"name\":\"x\"}", &["protocol", "websocket, sse"]);
    let mut made = recordings::ws("/ws").s2c(1, "a").s2c(2, "b").s2c(3, "c").s2c(4, "d").json();
    made["websocket"]["frames"][3] = json!({"direction": "s2c", "type": "text", "data": "d"});
    refuse(&made.to_string(), &["websocket.frames[3]", "neither relativeUs nor relativeMs"]);
    refuse("{\"log\":{\"entries\":[{\"request\":{\"method\":\"GET\",\"url\":\"http://a/b\"}}]}}", &["log.entries", "GET http://a/b"]);
    refuse("{\"log\":{\"entries\":[]}}", &["log.entries", "no entries"]);
    ask(server.admin, "POST", "/stream-recordings/import?x=1", &[], b"{}").expect_error(400, "bad_request", &["x"]);
    ask(server.admin, "GET", "/stream-recordings/import", &[], b"").expect_error(405, "method_not_allowed", &["POST"]);
    assert_eq!(server.get("/stream-recordings")["total"], 0);
}

#[test]
fn bodies_are_taken_up_to_the_limit_of_the_directory() {
    let server = Server::builder().option("--max-bytes", 4 << 20).start();
    let path = "/stream-recordings/import";
    let with = |bytes: usize| recordings::ws("/ws").s2c(1, &"x".repeat(bytes)).json().to_string();
    import(&server, with(2 << 20).as_bytes());
    ask(server.admin, "POST", path, &[], with(3 << 20).as_bytes()).expect_error(507, "storage_full", &[]);
    ask(server.admin, "POST", path, &[], with(5 << 20).as_bytes()).expect_error(413, "too_large", &["4194304"]);
    // A length that is declared, and a body that never comes, hold no memory and nobody up.
    let mut waiting = Conn::open(server.admin);
    waiting.send(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n{{"));
    // Chunked, as a client that does not know how much it will send does.
    let mut chunked = Conn::open(server.admin);
    chunked.send(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"));
    let body = with(100_000);
    body.as_bytes().chunks(7000).for_each(|piece| chunked.send_chunk(piece));
    chunked.send("0\r\n\r\n");
    chunked.answer("POST").expect(201);
    let expecting = [("Expect", "100-continue")];
    Conn::open(server.admin).ask("POST", path, &expecting, with(100_000).as_bytes()).expect(201);
    drop(waiting);
    assert_eq!(server.get("/stream-recordings")["total"], 3);
    let files = std::fs::read_dir(server.place.data_dir()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file());
    assert_eq!(files.count(), 3, "nothing half done is left");
}

#[test]
fn a_large_body_is_not_read_without_the_token() {
    let server = Server::builder().option("--admin-token", "s3cret").start();
    let body = recordings::ws("/ws").s2c(1, &"x".repeat(3 << 20)).json().to_string();
    let path = "/stream-recordings/import";
    ask(server.admin, "POST", path, &[], body.as_bytes()).expect_error(401, "unauthorized", &[]);
    ask(server.admin, "POST", path, &[("Authorization", "Bearer s3cret")], body.as_bytes()).expect(201);
}

#[test]
fn the_command_works_without_a_server() {
    let place = Place::new();
    let har = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/har/chrome.har");
    let har = har.to_str().unwrap();
    place.file("one.json", &recordings::sse("/events").data(1000, "a").end("server", 2000).json().to_string());
    let output = place.run(&["stream-recordings", "import", har, "one.json"]).expect(0);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!((lines.len(), lines[0].split_whitespace().next()), (4, Some("ID")), "{}", output.stdout);
    assert!(lines[1].contains("/ws/chat") && lines[2].contains("/events") && lines[3].contains("/events"), "{}", output.stdout);
    assert_eq!(output.stderr.matches("left out: ").count(), 3, "{}", output.stderr);
    let listed = place.run(&["sr", "import", "one.json", "--json"]).json();
    assert_eq!((&listed["recordings"][0]["protocol"], &listed["leftOut"]), (&json!("sse"), &json!([])));
    assert_eq!(place.run(&["sr", "list", "--json"]).json()["total"], 4);

    place.file("broken.json", "{\"protocol\":\"sse\",\"sse\":{\"events\":[{\"data\":\"x\"}]}}");
    place.run(&["sr", "import", "broken.json"]).expect_error(1, &["broken.json: sse.events[0]: it has neither"]);
    place.run(&["sr", "import", "none.json"]).expect_error(1, &["none.json", "cannot be read"]);
    place.run(&["sr", "import"]).expect_error(2, &["FILE"]);
    let small = place.clone().env("MOCKD_MAX_BYTES", "100");
    small.run(&["sr", "import", "one.json"]).expect_error(1, &["100 bytes"]);
    assert_eq!(place.run(&["sr", "list", "--json"]).json()["total"], 4);
}

#[test]
fn an_imported_stream_is_replayed() {
    let server = Server::start();
    let minimal = json!({"protocol": "sse", "metadata": {"path": "/events"}, "sse": {"events": [
        {"type": "message", "data": "Hello world", "id": "evt-001", "timestamp": "2024-01-15T10:30:00.100Z", "relativeMs": 100}]}});
    let (recordings, _) = imported(&server, minimal.to_string().as_bytes());
    assert_eq!(recordings[0]["startTime"], "2024-01-15T10:30:00.000000Z");
    server.replay(&text(&recordings[0]["id"]), &json!({"timingScale": 0}));
    let mut stream = sse::Stream::open(server.mock, "/events", &[]);
    assert_eq!(stream.block(), "id: evt-001\ndata: Hello world\n\n");
}

#[test]
fn a_status_that_no_event_stream_has_is_refused() {
    let server = Server::start();
    let with = |status: u32| recordings::sse("/e").data(1, "a").end("server", 2).set("/sse/responseStatus", json!(status));
    for status in [0, 99, 101, 204, 205, 304, 600, 1000, 65535] {
        let body = with(status).json().to_string();
        let answer = ask(server.admin, "POST", "/stream-recordings/import", &[], body.as_bytes());
        answer.expect_error(400, "bad_request", &["sse.responseStatus: ", &status.to_string(), "200 to 599, without 204, 205, 304"]);
    }
    import(&server, with(503).json().to_string().as_bytes());
    // In an archive it is the entry's fault alone.
    let entry = |status: u32| {
        json!({"startedDateTime": "2024-01-15T10:30:00Z", "time": 1, "request": {"method": "GET", "url": "http://h/e"},
        "response": {"status": status, "content": {"mimeType": "text/event-stream", "text": "data: a\n\n"}}})
    };
    let har = json!({"log": {"entries": [entry(204), entry(1000), entry(0)]}});
    let (recordings, left_out) = imported(&server, har.to_string().as_bytes());
    assert_eq!((recordings.len(), &recordings[0]["sse"]["responseStatus"]), (1, &json!(200)));
    assert!(left_out[0].starts_with("log.entries[0]: sse.responseStatus: no event stream has the status 204"), "{left_out:?}");
    assert!(left_out[1].starts_with("log.entries[1]: sse.responseStatus: no event stream has the status 1000"), "{left_out:?}");
    // One that stands in the directory all the same is not written to a client.
    let id = with(1000).save(&server.place.data_dir());
    let refused = server.post(&format!("/stream-recordings/{id}/replay"), &json!({}));
    refused.expect_error(409, "corrupted", &[&id, "sse.responseStatus", "1000", "mend the file"]);
}

#[test]
fn an_entry_with_a_bad_message_is_left_out_as_a_whole_and_says_so() {
    let server = Server::start();
    let message = |opcode: u8, data: &str| json!({"type": "receive", "time": 1_705_314_600.5, "opcode": opcode, "data": data});
    let entry = |messages: Value| {
        json!({"startedDateTime": "2024-01-15T10:30:00Z", "request": {"method": "GET", "url": "ws://h/ws"},
        "response": {"status": 101}, "_webSocketMessages": messages})
    };
    let entries = [entry(json!([message(1, "a"), message(2, "?")])), entry(json!([message(1, "a")]))];
    let (recordings, left_out) = imported(&server, json!({"log": {"entries": entries}}).to_string().as_bytes());
    assert_eq!(recordings.len(), 1);
    assert_eq!(left_out, ["log.entries[0]: left out: _webSocketMessages[1]: its data is no base64"]);
}

#[test]
fn the_part_of_another_protocol_is_named() {
    let server = Server::start();
    let body = recordings::ws("/ws").s2c(1, "a").set("/sse", json!({"events": [{"data": "x", "relativeMs": 1}]})).json();
    let (recordings, left_out) = imported(&server, body.to_string().as_bytes());
    assert_eq!((frames(&recordings[0]), recordings[0].get("sse")), (vec!["s2c text a 1".to_owned()], None));
    assert_eq!(left_out, ["sse: left out: the recording's protocol is websocket, and a recording has one"]);
}
