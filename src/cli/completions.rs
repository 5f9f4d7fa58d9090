//! `mockd completions`: scripts that complete mockd in a shell, made from the COMMANDS table. What only one shell needs stands in its own
//! file below. Nothing here knows a command by its name but those whose tables list ids.

mod bash;
mod fish;
mod zsh;

use std::io::Write;

use super::command::{Command, Flag, Takes, top_level};
use super::commands::COMMANDS;
use super::context::Context;
use super::parser::HELP;
use crate::base::error::{Error, Result};

/// The shells that have a script.
pub const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// `completions`
pub fn completions(context: &mut Context<'_>) -> Result<()> {
    let text = script(context.typed.word());
    context.out.write_all(text.as_bytes()).map_err(|error| Error::Failed(format!("stdout cannot be written: {error}")))
}

/// The script of one of [`SHELLS`].
fn script(shell: &str) -> String {
    match shell {
        "bash" => bash::script(),
        "zsh" => zsh::script(),
        _ => fish::script(),
    }
}

/// A command whose table has ids in its first column.
struct Listing {
    /// What the scripts call it.
    name: &'static str,
    /// What it lists.
    takes: Takes,
    /// The command.
    path: &'static [&'static str],
    /// A flag that it needs.
    flag: Option<&'static str>,
    /// The words that a row must hold to be offered; empty for all rows.
    only: &'static str,
}

const LISTINGS: &[Listing] = &[
    Listing { name: "recordings", takes: Takes::Recording, path: &["stream-recordings", "list"], flag: None, only: "" },
    Listing {
        name: "deleted",
        takes: Takes::DeletedRecording,
        path: &["stream-recordings", "list"],
        flag: Some("--include-deleted"),
        only: "  deleted  ",
    },
    Listing { name: "sessions", takes: Takes::Session, path: &["stream-recordings", "sessions"], flag: None, only: "" },
    Listing { name: "replays", takes: Takes::Replay, path: &["replay", "list"], flag: None, only: "" },
];

impl Listing {
    fn of(takes: Takes) -> Option<&'static Self> {
        LISTINGS.iter().find(|listing| listing.takes == takes)
    }

    /// Its words as one types them.
    fn words(&self) -> String {
        self.path.iter().copied().chain(self.flag).collect::<Vec<_>>().join(" ")
    }

    /// The flags that it is given as they stand on the line: where to look, and as whom.
    fn passed(&self) -> Vec<String> {
        let command = COMMANDS.iter().find(|command| command.path == self.path);
        command.map(Command::shared_flags).unwrap_or_default().iter().map(|flag| format!("--{}", flag.name)).collect()
    }
}

/// What a command is called in the scripts: `stream-recordings/list`, and nothing for `mockd` alone.
fn key(path: &[&str]) -> String {
    path.join("/")
}

/// Every way to call `command` from the one above it: `stream-recordings/list`, `stream-recordings/ls`.
fn calls(command: &Command) -> Vec<String> {
    let group = key(&command.path[..command.path.len().saturating_sub(1)]);
    names(command).map(|name| format!("{group}/{name}")).collect()
}

/// The words that call a command from the one above it.
fn names(command: &Command) -> impl Iterator<Item = &'static str> {
    command.path.last().copied().into_iter().chain(command.aliases.iter().copied())
}

/// The commands below `group`, or those of the first level, each word that calls one with what it does.
fn below(group: Option<&Command>) -> Vec<(&'static str, &'static str)> {
    let commands: Vec<&'static Command> = match group {
        Some(group) => group.children().collect(),
        None => top_level().collect(),
    };
    let mut found: Vec<_> = commands.into_iter().flat_map(|command| names(command).map(move |name| (name, command.summary))).collect();
    if group.is_none() {
        found.push((HELP, "Print the help of a command"));
    }
    found
}

/// The ways to type a flag: `-o`, `--output`.
fn spellings(flag: &Flag) -> Vec<String> {
    let short = flag.short.map(|letter| format!("-{letter}"));
    short.into_iter().chain([format!("--{}", flag.name)]).collect()
}

/// A text in single quotes for bash and zsh.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parser::{Parsed, parse};

    #[test]
    fn every_command_and_flag_is_in_each_script() {
        for shell in SHELLS {
            let text = script(shell);
            let unquoted = text.replace(r"'\''", "'").replace(r"\'", "'");
            let words: std::collections::HashSet<&str> = text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_/".contains(c))).collect();
            for command in COMMANDS {
                for name in names(command) {
                    assert!(words.contains(name), "{shell}: {name}");
                }
                for flag in command.all_flags() {
                    let long = if shell == "fish" { flag.name.to_owned() } else { format!("--{}", flag.name) };
                    assert!(words.contains(long.as_str()), "{shell}: {} {long}", command.name());
                    // A value that may be left out stands behind a `=`, where nothing is offered.
                    if let Takes::Words(known) = flag.takes()
                        && !flag.is_value_optional()
                    {
                        assert!(text.contains(&known.join(" ")), "{shell}: {known:?}");
                    }
                    // zsh escapes some characters; what stands before them is enough.
                    let help = flag.help.split(['[', ':']).next().unwrap_or_default();
                    assert!(shell == "bash" || unquoted.contains(help), "{shell}: {help}");
                }
                assert!(shell == "bash" || unquoted.contains(command.summary), "{shell}: {}", command.summary);
            }
        }
    }

    #[test]
    fn every_kind_of_id_has_a_command_that_lists_it() {
        for positional in COMMANDS.iter().flat_map(|command| command.positionals) {
            let is_id = !matches!(positional.takes, Takes::Anything | Takes::Words(_) | Takes::File | Takes::Directory);
            assert_eq!(Listing::of(positional.takes).is_some(), is_id, "{:?}", positional.takes);
        }
        for listing in LISTINGS {
            match parse(listing.words().split(' ').map(Into::into)) {
                Ok(Parsed::Run(typed)) => assert_eq!(typed.command.path, listing.path),
                other => panic!("{}: {other:?}", listing.words()),
            }
            assert!(!listing.passed().is_empty(), "{}", listing.name);
        }
    }

    #[test]
    fn names_need_no_quotes() {
        // The scripts put them into patterns and lists as they are.
        let plain = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        for command in COMMANDS {
            assert!(names(command).all(plain), "{}", command.name());
            for flag in command.all_flags() {
                assert!(plain(flag.name), "{}", flag.name);
            }
            let takes =
                command.all_flags().iter().map(Flag::takes).chain(command.positionals.iter().map(|one| one.takes)).collect::<Vec<_>>();
            for takes in takes {
                if let Takes::Words(words) = takes {
                    assert!(words.iter().all(|word| plain(word)), "{words:?}");
                }
            }
        }
    }
}
