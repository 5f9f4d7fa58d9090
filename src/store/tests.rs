//! The store as its users see it: several of them on one directory, as a server and commands are.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Store;
use super::testing::{age, frame, put, sample, sse_sample, text_of};
use crate::base::error::Error;
use crate::model::api::{Edit, ListQuery, Summary};
use crate::model::recording::Status;
use crate::model::recording_text;

fn store(dir: &Path) -> Store {
    Store::new(dir.to_owned(), 1 << 20, 80)
}

fn list(store: &Store) -> Vec<Summary> {
    store.list(&ListQuery { include_deleted: true, ..ListQuery::default() }).unwrap().recordings
}

fn line(number: usize) -> Vec<u8> {
    let mut line = Vec::new();
    recording_text::push_frame_line(&mut line, &frame(number), number == 0).unwrap();
    line
}

#[test]
fn a_recording_that_got_its_file_a_moment_ago_is_listed_once() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), &sample("01AAAAAA", 2));
    let store = store(root.path());
    let file = list(&store).remove(0);
    let waiting = [Summary { frame_count: 0, ..file.clone() }, Summary { id: "01BBBBBB".to_owned(), ..file }];
    let page = store.list_with(&ListQuery::default(), &waiting).unwrap();
    let rows: Vec<(&str, u64)> = page.recordings.iter().map(|row| (row.id.as_str(), row.frame_count)).collect();
    assert_eq!((rows, page.total), (vec![("01BBBBBB", 2), ("01AAAAAA", 2)], 2));
}

#[test]
fn a_directory_that_is_not_there_is_an_empty_store_and_stays_away() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("none");
    let store = store(&dir);
    assert_eq!(store.list(&ListQuery::default()).unwrap().total, 0);
    assert_eq!(store.stats().unwrap().used_bytes, 0);
    assert!(store.recover().unwrap().is_empty());
    assert_eq!(store.vacuum().unwrap().removed, 0);
    assert_eq!(store.check_room(), Ok(None));
    assert!(matches!(store.resolve("01AAAAAA"), Err(Error::NotFound { .. })));
    for result in [store.delete("01AAAAAA"), store.delete_permanently("01AAAAAA"), store.restore("01AAAAAA").map(drop)] {
        assert!(matches!(result, Err(Error::NotFound { .. })));
    }
    assert!(!dir.exists());
    store.ensure_dir().unwrap();
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn a_list_in_another_process_shows_a_running_journal_as_recording() {
    let dir = tempfile::tempdir().unwrap();
    let (server, command) = (store(dir.path()), store(dir.path()));
    let whole = sample("01AAAAAA", 2);
    let mut journal = server.create(&whole.head).unwrap();
    for number in 0..2 {
        journal.append(&line(number)).unwrap();
        assert!(command.recover().unwrap().is_empty());
        let listed = list(&command);
        assert_eq!((listed[0].status, listed[0].frame_count), (Status::Recording, number as u64 + 1));
        assert_eq!(listed[0].file_size_bytes, journal.len());
        assert_eq!(listed, list(&server));
        assert_eq!(command.summary("01AAAAAA").unwrap(), listed[0]);
    }
    assert_eq!(command.resolve("01aaaa").unwrap(), "01AAAAAA");
    let edit = Edit { name: Some("x".to_owned()), ..Edit::default() };
    for result in [command.delete("01AAAAAA"), server.delete_permanently("01AAAAAA"), command.edit("01AAAAAA", &edit).map(drop)] {
        assert!(matches!(result, Err(Error::Conflict { code: "still_recording", .. })));
    }
    assert!(matches!(command.restore("01AAAAAA"), Err(Error::Conflict { code: "not_deleted", .. })));
    let summary = journal.close(&whole.tail).and_then(|()| journal.finish()).unwrap();
    assert_eq!(list(&command), std::slice::from_ref(&summary));
    assert_eq!(list(&server), [summary]);
}

#[test]
fn a_leftover_is_listed_as_what_it_will_be() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    for id in ["01AAAAAA", "01BBBBBB", "01CCCCCC"] {
        let mut journal = store.create(&sample(id, 0).head).unwrap();
        journal.append(&line(0)).unwrap();
    }
    for summary in list(&store) {
        assert_eq!((summary.status, summary.status_reason.as_deref(), summary.frame_count), (Status::Incomplete, Some("crashed"), 1));
    }
    // What changes a leftover recovers it first.
    store.delete("01AAAAAA").unwrap();
    assert_eq!(store.edit("01BBBBBB", &Edit { name: Some("kept".to_owned()), ..Edit::default() }).unwrap().name, "kept");
    assert_eq!(store.recover().unwrap(), ["01CCCCCC"]);
    assert_eq!(store.restore("01AAAAAA").unwrap().status, Status::Incomplete);
    assert_eq!(list(&store).len(), 3);
}

