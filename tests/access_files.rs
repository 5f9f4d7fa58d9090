//! Which files mockd reads and writes: none that an id, a name or a call could point elsewhere, nothing that would be waited for, and all
//! of it readable by its owner alone, whatever the umask.

use std::fs::{File, Permissions};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::effort::rounds;
use crate::support::http::ask;
use crate::support::one_shot::OneShot;
use crate::support::recordings::{Made, put, sse, ws};
use crate::support::server::{MOCKD, Output, Place};
use crate::support::sse::Stream;
use crate::support::ws::Raw;
use crate::support::{Server, Upstream};

/// A recording beside the data directory, with a word in it that nobody may see.
fn outside(place: &Place) -> PathBuf {
    let dir = place.home().join("outside");
    let id = ws("/secret").set("/name", json!("h1dden")).s2c(0, "h1dden").save(&dir);
    let path = dir.join("rec_SECRET01.json");
    std::fs::rename(dir.join(format!("rec_{id}.json")), &path).unwrap();
    path
}

#[test]
fn no_id_leads_out_of_the_directory() {
    let server = Server::start();
    let path = outside(&server.place);
    std::fs::copy(&path, server.place.home().join("rec_SECRET02.json")).unwrap();
    ws("/ws").s2c(0, "x").save(&server.place.data_dir());
    let absolute = path.display().to_string();
    let long = "A".repeat(4000);
    let ids = [
        "../outside/rec_SECRET01",
        "../outside/rec_SECRET01.json",
        "../rec_SECRET02",
        "..%2Foutside%2Frec_SECRET01",
        "%2e%2e%2foutside%2frec_SECRET01",
        "..%252Foutside%252Frec_SECRET01",
        "..%5Coutside%5Crec_SECRET01",
        "..%c0%afoutside",
        "SECRET01",
        "SECRET02",
        "SECRET01%00",
        "%00%00%00%00%00%00",
        "......",
        "%2e%2e%2e%2e%2e%2e",
        ".index",
        ".index%2Findex",
        "~root00",
        "$HOME00",
        "*******",
        "??????",
        "%0d%0aX-Evil: 1",
        absolute.as_str(),
        long.as_str(),
        "%ff%fe%fd%fc%fb%fa",
        "%F0%9F%98%80%F0%9F%98%80",
    ];
    for (index, id) in ids.into_iter().enumerate() {
        let id = id.replace(' ', "%20");
        for (method, target) in [
            ("GET", format!("/stream-recordings/{id}")),
            ("GET", format!("/stream-recordings/{id}/frames")),
            ("PATCH", format!("/stream-recordings/{id}")),
            ("DELETE", format!("/stream-recordings/{id}?permanent=true")),
            ("POST", format!("/stream-recordings/{id}/export")),
            ("POST", format!("/stream-recordings/{id}/convert")),
            ("POST", format!("/stream-recordings/{id}/restore")),
            ("POST", format!("/stream-recordings/{id}/stop")),
            ("POST", format!("/stream-recordings/{id}/replay")),
            ("GET", format!("/replay/{id}")),
            ("GET", format!("/mocks/{id}")),
        ] {
            let body: &[u8] = if method == "PATCH" { br#"{"name":"x"}"# } else { b"" };
            let answer = ask(server.admin, method, &target, &[], body);
            assert!(matches!(answer.status(), 400 | 404 | 405), "{method} {target}: {} {}", answer.head.start, answer.text());
            assert!(!answer.text().contains("h1dden"), "{target}");
        }
        if !id.contains('%') {
            let commands = [&["sr", "show", &id, "--json"][..], &["sr", "export", &id], &["sr", "delete", &id, "--force", "--permanent"]];
            for args in commands.iter().cycle().skip(index).take(rounds(1, 3) as usize) {
                let output = server.place.run(args).expect(1);
                assert!(!output.stdout.contains("h1dden") && !output.stderr.contains("h1dden"), "{args:?}");
            }
        }
    }
    assert!(path.exists() && server.place.home().join("rec_SECRET02.json").exists());
}

#[test]
fn a_mock_of_the_api_names_recordings_by_id_only() {
    let server = Server::start();
    let path = outside(&server.place);
    let absolute = path.display().to_string();
    for name in [
        "../outside/rec_SECRET01.json",
        "outside/rec_SECRET01.json",
        "./rec.json",
        absolute.as_str(),
        "/etc/passwd",
        "/dev/zero",
        "~/x.json",
        "",
    ] {
        let mock = json!({"type": "websocket", "websocket": {"path": "/m", "replay": {"recording": name}}});
        let answer = server.post("/mocks", &mock).expect_error(400, "bad_request", &["recording"]);
        assert!(!answer.text().contains("h1dden"), "{name}");
        // Whether a file is there is not told.
        assert!(!answer.text().contains("No such file"), "{name}: {}", answer.text());
    }
    let id = ws("/ws").s2c(0, "x").save(&server.place.data_dir());
    server.post("/mocks", &json!({"type": "websocket", "websocket": {"path": "/m", "replay": {"recording": id}}})).expect(201);
    // A config is its user's own: it names files.
    let place = Place::new();
    place.file("rec.json", &ws("/ws").s2c(0, "from the file").json().to_string());
    let config = place.file("mocks.yaml", "mocks:\n- {type: websocket, websocket: {path: /m, replay: {recording: rec.json}}}\n");
    let server = Server::builder().place(&place).option("--config", config.display()).start();
    Raw::open(server.mock, "/m").run("expect text from the file");
}

#[test]
fn a_name_never_becomes_a_path() {
    let upstream = Upstream::events(&["data: x\n\n"]);
    let place = Place::new();
    let url = upstream.url();
    let args = ["play", "fixtures", "--record-missing", "--upstream", &url, "--port", "0"];
    let run = OneShot::with_command(&place, &args, 0);
    for path in ["/../../../evil", "/..%2f..%2fevil", "/%00", "/a/b/c.json", "/-rf", "/...", &format!("/{}", "x".repeat(3000))] {
        Stream::open(run.mock, path, &[]).rest();
    }
    run.finish().expect(0);
    let names = |dir: &Path| {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let made = names(&place.home().join("fixtures"));
    assert_eq!(made.len(), 7, "{made:?}");
    for name in &made {
        assert!(name.starts_with("sse") && name.ends_with(".json") && name.len() < 100, "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{name}");
    }
    assert_eq!(names(place.home()), ["fixtures"], "nothing beside it");
}

/// Everything but plain files, under every name that mockd looks at.
fn strange(place: &Place) -> (Vec<String>, String) {
    let dir = place.data_dir();
    let kept = ws("/ws").set("/name", json!("kept")).s2c(0, "x").save(&dir);
    let target = outside(place);
    let mode = nix::sys::stat::Mode::S_IRWXU;
    let mut ids = Vec::new();
    let mut next = |kind: &str| {
        ids.push(format!("STRANGE{:02}", ids.len()));
        dir.join(format!("rec_{}.{kind}", ids[ids.len() - 1]))
    };
    for kind in ["json", "json.deleted", "journal"] {
        symlink(&target, next(kind)).unwrap();
        symlink(place.home().join("nowhere"), next(kind)).unwrap();
        symlink("/dev/zero", next(kind)).unwrap();
        symlink(&dir, next(kind)).unwrap();
        nix::unistd::mkfifo(&next(kind), mode).unwrap();
        std::fs::create_dir(next(kind)).unwrap();
        drop(std::os::unix::net::UnixListener::bind(next(kind)).unwrap());
    }
    for sub in [".index", ".run"] {
        std::fs::create_dir_all(dir.join(sub)).unwrap();
    }
    nix::unistd::mkfifo(&dir.join(".index/index.jsonl"), mode).unwrap();
    nix::unistd::mkfifo(&dir.join(".run/4290.json"), mode).unwrap();
    std::fs::create_dir(dir.join(".run/4291.json")).unwrap();
    symlink("/dev/zero", dir.join(".run/4292.json")).unwrap();
    (ids, kept)
}

#[test]
fn links_pipes_and_folders_are_no_recordings_and_are_not_waited_for() {
    let place = Place::new();
    let (ids, kept) = strange(&place);
    let before = std::fs::read(place.home().join("outside/rec_SECRET01.json")).unwrap();
    let listed = |place: &Place| {
        let page = place.run(&["sr", "list", "--include-deleted", "--json"]).json();
        page["recordings"].as_array().unwrap().iter().map(|summary| summary["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&place), [kept.as_str()]);
    for args in [&["sr", "stats"][..], &["sr", "show", &kept], &["sr", "vacuum"], &["sr", "edit", &kept, "--name", "n"]] {
        place.run(args).expect(0);
    }
    place.run(&["status"]).expect_error(1, &["no server runs"]);
    place.run(&["stop"]).expect_error(1, &["no server runs"]);
    for (index, id) in ids.iter().enumerate() {
        let commands = [
            &["sr", "show", id.as_str()][..],
            &["sr", "delete", id, "--force", "--permanent"],
            &["sr", "restore", id],
            &["sr", "edit", id, "--name", "x"],
        ];
        // Seven kinds of things under three names meet one command each, or all of them where there is time.
        for args in commands.iter().cycle().skip(index).take(rounds(1, 4) as usize) {
            let output = place.run(args).expect(1);
            assert!(!output.stderr.contains("h1dden"), "{args:?}");
        }
    }
    let server = Server::builder().place(&place).start();
    for id in &ids {
        for (method, target) in [("GET", format!("/stream-recordings/{id}")), ("DELETE", format!("/stream-recordings/{id}?permanent=true"))]
        {
            server.call(method, &target, &Value::Null).expect_error(404, "not_found", &[]);
        }
    }
    assert_eq!(server.get("/stream-recordings?includeDeleted=true")["total"], 1);
    let session = server.record("sse", "/e");
    server.stop(&session);
    server.touch("/stream-recordings/vacuum").expect(200);
    assert_eq!(std::fs::read(place.home().join("outside/rec_SECRET01.json")).unwrap(), before, "what a link leads to stays as it was");
    for id in &ids {
        let left = std::fs::read_dir(place.data_dir())
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().contains(id.as_str()));
        assert_eq!(left.count(), 1, "{id} is not mockd's to remove");
    }
}

#[test]
fn a_data_directory_may_be_a_link() {
    let place = Place::new();
    std::fs::create_dir(place.home().join("real")).unwrap();
    symlink(place.home().join("real"), place.data_dir()).unwrap();
    let id = ws("/ws").s2c(0, "x").save(&place.home().join("real"));
    place.run(&["sr", "delete", &id, "--force"]).expect(0);
    place.run(&["sr", "restore", &id]).expect(0);
    assert!(place.run(&["sr", "list"]).ok().contains(&id[..12]));
}

/// A lock that cannot be one is an error, not a wait.
#[test]
fn a_pipe_in_place_of_the_lock_is_told() {
    let place = Place::new();
    let id = ws("/ws").s2c(0, "x").save(&place.data_dir());
    std::fs::create_dir(place.data_dir().join(".index")).unwrap();
    nix::unistd::mkfifo(&place.data_dir().join(".index/lock"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    place.run(&["sr", "delete", &id, "--force"]).expect_error(1, &["lock", "no plain file"]);
    assert!(place.run(&["sr", "list"]).ok().contains(&id[..12]));
}

/// Files that claim to be of any size cost no memory.
#[test]
fn huge_empty_files_are_not_read_into_memory() {
    const HUGE: u64 = 2 << 30;
    let place = Place::new();
    let dir = place.data_dir();
    put(&dir, "rec_HUGE01.json", b"");
    put(&dir, "rec_HUGE02.json", b"{\"formatVersion\":\"1.0\",");
    put(&dir, "rec_HUGE03.json.deleted", b"{");
    let whole = dir.join(format!("rec_{}.json", ws("/ws").s2c(0, "kept").s2c(1, "kept too").save(&dir)));
    let text = std::fs::read_to_string(&whole).unwrap();
    let (lines, _) = text.split_once("\n],").expect("a tail in a line of its own");
    put(&dir, "rec_HUGE04.journal", format!("{lines}\n").as_bytes());
    std::fs::remove_file(whole).unwrap();
    std::fs::create_dir(dir.join(".index")).unwrap();
    put(&dir.join(".index"), "index.jsonl", b"");
    let names = ["rec_HUGE01.json", "rec_HUGE02.json", "rec_HUGE03.json.deleted", "rec_HUGE04.journal"];
    for name in names {
        // A journal is read to its end, which takes its time.
        let size = if name.ends_with("journal") { 80 << 20 } else { HUGE };
        File::options().write(true).open(dir.join(name)).unwrap().set_len(size).unwrap();
    }
    let server = Server::builder().place(&place).option("--max-bytes", "1000000000000").start();
    let page = server.get("/stream-recordings?includeDeleted=true");
    assert_eq!(page["total"], 4, "{page}");
    for id in ["HUGE01", "HUGE02", "HUGE03"] {
        server.call("GET", &format!("/stream-recordings/{id}"), &Value::Null).expect(409);
    }
    let recovered = server.recording("HUGE04");
    assert_eq!((&recovered["status"], &recovered["websocket"]["frames"][1]["data"]), (&json!("incomplete"), &json!("kept too")));
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid)).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 64 * 1024, "the peak is {peak_kib} KiB");
}

/// A command of mockd below a umask.
fn below(umask: &str, place: &Place, args: &[&str]) -> Command {
    let plain = place.command(args);
    let mut command = Command::new("sh");
    command.args(["-c", "umask \"$1\"; shift; exec \"$@\"", "sh", umask, MOCKD]).args(args).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(place.home());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Every file and directory below one, with its mode.
fn modes(dir: &Path) -> Vec<(PathBuf, u32, bool)> {
    let mut all = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            // One that has gone since has no mode.
            let Ok(metadata) = std::fs::symlink_metadata(entry.path()) else { continue };
            all.push((entry.path(), metadata.permissions().mode() & 0o7777, metadata.is_dir()));
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    all
}

/// Checks every file and directory; `at_rest`: nothing is being made, so that none has less than it will have.
#[track_caller]
fn check_private(dir: &Path, umask: &str, at_rest: bool) -> usize {
    let all = modes(dir);
    for (path, mode, is_dir) in &all {
        // A socket is as private as its directory; its own mode is not looked at on every system.
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
        let wanted = if *is_dir { 0o700 } else { 0o600 };
        let fine = if at_rest { *mode == wanted } else { mode & !wanted == 0 };
        assert!(is_socket || fine, "umask {umask}: {} is {mode:o}", path.display());
    }
    all.len()
}

#[test]
fn all_that_mockd_keeps_is_its_owners_alone_whatever_the_umask() {
    let upstream = Upstream::events(&["data: x\n\n"]);
    for umask in ["0000", "0022", "0777"] {
        let place = Place::new();
        let url = upstream.url();
        let args = ["start", "--port", "0", "--admin-port", "0", "--json", "--upstream", &url];
        let ready = Output::of(below(umask, &place, &args), &args).json();
        let address = |name: &str| ready[name].as_str().and_then(|url| url.strip_prefix("http://")?.parse().ok()).expect("an address");
        let (mock, admin): (std::net::SocketAddr, std::net::SocketAddr) = (address("mock"), address("admin"));
        let asked = |method: &str, target: &str, body: &str| ask(admin, method, target, &[], body.as_bytes());
        let ids: Vec<String> = (0..3)
            .map(|_| {
                let started = asked("POST", "/stream-recordings/start", r#"{"protocol":"sse","path":"/e"}"#).expect(201).json();
                let id = started["id"].as_str().unwrap().to_owned();
                Stream::open(mock, "/e", &[]).rest();
                asked("POST", &format!("/stream-recordings/{id}/stop"), "").expect(200);
                id
            })
            .collect();
        asked("DELETE", &format!("/stream-recordings/{}", ids[0]), "").expect(204);
        asked("PATCH", &format!("/stream-recordings/{}", ids[1]), r#"{"name":"n"}"#).expect(200);
        asked("POST", "/stream-recordings/import", &sse("/i").data(0, "x").json().to_string()).expect(201);
        asked("POST", "/stream-recordings/start", r#"{"protocol":"sse","path":"/e"}"#).expect(201);
        let mut live = Stream::open(mock, "/e", &[]);
        live.rest();
        let args = ["sr", "list"];
        Output::of(below(umask, &place, &args), &args).expect(0);
        assert_eq!(std::fs::metadata(place.data_dir()).unwrap().permissions().mode() & 0o7777, 0o700);
        assert!(check_private(&place.data_dir(), umask, false) >= 8, "recordings, lock, pid file, log");
        let sockets: Vec<_> = modes(place.home()).into_iter().filter(|(path, ..)| path.ends_with("admin.sock")).collect();
        assert_eq!(sockets.len(), 1);
        let folder = sockets[0].0.parent().unwrap();
        assert_eq!(std::fs::metadata(folder).unwrap().permissions().mode() & 0o7777, 0o700);
        let args = ["stop"];
        Output::of(below(umask, &place, &args), &args).expect(0);
        check_private(&place.data_dir(), umask, true);
        // A file that the user names has the mode that the user's umask gives.
        let args = ["sr", "export", ids[1].as_str(), "-o", "out.json"];
        Output::of(below(umask, &place, &args), &args).expect(0);
        let mode = std::fs::metadata(place.home().join("out.json")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o666 & !u32::from_str_radix(umask, 8).unwrap(), "umask {umask}");
    }
}

#[test]
fn what_a_run_keeps_until_it_ends_is_its_owners_alone() {
    let upstream = Upstream::events(&["data: x\n\n"]);
    let place = Place::new();
    let url = upstream.url();
    let script = "echo \"$MOCKD_URL $MOCKD_WS_URL $MOCKD_ADMIN_URL $$\"; cat";
    let run = OneShot::with_script(&place, &["record", &url, "-o", "out/chat.json", "--port", "0"], script);
    Stream::open(run.mock, "/e", &[]).rest();
    let drafts: Vec<_> = modes(&place.home().join("out")).into_iter().filter(|(_, _, is_dir)| *is_dir).collect();
    assert!(!drafts.is_empty());
    for (path, mode, _) in drafts {
        assert_eq!(mode, 0o700, "{}", path.display());
        check_private(&path, "0022", false);
    }
    run.finish().expect(0);
    assert_eq!(std::fs::metadata(place.home().join("out/chat.json")).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Another user may have put a link where a file is going to be.
#[test]
fn a_file_is_written_beside_its_name_and_through_no_link() {
    let place = Place::new();
    let id = Made::save(&ws("/ws").s2c(0, "x"), &place.data_dir());
    let victim = place.file("victim", "kept");
    std::fs::set_permissions(&victim, Permissions::from_mode(0o644)).unwrap();
    symlink(&victim, place.home().join("out.json")).unwrap();
    symlink(&victim, place.home().join("ready.json")).unwrap();
    place.run(&["sr", "export", &id, "-o", "out.json"]).expect(0);
    let server = Server::builder().place(&place).start();
    let mut byte = [0; 4];
    File::open(&victim).unwrap().read_exact_at(&mut byte, 0).unwrap();
    assert_eq!(&byte, b"kept", "a link in place of the file is replaced");
    let ready: Value = serde_json::from_slice(&std::fs::read(place.home().join("ready.json")).unwrap()).unwrap();
    assert_eq!(ready["pid"], server.pid);
    let names: Vec<_> = std::fs::read_dir(place.home()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{names:?}");
}

/// A file that its owner has closed to others stays closed when it is written anew.
#[test]
fn a_file_that_is_written_anew_keeps_its_mode() {
    let place = Place::new();
    let id = Made::save(&ws("/ws").s2c(0, "x"), &place.data_dir());
    for (mode, umask) in [(0o600, "0022"), (0o640, "0077"), (0o400, "0022")] {
        let path = place.file("out.json", "old");
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let args = ["sr", "export", id.as_str(), "-o", "out.json"];
        Output::of(below(umask, &place, &args), &args).expect(0);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode, "umask {umask}");
        assert_ne!(std::fs::read(&path).unwrap(), b"old");
        std::fs::remove_file(&path).unwrap();
    }
}

/// Its mode was kept, but not whom it was for: root locked the owner out, and a group got what was another's.
#[test]
fn a_file_that_is_written_anew_keeps_its_owner_and_its_group() {
    let place = Place::new();
    let id = Made::save(&ws("/ws").s2c(0, "x"), &place.data_dir());
    let path = place.file("out.json", "old");
    if std::os::unix::fs::chown(&path, Some(12_345), Some(23_456)).is_err() {
        println!("skipped: only root can give a file away");
        return;
    }
    std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    place.run(&["sr", "export", &id, "-o", "out.json"]).expect(0);
    let known = std::fs::metadata(&path).unwrap();
    assert_eq!((known.uid(), known.gid(), known.mode() & 0o7777), (12_345, 23_456, 0o640));
    assert_ne!(std::fs::read(&path).unwrap(), b"old");
}
