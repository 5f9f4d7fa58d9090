//! Recording sessions of SPEC 2 and the fields of SPEC 3: what start, stop and sessions say, and what stands in a recording.

use std::sync::mpsc::channel;

use mockd::base::time;
use serde_json::{Value, json};

use crate::support::server::text;
use crate::support::sse::Stream;
use crate::support::upstream::{EVENT_STREAM, gate};
use crate::support::wait::{eventually, next};
use crate::support::ws::{Client, Raw, close_payload, frame};
use crate::support::{Server, Upstream};

const CHAT: &str = "send text {\"type\":\"welcome\"}\nexpect text {\"type\":\"join\"}\nsend binary 0001ff\nexpect binary ff\nsend ping p\nexpect pong p\nexpect close 4001 bye\nsend close 4001 bye";
const CHAT_CLIENT: &str = "expect text {\"type\":\"welcome\"}\nsend text {\"type\":\"join\"}\nexpect binary 0001ff\nsend binary ff\nexpect ping p\nsend pong p\nsend close 4001 bye\nexpect close 4001 bye";

fn start(server: &Server, body: Value) -> Value {
    server.post("/stream-recordings/start", &body).expect(201).json()
}

#[test]
fn start_answers_with_the_session() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let started = start(&server, json!({"protocol": "websocket", "path": "/ws/chat", "name": "chat-session-1"}));
    let id = text(&started["id"]);
    assert_eq!(id.len(), 26);
    assert_eq!(
        started,
        json!({"id": id, "sessionId": id, "recordingId": id, "protocol": "websocket", "path": "/ws/chat", "name": "chat-session-1", "status": "recording"})
    );
}

#[test]
fn a_websocket_recording_has_every_field() {
    let upstream = Upstream::websocket(Some("chat.v1"), |mut raw| raw.run(CHAT));
    let server = Server::before(&upstream);
    let body = json!({"protocol": "websocket", "path": "/ws/chat", "name": "n", "description": "d", "tags": ["a", "b"]});
    let id = text(&start(&server, body)["id"]);
    let fields = [("Sec-WebSocket-Protocol", "chat.v1"), ("X-Twice", "1"), ("X-Twice", "2"), ("Authorization", "Bearer s3cret")];
    let mut client = Raw::open_with(server.mock, "/ws/chat?room=caf%C3%A9+1&x=1&x=2&token=t0ps3cret", &fields);
    client.run(CHAT_CLIENT);
    let recording = server.finished(&id);
    assert_eq!(recording["formatVersion"], "1.0");
    for (field, value) in [("id", json!(id)), ("name", json!("n")), ("description", json!("d")), ("tags", json!(["a", "b"]))] {
        assert_eq!(recording[field], value, "{field}");
    }
    assert_eq!((&recording["protocol"], &recording["status"]), (&json!("websocket"), &json!("complete")));
    let metadata = &recording["metadata"];
    assert_eq!(metadata["path"], "/ws/chat");
    assert_eq!(metadata["method"], "GET");
    assert_eq!(metadata["query"], json!({"room": "café 1", "x": ["1", "2"], "token": "[REDACTED]"}));
    assert_eq!(metadata["headers"]["X-Twice"], json!(["1", "2"]));
    assert_eq!(metadata["headers"]["Authorization"], "[REDACTED]");
    assert_eq!(metadata["source"], "proxy");
    assert_eq!(metadata["sessionId"], id);
    assert_eq!(metadata["clientIp"], "127.0.0.1");
    let url = text(&metadata["upstream"]);
    assert!(url.contains(&upstream.address.to_string()) && url.contains("/ws/chat") && !url.contains("t0ps3cret"), "{url}");
    assert_eq!(metadata["redaction"]["redactValue"], "[REDACTED]");
    let part = &recording["websocket"];
    assert_eq!(part["subprotocol"], "chat.v1");
    assert_eq!((&part["closeCode"], &part["closeReason"], &part["closedBy"]), (&json!(4001), &json!("bye"), &json!("client")));
    let words: Vec<Value> = part["frames"].as_array().unwrap().iter().map(untimed).collect();
    let expected = [
        json!({"direction": "s2c", "type": "text", "data": "{\"type\":\"welcome\"}"}),
        json!({"direction": "c2s", "type": "text", "data": "{\"type\":\"join\"}"}),
        json!({"direction": "s2c", "type": "binary", "data": "AAH/", "encoding": "base64"}),
        json!({"direction": "c2s", "type": "binary", "data": "/w==", "encoding": "base64"}),
        json!({"direction": "s2c", "type": "ping", "data": "p"}),
        json!({"direction": "c2s", "type": "pong", "data": "p"}),
        json!({"direction": "c2s", "type": "close", "data": "", "closeCode": 4001, "closeReason": "bye"}),
        json!({"direction": "s2c", "type": "close", "data": "", "closeCode": 4001, "closeReason": "bye"}),
    ];
    assert_eq!(words, expected);
    let stats = &recording["stats"];
    let size = std::fs::metadata(server.place.data_dir().join(format!("rec_{id}.json"))).unwrap().len();
    let expected = json!({"frameCount": 6, "textFrames": 2, "binaryFrames": 2, "pingPongs": 2, "eventCount": 0, "bytesSent": 21, "bytesReceived": 16, "fileSizeBytes": size});
    assert_eq!(stats, &expected);
}

