//! A config file's text, JSON or YAML, read into changes of [`Settings`]. It is given the text: it opens no file and reads no environment.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::api::check_path;
use super::fields::{Fields, wrong_at};
use super::long_lists::LongLists;
use super::mock::{Mock, MockSource};
use super::settings::{SETTINGS, Settings, UpstreamSetting};
use super::syntax;
use crate::base::error::{Error, Result};
use crate::wire::url::UpstreamUrl;

/// The version of the format.
pub const VERSION: &str = "1.0";

/// Reads the text of the file at `path` and adds it to `settings`, which stay as they are where anything is wrong with it.
/// What the file gives wins over what was there; an upstream takes the place of one of the same path of an earlier file, a mock
/// that of one of the same id.
///
/// # Errors
/// [`Error::File`] that names the file, the place in it, the value and what is allowed; for syntax the line and column.
pub fn read_into(settings: &mut Settings, path: &Path, text: &str) -> Result<()> {
    let (mut value, lists) = syntax::parse(path, text, &[&["mocks"]])?;
    // The mocks may be most of a large file: they are moved, and never copied.
    let mocks = value.as_object_mut().and_then(|map| map.get_mut("mocks")).map(Value::take);
    let known = std::mem::take(&mut settings.mocks);
    let mut changed = settings.clone();
    let directory = path.parent().unwrap_or(Path::new(""));
    let read = apply(&mut changed, &value, directory).and_then(|()| read_mocks(path, mocks, &lists));
    settings.mocks = known;
    let added = read.map_err(|error| match error {
        Error::Invalid { place, message } => Error::file(path, place, message),
        other => other,
    })?;
    changed.mocks = std::mem::take(&mut settings.mocks);
    replace_mocks(&mut changed.mocks, added);
    *settings = changed;
    Ok(())
}

fn apply(settings: &mut Settings, value: &Value, directory: &Path) -> Result<()> {
    let mut fields = Fields::of(value, "")?;
    if let Some(version) = fields.value("version") {
        // Unquoted, YAML reads 1.0 as a number.
        let known = version.as_str() == Some(VERSION) || version.as_f64() == Some(1.0);
        if !known {
            return Err(fields.wrong("version", version, &format!("{VERSION:?}")));
        }
    }
    for section in ["server", "recording"] {
        if let Some(value) = fields.value(section) {
            apply_section(settings, section, value, directory)?;
        }
    }
    if let Some(value) = fields.value("upstreams") {
        add_upstreams(settings, value)?;
    }
    // Taken out before, and read after everything else.
    fields.value("mocks");
    fields.finish()
}

fn apply_section(settings: &mut Settings, section: &'static str, value: &Value, directory: &Path) -> Result<()> {
    let mut fields = Fields::of(value, section)?;
    for setting in SETTINGS.iter().filter(|setting| setting.section() == section) {
        if let Some(value) = fields.value(setting.field()) {
            setting.set_json(settings, setting.key, value, directory)?;
        }
    }
    fields.finish()
}

fn add_upstreams(settings: &mut Settings, value: &Value) -> Result<()> {
    let Some(items) = value.as_array() else {
        return Err(Error::invalid("upstreams", "this must be a list of {path, url, origin}"));
    };
    let added = items.iter().enumerate().map(|(index, item)| read_upstream(index, item)).collect::<Result<Vec<_>>>()?;
    settings.upstreams.retain(|known| added.iter().all(|new| new.path != known.path));
    settings.upstreams.extend(added);
    Ok(())
}

fn read_upstream(index: usize, value: &Value) -> Result<UpstreamSetting> {
    let mut fields = Fields::of(value, format!("upstreams[{index}]"))?;
    let path = fields.required_string("path");
    let url = fields.required_string("url");
    let origin = fields.string("origin")?;
    let (path_place, url_place) = (fields.place_of("path"), fields.place_of("url"));
    // An unknown field is told first: `pth` explains a missing `path`.
    fields.finish()?;
    let upstream = UpstreamSetting { path: path?, url: url?, origin };
    check_path(&path_place, &upstream.path)?;
    UpstreamUrl::parse(&url_place, &upstream.url)?;
    Ok(upstream)
}

