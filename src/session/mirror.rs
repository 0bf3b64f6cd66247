//! Points that saw both sides: a mirror port of a gateway's outside and inside, or `tcpdump -i any` on either end. What their own
//! tunnels carried is then seen from a point of its own, as an interface on the inner path would have shown it.

use super::facts::{IcmpFacts, View};
use super::inner;
use super::meetings::Meeting;
use super::pace::Pace;
use super::timing::{self, Client, Guesses};
use super::{Entry, Point, vantage};
use crate::event::{FlowId, PointId, Vantage};
use crate::maps::HashSet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// So many clients prove that a point saw both sides, where there are as many.
const PROOF: usize = 2;

/// Finds such points, and gives what passed inside the tunnels a point of its own.
pub fn part(
    sessions: &[Entry],
    outer: &HashSet<IpAddr>,
    others: &mut Vec<View>,
    icmp: &mut [IcmpFacts],
    meetings: &mut [Meeting],
    pace: &Pace,
    points: &mut Vec<Point>,
) {
    // Where packets come in at the tunnels' adapter, some of every client's do.
    let with_adapter: BTreeSet<PointId> =
        others.iter().filter(|flow| flow.opened.from_adapter.is_some()).map(|flow| flow.point).collect();
    let is_candidate = |flow: &View| {
        let ends = flow.opened.endpoints();
        let may_be_inner = flow.opened.from_adapter.is_some() || flow.large.iter().any(|runs| !runs.is_empty());
        may_be_inner
            && vantage(points, flow.point).is_some_and(Vantage::is_outer)
            && flow.opened.carrier.is_none()
            && [ends.client.ip(), ends.server.ip()].iter().all(|address| !outer.contains(address))
    };
    let (candidates, rest): (Vec<View>, Vec<View>) = std::mem::take(others).into_iter().partition(is_candidate);
    *others = rest;
    let (mut clients, mut rest) = (inner::clients(candidates, icmp, points), Vec::new());
    if !with_adapter.is_empty() {
        let is_inside = |client: &Client| {
            let beside = client.points().iter().all(|point| !with_adapter.contains(point));
            beside || client.flows.iter().any(|flow| flow.facts.opened.from_adapter.is_some())
        };
        (clients, rest) = clients.into_iter().partition(is_inside);
    }
    others.extend(rest.into_iter().flat_map(|client| client.flows).map(|flow| flow.facts));
    let clients = inner::apart(sessions, clients);
    let has_adapter = |client: &Client| client.points().iter().any(|point| with_adapter.contains(point));
    let guesses = if clients.iter().all(has_adapter) { Guesses::Any } else { Guesses::Neighbours };
    let homes = timing::homes(sessions, &clients, icmp, meetings, pace, guesses, points).of;
    let mut proofs: BTreeMap<PointId, usize> = BTreeMap::new();
    for (client, home) in clients.iter().zip(&homes) {
        if home.is_some_and(|home| home.is_certain || has_adapter(client)) {
            client.points().into_iter().for_each(|point| *proofs.entry(point).or_default() += 1);
        }
    }
    // Where the adapter tells as well, one is no chance, and may have had all sessions one after the other.
    let enough = |point: &PointId| if with_adapter.contains(point) { 1 } else { PROOF.min(sessions.len()) };
    let mut inside: BTreeMap<PointId, PointId> = BTreeMap::new();
    for (at, _) in proofs.into_iter().filter(|(point, proofs)| *proofs >= enough(point)) {
        let id = PointId(points.len() as u16);
        let Some(point) = points.get_mut(usize::from(at.0)).filter(|_| !id.is_inside()) else { continue };
        let other_side = point.other_side(id);
        point.vantage_basis.push_str("; what its tunnels carried passed there too");
        points.push(other_side);
        inside.insert(at, id);
    }
    let mut addresses: HashSet<IpAddr> = HashSet::default();
    let mut moved: HashSet<(PointId, FlowId)> = HashSet::default();
    for (client, home) in clients.into_iter().zip(homes) {
        addresses.extend(home.map(|_| client.address));
        for mut flow in client.flows.into_iter().map(|flow| flow.facts) {
            if let Some(id) = inside.get(&flow.point).filter(|_| home.is_some()) {
                moved.insert((flow.point, flow.id));
                flow.point = *id;
            }
            others.push(flow);
        }
    }
    for meeting in meetings.iter_mut().filter(|meeting| moved.contains(&meeting.inner)) {
        meeting.inner.0 = inside.get(&meeting.inner.0).copied().unwrap_or(meeting.inner.0);
    }
    let is_inner = |error: &IcmpFacts| [error.quoted.src, error.quoted.dst].iter().any(|end| addresses.contains(end));
    for error in icmp.iter_mut().filter(|error| is_inner(error)) {
        error.point = inside.get(&error.point).copied().unwrap_or(error.point);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Direction, LinkType};
    use crate::session::outer_addresses;
    use crate::session::timing::tests::{at, client, sessions};

    /// Where flows of clients that are busy at those moments end up, all captured at the outside with forty sessions.
    fn parted(busy: &[&[f64]]) -> (usize, Vec<PointId>) {
        parted_of(busy, sessions(), |_| false)
    }

    /// The same of so many sessions, some of the flows coming in at the tunnels' adapter.
    fn parted_of(busy: &[&[f64]], sessions: Vec<Entry>, has_adapter: impl Fn(usize) -> bool) -> (usize, Vec<PointId>) {
        let mut outside = Point::unknown(PointId(0), 0, LinkType::ETHERNET);
        outside.vantage = Some(Vantage::Outside);
        let mut points = vec![outside];
        let flows =
            busy.iter().zip(1..).flat_map(|(busy, n)| client([10, 9, n, 7], 100 + u32::from(n), busy, 30).flows);
        let mut others: Vec<View> = flows.map(|flow| flow.facts).collect();
        for (_, flow) in others.iter_mut().enumerate().filter(|(n, _)| has_adapter(*n)) {
            flow.opened.from_adapter = Some(Direction::ToServer);
        }
        part(&sessions, &outer_addresses(&sessions), &mut others, &mut [], &mut [], &Pace::default(), &mut points);
        others.sort_by_key(|flow| flow.id);
        (points.len(), others.iter().map(|flow| flow.point).collect())
    }

    #[test]
    fn traffic_in_step_with_several_tunnels_makes_a_point_inside() {
        let [a, b] = [[7.005, 157.005, 507.005, 707.005, 957.005], [8.005, 258.005, 408.005, 658.005, 908.005]];
        let stranger = [3.5, 120.5, 333.5, 702.5, 903.5];
        let (outside, inside) = (PointId(0), PointId(1));
        assert_eq!(parted(&[&a, &b, &stranger]), (2, vec![inside, inside, outside]));
        assert_eq!(parted(&[&a, &stranger]), (1, vec![outside, outside]), "one may be chance");
    }

    #[test]
    fn what_comes_in_at_the_adapter_was_inside_however_little_it_is() {
        let [a, stranger] = [[7.005, 157.005], [3.5, 120.5]];
        let one = || sessions().into_iter().skip(7).take(1).collect::<Vec<_>>();
        let (outside, inside) = (PointId(0), PointId(1));
        assert_eq!(parted_of(&[&a, &stranger], one(), |n| n == 0), (2, vec![inside, outside]));
        assert_eq!(parted_of(&[&a, &stranger], one(), |_| false), (1, vec![outside, outside]));
        // One client, whose session ended and who logged in again.
        let twice: Vec<Entry> = one().into_iter().chain(one()).collect();
        let mut twice = twice.into_iter().zip([(0.0, 100.0), (150.0, 1000.0)]).map(|(mut session, (start, end))| {
            (session.start, session.end) = (at(start), at(end));
            session
        });
        assert_eq!(parted_of(&[&a], twice.by_ref().collect(), |_| true), (2, vec![inside]));
    }
}
