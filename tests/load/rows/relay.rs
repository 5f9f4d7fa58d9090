//! Round trips through the relay while it records, against nginx and haproxy that record nothing: what each adds to the direct way.
//! Everything is pinned to one core, see `roles/client_rounds.rs`.

use serde_json::{Value, json};

use super::{US, numbers, target, upstream};
use crate::figures::median;
use crate::place::Place;
use crate::report::{Line, Target};
use crate::servers::{Mockd, Peer, haproxy, nginx};
use crate::{Result, clock};

const WARM_ROUNDS: u64 = 200;

/// Plain WebSockets, 100 B and 16 KB.
pub fn plain(place: &Place, lines: &mut Vec<Line>) -> Result<()> {
    const ROW: &str = "relay";
    let core = Some(clock::last_core());
    let (_upstream, port) = upstream(place, core)?;
    let url = format!("http://127.0.0.1:{port}");
    let mockd = Mockd::recording(place, core, &place.data_dir("relay")?, &url, &[])?;
    let peers = [("nginx", nginx(place, core, &url)), ("haproxy", haproxy(place, core, port))];
    let mut targets = vec![target("direct", port, "/echo"), target("mockd", mockd.port, "/echo")];
    targets.extend(peers.iter().filter_map(|(name, peer)| Some(target(name, peer.as_ref().ok()?.port, "/echo"))));
    for (size, rounds) in [(100, place.count(2000, 300)), (16_384, place.count(1000, 150))] {
        let found = rounds_of(place, core, &targets, size, rounds)?;
        for (name, peer) in &peers {
            added(ROW, &format!("relay while recording, {size} B there and back"), &found, (name, peer), 1.1, lines);
        }
    }
    Ok(())
}

/// A wss upstream, 100 B.
pub fn tls(place: &Place, lines: &mut Vec<Line>) -> Result<()> {
    const ROW: &str = "tls";
    let core = Some(clock::last_core());
    let fixture = |name: &str| format!("{}/tests/fixtures/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let upstream = place.role(core, json!({"role": "upstream", "certificate": fixture("server.pem"), "key": fixture("server.key")}))?;
    let port = upstream.port()?;
    let ca = fixture("ca.pem");
    let mockd = Mockd::recording(place, core, &place.data_dir("tls")?, &format!("wss://localhost:{port}"), &["--upstream-ca", &ca])?;
    let peer = nginx(place, core, &format!("https://127.0.0.1:{port}"));
    let mut targets = vec![target("direct", port, "/echo"), target("mockd", mockd.port, "/echo")];
    targets[0]["tls"] = json!(ca);
    targets.extend(peer.as_ref().ok().map(|peer| target("nginx", peer.port, "/echo")));
    let found = rounds_of(place, core, &targets, 100, place.count(2000, 300))?;
    added(ROW, "relay to a wss upstream while recording, 100 B there and back", &found, (&"nginx", &peer), 1.25, lines);
    Ok(())
}

fn rounds_of(place: &Place, core: Option<usize>, targets: &[Value], size: u64, rounds: u64) -> Result<Value> {
    let blocks = place.count(11, 3);
    place.ask(core, json!({"role": "rounds", "targets": targets, "size": size, "warm": WARM_ROUNDS, "rounds": rounds, "blocks": blocks}))
}

/// What mockd adds to the direct way, by what a peer adds: the median over the blocks, each less the direct block beside it.
fn added(row: &'static str, work: &str, found: &Value, (name, peer): (&&str, &Result<Peer>), most: f64, lines: &mut Vec<Line>) {
    if let Err(error) = peer {
        lines.push(Line::left_out(row, format!("{work}, against {name}"), error));
        return;
    }
    for quantile in ["p50", "p99"] {
        let direct = numbers(&found["direct"][quantile]);
        let of = |who: &str| {
            let added: Vec<f64> = numbers(&found[who][quantile]).iter().zip(&direct).map(|(with, without)| with - without).collect();
            median(&added) / US
        };
        let line = Line::new(row, format!("{work}, added {quantile}")).against(*name, of(name), "µs").got(of("mockd"), "µs");
        let note = format!("direct {quantile}: {:.1} µs; all on one core", median(&direct) / US);
        // Against haproxy for the record: the target is nginx's.
        lines.push(if *name == "nginx" { line.wants(Target::RatioAtMost(most)).note(note) } else { line });
    }
}
