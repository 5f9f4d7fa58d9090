//! Settings (SPEC 6): mockd.yaml, further files, the environment and flags, in this order; and what is said of a wrong file.

use serde_json::json;

use crate::support::http::ask;
use crate::support::recordings::ws;
use crate::support::server::Place;
use crate::support::{Server, Upstream};

fn max_bytes(server: &Server) -> u64 {
    server.get("/stream-recordings/stats")["maxBytes"].as_u64().expect("a number")
}

fn answering(text: &str) -> Upstream {
    Upstream::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()))
}

#[test]
fn mockd_yaml_is_read_first_and_config_files_add_to_it_and_win() {
    let (one, two) = (answering("one"), answering("two"));
    let place = Place::new();
    place.file(
        "mockd.yaml",
        &format!("recording:\n  maxBytes: 111111\n  warnPercent: 50\nupstreams:\n  - {{path: /one, url: {}}}\n", one.url()),
    );
    let json = json!({"recording": {"maxBytes": 222222}, "upstreams": [{"path": "/two", "url": two.url()}]});
    place.file("more.json", &json.to_string());
    let server = Server::builder().place(&place).start();
    assert_eq!(max_bytes(&server), 111_111);
    let server = Server::builder().place(&place).option("--config", "more.json").start();
    assert_eq!(max_bytes(&server), 222_222);
    assert_eq!(ask(server.mock, "GET", "/one", &[], b"").text(), "one");
    assert_eq!(ask(server.mock, "GET", "/two", &[], b"").text(), "two");
}

#[test]
fn the_last_config_wins() {
    let place = Place::new();
    place.file("a.yaml", "version: \"1.0\"\nrecording: {maxBytes: 1000001}\n");
    place.file("b.yaml", "recording: {maxBytes: 1000002}\n");
    let server = Server::builder().place(&place).option("--config", "a.yaml").option("--config", "b.yaml").start();
    assert_eq!(max_bytes(&server), 1_000_002);
}

#[test]
fn flags_beat_the_environment_which_beats_files() {
    let (flag, env, file) = (answering("flag"), answering("env"), answering("file"));
    let place = Place::new();
    place.file("mockd.yaml", &format!("server:\n  upstream: {}\n", file.url()));
    let get = |server: &Server| ask(server.mock, "GET", "/x", &[], b"").text();
    assert_eq!(get(&Server::builder().place(&place).start()), "file");
    let with_env = place.clone().env("MOCKD_UPSTREAM", &env.url());
    assert_eq!(get(&Server::builder().place(&with_env).start()), "env");
    assert_eq!(get(&Server::builder().place(&with_env).upstream(flag.url()).start()), "flag");
}

#[test]
fn the_data_directory_is_found_in_each_way() {
    let place = Place::new();
    let base = place.home().to_path_buf();
    let list = |place: &Place, args: &[&str]| place.run(&[&["sr", "list", "--json"], args].concat()).json()["total"].clone();
    for name in ["flag", "data", "config", "xdg/mockd/recordings", ".local/share/mockd/recordings", "tilde"] {
        ws(&format!("/{name}")).save(&base.join(name));
    }
    let path =
        |place: &Place, args: &[&str]| place.run(&[&["sr", "list", "--json"], args].concat()).json()["recordings"][0]["path"].clone();
    assert_eq!(list(&place, &[]), 1);
    assert_eq!(path(&place, &["--data-dir", base.join("flag").to_str().unwrap()]), "/flag");
    assert_eq!(path(&place, &[]), "/data", "MOCKD_DATA_DIR");
    // An empty variable counts as none.
    let bare = place.clone().env("MOCKD_DATA_DIR", "");
    assert_eq!(path(&bare, &[]), "/.local/share/mockd/recordings");
    let xdg = bare.clone().env("XDG_DATA_HOME", base.join("xdg").to_str().unwrap());
    assert_eq!(path(&xdg, &[]), "/xdg/mockd/recordings");
    place.file("mockd.yaml", "recording:\n  dataDir: ~/tilde\n");
    assert_eq!(path(&xdg, &[]), "/tilde", "the command line reads mockd.yaml, too");
}

#[test]
fn a_wrong_file_is_refused_before_a_port_is_opened() {
    for (text, words) in [
        ("recording:\n  maxByte: 1\n", vec!["config-0.yaml", "recording.maxByte", "maxBytes"]),
        ("recording:\n  maxBytes: lots\n", vec!["config-0.yaml", "recording.maxBytes", "lots"]),
        ("recording:\n  warnPercent: 101\n", vec!["recording.warnPercent", "100"]),
        ("recodring: {}\n", vec!["recodring", "recording"]),
        ("upstreams:\n  - {path: x, url: http://a}\n", vec!["upstreams[0].path", "\"x\""]),
        ("upstreams:\n  - {path: /x, url: ftp://a}\n", vec!["upstreams[0].url", "ftp"]),
        ("upstreams:\n  - {path: /x}\n", vec!["upstreams[0].url"]),
        ("server:\n  port: 70000\n", vec!["server.port", "70000"]),
        ("server: [1\n", vec!["config-0.yaml", "line"]),
        ("version: \"2.0\"\n", vec!["version", "2.0", "1.0"]),
        ("[]\n", vec!["object"]),
    ] {
        Server::builder().config(text).refused().expect_error(1, &words);
    }
    Server::builder().option("--config", "missing.yaml").refused().expect_error(1, &["missing.yaml"]);
    let place = Place::new();
    place.file("mockd.yaml", "recording:\n  maxByte: 1\n");
    place.run(&["sr", "list"]).expect_error(1, &["mockd.yaml", "recording.maxByte"]);
}

#[test]
fn a_wrong_variable_is_named() {
    Server::builder().env("MOCKD_MAX_BYTES", "many").refused().expect_error(2, &["MOCKD_MAX_BYTES", "many"]);
}

#[test]
fn the_json_of_a_config_has_line_and_column() {
    let place = Place::new();
    place.file("broken.json", "{\n  \"server\": {,}\n}");
    let output = Server::builder().place(&place).option("--config", "broken.json").refused();
    output.expect_error(1, &["broken.json", "line 2"]);
}

#[test]
fn cors_origin_narrows_what_mockd_itself_answers() {
    let server = Server::builder().option("--cors-origin", "http://only.example").start();
    let id = crate::support::recordings::sse("/e").data(0, "x").end("server", 1).save(&server.place.data_dir());
    for (origin, allowed) in [("http://only.example", Some("http://only.example")), ("http://other.example", None)] {
        server.replay(&id, &json!({}));
        let asks = [("Origin", origin), ("Access-Control-Request-Method", "GET")];
        let preflight = ask(server.mock, "OPTIONS", "/e", &asks, b"").expect(204);
        let answer = ask(server.mock, "GET", "/e", &asks[..1], b"").expect(200);
        for head in [preflight.head, answer.head] {
            // A browser refuses a field that stands there twice.
            let got: Vec<&str> = head.fields("access-control-allow-origin").collect();
            assert_eq!(got, Vec::from_iter(allowed));
        }
    }
}
