//! Flows to sessions: connections of one client to one gateway are parents, tunnels, DTLS attempts and reconnects of sessions.
//! Without keys this is graded, and says so where it guesses (the rules are in `docs/protocol.md`).

use super::coverage::cuts_hellos;
use super::facts::{FlowFacts, TlsFacts, View};
use super::group::{Group, MOST_CANDIDATES, Pair, begins_here, group, late, program};
use super::owners::{LOGIN_AFTER, Owners, last_over_dtls, owners};
use super::proof::{Beside, Proof};
use super::reconnect::MINUTE;
use super::replaced;
use super::shape::{Shape, asks_again, converses, exchanges};
use super::unrecognised::HTTPS;
use super::{Confidence, Connection, DtlsFlow, Entry, Point, Role, Session, attempt};
use crate::event::{Direction, PointId, Protocol, Timestamp, Token};
use crate::maps::{HashMap, HashSet};
use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::net::{IpAddr, SocketAddr};
use std::vec;

/// A tunnel that reconnects does so within this many seconds (openconnect gives up after 300).
const RECONNECT_WITHIN: f64 = 330.0;
/// A login begins at most this long before its tunnel connection opens, seconds.
const LOGIN_BEFORE: f64 = 600.0;
/// A client closes its tunnel and opens the next within so many seconds.
pub(super) const REPLACED: f64 = 2.0;
/// A connection this long is no visit to a web page, seconds; and of a program that others tunnel with.
const QUIET_TUNNEL: f64 = 120.0;
pub(super) const KNOWN_TUNNEL: f64 = 10.0;
/// A login or a download over a connection is done by then, seconds.
const FETCHED: f64 = 2.0;

/// The flows of a run, sorted into what they are.
pub struct Joined {
    /// AnyConnect sessions, in order of start, without inner traffic yet.
    pub sessions: Vec<Entry>,
    /// All other flows.
    pub others: Vec<View>,
}

/// Is this flow of a kind that can be an outer connection of an AnyConnect session?
pub fn may_be_outer(flow: &FlowFacts) -> bool {
    flow.tls
        .as_ref()
        .is_some_and(|t| t.client_hello.is_some() || t.server_hello.is_some() || t.data.iter().any(|d| d.records > 0))
        || speaks_dtls(flow)
}

fn speaks_dtls(flow: &FlowFacts) -> bool {
    flow.dtls.as_ref().is_some_and(|dtls| {
        !flow.media && (dtls.attempts.iter().any(|a| attempt::fingerprint(a).is_some()) || late(flow))
    })
}

/// DTLS that nobody but AnyConnect speaks.
fn is_unmistakable(flow: &FlowFacts) -> bool {
    let attempts = flow.dtls.iter().flat_map(|dtls| &dtls.attempts);
    attempts.filter_map(attempt::fingerprint).any(|(_, confidence)| confidence == Confidence::High)
}

/// A talk over DTLS that was up before the capture: an AnyConnect tunnel, if anything tells that the server is a gateway.
pub(super) fn is_late_talk(flow: &FlowFacts) -> bool {
    !flow.media && late(flow) && flow.dtls.iter().all(|dtls| dtls.protected.iter().all(Option::is_some))
}

/// Puts sessions together.
pub fn sessions(flows: Vec<View>, points: &[Point]) -> Joined {
    let (outer, mut others): (Vec<_>, Vec<_>) = flows.into_iter().partition(|flow| may_be_outer(flow));
    let (dtls, tls): (Vec<_>, Vec<_>) = outer.into_iter().partition(|f| f.dtls.is_some());
    let mut tls = without_readdressed(tls, &mut others);
    tls.extend(take_unread(&tls, &dtls, &mut others, points));
    // Pairs in order of appearance: what they showed then lies in memory in the order in which it is asked for.
    let mut places: HashMap<Pair, usize> = HashMap::default();
    let mut tls = by_pair(group(tls, points), &mut places);
    let mut dtls = by_pair(group(dtls, points), &mut places);
    // Hardly a pair has more than one; a list that grows would take up to three times as much meanwhile.
    let mut sessions = Vec::with_capacity(places.len());
    while let Some(place) = [tls.peek(), dtls.peek()].into_iter().flatten().map(|(place, _)| *place).min() {
        let connections = of_pair(&mut tls, place);
        let dtls = of_pair(&mut dtls, place);
        sessions.extend(pair_sessions(connections, dtls, &mut others));
    }
    quiet_tunnels(&mut sessions, &mut others, points);
    sessions.shrink_to_fit();
    // In place: of two that begin alike at the same moment either may come first.
    sessions.sort_unstable_by_key(|session| session.order());
    Joined { sessions, others }
}

/// Sets aside what is no connection of its own: the rest of one whose client a NAT gave another address. It has the same port, goes on
/// where that fell silent, and the gateway, which never heard of it, answers with nothing but a RST.
fn without_readdressed(tls: Vec<View>, others: &mut Vec<View>) -> Vec<View> {
    type Place = (PointId, SocketAddr, u16);
    let place = |flow: &FlowFacts| -> Place {
        let ends = flow.opened.endpoints();
        (flow.point, ends.server, ends.client.port())
    };
    let is_unheard = |flow: &FlowFacts| {
        let said = |tls: &TlsFacts| Direction::ToClient.of(&tls.data).records;
        !begins_here(flow) && flow.tls.as_deref().map(said) == Some(0)
    };
    let unheard: HashSet<Place> = tls.iter().filter(|flow| is_unheard(flow)).map(|flow| place(flow)).collect();
    let mut silent: HashMap<Place, Vec<(IpAddr, Timestamp)>> = HashMap::default();
    for flow in tls.iter().filter(|flow| begins_here(flow) && unheard.contains(&place(flow))) {
        if let Some(last) = flow.last_packet(Direction::ToServer) {
            silent.entry(place(flow)).or_default().push((flow.opened.endpoints().client.ip(), last));
        }
    }
    if silent.is_empty() {
        return tls;
    }
    let goes_on = |flow: &View| {
        let client = flow.opened.endpoints().client.ip();
        let is_before = |(other, last): &(IpAddr, Timestamp)| {
            *other != client && (0.0..RECONNECT_WITHIN).contains(&flow.opened.first.seconds_since(*last))
        };
        is_unheard(flow) && silent.get(&place(flow)).is_some_and(|silent| silent.iter().any(is_before))
    };
    let (readdressed, own): (Vec<View>, Vec<View>) = tls.into_iter().partition(goes_on);
    others.extend(readdressed);
    own
}

/// Takes the TCP connections beside DTLS that only AnyConnect speaks, to whose server no TLS shows because frames are cut too short.
fn take_unread(tls: &[View], dtls: &[View], others: &mut Vec<View>, points: &[Point]) -> Vec<View> {
    if !points.iter().any(cuts_hellos) {
        return Vec::new();
    }
    let ends = |flow: &View| flow.opened.endpoints();
    let read: HashSet<Pair> = tls.iter().map(|flow| ends(flow).addresses()).collect();
    let proven = dtls.iter().filter(|flow| is_unmistakable(flow) && !read.contains(&ends(flow).addresses()));
    let ports = proven.flat_map(|flow| [ends(flow).server.port(), HTTPS].map(|port| (ends(flow).addresses(), port)));
    let ports: HashSet<(Pair, u16)> = ports.collect();
    let is_one = |flow: &View| {
        flow.opened.protocol == Protocol::Tcp
            && points.get(usize::from(flow.point.0)).is_some_and(cuts_hellos)
            && ports.contains(&(ends(flow).addresses(), ends(flow).server.port()))
    };
    let (unread, rest): (Vec<View>, Vec<View>) = std::mem::take(others).into_iter().partition(is_one);
    *others = rest;
    unread
}

