//! One setting as a row of data: its names, its words for people, and the slot that it fills, from text (flags, environment) or from JSON
//! (config files). The rows themselves stand in `settings.rs`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::Value;

use super::api::check_path;
use super::fields::{Fields, not_a_word, shown};
use super::settings::Settings;
use crate::base::error::{Error, Result};
use crate::base::limits;
use crate::base::log::Format;
use crate::wire::url::UpstreamUrl;

/// A setting: where it may be given, and what it does to [`Settings`].
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The section and field of a config file: `server.port`.
    pub key: &'static str,
    /// The flag, without its dashes.
    pub flag: Option<&'static str>,
    /// The environment variable.
    pub env: &'static str,
    /// What the value is called in help texts.
    pub value_name: &'static str,
    /// What it does, in a sentence.
    pub help: &'static str,
    /// What it fills.
    pub slot: Slot,
}

/// The place in [`Settings`] that a setting fills, with what may stand there.
#[derive(Debug, Clone, Copy)]
pub enum Slot {
    /// A TCP port.
    Port(fn(&mut Settings) -> &mut u16),
    /// A whole number in a range.
    Number(fn(&mut Settings) -> &mut u64, u64, u64),
    /// Milliseconds, at least 1.
    Millis(fn(&mut Settings) -> &mut u64),
    /// Bytes in a range; a text may end in `KiB`, `MiB` or `GiB`.
    Bytes(fn(&mut Settings) -> &mut u64, u64, u64),
    /// `true` or `false`.
    Switch(fn(&mut Settings) -> &mut bool),
    /// A text of at least one character.
    Text(fn(&mut Settings) -> &mut String),
    /// Any text, also the empty one.
    AnyText(fn(&mut Settings) -> &mut String),
    /// A text that is not there by default.
    OptionalText(fn(&mut Settings) -> &mut Option<String>),
    /// The URL of an upstream.
    Url(fn(&mut Settings) -> &mut Option<String>),
    /// A path or pattern on the mock port; `*` and `true` mean all.
    Pattern(fn(&mut Settings) -> &mut Option<String>),
    /// A file or directory.
    Path(fn(&mut Settings) -> &mut Option<PathBuf>),
    /// Texts; comma-separated where one text holds them.
    List(fn(&mut Settings) -> &mut Vec<String>),
    /// One of some words.
    Word(fn(&mut Settings) -> &mut String, &'static [&'static str]),
    /// How the log looks.
    LogFormat(fn(&mut Settings) -> &mut Format),
}

/// The words of [`Slot::LogFormat`].
pub const LOG_FORMATS: [&str; 2] = ["text", "json"];

/// The pattern that takes every path.
pub const EVERYTHING: &str = "/*";

