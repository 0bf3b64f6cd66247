//! TLS records out of one direction of a TCP stream, however it was cut into segments.
//!
//! Promises: a record when it completes; handshake, alert and change_cipher_spec fragments whole, application data
//! only counted; bytes nobody captured cost as little as possible; at most [`MAX_FRAGMENT`] bytes held.
//! Refuses: to copy or to keep application data unless asked, to order segments.
//!
//! ```text
//!   type(1) version(2) length(2) | fragment(length) | type version length | …      RFC 5246 §6.2.1
//! ```

use super::{ContentType, MAX_FRAGMENT, Version};

/// Bytes of a TLS record header (RFC 5246 §6.2.1).
pub const HEADER_LEN: usize = 5;

/// Bytes a stream joined midway may show without one record boundary before it is called not TLS: a few of the
/// largest records back to back.
pub const PATIENCE: u32 = 256 * 1024;

/// One record, lent while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Content type.
    pub content_type: ContentType,
    /// Version field of the record header; in TLS 1.3 always TLS 1.2 or 1.0 (RFC 8446 §5.1).
    pub version: Version,
    /// Bytes of the fragment as the header says, header not counted.
    pub length: u16,
    /// The fragment of a handshake, alert or change_cipher_spec record, from its start as far as captured without a
    /// hole; of other types only when [`RecordScanner::keep_data`] asked for it.
    pub fragment: Option<&'a [u8]>,
    /// Some of its bytes were not captured.
    pub cut: bool,
}

/// Is this direction TLS?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Not enough seen; records given so far are only probable.
    #[default]
    Unsure,
    /// It is.
    Tls,
    /// It is not, and never will be asked again: pushing costs nothing from here on.
    NotTls,
}

/// Cuts one direction of a TCP stream into TLS records.
#[derive(Debug, Default)]
pub struct RecordScanner {
    /// Fragment of a kept record split over segments; none at rest.
    body: Option<Box<Body>>,
    lost_syncs: u32,
    /// Bytes passed over since sync was last known, for [`PATIENCE`].
    hunted: u32,
    /// Bytes of the current fragment still to come.
    left: u16,
    header: [u8; HEADER_LEN],
    header_len: u8,
    /// Plausible headers met one after the other since the last sync; stops at 2.
    chain: u8,
    phase: Phase,
    verdict: Verdict,
    cut: bool,
    midway: bool,
    keeps_data: bool,
}

/// In a box of its own: most directions are at rest.
#[derive(Debug, Default)]
struct Body(Vec<u8>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Header,
    Body,
    /// Sync lost: look at the start of each chunk for a record.
    Hunting,
}

impl RecordScanner {
    /// For a direction seen from its first byte.
    pub fn new() -> RecordScanner {
        RecordScanner::default()
    }

    /// For a direction whose beginning was not captured: a record must be found before anything is believed, by two
    /// headers that chain or by records that fill a segment exactly.
    pub fn midway() -> RecordScanner {
        RecordScanner { midway: true, phase: Phase::Hunting, ..RecordScanner::default() }
    }

    /// From now on application data is handed out too: somebody can open it.
    pub fn keep_data(&mut self) {
        self.keeps_data = true;
    }

    /// Is it TLS, as far as seen?
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// How often the record boundary was lost after it had been known.
    pub fn lost_syncs(&self) -> u32 {
        self.lost_syncs
    }

