//! Reading and showing the options of a replay: which option belongs to which mode, in one table.
//! It holds no other body of the replay API (`replay.rs` has those) and decides nothing about playing.

use serde_json::{Map, Value, json};

use super::api::check_path;
use super::fields::Fields;
use super::replay::{Matching, Mode, OnEnd, ReplayOptions};
use crate::base::error::{Error, Result};
use crate::base::{limits, text};

/// Options that only some modes have, with these modes. The others belong to all.
const OF_MODE: [(&str, &[Mode]); 10] = [
    ("timingScale", &[Mode::Pure]),
    ("initialDelay", &[Mode::Pure]),
    ("maxGap", &[Mode::Pure]),
    ("strictMatching", &[Mode::Synchronized]),
    ("match", &[Mode::Synchronized]),
    ("ignore", &[Mode::Synchronized]),
    ("correlate", &[Mode::Synchronized]),
    ("timeout", &[Mode::Synchronized, Mode::Triggered]),
    ("keepTiming", &[Mode::Synchronized]),
    ("autoAdvanceOnConnect", &[Mode::Triggered]),
];

impl Mode {
    /// Every word of a mode.
    pub const WORDS: [&'static str; 3] = ["pure", "synchronized", "triggered"];

    /// The word in files, bodies and flags.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Synchronized => "synchronized",
            Self::Triggered => "triggered",
        }
    }

    /// The mode of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Pure, Self::Synchronized, Self::Triggered].into_iter().find(|mode| mode.word() == word)
    }
}

impl OnEnd {
    /// Every word of `onEnd`.
    const WORDS: [&'static str; 4] = ["recorded", "close", "keepOpen", "loop"];

    const fn word(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Close => "close",
            Self::KeepOpen => "keepOpen",
            Self::Loop => "loop",
        }
    }
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self {
            mode: Mode::Pure,
            timing_scale: 1.0,
            skip_initial_delay: false,
            max_gap_ms: None,
            matching: Matching::Any,
            ignore: Vec::new(),
            correlate: Vec::new(),
            timeout_ms: limits::REPLAY_TIMEOUT_MS,
            keep_timing: false,
            auto_advance_on_connect: false,
            path: None,
            on_end: OnEnd::Recorded,
        }
    }
}

impl ReplayOptions {
    /// Every field that [`ReplayOptions::from_json`] takes.
    pub const FIELDS: [&'static str; 13] = [
        "mode",
        "timingScale",
        "initialDelay",
        "maxGap",
        "strictMatching",
        "match",
        "ignore",
        "correlate",
        "timeout",
        "keepTiming",
        "autoAdvanceOnConnect",
        "path",
        "onEnd",
    ];

    /// Reads the body of `POST /stream-recordings/{id}/replay`; `{}` gives the defaults.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown field, a wrong value, an option of another mode, `match` beside
    /// `strictMatching: true`, `ignore` without `match: "json"`, a bad JSONPath.
    pub fn from_json(body: &Value) -> Result<Self> {
        let mut fields = Fields::of(body, "")?;
        let options = Self::from_fields(&mut fields)?;
        fields.finish()?;
        Ok(options)
    }

    /// Reads the options out of an object that may hold more; who calls it finishes the fields.
    ///
    /// # Errors
    /// As [`ReplayOptions::from_json`], unknown fields aside.
    pub fn from_fields(fields: &mut Fields<'_>) -> Result<Self> {
        let known = Self::default();
        let mode = fields.word("mode", &Mode::WORDS)?.and_then(Mode::from_word).unwrap_or_default();
        let timing_scale = fields.number("timingScale")?.unwrap_or(known.timing_scale);
        let skip_initial_delay = fields.word("initialDelay", &["recorded", "none"])? == Some("none");
        let max_gap_ms = fields.integer("maxGap", 0..=u64::MAX)?;
        let strict = fields.boolean("strictMatching")?.unwrap_or(false);
        let matching = match fields.word("match", &["json", "type"])? {
            Some("json") => Matching::Json,
            Some(_) => Matching::Type,
            None if strict => Matching::Strict,
            None => Matching::Any,
        };
        let ignore = json_paths(fields, "ignore")?;
        let correlate = json_paths(fields, "correlate")?;
        let timeout_ms = fields.integer("timeout", 0..=u64::MAX)?.unwrap_or(known.timeout_ms);
        let keep_timing = fields.boolean("keepTiming")?.unwrap_or(false);
        let auto_advance_on_connect = fields.boolean("autoAdvanceOnConnect")?.unwrap_or(false);
        let path = fields.string("path")?;
        let on_end = match fields.word("onEnd", &OnEnd::WORDS)? {
            Some("close") => OnEnd::Close,
            Some("keepOpen") => OnEnd::KeepOpen,
            Some("loop") => OnEnd::Loop,
            _ => OnEnd::Recorded,
        };
        check_modes(fields, mode, on_end)?;
        if strict && fields.has("match") {
            let message = "this cannot stand beside strictMatching: true; leave out one of the two";
            return Err(Error::invalid(fields.place_of("match"), message));
        }
        if fields.has("ignore") && matching != Matching::Json {
            return Err(Error::invalid(fields.place_of("ignore"), "this needs match: \"json\""));
        }
        if let Some(path) = &path {
            let place = fields.place_of("path");
            check_path(&place, path)?;
            if path.ends_with('*') {
                let message = format!("{:?} must be a path that a client asks for, without \"*\"", text::clean(&text::shorten(path, 64)));
                return Err(Error::invalid(place, message));
            }
        }
        Ok(Self {
            mode,
            timing_scale,
            skip_initial_delay,
            max_gap_ms,
            matching,
            ignore,
            correlate,
            timeout_ms,
            keep_timing,
            auto_advance_on_connect,
            path,
            on_end,
        })
    }

