//! Traffic inside the tunnels, seen in the clear: which end is the VPN client, and whose session it belongs to.

use super::beside::Whose;
use super::facts::{FlowFacts, IcmpFacts, View};
use super::limits::lowered_after_trouble;
use super::meetings::Meeting;
use super::pace::Pace;
use super::stuck::stuck_toward_client;
use super::timing::{self, Client, Guesses, Homes};
use super::{Entry, InnerFlow, Point, Proof, Session, vantage};
use crate::event::{Direction, Endpoints, FlowId, PointId, Quoted, Timestamp, Vantage};
use crate::maps::{HashMap, HashSet};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Packets toward one address that never got through, at a point of which nobody knows whether it saw inside a tunnel.
#[derive(Clone, Copy, Debug)]
pub struct Unclaimed {
    /// Where.
    pub point: PointId,
    /// Toward whom.
    pub address: IpAddr,
    /// Bytes, IP header included, of the smallest.
    pub size: u32,
}

/// Gives inner flows to the sessions; what belongs to no session but shows a fault becomes one of its own.
pub(super) fn attach(
    sessions: &mut Vec<Entry>,
    outer: HashSet<IpAddr>,
    others: Vec<View>,
    icmp: &[IcmpFacts],
    meetings: &[Meeting],
    pace: &Pace,
    points: &[Point],
) -> Vec<Unclaimed> {
    let (carried, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|flow| flow.opened.carrier.is_some());
    attach_carried(sessions, carried, points);
    let sees_inner = |flow: &FlowFacts| {
        let vantage = vantage(points, flow.point);
        vantage.is_none_or(|v| !v.is_outer())
    };
    let (client, server) =
        (|f: &FlowFacts| f.opened.endpoints().client.ip(), |f: &FlowFacts| f.opened.endpoints().server.ip());
    let flows: Vec<View> = others
        .into_iter()
        .filter(|f| {
            sees_inner(f) && !outer.contains(&client(f)) && !outer.contains(&server(f)) && client(f) != server(f)
        })
        .collect();
    drop(outer);
    let clients = apart(sessions, clients(flows, icmp, points));
    let homes = timing::homes(sessions, &clients, icmp, meetings, pace, Guesses::Any, points);
    assign(sessions, clients, homes, icmp, points)
}

/// Flows by the address that is a VPN client's.
pub(super) fn clients(flows: Vec<View>, icmp: &[IcmpFacts], points: &[Point]) -> Vec<Client> {
    let weights = weigh(&flows, icmp, points);
    let mut clients: BTreeMap<IpAddr, Vec<InnerFlow>> = BTreeMap::new();
    for flow in flows {
        let weight = |address: IpAddr| weights.get(&(flow.point, address)).copied().unwrap_or(0);
        let Endpoints { client, server } = flow.opened.endpoints();
        let (a, b) = (client.ip(), server.ip());
        let is_client_b = weight(b) > weight(a);
        let toward_client = if is_client_b { Direction::ToServer } else { Direction::ToClient };
        let address = if toward_client == Direction::ToServer { b } else { a };
        let flows = clients.entry(address).or_insert_with(|| Vec::with_capacity(1));
        flows.push(InnerFlow { facts: flow, toward_client });
    }
    let shrunk = clients.into_iter().map(|(address, mut flows)| {
        flows.shrink_to_fit();
        Client { address, flows }
    });
    shrunk.collect()
}

/// Sessions by what they had: when each began, and its index, in that order.
pub(super) type Holders = HashMap<IpAddr, Vec<(Timestamp, usize)>>;

/// The sessions that had each of the wanted addresses.
pub(super) fn holders(sessions: &[Entry], is_wanted: impl Fn(&IpAddr) -> bool) -> Holders {
    let mut holders = Holders::default();
    for (i, session) in sessions.iter().enumerate() {
        for address in session.inner_addresses.iter().filter(|address| is_wanted(address)) {
            holders.entry(*address).or_default().push((session.start, i));
        }
    }
    holders.values_mut().for_each(|had| had.sort_unstable());
    holders
}