/// Nobody types a password this fast, seconds.
const AT_ONCE: f64 = 5.0;

/// Pair by pair, in order of the pairs' places; of one pair in the order given.
fn by_pair(groups: Vec<Group>, places: &mut HashMap<Pair, usize>) -> Peekable<vec::IntoIter<(usize, Group)>> {
    let mut place = |group: &Group| {
        let next = places.len();
        *places.entry(group.addresses()).or_insert(next)
    };
    let mut groups: Vec<(usize, Group)> = groups.into_iter().map(|group| (place(&group), group)).collect();
    groups.sort_by_key(|(place, _)| *place);
    groups.into_iter().peekable()
}

/// Takes those of the pair at that place, which come next if there are any.
fn of_pair(groups: &mut Peekable<vec::IntoIter<(usize, Group)>>, place: usize) -> Vec<Group> {
    std::iter::from_fn(|| groups.next_if(|(next, _)| *next == place)).map(|(_, group)| group).collect()
}

/// Tunnels that their shape does not tell, graded low: to gateways that other clients' DTLS proves, where either their records could be
/// CSTP, or their program is one that others tunnel with there. And those that follow at once where a session's tunnel ended.
fn quiet_tunnels(sessions: &mut Vec<Entry>, others: &mut Vec<View>, points: &[Point]) {
    let programs = Programs::of(sessions);
    let homes = Homes::of(sessions, others);
    let is_one = |flow: &View| {
        if flow.tls.is_none() {
            return false;
        }
        let (shape, life) = (Shape::of(flow), flow.end().seconds_since(flow.opened.first));
        let fits = life >= QUIET_TUNNEL && shape.may_be_quiet_cstp() && exchanges(flow) == 1;
        let is_long = life >= KNOWN_TUNNEL && shape.began_as_tunnel();
        let is_neighbour = programs.has(flow).is_some_and(|known| fits || known && is_long);
        (is_neighbour || is_long && homes.followed(sessions, flow).is_some()) && converses(flow)
    };
    let (quiet, rest): (Vec<View>, Vec<View>) = std::mem::take(others).into_iter().partition(is_one);
    *others = rest;
    for group in group(quiet, points) {
        let followed = group.views.iter().find_map(|view| homes.followed(sessions, view));
        if let Some(home) = followed.and_then(|home| sessions.get_mut(home)) {
            home.end = home.end.max(group.end());
            home.connections.push(Connection { role: Role::Tunnel, views: group.views });
            continue;
        }
        let shape = group.shape();
        let is_known = group.views.iter().any(|view| programs.has(view) == Some(true));
        let draft = Draft { tunnels: vec![0], ..Draft::default() };
        let found = build(group.addresses(), vec![draft], vec![group], Vec::new(), &[shape], others);
        sessions.extend(found.into_iter().map(|mut session| {
            session.identified_by = Proof::Quiet { is_odd: shape.against, is_known };
            session.confidence = Confidence::Low;
            session
        }));
    }
}

/// Clients of whom nothing but DTLS was captured, which was up before: where others' sessions speak DTLS with the same port.
pub(super) fn late_clients(sessions: &mut Vec<Entry>, others: &mut Vec<View>, points: &[Point]) {
    let known = sessions.iter().filter(|session| !session.dtls.is_empty());
    let gateways: HashSet<(IpAddr, u16)> = known.filter_map(|session| Some((session.gateway?, session.port))).collect();
    let is_one = |flow: &View| {
        let server = flow.opened.endpoints().server;
        gateways.contains(&(server.ip(), server.port())) && is_late_talk(flow)
    };
    let (late, rest): (Vec<View>, Vec<View>) = std::mem::take(others).into_iter().partition(is_one);
    *others = rest;
    if late.is_empty() {
        return;
    }
    for group in group(late, points) {
        let draft = Draft { dtls: vec![0], ..Draft::default() };
        sessions.extend(build(group.addresses(), vec![draft], Vec::new(), vec![group], &[], others));
    }
    sessions.sort_unstable_by_key(|session| session.order());
}

/// Programs that tunnel to each gateway that DTLS proves.
struct Programs(HashMap<(IpAddr, u16), HashSet<u64>>);

impl Programs {
    fn of(sessions: &[Entry]) -> Programs {
        let proven = sessions.iter().filter(|s| s.confidence >= Confidence::Medium && !s.dtls.is_empty());
        let mut programs: HashMap<_, HashSet<u64>> = HashMap::default();
        for (gateway, session) in proven.filter_map(|s| Some(((s.gateway?, s.port), s))) {
            programs.entry(gateway).or_default().extend(session.tunnels().filter_map(|c| program(c.best())));
        }
        Programs(programs)
    }

    /// Is the connection of such a program? `None` where it goes to no such gateway.
    fn has(&self, flow: &FlowFacts) -> Option<bool> {
        let server = flow.opened.endpoints().server;
        let programs = self.0.get(&(server.ip(), server.port()))?;
        Some(program(flow).is_some_and(|program| programs.contains(&program)))
    }
}

/// The sessions of each pair that has other TLS too: of many hardly any.
struct Homes(HashMap<Pair, Vec<usize>>);

impl Homes {
    fn of(sessions: &[Entry], others: &[View]) -> Homes {
        let other_tls = others.iter().filter(|flow| flow.tls.is_some());
        let beside: HashSet<Pair> = other_tls.map(|flow| flow.opened.endpoints().addresses()).collect();
        let mut homes: HashMap<Pair, Vec<usize>> = HashMap::default();
        for (home, session) in sessions.iter().enumerate() {
            let pair = session.gateway.map(|gateway| (session.client, gateway));
            if let Some(pair) = pair.filter(|pair| beside.contains(pair)) {
                homes.entry(pair).or_default().push(home);
            }
        }
        Homes(homes)
    }

    /// The session whose program comes back with this connection at once when its last tunnel has ended.
    fn followed(&self, sessions: &[Entry], flow: &FlowFacts) -> Option<usize> {
        let returns = program(flow)?;
        let comes_back = |home: &&usize| {
            let last = sessions.get(**home).and_then(|session| session.tunnels().last());
            last.is_some_and(|last| {
                let gap = flow.opened.first.seconds_since(last.left());
                program(last.best()) == Some(returns)
                    && (0.0..AT_ONCE).contains(&gap)
                    && !logged_in(last.best(), (last.start(), last.left()), flow)
            })
        };
        self.0.get(&flow.opened.endpoints().addresses())?.iter().find(comes_back).copied()
    }
}

/// A session in the making: indices into the pair's groups.
#[derive(Default)]
struct Draft {
    tunnels: Vec<usize>,
    parents: Vec<usize>,
    dtls: Vec<usize>,
    ambiguities: Vec<String>,
    doubtful: bool,
    /// When the last of its tunnels so far died.
    died: Timestamp,
}

