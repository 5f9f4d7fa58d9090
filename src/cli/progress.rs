//! A bar on stderr for work that takes long: drawn only on a terminal, and gone without residue when the work is done.
//! It knows no work; who does some tells it how much is done.

use std::io::{IsTerminal, Read, Write};
use std::time::{Duration, Instant};

use super::color;
use crate::base::text::{clean, size};

/// Work that takes less is not worth a bar.
const PATIENCE: Duration = Duration::from_millis(500);
/// The time between two drawings.
const REDRAW: Duration = Duration::from_millis(100);
/// Columns of a terminal that does not say.
const COLUMNS: usize = 80;
/// Characters of the bar itself.
const BAR: usize = 24;
/// Back to the first column, and nothing right of it.
const ERASE: &str = "\r\x1b[K";

/// How far some work is. Dropping it takes the bar off the screen.
#[derive(Debug)]
pub struct Progress {
    meter: Meter,
    begun: Instant,
    on: bool,
}

impl Progress {
    /// Work that is counted in bytes; `total` where it is known. `what` says what is being done: `exporting`.
    pub fn bytes(what: &str, total: Option<u64>) -> Self {
        Self::new(what, total, Unit::Bytes)
    }

    /// Work that is counted in things.
    pub fn things(what: &str, total: u64) -> Self {
        Self::new(what, Some(total), Unit::Things)
    }

    fn new(what: &str, total: Option<u64>, unit: Unit) -> Self {
        let on = std::io::stderr().is_terminal() && color::is_able(std::env::var_os("TERM").as_deref());
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|columns| *columns > 0);
        let meter = Meter { what: clean(what).into_owned(), total, unit, done: 0, columns: columns.unwrap_or(COLUMNS), drawn: None };
        Self { meter, begun: Instant::now(), on }
    }

    /// The same, which draws nothing where `quiet` holds: `--json`.
    pub fn quiet_if(mut self, quiet: bool) -> Self {
        self.on &= !quiet;
        self
    }

    /// So much more is done.
    pub fn advance(&mut self, more: u64) {
        self.meter.done = self.meter.done.saturating_add(more);
        if self.on
            && let Some(line) = self.meter.draw(self.begun.elapsed())
        {
            // Wrapping is off while the line is written, so that a narrower terminal cuts it; a second line would stay for ever.
            put(&format!("\r\x1b[?7l{line}\x1b[K\x1b[?7h"));
        }
    }

    /// Takes the bar off the screen, so that something else can be said; it comes back with the next drawing.
    pub fn erase(&mut self) {
        if self.meter.drawn.take().is_some() {
            put(ERASE);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.erase();
    }
}

fn put(text: &str) {
    // Where stderr takes nothing, nobody watches.
    drop(std::io::stderr().write_all(text.as_bytes()));
}

/// A stream whose bytes, written or read, are counted by a [`Progress`].
#[derive(Debug)]
pub struct Counted<T> {
    inner: T,
    progress: Progress,
}

impl<T> Counted<T> {
    /// A stream and what counts it.
    pub fn new(inner: T, progress: Progress) -> Self {
        Self { inner, progress }
    }

    /// The stream; the bar is gone.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.progress.advance(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.progress.advance(read as u64);
        Ok(read)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Bytes,
    Things,
}

/// The words of a bar. Time is an argument.
#[derive(Debug)]
struct Meter {
    what: String,
    total: Option<u64>,
    unit: Unit,
    done: u64,
    columns: usize,
    /// When it was drawn last; `None` while it is not on the screen.
    drawn: Option<Duration>,
}

impl Meter {
    /// The line to draw now, if one is due.
    fn draw(&mut self, elapsed: Duration) -> Option<String> {
        let due = self.drawn.map_or(PATIENCE, |drawn| drawn + REDRAW);
        if elapsed < due {
            return None;
        }
        self.drawn = Some(elapsed);
        Some(self.line(elapsed))
    }

    fn line(&self, elapsed: Duration) -> String {
        let amount = |number: u64| match self.unit {
            Unit::Bytes => size(number),
            Unit::Things => number.to_string(),
        };
        let mut parts = vec![self.what.clone()];
        match self.total {
            // More may come than was said: a file that grows.
            Some(total) if total >= self.done && total > 0 => {
                let share = self.done as f64 / total as f64;
                let full = (share * BAR as f64) as usize;
                parts.push(format!("[{}{}] {:3}%", "#".repeat(full), ".".repeat(BAR - full), (share * 100.0) as u64));
                parts.push(format!("{} of {}", amount(self.done), amount(total)));
            }
            _ => parts.push(amount(self.done)),
        }
        if self.unit == Unit::Bytes && !elapsed.is_zero() {
            parts.push(format!("{}/s", size((self.done as f64 / elapsed.as_secs_f64()) as u64)));
        }
        // The last column stays free: some terminals wrap as soon as it is filled.
        parts.join("  ").chars().take(self.columns.saturating_sub(1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(total: Option<u64>, unit: Unit) -> Meter {
        Meter { what: "exporting".to_owned(), total, unit, done: 0, columns: 80, drawn: None }
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_is_drawn_after_half_a_second_and_ten_times_a_second() {
        let mut meter = meter(Some(100), Unit::Bytes);
        for (at, drawn) in [(0, false), (499, false), (500, true), (599, false), (600, true), (650, false), (1700, true), (1701, false)] {
            assert_eq!(meter.draw(ms(at)).is_some(), drawn, "{at}");
        }
    }

    #[test]
    fn the_line_says_how_much_and_how_fast() {
        for (total, unit, done, line) in [
            (Some(4096), Unit::Bytes, 1024, "exporting  [######..................]  25%  1.0 KB of 4.0 KB  512 B/s"),
            (Some(4096), Unit::Bytes, 4096, "exporting  [########################] 100%  4.0 KB of 4.0 KB  2.0 KB/s"),
            (Some(4096), Unit::Bytes, 5000, "exporting  4.9 KB  2.4 KB/s"),
            (Some(0), Unit::Bytes, 0, "exporting  0 B  0 B/s"),
            (None, Unit::Bytes, 3_145_728, "exporting  3.0 MB  1.5 MB/s"),
            (Some(300), Unit::Things, 150, "exporting  [############............]  50%  150 of 300"),
        ] {
            let mut meter = meter(total, unit);
            meter.done = done;
            assert_eq!(meter.line(ms(2000)), line);
        }
    }

    #[test]
    fn the_line_fits_the_terminal() {
        let mut narrow = meter(Some(u64::MAX), Unit::Bytes);
        narrow.done = u64::MAX / 2;
        for columns in [1, 2, 20, 40, 200] {
            narrow.columns = columns;
            assert!(narrow.line(ms(1)).chars().count() < columns.max(1), "{columns}");
        }
    }

    #[test]
    fn what_passes_is_counted() {
        let mut to = Counted::new(Vec::new(), Progress::bytes("writing", None).quiet_if(true));
        to.write_all(b"four").unwrap();
        assert_eq!(to.progress.meter.done, 4);
        assert_eq!(to.into_inner(), b"four");
        let mut from = Counted::new(&b"three"[..], Progress::bytes("reading", None).quiet_if(true));
        assert_eq!(std::io::read_to_string(&mut from).unwrap(), "three");
        assert_eq!(from.progress.meter.done, 5);
    }
}
