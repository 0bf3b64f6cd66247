//! What few connections show: closed windows, holes, silences, segments of two places.

use crate::dissect::Place;
use crate::event::{FrameRef, Hole, LARGE, Lapse, Timestamp, Vanished, ZeroWindow};

/// What few connections show, each way: kept apart, for there may be many.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Seldom {
    pub(super) deaf: [Deaf; 2],
    pub(super) closed: [ClosedWindow; 2],
    pub(super) holes: [Holes; 2],
    pub(super) elsewhere: Elsewhere,
    /// What vanished, with the number of its first byte.
    pub(super) vanished: [Option<(u32, Vanished)>; 2],
    /// Stretches that were acknowledged and never showed.
    pub(super) unseen: u32,
}

/// Segments that were seen once more, and with another TTL: at another place on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Elsewhere {
    pub(super) syns: u16,
    pub(super) data: u32,
}

impl Elsewhere {
    /// Were two places captured, rather than the way changed once?
    pub(super) fn is_sure(self, packets: u32) -> bool {
        /// So many segments, and so large a share of all.
        const MANY: u32 = 8;
        const SHARE: u32 = 4;
        self.syns > 0 || self.data >= MANY && self.data.saturating_mul(SHARE) >= packets
    }
}

/// The hole there is, with the number of its first byte, and the longest one there was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Holes {
    now: Option<(u32, Hole)>,
    longest: Option<Hole>,
}

impl Holes {
    /// What came at once behind the first was under way with it, nanoseconds.
    const AT_ONCE: i64 = 1_000_000_000;

    /// The hole is there, or none is.
    pub(super) fn stands(&mut self, hole: Option<(u32, u32)>, place: Place) {
        if self.now.map(|(seq, _)| seq) == hole.map(|(seq, _)| seq) {
            return;
        }
        self.longest = self.longest.into_iter().chain(self.told()).reduce(Holes::longer);
        let since = (place.at, place.frame);
        let begun =
            |bytes| Hole { since, until: place.at, bytes, behind: 0, large_came: false, missed: 0, is_left: false };
        self.now = hole.map(|(seq, bytes)| (seq, begun(bytes)));
    }

    /// It, where it stood for longer than a moment.
    fn late(&mut self, place: Place) -> Option<&mut (u32, Hole)> {
        self.now.as_mut().filter(|(_, hole)| place.at.nanos_since(hole.since.0) >= Holes::AT_ONCE)
    }

    /// A segment came from its sender.
    pub(super) fn came(&mut self, seq: u32, is_small: bool, place: Place) {
        let Some((first, hole)) = self.late(place) else { return };
        if (seq.wrapping_sub(*first) as i32) > 0 {
            hole.behind = hole.behind.saturating_add(u32::from(is_small));
            hole.large_came |= !is_small;
            hole.until = place.at;
        }
    }

    /// Its receiver acknowledges everything before that number.
    pub(super) fn acknowledged(&mut self, ack: u32) {
        if let Some((_, hole)) = self.now.as_mut().filter(|(first, _)| *first == ack) {
            hole.missed = hole.missed.saturating_add(1);
        }
    }

    /// The hole there is, where its receiver knew of it and something came from behind it later.
    fn told(&self) -> Option<Hole> {
        self.now.map(|(_, hole)| hole).filter(|hole| hole.missed > 0 && hole.behind > 0)
    }

    fn longer(a: Hole, b: Hole) -> Hole {
        if a.seconds() < b.seconds() { b } else { a }
    }

    /// At the end: the longest of which its receiver knew; without one, what it misses still.
    pub(super) fn total(self) -> Option<Hole> {
        let left = self.now.map(|(_, hole)| Hole { is_left: true, ..hole }).filter(|hole| hole.missed > 0);
        let told = left.filter(|hole| hole.behind > 0);
        self.longest.into_iter().chain(told).reduce(Holes::longer).or(left)
    }
}

/// One side's window: how often it was announced closed, since when it is, and how long it was before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ClosedWindow {
    segments: u32,
    since: Option<Timestamp>,
    nanos: i64,
}

impl ClosedWindow {
    /// Its side announces a window.
    pub(super) fn announced(&mut self, is_closed: bool, at: Timestamp) {
        if is_closed {
            self.segments = self.segments.saturating_add(1);
            self.since.get_or_insert(at);
        } else if let Some(since) = self.since.take() {
            self.nanos = self.nanos.saturating_add(at.nanos_since(since));
        }
    }

    pub(super) fn total(mut self, last: Timestamp) -> ZeroWindow {
        let segments = u16::try_from(self.segments).unwrap_or(u16::MAX);
        self.announced(false, last);
        let centiseconds = self.nanos.max(0) / 10_000_000;
        ZeroWindow { segments, centiseconds: u16::try_from(centiseconds).unwrap_or(u16::MAX) }
    }
}

