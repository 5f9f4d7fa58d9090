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

/// The code of a file: its unit tests, comments and the insides of string literals left out, line by line.
fn code(text: &str) -> Vec<(usize, String)> {
    let body = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or("");
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
    for (path, text) in files("src") {
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
    for (path, text) in files("src/rules") {
        for (number, line) in code(&text) {
            for banned in ["std::fs", "std::net", "std::thread", "Instant", "SystemTime", "now_us(", "std::io", "Mutex"] {
                let clock_argument = banned == "now_us(" && !line.contains("time::now_us(");
                assert!(clock_argument || !line.contains(banned), "{path}:{number}: rules are pure, {banned} is not: {line}");
            }
        }
    }
}

#[test]
fn only_the_store_touches_recordings_on_disk() {
    for (path, text) in files("src") {
        if ["src/store/", "src/base/", "src/cli/"].iter().any(|floor| path.starts_with(floor)) {
            continue;
        }
        for (number, line) in code(&text) {
            for banned in ["File::create", "fs::write", "fs::rename", "fs::remove_file"] {
                assert!(
                    !line.contains(banned),
                    "{path}:{number}: {banned} belongs into the store (or, for a person's file, into cli): {line}"
                );
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
    let words = ["TODO", "FIXME", "XXX", "HACK"].map(str::to_owned);
    for (path, text) in files("src") {
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
    for (path, text) in files("src") {
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
    let mut section = "";
    let mut before = "";
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.contains("dependencies") && line.contains('=') && !line.starts_with('#') {
            let reason = before.starts_with('#') || before.starts_with("webpki") || before.starts_with("rustls");
            assert!(reason, "Cargo.toml: {line:?} has no line above it that says what it is for");
        }
        before = line;
    }
}
