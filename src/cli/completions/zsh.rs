//! The script for zsh: a function for each command, which says its flags and arguments to `_arguments`. It holds no command.

use super::{COMMANDS, Command, Flag, LISTINGS, Listing, Takes, below, names, quote, spellings};

/// The script, to be read as the file `_mockd` of `$fpath` or by `source`.
pub fn script() -> String {
    let mut out = HEAD.to_owned();
    push_group(&mut out, None);
    for command in COMMANDS {
        if command.run.is_some() { push_leaf(&mut out, command) } else { push_group(&mut out, Some(command)) }
    }
    out.push_str("# Sets `listing` to the command that lists the ids $1.\n_mockd_listing() {\n    case $1 in\n");
    for listing in LISTINGS {
        let passed = listing.passed().join(" ");
        out.push_str(&format!(
            "        {}) listing=({}) passed=({passed}) only={} ;;\n",
            listing.name,
            listing.words(),
            quote(listing.only)
        ));
    }
    out.push_str("    esac\n}\n\n");
    out.push_str(TAIL);
    out
}

/// The function of a command.
fn function(command: Option<&Command>) -> String {
    command.map_or_else(|| "_mockd".to_owned(), |command| format!("_mockd__{}", command.path.join("__")))
}

fn push_group(out: &mut String, group: Option<&Command>) {
    let name = function(group);
    let version = if group.is_none() { " '(- *)'{-V,--version}'[Print the version]'" } else { "" };
    out.push_str(&format!("{name}() {{\n    local curcontext=$curcontext state line\n    typeset -A opt_args\n"));
    if group.is_none() {
        out.push_str("    local mockd=${~${(Q)words[1]}}\n");
    }
    out.push_str(&format!("    _arguments -C {HELP_FLAG}{version} ': :{name}_words' '*:: :->rest' && return\n"));
    out.push_str("    [[ $state == rest ]] || return 1\n");
    out.push_str("    while [[ $words[1] == help ]] && (( CURRENT > 1 )); do\n        shift words\n        (( CURRENT-- ))\n    done\n");
    out.push_str(&format!("    (( CURRENT > 1 )) || {{ {name}_words; return }}\n    case $words[1] in\n"));
    let children: Vec<&Command> = match group {
        None => super::top_level().collect(),
        Some(group) => group.children().collect(),
    };
    for child in children {
        out.push_str(&format!("        {}) {} ;;\n", names(child).collect::<Vec<_>>().join("|"), function(Some(child))));
    }
    out.push_str("    esac\n}\n\n");
    out.push_str(&format!("{name}_words() {{\n    local -a commands=(\n"));
    for (name, summary) in below(group) {
        out.push_str(&format!("        {}\n", quote(&format!("{name}:{summary}"))));
    }
    out.push_str("    )\n    _describe -t commands command commands\n}\n\n");
}

fn push_leaf(out: &mut String, command: &Command) {
    out.push_str(&format!("{}() {{\n", function(Some(command))));
    out.push_str("    # Nothing after `--`.\n    (( ${words[(i)--]} < CURRENT )) && return 1\n");
    out.push_str("    typeset -A opt_args\n    _arguments -s \\\n");
    for flag in command.all_flags() {
        out.push_str(&format!("        {} \\\n", option(&flag)));
    }
    out.push_str(&format!("        {HELP_FLAG}"));
    for positional in command.positionals {
        let count = if positional.many { "*" } else { "" };
        out.push_str(&format!(" \\\n        {}", quote(&format!("{count}:{}:{}", colons(positional.name), action(positional.takes)))));
    }
    out.push_str("\n}\n\n");
}

/// A flag as `_arguments` is told it.
fn option(flag: &Flag) -> String {
    let help = flag.help.replace('\\', r"\\").replace('[', r"\[").replace(']', r"\]").replace(':', r"\:");
    let (mark, value) = match flag.value_name() {
        None => ("", String::new()),
        Some(name) if flag.is_value_optional() => ("=", format!("::{}: ", colons(name))),
        Some(name) => ("=", format!(":{}:{}", colons(name), action(flag.takes()))),
    };
    // A flag with a value may be given again; of most the last one counts.
    let spellings = spellings(flag);
    let again = if value.is_empty() { format!("({})", spellings.join(" ")) } else { "*".to_owned() };
    match &spellings[..] {
        [short, long] => {
            let plus = if value.is_empty() { "" } else { "+" };
            format!("{}{{{short}{plus},{long}{mark}}}{}", quote(&again), quote(&format!("[{help}]{value}")))
        }
        _ => quote(&format!("{again}--{}{mark}[{help}]{value}", flag.name)),
    }
}

fn colons(text: &str) -> String {
    text.replace(':', r"\:")
}

/// What completes a value.
fn action(takes: Takes) -> String {
    match takes {
        Takes::File => "_files".to_owned(),
        Takes::Directory => "_files -/".to_owned(),
        Takes::Words(words) => format!("({})", words.join(" ")),
        // A blank alone completes nothing; one before a function keeps further arguments away from it.
        other => Listing::of(other).map_or_else(|| " ".to_owned(), |listing| format!(" _mockd_ids {}", listing.name)),
    }
}

const HELP_FLAG: &str = "'(- *)'{-h,--help}'[Print this help]'";

const HEAD: &str = "#compdef mockd
# Completes the commands, flags, files and ids of mockd in zsh; `mockd completions zsh` prints it.

";

const TAIL: &str = r#"# Offers the ids $1 with their rows, without a word where they cannot be listed.
_mockd_ids() {
    local id rest only i
    local -a listing passed ids
    _mockd_listing $1
    for (( i = 2; i < CURRENT; i++ )); do
        if (( ${passed[(Ie)$words[i]]} )); then
            listing+=(${words[i]} "${(Q)words[i + 1]}")
            (( i++ ))
        elif (( ${passed[(Ie)${words[i]%%=*}]} )); then
            listing+=("${(Q)words[i]}")
        fi
    done
    while read -r id rest; do
        # The table's header; an id has no other characters, whatever a file is called.
        [[ $id == ID || $id == *[^0-9A-Za-z]* || "  $rest" != *"$only"* ]] || ids+=("$id:$rest")
    done < <($mockd $listing 2>/dev/null </dev/null)
    _describe -V -t ids id ids
}

if [[ $funcstack[1] == _mockd ]]; then
    _mockd "$@"
else
    compdef _mockd mockd
fi
"#;
