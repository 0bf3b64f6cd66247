//! TCP and UDP headers. `None` means the header was cut or contradicts itself.

use etherparse::{TcpOptionElement, TcpOptionsIterator};

use super::layer::Layer;
use super::{TcpSegment, UdpDatagram};

/// Bytes of a TCP header without options.
const TCP_FIXED_LEN: u32 = 20;
/// How much of a TCP header must be there: up to and with the window (RFC 9293 §3.1), as in Wireshark.
const TCP_READ_LEN: usize = 16;
/// Bytes of a TCP header with timestamps, or with the least SACK option, aligned.
const LONG_HEADER_LEN: u32 = 32;
/// Bytes of a UDP header.
const UDP_HEADER_LEN: u32 = 8;

/// Reads a TCP segment. Its first 16 bytes suffice: options cut by the snap length only cost the MSS, and a
/// data offset that cannot be costs the payload.
#[inline(always)] // what it gives is large, and is moved otherwise
pub(super) fn tcp(layer: Layer<'_>) -> Option<TcpSegment<'_>> {
    let fixed: &[u8; TCP_READ_LEN] = layer.bytes.first_chunk()?;
    let &[s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1] = fixed;
    let written = u32::from(offset >> 4) * 4;
    let is_possible = (TCP_FIXED_LEN..=layer.wire_len).contains(&written);
    let header_len = if is_possible { written } else { layer.wire_len };
    let mut segment = TcpSegment {
        src_port: u16::from_be_bytes([s0, s1]),
        dst_port: u16::from_be_bytes([d0, d1]),
        seq: u32::from_be_bytes([q0, q1, q2, q3]),
        ack: u32::from_be_bytes([a0, a1, a2, a3]),
        flags,
        window: u16::from_be_bytes([w0, w1]),
        mss: None,
        timestamps: false,
        sacked: None,
        tsval: None,
        payload: layer.bytes.get(header_len as usize..).unwrap_or_default(),
        payload_len: layer.wire_len - header_len,
    };
    if is_possible && segment.has(TcpSegment::SYN) {
        let header = layer.with_wire_len(header_len).bytes;
        read_options(&mut segment, header.get(TCP_FIXED_LEN as usize..).unwrap_or_default());
    }
    if is_possible && header_len >= LONG_HEADER_LEN {
        let options = layer.bytes.get(TCP_FIXED_LEN as usize..header_len as usize).unwrap_or_default();
        match segment.payload_len {
            0 => segment.sacked = sacked(options),
            _ => segment.tsval = tsval(options),
        }
    }
    Some(segment)
}

#[cold]
fn read_options(segment: &mut TcpSegment<'_>, options: &[u8]) {
    for option in TcpOptionsIterator::from_slice(options).map_while(Result::ok) {
        match option {
            TcpOptionElement::MaximumSegmentSize(mss) => segment.mss = Some(mss),
            TcpOptionElement::Timestamp(..) => segment.timestamps = true,
            _ => {}
        }
    }
}

/// Left edge of the first SACK block, where every stack puts it: behind two NOPs, or behind the timestamps and two more.
fn sacked(options: &[u8]) -> Option<u32> {
    match options {
        [1, 1, 5, _, edge @ ..] | [1, 1, 8, 10, _, _, _, _, _, _, _, _, 1, 1, 5, _, edge @ ..] => {
            edge.first_chunk().copied().map(u32::from_be_bytes)
        }
        _ => None,
    }
}

/// TSval, where every stack puts it: behind two NOPs (RFC 7323, appendix A).
#[inline]
fn tsval(options: &[u8]) -> Option<u32> {
    let &[1, 1, 8, 10, a, b, c, d, ..] = options else { return None };
    Some(u32::from_be_bytes([a, b, c, d]))
}

/// Reads a UDP datagram. Over IPv6 length 0 means "as long as the IP payload" (RFC 2675 §4); a length beyond
/// the IP payload is cut back to it. Both as Wireshark does.
#[inline]
pub(super) fn udp(v6: bool, layer: Layer<'_>) -> Option<UdpDatagram<'_>> {
    let (&[s0, s1, d0, d1, l0, l1, _, _], rest) = layer.take().ok()?;
    let payload_len = match u32::from(u16::from_be_bytes([l0, l1])) {
        0 if v6 => rest.wire_len,
        written => written.checked_sub(UDP_HEADER_LEN)?.min(rest.wire_len),
    };
    Some(UdpDatagram {
        src_port: u16::from_be_bytes([s0, s1]),
        dst_port: u16::from_be_bytes([d0, d1]),
        payload: rest.with_wire_len(payload_len).bytes,
        payload_len,
    })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn options_are_read_on_syn() {
        let options = [2, 4, 5, 0x64, 1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0];
        let bytes = sample::tcp(TcpSegment::SYN, &options, &[]);
        let syn = tcp(Layer::whole(&bytes)).unwrap();
        assert_eq!((syn.mss, syn.timestamps, syn.payload_len), (Some(1380), true, 0));
        let bytes = sample::tcp(TcpSegment::ACK, &options, b"data");
        let data = tcp(Layer::whole(&bytes)).unwrap();
        assert_eq!((data.mss, data.timestamps, data.payload), (None, false, &b"data"[..]));
    }

    #[test]
    fn the_senders_clock_is_read_on_data() {
        let timestamps = [1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 0, 9];
        let read = |options: &[u8], payload: &[u8]| {
            tcp(Layer::whole(&sample::tcp(TcpSegment::ACK, options, payload))).unwrap().tsval
        };
        assert_eq!(read(&timestamps, b"data"), Some(0x102));
        assert_eq!((read(&timestamps, &[]), read(&[1; 12], b"data"), read(&[], b"data")), (None, None, None));
    }

    #[test]
    fn sack_blocks_are_read_on_bare_acks() {
        let block = [5, 10, 0, 0, 1, 2, 0, 0, 1, 9];
        let timestamps = [1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0];
        let read = |options: &[u8], payload: &[u8]| {
            tcp(Layer::whole(&sample::tcp(TcpSegment::ACK, options, payload))).unwrap().sacked
        };
        let (alone, behind) = (sample::join(&[&[1, 1], &block]), sample::join(&[&timestamps, &[1, 1], &block]));
        assert_eq!([&alone, &behind].map(|options| read(options, &[])), [Some(0x102), Some(0x102)]);
        assert_eq!((read(&alone, b"data"), read(&timestamps, &[])), (None, None));
    }

    #[test]
    fn cut_options_cost_only_what_was_cut() {
        let options = [2, 4, 5, 0x64, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
        let bytes = sample::tcp(TcpSegment::SYN, &options, b"data");
        let cut = |keep: usize| tcp(Layer { bytes: &bytes[..keep], wire_len: bytes.len() as u32 });
        let syn = cut(30).unwrap();
        assert_eq!((syn.mss, syn.timestamps), (Some(1380), false));
        assert_eq!((syn.payload, syn.payload_len), (&[][..], 4));
        assert_eq!([19, 16].map(|keep| cut(keep).map(|segment| segment.payload_len)), [Some(4), Some(4)]);
        assert!(cut(15).is_none());
    }

    #[test]
    fn impossible_tcp_header_lengths_cost_the_payload() {
        let mut bytes = sample::tcp(TcpSegment::ACK, &[], b"abc");
        for offset in [0x00, 0x40, 0x60, 0xf0] {
            bytes[12] = offset;
            let segment = tcp(Layer::whole(&bytes)).unwrap();
            assert_eq!((segment.seq, segment.payload, segment.payload_len), (100, &[][..], 0));
        }
    }

    #[test]
    fn udp_length_is_believed_within_reason() {
        let udp_with = |v6: bool, len: u8| {
            let bytes = sample::join(&[&[0, 1, 0, 2, 0, len, 0, 0], b"12345"]);
            udp(v6, Layer::whole(&bytes)).map(|udp| (udp.payload.len(), udp.payload_len))
        };
        for (len, expected) in [(13, Some((5, 5))), (10, Some((2, 2))), (99, Some((5, 5))), (7, None)] {
            assert_eq!((udp_with(false, len), udp_with(true, len)), (expected, expected), "length {len}");
        }
        assert_eq!((udp_with(false, 0), udp_with(true, 0)), (None, Some((5, 5))));
    }
}
