//! What was typed: arguments checked against the COMMANDS table. It does nothing, and reads neither files nor the environment.

use std::ffi::OsString;

use lexopt::Arg;

use super::command::{Command, Flag, Kind, OTHER_NAMES, TRUTHS, Takes, top_level};
use crate::base::error::{Error, Result};
use crate::base::text;
use crate::model::fields::not_a_word;
use crate::model::settings::Settings;

/// The word that asks for help in place of a command.
pub const HELP: &str = "help";

/// What the arguments ask for.
#[derive(Debug)]
pub enum Parsed {
    /// The help text of a command, or of all.
    Help(Option<&'static Command>),
    /// The version.
    Version,
    /// A command to run.
    Run(Typed),
}

/// A command with its arguments; every value has been checked.
#[derive(Debug, Clone)]
pub struct Typed {
    /// The command.
    pub command: &'static Command,
    /// Arguments without a flag.
    pub words: Vec<String>,
    /// The command behind `--`, as it was typed; empty where there is none.
    pub trailing: Vec<OsString>,
    /// All arguments as they were typed.
    pub raw: Vec<OsString>,
    flags: Vec<(&'static str, String)>,
}

impl Typed {
    /// Whether a switch was given.
    pub fn has(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// The value of a flag; the last one where it was given several times.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    /// Every value of a flag.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        debug_assert!(self.command.all_flags().iter().any(|flag| flag.name == name), "--{name} is in no table");
        self.flags.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The whole number of a flag.
    pub fn integer(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(|value| value.parse().ok())
    }

    /// The number of a flag.
    pub fn decimal(&self, name: &str) -> Option<f64> {
        self.text(name).and_then(|value| value.parse().ok())
    }

    /// The first argument; the parser has seen to it that it is there where the command has one.
    pub fn word(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

/// Reads the arguments, the program's name not among them.
///
/// # Errors
/// [`Error::Usage`] that says what is wrong, with the nearest known name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed> {
    let args: Vec<OsString> = args.into_iter().collect();
    let mut parser = lexopt::Parser::from_args(args.clone());
    let mut group: Option<&'static Command> = None;
    loop {
        let Some(arg) = parser.next().map_err(|error| Error::Usage(error.to_string()))? else {
            return Err(missing_command(group));
        };
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Parsed::Help(group)),
            Arg::Short('V') | Arg::Long("version") if group.is_none() => return Ok(Parsed::Version),
            Arg::Value(word) => {
                let word = utf8(word)?;
                if word == HELP {
                    return help_words(group, parser);
                }
                let command = step(group, &word)?;
                if command.run.is_some() {
                    return parse_leaf(command, parser, args.clone()).or_else(|error| help_or(error, Some(command), &args));
                }
                group = Some(command);
            }
            Arg::Short(letter) => return help_or(early_flag(&format!("-{letter}"), group), group, &args),
            Arg::Long(name) => return help_or(early_flag(&format!("--{name}"), group), group, &args),
        }
    }
}

/// Who asks for help beside a mistake is helped.
fn help_or(error: Error, command: Option<&'static Command>, args: &[OsString]) -> Result<Parsed> {
    let mut own = args.iter().take_while(|arg| *arg != "--");
    if own.any(|arg| arg == "--help" || arg == "-h") { Ok(Parsed::Help(command)) } else { Err(error) }
}

/// `mockd help stream-recordings list`, and `mockd stream-recordings help list`.
fn help_words(mut command: Option<&'static Command>, mut parser: lexopt::Parser) -> Result<Parsed> {
    while let Some(arg) = parser.next().map_err(|error| Error::Usage(error.to_string()))? {
        if let Arg::Value(word) = arg {
            command = Some(step(command, &utf8(word)?)?);
        }
    }
    Ok(Parsed::Help(command))
}

/// The command that `word` calls below `group`.
fn step(group: Option<&'static Command>, word: &str) -> Result<&'static Command> {
    let candidates: Vec<&'static Command> = match group {
        None => top_level().collect(),
        Some(group) => group.children().collect(),
    };
    candidates.iter().find(|command| command.is_called(word)).copied().ok_or_else(|| {
        let names = candidates.iter().filter_map(|command| command.path.last().copied());
        let hint = text::did_you_mean(word, names);
        let of = call_of(group);
        Error::Usage(format!("`{of}` has no command {:?}{hint}; see `{of} --help`", text::shorten(word, 64)))
    })
}

fn call_of(group: Option<&Command>) -> String {
    group.map_or_else(|| "mockd".to_owned(), |group| format!("mockd {}", group.name()))
}

fn missing_command(group: Option<&'static Command>) -> Error {
    let names: Vec<&str> = match group {
        None => top_level().filter_map(|command| command.path.last().copied()).collect(),
        Some(group) => group.children().filter_map(|command| command.path.last().copied()).collect(),
    };
    let of = call_of(group);
    Error::Usage(format!("`{of}` needs a command: {}; see `{of} --help`", names.join(", ")))
}

fn early_flag(flag: &str, group: Option<&Command>) -> Error {
    let of = call_of(group);
    Error::Usage(format!("{flag} must stand after a command of `{of}`; see `{of} --help`"))
}

fn parse_leaf(command: &'static Command, mut parser: lexopt::Parser, raw: Vec<OsString>) -> Result<Parsed> {
    let flags = command.all_flags();
    let mut typed = Typed { command, words: Vec::new(), trailing: Vec::new(), raw, flags: Vec::new() };
    let see = format!("see `mockd {} --help`", command.name());
    loop {
        if let Some(trailing) = take_trailing(command, &mut parser) {
            if trailing.is_empty() {
                return Err(Error::Usage(format!("no command follows the `--`; {see}")));
            }
            typed.trailing = trailing;
            break;
        }
        let Some(arg) = parser.next().map_err(|error| Error::Usage(format!("{error}; {see}")))? else { break };
        let flag = match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Parsed::Help(Some(command))),
            Arg::Value(word) => {
                typed.words.push(utf8(word)?);
                continue;
            }
            Arg::Long(name) => {
                let known = OTHER_NAMES.iter().find(|(other, _)| *other == name).map_or(name, |(_, known)| known);
                flags.iter().find(|flag| flag.name == known).ok_or_else(|| unknown_flag(name, &flags, &see))?
            }
            Arg::Short(letter) => flags
                .iter()
                .find(|flag| flag.short == Some(letter))
                .ok_or_else(|| Error::Usage(format!("there is no flag -{letter}; {see}")))?,
        };
        let value = take_value(flag, &mut parser)?;
        check(flag, &value)?;
        typed.flags.push((flag.name, value));
    }
    check_positionals(command, &typed.words, &see)?;
    if let Some(flag) = flags.iter().find(|flag| flag.required && !typed.has(flag.name)) {
        let name = flag.value_name().unwrap_or_default();
        return Err(Error::Usage(format!("--{} <{name}> must be given; {see}", flag.name)));
    }
    Ok(Parsed::Run(typed))
}