/// Sorts all connections between one client address and one gateway address into sessions.
fn pair_sessions(mut connections: Vec<Group>, mut dtls: Vec<Group>, others: &mut Vec<View>) -> Vec<Entry> {
    let Some(pair) = connections.first().or(dtls.first()).map(Group::addresses) else { return Vec::new() };
    connections.sort_by_key(|g| g.start);
    dtls.sort_by_key(|g| g.start);
    // Late DTLS, or a hello that others say too, could be anything without TLS beside it.
    if connections.is_empty() {
        let (keep, drop): (Vec<_>, Vec<_>) =
            dtls.into_iter().partition(|g| g.views.iter().any(|view| is_unmistakable(view)));
        others.extend(drop.into_iter().flat_map(|g| g.views));
        dtls = keep;
    }
    let mut shapes: Vec<Shape> = connections.iter().map(Group::shape).collect();
    let Owners { owners, notes, beside } = owners(&connections, &dtls);
    let looks = shapes.iter().zip(&connections);
    let mut is_tunnel: Vec<bool> =
        looks.map(|(shape, group)| group.is_known_tunnel().unwrap_or(shape.is_cstp())).collect();
    let may_be = |group: &Group| group.is_known_tunnel() != Some(false);
    for owner in owners.iter().flatten().chain(&beside) {
        if let (Some(tunnel), Some(group)) = (is_tunnel.get_mut(*owner), connections.get(*owner)) {
            *tunnel |= may_be(group);
        }
    }
    replaced::mark(&connections, &mut shapes, &mut is_tunnel);
    mark_unread(&connections, &mut is_tunnel);
    if dtls.is_empty() && !is_tunnel.contains(&true) {
        others.extend(connections.into_iter().flat_map(|g| g.views));
        return Vec::new();
    }
    for ((tunnel, shape), group) in is_tunnel.iter_mut().zip(&shapes).zip(&connections) {
        *tunnel |= shape.may_be_cstp() && group.end().seconds_since(group.start) >= FETCHED && may_be(group);
    }
    let (mut drafts, homes) = chain(&connections, &is_tunnel, &last_over_dtls(&connections, &dtls, &owners));
    adopt_parents(&mut drafts, &connections, &is_tunnel);
    let resumed = resumed(&drafts, &connections, &dtls, &owners);
    let mut by_id: BTreeMap<&[u8], usize> = BTreeMap::new();
    for (i, ((owner, note), flow)) in owners.iter().zip(notes).zip(&dtls).enumerate() {
        let home = owner.and_then(|owner| *homes.get(owner)?);
        // Without a tunnel: the draft that already holds a DTLS flow with the same session id.
        let home = home.or_else(|| flow.session_ids().find_map(|id| by_id.get(id).copied()));
        let home = home.or_else(|| resumed.get(&i).copied());
        let home = home.unwrap_or_else(|| {
            drafts.push(Draft::default());
            drafts.len() - 1
        });
        for id in flow.session_ids().filter(|_| dtls.len() > 1) {
            by_id.entry(id).or_insert(home);
        }
        if let Some(draft) = drafts.get_mut(home) {
            draft.dtls.push(i);
            draft.doubtful |= note.is_some();
            draft.ambiguities.extend(note);
        }
    }
    build(pair, drafts, connections, dtls, &shapes, others)
}

/// Of connections whose TLS cannot be read those are tunnels as well that open as a tunnel is closed, and last longer than a login.
fn mark_unread(connections: &[Group], is_tunnel: &mut [bool]) {
    let mut closed: Option<Timestamp> = None;
    for (group, tunnel) in connections.iter().zip(is_tunnel) {
        let follows = closed.is_some_and(|at| group.start.seconds_since(at).abs() <= REPLACED);
        *tunnel |= follows && group.is_unread() && group.end().seconds_since(group.start) >= KNOWN_TUNNEL;
        if *tunnel {
            closed = group.closed();
        }
    }
}

/// Chains tunnel connections into sessions: a new one continues the last one that is dead by then. With the draft of each connection
/// that is a tunnel.
fn chain(
    connections: &[Group],
    is_tunnel: &[bool],
    over_dtls: &[Option<Timestamp>],
) -> (Vec<Draft>, Vec<Option<usize>>) {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut homes = vec![None; connections.len()];
    // When each draft died, and the draft.
    let mut died: BTreeSet<(Timestamp, usize)> = BTreeSet::new();
    let mut by_token: HashMap<Token, usize> = HashMap::default();
    // Start of the last connection so far that looks like a login: connections are in order of start.
    let mut login: Option<Timestamp> = None;
    let mut pending: Option<Timestamp> = None;
    let may_continue = |old: usize, new: usize| {
        let (Some(last), Some(group)) = (connections.get(old), connections.get(new)) else { return false };
        let goes_on = over_dtls.get(old).is_some_and(|over_dtls| *over_dtls > Some(alive_from(group)));
        let both_say_whose = || group.tokens().next().is_some() && last.tokens().next().is_some();
        let span = (last.start, last.end());
        let logged_in = |before: &View| group.views.iter().any(|now| logged_in(before, span, now));
        !goes_on && !both_say_whose() && !last.views.iter().any(logged_in)
    };
    let replacements = replacements(connections, is_tunnel, may_continue);
    let replaced_by = |old: Option<usize>| *replacements.get(old?)?;
    for (i, ((group, tunnel), of)) in connections.iter().zip(is_tunnel).zip(&mut homes).enumerate() {
        if pending.is_some_and(|at| at < group.start) {
            login = pending;
        }
        if !tunnel {
            if group.spoke() {
                pending = Some(group.start);
            }
            continue;
        }
        let death = group.died();
        let alive_from = alive_from(group);
        let last_of = |home: usize| drafts.get(home)?.tunnels.last().copied();
        let last = |home: usize| connections.get(last_of(home)?);
        let continues = |home: usize| {
            let Some(old) = last_of(home) else { return false };
            let logged_in_since = || last(home).is_some_and(|last| login.is_some_and(|at| at > last.end()));
            may_continue(old, i) && !logged_in_since()
        };
        let is_same_program = |home: usize| last(home).is_some_and(|last| last.program() == group.program());
        // Of two users behind one address, the one who closes his tunnel as this one opens replaces it.
        let is_replaced = |home: usize| replaced_by(last_of(home)) == Some(i);
        // Whoever goes on with another tunnel does not have this one beside it.
        let goes_elsewhere = |home: usize| {
            let next = replaced_by(last_of(home)).filter(|next| *next != i).and_then(|next| connections.get(next));
            next.is_some_and(|next| group.end() > next.start)
        };
        let in_time = |death: &Timestamp| *death <= alive_from && group.start.seconds_since(*death) <= RECONNECT_WITHIN;
        // The one that died last is the likeliest to be continued, if none is replaced.
        let likeliest = || {
            died.range(..=(alive_from, usize::MAX))
                .rev()
                .take(MOST_CANDIDATES)
                .take_while(|(death, _)| in_time(death))
                .map(|(_, home)| *home)
                .filter(|home| continues(*home) && !goes_elsewhere(*home))
                .max_by_key(|home| (is_same_program(*home), is_replaced(*home), last(*home).map(Group::end), *home))
        };
        // The token of the session, read with keys, says which session it is, and which it is not.
        let known = group.tokens().find_map(|token| by_token.get(&token).copied());
        let home = known.or_else(likeliest).unwrap_or(drafts.len());
        if home == drafts.len() {
            drafts.push(Draft::default());
        }
        if known.is_none() {
            by_token.extend(group.tokens().map(|token| (token, home)));
        }
        if let Some(draft) = drafts.get_mut(home) {
            died.remove(&(draft.died, home));
            died.insert((death, home));
            draft.died = death;
            draft.tunnels.push(i);
        }
        *of = Some(home);
    }
    (drafts, homes)
}

/// From when on a tunnel is in use.
fn alive_from(group: &Group) -> Timestamp {
    group.first_data().unwrap_or(group.start).plus_seconds(0.5)
}