/// Resends that tell of a lost path rather than of a lost packet.
const LOST: u8 = 3;

/// Since when one side has been without an answer, and the longest such time that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Deaf {
    since: (Timestamp, FrameRef),
    pub(super) longest: Option<Lapse>,
    /// Such segments since anything new came the other way.
    pub(super) in_vain: u8,
    large: LargeAgain,
}

impl Deaf {
    /// It sent a segment again; `unheard` of them came before and were not answered.
    pub(super) fn sent_again(&mut self, unheard: &mut u8, end: u32, size: u32, place: Place) {
        if size >= LARGE && *unheard == 0 {
            return self.large.add(end, size, place);
        }
        self.large = LargeAgain::default();
        *unheard = unheard.saturating_add(1);
        self.in_vain = self.in_vain.saturating_add(1);
        if *unheard == 1 {
            self.since = (place.at, place.frame);
        }
    }

    /// It heard something after it had sent so many again in vain: what is acknowledged, if anything is. Was there any such time?
    pub(super) fn heard(&mut self, resent: u8, ack: Option<u32>, place: Place) -> bool {
        if resent == 0 && self.large.times == 0 {
            return false;
        }
        let lapse = match resent {
            0 => self.large.heard(ack, place),
            _ => (resent >= LOST).then_some(Lapse { first: self.since, until: place.at, resent, is_large: false }),
        };
        if let Some(lapse) = lapse
            && self.longest.is_none_or(|longest| longest.seconds() < lapse.seconds())
        {
            self.longest = Some(lapse);
        }
        self.since = Default::default();
        true
    }
}

/// Segments of one large size alone that were sent again and again while nothing came back. Where the first of them is acknowledged in
/// the end, and no smaller one was sent, it was not for their size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct LargeAgain {
    since: (Timestamp, FrameRef),
    /// Sequence number behind the first of them.
    end: u32,
    /// IP bytes.
    size: u32,
    times: u8,
    /// When something came back, before that was acknowledged: then one more may be on its way, or is sent.
    heard: Option<Timestamp>,
    is_last: bool,
}

impl LargeAgain {
    fn add(&mut self, end: u32, size: u32, place: Place) {
        if self.times == 0 || self.size != size || self.is_last {
            *self = LargeAgain { since: (place.at, place.frame), end, size, ..LargeAgain::default() };
        }
        self.is_last = self.heard.is_some();
        self.times = self.times.saturating_add(u8::from(!self.is_last));
    }

    /// Something came back: how long nothing had, once the first of them is acknowledged.
    fn heard(&mut self, ack: Option<u32>, place: Place) -> Option<Lapse> {
        let until = *self.heard.get_or_insert(place.at);
        ack.filter(|ack| ack.wrapping_sub(self.end) as i32 >= 0)?;
        let LargeAgain { since: first, times: resent, .. } = std::mem::take(self);
        (resent >= LOST).then_some(Lapse { first, until, resent, is_large: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_places_show_by_syns_or_by_a_large_share_of_the_data() {
        let is_sure = |syns, data, packets| Elsewhere { syns, data }.is_sure(packets);
        assert!(is_sure(1, 0, 9) && is_sure(0, 30, 100));
        assert!(!is_sure(0, 7, 14), "few");
        assert!(!is_sure(0, 30, 1000), "the way changed once, and what had been lost came again");
    }

    #[test]
    fn a_hole_tells_of_small_segments_from_behind_it_that_its_receiver_could_not_take() {
        let place = Place::at;
        let hole = |large: bool, ack: u32| {
            let mut holes = Holes::default();
            holes.stands(Some((1000, 1400)), place(0.0));
            holes.came(2400, true, place(0.1));
            for seconds in [2.0, 5.0, 12.0] {
                holes.stands(Some((1000, 1400)), place(seconds));
                holes.came(2500, !large, place(seconds));
                holes.acknowledged(ack);
            }
            holes.stands(None, place(13.0));
            holes.total()
        };
        let found = hole(false, 1000).unwrap();
        assert_eq!((found.bytes, found.behind, found.missed, found.large_came), (1400, 3, 3, false));
        assert!((found.seconds() - 12.0).abs() < 1e-6);
        assert!(hole(false, 900).is_none(), "nobody says that they are missing");
        assert!(hole(true, 1000).is_none_or(|hole| hole.large_came));
        let mut holes = Holes::default();
        holes.stands(Some((1000, 1400)), place(0.0));
        holes.came(2400, true, place(0.0));
        assert!(holes.total().is_none());
        holes.acknowledged(1000);
        assert!(holes.total().is_some_and(|hole| hole.is_left && hole.behind == 0));
    }
}
