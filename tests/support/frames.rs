//! Hand-made captures: packets with true lengths and checksums, and the pcapng file around them.
#![allow(dead_code, reason = "each test uses its part")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub const SYN: u8 = 0x02;
pub const ACK: u8 = 0x10;
pub const RST: u8 = 0x04;

/// IPv4 identification and flags-and-offset field of a packet that is no fragment: DF set.
const WHOLE: (u16, u16) = (0, 0x4000);

/// A TCP segment in its IP packet.
pub fn tcp(from: &str, to: &str, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let (from, to) = (end(from), end(to));
    let segment = tcp_segment(from, to, seq, ack, flags, payload);
    ip(from.ip(), to.ip(), 6, &segment)
}

/// A UDP datagram in its IP packet.
pub fn udp(from: &str, to: &str, payload: &[u8]) -> Vec<u8> {
    let (from, to) = (end(from), end(to));
    ip(from.ip(), to.ip(), 17, &udp_datagram(from, to, payload))
}

/// The same datagram in pieces of at most `size` bytes (a multiple of 8), in order.
pub fn udp_pieces(from: &str, to: &str, payload: &[u8], id: u16, size: usize) -> Vec<Vec<u8>> {
    let (from, to) = (end(from), end(to));
    pieces(from.ip(), to.ip(), 17, &udp_datagram(from, to, payload), id, size)
}

/// A TCP segment in pieces.
pub fn tcp_pieces(from: &str, to: &str, seq: u32, payload: &[u8], id: u16, size: usize) -> Vec<Vec<u8>> {
    let (from, to) = (end(from), end(to));
    pieces(from.ip(), to.ip(), 6, &tcp_segment(from, to, seq, 1, ACK, payload), id, size)
}

/// An ICMP error: for IPv6 Packet Too Big for type 2, for IPv4 Fragmentation Needed for 3/4.
pub fn icmp(from: &str, to: &str, kind: (u8, u8), mtu: u16, quote: &[u8]) -> Vec<u8> {
    let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let mtu = mtu.to_be_bytes();
    let mut message = [&[kind.0, kind.1, 0, 0, 0, 0, mtu[0], mtu[1]], quote].concat();
    let protocol = if from.is_ipv4() { 1 } else { 58 };
    let sum = match from {
        IpAddr::V4(_) => checksum(&[&message]),
        IpAddr::V6(_) => checksum(&[&pseudo_header(from, to, protocol, message.len()), &message]),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ip(from, to, protocol, &message)
}

/// A packet inside GRE (RFC 2784) between two IPv4 hosts.
pub fn gre(from: &str, to: &str, inner: &[u8]) -> Vec<u8> {
    let header = [&[0, 0], &ether_type(inner)[..]].concat();
    ip(from.parse().unwrap(), to.parse().unwrap(), 47, &[&header, inner].concat())
}

/// A packet inside VXLAN (RFC 7348).
pub fn vxlan(from: &str, to: &str, inner: &[u8]) -> Vec<u8> {
    udp(from, to, &[&[8, 0, 0, 0, 0, 0, 5, 0], &ethernet(inner)[..]].concat())
}

/// A packet inside Geneve (RFC 8926), with an option of 4 bytes of data.
pub fn geneve(from: &str, to: &str, inner: &[u8]) -> Vec<u8> {
    let header = [2, 0, 0x65, 0x58, 0, 0, 5, 0, 0xff, 0xff, 1, 1, 0, 0, 0, 0];
    udp(from, to, &[&header, &ethernet(inner)[..]].concat())
}

/// An IP packet of either version.
pub fn ip(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(from, to, protocol, WHOLE, payload),
        (IpAddr::V6(from), IpAddr::V6(to)) => ipv6(from, to, protocol, payload),
        _ => panic!("one version to a packet"),
    }
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, (id, flags_offset): (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut header = [
        &[0x45, 0],
        &(20 + payload.len() as u16).to_be_bytes()[..],
        &id.to_be_bytes(),
        &flags_offset.to_be_bytes(),
        &[64, protocol, 0, 0],
        &from.octets(),
        &to.octets(),
    ]
    .concat();
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&header, payload].concat()
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u16).to_be_bytes();
    [&[0x60, 0, 0, 0, len[0], len[1], next_header, 64], &from.octets()[..], &to.octets(), payload].concat()
}

