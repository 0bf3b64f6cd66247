//! Where a frame or block begins and ends: the one rule of what in a file is damage.
//!
//! Promises: what is framed lies whole in the window; every length is checked before it is believed. Refuses: to know what is in it.

use std::io;

use pcap_parser::{SHB_MAGIC, parse_pcap_header};

use super::decompress::{self, Blame};
use super::fields::Order;
use super::reader::Limits;
use super::window::Window;
use super::{LinkType, Timestamp};

/// Type and two lengths: the shortest block, bytes (draft-ietf-opsawg-pcapng §3.1).
pub(super) const SHORTEST_BLOCK: usize = 12;
/// Bytes of a classic pcap file header (draft-ietf-opsawg-pcap §4).
pub(super) const PCAP_HEADER: usize = 24;
/// Longest frame a classic pcap may hold unless its snap length says more, bytes: `MAXIMUM_SNAPLEN` of libpcap.
/// Without it a damaged length would swallow the frames behind it.
const PCAP_LONGEST_FRAME: usize = 262_144;

/// Why there is nothing further.
pub(super) enum Stop {
    /// The file ends where it may.
    End,
    /// The file makes no sense from here on.
    Damage(String),
    /// The source failed.
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        match decompress::blame(error) {
            Blame::Source(source) => Stop::Io(source),
            Blame::Data(reason) => Stop::Damage(reason),
        }
    }
}

/// What a classic pcap's file header says of every frame.
#[derive(Clone, Copy)]
pub(super) struct PcapFile {
    pub(super) order: Order,
    /// Nanoseconds in a unit of the timestamp's second field: 1 or 1000.
    pub(super) fraction: i64,
    /// Bytes before each frame's data: 16, or 24 in Kuznetzov's modified format.
    header: usize,
    /// Longest believable frame, bytes.
    longest: usize,
    pub(super) snap_len: u32,
    pub(super) link: LinkType,
}

/// A frame of a classic pcap, whole in the window.
pub(super) struct PcapFrame {
    pub(super) at: Timestamp,
    pub(super) original_len: u32,
    /// Where its data begins and ends, bytes from the start of the window.
    pub(super) data: std::ops::Range<usize>,
}

impl PcapFile {
    /// Does a file that begins so hold classic pcap?
    pub(super) fn begins(data: &[u8]) -> bool {
        matches!(
            data.first_chunk(),
            Some([0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] | [0x34, 0xcd, 0xb2, 0xa1])
                | Some([0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d])
        )
    }

    /// Its header.
    pub(super) fn read(data: &[u8], limits: Limits) -> Result<PcapFile, Stop> {
        let Ok((_, header)) = parse_pcap_header(data) else {
            return Err(Stop::Damage("it ends inside the pcap file header".to_owned()));
        };
        Ok(PcapFile {
            order: if header.is_bigendian() { Order::Big } else { Order::Little },
            fraction: if header.is_nanosecond_precision() { 1 } else { 1000 },
            header: if header.is_modified_format() { 24 } else { 16 },
            longest: PCAP_LONGEST_FRAME.max(header.snaplen as usize).min(limits.max_block),
            snap_len: header.snaplen,
            // The upper bits of the network field tell of the frame check sequence (draft-ietf-opsawg-pcap §4).
            link: LinkType(header.network.0 as u16),
        })
    }

    /// Makes the next frame visible.
    #[inline]
    pub(super) fn frame(&self, window: &mut Window) -> Result<PcapFrame, Stop> {
        if !window.fill(self.header)? {
            return Err(ended(window.data(), "frame header"));
        }
        let (order, header) = (self.order, window.data());
        let (Some(seconds), Some(fraction), Some(captured), Some(original_len)) =
            (order.u32(header, 0), order.u32(header, 4), order.u32(header, 8), order.u32(header, 12))
        else {
            return Err(Stop::End);
        };
        let captured = captured as usize;
        if captured > self.longest {
            return Err(too_long("frame", captured, self.longest));
        }
        let whole = self.header + captured;
        if !window.fill(whole)? {
            return Err(ended(window.data(), "frame"));
        }
        // Cannot overflow: 2^32 seconds are some 4 * 10^18 nanoseconds.
        let at = Timestamp::from_nanos(i64::from(seconds) * 1_000_000_000 + i64::from(fraction) * self.fraction);
        Ok(PcapFrame { at, original_len, data: self.header..whole })
    }
}

/// A pcapng block, whole in the window.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) kind: u32,
    pub(super) order: Order,
    /// The length it claims; some old writers leave the padding out, as Wireshark knows.
    pub(super) claimed: usize,
    /// Bytes it takes in the file.
    pub(super) whole: usize,
}

impl Block {
    /// Makes the next block of a section with that byte order visible.
    #[inline]
    pub(super) fn next(window: &mut Window, order: Order, limits: Limits) -> Result<Block, Stop> {
        if !window.fill(SHORTEST_BLOCK)? {
            return Err(ended(window.data(), "block"));
        }
        let start = window.data();
        let Some(kind) = order.u32(start, 0) else {
            return Err(Stop::End);
        };
        // A section header tells its own byte order.
        let order = match (kind, start.get(8..12)) {
            (SHB_MAGIC, Some([0x4d, 0x3c, 0x2b, 0x1a])) => Order::Little,
            (SHB_MAGIC, Some([0x1a, 0x2b, 0x3c, 0x4d])) => Order::Big,
            (SHB_MAGIC, _) => return Err(Stop::Damage("a section header without byte-order magic".to_owned())),
            _ => order,
        };
        let Some(length) = order.u32(start, 4) else {
            return Err(Stop::End);
        };
        let claimed = length as usize;
        if claimed < SHORTEST_BLOCK {
            return Err(Stop::Damage(format!("a block of {claimed} bytes is shorter than any block")));
        }
        if claimed > limits.max_block {
            return Err(too_long("block", claimed, limits.max_block));
        }
        let whole = claimed.next_multiple_of(4);
        if !window.fill(whole)? {
            return Err(ended(window.data(), "block"));
        }
        if order.u32(window.data(), whole - 4) != Some(length) {
            return Err(Stop::Damage(format!("the lengths around a block of type {kind:#x} differ")));
        }
        Ok(Block { kind, order, claimed, whole })
    }
}

/// The end of the file, where it may be or inside something.
#[cold]
fn ended(rest: &[u8], inside: &str) -> Stop {
    match rest.len() {
        0 => Stop::End,
        1 => Stop::Damage(format!("the file ends 1 byte into a {inside}")),
        n => Stop::Damage(format!("the file ends {n} bytes into a {inside}")),
    }
}

#[cold]
fn too_long(what: &str, length: usize, limit: usize) -> Stop {
    Stop::Damage(format!("a {what} of {length} bytes is larger than the limit of {limit}"))
}
