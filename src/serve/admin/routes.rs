//! The table of calls, and how a request finds its row. Every method and path of the admin port stands here and nowhere else.

use super::answer::Answer;
use super::call::Call;
use super::{about, convert, frames, mocks, recordings, replays, transfer};
use crate::base::error::{Error, Result};
use crate::base::{id, text};
use crate::model::api::ListQuery;
use crate::wire::url;

/// One call: how it is asked for and who answers it.
pub struct Route {
    /// The method; HEAD goes with GET.
    pub method: &'static str,
    /// The path; `{id}` stands for one segment.
    pub path: &'static str,
    /// The query parameters that it takes.
    pub parameters: &'static [&'static str],
    /// Whether it needs no token.
    pub open: bool,
    /// Whether its body may be as large as all recordings together; that of any other is limited to `limits::MAX_API_BODY_BYTES`.
    pub large: bool,
    /// Who answers.
    pub handler: fn(&Call) -> Result<Answer>,
}

const fn row(method: &'static str, path: &'static str, parameters: &'static [&'static str], handler: fn(&Call) -> Result<Answer>) -> Route {
    Route { method, path, parameters, open: false, large: false, handler }
}

const fn open(method: &'static str, path: &'static str, handler: fn(&Call) -> Result<Answer>) -> Route {
    Route { method, path, parameters: &[], open: true, large: false, handler }
}

const fn large(method: &'static str, path: &'static str, handler: fn(&Call) -> Result<Answer>) -> Route {
    Route { method, path, parameters: &[], open: false, large: true, handler }
}

/// Every call. Where two paths fit a request the first one takes it, so words stand before `{id}`.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    open("GET", "/", about::page),
    open("GET", "/health", about::health),
    row("GET", "/metrics", &[], about::metrics),
    row("GET", "/stream-recordings", &ListQuery::PARAMETERS, recordings::list),
    row("GET", "/stream-recordings/stats", &[], recordings::stats),
    row("GET", "/stream-recordings/sessions", &[], recordings::sessions),
    row("POST", "/stream-recordings/start", &[], recordings::start),
    row("POST", "/stream-recordings/vacuum", &[], recordings::vacuum),
    large("POST", "/stream-recordings/import", transfer::import),
    row("GET", "/stream-recordings/{id}", &[], recordings::show),
    row("PATCH", "/stream-recordings/{id}", &[], recordings::edit),
    row("DELETE", "/stream-recordings/{id}", &["permanent"], recordings::delete),
    row("POST", "/stream-recordings/{id}/stop", &[], recordings::stop),
    row("POST", "/stream-recordings/{id}/restore", &[], recordings::restore),
    row("POST", "/stream-recordings/{id}/export", &["format"], transfer::export),
    row("POST", "/stream-recordings/{id}/convert", &[], convert::convert),
    row("GET", "/stream-recordings/{id}/frames", &["follow"], frames::frames),
    row("POST", "/stream-recordings/{id}/replay", &[], replays::create),
    row("GET", "/mocks", &[], mocks::list),
    row("POST", "/mocks", &[], mocks::add),
    row("GET", "/mocks/{id}", &[], mocks::show),
    row("DELETE", "/mocks/{id}", &[], mocks::delete),
    row("GET", "/replay", &["all"], replays::list),
    row("GET", "/replay/{id}", &["wait", "timeout"], replays::view),
    row("DELETE", "/replay/{id}", &[], replays::stop),
    row("GET", "/replay/{id}/messages", &[], replays::messages),
    row("POST", "/replay/{id}/advance", &[], replays::advance),
    row("POST", "/replay/{id}/pause", &[], replays::pause),
    row("POST", "/replay/{id}/resume", &[], replays::resume),
    row("POST", "/replay/{id}/inject", &[], replays::inject),
    row("POST", "/replay/{id}/close", &[], replays::close),
];

/// What a method and a path lead to.
pub enum Found<'a> {
    /// A call, with the segment at `{id}` as sent (empty where there is none).
    Call(&'static Route, &'a str),
    /// The path exists, with other methods; OPTIONS always ends here.
    Methods(String),
    /// There is no such path.
    Nothing,
}

/// Finds the row of a request. The path is compared as sent, case and trailing slash included.
pub fn find<'a>(method: &str, path: &'a str) -> Found<'a> {
    let Some((template, id)) = ROUTES.iter().find_map(|route| Some((route.path, segment_at_id(route.path, path)?))) else {
        return Found::Nothing;
    };
    let asked = if method == "HEAD" { "GET" } else { method };
    match ROUTES.iter().find(|route| route.path == template && route.method == asked) {
        Some(route) => Found::Call(route, id),
        None => Found::Methods(allow(template)),
    }
}

/// The id of a call from its segment, decoded and then checked: it never reaches the file system as it came.
///
/// # Errors
/// [`Error::Invalid`] for what can be no id.
pub fn read_id(route: &Route, segment: &str) -> Result<String> {
    if !route.path.contains("{id}") {
        return Ok(String::new());
    }
    let id = url::percent_decode(segment);
    // People give ids to mocks: shorter ones, of more characters. They never meet a file name.
    if route.path.starts_with("/mocks/") { id::check_given(&id) } else { id::check_prefix(&id) }?;
    Ok(id)
}

/// The 404 for a path, with the nearest one that exists.
pub fn no_such_path(path: &str) -> Error {
    let candidates: Vec<String> = ROUTES.iter().filter_map(|route| with_segments_of(route.path, path)).collect();
    let shown = text::shorten(path, 128);
    Error::NoRoute(match text::nearest(path, candidates.iter().map(String::as_str)) {
        Some(near) => format!("this port has no {shown:?}; did you mean {near:?}? GET / lists every call"),
        None => format!("this port has no {shown:?}; GET / lists every call (streams are served on the mock port)"),
    })
}

