//! Sessions that moved: DTLS that goes on from another port or address, a client that roamed, a client that changed gateways; and one
//! that only its own capture shows by its own address.
//!
//! Record numbers are the proof: they go on where they stopped, without a handshake (RFC 6347 §4.1); or a handshake that names the same
//! DTLS session. Without them a client that moved is only believed where the capture stood on the client itself.

use super::facts::{AttemptFacts, FlowFacts, RecordNumber, View};
use super::join::{REPLACED, logged_in};
use super::proof::Beside;
use super::{Connection, DtlsFlow, Entry, Point, Proof, Session, vantage};
use crate::event::{Direction, FrameRef, PointId, Timestamp, Token, Vantage};
use crate::maps::{HashMap, HashSet};
use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Records that may be lost in a move.
const LOST: u64 = 512;
/// A move takes no longer, seconds: a NAT that forgot, a phone that changed networks.
const WITHIN: f64 = 300.0;
/// A client that changes networks or gateways is back within so many seconds.
const BACK: f64 = 60.0;
/// And may be there so long before its last packet from where it was, seconds.
const SOONER: f64 = 1.0;
/// Bytes of a session id that the gateway made up for one tunnel.
const WHOLE: usize = 32;
/// Candidates looked at per flow.
const MOST: usize = 64;

/// Where a session came from: another gateway that the same client left just before.
#[derive(Clone, Copy, Debug)]
pub struct Hop {
    /// That gateway.
    pub gateway: IpAddr,
    /// When its last packet was seen.
    pub left: Timestamp,
    /// That packet's frame.
    pub frame: FrameRef,
}

/// The end of a DTLS flow at one point: who may go on from there.
#[derive(Clone, Copy)]
struct End {
    session: usize,
    /// The flow's own name: when it began.
    flow: Timestamp,
    client: IpAddr,
    last: Timestamp,
}

/// Puts together what moved.
pub fn settle(sessions: &mut Vec<Entry>, others: &mut Vec<View>, points: &[Point]) {
    let signs = Signs::of(sessions);
    if signs.is_late || others.iter().any(|flow| is_late(flow)) {
        continue_dtls(sessions, others);
    }
    if signs.is_apart {
        name_the_same(sessions);
    }
    if signs.is_read {
        show_the_same_token(sessions);
    }
    if signs.is_proxied {
        past_the_proxy(sessions);
    }
    behind_nat(sessions, points);
    if points.iter().any(|point| point.vantage == Some(Vantage::Client)) {
        roam(sessions, points);
    }
    hop(sessions);
}

/// What any session shows that may have moved: told of all at once, for it is seldom, and their facts lie far apart.
#[derive(Default)]
struct Signs {
    /// DTLS without a handshake.
    is_late: bool,
    /// A DTLS handshake without a tunnel, or before it.
    is_apart: bool,
    /// Keys opened its CONNECT.
    is_read: bool,
    /// TLS through a proxy.
    is_proxied: bool,
}

impl Signs {
    fn of(sessions: &[Entry]) -> Signs {
        let mut signs = Signs::default();
        for session in sessions {
            signs.is_late |= session.dtls.iter().flat_map(|flow| &flow.views).any(|view| is_late(view));
            signs.is_apart |= attempts_apart(session).next().is_some();
            signs.is_read |= session.identified_by == Proof::Connect;
            signs.is_proxied |= session.proxied_to().is_some();
        }
        signs
    }
}

fn is_late(flow: &FlowFacts) -> bool {
    flow.dtls.as_ref().is_some_and(|d| d.attempts.is_empty() && Direction::ToServer.of(&d.sequence).highest.is_some())
}

fn attempts(session: &Session) -> impl Iterator<Item = &AttemptFacts> {
    session.dtls.iter().flat_map(DtlsFlow::attempts).map(|(_, attempt)| attempt)
}

/// The DTLS handshakes of a session without a tunnel, or before it.
fn attempts_apart(session: &Session) -> impl Iterator<Item = &AttemptFacts> {
    let tunnel = session.connections.first().map(Connection::start);
    attempts(session).filter(move |attempt| tunnel.is_none_or(|tunnel| attempt.first < tunnel))
}

