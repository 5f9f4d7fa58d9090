//! The upstream of all relays, a thread for each connection: an echo, floods of frames, frames and events that say when they were sent.
//! What it does is said by the path of the request. It checks nothing: the clients do.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use mockd::wire::ws::{self, opcode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tungstenite::handshake::derive_accept_key;

use super::client_events::mark;
use super::{say, word};
use crate::{Result, clock, content};

/// Listens until the bench ends.
pub fn run(spec: &Value) -> Result<()> {
    clock::sharpen()?;
    // A crowd comes faster than the backlog of std's listeners is emptied.
    let listener = mockd::base::platform::listen("127.0.0.1:0".parse()?)?;
    let tls = if spec["certificate"].is_string() { Some(config(spec)?) } else { None };
    say(&json!({"port": listener.local_addr()?.port()}));
    for socket in listener.incoming() {
        let (socket, tls) = (socket?, tls.clone());
        std::thread::spawn(move || {
            // A connection that ends is the other side's wish.
            if let Err(error) = accept(socket, tls)
                && error.downcast_ref::<std::io::Error>().is_none()
            {
                eprintln!("upstream: {error}");
            }
        });
    }
    Ok(())
}

fn config(spec: &Value) -> Result<Arc<ServerConfig>> {
    let certificates = CertificateDer::pem_file_iter(word(spec, "certificate")?)?.collect::<std::result::Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(word(spec, "key")?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_no_client_auth().with_single_cert(certificates, key)?))
}

fn accept(socket: TcpStream, tls: Option<Arc<ServerConfig>>) -> Result<()> {
    socket.set_nodelay(true)?;
    match tls {
        Some(config) => serve(StreamOwned::new(ServerConnection::new(config)?, socket)),
        None => serve(socket),
    }
}

fn serve(mut stream: impl Read + Write) -> Result<()> {
    let mut head = Vec::new();
    let mut part = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut part)? {
            0 => return Ok(()),
            read => head.extend_from_slice(&part[..read]),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let given = |name: &str| -> Option<u64> { query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok()) };
    let asked = |name: &str| given(name).ok_or_else(|| format!("no {name} in {target}"));
    if path == "/events" {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")?;
        return send_marks(&mut stream, asked("n")?, asked("gap")?, clock::now_ns, |bytes| bytes.to_vec());
    }
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
    });
    let accept = derive_accept_key(key.ok_or_else(|| format!("no handshake: {head}"))?.as_bytes());
    let response =
        format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n");
    stream.write_all(response.as_bytes())?;
    stream.flush()?;
    match path {
        "/echo" => return echo(&mut stream),
        "/flood" => {
            let block = content::block(asked("size")? as usize);
            // Whole blocks, or one frame a write; bytes a second where a rate is given.
            let unit = given("frames").map_or(block.len(), |count| block.len() / count as usize);
            if given("whole").is_some() {
                let whole = whole(asked("size")?, asked("blocks")?);
                whole.chunks(content::BLOCK_BYTES).try_for_each(|part| stream.write_all(part))?;
            } else {
                flood(&mut stream, &block, unit, asked("blocks")?, given("rate"))?;
            }
        }
        "/stamps" => send_marks(&mut stream, asked("n")?, asked("gap")?, clock::wall_ns, |bytes| {
            let mut frame = Vec::new();
            ws::push_frame(&mut frame, opcode::TEXT, bytes, None);
            frame
        })?,
        "/paced" => send_paced(&mut stream, asked("n")?, asked("gap")?, asked("size")? as usize)?,
        other => return Err(format!("no path {other}").into()),
    }
    // The client ends the connection when it has everything: a reset could overtake the last bytes.
    while stream.read(&mut part)? > 0 {}
    Ok(())
}

/// All blocks one after the other, as a recording's bytes lie in memory: more than any cache holds. Made once.
fn whole(size: u64, blocks: u64) -> Arc<Vec<u8>> {
    type Made = BTreeMap<(u64, u64), Arc<Vec<u8>>>;
    static MADE: Mutex<Made> = Mutex::new(Made::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(made.entry((size, blocks)).or_insert_with(|| Arc::new(content::block(size as usize).repeat(blocks as usize))))
}

/// A loop of writes of some 64 KiB, which is also what raw writing is measured by.
fn flood(stream: &mut impl Write, block: &[u8], unit: usize, blocks: u64, rate: Option<u64>) -> Result<()> {
    let start = clock::now_ns();
    let mut sent = 0;
    for _ in 0..blocks {
        for part in block.chunks(unit) {
            if let Some(rate) = rate {
                clock::wait_until(start + (u128::from(sent) * 1_000_000_000 / u128::from(rate)) as u64);
            }
            stream.write_all(part)?;
            sent += part.len() as u64;
        }
    }
    Ok(())
}

/// Sends `count` frames with texts of `size` bytes, one every `gap_us`: a wait and a write each, and nothing else.
fn send_paced(stream: &mut impl Write, count: u64, gap_us: u64, size: usize) -> Result<()> {
    let start = clock::now_ns();
    for number in 0..count {
        let frame = content::frames([content::text(size, number).as_str()]);
        clock::wait_until(start + (number + 1) * gap_us * 1000);
        stream.write_all(&frame)?;
    }
    Ok(())
}

/// Sends `count` marks, one every `gap_us`, each with the time of its write.
fn send_marks(stream: &mut impl Write, count: u64, gap_us: u64, now: fn() -> u64, wrap: fn(&[u8]) -> Vec<u8>) -> Result<()> {
    let start = clock::now_ns();
    for number in 0..count {
        clock::wait_until(start + (number + 1) * gap_us * 1000);
        let bytes = wrap(&mark(number, now()));
        stream.write_all(&bytes)?;
    }
    Ok(())
}

/// Sends every message back, unmasked.
fn echo(stream: &mut (impl Read + Write)) -> Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    let mut out = Vec::with_capacity(buffer.len());
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..])? {
            0 => return Ok(()),
            read => filled += read,
        }
        let mut at = 0;
        while let Some((payload, mask, end)) = frame_at(&buffer[..filled], at) {
            let opcode = buffer[at] & 0x0f;
            let payload = &mut buffer[payload..end];
            let key = u64::from_ne_bytes([mask, mask].concat().try_into().unwrap_or_default());
            let (words, rest) = payload.as_chunks_mut::<8>();
            words.iter_mut().for_each(|word| *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes());
            rest.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
            out.clear();
            ws::push_frame(&mut out, opcode, payload, None);
            stream.write_all(&out)?;
            stream.flush()?;
            if opcode == ws::opcode::CLOSE {
                return Ok(());
            }
            at = end;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
}

/// Where the payload of the masked frame at `at` begins, its mask, and where it ends; `None` while it is not all there.
fn frame_at(bytes: &[u8], at: usize) -> Option<(usize, [u8; 4], usize)> {
    let short = usize::from(bytes.get(at + 1)? & 0x7f);
    let (len, after) = match short {
        126 => (usize::from(u16::from_be_bytes(bytes.get(at + 2..at + 4)?.try_into().ok()?)), at + 4),
        127 => (u64::from_be_bytes(bytes.get(at + 2..at + 10)?.try_into().ok()?) as usize, at + 10),
        short => (short, at + 2),
    };
    let mask = bytes.get(after..after + 4)?.try_into().ok()?;
    let end = after + 4 + len;
    (end <= bytes.len()).then_some((after + 4, mask, end))
}
