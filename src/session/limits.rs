//! What a packet may measure, who says so, and which packets measured more.

use super::facts::{FlowFacts, IcmpFacts, Run, View};
use super::mtu;
use super::reconnect::{Announced, InnerMss};
use super::{Basis, Channel, DtlsFlow, Icmp, InnerFlow, Limit, Oversized, Point, Session, vantage};
use crate::event::{Direction, FrameRef, LARGE, Passed, PointId, Protocol, Sizes, Stuck, Timestamp, Vantage, Version};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Limits the user told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// `--tls-mtu`, bytes.
    pub tls: Option<u32>,
    /// `--dtls-mtu`, bytes.
    pub dtls: Option<u32>,
}

/// The smallest MTU an IPv4 link may have (RFC 791 §3.2); an ICMP that says less is useless.
pub const SMALLEST_V4: u32 = 68;
/// The smallest MTU an IPv6 link may have (RFC 8200 §5).
pub const SMALLEST_V6: u32 = 1280;

/// What was under way when a segment got stuck, and what answers it, has arrived by then, seconds.
const UNDER_WAY: f64 = 1.0;

/// Sent so often in vain, a segment was not merely lost.
const OFTEN: u32 = 3;

/// Inner IP and TCP header without options, bytes: what the MSS leaves out (RFC 6691 §2).
pub(super) fn headers(address: IpAddr) -> u32 {
    if address.is_ipv4() { 40 } else { 60 }
}

/// Finds all limits of a session and tallies what is above the ones in force.
pub fn judge(session: &mut Session, told: Told, points: &[Point]) {
    let mut limits = Vec::new();
    told_limits(told, &mut limits);
    decrypted_limits(session, &mut limits);
    icmp_limits(session, &mut limits);
    mss_limits(session, &mut limits);
    let told_by_packet =
        limits.iter().any(|l| l.basis == Basis::Observed && (l.channel == Channel::Tls || is_told_by_icmp(l)));
    if !told_by_packet {
        let tells =
            |bracket: &Bracket| named_at(session, &limits, bracket.at).is_none_or(|named| bracket.limit.bytes < named);
        // Beside what the gateway named it tells only what is less.
        limits.extend(bracket(session, points).filter(tells).map(|bracket| bracket.limit));
    }
    // Most often nothing tells any.
    if limits.is_empty() {
        return;
    }
    for place in in_force_inner(session, &limits) {
        if let Some(limit) = limits.get_mut(place) {
            limit.in_force = true;
            let found = oversized_inner(session, std::slice::from_ref(limit));
            session.oversized.extend(found);
        }
    }
    let over_tls = over_tls(session, &limits);
    session.oversized.extend(oversized_inner(session, &over_tls));
    limits.extend(over_tls);
    for channel in [Channel::OuterTcp, Channel::OuterUdp] {
        if let Some(limit) = limits.iter_mut().find(|l| l.channel == channel && l.basis == Basis::Observed) {
            limit.in_force = true;
            let found = oversized_outer(session, limit, points);
            session.oversized.extend(found);
        }
    }
    session.limits = limits.into();
}

fn told_limits(told: Told, limits: &mut Vec<Limit>) {
    let mut tell = |channel, bytes: Option<u32>, flag: &str| {
        if let Some(bytes) = bytes {
            limits.push(Limit {
                channel,
                bytes,
                basis: Basis::Assumed,
                source: format!("told by {flag}"),
                since: None,
                until: None,
                frames: Vec::new(),
                in_force: false,
            });
        }
    };
    tell(Channel::Tls, told.tls, "--tls-mtu");
    tell(Channel::Dtls, told.dtls, "--dtls-mtu");
}

/// What the answers to CONNECT say: each holds until the next one that says otherwise.
fn decrypted_limits(session: &Session, limits: &mut Vec<Limit>) {
    for channel in [Channel::Tls, Channel::Dtls] {
        let mut last: Option<usize> = None;
        for (at, frame, answer) in session.granted() {
            let (bytes, header) = match channel {
                Channel::Tls => (answer.cstp_mtu, "X-CSTP-MTU"),
                _ => (answer.dtls_mtu.filter(|_| answer.offers_dtls()), "X-DTLS-MTU"),
            };
            let known = last.and_then(|i| limits.get_mut(i));
            let Some(bytes) = bytes.map(u32::from) else { continue };
            if let Some(known) = known {
                if known.bytes == bytes {
                    known.frames.push(*frame);
                    continue;
                }
                known.until = Some(*at);
            }
            limits.push(Limit {
                channel,
                bytes,
                basis: Basis::Decrypted,
                source: format!("{header} in the answer to CONNECT"),
                since: last.map(|_| *at),
                until: None,
                frames: vec![*frame],
                in_force: false,
            });
            last = Some(limits.len() - 1);
        }
    }
}

fn is_told_by_icmp(limit: &Limit) -> bool {
    limit.source.starts_with("next-hop MTU")
}

/// Next-hop MTUs that came and make sense.
fn icmp_limits(session: &Session, limits: &mut Vec<Limit>) {
    type Told = (Timestamp, Vec<FrameRef>, IpAddr, u32);
    let mut seen: BTreeMap<(Channel, u32), Told> = BTreeMap::new();
    for icmp in session.limiting() {
        let facts = &icmp.facts;
        let channel = match (icmp.inner, facts.quoted.protocol) {
            (true, _) => Channel::Inner,
            (false, 17) => Channel::OuterUdp,
            (false, _) => Channel::OuterTcp,
        };
        for mtu in useful_mtus(facts) {
            let entry = seen.entry((channel, mtu)).or_insert((facts.first, Vec::new(), facts.sender, 0));
            entry.0 = entry.0.min(facts.first);
            entry.1.extend(&facts.frames);
            entry.3 += facts.count;
        }
    }
    for ((channel, bytes), (first, mut frames, sender, count)) in seen {
        frames.sort_unstable();
        frames.truncate(super::facts::MAX_FRAMES);
        let since = since_for_icmp(session, channel, first);
        let source = format!("next-hop MTU of {count} ICMP Fragmentation Needed from {sender}");
        limits.push(Limit {
            channel,
            bytes,
            basis: Basis::Observed,
            source,
            since,
            until: None,
            frames,
            in_force: false,
        });
    }
}

