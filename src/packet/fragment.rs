//! IP fragments back to datagrams. Promises bounded memory whatever the capture holds; counts all it gave up.
//!
//! A datagram is complete at the frame that brings its last missing byte, as in Wireshark. Overlapping and
//! repeated fragments are accepted; where bytes differ, the later ones stay.

use std::collections::{BTreeMap, hash_map};
use std::mem;
use std::net::IpAddr;
use std::ops::Range;

use super::IpHeader;
use super::ip::Piece;
use super::layer::Layer;
use crate::capture::Timestamp;
use crate::maps::HashMap;

/// Longest datagram payload: the 16-bit total length of IPv4 (RFC 791 §3.1), payload length of IPv6.
const MAX_DATAGRAM: u32 = u16::MAX as u32;
/// Later pieces of a datagram completed this many seconds ago are repeats of it, not a new one.
const REPEAT_SECONDS: f64 = 1.0;

/// Caps on incomplete datagrams. When one is reached the oldest datagram goes, and is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Datagrams kept at a time, complete ones watched for repeats included.
    pub datagrams: usize,
    /// Bytes kept over all datagrams.
    pub bytes: usize,
    /// Seconds of capture time a datagram may wait, from its first fragment on.
    pub timeout_seconds: u32,
}

impl Default for Limits {
    /// 1024 datagrams; 4 MiB and 30 s as Linux has it (`ipfrag_high_thresh`, `ipfrag_time`).
    fn default() -> Limits {
        Limits { datagrams: 1024, bytes: 4 << 20, timeout_seconds: 30 }
    }
}

/// What reassembly could not do so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentLosses {
    /// Incomplete datagrams given up because a cap of [`Limits`] was reached.
    pub evicted: u64,
    /// Datagrams that timed out, or still lack a fragment now.
    pub incomplete: u64,
    /// Fragments that repeat, overlap or contradict others of their datagram.
    pub overlapping: u64,
    /// Fragments that could not be used because the snap length cut them.
    pub cut: u64,
}

/// Datagrams between two hosts that lacked a fragment for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// Their sender.
    pub src: IpAddr,
    /// Their receiver.
    pub dst: IpAddr,
    /// Protocol number.
    pub protocol: u8,
    /// Interface they were captured at.
    pub interface: u32,
    /// How many.
    pub datagrams: u32,
    /// When the first of them began.
    pub first: Timestamp,
}

/// Pairs of hosts whose incomplete datagrams are told; beyond, only the total counts.
const MAX_INCOMPLETE: usize = 256;

/// Where a fragment was seen: fragments from different interfaces or VLANs are never put together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub at: Timestamp,
    pub interface: u32,
    pub vlan: Option<u16>,
}

/// A datagram put together again.
#[derive(Debug)]
pub(super) struct Datagram {
    /// The whole payload.
    pub payload: Vec<u8>,
    /// Protocol of the payload, as the first fragment has it.
    pub protocol: u8,
    /// How many fragments it took, repeats not counted.
    pub fragments: u16,
}

/// Puts fragments together.
#[derive(Debug)]
pub(super) struct Reassembler {
    limits: Limits,
    entries: HashMap<Key, Entry>,
    /// Keys by the order in which their datagrams began: the first is the oldest.
    by_age: BTreeMap<u64, Key>,
    next_serial: u64,
    bytes: usize,
    losses: FragmentLosses,
    incomplete: Vec<Incomplete>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    src: IpAddr,
    dst: IpAddr,
    id: u32,
    /// 0 for IPv6, whose fragments may disagree on it (RFC 8200 §4.5).
    protocol: u8,
    interface: u32,
    vlan: Option<u16>,
}

/// One datagram: waiting for its missing pieces, or done and only watched for repeats.
#[derive(Debug)]
struct Entry {
    serial: u64,
    begun: Timestamp,
    done: Option<Timestamp>,
    partial: Partial,
}

impl Reassembler {
    pub fn new(limits: Limits) -> Reassembler {
        Reassembler {
            limits,
            entries: HashMap::default(),
            by_age: BTreeMap::new(),
            next_serial: 0,
            bytes: 0,
            losses: FragmentLosses::default(),
            incomplete: Vec::new(),
        }
    }

