//! The rows of `record` and `play`: the commands that run another one beside a server. The table that they stand in is `commands.rs`.

use super::command::{Command, Flag, Kind, Positional, Scope, Takes, file, integer, join, switch, text, word};
use super::commands::{READY_FILE, ROW};
use super::{play, record};

/// `record`
pub const RECORD: Command = Command {
    path: &["record"],
    summary: "Record what a command does with a server, or one connection, through a proxy of its own",
    details: "The command finds the proxy in MOCKD_URL (http://127.0.0.1:PORT) and MOCKD_WS_URL (ws://…), its\n\
              admin port in MOCKD_ADMIN_URL; stdin, stdout and stderr are its own. mockd exits with its status\n\
              (128 and the signal's number where one ended it, 127 where there is no such command), and with 1\n\
              where a recording could not be kept. Without a command one WebSocket or event stream is recorded.\n\
              Where none came, a line on stderr says so; without a command that is exit code 1.\n\n\
              With --output the first recording gets that name, further ones chat-2.json, chat-3.json; a\n\
              recording that has the name is replaced, any other file is not. Without --output they are kept in\n\
              the data directory. What a crash leaves is in a directory .mockd-ID beside the file, as a data\n\
              directory. Without --port a command gets a free port; without --log-level only warnings and errors\n\
              are logged. Everything goes to URL: upstreams and mocks of config files are left aside, their\n\
              rules of redaction are not.",
    positionals: &[Positional { name: "URL", help: "The server: a ws, wss, http or https URL", many: false, takes: Takes::Anything }],
    flags: &[file("output", "FILE", "The file to write, such as chat.json").short('o'), READY_FILE],
    trailing: Some("A command to run; it is not given to a shell"),
    scope: Scope::OneShot(RECORD_SETTINGS),
    examples: &[
        "mockd record wss://echo.example.org -o chat.json  # one connection to port 4280",
        "mockd record https://api.example.org -o stream.json -- npm test",
    ],
    run: Some(record::record),
    ..ROW
};

/// `play`
pub const PLAY: Command = Command {
    path: &["play"],
    summary: "Serve recordings to a command, any number of clients, and tell whether all was as recorded",
    details: "Of a directory every recording in it is played (*.json, not those of directories below). The\n\
              command finds the server in MOCKD_URL and MOCKD_WS_URL, its admin port in MOCKD_ADMIN_URL; without\n\
              --port it gets a free port. mockd exits with the command's status (128 and the signal's number\n\
              where one ended it, 127 where there is no such command), or with 3 where that is 0 and a\n\
              synchronized replay saw a mismatch or a timeout, or a client that came did not stay to its end;\n\
              stderr says which, and what differs. Without a command it runs until SIGINT or SIGTERM. Without\n\
              --log-level only warnings and errors are logged.\n\n\
              Recordings of one protocol, method and path are told apart by query and body. A request that is\n\
              none of theirs gets the one that is most like it; equal requests get those that fit in turn, in\n\
              the order of their start times. With --record-missing only a request that is a recorded one (after\n\
              redaction) gets a recording; any other goes to --upstream, and a stream that comes from there\n\
              becomes a file in the first directory given, for the next run.",
    positionals: &[Positional { name: "FILE|DIR", help: "Recordings, and directories of recordings", many: true, takes: Takes::File }],
    flags: &PLAY_FLAGS,
    trailing: Some("A command to run; it is not given to a shell"),
    scope: Scope::OneShot(PLAY_SETTINGS),
    examples: &[
        "mockd play fixtures --mode synchronized --match json -- npm test",
        "mockd play fixtures --record-missing --upstream https://api.example.org -- npm test",
        "mockd play chat.json --timing-scale 0  # until Ctrl-C, on port 4280",
    ],
    exits: &[(3, "a client was not as recorded")],
    run: Some(play::play),
    ..ROW
};

/// The settings of `record`, by their flags.
const RECORD_SETTINGS: &[&str] = &[
    "port",
    "host",
    "upstream-ca",
    "upstream-insecure",
    "max-connections",
    "max-head-bytes",
    "head-timeout",
    "idle-timeout",
    "connect-timeout",
    "max-message-bytes",
    "max-event-bytes",
    "max-request-body-bytes",
    "data-dir",
    "max-bytes",
    "warn-percent",
    "log-level",
    "log-format",
];

/// The settings of `play`, by their flags.
const PLAY_SETTINGS: &[&str] = &[
    "upstream",
    "port",
    "host",
    "upstream-ca",
    "upstream-insecure",
    "cors-origin",
    "max-connections",
    "max-head-bytes",
    "head-timeout",
    "idle-timeout",
    "connect-timeout",
    "max-message-bytes",
    "max-event-bytes",
    "max-request-body-bytes",
    "stall-timeout",
    "max-queued-messages",
    "max-bytes",
    "log-level",
    "log-format",
];

const PLAY_FLAGS: [Flag; 14] =
    join(&REPLAY_OPTIONS, &[switch("record-missing", "Record from --upstream, into the directory, what no recording is for"), READY_FILE]);

/// The options of a replay that every command with replays takes.
pub const REPLAY_OPTIONS: [Flag; 12] = [
    word("mode", "MODE", &["pure", "synchronized", "triggered"], "What drives it: recorded times, client messages, or `advance`"),
    Flag {
        name: "timing-scale",
        short: None,
        kind: Kind::Decimal("FACTOR"),
        help: "pure: multiply delays; 0.5 is twice as fast",
        required: false,
    },
    word("initial-delay", "WORD", &["recorded", "none"], "pure: whether the first frame waits as recorded"),
    integer("max-gap", "MS", 0, "pure: cut longer silences to this, before scaling"),
    switch("strict-matching", "synchronized: client messages must be the recorded bytes"),
    word("match", "HOW", &["json", "type"], "synchronized: compare client messages as JSON, or by type alone"),
    text("ignore", "JSONPATH", "synchronized: leave this out of the comparison (with --match json); may be repeated"),
    text("correlate", "JSONPATH", "synchronized: put the client's value here into later server frames; may be repeated"),
    integer("timeout", "MS", 0, "synchronized, triggered: how long to wait; 0 is for ever"),
    switch("keep-timing", "synchronized: wait the recorded delay before an answer"),
    switch("auto-advance-on-connect", "triggered: send the first step on connect"),
    word("on-end", "WORD", &["recorded", "close", "keepOpen", "loop"], "What happens after the last frame"),
];
