//! One direction of a TCP connection, put in order. Promises: every byte position is handed out once, in
//! order, as data or as missing; memory is capped whatever the sequence numbers say. Refuses: to judge why.
//!
//! Where two segments disagree about a byte, the one captured first wins.

use crate::capture::Timestamp;
use std::collections::BTreeMap;

/// Farthest a segment may lie ahead of or behind the next expected byte: the largest TCP window,
/// 2^30 bytes (RFC 7323 §2.3). What lies beyond is noise until two such segments follow each other.
const MAX_WINDOW: u32 = 1 << 30;

/// Longest believable segment in bytes: offloaded frames stay far below, a lying length does not.
const MAX_SEGMENT: u32 = 1 << 24;

/// What each waiting piece costs beside its bytes, so that many tiny pieces cannot evade the cap.
const PIECE_OVERHEAD: usize = 64;

/// Caps of the reassembly.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that may wait behind a hole, per direction, each waiting piece counting 64 more.
    /// Beyond it the hole is given up as [`Chunk::Missing`].
    pub max_out_of_order_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_out_of_order_bytes: 256 * 1024 }
    }
}

/// What tells in which order a sender's segments left it, whatever order they came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// When it was captured.
    pub at: Option<Timestamp>,
    /// The sender's clock (RFC 7323 §3.2).
    pub tsval: Option<u32>,
    /// IP id.
    pub id: u16,
}

/// A stretch of the byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// The next bytes; never empty.
    Data(&'a [u8]),
    /// This many bytes (at least 1) were never captured: lost, cut by the snap length, or given up for the cap.
    Missing(u32),
}

/// What a segment was, as far as one direction shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It carried the next expected byte, or a first SYN or FIN.
    New,
    /// All it carried was already seen or already given up.
    Retransmission,
    /// It lies beyond the next expected byte: it waits, or was too far away to be believed.
    OutOfOrder,
    /// At most one byte, just before the next expected one (RFC 9293 §3.8.4).
    KeepAlive,
    /// No payload, no SYN, no FIN.
    Empty,
}

/// Bytes of one direction in order. Idle it takes 40 bytes and owns nothing.
#[derive(Debug, Default)]
pub struct TcpStream {
    /// Bytes handed out so far; never wraps, so waiting pieces can be keyed by it.
    position: u64,
    /// Sequence number of the byte at `position`.
    next: u32,
    /// Sequence number of the first byte.
    base: u32,
    /// Where a segment too far away to be believed ended, if it just came.
    stray: u32,
    /// Sequence number of the FIN, once seen.
    fin: u32,
    // Flags side by side take less room than options.
    strayed: bool,
    fin_seen: bool,
    started: bool,
    syn_seen: bool,
    /// How far the other side acknowledged beyond `next`; 0 when it did not.
    acked_ahead: u32,
    waiting: Option<Box<Waiting>>,
}

/// Pieces behind a hole, by stream position; they never overlap.
#[derive(Debug, Default)]
struct Waiting {
    pieces: BTreeMap<u64, Piece>,
    cost: usize,
}

#[derive(Debug)]
struct Piece {
    data: Box<[u8]>,
    /// Bytes on the wire; `data` may be cut shorter.
    len: u32,
    mark: Mark,
}

impl Piece {
    fn cost(&self) -> usize {
        self.data.len() + PIECE_OVERHEAD
    }
}

