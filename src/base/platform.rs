//! The calls that only some systems have, each behind a plain function. The rest of the crate has no `cfg` of a system.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::sys::socket::{self, MsgFlags};

use super::limits;

/// What a thread that waits for two peers at once was woken by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The first peer has bytes, or has ended.
    Readable,
    /// The second peer has gone.
    Gone,
    /// Nothing happened in time.
    TimedOut,
}

/// A wait without an end; the kernel sets no timer for it.
pub const FOREVER: Duration = Duration::MAX;

/// Asks the kernel to wake sleepers on time (1 ns of slack instead of 50 µs). Threads inherit it, so call it first.
pub fn sharpen_timers() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_timerslack(1) {
        log::debug!("timer slack stays as it is: {error}");
    }
}

/// Binds a listening socket with a backlog of [`limits::BACKLOG`].
///
/// # Errors
/// What the system says: the port is taken, the address is not ours.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // listen(2) again on a listening socket only changes its backlog; std's is 128.
    let backlog = socket::Backlog::new(limits::BACKLOG).unwrap_or(socket::Backlog::MAXCONN);
    if let Err(error) = socket::listen(&listener, backlog) {
        log::debug!("the backlog of {address} stays as it is: {error}");
    }
    Ok(listener)
}

/// Sends what the kernel takes of `bytes` without waiting: `Ok(0)` where it takes none now.
///
/// # Errors
/// The peer is gone.
pub fn send_now(socket: &impl AsRawFd, bytes: &[u8]) -> std::io::Result<usize> {
    loop {
        return match socket::send(socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(nix::errno::Errno::EAGAIN) => Ok(0),
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => Err(error.into()),
        };
    }
}

/// Waits until `socket` takes bytes again; `false` when `limit` is over first.
///
/// # Errors
/// What poll(2) says.
pub fn wait_writable(socket: BorrowedFd<'_>, limit: Duration) -> std::io::Result<bool> {
    use nix::poll::{PollFd, PollFlags};
    let mut fds = [PollFd::new(socket, PollFlags::POLLOUT)];
    poll(&mut fds, limit)
}

/// Waits until `socket` has bytes (or its end) to read; `false` when `limit` is over first.
///
/// # Errors
/// What poll(2) says.
pub fn wait_readable(socket: BorrowedFd<'_>, limit: Duration) -> std::io::Result<bool> {
    use nix::poll::{PollFd, PollFlags};
    let mut fds = [PollFd::new(socket, PollFlags::POLLIN)];
    poll(&mut fds, limit)
}

/// Waits until `source` can be read or `peer` has gone, or for `limit`. A peer whose connection is broken has gone; one that has
/// closed its sending half only has where `half_close_counts`.
///
/// # Errors
/// What poll(2) says.
pub fn wait_either(source: BorrowedFd<'_>, peer: BorrowedFd<'_>, half_close_counts: bool, limit: Duration) -> std::io::Result<Woken> {
    use nix::poll::{PollFd, PollFlags};
    let mut fds =
        [PollFd::new(source, PollFlags::POLLIN), PollFd::new(peer, if half_close_counts { hang_up() } else { PollFlags::empty() })];
    if !poll(&mut fds, limit)? {
        return Ok(Woken::TimedOut);
    }
    Ok(if was_seen(&fds[1]) { Woken::Gone } else { Woken::Readable })
}

/// Waits until `socket` takes bytes again, or `source` has closed its sending half or is broken; gives whether `source` has. Bytes that
/// can be read of it wake nobody; a signal ends the wait as well.
///
/// # Errors
/// What poll(2) says.
pub fn wait_writable_beside(socket: BorrowedFd<'_>, source: BorrowedFd<'_>) -> std::io::Result<bool> {
    use nix::poll::{PollFd, PollFlags};
    let mut fds = [PollFd::new(socket, PollFlags::POLLOUT), PollFd::new(source, hang_up())];
    Ok(poll(&mut fds, FOREVER)? && was_seen(&fds[1]))
}

/// Whether a peer has closed its sending half already; more of it may stand unread before that end.
pub fn has_half_closed(peer: BorrowedFd<'_>) -> bool {
    wait_hang_up(peer, true, Duration::ZERO).unwrap_or(true)
}

/// Waits until the connection of a peer is gone, for which the end of its sending half is enough where `half_close_counts`; `false`
/// when `limit` is over first. What it sends wakes nobody.
///
/// # Errors
/// What poll(2) says.
pub fn wait_hang_up(peer: BorrowedFd<'_>, half_close_counts: bool, limit: Duration) -> std::io::Result<bool> {
    use nix::poll::{PollFd, PollFlags};
    poll(&mut [PollFd::new(peer, if half_close_counts { hang_up() } else { PollFlags::empty() })], limit)
}

/// Waits until the whole connection of a peer is gone, from either side.
pub fn wait_gone(peer: BorrowedFd<'_>) {
    while let Ok(false) = wait_hang_up(peer, false, FOREVER) {}
}