/// The next-hop MTUs with which a sender can do anything: allowed, and below all that was refused.
pub fn useful_mtus(icmp: &IcmpFacts) -> impl Iterator<Item = u32> {
    let smallest = if icmp.error.v6 { SMALLEST_V6 } else { SMALLEST_V4 };
    icmp.mtus.iter().copied().filter(move |mtu| (smallest..icmp.refused).contains(mtu))
}

/// A limit told by ICMP held since the tunnel connection in force then; without one, since the quoted flows began.
fn since_for_icmp(session: &Session, channel: Channel, first: Timestamp) -> Option<Timestamp> {
    if channel != Channel::Inner {
        return None;
    }
    if let Some(tunnel) = session.tunnel_at(first) {
        let is_first = session.tunnels().next().is_some_and(|t| t.start() == tunnel.start());
        return (!is_first).then(|| tunnel.start());
    }
    let quoted = session.refused_by_tunnel().filter_map(|i| i.facts.quotes);
    let flows: Vec<_> = quoted.map(|(id, _)| id).collect();
    let first = session.inner.iter().filter(|f| flows.contains(&f.facts.id)).map(|f| f.facts.opened.first).min();
    first.filter(|at| *at > session.start)
}

/// What the client's inner SYNs say its adapter's MTU is, one limit per value.
fn mss_limits(session: &Session, limits: &mut Vec<Limit>) {
    let mut values: Vec<(u32, Timestamp, Vec<FrameRef>, u16)> = Vec::new();
    let mut announced: Vec<_> = session.announced().collect();
    announced.sort_by_key(|((_, _, at), _)| *at);
    for ((mss, frame, at), flow) in announced {
        let bytes = u32::from(mss) + headers(flow.ends().0.ip());
        if let Some((_, _, frames, _)) = values.iter_mut().find(|(b, ..)| *b == bytes) {
            if frames.len() < 8 {
                frames.push(frame);
            }
        } else if values.len() < 16 {
            values.push((bytes, at, vec![frame], mss));
        }
    }
    // A SYN that passes a clamp says less than the adapter; the larger value of the time is the adapter's.
    let first = values.first().map(|v| v.0);
    for (bytes, at, frames, mss) in values {
        let after = if Some(bytes) == first { "" } else { ", announced later" };
        let source = format!("inner SYN MSS {mss} + {} of the client's adapter{after}", bytes - u32::from(mss));
        let channel = if Some(bytes) == first && !session.dtls.is_empty() { Channel::Dtls } else { Channel::Inner };
        let lowered = is_lowered(session, bytes);
        limits.push(Limit {
            channel: if lowered { Channel::Tls } else { channel },
            bytes,
            basis: Basis::Observed,
            source: if lowered {
                format!("inner SYN MSS {mss} + {}, after the reconnect that lowered it", bytes - u32::from(mss))
            } else {
                source
            },
            since: (!lowered && Some(bytes) != first).then_some(at),
            until: None,
            frames,
            in_force: false,
        });
    }
}

/// Is this the MTU a client lowered its adapter to, with DTLS never up: then it is the TLS tunnel's, and held before too.
fn is_lowered(session: &Session, bytes: u32) -> bool {
    let by_reconnect = session
        .reconnects
        .iter()
        .any(|r| r.after_a_minute() && r.lowered_in_need() && r.inner_mss.is_some_and(|mss| mss.mtus()[1] == bytes));
    by_reconnect
        || session.connections.is_empty() && lowered_after_trouble(session).is_some_and(|mss| mss.mtus()[1] == bytes)
}

/// Inside only: the lower MSS announced after packets toward the client had got stuck, when it is lower than what was stuck, and
/// none is as high again.
pub fn lowered_after_trouble(session: &Session) -> Option<InnerMss> {
    let trouble = |mss: &InnerMss| {
        let [_, after] = mss.mtus();
        let is_before = |s: &Stuck| s.first < mss.at && s.ip_len > after;
        session.inner.iter().filter_map(stuck_toward_client).any(is_before)
            || session.refused_by_tunnel().any(|i| i.facts.first < mss.at)
    };
    lowered(session).find(trouble)
}

/// The lower MSS that the client's side announced after a higher one, of each IP version; none is as high again.
pub fn lowered(session: &Session) -> impl Iterator<Item = InnerMss> {
    let lower = |mut announced: Vec<Announced>| {
        announced.sort_unstable_by_key(|(mss, frame, at)| (*at, *mss, *frame));
        let first = *announced.first()?;
        let lowered = announced.iter().rposition(|(mss, ..)| *mss >= first.0)? + 1;
        Some([first, *announced.get(lowered)?])
    };
    InnerMss::by_version(session, lower)
}

/// The smallest size toward the client of that flow that never got through.
pub fn stuck_toward_client(flow: &InnerFlow) -> Option<&crate::event::Stuck> {
    flow.facts.ended.sizes.toward(flow.toward_client).smallest_stuck.as_deref()
}

/// The largest size toward the client of that flow that got through.
pub(super) fn passed_toward_client(flow: &InnerFlow) -> Option<Passed> {
    flow.facts.ended.sizes.toward(flow.toward_client).largest_passed
}

/// Largest inner packet toward the client that got through, with its frame.
pub fn largest_passed_to_client(session: &Session) -> Option<(u32, FrameRef)> {
    let tcp = session.inner.iter().filter_map(|f| {
        let passed = passed_toward_client(f)?;
        Some((passed.ip_len, FrameRef { capture: f.facts.opened.first_frame.capture, number: passed.frame }))
    });
    tcp.max()
}

/// Did the outer path swallow the tunnel's own large packets toward the client meanwhile? Then what got stuck inside the
/// tunnel did so for that, whatever its size.
fn outer_swallowed(session: &Session, flow: &InnerFlow, stuck: &Stuck) -> bool {
    let outer = session
        .tunnels()
        .flat_map(|c| &c.views)
        .filter_map(|v| v.ended.sizes.toward(Direction::ToClient).smallest_stuck.as_deref());
    let meanwhile = |o: &Stuck| o.first <= stuck.last && o.last >= stuck.first;
    outer.filter(|o| o.times > 2).any(meanwhile)
        || is_swallowed_over_dtls(session, stuck)
        || was_sent_over_dtls(session, stuck)
        || left_in_datagrams(session, flow, stuck)
}

