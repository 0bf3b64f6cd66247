//! What each pcapng block holds for us, given the whole block.
//!
//! Promises: every length inside a block checked against the block, pcap-parser doing the cutting.
//! Refuses: to frame blocks, to remember anything from one block to the next.

use pcap_parser::{
    CB_MAGIC, DCB_MAGIC, DSB_MAGIC, EPB_MAGIC, IDB_MAGIC, ISB_MAGIC, NRB_MAGIC, PIB_MAGIC, SHB_MAGIC, SJE_MAGIC,
    SPB_MAGIC, parse_decryptionsecretsblock_be, parse_decryptionsecretsblock_le, parse_enhancedpacketblock_be,
    parse_enhancedpacketblock_le, parse_interfacedescriptionblock_be, parse_interfacedescriptionblock_le,
    parse_interfacestatisticsblock_be, parse_interfacestatisticsblock_le, parse_sectionheaderblock,
    parse_simplepacketblock_be, parse_simplepacketblock_le,
};

use super::fields::{self, Clock, Order};
use super::{Interface, LinkType, Timestamp};

/// The obsolete Packet Block (draft-ietf-opsawg-pcapng, appendix A).
const PACKET_BLOCK: u32 = 2;
/// Sysdig events, which Wireshark numbers like frames.
const SYSDIG_EVENTS: [u32; 3] = [0x204, 0x216, 0x221];

/// Reads one block: `block` begins with its type and ends with its trailing length, both lengths checked to be its own.
/// `lanes` are those of the whole file. The error is a clause that says what is wrong.
pub(super) fn sight<'a>(
    kind: u32,
    block: &'a [u8],
    order: Order,
    section: Section,
    lanes: &[Lane],
) -> Result<Sight<'a>, String> {
    let lanes = lanes.get(section.first..).unwrap_or_default();
    match kind {
        EPB_MAGIC => enhanced_packet(block, order, lanes),
        SPB_MAGIC => simple_packet(block, order, lanes),
        PACKET_BLOCK => obsolete_packet(block, order, lanes),
        SHB_MAGIC => section_header(block, order, section.first + lanes.len()),
        IDB_MAGIC => interface_description(block, order),
        ISB_MAGIC => statistics(block, order),
        DSB_MAGIC => secrets(block, order),
        CB_MAGIC | DCB_MAGIC | SJE_MAGIC => Ok(Sight::NumberedUnknown),
        NRB_MAGIC | PIB_MAGIC => Ok(Sight::Nothing),
        kind if SYSDIG_EVENTS.contains(&kind) => Ok(Sight::NumberedUnknown),
        _ => Ok(Sight::Unknown),
    }
}

/// The current section of a pcapng.
#[derive(Clone, Copy)]
pub(super) struct Section {
    /// Byte order of its numbers.
    pub(super) order: Order,
    /// Index of its interface 0 among all of the file.
    pub(super) first: usize,
}

/// What frames need to know of their interface.
#[derive(Clone, Copy)]
pub(super) struct Lane {
    clock: Clock,
    link: LinkType,
    /// Longest capture length, bytes; 0 means unlimited. Simple Packet Blocks need it.
    snap_len: u32,
}

/// What a block holds for us.
pub(super) enum Sight<'a> {
    Packet(Packet<'a>),
    Section(Section),
    Interface(Box<Interface>, Lane),
    Secrets(u32, &'a [u8]),
    /// Interface within the section, and the frames dropped there since the capture began.
    Dropped(usize, u64),
    /// Of no use, yet Wireshark numbers it like a frame.
    NumberedUnknown,
    Unknown,
    Nothing,
}

/// A packet block of any of the three kinds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    /// Index within the section.
    pub(super) interface: usize,
    /// `None` when the block has no time.
    pub(super) at: Option<Timestamp>,
    pub(super) link: LinkType,
    pub(super) original_len: u32,
    pub(super) data: &'a [u8],
    /// Frames lost just before it.
    pub(super) lost: Option<u64>,
}

/// A copy of `block` that claims `length` bytes, at both its ends.
pub(super) fn with_length(block: &[u8], order: Order, length: u32) -> Vec<u8> {
    let length = order.bytes(length);
    let kind = block.get(..4).unwrap_or_default();
    let body = block.get(8..block.len().saturating_sub(4)).unwrap_or_default();
    [kind, &length, body, &length].concat()
}

/// The short way for most blocks: a whole Enhanced Packet Block without options at the beginning of `data`, as framing and
/// pcap-parser would cut it, at a tenth of their cost. Nothing when it is anything else, or not as long as it should be.
#[inline]
pub(super) fn plain_packet<'a>(
    data: &'a [u8],
    section: Section,
    lanes: &[Lane],
    longest: usize,
) -> Option<(Packet<'a>, usize)> {
    match section.order {
        Order::Little => plain_packet_in(u32::from_le_bytes, data, section.first, lanes, longest),
        Order::Big => plain_packet_in(u32::from_be_bytes, data, section.first, lanes, longest),
    }
}

