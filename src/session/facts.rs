//! What one flow showed at one capture point: small, bounded, kept until the sessions are put together.

use super::coverage::Sight;
use super::mtu::Protection;
use super::packed::{frame_of, number_of};
use crate::event::{
    Alert, Bye, CipherSuite, Direction, Ended, Endpoints, FlowId, FrameRef, IcmpError, Large, Opened, PacketKind,
    PointId, Quoted, SessionId, Timestamp, Token, TunnelAnswer, TunnelPacket, TunnelRequest, Unsealed, Version,
};
use crate::maps::hash;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;

pub use super::few::{Few, Rare};
pub use super::packed::{Numbered, Packed};
pub use super::runs::{MAX_RUNS, Run, Runs};
pub use super::stretches::{Stretch, Stretches};

/// Frames kept as evidence per fact; the count beside them is always the whole count.
pub const MAX_FRAMES: usize = 64;
/// Handshake attempts kept per DTLS flow.
pub const MAX_ATTEMPTS: usize = 32;
/// Different messages kept per handshake attempt; repeats only count.
pub const MAX_MESSAGES: usize = 24;
/// Stretches of data kept per tunnel.
pub const MAX_STRETCHES: usize = 32;
/// Burst beginnings kept per tunnel, for matching inner traffic.
pub const MAX_BURSTS: usize = 32;
/// Lengths of the first records kept, to tell CSTP from other tunnels.
pub const MAX_EARLY: usize = 16;
/// Different small record lengths counted per direction.
const MAX_SMALL: usize = 12;
/// A silence longer than this begins a new stretch of data, nanoseconds.
const SILENCE: i64 = 1_000_000_000;
/// A server that is silent for so long has said its answer, nanoseconds.
const UNASKED: i64 = 5_000_000_000;
/// A record shorter than this may be an alert of TLS 1.3, which ends a connection unasked, bytes.
pub(super) const LONGER_THAN_ALERT: u16 = 25;
/// No HTTP request of the client is shorter than this in a record, and no TLS 1.3 Finished longer, bytes.
pub(super) const REQUEST: u16 = 250;
/// A silence this long begins a new burst, nanoseconds.
const BURST_GAP: i64 = 50_000_000;

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

    /// When the last packet went that way.
    pub fn last_packet(&self, way: Direction) -> Option<Timestamp> {
        *way.of(&self.ended.last_by_direction)
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

/// So many records without an answer, for so many seconds, are remembered though one came.
const LAPSE_RECORDS: u32 = 5;
const LAPSE: f64 = 5.0;

/// Records one side of a tunnel sent since the other side last spoke.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unanswered {
    /// How many.
    pub records: u32,
    /// How many of them have the length of an empty packet: DPD or keepalive.
    pub control: u32,
    /// The first: when and where.
    pub first: (Timestamp, FrameRef),
    /// The last.
    pub last: (Timestamp, FrameRef),
    /// When the tunnel was last heard before the first, either way.
    pub after: Option<Timestamp>,
    /// The longest silence before one of them, nanoseconds.
    pause: i64,
}

impl Unanswered {
    /// It without its last record; the one before that came at this moment or later.
    pub(super) fn without_last(mut self) -> Unanswered {
        self.last.0 = self.first.0.max(self.last.0.plus_seconds(-self.silence()));
        self.records = self.records.saturating_sub(1);
        self
    }

    /// Seconds from the first to the last.
    pub fn seconds(&self) -> f64 {
        self.last.0.seconds_since(self.first.0)
    }

    /// Seconds of the longest silence before one of them.
    pub fn silence(&self) -> f64 {
        self.pause as f64 / 1e9
    }

    /// Both together, of two flows of which one went on where the other stopped.
    pub fn and(self, other: Unanswered) -> Unanswered {
        let (early, late) = if self.first.0 <= other.first.0 { (self, other) } else { (other, self) };
        Unanswered {
            records: early.records.saturating_add(late.records),
            control: early.control.saturating_add(late.control),
            last: if late.last.0 >= early.last.0 { late.last } else { early.last },
            pause: early.pause.max(late.pause),
            ..early
        }
    }

    /// Those that are no DPD or keepalive.
    pub fn data(&self) -> u32 {
        self.records.saturating_sub(self.control)
    }
}

/// The last record each way, and its frame.
pub type Heard = [Option<(Timestamp, FrameRef)>; 2];

/// The records at the end of a tunnel that all went one way: what the other side had sent before is answered by them. The last record
/// each way is kept beside it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastWord {
    first: Timestamp,
    pause: i64,
    records: u32,
    control: u32,
    /// The frame of the first: number and capture apart, which takes less room.
    number: u32,
    capture: u16,
    speaker: Option<Direction>,
}

impl LastWord {
    /// Notes a record behind those last heard; `control` tells whether it has the length of an empty packet.
    fn note(&mut self, at: Timestamp, frame: FrameRef, direction: Direction, control: bool, heard: Heard) {
        let before = self.speaker.and_then(|speaker| *speaker.of(&heard));
        if self.speaker != Some(direction) {
            let FrameRef { capture, number } = frame;
            *self = LastWord { speaker: Some(direction), first: at, number, capture, ..LastWord::default() };
        }
        self.pause = self.pause.max(before.map_or(0, |(before, _)| at.nanos_since(before)));
        self.records = self.records.saturating_add(1);
        self.control = self.control.saturating_add(u32::from(control));
    }

    /// What went that way since anything came back; nothing when the other side spoke last.
    fn of(&self, direction: Direction, heard: Heard) -> Unanswered {
        let Some(last) = direction.of(&heard).filter(|_| self.speaker == Some(direction)) else {
            return Unanswered::default();
        };
        Unanswered {
            records: self.records,
            control: self.control,
            first: (self.first, FrameRef { capture: self.capture, number: self.number }),
            last,
            after: direction.reverse().of(&heard).map(|(at, _)| at),
            pause: self.pause,
        }
    }

    /// Nanoseconds since that side spoke, when it spoke last.
    fn silence(&self, direction: Direction, at: Timestamp, heard: Heard) -> Option<i64> {
        let (last, _) = direction.of(&heard).filter(|_| self.speaker == Some(direction))?;
        Some(at.nanos_since(last))
    }

    /// When the first of them came, to move it in time.
    pub(super) fn first_mut(&mut self) -> &mut Timestamp {
        &mut self.first
    }
}

/// When data flowed through a tunnel.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    /// Stretches of data records, in time order.
    pub stretches: Stretches,
}

