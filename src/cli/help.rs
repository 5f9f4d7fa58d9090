//! Help texts, made from the COMMANDS table and the settings; at most 100 characters wide. It prints nothing.

use super::command::{Command, Flag, Kind, top_level};

/// The width that no line passes.
const WIDTH: usize = 100;
/// The widest left column; what is wider has its text on the next line.
const MAX_LEFT: usize = 34;

/// The help text of a command, or of the whole program.
pub fn help(command: Option<&Command>) -> String {
    match command {
        None => overview(),
        Some(group) if group.run.is_none() => of_group(group),
        Some(leaf) => of_leaf(leaf),
    }
}

fn overview() -> String {
    let mut out = wrap(env!("CARGO_PKG_DESCRIPTION"), WIDTH).join("\n");
    out.push_str("\n\nUsage: mockd <COMMAND>\n\nCommands:\n");
    let rows = top_level().map(|command| (with_aliases(command), command.summary.to_owned())).collect();
    push_columns(&mut out, rows);
    out.push_str("\nOptions:\n");
    push_columns(
        &mut out,
        vec![
            ("-h, --help".to_owned(), "Print this help; every command has its own".to_owned()),
            ("-V, --version".to_owned(), "Print the version".to_owned()),
        ],
    );
    out.push_str(
        "\nA first try: `mockd serve --demo --record`, then `curl -N http://localhost:4280/events` and\n`mockd stream-recordings list`.\n",
    );
    out
}

fn of_group(group: &Command) -> String {
    let mut out = format!("{}.\n\nUsage: mockd {} <COMMAND>\n", group.summary, group.name());
    push_aliases(&mut out, group);
    out.push_str("\nCommands:\n");
    push_columns(&mut out, group.children().map(|command| (with_aliases(command), command.summary.to_owned())).collect());
    push_details(&mut out, group);
    out
}

fn of_leaf(command: &Command) -> String {
    let flags = command.all_flags();
    let mut out = format!("{}.\n\nUsage: mockd {}", command.summary, command.name());
    for positional in command.positionals {
        out.push_str(&format!(" <{}>{}", positional.name, if positional.many { "..." } else { "" }));
    }
    for flag in flags.iter().filter(|flag| flag.required) {
        out.push_str(&format!(" --{} <{}>", flag.name, flag.value_name().unwrap_or_default()));
    }
    out.push_str(" [OPTIONS]");
    if command.trailing.is_some() {
        out.push_str(" [-- COMMAND...]");
    }
    out.push('\n');
    push_aliases(&mut out, command);
    let arguments = command.positionals.iter().map(|positional| (format!("<{}>", positional.name), positional.help.to_owned()));
    let trailing = command.trailing.map(|help| ("[-- COMMAND...]".to_owned(), help.to_owned()));
    let rows: Vec<(String, String)> = arguments.chain(trailing).collect();
    if !rows.is_empty() {
        out.push_str("\nArguments:\n");
        push_columns(&mut out, rows);
    }
    out.push_str("\nOptions:\n");
    let mut rows: Vec<(String, String)> = flags.iter().map(|flag| (flag_column(flag), flag_text(flag))).collect();
    rows.push(("-h, --help".to_owned(), "Print this help".to_owned()));
    push_columns(&mut out, rows);
    push_details(&mut out, command);
    out
}

fn push_details(out: &mut String, command: &Command) {
    if !command.details.is_empty() {
        out.push('\n');
        out.push_str(command.details);
        out.push('\n');
    }
}

fn push_aliases(out: &mut String, command: &Command) {
    if !command.aliases.is_empty() {
        out.push_str(&format!("Also called: {}\n", command.aliases.join(", ")));
    }
}

fn with_aliases(command: &Command) -> String {
    let name = command.path.last().copied().unwrap_or_default();
    if command.aliases.is_empty() { name.to_owned() } else { format!("{name}, {}", command.aliases.join(", ")) }
}

fn flag_column(flag: &Flag) -> String {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
    match flag.value_name() {
        None => format!("{short}--{}", flag.name),
        Some(value) if flag.is_value_optional() => format!("{short}--{} [{value}]", flag.name),
        Some(value) => format!("{short}--{} <{value}>", flag.name),
    }
}

fn flag_text(flag: &Flag) -> String {
    match flag.kind {
        Kind::Word(_, words) => format!("{} [one of: {}]", flag.help, words.join(", ")),
        Kind::Setting(setting) => {
            let default = match setting.default_value() {
                serde_json::Value::Null | serde_json::Value::Bool(false) => String::new(),
                serde_json::Value::String(text) => format!(" [default: {text}]"),
                other => format!(" [default: {other}]"),
            };
            format!("{}{default} [env: {}]", flag.help, setting.env)
        }
        _ => flag.help.to_owned(),
    }
}

/// Two columns, the right one wrapped.
fn push_columns(out: &mut String, rows: Vec<(String, String)>) {
    let left = rows.iter().map(|(name, _)| name.chars().count()).filter(|width| *width <= MAX_LEFT).max().unwrap_or(0);
    for (name, text) in rows {
        let mut lines = wrap(&text, WIDTH - left - 4).into_iter();
        if name.chars().count() > left {
            out.push_str(&format!("  {name}\n"));
        } else {
            out.push_str(&format!("  {name:left$}  {}\n", lines.next().unwrap_or_default()));
        }
        for line in lines {
            out.push_str(&format!("  {:left$}  {line}\n", ""));
        }
    }
}

/// `text` in lines of at most `width` characters, broken at blanks; what stands in brackets stays together where it fits.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words(text, width) {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(word);
        } else if let Some(last) = lines.last_mut() {
            if line > 0 {
                last.push(' ');
            }
            last.push_str(&word);
        }
    }
    lines
}

fn words(text: &str, width: usize) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match words.last_mut() {
            Some(open) if open.starts_with('[') && !open.ends_with(']') && open.chars().count() + 1 + word.chars().count() <= width => {
                open.push(' ');
                open.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::COMMANDS;

    #[test]
    fn every_help_text_is_at_most_100_wide() {
        for text in COMMANDS.iter().map(|command| help(Some(command))).chain([help(None)]) {
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
                assert!(!line.ends_with(' '), "{line:?}");
            }
        }
    }

    #[test]
    fn help_names_flag_default_and_variable() {
        let serve = COMMANDS.iter().find(|command| command.path == ["serve"]).unwrap();
        let text = help(Some(serve));
        assert!(text.contains("--port <PORT>"), "{text}");
        assert!(text.contains("[default: 4280] [env: MOCKD_PORT]"), "{text}");
        assert!(text.contains("--record [PATTERN]"), "{text}");
        assert!(text.contains("--ready-file <FILE>"), "{text}");
    }
}
