//! What a packet may measure, and who says so.

use super::facts::{IcmpFacts, Run};
use super::mtu;
use super::reconnect::{Announced, InnerMss};
use super::stuck::{largest_passed_to_client, passed_until, smallest_for_its_size, stuck_toward_client};
use super::{Basis, Channel, DtlsFlow, InnerFlow, Limit, Point, Session, oversized};
use crate::event::{FrameRef, Protocol, Stuck, Timestamp, Vantage, Version};
use std::collections::BTreeMap;
use std::net::IpAddr;

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
            let found = oversized::of_inner(session, std::slice::from_ref(limit));
            session.oversized.extend(found);
        }
    }
    let over_tls = over_tls(session, &limits);
    session.oversized.extend(oversized::of_inner(session, &over_tls));
    limits.extend(over_tls);
    for channel in [Channel::OuterTcp, Channel::OuterUdp] {
        if let Some(limit) = limits.iter_mut().find(|l| l.channel == channel && l.basis == Basis::Observed) {
            limit.in_force = true;
            let found = oversized::of_outer(session, limit, points);
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
        let bytes = flow.mtu_for(mss);
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

/// A limit that nobody names.
struct Bracket {
    limit: Limit,
    /// When what tells it was sent.
    at: Timestamp,
}

/// What got through and what never did: the limit lies between.
fn bracket(session: &Session, points: &[Point]) -> Option<Bracket> {
    let Some((flow, stuck)) = smallest_for_its_size(session) else { return vanished(session, points) };
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
/// Is the moment within the time that it held?
pub(super) fn is_within(at: Timestamp, since: Option<Timestamp>, until: Option<Timestamp>) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Direction, Syn, TcpHandshake};
    use crate::session::stuck::stuck_beside_passing;
    use crate::session::stuck::tests::session;
    use crate::session::timing::tests::{at, client};

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
}