impl Activity {
    /// Beginnings of the first [`MAX_BURSTS`] bursts, unordered.
    pub fn bursts(&self) -> impl Iterator<Item = Timestamp> {
        // Those within stretches were noted while there was room: what is too much are the latest stretches.
        let within = self.stretches.bursts_within();
        let begins = self.stretches.iter().take(MAX_BURSTS.saturating_sub(within.len())).map(|stretch| stretch.first);
        begins.chain(within.iter().copied())
    }

    /// How many there are.
    pub fn burst_count(&self) -> usize {
        self.stretches.burst_count().min(MAX_BURSTS)
    }

    /// Notes a data record.
    pub fn add(&mut self, at: Timestamp, frame: FrameRef, direction: Direction, length: u16) {
        let pause = self.stretches.last().map(|latest| at.nanos_since(latest.last));
        if pause.is_none_or(|pause| pause > SILENCE) && self.stretches.are_fewer_than(MAX_STRETCHES) {
            self.stretches.push(Stretch { first: at, frame, last: at, records: [0, 0], bytes: [0, 0] });
        } else if pause.is_some_and(|pause| pause >= BURST_GAP) && self.burst_count() < MAX_BURSTS {
            self.stretches.add_burst(at);
        }
        let Some(stretch) = self.stretches.last_mut() else { return };
        stretch.last = stretch.last.max(at);
        let records = direction.of_mut(&mut stretch.records);
        *records = records.saturating_add(1);
        *direction.of_mut(&mut stretch.bytes) += u64::from(length);
    }
}

/// What the TLS of one TCP connection showed.
#[derive(Debug, Default)]
pub struct TlsFacts {
    /// ClientHello: when, frame, random.
    pub client_hello: Option<(Timestamp, FrameRef, Option<Random>)>,
    /// ServerHello.
    pub server_hello: Option<ServerHelloFacts>,
    /// Application data each way.
    pub data: [DataFacts; 2],
    /// When data (not control records) flowed.
    pub activity: Activity,
    /// What application-data records tell beside data.
    pub early: Early,
    pub(super) last_word: LastWord,
    /// What the ClientHello offers, hashed: equal for equal programs.
    pub hello_shape: u64,
    pub(super) seldom: Option<Box<SeldomInTls>>,
}

/// What few TLS connections show: kept apart, for there may be many.
#[derive(Debug, Default)]
pub struct SeldomInTls {
    /// First alert in the clear.
    pub alert: Option<(Timestamp, FrameRef, Direction, Alert)>,
    /// First handshake record behind application data, each way: a rekey.
    pub renegotiation: [Option<(Timestamp, FrameRef)>; 2],
    /// Host and port that a proxy was asked for in front of it.
    pub proxied_to: Option<Box<str>>,
    /// What was read inside it, with keys.
    pub(super) inside: Option<Box<InsideTls>>,
}

/// A client random, hashed: what names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Random(NonZeroU64);

impl Random {
    /// What stands for that random.
    pub fn new(random: [u8; 32]) -> Random {
        // Never 0, so that an `Option` takes no more room.
        Random(NonZeroU64::MIN.saturating_add(hash(random)))
    }

    /// Does it name anything? One of zeros does not.
    pub fn is_telling(self) -> bool {
        static ZEROS: LazyLock<Random> = LazyLock::new(|| Random::new([0; 32]));
        self != *ZEROS
    }
}

/// Direction and length of the first [`MAX_EARLY`] application-data records of a connection, and what the others tell of what it is.
#[derive(Clone, Debug, Default)]
pub struct Early(Option<Box<EarlyRecords>>);

#[derive(Clone, Debug, Default)]
struct EarlyRecords {
    lengths: [u16; MAX_EARLY],
    /// A bit for each that went to the client.
    to_client: u16,
    count: u8,
    converses: bool,
    /// See [`Early::late`]: lengths, and how many records had them.
    late: [u16; 2],
    as_late: [u32; 2],
    /// Counts of lengths below 200 bytes: where control records and inner ACKs show.
    small: Few<(Direction, u16, u32)>,
}

impl Early {
    /// Adds a record while there is room; a later one is compared with the largest.
    fn add(&mut self, direction: Direction, length: u16) {
        let records = self.0.get_or_insert_default();
        if let Some(place) = records.lengths.get_mut(usize::from(records.count)) {
            *place = length;
            records.to_client |= (direction.index() as u16) << records.count;
            records.count += 1;
            return;
        }
        let (largest, count) = (direction.of_mut(&mut records.late), direction.of_mut(&mut records.as_late));
        if length > *largest {
            (*largest, *count) = (length, 0);
        }
        *count = count.saturating_add(u32::from(length == *largest));
    }

    /// The largest length each way of those behind them, set-up over, data only; and how many had it.
    pub fn late(&self) -> [(u16, u32); 2] {
        self.0.as_ref().map_or([(0, 0); 2], |records| {
            let ([up, down], [as_up, as_down]) = (records.late, records.as_late);
            [(up, as_up), (down, as_down)]
        })
    }

    /// Counts a small record of that length.
    fn count(&mut self, direction: Direction, length: u16) {
        let small = &mut self.0.get_or_insert_default().small;
        let known = small.iter_mut().find(|(way, known, _)| (*way, *known) == (direction, length));
        if let Some((.., count)) = known {
            *count = count.saturating_add(1);
        } else if small.iter().filter(|(way, ..)| *way == direction).count() < MAX_SMALL {
            small.push((direction, length, 1));
        }
    }

    /// There was talk beside question and answer: the gateway, though it had the last word, spoke up after a silence, or what the
    /// client said next was too short for a request.
    pub fn converses(&self) -> bool {
        self.0.as_ref().is_some_and(|records| records.converses)
    }

    /// Lengths of small records, and how often each came.
    pub fn small(&self) -> impl Iterator<Item = (u16, u32)> {
        self.0.iter().flat_map(|records| &records.small).map(|(_, length, count)| (*length, *count))
    }

    /// The records, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Direction, u16)> {
        self.0.iter().flat_map(|records| {
            let directions =
                (0..).map(|i| if records.to_client >> i & 1 == 0 { Direction::ToServer } else { Direction::ToClient });
            directions.zip(records.lengths).take(usize::from(records.count))
        })
    }
}

/// What was read inside a TLS connection.
#[derive(Debug, Default)]
pub struct InsideTls {
    /// CONNECT.
    pub request: Option<(Timestamp, FrameRef, TunnelRequest)>,
    /// Its answer.
    pub answer: Option<(Timestamp, FrameRef, TunnelAnswer)>,
    /// The session tokens said in it, at most [`MAX_TOKENS`].
    pub tokens: Vec<Token>,
    /// The packets behind CONNECT.
    pub packets: Packets,
}

