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
    /// When the last came that was as large as any, in [`ticks`]; 0 before the first.
    large: u32,
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
    /// Silences in which this way was down, whatever was sent.
    pub outages: Outages,
    /// Numbers passed over since the last large one.
    lull: Lull,
    /// The worst time without large ones until one came again.
    worst_lull: Option<Lull>,
    /// Records that came behind a higher one.
    pub late: u32,
    /// When numbers were first and last passed over.
    pub gaps: Option<(Timestamp, Timestamp)>,
    /// Seconds with more records, those in which little was sent first.
    faster: Vec<Pace>,
}

impl SeldomInSequence {
    /// Numbers behind that one were passed over, that long after a large one.
    fn pass_over(&mut self, since: u32, at: Timestamp, gap: u32, last: RecordNumber) {
        let lull = &mut self.lull;
        if lull.since != since || lull.first.is_none_or(|first| first.epoch() != last.epoch()) {
            let waited = ticks(at).wrapping_sub(since);
            *lull = Lull { since, waited, first: Some(last), gaps: Some((at, at)), ..Lull::NONE };
        }
        let numbers = lull.first.map_or(0, |first| last.both().saturating_sub(first.both()));
        lull.seen = u32::try_from(numbers).unwrap_or(u32::MAX).saturating_sub(lull.missing);
        lull.gaps = lull.gaps.map(|(first, _)| (first, at));
        lull.times = lull.times.saturating_add(1);
        lull.missing = lull.missing.saturating_add(gap);
    }

    /// The longest silence from which numbers are missing, whole seconds; 0 where there was none.
    pub fn silence(&self) -> u32 {
        self.longest.map_or(0, |(from, until)| until.seconds_since(from).round() as u32)
    }
}

/// Silences of seconds from which many numbers are missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outages {
    /// How many.
    pub count: u32,
    /// Numbers passed over in all of them.
    pub missing: u32,
    /// Of them in those in which it was no large packet that was sent again and again.
    pub certain: u32,
    /// The last record before the longest of them, and the first behind it.
    pub longest: Option<(Timestamp, Timestamp)>,
}

/// A time in which none came as large as those before, while smaller ones came and numbers were passed over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lull {
    /// When the last large one came, in [`ticks`].
    since: u32,
    /// The highest record before the first gap.
    first: Option<RecordNumber>,
    /// How long after it the first gap showed, in [`ticks`].
    waited: u32,
    /// When numbers were first and last passed over.
    gaps: Option<(Timestamp, Timestamp)>,
    /// How often they were.
    times: u32,
    /// How many.
    pub missing: u32,
    /// Smaller ones that came between the first gap and the last.
    pub seen: u32,
    /// When a large one came again.
    pub until: Option<Timestamp>,
}

impl Outages {
    /// Notes a silence, and how many records of the other side went unanswered in it.
    fn note(&mut self, before: Timestamp, at: Timestamp, gap: u32, others: u32) {
        /// So long, seconds.
        const SECONDS: f64 = 3.0;
        /// So many were lost, and so many in a second.
        const MISSING: u32 = 5;
        const RATE: f64 = 1.0;
        /// No transfer that hangs sends as many in a second; what is small would be answered.
        const BUSY: f64 = 4.0;
        const OTHERS: u32 = 3;
        let seconds = at.seconds_since(before);
        let rate = f64::from(gap) / seconds;
        if seconds < SECONDS || gap < MISSING || rate < RATE {
            return;
        }
        self.count = self.count.saturating_add(1);
        self.missing = self.missing.saturating_add(gap);
        if rate >= BUSY || others >= OTHERS {
            self.certain = self.certain.saturating_add(gap);
        }
        if self.longest.is_none_or(|(from, until)| until.seconds_since(from) < seconds) {
            self.longest = Some((before, at));
        }
    }
}

