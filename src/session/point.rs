//! Where each capture point stood: told, named, or inferred from what it saw.

use super::facts::FlowFacts;
use super::stuck::stuck_toward_client;
use super::{Entry, InnerFlow, Point};
use crate::event::{Direction, ONE_PLACE, PointId, Protocol, Vantage};
use std::collections::BTreeMap;

/// TTLs and hop limits hosts start with; a packet that still has one is at its sender.
const INITIAL_TTLS: [u8; 3] = [64, 128, 255];

/// How much longer one handshake gap must be than the other to say which end is near.
const NEARER: f64 = 4.0;

#[derive(Default)]
struct Votes {
    /// TLS or DTLS flows of sessions seen here.
    outer: u32,
    /// Any other flow seen here.
    other: u32,
    client_by_ttl: u32,
    gateway_by_ttl: u32,
    client_by_gap: u32,
    gateway_by_gap: u32,
    /// Handshakes that are near the gateway, and whose client is some routers away.
    away_from_client: u32,
    /// Handshakes that are near the client, and whose gateway is some routers away.
    away_from_gateway: u32,
}

impl Votes {
    /// Does the traffic say that a name is wrong? The gaps and the TTLs must say so both, and more often than either agrees.
    fn contradict(&self, vantage: Vantage) -> bool {
        let (against, by_ttl, by_gap) = match vantage {
            Vantage::Client => (self.away_from_client, self.client_by_ttl, self.client_by_gap),
            Vantage::Outside => (self.away_from_gateway, self.gateway_by_ttl, self.gateway_by_gap),
            Vantage::Inside | Vantage::VirtualAdapter => return false,
        };
        against > 2 * by_ttl.max(by_gap)
    }
}

/// Finds the points that hold packets of two places, as a file does that was merged from captures at both ends: one connection in it
/// twice, at two distances from its ends or, across a NAT, with two addresses of its client.
pub fn find_merged(points: &mut [Point], sessions: &[Entry]) {
    let client = |view: &FlowFacts| view.opened.endpoints().client.ip();
    let apart = |a: &FlowFacts, b: &FlowFacts| {
        let [a, b] = [a, b].map(|view| view.opened.syn().map(|syn| syn.at));
        a.zip(b).is_some_and(|(a, b)| a.nanos_since(b).abs() >= ONE_PLACE)
    };
    for connection in sessions.iter().flat_map(|session| &session.connections) {
        for (at, view) in connection.views.iter().enumerate() {
            let mut others = connection.views.iter().skip(at + 1).filter(|other| other.point == view.point);
            let is_merged = view.ended.seldom().two_places
                || others.any(|other| client(view) != client(other) && apart(view, other));
            if let Some(point) = points.get_mut(usize::from(view.point.0)).filter(|_| is_merged) {
                point.is_merged = true;
            }
        }
    }
}

/// Settles the vantage of every point that was not told. With each flow comes whether it is an outer connection of a session.
pub fn infer<'a>(points: &mut [Point], flows: impl Iterator<Item = (&'a FlowFacts, bool)>) {
    let mut votes: BTreeMap<PointId, Votes> = BTreeMap::new();
    for (flow, is_outer) in flows {
        let votes = votes.entry(flow.point).or_default();
        if !is_outer {
            votes.other += 1;
            continue;
        }
        votes.outer += 1;
        if flow.opened.protocol == Protocol::Tcp {
            vote(votes, flow);
        }
    }
    for point in points.iter_mut().filter(|p| p.vantage.is_none()) {
        let votes = votes.remove(&point.id).unwrap_or_default();
        let (vantage, basis) = match point.is_merged {
            true => (None, "packets of two places are in it".to_owned()),
            false => settle(point, &votes),
        };
        point.vantage = vantage;
        point.vantage_basis = basis;
    }
}

/// What traffic inside a tunnel tells of one point.
#[derive(Default)]
struct InnerVotes {
    /// Packets toward the client that never got through, or that an ICMP says were too big: the gateway is still ahead of them.
    dropped_later: u32,
    adapter_by_gap: u32,
    inside_by_gap: u32,
    /// Packets of the client whose TTL was lowered: they have left the client.
    on_the_way: u32,
}