/// Session tokens remembered per connection.
const MAX_TOKENS: usize = 4;

impl InsideTls {
    /// Notes a token.
    pub fn add_token(&mut self, token: Token) {
        if self.tokens.len() < MAX_TOKENS && !self.tokens.contains(&token) {
            self.tokens.push(token);
        }
    }

    /// The answer that granted a tunnel.
    pub fn granted(&self) -> Option<&(Timestamp, FrameRef, TunnelAnswer)> {
        self.answer.as_ref().filter(|(_, _, answer)| answer.status == 200)
    }
}

/// Packets of the tunnel protocol, read with keys.
#[derive(Clone, Debug, Default)]
pub struct Packets {
    /// By direction, then by [`PacketKind::index`].
    pub counts: [[u32; PacketKind::COUNTED]; 2],
    /// The largest IP packet in a data packet each way, bytes.
    pub largest: [u16; 2],
    /// DPD round trips, by the direction of the request.
    pub dpd: [RoundTrips; 2],
    /// The first DISCONNECT or TERMINATE.
    pub bye: Option<Parting>,
    /// What became of the records.
    pub unsealed: Unsealed,
}

/// A DISCONNECT or TERMINATE.
#[derive(Clone, Debug)]
pub struct Parting {
    /// When.
    pub at: Timestamp,
    /// In which frame.
    pub frame: FrameRef,
    /// Which way.
    pub direction: Direction,
    /// TERMINATE rather than DISCONNECT.
    pub is_terminate: bool,
    /// What it says.
    pub bye: Bye,
}

impl Parting {
    /// For people: who said what.
    pub fn words(&self) -> String {
        let by = if self.direction == Direction::ToServer { "client" } else { "gateway" };
        let kind = if self.is_terminate { "TERMINATE" } else { "DISCONNECT" };
        let reason = self.bye.reason.map_or(String::new(), |reason| format!(" 0x{reason:02x}"));
        let text = if self.bye.text.is_empty() { String::new() } else { format!(", \"{}\"", self.bye.text) };
        format!("{kind}{reason} from the {by}: {}{text}", self.bye.meaning())
    }
}

/// Requests and their answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundTrips {
    /// How many were answered.
    pub answered: u32,
    /// Sum of their times, nanoseconds.
    pub total: i64,
    /// The longest, nanoseconds.
    pub longest: i64,
    asked: Option<Timestamp>,
}

impl RoundTrips {
    /// The mean, seconds; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        (self.answered > 0).then(|| self.total as f64 / f64::from(self.answered) / 1e9)
    }
}

impl Packets {
    /// Counts a packet.
    pub fn add(&mut self, at: Timestamp, frame: FrameRef, direction: Direction, packet: TunnelPacket<'_>) {
        if let Some(count) = direction.of_mut(&mut self.counts).get_mut(packet.kind.index()) {
            *count = count.saturating_add(1);
        }
        match packet.kind {
            PacketKind::Data => {
                let largest = direction.of_mut(&mut self.largest);
                *largest = (*largest).max(packet.len);
            }
            PacketKind::DpdRequest => {
                direction.of_mut(&mut self.dpd).asked.get_or_insert(at);
            }
            PacketKind::DpdResponse => {
                let trips = direction.reverse().of_mut(&mut self.dpd);
                if let Some(asked) = trips.asked.take() {
                    let time = at.nanos_since(asked).max(0);
                    trips.answered = trips.answered.saturating_add(1);
                    trips.total = trips.total.saturating_add(time);
                    trips.longest = trips.longest.max(time);
                }
            }
            PacketKind::Disconnect | PacketKind::Terminate => {
                let is_terminate = packet.kind == PacketKind::Terminate;
                let bye = || Parting { at, frame, direction, is_terminate, bye: Bye::parse(packet.payload) };
                self.bye.get_or_insert_with(bye);
            }
            _ => {}
        }
    }

    /// Was any read?
    pub fn any(&self) -> bool {
        self.counts.iter().flatten().any(|count| *count > 0)
    }
}

/// What a ServerHello settled.
#[derive(Clone, Copy, Debug)]
pub struct ServerHelloFacts {
    /// When.
    pub at: Timestamp,
    /// Frame.
    pub frame: FrameRef,
    /// Version.
    pub version: Version,
    /// Suite.
    pub suite: CipherSuite,
    /// encrypt_then_mac (RFC 7366) was agreed.
    pub encrypt_then_mac: bool,
}

impl ServerHelloFacts {
    /// How records are sealed, when the suite is a known one.
    pub fn protection(&self) -> Option<Protection> {
        Some(Protection::new(self.suite.class()?, self.version, self.encrypt_then_mac))
    }
}

/// Application-data records, one way.
#[derive(Clone, Debug, Default)]
pub struct DataFacts {
    /// How many.
    pub records: u32,
    /// Their bytes, headers not counted.
    pub bytes: u64,
    /// The largest.
    pub largest: u16,
    /// The first.
    pub first: Option<Timestamp>,
    /// The last and its frame.
    pub last: Option<(Timestamp, FrameRef)>,
}

impl TlsFacts {
    /// What was read inside it, with keys.
    pub fn inside(&self) -> Option<&InsideTls> {
        self.seldom().inside.as_deref()
    }

    /// What few connections show.
    pub fn seldom(&self) -> &SeldomInTls {
        const NOTHING: &SeldomInTls =
            &SeldomInTls { alert: None, renegotiation: [None; 2], proxied_to: None, inside: None };
        self.seldom.as_deref().unwrap_or(NOTHING)
    }

    /// It, to add to it.
    pub(super) fn seldom_mut(&mut self) -> &mut SeldomInTls {
        self.seldom.get_or_insert_default()
    }

    fn heard(&self) -> Heard {
        self.data.each_ref().map(|data| data.last)
    }

    /// Records that way without an answer by the end.
    pub fn unanswered(&self, direction: Direction) -> Unanswered {
        self.last_word.of(direction, self.heard())
    }

    /// Nanoseconds since that side spoke, when it spoke last.
    pub(super) fn silence(&self, direction: Direction, at: Timestamp) -> Option<i64> {
        self.last_word.silence(direction, at, self.heard())
    }

    /// Is a record neither question nor answer?
    fn is_beside(&self, at: Timestamp, direction: Direction, length: u16) -> bool {
        let silence = self.silence(Direction::ToClient, at);
        let [asked, _] = &self.data;
        match direction {
            Direction::ToClient => silence.is_some_and(|silence| silence >= UNASKED),
            Direction::ToServer => silence.is_some() && length < REQUEST && asked.largest >= REQUEST,
        }
    }