/// Trap: what had gone until then was still counted, and refused others.
#[test]
fn a_vacuum_that_fails_half_way_has_the_directory_measured_again() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    put(root.path(), &sample("01AAAAAA", 2));
    store.delete("01AAAAAA").unwrap();
    // What a killed import left, one of whose names is taken.
    let made = root.path().join(".ready-01ARZ3NDEKTSV4RRFFQ69G5FAV");
    std::fs::create_dir(&made).unwrap();
    put(&made, &sample("01BBBBBB", 2));
    std::fs::create_dir(root.path().join("rec_01BBBBBB.json")).unwrap();
    store.measure();
    assert!(!store.is_measuring_due());
    assert!(matches!(store.vacuum(), Err(Error::Storage { .. })));
    assert!(!root.path().join("rec_01AAAAAA.json.deleted").exists() && store.is_measuring_due());
}

#[test]
fn delete_restore_and_vacuum() {
    let dir = tempfile::tempdir().unwrap();
    let (store, other) = (store(dir.path()), store(dir.path()));
    let saved = store.save(&sample("01AAAAAA", 3)).unwrap();
    store.save(&sse_sample("01BBBBBB", 3)).unwrap();
    assert!(matches!(store.save(&sample("01AAAAAA", 3)), Err(Error::Conflict { code: "already_exists", .. })));
    assert_eq!(std::fs::metadata(dir.path().join("rec_01AAAAAA.json")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(other.summary("01AAAAAA").unwrap(), saved);

    store.delete("01AAAAAA").unwrap();
    assert!(matches!(other.delete("01AAAAAA"), Err(Error::NotFound { .. })));
    assert_eq!(other.list(&ListQuery::default()).unwrap().total, 1);
    assert!(other.summary("01AAAAAA").unwrap().deleted);
    assert_eq!(other.resolve("01AAAA").unwrap(), "01AAAAAA");
    let mut text = Vec::new();
    other.open("01AAAAAA").unwrap().write_to(&mut text).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap()["deleted"], true);
    assert!(matches!(other.edit("01AAAAAA", &Edit::default()), Err(Error::NotFound { .. })));
    let stats = other.stats().unwrap();
    assert_eq!((stats.recording_count, stats.deleted_count, stats.deleted_bytes), (1, 1, saved.file_size_bytes));
    assert_eq!(other.restore("01AAAAAA").unwrap(), saved);
    assert!(matches!(store.restore("01AAAAAA"), Err(Error::Conflict { code: "not_deleted", .. })));

    store.delete("01AAAAAA").unwrap();
    let left_temp = dir.path().join(".rec_01AAAAAA.0123456789abcdef.tmp");
    let held_temp = dir.path().join(".rec_01AAAAAA.fedcba9876543210.tmp");
    let foreign = dir.path().join(".rec_notes.tmp");
    for path in [&left_temp, &held_temp, &foreign] {
        std::fs::write(path, "12345").unwrap();
    }
    let held = std::fs::File::open(&held_temp).unwrap();
    held.lock().unwrap();
    let vacuumed = other.vacuum().unwrap();
    assert_eq!((vacuumed.removed, vacuumed.freed_bytes), (1, saved.file_size_bytes + 5));
    assert!(!left_temp.exists() && held_temp.exists() && foreign.exists());
    assert!(matches!(store.summary("01AAAAAA"), Err(Error::NotFound { .. })));
    store.delete("01BBBBBB").unwrap();
    store.delete_permanently("01BBBBBB").unwrap();
    assert!(list(&store).is_empty());
}

#[test]
fn a_corrupted_file_is_listed_and_never_deleted_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let ulid = "01HXYZ12345678ABCDEFGHJKMN";
    std::fs::write(dir.path().join(format!("rec_{ulid}.json")), "{ torn").unwrap();
    std::fs::write(dir.path().join("rec_noulid.json"), "").unwrap();
    store.vacuum().unwrap();
    let listed = list(&store);
    assert_eq!(listed.len(), 2);
    for summary in &listed {
        assert_eq!((summary.status, summary.protocol, summary.path.as_str()), (Status::Corrupted, None, ""));
        assert!(summary.status_reason.is_some() && !summary.start_time.is_empty());
    }
    assert!(store.summary(ulid).unwrap().start_time.starts_with("2024-05-"));
    let edit = Edit { name: Some("x".to_owned()), ..Edit::default() };
    assert!(matches!(store.edit(ulid, &edit), Err(Error::Conflict { code: "corrupted", .. })));
    store.delete(ulid).unwrap();
    assert!(store.summary(ulid).unwrap().deleted);
    store.restore(ulid).unwrap();
    assert_eq!(std::fs::read(dir.path().join(format!("rec_{ulid}.json"))).unwrap(), b"{ torn");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count(), 2);
}

