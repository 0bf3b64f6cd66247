//! Who spoke when a packet passed inside: a packet goes into a tunnel, or comes out of it, right beside the record that carries it.
//!
//! Only for what one capture saw with one clock. How much a meeting says depends on how busy the tunnels are: records that are
//! everywhere meet every packet.

use crate::chunks::Chunks;
use crate::event::{FlowId, PointId, Timestamp};

/// A gateway that takes longer than this from one side to the other is not waited for, nanoseconds.
const LONGEST: u32 = 2_000_000;
/// Clocks of interfaces are no finer, nanoseconds.
const SHORTEST: u32 = 1_000;
/// Flows that wait for the next record at a time.
const MOST_WAITING: usize = 4;
/// Meetings kept: 32 bytes each.
const MOST: usize = 1 << 20;

/// A flow at a point.
pub type Place = (PointId, FlowId);

/// Large packets of one flow began beside a record of another one.
#[derive(Clone, Copy, Debug)]
pub struct Meeting {
    /// When the packets began.
    pub at: Timestamp,
    /// The flow of the packets.
    pub inner: Place,
    /// The flow of the record.
    pub outer: Place,
    /// How surprising that is if the two have nothing to do with each other: the negative logarithm of its probability.
    pub weight: f32,
}

/// When, inner flow, outer flow, nanoseconds apart.
type Met = (Timestamp, Place, Place, u32);

/// Listens for meetings.
#[derive(Debug, Default)]
pub struct Meetings {
    last: Option<(Timestamp, Place)>,
    waiting: Vec<(Timestamp, Place)>,
    met: Chunks<Met, 0x2000>,
    left_out: u64,
    records: u64,
    span: Option<(Timestamp, Timestamp)>,
}

impl Meetings {
    /// A record, or a large packet of one, was seen.
    pub fn record(&mut self, at: Timestamp, place: Place) {
        if self.last == Some((at, place)) {
            return;
        }
        self.records += 1;
        self.span = Some((self.span.map_or(at, |(first, _)| first), at));
        self.last = Some((at, place));
        if !self.waiting.is_empty() {
            let mut waiting = std::mem::take(&mut self.waiting);
            waiting.drain(..).for_each(|(since, inner)| self.note(since, inner, place, at.nanos_since(since)));
            self.waiting = waiting;
        }
    }

    /// Large packets of a flow that is no tunnel begin.
    pub fn begin(&mut self, at: Timestamp, inner: Place) {
        if let Some((before, outer)) = self.last {
            self.note(at, inner, outer, at.nanos_since(before));
        }
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push((at, inner));
        }
    }

    fn note(&mut self, at: Timestamp, inner: Place, outer: Place, apart: i64) {
        let Some(apart) = u32::try_from(apart).ok().filter(|apart| *apart <= LONGEST) else { return };
        if self.met.len() < MOST {
            self.met.push((at, inner, outer, apart));
        } else {
            self.left_out += 1;
        }
    }

    /// Meetings that there was no room for.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// What was met, weighed by how many records there were in all.
    pub fn finish(self) -> Vec<Meeting> {
        let seconds = self.span.map_or(0.0, |(first, last)| last.seconds_since(first)).max(1.0);
        let rate = self.records as f64 / seconds;
        let weigh = |(at, inner, outer, apart): Met| {
            let expected = rate * f64::from(apart.max(SHORTEST)) / 1e9;
            let chance = -(-expected).exp_m1();
            Meeting { at, inner, outer, weight: -chance.ln() as f32 }
        };
        let mut all = Vec::with_capacity(self.met.len());
        all.extend(self.met.into_iter().map(weigh));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_close_by_says_more_than_one_further_off_and_in_a_busy_capture_less() {
        let at = Timestamp::from_nanos;
        let [tunnel, inner] = [(PointId(0), FlowId(1)), (PointId(1), FlowId(2))];
        let weight = |apart: i64, records: i64| {
            let mut meetings = Meetings::default();
            (0..records).for_each(|n| meetings.record(at(n * 1_000_000_000 / records), (PointId(0), FlowId(0))));
            meetings.record(at(1_000_000_000), tunnel);
            meetings.begin(at(1_000_000_000 + apart), inner);
            meetings.record(at(9_000_000_000), tunnel);
            let met = meetings.finish();
            assert!(met.iter().all(|m| m.inner == inner && m.outer == tunnel));
            met.first().map_or(0.0, |m| m.weight)
        };
        assert!(weight(10_000, 10) > weight(1_000_000, 10));
        assert!(weight(1_000_000, 10) > 4.0);
        assert!(weight(1_000_000, 9_000) < 0.9);
        assert_eq!(weight(5_000_000, 10), 0.0);
    }

    #[test]
    fn a_packet_on_its_way_in_meets_the_record_behind_it() {
        let mut meetings = Meetings::default();
        meetings.begin(Timestamp::from_nanos(0), (PointId(1), FlowId(2)));
        meetings.record(Timestamp::from_nanos(50_000), (PointId(0), FlowId(1)));
        meetings.record(Timestamp::from_nanos(60_000), (PointId(0), FlowId(3)));
        let met = meetings.finish();
        assert_eq!(met.iter().map(|m| m.outer.1).collect::<Vec<_>>(), [FlowId(1)]);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut meetings = Meetings::default();
        meetings.record(Timestamp::from_nanos(0), (PointId(0), FlowId(1)));
        (0..MOST + 5).for_each(|_| meetings.begin(Timestamp::from_nanos(10), (PointId(1), FlowId(2))));
        assert_eq!(meetings.left_out(), 5);
        assert_eq!(meetings.finish().len(), MOST);
    }
}