/// Settles the points that saw nothing but traffic inside the tunnels: at which end of the tunnel they stood.
pub fn infer_inner(points: &mut [Point], sessions: &[Entry]) {
    let mut votes: BTreeMap<PointId, InnerVotes> = BTreeMap::new();
    for session in sessions {
        for flow in &session.inner {
            vote_inner(votes.entry(flow.facts.point).or_default(), flow);
        }
        for error in session.refused_by_tunnel() {
            votes.entry(error.facts.point).or_default().dropped_later += 1;
        }
    }
    for point in points.iter_mut().filter(|p| p.vantage.is_none() && !p.is_merged) {
        if let Some((vantage, why)) = votes.get(&point.id).and_then(|votes| settle_inner(point, votes)) {
            point.vantage = Some(vantage);
            point.vantage_basis = format!("traffic from inside a tunnel; {why}");
        }
    }
}

fn vote_inner(votes: &mut InnerVotes, flow: &InnerFlow) {
    let opened = &flow.facts.opened;
    votes.dropped_later += u32::from(stuck_toward_client(flow).is_some());
    let from_client = if flow.toward_client == Direction::ToClient { 0 } else { 1 };
    let ttl = opened.ttl().get(from_client).copied().flatten();
    votes.on_the_way += u32::from(ttl.is_some_and(|ttl| !INITIAL_TTLS.contains(&ttl)));
    match (handshake_near(&flow.facts), flow.toward_client) {
        (Some(Near::Opener), Direction::ToClient) | (Some(Near::Answerer), Direction::ToServer) => {
            votes.adapter_by_gap += 1
        }
        (Some(_), _) => votes.inside_by_gap += 1,
        (None, _) => {}
    }
}

fn settle_inner(point: &Point, votes: &InnerVotes) -> Option<(Vantage, &'static str)> {
    if votes.dropped_later > 0 {
        return Some((Vantage::Inside, "packets toward the client are here that it never got"));
    }
    if votes.adapter_by_gap > 2 * votes.inside_by_gap {
        return Some((Vantage::VirtualAdapter, "SYN to SYN-ACK takes longer than SYN-ACK to ACK"));
    }
    if votes.inside_by_gap > 2 * votes.adapter_by_gap {
        return Some((Vantage::Inside, "SYN-ACK to ACK takes longer than SYN to SYN-ACK"));
    }
    if votes.on_the_way > 0 {
        return Some((Vantage::Inside, "packets of the client have passed a router"));
    }
    point.interface.link.is_raw_ip().then_some((Vantage::VirtualAdapter, "raw IP"))
}

/// The end of a TCP handshake a point is near to.
enum Near {
    Opener,
    Answerer,
}

/// Told by the two gaps of a TCP handshake.
fn handshake_near(flow: &FlowFacts) -> Option<Near> {
    let opened = &flow.opened;
    let (syn, ack, third) = (opened.syn()?, opened.syn_ack()?, opened.third()?);
    let (to_answerer, to_opener) = (ack.at.seconds_since(syn.at), third.seconds_since(ack.at));
    if to_answerer > NEARER * to_opener {
        return Some(Near::Opener);
    }
    (to_opener > NEARER * to_answerer).then_some(Near::Answerer)
}

/// Routers that a packet with that TTL has passed, as far as the nearest initial one tells.
fn hops(ttl: u8) -> u8 {
    let above = INITIAL_TTLS.iter().filter(|initial| **initial >= ttl);
    above.map(|initial| initial - ttl).min().unwrap_or(0)
}

fn vote(votes: &mut Votes, flow: &FlowFacts) {
    if let [Some(up), Some(down)] = flow.opened.ttl() {
        match (INITIAL_TTLS.contains(&up), INITIAL_TTLS.contains(&down)) {
            (true, false) => votes.client_by_ttl += 1,
            (false, true) => votes.gateway_by_ttl += 1,
            _ => {}
        }
    }
    /// Farther away no end is near, however long the way to the other one takes.
    const BESIDE: u8 = 1;
    let [up, down] = flow.opened.ttl();
    let [up_is_away, down_is_away] = [up, down].map(|ttl| ttl.is_some_and(|ttl| hops(ttl) > BESIDE));
    match handshake_near(flow) {
        Some(Near::Opener) => {
            votes.client_by_gap += u32::from(!up_is_away);
            votes.away_from_gateway += u32::from(down_is_away);
        }
        Some(Near::Answerer) => {
            votes.gateway_by_gap += u32::from(!down_is_away);
            votes.away_from_client += u32::from(up_is_away);
        }
        None => {}
    }
}

fn settle(point: &Point, votes: &Votes) -> (Option<Vantage>, String) {
    let carries = if votes.outer > 0 { "AnyConnect connections" } else { "no AnyConnect connection" };
    match named(point, votes.outer > 0) {
        Some((vantage, word)) if votes.contradict(vantage) => {
            let (vantage, why) = inferred(point, votes, carries);
            (vantage, format!("{why}; {word} is contradicted by TTLs and handshake gaps"))
        }
        Some((vantage, word)) => (Some(vantage), word),
        None => inferred(point, votes, carries),
    }
}