/// A frame without its times, after they were checked against each other.
fn untimed(frame: &Value) -> Value {
    let mut frame = frame.clone();
    let object = frame.as_object_mut().expect("a frame");
    let us = object.remove("relativeUs").and_then(|us| us.as_u64()).expect("relativeUs");
    assert_eq!(object.remove("relativeMs"), Some(json!(us / 1000)));
    let time = text(&object.remove("timestamp").expect("timestamp"));
    assert!(time.len() == 27 && time.ends_with('Z'), "six digits: {time}");
    frame
}

#[test]
fn times_are_counted_from_the_origin_and_stand_in_order() {
    let upstream = Upstream::websocket(None, |mut raw| {
        (0..50).for_each(|number| raw.run(&format!("send text {number}\nexpect text {number}")));
        raw.run("send close 1000\nexpect close 1000");
    });
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    (0..50).for_each(|number| client.run(&format!("expect text {number}\nsend text {number}")));
    client.run("expect close 1000\nsend close 1000");
    let recording = server.finished(&id);
    let origin = time::parse_rfc3339(&text(&recording["startTime"])).expect("a time");
    let frames = recording["websocket"]["frames"].as_array().unwrap();
    let mut before = 0;
    for frame in frames {
        let us = frame["relativeUs"].as_u64().expect("a time");
        assert!(us >= before, "stamps ascend");
        before = us;
        assert_eq!(time::parse_rfc3339(&text(&frame["timestamp"])), Some(origin + us));
    }
    let end = recording["websocket"]["endRelativeUs"].as_u64().expect("an end");
    assert!(end >= before);
    assert_eq!(recording["duration"].as_u64(), Some(end / 1000));
    assert_eq!(time::parse_rfc3339(&text(&recording["endTime"])), Some(origin + end));
}

/// Trap: a thread that is woken late reads late. Here none runs at all for a while before and after a frame and an event come.
#[test]
fn what_a_server_says_has_the_time_of_its_arrival_however_late_it_is_read() {
    const STANDS_US: u64 = 200_000;
    let _noting = noting();
    let ((go_ws, gate_ws), (go_sse, gate_sse), (tell_ws, told)) = (gate(), gate(), channel());
    let tell_sse = tell_ws.clone();
    let sockets = Upstream::websocket(None, move |mut raw| {
        raw.run("send text first");
        assert!(gate_ws.wait());
        let before = time::wall_us();
        raw.run("send text late");
        raw.run("send close 1000");
        tell_ws.send((0, before, time::wall_us())).unwrap();
        raw.run("expect close 1000");
    });
    let events = Upstream::http(move |_, mut conn| {
        conn.send(EVENT_STREAM);
        conn.send_chunk("data: first\n\n");
        assert!(gate_sse.wait());
        let before = time::wall_us();
        conn.send_chunk("data: late\n\n");
        conn.send("0\r\n\r\n");
        tell_sse.send((1, before, time::wall_us())).unwrap();
    });
    let server = Server::start();
    let record = |protocol: &str, upstream: &Upstream| {
        let asked = json!({"protocol": protocol, "path": format!("/{protocol}"), "upstream": upstream.url()});
        text(&start(&server, asked)["id"])
    };
    let ids = [record("websocket", &sockets), record("sse", &events)];
    let mut client = Raw::open(server.mock, "/websocket");
    let mut stream = Stream::open(server.mock, "/sse", &[]);
    client.run("expect text first");
    stream.expect("data: first\n\n");
    let pass = |us: u64| {
        let start = time::wall_us();
        eventually("a while to pass", || (time::wall_us() > start + us).then_some(()));
    };
    server.signal("STOP");
    pass(STANDS_US);
    go_ws.send(()).unwrap();
    go_sse.send(()).unwrap();
    let writes = [(); 2].map(|()| next("what was sent", &told));
    pass(STANDS_US);
    server.signal("CONT");
    client.run("expect text late\nexpect close 1000\nsend close 1000");
    stream.expect("data: late\n\n");
    let recordings = ids.map(|id| server.finished(&id));
    let late = [&recordings[0]["websocket"]["frames"][1], &recordings[1]["sse"]["events"][1]];
    for (which, before, after) in writes {
        let at = time::parse_rfc3339(&text(&late[which]["timestamp"])).expect("a time");
        // The scheduler may have come between the two clocks of the recording's origin.
        assert!((before - STANDS_US / 2..after + STANDS_US / 2).contains(&at), "{before} {at} {after}: {}", late[which]);
    }
}

