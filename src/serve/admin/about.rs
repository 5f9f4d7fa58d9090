//! What the server says about itself: the page, `/health` and `/metrics`.

use serde_json::json;

use super::answer::Answer;
use super::call::Call;
use crate::base::error::Result;
use crate::base::{id, time};

/// The page; `NONCE` in it becomes a fresh word, which alone lets its own style and script run.
const PAGE: &str = include_str!("page.html");

/// `GET /`
pub fn page(_call: &Call) -> Result<Answer> {
    let nonce = format!("{:016x}{:016x}", id::random_u64(), id::random_u64());
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let answer = Answer::bytes(200, "text/html; charset=utf-8", PAGE.replace("NONCE", &nonce).into_bytes());
    let alone = [("Cross-Origin-Opener-Policy", "same-origin"), ("Cross-Origin-Resource-Policy", "same-origin")];
    let answer = alone.into_iter().fold(answer, |answer, (name, value)| answer.with(name, value));
    Ok(answer.with("Content-Security-Policy", policy).with("Referrer-Policy", "no-referrer"))
}

/// `GET /health`
pub fn health(call: &Call) -> Result<Answer> {
    Answer::json(
        200,
        &json!({
            "status": "ok",
            "version": env!("CARGO_PKG_VERSION"),
            "uptimeSeconds": time::now_us() / 1_000_000,
            "mock": format!("http://{}", call.app().mock_address),
        }),
    )
}

/// `GET /metrics`: the text format of Prometheus, 0.0.4.
pub fn metrics(call: &Call) -> Result<Answer> {
    let text = metrics_text(&call.app().metrics());
    Ok(Answer::bytes(200, "text/plain; version=0.0.4; charset=utf-8", text.into_bytes()))
}

/// Each row is name, help, type, value.
fn metrics_text(rows: &[(&str, &str, &str, u64)]) -> String {
    let mut text = String::new();
    for (name, help, kind, value) in rows {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::routes::ROUTES;
    use super::*;

    #[test]
    fn metrics_are_written_as_prometheus_reads_them() {
        let rows = [("mockd_frames_total", "Frames relayed.", "counter", 3), ("mockd_connections", "Open\nnow.", "gauge", 0)];
        assert_eq!(
            metrics_text(&rows),
            "# HELP mockd_frames_total Frames relayed.\n# TYPE mockd_frames_total counter\nmockd_frames_total 3\n\
             # HELP mockd_connections Open\\nnow.\n# TYPE mockd_connections gauge\nmockd_connections 0\n"
        );
    }

    #[test]
    fn the_page_lists_every_call() {
        for route in ROUTES {
            assert!(
                PAGE.contains(&format!("<tr><td>{}</td><td><code>{}</code>", route.method, route.path)),
                "{} {}",
                route.method,
                route.path
            );
        }
    }

    #[test]
    fn the_page_runs_nothing_but_its_own_script_and_never_writes_markup() {
        assert_eq!(PAGE.matches("NONCE").count(), 2);
        assert_eq!((PAGE.matches("<script").count(), PAGE.matches("<style").count()), (1, 1));
        for banned in [
            "innerHTML",
            "outerHTML",
            "document.write",
            "eval(",
            "insertAdjacentHTML",
            "http://",
            "https://",
            " style=",
            "onclick",
            "localStorage",
            "sessionStorage",
        ] {
            assert!(!PAGE.contains(banned), "{banned}");
        }
    }
}