/// What the traffic alone tells.
fn inferred(point: &Point, votes: &Votes, carries: &str) -> (Option<Vantage>, String) {
    if votes.outer == 0 {
        return match (votes.other, point.interface.link) {
            (0, _) => (None, "nothing there tells".to_owned()),
            (_, link) if link.is_raw_ip() => (None, format!("raw IP with {carries}: perhaps a VPN adapter")),
            _ => (None, carries.to_owned()),
        };
    }
    // TTLs do not depend on the order of frames; the gaps do.
    let by_ttl = votes.client_by_ttl.max(votes.gateway_by_ttl) > 0;
    let (client, gateway) =
        if by_ttl { (votes.client_by_ttl, votes.gateway_by_ttl) } else { (votes.client_by_gap, votes.gateway_by_gap) };
    if client > 2 * gateway {
        let why = reasons(
            votes.client_by_ttl,
            votes.client_by_gap,
            "the client",
            "SYN to SYN-ACK takes longer than SYN-ACK to ACK",
        );
        return (Some(Vantage::Client), why);
    }
    if gateway > 2 * client {
        let why = reasons(
            votes.gateway_by_ttl,
            votes.gateway_by_gap,
            "the gateway",
            "SYN-ACK to ACK takes longer than SYN to SYN-ACK",
        );
        return (Some(Vantage::Outside), why);
    }
    (None, format!("{carries}, but neither TTLs nor handshake gaps tell which end is near"))
}

fn reasons(by_ttl: u32, by_gap: u32, near: &str, gap: &str) -> String {
    let mut parts = Vec::new();
    if by_ttl > 0 {
        parts.push(format!("packets of {near} still have their initial TTL"));
    }
    if by_gap > 0 {
        parts.push(gap.to_owned());
    }
    parts.join("; ")
}

/// Do its names say that it stood on the outer path, whatever it shows?
pub fn is_called_outer(point: &Point) -> bool {
    named(point, true).is_some()
}

/// What the names give away: interface name, description, then the file's name.
fn named(point: &Point, carries_outer: bool) -> Option<(Vantage, String)> {
    let interface = &point.interface;
    let by_interface = [(&interface.name, "interface name"), (&interface.description, "interface description")];
    let names = by_interface.into_iter().filter_map(|(name, kind)| Some((name.as_deref()?, kind)));
    let file = [(point.name.as_str(), "file name")];
    let interfaces = names.map(|(name, kind)| (name, kind, vantage_of_name(name, carries_outer, false)));
    let files = file.into_iter().map(|(name, kind)| (name, kind, vantage_of_name(name, carries_outer, true)));
    let (name, kind, vantage) = interfaces.chain(files).find(|(_, _, vantage)| vantage.is_some())?;
    Some((vantage?, format!("{kind} `{name}`")))
}

