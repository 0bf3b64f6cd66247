//! Packets with DF that measured more than the limit in force.

use super::facts::{FlowFacts, MAX_FRAMES, Run, View};
use super::limits::is_within;
use super::{Channel, Limit, Point, Session, vantage};
use crate::event::{Direction, FrameRef, PointId, Timestamp, Vantage};
use std::collections::BTreeMap;

/// Packets above the limit in force, at one point, on one channel.
#[derive(Clone, Debug)]
pub struct Oversized {
    /// Where.
    pub point: PointId,
    /// `Inner`, `OuterTcp` or `OuterUdp`.
    pub channel: Channel,
    /// The limit, bytes.
    pub limit: u32,
    /// Nobody says the limit: nothing of that size and above got through.
    pub is_bracketed: bool,
    /// How many, to the server side and to the client.
    pub packets: [u64; 2],
    /// There may have been more: of so many sizes some are not kept.
    pub is_least: bool,
    /// How many distinct ones: packets less TCP repeats, to the server side and to the client.
    pub segments: [u64; 2],
    /// Size → how many.
    pub sizes: BTreeMap<u32, u64>,
    /// Most often one TCP segment was sent, when it never got through.
    pub most_repeats: u32,
    /// How long it was sent again, seconds.
    pub repeat_seconds: f64,
    /// Packets toward the client that never got through (as TCP's acknowledgments tell).
    pub stuck_to_client: u64,
    /// Packets above the limit that got through all the same, to the server side and to the client (as TCP's acknowledgments tell).
    pub delivered: [u64; 2],
    /// First one, and its frame.
    pub first: (Timestamp, FrameRef),
    /// Last one.
    pub last: Timestamp,
    /// Frames, the ones toward the client first.
    pub frames: Vec<FrameRef>,
    /// Fragmentation Needed quoting these flows at this point.
    pub frag_needed: u32,
}

impl Oversized {
    /// No tunnel over a 1500-byte link carries packets this large (the largest of the DTLS sums is 1449): then the adapter's
    /// own MTU is at fault, and DTLS that works would not help.
    pub fn is_beyond_dtls(&self) -> bool {
        const MOST: u32 = 1449;
        self.channel == Channel::Inner && self.sizes.keys().all(|size| *size > MOST)
    }

    /// How many toward the client.
    pub fn to_client(&self) -> u64 {
        *Direction::ToClient.of(&self.packets)
    }

    /// How many toward the server side.
    pub fn to_server(&self) -> u64 {
        *Direction::ToServer.of(&self.packets)
    }

    /// How many got through.
    pub fn delivered(&self) -> u64 {
        self.delivered.iter().sum()
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.packets.iter().sum()
    }
}

/// DF packets above the limit, per point; it may have held several times.
pub(super) fn of_inner(session: &Session, held: &[Limit]) -> Vec<Oversized> {
    let mut found: BTreeMap<PointId, Oversized> = BTreeMap::new();
    for to_client in [true, false] {
        for flow in &session.inner {
            let direction = if to_client { flow.toward_client } else { flow.toward_client.reverse() };
            // A bracket is of what goes toward the client.
            for limit in held.iter().filter(|limit| to_client || !limit.is_bracket()) {
                tally(&mut found, &flow.facts, direction, to_client, limit, Channel::Inner);
            }
        }
    }
    for over in found.values_mut() {
        over.frag_needed = frag_needed(session, over.point, true);
    }
    found.into_values().filter(|o| o.total() > 0).collect()
}

/// The same of the tunnels' own packets, before the small link.
pub(super) fn of_outer(session: &Session, limit: &Limit, points: &[Point]) -> Vec<Oversized> {
    let mut found: BTreeMap<PointId, Oversized> = BTreeMap::new();
    let tcp = session.connections.iter().flat_map(|c| &c.views);
    let udp = session.dtls.iter().flat_map(|d| &d.views);
    let views: Vec<&View> = if limit.channel == Channel::OuterTcp { tcp.collect() } else { udp.collect() };
    for direction in [Direction::ToClient, Direction::ToServer] {
        // Only before the small link: a packet seen beyond it was small enough.
        let to_client = direction == Direction::ToClient;
        let beyond = if to_client { Vantage::Client } else { Vantage::Outside };
        for view in views.iter().filter(|view| vantage(points, view.point) != Some(beyond)) {
            tally(&mut found, view, direction, to_client, limit, limit.channel);
        }
    }
    for over in found.values_mut() {
        over.frag_needed = frag_needed(session, over.point, false);
    }
    found.into_values().filter(|o| o.total() > 0).collect()
}

