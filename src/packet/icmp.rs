//! ICMP errors: Fragmentation Needed, Packet Too Big, unreachables, and the packet they quote.

use std::net::IpAddr;

use super::ip::{self, protocol};
use super::layer::Layer;
use super::transport;

/// An ICMP or ICMPv6 error message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IcmpError {
    /// ICMPv6 rather than ICMP.
    pub v6: bool,
    /// ICMP type as on the wire.
    pub icmp_type: u8,
    /// ICMP code as on the wire.
    pub code: u8,
    /// Next-hop MTU in bytes for Fragmentation Needed (RFC 1191 §4) and Packet Too Big (RFC 4443 §3.2); 0 is possible for v4.
    pub next_hop_mtu: Option<u32>,
    /// What the message quotes, when enough of it was there.
    pub quoted: Option<Quoted>,
}

impl IcmpError {
    /// ICMP 3/4 or ICMPv6 2.
    pub fn is_frag_needed(&self) -> bool {
        self.next_hop_mtu.is_some()
    }
}

/// The packet an ICMP error quotes. Ports need only the first 4 transport bytes (RFC 792 guarantees 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quoted {
    /// Source address of the quoted packet.
    pub src: IpAddr,
    /// Destination address of the quoted packet.
    pub dst: IpAddr,
    /// Its IP protocol number.
    pub protocol: u8,
    /// Source and destination port, for TCP and UDP.
    pub ports: Option<(u16, u16)>,
    /// TCP sequence number, for TCP.
    pub tcp_seq: Option<u32>,
    /// TCP flags, for TCP.
    pub tcp_flags: Option<u8>,
    /// Wireshark reads the quoted transport header: as much of it is quoted as it needs of a captured one, and
    /// the packet is no fragment, unless an IPv4 packet's first one and not quoted whole.
    pub is_readable: bool,
    /// Its IP total length in bytes, header included.
    pub total_len: u32,
    /// Its DF bit; always true for IPv6.
    pub dont_fragment: bool,
    /// Its IPv4 identification.
    pub id: u16,
}

/// Reads an ICMP error; `None` for other ICMP messages and for one cut inside its 8-byte header.
pub(super) fn parse(v6: bool, message: Layer<'_>) -> Option<IcmpError> {
    let (&[icmp_type, code, _, _, b4, b5, b6, b7], rest) = message.take().ok()?;
    let is_error = match v6 {
        // unreachable, time exceeded, parameter problem (RFC 792); redirect and source quench report no loss
        false => matches!(icmp_type, 3 | 11 | 12),
        // unreachable, too big, time exceeded, parameter problem (RFC 4443 §3)
        true => matches!(icmp_type, 1..=4),
    };
    if !is_error {
        return None;
    }
    let next_hop_mtu = match (v6, icmp_type, code) {
        (false, 3, 4) => Some(u32::from(u16::from_be_bytes([b6, b7]))),
        (true, 2, _) => Some(u32::from_be_bytes([b4, b5, b6, b7])),
        _ => None,
    };
    // RFC 4884 §3: when set, the quote ends there and extensions follow it
    let quote_len = match (v6, icmp_type) {
        (false, _) => u32::from(b5) * 4,
        (true, 1 | 3) => u32::from(b4) * 8,
        (true, _) => 0,
    };
    let quote = match quote_len {
        0 => rest,
        len => rest.with_wire_len(len.min(rest.wire_len)),
    };
    Some(IcmpError { v6, icmp_type, code, next_hop_mtu, quoted: quoted(quote) })
}

