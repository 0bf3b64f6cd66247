//! What the TLS of one TCP connection showed.

use super::super::few::Few;
use super::super::mtu::Protection;
use super::super::openings::{INNER_ACKS, Openings};
use super::super::stretches::Stretch;
use super::inside::InsideTls;
use super::said::{Activity, Heard, Lapsed, LastWord, Unanswered, keep_longest, spoke_until};
use crate::event::{Alert, CipherSuite, Direction, FrameRef, Timestamp, Version};
use crate::maps::hash;
use std::num::NonZeroU64;
use std::sync::LazyLock;

/// Lengths of the first records kept, to tell CSTP from other tunnels.
pub const MAX_EARLY: usize = 16;
/// Different small record lengths counted per direction.
const MAX_SMALL: usize = 12;
/// Records shorter than this are counted by length, bytes.
const SMALL: u16 = 200;
/// So much data of the client waits for an answer.
const WAITED: u32 = 5;
/// A server that is silent for so long has said its answer, nanoseconds.
const UNASKED: i64 = 5_000_000_000;
/// A record shorter than this may be an alert of TLS 1.3, which ends a connection unasked, bytes.
pub(in crate::session) const LONGER_THAN_ALERT: u16 = 25;
/// No HTTP request of the client is shorter than this in a record, and no TLS 1.3 Finished longer, bytes.
pub(in crate::session) const REQUEST: u16 = 250;

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
    pub(in crate::session) last_word: LastWord,
    /// What the ClientHello offers, hashed: equal for equal programs.
    pub hello_shape: u64,
    pub(in crate::session) seldom: Option<Box<SeldomInTls>>,
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
    /// The longest time in which data of the client went unanswered until an answer came, and that answer.
    pub lapse: Option<Box<Lapsed>>,
    /// What was read inside it, with keys.
    pub(in crate::session) inside: Option<Box<InsideTls>>,
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
pub(super) struct EarlyRecords {
    /// With [`TO_CLIENT`] of those that went to the client.
    lengths: [u16; MAX_EARLY],
    openings: Openings,
    count: u8,
    converses: bool,
    /// See [`Early::late`]: lengths, and how many records had them.
    late: [u16; 2],
    as_late: [u32; 2],
    /// Counts of lengths below [`SMALL`]: where control records and inner ACKs show.
    small: Few<(Direction, u16, u32)>,
}

/// No record is so long.
const TO_CLIENT: u16 = 1 << 15;

impl Early {
    /// Adds a record while there is room; a later one is compared with the largest.
    fn add(&mut self, direction: Direction, length: u16) {
        let records = self.0.get_or_insert_default();
        if let Some(place) = records.lengths.get_mut(usize::from(records.count)) {
            let way = if direction == Direction::ToClient { TO_CLIENT } else { 0 };
            *place = length.min(TO_CLIENT - 1) | way;
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

    /// At some time a quarter of all records so far had the length of an inner ACK, or several TCP connections opened inside, by the
    /// lengths of records.
    pub fn was_told(&self) -> bool {
        self.0.as_ref().is_some_and(|records| records.openings.are_enough())
    }

    /// Lengths of small records, and how often each came.
    pub fn small(&self) -> impl Iterator<Item = (u16, u32)> {
        self.0.iter().flat_map(|records| &records.small).map(|(_, length, count)| (*length, *count))
    }

    /// The records, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Direction, u16)> {
        self.0.iter().flat_map(|records| {
            let split = |length: u16| match length & TO_CLIENT {
                0 => (Direction::ToServer, length),
                _ => (Direction::ToClient, length & !TO_CLIENT),
            };
            records.lengths.into_iter().map(split).take(usize::from(records.count))
        })
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
            &SeldomInTls { alert: None, renegotiation: [None; 2], proxied_to: None, lapse: None, inside: None };
        self.seldom.as_deref().unwrap_or(NOTHING)
    }

    /// It, to add to it.
    pub(in crate::session) fn seldom_mut(&mut self) -> &mut SeldomInTls {
        self.seldom.get_or_insert_default()
    }

    fn heard(&self) -> Heard {
        self.data.each_ref().map(|data| data.last)
    }

    /// Records that way without an answer by the end.
    pub fn unanswered(&self, direction: Direction) -> Unanswered {
        self.last_word.of(direction, self.heard())
    }

    /// Its stretches of data, each to where that side may have spoken last: at its end the other one may have gone on alone.
    pub fn spoken(&self, side: Direction) -> impl Iterator<Item = Stretch> {
        let lapse = self.seldom().lapse.as_deref().filter(|_| side == Direction::ToClient);
        let last = side.of(&self.data).last.map(|(at, _)| at);
        self.activity.stretches.iter().map(move |s| Stretch { last: spoke_until(lapse, last, &s), ..s })
    }

    /// Nanoseconds since that side spoke, when it spoke last.
    pub(in crate::session) fn silence(&self, direction: Direction, at: Timestamp) -> Option<i64> {
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

    /// Now and then weighs the records so far: see [`Early::was_told`].
    fn weigh(&mut self, protection: Protection) {
        /// Fewer tell little.
        const ENOUGH: u32 = 64;
        let [up, down] = self.data.each_ref().map(|data| data.records);
        let records = up.saturating_add(down);
        if records < ENOUGH || !records.is_power_of_two() {
            return;
        }
        let lengths = INNER_ACKS.map(|length| protection.cstp_record_len(length));
        let acks = self.early.small().filter(|(length, _)| lengths.contains(&u32::from(*length)));
        if acks.map(|(_, count)| count).sum::<u32>() >= records / 4 {
            self.early.0.get_or_insert_default().openings.suffice();
        }
    }

    /// Notes an application-data record.
    pub fn add_data(&mut self, at: Timestamp, frame: FrameRef, direction: Direction, length: u16) {
        let protection = self.server_hello.and_then(|hello| hello.protection());
        let control = protection.is_some_and(|p| p.cstp_record_len(0) == u32::from(length));
        self.early.add(direction, length);
        if !control && length > 0 {
            self.activity.add(at, frame, direction, length);
        }
        if length >= LONGER_THAN_ALERT && self.is_beside(at, direction, length) {
            self.early.0.get_or_insert_default().converses = true;
        }
        // Keepalives wait for none.
        if direction == Direction::ToClient
            && let Some(late) = self.last_word.late(self.heard(), (at, frame)).filter(|(said, _)| said.data() >= WAITED)
        {
            keep_longest(&mut self.seldom_mut().lapse, late);
        }
        self.last_word.note(at, frame, direction, control, self.heard());
        let data = direction.of_mut(&mut self.data);
        data.records = data.records.saturating_add(1);
        data.bytes += u64::from(length);
        data.largest = data.largest.max(length);
        data.first.get_or_insert(at);
        data.last = Some((at, frame));
        if length < SMALL {
            self.early.count(direction, length);
        }
        let Some(protection) = protection else { return };
        self.weigh(protection);
        // Block ciphers round lengths up, so that none tells an opening.
        let payload = if length < SMALL { protection.cstp_payload(length) } else { None };
        if let Some(inner) = payload.filter(|inner| inner.start() == inner.end()) {
            self.early.0.get_or_insert_default().openings.note(direction, *inner.start());
        }
    }
}

const _: () = assert!(size_of::<TlsFacts>() <= 192);
const _: () = assert!(size_of::<EarlyRecords>() <= 64);
