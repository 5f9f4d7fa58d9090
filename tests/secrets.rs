//! Secrets pushed through every place of a stream (SPEC 2, redaction), each of them another, and then looked for in everything that
//! mockd writes or says: files, logs, answers, what commands print; raw, in base64, percent-encoded, with JSON's escapes. What goes to
//! the upstream and to the client must have all of them. How they are looked for stands in `secrets/vault.rs`.

mod places;
mod vault;

use serde_json::{Value, json};

use crate::support::effort::{Dice, rounds};
use crate::support::http::{Conn, ask, request_head};
use crate::support::one_shot::OneShot;
use crate::support::recordings::ws;
use crate::support::server::{Place, text};
use crate::support::sse::Stream;
use crate::support::upstream::closed_port;
use crate::support::wait::eventually;
use crate::support::ws::{BINARY, CLOSE, PING, PONG, Raw, TEXT, close_payload, frame};
use crate::support::{Server, Upstream};

use self::places::{CONFIG, Seen, event_stream, frames, head_fields, target, upstream};
use self::vault::{Vault, repeat};

/// Every answer of the API and every output of a command that shows recordings.
fn tell_all(server: &Server) -> Vec<u8> {
    let mut all = Vec::new();
    let mut ids = Vec::new();
    for target in [
        "/stream-recordings?includeDeleted=true",
        "/stream-recordings/stats",
        "/stream-recordings/sessions",
        "/metrics",
        "/mocks",
        "/replay?all=true",
    ] {
        let answer = server.call("GET", target, &Value::Null).expect(200);
        if target.contains("Deleted") {
            ids.extend(answer.json()["recordings"].as_array().expect("recordings").iter().map(|summary| text(&summary["id"])));
        }
        all.extend(answer.body);
    }
    for id in &ids {
        for (method, part) in [
            ("GET", ""),
            ("GET", "/frames"),
            ("POST", "/export"),
            ("POST", "/export?format=har"),
            ("POST", "/export?format=jsonl"),
            ("POST", "/convert"),
            ("POST", "/replay"),
        ] {
            let answer = server.call(method, &format!("/stream-recordings/{id}{part}"), &Value::Null);
            all.extend(format!("{:?}", answer.head).into_bytes());
            all.extend(answer.body);
        }
        let yaml = json!({"format": "yaml", "endpointPath": "/x"});
        all.extend(server.post(&format!("/stream-recordings/{id}/convert"), &yaml).body);
    }
    for args in ids.iter().take(1).flat_map(|id| [vec!["sr", "show", id], vec!["sr", "show", id, "--json"]]) {
        let output = server.run(&args);
        all.extend((output.stdout + &output.stderr).into_bytes());
    }
    all
}

/// Looks everywhere.
#[track_caller]
fn check_everywhere(when: &str, server: &Server, vault: &Vault) {
    vault.check(&format!("{when}: files"), &server.place.stored_bytes());
    vault.check(&format!("{when}: log"), server.log().as_bytes());
    vault.check(&format!("{when}: answers"), &tell_all(server));
    vault.check(&format!("{when}: log"), server.log().as_bytes());
    let ready = std::fs::read(server.place.home().join("ready.json")).expect("a ready file");
    vault.check(&format!("{when}: ready file"), &ready);
}

fn start(upstream: &Upstream) -> Server {
    Server::builder().upstream(upstream.url()).config(CONFIG).option("--log-level", "trace").start()
}

#[test]
fn a_web_socket_leaves_no_secret_while_recording_after_stop_and_after_a_crash() {
    repeat("WebSocket", rounds(1, 40), web_socket_round);
}

