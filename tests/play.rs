//! `mockd play`: recordings on their paths for any number of clients, the exit status and the difference, and `--record-missing`.

use serde_json::{Value, json};

use crate::support::http;
use crate::support::one_shot::OneShot;
use crate::support::recordings::{Made, sse, ws};
use crate::support::server::{Output, Place};
use crate::support::sse::Stream;
use crate::support::upstream::EVENT_STREAM;
use crate::support::ws::Raw;
use crate::support::{Conn, Upstream};

const SYNC: &[&str] = &["--mode", "synchronized"];
const STRICT: &[&str] = &["--mode", "synchronized", "--strict-matching"];

/// Puts a recording into a file of a place.
fn put(place: &Place, name: &str, made: &Made) {
    std::fs::create_dir_all(place.home().join(name).parent().unwrap()).unwrap();
    place.file(name, &serde_json::to_string_pretty(&made.json()).unwrap());
}

/// A dialogue: the client says hello, the server answers.
fn dialogue(path: &str) -> Made {
    ws(path).c2s(1000, "{\"say\":\"hello\",\"id\":1}").s2c(2000, "welcome").c2s(3000, "bye").close("server", 4000, 1000, "done")
}

const HELLO: &str = "send text {\"say\":\"hello\",\"id\":1}\nexpect text welcome\n";
const BYE: &str = "send text bye\nexpect close 1000 done\nsend close 1000 done";

fn play(place: &Place, files: &[&str], options: &[&str]) -> OneShot {
    OneShot::with_command(place, &[&["play"], files, options].concat(), 0)
}

/// A post whose stream has ended, as text.
fn post(run: &OneShot, path: &str, body: &str) -> String {
    Stream::ask(run.mock, "POST", path, &[], body.as_bytes()).rest_text()
}

fn reply(path: &str, body: &str, data: &str) -> Made {
    sse(path)
        .set("/metadata/method", json!("POST"))
        .set("/sse/request", json!({"method": "POST", "body": body}))
        .data(0, data)
        .end("server", 0)
}

fn expect_lines(output: &Output, lines: &[&str]) {
    for line in lines {
        assert!(output.stderr.lines().any(|known| known == *line), "{line:?} is no line of\n{}", output.stderr);
    }
}

#[test]
fn a_directory_is_played_to_any_number_of_clients() {
    let place = Place::new();
    put(&place, "fixtures/chat.json", &dialogue("/ws"));
    put(&place, "fixtures/events.json", &sse("/events").data(0, "one").data(1000, "two").end("server", 2000));
    place.file("fixtures/package.json", "{}");
    put(&place, "fixtures/below/other.json", &ws("/other"));
    let run = play(&place, &["fixtures"], STRICT);
    assert_eq!(run.said[..2], [format!("http://{}", run.mock), format!("ws://{}", run.mock)]);
    http::ask(run.said[2].strip_prefix("http://").unwrap().parse().unwrap(), "GET", "/health", &[], b"").expect(200);
    let (mut one, mut other) = (Raw::open(run.mock, "/ws"), Raw::open(run.mock, "/ws"));
    one.run(HELLO);
    other.run(HELLO);
    other.run(BYE);
    one.run(BYE);
    for _ in 0..3 {
        assert_eq!(Stream::open(run.mock, "/events", &[]).rest_text(), "data: one\n\ndata: two\n\n");
    }
    http::ask(run.mock, "GET", "/other", &[], b"").expect_error(404, "not_found", &["sse GET /events", "websocket /ws"]);
    let output = run.finish().expect(0);
    for words in ["plays 2 recordings", "fixtures/package.json", "no recording was there for GET /other, asked for once"] {
        assert!(output.stderr.contains(words), "{words:?} is not in {}", output.stderr);
    }
    assert!(!place.data_dir().exists());
}

