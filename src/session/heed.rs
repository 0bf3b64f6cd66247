//! What came of Fragmentation Needed: did its receiver send smaller packets?

use super::facts::{FlowFacts, MAX_FRAMES, Run};
use super::limits::useful_mtus;
use super::{Icmp, Point, Session};
use crate::event::{Direction, FrameRef, Protocol, Timestamp};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Packets in flight when the ICMP was sent do not count: grace, seconds.
const GRACE: f64 = 0.5;
/// A search for the path MTU sends a size no more often than this (RFC 8899 §5.1.2: three times; openconnect: six).
const SENDINGS: u64 = 6;
/// It begins anew only after so long, seconds (RFC 8899 §5.1.1: 600; some sooner).
pub const AGAIN: f64 = 30.0;
/// Its packets above the limit are no more than one in so many that fit, or else their sizes fall.
const FEW: u64 = 10;

/// Did the receivers of those about the inner or the outer path that were seen there send smaller packets? `None` where the capture ends
/// too soon to show it.
pub fn is_heeded(session: &Session, point: &Point, inner: bool) -> Option<bool> {
    let there = session.frag_needed().filter(|icmp| icmp.facts.point == point.id && icmp.inner == inner);
    let told = there.map(|icmp| match heed(session, icmp, Some(point)) {
        Heed::Ignored(_) => Some(false),
        Heed::TooSoon { .. } => None,
        Heed::Smaller | Heed::Guessed | Heed::Probes => Some(true),
    });
    told.min_by_key(|heeded| (*heeded != Some(false), heeded.is_some())).unwrap_or(Some(true))
}

/// What its receiver did.
pub enum Heed<'a> {
    /// It sent nothing above the MTU any more.
    Smaller,
    /// The message names no MTU that its receiver could use, and it went on with smaller packets of its own choice.
    Guessed,
    /// What it still sent above the MTU were probes, which may get lost (RFC 8899 §4.6, RFC 9000 §14.4); its data fits.
    Probes,
    /// So may what followed within so many seconds be: of too little after it tells the capture.
    TooSoon {
        /// Packets above the MTU that followed.
        after: u32,
        /// From the first message to the end of the capture, seconds.
        seconds: f64,
    },
    /// It went on as before.
    Ignored(Ignored<'a>),
}

/// One that changed nothing.
pub struct Ignored<'a> {
    /// It.
    pub icmp: &'a Icmp,
    /// It names no MTU that its receiver could use.
    pub useless: bool,
    /// Packets above the MTU that followed: as many as the pace of their runs makes likely, at least one.
    pub after: u32,
    /// That is their number, for all runs began after the message.
    pub is_counted: bool,
    /// From the first message to the last of them.
    pub seconds: f64,
    /// They.
    pub frames: Vec<FrameRef>,
}

/// What followed it, at that point.
pub fn heed<'a>(session: &'a Session, icmp: &'a Icmp, point: Option<&Point>) -> Heed<'a> {
    let facts = &icmp.facts;
    let useful = useful_mtus(facts).min();
    let limit = useful.unwrap_or_else(|| facts.refused.saturating_sub(1));
    let from = facts.first.plus_seconds(GRACE);
    let follows = |run: &&Run| run.size > limit && run.last >= from;
    let above = |(flow, way): &(&'a FlowFacts, Direction)| way.of(&flow.large).iter().any(|run| follows(&run));
    let end = point.and_then(|point| point.span).map(|(_, end)| end);
    let (mut probing, mut soon, mut runs) = (Vec::new(), Vec::new(), Vec::new());
    for (flow, way) in quoted(session, icmp).filter(above) {
        let list = match probes(flow, way, limit, end) {
            Probing::Yes => &mut probing,
            Probing::Perhaps => &mut soon,
            Probing::No => &mut runs,
        };
        list.extend(way.of(&flow.large).iter().filter(follows));
    }
    let count = |runs: &[&Run]| -> u32 { runs.iter().map(|run| late(run, from)).sum() };
    let after = count(&runs);
    let last: Option<Timestamp> = runs.iter().map(|r| r.last).max();
    if after == 0 {
        let goes_on =
            || quoted(session, icmp).any(|(flow, way)| flow.last_packet(way).is_some_and(|at| at > facts.last));
        return if let Some(end) = end.filter(|_| !soon.is_empty()) {
            Heed::TooSoon { after: count(&soon), seconds: end.seconds_since(facts.first) }
        } else if !probing.is_empty() {
            Heed::Probes
        } else if useful.is_none() && goes_on() {
            Heed::Guessed
        } else {
            Heed::Smaller
        };
    }
    Heed::Ignored(Ignored {
        icmp,
        useless: useful.is_none(),
        after,
        is_counted: runs.iter().all(|run| run.first >= from),
        seconds: last.map_or(0.0, |at| at.seconds_since(facts.first)),
        frames: runs.iter().flat_map(|r| r.frames()).take(MAX_FRAMES).collect(),
    })
}

/// Does that side of a UDP flow search for the path MTU?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probing {
    /// Its data fits and goes on; what is above the limit is little beside it, or of falling sizes, and no size comes up again and again.
    Yes,
    /// It looks so as far as the capture goes, which ends before another search would have begun.
    Perhaps,
    No,
}

