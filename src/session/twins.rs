//! The same connection in two captures that both began after it did, where a NAT between them gives its client another address: told by
//! what it carried, and when.
//!
//! Nothing names it then: its hellos came before. But each stretch of data has as many records and bytes each way at both points, and comes
//! after the same pause. Where that fits another connection as well, nothing is told.

use super::Point;
use super::facts::{FlowFacts, Stretch, View};
use super::group::{begins_here, late, random};
use crate::event::{Direction, FlowId, Numbers, PointId, Protocol, Timestamp};
use crate::maps::HashMap;
use std::net::{IpAddr, SocketAddr};

/// So many stretches that are alike, with so many records in all, are no chance.
const ALIKE: usize = 2;
const RECORDS: u32 = 64;
/// DPD and keepalives, of which every tunnel has as many, are less: records, and bytes.
const TELLING: u32 = 8;
const BYTES: u64 = 2000;
/// The way between two points, and its changes, take less, seconds.
const SAME: f64 = 0.25;
/// What more flows than these carried tells of none of them.
const MOST: usize = 16;
/// Numbers that are alike by chance so seldom are the same.
const CHANCE: f64 = 1e-6;

/// A flow at its point.
pub(super) type Name = (PointId, FlowId);

/// Which flows are the same connection, and how far apart the clocks of their captures are.
#[derive(Default)]
pub struct Twins {
    /// Each with the name that it shares with its twin.
    shared: HashMap<Name, Name>,
    /// By how many seconds the second set's clock is ahead of the first's, as each two of them show it.
    pub(super) ahead: Vec<(u16, u16, f64)>,
}

/// Records and bytes each way, to one server.
type Carried = (Protocol, SocketAddr, [u32; 2], [u64; 2]);

/// A flow whose beginning was not captured, and the capture, or the rotated set, that shows it: one clock.
#[derive(Clone, Copy)]
struct Late<'a> {
    flow: &'a FlowFacts,
    set: u16,
}

impl Late<'_> {
    fn name(&self) -> Name {
        (self.flow.point, self.flow.id)
    }

    fn client(&self) -> IpAddr {
        self.flow.opened.endpoints().client.ip()
    }

    fn server(&self) -> SocketAddr {
        self.flow.opened.endpoints().server
    }

    /// The stretches that tell it from others.
    fn telling(&self) -> impl Iterator<Item = Stretch> {
        let is_telling = |s: &Stretch| s.records.iter().sum::<u32>() >= TELLING && s.bytes.iter().sum::<u64>() >= BYTES;
        self.flow.stretches().filter(is_telling)
    }
}

impl Twins {
    pub(super) fn of(flows: &[View], points: &[Point]) -> Twins {
        let mut twins = Twins::default();
        if points.len() < 2 {
            return twins;
        }
        let set_of = |flow: &FlowFacts| points.get(usize::from(flow.point.0)).map(|point| point.set);
        let is_late = |flow: &&View| random(flow).is_none() && (late(flow) || flow.tls.is_some() && !begins_here(flow));
        let found = flows.iter().filter(is_late).filter_map(|flow| Some(Late { flow, set: set_of(flow)? }));
        let late: Vec<Late<'_>> = found.collect();
        let alike = alike(&late);
        // One that is like two of the same capture is neither.
        let is_same = |a: &Late<'_>, b: &Late<'_>| a.name() == b.name();
        for (one, other, ahead) in &alike {
            let is_here = |a: &Late<'_>, b: &Late<'_>| a.flow.point == b.flow.point;
            let rivals = alike
                .iter()
                .filter(|(a, b, _)| is_same(a, one) && is_here(b, other) || is_same(b, other) && is_here(a, one));
            if rivals.count() == 1 {
                twins.join(one, other);
                twins.join_beside(&late, one, other);
                twins.ahead.push((one.set, other.set, *ahead));
            }
        }
        twins.ahead.retain(|(one, other, _)| one != other);
        twins
    }

    /// The name that this flow shares with the same connection in another capture.
    pub(super) fn shared(&self, flow: &FlowFacts) -> Option<Name> {
        self.shared.get(&(flow.point, flow.id)).copied()
    }

    fn join(&mut self, one: &Late<'_>, other: &Late<'_>) {
        let known = [one, other].into_iter().find_map(|late| self.shared.get(&late.name()).copied());
        let name = known.unwrap_or(one.name());
        self.shared.extend([one, other].map(|late| (late.name(), name)));
    }