/// Which tunnel replaces each one that is closed at nearly the moment at which that one opens. Several users behind one address may do so
/// at once: the nearest pairs are the likeliest, and each tunnel is replaced once.
fn replacements(
    connections: &[Group],
    is_tunnel: &[bool],
    may_continue: impl Fn(usize, usize) -> bool,
) -> Vec<Option<usize>> {
    let tunnels = || connections.iter().enumerate().zip(is_tunnel).filter(|(_, tunnel)| **tunnel).map(|(of, _)| of);
    // With two there is nothing to choose.
    if tunnels().nth(2).is_none() {
        return Vec::new();
    }
    let closed: BTreeSet<(Timestamp, usize)> = tunnels().filter_map(|(i, group)| Some((group.closed()?, i))).collect();
    let mut pairs = Vec::new();
    for (new, group) in tunnels() {
        let near = (group.start.plus_seconds(-REPLACED), 0)..(group.start.plus_seconds(REPLACED), usize::MAX);
        let is_one = |old: usize| {
            let is_same_program = connections.get(old).is_some_and(|old| old.program() == group.program());
            old < new && is_same_program && may_continue(old, new)
        };
        let near = closed.range(near).take(MOST_CANDIDATES).filter(|(_, old)| is_one(*old));
        pairs.extend(near.map(|(at, old)| (at.nanos().abs_diff(group.start.nanos()), *old, new)));
    }
    pairs.sort_unstable();
    let mut replaced_by = vec![None; connections.len()];
    let mut replacing = HashSet::default();
    for (_, old, new) in pairs {
        if let Some(next @ None) = replaced_by.get_mut(old)
            && replacing.insert(new)
        {
            *next = Some(new);
        }
    }
    replaced_by
}

/// Did somebody log in on this connection, which came after that tunnel? Connections inside a tunnel outlive its reconnect, and what they
/// say at once looks like further questions and answers.
pub(super) fn logged_in(before: &FlowFacts, (began, ended): (Timestamp, Timestamp), flow: &FlowFacts) -> bool {
    /// CONNECT, and one more.
    const FEW: usize = 2;
    /// Nobody begins a login so soon after his tunnel was reset under him, seconds.
    const TAKEN_UP: f64 = 1.0;
    let exchanges = exchanges(flow);
    let (gap, lived) = (flow.opened.first.seconds_since(ended), ended.seconds_since(began));
    let was_reset = before.closed().is_some_and(|closed| closed.reset);
    let is_taken_up = was_reset && (0.0..TAKEN_UP).contains(&gap);
    let may_be_resumed = gap <= AT_ONCE && (exchanges <= FEW || MINUTE.contains(&lived)) || is_taken_up;
    exchanges > 1 && (!may_be_resumed || asks_again(before, flow))
}

/// Gives each login connection to the session whose tunnel follows it.
fn adopt_parents(drafts: &mut [Draft], connections: &[Group], is_tunnel: &[bool]) {
    if is_tunnel.iter().all(|tunnel| *tunnel) {
        return;
    }
    let first = |d: &Draft| d.tunnels.first().and_then(|t| connections.get(*t)).map(|g| g.start);
    let starts: BTreeSet<(Timestamp, usize)> =
        drafts.iter().enumerate().filter_map(|(home, d)| Some((first(d)?, home))).collect();
    let tokens =
        |d: &Draft| d.tunnels.iter().filter_map(|t| connections.get(*t)).flat_map(Group::tokens).collect::<Vec<_>>();
    let by_token: HashMap<Token, usize> =
        drafts.iter().enumerate().flat_map(|(home, d)| tokens(d).into_iter().map(move |token| (token, home))).collect();
    for (i, (group, tunnel)) in connections.iter().zip(is_tunnel).enumerate() {
        if *tunnel || !group.spoke() {
            continue;
        }
        if let Some(home) = group.tokens().find_map(|token| by_token.get(&token).copied()) {
            if let Some(draft) = drafts.get_mut(home) {
                draft.parents.push(i);
            }
            continue;
        }
        // The first tunnel that opens after the login began, and not long before it ended.
        let from = group.start.max(group.end().plus_seconds(-LOGIN_AFTER));
        let next = starts.range((from, 0)..).next();
        if let Some((start, home)) = next
            && start.seconds_since(group.start) <= LOGIN_BEFORE
            && let Some(draft) = drafts.get_mut(*home)
        {
            draft.parents.push(i);
        }
    }
}

/// The drafts in which clients go on whose DTLS was up before the capture, by that DTLS, where their TLS connection of that time does not
/// show: they open a new tunnel, without a login, and say nothing more over the old DTLS.
fn resumed(drafts: &[Draft], connections: &[Group], dtls: &[Group], owners: &[Option<usize>]) -> HashMap<usize, usize> {
    let said = |flow: &Group| {
        let last = |view: &View| Direction::ToServer.of(&view.dtls.as_ref()?.last()).map(|(at, _)| at);
        flow.views.iter().filter_map(last).max()
    };
    let is_one = |flow: &Group| flow.views.iter().all(|view| late(view));
    let orphans = dtls.iter().enumerate().zip(owners).filter(|((_, flow), owner)| owner.is_none() && is_one(flow));
    let mut orphans: Vec<(Timestamp, usize)> = orphans.filter_map(|((i, flow), _)| Some((said(flow)?, i))).collect();
    if orphans.is_empty() {
        return HashMap::default();
    }
    let first = |draft: &Draft| draft.tunnels.first().and_then(|tunnel| connections.get(*tunnel));
    let is_reconnect = |group: &&Group| group.begins_here() && group.exchanges() <= 1;
    let mut free: BTreeSet<(Timestamp, usize)> = drafts
        .iter()
        .enumerate()
        .filter(|(_, draft)| draft.parents.is_empty())
        .filter_map(|(home, draft)| Some((alive_from(first(draft).filter(is_reconnect)?), home)))
        .collect();
    // Of several clients at one address who fell silent last has come back first.
    orphans.sort_unstable();
    let mut homes = HashMap::default();
    for (last, flow) in orphans.into_iter().rev() {
        let next = free.range((last, 0)..(last.plus_seconds(RECONNECT_WITHIN), 0)).next().copied();
        if let Some(place @ (_, home)) = next {
            free.remove(&place);
            homes.insert(flow, home);
        }
    }
    homes
}

/// Drafts become sessions; what is in none of them stays with the others.
fn build(
    (client, gateway): Pair,
    drafts: Vec<Draft>,
    connections: Vec<Group>,
    dtls: Vec<Group>,
    shapes: &[Shape],
    others: &mut Vec<View>,
) -> Vec<Entry> {
    let mut connections: Vec<Option<Group>> = connections.into_iter().map(Some).collect();
    let mut dtls: Vec<Option<Group>> = dtls.into_iter().map(Some).collect();
    let session = |draft: Draft| {
        let mut take = |i: &usize, tunnel: bool| -> Option<Connection> {
            let group = connections.get_mut(*i)?.take()?;
            // Keys show that the gateway granted none here, while it did elsewhere.
            let is_refused = draft.tunnels.len() > 1 && group.is_refused();
            let role = match (tunnel && !is_refused, group.exchanges() > 1) {
                (false, _) => Role::Parent,
                (true, true) => Role::ParentAndTunnel,
                (true, false) => Role::Tunnel,
            };
            Some(Connection { role, views: group.views })
        };
        let mut all: Vec<Connection> = Vec::with_capacity(draft.tunnels.len() + draft.parents.len());
        all.extend(draft.tunnels.iter().filter_map(|i| take(i, true)));
        all.extend(draft.parents.iter().filter_map(|i| take(i, false)));
        all.sort_by_key(Connection::start);
        let mut flows: Vec<DtlsFlow> = Vec::with_capacity(draft.dtls.len());
        let mut flow = |i: &usize| Some(DtlsFlow { views: dtls.get_mut(*i)?.take()?.views, continues: None });
        flows.extend(draft.dtls.iter().filter_map(&mut flow));
        let cstp = draft.tunnels.iter().filter_map(|i| shapes.get(*i)).filter(|s| s.is_cstp()).map(|s| s.coarse).min();
        let is_replaced = |i: &usize| shapes.get(*i).is_some_and(|shape| shape.is_replaced);
        let is_read = all.iter().any(|c| c.inside().is_some_and(|i| i.request.is_some() || i.answer.is_some()));
        let (identified_by, confidence) = match is_read {
            true => (Proof::Connect, Confidence::High),
            false if cstp.is_none() && flows.is_empty() && draft.tunnels.iter().any(is_replaced) => {
                (Proof::Replaced, Confidence::Low)
            }
            false => identify(&flows, all.iter().find(|c| c.role.is_tunnel()).or(all.first()), cstp),
        };
        let starts = all.iter().map(Connection::start).chain(flows.iter().map(DtlsFlow::start));
        let ends = all.iter().map(Connection::end).chain(flows.iter().map(DtlsFlow::end));
        let port = all
            .first()
            .map(|c| c.best().opened.endpoints().server.port())
            .or_else(|| flows.first().map(|d| d.best().opened.endpoints().server.port()));
        let confidence = if draft.doubtful { confidence.min(Confidence::Medium) } else { confidence };
        Box::new(Session {
            start: starts.min().unwrap_or_default(),
            end: ends.max().unwrap_or_default(),
            confidence,
            ambiguities: draft.ambiguities.into(),
            connections: all.into(),
            dtls: flows.into(),
            ..Session::new(client, Some(gateway), port.unwrap_or(443), identified_by)
        })
    };
    let sessions = drafts.into_iter().map(session).collect();
    others.extend(connections.into_iter().chain(dtls).flatten().flat_map(|g| g.views));
    sessions
}

