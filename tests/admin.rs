//! The admin port (SPEC 4): the shape of errors, lists and their filters, ids and prefixes, and who may use it.

use serde_json::{Value, json};

use crate::support::http::{Conn, ask};
use crate::support::recordings::{Made, sse, ws};
use crate::support::server::text;
use crate::support::{Server, Upstream};

fn names(page: &Value) -> Vec<&str> {
    page["recordings"].as_array().expect("recordings").iter().map(|summary| summary["name"].as_str().expect("a name")).collect()
}

fn named(made: Made, name: &str, time: &str) -> Made {
    made.set("/name", json!(name)).set("/startTime", json!(format!("2024-01-15T10:{time}.000000Z")))
}

fn filled() -> Server {
    let server = Server::start();
    let dir = server.place.data_dir();
    named(ws("/ws/a").s2c(0, "x").close("server", 3_000_000, 1000, ""), "first", "30:00").set("/tags", json!(["red", "blue"])).save(&dir);
    named(ws("/ws/b").s2c(0, &"x".repeat(2000)).close("server", 1_000_000, 1000, ""), "second", "31:00").save(&dir);
    named(sse("/events").data(0, "x").end("server", 2_000_000), "third", "32:00")
        .set("/status", json!("incomplete"))
        .set("/statusReason", json!("crashed"))
        .save(&dir);
    server
}

#[test]
fn the_list_is_newest_first_and_takes_filters_and_pages() {
    let server = filled();
    let page = server.get("/stream-recordings");
    assert_eq!(names(&page), ["third", "second", "first"]);
    assert_eq!((&page["total"], &page["limit"], &page["offset"]), (&json!(3), &Value::Null, &json!(0)));
    for (query, expected) in [
        ("protocol=websocket", vec!["second", "first"]),
        ("protocol=sse", vec!["third"]),
        ("path=/ws/a", vec!["first"]),
        ("path=/ws/*", vec!["second", "first"]),
        ("path=%2Fws%2Fa", vec!["first"]),
        ("path=/ws/a/", vec![]),
        ("status=incomplete", vec!["third"]),
        ("name=second", vec!["second"]),
        ("tag=blue", vec!["first"]),
        ("sortBy=name&sortOrder=asc", vec!["first", "second", "third"]),
        ("sortBy=duration&sortOrder=asc", vec!["second", "third", "first"]),
        ("sortOrder=asc", vec!["first", "second", "third"]),
        ("limit=1&offset=1", vec!["second"]),
        ("offset=5", vec![]),
    ] {
        let page = server.get(&format!("/stream-recordings?{query}"));
        assert_eq!(names(&page), expected, "{query}");
    }
    assert_eq!(names(&server.get("/stream-recordings?sortBy=size"))[0], "second", "the largest first");
    let page = server.get("/stream-recordings?limit=1&offset=1");
    assert_eq!((&page["total"], &page["limit"], &page["offset"]), (&json!(3), &json!(1), &json!(1)));
    let summary = &server.get("/stream-recordings?name=third")["recordings"][0];
    let keys: Vec<&str> = summary.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "id",
            "name",
            "description",
            "tags",
            "protocol",
            "path",
            "status",
            "statusReason",
            "startTime",
            "endTime",
            "duration",
            "frameCount",
            "fileSizeBytes",
            "sessionId",
            "deleted"
        ]
    );
    assert_eq!((&summary["statusReason"], &summary["duration"], &summary["description"]), (&json!("crashed"), &json!(2000), &Value::Null));
}

#[test]
fn errors_name_the_field_the_value_and_what_is_allowed() {
    let server = filled();
    for (path, words) in [
        ("/stream-recordings?protocol=http", ["protocol", "\"http\"", "websocket"]),
        ("/stream-recordings?status=done", ["status", "\"done\"", "complete"]),
        ("/stream-recordings?limit=0", ["limit", "\"0\"", "1"]),
        ("/stream-recordings?limit=-1", ["limit", "\"-1\"", "1"]),
        ("/stream-recordings?offset=x", ["offset", "\"x\"", "0"]),
        ("/stream-recordings?sortBy=age", ["sortBy", "\"age\"", "duration"]),
        ("/stream-recordings?sortOrder=up", ["sortOrder", "\"up\"", "asc"]),
        ("/stream-recordings?protcol=sse", ["protcol", "did you mean", "protocol"]),
    ] {
        server.call("GET", path, &Value::Null).expect_error(400, "bad_request", &words);
    }
    for (body, words) in [
        (json!({}), ["protocol", "websocket", "sse"]),
        (json!({"protocol": "ws", "path": "/x"}), ["protocol", "\"ws\"", "websocket"]),
        (json!({"protocol": "sse"}), ["path", "given", ""]),
        (json!({"protocol": "sse", "path": 7}), ["path", "a string", "7"]),
        (json!({"protocol": "sse", "path": "x"}), ["path", "\"x\"", "/"]),
        (json!({"protocol": "sse", "path": "/a*b"}), ["path", "*", "end"]),
        (json!({"protocol": "sse", "path": "/x", "nmae": "n"}), ["nmae", "did you mean", "name"]),
        (json!({"protocol": "sse", "path": "/x", "maxFrames": 0}), ["maxFrames", "0", "1"]),
        (json!({"protocol": "sse", "path": "/x", "upstream": "ftp://x"}), ["upstream", "ftp", "http"]),
        (json!([]), ["object", "", ""]),
    ] {
        server.post("/stream-recordings/start", &body).expect_error(400, "bad_request", &words);
    }
    let torn = ask(server.admin, "POST", "/stream-recordings/start", &[], b"{\"protocol\": ");
    let json = torn.expect_error(400, "bad_request", &["JSON"]).json();
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["error", "message"]);
}