/// Of sessions that had an address one after the other: the latest that had begun by then, or else the first.
pub(super) fn holder(had: &[(Timestamp, usize)], at: Timestamp) -> Option<usize> {
    let begun = had.partition_point(|(start, _)| *start <= at);
    had.get(begun.saturating_sub(1)).map(|(_, i)| *i)
}

/// An address that several sessions had one after the other, as keys show or because there is but one client: its flows apart by session.
pub(super) fn apart(sessions: &[Entry], clients: Vec<Client>) -> Vec<Client> {
    /// Sessions told apart: a bound on the work thousands of them can cause.
    const MOST: usize = 64;
    let holders = holders(sessions, |_| true);
    let pairs = || sessions.iter().zip(sessions.iter().skip(1));
    let follows = |(a, b): (&Entry, &Entry)| (a.client, a.gateway) == (b.client, b.gateway) && a.end <= b.start;
    let starts = || (0..).zip(sessions).map(|(i, session)| (session.start, i));
    let of_only_client: Vec<(Timestamp, usize)> = if pairs().all(follows) { starts().collect() } else { Vec::new() };
    let had = |address: &IpAddr| holders.get(address).unwrap_or(&of_only_client);
    if clients.iter().all(|client| had(&client.address).len() < 2) {
        return clients;
    }
    let parts = clients.into_iter().flat_map(|Client { address, flows }| {
        let had = had(&address);
        let had = had.get(..MOST).unwrap_or(had);
        let mut parts: BTreeMap<Option<usize>, Vec<InnerFlow>> = BTreeMap::new();
        for flow in flows {
            parts.entry(holder(had, flow.facts.opened.first)).or_default().push(flow);
        }
        parts.into_values().map(move |flows| Client { address, flows })
    });
    parts.collect()
}

/// Gives flows out of decrypted tunnels to the sessions whose tunnels carried them.
fn attach_carried(sessions: &mut [Entry], flows: Vec<View>, points: &[Point]) {
    let mut carriers: HashMap<(PointId, FlowId), usize> = HashMap::default();
    let is_any = !flows.is_empty();
    for (i, session) in sessions.iter_mut().enumerate() {
        if is_any {
            carriers.extend(session.outer_views().map(|view| ((view.point, view.id), i)));
        }
        let given: Vec<IpAddr> = session.granted().flat_map(|(_, _, answer)| &answer.addresses).copied().collect();
        for address in given {
            if !session.inner_addresses.contains(&address) {
                session.inner_addresses.push(address);
            }
        }
    }
    let mut given: BTreeMap<usize, Vec<InnerFlow>> = BTreeMap::new();
    for flow in flows {
        let at = points.get(usize::from(flow.point.0)).and_then(|point| point.decrypted_at);
        let home = at.zip(flow.opened.carrier).and_then(|carrier| carriers.get(&carrier));
        let Some((home, session)) = home.and_then(|home| Some((*home, sessions.get(*home)?))) else { continue };
        let ends = flow.opened.endpoints();
        let is_given = session.inner_addresses.contains(&ends.server.ip());
        let toward_client = if is_given { Direction::ToServer } else { Direction::ToClient };
        given.entry(home).or_default().push(InnerFlow { facts: flow, toward_client });
    }
    for (home, flows) in given {
        if let Some(session) = sessions.get_mut(home) {
            session.inner.extend(flows);
        }
    }
}

/// What speaks for one of two hosts being the VPN client, and how much.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Sign {
    /// At the gateway, its packets alone have passed a router. Less than opening: not every gateway counts as one.
    FartherFromGateway,
    Opens,
    /// At the adapter, the other host's packets alone have passed a router.
    AtAdapter,
    LessMss,
    /// Packets toward it are too big.
    TooBig,
    /// Its packets come out of the tunnel's adapter at the gateway: more than all the rest.
    BeyondAdapter,
}

impl Sign {
    const ALL: [(Sign, i32); 6] = [
        (Sign::FartherFromGateway, 1),
        (Sign::Opens, 2),
        (Sign::AtAdapter, 6),
        (Sign::LessMss, 6),
        (Sign::TooBig, 8),
        (Sign::BeyondAdapter, 200),
    ];

