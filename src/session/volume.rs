//! How much passed inside and in the tunnels: who moved little is not the inside of a tunnel that carried much, nor the reverse.

use super::facts::View;
use super::timing::Client;
use super::{Entry, Point, Session};
use crate::event::{Direction, PointId, Timestamp};
use std::collections::BTreeMap;

/// Packets each way, from the client first.
type Volume = [f32; 2];

/// From when to when.
type Span = (Timestamp, Timestamp);

/// What the tunnels of each session carried, and what each inner client sent and got.
pub(super) struct Volumes<'a> {
    sessions: Vec<(Carried, Span)>,
    clients: Vec<(Carried, &'a Client)>,
    outer: Option<Span>,
}

/// Packets of one, or records that hold one each.
#[derive(Clone, Copy, Default)]
struct Carried {
    /// Of a session all that its tunnels carried; of a client what surely passed while those were captured.
    bound: Volume,
    /// What passed while both were captured.
    common: Volume,
}

impl<'a> Volumes<'a> {
    pub(super) fn of(sessions: &[Entry], clients: &'a [Client], points: &[Point]) -> Volumes<'a> {
        let outer = span(sessions.iter().flat_map(|s| s.outer_views()).map(|view| view.point), points);
        let inner = span(clients.iter().flat_map(|c| &c.flows).map(|flow| flow.facts.point), points);
        Volumes {
            sessions: sessions.iter().map(|session| (carried(session, inner), (session.start, session.end))).collect(),
            clients: clients.iter().map(|client| (moved(client, outer), client)).collect(),
            outer,
        }
    }

    /// Did the client move more than the session's tunnels carried?
    pub(super) fn forbid(&self, client: usize, session: usize) -> bool {
        /// A record holds one packet; what the capture of the tunnels missed is no more than as much again.
        const PER_RECORD: f32 = 2.0;
        /// So few packets say nothing.
        const FEW: f32 = 50.0;
        let pair = self.clients.get(client).zip(self.sessions.get(session));
        let Some(((all, client), (carried, (start, end)))) = pair else { return false };
        let exceeds = |moved: &Carried| {
            let mut ways = moved.bound.into_iter().zip(carried.bound);
            ways.any(|(packets, records)| packets > PER_RECORD * records + FEW)
        };
        // An address may have been somebody else's before and after.
        let life = self.outer.map_or((*start, *end), |(first, last)| (first.max(*start), last.min(*end)));
        exceeds(all) && exceeds(&moved(client, Some(life)))
    }

    /// How surprising it is that the two are as much alike, if they have nothing to do with each other: a negative logarithm.
    pub(super) fn likeness(&self, client: usize, session: usize) -> f32 {
        /// Anything within so many e-folds is as likely, by chance.
        const RANGE: f32 = 2.0;
        /// Records without a packet that counts, and packets that the gateway dropped, are so much of all.
        const NOISE: f32 = 0.03;
        let pair = self.clients.get(client).zip(self.sessions.get(session));
        let Some(((moved, _), (carried, _))) = pair else { return 0.0 };
        let ways = moved.common.into_iter().zip(carried.common);
        let surprise = |(packets, records): (f32, f32)| {
            let apart = ((packets + 1.0) / (records + 1.0)).ln().abs();
            let noise = NOISE + 1.0 / (packets.min(records) + 1.0).sqrt();
            -(apart.max(noise) / RANGE).min(1.0).ln()
        };
        ways.map(surprise).sum()
    }
}

/// When any of those points captured; without end where one of them does not tell.
fn span(of: impl Iterator<Item = PointId>, points: &[Point]) -> Option<Span> {
    let mut all: Option<Span> = None;
    let mut last = None;
    for id in of {
        if last.replace(id) == Some(id) {
            continue;
        }
        let (from, until) = points.get(usize::from(id.0))?.span?;
        all = Some(all.map_or((from, until), |(first, last)| (first.min(from), last.max(until))));
    }
    all
}

/// How much of what lasted from the first moment to the last fell into the span.
fn part((first, last): Span, span: Option<Span>) -> f32 {
    let Some((from, until)) = span else { return 1.0 };
    let lasts = last.seconds_since(first);
    let within = last.min(until).seconds_since(first.max(from));
    if within < 0.0 {
        return 0.0;
    }
    if lasts > 0.0 { (within / lasts) as f32 } else { 1.0 }
}

/// The data records of a session's tunnels, of each as the point tells that saw most.
fn carried(session: &Session, inner: Option<Span>) -> Carried {
    let mut all = Carried::default();
    let views = session.tunnels().map(|c| &c.views).chain(session.dtls.iter().map(|d| &d.views));
    for Carried { bound, common } in views.map(|views| most(views, inner)) {
        all.add(bound, common);
    }
    all
}

fn most(views: &[View], inner: Option<Span>) -> Carried {
    let mut most = Carried::default();
    for view in views {
        let mut seen = Carried::default();
        for stretch in view.stretches() {
            let records = stretch.records.map(|n| n as f32);
            let part = part((stretch.first, stretch.last), inner);
            seen.add(records, records.map(|n| n * part));
        }
        most.raise(seen);
    }
    most
}

/// The packets of a client, as the point tells that saw most.
fn moved(client: &Client, outer: Option<Span>) -> Carried {
    let mut at: BTreeMap<PointId, Carried> = BTreeMap::new();
    for flow in &client.flows {
        let (facts, down) = (&flow.facts, flow.toward_client);
        let packets = [down.reverse(), down].map(|way: Direction| *way.of(&facts.ended.packets) as f32);
        let part = part((facts.opened.first, facts.ended.last), outer);
        let sure = if part < 1.0 { [0.0; 2] } else { packets };
        at.entry(facts.point).or_default().add(sure, packets.map(|n| n * part));
    }
    let mut most = Carried::default();
    at.into_values().for_each(|seen| most.raise(seen));
    most
}

impl Carried {
    fn add(&mut self, bound: Volume, common: Volume) {
        let both = [(&mut self.bound, bound), (&mut self.common, common)];
        both.into_iter().for_each(|(all, more)| all.iter_mut().zip(more).for_each(|(all, more)| *all += more));
    }

