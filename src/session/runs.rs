//! Large packets of a flow, one direction: runs of equal sizes, bounded.

use super::facts::{MAX_FRAMES, keep};
use crate::event::{FrameRef, Large, Timestamp};

/// Runs of equal large packets kept per direction of a flow.
pub const MAX_RUNS: usize = 16;
/// Of so many runs it is told when they begin: enough to see whose they are.
const TOLD: usize = 6;
/// A silence this long begins a new run, nanoseconds.
const SILENCE: i64 = 1_000_000_000;

/// The runs, oldest first; takes hardly any room where there are none, as with most flows.
#[derive(Clone, Debug, Default)]
pub struct Runs(Option<Box<Kept>>);

#[derive(Clone, Debug)]
struct Kept {
    older: Vec<Run>,
    /// The one that began last: most packets belong to it, so that it lies nearest.
    latest: Run,
}

impl Kept {
    fn iter(&self) -> impl Iterator<Item = &Run> {
        self.older.iter().chain([&self.latest])
    }

    fn newest_first(&mut self) -> impl Iterator<Item = &mut Run> {
        [&mut self.latest].into_iter().chain(self.older.iter_mut().rev())
    }
}

impl Runs {
    /// Were there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.0.iter().flat_map(|kept| kept.iter())
    }

    /// All of them, to change them; newest first.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Run> {
        self.0.iter_mut().flat_map(|kept| kept.newest_first())
    }

    /// Adds a packet; says whether it begins one of the first runs.
    pub(super) fn add(&mut self, at: Timestamp, frame: FrameRef, large: Large) -> bool {
        let Some(kept) = self.0.as_deref_mut() else {
            self.0 = Some(Box::new(Kept { older: Vec::new(), latest: Run::new(at, frame, large) }));
            return true;
        };
        let count = kept.older.len() + 1;
        let full = count >= MAX_RUNS;
        // Of a flow of many runs each first frame is enough: evidence shows no more of all together.
        let room = if count > MAX_RUNS / 2 { 1 } else { MAX_FRAMES / count };
        let goes_on = |run: &&mut Run| run.size == large.ip_len && (full || at.nanos_since(run.last) <= SILENCE);
        if let Some(run) = kept.newest_first().find(goes_on) {
            run.add(at, frame, large.again, room);
            return false;
        }
        // The size is new: where there is no room the smallest size goes, for it is the least telling one.
        let smallest = kept.iter().map(|run| run.size).min().filter(|_| full);
        if smallest.is_some_and(|size| large.ip_len <= size) {
            return false;
        }
        let latest = std::mem::replace(&mut kept.latest, Run::new(at, frame, large));
        keep(&mut kept.older, latest);
        if let Some(place) = kept.older.iter().position(|run| Some(run.size) == smallest) {
            kept.older.remove(place);
        }
        count < TOLD
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
