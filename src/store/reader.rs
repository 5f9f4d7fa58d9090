//! Reading a recording: head and tail without the frames, frames one by one, the whole text as a stream. It changes nothing.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::files::{self, Found, Kind};
use super::layout::{self, Content};
use super::lines::{self, LineReader};
use super::lock::{self, Holder};
use super::{recovery, rewrite, scan, summary};
use crate::base::error::{Error, Result};
use crate::base::limits::MIB;
use crate::model::recording::{Frame, Head, Protocol, Status, Tail};
use crate::model::recording_text;

/// An opened recording. It reads the file that it opened, whatever happens to its name.
#[derive(Debug)]
pub struct RecordingFile {
    /// Its head.
    pub head: Head,
    /// Its tail; of a running one: status `recording`, the counts so far.
    pub tail: Tail,
    /// Whether it is soft-deleted.
    pub deleted: bool,
    file: File,
    path: PathBuf,
    /// Bytes when it was opened.
    size: u64,
    body: Body,
}

/// Where the frames are.
#[derive(Debug)]
enum Body {
    /// In lines from `head_end` to `end`; behind them a tail line, unless it was a journal when it was opened.
    Lines { head_end: u64, end: u64, has_tail: bool },
    /// In memory: the text has not our lines.
    Whole(Vec<Frame>),
}

/// [`RecordingFile::lines_from`] gives no more than this at once, and at least a line.
const MAX_LINES_BYTES: usize = 4 * MIB as usize;
/// How often a file may get another name while it is being opened.
const OPEN_TRIES: usize = 5;

impl RecordingFile {
    /// Opens a recording by its full id.
    pub(super) fn open(dir: &Path, id: &str) -> Result<Self> {
        for _ in 0..OPEN_TRIES {
            let Some(found) = files::locate(dir, id)? else { break };
            if let Some(opened) = Self::open_found(dir, &found)? {
                return Ok(opened);
            }
        }
        Err(Error::NotFound { kind: "recording", id: id.to_owned() })
    }

    /// Opens a recording in a file of any name, in whatever layout. Its id is the one in it or, where it has none, made from the name.
    ///
    /// # Errors
    /// [`Error::File`] that says why it cannot be read, or is no recording.
    pub fn open_path(path: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| Error::file(path, "", format!("the recording cannot be read: {error}"));
        let metadata = std::fs::metadata(path).map_err(failed)?;
        // A pipe would be waited for.
        if !metadata.is_file() {
            return Err(Error::file(path, "", "this is no file of a recording"));
        }
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let (mut head, tail, body) =
            split(layout::read_content(&file, size).map_err(failed)?).map_err(|reason| Error::file(path, "", reason))?;
        if head.id.is_empty() {
            head.id = id_of_name(path);
        }
        Ok(Self { head, tail, deleted: false, file, path: path.to_owned(), size, body })
    }

    /// Opens a file; `None` where it has another name by now.
    fn open_found(dir: &Path, found: &Found) -> Result<Option<Self>> {
        let path = files::path_of(dir, &found.id, found.kind);
        let failed = |error: std::io::Error| Error::storage("read", &path, &error);
        let Some(file) = summary::open(dir, found)? else { return Ok(None) };
        let status = match found.kind {
            Kind::Finished | Kind::Deleted => None,
            Kind::Journal => match lock::holder(&file, &path)? {
                Holder::Writer => Some(Status::Recording),
                Holder::Nobody => Some(Status::Incomplete),
                Holder::Renamed => return Ok(None),
            },
        };
        let size = file.metadata().map_err(failed)?.len();
        let deleted = found.kind == Kind::Deleted;
        let (mut head, tail, body) = match status {
            Some(status) => read_journal(&file, &path, size, status)?,
            None => split(layout::read_content(&file, size).map_err(failed)?).map_err(|reason| layout::corrupted_error(&path, &reason))?,
        };
        head.id.clone_from(&found.id);
        Ok(Some(Self { head, tail, deleted, file, path, size, body }))
    }

