//! The seam between two tunnel connections of one session.

use super::facts::{Closed, FlowFacts};
use super::{Connection, Session};
use crate::event::{Direction, FrameRef, Timestamp};

/// Why a new tunnel connection was opened, as far as packets tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The adapter got a lower MTU (see the detector for the whole pattern).
    Mtu,
    /// The gateway had stopped answering.
    PathLost,
    /// The client announced another outer MSS: its link's MTU changed.
    LinkMtuChanged,
    /// The client closed the old connection itself.
    ClientClosed,
    /// The gateway closed it.
    GatewayClosed,
    /// Nothing tells.
    Unknown,
}

impl Cause {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Cause::Mtu => "mtu",
            Cause::PathLost => "path-lost",
            Cause::LinkMtuChanged => "link-mtu-changed",
            Cause::ClientClosed => "client-closed",
            Cause::GatewayClosed => "gateway-closed",
            Cause::Unknown => "unknown",
        }
    }
}

/// One seam.
#[derive(Clone, Debug)]
pub struct Reconnect {
    /// When the new connection opened.
    pub at: Timestamp,
    /// Its first frame.
    pub frame: FrameRef,
    /// Index of the old connection in `Session::connections`.
    pub old: usize,
    /// Index of the new one.
    pub new: usize,
    /// Seconds from the old connection's end to the new one's begin.
    pub gap: f64,
    /// Seconds the old tunnel had lived: from its first packet to its end.
    pub lived: f64,
    /// Seconds from the first DTLS ClientHello on the old tunnel to its end, when there was one.
    pub since_hello: Option<f64>,
    /// DTLS came up while the old tunnel lived.
    pub dtls_worked: bool,
    /// Inner MSS before and after, bytes, with the frames that show it.
    pub inner_mss: Option<((u16, FrameRef), (u16, FrameRef))>,
    /// Outer MSS of the client before and after, when both are known.
    pub outer_mss: Option<(u16, u16)>,
    /// Why.
    pub cause: Cause,
}

impl Reconnect {
    /// Was the inner MSS lowered?
    pub fn lowered(&self) -> bool {
        self.inner_mss.is_some_and(|((before, _), (after, _))| after < before)
    }

    /// Does the timing fit the minute of note 116881: 55 to 65 s after the tunnel came up or its first ClientHello?
    pub fn after_a_minute(&self) -> bool {
        /// Seconds.
        const MINUTE: std::ops::RangeInclusive<f64> = 55.0..=65.0;
        MINUTE.contains(&self.lived) || self.since_hello.is_some_and(|s| MINUTE.contains(&s))
    }
}

/// How long the gateway must have been silent for the path to count as lost, seconds.
const LOST: f64 = 5.0;

/// Finds the seams of a session whose connections and inner flows are in place.
pub fn find(session: &Session) -> Vec<Reconnect> {
    let tunnels: Vec<usize> = (0..session.connections.len())
        .filter(|i| session.connections.get(*i).is_some_and(|c| c.role.is_tunnel()))
        .collect();
    tunnels.windows(2).filter_map(|pair| seam(session, *pair.first()?, *pair.last()?)).collect()
}

fn seam(session: &Session, old: usize, new: usize) -> Option<Reconnect> {
    let (before, after) = (session.connections.get(old)?, session.connections.get(new)?);
    let closed = before.views.iter().filter_map(|v| v.closed).min_by_key(|c| c.at);
    let end = closed.map_or_else(|| before.end(), |c| c.at);
    let start = after.start();
    let flows = || {
        session
            .dtls
            .iter()
            .filter(|d| d.start() >= before.start() && d.start() < start.min(end).max(before.start().plus_seconds(1.0)))
    };
    let first_hello = flows().flat_map(|d| d.attempts()).map(|(_, a)| a.first).min();
    let outer_mss = before.mss().first().copied().flatten().zip(after.mss().first().copied().flatten());
    let mut seam = Reconnect {
        at: start,
        frame: after.best().opened.first_frame,
        old,
        new,
        gap: start.seconds_since(end),
        lived: end.seconds_since(before.start()),
        since_hello: first_hello.map(|hello| end.seconds_since(hello)),
        dtls_worked: flows().any(|d| d.worked()),
        inner_mss: inner_mss(session, start),
        outer_mss,
        cause: Cause::Unknown,
    };
    seam.cause = cause(&seam, before, after, closed);
    Some(seam)
}

fn cause(seam: &Reconnect, before: &Connection, after: &Connection, closed: Option<Closed>) -> Cause {
    if seam.outer_mss.is_some_and(|(before, after)| before != after) {
        return Cause::LinkMtuChanged;
    }
    if lost(before, after) {
        return Cause::PathLost;
    }
    // A connection that is closed after its successor opened was given up for another reason.
    let closer = closed.filter(|c| c.at <= seam.at.plus_seconds(1.0)).map(|c| c.direction);
    let mss_fits = seam.inner_mss.is_none() || seam.lowered();
    if !seam.dtls_worked && seam.after_a_minute() && closer != Some(Direction::ToClient) && mss_fits {
        return Cause::Mtu;
    }
    match closer {
        Some(Direction::ToServer) => Cause::ClientClosed,
        Some(Direction::ToClient) => Cause::GatewayClosed,
        None => Cause::Unknown,
    }
}

/// The gateway had stopped answering: the new connection's SYN waited long for its answer, or the old one's data was sent
/// again and again without any.
fn lost(before: &Connection, after: &Connection) -> bool {
    let waited = |view: &FlowFacts| {
        let (syn, ack) = (view.opened.syn?, view.opened.syn_ack?);
        Some(ack.at.seconds_since(syn.at) >= LOST)
    };
    let unanswered = |view: &FlowFacts| {
        let [resent, _] = view.ended.retransmissions;
        let answered = view.tls.as_ref().and_then(|tls| tls.data.last()?.last);
        resent >= 3 && answered.is_some_and(|(at, _)| after.start().seconds_since(at) >= LOST)
    };
    after.views.iter().any(|v| waited(v) == Some(true)) || before.views.iter().any(unanswered)
}

/// The last inner MSS announced before that moment and the first one after it.
fn inner_mss(session: &Session, at: Timestamp) -> Option<((u16, FrameRef), (u16, FrameRef))> {
    let announced = || session.inner.iter().filter_map(|f| f.client_mss());
    let before = announced().filter(|(_, _, t)| *t < at).max_by_key(|(_, _, t)| *t)?;
    let after = announced().filter(|(_, _, t)| *t >= at).min_by_key(|(_, _, t)| *t)?;
    Some(((before.0, before.1), (after.0, after.1)))
}