    /// Notes an application-data record; `control` tells whether it has the length of an empty CSTP frame.
    pub fn add_data(&mut self, at: Timestamp, frame: FrameRef, direction: Direction, length: u16, control: bool) {
        self.early.add(direction, length);
        if !control && length > 0 {
            self.activity.add(at, frame, direction, length);
        }
        if length >= LONGER_THAN_ALERT && self.is_beside(at, direction, length) {
            self.early.0.get_or_insert_default().converses = true;
        }
        self.last_word.note(at, frame, direction, control, self.heard());
        let data = direction.of_mut(&mut self.data);
        data.records = data.records.saturating_add(1);
        data.bytes += u64::from(length);
        data.largest = data.largest.max(length);
        data.first.get_or_insert(at);
        data.last = Some((at, frame));
        if length < 200 {
            self.early.count(direction, length);
        }
    }
}

/// What the DTLS of one UDP flow showed.
#[derive(Debug, Default)]
pub struct DtlsFacts {
    // First what each record changes, so that it lies together in memory.
    /// When data flowed.
    pub activity: Activity,
    pub(super) last_word: LastWord,
    /// Last record of epoch 1 or later each way.
    pub(super) heard: Heard,
    /// Application-data records each way.
    pub records: [u32; 2],
    /// Largest application-data record each way.
    pub largest: [u16; 2],
    /// Version of the last record.
    pub version: Option<Version>,
    pub(super) known: Option<Known>,
    /// Epochs and sequence numbers, each way.
    pub sequence: [Sequence; 2],
    /// Largest datagram each way: IP length, and its frame.
    pub largest_datagram: [Option<(NonZeroU32, FrameRef)>; 2],
    /// First record of epoch 1 or later each way.
    pub protected: [Option<Timestamp>; 2],
    /// First application-data record each way.
    pub first: [Option<(Timestamp, FrameRef)>; 2],
    /// Handshake attempts, by client random.
    pub attempts: Few<AttemptFacts>,
    pub(super) seldom: Option<Box<SeldomInDtls>>,
}

/// What the last attempt says of each record: reckoned anew behind each handshake message and for another version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Length of a record around an empty packet, when the suite is known.
    pub control: Option<NonZeroU16>,
    /// A record of epoch 1 or later was noted, each way.
    pub protected: [bool; 2],
}

/// What few DTLS flows show: kept apart, for there may be many.
#[derive(Debug, Default)]
pub struct SeldomInDtls {
    /// First handshake record of epoch 1 or later behind application data, each way: a rekey.
    pub renegotiation: [Option<(Timestamp, FrameRef)>; 2],
    /// Last application-data record each way, where another one was heard behind it.
    pub(super) last: Heard,
    /// First encrypted alert.
    pub sealed_alert: Option<(Timestamp, FrameRef, Direction)>,
    /// Handshake messages of a server that nobody asked here: how many, and the first.
    pub unasked: (u32, Option<(Timestamp, FrameRef)>),
    /// Long records of the client soon after set-up, and which the server answered with one as long.
    pub probes: Vec<Probe>,
    /// The longest time in which the client's records went unanswered until an answer came, and that answer.
    pub lapse: Option<Box<(Unanswered, (Timestamp, FrameRef))>>,
    /// The packets read in it, with keys.
    pub inside: Option<Box<Packets>>,
}

/// A record length of the client's first seconds: what a search for the path MTU looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Record length, bytes.
    pub length: u16,
    /// IP length of the datagram, bytes.
    pub ip_len: u32,
    /// How often the client sent it.
    pub sent: u32,
    /// How often the server sent a record as long, afterwards.
    pub answered: u32,
    /// First frame.
    pub frame: FrameRef,
    /// First and last sending.
    pub first: Timestamp,
    /// Last sending.
    pub last: Timestamp,
}

impl DtlsFacts {
    /// Records that way without an answer by the end.
    pub fn unanswered(&self, direction: Direction) -> Unanswered {
        self.last_word.of(direction, self.heard)
    }

    /// Last application-data record each way.
    pub fn last(&self) -> Heard {
        [Direction::ToServer, Direction::ToClient].map(|way| {
            let last = way.of(&self.seldom().last).or(*way.of(&self.heard));
            last.filter(|_| *way.of(&self.records) > 0)
        })
    }

    /// Notes a record of epoch 1 or later; `control` tells whether it has the length of an empty packet.
    #[inline]
    pub fn hear(&mut self, at: Timestamp, frame: FrameRef, direction: Direction, control: bool) {
        if direction == Direction::ToClient {
            self.answered(at, frame);
        }
        self.last_word.note(at, frame, direction, control, self.heard);
        *direction.of_mut(&mut self.heard) = Some((at, frame));
    }

    /// A record of the server comes: remembers how long the client's went unanswered, where that was long.
    fn answered(&mut self, at: Timestamp, frame: FrameRef) {
        if self.last_word.records < LAPSE_RECORDS {
            return;
        }
        let said = self.unanswered(Direction::ToServer);
        if said.records > 0 && said.seconds() >= LAPSE {
            let lapse = Box::new((said, (at, frame)));
            let longest = &mut self.seldom_mut().lapse;
            if longest.as_ref().is_none_or(|longest| longest.0.seconds() < lapse.0.seconds()) {
                *longest = Some(lapse);
            }
        }
    }

    /// Both Finished went, and one side took the other's for wrong: an encrypted alert at once, and no data both ways.
    pub fn rejected(&self) -> Option<Direction> {
        /// An alert later than this is about something else, seconds.
        const AT_ONCE: f64 = 5.0;
        let (at, _, direction) = self.seldom().sealed_alert?;
        let [up, down] = self.protected;
        let after = at.seconds_since(up?.max(down?));
        (self.records.contains(&0) && (0.0..AT_ONCE).contains(&after)).then_some(direction)
    }

    /// When the last attempt that was completed was.
    pub fn last_completed(&self) -> Option<Timestamp> {
        let [up, down] = self.protected;
        if let ([only], Some(up), Some(down)) = (&*self.attempts, up, down)
            && only.first <= up.min(down)
        {
            return Some(up.max(down));
        }
        self.attempts.iter().filter_map(|attempt| Some(attempt.completed_at()?.0)).max()
    }