/// In an interface's name a short word (`in`, `tun0`) counts wherever it stands; in a file's, which may say anything
/// (`what-goes-in.pcap`), only alone or behind `acp`, `cap` or a number.
fn vantage_of_name(name: &str, carries_outer: bool, is_file: bool) -> Option<Vantage> {
    let name = name.to_ascii_lowercase();
    let parts = || name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    let is_number = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    let numbered = |part: &str, word: &str| part.strip_prefix(word).is_some_and(is_number);
    let has = |word: &str| parts().any(|part| numbered(part, word));
    let meant = |word: &str| {
        let others = || parts().filter(|part| !is_number(part) && !["acp", "cap", "capture"].contains(part));
        has(word) && (!is_file || others().all(|part| numbered(part, word)))
    };
    if carries_outer {
        if ["outside", "capout", "acout"].into_iter().any(has) || meant("out") {
            return Some(Vantage::Outside);
        }
        return (has("client") || has("phys")).then_some(Vantage::Client);
    }
    if ["inside", "capin", "acin"].into_iter().any(has) || meant("in") {
        return Some(Vantage::Inside);
    }
    let adapter = has("cscotun")
        || ["utun", "tun", "va"].into_iter().any(meant)
        || name.contains("adapter") && (name.contains("anyconnect") || name.contains("virtual"));
    adapter.then_some(Vantage::VirtualAdapter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{
        Ended, Endpoints, FlowId, FrameRef, LinkType, Opened, SeldomInEnded, Syn, TcpHandshake, Timestamp,
    };
    use crate::session::facts::{FlowNotes, View};
    use crate::session::{Connection, Proof, Role, Session};

    #[test]
    fn a_connection_in_one_file_twice_some_milliseconds_apart_tells_of_two_places() {
        let view = |client: u8, seconds: f64, two_places: bool| -> View {
            let at = Timestamp::default().plus_seconds(seconds);
            let ends =
                Endpoints { client: ([192, 0, 2, client], 40_000).into(), server: ([203, 0, 113, 2], 443).into() };
            let mut handshake = TcpHandshake::default();
            handshake.note(Direction::ToServer, Syn { at, frame: FrameRef::default(), mss: None, timestamps: false });
            let handshake = Some(Box::new(handshake));
            let mut ended = Ended::default();
            ended.add(SeldomInEnded { two_places, ..SeldomInEnded::default() });
            let opened = Opened { handshake, ..Opened::bare(Protocol::Tcp, ends, at) };
            Box::new(FlowNotes::new(PointId(0)).take(FlowId(0), opened, ended))
        };
        let is_merged = |views: Vec<View>| {
            let mut session = Session::new([192, 0, 2, 1].into(), None, 443, Proof::Inside);
            session.connections = vec![Connection { role: Role::Tunnel, views: views.into() }].into();
            let mut points = [Point::unknown(PointId(0), 0, LinkType::ETHERNET)];
            find_merged(&mut points, &[Box::new(session)]);
            points.iter().any(|point| point.is_merged)
        };
        assert!(!is_merged(vec![view(1, 5.0, false)]));
        assert!(is_merged(vec![view(1, 5.0, true)]), "at two distances");
        assert!(is_merged(vec![view(1, 5.0, false), view(2, 5.01, false)]), "at both sides of a NAT");
        assert!(!is_merged(vec![view(1, 5.0, false), view(2, 5.000_03, false)]), "on all interfaces of that NAT");
    }

    #[test]
    fn routers_are_counted_from_the_nearest_initial_ttl() {
        assert_eq!([64, 63, 128, 120, 255, 250, 0].map(hops), [0, 1, 0, 8, 0, 5, 64]);
    }

    #[test]
    fn a_name_counts_unless_gaps_and_ttls_contradict_it() {
        let vantage = |name: &str, votes: Votes| {
            let mut point = Point::unknown(PointId(0), 0, LinkType::ETHERNET);
            point.interface.name = Some(name.to_owned());
            settle(&point, &votes)
        };
        let near_client =
            |away_from_gateway| Votes { outer: 5, client_by_gap: 5, away_from_gateway, ..Votes::default() };
        assert_eq!(vantage("outside", near_client(2)).0, Some(Vantage::Client), "no handshake is nearer the gateway");
        assert_eq!(vantage("outside", near_client(0)).0, Some(Vantage::Outside), "the gaps alone are not enough");
        let mixed = Votes { gateway_by_gap: 3, ..near_client(5) };
        assert_eq!(vantage("outside", mixed).0, Some(Vantage::Outside), "some agree with the name");
        let on_the_way = Votes { client_by_gap: 0, ..near_client(5) };
        let (none, why) = vantage("outside", on_the_way);
        assert_eq!(none, None);
        assert!(why.ends_with("interface name `outside` is contradicted by TTLs and handshake gaps"), "{why}");
        let near_gateway = Votes { outer: 5, gateway_by_gap: 5, away_from_client: 5, ..Votes::default() };
        assert_eq!(vantage("client", near_gateway).0, Some(Vantage::Outside));
    }

    #[test]
    fn names_that_tell_and_names_that_do_not() {
        let inner = |name| vantage_of_name(name, false, true);
        for name in ["inside", "acp-in", "in", "in_2", "gw1-inside-0423", "capin"] {
            assert_eq!(inner(name), Some(Vantage::Inside), "{name}");
        }
        for name in ["va", "tun0", "utun4", "cscotun0", "site-a-cscotun0", "virtual-adapter"] {
            assert_eq!(inner(name), Some(Vantage::VirtualAdapter), "{name}");
        }
        for name in ["what-goes-in", "socat-tls-tun", "sign-in-page", "va-hospital", "client"] {
            assert_eq!(inner(name), None, "{name}");
        }
        assert_eq!(vantage_of_name("Gi0/1 in", false, false), Some(Vantage::Inside));
        assert_eq!(vantage_of_name("acp-out", true, true), Some(Vantage::Outside));
        assert_eq!(vantage_of_name("timed-out", true, true), None);
        assert_eq!(vantage_of_name("client", true, true), Some(Vantage::Client));
    }
}
