//! The numbers of DTLS records, one way: what is missing, late or a copy.

use crate::event::Timestamp;
use std::num::NonZeroU64;

/// Record numbers of one direction: what is missing among them was lost before this point (RFC 6347 §4.1).
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    /// The highest record so far.
    pub highest: Option<RecordNumber>,
    /// Records seen in the latest second, and the bytes of their datagrams.
    now: u32,
    bytes: u32,
    /// Records seen in slow seconds.
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
    /// Of them in the latest second, and in slow ones.
    now: u32,
    slow: u32,
    /// Numbers that were passed over in silence: nobody knows at which rate they were sent.
    pub in_silence: u32,
    /// How many such silences there were.
    pub silences: u32,
    /// The last record before the longest of them, and the first behind it.
    pub longest: Option<(Timestamp, Timestamp)>,
    /// Numbers passed over in it.
    pub in_longest: u32,
    /// Records that came behind a higher one.
    pub late: u32,
    /// When numbers were first and last passed over.
    pub gaps: Option<(Timestamp, Timestamp)>,
    /// Seconds with more records, those in which little was sent first.
    faster: Vec<Pace>,
}

impl SeldomInSequence {
    /// The longest silence from which numbers are missing, whole seconds; 0 where there was none.
    pub fn silence(&self) -> u32 {
        self.longest.map_or(0, |(from, until)| until.seconds_since(from).round() as u32)
    }
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

/// Seconds in which about as much was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// At least so many bytes, IP headers included, those missing reckoned as large as the others; 0 for slow seconds.
    pub bytes: u64,
    /// How many seconds; slow ones are not counted.
    pub seconds: u32,
    /// Those of which at least a hundredth is missing.
    pub losing: u32,
    /// Records in all of them.
    pub all: Rate,
    /// Records seen in those that lose.
    pub seen_in_losing: u32,
}

impl Pace {
    /// Both together; the bytes stay.
    pub fn with(self, other: &Pace) -> Pace {
        let mut all = self.all;
        all.add(other.all);
        Pace {
            bytes: self.bytes,
            seconds: self.seconds.saturating_add(other.seconds),
            losing: self.losing.saturating_add(other.losing),
            all,
            seen_in_losing: self.seen_in_losing.saturating_add(other.seen_in_losing),
        }
    }

    fn add(&mut self, second: Rate) {
        /// Less is lost on any path, 1 = all.
        const LOSES: f64 = 0.01;
        self.seconds = self.seconds.saturating_add(1);
        self.all.add(second);
        if second.share() >= LOSES {
            self.losing = self.losing.saturating_add(1);
            self.seen_in_losing = self.seen_in_losing.saturating_add(second.seen);
        }
    }
}

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

    /// Adds others.
    pub fn add(&mut self, other: Rate) {
        self.seen = self.seen.saturating_add(other.seen);
        self.missing = self.missing.saturating_add(other.missing);
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
    /// A second with fewer records is slow.
    const SLOW: u32 = 16;

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

    /// Notes a record, the IP length of its datagram, and when the one before it came.
    pub fn note(&mut self, at: Timestamp, number: RecordNumber, ip_len: u32, before: Option<Timestamp>) {
        let second = |at: Timestamp| at.nanos().div_euclid(1_000_000_000) as u32;
        let before = before.unwrap_or(at);
        let since = second(at).wrapping_sub(second(before));
        if since != 0 {
            self.flush();
        }
        self.now = self.now.saturating_add(1);
        self.bytes = self.bytes.saturating_add(ip_len);
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
                    seldom.silences = seldom.silences.saturating_add(1);
                    if seldom.longest.is_none_or(|(from, until)| until.nanos_since(from) < at.nanos_since(before)) {
                        (seldom.longest, seldom.in_longest) = (Some((before, at)), gap);
                    }
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
            silences: 0,
            longest: None,
            in_longest: 0,
            late: 0,
            gaps: None,
            faster: Vec::new(),
        };
        self.seldom.as_deref().unwrap_or(NOTHING)
    }

    /// When numbers were passed over, to move it in time.
    pub(in crate::session) fn gaps_mut(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        let seldom = self.seldom.as_deref_mut().into_iter();
        let times = seldom.flat_map(|seldom| [&mut seldom.gaps, &mut seldom.longest]);
        times.flatten().flat_map(|(first, last)| [first, last])
    }

    /// What was seen and what is missing in slow seconds, and in those in which ever more was sent, the last second included.
    pub fn paces(&self) -> Vec<Pace> {
        let mut whole = self.clone();
        whole.flush();
        let all = Rate { seen: whole.slow, missing: whole.seldom().slow };
        let slow = Pace { all, ..Pace::default() };
        std::iter::once(slow).chain(whole.seldom().faster.iter().copied()).collect()
    }

    /// Records seen and missing.
    pub fn counted(&self) -> Rate {
        let faster: u32 = self.seldom().faster.iter().map(|pace| pace.all.seen).sum();
        Rate { seen: self.slow.saturating_add(self.now).saturating_add(faster), missing: self.missing() }
    }

    fn flush(&mut self) {
        let (seen, bytes) = (std::mem::take(&mut self.now), std::mem::take(&mut self.bytes));
        let missing = self.seldom.as_mut().map_or(0, |seldom| std::mem::take(&mut seldom.now));
        let sent = seen.saturating_add(missing);
        if sent >= Self::SLOW {
            let bytes = rounded(u64::from(bytes) * u64::from(sent) / u64::from(seen.max(1)));
            let faster = &mut self.seldom.get_or_insert_default().faster;
            let place = faster.partition_point(|pace| pace.bytes < bytes);
            if faster.get(place).is_none_or(|pace| pace.bytes != bytes) {
                // Hardly a flow has more than a few.
                faster.reserve_exact(1);
                faster.insert(place, Pace { bytes, ..Pace::default() });
            }
            if let Some(pace) = faster.get_mut(place) {
                pace.add(Rate { seen, missing });
            }
            return;
        }
        self.slow = self.slow.saturating_add(seen);
        if let Some(seldom) = &mut self.seldom {
            seldom.slow = seldom.slow.saturating_add(missing);
        }
    }
}

/// Down to a quarter of the power of two below it: so that few numbers stand for all.
fn rounded(bytes: u64) -> u64 {
    let step = 1 << bytes.checked_ilog2().unwrap_or_default().saturating_sub(2);
    bytes / step * step
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;

    #[test]
    fn the_latest_record_once_more_is_a_copy() {
        let (mut sequence, number) = (Sequence::default(), |n| RecordNumber::new(1, n));
        assert!(!sequence.is_copy(number(0)), "nothing came yet");
        for n in [0, 1, 3] {
            assert!(!sequence.is_copy(number(n)));
            sequence.note(Timestamp::default(), number(n), 100, None);
        }
        assert!(sequence.is_copy(number(3)));
        assert!(
            !sequence.is_copy(number(1)) && !sequence.is_copy(RecordNumber::new(2, 3)),
            "late, and of another epoch"
        );
        assert_eq!(sequence.missing(), 1);
    }
}
