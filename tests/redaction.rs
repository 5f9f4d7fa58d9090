//! Redaction of SPEC 2: nothing secret reaches the disk, everything reaches the other side.

use serde_json::json;

use crate::support::recordings;
use crate::support::sse::Stream;
use crate::support::wait::eventually;
use crate::support::ws::Raw;
use crate::support::{Server, Upstream};

const CONFIG: &str = r#"
recording:
  filterHeaders: [Authorization, X-Custom-Secret]
  filterQuery: [token, sig]
  filterBodyKeys: [password, $.user.ssn]
  filterPatterns: ["sk-[a-z0-9]+", "4111 ?1111 ?1111 ?1111"]
  redactValue: "<gone>"
"#;

const SECRETS: [&str; 8] = ["hunter2", "t0ken-value", "s1g", "123-45-6789", "sk-abcdef", "4111 1111", "header-secret", "987654321"];

fn assert_clean(server: &Server) {
    let stored = String::from_utf8_lossy(&server.place.stored_bytes()).into_owned();
    for secret in SECRETS {
        assert!(!stored.contains(secret), "{secret:?} is on disk");
    }
    let log = server.log();
    for secret in SECRETS {
        assert!(!log.contains(secret), "{secret:?} is in the log");
    }
}

#[test]
fn nothing_secret_reaches_the_disk_and_everything_the_other_side() {
    let upstream = Upstream::echo();
    let server = Server::builder().upstream(upstream.url()).config(CONFIG).start();
    let id = server.record("websocket", "/ws");
    let fields = [("x-custom-secret", "header-secret"), ("X-API-Key", "kept: the list replaces the default")];
    let mut client = Raw::open_with(server.mock, "/ws?token=t0ken-value&sig=s1g&room=1", &fields);
    let texts = [
        r#"{ "user":{"ssn":"123-45-6789","name":"é"} ,"deep":[{"password":"hunter2"}], "n":1.50 }"#,
        r#"{"password":{"nested":["hunter2"]}}"#,
        r#"{"password":987654321}"#,
        "the key is sk-abcdef, the card 4111 1111 1111 1111.",
        r#"not JSON: {"password":}"#,
    ];
    for text in texts {
        client.run(&format!("send text {text}\nexpect text {text}"));
    }
    eventually("the frames in the journal", || {
        (server.recording_so_far(&id)?["websocket"]["frames"].as_array()?.len() == 10).then_some(())
    });
    assert_clean(&server);
    server.stop(&id);
    assert_clean(&server);
    let recording = server.recording(&id);
    let frames = recording["websocket"]["frames"].as_array().unwrap();
    let data: Vec<&str> = frames.iter().step_by(2).map(|frame| frame["data"].as_str().unwrap()).collect();
    assert_eq!(
        data,
        [
            r#"{ "user":{"ssn":"<gone>","name":"é"} ,"deep":[{"password":"<gone>"}], "n":1.50 }"#,
            r#"{"password":"<gone>"}"#,
            r#"{"password":"<gone>"}"#,
            "the key is <gone>, the card <gone>.",
            r#"not JSON: {"password":}"#,
        ]
    );
    let metadata = &recording["metadata"];
    assert_eq!(metadata["headers"]["x-custom-secret"], "<gone>");
    assert_eq!(metadata["headers"]["X-API-Key"], "kept: the list replaces the default");
    assert_eq!(metadata["query"], json!({"token": "<gone>", "sig": "<gone>", "room": "1"}));
    assert_eq!(
        metadata["redaction"],
        json!({
            "headers": ["Authorization", "X-Custom-Secret"], "query": ["token", "sig"], "bodyKeys": ["password", "$.user.ssn"],
            "patterns": ["sk-[a-z0-9]+", "4111 ?1111 ?1111 ?1111"], "redactValue": "<gone>"
        })
    );
}

