//! Filters, order, pages and counts over summaries. Pure: it reads no file.

use super::finished::Entry;
use super::index::Index;
use crate::base::time;
use crate::model::api::{ListPage, ListQuery, SortBy, StoreStats, Summary};
use crate::model::recording::Protocol;
use crate::rules::pattern;

/// The page that a query asks for, of the index and of what has no file yet. What changes from page to page, journals and what waits, is
/// sorted in each time; the others stand in an order that is kept.
pub fn page(index: &Index, waiting: &[Summary], query: &ListQuery) -> ListPage {
    let compare = |(a_us, a): Row<'_>, (b_us, b): Row<'_>| {
        let by = match query.sort_by {
            SortBy::StartTime => a_us.cmp(&b_us),
            SortBy::Name => a.name.cmp(&b.name),
            SortBy::Size => a.file_size_bytes.cmp(&b.file_size_bytes),
            SortBy::Duration => a.duration.cmp(&b.duration),
        };
        // Ids are unique, so that every page has its one place, and newer ones are greater.
        let order = by.then_with(|| a.id.cmp(&b.id));
        if query.ascending { order } else { order.reverse() }
    };
    let order = index.finished().order(query, |entry| takes(query, &entry.summary), |a, b| compare(row(a), row(b)));
    // A file may have come since it was said that there is none.
    let waiting = waiting.iter().filter(|summary| !index.has(&summary.id));
    let waiting = waiting.map(|summary| (time::parse_rfc3339(&summary.start_time).unwrap_or(0), summary));
    let mut others: Vec<Row<'_>> = index.running().chain(waiting).filter(|(_, summary)| takes(query, summary)).collect();
    others.sort_unstable_by(|a, b| compare(*a, *b));

    let total = order.len() + others.len();
    let skip = usize::try_from(query.offset).unwrap_or(usize::MAX).min(total);
    let take = query.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)).min(total - skip);
    // Of the others those stand on the pages before whose place among all is one of these.
    let places = others.iter().enumerate().map(|(at, other)| at + order.partition_point(|entry| compare(row(entry), *other).is_lt()));
    let skipped = places.take_while(|place| *place < skip).count();
    let mut rows = order[skip - skipped..].iter().map(|entry| row(entry)).peekable();
    let mut others = others.into_iter().skip(skipped).peekable();
    let mut recordings = Vec::with_capacity(take);
    while recordings.len() < take {
        let is_other = match (rows.peek(), others.peek()) {
            (Some(row), Some(other)) => compare(*row, *other).is_gt(),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let Some((_, summary)) = (if is_other { others.next() } else { rows.next() }) else { break };
        recordings.push(summary.clone());
    }
    ListPage { recordings, total: total as u64, limit: query.limit, offset: query.offset }
}

/// A recording with its start time in microseconds.
type Row<'a> = (u64, &'a Summary);

fn row(entry: &Entry) -> Row<'_> {
    (entry.start_us, &entry.summary)
}

fn takes(query: &ListQuery, summary: &Summary) -> bool {
    (query.include_deleted || !summary.deleted)
        && query.protocol.is_none_or(|protocol| summary.protocol == Some(protocol))
        && query.status.is_none_or(|status| summary.status == status)
        && query.name.as_deref().is_none_or(|name| summary.name == name)
        && query.path.as_deref().is_none_or(|path| summary.path == path || pattern::matches(path, &summary.path))
        && query.tag.as_deref().is_none_or(|tag| summary.tags.iter().any(|known| known == tag))
}

