//! Which packet sizes got through one direction of a TCP connection: the ground for judging path MTU and
//! black holes (RFC 2923 §2.1, RFC 8899 §3). Promises constant time and memory per packet.
//! Refuses to guess: a size is proven only by an ack that nothing else can explain.
//!
//! An ack proves the size of a segment when the whole history of its range is known (new data, or part of a
//! watched segment that itself could be proven) and no smaller segment touched the range: of all the sizes
//! that may have carried the bytes, the smallest is proven. A segment resent at its own size still proves it.
//! Offloaded frames (larger than the link's MTU) are no packets: do not feed them.

use super::Direction;
use crate::capture::Timestamp;

/// Sizes up to this pass everywhere (RFC 791 §3.2: every host takes 576 bytes); only larger ones are watched.
pub const WATCHED_ABOVE: u32 = 576;

/// Segments watched at once; when full, those with the lowest sequence numbers stay, for they are resent first.
const WATCHED: usize = 4;

/// Nanoseconds within which the same segment again is one frame captured twice, not a resend: the least
/// retransmission timeout in use is 200 ms.
const CAPTURED_TWICE: i64 = 10_000_000;

/// What got through one direction, fed with all its segments and the other side's acks. 16 bytes until a
/// segment above [`WATCHED_ABOVE`] is sent, then 56 more, and another 160 while one is not acknowledged.
#[derive(Debug, Default)]
pub struct SizeProbe {
    /// End of the highest data sent: bytes before it have a history.
    sent: Option<u32>,
    probe: Option<Box<Probe>>,
}

#[derive(Debug, Default)]
struct Probe {
    watched: Watched,
    progress: Option<Timestamp>,
    /// Everything before it is acknowledged, once anything was heard; until then the first byte of the first segment watched.
    acked: u32,
    heard: bool,
    /// Resends of what was acknowledged, since anything new was.
    needless: u8,
    /// The same was acknowledged again since: something may have come behind what is next.
    repeated: bool,
    largest_passed: Option<Passed>,
    /// The smallest that is stuck and how many are: boxed, for hardly anything gets stuck.
    stuck: Option<Box<(Stuck, u32)>>,
}

/// The segments watched, lowest place first; most of the time there are none, and no room for them.
#[derive(Debug, Default)]
struct Watched(Option<Box<[Option<Segment>; WATCHED]>>);

impl Watched {
    fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.0.iter().flat_map(|places| places.iter().flatten())
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Segment> {
        self.0.iter_mut().flat_map(|places| places.iter_mut().flatten())
    }

    /// Takes out those that nothing waits for any more, in order.
    fn take_before(&mut self, ack: u32, mut taken: impl FnMut(Segment)) {
        let Some(places) = &mut self.0 else { return };
        for place in places.iter_mut() {
            if let Some(segment) = place.take_if(|segment| !before(ack, segment.end())) {
                taken(segment);
            }
        }
        if places.iter().all(Option::is_none) {
            self.0 = None;
        }
    }
}

/// A data segment sent and not acknowledged yet.
#[derive(Clone, Copy, Debug)]
struct Segment {
    seq: u32,
    /// Payload bytes.
    len: u32,
    ip_len: u16,
    times: u16,
    first_frame: u32,
    last_frame: u32,
    first: Timestamp,
    last: Timestamp,
    /// Its ack proves its size.
    provable: bool,
    /// Some of it was sent again in a smaller one.
    in_smaller: bool,
    /// Segments up to [`WATCHED_ABOVE`] sent behind it, and how many of them were selectively acknowledged, as far as told.
    behind: u8,
    overtaken: u8,
}

/// [`Sizes`] each way; takes no room where nothing was learned, as with most flows, and little where only one way is.
#[derive(Clone, Debug, Default)]
pub struct SizesByDirection(Option<Box<Learned>>);

#[derive(Clone, Debug)]
enum Learned {
    One(Direction, Sizes),
    Both(Box<[Sizes; 2]>),
}

