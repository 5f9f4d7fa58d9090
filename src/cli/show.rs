//! The page of `stream-recordings show`. It is given head, tail and summary, and makes lines of them.

use crate::base::text::{clean, duration, size};
use crate::base::time;
use crate::model::api::Summary;
use crate::model::recording::{EndedBy, Head, StreamHead, StreamTail, Tail};

/// The lines about a recording; `file` is missing where its file can't be parsed.
pub fn page(summary: &Summary, file: Option<(&Head, &Tail)>) -> Vec<String> {
    let mut lines = Lines(Vec::new());
    lines.add("ID", &summary.id);
    if !summary.name.is_empty() {
        lines.add("Name", &summary.name);
    }
    if let Some(description) = summary.description.as_deref().filter(|text| !text.is_empty()) {
        lines.add("Description", description);
    }
    if !summary.tags.is_empty() {
        lines.add("Tags", &summary.tags.join(", "));
    }
    lines.add("Protocol", summary.protocol.map_or("unknown", |protocol| protocol.word()));
    if !summary.path.is_empty() {
        lines.add("Path", &summary.path);
    }
    lines.add("Status", summary.status.word());
    if let Some(reason) = &summary.status_reason {
        lines.add("Status Reason", reason);
    }
    if summary.deleted {
        lines.add("Deleted", "yes");
    }
    lines.add("Started", &to_the_second(&summary.start_time));
    if let Some(end) = &summary.end_time {
        lines.add("Ended", &to_the_second(end));
    }
    if let Some(ms) = summary.duration {
        lines.add("Duration", &duration(ms));
    }
    lines.add("Frames", &summary.frame_count.to_string());
    lines.add("File Size", &size(summary.file_size_bytes));
    if let Some((head, tail)) = file {
        lines.0.push(String::new());
        match (&head.stream, &tail.stream) {
            (StreamHead::WebSocket { subprotocol }, end) => add_websocket(&mut lines, subprotocol.as_deref(), tail, end),
            (StreamHead::Sse { request, response_status, head_relative_us, .. }, end) => {
                lines.0.push("SSE Details:".to_owned());
                lines.add("  Events", &tail.stats.event_count.to_string());
                lines.add("  Method", &request.method);
                lines.add("  Response Status", &response_status.to_string());
                if let Some(us) = head_relative_us {
                    lines.add("  Time To Head", &duration(us / 1000));
                }
                if let StreamTail::Sse { ended_by: Some(by), .. } = end {
                    lines.add("  Ended By", ended_by(*by));
                }
            }
        }
    }
    lines.0
}

fn add_websocket(lines: &mut Lines, subprotocol: Option<&str>, tail: &Tail, end: &StreamTail) {
    lines.0.push("WebSocket Details:".to_owned());
    if let Some(subprotocol) = subprotocol {
        lines.add("  Subprotocol", subprotocol);
    }
    lines.add("  Text Frames", &tail.stats.text_frames.to_string());
    lines.add("  Binary Frames", &tail.stats.binary_frames.to_string());
    lines.add("  Ping/Pong", &tail.stats.ping_pongs.to_string());
    if let StreamTail::WebSocket { close_code, close_reason, closed_by, .. } = end {
        if let Some(code) = close_code {
            lines.add("  Close Code", &code.to_string());
        }
        if let Some(reason) = close_reason.as_deref().filter(|reason| !reason.is_empty()) {
            lines.add("  Close Reason", reason);
        }
        if let Some(by) = closed_by {
            lines.add("  Closed By", ended_by(*by));
        }
    }
}

struct Lines(Vec<String>);

impl Lines {
    fn add(&mut self, name: &str, value: &str) {
        self.0.push(format!("{name}: {}", clean(value)).trim_end().to_owned());
    }
}

fn ended_by(by: EndedBy) -> &'static str {
    match by {
        EndedBy::Client => "client",
        EndedBy::Server => "server",
        EndedBy::Recorder => "recorder",
        EndedBy::ProtocolError => "protocolError",
    }
}

/// RFC 3339 in UTC without fractions of a second; what is none stays as it is.
pub fn to_the_second(text: &str) -> String {
    match time::parse_rfc3339(text) {
        Some(us) => format!("{}Z", &time::rfc3339(us)[..19]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::recording_text::parse;

    fn lines(text: &str) -> String {
        let recording = parse(text.as_bytes()).unwrap();
        let (head, tail) = (&recording.head, &recording.tail);
        let summary = Summary::of(head, tail, tail.stats.file_size_bytes, text.contains("\"deleted\":true"));
        page(&summary, Some((&recording.head, &recording.tail))).join("\n")
    }

    #[test]
    fn the_page_is_laid_out_as_in_the_document() {
        let text = r#"{"formatVersion":"1.0","id":"01HXYZ123456789ABCDEF","name":"chat-session-1","protocol":"websocket","status":"complete",
            "startTime":"2024-01-15T10:30:00Z","endTime":"2024-01-15T10:30:12.345Z","duration":12345,
            "metadata":{"path":"/ws/chat","headers":{},"query":{}},
            "websocket":{"frames":[],"closeCode":1000},
            "stats":{"frameCount":42,"textFrames":38,"binaryFrames":2,"pingPongs":2,"fileSizeBytes":8432}}"#;
        let recording = parse(text.as_bytes()).unwrap();
        let mut tail = recording.tail;
        // Reading a whole file counts its frames; the page prints what the tail says.
        tail.stats.frame_count = 42;
        tail.stats.text_frames = 38;
        tail.stats.binary_frames = 2;
        tail.stats.ping_pongs = 2;
        tail.stats.file_size_bytes = 8432;
        let page = page(&Summary::of(&recording.head, &tail, 8432, false), Some((&recording.head, &tail)));
        assert_eq!(
            page.join("\n"),
            "ID: 01HXYZ123456789ABCDEF\nName: chat-session-1\nProtocol: websocket\nPath: /ws/chat\nStatus: complete\n\
             Started: 2024-01-15T10:30:00Z\nEnded: 2024-01-15T10:30:12Z\nDuration: 12.3s\nFrames: 42\nFile Size: 8.2 KB\n\n\
             WebSocket Details:\n  Text Frames: 38\n  Binary Frames: 2\n  Ping/Pong: 2\n  Close Code: 1000"
        );
    }

    #[test]
    fn an_event_stream_has_its_own_details_and_hostile_text_is_cleaned() {
        let text = r#"{"formatVersion":"1.0","id":"01HXYZ123456789ABCDEF","name":"a\u001b[2Jb\nStatus: fake","protocol":"sse","status":"incomplete",
            "statusReason":"crashed","startTime":"2024-01-15T12:30:00.5+02:00","metadata":{"path":"/events","headers":{},"query":{}},
            "sse":{"request":{"method":"POST"},"responseStatus":200,"responseHeaders":{},"headRelativeUs":12345,"events":[],"endedBy":"server"},
            "stats":{}}"#;
        let page = lines(text);
        assert!(page.contains("Name: a\\u{1b}[2Jb\\nStatus: fake\n"), "{page}");
        assert!(page.contains("Status: incomplete\nStatus Reason: crashed\nStarted: 2024-01-15T10:30:00Z\n"), "{page}");
        assert!(
            page.ends_with("SSE Details:\n  Events: 0\n  Method: POST\n  Response Status: 200\n  Time To Head: 12ms\n  Ended By: server"),
            "{page}"
        );
    }
}
