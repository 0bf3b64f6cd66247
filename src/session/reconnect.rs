//! The seam between two tunnel connections of one session: what ended the first, what the user lost, what the MTU was.

use super::facts::{Closed, DtlsFacts, FlowFacts, Stretch, View};
use super::limits::headers;
use super::silence::{Outage, in_vain_since, lived_over_dtls};
use super::stuck::passed_toward_client;
use super::{Connection, DtlsFlow, InnerFlow, Point, Session, mtu, vantage};
use crate::event::{Class, Direction, FrameRef, Lapse, PointId, Timestamp, Vantage, Version};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Why a new tunnel connection was opened, as far as packets tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The adapter got a lower MTU (see the detector for the whole pattern).
    Mtu,
    /// The client's machine was asleep.
    Sleep,
    /// The client got another address.
    Roaming,
    /// The gateway had stopped answering.
    PathLost,
    /// It had stopped answering over TLS alone: DTLS was answered to the end.
    TlsLost,
    /// The gateway's TCP went on, but nothing in the tunnel was answered.
    DpdUnanswered,
    /// A RST ended the old connection.
    Reset,
    /// The client announced another outer MSS: its link's MTU changed.
    LinkMtuChanged,
    /// The client opened the new connection beside the old one, which worked, and then closed that.
    Optimising,
    /// After a whole number of hours: a rekey by a new tunnel.
    Rekey,
    /// Nothing had come from the client for long, and then it left all at once.
    ClientSilent,
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
            Cause::Sleep => "sleep",
            Cause::Roaming => "roaming",
            Cause::PathLost => "path-lost",
            Cause::TlsLost => "tls-lost",
            Cause::DpdUnanswered => "dpd-unanswered",
            Cause::Reset => "reset",
            Cause::LinkMtuChanged => "link-mtu-changed",
            Cause::Optimising => "optimising",
            Cause::Rekey => "rekey",
            Cause::ClientSilent => "client-silent",
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
    /// Seconds the old tunnel had lived: from its first packet to its end; absent when it began before the capture.
    pub lived: Option<f64>,
    /// Its end is where it was closed (FIN or RST), not merely where it was last heard, over TLS or DTLS.
    pub is_closed: bool,
    /// Seconds from its first packet to the new connection's; absent when it began before the capture.
    pub opened_after: Option<f64>,
    /// Seconds from the first DTLS ClientHello on the old tunnel to its end, when there was one.
    pub since_hello: Option<f64>,
    /// DTLS came up while the old tunnel lived.
    pub dtls_worked: bool,
    /// Seconds from the gateway's last data in the old tunnel, over TLS or DTLS, to the first data in the new one.
    pub without_data: Option<f64>,
    /// The gateway had been silent in the tunnel while the client sent.
    pub unheard: Option<Unheard>,
    /// Seconds for which no data came from the client at the gateway's end before it left, when that was long.
    pub quiet: Option<f64>,
    /// Seconds that the new connection's SYN waited for its answer, when that was long.
    pub syn_wait: Option<f64>,
    /// Seconds that the new connection's ClientHello waited, when that was long though TCP was answered at once.
    pub hello_wait: Option<f64>,
    /// How the old connection ended: the RST, when one did.
    pub reset: Option<Closed>,
    /// What the client's inner SYNs announced before and after.
    pub inner_mss: Option<InnerMss>,
    /// Outer MSS of the client before and after, when both are known.
    pub outer_mss: Option<(u16, u16)>,
    /// Largest inner packet before and after as full records tell, bytes: windows where padding hides the length.
    pub ceiling: Option<(RangeInclusive<u16>, RangeInclusive<u16>)>,
    /// The largest inner packets toward the client that the old tunnel's TLS carried in one piece, bytes; where DTLS was not up.
    pub carried: Option<u32>,
    /// They were as large as the adapter's MTU or, where that is not known, as any DTLS of a 1500-byte link carries.
    pub carried_all: bool,
    /// The client's address before and after, when it changed.
    pub moved: Option<(IpAddr, IpAddr)>,
    /// Why.
    pub cause: Cause,
}

/// The MSS that the client's inner SYNs of one IP version announced, before and after.
#[derive(Clone, Copy, Debug)]
pub struct InnerMss {
    /// The last one before: bytes, and the frame that shows it.
    pub before: (u16, FrameRef),
    /// The first one after.
    pub after: (u16, FrameRef),
    /// When that was.
    pub at: Timestamp,
    /// What the IP and TCP headers add to an MSS, bytes.
    pub headers: u32,
}

/// What an inner SYN announced, bytes, where and when.
pub type Announced = (u16, FrameRef, Timestamp);

impl InnerMss {
    /// Of IPv4 and of IPv6: the two that `pick` finds among all that were announced at one place; where no place shows both, among all.
    pub(super) fn by_version(
        session: &Session,
        pick: impl Fn(Vec<Announced>) -> Option<[Announced; 2]>,
    ) -> impl Iterator<Item = InnerMss> {
        let (v4, v6): (Vec<_>, Vec<_>) = session.announced().partition(|(_, flow)| flow.ends().0.is_ipv4());
        [v4, v6].into_iter().filter_map(move |all| {
            let headers = headers(all.first()?.1.ends().0.ip());
            // What is read with keys is seen at the client's adapter, as it were.
            let mut places: BTreeMap<(PointId, bool), Vec<Announced>> = BTreeMap::new();
            for (announced, flow) in &all {
                let place = (flow.facts.point, flow.facts.opened.carrier.is_some());
                places.entry(place).or_default().push(*announced);
            }
            let found = places.into_values().filter_map(&pick);
            // Whatever clamps on the way only lowers it: nearest to the client it is the largest.
            let nearest = found.max_by_key(|[(before, ..), _]| *before);
            let anywhere = || pick(all.into_iter().map(|(announced, _)| announced).collect());
            let [before, after] = nearest.or_else(anywhere)?;
            Some(InnerMss { before: (before.0, before.1), after: (after.0, after.1), at: after.2, headers })
        })
    }

