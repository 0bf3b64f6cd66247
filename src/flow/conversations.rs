//! Conversations, numbered as tshark 4.0 numbers `tcp.stream` and `udp.stream`: an unordered 5-tuple from one opening to the next.
//! Promises memory within a cap. Refuses to know where a packet was captured.

use super::Protocol;
use super::hand::Hand;
use super::tuple::{Key, Tuple, hash_of};
use crate::chunks::Chunks;
use crate::packet::TcpSegment;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// All of them.
#[derive(Debug)]
pub(super) struct Conversations {
    /// So many are remembered.
    most: usize,
    hasher: RandomState,
    /// Slots of `list`, by 5-tuple.
    by_tuple: HashTable<u32>,
    list: Chunks<Conversation, 0x4000>,
    hand: Hand,
    next_number: u32,
    next_stream: [u32; 2],
    file: u16,
    /// How often one that flows may have found settled got another number or was forgotten: while it stays the same a packet
    /// need not look at its conversation, which saves a cache miss.
    changes: u32,
    /// Near the cap every use of one counts, for the idlest goes; before it need not be known who that is.
    is_crowded: bool,
}

/// What tshark keeps of a 5-tuple to number it.
#[derive(Debug)]
struct Conversation {
    key: Key,
    /// First sequence number of the low and the high end.
    base: [u32; 2],
    number: u32,
    stream: u32,
    used: u32,
    file: u16,
    client_is_low: bool,
    /// Of the low end's number, the high end's and the client a bit each.
    certain: u8,
}

impl Conversation {
    const BASES: u8 = 0b11;
    const CLIENT: u8 = 0b100;

    fn has_bases(&self) -> bool {
        self.certain & Conversation::BASES == Conversation::BASES
    }

    /// First sequence number of the low end, or of the high one, once known.
    fn base(&self, of_low: bool) -> Option<u32> {
        let end = usize::from(!of_low);
        self.base.get(end).copied().filter(|_| self.certain & 1 << end != 0)
    }

    /// Notes it, unless it is known.
    fn settle_base(&mut self, of_low: bool, first: u32) {
        let end = usize::from(!of_low);
        if let Some(base) = self.base.get_mut(end).filter(|_| self.certain & 1 << end == 0) {
            *base = first;
            self.certain |= 1 << end;
        }
    }
}

/// What a packet says about its connection.
#[derive(Clone, Copy)]
pub(super) struct Opening {
    pub(super) flags: u8,
    pub(super) seq: u32,
    pub(super) ack: u32,
    /// Quoted in an ICMP error: tshark takes the number, but no sequence numbers from it.
    pub(super) quoted: bool,
}

impl Opening {
    pub(super) const UDP: Opening = Opening { flags: 0, seq: 0, ack: 0, quoted: true };

    pub(super) fn is_syn(self) -> bool {
        self.flags & (TcpSegment::SYN | TcpSegment::ACK) == TcpSegment::SYN
    }

    /// SYN or SYN-ACK: is the sender the client?
    fn sender_is_client(self) -> Option<bool> {
        (self.flags & TcpSegment::SYN != 0).then_some(self.flags & TcpSegment::ACK == 0)
    }
}

impl Conversations {
    pub(super) fn new(most: usize) -> Conversations {
        Conversations {
            most,
            hasher: RandomState::default(),
            by_tuple: HashTable::new(),
            list: Chunks::default(),
            hand: Hand::default(),
            next_number: 0,
            next_stream: [0; 2],
            file: 0,
            changes: 1,
            is_crowded: false,
        }
    }

    /// The next file of a rotated set begins: streams count from 0 again.
    pub(super) fn start_file(&mut self) {
        self.file = self.file.wrapping_add(1);
        self.changes = self.changes.wrapping_add(1);
        self.next_stream = [0; 2];
    }

    #[inline]
    pub(super) fn changes(&self) -> u32 {
        self.changes
    }

    #[inline]
    pub(super) fn is_crowded(&self) -> bool {
        self.is_crowded
    }

    /// The number through all files and the stream in this one, of the conversation at a slot that [`Conversations::converse`] gave.
    pub(super) fn numbers(&mut self, slot: u32) -> (u32, u32) {
        let conversation = self.list.existing(slot);
        (conversation.number, conversation.stream)
    }

    /// Which end of it is the client, as far as anybody knows.
    pub(super) fn client_is_low(&mut self, slot: u32) -> bool {
        self.list.existing(slot).client_is_low
    }

    /// Can nothing about the conversation of that number change by packets that open nothing? Its use is noted.
    pub(super) fn settle(&mut self, slot: u32, number: u32, opening: Opening, packets: u32) -> bool {
        let Some(conversation) = self.list.get_mut(slot) else { return false };
        if conversation.number != number || conversation.file != self.file {
            return false;
        }
        conversation.used = packets;
        // UDP and quotes leave no numbers behind
        opening.quoted || conversation.has_bases()
    }