fn web_socket_round() -> (usize, u64) {
    let (upstream, seen) = upstream();
    let mut server = start(&upstream);
    let mut vault = Vault::new();
    let body = json!({
        "protocol": "websocket", "path": "/ws/*", "name": vault.pattern("name"), "description": vault.pattern("description"),
        "tags": [vault.pattern("tag")]
    });
    let session = text(&server.post("/stream-recordings/start", &body).expect(201).json()["id"]);
    let talk = |server: &Server, vault: &mut Vault| {
        let fields = head_fields(vault);
        let subprotocol = vault.pattern("subprotocol");
        let offered = format!("chat, {subprotocol}");
        let mut all: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        all.push(("Sec-WebSocket-Protocol", &offered));
        let mut client = Raw::open_with(server.mock, &target(vault, "/ws"), &all);
        assert_eq!(client.head.field("sec-websocket-protocol"), Some(subprotocol.as_str()));
        let mut count = 0;
        for message in frames(vault) {
            client.send(TEXT, &message);
            assert_eq!(client.frame().text(), message, "the client gets what the upstream sent");
            client.send(BINARY, &message);
            assert_eq!(client.frame().text(), message);
            count += 4;
        }
        let binary = [&b"\x00\xff\xfe"[..], vault.pattern("binary").as_bytes(), b"\x80\xc3"].concat();
        client.send(BINARY, &binary);
        assert_eq!(client.frame().payload, binary);
        let ping = vault.pattern("ping");
        client.send(PING, &ping);
        assert_eq!(client.frame().text(), ping);
        client.send(PONG, vault.pattern("pong"));
        // A message in three fragments, a ping between them, and the secret on both sides of each cut.
        let (split, inner) = (format!("{{\"password\":\"{}\"}}", vault.plain("fragmented")), vault.pattern("ping between"));
        let mask = Some([1, 2, 3, 4]);
        let (one, rest) = split.as_bytes().split_at(16);
        let (two, three) = rest.split_at(6);
        client
            .conn
            .send([frame(0x01, mask, one), frame(0x89, mask, inner.as_bytes()), frame(0x00, mask, two), frame(0x80, mask, three)].concat());
        let [first, pong, second, third] = [0; 4].map(|_| client.frame());
        assert_eq!(pong.words(), format!("pong {inner}"));
        assert_eq!(first.text() + &second.text() + &third.text(), split);
        // Text that is no UTF-8.
        client.send(TEXT, [b"\xff ", vault.pattern("no UTF-8").as_bytes()].concat());
        client.frame();
        (client, count + 2 + 2 + 1 + 2 + 2 + 2)
    };
    let (mut client, count) = talk(&server, &mut vault);
    let recorded = |server: &Server, id: &str, count: u64| {
        eventually("all frames", || {
            server.recording_so_far(id).filter(|recording| recording["stats"]["frameCount"].as_u64() >= Some(count))
        })
    };
    recorded(&server, &session, count);
    check_everywhere("while recording", &server, &vault);
    let tail = server.run(&["sr", "show", &session]).ok();
    vault.check("show", tail.as_bytes());
    client.send(CLOSE, close_payload(4001, &vault.pattern("close reason")));
    while client.try_frame().is_some() {}
    server.finished(&session);
    check_everywhere("after the end", &server, &vault);
    server.stop(&session);
    // Another one is cut off by a crash.
    let crashed = server.record("websocket", "/ws/*");
    let (_client, count) = talk(&server, &mut vault);
    recorded(&server, &crashed, count);
    server.kill9();
    vault.check("after kill -9: files", &server.place.stored_bytes());
    let server = server.again();
    assert_eq!(server.recording(&crashed)["statusReason"], "crashed");
    check_everywhere("after recovery", &server, &vault);
    vault.check_passed(&seen.bytes());
    vault.figures()
}

#[test]
fn an_event_stream_leaves_no_secret() {
    let mut dice = Dice::new("an_event_stream_leaves_no_secret");
    repeat("event stream", rounds(1, 40), || event_stream_round(&mut dice));
}

fn event_stream_round(dice: &mut Dice) -> (usize, u64) {
    let (upstream, seen) = upstream();
    let server = start(&upstream);
    let mut vault = Vault::new();
    let session = server.record("sse", "/sse/*");
    for framing in ["length", "chunks"] {
        let fields = head_fields(&mut vault);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let target = target(&mut vault, "/sse");
        let body = format!("[{}]", frames(&mut vault).join(","));
        let (head, stream) = event_stream(&mut vault);
        seen.serve(&head, &stream, dice);
        let mut conn = Conn::open(server.mock);
        if framing == "length" {
            conn.send([request_head("POST", &target, &fields, body.len()).as_bytes(), body.as_bytes()].concat());
        } else {
            conn.send(request_head("POST", &target, &[&fields[..], &[("Transfer-Encoding", "chunked")]].concat(), 0));
            for piece in body.as_bytes().chunks(7) {
                conn.send_chunk(piece);
            }
            conn.send("0\r\n\r\n");
        }
        let answer = conn.answer("POST");
        assert_eq!(answer.body, stream, "the client gets what the upstream sent");
        for line in head.split("\r\n").skip(1).filter_map(|line| line.split_once(": ")) {
            assert!(answer.head.fields(line.0).any(|value| value == line.1), "{line:?}");
        }
    }
    eventually("the end of both", || (server.get("/stream-recordings?status=complete")["total"] == 2).then_some(()));
    check_everywhere("after the streams", &server, &vault);
    server.stop(&session);
    check_everywhere("after stop", &server, &vault);
    vault.check_passed(&seen.bytes());
    vault.figures()
}