/// The same in a byte order.
#[inline]
fn plain_packet_in<'a>(
    number: impl Fn([u8; 4]) -> u32,
    data: &'a [u8],
    first: usize,
    lanes: &[Lane],
    longest: usize,
) -> Option<(Packet<'a>, usize)> {
    /// Type, length, interface, time (two fields), captured and original length.
    const HEAD: usize = 28;
    let (head, rest) = data.split_first_chunk::<HEAD>()?;
    let (fields, _) = head.as_chunks::<4>();
    let &[kind, length, interface, high, low, captured, original_len] = fields else { return None };
    let (length, interface, captured) = (number(length), number(interface) as usize, number(captured) as usize);
    let whole = HEAD + captured.next_multiple_of(4) + 4;
    if number(kind) != EPB_MAGIC || length as usize != whole || whole > longest {
        return None;
    }
    let (body, end) = rest.get(..whole - HEAD)?.split_last_chunk::<4>()?;
    let lane = lanes.get(first.checked_add(interface)?).filter(|_| number(*end) == length)?;
    let packet = Packet {
        interface,
        at: Some(lane.clock.at(u64::from(number(high)) << 32 | u64::from(number(low)))),
        link: lane.link,
        original_len: number(original_len),
        data: body.get(..captured)?,
        lost: None,
    };
    Some((packet, whole))
}

fn enhanced_packet<'a>(block: &'a [u8], order: Order, lanes: &[Lane]) -> Result<Sight<'a>, String> {
    let parsed = match order {
        Order::Little => parse_enhancedpacketblock_le(block),
        Order::Big => parse_enhancedpacketblock_be(block),
    };
    let Ok((_, packet)) = parsed else {
        return Err(ill_formed("Enhanced Packet Block"));
    };
    let interface = packet.if_id as usize;
    let Some(lane) = lanes.get(interface) else {
        return Err(no_interface(packet.if_id));
    };
    let Some(data) = packet.data.get(..packet.caplen as usize) else {
        return Err(ill_formed("Enhanced Packet Block"));
    };
    Ok(Sight::Packet(Packet {
        interface,
        at: Some(lane.clock.at((u64::from(packet.ts_high) << 32) | u64::from(packet.ts_low))),
        link: lane.link,
        original_len: packet.origlen,
        data,
        lost: fields::lost_before(&packet.options, order),
    }))
}

/// A Simple Packet Block has no time, no capture length and always interface 0 (draft-ietf-opsawg-pcapng §4.4).
fn simple_packet<'a>(block: &'a [u8], order: Order, lanes: &[Lane]) -> Result<Sight<'a>, String> {
    let parsed = match order {
        Order::Little => parse_simplepacketblock_le(block),
        Order::Big => parse_simplepacketblock_be(block),
    };
    let Ok((_, packet)) = parsed else {
        return Err(ill_formed("Simple Packet Block"));
    };
    let Some(lane) = lanes.first() else {
        return Err(no_interface(0));
    };
    let captured = match lane.snap_len {
        0 => packet.origlen,
        limit => packet.origlen.min(limit),
    };
    let Some(data) = packet.data.get(..captured as usize) else {
        return Err(ill_formed("Simple Packet Block"));
    };
    Ok(Sight::Packet(Packet {
        interface: 0,
        at: None,
        link: lane.link,
        original_len: packet.origlen,
        data,
        lost: None,
    }))
}

/// Bytes after type and length: interface (2), drops (2), timestamp (8), captured (4), original (4), data.
fn obsolete_packet<'a>(block: &'a [u8], order: Order, lanes: &[Lane]) -> Result<Sight<'a>, String> {
    const HEADER: usize = 28;
    let ill = || ill_formed("Packet Block");
    let interface = order.u16(block, 8).ok_or_else(ill)?;
    let drops = order.u16(block, 10).ok_or_else(ill)?;
    let high = order.u32(block, 12).ok_or_else(ill)?;
    let low = order.u32(block, 16).ok_or_else(ill)?;
    let captured = order.u32(block, 20).ok_or_else(ill)?;
    let original_len = order.u32(block, 24).ok_or_else(ill)?;
    let body = block.get(HEADER..block.len().saturating_sub(4)).ok_or_else(ill)?;
    let data = body.get(..captured as usize).ok_or_else(ill)?;
    let lane = lanes.get(usize::from(interface)).ok_or_else(|| no_interface(interface.into()))?;
    Ok(Sight::Packet(Packet {
        interface: interface.into(),
        at: Some(lane.clock.at((u64::from(high) << 32) | u64::from(low))),
        link: lane.link,
        original_len,
        data,
        // 0xffff means "not known".
        lost: (drops != u16::MAX).then_some(drops.into()),
    }))
}

