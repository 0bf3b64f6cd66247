//! Downloads that hang, seen at their receiver's end: bytes that a server sent, as a later segment of it without data shows, and of
//! which none ever came.

use super::stuck::is_behind_tunnel;
use super::{InnerFlow, Point, Session};
use crate::event::{Direction, LARGE, Timestamp, Vanished};

/// What is merely lost has been sent again by then: three times, from the least timeout in use on (200 ms, RFC 6298 §5.5 doubles
/// it), seconds.
const STALLED: f64 = 3.0;

/// What vanished on its way to the client's adapter, or to where it was read out of the tunnel.
#[derive(Clone, Copy, Debug)]
pub struct Downloads<'a> {
    /// The one of which most time went by.
    pub worst: (&'a InnerFlow, Vanished),
    /// How many connections it happened to.
    pub connections: u32,
    /// Bytes of all of them.
    pub bytes: u64,
    /// The largest packet that the two ends of the worst may send each other by the MSS they announced, IP header included.
    pub allowed: Option<u32>,
    /// The largest packet toward the client that came there; `None` where none measured [`LARGE`].
    pub largest: Option<u32>,
    /// Other traffic from the servers came meanwhile.
    pub others_came: bool,
}

impl Downloads<'_> {
    /// Could packets larger than any that came have been sent?
    pub fn may_be_too_big(&self) -> bool {
        self.allowed.is_some_and(|allowed| allowed > self.largest.unwrap_or(LARGE))
    }

    /// Was it more than an outage that befell one connection?
    pub fn is_telling(&self) -> bool {
        self.connections > 1 || self.others_came
    }
}

fn largest_toward_client(flow: &InnerFlow) -> Option<u32> {
    let passed = flow.facts.ended.sizes.toward(flow.toward_client).largest_passed.map(|passed| passed.ip_len);
    flow.large_toward_client().map(|run| run.size).chain(passed).max()
}

fn vanished(flow: &InnerFlow) -> Option<Vanished> {
    let hears_both = flow.facts.ended.packets.iter().all(|packets| *packets > 0);
    let vanished = (*flow.toward_client.of(&flow.facts.ended.seldom().vanished))?;
    (hears_both && vanished.seconds() >= STALLED).then_some(vanished)
}

/// Does the outer path lose much toward the client, or the tunnel's own large packets? Then it was among that.
fn outer_loses(session: &Session) -> bool {
    let dtls = session.dtls.iter().filter(|flow| flow.worked()).flat_map(|flow| &flow.views);
    let mut rates = dtls.filter_map(|view| Some(Direction::ToClient.of(&view.dtls.as_deref()?.sequence).counted()));
    let tls = session.tunnels().flat_map(|tunnel| &tunnel.views);
    let mut stuck = tls.filter_map(|view| view.ended.sizes.toward(Direction::ToClient).smallest_stuck.as_deref());
    rates.any(|rate| rate.loses_much()) || stuck.any(|stuck| stuck.times > 2)
}

/// Those of the session.
pub fn downloads<'a>(session: &'a Session, points: &[Point]) -> Option<Downloads<'a>> {
    if outer_loses(session) {
        return None;
    }
    let there = || session.inner.iter().filter(|flow| is_behind_tunnel(flow, points));
    let mut hang: Vec<(&InnerFlow, Vanished)> = there().filter_map(|flow| Some((flow, vanished(flow)?))).collect();
    // Of a point that saw the same connection more than once, one.
    hang.sort_by_key(|(flow, _)| (flow.ends(), flow.facts.opened.first, flow.facts.point));
    hang.dedup_by_key(|(flow, _)| flow.ends());
    let worst = hang.iter().copied().max_by(|(_, a), (_, b)| a.seconds().total_cmp(&b.seconds()))?;
    let (flow, gone) = worst;
    let beside = || there().filter(|other| other.facts.point == flow.facts.point);
    let opened = &flow.facts.opened;
    let mss = [opened.syn(), opened.syn_ack()].map(|syn| syn?.mss);
    let allowed = match mss {
        [Some(a), Some(b)] => Some(flow.mtu_for(a.min(b))),
        _ => None,
    };
    let meanwhile = |at: Timestamp| gone.since.plus_seconds(1.0) < at && at < gone.told.0;
    let came = |other: &InnerFlow| {
        let runs = other.large_toward_client().flat_map(|run| [run.first, run.last]);
        let answered = other.facts.opened.syn_ack().map(|syn| syn.at);
        let last = other.facts.last_packet(other.toward_client);
        runs.chain(answered).chain(last).any(meanwhile)
    };
    Some(Downloads {
        worst,
        connections: u32::try_from(hang.len()).unwrap_or(u32::MAX),
        bytes: hang.iter().map(|(_, gone)| u64::from(gone.bytes)).sum(),
        allowed,
        largest: beside().filter_map(largest_toward_client).max(),
        others_came: beside().any(came),
    })
}

/// A question that its server acknowledged, and to which the client's adapter never got an answer: it was too large for the tunnel, or
/// there was none.
#[derive(Clone, Copy, Debug)]
pub struct Unanswered<'a> {
    /// The connection.
    pub flow: &'a InnerFlow,
    /// When the client last said something.
    pub since: Timestamp,
    /// When it closed the connection, or the capture ended.
    pub until: Timestamp,
}

impl Unanswered<'_> {
    /// How long it waited.
    pub fn seconds(&self) -> f64 {
        self.until.seconds_since(self.since)
    }
}

