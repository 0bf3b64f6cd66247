//! One DTLS handshake attempt, message by message.

use super::super::few::Few;
use super::super::packed::{Numbered, Packed, frame_of, number_of};
use super::MAX_FRAMES;
use super::said::Heard;
use super::tls::Random;
use crate::event::{Alert, CipherSuite, Direction, FrameRef, SessionId, Timestamp, Version};
use std::fmt;

/// Handshake attempts kept per DTLS flow.
pub const MAX_ATTEMPTS: usize = 32;
/// Different messages kept per handshake attempt; repeats only count.
pub const MAX_MESSAGES: usize = 24;

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
    pub(in crate::session) noted: Packed<Message, 3>,
    /// A bit for each of them, which other handshake messages may share: what lacks its own is not among them.
    pub(in crate::session) kinds: u32,
    pub(in crate::session) seldom: Option<Box<SeldomInAttempt>>,
}

/// What few attempts show: kept apart, for there may be many.
#[derive(Clone, Debug, Default)]
pub struct SeldomInAttempt {
    /// First alert in the clear.
    pub alert: Option<(Timestamp, FrameRef, Direction, Alert)>,
    /// First epoch-1 record each way, where it is not the Finished among the messages.
    protected: Option<Box<Heard>>,
    /// The messages that came more than once.
    pub(in crate::session) repeats: Few<Repeats>,
    /// ClientHellos that are not on the list of messages, being repeats: their frames and times.
    pub(in crate::session) hellos: Packed<(FrameRef, Timestamp), 2>,
    /// The snap length cut off records of it, behind others in their datagrams.
    pub(in crate::session) is_cut: bool,
}

/// A message that came more than once.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Repeats {
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
    /// ServerHelloDone.
    pub const SERVER_HELLO_DONE: MessageKind = MessageKind::Handshake(14);

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

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MessageKind::HelloWithCookie => "ClientHello with cookie",
            MessageKind::ChangeCipherSpec => "ChangeCipherSpec",
            MessageKind::Finished | MessageKind::Handshake(20) => "Finished",
            MessageKind::Handshake(0) => "HelloRequest",
            MessageKind::Handshake(1) => "ClientHello",
            MessageKind::Handshake(2) => "ServerHello",
            MessageKind::Handshake(3) => "HelloVerifyRequest",
            MessageKind::Handshake(4) => "NewSessionTicket",
            MessageKind::Handshake(11) => "Certificate",
            MessageKind::Handshake(12) => "ServerKeyExchange",
            MessageKind::Handshake(13) => "CertificateRequest",
            MessageKind::Handshake(14) => "ServerHelloDone",
            MessageKind::Handshake(15) => "CertificateVerify",
            MessageKind::Handshake(16) => "ClientKeyExchange",
            MessageKind::Handshake(22) => "CertificateStatus",
            MessageKind::Handshake(other) => return write!(f, "handshake type {other}"),
        })
    }
}

/// Of what the gateway owes next: what came of it, and what did not.
#[derive(Debug)]
pub struct Flight {
    /// Came.
    pub came: Vec<MessageKind>,
    /// Did not.
    pub lacks: Vec<MessageKind>,
}

impl Flight {
    /// Was the rest surely sent? A ServerHello alone may have been all; what belongs behind or before others was.
    pub fn is_torn(&self) -> bool {
        !self.lacks.is_empty() && !self.came.is_empty() && self.came != [MessageKind::SERVER_HELLO]
    }
}

impl SeldomInAttempt {
    /// First epoch-1 records, to move them in time.
    pub(in crate::session) fn protected_mut(&mut self) -> impl Iterator<Item = &mut Timestamp> {
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
    pub(in crate::session) fn protect(&mut self, way: Direction, at: Timestamp, frame: FrameRef) {
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

    /// The version to name: the one agreed, else the one offered, unless the snap length cut it off. Only the oldest shows before, in the
    /// header of the ClientHello's record (RFC 6347 §4.2.1).
    pub fn spoken(&self) -> Option<Version> {
        let told = self.server_version.into_iter().chain([self.hello_version]).find(|version| *version != Version(0));
        told.or((self.version == Version::DTLS_0_9).then_some(self.version))
    }

    /// Did anything of the gateway come, in the clear or sealed?
    pub fn came_back(&self) -> bool {
        /// The bits of what goes to the client ([`MessageKind::one_way`]).
        const TO_CLIENT: u32 = 0xaaaa_aaaa;
        self.kinds & TO_CLIENT != 0 || self.is_protected(Direction::ToClient)
    }

    /// Did an answer reach the client? It echoes the cookie of a HelloVerifyRequest that was not captured.
    pub fn was_heard(&self) -> bool {
        self.came_back() || self.with_cookie > 0
    }

    /// The flight that the gateway owes: what ends the handshake once the client sent its Finished, else what answers the ClientHello,
    /// which ends it too where the session is resumed (RFC 5246 §7.3).
    pub fn flight(&self) -> Flight {
        use MessageKind as M;
        let has = |kind: &MessageKind| self.known(*kind, Direction::ToClient).is_some();
        let is_full = self.server_done || self.certificate;
        let due: &[MessageKind] = match self.is_protected(Direction::ToServer) || *Direction::ToServer.of(&self.ccs) {
            true if is_full || !self.resumed => &[M::ChangeCipherSpec, M::Finished],
            false if is_full => &[M::SERVER_HELLO, M::SERVER_HELLO_DONE],
            _ => &[M::SERVER_HELLO, M::ChangeCipherSpec, M::Finished],
        };
        let (came, lacks) = due.iter().partition(|kind| has(kind));
        Flight { came, lacks }
    }

    /// Did the snap length cut off records of it, behind others in their datagrams?
    pub fn is_cut(&self) -> bool {
        self.seldom.as_ref().is_some_and(|seldom| seldom.is_cut)
    }

    /// Did nothing come back?
    pub fn is_unanswered(&self) -> bool {
        !self.came_back() && self.alert().is_none() && !self.is_protected(Direction::ToServer)
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