/// Finds the flow each late flow continues.
fn continue_dtls(sessions: &mut Vec<Entry>, others: &mut Vec<View>) {
    type ByNumber = BTreeMap<RecordNumber, Vec<End>>;
    let mut ends: HashMap<(PointId, IpAddr), ByNumber> = HashMap::default();
    for (session, flow) in sessions.iter().enumerate().flat_map(|(i, s)| s.dtls.iter().map(move |d| (i, d))) {
        for view in &flow.views {
            let Some(dtls) = view.dtls.as_deref() else { continue };
            let Some(highest) = Direction::ToServer.of(&dtls.sequence).highest else { continue };
            let opened = view.opened.endpoints();
            let end = End { session, flow: flow.start(), client: opened.client.ip(), last: view.ended.last };
            let at = ends.entry((view.point, opened.server.ip())).or_default();
            at.entry(highest).or_default().push(end);
        }
    }
    let before = |view: &FlowFacts| -> Option<End> {
        let number = Direction::ToServer.of(&view.dtls.as_ref()?.sequence).first()?;
        let known = ends.get(&(view.point, view.opened.endpoints().server.ip()))?;
        let range = RecordNumber::new(number.epoch(), number.sequence().saturating_sub(LOST))..number;
        let fits = |end: &&End| {
            let after = view.opened.first.seconds_since(end.last);
            number.epoch() > 0 && (-1.0..WITHIN).contains(&after) && end.flow < view.opened.first
        };
        let found: Vec<&End> = known.range(range).rev().flat_map(|(_, ends)| ends).take(MOST).filter(fits).collect();
        let same_host = found.iter().find(|end| end.client == view.opened.endpoints().client.ip());
        // From another address only when nobody else could have moved: it may be the second time that this one has.
        let is_same_user = |first: &&&End| found.iter().all(|end| end.session == first.session);
        same_host.or_else(|| found.first().filter(is_same_user)).map(|end| **end)
    };
    // Late flows nobody claimed.
    let mut found: BTreeMap<(usize, Timestamp), Vec<View>> = BTreeMap::new();
    let mut rest = Vec::new();
    for flow in others.drain(..) {
        match is_late(&flow).then(|| before(&flow)).flatten() {
            Some(end) => found.entry((end.session, end.flow)).or_default().push(flow),
            None => rest.push(flow),
        }
    }
    *others = rest;
    let mut merge: Vec<(usize, usize)> = Vec::new();
    let mut continued: Vec<(usize, usize, Timestamp)> = Vec::new();
    for (i, session) in sessions.iter().enumerate() {
        for (j, flow) in session.dtls.iter().enumerate().filter(|(_, d)| d.views.iter().all(|view| is_late(view))) {
            if let Some(end) = flow.views.iter().find_map(|view| before(view)) {
                continued.push((i, j, end.flow));
                if end.session != i {
                    merge.push((i, end.session));
                }
            }
        }
    }
    for (i, j, from) in continued {
        if let Some(flow) = sessions.get_mut(i).and_then(|s| s.dtls.get_mut(j)) {
            flow.continues = Some(from);
        }
    }
    for ((session, from), mut views) in found {
        views.sort_by_key(|v| v.point);
        if let Some(session) = sessions.get_mut(session) {
            session.end = session.end.max(views.iter().map(|v| v.ended.last).max().unwrap_or(session.end));
            session.dtls.push(DtlsFlow { views: views.into(), continues: Some(from) });
            session.dtls.sort_by_key(DtlsFlow::start);
        }
    }
    merge_all(sessions, merge);
    merge_all(sessions, own_tunnels(sessions));
}

/// DTLS without a tunnel of its own, or before it, that names the DTLS session of another client's tunnel: the client has another
/// address. Keys tell it of a tunnel without DTLS, too: its answer to CONNECT names the session.
fn name_the_same(sessions: &mut Vec<Entry>) {
    type Name = (Option<IpAddr>, [u8; WHOLE]);
    fn name(session: &Session, attempt: &AttemptFacts) -> Option<Name> {
        Some((session.gateway, attempt.session_id.as_bytes().try_into().ok()?))
    }
    let granted = |session: &Session| -> Vec<Name> {
        session.granted().filter_map(|(.., answer)| Some((session.gateway, answer.dtls_id()?))).collect()
    };
    let mut homeless: HashMap<Name, Vec<usize>> = HashMap::default();
    for (i, session) in sessions.iter().enumerate() {
        for name in attempts_apart(session).filter_map(|attempt| name(session, attempt)) {
            homeless.entry(name).or_default().push(i);
        }
    }
    let with_tunnel = sessions.iter().enumerate().filter(|(_, s)| !s.connections.is_empty());
    let start = |i: usize| sessions.get(i).map(|session| session.start);
    let is_alone = |i: usize| sessions.get(i).is_some_and(|session| session.connections.is_empty());
    let is_later = |moved, home| is_alone(moved) || start(home) < start(moved);
    let given = |s| attempts(s).filter(|attempt| !attempt.is_own).filter_map(move |attempt| name(s, attempt));
    let found = with_tunnel.flat_map(|(home, s)| given(s).chain(granted(s)).map(move |name| (name, home)));
    let moved = |name: &Name| homeless.get(name).map_or(&[][..], Vec::as_slice).iter().copied();
    let merge: BTreeSet<(usize, usize)> = found
        .flat_map(|(name, home)| moved(&name).map(move |moved| (moved, home)))
        .filter(|(moved, home)| is_later(*moved, *home))
        .collect();
    merge_all(sessions, merge.into_iter().collect());
}