    fn bit(self) -> u8 {
        1 << self as u8
    }

    fn weight(signs: u8) -> i32 {
        Sign::ALL.iter().filter(|(sign, _)| signs & sign.bit() != 0).map(|(_, weight)| weight).sum()
    }
}

/// How much speaks for an address being a VPN client's rather than its peers, per point. Each sign counts once per peer, however
/// many flows they have: who answers many hosts is a server, however busy one of them is.
fn weigh(flows: &[View], icmp: &[IcmpFacts], points: &[Point]) -> HashMap<(PointId, IpAddr), i32> {
    // Of two hosts, the lower address first.
    let mut pairs: HashMap<(PointId, [IpAddr; 2]), [u8; 2]> = HashMap::default();
    let mut add = |point: PointId, address: IpAddr, peer: IpAddr, sign: Sign| {
        let is_high = address > peer;
        let [low, high] = pairs.entry((point, if is_high { [peer, address] } else { [address, peer] })).or_default();
        *(if is_high { high } else { low }) |= sign.bit();
    };
    // What a tunnel's adapter shows stuck may as well go toward the server; a gateway's inside interface is no such adapter.
    let at_adapter = |point: PointId| match vantage(points, point) {
        None => points.get(usize::from(point.0)).is_some_and(|point| point.interface.link.is_raw_ip()),
        known => known == Some(Vantage::VirtualAdapter),
    };
    for flow in flows {
        let ends = flow.opened.endpoints();
        let (opener, answerer) = (ends.client.ip(), ends.server.ip());
        let mut add = |is_opener: bool, sign: Sign| match is_opener {
            true => add(flow.point, opener, answerer, sign),
            false => add(flow.point, answerer, opener, sign),
        };
        add(true, Sign::Opens);
        // What comes out of the tunnel's adapter is from the client at the gateway, and from a server at the client's end.
        let vantage = vantage(points, flow.point);
        let at_gateway = vantage.map(|vantage| matches!(vantage, Vantage::Outside | Vantage::Inside));
        if let Some((way, at_gateway)) = flow.opened.from_adapter.zip(at_gateway) {
            add((way == Direction::ToServer) == at_gateway, Sign::BeyondAdapter);
        }
        let mss = |syn: Option<crate::event::Syn>| syn.and_then(|s| s.mss);
        if let (Some(a), Some(b)) = (mss(flow.opened.syn()), mss(flow.opened.syn_ack()))
            && a != b
        {
            add(a < b, Sign::LessMss);
        }
        for (sizes, to_opener) in flow.ended.sizes.iter().zip([false, true]) {
            if sizes.smallest_stuck.is_some() && !at_adapter(flow.point) {
                add(to_opener, Sign::TooBig);
            }
        }
        let is_initial = |ttl: Option<u8>| ttl.map(|ttl| matches!(ttl, 64 | 128 | 255));
        match (flow.opened.ttl().map(is_initial), vantage == Some(Vantage::VirtualAdapter)) {
            // What came from afar is not the client's.
            ([Some(true), Some(false)] | [None, Some(false)], true) => add(true, Sign::AtAdapter),
            ([Some(false), Some(true)] | [Some(false), None], true) => add(false, Sign::AtAdapter),
            // One TTL alone tells nothing: many a gateway leaves it as it is.
            ([Some(false), Some(true)], false) => add(true, Sign::FartherFromGateway),
            ([Some(true), Some(false)], false) => add(false, Sign::FartherFromGateway),
            _ => {}
        }
    }
    for IcmpFacts { point, quoted, .. } in icmp.iter().filter(|i| i.error.is_frag_needed() && !at_adapter(i.point)) {
        add(*point, quoted.dst, quoted.src, Sign::TooBig);
    }
    /// On the VPN adapter every flow has the client's address: the common one wins by the number of its peers.
    const PEER: i32 = 2;
    let mut weights: HashMap<(PointId, IpAddr), i32> = HashMap::default();
    for ((point, [low, high]), signs) in pairs {
        let each = if vantage(points, point) == Some(Vantage::VirtualAdapter) { PEER } else { 0 };
        let [for_low, for_high] = signs.map(Sign::weight);
        *weights.entry((point, low)).or_default() += each + for_low - for_high;
        *weights.entry((point, high)).or_default() += each + for_high - for_low;
    }
    weights
}

