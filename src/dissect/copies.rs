//! Which DTLS records of a handshake, and which TCP segments sent again, are copies of one just seen: a mirror port or a capture of
//! several interfaces shows a frame twice.

use crate::event::{Direction, FlowId, Timestamp};
use crate::maps::hash;
use crate::packet::TcpSegment;
use crate::tls::dtls::DtlsRecord;
use std::collections::VecDeque;

/// A copy follows its frame within this time; nobody sends again so soon (RFC 6347 §4.2.4.1: 1 s; RFC 9147 §5.8.2: 100 ms), nanoseconds.
const AT_ONCE: u64 = 50_000_000;
/// Nor a TCP segment so soon: the least retransmission timeout in use is 0.2 s, nanoseconds.
const SEGMENT_AT_ONCE: u64 = 10_000_000;
/// Nor so soon whatever makes it, as ICMP that tells of a narrower path does: where ids say nothing only time tells, nanoseconds.
const WITHOUT_ID: u64 = 1_000_000;
/// Records and segments remembered: a copy comes microseconds later, before many others.
const MOST: usize = 16;

/// The latest records of handshakes and segments sent again, of all flows: what each was, and when.
#[derive(Debug, Default)]
pub(super) struct Copies(VecDeque<(u64, Timestamp)>);

impl Copies {
    /// Is it a record of that flow once more, byte by byte? What is sent again has a new number (RFC 6347 §4.1), or comes later.
    pub(super) fn has(&mut self, at: Timestamp, flow: FlowId, direction: Direction, record: &DtlsRecord<'_>) -> bool {
        let DtlsRecord { content_type, epoch, sequence, fragment, .. } = *record;
        self.knows(hash((flow, direction, content_type.0, epoch, sequence, fragment)), at, AT_ONCE)
    }

    /// Is it a segment that was just sent again, once more? A sender that counts its IP ids gives each sending another.
    pub(super) fn has_segment(
        &mut self,
        at: Timestamp,
        flow: FlowId,
        direction: Direction,
        segment: &TcpSegment<'_>,
        id: u16,
    ) -> bool {
        let at_once = if id == 0 { WITHOUT_ID } else { SEGMENT_AT_ONCE };
        self.knows(hash((flow, direction, segment.seq, segment.payload_len, id)), at, at_once)
    }

    fn knows(&mut self, one: u64, at: Timestamp, at_once: u64) -> bool {
        let is_same = |(known, then): &(u64, Timestamp)| *known == one && at.nanos().abs_diff(then.nanos()) < at_once;
        if self.0.iter().any(is_same) {
            return true;
        }
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((one, at));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{ContentType, Version};

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
    fn a_record_once_more_is_a_copy_unless_it_is_sent_again() {
        let mut copies = Copies::default();
        let mut is_copy = |seconds: f64, flow, direction, sequence, fragment: &[u8]| {
            let (content_type, version, length) = (ContentType::HANDSHAKE, Version::DTLS_1_2, fragment.len() as u16);
            let record = DtlsRecord { content_type, version, epoch: 0, sequence, length, fragment };
            copies.has(Timestamp::default().plus_seconds(seconds), FlowId(flow), direction, &record)
        };
        let (up, down) = (Direction::ToServer, Direction::ToClient);
        assert!(!is_copy(10.0, 1, up, 0, b"hello"));
        assert!(is_copy(10.000_01, 1, up, 0, b"hello"));
        assert!(is_copy(9.999_99, 1, up, 0, b"hello"), "written out of order");
        assert!(!is_copy(10.000_02, 1, up, 1, b"hello"), "sent again, numbered anew");
        assert!(!is_copy(11.0, 1, up, 0, b"hello"), "sent again as it was");
        assert!(!is_copy(11.0, 1, up, 0, b"other"), "another handshake");
        assert!(!is_copy(11.0, 1, down, 0, b"hello"));
        assert!(!is_copy(11.0, 2, up, 0, b"hello"), "another flow");
    }
}
