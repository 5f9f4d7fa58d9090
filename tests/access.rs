//! Who may use the admin port (SPEC 4): tokens, hosts, origins, each as a table of what is served and what is not.
//! Which files a call can reach stands in `access_files.rs`, what a terminal gets in `access_terminal.rs`.

use mockd::serve::admin::routes::ROUTES;
use serde_json::Value;

use crate::support::http::{Answer, Conn, ask};
use crate::support::recordings::ws;
use crate::support::server::Place;
use crate::support::wait::eventually;
use crate::support::{Server, Upstream};

const TOKEN: &str = "s3cret-Token/1";
const ID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

fn guarded() -> Server {
    Server::builder().env("MOCKD_ADMIN_TOKEN", TOKEN).option("--log-level", "trace").start()
}

/// One request as these bytes, and its answer.
#[track_caller]
fn raw(server: &Server, head: &str) -> Answer {
    let mut conn = Conn::open(server.admin);
    conn.send(head.replace('\n', "\r\n"));
    conn.answer(head.split(' ').next().unwrap_or_default())
}

#[test]
fn a_token_is_that_token_and_nothing_like_it() {
    let server = guarded();
    let right = format!("Bearer {TOKEN}");
    for (field, status) in [
        (right.clone(), 200),
        (format!("bearer {TOKEN}"), 200),
        (format!("BEARER   {TOKEN}"), 200),
        (String::new(), 401),
        ("Bearer".to_owned(), 401),
        ("Bearer s3cret-Token/".to_owned(), 401),
        ("Bearer s3cret-Token/12".to_owned(), 401),
        ("Bearer s3cret-token/1".to_owned(), 401),
        (format!("Bearer {TOKEN}{TOKEN}"), 401),
        (format!("Bearer {TOKEN} {TOKEN}"), 401),
        (format!("Bearer {TOKEN},"), 401),
        (format!("Bearer \"{TOKEN}\""), 401),
        (format!("Bearer%20{TOKEN}"), 401),
        (format!("Basic {TOKEN}"), 401),
        (format!("Bearer Bearer {TOKEN}"), 401),
        (format!("Digest x, Bearer {TOKEN}"), 401),
        (TOKEN.to_owned(), 401),
    ] {
        let answer = ask(server.admin, "GET", "/replay", &[("Authorization", &field)], b"");
        assert_eq!(answer.status(), status, "{field:?}");
        if status == 401 {
            assert_eq!(answer.head.field("www-authenticate"), Some("Bearer"));
            assert!(!answer.text().contains("s3cret"), "{}", answer.text());
        }
    }
    for (target, fields) in [
        (format!("/replay?token={TOKEN}"), vec![]),
        (format!("/replay?access_token={TOKEN}&all=true"), vec![]),
        ("/replay".to_owned(), vec![("Cookie", TOKEN)]),
        ("/replay".to_owned(), vec![("X-Api-Key", TOKEN)]),
        ("/replay".to_owned(), vec![("Proxy-Authorization", right.as_str())]),
        (format!("http://x:{TOKEN}@localhost/replay"), vec![]),
    ] {
        ask(server.admin, "GET", &target, &fields, b"").expect_error(401, "unauthorized", &["Authorization"]);
    }
    for (first, second) in [(right.as_str(), "Bearer x"), ("Bearer x", right.as_str()), (right.as_str(), right.as_str())] {
        ask(server.admin, "GET", "/replay", &[("Authorization", first), ("Authorization", second)], b"").expect(400);
    }
    assert!(!server.log().contains("s3cret"), "{}", server.log());
}