/// Whether poll has something to say of it.
fn was_seen(fd: &nix::poll::PollFd<'_>) -> bool {
    // `None` are bits that nix has no name for, POLLRDHUP among them.
    fd.revents().is_none_or(|events| !events.is_empty())
}

/// What sees the peer's end even where unread bytes stand before it.
fn hang_up() -> nix::poll::PollFlags {
    #[cfg(target_os = "linux")]
    return nix::poll::PollFlags::from_bits_retain(nix::libc::POLLRDHUP);
    #[cfg(not(target_os = "linux"))]
    nix::poll::PollFlags::POLLHUP
}

fn poll(fds: &mut [nix::poll::PollFd<'_>], limit: Duration) -> std::io::Result<bool> {
    use nix::poll::PollTimeout;
    // Up to whole milliseconds: who asks again until its time is over would not wait at all in the last of them.
    let whole = limit.saturating_add(Duration::from_nanos(999_999));
    let timeout = if limit == FOREVER { PollTimeout::NONE } else { PollTimeout::try_from(whole).unwrap_or(PollTimeout::MAX) };
    match nix::poll::poll(fds, timeout) {
        Ok(ready) => Ok(ready > 0),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Turns on TCP keep-alive, so that a peer that vanished is found within some two minutes.
pub fn keep_alive(socket: &impl AsFd) {
    let result = socket::setsockopt(socket, socket::sockopt::KeepAlive, &true);
    #[cfg(target_os = "linux")]
    let result = result
        .and_then(|()| socket::setsockopt(socket, socket::sockopt::TcpKeepIdle, &60))
        .and_then(|()| socket::setsockopt(socket, socket::sockopt::TcpKeepInterval, &15))
        .and_then(|()| socket::setsockopt(socket, socket::sockopt::TcpKeepCount, &4));
    if let Err(error) = result {
        log::debug!("keep-alive stays off: {error}");
    }
}

/// Asks the system to note when what comes to a TCP socket reached it, for [`receive_noted`]; gives whether it can.
pub fn note_arrivals(socket: &impl AsFd) -> bool {
    #[cfg(target_os = "linux")]
    return socket::setsockopt(socket, socket::sockopt::ReceiveTimestampns, &true).is_ok();
    #[cfg(not(target_os = "linux"))]
    {
        // Others note it for datagrams alone.
        let _ = socket;
        false
    }
}

/// Reads as recv(2) does, and gives when the last of these bytes reached the system, in microseconds of the wall clock, where that was
/// noted. `room` is for the system's answer, and is kept from read to read.
///
/// # Errors
/// What recvmsg(2) says.
pub fn receive_noted(socket: &impl AsFd, buffer: &mut [u8], room: &mut Vec<u8>) -> std::io::Result<(usize, Option<u64>)> {
    room.resize(socket::cmsg_space::<nix::sys::time::TimeSpec>(), 0);
    let mut parts = [std::io::IoSliceMut::new(buffer)];
    let read = socket::recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut parts, Some(room), MsgFlags::empty())?;
    let noted = read.cmsgs().ok().and_then(|mut words| {
        words.find_map(|word| match word {
            #[cfg(target_os = "linux")]
            socket::ControlMessageOwned::ScmTimestampns(at) => u64::try_from(nix::sys::time::TimeValLike::num_microseconds(&at)).ok(),
            _ => None,
        })
    });
    Ok((read.bytes, noted))
}

/// Makes the close of a socket a reset.
///
/// # Errors
/// What setsockopt(2) says.
pub fn reset_at_close(socket: &impl AsFd) -> std::io::Result<()> {
    socket::setsockopt(socket, socket::sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).map_err(Into::into)
}

/// Raises the soft limit of open files to the hard one and gives the limit that is then in force.
pub fn raise_open_files() -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    // Some systems report a hard limit that they refuse to set; then the soft one stays.
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// Descriptors of a call on the admin port: its client's, and those of the socket between the gate and the HTTP server behind it.
const FILES_OF_A_CALL: u64 = 4;

/// How many connections the admin port may have at once: [`limits::ADMIN_CONNECTIONS`], or fewer where their descriptors would be more
/// than a quarter of those that there are.
pub fn admin_connection_cap(open_files: u64) -> u64 {
    limits::ADMIN_CONNECTIONS.min(open_files / 4 / FILES_OF_A_CALL).max(4)
}

/// How many connections of two threads on the mock port the kernel's limits on maps, files, threads and processes allow, beside those of
/// the admin port.
pub fn connection_cap(open_files: u64) -> u64 {
    let mut cap = open_files.saturating_sub(200 + FILES_OF_A_CALL * admin_connection_cap(open_files)) / 3;
    #[cfg(target_os = "linux")]
    {
        let number = |path: &str| std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
        if let Some(maps) = number("/proc/sys/vm/max_map_count") {
            cap = cap.min(maps.saturating_sub(1000) / 8);
        }
        let processes = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NPROC).ok().map(|(soft, _)| soft);
        let threads = [
            number("/proc/sys/kernel/pid_max"),
            number("/proc/sys/kernel/threads-max"),
            number("/sys/fs/cgroup/pids.max"),
            number("/sys/fs/cgroup/pids/pids.max"),
            processes,
        ];
        for limit in threads.into_iter().flatten() {
            cap = cap.min(limit.saturating_sub(500) / 2);
        }
    }
    cap.max(8)
}

/// Makes sure that `file` can grow up to `len` bytes without the disk being full; its size stays as it is. Gives whether this
/// system and this disk can promise that.
///
/// # Errors
/// What fallocate(2) says: the disk is full.
pub fn reserve(file: &std::fs::File, len: u64) -> std::io::Result<bool> {
    #[cfg(target_os = "linux")]
    {
        use nix::errno::Errno;
        use nix::fcntl::{FallocateFlags, fallocate};
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, len) {
            Ok(()) => Ok(true),
            Err(error @ (Errno::ENOSPC | Errno::EDQUOT | Errno::EIO | Errno::EFBIG)) => Err(error.into()),
            Err(_) => Ok(false),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        // Other systems promise nothing, so there is nothing to ask for.
        let _ = (file, len);
        Ok(false)
    }
}

/// Bytes that the disk below a directory still takes; `None` where it does not say.
pub fn free_bytes(dir: &std::path::Path) -> Option<u64> {
    let disk = nix::sys::statvfs::statvfs(dir).ok()?;
    Some(disk.blocks_available().saturating_mul(disk.fragment_size()))
}

/// A signal that steers the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT or SIGTERM: end.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// Blocks SIGINT, SIGTERM and SIGHUP for every thread; call it before the first thread starts, then [`next_signal`].
pub fn hold_signals() {
    if let Err(error) = held_signals().thread_block() {
        log::warn!("signals stay as they are: {error}");
    }
}

/// Waits for the next held signal.
pub fn next_signal() -> Signal {
    loop {
        match held_signals().wait() {
            Ok(nix::sys::signal::Signal::SIGHUP) => return Signal::Reload,
            Ok(_) => return Signal::Stop,
            Err(_) => continue,
        }
    }
}

/// A signal that ends a command that waits for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// Its number, as in 128 + 15.
    pub number: i32,
    /// Whether the terminal sent it, and so to everything in the foreground.
    pub from_terminal: bool,
}