#[test]
fn a_mismatch_is_exit_status_3_with_a_difference() {
    let place = Place::new();
    put(&place, "chat.json", &dialogue("/ws"));
    let run = play(&place, &["chat.json"], &[SYNC, &["--match", "json"]].concat());
    let mut client = Raw::open(run.mock, "/ws");
    client.run("send text {\"id\":1,\"say\":\"hi \\u001b[31m\",\"more\":[1]}");
    assert!(client.frame().words().starts_with("close 1008"));
    let output = run.finish().expect(3);
    expect_lines(
        &output,
        &[
            "mockd: chat.json (websocket /ws): step 1: the client's message is not the recorded one: they differ at $.say",
            "  - recorded",
            "  + came",
            "      {",
            "        \"id\": 1,",
            "    -   \"say\": \"hello\"",
            "    +   \"more\": [",
            "    +     1",
            "    +   ],",
            "    +   \"say\": \"hi \\u001b[31m\"",
            "      }",
            "mockd: 1 of 1 replays were not as recorded",
        ],
    );
}

#[test]
fn a_difference_of_plain_texts_cannot_steer_a_terminal() {
    let place = Place::new();
    put(&place, "chat.json", &ws("/ws").c2s(0, "one\ntwo"));
    let run = play(&place, &["chat.json"], STRICT);
    let mut client = Raw::open(run.mock, "/ws");
    client.send(1, "one\n\u{1b}[2Jthree");
    client.frame();
    let output = run.finish().expect(3);
    expect_lines(&output, &["      one", "    - two", "    + \\u{1b}[2Jthree"]);
    assert!(!output.stderr.contains('\u{1b}'));
}

#[test]
fn an_early_end_and_a_timeout_are_exit_status_3_too() {
    let place = Place::new();
    put(&place, "chat.json", &dialogue("/ws"));
    let run = play(&place, &["chat.json"], STRICT);
    let mut client = Raw::open(run.mock, "/ws");
    client.run(HELLO);
    drop(client);
    let output = run.finish().expect(3);
    expect_lines(&output, &["mockd: chat.json (websocket /ws): the client left after step 2 of 4"]);

    let run = play(&place, &["chat.json"], &[STRICT, &["--timeout", "20"]].concat());
    let mut client = Raw::open(run.mock, "/ws");
    assert!(client.frame().words().starts_with("close 1008"));
    let output = run.finish().expect(3);
    assert!(output.stderr.contains("chat.json (websocket /ws): step 1: "), "{}", output.stderr);
    expect_lines(&output, &["  - recorded, and did not come", "    - {\"say\":\"hello\",\"id\":1}"]);

    // A client that is still there has not played to its end either.
    let run = play(&place, &["chat.json"], STRICT);
    let mut client = Raw::open(run.mock, "/ws");
    client.run(HELLO);
    let output = run.finish().expect(3);
    assert!(output.stderr.contains("it was not played to its end: waiting after step 2 of 4"), "{}", output.stderr);
}

#[test]
fn a_client_that_leaves_with_the_command_is_judged_by_all_that_it_said() {
    let place = Place::new();
    put(&place, "chat.json", &ws("/ws").c2s(0, "hello").s2c(0, "welcome").c2s(0, "bye").close("client", 0, 1000, ""));
    put(&place, "reply.json", &reply("/v1", "right", "x"));
    for (last, code) in [("bye", 0), ("wrong", 3)] {
        let run = play(&place, &["chat.json"], STRICT);
        let mut client = Raw::open(run.mock, "/ws");
        client.run("send text hello\nexpect text welcome");
        run.signal("STOP");
        client.send(1, last);
        drop(client);
        run.finish_at_once().expect(code);
    }
    // One that mockd has not even seen when the command ends.
    for (body, code) in [("right", 0), ("wrong", 3)] {
        let run = play(&place, &["reply.json"], STRICT);
        run.signal("STOP");
        let client = Stream::send(run.mock, "POST", "/v1", &[], body.as_bytes());
        run.finish_at_once().expect(code);
        drop(client);
    }
}

