//! Rounds of calls that change a directory, over the API or as commands: what was answered is done, what was not begun is not, and the
//! one that was killed is either. And of lists that write the index anew.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::look::{Files, files, parse};
use super::{Scene, look, moment};
use crate::support::http::status_if_there;
use crate::support::recordings::{Made, sse, ws};
use crate::support::server::Place;
use crate::support::wait::next;
use crate::support::{Server, wait};

/// One call, and the same as a command.
#[derive(Debug, Clone)]
struct Call {
    method: &'static str,
    target: String,
    body: Vec<u8>,
    args: Vec<String>,
}

impl Call {
    fn new(method: &'static str, target: String, body: &Value, args: &[&str]) -> Self {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        Self { method, target, body, args: args.iter().map(|arg| (*arg).to_owned()).collect() }
    }

    fn ask(&self, admin: SocketAddr) -> bool {
        let status = status_if_there(admin, self.method, &self.target, &self.body);
        assert!(status.is_none_or(|status| status < 300), "{} {}: {status:?}", self.method, self.target);
        status.is_some()
    }

    /// Runs the command, and kills it when it has not ended until then; whether it had.
    fn run(&self, place: &Place, end: Instant) -> bool {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let mut child = place.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("mockd can be started");
        loop {
            if let Some(status) = child.try_wait().expect("a child") {
                assert!(status.success(), "{args:?}: {status}");
                return true;
            }
            if Instant::now() >= end {
                child.kill().expect("a child");
                // It may have been done in the same moment; the caller takes either.
                child.wait().expect("a child");
                return false;
            }
            std::thread::park_timeout(Duration::from_micros(200));
        }
    }
}

/// Has these calls made one after another, and kills who does them; how many had been answered.
fn interrupt(scene: &mut Scene, calls: &[Call], within_ms: u64) -> usize {
    let limit = scene.moment(within_ms);
    let done = if scene.dice.once_in(2) {
        let mut server = Server::builder().place(&scene.place).start();
        let (begun, begin) = channel();
        let (admin, calls) = (server.admin, calls.to_vec());
        let asking = std::thread::spawn(move || {
            begun.send(()).expect("the test waits");
            calls.iter().take_while(|call| call.ask(admin)).count()
        });
        next("the first call", &begin);
        moment::wait(limit);
        server.kill9();
        asking.join().expect("calls that are answered, or not")
    } else {
        let end = Instant::now() + limit;
        calls.iter().take_while(|call| call.run(&scene.place, end)).count()
    };
    scene.figures.done += done as u64;
    scene.figures.undone += u64::from(done < calls.len());
    done
}

/// Recordings of this round; `deleted` ones softly so. Their ids.
fn put(scene: &mut Scene, count: usize, deleted: bool) -> Vec<String> {
    let dir = scene.place.data_dir();
    let made = |number: usize| -> Made {
        let path = format!("/made/{}/{number}", scene.round);
        if number.is_multiple_of(3) {
            (0..20).fold(sse(&path), |made, event| made.data(event * 1000, &format!("event {event}"))).end("server", 20_000)
        } else {
            (0..50).fold(ws(&path), |made, frame| made.s2c(frame * 1000, &"text ".repeat(frame as usize))).close("server", 50_000, 1000, "")
        }
    };
    let ids: Vec<String> = (0..count).map(|number| made(number).save(&dir)).collect();
    if deleted {
        for id in &ids {
            std::fs::rename(dir.join(format!("rec_{id}.json")), dir.join(format!("rec_{id}.json.deleted"))).expect("a file there");
        }
    }
    ids
}

/// Which of its two names a recording's file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Live,
    Deleted,
    Gone,
}

fn state(files: &Files, id: &str) -> State {
    match (files.contains_key(&format!("rec_{id}.json")), files.contains_key(&format!("rec_{id}.json.deleted"))) {
        (true, false) => State::Live,
        (false, true) => State::Deleted,
        (false, false) => State::Gone,
        (true, true) => panic!("{id} is there twice"),
    }
}

fn bytes<'a>(files: &'a Files, id: &str) -> Option<&'a Vec<u8>> {
    files.get(&format!("rec_{id}.json")).or_else(|| files.get(&format!("rec_{id}.json.deleted")))
}

