//! Signals at any moment: during the start, in storms, twice, to one-shot commands; and ends that something holds up.

use std::io::{PipeReader, Write};
use std::os::fd::AsFd;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::effort::{Dice, rounds};
use crate::support::http::ask;
use crate::support::recordings::{put, ws};
use crate::support::server::Place;
use crate::support::sse::Stream;
use crate::support::wait::{self, eventually};
use crate::support::ws::Raw;
use crate::support::{Server, Upstream};

fn send(child: &Child, signal: Signal) {
    // Until it is waited for its number is its own, also after its end.
    kill(Pid::from_raw(child.id() as i32), signal).expect("a child that nobody has waited for");
}

/// A moment of at most so many microseconds, after which nothing is assumed.
fn moment(dice: &mut Dice, most_us: u64) {
    std::thread::park_timeout(Duration::from_micros(dice.below(most_us)));
}

#[test]
fn sigterm_at_any_moment_of_the_start_ends_it_and_leaves_nothing() {
    let mut dice = Dice::new("start");
    let place = Place::new();
    place.file("mockd.yaml", "mocks: [{websocket: {path: /a}}]\n");
    let (mut early, mut late, tries) = (0, 0, rounds(25, 500));
    for _ in 0..tries {
        let args = ["serve", "--port", "0", "--admin-port", "0", "--ready-file", "ready.json"];
        let mut child = place.command(&args).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        moment(&mut dice, 60_000);
        send(&child, if dice.once_in(3) { Signal::SIGINT } else { Signal::SIGTERM });
        let status = wait::exit("the server", &mut child);
        match status.code() {
            // Before the signals are held.
            None => early += 1,
            Some(code) => {
                assert_eq!(code, 0);
                late += 1;
            }
        }
        assert!(!place.home().join("ready.json").exists());
    }
    println!("shutdown: {tries} signals during the start, {early} before it heard them, {late} after");
    let left: Vec<_> = std::fs::read_dir(place.home()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let left: Vec<_> = left.iter().filter_map(|name| name.to_str()).filter(|name| name.starts_with("mockd-")).collect();
    assert_eq!(left, [""; 0], "the inner socket goes away as well");
}

/// A place whose directory's lock this test holds, with a journal that a start wants to recover under it, and replays.
fn locked_place() -> (Place, std::fs::File) {
    let place = Place::new();
    // Those that are made later share no more than its first digits.
    let id = "01HXYZ00000000000000000000";
    put(&place.data_dir(), &format!("rec_{id}.journal"), b"{\"torn");
    place.file("mockd.yaml", &format!("mocks: [{{websocket: {{path: /a, replay: {{recording: {id}}}}}}}]\n"));
    std::fs::create_dir(place.data_dir().join(".index")).unwrap();
    let lock = std::fs::File::create(place.data_dir().join(".index/lock")).unwrap();
    lock.lock().unwrap();
    (place, lock)
}

fn held_up_server(place: &Place) -> Child {
    let child = place.command(&["serve", "--port", "0", "--admin-port", "0"]).stderr(Stdio::null()).spawn().unwrap();
    let lock = place.data_dir().join(".index/lock");
    // It polls for the lock, and has its file open meanwhile now and then; its signals are held long before.
    eventually("the server at the lock", || {
        let files = std::fs::read_dir(format!("/proc/{}/fd", child.id())).ok()?;
        files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|name| name == lock)).then_some(())
    });
    child
}