    /// The gateway repeats its Finished and never says more: the client's own, whether it was sent or not, does not reach it.
    pub fn waits_for_client(&self) -> bool {
        /// One Finished of the client may get lost on any path.
        const REPEATED: u32 = 3;
        let of_gateway = |m: &Message| m.kind == MessageKind::Finished && m.direction == Direction::ToClient;
        let finished = || self.attempts.last()?.messages().find(of_gateway);
        Direction::ToClient.of(&self.records) == &0 && finished().is_some_and(|m| m.count >= REPEATED)
    }

    /// Its handshake was before the capture: protected records without any.
    pub fn was_up(&self) -> bool {
        self.attempts.is_empty() && self.protected.iter().any(Option::is_some)
    }

    /// What few flows show.
    pub fn seldom(&self) -> &SeldomInDtls {
        const NOTHING: &SeldomInDtls = &SeldomInDtls {
            renegotiation: [None; 2],
            last: [None; 2],
            sealed_alert: None,
            unasked: (0, None),
            probes: Vec::new(),
            lapse: None,
            inside: None,
        };
        self.seldom.as_deref().unwrap_or(NOTHING)
    }

    /// It, to add to it.
    pub(super) fn seldom_mut(&mut self) -> &mut SeldomInDtls {
        self.seldom.get_or_insert_default()
    }

    /// Notes an application-data record as long as a search for the path MTU would send.
    pub fn probe(&mut self, at: Timestamp, frame: FrameRef, direction: Direction, length: u16, ip_len: u32) {
        /// No probe is shorter (RFC 791: 576 bytes pass everywhere), bytes.
        const SHORTEST: u16 = 500;
        /// The search is over so long after the first record, seconds (openconnect: 10 s).
        const SEARCH: f64 = 12.0;
        /// Lengths kept.
        const MOST: usize = 16;
        let began = || self.first.iter().flatten().map(|(at, _)| *at).min();
        if length < SHORTEST || began().is_some_and(|began| at.seconds_since(began) > SEARCH) {
            return;
        }
        if direction == Direction::ToClient && self.seldom.is_none() {
            return;
        }
        let probes = &mut self.seldom_mut().probes;
        let known = probes.iter_mut().find(|p| p.length == length);
        match (known, direction) {
            (Some(probe), Direction::ToServer) => {
                probe.sent = probe.sent.saturating_add(1);
                probe.last = at;
            }
            (Some(probe), Direction::ToClient) => probe.answered = probe.answered.saturating_add(1),
            (None, Direction::ToClient) => {}
            (None, Direction::ToServer) => {
                if probes.len() < MOST {
                    probes.push(Probe { length, ip_len, sent: 1, answered: 0, frame, first: at, last: at });
                }
            }
        }
    }
}

/// Record numbers of one direction: what is missing among them was lost before this point (RFC 6347 §4.1).
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    /// The highest record so far.
    pub highest: Option<RecordNumber>,
    second: u32,
    /// Records seen in that second.
    now: u32,
    /// Records seen in seconds with the fewest.
    slow: u32,
    seldom: Option<Box<SeldomInSequence>>,
}

/// What few sequences show: kept apart, for there may be many.
#[derive(Clone, Debug, Default)]
pub struct SeldomInSequence {
    /// The first record seen, where it was not [`RecordNumber::FIRST`].
    first: Option<RecordNumber>,
    /// Numbers passed over and not seen since.
    pub missing: u32,
    /// Of them in the latest second, and in seconds with the fewest records.
    now: u32,
    slow: u32,
    /// Numbers that were passed over in silence: nobody knows at which rate they were sent.
    pub in_silence: u32,
    /// The longest such silence, whole seconds.
    pub silence: u32,
    /// Records that came behind a higher one.
    pub late: u32,
    /// When numbers were first and last passed over.
    pub gaps: Option<(Timestamp, Timestamp)>,
    /// Seconds with more records, and with ever more of them: [`RATES`].
    faster: [Rate; RATES.len()],
}

/// Epoch and sequence number of a DTLS record, in that order, as they stand on the wire (RFC 6347 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordNumber(NonZeroU64);

impl RecordNumber {
    const SEQUENCE_BITS: u32 = 48;
    /// The first that is sealed: number 0 of epoch 1.
    pub const FIRST: RecordNumber = RecordNumber(NonZeroU64::MIN.saturating_add(1 << RecordNumber::SEQUENCE_BITS));

    /// Of a sequence number only 48 bits are kept.
    pub fn new(epoch: u16, sequence: u64) -> RecordNumber {
        let sequence = sequence & ((1 << RecordNumber::SEQUENCE_BITS) - 1);
        let both = u64::from(epoch) << RecordNumber::SEQUENCE_BITS | sequence;
        // Never 0, so that an `Option` takes no more room; the very last number of all counts as the one before.
        RecordNumber(NonZeroU64::MIN.saturating_add(both))
    }

    fn both(self) -> u64 {
        self.0.get() - 1
    }

    /// The epoch.
    pub fn epoch(self) -> u16 {
        (self.both() >> RecordNumber::SEQUENCE_BITS) as u16
    }

    /// The number within it.
    pub fn sequence(self) -> u64 {
        self.both() & ((1 << RecordNumber::SEQUENCE_BITS) - 1)
    }
}

/// Upper bounds of records in a second, for [`Sequence::rates`]; the last has none.
pub const RATES: [u32; 4] = [16, 64, 256, 1024];

/// Records and losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Records seen.
    pub seen: u32,
    /// Numbers missing.
    pub missing: u32,
}

impl Rate {
    /// The share that is missing, 1 = all.
    pub fn share(self) -> f64 {
        let sent = f64::from(self.seen) + f64::from(self.missing);
        if sent > 0.0 { f64::from(self.missing) / sent } else { 0.0 }
    }

    /// Few may be missing, but at least a dozen, and a tenth of all.
    pub fn loses_much(self) -> bool {
        self.missing >= 12 && self.share() >= 0.1
    }
}

impl Sequence {
    /// A jump longer than this is no loss but another sender, or a capture that began anew.
    const LONGEST_GAP: u64 = 10_000;
    /// So long without a record is a silence, seconds.
    const SILENCE: u32 = 3;

    /// Is it the latest record once more? No number is used twice (RFC 6347 §4.1): its frame was copied, by the capture or on the way.
    pub fn is_copy(&self, number: RecordNumber) -> bool {
        self.highest == Some(number)
    }

    /// The first record seen.
    pub fn first(&self) -> Option<RecordNumber> {
        self.highest.map(|_| self.seldom().first.unwrap_or(RecordNumber::FIRST))
    }