#[test]
fn every_call_but_two_needs_the_token() {
    let server = guarded();
    let wrong = [("Authorization", "Bearer wrong")];
    let mut count = 0;
    for route in ROUTES {
        let target = route.path.replace("{id}", ID);
        for fields in [&[][..], &wrong] {
            let answer = ask(server.admin, route.method, &target, fields, b"");
            let is_open = ["/", "/health"].contains(&route.path);
            assert_eq!(answer.status(), if is_open { 200 } else { 401 }, "{} {target} {fields:?}", route.method);
            assert_eq!(answer.head.field("x-content-type-options"), Some("nosniff"), "{target}");
            assert_eq!(answer.head.field("cache-control"), Some("no-store"), "{target}");
            count += 1;
        }
        // The methods that there are not say nothing either.
        let other = if route.method == "DELETE" { "PUT" } else { "DELETE" };
        assert!(matches!(ask(server.admin, other, &target, &[], b"").status(), 401), "{other} {target}");
    }
    assert_eq!(count, ROUTES.len() * 2);
    for (method, target) in [("GET", "/nothing"), ("GET", "//health"), ("GET", "/health/"), ("GET", "/%68ealth"), ("OPTIONS", "/replay")] {
        assert_eq!(ask(server.admin, method, target, &[], b"").status(), 401, "{method} {target}");
    }
    // What is refused is not taken in first: a large body gets its answer at once.
    let mut conn = Conn::open(server.admin);
    conn.send("POST /stream-recordings/import HTTP/1.1\r\nHost: localhost\r\nContent-Length: 400000000\r\n\r\n{");
    assert_eq!(conn.answer("POST").status(), 401);
}

#[test]
fn a_token_that_no_client_could_send_is_refused_at_the_start() {
    for token in ["two words", "pässword", "a\u{7}b", "a\tb"] {
        let output = Server::builder().option("--admin-token", token).refused();
        assert!(!output.stderr.contains(token), "{}", output.stderr);
        output.expect_error(2, &["server.adminToken"]);
    }
    let place = Place::new();
    let with = |config: &str| Server::builder().place(&place).config(config).refused();
    for config in ["server: {adminToken: ''}", "server: {adminToken: [s3cret-Token/1]}", "server: {adminToken: {a: s3cret-Token/1}}"] {
        let output = with(config).expect(1);
        assert!(!output.stderr.contains("s3cret") && output.stderr.contains("server.adminToken"), "{}", output.stderr);
    }
    let output = with("server: {adminTokn: s3cret-Token/1}").expect(1);
    assert!(!output.stderr.contains("s3cret") && output.stderr.contains("adminToken"), "{}", output.stderr);
    for empty in ["", "\n"] {
        let output = Server::builder().option("--admin-token", empty).refused();
        assert!([1, 2].contains(&output.code), "{empty:?} {}", output.stderr);
    }
}