/// The system begins to note arrivals a moment after it was first asked, and goes on while somebody asks.
fn noting() -> std::net::TcpStream {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut near = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    let (far, _) = listener.accept().expect("a connection");
    let mut arrivals = mockd::base::arrivals::Arrivals::at(&far);
    eventually("the system to note arrivals", || {
        std::io::Write::write_all(&mut near, b"x").expect("room");
        arrivals.read(&far, &mut [0]).expect("a byte");
        arrivals.wall_us().map(drop)
    });
    far
}

/// Traps: two clients in one session interleaved in one list; the client's close code replaced by 1000.
#[test]
fn two_clients_of_a_session_get_a_recording_each_with_their_own_close_codes() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let id = text(&start(&server, json!({"protocol": "websocket", "path": "/ws", "name": "chat"}))["id"]);
    let mut clients: Vec<Raw> = (0..3).map(|_| Raw::open(server.mock, "/ws")).collect();
    for round in 0..5 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.run(&format!("send text {number} {round}\nexpect text {number} {round}"));
        }
    }
    let sessions = server.get("/stream-recordings/sessions");
    let session = &sessions["sessions"][0];
    assert_eq!((&session["id"], &session["connections"], &session["protocol"]), (&json!(id), &json!(3), &json!("websocket")));
    assert_eq!(session["recordings"].as_array().unwrap().len(), 3);
    for (number, client) in clients.iter_mut().enumerate() {
        client.run(&format!("send close {} gone\nexpect close {} gone", 4000 + number, 4000 + number));
    }
    let stopped = server.stop(&id);
    assert_eq!(stopped["recording"]["id"], id);
    let summaries = stopped["recordings"].as_array().unwrap();
    let names: Vec<&str> = summaries.iter().map(|summary| summary["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["chat", "chat #2", "chat #3"]);
    for (number, summary) in summaries.iter().enumerate() {
        assert_eq!((&summary["sessionId"], &summary["status"]), (&json!(id), &json!("complete")));
        let recording = server.recording(&text(&summary["id"]));
        assert_eq!(recording["metadata"]["sessionId"], id);
        assert_eq!(recording["websocket"]["closeCode"], 4000 + number);
        let frames = recording["websocket"]["frames"].as_array().unwrap();
        let texts: Vec<String> = frames.iter().filter(|frame| frame["type"] == "text").map(|frame| text(&frame["data"])).collect();
        let expected: Vec<String> = (0..5).flat_map(|round| [format!("{number} {round}"), format!("{number} {round}")]).collect();
        assert_eq!(texts, expected);
    }
}

#[test]
fn a_second_session_on_the_same_protocol_and_path_is_refused() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    server.record("websocket", "/ws");
    server.record("sse", "/ws");
    let again = server.post("/stream-recordings/start", &json!({"protocol": "websocket", "path": "/ws"}));
    again.expect_error(409, "already_recording", &["/ws"]);
}

#[test]
fn a_path_that_nothing_serves_gets_a_warning() {
    let server = Server::start();
    let started = start(&server, json!({"protocol": "sse", "path": "/events"}));
    assert!(text(&started["warning"]).contains("/events"), "{started}");
}

#[test]
fn a_pattern_that_takes_a_path_of_an_upstream_gets_no_warning() {
    let server = Server::builder().config("upstreams:\n  - path: /ws/chat\n    url: ws://localhost:1\n").start();
    assert_eq!(start(&server, json!({"protocol": "websocket", "path": "/ws/*"})).get("warning"), None);
    assert!(start(&server, json!({"protocol": "websocket", "path": "/other/*"})).get("warning").is_some());
}

