//! Who waits for the answer to a call: the gate sees a client leave, and a call that waits for something else asks here whether anybody
//! still wants what it waits for. It knows neither calls nor connections, only their numbers.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::base::sync;

/// The header field in which the gate hands a caller's number on to the HTTP server behind it.
pub const CALLER_FIELD: &str = "X-Mockd-Caller";

/// The callers that are there.
#[derive(Debug, Default)]
pub struct Callers {
    present: Mutex<HashSet<u64>>,
    last: AtomicU64,
}

/// A caller's presence: it is there for as long as this lives.
#[derive(Debug)]
pub struct Presence<'a> {
    callers: &'a Callers,
    /// The caller's number; none has had it before.
    pub number: u64,
}

impl Callers {
    /// Another one has come.
    pub fn enter(&self) -> Presence<'_> {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        sync::lock(&self.present).insert(number);
        Presence { callers: self, number }
    }

    /// Whether the one of this number is there.
    fn is_here(&self, number: u64) -> bool {
        sync::lock(&self.present).contains(&number)
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        sync::lock(&self.callers.present).remove(&self.number);
    }
}

/// The caller of one call.
#[derive(Debug, Clone)]
pub struct Caller {
    callers: Arc<Callers>,
    /// `None` for a call that came without the gate: nobody sees its caller leave.
    number: Option<u64>,
}

impl Caller {
    /// The caller whose number stands in the field `value`.
    pub fn of(callers: &Arc<Callers>, value: Option<&str>) -> Self {
        Self { callers: Arc::clone(callers), number: value.and_then(|value| value.parse().ok()) }
    }

    /// Whether the caller still waits for its answer.
    pub fn is_here(&self) -> bool {
        self.number.is_none_or(|number| self.callers.is_here(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_here_until_it_leaves() {
        let callers = Arc::new(Callers::default());
        let (first, second) = (callers.enter(), callers.enter());
        let of = |presence: &Presence<'_>| Caller::of(&callers, Some(&presence.number.to_string()));
        let (leaving, staying) = (of(&first), of(&second));
        assert!(leaving.is_here() && staying.is_here());
        drop(first);
        assert!(!leaving.is_here() && staying.is_here());
        assert!(!Caller::of(&callers, Some("7")).is_here(), "one that has not come");
        assert!(Caller::of(&callers, None).is_here() && Caller::of(&callers, Some("x")).is_here(), "one that nobody sees");
    }
}
