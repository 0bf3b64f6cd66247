//! Packets inside the tunnels that never got through: what they measured, what passed beside them, and whether the tunnel took them.

use super::facts::{Run, View};
use super::{DtlsFlow, Icmp, InnerFlow, Oversized, Point, Session, mtu, vantage};
use crate::event::{Direction, FrameRef, LARGE, Passed, PointId, Protocol, Sizes, Stuck, Timestamp, Vantage, Version};
use std::ops::RangeInclusive;

/// What was under way when a segment got stuck, and what answers it, has arrived by then, seconds.
const UNDER_WAY: f64 = 1.0;

/// Sent so often in vain, a segment was not merely lost.
const OFTEN: u32 = 3;

/// The smallest size toward the client of that flow that never got through.
pub fn stuck_toward_client(flow: &InnerFlow) -> Option<&Stuck> {
    flow.facts.ended.sizes.toward(flow.toward_client).smallest_stuck.as_deref()
}

/// The flows in which a size toward the client never got through, each with the smallest.
fn stuck_flows(session: &Session) -> impl Iterator<Item = (&InnerFlow, &Stuck)> {
    session.inner.iter().filter_map(|flow| Some((flow, stuck_toward_client(flow)?)))
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
    let lost =
        stuck_flows(session).filter(|(flow, stuck)| stuck.times >= OFTEN && left_in_datagrams(session, flow, stuck));
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
    let for_its_size = |(flow, stuck): &(&InnerFlow, &Stuck)| {
        let passed = session.inner.iter().filter_map(passed_toward_client).any(|p| p.ip_len >= stuck.ip_len);
        let from = stuck.first.plus_seconds(UNDER_WAY);
        stuck.times >= OFTEN && !passed && passes_between(session, flow, from, stuck.last)
    };
    let taken = stuck_flows(session).filter(for_its_size).filter_map(|(flow, stuck)| {
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

/// The smallest packet toward the client that got stuck where nothing but its size explains it.
pub(super) fn smallest_for_its_size(session: &Session) -> Option<(&InnerFlow, &Stuck)> {
    // What was read out of the tunnel was not too big for it.
    let seen_inside = stuck_flows(session).filter(|(flow, _)| flow.facts.opened.carrier.is_none());
    let for_its_size = seen_inside
        .filter(|(f, s)| !outer_swallowed(session, f, s) && !passed_later(session, s) && !stood_still(session, f, s));
    for_its_size.min_by_key(|(_, s)| s.ip_len)
}

/// Inner packets toward the client got stuck in a tunnel that may have stood still altogether: as large ones had passed
/// before, and nothing else is seen to pass meanwhile; or the client did not hear what is small either.
#[derive(Clone, Copy, Debug)]
pub struct Standstill {
    /// The packet.
    pub ip_len: u32,
    /// When it was first sent.
    pub since: Timestamp,
    /// Nothing small reached the client either.
    pub is_deaf: bool,
}

/// The first standstill of the session.
pub fn standstill(session: &Session) -> Option<Standstill> {
    let still = stuck_flows(session)
        .filter(|(flow, stuck)| !outer_swallowed(session, flow, stuck) && stood_still(session, flow, stuck));
    let (flow, first) = still.min_by_key(|(_, stuck)| stuck.first)?;
    Some(Standstill { ip_len: first.ip_len, since: first.first, is_deaf: is_deaf(flow) })
}

fn stood_still(session: &Session, stuck_flow: &InnerFlow, stuck: &Stuck) -> bool {
    let beside = session.inner.iter().filter(|f| f.facts.point == stuck_flow.facts.point);
    let mut passed_before = beside.filter_map(passed_toward_client);
    is_deaf(stuck_flow)
        || !passes_between(session, stuck_flow, stuck.first, stuck.last)
            && passed_before.any(|p| p.ip_len >= stuck.ip_len && p.at < stuck.last)
}

/// Did the client say again and again what had come to its server? Each time the acknowledgment, which is small, did not reach it either.
fn is_deaf(flow: &InnerFlow) -> bool {
    u32::from(*flow.toward_client.reverse().of(&flow.facts.ended.in_vain)) >= OFTEN
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
    let mut stuck = stuck_flows(session).peekable();
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
pub(super) fn passed_until(session: &Session, stuck: &Stuck) -> bool {
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
    let beside_passing = stuck_flows(session).filter(|(_, s)| s.times >= OFTEN && passed_later(session, s));
    beside_passing.max_by_key(|(_, s)| s.times)
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::event::{FlowId, Large};
    use crate::session::Proof;
    use crate::session::timing::tests::{at, client};

    /// A session whose servers send a segment of 1347 B each toward the client: at those moments in vain, or acknowledged then.
    pub fn session(flows: &[Result<f64, &[f64]>]) -> Session {
        let mut session = Session::new([10, 9, 0, 7].into(), None, 443, Proof::Inside);
        for (id, sent) in flows.iter().enumerate() {
            let mut flow = client([10, 9, 0, 7], id as u32, &[1.0], 9).flows.remove(0);
            let largest_passed =
                sent.ok().map(|seconds| Passed { ip_len: 1347, frame: 1, first: at(seconds), at: at(seconds) });
            let smallest_stuck = sent.err().and_then(|sent| {
                let [first, last] = [*sent.first()?, *sent.last()?].map(at);
                let times = sent.len() as u32;
                let stuck = Stuck {
                    ip_len: 1347,
                    seq: 1,
                    times,
                    first_frame: 1,
                    last_frame: times,
                    first,
                    last,
                    overtaken: 0,
                    behind: 0,
                };
                Some(stuck.into())
            });
            let progress = largest_passed.map(|passed| passed.at);
            let sizes = Sizes { largest_passed, smallest_stuck, segments_stuck: 0, needless: 0, progress };
            flow.facts.ended.sizes = [Sizes::default(), sizes].into();
            session.inner.push(flow);
        }
        session
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
    fn what_is_stuck_beside_acknowledgments_that_do_not_come_either_is_not_so_for_its_size() {
        let stuck: &[f64] = &[2.0, 3.0, 5.0, 9.0];
        let told = |in_vain: u8| {
            let mut session = session(&[Err(stuck)]);
            session.inner[0].facts.ended.in_vain = [in_vain, 0];
            (smallest_for_its_size(&session).is_some(), standstill(&session).map(|still| still.is_deaf))
        };
        assert_eq!(told(0), (true, None));
        assert_eq!(told(2), (true, None), "merely lost");
        assert_eq!(told(3), (false, Some(true)));
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
            let stuck = Stuck {
                ip_len: 1400,
                seq: 1,
                times: 5,
                first_frame: 1,
                last_frame: 5,
                first,
                last,
                overtaken: 0,
                behind: 0,
            };
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
