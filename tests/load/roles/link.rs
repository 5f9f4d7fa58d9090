//! A client's connection: TCP or TLS, that does not block once its handshake is done, and the epoll that waits for it. One thread, no
//! allocation once it runs.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use super::{number, word};
use crate::Result;

/// A connection.
pub enum Link {
    /// TCP.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Link {
    /// Connects to the port of a target (`tls`: names the CA's file).
    pub fn open(target: &Value) -> Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", u16::try_from(number(target, "port")?)?))?;
        socket.set_nodelay(true)?;
        let Some(ca) = target["tls"].as_str() else { return Ok(Self::Plain(socket)) };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca)? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let tls = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost")?)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(tls, socket))))
    }

    /// Sends the request for the target's path: a WebSocket handshake, or a GET where `get` is set.
    pub fn request(&mut self, target: &Value) -> Result<()> {
        let path = word(target, "path")?;
        let upgrade = if target["get"] == true {
            "Accept: text/event-stream\r\n"
        } else {
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        };
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n").as_bytes())
    }

    /// From here on reading does not block.
    pub fn unblock(&self) -> Result<()> {
        Ok(self.socket().set_nonblocking(true)?)
    }

    /// Reads what is there; `None` where there is nothing now.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        let read = match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        };
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes all of it; the few bytes that a client sends always fit.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes)?,
            Self::Tls(tls) => {
                tls.write_all(bytes)?;
                tls.flush()?;
            }
        }
        Ok(())
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.sock,
        }
    }
}

/// Waits for many connections, each known by a number.
pub struct Waiter {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Waiter {
    /// One that gives at most so many at once.
    pub fn new(most: usize) -> Result<Self> {
        Ok(Self { epoll: Epoll::new(EpollCreateFlags::empty())?, events: vec![EpollEvent::empty(); most] })
    }

    /// Waits for this one too.
    pub fn add(&self, link: &Link, number: usize) -> Result<()> {
        Ok(self.epoll.add(link.socket(), EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?)
    }

    /// Waits for a file as well: the end of stdin.
    pub fn add_fd(&self, fd: BorrowedFd<'_>, number: usize) -> Result<()> {
        Ok(self.epoll.add(fd.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?)
    }

    /// The numbers of those that have something to read, after at most so many milliseconds.
    pub fn wait(&mut self, limit_ms: u16) -> Result<impl Iterator<Item = usize>> {
        let count = match self.epoll.wait(&mut self.events, EpollTimeout::from(limit_ms)) {
            Err(nix::errno::Errno::EINTR) => 0,
            other => other?,
        };
        Ok(self.events[..count].iter().map(|event| event.data() as usize))
    }
}

/// Finds where a response's head ends in what came so far; an error where its status is another.
pub fn head_end(bytes: &[u8], status: &str) -> Result<Option<usize>> {
    let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    if bytes.get(9..12) != Some(status.as_bytes()) {
        return Err(format!("not {status}: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(300)])).into());
    }
    Ok(Some(at + 4))
}
