//! A mock as the API shows it: text that was checked before. It reads no field of it.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// A mock as the API shows it: the text of a JSON object, shared. A large mock is much larger as a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown(Arc<String>);

impl Shown {
    /// The object `text` with some members put in at its front.
    pub(super) fn with(members: &str, text: &str) -> Self {
        let text = text.trim();
        Self(Arc::new(format!("{{{members}{}", text.strip_prefix('{').unwrap_or(text))))
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The text less the id that was put in at its front.
    pub(super) fn without_made_id(&self) -> &str {
        self.0.split_once(',').map_or("", |(_, rest)| rest)
    }

    /// The text as a value.
    pub fn value(&self) -> Value {
        // It was read before, so that it is JSON.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}