#[test]
fn a_session_without_a_connection_yields_one_recording_of_no_frames() {
    let server = Server::start();
    let id = server.record("sse", "/events");
    let stopped = server.stop(&id);
    assert_eq!(stopped["recordings"].as_array().unwrap().len(), 1);
    let summary = &stopped["recording"];
    assert_eq!((&summary["id"], &summary["status"], &summary["frameCount"]), (&json!(id), &json!("complete"), &json!(0)));
    assert_eq!(server.recording(&id)["sse"]["events"], json!([]));
}

#[test]
fn stopping_again_is_409_and_what_is_no_session_404() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let clients = [Raw::open(server.mock, "/ws"), Raw::open(server.mock, "/ws")];
    let stopped = server.stop(&id);
    server.touch(&format!("/stream-recordings/{id}/stop")).expect_error(409, "not_recording", &[]);
    let further = text(&stopped["recordings"][1]["id"]);
    server.touch(&format!("/stream-recordings/{further}/stop")).expect_error(404, "not_found", &[]);
    server.touch("/stream-recordings/01ARZ3NDEKTSV4RRFFQ69G5FAV/stop").expect_error(404, "not_found", &[]);
    drop(clients);
}

/// Trap: a `stop` that answers before the last forwarded frame is in the file.
#[test]
fn stop_waits_for_the_last_forwarded_frame() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    for round in 0..20 {
        let id = server.record("websocket", "/ws");
        let mut client = Raw::open(server.mock, "/ws");
        for number in 0..20 {
            client.run(&format!("send text {number}\nexpect text {number}"));
        }
        let stopped = server.stop(&id);
        assert_eq!(stopped["recording"]["frameCount"], 40, "in round {round}");
        let file = std::fs::read_to_string(server.place.data_dir().join(format!("rec_{id}.json"))).expect("the file is there");
        assert_eq!(serde_json::from_str::<Value>(&file).unwrap()["stats"]["frameCount"], 40);
    }
}

#[test]
fn stop_leaves_the_connection_running_unrecorded() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text recorded\nexpect text recorded");
    server.stop(&id);
    client.run("send text not recorded\nexpect text not recorded\nsend close 1000\nexpect close 1000");
    let part = &server.recording(&id)["websocket"];
    assert_eq!(part["frames"].as_array().unwrap().len(), 2);
    assert_eq!((&part["closedBy"], &part["closeCode"]), (&json!("recorder"), &Value::Null));
}

#[test]
fn connections_that_were_open_before_do_not_count() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let mut early = Raw::open(server.mock, "/ws");
    let id = server.record("websocket", "/ws");
    early.run("send text early\nexpect text early");
    assert_eq!(server.stop(&id)["recording"]["frameCount"], 0);
}

#[test]
fn a_refusal_leaves_the_session_waiting() {
    let upstream = Upstream::http(|head, mut conn| match head.target() {
        "/ws?no" => conn.send("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"),
        _ => Raw::accept(conn, head, None).run("send text hi\nexpect close 1000\nsend close 1000"),
    });
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    Raw::try_open(server.mock, "/ws?no", &[]).expect_err("a refusal");
    Raw::open(server.mock, "/ws").run("expect text hi\nsend close 1000\nexpect close 1000");
    let stopped = server.stop(&id);
    assert_eq!((stopped["recordings"].as_array().unwrap().len(), &stopped["recording"]["frameCount"]), (1, &json!(1)));
}

#[test]
fn max_frames_ends_a_recording_as_complete_while_traffic_goes_on() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let id = text(&start(&server, json!({"protocol": "websocket", "path": "/ws", "maxFrames": 3}))["id"]);
    let mut client = Raw::open(server.mock, "/ws");
    (0..5).for_each(|number| client.run(&format!("send text {number}\nexpect text {number}")));
    let recording = server.finished(&id);
    assert_eq!((&recording["status"], &recording["stats"]["frameCount"]), (&json!("complete"), &json!(3)));
    client.run("send text still here\nexpect text still here");
    assert_eq!(server.get("/stream-recordings/sessions")["sessions"].as_array().unwrap().len(), 1, "the session stays open");
}

