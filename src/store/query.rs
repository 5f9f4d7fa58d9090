//! Filters, order, pages and counts over summaries. Pure: it reads no file.

use super::index::Index;
use crate::base::time;
use crate::model::api::{ListPage, ListQuery, SortBy, StoreStats, Summary};
use crate::model::recording::Protocol;
use crate::rules::pattern;

/// The page that a query asks for, of the index and of what has no file yet.
pub fn page(index: &Index, waiting: &[Summary], query: &ListQuery) -> ListPage {
    // A file may have come since it was said that there is none.
    let waiting = waiting.iter().filter(|summary| !index.has(&summary.id));
    let waiting = waiting.map(|summary| (time::parse_rfc3339(&summary.start_time).unwrap_or(0), summary));
    let mut rows: Vec<(u64, &Summary)> = index.iter().chain(waiting).filter(|(_, summary)| takes(query, summary)).collect();
    let total = rows.len() as u64;
    rows.sort_unstable_by(|(a_us, a), (b_us, b)| {
        let by = match query.sort_by {
            SortBy::StartTime => a_us.cmp(b_us),
            SortBy::Name => a.name.cmp(&b.name),
            SortBy::Size => a.file_size_bytes.cmp(&b.file_size_bytes),
            SortBy::Duration => a.duration.cmp(&b.duration),
        };
        // Ids are unique, so that every page has its one place, and newer ones are greater.
        let order = by.then_with(|| a.id.cmp(&b.id));
        if query.ascending { order } else { order.reverse() }
    });
    let skip = usize::try_from(query.offset).unwrap_or(usize::MAX);
    let take = query.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let recordings = rows.into_iter().skip(skip).take(take).map(|(_, summary)| summary.clone()).collect();
    ListPage { recordings, total, limit: query.limit, offset: query.offset }
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