#[test]
fn a_body_is_json_whatever_its_content_type() {
    let server = Server::start();
    let body = br#"{"protocol": "sse", "path": "/x"}"#;
    ask(server.admin, "POST", "/stream-recordings/start", &[("Content-Type", "application/x-www-form-urlencoded")], body).expect(201);
}

#[test]
fn unique_prefixes_are_ids_and_ambiguous_ones_name_the_candidates() {
    let server = Server::start();
    let dir = server.place.data_dir();
    let make = |id: &str| {
        let json = ws("/ws").set("/id", json!(id)).json();
        crate::support::recordings::put(&dir, &format!("rec_{id}.json"), json.to_string().as_bytes());
    };
    make("01HXYZ1234AAAAAAAAAAAAAAAA");
    make("01HXYZ1234BBBBBBBBBBBBBBBB");
    make("01HABC1234BBBBBBBBBBBBBBBB");
    assert_eq!(server.recording("01HABC")["id"], "01HABC1234BBBBBBBBBBBBBBBB");
    assert_eq!(server.recording("01HXYZ1234A")["id"], "01HXYZ1234AAAAAAAAAAAAAAAA");
    let get = |id: &str| server.call("GET", &format!("/stream-recordings/{id}"), &Value::Null);
    get("01HXYZ12").expect_error(409, "ambiguous_id", &["01HXYZ1234AAAAAAAAAAAAAAAA", "01HXYZ1234BBBBBBBBBBBBBBBB"]);
    get("01HXY").expect_error(400, "bad_request", &["6"]);
    get("01HQQQ").expect_error(404, "not_found", &["01HQQQ"]);
    for evil in ["..%2F..%2Fetc%2Fpasswd", "01HXYZ%00", "01HXYZ%2F..%2Fx", "%2e%2e%2f%2e%2e%2f"] {
        assert!(matches!(get(evil).status(), 400 | 404), "{evil}");
    }
}

/// Trap: a prefix by which the stored one is deleted, while the one that is meant waits for its first connection.
#[test]
fn a_prefix_that_also_fits_a_waiting_recording_is_ambiguous() {
    let server = Server::start();
    let waiting = server.record("websocket", "/ws");
    let prefix = &waiting[..25];
    let stored = format!("{prefix}{}", if waiting.ends_with('0') { '1' } else { '0' });
    let json = ws("/ws").set("/id", json!(stored)).json();
    crate::support::recordings::put(&server.place.data_dir(), &format!("rec_{stored}.json"), json.to_string().as_bytes());
    for (method, call) in [("GET", ""), ("GET", "/frames"), ("DELETE", ""), ("POST", "/replay")] {
        let answer = server.call(method, &format!("/stream-recordings/{prefix}{call}"), &Value::Null);
        answer.expect_error(409, "ambiguous_id", &[&waiting, &stored]);
    }
    assert_eq!(server.recording(&waiting)["status"], "recording");
    assert_eq!(server.recording(&stored)["status"], "complete");
}

