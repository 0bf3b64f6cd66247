//! Large packets of a flow, one direction: runs of equal sizes, bounded.

use super::facts::{MAX_FRAMES, keep};
use crate::event::{FrameRef, Large, Timestamp};
use std::ops::{Deref, DerefMut};

/// Runs of equal large packets kept per direction of a flow.
pub const MAX_RUNS: usize = 16;
/// Of so many runs it is told when they begin: enough to see whose they are.
const TOLD: usize = 6;
/// A silence this long begins a new run, nanoseconds.
const SILENCE: i64 = 1_000_000_000;

/// The runs, oldest first; takes hardly any room where there are none, as with most flows.
#[derive(Clone, Debug, Default)]
pub struct Runs(Option<Box<Kept>>);

#[derive(Clone, Debug, Default)]
struct Kept {
    /// Each run's size once more: looking for one touches two cache lines, not thirty.
    sizes: Vec<u32>,
    runs: Vec<Run>,
}

impl Deref for Runs {
    type Target = [Run];

    fn deref(&self) -> &[Run] {
        self.0.as_deref().map_or(&[], |kept| &kept.runs)
    }
}

impl DerefMut for Runs {
    fn deref_mut(&mut self) -> &mut [Run] {
        self.0.as_deref_mut().map_or(&mut [], |kept| &mut kept.runs)
    }
}

impl Runs {
    /// Adds a packet; says whether it begins one of the first runs.
    pub(super) fn add(&mut self, at: Timestamp, frame: FrameRef, large: Large) -> bool {
        let Kept { sizes, runs } = &mut **self.0.get_or_insert_default();
        let full = runs.len() >= MAX_RUNS;
        // Of a flow of many runs each first frame is enough: evidence shows no more of all together.
        let room = if runs.len() > MAX_RUNS / 2 { 1 } else { MAX_FRAMES / runs.len().max(1) };
        let goes_on = |run: &&mut Run| run.size == large.ip_len && (full || at.nanos_since(run.last) <= SILENCE);
        // Most packets are like the one before.
        if let Some(run) = runs.last_mut().filter(goes_on) {
            run.add(at, frame, large.again, room);
            return false;
        }
        for (place, _) in sizes.iter().enumerate().rev().filter(|(_, size)| **size == large.ip_len) {
            if let Some(run) = runs.get_mut(place).filter(goes_on) {
                run.add(at, frame, large.again, room);
                return false;
            }
        }
        if full {
            // The size is new and the table full: the smallest size is the least telling one.
            let smallest = sizes.iter().enumerate().min_by_key(|(_, size)| **size);
            let Some((place, _)) = smallest.filter(|(_, size)| **size < large.ip_len) else { return false };
            sizes.swap_remove(place);
            runs.swap_remove(place);
        }
        keep(sizes, large.ip_len);
        keep(runs, Run::new(at, frame, large));
        runs.len() <= TOLD
    }
}

/// Large packets of one size, one direction, without a pause.
#[derive(Clone, Debug)]
pub struct Run {
    /// IP total length, bytes.
    pub size: u32,
    /// First packet.
    pub first: Timestamp,
    /// Last packet.
    pub last: Timestamp,
    /// How many.
    pub count: u32,
    /// How many of them carried TCP bytes sent before.
    pub again: u32,
    /// Frame of the first packet.
    pub frame: FrameRef,
    /// Further frames; most runs have none.
    more: Option<Box<More>>,
}

#[derive(Clone, Debug, Default)]
struct More(Vec<FrameRef>);

impl Run {
    fn new(at: Timestamp, frame: FrameRef, large: Large) -> Run {
        Run { size: large.ip_len, first: at, last: at, count: 1, again: u32::from(large.again), frame, more: None }
    }

    /// Their frames, at most [`MAX_FRAMES`]; fewer where there are many runs.
    pub fn frames(&self) -> impl Iterator<Item = FrameRef> {
        std::iter::once(self.frame).chain(self.more.iter().flat_map(|more| more.0.iter().copied()))
    }

    fn add(&mut self, at: Timestamp, frame: FrameRef, again: bool, room: usize) {
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        // Room never grows: as long as there was some, all frames were kept.
        if (self.count as usize) < room {
            self.more.get_or_insert_default().0.push(frame);
        }
        self.count = self.count.saturating_add(1);
        self.again = self.again.saturating_add(u32::from(again));
    }
}
