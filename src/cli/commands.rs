//! The COMMANDS table: every command with its words, arguments, flags and help. The parser, the help texts and the dispatch are made
//! from it. It holds no behaviour but the names of functions.

use super::command::{Command, Flag, Positional, Scope, TRUTHS, Takes, file, integer, join, switch, text, word};
use super::commands_ci::{PLAY, RECORD, REPLAY_OPTIONS};
use super::completions::{self, SHELLS};
use super::{check, convert, daemon, init, recordings, replays, serve, sessions, transfer};
use crate::model::convert_options::ConfigFormat;
use crate::model::recording::{Protocol, Status};
use crate::rules::export::Format;

/// What a row leaves out.
pub const ROW: Command = Command {
    path: &[],
    aliases: &[],
    summary: "",
    details: "",
    positionals: &[],
    flags: &[],
    trailing: None,
    scope: Scope::Nothing,
    examples: &[],
    exits: &[],
    run: None,
};

/// The one argument of a command that is an id.
const fn one(takes: Takes, help: &'static str) -> Positional {
    Positional { name: "ID", help, many: false, takes }
}

/// Ids, as many as one likes.
const fn several(takes: Takes) -> Positional {
    Positional { name: "ID", help: "Ids of recordings, or at least 6 characters of each", many: true, takes }
}

const RECORDING: &[Positional] = &[one(Takes::Recording, "The id of a recording, or at least 6 characters of it")];
const RECORDINGS: &[Positional] = &[several(Takes::Recording)];
const DELETED: &[Positional] = &[several(Takes::DeletedRecording)];
const SESSION: &[Positional] = &[one(Takes::Session, "The id of a recording session, or at least 6 characters of it")];
const REPLAY: &[Positional] = &[one(Takes::Replay, "The id of a replay, or at least 6 characters of it")];

const JSON: Flag = switch("json", "Print what the API answers, as JSON");

const START_FLAGS: [Flag; 14] =
    join(&REPLAY_OPTIONS, &[text("path", "PATH", "The path that the client comes to, in place of the recorded one"), JSON]);
/// Where a server says that it is ready.
pub const READY_FILE: Flag = file("ready-file", "FILE", "Write the addresses to this file, as JSON, when both ports are open");
const READY_JSON: Flag = switch("json", "Print the addresses as one line of JSON when both ports are open");
const ADMIN_PORT: Flag = integer("admin-port", "PORT", 1, "The admin port of the server that is meant [env: MOCKD_ADMIN_PORT]");

