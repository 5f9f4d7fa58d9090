//! Recordings become files in each format, and come back as they were; over the admin port and the command line.

use serde_json::{Value, json};

use crate::support::http::ask;
use crate::support::recordings::{self, Made};
use crate::support::server::{Place, text};
use crate::support::sse::Stream;
use crate::support::ws::Client;
use crate::support::{Server, wait};

/// Every kind of frame, and an end.
fn chat() -> Made {
    recordings::ws("/ws/chat")
        .set("/name", json!("chat #1"))
        .set("/description", json!("a \u{e9}"))
        .set("/tags", json!(["x"]))
        .set("/metadata/headers", json!({"Host": "api.example.com:8080", "Accept": ["a", "b"]}))
        .set("/metadata/query", json!({"room": "a b"}))
        .set("/metadata/redaction", json!({"headers": ["X-Old"], "redactValue": "[REDACTED]"}))
        .s2c(100_001, "{\"type\":\"welcome\"}")
        .c2s(250_000, "\u{e9}\n\u{0}")
        .binary("s2c", 300_000, "AAH/")
        .control("s2c", "ping", 300_001, "p")
        .control("c2s", "pong", 300_900, "p")
        .close("server", 400_000, 1001, "bye")
}

/// Events, a comment, raw bytes, a POST.
fn tokens() -> Made {
    recordings::sse("/v1/chat")
        .set("/metadata/method", json!("POST"))
        .set("/metadata/headers", json!({"Content-Type": "application/json"}))
        .set("/sse/request", json!({"method": "POST", "body": "{\"stream\":true}"}))
        .set("/sse/headRelativeUs", json!(70_000))
        .event(70_500, json!({"comment": "keep", "retry": 5}))
        .event(100_000, json!({"type": "message", "data": "a", "id": "1"}))
        .event(200_000, json!({"type": "tick", "data": "b\nc"}))
        .event(300_000, json!({"type": "message", "data": "d", "raw": "data:d\r\n\r\n"}))
        .set("/sse/tail", json!("data: cut"))
        .end("server", 400_000)
}

/// A recording without what every import makes anew, and the redaction that an import adds to.
fn essence(mut recording: Value) -> Value {
    recording["id"] = Value::Null;
    recording["stats"] = Value::Null;
    recording["metadata"]["redaction"] = Value::Null;
    recording
}

#[test]
fn every_format_comes_back_as_it_was() {
    let server = Server::start();
    for made in [chat(), tokens()] {
        let id = made.save(&server.place.data_dir());
        let original = server.recording(&id);
        for (format, ending, kind) in
            [("json", ".json", "application/json"), ("jsonl", ".jsonl", "application/jsonl"), ("har", ".har", "application/json")]
        {
            let answer = server.touch(&format!("/stream-recordings/{id}/export?format={format}")).expect(200);
            let disposition = answer.head.field("content-disposition").unwrap().to_owned();
            assert!(disposition.starts_with("attachment; filename=\"") && disposition.ends_with(&format!("{ending}\"")), "{disposition}");
            assert_eq!((answer.head.field("content-type"), answer.head.field("x-mockd-left-out")), (Some(kind), None));
            let imported = ask(server.admin, "POST", "/stream-recordings/import", &[], &answer.body).expect(201).json();
            assert_eq!(imported["leftOut"], json!([]), "{format}");
            let copy = server.recording(&text(&imported["recordings"][0]["id"]));
            assert_eq!(essence(copy.clone()), essence(original.clone()), "{format}");
            // From then on even the redaction is the same.
            let again = server.touch(&format!("/stream-recordings/{}/export?format={format}", text(&copy["id"]))).expect(200);
            let again = ask(server.admin, "POST", "/stream-recordings/import", &[], &again.body).expect(201).json();
            let again = server.recording(&text(&again["recordings"][0]["id"]));
            assert_eq!((&again["metadata"], &again["stats"]), (&copy["metadata"], &copy["stats"]), "{format}");
        }
    }
}

#[test]
fn json_lines_are_a_head_a_frame_a_line_and_a_tail() {
    let place = Place::new();
    let id = chat().save(&place.data_dir());
    let lines = place.run(&["stream-recordings", "export", &id, "--format", "jsonl"]).ok();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 8);
    assert_eq!(
        (&lines[0]["id"], &lines[0]["websocket"], &lines[0]["metadata"]["query"]),
        (&json!(id), &json!({"subprotocol": null}), &json!({"room": "a b"}))
    );
    assert_eq!((&lines[1]["direction"], &lines[1]["relativeUs"]), (&json!("s2c"), &json!(100_001)));
    assert_eq!(
        (&lines[7]["status"], &lines[7]["websocket"]["closeCode"], &lines[7]["stats"]["textFrames"]),
        (&json!("complete"), &json!(1001), &json!(2))
    );
}