/// From one side of a gateway to the other a packet takes no longer, seconds.
const BESIDE: f64 = 1.0;

/// Did datagrams of just the right length leave the gateway beside the packets of that size? Then the tunnel took them.
fn left_in_datagrams(session: &Session, flow: &InnerFlow, stuck: &Stuck) -> bool {
    dtls_views(session).any(|view| took(session, view, flow, stuck))
}

fn dtls_views(session: &Session) -> impl Iterator<Item = (&DtlsFlow, &View)> {
    session.dtls.iter().flat_map(|dtls| dtls.views.iter().map(move |view| (dtls, view)))
}

/// Did they leave in that flow, as that view shows it?
fn took(session: &Session, (dtls, view): (&DtlsFlow, &View), flow: &InnerFlow, stuck: &Stuck) -> bool {
    /// Of the packets so many must have left: at the ends of captures some may show on one side only, 1 = all.
    const MOST: f64 = 0.8;
    let meanwhile = |run: &&Run| run.size == stuck.ip_len && run.last >= stuck.first && run.first <= stuck.last;
    let fits = carried_in(session, dtls, stuck.ip_len);
    let beside = |run: &Run| {
        let near = |d: &&Run| run.first.seconds_since(d.last) < BESIDE && d.first.seconds_since(run.last) < BESIDE;
        let datagrams = view.large_datagrams(Direction::ToClient);
        datagrams.filter(|d| fits.contains(&d.size)).filter(near).map(|d| d.count).sum::<u32>()
    };
    let came = || flow.large_toward_client().filter(meanwhile);
    let all: u32 = came().map(|run| run.count).sum();
    let taken: u32 = came().map(|run| run.count.min(beside(run))).sum();
    all >= stuck.times && f64::from(taken) >= MOST * f64::from(all)
}

/// The IP lengths of the datagrams in which that flow would carry an inner packet of that size.
fn carried_in(session: &Session, flow: &DtlsFlow, inner: u32) -> RangeInclusive<u32> {
    let ip = if session.gateway.is_some_and(|g| g.is_ipv6()) { mtu::OuterIp::V6 } else { mtu::OuterIp::V4 };
    let class = flow.suite().and_then(|suite| suite.class());
    let (Some(class), Ok(payload)) = (class, u16::try_from(inner)) else {
        // Whatever the suite: with a MAC of 48 bytes and padding records grow by no more.
        const MOST: u32 = 80;
        let least = inner + u32::from(ip.header() + mtu::UDP_HEADER + mtu::DTLS_HEADER + mtu::DTLS_TYPE);
        return least..=least + MOST;
    };
    // Whether the MAC stands outside the padding nobody remembers.
    let [a, b] =
        [false, true].map(|etm| mtu::Protection::new(class, Version::DTLS_1_2, etm).dtls_packet_len(payload, ip));
    a.min(b)..=a.max(b)
}

/// The packet toward the client that was sent most often in vain, though each time the tunnel took it.
pub fn lost_behind_gateway(session: &Session) -> Option<&Stuck> {
    let stuck = session.inner.iter().filter_map(|f| Some((f, stuck_toward_client(f)?)));
    let lost = stuck.filter(|(flow, stuck)| stuck.times >= OFTEN && left_in_datagrams(session, flow, stuck));
    lost.map(|(_, stuck)| stuck).max_by_key(|stuck| stuck.times)
}

/// A packet toward the client that got stuck behind the gateway, though each time the tunnel took it, for its size.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// It.
    pub stuck: &'a Stuck,
    /// All TCP segments of its size toward the client: none got through.
    pub count: u32,
    /// The flow of DTLS that carried it, as seen at the gateway.
    pub outer: &'a View,
    /// The datagram that carried it first, if it is known: IP bytes, and its frame.
    pub datagram: Option<(u32, FrameRef)>,
    /// It came without DF, or in fragments: no ICMP is owed where it is too large.
    pub may_be_cut: bool,
    /// The largest inner packet above 576 bytes that got through.
    pub passed: Option<u32>,
}

/// The one that was sent most often, while smaller ones got through to the client: then the path behind the gateway lives. Where one as
/// large ever got through, the flow may have died alone; where the client was captured, the numbers of the records tell what came; and
/// a gateway that was told by ICMP knows.
pub fn taken_in_vain(session: &Session, vantage: impl Fn(PointId) -> Option<Vantage>) -> Option<Taken<'_>> {
    let is_told =
        |icmp: &Icmp| !icmp.inner && icmp.toward_client && icmp.facts.quoted.protocol == Protocol::Udp.number();
    if session.frag_needed().any(is_told) || session.seen_at().any(|id| vantage(id) == Some(Vantage::Client)) {
        return None;
    }
    let flows = || session.inner.iter().filter_map(|f| Some((f, stuck_toward_client(f)?)));
    let for_its_size = |(flow, stuck): &(&InnerFlow, &Stuck)| {
        let passed = session.inner.iter().filter_map(passed_toward_client).any(|p| p.ip_len >= stuck.ip_len);
        let from = stuck.first.plus_seconds(UNDER_WAY);
        stuck.times >= OFTEN && !passed && passes_between(session, flow, from, stuck.last)
    };
    let taken = flows().filter(for_its_size).filter_map(|(flow, stuck)| {
        let (dtls, outer) = dtls_views(session).find(|(dtls, view)| {
            vantage(view.point) == Some(Vantage::Outside)
                && match flow.facts.opened.carrier {
                    Some(carrier) => view.id == carrier,
                    None => took(session, (dtls, view), flow, stuck),
                }
        })?;
        let fits = carried_in(session, dtls, stuck.ip_len);
        let carried = |run: &&Run| fits.contains(&run.size) && run.last >= stuck.first && run.first <= stuck.last;
        let whole = Direction::ToClient.of(&outer.large).iter().find(carried);
        let first = whole.or_else(|| outer.large_datagrams(Direction::ToClient).find(carried));
        let may_be_cut = whole.is_none() && first.is_some();
        let datagram = first.map(|run| (run.size, run.frame));
        let is_beside = |f: &&InnerFlow| f.facts.point == flow.facts.point && f.facts.opened.protocol == Protocol::Tcp;
        let here = session.inner.iter().filter(is_beside);
        let alike = here.flat_map(InnerFlow::large_toward_client).filter(|run| run.size == stuck.ip_len);
        let count = alike.map(|run| run.count).sum();
        let passed = largest_passed_to_client(session).map(|(bytes, _)| bytes);
        Some(Taken { stuck, count, outer, datagram, may_be_cut, passed })
    });
    taken.max_by_key(|taken| taken.stuck.times)
}

