//! What the DTLS of one UDP flow showed.

use super::super::few::Sole;
use super::super::runs::Runs;
use super::super::stretches::Stretch;
use super::attempt::{AttemptFacts, MessageKind};
use super::inside::Packets;
use super::said::{Activity, Heard, Lapsed, LastWord, Unanswered, keep_longest, spoke_until};
use super::sequence::Sequence;
use crate::event::{Direction, FrameRef, Timestamp, Version};
use std::num::{NonZeroU16, NonZeroU32};

/// What the DTLS of one UDP flow showed.
#[derive(Debug, Default)]
pub struct DtlsFacts {
    // First what each record changes, so that it lies together in memory.
    /// When data flowed.
    pub activity: Activity,
    pub(in crate::session) last_word: LastWord,
    /// Last record of epoch 1 or later each way.
    pub(in crate::session) heard: Heard,
    /// Application-data records each way.
    pub records: [u32; 2],
    /// Largest application-data record each way.
    pub largest: [u16; 2],
    /// Version of the last record.
    pub version: Option<Version>,
    pub(in crate::session) known: Option<Known>,
    /// Epochs and sequence numbers, each way.
    pub sequence: [Sequence; 2],
    /// Largest datagram each way: IP length, and its frame.
    pub largest_datagram: [Option<(NonZeroU32, FrameRef)>; 2],
    /// First record of epoch 1 or later each way.
    pub protected: [Option<Timestamp>; 2],
    /// First application-data record each way.
    pub first: [Option<(Timestamp, FrameRef)>; 2],
    /// Handshake attempts, by client random.
    pub attempts: Sole<AttemptFacts>,
    pub(in crate::session) seldom: Option<Box<SeldomInDtls>>,
}

/// What the last attempt says of each record: reckoned anew behind each handshake message and for another version.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Known {
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
    pub(in crate::session) last: Heard,
    /// First encrypted alert.
    pub sealed_alert: Option<(Timestamp, FrameRef, Direction)>,
    /// Handshake messages of a server that nobody asked here: how many, and the first.
    pub unasked: (u32, Option<(Timestamp, FrameRef)>),
    /// Large datagrams each way that came without DF or in fragments.
    pub fragmentable: [Runs; 2],
    /// Long records of the client soon after set-up, and which the server answered with one as long.
    pub probes: Vec<Probe>,
    /// The longest time in which the client's records went unanswered until an answer came, and that answer.
    pub lapse: Option<Box<Lapsed>>,
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

    /// Its stretches of data, each to where that side may have spoken last: at its end the other one may have gone on alone.
    pub fn spoken(&self, side: Direction) -> impl Iterator<Item = Stretch> {
        let lapse = self.seldom().lapse.as_deref().filter(|_| side == Direction::ToClient);
        let last = side.of(&self.last()).map(|(at, _)| at);
        self.activity.stretches.iter().map(move |s| Stretch { last: spoke_until(lapse, last, &s), ..s })
    }

    /// Notes a record of epoch 1 or later; `control` tells whether it has the length of an empty packet.
    #[inline]
    pub fn hear(&mut self, at: Timestamp, frame: FrameRef, direction: Direction, control: bool) {
        if direction == Direction::ToClient
            && let Some(late) = self.last_word.late(self.heard, (at, frame))
        {
            keep_longest(&mut self.seldom_mut().lapse, late);
        }
        self.last_word.note(at, frame, direction, control, self.heard);
        *direction.of_mut(&mut self.heard) = Some((at, frame));
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

    /// The side whose Finished goes first, when it repeats that, more often than ClientHellos ask for it, and never sends data: the
    /// other's, whether it was sent or not, does not reach it whole.
    pub fn waits(&self) -> Option<Direction> {
        /// One Finished may get lost on any path.
        const REPEATED: u32 = 3;
        if self.records.iter().all(|records| *records > 0) {
            return None;
        }
        let attempt = self.attempts.last()?;
        let finished = attempt.messages().find(|m| m.kind == MessageKind::Finished)?;
        // A slow gateway answers each of them, when the client has gone on already.
        let asked = match finished.direction {
            Direction::ToServer => 0,
            Direction::ToClient if attempt.with_cookie > 0 => attempt.with_cookie,
            Direction::ToClient => attempt.hellos,
        };
        let times = finished.count.saturating_sub(asked.saturating_sub(1));
        (times >= REPEATED && *finished.direction.of(&self.records) == 0).then_some(finished.direction)
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
            fragmentable: [Runs::NONE; 2],
            probes: Vec::new(),
            lapse: None,
            inside: None,
        };
        self.seldom.as_deref().unwrap_or(NOTHING)
    }

    /// It, to add to it.
    pub(in crate::session) fn seldom_mut(&mut self) -> &mut SeldomInDtls {
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