/// All that stands behind a `--` that is next, where this command takes a command there.
fn take_trailing(command: &Command, parser: &mut lexopt::Parser) -> Option<Vec<OsString>> {
    command.trailing?;
    let mut rest = parser.try_raw_args()?;
    rest.next_if(|next| next == "--")?;
    Some(rest.collect())
}

fn unknown_flag(name: &str, flags: &[Flag], see: &str) -> Error {
    let hint = text::nearest(name, flags.iter().map(|flag| flag.name).chain(["help"]));
    let hint = hint.map_or_else(String::new, |near| format!(" (did you mean --{near}?)"));
    Error::Usage(format!("there is no flag --{}{hint}; {see}", text::shorten(name, 64)))
}

/// The value of a flag as it stands: after `=`, or as the next argument.
fn take_value(flag: &Flag, parser: &mut lexopt::Parser) -> Result<String> {
    if flag.value_name().is_none() {
        // `--demo=false` takes back what a file or a variable says; a switch of no setting takes nothing.
        return match parser.optional_value() {
            None => Ok("true".to_owned()),
            Some(value) if matches!(flag.kind, Kind::Setting(_)) => utf8(value),
            Some(_) => Err(Error::Usage(format!("--{} takes no value", flag.name))),
        };
    }
    if flag.is_value_optional() {
        if let Some(value) = parser.optional_value() {
            return utf8(value);
        }
        // The next argument is its value only where it looks like one: a path or pattern, or one of the two words.
        let is_truth = flag.kind.is_truth();
        let pattern = |next: &std::ffi::OsStr| next == "*" || next.as_encoded_bytes().first() == Some(&b'/');
        let value = |next: &std::ffi::OsStr| if is_truth { TRUTHS.iter().any(|word| next == *word) } else { pattern(next) };
        return match parser.try_raw_args().and_then(|mut rest| rest.next_if(value)) {
            Some(value) => utf8(value),
            None => Ok("true".to_owned()),
        };
    }
    let name = flag.value_name().unwrap_or_default();
    utf8(parser.value().map_err(|_| Error::Usage(format!("--{} needs a value: --{} <{name}>", flag.name, flag.name)))?)
}

