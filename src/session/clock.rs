//! Several captures, several clocks: how far they are apart, and all times brought onto one.

use super::Point;
use super::facts::{FlowFacts, IcmpFacts, Random, Runs, Unanswered, View};
use super::twins::Twins;
use crate::event::{Endpoints, PointId, Protocol, Refused, Timestamp, Vantage};
use crate::maps::HashMap;
use std::collections::BTreeMap;

/// Clocks this close are one clock, seconds: less than a delay on the way could be.
const ONE_CLOCK: f64 = 0.05;

/// What takes so long between two points was lost there at first and sent again, seconds (RFC 6298 §2: a SYN after 1 s).
const RESENT: f64 = 0.9;

/// How far a capture's clock is ahead of the reference clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offset {
    /// The capture, or the first of a rotated set.
    pub set: u16,
    /// The capture whose clock is the reference.
    pub reference: u16,
    /// Seconds ahead; negative when behind.
    pub seconds: f64,
    /// Connections it was measured on; those whose first packets were sent again do not count.
    pub connections: usize,
}

/// When one connection's opening passed a capture: on its way to the server and back.
#[derive(Clone, Copy)]
struct Passing {
    to_server: Timestamp,
    to_client: Timestamp,
}

/// Measures the clocks on connections seen in several captures and shifts all times onto the earliest capture's clock.
///
/// A packet to the server and one back cross the path in opposite directions, so the mean of both differences is the
/// offset, whatever the delay, as long as it is alike both ways (RFC 5905 §8). `guess` tells where the points may have stood.
pub fn align(
    flows: &mut [View],
    icmp: &mut [IcmpFacts],
    refused: &mut [(PointId, Refused)],
    points: &mut [Point],
    guess: &[Point],
    twins: &Twins,
) -> Vec<Offset> {
    if points.iter().all(|p| Some(p.set) == points.first().map(|first| first.set)) {
        return Vec::new();
    }
    let sets: HashMap<PointId, u16> = points.iter().map(|p| (p.id, p.set)).collect();
    let set_of = |point: PointId| sets.get(&point).copied().unwrap_or_default();
    let offsets = measure(flows, guess, &set_of, twins);
    for flow in flows.iter_mut() {
        if let Some(offset) = offsets.get(&set_of(flow.point)) {
            shift_flow(flow, -offset.seconds);
        }
    }
    for error in icmp.iter_mut() {
        if let Some(offset) = offsets.get(&set_of(error.point)) {
            shift(&mut error.first, -offset.seconds);
            shift(&mut error.last, -offset.seconds);
        }
    }
    for (point, refused) in refused.iter_mut() {
        if let Some(offset) = offsets.get(&set_of(*point)) {
            shift(&mut refused.first, -offset.seconds);
            shift(&mut refused.last, -offset.seconds);
        }
    }
    for point in points.iter_mut() {
        if let (Some(offset), Some((first, last))) = (offsets.get(&point.set), &mut point.span) {
            shift(first, -offset.seconds);
            shift(last, -offset.seconds);
        }
        if let Some(offset) = offsets.get(&point.set) {
            let stretches = point.quiet.iter_mut().chain(point.behind.iter_mut().map(|behind| &mut behind.span));
            stretches.flat_map(|(from, to)| [from, to]).for_each(|at| shift(at, -offset.seconds));
        }
    }
    offsets.into_values().collect()
}

fn measure(flows: &[View], points: &[Point], set_of: &dyn Fn(PointId) -> u16, twins: &Twins) -> BTreeMap<u16, Offset> {
    // A client random names a connection through any NAT; without one its ends must do.
    type Connection = (Option<Endpoints>, Option<Random>);
    let mut seen: HashMap<Connection, BTreeMap<u16, Passing>> = HashMap::default();
    for flow in flows.iter().filter(|f| f.opened.protocol == Protocol::Tcp) {
        if let Some(passing) = passing(flow) {
            let random = flow.tls.as_ref().and_then(|tls| tls.client_hello).and_then(|(_, _, random)| random);
            let ends = random.is_none().then_some(flow.opened.endpoints());
            seen.entry((ends, random)).or_default().entry(set_of(flow.point)).or_insert(passing);
        }
    }
    // Each with how long both ways between the two took.
    let mut differences: BTreeMap<(u16, u16), Vec<(f64, f64)>> = BTreeMap::new();
    for by_set in seen.values() {
        for (a, from) in by_set {
            for (b, to) in by_set.range(a + 1..) {
                let forth = to.to_server.seconds_since(from.to_server);
                let back = to.to_client.seconds_since(from.to_client);
                differences.entry((*a, *b)).or_default().push(((forth + back) / 2.0, (forth - back).abs()));
            }
        }
    }
    let mut by_load: BTreeMap<(u16, u16), Vec<(f64, f64)>> = BTreeMap::new();
    // What was carried tells it but for the way between the two: where nothing else does.
    for (a, b, ahead) in &twins.ahead {
        if !differences.contains_key(&(*a, *b)) {
            by_load.entry((*a, *b)).or_default().push((*ahead, 0.0));
        }
    }
    differences.extend(by_load);
    let measured = differences.into_iter().filter_map(|((a, b), all)| {
        let (seconds, connections) = ahead(all)?;
        Some((a, b, seconds, connections))
    });
    let mut edges: Vec<(u16, u16, f64, usize)> = measured.collect();
    edges.extend(same_device(points));
    walk(points, &edges)
}

