//! `stream-recordings convert`: a recording of the data directory becomes a config file. What it becomes is decided in `rules`.

use std::io::Write;

use serde_json::{Map, Value};

use super::context::{Context, tell};
use super::progress::Progress;
use super::transfer::{tell_left_out, write_file};
use crate::base::error::{Error, Result};
use crate::base::limits::MAX_CONFIG_BYTES;
use crate::base::text::{clean, size};
use crate::engine::conversion::convert_file;
use crate::model::convert_options::{ConfigFormat, ConvertOptions};

/// The flags with a value, beside the fields of the call that they become.
const TEXTS: [(&str, &str); 2] = [("endpoint-path", "endpointPath"), ("mock-name", "mockName")];
/// Those with a number.
const NUMBERS: [(&str, &str); 2] = [("min-delay", "minDelay"), ("max-delay", "maxDelay")];
/// Those without a value.
const SWITCHES: [(&str, &str); 3] =
    [("simplify-timing", "simplifyTiming"), ("deduplicate-messages", "deduplicateMessages"), ("add-to-server", "addToServer")];

/// `stream-recordings convert`
pub fn convert(context: &mut Context<'_>) -> Result<()> {
    let file_name = context.typed.text("output").filter(|name| *name != "-").map(str::to_owned);
    let body = body(context, file_name.as_deref());
    let options = ConvertOptions::from_json(&body).map_err(|error| in_flags(&error))?;
    let store = context.store()?;
    let id = store.resolve(context.typed.word())?;
    store.check_ended(&id, "convert")?;
    let file = store.open(&id)?;
    if options.add_to_server {
        // Before anything is written: what the server refuses leaves no half of the work done.
        context.client()?.call("POST", &format!("/stream-recordings/{id}/convert"), Some(&body))?;
    }
    let convert_to = |out: &mut dyn Write| {
        let failed = |error: std::io::Error| Error::Failed(format!("the config cannot be written: {error}"));
        convert_file(&file, &options, &mut |piece| out.write_all(piece.as_bytes()).map_err(failed))
    };
    let converted = match &file_name {
        None => convert_to(&mut context.out.document())?,
        Some(name) => write_file(&context.path(name), Progress::bytes("converting", None), convert_to)?,
    };
    tell_left_out(&converted.left_out.lines());
    if converted.bytes > MAX_CONFIG_BYTES {
        let (bytes, most) = (size(converted.bytes), size(MAX_CONFIG_BYTES));
        tell(&format!(
            "the config has {bytes}, and a server reads at most {most}: a mock with {{replay: {{recording: {id}}}}} has no limit"
        ));
    }
    match &file_name {
        None => Ok(()),
        Some(name) => context.out.line(&format!("Converted {id} to {}", clean(name))),
    }
}

/// The options that were typed, as the body of the call.
fn body(context: &Context<'_>, file_name: Option<&str>) -> Value {
    let typed = context.typed;
    let mut body = Map::new();
    let format = typed.text("format").unwrap_or_else(|| file_name.map_or(ConfigFormat::Json, ConfigFormat::of_file).word());
    body.insert("format".to_owned(), format.into());
    for (flag, field) in TEXTS {
        if let Some(value) = typed.text(flag) {
            body.insert(field.to_owned(), value.into());
        }
    }
    for (flag, field) in NUMBERS {
        if let Some(number) = typed.integer(flag) {
            body.insert(field.to_owned(), number.into());
        }
    }
    for (flag, field) in SWITCHES {
        if typed.has(flag) {
            body.insert(field.to_owned(), true.into());
        }
    }
    if let Some(word) = typed.text("include-client-messages") {
        body.insert("includeClientMessages".to_owned(), (word == "true").into());
    }
    Value::Object(body)
}

/// What is wrong with the options, in the words of the flags.
fn in_flags(error: &Error) -> Error {
    let mut message = error.to_string().replacen("simplifyTiming: true", "--simplify-timing", 1);
    for (flag, field) in NUMBERS.into_iter().chain(TEXTS) {
        message = message.replace(&format!("{field}:"), &format!("--{flag}:")).replace(&format!("than {field}"), &format!("than --{flag}"));
    }
    Error::Usage(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::{SIMPLE_MAX_DELAY_MS, SIMPLE_MIN_DELAY_MS};
    use crate::cli::commands::COMMANDS;

    #[test]
    fn the_help_says_the_defaults() {
        let command = COMMANDS.iter().find(|command| command.path == ["stream-recordings", "convert"]).unwrap();
        for (name, default) in [("min-delay", SIMPLE_MIN_DELAY_MS), ("max-delay", SIMPLE_MAX_DELAY_MS)] {
            let flag = command.flags.iter().find(|flag| flag.name == name).unwrap();
            assert!(flag.help.ends_with(&format!("[default: {default}]")), "--{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_the_words_of_the_flags() {
        for (body, words) in [
            (r#"{"minDelay":1}"#, "--min-delay: this goes with --simplify-timing only"),
            (r#"{"simplifyTiming":true,"maxDelay":1}"#, "--min-delay: this must not be more than --max-delay: 10 is more than 1"),
            (r#"{"mockName":""}"#, "--mock-name: a mock's name must not be empty; leave it out to have the recording's"),
        ] {
            let error = in_flags(&ConvertOptions::from_json(&serde_json::from_str(body).unwrap()).unwrap_err());
            assert_eq!((error.to_string().as_str(), error.exit_code()), (words, 2));
        }
    }
}