/// Counts and bytes of the index; the bytes' limit and warning are the quota's.
pub fn stats(index: &Index, max_bytes: u64, used_percent: f64, warning: Option<String>) -> StoreStats {
    let mut stats = StoreStats {
        used_bytes: index.used_bytes,
        max_bytes,
        used_percent,
        warning,
        recording_count: 0,
        websocket_count: 0,
        sse_count: 0,
        deleted_count: 0,
        deleted_bytes: 0,
        oldest: None,
        newest: None,
    };
    let mut ends: Option<[(u64, &Summary); 2]> = None;
    for row @ (start_us, summary) in index.iter() {
        if summary.deleted {
            stats.deleted_count += 1;
            stats.deleted_bytes += summary.file_size_bytes;
            continue;
        }
        stats.recording_count += 1;
        match summary.protocol {
            Some(Protocol::WebSocket) => stats.websocket_count += 1,
            Some(Protocol::Sse) => stats.sse_count += 1,
            None => {}
        }
        let [oldest, newest] = ends.get_or_insert([row, row]);
        if start_us < oldest.0 {
            *oldest = row;
        }
        if start_us > newest.0 {
            *newest = row;
        }
    }
    if let Some([oldest, newest]) = ends {
        stats.oldest = Some(oldest.1.start_time.clone());
        stats.newest = Some(newest.1.start_time.clone());
    }
    stats
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{put, sample, sse_sample};

    /// Five recordings: four WebSockets one second apart, and an event stream that began with the first of them.
    fn index() -> Index {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..4 {
            let mut recording = sample(&format!("01AAAA{number}"), 4 - number);
            recording.head.name = ["b", "a", "b", "c"][number].to_owned();
            recording.head.metadata.path = ["/ws/chat", "/ws/room", "/ws/chat", "/other"][number].to_owned();
            recording.head.tags = if number < 2 { vec!["t".to_owned()] } else { Vec::new() };
            recording.head.start_time = crate::base::time::rfc3339(number as u64 * 1_000_000);
            recording.tail.duration = [Some(5), None, Some(7), Some(5)][number];
            put(dir.path(), &recording);
        }
        let mut stream = sse_sample("01BBBB0", 1);
        stream.head.name = "z".to_owned();
        stream.head.start_time = crate::base::time::rfc3339(0);
        put(dir.path(), &stream);
        std::fs::rename(dir.path().join("rec_01AAAA3.json"), dir.path().join("rec_01AAAA3.json.deleted")).unwrap();
        Index::default().refresh(dir.path()).unwrap()
    }

    #[test]
    fn filters_order_and_pages() {
        let index = index();
        for (parameters, ids, total) in [
            ("", "A2 A1 B0 A0", 4),
            ("sortOrder=asc", "A0 B0 A1 A2", 4),
            ("includeDeleted=true", "A3 A2 A1 B0 A0", 5),
            ("protocol=sse", "B0", 1),
            ("path=/ws/chat", "A2 A0", 2),
            ("path=/ws/*", "A2 A1 A0", 3),
            ("path=/ws", "", 0),
            ("status=incomplete", "", 0),
            ("status=complete&limit=1", "A2", 4),
            ("name=b", "A2 A0", 2),
            ("tag=t", "A1 A0", 2),
            ("tag=T", "", 0),
            ("sortBy=name&sortOrder=asc", "A1 A0 A2 B0", 4),
            ("sortBy=duration&protocol=websocket", "A2 A0 A1", 3),
            ("sortBy=size&protocol=websocket&sortOrder=asc", "A2 A1 A0", 3),
            ("limit=2&offset=1", "A1 B0", 4),
            ("offset=9", "", 4),
        ] {
            let pairs = parameters.split('&').filter_map(|pair| pair.split_once('='));
            let query = ListQuery::from_parameters(pairs).unwrap();
            let page = page(&index, &[], &query);
            let found: Vec<String> =
                page.recordings.iter().map(|summary| summary.id.replace("01AAAA", "A").replace("01BBBB", "B")).collect();
            assert_eq!((found.join(" ").as_str(), page.total), (ids, total), "{parameters}");
        }
    }

    /// Running and waiting recordings among the others, on every page.
    #[test]
    fn what_runs_and_what_waits_has_its_place_among_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let start = |number: u64| crate::base::time::rfc3339(number / 2 * 1_000_000);
        let mut waiting = Vec::new();
        for number in 0..12 {
            let mut recording = sample(&format!("01AAAA{number:02}"), 1);
            recording.head.start_time = start(number);
            match number {
                2 | 3 | 8 | 11 => {
                    let line = crate::model::recording_text::head_line(&recording.head).unwrap();
                    std::fs::write(dir.path().join(format!("rec_01AAAA{number:02}.journal")), line).unwrap();
                }
                0 | 5 | 6 => waiting.push(Summary::of(&recording.head, &recording.tail, 0, false)),
                _ => drop(put(dir.path(), &recording)),
            }
        }
        let index = Index::default().refresh(dir.path()).unwrap();
        let all: Vec<String> = (0..12).map(|number| format!("01AAAA{number:02}")).collect();
        for ascending in [true, false] {
            for offset in 0..14 {
                for limit in 1..14 {
                    let query = ListQuery { ascending, offset, limit: Some(limit), ..ListQuery::default() };
                    let page = page(&index, &waiting, &query);
                    let found: Vec<String> = page.recordings.into_iter().map(|summary| summary.id).collect();
                    let mut expected = all.clone();
                    if !ascending {
                        expected.reverse();
                    }
                    let expected: Vec<String> = expected.into_iter().skip(offset as usize).take(limit as usize).collect();
                    assert_eq!((found, page.total), (expected, 12), "{ascending} {offset} {limit}");
                }
            }
        }
    }

    #[test]
    fn stats_leave_deleted_ones_out_but_for_their_bytes() {
        let index = index();
        let stats = stats(&index, 100, 1.0, None);
        assert_eq!((stats.recording_count, stats.websocket_count, stats.sse_count, stats.deleted_count), (4, 3, 1, 1));
        assert!(stats.deleted_bytes > 0 && stats.deleted_bytes < stats.used_bytes);
        assert_eq!(stats.oldest.as_deref(), Some("1970-01-01T00:00:00.000000Z"));
        assert_eq!(stats.newest.as_deref(), Some("1970-01-01T00:00:02.000000Z"));
    }
}
