//! Tunnels that carry IP: GRE, IP-in-IP, VXLAN, Geneve, and mirrored frames in ERSPAN. Finds the inner packet, does not read it.

use super::Undecoded;
use super::ip::protocol;
use super::layer::Layer;
use super::link::{self, Network};

/// A protocol that says of an Ethernet frame that one follows: an EtherType (RFC 1701).
const TRANSPARENT_ETHERNET: u16 = 0x6558;

/// The packet inside a tunnel known by its IP protocol number; `None` when that protocol is no tunnel.
#[inline]
pub(super) fn by_protocol(number: u8, payload: Layer<'_>) -> Option<Result<Network<'_>, Undecoded>> {
    match number {
        // IP in IP (RFC 2003), IPv6 in IP (RFC 4213)
        protocol::IPV4 | protocol::IPV6 => Some(Ok(Network { layer: payload, vlan: None, from_adapter: false })),
        protocol::GRE => Some(gre(payload)),
        _ => None,
    }
}

/// GRE (RFC 2784) with the key and sequence number fields of RFC 2890.
fn gre(layer: Layer<'_>) -> Result<Network<'_>, Undecoded> {
    const CHECKSUM: u8 = 0x80;
    const ROUTING: u8 = 0x40;
    const KEY: u8 = 0x20;
    const SEQUENCE: u8 = 0x10;
    const VERSION: u8 = 0x07;
    const ERSPAN: u16 = 0x88be;
    const ERSPAN_3: u16 = 0x22eb;

    let (&[flags, version, high, low], rest) = layer.take()?;
    // version 1 is PPTP, which carries compressible PPP; source routes left the standard in 2000
    if version & VERSION != 0 || flags & ROUTING != 0 {
        return Err(Undecoded::NotIp);
    }
    let fields = [CHECKSUM, KEY, SEQUENCE];
    let present = fields.iter().filter(|field| flags & **field != 0).count();
    let rest = rest.skip(present * 4)?;
    match u16::from_be_bytes([high, low]) {
        TRANSPARENT_ETHERNET => link::ethernet(rest),
        // type I has no header of its own, and GRE in front of it no sequence number
        ERSPAN if flags & SEQUENCE == 0 => link::ethernet(rest),
        ERSPAN => link::ethernet(rest.skip(8)?),
        ERSPAN_3 => erspan_3(rest),
        ether_type => link::ether_type(ether_type, rest),
    }
}

/// ERSPAN type III (draft-foschiano-erspan-03 §4.3): 12 bytes, 8 more when the last bit says so, then the mirrored frame.
fn erspan_3(layer: Layer<'_>) -> Result<Network<'_>, Undecoded> {
    const SUB_HEADER: u8 = 0x01;
    let (&[.., kind, flags], rest) = layer.take::<12>()?;
    let rest = if flags & SUB_HEADER != 0 { rest.skip(8)? } else { rest };
    match kind >> 2 & 0x1f {
        0 => link::ethernet(rest),
        _ => Err(Undecoded::NotIp),
    }
}

/// How the packet inside a tunnel to that UDP port is found; `None` when no tunnel ends there.
#[inline]
pub(super) fn by_port(port: u16) -> Option<fn(Layer<'_>) -> Result<Network<'_>, Undecoded>> {
    match port {
        4789 => Some(vxlan),
        6081 => Some(geneve),
        _ => None,
    }
}

/// VXLAN (RFC 7348 §5): flags with the I bit, network identifier, then an Ethernet frame.
fn vxlan(payload: Layer<'_>) -> Result<Network<'_>, Undecoded> {
    const VALID_IDENTIFIER: u8 = 0x08;
    let (&[flags, ..], rest) = payload.take::<8>()?;
    if flags & VALID_IDENTIFIER == 0 {
        return Err(Undecoded::NotIp);
    }
    link::ethernet(rest)
}

/// Geneve (RFC 8926 §3.4): version 0, length of the options in 4 bytes, protocol, network identifier, options.
fn geneve(payload: Layer<'_>) -> Result<Network<'_>, Undecoded> {
    const RESERVED: u8 = 0x3f;
    let (&[length, flags, high, low, _, _, _, reserved], rest) = payload.take()?;
    if length >> 6 != 0 || flags & RESERVED != 0 || reserved != 0 {
        return Err(Undecoded::NotIp);
    }
    let rest = rest.skip(usize::from(length) * 4)?;
    match u16::from_be_bytes([high, low]) {
        TRANSPARENT_ETHERNET => link::ethernet(rest),
        ether_type => link::ether_type(ether_type, rest),
    }
}
