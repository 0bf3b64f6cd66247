//! What one flow showed at one capture point: small, bounded, kept until the sessions are put together.

mod attempt;
mod dtls;
mod inside;
mod said;
mod sequence;
mod tls;

use super::coverage::Sight;
use crate::event::{
    Direction, Ended, Endpoints, FlowId, FrameRef, IcmpError, Large, Opened, PointId, Quoted, Timestamp,
};
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};

pub use super::few::{Few, Rare};
pub use super::packed::{Numbered, Packed};
pub use super::runs::{MAX_RUNS, Run, Runs};
pub use super::stretches::{Stretch, Stretches};
pub use attempt::{AttemptFacts, Flight, MAX_ATTEMPTS, MAX_MESSAGES, Message, MessageKind, SeldomInAttempt};
pub(super) use dtls::Known;
pub use dtls::{DtlsFacts, Probe, SeldomInDtls};
pub use inside::{InsideTls, Packets, Parting, RoundTrips};
pub use said::{Activity, Heard, MAX_BURSTS, MAX_STRETCHES, Unanswered};
pub use sequence::{Beside, Lull, Outages, Pace, Rate, RecordNumber, SeldomInSequence, Sequence};
pub use tls::{DataFacts, Early, MAX_EARLY, Random, SeldomInTls, ServerHelloFacts, TlsFacts};
pub(super) use tls::{LONGER_THAN_ALERT, REQUEST};

/// Frames kept as evidence per fact; the count beside them is always the whole count.
pub const MAX_FRAMES: usize = 64;

/// A flow's facts as they are handed on: moved often, never copied.
pub type View = Box<FlowFacts>;

/// What a flow shows while it goes on; its beginning and its totals come when it ends.
#[derive(Debug)]
pub struct FlowNotes {
    /// Where it was seen.
    pub point: PointId,
    /// First FIN or RST: when, where, whose, and whether it was a RST.
    pub(super) closed: Option<Box<Closed>>,
    /// What its TLS showed.
    pub tls: Option<Box<TlsFacts>>,
    /// What its DTLS showed.
    pub dtls: Option<Box<DtlsFacts>>,
    /// Large DF packets each way.
    pub large: [Runs; 2],
    /// QUIC Initials each way, as far as they are told.
    pub quic: [u8; 2],
    /// STUN or SRTP was seen in it.
    pub media: bool,
    /// IKE was seen in it.
    pub ike: bool,
}

impl FlowNotes {
    /// Nothing seen yet.
    pub fn new(point: PointId) -> FlowNotes {
        FlowNotes {
            point,
            closed: None,
            tls: None,
            dtls: None,
            large: Default::default(),
            quic: [0, 0],
            media: false,
            ike: false,
        }
    }

    /// Adds a large packet to the tally; says whether it begins one of the first runs of them.
    pub fn add_large(&mut self, at: Timestamp, frame: FrameRef, large: Large) -> bool {
        large.direction.of_mut(&mut self.large).add(at, frame, large)
    }

    /// All about the flow; the notes begin anew.
    pub fn take(&mut self, id: FlowId, opened: Opened, ended: Ended) -> FlowFacts {
        let notes = std::mem::replace(self, FlowNotes::new(self.point));
        FlowFacts { id, opened, ended, notes }
    }
}

/// One flow at one capture point: what it showed, and how it began and ended.
#[derive(Debug)]
pub struct FlowFacts {
    /// Its id in its capture.
    pub id: FlowId,
    /// How it began.
    pub opened: Opened,
    /// How it ended.
    pub ended: Ended,
    notes: FlowNotes,
}

impl Deref for FlowFacts {
    type Target = FlowNotes;

    fn deref(&self) -> &FlowNotes {
        &self.notes
    }
}

impl DerefMut for FlowFacts {
    fn deref_mut(&mut self) -> &mut FlowNotes {
        &mut self.notes
    }
}

impl FlowFacts {
    /// The packets of the tunnel protocol read in it with keys.
    pub fn packets(&self) -> Option<&Packets> {
        let tls = || Some(&self.tls.as_ref()?.inside()?.packets);
        self.dtls.as_ref().and_then(|dtls| dtls.seldom().inside.as_deref()).or_else(tls)
    }

    /// When data flowed through it, if it is of a tunnel.
    pub fn activity(&self) -> Option<&Activity> {
        let over_dtls = self.dtls.as_ref().map(|dtls| &dtls.activity);
        self.tls.as_ref().map(|tls| &tls.activity).or(over_dtls)
    }

    /// Its stretches of data.
    pub fn stretches(&self) -> impl Iterator<Item = Stretch> {
        self.activity().into_iter().flat_map(|activity| activity.stretches.iter())
    }

    /// The same, each to where that side may have spoken last: at its end the other one may have gone on alone.
    pub fn spoken(&self, side: Direction) -> impl Iterator<Item = Stretch> {
        let over_tls = self.tls.iter().flat_map(move |tls| tls.spoken(side));
        over_tls.chain(self.dtls.iter().flat_map(move |dtls| dtls.spoken(side)))
    }

    /// Records of data each way, DPD and keepalive included.
    pub fn records(&self) -> [u32; 2] {
        let over_dtls = || self.dtls.as_ref().map_or([0; 2], |dtls| dtls.records);
        self.tls.as_ref().map_or_else(over_dtls, |tls| tls.data.each_ref().map(|data| data.records))
    }

    /// Records that way without an answer by the end.
    pub fn unanswered(&self, way: Direction) -> Unanswered {
        let over_dtls = || self.dtls.as_ref().map_or_else(Unanswered::default, |dtls| dtls.unanswered(way));
        self.tls.as_ref().map_or_else(over_dtls, |tls| tls.unanswered(way))
    }

