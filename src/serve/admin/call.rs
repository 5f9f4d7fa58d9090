//! One call as a handler sees it: the id from its path, its query parameters and its body, read and checked.
//! It never writes an answer.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

use crate::base::error::{Error, Result};
use crate::base::limits::MAX_API_BODY_BYTES;
use crate::base::text;
use crate::engine::app::App;
use crate::model::api;
use crate::serve::callers::Caller;
use crate::wire::url;

/// Who asks, and of whom: all that a wait must know of its call.
#[derive(Debug, Clone)]
pub struct Asker {
    /// What the call is about.
    pub app: Arc<App>,
    /// Who asks.
    pub caller: Caller,
}

impl Asker {
    /// Whether the answer is still wanted: a call that waits for something looks at it at least every second.
    pub fn is_wanted(&self) -> bool {
        self.caller.is_here() && !self.app.is_ending()
    }
}

/// One call.
#[derive(Debug)]
pub struct Call {
    /// Who asks, and of whom.
    pub asker: Asker,
    /// The id in the path, decoded and checked to be able to be one; empty where the route has none.
    pub id: String,
    /// The query.
    pub parameters: Parameters,
    /// `Last-Event-ID`, as an event source that comes again sends it.
    pub last_event_id: Option<String>,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Call {
    /// What the call is about.
    pub fn app(&self) -> &App {
        &self.asker.app
    }

    /// The body as JSON, whatever its `Content-Type`; an empty one is `{}`.
    ///
    /// # Errors
    /// [`Error::Invalid`] with line and column.
    pub fn json(&self) -> Result<Value> {
        parse_json(&self.body)
    }

    /// Checks the body of a call that takes no fields: empty or `{}`.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the first field.
    pub fn expect_no_fields(&self) -> Result<()> {
        match self.json()? {
            Value::Object(map) => match map.keys().next() {
                None => Ok(()),
                Some(name) => Err(Error::invalid(text::shorten(name, 64), "there is no such field; this call takes none")),
            },
            _ => Err(Error::invalid("", "the body of this call must be empty or {}")),
        }
    }
}

/// Reads JSON text; empty text is `{}`. serde_json stops at 128 levels; a call's thread has the stack for them.
fn parse_json(body: &[u8]) -> Result<Value> {
    // Some editors and shells begin UTF-8 with a byte order mark, which RFC 8259 §8.1 lets a reader ignore.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.trim_ascii().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_slice(body).map_err(|error| Error::invalid("", format!("the body is not JSON: {error}")))
}

/// The bytes of bodies that are held, those of all calls that share a count; what this one holds is given back with it.
#[derive(Debug)]
pub struct Budget {
    held: Arc<AtomicU64>,
    mine: u64,
    max: u64,
}

impl Budget {
    /// A call's part of `held`, which all calls together may bring to `max`.
    pub fn of(held: &Arc<AtomicU64>, max: u64) -> Self {
        Self { held: Arc::clone(held), mine: 0, max }
    }