    /// Numbers passed over and not seen since.
    pub fn missing(&self) -> u32 {
        self.seldom().missing
    }

    /// Notes a record.
    pub fn note(&mut self, at: Timestamp, number: RecordNumber) {
        let second = at.nanos().div_euclid(1_000_000_000) as u32;
        let since = second.wrapping_sub(self.second);
        if since != 0 {
            self.flush();
            self.second = second;
        }
        self.now = self.now.saturating_add(1);
        let Some(last) = self.highest else {
            self.highest = Some(number);
            if number != RecordNumber::FIRST {
                self.seldom.get_or_insert_default().first = Some(number);
            }
            return;
        };
        if number > last {
            let gap = number.both() - last.both() - 1;
            if number.epoch() == last.epoch() && (1..=Self::LONGEST_GAP).contains(&gap) {
                let (gap, seldom) = (gap as u32, self.seldom.get_or_insert_default());
                seldom.missing = seldom.missing.saturating_add(gap);
                seldom.gaps.get_or_insert((at, at)).1 = at;
                if (Self::SILENCE..=i32::MAX as u32).contains(&since) {
                    seldom.in_silence = seldom.in_silence.saturating_add(gap);
                    seldom.silence = seldom.silence.max(since);
                } else {
                    seldom.now = seldom.now.saturating_add(gap);
                }
            }
            self.highest = Some(number);
        } else {
            let seldom = self.seldom.get_or_insert_default();
            let found = u32::from(number.sequence() != last.sequence());
            seldom.late = seldom.late.saturating_add(1);
            seldom.missing = seldom.missing.saturating_sub(found);
            seldom.now = seldom.now.saturating_sub(found);
        }
    }

    /// What few show.
    pub fn seldom(&self) -> &SeldomInSequence {
        const NOTHING: &SeldomInSequence = &SeldomInSequence {
            first: None,
            missing: 0,
            now: 0,
            slow: 0,
            in_silence: 0,
            silence: 0,
            late: 0,
            gaps: None,
            faster: [Rate { seen: 0, missing: 0 }; RATES.len()],
        };
        self.seldom.as_deref().unwrap_or(NOTHING)
    }

    /// When numbers were passed over, to move it in time.
    pub(super) fn gaps_mut(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        let gaps = self.seldom.as_deref_mut().and_then(|seldom| seldom.gaps.as_mut());
        gaps.into_iter().flat_map(|(first, last)| [first, last])
    }

    /// The rates, the last second included: in seconds with few records and with ever more of them ([`RATES`]).
    pub fn rates(&self) -> [Rate; 1 + RATES.len()] {
        let mut whole = self.clone();
        whole.flush();
        let &SeldomInSequence { slow: missing, faster: [a, b, c, d], .. } = whole.seldom();
        [Rate { seen: whole.slow, missing }, a, b, c, d]
    }

    /// Records seen and missing.
    pub fn counted(&self) -> Rate {
        Rate { seen: self.rates().iter().map(|r| r.seen).sum(), missing: self.missing() }
    }

    fn flush(&mut self) {
        let seen = std::mem::take(&mut self.now);
        let missing = self.seldom.as_mut().map_or(0, |seldom| std::mem::take(&mut seldom.now));
        let sent = seen.saturating_add(missing);
        let faster = RATES.iter().take_while(|least| sent >= **least).count();
        if let Some(place) = faster.checked_sub(1) {
            if let Some(rate) = self.seldom.get_or_insert_default().faster.get_mut(place) {
                rate.seen = rate.seen.saturating_add(seen);
                rate.missing = rate.missing.saturating_add(missing);
            }
            return;
        }
        self.slow = self.slow.saturating_add(seen);
        if let Some(seldom) = &mut self.seldom {
            seldom.slow = seldom.slow.saturating_add(missing);
        }
    }
}

/// One DTLS handshake attempt.
#[derive(Clone, Debug)]
pub struct AttemptFacts {
    /// Client random: the attempt's name.
    pub random: Random,
    /// ClientHello session id.
    pub session_id: SessionId,
    /// DTLS itself set that session up: it comes with a ticket, or a full handshake gave its id.
    pub is_own: bool,
    /// Record version of the first ClientHello.
    pub version: Version,
    /// Version inside the first ClientHello.
    pub hello_version: Version,
    /// Suites offered: the first, and how many.
    pub suites: (CipherSuite, u16),
    /// First ClientHello.
    pub first: Timestamp,
    /// ClientHellos, repeats included.
    pub hellos: u32,
    /// Of them with a cookie.
    pub with_cookie: u32,
    /// Different cookies the server gave, in a row.
    pub cookies: u16,
    /// ClientHellos that echoed the last of them.
    pub echoed: u16,
    /// The last of them, hashed.
    pub cookie: u64,
    /// Suite of the ServerHello.
    pub suite: Option<CipherSuite>,
    /// Version of the ServerHello.
    pub server_version: Option<Version>,
    /// ServerHello session id equals the ClientHello's: resumption.
    pub resumed: bool,
    /// A Certificate came: a full handshake.
    pub certificate: bool,
    /// A handshake message of the server came in pieces, and some never came.
    pub unfinished: bool,
    /// Message sequences of the server that came whole, a bit each.
    pub server_messages: u32,
    /// Largest datagram of the server's handshake, IP bytes.
    pub largest_flight: u32,
    /// ServerHelloDone came.
    pub server_done: bool,
    /// ChangeCipherSpec, each way.
    pub ccs: [bool; 2],
    /// See [`AttemptFacts::messages`], each as it first came; further ones only of the kinds that are asked for by name.
    pub(super) noted: Packed<Message, 3>,
    /// A bit for each of them, which other handshake messages may share: what lacks its own is not among them.
    pub(super) kinds: u32,
    pub(super) seldom: Option<Box<SeldomInAttempt>>,
}

/// What few attempts show: kept apart, for there may be many.
#[derive(Clone, Debug, Default)]
pub struct SeldomInAttempt {
    /// First alert in the clear.
    pub alert: Option<(Timestamp, FrameRef, Direction, Alert)>,
    /// First epoch-1 record each way, where it is not the Finished among the messages.
    protected: Option<Box<Heard>>,
    /// The messages that came more than once.
    pub(super) repeats: Few<Repeats>,
    /// ClientHellos that are not on the list of messages, being repeats: their frames and times.
    pub(super) hellos: Packed<(FrameRef, Timestamp), 2>,
}

/// A message that came more than once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeats {
    /// Its place in the list.
    place: u8,
    /// How often it came behind the first.
    count: u32,
    /// The last of them.
    pub last: Timestamp,
}