impl Lull {
    const NONE: Lull =
        Lull { since: 0, first: None, waited: 0, gaps: None, times: 0, missing: 0, seen: 0, until: None };

    /// When the last large one came, and when another did; else when a record was last seen to be missing.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let (first, last) = self.gaps?;
        let waited = (i64::from(self.waited) << TICK) as f64 / 1e9;
        Some((first.plus_seconds(-waited), self.until.unwrap_or(last)))
    }

    /// Is it more than a few lost at once?
    fn is_telling(&self) -> bool {
        /// So many were passed over, so often, for so long, seconds.
        const MISSING: u32 = 5;
        const TIMES: u32 = 3;
        const SECONDS: f64 = 3.0;
        let lasts = self.gaps.is_some_and(|(first, last)| last.seconds_since(first) >= SECONDS);
        self.since != 0 && self.missing >= MISSING && self.times >= TIMES && lasts
    }
}

/// Times are kept in steps of so many bits of their nanoseconds: 16.8 ms.
const TICK: u32 = 24;

fn ticks(at: Timestamp) -> u32 {
    (at.nanos() >> TICK) as u32
}

/// What stands beside a record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside {
    /// When the one before it came.
    pub before: Option<Timestamp>,
    /// Records that the other side has sent since.
    pub others: u32,
    /// It is as large as any that way.
    pub is_large: bool,
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

    /// Without those.
    pub fn without(self, others: Rate) -> Rate {
        Rate { seen: self.seen.saturating_sub(others.seen), missing: self.missing.saturating_sub(others.missing) }
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
    /// So long without a large one tells something, in [`ticks`]: 3 s.
    const LULL: u32 = 179;

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

    /// Notes a record, the IP length of its datagram, and what stands beside it.
    pub fn note(&mut self, at: Timestamp, number: RecordNumber, ip_len: u32, beside: Beside) {
        self.count(at, number, ip_len, beside);
        if beside.is_large {
            let now = ticks(at);
            if now.wrapping_sub(self.large) >= Self::LULL {
                self.end_lull(at);
            }
            self.large = now;
        }
    }

    /// A large one comes again after a while: were others lost meanwhile?
    #[cold]
    fn end_lull(&mut self, at: Timestamp) {
        let Some(seldom) = self.seldom.as_deref_mut() else { return };
        let lull = Lull { until: Some(at), ..seldom.lull };
        let is_worse = seldom.worst_lull.is_none_or(|worst| worst.missing < lull.missing);
        if lull.since == self.large && lull.is_telling() && is_worse {
            seldom.worst_lull = Some(lull);
        }
    }

    /// The worst time without large ones in which others were lost; it may last until the end.
    pub fn lull(&self) -> Option<Lull> {
        let seldom = self.seldom();
        let open = Some(seldom.lull).filter(|lull| lull.since == self.large && lull.is_telling());
        seldom.worst_lull.into_iter().chain(open).max_by_key(|lull| lull.missing)
    }

    fn count(&mut self, at: Timestamp, number: RecordNumber, ip_len: u32, beside: Beside) {
        let second = |at: Timestamp| at.nanos().div_euclid(1_000_000_000) as u32;
        let before = beside.before.unwrap_or(at);
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
                seldom.pass_over(self.large, at, gap, last);
                if (Self::SILENCE..=i32::MAX as u32).contains(&since) {
                    seldom.in_silence = seldom.in_silence.saturating_add(gap);
                    seldom.silences = seldom.silences.saturating_add(1);
                    if seldom.longest.is_none_or(|(from, until)| until.nanos_since(from) < at.nanos_since(before)) {
                        (seldom.longest, seldom.in_longest) = (Some((before, at)), gap);
                    }
                    seldom.outages.note(before, at, gap, beside.others);
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
            seldom.lull.missing = seldom.lull.missing.saturating_sub(found);
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
            outages: Outages { count: 0, missing: 0, certain: 0, longest: None },
            lull: Lull::NONE,
            worst_lull: None,
            late: 0,
            gaps: None,
            faster: Vec::new(),
        };
        self.seldom.as_deref().unwrap_or(NOTHING)
    }

    /// When numbers were passed over, to move it in time.
    pub(in crate::session) fn gaps_mut<'a>(&'a mut self) -> impl Iterator<Item = &'a mut Timestamp> {
        let seldom = self.seldom.as_deref_mut().into_iter();
        seldom.flat_map(|seldom| {
            let both = |pair: &'a mut Option<(Timestamp, Timestamp)>| pair.iter_mut().flat_map(|(from, to)| [from, to]);
            let lulls = seldom.worst_lull.iter_mut().chain([&mut seldom.lull]);
            let lulls = lulls.flat_map(move |lull| both(&mut lull.gaps).chain(&mut lull.until));
            let pairs = [&mut seldom.gaps, &mut seldom.longest, &mut seldom.outages.longest].into_iter();
            pairs.flat_map(both).chain(lulls)
        })
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
            sequence.note(Timestamp::default(), number(n), 100, Beside::default());
        }
        assert!(sequence.is_copy(number(3)));
        assert!(
            !sequence.is_copy(number(1)) && !sequence.is_copy(RecordNumber::new(2, 3)),
            "late, and of another epoch"
        );
        assert_eq!(sequence.missing(), 1);
    }

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_nanos(1_000_000_000_000).plus_seconds(seconds)
    }

    /// Records at those moments: number, and whether it is large.
    fn sequence(records: impl IntoIterator<Item = (f64, u64, bool)>, others: u32) -> Sequence {
        let (mut sequence, mut before) = (Sequence::default(), None);
        for (seconds, number, is_large) in records {
            let beside = Beside { before, others, is_large };
            sequence.note(at(seconds), RecordNumber::new(1, number), 1000, beside);
            before = Some(at(seconds));
        }
        sequence
    }

    #[test]
    fn a_while_in_which_large_ones_are_missing_is_kept_until_one_comes_again() {
        let large = |from: f64, first: u64| (0..30).map(move |n| (from + n as f64 / 10.0, first + n, true));
        // Each second a small one; a large one before the first and before every third is lost.
        let small = |lost: u64| (1..=20).map(move |n| (3.0 + n as f64, 30 + n + n * lost / 3, false));
        let healed = sequence(large(0.0, 0).chain(small(1)).chain(large(24.0, 60)), 0);
        let lull = healed.lull().unwrap();
        assert_eq!((lull.missing, lull.seen, lull.until.is_some()), (10, 20, true));
        let (from, until) = lull.span().unwrap();
        assert!((from.seconds_since(at(0.0)) - 2.9).abs() < 0.05 && until == at(24.0));
        let open = sequence(large(0.0, 0).chain(small(1)), 0).lull().unwrap();
        assert_eq!((open.missing, open.seen, open.until), (7, 17, None));
        assert!(sequence(large(0.0, 0).chain(small(0)), 0).lull().is_none(), "nothing is missing");
        let beside = small(1).flat_map(|(at, number, _)| [(at, number, false), (at + 0.5, number + 1, true)]);
        assert!(sequence(large(0.0, 0).chain(beside), 0).lull().is_none(), "large ones come");
    }

    #[test]
    fn a_silence_from_which_many_are_missing_is_an_outage_where_the_other_side_went_on() {
        let outages = |others, gap: u64| {
            let silence = [(3.0, 30, false), (7.0, 31 + gap, false)];
            sequence(silence, others).seldom().outages
        };
        assert_eq!((outages(3, 8).count, outages(3, 8).certain), (1, 8));
        assert_eq!((outages(0, 8).count, outages(0, 8).certain), (1, 0), "it may have been a transfer that hangs");
        assert_eq!(outages(0, 20).certain, 20, "so many");
        assert_eq!(outages(3, 4).count, 0, "few");
    }
}
