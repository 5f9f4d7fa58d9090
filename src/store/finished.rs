//! The recordings of a directory that are no journals, as they were at one moment, and the orders that lists have asked for. Pure: it
//! reads no file.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::files::{Found, Kind, Stamp};
use crate::base::sync;
use crate::model::api::{ListQuery, Summary};

/// One recording that is no journal.
#[derive(Debug)]
pub struct Entry {
    /// Which of its names it has.
    pub kind: Kind,
    /// What its file was known by when it was looked into.
    pub stamp: Stamp,
    /// Whether the stamp was old enough to tell this content from any later one.
    pub settled: bool,
    /// `startTime` in microseconds, for sorting.
    pub start_us: u64,
    /// What a list says of it.
    pub summary: Summary,
}

impl Entry {
    /// Whether this is what stands in the file that was found.
    pub fn is_still(&self, found: &Found) -> bool {
        self.settled && self.kind == found.kind && self.stamp == found.stamp
    }
}

/// What a query takes of the recordings, all pages of it, in its order.
pub type Order = Arc<[Arc<Entry>]>;

/// So many orders are kept; a page asks for one that was kept far more often than not.
const KEPT_ORDERS: usize = 4;

/// Recordings that do not change any more: what changes makes another value of this type.
#[derive(Debug, Default)]
pub struct Finished {
    entries: HashMap<String, Arc<Entry>>,
    /// The orders that were asked for last, the last one at the end, each beside its query without a page.
    orders: Mutex<Vec<(ListQuery, Order)>>,
}

impl Finished {
    /// These entries, by their ids.
    pub fn new(entries: HashMap<String, Arc<Entry>>) -> Self {
        Self { entries, orders: Mutex::default() }
    }

    /// The entries by their ids.
    pub fn entries(&self) -> &HashMap<String, Arc<Entry>> {
        &self.entries
    }

    /// What `query` takes, sorted as `compare` says: found out once, however many pages of it are asked for.
    pub fn order(&self, query: &ListQuery, takes: impl Fn(&Entry) -> bool, compare: impl Fn(&Entry, &Entry) -> Ordering) -> Order {
        let query = ListQuery { limit: None, offset: 0, ..query.clone() };
        let mut kept = sync::lock(&self.orders);
        if let Some(at) = kept.iter().position(|(known, _)| *known == query) {
            let found = kept.remove(at);
            let order = Arc::clone(&found.1);
            kept.push(found);
            return order;
        }
        // Nobody who asks for another order waits for this one.
        drop(kept);
        let mut rows: Vec<Arc<Entry>> = self.entries.values().filter(|entry| takes(entry)).cloned().collect();
        rows.sort_unstable_by(|a, b| compare(a, b));
        let order = Order::from(rows);
        let mut kept = sync::lock(&self.orders);
        kept.retain(|(known, _)| *known != query);
        let surplus = (kept.len() + 1).saturating_sub(KEPT_ORDERS);
        kept.drain(..surplus);
        kept.push((query, Arc::clone(&order)));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::index::Index;
    use crate::store::testing::{put, sample};

    #[test]
    fn an_order_is_found_out_once_for_all_its_pages() {
        let dir = tempfile::tempdir().unwrap();
        ["01AAAAAA", "01BBBBBB", "01CCCCCC"].iter().for_each(|id| drop(put(dir.path(), &sample(id, 1))));
        let index = Index::default().refresh(dir.path()).unwrap();
        let finished = index.finished();
        let asked = std::cell::Cell::new(0);
        let ask = |query: &ListQuery| {
            let takes = |entry: &Entry| {
                asked.set(asked.get() + 1);
                entry.summary.id != "01BBBBBB"
            };
            let order = finished.order(query, takes, |a, b| b.summary.id.cmp(&a.summary.id));
            order.iter().map(|entry| entry.summary.id.clone()).collect::<Vec<_>>()
        };
        let named = |name: &str, offset: u64| ListQuery { name: Some(name.to_owned()), offset, limit: Some(1), ..ListQuery::default() };
        for offset in 0..3 {
            assert_eq!(ask(&named("a", offset)), ["01CCCCCC", "01AAAAAA"]);
        }
        assert_eq!(asked.get(), 3, "each was looked at once");
        (0..KEPT_ORDERS).for_each(|name| drop(ask(&named(&name.to_string(), 0))));
        assert_eq!((asked.get(), sync::lock(&finished.orders).len()), (3 * (1 + KEPT_ORDERS), KEPT_ORDERS));
        ask(&named("a", 0));
        assert_eq!(asked.get(), 3 * (2 + KEPT_ORDERS), "the oldest has gone");
    }
}
