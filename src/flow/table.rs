//! The flow table. A *conversation* is an unordered 5-tuple from one opening to the next and carries
//! Wireshark's number; a *flow* is one conversation as one capture point saw it. Promises `tcp.stream` and
//! `udp.stream` as tshark 4.0 counts them, memory within [`Limits`], one hash lookup per packet.
//! Refuses to look into payloads, and to lose a flow silently: see [`Table::take_gone`].

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::conversations::{Conversations, Opening};
use super::hand::{Hand, SAMPLE};
use super::tuple::{Key, Tuple, hash_of};
use super::{Direction, Endpoints, FlowId, Protocol};
use crate::capture::Timestamp;
use crate::chunks::Chunks;
use crate::packet::icmp::Quoted;
use crate::packet::{IpHeader, TcpSegment, UdpDatagram};

/// Caps of the table.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Flows kept at once, at least 1. Each takes about 60 bytes (IPv6: 100) and its state.
    /// Beyond it an idle flow is evicted.
    pub max_flows: usize,
    /// Conversations whose number is remembered, at least 1. Each takes about 60 bytes (IPv6: 100).
    /// Beyond it an idle one is forgotten, and would get a new number should it come back.
    pub max_conversations: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_flows: 1_000_000, max_conversations: 2_000_000 }
    }
}

/// One conversation as one capture point saw it, with the protocol's own state `S`.
#[derive(Debug)]
pub struct Flow<S> {
    key: Key,
    /// When its first packet was captured.
    pub first: Timestamp,
    /// Its index, never used twice.
    pub id: FlowId,
    /// Where it was captured, as the caller counts capture points.
    pub point: u32,
    /// `tcp.stream` or `udp.stream` in the file being read (the last one it was seen in), until [`Flow::keep_stream`].
    pub stream: u32,
    /// Flows of one conversation seen at several points share this number, counted from 0 through all files.
    pub conversation: u32,
    conversation_slot: u32,
    /// The table's count of changes when its conversation was last found settled.
    settled: u32,
    /// Packet count of the table when last used.
    used: u32,
    client_is_low: bool,
    keeps_stream: bool,
    /// Whatever the protocol keeps.
    pub state: S,
}

impl<S> Flow<S> {
    /// Who opened it and who answered.
    pub fn endpoints(&self) -> Endpoints {
        let (low, high) = self.key.tuple().ends();
        match self.client_is_low {
            true => Endpoints { client: low, server: high },
            false => Endpoints { client: high, server: low },
        }
    }

    /// TCP or UDP.
    pub fn protocol(&self) -> Protocol {
        self.key.tuple().protocol()
    }

    /// It is known by its stream number, which no file changes from now on.
    pub fn keep_stream(&mut self) {
        self.keeps_stream = true;
    }

    /// It goes on in that conversation, at that slot and of that stream number.
    fn go_on(&mut self, conversation: u32, slot: u32, stream: u32) {
        (self.conversation, self.conversation_slot) = (conversation, slot);
        if !self.keeps_stream {
            self.stream = stream;
        }
    }

    fn direction(&self, from_low: bool) -> Direction {
        if from_low == self.client_is_low { Direction::ToServer } else { Direction::ToClient }
    }
}

/// All flows and conversations of one run.
#[derive(Debug)]
pub struct Table<S> {
    limits: Limits,
    hasher: RandomState,
    /// Slots of `flows`, by 5-tuple and capture point; of several incarnations the newest.
    by_point: HashTable<u32>,
    flows: Chunks<Flow<S>, 0x8000>,
    /// Slot of the flow last used or added: packets come in trains, and the next one is often of the same.
    latest: u32,
    conversations: Conversations,
    /// Is a flow in that state over at that time, so that its place can be given to another?
    is_over: fn(&S, Timestamp) -> bool,
    /// So many new flows are kept before any that are over are looked for again.
    rest: usize,
    hand: Hand,
    gone: Vec<Flow<S>>,
    evicted: u64,
    next_flow: u32,
    packets: u32,
}

impl<S: Default> Default for Table<S> {
    fn default() -> Table<S> {
        Table::new(Limits::default())
    }
}

impl<S: Default> Table<S> {
    /// An empty table, in which every flow may go on.
    pub fn new(limits: Limits) -> Table<S> {
        Table::with_ends(limits, |_, _| false)
    }

    /// An empty table that gives the places of flows that are over to others: see [`Table::take_gone`].
    pub fn with_ends(limits: Limits, is_over: fn(&S, Timestamp) -> bool) -> Table<S> {
        let cap = |wanted: usize| wanted.clamp(1, u32::MAX as usize);
        let limits = Limits { max_flows: cap(limits.max_flows), max_conversations: cap(limits.max_conversations) };
        Table {
            limits,
            hasher: RandomState::default(),
            by_point: HashTable::new(),
            flows: Chunks::default(),
            latest: 0,
            conversations: Conversations::new(limits.max_conversations),
            is_over,
            rest: 0,
            hand: Hand::default(),
            gone: Vec::new(),
            evicted: 0,
            next_flow: 0,
            packets: 0,
        }
    }

