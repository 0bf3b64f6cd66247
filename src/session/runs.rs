//! Large packets of a flow, one direction: runs of equal sizes, bounded.

use super::facts::MAX_FRAMES;
use super::few::{Few, Rare};
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
    older: Few<Run>,
    /// The one that began last: most packets belong to it, so that it lies nearest.
    latest: Run,
    /// The smallest size kept.
    least: u32,
    /// There was no room for some, which are smaller than all that are kept.
    lacks: bool,
}

impl Kept {
    fn iter(&self) -> impl Iterator<Item = &Run> {
        self.older.iter().chain([&self.latest])
    }

    fn newest_first(&mut self) -> impl Iterator<Item = &mut Run> {
        [&mut self.latest].into_iter().chain(self.older.iter_mut().rev())
    }

    /// Puts one behind the older ones in place of the first of the smallest size, unless it is that itself.
    fn displace_smallest(&mut self, run: Run) {
        let Some(place) = self.older.iter().position(|older| older.size == self.least) else { return };
        let behind = self.older.get_mut(place..).unwrap_or_default();
        behind.rotate_left(1);
        if let Some(last) = behind.last_mut() {
            *last = run;
        }
    }
}

impl Runs {
    /// None.
    pub const NONE: Runs = Runs(None);

    /// Were there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.0.iter().flat_map(|kept| kept.iter())
    }

    /// Were there more, with no room for them? Those are smaller than the ones kept.
    pub fn lack_some(&self) -> bool {
        self.0.as_ref().is_some_and(|kept| kept.lacks)
    }

    /// All of them, to change them; newest first.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Run> {
        self.0.iter_mut().flat_map(|kept| kept.newest_first())
    }

    /// Adds a packet; says whether it begins one of the first runs.
    pub(super) fn add(&mut self, at: Timestamp, frame: FrameRef, large: Large) -> bool {
        let Some(kept) = self.0.as_deref_mut() else {
            let (older, latest, least) = (Few::default(), Run::new(at, frame, large), large.ip_len);
            self.0 = Some(Box::new(Kept { older, latest, least, lacks: false }));
            return true;
        };
        let count = kept.older.len() + 1;
        let full = count >= MAX_RUNS;
        // Where there is no room the smallest size goes, for it is the least telling one.
        if full && large.ip_len < kept.least {
            kept.lacks = true;
            return false;
        }
        // Of a flow of many runs each first frame is enough: evidence shows no more of all together.
        let room = if count > MAX_RUNS / 2 { 1 } else { MAX_FRAMES / count };
        let goes_on = |run: &&mut Run| run.size == large.ip_len && (full || at.nanos_since(run.last) <= SILENCE);
        if let Some(run) = kept.newest_first().find(goes_on) {
            run.add(at, frame, large.again, room);
            return false;
        }
        let before = std::mem::replace(&mut kept.latest, Run::new(at, frame, large));
        kept.lacks |= full;
        match full {
            true => kept.displace_smallest(before),
            false => kept.older.push(before),
        }
        kept.least = kept.iter().map(|run| run.size).min().unwrap_or_default();
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
    /// Numbers of further frames of the same file; most runs have none.
    more: Rare<u32>,
}

impl Run {
    fn new(at: Timestamp, frame: FrameRef, large: Large) -> Run {
        Run {
            size: large.ip_len,
            first: at,
            last: at,
            count: 1,
            again: u32::from(large.again),
            frame,
            more: Rare::default(),
        }
    }

    /// Their frames, at most [`MAX_FRAMES`]; fewer where there are many runs, and none of the next file of a ring.
    pub fn frames(&self) -> impl Iterator<Item = FrameRef> {
        let capture = self.frame.capture;
        std::iter::once(self.frame).chain(self.more.iter().map(move |number| FrameRef { capture, number: *number }))
    }

    fn add(&mut self, at: Timestamp, frame: FrameRef, again: bool, room: usize) {
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        // Room never grows: as long as there was some, all frames were kept.
        if (self.count as usize) < room && frame.capture == self.frame.capture {
            self.more.push(frame.number);
        }
        self.count = self.count.saturating_add(1);
        self.again = self.again.saturating_add(u32::from(again));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Direction;

    /// Adds packets of those sizes, each so many seconds after the one before; says which began a run that is told.
    fn add(runs: &mut Runs, sizes: impl IntoIterator<Item = u32>, apart: f64) -> Vec<bool> {
        let last = runs.iter().map(|run| run.last).max().unwrap_or_default();
        let moments = (1..).map(|n| last.plus_seconds(f64::from(n) * apart));
        let frame = |n: u32| FrameRef { capture: 0, number: n };
        let packet = |ip_len| Large { direction: Direction::ToClient, ip_len, again: false };
        moments.zip(sizes).zip(1..).map(|((at, size), n)| runs.add(at, frame(n), packet(size))).collect()
    }

    fn sizes(runs: &Runs) -> Vec<u32> {
        runs.iter().map(|run| run.size).collect()
    }

    #[test]
    fn whether_some_had_no_room_is_known() {
        let mut runs = Runs::default();
        add(&mut runs, [1444; 4 * MAX_RUNS], 2.0);
        assert!(!runs.lack_some(), "of one size all are counted");
        add(&mut runs, [1443], 2.0);
        assert!(runs.lack_some());
    }

    #[test]
    fn equal_packets_without_a_pause_are_one_run_and_few_runs_are_told() {
        let mut runs = Runs::default();
        assert!(runs.is_empty());
        assert_eq!(add(&mut runs, [1400, 1400, 900, 1400, 900], 0.1), [true, false, true, false, false]);
        assert_eq!(add(&mut runs, [1400], 2.0), [true], "after a pause");
        assert_eq!(sizes(&runs), [1400, 900, 1400]);
        assert_eq!(runs.iter().map(|run| run.count).collect::<Vec<_>>(), [3, 2, 1]);
        let told = add(&mut runs, 1001..1006, 0.1).into_iter().filter(|told| *told).count();
        assert_eq!(told, TOLD - 3);
    }

    #[test]
    fn where_there_is_no_room_the_smallest_size_goes() {
        let full = || {
            let mut runs = Runs::default();
            add(&mut runs, (0..MAX_RUNS as u32).map(|n| 1000 + n), 0.1);
            runs
        };
        let mut runs = full();
        add(&mut runs, [900, 1000], 2.0);
        assert_eq!(sizes(&runs), sizes(&full()), "smaller, and one of them again, pause or not");
        add(&mut runs, [1400], 0.1);
        assert_eq!(sizes(&runs), sizes(&full()).into_iter().skip(1).chain([1400]).collect::<Vec<_>>());
        // The one that began last may be the smallest.
        let mut runs = Runs::default();
        add(&mut runs, (0..MAX_RUNS as u32).rev().map(|n| 1000 + n), 0.1);
        add(&mut runs, [1400], 0.1);
        assert_eq!(sizes(&runs).last_chunk(), Some(&[1002, 1001, 1400]));
    }

    #[test]
    fn frames_are_kept_while_there_is_room() {
        let mut runs = Runs::default();
        add(&mut runs, vec![1400; 100], 0.001);
        add(&mut runs, vec![900; 100], 0.001);
        add(&mut runs, vec![1400; 100], 0.001);
        let kept: Vec<(u32, usize)> = runs.iter().map(|run| (run.count, run.frames().count())).collect();
        assert_eq!(kept, [(200, MAX_FRAMES), (100, MAX_FRAMES / 2)]);
    }
}
