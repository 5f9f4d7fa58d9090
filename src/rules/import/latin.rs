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

/// The UTF-8 text that was read as windows-1252; the text itself where it was not. A text that has other characters than those is not,
/// nor one whose bytes would be no UTF-8: `é` stays.
pub(super) fn repaired(text: String) -> String {
    if text.is_ascii() {
        return text;
    }
    match text.chars().map(byte_of).collect::<Option<Vec<u8>>>().map(String::from_utf8) {
        Some(Ok(right)) => right,
        None | Some(Err(_)) => text,
    }
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
            assert_eq!(repaired(text.to_owned()), wanted);
        }
    }
}