impl SizesByDirection {
    /// What both probes of a flow learned, to-server first.
    pub fn of(probes: &[SizeProbe; 2]) -> SizesByDirection {
        probes.each_ref().map(SizeProbe::sizes).into()
    }

    /// What was learned that way.
    pub fn toward(&self, way: Direction) -> &Sizes {
        const NONE: &Sizes =
            &Sizes { largest_passed: None, smallest_stuck: None, segments_stuck: 0, needless: 0, progress: None };
        match self.0.as_deref() {
            Some(Learned::One(known, sizes)) if *known == way => sizes,
            Some(Learned::Both(sizes)) => way.of(sizes),
            _ => NONE,
        }
    }

    /// What was learned, to-server first.
    pub fn iter(&self) -> impl Iterator<Item = &Sizes> {
        [Direction::ToServer, Direction::ToClient].into_iter().map(|way| self.toward(way))
    }

    /// The same, as far as anything was, to change it.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Sizes> {
        let known = self.0.as_deref_mut().map(|learned| match learned {
            Learned::One(_, sizes) => std::slice::from_mut(sizes),
            Learned::Both(sizes) => &mut sizes[..],
        });
        known.into_iter().flatten()
    }
}

impl From<[Sizes; 2]> for SizesByDirection {
    fn from(sizes: [Sizes; 2]) -> SizesByDirection {
        let nothing = Sizes::default();
        let [to_server, to_client] = sizes;
        SizesByDirection(match (to_server == nothing, to_client == nothing) {
            (true, true) => None,
            (false, true) => Some(Box::new(Learned::One(Direction::ToServer, to_server))),
            (true, false) => Some(Box::new(Learned::One(Direction::ToClient, to_client))),
            (false, false) => Some(Box::new(Learned::Both(Box::new([to_server, to_client])))),
        })
    }
}

/// What the probe learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The largest packet that provably arrived; `None` when none above [`WATCHED_ABOVE`] did.
    pub largest_passed: Option<Passed>,
    /// The smallest packet sent again and again in vain.
    pub smallest_stuck: Option<Box<Stuck>>,
    /// How many segments were stuck.
    pub segments_stuck: u32,
    /// Segments sent again though they were acknowledged, up to 255, since anything new was: their sender does not hear it.
    pub needless: u32,
    /// When data of any size was last acknowledged, once a packet above [`WATCHED_ABOVE`] had been sent.
    pub progress: Option<Timestamp>,
}

/// A packet that arrived: the other side acknowledged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Bytes, IP header included.
    pub ip_len: u32,
    /// Frame number of its (last) sending.
    pub frame: u32,
    /// When the first of that size was acknowledged.
    pub first: Timestamp,
    /// When the last one was.
    pub at: Timestamp,
}

/// A segment sent at least twice at the same size and not acknowledged by the end, or only after a smaller
/// resend, while nothing as large passed later in that direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Bytes, IP header included.
    pub ip_len: u32,
    /// Sequence number of its first byte.
    pub seq: u32,
    /// How often it was sent at this size; at least 2.
    pub times: u32,
    /// Frame number of the first sending.
    pub first_frame: u32,
    /// Frame number of the last sending at this size.
    pub last_frame: u32,
    /// When it was first sent.
    pub first: Timestamp,
    /// When it was last sent at this size.
    pub last: Timestamp,
    /// Small segments sent behind it that arrived, as selective acknowledgments tell (RFC 2018).
    pub overtaken: u32,
    /// Small segments sent behind it, up to 255, where none of them was answered by as much as the same acknowledgment once more.
    pub behind: u32,
}

