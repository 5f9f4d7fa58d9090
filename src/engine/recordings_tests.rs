//! Sessions that are stopped while a connection of theirs is being established, and what others see of them meanwhile.

use super::*;

/// Recordings in a directory of their own, with an open session on `/ws`, and its id.
fn opened() -> (tempfile::TempDir, Recordings, String) {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::new(dir.path().to_owned(), limits::MAX_STORE_BYTES, limits::WARN_PERCENT));
    let recorder = Recorder::start(Arc::clone(&store), false).unwrap();
    let redactor = Arc::new(Redactor::new(&Settings::default().redaction()).unwrap());
    let recordings = Recordings::new(store, recorder, redactor, limits::MAX_EVENT_BYTES, None);
    let request = StartRequest {
        protocol: Protocol::WebSocket,
        path: "/ws".into(),
        name: None,
        description: None,
        tags: Vec::new(),
        upstream: None,
        max_duration_ms: None,
        max_frames: None,
    };
    let started = recordings.start(request, |_, _| true).unwrap();
    (dir, recordings, started.id)
}

fn claim(recordings: &Recordings) -> Reserved {
    let metadata = Metadata { path: "/ws".into(), client_ip: Some("127.0.0.1".into()), ..Metadata::default() };
    recordings.claim(Protocol::WebSocket, Box::new(metadata)).unwrap()
}

fn begin(recordings: &Recordings, reserved: Reserved) -> Arc<Tape> {
    recordings.begin(reserved, Origin::now(), StreamHead::WebSocket { subprotocol: None })
}

fn await_no_session(recordings: &Recordings) {
    while recordings.sessions().len() == 1 {
        std::thread::yield_now();
    }
}

/// Trap: a client that has its 101, and a `stop` that comes before the server's thread goes on.
#[test]
fn a_stop_waits_for_a_connection_that_is_being_established() {
    let (dir, recordings, id) = opened();
    let reserved = claim(&recordings);
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| recordings.stop(&id).unwrap());
        await_no_session(&recordings);
        begin(&recordings, reserved);
        let stopped = stopping.join().unwrap();
        assert_eq!((&stopped.recording.id, stopped.recordings.len()), (&id, 1));
    });
    let stored = std::fs::read_to_string(dir.path().join(format!("rec_{id}.json"))).unwrap();
    assert!(stored.contains("127.0.0.1"), "it is the connection's recording, not an empty session's");
    assert!(sync::lock(&recordings.open).stopped.is_empty(), "what is complete is let go of");
}

/// Trap: a session that was off the list at once, so that the end of the server waited for none of its files.
#[test]
fn the_end_of_the_server_waits_for_a_stop_that_is_under_way() {
    let (dir, recordings, id) = opened();
    let reserved = claim(&recordings);
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| recordings.stop(&id));
        await_no_session(&recordings);
        let ended = recordings.end_all();
        assert_eq!(ended.tapes.iter().map(|tape| tape.id()).collect::<Vec<_>>(), [&id]);
        begin(&recordings, reserved);
        ended.finish(Instant::now() + Duration::from_secs(9));
        assert!(dir.path().join(format!("rec_{id}.json")).exists());
        assert_eq!(stopping.join().unwrap().unwrap().recordings.len(), 1);
    });
}

/// Trap: a follower who took the recording for ended before its last frames were in the file.
#[test]
fn a_follower_waits_for_the_file_of_a_stop_that_is_under_way() {
    for ends in [false, true] {
        let (_dir, recordings, id) = opened();
        let reserved = claim(&recordings);
        std::thread::scope(|scope| {
            let ending = scope.spawn(|| if ends { recordings.finish_all(Duration::from_secs(9)) } else { drop(recordings.stop(&id)) });
            await_no_session(&recordings);
            assert_eq!(recordings.wait_growth(&id, 0, Duration::ZERO), (0, true), "ends: {ends}");
            assert_eq!(recordings.stop(&id).unwrap_err().code(), "not_recording", "ends: {ends}");
            begin(&recordings, reserved);
            ending.join().unwrap();
            assert!(!recordings.wait_growth(&id, u64::MAX, Duration::ZERO).1, "ends: {ends}");
        });
    }
}

#[test]
fn a_second_stop_while_the_first_writes_is_told_so() {
    let (_dir, recordings, id) = opened();
    let reserved = claim(&recordings);
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| recordings.stop(&id));
        await_no_session(&recordings);
        let error = recordings.stop(&id[..12]).unwrap_err();
        assert_eq!(error.code(), "not_recording");
        assert_eq!(error.to_string(), format!("{id} is being stopped; its file is not complete yet"));
        begin(&recordings, reserved);
        stopping.join().unwrap().unwrap();
        let error = recordings.stop(&id).unwrap_err();
        assert_eq!(error.to_string(), format!("{id} is not being recorded; its status is complete"));
    });
}