impl Setting {
    /// The section of the config file.
    pub fn section(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(section, _)| section)
    }

    /// The field in that section.
    pub fn field(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, field)| field)
    }

    /// Whether its flag is a switch, which needs no value.
    pub fn is_switch(&self) -> bool {
        matches!(self.slot, Slot::Switch(_))
    }

    /// Sets it from the text of a flag or a variable; `place` is that flag or variable.
    ///
    /// # Errors
    /// [`Error::Invalid`] at `place` that quotes the text and says what is allowed.
    pub fn set_text(&self, settings: &mut Settings, place: &str, text: &str) -> Result<()> {
        let wrong = |allowed: &str| Error::invalid(place, format!("this must be {allowed}, it is {:?}", shown(text)));
        match self.slot {
            Slot::Port(slot) => *slot(settings) = text.parse().map_err(|_| wrong(PORT_RANGE))?,
            Slot::Number(slot, low, high) => *slot(settings) = whole(text, low, high).ok_or_else(|| wrong(&range(low, high)))?,
            Slot::Millis(slot) => *slot(settings) = whole(text, 1, limits::MAX_TIME_MS).ok_or_else(|| wrong(&millis()))?,
            Slot::Bytes(slot, low, high) => {
                let bytes = bytes(text).filter(|bytes| (low..=high).contains(bytes));
                *slot(settings) = bytes.ok_or_else(|| wrong(&byte_range(low, high)))?;
            }
            Slot::Switch(slot) => {
                *slot(settings) = match text {
                    "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(wrong("true or false")),
                }
            }
            Slot::List(slot) => {
                *slot(settings) = text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect();
            }
            Slot::Pattern(slot) if matches!(text, "true" | "1") => *slot(settings) = Some(EVERYTHING.to_owned()),
            Slot::Pattern(slot) if matches!(text, "false" | "0") => *slot(settings) = None,
            _ => self.set_string(settings, place, text, None)?,
        }
        Ok(())
    }

    /// Sets it from a config file's value. Relative paths are those of `directory`, where the file stands.
    ///
    /// # Errors
    /// [`Error::Invalid`] at `place` that quotes the value and says what is allowed.
    pub fn set_json(&self, settings: &mut Settings, place: &str, value: &Value, directory: &Path) -> Result<()> {
        let wrong = |allowed: &str| Error::invalid(place, format!("this must be {allowed}, it is {}", super::fields::describe(value)));
        let number = || value.as_u64().or_else(|| super::fields::whole(value));
        match self.slot {
            Slot::Port(slot) => {
                *slot(settings) = number().and_then(|number| u16::try_from(number).ok()).ok_or_else(|| wrong(PORT_RANGE))?;
            }
            Slot::Number(slot, low, high) => {
                *slot(settings) = number().filter(|number| (low..=high).contains(number)).ok_or_else(|| wrong(&range(low, high)))?;
            }
            Slot::Millis(slot) => {
                let number = number().filter(|number| (1..=limits::MAX_TIME_MS).contains(number));
                *slot(settings) = number.ok_or_else(|| wrong(&millis()))?;
            }
            Slot::Bytes(slot, low, high) => {
                let number = bytes_of(value).filter(|number| (low..=high).contains(number));
                *slot(settings) = number.ok_or_else(|| wrong(&byte_range(low, high)))?;
            }
            Slot::Switch(slot) => *slot(settings) = value.as_bool().ok_or_else(|| wrong("true or false"))?,
            Slot::List(slot) => {
                let texts = value.as_array().and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
                *slot(settings) = texts.ok_or_else(|| wrong("a list of strings"))?;
            }
            Slot::Pattern(slot) if value.is_boolean() => *slot(settings) = (value == &Value::Bool(true)).then(|| EVERYTHING.to_owned()),
            _ => self.set_string(settings, place, value.as_str().ok_or_else(|| wrong("a string"))?, Some(directory))?,
        }
        Ok(())
    }

    /// Sets what is a string in files as well.
    fn set_string(&self, settings: &mut Settings, place: &str, text: &str, directory: Option<&Path>) -> Result<()> {
        let full = || {
            if text.is_empty() || text.contains('\0') {
                return Err(Error::invalid(place, "this must be a text of at least one character"));
            }
            Ok(text.to_owned())
        };
        match self.slot {
            Slot::Text(slot) => *slot(settings) = full()?,
            Slot::AnyText(slot) => *slot(settings) = text.to_owned(),
            Slot::OptionalText(slot) => *slot(settings) = Some(full()?),
            Slot::Url(slot) => {
                UpstreamUrl::parse(place, text)?;
                *slot(settings) = Some(full()?);
            }
            Slot::Pattern(slot) => {
                let pattern = if text == "*" { EVERYTHING } else { text };
                check_path(place, pattern)?;
                *slot(settings) = Some(pattern.to_owned());
            }
            Slot::Path(slot) => {
                let path = PathBuf::from(full()?);
                // `~` is expanded by the one who knows the home directory.
                let stays = path.is_absolute() || path.starts_with("~");
                *slot(settings) = Some(match directory {
                    Some(directory) if !stays => directory.join(path),
                    _ => path,
                });
            }
            Slot::Word(slot, words) => {
                if !words.contains(&text) {
                    return Err(Error::invalid(place, not_a_word(text, words)));
                }
                *slot(settings) = text.to_owned();
            }
            Slot::LogFormat(slot) => {
                *slot(settings) = match text {
                    "text" => Format::Text,
                    "json" => Format::Json,
                    _ => return Err(Error::invalid(place, not_a_word(text, &LOG_FORMATS))),
                }
            }
            // The others are read by their own arms above, from text and from JSON.
            Slot::Port(_) | Slot::Number(..) | Slot::Millis(_) | Slot::Bytes(..) | Slot::Switch(_) | Slot::List(_) => {}
        }
        Ok(())
    }

    /// The default as a config file would say it; null where there is none.
    pub fn default_value(&self) -> Value {
        self.value(&mut Settings::default())
    }

    /// What `settings` have, as a config file would say it; null for nothing.
    pub fn value(&self, settings: &mut Settings) -> Value {
        match self.slot {
            Slot::Port(slot) => (*slot(settings)).into(),
            Slot::Number(slot, ..) | Slot::Millis(slot) | Slot::Bytes(slot, ..) => (*slot(settings)).into(),
            Slot::Switch(slot) => (*slot(settings)).into(),
            Slot::Text(slot) | Slot::AnyText(slot) | Slot::Word(slot, _) => slot(settings).clone().into(),
            Slot::OptionalText(slot) | Slot::Url(slot) | Slot::Pattern(slot) => slot(settings).clone().into(),
            Slot::Path(slot) => slot(settings).as_ref().map(|path| path.display().to_string()).into(),
            Slot::List(slot) => slot(settings).clone().into(),
            Slot::LogFormat(slot) => match slot(settings) {
                Format::Text => LOG_FORMATS[0].into(),
                Format::Json => LOG_FORMATS[1].into(),
            },
        }
    }
}