/// Keys show that a tunnel from another address goes on with the token of an earlier one.
fn show_the_same_token(sessions: &mut Vec<Entry>) {
    let mut by_token: HashMap<(Option<IpAddr>, Token), usize> = HashMap::default();
    let mut merge = Vec::new();
    for (i, session) in sessions.iter().enumerate().filter(|(_, s)| s.identified_by == Proof::Connect) {
        let inside = session.connections.iter().flat_map(|c| &c.views).filter_map(|v| v.tls.as_ref()?.inside());
        for token in inside.flat_map(|inside| &inside.tokens) {
            let home = *by_token.entry((session.gateway, *token)).or_insert(i);
            if sessions.get(home).is_some_and(|known| known.client != session.client) {
                merge.push((i, home));
            }
        }
    }
    merge_all(sessions, merge);
}

/// DTLS goes past the web proxy that a client's TLS goes through: to the host it asked the proxy for, or, where that is a name, to the
/// one that it says hello to at once when the tunnel is up.
fn past_the_proxy(sessions: &mut Vec<Entry>) {
    /// A client needs no longer to bring its adapter up, seconds.
    const AT_ONCE: f64 = 15.0;
    let proxied = sessions.iter().enumerate().filter_map(|(home, s)| Some((home, s, s.proxied_to()?)));
    let proxied: Vec<(usize, &Entry, &str)> = proxied.collect();
    let mut merge = Vec::new();
    for (alone, session) in sessions.iter().enumerate().filter(|(_, s)| s.connections.is_empty() && !s.dtls.is_empty())
    {
        let is_asked = |to: &str| {
            let host = to.rsplit_once(':').map_or(to, |(host, _)| host).trim_matches(['[', ']']);
            host.parse::<IpAddr>().ok().map(|host| Some(host) == session.gateway)
        };
        let is_soon = |home: &Session| {
            let mut opened = home.tunnels().map(|tunnel| session.start.seconds_since(tunnel.start()));
            opened.any(|after| (0.0..AT_ONCE).contains(&after))
        };
        let fits = |(_, home, to): &&(usize, &Entry, &str)| {
            home.client == session.client && is_asked(to).unwrap_or_else(|| is_soon(home))
        };
        let mut homes = proxied.iter().filter(fits);
        if let (Some((home, ..)), None) = (homes.next(), homes.next()) {
            merge.push((alone, *home));
        }
    }
    merge_all(sessions, merge);
}

/// A tunnel captured at both ends tells the address that a NAT gives its client. The one before or behind it, of which the client's own
/// capture shows nothing because it was not running, is known at the gateway's end by that address: it is closed as the other opens.
fn behind_nat(sessions: &mut Vec<Entry>, points: &[Point]) {
    type Outside = (IpAddr, Option<IpAddr>);
    // Of clients captured at both ends, by the address that others see: when each begins, and when its first and last tunnels are closed.
    let mut beyond: HashMap<Outside, [BTreeSet<(Timestamp, usize)>; 3]> = HashMap::default();
    let mut near_ones: HashSet<usize> = HashSet::default();
    for (near, session) in sessions.iter().enumerate() {
        let Some((_, address)) = session.nat().filter(|(own, _)| *own == session.client) else { continue };
        let [begins, rests, ends] = beyond.entry((address, session.gateway)).or_default();
        begins.extend(begins_at(session).map(|at| (at, near)));
        rests.extend(session.tunnels().next().and_then(closed_at).map(|at| (at, near)));
        ends.extend(session.tunnels().last().and_then(closed_at).map(|at| (at, near)));
        near_ones.insert(near);
    }
    if beyond.is_empty() {
        return;
    }
    let mut pairs = Vec::new();
    for (far, session) in sessions.iter().enumerate() {
        let Some([begins, rests, ends]) = beyond.get(&(session.client, session.gateway)) else { continue };
        let around = |at: Timestamp| (at.plus_seconds(-REPLACED), 0)..(at.plus_seconds(REPLACED), usize::MAX);
        let known = |(_, near): &(Timestamp, usize)| Some((*near, &**sessions.get(*near)?));
        let unseen = |of_client: &Session| unseen_by_client(session, of_client, points);
        let closed = session.tunnels().last().and_then(closed_at);
        let same = closed.into_iter().flat_map(|at| rests.range(around(at)).take(MOST));
        let shown = same.filter_map(known).filter(|(_, of_client)| shows_rest(session, of_client));
        pairs.extend(shown.map(|(near, _)| (0.0, far, near)));
        let behind = closed.into_iter().flat_map(|at| begins.range(around(at)).take(MOST));
        for (near, next) in behind.filter_map(known) {
            pairs.extend(replaced_in(session, next).filter(|_| unseen(next)).map(|gap| (gap, far, near)));
        }
        let before = begins_at(session).into_iter().flat_map(|at| ends.range(around(at)).take(MOST));
        for (near, last) in before.filter_map(known) {
            pairs.extend(replaced_in(last, session).filter(|_| unseen(last)).map(|gap| (gap, near, far)));
        }
    }
    let into_near = |(a, b): (usize, usize)| if near_ones.contains(&b) { (a, b) } else { (b, a) };
    let merge = nearest(&mut pairs).into_iter().map(into_near).collect();
    merge_all(sessions, merge);
    sessions.iter_mut().for_each(|session| join_rest(session));
}