/// Interrupts one call for each id, each of which should bring it from one state to another.
fn change(scene: &mut Scene, ids: &[String], to: impl Fn(&str) -> State, call: impl Fn(&str) -> Call) {
    let calls: Vec<Call> = ids.iter().map(|id| call(id)).collect();
    let before = files(&scene.place.data_dir());
    let done = interrupt(scene, &calls, 80);
    let after = scene.recover();
    for (at, id) in ids.iter().enumerate() {
        let (was, is) = (state(&before, id), state(&after, id));
        let fits = if at < done { is == to(id) } else { is == was || (at == done && is == to(id)) };
        assert!(fits, "call {at} of {done} that were answered: {id} was {was:?}, is {is:?}");
        assert!(is == State::Gone || bytes(&after, id) == bytes(&before, id), "{id} has changed");
        // The second attempt works.
        if at == done && is != to(id) {
            let end = Instant::now() + wait::DEADLINE;
            assert!(calls[at].run(&scene.place, end), "{:?}", calls[at].args);
            assert_eq!(state(&files(&scene.place.data_dir()), id), to(id));
        }
    }
}

/// Kills in the middle of deletes, soft ones and permanent ones.
pub fn delete(scene: &mut Scene) {
    let ids = put(scene, 8, false);
    let for_ever: Vec<String> = ids.iter().step_by(2).cloned().collect();
    let is_permanent = |id: &str| for_ever.iter().any(|other| other == id);
    let to = |id: &str| if is_permanent(id) { State::Gone } else { State::Deleted };
    change(scene, &ids, to, |id| {
        let target = format!("/stream-recordings/{id}{}", if is_permanent(id) { "?permanent=true" } else { "" });
        let flags: &[&str] = if is_permanent(id) { &["sr", "delete", id, "--permanent", "--force"] } else { &["sr", "delete", id] };
        Call::new("DELETE", target, &Value::Null, flags)
    });
}

/// Kills in the middle of restores.
pub fn restore(scene: &mut Scene) {
    let ids = put(scene, 8, true);
    let call = |id: &str| Call::new("POST", format!("/stream-recordings/{id}/restore"), &Value::Null, &["sr", "restore", id]);
    change(scene, &ids, |_| State::Live, call);
}

/// Kills in the middle of `vacuum`.
pub fn vacuum(scene: &mut Scene) {
    let kept = put(scene, 6, false);
    let ids = put(scene, 25, true);
    let before = files(&scene.place.data_dir());
    let call = Call::new("POST", "/stream-recordings/vacuum".to_owned(), &Value::Null, &["sr", "vacuum"]);
    let done = interrupt(scene, std::slice::from_ref(&call), 40);
    let after = scene.recover();
    for id in &kept {
        assert!(state(&after, id) == State::Live && bytes(&after, id) == bytes(&before, id), "{id} has changed");
    }
    for id in &ids {
        let is = state(&after, id);
        assert!(is == State::Gone || (done == 0 && bytes(&after, id) == bytes(&before, id)), "{id} is {is:?}");
    }
    assert!(call.run(&scene.place, Instant::now() + wait::DEADLINE));
    let left = files(&scene.place.data_dir());
    assert!(left.keys().all(|name| name.ends_with(".json")), "{:?}", left.keys());
}

/// Kills in the middle of changes of names.
pub fn edit(scene: &mut Scene) {
    let ids = put(scene, 8, false);
    let name = format!("called otherwise in round {}", scene.round);
    let edit =
        |id: &str| Call::new("PATCH", format!("/stream-recordings/{id}"), &json!({"name": name}), &["sr", "edit", id, "--name", &name]);
    let calls: Vec<Call> = ids.iter().map(|id| edit(id)).collect();
    let before = files(&scene.place.data_dir());
    let done = interrupt(scene, &calls, 100);
    let after = scene.recover();
    for (at, id) in ids.iter().enumerate() {
        let file = format!("rec_{id}.json");
        let (was, is) = (parse(&file, &before[&file]), parse(&file, &after[&file]));
        assert_eq!(was.frames, is.frames);
        let is_old = after[&file] == before[&file];
        assert!(is_old || (at <= done && is.head.name == name), "{id}: {}", is.head.name);
        assert!(at >= done || !is_old, "the change of {id} was answered");
        // The second attempt works.
        assert!(at != done || calls[at].run(&scene.place, Instant::now() + wait::DEADLINE));
    }
}

