//! Tunnels that carry IP: GRE, IP-in-IP, VXLAN, and mirrored frames in ERSPAN. Finds the inner packet, does not read it.

use super::Undecoded;
use super::ip::protocol;
use super::layer::Layer;
use super::link::{self, Network};

/// UDP destination port of VXLAN (RFC 7348 §5).
pub(super) const VXLAN_PORT: u16 = 4789;

/// The packet inside a tunnel known by its IP protocol number; `None` when that protocol is no tunnel.
#[inline]
pub(super) fn by_protocol(number: u8, payload: Layer<'_>) -> Option<Result<Network<'_>, Undecoded>> {
    match number {
        // IP in IP (RFC 2003), IPv6 in IP (RFC 4213)
        protocol::IPV4 | protocol::IPV6 => Some(Ok(Network { layer: payload, vlan: None })),
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
    const TRANSPARENT_ETHERNET: u16 = 0x6558;
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

/// VXLAN (RFC 7348 §5): flags with the I bit, network identifier, then an Ethernet frame.
pub(super) fn vxlan(payload: Layer<'_>) -> Result<Network<'_>, Undecoded> {
    const VALID_IDENTIFIER: u8 = 0x08;
    let (&[flags, ..], rest) = payload.take::<8>()?;
    if flags & VALID_IDENTIFIER == 0 {
        return Err(Undecoded::NotIp);
    }
    link::ethernet(rest)
}