fn assign(
    sessions: &mut Vec<Entry>,
    clients: Vec<Client>,
    Homes { of, mut open }: Homes,
    icmp: &[IcmpFacts],
    points: &[Point],
) -> Vec<Unclaimed> {
    let outer_sessions = sessions.len();
    let mut left = Vec::new();
    let mut one_of: BTreeMap<IpAddr, BTreeSet<String>> = BTreeMap::new();
    let mut may_have: BTreeMap<usize, BTreeSet<IpAddr>> = BTreeMap::new();
    for (i, (client, home)) in clients.into_iter().zip(of).enumerate() {
        if let Some(theirs) = open.remove(&i) {
            let ends = theirs.iter().filter_map(|session| Some(outer_end(sessions.get(*session)?)));
            one_of.entry(client.address).or_default().extend(ends);
            theirs.iter().for_each(|session| _ = may_have.entry(*session).or_default().insert(client.address));
            left.push(client);
            continue;
        }
        match home.and_then(|home| Some((sessions.get_mut(home.session)?, home.guessed))) {
            Some((session, guessed)) => {
                if let Some(guessed) = guessed {
                    let note = format!("inner traffic of {} was given to this session {guessed}", client.address);
                    session.ambiguities.push(note);
                    // Where there is but one session, it is not somebody else's.
                    if outer_sessions > 1 {
                        session.note_inner(Whose::Guessed);
                    }
                }
                if !session.inner_addresses.contains(&client.address) {
                    session.inner_addresses.push(client.address);
                }
                session.inner.extend(client.flows);
            }
            None => left.push(client),
        }
    }
    say_whose_is_open(sessions, may_have);
    let mut unclaimed = Vec::new();
    let refused = timing::refused(icmp);
    let with_users: HashSet<PointId> =
        left.iter().flat_map(announced).filter(|(_, fits)| *fits).map(|(point, _)| point).collect();
    let is_host = |client: &Client| {
        let mut all = announced(client).peekable();
        all.peek().is_some() && all.all(|(point, fits)| !fits && with_users.contains(&point))
    };
    left.retain(|client| client.is_faulty(&refused) || !is_host(client));
    for client in left {
        let stuck = stuck(&client);
        if let Some(mut session) = inside_only(client, &refused, points, outer_sessions == 0) {
            if let Some(ends) = one_of.get(&session.client) {
                let ends = listed(ends);
                session.ambiguities.push(format!("this is the inside of one of the sessions of {ends}: {NOT_TOLD}"));
                session.note_inner(Whose::Open);
            }
            sessions.push(Box::new(session));
        } else {
            unclaimed.extend(stuck);
        }
    }
    for session in sessions.iter_mut() {
        session.inner.sort_by_key(|f| (f.facts.opened.first, f.facts.point, f.facts.id));
    }
    if sessions.len() > outer_sessions {
        sessions.sort_unstable_by_key(|session| session.order());
    }
    unclaimed
}

/// Why it is not told whose inner traffic is, and what would tell.
const NOT_TOLD: &str = "timing and volume do not settle it; `show vpn-sessiondb detail anyconnect` on the gateway does, as keys would, \
                        or captures with one user at a time";

/// Says of sessions without inner traffic of their own which addresses may be theirs.
fn say_whose_is_open(sessions: &mut [Entry], may_have: BTreeMap<usize, BTreeSet<IpAddr>>) {
    for (session, addresses) in may_have {
        let Some(session) = sessions.get_mut(session).filter(|session| session.inner.is_empty()) else { continue };
        let one = if addresses.len() == 1 { "its inner address may be" } else { "its inner address may be any of" };
        session.ambiguities.push(format!("{one} {}: {NOT_TOLD}", listed(&addresses)));
        session.note_inner(Whose::Open);
    }
}

