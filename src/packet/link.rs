//! Link layers: from a frame's first byte to its IP header, over VLAN tags, security group tags, MPLS labels and PPPoE.

use super::Undecoded;
use super::layer::Layer;
use crate::capture::LinkType;

/// VLAN tags we step over; two are usual (802.1ad).
const MAX_TAGS: usize = 4;
/// Cisco MetaData: the security group tag of TrustSec between the addresses and what a frame carries.
const CISCO_METADATA: u16 = 0x8909;
/// Below it the field is a length (IEEE 802.3 §3.2.6): LLC, as STP and CDP are.
const FIRST_ETHER_TYPE: u16 = 0x0600;
/// What stations and switches say to each other: ARP, RARP, wake-on-LAN, loop detection (two), EAPOL, slow protocols, PPPoE discovery,
/// LLDP, PTP, CFM.
const CHATTER: [u16; 11] = [0x0806, 0x8035, 0x0842, 0x8899, 0x9000, 0x888e, 0x8809, 0x8863, 0x88cc, 0x88f7, 0x8902];
/// MPLS labels we step over.
const MAX_LABELS: usize = 16;

/// An IP packet, as found in a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network<'a> {
    /// From the first byte of the IP header to the end of the frame.
    pub layer: Layer<'a>,
    /// Outermost VLAN id.
    pub vlan: Option<u16>,
    /// It came in at an adapter without a link layer of its own, as a tunnel's is.
    pub from_adapter: bool,
}

/// Takes the link layer off a frame.
#[inline]
pub(super) fn peel(link: LinkType, frame: Layer<'_>) -> Result<Network<'_>, Undecoded> {
    match link {
        LinkType::ETHERNET => ethernet(frame),
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD | LinkType::IPV4 | LinkType::IPV6 => {
            Ok(untagged(frame))
        }
        LinkType::NULL | LinkType::LOOP => loopback(frame),
        LinkType::LINUX_SLL => {
            let (&[_, kind, hardware_high, hardware_low, .., high, low], rest) = frame.take::<16>()?;
            let from_adapter = comes_from_adapter(u16::from_be_bytes([hardware_high, hardware_low]), kind);
            let network = ether_type(u16::from_be_bytes([high, low]), rest)?;
            Ok(Network { from_adapter, ..network })
        }
        LinkType::LINUX_SLL2 => {
            let (&[high, low, _, _, _, _, _, _, hardware_high, hardware_low, kind, ..], rest) = frame.take::<20>()?;
            let from_adapter = comes_from_adapter(u16::from_be_bytes([hardware_high, hardware_low]), kind);
            let network = ether_type(u16::from_be_bytes([high, low]), rest)?;
            Ok(Network { from_adapter, ..network })
        }
        LinkType(other) => Err(Undecoded::LinkType(other)),
    }
}

/// Did a packet of that kind come in at an adapter of that hardware type (`ARPHRD_NONE`), as a Linux tun has?
fn comes_from_adapter(hardware: u16, kind: u8) -> bool {
    const NO_LINK_LAYER: u16 = 0xfffe;
    const TO_US: u8 = 0;
    hardware == NO_LINK_LAYER && kind == TO_US
}

/// Takes an Ethernet II header off.
#[inline]
pub(super) fn ethernet(frame: Layer<'_>) -> Result<Network<'_>, Undecoded> {
    let (&[.., high, low], rest) = frame.take::<14>()?;
    ether_type(u16::from_be_bytes([high, low]), rest)
}

/// Goes on by EtherType, over VLAN and security group tags, to the IP header.
#[inline]
pub(super) fn ether_type(mut ether_type: u16, mut rest: Layer<'_>) -> Result<Network<'_>, Undecoded> {
    let mut vlan = None;
    for _ in 0..=MAX_TAGS {
        let layer = match ether_type {
            0x0800 | 0x86dd => rest,
            0x8100 | 0x88a8 | 0x9100 => {
                let (&[tci_high, tci_low, type_high, type_low], inner) = rest.take()?;
                vlan = vlan.or(Some(u16::from_be_bytes([tci_high, tci_low]) & 0x0fff));
                ether_type = u16::from_be_bytes([type_high, type_low]);
                rest = inner;
                continue;
            }
            CISCO_METADATA => {
                // version 1, one option: a security group tag, as Wireshark reads it
                let (&[1, 1, 0, 1, _, _, type_high, type_low], inner) = rest.take()? else {
                    return Err(Undecoded::EtherType(CISCO_METADATA));
                };
                ether_type = u16::from_be_bytes([type_high, type_low]);
                rest = inner;
                continue;
            }
            0x8847 | 0x8848 => mpls(ether_type, rest)?,
            0x8864 => pppoe_session(rest)?,
            0..FIRST_ETHER_TYPE => return Err(Undecoded::NotIp),
            chatter if CHATTER.contains(&chatter) => return Err(Undecoded::NotIp),
            other => return Err(Undecoded::EtherType(other)),
        };
        return Ok(Network { layer, vlan, from_adapter: false });
    }
    Err(Undecoded::TooDeep)
}

/// The MPLS label stack (RFC 3032 §2.1). It does not say what it carries, so the first nibble must.
fn mpls(ether_type: u16, mut rest: Layer<'_>) -> Result<Layer<'_>, Undecoded> {
    for _ in 0..MAX_LABELS {
        let (&[_, _, bottom, _], inner) = rest.take()?;
        rest = inner;
        if bottom & 1 == 0 {
            continue;
        }
        return match rest.bytes.first().ok_or(Undecoded::Cut)? >> 4 {
            4 | 6 => Ok(rest),
            _ => Err(Undecoded::EtherType(ether_type)),
        };
    }
    Err(Undecoded::TooDeep)
}

/// PPPoE session stage (RFC 2516 §4) and the PPP protocol field (RFC 1661 §2), never compressed there.
fn pppoe_session(rest: Layer<'_>) -> Result<Layer<'_>, Undecoded> {
    let (&[_, code, _, _, _, _, high, low], rest) = rest.take()?;
    match (code, u16::from_be_bytes([high, low])) {
        (0, 0x0021 | 0x0057) => Ok(rest),
        _ => Err(Undecoded::NotIp),
    }
}

/// BSD loopback: the address family in the byte order of the capturing host (NULL) or of the network (LOOP).
/// A family is below 256, so whichever order reads as one is the right one.
fn loopback(frame: Layer<'_>) -> Result<Network<'_>, Undecoded> {
    let (family, rest) = frame.take()?;
    match *family {
        // AF_INET; AF_INET6 on NetBSD/OpenBSD, FreeBSD, macOS, Linux
        [0, 0, 0, 2 | 24 | 28 | 30 | 10] | [2 | 24 | 28 | 30 | 10, 0, 0, 0] => Ok(untagged(rest)),
        _ => Err(Undecoded::NotIp),
    }
}

fn untagged(layer: Layer<'_>) -> Network<'_> {
    Network { layer, vlan: None, from_adapter: false }
}
