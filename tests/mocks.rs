//! Which mock serves a request, what comes before it and after it, and the calls that list, add and take away mocks.

use serde_json::{Value, json};

use crate::support::http::{self, Answer};
use crate::support::recordings::ws;
use crate::support::server::{Builder, text};
use crate::support::ws::{Client, HANDSHAKE, Raw};
use crate::support::{Server, Upstream};

/// A plain mock on a path that answers with its name.
fn says(name: &str, path: &str) -> Value {
    says_to(name, json!({"path": path}))
}

fn says_to(name: &str, matcher: Value) -> Value {
    json!({"id": name, "name": name, "type": "http", "http": {"matcher": matcher, "response": {"body": name}}})
}

fn with(mocks: Value) -> Builder {
    Server::builder().config(&json!({"mocks": mocks}).to_string())
}

fn ask(server: &Server, target: &str) -> Answer {
    http::ask(server.mock, "GET", target, &[], b"")
}

#[test]
fn sessions_come_first_then_mocks_then_upstreams() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nupstream");
    let server = with(json!([says("mock", "/a")])).upstream(upstream.url()).start();
    let recording = crate::support::recordings::sse("/a").data(0, "session").end("server", 0).save(&server.place.data_dir());
    server.replay(&recording, &json!({}));
    assert_eq!(ask(&server, "/a").text(), "data: session\n\n");
    assert_eq!(ask(&server, "/a").text(), "mock");
    assert_eq!(ask(&server, "/b").text(), "upstream");
    let none = Server::start();
    ask(&none, "/b").expect_error(404, "not_found", &["nothing serves GET /b", "--upstream", "POST /mocks"]);
}

#[test]
fn the_most_specific_mock_serves_then_the_one_of_more_conditions_then_the_first() {
    let server = with(json!([
        says("all", "/*"),
        says("a", "/a"),
        says("again", "/a"),
        says("below", "/a/*"),
        says_to("room", json!({"path": "/a", "queryParams": {"room": "red fish"}})),
        says_to("room-for-two", json!({"path": "/a", "queryParams": {"room": "*"}, "headers": {"X-Tenant": "two"}})),
        says_to("post", json!({"path": "/a", "method": "POST"})),
        {"id": "off", "enabled": false, "http": {"matcher": {"path": "/off"}, "response": {"body": "off"}}},
    ]))
    .start();
    for (method, target, tenant, expected) in [
        ("GET", "/a", "", "a"),
        ("GET", "/a?room=red%20fish", "", "room"),
        ("GET", "/a?room=red+fish", "one", "room"),
        ("GET", "/a?room=", "two", "room-for-two"),
        ("POST", "/a?room=red", "two", "post"),
        ("GET", "/a/", "", "below"),
        ("GET", "/a/b", "", "below"),
        ("GET", "/A", "", "all"),
        ("GET", "/off", "", "all"),
    ] {
        let answer = http::ask(server.mock, method, target, &[("x-tenant", tenant)], b"");
        assert_eq!(answer.text(), expected, "{method} {target} {tenant}");
    }
    server.post("/mocks", &says("late", "/a")).expect(201);
    assert_eq!(ask(&server, "/a").text(), "a", "a mock of the API is the last of its rank");
    server.post("/mocks", &says("exact", "/a/b")).expect(201);
    assert_eq!(ask(&server, "/a/b").text(), "exact");
}