/// The client's end of a session, by which those behind one address differ.
fn outer_end(session: &Session) -> String {
    let end = session.outer_views().next().map(|view| view.opened.endpoints().client.to_string());
    end.unwrap_or_else(|| session.client.to_string())
}

/// Names the first few.
fn listed(all: &BTreeSet<impl ToString>) -> String {
    const NAMED: usize = 4;
    let mut named: Vec<String> = all.iter().take(NAMED).map(ToString::to_string).collect();
    if let Some(more) = all.len().checked_sub(NAMED).filter(|more| *more > 0) {
        named.push(format!("{more} more"));
    }
    let last = named.pop().unwrap_or_default();
    if named.is_empty() { last } else { format!("{} and {last}", named.join(", ")) }
}

/// Where a client announced an MSS, and whether a tunnel's adapter may have it: one that fills an Ethernet frame is that of a host
/// beside the gateway, which uses the same servers as its users.
fn announced(client: &Client) -> impl Iterator<Item = (PointId, bool)> {
    /// Bytes, IP header included.
    const ETHERNET: u32 = 1500;
    client.flows.iter().filter_map(|flow| {
        let (mss, ..) = flow.client_mss()?;
        Some((flow.facts.point, flow.mtu_for(mss) < ETHERNET))
    })
}

/// The smallest size toward the client that never got through.
fn stuck(client: &Client) -> Option<Unclaimed> {
    let stuck = client.flows.iter().filter_map(|f| Some((stuck_toward_client(f)?.ip_len, f.facts.point)));
    stuck.min().map(|(size, point)| Unclaimed { point, address: client.address, size })
}

/// A session of which only the inside was captured: believed where the point is known to be an inner one, or where the
/// client lowers its MTU after packets toward it got stuck, as only the client of a tunnel does.
fn inside_only(client: Client, refused: &HashSet<IpAddr>, points: &[Point], alone: bool) -> Option<Session> {
    let known = client
        .points()
        .iter()
        .filter_map(|p| points.get(p.0 as usize))
        .any(|p| p.vantage.is_some_and(|v| !v.is_outer()));
    if !(client.is_faulty(refused) || known && alone) {
        return None;
    }
    let (_, server) = client.flows.first()?.ends();
    let (start, end) = client.span();
    let session = Session {
        start,
        end,
        inner_addresses: vec![client.address].into(),
        inner: client.flows.into(),
        ..Session::new(client.address, None, server.port(), Proof::Inside)
    };
    (known || lowered_after_trouble(&session).is_some()).then_some(session)
}

