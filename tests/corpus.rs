//! The corpus of the fuzz targets, each input through its target on a thread as small as mockd's own; and journals cut and damaged at every byte.

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mockd::base::limits::STACK_BYTES;
use targets::{TARGETS, Target};

use crate::support::effort::{Dice, rounds};

fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name)
}

/// The inputs of a target, in the order of their names.
fn inputs(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(folder(target)).unwrap_or_else(|error| panic!("{} has no corpus: {error}", target.name));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

/// Runs something on a thread with the stack of the one that does it in mockd: a connection's, or for YAML, which nobody but the
/// main thread reads, a part of that one's.
fn on_its_stack<T: Send>(target: &Target, run: impl FnOnce() -> T + Send) -> T {
    let bytes = if target.name == "config_yaml" { 4 * STACK_BYTES } else { STACK_BYTES };
    std::thread::scope(|scope| std::thread::Builder::new().stack_size(bytes).spawn_scoped(scope, run).unwrap().join().unwrap())
}

#[test]
fn every_input_of_the_corpus_keeps_what_its_target_checks() {
    for target in TARGETS {
        let inputs = inputs(target);
        assert!(!inputs.is_empty(), "{} has no input", target.name);
        on_its_stack(target, || {
            for (path, input) in inputs {
                let checked = std::panic::catch_unwind(|| (target.check)(&input));
                assert!(checked.is_ok(), "{} fails with {}", target.name, path.display());
            }
        });
    }
}

#[test]
fn the_corpus_has_a_folder_for_each_target_and_none_beside() {
    let mut names: Vec<String> = std::fs::read_dir(folder(&TARGETS[0]).parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    known.sort_unstable();
    assert_eq!(names, known);
}

/// Inputs made of those of the corpus, without looking at coverage: what a run without libFuzzer can try.
#[test]
fn inputs_made_of_the_corpus_keep_what_their_target_checks() {
    let seed = Dice::new("corpus").bits();
    for target in TARGETS {
        let inputs: Vec<Vec<u8>> = inputs(target).into_iter().map(|(_, input)| input).collect();
        let mut dice = Dice::of(seed);
        let limit = Duration::from_secs(rounds(0, 20));
        let begun = Instant::now();
        let mut tried = 0u64;
        while tried < rounds(8, u64::MAX) && (tried < 8 || begun.elapsed() < limit) {
            let input = mutated(&inputs, &mut dice);
            let checked = on_its_stack(target, || std::panic::catch_unwind(|| (target.check)(&input)).is_ok());
            if !checked {
                let path = std::env::temp_dir().join(format!("mockd-{}-failed", target.name));
                std::fs::write(&path, &input).unwrap();
                panic!("{} fails with {}", target.name, path.display());
            }
            tried += 1;
        }
        if rounds(0, 1) == 1 {
            println!("{}: {tried} inputs made of {} in {:.1} s", target.name, inputs.len(), begun.elapsed().as_secs_f64());
        }
    }
}

/// An input with some bytes changed, taken out, doubled, or put in from another one.
fn mutated(inputs: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut input = dice.pick(inputs).clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(input.len() as u64 + 1) as usize;
        let until = (at + dice.below(20) as usize).min(input.len());
        match dice.below(6) {
            0 => drop(input.drain(at..until)),
            1 => {
                let piece = input[at..until].to_vec();
                input.splice(at..at, piece.repeat(1 + dice.below(30) as usize));
            }
            2 => {
                let other = dice.pick(inputs);
                let from = dice.below(other.len() as u64 + 1) as usize;
                let upto = (from + dice.below(60) as usize).min(other.len());
                input.splice(at..at, other[from..upto].iter().copied());
            }
            3 => input.truncate(at),
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = if dice.once_in(2) { *byte ^ (1 << dice.below(8)) } else { dice.bits() as u8 };
                }
            }
        }
    }
    input.truncate(64 * 1024);
    input
}

/// The journals of the corpus cut at every byte, and with every byte damaged: what stands before the damage is kept.
#[test]
fn a_journal_damaged_at_any_byte_keeps_every_line_that_is_whole() {
    let target = TARGETS.iter().find(|target| target.name == "journal").unwrap();
    let names = ["websocket", "finished", "torn"];
    let mut cuts = 0;
    on_its_stack(target, || {
        for (path, whole) in inputs(target).into_iter().filter(|(path, _)| names.iter().any(|name| path.ends_with(name))) {
            let step = rounds(31, 1) as usize;
            for at in (0..whole.len()).step_by(step) {
                targets::check_damaged_journal(&whole, at).unwrap_or_else(|what| panic!("{}, byte {at}: {what}", path.display()));
                cuts += 1;
            }
        }
    });
    println!("journals damaged at {cuts} bytes");
}