fn probes(flow: &FlowFacts, way: Direction, limit: u32, end: Option<Timestamp>) -> Probing {
    let mut runs: Vec<&Run> = way.of(&flow.large).iter().filter(|run| run.size > limit).collect();
    runs.sort_by_key(|run| run.first);
    let (Some(first), Some(last)) = (runs.first().map(|run| run.first), runs.iter().map(|run| run.last).max()) else {
        return Probing::No;
    };
    let fits = u64::from(*way.of(&flow.ended.packets)).saturating_sub(sent(&runs));
    let mut searches = runs.chunk_by(|before, run| run.first.seconds_since(before.last) < AGAIN);
    let only_fall = searches.clone().all(falls);
    let falls = only_fall && runs.iter().any(|run| runs.iter().any(|other| other.size < run.size));
    let is_little = sent(&runs) * FEW <= fits || falls && sent(&runs) <= fits;
    let searches = only_fall || searches.all(|search| self::falls(search) || halves(search));
    if flow.opened.protocol != Protocol::Udp || !searches {
        return Probing::No;
    }
    // Since when it has sent nothing but what fits, seconds.
    let fitting = flow.last_packet(way).map_or(0.0, |at| at.seconds_since(last));
    if fitting > 0.0 && is_little {
        return Probing::Yes;
    }
    let is_cut_off = end.is_some_and(|end| end.seconds_since(last) < AGAIN);
    let has_turned = fitting > last.seconds_since(first);
    if is_cut_off && (has_turned || sent(&runs) <= fits) { Probing::Perhaps } else { Probing::No }
}

fn sent(runs: &[&Run]) -> u64 {
    runs.iter().map(|run| u64::from(run.count)).sum()
}

/// Never a larger size after a smaller one, and none often.
fn falls(search: &[&Run]) -> bool {
    let mut of_one_size = search.chunk_by(|before, run| before.size == run.size);
    of_one_size.all(|runs| sent(runs) <= SENDINGS) && search.is_sorted_by(|before, run| before.size >= run.size)
}

/// Up and down between what fits and what does not, as a search by halves goes: many sizes within its time, hardly one of them sent
/// twice, but for the last.
fn halves(search: &[&Run]) -> bool {
    /// Sizes above the limit that such a search tries at least: half of what it takes for the 220 between 1280 and 1500 bytes.
    const STEPS: usize = 4;
    /// It is over within this time, seconds (openconnect: 10).
    const SEARCH: f64 = 12.0;
    let sizes = search.iter().map(|run| run.size).collect::<BTreeSet<u32>>().len();
    let (first, last) = (search.iter().map(|run| run.first).min(), search.iter().map(|run| run.last).max());
    let lasted = first.zip(last).map_or(0.0, |(first, last)| last.seconds_since(first));
    sizes >= STEPS && lasted <= SEARCH && sent(search) <= 2 * sizes as u64 + SENDINGS
}

/// Packets of a run from that moment on; of one that had begun as many as its pace makes of the time that was left, at least its last.
fn late(run: &Run, from: Timestamp) -> u32 {
    let before = from.seconds_since(run.first);
    let lasted = run.last.seconds_since(run.first);
    if before <= 0.0 || lasted <= 0.0 {
        return run.count;
    }
    let others = f64::from(run.count.saturating_sub(1));
    (others * (1.0 - before / lasted)).ceil().max(1.0) as u32
}

