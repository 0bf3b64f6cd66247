//! Frame to packets: link layer, tunnels, IP, fragments, transport. Lax: keeps what parsed and says why it stopped.

use std::net::IpAddr;

mod decode;
mod fragment;
pub mod icmp;
mod ip;
mod layer;
mod link;
mod plain;
#[cfg(test)]
mod sample;
mod transport;
mod tunnel;

pub use decode::Decoder;
pub use fragment::{FragmentLosses, Incomplete, Limits};

/// One decoded IP packet with its transport header, borrowed from the frame (or from the fragment store).
#[derive(Debug)]
pub struct Packet<'a> {
    /// The IP header.
    pub ip: IpHeader,
    /// What it carries.
    pub transport: Transport<'a>,
    /// How many IP headers lie outside this one (0 = the outermost; GRE, IP-in-IP, VXLAN and Geneve add one).
    pub depth: u8,
    /// Outermost VLAN id, when tagged (802.1Q, 802.1ad).
    pub vlan: Option<u16>,
    /// It came into the capturing host at an adapter without a link layer of its own, as a tunnel's is: captures of all
    /// interfaces on Linux tell.
    pub from_adapter: bool,
    /// How many IP fragments this packet was put together from; 0 = it was not fragmented, 1 = it is a first
    /// fragment cut by the snap length, all that will come of its datagram.
    pub fragments: u16,
}

/// The facts of an IPv4 or IPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpHeader {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// TTL or hop limit as captured.
    pub ttl: u8,
    /// IPv4 identification; 0 for IPv6.
    pub id: u16,
    /// IPv4 DF bit; always true for IPv6, which routers never fragment (RFC 8200 §5).
    pub dont_fragment: bool,
    /// Bytes on the wire, IP header included (IPv4 total length; IPv6 payload length + 40).
    /// For a reassembled packet: of the whole datagram. An offloaded frame with IP length 0 gets the frame's length.
    pub total_len: u32,
}

/// The layer above IP.
#[derive(Debug)]
#[non_exhaustive]
pub enum Transport<'a> {
    /// TCP (RFC 9293).
    Tcp(TcpSegment<'a>),
    /// UDP (RFC 768).
    Udp(UdpDatagram<'a>),
    /// An ICMP or ICMPv6 error quoting another packet.
    IcmpError(icmp::IcmpError),
    /// A fragment of a datagram that is not complete yet: offset and length of its payload in bytes, and whether more follow.
    Fragment {
        /// Offset of this piece in the datagram's payload, bytes.
        offset: u32,
        /// Bytes of payload in this piece.
        len: u32,
        /// The More Fragments bit.
        more: bool,
        /// Protocol number of the datagram.
        protocol: u8,
    },
    /// Another protocol (its number), or one whose header was cut off.
    Other(u8),
}

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct TcpSegment<'a> {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number (meaningful with ACK).
    pub ack: u32,
    /// Flags byte: FIN 0x01, SYN 0x02, RST 0x04, PSH 0x08, ACK 0x10.
    pub flags: u8,
    /// MSS option in bytes (RFC 9293 §3.7.1); read on segments with SYN only, the only place it is allowed.
    pub mss: Option<u16>,
    /// Window field, not scaled: 0 means closed whatever the scale (RFC 9293 §3.8.6).
    pub window: u16,
    /// The timestamps option is present (RFC 7323 §3.2); read on segments with SYN only, where it is negotiated.
    pub timestamps: bool,
    /// Where the first block of the SACK option begins (RFC 2018 §3); read on segments without payload only.
    pub sacked: Option<u32>,
    /// TSval, the sender's clock (RFC 7323 §3.2); read on segments with payload only.
    pub tsval: Option<u32>,
    /// Captured payload, possibly cut by the snap length.
    pub payload: &'a [u8],
    /// Payload bytes on the wire; 0 when the data offset cannot be.
    pub payload_len: u32,
}

impl TcpSegment<'_> {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// ACK.
    pub const ACK: u8 = 0x10;

    /// Is this flag set?
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A UDP datagram.
#[derive(Clone, Copy, Debug)]
pub struct UdpDatagram<'a> {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Captured payload, possibly cut by the snap length.
    pub payload: &'a [u8],
    /// Payload bytes on the wire.
    pub payload_len: u32,
}

/// Why a frame yielded no transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Undecoded {
    /// Not IP (ARP, LLDP, …): not a loss, only a fact.
    NotIp,
    /// Of that EtherType, which may carry IP in a way nobody here understands.
    EtherType(u16),
    /// A link type we do not know.
    LinkType(u16),
    /// The captured bytes end inside a header (snap length).
    Cut,
    /// A header contradicts itself.
    Malformed,
    /// Tunnels nested deeper than the cap.
    TooDeep,
}