#[test]
fn a_mock_of_the_path_that_does_not_fit_says_so() {
    let server = with(json!([
        says_to("posts", json!({"path": "/post", "method": "POST"})),
        says_to("tenant", json!({"path": "/tenant", "headers": {"X-Tenant": "secret"}})),
        says_to("room", json!({"path": "/room", "queryParams": {"room": "1"}})),
        says_to("body", json!({"path": "/body", "method": "POST", "bodyContains": "cats"})),
        {"id": "off", "enabled": false, "http": {"matcher": {"path": "/off"}, "response": {}}},
        {"id": "socket", "websocket": {"path": "/socket"}},
    ]))
    .start();
    for (method, target, words) in [
        ("GET", "/post", vec!["the mock \"posts\" is on this path and is for POST"]),
        ("GET", "/tenant", vec!["\"tenant\"", "wants the header X-Tenant"]),
        ("GET", "/room?room=2", vec!["\"room\"", "wants the query parameter room"]),
        ("POST", "/body", vec!["\"body\"", "wants another text in the body"]),
        ("GET", "/off", vec!["\"off\"", "is not enabled"]),
        ("GET", "/socket", vec!["\"socket\"", "is for WebSocket handshakes"]),
    ] {
        let answer = http::ask(server.mock, method, target, &[], b"dogs").expect_error(404, "not_found", &words);
        assert!(!answer.text().contains("secret"), "{}", answer.text());
    }
    let refused = Raw::try_open(server.mock, "/room", &[]).expect_err("no WebSocket here");
    refused.expect_error(404, "not_found", &["\"room\"", "is for plain HTTP requests, not for WebSocket handshakes"]);
}

#[test]
fn mocks_are_listed_added_and_taken_away() {
    let server = with(json!([says("from-config", "/a")])).start();
    let added = json!({"name": "greeting", "http": {"matcher": {"path": "/b"}, "response": {"body": "b", "delayMs": 0}}});
    let first = server.post("/mocks", &added).expect(201).json();
    let made = text(&first["id"]);
    assert_eq!((made.len(), &first["enabled"], &first["name"]), (26, &json!(true), &json!("greeting")));
    assert_eq!(first["http"], added["http"], "shown as it was given");
    let short = server.post("/mocks", &says("v1.b", "/c")).expect(201).json();
    assert_eq!(short["id"], "v1.b");

    let list = server.get("/mocks");
    let ids: Vec<String> = list["mocks"].as_array().expect("a list").iter().map(|mock| text(&mock["id"])).collect();
    assert_eq!((ids, &list["total"]), (vec!["from-config".to_owned(), made.clone(), "v1.b".to_owned()], &json!(3)));
    assert_eq!(server.get("/mocks/v1.b"), short);
    assert_eq!(server.get(&format!("/mocks/{}", &made[..25])), first);
    assert_eq!(server.get("/mocks/FROM-C")["id"], "from-config");
    for (target, path) in [("/a", "from-config"), ("/b", "b"), ("/c", "v1.b")] {
        assert_eq!(ask(&server, target).text(), path);
    }
    assert!(server.call("GET", "/metrics", &Value::Null).text().contains("\nmockd_mocks 3\n"));

    for id in ["v1.b", &made[..25], "from-config"] {
        let answer = server.call("DELETE", &format!("/mocks/{id}"), &Value::Null).expect(204);
        assert_eq!(answer.text(), "");
        server.call("DELETE", &format!("/mocks/{id}"), &Value::Null).expect_error(404, "not_found", &["GET /mocks"]);
    }
    assert_eq!(server.get("/mocks"), json!({"mocks": [], "total": 0}));
    ask(&server, "/a").expect(404);
}