    /// The options of the mode, as `config` shows them: `{"mode":"pure","timingScale":1.0}`; defaults of the mode's own
    /// options are shown where the documents show them, the others where they were given. It reads back as the same options.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        let mut put = |name: &str, value: Value| map.insert(name.to_owned(), value);
        put("mode", json!(self.mode.word()));
        match self.mode {
            Mode::Pure => {
                put("timingScale", json!(self.timing_scale));
                if self.skip_initial_delay {
                    put("initialDelay", json!("none"));
                }
                if let Some(max_gap_ms) = self.max_gap_ms {
                    put("maxGap", json!(max_gap_ms));
                }
            }
            Mode::Synchronized => {
                put("strictMatching", json!(self.matching == Matching::Strict));
                match self.matching {
                    Matching::Json => drop(put("match", json!("json"))),
                    Matching::Type => drop(put("match", json!("type"))),
                    Matching::Any | Matching::Strict => {}
                }
                if !self.ignore.is_empty() {
                    put("ignore", json!(self.ignore));
                }
                if !self.correlate.is_empty() {
                    put("correlate", json!(self.correlate));
                }
                put("timeout", json!(self.timeout_ms));
                if self.keep_timing {
                    put("keepTiming", json!(true));
                }
            }
            Mode::Triggered => {
                put("autoAdvanceOnConnect", json!(self.auto_advance_on_connect));
                put("timeout", json!(self.timeout_ms));
            }
        }
        if let Some(path) = &self.path {
            put("path", json!(path));
        }
        if self.on_end != OnEnd::Recorded {
            put("onEnd", json!(self.on_end.word()));
        }
        Value::Object(map)
    }
}

/// No option of another mode may be given, whatever its value: it would be ignored.
fn check_modes(fields: &Fields<'_>, mode: Mode, on_end: OnEnd) -> Result<()> {
    for (name, modes) in OF_MODE {
        if fields.has(name) && !modes.contains(&mode) {
            let words: Vec<_> = modes.iter().map(|mode| mode.word()).collect();
            let message = format!("this is an option of {} mode; the mode here is {}", words.join(" and "), mode.word());
            return Err(Error::invalid(fields.place_of(name), message));
        }
    }
    if on_end == OnEnd::Loop && mode != Mode::Pure {
        let message = format!("\"loop\" is for pure mode; the mode here is {}: choose recorded, close or keepOpen", mode.word());
        return Err(Error::invalid(fields.place_of("onEnd"), message));
    }
    Ok(())
}

/// An array of JSONPaths, each of which must parse.
fn json_paths(fields: &mut Fields<'_>, name: &'static str) -> Result<Vec<String>> {
    let paths = fields.strings(name)?.unwrap_or_default();
    for (index, path) in paths.iter().enumerate() {
        check_json_path(&format!("{}[{index}]", fields.place_of(name)), path)?;
    }
    Ok(paths)
}