#[test]
fn the_commands_own_failure_comes_first() {
    let place = Place::new();
    put(&place, "chat.json", &dialogue("/ws"));
    let run = OneShot::with_command(&place, &[&["play", "chat.json"], STRICT].concat(), 7);
    let mut client = Raw::open(run.mock, "/ws");
    client.run("send text no\n");
    client.frame();
    let output = run.finish().expect(7);
    assert!(output.stderr.contains("the client's message is not the recorded one"), "{}", output.stderr);
    place.run(&["play", "chat.json", "--", "sh", "-c", "kill -KILL $$"]).expect(137);
    place.run(&["play", "chat.json", "--", "no-such-command-at-all"]).expect(127);
}

#[test]
fn nobody_came_and_other_modes_are_no_fault() {
    let place = Place::new();
    put(&place, "chat.json", &dialogue("/ws"));
    play(&place, &["chat.json"], STRICT).finish().expect(0);
    let run = play(&place, &["chat.json"], &["--timing-scale", "0"]);
    let mut client = Raw::open(run.mock, "/ws");
    client.run("expect text welcome\nexpect close 1000 done\nsend close 1000");
    drop(Raw::open(run.mock, "/ws"));
    run.finish().expect(0);
}

#[test]
fn triggered_replays_are_steered_over_the_admin_port() {
    let place = Place::new();
    put(&place, "chat.json", &ws("/ws").s2c(0, "one").s2c(0, "two"));
    let run = play(&place, &["chat.json"], &["--mode", "triggered", "--auto-advance-on-connect"]);
    let mut client = Raw::open(run.mock, "/ws");
    client.run("expect text one");
    let place = place.env("MOCKD_ADMIN_URL", &run.said[2]);
    let replays = place.run(&["replay", "list", "--json"]).json();
    assert_eq!(replays["replays"][0]["mockId"], "chat.json");
    place.run(&["replay", "advance", replays["replays"][0]["id"].as_str().unwrap()]).ok();
    client.run("expect text two");
    run.finish().expect(0);
}

#[test]
fn without_a_command_it_runs_until_a_signal() {
    let place = Place::new();
    put(&place, "chat.json", &dialogue("/ws"));
    for (words, signal, code) in [(format!("{HELLO}{BYE}"), "INT", 0), ("send text no".to_owned(), "TERM", 3)] {
        let run = OneShot::alone(&place, &[&["play", "chat.json"], STRICT].concat());
        let mut client = Raw::open(run.mock, "/ws");
        client.run(&words);
        if code == 3 {
            assert!(client.frame().words().starts_with("close 1008"));
        }
        run.signal(signal);
        run.output().expect(code);
        assert!(!place.home().join("alone.json").exists());
    }
}

#[test]
fn recordings_of_one_path_are_told_apart_by_query_and_body() {
    let place = Place::new();
    put(&place, "f/a.json", &reply("/v1", "{\"q\":\"a\"}", "for a"));
    put(&place, "f/b.json", &reply("/v1", "{\"q\":\"b\"}", "for b"));
    put(&place, "f/c.json", &reply("/v1", "{\"q\":\"b\"}", "for b again"));
    put(&place, "f/r1.json", &sse("/room").set("/metadata/query", json!({"n": "1"})).data(0, "room 1").end("server", 0));
    put(&place, "f/r2.json", &sse("/room").set("/metadata/query", json!({"n": "2"})).data(0, "room 2").end("server", 0));
    let run = play(&place, &["f"], &[]);
    for (body, data) in [
        ("{\"q\":\"b\"}", "for b"),
        ("{ \"q\" : \"a\" }", "for a"),
        ("{\"q\":\"b\"}", "for b again"),
        ("{\"q\":\"b\"}", "for b"),
        // None is for this one: those of the path in their order.
        ("{\"q\":\"z\"}", "for a"),
        ("{\"q\":\"z\"}", "for b"),
    ] {
        assert_eq!(post(&run, "/v1", body), format!("data: {data}\n\n"), "{body}");
    }
    for (path, data) in [("/room?n=2", "room 2"), ("/room?n=1", "room 1"), ("/room?n=2", "room 2"), ("/room", "room 1")] {
        assert_eq!(Stream::open(run.mock, path, &[]).rest_text(), format!("data: {data}\n\n"), "{path}");
    }
    http::ask(run.mock, "GET", "/v1", &[], b"").expect(404);
    let head = http::ask(run.mock, "HEAD", "/room", &[], b"").expect(200);
    assert_eq!(head.head.field("content-type"), Some("text/event-stream"));
    run.finish().expect(0);
}

