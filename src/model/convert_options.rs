//! The options of a conversion, as the body of the call and the flags of the command have them. It converts nothing.

use serde_json::Value;

use super::api::check_path;
use super::fields::Fields;
use crate::base::error::{Error, Result};
use crate::base::limits;

/// The options of a conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvertOptions {
    /// `simplifyTiming` with `minDelay` and `maxDelay`; `None`: every delay as recorded.
    pub simplify: Option<Simplify>,
    /// Whether a WebSocket client's messages become `expect` steps.
    pub include_client_messages: bool,
    /// Whether of server messages that follow each other and are the same only the first stays.
    pub deduplicate_messages: bool,
    /// What is written.
    pub format: ConfigFormat,
    /// The mock's path in place of the recorded one; may be a pattern.
    pub endpoint_path: Option<String>,
    /// The mock's name in place of the recording's.
    pub mock_name: Option<String>,
    /// Whether the mock is to be live at once.
    pub add_to_server: bool,
}

impl Default for ConvertOptions {
    fn default() -> Self {
        Self {
            simplify: None,
            include_client_messages: true,
            deduplicate_messages: false,
            format: ConfigFormat::Json,
            endpoint_path: None,
            mock_name: None,
            add_to_server: false,
        }
    }
}

/// How delays are simplified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Simplify {
    /// Shorter delays become 0; microseconds.
    pub min_us: u64,
    /// Longer delays become this; microseconds.
    pub max_us: u64,
}

impl Simplify {
    /// A delay as it is then, in microseconds.
    pub fn apply(self, delay_us: u64) -> u64 {
        if delay_us < self.min_us { 0 } else { delay_us.min(self.max_us) }
    }
}

/// The language of a config file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConfigFormat {
    /// JSON.
    #[default]
    Json,
    /// YAML.
    Yaml,
}

impl ConfigFormat {
    /// The words of `format`.
    pub const WORDS: [&'static str; 2] = ["json", "yaml"];

    /// Its word, which is the ending of its files too.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Yaml => "yaml",
        }
    }

    /// Its media type (YAML: RFC 9512).
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
        }
    }

    /// What a file of this name is written in.
    pub fn of_file(name: &str) -> Self {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let is_yaml = ["yaml", "yml"].iter().any(|known| ending.eq_ignore_ascii_case(known));
        if is_yaml { Self::Yaml } else { Self::Json }
    }
}

impl ConvertOptions {
    /// Reads the body of the call.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names field, value and what is allowed. `minDelay` and `maxDelay` need `simplifyTiming`: without it
    /// they would be ignored.
    pub fn from_json(body: &Value) -> Result<Self> {
        let mut fields = Fields::of(body, "")?;
        let simplifies = fields.boolean("simplifyTiming")?.unwrap_or(false);
        let min_ms = fields.integer("minDelay", 0..=limits::MAX_TIME_MS)?;
        let max_ms = fields.integer("maxDelay", 0..=limits::MAX_TIME_MS)?;
        let options = Self {
            simplify: simplify(simplifies, min_ms, max_ms)?,
            include_client_messages: fields.boolean("includeClientMessages")?.unwrap_or(true),
            deduplicate_messages: fields.boolean("deduplicateMessages")?.unwrap_or(false),
            format: match fields.word("format", &ConfigFormat::WORDS)? {
                Some("yaml") => ConfigFormat::Yaml,
                _ => ConfigFormat::Json,
            },
            endpoint_path: fields.string("endpointPath")?,
            mock_name: fields.string("mockName")?,
            add_to_server: fields.boolean("addToServer")?.unwrap_or(false),
        };
        fields.finish()?;
        if let Some(path) = &options.endpoint_path {
            check_path("endpointPath", path)?;
        }
        if options.mock_name.as_deref().is_some_and(|name| name.trim().is_empty()) {
            return Err(Error::invalid("mockName", "a mock's name must not be empty; leave it out to have the recording's"));
        }
        Ok(options)
    }
}

