//! Tables of event streams, and what holds in any split of them. (Tests of `sse.rs`.)

use proptest::prelude::*;

use super::*;

/// The blocks and the tail of a stream that comes in pieces of `step` bytes.
fn parse(bytes: &[u8], step: usize) -> (Vec<Block>, Vec<u8>) {
    let mut parser = EventStreamParser::new(1 << 20);
    let mut blocks = Vec::new();
    for part in bytes.chunks(step.max(1)) {
        parser.feed(part, &mut |block| blocks.push(block)).expect("small blocks");
    }
    (blocks, parser.into_tail())
}

fn one(text: &str) -> Block {
    let (mut blocks, tail) = parse(text.as_bytes(), text.len());
    assert_eq!((blocks.len(), tail.len()), (1, 0), "{text:?}");
    blocks.remove(0)
}

fn of(event: Option<&str>, data: Option<&str>, id: Option<&str>, retry: Option<u64>, comment: Option<&str>) -> Block {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Block { raw: Vec::new(), event: owned(event), data: owned(data), id: owned(id), retry, comment: owned(comment) }
}

#[test]
fn fields_are_read_as_the_standard_says() {
    for (text, expected) in [
        ("data: a\n\n", of(None, Some("a"), None, None, None)),
        ("data:a\n\n", of(None, Some("a"), None, None, None)),
        ("data:  a \n\n", of(None, Some(" a "), None, None, None)),
        ("data: a\ndata: b\n\n", of(None, Some("a\nb"), None, None, None)),
        ("data\n\n", of(None, Some(""), None, None, None)),
        ("data:\ndata\n\n", of(None, Some("\n"), None, None, None)),
        ("data: a:b\n\n", of(None, Some("a:b"), None, None, None)),
        ("event: x\ndata: a\n\n", of(Some("x"), Some("a"), None, None, None)),
        ("event: x\nevent: y\n\n", of(Some("y"), None, None, None, None)),
        ("event: x\nevent\n\n", of(None, None, None, None, None)),
        ("id: 1\nid: 2\n\n", of(None, None, Some("2"), None, None)),
        ("id: 1\nid: 2\0\n\n", of(None, None, Some("1"), None, None)),
        ("id\n\n", of(None, None, Some(""), None, None)),
        ("retry: 10\n\n", of(None, None, None, Some(10), None)),
        ("retry: 10\nretry: 1s\n\n", of(None, None, None, Some(10), None)),
        ("retry: +1\n\n", of(None, None, None, None, None)),
        ("retry:\n\n", of(None, None, None, None, None)),
        ("retry: 18446744073709551616\n\n", of(None, None, None, None, None)),
        (":\n\n", of(None, None, None, None, Some(""))),
        (": a\n:b\n:  c\n\n", of(None, None, None, None, Some("a\nb\n c"))),
        ("Data: a\n data: b\nfoo\n\n", of(None, None, None, None, None)),
        ("data: é\u{1f600}\n\n", of(None, Some("é\u{1f600}"), None, None, None)),
        ("\u{feff}data: a\n\n", of(None, Some("a"), None, None, None)),
        ("\u{feff}\u{feff}data: a\n\n", of(None, None, None, None, None)),
        ("\ndata: a\n\n", of(None, Some("a"), None, None, None)),
        ("data: a\r\r", of(None, Some("a"), None, None, None)),
        ("data: a\r\n\r\n", of(None, Some("a"), None, None, None)),
        ("data: a\n\r\n", of(None, Some("a"), None, None, None)),
        ("data: a\r\n\n", of(None, Some("a"), None, None, None)),
    ] {
        let block = one(text);
        assert_eq!(block.raw, text.as_bytes(), "{text:?}");
        assert_eq!(Block { raw: Vec::new(), ..block }, expected, "{text:?}");
    }
}

#[test]
fn text_that_is_not_utf8_stays_in_raw() {
    let (blocks, _) = parse(b"data: \xff\n\n", 99);
    assert_eq!(blocks[0].data.as_deref(), Some("\u{fffd}"));
    assert!(!blocks[0].is_canonical());
}

#[test]
fn a_bom_is_stripped_only_at_the_beginning() {
    let (blocks, _) = parse("\u{feff}data: a\n\n\u{feff}data: b\n\n".as_bytes(), 99);
    assert_eq!((blocks[0].data.as_deref(), blocks[1].data.as_deref()), (Some("a"), None));
}

