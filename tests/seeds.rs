//! The two documents' own command sequences, as pasted, against `serve --demo`: curl, the command line, and the JavaScript example.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::server::text;
use crate::support::sse::Stream;
use crate::support::ws::Client;
use crate::support::{Server, wait};

fn demo() -> Server {
    Server::builder().flag("--demo").start()
}

/// Runs a line of the documents with the ports of `server` in place of theirs.
#[track_caller]
fn shell(server: &Server, line: &str) -> String {
    let line = line.replace("localhost:4290", &server.admin.to_string()).replace("localhost:4280", &server.mock.to_string());
    let mockd = format!("mockd() {{ '{}' \"$@\"; }}\n", crate::support::server::MOCKD);
    let output = Command::new("sh")
        .args(["-c", &(mockd + &line)])
        .current_dir(server.place.home())
        .env("HOME", server.place.home())
        .env("MOCKD_DATA_DIR", server.place.data_dir())
        .env("MOCKD_ADMIN_URL", format!("http://{}", server.admin))
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{line}\n{stdout}\n{stderr}");
    stdout
}

#[track_caller]
fn shell_json(server: &Server, line: &str) -> Value {
    let text = shell(server, line);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: no JSON ({error}): {text}"))
}

fn has(program: &str) -> bool {
    let found = ["/usr/bin", "/bin", "/usr/local/bin"].iter().any(|folder| Path::new(folder).join(program).exists());
    if !found {
        println!("skipped: there is no {program} on this machine");
    }
    found
}

/// A recording of the demo's chat with a join, as the quick start makes it.
fn recorded_chat(server: &Server) -> String {
    let id = server.record("websocket", "/ws/chat");
    let mut client = Client::open(server.mock, "/ws/chat");
    client.text("{\"type\":\"join\",\"room\":\"general\"}");
    client.take(4);
    drop(client.socket.close(None));
    client.rest();
    server.stop(&id);
    id
}

