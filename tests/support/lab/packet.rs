//! Packets of the laboratory: what hosts exchange, and the bytes a capture shows of it.

use crate::frames::{checksum, pseudo_header};
use std::net::{IpAddr, SocketAddr};

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

/// An IP packet; `note` is what the receiver would read with keys.
#[derive(Clone, Debug)]
pub struct Packet {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub ttl: u8,
    pub df: bool,
    pub id: u16,
    pub body: Body,
}

/// What is in it.
#[derive(Clone, Debug)]
pub enum Body {
    Tcp(Segment),
    Udp(Datagram),
    Icmp(Error),
}

#[derive(Clone, Debug, Default)]
pub struct Segment {
    pub ports: (u16, u16),
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub mss: Option<u16>,
    /// A block received behind a gap: its two edges (RFC 2018 §3).
    pub sack: Option<(u32, u32)>,
    pub payload: Vec<u8>,
}

impl Segment {
    /// The RST that answers a SYN nobody wants (RFC 9293 §3.5.2).
    pub fn refusal(&self) -> Segment {
        Segment { ack: self.seq.wrapping_add(1), flags: RST | ACK, ..Segment::default() }
    }
}

#[derive(Clone, Debug)]
pub struct Datagram {
    pub ports: (u16, u16),
    pub payload: Vec<u8>,
    pub note: Vec<super::Message>,
}

/// An ICMP error about a packet.
#[derive(Clone, Debug)]
pub struct Error {
    pub kind: (u8, u8),
    pub mtu: u32,
    pub about: Box<Packet>,
}

impl Packet {
    pub fn tcp(from: SocketAddr, to: SocketAddr, segment: Segment) -> Packet {
        Packet::new(from.ip(), to.ip(), Body::Tcp(Segment { ports: (from.port(), to.port()), ..segment }))
    }

    pub fn udp(from: SocketAddr, to: SocketAddr, payload: Vec<u8>, note: Vec<super::Message>) -> Packet {
        Packet::new(from.ip(), to.ip(), Body::Udp(Datagram { ports: (from.port(), to.port()), payload, note }))
    }

    /// Fragmentation Needed or Packet Too Big about `about`.
    pub fn too_big(from: IpAddr, mtu: u32, about: &Packet) -> Packet {
        let kind = if about.src.is_ipv4() { (3, 4) } else { (2, 0) };
        Packet::error(from, kind, mtu, about)
    }

    pub fn error(from: IpAddr, kind: (u8, u8), mtu: u32, about: &Packet) -> Packet {
        Packet::new(from, about.src, Body::Icmp(Error { kind, mtu, about: Box::new(about.clone()) }))
    }

    fn new(src: IpAddr, dst: IpAddr, body: Body) -> Packet {
        Packet { src, dst, ttl: 64, df: true, id: 0, body }
    }