#[test]
fn a_stream_that_is_cut_off_leaves_no_secret() {
    let mut dice = Dice::new("a_stream_that_is_cut_off_leaves_no_secret");
    let (upstream, seen) = upstream();
    let config = format!("{CONFIG}  maxRequestBodyBytes: 60\n");
    let server = Server::builder().upstream(upstream.url()).config(&config).option("--log-level", "trace").start();
    let mut vault = Vault::new();
    let session = server.record("sse", "/sse");
    let body = format!("{{\"password\":\"{}\",\"more\":\"{}\"}}", vault.plain("truncated body"), "x".repeat(100));
    // An event stream that ends in the middle of an event, and while it stands still in one.
    seen.serve(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n",
        format!("data: 1\n\ndata: {{\"password\":\"{}", vault.plain("torn tail")).as_bytes(),
        &mut dice,
    );
    ask(server.mock, "POST", "/sse", &[], body.as_bytes()).expect(200);
    let form = format!("a=1&b={}&c={}", vault.pattern("form"), "x".repeat(100));
    seen.serve(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n",
        format!("data: 1\n\ndata: {}\nid: {}", vault.pattern("torn data"), vault.pattern("torn id")).as_bytes(),
        &mut dice,
    );
    ask(server.mock, "POST", "/sse", &[], form.as_bytes()).expect(200);
    eventually("the end of both", || (server.get("/stream-recordings?status=complete")["total"] == 2).then_some(()));
    let first = server.recording(&session);
    assert_eq!(first["sse"]["request"]["truncated"], true, "{first}");
    check_everywhere("after the streams", &server, &vault);
    vault.check_passed(&seen.bytes());
}

/// What mockd itself answers, and what it logs of it.
#[test]
fn refusals_and_their_log_lines_hold_no_secret() {
    let mut vault = Vault::new();
    let url = format!("http://127.0.0.1:{}/prefix", closed_port());
    let server = Server::builder().config(CONFIG).option("--log-level", "trace").upstream(url).start();
    for (path, status) in [("/ws", 502), ("/x", 502)] {
        let fields = head_fields(&mut vault);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let handshake = if path == "/ws" { crate::support::ws::HANDSHAKE } else { &[] };
        let answer = ask(server.mock, "GET", &target(&mut vault, path), &[&fields[..], handshake].concat(), b"").expect(status);
        vault.check("an answer", &answer.body);
    }
    let alone = Server::builder().config(CONFIG).option("--log-level", "trace").start();
    for named in ["X-Mockd-Replay: 01ARZ3NDEKTSV4RRFFQ69G5FAV", "X: y"] {
        let path = format!("/{}?token={}", vault.pattern("path"), vault.plain("query"));
        let (name, value) = named.split_once(": ").unwrap();
        // The answer tells the client its own path; the log does not.
        ask(alone.mock, "GET", &path, &[(name, value)], b"").expect(404);
    }
    let path = format!("/stream-recordings?name={}&x={}", vault.plain("name"), vault.pattern("parameter"));
    ask(alone.admin, "GET", &path, &[("Authorization", &vault.plain("admin header"))], b"");
    for server in [&server, &alone] {
        check_everywhere("after refusals", server, &vault);
    }
    for bad in ["http://me:{}@127.0.0.1:1", "http://127.0.0.1:1/?token={}", "nonsense{}://h", "{}://127.0.0.1"] {
        let url = bad.replace("{}", &vault.plain("upstream URL"));
        let output = Server::builder().upstream(&url).refused();
        vault.check("a refused upstream", output.stderr.as_bytes());
        let body = json!({"protocol": "sse", "path": "/x", "upstream": url});
        vault.check("a refused session", &alone.post("/stream-recordings/start", &body).expect(400).body);
        for args in [
            &["record", &url, "--", "true"][..],
            &["sr", "sessions", "--admin-url", &url],
            &["play", ".", "--record-missing", "--upstream", &url],
        ] {
            let output = alone.place.run(args);
            assert_ne!(output.code, 0, "{args:?}");
            vault.check(&format!("{:?}", args[0]), (output.stdout + &output.stderr).as_bytes());
        }
    }
}

