//! Rounds that record: a kill in the middle of traffic, and in the middle of `stop`.

use std::sync::mpsc::channel;
use std::time::Instant;

use mockd::model::recording::{Recording, Status};

use super::load::{Load, talk_and_close};
use super::{Scene, look, moment};
use crate::support::Server;
use crate::support::effort::rounds;
use crate::support::http::status_if_there;
use crate::support::wait::{eventually, next};

/// Paths of a round: so many WebSockets and event streams, each path its own.
fn paths(scene: &mut Scene, sockets: u64, streams: u64) -> (Vec<String>, Vec<String>) {
    let round = scene.round;
    let sockets = 1 + scene.dice.below(sockets);
    // Now and then a crowd that comes at once.
    let streams = if scene.dice.once_in(6) { rounds(20, 80) } else { 1 + scene.dice.below(streams) };
    let of = |kind: &str, count: u64| (0..count).map(|number| format!("/{kind}/{round}/{number}")).collect();
    (of("ws", sockets), of("events", streams))
}

fn open(load: &mut Load, server: &Server, sockets: &[String], streams: &[String]) {
    sockets.iter().for_each(|path| load.open_ws(server.mock, path.clone()));
    streams.iter().for_each(|path| load.open_sse(server.mock, path.clone()));
}

/// The recordings of this round among the files, each with its name.
fn of_round(files: &look::Files, round: u64) -> Vec<(String, Recording)> {
    let all = files.iter().map(|(name, bytes)| (name.clone(), look::parse(name, bytes)));
    all.filter(|(_, recording)| recording.head.metadata.path.split('/').nth(2) == Some(&round.to_string())).collect()
}

/// Kills a server while WebSockets and event streams pass.
pub fn record(scene: &mut Scene) {
    let (sockets, streams) = paths(scene, 4, 3);
    let mut load = Load::new(sockets.len() + streams.len());
    let builder = Server::builder().place(&scene.place).upstream(load.upstream.url());
    let everything = scene.dice.once_in(2);
    let mut server = if everything { builder.flag("--record") } else { builder }.start();
    if !everything {
        server.record("websocket", "/ws/*");
        server.record("sse", "/events/*");
    }
    if scene.dice.once_in(2) {
        settle(scene, &server);
    }
    let limit = scene.moment(300);
    open(&mut load, &server, &sockets, &streams);
    let machine = moment::wait_to_kill(server.pid, limit);
    let killed = Instant::now();
    server.kill9();
    load.end();
    let files = scene.recover();
    let recordings = of_round(&files, scene.round);
    for (name, recording) in recordings.iter().filter(|(name, _)| !scene.settled.contains_key(name)) {
        let said = (recording.tail.status, recording.tail.status_reason.as_deref());
        assert_eq!(said, (Status::Incomplete, Some("crashed")), "{name}");
    }
    let behind = look::compare(recordings.iter().map(|(_, recording)| recording), &load.passed, killed, machine);
    scene.note(behind, machine);
}

/// Has a connection end, and keeps what its file is when it is told as complete.
fn settle(scene: &mut Scene, server: &Server) {
    let path = format!("/ws/{}/done", scene.round);
    talk_and_close(server.mock, &path);
    let id = eventually("the recording of a connection that ended", || {
        let page = server.get(&format!("/stream-recordings?path={path}"));
        let ended = &page["recordings"][0];
        (ended["status"] == "complete").then(|| ended["id"].as_str().expect("an id").to_owned())
    });
    let name = format!("rec_{id}.json");
    let bytes = std::fs::read(scene.place.data_dir().join(&name)).expect("a recording that is complete");
    scene.settled.insert(name, bytes);
}

/// Kills a server while it ends many recordings.
pub fn stop(scene: &mut Scene) {
    let (sockets, streams) = paths(scene, 10, 6);
    let mut load = Load::new(sockets.len() + streams.len());
    let mut server = Server::builder().place(&scene.place).upstream(load.upstream.url()).start();
    let sessions = [server.record("websocket", "/ws/*"), server.record("sse", "/events/*")];
    open(&mut load, &server, &sockets, &streams);
    load.await_all(&sockets);
    load.await_all(&streams);
    let passed = load.passed.snapshot();
    let (begun, begin) = channel();
    let stops = sessions.clone().map(|session| {
        let (admin, begun) = (server.admin, begun.clone());
        std::thread::spawn(move || {
            begun.send(()).expect("the test waits");
            status_if_there(admin, "POST", &format!("/stream-recordings/{session}/stop"), b"")
        })
    });
    sessions.iter().for_each(|_| next("both calls", &begin));
    let limit = scene.moment(60);
    let machine = moment::wait_to_kill(server.pid, limit);
    let killed = Instant::now();
    server.kill9();
    let answered = stops.map(|stop| stop.join().expect("a call"));
    load.end();
    let files = scene.recover();
    let recordings = of_round(&files, scene.round);
    for (session, answer) in sessions.iter().zip(answered) {
        assert!(matches!(answer, None | Some(200)), "{answer:?}");
        if answer.is_some() {
            scene.figures.done += 1
        } else {
            scene.figures.undone += 1
        }
        for (name, recording) in recordings.iter().filter(|(_, one)| one.head.metadata.session_id.as_ref() == Some(session)) {
            let is_complete = recording.tail.status == Status::Complete;
            assert!(is_complete || answer.is_none(), "stop had been answered, and {name} is not complete");
            if is_complete {
                scene.settled.insert(name.clone(), files[name].clone());
            }
        }
    }
    // What passed after the calls need not be there.
    let behind = look::compare(recordings.iter().map(|(_, recording)| recording), &passed, killed, machine);
    scene.note(behind, machine);
}
