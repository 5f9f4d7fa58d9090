//! The script for fish: a `complete` line for each command, flag and argument, behind a condition that knows the command on the line.
//! It holds no command.

use super::{COMMANDS, Command, HELP, LISTINGS, Listing, Takes, below, calls, key, spellings};

/// The script.
pub fn script() -> String {
    let mut out = HEAD.to_owned();
    for command in COMMANDS {
        let words: Vec<String> = calls(command).iter().map(|call| quote(call)).collect();
        out.push_str(&format!("            case {}\n                set path {}\n", words.join(" "), quote(&key(command.path))));
    }
    let mut skipped = Vec::new();
    for command in COMMANDS.iter().filter(|command| command.run.is_some()) {
        let flags = command.all_flags();
        let valued = flags.iter().filter(|flag| flag.value_name().is_some() && !flag.is_value_optional());
        skipped.extend(valued.flat_map(|flag| spellings(flag).into_iter().map(|word| quote(&format!("{}/{word}", key(command.path))))));
    }
    out.push_str(&format!("            case {}\n                set skip 1\n", skipped.join(" ")));
    let groups = COMMANDS.iter().filter(|command| command.run.is_none()).map(|group| key(group.path));
    let helps: Vec<String> = std::iter::once(String::new()).chain(groups).map(|key| quote(&format!("{key}/{HELP}"))).collect();
    out.push_str(&format!("            case {}\n", helps.join(" ")));
    out.push_str(WALK);
    out.push_str("# Prints the ids $argv[1] with their rows, nothing where they cannot be listed.\nfunction __mockd_ids\n    set -l listing\n    set -l passed\n    set -l only '*'\n    switch $argv[1]\n");
    for listing in LISTINGS {
        out.push_str(&format!(
            "        case {}\n            set listing {}\n            set passed {}\n            set only {}\n",
            listing.name,
            listing.words(),
            listing.passed().join(" "),
            quote(&format!("*{}*", listing.only))
        ));
    }
    out.push_str(IDS);
    out.push_str("complete -c mockd -f\n");
    push_line(&mut out, "", Some("0"), "-s h -l help -d 'Print this help'");
    push_line(&mut out, "", Some("0"), "-s V -l version -d 'Print the version'");
    push_words(&mut out, None);
    for command in COMMANDS {
        push_command(&mut out, command);
    }
    out
}

fn push_line(out: &mut String, key: &str, count: Option<&str>, rest: &str) {
    let count = count.map_or_else(String::new, |count| format!(" {count}"));
    let at = if key.is_empty() { "/" } else { key };
    out.push_str(&format!("complete -c mockd -n '__mockd_at {at}{count}' {rest}\n"));
}

fn push_words(out: &mut String, group: Option<&Command>) {
    let key = group.map_or_else(String::new, |group| key(group.path));
    for (name, summary) in below(group) {
        push_line(out, &key, Some("0"), &format!("-a {name} -d {}", quote(summary)));
    }
}

fn push_command(out: &mut String, command: &Command) {
    let key = key(command.path);
    if command.run.is_none() {
        push_words(out, Some(command));
    }
    for flag in command.all_flags() {
        let short = flag.short.map_or_else(String::new, |letter| format!("-s {letter} "));
        let value = match flag.value_name() {
            Some(_) if !flag.is_value_optional() => format!(" {}", value(flag.takes())),
            _ => String::new(),
        };
        push_line(out, &key, None, &format!("{short}-l {}{value} -d {}", flag.name, quote(flag.help)));
    }
    push_line(out, &key, None, "-s h -l help -d 'Print this help'");
    for (index, positional) in command.positionals.iter().enumerate().filter(|(_, positional)| positional.takes != Takes::Anything) {
        let count = if positional.many { "-".to_owned() } else { index.to_string() };
        // Nothing is required behind an argument, as it is behind a flag.
        let offered = value(positional.takes).replace("-r ", "").replace("-x ", "-f ");
        push_line(out, &key, Some(&count), &offered);
    }
}

/// What completes a value.
fn value(takes: Takes) -> String {
    match takes {
        Takes::Anything => "-x".to_owned(),
        Takes::File => "-r -F".to_owned(),
        Takes::Directory => "-x -a '(__fish_complete_directories)'".to_owned(),
        Takes::Words(words) => format!("-x -a {}", quote(&words.join(" "))),
        other => Listing::of(other).map_or_else(String::new, |listing| format!("-x -k -a '(__mockd_ids {})'", listing.name)),
    }
}

/// A text in single quotes.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

const HEAD: &str = "# Completes the commands, flags, files and ids of mockd in fish; `mockd completions fish` prints it.

# Whether the command $argv[1] stands on the line, with $argv[2] arguments behind it (`-`: any number; none given: it does not matter).
# Never behind `--`.
function __mockd_at
    set -l path
    set -l count 0
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        switch \"$path/$word\"
";

const WALK: &str = r#"            case '*/--'
                return 1
            case '*/-*'
            case '*'
                set count (math $count + 1)
        end
    end
    test "$argv[1]" = "$path" -o "$argv[1]$path" = /
    and begin
        test (count $argv) = 1
        or contains -- $argv[2] - $count
    end
end

"#;

const IDS: &str = r#"    end
    set -l words (commandline -opc)
    set -l mockd (string replace -r '^~' $HOME -- $words[1])
    for i in (seq 2 (count $words))
        if contains -- $words[$i] $passed
            set -a listing $words[$i] $words[(math $i + 1)]
        else if contains -- (string replace -r '=.*' '' -- $words[$i]) $passed
            set -a listing $words[$i]
        end
    end
    # The table's header is none; an id has no other characters, whatever a file is called.
    $mockd $listing 2>/dev/null </dev/null | string match -- $only | string replace -rf '^(?!ID )([0-9A-Za-z]+)\s+(.*)$' '$1\t$2'
end

"#;