/// When a tunnel was closed.
fn closed_at(tunnel: &Connection) -> Option<Timestamp> {
    tunnel.views.iter().filter_map(|view| view.closed()).map(|closed| closed.at).min()
}

/// Does the client's own capture begin in the middle of the other session's last tunnel?
fn shows_rest(session: &Session, of_client: &Session) -> bool {
    let tunnels = session.tunnels().last().zip(of_client.tunnels().next());
    tunnels.is_some_and(|(whole, rest)| is_rest(whole, rest))
}

/// Is the second connection the rest of the first, as another point shows it: of the same port, and closed at the same moment?
fn is_rest(whole: &Connection, rest: &Connection) -> bool {
    let port = |connection: &Connection| connection.best().opened.endpoints().client.port();
    let closed = closed_at(whole).zip(closed_at(rest));
    let is_elsewhere = || rest.views.iter().all(|view| whole.views.iter().all(|other| other.point != view.point));
    whole.begins_here()
        && !rest.begins_here()
        && whole.start() < rest.start()
        && port(whole) == port(rest)
        && closed.is_some_and(|(a, b)| a.seconds_since(b).abs() < SOONER)
        && is_elsewhere()
}

/// Makes one connection of a tunnel and its rest.
fn join_rest(session: &mut Session) {
    let pairs = session.connections.iter().enumerate().zip(session.connections.iter().skip(1));
    let found = pairs.filter(|((_, whole), rest)| is_rest(whole, rest)).map(|((place, _), _)| place).next();
    let Some(place) = found else { return };
    let views = session.connections.get_mut(place + 1).map(|rest| std::mem::take(&mut rest.views));
    if let (Some(whole), Some(views)) = (session.connections.get_mut(place), views) {
        whole.views.extend(views);
        session.connections.remove(place + 1);
    }
}

/// How far from the end of the first's last tunnel the second's first one began, where the same program replaced it without a login,
/// seconds.
fn replaced_in(first: &Session, second: &Session) -> Option<f64> {
    let (old, new) = (first.tunnels().last()?, second.connections.first()?);
    let gap = begins_at(second)?.seconds_since(closed_at(old)?).abs();
    let program = |tunnel: &Connection| super::group::program(tunnel.best());
    let is_same = program(old).is_some_and(|old| program(new) == Some(old));
    let is_login = logged_in(old.best(), (old.start(), old.left()), new.best());
    (gap < REPLACED && is_same && !is_login).then_some(gap)
}

/// Was the client's own capture not running when each tunnel of the first session opened?
fn unseen_by_client(session: &Session, of_client: &Session, points: &[Point]) -> bool {
    let own = of_client.outer_views().filter(|view| view.opened.endpoints().client.ip() == of_client.client);
    let own: BTreeSet<PointId> = own.map(|view| view.point).collect();
    let was_capturing = |at: Timestamp| {
        let mut own = own.iter().filter_map(|point| points.get(usize::from(point.0)));
        own.any(|point| point.was_capturing(at, at))
    };
    !session.tunnels().any(|tunnel| was_capturing(tunnel.start()))
}