/// Reads the quoted packet by hand where needed: RFC 792 asks for 8 transport bytes only, less than a TCP header.
fn quoted(quote: Layer<'_>) -> Option<Quoted> {
    let packet = ip::parse(quote).ok()?;
    let bytes = packet.payload.bytes;
    let is_first = packet.fragment.is_none_or(|piece| piece.offset == 0);
    let transport = if is_first { bytes } else { &[] };
    let has_ports = matches!(packet.protocol, protocol::TCP | protocol::UDP);
    let ports = transport.first_chunk().filter(|_| has_ports);
    let is_tcp = packet.protocol == protocol::TCP;
    let seq = transport.get(4..).and_then(<[u8]>::first_chunk).filter(|_| is_tcp);
    let has_header = match packet.protocol {
        protocol::TCP => transport::tcp(packet.payload).is_some(),
        protocol::UDP => transport::udp(packet.header.src.is_ipv6(), packet.payload).is_some(),
        _ => false,
    };
    Some(Quoted {
        src: packet.header.src,
        dst: packet.header.dst,
        protocol: packet.protocol,
        ports: ports.map(|&[s0, s1, d0, d1]| (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]))),
        tcp_seq: seq.map(|seq| u32::from_be_bytes(*seq)),
        tcp_flags: transport.get(13).copied().filter(|_| is_tcp),
        is_readable: has_header && (packet.fragment.is_none() || packet.is_cut_first_fragment()),
        total_len: packet.header.total_len,
        dont_fragment: packet.header.dont_fragment,
        id: packet.header.id,
    })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::super::sample::{ipv4, ipv4_piece, ipv6, join, tcp, udp};
    use super::*;

    /// An ICMP message with 4 bytes of its own and a quote.
    fn message(icmp_type: u8, code: u8, own: [u8; 4], quote: &[u8]) -> Vec<u8> {
        join(&[&[icmp_type, code, 0, 0], &own, quote])
    }

    fn parse_v4(bytes: &[u8]) -> Option<IcmpError> {
        parse(false, Layer::whole(bytes))
    }

    #[test]
    fn eight_quoted_bytes_give_ports_and_sequence() {
        let packet = ipv4(6, &tcp(0x10, &[], &[0; 1400]));
        let error = parse_v4(&message(3, 4, [0, 0, 5, 0x43], &packet[..28]));
        let quoted = Quoted {
            src: "10.0.0.1".parse().unwrap(),
            dst: "10.0.0.2".parse().unwrap(),
            protocol: 6,
            ports: Some((3333, 443)),
            tcp_seq: Some(100),
            tcp_flags: None,
            is_readable: false,
            total_len: 1440,
            dont_fragment: true,
            id: 7,
        };
        assert_eq!(
            error,
            Some(IcmpError { v6: false, icmp_type: 3, code: 4, next_hop_mtu: Some(1347), quoted: Some(quoted) })
        );
        // cut after the ports, inside the ports, inside the IP header
        let quoted_of = |keep: usize| parse_v4(&message(3, 4, [0; 4], &packet[..keep])).and_then(|error| error.quoted);
        let ports = |keep| quoted_of(keep).map(|quoted| (quoted.ports, quoted.tcp_seq));
        assert_eq!(ports(24), Some((Some((3333, 443)), None)));
        assert_eq!(ports(23), Some((None, None)));
        assert_eq!(ports(19), None);
    }

    #[test]
    fn a_later_fragment_has_no_ports() {
        let packet = ipv4_piece(17, 9, 5, &[0xff; 16]);
        let error = parse_v4(&message(11, 0, [0; 4], &packet));
        let quoted = error.and_then(|error| error.quoted).unwrap();
        assert_eq!((quoted.ports, quoted.is_readable, quoted.id), (None, false, 9));
        assert!(!quoted.dont_fragment);
    }

    // Measured on tshark 4.0.17: which quotes get a stream index.
    #[test]
    fn readable_is_what_wireshark_reads() {
        let readable = |packet: &[u8], keep: usize| {
            let error = parse_v4(&message(3, 4, [0; 4], &packet[..20 + keep]));
            error.and_then(|error| error.quoted).is_some_and(|quoted| quoted.is_readable)
        };
        let segment = ipv4(6, &tcp(0x02, &[], &[0; 99]));
        assert_eq!([8, 15, 16, 20].map(|keep| readable(&segment, keep)), [false, false, true, true]);
        let datagram = ipv4(17, &udp(&[0; 99]));
        assert_eq!([4, 7, 8, 20].map(|keep| readable(&datagram, keep)), [false, false, true, true]);
        for (total_len, tcp, udp) in [(0, true, true), (27, false, false), (28, false, true), (36, true, true)] {
            let with_len = |packet: &[u8]| join(&[&packet[..2], &[0, total_len], &packet[4..]]);
            assert_eq!((readable(&with_len(&segment), 20), readable(&with_len(&datagram), 20)), (tcp, udp));
        }
        for (flags_offset, cut, whole) in [(0x2000, true, false), (1, false, false), (0x4000, true, true)] {
            let packet = ipv4_piece(17, 9, flags_offset, &udp(&[0; 99]));
            assert_eq!((readable(&packet, 106), readable(&packet, 107)), (cut, whole), "{flags_offset:x}");
        }
        let flags = |keep: usize| {
            let error = parse_v4(&message(3, 4, [0; 4], &segment[..20 + keep]));
            error.and_then(|error| error.quoted).and_then(|quoted| quoted.tcp_flags)
        };
        assert_eq!([13, 14].map(flags), [None, Some(0x02)]);
    }

    #[test]
    fn packet_too_big_tells_a_32_bit_mtu() {
        let packet = ipv6(60, &join(&[&[17, 0, 1, 4, 0, 0, 0, 0], &udp(&[0; 1400])]));
        let bytes = message(2, 0, [0, 1, 0, 0], &packet[..60]);
        let error = parse(true, Layer::whole(&bytes)).unwrap();
        assert_eq!(error.next_hop_mtu, Some(65536));
        let quoted = error.quoted.unwrap();
        assert_eq!((quoted.protocol, quoted.ports), (17, Some((1111, 2222))));
        assert_eq!((quoted.is_readable, quoted.total_len), (true, 1456));
    }

    #[test]
    fn extensions_are_no_quote() {
        let packet = ipv4(17, &udp(&[0; 1400]));
        let readable = |words: u8| {
            let bytes = message(3, 1, [0, words, 0, 0], &join(&[&packet[..128], &[0x20, 0, 0, 0]]));
            parse_v4(&bytes).and_then(|error| error.quoted).map(|quoted| quoted.is_readable)
        };
        assert_eq!([5, 6, 7, 32].map(readable), [Some(false), Some(false), Some(true), Some(true)]);
    }

    #[test]
    fn other_messages_are_no_errors() {
        for icmp_type in [0, 4, 5, 8, 13, 128] {
            assert_eq!(parse_v4(&message(icmp_type, 0, [0; 4], &[])), None);
        }
        let echo = message(128, 0, [0; 4], &[]);
        assert_eq!(parse(true, Layer::whole(&echo)), None);
        assert_eq!(parse_v4(&[3, 4, 0, 0, 0, 0, 5]), None);
        let unreachable = parse_v4(&message(3, 3, [0; 4], &[])).unwrap();
        assert_eq!((unreachable.next_hop_mtu, unreachable.quoted), (None, None));
    }
}
