//! The writing end of a streamed answer: pieces in, chunks (RFC 9112 §7.1) out. It knows nothing of what is written.

use std::io::{self, Write};

use crate::base::limits::READ_BYTES;
use crate::wire::body::{LAST_CHUNK, push_chunk};

/// Gathers small pieces and sends them as one chunk when there are enough of them, or when [`Write::flush`] says so.
/// The head goes out with the first of them.
pub struct Outlet {
    out: Box<dyn Write + Send>,
    head: Vec<u8>,
    pending: Vec<u8>,
    chunked: bool,
    started: bool,
}

impl Outlet {
    /// An outlet that begins with `head`; without `chunked` the body goes out as it is.
    pub fn new(out: Box<dyn Write + Send>, head: Vec<u8>, chunked: bool) -> Self {
        Self { out, head, pending: Vec::with_capacity(READ_BYTES), chunked, started: false }
    }

    /// Sends what is pending, and the end.
    ///
    /// # Errors
    /// The client is gone.
    pub fn finish(mut self) -> io::Result<()> {
        self.send_pending()?;
        if self.chunked {
            self.out.write_all(LAST_CHUNK)?;
        }
        self.out.flush()
    }

    /// What is below, if not one byte has been sent to it.
    pub fn into_unstarted(self) -> Option<Box<dyn Write + Send>> {
        (!self.started).then_some(self.out)
    }

    fn send_pending(&mut self) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.head);
        if self.chunked {
            push_chunk(&mut bytes, &self.pending);
        } else {
            bytes.extend_from_slice(&self.pending);
        }
        self.pending.clear();
        self.started = true;
        self.out.write_all(&bytes)
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= READ_BYTES {
            self.send_pending()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_pending()?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sync;
    use std::sync::{Arc, Mutex};

    /// Keeps what is written to it where the test can see it.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<u8>>>);

    impl Seen {
        fn text(&self) -> String {
            String::from_utf8(sync::lock(&self.0).clone()).unwrap()
        }
    }

    impl Write for Seen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            sync::lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn outlet(chunked: bool) -> (Seen, Outlet) {
        let seen = Seen::default();
        (seen.clone(), Outlet::new(Box::new(seen), b"HEAD\r\n\r\n".to_vec(), chunked))
    }

    #[test]
    fn pieces_are_gathered_until_they_are_flushed() {
        let (seen, mut outlet) = outlet(true);
        outlet.write_all(b"ab").unwrap();
        outlet.write_all(b"c").unwrap();
        assert_eq!(seen.text(), "");
        outlet.flush().unwrap();
        assert_eq!(seen.text(), "HEAD\r\n\r\n3\r\nabc\r\n");
        outlet.flush().unwrap();
        outlet.write_all(b"d").unwrap();
        outlet.finish().unwrap();
        assert_eq!(seen.text(), "HEAD\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n");
    }

    #[test]
    fn an_old_client_gets_the_body_as_it_is() {
        let (seen, mut outlet) = outlet(false);
        outlet.write_all(b"abc").unwrap();
        outlet.finish().unwrap();
        assert_eq!(seen.text(), "HEAD\r\n\r\nabc");
    }

    #[test]
    fn what_failed_before_its_first_byte_can_still_become_an_error() {
        let (_, mut unstarted) = outlet(false);
        unstarted.write_all(b"abc").unwrap();
        assert!(unstarted.into_unstarted().is_some());
        let (_, mut started) = outlet(false);
        started.write_all(&vec![b'x'; READ_BYTES]).unwrap();
        assert!(started.into_unstarted().is_none());
    }
}