    /// Finds or makes the conversation of a packet and numbers it as tshark does; was it unknown?
    pub(super) fn converse(&mut self, tuple: &Tuple, from_low: bool, opening: Opening, packets: u32) -> (u32, bool) {
        let hash = hash_of(&self.hasher, tuple, 0);
        let list = &self.list;
        let same = |&slot: &u32| list.get(slot).is_some_and(|known| known.key.is(tuple));
        let found = self.by_tuple.find(hash, same).copied();
        let slot = found.unwrap_or_else(|| self.meet(tuple, from_low, hash, packets));
        let file = self.file;
        let protocol = tuple.protocol();
        let conversation = self.list.existing(slot);
        conversation.used = packets;

        // Only a SYN without ACK opens anew, and only when its sender's first number is known and another:
        // a retransmitted SYN, a SYN-ACK with a new number, a SYN after RST or FIN with the same number do not.
        let reopens = opening.is_syn() && conversation.base(from_low).is_some_and(|base| base != opening.seq);
        if reopens {
            conversation.number = self.next_number;
            self.next_number = self.next_number.saturating_add(1);
            self.changes = self.changes.wrapping_add(1);
            conversation.certain &= !Conversation::CLIENT;
        }
        // The next file knows nothing of this one's sequence numbers.
        if reopens || conversation.file != file {
            conversation.certain &= !Conversation::BASES;
            conversation.file = file;
            conversation.stream = take_next(&mut self.next_stream, protocol);
        }
        if opening.quoted {
            return (slot, found.is_none()); // a quoted packet sets no first number
        }
        let is_syn_or_syn_ack = opening.flags & TcpSegment::SYN != 0;
        let first = if is_syn_or_syn_ack { opening.seq } else { opening.seq.wrapping_sub(1) };
        conversation.settle_base(from_low, first); // midway: as if the SYN stood just before
        if opening.flags & TcpSegment::ACK != 0 {
            conversation.settle_base(!from_low, opening.ack.wrapping_sub(1)); // an ack tells the other side's number as well
        }
        if let Some(sender_is_client) =
            opening.sender_is_client().filter(|_| conversation.certain & Conversation::CLIENT == 0)
        {
            conversation.client_is_low = sender_is_client == from_low;
            conversation.certain |= Conversation::CLIENT;
        }
        (slot, found.is_none())
    }

    /// A 5-tuple never met before (or forgotten).
    fn meet(&mut self, tuple: &Tuple, from_low: bool, hash: u64, packets: u32) -> u32 {
        let (low, high) = tuple.ends();
        let conversation = Conversation {
            key: Key::new(tuple),
            base: [0; 2],
            number: self.next_number,
            stream: take_next(&mut self.next_stream, tuple.protocol()),
            file: self.file,
            used: packets,
            client_is_low: if low.port() == high.port() { from_low } else { low.port() > high.port() },
            certain: 0,
        };
        self.next_number = self.next_number.saturating_add(1);
        let slot = if self.list.len() < self.most {
            self.is_crowded = self.list.len() > self.most / 2;
            self.list.push(conversation)
        } else {
            let age = |known: &Conversation| packets.wrapping_sub(known.used);
            let slot = self.hand.idlest(&self.list, age);
            self.changes = self.changes.wrapping_add(1);
            let old = std::mem::replace(self.list.existing(slot), conversation);
            let old_hash = hash_of(&self.hasher, &old.key.tuple(), 0);
            if let Ok(entry) = self.by_tuple.find_entry(old_hash, |&other| other == slot) {
                entry.remove();
            }
            slot
        };
        let (list, hasher) = (&self.list, &self.hasher);
        let rehash = |&slot: &u32| list.get(slot).map_or(0, |known| hash_of(hasher, &known.key.tuple(), 0));
        self.by_tuple.insert_unique(hash, slot, rehash);
        slot
    }
}

fn take_next(next: &mut [u32; 2], protocol: Protocol) -> u32 {
    let [tcp, udp] = next;
    let next = if protocol == Protocol::Tcp { tcp } else { udp };
    let taken = *next;
    *next = next.saturating_add(1);
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Conversations {
        /// How many are remembered, all of them in the index.
        pub(in crate::flow) fn len(&self) -> usize {
            assert_eq!(self.by_tuple.len(), self.list.len());
            self.list.len()
        }
    }

    #[test]
    fn what_is_kept_of_each_is_small() {
        assert!(size_of::<Conversation>() <= 40, "{}", size_of::<Conversation>());
    }
}