/// The mocks of a file: still text, or values already.
fn read_mocks(path: &Path, value: Option<Value>, lists: &LongLists<'_>) -> Result<Vec<Mock>> {
    let source = |index: usize| MockSource { file: Some(path.to_owned()), place: format!("mocks[{index}]") };
    let mocks: Vec<Mock> = match (lists.texts("mocks")?, value) {
        (Some(texts), _) => {
            let texts = texts.into_iter().enumerate();
            texts.map(|(index, text)| Mock::from_text(lists.whole(), text, source(index))).collect::<Result<_>>()?
        }
        (None, None | Some(Value::Null)) => Vec::new(),
        (None, Some(Value::Array(items))) => {
            let items = items.into_iter().enumerate();
            items.map(|(index, item)| Mock::from_value(item, source(index))).collect::<Result<_>>()?
        }
        (None, Some(other)) => return Err(wrong_at("mocks".to_owned(), &other, "a list of mocks")),
    };
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (index, mock) in mocks.iter().enumerate() {
        if let Some(first) = places.insert(&mock.id, index) {
            return Err(Error::invalid(format!("mocks[{index}].id"), format!("{:?} is the id of mocks[{first}] too", mock.id)));
        }
    }
    Ok(mocks)
}

/// Adds mocks; one with a known id takes the place of the known one.
fn replace_mocks(known: &mut Vec<Mock>, added: Vec<Mock>) {
    let places: HashMap<String, usize> = known.iter().enumerate().map(|(index, mock)| (mock.id.clone(), index)).collect();
    for mock in added {
        match places.get(&mock.id) {
            Some(&index) => known[index] = mock,
            None => known.push(mock),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::base::log::Format;

    fn read(name: &str, text: &str) -> Result<Settings> {
        let mut settings = Settings::default();
        read_into(&mut settings, Path::new(name), text).map(|()| settings)
    }

    fn error(name: &str, text: &str) -> String {
        read(name, text).unwrap_err().to_string()
    }

    #[test]
    fn yaml_and_json_give_the_same() {
        let yaml = "version: 1.0\nserver:\n  port: 0\n  logFormat: json\n  record: true\nrecording:\n  dataDir: ~/recs\n  maxBytes: 1MiB\n  filterHeaders:\n    - X-Secret\n";
        let json = r#"{"version":"1.0","server":{"port":0,"logFormat":"json","record":"/*"},
            "recording":{"dataDir":"~/recs","maxBytes":1048576,"filterHeaders":["X-Secret"]}}"#;
        let settings = read("mockd.yaml", yaml).unwrap();
        assert_eq!(settings, read("c.json", json).unwrap());
        assert_eq!(settings, read("config", json).unwrap());
        assert_eq!((settings.port, settings.max_bytes, settings.log_format), (0, 1 << 20, Format::Json));
        assert_eq!(settings.data_dir, Some(PathBuf::from("~/recs")));
        assert_eq!(settings.filter_headers, ["X-Secret"]);
        assert_eq!(settings.record.as_deref(), Some("/*"));
    }

    #[test]
    fn empty_files_change_nothing() {
        for text in ["", "\n", "# a comment\n", "server:\nrecording:\nupstreams:\n", "{}", "\u{feff}{}"] {
            assert_eq!(read("mockd.yaml", text).unwrap(), Settings::default(), "{text:?}");
        }
    }

    #[test]
    fn relative_paths_are_those_of_the_file() {
        let settings = read("conf/c.yaml", "recording: {dataDir: recs}\nserver: {upstreamCa: /etc/ca.pem}").unwrap();
        assert_eq!(settings.data_dir, Some(PathBuf::from("conf/recs")));
        assert_eq!(settings.upstream_ca, Some(PathBuf::from("/etc/ca.pem")));
    }

    #[test]
    fn errors_name_file_place_value_and_what_is_allowed() {
        for (text, expected) in [
            ("server: {port: 70000}", "c.yaml: server.port: this must be a port from 0 to 65535, it is 70000"),
            ("server: {prot: 1}", "c.yaml: server.prot: there is no such field; did you mean \"port\"?"),
            ("recroding: {}", "c.yaml: recroding: there is no such field; did you mean \"recording\"?"),
            ("version: 2", "c.yaml: version: this must be \"1.0\", it is 2"),
            ("server: 5", "c.yaml: server: this must be an object, it is 5"),
            ("[]", "c.yaml: this must be an object, it is an array"),
            ("recording: {filterHeaders: Cookie}", "c.yaml: recording.filterHeaders: this must be a list of strings, it is \"Cookie\""),
            ("upstreams: {}", "c.yaml: upstreams: this must be a list of {path, url, origin}"),
            ("upstreams: [{pth: /x, url: 'http://a'}]", "c.yaml: upstreams[0].pth: there is no such field; did you mean \"path\"?"),
            ("upstreams: [{path: /x}]", "c.yaml: upstreams[0].url: this field must be given"),
        ] {
            assert_eq!(error("c.yaml", text), expected);
        }
    }

    #[test]
    fn upstreams_of_later_files_are_added_and_win() {
        let mut settings =
            read("a.yaml", "upstreams: [{path: /a, url: 'ws://one'}, {path: /b, url: 'http://two', origin: 'http://o'}]").unwrap();
        read_into(&mut settings, Path::new("b.yaml"), "upstreams: [{path: /a, url: 'ws://three'}, {path: '/*', url: 'https://four/x'}]")
            .unwrap();
        let known: Vec<(&str, &str)> = settings.upstreams.iter().map(|one| (one.path.as_str(), one.url.as_str())).collect();
        assert_eq!(known, [("/b", "http://two"), ("/a", "ws://three"), ("/*", "https://four/x")]);
        assert_eq!(settings.upstreams[0].origin.as_deref(), Some("http://o"));
        for (text, place) in [
            ("upstreams: [{path: a, url: 'http://a'}]", "upstreams[0].path"),
            ("upstreams: [{path: /a, url: 'http://a'}, {path: /b, url: 'ftp://a'}]", "upstreams[1].url"),
            ("server: {upstream: nowhere}", "server.upstream"),
        ] {
            let before = settings.clone();
            let error = read_into(&mut settings, Path::new("c.yaml"), text).unwrap_err();
            assert!(matches!(&error, Error::File { place: at, .. } if at == place), "{error}");
            assert_eq!(settings, before, "a broken file changes nothing");
        }
    }

    #[test]
    fn syntax_errors_name_line_and_column() {
        let text = error("c.json", "{\n  \"server\": {,}\n}");
        assert!(text.starts_with("c.json: line 2 column 14: this is no JSON that mockd can read: "), "{text}");
        let text = error("c.yaml", "server:\n  port: [1\n");
        assert!(text.starts_with("c.yaml: line 3 column 1: this is no YAML"), "{text}");
        assert!(!text[30..].contains("line"), "{text}");
    }

    #[test]
    fn mocks_of_later_files_are_added_and_win() {
        let mut settings = read("a.yaml", "mocks: [{id: one, websocket: {path: /1}}, {id: two, websocket: {path: /2}}]").unwrap();
        let more = r#"{"mocks":[{"id":"three","websocket":{"path":"/3"}},{"id":"one","enabled":false,"websocket":{"path":"/4"}}]}"#;
        read_into(&mut settings, Path::new("dir/b.json"), more).unwrap();
        let known: Vec<_> = settings.mocks.iter().map(|mock| (mock.id.as_str(), mock.path().unwrap(), mock.enabled)).collect();
        assert_eq!(known, [("one", "/4", false), ("two", "/2", true), ("three", "/3", true)]);
        let source = MockSource { file: Some(PathBuf::from("dir/b.json")), place: "mocks[1]".to_owned() };
        assert_eq!(settings.mocks[0].source, source);
        let before = settings.clone();
        for (text, expected) in [
            ("mocks: {}", "c.yaml: mocks: this must be a list of mocks, it is an object"),
            (
                "mocks: [{websocket: {path: /}}, {websocket: {pth: /}}]",
                "c.yaml: mocks[1].websocket.pth: there is no such field; did you mean \"path\"?",
            ),
            (
                "mocks: [{id: a, websocket: {path: /}}, {id: a, websocket: {path: /}}]",
                "c.yaml: mocks[1].id: \"a\" is the id of mocks[0] too",
            ),
            (
                "mocks: [{id: new, websocket: {path: /}}]\nserver: {port: x}",
                "c.yaml: server.port: this must be a port from 0 to 65535, it is \"x\"",
            ),
            ("mock: []", "c.yaml: mock: there is no such field; did you mean \"mocks\"?"),
        ] {
            assert_eq!(read_into(&mut settings, Path::new("c.yaml"), text).unwrap_err().to_string(), expected);
            assert_eq!(settings, before, "a broken file changes nothing");
        }
        read("c.yaml", "mocks:").unwrap();
    }

    proptest::proptest! {
        #[test]
        fn no_file_makes_the_reader_panic(value in crate::model::mock_tests::any_json(), text in ".{0,80}") {
            for text in [value.to_string(), serde_json::json!({"mocks": [value]}).to_string(), text] {
                drop((read("c.json", &text), read("c.yaml", &text)));
            }
        }
    }
}
