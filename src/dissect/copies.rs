//! Which UDP datagrams, ICMP errors and TCP segments without new bytes are copies of one just seen: a mirror port or a capture of
//! several interfaces shows a frame twice.

use crate::event::{Direction, FlowId, PointId, Timestamp};
use crate::packet::icmp::IcmpError;
use crate::packet::{IpHeader, TcpSegment, UdpDatagram};
use foldhash::fast::RandomState;
use std::hash::BuildHasher;

/// A copy of what has a number of its own follows within this time; nobody sends again so soon (RFC 6347 §4.2.4.1: 1 s; RFC 9147
/// §5.8.2: 100 ms), nanoseconds.
const AT_ONCE: u64 = 50_000_000;
/// Nor a TCP segment so soon: the least retransmission timeout in use is 0.2 s, nanoseconds.
const WITH_ID: u64 = 10_000_000;
/// Nor so soon whatever makes it, as ICMP that tells of a narrower path does: where ids say nothing only time tells, nanoseconds.
const WITHOUT_ID: u64 = 1_000_000;
/// How many are remembered: a copy comes microseconds later, before many others.
const MOST: usize = 16;

/// The latest of them, of all flows: what stands for each, and when it was.
#[derive(Debug, Default)]
pub(super) struct Copies {
    known: [u64; MOST],
    at: [Timestamp; MOST],
    oldest: usize,
    hasher: RandomState,
}

impl Copies {
    /// Is it a datagram of that flow once more? What DTLS sends again has a new record number (RFC 6347 §4.1), or comes later.
    pub(super) fn has_datagram(
        &mut self,
        at: Timestamp,
        flow: FlowId,
        direction: Direction,
        ip: &IpHeader,
        datagram: &UdpDatagram<'_>,
        is_dtls: bool,
    ) -> bool {
        // A record's number is at the beginning, what was sealed at the end.
        let begins = datagram.payload.first_chunk().map(|bytes| u128::from_le_bytes(*bytes));
        let ends = datagram.payload.last_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        if begins.is_none() && ip.id == 0 {
            return false; // nothing tells one from another
        }
        let at_once = if is_dtls { AT_ONCE } else { within(ip.id) };
        self.knows(self.hasher.hash_one((flow, direction, ip.total_len, ip.id, begins, ends)), at, at_once)
    }

    /// Is it an error that was just seen there, once more?
    pub(super) fn has_error(&mut self, at: Timestamp, point: PointId, ip: &IpHeader, error: &IcmpError) -> bool {
        self.knows(self.hasher.hash_one((point, ip.src, ip.id, error)), at, within(ip.id))
    }

    /// Is it a segment that was just seen, once more? A sender that counts its IP ids gives each sending another.
    pub(super) fn has_segment(
        &mut self,
        at: Timestamp,
        flow: FlowId,
        direction: Direction,
        segment: &TcpSegment<'_>,
        id: u16,
    ) -> bool {
        self.knows(
            self.hasher.hash_one((flow, direction, segment.seq, segment.ack, segment.payload_len, id)),
            at,
            within(id),
        )
    }

    fn knows(&mut self, one: u64, at: Timestamp, at_once: u64) -> bool {
        let mut all = self.known.iter().zip(&self.at);
        if all.any(|(known, then)| *known == one && at.nanos().abs_diff(then.nanos()) < at_once) {
            return true;
        }
        if let (Some(known), Some(then)) = (self.known.get_mut(self.oldest), self.at.get_mut(self.oldest)) {
            (*known, *then) = (one, at);
        }
        self.oldest = (self.oldest + 1) % MOST;
        false
    }
}