    /// Counts bytes. A call that is alone gets all that its own limit allows.
    fn take(&mut self, bytes: u64) -> Result<()> {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.mine += bytes;
        if held > self.max && held > self.mine {
            return Err(Error::TooMany(format!(
                "other calls hold large bodies, and all together may have {} bytes; try again later",
                self.max
            )));
        }
        Ok(())
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.held.fetch_sub(self.mine, Ordering::Relaxed);
    }
}

/// Reads a body to its end, so that the next request of the connection begins where it should.
///
/// # Errors
/// [`Error::TooLarge`] past `limit` bytes, [`Error::TooMany`] past the budget, without reading the rest; [`Error::Invalid`] where it
/// breaks off.
pub fn read_body(reader: &mut dyn Read, declared: Option<usize>, limit: u64, budget: &mut Budget) -> Result<Vec<u8>> {
    let too_large = || Error::TooLarge { what: "body of this call", limit };
    if declared.is_some_and(|length| length as u64 > limit) {
        return Err(too_large());
    }
    // What is declared may never come.
    let mut body = Vec::with_capacity(declared.unwrap_or(0).min(MAX_API_BODY_BYTES as usize));
    let broken = |what: String| Error::invalid("", format!("the body broke off: {what}"));
    loop {
        // One byte past the limit is enough to know: its sender may stop there and wait.
        let wanted = limit.saturating_add(1).saturating_sub(body.len() as u64).min(MAX_API_BODY_BYTES);
        let read = reader.take(wanted).read_to_end(&mut body).map_err(|error| broken(error.to_string()))?;
        if body.len() as u64 > limit {
            return Err(too_large());
        }
        budget.take(read as u64)?;
        if (read as u64) < wanted {
            break;
        }
    }
    match declared {
        Some(length) if body.len() < length => Err(broken(format!("{} of {length} bytes came", body.len()))),
        _ => Ok(body),
    }
}

/// Query parameters, decoded; each is known and given once.
#[derive(Debug, Default)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a query.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a parameter that is not among `known`, or that is given twice.
    pub fn read(query: &str, known: &[&str]) -> Result<Self> {
        Self::check(url::parameters(query).filter(|(name, value)| !(name.is_empty() && value.is_empty())).collect(), known)
    }