/// A kind of handshake message, one way, with its repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Which.
    pub kind: MessageKind,
    /// Which way it went.
    pub direction: Direction,
    /// How often it was seen.
    pub count: u32,
    /// The first of them.
    pub first: (Timestamp, FrameRef),
}

impl Numbered<3> for Message {
    fn numbers(&self) -> [i64; 3] {
        let (at, frame) = self.first;
        [at.nanos(), number_of(frame), self.kind.one_way(self.direction)]
    }

    fn of([at, frame, kind]: [i64; 3]) -> Message {
        let direction = if kind & 1 == 0 { Direction::ToServer } else { Direction::ToClient };
        let first = (Timestamp::from_nanos(at), frame_of(frame));
        Message { kind: MessageKind::of(kind >> 1), direction, count: 1, first }
    }
}

/// What stands on a rung of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// A handshake message of that type (RFC 6347 §4.3.2), in the clear.
    Handshake(u8),
    /// A ClientHello that carries a cookie.
    HelloWithCookie,
    /// ChangeCipherSpec.
    ChangeCipherSpec,
    /// The first sealed handshake record behind it.
    Finished,
}

impl MessageKind {
    /// ClientHello without a cookie.
    pub const CLIENT_HELLO: MessageKind = MessageKind::Handshake(1);
    /// ServerHello.
    pub const SERVER_HELLO: MessageKind = MessageKind::Handshake(2);
    /// HelloVerifyRequest.
    pub const HELLO_VERIFY: MessageKind = MessageKind::Handshake(3);
    /// Certificate.
    pub const CERTIFICATE: MessageKind = MessageKind::Handshake(11);

    fn is_client_hello(self) -> bool {
        matches!(self, MessageKind::CLIENT_HELLO | MessageKind::HelloWithCookie)
    }

    /// A small number, at rest.
    fn number(self) -> i64 {
        match self {
            MessageKind::HelloWithCookie => 0,
            MessageKind::ChangeCipherSpec => 1,
            MessageKind::Finished => 2,
            MessageKind::Handshake(kind) => 3 + i64::from(kind),
        }
    }

    /// A small number for it that way.
    fn one_way(self, direction: Direction) -> i64 {
        self.number() << 1 | direction.index() as i64
    }

    /// Its bit in [`AttemptFacts::kinds`]; of handshake messages some share one.
    fn bit(self, direction: Direction) -> u32 {
        let place = match self {
            MessageKind::Handshake(kind) => MessageKind::Handshake(kind % 13),
            other => other,
        };
        1 << place.one_way(direction)
    }

    /// The kind of that number.
    fn of(number: i64) -> MessageKind {
        match number {
            0 => MessageKind::HelloWithCookie,
            1 => MessageKind::ChangeCipherSpec,
            2 => MessageKind::Finished,
            _ => MessageKind::Handshake((number - 3) as u8),
        }
    }
}

impl SeldomInAttempt {
    /// First epoch-1 records, to move them in time.
    pub(super) fn protected_mut(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        self.protected.iter_mut().flat_map(|protected| protected.iter_mut().flatten()).map(|(at, _)| at)
    }
}

impl AttemptFacts {
    /// Puts a message on the list, or counts it as a repeat; did it go on the list?
    pub fn note(&mut self, kind: MessageKind, direction: Direction, at: Timestamp, frame: FrameRef) -> bool {
        let Some((place, first)) = self.known(kind, direction) else {
            let is_asked_for = matches!(kind, MessageKind::HELLO_VERIFY | MessageKind::SERVER_HELLO);
            let has_room = is_asked_for || self.noted.is_shorter_than(MAX_MESSAGES);
            if has_room {
                self.noted.push(&Message { kind, direction, count: 1, first: (at, frame) });
                self.kinds |= kind.bit(direction);
            }
            return has_room;
        };
        let repeats = &mut self.seldom.get_or_insert_default().repeats;
        match repeats.iter_mut().find(|repeats| repeats.place == place) {
            Some(repeats) => {
                repeats.count = repeats.count.saturating_add(1);
                repeats.last = repeats.last.max(at);
            }
            None => repeats.push(Repeats { place, count: 1, last: first.first.0.max(at) }),
        }
        false
    }

    /// Its messages in the order they first came, at most [`MAX_MESSAGES`]; what has no number of its own stays out.
    pub fn messages(&self) -> impl Iterator<Item = Message> {
        self.counted().take(MAX_MESSAGES)
    }

    fn counted(&self) -> impl Iterator<Item = Message> {
        let counted = |(place, message)| {
            let more = self.repeats(place).map_or(0, |repeats| repeats.count);
            Message { count: more.saturating_add(1), ..message }
        };
        (0..).zip(self.noted.iter()).map(counted)
    }

    /// How many HelloVerifyRequests came.
    pub fn hello_verifies(&self) -> u32 {
        self.count(MessageKind::HELLO_VERIFY)
    }

    /// How many ServerHellos came.
    pub fn server_hellos(&self) -> u32 {
        self.count(MessageKind::SERVER_HELLO)
    }

    fn count(&self, kind: MessageKind) -> u32 {
        self.counted().filter(|message| message.kind == kind).map(|message| message.count).fold(0, u32::saturating_add)
    }

    /// Frames and times of its ClientHellos, at most [`MAX_FRAMES`].
    pub fn hello_frames(&self) -> impl Iterator<Item = (FrameRef, Timestamp)> {
        let first = self.noted.iter().filter(|message| message.kind.is_client_hello()).map(|message| message.first);
        let repeats = self.seldom.iter().flat_map(|seldom| seldom.hellos.iter());
        let mut frames: Vec<_> = first.map(|(at, frame)| (frame, at)).chain(repeats).collect();
        frames.sort_by_key(|(frame, _)| *frame);
        frames.into_iter().take(MAX_FRAMES)
    }

    /// The latest ClientHello.
    pub fn last(&self) -> Timestamp {
        let hellos = self.noted.iter().filter(|message| message.kind.is_client_hello());
        hellos.map(|message| self.last_of(&message)).max().unwrap_or(self.first)
    }

    /// When the gateway first answered.
    pub fn first_answer(&self) -> Option<Timestamp> {
        self.noted.iter().filter(|m| m.direction == Direction::ToClient).map(|m| m.first.0).min()
    }

    /// The first HelloVerifyRequest.
    pub fn hello_verify(&self) -> Option<(Timestamp, FrameRef)> {
        self.first_of(MessageKind::HELLO_VERIFY)
    }