/// Did the gateway send as many DTLS records meanwhile, and nothing came back until the end? Then it was among them.
fn was_sent_over_dtls(session: &Session, stuck: &Stuck) -> bool {
    let dtls = session.dtls.iter().flat_map(|d| &d.views).filter_map(|v| v.dtls.as_deref());
    let mut in_vain = dtls.map(|dtls| dtls.unanswered(Direction::ToClient));
    in_vain.any(|said| {
        said.records >= stuck.times
            && said.first.0.seconds_since(stuck.first) < BESIDE
            && stuck.last.seconds_since(said.last.0) < BESIDE
    })
}

/// Are so many of the gateway's DTLS records missing where they should arrive that it was among them?
pub fn is_swallowed_over_dtls(session: &Session, stuck: &Stuck) -> bool {
    let dtls = session.dtls.iter().filter(|d| d.worked()).flat_map(|d| &d.views).filter_map(|v| v.dtls.as_deref());
    let mut toward_client = dtls.map(|dtls| Direction::ToClient.of(&dtls.sequence).counted());
    toward_client.any(|rate| rate.missing >= stuck.times && rate.loses_much())
}

/// Inner packets toward the client got stuck in a tunnel that may have stood still altogether: as large ones had passed
/// before, and nothing else is seen to pass meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Standstill {
    /// The packet.
    pub ip_len: u32,
    /// When it was first sent.
    pub since: Timestamp,
}

/// The first standstill of the session.
pub fn standstill(session: &Session) -> Option<Standstill> {
    let stuck = session.inner.iter().filter_map(|f| Some((stuck_toward_client(f)?, f)));
    let still =
        stuck.filter(|(stuck, flow)| !outer_swallowed(session, flow, stuck) && stood_still(session, flow, stuck));
    let (first, _) = still.min_by_key(|(stuck, _)| stuck.first)?;
    Some(Standstill { ip_len: first.ip_len, since: first.first })
}

fn stood_still(session: &Session, stuck_flow: &InnerFlow, stuck: &Stuck) -> bool {
    let beside = session.inner.iter().filter(|f| f.facts.point == stuck_flow.facts.point);
    let mut passed_before = beside.filter_map(passed_toward_client);
    !passes_between(session, stuck_flow, stuck.first, stuck.last)
        && passed_before.any(|p| p.ip_len >= stuck.ip_len && p.at < stuck.last)
}

/// Did anything get through to the client behind the one moment, up to the other, as the point of that flow shows?
fn passes_between(session: &Session, flow: &InnerFlow, from: Timestamp, until: Timestamp) -> bool {
    let meanwhile = |at: Timestamp| from < at && at <= until;
    let mut beside = session.inner.iter().filter(|f| f.facts.point == flow.facts.point);
    beside.any(|f| {
        let sizes = f.facts.ended.sizes.toward(f.toward_client);
        // The answer to a SYN-ACK, or a SYN-ACK, shows that what it answers came through.
        let answered = match f.toward_client {
            Direction::ToClient => f.facts.opened.third(),
            Direction::ToServer => f.facts.opened.syn_ack().map(|syn| syn.at),
        };
        sizes.progress.into_iter().chain(answered).any(meanwhile)
    })
}

/// Does nothing but their fate say that packets to the client were too big for it?
pub fn may_have_left(session: &Session, over: &Oversized) -> bool {
    over.stuck_to_client > 0 && over.frag_needed == 0 && falls_silent(session)
}

/// Did no TCP or UDP come from the client where packets to it got stuck, from then on, nor a packet of its tunnel?
fn falls_silent(session: &Session) -> bool {
    let mut stuck = session.inner.iter().filter_map(|f| Some((f, stuck_toward_client(f)?))).peekable();
    let is_heard = |(of, stuck): (&InnerFlow, &Stuck)| {
        let beside = session.inner.iter().filter(|f| f.facts.point == of.facts.point);
        let inner = beside.filter_map(|f| f.facts.last_packet(f.toward_client.reverse()));
        let tls = session.tunnels().flat_map(|tunnel| &tunnel.views);
        let outer = session.dtls.iter().flat_map(|dtls| &dtls.views).chain(tls);
        let outer = outer.filter_map(|view| view.last_packet(Direction::ToServer));
        inner.chain(outer).any(|at| at.seconds_since(stuck.first) >= UNDER_WAY)
    };
    stuck.peek().is_some() && !stuck.any(is_heard)
}

/// Did packets as large get through toward the client until it got stuck?
fn passed_until(session: &Session, stuck: &Stuck) -> bool {
    session.inner.iter().filter_map(passed_toward_client).any(|p| p.ip_len >= stuck.ip_len && p.at <= stuck.first)
}

/// Did a packet as large get through on another flow after it had got stuck? Then it was lost for another reason.
fn passed_later(session: &Session, stuck: &Stuck) -> bool {
    session
        .inner
        .iter()
        .filter_map(passed_toward_client)
        .any(|p| p.ip_len >= stuck.ip_len && p.at > stuck.first.plus_seconds(UNDER_WAY))
}

/// The segment toward the client that was sent most often in vain, while others as large got through.
pub fn stuck_beside_passing(session: &Session) -> Option<(&InnerFlow, &Stuck)> {
    let stuck = session.inner.iter().filter_map(|f| Some((f, stuck_toward_client(f)?)));
    stuck.filter(|(_, s)| s.times >= OFTEN && passed_later(session, s)).max_by_key(|(_, s)| s.times)
}

