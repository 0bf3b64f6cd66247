//! The numbers of DTLS records, one way: what is missing, late or a copy.

use crate::event::Timestamp;
use std::num::NonZeroU64;

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
    pub(in crate::session) fn gaps_mut(&mut self) -> impl Iterator<Item = &mut Timestamp> {
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
            sequence.note(Timestamp::default(), number(n));
        }
        assert!(sequence.is_copy(number(3)));
        assert!(
            !sequence.is_copy(number(1)) && !sequence.is_copy(RecordNumber::new(2, 3)),
            "late, and of another epoch"
        );
        assert_eq!(sequence.missing(), 1);
    }
}
