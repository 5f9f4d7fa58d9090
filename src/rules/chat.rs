//! The chunks of a chat completion, in the shape that clients of LLM APIs expect. Its demo and its mocks stream the same.

use serde_json::{Map, Value, json};

use super::performance::Moment;

/// What all chunks of one completion share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// `chatcmpl-…`
    pub id: String,
    /// Unix seconds.
    pub created: u64,
}

impl Chat {
    /// A completion that begins now.
    pub fn new(at: Moment) -> Self {
        Self { id: format!("chatcmpl-{:032x}", at.random_u128()), created: at.wall_us / 1_000_000 }
    }

    /// One chunk, as the text of an event's data: the role in the first one, a piece of the answer, and the reason in the last one.
    pub fn chunk(&self, model: &str, first: bool, content: Option<&str>, finish_reason: Option<&str>) -> String {
        let mut delta = Map::new();
        if first {
            delta.insert("role".to_owned(), "assistant".into());
        }
        if let Some(content) = content {
            delta.insert("content".to_owned(), content.into());
        }
        let choice = json!({"index": 0, "delta": Value::Object(delta), "finish_reason": finish_reason});
        let chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": model, "choices": [choice],
        });
        chunk.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_have_the_shape_that_clients_expect() {
        let chat = Chat::new(Moment { now_us: 0, wall_us: 1_700_000_000_900_000, random: || 0xab });
        let front = r#"{"id":"chatcmpl-00000000000000ab00000000000000ab","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4","choices":[{"index":0,"delta":"#;
        for (chunk, rest) in [
            (chat.chunk("gpt-4", true, Some("Hi \"you\""), None), r#"{"role":"assistant","content":"Hi \"you\""},"finish_reason":null}]}"#),
            (chat.chunk("gpt-4", false, Some("!"), None), r#"{"content":"!"},"finish_reason":null}]}"#),
            (chat.chunk("gpt-4", false, None, Some("stop")), r#"{},"finish_reason":"stop"}]}"#),
        ] {
            assert_eq!(chunk, format!("{front}{rest}"));
        }
    }
}