    /// The frames in order, read from disk as they are asked for. Of a running one: those that were there when it was opened.
    ///
    /// # Errors
    /// None here; each frame may fail to be read or parsed, and is then the last.
    pub fn frames(&self) -> Result<Box<dyn Iterator<Item = Result<Frame>> + '_>> {
        Ok(match &self.body {
            Body::Whole(frames) => Box::new(frames.iter().cloned().map(Ok)),
            Body::Lines { head_end, end, .. } => Box::new(Frames {
                recording: self,
                reader: LineReader::new(&self.file, *head_end, *end),
                given: 0,
                whole: None,
                ended: false,
            }),
        })
    }

    /// The frame lines from byte `from` of the journal on (0: the first), whole lines only, without leading commas: the lines and the
    /// position after them. For followers of a running recording; works as well after it has been finished.
    /// It gives some MiB at once: ask again until there are none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn lines_from(&self, from: u64) -> Result<(Vec<Vec<u8>>, u64)> {
        let failed = |error: std::io::Error| Error::storage("read", &self.path, &error);
        let mut given = Vec::new();
        let (head_end, end) = match &self.body {
            // Without lines in the file a position is a number of frames.
            Body::Whole(frames) => {
                for frame in frames.iter().skip(usize::try_from(from).unwrap_or(usize::MAX)) {
                    let mut line = Vec::new();
                    recording_text::push_frame_line(&mut line, frame, true)?;
                    line.pop();
                    given.push(line);
                }
                let position = from + given.len() as u64;
                return Ok((given, position));
            }
            Body::Lines { head_end, end, has_tail: true } => (*head_end, *end),
            Body::Lines { head_end, .. } => (*head_end, self.file.metadata().map_err(failed)?.len()),
        };
        let mut position = from.max(head_end);
        let mut reader = LineReader::new(&self.file, position, end.max(position));
        let mut bytes = 0;
        while let Some(line) = reader.next_line().map_err(failed)? {
            // The tail: it has been finished since it was opened.
            if line.starts_with(b"],") {
                break;
            }
            let line = line.strip_prefix(b",").unwrap_or(line).to_vec();
            bytes += line.len();
            given.push(line);
            position = reader.position();
            if bytes >= MAX_LINES_BYTES {
                break;
            }
        }
        Ok((given, position))
    }

    /// Writes the recording as one JSON text, as the API and `show --json` give it: the file's own bytes (with `"deleted":true` after
    /// the status where it is); of a running one with the tail that it had when it was opened.
    ///
    /// # Errors
    /// The file cannot be read, or `out` takes no more.
    pub fn write_to(&self, out: &mut dyn Write) -> Result<()> {
        let failed = |error: std::io::Error| Error::Failed(format!("{} cannot be handed out: {error}", self.path.display()));
        let (copied, rest) = match &self.body {
            Body::Lines { end, has_tail: false, .. } => (*end, recording_text::tail_line(&self.tail, *end)?),
            _ if !self.deleted => (self.size, String::new()),
            Body::Lines { end, .. } => {
                let tail = lines::read_part(&self.file, *end, self.size).map_err(failed)?;
                (*end, rewrite::deleted_tail(&tail)?)
            }
            Body::Whole(_) => {
                let text = lines::read_part(&self.file, 0, self.size).map_err(failed)?;
                (0, rewrite::deleted_whole(&text)?)
            }
        };
        lines::copy_part(&self.file, 0, copied, out).map_err(failed)?;
        out.write_all(rest.as_bytes()).map_err(failed)
    }

    /// The frames of a text whose lines have been changed by hand; `None` where it is no recording either, which the bad line's error says.
    fn parse_whole(&self) -> Option<Vec<Frame>> {
        let text = lines::read_part(&self.file, 0, self.size).ok()?;
        recording_text::parse(&text).ok().map(|recording| recording.frames)
    }
}

/// A recording in its parts; the error is what is wrong with the text.
fn split(content: Content) -> std::result::Result<(Head, Tail, Body), String> {
    match content {
        Content::Corrupted(reason) => Err(reason),
        Content::Whole(recording) => Ok((recording.head, recording.tail, Body::Whole(recording.frames))),
        Content::Lines(ends) => {
            let body = Body::Lines { head_end: ends.head_end, end: ends.tail_at, has_tail: true };
            Ok((ends.head, ends.tail, body))
        }
    }
}

/// An id for a recording that says none: that of our own names, or the name itself, without what no id has.
fn id_of_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if let Some((id, _)) = files::parse_name(&name) {
        return id.to_owned();
    }
    let stem = name.strip_suffix(".json").unwrap_or(&name);
    stem.chars().take(64).map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect()
}

/// Reads a journal as far as it goes: whole frames, and the tail that these make.
fn read_journal(file: &File, path: &Path, size: u64, status: Status) -> Result<(Head, Tail, Body)> {
    let failed = |error: std::io::Error| Error::storage("read", path, &error);
    let line = layout::read_head_line(file, size).map_err(failed)?;
    let line = line.ok_or_else(|| layout::corrupted_error(path, "the journal has no whole head"))?;
    let head = layout::parse_head_line(&line).map_err(|error| layout::corrupted_error(path, &error.to_string()))?;
    let head_end = line.len() as u64;
    let scan = scan::scan_frames(file, head.protocol(), head_end, size).map_err(failed)?;
    let end = scan.end(head_end);
    let mut tail = match status {
        Status::Incomplete => recovery::tail_of(&head, &scan, None),
        _ => Tail { stats: scan.stats, ..summary::open_tail(&head, status) },
    };
    tail.stats.file_size_bytes = end;
    Ok((head, tail, Body::Lines { head_end, end, has_tail: false }))
}