    /// What else goes between the same addresses as those two, with the same numbers: of TCP any; DTLS where nothing else is left, for its
    /// numbers count from 0.
    fn join_beside<'a>(&mut self, all: &[Late<'a>], one: &Late<'_>, other: &Late<'_>) {
        let beside = |of: &Late<'_>| -> Vec<Late<'a>> {
            let is_one = |late: &&Late<'_>| {
                late.flow.point == of.flow.point
                    && late.client() == of.client()
                    && late.server().ip() == of.server().ip()
            };
            let is_free = |late: &&Late<'_>| !self.shared.contains_key(&late.name());
            all.iter().filter(is_one).filter(is_free).copied().take(MOST).collect()
        };
        let (here, there) = (beside(one), beside(other));
        let is_alike = |a: &Late<'_>, b: &Late<'_>| have_the_same_numbers(a.flow, b.flow);
        let mut found = Vec::new();
        for a in &here {
            let mut fits = there.iter().filter(|b| is_alike(a, b));
            if let (Some(b), None) = (fits.next(), fits.next())
                && here.iter().filter(|a| is_alike(a, b)).count() == 1
            {
                found.push((*a, *b));
            }
        }
        let is_left = |late: &&Late<'_>| found.iter().all(|(a, b)| ![a.name(), b.name()].contains(&late.name()));
        let rest = |side: &[Late<'a>]| -> Vec<Late<'a>> { side.iter().filter(is_left).copied().collect() };
        if let ([a], [b]) = (rest(&here).as_slice(), rest(&there).as_slice())
            && have_the_same_records(a.flow, b.flow)
        {
            found.push((*a, *b));
        }
        for (a, b) in &found {
            self.join(a, b);
        }
    }
}