    /// The MTUs of the adapter, bytes.
    pub fn mtus(&self) -> [u32; 2] {
        [self.before, self.after].map(|(mss, _)| u32::from(mss) + self.headers)
    }
}

/// A silence of the gateway, while the client sent.
#[derive(Clone, Copy, Debug)]
pub struct Unheard {
    /// Its last word in the tunnel, over TLS or DTLS.
    pub since: Timestamp,
    /// The client's first record without an answer in the channel with more of them: when and where.
    pub first: (Timestamp, FrameRef),
    /// Seconds until the client's last record.
    pub seconds: f64,
    /// Records of the client that went unanswered, in the channel with more of them.
    pub records: u32,
    /// How many of them asked for an answer: those with the length of DPD and keepalive, or all, where answers came too late.
    asked: u32,
    /// Some went over TLS: it is not DTLS alone that is silent.
    over_tls: bool,
}

impl Unheard {
    /// Did the gateway's TCP go on?
    pub fn tcp_lives(&self, tunnel: &Connection) -> bool {
        let mut heard = tunnel.views.iter().filter_map(|v| v.last_packet(Direction::ToClient));
        heard.any(|at| at.seconds_since(self.since) >= LOST)
    }

    /// Were so many left that it is no chance, all of them since the gateway spoke last in any channel?
    pub fn is_mute(&self) -> bool {
        self.records >= MANY && self.first.0 >= self.since
    }

    /// Was DPD or a keepalive among them?
    pub fn asks(&self) -> bool {
        self.asked > 0
    }

    /// More unanswered records than keepalives account for, or a silence in which any DPD would have been answered?
    pub fn is_dpd(&self, tunnel: &Connection) -> bool {
        /// Keepalives, which nobody answers, come no more often (ASA default 20 s).
        const KEEPALIVE: f64 = 18.0;
        // Data that the gateway takes may go to one who has nothing to answer.
        let asked = if self.tcp_lives(tunnel) { self.asked } else { self.records };
        let often = asked >= 3 && self.seconds / f64::from(asked) < KEEPALIVE;
        self.seconds >= 2.0 * LOST && often || self.seconds >= ASLEEP
    }
}

/// Seconds of the note's minute.
pub(super) const MINUTE: RangeInclusive<f64> = 55.0..=65.0;
/// How long the gateway must have been silent for the path to count as lost, seconds.
pub const LOST: f64 = 5.0;
/// A client may open a new tunnel so long after the path is back: it had given the old one up, seconds.
const GIVES_UP: f64 = 15.0;
/// Who says goodbye closes the connection within so many seconds.
const GOODBYE: f64 = 1.0;
/// A client that lives says something within so many seconds (keepalive 20 s).
pub const ALIVE: f64 = 20.0;
/// A client silent so long, though keepalives were due, slept, seconds (keepalive 20 s, DPD 30 s).
const ASLEEP: f64 = 45.0;
/// A deliberate second tunnel comes within so many seconds of the first.
const SOON: f64 = 30.0;

impl Reconnect {
    /// The RST that ended the old connection before the new one opened.
    pub fn reset_before(&self) -> Option<Closed> {
        self.reset.filter(|closed| closed.at <= self.at)
    }

    /// Was the inner MSS lowered?
    pub fn lowered(&self) -> bool {
        self.inner_mss.is_some_and(|mss| mss.after.0 < mss.before.0)
    }

    /// Was the inner MSS lowered, DTLS not being up, and had nothing larger than it leaves now got through in one piece?
    pub fn lowered_in_need(&self) -> bool {
        let after = self.inner_mss.map(|mss| mss.mtus()[1]);
        !self.dtls_worked && self.lowered() && self.carried.is_none_or(|bytes| Some(bytes) <= after)
    }

    /// May it have come for a new MTU though inner SYNs carried the same MSS before and after: where that is clamped on the way?
    pub fn may_be_clamped(&self) -> Option<u16> {
        let mss = self.inner_mss.filter(|mss| mss.before.0 == mss.after.0)?;
        (self.after_a_minute() && self.cause == Cause::ClientClosed && !self.dtls_worked).then_some(mss.before.0)
    }

    /// May it have come for a new MTU, of which nothing shows because the old tunnel's beginning or end was not captured?
    pub fn may_be_for_mtu(&self) -> bool {
        let began_before = self.lived.is_none() && self.inner_mss.is_none() && self.cause == Cause::ClientClosed;
        let end_unseen = self.cause == Cause::Unknown && self.opened_after.is_some_and(|s| MINUTE.contains(&s));
        (began_before || end_unseen) && !self.dtls_worked
    }

    /// Does the timing fit the minute of note 116881: 55 to 65 s after the tunnel came up or its first ClientHello?
    pub fn after_a_minute(&self) -> bool {
        self.lived.is_some_and(|s| MINUTE.contains(&s)) || self.since_hello.is_some_and(|s| MINUTE.contains(&s))
    }
}

/// Finds the seams of a session whose connections and inner flows are in place.
pub fn find(session: &Session, points: &[Point]) -> Vec<Reconnect> {
    let connections = || session.connections.iter().enumerate();
    let tunnels = || connections().filter(|(_, c)| c.role.is_tunnel()).map(|(i, _)| i);
    tunnels().zip(tunnels().skip(1)).filter_map(|(old, new)| seam(session, points, old, new)).collect()
}