#[test]
fn the_quick_start_works_as_pasted() {
    if !has("curl") {
        return;
    }
    let server = demo();
    let started = shell_json(
        &server,
        r#"curl -s -X POST http://localhost:4290/stream-recordings/start \
  -H "Content-Type: application/json" \
  -d '{"protocol": "websocket", "path": "/ws/chat", "name": "chat-session"}'"#,
    );
    let id = text(&started["sessionId"]);
    let events =
        shell_json(&server, r#"curl -s -X POST http://localhost:4290/stream-recordings/start -d '{"protocol": "sse", "path": "/events"}'"#);
    let mut client = Client::open(server.mock, "/ws/chat");
    client.take(2);
    assert!(shell(&server, "curl -sN http://localhost:4280/events").contains("data:"));
    shell(&server, &format!("curl -sf -X POST http://localhost:4290/stream-recordings/{id}/stop"));
    shell(&server, &format!("curl -sf -X POST http://localhost:4290/stream-recordings/{}/stop", text(&events["id"])));
    let list = shell(&server, "mockd stream-recordings list");
    assert_eq!(
        list.lines().next().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["ID", "PROTOCOL", "PATH", "STATUS", "FRAMES", "DURATION", "SIZE"]
    );
    assert!(list.contains(&id[..12]) && list.contains("/ws/chat") && list.contains("/events"), "{list}");
    assert_eq!(list.matches("complete").count(), 2, "{list}");
}

#[test]
fn the_recording_calls_work_as_pasted() {
    if !has("curl") {
        return;
    }
    let server = demo();
    let id = recorded_chat(&server);
    assert_eq!(shell_json(&server, "curl -s http://localhost:4290/stream-recordings")["total"], 1);
    assert_eq!(shell_json(&server, "curl -s \"http://localhost:4290/stream-recordings?protocol=websocket\"")["total"], 1);
    assert_eq!(shell_json(&server, "curl -s \"http://localhost:4290/stream-recordings?path=/ws/chat\"")["total"], 1);
    let recording = shell_json(&server, &format!("curl -s http://localhost:4290/stream-recordings/{}", &id[..12]));
    assert_eq!(recording["id"], id);
    shell(&server, &format!("curl -s -X POST http://localhost:4290/stream-recordings/{id}/export \\\n  -o recording.json"));
    let file = std::fs::read_to_string(server.place.home().join("recording.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&file).unwrap()["id"], id);
}

#[test]
fn the_commands_work_as_pasted() {
    let server = demo();
    let id = recorded_chat(&server);
    let short = &id[..12];
    for line in [
        "mockd stream-recordings list".to_owned(),
        "mockd stream-recordings list --protocol websocket".to_owned(),
        "mockd stream-recordings list --status complete".to_owned(),
        "mockd stream-recordings list --json".to_owned(),
        "mockd stream-recordings list --limit 10 --offset 20".to_owned(),
        format!("mockd stream-recordings show {short}"),
        format!("mockd stream-recordings show {short} --json"),
        format!("mockd stream-recordings export {short}"),
        format!("mockd stream-recordings export {short} -o recording.json"),
        "mockd stream-recordings stats".to_owned(),
        "mockd stream-recordings sessions".to_owned(),
        format!("mockd stream-recordings delete {short}"),
        format!("mockd stream-recordings restore {short}"),
        format!("mockd stream-recordings delete {short} --force"),
        "mockd stream-recordings vacuum".to_owned(),
    ] {
        shell(&server, &line);
    }
    assert_eq!(server.get("/stream-recordings?includeDeleted=true")["total"], 0);
}

#[test]
fn the_replay_calls_work_as_pasted() {
    if !has("curl") {
        return;
    }
    let server = demo();
    let id = recorded_chat(&server);
    let post = |body: &str| {
        shell_json(
            &server,
            &format!(
                "curl -s -X POST http://localhost:4290/stream-recordings/{id}/replay \\\n  -H \"Content-Type: application/json\" \\\n  -d '{body}'"
            ),
        )
    };
    for (body, mode) in [
        ("{\n    \"mode\": \"pure\",\n    \"timingScale\": 1.0\n  }", "pure"),
        ("{\"mode\": \"pure\", \"timingScale\": 0.5}", "pure"),
        ("{\"mode\": \"pure\", \"timingScale\": 0.1}", "pure"),
        ("{\n    \"mode\": \"synchronized\",\n    \"strictMatching\": false,\n    \"timeout\": 30000\n  }", "synchronized"),
        ("{\"mode\": \"synchronized\", \"strictMatching\": true}", "synchronized"),
        ("{\"mode\": \"synchronized\", \"strictMatching\": true, \"timeout\": 5000}", "synchronized"),
        ("{\n    \"mode\": \"triggered\",\n    \"autoAdvanceOnConnect\": true\n  }", "triggered"),
    ] {
        let created = post(body);
        assert_eq!((&created["mode"], &created["status"]), (&json!(mode), &json!("pending")), "{body}: {created}");
        shell(&server, &format!("curl -sf -X DELETE http://localhost:4290/replay/{}", text(&created["id"])));
    }
    let replay = text(&post("{\"mode\": \"pure\", \"timingScale\": 50}")["replayId"]);
    let mut client = Client::open(server.mock, "/ws/chat");
    client.next();
    let paused = shell_json(&server, &format!("curl -sf -X POST http://localhost:4290/replay/{replay}/pause"));
    assert_eq!(paused["status"], "paused");
    shell(&server, &format!("curl -sf -X POST http://localhost:4290/replay/{replay}/resume"));
    let status = shell_json(&server, &format!("curl -s http://localhost:4290/replay/{replay}"));
    for field in ["id", "recordingId", "status", "currentFrame", "totalFrames", "framesSent", "startedAt", "elapsedMs", "config"] {
        assert!(!status[field].is_null(), "{field} is missing: {status}");
    }
    assert_eq!(shell_json(&server, "curl -s http://localhost:4290/replay")["total"], 1);
    shell(&server, &format!("curl -sf -X DELETE http://localhost:4290/replay/{replay}"));
}

#[test]
fn advancing_works_as_pasted() {
    if !has("curl") {
        return;
    }
    let server = Server::start();
    let mut made = crate::support::recordings::ws("/ws/chat");
    for number in 0..8_u64 {
        made = made.s2c(number * 1000, &format!("{{\"n\":{number}}}"));
    }
    let id =
        made.s2c(9000, "{\"type\":\"complete\"}").s2c(10_000, "after").close("client", 11_000, 1000, "").save(&server.place.data_dir());
    let created = shell_json(
        &server,
        &format!("curl -s -X POST http://localhost:4290/stream-recordings/{id}/replay \\\n  -d '{{\"mode\": \"triggered\"}}'"),
    );
    let replay = text(&created["id"]);
    let mut client = Client::open(server.mock, "/ws/chat");
    let advance = |rest: &str| shell_json(&server, &format!("curl -s -X POST \"http://localhost:4290/replay/{replay}/advance\" {rest}"));
    assert_eq!(advance("")["framesSent"], 1);
    assert_eq!(advance("\\\n  -d '{\"count\": 5}'")["currentFrame"], 6);
    assert_eq!(advance(r#"-d '{"until": "{\"type\":\"complete\"}"}'"#)["currentFrame"], 9);
    let mut steps = 0;
    while advance("")["complete"] != true {
        steps += 1;
        assert!(steps < 5, "the loop of the document ends");
    }
    assert_eq!(client.take(10).last().unwrap(), "text after");
}

/// The JavaScript of the second document, with a small WebSocket where Node has none of its own.
const SCRIPT: &str = r#"
const [, , admin, mock, REC_ID] = process.argv;
const expect = value => ({ toBe(wanted) { if (value !== wanted) throw new Error(`${value} is not ${wanted}`); } });
const plainFetch = globalThis.fetch;
const fetch = (path, options) => plainFetch(admin + path, options);

function smallWebSocket(url) {
  const http = require('node:http');
  const socket = { waiting: [], queue: [] };
  const give = text => (socket.waiting.length ? socket.waiting.shift()(text) : socket.queue.push(text));
  const request = http.get(url.replace('ws:', 'http:'), { headers: {
    Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' } });
  request.on('upgrade', (response, stream, head) => {
    let bytes = head;
    const read = () => {
      while (bytes.length >= 2 && bytes[1] < 126 && bytes.length >= 2 + bytes[1]) {
        if ((bytes[0] & 15) === 1) give(bytes.subarray(2, 2 + bytes[1]).toString());
        bytes = bytes.subarray(2 + bytes[1]);
      }
    };
    stream.on('data', more => { bytes = Buffer.concat([bytes, more]); read(); });
    socket.end = () => stream.destroy();
    read();
  });
  return socket;
}
function wsOf(url) {
  if (!globalThis.WebSocket) return smallWebSocket(url);
  const socket = { waiting: [], queue: [] };
  const live = new WebSocket(url);
  live.onmessage = ({ data }) => (socket.waiting.length ? socket.waiting.shift()(data) : socket.queue.push(data));
  socket.end = () => live.close();
  return socket;
}
const nextMessage = async ws => JSON.parse(await (ws.queue.length ? ws.queue.shift() : new Promise(done => ws.waiting.push(done))));

(async () => {
  const { replayId } = await fetch(`/stream-recordings/${REC_ID}/replay`, {
    method: 'POST',
    body: JSON.stringify({ mode: 'triggered' })
  }).then(r => r.json());

  const ws = wsOf(`ws://${mock}/ws/chat`);

  await fetch(`/replay/${replayId}/advance`, { method: 'POST' });
  const msg1 = await nextMessage(ws);
  expect(msg1.type).toBe('welcome');

  await fetch(`/replay/${replayId}/advance`, { method: 'POST' });
  const msg2 = await nextMessage(ws);
  expect(msg2.type).toBe('ready');

  await fetch(`/replay/${replayId}`, { method: 'DELETE' });
  ws.end();
  console.log('passed');
  process.exit(0);
})().catch(error => { console.error(error); process.exit(1); });
"#;

#[test]
fn the_javascript_example_works() {
    if !has("node") {
        return;
    }
    let server = Server::start();
    let id = crate::support::recordings::ws("/ws/chat")
        .s2c(1000, "{\"type\":\"welcome\"}")
        .c2s(2000, "{\"type\":\"join\"}")
        .s2c(3000, "{\"type\":\"ready\"}")
        .s2c(4000, "{\"type\":\"more\"}")
        .close("client", 5000, 1000, "")
        .save(&server.place.data_dir());
    let script = server.place.file("example.js", SCRIPT);
    let mut child = Command::new("node")
        .arg(script)
        .args([format!("http://{}", server.admin), format!("localhost:{}", server.mock.port()), id])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("node can be started");
    let status = wait::exit("the JavaScript example", &mut child);
    assert!(status.success());
    let view = &server.get("/replay?all=true")["replays"][0];
    assert_eq!((&view["framesSent"], &view["status"]), (&json!(2), &json!("aborted")));
}

#[test]
fn the_jq_line_has_what_it_asks_for() {
    let server = demo();
    let id = recorded_chat(&server);
    let recording = server.run(&["stream-recordings", "show", &id[..12], "--json"]).json();
    for frame in recording["websocket"]["frames"].as_array().unwrap() {
        assert!(frame["relativeMs"].is_u64() && frame["direction"].is_string() && frame["type"].is_string(), "{frame}");
    }
}

#[test]
fn recording_production_traffic_works_as_the_use_case_says() {
    let server = demo();
    let id = server.record("sse", "/v1/chat/completions");
    let body = br#"{"stream":true,"messages":[]}"#;
    let live = Stream::ask(server.mock, "POST", "/v1/chat/completions", &[], body).rest_text();
    assert_eq!(server.stop(&id)["recording"]["status"], "complete");
    server.replay(&id, &json!({"mode": "synchronized", "strictMatching": true}));
    assert_eq!(Stream::ask(server.mock, "POST", "/v1/chat/completions", &[], body).rest_text(), live);
}

#[test]
fn a_recording_becomes_a_mock_as_pasted() {
    if !has("curl") {
        return;
    }
    let server = demo();
    let id = recorded_chat(&server);
    let recording = server.recording(&id);
    let frames = recording["websocket"]["frames"].as_array().expect("frames");
    let said = |direction: &str| -> Vec<String> {
        let data = frames.iter().filter(|frame| frame["direction"] == direction && frame["type"] == "text");
        data.map(|frame| text(&frame["data"])).collect()
    };
    let config: Value = serde_json::from_str(&shell(&server, &format!("mockd stream-recordings convert {id}"))).expect("a config");
    assert_eq!(config["mocks"][0]["websocket"]["path"], "/ws/chat");
    shell(&server, &format!("mockd stream-recordings convert {id} --simplify-timing"));
    shell(&server, &format!("mockd stream-recordings convert {id} -o scenario.json"));
    let fine = format!("mockd stream-recordings convert {id} \\\n  --simplify-timing \\\n  --min-delay 50 \\\n  --max-delay 2000");
    shell(&server, &fine);
    shell(&server, &format!("mkdir fixtures; mockd stream-recordings convert {id} -o fixtures/chat.json"));
    shell(
        &server,
        &format!(
            "curl -sf -X POST http://localhost:4290/stream-recordings/{id}/convert \
  -H \"Content-Type: application/json\" \
  -d '{{\"simplifyTiming\": true}}' \
  -o mock-config.json"
        ),
    );
    for file in ["scenario.json", "fixtures/chat.json", "mock-config.json"] {
        let mock = Server::builder().place(&server.place).option("--config", file).start();
        let mut client = Client::open(mock.mock, "/ws/chat");
        said("c2s").iter().for_each(|message| client.text(message));
        let mut heard = Vec::new();
        while heard.len() < said("s2c").len() {
            heard.extend(client.next().strip_prefix("text ").map(str::to_owned));
        }
        assert_eq!(heard, said("s2c"), "{file}");
    }
}