/// Flows of two captures that carried the same, the one of the first set first, and by how many seconds the other is later.
fn alike<'a>(all: &[Late<'a>]) -> Vec<(Late<'a>, Late<'a>, f64)> {
    let mut carried: HashMap<Carried, Vec<(Late<'a>, Timestamp)>> = HashMap::default();
    for late in all {
        for stretch in late.telling() {
            let what = (late.flow.opened.protocol, late.server(), stretch.records, stretch.bytes);
            carried.entry(what).or_default().push((*late, stretch.first));
        }
    }
    type Both<'a> = (Late<'a>, Late<'a>, Vec<(f64, u32)>);
    let mut pairs: HashMap<(Name, Name), Both<'a>> = HashMap::default();
    for ((.., [up, down], _), known) in carried.iter().filter(|(_, known)| known.len() <= MOST) {
        for (one, here) in known {
            let is_elsewhere = |other: &Late<'_>| (one.set, one.flow.point) < (other.set, other.flow.point);
            let elsewhere = known.iter().filter(|(other, _)| is_elsewhere(other) && one.client() != other.client());
            for (other, there) in elsewhere {
                let pair = pairs.entry((one.name(), other.name())).or_insert((*one, *other, Vec::new()));
                pair.2.push((there.seconds_since(*here), up.saturating_add(*down)));
            }
        }
    }
    let found = pairs.into_values().filter_map(|(one, other, all)| Some((one, other, shift(all)?)));
    let found = found.filter(|(one, other, shift)| one.set != other.set || shift.abs() <= SAME);
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(|(one, other, _)| (one.name(), other.name()));
    found
}

/// By how much all of them are later, each with its records, where enough agree, and more than on anything else.
fn shift(mut all: Vec<(f64, u32)>) -> Option<f64> {
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let from = |first: usize| {
        let agree = move |later: &&(f64, u32), at: f64| later.0 - at <= SAME;
        let at = all.get(first).map_or(0.0, |(at, _)| *at);
        all.iter().skip(first).take_while(move |later| agree(later, at))
    };
    let most = (0..all.len()).max_by_key(|first| from(*first).count())?;
    let (count, records) = (from(most).count(), from(most).map(|(_, records)| records).sum::<u32>());
    let (shift, _) = from(most).nth(count / 2)?;
    let is_apart = |first: &usize| all.get(*first).is_some_and(|(at, _)| (at - shift).abs() > 2.0 * SAME);
    let rival = (0..all.len()).filter(is_apart).map(|first| from(first).count()).max();
    (count >= ALIKE && records >= RECORDS && rival < Some(count)).then_some(*shift)
}

/// Do the TCP sequence numbers of both directions lie where they can hardly lie by chance? Not every NAT leaves them as they are.
fn have_the_same_numbers(a: &FlowFacts, b: &FlowFacts) -> bool {
    let (Some(a), Some(b)) = (a.ended.numbers.as_deref(), b.ended.numbers.as_deref()) else { return false };
    let both =
        |way: Direction| Some((way.of(a as &Numbers).as_ref().copied()?, way.of(b as &Numbers).as_ref().copied()?));
    let mut chance = 1.0;
    for ((first, next), (other, until)) in [Direction::ToServer, Direction::ToClient].into_iter().filter_map(both) {
        let (here, there) = (next.wrapping_sub(first), until.wrapping_sub(other));
        if other.wrapping_sub(first) > here && first.wrapping_sub(other) > there {
            return false;
        }
        chance *= (f64::from(here) + f64::from(there) + 1.0) / f64::from(u32::MAX);
    }
    chance < CHANCE
}

/// Do the numbers of the DTLS records overlap both ways, and end alike?
fn have_the_same_records(a: &FlowFacts, b: &FlowFacts) -> bool {
    /// One capture may end before the other.
    const APART: u64 = 16;
    let (Some(a), Some(b)) = (a.dtls.as_deref(), b.dtls.as_deref()) else { return false };
    let mut alike = a.sequence.iter().zip(&b.sequence).map(|(a, b)| {
        let (last, other) = (a.highest?, b.highest?);
        let is_alike = last.epoch() == other.epoch() && last.sequence().abs_diff(other.sequence()) <= APART;
        Some(is_alike && a.first()? <= other && b.first()? <= last)
    });
    alike.all(|alike| alike == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{FrameRef, LinkType};
    use crate::session::facts::TlsFacts;
    use crate::session::timing::tests::{at, client};

    /// What a client carries at those moments, each time twice as much as before, seen at that point.
    fn carries(address: [u8; 4], point: u16, moments: &[f64]) -> View {
        let mut view = client(address, u32::from(address[3]), &[moments[0]], 9).flows.remove(0).facts;
        let mut tls = TlsFacts::default();
        for (n, seconds) in moments.iter().enumerate() {
            let way = Direction::ToClient;
            (0..32 << n).for_each(|_| tls.activity.add(at(*seconds), FrameRef::default(), way, 1000));
        }
        view.tls = Some(Box::new(tls));
        view.point = PointId(point);
        view
    }

    #[test]
    fn what_two_captures_show_of_one_connection_is_told_by_what_it_carried_unless_another_carried_the_same() {
        let points = [0, 1].map(|n| Point::unknown(PointId(n), n, LinkType::ETHERNET));
        let joined = |others: &[([u8; 4], &[f64])]| {
            let mut flows = vec![carries([10, 9, 0, 7], 0, &[10.0, 15.0, 40.0])];
            flows.extend(others.iter().map(|(address, moments)| carries(*address, 1, moments)));
            let twins = Twins::of(&flows, &points);
            let name = twins.shared(&flows[0]);
            let same = flows.iter().skip(1).filter(|flow| name.is_some() && twins.shared(flow) == name).count();
            (same, twins.ahead.first().map(|(.., ahead)| ahead.round()))
        };
        assert_eq!(joined(&[([198, 51, 100, 9], &[17.0, 22.02, 47.01])]), (1, Some(7.0)));
        assert_eq!(joined(&[([198, 51, 100, 9], &[17.0, 25.0, 60.0])]), (0, None), "not after the same pauses");
        let same: &[f64] = &[17.0, 22.0, 47.0];
        assert_eq!(joined(&[([198, 51, 100, 9], same), ([198, 51, 100, 8], same)]), (0, None), "it may be either");
        assert_eq!(joined(&[([10, 9, 0, 7], same)]), (0, None), "its address tells it without that");
    }

    #[test]
    fn clocks_are_as_far_apart_as_most_of_what_is_alike_says() {
        let all = |shifts: &[f64]| shift(shifts.iter().map(|at| (*at, 40)).collect());
        assert_eq!(all(&[7.0, 7.1]), Some(7.1));
        assert_eq!(all(&[7.0]), None, "one may be chance");
        assert_eq!(all(&[7.0, 8.0]), None, "they do not agree");
        assert_eq!(all(&[-3.0, 7.0, 7.1, 17.0]), Some(7.1));
        assert_eq!(all(&[-3.0, -3.1, 7.0, 7.1]), None, "as many say otherwise");
        assert_eq!(shift(vec![(7.0, 10), (7.1, 10)]), None, "too little was carried");
    }

    #[test]
    fn numbers_tell_where_they_can_hardly_be_alike_by_chance() {
        let same = |a: [(u32, u32); 2], b: [(u32, u32); 2]| {
            let flow = |numbers: [(u32, u32); 2]| {
                let mut flow = client([10, 9, 0, 7], 1, &[0.0], 9).flows.remove(0).facts;
                flow.ended.numbers = Some(Box::new(numbers.map(Some)));
                flow
            };
            have_the_same_numbers(&flow(a), &flow(b))
        };
        assert!(same([(1000, 5000), (90_000, 95_000)], [(3000, 6000), (94_000, 99_000)]));
        assert!(same([(u32::MAX - 9, 20), (90_000, 95_000)], [(5, 90), (90_000, 90_010)]), "they begin anew at 0");
        assert!(!same([(1000, 5000), (90_000, 95_000)], [(3000, 6000), (96_000, 99_000)]), "one way they are others");
        let half = 1 << 31;
        assert!(!same([(0, half), (0, half)], [(9, half), (9, half)]), "so many lie anywhere");
    }
}