#[test]
fn wrong_methods_get_405_with_allow_and_wrong_paths_404() {
    let server = Server::start();
    let id = ws("/ws").save(&server.place.data_dir());
    for (method, path, allow) in [
        ("POST", "/stream-recordings".to_owned(), vec!["GET"]),
        ("GET", "/stream-recordings/start".to_owned(), vec!["POST"]),
        ("DELETE", "/replay".to_owned(), vec!["GET"]),
        ("PUT", format!("/stream-recordings/{id}"), vec!["GET", "DELETE", "PATCH"]),
        ("GET", format!("/stream-recordings/{id}/stop"), vec!["POST"]),
        ("GET", "/replay/01ARZ3NDEKTSV4RRFFQ69G5FAV/advance".to_owned(), vec!["POST"]),
        ("POST", "/health".to_owned(), vec!["GET"]),
    ] {
        let answer = server.call(method, &path, &Value::Null).expect_error(405, "method_not_allowed", &[]);
        let allowed = answer.head.field("allow").unwrap_or_else(|| panic!("no Allow for {method} {path}"));
        for method in allow {
            assert!(allowed.split(", ").any(|word| word == method), "{method} {path}: {allowed}");
        }
    }
    for path in ["/stream-recording", "/replays", "/stream-recordings/x/y/z", "/favicon.ico/"] {
        server.call("GET", path, &Value::Null).expect_error(404, "not_found", &[]);
    }
}

#[test]
fn health_metrics_and_the_page_answer() {
    let server = filled();
    let health = server.get("/health");
    assert_eq!((&health["status"], &health["version"]), (&json!("ok"), &json!(env!("CARGO_PKG_VERSION"))));
    let metrics = server.call("GET", "/metrics", &Value::Null).expect(200);
    assert!(metrics.text().contains("# TYPE mockd_"), "{}", metrics.text());
    let page = server.call("GET", "/", &Value::Null).expect(200);
    assert!(page.head.field("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{:?}", page.head);
    assert!(page.text().contains("mockd"));
}

#[test]
fn export_gives_the_recording_with_a_file_name() {
    let server = filled();
    let id = text(&server.get("/stream-recordings?name=first")["recordings"][0]["id"]);
    let answer = server.touch(&format!("/stream-recordings/{id}/export")).expect(200);
    let disposition = answer.head.field("content-disposition").expect("a file name").to_owned();
    assert!(disposition.starts_with("attachment") && disposition.contains(".json"), "{disposition}");
    assert_eq!(answer.json(), server.recording(&id));
}

#[test]
fn bodies_past_1_mib_are_413() {
    let server = Server::start();
    let long = "x".repeat(1024 * 1024);
    let body = json!({"protocol": "sse", "path": "/x", "name": long});
    server.post("/stream-recordings/start", &body).expect_error(413, "too_large", &["1048576"]);
}

#[test]
fn a_token_is_needed_where_one_is_set() {
    let server = Server::builder().option("--admin-token", "s3cret-token").start();
    let get = |path: &str, fields: &[(&str, &str)]| ask(server.admin, "GET", path, fields, b"");
    get("/", &[]).expect(200);
    get("/health", &[]).expect(200);
    get("/stream-recordings", &[]).expect_error(401, "unauthorized", &["Authorization"]);
    get("/stream-recordings", &[("Authorization", "Bearer wrong")]).expect_error(401, "unauthorized", &[]);
    get("/stream-recordings", &[("Authorization", "Bearer s3cret-token")]).expect(200);
    server.run(&["stream-recordings", "sessions"]).expect(1);
    let place = server.place.clone().env("MOCKD_ADMIN_TOKEN", "s3cret-token").env("MOCKD_ADMIN_URL", &format!("http://{}", server.admin));
    place.run(&["stream-recordings", "sessions"]).expect(0);
    assert!(!server.log().contains("s3cret-token"));
}

#[test]
fn another_address_needs_a_token() {
    Server::builder().option("--admin-host", "0.0.0.0").refused().expect_error(2, &["--admin-token"]);
    let server = Server::builder().option("--admin-host", "0.0.0.0").env("MOCKD_ADMIN_TOKEN", "t").start();
    let local = std::net::SocketAddr::from(([127, 0, 0, 1], server.admin.port()));
    ask(local, "GET", "/replay", &[("Authorization", "Bearer t")], b"").expect(200);
    ask(local, "GET", "/replay", &[], b"").expect(401);
}

#[test]
fn a_host_that_is_no_loopback_name_is_refused() {
    let server = Server::start();
    let get = |host: &str| ask(server.admin, "GET", "/replay", &[("Host", host)], b"");
    for host in ["evil.example", "evil.example:4290", "localhost.evil.example", "127.0.0.1.evil.example"] {
        get(host).expect_error(403, "forbidden", &[]);
    }
    for host in ["localhost", "localhost:4290", "127.0.0.1:1", "[::1]:4290", "LOCALHOST"] {
        get(host).expect(200);
    }
}

#[test]
fn origins_of_loopback_get_cors_and_all_others_403() {
    let server = Server::start();
    let get = |origin: &str| ask(server.admin, "GET", "/replay", &[("Origin", origin)], b"");
    for origin in ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:8443"] {
        assert_eq!(get(origin).expect(200).head.field("access-control-allow-origin"), Some(origin));
    }
    for origin in ["http://evil.example", "null", "http://localhost.evil.example", "file://"] {
        get(origin).expect_error(403, "forbidden", &[]);
    }
    let fields = [
        ("Origin", "http://localhost:3000"),
        ("Access-Control-Request-Method", "DELETE"),
        ("Access-Control-Request-Headers", "content-type"),
    ];
    let preflight = ask(server.admin, "OPTIONS", "/replay/01ARZ3NDEKTSV4RRFFQ69G5FAV", &fields, b"");
    assert!(matches!(preflight.status(), 200 | 204), "{:?}", preflight.head);
    assert_eq!(preflight.head.field("access-control-allow-origin"), Some("http://localhost:3000"));
    assert!(preflight.head.field("access-control-allow-methods").is_some_and(|methods| methods.contains("DELETE")));
    let evil = [("Origin", "http://evil.example"), ("Access-Control-Request-Method", "DELETE")];
    ask(server.admin, "OPTIONS", "/replay", &evil, b"").expect(403);
}

