//! The text of a config as it grows: JSON on few lines, or YAML in block style with flow style inside. It knows containers, names
//! and scalars, and no mock.
//!
//! The text of a string is the same in both: a JSON literal in which every character is escaped that some reader of YAML 1.1 or
//! 1.2 takes for a line break, refuses, or drops.

use serde_json::Value;

use crate::base::text::plain_run;
use crate::model::convert_options::ConfigFormat;

/// Numbers on a line of a long list.
const NUMBERS_PER_LINE: usize = 20;
/// Bytes of a key that YAML readers still take before a colon: they must find the colon within 1024 characters (YAML 1.2 §7.4.2).
const MAX_SIMPLE_KEY_BYTES: usize = 512;

/// A config under construction.
#[derive(Debug)]
pub struct Writer {
    text: String,
    is_yaml: bool,
    open: Vec<Container>,
    /// Behind a key of block style: what stands on its line needs a blank before it.
    after_key: bool,
}

#[derive(Debug)]
struct Container {
    shape: Shape,
    entries: usize,
}

/// How a container is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An object; in YAML a line for each entry.
    BlockMap,
    /// An array with a line for each entry.
    BlockList,
    /// An object on one line.
    FlowMap,
    /// An array on one line, or some lines where it is long.
    FlowList,
}

impl Shape {
    fn is_block(self) -> bool {
        matches!(self, Self::BlockMap | Self::BlockList)
    }

    fn brackets(self) -> (char, char) {
        match self {
            Self::BlockMap | Self::FlowMap => ('{', '}'),
            Self::BlockList | Self::FlowList => ('[', ']'),
        }
    }
}

impl Writer {
    /// An empty text.
    pub fn new(format: ConfigFormat) -> Self {
        Self { text: String::new(), is_yaml: format == ConfigFormat::Yaml, open: Vec::new(), after_key: false }
    }

    /// What has been written so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Forgets what has been written so far; the next piece follows it.
    pub fn clear(&mut self) {
        self.text.clear();
    }

    /// Begins a container.
    pub fn open(&mut self, shape: Shape) {
        if !(self.is_yaml && shape.is_block()) {
            self.begin_scalar();
            self.text.push(shape.brackets().0);
        }
        self.open.push(Container { shape, entries: 0 });
    }

    /// Ends the innermost container.
    pub fn close(&mut self) {
        let Some(Container { shape, entries }) = self.open.pop() else { return };
        if !(self.is_yaml && shape.is_block()) {
            self.text.push(shape.brackets().1);
        } else if entries == 0 {
            // A block without entries would be read as null.
            self.begin_scalar();
            let (begin, end) = shape.brackets();
            self.text.extend([begin, end]);
        }
        if self.open.is_empty() {
            self.text.push('\n');
        }
    }

    /// Begins an entry of an array; its value follows.
    pub fn item(&mut self) {
        let Some(Container { shape, entries }) = self.open.last_mut() else { return };
        let (is_block, is_first) = (shape.is_block(), *entries == 0);
        let begins_line = !is_block && !is_first && entries.is_multiple_of(NUMBERS_PER_LINE);
        *entries += 1;
        if self.is_yaml && is_block {
            self.begin_line(self.indent());
            self.text.push_str("- ");
            return;
        }
        if !is_first {
            self.text.push(',');
        }
        if self.is_yaml && begins_line {
            // Within brackets a line must be further in than what they belong to.
            self.begin_line(self.indent() + 2);
        } else if is_block || begins_line {
            self.text.push('\n');
        } else if self.is_yaml && !is_first {
            self.text.push(' ');
        }
    }

    /// Begins an entry of an object, of a plain name of ours; its value follows.
    pub fn key(&mut self, name: &str) {
        self.begin_entry();
        if self.is_yaml {
            self.text.push_str(name);
        } else {
            self.quote(name);
        }
        self.end_key();
    }