fn seam(session: &Session, points: &[Point], old: usize, new: usize) -> Option<Reconnect> {
    let (before, after) = (session.connections.get(old)?, session.connections.get(new)?);
    let closing = before.views.iter().filter_map(|v| Some((v.point, v.closed()?))).min_by_key(|(_, c)| c.at);
    let closed = closing.map(|(_, closed)| closed);
    let start = after.start();
    // Which of the two came first tells one point that saw both.
    let there = |(point, _): (PointId, Closed)| after.views.iter().find(|v| v.point == point);
    let opened = closing.and_then(there).map_or(start, |v| v.opened.first);
    let until = closed.map_or(start, |c| start.min(c.at)).max(before.start().plus_seconds(1.0));
    // DTLS of a tunnel that opened before the capture may be heard before it.
    let is_first = session.tunnels().next().is_some_and(|first| std::ptr::eq(first, before));
    let from = if is_first && !before.begins_here() { session.start } else { before.start() };
    let flows: Vec<&DtlsFlow> = session.dtls.iter().filter(|d| (from..until).contains(&d.start())).collect();
    // Without FIN or RST it lived as long as anything was said in it, over DTLS too.
    let over_dtls = flows.iter().filter(|d| d.came_up()).filter_map(|d| Some(heard_both(&d.views)?.min(start)));
    let heard = || over_dtls.chain(heard_both(&before.views)).max().unwrap_or(before.start());
    let end = closed.map_or_else(heard, |c| c.at);
    let first_hello = flows.iter().flat_map(|d| d.attempts()).map(|(_, a)| a.first).min();
    let reset = closed.filter(|c| c.reset && before.reset().is_some());
    let is_thrown_out = reset.is_some_and(|c| c.direction == Direction::ToClient);
    let mut seam = Reconnect {
        at: start,
        frame: after.best().opened.first_frame,
        old,
        new,
        gap: opened.seconds_since(end),
        lived: before.begins_here().then(|| end.seconds_since(before.start())),
        is_closed: closed.is_some(),
        opened_after: before.begins_here().then(|| start.seconds_since(before.start())),
        since_hello: first_hello.map(|hello| end.seconds_since(hello)),
        dtls_worked: flows.iter().any(|d| d.worked() || d.is_half_seen()),
        without_data: without_data(session, before, &flows, after),
        unheard: unheard(before, &flows, Some(start)),
        quiet: quiet(points, before, &flows, closed, opened),
        syn_wait: after.best().syn_wait().filter(is_long),
        hello_wait: after.best().hello_wait().filter(is_long),
        reset,
        inner_mss: inner_mss(session, start),
        outer_mss: before.mss().first().copied().flatten().zip(after.mss().first().copied().flatten()),
        ceiling: ceiling(before, &flows).zip(ceiling(after, &later_flows(session, start))),
        carried: None,
        carried_all: false,
        moved: moved(before, after, is_thrown_out),
        cause: Cause::Unknown,
    };
    if !seam.dtls_worked {
        seam.carried = carried(session, before, seam.at);
        seam.carried_all = seam.carried.is_some_and(|bytes| is_all(before, seam.inner_mss, bytes));
    }
    seam.cause = cause(session, points, &seam, closed);
    Some(seam)
}

/// Until when both sides were heard, or the one that shows: who is gone may be sent to for long.
fn heard_both(views: &[View]) -> Option<Timestamp> {
    let both = views.iter().filter_map(|v| {
        let [up, down] = v.ended.last_by_direction;
        Some(up?.min(down?))
    });
    both.max().or(views.iter().map(|v| v.ended.last).max())
}

fn later_flows(session: &Session, start: Timestamp) -> Vec<&DtlsFlow> {
    session.dtls.iter().filter(|d| d.start() >= start).collect()
}

/// Did the client itself end its tunnel with a RST, as a machine does when data still waits to be read? Its own capture shows it leave.
fn resets_itself(points: &[Point], tunnel: &Connection) -> bool {
    tunnel.views.iter().any(|view| {
        vantage(points, view.point) == Some(Vantage::Client)
            && view.closed().is_some_and(|closed| closed.reset && closed.direction == Direction::ToServer)
    })
}

