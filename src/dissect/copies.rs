//! Which DTLS records of a handshake are copies of one just seen: a mirror port or a capture of several interfaces shows a frame twice.

use crate::event::{Direction, FlowId, Timestamp};
use crate::maps::hash;
use crate::tls::dtls::DtlsRecord;
use std::collections::VecDeque;

/// A copy follows its frame within this time; nobody sends again so soon (RFC 6347 §4.2.4.1: 1 s; RFC 9147 §5.8.2: 100 ms), nanoseconds.
const AT_ONCE: u64 = 50_000_000;
/// Records remembered: a copy comes microseconds later, before many others.
const MOST: usize = 16;

/// The latest records of handshakes, of all flows: what each was, and when.
#[derive(Debug, Default)]
pub(super) struct Copies(VecDeque<(u64, Timestamp)>);

impl Copies {
    /// Is it a record of that flow once more, byte by byte? What is sent again has a new number (RFC 6347 §4.1), or comes later.
    pub(super) fn has(&mut self, at: Timestamp, flow: FlowId, direction: Direction, record: &DtlsRecord<'_>) -> bool {
        let DtlsRecord { content_type, epoch, sequence, fragment, .. } = *record;
        let one = hash((flow, direction, content_type.0, epoch, sequence, fragment));
        let is_same = |(known, then): &(u64, Timestamp)| *known == one && at.nanos().abs_diff(then.nanos()) < AT_ONCE;
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
