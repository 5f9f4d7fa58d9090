//! JSON with the place of every value in its text, so that one value can be replaced and every other byte stays.
//! Reading is one loop without recursion, whatever the nesting; it decides nothing about what is replaced.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Value};
use serde_json_path::{NormalizedPath, PathElement};

use crate::base::limits;

/// What a scan meets, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// An object or array begins.
    Open {
        /// The literal of its key, quotes included, where it is a member of an object.
        key: Option<Range<usize>>,
        /// Where its bracket stands.
        start: usize,
        /// `{`, not `[`.
        is_object: bool,
    },
    /// The innermost open object or array ends before this byte.
    Close {
        /// Behind its bracket.
        end: usize,
    },
    /// A string, number, `true`, `false` or `null`.
    Leaf {
        /// As above.
        key: Option<Range<usize>>,
        /// Its literal.
        span: Range<usize>,
    },
}

/// Hands over every token of `text`; whether it is one JSON text (RFC 8259). Tokens before an error have been handed over.
pub fn scan(text: &str, mut sink: impl FnMut(Token)) -> bool {
    Scanner { bytes: text.as_bytes(), at: 0 }.run(&mut sink).is_some()
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn run(&mut self, sink: &mut impl FnMut(Token)) -> Option<()> {
        // One byte a level: whether it is an object.
        let mut open: Vec<bool> = Vec::new();
        let mut key = None;
        loop {
            self.skip_blanks();
            let start = self.at;
            match self.peek()? {
                bracket @ (b'{' | b'[') => {
                    let is_object = bracket == b'{';
                    sink(Token::Open { key: key.take(), start, is_object });
                    self.at += 1;
                    self.skip_blanks();
                    if self.peek()? != closing(is_object) {
                        open.push(is_object);
                        key = if is_object { Some(self.key()?) } else { None };
                        continue;
                    }
                    self.at += 1;
                    sink(Token::Close { end: self.at });
                }
                _ => {
                    self.leaf()?;
                    sink(Token::Leaf { key: key.take(), span: start..self.at });
                }
            }
            loop {
                self.skip_blanks();
                let Some(is_object) = open.last().copied() else {
                    return (self.at == self.bytes.len()).then_some(());
                };
                let byte = self.peek()?;
                self.at += 1;
                if byte == b',' {
                    self.skip_blanks();
                    key = if is_object { Some(self.key()?) } else { None };
                    break;
                }
                if byte != closing(is_object) {
                    return None;
                }
                open.pop();
                sink(Token::Close { end: self.at });
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// A key and its colon.
    fn key(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        self.string()?;
        let end = self.at;
        self.skip_blanks();
        (self.peek()? == b':').then(|| self.at += 1)?;
        Some(start..end)
    }

    fn leaf(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn string(&mut self) -> Option<()> {
        (self.peek()? == b'"').then(|| self.at += 1)?;
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => return Some(()),
                b'\\' => {
                    let escape = self.peek()?;
                    self.at += 1;
                    match escape {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        b'u' => {
                            let digits = self.bytes.get(self.at..self.at + 4)?;
                            digits.iter().all(u8::is_ascii_hexdigit).then(|| self.at += 4)?;
                        }
                        _ => return None,
                    }
                }
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}

fn closing(is_object: bool) -> u8 {
    if is_object { b'}' } else { b']' }
}

/// What a string literal (quotes included) says. A lone surrogate becomes U+FFFD.
pub fn unescape(literal: &str) -> Cow<'_, str> {
    let inner = literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut units: Vec<u16> = Vec::new();
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        if at > 0 {
            flush(&mut units, &mut out);
            out.push_str(&rest[..at]);
        }
        let escape = rest[at + 1..].chars().next().unwrap_or('\\');
        rest = rest.get(at + 1 + escape.len_utf8()..).unwrap_or_default();
        if escape == 'u' {
            units.push(rest.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok()).unwrap_or(0xfffd));
            rest = rest.get(4..).unwrap_or_default();
            continue;
        }
        flush(&mut units, &mut out);
        out.push(match escape {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            other => other,
        });
    }
    flush(&mut units, &mut out);
    out.push_str(rest);
    Cow::Owned(out)
}

/// Joins `\u` escapes that stand side by side, surrogate pairs among them.
fn flush(units: &mut Vec<u16>, out: &mut String) {
    out.extend(char::decode_utf16(units.drain(..)).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
}

/// `text` with other bytes at some places. Of places that overlap the outermost counts, then the first in the list. `None` where nothing changes.
pub fn splice(text: &str, mut edits: Vec<(Range<usize>, &str)>) -> Option<String> {
    edits.sort_by_key(|(span, _)| (span.start, std::cmp::Reverse(span.end)));
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    let mut changed = false;
    for (span, with) in edits {
        if span.start < done {
            continue;
        }
        changed |= &text[span.clone()] != with;
        out.push_str(&text[done..span.start]);
        out.push_str(with);
        done = span.end;
    }
    out.push_str(&text[done..]);
    changed.then_some(out)
}

/// What reading a text as JSON gave.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// It is no JSON.
    NotJson,
    /// It is JSON, nested deeper than `limits::MAX_JSON_DEPTH`, of more values than `limits::MAX_JSON_NODES`, or of many values that
    /// stand deep (`limits::MAX_JSON_STEPS`).
    TooLarge,
    /// It is JSON.
    Json(Document<'a>),
}

/// A JSON text with the place of every value.
#[derive(Debug)]
pub struct Document<'a> {
    text: &'a str,
    /// In the order of the text; a container's members stand between it and its `next`.
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
struct Node {
    key: Option<Range<usize>>,
    span: Range<usize>,
    /// The node behind this one and all that it contains.
    next: usize,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// A member.
    Name(String),
    /// An element.
    Index(usize),
}

/// The steps of a located path.
pub fn segments(path: &NormalizedPath<'_>) -> Vec<Segment> {
    let segment = |element: &PathElement<'_>| match element {
        PathElement::Name(name) => Segment::Name((*name).to_owned()),
        PathElement::Index(index) => Segment::Index(*index),
    };
    path.iter().map(segment).collect()
}

impl<'a> Document<'a> {
    /// Reads a text.
    pub fn parse(text: &'a str) -> Parsed<'a> {
        let mut nodes: Vec<Node> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        let (mut too_large, mut steps) = (false, 0);
        let is_json = scan(text, |token| {
            steps += open.len();
            too_large |= nodes.len() >= limits::MAX_JSON_NODES || open.len() > limits::MAX_JSON_DEPTH || steps > limits::MAX_JSON_STEPS;
            if too_large {
                return;
            }
            match token {
                Token::Open { key, start, .. } => {
                    open.push(nodes.len());
                    nodes.push(Node { key, span: start..start, next: 0 });
                }
                Token::Close { end } => {
                    let next = nodes.len();
                    if let Some(node) = open.pop().and_then(|index| nodes.get_mut(index)) {
                        (node.span.end, node.next) = (end, next);
                    }
                }
                Token::Leaf { key, span } => {
                    let next = nodes.len() + 1;
                    nodes.push(Node { key, span, next });
                }
            }
        });
        match (is_json, too_large) {
            (false, _) => Parsed::NotJson,
            (true, true) => Parsed::TooLarge,
            (true, false) => Parsed::Json(Self { text, nodes }),
        }
    }

    /// How many values there are; they are numbered from 0, which is the whole text's.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none; a JSON text has one at least.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Where a value stands.
    pub fn span(&self, node: usize) -> Range<usize> {
        self.nodes[node].span.clone()
    }

    /// The literal of a value.
    pub fn literal(&self, node: usize) -> &'a str {
        &self.text[self.span(node)]
    }

    /// Where the key of a value stands, quotes included.
    pub fn key_span(&self, node: usize) -> Option<Range<usize>> {
        self.nodes[node].key.clone()
    }

    pub(super) fn key(&self, node: usize) -> Option<Cow<'a, str>> {
        self.key_span(node).map(|span| unescape(&self.text[span]))
    }

    pub(super) fn children(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        let end = self.nodes[node].next;
        std::iter::successors(Some(node + 1), move |child| self.nodes.get(*child).map(|node| node.next))
            .take_while(move |child| *child < end)
    }

    /// The whole text as a value. Of keys that stand twice the last counts, as in other readers.
    pub fn value(&self) -> Value {
        self.value_at(0)
    }

    /// One value of it.
    pub fn value_at(&self, node: usize) -> Value {
        self.build_first(node, &mut false)
    }

    /// The whole text in every reading that it has: of several values of one key any may be the one that counts. `None` where these
    /// are more than 16.
    pub fn readings(&self) -> Option<Vec<Value>> {
        const MOST: usize = 16;
        let mut repeats = false;
        let first = self.build_first(0, &mut repeats);
        if !repeats {
            return Some(vec![first]);
        }
        let ways = self.ways();
        let count = ways.first().copied().unwrap_or(1);
        (count <= MOST).then(|| std::iter::once(first).chain((1..count).map(|nth| self.build(0, nth, &ways))).collect())
    }

    /// In how many ways each value can be read.
    fn ways(&self) -> Vec<usize> {
        let mut ways = vec![1; self.nodes.len()];
        // What a container holds stands behind it.
        for node in (0..self.nodes.len()).rev() {
            ways[node] = match self.literal(node).as_bytes().first() {
                Some(b'{') => {
                    let sums = self
                        .members(node)
                        .into_values()
                        .map(|values| values.iter().fold(0, |sum: usize, at| sum.saturating_add(ways[*at])));
                    sums.fold(1, usize::saturating_mul)
                }
                Some(b'[') => self.children(node).fold(1, |product, child| product.saturating_mul(ways[child])),
                _ => 1,
            };
        }
        ways
    }

    /// The values of each key of an object.
    fn members(&self, node: usize) -> BTreeMap<Cow<'a, str>, Vec<usize>> {
        let mut members: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for child in self.children(node) {
            members.entry(self.key(child).unwrap_or_default()).or_default().push(child);
        }
        members
    }

    /// The reading in which the last value of a key counts, and whether some key stands twice. Recursion is bounded by
    /// `limits::MAX_JSON_DEPTH`.
    fn build_first(&self, node: usize, repeats: &mut bool) -> Value {
        match self.literal(node).as_bytes().first() {
            Some(b'{') => {
                let mut map = Map::new();
                for child in self.children(node) {
                    let value = self.build_first(child, repeats);
                    *repeats |= map.insert(self.key(child).unwrap_or_default().into_owned(), value).is_some();
                }
                Value::Object(map)
            }
            Some(b'[') => Value::Array(self.children(node).map(|child| self.build_first(child, repeats)).collect()),
            _ => self.leaf_value(node),
        }
    }

    /// One of the readings, the first of which is that of [`Document::build_first`].
    fn build(&self, node: usize, nth: usize, ways: &[usize]) -> Value {
        let mut left = nth;
        match self.literal(node).as_bytes().first() {
            Some(b'{') => {
                let mut map = Map::new();
                for (key, values) in self.members(node) {
                    let sum: usize = values.iter().map(|at| ways[*at]).sum();
                    let mut at = left % sum;
                    left /= sum;
                    for value in values.into_iter().rev() {
                        if at < ways[value] {
                            map.insert(key.into_owned(), self.build(value, at, ways));
                            break;
                        }
                        at -= ways[value];
                    }
                }
                Value::Object(map)
            }
            Some(b'[') => {
                let items = self.children(node).map(|child| {
                    let at = left % ways[child];
                    left /= ways[child];
                    self.build(child, at, ways)
                });
                Value::Array(items.collect())
            }
            _ => self.leaf_value(node),
        }
    }

    fn leaf_value(&self, node: usize) -> Value {
        let literal = self.literal(node);
        match literal.as_bytes().first() {
            Some(b'"') => Value::String(unescape(literal).into_owned()),
            // A number beyond every float stays what it was written as.
            _ => serde_json::from_str(literal).unwrap_or_else(|_| Value::String(literal.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