/// Checks a value by the kind of its flag.
fn check(flag: &Flag, value: &str) -> Result<()> {
    let place = format!("--{}", flag.name);
    let wrong = |allowed: String| Err(Error::Usage(format!("{place}: this must be {allowed}, it is {:?}", text::shorten(value, 64))));
    match flag.kind {
        Kind::Switch | Kind::Text(_) | Kind::File(_) => Ok(()),
        Kind::Integer(_, low) => match value.parse::<u64>() {
            Ok(number) if number >= low => Ok(()),
            _ => wrong(format!("a whole number of at least {low}")),
        },
        Kind::Decimal(_) => match value.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(()),
            _ => wrong("a number of at least 0".to_owned()),
        },
        Kind::Word(_, words) if !words.contains(&value) => Err(Error::Usage(format!("{place}: {}", not_a_word(value, words)))),
        Kind::Word(..) => Ok(()),
        Kind::Setting(setting) => {
            setting.set_text(&mut Settings::default(), &place, value).map_err(|error| Error::Usage(error.to_string()))
        }
    }
}

fn check_positionals(command: &Command, words: &[String], see: &str) -> Result<()> {
    let many = command.positionals.last().is_some_and(|last| last.many);
    if let Some(missing) = command.positionals.get(words.len()) {
        return Err(Error::Usage(format!("`mockd {}` needs <{}>: {}; {see}", command.name(), missing.name, missing.help)));
    }
    for (positional, word) in command.positionals.iter().zip(words) {
        if let Takes::Words(known) = positional.takes
            && !known.contains(&word.as_str())
        {
            return Err(Error::Usage(format!("<{}>: {}; {see}", positional.name, not_a_word(word, known))));
        }
    }
    match words.get(command.positionals.len()) {
        Some(word) if !many => {
            let behind = if command.trailing.is_some() { " (a command to run stands behind `--`)" } else { "" };
            Err(Error::Usage(format!("`mockd {}` does not take {:?}{behind}; {see}", command.name(), text::shorten(word, 64))))
        }
        _ => Ok(()),
    }
}