fn within(id: u16) -> u64 {
    if id == 0 { WITHOUT_ID } else { WITH_ID }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::icmp::Quoted;

    #[test]
    fn a_segment_sent_again_is_seen_again_within_no_time_with_its_ip_id() {
        let mut copies = Copies::default();
        let mut is_copy = |seconds: f64, seq, id| {
            let segment = TcpSegment {
                src_port: 80,
                dst_port: 5000,
                seq,
                ack: 1,
                flags: TcpSegment::ACK,
                mss: None,
                window: 9,
                timestamps: false,
                tsval: None,
                sacked: None,
                payload: &[],
                payload_len: 1394,
            };
            copies.has_segment(Timestamp::default().plus_seconds(seconds), FlowId(1), Direction::ToClient, &segment, id)
        };
        assert!(!is_copy(10.0, 1, 7));
        assert!(!is_copy(10.0, 1395, 8), "the next one");
        assert!(is_copy(10.000_01, 1, 7), "on the next interface");
        assert!(!is_copy(10.000_02, 1, 9), "a copy has the same id");
        assert!(!is_copy(10.4, 1, 0), "sent again");
        assert!(is_copy(10.400_01, 1, 0), "on the next interface, of a sender that does not count");
        assert!(!is_copy(10.402, 1, 0), "sent again on an ICMP");
    }

    #[test]
    fn a_datagram_once_more_is_a_copy_unless_it_is_sent_again() {
        let mut copies = Copies::default();
        let mut is_copy = |seconds: f64, flow, direction, payload: &[u8], is_dtls| {
            let at = Timestamp::default().plus_seconds(seconds);
            copies.has_datagram(at, FlowId(flow), direction, &ip(0), &udp(payload), is_dtls)
        };
        let (up, down) = (Direction::ToServer, Direction::ToClient);
        assert!(!is_copy(10.0, 1, up, b"0 is its number, it says", true));
        assert!(is_copy(10.000_01, 1, up, b"0 is its number, it says", true));
        assert!(is_copy(9.999_99, 1, up, b"0 is its number, it says", true), "written out of order");
        assert!(!is_copy(10.000_02, 1, up, b"1 is its number, it says", true), "sent again, numbered anew");
        assert!(!is_copy(11.0, 1, up, b"0 is its number, it says", true), "sent again as it was");
        assert!(!is_copy(11.0, 1, down, b"0 is its number, it says", true));
        assert!(!is_copy(11.0, 2, up, b"0 is its number, it says", true), "another flow");
        assert!(!is_copy(12.0, 3, up, b"a probe of the path", false));
        assert!(is_copy(12.000_01, 3, up, b"a probe of the path", false));
        assert!(!is_copy(12.002, 3, up, b"a probe of the path", false), "nothing numbers it");
        assert!(!is_copy(13.0, 3, up, b"cut", true));
        assert!(!is_copy(13.0, 3, up, b"cut", true), "nothing tells them apart");
    }

    #[test]
    fn an_error_once_more_is_a_copy_unless_it_is_about_another_packet() {
        let mut copies = Copies::default();
        let mut is_copy = |seconds: f64, point, id, quoted_id| {
            let (src, dst) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
            let quoted = Quoted {
                src: dst,
                dst: src,
                protocol: 17,
                ports: Some((5000, 443)),
                tcp_seq: None,
                tcp_flags: None,
                is_readable: true,
                total_len: 1484,
                dont_fragment: true,
                id: quoted_id,
            };
            let error = IcmpError { v6: false, icmp_type: 3, code: 4, next_hop_mtu: Some(1400), quoted: Some(quoted) };
            copies.has_error(Timestamp::default().plus_seconds(seconds), PointId(point), &ip(id), &error)
        };
        assert!(!is_copy(10.0, 0, 0, 7));
        assert!(is_copy(10.000_01, 0, 0, 7));
        assert!(!is_copy(10.000_01, 1, 0, 7), "at another point");
        assert!(!is_copy(10.000_02, 0, 0, 8));
        assert!(!is_copy(10.000_03, 0, 5, 7), "a copy has the same id");
        assert!(!is_copy(10.002, 0, 0, 7), "sent again");
    }

    fn ip(id: u16) -> IpHeader {
        let (src, dst) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        IpHeader { src, dst, ttl: 64, id, dont_fragment: true, total_len: 1484 }
    }

    fn udp(payload: &[u8]) -> UdpDatagram<'_> {
        UdpDatagram { src_port: 5000, dst_port: 443, payload, payload_len: payload.len() as u32 }
    }
}
