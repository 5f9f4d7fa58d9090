//! What a command is: a row of data that the parser, the help texts and the dispatch read. The rows stand in `commands.rs`.

use super::commands::COMMANDS;
use super::context::Context;
use crate::base::error::Result;
use crate::model::setting::{LOG_FORMATS, Setting, Slot};
use crate::model::settings::{SETTINGS, by_flag};

/// A command, or a group of commands.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// The words that call it: `["stream-recordings", "list"]`.
    pub path: &'static [&'static str],
    /// Other words for the last of them.
    pub aliases: &'static [&'static str],
    /// What it does, in a line.
    pub summary: &'static str,
    /// What else one should know, in lines of at most 100 characters.
    pub details: &'static str,
    /// What stands after it.
    pub positionals: &'static [Positional],
    /// Its own flags.
    pub flags: &'static [Flag],
    /// What may stand behind `--`, if anything: a command to run.
    pub trailing: Option<&'static str>,
    /// The flags that come from the settings.
    pub scope: Scope,
    /// Lines as one would type them, which its help shows; each has all that the command needs, and what it does behind two blanks
    /// and a `#` where that is not plain.
    pub examples: &'static [&'static str],
    /// Exit codes that only this command has, with what they mean.
    pub exits: &'static [(u8, &'static str)],
    /// What it does; a group has nothing.
    pub run: Option<fn(&mut Context<'_>) -> Result<()>>,
}

/// An argument without a flag.
#[derive(Debug, Clone, Copy)]
pub struct Positional {
    /// Its name in help texts.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// Whether there may be several.
    pub many: bool,
    /// What it names.
    pub takes: Takes,
}

/// What an argument names: what a shell offers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A word that only the one who types knows.
    Anything,
    /// One of some words.
    Words(&'static [&'static str]),
    /// A file.
    File,
    /// A directory.
    Directory,
    /// The id of a recording in the data directory.
    Recording,
    /// The id of a recording that was deleted and can be restored.
    DeletedRecording,
    /// The id of a recording session of the server.
    Session,
    /// The id of a replay on the server.
    Replay,
}

/// Exit codes that every command has.
pub const EXITS: &[(u8, &str)] = &[(0, "done"), (1, "failed"), (2, "wrong usage")];

/// Which settings a command reads, and so has flags for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// None: not even the config files.
    Nothing,
    /// Those of the data directory.
    Store,
    /// Those by which a server is asked.
    Server,
    /// Those of the data directory, and those by which a server is asked.
    StoreAndServer,
    /// All.
    Everything,
    /// Those of a server that lives as long as one command, by their flags.
    OneShot(&'static [&'static str]),
}

/// A flag.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// Its one letter.
    pub short: Option<char>,
    /// What it takes.
    pub kind: Kind,
    /// What it does, in a sentence without a full stop.
    pub help: &'static str,
    /// Whether it must be given.
    pub required: bool,
}

