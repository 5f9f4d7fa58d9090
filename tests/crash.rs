//! kill -9 at any moment of any work, over and over: what was told is there, once, in order.
//!
//! A round prepares a directory, has a server or a command at work there, kills it at a random moment, and lets the next server or command
//! find what is left. Rounds of every kind follow each other, most of them in the directory of those before.

mod calls;
mod daemon;
mod exports;
mod left;
mod load;
mod look;
mod moment;
mod runs;
mod streams;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use crate::support::effort::{Dice, number, rounds};
use crate::support::server::Place;

/// How many rounds; `scripts/crash-loop` sets it.
const ROUNDS: &str = "MOCKD_TEST_CRASH_ROUNDS";
/// The words of the kinds to run, all without it: to look at one more closely.
const ONLY: &str = "MOCKD_TEST_CRASH_KINDS";

/// A kind of work, and what a round of it does.
type Kind = (&'static str, fn(&mut Scene));

const KINDS: &[Kind] = &[
    ("record", streams::record),
    ("stop", streams::stop),
    ("import", calls::import),
    ("record", streams::record),
    ("delete", calls::delete),
    ("vacuum", calls::vacuum),
    ("edit", calls::edit),
    ("record", streams::record),
    ("index", calls::index),
    ("restore", calls::restore),
    ("record -o", runs::record_to_files),
    ("record", streams::record),
    ("play", runs::play_missing),
    ("export", exports::export),
    ("start", daemon::start),
];

/// A directory, and what has happened there.
struct Scene {
    place: Place,
    dice: Dice,
    round: u64,
    /// Recordings that were complete and told, which nothing may touch any more.
    settled: look::Files,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    /// Rounds of each kind; each is a kill.
    kills: BTreeMap<&'static str, u64>,
    /// Frames that were compared with what had passed.
    frames: u64,
    /// How far the disk was behind, in each round with traffic; whether the machine was busy.
    lags: Vec<(Duration, bool)>,
    /// How late the test's own threads were woken, at worst.
    late: Duration,
    /// Calls that were killed before, and after, they were done.
    undone: u64,
    done: u64,
}

impl Scene {
    fn new(dice: Dice) -> Self {
        Self { place: Place::new(), dice, round: 0, settled: look::Files::new(), figures: Figures::default() }
    }

    /// A moment within the next so many milliseconds.
    fn moment(&mut self, below_ms: u64) -> Duration {
        Duration::from_micros(self.dice.below(below_ms * 1000))
    }

    /// Lets the next server or command find what a kill left, and checks all that was there before.
    #[track_caller]
    fn recover(&mut self) -> look::Files {
        if self.dice.once_in(3) {
            self.kill_recovery();
        }
        let by_server = self.dice.once_in(2);
        let files = look::recover(&self.place, by_server);
        for (name, bytes) in &self.settled {
            assert!(files.get(name) == Some(bytes), "{name} was complete, and has changed");
        }
        files
    }

    /// Kills the one that recovers as well.
    fn kill_recovery(&mut self) {
        let limit = self.moment(40);
        let mut child =
            self.place.command(&["sr", "list"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("mockd can be started");
        moment::wait(limit);
        // It may have ended by itself.
        drop(child.kill());
        child.wait().expect("a child");
        *self.figures.kills.entry("recovery").or_default() += 1;
    }

    fn note(&mut self, behind: look::Behind, machine: moment::Machine) {
        self.figures.frames += behind.frames;
        self.figures.lags.push((behind.lag, machine.is_busy()));
        self.figures.late = self.figures.late.max(machine.worst);
    }
}

/// Says which round failed.
struct Here<'a>(u64, &'a str);

impl Drop for Here<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("in round {} ({})", self.0, self.1);
        }
    }
}

#[test]
fn what_was_told_survives_a_kill_at_any_moment_of_any_work() {
    let only = std::env::var(ONLY).unwrap_or_default();
    let kinds: Vec<Kind> = KINDS.iter().filter(|(kind, _)| only.is_empty() || only.split(',').any(|word| word == *kind)).copied().collect();
    let total = number(ROUNDS).unwrap_or_else(|| rounds(KINDS.len() as u64, 1000));
    let mut scene = Scene::new(Dice::new("crash"));
    for round in 0..total {
        let (kind, run) = kinds[round as usize % kinds.len()];
        let here = Here(round, kind);
        scene.round = round;
        run(&mut scene);
        drop(here);
        *scene.figures.kills.entry(kind).or_default() += 1;
        if round % 100 == 99 {
            println!("crash: {} rounds", round + 1);
        }
        if scene.dice.once_in(40) {
            scene.place = Place::new();
            scene.settled.clear();
        }
    }
    println!("crash: {}", scene.figures.words());
}

impl Figures {
    fn words(&mut self) -> String {
        let kills: u64 = self.kills.values().sum();
        let by_kind: Vec<String> = self.kills.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        self.lags.sort();
        let ms = |lag: Option<&(Duration, bool)>| lag.map_or(0.0, |(lag, _)| lag.as_secs_f64() * 1000.0);
        let idle: Vec<(Duration, bool)> = self.lags.iter().filter(|(_, busy)| !busy).copied().collect();
        format!(
            "{kills} kills ({}); {} frames compared; calls killed before they were answered: {} not done, {} done; \
             on disk behind the traffic: median {:.1} ms, worst {:.1} ms in {} rounds, worst {:.1} ms in {} rounds on a machine that was not busy; \
             a thread of the test was woken {:.1} ms late at worst",
            by_kind.join(", "),
            self.frames,
            self.undone,
            self.done,
            ms(self.lags.get(self.lags.len() / 2)),
            ms(self.lags.last()),
            self.lags.len(),
            ms(idle.last()),
            idle.len(),
            self.late.as_secs_f64() * 1000.0
        )
    }
}
