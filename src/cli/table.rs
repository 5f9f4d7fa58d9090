//! Tables for people: aligned columns, and ids cut as short as they may be. It formats; it prints nothing.

use super::color::Paint;
use crate::base::limits::TABLE_ID_CHARS;
use crate::base::text::clean;

/// The column whose words have colours.
const STATUS: &str = "STATUS";

/// Rows of cells below a header, every cell made safe for a terminal.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|name| (*name).to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn push<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| clean(cell).into_owned()).collect());
    }

    /// The lines, columns two blanks apart, without blanks at their ends.
    pub fn lines(&self) -> Vec<String> {
        self.painted_lines(Paint::plain())
    }

    /// The same, the words below [`STATUS`] in their colours.
    pub fn painted_lines(&self, paint: Paint) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let status = self.rows.first().and_then(|header| header.iter().position(|name| name == STATUS));
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                let cell = format!("{cell:width$}");
                if Some(column) == status { paint.status(&cell) } else { cell }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

/// How many characters of the `shown` ids make each of them unique among `all`: 12, or more.
pub fn id_chars<'a>(shown: impl IntoIterator<Item = &'a str>, all: impl IntoIterator<Item = &'a str>) -> usize {
    let mut sorted: Vec<&str> = all.into_iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let needed = |id: &str| {
        let at = sorted.partition_point(|other| *other < id);
        let before = at.checked_sub(1).and_then(|index| sorted.get(index));
        let after = sorted[at..].iter().find(|other| **other != id);
        before.into_iter().chain(after).map(|other| common(id, other) + 1).max().unwrap_or(0)
    };
    shown.into_iter().map(needed).max().unwrap_or(0).max(TABLE_ID_CHARS)
}

/// The first `chars` characters of an id.
pub fn cut_id(id: &str, chars: usize) -> String {
    id.chars().take(chars).collect()
}

/// How many characters two texts have in common at their beginnings, ASCII case ignored as ids are resolved.
fn common(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id;

    #[test]
    fn columns_are_aligned_and_clean() {
        let mut table = Table::new(&["ID", "PATH", "SIZE"]);
        table.push(["01HXYZ123456".into(), "/é\x1b[2J".into(), "8.2 KB".into()]);
        table.push(["01".into(), "/events/long/path".into(), "1 B".into()]);
        assert_eq!(
            table.lines(),
            ["ID            PATH               SIZE", "01HXYZ123456  /é\\u{1b}[2J        8.2 KB", "01            /events/long/path  1 B"]
        );
    }

    #[test]
    fn short_ids_printed_by_list_are_taken_by_show() {
        let all = ["01HXYZ123456789ABCDEF", "01HXYZ123456789ABCDEG", "01HXYZ12345Z", "01J0000000000000000000"];
        for shown in [&all[..], &all[..1], &all[3..], &all[..0]] {
            let chars = id_chars(shown.iter().copied(), all);
            for full in shown {
                let short = cut_id(full, chars);
                assert_eq!(id::resolve("recording", &short, all.iter().copied()).as_deref(), Ok(*full));
            }
        }
        assert_eq!(id_chars(all, all), 21);
        assert_eq!(id_chars(all[3..].iter().copied(), all), 12);
        assert_eq!(id_chars([], all), 12);
    }

    #[test]
    fn ids_of_one_millisecond_stay_apart() {
        let ids: Vec<String> = (0..50).map(|_| id::new()).collect();
        let chars = id_chars(ids.iter().map(String::as_str), ids.iter().map(String::as_str));
        for full in &ids {
            assert_eq!(id::resolve("recording", &cut_id(full, chars), ids.iter().map(String::as_str)).as_ref(), Ok(full));
        }
    }
}