#[test]
fn a_start_that_is_held_up_ends_at_the_second_signal_at_once() {
    let (place, _lock) = locked_place();
    let mut child = held_up_server(&place);
    // Two that come before the first has been heard are one.
    let status = eventually("the end of the server", || {
        send(&child, Signal::SIGTERM);
        child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_start_that_is_held_up_ends_at_one_signal_in_time() {
    let (place, _lock) = locked_place();
    let mut child = held_up_server(&place);
    send(&child, Signal::SIGTERM);
    assert_eq!(wait::exit("the server", &mut child).code(), Some(1));
}

/// Nothing but what needs the recordings waits for their recovery.
#[test]
fn a_recovery_that_is_held_up_keeps_lists_waiting_and_nobody_else() {
    let (place, lock) = locked_place();
    let left = ws("/left").s2c(0, "kept").save(&place.data_dir());
    let whole = place.data_dir().join(format!("rec_{left}.json"));
    let text = std::fs::read_to_string(&whole).unwrap();
    put(&place.data_dir(), &format!("rec_{left}.journal"), &text.as_bytes()[..text.find("\n],").unwrap() + 1]);
    std::fs::remove_file(whole).unwrap();
    std::fs::remove_file(place.home().join("mockd.yaml")).unwrap();
    let upstream = Upstream::echo();
    let mut server = Server::builder().place(&place).upstream(upstream.url()).start();
    Raw::open(server.mock, "/ws").run("send text hi\nexpect text hi");
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| server.get(&format!("/stream-recordings/{}", &left[..20])));
        let listed = scope.spawn(|| server.get("/stream-recordings?status=incomplete"));
        server.get("/health");
        assert!(!asked.is_finished() && !listed.is_finished());
        drop(lock);
        assert_eq!(listed.join().unwrap()["recordings"][0]["frameCount"], 1);
        assert_eq!(asked.join().unwrap()["status"], "incomplete");
    });
    server.signal("TERM");
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn a_recovery_that_is_held_up_holds_up_no_end() {
    let (place, _lock) = locked_place();
    std::fs::remove_file(place.home().join("mockd.yaml")).unwrap();
    let mut server = Server::builder().place(&place).start();
    server.signal("TERM");
    assert_eq!(server.exit().code(), Some(0));
}

/// A pipe that is full, and its reading end, which nobody reads.
fn full_pipe() -> (PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let set = |flag: OFlag| fcntl(writer.as_fd(), FcntlArg::F_SETFL(flag)).unwrap();
    set(OFlag::O_NONBLOCK);
    let page = [b'x'; 4096];
    while (&writer).write(&page).is_ok() {}
    while (&writer).write(b"x").is_ok() {}
    set(OFlag::empty());
    writer.flush().unwrap();
    (reader, writer)
}

#[test]
fn a_log_that_nobody_reads_holds_up_neither_traffic_nor_the_end() {
    let upstream = Upstream::echo();
    let place = Place::new();
    let (_reader, writer) = full_pipe();
    let url = upstream.url();
    let args =
        ["serve", "--port", "0", "--admin-port", "0", "--ready-file", "ready.json", "--record", "--upstream", &url, "--log-level", "debug"];
    let mut child = place.command(&args).stderr(writer).stdout(Stdio::null()).spawn().unwrap();
    let ready: Value = eventually("the ready file", || serde_json::from_slice(&std::fs::read(place.home().join("ready.json")).ok()?).ok());
    let mock = ready["mock"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    let mut clients: Vec<Raw> = (0..20).map(|_| Raw::open(mock, "/ws")).collect();
    for client in &mut clients {
        client.run("send text hi\nexpect text hi");
    }
    send(&child, Signal::SIGTERM);
    let status = wait::exit("the server", &mut child);
    assert_eq!(status.code(), Some(0));
    for client in &mut clients {
        assert!(client.rest()[0].starts_with("close 1001"));
    }
    let page = place.run(&["sr", "list", "--json", "--status", "complete"]).json();
    assert_eq!(page["total"], 20);
}

#[test]
fn a_log_whose_reader_is_gone_and_a_closed_stdout_end_nothing() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (out_reader, out_writer) = std::io::pipe().unwrap();
    drop(out_reader);
    let args = ["serve", "--port", "0", "--admin-port", "0", "--ready-file", "ready.json", "--log-level", "debug"];
    let mut child = place.command(&args).stderr(writer).stdout(out_writer).spawn().unwrap();
    let ready: Value = eventually("the ready file", || serde_json::from_slice(&std::fs::read(place.home().join("ready.json")).ok()?).ok());
    let address = |name: &str| ready[name].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    for _ in 0..20 {
        assert_eq!(ask(address("mock"), "GET", "/nothing", &[], b"").status(), 404);
    }
    send(&child, Signal::SIGPIPE);
    assert_eq!(ask(address("admin"), "GET", "/health", &[], b"").status(), 200);
    send(&child, Signal::SIGTERM);
    assert_eq!(wait::exit("the server", &mut child).code(), Some(0));
}

#[test]
fn a_storm_of_sighup_disturbs_nobody() {
    let upstream = Upstream::echo();
    let place = Place::new();
    place.file("mockd.yaml", "mocks: [{id: a, websocket: {path: /mock, echoMode: true}}]\n");
    let mut server = Server::builder().place(&place).upstream(upstream.url()).flag("--record").start();
    let mut clients = [Raw::open(server.mock, "/ws"), Raw::open(server.mock, "/mock")];
    let pid = Pid::from_raw(server.pid as i32);
    let storm = rounds(300, 10_000);
    for number in 0..storm {
        kill(pid, Signal::SIGHUP).unwrap();
        if number.is_multiple_of(10) {
            let body = if number.is_multiple_of(20) { "mocks: [" } else { "mocks: [{id: a, websocket: {path: /mock, echoMode: true}}]\n" };
            place.file("mockd.yaml", body);
            for client in &mut clients {
                client.run("send text still\nexpect text still");
            }
        }
    }
    place.file("mockd.yaml", "mocks: [{id: b, websocket: {path: /b}}]\n");
    eventually("the last config", || {
        kill(pid, Signal::SIGHUP).unwrap();
        (server.get("/mocks")["mocks"][0]["id"] == "b").then_some(())
    });
    println!("shutdown: {storm} SIGHUPs");
    (0..50).for_each(|_| kill(pid, Signal::SIGHUP).unwrap());
    assert!(server.terminate().success());
    for mut client in clients {
        assert!(client.rest()[0].starts_with("close 1001"));
    }
}

/// Trap: the config was read by the thread that ends the server.
#[test]
fn a_reload_that_hangs_does_not_hold_up_the_end() {
    use std::os::unix::fs::OpenOptionsExt;
    let upstream = Upstream::echo();
    let place = Place::new();
    let config = place.file("mockd.yaml", "mocks: []\n");
    let mut server = Server::builder().place(&place).upstream(upstream.url()).flag("--record").start();
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text hi\nexpect text hi");
    std::fs::remove_file(&config).unwrap();
    nix::unistd::mkfifo(&config, nix::sys::stat::Mode::S_IRWXU).unwrap();
    server.signal("HUP");
    let mut open = std::fs::File::options();
    open.write(true).custom_flags(nix::libc::O_NONBLOCK);
    // It can be opened so from when the server opens the other end, which then waits for what never comes.
    let _unwritten = eventually("the reload", || open.open(&config).ok());
    let status = server.terminate();
    assert!(status.success(), "{status:?}");
    assert!(client.rest()[0].starts_with("close 1001"));
    // Its own reading of the config is not to hang.
    std::fs::remove_file(&config).unwrap();
    assert_eq!(place.run(&["sr", "list", "--json", "--status", "complete"]).json()["total"], 1);
}

#[test]
fn kill_9_in_the_middle_of_the_end_leaves_recordings_that_can_be_read() {
    let mut dice = Dice::new("kill in the end");
    let upstream = Upstream::http(|head, conn| {
        let mut raw = Raw::accept(conn, head, None);
        raw.send(1, "hello");
        while raw.try_frame().is_some() {}
    });
    for _ in 0..rounds(4, 100) {
        let mut server = Server::builder().upstream(upstream.url()).flag("--record").start();
        let mut clients: Vec<Raw> = (0..10).map(|_| Raw::open(server.mock, "/ws")).collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.frame().words(), "text hello"));
        eventually("frames on disk", || {
            let page = server.get("/stream-recordings");
            let rows = page["recordings"].as_array()?;
            (rows.len() == 10 && rows.iter().all(|row| row["frameCount"] == 1)).then_some(())
        });
        kill(Pid::from_raw(server.pid as i32), Signal::SIGTERM).unwrap();
        moment(&mut dice, 20_000);
        server.kill9();
        let page = server.place.run(&["sr", "list", "--json"]).json();
        assert_eq!(page["total"], 10);
        for row in page["recordings"].as_array().unwrap() {
            assert!(row["status"] == "complete" || row["status"] == "incomplete", "{row}");
            assert_eq!(row["frameCount"], 1, "{row}");
        }
    }
}