/// A recording that somebody made without these rules.
#[test]
fn an_import_leaves_no_secret() {
    let place = Place::new();
    // Read by the server and by every command.
    place.file("mockd.yaml", CONFIG);
    let server = Server::builder().place(&place).option("--log-level", "trace").start();
    let mut vault = Vault::new();
    for way in ["api", "cli"] {
        let fields: serde_json::Map<String, Value> =
            head_fields(&mut vault).into_iter().map(|(name, value)| (name, json!(value))).collect();
        let query = json!({"token": vault.plain("query"), "Access_Token": [vault.plain("query"), vault.plain("query")], "x": vault.pattern("query")});
        let path = format!("/{}", vault.pattern("path"));
        let mut made = ws(&path).set("/name", json!(vault.pattern("name"))).set("/description", json!(vault.pattern("description")));
        made = made
            .set("/tags", json!([vault.pattern("tag")]))
            .set("/metadata/headers", fields.clone().into())
            .set("/metadata/query", query.clone());
        made = made.set("/metadata/upstream", json!(format!("ws://me:{}@h/?token={}", vault.plain("user"), vault.plain("upstream"))));
        made = made
            .set("/websocket/subprotocol", json!(vault.pattern("subprotocol")))
            .set("/mine", json!({"password": vault.plain("extra"), "x": vault.pattern("extra")}));
        for message in frames(&mut vault) {
            made = made.c2s(0, &message).s2c(0, &message).binary("s2c", 0, &data_encoding::BASE64.encode(message.as_bytes()));
        }
        made = made.control("c2s", "ping", 0, &vault.pattern("ping")).close("server", 0, 4000, &vault.pattern("close reason"));
        let har = json!({"log": {"entries": [{
            "startedDateTime": "2024-01-15T10:30:00.000Z",
            "request": {
                "method": "POST", "url": format!("http://me:{}@h/e?token={}&x={}", vault.plain("user"), vault.plain("URL"), vault.pattern("URL")),
                "headers": fields.iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>(),
                "queryString": [{"name": "token", "value": vault.plain("queryString")}],
                "cookies": [{"name": "c", "value": vault.plain("cookie")}],
                "postData": {"mimeType": "application/json", "text": frames(&mut vault)[0]}
            },
            "response": {
                "status": 200, "headers": [{"name": "Set-Cookie", "value": vault.plain("set-cookie")}],
                "cookies": [{"name": "c", "value": vault.plain("cookie")}],
                "content": {"mimeType": "text/event-stream", "text": frames(&mut vault).iter().map(|data| format!("data: {data}\n\n")).collect::<String>()}
            }
        }]}});
        for (name, file) in [("rec.json", made.json().to_string()), ("x.har", har.to_string())] {
            if way == "api" {
                vault.check(
                    "the answer of an import",
                    &ask(server.admin, "POST", "/stream-recordings/import", &[], file.as_bytes()).expect(201).body,
                );
            } else {
                server.place.file(name, &file);
                let output = server.run(&["sr", "import", name]).expect(0);
                vault.check("what import says", (output.stdout + &output.stderr).as_bytes());
            }
        }
    }
    assert_eq!(server.get("/stream-recordings")["total"], 4);
    check_everywhere("after the imports", &server, &vault);
}