/// A limit that nobody names.
struct Bracket {
    limit: Limit,
    /// When what tells it was sent.
    at: Timestamp,
}

/// The segment toward the client, read out of the tunnel at the gateway's end, that was sent most often in vain: the tunnel took it.
pub fn stuck_beyond(session: &Session) -> Option<&Stuck> {
    let carried = session.inner.iter().filter(|f| f.facts.opened.carrier.is_some());
    carried.filter_map(stuck_toward_client).filter(|stuck| stuck.times >= OFTEN).max_by_key(|stuck| stuck.times)
}

/// A segment toward the server, read out of the tunnel or seen at the client's adapter, that was sent again and again in vain.
#[derive(Clone, Copy, Debug)]
pub struct StuckUpload<'a> {
    /// Its flow.
    pub flow: &'a InnerFlow,
    /// It.
    pub stuck: &'a Stuck,
    /// Its server went on answering what is smaller.
    pub is_answered: bool,
    /// As large ones had got through to it before.
    pub passed_before: bool,
}

/// Those larger than anything that got through to their servers from then on.
pub fn stuck_uploads<'a>(session: &'a Session, points: &[Point]) -> impl Iterator<Item = StuckUpload<'a>> {
    let from_client = session.inner.iter().filter(|f| is_behind_tunnel(f, points));
    from_client.filter_map(|flow| {
        let way = flow.toward_client.reverse();
        let stuck = toward_server(flow).smallest_stuck.as_deref().filter(|stuck| stuck.times >= OFTEN)?;
        let must_not_be_fragmented = way.of(&flow.facts.large).iter().any(|run| run.size == stuck.ip_len);
        let server = flow.ends().1.ip();
        let beside = session.inner.iter().filter(|f| f.ends().1.ip() == server);
        let passed = beside.filter_map(|f| toward_server(f).largest_passed).filter(|p| p.ip_len >= stuck.ip_len);
        let last_passed = passed.map(|p| p.at).max();
        let passes = last_passed.is_some_and(|at| at > stuck.first.plus_seconds(UNDER_WAY));
        let is_answered = is_answered_meanwhile(session, flow, stuck);
        let upload = StuckUpload { flow, stuck, is_answered, passed_before: last_passed.is_some() };
        (must_not_be_fragmented && !passes).then_some(upload)
    })
}

/// Was it read out of the tunnel, or seen at the client's adapter, rather than beyond the gateway?
pub fn is_behind_tunnel(flow: &InnerFlow, points: &[Point]) -> bool {
    flow.facts.opened.carrier.is_some() || vantage(points, flow.facts.point) == Some(Vantage::VirtualAdapter)
}

fn toward_server(flow: &InnerFlow) -> &Sizes {
    flow.facts.ended.sizes.toward(flow.toward_client.reverse())
}

/// Did its server say something while it was stuck, or between two segments of one size that were?
fn is_answered_meanwhile(session: &Session, flow: &InnerFlow, stuck: &Stuck) -> bool {
    let (server, point) = (flow.ends().1.ip(), flow.facts.point);
    let beside = || session.inner.iter().filter(|f| f.facts.point == point && f.ends().1.ip() == server);
    let same_size =
        |f: &InnerFlow| Some(toward_server(f).smallest_stuck.as_deref().filter(|s| s.ip_len == stuck.ip_len)?.last);
    let until = beside().filter_map(same_size).max().unwrap_or(stuck.last);
    let meanwhile = |at: Timestamp| stuck.first.plus_seconds(UNDER_WAY) < at && at < until;
    let answers = |f: &InnerFlow| {
        let opened = match f.toward_client {
            Direction::ToClient => f.facts.opened.syn_ack().map(|syn| syn.at),
            Direction::ToServer => f.facts.opened.third(),
        };
        [opened, f.facts.last_packet(f.toward_client)].into_iter().flatten().any(meanwhile)
    };
    beside().any(answers)
}

/// The largest packet of that flow, toward its server, that a point at the gateway's inside saw, which captured all the while.
pub fn largest_inside(session: &Session, upload: &StuckUpload<'_>, points: &[&Point]) -> Option<(PointId, u32)> {
    let ends = upload.flow.ends();
    let captured = |f: &InnerFlow| {
        let mut at = points.iter().filter(|point| point.id == f.facts.point);
        at.any(|point| point.was_capturing(upload.stuck.first, upload.stuck.last))
    };
    let there = session.inner.iter().find(|f| f.facts.opened.carrier.is_none() && f.ends() == ends && captured(f))?;
    let way = there.toward_client.reverse();
    let came = *way.of(&there.facts.ended.packets) > 0;
    let largest = way.of(&there.facts.large).iter().map(|run| run.size).max().unwrap_or(LARGE - 1);
    came.then_some((there.facts.point, largest))
}

/// What got through and what never did: the limit lies between.
fn bracket(session: &Session, points: &[Point]) -> Option<Bracket> {
    // What was read out of the tunnel was not too big for it.
    let seen_inside = session.inner.iter().filter(|f| f.facts.opened.carrier.is_none());
    let stuck = seen_inside.filter_map(|f| Some((stuck_toward_client(f)?, f)));
    let stuck = stuck
        .filter(|(s, f)| !outer_swallowed(session, f, s) && !passed_later(session, s) && !stood_still(session, f, s))
        .min_by_key(|(s, _)| s.ip_len);
    let Some((stuck, flow)) = stuck else { return vanished(session, points) };
    let capture = flow.facts.opened.first_frame.capture;
    let passed = largest_passed_to_client(session).filter(|(bytes, _)| *bytes < stuck.ip_len);
    let upper = stuck.ip_len.saturating_sub(1);
    // The path, or the tunnel, carried more until then.
    let since = passed_until(session, stuck).then_some(stuck.first);
    let told = match passed {
        _ if since.is_some() => {
            format!("below {} B, which got through toward the client at first and then never did", stuck.ip_len)
        }
        Some((bytes, _)) => {
            format!("between {bytes} B, which got through toward the client, and {} B, which never did", stuck.ip_len)
        }
        None => format!("below {} B, which never got through toward the client", stuck.ip_len),
    };
    let mut frames = vec![FrameRef { capture, number: stuck.first_frame }];
    frames.extend(passed.map(|(_, frame)| frame));
    let limit = Limit {
        channel: Channel::Inner,
        bytes: upper,
        basis: Basis::Observed,
        source: format!("at most: {told}"),
        since,
        until: None,
        frames,
        in_force: false,
    };
    Some(Bracket { limit, at: stuck.first })
}

