//! The way to a client without a session: what comes before the end, and what ends with it.

use std::io::Read;
use std::os::unix::net::UnixStream;

use super::*;

#[test]
fn a_head_that_found_no_room_comes_before_the_end() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let stream = Arc::new(Stream::Unix(near));
    let mut filled = 0;
    while let Ok(taken @ 1..) = stream.write_now(&[b'-'; 4096]) {
        filled += taken;
    }
    let mut line = Line::event_stream(Arc::clone(&stream), Duration::from_secs(9), b"HEAD".to_vec(), true, Box::new(|_| None));
    let mut head = line.deliver_head().unwrap();
    assert_eq!(head.go_on(), Progress::Full);
    line.give_up(&head);
    let reader = std::thread::spawn(move || {
        let mut got = Vec::new();
        far.read_to_end(&mut got).map(|_| got)
    });
    line.leave(&Over::Ours(Some((None, String::new()))), Vec::new());
    stream.shutdown();
    let got = reader.join().unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&got[filled..]), "HEAD0\r\n\r\n");
}

#[test]
fn a_recording_ends_with_its_line() {
    let (near, _far) = UnixStream::pair().unwrap();
    let tape = Arc::new(Tape::new("x".to_owned()));
    let line = Line::websocket(Arc::new(Stream::Unix(near)), Duration::from_secs(1), Some(Arc::clone(&tape)));
    assert!(tape.is_open());
    drop(line);
    assert!(!tape.is_open(), "also where its thread failed");
}

/// Trap: what a client takes late, or never, was recorded after the wait for it.
#[test]
fn the_end_of_a_stream_is_recorded_before_its_client_is_waited_for() {
    let recorded_first = || {
        let (near, far) = UnixStream::pair().unwrap();
        let stream = Arc::new(Stream::Unix(near));
        while let Ok(1..) = stream.write_now(&[b'-'; 4096]) {}
        let tape = Arc::new(Tape::new("x".to_owned()));
        let mut line = Line::websocket(stream, Duration::from_secs(9), Some(Arc::clone(&tape)));
        let leaving = std::thread::spawn(move || line.leave(&Over::Ours(Some((Some(1000), String::new()))), Vec::new()));
        let mut stretch = crate::engine::stretch::Stretch::default();
        while tape.is_open() && stretch.reads.entries.is_empty() {
            std::thread::yield_now();
            tape.take(&mut stretch);
        }
        let is_first = !stretch.reads.entries.is_empty() && stretch.end.is_none() && !leaving.is_finished();
        drop(far);
        leaving.join().unwrap();
        is_first
    };
    // The wait is a second, in which a busy machine may not look once.
    assert!((0..5).any(|_| recorded_first()));
}

/// Trap: a panic between a stamp and its push left the recording unfinished for ever.
#[test]
fn a_delivery_that_is_never_made_does_not_keep_the_recording_open() {
    let (near, _far) = UnixStream::pair().unwrap();
    let tape = Arc::new(Tape::new("x".to_owned()));
    let line = Line::websocket(Arc::new(Stream::Unix(near)), Duration::from_secs(1), Some(Arc::clone(&tape)));
    drop(line.deliver(b"never"));
    drop(line);
    let mut stretch = crate::engine::stretch::Stretch::default();
    tape.take(&mut stretch);
    assert!(matches!(stretch.end, Some((End::CutShort("server_failed"), _))), "{:?}", stretch.end);
}