fn simplify(simplifies: bool, min_ms: Option<u64>, max_ms: Option<u64>) -> Result<Option<Simplify>> {
    if !simplifies {
        return match [("minDelay", min_ms), ("maxDelay", max_ms)].into_iter().find(|(_, given)| given.is_some()) {
            Some((name, _)) => Err(Error::invalid(name, "this goes with simplifyTiming: true only")),
            None => Ok(None),
        };
    }
    let (min_ms, max_ms) = (min_ms.unwrap_or(limits::SIMPLE_MIN_DELAY_MS), max_ms.unwrap_or(limits::SIMPLE_MAX_DELAY_MS));
    if min_ms > max_ms {
        return Err(Error::invalid("minDelay", format!("this must not be more than maxDelay: {min_ms} is more than {max_ms}")));
    }
    Ok(Some(Simplify { min_us: min_ms * 1000, max_us: max_ms * 1000 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<ConvertOptions> {
        ConvertOptions::from_json(&serde_json::from_str(body).unwrap())
    }

    #[test]
    fn options_have_their_defaults() {
        assert_eq!(read("{}"), Ok(ConvertOptions::default()));
        let simplified = |body| read(body).unwrap().simplify.unwrap();
        assert_eq!(simplified(r#"{"simplifyTiming":true}"#), Simplify { min_us: 10_000, max_us: 5_000_000 });
        assert_eq!(
            simplified(r#"{"simplifyTiming":true,"minDelay":50,"maxDelay":2000.0}"#),
            Simplify { min_us: 50_000, max_us: 2_000_000 }
        );
        let all = r#"{"includeClientMessages":false,"deduplicateMessages":true,"format":"yaml","endpointPath":"/x/*","mockName":"n",
            "addToServer":true,"simplifyTiming":false}"#;
        let wanted = ConvertOptions {
            simplify: None,
            include_client_messages: false,
            deduplicate_messages: true,
            format: ConfigFormat::Yaml,
            endpoint_path: Some("/x/*".into()),
            mock_name: Some("n".into()),
            add_to_server: true,
        };
        assert_eq!(read(all), Ok(wanted));
    }

    #[test]
    fn what_would_be_ignored_or_means_nothing_is_refused() {
        for (body, message) in [
            (r#"{"minDelay":1}"#, "minDelay: this goes with simplifyTiming: true only"),
            (r#"{"simplifyTiming":false,"maxDelay":1}"#, "maxDelay: this goes with simplifyTiming: true only"),
            (r#"{"simplifyTiming":true,"minDelay":9000}"#, "minDelay: this must not be more than maxDelay: 9000 is more than 5000"),
            (r#"{"simplifyTiming":true,"maxDelay":5}"#, "minDelay: this must not be more than maxDelay: 10 is more than 5"),
            (r#"{"simplifyTiming":"yes"}"#, "simplifyTiming: this must be true or false, it is \"yes\""),
            (r#"{"simplifyTiming":true,"minDelay":-1}"#, "minDelay: this must be a whole number from 0 to 2678400000, it is -1"),
            (r#"{"format":"toml"}"#, "format: \"toml\" is none of json, yaml"),
            (r#"{"endpointPath":"chat"}"#, "endpointPath: \"chat\" must begin with \"/\""),
            (r#"{"mockName":" "}"#, "mockName: a mock's name must not be empty"),
            (r#"{"simplifyTimings":true}"#, "simplifyTimings: there is no such field; did you mean \"simplifyTiming\"?"),
            ("[]", "this must be an object, it is an array"),
        ] {
            let error = read(body).unwrap_err().to_string();
            assert!(error.starts_with(message), "{body}: {error}");
        }
    }

    #[test]
    fn short_delays_vanish_and_long_ones_are_cut() {
        let simplify = Simplify { min_us: 10_000, max_us: 5_000_000 };
        for (before, after) in [(0, 0), (9_999, 0), (10_000, 10_000), (12_345, 12_345), (5_000_000, 5_000_000), (5_000_001, 5_000_000)] {
            assert_eq!(simplify.apply(before), after);
        }
    }

    #[test]
    fn the_ending_of_a_file_says_its_format() {
        for (name, format) in [("a.yaml", "yaml"), ("a.b.YML", "yaml"), ("a.json", "json"), ("yaml", "json"), ("a.yaml.json", "json")] {
            assert_eq!(ConfigFormat::of_file(name).word(), format, "{name}");
        }
    }
}