    /// Between whom datagrams stayed incomplete, those still waiting included; in order of first appearance.
    pub fn incomplete(&self) -> Vec<Incomplete> {
        let mut all = self.incomplete.clone();
        let mut waiting: Vec<(&Key, &Entry)> = self.entries.iter().filter(|(_, entry)| entry.done.is_none()).collect();
        waiting.sort_unstable_by_key(|(_, entry)| entry.serial);
        waiting.into_iter().for_each(|(key, entry)| note_incomplete(&mut all, key, entry));
        all
    }

    pub fn losses(&self) -> FragmentLosses {
        let waiting = self.entries.values().filter(|entry| entry.done.is_none());
        FragmentLosses { incomplete: self.losses.incomplete + waiting.count() as u64, ..self.losses }
    }

    /// Adds a fragment; the datagram, when this fragment completed it.
    pub fn add(
        &mut self,
        header: &IpHeader,
        protocol: u8,
        piece: Piece,
        payload: Layer<'_>,
        place: Place,
    ) -> Option<Datagram> {
        if !payload.is_whole() {
            self.losses.cut += 1;
            return None;
        }
        self.expire(place.at);
        let key = Key::new(header, protocol, piece, place);
        if let Some(done) = self.entries.get(&key).and_then(|entry| entry.done) {
            if piece.offset > 0 && place.at.seconds_since(done).abs() <= REPEAT_SECONDS {
                self.losses.overlapping += 1;
                return None;
            }
            self.remove(&key);
        }
        let entry = match self.entries.entry(key) {
            hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hash_map::Entry::Vacant(slot) => {
                let serial = self.next_serial;
                self.next_serial += 1;
                self.by_age.insert(serial, key);
                slot.insert(Entry::new(serial, place.at))
            }
        };
        let held = entry.partial.bytes.len();
        let clean = entry.partial.add(piece, protocol, payload.bytes);
        self.losses.overlapping += u64::from(!clean);
        self.bytes += entry.partial.bytes.len() - held;
        let complete = entry.partial.is_complete().then(|| {
            entry.done = Some(place.at);
            mem::take(&mut entry.partial)
        });
        if let Some(partial) = &complete {
            self.bytes -= partial.bytes.len();
        }
        self.enforce_limits();
        complete.map(|partial| Datagram {
            payload: partial.bytes,
            protocol: partial.protocol,
            fragments: partial.fragments,
        })
    }

    fn expire(&mut self, now: Timestamp) {
        let timeout = f64::from(self.limits.timeout_seconds);
        while let Some(key) = self.oldest() {
            let begun = self.entries.get(&key).map(|entry| entry.begun);
            if begun.is_some_and(|begun| now.seconds_since(begun) <= timeout) {
                return;
            }
            self.losses.incomplete += u64::from(self.remove(&key));
        }
    }

    fn enforce_limits(&mut self) {
        while self.entries.len() > self.limits.datagrams || self.bytes > self.limits.bytes {
            let Some(key) = self.oldest() else {
                return;
            };
            self.losses.evicted += u64::from(self.remove(&key));
        }
    }

    fn oldest(&self) -> Option<Key> {
        self.by_age.first_key_value().map(|(_, key)| *key)
    }

    /// Forgets a datagram; true when it was still incomplete.
    fn remove(&mut self, key: &Key) -> bool {
        let Some(entry) = self.entries.remove(key) else {
            return false;
        };
        self.by_age.remove(&entry.serial);
        self.bytes -= entry.partial.bytes.len();
        if entry.done.is_none() {
            note_incomplete(&mut self.incomplete, key, &entry);
        }
        entry.done.is_none()
    }
}

fn note_incomplete(all: &mut Vec<Incomplete>, key: &Key, entry: &Entry) {
    let Key { src, dst, protocol, interface, .. } = *key;
    let same = |i: &&mut Incomplete| (i.src, i.dst, i.protocol, i.interface) == (src, dst, protocol, interface);
    if let Some(known) = all.iter_mut().find(same) {
        known.datagrams = known.datagrams.saturating_add(1);
    } else if all.len() < MAX_INCOMPLETE {
        all.push(Incomplete { src, dst, protocol, interface, datagrams: 1, first: entry.begun });
    }
}

impl Key {
    fn new(header: &IpHeader, protocol: u8, piece: Piece, place: Place) -> Key {
        Key {
            src: header.src,
            dst: header.dst,
            id: piece.id,
            protocol: if header.src.is_ipv4() { protocol } else { 0 },
            interface: place.interface,
            vlan: place.vlan,
        }
    }
}

impl Entry {
    fn new(serial: u64, begun: Timestamp) -> Entry {
        Entry { serial, begun, done: None, partial: Partial::default() }
    }
}

