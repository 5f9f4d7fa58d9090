//! A second reading of HTTP/1.1 messages, written from RFC 9112 line by line and not after mockd's: what a strict peer takes for one
//! message, and where that ends. It speaks to nobody.

/// What stands at the front of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading<T> {
    /// A whole message of so many bytes.
    Whole(T, usize),
    /// The beginning of one.
    Cut,
    /// Nothing that has one meaning.
    Wrong,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// In origin form.
    pub target: String,
    pub body: Vec<u8>,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
    /// Its end is that of the connection.
    pub to_end: bool,
}

type Fields = Vec<(String, String)>;

enum Framing {
    None,
    Length(usize),
    Chunked,
    ToEnd,
}

/// All requests at the front of what one client sent.
pub fn requests(mut bytes: &[u8]) -> Vec<Request> {
    let mut all = Vec::new();
    while let Reading::Whole(request, length) = request(bytes) {
        all.push(request);
        bytes = &bytes[length..];
    }
    all
}

/// A request at the front of `bytes`.
pub fn request(bytes: &[u8]) -> Reading<Request> {
    let mut skipped = 0;
    while bytes[skipped..].starts_with(b"\r\n") {
        skipped += 2;
    }
    let Some((line, fields, head_bytes)) = head(&bytes[skipped..]) else { return not_whole(&bytes[skipped..]) };
    let words: Vec<&str> = line.split(' ').collect();
    let &[method, target, version] = words.as_slice() else { return Reading::Wrong };
    let minor = match version {
        "HTTP/1.1" => 1,
        "HTTP/1.0" => 0,
        _ => return Reading::Wrong,
    };
    let hosts = values(&fields, "host").count();
    if !is_token(method) || method == "CONNECT" || hosts > 1 || (minor == 1 && hosts == 0) {
        return Reading::Wrong;
    }
    let Some(target) = origin_form(method, target) else { return Reading::Wrong };
    let Some(framing) = framing(&fields, minor, Framing::None) else { return Reading::Wrong };
    let start = skipped + head_bytes;
    match body(&bytes[start..], &framing, false) {
        Reading::Whole(body, length) => Reading::Whole(Request { method: method.to_owned(), target, body }, start + length),
        Reading::Cut => Reading::Cut,
        Reading::Wrong => Reading::Wrong,
    }
}

