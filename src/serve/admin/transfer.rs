//! `POST /stream-recordings/{id}/export` and `POST /stream-recordings/import`: recordings as files, out and in.

use super::answer::Answer;
use super::call::Call;
use super::recordings::resolve;
use crate::base::error::Result;
use crate::engine::{export as exporter, import as importer};
use crate::rules::export::Format;

/// The field that names what an answer's format can't hold.
const LEFT_OUT: &str = "X-Mockd-Left-Out";
/// Bytes of what is said there.
const MAX_LEFT_OUT_BYTES: usize = 2048;

/// `POST /stream-recordings/{id}/export`: a recording as a file to keep; as JSON it is what `GET` answers.
pub fn export(call: &Call) -> Result<Answer> {
    call.expect_no_fields()?;
    let format = Format::from_word(call.parameters.value("format").unwrap_or("json"))?;
    let file = call.app().store.open(&resolve(call)?)?;
    let stem = file_stem(&file.head.name, &file.head.id);
    let disposition = format!("attachment; filename=\"{stem}.{}\"", format.extension());
    let left_out = exporter::left_out(&file, format);
    let answer = Answer::stream(format.content_type(), move |out| exporter::write(&file, format, out));
    Ok(name_left_out(answer.with("Content-Disposition", disposition), &left_out))
}

/// `POST /stream-recordings/import`
pub fn import(call: &Call) -> Result<Answer> {
    Answer::json(201, &importer::import(&call.app().store, &call.app().redactor, &call.body)?)
}

/// Adds what was left out, where something was: one line of ASCII, parts behind semicolons, all else percent-encoded.
pub fn name_left_out(answer: Answer, left_out: &[String]) -> Answer {
    if left_out.is_empty() {
        return answer;
    }
    let mut line = String::new();
    for byte in left_out.join("; ").bytes() {
        if line.len() > MAX_LEFT_OUT_BYTES {
            line.push_str("...");
            break;
        }
        match byte {
            b' '..=b'~' if byte != b'%' => line.push(char::from(byte)),
            _ => line.push_str(&format!("%{byte:02X}")),
        }
    }
    answer.with(LEFT_OUT, line)
}

/// A file name, without its ending, that no shell and no file system reads as more than a name; the id where nothing is left.
pub fn file_stem(name: &str, id: &str) -> String {
    const LONGEST: usize = 100;
    let mut stem = String::new();
    for c in name.chars().take(LONGEST) {
        match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' | '-' => stem.push(c),
            _ if !stem.ends_with('-') => stem.push('-'),
            _ => {}
        }
    }
    // A leading dot hides a file, a leading hyphen makes it an option.
    match stem.trim_matches(['.', '-']) {
        "" => id.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect(),
        safe => safe.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_safe() {
        for (name, wanted) in [
            ("chat-session-1", "chat-session-1"),
            ("chat #2", "chat-2"),
            ("../../etc/passwd", "etc-passwd"),
            ("a\"; filename=\"b", "a-filename-b"),
            ("a\r\nX-Evil: 1", "a-X-Evil-1"),
            ("-rf", "rf"),
            (".bashrc", "bashrc"),
            ("é", "01HXYZ"),
            ("", "01HXYZ"),
            ("...", "01HXYZ"),
            ("v1.2_final", "v1.2_final"),
        ] {
            assert_eq!(file_stem(name, "01HXYZ"), wanted, "{name:?}");
        }
        assert_eq!(file_stem(&"x".repeat(1000), "01HXYZ").len(), 100);
    }

    #[test]
    fn what_was_left_out_is_one_line_of_ascii() {
        let line = |parts: &[String]| name_left_out(Answer::empty(), parts).fields.pop().map(|(_, line)| line);
        assert_eq!(line(&[]), None);
        assert_eq!(line(&["2 pings".into(), "a\r\nX-Evil: é%".into()]).as_deref(), Some("2 pings; a%0D%0AX-Evil: %C3%A9%25"));
        let long = line(&["é".repeat(5000)]).unwrap();
        assert!(long.len() < MAX_LEFT_OUT_BYTES + 8 && long.ends_with("..."), "{}", long.len());
    }
}