/// The tunnel that a moved client opened from its new address belongs to the session its DTLS came from.
fn own_tunnels(sessions: &[Entry]) -> Vec<(usize, usize)> {
    // In order of start, as the sessions are; asked for seldom.
    let tunnels = LazyCell::new(|| {
        let begins = |s: &Session| s.connections.first().is_some_and(|c| c.role == super::Role::Tunnel);
        let mut tunnels: HashMap<(IpAddr, Option<IpAddr>), Vec<usize>> = HashMap::default();
        for (i, s) in sessions.iter().enumerate().filter(|(_, s)| begins(s)) {
            tunnels.entry((s.client, s.gateway)).or_default().push(i);
        }
        tunnels
    });
    let mut merge = Vec::new();
    for (home, from) in sessions.iter().enumerate().flat_map(|(i, s)| s.dtls.iter().map(move |d| (i, d))) {
        let client = from.best().opened.endpoints().client.ip();
        let Some(session) = sessions.get(home).filter(|s| from.continues.is_some() && s.client != client) else {
            continue;
        };
        let after = |i: &usize| sessions.get(*i).map(|s| s.start.seconds_since(from.end()));
        let known = tunnels.get(&(client, session.gateway)).map_or(&[][..], Vec::as_slice);
        let begun = known.partition_point(|i| after(i) < Some(-BACK));
        let next = known.get(begun).copied().filter(|i| after(i) < Some(BACK));
        merge.extend(next.map(|next| (next, home)));
    }
    merge
}

/// Of pairs with what lies between them those that are nearest: each one is in one of them.
fn nearest(pairs: &mut [(f64, usize, usize)]) -> Vec<(usize, usize)> {
    pairs.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut from, mut to) = (HashSet::default(), HashSet::default());
    let is_free =
        |(_, a, b): &&(f64, usize, usize)| !from.contains(a) && !to.contains(b) && from.insert(*a) && to.insert(*b);
    pairs.iter().filter(is_free).map(|(_, a, b)| (*a, *b)).collect()
}

/// A client that has another address all of a sudden, and goes on without a login; seen on the client itself.
fn roam(sessions: &mut Vec<Entry>, points: &[Point]) {
    let at_client = |s: &Session| -> BTreeSet<PointId> {
        s.outer_views().map(|v| v.point).filter(|p| vantage(points, *p) == Some(Vantage::Client)).collect()
    };
    let mut by_point: HashMap<(PointId, Option<IpAddr>), Vec<usize>> = HashMap::default();
    for (i, session) in sessions.iter().enumerate() {
        for point in at_client(session) {
            by_point.entry((point, session.gateway)).or_default().push(i);
        }
    }
    let mut merge = Vec::new();
    for (_, mut there) in by_point {
        there.sort_by_key(|i| sessions.get(*i).map(|s| s.start));
        let known = |i: usize| sessions.get(i).map(|session| (i, &**session));
        let there: Vec<(usize, &Session)> = there.into_iter().filter_map(known).collect();
        merge.extend(match are_several(&there) {
            true => sole_moves(&there),
            false => there
                .windows(2)
                .filter_map(|pair| match *pair {
                    [(a, first), (b, second)] if moved(first, second).is_some() => Some((b, a)),
                    _ => None,
                })
                .collect(),
        });
    }
    merge.sort_unstable();
    merge.dedup();
    merge_all(sessions, merge);
}

/// Do clients of several addresses talk at the same time?
fn are_several(there: &[(usize, &Session)]) -> bool {
    /// Of a client that moved the last packets may linger, seconds.
    const LINGERS: f64 = 10.0;
    there.windows(2).any(|pair| match pair {
        [(_, a), (_, b)] if a.client != b.client => {
            let sent = a.outer_views().filter_map(|view| view.last_packet(Direction::ToServer)).max();
            sent.is_some_and(|sent| sent.seconds_since(b.start) > LINGERS)
        }
        _ => false,
    })
}

/// Of several clients, those that moved: the second begins where only the first stopped, and nobody else begins then. Each with the
/// session that it goes on with.
fn sole_moves(there: &[(usize, &Session)]) -> Vec<(usize, usize)> {
    let program = |c: Option<&Connection>| c.and_then(|c| super::group::program(c.best()));
    let mut begins: Vec<(Timestamp, usize)> =
        there.iter().enumerate().filter_map(|(n, (_, session))| Some((begins_at(session)?, n))).collect();
    begins.sort_unstable();
    let mut pairs = Vec::new();
    for (n, (a, first)) in there.iter().enumerate() {
        let Some(stopped) = stopped_at(first) else { continue };
        let early = begins.partition_point(|(at, _)| at.seconds_since(stopped) < -SOONER);
        let later = begins.iter().skip(early).take_while(|(at, _)| at.seconds_since(stopped) < BACK).take(MOST);
        for (b, second) in later.filter(|(_, m)| *m > n).filter_map(|(_, m)| there.get(*m)) {
            let programs = (program(first.tunnels().last()), program(second.connections.first()));
            let is_other_program = matches!(programs, (Some(before), Some(now)) if before != now);
            if let Some(after) = moved(first, second).filter(|_| !is_other_program) {
                pairs.push((after.abs(), *a, *b));
            }
        }
    }
    let nearest = nearest(&mut pairs);
    let from: HashSet<usize> = nearest.iter().map(|(a, _)| *a).collect();
    let to: HashSet<usize> = nearest.iter().map(|(_, b)| *b).collect();
    // Who stopped when another began, or began when another stopped, and is in no pair.
    let rivals_to: HashSet<usize> = pairs.iter().filter(|(_, _, b)| !to.contains(b)).map(|(_, a, _)| *a).collect();
    let rivals_from: HashSet<usize> = pairs.iter().filter(|(_, a, _)| !from.contains(a)).map(|(_, _, b)| *b).collect();
    let sole = nearest.into_iter().filter(|(a, b)| !rivals_to.contains(a) && !rivals_from.contains(b));
    sole.map(|(a, b)| (b, a)).collect()
}

