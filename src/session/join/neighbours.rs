//! Sessions that only others prove: of programs that others tunnel with, to gateways that others' DTLS proves.

use super::pair::{Draft, build};
use super::{AT_ONCE, KNOWN_TUNNEL, is_late_talk, logged_in};
use crate::maps::{HashMap, HashSet};
use crate::session::facts::{FlowFacts, View};
use crate::session::group::{Pair, group, program};
use crate::session::proof::Proof;
use crate::session::shape::{Shape, converses, exchanges};
use crate::session::twins::Twins;
use crate::session::{Confidence, Connection, Entry, Point, Role};
use std::net::IpAddr;

/// A connection this long is no visit to a web page, seconds.
const QUIET_TUNNEL: f64 = 120.0;

/// Tunnels that their shape does not tell, graded low: to gateways that other clients' DTLS proves, where either their records could be
/// CSTP, or their program is one that others tunnel with there. And those that follow at once where a session's tunnel ended.
pub(super) fn quiet_tunnels(sessions: &mut Vec<Entry>, others: &mut Vec<View>, points: &[Point], twins: &Twins) {
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
    for group in group(quiet, points, twins) {
        let followed = group.views.iter().find_map(|view| homes.followed(sessions, view));
        if let Some(home) = followed.and_then(|home| sessions.get_mut(home)) {
            home.end = home.end.max(group.end());
            home.connections.push(Connection { role: Role::Tunnel, views: group.views });
            continue;
        }
        let shape = group.shape();
        let is_known = group.views.iter().any(|view| programs.has(view) == Some(true));
        let draft = vec![Draft::of_tunnel()];
        let found = build(group.addresses(), draft, vec![group], Vec::new(), &[shape], others);
        sessions.extend(found.into_iter().map(|mut session| {
            session.identified_by = Proof::Quiet { is_odd: shape.against, is_known };
            session.confidence = Confidence::Low;
            session
        }));
    }
}

/// Clients of whom nothing but DTLS was captured, which was up before: where others' sessions speak DTLS with the same port.
pub(in crate::session) fn late_clients(
    sessions: &mut Vec<Entry>,
    others: &mut Vec<View>,
    points: &[Point],
    twins: &Twins,
) {
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
    for group in group(late, points, twins) {
        let draft = vec![Draft::of_dtls()];
        sessions.extend(build(group.addresses(), draft, Vec::new(), vec![group], &[], others));
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