    /// Begins an entry of an object, of any name.
    pub fn any_key(&mut self, name: &str) {
        self.begin_entry();
        // Six is what a byte may grow to when it is escaped.
        let is_long = self.is_yaml && name.len() > MAX_SIMPLE_KEY_BYTES / 6;
        if is_long {
            self.text.push_str("? ");
        }
        push_literal(&mut self.text, name);
        if is_long && self.open.last().is_some_and(|container| container.shape.is_block()) {
            // On the same line, in block style, the colon would make an object of the name.
            self.begin_line(self.indent());
        }
        self.end_key();
    }

    /// A text.
    pub fn string(&mut self, text: &str) {
        self.begin_scalar();
        push_literal(&mut self.text, text);
    }

    /// A plain word of ours.
    pub fn word(&mut self, word: &str) {
        self.begin_scalar();
        if self.is_yaml { self.text.push_str(word) } else { self.quote(word) }
    }

    /// What stands in both formats as it is: a number, `true`, `false`, `null`.
    pub fn raw(&mut self, text: &str) {
        self.begin_scalar();
        self.text.push_str(text);
    }

    /// Microseconds as milliseconds.
    pub fn ms(&mut self, us: u64) {
        self.begin_scalar();
        let (ms, rest) = (us / 1000, us % 1000);
        push_number(&mut self.text, ms);
        if rest > 0 {
            self.text.push('.');
            let (mut rest, mut unit) = (rest, 100);
            while rest > 0 {
                self.text.push(digit(rest / unit));
                (rest, unit) = (rest % unit, unit / 10);
            }
        }
    }

    /// Any value, on one line. It recurses: the caller has bounded its nesting.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Object(map) => {
                self.open(Shape::FlowMap);
                for (name, value) in map {
                    self.any_key(name);
                    self.value(value);
                }
                self.close();
            }
            Value::Array(items) => {
                self.open(Shape::FlowList);
                for item in items {
                    self.item();
                    self.value(item);
                }
                self.close();
            }
            Value::String(text) => self.string(text),
            Value::Number(number) if number.is_f64() => self.raw(&float(&number.to_string())),
            Value::Number(_) | Value::Bool(_) | Value::Null => self.raw(&value.to_string()),
        }
    }

    /// A plain name of ours in quotes: there is nothing to escape in it.
    fn quote(&mut self, name: &str) {
        self.text.push('"');
        self.text.push_str(name);
        self.text.push('"');
    }

    /// An entry of an object: separators, and in block style a new line.
    fn begin_entry(&mut self) {
        let Some(Container { shape, entries }) = self.open.last_mut() else { return };
        let is_first = *entries == 0;
        *entries += 1;
        if self.is_yaml && *shape == Shape::BlockMap {
            // The first entry of an object that is an item stands on the item's line, the text's first one on its first.
            let joins = self.open.len() < 2 || self.open.iter().rev().nth(1).is_some_and(|outer| outer.shape == Shape::BlockList);
            if !(is_first && joins) {
                self.begin_line(self.indent());
            }
        } else if !is_first {
            self.text.push_str(if self.is_yaml { ", " } else { "," });
        }
    }

    fn end_key(&mut self) {
        self.text.push(':');
        self.after_key = self.is_yaml;
    }

    fn begin_scalar(&mut self) {
        if std::mem::take(&mut self.after_key) {
            self.text.push(' ');
        }
    }

    fn begin_line(&mut self, indent: usize) {
        self.after_key = false;
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n(' ', indent));
    }

    /// The column of entries of the innermost block.
    fn indent(&self) -> usize {
        2 * self.open.iter().filter(|container| container.shape.is_block()).count().saturating_sub(1)
    }
}

/// Appends a whole number, of which there are as many as steps.
fn push_number(out: &mut String, number: u64) {
    let mut unit = number.checked_ilog10().map_or(1, |digits| 10_u64.pow(digits));
    while unit > 0 {
        out.push(digit(number / unit % 10));
        unit /= 10;
    }
}

/// A number below ten.
fn digit(number: u64) -> char {
    char::from(b'0' + (number % 10) as u8)
}