#[test]
fn only_loopback_names_are_hosts() {
    let server = Server::start();
    for (host, status) in [
        ("localhost", 200),
        ("localhost:4290", 200),
        ("LOCALHOST", 200),
        ("LocalHost.:1", 200),
        ("app.localhost:3000", 200),
        ("127.0.0.1", 200),
        ("127.1.2.3:80", 200),
        ("[::1]", 200),
        ("[::1]:4290", 200),
        ("[::ffff:127.0.0.1]:4290", 200),
        ("", 403),
        (".", 403),
        (":4290", 403),
        ("0.0.0.0", 403),
        ("127.1", 403),
        ("2130706433", 403),
        ("0x7f.0.0.1", 403),
        ("0177.0.0.1", 403),
        ("127.0.0.1.", 403),
        ("[::]", 403),
        ("::1", 403),
        ("[::1", 403),
        ("[::1].evil.example", 403),
        ("localhost.evil.example", 403),
        ("evil.example.localhost.evil.example", 403),
        ("evillocalhost", 403),
        ("localhost@evil.example", 403),
        ("evil.example@localhost", 403),
        ("localhost:80@evil.example", 403),
        ("evil.example#localhost", 403),
        ("evil.example/localhost", 403),
        ("localhost, evil.example", 403),
        ("localhost:4290:80", 403),
        ("localhost:", 200),
        ("localhost:99999", 403),
        ("192.168.0.1", 403),
        ("ip6-localhost", 403),
        ("xn--lcalhost-27a", 403),
    ] {
        let answer = raw(&server, &format!("GET /replay HTTP/1.1\nHost: {host}\nConnection: close\n\n"));
        // What is no host at all is a malformed request.
        let malformed = status == 403 && answer.status() == 400 && host.contains(['@', '#', '/', ',']);
        assert!(answer.status() == status || malformed, "{host:?}: {}", answer.head.start);
        if answer.status() == 403 {
            answer.expect_error(403, "forbidden", &[]);
        }
    }
    for (head, status) in [
        ("GET /replay HTTP/1.0\n\n", 403),
        ("GET /replay HTTP/1.0\nHost: localhost\n\n", 200),
        ("GET /replay HTTP/1.1\nConnection: close\n\n", 400),
        ("GET /replay HTTP/1.1\nHost: localhost\nHost: localhost\nConnection: close\n\n", 400),
        ("GET /replay HTTP/1.1\nHost: localhost\nhost: evil.example\nConnection: close\n\n", 400),
        ("GET /replay HTTP/1.1\nHost : localhost\nConnection: close\n\n", 400),
        ("GET http://evil.example/replay HTTP/1.1\nHost: localhost\nConnection: close\n\n", 403),
        ("GET http://localhost@evil.example/replay HTTP/1.1\nHost: localhost\nConnection: close\n\n", 403),
        ("GET http://evil.example#@localhost/replay HTTP/1.1\nHost: localhost\nConnection: close\n\n", 403),
        ("GET http://evil.example\\@localhost/replay HTTP/1.1\nHost: localhost\nConnection: close\n\n", 403),
        ("GET http:///replay HTTP/1.1\nHost: localhost\nConnection: close\n\n", 403),
        ("GET http://localhost:4290/replay HTTP/1.1\nHost: evil.example\nConnection: close\n\n", 200),
        ("GET //evil.example/replay HTTP/1.1\nHost: localhost\nConnection: close\n\n", 404),
        // The page and the health of a server without a token tell a rebound name nothing.
        ("GET / HTTP/1.1\nHost: evil.example\nConnection: close\n\n", 403),
        ("GET /health HTTP/1.1\nHost: evil.example\nConnection: close\n\n", 403),
        (
            "OPTIONS /replay HTTP/1.1\nHost: evil.example\nOrigin: http://localhost\nAccess-Control-Request-Method: GET\nConnection: close\n\n",
            403,
        ),
    ] {
        let answer = raw(&server, head);
        // What the gate finds to be no request at all is refused before it is asked whose it is.
        assert!(answer.status() == status || (status == 403 && answer.status() == 400), "{head:?}: {}", answer.head.start);
    }
    ask(server.admin, "POST", "/stream-recordings/vacuum", &[("X-Forwarded-Host", "evil.example"), ("Forwarded", "host=evil")], b"")
        .expect(200);
}

