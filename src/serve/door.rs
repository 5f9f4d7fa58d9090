//! A door: a port's listeners, its accept loops, and the loop of requests on each connection. Both ports are doors; what is
//! behind one is given by the one who opens it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::base::error::{Error, Result};
use crate::base::sync::Place;
use crate::base::{limits, platform, sync};
use crate::engine::answer;
use crate::engine::flow::discard;
use crate::engine::inlet::{HeadLimits, Inlet, NoHead};
use crate::engine::relay_http::After;
use crate::wire::head::{Headers, RequestHead};
use crate::wire::stream::Stream;

/// A port that listens: on its address, and for 127.0.0.1 on [::1] as well, where there is one.
#[derive(Debug)]
pub struct Port {
    listeners: Vec<TcpListener>,
    /// Where it listens, the first address.
    pub address: SocketAddr,
}

impl Port {
    /// Binds it. `flag` is named by the error.
    ///
    /// # Errors
    /// The host is no address of this machine, the port is taken.
    pub fn bind(host: &str, port: u16, flag: &str) -> Result<Self> {
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let name = if name.eq_ignore_ascii_case("localhost") { "127.0.0.1" } else { name };
        let ip: IpAddr =
            name.parse().map_err(|_| Error::Usage(format!("{flag}: {host:?} is no IP address; use 127.0.0.1, ::1 or 0.0.0.0")))?;
        let failed = |error: std::io::Error| {
            Error::Failed(format!("cannot listen on {}: {error}; choose another port with {flag}", SocketAddr::new(ip, port)))
        };
        // A free port that one family has may be taken in the other; then the next one is tried.
        for _ in 0..16 {
            let first = platform::listen(SocketAddr::new(ip, port)).map_err(failed)?;
            let address = first.local_addr().map_err(failed)?;
            let mut listeners = vec![first];
            let beside = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), address.port());
            if ip.is_ipv4() && (ip.is_loopback() || ip.is_unspecified()) {
                match platform::listen(beside) {
                    Ok(second) => listeners.push(second),
                    Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && port == 0 => continue,
                    Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => return Err(failed(error)),
                    Err(error) => log::debug!("not listening on {beside}: {error}"),
                }
            }
            return Ok(Self { listeners, address });
        }
        Err(Error::Failed(format!("no port is free on both 127.0.0.1 and [::1]; choose one with {flag}")))
    }
}

/// What stands behind a door.
pub trait Behind: Send + Sync + 'static {
    /// The limits of a head.
    fn head_limits(&self) -> HeadLimits;
    /// Connections at once.
    fn max_connections(&self) -> u64;
    /// Another connection has come; `admitted` says whether it is served.
    fn count(&self, admitted: bool);
    /// What a connection over the limit is told: the limit, and what to do.
    fn too_many(&self) -> String;
    /// More header fields for the answer to a head that is refused; `read` is what there is of it.
    fn refusal_fields(&self, _read: &[u8]) -> Headers {
        Headers::default()
    }
    /// Answers one request; takes the connection where the stream is no HTTP any more.
    fn answer(&self, client: Inlet, head: RequestHead, peer: SocketAddr) -> Option<(Inlet, After)>;
}

/// Opens a door: a thread for each listener, a thread for each connection; `open` counts the connections.
///
/// # Errors
/// The system gives no thread.
pub fn open(name: &'static str, port: Port, behind: &Arc<impl Behind>, open: &Arc<AtomicU64>) -> Result<()> {
    let (refuse, refused) = sync_channel(limits::MAX_REFUSED);
    let words = behind.too_many();
    sync::spawn("refuser", move || turn_away(&refused, &words))?;
    for listener in port.listeners {
        let (behind, open, refuse) = (Arc::clone(behind), Arc::clone(open), refuse.clone());
        sync::spawn(name, move || accept(name, &listener, &behind, &open, &refuse))?;
    }
    Ok(())
}