/// A float that YAML 1.1 takes for one too: with a fraction, and with a sign in its exponent.
fn float(text: &str) -> String {
    let Some((digits, exponent)) = text.split_once('e') else { return text.to_owned() };
    let fraction = if digits.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
    format!("{digits}{fraction}e{sign}{exponent}")
}

/// Appends a text in quotes.
fn push_literal(out: &mut String, text: &str) {
    out.push('"');
    // Most texts are plain to their end.
    let plain = plain_run(text.as_bytes());
    let mut done = 0;
    for (at, c) in text[plain..].char_indices().filter(|(_, c)| is_escaped(*c)).map(|(at, c)| (plain + at, c)) {
        out.push_str(&text[done..at]);
        done = at + c.len_utf8();
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // All of them are below U+10000.
            other => out.push_str(&format!("\\u{:04x}", u32::from(other))),
        }
    }
    out.push_str(&text[done..]);
    out.push('"');
}

/// What JSON must escape; DEL and C1 (NEL among them), which YAML readers refuse or take for line breaks; the line and paragraph
/// separators; the byte order mark; the characters that are none.
fn is_escaped(c: char) -> bool {
    match c {
        '"' | '\\' => true,
        ' '..='~' => false,
        '\0'..='\u{9f}' => true,
        _ => matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fffe}' | '\u{ffff}'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// A small config of every shape.
    fn sample(format: ConfigFormat) -> String {
        let mut out = Writer::new(format);
        out.open(Shape::BlockMap);
        out.key("version");
        out.string("1.0");
        out.key("mocks");
        out.open(Shape::BlockList);
        out.item();
        out.open(Shape::BlockMap);
        out.key("enabled");
        out.raw("true");
        out.key("headers");
        out.open(Shape::BlockMap);
        out.any_key("X-A");
        out.string("a: b");
        out.close();
        out.key("none");
        out.open(Shape::BlockList);
        out.close();
        out.key("steps");
        out.open(Shape::BlockList);
        for us in [0, 100_250] {
            out.item();
            out.open(Shape::FlowMap);
            out.key("type");
            out.word("send");
            out.key("delay");
            out.ms(us);
            out.close();
        }
        out.close();
        out.key("delays");
        out.open(Shape::FlowList);
        for us in 0..21 {
            out.item();
            out.ms(us);
        }
        out.close();
        out.close();
        out.close();
        out.close();
        out.text().to_owned()
    }

    const YAML: &str = r#"version: "1.0"
mocks:
  - enabled: true
    headers:
      "X-A": "a: b"
    none: []
    steps:
      - {type: send, delay: 0}
      - {type: send, delay: 100.25}
    delays: [0, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.009, 0.01, 0.011, 0.012, 0.013, 0.014, 0.015, 0.016, 0.017, 0.018, 0.019,
      0.02]
"#;

    const JSON: &str = r#"{"version":"1.0","mocks":[
{"enabled":true,"headers":{"X-A":"a: b"},"none":[],"steps":[
{"type":"send","delay":0},
{"type":"send","delay":100.25}],"delays":[0,0.001,0.002,0.003,0.004,0.005,0.006,0.007,0.008,0.009,0.01,0.011,0.012,0.013,0.014,0.015,0.016,0.017,0.018,0.019,
0.02]}]}
"#;

    #[test]
    fn both_formats_say_the_same() {
        assert_eq!(sample(ConfigFormat::Yaml), YAML);
        assert_eq!(sample(ConfigFormat::Json), JSON);
        let json: Value = serde_json::from_str(JSON).unwrap();
        assert_eq!(yaml_serde::from_str::<Value>(YAML).unwrap(), json);
    }

    #[test]
    fn milliseconds_have_no_more_digits_than_they_need() {
        for (us, text) in [
            (0, "0"),
            (1, "0.001"),
            (20, "0.02"),
            (300, "0.3"),
            (1000, "1"),
            (10_010, "10.01"),
            (99_999, "99.999"),
            (100_000, "100"),
            (9_007_199_254_740_993, "9007199254740.993"),
            (u64::MAX, "18446744073709551.615"),
        ] {
            let mut out = Writer::new(ConfigFormat::Json);
            out.ms(us);
            assert_eq!(out.text(), text);
        }
    }

    #[test]
    fn a_literal_is_escaped_wherever_its_plain_part_ends() {
        for plain in [0, 1, 31, 32, 33, 70] {
            for (text, escaped) in [("", ""), ("\"", "\\\""), ("é", "é"), ("\u{7f}x\n", "\\u007fx\\n"), ("\u{2028}\\", "\\u2028\\\\")] {
                let mut literal = String::new();
                push_literal(&mut literal, &("a".repeat(plain) + text));
                assert_eq!(literal, format!("\"{}{escaped}\"", "a".repeat(plain)));
            }
        }
    }

    #[test]
    fn floats_are_floats_in_every_reader() {
        for (number, text) in [(1e300, "1.0e+300"), (1.5e-9, "1.5e-9"), (0.1, "0.1"), (1e16, "1.0e+16"), (-2.5, "-2.5")] {
            let mut out = Writer::new(ConfigFormat::Json);
            out.value(&json!(number));
            assert_eq!(out.text(), text);
            assert_eq!(serde_json::from_str::<f64>(text).unwrap(), number);
        }
    }

    #[test]
    fn a_long_key_of_a_block_is_read_as_a_key() {
        for length in [170, 171, 1024, 5000] {
            let name = "k".repeat(length);
            let mut out = Writer::new(ConfigFormat::Yaml);
            out.open(Shape::BlockMap);
            out.key("headers");
            out.open(Shape::BlockMap);
            out.any_key(&name);
            out.string("first");
            out.any_key("other");
            out.string("second");
            out.any_key(&format!("{name}2"));
            out.open(Shape::BlockList);
            out.item();
            out.string("third");
            (0..3).for_each(|_| out.close());
            let read: Value = yaml_serde::from_str(out.text()).unwrap();
            assert_eq!(read, json!({"headers": {&name: "first", "other": "second", format!("{name}2"): ["third"]}}), "{}", out.text());
        }
    }

    fn written(value: &Value, format: ConfigFormat) -> String {
        let mut out = Writer::new(format);
        out.open(Shape::BlockMap);
        out.key("mocks");
        out.open(Shape::BlockList);
        out.item();
        out.open(Shape::FlowMap);
        out.key("value");
        out.value(value);
        out.close();
        out.close();
        out.close();
        out.text().to_owned()
    }

    #[test]
    fn long_keys_are_read_by_yaml_too() {
        for length in [1, 84, 85, 86, 200, 1023, 1024, 5000] {
            for c in ["k", "\u{1}", "é", ": "] {
                let value = json!({c.repeat(length): {c.repeat(length): "v".repeat(length)}, "b": 1});
                let text = written(&value, ConfigFormat::Yaml);
                assert_eq!(yaml_serde::from_str::<Value>(&text).unwrap()["mocks"][0]["value"], value, "{length} {c:?}");
            }
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            Just(Value::Null),
            any::<String>().prop_map(Value::from),
            "[ -~\u{80}-\u{a0}\u{2020}-\u{2030}\u{fdd0}-\u{fdef}\u{fef0}-\u{feff}\u{fff0}-\u{ffff}\u{1fff0}-\u{1ffff}]{0,12}"
                .prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::vec((any::<String>(), inner), 0..6).prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_reads_back_from_both(value in any_value()) {
            let json = written(&value, ConfigFormat::Json);
            prop_assert_eq!(&serde_json::from_str::<Value>(&json).unwrap()["mocks"][0]["value"], &value);
            let yaml = written(&value, ConfigFormat::Yaml);
            prop_assert_eq!(&yaml_serde::from_str::<Value>(&yaml).unwrap()["mocks"][0]["value"], &value);
            prop_assert!(!json.chars().chain(yaml.chars()).any(|c| c != '\n' && is_escaped(c) && !"\"\\".contains(c)));
        }
    }
}
