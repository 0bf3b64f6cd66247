//! When data flowed, in stretches without a pause.

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

/// The stretches, oldest first: only the latest is changed, and lies open.
#[derive(Clone, Debug, Default)]
pub struct Stretches(Option<Box<Kept>>);

#[derive(Clone, Debug)]
struct Kept {
    latest: Stretch,
    older: Packed<Stretch, 7>,
}

impl Stretches {
    /// Are there fewer than so many, at least 1?
    pub fn are_fewer_than(&self, count: usize) -> bool {
        self.0.as_ref().is_none_or(|kept| kept.older.is_shorter_than(count - 1))
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Stretch> {
        self.0.iter().flat_map(|kept| kept.older.iter().chain([kept.latest]))
    }

    /// When the first of them began.
    pub fn begin(&self) -> Option<Timestamp> {
        self.0.as_ref().map(|kept| kept.older.first().unwrap_or(kept.latest).first)
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
            Some(kept) => kept.older.push(&std::mem::replace(&mut kept.latest, stretch)),
            None => self.0 = Some(Box::new(Kept { latest: stretch, older: Packed::default() })),
        }
    }

    /// Changes every one.
    pub(super) fn change(&mut self, mut change: impl FnMut(&mut Stretch)) {
        if let Some(kept) = &mut self.0 {
            kept.older.change(&mut change);
            change(&mut kept.latest);
        }
    }
}
