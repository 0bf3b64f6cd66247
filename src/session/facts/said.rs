//! What was said over a tunnel and when: data in stretches, and the last words, which nobody answered.

use super::super::stretches::{Stretch, Stretches};
use crate::event::{Direction, FrameRef, Timestamp};

/// Stretches of data kept per tunnel.
pub const MAX_STRETCHES: usize = 32;
/// Burst beginnings kept per tunnel, for matching inner traffic.
pub const MAX_BURSTS: usize = 32;
/// A silence longer than this begins a new stretch of data, nanoseconds.
const SILENCE: i64 = 1_000_000_000;
/// A silence this long begins a new burst, nanoseconds.
const BURST_GAP: i64 = 50_000_000;

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
    pub(in crate::session) fn without_last(mut self) -> Unanswered {
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

/// What the client said that went unanswered for long until an answer came, and that answer.
pub type Lapsed = (Unanswered, (Timestamp, FrameRef));

/// Until when one side may have spoken in a stretch: at its end the other one may have gone on alone. `lapse` is the longest time in
/// which that side was silent, and `last` its last record.
pub(super) fn spoke_until(lapse: Option<&Lapsed>, last: Option<Timestamp>, stretch: &Stretch) -> Timestamp {
    let lapse = lapse.map(|(said, (answered, _))| said.first.0..*answered);
    let begun = lapse.filter(|lapse| lapse.contains(&stretch.last)).map(|lapse| lapse.start);
    begun.or(last.filter(|last| *last >= stretch.first)).map_or(stretch.last, |end| end.min(stretch.last))
}

/// The last record each way, and its frame.
pub type Heard = [Option<(Timestamp, FrameRef)>; 2];

/// The records at the end of a tunnel that all went one way: what the other side had sent before is answered by them. The last record
/// each way is kept beside it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::session) struct LastWord {
    first: Timestamp,
    pause: i64,
    pub(super) records: u32,
    control: u32,
    /// The frame of the first: number and capture apart, which takes less room.
    number: u32,
    capture: u16,
    speaker: Option<Direction>,
}

impl LastWord {
    /// Notes a record behind those last heard; `control` tells whether it has the length of an empty packet.
    pub(super) fn note(&mut self, at: Timestamp, frame: FrameRef, direction: Direction, control: bool, heard: Heard) {
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
    pub(super) fn of(&self, direction: Direction, heard: Heard) -> Unanswered {
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

    /// What the client said until that answer came, where it waited long; remembered, if nothing has waited longer.
    #[inline]
    pub(super) fn late(&self, heard: Heard, answer: (Timestamp, FrameRef)) -> Option<Lapsed> {
        /// So many records without an answer, for so many seconds.
        const RECORDS: u32 = 5;
        const SECONDS: f64 = 5.0;
        if self.records < RECORDS {
            return None;
        }
        let said = self.of(Direction::ToServer, heard);
        (said.records > 0 && said.seconds() >= SECONDS).then_some((said, answer))
    }

    /// Records of the other side since that one spoke, where the first had time to be answered.
    pub(in crate::session) fn of_other(&self, direction: Direction, at: Timestamp) -> u32 {
        /// Answers take no longer, nanoseconds.
        const PATIENCE: i64 = 2_000_000_000;
        let is_other = self.speaker == Some(direction.reverse());
        if is_other && at.nanos_since(self.first) >= PATIENCE { self.records } else { 0 }
    }

    /// Nanoseconds since that side spoke, when it spoke last.
    pub(super) fn silence(&self, direction: Direction, at: Timestamp, heard: Heard) -> Option<i64> {
        let (last, _) = direction.of(&heard).filter(|_| self.speaker == Some(direction))?;
        Some(at.nanos_since(last))
    }

    /// When the first of them came, to move it in time.
    pub(in crate::session) fn first_mut(&mut self) -> &mut Timestamp {
        &mut self.first
    }
}

/// Keeps the longer lapse.
pub(super) fn keep_longest(lapse: &mut Option<Box<Lapsed>>, other: Lapsed) {
    if lapse.as_ref().is_none_or(|known| known.0.seconds() < other.0.seconds()) {
        *lapse = Some(Box::new(other));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Direction, FrameRef, Timestamp};

    #[test]
    fn in_a_long_silence_the_side_that_goes_on_alone_is_not_the_one_that_speaks() {
        let moment = |seconds: f64| Timestamp::default().plus_seconds(seconds);
        let (mut word, mut heard) = (LastWord::default(), Heard::default());
        let mut say = |seconds: f64, way: Direction| {
            let place = (moment(seconds), FrameRef::default());
            let late = word.late(heard, place).filter(|_| way == Direction::ToClient);
            word.note(place.0, place.1, way, false, heard);
            *way.of_mut(&mut heard) = Some(place);
            late
        };
        assert!(say(10.0, Direction::ToClient).is_none());
        assert!((11..31).all(|seconds| say(f64::from(seconds), Direction::ToServer).is_none()));
        let lapsed = say(31.0, Direction::ToClient).unwrap();
        assert_eq!((lapsed.0.records, lapsed.0.seconds()), (20, 19.0));
        let (first, frame) = (moment(5.0), FrameRef::default());
        let stretch = Stretch { first, frame, last: moment(30.0), records: [30, 9], bytes: [0, 0] };
        assert_eq!(spoke_until(Some(&lapsed), Some(moment(40.0)), &stretch), moment(11.0));
        assert_eq!(spoke_until(None, Some(moment(9.0)), &stretch), moment(9.0));
        assert_eq!(spoke_until(None, Some(moment(40.0)), &stretch), moment(30.0), "it may have");
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
}