/// Checks a JSONPath (RFC 9535).
///
/// # Errors
/// [`Error::Invalid`] at `place` with the value and what is wrong.
pub fn check_json_path(place: &str, path: &str) -> Result<serde_json_path::JsonPath> {
    // The parser recurses into brackets and parentheses, and what `..` finds is multiplied by the next one; nobody needs a path as long
    // or as deep as this.
    let Shape { deepest, descents, is_in_quotes } = shape(path);
    if path.len() > limits::MAX_JSON_PATH_BYTES || deepest > limits::MAX_JSON_PATH_DEPTH || descents > limits::MAX_JSON_PATH_DESCENTS {
        let (bytes, depth, descents) = (limits::MAX_JSON_PATH_BYTES, limits::MAX_JSON_PATH_DEPTH, limits::MAX_JSON_PATH_DESCENTS);
        return Err(Error::invalid(
            place,
            format!("a JSONPath has at most {bytes} bytes, {depth} brackets or parentheses within each other, and \"..\" {descents} times"),
        ));
    }
    let wrong = |why: &str| {
        let shown = text::clean(&text::shorten(path, 64)).into_owned();
        Error::invalid(place, format!("{shown:?} is no JSONPath (RFC 9535): {}", text::clean(why)))
    };
    // The parser panics where such a name ends within `\u`.
    if is_in_quotes {
        return Err(wrong("a name or text in quotes has no end"));
    }
    serde_json_path::JsonPath::parse(path).map_err(|error| wrong(error.message()))
}

/// What makes a path costly, names in quotes aside, and whether the last of these has its end.
struct Shape {
    /// How many brackets and parentheses are open at once.
    deepest: usize,
    /// How often `..` stands in it.
    descents: usize,
    /// It ends within quotes.
    is_in_quotes: bool,
}

