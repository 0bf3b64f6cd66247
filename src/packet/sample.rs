//! Hand-made packets for the tests of this room.

use super::{Decoder, Packet, Transport, Undecoded};
use crate::capture::{Frame, LinkType, Timestamp};

pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// IPv4 from 10.0.0.1 to 10.0.0.2, identification 7, DF set.
pub(super) fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_piece(protocol, 7, 0x4000, payload)
}

/// The same with an identification and a flags-and-offset field.
pub(super) fn ipv4_piece(protocol: u8, id: u16, flags_offset: u16, payload: &[u8]) -> Vec<u8> {
    let total_len = (20 + payload.len()) as u16;
    join(&[
        &[0x45, 0],
        &total_len.to_be_bytes(),
        &id.to_be_bytes(),
        &flags_offset.to_be_bytes(),
        &[64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2],
        payload,
    ])
}

/// IPv6 from 2001:db8::1 to 2001:db8::2.
pub(super) fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let prefix = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    join(&[
        &[0x60, 0, 0, 0],
        &(payload.len() as u16).to_be_bytes(),
        &[next_header, 64],
        &prefix,
        &[1],
        &prefix,
        &[2],
        payload,
    ])
}

pub(super) fn ipv6_fragment(next_header: u8, offset_more: u16, id: u32, data: &[u8]) -> Vec<u8> {
    let header = [&[next_header, 0], &offset_more.to_be_bytes()[..]].concat();
    ipv6(44, &join(&[&header, &id.to_be_bytes(), data]))
}

/// UDP from port 1111 to 2222.
pub(super) fn udp(payload: &[u8]) -> Vec<u8> {
    udp_to(2222, payload)
}

pub(super) fn udp_to(dst_port: u16, payload: &[u8]) -> Vec<u8> {
    join(&[
        &1111u16.to_be_bytes(),
        &dst_port.to_be_bytes(),
        &(8 + payload.len() as u16).to_be_bytes(),
        &[0, 0],
        payload,
    ])
}

/// TCP from port 3333 to 443, sequence number 100.
pub(super) fn tcp(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let offset = ((20 + options.len()) / 4 * 16) as u8;
    join(&[
        &3333u16.to_be_bytes(),
        &443u16.to_be_bytes(),
        &[0, 0, 0, 100, 0, 0, 0, 5, offset, flags, 4, 0, 0, 0, 0, 0],
        options,
        payload,
    ])
}

pub(super) fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    join(&[&[2; 12], &ether_type.to_be_bytes(), payload])
}

/// A frame captured whole, at `seconds`.
pub(super) fn frame_at(seconds: i64, link: LinkType, data: &[u8]) -> Frame<'_> {
    Frame {
        number: 1,
        at: Timestamp::from_nanos(seconds * 1_000_000_000),
        interface: 0,
        link,
        original_len: data.len() as u32,
        data,
    }
}

/// One line per packet of a frame, and how its decoding ended.
pub(super) fn seen(decoder: &mut Decoder, frame: &Frame<'_>) -> (Vec<String>, Result<(), Undecoded>) {
    let mut lines = Vec::new();
    let end = decoder.decode(frame, &mut |packet| lines.push(line(&packet)));
    (lines, end)
}

/// What tests look at: depth, VLAN, IP total length and the transport with its length on the wire.
pub(super) fn line(packet: &Packet<'_>) -> String {
    let vlan = packet.vlan.map_or(String::new(), |id| format!("vlan {id} "));
    let version = if packet.ip.src.is_ipv4() { "ip" } else { "ip6" };
    let transport = match &packet.transport {
        Transport::Tcp(tcp) => {
            format!("tcp {} > {} seq {} len {}", tcp.src_port, tcp.dst_port, tcp.seq, tcp.payload_len)
        }
        Transport::Udp(udp) => format!("udp {} > {} len {}", udp.src_port, udp.dst_port, udp.payload_len),
        Transport::IcmpError(error) => format!("icmp {}/{}", error.icmp_type, error.code),
        Transport::Fragment { offset, len, more, protocol } => {
            format!("piece of {protocol} at {offset} len {len} more {more}")
        }
        Transport::Other(protocol) => format!("protocol {protocol}"),
    };
    let pieces = match packet.fragments {
        0 => String::new(),
        count => format!(" from {count}"),
    };
    format!("{}: {vlan}{version} {} {transport}{pieces}", packet.depth, packet.ip.total_len)
}
