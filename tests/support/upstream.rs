//! Scripted upstreams on free ports: a thread per connection that hands the request to the test's closure. It knows nothing of mockd.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::http::{Conn, Head};
use super::wait;
use super::ws::Raw;

/// A running upstream; it stops accepting when it is dropped.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    heads: Receiver<Head>,
    ended: Arc<AtomicBool>,
}

impl Upstream {
    /// Every connection's every request goes to `handler` with its connection, once per connection: the handler reads further requests itself.
    pub fn http(handler: impl Fn(Head, Conn) + Send + Sync + 'static) -> Self {
        let (sender, heads) = channel();
        let (address, ended) = listen(move |stream| serve(stream, &sender, &handler));
        Self { address, heads, ended }
    }

    /// Hands every connection to `handler` as it comes: nothing has been read.
    pub fn raw(handler: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        let (_, heads) = channel();
        let (address, ended) = listen(move |stream| handler(Conn::over(stream)));
        Self { address, heads, ended }
    }

    /// Answers every request of every connection with these bytes.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::http(move |head, mut conn| {
            let mut next = Some(head);
            while let Some(head) = next {
                conn.body(&head);
                conn.send(&answer);
                next = conn.try_head();
            }
        })
    }

    /// Accepts WebSockets with this subprotocol and hands them to `handler`.
    pub fn websocket(subprotocol: Option<&'static str>, handler: impl Fn(Raw) + Send + Sync + 'static) -> Self {
        Self::http(move |head, conn| handler(Raw::accept(conn, head, subprotocol)))
    }

    /// A WebSocket that follows a script (see `ws.rs`).
    pub fn script(script: &'static str) -> Self {
        Self::websocket(None, move |mut raw| raw.run(script))
    }

    /// A WebSocket by tungstenite that sends back what it gets, answers pings, and closes as it is closed.
    pub fn echo() -> Self {
        let (_, heads) = channel();
        let (address, ended) = listen(|stream| {
            let Ok(mut socket) = tungstenite::accept(stream) else { return };
            while let Ok(message) = socket.read() {
                if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                    return;
                }
            }
        });
        Self { address, heads, ended }
    }

    /// An event stream: sends the head and these parts, each in a write of its own, and ends the stream.
    pub fn events(parts: &'static [&'static str]) -> Self {
        Self::http(move |head, mut conn| {
            conn.body(&head);
            conn.send(EVENT_STREAM);
            parts.iter().for_each(|part| conn.send_chunk(part));
            conn.send("0\r\n\r\n");
            drop(conn.try_head());
        })
    }

    /// `http://127.0.0.1:N`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request's head that came in.
    #[track_caller]
    pub fn head(&self) -> Head {
        wait::next("a request at the upstream", &self.heads)
    }

    /// Whether no request has come in that nobody asked about.
    pub fn is_unasked(&self) -> bool {
        self.heads.try_recv().is_err()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread; if nobody listens any more, it has ended already.
        drop(TcpStream::connect(self.address));
    }
}

/// The head of a chunked event stream.
pub const EVENT_STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Two ends of a signal between a test and its upstream's closure, which must be `Sync`.
pub fn gate() -> (Sender<()>, Gate) {
    let (sender, receiver) = channel();
    (sender, Gate(Arc::new(std::sync::Mutex::new(receiver))))
}

/// The waiting end of a [`gate`].
#[derive(Debug, Clone)]
pub struct Gate(Arc<std::sync::Mutex<Receiver<()>>>);

impl Gate {
    /// Waits until the test lets it pass.
    pub fn wait(&self) -> bool {
        self.0.lock().expect("no holder panics").recv_timeout(wait::DEADLINE).is_ok()
    }
}

fn serve(stream: TcpStream, heads: &Sender<Head>, handler: &(impl Fn(Head, Conn) + Send + Sync)) {
    let mut conn = Conn::over(stream);
    if let Some(head) = conn.try_head() {
        // The test may have ended; then nobody listens.
        drop(heads.send(head.clone()));
        handler(head, conn);
    }
}

fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let ended = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ended);
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if seen.load(Ordering::SeqCst) {
                return;
            }
            let (Ok(stream), serve) = (stream, Arc::clone(&serve)) else { continue };
            std::thread::spawn(move || serve(stream));
        }
    });
    (address, ended)
}

/// A port at which nobody listens.
pub fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