/// `Allow` of a path's template.
fn allow(template: &str) -> String {
    let mut methods = Vec::new();
    for route in ROUTES.iter().filter(|route| route.path == template) {
        methods.push(route.method);
        if route.method == "GET" {
            methods.push("HEAD");
        }
    }
    methods.push("OPTIONS");
    methods.join(", ")
}

/// The segment of `path` at the template's `{id}` (empty where it has none), if the template fits.
fn segment_at_id<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    let Some((before, after)) = template.split_once("{id}") else {
        return (template == path).then_some("");
    };
    let segment = path.strip_prefix(before)?.strip_suffix(after)?;
    (!segment.is_empty() && !segment.contains('/')).then_some(segment)
}

/// The template with the id of a path of as many segments, to compare the two.
fn with_segments_of(template: &str, path: &str) -> Option<String> {
    let (wanted, given): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.trim_end_matches('/').split('/').collect());
    let filled = |(wanted, given): (&&str, &&str)| if *wanted == "{id}" { (*given).to_owned() } else { (*wanted).to_owned() };
    (wanted.len() == given.len()).then(|| wanted.iter().zip(&given).map(filled).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01HXYZ123456789ABCDEF";

    #[test]
    fn every_row_is_reached_and_none_is_hidden_by_an_earlier_one() {
        for route in ROUTES {
            let path = route.path.replace("{id}", ID);
            match find(route.method, &path) {
                Found::Call(found, id) => {
                    assert_eq!((found.method, found.path), (route.method, route.path));
                    assert_eq!(id.is_empty(), !route.path.contains("{id}"));
                }
                _ => panic!("{} {}", route.method, route.path),
            }
        }
    }

    #[test]
    fn rows_are_well_formed_and_stand_once() {
        for (at, route) in ROUTES.iter().enumerate() {
            assert!(["GET", "POST", "PATCH", "DELETE"].contains(&route.method), "{}", route.path);
            assert!(route.path.starts_with('/') && route.path.matches('{').count() <= 1, "{}", route.path);
            assert!(!ROUTES[..at].iter().any(|earlier| (earlier.method, earlier.path) == (route.method, route.path)), "{}", route.path);
        }
        let open: Vec<&str> = ROUTES.iter().filter(|route| route.open).map(|route| route.path).collect();
        assert_eq!(open, ["/", "/health"], "everything else needs the token");
    }

    #[test]
    fn other_methods_are_told_which_there_are() {
        for (method, path, wanted) in [
            ("PUT", "/stream-recordings/start", "POST, OPTIONS"),
            ("GET", "/stream-recordings/start", "POST, OPTIONS"),
            ("DELETE", "/stream-recordings/stats", "GET, HEAD, OPTIONS"),
            ("POST", "/stream-recordings/01HXYZ", "GET, HEAD, PATCH, DELETE, OPTIONS"),
            ("OPTIONS", "/replay/01HXYZ", "GET, HEAD, DELETE, OPTIONS"),
            ("HEAD", "/replay/01HXYZ/advance", "POST, OPTIONS"),
            ("get", "/health", "GET, HEAD, OPTIONS"),
        ] {
            match find(method, path) {
                Found::Methods(allow) => assert_eq!(allow, wanted, "{method} {path}"),
                _ => panic!("{method} {path}"),
            }
        }
        assert!(matches!(find("HEAD", "/stream-recordings/01HXYZ"), Found::Call(route, "01HXYZ") if route.method == "GET"));
    }

    #[test]
    fn unknown_paths_are_told_the_nearest_one() {
        for (path, wanted) in [
            ("/stream-recording", Some("/stream-recordings")),
            ("/stream-recordings/", Some("/stream-recordings")),
            ("/replays", Some("/replay")),
            ("/replay/01HXYZ/advnace", Some("/replay/01HXYZ/advance")),
            ("/stream-recordings/01HXYZ/stpo", Some("/stream-recordings/01HXYZ/stop")),
            ("/stream-recordings//stop", None),
            ("/ws/chat", None),
            ("", None),
            ("*", None),
        ] {
            assert!(matches!(find("GET", path), Found::Nothing), "{path}");
            let message = no_such_path(path).to_string();
            match wanted {
                Some(near) => assert!(message.contains(&format!("did you mean {near:?}?")), "{message}"),
                None => assert!(path == "/stream-recordings//stop" || !message.contains("did you mean"), "{message}"),
            }
        }
    }

    #[test]
    fn only_what_can_be_an_id_becomes_one() {
        let Found::Call(route, _) = find("GET", "/stream-recordings/x") else { panic!() };
        assert_eq!(read_id(route, "01HXYZ").as_deref(), Ok("01HXYZ"));
        assert_eq!(read_id(route, "01H%58YZ").as_deref(), Ok("01HXYZ"));
        for bad in ["x", "..%2f..%2fetc%2fpasswd", "../../etc", "01HXYZ%00", "01HXYZ%2F", "01HXYZ.json", "%", "01HXYZ%"] {
            assert_eq!(read_id(route, bad).unwrap_err().status(), 400, "{bad}");
        }
        let Found::Call(route, _) = find("GET", "/mocks/x") else { panic!() };
        assert_eq!(read_id(route, "x").as_deref(), Ok("x"));
        assert_eq!(read_id(route, "chat%2Ev1").as_deref(), Ok("chat.v1"));
        for bad in ["..%2f..%2fetc%2fpasswd", "a%00", "a%20b", "%"] {
            assert_eq!(read_id(route, bad).unwrap_err().status(), 400, "{bad}");
        }
        let Found::Call(route, segment) = find("GET", "/health") else { panic!() };
        assert_eq!(read_id(route, segment).as_deref(), Ok(""));
    }
}