fn shape(path: &str) -> Shape {
    let (mut open, mut quote, mut before) = (0usize, None, 0);
    let mut shape = Shape { deepest: 0, descents: 0, is_in_quotes: false };
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match (byte, quote) {
            (b'\\', Some(_)) => drop(bytes.next()),
            (_, Some(end)) if byte == end => quote = None,
            (_, Some(_)) => {}
            (b'"' | b'\'', None) => quote = Some(byte),
            (b'[' | b'(', None) => open += 1,
            (b']' | b')', None) => open = open.saturating_sub(1),
            (b'.', None) if before == b'.' => shape.descents += 1,
            _ => {}
        }
        before = byte;
        shape.deepest = shape.deepest.max(open);
    }
    shape.is_in_quotes = quote.is_some();
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<ReplayOptions> {
        ReplayOptions::from_json(&serde_json::from_str(body).unwrap())
    }

    #[test]
    fn the_options_of_a_mode_read_and_show() {
        for (body, shown) in [
            ("{}", r#"{"mode":"pure","timingScale":1.0}"#),
            (r#"{"mode":"pure","timingScale":0.5}"#, r#"{"mode":"pure","timingScale":0.5}"#),
            (r#"{"timingScale":2}"#, r#"{"mode":"pure","timingScale":2.0}"#),
            (
                r#"{"initialDelay":"none","maxGap":250,"onEnd":"loop","path":"/x"}"#,
                r#"{"mode":"pure","timingScale":1.0,"initialDelay":"none","maxGap":250,"path":"/x","onEnd":"loop"}"#,
            ),
            (r#"{"mode":"synchronized"}"#, r#"{"mode":"synchronized","strictMatching":false,"timeout":30000}"#),
            (
                r#"{"mode":"synchronized","strictMatching":true,"timeout":5000,"keepTiming":true}"#,
                r#"{"mode":"synchronized","strictMatching":true,"timeout":5000,"keepTiming":true}"#,
            ),
            (
                r#"{"mode":"synchronized","strictMatching":false,"match":"json","ignore":["$.id"],"correlate":["$.id"]}"#,
                r#"{"mode":"synchronized","strictMatching":false,"match":"json","ignore":["$.id"],"correlate":["$.id"],"timeout":30000}"#,
            ),
            (
                r#"{"mode":"synchronized","match":"type","onEnd":"keepOpen"}"#,
                r#"{"mode":"synchronized","strictMatching":false,"match":"type","timeout":30000,"onEnd":"keepOpen"}"#,
            ),
            (
                r#"{"mode":"triggered","autoAdvanceOnConnect":true,"timeout":0}"#,
                r#"{"mode":"triggered","autoAdvanceOnConnect":true,"timeout":0}"#,
            ),
            (r#"{"mode":"triggered"}"#, r#"{"mode":"triggered","autoAdvanceOnConnect":false,"timeout":30000}"#),
        ] {
            let options = read(body).unwrap();
            assert_eq!(options.to_json().to_string(), shown, "{body}");
            assert_eq!(read(shown).unwrap(), options, "{body}");
        }
    }

    #[test]
    fn what_does_not_belong_is_refused() {
        for (body, message) in [
            (r#"{"mode":"fast"}"#, "mode: \"fast\" is none of pure, synchronized, triggered"),
            (r#"{"mode":"triggered","timingScale":1}"#, "timingScale: this is an option of pure mode; the mode here is triggered"),
            (r#"{"mode":"synchronized","maxGap":1}"#, "maxGap: this is an option of pure mode; the mode here is synchronized"),
            (r#"{"mode":"synchronized","initialDelay":"recorded"}"#, "initialDelay: this is an option of pure mode"),
            (r#"{"timeout":5}"#, "timeout: this is an option of synchronized and triggered mode; the mode here is pure"),
            (r#"{"strictMatching":false}"#, "strictMatching: this is an option of synchronized mode; the mode here is pure"),
            (r#"{"mode":"triggered","correlate":["$.id"]}"#, "correlate: this is an option of synchronized mode"),
            (r#"{"mode":"triggered","keepTiming":true}"#, "keepTiming: this is an option of synchronized mode"),
            (r#"{"mode":"synchronized","autoAdvanceOnConnect":true}"#, "autoAdvanceOnConnect: this is an option of triggered mode"),
            (r#"{"mode":"synchronized","onEnd":"loop"}"#, "onEnd: \"loop\" is for pure mode; the mode here is synchronized"),
            (r#"{"mode":"synchronized","strictMatching":true,"match":"json"}"#, "match: this cannot stand beside strictMatching: true"),
            (r#"{"mode":"synchronized","ignore":["$.id"]}"#, "ignore: this needs match: \"json\""),
            (r#"{"mode":"synchronized","match":"type","ignore":[]}"#, "ignore: this needs match: \"json\""),
            (r#"{"mode":"synchronized","correlate":["$.id","id"]}"#, "correlate[1]: \"id\" is no JSONPath (RFC 9535): "),
            (r#"{"mode":"synchronized","match":"exact"}"#, "match: \"exact\" is none of json, type"),
            (r#"{"timingScale":-1}"#, "timingScale: this must be a number of at least 0, it is -1"),
            (r#"{"path":"x"}"#, "path: \"x\" must begin with \"/\""),
            (r#"{"path":"/x/*"}"#, "path: \"/x/*\" must be a path that a client asks for, without \"*\""),
            (r#"{"timingscale":1}"#, "timingscale: there is no such field; did you mean \"timingScale\"?"),
            ("[]", "this must be an object, it is an array"),
        ] {
            let error = read(body).unwrap_err().to_string();
            assert!(error.starts_with(message), "{body}: {error}");
        }
    }

    #[test]
    fn a_json_path_that_ends_within_an_escape_panicked() {
        for path in [r#"$[?"\u"#, r"$['\u12", r#"$["\ud83d\u"#, r#"$["a"#, r"$['", r"$['a\'"] {
            let told = check_json_path("x", path).unwrap_err().to_string();
            assert!(told.ends_with("(RFC 9535): a name or text in quotes has no end"), "{told}");
        }
        for path in [r#"$["\u0041"]"#, r#"$["it's"]['"']"#, r"$['\'']", r#"$[?@.a == "\\"]"#] {
            assert!(check_json_path("x", path).is_ok(), "{path}");
        }
        for path in [r#"$["\u"]"#, r"$['\u12']", r#"$["\ud83d\u"]"#] {
            assert!(check_json_path("x", path).is_err(), "{path}");
        }
    }

    #[test]
    fn json_paths_have_limits_that_fit_a_small_stack() {
        let nested = |depth| format!("{}@.a{}", "$[?".to_owned() + &"@[?".repeat(depth - 1), "]".repeat(depth));
        let run = move || {
            assert!(check_json_path("x", &nested(limits::MAX_JSON_PATH_DEPTH)).is_ok());
            for deep in ["$[?(@[?(@.a==1)])]", "$[?count(@[?count(@.*)>1])>1]", "$[?!(@.a||(@.b&&@.c))]", "$['[[[[[[']['\\'((((((']"] {
                assert!(check_json_path("x", deep).is_ok(), "{deep}");
            }
            assert!(check_json_path("x", &nested(500)).is_err());
            for (path, taken) in [("$..a..b", true), ("$..a..b..c", false), ("$..[?@..[?@..a]]", false), ("$..['..']['....']..a", true)] {
                assert_eq!(check_json_path("x", path).is_ok(), taken, "{path}");
            }
            assert!(check_json_path("x", &format!("$.{}", "a".repeat(limits::MAX_JSON_PATH_BYTES))).is_err());
        };
        std::thread::Builder::new().stack_size(limits::STACK_BYTES).spawn(run).unwrap().join().unwrap();
    }

    #[test]
    fn the_table_of_modes_and_the_list_of_fields_agree() {
        let body: Value = ReplayOptions::FIELDS.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
        assert_eq!(ReplayOptions::from_json(&body).unwrap(), ReplayOptions::default());
        for (name, _) in OF_MODE {
            assert!(ReplayOptions::FIELDS.contains(&name), "{name}");
        }
    }
}