    /// The flow of a TCP segment and the way it goes. A SYN with a new sequence number on a used 5-tuple
    /// starts a new conversation and a new flow.
    ///
    /// VLANs, tunnels and interfaces are not part of Wireshark's key: only `point` keeps flows apart.
    #[inline]
    pub fn tcp(&mut self, point: u32, at: Timestamp, ip: &IpHeader, tcp: &TcpSegment<'_>) -> (Direction, &mut Flow<S>) {
        let (tuple, from_low) = Tuple::new(Protocol::Tcp, ip.src, tcp.src_port, ip.dst, tcp.dst_port);
        let opening = Opening { flags: tcp.flags, seq: tcp.seq, ack: tcp.ack, quoted: false };
        self.packet(point, at, &tuple, from_low, opening)
    }

    /// The flow of a UDP datagram and the way it goes.
    #[inline]
    pub fn udp(
        &mut self,
        point: u32,
        at: Timestamp,
        ip: &IpHeader,
        udp: &UdpDatagram<'_>,
    ) -> (Direction, &mut Flow<S>) {
        let (tuple, from_low) = Tuple::new(Protocol::Udp, ip.src, udp.src_port, ip.dst, udp.dst_port);
        self.packet(point, at, &tuple, from_low, Opening::UDP)
    }

    /// The flow an ICMP error quotes, if that point saw it, and the way the quoted packet went. As in
    /// tshark a readable quote takes a stream index if its 5-tuple has none yet, or quotes a new SYN.
    pub fn quoted(&mut self, point: u32, quoted: &Quoted) -> Option<(Direction, &mut Flow<S>)> {
        let protocol = match quoted.protocol {
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            _ => return None,
        };
        let (src_port, dst_port) = quoted.ports?;
        let (tuple, from_low) = Tuple::new(protocol, quoted.src, src_port, quoted.dst, dst_port);
        let slot = self.find_flow(&tuple, point);
        if quoted.is_readable {
            let (seq, flags) = (quoted.tcp_seq.unwrap_or(0), quoted.tcp_flags.unwrap_or(0));
            let opening = Opening { flags, seq, ack: 0, quoted: true };
            let (conversation, is_fresh) = self.conversations.converse(&tuple, from_low, opening, self.packets);
            let (number, stream) = self.conversations.numbers(conversation);
            let flow = self.flows.get_mut(slot?)?;
            if is_fresh || flow.conversation == number {
                flow.go_on(number, conversation, stream);
            } else if opening.is_syn() {
                return None; // the SYN of a connection this point has not seen yet
            }
        }
        self.flows.get_mut(slot?).map(|flow| (flow.direction(from_low), flow))
    }

    /// How many flows are kept now.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Is no flow kept?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes out all flows, in the order of their ids as long as none had to go before. Conversations stay known.
    pub fn drain(&mut self, f: impl FnMut(Flow<S>)) {
        self.by_point.clear();
        self.hand = Hand::default();
        std::mem::take(&mut self.flows).into_iter().for_each(f);
    }

    /// The same when nothing comes any more: forgets all else first, so that there is room for what is made of the flows.
    pub fn finish(&mut self, f: impl FnMut(Flow<S>)) {
        self.by_point = HashTable::new();
        self.conversations = Conversations::new(self.limits.max_conversations);
        self.drain(f);
    }

    /// The next file of a rotated set begins: streams count from 0 again, as tshark would count that file
    /// alone, while flows go on.
    pub fn start_file(&mut self) {
        self.conversations.start_file();
    }

    /// A flow that was over, or had to make room. Ask after every packet until `None`: the table keeps them until taken.
    #[inline]
    pub fn take_gone(&mut self) -> Option<Flow<S>> {
        self.gone.pop()
    }

    /// How many flows had to make room so far, though they might have gone on.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    #[inline]
    fn packet(
        &mut self,
        point: u32,
        at: Timestamp,
        tuple: &Tuple,
        from_low: bool,
        opening: Opening,
    ) -> (Direction, &mut Flow<S>) {
        self.packets = self.packets.wrapping_add(1);
        let found = self.find_flow(tuple, point);
        let known = found.filter(|&slot| self.is_current(slot, opening));
        let slot = match known {
            Some(slot) => slot,
            None => self.open(found, point, at, tuple, from_low, opening),
        };
        self.latest = slot;
        let packets = self.packets;
        let flow = self.flows.existing(slot);
        flow.used = packets;
        (flow.direction(from_low), flow)
    }