#[test]
fn only_pages_of_loopback_are_answered() {
    let server = Server::start();
    for origin in [
        "http://localhost",
        "http://localhost:3000",
        "https://localhost:3000",
        "http://127.0.0.1:8080",
        "http://127.9.9.9",
        "http://[::1]:3000",
        "https://app.localhost",
        "HTTP://LOCALHOST:80",
    ] {
        let answer = ask(server.admin, "GET", "/replay", &[("Origin", origin)], b"").expect(200);
        assert_eq!(answer.head.field("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.head.field("vary"), Some("Origin"));
        assert_eq!(answer.head.field("access-control-allow-credentials"), None, "no cookie is ever needed");
        let preflight = preflight(&server, origin, &[]);
        assert_eq!((preflight.status(), preflight.head.field("access-control-allow-origin")), (204, Some(origin)));
        assert!(preflight.head.field("access-control-allow-headers").is_some_and(|fields| fields.contains("Authorization")));
    }
    for origin in [
        "null",
        "",
        "file://",
        "*",
        "http://localhost.evil.example",
        "http://localhost.evil.example:80",
        "http://evil.example",
        "https://evil.example:4290",
        "http://evil-localhost",
        "http://localhost/",
        "http://localhost/path",
        "http://localhost:3000/#",
        "http://user@localhost",
        "http://localhost@evil.example",
        "http://[::1].evil.example",
        "http://0.0.0.0",
        "http://127.0.0.1.nip.example",
        "chrome-extension://abcdefghijklmnop",
        "localhost",
        "//localhost",
        "http:localhost",
        "http://localhost http://evil.example",
        "http://evil.example, http://localhost",
        "http://localhost:port",
    ] {
        for (method, target) in [("GET", "/"), ("GET", "/health"), ("GET", "/replay"), ("POST", "/stream-recordings/vacuum"), ("GET", "/x")]
        {
            let answer = ask(server.admin, method, target, &[("Origin", origin)], b"").expect(403);
            assert_eq!(answer.head.field("access-control-allow-origin"), None, "{origin} {target}");
        }
        // A preflight of the Private Network Access draft is one as any other.
        for more in [&[][..], &[("Access-Control-Request-Private-Network", "true")]] {
            let answer = preflight(&server, origin, more);
            assert_eq!(answer.status(), 403, "{origin}");
            for field in ["access-control-allow-origin", "access-control-allow-private-network", "access-control-allow-methods"] {
                assert_eq!(answer.head.field(field), None, "{origin} {field}");
            }
        }
    }
    let twice = [("Origin", "http://localhost"), ("Origin", "http://evil.example")];
    let answer = ask(server.admin, "GET", "/replay", &twice, b"").expect(400);
    assert_eq!(answer.head.field("access-control-allow-origin"), None);
    // With a token a foreign page is refused as well, token or not.
    let guarded = guarded();
    let bearer = format!("Bearer {TOKEN}");
    for fields in [vec![("Origin", "http://evil.example")], vec![("Origin", "http://evil.example"), ("Authorization", bearer.as_str())]] {
        ask(guarded.admin, "GET", "/replay", &fields, b"").expect(403);
    }
    // A page without the token learns that it lacks one; a preflight carries none and needs none.
    let answer = ask(guarded.admin, "GET", "/replay", &[("Origin", "http://localhost:3000")], b"").expect(401);
    assert_eq!(answer.head.field("access-control-allow-origin"), Some("http://localhost:3000"));
    assert_eq!(preflight(&guarded, "http://localhost:3000", &[]).status(), 204);
}

/// What the gate answers itself: bodies that are too large, wrong or late, fields that it does not pass on.
#[test]
fn refusals_of_the_gate_are_read_by_pages_of_loopback_alone() {
    let server = Server::builder().option("--head-timeout", 300).start();
    let refusals = [
        ("Content-Length: 2000000\n\n", 413, "too_large"),
        ("X-A: \u{e9}\nContent-Length: 2\n\n{}", 400, "bad_request"),
        ("Expect: more\nContent-Length: 2\n\n{}", 417, "bad_request"),
        ("Content-Length: 20\n\n{}", 408, "timeout"),
        ("Transfer-Encoding: chunked\n\nzz\n", 400, "bad_request"),
        ("Content-Length: 2\n\n{}", 400, "bad_request"),
    ];
    for (rest, status, code) in refusals {
        let at = |origin: &str| raw(&server, &format!("POST /mocks HTTP/1.1\nHost: localhost\n{origin}{rest}"));
        for origin in ["https://evil.example", "null", ""] {
            let answer = at(&format!("Origin: {origin}\n"));
            for field in ["access-control-allow-origin", "access-control-allow-credentials"] {
                assert_eq!(answer.head.field(field), None, "{origin:?} {rest:?}");
            }
            answer.expect_error(403, "forbidden", &["origin"]);
        }
        for (field, origin) in [("", None), ("Origin: http://localhost:3000\n", Some("http://localhost:3000"))] {
            let answer = at(field);
            assert_eq!(answer.head.field("access-control-allow-origin"), origin, "{rest:?}");
            assert_eq!(answer.head.field("access-control-allow-credentials"), None, "{rest:?}");
            for (field, value) in [("vary", "Origin"), ("cache-control", "no-store"), ("x-content-type-options", "nosniff")] {
                assert_eq!(answer.head.fields(field).collect::<Vec<_>>(), [value], "{rest:?}");
            }
            answer.expect_error(status, code, &[]);
        }
    }
    // An origin of bytes that are no text is a foreign one.
    let mut conn = Conn::open(server.admin);
    conn.send(b"GET /replay HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\xff\r\n\r\n");
    conn.answer("GET").expect_error(403, "forbidden", &["origin"]);
}

/// A head that is too large, too late or malformed.
#[test]
fn a_refused_head_is_answered_to_pages_of_loopback_alone() {
    let server = Server::builder().option("--head-timeout", 300).start();
    for (rest, status) in
        [("X-A: 1\nX-Late: ", 408), ("Host: localhost\n\n", 400), ("Content Length: 1\n\n", 400), (&"x".repeat(70_000), 431)]
    {
        for (origin, echoed) in [("https://evil.example", None), ("null", None), ("http://localhost:3000", Some("http://localhost:3000"))] {
            let answer = raw(&server, &format!("GET /replay HTTP/1.1\nHost: localhost\nOrigin: {origin}\n{rest}")).expect(status);
            assert_eq!(answer.head.field("access-control-allow-origin"), echoed, "{status} {origin}");
            assert_eq!(answer.head.field("access-control-allow-credentials"), None, "{status} {origin}");
            assert_eq!(answer.head.fields("vary").collect::<Vec<_>>(), ["Origin"], "{status} {origin}");
        }
    }
}

fn preflight(server: &Server, origin: &str, more: &[(&str, &str)]) -> Answer {
    let fields =
        [&[("Origin", origin), ("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "authorization")], more];
    ask(server.admin, "OPTIONS", "/stream-recordings/start", &fields.concat(), b"")
}

/// Browsers ask no preflight before a WebSocket, and send their cookies along.
#[test]
fn the_admin_port_becomes_no_web_socket() {
    let server = Server::start();
    for target in ["/", "/replay", "/stream-recordings/01ARZ3NDEKTSV4RRFFQ69G5FAV/frames", "/ws"] {
        for origin in [None, Some("http://localhost:3000"), Some("http://evil.example")] {
            let mut fields = crate::support::ws::HANDSHAKE.to_vec();
            fields.extend(origin.map(|origin| ("Origin", origin)));
            let mut conn = Conn::open(server.admin);
            let answer = conn.ask("GET", target, &fields, b"");
            assert!(matches!(answer.status(), 200 | 403 | 404), "{target} {origin:?} {}", answer.head.start);
            assert_eq!(answer.status() == 403, origin == Some("http://evil.example"), "{target} {origin:?}");
        }
    }
}

#[test]
fn the_mock_port_has_no_call_of_the_admin_port() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nupstream");
    let server = Server::before(&upstream);
    let id = ws("/ws").s2c(0, "x").save(&server.place.data_dir());
    for target in ["/stream-recordings", "/health", "/metrics", "/replay", &format!("/stream-recordings/{id}")] {
        assert_eq!(ask(server.mock, "GET", target, &[], b"").expect(200).text(), "upstream", "{target}");
    }
    // Who names a session gets that one or an error, never what is behind.
    for name in ["", "x", "../..", "%2e%2e%2f", "01ARZ3NDEKTSV4RRFFQ69G5FAV", &id, &"A".repeat(5000)] {
        for (target, fields) in [("/ws", vec![("X-Mockd-Replay", name)]), (&format!("/ws?mockd-replay={name}"), vec![])] {
            let answer = ask(server.mock, "GET", target, &fields, b"");
            assert!((400..500).contains(&answer.status()), "{name:?} {target} {}", answer.head.start);
            assert_eq!(answer.head.field("content-type"), Some("application/json"));
        }
    }
}

#[test]
fn the_page_is_kept_by_itself() {
    let server = Server::start();
    let mut nonces = Vec::new();
    for method in ["GET", "HEAD", "GET"] {
        let answer = ask(server.admin, method, "/", &[], b"").expect(200);
        let policy = answer.head.field("content-security-policy").expect("a policy").to_owned();
        let nonce = policy.split_once("script-src 'nonce-").and_then(|(_, rest)| rest.split_once('\'')).expect("a nonce").0.to_owned();
        assert_eq!(
            policy,
            format!(
                "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
                 base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            )
        );
        for (field, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.head.field(field), Some(value), "{field}");
        }
        assert!(method == "HEAD" || answer.text().matches(&nonce).count() == 2, "its style and its script");
        nonces.push(nonce);
    }
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 3, "a nonce is used once");
}

#[test]
fn foreign_text_stays_text_in_every_answer() {
    let server = Server::start();
    let hostile = "<script>alert(1)</script>\"'`\r\nX-Evil: 1\r\n\r\n../../etc/passwd\u{0}\u{202e}é😀";
    let id =
        ws("/ws").set("/name", hostile.into()).set("/tags", serde_json::json!([hostile])).s2c(0, hostile).save(&server.place.data_dir());
    for (method, target) in [
        ("GET", "/stream-recordings".to_owned()),
        ("GET", format!("/stream-recordings/{id}")),
        ("POST", format!("/stream-recordings/{id}/export")),
        ("POST", format!("/stream-recordings/{id}/export?format=har")),
        ("POST", format!("/stream-recordings/{id}/export?format=jsonl")),
        ("POST", format!("/stream-recordings/{id}/convert")),
        ("POST", format!("/stream-recordings/{id}/replay")),
        ("GET", format!("/stream-recordings/{id}/frames")),
        ("GET", "/stream-recordings/%3Cscript%3Ealert(1)%3C%2Fscript%3E".to_owned()),
        ("GET", "/%3Cscript%3E".to_owned()),
        ("GET", "/<script>alert(1)</script>".to_owned()),
        ("GET", "/replay?<script>=1".to_owned()),
    ] {
        let answer = ask(server.admin, method, &target, &[], b"");
        let kind = answer.head.field("content-type").expect("a type").to_owned();
        assert!(!kind.contains("html"), "{target}: {kind}");
        assert_eq!(answer.head.field("x-content-type-options"), Some("nosniff"), "{target}");
        assert_eq!(answer.head.field("x-evil"), None, "{target}");
        if target.contains("/export") {
            let name = answer.head.field("content-disposition").expect("a file name").to_owned();
            let file = name.strip_prefix("attachment; filename=\"").and_then(|rest| rest.strip_suffix('"')).expect(&name);
            assert!(file.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{file}");
            assert!(!file.starts_with(['.', '-']), "{file}");
        }
    }
    let errors = ask(server.mock, "GET", "/<script>alert(1)</script>", &[], b"").expect(404);
    assert_eq!(errors.head.field("content-type"), Some("application/json"));
}

/// Where the token goes: into the field of a call, and nowhere that anybody can read.
#[test]
fn the_token_is_never_told() {
    let place = Place::new().env("MOCKD_ADMIN_TOKEN", TOKEN);
    let started = place.run(&["start", "--port", "0", "--admin-port", "0", "--log-level", "trace", "--ready-file", "ready.json"]).ok();
    let status = place.run(&["status", "--json"]).json();
    let admin = status["admin"].as_str().expect("an address").to_owned();
    let flagged = Place::new();
    let more = flagged.run(&["start", "--port", "0", "--admin-port", "0", "--json", "--admin-token", TOKEN]).json();
    let mut said = vec![started, status.to_string(), more.to_string()];
    let at = |place: &Place, args: &[&str]| {
        let output = place.run(args);
        (output.code, output.stdout + &output.stderr)
    };
    let asking = place.clone().env("MOCKD_ADMIN_URL", &admin);
    for (args, code) in [
        (&["sr", "sessions"][..], 0),
        (&["sr", "start", "--path", "/x", "--protocol", "sse", "--json"], 0),
        (&["replay", "list", "--json"], 0),
        (&["sr", "stop", ID], 1),
        (&["replay", "show", ID], 1),
        (&["sr", "sessions", "--admin-url", "http://127.0.0.1:1"], 1),
        (&["sr", "sessions", "--admin-url", "nonsense"], 2),
        (&["status"], 0),
        (&["start", "--help"], 0),
        (&["serve", "--admin-tokn", TOKEN], 2),
        (&["serve", "--admin-token"], 2),
    ] {
        let (given, text) = at(&asking, args);
        assert_eq!(given, code, "{args:?}: {text}");
        if !args.contains(&TOKEN) {
            said.push(text);
        }
    }
    // A wrong one is not told either.
    let wrong = asking.clone().env("MOCKD_ADMIN_TOKEN", "wr0ng-Token");
    let (code, text) = at(&wrong, &["sr", "sessions"]);
    assert!(code == 1 && text.contains("token") && !text.contains("wr0ng"), "{text}");
    for pid in [&status["pid"], &more["pid"]] {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).expect("a process");
        said.push(String::from_utf8_lossy(&arguments).into_owned());
    }
    for place in [&place, &flagged] {
        at(place, &["stop"]);
        said.push(String::from_utf8_lossy(&place.stored_bytes()).into_owned());
    }
    for text in said {
        assert!(!text.contains("s3cret"), "{text}");
    }
    assert!(eventually("the end", || (!std::path::Path::new(&format!("/proc/{}/cmdline", status["pid"])).exists()).then_some(true)));
    assert_ne!(status["pid"], Value::Null);
}