/// The same of UDP, from two points: sizes that the gateway's inside saw leave for the client and its adapter, captured
/// meanwhile, never saw come, whole or in fragments.
fn vanished(session: &Session, points: &[Point]) -> Option<Bracket> {
    /// Fewer packets of a size may have been lost for any reason.
    const SEVERAL: u32 = 3;
    let point = |f: &InnerFlow| points.get(usize::from(f.facts.point.0));
    let at = |wanted: Vantage| session.inner.iter().filter(move |f| point(f).and_then(|p| p.vantage) == Some(wanted));
    let adapters: Vec<&Point> = at(Vantage::VirtualAdapter).filter_map(point).collect();
    if adapters.iter().any(|p| p.saw_fragments) {
        return None;
    }
    let spans: Vec<(Timestamp, Timestamp)> = adapters.iter().filter_map(|p| p.span).collect();
    let captured = |run: &&Run| spans.iter().any(|(from, until)| *from <= run.first && run.last <= *until);
    let largest = at(Vantage::VirtualAdapter).flat_map(InnerFlow::large_toward_client).map(|run| run.size).max();
    let mut sent: BTreeMap<u32, (u32, FrameRef, Timestamp)> = BTreeMap::new();
    // What TCP delivered, its acknowledgments tell.
    let udp = at(Vantage::Inside).filter(|f| f.facts.opened.protocol == Protocol::Udp);
    for run in udp.flat_map(InnerFlow::large_toward_client).filter(captured) {
        sent.entry(run.size).or_insert((0, run.frame, run.first)).0 += run.count;
    }
    let gone = |(size, (count, ..)): &(&u32, &(u32, FrameRef, Timestamp))| *count >= SEVERAL && Some(**size) > largest;
    let (size, (count, frame, at)) = sent.iter().find(gone)?;
    let passed = largest.map_or("smaller ones did".to_owned(), |bytes| format!("{bytes} B did"));
    let limit = Limit {
        channel: Channel::Inner,
        bytes: size.saturating_sub(1),
        basis: Basis::Observed,
        source: format!(
            "at most: {count} packets of {size} B left the gateway's inside for the client and never came to its adapter; {passed}"
        ),
        since: None,
        until: None,
        frames: vec![*frame],
        in_force: false,
    };
    Some(Bracket { limit, at: *at })
}

/// The arithmetic, for comparison: what suite and MSS would leave. No detector judges by it.
pub fn derived(session: &Session) -> Vec<Limit> {
    let mut limits = Vec::new();
    let tunnel = session.tunnels().find_map(|c| Some((c, c.settled()?, c.effective_mss()?)));
    if let Some((connection, hello, (mss, timestamps))) = tunnel
        && let Some(terms) = hello.protection().and_then(|p| p.tls_mtu(mtu::Mss(mss)))
    {
        let opened = &connection.best().opened;
        let frames = opened.syn().into_iter().chain(opened.syn_ack()).map(|s| s.frame).chain([hello.frame]).collect();
        let stamped = hello
            .protection()
            .filter(|_| timestamps)
            .and_then(|p| p.tls_mtu(mtu::Mss(mss.saturating_sub(mtu::TIMESTAMPS))));
        let stamps = stamped
            .filter(|t| t.result != terms.result)
            .map(|t| format!("; {} when the TCP timestamps both ends use are counted", t.result.0))
            .unwrap_or_default();
        let source = format!("{} in MSS {mss}: {terms}{stamps}", hello.suite);
        limits.push(Limit {
            channel: Channel::Tls,
            bytes: u32::from(terms.result.0),
            basis: Basis::Derived,
            source,
            since: None,
            until: None,
            frames,
            in_force: false,
        });
    }
    let suite = session.dtls.iter().find_map(|d| d.suite().or_else(|| d.attempts().find_map(|(_, a)| a.only_suite())));
    let v6 = session.gateway.is_some_and(|g| g.is_ipv6());
    let outer = if v6 { mtu::OuterIp::V6 } else { mtu::OuterIp::V4 };
    let sealed = suite.and_then(|s| Some((s, mtu::Protection::new(s.class()?, Version::DTLS_1_2, false))));
    if let Some((suite, protection)) = sealed
        && let Some(terms) = protection.dtls_mtu(mtu::LinkMtu(1500), outer)
    {
        let source = format!("{} in an assumed link of 1500: {terms}", suite);
        limits.push(Limit {
            channel: Channel::Dtls,
            bytes: u32::from(terms.result.0),
            basis: Basis::Derived,
            source,
            since: None,
            until: None,
            frames: Vec::new(),
            in_force: false,
        });
    }
    limits
}

/// The limits inner packets are judged by: told, read from a decrypted answer, read from ICMP, lowered by the client, bracketed.
fn in_force_inner(session: &Session, limits: &[Limit]) -> Vec<usize> {
    let dtls_worked = session.dtls.iter().any(|d| d.worked());
    let channel = if dtls_worked { Channel::Dtls } else { Channel::Tls };
    let of = |basis, channel| -> Vec<usize> {
        let places = limits.iter().enumerate().filter(|(_, l)| l.channel == channel && l.basis == basis);
        places.map(|(i, _)| i).collect()
    };
    let icmp = || limits.iter().position(|l| l.channel == Channel::Inner && is_told_by_icmp(l));
    let bracket = || limits.iter().position(Limit::is_bracket);
    let told = of(Basis::Assumed, channel);
    if !told.is_empty() {
        return told;
    }
    let mut named = of(Basis::Decrypted, channel);
    if named.is_empty() {
        // With a pre-shared key the gateway names one MTU for both.
        named = of(Basis::Decrypted, Channel::Tls);
    }
    if !named.is_empty() {
        // It may not keep what it named: less is told by its ICMP, or by what never got through.
        let bytes = |place: &usize| limits.get(*place).map_or(0, |l| l.bytes);
        let less = icmp().or_else(bracket).filter(|place| named.iter().all(|named| bytes(place) < bytes(named)));
        return less.map_or(named, |less| vec![less]);
    }
    let lowered = || limits.iter().position(|l| l.channel == Channel::Tls && l.basis == Basis::Observed);
    icmp().or_else(lowered).or_else(bracket).into_iter().collect()
}