/// Trap: signals that were let go of for the moment in which the command was started ended mockd, and left the command behind.
#[test]
fn a_signal_in_the_moment_when_the_command_starts_is_passed_on() {
    let place = Place::new();
    let tries = rounds(20, 500);
    for _ in 0..tries {
        let args = ["record", "http://127.0.0.1:9", "-o", "out", "--", "sh", "-c", "kill -TERM $PPID; exec cat"];
        let mut command = place.command(&args);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let status = wait::exit("mockd record", &mut child);
        assert_eq!(status.code(), Some(143), "it ends by itself, after its command: {status:?}");
    }
    println!("shutdown: {tries} signals to record in the moment of its command's start");
}

#[test]
fn a_signal_at_any_moment_of_record_leaves_no_command_behind() {
    let mut dice = Dice::new("record");
    let place = Place::new();
    let pid_file = place.home().join("pid");
    // Below `nohup`, or behind `&`, some are ignored by all that a shell starts.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok()).unwrap();
    let all = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
    let heard: Vec<Signal> = all.into_iter().filter(|signal| ignored >> (*signal as i32 - 1) & 1 == 0).collect();
    for _ in 0..rounds(15, 300) {
        // It may be there from the round before.
        drop(std::fs::remove_file(&pid_file));
        let args = ["record", "http://127.0.0.1:9", "-o", "out", "--", "sh", "-c", "echo $$ > pid; exec cat"];
        let mut command = place.command(&args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        moment(&mut dice, 80_000);
        send(&child, *dice.pick(&heard));
        // Its command ends by the signal; the end of its stdin, which `wait` would bring, comes after.
        let stdin = child.stdin.take();
        let status = wait::exit("mockd record", &mut child);
        if let Some(pid) = std::fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse::<u32>().ok()) {
            let is_gone = || std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
            eventually("the end of the command", || is_gone().then_some(()));
        }
        assert!(matches!(status.code(), None | Some(129 | 130 | 143)), "{status:?}");
        drop(stdin);
    }
}

#[test]
fn a_follower_gets_the_last_frames_before_the_end() {
    for _ in 0..rounds(3, 50) {
        let upstream = Upstream::echo();
        let mut server = Server::before(&upstream);
        let id = server.record("websocket", "/ws");
        let mut client = Raw::open(server.mock, "/ws");
        client.run("send text first\nexpect text first");
        server.begun(&id);
        let mut follower = Stream::open(server.admin, &format!("/stream-recordings/{id}/frames?follow=true"), &[]);
        assert!(follower.block().contains("first"));
        client.run("send text last\nexpect text last");
        assert!(server.terminate().success());
        let rest = follower.rest_text();
        assert_eq!(rest.matches("last").count(), 2, "{rest}");
    }
}