/// A close frame that came in the same read as the last frame that counts was never recorded.
#[test]
fn a_recording_that_max_frames_ended_was_not_closed_by_a_side() {
    let (go, gate) = gate();
    let upstream = Upstream::websocket(None, move |mut raw| {
        gate.wait();
        let frames = [frame(0x81, None, b"one"), frame(0x81, None, b"two"), frame(0x88, None, &close_payload(1000, "bye"))];
        raw.conn.send(frames.concat());
        raw.run("expect close 1000");
    });
    let server = Server::before(&upstream);
    let id = text(&start(&server, json!({"protocol": "websocket", "path": "/ws", "maxFrames": 1}))["id"]);
    let mut client = Raw::open(server.mock, "/ws");
    go.send(()).unwrap();
    client.run("expect text one\nexpect text two\nexpect close 1000 bye\nsend close 1000");
    let recording = server.finished(&id);
    let websocket = &recording["websocket"];
    assert_eq!(websocket["frames"].as_array().unwrap().len(), 1);
    assert_eq!((&websocket["closedBy"], &websocket["closeCode"]), (&json!("recorder"), &json!(null)));
}

#[test]
fn max_duration_ends_a_recording_as_complete() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let id = text(&start(&server, json!({"protocol": "websocket", "path": "/ws", "maxDuration": 100}))["id"]);
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text hi\nexpect text hi");
    let recording = server.finished(&id);
    assert_eq!((&recording["status"], &recording["websocket"]["closedBy"]), (&json!("complete"), &json!("recorder")));
    client.run("send text still here\nexpect text still here");
}

/// Trap: recordings kept in memory until stop.
#[test]
fn a_running_recording_can_be_read_and_listed() {
    let (go, gate) = gate();
    let upstream = Upstream::websocket(None, move |mut raw| {
        raw.run("send text one");
        assert!(gate.wait());
        raw.run("send text two\nexpect close 1000");
    });
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("expect text one");
    let seen = |count: usize| {
        eventually("the frames so far", || {
            server
                .recording_so_far(&id)
                .filter(|recording| recording["websocket"]["frames"].as_array().is_some_and(|frames| frames.len() == count))
        })
    };
    let recording = seen(1);
    assert_eq!((&recording["status"], &recording["websocket"]["closeCode"]), (&json!("recording"), &Value::Null));
    let journal = std::fs::read_to_string(server.place.data_dir().join(format!("rec_{id}.journal"))).expect("a journal");
    assert_eq!(journal.lines().count(), 2, "a head and one frame a line: {journal}");
    go.send(()).unwrap();
    client.run("expect text two");
    seen(2);
    let page = server.get("/stream-recordings?status=recording");
    assert_eq!((&page["total"], &page["recordings"][0]["id"]), (&json!(1), &json!(id)));
    client.close(1000, "");
}

#[test]
fn the_frames_are_followed_live_until_the_end() {
    let (go, gate) = gate();
    let upstream = Upstream::websocket(None, move |mut raw| {
        raw.run("send text one");
        assert!(gate.wait());
        raw.run("send text two\nsend close 1000 done\nexpect close 1000 done");
    });
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("expect text one");
    server.begun(&id);
    let mut frames = Stream::open(server.admin, &format!("/stream-recordings/{id}/frames?follow=true"), &[]);
    assert_eq!(frames.head.field("content-type"), Some("text/event-stream"));
    assert!(frames.block().contains("\"data\":\"one\""));
    go.send(()).unwrap();
    client.run("expect text two\nexpect close 1000 done\nsend close 1000 done");
    assert!(frames.block().contains("\"data\":\"two\""));
    let rest = frames.rest_text();
    assert!(rest.contains("\"closeReason\":\"done\""), "{rest}");
    let again = server.get(&format!("/stream-recordings/{id}"));
    assert_eq!(again["status"], "complete");
}

/// Who starts a recording looks at it, and follows it, before the first client comes.
#[test]
fn a_session_that_waits_for_its_first_connection_is_there() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let path = format!("/stream-recordings/{id}");
    let waiting = server.get(&path);
    assert_eq!((&waiting["id"], &waiting["status"], &waiting["endTime"]), (&json!(id), &json!("recording"), &Value::Null));
    assert_eq!(waiting["websocket"]["frames"], json!([]));
    let listed = server.get("/stream-recordings?status=recording");
    assert_eq!((&listed["total"], &listed["recordings"][0]["id"]), (&json!(1), &json!(id)));
    server.call("DELETE", &path, &Value::Null).expect_error(409, "still_recording", &["stop"]);
    server.post(&format!("{path}/replay"), &json!({})).expect_error(409, "still_recording", &["stop"]);
    let mut frames = Stream::open(server.admin, &format!("{path}/frames?follow=true"), &[]);
    Raw::open(server.mock, "/ws").run("send text x\nexpect text x\nsend close 1000\nexpect close 1000");
    assert!(frames.block().contains("\"direction\":\"c2s\""));
    server.stop(&id);
    assert!(frames.rest_text().contains("\"closeCode\":1000"));
    assert_eq!(server.get(&path)["status"], "complete");
}

