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