fn utf8(value: OsString) -> Result<String> {
    value.into_string().map_err(|value| Error::Usage(format!("the argument {:?} is not UTF-8", value.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Typed {
        match parse(line.split_whitespace().map(Into::into)) {
            Ok(Parsed::Run(typed)) => typed,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn error(line: &str) -> String {
        match parse(line.split_whitespace().map(Into::into)) {
            Err(Error::Usage(message)) => message,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn words_flags_and_values_are_told_apart() {
        let list = typed("sr list --protocol websocket --limit=10 --offset 20 --json");
        assert_eq!(list.command.path, ["stream-recordings", "list"]);
        assert_eq!((list.text("protocol"), list.integer("limit"), list.integer("offset")), (Some("websocket"), Some(10), Some(20)));
        assert!(list.has("json") && !list.has("include-deleted"));
        let export = typed("stream-recordings export 01HXYZ123456 -o out.json");
        assert_eq!((export.word(), export.text("output")), ("01HXYZ123456", Some("out.json")));
        let delete = typed("sr delete -f 01HXYZ 01HABC --permanent");
        assert_eq!(delete.words, ["01HXYZ", "01HABC"]);
        assert!(delete.has("force") && delete.has("permanent"));
        assert_eq!(typed("sr edit 01HXYZ --tag a --tag b").all("tag").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(typed("sr show -- --json").word(), "--json");
    }

    #[test]
    fn the_pattern_of_record_may_be_left_out() {
        for (line, value) in [
            ("serve --record", "true"),
            ("serve --record --demo", "true"),
            ("serve --record /ws/*", "/ws/*"),
            ("serve --record=/ws/*", "/ws/*"),
            ("serve --record *", "*"),
        ] {
            assert_eq!(typed(line).text("record"), Some(value), "{line}");
        }
        assert!(error("serve --record ws").contains("does not take \"ws\""));
        assert_eq!(error("serve --record=ws"), "--record: \"ws\" must begin with \"/\"");
        assert_eq!(typed("serve --demo=false").text("demo"), Some("false"));
    }

    #[test]
    fn help_and_version_are_known_everywhere() {
        let help = |line: &str| match parse(line.split_whitespace().map(Into::into)) {
            Ok(Parsed::Help(command)) => command.map(Command::name).unwrap_or_default(),
            other => panic!("{line}: {other:?}"),
        };
        for (line, name) in [
            ("--help", ""),
            ("-h", ""),
            ("help", ""),
            ("sr --help", "stream-recordings"),
            ("sr list --help", "stream-recordings list"),
            ("sr list --json -h", "stream-recordings list"),
            ("help sr list", "stream-recordings list"),
            ("replay start --help", "replay start"),
            ("sr help list", "stream-recordings list"),
            ("replay help", "replay"),
            ("sr list --protcol sse -h", "stream-recordings list"),
            ("sr list --limit none --help", "stream-recordings list"),
            ("sr show -h", "stream-recordings show"),
            ("sr -x --help", "stream-recordings"),
            ("--json -h", ""),
        ] {
            assert_eq!(help(line), name, "{line}");
        }
        for line in ["--version", "-V"] {
            assert!(matches!(parse([line.into()]), Ok(Parsed::Version)));
        }
    }

    #[test]
    fn wrong_usage_is_told_with_the_nearest_name() {
        for (line, message) in [
            ("sevre", "`mockd` has no command \"sevre\" (did you mean \"serve\"?); see `mockd --help`"),
            ("sr lst", "`mockd stream-recordings` has no command \"lst\" (did you mean \"list\"?); see `mockd stream-recordings --help`"),
            ("sr list --protcol sse", "there is no flag --protcol (did you mean --protocol?); see `mockd stream-recordings list --help`"),
            ("sr list --protocol ws", "--protocol: \"ws\" is none of websocket, sse"),
            ("sr list --limit 0", "--limit: this must be a whole number of at least 1, it is \"0\""),
            ("sr list --limit", "--limit needs a value: --limit <N>"),
            ("sr list --json=yes", "--json takes no value"),
            ("sr list extra", "`mockd stream-recordings list` does not take \"extra\"; see `mockd stream-recordings list --help`"),
            (
                "sr show",
                "`mockd stream-recordings show` needs <ID>: The id of a recording, or at least 6 characters of it; see `mockd stream-recordings show --help`",
            ),
            ("sr start --path /x", "--protocol <PROTOCOL> must be given; see `mockd stream-recordings start --help`"),
            ("serve --port 99999", "--port: this must be a port from 0 to 65535, it is \"99999\""),
            ("replay start 01HXYZ --timing-scale -1", "--timing-scale: this must be a number of at least 0, it is \"-1\""),
            ("sr show --limt -- --help", "there is no flag --limt; see `mockd stream-recordings show --help`"),
            ("completions tcsh", "<SHELL>: \"tcsh\" is none of bash, zsh, fish; see `mockd completions --help`"),
            ("--json", "--json must stand after a command of `mockd`; see `mockd --help`"),
            ("sr -x", "-x must stand after a command of `mockd stream-recordings`; see `mockd stream-recordings --help`"),
            ("sr list -x", "there is no flag -x; see `mockd stream-recordings list --help`"),
        ] {
            assert_eq!(error(line), message, "{line}");
        }
        assert!(error("").starts_with("`mockd` needs a command: serve, "));
        assert!(error("replay").starts_with("`mockd replay` needs a command: list, start, show,"));
    }
}