/// Gives ICMP errors to the sessions whose packets they quote, and gives back those that a packet did not fit and quote nobody's.
pub fn attach_icmp(sessions: &mut [Entry], icmp: Vec<IcmpFacts>) -> Vec<IcmpFacts> {
    let mut strays = Vec::new();
    // Of many sessions few are quoted.
    let ends = |q: &Quoted| q.ports.map(|(src, dst)| [(q.src, src, q.protocol), (q.dst, dst, q.protocol)]);
    let quoted: HashSet<_> = icmp.iter().filter_map(|error| ends(&error.quoted)).flatten().collect();
    let mut by_outer: HashMap<(IpAddr, u16, u8), usize> = HashMap::default();
    let inside: HashSet<IpAddr> = icmp.iter().flat_map(|error| [error.quoted.src, error.quoted.dst]).collect();
    let by_inner = holders(sessions, |address| inside.contains(address));
    for (i, session) in sessions.iter().enumerate() {
        for view in session.outer_views() {
            let client = view.opened.endpoints().client;
            let end = (client.ip(), client.port(), view.opened.protocol.number());
            if quoted.contains(&end) {
                by_outer.insert(end, i);
            }
        }
    }
    for error in icmp {
        let q = error.quoted;
        let outer = ends(&q).and_then(|[src, dst]| {
            let from_client = by_outer.get(&src).map(|i| (*i, false));
            from_client.or_else(|| by_outer.get(&dst).map(|i| (*i, true)))
        });
        let of = |address: IpAddr| holder(by_inner.get(&address)?, error.first);
        let inner = || of(q.dst).map(|i| (i, true)).or_else(|| of(q.src).map(|i| (i, false)));
        let (home, is_inner) = match outer {
            Some(home) => (Some(home), false),
            None => (inner(), true),
        };
        if let Some((i, toward_client)) = home
            && let Some(session) = sessions.get_mut(i)
        {
            session.icmp.push(super::Icmp { facts: error, inner: is_inner, toward_client });
        } else if error.error.is_frag_needed() {
            strays.push(error);
        }
    }
    strays
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Ends, FrameRef, IcmpError, LinkType, Sizes, Stuck, Syn, TcpHandshake};
    use crate::session::timing::tests::{at, client};

    #[test]
    fn who_stands_beyond_the_tunnels_adapter_is_the_client_whatever_the_mss() {
        let address = |vantage: Vantage, from_adapter: Option<Direction>| {
            let mut flow = client([10, 9, 0, 7], 1, &[1.0], 9).flows.remove(0).facts;
            let syn = |mss| Syn { at: at(1.0), frame: FrameRef::default(), mss: Some(mss), timestamps: false };
            // A server whose cache of path MTUs makes it announce less.
            let mut handshake = TcpHandshake::default();
            handshake.note(Direction::ToServer, syn(1394));
            handshake.note(Direction::ToClient, syn(1140));
            (flow.opened.handshake, flow.opened.from_adapter) = (Some(Box::new(handshake)), from_adapter);
            let mut point = Point::unknown(PointId(0), 0, LinkType::LINUX_SLL2);
            point.vantage = Some(vantage);
            clients(vec![flow], &[], &[point]).remove(0).address
        };
        let [opener, server] = [[10, 9, 0, 7], [10, 0, 0, 1]].map(IpAddr::from);
        assert_eq!(address(Vantage::Inside, None), server, "the MSS is all there is");
        assert_eq!(address(Vantage::Inside, Some(Direction::ToServer)), opener);
        assert_eq!(address(Vantage::Inside, Some(Direction::ToClient)), server, "a server opens toward a client");
        assert_eq!(
            address(Vantage::Client, Some(Direction::ToClient)),
            opener,
            "at the client's end servers stand beyond it"
        );
    }

    /// A connection seen to open at the gateway's inside.
    fn connection([opener, server]: [[u8; 4]; 2], id: u32, mss: [u16; 2], ttl: [u8; 2]) -> View {
        let mut flow = client(opener, id, &[1.0], 9).flows.remove(0).facts;
        let syn = |mss| Syn { at: at(1.0), frame: FrameRef::default(), mss: Some(mss), timestamps: false };
        let mut handshake = TcpHandshake::default();
        handshake.note(Direction::ToServer, syn(mss[0]));
        handshake.note(Direction::ToClient, syn(mss[1]));
        let ends =
            Endpoints { client: (IpAddr::from(opener), 50_000).into(), server: (IpAddr::from(server), 443).into() };
        (flow.opened.ends, flow.opened.ttl, flow.opened.handshake) = (Ends::new(ends), ttl, Some(Box::new(handshake)));
        flow
    }

    fn found_inside(flows: Vec<View>) -> Vec<IpAddr> {
        let mut point = Point::unknown(PointId(0), 0, LinkType::LINUX_SLL2);
        point.vantage = Some(Vantage::Inside);
        clients(flows, &[], &[point]).into_iter().map(|client| client.address).collect()
    }

    #[test]
    fn a_busy_server_is_not_taken_for_the_client_of_those_it_answers() {
        let (server, users) = ([10, 0, 0, 1], [[10, 9, 0, 1], [10, 9, 0, 2]]);
        for mss in [[1378, 1460], [1380, 1380]] {
            // The gateway passes the clients' packets on with their initial TTL.
            let of_one = (0..30).map(|id| connection([users[0], server], id, mss, [128, 63]));
            let of_other = connection([users[1], server], 30, mss, [128, 63]);
            assert_eq!(found_inside(of_one.chain([of_other]).collect()), users.map(IpAddr::from));
        }
    }

    #[test]
    fn what_came_from_afar_at_the_adapter_is_not_the_clients() {
        let (user, server) = ([10, 9, 0, 1], [10, 0, 0, 1]);
        let mut pushed = connection([server, user], 0, [1380, 1380], [63, 0]);
        pushed.opened.handshake = None;
        let mut point = Point::unknown(PointId(0), 0, LinkType::RAW);
        point.vantage = Some(Vantage::VirtualAdapter);
        assert_eq!(clients(vec![pushed], &[], &[point]).remove(0).address, IpAddr::from(user));
    }

    #[test]
    fn what_gets_stuck_at_a_tunnels_adapter_may_go_toward_the_server() {
        let ends = [[10, 9, 0, 1], [10, 0, 0, 1]];
        let found = |link: LinkType| {
            let mut upload = connection(ends, 0, [1380, 1380], [64, 63]);
            let stuck = Stuck {
                ip_len: 1420,
                seq: 1,
                times: 9,
                first_frame: 1,
                last_frame: 9,
                first: at(1.0),
                last: at(50.0),
                overtaken: 0,
                behind: 0,
            };
            let stuck = Sizes { smallest_stuck: Some(Box::new(stuck)), ..Sizes::default() };
            upload.ended.sizes = [stuck, Sizes::default()].into();
            clients(vec![upload], &[], &[Point::unknown(PointId(0), 0, link)]).remove(0).address
        };
        assert_eq!([LinkType::RAW, LinkType::ETHERNET].map(found), ends.map(IpAddr::from));
    }

    #[test]
    fn a_host_beside_the_gateway_is_no_user_where_users_announce_less() {
        let (server, user, host) = ([10, 0, 0, 1], [10, 9, 0, 1], [10, 1, 0, 1]);
        let found = |mss: &[([u8; 4], u16)]| {
            let mut point = Point::unknown(PointId(0), 0, LinkType::ETHERNET);
            point.vantage = Some(Vantage::Inside);
            let flows =
                (0..).zip(mss).map(|(id, (from, mss))| connection([*from, server], id, [*mss, 1460], [128, 63]));
            let mut sessions = Vec::new();
            let (meetings, pace) = (Vec::new(), Pace::default());
            attach(&mut sessions, HashSet::default(), flows.collect(), &[], &meetings, &pace, &[point]);
            sessions.iter().map(|session| session.client).collect::<Vec<_>>()
        };
        assert_eq!(found(&[(user, 1378), (host, 1460)]), [IpAddr::from(user)]);
        assert_eq!(found(&[(host, 1460)]), [IpAddr::from(host)], "nobody announces less");
        let behind_user = found(&[(user, 1378), (host, 1460), (host, 1378)]);
        assert_eq!(behind_user.len(), 2, "a machine behind a user's adapter shares its address");
    }

    #[test]
    fn a_busy_pair_counts_once() {
        let user = [10, 9, 0, 1];
        let servers = [2, 3, 4].map(|last| [10, 0, 0, last]);
        let own = (0..).zip(servers).map(|(id, server)| connection([user, server], id, [1380, 1380], [128, 64]));
        let pushed = (9..40).map(|id| connection([servers[0], user], id, [1380, 1380], [64, 128]));
        assert_eq!(found_inside(own.chain(pushed).collect()), [IpAddr::from(user)]);
    }

    #[test]
    fn of_one_direction_the_ttl_tells_nothing() {
        let (user, server) = ([10, 9, 0, 1], [10, 0, 0, 1]);
        for ttl in [[128, 0], [127, 0], [0, 64], [0, 63]] {
            let mut flow = connection([user, server], 0, [1380, 1380], ttl);
            flow.opened.handshake = None;
            assert_eq!(found_inside(vec![flow]), [IpAddr::from(user)], "{ttl:?}");
        }
    }

    #[test]
    fn who_is_asked_by_several_hosts_over_udp_is_no_client() {
        let (server, users) = ([10, 0, 0, 53], [1, 2, 3].map(|last| [10, 9, 0, last]));
        let upstream = [192, 0, 2, 53];
        // The gateway passes the clients' packets on with their initial TTL; or it does not.
        for ttl in [[128, 64], [128, 63], [127, 64]] {
            let asked = (0..).zip(users).map(|(id, user)| ([user, server], id, ttl));
            let flows = asked.chain([([server, upstream], 9, [64, 57])]).map(|(ends, id, ttl)| {
                let mut flow = connection(ends, id, [1380, 1380], ttl);
                (flow.opened.protocol, flow.opened.handshake) = (crate::event::Protocol::Udp, None);
                flow
            });
            let found = found_inside(flows.collect());
            assert!(users.iter().all(|user| found.contains(&IpAddr::from(*user))), "{ttl:?}: {found:?}");
            assert!(!found.contains(&IpAddr::from(server)), "{ttl:?}: {found:?}");
        }
    }

    #[test]
    fn a_client_that_servers_open_toward_stays_the_client() {
        let user = [10, 9, 0, 1];
        let servers = [2, 3, 4].map(|last| [10, 0, 0, last]);
        let pushed = |mss| (0..).zip(servers).map(move |(id, server)| connection([server, user], id, mss, [64, 127]));
        assert_eq!(found_inside(pushed([1460, 1378]).collect()), [IpAddr::from(user)], "its SYN-ACKs tell less");
        let others = [5, 6, 7].map(|last| [10, 0, 0, last]);
        let own = (9..).zip(others).map(|(id, server)| connection([user, server], id, [1380, 1380], [127, 64]));
        let both = pushed([1380, 1380]).chain(own).collect();
        assert_eq!(found_inside(both), [IpAddr::from(user)], "it turns to as many as it answers");
    }

    #[test]
    fn an_address_is_that_of_the_session_that_had_it_then() {
        let at = |seconds: f64| Timestamp::default().plus_seconds(seconds);
        let session = |start: f64| {
            let session = Session::new(IpAddr::from([192, 0, 2, 1]), None, 443, Proof::LateDtls { has_tls: true });
            Box::new(Session { start: at(start), end: at(start + 50.0), ..session })
        };
        let address = IpAddr::from([10, 9, 0, 1]);
        let mut sessions = [session(130.0), session(10.0), session(70.0)];
        sessions.iter_mut().for_each(|session| session.inner_addresses.push(address));
        let holders = holders(&sessions, |_| true);
        let held = |seconds: f64| holder(&holders[&address], at(seconds));
        assert_eq!([5.0, 20.0, 65.0, 70.0, 500.0].map(held), [Some(1), Some(1), Some(1), Some(2), Some(0)]);
        assert_eq!(holder(&[], at(0.0)), None);
    }

    #[test]
    fn fragmentation_needed_of_nobody_is_given_back() {
        let [client, server, gateway] = [[10, 9, 0, 1], [10, 1, 0, 1], [10, 1, 0, 254]].map(IpAddr::from);
        let error = |dst: IpAddr, icmp_type, next_hop_mtu| {
            let quoted = Quoted {
                src: server,
                dst,
                protocol: 6,
                ports: None,
                tcp_seq: None,
                tcp_flags: None,
                is_readable: false,
                total_len: 1500,
                dont_fragment: true,
                id: 1,
            };
            IcmpFacts {
                point: PointId(0),
                error: IcmpError { v6: false, icmp_type, code: 4, next_hop_mtu, quoted: Some(quoted) },
                quoted,
                quotes: None,
                sender: gateway,
                count: 1,
                mtus: next_hop_mtu.into_iter().collect(),
                refused: 0,
                first: Timestamp::default(),
                last: Timestamp::default(),
                frames: Vec::new(),
            }
        };
        let mut session = Session::new(IpAddr::from([192, 0, 2, 1]), None, 443, Proof::LateDtls { has_tls: true });
        session.inner_addresses.push(client);
        let mut sessions = [Box::new(session)];
        let stranger = IpAddr::from([10, 9, 0, 2]);
        let told = vec![error(client, 3, Some(1347)), error(stranger, 3, Some(1347)), error(stranger, 11, None)];
        let strays = attach_icmp(&mut sessions, told);
        assert_eq!(sessions[0].icmp.len(), 1);
        assert_eq!(strays.iter().map(|error| error.quoted.dst).collect::<Vec<_>>(), [stranger]);
    }
}