#[test]
fn a_file_that_breaks_in_place_is_seen_at_the_next_list() {
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), &sample("01AAAAAA", 5));
    age(&path);
    let store = store(dir.path());
    assert_eq!(list(&store)[0].status, Status::Complete);
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(300).unwrap();
    assert_eq!(list(&store)[0].status, Status::Corrupted);
    assert_eq!(list(&self::store(dir.path()))[0].status, Status::Corrupted);
}

/// On whichever page a file is that somebody writes in place while the directory stays as it is.
#[test]
fn a_page_shows_what_its_files_say() {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..6).map(|number| put(dir.path(), &sample(&format!("01AAAA{number:02}"), 1))).collect();
    paths.iter().for_each(|path| age(path));
    std::thread::sleep(std::time::Duration::from_millis(70));
    let store = store(dir.path());
    let names = |offset: u64| {
        let query = ListQuery { limit: Some(2), offset, ascending: true, ..ListQuery::default() };
        let page = store.list(&query).unwrap();
        assert_eq!((page.total, page.recordings.len()), (6, 2));
        page.recordings.into_iter().map(|summary| summary.name).collect::<Vec<_>>()
    };
    for round in 0..3 {
        for (number, path) in paths.iter().enumerate() {
            let text = std::fs::read_to_string(path).unwrap();
            let (old, new) = if round % 2 == 0 { ("chat-", "talk-") } else { ("talk-", "chat-") };
            std::fs::write(path, text.replace(old, new)).unwrap();
            let shown = names(number as u64 / 2 * 2);
            assert!(shown[number % 2].starts_with(new), "{round} {number}: {shown:?}");
        }
    }
}

#[test]
fn a_list_works_where_the_index_and_the_lock_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    age(&put(dir.path(), &sample("01AAAAAA", 5)));
    let head = recording_text::head_line(&sample("01BBBBBB", 0).head).unwrap();
    std::fs::write(dir.path().join("rec_01BBBBBB.journal"), head).unwrap();
    // A plain file in the place of the sub-directory stands for a directory that cannot be written.
    std::fs::write(dir.path().join(".index"), "").unwrap();
    let store = store(dir.path());
    assert!(store.recover().unwrap().is_empty());
    for _ in 0..2 {
        assert_eq!(list(&store).len(), 2);
    }
    assert_eq!(store.stats().unwrap().recording_count, 2);
    assert!(matches!(store.delete("01AAAAAA"), Err(Error::Storage { .. })));
}

#[test]
fn short_ids_printed_by_list_are_taken_and_ambiguous_ones_name_their_candidates() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    for id in ["01HXYZ0001", "01HXYZ0002", "01HABC0001"] {
        store.save(&sample(id, 1)).unwrap();
    }
    store.delete("01HXYZ0002").unwrap();
    assert_eq!(store.resolve("01HABC").unwrap(), "01HABC0001");
    assert_eq!(store.resolve("01HXYZ0001").unwrap(), "01HXYZ0001");
    let Err(Error::Ambiguous { candidates, .. }) = store.resolve("01HXYZ") else { panic!() };
    assert_eq!(candidates, ["01HXYZ0001", "01HXYZ0002"]);
    assert!(matches!(store.resolve("01HX"), Err(Error::Invalid { .. })));
}

#[test]
fn other_files_are_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    for name in ["notes.json", "rec_x.json", "rec_01AAAAAA.json.bak", "recording.journal"] {
        std::fs::write(dir.path().join(name), "mine").unwrap();
    }
    std::fs::create_dir(dir.path().join("rec_01BBBBBB.json")).unwrap();
    store.recover().unwrap();
    store.vacuum().unwrap();
    assert!(list(&store).is_empty());
    assert_eq!(store.stats().unwrap().used_bytes, 0);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 6);
}