fn cause(session: &Session, points: &[Point], seam: &Reconnect, closed: Option<Closed>) -> Cause {
    let (Some(before), Some(after)) = (session.connections.get(seam.old), session.connections.get(seam.new)) else {
        return Cause::Unknown;
    };
    if seam.moved.is_some() {
        return Cause::Roaming;
    }
    // Hardly anybody's machine sleeps in the very minute after a login, and wakes when the client would come back for its MTU.
    let is_due = seam.after_a_minute() && !seam.dtls_worked && (seam.since_hello.is_some() || seam.lowered());
    if !is_due && slept(session, points, seam) {
        return Cause::Sleep;
    }
    if seam.outer_mss.is_some_and(|(before, after)| before != after) {
        return Cause::LinkMtuChanged;
    }
    // The minute, and what it is for, tell a client's own RST from one in its name.
    let is_own = is_due
        && (seam.lowered() && seam.reset.is_some_and(|c| c.direction == Direction::ToServer)
            || resets_itself(points, before));
    if seam.reset_before().is_some() && !is_own {
        let is_its = |c: Closed| {
            let mut ttls = before.views.iter().filter_map(|v| session.usual_ttl(v, Direction::ToServer, c.at));
            c.direction == Direction::ToServer && ttls.all(|ttl| ttl == c.ttl)
        };
        let by_client = seam.reset.is_some_and(is_its);
        let mut lost =
            before.views.iter().filter_map(|view| Some((view, Outage::before_reset(session, before, view)?)));
        return match lost.next() {
            // A device on the way is the news, whatever came before.
            Some((view, outage)) if !outage.closed.is_some_and(|c| is_forged(view, c)) => match outage.sent {
                _ if outage.is_alone => Cause::TlsLost,
                Direction::ToServer => Cause::PathLost,
                Direction::ToClient => Cause::ClientSilent,
            },
            _ if by_client && seam.quiet.is_some() => Cause::ClientSilent,
            _ => Cause::Reset,
        };
    }
    if lost(before, after) {
        // Whether what the gateway says over DTLS arrives does not show at its own end: its SYN-ACK would have as well.
        let is_heard = (answered_over_dtls(session, seam.at, seam.syn_wait) || is_tls_alone(session, before, seam))
            && !after.views.iter().any(|view| is_unheard(view));
        return if is_heard { Cause::TlsLost } else { Cause::PathLost };
    }
    // A connection that is closed after its successor opened was given up for another reason.
    let closer = closed.filter(|c| c.at <= seam.at.plus_seconds(1.0)).map(|c| c.by);
    let mss_fits = match seam.inner_mss {
        Some(_) => seam.lowered(),
        None => !keeps_mtu(session, before, after),
    };
    // Of a tunnel that began before the capture only the lower MSS tells.
    let in_time = seam.after_a_minute() || seam.lived.is_none() && seam.lowered();
    // A client that says why it goes leaves the FIN to the gateway.
    let by_client = closer != Some(Direction::ToClient) || seam.lowered();
    if !seam.dtls_worked && in_time && by_client && mss_fits && !seam.carried_all {
        return Cause::Mtu;
    }
    if seam.hello_wait.is_some() {
        return Cause::DpdUnanswered;
    }
    match seam.unheard.filter(|unheard| unheard.is_dpd(before)) {
        Some(unheard) if !unheard.tcp_lives(before) => return Cause::PathLost,
        // What never came to the gateway it could not answer.
        Some(unheard) if !unheard.over_tls && is_lost_over_dtls(session, points, &unheard) => {}
        // Where DTLS alone went unanswered, and does on the new tunnel, it is DTLS that died.
        Some(unheard) if unheard.over_tls || !session.is_dtls_unanswered_from(seam.at) => return Cause::DpdUnanswered,
        _ => {}
    }
    let beside = seam.gap < 0.5 && closed.is_none_or(|c| c.at > seam.at && c.direction == Direction::ToServer);
    let is_heard = heard_until(session, before, seam.at).is_some_and(|at| seam.at.seconds_since(at) < LOST);
    if beside && is_heard && seam.at.seconds_since(before.start()) < SOON {
        return Cause::Optimising;
    }
    if seam.lived.is_some_and(is_hours) && closer != Some(Direction::ToClient) {
        return Cause::Rekey;
    }
    match closer {
        Some(Direction::ToServer) | None if seam.quiet.is_some() => Cause::ClientSilent,
        Some(Direction::ToServer) => Cause::ClientClosed,
        Some(Direction::ToClient) if seam.quiet.is_some() && seam.gap >= 0.0 => Cause::ClientSilent,
        Some(Direction::ToClient) => Cause::GatewayClosed,
        None => Cause::Unknown,
    }
}

/// The largest inner packets toward the client in its TLS, as the lengths of records tell; what got through besides was in pieces.
fn carried(session: &Session, tunnel: &Connection, until: Timestamp) -> Option<u32> {
    let (largest, count) = *Direction::ToClient.of(&tunnel.best().tls.as_deref()?.early.late());
    let window = (count >= PLATEAU).then(|| tunnel.settled()?.protection()?.cstp_payload(largest))??;
    let window = u32::from(*window.start())..=u32::from(*window.end());
    let passed = session.inner.iter().filter_map(passed_toward_client);
    let meanwhile = passed.filter(|p| tunnel.start() <= p.first && p.first < until).map(|p| p.ip_len);
    // Where padding hides the length, what was acknowledged tells.
    meanwhile.filter(|bytes| window.contains(bytes)).max().or(Some(*window.start()))
}

/// Is no packet larger: is it the adapter's MTU, or what any DTLS of a 1500-byte link carries?
fn is_all(tunnel: &Connection, inner_mss: Option<InnerMss>, bytes: u32) -> bool {
    let named = tunnel.granted().and_then(|(_, _, answer)| answer.dtls_mtu.filter(|_| answer.offers_dtls()));
    let adapter = inner_mss.map(|mss| mss.mtus()[0]).max(named.map(u32::from));
    adapter.or_else(most_over_dtls).is_some_and(|most| bytes >= most)
}

/// The largest inner packet that one datagram of a 1500-byte link carries, with the suite that costs least of those in wide use.
fn most_over_dtls() -> Option<u32> {
    let sealed = mtu::Protection::new(Class::GCM, Version::DTLS_1_2, false);
    let terms = sealed.dtls_mtu(mtu::LinkMtu(1500), mtu::OuterIp::V4)?;
    Some(u32::from(terms.result.0))
}

/// Does the gateway's end show that the client's DTLS records did not come there in that silence?
fn is_lost_over_dtls(session: &Session, points: &[Point], unheard: &Unheard) -> bool {
    let until = unheard.since.plus_seconds(unheard.seconds);
    let is_there = |view: &&View| {
        let point = points.get(usize::from(view.point.0));
        vantage(points, view.point) == Some(Vantage::Outside)
            && point.is_some_and(|point| point.was_capturing(unheard.since, until))
    };
    let came =
        |view: &View| view.last_packet(Direction::ToServer).is_some_and(|at| at.seconds_since(unheard.since) >= LOST);
    let mut there = session.dtls.iter().flat_map(|flow| &flow.views).filter(is_there).peekable();
    there.peek().is_some() && !there.any(came)
}

/// Was the adapter's MTU the same before and after: as keys show that both channels have it, or SYNs of two IP versions?
fn keeps_mtu(session: &Session, before: &Connection, after: &Connection) -> bool {
    let granted = |tunnel: &Connection| {
        let (_, _, answer) = tunnel.granted()?;
        let tls = answer.cstp_mtu?;
        let is_only = !answer.offers_dtls() || answer.dtls_mtu.is_none_or(|dtls| dtls == tls);
        is_only.then_some(tls)
    };
    let mut announced: Vec<_> = session.announced().collect();
    announced.sort_by_key(|((_, _, at), _)| *at);
    let (old, new): (Vec<_>, Vec<_>) = announced.into_iter().partition(|((_, _, at), _)| *at < after.start());
    let mtu = |&((mss, ..), flow): &(Announced, &InnerFlow)| flow.mtu_for(mss);
    let named = granted(before).is_some_and(|mtu| granted(after) == Some(mtu));
    named || old.last().map(mtu).is_some_and(|old| new.first().map(mtu) == Some(old))
}

