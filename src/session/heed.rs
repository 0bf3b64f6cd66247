//! What came of Fragmentation Needed: did its receiver send smaller packets?

use super::facts::{MAX_FRAMES, Run};
use super::limits::is_useful;
use super::{Icmp, Session};
use crate::event::{Direction, FrameRef, PointId, Timestamp};

/// Packets in flight when the ICMP was sent do not count: grace, seconds.
const GRACE: f64 = 0.5;

/// The ICMP errors that say a packet did not fit.
pub fn frag_needed(session: &Session) -> impl Iterator<Item = &Icmp> {
    session.icmp.iter().filter(|icmp| icmp.facts.error.is_frag_needed())
}

/// Was one about the inner or the outer path seen there, and its receiver went on as before?
pub fn is_ignored(session: &Session, point: PointId, inner: bool) -> bool {
    let mut there = frag_needed(session).filter(|icmp| icmp.facts.point == point && icmp.inner == inner);
    there.any(|icmp| ignored(session, icmp).is_some())
}

/// One that changed nothing.
pub struct Ignored<'a> {
    /// It.
    pub icmp: &'a Icmp,
    /// It names no MTU that its receiver could use.
    pub useless: bool,
    /// Packets above the MTU that followed.
    pub after: u32,
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
    let late = |run: &&Run| -> u32 { if run.first.seconds_since(facts.first) >= GRACE { run.count } else { 1 } };
    let after: u32 = runs.iter().map(late).sum();
    let last: Option<Timestamp> = runs.iter().map(|r| r.last).max();
    // A message without a usable MTU is a fault only if the sender did not find its way by itself.
    if after == 0 {
        return None;
    }
    Some(Ignored {
        icmp,
        useless,
        after,
        seconds: last.map_or(0.0, |at| at.seconds_since(facts.first)),
        frames: runs.iter().flat_map(|r| r.frames()).take(MAX_FRAMES).collect(),
    })
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
            let (src, dst) = q.ports?;
            let way = if (q.src, src) == a && (q.dst, dst) == b {
                Direction::ToServer
            } else if (q.src, src) == b && (q.dst, dst) == a {
                Direction::ToClient
            } else {
                return None;
            };
            f.large.get(way.index())
        })
        .flat_map(|runs| runs.iter())
        .collect()
}
