//! Event streams that a browser read with the wrong eyes: a stream is always UTF-8 (HTML standard §9.2.4), but one whose Content-Type
//! names no charset stands in the HARs of Chrome and Playwright as windows-1252 reads its bytes.

/// What windows-1252 makes of the bytes 0x80 to 0x9F, where that is not the byte's own number.
const HIGH: [(u8, char); 27] = [
    (0x80, '€'),
    (0x82, '‚'),
    (0x83, 'ƒ'),
    (0x84, '„'),
    (0x85, '…'),
    (0x86, '†'),
    (0x87, '‡'),
    (0x88, 'ˆ'),
    (0x89, '‰'),
    (0x8a, 'Š'),
    (0x8b, '‹'),
    (0x8c, 'Œ'),
    (0x8e, 'Ž'),
    (0x91, '‘'),
    (0x92, '’'),
    (0x93, '“'),
    (0x94, '”'),
    (0x95, '•'),
    (0x96, '–'),
    (0x97, '—'),
    (0x98, '˜'),
    (0x99, '™'),
    (0x9a, 'š'),
    (0x9b, '›'),
    (0x9c, 'œ'),
    (0x9e, 'ž'),
    (0x9f, 'Ÿ'),
];

/// What `read` gives; where that is UTF-8 that was read as windows-1252, the right text. A text that has other characters than those is
/// not, nor one whose bytes would be no UTF-8: `é` stays. The text may be large and is never held twice; so it may be read twice.
pub(super) fn read_right(read: impl Fn() -> String) -> String {
    let text = read();
    if text.is_ascii() || text.chars().any(|character| byte_of(character).is_none()) {
        return text;
    }
    String::from_utf8(narrowed(text)).unwrap_or_else(|_| read())
}

/// The bytes that windows-1252 reads as this text, in its place: each is one byte where the text has one or more.
fn narrowed(text: String) -> Vec<u8> {
    let mut bytes = text.into_bytes();
    let (mut read, mut written) = (0, 0);
    while let Some(first) = bytes.get(read) {
        let len = match first {
            0..0x80 => 1,
            0x80..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0.. => 4,
        };
        let character = bytes.get(read..read + len).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| text.chars().next());
        // Every character has been looked at before.
        bytes[written] = character.and_then(byte_of).unwrap_or(b'?');
        (read, written) = (read + len, written + 1);
    }
    bytes.truncate(written);
    bytes
}

fn byte_of(character: char) -> Option<u8> {
    match u8::try_from(character) {
        Ok(byte) => Some(byte),
        Err(_) => HIGH.iter().find(|(_, known)| *known == character).map(|(byte, _)| *byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_wrong_is_told_from_what_was_not() {
        for (text, wanted) in [
            ("plain", "plain"),
            ("Ã©vÃ©nement", "événement"),
            ("événement", "événement"),
            ("bye ðŸ‘‹", "bye 👋"),
            ("bye 👋", "bye 👋"),
            ("Ã© and 👋", "Ã© and 👋"),
            ("â‚¬", "€"),
            ("€", "€"),
        ] {
            assert_eq!(read_right(|| text.to_owned()), wanted);
        }
    }
}