/// A whole number of hours, as rekey times are, give or take what setting up costs.
fn is_hours(seconds: f64) -> bool {
    const SLACK: f64 = 20.0;
    let rest = seconds % 3600.0;
    seconds > 3600.0 - SLACK && !(SLACK..=3600.0 - SLACK).contains(&rest)
}

/// The client was silent although keepalives were due, and its own capture shows nothing at all for as long: it slept.
fn slept(session: &Session, points: &[Point], seam: &Reconnect) -> bool {
    let at_client =
        |v: &&FlowFacts| matches!(vantage(points, v.point), Some(Vantage::Client | Vantage::VirtualAdapter));
    let views: Vec<&FlowFacts> = session.outer_views().filter(at_client).collect();
    let Some(point) = views.first().and_then(|v| points.get(usize::from(v.point.0))) else { return false };
    let woke = |(from, to): &&(Timestamp, Timestamp)| {
        to.seconds_since(*from) >= ASLEEP && *from < seam.at && seam.at.seconds_since(*to) < LOST
    };
    point.quiet.iter().any(|stretch| woke(&stretch))
}

/// The gateway had stopped answering: the new connection's SYN waited long for its answer, or the old one's data was sent
/// again and again without any, to its end or until just before.
fn lost(before: &Connection, after: &Connection) -> bool {
    /// What was sent again less often was merely lost.
    const OFTEN: u8 = 3;
    let waited = |view: &FlowFacts| view.syn_wait().as_ref().is_some_and(is_long) || is_unheard(view);
    let unanswered = |view: &FlowFacts| {
        let is_resent = *Direction::ToServer.of(&view.ended.in_vain) >= OFTEN;
        let answered = view.tls.as_ref().and_then(|tls| tls.data.last()?.last);
        is_resent && answered.is_some_and(|(at, _)| after.start().seconds_since(at) >= LOST)
    };
    let lapse = |view: &FlowFacts| view.ended.lapse(Direction::ToServer).filter(|lapse| lapse.seconds() >= LOST);
    let lapsed = |view: &FlowFacts| {
        lapse(view)
            .is_some_and(|lapse| lapse.first.0 < after.start() && after.start().seconds_since(lapse.until) < GIVES_UP)
    };
    let is_held_up =
        || after.best().hello_wait().as_ref().is_some_and(is_long) && after.views.iter().any(|v| lapse(v).is_some());
    after.views.iter().any(|v| waited(v)) || is_held_up() || before.views.iter().any(|v| unanswered(v) || lapsed(v))
}

/// Has the RST another TTL than its sender's packets have there?
pub fn is_forged(view: &FlowFacts, closed: Closed) -> bool {
    closed.direction.of(&view.opened.ttl()).is_some_and(|usual| usual != closed.ttl)
}

/// Did TLS alone go unanswered to its end, while DTLS lived, however seldom it was asked? The new connection had its answer at once.
fn is_tls_alone(session: &Session, before: &Connection, seam: &Reconnect) -> bool {
    let sent = Direction::ToServer;
    seam.syn_wait.is_none()
        && before.views.iter().any(|view| {
            let lapse = view.ended.lapse(sent).map(|lapse| lapse.first.0);
            let from = lapse.or_else(|| in_vain_since(view, sent));
            lived_over_dtls(session, before, view, sent, from, seam.at.plus_seconds(-LOST))
                .as_ref()
                .is_some_and(is_long)
        })
}

/// Did the SYN-ACK that left here not come to the client for long?
pub fn is_unheard(view: &FlowFacts) -> bool {
    view.syn_ack_wait().as_ref().is_some_and(is_long)
}

/// No gateway that lives takes so long to answer.
fn is_long(seconds: &f64) -> bool {
    *seconds >= LOST
}

/// The views that show both ways; where none does, all: what one way alone shows is no silence of the other.
fn whole(views: &[View]) -> impl Iterator<Item = &View> {
    let is_whole = |view: &View| view.ended.last_by_direction.iter().all(Option::is_some);
    let any = views.iter().any(is_whole);
    views.iter().filter(move |view| !any || is_whole(view))
}

/// The views of a tunnel's TLS.
fn over_tls(tunnel: &Connection) -> impl Iterator<Item = &View> {
    whole(&tunnel.views)
}

/// Those of DTLS.
fn over_dtls<'a>(flows: impl Iterator<Item = &'a DtlsFlow>) -> impl Iterator<Item = &'a View> {
    flows.flat_map(|d| whole(&d.views))
}

/// The gateway's last data before that moment, over TLS or DTLS.
fn heard_until(session: &Session, tunnel: &Connection, at: Timestamp) -> Option<Timestamp> {
    let flows = session.dtls.iter().filter(|d| d.start() >= tunnel.start() && d.start() < at);
    let spoken = over_tls(tunnel).chain(over_dtls(flows)).flat_map(|view| view.spoken(Direction::ToClient));
    let said = spoken.filter(|s| *Direction::ToClient.of(&s.records) > 0 && s.first < at);
    said.map(|s| s.last.min(at)).max()
}

/// Was the gateway heard over DTLS just before that moment, from which a SYN may have waited so long, as near to the client as it was
/// captured?
fn answered_over_dtls(session: &Session, at: Timestamp, waited: Option<f64>) -> bool {
    let flows = || session.dtls.iter().filter(|d| d.start() < at && d.came_up()).map(DtlsFlow::best);
    let heard = flows().filter_map(|v| v.last_packet(Direction::ToClient)).max();
    // What comes when the wait is nearly over came with the end of it.
    let stretches = flows().filter_map(|v| v.dtls.as_deref()).flat_map(|dtls| dtls.activity.stretches.iter());
    let mut said = stretches.filter(|s| *Direction::ToClient.of(&s.records) > 0);
    let is_within = |wait: f64| said.any(|s| s.last > at && s.first < at.plus_seconds(wait - LOST));
    heard.is_some_and(|heard| at.seconds_since(heard) < LOST) && waited.is_none_or(is_within)
}