#[test]
fn a_har_of_a_websocket_is_what_chrome_writes() {
    let place = Place::new();
    let id = chat().save(&place.data_dir());
    place.run(&["stream-recordings", "export", &id, "--format", "har", "-o", "chat.har"]).expect(0);
    let har: Value = serde_json::from_slice(&std::fs::read(place.home().join("chat.har")).unwrap()).unwrap();
    assert_eq!((&har["log"]["version"], &har["log"]["creator"]["name"]), (&json!("1.2"), &json!("mockd")));
    let entry = &har["log"]["entries"][0];
    assert_eq!(entry["startedDateTime"], "2024-01-15T10:30:00.000000Z");
    assert_eq!((&entry["_resourceType"], &entry["time"], &entry["cache"]), (&json!("websocket"), &json!(400.0), &json!({})));
    let request = &entry["request"];
    assert_eq!((&request["method"], &request["url"]), (&json!("GET"), &json!("ws://api.example.com:8080/ws/chat?room=a%20b")));
    assert_eq!(request["headers"][2], json!({"name": "Accept", "value": "b"}));
    assert_eq!(request["queryString"], json!([{"name": "room", "value": "a b"}]));
    for (part, fields) in [
        (request, &["httpVersion", "cookies", "headersSize", "bodySize"][..]),
        (&entry["response"], &["statusText", "httpVersion", "cookies", "headers", "redirectURL", "headersSize", "bodySize"]),
    ] {
        fields.iter().for_each(|field| assert!(!part[*field].is_null(), "{field}"));
    }
    assert_eq!((&entry["response"]["status"], &entry["response"]["content"]["size"]), (&json!(101), &json!(0)));
    for name in ["send", "wait", "receive"] {
        assert!(entry["timings"][name].as_f64().is_some_and(|ms| ms >= 0.0), "{name}");
    }
    let messages = entry["_webSocketMessages"].as_array().unwrap();
    assert_eq!(messages.len(), 6);
    assert_eq!(messages[0], json!({"type": "receive", "time": 1_705_314_600.100_001, "opcode": 1, "data": "{\"type\":\"welcome\"}"}));
    assert_eq!((&messages[1]["type"], &messages[2]["opcode"], &messages[2]["data"]), (&json!("send"), &json!(2), &json!("AAH/")));
    let opcodes: Vec<u64> = messages.iter().map(|message| message["opcode"].as_u64().unwrap()).collect();
    assert_eq!(opcodes, [1, 1, 2, 9, 10, 8]);
}