/// When the client of its last tunnel was heard last.
fn stopped_at(session: &Session) -> Option<Timestamp> {
    let last = session.tunnels().last()?;
    let over_dtls = session.dtls_since(last).flat_map(|d| &d.views).filter_map(|v| v.last_packet(Direction::ToServer));
    Some(over_dtls.chain(last.last_data()).max().unwrap_or(last.end()))
}

/// When it began, if it did without a login.
fn begins_at(session: &Session) -> Option<Timestamp> {
    let first = session.connections.first()?;
    (first.role == super::Role::Tunnel && first.best().opened.syn().is_some()).then(|| first.start())
}

/// How long after the first stopped did the second begin, without a login and from another address? `None` if it did not, or too late.
fn moved(first: &Session, second: &Session) -> Option<f64> {
    let is_other = first.client != second.client && first.client.is_ipv4() == second.client.is_ipv4();
    let after = begins_at(second).filter(|_| is_other)?.seconds_since(stopped_at(first)?);
    (-SOONER..BACK).contains(&after).then_some(after)
}

/// Merges each first session into its second; chains go all the way down.
fn merge_all(sessions: &mut Vec<Entry>, merge: Vec<(usize, usize)>) {
    if merge.is_empty() {
        return;
    }
    let into: HashMap<usize, usize> = merge.into_iter().filter(|(from, to)| from != to).collect();
    let root = |mut i: usize| {
        // As many steps as there are sessions lead to the end of any chain.
        for _ in 0..into.len() {
            let Some(next) = into.get(&i) else { break };
            i = *next;
        }
        i
    };
    let mut kept: BTreeMap<usize, Entry> = BTreeMap::new();
    let mut moved = Vec::new();
    for (i, session) in std::mem::take(sessions).into_iter().enumerate() {
        let home = root(i);
        if home == i || into.contains_key(&home) {
            kept.insert(i, session);
        } else {
            moved.push((home, session));
        }
    }
    for (home, session) in moved {
        match kept.get_mut(&home) {
            Some(known) => known.absorb(*session),
            None => {
                kept.insert(home, session);
            }
        }
    }
    sessions.extend(kept.into_values());
    sessions.sort_by_key(|session| session.order());
}

/// A client that left one gateway for another.
fn hop(sessions: &mut [Entry]) {
    let mut gateways: HashMap<IpAddr, Option<IpAddr>> = HashMap::default();
    let mut moved: HashSet<IpAddr> = HashSet::default();
    for session in sessions.iter() {
        if *gateways.entry(session.client).or_insert(session.gateway) != session.gateway {
            moved.insert(session.client);
        }
    }
    let mut left: HashMap<(IpAddr, PointId), BTreeSet<(Timestamp, usize)>> = HashMap::default();
    for (i, session) in sessions.iter().enumerate().filter(|(_, s)| moved.contains(&s.client)) {
        for view in session.tunnels().flat_map(|c| &c.views) {
            left.entry((session.client, view.point)).or_default().insert((view.end(), i));
        }
    }
    let mut hops: Vec<(usize, Hop)> = Vec::new();
    for (i, session) in sessions.iter().enumerate().filter(|(_, s)| moved.contains(&s.client)) {
        let Some(view) = session.outer_views().min_by_key(|v| v.opened.first) else { continue };
        let Some(known) = left.get(&(session.client, view.point)) else { continue };
        let start = view.opened.first;
        let range = (start.plus_seconds(-BACK), 0)..(start.plus_seconds(1.0), usize::MAX);
        let other = |(_, j): &&(Timestamp, usize)| {
            sessions.get(*j).is_some_and(|o| o.gateway != session.gateway && o.start < start)
        };
        let Some((at, j)) = known.range(range).rev().take(MOST).find(other).copied() else { continue };
        let Some(other) = sessions.get(j) else { continue };
        let frame = other.tunnels().flat_map(|c| &c.views).max_by_key(|v| v.ended.last).map(|v| v.ended.last_frame);
        if let (Some(gateway), Some(frame)) = (other.gateway, frame) {
            hops.push((i, Hop { gateway, left: at, frame }));
        }
    }
    for (i, hop) in hops {
        if let Some(session) = sessions.get_mut(i) {
            session.came_from = Some(Box::new(hop));
        }
    }
}