/// The quoted flow, as the point that saw the message saw it, and the quoted direction; several where the quote has no ports.
fn quoted<'a>(session: &'a Session, icmp: &Icmp) -> impl Iterator<Item = (&'a FlowFacts, Direction)> {
    let (point, q) = (icmp.facts.point, icmp.facts.quoted);
    let all = session.inner.iter().map(|f| &*f.facts).chain(session.outer_views());
    all.filter(move |f| f.point == point && f.opened.protocol.number() == q.protocol).filter_map(move |f| {
        let ends = f.opened.endpoints();
        let (a, b) = ((ends.client.ip(), ends.client.port()), (ends.server.ip(), ends.server.port()));
        // Ports that were cut off the quote tell nothing; the addresses do.
        let fits = |from: (IpAddr, u16), to: (IpAddr, u16)| {
            (q.src, q.dst) == (from.0, to.0) && q.ports.is_none_or(|ports| ports == (from.1, to.1))
        };
        match (fits(a, b), fits(b, a)) {
            (true, _) => Some((f, Direction::ToServer)),
            (_, true) => Some((f, Direction::ToClient)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::facts::FlowNotes;
    use super::*;
    use crate::event::{Ended, Endpoints, FlowId, Large, Opened, PointId};

    /// Is that a search? Seconds, sizes and sendings of what is above 1406 bytes; packets of the side altogether; its last moment. The
    /// capture goes on for long.
    fn is_search(protocol: Protocol, above: &[(f64, u32, u32)], packets: u32, last: f64) -> bool {
        probing(protocol, above, packets, (last, 2000.0)) == Probing::Yes
    }

    /// The same in a capture that ends at the second moment.
    fn probing(protocol: Protocol, above: &[(f64, u32, u32)], packets: u32, (last, end): (f64, f64)) -> Probing {
        let ends = Endpoints { client: ([192, 0, 2, 1], 5000).into(), server: ([192, 0, 2, 2], 443).into() };
        let at = |seconds: f64| Timestamp::default().plus_seconds(seconds);
        let mut notes = FlowNotes::new(PointId(0));
        for (seconds, ip_len, times) in above {
            for n in 0..*times {
                let large = Large { direction: Direction::ToClient, ip_len: *ip_len, again: false };
                notes.add_large(at(seconds + f64::from(n) * 0.1), FrameRef::default(), large);
            }
        }
        let ended =
            Ended { packets: [5, packets], last_by_direction: [Some(at(0.0)), Some(at(last))], ..Ended::default() };
        let flow = notes.take(FlowId(0), Opened::bare(protocol, ends, at(0.0)), ended);
        probes(&flow, Direction::ToClient, 1406, Some(at(end)))
    }

    #[test]
    fn a_search_for_the_path_mtu_is_told_from_data() {
        let falling = [(1.0, 1500, 3), (4.0, 1458, 3), (9.0, 1418, 3)];
        assert!(is_search(Protocol::Udp, &falling, 309, 30.0));
        assert!(is_search(Protocol::Udp, &falling, 25, 30.0), "of falling sizes");
        assert!(!is_search(Protocol::Tcp, &falling, 309, 30.0));
        assert!(!is_search(Protocol::Udp, &falling, 309, 9.2), "nothing that fits follows");
        assert!(!is_search(Protocol::Udp, &falling, 12, 30.0), "more of them than of what fits");
        assert!(is_search(Protocol::Udp, &[(1.0, 1500, 3)], 100, 30.0), "little beside its data");
        assert!(!is_search(Protocol::Udp, &[(1.0, 1500, 3)], 20, 30.0), "one size, and not little");
        assert!(!is_search(Protocol::Udp, &[(1.0, 1500, 7)], 1000, 30.0), "the same data again and again");
        assert!(!is_search(Protocol::Udp, &[(1.0, 1450, 1), (3.0, 1500, 1)], 1000, 30.0), "as data comes");
        assert!(is_search(Protocol::Udp, &[(1.0, 1450, 3), (601.0, 1500, 3)], 1000, 700.0), "a search begins anew");
        let halves = [(1.0, 1500, 1), (1.1, 1440, 1), (1.2, 1410, 1), (1.3, 1470, 1), (1.4, 1425, 1), (1.5, 1407, 7)];
        assert!(is_search(Protocol::Udp, &halves, 300, 30.0), "up and down");
        assert!(!is_search(Protocol::Udp, &halves, 100, 30.0), "not little beside its data");
        assert!(!is_search(Protocol::Udp, &[&halves[..], &[(20.0, 1440, 1)]].concat(), 300, 30.0), "for too long");
        let data = halves.map(|(at, size, _)| (at, size, 4));
        assert!(!is_search(Protocol::Udp, &data, 1000, 30.0), "the same sizes again and again");
    }

    #[test]
    fn what_may_be_a_search_is_settled_by_a_longer_capture() {
        let udp = |above: &[(f64, u32, u32)], packets, last, end| probing(Protocol::Udp, above, packets, (last, end));
        let sizes = [(5.0, 1418, 3), (7.0, 1410, 1)];
        assert_eq!(udp(&sizes, 24, 7.0, 7.0), Probing::Perhaps, "beside more that fits, as far as it was captured");
        assert_eq!(udp(&sizes, 24, 7.0, 40.0), Probing::No, "nothing that fits follows");
        assert_eq!(udp(&sizes, 6, 7.0, 7.0), Probing::No, "hardly anything fits");
        assert_eq!(udp(&sizes, 6, 12.0, 12.0), Probing::Perhaps, "but longer than before nothing else was sent");
        assert_eq!(udp(&sizes, 6, 12.0, 40.0), Probing::No);
        assert_eq!(udp(&[(5.0, 1418, 7)], 100, 5.6, 5.6), Probing::No, "the same data again and again");
        assert_eq!(probing(Protocol::Tcp, &sizes, 24, (7.0, 7.0)), Probing::No);
    }
}