#[test]
fn what_is_wrong_with_a_mock_is_said_with_its_place() {
    let upstream = Upstream::echo();
    let server = with(json!([says("taken", "/a")])).upstream(upstream.url()).start();
    let stored = ws("/ws").s2c(0, "x").save(&server.place.data_dir());
    let replay = |recording: &str| json!({"websocket": {"replay": {"recording": recording}}});
    for (body, status, code, words) in [
        (says("taken", "/b"), 409, "already_exists", vec!["\"taken\""]),
        (json!({}), 400, "bad_request", vec!["websocket", "http"]),
        (json!({"type": "graphql"}), 400, "bad_request", vec!["type", "websocket, http"]),
        (json!({"websocket": {"pth": "/a"}}), 400, "bad_request", vec!["websocket.pth", "\"path\""]),
        (json!({"id": "a/b", "websocket": {"path": "/a"}}), 400, "bad_request", vec!["id"]),
        (replay("/etc/passwd"), 400, "bad_request", vec!["websocket.replay.recording", "by its id"]),
        (replay("chat.json"), 400, "bad_request", vec!["websocket.replay.recording", "by its id"]),
        (replay("01ZZZZZZZZZZZZ"), 400, "bad_request", vec!["websocket.replay.recording", "no recording has the id"]),
        (json!({"http": {"replay": {"recording": stored}}}), 400, "bad_request", vec!["http.replay.recording", "WebSocket"]),
        (json!({"websocket": {"path": "/a", "maxMessageSize": 99_999_999_999_u64}}), 400, "bad_request", vec!["websocket.maxMessageSize"]),
    ] {
        server.post("/mocks", &body).expect_error(status, code, &words);
    }
    let running = server.record("websocket", "/live");
    let _client = Client::open(server.mock, "/live");
    server.begun(&running);
    server.post("/mocks", &replay(&running)).expect_error(409, "still_recording", &[&running]);
    assert_eq!(server.get("/mocks")["total"], 1, "nothing of it was kept");
    for bad in ["..%2f..%2fetc", "a%00", "a%20b"] {
        server.call("GET", &format!("/mocks/{bad}"), &Value::Null).expect(400);
    }
    server.call("GET", "/mocks/unknown", &Value::Null).expect_error(404, "not_found", &["no mock has the id \"unknown\""]);
    let answer = server.call("PUT", "/mocks/taken", &Value::Null).expect(405);
    assert_eq!(answer.head.field("Allow"), Some("GET, HEAD, DELETE, OPTIONS"));
}

#[test]
fn a_mock_that_is_taken_away_lets_its_connections_go_on() {
    let server = Server::start();
    let recording = ws("/ws").s2c(0, "one").s2c(1000, "two").close("client", 9_000_000, 1000, "").save(&server.place.data_dir());
    let mock = json!({"id": "steps", "websocket": {"replay": {"recording": recording, "mode": "triggered"}}});
    server.post("/mocks", &mock).expect(201);
    let mut client = Client::open(server.mock, "/ws");
    let session = text(&crate::support::wait::eventually("a session", || server.get("/replay")["replays"].get(0).cloned())["id"]);
    server.call("DELETE", "/mocks/steps", &Value::Null).expect(204);
    Raw::try_open(server.mock, "/ws", &[]).expect_err("it is gone").expect(404);
    server.touch(&format!("/replay/{session}/advance")).expect(200);
    assert_eq!(client.next(), "text one");
    // The same id may be used again, also while the first one's connection lives.
    server.post("/mocks", &mock).expect(201);
    let _second = Client::open(server.mock, "/ws");
    server.touch(&format!("/replay/{session}/advance")).expect(200);
    assert_eq!(client.next(), "text two");

    server.post("/mocks", &json!({"id": "echo", "websocket": {"path": "/echo"}})).expect(201);
    let mut talks = Client::open(server.mock, "/echo");
    server.call("DELETE", "/mocks/echo", &Value::Null).expect(204);
    talks.text("still here");
    assert_eq!(talks.next(), "text still here");
}

#[test]
fn start_warns_only_where_no_mock_is_on_the_path() {
    let server = with(json!([{"id": "a", "matcher": {"path": "/a/*"}, "sse": {"events": [{"data": "a"}]}}, {"id": "off", "enabled": false, "websocket": {"path": "/off"}}])).start();
    for (path, warned) in [("/a/b", false), ("/a/*", false), ("/*", false), ("/b", true), ("/off", true)] {
        let started = server.post("/stream-recordings/start", &json!({"protocol": "sse", "path": path})).expect(201).json();
        assert_eq!(started["warning"].is_string(), warned, "{path}");
    }
}