const PORT_RANGE: &str = "a port from 0 to 65535";

fn range(low: u64, high: u64) -> String {
    format!("a whole number from {low} to {high}")
}

fn byte_range(low: u64, high: u64) -> String {
    format!("a number of bytes from {low} to {high}, KiB, MiB and GiB allowed")
}

fn millis() -> String {
    format!("a number of milliseconds from 1 to {}", limits::MAX_TIME_MS)
}

fn whole(text: &str, low: u64, high: u64) -> Option<u64> {
    // A sign or blanks are no part of a number here, whatever `FromStr` takes.
    let number = text.bytes().all(|b| b.is_ascii_digit()).then(|| u64::from_str(text).ok())??;
    (low..=high).contains(&number).then_some(number)
}

/// A field that is a number of bytes in a range, as settings have them.
///
/// # Errors
/// [`Error::Invalid`] for anything else, with the range.
pub fn read_bytes(fields: &mut Fields<'_>, name: &'static str, low: u64, high: u64) -> Result<Option<u64>> {
    let Some(value) = fields.value(name) else { return Ok(None) };
    match bytes_of(value).filter(|number| (low..=high).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(fields.wrong(name, value, &byte_range(low, high))),
    }
}

fn bytes_of(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| super::fields::whole(value)).or_else(|| value.as_str().and_then(bytes))
}

/// A number of bytes: `1024`, `64KiB`, `500 MiB`, `2GiB`.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit.trim() {
        "" => 1,
        "KiB" => limits::KIB,
        "MiB" => limits::MIB,
        "GiB" => limits::MIB * 1024,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_binary_units() {
        for (text, value) in [
            ("0", Some(0)),
            ("1024", Some(1024)),
            ("64KiB", Some(65_536)),
            ("64 MiB", Some(67_108_864)),
            ("2GiB", Some(2_147_483_648)),
            ("64MB", None),
            ("", None),
            ("-1", None),
            ("1.5MiB", None),
            ("99999999999999999999", None),
            ("99999999999999GiB", None),
        ] {
            assert_eq!(bytes(text), value, "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_digits_alone() {
        assert_eq!(whole("+5", 0, 10), None);
        assert_eq!(whole("5", 0, 10), Some(5));
        assert_eq!(whole("11", 0, 10), None);
        assert_eq!(whole("", 0, 10), None);
    }
}
