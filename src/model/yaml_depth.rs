//! How deep the flow lists and objects of a YAML text are nested, told before a parser sees it: a parser's time grows with the depth times
//! the length. It follows brackets, quotes, comments, plain and block scalars; whether the text is sound YAML is the parser's matter.

use crate::base::error::{Error, Result};
use crate::base::limits::MAX_FLOW_DEPTH;

/// Checks that no more than [`MAX_FLOW_DEPTH`] brackets are open at once.
///
/// The parser refuses values that are deeper, but after it has read them all. Brackets in texts are no brackets here; where line ends
/// are in doubt (a lone CR, the line ends of Unicode), what follows counts as text, so that the parser decides.
///
/// # Errors
/// [`Error::Invalid`] with line and column of the first bracket that is one too many.
pub(super) fn check(text: &str) -> Result<()> {
    match (Scan { bytes: text.as_bytes(), at: 0, line_start: 0, parent: -1, depth: 0, deepest: 0, limit: MAX_FLOW_DEPTH }).run() {
        Ok(_) => Ok(()),
        Err(at) => {
            let before = text.as_bytes().get(..at).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
            Err(Error::invalid(format!("line {line} column {column}"), "this is no YAML that mockd can read: nested too deep"))
        }
    }
}

/// A pass over a text, from token to token.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the line of `at` begins.
    line_start: usize,
    /// The column of the last `-`, `?` or key outside of brackets: what belongs to it stands further right. -1 before the first one.
    parent: isize,
    /// Brackets that are open.
    depth: usize,
    deepest: usize,
    limit: usize,
}