#[test]
fn comments_retry_ids_crlf_and_spaces_are_not_lost() {
    for (text, canonical) in [
        (": c\nevent: e\nid: 1\nretry: 5\ndata: a\ndata: b\n\n", true),
        ("data: \n\n", true),
        (": \n\n", true),
        ("data\n\n", false),
        (":\n\n", false),
        ("data:a\n\n", false),
        ("data: a\r\n\r\n", false),
        ("id: 1\nevent: e\n\n", false),
        ("retry: 05\n\n", false),
        ("foo: 1\n\n", false),
        ("\ndata: a\n\n", false),
        ("data: a\nid: 1\n\n", false),
    ] {
        let block = one(text);
        assert_eq!(block.is_canonical(), canonical, "{text:?}");
        assert_eq!(block.canonical() == text.as_bytes(), canonical, "{text:?}");
    }
}

#[test]
fn blocks_come_as_soon_as_they_end() {
    let mut parser = EventStreamParser::new(100);
    let mut raws = Vec::new();
    for part in ["data: a\r", "\n\r", "\n", "data: b\r\r", "\n\n", "\n: tail"] {
        parser.feed(part.as_bytes(), &mut |block| raws.push(String::from_utf8(block.raw).expect("text"))).expect("small");
        raws.push("|".into());
    }
    assert_eq!(raws, ["|", "data: a\r\n\r", "|", "|", "\ndata: b\r\r", "|", "|", "|"]);
    assert_eq!(parser.into_tail(), b"\n\n\n: tail");
}

#[test]
fn an_empty_call_between_cr_and_lf_changes_nothing() {
    let mut parser = EventStreamParser::new(100);
    let mut count = 0;
    for part in ["data: a\r", "", "\n", "data: b\n\n"] {
        parser.feed(part.as_bytes(), &mut |_| count += 1).expect("small");
    }
    assert_eq!(count, 1);
}

#[test]
fn an_event_has_a_limit() {
    for step in [1, 3, 100] {
        for (text, blocks, sound) in [
            ("data: a\n\ndata: b\n\n", 2, true),
            ("data: a\n\ndata: bb\n\n", 1, false),
            ("data: a\n\n::::::::::", 1, false),
            ("data: a\n\n:::::::::", 1, true),
            ("\n\n\n\n\n\n\n\n\n\n", 0, false),
        ] {
            let mut parser = EventStreamParser::new(9);
            let mut count = 0;
            let result = text.as_bytes().chunks(step).try_for_each(|part| parser.feed(part, &mut |_| count += 1));
            assert_eq!((count, result.is_ok()), (blocks, sound), "{text:?} by {step}");
        }
    }
}

#[test]
fn line_ends_are_found_anywhere() {
    for length in 0..100 {
        for at in 0..length {
            let mut bytes = vec![b'x'; length];
            bytes[at] = if at % 2 == 0 { b'\r' } else { b'\n' };
            assert_eq!(find_line_end(&bytes), Some(at));
        }
        assert_eq!(find_line_end(&vec![b'x'; length]), None);
    }
}

/// Streams made of the pieces that matter to the parser.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("\n"),
        Just("\r"),
        Just("\r\n"),
        Just("data"),
        Just("data: "),
        Just("id:"),
        Just("event: "),
        Just("retry: "),
        Just(":"),
        Just(" "),
        Just("7"),
        Just("é"),
        Just("\u{feff}"),
        Just("\0"),
        Just("a long line of words, more than one step of the search\n"),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_split_gives_the_same(stream in streams(), step in 1usize..12) {
        let (whole, _) = parse(&stream, stream.len());
        let (split, tail) = parse(&stream, step);
        let bare = |blocks: &[Block]| blocks.iter().map(|block| Block { raw: Vec::new(), ..block.clone() }).collect::<Vec<_>>();
        prop_assert_eq!(bare(&whole), bare(&split));
        let mut joined: Vec<u8> = split.into_iter().flat_map(|block| block.raw).collect();
        joined.extend(tail);
        prop_assert_eq!(joined, stream);
    }

    #[test]
    fn the_canonical_form_reads_back(stream in streams()) {
        for block in parse(&stream, stream.len()).0 {
            let canonical = block.canonical();
            prop_assert_eq!(block.is_canonical(), canonical == block.raw);
            let (again, tail) = parse(&canonical, canonical.len());
            if canonical == b"\n" {
                prop_assert!(again.is_empty());
            } else {
                prop_assert!(tail.is_empty());
                prop_assert!(again[0].is_canonical());
                prop_assert_eq!(&again[..], &[Block { raw: canonical, ..block }][..]);
            }
        }
    }

    #[test]
    fn no_bytes_panic(stream in proptest::collection::vec(any::<u8>(), 0..200), step in 1usize..20) {
        parse(&stream, step);
    }
}