#[test]
fn the_port_has_limits_on_slow_and_large_heads() {
    let server = Server::builder().config("server:\n  headTimeout: 300\n").start();
    let mut slow = Conn::open(server.admin);
    slow.send("GET /hea");
    assert_eq!(slow.answer("GET").status(), 408);
    let long = "x".repeat(70_000);
    assert_eq!(ask(server.admin, "GET", "/health", &[("X-Long", &long)], b"").status(), 431);
}

#[test]
fn a_connection_is_kept_alive() {
    let server = Server::start();
    let mut conn = Conn::open(server.admin);
    for _ in 0..3 {
        assert_eq!(conn.ask("GET", "/health", &[], b"").status(), 200);
    }
}

#[test]
fn both_ports_listen_on_ipv6_loopback_too() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: this machine has no ::1");
        return;
    }
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let server = Server::before(&upstream);
    for port in [server.mock.port(), server.admin.port()] {
        let address = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
        ask(address, "GET", "/health", &[], b"").expect(200);
    }
}

/// Cleaners of temporary directories do that.
#[test]
fn an_inner_socket_that_was_cleaned_away_is_made_again() {
    let server = Server::start();
    let inner = || {
        let entries = std::fs::read_dir(server.place.home()).unwrap().flatten();
        entries.map(|entry| entry.path()).find(|path| path.file_name().unwrap().to_string_lossy().starts_with("mockd-"))
    };
    let first = inner().expect("the directory of the inner socket");
    std::fs::remove_dir_all(&first).unwrap();
    assert_eq!(server.get("/health")["status"], "ok");
    let second = inner().expect("a new one");
    assert_ne!(first, second);
    assert_eq!(server.get("/health")["status"], "ok");
}

/// As where the HTTP server behind the gate has closed its listener, for want of a descriptor for one connection.
#[test]
fn an_inner_socket_that_nobody_listens_on_any_more_is_made_again() {
    let server = Server::start();
    let entries = std::fs::read_dir(server.place.home()).unwrap().flatten();
    let mut directories =
        entries.map(|entry| entry.path()).filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("mockd-"));
    let socket = directories.next().expect("the directory of the inner socket").join("admin.sock");
    std::fs::remove_file(&socket).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert_eq!(server.get("/health")["status"], "ok");
    server.logs("nobody answers at the admin port's inner socket");
    assert_eq!(server.get("/health")["status"], "ok");
}

#[test]
fn a_body_that_breaks_off_is_answered_400() {
    let server = Server::start();
    let begin = |path: &str, framing: &str| {
        let mut client = Conn::open(server.admin);
        client.send(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n"));
        client
    };
    for path in ["/stream-recordings/import", "/mocks", "/stream-recordings/start"] {
        // One that is read before it is passed on, one that is passed on as it comes.
        for length in [2_000, 900_000] {
            let mut client = begin(path, &format!("Content-Length: {length}"));
            client.send("x".repeat(200));
            client.shut_write();
            let words = format!("the body broke off: 200 of {length} bytes came");
            client.answer("POST").expect_error(400, "bad_request", &[&words]);
        }
        let mut client = begin(path, "Transfer-Encoding: chunked");
        client.send_chunk("x".repeat(200));
        client.shut_write();
        client.answer("POST").expect_error(400, "bad_request", &["the body broke off: 200 bytes came, and no last chunk"]);
    }
    let mut client = begin("/stream-recordings/import", "Content-Length: 3000000");
    client.send("x".repeat(200));
    client.shut_write();
    client.answer("POST").expect_error(400, "bad_request", &["200 of 3000000 bytes"]);
    assert!(!server.log().contains("an admin call failed"), "{}", server.log());
}
