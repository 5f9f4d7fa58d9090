//! The house checks itself: floors, file length, opening lines, banned words. It reads the source as text.

use std::path::{Path, PathBuf};

/// The floors from the ground up.
const FLOORS: [&str; 8] = ["base", "wire", "model", "rules", "store", "engine", "serve", "cli"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder of the repository, with its path as people write it.
fn files(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap_or(Path::new("?")).display().to_string();
                found.push((name, std::fs::read_to_string(&path).expect("a source file")));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no files in {folder}");
    found
}

/// The files of `src` but for those that are unit tests as a whole.
fn sources() -> Vec<(String, String)> {
    let all = files("src");
    let tests: Vec<String> = all
        .iter()
        .flat_map(|(path, text)| {
            let folder = path.trim_end_matches("mod.rs").trim_end_matches(".rs").trim_end_matches('/');
            let named = text.match_indices("#[cfg(test)]\nmod ").chain(text.match_indices("#[cfg(test)]\npub mod "));
            let named =
                named.chain(text.match_indices("#[cfg(test)]\npub(crate) mod ")).chain(text.match_indices("#[cfg(test)]\npub(super) mod "));
            let names = named.filter_map(|(at, head)| text[at + head.len()..].lines().next()?.strip_suffix(';'));
            names.map(|name| format!("{folder}/{name}")).collect::<Vec<_>>()
        })
        .collect();
    let declared =
        |path: &str| tests.iter().any(|test| path.strip_prefix(test.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')));
    let is_test = |path: &str| path.ends_with("_tests.rs") || path.ends_with("/tests.rs") || declared(path);
    all.into_iter().filter(|(path, _)| !is_test(path)).collect()
}

/// A file up to its first module of unit tests that stands in it.
fn without_tests(text: &str) -> &str {
    let begins = |at: &usize| text[at + TESTS.len()..].lines().next().is_some_and(|line| line.contains("mod ") && line.ends_with('{'));
    text.match_indices(TESTS).map(|(at, _)| at).find(begins).map_or(text, |at| &text[..at])
}

const TESTS: &str = "\n#[cfg(test)]\n";

/// The code of a file: its unit tests, comments and the insides of string literals left out, line by line.
fn code(text: &str) -> Vec<(usize, String)> {
    let body = without_tests(text);
    let mut in_string = false;
    let lines = body.lines().enumerate().map(|(index, line)| {
        let mut kept = String::new();
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\\' if in_string => drop(characters.next()),
                '"' if !kept.ends_with('\'') => in_string = !in_string,
                '/' if !in_string && characters.peek() == Some(&'/') => break,
                other if !in_string => kept.push(other),
                _ => {}
            }
        }
        (index + 1, kept)
    });
    lines.collect()
}

/// The floor of a file of `src`, as a number; `lib.rs` and `main.rs` stand above all.
fn floor_of(path: &str) -> usize {
    let folder = path.trim_start_matches("src/").split('/').next().unwrap_or("");
    FLOORS.iter().position(|floor| *floor == folder).unwrap_or(FLOORS.len())
}

/// The floors that a line of code names: `crate::store::…`, `super::super::store`, or one of the list in `crate::{…}`.
fn named_floors(line: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::").chain(line.match_indices("mockd::")) {
        let rest = &line[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list.split(['}', ',']).map(|part| part.trim().split("::").next().unwrap_or("")).collect(),
            None => vec![rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("")],
        };
        found.extend(names.iter().filter_map(|name| FLOORS.iter().position(|floor| floor == name)));
    }
    found
}

