//! Unordered 5-tuples: on the way, and at rest in as few bytes as they take.

use super::Protocol;
use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The hash of a 5-tuple at a capture point.
#[inline]
pub(super) fn hash_of(hasher: &RandomState, tuple: &Tuple, point: u32) -> u64 {
    match tuple {
        Tuple::V4(packed) => hasher.hash_one((packed, point)),
        Tuple::V6(packed) => hasher.hash_one((packed, point)),
    }
}

/// An unordered 5-tuple: the end that compares lower (address, then port) comes first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tuple {
    /// Low end, high end (address 32 bits, port 16 bits each), protocol, from the lowest bit on.
    V4(u128),
    /// Low address, high address; the rest packed as `low port | high port << 16 | protocol << 32`.
    V6((u128, u128, u64)),
}

/// A [`Tuple`] at rest: 16 bytes, IPv6 in a box of its own.
#[derive(Debug)]
pub(super) enum Key {
    /// Addresses and ports, those of the low end first.
    V4(Protocol, [u32; 2], [u16; 2]),
    V6(Box<(u128, u128, u64)>),
}

impl Tuple {
    /// The 5-tuple, and whether its source is the low end. Equal ends count as from the low one.
    #[inline]
    pub(super) fn new(protocol: Protocol, src: IpAddr, src_port: u16, dst: IpAddr, dst_port: u16) -> (Tuple, bool) {
        let (IpAddr::V4(src), IpAddr::V4(dst)) = (src, dst) else {
            return Tuple::new_v6(protocol, src, src_port, dst, dst_port);
        };
        let src = u64::from(src.to_bits()) << 16 | u64::from(src_port);
        let dst = u64::from(dst.to_bits()) << 16 | u64::from(dst_port);
        (Tuple::pack(src.min(dst), src.max(dst), protocol), src <= dst)
    }

    #[inline]
    fn pack(low: u64, high: u64, protocol: Protocol) -> Tuple {
        Tuple::V4(u128::from(low) | u128::from(high) << 48 | (protocol as u128) << 96)
    }

    fn new_v6(protocol: Protocol, src: IpAddr, src_port: u16, dst: IpAddr, dst_port: u16) -> (Tuple, bool) {
        let wide = |address: IpAddr| match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(), // families never mix in one packet
            IpAddr::V6(address) => address.to_bits(),
        };
        let (src, dst) = ((wide(src), src_port), (wide(dst), dst_port));
        let (low, high) = (src.min(dst), src.max(dst));
        let rest = u64::from(low.1) | u64::from(high.1) << 16 | (protocol as u64) << 32;
        (Tuple::V6((low.0, high.0, rest)), src <= dst)
    }

    pub(super) fn protocol(&self) -> Protocol {
        let bit = match self {
            Tuple::V4(packed) => packed >> 96 == 0,
            Tuple::V6((_, _, rest)) => rest >> 32 == 0,
        };
        if bit { Protocol::Tcp } else { Protocol::Udp }
    }

    /// Low end, high end.
    pub(super) fn ends(&self) -> (SocketAddr, SocketAddr) {
        match *self {
            Tuple::V4(packed) => {
                let end = |bits: u128| SocketAddr::from((Ipv4Addr::from_bits((bits >> 16) as u32), bits as u16));
                (end(packed), end(packed >> 48))
            }
            Tuple::V6((low, high, rest)) => {
                let end = |address, port: u64| SocketAddr::from((Ipv6Addr::from_bits(address), port as u16));
                (end(low, rest), end(high, rest >> 16))
            }
        }
    }
}

impl Key {
    pub(super) fn new(tuple: &Tuple) -> Key {
        match tuple {
            Tuple::V4(packed) => Key::V4(
                tuple.protocol(),
                [(packed >> 16) as u32, (packed >> 64) as u32],
                [*packed as u16, (packed >> 48) as u16],
            ),
            Tuple::V6(packed) => Key::V6(Box::new(*packed)),
        }
    }

    #[inline]
    pub(super) fn tuple(&self) -> Tuple {
        match self {
            Key::V4(protocol, [low, high], [low_port, high_port]) => {
                let end = |address: u32, port: u16| u64::from(address) << 16 | u64::from(port);
                Tuple::pack(end(*low, *low_port), end(*high, *high_port), *protocol)
            }
            Key::V6(packed) => Tuple::V6(**packed),
        }
    }

    #[inline]
    pub(super) fn is(&self, tuple: &Tuple) -> bool {
        self.tuple() == *tuple
    }
}
