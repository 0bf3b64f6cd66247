//! What came of Fragmentation Needed: did its receiver send smaller packets?

use super::facts::{MAX_FRAMES, Run};
use super::limits::is_useful;
use super::{Icmp, Session};
use crate::event::{Direction, FrameRef, PointId, Timestamp};
use std::net::IpAddr;

/// Packets in flight when the ICMP was sent do not count: grace, seconds.
const GRACE: f64 = 0.5;

/// Was one about the inner or the outer path seen there, and its receiver went on as before?
pub fn is_ignored(session: &Session, point: PointId, inner: bool) -> bool {
    let mut there = session.frag_needed().filter(|icmp| icmp.facts.point == point && icmp.inner == inner);
    there.any(|icmp| ignored(session, icmp).is_some())
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

/// What followed it, if its receiver went on as before.
pub fn ignored<'a>(session: &'a Session, icmp: &'a Icmp) -> Option<Ignored<'a>> {
    let facts = &icmp.facts;
    let useful: Vec<u32> =
        facts.mtus.iter().copied().filter(|m| is_useful(facts.error.v6, *m, facts.quoted.total_len)).collect();
    let useless = useful.is_empty();
    let limit = useful.iter().copied().min().unwrap_or_else(|| facts.quoted.total_len.saturating_sub(1));
    let runs: Vec<&Run> = runs_of(session, icmp)
        .into_iter()
        .filter(|r| r.size > limit && r.last.seconds_since(facts.first) >= GRACE)
        .collect();
    let from = facts.first.plus_seconds(GRACE);
    let after: u32 = runs.iter().map(|run| late(run, from)).sum();
    let last: Option<Timestamp> = runs.iter().map(|r| r.last).max();
    // A message without a usable MTU is a fault only if the sender did not find its way by itself.
    if after == 0 {
        return None;
    }
    Some(Ignored {
        icmp,
        useless,
        after,
        is_counted: runs.iter().all(|run| run.first >= from),
        seconds: last.map_or(0.0, |at| at.seconds_since(facts.first)),
        frames: runs.iter().flat_map(|r| r.frames()).take(MAX_FRAMES).collect(),
    })
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

/// Large packets of the quoted flow in the quoted direction, at the point that saw the message.
fn runs_of<'a>(session: &'a Session, icmp: &Icmp) -> Vec<&'a Run> {
    let q = icmp.facts.quoted;
    let all = session
        .inner
        .iter()
        .map(|f| &f.facts)
        .chain(session.connections.iter().flat_map(|c| &c.views))
        .chain(session.dtls.iter().flat_map(|d| &d.views));
    all.filter(|f| f.point == icmp.facts.point && f.opened.protocol.number() == q.protocol)
        .filter_map(|f| {
            let ends = f.opened.endpoints;
            let (a, b) = ((ends.client.ip(), ends.client.port()), (ends.server.ip(), ends.server.port()));
            // Ports that were cut off the quote tell nothing; the addresses do.
            let fits = |from: (IpAddr, u16), to: (IpAddr, u16)| {
                (q.src, q.dst) == (from.0, to.0) && q.ports.is_none_or(|ports| ports == (from.1, to.1))
            };
            let way = match (fits(a, b), fits(b, a)) {
                (true, _) => Direction::ToServer,
                (_, true) => Direction::ToClient,
                _ => return None,
            };
            f.large.get(way.index())
        })
        .flat_map(|runs| runs.iter())
        .collect()
}
