//! What the fields of a capture file mean: byte order, time resolution, interface options.
//!
//! Promises: every value of every field has a meaning or none, without overflow.
//! Refuses: to read or to frame anything.

use pcap_parser::{InterfaceDescriptionBlock, InterfaceStatisticsBlock, OptionCode, PcapNGOption};

use super::{Interface, LinkType, Timestamp};

/// Longest name or description kept, bytes: an interface costs a bounded amount, whatever the file says.
const MAX_NAME: usize = 256;
/// Longest capture filter kept, bytes.
const MAX_FILTER: usize = 1024;

/// `epb_dropcount`: packets lost between this one and the one before (draft-ietf-opsawg-pcapng §4.3).
const EPB_DROPCOUNT: OptionCode = OptionCode(4);

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// Byte order of a file or section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// The 16-bit number at `offset`; `None` beyond the end.
    #[inline]
    pub(super) fn u16(self, bytes: &[u8], offset: usize) -> Option<u16> {
        let field = *bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Order::Little => u16::from_le_bytes(field),
            Order::Big => u16::from_be_bytes(field),
        })
    }

    /// The 32-bit number at `offset`; `None` beyond the end.
    #[inline]
    pub(super) fn u32(self, bytes: &[u8], offset: usize) -> Option<u32> {
        let field = *bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Order::Little => u32::from_le_bytes(field),
            Order::Big => u32::from_be_bytes(field),
        })
    }

    /// The 64-bit number at `offset`; `None` beyond the end.
    pub(super) fn u64(self, bytes: &[u8], offset: usize) -> Option<u64> {
        let field = *bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Order::Little => u64::from_le_bytes(field),
            Order::Big => u64::from_be_bytes(field),
        })
    }

    /// `number` as this order writes it.
    pub(super) fn bytes(self, number: u32) -> [u8; 4] {
        match self {
            Order::Little => number.to_le_bytes(),
            Order::Big => number.to_be_bytes(),
        }
    }
}

/// How an interface's 64-bit timestamps become nanoseconds (`if_tsresol`, `if_tsoffset`; draft-ietf-opsawg-pcapng §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    unit: Unit,
    /// Nanoseconds added to every timestamp.
    offset: i64,
}

/// One tick of a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// So many nanoseconds.
    Nanoseconds(u64),
    /// So many ticks make a nanosecond.
    PerNanosecond(u64),
    /// 2 to the minus n seconds.
    BinaryFraction(u32),
    /// So fine that 64 bits of it are no nanosecond.
    Nothing,
}

impl Clock {
    /// `resolution` as `if_tsresol` codes it, `offset` in seconds.
    pub(super) fn new(resolution: u8, offset: i64) -> Clock {
        let exponent = u32::from(resolution & 0x7f);
        let unit = match exponent {
            _ if resolution & 0x80 != 0 => Unit::BinaryFraction(exponent),
            0..=9 => Unit::Nanoseconds(10u64.pow(9 - exponent)),
            10..=28 => Unit::PerNanosecond(10u64.pow(exponent - 9)),
            _ => Unit::Nothing,
        };
        Clock { unit, offset: offset.saturating_mul(SECOND) }
    }

    /// The moment `ticks` stand for, at the end of the scale when it does not fit.
    #[inline]
    pub(super) fn at(self, ticks: u64) -> Timestamp {
        // Nearly all clocks tick in nanoseconds or their multiples, nearly all times fit.
        if let Unit::Nanoseconds(length) = self.unit
            && let Some(nanoseconds) = ticks.checked_mul(length).and_then(|n| i64::try_from(n).ok())
            && let Some(sum) = nanoseconds.checked_add(self.offset)
        {
            return Timestamp::from_nanos(sum);
        }
        self.at_any(ticks)
    }

