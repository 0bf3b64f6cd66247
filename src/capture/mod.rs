//! Bytes to frames: what a capture file says about each frame, and nothing more.
//!
//! Promises: constant memory, frames numbered from 1 as Wireshark does, damage reported as data.
//! Refuses: to look inside a frame.

use std::fmt;
use std::io;
use std::num::NonZeroU64;

pub mod annotate;
mod blocks;
mod decompress;
mod fields;
mod framing;
pub mod reader;
pub mod vantage;
mod window;
pub mod write;

/// Gives the same bytes as what it takes, read before they are asked for: only the caller may start threads.
pub type ReadAhead = fn(Box<dyn io::Read + Send>) -> Box<dyn io::Read + Send>;

/// Nanoseconds since 1970-01-01 00:00:00 UTC, from the capture, never from this machine.
///
/// Kept as an unsigned number that is never 0, so that an `Option` of it takes no more room: half of what is remembered about
/// flows are moments that may never have come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(NonZeroU64);

impl Timestamp {
    const EPOCH: u64 = 1 << 63;

    /// So many nanoseconds since 1970; [`i64::MIN`] is taken for the nanosecond after it.
    pub const fn from_nanos(nanos: i64) -> Timestamp {
        match NonZeroU64::new(nanos as u64 ^ Timestamp::EPOCH) {
            Some(number) => Timestamp(number),
            None => Timestamp(NonZeroU64::MIN),
        }
    }

    /// Nanoseconds since 1970.
    pub const fn nanos(self) -> i64 {
        (self.0.get() ^ Timestamp::EPOCH) as i64
    }

    /// Nanoseconds from `earlier` to this moment.
    pub const fn nanos_since(self, earlier: Timestamp) -> i64 {
        self.nanos().saturating_sub(earlier.nanos())
    }

    /// Seconds from `earlier` to this moment; negative when this is the earlier one.
    pub fn seconds_since(self, earlier: Timestamp) -> f64 {
        self.nanos_since(earlier) as f64 / 1e9
    }

    /// This moment moved by `seconds`.
    pub fn plus_seconds(self, seconds: f64) -> Timestamp {
        Timestamp::from_nanos(self.nanos().saturating_add((seconds * 1e9) as i64))
    }
}

impl Default for Timestamp {
    fn default() -> Timestamp {
        Timestamp::from_nanos(0)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timestamp").field(&self.nanos()).finish()
    }
}

/// One frame of one capture: the capture's place in the run (from 0) and Wireshark's `frame.number`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameRef {
    /// Which file of the run, counted from 0 in the order given.
    pub capture: u16,
    /// `frame.number`, counted from 1 in that file.
    pub number: u32,
}

/// A link type as registered by tcpdump.org (LINKTYPE_ value).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: 4-byte address family in the capturing host's byte order.
    pub const NULL: LinkType = LinkType(0);
    /// Ethernet.
    pub const ETHERNET: LinkType = LinkType(1);
    /// Raw IP as OpenBSD and old libpcap wrote it (DLT_RAW 12 leaked into files).
    pub const RAW_BSD: LinkType = LinkType(12);
    /// Raw IP as OpenBSD numbers it (14).
    pub const RAW_OPENBSD: LinkType = LinkType(14);
    /// Raw IPv4 or IPv6, told by the first nibble.
    pub const RAW: LinkType = LinkType(101);
    /// OpenBSD loopback: 4-byte address family, network byte order.
    pub const LOOP: LinkType = LinkType(108);
    /// Linux "cooked" capture, 16-byte header.
    pub const LINUX_SLL: LinkType = LinkType(113);
    /// Raw IPv4.
    pub const IPV4: LinkType = LinkType(228);
    /// Raw IPv6.
    pub const IPV6: LinkType = LinkType(229);
    /// Linux "cooked" capture v2, 20-byte header.
    pub const LINUX_SLL2: LinkType = LinkType(276);

    /// IP without any header below it, as a tunnel's adapter has.
    pub fn is_raw_ip(self) -> bool {
        matches!(self, LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD | LinkType::IPV4 | LinkType::IPV6)
    }
}

impl fmt::Display for LinkType {
    /// Wireshark's short name where there is one, else `linktype N`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            LinkType::NULL => "null",
            LinkType::ETHERNET => "ether",
            LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD => "rawip",
            LinkType::LOOP => "loop",
            LinkType::LINUX_SLL => "linux-sll",
            LinkType::IPV4 => "rawip4",
            LinkType::IPV6 => "rawip6",
            LinkType::LINUX_SLL2 => "linux-sll2",
            LinkType(other) => return write!(f, "linktype {other}"),
        };
        f.write_str(name)
    }
}

/// What the file says about one capturing interface (pcapng IDB, or the one a classic pcap implies).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// `if_name`, as written.
    pub name: Option<String>,
    /// `if_description`, as written.
    pub description: Option<String>,
    /// `if_filter`: the capture filter, when the file tells it.
    pub filter: Option<String>,
    /// Link type of its frames.
    pub link: LinkType,
    /// Longest capture length in bytes; 0 means unlimited.
    pub snap_len: u32,
    /// Frames the capturing side says it dropped (ISB `isb_ifdrop` + `isb_osdrop`, EPB `epb_dropcount`); `None` when never told.
    pub dropped: Option<u64>,
}

/// One captured link-layer unit, borrowed from the reader's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// `frame.number`, counted from 1 over the file.
    pub number: u32,
    /// When; a Simple Packet Block has no time and gets the last one seen (zero before any).
    pub at: Timestamp,
    /// Index into [`reader::Reader::interfaces`], counted over all sections of the file.
    pub interface: u32,
    /// Link type of that interface.
    pub link: LinkType,
    /// Bytes on the wire, before the snap length cut it.
    pub original_len: u32,
    /// The captured bytes.
    pub data: &'a [u8],
}

/// What a reader hands out.
#[derive(Debug)]
#[non_exhaustive]
pub enum Item<'a> {
    /// A frame.
    Frame(Frame<'a>),
    /// A Decryption Secrets Block: secrets type and its bytes. Never print them.
    Secrets(u32, &'a [u8]),
}