#[test]
fn the_upstream_gets_what_the_client_sent() {
    let upstream =
        Upstream::websocket(None, |mut raw| raw.run("expect text {\"password\":\"hunter2\"}\nexpect close 1000\nsend close 1000"));
    let server = Server::builder().upstream(upstream.url()).config(CONFIG).start();
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open_with(server.mock, "/ws?token=t0ken-value", &[("Authorization", "Bearer header-secret")]);
    client.run("send text {\"password\":\"hunter2\"}\nsend close 1000\nexpect close 1000");
    let head = upstream.head();
    assert_eq!((head.target(), head.field("authorization")), ("/ws?token=t0ken-value", Some("Bearer header-secret")));
    server.stop(&id);
    assert_clean(&server);
}

#[test]
fn event_streams_and_their_requests_are_redacted() {
    let upstream = Upstream::http(|head, mut conn| {
        conn.body(&head);
        let stream = "data:{\"password\":\"hunter2\"}\r\n\r\n: sk-abcdef\n\ndata: plain\n\n";
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nAuthorization: header-secret\r\n\r\n{stream}"));
    });
    let server = Server::builder().upstream(upstream.url()).config(CONFIG).start();
    let id = server.record("sse", "/chat");
    let body = r#"{"user":{"ssn":"123-45-6789"},"prompt":"hi"}"#;
    let mut stream = Stream::ask(server.mock, "POST", "/chat?sig=s1g", &[], body.as_bytes());
    assert!(stream.rest_text().contains("hunter2"), "the client gets everything");
    let recording = server.finished(&id);
    assert_clean(&server);
    let sse = &recording["sse"];
    assert_eq!(sse["request"]["body"], r#"{"user":{"ssn":"<gone>"},"prompt":"hi"}"#);
    assert_eq!(sse["responseHeaders"]["Authorization"], "<gone>");
    let event = &sse["events"][0];
    assert_eq!((&event["data"], event.get("raw")), (&json!("{\"password\":\"<gone>\"}"), None));
    assert_eq!((&sse["events"][1]["comment"], sse["events"][1].get("raw")), (&json!("<gone>"), None));
    assert_eq!(sse["events"][2]["data"], "plain");
}

/// What is cut off parses as no JSON; the secret in it is one all the same.
#[test]
fn what_is_cut_off_is_redacted_too() {
    let upstream = Upstream::http(|head, mut conn| {
        conn.body(&head);
        let stream = "data: whole\n\ndata: {\"password\":\"hunter2\"";
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n{stream}"));
    });
    let config = format!("{CONFIG}  maxRequestBodyBytes: 41\n");
    let server = Server::builder().upstream(upstream.url()).config(&config).start();
    let id = server.record("sse", "/sk-abcdef");
    let body = r#"{"password":"hunter2","prompt":"éééééééééé"}"#;
    Stream::ask(server.mock, "POST", "/sk-abcdef", &[], body.as_bytes()).rest();
    let recording = server.finished(&id);
    assert_clean(&server);
    assert_eq!(recording["sse"]["request"]["truncated"], true);
    assert_eq!((&recording["sse"]["request"]["body"], &recording["sse"]["tail"]), (&json!("<gone>"), &json!("data: <gone>")));
}

#[test]
fn a_subprotocol_is_as_secret_as_its_header() {
    let upstream = Upstream::websocket(Some("header-secret"), |mut raw| raw.run("expect close 1000\nsend close 1000"));
    let config = "recording:\n  filterHeaders: [sec-websocket-protocol]\n";
    let server = Server::builder().upstream(upstream.url()).config(config).start();
    let id = server.record("websocket", "/ws");
    Raw::open_with(server.mock, "/ws", &[("Sec-WebSocket-Protocol", "header-secret")]).close(1000, "");
    assert_eq!(server.finished(&id)["websocket"]["subprotocol"], "[REDACTED]");
    assert_clean(&server);
}

#[test]
fn the_default_list_of_headers_and_parameters() {
    let upstream = Upstream::http(|_, mut conn| {
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\r\ndata: x\n\n");
    });
    let server = Server::before(&upstream);
    let id = server.record("sse", "/e");
    let names = ["Authorization", "Proxy-Authorization", "cookie", "X-API-Key", "x-auth-token", "X-Fine"];
    let fields: Vec<(&str, &str)> = names.iter().map(|name| (*name, "v4lue")).collect();
    Stream::open(server.mock, "/e?access_token=v4lue&api_key=v4lue&apikey=v4lue&token=v4lue&key=v4lue&signature=v4lue&Key=fine", &fields)
        .rest();
    let recording = server.finished(&id);
    let headers = &recording["metadata"]["headers"];
    for name in &names[2..5] {
        assert_eq!(headers[name], "[REDACTED]", "{name}");
    }
    assert_eq!((&headers["Authorization"], &headers["X-Fine"]), (&json!("[REDACTED]"), &json!("v4lue")));
    assert_eq!(recording["sse"]["responseHeaders"]["Set-Cookie"], json!(["[REDACTED]", "[REDACTED]"]));
    let query = recording["metadata"]["query"].as_object().unwrap();
    for (name, value) in query {
        assert_eq!(value, "[REDACTED]", "{name}");
    }
    assert_eq!(query.len(), 7);
}

/// Trap: strict matching that can never match because the recording was redacted.
#[test]
fn strict_matching_works_against_a_redacted_recording() {
    let upstream = Upstream::script("expect text {\"password\":\"hunter2\"}\nsend text welcome\nexpect close 1000\nsend close 1000");
    let server = Server::builder().upstream(upstream.url()).config(CONFIG).start();
    let id = server.record("websocket", "/ws");
    Raw::open(server.mock, "/ws").run("send text {\"password\":\"hunter2\"}\nexpect text welcome\nsend close 1000\nexpect close 1000");
    server.stop(&id);
    let replay = server.replay(&id, &json!({"mode": "synchronized", "strictMatching": true}));
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text {\"password\":\"another one\"}\nexpect text welcome");
    assert_eq!(server.wait(&replay, "complete")["status"], "complete");
    let messages = server.get(&format!("/replay/{replay}/messages"));
    assert_eq!((&messages["messages"][0]["matched"], &messages["messages"][0]["step"]), (&json!(true), &json!(1)));
}

#[test]
fn the_rules_of_the_recording_hold_where_the_server_has_none() {
    let server = Server::start();
    let rules = json!({"headers": [], "query": [], "bodyKeys": ["pin"], "patterns": [], "redactValue": "***"});
    let id = recordings::ws("/ws")
        .set("/metadata/redaction", rules)
        .c2s(1000, "{\"pin\":\"***\",\"n\":1}")
        .s2c(2000, "ok")
        .save(&server.place.data_dir());
    for (sent, status) in [("{\"pin\":1234,\"n\":1}", "complete"), ("{\"pin\":1234,\"n\":2}", "error")] {
        let replay = server.replay(&id, &json!({"mode": "synchronized", "strictMatching": true}));
        let mut client = Raw::open(server.mock, "/ws");
        client.run(&format!("send text {sent}"));
        let view = server.wait(&replay, "ended");
        assert_eq!(view["status"], status, "{sent}: {view}");
        if status == "error" {
            assert!(!view.to_string().contains("1234"), "the error says no secret: {view}");
        }
    }
}

#[test]
fn a_rule_that_cannot_be_read_is_refused_at_the_start() {
    for (rule, place) in [
        ("filterPatterns: ['(']", "recording.filterPatterns[0]"),
        ("filterBodyKeys: [ok, '$.[']", "recording.filterBodyKeys[1]"),
        ("redactValue: 7", "recording.redactValue"),
    ] {
        Server::builder().config(&format!("recording:\n  {rule}\n")).refused().expect_error(1, &[place]);
    }
}
