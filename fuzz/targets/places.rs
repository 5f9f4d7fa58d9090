//! Names and places: ids, URLs, queries, times.

use mockd::base::error::Error;
use mockd::base::{id, text, time};
use mockd::wire::url::{UpstreamUrl, parameters, percent_decode, percent_encode, without_parameter};

use super::input::{lines, text as text_of};

/// The prefix of an id (the first line), and the ids there are (a line each).
pub fn id_prefix(data: &[u8]) {
    let [prefix, rest] = lines(data);
    let ids: Vec<&str> = rest.lines().collect();
    let begins = |id: &&&str| id.get(..prefix.len()).is_some_and(|front| front.eq_ignore_ascii_case(&prefix));
    let candidates: Vec<&&str> = ids.iter().filter(begins).collect();
    match id::resolve("recording", &prefix, ids.iter().copied()) {
        Ok(found) => {
            assert!(id::check_prefix(&prefix).is_ok() && !prefix.contains(['/', '.', '\0']));
            assert!(candidates.len() == 1 || found.eq_ignore_ascii_case(&prefix), "{found} of {candidates:?}");
            assert!(candidates.iter().any(|id| **id == found));
        }
        Err(Error::Ambiguous { candidates: told, .. }) => assert!(told.len() > 1 && told.len() == candidates.len()),
        Err(Error::NotFound { .. }) => assert!(candidates.is_empty() || id::check_prefix(&prefix).is_err()),
        Err(error) => assert!(matches!(error, Error::Invalid { .. }) && id::check_prefix(&prefix).is_err()),
    }
    let known = ids.iter().find(|id| **id == prefix);
    let given = id::resolve_given("mock", &prefix, ids.iter().copied());
    assert!(known.is_none_or(|known| given.is_ok_and(|given| given == *known)));
}

/// A URL, a request target, a query.
pub fn url(data: &[u8]) {
    let [first, name] = lines(data);
    match UpstreamUrl::parse("--upstream", &first) {
        Ok(url) => {
            let again = UpstreamUrl::parse("--upstream", &url.join("", false)).expect("what is printed is read");
            assert_eq!(again, url);
            assert!(!url.host.contains(['/', '@', '?', '#', ' ', '\r', '\n']) && !url.path_prefix.contains(['?', '#', ' ', '\r', '\n']));
        }
        Err(error) => assert!(error.to_string().len() < 1000, "{error}"),
    }
    let left = without_parameter(&first, &name);
    assert!(left.len() <= first.len());
    let values = |target: &str| -> Vec<(String, String)> {
        target.split_once('?').map_or_else(Vec::new, |(_, query)| parameters(query).filter(|(known, _)| *known != name).collect())
    };
    assert_eq!(values(&left), values(&first));
    if let Some((_, query)) = left.split_once('?') {
        assert!(parameters(query).all(|(known, _)| known != name), "{left}");
    }
    assert_eq!(percent_decode(&percent_encode(&first)), first);
    assert!(percent_decode(&first).len() <= first.len() * 3);
}

/// Times and texts for people.
pub fn words(data: &[u8]) {
    let text = text_of(data);
    if let Some(us) = time::parse_rfc3339(&text) {
        let printed = time::rfc3339(us);
        assert_eq!(time::parse_rfc3339(&printed), Some(us), "{text} is {printed}");
    }
    let cleaned = text::clean(&text);
    assert!(!cleaned.chars().any(char::is_control));
    assert_eq!(text::clean(&cleaned), cleaned);
    let short = text::shorten(&text, 64);
    assert!(short.len() <= 64 || short == text);
    assert!(text::did_you_mean(&text, ["serve", "replay", "record"]).len() < 40);
    if let Some((front, back)) = data.split_first_chunk::<8>() {
        let number = u64::from_le_bytes(*front);
        assert!(text::size(number).len() < 20 && text::duration(number).len() < 30);
        assert!(back.len() + 8 == data.len());
    }
}