/// What says that this is AnyConnect, beside that TLS connection; `cstp` tells of tunnels known by their shape whether all of them are CBC.
fn identify(dtls: &[DtlsFlow], tls: Option<&Connection>, cstp: Option<bool>) -> (Proof, Confidence) {
    let prints = dtls.iter().flat_map(DtlsFlow::attempts).filter_map(|(_, a)| attempt::fingerprint(a));
    let print = prints.reduce(|a, b| if b.1 > a.1 { b } else { a });
    match (print, tls, cstp) {
        (Some((print, _)), Some(_), Some(_)) => (Proof::Dtls(print, Beside::Tunnel), Confidence::High),
        (Some((print, _)), Some(tls), None) if tls.is_unread() => {
            (Proof::Dtls(print, Beside::Unread(tls.best().opened.stream)), Confidence::Medium)
        }
        (Some((print, sure)), Some(_), None) => (Proof::Dtls(print, Beside::Tls), sure),
        (Some((print, _)), None, _) => (Proof::Dtls(print, Beside::Nothing), Confidence::Medium),
        (None, _, Some(true)) => (Proof::CoarseCstp, Confidence::Low),
        (None, _, Some(false)) => (Proof::Cstp, Confidence::Medium),
        (None, tls, None) => (Proof::LateDtls { has_tls: tls.is_some() }, Confidence::Low),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Direction::{self, ToClient, ToServer};
    use crate::event::{
        CipherSuite, ClientHello, DtlsMessage, DtlsRecordSeen, Ended, Endpoints, Event, FlowId, FrameRef, Opened,
        PointId, Protocol, ServerHello, SessionId, Version, What,
    };
    use crate::session::facts::FlowNotes;
    use crate::session::tracker::{Limits, Tracker};

    const GATEWAY: [u8; 4] = [203, 0, 113, 2];
    const OTHER: [u8; 4] = [203, 0, 113, 3];
    const SUITE: CipherSuite = CipherSuite(0xc02c);

    /// Flows told event by event.
    struct Told {
        tracker: Tracker,
        flows: u8,
        /// Where the flows told next are captured.
        point: PointId,
        /// Their sequence numbers, each way: first and next.
        numbers: (u32, u32),
        /// The longest silence of the flows told next, seconds.
        silence: u32,
        /// The clients of those TLS connections close them at their end.
        closes: bool,
    }

    impl Told {
        fn new() -> Told {
            Told {
                tracker: Tracker::new(Limits::default()),
                flows: 0,
                point: PointId(0),
                numbers: (0, 0),
                silence: 0,
                closes: false,
            }
        }

        fn flow(&mut self, protocol: Protocol, ends: (u8, [u8; 4]), span: (f64, f64), events: Vec<(f64, What<'_>)>) {
            let at = |seconds| Timestamp::default().plus_seconds(seconds);
            let client = ([192, 0, 2, ends.0], 40_000 + u16::from(self.flows)).into();
            let endpoints = Endpoints { client, server: (ends.1, 443).into() };
            let opened = Opened { stream: u32::from(self.flows), ..Opened::bare(protocol, endpoints, at(span.0)) };
            let numbers = Some(Box::new([Some(self.numbers); 2]));
            let ended = Ended { last: at(span.1), silence: self.silence, numbers, ..Ended::default() };
            let (frame, point, id) = (FrameRef::default(), self.point, self.next());
            let mut tell = |seconds, what| self.tracker.observe(&Event { at: at(seconds), frame, point, what });
            tell(span.0, What::Opened(id, &opened));
            events.into_iter().for_each(|(seconds, what)| tell(seconds, what));
            tell(span.1, What::Ended(id, &opened, &ended));
            self.flows += 1;
        }

        fn next(&self) -> FlowId {
            FlowId(u32::from(self.flows) + 1000 * u32::from(self.point.0))
        }

        /// TLS of a program, named by the suite it offers, with records behind its handshake.
        fn tls(&mut self, ends: (u8, [u8; 4]), program: u16, span: (f64, f64), records: &[(f64, Direction, u16)]) {
            self.tls_until(ends, program, span, records, None);
        }

        /// The same, closed at its end: by a RST or not.
        fn tls_until(
            &mut self,
            ends: (u8, [u8; 4]),
            program: u16,
            span: (f64, f64),
            records: &[(f64, Direction, u16)],
            reset: Option<bool>,
        ) {
            let (random, id) = (Some([self.flows + 1; 32]), self.next());
            let hello = ClientHello { random, cipher_suites: vec![CipherSuite(program)], ..ClientHello::default() };
            let answer = ServerHello { version: Version::TLS_1_2, cipher_suite: Some(SUITE), ..ServerHello::default() };
            let mut events = vec![(span.0, What::ClientHello(id, &hello)), (span.0, What::ServerHello(id, &answer))];
            events.extend(records.iter().map(|(at, way, length)| (*at, What::TlsData(id, *way, *length))));
            let closed = |reset| What::Closed { flow: id, direction: ToServer, alert: None, reset, ttl: 64 };
            let reset = reset.or(self.closes.then_some(false));
            events.extend(reset.map(|reset| (span.1, closed(reset))));
            self.flow(Protocol::Tcp, ends, span, events);
        }

        /// DTLS as only AnyConnect speaks it, with data of the client at those times.
        fn dtls(&mut self, ends: (u8, [u8; 4]), span: (f64, f64), data: &[f64]) {
            self.dtls_named([self.flows + 1; 32], ends, span, data);
        }

        /// The same, under that session id.
        fn dtls_named(&mut self, name: [u8; 32], ends: (u8, [u8; 4]), span: (f64, f64), data: &[f64]) {
            let id = self.next();
            let hello = ClientHello {
                version: Version::DTLS_1_2,
                random: Some([self.flows + 1; 32]),
                session_id: SessionId::new(&name).unwrap_or_default(),
                cipher_suites: vec![SUITE],
                ..ClientHello::default()
            };
            let message = DtlsMessage::ClientHello(&hello, Version::DTLS_1_2);
            let record = |sequence: u64| DtlsRecordSeen {
                content_type: 23,
                version: Version::DTLS_1_2,
                epoch: 1,
                sequence,
                length: 100,
                ip_len: 141,
                unfinished: false,
                cut_behind: false,
            };
            let mut events = vec![(span.0, What::DtlsHandshake(id, ToServer, 0, message))];
            events.extend((1..).zip(data).map(|(number, at)| (*at, What::DtlsRecord(id, ToServer, record(number)))));
            self.flow(Protocol::Udp, ends, span, events);
        }

        /// A session that nobody doubts, of client 1 with program 1.
        fn proven() -> Told {
            let mut told = Told::new();
            told.tls((1, GATEWAY), 1, (0.0, 600.0), &[(0.1, ToServer, 480), (0.2, ToClient, 1000)]);
            told.dtls((1, GATEWAY), (0.4, 600.0), &[1.0]);
            told
        }

        /// DTLS of a client to that gateway, up before the capture: data both ways, or only from the client.
        fn late_dtls(&mut self, ends: (u8, [u8; 4]), ways: &[Direction]) {
            let data: Vec<_> = ways.iter().map(|way| (1.0, *way)).collect();
            self.late_dtls_at(ends, &data);
        }

        /// The same, with data at those times.
        fn late_dtls_at(&mut self, ends: (u8, [u8; 4]), data: &[(f64, Direction)]) {
            let id = self.next();
            let record = DtlsRecordSeen {
                content_type: 23,
                version: Version::DTLS_1_2,
                epoch: 1,
                sequence: 700,
                length: 100,
                ip_len: 141,
                unfinished: false,
                cut_behind: false,
            };
            let numbered =
                (700..).zip(data).map(|(sequence, (at, way))| (*at, *way, DtlsRecordSeen { sequence, ..record }));
            let events = numbered.map(|(at, way, record)| (at, What::DtlsRecord(id, way, record))).collect();
            let span = (data.first().map_or(0.0, |first| first.0), data.last().map_or(0.0, |last| last.0));
            self.flow(Protocol::Udp, ends, span, events);
        }

        /// A TLS connection that was open before the capture, with data both ways at those times.
        fn late_tls(&mut self, ends: (u8, [u8; 4]), data: &[f64]) {
            let id = self.next();
            let record = |at: f64| [(at, ToServer), (at + 0.01, ToClient)];
            let records = data.iter().flat_map(|at| (0..3).flat_map(move |n| record(at + 0.02 * f64::from(n))));
            let events: Vec<_> = records.map(|(at, way)| (at, What::TlsData(id, way, 100))).collect();
            self.flow(Protocol::Tcp, ends, (0.0, 60.0), events);
        }

        fn sessions(self) -> Vec<Entry> {
            sessions(self.tracker.finish().flows, &[]).sessions
        }
    }

    #[test]
    fn a_tunnel_of_a_call_is_told_by_the_next_that_goes_on_without_a_login() {
        struct Next {
            program: u16,
            from: f64,
            requests: usize,
        }
        const LOGIN: usize = 3;
        // Datagrams of a call both ways, and of a connection beside it some ACKs.
        let talk = |from: f64, requests: usize, ack: u16| {
            let ask = move |n: usize| from + 0.1 + 0.2 * n as f64;
            let asked = (0..requests).flat_map(move |n| [(ask(n), ToServer, 480), (ask(n) + 0.1, ToClient, 1000)]);
            let said = (0..50).flat_map(move |n| {
                let at = from + 5.0 + f64::from(n);
                let last = if n % 5 == 0 { ack } else { 240 };
                [(at, ToServer, 232), (at + 0.1, ToClient, 232), (at + 0.2, ToServer, last)]
            });
            asked.chain(said).collect::<Vec<_>>()
        };
        let connections = |requests: usize, ack: u16, next: Next| {
            let mut told = Told::new();
            told.closes = true;
            told.tls((1, OTHER), 1, (0.0, 60.4), &talk(0.0, requests, ack));
            let until = next.from + 60.4;
            told.tls((1, OTHER), next.program, (next.from, until), &talk(next.from, next.requests, ack));
            let found = told.sessions();
            assert!(found.iter().all(|s| (s.identified_by, s.confidence) == (Proof::Replaced, Confidence::Low)));
            found.iter().map(|session| session.connections.len()).collect::<Vec<_>>()
        };
        let next = || Next { program: 1, from: 60.5, requests: 1 };
        assert_eq!(connections(LOGIN, 84, next()), [2], "ACKs of inner TCP");
        assert_eq!(connections(LOGIN, 90, next()), [0; 0], "nothing of that length");
        assert_eq!(connections(1, 84, next()), [0; 0], "nobody logged in");
        assert_eq!(connections(LOGIN, 84, Next { program: 2, ..next() }), [0; 0], "another program");
        assert_eq!(connections(LOGIN, 84, Next { from: 70.0, ..next() }), [0; 0], "ten seconds later");
        assert_eq!(connections(LOGIN, 84, Next { requests: LOGIN, from: 70.0, ..next() }), [0; 0], "with a login");
    }

    #[test]
    fn dtls_of_before_is_of_the_client_that_comes_back_without_a_login() {
        use Direction::{ToClient, ToServer};
        let login = [(0.1, ToServer, 480), (0.2, ToClient, 1000)];
        // Until when each client talks over DTLS that was up before; when a tunnel opens, after how many questions.
        let found = |talks: &[f64], opens: f64, questions: usize| {
            let mut told = Told::new();
            for until in talks {
                told.late_dtls_at((1, GATEWAY), &[(1.0, ToServer), (1.1, ToClient), (*until, ToServer)]);
            }
            let asked = (0..questions).flat_map(|n| login.map(|(at, way, len)| (opens + at + n as f64, way, len)));
            told.tls((1, GATEWAY), 1, (opens, opens + 60.0), &asked.collect::<Vec<_>>());
            told.dtls((1, GATEWAY), (opens + 5.0, opens + 60.0), &[opens + 6.0]);
            told.sessions().iter().map(|s| (s.connections.len(), s.dtls.len())).collect::<Vec<_>>()
        };
        assert_eq!(found(&[5.0], 30.0, 1), [(1, 2)], "it comes back");
        assert_eq!(found(&[5.0], 30.0, 3), [(0, 1), (1, 1)], "somebody logs in");
        assert_eq!(found(&[60.0], 30.0, 1), [(0, 1), (1, 1)], "who talks on has another tunnel");
        assert_eq!(found(&[5.0], 500.0, 1), [(0, 1), (1, 1)], "long after");
        assert_eq!(found(&[5.0, 25.0], 30.0, 1).iter().map(|s| s.1).sum::<usize>(), 3, "one of two");
        assert_eq!(found(&[5.0, 25.0], 30.0, 1).len(), 2);
    }

    #[test]
    fn what_carries_more_than_any_login_is_no_login_of_the_tunnel_that_replaces_it() {
        let roles = |records: u32| {
            let mut told = Told::new();
            told.closes = true;
            let said = (0..records).flat_map(|n| {
                let at = 5.0 + f64::from(n);
                [(at, ToServer, 232), (at + 0.1, ToClient, 232)]
            });
            let login = [(0.1, ToServer, 480), (0.2, ToClient, 1000), (0.3, ToServer, 520), (0.4, ToClient, 1000)];
            told.tls((1, OTHER), 1, (0.0, 60.4), &login.into_iter().chain(said).collect::<Vec<_>>());
            // An inner download: a tunnel by its looks.
            let download = (0..50).map(|n| (61.0 + f64::from(n), [ToServer, ToClient][n as usize % 2], 84));
            let begin = [(60.6, ToServer, 480), (60.7, ToClient, 1000)];
            told.tls((1, OTHER), 1, (60.5, 120.0), &begin.into_iter().chain(download).collect::<Vec<_>>());
            let found = told.sessions();
            assert_eq!(found.len(), 1);
            found[0].connections.iter().map(|connection| connection.role).collect::<Vec<_>>()
        };
        assert_eq!(roles(50), [Role::ParentAndTunnel, Role::Tunnel]);
        assert_eq!(roles(3), [Role::Parent, Role::Tunnel]);
    }

    /// Is such a TLS connection a session, beside one that nobody doubts? It must be graded low.
    fn is_session(server: [u8; 4], program: u16, until: f64, records: &[(f64, Direction, u16)]) -> bool {
        let mut told = Told::proven();
        told.tls((2, server), program, (0.0, until), records);
        let sessions = told.sessions();
        let mut found = sessions.iter().filter(|s| s.client == IpAddr::from([192, 0, 2, 2]));
        assert!(sessions.iter().any(|s| s.client == IpAddr::from([192, 0, 2, 1]) && s.confidence > Confidence::Low));
        found.next().inspect(|s| assert_eq!(s.confidence, Confidence::Low, "{}", s.identified_by)).is_some()
    }

    const ASKED: (f64, Direction, u16) = (0.1, ToServer, 480);
    const ANSWERED: (f64, Direction, u16) = (0.2, ToClient, 1000);

    #[test]
    fn tls_that_talks_beside_question_and_answer_is_a_tunnel_where_others_have_theirs() {
        let unasked = [ASKED, ANSWERED, (60.0, ToClient, 400)];
        assert!(is_session(GATEWAY, 1, 200.0, &unasked));
        assert!(is_session(GATEWAY, 2, 200.0, &unasked), "another program");
        assert!(!is_session(OTHER, 1, 200.0, &unasked), "a gateway that nobody proves");
        assert!(!is_session(GATEWAY, 2, 100.0, &unasked), "another program, and not for long");
        assert!(is_session(GATEWAY, 1, 100.0, &unasked));
        assert!(is_session(GATEWAY, 1, 200.0, &[ASKED, ANSWERED, (60.0, ToServer, 120)]), "too short for a request");
        let later = [ASKED, ANSWERED, (400.0, ToServer, 900), (400.1, ToClient, 900)];
        assert!(is_session(GATEWAY, 1, 500.0, &later), "no web server waits so long");
    }

    #[test]
    fn dtls_that_was_up_before_is_a_session_where_others_have_theirs() {
        let found = |mut told: Told, server: [u8; 4], ways: &[Direction]| {
            told.late_dtls((2, server), ways);
            let Joined { mut sessions, mut others } = sessions(told.tracker.finish().flows, &[]);
            late_clients(&mut sessions, &mut others, &[]);
            let theirs = sessions.iter().filter(|session| session.client == IpAddr::from([192, 0, 2, 2]));
            let told: Vec<_> = theirs.map(|session| (session.identified_by, session.confidence)).collect();
            (told, others.iter().filter(|flow| is_late_talk(flow)).count())
        };
        let both = [ToServer, ToClient];
        let session = (Proof::LateDtls { has_tls: false }, Confidence::Low);
        assert_eq!(found(Told::proven(), GATEWAY, &both), (vec![session], 0));
        assert_eq!(found(Told::proven(), OTHER, &both), (vec![], 1), "a server that nobody proves");
        assert_eq!(found(Told::new(), GATEWAY, &both), (vec![], 1), "the same");
        assert_eq!(found(Told::proven(), GATEWAY, &[ToServer]), (vec![], 0), "nobody answers");
    }

    #[test]
    fn of_several_behind_one_address_each_dtls_goes_to_one_tunnel_and_to_none_that_carries_data_beside_it() {
        let talk = |from: u32, until: u32| {
            (from..until).flat_map(|s| [(f64::from(s), ToServer), (f64::from(s) + 0.1, ToClient)])
        };
        let found = |tls: &[f64], dtls: &[(u32, u32)]| {
            let mut told = Told::new();
            told.late_tls((1, GATEWAY), tls);
            dtls.iter()
                .for_each(|(from, until)| told.late_dtls_at((1, GATEWAY), &talk(*from, *until).collect::<Vec<_>>()));
            let sessions = told.sessions();
            sessions.iter().map(|s| (s.connections.len(), s.dtls.len())).collect::<Vec<_>>()
        };
        assert_eq!(found(&[30.0], &[(0, 20)]), [(1, 1)], "the data went back to TLS");
        assert_eq!(found(&[30.0], &[(0, 60)]), [(1, 0), (0, 1)], "it goes on over DTLS");
        assert_eq!(found(&[30.0], &[(0, 20), (21, 29)]), [(1, 2)], "from another port");
        assert_eq!(found(&[30.0], &[(0, 20), (2, 22)]), [(1, 1), (0, 1)], "two at a time");
    }

    #[test]
    fn bytes_after_a_long_silence_tell_a_tunnel_though_their_record_never_became_whole() {
        let found = |silence: u32| {
            let mut told = Told::proven();
            told.silence = silence;
            told.tls((2, GATEWAY), 1, (0.0, 500.0), &[ASKED, ANSWERED]);
            told.sessions().len()
        };
        assert_eq!(found(400), 2);
        assert_eq!(found(200), 1, "some web servers wait so long");
    }

    #[test]
    fn records_unlike_those_of_cstp_are_believed_only_of_a_known_program() {
        let mut records = vec![ASKED, ANSWERED];
        records.extend((0..30).map(|n| (60.0 + f64::from(n), ToClient, 9000)));
        assert!(!is_session(GATEWAY, 2, 200.0, &records), "pushed to another program");
        assert!(is_session(GATEWAY, 1, 200.0, &records));
    }

    #[test]
    fn dtls_from_another_address_that_names_the_same_session_is_of_one() {
        let found = |name: [u8; 32]| {
            let mut told = Told::proven();
            told.dtls_named(name, (2, GATEWAY), (300.0, 400.0), &[301.0]);
            let mut all = told.sessions();
            crate::session::moves::settle(&mut all, &mut Vec::new(), &[]);
            all.iter().map(|session| session.dtls.len()).collect::<Vec<_>>()
        };
        assert_eq!(found([2; 32]), [2], "the id that the proven session's DTLS named");
        assert_eq!(found([9; 32]), [1, 1]);
    }

    #[test]
    fn visits_and_logins_are_no_tunnels() {
        let answered_late = [ASKED, (90.0, ToClient, 1000), (90.5, ToServer, 600), (90.6, ToClient, 1500)];
        let asked_again = [ASKED, ANSWERED, (100.0, ToServer, 600), (100.1, ToClient, 900), (190.0, ToServer, 600)];
        let alert_of_tls_1_3 = [ASKED, ANSWERED, (300.0, ToClient, 19)];
        for records in [&answered_late[..], &asked_again, &alert_of_tls_1_3, &[ASKED, ANSWERED]] {
            for program in [1, 2] {
                assert!(!is_session(GATEWAY, program, 400.0, records), "program {program}: {records:?}");
            }
        }
        let small = [(0.1, ToServer, 100), (0.2, ToClient, 100), (60.0, ToClient, 400)];
        assert!(!is_session(GATEWAY, 1, 200.0, &small), "it did not begin with HTTP");
    }

    #[test]
    fn a_tunnel_whose_dtls_goes_on_is_not_continued_by_another() {
        let sessions = |last: f64| {
            let mut told = Told::new();
            told.tls((1, GATEWAY), 1, (0.0, 400.0), &[ASKED, ANSWERED]);
            told.dtls((1, GATEWAY), (0.4, last), &[1.0, last]);
            told.tls((1, GATEWAY), 1, (100.0, 400.0), &[(100.1, ToServer, 480), (100.2, ToClient, 1000)]);
            told.dtls((1, GATEWAY), (100.4, 400.0), &[101.0, 390.0]);
            told.sessions().len()
        };
        assert_eq!(sessions(60.0), 1, "a reconnect");
        assert_eq!(sessions(390.0), 2, "two clients behind one address");
    }

    #[test]
    fn who_asks_after_a_minute_what_the_first_login_asked_logs_in_again() {
        let sessions = |requests: [u16; 3]| {
            let mut told = Told::new();
            for (from, requests) in [(0.0, [480, 520, 900]), (61.0, requests)] {
                let ask = |n: u8| from + 0.1 + f64::from(n) * 0.2;
                let talk = (0..)
                    .zip(requests)
                    .flat_map(|(n, length)| [(ask(n), ToServer, length), (ask(n) + 0.1, ToClient, 1000)]);
                told.tls((1, GATEWAY), 1, (from, from + 60.0), &talk.collect::<Vec<_>>());
                told.dtls((1, GATEWAY), (from + 2.0, from + 59.0), &[from + 3.0]);
            }
            told.sessions().len()
        };
        assert_eq!(sessions([484, 512, 900]), 2);
        assert_eq!(sessions([900, 520, 480]), 1, "a reconnect, inside which connections go on");
    }

    #[test]
    fn what_goes_on_from_another_address_with_the_same_port_and_unheard_is_no_connection_of_its_own() {
        let view = |client: u8, port: u16, begins: bool, (first, last_up): (f64, f64), answered: bool| -> View {
            let at = |seconds| Timestamp::default().plus_seconds(seconds);
            let ends = Endpoints { client: ([192, 0, 2, client], port).into(), server: (GATEWAY, 443).into() };
            let client_hello = begins.then(|| (at(first), FrameRef::default(), None));
            let mut tls = TlsFacts { client_hello, ..TlsFacts::default() };
            tls.add_data(at(last_up), FrameRef::default(), ToServer, 100);
            if answered {
                tls.add_data(at(last_up), FrameRef::default(), ToClient, 100);
            }
            let mut notes = FlowNotes::new(PointId(0));
            notes.tls = Some(Box::new(tls));
            let ended = Ended { last_by_direction: [Some(at(last_up)), None], ..Ended::default() };
            Box::new(notes.take(FlowId(0), Opened::bare(Protocol::Tcp, ends, at(first)), ended))
        };
        let left = |moved: View| {
            let mut others = Vec::new();
            let tls = vec![view(1, 40_000, true, (0.0, 6.0), true), moved];
            (without_readdressed(tls, &mut others).len(), others.len())
        };
        assert_eq!(left(view(2, 40_000, false, (9.6, 9.6), false)), (1, 1));
        assert_eq!(left(view(2, 40_000, false, (9.6, 9.6), true)), (2, 0), "the gateway knows it");
        assert_eq!(left(view(2, 40_001, false, (9.6, 9.6), false)), (2, 0), "another port");
        assert_eq!(left(view(1, 40_000, false, (9.6, 9.6), false)), (2, 0), "the same client");
        assert_eq!(left(view(2, 40_000, true, (9.6, 9.6), false)), (2, 0), "it begins here");
        assert_eq!(left(view(2, 40_000, false, (5.0, 9.6), false)), (2, 0), "both at a time");
    }

    #[test]
    fn whose_tunnel_is_reset_under_him_does_not_log_in_the_next_moment() {
        let sessions = |reset: bool, gap: f64, requests: [u16; 3]| {
            let mut told = Told::new();
            for (from, requests) in [(0.0, [480, 520, 900]), (20.0 + gap, requests)] {
                let ask = |n: u8| from + 0.1 + f64::from(n) * 0.2;
                let talk = (0..)
                    .zip(requests)
                    .flat_map(|(n, length)| [(ask(n), ToServer, length), (ask(n) + 0.1, ToClient, 1000)]);
                told.tls_until((1, GATEWAY), 1, (from, from + 20.0), &talk.collect::<Vec<_>>(), Some(reset));
                told.dtls((1, GATEWAY), (from + 2.0, from + 19.0), &[from + 3.0]);
            }
            told.sessions().len()
        };
        assert_eq!(sessions(true, 0.03, [900, 520, 480]), 1);
        assert_eq!(sessions(false, 0.03, [900, 520, 480]), 2, "he left");
        assert_eq!(sessions(true, 3.0, [900, 520, 480]), 2, "he had time to");
        assert_eq!(sessions(true, 0.03, [484, 512, 900]), 2, "he asks what the first login asked");
    }

    #[test]
    fn several_who_replace_their_tunnels_at_once_are_told_apart_as_a_whole() {
        let mut told = Told::new();
        for (from, until, dtls) in [(0.0, 30.1, 0.4), (5.0, 29.7, 5.4), (30.0, 60.0, 30.25), (30.101, 60.0, 30.35)] {
            let talk = [(from + 0.1, ToServer, 480), (from + 0.2, ToClient, 1000)];
            told.tls_until((1, GATEWAY), 1, (from, until), &talk, Some(false));
            told.dtls((1, GATEWAY), (dtls, until), &[dtls + 0.1, until - 1.0]);
        }
        let start = |c: &Connection| c.start().seconds_since(Timestamp::default());
        let found: Vec<Vec<f64>> = told.sessions().iter().map(|s| s.connections.iter().map(start).collect()).collect();
        assert_eq!(found, [[0.0, 30.101], [5.0, 30.0]], "the first to open takes no tunnel that another fits better");
    }

    #[test]
    fn nobody_asks_for_dtls_to_a_tunnel_he_has_left() {
        let owner = |reset: Option<bool>| {
            let mut told = Told::new();
            told.tls((1, GATEWAY), 1, (0.0, 60.0), &[ASKED, ANSWERED]);
            told.tls_until((1, GATEWAY), 1, (1.0, 1.3), &[(1.1, ToServer, 480), (1.2, ToClient, 1000)], reset);
            told.dtls((1, GATEWAY), (1.4, 60.0), &[2.0]);
            let sessions = told.sessions();
            let of = sessions.iter().filter(|s| !s.dtls.is_empty()).flat_map(|s| &s.connections);
            of.map(|c| c.start().seconds_since(Timestamp::default())).collect::<Vec<_>>()
        };
        assert_eq!(owner(None), [1.0]);
        assert_eq!(owner(Some(false)), [0.0], "it had been closed");
    }

    #[test]
    fn a_connection_that_one_capture_broke_off_goes_on_in_another() {
        let connections = |is_closed: bool, later: f64, number: u32| {
            let mut told = Told { numbers: (u32::MAX, 99), ..Told::new() };
            let flow = told.next();
            let record = |flow, at| (at, What::TlsData(flow, ToServer, 480));
            let closed = What::Closed { flow, direction: ToServer, alert: None, reset: false, ttl: 64 };
            let mut events = vec![record(flow, 1.0)];
            events.extend(is_closed.then_some((30.0, closed)));
            told.flow(Protocol::Tcp, (1, GATEWAY), (1.0, 30.0), events);
            // The same ports, captured elsewhere.
            (told.flows, told.point, told.numbers) = (0, PointId(1), (number, number + 100));
            let rest = vec![record(told.next(), later)];
            told.flow(Protocol::Tcp, (1, GATEWAY), (later, later + 9.0), rest);
            group(told.tracker.finish().flows, &[]).len()
        };
        assert_eq!(connections(false, 90.0, 100), 1);
        assert_eq!(connections(false, 33.0, 99), 1);
        assert_eq!(connections(true, 90.0, 100), 2, "it had ended: the ports were used again");
        assert_eq!(connections(false, 90.0, 3_000_000_000), 2, "its numbers do not go on");
        assert_eq!([99, 200_000_000].map(|number| connections(false, 90_000.0, number)), [1, 2], "after a day");
    }
}
