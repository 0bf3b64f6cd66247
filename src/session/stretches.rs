//! When data flowed, in stretches without a pause.

use super::few::Few;
use super::packed::{Numbered, Packed, frame_of, number_of};
use crate::event::{FrameRef, Timestamp};

/// A stretch of data records without a pause of more than a second.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// First record.
    pub first: Timestamp,
    /// Its frame.
    pub frame: FrameRef,
    /// Last record.
    pub last: Timestamp,
    /// Records each way.
    pub records: [u32; 2],
    /// Bytes each way.
    pub bytes: [u64; 2],
}

impl Stretch {
    /// Did data go both ways, beyond stray control records that are as long?
    pub fn carries_both_ways(&self) -> bool {
        /// Records each way.
        const BEYOND_CONTROL: u32 = 3;
        self.records.iter().all(|records| *records >= BEYOND_CONTROL)
    }
}

impl Numbered<7> for Stretch {
    fn numbers(&self) -> [i64; 7] {
        let ([up, down], [bytes_up, bytes_down]) = (self.records.map(i64::from), self.bytes.map(|bytes| bytes as i64));
        let (first, last) = (self.first.nanos(), self.last.nanos());
        [first, last.wrapping_sub(first), number_of(self.frame), up, down, bytes_up, bytes_down]
    }

    fn of([first, lasts, frame, up, down, bytes_up, bytes_down]: [i64; 7]) -> Stretch {
        Stretch {
            first: Timestamp::from_nanos(first),
            frame: frame_of(frame),
            last: Timestamp::from_nanos(first.wrapping_add(lasts)),
            records: [up as u32, down as u32],
            bytes: [bytes_up as u64, bytes_down as u64],
        }
    }
}

/// The stretches, oldest first, and the bursts within them: only the latest stretch is changed, and lies open.
#[derive(Clone, Debug, Default)]
pub struct Stretches(Option<Box<Kept>>);

#[derive(Clone, Debug)]
struct Kept {
    latest: Stretch,
    /// Most tunnels are short, and have no more.
    more: Option<Box<More>>,
}

#[derive(Clone, Debug, Default)]
struct More {
    older: Packed<Stretch, 7>,
    /// Beginnings of bursts within stretches.
    bursts: Few<Timestamp>,
}

impl Kept {
    fn older(&self) -> impl Iterator<Item = Stretch> {
        self.more.iter().flat_map(|more| more.older.iter())
    }
}

impl Stretches {
    /// Are there fewer than so many, at least 2?
    pub fn are_fewer_than(&self, count: usize) -> bool {
        self.more().is_none_or(|more| more.older.is_shorter_than(count - 1))
    }

    fn more(&self) -> Option<&More> {
        self.0.as_ref()?.more.as_deref()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Stretch> {
        self.0.iter().flat_map(|kept| kept.older().chain([kept.latest]))
    }

    /// When bursts within them began.
    pub fn bursts_within(&self) -> &[Timestamp] {
        self.more().map_or(&[], |more| &more.bursts)
    }

    /// How many bursts there are: with each stretch one begins.
    pub fn burst_count(&self) -> usize {
        usize::from(!self.is_empty()) + self.more().map_or(0, |more| more.older.len() + more.bursts.len())
    }

    /// Notes that a burst began within the latest stretch.
    pub(super) fn add_burst(&mut self, at: Timestamp) {
        if let Some(kept) = &mut self.0 {
            kept.more.get_or_insert_default().bursts.push(at);
        }
    }

    /// The latest.
    pub fn last(&self) -> Option<&Stretch> {
        self.0.as_ref().map(|kept| &kept.latest)
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Stretch> {
        self.0.as_mut().map(|kept| &mut kept.latest)
    }

    /// Adds one behind them.
    pub(super) fn push(&mut self, stretch: Stretch) {
        match &mut self.0 {
            Some(kept) => {
                let latest = std::mem::replace(&mut kept.latest, stretch);
                kept.more.get_or_insert_default().older.push(&latest);
            }
            None => self.0 = Some(Box::new(Kept { latest: stretch, more: None })),
        }
    }

    /// Changes every moment in it.
    pub(super) fn change(&mut self, mut change: impl FnMut(&mut Timestamp)) {
        let Some(kept) = &mut self.0 else { return };
        let mut change_both = |stretch: &mut Stretch| [&mut stretch.first, &mut stretch.last].map(&mut change);
        change_both(&mut kept.latest);
        if let Some(more) = &mut kept.more {
            more.older.change(|stretch| _ = change_both(stretch));
            more.bursts.iter_mut().for_each(change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_each_tunnel_is_small() {
        assert!(size_of::<Stretches>() <= 8, "{}", size_of::<Stretches>());
        assert!(size_of::<Kept>() <= 56, "{}", size_of::<Kept>());
    }

    #[test]
    fn stretches_and_bursts_stand_in_order_and_are_moved_together() {
        let moment = |seconds: f64| Timestamp::default().plus_seconds(seconds);
        let mut stretches = Stretches::default();
        assert!(stretches.is_empty() && stretches.are_fewer_than(2));
        for begin in [10.0, 20.0, 30.0] {
            let (first, last) = (moment(begin), moment(begin + 1.0));
            stretches.push(Stretch { first, frame: FrameRef::default(), last, records: [1, 0], bytes: [9, 0] });
        }
        stretches.add_burst(moment(30.5));
        assert!(stretches.are_fewer_than(4) && !stretches.are_fewer_than(3));
        stretches.change(|at| *at = at.plus_seconds(5.0));
        let moments: Vec<_> = stretches.iter().map(|stretch| (stretch.first, stretch.last)).collect();
        assert_eq!(moments, [15.0, 25.0, 35.0].map(|begin| (moment(begin), moment(begin + 1.0))));
        assert_eq!(stretches.bursts_within(), [moment(35.5)]);
        assert_eq!(stretches.burst_count(), 4);
    }
}