/// Frames line by line.
struct Frames<'a> {
    recording: &'a RecordingFile,
    reader: LineReader<'a>,
    given: usize,
    /// All frames, where a line turned out to be none: somebody changed the file by hand.
    whole: Option<std::vec::IntoIter<Frame>>,
    ended: bool,
}

impl Frames<'_> {
    /// Whether these begin with the frames that were handed out: where a list stands twice in a text, its lines are of the first one and
    /// its meaning is the last one.
    fn begin_with_given(&self, frames: &[Frame]) -> bool {
        let Ok(again) = self.recording.frames() else { return false };
        frames.len() >= self.given && again.take(self.given).zip(frames).all(|(given, frame)| given.is_ok_and(|given| given == *frame))
    }
}

impl Iterator for Frames<'_> {
    type Item = Result<Frame>;

    fn next(&mut self) -> Option<Result<Frame>> {
        if let Some(whole) = &mut self.whole {
            return whole.next().map(Ok);
        }
        if self.ended {
            return None;
        }
        let protocol: Protocol = self.recording.head.protocol();
        let parsed = match self.reader.next_line() {
            Ok(None) => return None,
            Ok(Some(line)) => recording_text::parse_frame_line(protocol, line),
            Err(error) => Err(Error::storage("read", &self.recording.path, &error)),
        };
        match parsed {
            Ok(frame) => {
                self.given += 1;
                Some(Ok(frame))
            }
            Err(Error::Invalid { message, .. }) => {
                if let Some(frames) = self.recording.parse_whole().filter(|frames| self.begin_with_given(frames)) {
                    let mut frames = frames.into_iter();
                    // These were handed out already.
                    frames.by_ref().take(self.given).for_each(drop);
                    return self.whole.insert(frames).next().map(Ok);
                }
                self.ended = true;
                let reason = format!("frame {}: {message}", self.given);
                Some(Err(layout::corrupted_error(&self.recording.path, &reason)))
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::testing::{frame, put, sample, sse_sample, text_of};

    fn frames(file: &RecordingFile) -> Vec<Frame> {
        file.frames().unwrap().map(|frame| frame.unwrap()).collect()
    }

    fn text(file: &RecordingFile) -> Vec<u8> {
        let mut out = Vec::new();
        file.write_to(&mut out).unwrap();
        out
    }

    fn line(number: usize) -> Vec<u8> {
        let mut line = Vec::new();
        recording_text::push_frame_line(&mut line, &frame(number), number == 0).unwrap();
        line
    }

    #[test]
    fn a_finished_one_is_read_in_either_layout() {
        let dir = tempfile::tempdir().unwrap();
        for recording in [sample("01AAAAAA", 7), sse_sample("01AAAAAA", 7), sample("01AAAAAA", 0)] {
            let path = put(dir.path(), &recording);
            let file = RecordingFile::open(dir.path(), "01AAAAAA").unwrap();
            assert_eq!((&file.head, frames(&file)), (&recording.head, recording.frames.clone()));
            let ours = std::fs::read(&path).unwrap();
            assert_eq!(text(&file), ours);
            let value: serde_json::Value = serde_json::from_slice(&ours).unwrap();
            std::fs::write(&path, serde_json::to_vec_pretty(&value).unwrap()).unwrap();
            let foreign = RecordingFile::open(dir.path(), "01AAAAAA").unwrap();
            assert_eq!((&foreign.head, frames(&foreign)), (&recording.head, recording.frames.clone()));
            assert_eq!(text(&foreign), std::fs::read(&path).unwrap());
            let (lines, position) = foreign.lines_from(0).unwrap();
            assert_eq!((lines.len(), foreign.lines_from(position).unwrap().0.len()), (recording.frames.len(), 0));
        }
    }

    #[test]
    fn lines_changed_by_hand_are_read_as_json() {
        let dir = tempfile::tempdir().unwrap();
        let recording = sample("01AAAAAA", 5);
        let path = put(dir.path(), &recording);
        let changed = String::from_utf8(text_of(&recording)).unwrap().replacen("\n,{", ",\n  {", 3);
        std::fs::write(&path, changed).unwrap();
        assert_eq!(frames(&RecordingFile::open(dir.path(), "01AAAAAA").unwrap()), recording.frames);
        let broken = String::from_utf8(text_of(&recording)).unwrap().replacen("\n,{", "\n,[", 1);
        std::fs::write(&path, broken).unwrap();
        let file = RecordingFile::open(dir.path(), "01AAAAAA").unwrap();
        let results: Vec<Result<Frame>> = file.frames().unwrap().collect();
        assert_eq!(results.len(), 2);
        assert!(matches!(&results[1], Err(Error::Conflict { code: "corrupted", .. })));
    }

    #[test]
    fn a_running_one_is_read_and_followed_from_another_process() {
        let dir = tempfile::tempdir().unwrap();
        let recording = sample("01AAAAAA", 4);
        let (server, other) = (Store::new(dir.path().to_owned(), 1 << 20, 80), Store::new(dir.path().to_owned(), 1 << 20, 80));
        let mut journal = server.create(&recording.head).unwrap();
        journal.append(&line(0)).unwrap();
        journal.append(&line(1)).unwrap();
        let file = other.open("01AAAAAA").unwrap();
        assert_eq!((file.tail.status, file.tail.stats.frame_count), (Status::Recording, 2));
        assert_eq!(frames(&file), recording.frames[..2]);
        let whole = recording_text::parse(&text(&file)).unwrap();
        assert_eq!((whole.tail.status, whole.frames.len()), (Status::Recording, 2));

        let (lines, position) = file.lines_from(0).unwrap();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.starts_with(b"{") && line.ends_with(b"}")));
        assert_eq!(file.lines_from(position).unwrap(), (vec![], position));
        journal.append(&line(2)).unwrap();
        journal.append(&line(3)).unwrap();
        journal.close(&recording.tail).and_then(|()| journal.finish()).unwrap();
        let (lines, end) = file.lines_from(position).unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(file.lines_from(end).unwrap(), (vec![], end));
        let finished = other.open("01AAAAAA").unwrap();
        assert_eq!(finished.lines_from(position).unwrap(), (lines, end));
        assert_eq!(frames(&file), recording.frames[..2]);
    }

    #[test]
    fn a_torn_line_of_a_running_one_is_not_seen() {
        let dir = tempfile::tempdir().unwrap();
        let recording = sample("01AAAAAA", 2);
        let path = files::path_of(dir.path(), "01AAAAAA", Kind::Journal);
        let mut journal = recording_text::head_line(&recording.head).unwrap().into_bytes();
        journal.extend(line(0));
        journal.extend(&line(1)[..20]);
        std::fs::write(&path, journal).unwrap();
        let file = RecordingFile::open(dir.path(), "01AAAAAA").unwrap();
        assert_eq!((file.tail.status, file.tail.status_reason.as_deref()), (Status::Incomplete, Some("crashed")));
        assert_eq!(file.lines_from(0).unwrap().0.len(), 1);
        assert_eq!(recording_text::parse(&text(&file)).unwrap().frames, recording.frames[..1]);
    }

    #[test]
    fn a_file_of_any_name_is_opened_with_its_own_id_or_one_made_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        for (name, id, expected) in [
            ("chat.json", "01AAAAAA", "01AAAAAA"),
            ("my chat.v1.json", "", "my-chat-v1"),
            ("rec_01BBBBBB.json", "", "01BBBBBB"),
            ("fixture", "", "fixture"),
        ] {
            let recording = sample(id, 3);
            let value: serde_json::Value = serde_json::from_slice(&text_of(&recording)).unwrap();
            for text in [text_of(&recording), serde_json::to_vec_pretty(&value).unwrap()] {
                std::fs::write(dir.path().join(name), text).unwrap();
                let file = RecordingFile::open_path(&dir.path().join(name)).unwrap();
                assert_eq!((file.head.id.as_str(), frames(&file)), (expected, recording.frames.clone()), "{name}");
            }
        }
        for (path, why) in [("none.json", "cannot be read"), ("", "no file"), ("bad.json", "this is no recording")] {
            std::fs::write(dir.path().join("bad.json"), "{}").unwrap();
            let Err(error) = RecordingFile::open_path(&dir.path().join(path)) else { panic!("{path}") };
            assert!(matches!(&error, Error::File { message, .. } if message.contains(why)), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("rec_01AAAAAA.json"), "no json").unwrap();
        let Err(error) = RecordingFile::open(dir.path(), "01AAAAAA") else { panic!() };
        assert_eq!(error.status(), 409);
        assert!(error.to_string().contains("rec_01AAAAAA.json can't be parsed"), "{error}");
        for id in ["01BBBBBB", "", "../01AAAAAA", "01AAAAAA.json"] {
            assert!(matches!(RecordingFile::open(dir.path(), id), Err(Error::NotFound { .. })), "{id}");
        }
    }
}