impl SizeProbe {
    /// A segment was sent: its sequence number, payload bytes, IP total length, frame and time. Empty ones
    /// (SYN, bare ACK) count too: they tell where new data starts.
    #[inline]
    pub fn sent(&mut self, seq: u32, payload_len: u32, ip_len: u32, frame: u32, at: Timestamp) {
        let end = seq.wrapping_add(payload_len);
        let is_new = self.sent.is_some_and(|sent| !before(seq, sent));
        if self.sent.is_none_or(|sent| before(sent, end)) {
            self.sent = Some(end);
        }
        if payload_len == 0 || (self.probe.is_none() && ip_len <= WATCHED_ABOVE) {
            return;
        }
        let Ok(ip_len) = u16::try_from(ip_len) else {
            return; // above 65,535 bytes it was never one IPv4 packet
        };
        let segment = Segment {
            seq,
            len: payload_len,
            ip_len,
            times: 1,
            first_frame: frame,
            last_frame: frame,
            first: at,
            last: at,
            provable: is_new,
            in_smaller: false,
            behind: 0,
            overtaken: 0,
        };
        let probe = self.probe.get_or_insert_with(|| Box::new(Probe { acked: seq, ..Probe::default() }));
        probe.sent(segment, is_new);
    }

    /// The other side acknowledged everything before `ack`, and what begins at `sacked` behind it; without saying anything, if `bare`.
    #[inline]
    pub fn acknowledged(&mut self, ack: u32, sacked: Option<u32>, bare: bool, at: Timestamp) {
        let (Some(probe), Some(sent)) = (&mut self.probe, self.sent) else {
            return;
        };
        if before(sent, ack) && ack.wrapping_sub(sent) > 1 {
            return; // of data we never saw (FIN allowed): whatever it proves, we cannot say
        }
        probe.acknowledged(ack, bare.then_some(sent), at);
        // A block before the ack only tells of what arrived twice (RFC 2883 §4).
        if sacked.is_some_and(|block| before(ack, block)) {
            probe.overtaken(ack);
        }
    }

    /// What is known by now; at the end of the capture, what was learned.
    pub fn sizes(&self) -> Sizes {
        self.probe.as_deref().map(Probe::sizes).unwrap_or_default()
    }
}

impl Probe {
    fn sent(&mut self, mut segment: Segment, is_new: bool) {
        if self.has_acknowledged(segment.end()) {
            // A needless resend says nothing about sizes; one byte alone keeps the connection alive (RFC 9293 §3.8.4).
            self.needless = self.needless.saturating_add(u8::from(segment.len > 1));
            return;
        }
        self.repeated &= !is_new || segment.seq != self.acked;
        let known = !is_new && self.resent(&mut segment);
        if !known && u32::from(segment.ip_len) > WATCHED_ABOVE {
            self.watch(segment);
        } else if is_new {
            self.watched.iter_mut().for_each(|watched| watched.behind = watched.behind.saturating_add(1));
        }
    }

    /// Is everything before that number acknowledged?
    fn has_acknowledged(&self, end: u32) -> bool {
        self.heard && !before(self.acked, end)
    }

    /// Something behind what begins there arrived.
    fn overtaken(&mut self, ack: u32) {
        if let Some(first) = self.watched.iter_mut().find(|watched| watched.seq == ack) {
            first.overtaken = first.overtaken.saturating_add(1).min(first.behind);
        }
    }

    /// Old bytes again: counts the same segment, spoils the proof of larger ones. Was the segment known?
    fn resent(&mut self, again: &mut Segment) -> bool {
        let mut known = false;
        for old in self.watched.iter_mut() {
            if old.seq == again.seq && old.ip_len == again.ip_len {
                if again.last.nanos_since(old.last) >= CAPTURED_TWICE {
                    old.times = old.times.saturating_add(1);
                    old.last_frame = again.last_frame;
                    old.last = again.last;
                }
                known = true;
            } else if again.ip_len < old.ip_len && before(again.seq, old.end()) && before(old.seq, again.end()) {
                let within = !before(again.seq, old.seq) && !before(old.end(), again.end());
                again.provable |= within && old.provable;
                old.provable = false;
                old.in_smaller = true;
            }
        }
        known
    }

    /// Watches a segment, in place of the one with the highest number when there is no room.
    fn watch(&mut self, segment: Segment) {
        let places = self.watched.0.get_or_insert_default();
        if let Some(free) = places.iter_mut().find(|place| place.is_none()) {
            *free = Some(segment);
            return;
        }
        let highest = self.watched.iter_mut().reduce(|a, b| if before(a.seq, b.seq) { b } else { a });
        if let Some(place) = highest.filter(|place| before(segment.seq, place.seq) && place.times == 1) {
            *place = segment;
        }
    }

