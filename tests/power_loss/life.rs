//! A short life of recordings on a watched disk: what a server and commands do, and what each of them promised when it had answered.

use serde_json::{Value, json};

use super::model::{Holding, Model};
use crate::support::disk_layer::{Change, Disk};
use crate::support::one_shot::OneShot;
use crate::support::server::{Builder, Place, text};
use crate::support::sse::Stream;
use crate::support::wait::eventually;
use crate::support::ws::Raw;
use crate::support::{Server, Upstream};

/// What a recording, or a file of a command, is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Nothing has been promised yet.
    Anything,
    /// It is gone.
    Absent,
    /// It is this file, and no other.
    Whole { path: String, bytes: Vec<u8> },
}

/// From `done` changes on it is `after`; from `begin` on it is that, or still `before`.
#[derive(Debug)]
pub struct Promise {
    key: String,
    begin: usize,
    done: usize,
    before: Form,
    after: Form,
}

const BEGIN: &str = "begin ";
const DONE: &str = "done ";

/// Where something that a promise is about may be: a recording by its id, a file by its path.
fn paths_of(key: &str) -> Vec<String> {
    if key.contains('.') {
        return vec![key.to_owned()];
    }
    ["json", "json.deleted"].iter().map(|suffix| format!("data/rec_{key}.{suffix}")).collect()
}

/// All promises of a life, from its marks and from what the files were then.
pub fn promises(root: &str, changes: &[Change]) -> Vec<Promise> {
    let mut model = Model::new(root);
    let mut open: Vec<(String, usize, Form)> = Vec::new();
    let mut all = Vec::new();
    for (at, change) in changes.iter().enumerate() {
        model.apply(change);
        let Change::Mark(mark) = change else { continue };
        let form = |key: &str, none: Form| {
            let mut found = paths_of(key).into_iter().filter_map(|path| {
                let bytes = model.live(&format!("{root}/{path}"))?.to_vec();
                Some(Form::Whole { path, bytes })
            });
            found.next().unwrap_or(none)
        };
        if let Some(key) = mark.strip_prefix(BEGIN) {
            open.push((key.to_owned(), at, form(key, if key.contains('.') { Form::Absent } else { Form::Anything })));
        } else if let Some(key) = mark.strip_prefix(DONE) {
            let begun = open.iter().position(|(begun, ..)| begun == key).map(|at| open.remove(at));
            let (begin, before) = begun.map_or((0, Form::Anything), |(_, begin, before)| (begin, before));
            all.push(Promise { key: key.to_owned(), begin, done: at, before, after: form(key, Form::Absent) });
        }
    }
    all
}

/// What of a disk, after this many changes, breaks a promise.
pub fn broken(promises: &[Promise], changes: usize, holding: &Holding) -> Option<String> {
    let last = promises.iter().enumerate().filter(|(_, promise)| promise.done < changes);
    let overtaken = |at: usize| promises[at + 1..].iter().any(|later| later.key == promises[at].key && later.begin < changes);
    let mut expected: Vec<(&str, Vec<&Form>)> =
        last.filter(|(at, _)| !overtaken(*at)).map(|(_, promise)| (promise.key.as_str(), vec![&promise.after])).collect();
    let running = promises.iter().filter(|promise| promise.begin < changes && changes <= promise.done);
    expected.extend(running.map(|promise| (promise.key.as_str(), vec![&promise.before, &promise.after])));
    expected.into_iter().find_map(|(key, forms)| {
        let mut found = paths_of(key).into_iter().filter_map(|path| Some((holding.get(&path)?.clone()?, path)));
        let (one, two) = (found.next(), found.next());
        let form = one.map_or(Form::Absent, |(bytes, path)| Form::Whole { path, bytes });
        let holds = two.is_none() && forms.iter().any(|allowed| **allowed == Form::Anything || **allowed == form);
        (!holds).then(|| format!("{key} is {}, not {}", show(&form), forms.iter().map(|form| show(form)).collect::<Vec<_>>().join(" or ")))
    })
}

fn show(form: &Form) -> String {
    match form {
        Form::Whole { path, bytes } => {
            format!("{path} of {} bytes: {}", bytes.len(), String::from_utf8_lossy(&bytes[..bytes.len().min(200)]))
        }
        other => format!("{other:?}"),
    }
}

/// Lives it, and leaves its log.
pub fn live(disk: &Disk) {
    let sockets = Upstream::echo();
    let events = Upstream::events(&["id: 1\ndata: one\n\n", "data: two\n\n"]);
    let server = Server::builder().place(&disk.place).upstream(sockets.url()).start();
    let life = Life { disk, server: &server };
    let first = life.record_two();
    life.record_events(&events);
    let by_client = life.record_until_the_client_ends();
    life.change(&first, &by_client);
    life.import_and_export(&by_client);
    let mut server = server;
    end_by_signal(disk, &mut server);
    crash(disk, &sockets);
    record_for_a_command(disk, &sockets);
}

struct Life<'a> {
    disk: &'a Disk,
    server: &'a Server,
}

/// Does something that promises a form of `key` once it has answered.
fn promise<T>(disk: &Disk, key: &str, act: impl FnOnce() -> T) -> T {
    disk.mark(&format!("{BEGIN}{key}"));
    let result = act();
    disk.mark(&format!("{DONE}{key}"));
    result
}

fn told(disk: &Disk, summaries: &Value) {
    summaries.as_array().expect("summaries").iter().for_each(|summary| disk.mark(&format!("{DONE}{}", text(&summary["id"]))));
}

