//! Secrets and the search for them. A vault makes each secret once, knows the place it was made for, and finds it in bytes however a file
//! or an answer may hold it.

use std::collections::{BTreeMap, HashMap};

use mockd::base::id::random_u64;

/// So many bytes of a form lead to it.
const BEGINNING: usize = 12;

/// The secrets of a test.
#[derive(Debug, Default)]
pub struct Vault {
    made: Vec<Made>,
    checks: std::cell::Cell<u64>,
}

#[derive(Debug)]
struct Made {
    place: String,
    secret: String,
    forms: Vec<Vec<u8>>,
}

impl Vault {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A secret that is one by where it stands: behind a name.
    pub fn plain(&mut self, place: &str) -> String {
        self.keep(place, format!("Pl{:016x}", random_u64()))
    }

    /// A secret that is one by how it looks: `sk-…`.
    pub fn pattern(&mut self, place: &str) -> String {
        self.keep(place, format!("sk-{:016x}", random_u64()))
    }

    fn keep(&mut self, place: &str, secret: String) -> String {
        self.made.push(Made { place: place.to_owned(), secret: secret.clone(), forms: forms(&secret) });
        secret
    }

    /// The places whose secrets are in `bytes`, in any form.
    pub fn found(&self, bytes: &[u8]) -> Vec<&str> {
        self.find(bytes).into_iter().map(|(index, _)| self.made[index].place.as_str()).collect()
    }

    /// Checks that none of them is there.
    #[track_caller]
    pub fn check(&self, what: &str, bytes: &[u8]) {
        let found = self.find(bytes);
        let Some((_, at)) = found.first() else { return };
        let around = String::from_utf8_lossy(&bytes[at.saturating_sub(200)..(at + 120).min(bytes.len())]).into_owned();
        let places: Vec<&str> = found.iter().map(|(index, _)| self.made[*index].place.as_str()).collect();
        panic!("{what}: secrets of {places:?}: …{around}…");
    }

    /// Which secrets are there, and where the first of their forms stands. One pass over the bytes, whatever the number of secrets.
    fn find(&self, bytes: &[u8]) -> Vec<(usize, usize)> {
        self.checks.set(self.checks.get() + 1);
        let mut beginnings: HashMap<&[u8], Vec<(usize, &[u8])>> = HashMap::new();
        for (index, made) in self.made.iter().enumerate() {
            for form in &made.forms {
                beginnings.entry(&form[..BEGINNING]).or_default().push((index, form));
            }
        }
        let mut found = BTreeMap::new();
        for (at, window) in bytes.windows(BEGINNING).enumerate() {
            for (index, form) in beginnings.get(window).into_iter().flatten() {
                if bytes[at..].starts_with(form) {
                    found.entry(*index).or_insert(at);
                }
            }
        }
        found.into_iter().collect()
    }

    /// Checks that all of them came through: what is redacted in a recording is not in the traffic.
    #[track_caller]
    pub fn check_passed(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        // Those that were sent with an escape, or that only the API has seen.
        let own = ["name", "description", "tag", "escaped value", "path", "fragmented", "response", "subprotocol"];
        for made in self.made.iter().filter(|made| !own.iter().any(|own| made.place.contains(own))) {
            assert!(text.contains(&made.secret), "{:?} did not come through", made.place);
        }
    }

    /// How many secrets were made, and how often bytes were searched for all of them.
    pub fn figures(&self) -> (usize, u64) {
        (self.made.len(), self.checks.get())
    }
}

/// Does so many rounds and says what was tried.
pub fn repeat(what: &str, rounds: u64, mut round: impl FnMut() -> (usize, u64)) {
    let (mut secrets, mut searches) = (0, 0);
    for _ in 0..rounds {
        let (more, times) = round();
        (secrets, searches) = (secrets + more, searches + times);
    }
    println!("secrets, {what}: {rounds} rounds, {secrets} secrets, {searches} searches for all forms of those so far, none found");
}

/// A secret as it is, in base64 at its three alignments, percent-encoded, and with JSON's escapes.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.as_bytes().to_vec()];
    for shift in 0..3_usize {
        let mut bytes = vec![0; shift];
        bytes.extend(secret.bytes());
        let text = data_encoding::BASE64_NOPAD.encode(&bytes);
        // What the neighbours have no part in.
        let start = (shift * 8).div_ceil(6);
        let end = bytes.len() * 8 / 6;
        forms.push(text.as_bytes()[start..end].to_vec());
    }
    let each = |form: &dyn Fn(u8) -> String| secret.bytes().map(form).collect::<String>().into_bytes();
    forms.push(each(&|byte| format!("%{byte:02x}")));
    forms.push(each(&|byte| format!("%{byte:02X}")));
    forms.push(each(&|byte| format!("\\u{byte:04x}")));
    forms.push(each(&|byte| format!("\\u{byte:04X}")));
    // With its first letter escaped alone, as the tests send it.
    forms.push(secret.as_bytes()[3..].to_vec());
    forms
}
