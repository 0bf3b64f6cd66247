//! IPv4 and IPv6 headers with their extension headers, read laxly: a packet cut by the snap length keeps its true
//! lengths, a packet whose header contradicts itself is refused.

use std::net::IpAddr;

use etherparse::err::{ipv4, ipv6};
use etherparse::{IpAuthHeaderSlice, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice};

use super::layer::Layer;
use super::{IpHeader, Undecoded};

/// IP protocol numbers we act upon (IANA).
pub(super) mod protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IPV4: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT_HEADER: u8 = 59;
    pub const DESTINATION_OPTIONS: u8 = 60;
    pub const MOBILITY: u8 = 135;
    pub const HIP: u8 = 139;
    pub const SHIM6: u8 = 140;
}

/// One IP packet, its extension headers taken off.
#[derive(Debug)]
pub(super) struct IpPacket<'a> {
    /// The facts of its header.
    pub header: IpHeader,
    /// Bytes before the part that can be fragmented: the IP header, for IPv6 with the extension headers that
    /// every fragment repeats.
    pub unfragmentable_len: u32,
    /// Protocol of `payload`; that of an extension header when it was cut.
    pub protocol: u8,
    /// What the packet carries, Ethernet padding taken off.
    pub payload: Layer<'a>,
    /// Its place in the datagram, when it is a fragment.
    pub fragment: Option<Piece>,
}

impl IpPacket<'_> {
    /// A fragment Wireshark reads as if it were the whole datagram: an IPv4 packet's first that was cut. It will
    /// not put that datagram together, so this is all that comes of it.
    pub fn is_cut_first_fragment(&self) -> bool {
        let is_first = self.fragment.is_some_and(|piece| piece.offset == 0);
        is_first && self.header.src.is_ipv4() && !self.payload.is_whole()
    }
}

/// The place of one fragment in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Identification: 16 bits for IPv4, 32 for IPv6.
    pub id: u32,
    /// Offset in the datagram's payload, bytes.
    pub offset: u32,
    /// More fragments follow.
    pub more: bool,
}

