//! The bench's own arithmetic: quantiles, medians, hashes, and whether a line of the table is met. It measures nothing.

#[path = "load/figures.rs"]
mod figures;
#[path = "load/report.rs"]
mod report;

use figures::{Hash, median, quantile};
use report::{Line, Target, table};

#[test]
fn quantiles_are_those_of_the_nearest_rank() {
    for (values, per_cent, expected) in
        [(vec![], 50, 0), (vec![7], 99, 7), (vec![3, 1, 2], 50, 2), ((1..=100).rev().collect(), 99, 99), ((1..=100).collect(), 90, 90)]
    {
        assert_eq!(quantile(&mut values.clone(), per_cent), expected, "{values:?}");
    }
}

#[test]
fn medians_are_in_the_middle() {
    for (figures, expected) in [(&[][..], 0.0), (&[2.0], 2.0), (&[9.0, 1.0], 5.0), (&[5.0, 1.0, 2.0], 2.0)] {
        assert_eq!(median(figures), expected);
    }
}

#[test]
fn a_hash_is_the_same_for_any_split_and_another_for_other_bytes() {
    let bytes: Vec<u8> = (0..1000u32).map(|at| (at * 7 % 251) as u8).collect();
    let mut whole = Hash::default();
    whole.add(&bytes);
    for step in [1, 3, 31, 32, 33, 64, 999] {
        let mut hash = Hash::default();
        bytes.chunks(step).for_each(|part| hash.add(part));
        assert_eq!(hash.value(), whole.value(), "by {step}");
    }
    assert_eq!(Hash::of_repeated(&bytes[..500], 500), Hash::of_repeated(&bytes, 500));
    for change in [0, 499, 999] {
        let mut other = bytes.clone();
        other[change] ^= 1;
        assert_ne!(Hash::of_repeated(&other, 1000), whole.value());
    }
    assert_ne!(Hash::of_repeated(&bytes, 999), whole.value());
    let moved = [&bytes[32..64], &bytes[..32], &bytes[64..]].concat();
    assert_ne!(Hash::of_repeated(&moved, 1000), whole.value());
}

#[test]
fn a_line_knows_whether_its_target_is_met() {
    let line = Line::new("relay", "100 B").against("nginx", 10.0, "µs").got(10.9, "µs");
    for (target, met) in [
        (Target::RatioAtMost(1.1), Some(true)),
        (Target::RatioAtMost(1.0), Some(false)),
        (Target::RatioAtLeast(1.1), Some(false)),
        (Target::AtMost(11.0), Some(true)),
        (Target::AtLeast(11.0), Some(false)),
        (Target::None, None),
    ] {
        assert_eq!(line.clone().wants(target).is_met(), met, "{target:?}");
    }
    assert_eq!(Line::left_out("relay", "100 B", "no nginx").wants(Target::RatioAtMost(1.0)).is_met(), None);
}

#[test]
fn a_table_has_its_columns_below_each_other() {
    let lines = [
        Line::new("a", "long work").against("peer", 2.0, "µs").got(3.0, "µs").wants(Target::RatioAtMost(1.5)),
        Line::left_out("b", "x", "no peer"),
    ];
    let expected = "\
        | work      | limit         | mockd   | ratio | target | MET |\n\
        |-----------|---------------|---------|-------|--------|-----|\n\
        | long work | peer: 2.00 µs | 3.00 µs | 1.50× | ≤ 1.5× | met |\n\
        | x         |               |         |       |        |     |\n\
        - x: left out: no peer\n";
    assert_eq!(table(&lines), expected.replace("MET", "   "));
}