/// Kills in the middle of an import of several recordings: all of them are there, or none.
pub fn import(scene: &mut Scene) {
    let (streams, messages) = (2 + scene.dice.below(5), 40 + scene.dice.below(260));
    let round = scene.round;
    let path = |number: u64| format!("/imported/{round}/{number}");
    let entries: Vec<Value> = (0..streams).map(|number| entry(&path(number), messages)).collect();
    let text = json!({"log": {"version": "1.2", "creator": {"name": "test", "version": "1"}, "entries": entries}}).to_string();
    let file = scene.place.file("archive.har", &text);
    let mut call = Call::new("POST", "/stream-recordings/import".to_owned(), &Value::Null, &["sr", "import", &file.display().to_string()]);
    call.body = text.into_bytes();
    for attempt in 0..2 {
        let done = if attempt == 0 { interrupt(scene, std::slice::from_ref(&call), 250) } else { 1 };
        if attempt == 1 {
            assert!(call.run(&scene.place, Instant::now() + wait::DEADLINE));
        }
        let after = scene.recover();
        let all: Vec<_> = after.iter().map(|(name, bytes)| parse(name, bytes)).collect();
        let of = |number: u64| all.iter().filter(|one| one.head.metadata.path == path(number)).collect::<Vec<_>>();
        let counts: Vec<usize> = (0..streams).map(|number| of(number).len()).collect();
        assert!(counts.iter().all(|count| *count == counts[0]), "some of an import are there: {counts:?}");
        assert!(counts[0] >= done && counts[0] <= attempt + 1, "{counts:?} after {done} that were answered");
        assert!((0..streams).flat_map(of).all(|one| one.frames.len() as u64 == messages));
    }
}

/// A WebSocket of an archive.
fn entry(path: &str, messages: u64) -> Value {
    let message = |number: u64| {
        let kind = if number.is_multiple_of(2) { "send" } else { "receive" };
        json!({"type": kind, "time": 1_705_314_600.0 + number as f64 / 100.0, "opcode": 1, "data": format!("{number} {}", "text ".repeat(20))})
    };
    let none: [Value; 0] = [];
    json!({
        "startedDateTime": "2024-01-15T10:30:00.000Z", "time": 1000, "cache": {}, "timings": {"send": 0, "wait": 0, "receive": 0},
        "request": {
            "method": "GET", "url": format!("ws://host{path}"), "httpVersion": "HTTP/1.1", "headers": none, "queryString": none,
            "cookies": none, "headersSize": -1, "bodySize": -1
        },
        "response": {
            "status": 101, "statusText": "", "httpVersion": "HTTP/1.1", "headers": none, "cookies": none,
            "content": {"size": 0, "mimeType": ""}, "redirectURL": "", "headersSize": -1, "bodySize": -1
        },
        "_webSocketMessages": (0..messages).map(message).collect::<Vec<_>>()
    })
}

/// Kills in the middle of lists that write the index anew: the next list says what the files say.
pub fn index(scene: &mut Scene) {
    let dir = scene.place.data_dir();
    let ids = put(scene, 40, false);
    for attempt in 0..2 {
        // Old enough to be believed by their stamps, and each time other ones.
        for id in &ids {
            let file = std::fs::File::options().write(true).open(dir.join(format!("rec_{id}.json"))).expect("a file there");
            file.set_modified(SystemTime::now() - Duration::from_secs(3600 + attempt * 60)).expect("a time can be set");
        }
        let call = Call::new("GET", "/stream-recordings".to_owned(), &Value::Null, &["sr", "list"]);
        interrupt(scene, &vec![call; 4], 60);
        let files = look::recover(&scene.place, false);
        assert!(ids.iter().all(|id| state(&files, id) == State::Live));
    }
    // The rounds that follow need not look at all of them.
    ids.iter().skip(4).for_each(|id| std::fs::remove_file(dir.join(format!("rec_{id}.json"))).expect("a file there"));
}
