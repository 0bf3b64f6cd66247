//! Flows to sessions: connections of one client to one gateway are parents, tunnels, DTLS attempts and reconnects of sessions.
//! Without keys this is graded, and says so where it guesses (the rules are in `docs/protocol.md`).

mod neighbours;
mod pair;

use super::coverage::cuts_hellos;
use super::facts::{FlowFacts, TlsFacts, View};
use super::group::{Group, Pair, begins_here, group, late};
use super::twins::Twins;
use super::unrecognised::HTTPS;
use super::{Confidence, Entry, Point, attempt};
use crate::event::{Direction, PointId, Protocol, Timestamp};
use crate::maps::{HashMap, HashSet};
pub(super) use neighbours::late_clients;
pub(super) use pair::logged_in;
use std::iter::Peekable;
use std::net::{IpAddr, SocketAddr};
use std::vec;

/// A client closes its tunnel and opens the next within so many seconds.
pub(super) const REPLACED: f64 = 2.0;
/// A connection of a program that others tunnel with is no visit to a web page when it lasts so long, seconds.
pub(super) const KNOWN_TUNNEL: f64 = 10.0;
/// A tunnel that reconnects does so within this many seconds (openconnect gives up after 300).
const RECONNECT_WITHIN: f64 = 330.0;
/// Nobody types a password this fast, seconds.
const AT_ONCE: f64 = 5.0;

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
pub fn sessions(flows: Vec<View>, points: &[Point], twins: &Twins) -> Joined {
    let (mut tls, mut dtls, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for flow in flows {
        let kind = match may_be_outer(&flow) {
            true if flow.dtls.is_some() => &mut dtls,
            true => &mut tls,
            false => &mut others,
        };
        kind.push(flow);
    }
    let mut tls = without_readdressed(tls, &mut others);
    tls.extend(take_unread(&tls, &dtls, &mut others, points));
    // Pairs in order of appearance: what they showed then lies in memory in the order in which it is asked for.
    let mut places: HashMap<Pair, usize> = HashMap::default();
    let mut tls = by_pair(group(tls, points, twins), &mut places);
    let mut dtls = by_pair(group(dtls, points, twins), &mut places);
    // Hardly a pair has more than one; a list that grows would take up to three times as much meanwhile.
    let mut sessions = Vec::with_capacity(places.len());
    while let Some(place) = [tls.peek(), dtls.peek()].into_iter().flatten().map(|(place, _)| *place).min() {
        let connections = of_pair(&mut tls, place);
        let dtls = of_pair(&mut dtls, place);
        sessions.extend(pair::sessions(connections, dtls, &mut others));
    }
    neighbours::quiet_tunnels(&mut sessions, &mut others, points, twins);
    sessions.shrink_to_fit();
    // What they are sorted by lies in each: it is looked up once.
    sessions.sort_by_cached_key(|session| session.order());
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
    if unheard.is_empty() {
        return tls;
    }
    let mut silent: HashMap<Place, Vec<(IpAddr, Timestamp)>> = HashMap::default();
    for flow in tls.iter().filter(|flow| begins_here(flow) && unheard.contains(&place(flow))) {
        if let Some(last) = flow.last_packet(Direction::ToServer) {
            silent.entry(place(flow)).or_default().push((flow.opened.endpoints().client.ip(), last));
        }
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

#[cfg(test)]
mod tests;
