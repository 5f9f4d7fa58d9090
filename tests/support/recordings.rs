//! Recordings made by hand, put straight into a data directory: what a replay is given without a conversation first.

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use serde_json::{Value, json};

/// A recording under construction. Times are microseconds from its origin.
#[derive(Debug, Clone)]
pub struct Made {
    id: String,
    json: Value,
    entries: Vec<Value>,
}

/// 2024-01-15T10:30:00Z in microseconds since 1970.
const START_US: u64 = 1_705_314_600_000_000;

fn time(relative_us: u64) -> String {
    mockd::base::time::rfc3339(START_US + relative_us)
}

/// A WebSocket recording at a path.
pub fn ws(path: &str) -> Made {
    Made::new("websocket", path, json!({"subprotocol": null, "frames": []}))
}

/// An event stream at a path, opened with GET.
pub fn sse(path: &str) -> Made {
    let part = json!({
        "request": {"method": "GET"}, "responseStatus": 200, "responseHeaders": {"Content-Type": "text/event-stream"},
        "headRelativeUs": 0, "events": []
    });
    Made::new("sse", path, part)
}

impl Made {
    fn new(protocol: &str, path: &str, part: Value) -> Self {
        let id = mockd::base::id::new();
        let json = json!({
            "formatVersion": "1.0", "id": id, "name": format!("made for {path}"), "protocol": protocol, "startTime": time(0),
            "metadata": {"path": path, "method": "GET", "headers": {}, "query": {}, "source": "proxy"},
            protocol: part, "status": "complete", "endTime": time(0), "duration": 0, "stats": {}
        });
        Self { id, json, entries: Vec::new() }
    }

    fn part(&mut self) -> &mut Value {
        let protocol = self.json["protocol"].as_str().expect("a protocol").to_owned();
        &mut self.json[protocol]
    }

    /// Sets a field by its JSON pointer: `/metadata/method`.
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
        self.json.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"))[name] = value;
        self
    }

    fn frame(mut self, direction: &str, kind: &str, us: u64, mut more: Value) -> Self {
        more["direction"] = json!(direction);
        more["type"] = json!(kind);
        self.stamp(us, &mut more);
        self.entries.push(more);
        self
    }

    fn stamp(&self, us: u64, entry: &mut Value) {
        entry["timestamp"] = json!(time(us));
        entry["relativeMs"] = json!(us / 1000);
        entry["relativeUs"] = json!(us);
    }

    /// A text from the server.
    pub fn s2c(self, us: u64, text: &str) -> Self {
        self.frame("s2c", "text", us, json!({"data": text}))
    }

    /// A text from the client.
    pub fn c2s(self, us: u64, text: &str) -> Self {
        self.frame("c2s", "text", us, json!({"data": text}))
    }

    /// Any frame with its data as text: `ping`, `pong`.
    pub fn control(self, direction: &str, kind: &str, us: u64, text: &str) -> Self {
        self.frame(direction, kind, us, json!({"data": text}))
    }

    /// Binary data as base64.
    pub fn binary(self, direction: &str, us: u64, base64: &str) -> Self {
        self.frame(direction, "binary", us, json!({"data": base64, "encoding": "base64"}))
    }

    /// A close frame and the end of a WebSocket: `client` or `server` began it.
    pub fn close(self, by: &str, us: u64, code: u16, reason: &str) -> Self {
        let direction = if by == "server" { "s2c" } else { "c2s" };
        let mut made = self.frame(direction, "close", us, json!({"data": "", "closeCode": code, "closeReason": reason}));
        made.part()["closeCode"] = json!(code);
        made.part()["closeReason"] = json!(reason);
        made.part()["closedBy"] = json!(by);
        made.ended(us)
    }

    /// The end of a WebSocket whose server vanished.
    pub fn vanished(mut self, us: u64) -> Self {
        self.part()["closeCode"] = json!(1006);
        self.part()["closedBy"] = json!("server");
        self.ended(us)
    }

    /// A block of an event stream: any of `type`, `data`, `id`, `retry`, `comment`, `raw`.
    pub fn event(mut self, us: u64, mut fields: Value) -> Self {
        self.stamp(us, &mut fields);
        self.entries.push(fields);
        self
    }

    /// An event of type `message` with this data.
    pub fn data(self, us: u64, data: &str) -> Self {
        self.event(us, json!({"type": "message", "data": data}))
    }

    /// The end of an event stream, by `server` or `client`.
    pub fn end(mut self, by: &str, us: u64) -> Self {
        self.part()["endedBy"] = json!(by);
        self.ended(us)
    }

    fn ended(mut self, us: u64) -> Self {
        self.part()["endRelativeUs"] = json!(us);
        self.json["endTime"] = json!(time(us));
        self.json["duration"] = json!(us / 1000);
        self
    }

    /// The recording as JSON.
    pub fn json(&self) -> Value {
        let mut made = self.clone();
        let entries = json!(self.entries);
        let of =
            |kinds: &[&str]| self.entries.iter().filter(|entry| entry["type"].as_str().is_some_and(|kind| kinds.contains(&kind))).count();
        if made.json["protocol"] == "websocket" {
            made.part()["frames"] = entries;
            made.json["stats"] = json!({
                "frameCount": of(&["text", "binary", "ping", "pong"]), "textFrames": of(&["text"]), "binaryFrames": of(&["binary"]),
                "pingPongs": of(&["ping", "pong"]), "eventCount": 0, "bytesSent": 0, "bytesReceived": 0, "fileSizeBytes": 0
            });
        } else {
            let events = self.entries.iter().filter(|entry| !entry["data"].is_null()).count();
            made.part()["events"] = entries;
            made.json["stats"] = json!({
                "frameCount": events, "textFrames": 0, "binaryFrames": 0, "pingPongs": 0, "eventCount": events, "bytesSent": 0,
                "bytesReceived": 0, "fileSizeBytes": 0
            });
        }
        made.json
    }

    /// Writes it in the program's own layout, one frame a line, and gives its id.
    pub fn save(&self, data_dir: &Path) -> String {
        use mockd::model::recording_text::{head_line, parse, push_frame_line, tail_line};
        let recording = parse(self.json().to_string().as_bytes()).expect("a recording");
        let mut text = head_line(&recording.head).expect("a head").into_bytes();
        for (index, frame) in recording.frames.iter().enumerate() {
            push_frame_line(&mut text, frame, index == 0).expect("a frame");
        }
        text.extend(tail_line(&recording.tail, text.len() as u64).expect("a tail").into_bytes());
        put(data_dir, &format!("rec_{}.json", self.id), &text);
        self.id.clone()
    }

    /// Writes it as somebody's editor would, in other lines than the program's own, and gives its id.
    pub fn save_pretty(&self, data_dir: &Path) -> String {
        put(data_dir, &format!("rec_{}.json", self.id), serde_json::to_string_pretty(&self.json()).expect("JSON").as_bytes());
        self.id.clone()
    }
}

/// Writes a file into a data directory as the program does: 0600 in 0700.
pub fn put(data_dir: &Path, name: &str, bytes: &[u8]) {
    use std::io::Write;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).expect("a data directory");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(data_dir.join(name)).expect("a file");
    file.write_all(bytes).expect("the disk takes it");
}