impl Session {
    /// Takes in what turned out to be the same session.
    fn absorb(&mut self, other: Session) {
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
        if other.confidence > self.confidence {
            (self.confidence, self.identified_by) = (other.confidence, other.identified_by);
        }
        self.ambiguities.extend(other.ambiguities);
        self.connections.extend(other.connections);
        self.connections.sort_by_key(super::Connection::start);
        self.dtls.extend(other.dtls);
        self.dtls.sort_by_key(DtlsFlow::start);
        // What one lacked the other has.
        if let (Proof::Dtls(print, Beside::Nothing), false) = (self.identified_by, self.connections.is_empty()) {
            self.identified_by = Proof::Dtls(print, Beside::Tls);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{LinkType, Syn, TcpHandshake};
    use crate::session::facts::{Closed, TlsFacts};
    use crate::session::timing::tests::{at, client};
    use crate::session::{Connection, Role};

    #[test]
    fn dtls_past_a_proxy_is_of_the_session_that_goes_through_it() {
        let (host, proxy) = (IpAddr::from([192, 0, 2, 9]), IpAddr::from([192, 0, 2, 1]));
        let view = || client([192, 0, 2, 9], 1, &[0.0], 9).flows.remove(0).facts;
        // What the proxy was asked for, where DTLS goes, when it begins: is it one session?
        let joined = |asked: &str, gateway: [u8; 4], begins: f64| {
            let mut through = Session::new(host, Some(proxy), 3128, Proof::Cstp);
            let mut tls = view();
            tls.tls.get_or_insert_default().seldom_mut().proxied_to = Some(asked.into());
            tls.opened.first = at(0.0);
            through.connections.push(Connection { role: Role::Tunnel, views: vec![tls].into() });
            let mut past = Session::new(host, Some(gateway.into()), 443, Proof::LateDtls { has_tls: true });
            past.dtls.push(DtlsFlow { views: vec![view()].into(), continues: None });
            past.start = at(begins);
            let mut sessions = vec![Box::new(through), Box::new(past)];
            past_the_proxy(&mut sessions);
            sessions.len() == 1
        };
        assert!(joined("203.0.113.2:443", [203, 0, 113, 2], 100.0));
        assert!(!joined("203.0.113.2:443", [203, 0, 113, 3], 1.0));
        assert!(!joined("[2001:db8::1]:443", [203, 0, 113, 2], 1.0));
        assert!(joined("vpn.example.com:443", [203, 0, 113, 2], 1.0));
        assert!(!joined("vpn.example.com:443", [203, 0, 113, 2], 100.0));
    }

    #[test]
    fn the_tunnel_beside_one_that_tells_of_a_nat_is_of_the_same_client_where_its_own_capture_was_not_running() {
        let (own, outside) = ([192, 168, 0, 9], [192, 0, 2, 1]);
        let gateway = IpAddr::from([203, 0, 113, 2]);
        // As that point shows it, of a program, closed at its end.
        let view = |address: [u8; 4], point: u16, program: u64, (from, until): (f64, f64)| {
            let frame = FrameRef::default();
            let mut view = client(address, 1, &[from], 9).flows.remove(0).facts;
            view.point = PointId(point);
            let hello = Some((at(from), frame, None));
            view.tls = Some(Box::new(TlsFacts { client_hello: hello, hello_shape: program, ..TlsFacts::default() }));
            let mut handshake = TcpHandshake::default();
            handshake.note(Direction::ToServer, Syn { at: at(from), frame, mss: None, timestamps: false });
            view.opened.handshake = Some(Box::new(handshake));
            view.opened.first = at(from);
            let way = Direction::ToServer;
            let closed = Closed { at: at(until), frame, direction: way, by: way, reset: false, ttl: 64 };
            view.closed = Some(Box::new(closed));
            view
        };
        let session = |address: [u8; 4], views: Vec<View>| {
            let mut session = Session::new(address.into(), Some(gateway), 443, Proof::Cstp);
            session.start = views.iter().map(|view| view.opened.first).min().unwrap();
            session.connections.push(Connection { role: Role::Tunnel, views: views.into() });
            Box::new(session)
        };
        // The client's own capture runs from the first moment to the second.
        let joined = |captured: (f64, f64), near: (f64, f64), others: &[(u64, f64, f64)]| {
            let mut points: Vec<Point> = [0, 1].map(|n| Point::unknown(PointId(n), n, LinkType::ETHERNET)).into();
            points[0].span = Some((at(captured.0), at(captured.1)));
            points[1].span = Some((at(0.0), at(200.0)));
            let mut all = vec![session(own, vec![view(own, 0, 1, near), view(outside, 1, 1, near)])];
            let other = |(program, from, until)| session(outside, vec![view(outside, 1, program, (from, until))]);
            all.extend(others.iter().copied().map(other));
            all.sort_by_key(|session| session.order());
            behind_nat(&mut all, &points);
            let first = all.iter().find(|session| session.client == IpAddr::from(own));
            (all.len(), first.map_or(0, |session| session.connections.len()))
        };
        assert_eq!(joined((0.0, 30.0), (1.0, 60.0), &[(1, 60.01, 120.0)]), (1, 2), "its capture had ended");
        assert_eq!(joined((57.0, 90.0), (60.01, 120.0), &[(1, 1.0, 60.0)]), (1, 2), "or had yet to begin");
        assert_eq!(joined((0.0, 90.0), (1.0, 60.0), &[(1, 60.01, 120.0)]), (2, 1), "it would have shown it");
        assert_eq!(joined((0.0, 30.0), (1.0, 60.0), &[(2, 60.01, 120.0)]), (2, 1), "another program");
        assert_eq!(joined((0.0, 30.0), (1.0, 60.0), &[(1, 70.0, 120.0)]), (2, 1), "not at once");
        let late = |from: f64| {
            let mut all = vec![session(own, vec![view(own, 0, 1, (from, 60.0))])];
            let late = &mut all[0].connections[0].views[0];
            (late.opened.handshake, late.tls) = (None, Some(Box::default()));
            all[0].connections.push(Connection {
                role: Role::Tunnel,
                views: vec![view(own, 0, 1, (60.01, 90.0)), view(outside, 1, 1, (60.02, 90.0))].into(),
            });
            all.insert(0, session(outside, vec![view(outside, 1, 1, (1.0, 60.0))]));
            behind_nat(&mut all, &[]);
            all.iter()
                .map(|session| session.connections.iter().map(|c| c.views.len()).collect())
                .collect::<Vec<Vec<_>>>()
        };
        assert_eq!(late(57.0), [[2, 2]], "from its middle on");
        assert_eq!(late(0.5), [vec![1], vec![1, 2]], "another of the same port");
        let two = [(1, 60.01, 120.0), (1, 61.0, 130.0)];
        assert_eq!(joined((0.0, 30.0), (1.0, 60.0), &two), (2, 2), "the nearest");
    }

    #[test]
    fn of_several_clients_the_only_one_that_stopped_is_the_only_one_that_began_then() {
        let session = |n: u8, from: f64, until: f64| {
            let frame = FrameRef::default();
            let mut view = client([192, 0, 2, n], 1, &[from], 9).flows.remove(0).facts;
            let mut tls = TlsFacts::default();
            tls.add_data(at(until), frame, Direction::ToServer, 100);
            let mut handshake = TcpHandshake::default();
            handshake.note(Direction::ToServer, Syn { at: at(from), frame, mss: None, timestamps: false });
            (view.tls, view.opened.handshake) = (Some(Box::new(tls)), Some(Box::new(handshake)));
            view.opened.first = at(from);
            *Direction::ToServer.of_mut(&mut view.ended.last_by_direction) = Some(at(until));
            let mut session = Session::new(IpAddr::from([192, 0, 2, n]), None, 443, Proof::Cstp);
            session.connections.push(Connection { role: Role::Tunnel, views: vec![view].into() });
            session.start = at(from);
            session
        };
        let moved = |others: &[(u8, f64, f64)]| {
            let all = [(1, 0.0, 100.0), (2, 0.5, 30.0)]
                .iter()
                .chain(others)
                .map(|(n, from, until)| session(*n, *from, *until));
            let mut all: Vec<Session> = all.collect();
            all.sort_by_key(|session| session.start);
            let there: Vec<(usize, &Session)> = all.iter().enumerate().collect();
            assert!(are_several(&there));
            let client = |i: usize| match all.get(i).map(|session| session.client) {
                Some(IpAddr::V4(address)) => address.octets()[3],
                _ => 0,
            };
            sole_moves(&there).into_iter().map(|(now, before)| (client(before), client(now))).collect::<Vec<_>>()
        };
        assert_eq!(moved(&[(3, 30.4, 100.0)]), [(2, 3)]);
        assert_eq!(moved(&[(3, 30.4, 50.0), (4, 50.3, 100.0)]), [(3, 4), (2, 3)], "twice");
        assert_eq!(moved(&[(3, 30.4, 100.0), (4, 0.7, 29.0)]), [], "another stopped then");
        assert_eq!(moved(&[(3, 30.4, 100.0), (4, 31.0, 100.0)]), [], "another began then");
    }
}