/// Reads one IP packet of either version.
#[inline]
pub(super) fn parse(layer: Layer<'_>) -> Result<IpPacket<'_>, Undecoded> {
    match layer.bytes.first().ok_or(Undecoded::Cut)? >> 4 {
        4 => ipv4(layer),
        6 => ipv6(layer),
        _ => Err(Undecoded::Malformed),
    }
}

#[inline]
fn ipv4(layer: Layer<'_>) -> Result<IpPacket<'_>, Undecoded> {
    let slice = Ipv4HeaderSlice::from_slice(layer.bytes).map_err(|error| match error {
        ipv4::HeaderSliceError::Len(_) => Undecoded::Cut,
        ipv4::HeaderSliceError::Content(_) => Undecoded::Malformed,
    })?;
    let header_len = slice.slice().len();
    let unfragmentable_len = header_len as u32;
    let total_len = match slice.total_len() {
        // a host that leaves segmentation to its card has not written the length yet
        0 => layer.wire_len,
        written => u32::from(written),
    };
    if total_len < unfragmentable_len {
        return Err(Undecoded::Malformed);
    }
    let payload = layer.skip(header_len)?.with_wire_len(total_len - unfragmentable_len);
    let fragment = slice.is_fragmenting_payload().then(|| Piece {
        id: u32::from(slice.identification()),
        offset: u32::from(slice.fragments_offset().value()) * 8,
        more: slice.more_fragments(),
    });
    let mut packet = IpPacket {
        header: IpHeader {
            src: IpAddr::V4(slice.source_addr()),
            dst: IpAddr::V4(slice.destination_addr()),
            ttl: slice.ttl(),
            id: slice.identification(),
            dont_fragment: slice.dont_fragment(),
            total_len,
        },
        unfragmentable_len,
        protocol: slice.protocol().0,
        payload,
        fragment,
    };
    if packet.protocol == protocol::AUTHENTICATION && packet.fragment.is_none() {
        (packet.protocol, packet.payload) = skip_authentication(packet.payload);
    }
    Ok(packet)
}

#[inline]
fn ipv6(layer: Layer<'_>) -> Result<IpPacket<'_>, Undecoded> {
    let slice = Ipv6HeaderSlice::from_slice(layer.bytes).map_err(|error| match error {
        ipv6::HeaderSliceError::Len(_) => Undecoded::Cut,
        ipv6::HeaderSliceError::Content(_) => Undecoded::Malformed,
    })?;
    let next_header = slice.next_header().0;
    let rest = layer.skip(slice.slice().len())?;
    let payload = match slice.payload_length() {
        // offloaded, or a jumbogram (RFC 2675)
        0 if next_header != protocol::NO_NEXT_HEADER => rest,
        written => rest.with_wire_len(u32::from(written)),
    };
    let header_len = slice.slice().len() as u32;
    let total_len = header_len.saturating_add(payload.wire_len);
    let after = skip_extensions(next_header, payload);
    Ok(IpPacket {
        header: IpHeader {
            src: IpAddr::V6(slice.source_addr()),
            dst: IpAddr::V6(slice.destination_addr()),
            ttl: slice.hop_limit(),
            id: 0,
            dont_fragment: true,
            total_len,
        },
        unfragmentable_len: header_len + after.before_fragment,
        protocol: after.protocol,
        payload: after.payload,
        fragment: after.fragment,
    })
}

/// What a datagram put together from fragments carries: its protocol and payload, extension headers taken off.
/// Fragments of fragments are not put together: they keep the fragment header's protocol number.
pub(super) fn reassembled(v6: bool, protocol: u8, payload: Layer<'_>) -> (u8, Layer<'_>) {
    match (v6, protocol) {
        (false, protocol::AUTHENTICATION) => skip_authentication(payload),
        (false, _) => (protocol, payload),
        (true, _) => {
            let after = skip_extensions(protocol, payload);
            match after.fragment {
                None => (after.protocol, after.payload),
                Some(_) => (protocol::FRAGMENT, after.payload),
            }
        }
    }
}

/// Where the extension headers of a packet end.
struct AfterExtensions<'a> {
    /// Protocol of `payload`.
    protocol: u8,
    /// What follows the last extension header we could read.
    payload: Layer<'a>,
    /// Set when a fragment header ended the walk: what follows it is a piece, not a header.
    fragment: Option<Piece>,
    /// Bytes of extension headers before that fragment header.
    before_fragment: u32,
}

/// Steps over IPv6 extension headers (RFC 8200 §4); stops before one that was cut or is none.
#[inline]
fn skip_extensions(next_header: u8, payload: Layer<'_>) -> AfterExtensions<'_> {
    let mut after = AfterExtensions { protocol: next_header, payload, fragment: None, before_fragment: 0 };
    // each round takes at least 8 bytes off, so the packet's length bounds the walk
    loop {
        let here = after.payload;
        let (protocol, len) = match after.protocol {
            protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::DESTINATION_OPTIONS
            | protocol::MOBILITY
            | protocol::HIP
            | protocol::SHIM6 => match Ipv6RawExtHeaderSlice::from_slice(here.bytes) {
                Ok(header) => (header.next_header().0, header.slice().len()),
                Err(_) => return after,
            },
            protocol::AUTHENTICATION => match IpAuthHeaderSlice::from_slice(here.bytes) {
                Ok(header) => (header.next_header().0, header.slice().len()),
                Err(_) => return after,
            },
            protocol::FRAGMENT => match Ipv6FragmentHeaderSlice::from_slice(here.bytes) {
                Ok(header) => {
                    after.fragment = header.is_fragmenting_payload().then(|| Piece {
                        id: header.identification(),
                        offset: u32::from(header.fragment_offset().value()) * 8,
                        more: header.more_fragments(),
                    });
                    (header.next_header().0, header.slice().len())
                }
                Err(_) => return after,
            },
            _ => return after,
        };
        let Ok(rest) = here.skip(len) else {
            return after;
        };
        after.protocol = protocol;
        after.payload = rest;
        if after.fragment.is_some() {
            return after;
        }
        after.before_fragment = payload.wire_len.saturating_sub(rest.wire_len);
    }
}

/// Steps over an IPv4 authentication header (RFC 4302), the only extension header IPv4 has.
fn skip_authentication(payload: Layer<'_>) -> (u8, Layer<'_>) {
    let unread = (protocol::AUTHENTICATION, payload);
    let Ok(header) = IpAuthHeaderSlice::from_slice(payload.bytes) else {
        return unread;
    };
    match payload.skip(header.slice().len()) {
        Ok(rest) => (header.next_header().0, rest),
        Err(_) => unread,
    }
}