    /// Where it says nothing else, everything before `sent` was sent.
    fn acknowledged(&mut self, ack: u32, sent: Option<u32>, at: Timestamp) {
        if self.has_acknowledged(ack) {
            self.repeated |= ack == self.acked;
            return;
        }
        // What acknowledges nothing of it tells only where it answers something that was sent behind.
        let is_behind = |sent| self.watched.iter().any(|watched| watched.seq == ack && before(watched.end(), sent));
        if self.heard || before(self.acked, ack) || sent.is_some_and(is_behind) {
            self.progress = Some(at);
        }
        (self.acked, self.heard, self.needless, self.repeated) = (ack, true, 0, false);
        let mut passed: Option<Passed> = None;
        let stuck = &mut self.stuck;
        self.watched.take_before(ack, |segment| {
            if segment.provable {
                let (ip_len, frame) = (u32::from(segment.ip_len), segment.last_frame);
                let arrived = Passed { ip_len, frame, first: at, at };
                passed = passed.filter(|passed| passed.ip_len >= arrived.ip_len).or(Some(arrived));
            } else if segment.in_smaller && segment.times >= 2 {
                note_stuck(stuck, segment.stuck());
            }
        });
        if let Some(passed) = passed {
            self.passed(passed);
        }
    }

    /// What is as small as something that passed later was only lost.
    fn passed(&mut self, passed: Passed) {
        match &mut self.largest_passed {
            Some(largest) if largest.ip_len > passed.ip_len => {}
            Some(largest) if largest.ip_len == passed.ip_len => largest.at = passed.at,
            largest => *largest = Some(passed),
        }
        self.stuck.take_if(|stuck| stuck.0.ip_len <= passed.ip_len);
    }

    fn sizes(&self) -> Sizes {
        let mut stuck = self.stuck.clone();
        for segment in self.watched.iter().filter(|segment| segment.times >= 2) {
            note_stuck(&mut stuck, segment.stuck());
        }
        let (mut smallest_stuck, segments_stuck) = stuck.map(|stuck| *stuck).unzip();
        if let Some(stuck) = smallest_stuck.as_mut().filter(|_| self.repeated) {
            stuck.behind = 0;
        }
        Sizes {
            largest_passed: self.largest_passed,
            smallest_stuck: smallest_stuck.map(Box::new),
            segments_stuck: segments_stuck.unwrap_or(0),
            needless: u32::from(self.needless),
            progress: self.progress,
        }
    }
}

impl Segment {
    fn end(&self) -> u32 {
        self.seq.wrapping_add(self.len)
    }

    fn stuck(&self) -> Stuck {
        Stuck {
            ip_len: u32::from(self.ip_len),
            seq: self.seq,
            times: u32::from(self.times),
            first_frame: self.first_frame,
            last_frame: self.last_frame,
            first: self.first,
            last: self.last,
            overtaken: u32::from(self.overtaken),
            behind: u32::from(self.behind),
        }
    }
}

fn note_stuck(known: &mut Option<Box<(Stuck, u32)>>, stuck: Stuck) {
    let (smallest, count) = &mut **known.get_or_insert_with(|| Box::new((stuck, 0)));
    *count = count.saturating_add(1);
    if stuck.ip_len < smallest.ip_len {
        *smallest = stuck;
    }
}