#[test]
fn the_store_is_full_at_its_limit_until_there_is_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let size = text_of(&sample("01AAAAAA", 3)).len() as u64;
    let store = Store::new(dir.path().to_owned(), size * 10 / 8, 79);
    store.save(&sample("01AAAAAA", 3)).unwrap();
    assert!(store.check_room().unwrap().unwrap().starts_with("80."));
    assert!(matches!(store.save(&sample("01BBBBBB", 3)), Err(Error::StorageFull(_))));
    assert!(matches!(store.create(&sample("01BBBBBB", 3).head), Err(Error::StorageFull(_))));
    assert!(matches!(store.check_room(), Err(Error::StorageFull(_))), "nobody has made room since");
    assert!(store.stats().unwrap().warning.unwrap().contains("% of "));
    assert_eq!(list(&store).len(), 1);
    // Another process makes room.
    let other = self::store(dir.path());
    other.delete("01AAAAAA").unwrap();
    assert!(matches!(store.save(&sample("01BBBBBB", 3)), Err(Error::StorageFull(_))));
    other.vacuum().unwrap();
    assert_eq!(store.check_room(), Ok(None));
    store.save(&sample("01BBBBBB", 3)).unwrap();
}

#[test]
fn a_reader_goes_on_while_the_recording_is_edited_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let recording = sample("01AAAAAA", 50);
    store.save(&recording).unwrap();
    let reader = store.open("01AAAAAA").unwrap();
    let mut frames = reader.frames().unwrap();
    let mut seen = vec![frames.next().unwrap().unwrap()];
    let edited = store.edit("01AAAAAA", &Edit { name: Some("much longer than before".repeat(9)), ..Edit::default() }).unwrap();
    assert_eq!(list(&store), std::slice::from_ref(&edited));
    assert_eq!(edited.file_size_bytes, std::fs::metadata(dir.path().join("rec_01AAAAAA.json")).unwrap().len());
    store.delete_permanently("01AAAAAA").unwrap();
    seen.extend(frames.map(|frame| frame.unwrap()));
    assert_eq!(seen, recording.frames);
}

#[test]
fn many_threads_and_stores_on_one_directory_agree() {
    let dir = tempfile::tempdir().unwrap();
    let shared = store(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let shared = &shared;
            scope.spawn(move || {
                for number in 0..8 {
                    let id = format!("01AAAA{thread}{number}");
                    let whole = sample(&id, 3);
                    let mut journal = shared.create(&whole.head).unwrap();
                    (0..3).for_each(|number| journal.append(&line(number)).unwrap());
                    journal.close(&whole.tail).and_then(|()| journal.finish()).unwrap();
                    assert_eq!(shared.summary(&id).unwrap().status, Status::Complete);
                }
            });
        }
        scope.spawn(|| {
            let command = store(dir.path());
            for _ in 0..50 {
                assert!(command.recover().unwrap().is_empty());
                for summary in list(&command) {
                    assert!(matches!(summary.status, Status::Recording | Status::Complete), "{summary:?}");
                }
            }
        });
    });
    assert_eq!(list(&shared).len(), 32);
}

/// Trap: the one thread that finishes recordings, with many to finish late, and a process that keeps the lock.
#[test]
fn who_finishes_late_does_not_wait_for_the_lock_of_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let whole = sample("01AAAAAA", 2);
    let store = store(dir.path());
    drop(store.create(&whole.head).unwrap());
    let kept = super::lock::DirLock::acquire(dir.path()).unwrap();
    let begun = std::time::Instant::now();
    assert!(store.finish_late("01AAAAAA", &whole.tail).is_err());
    assert!(begun.elapsed().as_millis() < u128::from(crate::base::limits::DIR_LOCK_MS / 2));
    drop(kept);
    assert_eq!(store.finish_late("01AAAAAA", &whole.tail), Ok(true));
}

#[test]
fn the_row_of_a_leftover_says_when_it_ended_as_the_recording_does() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let whole = sample("01AAAAAA", 3);
    let mut journal = store.create(&whole.head).unwrap();
    (0..3).for_each(|number| journal.append(&line(number)).unwrap());
    let running = list(&store).remove(0);
    assert_eq!((running.end_time, running.duration), (None, None));
    drop(journal);
    let row = list(&store).remove(0);
    let tail = store.open("01AAAAAA").unwrap().tail;
    assert_eq!((row.status, &row.end_time, row.duration), (Status::Incomplete, &tail.end_time, tail.duration));
    assert_eq!(row.duration, Some(2));
    assert_eq!(store.summary("01AAAAAA").unwrap(), row);
}