/// How far one clock is ahead of another by the median of all connections, each with how long both ways took, and on how many that rests.
fn ahead(all: Vec<(f64, f64)>) -> Option<(f64, usize)> {
    let (at_once, again): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, took)| *took < RESENT);
    let connections = at_once.len();
    let mut values = if connections > 0 { at_once } else { again };
    values.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    values.get(values.len() / 2).map(|(seconds, _)| (*seconds, connections))
}

/// A client's NIC and its adapter have one clock, a gateway's two interfaces too: believed where there is one of each only.
fn same_device(points: &[Point]) -> Vec<(u16, u16, f64, usize)> {
    let only = |vantage| {
        let mut sets: Vec<u16> = points.iter().filter(|p| p.vantage == Some(vantage)).map(|p| p.set).collect();
        sets.dedup();
        if let [only] = sets[..] { Some(only) } else { None }
    };
    // The last one is believed first: a client is one machine, a gateway may be several.
    let pairs = [(Vantage::Outside, Vantage::Inside), (Vantage::Client, Vantage::VirtualAdapter)];
    let known = pairs.into_iter().filter_map(|(a, b)| Some((only(a)?, only(b)?)));
    known.filter(|(a, b)| a != b).map(|(a, b)| (a, b, 0.0, 0)).collect()
}

/// From the first capture on, along the comparisons: measured ones before believed ones.
fn walk(points: &[Point], edges: &[(u16, u16, f64, usize)]) -> BTreeMap<u16, Offset> {
    let mut clocks: BTreeMap<u16, Offset> = BTreeMap::new();
    let mut sets: Vec<u16> = points.iter().map(|p| p.set).collect();
    sets.sort_unstable();
    sets.dedup();
    for start in sets {
        clocks.entry(start).or_insert(Offset { set: start, reference: start, seconds: 0.0, connections: 0 });
        let next = |clocks: &BTreeMap<u16, Offset>| {
            let reach = |(a, b, seconds, n): &(u16, u16, f64, usize)| match (clocks.get(a), clocks.get(b)) {
                (Some(from), None) => Some((*n, *b, from.reference, from.seconds + seconds)),
                (None, Some(from)) => Some((*n, *a, from.reference, from.seconds - seconds)),
                _ => None,
            };
            edges.iter().filter_map(reach).max_by_key(|(n, ..)| *n)
        };
        while let Some((connections, set, reference, seconds)) = next(&clocks) {
            clocks.insert(set, Offset { set, reference, seconds, connections });
        }
    }
    clocks.retain(|_, offset| offset.seconds.abs() > ONE_CLOCK);
    clocks
}

fn passing(flow: &FlowFacts) -> Option<Passing> {
    let hellos = flow.tls.as_ref().and_then(|tls| Some((tls.client_hello?.0, tls.server_hello?.at)));
    let (to_server, to_client) = hellos.or_else(|| Some((flow.opened.syn()?.at, flow.opened.syn_ack()?.at)))?;
    Some(Passing { to_server, to_client })
}

fn shift(at: &mut Timestamp, seconds: f64) {
    *at = at.plus_seconds(seconds);
}

fn shift_unanswered(said: &mut Unanswered, by: f64) {
    shift(&mut said.first.0, by);
    shift(&mut said.last.0, by);
    said.after.iter_mut().for_each(|at| shift(at, by));
}

fn shift_runs(runs: &mut [Runs], by: f64) {
    for run in runs.iter_mut().flat_map(|runs| runs.iter_mut()) {
        shift(&mut run.first, by);
        shift(&mut run.last, by);
    }
}