#[test]
fn a_har_of_an_event_stream_has_its_text_and_its_events() {
    let place = Place::new();
    let id = tokens().save(&place.data_dir());
    let har = place.run(&["stream-recordings", "export", &id, "--format", "har"]).json();
    let entry = &har["log"]["entries"][0];
    let text = ": keep\nretry: 5\n\nid: 1\ndata: a\n\nevent: tick\ndata: b\ndata: c\n\ndata:d\r\n\r\ndata: cut";
    assert_eq!(entry["response"]["content"], json!({"size": text.len(), "mimeType": "text/event-stream", "text": text}));
    assert_eq!(entry["request"]["postData"], json!({"mimeType": "application/json", "text": "{\"stream\":true}"}));
    assert_eq!((&entry["timings"]["wait"], &entry["timings"]["receive"]), (&json!(70.0), &json!(330.0)));
    let events = entry["_eventSourceMessages"].as_array().unwrap();
    let told = |event: &Value| (event["eventName"].clone(), event["eventId"].clone(), event["data"].clone());
    assert_eq!(events.len(), 3);
    assert_eq!(told(&events[1]), (json!("tick"), json!("1"), json!("b\nc")));
    assert_eq!((&events[0]["time"], &entry["_resourceType"]), (&json!(1_705_314_600.1), &json!("eventsource")));
    // Other programs know nothing of `_mockd`: what they save of it comes back too, but for times of blocks without data.
    let mut foreign = har.clone();
    let entry = foreign["log"]["entries"][0].as_object_mut().unwrap();
    entry.remove("_mockd");
    entry["_eventSourceMessages"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .for_each(|event| drop(event.as_object_mut().unwrap().remove("_mockd")));
    place.file("foreign.har", &foreign.to_string());
    let imported = place.run(&["sr", "import", "foreign.har", "--json"]).json();
    let copy = place.run(&["sr", "show", imported["recordings"][0]["id"].as_str().unwrap(), "--json"]).json();
    let original = place.run(&["sr", "show", &id, "--json"]).json();
    assert_eq!(copy["sse"]["events"].as_array().unwrap()[1..], original["sse"]["events"].as_array().unwrap()[1..]);
    assert_eq!((&copy["sse"]["tail"], &copy["sse"]["request"]), (&original["sse"]["tail"], &original["sse"]["request"]));
}

#[test]
fn bytes_that_are_no_text_are_base64() {
    let place = Place::new();
    let made =
        recordings::sse("/e").event(1, json!({"type": "message", "data": "a\u{fffd}", "raw": "ZGF0YTogYf8KCg==", "rawEncoding": "base64"}));
    let id = made.data(2, "b").end("server", 3).save(&place.data_dir());
    let har = place.run(&["stream-recordings", "export", &id, "--format", "har"]).json();
    let content = &har["log"]["entries"][0]["response"]["content"];
    assert_eq!(
        content,
        &json!({"size": 19, "mimeType": "text/event-stream", "encoding": "base64", "text": "ZGF0YTogYf8KCmRhdGE6IGIKCg=="})
    );
}

#[test]
fn a_running_recording_is_exported_as_far_as_it_is() {
    let server = Server::builder().flag("--demo").start();
    let id = server.record("websocket", "/ws/chat");
    let mut client = Client::open(server.mock, "/ws/chat");
    client.text("hello");
    client.take(2);
    wait::eventually("the frames in the journal", || {
        let lines = server.touch(&format!("/stream-recordings/{id}/export?format=jsonl"));
        (lines.status() == 200 && lines.text().contains("hello")).then_some(())
    });
    for format in ["jsonl", "har"] {
        let answer = server.touch(&format!("/stream-recordings/{id}/export?format={format}")).expect(200);
        assert!(answer.head.field("x-mockd-left-out").is_some_and(|words| words.contains("still running")), "{:?}", answer.head);
        let imported = ask(server.admin, "POST", "/stream-recordings/import", &[], &answer.body).expect(201).json();
        assert_eq!(
            (&imported["recordings"][0]["status"], &imported["recordings"][0]["statusReason"]),
            (&json!("incomplete"), &json!("copied_while_recording"))
        );
    }
    let output = server.run(&["stream-recordings", "export", &id, "--format", "har"]).expect(0);
    assert!(output.stderr.contains("left out: what passes from now on"), "{}", output.stderr);
    drop(client);
}

#[test]
fn a_deleted_recording_is_exported_and_comes_back_alive() {
    let place = Place::new();
    let id = tokens().save(&place.data_dir());
    place.run(&["sr", "delete", &id]).expect(0);
    for format in ["json", "jsonl", "har"] {
        place.run(&["sr", "export", &id, "--format", format, "-o", "copy"]).expect(0);
        let imported = place.run(&["sr", "import", "copy", "--json"]).json();
        assert_eq!(imported["recordings"][0]["deleted"], false, "{format}");
    }
    assert_eq!(place.run(&["sr", "list", "--json"]).json()["total"], 3);
}

#[test]
fn other_formats_are_refused_by_name() {
    let server = Server::start();
    let id = chat().save(&server.place.data_dir());
    server.touch(&format!("/stream-recordings/{id}/export?format=xml")).expect_error(
        400,
        "bad_request",
        &["format", "xml", "json, har, jsonl"],
    );
    server.run(&["sr", "export", &id, "--format", "xml"]).expect_error(2, &["xml", "jsonl"]);
}

#[test]
fn what_an_import_brought_is_replayed_byte_for_byte() {
    let server = Server::start();
    let id = tokens().set("/metadata/method", json!("GET")).set("/sse/request", json!({"method": "GET"})).save(&server.place.data_dir());
    let mut bodies = Vec::new();
    let har = server.touch(&format!("/stream-recordings/{id}/export?format=har")).expect(200).body;
    let imported = ask(server.admin, "POST", "/stream-recordings/import", &[], &har).expect(201).json();
    for id in [&id, &text(&imported["recordings"][0]["id"])] {
        server.replay(id, &json!({"timingScale": 0}));
        let mut stream = Stream::open(server.mock, "/v1/chat", &[]);
        bodies.push(stream.rest());
    }
    assert_eq!(bodies[0], bodies[1]);
}
