//! The App owns everything that lives as long as the server; it is built once and passed by `Arc`.

use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::deck::Deck;
use super::live::Live;
use super::mocks::Mocks;
use super::recorder::Recorder;
use super::recordings::{Recordings, Standing};
use super::replays::Replays;
use super::upstream::Upstreams;
use crate::base::error::Result;
use crate::base::limits;
use crate::model::recording::Protocol;
use crate::model::settings::Settings;
use crate::rules::redact::Redactor;
use crate::store::Store;

/// What has happened since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections on the mock port.
    pub accepted: AtomicU64,
    /// Of these, answered 503.
    pub refused: AtomicU64,
    /// Requests on the mock port.
    pub requests: AtomicU64,
}

/// The server's state.
#[derive(Debug)]
pub struct App {
    /// The settings in force.
    pub settings: Settings,
    /// The recordings on disk.
    pub store: Arc<Store>,
    /// Recording sessions.
    pub recordings: Recordings,
    /// Replay sessions.
    pub replays: Replays,
    /// The mocks of the config and of the API.
    pub mocks: Mocks,
    /// The recordings of a `play` run.
    pub deck: Deck,
    /// Where requests go that nothing else takes.
    pub upstreams: Upstreams,
    /// The streams that run.
    pub live: Live,
    /// The redaction in force.
    pub redactor: Arc<Redactor>,
    /// What has happened.
    pub counters: Counters,
    /// Connections on the mock port that are open; its door counts them.
    pub open_connections: Arc<AtomicU64>,
    /// Connections on the mock port at once.
    pub max_connections: u64,
    /// Where the mock port really listens.
    pub mock_address: SocketAddr,
}

impl App {
    /// Builds it and starts the recorder. `demo` is where the built-in upstream listens.
    ///
    /// # Errors
    /// A setting that is wrong (a redaction rule, an upstream URL, a CA file), or no threads.
    pub fn new(
        settings: Settings,
        store: Arc<Store>,
        mocks: Mocks,
        deck: Deck,
        mock_address: SocketAddr,
        demo: Option<SocketAddr>,
        max_connections: u64,
    ) -> Result<Self> {
        let redactor = Arc::new(Redactor::new(&settings.redaction())?);
        let standing = Standing::of(&settings);
        let recorder = Recorder::start(Arc::clone(&store), standing.is_some())?;
        let recordings = Recordings::new(Arc::clone(&store), recorder, Arc::clone(&redactor), settings.max_event_bytes, standing);
        let replays = Replays::new(Arc::clone(&store), Arc::clone(&redactor), mock_address, settings.max_pending_replays);
        let upstreams = Upstreams::new(&settings, demo)?;
        let live = Live::new(Duration::from_millis(settings.stall_timeout_ms));
        Ok(Self {
            settings,
            store,
            recordings,
            replays,
            mocks,
            deck,
            upstreams,
            live,
            redactor,
            counters: Counters::default(),
            open_connections: Arc::default(),
            max_connections,
            mock_address,
        })
    }

    /// Whether anything would serve this path, or one that this pattern takes, on the mock port: as far as one can know beforehand, with
    /// streams of this protocol.
    pub fn serves(&self, protocol: Protocol, path: &str) -> bool {
        self.replays.serves(protocol, path)
            || self.mocks.serves(protocol, path)
            || self.recordings.bring_upstream(path)
            || self.upstreams.serve(path)
    }

    /// Counters for `/metrics`: name, help, type, value.
    pub fn metrics(&self) -> Vec<(&'static str, &'static str, &'static str, u64)> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        vec![
            ("mockd_connections", "Open connections on the mock port.", "gauge", self.open_connections.load(Ordering::Relaxed)),
            ("mockd_connections_max", "Connections on the mock port that are allowed at once.", "gauge", self.max_connections),
            ("mockd_connections_accepted_total", "Connections on the mock port since the start.", "counter", count(&counters.accepted)),
            ("mockd_connections_refused_total", "Connections over the limit, answered 503.", "counter", count(&counters.refused)),
            ("mockd_requests_total", "Requests on the mock port since the start.", "counter", count(&counters.requests)),
            ("mockd_streams", "Relayed responses and WebSockets, and clients of mocks, under way.", "gauge", self.live.count()),
            ("mockd_recordings_running", "Connections that are being recorded.", "gauge", self.recordings.running()),
            ("mockd_recordings_finished_total", "Recordings finished since the start.", "counter", self.recordings.finished()),
            ("mockd_mocks", "Mocks that are served.", "gauge", self.mocks.served()),
            ("mockd_replays_active", "Replay sessions with a client.", "gauge", self.replays.active()),
            ("mockd_replays_pending", "Replay sessions that wait for a client.", "gauge", self.replays.pending()),
        ]
    }

    /// Whether the server is ending; calls that wait look at it at least every second.
    pub fn is_ending(&self) -> bool {
        self.live.is_ending()
    }

    /// Ends all recordings as complete, then all streams: 1001 for WebSockets, the end of the stream for the others.
    pub fn end(&self) {
        let begun = Instant::now();
        let files = self.recordings.end_all();
        // Followers of a recording get its last frames. A disk that is slow keeps no client from hearing of the end.
        files.await_finished(begun + Duration::from_millis(limits::CLOSE_GRACE_MS));
        self.live.end_all();
        self.replays.stop_all();
        files.finish(begun + Duration::from_millis(limits::FINISH_MS));
    }

    /// Waits until the mock port has no connections left: those whose clients have ended already are served to their end, those whose
    /// clients stay are given a second.
    pub fn await_clients(&self) {
        self.knock();
        let begun = Instant::now();
        while self.open_connections.load(Ordering::Relaxed) > 0 || self.live.count() > 0 || self.replays.active() > 0 {
            // However slow this machine is, a client that has gone is judged by all that it sent.
            let limit_ms = if self.replays.has_departed() { limits::SHUTDOWN_MS } else { limits::CLOSE_GRACE_MS };
            if begun.elapsed() >= Duration::from_millis(limit_ms) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Comes to the mock port and leaves. Who came before has been accepted then, and is counted.
    fn knock(&self) {
        let limit = Duration::from_millis(limits::CLOSE_GRACE_MS);
        // A port on loopback has both families; elsewhere [::1] may be somebody else's.
        let address = self.mock_address;
        let beside = address.is_ipv4() && address.ip().is_loopback();
        let beside = beside.then(|| SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())));
        for address in [Some(address), beside].into_iter().flatten() {
            let knocked = TcpStream::connect_timeout(&address, limit).and_then(|mut door| {
                door.set_read_timeout(Some(limit))?;
                door.shutdown(Shutdown::Write)?;
                std::io::copy(&mut door, &mut std::io::sink())
            });
            if let Err(error) = knocked {
                log::debug!("nobody answers at {address}: {error}");
            }
        }
    }

    /// Waits until the streams have ended, at most `limit`.
    pub fn await_end(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while (self.live.count() > 0 || self.replays.active() > 0) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