/// A client of a replay sends secrets as well. What it sent is shown by `messages`, as it came, from memory; nothing else says it.
#[test]
fn what_a_replay_says_of_a_mismatch_holds_no_secret() {
    let mut vault = Vault::new();
    let place = Place::new();
    let rules = json!({"headers": [], "query": [], "bodyKeys": ["password"], "patterns": ["sk-[a-zA-Z0-9]+"], "redactValue": "[REDACTED]"});
    let made =
        |path: &str| ws(path).set("/metadata/redaction", rules.clone()).c2s(0, "{\"password\":\"[REDACTED]\",\"n\":1}").s2c(1, "fine");
    let id = made("/ws").save(&place.data_dir());
    place.file("chat.json", &made("/play").json().to_string());
    let server = Server::builder().place(&place).option("--log-level", "trace").start();
    for kind in [TEXT, BINARY] {
        let replay = server.replay(&id, &json!({"mode": "synchronized", "strictMatching": true}));
        let mut client = Raw::open(server.mock, "/ws");
        let (first, second) = (vault.plain("client"), vault.pattern("client"));
        let message = format!("{{\"password\":\"{first}\",\"n\":2,\"x\":\"{second}\"}}");
        client.send(kind, &message);
        let said = client.frame().words();
        vault.check("the close frame", said.as_bytes());
        let view = server.wait(&replay, "ended");
        assert_eq!(view["status"], "error", "{view}");
        vault.check("the status", view.to_string().as_bytes());
        assert!(view["error"]["actual"].is_string());
        for args in [&["replay", "show", &replay][..], &["replay", "list", "--all", "--json"]] {
            vault.check("a command", server.run(args).ok().as_bytes());
        }
        let messages = server.get(&format!("/replay/{replay}/messages"));
        let sent = text(&messages["messages"][0]["data"]);
        assert!(sent == message || sent == data_encoding::BASE64.encode(message.as_bytes()), "{messages}");
    }
    vault.check("the log", server.log().as_bytes());
    vault.check("the files", &server.place.stored_bytes());
    let args = ["play", "chat.json", "--mode", "synchronized", "--strict-matching", "--port", "0"];
    let run = OneShot::with_command(&place, &args, 0);
    let mut client = Raw::open(run.mock, "/play");
    client.send(TEXT, format!("{{\"password\":\"{}\",\"x\":\"{}\"}}", vault.plain("play"), vault.pattern("play")));
    client.conn.read_to_end();
    drop(Stream::open(run.mock, &format!("/none?token={}", vault.plain("missing")), &[]));
    let output = run.finish().expect(3);
    vault.check("the difference", (output.stdout + &output.stderr).as_bytes());
}

/// The names in force are those that were given, none of the default besides.
#[test]
fn a_list_of_names_replaces_the_default_and_has_no_case() {
    let (upstream, seen) = upstream();
    let config = "recording:\n  filterHeaders: [X-Mine, accept-language]\n  filterQuery: [Mine]\n  redactValue: ''\n";
    let server = Server::builder().upstream(upstream.url()).config(config).option("--log-level", "trace").start();
    let mut vault = Vault::new();
    let session = server.record("sse", "/sse");
    let fields: Vec<(&str, String)> = ["x-mine", "X-MINE", "Accept-Language", "X-Mine"].map(|name| (name, vault.plain(name))).into();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).chain([("Authorization", "kept")]).collect();
    seen.serve("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n", b"data: 1\n\n", &mut Dice::new("a list of names"));
    let target = format!("/sse?mine={}&MINE={}&m%69ne={}&token=kept", vault.plain("q"), vault.plain("q"), vault.plain("q"));
    Stream::open(server.mock, &target, &fields).rest();
    let recording = server.finished(&session);
    assert_eq!(
        (&recording["metadata"]["headers"]["Authorization"], &recording["metadata"]["query"]["token"]),
        (&json!("kept"), &json!("kept"))
    );
    check_everywhere("after the stream", &server, &vault);
    vault.check_passed(&seen.bytes());
}

/// Kept by the test and the upstream's thread.
#[test]
fn the_search_finds_what_it_looks_for() {
    let mut vault = Vault::new();
    let secret = vault.pattern("one");
    let base64 = |front: &str| data_encoding::BASE64.encode(format!("{front}{secret}xyz").as_bytes());
    let percent: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let escaped: String = secret.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let hidden = [secret.clone(), base64(""), base64("a"), base64("ab"), percent.to_uppercase(), percent, escaped];
    for text in hidden {
        assert_eq!(vault.found(format!("before {text} after").as_bytes()), ["one"], "{text}");
    }
    assert!(vault.found(b"nothing").is_empty());
    drop(Seen::default());
}
