//! Peers that are many: up to the cap and over it, idle, waiting, coming and going. What they held is there again when they have left.

use std::net::{SocketAddr, TcpStream};

use crate::support::effort::rounds;
use crate::support::http::{Conn, ask};
use crate::support::usage::Usage;
use crate::support::{Server, Upstream, wait};

/// The number of connections on the mock port.
fn open(server: &Server) -> u64 {
    let text = server.call("GET", "/metrics", &serde_json::Value::Null).text();
    let line = text.lines().find_map(|line| line.strip_prefix("mockd_connections "));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no count in {text}"))
}

/// What the server holds when it has served both ports once.
pub fn settled(server: &Server) -> Usage {
    ask(server.mock, "GET", "/nothing/here", &[], b"");
    wait::eventually("a quiet server", || (open(server) == 0).then_some(()));
    Usage::of_started(server)
}

/// Writes a whole request before it reads; gives the answer's status, and whether it says when to come again.
fn refused(address: SocketAddr) -> (u16, bool) {
    let answer = Conn::open(address).ask("POST", "/x", &[], &[b'x'; 3_000]);
    (answer.status(), answer.head.field("retry-after").is_some())
}

#[test]
fn idle_connections_up_to_the_cap_are_kept_and_those_over_it_are_told() {
    let cap = rounds(300, 10_000);
    let server = Server::builder().option("--max-connections", cap).start();
    // What the kernel allows may be less; it is printed.
    let log = wait::eventually("the cap", || Some(server.log()).filter(|log| log.contains(" connections")));
    let words: Vec<&str> = log.split_whitespace().collect();
    let cap =
        words.iter().position(|word| *word == "connections").map(|at| words[at - 1].parse::<usize>().expect("a number")).expect("a cap");
    // This process may have fewer descriptors than the server has.
    let (soft, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).expect("a limit");
    let cap_here = cap.min(usize::try_from(soft).unwrap_or(usize::MAX).saturating_sub(400));
    let before = settled(&server);
    let mut first = Conn::open(server.mock);
    assert_eq!(first.ask("GET", "/first", &[], b"").status(), 404);
    let idle: Vec<TcpStream> = (1..cap_here).map(|_| TcpStream::connect(server.mock).expect("a connection")).collect();
    wait::eventually("all connections", || (open(&server) == cap_here as u64).then_some(()));
    let full = Usage::of(server.pid);
    if cap_here == cap {
        for _ in 0..10 {
            assert_eq!(refused(server.mock), (503, true));
        }
    }
    assert_eq!(first.ask("GET", "/again", &[], b"").status(), 404, "those within are served");
    assert!(full.threads <= before.threads + cap + 50 && full.descriptors <= before.descriptors + cap + 50, "{before:?} {full:?}");
    let each_kib = full.rss_kib.saturating_sub(before.rss_kib) / idle.len() as u64;
    assert!(each_kib < 64, "{each_kib} KiB for an idle connection");
    drop((idle, first));
    let after = Usage::back_to(server.pid, &before);
    assert_eq!(ask(server.mock, "GET", "/x", &[], b"").status(), 404);
    println!("idle connections: {cap_here} of a cap of {cap}; before {before:?}, full {full:?} ({each_kib} KiB each), after {after:?}");
}

#[test]
fn a_flood_of_connections_that_close_at_once_leaves_nothing() {
    let count = rounds(500, 20_000);
    let server = Server::builder().option("--max-connections", 50).start();
    let before = settled(&server);
    for number in 0..count {
        let stream = TcpStream::connect(server.mock).expect("a connection");
        if number % 3 == 0 {
            drop(std::io::Write::write_all(&mut &stream, b"GET / HT"));
        } else if number % 3 == 1 {
            mockd::base::platform::reset_at_close(&stream).expect("a socket");
        }
    }
    wait::eventually("all to be closed", || (open(&server) == 0).then_some(()));
    let after = Usage::back_to(server.pid, &before);
    // Some may still stand in the queue of those to be accepted.
    wait::eventually("a place", || (ask(server.mock, "GET", "/x", &[], b"").status() == 404).then_some(()));
    assert!(!server.log().contains("panicked"));
    println!("connects and closes: {count}; before {before:?}, after {after:?}");
}

/// A silent upstream holds those that wait for it, and nobody else; who leaves is freed.
#[test]
fn an_upstream_that_never_answers_holds_up_only_those_that_wait_for_it() {
    let count = rounds(100, 1_000) as usize;
    let silent = Upstream::raw(|mut conn| {
        conn.stream.set_read_timeout(None).expect("a socket");
        conn.read_to_end();
    });
    let config = format!("upstreams:\n  - {{path: /silent, url: {}}}\n", silent.url());
    let server = Server::builder().config(&config).start();
    let before = settled(&server);
    let waiting: Vec<Conn> = (0..count)
        .map(|_| {
            let mut conn = Conn::open(server.mock);
            conn.send("GET /silent HTTP/1.1\r\nHost: h\r\n\r\n");
            conn
        })
        .collect();
    wait::eventually("all to wait", || (open(&server) == count as u64).then_some(()));
    assert_eq!(ask(server.mock, "GET", "/other", &[], b"").status(), 404);
    let full = Usage::of(server.pid);
    // With a reset: who only ends its sending half right behind its request waits for the answer.
    waiting.iter().for_each(|conn| mockd::base::platform::reset_at_close(&conn.stream).expect("a socket"));
    drop(waiting);
    let after = Usage::back_to(server.pid, &before);
    println!("clients of a silent upstream: {count}; before {before:?}, full {full:?}, after {after:?}");
}