#[test]
fn a_file_uses_only_its_own_floor_and_lower_ones() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let own = floor_of(&path);
        for (number, line) in code(&text) {
            for used in named_floors(&line).into_iter().filter(|used| *used > own) {
                broken.push(format!(
                    "{path}:{number} is on floor {own} ({}) and uses floor {used} ({}): a file uses only its own floor and lower ones",
                    FLOORS[own], FLOORS[used]
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_floor_rule_sees_what_it_should() {
    assert_eq!(named_floors("use crate::store::Store;"), [4]);
    assert_eq!(named_floors("use crate::{base::error, engine, serve::x};"), [0, 5, 6]);
    assert_eq!(named_floors("let x = crate::cli::run();"), [7]);
    assert_eq!(floor_of("src/wire/ws.rs"), 1);
    assert_eq!(floor_of("src/main.rs"), 8);
    assert_eq!(code("a // crate::cli\n\"crate::cli\" b"), [(1, "a ".to_owned()), (2, " b".to_owned())]);
}

#[test]
fn rules_hold_no_io_no_clock_and_no_thread() {
    for (path, text) in sources().into_iter().filter(|(path, _)| path.starts_with("src/rules/")) {
        for (number, line) in code(&text) {
            for banned in ["std::fs", "std::net", "std::thread", "Instant", "SystemTime", "now_us(", "std::io", "Mutex"] {
                let clock_argument = banned == "now_us(" && !line.contains("time::now_us(");
                assert!(clock_argument || !line.contains(banned), "{path}:{number}: rules are pure, {banned} is not: {line}");
            }
        }
    }
}

#[test]
fn only_the_store_knows_what_recordings_are_called_on_disk() {
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.starts_with("src/store/")) {
        let body = without_tests(&text);
        for (index, line) in body.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for name in ["\"rec_", ".journal\""] {
                assert!(!line.contains(name), "{path}:{}: file names of recordings belong to the store: {line}", index + 1);
            }
        }
    }
}

#[test]
fn files_are_short_and_say_what_they_are() {
    for (path, text) in files("src").into_iter().chain(files("tests")) {
        let lines = text.lines().count();
        assert!(lines <= 600, "{path} has {lines} lines; above 600 it is to be split by meaning");
        assert!(text.starts_with("//! "), "{path} must open with what it is and what it never holds");
    }
}

#[test]
fn banned_words_stay_out() {
    let words = ["TODO", "FIXME", "HACK"].map(str::to_owned);
    for (path, text) in sources() {
        for (index, line) in text.lines().enumerate() {
            for word in &words {
                assert!(!line.contains(word.as_str()), "{path}:{}: {word}: {line}", index + 1);
            }
        }
        for (number, line) in code(&text) {
            for banned in ["todo!(", "unimplemented!(", "dbg!(", ".unwrap()", ".expect(", "panic!(", "struct Helper", "Manager", "fn get_"]
            {
                assert!(!line.contains(banned), "{path}:{number}: {banned} is not for this house: {line}");
            }
            let printing = path.starts_with("src/cli/") || path == "src/main.rs";
            for banned in ["println!(", "print!("] {
                assert!(printing || !line.contains(banned), "{path}:{number}: only cli prints: {line}");
            }
        }
    }
}

#[test]
fn every_limit_has_one_home() {
    for (path, text) in sources() {
        if path == "src/base/limits.rs" || path.starts_with("src/model/setting") {
            continue;
        }
        for (number, line) in code(&text) {
            for port in ["4280", "4290"] {
                assert!(!line.contains(port), "{path}:{number}: {port} stands in base/limits.rs: {line}");
            }
        }
    }
}

#[test]
fn no_test_sleeps() {
    let banned = concat!("sle", "ep(");
    for (path, text) in files("tests") {
        for (number, line) in code(&text) {
            assert!(!line.contains(banned), "{path}:{number}: a test waits for something, it does not {banned}): {line}");
        }
    }
}

#[test]
fn there_is_one_test_binary_and_every_module_is_in_it() {
    let main = std::fs::read_to_string(root().join("tests/main.rs")).expect("tests/main.rs");
    for (path, _) in files("tests") {
        let name = path.trim_start_matches("tests/").trim_end_matches(".rs");
        if name != "main" && !name.contains('/') {
            assert!(main.contains(&format!("mod {name};")), "{path} is not in tests/main.rs");
        }
    }
}

#[test]
fn every_dependency_has_its_reason_beside_it() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let (mut section, mut reason) = ("", None);
    for line in manifest.lines() {
        let name = line.split(['=', ' ']).next().unwrap_or("");
        if line.starts_with('[') {
            (section, reason) = (line, None);
        } else if line.starts_with('#') {
            reason = Some("");
        } else if section.contains("dependencies") && line.contains('=') {
            // A reason is for the line below it, and for the next lines of the same family: serde, serde_json.
            let family = name.split(['_', '-']).next().unwrap_or("");
            let told = reason.is_some_and(|other| other.is_empty() || other == family || family == "webpki");
            assert!(told, "Cargo.toml: {line:?} has no line above it that says what it is for");
            reason = Some(family);
        }
    }
}
