//! Views of one connection, put together: the same flow at several capture points.

use super::facts::{FlowFacts, InsideTls, Random, View};
use super::few::Sole;
use super::shape::{Shape, exchanges};
use super::twins::{Name, Twins};
use super::{Point, vantage};
use crate::event::{Direction, Timestamp, Token, Vantage};
use crate::maps::{HashMap, HashSet};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// Candidates looked at, nearest first, wherever connections are matched: a bound on the work thousands of connections
/// between the same two hosts can cause. What lies beyond it is hardly the likeliest.
pub(super) const MOST_CANDIDATES: usize = 256;
/// Clocks of two captures may differ by this much for flows without a random to be the same, seconds.
const SAME_TIME: f64 = 5.0;

/// Client and gateway.
pub(super) type Pair = (IpAddr, IpAddr);

/// One connection with all its views, before it has a role.
pub(super) struct Group {
    pub(super) views: Sole<View>,
    pub(super) start: Timestamp,
}

impl Group {
    pub(super) fn addresses(&self) -> Pair {
        self.views
            .first()
            .map(|v| v.opened.endpoints().addresses())
            .unwrap_or((IpAddr::from([0, 0, 0, 0]), IpAddr::from([0, 0, 0, 0])))
    }

    pub(super) fn end(&self) -> Timestamp {
        self.views.iter().map(|v| v.ended.last).max().unwrap_or(self.start)
    }

    pub(super) fn first_answer(&self) -> Option<Timestamp> {
        self.views.iter().filter_map(|v| v.tls.as_ref()?.data.last()?.first).min()
    }

    /// Records of data each way.
    pub(super) fn data(&self) -> [u32; 2] {
        let most =
            |i: usize| self.views.iter().filter_map(|v| Some(v.tls.as_ref()?.data.get(i)?.records)).max().unwrap_or(0);
        [most(0), most(1)]
    }

    pub(super) fn first_data(&self) -> Option<Timestamp> {
        self.views.iter().filter_map(|v| v.tls.as_ref()).flat_map(|t| &t.data).filter_map(|d| d.first).min()
    }

    /// When it was last heard alive: with data.
    pub(super) fn died(&self) -> Timestamp {
        self.views.iter().filter_map(|view| last_alive(view)).max().unwrap_or(self.end())
    }

    /// When FIN or RST closed it.
    pub(super) fn closed(&self) -> Option<Timestamp> {
        self.views.iter().filter_map(|view| Some(view.closed()?.at)).min()
    }

    pub(super) fn shape(&self) -> Shape {
        self.views
            .iter()
            .map(|view| Shape::of(view))
            .max_by_key(|s| (!s.against, s.is_cstp(), s.records))
            .unwrap_or_default()
    }

    /// Was its beginning captured?
    pub(super) fn begins_here(&self) -> bool {
        self.views.iter().any(|view| begins_here(view))
    }

    /// Are its frames cut too short to read any of its TLS?
    pub(super) fn is_unread(&self) -> bool {
        are_unread(&self.views)
    }

    /// What its ClientHello looks like.
    pub(super) fn program(&self) -> Option<u64> {
        self.views.iter().find_map(|view| program(view))
    }

    pub(super) fn exchanges(&self) -> usize {
        self.views.iter().map(|view| exchanges(view)).max().unwrap_or(0)
    }

    /// What was read inside it with keys, by each view.
    fn inside(&self) -> impl Iterator<Item = &InsideTls> {
        self.views.iter().filter_map(|v| v.tls.as_ref()?.inside())
    }

    /// Read with keys: does it carry a tunnel? `None` without keys, or when its first records were not opened.
    pub(super) fn is_known_tunnel(&self) -> Option<bool> {
        let any = |says: &dyn Fn(&InsideTls) -> bool| self.inside().any(says);
        if any(&|inside| inside.request.is_some() || inside.answer.is_some() || inside.packets.any()) {
            return Some(true);
        }
        let is_read = any(&|inside| inside.packets.unsealed.opened > 2 && inside.packets.unsealed.failed == 0);
        is_read.then_some(false)
    }

    /// Read with keys: was every CONNECT in it refused?
    pub(super) fn is_refused(&self) -> bool {
        let answers = |inside: &InsideTls| inside.answer.is_some() && inside.granted().is_none();
        self.inside().any(answers) && self.inside().all(|inside| inside.granted().is_none())
    }

    /// Session tokens said in it.
    pub(super) fn tokens(&self) -> impl Iterator<Item = Token> {
        self.inside().flat_map(|inside| &inside.tokens).copied()
    }

    /// The id that its DTLS ClientHello carries.
    pub(super) fn dtls_ids(&self) -> impl Iterator<Item = [u8; 32]> {
        self.inside().filter_map(|inside| inside.granted()?.2.dtls_id())
    }