    fn raise(&mut self, other: Carried) {
        let both = [(&mut self.bound, other.bound), (&mut self.common, other.common)];
        both.into_iter().for_each(|(most, n)| most.iter_mut().zip(n).for_each(|(most, n)| *most = most.max(n)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::timing::tests::{at, carrying, client};

    #[test]
    fn who_moves_much_more_than_a_tunnel_carried_is_not_inside_it() {
        let sessions = [60, 3_000].map(|each| carrying(each, &[10.0, 20.0, 30.0], each));
        let inner = |n: u8, packets: u32| client([10, 9, 0, n], u32::from(n), &[10.0, 30.0], packets);
        let clients = [inner(1, 170), inner(2, 8_900)];
        let volumes = Volumes::of(&sessions, &clients, &[]);
        let forbidden = |client: usize| [0, 1].map(|session| volumes.forbid(client, session));
        assert_eq!(forbidden(0), [false, false], "the rest may have gone elsewhere");
        assert_eq!(forbidden(1), [true, false]);
        let likeness = |client: usize| [0, 1].map(|session| volumes.likeness(client, session));
        let ([own, other], [others, mine]) = (likeness(0), likeness(1));
        assert!(own > other + 1.5 && mine > others + 3.0, "{own} {other} {others} {mine}");
    }

    #[test]
    fn only_what_both_captures_saw_is_compared() {
        let span = Some((at(10.0), at(20.0)));
        let parts = [(0.0, 5.0), (5.0, 15.0), (12.0, 13.0), (15.0, 15.0), (25.0, 25.0)];
        assert_eq!(parts.map(|(from, until)| part((at(from), at(until)), span)), [0.0, 0.5, 1.0, 1.0, 0.0]);
        assert_eq!(part((at(0.0), at(5.0)), None), 1.0);
    }
}