    /// When the last packet went that way.
    pub fn last_packet(&self, way: Direction) -> Option<Timestamp> {
        *way.of(&self.ended.last_by_direction)
    }

    /// The large datagrams of DTLS that went that way, with DF and without: not every gateway sets it, and a router on the way may clear it.
    pub fn large_datagrams(&self, direction: Direction) -> impl Iterator<Item = &Run> {
        let fragmentable = self.dtls.iter().flat_map(move |dtls| direction.of(&dtls.seldom().fragmentable).iter());
        direction.of(&self.large).iter().chain(fragmentable)
    }

    /// ICMP errors about packets of it that went that way, to their sender.
    pub fn icmp(&self, about: Direction) -> Sight {
        let Endpoints { client, server } = self.opened.endpoints();
        let to = if about == Direction::ToServer { client.ip() } else { server.ip() };
        Sight::Icmp { v6: to.is_ipv6(), to: Some(to) }
    }

    /// Seconds that its SYN waited for the SYN-ACK.
    pub fn syn_wait(&self) -> Option<f64> {
        Some(self.opened.syn_ack()?.at.seconds_since(self.opened.syn()?.at))
    }

    /// Seconds that its SYN-ACK waited for the ACK.
    pub fn syn_ack_wait(&self) -> Option<f64> {
        Some(self.opened.third()?.seconds_since(self.opened.syn_ack()?.at))
    }

    /// Seconds that its ClientHello waited for the ServerHello.
    pub fn hello_wait(&self) -> Option<f64> {
        let tls = self.tls.as_ref()?;
        Some(tls.server_hello?.at.seconds_since(tls.client_hello?.0))
    }

    /// First FIN or RST.
    pub fn closed(&self) -> Option<Closed> {
        self.closed.as_deref().copied()
    }

    /// When it was closed, or else last seen: a gateway may resend long after.
    pub fn end(&self) -> Timestamp {
        self.closed().map_or(self.ended.last, |closed| closed.at)
    }
}

/// Who closed a TCP connection first.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// When.
    pub at: Timestamp,
    /// In which frame.
    pub frame: FrameRef,
    /// The way the FIN or RST went.
    pub direction: Direction,
    /// Whose doing it was: who said goodbye or sent the first alert, else the FIN or RST.
    pub by: Direction,
    /// RST rather than FIN.
    pub reset: bool,
    /// Its TTL or hop limit.
    pub ttl: u8,
}

impl Closed {
    /// Whose doing it was, from the way of its first encrypted alert and, where the client had the last word, the nanoseconds since.
    pub(super) fn told_by(mut self, alert: Option<Direction>, silence: Option<i64>) -> Closed {
        /// A gateway answers a goodbye at once, nanoseconds.
        const AT_ONCE: i64 = 200_000_000;
        let is_answer = alert == Some(Direction::ToClient) && silence.is_some_and(|silence| silence < AT_ONCE);
        self.by = if is_answer { Direction::ToServer } else { alert.unwrap_or(self.direction) };
        self
    }
}

/// ICMP errors of one kind about one quoted flow at one point.
#[derive(Clone, Debug)]
pub struct IcmpFacts {
    /// Where.
    pub point: PointId,
    /// The first of them.
    pub error: IcmpError,
    /// What it quotes.
    pub quoted: Quoted,
    /// The flow it quotes, when seen at this point, and which way the quoted packet went.
    pub quotes: Option<(FlowId, Direction)>,
    /// Who sent it.
    pub sender: IpAddr,
    /// How many.
    pub count: u32,
    /// Next-hop MTUs, each once.
    pub mtus: Vec<u32>,
    /// The least length of a packet they refused, bytes.
    pub refused: u32,
    /// First.
    pub first: Timestamp,
    /// Last.
    pub last: Timestamp,
    /// Frames, at most [`MAX_FRAMES`].
    pub frames: Vec<FrameRef>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_closes_is_told_by_the_alert_and_the_goodbye_before() {
        use Direction::{ToClient, ToServer};
        let frame = FrameRef::default();
        let by = |direction, alert, said_at: f64| {
            let at = Timestamp::default().plus_seconds(60.0);
            let mut tls = TlsFacts::default();
            tls.add_data(Timestamp::default().plus_seconds(said_at), frame, ToServer, 100);
            Closed { at, frame, direction, by: direction, reset: false, ttl: 64 }
                .told_by(alert, tls.silence(ToServer, at))
                .by
        };
        assert_eq!(by(ToClient, None, 59.9), ToClient, "a gateway whose service dies sends no alert");
        assert_eq!(by(ToClient, Some(ToServer), 40.0), ToServer);
        assert_eq!(by(ToServer, Some(ToClient), 40.0), ToClient);
        assert_eq!(by(ToClient, Some(ToClient), 59.9), ToServer, "it answers a goodbye");
        assert_eq!(by(ToClient, Some(ToClient), 59.0), ToClient);
    }

    #[test]
    fn what_is_kept_of_each_flow_is_small() {
        // As large as what `dissect` kept of a TCP flow, whose room it takes when the capture ends.
        assert!(size_of::<FlowFacts>() <= 192, "{}", size_of::<FlowFacts>());
        assert!(size_of::<TlsFacts>() <= 192, "{}", size_of::<TlsFacts>());
        assert!(size_of::<tls::EarlyRecords>() <= 64, "{}", size_of::<tls::EarlyRecords>());
        // With room for one attempt, which lies in it.
        assert!(size_of::<DtlsFacts>() <= 384, "{}", size_of::<DtlsFacts>());
        assert!(size_of::<AttemptFacts>() <= 128, "{}", size_of::<AttemptFacts>());
    }
}