/// Waits for the next held signal, whichever; only the held ones of [`hold_signals`] are seen.
pub fn next_stop() -> Stop {
    #[cfg(target_os = "linux")]
    if let Ok(signals) = nix::sys::signalfd::SignalFd::with_flags(&held_signals(), nix::sys::signalfd::SfdFlags::SFD_CLOEXEC) {
        loop {
            if let Ok(Some(info)) = signals.read_signal() {
                // Codes of the kernel are above 0; a process that sends one has 0 or less (sigaction(2)).
                return Stop { number: i32::try_from(info.ssi_signo).unwrap_or(15), from_terminal: info.ssi_code > 0 };
            }
        }
    }
    loop {
        if let Ok(signal) = held_signals().wait() {
            let from_terminal = signal == nix::sys::signal::Signal::SIGINT && std::io::IsTerminal::is_terminal(&std::io::stdin());
            return Stop { number: signal as i32, from_terminal };
        }
    }
}

/// Sends a signal to a process. One that is gone needs none.
pub fn send_signal(pid: u32, number: i32) {
    let signal = nix::sys::signal::Signal::try_from(number).unwrap_or(nix::sys::signal::Signal::SIGTERM);
    let Ok(pid) = i32::try_from(pid) else { return };
    if let Err(error) = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal) {
        log::debug!("process {pid} got no {signal}: {error}");
    }
}

/// Whether there is a process of this number, whoever's.
pub fn is_alive(pid: u32) -> bool {
    // 0 and less would mean groups of processes.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0).map(nix::unistd::Pid::from_raw);
    pid.is_some_and(|pid| nix::sys::signal::kill(pid, None) != Err(nix::errno::Errno::ESRCH))
}

/// Asks a process to end (SIGTERM).
pub fn terminate(pid: u32) {
    send_signal(pid, nix::sys::signal::Signal::SIGTERM as i32);
}

/// Leaves the terminal's session, so that neither its keys nor its end reach this process.
pub fn leave_session() {
    if let Err(error) = nix::unistd::setsid() {
        log::debug!("this process stays in its session: {error}");
    }
}

fn held_signals() -> nix::sys::signal::SigSet {
    use nix::sys::signal::{SigSet, Signal};
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGHUP);
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_port_has_its_share_of_the_files_and_the_mock_port_the_rest() {
        for (files, admin) in [(20_000, 256), (4_096, 256), (1_024, 64), (400, 25), (64, 4), (0, 4)] {
            assert_eq!(admin_connection_cap(files), admin, "{files}");
        }
        for files in [400, 1_024, 4_096, 20_000, 1_000_000] {
            let all = 3 * connection_cap(files) + FILES_OF_A_CALL * admin_connection_cap(files);
            assert!(all + 200 <= files, "{files}: {all}");
        }
    }
}