    /// Source and destination with ports, where there are any.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let (src, dst) = match &self.body {
            Body::Tcp(segment) => segment.ports,
            Body::Udp(datagram) => datagram.ports,
            Body::Icmp(_) => return None,
        };
        Some((SocketAddr::new(self.src, src), SocketAddr::new(self.dst, dst)))
    }

    pub fn set_src(&mut self, to: SocketAddr) {
        self.src = to.ip();
        match &mut self.body {
            Body::Tcp(segment) => segment.ports.0 = to.port(),
            Body::Udp(datagram) => datagram.ports.0 = to.port(),
            Body::Icmp(_) => {}
        }
    }

    pub fn set_dst(&mut self, to: SocketAddr) {
        self.dst = to.ip();
        match &mut self.body {
            Body::Tcp(segment) => segment.ports.1 = to.port(),
            Body::Udp(datagram) => datagram.ports.1 = to.port(),
            Body::Icmp(_) => {}
        }
    }

    fn protocol(&self) -> u8 {
        match (&self.body, self.src.is_ipv4()) {
            (Body::Tcp(_), _) => 6,
            (Body::Udp(_), _) => 17,
            (Body::Icmp(_), true) => 1,
            (Body::Icmp(_), false) => 58,
        }
    }

    fn header_len(&self) -> usize {
        if self.src.is_ipv4() { 20 } else { 40 }
    }

    /// Bytes, IP header included.
    pub fn len(&self) -> u32 {
        (self.header_len() + self.payload().len()) as u32
    }

    /// The bytes behind the IP header.
    fn payload(&self) -> Vec<u8> {
        let mut bytes = match &self.body {
            Body::Tcp(segment) => segment.bytes(),
            Body::Udp(datagram) => datagram.bytes(),
            Body::Icmp(error) => error.bytes(),
        };
        let at = match self.body {
            Body::Tcp(_) => 16,
            Body::Udp(_) => 6,
            Body::Icmp(_) => 2,
        };
        let plain_icmp = self.protocol() == 1;
        let sum = match plain_icmp {
            true => checksum(&[&bytes]),
            false => checksum(&[&pseudo_header(self.src, self.dst, self.protocol(), bytes.len()), &bytes]),
        };
        let sum = if sum == 0 && matches!(self.body, Body::Udp(_)) { 0xffff } else { sum };
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The whole packet.
    pub fn bytes(&self) -> Vec<u8> {
        let payload = self.payload();
        self.piece(&payload, 0, false)
    }

    /// The packet in pieces that fit a link, as a router that may fragment makes them.
    pub fn pieces(&self, mtu: u32) -> Vec<Vec<u8>> {
        let payload = self.payload();
        if self.len() <= mtu {
            return vec![self.piece(&payload, 0, false)];
        }
        let size = (mtu as usize - self.header_len()) / 8 * 8;
        let count = payload.chunks(size).count();
        let chunks = payload.chunks(size).enumerate();
        chunks.map(|(i, chunk)| self.piece(chunk, i * size, i + 1 < count)).collect()
    }

    fn piece(&self, payload: &[u8], offset: usize, more: bool) -> Vec<u8> {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let whole = offset == 0 && !more;
                let flags = u16::from(self.df && whole) << 14 | u16::from(more) << 13 | (offset / 8) as u16;
                let mut header = vec![0x45, 0];
                header.extend((20 + payload.len() as u16).to_be_bytes());
                header.extend(self.id.to_be_bytes());
                header.extend(flags.to_be_bytes());
                header.extend([self.ttl, self.protocol(), 0, 0]);
                header.extend(src.octets());
                header.extend(dst.octets());
                let sum = checksum(&[&header]);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                [&header, payload].concat()
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let len = (payload.len() as u16).to_be_bytes();
                let fixed = [0x60, 0, 0, 0, len[0], len[1], self.protocol(), self.ttl];
                [&fixed, &src.octets()[..], &dst.octets(), payload].concat()
            }
            _ => panic!("one version to a packet"),
        }
    }
}

impl Segment {
    fn bytes(&self) -> Vec<u8> {
        let options = match (self.mss, self.sack) {
            // With "SACK permitted".
            (Some(mss), _) => [&[2, 4], &mss.to_be_bytes()[..], &[1, 1, 4, 2]].concat(),
            (None, Some((from, to))) => [&[1, 1, 5, 10], &from.to_be_bytes()[..], &to.to_be_bytes()].concat(),
            (None, None) => Vec::new(),
        };
        let mut bytes = [self.ports.0.to_be_bytes(), self.ports.1.to_be_bytes()].concat();
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        bytes.extend([((20 + options.len()) / 4 * 16) as u8, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(options);
        bytes.extend(&self.payload);
        bytes
    }
}

impl Datagram {
    fn bytes(&self) -> Vec<u8> {
        let len = (8 + self.payload.len() as u16).to_be_bytes();
        let ports = [self.ports.0.to_be_bytes(), self.ports.1.to_be_bytes()].concat();
        [&ports, &len[..], &[0, 0], &self.payload].concat()
    }
}

impl Error {
    /// As much of the packet as fits 576 bytes (RFC 1812 §4.3.2.3), 1280 for IPv6 (RFC 4443 §3.2).
    fn bytes(&self) -> Vec<u8> {
        let v4 = self.about.src.is_ipv4();
        let mut quote = self.about.bytes();
        quote.truncate(if v4 { 576 - 28 } else { 1280 - 48 });
        let mut bytes = vec![self.kind.0, self.kind.1, 0, 0];
        bytes.extend(self.mtu.to_be_bytes());
        bytes.extend(quote);
        bytes
    }
}