    /// The first ServerHello.
    pub fn server_hello(&self) -> Option<(Timestamp, FrameRef)> {
        self.first_of(MessageKind::SERVER_HELLO)
    }

    fn first_of(&self, kind: MessageKind) -> Option<(Timestamp, FrameRef)> {
        self.noted.iter().find(|message| message.kind == kind).map(|message| message.first)
    }

    /// The first message of that kind that went that way, and its place.
    fn known(&self, kind: MessageKind, direction: Direction) -> Option<(u8, Message)> {
        if self.kinds & kind.bit(direction) == 0 {
            return None;
        }
        (0..).zip(self.noted.iter()).find(|(_, m)| m.kind == kind && m.direction == direction)
    }

    fn repeats(&self, place: u8) -> Option<&Repeats> {
        self.seldom.as_ref()?.repeats.iter().find(|repeats| repeats.place == place)
    }

    /// When the last of those messages of it was seen.
    pub fn last_of(&self, message: &Message) -> Timestamp {
        let known = self.known(message.kind, message.direction);
        let repeats = known.and_then(|(place, _)| self.repeats(place));
        repeats.map_or(message.first.0, |repeats| repeats.last)
    }

    /// First alert in the clear.
    pub fn alert(&self) -> Option<(Timestamp, FrameRef, Direction, Alert)> {
        self.seldom.as_ref()?.alert
    }

    /// First epoch-1 record, each way.
    pub fn protected(&self) -> Heard {
        let mut first = self.protected_unfinished();
        if [Direction::ToServer, Direction::ToClient].into_iter().any(|way| self.has_finished(way)) {
            let finished = self.noted.iter().filter(|message| message.kind == MessageKind::Finished);
            finished.for_each(|message| _ = message.direction.of_mut(&mut first).get_or_insert(message.first));
        }
        first
    }

    /// Was an epoch-1 record seen that way?
    pub fn is_protected(&self, way: Direction) -> bool {
        self.has_finished(way) || way.of(&self.protected_unfinished()).is_some()
    }

    fn has_finished(&self, way: Direction) -> bool {
        self.kinds & MessageKind::Finished.bit(way) != 0
    }

    fn protected_unfinished(&self) -> Heard {
        self.seldom.as_ref().and_then(|seldom| seldom.protected.as_deref()).copied().unwrap_or_default()
    }

    /// Notes an epoch-1 record, behind the message it may be.
    pub(super) fn protect(&mut self, way: Direction, at: Timestamp, frame: FrameRef) {
        if !self.is_protected(way) {
            let protected = self.seldom.get_or_insert_default().protected.get_or_insert_default();
            *way.of_mut(protected) = Some((at, frame));
        }
    }

    /// The suite offered, when there is no other.
    pub fn only_suite(&self) -> Option<CipherSuite> {
        let (first, count) = self.suites;
        (count == 1).then_some(first)
    }

    /// The version to name: the one agreed, else the one offered.
    pub fn spoken(&self) -> Version {
        self.server_version.unwrap_or(self.hello_version)
    }

    /// Did an answer reach the client? It echoes the cookie of a HelloVerifyRequest that was not captured.
    pub fn was_heard(&self) -> bool {
        self.hello_verify().is_some() || self.server_hello().is_some() || self.with_cookie > 0
    }

    /// Did nothing come back?
    pub fn is_unanswered(&self) -> bool {
        self.hello_verify().is_none()
            && self.server_hello().is_none()
            && self.alert().is_none()
            && ![Direction::ToServer, Direction::ToClient].into_iter().any(|way| self.is_protected(way))
    }

    /// Does a message of the server's flight lack a piece, or all of itself?
    pub fn lacks_messages(&self) -> bool {
        // Ones without a gap, whatever the first of them is, make a power of two when shifted down and increased.
        let seen = self.server_messages.checked_shr(self.server_messages.trailing_zeros()).unwrap_or_default();
        self.unfinished || !(seen.wrapping_add(1)).is_power_of_two() && seen != 0
    }

    /// When both sides had sent an epoch-1 record (protocol: completed), if they have.
    pub fn completed_at(&self) -> Option<(Timestamp, FrameRef)> {
        let [up, down] = self.protected();
        let (up, down) = (up?, down?);
        Some(if up.0 >= down.0 { up } else { down })
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
            tls.add_data(Timestamp::default().plus_seconds(said_at), frame, ToServer, 100, false);
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
    fn the_first_bursts_are_told_whether_stretches_begin_with_them_or_not() {
        let (mut activity, mut at) = (Activity::default(), Timestamp::default());
        let moments = [2.0, 0.1, 0.1].into_iter().cycle().map(|pause| {
            at = at.plus_seconds(pause);
            at
        });
        let moments: Vec<Timestamp> = moments.take(2 * MAX_BURSTS).collect();
        for at in &moments {
            activity.add(*at, FrameRef::default(), Direction::ToServer, 500);
        }
        let mut bursts: Vec<Timestamp> = activity.bursts().collect();
        bursts.sort_unstable();
        assert_eq!(bursts, moments[..MAX_BURSTS]);
        assert_eq!(activity.burst_count(), MAX_BURSTS);
        assert_eq!(activity.stretches.iter().count(), moments.len().div_ceil(3));
    }

    #[test]
    fn the_latest_record_once_more_is_a_copy() {
        let (mut sequence, number) = (Sequence::default(), |n| RecordNumber::new(1, n));
        assert!(!sequence.is_copy(number(0)), "nothing came yet");
        for n in [0, 1, 3] {
            assert!(!sequence.is_copy(number(n)));
            sequence.note(Timestamp::default(), number(n));
        }
        assert!(sequence.is_copy(number(3)));
        assert!(
            !sequence.is_copy(number(1)) && !sequence.is_copy(RecordNumber::new(2, 3)),
            "late, and of another epoch"
        );
        assert_eq!(sequence.missing(), 1);
    }

    #[test]
    fn what_is_kept_of_each_flow_is_small() {
        // As large as what `dissect` kept of a TCP flow, whose room it takes when the capture ends.
        assert!(size_of::<FlowFacts>() <= 192, "{}", size_of::<FlowFacts>());
        assert!(size_of::<TlsFacts>() <= 192, "{}", size_of::<TlsFacts>());
        assert!(size_of::<EarlyRecords>() <= 64, "{}", size_of::<EarlyRecords>());
        assert!(size_of::<DtlsFacts>() <= 256, "{}", size_of::<DtlsFacts>());
        assert!(size_of::<AttemptFacts>() <= 128, "{}", size_of::<AttemptFacts>());
    }
}