#[test]
fn a_request_body_that_differs_is_a_mismatch() {
    let place = Place::new();
    put(&place, "a.json", &reply("/v1", "{\"q\":\"a\",\"id\":1}", "for a"));
    let options = ["--mode", "synchronized", "--match", "json", "--ignore", "$.id"];
    let run = play(&place, &["a.json"], &options);
    assert_eq!(post(&run, "/v1", "{\"q\":\"a\",\"id\":2}"), "data: for a\n\n");
    run.finish().expect(0);
    let run = play(&place, &["a.json"], &options);
    http::ask(run.mock, "POST", "/v1", &[], b"{\"q\":\"b\",\"id\":2}").expect(409);
    let output = run.finish().expect(3);
    expect_lines(&output, &["    -   \"q\": \"a\"", "    +   \"q\": \"b\""]);
}

#[test]
fn a_client_that_comes_back_goes_on_where_it_was() {
    let place = Place::new();
    let numbered = |word: &str| {
        let event = |id: u64| json!({"type": "message", "data": format!("{word}{id}"), "id": format!("{word}{id}")});
        sse("/events").event(0, event(1)).event(0, event(2)).event(0, event(3)).end("server", 0)
    };
    put(&place, "a.json", &numbered("a"));
    put(&place, "b.json", &numbered("b"));
    let run = play(&place, &["a.json", "b.json"], &[]);
    assert!(Stream::open(run.mock, "/events", &[]).rest_text().contains("data: a1"));
    let again = Stream::open(run.mock, "/events", &[("Last-Event-ID", "a2")]).rest_text();
    assert!(again.contains("data: a3") && !again.contains("data: a2"), "{again}");
    assert!(Stream::open(run.mock, "/events", &[]).rest_text().contains("data: b1"));
    run.finish().expect(0);
}

#[test]
fn browsers_may_ask_first() {
    let place = Place::new();
    put(&place, "a.json", &reply("/v1", "{}", "x"));
    let run = play(&place, &["a.json"], &[]);
    let fields = [("Origin", "http://app.test"), ("Access-Control-Request-Method", "POST")];
    let answer = http::ask(run.mock, "OPTIONS", "/v1", &fields, b"").expect(204);
    assert_eq!(answer.head.field("access-control-allow-origin"), Some("http://app.test"));
    run.finish().expect(0);
}

/// An upstream that echoes WebSockets, streams what it is posted, and answers anything else plainly.
fn service() -> Upstream {
    Upstream::http(|head, mut conn: Conn| {
        if head.field("upgrade").is_some() {
            Raw::accept(conn, head, None).run("expect text ping\nsend text pong\nexpect close 1000\nsend close 1000");
        } else if head.start.starts_with("POST /v1") {
            let body = conn.body(&head);
            conn.send(EVENT_STREAM);
            conn.send_chunk(format!("data: {}\n\n", String::from_utf8_lossy(&body)));
            conn.send("0\r\n\r\n");
        } else {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain");
        }
    })
}

