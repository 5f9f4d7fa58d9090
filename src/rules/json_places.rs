//! Places in JSON texts, told apart by numbers, so that a text is walked once for all of them. It decides nothing about what is there.

use std::collections::{BTreeMap, HashMap};

use super::json_span::{Document, Segment};

/// Some places, numbered from 0 in the order in which they came.
#[derive(Debug, Default)]
pub struct Places {
    root: Branch,
    count: usize,
}

/// Paths that share their beginnings.
#[derive(Debug, Default)]
struct Branch {
    number: Option<usize>,
    names: BTreeMap<String, Branch>,
    items: BTreeMap<usize, Branch>,
}

impl Places {
    /// The number of a place, which is a new one unless it is known.
    pub fn add(&mut self, path: &[Segment]) -> usize {
        let last = path.iter().fold(&mut self.root, |branch, segment| match segment {
            Segment::Name(name) => branch.names.entry(name.clone()).or_default(),
            Segment::Index(index) => branch.items.entry(*index).or_default(),
        });
        let number = *last.number.get_or_insert(self.count);
        self.count = self.count.max(number + 1);
        number
    }

    /// The number of a place that is known.
    pub fn number(&self, path: &[Segment]) -> Option<usize> {
        let last = path.iter().try_fold(&self.root, |branch, segment| match segment {
            Segment::Name(name) => branch.names.get(name),
            Segment::Index(index) => branch.items.get(index),
        });
        last?.number
    }
}

impl Document<'_> {
    /// Every value at a path: several where keys stand twice.
    pub fn find(&self, path: &[Segment]) -> Vec<usize> {
        self.find_all(std::iter::once(path.to_vec()))
    }

    /// Every value at one of some paths, outermost ones alone; in one walk, however many the paths.
    pub fn find_all(&self, paths: impl Iterator<Item = Vec<Segment>>) -> Vec<usize> {
        let mut places = Places::default();
        paths.for_each(|path| {
            places.add(&path);
        });
        let mut found = Vec::new();
        self.visit(&places, &mut |_, node| {
            found.push(node);
            false
        });
        found
    }

    /// The last value at each place, by the place's number: of keys that stand twice the last counts.
    pub fn last_at(&self, places: &Places) -> HashMap<usize, usize> {
        let mut last = HashMap::new();
        self.visit(places, &mut |place, node| {
            last.insert(place, node);
            true
        });
        last
    }

    /// Hands over every value at one of the places, with the place's number, in the order of the text; `found` says whether those
    /// below it are wanted as well.
    pub fn visit(&self, places: &Places, found: &mut impl FnMut(usize, usize) -> bool) {
        self.walk(0, &places.root, found);
    }

    /// Recursion is bounded by the nesting, and so by `limits::MAX_JSON_DEPTH`.
    fn walk(&self, node: usize, branch: &Branch, found: &mut impl FnMut(usize, usize) -> bool) {
        if branch.number.is_some_and(|number| !found(number, node)) || (branch.names.is_empty() && branch.items.is_empty()) {
            return;
        }
        for (index, child) in self.children(node).enumerate() {
            let next = match self.key(child) {
                Some(key) => branch.names.get(key.as_ref()),
                None => branch.items.get(&index),
            };
            if let Some(next) = next {
                self.walk(child, next, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::json_span::Parsed;
    use super::*;

    fn name(name: &str) -> Segment {
        Segment::Name(name.to_owned())
    }

    #[test]
    fn values_are_found_by_the_numbers_of_their_places() {
        let mut places = Places::default();
        let paths = [vec![name("a")], vec![name("a"), name("b")], vec![name("c"), Segment::Index(1)], vec![], vec![name("0")]];
        let numbers: Vec<usize> = paths.iter().map(|path| places.add(path)).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        assert_eq!((places.add(&paths[2]), places.number(&paths[1]), places.number(&[name("c")])), (2, Some(1), None));
        let Parsed::Json(document) = Document::parse(r#"{"a":{"b":1},"c":[2,3],"\u0061":{"b":4,"b":5}}"#) else { panic!() };
        let mut found = Vec::new();
        document.visit(&places, &mut |place, node| {
            found.push((place, document.literal(node)));
            place != 0 || found.len() > 3
        });
        let whole = document.literal(0);
        assert_eq!(found, [(3, whole), (0, r#"{"b":1}"#), (2, "3"), (0, r#"{"b":4,"b":5}"#), (1, "4"), (1, "5")]);
        assert_eq!(document.last_at(&places).get(&1).map(|node| document.literal(*node)), Some("5"));
    }
}