impl TcpStream {
    /// Takes one segment and hands out what is now in order. `payload` may be cut short of `payload_len`,
    /// the bytes on the wire. Without a SYN the first payload sets the start.
    #[allow(clippy::too_many_arguments)] // the fields of a segment
    #[inline]
    pub fn push(
        &mut self,
        seq: u32,
        syn: bool,
        fin: bool,
        payload: &[u8],
        payload_len: u32,
        limits: &Limits,
        deliver: &mut impl FnMut(Chunk<'_>),
    ) -> Kind {
        let expected = self.started && seq == self.next && !syn && !fin;
        let whole = payload.len() == payload_len as usize && !payload.is_empty() && payload_len <= MAX_SEGMENT;
        if expected && whole && self.waiting.is_none() {
            self.strayed = false;
            self.advance(payload_len);
            deliver(Chunk::Data(payload));
            return Kind::New;
        }
        self.push_slow(seq, syn, fin, payload, payload_len, limits, deliver)
    }

    #[allow(clippy::too_many_arguments)]
    fn push_slow(
        &mut self,
        seq: u32,
        syn: bool,
        fin: bool,
        payload: &[u8],
        payload_len: u32,
        limits: &Limits,
        deliver: &mut impl FnMut(Chunk<'_>),
    ) -> Kind {
        let len = payload_len.min(MAX_SEGMENT);
        let payload = payload.get(..len as usize).unwrap_or(payload);
        let mut new = false;
        let mut seq = seq;
        if syn {
            seq = seq.wrapping_add(1); // the SYN takes one number (RFC 9293 §3.4)
            new = self.see_syn(seq, deliver);
            if self.base != seq {
                return Kind::Retransmission; // a SYN of another incarnation: its bytes are not ours
            }
        }
        if !self.started {
            if len == 0 {
                return Kind::Empty; // a bare ACK may be a keep-alive, one number too low: no start
            }
            self.start(seq);
        }
        if fin {
            new |= self.see_fin(seq.wrapping_add(len));
        }
        if len == 0 {
            return match (new, syn || fin, seq.wrapping_add(1) == self.next) {
                (true, ..) => Kind::New,
                (false, true, _) => Kind::Retransmission,
                (false, false, true) => Kind::KeepAlive,
                (false, false, false) => Kind::Empty,
            };
        }
        if !self.believable(seq, len, deliver) {
            return Kind::OutOfOrder;
        }
        let ahead = seq.wrapping_sub(self.next);
        if ahead <= MAX_WINDOW && ahead > 0 {
            return self.hold(ahead, payload, len, limits, deliver);
        }
        let behind = self.next.wrapping_sub(seq);
        if behind >= len {
            let keep_alive = len == 1 && behind == 1 && !syn && !fin && seq != self.base;
            return if keep_alive { Kind::KeepAlive } else { Kind::Retransmission };
        }
        self.hand_out(payload.get(behind as usize..).unwrap_or_default(), len - behind, deliver);
        self.release(deliver);
        Kind::New
    }

    /// The other side acknowledged everything before `ack`. What we never saw of it was lost by the capture,
    /// not by the network: once later data waits behind such a hole, the hole is given up.
    /// While nothing waits the ack may merely have been captured before the data, so nothing is given up yet.
    /// Tells how many holes were.
    #[inline]
    pub fn acknowledged(&mut self, ack: u32, deliver: &mut impl FnMut(Chunk<'_>)) -> u32 {
        let ahead = ack.wrapping_sub(self.next);
        if ahead == 0 || ahead > MAX_WINDOW || !self.started {
            return 0;
        }
        self.acked_ahead = self.acked_ahead.max(ahead);
        self.give_up_acknowledged(deliver)
    }

    /// Would a segment that begins there show that what is before it was acknowledged and never captured?
    #[inline]
    pub fn is_behind_acknowledged(&self, seq: u32) -> bool {
        self.acked_ahead > 0 && (1..=self.acked_ahead).contains(&seq.wrapping_sub(self.next))
    }

    /// End of the capture: hands out what still waits, holes as missing.
    pub fn finish(&mut self, deliver: &mut impl FnMut(Chunk<'_>)) {
        while self.skip_hole(u64::MAX, deliver) {}
        let uncounted = self.uncounted();
        let acked = std::mem::take(&mut self.acked_ahead);
        if acked > uncounted {
            self.miss(acked, deliver); // acknowledged, never captured (a lone 1 is the FIN)
        }
    }

    /// A FIN may be acknowledged that is no byte.
    fn uncounted(&self) -> u32 {
        u32::from(!self.fin_seen || self.fin == self.next)
    }

    /// Is there nothing to hand out at the end of the capture?
    pub fn is_finished(&self) -> bool {
        !self.has_hole() && self.acked_ahead <= self.uncounted()
    }

    /// The sequence number expected next, FIN counted; `None` before the first SYN or payload.
    pub fn next_seq(&self) -> Option<u32> {
        self.started.then(|| self.next.wrapping_add(u32::from(self.closed())))
    }

    /// Sequence numbers of the first byte and of the one expected next; `None` before the first SYN or payload.
    pub fn numbers(&self) -> Option<(u32, u32)> {
        self.started.then_some((self.base, self.next))
    }

    /// Bytes handed out so far, missing ones counted.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Was the SYN seen, so that position 0 is the first byte of the connection?
    pub fn from_start(&self) -> bool {
        self.syn_seen
    }

    /// Was everything up to the FIN handed out?
    pub fn closed(&self) -> bool {
        self.started && self.fin_seen && self.fin == self.next
    }

    /// Does data wait behind a hole?
    pub fn has_hole(&self) -> bool {
        self.waiting.is_some()
    }

    /// Bytes of the first hole; `None` without one.
    pub fn hole(&self) -> Option<u32> {
        let first = self.waiting.as_ref()?.pieces.keys().next()?;
        Some(u32::try_from(first.saturating_sub(self.position)).unwrap_or(u32::MAX))
    }

    /// How many segments wait behind the first hole, and the mark of the first of them; `None` without a hole.
    pub fn waiting(&self) -> Option<(usize, Mark)> {
        let pieces = &self.waiting.as_ref()?.pieces;
        Some((pieces.len(), pieces.first_key_value()?.1.mark))
    }

    /// Marks the segment with that sequence number, if it waits.
    pub fn mark(&mut self, seq: u32, mark: Mark) {
        let start = self.position + u64::from(seq.wrapping_sub(self.next));
        if let Some(piece) = self.waiting.as_mut().and_then(|waiting| waiting.pieces.get_mut(&start)) {
            piece.mark = mark;
        }
    }

    fn start(&mut self, seq: u32) {
        self.started = true;
        self.base = seq;
        self.next = seq;
        self.strayed = false;
        self.fin_seen = false;
        self.acked_ahead = 0;
    }

    /// A SYN whose first byte would be `first`; was it the first SYN?
    fn see_syn(&mut self, first: u32, deliver: &mut impl FnMut(Chunk<'_>)) -> bool {
        if self.syn_seen {
            return false;
        }
        if !self.started || self.base != first {
            while self.skip_hole(u64::MAX, deliver) {} // stale segments of an earlier incarnation came first
            self.start(first);
        }
        self.syn_seen = true;
        true
    }

    /// Was this the first FIN? Only one at or after the next byte can be.
    fn see_fin(&mut self, at: u32) -> bool {
        let first = !self.fin_seen && at.wrapping_sub(self.next) <= MAX_WINDOW;
        if first {
            (self.fin, self.fin_seen) = (at, true);
        }
        first
    }

    /// Is the segment within a window of what we expect? Two strays in a row, the second where the first
    /// ended, mean that we are the ones who are lost: the stream goes on there.
    fn believable(&mut self, seq: u32, len: u32, deliver: &mut impl FnMut(Chunk<'_>)) -> bool {
        let near = seq.wrapping_sub(self.next) <= MAX_WINDOW || self.next.wrapping_sub(seq) <= MAX_WINDOW;
        if near {
            return true;
        }
        if self.strayed && self.stray == seq {
            while self.skip_hole(u64::MAX, deliver) {}
            self.miss(seq.wrapping_sub(self.next), deliver);
            return true;
        }
        (self.stray, self.strayed) = (seq.wrapping_add(len), true);
        false
    }

    fn advance(&mut self, by: u32) {
        self.position += u64::from(by);
        self.next = self.next.wrapping_add(by);
        self.acked_ahead = self.acked_ahead.saturating_sub(by);
    }

    /// Hands out `len` bytes from the next position on, those not in `data` as missing.
    fn hand_out(&mut self, data: &[u8], len: u32, deliver: &mut impl FnMut(Chunk<'_>)) {
        let data = data.get(..len as usize).unwrap_or(data);
        let have = data.len() as u32; // at most `len`
        self.strayed = false;
        if have > 0 {
            self.advance(have);
            deliver(Chunk::Data(data));
        }
        self.miss(len - have, deliver);
    }

    fn miss(&mut self, len: u32, deliver: &mut impl FnMut(Chunk<'_>)) {
        if len > 0 {
            self.strayed = false;
            self.advance(len);
            deliver(Chunk::Missing(len));
        }
    }

    /// Keeps a segment that lies `ahead` bytes beyond the next expected one.
    fn hold(
        &mut self,
        ahead: u32,
        payload: &[u8],
        len: u32,
        limits: &Limits,
        deliver: &mut impl FnMut(Chunk<'_>),
    ) -> Kind {
        let start = self.position + u64::from(ahead);
        let new = self.waiting.get_or_insert_default().insert(start, payload, len);
        self.give_up_acknowledged(deliver);
        while self.waiting.as_ref().is_some_and(|waiting| waiting.cost > limits.max_out_of_order_bytes) {
            self.skip_hole(u64::MAX, deliver);
        }
        if new { Kind::OutOfOrder } else { Kind::Retransmission }
    }

    /// Gives up every hole that ends within what the other side acknowledged.
    fn give_up_acknowledged(&mut self, deliver: &mut impl FnMut(Chunk<'_>)) -> u32 {
        let mut holes = 0;
        while self.acked_ahead > 0 && self.skip_hole(self.position + u64::from(self.acked_ahead), deliver) {
            holes += 1;
        }
        holes
    }

    /// Gives up the first hole when it ends at or before `limit`, and hands out what waited behind it.
    fn skip_hole(&mut self, limit: u64, deliver: &mut impl FnMut(Chunk<'_>)) -> bool {
        let first = self.waiting.as_ref().and_then(|waiting| waiting.pieces.keys().next().copied());
        let Some(first) = first.filter(|&first| first <= limit) else {
            return false;
        };
        self.miss(u32::try_from(first.saturating_sub(self.position)).unwrap_or(u32::MAX), deliver);
        self.release(deliver);
        true
    }

    /// Hands out the waiting pieces that the next position has reached.
    fn release(&mut self, deliver: &mut impl FnMut(Chunk<'_>)) {
        let Some(mut waiting) = self.waiting.take() else {
            return;
        };
        while let Some(entry) = waiting.pieces.first_entry().filter(|entry| *entry.key() <= self.position) {
            let (start, piece) = entry.remove_entry();
            waiting.cost = waiting.cost.saturating_sub(piece.cost());
            let seen = u32::try_from(self.position - start).unwrap_or(u32::MAX);
            if seen < piece.len {
                self.hand_out(piece.data.get(seen as usize..).unwrap_or_default(), piece.len - seen, deliver);
            }
        }
        if !waiting.pieces.is_empty() {
            self.waiting = Some(waiting);
        }
    }
}

impl Waiting {
    /// Keeps those parts of a segment that no waiting piece covers yet; was there any?
    fn insert(&mut self, start: u64, payload: &[u8], len: u32) -> bool {
        let end = start + u64::from(len);
        let mut at = start;
        let mut new = false;
        while at < end {
            let before = self.pieces.range(..=at).next_back();
            let covered = before.map_or(0, |(from, piece)| from + u64::from(piece.len));
            if covered > at {
                at = covered;
                continue;
            }
            let stop = self.pieces.range(at..end).next().map_or(end, |(from, _)| *from);
            let (skip, upto) = ((at - start) as usize, (stop - start) as usize);
            let data = payload.get(skip..upto.min(payload.len())).unwrap_or_default();
            let piece = Piece { data: data.into(), len: (stop - at) as u32, mark: Mark::default() };
            self.cost += piece.cost();
            self.pieces.insert(at, piece);
            new = true;
            at = stop;
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stream, its limits and what it handed out; missing bytes are shown as `None`.
    #[derive(Default)]
    struct Lab {
        stream: TcpStream,
        limits: Limits,
        out: Vec<Option<u8>>,
    }

    impl Lab {
        fn push(&mut self, seq: u32, syn: bool, fin: bool, payload: &[u8], len: u32) -> Kind {
            let out = &mut self.out;
            self.stream.push(seq, syn, fin, payload, len, &self.limits, &mut |chunk| collect(out, chunk))
        }

        fn data(&mut self, seq: u32, payload: &str) -> Kind {
            self.push(seq, false, false, payload.as_bytes(), payload.len() as u32)
        }

        fn syn(&mut self, seq: u32) -> Kind {
            self.push(seq, true, false, b"", 0)
        }

        fn ack(&mut self, ack: u32) {
            let out = &mut self.out;
            self.stream.acknowledged(ack, &mut |chunk| collect(out, chunk));
        }

        fn finish(&mut self) -> String {
            let out = &mut self.out;
            self.stream.finish(&mut |chunk| collect(out, chunk));
            self.text()
        }

        fn text(&self) -> String {
            self.out.iter().map(|byte| byte.map_or('?', char::from)).collect()
        }
    }

    fn collect(out: &mut Vec<Option<u8>>, chunk: Chunk<'_>) {
        match chunk {
            Chunk::Data(data) => {
                assert!(!data.is_empty());
                out.extend(data.iter().copied().map(Some));
            }
            Chunk::Missing(len) => {
                assert!(len > 0);
                out.extend(std::iter::repeat_n(None, len.min(20_000) as usize));
            }
        }
    }

    #[test]
    fn idle_stream_is_small() {
        assert!(size_of::<TcpStream>() <= 64, "{}", size_of::<TcpStream>());
    }

    #[test]
    fn in_order_with_syn_and_fin() {
        let mut lab = Lab::default();
        assert_eq!(lab.stream.next_seq(), None);
        assert_eq!(lab.syn(99), Kind::New);
        assert_eq!(lab.data(100, "abc"), Kind::New);
        assert_eq!(lab.push(103, false, true, b"def", 3), Kind::New);
        assert_eq!(lab.stream.next_seq(), Some(107));
        assert!(lab.stream.closed());
        lab.ack(107);
        assert_eq!(lab.finish(), "abcdef");
    }

    #[test]
    fn starts_midway() {
        let mut lab = Lab::default();
        assert_eq!(lab.data(5000, ""), Kind::Empty);
        assert_eq!(lab.data(5000, "abc"), Kind::New);
        assert!(!lab.stream.from_start());
        assert_eq!(lab.finish(), "abc");
    }

    #[test]
    fn syn_after_its_data_changes_nothing() {
        let mut lab = Lab::default();
        lab.data(100, "abc");
        assert_eq!(lab.syn(99), Kind::New);
        assert_eq!(lab.data(103, "def"), Kind::New);
        assert_eq!(lab.finish(), "abcdef");
    }

    #[test]
    fn syn_after_stale_data_restarts() {
        let mut lab = Lab::default();
        lab.data(77_000, "old");
        assert_eq!(lab.syn(99), Kind::New);
        assert_eq!(lab.data(100, "new"), Kind::New);
        assert_eq!(lab.finish(), "oldnew");
    }

    #[test]
    fn syn_of_another_incarnation_is_ignored() {
        let mut lab = Lab::default();
        lab.syn(99);
        lab.data(100, "abc");
        assert_eq!(lab.syn(99), Kind::Retransmission);
        assert_eq!(lab.push(5000, true, false, b"xx", 2), Kind::Retransmission);
        assert_eq!(lab.data(103, "def"), Kind::New);
        assert_eq!(lab.finish(), "abcdef");
    }

    #[test]
    fn swapped_doubled_and_overlapping() {
        let mut lab = Lab::default();
        lab.syn(99);
        assert_eq!(lab.data(103, "def"), Kind::OutOfOrder);
        assert_eq!(lab.data(103, "def"), Kind::Retransmission);
        assert_eq!(lab.data(108, "i"), Kind::OutOfOrder);
        assert_eq!(lab.data(104, "efgh"), Kind::OutOfOrder);
        assert_eq!(lab.text(), "");
        assert_eq!(lab.data(100, "abcd"), Kind::New);
        assert_eq!(lab.data(100, "abcd"), Kind::Retransmission);
        assert_eq!(lab.text(), "abcdefghi");
        assert_eq!(lab.data(107, "hijk"), Kind::New);
        assert!(!lab.stream.has_hole());
        assert_eq!(lab.finish(), "abcdefghijk");
    }

    #[test]
    fn keep_alives_are_told_apart() {
        let mut lab = Lab::default();
        lab.syn(99);
        lab.data(100, "abc");
        assert_eq!(lab.data(102, ""), Kind::KeepAlive);
        assert_eq!(lab.data(102, "x"), Kind::KeepAlive);
        assert_eq!(lab.data(103, ""), Kind::Empty);
        assert_eq!(lab.finish(), "abc");
    }

    #[test]
    fn snap_length_leaves_missing_tails() {
        let mut lab = Lab::default();
        lab.syn(99);
        lab.push(105, false, false, b"fg", 5);
        lab.push(100, false, false, b"ab", 5);
        lab.push(110, false, false, b"too long", 3);
        assert_eq!(lab.finish(), "ab???fg???too");
    }

    #[test]
    fn acknowledged_hole_is_given_up() {
        let mut lab = Lab::default();
        lab.syn(99);
        lab.data(103, "def");
        lab.ack(100);
        assert_eq!(lab.text(), "");
        lab.ack(106);
        assert_eq!(lab.text(), "???def");
        assert_eq!(lab.data(100, "abc"), Kind::Retransmission);
    }

    #[test]
    fn ack_before_its_data_loses_nothing() {
        let mut lab = Lab::default();
        lab.syn(99);
        lab.ack(103);
        assert_eq!(lab.data(100, "abc"), Kind::New);
        lab.ack(110);
        assert_eq!(lab.data(110, "k"), Kind::OutOfOrder);
        assert_eq!(lab.finish(), "abc???????k");
    }

    #[test]
    fn acknowledged_tail_is_missing_at_the_end() {
        let mut lab = Lab::default();
        lab.syn(99);
        lab.data(100, "abc");
        lab.ack(106);
        assert_eq!(lab.finish(), "abc???");
        assert_eq!(lab.finish(), "abc???");
    }

    #[test]
    fn cap_skips_the_hole() {
        let mut lab = Lab { limits: Limits { max_out_of_order_bytes: 200 }, ..Lab::default() };
        lab.syn(99);
        lab.data(102, "c");
        lab.data(104, "e");
        lab.data(106, "g");
        assert_eq!(lab.text(), "");
        lab.data(108, "i");
        assert_eq!(lab.text(), "??c");
        assert_eq!(lab.finish(), "??c?e?g?i");
    }

    #[test]
    fn far_segments_are_not_believed_until_they_go_on() {
        let mut lab = Lab::default();
        lab.syn(99);
        assert_eq!(lab.data(100u32.wrapping_add(1 << 31), "x"), Kind::OutOfOrder);
        assert_eq!(lab.data(100, "abc"), Kind::New);
        assert_eq!(lab.text(), "abc");
        lab.data(3_000_000_000, "x");
        assert_eq!(lab.data(3_000_000_001, "yz"), Kind::New);
        assert_eq!(lab.stream.next_seq(), Some(3_000_000_003));
        lab.ack(100);
        assert!(lab.finish().ends_with("?yz"));
    }

    /// Cuts `data` at random, resends random stretches, disorders all of it a little.
    fn traffic() -> impl Strategy<Value = (u32, Vec<u8>, Vec<(usize, usize)>)> {
        let sizes = prop::collection::vec(1..200usize, 1..60);
        let extra = prop::collection::vec((any::<prop::sample::Index>(), 1..300usize), 0..40);
        let swaps = prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..60);
        (any::<u32>(), sizes, extra, swaps).prop_map(|(isn, sizes, extra, swaps)| {
            let total: usize = sizes.iter().sum();
            let data: Vec<u8> = (0..total).map(|i| (i % 251) as u8).collect();
            let mut at = 0;
            let mut segments = Vec::new();
            for size in sizes {
                segments.push((at, size));
                at += size;
            }
            for (index, size) in extra {
                let start = index.index(total);
                segments.push((start, size.min(total - start)));
            }
            for (a, b) in swaps {
                let (a, b) = (a.index(segments.len()), b.index(segments.len()));
                segments.swap(a, b);
            }
            (isn, data, segments)
        })
    }

    proptest! {
        #[test]
        fn any_order_gives_the_same_bytes((isn, data, segments) in traffic()) {
            let mut lab = Lab::default();
            lab.syn(isn);
            let first = isn.wrapping_add(1);
            for &(start, len) in &segments {
                lab.push(first.wrapping_add(start as u32), false, false, &data[start..start + len], len as u32);
            }
            prop_assert!(!lab.stream.has_hole());
            prop_assert_eq!(lab.stream.next_seq(), Some(first.wrapping_add(data.len() as u32)));
            let out: Vec<u8> = lab.out.iter().flatten().copied().collect();
            prop_assert_eq!(out, data);
        }

        #[test]
        fn every_position_is_handed_out_once(
            (isn, data, segments) in traffic(),
            lost in any::<prop::sample::Index>(),
            cap in 0..2000usize,
            cut in 0..300usize,
        ) {
            let mut lab = Lab { limits: Limits { max_out_of_order_bytes: cap }, ..Lab::default() };
            lab.syn(isn);
            let first = isn.wrapping_add(1);
            let lost = lost.index(segments.len());
            for (index, &(start, len)) in segments.iter().enumerate() {
                if index != lost {
                    let payload = &data[start..start + len.min(cut)];
                    lab.push(first.wrapping_add(start as u32), false, false, payload, len as u32);
                }
            }
            lab.finish();
            prop_assert!(lab.out.len() <= data.len());
            for (at, byte) in lab.out.iter().enumerate() {
                prop_assert!(byte.is_none_or(|byte| byte == data[at]));
            }
        }

        #[test]
        fn arbitrary_input_never_panics(
            steps in prop::collection::vec(
                (any::<u32>(), any::<[bool; 3]>(), 0..40usize, prop_oneof![0..50u32, any::<u32>()]), 0..200),
            cap in 0..1000usize,
        ) {
            let mut stream = TcpStream::default();
            let limits = Limits { max_out_of_order_bytes: cap };
            let mut bytes = 0u64;
            let mut deliver = |chunk: Chunk<'_>| bytes += match chunk {
                Chunk::Data(data) => data.len() as u64,
                Chunk::Missing(len) => u64::from(len),
            };
            for (seq, [syn, fin, ack], have, len) in steps {
                let seq = if have % 3 == 0 { stream.next_seq().unwrap_or(0).wrapping_add(seq % 100) } else { seq };
                if ack {
                    stream.acknowledged(seq, &mut deliver);
                }
                stream.push(seq, syn, fin, &[7; 40][..have], len, &limits, &mut deliver);
                let cost = stream.waiting.as_ref().map_or(0, |waiting| waiting.cost);
                prop_assert!(cost <= cap);
            }
            stream.finish(&mut deliver);
            prop_assert!(!stream.has_hole());
            prop_assert_eq!(bytes, stream.position());
        }
    }
}