    /// Enough data for an HTTP exchange; TLS 1.3 hides its Finished and tickets among application data (RFC 8446 §5).
    pub(super) fn spoke(&self) -> bool {
        let hidden = self.views.iter().filter_map(|v| v.tls.as_ref()?.server_hello).any(|h| h.version.is_1_3());
        let [up, down] = self.data();
        up > u32::from(hidden) && down > 0
    }

    pub(super) fn session_ids(&self) -> impl Iterator<Item = &[u8]> {
        self.views
            .iter()
            .filter_map(|v| v.dtls.as_ref())
            .flat_map(|d| &d.attempts)
            .map(|a| a.session_id.as_bytes())
            .filter(|id| !id.is_empty())
    }
}

/// Puts views of the same connection together: by client random where there is one, else by what it carried, or by ends and time.
pub(super) fn group(flows: Vec<View>, points: &[Point], twins: &Twins) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::with_capacity(flows.len());
    let mut by_random: HashMap<Random, usize> = HashMap::with_capacity_and_hasher(flows.len(), Default::default());
    let mut by_twin: HashMap<Name, usize> = HashMap::default();
    let mut by_ends: HashMap<(SocketAddr, SocketAddr), BTreeSet<(Timestamp, usize)>> = HashMap::default();
    // Whose ends may have to tell it: flows without a random, and what they may belong to.
    let ends = |flow: &View| (flow.opened.endpoints().client, flow.opened.endpoints().server);
    let has_elsewhere = flows.iter().zip(flows.iter().skip(1)).any(|(a, b)| a.point != b.point);
    let nameless: HashSet<_> = flows.iter().filter(|flow| has_elsewhere && random(flow).is_none()).map(ends).collect();
    for flow in flows {
        let (random, ends) = (random(&flow), ends(&flow));
        let told_by_ends = nameless.contains(&ends);
        let same = |g: &Group| {
            let is_broken_off = g.views.iter().any(|v| goes_on(v, &flow) || goes_on(&flow, v));
            let is_near = flow.opened.first.seconds_since(g.end()) < SAME_TIME
                && g.start.seconds_since(flow.ended.last) < SAME_TIME;
            g.views.iter().all(|v| v.point != flow.point)
                && (is_near || is_broken_off)
                // Two different randoms are two connections, however alike their ends.
                && (random.is_none() || g.views.iter().all(|v| self::random(v).is_none()))
        };
        let same_ends = || {
            let known = by_ends.get(&ends)?;
            let at = flow.opened.first;
            let before = known.range(..(at, 0)).rev().take(MOST_CANDIDATES);
            let after = known.range((at, 0)..).take(MOST_CANDIDATES);
            let fits = before.chain(after).filter(|(_, i)| groups.get(*i).is_some_and(same));
            fits.min_by_key(|(start, i)| (start.nanos().abs_diff(at.nanos()), *i)).map(|(_, i)| *i)
        };
        let twin = twins.shared(&flow);
        let same_name = || twin.and_then(|twin| by_twin.get(&twin).copied());
        let place = random.and_then(|r| by_random.get(&r).copied()).or_else(same_name).or_else(same_ends);
        let place = match place {
            Some(place) => place,
            None => {
                groups.push(Group { views: Sole::default(), start: flow.opened.first });
                groups.len() - 1
            }
        };
        if let Some(random) = random {
            by_random.insert(random, place);
        }
        by_twin.extend(twin.map(|twin| (twin, place)));
        if let Some(group) = groups.get_mut(place) {
            if told_by_ends {
                by_ends.entry(ends).or_default().insert((group.start, place));
            }
            group.start = group.start.min(flow.opened.first);
            group.views.push(flow);
        }
    }
    let rank = |f: &FlowFacts| {
        let vantage = vantage(points, f.point);
        let is_rest = !begins_here(f) && random(f).is_none();
        (vantage.map_or(2, |v| u8::from(v != Vantage::Client)), is_rest, f.point)
    };
    for group in &mut groups {
        group.views.sort_by_key(|view| rank(view));
    }
    groups
}

/// Was the connection still open where one capture of it ended, and had begun long before the other did? Its numbers go on.
fn goes_on(before: &FlowFacts, after: &FlowFacts) -> bool {
    let begins = begins_here(after) || random(after).is_some();
    let pause = after.opened.first.seconds_since(before.ended.last);
    before.closed().is_none()
        && !begins
        && pause >= 0.0
        && (numbers_go_on(before, after, pause) || records_go_on(before, after))
}

/// Do the TCP sequence numbers of both directions go on where they ended?
fn numbers_go_on(before: &FlowFacts, after: &FlowFacts, pause: f64) -> bool {
    /// After so long another connection may have the same ports, seconds.
    const SOON: f64 = 600.0;
    /// No tunnel carries more than so many bytes meanwhile; one that was idle, no more than so many in a longer time.
    const ANY: u32 = 1 << 31;
    const IDLE: u32 = 1 << 26;
    let most = if pause <= SOON { ANY } else { IDLE };
    let (Some(before), Some(after)) = (&before.ended.numbers, &after.ended.numbers) else { return false };
    let ways = before.iter().zip(after.iter()).filter_map(|(before, after)| Some(((*before)?.1, (*after)?.0)));
    ways.map(|(next, first)| first.wrapping_sub(next) < most).reduce(|a, b| a && b) == Some(true)
}

