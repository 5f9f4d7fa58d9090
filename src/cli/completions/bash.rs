//! The script for bash, from 3.2 (macOS) on: tables as `case` commands, and one function that walks over the line. It holds no command.

use super::{COMMANDS, Command, LISTINGS, Listing, Takes, below, calls, key, quote, spellings};

/// The script.
pub fn script() -> String {
    let mut out = "# Completes the commands, flags, files and ids of mockd in bash; `mockd completions bash` prints it.\n\n".to_owned();
    let steps = COMMANDS.iter().map(|command| (patterns(&calls(command)), format!("command={}", quote(&key(command.path)))));
    push_table(&mut out, "_mockd_step", "Sets `command` to what the word $2 calls below the command $1.", "$1/$2", steps);
    push_table(&mut out, "_mockd_flag", "Sets `takes` to what the flag $2 of the command $1 takes.", "$1 $2", flags());
    push_table(&mut out, "_mockd_argument", "Sets `takes` to what the argument $2 of the command $1 is.", "$1 $2", arguments());
    push_table(&mut out, "_mockd_words", "Sets `words` and `flags` to those of the command $1.", "$1", words());
    let listings = LISTINGS.iter().map(|listing| {
        let passed = listing.passed().join(" ");
        (quote(listing.name), format!("listing=({}) passed=' {passed} ' only={}", listing.words(), quote(listing.only)))
    });
    push_table(&mut out, "_mockd_listing", "Sets `listing` to the command that lists the ids $1.", "$1", listings);
    out.push_str(WALK);
    out
}

fn push_table(out: &mut String, name: &str, what: &str, subject: &str, rows: impl IntoIterator<Item = (String, String)>) {
    out.push_str(&format!("# {what}\n{name}() {{\n    case \"{subject}\" in\n"));
    for (pattern, action) in rows {
        out.push_str(&format!("        {pattern}) {action} ;;\n"));
    }
    out.push_str("        *) return 1 ;;\n    esac\n}\n\n");
}

fn patterns(texts: &[String]) -> String {
    texts.iter().map(|text| quote(text)).collect::<Vec<_>>().join("|")
}

fn flags() -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for command in COMMANDS.iter().filter(|command| command.run.is_some()) {
        for flag in command.all_flags().iter().filter(|flag| flag.value_name().is_some()) {
            let takes = if flag.is_value_optional() { "maybe".to_owned() } else { word_of(flag.takes()) };
            let typed: Vec<String> = spellings(flag).iter().map(|word| format!("{} {word}", key(command.path))).collect();
            rows.push((patterns(&typed), format!("takes={}", quote(&takes))));
        }
    }
    rows
}

fn arguments() -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for command in COMMANDS {
        for (index, positional) in command.positionals.iter().enumerate() {
            let pattern = if positional.many {
                format!("{}*", quote(&format!("{} ", key(command.path))))
            } else {
                quote(&format!("{} {index}", key(command.path)))
            };
            rows.push((pattern, format!("takes={}", quote(&word_of(positional.takes)))));
        }
    }
    rows
}

fn words() -> Vec<(String, String)> {
    let row = |command: Option<&Command>| {
        let words: Vec<&str> = if command.is_some_and(|command| command.run.is_some()) {
            Vec::new()
        } else {
            below(command).into_iter().map(|(name, _)| name).collect()
        };
        let mut flags: Vec<String> = command.map(Command::all_flags).unwrap_or_default().iter().flat_map(spellings).collect();
        flags.extend(["-h".to_owned(), "--help".to_owned()]);
        if command.is_none() {
            flags.extend(["-V".to_owned(), "--version".to_owned()]);
        }
        let key = command.map_or_else(String::new, |command| key(command.path));
        (quote(&key), format!("words={} flags={}", quote(&words.join(" ")), quote(&flags.join(" "))))
    };
    std::iter::once(row(None)).chain(COMMANDS.iter().map(|command| row(Some(command)))).collect()
}

/// What is to be offered, as the script says it.
fn word_of(takes: Takes) -> String {
    match takes {
        Takes::File => "file".to_owned(),
        Takes::Directory => "dir".to_owned(),
        Takes::Words(words) => format!("words {}", words.join(" ")),
        other => Listing::of(other).map_or_else(|| "any".to_owned(), |listing| format!("ids {}", listing.name)),
    }
}

const WALK: &str = r#"# Offers those of the words $@ that begin as the current one does.
_mockd_match() {
    local word
    for word in "$@"; do
        [[ $word == "$cur"* ]] && COMPREPLY+=("$word")
    done
}

# Offers the ids $1, without a word where they cannot be listed.
_mockd_ids() {
    local id rest only passed i
    local -a listing
    _mockd_listing "$1" || return
    for (( i = 0; i < ${#given[@]}; i += 2 )); do
        [[ $passed == *" ${given[i]} "* ]] && listing+=("${given[i]}" "${given[i + 1]}")
    done
    while read -r id rest; do
        # The table's header; an id has no other characters, whatever a file is called.
        [[ $id == ID || $id == *[!0-9A-Za-z]* || "  $rest" != *"$only"* ]] || _mockd_match "$id"
    done < <("$program" "${listing[@]}" 2>/dev/null </dev/null)
}

# Offers what $1 says.
_mockd_offer() {
    local line
    case $1 in
        'words '*) _mockd_match ${1#words } ;;
        'ids '*) _mockd_ids "${1#ids }" ;;
        file|dir)
            while IFS= read -r line; do
                COMPREPLY+=("$line")
            done < <(compgen "-${1:0:1}" -- "$cur")
            # compopt works only while bash completes, and since bash 4.
            compopt -o filenames 2>/dev/null
            # What is quoted on the line is left to bash.
            (( ${#COMPREPLY[@]} )) || compopt -o default 2>/dev/null
            ;;
    esac
}

_mockd() {
    local IFS=$' \t\n' program=${1:-mockd} cur=${COMP_WORDS[COMP_CWORD]} command='' value='' takes='' words='' flags='' count=0 i word next
    local -a given=()
    program=${program/#\~/$HOME}
    COMPREPLY=()
    for (( i = 1; i < COMP_CWORD; i++ )); do
        word=${COMP_WORDS[i]}
        next=${COMP_WORDS[i + 1]}
        if [[ -n $value ]]; then
            # bash splits --flag=value into three words.
            [[ $word == '=' ]] && continue
            given+=("$value" "$word")
            value=''
        elif [[ $word == -- ]]; then
            return
        elif [[ $word == [:=@]* ]]; then
            # The rest of a word that bash has split, such as a URL.
            (( ++i < COMP_CWORD )) || return
        elif [[ $word == -?* ]]; then
            if _mockd_flag "$command" "$word"; then
                [[ $takes == maybe && $next != [=/*]* ]] || value=$word
            fi
        elif [[ $count == 0 && $word == help ]] && _mockd_words "$command" && [[ -n $words ]]; then
            :
        elif ! _mockd_step "$command" "$word"; then
            (( count++ ))
        fi
    done
    if [[ -n $value ]]; then
        [[ $cur == '=' ]] && cur=''
        _mockd_offer "$takes"
        return
    fi
    [[ $cur == [:=@]* ]] && return
    _mockd_words "$command" || return
    if [[ $cur == -* ]]; then
        _mockd_match $flags
    elif [[ -n $words ]]; then
        (( count )) || _mockd_match $words
    elif _mockd_argument "$command" "$count"; then
        _mockd_offer "$takes"
    else
        _mockd_match $flags
    fi
}

complete -F _mockd mockd
"#;
