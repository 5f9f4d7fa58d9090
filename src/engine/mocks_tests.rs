//! The registry's own tests: what a load changes and leaves, ids, and connections that are counted.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::base::limits;
use crate::model::mock::MockSource;

/// The mocks of a config file.
fn config(values: &[Value]) -> Vec<Mock> {
    let source = |index: usize| MockSource { file: Some(PathBuf::from("mockd.yaml")), place: format!("mocks[{index}]") };
    values.iter().enumerate().map(|(index, value)| Mock::from_json(value, source(index)).unwrap()).collect()
}

fn of_api(value: &Value) -> Mock {
    Mock::from_json(value, MockSource::default()).unwrap()
}

fn socket(id: &str, path: &str) -> Value {
    json!({"id": id, "websocket": {"path": path, "maxConnections": 1}})
}

fn registry() -> Mocks {
    let store = Store::new(PathBuf::from("/nowhere"), 1, 80);
    Mocks::new(Arc::new(store), limits::MAX_MESSAGE_BYTES)
}

fn ids(mocks: &Mocks) -> Vec<String> {
    mocks.list().iter().map(|shown| shown.value()["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_load_takes_the_place_of_the_one_before_and_leaves_the_mocks_of_the_api() {
    let mocks = registry();
    mocks.load(config(&[socket("a", "/a"), socket("b", "/b")])).unwrap();
    mocks.add(of_api(&socket("api", "/api"))).unwrap();
    mocks.load(config(&[socket("c", "/c"), socket("a", "/a2")])).unwrap();
    assert_eq!(ids(&mocks), ["c", "a", "api"]);
    assert!(
        mocks.serves(Protocol::WebSocket, "/a2")
            && mocks.serves(Protocol::WebSocket, "/a*")
            && !mocks.serves(Protocol::WebSocket, "/a")
            && !mocks.serves(Protocol::WebSocket, "/b")
    );
    assert!(!mocks.serves(Protocol::Sse, "/a2"));
    mocks.load(Vec::new()).unwrap();
    assert_eq!(ids(&mocks), ["api"]);
}

#[test]
fn a_load_that_fails_leaves_all_as_it_was() {
    let mocks = registry();
    mocks.load(config(&[socket("a", "/a")])).unwrap();
    mocks.add(of_api(&socket("api", "/api"))).unwrap();
    for (second, place, words) in [
        (json!({"websocket": {"replay": {"recording": "none.json"}}}), "mocks[1].websocket.replay.recording", "none.json"),
        (json!({"http": {"replay": {"recording": "01ZZZZZZZZ"}}}), "mocks[1].http.replay.recording", "01ZZZZZZZZ"),
        (json!({"type": "http", "replay": {"recording": "x"}}), "mocks[1].replay.recording", "at least 6 characters"),
        (socket("api", "/x"), "mocks[1].id", "came over the API"),
        (socket("new", "/x"), "mocks[1].id", "another mock of the config"),
        (json!({"websocket": {"path": "/", "maxMessageSize": 67_108_865}}), "mocks[1].websocket.maxMessageSize", "67108864"),
    ] {
        let error = mocks.load(config(&[socket("new", "/new"), second])).unwrap_err();
        let Error::File { path, place: at, message } = &error else { panic!("{error:?}") };
        assert_eq!((path, at.as_str()), (&PathBuf::from("mockd.yaml"), place));
        assert!(message.contains(words), "{message}");
        assert_eq!(ids(&mocks), ["a", "api"]);
    }
}

#[test]
fn ids_are_whole_or_a_prefix_and_taken_once() {
    let mocks = registry();
    for id in ["a", "chat.v1", "chat.v1-old", "chat.v2-old"] {
        mocks.add(of_api(&socket(id, "/a"))).unwrap();
    }
    assert!(matches!(mocks.add(of_api(&socket("a", "/b"))), Err(Error::Conflict { code: "already_exists", .. })));
    assert_eq!(mocks.view("chat.v1").unwrap().value()["id"], "chat.v1");
    assert_eq!(mocks.view("chat.v1-").unwrap().value()["id"], "chat.v1-old");
    assert!(matches!(mocks.view("chat.v"), Err(Error::Ambiguous { candidates, .. }) if candidates.len() == 3));
    assert!(matches!(mocks.remove("b"), Err(Error::NotFound { kind: "mock", .. })));
    mocks.remove("a").unwrap();
    mocks.remove("chat.v2").unwrap();
    assert_eq!(ids(&mocks), ["chat.v1", "chat.v1-old"]);
}

#[test]
fn over_the_api_a_recording_has_no_file_name() {
    let mocks = registry();
    for name in ["/etc/passwd", "../x", "a.json", "./01ZZZZZZZZ"] {
        let mock = of_api(&json!({"websocket": {"replay": {"recording": name}}}));
        let error = mocks.add(mock).unwrap_err();
        assert!(
            matches!(&error, Error::Invalid { place, message } if place == "websocket.replay.recording" && message.contains("by its id")),
            "{error}"
        );
    }
}

#[test]
fn connections_are_counted_through_a_load() {
    let mocks = registry();
    mocks.load(config(&[socket("a", "/a")])).unwrap();
    let live = |mocks: &Mocks| Arc::clone(&mocks.all()[0]);
    let guest = live(&mocks).admit().unwrap();
    assert!(live(&mocks).admit().is_none());
    mocks.load(config(&[socket("a", "/a")])).unwrap();
    assert!(live(&mocks).admit().is_none());
    drop(guest);
    assert!(live(&mocks).admit().is_some());
}

#[test]
fn a_mock_without_an_id_is_the_same_one_after_a_load() {
    let mocks = registry();
    let nameless = |path: &str| json!({"websocket": {"path": path, "maxConnections": 1}});
    mocks.load(config(&[nameless("/a"), nameless("/b"), nameless("/b")])).unwrap();
    let before = ids(&mocks);
    let guest = mocks.all()[0].admit().unwrap();
    mocks.load(config(&[nameless("/new"), nameless("/b"), nameless("/b"), nameless("/a")])).unwrap();
    let after = ids(&mocks);
    assert_eq!(after[1..], [before[1].clone(), before[2].clone(), before[0].clone()], "wherever it stands");
    assert!(!before.contains(&after[0]));
    let same = Arc::clone(&mocks.all()[3]);
    assert_eq!(same.mock.shown.value()["id"], *before[0]);
    assert!(same.admit().is_none(), "its connection counts on");
    drop(guest);
    assert!(same.admit().is_some());
    // What was changed is another mock, and so is one with an id that happens to be written like that.
    mocks.load(config(&[nameless("/a2"), socket("a", "/a")])).unwrap();
    assert!(ids(&mocks).iter().all(|id| !after.contains(id)));
}

#[test]
fn a_mock_that_is_not_enabled_is_shown_and_serves_nothing() {
    let mocks = registry();
    mocks.load(config(&[json!({"id": "off", "enabled": false, "websocket": {"path": "/a"}})])).unwrap();
    assert_eq!(mocks.list()[0].value()["enabled"], false);
    assert!(!mocks.serves(Protocol::WebSocket, "/a"));
    assert_eq!(mocks.served(), 0);
}