fn talk(client: &mut Raw, lines: usize) {
    (0..lines).for_each(|line| client.run(&format!("send text line {line}\nexpect text line {line}")));
}

impl Life<'_> {
    /// A session of two connections that is stopped.
    fn record_two(&self) -> String {
        let id = self.server.record("websocket", "/ws");
        let (mut one, mut two) = (Raw::open(self.server.mock, "/ws"), Raw::open(self.server.mock, "/ws"));
        talk(&mut one, 30);
        two.send(2, vec![7; 3000]);
        two.frame();
        let stopped = promise(self.disk, &id, || self.server.stop(&id));
        assert_eq!(stopped["recordings"].as_array().expect("recordings").len(), 2);
        told(self.disk, &stopped["recordings"]);
        id
    }

    fn record_events(&self, upstream: &Upstream) {
        let request = json!({"protocol": "sse", "path": "/events", "upstream": upstream.url()});
        let id = text(&self.server.post("/stream-recordings/start", &request).expect(201).json()["id"]);
        assert!(Stream::open(self.server.mock, "/events", &[]).rest_text().ends_with("data: two\n\n"));
        promise(self.disk, &id, || self.server.stop(&id));
    }

    /// A recording whose end is seen by asking for it.
    fn record_until_the_client_ends(&self) -> String {
        let id = self.server.record("websocket", "/ws/client");
        let mut client = Raw::open(self.server.mock, "/ws/client");
        talk(&mut client, 3);
        promise(self.disk, &id, || {
            client.close(1000, "done");
            let recording = self.server.finished(&id);
            assert_eq!(recording["status"], "complete", "{recording}");
        });
        self.server.stop(&id);
        id
    }

    fn change(&self, one: &str, two: &str) {
        let path = |id: &str| format!("/stream-recordings/{id}");
        let call = |id: &str, method: &str, path: &str, body: &Value, status: u16| {
            promise(self.disk, id, || drop(self.server.call(method, path, body).expect(status)));
        };
        call(one, "PATCH", &path(one), &json!({"name": "a much longer name than before", "tags": ["x"]}), 200);
        call(two, "DELETE", &path(two), &Value::Null, 204);
        call(two, "POST", &format!("{}/restore", path(two)), &Value::Null, 200);
        call(one, "DELETE", &path(one), &Value::Null, 204);
        call(one, "POST", "/stream-recordings/vacuum", &Value::Null, 200);
    }

    fn import_and_export(&self, id: &str) {
        let har = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/har/chrome.har")).expect("a fixture");
        let answer = crate::support::http::ask(self.server.admin, "POST", "/stream-recordings/import", &[], &har);
        let imported = answer.expect(201).json();
        told(self.disk, &imported["recordings"]);
        let doomed = text(&imported["recordings"][0]["id"]);
        promise(self.disk, &doomed, || {
            self.server.call("DELETE", &format!("/stream-recordings/{doomed}?permanent=true"), &Value::Null).expect(204);
        });
        let place = &self.disk.place;
        promise(self.disk, "out.json", || place.run(&["sr", "export", id, "-o", "out.json"]).ok());
        promise(self.disk, "new/mock.yaml", || place.run(&["sr", "convert", id, "-o", "new/mock.yaml"]).ok());
        promise(self.disk, "out.json", || place.run(&["sr", "export", id, "--format", "har", "-o", "out.json"]).ok());
        let again = place.run(&["sr", "import", "out.json", "--json"]).json();
        told(self.disk, &again["recordings"]);
        promise(self.disk, id, || place.run(&["sr", "edit", id, "--name", "by hand"]).ok());
    }
}

/// A server that is told to end has finished its recordings when it has gone.
fn end_by_signal(disk: &Disk, server: &mut Server) {
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    talk(&mut client, 5);
    promise(disk, &id, || assert!(server.terminate().success()));
}

/// What a crash left is a recording once a command has listed it; bytes between its frames are a bad disk's.
pub fn crash(disk: &Disk, upstream: &Upstream) {
    let mut server = Builder::default().place(&disk.place).upstream(upstream.url()).start();
    let ids = ["/ws/a", "/ws/b"].map(|path| server.record("websocket", path));
    let mut clients = ["/ws/a", "/ws/b"].map(|path| Raw::open(server.mock, path));
    clients.iter_mut().for_each(|client| talk(client, 3));
    let path = |id: &str| disk.place.data_dir().join(format!("rec_{id}.journal"));
    let whole = |id: &str| std::fs::read_to_string(path(id)).is_ok_and(|text| text.lines().count() > 6);
    eventually("six frames in two journals", || ids.iter().all(|id| whole(id)).then_some(()));
    server.kill9();
    let text = std::fs::read_to_string(path(&ids[0])).expect("a journal");
    let last = text.trim_end().lines().last().expect("a frame");
    disk.scribble(&path(&ids[0]), format!("\0\0\0\n{last}\n").as_bytes());
    let listed = disk.place.run(&["sr", "list", "--json"]).json();
    for id in &ids {
        assert!(listed["recordings"].as_array().expect("a list").iter().any(|summary| summary["id"] == **id), "{listed}");
        disk.mark(&format!("{DONE}{id}"));
    }
}

/// `mockd record` has the file on the disk when it ends.
fn record_for_a_command(disk: &Disk, upstream: &Upstream) {
    let place: &Place = &disk.place;
    let run = OneShot::with_command(place, &["record", &upstream.url(), "-o", "kept/chat.json"], 0);
    talk(&mut Raw::open(run.mock, "/ws"), 4);
    promise(disk, "kept/chat.json", || run.finish().ok());
}