/// The part of a datagram's payload seen so far.
#[derive(Debug, Default)]
struct Partial {
    /// The payload; zero where nothing has come yet.
    bytes: Vec<u8>,
    /// What has come, as ranges that neither overlap nor touch.
    ranges: Vec<Range<u32>>,
    /// Length of the whole payload, once its last fragment has come.
    end: Option<u32>,
    protocol: u8,
    fragments: u16,
}

impl Partial {
    /// Adds a piece; false when it repeats, overlaps or contradicts what is there.
    fn add(&mut self, piece: Piece, protocol: u8, bytes: &[u8]) -> bool {
        let start = piece.offset;
        let end = u32::try_from(bytes.len()).unwrap_or(u32::MAX).saturating_add(start);
        if !self.fits(start, end, piece.more) {
            return false;
        }
        let new = start..end;
        if !piece.more {
            self.end = Some(end);
        }
        if start == 0 {
            self.protocol = protocol;
        }
        if self.bytes.len() < end as usize {
            self.bytes.resize(end as usize, 0);
        }
        if let Some(room) = self.bytes.get_mut(start as usize..end as usize) {
            room.copy_from_slice(bytes);
        }
        let known = |old: &Range<u32>| old.start <= new.start && new.end <= old.end;
        if !self.ranges.iter().any(known) {
            self.fragments = self.fragments.saturating_add(1);
        }
        let clean = !self.ranges.iter().any(|old| old.start < end && start < old.end);
        let mut merged = new;
        self.ranges.retain(|old| {
            if old.end < merged.start || merged.end < old.start {
                return true;
            }
            merged = merged.start.min(old.start)..merged.end.max(old.end);
            false
        });
        self.ranges.push(merged);
        clean
    }

    /// RFC 791 §3.2: all but the last piece are multiples of 8 bytes, and nothing lies behind the last one.
    fn fits(&self, start: u32, end: u32, more: bool) -> bool {
        if start == end || end > MAX_DATAGRAM || (more && !(end - start).is_multiple_of(8)) {
            return false;
        }
        match self.end {
            Some(known) => end <= known && (more || end == known),
            None => more || self.bytes.len() as u64 <= u64::from(end),
        }
    }

    fn is_complete(&self) -> bool {
        match (self.end, self.ranges.as_slice()) {
            (Some(end), [all]) => *all == (0..end),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: IpHeader = IpHeader {
        src: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
        dst: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)),
        ttl: 64,
        id: 0,
        dont_fragment: false,
        total_len: 0,
    };

    fn place(seconds: f64) -> Place {
        Place { at: Timestamp::from_nanos(0).plus_seconds(seconds), interface: 0, vlan: None }
    }

    fn add(
        reassembler: &mut Reassembler,
        at: f64,
        (id, offset, more): (u32, u32, bool),
        bytes: &[u8],
    ) -> Option<Vec<u8>> {
        let piece = Piece { id, offset, more };
        let datagram = reassembler.add(&HEADER, 17, piece, Layer::whole(bytes), place(at));
        datagram.map(|datagram| datagram.payload)
    }

    #[test]
    fn repeats_after_completion_open_nothing() {
        let mut reassembler = Reassembler::new(Limits::default());
        assert_eq!(add(&mut reassembler, 0.0, (1, 0, true), &[1; 8]), None);
        assert_eq!(add(&mut reassembler, 0.0, (1, 0, true), &[1; 8]), None);
        assert!(add(&mut reassembler, 0.1, (1, 8, false), &[2; 3]).is_some());
        assert_eq!(add(&mut reassembler, 0.2, (1, 8, false), &[2; 3]), None);
        let losses = reassembler.losses();
        assert_eq!((losses.overlapping, losses.incomplete), (2, 0));
        // a second datagram with the same identification
        assert_eq!(add(&mut reassembler, 0.3, (1, 0, true), &[3; 8]), None);
        assert!(add(&mut reassembler, 0.3, (1, 8, false), &[4; 3]).is_some());
    }