fn section_header<'a>(block: &[u8], order: Order, first: usize) -> Result<Sight<'a>, String> {
    let Ok((_, header)) = parse_sectionheaderblock(block) else {
        return Err(ill_formed("Section Header Block"));
    };
    if header.major_version != 1 {
        return Err(format!(
            "a section of pcapng version {}.{}, which nobody has defined",
            header.major_version, header.minor_version
        ));
    }
    Ok(Sight::Section(Section { order, first }))
}

fn interface_description<'a>(block: &[u8], order: Order) -> Result<Sight<'a>, String> {
    let parsed = match order {
        Order::Little => parse_interfacedescriptionblock_le(block),
        Order::Big => parse_interfacedescriptionblock_be(block),
    };
    let Ok((_, description)) = parsed else {
        return Err(ill_formed("Interface Description Block"));
    };
    let interface = fields::interface(&description);
    let clock = fields::clock(&description, order);
    let lane = Lane { clock, link: interface.link, snap_len: interface.snap_len };
    Ok(Sight::Interface(Box::new(interface), lane))
}

fn statistics<'a>(block: &[u8], order: Order) -> Result<Sight<'a>, String> {
    let parsed = match order {
        Order::Little => parse_interfacestatisticsblock_le(block),
        Order::Big => parse_interfacestatisticsblock_be(block),
    };
    let Ok((_, statistics)) = parsed else {
        return Err(ill_formed("Interface Statistics Block"));
    };
    Ok(match fields::dropped(&statistics, order) {
        Some(total) => Sight::Dropped(statistics.if_id as usize, total),
        None => Sight::Nothing,
    })
}

fn secrets(block: &[u8], order: Order) -> Result<Sight<'_>, String> {
    let parsed = match order {
        Order::Little => parse_decryptionsecretsblock_le(block),
        Order::Big => parse_decryptionsecretsblock_be(block),
    };
    let Ok((_, secrets)) = parsed else {
        return Err(ill_formed("Decryption Secrets Block"));
    };
    match secrets.data.get(..secrets.secrets_len as usize) {
        Some(data) => Ok(Sight::Secrets(secrets.secrets_type.0, data)),
        None => Err(ill_formed("Decryption Secrets Block")),
    }
}

#[cold]
fn ill_formed(block: &str) -> String {
    format!("the lengths inside the {block} contradict its size")
}

#[cold]
fn no_interface(id: u32) -> String {
    format!("a packet names interface {id}, which its section does not describe")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_short_way_gives_what_the_long_way_gives(
            data in prop::collection::vec(any::<u8>(), 0..40),
            [high, low, original] in prop::array::uniform3(any::<u32>()),
            interface in 0u32..3,
            has_options in any::<bool>(),
            big in any::<bool>(),
            missing in 0usize..12,
            damage in prop::option::of((0usize..80, any::<u8>())),
        ) {
            let order = if big { Order::Big } else { Order::Little };
            let options: &[u8] = if has_options { &[0; 4] } else { &[] };
            let length = (32 + data.len().next_multiple_of(4) + options.len()) as u32;
            let mut block: Vec<u8> = [EPB_MAGIC, length, interface, high, low, data.len() as u32, original]
                .into_iter()
                .flat_map(|number| order.bytes(number))
                .collect();
            block.extend(&data);
            block.resize(block.len().next_multiple_of(4), 0);
            block.extend(options);
            block.extend(order.bytes(length));
            if let Some((at, value)) = damage
                && let Some(byte) = block.get_mut(at)
            {
                *byte = value;
            }
            // Behind it begins the next, or the window ends inside it.
            block.extend([6; 8]);
            block.truncate(block.len() - missing);
            let lane = Lane { clock: Clock::new(6, 0), link: LinkType::ETHERNET, snap_len: 0 };
            let lanes = [lane, lane, Lane { clock: Clock::new(9, 0), ..lane }];
            let section = Section { order, first: 1 };
            if let Some((packet, whole)) = plain_packet(&block, section, &lanes, 100) {
                prop_assert_eq!(whole, length as usize);
                let long = sight(EPB_MAGIC, block.get(..whole).unwrap_or_default(), order, section, &lanes);
                prop_assert!(matches!(long, Ok(Sight::Packet(long)) if long == packet));
            } else {
                prop_assert!(damage.is_some() || has_options || interface >= 2 || missing > 8);
            }
        }
    }
}