#[test]
fn what_is_missing_is_recorded_once_and_played_for_ever() {
    let upstream = service();
    let place = Place::new();
    let url = upstream.url();
    let options = ["--record-missing", "--upstream", &url, "--mode", "synchronized", "--strict-matching"];
    let use_all = |run: &OneShot| {
        Raw::open(run.mock, "/ws?token=abc").run("send text ping\nexpect text pong\nsend close 1000\nexpect close 1000");
        assert_eq!(post(run, "/v1/chat", "a"), "data: a\n\n");
        assert_eq!(post(run, "/v1/chat", "b"), "data: b\n\n");
        assert_eq!(http::ask(run.mock, "GET", "/plain", &[], b"").expect(200).text(), "plain");
    };
    let run = play(&place, &["fixtures"], &options);
    use_all(&run);
    let output = run.finish().expect(0);
    let names = || {
        let entries = std::fs::read_dir(place.home().join("fixtures")).unwrap().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let all = ["sse-v1-chat-2.json", "sse-v1-chat.json", "websocket-ws.json"];
    assert_eq!(names(), all);
    assert!(output.stderr.contains("websocket-ws.json was missing: websocket /ws, 2 frames"), "{}", output.stderr);

    // The next run needs the upstream for plain requests alone.
    let run = play(&place, &["fixtures"], &options);
    use_all(&run);
    run.finish().expect(0);
    assert_eq!(names(), all, "replays are not recorded");
    let run = play(&place, &["fixtures"], &options);
    assert_eq!(post(&run, "/v1/chat", "c"), "data: c\n\n");
    run.finish().expect(0);
    assert_eq!(names().len(), 4);
    let third: Value = serde_json::from_slice(&std::fs::read(place.home().join("fixtures/sse-v1-chat-3.json")).unwrap()).unwrap();
    assert_eq!((&third["sse"]["request"]["body"], &third["status"]), (&json!("c"), &json!("complete")));

    drop(upstream);
    let run = play(&place, &["fixtures"], STRICT);
    assert_eq!(post(&run, "/v1/chat", "c"), "data: c\n\n");
    run.finish().expect(0);
}

#[test]
fn what_was_cut_short_is_named_and_recorded_again() {
    let upstream = service();
    let place = Place::new();
    let cut = || ws("/ws").s2c(0, "cut").set("/status", json!("incomplete")).set("/statusReason", json!("storage_full"));
    put(&place, "f/chat.json", &cut());
    put(&place, "f/ended.json", &reply("/v1/chat", "a", "ended").set("/sse/endedBy", json!("recorder")));
    let output = place.run(&["play", "f", "--", "true"]).expect(0);
    expect_lines(&output, &["mockd: f/chat.json: incomplete (storage_full): it is played as far as it goes"]);
    let url = upstream.url();
    let args = ["--record-missing", "--upstream", &url];
    let use_all = |run: &OneShot| {
        Raw::open(run.mock, "/ws").run("send text ping\nexpect text pong\nsend close 1000\nexpect close 1000");
        assert_eq!(post(run, "/v1/chat", "a"), "data: a\n\n");
    };
    let run = play(&place, &["f"], &args);
    use_all(&run);
    let output = run.finish().expect(0);
    for words in [
        "f/chat.json: incomplete (storage_full): it counts as missing",
        "f/ended.json: ended by the recorder: it counts as missing",
        "f/chat.json was cut short, is recorded again (what there was is now f/chat.json.cut): websocket /ws, 2 frames",
    ] {
        assert!(output.stderr.contains(words), "{words:?} is not in {}", output.stderr);
    }
    let names = || {
        let entries = std::fs::read_dir(place.home().join("f")).unwrap().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let all = ["chat.json", "chat.json.cut", "ended.json", "ended.json.cut"];
    assert_eq!(names(), all);
    let run = play(&place, &["f"], &[&args, STRICT].concat());
    use_all(&run);
    assert!(!run.finish().expect(0).stderr.contains("missing"));
    assert_eq!(names(), all);
}

#[test]
fn a_stream_that_its_client_cut_is_kept_and_told() {
    let upstream = Upstream::http(|_, mut conn: Conn| {
        conn.send(EVENT_STREAM);
        conn.send_chunk("data: one\n\n");
        drop(conn.try_head());
    });
    let place = Place::new();
    let run = play(&place, &["f"], &["--record-missing", "--upstream", &upstream.url()]);
    let mut client = Stream::open(run.mock, "/events", &[]);
    client.block();
    drop(client);
    let output = run.finish().expect(0);
    assert!(output.stderr.contains("sse-events.json was missing: sse /events, 1 frame"), "{}", output.stderr);
    assert!(output.stderr.contains("; its client ended it, so the stream may have had more"), "{}", output.stderr);
}

#[test]
fn what_is_missing_and_finds_no_room_is_exit_status_1() {
    let upstream = service();
    let place = Place::new();
    let run = play(&place, &["f"], &["--record-missing", "--upstream", &upstream.url(), "--max-bytes", "10"]);
    assert_eq!(post(&run, "/v1/chat", "a"), "data: a\n\n");
    let output = run.finish().expect(1);
    assert!(output.stderr.contains("mockd: 1 recording could not be kept: "), "{}", output.stderr);
}

#[test]
fn a_signal_in_the_middle_saves_what_was_missing() {
    let upstream = Upstream::echo();
    let place = Place::new();
    let args = ["play", "fixtures", "--record-missing", "--upstream", &upstream.url()];
    let run = OneShot::with_script(&place, &args, "echo \"$MOCKD_URL a b $$\"; exec cat");
    let mut client = Raw::open(run.mock, "/ws");
    client.run("send text hi\nexpect text hi");
    run.signal("TERM");
    run.output().expect(143);
    let saved: Value = serde_json::from_slice(&std::fs::read(place.home().join("fixtures/websocket-ws.json")).unwrap()).unwrap();
    assert_eq!(saved["stats"]["frameCount"], 2);
}

#[test]
fn what_is_wrong_is_told_before_anything_runs() {
    let place = Place::new();
    put(&place, "chat.json", &dialogue("/ws"));
    place.file("torn.json", "{\"formatVersion\": \"1.0\", ");
    std::fs::create_dir(place.home().join("empty")).unwrap();
    let play = |args: &[&str]| place.run(&[&["play"], args, &["--", "sh", "-c", "echo ran"]].concat());
    play(&[]).expect_error(2, &["<FILE|DIR>"]);
    play(&["none.json"]).expect_error(1, &["none.json"]);
    // Who forgets the `--` is told of it.
    place.run(&["play", "chat.json", "npm", "test"]).expect_error(1, &["no file and no directory npm", "behind `--`"]);
    place.run(&["record", "http://a", "npm", "test"]).expect_error(2, &["does not take \"npm\"", "behind `--`"]);
    play(&["torn.json"]).expect_error(1, &["torn.json"]);
    play(&["empty"]).expect_error(1, &["no recordings in empty"]);
    play(&["chat.json", "--mode", "fast"]).expect_error(2, &["--mode"]);
    play(&["chat.json", "--strict-matching"]).expect_error(2, &["--strict-matching: this is an option of synchronized"]);
    play(&["chat.json", "--mode", "synchronized", "--match", "json", "--ignore", "x"]).expect_error(2, &["--ignore: \"x\" is no JSONPath"]);
    play(&["chat.json", "--record-missing"]).expect_error(2, &["--record-missing needs --upstream"]);
    play(&["chat.json", "--upstream", "http://a"]).expect_error(2, &["--record-missing"]);
    play(&["chat.json", "--record-missing", "--upstream", "http://a"]).expect_error(2, &["needs a directory"]);
    let taken = Upstream::echo();
    play(&["chat.json", "--port", &taken.address.port().to_string()]).expect_error(1, &["--port"]);
}
