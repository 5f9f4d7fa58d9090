//! The places of a stream that a secret can stand in, and an upstream that keeps what came.

use std::sync::{Arc, Mutex};

use super::vault::Vault;
use crate::support::Upstream;
use crate::support::effort::Dice;
use crate::support::http::Head;
use crate::support::ws::{PING, PONG, Raw};

/// The rules of these tests; headers and parameters are the default.
pub const CONFIG: &str = r#"
recording:
  filterBodyKeys: [password, "é\n", "$..user.ssn", "$..pins[*]"]
  filterPatterns: ["sk-[a-zA-Z0-9]+"]
"#;

/// What an upstream saw, and what it is to say next.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    bytes: Arc<Mutex<Vec<u8>>>,
    next: Arc<Mutex<(String, Vec<Vec<u8>>)>>,
}

impl Seen {
    /// All that came.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().expect("no holder panics").clone()
    }

    /// The head (without its last empty line) and the body of the next event stream, in pieces of as many bytes as the dice say.
    pub fn serve(&self, head: &str, body: &[u8], dice: &mut Dice) {
        let mut pieces = Vec::new();
        let mut rest = body;
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(rest.len().min(1 + dice.below(30) as usize));
            pieces.push(piece.to_vec());
            rest = more;
        }
        *self.next.lock().expect("no holder panics") = (head.to_owned(), pieces);
    }

    fn add(&self, bytes: &[u8]) {
        self.bytes.lock().expect("no holder panics").extend_from_slice(bytes);
    }

    fn add_head(&self, head: &Head) {
        self.add(format!("{}\n", head.start).as_bytes());
        head.fields.iter().for_each(|(name, value)| self.add(format!("{name}: {value}\n").as_bytes()));
    }
}

/// An upstream: below `/ws` a WebSocket that chooses the last subprotocol and sends everything back, else an event stream, some bytes a
/// write, so that every secret is split over several reads.
pub fn upstream() -> (Upstream, Seen) {
    let seen = Seen::default();
    let shared = seen.clone();
    let upstream = Upstream::http(move |head, mut conn| {
        shared.add_head(&head);
        if head.target().starts_with("/ws") {
            let chosen = head.field("sec-websocket-protocol").and_then(|list| list.rsplit(", ").next()).map(str::to_owned);
            let mut raw = Raw::accept(conn, head, chosen.map(|chosen| &*chosen.leak()));
            while let Some(frame) = raw.try_frame() {
                shared.add(&frame.payload);
                shared.add(b"\n");
                match frame.opcode() {
                    PING => raw.send(PONG, &frame.payload),
                    PONG => {}
                    _ => raw.conn.send(crate::support::ws::frame(frame.first, None, &frame.payload)),
                }
            }
            return;
        }
        let body = conn.body(&head);
        shared.add(&body);
        let (head, stream) = shared.next.lock().expect("no holder panics").clone();
        conn.send(format!("{head}Connection: close\r\n\r\n"));
        stream.iter().for_each(|piece| conn.send(piece));
        shared.add(head.as_bytes());
        shared.add(&stream.concat());
    });
    (upstream, seen)
}

/// Header fields with secrets: all of the default list, in either case, repeated; URLs; what only a pattern finds.
pub fn head_fields(vault: &mut Vault) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut add = |name: &str, value: String| fields.push((name.to_owned(), value));
    for name in ["Authorization", "proxy-authorization", "COOKIE", "cookie", "X-API-Key", "x-api-key", "X-Auth-Token", "Authorization"] {
        // One that only proxies take is taken by ours.
        let secret = vault.plain(if name == "proxy-authorization" { "response of a proxy" } else { name });
        add(name, format!("Bearer a={secret}; b"));
    }
    add(
        "Referer",
        format!(
            "https://me:{}@app.example/a?x=1&token={}#access_token={}&y",
            vault.plain("Referer user"),
            vault.plain("Referer query"),
            vault.plain("Referer fragment")
        ),
    );
    add(
        "Link",
        format!("<https://h/?key={}>; rel=\"next\", <https://h/?p=2&api%5Fkey={}>", vault.plain("Link"), vault.plain("Link, the second")),
    );
    add("X-Original-Url", format!("/a?signature={}", vault.plain("URL of a proxy")));
    add("User-Agent", format!("agent/1 ({})", vault.pattern("User-Agent")));
    add("X-Trace", format!("{},{}", vault.pattern("X-Trace"), vault.pattern("X-Trace, the second")));
    fields
}