/// Fewer records without an answer may be what nobody answers.
pub const MANY: u32 = 20;

/// Were so many records of the client left without an answer at the end of a tunnel, in one of its channels?
pub fn leaves_many(tunnel: &Connection, flows: &[&DtlsFlow]) -> bool {
    tunnel
        .views
        .iter()
        .chain(flows.iter().flat_map(|flow| &flow.views))
        .any(|view| view.unanswered(Direction::ToServer).records >= MANY)
}

/// How long nothing came from the gateway in any channel of the old tunnel while the client sent, until it went on with another at the
/// moment `left`.
pub fn unheard(before: &Connection, flows: &[&DtlsFlow], left: Option<Timestamp>) -> Option<Unheard> {
    let is_before = |at: Timestamp| left.is_none_or(|left| at < left);
    let of_tls = |v: &View| {
        let tls = v.tls.as_ref()?;
        let heard = tls.data.last().and_then(|data| data.last).filter(|(at, _)| is_before(*at));
        let said = tls.unanswered(Direction::ToServer);
        // Nobody answers a goodbye.
        let is_goodbye = v.closed().is_some_and(|c| (0.0..GOODBYE).contains(&c.at.seconds_since(said.last.0)));
        Some((heard, if is_goodbye { said.without_last() } else { said }))
    };
    // What is answered when the client has gone on comes too late.
    let too_late = |dtls: &DtlsFacts| {
        let (said, (answered, _)) = dtls.seldom().lapse.as_deref()?;
        (is_before(said.first.0) && !is_before(*answered)).then_some(*said)
    };
    let of_dtls = |v: &View| {
        let dtls = v.dtls.as_deref()?;
        let at_end = || (*Direction::ToClient.of(&dtls.last()), dtls.unanswered(Direction::ToServer));
        Some(too_late(dtls).map_or_else(at_end, |said| (None, said)))
    };
    let last_dtls = flows.iter().filter(|d| d.worked()).max_by_key(|d| d.start());
    let dtls = last_dtls.into_iter().flat_map(|d| whole(&d.views)).filter_map(of_dtls);
    let tls: Vec<_> = whole(&before.views).filter_map(of_tls).collect();
    let over_tls = tls.iter().any(|(_, said)| said.records > 0);
    let channels: Vec<_> = tls.into_iter().chain(dtls).collect();
    // The gateway's latest word in any of them; where none is known, the client's first that went unanswered.
    let heard = channels.iter().filter_map(|(heard, said)| said.after.or(heard.map(|(at, _)| at))).max();
    let sent = || channels.iter().map(|(_, said)| said).filter(|said| said.records > 0);
    let since = heard.or_else(|| sent().map(|said| said.first.0).min())?;
    let until = sent().map(|said| said.last.0).max().filter(|until| *until > since)?;
    let most = sent().filter(|said| said.last.0 > since).max_by_key(|said| said.records)?;
    let seconds = until.seconds_since(since);
    // Late answers show that there were questions.
    let is_late = flows.iter().flat_map(|d| &d.views).any(|v| v.dtls.as_deref().and_then(too_late).is_some());
    let asked = if is_late { most.records } else { most.control };
    Some(Unheard { since, first: most.first, seconds, records: most.records, asked, over_tls })
}

/// How long no data had come from the client at the gateway's end when it left: without its FIN, for the new connection was there
/// first, or with what it had sent meanwhile.
fn quiet(
    points: &[Point],
    before: &Connection,
    flows: &[&DtlsFlow],
    closed: Option<Closed>,
    start: Timestamp,
) -> Option<f64> {
    /// So many records at once are what had waited for the path.
    const WAITED: u32 = 3;
    if before.views.iter().any(|view| vantage(points, view.point) != Some(Vantage::Outside)) {
        return None;
    }
    let seconds = match closed.filter(|closed| closed.at <= start) {
        None => {
            let tls = before.views.iter().filter_map(|v| Some(Direction::ToServer.of(&v.tls.as_ref()?.data).last?.0));
            let views = flows.iter().flat_map(|flow| &flow.views);
            let dtls = views.filter_map(|v| Some(Direction::ToServer.of(&v.dtls.as_ref()?.last()).as_ref()?.0));
            start.seconds_since(tls.chain(dtls).max()?)
        }
        Some(closed) => {
            let said = |s: &Stretch| *Direction::ToServer.of(&s.records);
            let stretches = over_tls(before).chain(over_dtls(flows.iter().copied())).flat_map(|view| view.stretches());
            let (leaving, earlier): (Vec<_>, Vec<_>) =
                stretches.filter(|s| said(s) > 0).partition(|s| s.first >= closed.at.plus_seconds(-GOODBYE));
            let last = earlier.iter().map(|s| s.last).max()?;
            // Or the gateway sends to one who is not there: what comes from behind a hole shows that he is.
            let in_vain = |lapse: Lapse| lapse.first.0 >= last && lapse.first.0 < start;
            let is_there = |v: &View| Direction::ToServer.of(&v.ended.seldom().holes).is_some();
            let lapses = || before.views.iter().filter_map(|v| v.ended.lapse(Direction::ToClient));
            let is_gone = || !before.views.iter().any(is_there) && lapses().any(in_vain);
            if !leaving.iter().any(|s| said(s) >= WAITED) && !is_gone() {
                return None;
            }
            closed.at.seconds_since(last)
        }
    };
    (seconds >= ALIVE).then_some(seconds)
}