/// What a flag takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Nothing.
    Switch,
    /// A text, called so.
    Text(&'static str),
    /// A file, called so.
    File(&'static str),
    /// A whole number, called so, of at least this.
    Integer(&'static str, u64),
    /// A number of at least 0, called so.
    Decimal(&'static str),
    /// One of some words, called so.
    Word(&'static str, &'static [&'static str]),
    /// What a setting takes.
    Setting(&'static Setting),
}

/// The words of a switch that is on unless it is said to be off.
pub const TRUTHS: &[&str] = &["true", "false"];

/// What other tools with these recordings call some flags.
pub const OTHER_NAMES: [(&str, &str); 2] = [("include-client", "include-client-messages"), ("deduplicate", "deduplicate-messages")];

impl Kind {
    /// Whether it is `true` or `false`.
    pub fn is_truth(self) -> bool {
        matches!(self, Self::Word(_, words) if words == TRUTHS)
    }
}

/// A flag without a value.
pub const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, kind: Kind::Switch, help, required: false }
}

/// A flag with a text.
pub const fn text(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, kind: Kind::Text(value), help, required: false }
}

/// A flag with a file.
pub const fn file(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, kind: Kind::File(value), help, required: false }
}

/// A flag with a whole number of at least `low`.
pub const fn integer(name: &'static str, value: &'static str, low: u64, help: &'static str) -> Flag {
    Flag { name, short: None, kind: Kind::Integer(value, low), help, required: false }
}

/// A flag with one of some words.
pub const fn word(name: &'static str, value: &'static str, words: &'static [&'static str], help: &'static str) -> Flag {
    Flag { name, short: None, kind: Kind::Word(value, words), help, required: false }
}

/// Two lists of flags as one.
pub const fn join<const A: usize, const B: usize, const ALL: usize>(one: &[Flag; A], other: &[Flag; B]) -> [Flag; ALL] {
    assert!(A + B == ALL, "the length of both together");
    let mut all = [one[0]; ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = if at < A { one[at] } else { other[at - A] };
        at += 1;
    }
    all
}

impl Flag {
    /// The same flag with a letter.
    pub const fn short(self, letter: char) -> Self {
        Self { short: Some(letter), ..self }
    }

    /// The same flag, which must be given.
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// The flag of a setting.
    fn of(setting: &'static Setting) -> Option<Self> {
        Some(Self { name: setting.flag?, short: None, kind: Kind::Setting(setting), help: setting.help, required: false })
    }

    /// What its value is called; `None` where it takes none.
    pub fn value_name(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Switch => None,
            Kind::Setting(setting) if setting.is_switch() => None,
            Kind::Text(name) | Kind::File(name) | Kind::Integer(name, _) | Kind::Decimal(name) | Kind::Word(name, _) => Some(name),
            Kind::Setting(setting) => Some(setting.value_name),
        }
    }

    /// What its value names.
    pub fn takes(&self) -> Takes {
        match self.kind {
            Kind::File(_) => Takes::File,
            Kind::Word(_, words) => Takes::Words(words),
            Kind::Setting(setting) => match setting.slot {
                Slot::Path(_) if setting.value_name == DIRECTORY => Takes::Directory,
                Slot::Path(_) => Takes::File,
                Slot::Word(_, words) => Takes::Words(words),
                Slot::LogFormat(_) => Takes::Words(&LOG_FORMATS),
                _ => Takes::Anything,
            },
            Kind::Switch | Kind::Text(_) | Kind::Integer(..) | Kind::Decimal(_) => Takes::Anything,
        }
    }

    /// Whether its value may be left out: `--record`.
    pub fn is_value_optional(&self) -> bool {
        self.kind.is_truth() || matches!(self.kind, Kind::Setting(setting) if matches!(setting.slot, Slot::Pattern(_)))
    }
}

/// What the value of a setting that is a directory is called.
const DIRECTORY: &str = "DIR";

/// The flags that config files come by.
const CONFIG: Flag = file("config", "FILE", "A config file (JSON or YAML), read after mockd.yaml; may be repeated");

/// The address of a server.
const ADMIN_URL: Flag = text("admin-url", "URL", "The server's admin port [env: MOCKD_ADMIN_URL] [default: http://localhost:4290]");

impl Command {
    /// Every flag that it takes, its own first.
    pub fn all_flags(&self) -> Vec<Flag> {
        let mut flags = self.flags.to_vec();
        flags.extend(self.shared_flags());
        flags
    }

    /// The flags that it has with all commands of its scope.
    pub fn shared_flags(&self) -> Vec<Flag> {
        let mut flags = Vec::new();
        let setting = |name| by_flag(name).and_then(Flag::of);
        match self.scope {
            Scope::Nothing => {}
            Scope::Store => {
                flags.extend(setting("data-dir"));
                flags.push(CONFIG);
            }
            Scope::Server => {
                flags.push(ADMIN_URL);
                flags.extend(setting("admin-token"));
                flags.push(CONFIG);
            }
            Scope::StoreAndServer => {
                flags.extend(setting("data-dir"));
                flags.push(ADMIN_URL);
                flags.extend(setting("admin-token"));
                flags.push(CONFIG);
            }
            Scope::Everything => {
                flags.push(CONFIG);
                flags.extend(SETTINGS.iter().filter_map(Flag::of));
            }
            Scope::OneShot(names) => {
                flags.push(CONFIG);
                flags.extend(names.iter().filter_map(|name| setting(name)));
            }
        }
        flags
    }

    /// Its words: `stream-recordings list`.
    pub fn name(&self) -> String {
        self.path.join(" ")
    }

    /// The commands one level below it.
    pub fn children(&self) -> impl Iterator<Item = &'static Command> {
        let path = self.path;
        COMMANDS.iter().filter(move |command| command.path.len() == path.len() + 1 && command.path.starts_with(path))
    }

    /// Whether `word` calls it, after the words of its group.
    pub fn is_called(&self, word: &str) -> bool {
        self.path.last() == Some(&word) || self.aliases.contains(&word)
    }
}

/// The commands of the first level.
pub fn top_level() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(|command| command.path.len() == 1)
}