    #[test]
    fn contradictions_are_refused() {
        let mut reassembler = Reassembler::new(Limits::default());
        for (place, bytes) in [((1, 0, true), &[1; 7][..]), ((1, 65528, false), &[1; 8]), ((1, 0, true), &[])] {
            assert_eq!(add(&mut reassembler, 0.0, place, bytes), None);
        }
        assert_eq!(reassembler.losses().overlapping, 3);
        assert_eq!(add(&mut reassembler, 0.0, (2, 8, false), &[1; 8]), None);
        assert_eq!(add(&mut reassembler, 0.0, (2, 16, false), &[1; 8]), None);
        assert_eq!(add(&mut reassembler, 0.0, (2, 8, true), &[1; 16]), None);
        assert_eq!(reassembler.losses().overlapping, 5);
        assert!(add(&mut reassembler, 0.0, (2, 0, true), &[1; 8]).is_some());
    }

    #[test]
    fn capture_time_ends_the_wait() {
        let mut reassembler = Reassembler::new(Limits::default());
        assert_eq!(add(&mut reassembler, 0.0, (1, 0, true), &[1; 8]), None);
        assert_eq!(add(&mut reassembler, 31.0, (1, 8, false), &[2; 3]), None);
        assert_eq!(reassembler.losses().incomplete, 2);
        // a clock that jumps back ends nothing
        assert!(add(&mut reassembler, 5.0, (1, 0, true), &[1; 8]).is_some());
    }

    #[test]
    fn a_flood_stays_within_the_limits() {
        let limits = Limits { datagrams: 16, bytes: 300_000, timeout_seconds: 30 };
        let mut reassembler = Reassembler::new(limits);
        for id in 0..1000 {
            add(&mut reassembler, 0.0, (id, 60_000, true), &[1; 8]);
            assert!(reassembler.entries.len() <= limits.datagrams);
            assert!(reassembler.bytes <= limits.bytes);
            assert_eq!(reassembler.by_age.len(), reassembler.entries.len());
        }
        let losses = reassembler.losses();
        assert_eq!(losses.evicted + losses.incomplete, 1000);
    }

    #[test]
    fn cut_pieces_and_other_places_do_not_mix() {
        let mut reassembler = Reassembler::new(Limits::default());
        let piece = Piece { id: 1, offset: 0, more: true };
        let cut = Layer { bytes: &[1; 8], wire_len: 16 };
        let added = reassembler.add(&HEADER, 17, piece, cut, place(0.0));
        assert!(added.is_none());
        assert_eq!(reassembler.losses().cut, 1);
        add(&mut reassembler, 0.0, (1, 0, true), &[1; 8]);
        let last = Piece { offset: 8, more: false, ..piece };
        let elsewhere = Place { interface: 1, ..place(0.0) };
        let added = reassembler.add(&HEADER, 17, last, Layer::whole(&[2; 3]), elsewhere);
        assert!(added.is_none());
    }

    proptest! {
        #[test]
        fn any_order_gives_the_datagram_back(
            payload in prop::collection::vec(any::<u8>(), 1..2000),
            size in 1usize..40,
            order in any::<u64>(),
        ) {
            let size = size * 8;
            let count = payload.chunks(size).count();
            let mut pieces: Vec<(usize, &[u8])> = payload.chunks(size).enumerate().collect();
            // a cheap shuffle, and every piece but the last to come sent twice
            pieces.sort_by_key(|(index, _)| (*index as u64 + 1).wrapping_mul(order | 1).rotate_left(17));
            let mut reassembler = Reassembler::new(Limits::default());
            for (place, (index, bytes)) in pieces.iter().enumerate() {
                let key = (1, (index * size) as u32, index + 1 < count);
                let result = add(&mut reassembler, 0.0, key, bytes);
                if place + 1 == count {
                    prop_assert_eq!(result.as_ref(), Some(&payload));
                    return Ok(());
                }
                prop_assert_eq!(result, None);
                prop_assert_eq!(add(&mut reassembler, 0.0, key, bytes), None);
            }
        }

        #[test]
        fn any_pieces_stay_within_the_limits(
            pieces in prop::collection::vec((0u32..4, 0u32..8192, any::<bool>(), 0usize..64, 0u32..100), 0..200),
        ) {
            let limits = Limits { datagrams: 3, bytes: 100_000, timeout_seconds: 30 };
            let mut reassembler = Reassembler::new(limits);
            for (id, offset, more, len, at) in pieces {
                add(&mut reassembler, f64::from(at), (id, offset * 8, more), &vec![0; len]);
                prop_assert!(reassembler.entries.len() <= limits.datagrams);
                let held: usize = reassembler.entries.values().map(|entry| entry.partial.bytes.len()).sum();
                prop_assert_eq!(held, reassembler.bytes);
                prop_assert!(held <= limits.bytes);
            }
        }
    }
}