/// How long no data came from the gateway, from the old tunnel to the new one.
fn without_data(session: &Session, before: &Connection, flows: &[&DtlsFlow], after: &Connection) -> Option<f64> {
    /// What begins so shortly before the client closes has waited for it all the while, seconds.
    const REFUSED: f64 = 0.1;
    let closed = before.views.iter().filter_map(|v| v.closed()).filter(|c| c.direction == Direction::ToServer);
    let gone_on = closed.map(|c| c.at.plus_seconds(-REFUSED)).chain([after.start()]).min()?;
    // What the gateway says alone, and sends again and again until then, nobody takes.
    let mut lapses = before.views.iter().filter_map(|v| v.ended.lapse(Direction::ToClient));
    let is_gone = lapses.any(|lapse| after.start().seconds_since(lapse.until) < LOST);
    let is_heard = |s: &Stretch| s.first < gone_on && (!is_gone || *Direction::ToServer.of(&s.records) > 0);
    let is_answered = |s: &Stretch| *Direction::ToClient.of(&s.records) > 0;
    // What is sent in vain, or comes when the client has gone on, is no data to it.
    let heard = |view: &View| {
        let said = view.spoken(Direction::ToClient).filter(is_heard);
        said.map(|s| (is_answered(&s), s.last.min(after.start()))).max()
    };
    let (_, old) = over_dtls(flows.iter().copied()).chain(over_tls(before)).filter_map(heard).max()?;
    let settled = after.settled().map_or(after.start(), |s| s.at);
    let later = |view: &View| Some(view.stretches().find(|s| s.last > after.set_up_until())?.first.max(settled));
    let at_once = |view: &View| Some(view.stretches().find(is_answered)?.first);
    let new_flows = later_flows(session, after.start()).into_iter();
    let new = over_dtls(new_flows).filter_map(at_once).chain(over_tls(after).filter_map(later)).min()?;
    Some(new.seconds_since(old)).filter(|seconds| *seconds > 0.0)
}

/// A length of records seen less often is no plateau.
const PLATEAU: u32 = 4;

/// The largest inner packet as full records tell: DTLS where it carried some, else TLS.
fn ceiling(connection: &Connection, flows: &[&DtlsFlow]) -> Option<RangeInclusive<u16>> {
    let dtls = flows.iter().filter(|d| d.worked()).find_map(|d| {
        let facts = d.best().dtls.as_deref()?;
        let largest = *facts.largest.iter().max()?;
        let sealed = mtu::Protection::new(d.suite()?.class()?, facts.version?, false);
        (facts.records.iter().sum::<u32>() >= PLATEAU).then(|| sealed.dtls_payload(largest))?
    });
    let tls = || {
        let facts = connection.best().tls.as_deref()?;
        let (largest, count) = facts.early.late().into_iter().max_by_key(|(largest, _)| *largest)?;
        (count >= PLATEAU).then(|| connection.settled()?.protection()?.cstp_payload(largest))?
    };
    dtls.or_else(tls)
}

/// The client's address before and after. Behind the client's own point a NAT may give each connection another one, which says nothing;
/// but whose address changes under a connection is told by a RST that nobody knows it any more.
fn moved(before: &Connection, after: &Connection, is_thrown_out: bool) -> Option<(IpAddr, IpAddr)> {
    let mut all = after.views.iter().filter_map(|a| {
        let old = before.views.iter().find(|b| b.point == a.point)?;
        Some((old.opened.endpoints().client.ip(), a.opened.endpoints().client.ip()))
    });
    let first = all.next();
    let is_other = |(old, new): &(IpAddr, IpAddr)| old != new;
    first.filter(is_other).or_else(|| all.find(is_other).filter(|_| is_thrown_out))
}