#[test]
fn a_pattern_records_every_path_that_it_takes() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws/*");
    for path in ["/ws/a", "/ws/b", "/other"] {
        Raw::open(server.mock, path).run("send text x\nexpect text x\nsend close 1000\nexpect close 1000");
    }
    let stopped = server.stop(&id);
    let paths: Vec<&str> = stopped["recordings"].as_array().unwrap().iter().map(|summary| summary["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/ws/a", "/ws/b"]);
}

#[test]
fn serve_record_records_from_the_first_request_on() {
    let upstream = Upstream::http(|head, mut conn| match head.target() {
        "/events" => conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n"),
        _ => Raw::accept(conn, head, None).run("send text x\nsend close 1000\nexpect close 1000"),
    });
    let server = Server::builder().upstream(upstream.url()).flag("--record").start();
    Client::open(server.mock, "/ws").rest();
    Stream::open(server.mock, "/events", &[]).rest();
    let page =
        eventually("two finished recordings", || Some(server.get("/stream-recordings?status=complete")).filter(|page| page["total"] == 2));
    let summaries = page["recordings"].as_array().unwrap();
    assert_eq!((&summaries[0]["path"], &summaries[1]["path"]), (&json!("/events"), &json!("/ws")));
}

#[test]
fn what_a_replay_serves_is_recorded_as_such() {
    let server = Server::start();
    let made = crate::support::recordings::ws("/ws").s2c(0, "hello").close("server", 1000, 1000, "").save(&server.place.data_dir());
    let id = server.record("websocket", "/ws");
    server.replay(&made, &json!({}));
    Client::open(server.mock, "/ws").rest();
    let recording = server.finished(&id);
    assert_eq!((&recording["metadata"]["source"], &recording["stats"]["frameCount"]), (&json!("replay"), &json!(1)));
}

#[test]
fn frames_without_follow_are_those_so_far() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text one\nexpect text one");
    let text = eventually("both frames", || {
        let answer = server.call("GET", &format!("/stream-recordings/{id}/frames"), &Value::Null);
        Some(answer.text()).filter(|text| text.matches("\"data\":\"one\"").count() == 2)
    });
    assert!(text.contains("data: {"), "{text}");
    assert_eq!(server.get("/stream-recordings/sessions")["sessions"][0]["frames"], 2);
}

/// A client that has seen the end may stop at once: how it ended is in the file all the same.
#[test]
fn an_end_that_the_client_has_seen_is_in_the_recording() {
    let upstream = Upstream::http(|head, mut conn| {
        if head.field("upgrade").is_some() {
            Raw::accept(conn, head, None).run("send text x\nsend close 4000 over\nexpect close 4000 over");
        } else {
            conn.send(EVENT_STREAM);
            conn.send_chunk("data: x\n\n");
            conn.send("0\r\n\r\n");
        }
    });
    let server = Server::before(&upstream);
    for round in 0..40 {
        let id = server.record("sse", "/events");
        assert_eq!(Stream::open(server.mock, "/events", &[]).rest_text(), "data: x\n\n");
        server.stop(&id);
        assert_eq!(server.recording(&id)["sse"]["endedBy"], "server", "in round {round}");

        let id = server.record("websocket", "/ws");
        Raw::open(server.mock, "/ws").run("expect text x\nexpect close 4000 over\nsend close 4000 over\nend");
        server.stop(&id);
        let part = &server.recording(&id)["websocket"];
        assert_eq!((&part["closedBy"], &part["closeCode"]), (&json!("server"), &json!(4000)), "in round {round}");
    }
}

#[test]
fn each_protocol_has_the_upstream_of_its_own_session() {
    let (chat, events) = (Upstream::script("send text from the chat"), Upstream::events(&["data: from the events\n\n"]));
    let server = Server::start();
    for (protocol, url) in [("websocket", chat.url()), ("sse", events.url())] {
        server.post("/stream-recordings/start", &json!({"protocol": protocol, "path": "/x", "upstream": url})).expect(201);
    }
    assert_eq!(Stream::open(server.mock, "/x", &[]).rest_text(), "data: from the events\n\n");
    Raw::open(server.mock, "/x").run("expect text from the chat");
}