/// Every command. A group stands before its commands.
pub const COMMANDS: &[Command] = &[
    Command {
        path: &["serve"],
        summary: "Run the server: the mock port, which applications connect to, and the admin port",
        details: "It runs until SIGINT or SIGTERM. Flags beat environment variables, these beat config files\n\
                  (mockd.yaml in the working directory, then each --config), these beat defaults. Sizes are in\n\
                  bytes, or end in KiB, MiB or GiB.",
        flags: &[READY_FILE, READY_JSON, switch("detach", "Run it in the background, as `mockd start` does")],
        scope: Scope::Everything,
        examples: &[
            "mockd serve --upstream http://localhost:8080",
            "mockd serve --demo --record  # try it without an upstream",
            "mockd serve --port 0 --admin-port 0 --json --ready-file ready.json  # free ports, for scripts",
        ],
        run: Some(serve::serve),
        ..ROW
    },
    Command {
        path: &["start"],
        summary: "Start the server in the background, and return when both ports answer",
        details: "It takes the flags of `mockd serve`. What it logs, and a pid file per admin port, stand in .run\n\
                  below the data directory. `mockd status` shows it, `mockd stop` ends it.",
        flags: &[READY_FILE, READY_JSON],
        scope: Scope::Everything,
        run: Some(daemon::start),
        ..ROW
    },
    Command {
        path: &["stop"],
        summary: "End a server in the background; its recordings are finished first",
        details: "Where several run for one data directory, --admin-port picks one. Exit code 1: none runs.",
        flags: &[ADMIN_PORT],
        scope: Scope::Store,
        run: Some(daemon::stop),
        ..ROW
    },
    Command {
        path: &["status"],
        summary: "Show a server in the background: pid, addresses, uptime, data directory",
        details: "Where several run for one data directory, --admin-port picks one. Exit code 1: none runs.",
        flags: &[ADMIN_PORT, switch("json", "Print it as JSON")],
        scope: Scope::Store,
        run: Some(daemon::status),
        ..ROW
    },
    RECORD,
    PLAY,
    Command {
        path: &["init"],
        summary: "Write a commented mockd.yaml into the working directory",
        details: "A mockd.yaml that is there already stays as it is.",
        run: Some(init::init),
        ..ROW
    },
    Command {
        path: &["check"],
        summary: "Check config files and recordings, without starting anything",
        details: "A config is checked as a server would check it before it opens a port, with the recordings that its\n\
                  mocks replay; a recording to its last frame. What is wrong goes to stderr, a line each, and the\n\
                  exit code is 1.",
        positionals: &[Positional {
            name: "FILE",
            help: "Configs (JSON or YAML) and recordings, told apart by what is in them",
            many: true,
            takes: Takes::File,
        }],
        flags: &[switch("json", "Print what was found as JSON")],
        scope: Scope::Store,
        examples: &["mockd check mockd.yaml fixtures/chat.json"],
        run: Some(check::check),
        ..ROW
    },
    Command {
        path: &["stream-recordings"],
        aliases: &["sr"],
        summary: "List, show and keep recordings, and record",
        details: "sessions, start, stop and tail ask a running server; the others work on the data directory,\n\
                  with or without a server.",
        ..ROW
    },
    Command {
        path: &["stream-recordings", "list"],
        aliases: &["ls"],
        summary: "List recordings, newest first",
        flags: &[
            word("protocol", "PROTOCOL", &Protocol::WORDS, "Only of this protocol"),
            word("status", "STATUS", &Status::WORDS, "Only with this status"),
            text("path", "PATH", "Only of this path, or of paths that fit a pattern such as '/ws/*'"),
            text("name", "NAME", "Only with this name"),
            text("tag", "TAG", "Only with this tag"),
            switch("include-deleted", "Also those that were deleted and can be restored"),
            word("sort-by", "FIELD", &["startTime", "name", "size", "duration"], "The order"),
            word("sort-order", "ORDER", &["asc", "desc"], "Ascending or descending"),
            integer("limit", "N", 1, "At most so many"),
            integer("offset", "N", 0, "Leave out so many at the beginning"),
            JSON,
        ],
        scope: Scope::Store,
        examples: &[
            "mockd stream-recordings list --protocol sse --sort-by size --limit 10",
            "mockd stream-recordings list --path '/ws/*' --json",
        ],
        run: Some(recordings::list),
        ..ROW
    },
    Command {
        path: &["stream-recordings", "show"],
        summary: "Show a recording",
        positionals: RECORDING,
        flags: &[switch("json", "Print the whole recording as JSON, all frames included")],
        scope: Scope::Store,
        examples: &["mockd stream-recordings show 01HXYZ123456", "mockd stream-recordings show 01HXYZ123456 --json | head -c 1000"],
        run: Some(recordings::show),
        ..ROW
    },
    Command {
        path: &["stream-recordings", "export"],
        summary: "Write a recording to stdout or to a file",
        positionals: RECORDING,
        flags: &[
            file("output", "FILE", "The file to write; one that is there is replaced").short('o'),
            word("format", "FORMAT", &Format::WORDS, "The recording's own JSON, an HTTP archive, or JSON Lines (a frame a line)"),
        ],
        scope: Scope::Store,
        examples: &[
            "mockd stream-recordings export 01HXYZ123456 -o chat.json",
            "mockd stream-recordings export 01HXYZ123456 --format har -o chat.har",
        ],
        run: Some(transfer::export),
        ..ROW
    },
    Command {
        path: &["stream-recordings", "import"],
        summary: "Make recordings out of files: recordings, JSON Lines, HAR, recordings of the original mockd",
        details: "A file gives all its recordings or none; they get new ids. A HAR of Chrome, Playwright or\n\
                  mitmproxy gives one for each WebSocket and event stream; what else is in it is named on\n\
                  stderr. `-` is stdin. The redaction in force is applied.",
        positionals: &[Positional { name: "FILE", help: "Files to import", many: true, takes: Takes::File }],
        flags: &[JSON],
        scope: Scope::Store,
        examples: &["mockd stream-recordings import session.har"],
        run: Some(transfer::import),
        ..ROW
    },
    Command {
        path: &["stream-recordings", "convert"],
        summary: "Convert a recording to a mock in a config file",
        details: "The config, on stdout or in FILE, is one that `mockd serve --config FILE` loads. What a mock cannot\n\
                  have of the recording is named on stderr. Delays are in milliseconds.",
        positionals: RECORDING,
        flags: &[
            file("output", "FILE", "The file to write; one that is there is replaced; YAML where it ends in .yaml or .yml").short('o'),
            word("format", "FORMAT", &ConfigFormat::WORDS, "The format [default: what FILE ends in, else json]"),
            switch("simplify-timing", "Make short delays 0 and cut long ones"),
            integer("min-delay", "MS", 0, "With --simplify-timing: shorter delays become 0 [default: 10]"),
            integer("max-delay", "MS", 0, "With --simplify-timing: longer delays become this [default: 5000]"),
            word("include-client-messages", "BOOL", TRUTHS, "WebSocket: whether the mock expects the client's messages [default: true]"),
            switch("deduplicate-messages", "Make one of server messages that follow each other and are the same"),
            text("endpoint-path", "PATH", "The mock's path, in place of the recorded one"),
            text("mock-name", "NAME", "The mock's name, in place of the recording's"),
            switch("add-to-server", "Also make the mock live on a running server that has the recording"),
        ],
        scope: Scope::StoreAndServer,
        run: Some(convert::convert),
        ..ROW
    },
    Command {
        path: &["stream-recordings", "delete"],
        aliases: &["rm"],
        summary: "Delete recordings; they can be restored until `vacuum`",
        details: "On a terminal it asks first. Where there is none, only --permanent needs --force.",
        positionals: RECORDINGS,
        flags: &[switch("force", "Do not ask").short('f'), switch("permanent", "Delete for ever")],
        scope: Scope::Store,
        examples: &[
            "mockd stream-recordings delete 01HXYZ123456 01HABC123456",
            "mockd stream-recordings delete 01HXYZ123456 --permanent --force  # in a script",
        ],
        run: Some(recordings::delete),
        ..ROW
    },
    Command {
        path: &["stream-recordings", "restore"],
        summary: "Restore deleted recordings",
        positionals: DELETED,
        flags: &[JSON],
        scope: Scope::Store,
        run: Some(recordings::restore),
        ..ROW
    },
    Command {
        path: &["stream-recordings", "edit"],
        summary: "Change a recording's name, description or tags",
        positionals: RECORDING,
        flags: &[
            text("name", "NAME", "The new name"),
            text("description", "TEXT", "The new description; an empty one removes it"),
            text("tag", "TAG", "A tag, in place of all that are there; may be repeated; an empty one removes all"),
            JSON,
        ],
        scope: Scope::Store,
        examples: &["mockd stream-recordings edit 01HXYZ123456 --name login --tag auth --tag v2"],
        run: Some(recordings::edit),
        ..ROW
    },
    Command {
        path: &["stream-recordings", "stats"],
        summary: "Show how much space recordings take",
        flags: &[JSON],
        scope: Scope::Store,
        run: Some(recordings::stats),
        ..ROW
    },
    Command {
        path: &["stream-recordings", "vacuum"],
        summary: "Remove deleted recordings for ever, without asking",
        flags: &[JSON],
        scope: Scope::Store,
        run: Some(recordings::vacuum),
        ..ROW
    },
    Command {
        path: &["stream-recordings", "sessions"],
        summary: "List the recording sessions of a server",
        flags: &[JSON],
        scope: Scope::Server,
        run: Some(sessions::sessions),
        ..ROW
    },
    Command {
        path: &["stream-recordings", "start"],
        summary: "Start to record a path on a server",
        flags: &[
            word("protocol", "PROTOCOL", &Protocol::WORDS, "What to record").required(),
            text("path", "PATH", "Where: a path, or a pattern such as '/ws/*'").required(),
            text("name", "NAME", "The name of its recordings"),
            text("description", "TEXT", "Their description"),
            text("tag", "TAG", "A tag of theirs; may be repeated"),
            text("upstream", "URL", "An upstream for this path while the session is open"),
            integer("max-duration", "MS", 1, "End each recording after so many milliseconds"),
            integer("max-frames", "N", 1, "End each recording after so many frames"),
            JSON,
        ],
        scope: Scope::Server,
        examples: &[
            "mockd stream-recordings start --protocol websocket --path /ws/chat --name chat",
            "mockd stream-recordings start --protocol sse --path '/events/*' --upstream http://localhost:8080",
        ],
        run: Some(sessions::start),
        ..ROW
    },
    Command {
        path: &["stream-recordings", "stop"],
        summary: "End a recording session on a server, and list its recordings",
        positionals: SESSION,
        flags: &[JSON],
        scope: Scope::Server,
        run: Some(sessions::stop),
        ..ROW
    },
    Command {
        path: &["stream-recordings", "tail"],
        summary: "Print the frames of a recording as they come, a line each, until it ends",
        positionals: RECORDING,
        flags: &[switch("json", "Print each frame as a line of JSON")],
        scope: Scope::Server,
        examples: &["mockd stream-recordings tail 01HXYZ123456 --json"],
        run: Some(sessions::tail),
        ..ROW
    },
    Command {
        path: &["replay"],
        summary: "Replay recordings on a server, and steer replays",
        details: "All of them ask a running server.",
        ..ROW
    },
    Command {
        path: &["replay", "list"],
        aliases: &["ls"],
        summary: "List replays that have not ended",
        flags: &[switch("all", "Also those that have ended"), JSON],
        scope: Scope::Server,
        run: Some(replays::list),
        ..ROW
    },
    Command {
        path: &["replay", "start"],
        summary: "Prepare a replay for the next client on the recording's path",
        details: "Options of another mode than the chosen one are refused.",
        positionals: RECORDING,
        flags: &START_FLAGS,
        scope: Scope::Server,
        examples: &[
            "mockd replay start 01HXYZ123456 --timing-scale 0.5  # twice as fast",
            "mockd replay start 01HXYZ123456 --mode synchronized --match json --ignore '$.id'",
            "mockd replay start 01HXYZ123456 --mode triggered --path /ws/other",
        ],
        run: Some(replays::start),
        ..ROW
    },
    Command {
        path: &["replay", "show"],
        summary: "Show a replay's status",
        positionals: REPLAY,
        flags: &[
            word("wait", "UNTIL", &["waiting", "complete", "ended"], "Answer when that is so"),
            integer("timeout", "MS", 0, "How long --wait may take"),
            JSON,
        ],
        scope: Scope::Server,
        examples: &["mockd replay show 01HXYZ123456 --wait complete --timeout 5000"],
        run: Some(replays::show),
        ..ROW
    },
    Command {
        path: &["replay", "messages"],
        summary: "List what the client of a replay has sent",
        positionals: REPLAY,
        flags: &[JSON],
        scope: Scope::Server,
        run: Some(replays::messages),
        ..ROW
    },
    Command {
        path: &["replay", "advance"],
        summary: "Send the next frames of a triggered replay",
        positionals: REPLAY,
        flags: &[
            integer("count", "N", 1, "So many frames; 1 without it"),
            text("until", "TEXT", "All frames up to the first whose data is this"),
            JSON,
        ],
        scope: Scope::Server,
        examples: &["mockd replay advance 01HXYZ123456 --count 3", "mockd replay advance 01HXYZ123456 --until '{\"type\":\"done\"}'"],
        run: Some(replays::advance),
        ..ROW
    },
    Command {
        path: &["replay", "pause"],
        summary: "Stop the clock of a pure replay",
        positionals: REPLAY,
        flags: &[JSON],
        scope: Scope::Server,
        run: Some(replays::pause),
        ..ROW
    },
    Command {
        path: &["replay", "resume"],
        summary: "Let a paused replay go on",
        positionals: REPLAY,
        flags: &[JSON],
        scope: Scope::Server,
        run: Some(replays::resume),
        ..ROW
    },
    Command {
        path: &["replay", "inject"],
        summary: "Send a frame or an event of your own to a replay's client, now",
        positionals: REPLAY,
        flags: &[
            text("type", "TYPE", "WebSocket: text, binary, ping or pong; event stream: the event's type"),
            text("data", "DATA", "The data; base64 for binary"),
            text("event-id", "ID", "Event stream: the event's id"),
            integer("retry", "MS", 0, "Event stream: the reconnection time"),
            text("comment", "TEXT", "Event stream: a comment"),
            JSON,
        ],
        scope: Scope::Server,
        examples: &[
            "mockd replay inject 01HXYZ123456 --type text --data '{\"type\":\"notice\"}'",
            "mockd replay inject 01HXYZ123456 --type tick --data 7 --event-id 42  # an event stream",
        ],
        run: Some(replays::inject),
        ..ROW
    },
    Command {
        path: &["replay", "close"],
        summary: "Let the server drop a replay's client now",
        positionals: REPLAY,
        flags: &[
            integer("code", "CODE", 1000, "The close code; 1000 without it"),
            text("reason", "TEXT", "The close reason"),
            switch("abrupt", "Drop the connection without a close frame"),
            JSON,
        ],
        scope: Scope::Server,
        examples: &["mockd replay close 01HXYZ123456 --code 1011 --reason overloaded", "mockd replay close 01HXYZ123456 --abrupt"],
        run: Some(replays::close),
        ..ROW
    },
    Command {
        path: &["replay", "stop"],
        summary: "End a replay",
        positionals: REPLAY,
        scope: Scope::Server,
        run: Some(replays::stop),
        ..ROW
    },
    Command {
        path: &["completions"],
        summary: "Print a script that completes mockd's commands, flags and ids in a shell",
        details: "A shell finds the script by itself in the file\n\
                  bash: ~/.local/share/bash-completion/completions/mockd (with the package bash-completion)\n\
                  zsh: _mockd in a directory of $fpath\n\
                  fish: ~/.config/fish/completions/mockd.fish",
        positionals: &[Positional { name: "SHELL", help: "bash, zsh or fish", many: false, takes: Takes::Words(&SHELLS) }],
        examples: &[
            "source <(mockd completions bash)  # in ~/.bashrc",
            "source <(mockd completions zsh)  # in ~/.zshrc, behind compinit",
            "mockd completions fish > ~/.config/fish/completions/mockd.fish",
        ],
        run: Some(completions::completions),
        ..ROW
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command::EXITS;
    use crate::cli::command::Kind;
    use crate::cli::parser::{Parsed, parse};

    /// Whether a value is called as a file or a directory is.
    fn is_path_name(name: &str) -> bool {
        ["FILE", "DIR"].iter().any(|word| name.contains(word))
    }

    /// The words of an example that are arguments of `mockd`, as a shell splits them.
    fn words(example: &str) -> Vec<String> {
        let typed = example.split("  #").next().unwrap_or_default();
        let typed = &typed[typed.find("mockd").expect("it calls mockd") + "mockd".len()..];
        let mut words = vec![String::new()];
        let mut quoted = false;
        for c in typed.chars() {
            match c {
                '\'' => quoted = !quoted,
                '|' | '>' | ')' | '&' | ';' if !quoted => break,
                ' ' if !quoted => words.push(String::new()),
                other => words.last_mut().expect("one is there").push(other),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn every_example_is_one_of_its_command() {
        for command in COMMANDS {
            for example in command.examples {
                match parse(words(example).into_iter().map(Into::into)) {
                    Ok(Parsed::Run(typed)) => assert_eq!(typed.command.path, command.path, "{example}"),
                    other => panic!("{example}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn every_row_is_whole() {
        for (index, command) in COMMANDS.iter().enumerate() {
            let name = command.name();
            assert!(!command.summary.is_empty() && !command.summary.ends_with('.'), "{name}");
            assert!(command.run.is_some() != (command.children().count() > 0), "{name} is a group or runs something");
            assert!(COMMANDS[..index].iter().all(|other| other.path != command.path), "{name} is there twice");
            if command.path.len() > 1 {
                let group = &command.path[..command.path.len() - 1];
                assert!(COMMANDS[..index].iter().any(|other| other.path == group), "{name} has no group before it");
            }
            for (at, positional) in command.positionals.iter().enumerate() {
                assert!(!positional.help.is_empty(), "{name}");
                assert!(!positional.many || at + 1 == command.positionals.len(), "{name}");
                let path = matches!(positional.takes, Takes::File | Takes::Directory);
                assert_eq!(path, is_path_name(positional.name), "{name} <{}>: shells complete what it takes", positional.name);
            }
            for (code, meaning) in command.exits {
                assert!(!meaning.is_empty() && EXITS.iter().all(|(known, _)| known != code), "{name}: {code}");
            }
        }
    }

    #[test]
    fn no_word_calls_two_commands() {
        for command in COMMANDS {
            let group = &command.path[..command.path.len() - 1];
            let same = |other: &&Command| other.path.len() == command.path.len() && other.path.starts_with(group);
            for word in command.path.last().into_iter().chain(command.aliases) {
                assert_eq!(COMMANDS.iter().filter(same).filter(|other| other.is_called(word)).count(), 1, "{word}");
            }
        }
    }

    #[test]
    fn every_flag_is_helpful_and_there_once() {
        for command in COMMANDS {
            let flags = command.all_flags();
            for (index, flag) in flags.iter().enumerate() {
                let name = format!("{} --{}", command.name(), flag.name);
                assert!(!flag.help.is_empty() && !flag.help.ends_with('.'), "{name}");
                assert!(flags[..index].iter().all(|other| other.name != flag.name), "{name}");
                let path = matches!(flag.takes(), Takes::File | Takes::Directory);
                assert_eq!(path, flag.value_name().is_some_and(is_path_name), "{name}: shells complete what it takes");
                assert!(flag.short.is_none() || flags[..index].iter().all(|other| other.short != flag.short), "{name}");
                assert!(!["help", "version"].contains(&flag.name) && flag.short != Some('h'), "{name}");
            }
        }
    }

    #[test]
    fn every_flag_is_read_by_somebody() {
        let sources = [
            include_str!("check.rs"),
            include_str!("convert.rs"),
            include_str!("recordings.rs"),
            include_str!("replays.rs"),
            include_str!("serve.rs"),
            include_str!("daemon.rs"),
            include_str!("one_shot.rs"),
            include_str!("record.rs"),
            include_str!("play.rs"),
            include_str!("sessions.rs"),
            include_str!("transfer.rs"),
            include_str!("context.rs"),
        ]
        .concat();
        for command in COMMANDS {
            // A flag with one word has nothing to choose yet; those of settings are read as a whole.
            let chosen = |flag: &&Flag| !matches!(flag.kind, Kind::Word(_, [_]) | Kind::Setting(_));
            for flag in command.all_flags().iter().filter(chosen) {
                assert!(sources.contains(&format!("\"{}\"", flag.name)), "{} --{}", command.name(), flag.name);
            }
        }
    }
}