/// Of the session's inner connections the one that waited longest for an answer at the client's end.
pub fn unanswered<'a>(session: &'a Session, points: &'a [Point]) -> Option<Unanswered<'a>> {
    /// Few answers take longer, seconds.
    const PATIENCE: f64 = 10.0;
    let there = session.inner.iter().filter(|flow| is_behind_tunnel(flow, points));
    let waited = there.filter_map(|flow| {
        let since = flow.facts.ended.seldom().unanswered.filter(|_| flow.toward_client == Direction::ToClient)?;
        let (_, end) = points.get(flow.facts.point.0 as usize)?.span?;
        let until = match flow.facts.closed() {
            Some(closed) if closed.direction == Direction::ToClient => return None,
            Some(closed) => closed.at,
            None => end,
        };
        Some(Unanswered { flow, since, until })
    });
    waited.filter(|waited| waited.seconds() >= PATIENCE).max_by(|a, b| a.seconds().total_cmp(&b.seconds()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{
        Direction, Endpoints, Ends, FrameRef, Large, LinkType, PointId, SeldomInEnded, Syn, TcpHandshake, Vantage,
    };
    use crate::session::Proof;
    use crate::session::facts::Closed;
    use crate::session::timing::tests::{at, client};
    use std::net::IpAddr;

    /// A download of which the adapter lacks the end for so many seconds.
    fn download(id: u32, seconds: f64) -> InnerFlow {
        let mut flow = client([10, 9, 0, 7], id, &[1.0], 9).flows.remove(0);
        let syn = |mss| Syn { at: at(0.9), frame: FrameRef::default(), mss: Some(mss), timestamps: false };
        let mut handshake = TcpHandshake::default();
        handshake.note(Direction::ToServer, syn(1394));
        handshake.note(Direction::ToClient, syn(1460));
        flow.facts.opened.handshake = Some(Box::new(handshake));
        let gone = Vanished { since: at(1.0), told: (at(1.0 + seconds), FrameRef::default()), bytes: 16_584 };
        flow.facts.ended.add(SeldomInEnded { vanished: [None, Some(gone)], ..SeldomInEnded::default() });
        flow.facts.ended.packets = [5, 5];
        flow.facts.large = Default::default();
        flow
    }

    fn told(vantage: Vantage, flows: Vec<InnerFlow>) -> Option<(u32, u64, bool, bool)> {
        let mut point = Point::unknown(PointId(0), 0, LinkType::RAW);
        point.vantage = Some(vantage);
        let mut session = Session::new(IpAddr::from([10, 9, 0, 7]), None, 443, Proof::Inside);
        flows.into_iter().for_each(|flow| session.inner.push(flow));
        let gone = downloads(&session, &[point])?;
        Some((gone.connections, gone.bytes, gone.may_be_too_big(), gone.is_telling()))
    }

    #[test]
    fn what_a_server_sent_and_nobody_got_was_too_big_where_no_packet_as_large_came() {
        let adapter = Vantage::VirtualAdapter;
        assert_eq!(told(adapter, vec![download(1, 8.0)]), Some((1, 16_584, true, false)));
        let other_port = |mut flow: InnerFlow| {
            let ends = flow.facts.opened.endpoints();
            let client = (ends.client.ip(), 50_001).into();
            flow.facts.opened.ends = Ends::new(Endpoints { client, ..ends });
            flow
        };
        let both = vec![download(1, 8.0), other_port(download(2, 7.0))];
        assert_eq!(told(adapter, both), Some((2, 33_168, true, true)));
        let mut passed = other_port(download(2, 0.5));
        let large = Large { direction: Direction::ToClient, ip_len: 1434, again: false };
        passed.facts.add_large(at(30.0), FrameRef::default(), large);
        assert_eq!(told(adapter, vec![download(1, 8.0), passed]), Some((1, 16_584, false, false)), "merely lost");
        assert_eq!(told(adapter, vec![download(1, 1.0)]), None, "what is sent again comes within seconds");
        assert_eq!(told(Vantage::Inside, vec![download(1, 8.0)]), None, "lost before the gateway");
    }

    #[test]
    fn a_question_without_an_answer_is_told_at_the_clients_end() {
        let waited = |vantage, asked: Option<f64>, closed: Option<(f64, Direction)>| {
            let mut point = Point::unknown(PointId(0), 0, LinkType::RAW);
            (point.vantage, point.span) = (Some(vantage), Some((at(0.0), at(60.0))));
            let mut flow = client([10, 9, 0, 7], 1, &[1.0], 9).flows.remove(0);
            flow.facts.ended.add(SeldomInEnded { unanswered: asked.map(at), ..SeldomInEnded::default() });
            flow.facts.closed = closed.map(|(when, direction)| {
                let frame = FrameRef::default();
                Box::new(Closed { at: at(when), frame, direction, by: direction, reset: false, ttl: 64 })
            });
            let mut session = Session::new(IpAddr::from([10, 9, 0, 7]), None, 443, Proof::Inside);
            session.inner.push(flow);
            unanswered(&session, &[point]).map(|waited| waited.seconds().round())
        };
        let adapter = Vantage::VirtualAdapter;
        assert_eq!(waited(adapter, Some(1.0), None), Some(59.0), "until the capture ends");
        assert_eq!(
            waited(adapter, Some(1.0), Some((21.0, Direction::ToServer))),
            Some(20.0),
            "until the client gives up"
        );
        assert_eq!(waited(adapter, Some(1.0), Some((21.0, Direction::ToClient))), None, "the server refuses to answer");
        assert_eq!(waited(adapter, Some(55.0), None), None, "it may still come");
        assert_eq!(waited(adapter, None, None), None, "answered");
        assert_eq!(waited(Vantage::Inside, Some(1.0), None), None, "there the server itself is silent");
    }
}