fn pieces(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8], id: u16, size: usize) -> Vec<Vec<u8>> {
    let count = payload.chunks(size).count();
    let piece = |(index, piece): (usize, &[u8])| {
        let more = index + 1 < count;
        let eighths = (index * size / 8) as u16;
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                ipv4(from, to, protocol, (id, eighths | u16::from(more) << 13), piece)
            }
            _ => {
                let field = (eighths << 3 | u16::from(more)).to_be_bytes();
                let header = [&[protocol, 0, field[0], field[1], 0, 0], &id.to_be_bytes()[..]].concat();
                ip(from, to, 44, &[&header, piece].concat())
            }
        }
    };
    payload.chunks(size).enumerate().map(piece).collect()
}

fn tcp_segment(from: SocketAddr, to: SocketAddr, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = [
        &from.port().to_be_bytes()[..],
        &to.port().to_be_bytes(),
        &seq.to_be_bytes(),
        &ack.to_be_bytes(),
        &[0x50, flags, 0xff, 0xff, 0, 0, 0, 0],
        payload,
    ]
    .concat();
    let sum = checksum(&[&pseudo_header(from.ip(), to.ip(), 6, segment.len()), &segment]);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

fn udp_datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len() as u16).to_be_bytes();
    let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    let mut datagram = [&ports, &len[..], &[0, 0], payload].concat();
    let sum = match checksum(&[&pseudo_header(from.ip(), to.ip(), 17, datagram.len()), &datagram]) {
        0 => 0xffff, // 0 would mean "no checksum" (RFC 768)
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// What checksums cover beside the payload (RFC 9293 §3.1, RFC 8200 §8.1).
pub fn pseudo_header(from: IpAddr, to: IpAddr, protocol: u8, len: usize) -> Vec<u8> {
    let rest = [&(len as u32).to_be_bytes()[..], &[0, 0, 0, protocol]].concat();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [&from.octets()[..], &to.octets(), &rest].concat(),
        (IpAddr::V6(from), IpAddr::V6(to)) => [&from.octets()[..], &to.octets(), &rest].concat(),
        _ => panic!("one version to a packet"),
    }
}

/// RFC 1071. All parts but the last have an even length.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = words.map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

fn ether_type(packet: &[u8]) -> [u8; 2] {
    if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] }
}

fn ethernet(packet: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1], &ether_type(packet)[..], packet].concat()
}

fn end(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A pcapng file with two Ethernet interfaces, one frame a millisecond.
#[derive(Default)]
pub struct Capture {
    blocks: Vec<u8>,
    frames: u64,
}

impl Capture {
    /// Adds a frame at the first interface.
    pub fn push(&mut self, packet: &[u8]) {
        self.add(0, packet, usize::MAX);
    }

    /// Adds a frame at that interface.
    pub fn push_at(&mut self, interface: u32, packet: &[u8]) {
        self.add(interface, packet, usize::MAX);
    }

    /// Adds a frame at that interface, so many microseconds after the capture began.
    pub fn push_when(&mut self, interface: u32, micros: u64, packet: &[u8]) {
        self.write(interface, micros, packet, usize::MAX);
    }

    /// Adds a frame cut after so many bytes of its IP packet.
    pub fn push_cut(&mut self, packet: &[u8], keep: usize) {
        self.add(0, packet, 14 + keep);
    }

    fn add(&mut self, interface: u32, packet: &[u8], keep: usize) {
        self.write(interface, self.frames * 1000, packet, keep);
    }

    fn write(&mut self, interface: u32, micros: u64, packet: &[u8], keep: usize) {
        let frame = ethernet(packet);
        let kept = &frame[..keep.min(frame.len())];
        let micros = 1_700_000_000_000_000 + micros;
        self.frames += 1;
        let fields = [interface, (micros >> 32) as u32, micros as u32, kept.len() as u32, frame.len() as u32]
            .map(u32::to_le_bytes);
        self.blocks.extend(block(6, &[&fields.concat(), kept].concat()));
    }

    /// Frames added.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let section = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
        let interface = block(1, &[1, 0, 0, 0, 0, 0, 0, 0]);
        [&block(0x0a0d_0d0a, &section), &interface[..], &interface, &self.blocks].concat()
    }
}

/// A pcapng block, little endian.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
    let len = ((12 + body.len() + padding.len()) as u32).to_le_bytes();
    [&kind.to_le_bytes()[..], &len, body, &padding, &len].concat()
}
