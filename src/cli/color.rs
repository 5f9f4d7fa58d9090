//! Colour on a terminal: the one place that knows escape codes of colours and when they may be used. It prints nothing.

use std::ffi::OsStr;
use std::io::IsTerminal;

use crate::base::text::clean;

/// How words are coloured on one stream: not at all where it is no terminal, where `NO_COLOR` says something, or for `TERM=dumb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// For what goes to stdout.
    pub fn for_stdout() -> Self {
        Self::for_stream(std::io::stdout().is_terminal())
    }

    /// For what goes to stderr.
    pub fn for_stderr() -> Self {
        Self::for_stream(std::io::stderr().is_terminal())
    }

    /// For what is piped, stored or compared.
    pub const fn plain() -> Self {
        Self { on: false }
    }

    fn for_stream(terminal: bool) -> Self {
        Self { on: is_on(terminal, std::env::var_os("NO_COLOR").as_deref(), std::env::var_os("TERM").as_deref()) }
    }

    /// What is wrong, missing or broken. The text is one line and made safe for a terminal, as in all that follow.
    pub fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// What is there and should be.
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// What one should look at.
    pub fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// What matters less than its neighbours.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// A status of a recording or a replay; words that are neither good nor bad stay as they are. Blanks around it are kept.
    pub fn status(self, word: &str) -> String {
        match word.trim() {
            "complete" => self.green(word),
            "incomplete" | "aborted" => self.yellow(word),
            "corrupted" | "error" => self.red(word),
            "deleted" => self.dim(word),
            _ => clean(word).into_owned(),
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        let text = clean(text);
        if self.on && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into_owned() }
    }
}

/// Whether a terminal understands more than lines of text.
pub fn is_able(term: Option<&OsStr>) -> bool {
    term.is_none_or(|name| name != "dumb")
}

/// <https://no-color.org>: any value that is not empty turns colour off.
fn is_on(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty) && is_able(term)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        for (terminal, no_color, term, on) in [
            (true, None, Some("xterm-256color"), true),
            (true, None, None, true),
            (true, Some(""), Some("xterm"), true),
            (true, Some("1"), Some("xterm"), false),
            (true, Some("0"), Some("xterm"), false),
            (true, None, Some("dumb"), false),
            (false, None, Some("xterm"), false),
        ] {
            assert_eq!(is_on(terminal, no_color.map(OsStr::new), term.map(OsStr::new)), on, "{terminal} {no_color:?} {term:?}");
        }
    }

    #[test]
    fn what_is_painted_is_clean_and_ends_its_colour() {
        let paint = Paint { on: true };
        assert_eq!(paint.red("a"), "\x1b[31ma\x1b[0m");
        assert_eq!(paint.green("a\x1b[2Jb"), "\x1b[32ma\\u{1b}[2Jb\x1b[0m");
        assert_eq!(paint.yellow(""), "");
        assert_eq!(Paint::plain().red("a\x1b[2Jb"), "a\\u{1b}[2Jb");
    }

    #[test]
    fn each_status_has_its_colour() {
        let paint = Paint { on: true };
        for (word, code) in
            [("complete ", Some(32)), ("incomplete", Some(33)), ("corrupted", Some(31)), ("deleted", Some(2)), ("recording", None)]
        {
            let painted = code.map_or_else(|| word.to_owned(), |code| format!("\x1b[{code}m{word}\x1b[0m"));
            assert_eq!(paint.status(word), painted);
            assert_eq!(Paint::plain().status(word), word);
        }
    }
}