/// Does sequence number `a` come before `b` (RFC 9293 §3.4)?
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A probe whose frames and seconds count up by themselves; payload = IP length − 40.
    #[derive(Default)]
    struct Lab {
        probe: SizeProbe,
        frame: u32,
    }

    impl Lab {
        fn send(&mut self, seq: u32, ip_len: u32) {
            self.frame += 1;
            if self.frame == 1 {
                self.probe.sent(seq.wrapping_sub(1), 0, 40, 0, Timestamp::from_nanos(0)); // SYN
            }
            let at = Timestamp::from_nanos(i64::from(self.frame) * 1_000_000_000);
            self.probe.sent(seq, ip_len - 40, ip_len, self.frame, at);
        }

        fn acknowledge(&mut self, ack: u32) {
            self.probe.acknowledged(ack, None, true, Timestamp::from_nanos(i64::from(self.frame) * 1_000_000_000));
        }

        fn acknowledge_beyond(&mut self, ack: u32, sacked: u32) {
            self.probe.acknowledged(
                ack,
                Some(sacked),
                true,
                Timestamp::from_nanos(i64::from(self.frame) * 1_000_000_000),
            );
        }

        fn passed(&self) -> Option<(u32, u32)> {
            self.probe.sizes().largest_passed.map(|passed| (passed.ip_len, passed.frame))
        }

        fn stuck(&self) -> Option<(u32, u32, u32)> {
            self.probe.sizes().smallest_stuck.map(|stuck| (stuck.ip_len, stuck.seq, stuck.times))
        }
    }

    #[test]
    fn small_talk_allocates_nothing() {
        let mut lab = Lab::default();
        lab.send(0, 576);
        lab.acknowledge(536);
        assert!(lab.probe.probe.is_none());
        assert_eq!(lab.probe.sizes(), Sizes::default());
        assert!(size_of::<Probe>() <= 56, "{}", size_of::<Probe>());
    }

    #[test]
    fn acknowledged_size_passed() {
        let mut lab = Lab::default();
        lab.send(0, 1418);
        lab.send(1378, 1000);
        lab.acknowledge(1377);
        assert_eq!(lab.passed(), None);
        lab.acknowledge(2338);
        assert_eq!(lab.passed(), Some((1418, 1)));
    }

    #[test]
    fn small_segments_that_overtake_a_stuck_one_are_counted() {
        let mut lab = Lab::default();
        lab.send(0, 100);
        lab.acknowledge(60);
        lab.send(60, 1500);
        lab.send(1520, 94);
        lab.acknowledge(60);
        lab.acknowledge_beyond(60, 1520);
        lab.acknowledge_beyond(60, 1520);
        lab.send(1574, 1500);
        lab.send(3034, 94);
        lab.acknowledge_beyond(60, 3034);
        lab.acknowledge_beyond(60, 0);
        lab.send(60, 1500);
        let stuck = lab.probe.sizes().smallest_stuck.unwrap();
        assert_eq!((stuck.ip_len, stuck.times, stuck.overtaken), (1500, 2, 2), "two were behind it");
    }

    #[test]
    fn what_is_sent_again_though_it_was_acknowledged_tells_that_its_sender_hears_nothing() {
        let mut lab = Lab::default();
        lab.send(0, 1418);
        lab.acknowledge(1378);
        for _ in 0..3 {
            lab.send(0, 1418);
            lab.acknowledge(1378);
        }
        lab.send(1377, 41);
        assert_eq!(lab.probe.sizes().needless, 3, "a keep-alive is none");
        lab.send(1378, 100);
        lab.acknowledge(1438);
        assert_eq!(lab.probe.sizes().needless, 0, "something new was heard");
    }

    #[test]
    fn small_segments_behind_a_stuck_one_count_until_anything_answers_them() {
        let mut lab = Lab::default();
        lab.send(0, 1000);
        lab.acknowledge(960);
        lab.acknowledge(960);
        for (seq, ip_len) in [(960, 1500), (2420, 94), (2474, 94), (960, 1500)] {
            lab.send(seq, ip_len);
        }
        let behind = |lab: &Lab| lab.probe.sizes().smallest_stuck.unwrap().behind;
        assert_eq!(behind(&lab), 2);
        lab.acknowledge(960);
        assert_eq!(behind(&lab), 0);
    }

    #[test]
    fn what_acknowledges_nothing_new_is_progress_only_behind_something_else() {
        let progress = |behind: bool, bare: bool| {
            let mut lab = Lab::default();
            lab.send(0, 100);
            lab.send(60, 1500);
            if behind {
                lab.send(1520, 94);
            }
            lab.probe.acknowledged(60, None, bare, Timestamp::from_nanos(9));
            lab.probe.sizes().progress
        };
        assert_eq!([progress(false, true), progress(true, false)], [None; 2]);
        assert_eq!(progress(true, true), Some(Timestamp::from_nanos(9)), "the small one came");
    }

    #[test]
    fn black_hole() {
        let mut lab = Lab::default();
        for i in 0..10 {
            lab.send(i * 1378, 1418);
        }
        for _ in 0..7 {
            lab.send(0, 1418);
        }
        lab.acknowledge(0);
        assert_eq!(lab.stuck(), Some((1418, 0, 8)));
        let sizes = lab.probe.sizes();
        assert_eq!(sizes.segments_stuck, 1);
        assert_eq!(sizes.largest_passed, None);
        let stuck = sizes.smallest_stuck.unwrap();
        assert_eq!((stuck.first_frame, stuck.last_frame), (1, 17));
        assert_eq!(stuck.last.seconds_since(stuck.first), 16.0);
    }

    #[test]
    fn smaller_resend_proves_only_itself() {
        let mut lab = Lab::default();
        lab.send(0, 1418);
        lab.send(0, 1418);
        lab.send(0, 1347); // path MTU learned
        lab.send(1307, 111);
        lab.acknowledge(1378);
        assert_eq!(lab.stuck(), Some((1418, 0, 2)));
        assert_eq!(lab.passed(), Some((1347, 3))); // carried by the 1347 or by something larger
        lab.send(1378, 1347);
        lab.acknowledge(1378 + 1307);
        assert_eq!(lab.passed(), Some((1347, 3)));
        assert_eq!(lab.stuck(), Some((1418, 0, 2)));
    }

    #[test]
    fn resend_of_a_resend_proves_the_smallest() {
        let mut lab = Lab::default();
        lab.send(0, 1418);
        lab.send(0, 1418);
        lab.send(0, 1240);
        lab.send(0, 640);
        lab.acknowledge(600);
        assert_eq!(lab.passed(), Some((640, 4)));
        lab.acknowledge(1200);
        assert_eq!(lab.passed(), Some((640, 4)));
    }

    #[test]
    fn frame_captured_twice_is_no_resend() {
        let mut probe = SizeProbe::default();
        probe.sent(0, 1378, 1418, 1, Timestamp::from_nanos(0));
        probe.sent(0, 1378, 1418, 2, Timestamp::from_nanos(9_000_000));
        assert_eq!(probe.sizes().smallest_stuck, None);
        probe.sent(0, 1378, 1418, 3, Timestamp::from_nanos(200_000_000));
        assert_eq!(probe.sizes().smallest_stuck.map(|stuck| stuck.times), Some(2));
    }

    #[test]
    fn coalesced_resend_proves_nothing() {
        let mut lab = Lab::default();
        lab.send(0, 540);
        lab.send(500, 540);
        lab.send(0, 1040);
        lab.acknowledge(1000);
        assert_eq!(lab.passed(), None);
    }

    #[test]
    fn first_segment_of_a_late_capture_proves_nothing() {
        let mut probe = SizeProbe::default();
        probe.sent(0, 1378, 1418, 1, Timestamp::from_nanos(0));
        probe.acknowledged(1378, None, true, Timestamp::from_nanos(0));
        assert_eq!(probe.sizes().largest_passed, None);
    }

    #[test]
    fn resend_after_icmp_is_not_stuck() {
        let mut lab = Lab::default();
        lab.send(0, 1418);
        lab.send(0, 1347);
        lab.send(1307, 111);
        lab.acknowledge(1378);
        assert_eq!(lab.stuck(), None);
        assert_eq!(lab.passed(), Some((1347, 2)));
    }

    #[test]
    fn ordinary_loss_is_not_stuck() {
        let mut lab = Lab::default();
        lab.send(0, 1418);
        lab.send(0, 1418);
        lab.acknowledge(1378);
        assert_eq!(lab.stuck(), None);
        assert_eq!(lab.passed(), Some((1418, 2)));
    }

    #[test]
    fn as_large_passing_later_clears() {
        let mut lab = Lab::default();
        lab.send(0, 1418);
        lab.send(0, 1418);
        lab.send(0, 740);
        lab.send(700, 718);
        lab.acknowledge(1378);
        assert_eq!(lab.stuck(), Some((1418, 0, 2)));
        lab.send(1378, 1418);
        lab.acknowledge(2756);
        assert_eq!(lab.stuck(), None);
        assert_eq!(lab.probe.sizes().segments_stuck, 0);
    }

    #[test]
    fn stuck_after_the_path_shrank() {
        let mut lab = Lab::default();
        lab.send(0, 1500);
        lab.acknowledge(1460);
        lab.send(1460, 1500);
        lab.send(1460, 1500);
        assert_eq!(lab.passed(), Some((1500, 1)));
        assert_eq!(lab.stuck(), Some((1500, 1460, 2)));
    }

    #[test]
    fn bytes_of_unknown_history_prove_nothing() {
        let mut lab = Lab::default();
        lab.send(10_000, 600);
        lab.send(0, 1418); // below what was sent: an earlier sending may have been smaller
        lab.send(0, 1418);
        assert_eq!(lab.stuck(), Some((1418, 0, 2)), "not acknowledged by now");
        lab.acknowledge(10_560);
        assert_eq!(lab.passed(), Some((600, 1)));
        assert_eq!(lab.stuck(), None, "nor was it sent in smaller ones");
    }

    #[test]
    fn acks_of_unseen_data_prove_nothing() {
        let mut lab = Lab::default();
        lab.send(0, 1418);
        lab.acknowledge(50_000);
        assert_eq!(lab.passed(), None);
        lab.acknowledge(1379); // FIN counted
        assert_eq!(lab.passed(), Some((1418, 1)));
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut lab = Lab::default();
        let seq = u32::MAX - 500;
        lab.send(seq, 1418);
        lab.send(seq.wrapping_add(1378), 1418);
        lab.send(seq.wrapping_add(1378), 1418);
        lab.acknowledge(seq.wrapping_add(1378));
        assert_eq!(lab.passed(), Some((1418, 1)));
        assert_eq!(lab.stuck(), Some((1418, seq.wrapping_add(1378), 2)));
    }

    proptest! {
        #[test]
        fn only_what_fits_is_proven(limit in 600u32..1500, sizes in prop::collection::vec((100u32..1500, 0..3u8), 1..60)) {
            // A path that drops what is above `limit`; the sender resends at its size, then at 576.
            let mut lab = Lab::default();
            let mut seq = 0u32;
            for (ip_len, resends) in sizes {
                lab.send(seq, ip_len);
                let end = seq + ip_len - 40;
                if ip_len > limit {
                    for _ in 0..resends {
                        lab.send(seq, ip_len);
                    }
                    while seq < end {
                        let piece = (end - seq).min(536);
                        lab.send(seq, piece + 40);
                        seq += piece;
                    }
                }
                seq = end;
                lab.acknowledge(seq);
                let sizes = lab.probe.sizes();
                prop_assert!(sizes.largest_passed.is_none_or(|passed| passed.ip_len <= limit));
                prop_assert!(sizes.smallest_stuck.is_none_or(|stuck| stuck.ip_len > limit && stuck.times >= 2));
            }
        }

        #[test]
        fn arbitrary_input_never_panics(steps in prop::collection::vec(any::<(u32, u32, u32, bool)>(), 0..200)) {
            let mut probe = SizeProbe::default();
            for (seq, len, ip_len, ack) in steps {
                if ack { probe.acknowledged(seq, None, len % 2 == 0, Timestamp::from_nanos(0)) } else { probe.sent(seq, len, ip_len % 70_000, 1, Timestamp::from_nanos(0)) }
            }
            let sizes = probe.sizes();
            prop_assert_eq!(sizes.smallest_stuck.is_some(), sizes.segments_stuck > 0);
        }
    }
}