#[test]
fn a_session_that_saw_nobody_is_known_until_its_recording_is_there() {
    let (dir, recordings, id) = opened();
    let session = recordings.take_session(&id).unwrap();
    let ended = recordings.end_all();
    ended.await_finished(Instant::now());
    assert!(!ended.tapes[0].is_finished());
    let stopped = recordings.finish_session(&session, Duration::from_secs(9)).unwrap();
    assert_eq!((stopped.recording.id.as_str(), stopped.recording.frame_count), (id.as_str(), 0));
    assert!(ended.tapes[0].is_finished() && dir.path().join(format!("rec_{id}.json")).exists());
}

/// Trap: a log that nobody takes holds up who writes a line, and all traffic asks for this lock.
#[test]
fn a_start_logs_when_it_has_given_its_lock_back() {
    static WATCHED: Mutex<Option<Arc<Recordings>>> = Mutex::new(None);
    static FREE: Mutex<Vec<bool>> = Mutex::new(Vec::new());
    struct Probe;
    impl log::Log for Probe {
        fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            if record.args().to_string().contains("/logged")
                && let Some(recordings) = &*sync::lock(&WATCHED)
            {
                sync::lock(&FREE).push(recordings.open.try_lock().is_ok());
            }
        }
        fn flush(&self) {}
    }
    let (_dir, recordings, id) = opened();
    let request = StartRequest { path: "/logged".into(), ..sync::lock(&recordings.open).sessions[0].request.clone() };
    assert_eq!(sync::lock(&recordings.open).sessions[0].id, id);
    let recordings = Arc::new(recordings);
    *sync::lock(&WATCHED) = Some(Arc::clone(&recordings));
    log::set_boxed_logger(Box::new(Probe)).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    recordings.start(request, |_, _| true).unwrap();
    log::set_max_level(log::LevelFilter::Off);
    assert_eq!(*sync::lock(&FREE), [true]);
}

/// Trap: the answer of a stop that named what is on the disk, and said nothing of the rest.
#[test]
fn a_stop_names_what_the_disk_did_not_take_in_time() {
    let (_dir, recordings, id) = opened();
    let [first, late] = [claim(&recordings), claim(&recordings)];
    let tape = begin(&recordings, first);
    let session = recordings.take_session(&id).unwrap();
    assert!(tape.wait_outcome(Duration::from_secs(60)).unwrap().is_ok());
    let stopped = recordings.finish_session(&session, Duration::from_millis(1)).unwrap();
    let told: Vec<_> =
        stopped.recordings.iter().map(|one| (one.id.as_str(), one.name.as_str(), one.status, one.status_reason.as_deref())).collect();
    let name = stopped.recording.name.as_str();
    let other = format!("{name} #2");
    assert_eq!(
        told,
        [(id.as_str(), name, Status::Complete, None), (late.tape.id(), other.as_str(), Status::Incomplete, Some("storage_error"))]
    );
}

/// Trap: recordings that could not be begun were in no answer; those that were late were said to be on the session's pattern, and to have
/// lasted until the stop gave up.
#[test]
fn a_stop_says_of_what_is_not_on_disk_what_is_known_of_it() {
    let (_dir, recordings, id) = opened();
    let session = Session::open(StartRequest { path: "/ws/*".into(), ..sync::lock(&recordings.open).sessions[0].request.clone() }, None);
    sync::lock(&recordings.open).sessions.push(session);
    let claim =
        |path: &str| recordings.claim(Protocol::WebSocket, Box::new(Metadata { path: path.into(), ..Metadata::default() })).unwrap();
    let [first, refused, late] = ["/ws/a", "/ws/b", "/ws/c"].map(claim);
    let tape = begin(&recordings, first);
    refused.tape.publish_outcome(Err(Error::StorageFull("the disk is full".to_owned())));
    let session = recordings.take_session(tape.id()).unwrap();
    assert!(tape.wait_outcome(Duration::from_secs(60)).unwrap().is_ok());
    let told = recordings.finish_session(&session, Duration::from_millis(1)).unwrap().recordings;
    let told: Vec<_> =
        told.iter().map(|one| (one.id.as_str(), one.path.as_str(), one.status_reason.as_deref(), one.duration.is_some())).collect();
    assert_eq!(
        told,
        [
            (tape.id(), "/ws/a", None, true),
            (refused.tape.id(), "/ws/b", Some("storage_full"), false),
            (late.tape.id(), "/ws/c", Some("storage_error"), false),
        ]
    );
    assert_ne!(tape.id(), id);
}

/// Trap: a follower who asks again and again for a file that never comes.
#[test]
fn nobody_waits_for_a_first_file_that_was_refused() {
    let (_dir, recordings, id) = opened();
    let reserved = claim(&recordings);
    assert!(recordings.wait_begun(&id, Duration::ZERO), "it is still to come");
    assert_eq!((recordings.waiting(&id).unwrap().head.id, recordings.all_waiting().len()), (id.clone(), 1));
    reserved.tape.publish_outcome(Err(Error::StorageFull("the disk is full".to_owned())));
    assert!(!recordings.wait_begun(&id, Duration::from_secs(9)));
    assert_eq!((recordings.waiting(&id).unwrap_err().status(), recordings.all_waiting().len()), (404, 0));
    assert_eq!(recordings.sessions().len(), 1, "it is open for the next connection");
}
