//! The sample project in tests/sample: its CI script records an API once, and plays it ever after.

use std::path::Path;
use std::process::Command;

use crate::support::Server;
use crate::support::server::{MOCKD, Output, Place};

/// A copy of the sample project without its fixtures.
fn project(place: &Place) -> std::path::PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sample");
    let copy = place.home().join("sample");
    std::fs::create_dir(&copy).expect("a directory");
    for name in ["client", "check", "ci"] {
        std::fs::copy(source.join(name), copy.join(name)).expect("a file of the sample");
    }
    copy
}

/// Runs its CI script; `api` is where what is missing is recorded from.
#[track_caller]
fn ci(place: &Place, project: &Path, api: Option<&str>) -> Output {
    let mut command = place.command(&[]);
    let mut script = Command::new(project.join("ci"));
    script.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("MOCKD", MOCKD);
    script.envs(api.map(|url| ("API_URL", url)));
    script.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    std::mem::swap(&mut command, &mut script);
    Output::of(command, &["(ci)"])
}

#[test]
fn the_sample_project_records_once_and_plays_for_ever() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: the sample's client needs curl");
        return;
    }
    let place = Place::new();
    let project = project(&place);
    let demo = Server::builder().flag("--demo").start();
    let said = ci(&place, &project, Some(&format!("http://{}", demo.mock))).ok();
    let answer = said.lines().find(|line| line.starts_with("the answer: ")).expect("an answer").to_owned();
    let fixtures = || std::fs::read_dir(project.join("fixtures")).expect("fixtures").count();
    assert_eq!(fixtures(), 1);
    drop(demo);
    for _ in 0..2 {
        let said = ci(&place, &project, None).ok();
        assert_eq!(said.lines().find(|line| line.starts_with("the answer: ")), Some(answer.as_str()), "the same without the API");
    }
    assert_eq!(fixtures(), 1, "nothing is recorded twice");
    // A client that asks something else is no longer what was recorded.
    let text = std::fs::read_to_string(project.join("check")).expect("the check");
    std::fs::write(project.join("check"), text.replace("client\" hello", "client\" goodbye")).expect("a file");
    let said = ci(&place, &project, None);
    assert_ne!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("goodbye") && said.stderr.contains("hello"), "the difference is shown: {}", said.stderr);
}