    /// The next bytes of the stream, in order. A chunk's start is taken for a segment's start when sync must be found.
    pub fn push(&mut self, chunk: &[u8], sink: &mut impl FnMut(Record<'_>)) {
        if self.verdict == Verdict::NotTls || (self.phase == Phase::Hunting && !self.find_sync(chunk)) {
            return;
        }
        let mut rest = chunk;
        while !rest.is_empty() {
            rest = match self.phase {
                Phase::Header => self.take_header(rest, sink),
                Phase::Body => self.take_body(rest, sink),
                // Lost inside this chunk: the rest of it has no boundary anyone knows.
                Phase::Hunting => return,
            };
        }
        if self.verdict == Verdict::Unsure && self.phase == Phase::Header && self.header_len == 0 && self.chain > 0 {
            // The records filled the segment exactly.
            self.verdict = Verdict::Tls;
        }
    }

    /// The next `count` bytes of the stream were never captured.
    pub fn missing(&mut self, count: u32, sink: &mut impl FnMut(Record<'_>)) {
        if self.verdict == Verdict::NotTls || count == 0 {
            return;
        }
        match self.phase {
            Phase::Header => self.lose_sync(),
            Phase::Hunting => self.hunt_on(count),
            Phase::Body => {
                self.cut = true;
                let inside = count.min(u32::from(self.left));
                self.left -= inside as u16;
                if self.left == 0 {
                    self.complete(None, sink);
                }
                if count > inside {
                    self.lose_sync();
                }
            }
        }
    }

    /// The stream ended: gives what there is of an unfinished handshake, alert or change_cipher_spec record.
    pub fn finish(&mut self, sink: &mut impl FnMut(Record<'_>)) {
        if self.phase == Phase::Body && self.body.is_some() {
            self.cut = true;
            self.complete(None, sink);
        }
    }

    fn take_header<'c>(&mut self, chunk: &'c [u8], sink: &mut impl FnMut(Record<'_>)) -> &'c [u8] {
        let have = usize::from(self.header_len);
        let (now, rest) = chunk.split_at_checked(HEADER_LEN - have).unwrap_or((chunk, &[]));
        for (slot, byte) in self.header.iter_mut().skip(have).zip(now) {
            *slot = *byte;
        }
        self.header_len += now.len() as u8;
        if !plausible(self.header.get(..usize::from(self.header_len)).unwrap_or(&[])) {
            if self.verdict == Verdict::Unsure && !self.midway && self.chain == 0 {
                // The very first bytes of the conversation: no TLS here.
                self.verdict = Verdict::NotTls;
                return &[];
            }
            self.lose_sync();
            return rest;
        }
        if usize::from(self.header_len) < HEADER_LEN {
            return rest;
        }
        let header = Header::of(self.header);
        self.chain = (self.chain + 1).min(2);
        // A conversation may open with a handshake or an alert; anything else must prove itself by a second header.
        let opening = !self.midway && matches!(header.content_type, ContentType::HANDSHAKE | ContentType::ALERT);
        if self.chain == 2 || opening {
            self.verdict = Verdict::Tls;
        }
        self.left = header.length;
        self.cut = false;
        self.phase = Phase::Body;
        if self.left == 0 {
            self.complete(Some(&[]), sink);
        }
        rest
    }

    fn take_body<'c>(&mut self, chunk: &'c [u8], sink: &mut impl FnMut(Record<'_>)) -> &'c [u8] {
        let left = usize::from(self.left);
        if let Some((now, rest)) = chunk.split_at_checked(left) {
            self.left = 0;
            if self.body.is_none() && !self.cut && left == usize::from(Header::of(self.header).length) {
                self.complete(Some(now), sink);
            } else {
                self.keep(now);
                self.complete(None, sink);
            }
            return rest;
        }
        self.keep(chunk);
        self.left -= chunk.len() as u16;
        &[]
    }

    /// Buffers bytes of a kept record, as long as no hole came before them.
    fn keep(&mut self, bytes: &[u8]) {
        if !self.cut && self.is_kept(ContentType(self.header[0])) {
            self.body.get_or_insert_default().0.extend_from_slice(bytes);
        }
    }

    /// Hands out the current record, with its fragment in `whole` when one chunk held it, else in the buffer.
    fn complete(&mut self, whole: Option<&[u8]>, sink: &mut impl FnMut(Record<'_>)) {
        let Header { content_type, version, length } = Header::of(self.header);
        let body = self.body.take();
        let held = body.as_deref().map_or(&[][..], |body| &body.0);
        let fragment = self.is_kept(content_type).then(|| whole.unwrap_or(held));
        sink(Record { content_type, version, length, fragment, cut: self.cut });
        self.phase = Phase::Header;
        self.header_len = 0;
        self.cut = false;
        self.hunted = 0;
    }

    /// Types whose fragment is worth holding; the rest is only counted.
    fn is_kept(&self, content_type: ContentType) -> bool {
        self.keeps_data
            || matches!(content_type, ContentType::CHANGE_CIPHER_SPEC | ContentType::ALERT | ContentType::HANDSHAKE)
    }

    fn lose_sync(&mut self) {
        if self.verdict == Verdict::Tls {
            self.lost_syncs = self.lost_syncs.saturating_add(1);
        }
        self.midway = true;
        self.phase = Phase::Hunting;
        self.body = None;
        self.header_len = 0;
        self.chain = 0;
    }

    /// Does a record start where this chunk starts? Then read on from here.
    fn find_sync(&mut self, chunk: &[u8]) -> bool {
        if may_begin(chunk) {
            self.phase = Phase::Header;
            return true;
        }
        self.hunt_on(chunk.len() as u32);
        false
    }

    fn hunt_on(&mut self, count: u32) {
        self.hunted = self.hunted.saturating_add(count);
        if self.verdict == Verdict::Unsure && self.hunted > PATIENCE {
            self.verdict = Verdict::NotTls;
        }
    }
}

#[derive(Clone, Copy)]
struct Header {
    content_type: ContentType,
    version: Version,
    length: u16,
}

impl Header {
    fn of([kind, major, minor, high, low]: [u8; HEADER_LEN]) -> Header {
        Header {
            content_type: ContentType(kind),
            version: Version(u16::from_be_bytes([major, minor])),
            length: u16::from_be_bytes([high, low]),
        }
    }
}

/// Could these bytes, a header or its first few bytes, begin a record? Types 20 to 24, version 3.0 to 3.4, a length
/// in bounds and not 0 unless application data (RFC 5246 §6.2.1).
fn plausible(header: &[u8]) -> bool {
    let at = |index: usize| header.get(index).copied();
    let length_holds = match (at(3), at(4)) {
        (Some(high), Some(low)) => {
            let length = usize::from(u16::from_be_bytes([high, low]));
            length <= MAX_FRAGMENT && (length > 0 || at(0) == Some(ContentType::APPLICATION_DATA.0))
        }
        (Some(high), None) => usize::from(high) << 8 <= MAX_FRAGMENT,
        _ => true,
    };
    at(0).is_none_or(|kind| (20..=24).contains(&kind))
        && at(1).is_none_or(|major| major == 3)
        && at(2).is_none_or(|minor| minor <= 4)
        && length_holds
}

/// May a record start where this chunk starts? Where none does a stream joined midway needs no scanner yet.
pub fn may_begin(chunk: &[u8]) -> bool {
    chunk.len() >= HEADER_LEN && chain_holds(chunk)
}

/// Does a chain of records start here and hold as far as the chunk shows?
fn chain_holds(chunk: &[u8]) -> bool {
    let mut rest = chunk;
    loop {
        let header = rest.get(..HEADER_LEN).unwrap_or(rest);
        if !plausible(header) {
            return false;
        }
        let Ok(header) = <[u8; HEADER_LEN]>::try_from(header) else {
            return true;
        };
        let Some(next) = rest.get(HEADER_LEN + usize::from(Header::of(header).length)..) else {
            return true;
        };
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::hex;
    use proptest::prelude::*;

    type Seen = (u8, u16, u16, Option<Vec<u8>>, bool);

    fn collect(seen: &mut Vec<Seen>) -> impl FnMut(Record<'_>) + '_ {
        |r| seen.push((r.content_type.0, r.version.0, r.length, r.fragment.map(<[u8]>::to_vec), r.cut))
    }

    fn record(kind: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![kind, 3, 3, (len >> 8) as u8, len as u8];
        bytes.extend((0..len).map(|i| i as u8));
        bytes
    }

    fn scan(scanner: &mut RecordScanner, chunks: &[&[u8]]) -> Vec<Seen> {
        let mut seen = Vec::new();
        for chunk in chunks {
            scanner.push(chunk, &mut collect(&mut seen));
        }
        seen
    }

    #[test]
    fn whole_records_in_one_segment() {
        let bytes = [record(22, 4), record(20, 1), record(23, 100), record(23, 0), record(21, 2)].concat();
        let mut scanner = RecordScanner::new();
        let seen = scan(&mut scanner, &[&bytes]);
        assert_eq!(
            seen.iter().map(|r| (r.0, r.2)).collect::<Vec<_>>(),
            [(22, 4), (20, 1), (23, 100), (23, 0), (21, 2)]
        );
        assert_eq!(seen[0].3.as_deref(), Some(&[0, 1, 2, 3][..]));
        assert_eq!(seen[2].3, None);
        assert_eq!(scanner.verdict(), Verdict::Tls);
        assert_eq!(scanner.lost_syncs(), 0);
    }

    #[test]
    fn other_protocols_are_told_at_once() {
        for first in ["474554202f", "5353482d32", "00", "1603", "16fe", "160305", "1603030000", "160303ffff"] {
            let mut scanner = RecordScanner::new();
            scanner.push(&hex(first), &mut |_| {});
            let expected = if first == "1603" { Verdict::Unsure } else { Verdict::NotTls };
            assert_eq!(scanner.verdict(), expected, "{first}");
        }
    }

    #[test]
    fn a_hole_in_application_data_only_counts() {
        let bytes = [record(22, 4), record(23, 1000)].concat();
        let mut scanner = RecordScanner::new();
        let mut seen = scan(&mut scanner, &[&bytes[..100]]);
        scanner.missing(bytes.len() as u32 - 100, &mut collect(&mut seen));
        scanner.push(&record(23, 8), &mut collect(&mut seen));
        assert_eq!(
            seen.iter().map(|r| (r.0, r.2, r.4)).collect::<Vec<_>>(),
            [(22, 4, false), (23, 1000, true), (23, 8, false)]
        );
        assert_eq!(scanner.lost_syncs(), 0);
    }

    #[test]
    fn a_handshake_cut_by_snap_length_gives_what_was_visible() {
        let hello = record(22, 300);
        let mut scanner = RecordScanner::new();
        let mut seen = scan(&mut scanner, &[&hello[..45]]);
        scanner.missing(260, &mut collect(&mut seen));
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].3.as_ref().map(Vec::len), Some(40));
        assert!(seen[0].4);
        assert_eq!(scanner.lost_syncs(), 0);
    }

    #[test]
    fn bytes_after_a_hole_are_not_glued_to_those_before() {
        let hello = record(22, 300);
        let mut scanner = RecordScanner::new();
        let mut seen = scan(&mut scanner, &[&hello[..45]]);
        scanner.missing(10, &mut collect(&mut seen));
        scanner.push(&hello[55..], &mut collect(&mut seen));
        assert_eq!(seen[0].3.as_ref().map(Vec::len), Some(40));
    }

    #[test]
    fn a_hole_over_a_boundary_costs_sync_until_a_segment_starts_a_record() {
        let mut scanner = RecordScanner::new();
        let mut seen = scan(&mut scanner, &[&record(22, 4), &record(23, 50)[..30]]);
        scanner.missing(1000, &mut collect(&mut seen));
        assert_eq!(scanner.lost_syncs(), 1);
        scanner.push(&[0x99; 700], &mut collect(&mut seen));
        scanner.push(&record(23, 60), &mut collect(&mut seen));
        assert_eq!(seen.iter().map(|r| r.2).collect::<Vec<_>>(), [4, 50, 60]);
        assert_eq!(scanner.lost_syncs(), 1);
    }

    #[test]
    fn joined_midway() {
        let mut exact = RecordScanner::midway();
        assert_eq!(scan(&mut exact, &[&[7; 40], &record(23, 60)]).len(), 1);
        assert_eq!(exact.verdict(), Verdict::Tls);

        let mut single = RecordScanner::midway();
        assert_eq!(scan(&mut single, &[&record(23, 2000)[..1000]]).len(), 0);
        assert_eq!(single.verdict(), Verdict::Unsure);
        scan(&mut single, &[&record(23, 2000)[1000..], &record(23, 9)]);
        assert_eq!(single.verdict(), Verdict::Tls);

        let mut never = RecordScanner::midway();
        for _ in 0..300 {
            never.push(&[0x42; 1000], &mut |_| {});
        }
        assert_eq!(never.verdict(), Verdict::NotTls);
    }

    #[test]
    fn an_unfinished_hello_is_given_at_the_end() {
        let mut scanner = RecordScanner::new();
        let mut seen = scan(&mut scanner, &[&record(22, 300)[..100]]);
        assert!(seen.is_empty());
        scanner.finish(&mut collect(&mut seen));
        assert_eq!(seen[0].3.as_ref().map(Vec::len), Some(95));
    }

    #[test]
    fn small_at_rest() {
        assert!(size_of::<RecordScanner>() <= 64, "{}", size_of::<RecordScanner>());
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_records(
            records in prop::collection::vec((20u8..=24, 1usize..3000), 1..12),
            cuts in prop::collection::vec(1usize..2000, 0..60),
        ) {
            let mut bytes = record(22, 50);
            records.iter().for_each(|&(kind, len)| bytes.extend(record(kind, len)));
            let mut whole = RecordScanner::new();
            let expected = scan(&mut whole, &[&bytes]);
            prop_assert_eq!(expected.len(), records.len() + 1);

            let mut pieces = RecordScanner::new();
            let mut seen = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.into_iter().chain(std::iter::repeat(1)) {
                if rest.is_empty() { break; }
                let (now, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(now, &mut collect(&mut seen));
                rest = after;
            }
            prop_assert_eq!(seen, expected);
            prop_assert_eq!(pieces.verdict(), Verdict::Tls);
        }

        #[test]
        fn any_bytes_and_holes_never_panic_and_stay_small(
            steps in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), 0u32..70_000), 0..40),
            midway: bool,
        ) {
            let mut scanner = if midway { RecordScanner::midway() } else { RecordScanner::new() };
            for (chunk, hole) in steps {
                scanner.push(&[&[22, 3, 1], &chunk[..]].concat(), &mut |_| {});
                scanner.push(&chunk, &mut |_| {});
                scanner.missing(hole, &mut |_| {});
                prop_assert!(scanner.body.as_ref().is_none_or(|body| body.0.len() <= MAX_FRAGMENT));
            }
        }
    }
}
