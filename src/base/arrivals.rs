//! When bytes reached this machine. A thread that reads them may be woken late, where others use the cores, or where the machine is virtual
//! and its host does not run it: the system notes the moment by itself, and says it with each read. What a moment is used for never belongs
//! here.

use std::io::{ErrorKind, Read, Result};
use std::os::fd::AsFd;

use super::platform;

/// When what was read last from one socket had reached this machine, where somebody wants to know.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Room for the system's answer. None: it is not asked.
    room: Option<Vec<u8>>,
    wall_us: Option<u64>,
}

impl Arrivals {
    /// Asked for from now on, of what comes to this TCP socket; where the system cannot say, reads are plain ones.
    pub fn at(socket: &impl AsFd) -> Self {
        Self { room: platform::note_arrivals(socket).then(Vec::new), wall_us: None }
    }

    /// When the last byte of the last read arrived, in microseconds of the wall clock; `None` where that is not known.
    pub fn wall_us(&self) -> Option<u64> {
        self.wall_us
    }

    /// Reads once, beginning again where a signal broke it off.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(&mut self, mut socket: impl Read + AsFd, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let result = match &mut self.room {
                None => socket.read(buffer).map(|read| (read, None)),
                Some(room) => platform::receive_noted(&socket, buffer, room),
            };
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok((read, wall_us)) => {
                    self.wall_us = wall_us;
                    return Ok(read);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::base::time;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        near.set_nodelay(true).expect("no delay");
        (near, listener.accept().expect("a connection").0)
    }

    #[test]
    fn the_moment_is_that_of_the_arrival_however_late_it_is_read() {
        let (mut near, far) = pair();
        let mut arrivals = Arrivals::at(&far);
        let mut buffer = [0; 9];
        // The system begins to note within a moment of being asked.
        loop {
            near.write_all(b"x").expect("room");
            assert_eq!(arrivals.read(&far, &mut buffer).expect("a byte"), 1);
            if arrivals.wall_us().is_some() {
                break;
            }
        }
        for part in [&b"one"[..], b"three"] {
            let before = time::wall_us();
            near.write_all(part).expect("room");
            let after = time::wall_us();
            std::thread::sleep(Duration::from_millis(30));
            assert_eq!(arrivals.read(&far, &mut buffer).expect("bytes"), part.len());
            let arrived = arrivals.wall_us().expect("a moment");
            assert!((before..=after).contains(&arrived), "{before} {arrived} {after}");
        }
        drop(near);
        assert_eq!((arrivals.read(&far, &mut buffer).expect("the end"), arrivals.wall_us()), (0, None));
    }

    #[test]
    fn who_does_not_ask_or_cannot_be_told_reads_all_the_same() {
        let (mut near, far) = pair();
        let (mut unix, other) = UnixStream::pair().expect("a pair");
        let mut buffer = [0; 9];
        near.write_all(b"bytes").expect("room");
        unix.write_all(b"bytes").expect("room");
        let mut arrivals = Arrivals::default();
        assert_eq!((arrivals.read(&far, &mut buffer).expect("bytes"), arrivals.wall_us()), (5, None));
        let mut arrivals = Arrivals::at(&other);
        assert_eq!(arrivals.read(&other, &mut buffer).expect("bytes"), 5);
        far.set_read_timeout(Some(Duration::from_millis(1))).expect("a limit");
        let read = Arrivals::at(&far).read(&far, &mut buffer);
        assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
    }
}