fn accept(name: &str, listener: &TcpListener, behind: &Arc<impl Behind>, open: &Arc<AtomicU64>, refuse: &SyncSender<TcpStream>) {
    loop {
        let (tcp, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or a client that left before it was accepted: the listener stays.
                log::debug!("{name}: accept failed: {error}");
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
        };
        let place = Place::take(open);
        let admitted = place.number <= behind.max_connections();
        behind.count(admitted);
        if !admitted {
            // Where even the queue of refusals is full the connection is dropped without a word.
            drop(refuse.try_send(tcp));
            continue;
        }
        if let Err(error) = tcp.set_nodelay(true) {
            log::debug!("{name}: no TCP_NODELAY: {error}");
        }
        platform::keep_alive(&tcp);
        let behind = Arc::clone(behind);
        let started = sync::spawn(name, move || {
            let _place = place;
            serve(&*behind, Inlet::new(Arc::new(Stream::Tcp(tcp))), peer);
        });
        if let Err(error) = started {
            log::warn!("{name}: a connection is dropped: {error}");
        }
    }
}

fn serve(behind: &impl Behind, mut client: Inlet, peer: SocketAddr) {
    // While a panic unwinds the socket is closed with its last reference.
    loop {
        match client.read_request(behind.head_limits()) {
            Ok(head) => match behind.answer(client, head, peer) {
                Some((back, After::KeepAlive)) => client = back,
                Some((back, After::Close)) => {
                    // A close with unread bytes, or before bytes that are on their way, would be a reset, which overtakes the answer.
                    back.stream.shutdown_write();
                    discard(&back.stream, Duration::from_millis(limits::CLOSE_GRACE_MS));
                    return;
                }
                Some((back, After::Reset)) => {
                    if let Err(error) = back.stream.reset_at_close() {
                        log::debug!("a connection cannot be reset: {error}");
                    }
                    return;
                }
                None => return,
            },
            Err(NoHead::Closed) => return,
            Err(NoHead::Refused(malformed)) => {
                let fields = behind.refusal_fields(client.data());
                answer::refuse_unread(&mut client, &malformed, fields);
                return;
            }
        }
    }
}

/// Answers connections over the cap with 503: written, then drained for up to a second, so that the answer arrives. One thread does it for all.
fn turn_away(refused: &Receiver<TcpStream>, words: &str) {
    let body = format!("{}\n", serde_json::json!({"error": "too_many_connections", "message": words}));
    let response = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut draining: Vec<(TcpStream, Instant)> = Vec::new();
    loop {
        let first = if draining.is_empty() {
            match refused.recv() {
                Ok(tcp) => Some(tcp),
                Err(_) => return,
            }
        } else {
            refused.recv_timeout(Duration::from_millis(20)).ok()
        };
        // All that wait are answered before the drained ones are looked at once more: in a flood that would be the most of the work.
        for tcp in first.into_iter().chain(refused.try_iter().take(limits::MAX_REFUSED)) {
            if tcp.set_nonblocking(true).is_ok()
                && platform::send_now(&tcp, response.as_bytes()).is_ok()
                && tcp.shutdown(std::net::Shutdown::Write).is_ok()
            {
                draining.push((tcp, Instant::now() + Duration::from_millis(limits::CLOSE_GRACE_MS)));
            }
        }
        let now = Instant::now();
        draining.retain(|(tcp, deadline)| now < *deadline && !is_drained(tcp));
        // They hold descriptors: the oldest have had their time where there are too many.
        draining.drain(..draining.len().saturating_sub(limits::MAX_REFUSED));
    }
}

/// Reads what there is; `true` when the peer has ended.
fn is_drained(mut tcp: &TcpStream) -> bool {
    use std::io::Read;
    let mut buffer = [0; 4096];
    // Bounded, so that one that floods does not hold up the others.
    for _ in 0..16 {
        match tcp.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
    false
}
