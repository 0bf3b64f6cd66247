//! Which TLS connection each DTLS flow belongs to.

use super::group::{Group, MOST_CANDIDATES, late};
use super::stretches::Stretch;
use crate::event::{Direction, Timestamp};
use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// A login ends at most this long after its tunnel connection opens, seconds.
pub(super) const LOGIN_AFTER: f64 = 15.0;
/// Two tunnels that come up this close together make a DTLS flow's owner ambiguous, seconds.
const TOO_CLOSE: f64 = 2.0;
/// Packets of one moment may be captured in any order, seconds.
const SAME_MOMENT: f64 = 0.01;
/// Data moves from TLS to DTLS, or back, within this time, seconds.
const MOVES: f64 = 0.5;
/// A client that moved to another port is answered at the old one for less than this, seconds.
const MOVED: f64 = 5.0;

/// Whose the DTLS flows are.
pub(super) struct Owners {
    /// Which connection each one belongs to.
    pub owners: Vec<Option<usize>>,
    /// A note where that is a guess.
    pub notes: Vec<Option<String>>,
    /// Connections that carry data of their own beside such flows: tunnels as well, of others behind the same address.
    pub beside: BTreeSet<usize>,
}

/// Which connection each DTLS flow belongs to.
pub(super) fn owners<'a>(connections: &[Group], dtls: &'a [Group]) -> Owners {
    let mut by_id: BTreeMap<&[u8], usize> = BTreeMap::new();
    // An answer to CONNECT that was read names its DTLS session: no guess.
    let named: Vec<([u8; 32], usize)> =
        connections.iter().enumerate().flat_map(|(i, group)| group.dtls_ids().map(move |id| (id, i))).collect();
    by_id.extend(named.iter().map(|(id, i)| (id.as_slice(), *i)));
    let mut open = Open::default();
    // Until when each connection is taken by a DTLS flow that it owns.
    let mut busy: Vec<Busy> = vec![Busy::default(); connections.len()];
    let mut beside = BTreeSet::new();
    let owner = |flow: &'a Group| {
        open.advance(connections, flow.start);
        // The same session id names the same CSTP connection, unless that is over: then it is stale.
        let is_over = |i: usize| connections.get(i).is_some_and(|c| c.views.iter().all(|v| v.end() < flow.start));
        let known = flow.session_ids().find_map(|id| by_id.get(id).copied()).filter(|i| !is_over(*i));
        let (owner, note) = match known {
            Some(owner) => (Some(owner), None),
            None => {
                let (candidates, others) = candidates(connections, flow, &open, &busy);
                beside.extend(others);
                (candidates.first().map(|best| best.connection), runner_up(connections, flow, &candidates))
            }
        };
        if let Some(owner) = owner {
            if let Some(busy) = busy.get_mut(owner) {
                busy.until = busy.until.max(Some(flow.end()));
                busy.talks_until = busy.talks_until.max(talks_until(flow));
            }
            // Of a single one nobody asks any more.
            if known.is_none() && dtls.len() > 1 {
                by_id.extend(flow.session_ids().map(|id| (id, owner)));
            }
        }
        (owner, note)
    };
    let (owners, notes) = dtls.iter().map(owner).unzip();
    Owners { owners, notes, beside }
}

/// Until when the DTLS flows that a connection owns have it.
#[derive(Clone, Copy, Default)]
struct Busy {
    /// Their last packet.
    until: Option<Timestamp>,
    /// Their last record that way from which fewer came.
    talks_until: Option<Timestamp>,
}

/// Until when records went both ways.
fn talks_until(flow: &Group) -> Option<Timestamp> {
    let ends =
        |way: Direction| flow.views.iter().filter_map(|v| Some(way.of(&v.dtls.as_ref()?.heard).as_ref()?.0)).max();
    Some(ends(Direction::ToServer)?.min(ends(Direction::ToClient)?))
}

/// Does the connection carry data while that DTLS does, which was up before the capture? A tunnel whose DTLS carries data carries
/// none itself.
fn carries_beside(connection: &Group, flow: &Group) -> bool {
    let answers = flow.views.iter().filter_map(|v| Some(Direction::ToClient.of(&v.dtls.as_ref()?.heard).as_ref()?.0));
    let Some(until) = answers.max() else { return false };
    let (from, until) = (flow.start.plus_seconds(MOVES), until.plus_seconds(-MOVES));
    let beside = |s: Stretch| s.carries_both_ways() && s.first.max(from) <= s.last.min(until);
    let mut tls = connection.views.iter().filter_map(|v| v.tls.as_deref());
    tls.any(|tls| tls.activity.stretches.iter().any(beside))
}

/// The connections open at a moment that only moves forward.
#[derive(Default)]
struct Open {
    /// In order of start, as connections are.
    all: BTreeSet<usize>,
    /// When the same ones end, the first on top.
    by_end: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// Connections before this one have begun.
    next: usize,
}

impl Open {
    /// `connections` are in order of start.
    fn advance(&mut self, connections: &[Group], to: Timestamp) {
        while let Some(group) = connections.get(self.next).filter(|g| g.start <= to.plus_seconds(0.5)) {
            self.all.insert(self.next);
            self.by_end.push(Reverse((group.end(), self.next)));
            self.next += 1;
        }
        while let Some(first) = self.by_end.peek_mut().filter(|first| first.0.0.plus_seconds(2.0) < to) {
            let Reverse((_, i)) = PeekMut::pop(first);
            self.all.remove(&i);
        }
    }
}