    #[cold]
    fn at_any(self, ticks: u64) -> Timestamp {
        let nanoseconds = match self.unit {
            Unit::Nanoseconds(length) => i128::from(ticks) * i128::from(length),
            Unit::PerNanosecond(count) => i128::from(ticks / count),
            Unit::BinaryFraction(exponent) => (i128::from(ticks) * i128::from(SECOND)) >> exponent,
            Unit::Nothing => 0,
        };
        let sum = nanoseconds + i128::from(self.offset);
        Timestamp::from_nanos(sum.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
    }
}

/// The clock an Interface Description Block sets; microseconds since 1970 when it says nothing.
pub(super) fn clock(block: &InterfaceDescriptionBlock<'_>, order: Order) -> Clock {
    let resolution = value(&block.options, OptionCode::IfTsresol).and_then(|v| v.first().copied());
    // Not `if_tsoffset()`: it reads little-endian in every section.
    let offset = value(&block.options, OptionCode::IfTsoffset).and_then(|v| order.u64(v, 0));
    Clock::new(resolution.unwrap_or(6), offset.unwrap_or(0) as i64)
}

/// The interface an Interface Description Block describes.
pub(super) fn interface(block: &InterfaceDescriptionBlock<'_>) -> Interface {
    Interface {
        name: value(&block.options, OptionCode::IfName).map(|v| text(v, MAX_NAME)),
        description: value(&block.options, OptionCode::IfDescription).map(|v| text(v, MAX_NAME)),
        filter: value(&block.options, OptionCode::IfFilter).map(filter),
        link: LinkType(block.linktype.0 as u16),
        snap_len: block.snaplen,
        dropped: None,
    }
}

/// A leading 0 means a libpcap string; other codes are byte code nobody reads, but it is there. One that was cut says so.
fn filter(option: &[u8]) -> String {
    match option.strip_prefix(&[0]) {
        Some(string) if string.len() > MAX_FILTER => text(string, MAX_FILTER) + "…",
        Some(string) => text(string, MAX_FILTER),
        None => "byte code".to_owned(),
    }
}

/// Frames an Interface Statistics Block says were dropped since the capture began; `None` when it does not say.
pub(super) fn dropped(block: &InterfaceStatisticsBlock<'_>, order: Order) -> Option<u64> {
    let count = |code| value(&block.options, code).and_then(|v| order.u64(v, 0));
    match (count(OptionCode::IsbIfDrop), count(OptionCode::IsbOsDrop)) {
        (None, None) => None,
        (interface, system) => Some(interface.unwrap_or(0).saturating_add(system.unwrap_or(0))),
    }
}

/// Frames lost just before a packet, from the options of its block; `None` when it does not say.
pub(super) fn lost_before(options: &[PcapNGOption<'_>], order: Order) -> Option<u64> {
    value(options, EPB_DROPCOUNT).and_then(|v| order.u64(v, 0))
}

/// The first value of an option, without padding; nothing behind `opt_endofopt` counts.
fn value<'a>(options: &'a [PcapNGOption<'_>], code: OptionCode) -> Option<&'a [u8]> {
    options
        .iter()
        .take_while(|option| option.code != OptionCode::EndOfOpt)
        .find(|option| option.code == code)
        .and_then(|option| option.as_bytes().ok())
}

/// At most `limit` bytes as text; what is not UTF-8 is replaced, trailing zeros some writers add are cut.
fn text(bytes: &[u8], limit: usize) -> String {
    let kept = bytes.get(..limit).unwrap_or(bytes);
    String::from_utf8_lossy(kept).trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_and_binary_resolutions() {
        assert_eq!(Clock::new(0, 0).at(7), Timestamp::from_nanos(7_000_000_000));
        assert_eq!(Clock::new(6, 0).at(1_500_000), Timestamp::from_nanos(1_500_000_000));
        assert_eq!(Clock::new(9, 0).at(1_500_000), Timestamp::from_nanos(1_500_000));
        assert_eq!(Clock::new(12, 0).at(1_500_999), Timestamp::from_nanos(1_500));
        assert_eq!(Clock::new(0x80, 0).at(3), Timestamp::from_nanos(3_000_000_000));
        assert_eq!(Clock::new(0x80 | 10, 0).at(1536), Timestamp::from_nanos(1_500_000_000));
        assert_eq!(Clock::new(0x80 | 32, 0).at((5 << 32) | (1 << 31)), Timestamp::from_nanos(5_500_000_000));
        assert_eq!(Clock::new(0xff, 0).at(u64::MAX), Timestamp::from_nanos(0));
        assert_eq!(Clock::new(0x7f, 0).at(u64::MAX), Timestamp::from_nanos(0));
    }

    #[test]
    fn filters_as_text_as_byte_code_and_cut() {
        assert_eq!([filter(b"\0icmp\0"), filter(b"\x01\x28\0\0\x0c"), filter(b"\0")], ["icmp", "byte code", ""]);
        let long = filter(&[b"\0".as_slice(), &b"tcp or ".repeat(200)].concat());
        assert!(long.ends_with("…") && long.len() < 2 * MAX_FILTER);
    }

    #[test]
    fn offsets_and_the_ends_of_the_scale() {
        assert_eq!(Clock::new(6, -2).at(1_000_000), Timestamp::from_nanos(-SECOND));
        assert_eq!(Clock::new(6, i64::MAX).at(u64::MAX), Timestamp::from_nanos(i64::MAX));
        assert_eq!(Clock::new(0, i64::MIN).at(0), Timestamp::from_nanos(i64::MIN));
        assert_eq!(Clock::new(0, 0).at(u64::MAX), Timestamp::from_nanos(i64::MAX));
    }

    #[test]
    fn text_is_bounded_and_trimmed() {
        assert_eq!(text(b"eth0\0\0", 256), "eth0");
        assert_eq!(text(&[b'a'; 300], 256).len(), 256);
        assert_eq!(text(b"a\xffb", 256), "a\u{fffd}b");
    }
}