/// Do the numbers of the DTLS records go on?
fn records_go_on(before: &FlowFacts, after: &FlowFacts) -> bool {
    let (Some(before), Some(after)) = (&before.dtls, &after.dtls) else { return false };
    let ways = before.sequence.iter().zip(&after.sequence);
    let passed = ways.filter_map(|(before, after)| {
        let (first, highest) = (after.first()?, before.highest?);
        Some(first.epoch() == highest.epoch() && first > highest)
    });
    passed.reduce(|a, b| a && b) == Some(true)
}

pub(super) fn random(flow: &FlowFacts) -> Option<Random> {
    match (&flow.tls, &flow.dtls) {
        (Some(tls), _) => tls.client_hello.and_then(|(_, _, random)| random),
        (_, Some(dtls)) => dtls.attempts.first().map(|a| a.random),
        _ => None,
    }
    .filter(|random| random.is_telling())
}

/// DTLS data whose handshake was before the capture.
pub(super) fn late(flow: &FlowFacts) -> bool {
    flow.dtls.as_ref().is_some_and(|dtls| dtls.was_up())
}

/// Does none of them show any TLS, as where frames are cut too short?
pub(super) fn are_unread(views: &[View]) -> bool {
    views.iter().all(|view| view.tls.is_none())
}

/// Was the beginning of a TLS connection captured: a SYN or a hello?
pub(super) fn begins_here(flow: &FlowFacts) -> bool {
    let hellos = flow.tls.as_ref().is_some_and(|t| t.client_hello.is_some() || t.server_hello.is_some());
    hellos || flow.opened.syn().is_some() || flow.opened.syn_ack().is_some()
}

/// The last data of a TLS connection. What one side could not get rid of for long, and what came through just as it was closed, shows no
/// life.
fn last_alive(flow: &FlowFacts) -> Option<Timestamp> {
    /// A goodbye goes out so close before the FIN, and whom nobody listens to any more gets his RST so soon, seconds.
    const AT_CLOSE: f64 = 1.0;
    /// What was sent again less often was merely lost.
    const OFTEN: u32 = 3;
    let tls = flow.tls.as_deref()?;
    let last = tls.data.iter().filter_map(|data| data.last).map(|(at, _)| at).max()?;
    let is_late = flow.ended.retransmissions.iter().any(|again| *again >= OFTEN)
        && flow.closed().is_some_and(|closed| (-AT_CLOSE..AT_CLOSE).contains(&closed.at.seconds_since(last)));
    let pause = [Direction::ToServer, Direction::ToClient].map(|way| tls.unanswered(way).silence());
    Some(if is_late { last.plus_seconds(-pause.into_iter().fold(0.0, f64::max)) } else { last })
}

/// What tells one program's ClientHellos from another's.
pub(super) fn program(flow: &FlowFacts) -> Option<u64> {
    flow.tls.as_ref().filter(|tls| tls.client_hello.is_some()).map(|tls| tls.hello_shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::FrameRef;
    use crate::session::facts::{Closed, TlsFacts};
    use crate::session::timing::tests::{at, client};
    use Direction::{ToClient, ToServer};

    #[test]
    fn what_a_dead_connection_gets_rid_of_at_last_is_no_life() {
        let died = |again: u32, said: &[(f64, Direction)], closed: f64| {
            let mut flow = client([10, 9, 0, 7], 1, &[0.0], 9).flows.remove(0).facts;
            let mut tls = TlsFacts::default();
            let frame = FrameRef::default();
            said.iter().for_each(|(seconds, way)| tls.add_data(at(*seconds), frame, *way, 100));
            flow.tls = Some(Box::new(tls));
            flow.ended.retransmissions = [again, 0];
            let closed = Closed { at: at(closed), frame, direction: ToServer, by: ToServer, reset: false, ttl: 64 };
            flow.closed = Some(Box::new(closed));
            last_alive(&flow).map(|last| last.seconds_since(at(0.0)))
        };
        let goodbye = [(4.0, ToClient), (8.0, ToServer), (34.0, ToServer), (34.0, ToServer)];
        assert_eq!(died(8, &goodbye, 34.1), Some(8.0));
        assert_eq!(died(0, &goodbye, 34.1), Some(34.0), "nothing had been sent again");
        assert_eq!(died(8, &goodbye, 40.0), Some(34.0), "it lived on");
        assert_eq!(died(8, &[(8.0, ToServer), (26.0, ToClient)], 26.1), Some(8.0), "the gateway's last word, late");
        assert_eq!(died(8, &[(30.0, ToServer), (30.1, ToClient)], 30.2).map(f64::round), Some(30.0));
    }
}
