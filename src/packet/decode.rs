//! The way down a frame: link layer, IP, fragments, tunnels, transport. Remembers nothing but IP fragments.

use super::fragment::{FragmentLosses, Incomplete, Limits, Place, Reassembler};
use super::ip::{self, IpPacket, Piece, protocol};
use super::layer::Layer;
use super::link::{self, Network};
use super::{IpHeader, Packet, Transport, Undecoded, icmp, plain, transport, tunnel};
use crate::capture::{Frame, LinkType};

/// IP headers that may lie outside the innermost one.
const MAX_DEPTH: u8 = 4;

/// Turns the frames of one capture into packets, in the order of the capture.
#[derive(Debug)]
pub struct Decoder {
    reassembler: Reassembler,
}

/// What the inner packets of a frame take over from outside.
#[derive(Clone, Copy)]
struct Outside {
    place: Place,
    depth: u8,
    fragments: u16,
    from_adapter: bool,
}

impl Decoder {
    /// A decoder that keeps IP fragments within these limits.
    pub fn new(limits: Limits) -> Decoder {
        Decoder { reassembler: Reassembler::new(limits) }
    }

    /// Decodes one frame and hands `sink` each IP packet in it, outermost first.
    ///
    /// A VXLAN or Geneve packet comes as the UDP packet it is and then as its inner packets; a GRE or IP-in-IP packet only
    /// as its inner packets, or as [`Transport::Other`] when those cannot be read. Each fragment comes as
    /// [`Transport::Fragment`], but the one that completes a datagram as the whole datagram, and a first one cut
    /// by the snap length (IPv4 only) as what can be read of its transport header: as in Wireshark.
    ///
    /// # Errors
    ///
    /// Why the frame, or the innermost packet, could not be read. What lies outside it was handed out.
    pub fn decode(&mut self, frame: &Frame<'_>, sink: &mut impl FnMut(Packet<'_>)) -> Result<(), Undecoded> {
        if frame.link == LinkType::ETHERNET && plain::decode(frame.data, sink) {
            return Ok(());
        }
        self.any(frame, sink)
    }

    /// What could not be put together so far.
    pub fn fragment_losses(&self) -> FragmentLosses {
        self.reassembler.losses()
    }

    /// Between whom datagrams never became complete.
    pub fn incomplete(&self) -> Vec<Incomplete> {
        self.reassembler.incomplete()
    }

    /// Decodes any frame, plain ones too.
    fn any(&mut self, frame: &Frame<'_>, sink: &mut impl FnMut(Packet<'_>)) -> Result<(), Undecoded> {
        let captured = Layer::whole(frame.data);
        let layer = captured.with_wire_len(frame.original_len.max(captured.wire_len));
        let Network { layer, vlan, from_adapter } = link::peel(frame.link, layer)?;
        let place = Place { at: frame.at, interface: frame.interface, vlan };
        let outside = Outside { place, depth: 0, fragments: 0, from_adapter };
        self.packet(ip::parse(layer)?, outside, sink)
    }

    #[inline]
    fn packet(
        &mut self,
        packet: IpPacket<'_>,
        outside: Outside,
        sink: &mut impl FnMut(Packet<'_>),
    ) -> Result<(), Undecoded> {
        match packet.fragment {
            None => self.carried(packet.header, packet.protocol, packet.payload, outside, sink),
            Some(piece) => self.fragment(packet, piece, outside, sink),
        }
    }

    fn fragment(
        &mut self,
        packet: IpPacket<'_>,
        piece: Piece,
        outside: Outside,
        sink: &mut impl FnMut(Packet<'_>),
    ) -> Result<(), Undecoded> {
        let is_cut_first = packet.is_cut_first_fragment();
        let IpPacket { mut header, payload, .. } = packet;
        let added = self.reassembler.add(&header, packet.protocol, piece, payload, outside.place);
        if is_cut_first {
            return self.carried(header, packet.protocol, payload, Outside { fragments: 1, ..outside }, sink);
        }
        let Some(datagram) = added else {
            let transport = Transport::Fragment {
                offset: piece.offset,
                len: payload.wire_len,
                more: piece.more,
                protocol: packet.protocol,
            };
            sink(outside.packet(header, transport));
            return Ok(());
        };
        let whole = Layer::whole(&datagram.payload);
        header.total_len = packet.unfragmentable_len + whole.wire_len;
        let outside = Outside { fragments: datagram.fragments, ..outside };
        let (protocol, payload) = ip::reassembled(header.src.is_ipv6(), datagram.protocol, whole);
        self.carried(header, protocol, payload, outside, sink)
    }

    #[inline]
    fn carried(
        &mut self,
        header: IpHeader,
        protocol: u8,
        payload: Layer<'_>,
        outside: Outside,
        sink: &mut impl FnMut(Packet<'_>),
    ) -> Result<(), Undecoded> {
        if let Some(inner) = tunnel::by_protocol(protocol, payload) {
            let inner = inner.and_then(|network| outside.enter(network));
            if inner.is_err() {
                sink(outside.packet(header, Transport::Other(protocol)));
            }
            return self.inner(inner, sink);
        }
        let transport = read_transport(header.src.is_ipv6(), protocol, payload);
        let carries = match &transport {
            Transport::Udp(datagram) => tunnel::by_port(datagram.dst_port)
                .map(|find| find(Layer { bytes: datagram.payload, wire_len: datagram.payload_len })),
            _ => None,
        };
        sink(outside.packet(header, transport));
        let Some(network) = carries else {
            return Ok(());
        };
        self.inner(network.and_then(|network| outside.enter(network)), sink)
    }

    fn inner(
        &mut self,
        inner: Result<(IpPacket<'_>, Outside), Undecoded>,
        sink: &mut impl FnMut(Packet<'_>),
    ) -> Result<(), Undecoded> {
        match inner {
            Ok((packet, outside)) => self.packet(packet, outside, sink),
            // a tunnel may carry other things than IP, and the outer packet was handed out
            Err(Undecoded::NotIp | Undecoded::EtherType(_)) => Ok(()),
            Err(why) => Err(why),
        }
    }
}

impl Outside {
    /// One tunnel further in.
    fn enter<'a>(self, network: Network<'a>) -> Result<(IpPacket<'a>, Outside), Undecoded> {
        if self.depth == MAX_DEPTH {
            return Err(Undecoded::TooDeep);
        }
        let outside = Outside {
            place: Place { vlan: self.place.vlan.or(network.vlan), ..self.place },
            depth: self.depth + 1,
            fragments: 0,
            from_adapter: false,
        };
        Ok((ip::parse(network.layer)?, outside))
    }

    fn packet<'a>(&self, ip: IpHeader, transport: Transport<'a>) -> Packet<'a> {
        let Outside { place, depth, fragments, from_adapter } = *self;
        Packet { ip, transport, depth, vlan: place.vlan, from_adapter, fragments }
    }
}

#[inline]
fn read_transport(v6: bool, protocol: u8, payload: Layer<'_>) -> Transport<'_> {
    let read = match protocol {
        protocol::TCP => transport::tcp(payload).map(Transport::Tcp),
        protocol::UDP => transport::udp(v6, payload).map(Transport::Udp),
        protocol::ICMP if !v6 => icmp::parse(v6, payload).map(Transport::IcmpError),
        protocol::ICMPV6 if v6 => icmp::parse(v6, payload).map(Transport::IcmpError),
        _ => None,
    };
    read.unwrap_or(Transport::Other(protocol))
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
    use proptest::prelude::*;

    use super::super::TcpSegment;
    use super::super::sample::{
        ethernet, frame_at, ipv4, ipv4_piece, ipv6, ipv6_fragment, join, line, seen, tcp, udp, udp_to,
    };
    use super::*;

    const LINKS: [LinkType; 10] = [
        LinkType::NULL,
        LinkType::ETHERNET,
        LinkType::RAW_BSD,
        LinkType::RAW_OPENBSD,
        LinkType::RAW,
        LinkType::LOOP,
        LinkType::LINUX_SLL,
        LinkType::IPV4,
        LinkType::IPV6,
        LinkType::LINUX_SLL2,
    ];

    fn decode(link: LinkType, data: &[u8]) -> (Vec<String>, Result<(), Undecoded>) {
        seen(&mut Decoder::new(Limits::default()), &frame_at(0, link, data))
    }

    /// The lines of an Ethernet frame that must decode without complaint.
    fn packets(ether_type: u16, payload: &[u8]) -> Vec<String> {
        let (lines, end) = decode(LinkType::ETHERNET, &ethernet(ether_type, payload));
        assert_eq!(end, Ok(()));
        lines
    }

    #[test]
    fn what_comes_in_at_an_adapter_without_a_link_layer_is_from_a_tunnel() {
        let packet = ipv4(17, &udp(b"hello"));
        let from_adapter = |link: LinkType, header: &[u8]| {
            let mut found = None;
            let data = join(&[header, &packet]);
            let told = Decoder::new(Limits::default()).decode(&frame_at(0, link, &data), &mut |packet| {
                found = Some(packet.from_adapter);
            });
            assert_eq!(told, Ok(()));
            found.unwrap()
        };
        let sll2 = |hardware: u16, kind: u8| {
            join(&[&[8, 0, 0, 0, 0, 0, 0, 4], &hardware.to_be_bytes(), &[kind, 0, 0, 0, 0, 0, 0, 0, 0, 0]])
        };
        let sll = |hardware: u16, kind: u8| join(&[&[0, kind], &hardware.to_be_bytes(), &[0; 10], &[8, 0]]);
        for (hardware, kind, expected) in [(0xfffe, 0, true), (0xfffe, 4, false), (1, 0, false)] {
            assert_eq!(from_adapter(LinkType::LINUX_SLL2, &sll2(hardware, kind)), expected, "{hardware:x} {kind}");
            assert_eq!(from_adapter(LinkType::LINUX_SLL, &sll(hardware, kind)), expected, "{hardware:x} {kind}");
        }
    }

    #[test]
    fn every_link_type_leads_to_the_same_packet() {
        let v4 = ipv4(17, &udp(b"hello"));
        let v6 = ipv6(6, &tcp(TcpSegment::ACK, &[], b"hello"));
        let sll = |ether_type: u16, ip: &[u8]| join(&[&[0; 14], &ether_type.to_be_bytes(), ip]);
        let sll2 = |ether_type: u16, ip: &[u8]| join(&[&ether_type.to_be_bytes(), &[0; 18], ip]);
        let mut frames = vec![
            (LinkType::ETHERNET, ethernet(0x0800, &v4)),
            (LinkType::ETHERNET, ethernet(0x86dd, &v6)),
            (LinkType::IPV4, v4.clone()),
            (LinkType::IPV6, v6.clone()),
            (LinkType::LINUX_SLL, sll(0x0800, &v4)),
            (LinkType::LINUX_SLL, sll(0x86dd, &v6)),
            (LinkType::LINUX_SLL2, sll2(0x0800, &v4)),
            (LinkType::LINUX_SLL2, sll2(0x86dd, &v6)),
            (LinkType::NULL, join(&[&[2, 0, 0, 0], &v4])),
            (LinkType::NULL, join(&[&[0, 0, 0, 2], &v4])),
            (LinkType::LOOP, join(&[&[0, 0, 0, 2], &v4])),
        ];
        for family in [10, 24, 28, 30] {
            frames.push((LinkType::NULL, join(&[&[family, 0, 0, 0], &v6])));
            frames.push((LinkType::LOOP, join(&[&[0, 0, 0, family], &v6])));
        }
        for raw in [LinkType::RAW, LinkType::RAW_BSD, LinkType::RAW_OPENBSD] {
            frames.push((raw, v4.clone()));
            frames.push((raw, v6.clone()));
        }
        for (link, data) in frames {
            let (lines, end) = decode(link, &data);
            assert_eq!(end, Ok(()), "{link}");
            let v4 = "0: ip 33 udp 1111 > 2222 len 5";
            let v6 = "0: ip6 65 tcp 3333 > 443 seq 100 len 5";
            assert!(lines == [v4] || lines == [v6], "{link}: {lines:?}");
        }
    }

    #[test]
    fn tags_labels_and_pppoe_are_stepped_over() {
        let v4 = ipv4(17, &udp(b"hello"));
        let v6 = ipv6(17, &udp(b"hello"));
        assert_eq!(
            packets(0x88a8, &join(&[&[0xe0, 200, 0x81, 0, 0, 100, 8, 0], &v4])),
            ["0: vlan 200 ip 33 udp 1111 > 2222 len 5"]
        );
        assert_eq!(packets(0x9100, &join(&[&[0, 200, 0x86, 0xdd], &v6])), ["0: vlan 200 ip6 53 udp 1111 > 2222 len 5"]);
        assert_eq!(packets(0x8847, &join(&[&[0, 1, 0, 64, 0, 1, 0x11, 64], &v6])), ["0: ip6 53 udp 1111 > 2222 len 5"]);
        assert_eq!(
            packets(0x8864, &join(&[&[0x11, 0, 0, 9, 0, 35, 0, 0x21], &v4])),
            ["0: ip 33 udp 1111 > 2222 len 5"]
        );
        assert_eq!(
            packets(0x8864, &join(&[&[0x11, 0, 0, 9, 0, 55, 0, 0x57], &v6])),
            ["0: ip6 53 udp 1111 > 2222 len 5"]
        );
    }

    #[test]
    fn tunnels_are_peeled() {
        let v4 = ipv4(17, &udp(b"hello"));
        let v6 = ipv6(17, &udp(b"hello"));
        let inner_v4 = "1: ip 33 udp 1111 > 2222 len 5";
        let inner_v6 = "1: ip6 53 udp 1111 > 2222 len 5";
        assert_eq!(packets(0x0800, &ipv4(4, &v4)), [inner_v4]);
        assert_eq!(packets(0x0800, &ipv4(41, &v6)), [inner_v6]);
        assert_eq!(packets(0x86dd, &ipv6(4, &v4)), [inner_v4]);
        for (flags, fields) in [(0, 0), (0x80, 4), (0x20, 4), (0x10, 4), (0xb0, 12)] {
            let gre = join(&[&[flags, 0, 8, 0], &vec![0; fields], &v4]);
            assert_eq!(packets(0x0800, &ipv4(47, &gre)), [inner_v4]);
        }
        let gre = join(&[&[0, 0, 0x86, 0xdd], &v6]);
        assert_eq!(packets(0x0800, &ipv4(47, &gre)), [inner_v6]);
        let gre = join(&[&[0, 0, 0x65, 0x58], &ethernet(0x0800, &v4)]);
        assert_eq!(packets(0x86dd, &ipv6(47, &gre)), [inner_v4]);
        let frame = ethernet(0x0800, &v4);
        let mirrored: [&[u8]; 4] = [
            &[0, 0, 0x88, 0xbe],
            &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 9, 0x10, 1, 0, 1, 0, 0, 0, 0],
            &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 9, 0x20, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 9, 0x20, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        ];
        for header in mirrored {
            assert_eq!(packets(0x0800, &ipv4(47, &join(&[header, &frame]))), [inner_v4], "{header:x?}");
        }
        let vxlan = udp_to(4789, &join(&[&[8, 0, 0, 0, 0, 0, 5, 0], &ethernet(0x0800, &v4)]));
        assert_eq!(packets(0x0800, &ipv4(17, &vxlan)), ["0: ip 83 udp 1111 > 4789 len 55", inner_v4]);
        let geneve = udp_to(6081, &join(&[&[0, 0, 0x65, 0x58, 0, 0, 5, 0], &ethernet(0x0800, &v4)]));
        assert_eq!(packets(0x0800, &ipv4(17, &geneve)), ["0: ip 83 udp 1111 > 6081 len 55", inner_v4]);
        let with_options = udp_to(6081, &join(&[&[2, 0x40, 0x86, 0xdd, 0, 0, 5, 0, 1, 2, 3, 1, 0, 0, 0, 0], &v6]));
        assert_eq!(packets(0x0800, &ipv4(17, &with_options)), ["0: ip 97 udp 1111 > 6081 len 69", inner_v6]);
    }

    #[test]
    fn a_tunnel_without_ip_inside_stays_a_packet() {
        let not_ip = join(&[&[0, 0, 0x20, 0], b"discovery"]);
        assert_eq!(packets(0x0800, &ipv4(47, &not_ip)), ["0: ip 33 protocol 47"]);
        let pptp = [0x30, 1, 0x88, 0x0b, 0, 0, 0, 0];
        assert_eq!(packets(0x0800, &ipv4(47, &pptp)), ["0: ip 28 protocol 47"]);
        assert_eq!(packets(0x0800, &ipv4(50, b"sealed")), ["0: ip 26 protocol 50"]);
        let arp_inside = udp_to(4789, &join(&[&[8, 0, 0, 0, 0, 0, 5, 0], &ethernet(0x0806, &[0; 28])]));
        assert_eq!(packets(0x0800, &ipv4(17, &arp_inside)).len(), 1);
        let sealed = join(&[&[8, 0, 0, 0, 0, 0, 5, 0], &ethernet(0x88e5, &[0; 28])]);
        let later = [0x40, 0, 8, 0, 0, 0, 0, 0];
        for (port, payload) in
            [(4789, b"something else".as_slice()), (4789, &sealed), (6081, b"something else"), (6081, &later)]
        {
            assert_eq!(packets(0x0800, &ipv4(17, &udp_to(port, payload))).len(), 1, "{payload:x?}");
        }
    }

    #[test]
    fn nesting_is_capped() {
        let mut packet = ipv4(17, &udp(b""));
        for _ in 0..MAX_DEPTH {
            packet = ipv4(4, &packet);
        }
        assert_eq!(decode(LinkType::RAW, &packet), (vec!["4: ip 28 udp 1111 > 2222 len 0".into()], Ok(())));
        packet = ipv4(4, &packet);
        assert_eq!(decode(LinkType::RAW, &packet), (vec!["4: ip 48 protocol 4".into()], Err(Undecoded::TooDeep)));
        let tags = [0, 1, 0x81, 0].repeat(5);
        assert_eq!(decode(LinkType::ETHERNET, &ethernet(0x8100, &tags)).1, Err(Undecoded::TooDeep));
    }

    #[test]
    fn what_is_no_ip_says_so() {
        // ARP and LLDP, STP behind a length, and PPP's link control are of no interest; other EtherTypes may carry IP
        for (ether_type, payload) in [(0x0806, [0; 28]), (0x88cc, [0; 28]), (38, [0x42; 28]), (0x8864, [0x11; 28])] {
            assert_eq!(decode(LinkType::ETHERNET, &ethernet(ether_type, &payload)).1, Err(Undecoded::NotIp));
        }
        for (ether_type, payload) in [(0x88e5, [0; 28]), (0x8847, [1; 28]), (0x8909, [2; 28])] {
            let end = decode(LinkType::ETHERNET, &ethernet(ether_type, &payload)).1;
            assert_eq!(end, Err(Undecoded::EtherType(ether_type)));
        }
        assert_eq!(decode(LinkType::NULL, &[7, 0, 0, 0, 1]).1, Err(Undecoded::NotIp));
        assert_eq!(decode(LinkType(147), &[0; 40]).1, Err(Undecoded::LinkType(147)));
        assert_eq!(decode(LinkType::RAW, &[0x55; 40]).1, Err(Undecoded::Malformed));
        assert_eq!(decode(LinkType::ETHERNET, &[]).1, Err(Undecoded::Cut));
        let short = join(&[&[0x45, 0, 0, 15], &ipv4(17, &udp(b""))[4..]]);
        assert_eq!(decode(LinkType::RAW, &short).1, Err(Undecoded::Malformed));
    }

    #[test]
    fn lengths_are_those_of_the_ip_header() {
        let padded = join(&[&ipv4(6, &tcp(TcpSegment::ACK, &[], &[])), &[0; 6]]);
        assert_eq!(packets(0x0800, &padded), ["0: ip 40 tcp 3333 > 443 seq 100 len 0"]);
        let mut offloaded = ipv4(6, &tcp(TcpSegment::ACK, &[], &[0; 3000]));
        offloaded[2..4].copy_from_slice(&[0, 0]);
        assert_eq!(packets(0x0800, &offloaded), ["0: ip 3040 tcp 3333 > 443 seq 100 len 3000"]);
        let mut offloaded = ipv6(6, &tcp(TcpSegment::ACK, &[], &[0; 3000]));
        offloaded[4..6].copy_from_slice(&[0, 0]);
        assert_eq!(packets(0x86dd, &offloaded), ["0: ip6 3060 tcp 3333 > 443 seq 100 len 3000"]);
    }

    #[test]
    fn extension_headers_are_stepped_over() {
        let authentication = |next| join(&[&[next, 4], &[0; 22]]);
        let packet = ipv4(51, &join(&[&authentication(17), &udp(b"hi")]));
        assert_eq!(packets(0x0800, &packet), ["0: ip 54 udp 1111 > 2222 len 2"]);
        let extensions = [60, 0, 1, 4, 0, 0, 0, 0, 43, 0, 1, 4, 0, 0, 0, 0, 51, 0, 0, 0, 0, 0, 0, 0];
        let packet = ipv6(0, &join(&[&extensions, &authentication(17), &udp(b"hi")]));
        assert_eq!(packets(0x86dd, &packet), ["0: ip6 98 udp 1111 > 2222 len 2"]);
        let atomic = ipv6_fragment(17, 0, 9, &udp(b"hi"));
        assert_eq!(packets(0x86dd, &atomic), ["0: ip6 58 udp 1111 > 2222 len 2"]);
    }

    #[test]
    fn the_frame_that_completes_a_datagram_is_the_datagram() {
        let datagram = udp(&[7; 100]);
        let (first, last) = datagram.split_at(64);
        let mut decoder = Decoder::new(Limits::default());
        let mut next = |ether_type, packet: &[u8]| {
            let data = ethernet(ether_type, packet);
            seen(&mut decoder, &frame_at(0, LinkType::ETHERNET, &data)).0
        };
        assert_eq!(next(0x0800, &ipv4_piece(17, 1, 0x2000, first)), ["0: ip 84 piece of 17 at 0 len 64 more true"]);
        assert_eq!(next(0x0800, &ipv4_piece(17, 1, 8, last)), ["0: ip 128 udp 1111 > 2222 len 100 from 2"]);
        assert_eq!(next(0x86dd, &ipv6_fragment(17, 64, 1, last)), ["0: ip6 92 piece of 17 at 64 len 44 more false"]);
        assert_eq!(next(0x86dd, &ipv6_fragment(17, 1, 1, first)), ["0: ip6 148 udp 1111 > 2222 len 100 from 2"]);
        assert_eq!(decoder.fragment_losses(), FragmentLosses::default());
    }

    // Measured on tshark 4.0.17.
    #[test]
    fn a_first_fragment_cut_by_the_snap_length_is_read() {
        let datagram = udp(&[7; 100]);
        let (first, last) = datagram.split_at(64);
        let mut decoder = Decoder::new(Limits::default());
        let mut next = |packet: &[u8], keep: usize| {
            let frame = frame_at(0, LinkType::RAW, packet);
            seen(&mut decoder, &Frame { data: &packet[..keep], ..frame }).0
        };
        let packet = ipv4_piece(17, 1, 0x2000, first);
        assert_eq!(next(&packet, 40), ["0: ip 84 udp 1111 > 2222 len 56 from 1"]);
        assert_eq!(next(&packet, 27), ["0: ip 84 protocol 17 from 1"]);
        assert_eq!(next(&ipv4_piece(17, 1, 8, last), 64), ["0: ip 64 piece of 17 at 64 len 44 more false"]);
        assert_eq!(next(&ipv6_fragment(17, 1, 1, first), 60), ["0: ip6 112 piece of 17 at 0 len 64 more true"]);
        assert_eq!(decoder.fragment_losses(), FragmentLosses { cut: 3, incomplete: 1, ..FragmentLosses::default() });
    }

    #[test]
    fn a_tunnel_may_come_in_fragments() {
        let outer = join(&[&[0, 0, 8, 0], &ipv4(17, &udp(&[7; 100]))]);
        let (first, last) = outer.split_at(64);
        let mut decoder = Decoder::new(Limits::default());
        let first = ipv4_piece(47, 1, 0x2000, first);
        let last = ipv4_piece(47, 1, 8, last);
        assert_eq!(seen(&mut decoder, &frame_at(0, LinkType::RAW, &first)).0.len(), 1);
        assert_eq!(seen(&mut decoder, &frame_at(0, LinkType::RAW, &last)).0, ["1: ip 128 udp 1111 > 2222 len 100"]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..200), more in 0u32..2000) {
            let mut decoder = Decoder::new(Limits::default());
            for link in LINKS {
                let frame = Frame { original_len: more, ..frame_at(0, link, &data) };
                let _ = decoder.decode(&frame, &mut |packet| {
                    if let Transport::Udp(udp) = &packet.transport {
                        assert!(udp.payload.len() <= udp.payload_len as usize);
                    }
                });
            }
        }

        #[test]
        fn damaged_packets_never_panic(at in 0usize..200, value in any::<u8>(), keep in 0usize..200) {
            for mut data in varied_frames() {
                if let Some(byte) = data.get_mut(at) {
                    *byte = value;
                }
                data.truncate(keep);
                let _ = decode(LinkType::ETHERNET, &data);
            }
        }

        #[test]
        fn the_short_way_gives_what_the_long_way_gives(
            at in 12usize..60,
            value in any::<u8>(),
            keep in 0usize..200,
            padding in 0usize..10,
        ) {
            for mut data in varied_frames() {
                data.extend(vec![0; padding]);
                if let Some(byte) = data.get_mut(at) {
                    *byte = value;
                }
                let whole = frame_at(0, LinkType::ETHERNET, &data);
                let frame = Frame { data: data.get(..keep).unwrap_or(&data), ..whole };
                let (mut short, mut long) = (Vec::new(), Vec::new());
                let mut decoder = Decoder::new(Limits::default());
                let short_end = decoder.decode(&frame, &mut |packet| short.push(format!("{packet:?}")));
                let mut decoder = Decoder::new(Limits::default());
                let long_end = decoder.any(&frame, &mut |packet| long.push(format!("{packet:?}")));
                prop_assert_eq!((short, short_end), (long, long_end));
            }
        }
    }

    fn varied_frames() -> Vec<Vec<u8>> {
        let v4 = ipv4(6, &tcp(TcpSegment::SYN, &[2, 4, 5, 0xb4], b"hello"));
        let v6 = ipv6(0, &join(&[&[17, 0, 1, 4, 0, 0, 0, 0], &udp(b"hello")]));
        let quote = ipv4(1, &join(&[&[3, 4, 0, 0, 0, 0, 5, 0x43], &v4]));
        vec![
            ethernet(0x0800, &v4),
            ethernet(0x86dd, &v6),
            ethernet(0x8100, &join(&[&[0, 1, 8, 0], &v4])),
            ethernet(0x0800, &ipv4(47, &join(&[&[0xb0, 0, 0x86, 0xdd], &[0; 12], &v6]))),
            ethernet(0x0800, &ipv4(17, &udp_to(4789, &join(&[&[8, 0, 0, 0, 0, 0, 5, 0], &ethernet(0x0800, &v4)])))),
            ethernet(0x0800, &ipv4(17, &udp_to(6081, &join(&[&[0, 0, 8, 0, 0, 0, 5, 0], &v4])))),
            ethernet(0x8909, &join(&[&[1, 1, 0, 1, 0, 5, 8, 0], &v4])),
            ethernet(0x0800, &quote),
            ethernet(0x0800, &ipv4_piece(17, 1, 0x2000, &[0; 64])),
            ethernet(0x86dd, &ipv6_fragment(17, 1, 1, &[0; 64])),
            ethernet(0x8847, &join(&[&[0, 1, 1, 64], &v6])),
            ethernet(0x8864, &join(&[&[0x11, 0, 0, 9, 0, 0, 0, 0x21], &v4])),
        ]
    }

    #[test]
    fn a_cut_keeps_the_true_lengths() {
        for whole in varied_frames() {
            let (expected, _) = decode(LinkType::ETHERNET, &whole);
            for keep in 0..whole.len() {
                let frame = Frame { data: &whole[..keep], ..frame_at(0, LinkType::ETHERNET, &whole) };
                let (lines, end) = seen(&mut Decoder::new(Limits::default()), &frame);
                assert!(lines.len() <= expected.len());
                assert!(!lines.is_empty() || end == Err(Undecoded::Cut), "{keep}");
                for line in lines {
                    let known = expected.contains(&line) || line.contains("protocol");
                    assert!(known, "cut to {keep}: {line}, not {expected:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_etherparse(
            v6 in any::<bool>(),
            is_tcp in any::<bool>(),
            options in 0usize..=10,
            payload in prop::collection::vec(any::<u8>(), 0..100),
            padding in 0usize..10,
            keep in 0usize..200,
        ) {
            let (protocol, body) = match is_tcp {
                true => (6, tcp(TcpSegment::ACK, &vec![1; options * 4], &payload)),
                false => (17, udp(&payload)),
            };
            let (ether_type, ip) = match v6 {
                true => (0x86dd, ipv6(protocol, &body)),
                false => (0x0800, ipv4(protocol, &body)),
            };
            let whole = ethernet(ether_type, &join(&[&ip, &vec![0; padding]]));
            let data = whole.get(..keep).unwrap_or(&whole);
            let frame = Frame { data, ..frame_at(0, LinkType::ETHERNET, &whole) };
            let Ok(theirs) = LaxSlicedPacket::from_ethernet(data) else { return Ok(()); };
            let mut seen = None;
            let _ = Decoder::new(Limits::default()).decode(&frame, &mut |packet| {
                let payload = match &packet.transport {
                    Transport::Tcp(tcp) => Some((tcp.src_port, tcp.dst_port, tcp.payload.to_vec())),
                    Transport::Udp(udp) => Some((udp.src_port, udp.dst_port, udp.payload.to_vec())),
                    _ => None,
                };
                seen = Some((packet.ip.src, packet.ip.dst, payload));
            });
            let addresses = match &theirs.net {
                Some(LaxNetSlice::Ipv4(ip)) => Some((ip.header().source_addr().into(), ip.header().destination_addr().into())),
                Some(LaxNetSlice::Ipv6(ip)) => Some((ip.header().source_addr().into(), ip.header().destination_addr().into())),
                _ => None,
            };
            prop_assert_eq!(seen.as_ref().map(|seen| (seen.0, seen.1)), addresses);
            let transport = match &theirs.transport {
                Some(TransportSlice::Tcp(tcp)) => (tcp.source_port(), tcp.destination_port(), tcp.payload().to_vec()),
                Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port(), udp.payload().to_vec()),
                // we go on where only TCP options are cut
                _ => return Ok(()),
            };
            prop_assert_eq!(seen.and_then(|seen| seen.2), Some(transport));
        }
    }

    #[test]
    fn the_line_of_a_packet_tells_its_error() {
        let quote = ipv4(1, &join(&[&[3, 4, 0, 0, 0, 0, 5, 0x43], &ipv4(17, &udp(b""))]));
        let mut lines = Vec::new();
        let data = ethernet(0x0800, &quote);
        let frame = frame_at(0, LinkType::ETHERNET, &data);
        let end = Decoder::new(Limits::default()).decode(&frame, &mut |packet| lines.push(line(&packet)));
        assert_eq!((end, lines), (Ok(()), vec!["0: ip 56 icmp 3/4".to_owned()]));
    }
}