impl Scan<'_> {
    /// How many brackets were open at once, or where one was one too many.
    fn run(mut self) -> std::result::Result<usize, usize> {
        // Where a key would begin, if a colon comes.
        let mut key = None;
        while let Some(byte) = self.next_token(&mut key) {
            match byte {
                b'[' | b'{' => {
                    self.begin_key(&mut key);
                    self.depth += 1;
                    self.deepest = self.deepest.max(self.depth);
                    if self.depth > self.limit {
                        return Err(self.at);
                    }
                    self.at += 1;
                }
                b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.at += 1;
                }
                b'"' | b'\'' => {
                    self.begin_key(&mut key);
                    self.skip_quoted(byte);
                }
                b'|' | b'>' if self.depth == 0 => self.skip_block_scalar(),
                b'-' | b'?' if self.depth == 0 && self.is_blank(self.at + 1) => {
                    (self.parent, key) = (self.column(), None);
                    self.at += 1;
                }
                b':' if self.ends_key(self.at) => {
                    if self.depth == 0 {
                        self.parent = key.take().unwrap_or(self.column());
                    }
                    self.at += 1;
                }
                b',' if self.depth > 0 => self.at += 1,
                b'&' | b'*' | b'!' => {
                    self.begin_key(&mut key);
                    self.skip_word();
                }
                b'%' if self.depth == 0 && self.column() == 0 => self.skip_line(),
                b'-' if self.depth == 0
                    && self.column() == 0
                    && self.bytes[self.at..].starts_with(b"---")
                    && self.is_blank(self.at + 3) =>
                {
                    (self.parent, key) = (-1, None);
                    self.at += 3;
                }
                _ => {
                    self.begin_key(&mut key);
                    self.skip_plain();
                }
            }
        }
        Ok(self.deepest)
    }

    /// The first byte of the next token. A key stands on one line, so a line end outside of brackets forgets it.
    fn next_token(&mut self, key: &mut Option<isize>) -> Option<u8> {
        loop {
            match *self.bytes.get(self.at)? {
                b'\n' => {
                    self.end_line();
                    if self.depth == 0 {
                        *key = None;
                    }
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'#' if self.at == self.line_start || self.is_blank(self.at - 1) => self.skip_line(),
                byte => return Some(byte),
            }
        }
    }

    fn begin_key(&self, key: &mut Option<isize>) {
        if self.depth == 0 {
            key.get_or_insert(self.column());
        }
    }

    fn column(&self) -> isize {
        (self.at - self.line_start) as isize
    }

    /// Whether nothing or white space stands at `at`.
    fn is_blank(&self, at: usize) -> bool {
        self.bytes.get(at).is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
    }

    /// Whether the colon at `at` ends a key.
    fn ends_key(&self, at: usize) -> bool {
        self.is_blank(at + 1) || (self.depth > 0 && matches!(self.bytes[at + 1], b',' | b'[' | b']' | b'{' | b'}' | b'"' | b'\''))
    }

    /// Past the line feed at `at`.
    fn end_line(&mut self) {
        self.at += 1;
        self.line_start = self.at;
    }

    /// To the end of the line.
    fn skip_line(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }

    /// An anchor, an alias or a tag.
    fn skip_word(&mut self) {
        self.at += 1;
        while !self.is_blank(self.at) && (self.depth == 0 || !matches!(self.bytes[self.at], b',' | b'[' | b']' | b'{' | b'}')) {
            self.at += 1;
        }
    }

    fn skip_quoted(&mut self, quote: u8) {
        self.at += 1;
        while let Some(byte) = self.bytes.get(self.at) {
            match *byte {
                b'\n' => self.end_line(),
                // What is escaped may be a line end, which must be counted.
                b'\\' if quote == b'"' && self.bytes.get(self.at + 1) != Some(&b'\n') => self.at += 2,
                // Two single quotes are one in the text.
                b'\'' if quote == b'\'' && self.bytes.get(self.at + 1) == Some(&b'\'') => self.at += 2,
                byte => {
                    self.at += 1;
                    if byte == quote {
                        return;
                    }
                }
            }
        }
        self.at = self.bytes.len();
    }

    /// A scalar without quotes: it ends before a key's colon, a comment, a bracket or a comma within brackets, and outside of them
    /// with the last line that stands right of what it belongs to.
    fn skip_plain(&mut self) {
        while let Some(byte) = self.bytes.get(self.at) {
            match *byte {
                b'\n' if self.depth > 0 || !self.goes_on_below() => return,
                b'\n' => self.end_line(),
                b':' if self.ends_key(self.at) => return,
                b'#' if self.at == self.line_start || self.is_blank(self.at - 1) => return,
                b',' | b'[' | b']' | b'{' | b'}' if self.depth > 0 => return,
                _ => self.at += 1,
            }
        }
    }

    /// Whether the next line with anything on it stands right of what a plain scalar belongs to.
    fn goes_on_below(&self) -> bool {
        let mut start = self.at + 1;
        loop {
            let indent = self.indent_at(start);
            match self.bytes.get(start + indent) {
                Some(b'\n') => start += indent + 1,
                Some(_) => return indent as isize > self.parent,
                None => return false,
            }
        }
    }

    /// Spaces at the beginning of the line that begins at `start`.
    fn indent_at(&self, start: usize) -> usize {
        self.bytes.get(start..).unwrap_or_default().iter().take_while(|byte| **byte == b' ').count()
    }

    /// A literal or folded scalar: all lines that are empty or stand as far right as its first one, which stands right of what
    /// the scalar belongs to.
    fn skip_block_scalar(&mut self) {
        let header = self.at;
        self.skip_line();
        let told = self.bytes[header..self.at].iter().skip(1).take(2).find(|byte| byte.is_ascii_digit());
        let least = usize::try_from(self.parent).unwrap_or(0);
        let mut content = told.map(|digit| least + usize::from(digit - b'0'));
        while self.at < self.bytes.len() {
            let start = self.at + 1;
            let indent = self.indent_at(start);
            let is_empty = matches!(self.bytes.get(start + indent), None | Some(b'\n' | b'\r'));
            if !is_empty && indent < *content.get_or_insert(indent.max(least + 1)) {
                return;
            }
            self.end_line();
            self.skip_line();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn deepest(text: &str) -> usize {
        let limit = usize::MAX;
        Scan { bytes: text.as_bytes(), at: 0, line_start: 0, parent: -1, depth: 0, deepest: 0, limit }.run().unwrap()
    }

    #[test]
    fn brackets_are_counted_and_texts_are_not() {
        for (text, depth) in [
            ("a: [[1], {b: [c]}]", 3),
            ("[[\n# [[[[\n[ '[[[', \"[[\\\"[[\", a[0 ]]]", 4),
            ("a: x [[[[ y\nb: [1]", 1),
            ("a: x\n  [[[[ y\n\n  {{{\nb: [1]", 1),
            ("a: |\n  [[[[\n\n   {{{\n  [[\nb: [1]", 1),
            ("a:\n  - >-\n    [[[[\n  - [[1]]", 2),
            ("- a: |\n    [[[[\n  b: [1]", 1),
            ("- a: |\n  b: [[1]]", 2),
            ("a:\n  |\n [[[[", 0),
            ("a: |2\n    [[[[\n  [[[\nb: [1]", 1),
            ("--- |\n [[[[\n--- [1]", 1),
            ("a: &x [[1]]\nb: !t [1]\n? [[[1]]]\n: 1", 3),
            ("a: 'it''s [[[ \n [['\nb: {\"c\":[1]}", 2),
            ("a: \"\\\n [[[\\\\\"\nb: [1]", 1),
            ("a: b#[[[\nc: d # [[[", 0),
            ("\"[[\": [1]\n'{{': x", 1),
            ("]]]] [", 1),
            ("[]]]]", 1),
        ] {
            assert_eq!(deepest(text), depth, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_where_it_becomes_too_deep() {
        let told = check(&format!("mocks:\n  {}", "[".repeat(100_000))).unwrap_err().to_string();
        assert_eq!(told, format!("line 2 column {}: this is no YAML that mockd can read: nested too deep", MAX_FLOW_DEPTH + 3));
        check(&"[{a: ".repeat(MAX_FLOW_DEPTH)).unwrap_err();
        check(&"[".repeat(MAX_FLOW_DEPTH)).unwrap();
    }

    #[test]
    fn texts_full_of_brackets_are_no_nesting() {
        let many = "[{".repeat(10_000);
        for text in [
            format!("a: \"{many}\"\nb: '{many}'\nc: x {many}\nd: |\n  {many}\n  {many}\ne: >\n  {many}\nf: x\n  {many}\n# {many}\n"),
            format!("- a:\n  - b: |-\n      {many}\n    c: 'x\n\n      {many}'\n  - text {many}\n"),
            format!("[\"{many}\", '{many}', # {many}\n{{a: \"{many}\"}}]"),
        ] {
            check(&text).unwrap();
            yaml_serde::from_str::<Value>(&text).unwrap();
        }
    }

    fn depth_of(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
            Value::Object(members) => 1 + members.values().map(depth_of).max().unwrap_or(0),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn what_the_parser_takes_is_no_deeper_than_its_value(parts in proptest::collection::vec(prop_oneof![
            Just("["), Just("]"), Just("{"), Just("}"), Just(","), Just("\""), Just("'"), Just("\\"), Just("|"), Just(">-"), Just("|1"),
            Just("- "), Just("? "), Just(": "), Just(":"), Just("#"), Just(" # "), Just("\n"), Just("\n  "), Just("\n    "), Just(" "),
            Just("a"), Just("b"), Just("&x "), Just("a: "), Just("c: |\n"), Just("[1]"), Just("\n- "), Just("\t"),
            Just("\r\n"), Just("\n\n"), Just("!!str "), Just("*x"), Just("---\n"), Just("'a[' "), Just("\"[\\\"{\""), Just(", ")], 0..24)) {
            let text = parts.concat();
            if let Ok(value) = yaml_serde::from_str::<Value>(&text) {
                prop_assert!(deepest(&text) <= depth_of(&value), "{:?} {}", text, value);
            }
        }
    }
}
