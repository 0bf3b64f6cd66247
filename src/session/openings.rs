//! TCP connections that open inside a tunnel, told by the lengths of its records: SYN, SYN-ACK and ACK one after the other.

use crate::event::Direction::{self, ToClient, ToServer};

/// Inner lengths of a TCP segment without data: IPv4 or IPv6, none, timestamps, or SACK options too; and of a SYN.
pub(super) const INNER_ACKS: [u16; 8] = [40, 52, 60, 64, 72, 76, 80, 84];

/// A SYN in use (Windows; Linux; Apple), by its IP length, and the ACK that ends an opening which such a one began or answered.
struct Syn {
    length: u8,
    ack: u8,
    /// It offers timestamps.
    stamped: bool,
    v6: bool,
}

const SYNS: [Syn; 6] = [
    Syn { length: 52, ack: 40, stamped: false, v6: false },
    Syn { length: 60, ack: 52, stamped: true, v6: false },
    Syn { length: 64, ack: 52, stamped: true, v6: false },
    Syn { length: 72, ack: 60, stamped: false, v6: true },
    Syn { length: 80, ack: 72, stamped: true, v6: true },
    Syn { length: 84, ack: 72, stamped: true, v6: true },
];

/// How many have opened, and how far the next one is; in two bytes, for it is kept of every connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Openings {
    count: u8,
    /// The length of what may be a SYN; or of the ACK that is to come, with [`ANSWERED`]; or 0.
    stage: u8,
}

/// What may be a SYN-ACK came back.
const ANSWERED: u8 = 0x80;

impl Openings {
    /// So many are no chance.
    const ENOUGH: u8 = 2;

    /// Did so many open that it is no chance?
    pub(super) fn are_enough(self) -> bool {
        self.count >= Openings::ENOUGH
    }

    /// Something else tells as much.
    pub(super) fn suffice(&mut self) {
        self.count = self.count.max(Openings::ENOUGH);
    }

    /// Notes an inner packet of that IP length. Of several that open at a time, one is counted.
    pub(super) fn note(&mut self, way: Direction, length: u16) {
        let length = u8::try_from(length).ok().filter(|length| length & ANSWERED == 0).unwrap_or(0);
        let syn = syn(length);
        self.stage = match (way, self.stage) {
            (ToServer, stage) if stage == ANSWERED | length => {
                self.count = self.count.saturating_add(1);
                0
            }
            (ToServer, _) => syn.map_or(0, |syn| syn.length),
            (ToClient, stage) if stage & ANSWERED == 0 => answer(stage, syn).map_or(0, |ack| ANSWERED | ack),
            // Those of other connections that open meanwhile.
            (ToClient, stage) => syn.map_or(0, |_| stage),
        };
    }
}

fn syn(length: u8) -> Option<&'static Syn> {
    SYNS.iter().find(|syn| syn.length == length)
}

/// The ACK to come, where that SYN-ACK answers a SYN of that length: nobody answers with timestamps who was not offered any
/// (RFC 7323 §3.2).
fn answer(asked: u8, answer: Option<&Syn>) -> Option<u8> {
    let (asked, answer) = (syn(asked)?, answer?);
    (asked.v6 == answer.v6 && (asked.stamped || !answer.stamped)).then_some(answer.ack)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(lengths: &[(Direction, u16)]) -> u8 {
        let mut openings = Openings::default();
        lengths.iter().for_each(|(way, length)| openings.note(*way, *length));
        openings.count
    }

    #[test]
    fn a_connection_opens_with_three_packets_of_lengths_that_go_together() {
        let three = |syn, syn_ack, ack| opened(&[(ToServer, syn), (ToClient, syn_ack), (ToServer, ack)]);
        assert_eq!([three(60, 60, 52), three(52, 52, 40), three(64, 60, 52), three(60, 52, 40)], [1; 4]);
        assert_eq!([three(80, 80, 72), three(72, 72, 60)], [1; 2], "IPv6");
        assert_eq!(three(52, 60, 52), 0, "timestamps that nobody offered");
        assert_eq!(three(60, 60, 40), 0, "timestamps were agreed on");
        assert_eq!(three(60, 80, 72), 0, "an IPv6 answer to IPv4");
        assert_eq!(three(61, 60, 52), 0);
        assert_eq!(three(52, 52, 168), 0, "no ACK");
    }

    #[test]
    fn several_at_a_time_count_as_one_and_what_comes_between_breaks_them() {
        let (syn, syn_ack, ack) = ((ToServer, 60), (ToClient, 60), (ToServer, 52));
        assert_eq!(opened(&[syn, syn, syn_ack, syn_ack, ack, ack]), 1);
        assert_eq!(opened(&[syn, (ToClient, 90), syn_ack, ack]), 0);
        assert_eq!(opened(&[syn, syn_ack, (ToServer, 90), ack]), 0);
        assert_eq!(opened(&[ack, ack, ack, syn_ack]), 0, "ACKs alone open nothing");
    }
}