    /// Nothing about this flow's conversation can change by this packet.
    #[inline]
    fn is_current(&mut self, slot: u32, opening: Opening) -> bool {
        let is_settled = self.flows.get(slot).is_some_and(|flow| flow.settled == self.conversations.changes());
        if is_settled && !self.conversations.is_crowded() && opening.flags & TcpSegment::SYN == 0 {
            return true;
        }
        self.settle(slot, opening)
    }

    /// The same, looking at the conversation.
    #[inline(never)]
    fn settle(&mut self, slot: u32, opening: Opening) -> bool {
        let Some(flow) = self.flows.get_mut(slot) else {
            return false;
        };
        let is_settled = self.conversations.settle(flow.conversation_slot, flow.conversation, opening, self.packets);
        if is_settled {
            flow.settled = self.conversations.changes();
        }
        is_settled && opening.flags & TcpSegment::SYN == 0
    }

    /// The rare case: settles the conversation first, then the flow.
    #[cold]
    fn open(
        &mut self,
        found: Option<u32>,
        point: u32,
        at: Timestamp,
        tuple: &Tuple,
        from_low: bool,
        opening: Opening,
    ) -> u32 {
        let (conversation_slot, is_fresh) = self.conversations.converse(tuple, from_low, opening, self.packets);
        let (number, stream) = self.conversations.numbers(conversation_slot);
        if let Some(slot) = found {
            let flow = self.flows.existing(slot);
            // A forgotten conversation gets a new number, yet its flow goes on unless this opens another.
            let forgotten = is_fresh && !opening.is_syn();
            if flow.conversation == number || forgotten {
                flow.go_on(number, conversation_slot, stream);
                return slot;
            }
        }
        self.add(tuple, point, at, conversation_slot)
    }

    /// Another flow in place of the datagram's, in the same conversation: UDP does not tell that its ports are used anew, but what it
    /// carries may. Ask right after [`Table::udp`].
    #[cold]
    pub fn renew(&mut self, point: u32, at: Timestamp, ip: &IpHeader, udp: &UdpDatagram<'_>) -> Option<&mut Flow<S>> {
        let (tuple, _) = Tuple::new(Protocol::Udp, ip.src, udp.src_port, ip.dst, udp.dst_port);
        let known = self.flows.get(self.find_flow(&tuple, point)?)?;
        let slot = self.add(&tuple, point, at, known.conversation_slot);
        self.flows.get_mut(slot)
    }

    /// Keeps a new flow of that conversation and enters it in the index, in place of an older one of the same 5-tuple and point.
    fn add(&mut self, tuple: &Tuple, point: u32, at: Timestamp, conversation_slot: u32) -> u32 {
        let (number, stream) = self.conversations.numbers(conversation_slot);
        let client_is_low = self.conversations.client_is_low(conversation_slot);
        let id = FlowId(self.next_flow);
        self.next_flow = self.next_flow.saturating_add(1);
        let slot = self.keep(Flow {
            key: Key::new(tuple),
            first: at,
            id,
            point,
            stream,
            conversation: number,
            conversation_slot,
            settled: 0,
            used: self.packets,
            client_is_low,
            keeps_stream: false,
            state: S::default(),
        });
        self.latest = slot;
        let hash = self.hash(tuple, point);
        let (flows, hasher) = (&self.flows, &self.hasher);
        let same = |&slot: &u32| flows.get(slot).is_some_and(|flow| flow.point == point && flow.key.is(tuple));
        if let Some(entry) = self.by_point.find_mut(hash, same) {
            *entry = slot; // a new incarnation: the old flow keeps its id and waits to be drained
        } else {
            let rehash = |&slot: &u32| flows.get(slot).map_or(0, |flow| hash_of(hasher, &flow.key.tuple(), flow.point));
            self.by_point.insert_unique(hash, slot, rehash);
        }
        slot
    }

    /// Finds a place for a new flow: that of one that is over, or a fresh one, or that of an idle one when there is none.
    fn keep(&mut self, flow: Flow<S>) -> u32 {
        let known = self.flows.len();
        let over = if known < MANY.min(self.limits.max_flows) { None } else { self.find_over(flow.first) };
        if over.is_none() && known < self.limits.max_flows {
            return self.flows.push(flow);
        }
        let slot = over.unwrap_or_else(|| {
            self.evicted += 1;
            let packets = self.packets;
            self.hand.idlest(&self.flows, |known| packets.wrapping_sub(known.used))
        });
        let old = std::mem::replace(self.flows.existing(slot), flow);
        let old_hash = self.hash(&old.key.tuple(), old.point);
        if let Ok(entry) = self.by_point.find_entry(old_hash, |&other| other == slot) {
            entry.remove();
        }
        self.gone.push(old);
        slot
    }