/// Is that moment from `since` on, and before `until`, where there are such?
fn is_within(at: Timestamp, since: Option<Timestamp>, until: Option<Timestamp>) -> bool {
    since.is_none_or(|since| since <= at) && until.is_none_or(|until| at < until)
}

/// A span of a session in which its data went over TLS, though DTLS was up at another time.
struct OverTls {
    /// None from the beginning on.
    from: Option<Timestamp>,
    /// None to the end.
    until: Option<Timestamp>,
}

impl OverTls {
    fn words(&self) -> &'static str {
        match (self.from, self.until) {
            (None, _) => "until DTLS was up",
            (Some(_), None) => "after the last DTLS record",
            (Some(_), Some(_)) => "while DTLS was down",
        }
    }
}

/// When that was: before DTLS carried its first record, between two flows of it, after its last record.
fn spans_over_tls(session: &Session) -> Vec<OverTls> {
    /// So long after its last record DTLS is dead, and so long the set-up may take, seconds.
    const DEAD: f64 = 5.0;
    let mut up: Vec<[Timestamp; 2]> = session.dtls.iter().filter(|d| d.came_up()).filter_map(DtlsFlow::lived).collect();
    up.sort_unstable();
    let (Some([first, _]), Some(tunnel)) = (up.first().copied(), session.tunnels().next()) else { return Vec::new() };
    let mut spans = Vec::new();
    if tunnel.begins_here() && !session.dtls.iter().any(DtlsFlow::was_up) {
        spans.push((tunnel.start(), OverTls { from: None, until: Some(first) }));
    }
    let mut last = first;
    for [from, until] in up {
        if from > last {
            spans.push((last, OverTls { from: Some(last), until: Some(from) }));
        }
        last = last.max(until);
    }
    spans.push((last, OverTls { from: Some(last), until: None }));
    let stretches = || {
        session
            .tunnels()
            .flat_map(|c| &c.views)
            .filter_map(|v| Some(&v.tls.as_ref()?.activity.stretches))
            .flat_map(|s| s.iter())
    };
    let is_used = |since: Timestamp, until: Option<Timestamp>| {
        let since = since.plus_seconds(DEAD);
        stretches()
            .any(|stretch| stretch.last > since && until.is_none_or(|until| stretch.first < until && since < until))
    };
    spans.into_iter().filter(|(since, span)| is_used(*since, span.until)).map(|(_, span)| span).collect()
}

/// What the gateway named for what carried the data at that moment.
fn named_at(session: &Session, limits: &[Limit], at: Timestamp) -> Option<u32> {
    let over_dtls = session.dtls.iter().any(|d| d.worked())
        && !spans_over_tls(session).iter().any(|span| is_within(at, span.from, span.until));
    let named = |channel| {
        let of = limits.iter().filter(move |l| l.channel == channel && l.basis == Basis::Decrypted);
        of.filter(|l| is_within(at, l.since, l.until)).map(|l| l.bytes).min()
    };
    let dtls = named(Channel::Dtls).filter(|_| over_dtls);
    dtls.or_else(|| named(Channel::Tls))
}

/// What held while the data went over TLS, which may carry less.
fn over_tls(session: &Session, limits: &[Limit]) -> Vec<Limit> {
    let of =
        |channel| limits.iter().rfind(|l| l.channel == channel && matches!(l.basis, Basis::Assumed | Basis::Decrypted));
    let (Some(tls), Some(dtls)) = (of(Channel::Tls), of(Channel::Dtls)) else { return Vec::new() };
    if tls.bytes >= dtls.bytes {
        return Vec::new();
    }
    let held = |span: OverTls| {
        let source = format!("{}, {}", tls.source, span.words());
        Limit { since: span.from, until: span.until, source, in_force: true, ..tls.clone() }
    };
    spans_over_tls(session).into_iter().map(held).collect()
}