fn frag_needed(session: &Session, point: PointId, inner: bool) -> u32 {
    let there = session.limiting().filter(|icmp| icmp.inner == inner && icmp.facts.point == point);
    there.map(|icmp| icmp.facts.count).sum()
}

/// Adds the packets of one flow, one way, that are above the limit: first those toward the client.
fn tally(
    found: &mut BTreeMap<PointId, Oversized>,
    flow: &FlowFacts,
    direction: Direction,
    to_client: bool,
    limit: &Limit,
    channel: Channel,
) {
    let (is_bracketed, limit, since, until) = (limit.is_bracket(), limit.bytes, limit.since, limit.until);
    let runs = direction.of(&flow.large);
    let counts = |run: &&Run| run.size > limit && is_within(run.first, since, until);
    let is_least = runs.lack_some() && runs.iter().all(|run| run.size > limit);
    let runs: Vec<&Run> = runs.iter().filter(counts).collect();
    if runs.is_empty() {
        return;
    }
    let over = found.entry(flow.point).or_insert_with(|| Oversized {
        point: flow.point,
        channel,
        limit,
        is_bracketed,
        packets: [0, 0],
        is_least: false,
        segments: [0, 0],
        sizes: BTreeMap::new(),
        most_repeats: 0,
        repeat_seconds: 0.0,
        stuck_to_client: 0,
        delivered: [0, 0],
        first: (Timestamp::from_nanos(i64::MAX), FrameRef::default()),
        last: Timestamp::from_nanos(i64::MIN),
        frames: Vec::new(),
        frag_needed: 0,
    });
    let way = if to_client { Direction::ToClient } else { Direction::ToServer };
    let sizes = flow.ended.sizes.toward(direction);
    let passed = sizes.largest_passed;
    let stuck = sizes.smallest_stuck.as_deref();
    over.is_least |= is_least;
    for run in runs {
        let count = u64::from(run.count);
        *way.of_mut(&mut over.packets) += count;
        *way.of_mut(&mut over.segments) += u64::from(run.count.saturating_sub(run.again));
        *over.sizes.entry(run.size).or_default() += count;
        over.first = over.first.min((run.first, run.frame));
        over.last = over.last.max(run.last);
        let arrived = passed.filter(|passed| passed.ip_len >= run.size);
        // What arrived when the limit held no longer did not do so before.
        let is_late = arrived.is_some_and(|passed| until.is_some_and(|until| passed.first >= until));
        if arrived.is_some() && !is_late {
            *way.of_mut(&mut over.delivered) += count;
        } else if to_client && (is_late || stuck.is_some_and(|s| run.size >= s.ip_len)) {
            over.stuck_to_client += count;
        }
        over.frames.extend(run.frames());
    }
    if let Some(stuck) = stuck
        && stuck.times > over.most_repeats
    {
        over.most_repeats = stuck.times;
        over.repeat_seconds = stuck.last.seconds_since(stuck.first);
    }
    over.frames.truncate(MAX_FRAMES);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Large;
    use crate::session::Basis;
    use crate::session::stuck::tests::session;
    use crate::session::timing::tests::{at, client};

    #[test]
    fn packets_above_the_limit_are_told_in_the_order_of_their_flows_and_the_first_with_its_frame() {
        let mut session = session(&[]);
        for (number, seconds, direction) in
            [(9, 1.0, Direction::ToServer), (17, 2.0, Direction::ToClient), (51, 30.0, Direction::ToClient)]
        {
            let mut flow = client([10, 9, 0, 7], number, &[], 9).flows.remove(0);
            let frame = FrameRef { capture: 0, number };
            flow.facts.add_large(at(seconds), frame, Large { direction, ip_len: 1400, again: false });
            session.inner.push(flow);
        }
        let limit = Limit {
            channel: Channel::Inner,
            bytes: 1347,
            basis: Basis::Assumed,
            source: String::new(),
            since: None,
            until: None,
            frames: Vec::new(),
            in_force: true,
        };
        let found = of_inner(&session, &[limit]);
        let frames = |over: &Oversized| over.frames.iter().map(|frame| frame.number).collect::<Vec<_>>();
        assert_eq!(found.iter().map(frames).collect::<Vec<_>>(), [[17, 51, 9]], "those toward the client first");
        assert_eq!(found[0].first, (at(1.0), FrameRef { capture: 0, number: 9 }));
    }
}