#[test]
fn a_handshake_that_must_fail_is_refused_where_a_mock_would_take_it() {
    let upstream = Upstream::answering("HTTP/1.1 418 I\r\nContent-Length: 0\r\n\r\n");
    let server = with(json!([{"id": "socket", "websocket": {"path": "/socket"}}])).upstream(upstream.url()).start();
    let fields: Vec<(&str, &str)> =
        HANDSHAKE.iter().map(|(name, value)| (*name, if *name == "Sec-WebSocket-Version" { "12" } else { value })).collect();
    let answer = http::ask(server.mock, "GET", "/socket", &fields, b"").expect_error(426, "bad_handshake", &[]);
    assert_eq!(answer.head.field("Sec-WebSocket-Version"), Some("13"));
    http::ask(server.mock, "GET", "/other", &fields, b"").expect(418);
}

#[test]
fn preflights_of_mocks_are_answered() {
    let server = with(json!([
        says_to("api", json!({"path": "/api", "method": "PUT", "headers": {"X-Key": "1"}})),
        {"http": {"matcher": {"path": "/own", "method": "OPTIONS"}, "response": {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "*"}, "body": "own"}}},
    ]))
    .start();
    let preflight = |path: &str| {
        let fields = [("Origin", "http://app.test"), ("Access-Control-Request-Method", "PUT"), ("Access-Control-Request-Headers", "x-key")];
        http::ask(server.mock, "OPTIONS", path, &fields, b"")
    };
    let answer = preflight("/api").expect(204);
    for (name, value) in [("Origin", "http://app.test"), ("Methods", "PUT"), ("Headers", "x-key"), ("Credentials", "true")] {
        assert_eq!(answer.head.field(&format!("Access-Control-Allow-{name}")), Some(value));
    }
    let own = preflight("/own").expect(200);
    assert_eq!((own.text().as_str(), own.head.field("Access-Control-Allow-Origin")), ("own", Some("*")));
    preflight("/nothing").expect(404);
}

#[test]
fn the_warning_of_start_knows_what_a_mock_gives() {
    let config = json!({"mocks": [
        {"id": "talk", "websocket": {"path": "/ws"}},
        {"id": "plain", "matcher": {"path": "/plain"}, "response": {}},
        {"id": "events", "matcher": {"path": "/events"}, "sse": {"events": [{"data": "a"}]}},
    ]});
    let server = Server::builder().config(&config.to_string()).start();
    for (protocol, path, warned) in [
        ("websocket", "/ws", false),
        ("sse", "/ws", true),
        ("sse", "/plain", true),
        ("sse", "/events", false),
        ("websocket", "/events", true),
    ] {
        let started = server.post("/stream-recordings/start", &json!({"protocol": protocol, "path": path})).expect(201).json();
        assert_eq!(started["warning"].is_string(), warned, "{protocol} {path}: {started}");
    }
}

#[test]
fn a_misspelled_part_and_a_name_that_stands_twice_are_told() {
    let server = Server::start();
    server.post("/mocks", &json!({"id": "a", "webscoket": {"path": "/x"}})).expect_error(
        400,
        "bad_request",
        &["webscoket", "did you mean \"websocket\"?"],
    );
    let twice = br#"{"websocket":{"path":"/a","path":"/b"}}"#;
    http::ask(server.admin, "POST", "/mocks", &[], twice).expect_error(400, "bad_request", &["path"]);
    http::ask(server.admin, "POST", "/mocks", &[], b"").expect_error(400, "bad_request", &["type"]);
}

#[test]
fn a_body_is_looked_into_whatever_a_recording_keeps_of_it() {
    let config =
        json!({"mocks": [{"matcher": {"method": "POST", "path": "/in", "bodyContains": "NEEDLE"}, "response": {"body": "found"}}]});
    let server = Server::builder().config(&config.to_string()).option("--max-request-body-bytes", "1KiB").start();
    let body = format!("{}NEEDLE", "x".repeat(5000));
    assert_eq!(http::ask(server.mock, "POST", "/in", &[], body.as_bytes()).text(), "found");
}