/// The final response to a request of `method` at the front of `bytes`, interim ones before it; `ended` where nothing follows them.
pub fn response(mut bytes: &[u8], method: &str, ended: bool) -> Reading<Response> {
    let mut passed = 0;
    loop {
        // As before a request line; whoever passes the response on writes it anew.
        while let Some(rest) = bytes.strip_prefix(b"\r\n") {
            passed += 2;
            bytes = rest;
        }
        let Some((line, fields, head_bytes)) = head(bytes) else { return not_whole(bytes) };
        let (version, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let minor = match version {
            "HTTP/1.1" => 1,
            "HTTP/1.0" => 0,
            _ => return Reading::Wrong,
        };
        let (digits, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let Some(status) = digits.parse().ok().filter(|status| (100..=999).contains(status) && digits.len() == 3) else {
            return Reading::Wrong;
        };
        if reason.chars().any(|c| c.is_ascii_control() && c != '\t') || status == 101 {
            return Reading::Wrong;
        }
        if status < 200 {
            passed += head_bytes;
            bytes = &bytes[head_bytes..];
            continue;
        }
        let framing =
            if method == "HEAD" || matches!(status, 204 | 304) { Some(Framing::None) } else { framing(&fields, minor, Framing::ToEnd) };
        let Some(framing) = framing else { return Reading::Wrong };
        let to_end = matches!(framing, Framing::ToEnd);
        return match body(&bytes[head_bytes..], &framing, ended) {
            Reading::Whole(body, length) => Reading::Whole(Response { status, body, to_end }, passed + head_bytes + length),
            Reading::Cut => Reading::Cut,
            Reading::Wrong => Reading::Wrong,
        };
    }
}

/// The start line and the fields of a head, and its length; `None` where there is no whole one, or a wrong one.
fn head(bytes: &[u8]) -> Option<(String, Fields, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    // Bytes beyond ASCII are characters here, one each.
    let text: String = bytes[..end].iter().map(|&byte| char::from(byte)).collect();
    let mut lines = text.split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    let mut fields = Fields::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if !is_token(name) || value.chars().any(|c| c.is_ascii_control() && c != '\t') {
            return None;
        }
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
    let sound = start.chars().all(|c| !c.is_ascii_control() || c == '\t');
    sound.then_some((start, fields, end + 4))
}

fn not_whole<T>(bytes: &[u8]) -> Reading<T> {
    if bytes.windows(4).any(|four| four == b"\r\n\r\n") { Reading::Wrong } else { Reading::Cut }
}

fn values<'a>(fields: &'a Fields, name: &'a str) -> impl Iterator<Item = &'a str> {
    fields.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

fn origin_form(method: &str, target: &str) -> Option<String> {
    if target.chars().any(|c| !('!'..='~').contains(&c) || c == '#') {
        return None;
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Some(target.to_owned());
    }
    let (scheme, rest) = target.split_once("://")?;
    if !["http", "https", "ws", "wss"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return None;
    }
    let path = rest.trim_start_matches(|c| c != '/' && c != '?');
    Some(match path.chars().next() {
        Some('/') => path.to_owned(),
        Some(_) => format!("/{path}"),
        None if method == "OPTIONS" => "*".to_owned(),
        None => "/".to_owned(),
    })
}

fn framing(fields: &Fields, minor: u8, without: Framing) -> Option<Framing> {
    let mut lengths = values(fields, "content-length").flat_map(|value| value.split(',')).map(|member| member.trim_matches([' ', '\t']));
    let codings: Vec<String> = values(fields, "transfer-encoding")
        .flat_map(|value| value.split(','))
        .map(|member| member.trim_matches([' ', '\t']).to_ascii_lowercase())
        .filter(|member| !member.is_empty())
        .collect();
    let first = lengths.next();
    if values(fields, "transfer-encoding").next().is_some() {
        return (minor == 1 && first.is_none() && codings == ["chunked"]).then_some(Framing::Chunked);
    }
    let Some(first) = first else { return Some(without) };
    let number = |text: &str| text.chars().all(|c| c.is_ascii_digit()).then(|| text.parse::<usize>().ok()).flatten();
    let length = number(first)?;
    lengths.all(|other| number(other) == Some(length)).then_some(Framing::Length(length))
}

fn body(bytes: &[u8], framing: &Framing, ended: bool) -> Reading<Vec<u8>> {
    match *framing {
        Framing::None => Reading::Whole(Vec::new(), 0),
        Framing::Length(length) if bytes.len() >= length => Reading::Whole(bytes[..length].to_vec(), length),
        Framing::Length(_) => Reading::Cut,
        Framing::ToEnd if ended => Reading::Whole(bytes.to_vec(), bytes.len()),
        Framing::ToEnd => Reading::Cut,
        Framing::Chunked => chunked(bytes),
    }
}

fn chunked(bytes: &[u8]) -> Reading<Vec<u8>> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some((line, next)) = line(&bytes[at..]) else { return Reading::Cut };
        let Some(line) = line else { return Reading::Wrong };
        at += next;
        let digits: String = line.chars().take_while(char::is_ascii_hexdigit).collect();
        let rest = line[digits.len()..].trim_start_matches([' ', '\t']);
        if digits.is_empty() || digits.len() > 16 || !(rest.is_empty() || rest.starts_with(';')) {
            return Reading::Wrong;
        }
        let Ok(size) = usize::from_str_radix(&digits, 16) else { return Reading::Wrong };
        if size == 0 {
            break;
        }
        if bytes.len() - at < size {
            return Reading::Cut;
        }
        body.extend_from_slice(&bytes[at..at + size]);
        at += size;
        match bytes.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(_) => return Reading::Wrong,
            None => return Reading::Cut,
        }
    }
    loop {
        match line(&bytes[at..]) {
            None => return Reading::Cut,
            Some((None, _)) => return Reading::Wrong,
            Some((Some(line), next)) => {
                at += next;
                if line.is_empty() {
                    return Reading::Whole(body, at);
                }
            }
        }
    }
}

/// A line and its length with its end: `None` while that is not there; no text where it has control characters.
fn line(bytes: &[u8]) -> Option<(Option<String>, usize)> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let text: String = bytes[..end].iter().map(|&byte| char::from(byte)).collect();
    let sound = !text.chars().any(|c| c.is_ascii_control() && c != '\t');
    Some((sound.then_some(text), end + 2))
}

#[test]
fn the_reference_reads_what_the_standard_shows() {
    let text = b"\r\nPOST http://h/a?b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n0\r\nT: 1\r\n\r\nGET";
    let wanted = Request { method: "POST".to_owned(), target: "/a?b".to_owned(), body: b"abc".to_vec() };
    assert_eq!(request(text), Reading::Whole(wanted, text.len() - 3));
    for wrong in ["GET / HTTP/1.1\r\n\r\n", "GET /# HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\nA: b\nC: d\r\n\r\n"] {
        assert_eq!(request(wrong.as_bytes()), Reading::Wrong, "{wrong:?}");
    }
    for both in ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Content-Length: 3, 4", "Transfer-Encoding: chunked, identity"] {
        assert_eq!(request(format!("POST / HTTP/1.1\r\nHost: h\r\n{both}\r\n\r\nabc").as_bytes()), Reading::Wrong, "{both}");
    }
    let whole = |status, body: &[u8], to_end, length| Reading::Whole(Response { status, body: body.to_vec(), to_end }, length);
    let text = b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP";
    assert_eq!(response(text, "GET", false), whole(200, b"ok", false, text.len() - 4));
    assert_eq!(response(b"HTTP/1.0 200 OK\r\n\r\nok", "GET", true), whole(200, b"ok", true, 21));
    assert_eq!(response(b"HTTP/1.0 200 OK\r\n\r\nok", "GET", false), Reading::Cut);
    assert_eq!(response(b"HTTP/1.1 204 No\r\n\r\nok", "GET", true), whole(204, b"", false, 19));
}