/// A path and a query with secrets: names of the default list in several spellings, a name that is empty, values for patterns.
pub fn target(vault: &mut Vault, path: &str) -> String {
    let mut parts = Vec::new();
    for name in [
        "access_token",
        "api_key",
        "apikey",
        "token",
        "token",
        "key",
        "signature",
        "TOKEN",
        "Api_Key",
        "acce%73s_token",
        "%74%6f%6b%65%6e",
        "api%5Fkey",
        "%4Bey",
    ] {
        parts.push(format!("{name}={}", vault.plain(&format!("query {name}"))));
    }
    parts.push(format!("={}", vault.pattern("query without a name")));
    parts.push(vault.pattern("query without a value"));
    parts.push(format!("x=a+{}+b", vault.pattern("query by pattern")));
    parts.push(format!("x={}", vault.pattern("escaped value of a query").replacen("sk-", "%73k-", 1)));
    parts.push(format!("{}=1", vault.pattern("query name by pattern")));
    parts.push("a=".to_owned());
    format!("{path}/{}?{}", vault.pattern("path"), parts.join("&"))
}

/// JSON texts with secrets at every place that the rules name.
pub fn frames(vault: &mut Vault) -> Vec<String> {
    let mut plain = |place: &str| vault.plain(place);
    let mut texts = vec![
        format!(r#"{{"password":"{}"}}"#, plain("a member")),
        format!(r#" [ {{ "a" : [ 1 , {{ "password" : "{}" }} ] }} , null ] "#, plain("a member in depth")),
        format!(r#"{{"password":["{}",{{"x":"{}"}}],"y":1}}"#, plain("an array"), plain("an object")),
        format!(r#"{{"\u0070assword":"{}","pass\u0077ord":"{}"}}"#, plain("an escaped key"), plain("another escaped key")),
        format!(r#"{{"password":"{}","password":"{}"}}"#, plain("a key twice"), plain("a key twice, again")),
        format!(r#"{{"é\n":"{}","\u00e9\u000a":"{}"}}"#, plain("a key with an escape"), plain("such a key, escaped")),
        format!(
            r#"{{"user":{{"ssn":"{}","ssn":"{}"}},"user":{{"s\u0073n":"{}"}}}}"#,
            plain("a path"),
            plain("a path twice"),
            plain("a path escaped")
        ),
        format!(r#"{{"x":[{{"pins":["{}","{}"]}}]}}"#, plain("pins[0]"), plain("pins[1]")),
        format!(r#"{{"text":"{{\"a\":{{\"password\":\"{}\"}}}}"}}"#, plain("JSON in a string")),
        format!(r#"{{"text":"{{\"a\":\"{{\\\"password\\\":\\\"{}\\\"}}\"}}"}}"#, plain("JSON in a string in a string")),
        format!(r#"{{"text":"[{{\u0022password\u0022:\u0022{}\u0022}}]"}}"#, plain("JSON in an escaped string")),
    ];
    let mut pattern = |place: &str| vault.pattern(place);
    texts.extend([
        format!(r#"{{"x":"before {} after"}}"#, pattern("a value by pattern")),
        format!(r#"{{"x":"{}"}}"#, pattern("escaped value by pattern").replacen('s', "\\u0073", 1)),
        format!(r#"{{"{}":1}}"#, pattern("a key by pattern")),
        format!(r#""{}""#, pattern("a string alone")),
        format!(r#"{{"text":"{{\"x\":\"{}\"}}"}}"#, pattern("a pattern in JSON in a string")),
    ]);
    texts
}

/// The head (without its last empty line) and the bytes of an event stream with secrets.
pub fn event_stream(vault: &mut Vault) -> (String, Vec<u8>) {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nSet-Cookie: a={}\r\nset-cookie: b={}\r\nLocation: https://h/?token={}\r\nX-Trace: {}\r\n",
        vault.plain("response cookie"),
        vault.plain("response cookie, the second"),
        vault.plain("response Location"),
        vault.pattern("response header")
    );
    let mut stream = String::from("\u{feff}");
    for end in ["\n", "\r", "\r\n"] {
        for text in frames(vault) {
            stream.push_str(&format!("data:{text}{end}{end}"));
        }
        let (one, two) = (vault.plain("data over lines"), vault.plain("data over lines, indented"));
        for line in [
            "data: {",
            "data:  \"password\":",
            &format!("data: \"{one}\""),
            "data:,\"a\":[{\"password\":",
            &format!("data:   [\"{two}\"]"),
            "data: }]}",
        ] {
            stream.push_str(&format!("{line}{end}"));
        }
        stream.push_str(end);
        let (kind, id, comment) = (vault.pattern("event"), vault.pattern("id"), vault.pattern("comment"));
        let (ignored, unknown) = (vault.pattern("an id that counts no more"), vault.plain("an unknown field"));
        stream.push_str(&format!(
            "event: {kind}{end}id: {ignored}{end}id: {id}{end}:{comment}{end}foo: {{\"password\":\"{unknown}\"}}{end}data: x{end}{end}"
        ));
        stream.push_str(&format!(": {} alone{end}{end}retry: 1{end}{end}", vault.pattern("a comment alone")));
    }
    stream.push_str(&format!("data: {{\"password\":\"{}\",\"x\":", vault.plain("an event without an end")));
    (head, stream.into_bytes())
}
