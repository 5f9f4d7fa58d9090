//! Connections whose other end takes nothing: filled until they are stuck, told apart by what the kernel says of them, and left. What
//! mockd should do then is not said here.

use std::time::{Duration, Instant};

use super::http::Conn;
use super::wait::DEADLINE;

/// What has not moved for so long does not: a busy machine may need the third of it for itself.
const STUCK: Duration = Duration::from_secs(1);

/// Sends until the other side has taken no byte for a while; how many it took.
pub fn push_until_stuck(conn: &mut Conn, bytes: &[u8], most: usize) -> usize {
    conn.stream.set_write_timeout(Some(STUCK)).expect("a time-out can be set");
    let mut sent = 0;
    while sent < most {
        // Always whole frames from where the last write ended.
        match conn.write(&bytes[sent % bytes.len()..]) {
            Ok(written) => sent += written,
            Err(_) => break,
        }
    }
    sent
}

/// Sends through a relay until that is stuck, for its other side takes nothing, and no more: all that was sent is with it. TCP would keep
/// an end of ours back behind bytes for which there is no room. How many bytes that is.
#[track_caller]
pub fn push_until_relay_sticks(conn: &mut Conn, bytes: &[u8]) -> usize {
    /// More than the kernel holds on the way.
    const MOST: usize = 60 << 20;
    let mut sent = 0;
    while sent < MOST {
        let rest = &bytes[sent % bytes.len()..];
        let piece = &rest[..rest.len().min(32_768)];
        conn.send(piece);
        sent += piece.len();
        let (mut last, mut since) = ((0, 0), Instant::now());
        while let now = queues(conn)
            && now != (0, 0)
        {
            if now != last {
                (last, since) = (now, Instant::now());
            }
            // The table has all connections of the machine: it is not asked for often.
            std::thread::park_timeout(Duration::from_millis(20));
            if now.0 == 0 && since.elapsed() > STUCK {
                return sent;
            }
            assert!(since.elapsed() < DEADLINE, "the relay's kernel did not take a piece");
        }
    }
    panic!("{sent} bytes were taken, and nobody read one");
}

/// Bytes of ours that the other end's kernel has not taken, and those that it has and its program has not, as Linux tells it.
fn queues(conn: &Conn) -> (u64, u64) {
    let port = |address: std::io::Result<std::net::SocketAddr>| address.expect("a connection has two ends").port();
    let [ours, theirs] = [port(conn.stream.local_addr()), port(conn.stream.peer_addr())];
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table of connections");
    // Local address, remote address, state, bytes not sent yet and not read yet. There may be many lines: they are not taken apart.
    let queues = |from: u16, to: u16| {
        let ends = format!(":{from:04X} 0100007F:{to:04X} ");
        let rest = &table[table.find(&ends).expect("ours is in it") + ends.len()..];
        let (unsent, unread) = rest[3..20].split_once(':').expect("two numbers");
        [unsent, unread].map(|number| u64::from_str_radix(number, 16).expect("a number"))
    };
    (queues(ours, theirs)[0], queues(theirs, ours)[1])
}

/// Ends a connection with a reset: what was sent to it is unread when it is closed.
pub fn reset(conn: Conn) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(&conn.stream, nix::sys::socket::sockopt::Linger, &linger).expect("linger can be set");
    drop(conn);
}