fn shift_flow(flow: &mut FlowFacts, by: f64) {
    let move_it = |at: &mut Timestamp| shift(at, by);
    move_it(&mut flow.opened.first);
    if let Some(handshake) = flow.opened.handshake.as_deref_mut() {
        handshake.moments_mut().for_each(move_it);
    }
    move_it(&mut flow.ended.last);
    flow.ended.last_by_direction.iter_mut().flatten().for_each(move_it);
    for stuck in flow.ended.sizes.iter_mut().filter_map(|s| s.smallest_stuck.as_deref_mut()) {
        move_it(&mut stuck.first);
        move_it(&mut stuck.last);
    }
    for lapse in flow.ended.seldom.iter_mut().flat_map(|seldom| &mut seldom.lapses).flatten() {
        move_it(&mut lapse.first.0);
        move_it(&mut lapse.until);
    }
    for hole in flow.ended.seldom.iter_mut().flat_map(|seldom| &mut seldom.holes).flatten() {
        move_it(&mut hole.since.0);
        move_it(&mut hole.until);
    }
    for vanished in flow.ended.seldom.iter_mut().flat_map(|seldom| &mut seldom.vanished).flatten() {
        move_it(&mut vanished.since);
        move_it(&mut vanished.told.0);
    }
    flow.ended.seldom.iter_mut().filter_map(|seldom| seldom.unanswered.as_mut()).for_each(move_it);
    flow.closed.iter_mut().for_each(|closed| move_it(&mut closed.at));
    shift_runs(&mut flow.large, by);
    if let Some(tls) = flow.tls.as_deref_mut() {
        tls.client_hello.iter_mut().for_each(|(at, ..)| move_it(at));
        tls.server_hello.iter_mut().for_each(|hello| move_it(&mut hello.at));
        for data in &mut tls.data {
            data.first.iter_mut().for_each(move_it);
            data.last.iter_mut().for_each(|(at, _)| move_it(at));
        }
        if let Some(seldom) = &mut tls.seldom {
            seldom.alert.iter_mut().for_each(|(at, ..)| move_it(at));
            seldom.renegotiation.iter_mut().flatten().for_each(|(at, _)| move_it(at));
            if let Some((said, (until, _))) = seldom.lapse.as_deref_mut() {
                shift_unanswered(said, by);
                move_it(until);
            }
        }
        move_it(tls.last_word.first_mut());
        tls.activity.stretches.change(move_it);
    }
    if let Some(dtls) = flow.dtls.as_deref_mut() {
        dtls.sequence.iter_mut().flat_map(|sequence| sequence.gaps_mut()).for_each(move_it);
        dtls.protected.iter_mut().flatten().for_each(move_it);
        dtls.first.iter_mut().chain(&mut dtls.heard).flatten().for_each(|(at, _)| move_it(at));
        if let Some(seldom) = &mut dtls.seldom {
            seldom.renegotiation.iter_mut().chain(&mut seldom.last).flatten().for_each(|(at, _)| move_it(at));
            seldom.sealed_alert.iter_mut().for_each(|(at, ..)| move_it(at));
            shift_runs(&mut seldom.fragmentable, by);
            seldom.unasked.1.iter_mut().for_each(|(at, _)| move_it(at));
            if let Some((said, (until, _))) = seldom.lapse.as_deref_mut() {
                shift_unanswered(said, by);
                move_it(until);
            }
            for probe in &mut seldom.probes {
                move_it(&mut probe.first);
                move_it(&mut probe.last);
            }
        }
        move_it(dtls.last_word.first_mut());
        dtls.activity.stretches.change(move_it);
        for attempt in &mut dtls.attempts {
            move_it(&mut attempt.first);
            attempt.noted.change(|message| move_it(&mut message.first.0));
            if let Some(seldom) = &mut attempt.seldom {
                seldom.alert.iter_mut().for_each(|(at, ..)| move_it(at));
                seldom.protected_mut().for_each(move_it);
                seldom.hellos.change(|(_, at)| move_it(at));
                seldom.repeats.iter_mut().for_each(|repeats| move_it(&mut repeats.last));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::LinkType;

    fn point(set: u16, vantage: Vantage) -> Point {
        let mut point = Point::unknown(PointId(set), set, LinkType::ETHERNET);
        point.vantage = Some(vantage);
        point
    }

    #[test]
    fn connections_whose_first_packets_were_sent_again_tell_little() {
        assert_eq!(ahead(vec![(1.53, 3.06), (0.0, 0.001), (0.51, 1.02)]), Some((0.0, 1)));
        assert_eq!(ahead(vec![(1.53, 3.06)]), Some((1.53, 0)), "where there are no others");
        assert_eq!(ahead(Vec::new()), None);
    }

    #[test]
    fn clocks_are_chained_through_devices() {
        let points = [
            point(0, Vantage::Client),
            point(1, Vantage::Outside),
            point(2, Vantage::Inside),
            point(3, Vantage::VirtualAdapter),
        ];
        // Outside is measured against the client, the adapter against the inside.
        let mut edges = vec![(0, 1, 37.5, 2), (2, 3, 100.25, 2)];
        edges.extend(same_device(&points));
        let clocks = walk(&points, &edges);
        let seconds: Vec<(u16, f64)> = clocks.values().map(|o| (o.set, o.seconds)).collect();
        assert_eq!(seconds, [(1, 37.5), (2, -100.25)], "the adapter is the client's: its clock is the client's");
        assert!(clocks.values().all(|o| o.reference == 0));
    }
}
