//! Path patterns: a path as sent, or one that ends in `*`. The most specific wins, then the order.

/// Whether `pattern` takes `path`. Case and trailing slash count.
pub fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}

/// Whether there is a path that both take.
pub fn overlap(one: &str, other: &str) -> bool {
    match (one.strip_suffix('*'), other.strip_suffix('*')) {
        (Some(one), Some(other)) => one.starts_with(other) || other.starts_with(one),
        (None, _) => matches(other, one),
        (_, None) => matches(one, other),
    }
}

/// How specific a pattern is: of two that take a path, the one of the greater rank is meant.
pub fn rank(pattern: &str) -> (bool, usize) {
    (!pattern.ends_with('*'), pattern.len())
}

/// The index of the most specific of `patterns` that takes `path`: an exact one before a pattern, a longer pattern before a shorter one, then the first.
pub fn most_specific<'a>(patterns: impl IntoIterator<Item = &'a str>, path: &str) -> Option<usize> {
    let mut best: Option<(usize, (bool, usize))> = None;
    for (index, pattern) in patterns.into_iter().enumerate() {
        if matches(pattern, path) && best.is_none_or(|(_, known)| rank(pattern) > known) {
            best = Some((index, rank(pattern)));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_overlap_where_one_takes_what_the_other_takes() {
        for (one, other, expected) in [
            ("/ws", "/ws", true),
            ("/ws", "/ws/a", false),
            ("/ws/*", "/ws/a", true),
            ("/ws/*", "/ws", false),
            ("/ws/*", "/*", true),
            ("/ws/*", "/ws/a/*", true),
            ("/ws/*", "/w", false),
            ("/a/*", "/b/*", false),
        ] {
            assert_eq!((overlap(one, other), overlap(other, one)), (expected, expected), "{one} {other}");
        }
    }

    #[test]
    fn a_pattern_may_end_in_a_star() {
        for (pattern, path, taken) in [
            ("/ws", "/ws", true),
            ("/ws", "/ws/", false),
            ("/ws", "/WS", false),
            ("/ws/*", "/ws/", true),
            ("/ws/*", "/ws/chat/room", true),
            ("/ws/*", "/ws", false),
            ("/*", "/", true),
            ("*", "/x", true),
        ] {
            assert_eq!(matches(pattern, path), taken, "{pattern} {path}");
        }
    }

    #[test]
    fn the_most_specific_wins_then_the_first() {
        assert_eq!(most_specific(["/*", "/ws/*", "/ws/chat"], "/ws/chat"), Some(2));
        assert_eq!(most_specific(["/*", "/ws/*", "/ws/chat"], "/ws/other"), Some(1));
        assert_eq!(most_specific(["/ws/*", "/ws/*"], "/ws/other"), Some(0));
        assert_eq!(most_specific(["/a", "/b"], "/c"), None);
    }
}