/// A connection that may own a DTLS flow, and how well it fits.
struct Candidate {
    /// It had been closed before the flow's handshake began: nobody asks for DTLS to a tunnel he has left.
    is_closed: bool,
    /// Another DTLS flow has it at that moment.
    is_taken: bool,
    fit: Fit,
    /// Seconds from its first answer to the flow's begin, or what stands for them; of two that fit alike the nearer is the owner.
    seconds: f64,
    connection: usize,
}

impl Candidate {
    /// Of two with the same rank the nearer is the owner.
    fn rank(&self) -> (bool, bool, Fit) {
        (self.is_closed, self.is_taken, self.fit)
    }
}

/// How well a connection's first answer fits the begin of a DTLS flow, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// It came before, or both were there before the capture, where which was silent first says nothing.
    Answered,
    /// It came just after: clocks may differ by so much.
    JustAfter,
    /// Its beginning or its answers were not captured: it may have begun long before.
    Unseen,
}

/// Connections that may own a DTLS flow, best first; and those that could but for their own data.
fn candidates(connections: &[Group], flow: &Group, open: &Open, busy: &[Busy]) -> (Vec<Candidate>, Vec<usize>) {
    let late = flow.views.iter().any(|view| late(view));
    // Of a connection whose beginning was not captured the first packet may come after the DTLS flow's.
    let is_one = |i: &usize| late || connections.get(*i).is_some_and(|group| !group.begins_here());
    let coming = (open.next..connections.len()).take(MOST_CANDIDATES).filter(is_one);
    let begun = open.all.iter().rev().take(MOST_CANDIDATES).copied();
    let fit = |group: &Group| match group.first_answer() {
        Some(answer) if answer <= flow.start.plus_seconds(SAME_MOMENT) => {
            Some((Fit::Answered, flow.start.seconds_since(answer).max(0.0)))
        }
        Some(answer) if answer <= flow.start.plus_seconds(0.5) => {
            Some((Fit::JustAfter, answer.seconds_since(flow.start)))
        }
        Some(answer) if late && !group.begins_here() => Some((Fit::Answered, answer.seconds_since(flow.start))),
        Some(_) if group.begins_here() => None,
        // Of several such the last is the likeliest.
        _ => Some((Fit::Unseen, flow.start.seconds_since(group.start).max(0.0))),
    };
    let mut others = Vec::new();
    let mut found: Vec<Candidate> = Vec::new();
    for (connection, group) in begun.chain(coming).filter_map(|i| Some((i, connections.get(i)?))) {
        let busy = busy.get(connection).copied().unwrap_or_default();
        // Two talks at a time are two clients'.
        let is_held = || busy.talks_until.min(talks_until(flow)) > Some(flow.start.plus_seconds(MOVED));
        let may_be = group.spoke() || late || group.first_answer().is_none();
        let Some((fit, seconds)) = fit(group).filter(|_| may_be) else { continue };
        if late && carries_beside(group, flow) {
            others.push(connection);
        } else if !(late && is_held()) {
            let is_taken = busy.until.is_some_and(|until| until > flow.start);
            let before = flow.start.plus_seconds(-SAME_MOMENT);
            let is_closed = !late && group.closed().is_some_and(|closed| closed < before);
            found.push(Candidate { is_closed, is_taken, fit, seconds, connection });
        }
    }
    found.sort_by(|a, b| {
        a.rank().cmp(&b.rank()).then(a.seconds.total_cmp(&b.seconds)).then(a.connection.cmp(&b.connection))
    });
    (found, others)
}

/// Says so when another connection is nearly as good an owner.
fn runner_up(connections: &[Group], flow: &Group, candidates: &[Candidate]) -> Option<String> {
    let [first, second, ..] = candidates else { return None };
    if first.rank() != second.rank() || second.seconds - first.seconds > TOO_CLOSE {
        return None;
    }
    // A login connection and its tunnel are no rivals: both are of one session.
    let (a, b) = (connections.get(first.connection)?, connections.get(second.connection)?);
    let sequential = a.end() <= b.start.plus_seconds(LOGIN_AFTER) && a.end() < flow.start
        || b.end() <= a.start.plus_seconds(LOGIN_AFTER) && b.end() < flow.start;
    if sequential {
        return None;
    }
    let [udp, first, second] =
        [flow, a, b].map(|group| group.views.first().map_or(0, |v| v.opened.endpoints().client.port()));
    Some(format!(
        "the DTLS flow from port {udp} fits the TLS connection from port {first} best, but one from port {second} came up within {TOO_CLOSE:.0} s of it"
    ))
}

/// When the client of each connection last sent data over DTLS: the TLS connection may well be silent meanwhile.
pub(super) fn last_over_dtls(
    connections: &[Group],
    dtls: &[Group],
    owners: &[Option<usize>],
) -> Vec<Option<Timestamp>> {
    let mut last = vec![None; connections.len()];
    for (owner, flow) in owners.iter().zip(dtls) {
        if let Some(last) = owner.and_then(|owner| last.get_mut(owner)) {
            let sent = flow.views.iter().filter_map(|v| *Direction::ToServer.of(&v.dtls.as_ref()?.last()));
            *last = sent.map(|(at, _)| at).max().max(*last);
        }
    }
    last
}