/// DF packets above the limit, per point; it may have held several times.
fn oversized_inner(session: &Session, held: &[Limit]) -> Vec<Oversized> {
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

fn oversized_outer(session: &Session, limit: &Limit, points: &[Point]) -> Vec<Oversized> {
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
        delivered: 0,
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
            over.delivered += count;
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
    over.frames.truncate(super::facts::MAX_FRAMES);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{FlowId, Large, Syn, TcpHandshake};
    use crate::session::Proof;
    use crate::session::timing::tests::{at, client};

    /// A session whose servers send a segment of 1347 B each toward the client: at those moments in vain, or acknowledged then.
    fn session(flows: &[Result<f64, &[f64]>]) -> Session {
        let mut session = Session::new([10, 9, 0, 7].into(), None, 443, Proof::Inside);
        for (id, sent) in flows.iter().enumerate() {
            let mut flow = client([10, 9, 0, 7], id as u32, &[1.0], 9).flows.remove(0);
            let largest_passed =
                sent.ok().map(|seconds| Passed { ip_len: 1347, frame: 1, first: at(seconds), at: at(seconds) });
            let smallest_stuck = sent.err().and_then(|sent| {
                let [first, last] = [*sent.first()?, *sent.last()?].map(at);
                let times = sent.len() as u32;
                let stuck =
                    Stuck { ip_len: 1347, seq: 1, times, first_frame: 1, last_frame: times, first, last, overtaken: 0 };
                Some(stuck.into())
            });
            let progress = largest_passed.map(|passed| passed.at);
            let sizes = Sizes { largest_passed, smallest_stuck, segments_stuck: 0, progress };
            flow.facts.ended.sizes = [Sizes::default(), sizes].into();
            session.inner.push(flow);
        }
        session
    }

    #[test]
    fn a_size_that_passes_on_another_flow_meanwhile_is_no_limit() {
        let stuck: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
        let bracketed = |session: &Session| bracket(session, &[]).map(|bracket| bracket.limit.bytes);
        let passes = session(&[Err(stuck), Ok(20.1)]);
        assert_eq!(bracketed(&passes), None);
        assert_eq!(stuck_beside_passing(&passes).map(|(_, stuck)| stuck.times), Some(7));
        // Nothing passes, or only what was under way when the other got stuck.
        for other in [Err(stuck), Ok(1.2)] {
            let session = session(&[Err(stuck), other]);
            assert_eq!(bracketed(&session), Some(1346), "{other:?}");
            assert!(stuck_beside_passing(&session).is_none(), "{other:?}");
        }
    }

    #[test]
    fn what_the_gateway_sent_on_in_vain_vanished_for_its_size_where_smaller_ones_pass_and_none_as_large_does() {
        let stuck: &[f64] = &[2.0, 3.0, 5.0, 9.0, 17.0];
        let vanished = |other: Result<f64, &[f64]>, small: Option<f64>, at_client: bool| {
            let mut session = session(&[Err(stuck), other]);
            let carrier = client([192, 0, 2, 7], 77, &[1.0], 9).flows.remove(0).facts;
            session.inner[0].facts.opened.carrier = Some(carrier.id);
            let mut beside = client([10, 9, 0, 7], 3, &[1.0], 9).flows.remove(0);
            beside.facts.ended.sizes = [Sizes::default(), Sizes { progress: small.map(at), ..Sizes::default() }].into();
            session.inner.push(beside);
            session.dtls.push(DtlsFlow { views: vec![carrier].into(), continues: None });
            let there = if at_client { Vantage::Client } else { Vantage::Outside };
            taken_in_vain(&session, |_| Some(there)).map(|taken| taken.stuck.times)
        };
        let none: Result<f64, &[f64]> = Err(&[]);
        assert_eq!(vanished(none, Some(10.0), false), Some(5));
        assert_eq!(vanished(none, None, false), None, "nothing at all passes");
        assert_eq!(vanished(none, Some(2.1), false), None, "what was under way");
        assert_eq!(
            vanished(Ok(1.0), Some(10.0), false),
            None,
            "as large ones had passed: the flow may have died alone"
        );
        assert_eq!(vanished(none, Some(10.0), true), None, "there it shows what came");
    }

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
        let found = oversized_inner(&session, &[limit]);
        let frames = |over: &Oversized| over.frames.iter().map(|frame| frame.number).collect::<Vec<_>>();
        assert_eq!(found.iter().map(frames).collect::<Vec<_>>(), [[17, 51, 9]], "those toward the client first");
        assert_eq!(found[0].first, (at(1.0), FrameRef { capture: 0, number: 9 }));
    }

    #[test]
    fn an_adapter_that_was_lowered_announces_less_toward_every_server_from_then_on() {
        let stuck: &[f64] = &[2.0, 3.0, 5.0, 9.0];
        let lowered = |announced: &[(f64, u16)]| {
            let mut session = session(&[Err(stuck)]);
            for (seconds, mss) in announced {
                let mut flow = client([10, 9, 0, 7], 1, &[*seconds], 9).flows.remove(0);
                let syn = Syn { at: at(*seconds), frame: FrameRef::default(), mss: Some(*mss), timestamps: false };
                let mut handshake = TcpHandshake::default();
                handshake.note(Direction::ToServer, syn);
                flow.facts.opened.handshake = Some(Box::new(handshake));
                session.inner.push(flow);
            }
            lowered_after_trouble(&session).map(|mss| mss.mtus())
        };
        assert_eq!(lowered(&[(1.0, 1360), (62.0, 1240), (63.0, 1240)]), Some([1400, 1280]));
        assert_eq!(lowered(&[(1.0, 1360), (62.0, 1240), (63.0, 1360)]), None, "one server's path is narrow");
        assert_eq!(lowered(&[(1.0, 1360), (1.5, 1240)]), None, "before anything got stuck");
    }

    #[test]
    fn an_upload_is_stuck_where_its_server_goes_on_answering_and_nothing_as_large_passes() {
        let upload = |sizes: Sizes, heard: f64| {
            let mut flow = client([10, 9, 0, 7], 1, &[1.0], 9).flows.remove(0);
            let large = Large { direction: Direction::ToServer, ip_len: 1400, again: false };
            flow.facts.add_large(at(2.0), FrameRef::default(), large);
            flow.facts.opened.carrier = Some(FlowId(9));
            flow.facts.ended.sizes = [sizes, Sizes::default()].into();
            flow.facts.ended.last_by_direction = [None, Some(at(heard))];
            flow
        };
        let stuck = |seconds: f64| {
            let (first, last) = (at(2.0), at(2.0 + seconds));
            let stuck =
                Stuck { ip_len: 1400, seq: 1, times: 5, first_frame: 1, last_frame: 5, first, last, overtaken: 0 };
            Sizes { smallest_stuck: Some(stuck.into()), ..Sizes::default() }
        };
        let passed = |seconds: f64| {
            let passed = Passed { ip_len: 1400, frame: 1, first: at(1.0), at: at(seconds) };
            upload(Sizes { largest_passed: Some(passed), ..Sizes::default() }, seconds)
        };
        let told = |flows: Vec<InnerFlow>| {
            let mut session = session(&[]);
            flows.into_iter().for_each(|flow| session.inner.push(flow));
            stuck_uploads(&session, &[]).map(|upload| upload.is_answered).collect::<Vec<_>>()
        };
        assert_eq!(told(vec![upload(stuck(8.0), 6.0)]), [true]);
        assert_eq!(told(vec![upload(stuck(8.0), 2.1)]), [false], "what was under way answers nothing");
        assert!(told(vec![upload(stuck(8.0), 6.0), passed(9.0)]).is_empty(), "as large ones pass");
        assert_eq!(told(vec![upload(stuck(8.0), 6.0), passed(2.5)]), [true], "as large ones passed before");
        assert!(told(vec![upload(Sizes::default(), 6.0)]).is_empty());
    }
}
