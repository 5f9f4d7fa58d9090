//! Upstreams: which one a path goes to, and a connection to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::recordings::Recordings;
use crate::base::error::{Error, Result};
use crate::base::platform;
use crate::model::recording::Protocol;
use crate::model::settings::Settings;
use crate::rules::pattern;
use crate::wire::stream::Stream;
use crate::wire::tls::TlsSettings;
use crate::wire::url::UpstreamUrl;

/// Where a request goes.
#[derive(Debug, Clone)]
pub struct Route {
    /// The upstream.
    pub url: Arc<UpstreamUrl>,
    /// What `Origin` becomes.
    pub origin: Option<String>,
}

#[derive(Debug)]
struct Entry {
    path: String,
    route: Route,
}

/// The upstreams of the config, and how to reach any.
#[derive(Debug)]
pub struct Upstreams {
    entries: Vec<Entry>,
    tls: TlsSettings,
    connect_timeout: Duration,
}

impl Upstreams {
    /// The upstreams of the settings; `--upstream` takes what no entry takes, and the demo what that leaves.
    ///
    /// # Errors
    /// A bad URL, an unreadable CA file.
    pub fn new(settings: &Settings, demo: Option<SocketAddr>) -> Result<Self> {
        let mut entries = Vec::new();
        for (index, upstream) in settings.upstreams.iter().enumerate() {
            let url = Arc::new(UpstreamUrl::parse(&format!("upstreams[{index}].url"), &upstream.url)?);
            entries.push(Entry { path: upstream.path.clone(), route: Route { url, origin: upstream.origin.clone() } });
        }
        let fallback = match (&settings.upstream, demo) {
            (Some(url), _) => Some(UpstreamUrl::parse("--upstream", url)?),
            (None, Some(address)) => {
                Some(UpstreamUrl { tls: false, host: address.ip().to_string(), port: address.port(), path_prefix: String::new() })
            }
            (None, None) => None,
        };
        if let Some(url) = fallback {
            entries.push(Entry { path: "*".to_owned(), route: Route { url: Arc::new(url), origin: None } });
        }
        let tls = TlsSettings::new(settings.upstream_ca.as_deref(), settings.upstream_insecure)?;
        Ok(Self { entries, tls, connect_timeout: Duration::from_millis(settings.connect_timeout_ms) })
    }

    /// The upstream of a path: the most specific of the config's and of the open recording sessions', a session's first.
    pub fn route(&self, protocol: Protocol, path: &str, recordings: &Recordings) -> Option<Route> {
        let of_session = recordings.upstream_for(protocol, path);
        let of_config = pattern::most_specific(self.entries.iter().map(|entry| entry.path.as_str()), path);
        let of_config = of_config.and_then(|at| self.entries.get(at));
        match (of_session, of_config) {
            (Some((pattern, _)), Some(entry)) if pattern::most_specific([pattern.as_str(), &entry.path], path) == Some(1) => {
                Some(entry.route.clone())
            }
            (Some((_, url)), _) => Some(Route { url, origin: None }),
            (None, entry) => entry.map(|entry| entry.route.clone()),
        }
    }

    /// Whether an upstream of the config takes this path, or one that this pattern takes.
    pub fn serve(&self, path: &str) -> bool {
        self.entries.iter().any(|entry| pattern::overlap(&entry.path, path))
    }

    /// A connection to an upstream, TLS done.
    ///
    /// # Errors
    /// [`Error::BadGateway`], [`Error::GatewayTimeout`]; they name the upstream by host and port only.
    pub fn connect(&self, url: &UpstreamUrl) -> Result<Stream> {
        let deadline = Instant::now() + self.connect_timeout;
        let tcp = connect_tcp(url, deadline, self.connect_timeout)?;
        if !url.tls {
            return Ok(Stream::Tcp(tcp));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        Ok(Stream::Tls(Box::new(self.tls.connect(&url.host, tcp, left)?)))
    }
}

fn connect_tcp(url: &UpstreamUrl, deadline: Instant, limit: Duration) -> Result<TcpStream> {
    let name = format!("{}:{}", url.host, url.port);
    let addresses = resolve(url)
        .map_err(|error| Error::BadGateway(format!("the upstream {name} has no address: {error}; check the host of its URL")))?;
    let mut last = None;
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(tcp) => {
                if let Err(error) = tcp.set_nodelay(true) {
                    log::debug!("no TCP_NODELAY towards {name}: {error}");
                }
                platform::keep_alive(&tcp);
                return Ok(tcp);
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) if error.kind() != std::io::ErrorKind::TimedOut => {
            Err(Error::BadGateway(format!("the upstream {name} is not reachable: {error}; is it running?")))
        }
        _ => Err(Error::GatewayTimeout(format!("the upstream {name} did not answer to connecting within {} ms", limit.as_millis()))),
    }
}

/// The addresses of an upstream; `localhost` is loopback, also where no hosts file says so.
fn resolve(url: &UpstreamUrl) -> std::io::Result<Vec<SocketAddr>> {
    if url.host.eq_ignore_ascii_case("localhost") {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        return Ok(loopback.map(|ip| SocketAddr::new(ip, url.port)).to_vec());
    }
    if let Ok(ip) = url.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, url.port)]);
    }
    (url.host.as_str(), url.port).to_socket_addrs().map(Iterator::collect)
}