    fn check(pairs: Vec<(String, String)>, known: &[&str]) -> Result<Self> {
        for (at, (name, _)) in pairs.iter().enumerate() {
            let shown = || text::shorten(name, 64).into_owned();
            if !known.contains(&name.as_str()) {
                let hint = match (known, text::nearest(name, known.iter().copied())) {
                    ([], _) => "this call takes none".to_owned(),
                    (_, Some(near)) => format!("did you mean {near:?}?"),
                    (_, None) => format!("known: {}", known.join(", ")),
                };
                return Err(Error::invalid(shown(), format!("there is no such query parameter; {hint}")));
            }
            if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::invalid(shown(), "this query parameter is given twice"));
            }
        }
        Ok(Self(pairs))
    }

    /// Every parameter.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// One parameter.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether a parameter is set: `true`, `1` or nothing at all behind it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for anything but those and `false`, `0`.
    pub fn flag(&self, name: &str) -> Result<bool> {
        match self.value(name) {
            None => Ok(false),
            Some(value) => {
                api::boolean(value).ok_or_else(|| Error::invalid(name, format!("{:?} is not true or false", text::shorten(value, 64))))
            }
        }
    }

    /// A whole number in a range.
    ///
    /// # Errors
    /// [`Error::Invalid`] for anything else, with the range.
    pub fn integer(&self, name: &str, range: std::ops::RangeInclusive<u64>) -> Result<Option<u64>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match value.parse().ok().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Error::invalid(
                name,
                format!("{:?} is not a whole number from {} to {}", text::shorten(value, 64), range.start(), range.end()),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sync;

    fn parameters(pairs: &[(&str, &str)], known: &[&str]) -> Result<Parameters> {
        Parameters::check(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(), known)
    }

    /// A reader that never ends: whoever reads on for ever hangs the test.
    struct Endless;
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            buffer.fill(b' ');
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_body_is_json_whatever_it_is_called_and_an_empty_one_is_an_empty_object() {
        for (body, wanted) in [
            ("", "{}"),
            (" \r\n", "{}"),
            ("{}", "{}"),
            ("{\"count\": 5}", "{\"count\":5}"),
            ("\u{feff}{\"a\":1}", "{\"a\":1}"),
            ("{\"a\":1,\"a\":2}", "{\"a\":2}"),
        ] {
            assert_eq!(parse_json(body.as_bytes()).unwrap().to_string(), wanted, "{body:?}");
        }
        let error = parse_json(b"{\n  \"a\": nope}").unwrap_err();
        assert_eq!(error.status(), 400);
        assert!(error.to_string().ends_with("at line 2 column 9"), "{error}");
        assert_eq!(parse_json(b"{\"a\":\"\xff\"}").unwrap_err().status(), 400);
    }

    #[test]
    fn json_nested_too_deep_is_an_error_on_the_stack_of_a_call() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            for depth in [100, 127, 128, 200_000] {
                let body = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                let thread = sync::spawn("call", move || assert_eq!(parse_json(body.as_bytes()).is_ok(), depth < 128)).unwrap();
                thread.join().unwrap();
            }
        }
    }

    fn read_body(reader: &mut dyn Read, declared: Option<usize>) -> Result<Vec<u8>> {
        super::read_body(reader, declared, MAX_API_BODY_BYTES, &mut Budget::of(&Arc::default(), 0))
    }

    #[test]
    fn large_bodies_are_bounded_all_together() {
        let held = Arc::new(AtomicU64::new(0));
        let read =
            |bytes: u64, budget: &mut Budget| super::read_body(&mut Endless.take(bytes), None, 5_000_000, budget).map(|body| body.len());
        let mut first = Budget::of(&held, 5_000_000);
        assert_eq!(read(4_000_000, &mut first), Ok(4_000_000));
        assert_eq!(read(2_000_000, &mut Budget::of(&held, 5_000_000)).unwrap_err().status(), 429);
        assert_eq!(read(1_000_000, &mut Budget::of(&held, 5_000_000)), Ok(1_000_000));
        assert_eq!(held.load(Ordering::Relaxed), 4_000_000, "what was held is given back");
        assert_eq!(read(6_000_000, &mut Budget::of(&held, 9_000_000)).unwrap_err().status(), 413);
        drop(first);
        assert_eq!(read(5_000_000, &mut Budget::of(&held, 1_000)), Ok(5_000_000), "who is alone has all");
    }

    #[test]
    fn bodies_are_read_to_their_end_and_no_further_than_their_limit() {
        assert_eq!(read_body(&mut &b"{}"[..], Some(2)).unwrap(), b"{}");
        assert_eq!(read_body(&mut &b"{}"[..], None).unwrap(), b"{}");
        assert_eq!(read_body(&mut &b""[..], None).unwrap(), b"");
        assert_eq!(read_body(&mut &b"{"[..], Some(2)).unwrap_err().status(), 400);
        let limit = MAX_API_BODY_BYTES as usize;
        assert_eq!(read_body(&mut Endless.take(limit as u64), Some(limit)).unwrap().len(), limit);
        assert_eq!(read_body(&mut Endless, Some(limit + 1)).unwrap_err().status(), 413);
        assert_eq!(read_body(&mut Endless, Some(usize::MAX)).unwrap_err().status(), 413);
        assert_eq!(read_body(&mut Endless, None).unwrap_err().status(), 413);
    }

    #[test]
    fn unknown_and_repeated_parameters_are_errors() {
        let text = |result: Result<Parameters>| result.unwrap_err().to_string();
        assert_eq!(text(parameters(&[("al", "1")], &["all"])), "al: there is no such query parameter; did you mean \"all\"?");
        assert_eq!(text(parameters(&[("x", "1")], &["wait", "timeout"])), "x: there is no such query parameter; known: wait, timeout");
        assert_eq!(text(parameters(&[("x", "1")], &[])), "x: there is no such query parameter; this call takes none");
        assert_eq!(text(parameters(&[("all", "1"), ("all", "0")], &["all"])), "all: this query parameter is given twice");
    }

    #[test]
    fn parameters_are_read_by_type() {
        let read =
            parameters(&[("all", ""), ("follow", "yes"), ("timeout", "50"), ("limit", "-1")], &["all", "follow", "timeout", "limit"])
                .unwrap();
        assert_eq!(read.flag("all"), Ok(true));
        assert_eq!(read.flag("permanent"), Ok(false));
        assert_eq!(read.flag("follow").unwrap_err().to_string(), "follow: \"yes\" is not true or false");
        assert_eq!(read.integer("timeout", 0..=100), Ok(Some(50)));
        assert_eq!(read.integer("timeout", 0..=10).unwrap_err().to_string(), "timeout: \"50\" is not a whole number from 0 to 10");
        assert_eq!(read.integer("limit", 0..=10).unwrap_err().status(), 400);
        assert_eq!(read.integer("none", 0..=10), Ok(None));
    }
}