    /// One of the next few flows that is over at that time; looks at one for each that is kept when there are hardly any.
    fn find_over(&mut self, now: Timestamp) -> Option<u32> {
        if self.rest > 0 {
            self.rest -= 1;
            return None;
        }
        let (flows, is_over) = (&self.flows, self.is_over);
        let over =
            self.hand.next_few(flows.len()).find(|&slot| flows.get(slot).is_some_and(|flow| is_over(&flow.state, now)));
        match over {
            Some(slot) => self.hand.point_behind(slot), // those behind it are looked at next
            None => self.rest = SAMPLE,
        }
        over
    }

    #[inline]
    fn hash(&self, tuple: &Tuple, point: u32) -> u64 {
        hash_of(&self.hasher, tuple, point)
    }

    #[inline]
    fn find_flow(&self, tuple: &Tuple, point: u32) -> Option<u32> {
        let same = |&slot: &u32| self.flows.get(slot).is_some_and(|flow| flow.point == point && flow.key.is(tuple));
        if same(&self.latest) {
            return Some(self.latest);
        }
        self.by_point.find(self.hash(tuple, point), same).copied()
    }
}

/// Flows kept before the places of those that are over are given to others: two megabytes of them.
const MANY: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: u8 = TcpSegment::SYN;
    const ACK: u8 = TcpSegment::ACK;
    const SYN_ACK: u8 = SYN | ACK;
    const RST: u8 = TcpSegment::RST;
    const FIN: u8 = TcpSegment::FIN;

    /// One client, one server, one table; time stands still.
    struct Lab {
        table: Table<u32>,
        point: u32,
    }

    impl Lab {
        fn new() -> Lab {
            Lab::with(Limits::default())
        }

        fn with(limits: Limits) -> Lab {
            Lab { table: Table::new(limits), point: 0 }
        }

        fn tcp(
            &mut self,
            src: (&str, u16),
            dst: (&str, u16),
            seq: u32,
            ack: u32,
            flags: u8,
        ) -> (u32, FlowId, Direction) {
            let tcp = TcpSegment {
                src_port: src.1,
                dst_port: dst.1,
                seq,
                ack,
                flags,
                mss: None,
                window: 0xffff,
                timestamps: false,
                sacked: None,
                tsval: None,
                payload: &[],
                payload_len: 0,
            };
            let (direction, flow) = self.table.tcp(self.point, Timestamp::from_nanos(0), &header(src.0, dst.0), &tcp);
            flow.state += 1;
            (flow.stream, flow.id, direction)
        }

        fn udp(&mut self, src: (&str, u16), dst: (&str, u16)) -> (u32, FlowId, Direction) {
            let udp = UdpDatagram { src_port: src.1, dst_port: dst.1, payload: &[], payload_len: 0 };
            let (direction, flow) = self.table.udp(self.point, Timestamp::from_nanos(0), &header(src.0, dst.0), &udp);
            flow.state += 1;
            (flow.stream, flow.id, direction)
        }

        /// A segment from the client; its `tcp.stream`.
        fn c(&mut self, seq: u32, ack: u32, flags: u8) -> u32 {
            self.tcp(("10.0.0.1", 40000), ("10.0.0.2", 443), seq, ack, flags).0
        }

        /// A segment from the server; its `tcp.stream`.
        fn s(&mut self, seq: u32, ack: u32, flags: u8) -> u32 {
            self.tcp(("10.0.0.2", 443), ("10.0.0.1", 40000), seq, ack, flags).0
        }

        fn quoted(&mut self, quoted: &Quoted) -> Option<(Direction, FlowId)> {
            self.table.quoted(self.point, quoted).map(|(direction, flow)| (direction, flow.id))
        }

        fn quote(&mut self, protocol: u8, is_readable: bool) -> Option<(Direction, FlowId)> {
            self.quoted(&quoted(protocol, is_readable))
        }

        /// A flow by its id, if it is still kept.
        fn flow(&self, id: FlowId) -> Option<&Flow<u32>> {
            (0..self.table.len() as u32).filter_map(|slot| self.table.flows.get(slot)).find(|flow| flow.id == id)
        }

        /// A quoted SYN of the client.
        fn quote_syn(&mut self, seq: u32) -> Option<(Direction, FlowId)> {
            let syn = Quoted { tcp_seq: Some(seq), tcp_flags: Some(SYN), ..quoted(6, true) };
            self.quoted(&syn)
        }

        /// The next unused `tcp.stream` and `udp.stream`, found by using them up.
        fn next(&mut self) -> (u32, u32) {
            let tcp = self.tcp(("10.9.9.9", 1), ("10.9.9.8", 2), 1, 0, SYN).0;
            (tcp, self.udp(("10.9.9.9", 1), ("10.9.9.8", 2)).0)
        }
    }

    fn header(src: &str, dst: &str) -> IpHeader {
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        IpHeader { src, dst, ttl: 64, id: 0, dont_fragment: true, total_len: 40 }
    }

    fn quoted(protocol: u8, is_readable: bool) -> Quoted {
        Quoted {
            src: "10.0.0.1".parse().unwrap(),
            dst: "10.0.0.2".parse().unwrap(),
            protocol,
            ports: Some((40000, 443)),
            tcp_seq: Some(1000),
            tcp_flags: Some(ACK),
            is_readable,
            total_len: 1418,
            dont_fragment: true,
            id: 0,
        }
    }

    #[test]
    fn sizes_are_small() {
        assert!(size_of::<Flow<()>>() <= 56, "{}", size_of::<Flow<()>>());
    }

    // Each of the following was measured on tshark 4.0.17 with made captures.

    #[test]
    fn syn_retransmitted_or_new() {
        let mut lab = Lab::new();
        assert_eq!([lab.c(100, 0, SYN), lab.c(100, 0, SYN), lab.c(200, 0, SYN), lab.c(100, 0, SYN)], [0, 0, 1, 2]);
    }

    #[test]
    fn syn_ack_never_opens() {
        let mut lab = Lab::new();
        assert_eq!([lab.c(100, 0, SYN), lab.s(500, 101, SYN_ACK), lab.s(600, 101, SYN_ACK)], [0, 0, 0]);
        let mut lab = Lab::new();
        assert_eq!([lab.s(500, 101, SYN_ACK), lab.s(600, 101, SYN_ACK), lab.c(100, 0, SYN)], [0, 0, 0]);
    }

    #[test]
    fn syn_after_midway_start() {
        for (seq, stream) in [(999, 0), (1000, 1), (5000, 1)] {
            let mut lab = Lab::new();
            assert_eq!([lab.c(1000, 5, ACK), lab.c(seq, 0, SYN)], [0, stream]);
        }
    }

    #[test]
    fn ack_tells_the_other_sides_first_number() {
        for (ack, flags, seq, stream) in
            [(1000, ACK, 999, 0), (1000, ACK, 5000, 1), (0, RST, 5000, 0), (0, ACK, 5000, 1)]
        {
            let mut lab = Lab::new();
            assert_eq!([lab.s(5, ack, flags), lab.c(seq, 0, SYN)], [0, stream]);
        }
    }

    #[test]
    fn syn_from_the_other_side() {
        let mut lab = Lab::new(); // simultaneous open (RFC 9293 §3.5)
        assert_eq!(
            [lab.c(100, 0, SYN), lab.s(500, 0, SYN), lab.c(100, 501, SYN_ACK), lab.s(500, 101, SYN_ACK)],
            [0; 4]
        );
        let mut lab = Lab::new();
        assert_eq!(
            [lab.c(100, 0, SYN), lab.s(500, 101, SYN_ACK), lab.s(500, 0, SYN), lab.s(700, 0, SYN)],
            [0, 0, 0, 1]
        );
    }

    #[test]
    fn rst_and_fin_do_not_end_a_stream() {
        let mut lab = Lab::new();
        assert_eq!([lab.c(100, 0, SYN), lab.s(0, 101, RST | ACK), lab.c(100, 0, SYN)], [0; 3]);
        let mut lab = Lab::new();
        assert_eq!(
            [lab.c(100, 0, SYN), lab.c(101, 1, FIN | ACK), lab.s(500, 102, FIN | ACK), lab.c(100, 0, SYN)],
            [0; 4]
        );
        let mut lab = Lab::new(); // the RST's number became the server's first
        assert_eq!([lab.c(100, 0, SYN), lab.s(0, 101, RST | ACK), lab.s(500, 0, SYN)], [0, 0, 1]);
    }

    #[test]
    fn other_flags_beside_syn_do_not_matter() {
        for flags in [SYN | FIN, SYN | RST, SYN | 0xc0, SYN | 0x28] {
            let mut lab = Lab::new();
            assert_eq!([lab.c(100, 0, SYN), lab.c(300, 0, flags), lab.c(300, 0, flags)], [0, 1, 1]);
        }
    }

    #[test]
    fn late_packets_belong_to_the_newest_stream() {
        let mut lab = Lab::new();
        assert_eq!([lab.c(100, 0, SYN), lab.c(200, 0, SYN), lab.s(501, 101, ACK), lab.c(101, 502, ACK)], [0, 1, 1, 1]);
    }

    #[test]
    fn a_renewed_flow_keeps_its_stream_and_takes_the_packets() {
        let mut lab = Lab::new();
        let (a, b) = (("10.0.0.1", 50_123), ("10.0.0.2", 443));
        let (stream, first, _) = lab.udp(a, b);
        let datagram = UdpDatagram { src_port: a.1, dst_port: b.1, payload: &[], payload_len: 0 };
        let renewed = lab.table.renew(0, Timestamp::from_nanos(5), &header(a.0, b.0), &datagram);
        let renewed = renewed.map(|flow| (flow.stream, flow.id)).unwrap();
        assert_eq!(renewed.0, stream);
        assert_ne!(renewed.1, first);
        assert_eq!([lab.udp(a, b).1, lab.udp(b, a).1], [renewed.1; 2]);
        let mut left = Vec::new();
        lab.table.drain(|flow| left.push(flow.id));
        assert_eq!(left, [first, renewed.1]);
    }

    #[test]
    fn equal_ends_are_one_side() {
        let mut lab = Lab::new();
        let end = ("10.0.0.1", 443);
        let mut send = |seq, ack, flags| lab.tcp(end, end, seq, ack, flags).0;
        assert_eq!([send(1, 0, SYN), send(1, 0, SYN), send(9, 0, SYN), send(900, 10, SYN_ACK)], [0, 0, 1, 1]);
        let mut lab = Lab::new();
        let mut send = |seq, ack, flags| lab.tcp(end, end, seq, ack, flags).0;
        assert_eq!([send(1, 77, ACK), send(76, 0, SYN), send(0, 0, SYN)], [0, 1, 2]);
    }

    #[test]
    fn port_0_is_a_port() {
        let mut lab = Lab::new();
        let (a, b) = (("10.0.0.1", 0), ("10.0.0.2", 443));
        assert_eq!([lab.udp(a, b).0, lab.udp(b, a).0, lab.udp(a, ("10.0.0.2", 0)).0], [0, 0, 1]);
        assert_eq!([lab.tcp(a, b, 1, 0, SYN).0, lab.tcp(b, a, 1, 2, SYN_ACK).0], [0, 0]);
    }

    #[test]
    fn ports_belong_to_their_addresses() {
        let mut lab = Lab::new();
        let (a5, a6, b5, b6) = (("10.0.0.1", 5), ("10.0.0.1", 6), ("10.0.0.2", 5), ("10.0.0.2", 6));
        assert_eq!([lab.udp(a5, b6).0, lab.udp(b6, a5).0, lab.udp(a6, b5).0, lab.udp(b5, a6).0], [0, 0, 1, 1]);
    }

    #[test]
    fn tcp_and_udp_are_counted_apart_and_ipv6_from_mapped_ipv4() {
        let mut lab = Lab::new();
        assert_eq!(lab.c(1, 0, SYN), 0);
        assert_eq!(lab.udp(("10.0.0.1", 40000), ("10.0.0.2", 443)).0, 0);
        assert_eq!(lab.udp(("::ffff:10.0.0.1", 40000), ("::ffff:10.0.0.2", 443)).0, 1);
    }

    #[test]
    fn points_share_the_stream_but_not_the_flow() {
        let mut lab = Lab::new();
        assert_eq!(lab.c(100, 0, SYN), 0);
        lab.point = 1;
        assert_eq!(lab.c(100, 0, SYN), 0);
        assert_eq!(lab.table.len(), 2);
        assert_eq!(lab.c(200, 0, SYN), 1);
        lab.point = 0;
        let (stream, id, _) = lab.tcp(("10.0.0.1", 40000), ("10.0.0.2", 443), 200, 0, SYN);
        assert_eq!((stream, id), (1, FlowId(3)));
        let conversations: Vec<u32> = (0..4).map(|id| lab.flow(FlowId(id)).unwrap().conversation).collect();
        assert_eq!(conversations, [0, 0, 1, 1]);
    }

    #[test]
    fn enough_of_a_quote_takes_an_index() {
        for (protocol, readable, next) in
            [(6, false, (0, 0)), (6, true, (1, 0)), (17, false, (0, 0)), (17, true, (0, 1)), (1, true, (0, 0))]
        {
            let mut lab = Lab::new();
            assert_eq!(lab.quote(protocol, readable), None);
            assert_eq!(lab.next(), next, "protocol {protocol}, readable {readable}");
        }
    }

    #[test]
    fn quote_and_real_packet_share_the_index() {
        let mut lab = Lab::new();
        lab.quote(17, true);
        lab.next();
        assert_eq!(lab.udp(("10.0.0.2", 443), ("10.0.0.1", 40000)).0, 0);
    }

    #[test]
    fn quote_sets_no_first_number() {
        let mut lab = Lab::new();
        lab.quote(6, true);
        assert_eq!([lab.c(5000, 0, SYN), lab.c(5001, 0, SYN)], [0, 1]);
    }

    #[test]
    fn quoted_syn_opens_anew() {
        let mut lab = Lab::new();
        assert_eq!(lab.c(100, 0, SYN), 0);
        assert_eq!(lab.quote_syn(200), None);
        assert_eq!([lab.c(201, 0, ACK), lab.c(200, 0, SYN)], [1, 1]);
        assert_eq!(lab.quote_syn(200), Some((Direction::ToServer, FlowId(1))));
        assert_eq!(lab.c(100, 0, SYN), 2);
        let mut lab = Lab::new(); // and forgets the first numbers, so that any SYN goes on
        assert_eq!(lab.c(100, 0, SYN), 0);
        lab.quote_syn(200);
        lab.quote_syn(100);
        assert_eq!([lab.c(300, 0, SYN), lab.c(300, 0, SYN), lab.c(100, 0, SYN)], [1, 1, 2]);
        let mut lab = Lab::new();
        lab.quote_syn(200);
        lab.quote_syn(300);
        assert_eq!([lab.c(300, 0, SYN), lab.c(400, 0, SYN)], [0, 1]);
    }

    #[test]
    fn quote_finds_flow_and_direction() {
        let mut lab = Lab::new();
        lab.c(100, 0, SYN);
        assert_eq!(lab.quote(6, false), Some((Direction::ToServer, FlowId(0))));
        let back = Quoted {
            src: "10.0.0.2".parse().unwrap(),
            dst: "10.0.0.1".parse().unwrap(),
            ports: Some((443, 40000)),
            ..quoted(6, true)
        };
        assert_eq!(lab.quoted(&back), Some((Direction::ToClient, FlowId(0))));
        lab.point = 1;
        assert_eq!(lab.quoted(&back), None);
    }

    #[test]
    fn client_is_who_opened() {
        let (low, high) = (("10.0.0.1", 443), ("10.0.0.2", 40000));
        let mut lab = Lab::new();
        assert_eq!(lab.tcp(low, high, 1, 0, SYN).2, Direction::ToServer); // against the ports
        lab.point = 1;
        assert_eq!(lab.tcp(high, low, 9, 2, ACK).2, Direction::ToClient); // known from point 0
        let mut lab = Lab::new();
        assert_eq!(lab.tcp(high, low, 9, 2, SYN_ACK).2, Direction::ToClient);
        let mut lab = Lab::new();
        assert_eq!(lab.tcp(low, high, 9, 2, ACK).2, Direction::ToClient); // by the ports
        assert_eq!(lab.udp(low, high).2, Direction::ToClient);
        assert_eq!(lab.udp(("10.0.0.2", 7), ("10.0.0.1", 7)).2, Direction::ToServer); // by who was first
        let endpoints = lab.flow(FlowId(1)).unwrap().endpoints();
        assert_eq!(endpoints.client, "10.0.0.2:40000".parse().unwrap());
        assert_eq!(endpoints.server, "10.0.0.1:443".parse().unwrap());
    }

    #[test]
    fn ipv6_ends_survive_packing() {
        let mut lab = Lab::new();
        lab.udp(("2001:db8::2", 40000), ("2001:db8::1", 443));
        let flow = lab.flow(FlowId(0)).unwrap();
        assert_eq!(flow.endpoints().client, "[2001:db8::2]:40000".parse().unwrap());
        assert_eq!(flow.endpoints().server, "[2001:db8::1]:443".parse().unwrap());
        assert_eq!(flow.protocol(), Protocol::Udp);
    }

    #[test]
    fn next_file_counts_anew_and_flows_go_on() {
        let mut lab = Lab::new();
        lab.next();
        assert_eq!([lab.c(100, 0, SYN), lab.s(500, 101, SYN_ACK)], [1, 1]);
        lab.table.start_file();
        let (stream, id, _) = lab.tcp(("10.0.0.1", 40000), ("10.0.0.2", 443), 101, 501, ACK);
        assert_eq!((stream, id), (0, FlowId(2)));
        assert_eq!(lab.next(), (1, 0));
        lab.table.start_file();
        let (stream, id, _) = lab.tcp(("10.0.0.1", 40000), ("10.0.0.2", 443), 900, 0, SYN);
        assert_eq!((stream, id), (0, FlowId(3))); // another connection, though the first this file sees
    }

    #[test]
    fn quote_may_come_first_in_the_next_file() {
        let mut lab = Lab::new();
        assert_eq!(lab.c(100, 0, SYN), 0);
        lab.table.start_file();
        lab.next();
        assert_eq!(lab.quote(6, true), Some((Direction::ToServer, FlowId(0))));
        assert_eq!(lab.flow(FlowId(0)).map(|flow| flow.stream), Some(1));
        assert_eq!(lab.c(101, 501, ACK), 1);
    }

    #[test]
    fn eviction_takes_idle_flows_and_hands_them_out() {
        let mut lab = Lab::with(Limits { max_flows: 20, max_conversations: 1000 });
        let mut seen = Vec::new();
        for port in 0..500 {
            lab.udp(("10.0.0.1", 1000 + port), ("10.0.0.2", 53));
            let (stream, id, _) = lab.udp(("10.0.0.3", 1), ("10.0.0.4", 2)); // never idle
            assert_eq!((stream, id), (1, FlowId(1)));
            seen.extend(std::iter::from_fn(|| lab.table.take_gone()));
            assert_eq!(lab.table.len() + seen.len(), port as usize + 2);
        }
        assert_eq!(lab.table.evicted(), 481);
        assert!(seen.iter().all(|flow| lab.flow(flow.id).is_none()));
        let (stream, id, _) = lab.udp(("10.0.0.1", 1000), ("10.0.0.2", 53)); // evicted, its number is known
        assert_eq!((stream, id), (0, FlowId(501)));
        seen.extend(std::iter::from_fn(|| lab.table.take_gone()));
        let mut ids = Vec::new();
        lab.table.drain(|flow| ids.push(flow.id));
        ids.extend(seen.iter().map(|flow| flow.id));
        ids.sort();
        assert_eq!(ids, (0..502).map(FlowId).collect::<Vec<_>>());
    }

    #[test]
    fn flows_that_are_over_make_room_before_the_cap() {
        let mut lab = Lab { table: Table::with_ends(Limits::default(), |packets, _| *packets == 2), point: 0 };
        let many = MANY as u16;
        for port in 0..3 * many {
            let (stream, id, _) = lab.udp(("10.0.0.1", port), ("10.0.0.2", 53));
            assert_eq!((stream, id), (u32::from(port), FlowId(u32::from(port))));
            if port < many {
                lab.udp(("10.0.0.1", port), ("10.0.0.2", 53)); // and over it is
            }
        }
        // As many came as went until all that were over were gone; the others were kept, and none counts as evicted.
        let gone: Vec<u32> = std::iter::from_fn(|| lab.table.take_gone()).map(|flow| flow.state).collect();
        assert_eq!(gone, [2; MANY]);
        assert_eq!((lab.table.len(), lab.table.evicted()), (2 * MANY, 0));
        let (stream, id, _) = lab.udp(("10.0.0.1", 0), ("10.0.0.2", 53));
        assert_eq!((stream, id), (0, FlowId(3 * u32::from(many))));
        assert_eq!(lab.udp(("10.0.0.1", many), ("10.0.0.2", 53)).1, FlowId(u32::from(many)));
    }

    #[test]
    fn forgotten_conversation_keeps_its_flow() {
        let mut lab = Lab::with(Limits { max_flows: 1000, max_conversations: 4 });
        lab.c(100, 0, SYN);
        for port in 0..20 {
            lab.udp(("10.0.0.1", 1000 + port), ("10.0.0.2", 53));
        }
        let (stream, id, direction) = lab.tcp(("10.0.0.2", 443), ("10.0.0.1", 40000), 500, 101, ACK);
        assert_eq!((stream, id, direction), (1, FlowId(0), Direction::ToClient));
        assert_eq!(lab.table.conversations.len(), 4);
    }

    #[test]
    fn drained_table_starts_over() {
        let mut lab = Lab::new();
        lab.c(100, 0, SYN);
        let mut states = Vec::new();
        lab.table.drain(|flow| states.push(flow.state));
        assert_eq!(states, [1]);
        assert!(lab.table.is_empty() && lab.flow(FlowId(0)).is_none());
        let (stream, id, _) = lab.tcp(("10.0.0.1", 40000), ("10.0.0.2", 443), 101, 1, ACK);
        assert_eq!((stream, id), (0, FlowId(1)));
        assert_eq!(lab.flow(id).map(|flow| flow.state), Some(1));
    }

    proptest::proptest! {
        #[test]
        fn any_traffic_stays_within_the_limits(
            steps in proptest::collection::vec(proptest::prelude::any::<(u8, u8, u8, u8, u8)>(), 0..400),
            max_flows in 0..8usize,
            max_conversations in 0..8usize,
        ) {
            let mut lab = Lab::with(Limits { max_flows, max_conversations });
            let mut out = 0;
            let mut last = None;
            for (host, port, seq, flags, action) in steps {
                let (a, b) = (format!("10.0.0.{}", host % 4), format!("10.0.0.{}", host / 4 % 4));
                lab.point = u32::from(action % 3);
                match action % 17 {
                    0 => lab.table.start_file(),
                    1..5 => { lab.quote(6 + 11 * (port % 2), seq % 2 == 0); }
                    5..9 => last = Some(lab.udp((&a, u16::from(port % 2)), (&b, 7)).1),
                    _ => last = Some(lab.tcp((&a, u16::from(port % 2)), (&b, 7), u32::from(seq % 4), 1, flags).1),
                }
                out += std::iter::from_fn(|| lab.table.take_gone()).count();
                proptest::prop_assert!(lab.table.len() <= max_flows.max(1));
                proptest::prop_assert!(lab.table.conversations.len() <= max_conversations.max(1));
                proptest::prop_assert!(last.is_none_or(|id| lab.flow(id).is_some()));
                proptest::prop_assert!(lab.table.by_point.len() <= lab.table.len());
            }
            proptest::prop_assert_eq!(out as u64, lab.table.evicted());
            let total = lab.table.next_flow as usize;
            lab.table.drain(|_| out += 1);
            proptest::prop_assert_eq!(out, total);
        }
    }
}