/// The last inner MSS announced before that moment and the first one after it, of the same IP version.
fn inner_mss(session: &Session, at: Timestamp) -> Option<InnerMss> {
    let around = |announced: Vec<Announced>| {
        let (before, after): (Vec<_>, Vec<_>) = announced.into_iter().partition(|(_, _, t)| *t < at);
        let before = before.into_iter().max_by_key(|(_, _, t)| *t)?;
        Some([before, after.into_iter().min_by_key(|(_, _, t)| *t)?])
    };
    InnerMss::by_version(session, around).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{CipherSuite, Ends, LinkType, Passed, SeldomInEnded, Sizes, Syn, TcpHandshake};
    use crate::session::facts::{ServerHelloFacts, TlsFacts};
    use crate::session::timing::tests::{at, client};
    use crate::session::{Proof, Role};
    use std::net::Ipv6Addr;

    #[test]
    fn one_way_traffic_asks_for_no_answer() {
        let tunnel = |heard: f64| {
            let mut view = client([10, 9, 0, 7], 1, &[0.0], 9).flows.remove(0).facts;
            *Direction::ToClient.of_mut(&mut view.ended.last_by_direction) = Some(at(heard));
            Connection { role: Role::Tunnel, views: vec![view].into() }
        };
        let unheard = |asked| Unheard {
            since: at(10.0),
            first: (at(10.0), FrameRef::default()),
            seconds: 30.0,
            records: 8,
            asked,
            over_tls: true,
        };
        assert!(unheard(0).is_dpd(&tunnel(10.0)), "not even TCP answers");
        assert!(!unheard(0).is_dpd(&tunnel(39.0)));
        assert!(unheard(3).is_dpd(&tunnel(39.0)));
    }

    #[test]
    fn to_whom_the_gateway_sends_in_vain_until_it_closes_the_tunnel_was_silent() {
        let quiet_until = |closed: f64, lapse: Option<f64>| {
            let (mut view, frame) = (client([192, 0, 2, 1], 2, &[0.0], 9).flows.remove(0).facts, FrameRef::default());
            let mut tls = TlsFacts::default();
            [1.0, 2.0].iter().for_each(|seconds| tls.activity.add(at(*seconds), frame, Direction::ToServer, 500));
            tls.activity.add(at(closed), frame, Direction::ToClient, 37);
            view.tls = Some(Box::new(tls));
            let lapse =
                lapse.map(|first| Lapse { first: (at(first), frame), until: at(75.0), resent: 5, is_large: false });
            view.ended.add(SeldomInEnded { lapses: [None, lapse], ..SeldomInEnded::default() });
            let direction = Direction::ToClient;
            let closed = Closed { at: at(closed), frame, direction, by: direction, reset: false, ttl: 64 };
            let mut point = Point::unknown(PointId(0), 0, LinkType::ETHERNET);
            point.vantage = Some(Vantage::Outside);
            let tunnel = Connection { role: Role::Tunnel, views: vec![view].into() };
            quiet(&[point], &tunnel, &[], Some(closed), at(76.0)).map(f64::round)
        };
        assert_eq!(quiet_until(70.0, Some(70.2)), Some(68.0));
        assert_eq!(quiet_until(70.0, None), None, "an idle client has nothing to say");
        assert_eq!(quiet_until(9.0, Some(9.2)), None, "so soon no keepalive is due");
    }

    #[test]
    fn a_reset_that_leaves_the_client_is_its_own() {
        let is_own = |vantage, direction, reset| {
            let mut point = Point::unknown(PointId(0), 0, LinkType::ETHERNET);
            point.vantage = Some(vantage);
            let mut view = client([192, 0, 2, 1], 2, &[0.0], 9).flows.remove(0).facts;
            let frame = FrameRef::default();
            view.closed = Some(Box::new(Closed { at: at(60.0), frame, direction, by: direction, reset, ttl: 64 }));
            resets_itself(&[point], &Connection { role: Role::Tunnel, views: vec![view].into() })
        };
        assert!(is_own(Vantage::Client, Direction::ToServer, true));
        assert!(!is_own(Vantage::Client, Direction::ToClient, true), "another's, in whatever name");
        assert!(!is_own(Vantage::Outside, Direction::ToServer, true), "there it may be anybody's on the way");
        assert!(!is_own(Vantage::Client, Direction::ToServer, false), "a FIN");
    }

    #[test]
    fn where_packets_as_large_as_the_adapter_takes_passed_over_tls_there_is_nothing_to_lower() {
        let views = vec![client([192, 0, 2, 1], 2, &[0.0], 9).flows.remove(0).facts].into();
        let tunnel = Connection { role: Role::Tunnel, views };
        let mss = |mtu: u16| {
            let announced = |mss: u16| (mss, FrameRef::default());
            InnerMss { before: announced(mtu - 40), after: announced(1100), at: at(61.0), headers: 40 }
        };
        assert!(is_all(&tunnel, Some(mss(1300)), 1300));
        assert!(!is_all(&tunnel, Some(mss(1434)), 1300), "larger ones may have been too large");
        assert_eq!([1434, 1433].map(|bytes| is_all(&tunnel, None, bytes)), [true, false], "of an adapter nobody knows");
    }

    #[test]
    fn what_tls_carried_in_one_piece_its_records_tell() {
        let carried = |length: u16, suite: u16, passed: u32, first: f64| {
            let mut session = Session::new([192, 0, 2, 1].into(), None, 443, Proof::Inside);
            let mut flow = client([10, 9, 0, 7], 1, &[1.0], 9).flows.remove(0);
            let largest_passed = Some(Passed { ip_len: passed, frame: 1, first: at(first), at: at(first) });
            flow.facts.ended.sizes = [Sizes::default(), Sizes { largest_passed, ..Sizes::default() }].into();
            session.inner.push(flow);
            let mut view = client([192, 0, 2, 1], 2, &[0.0], 9).flows.remove(0).facts;
            let mut tls = TlsFacts::default();
            let (suite, frame) = (CipherSuite(suite), FrameRef::default());
            let hello =
                ServerHelloFacts { at: at(0.1), frame, suite, version: Version::TLS_1_2, encrypt_then_mac: false };
            tls.server_hello = Some(hello);
            (0..40).for_each(|n| tls.add_data(at(2.0 + f64::from(n)), frame, Direction::ToClient, length));
            view.tls = Some(Box::new(tls));
            self::carried(&session, &Connection { role: Role::Tunnel, views: vec![view].into() }, at(60.0))
        };
        const GCM: u16 = 0xc02f;
        const CBC: u16 = 0x002f;
        assert_eq!(carried(1466, GCM, 1434, 5.0), Some(1434));
        assert_eq!(carried(1262, GCM, 1434, 5.0), Some(1230), "the larger ones went in pieces");
        let padded = carried(1488, CBC, 1434, 62.0);
        assert!(padded < Some(1434), "the least that the record may hold: {padded:?}");
        assert_eq!(carried(1488, CBC, 1434, 5.0), Some(1434), "which of them");
    }

    #[test]
    fn the_inner_mss_of_one_ip_version_is_compared() {
        let mut session = Session::new([192, 0, 2, 1].into(), None, 443, Proof::Inside);
        let mut opens = |seconds: f64, is_v6: bool, mss: u16| {
            let mut flow = client([10, 9, 0, 7], 1, &[seconds], 9).flows.remove(0);
            let syn = Syn { at: at(seconds), frame: FrameRef::default(), mss: Some(mss), timestamps: false };
            let mut handshake = TcpHandshake::default();
            handshake.note(Direction::ToServer, syn);
            flow.facts.opened.handshake = Some(Box::new(handshake));
            if is_v6 {
                let mut ends = flow.facts.opened.endpoints();
                ends.client.set_ip(Ipv6Addr::LOCALHOST.into());
                flow.facts.opened.ends = Ends::new(ends);
            }
            session.inner.push(flow);
            inner_mss(&session, at(60.0)).map(|mss| mss.mtus())
        };
        // 1307 + 40 and 1287 + 60 are the same MTU.
        assert_eq!(opens(3.0, false, 1307), None);
        assert_eq!(opens(64.0, true, 1287), None);
        assert_eq!(opens(5.0, true, 1358), Some([1418, 1347]));
        assert_eq!(opens(66.0, false, 1307), Some([1347, 1347]));
    }
}
