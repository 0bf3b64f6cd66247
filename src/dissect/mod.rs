//! Frames to events: drives packet, flow and tls, one frame at a time. The only room that knows all of mechanism.

mod copies;
mod datagram;
mod opened;
mod proxy;
mod stream;

use crate::capture::{Frame, LinkType};
use crate::decrypt::Keyring;
use crate::event::{
    CommonEnds, Direction, Ended, Endpoints, Ends, Event, FlowId, FrameRef, IcmpSeen, LARGE, Large, Opened, PointId,
    Refused, Rejection, Syn, TcpHandshake, Timestamp, TunnelPacket, What,
};
use crate::flow::table::{Flow, Table};
use crate::flow::{self, table, tcp};
use crate::packet::{self, Decoder, FragmentLosses, IpHeader, Packet, TcpSegment, Transport, Undecoded};
use copies::Copies;
use opened::{Keys, Plain};
use std::collections::BTreeMap;
use std::ops::Range;

/// Largest IP packet on a link whose MTU nobody told: what is longer was put together by offload (bytes).
const ETHERNET_MTU: u32 = 1500;

/// Caps of the mechanism below the waist.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// IP fragments.
    pub fragments: packet::Limits,
    /// Flows.
    pub flows: table::Limits,
    /// TCP reassembly.
    pub tcp: tcp::Limits,
}

/// What could not be decoded or kept.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    /// Frames without a transport header, by reason.
    pub undecoded: BTreeMap<Undecoded, u64>,
    /// Fragments.
    pub fragments: FragmentLosses,
    /// Flows evicted because of the cap.
    pub evicted_flows: u64,
    /// TLS streams in which the record boundaries were lost and found again.
    pub lost_syncs: u64,
    /// Packets put together by offload: such a size was never on the wire.
    pub super_frames: u64,
    /// DTLS handshake messages given up because their fragments did not fit the cap.
    pub handshakes_dropped: u64,
}

/// Turns one capture's frames into events.
pub struct Dissector {
    limits: Limits,
    decoder: Decoder,
    table: Table<State>,
    /// The same for packets taken out of decrypted tunnels: flows of their own, which Wireshark does not number.
    inner_decoder: Decoder,
    inner_table: Table<State>,
    carried: Carried,
    copies: Copies,
    room: [Vec<u8>; 2],
    losses: Losses,
    /// The point and what was seen there, by interface.
    interfaces: Vec<(PointId, Protocols)>,
}

/// Which protocols a capture point showed at all: what was filtered out shows nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocols {
    /// UDP.
    pub udp: bool,
    /// ICMP errors.
    pub icmp: bool,
    /// IP fragments.
    pub fragments: bool,
    /// TCP segments without data.
    pub bare_tcp: bool,
    /// Frames of anything but TCP.
    pub beyond_tcp: bool,
    /// Frames without ports other than ICMP, which no filter by port lets pass.
    pub portless: bool,
    /// What all its packets have in common.
    pub ends: CommonEnds,
}

impl Protocols {
    fn note(&mut self, packet: &Packet<'_>) {
        self.fragments |= packet.fragments > 0;
        self.portless |= packet.fragments > 0;
        self.ends.note(packet.ip.src, packet.ip.dst);
        self.beyond_tcp |= !matches!(packet.transport, Transport::Tcp(_));
        match packet.transport {
            Transport::Fragment { .. } => self.fragments = true,
            Transport::Udp(_) => self.udp = true,
            Transport::IcmpError(_) => self.icmp = true,
            Transport::Tcp(segment) => self.bare_tcp |= segment.payload_len == 0,
            _ => {}
        }
    }
}

/// What is kept per flow.
#[derive(Debug, Default)]
struct State {
    /// The waist knows this flow.
    is_opened: bool,
    /// The table took the ends the wrong way round; a hello told better.
    swapped: bool,
    /// First and last frame: number and capture apart, which takes less room.
    numbers: [u32; 2],
    captures: [u16; 2],
    packets: [u32; 2],
    last: [Option<Timestamp>; 2],
    ttl: [u8; 2],
    body: Body,
    seldom: Option<Box<Seldom>>,
}

/// What is kept of few flows.
#[derive(Debug, Default)]
struct Seldom {
    super_frames: u32,
    carrier: Option<FlowId>,
    from_adapter: Option<Direction>,
    /// When another flow of the same ports took its place.
    renewed: Option<Timestamp>,
}

impl State {
    /// The latest time any of its packets was captured, that which began another flow included.
    fn last(&self) -> Timestamp {
        let renewed = self.seldom.as_ref().and_then(|seldom| seldom.renewed);
        let [up, down] = self.last;
        up.max(down).max(renewed).unwrap_or_default()
    }

    /// Will nothing more be learned of it? It was closed, or never said anything, and has long been quiet.
    fn is_over(&self, now: Timestamp) -> bool {
        /// Nanoseconds without a packet: longer than any pause between two resends (at most 120 s in the systems in use).
        const QUIET: i64 = 300_000_000_000;
        let is_done = |tcp: &stream::Tcp| tcp.is_closed() || !self.is_opened && tcp.is_silent();
        now.nanos_since(self.last()) > QUIET && matches!(&self.body, Body::Tcp(tcp) if is_done(tcp))
    }

    fn first_frame(&self) -> FrameRef {
        let ([capture, _], [number, _]) = (self.captures, self.numbers);
        FrameRef { capture, number }
    }

    fn last_frame(&self) -> FrameRef {
        let ([_, capture], [_, number]) = (self.captures, self.numbers);
        FrameRef { capture, number }
    }

    fn carrier(&self) -> Option<FlowId> {
        self.seldom.as_ref()?.carrier
    }

    /// A packet was put together by offload.
    #[cold]
    fn add_super_frame(&mut self) {
        let count = &mut self.seldom.get_or_insert_default().super_frames;
        *count = count.saturating_add(1);
    }
}

/// The transport's own part of a flow.
#[derive(Debug, Default)]
enum Body {
    #[default]
    New,
    Tcp(Box<stream::Tcp>),
    Udp(datagram::Udp),
}

/// Where an event comes from.
#[derive(Clone, Copy)]
struct Place {
    at: Timestamp,
    frame: FrameRef,
    point: PointId,
    /// The tunnel it came out of.
    carrier: Option<FlowId>,
}

/// IP packets that one frame carried inside tunnels, to be taken when the frame itself is done.
#[derive(Default)]
struct Carried {
    bytes: Vec<u8>,
    packets: Vec<(FlowId, Direction, Range<usize>)>,
}

impl Carried {
    fn add(&mut self, flow: FlowId, direction: Direction, packet: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(packet);
        self.packets.push((flow, direction, start..self.bytes.len()));
    }
}

/// What packets are taken with.
struct Bench<'a> {
    limits: &'a Limits,
    losses: &'a mut Losses,
    keys: Keys<'a>,
    carried: &'a mut Carried,
    copies: &'a mut Copies,
}

#[cfg(test)]
impl Place {
    /// A place of no consequence at that moment, seconds.
    fn at(seconds: f64) -> Place {
        let (frame, point) = (FrameRef::default(), PointId::default());
        Place { at: Timestamp::default().plus_seconds(seconds), frame, point, carrier: None }
    }
}

impl Place {
    /// The flow's name above the waist, where those inside tunnels have every second number.
    fn id(self, id: FlowId) -> FlowId {
        FlowId(id.0.saturating_mul(2).saturating_add(u32::from(self.point.is_inside())))
    }

    fn event(self, what: What<'_>) -> Event<'_> {
        Event { at: self.at, frame: self.frame, point: self.point, what }
    }
}

impl Dissector {
    /// A dissector for one capture (or one rotated set).
    pub fn new(limits: Limits) -> Dissector {
        Dissector {
            limits,
            decoder: Decoder::new(limits.fragments),
            table: Table::with_ends(limits.flows, State::is_over),
            inner_decoder: Decoder::new(limits.fragments),
            inner_table: Table::with_ends(limits.flows, State::is_over),
            carried: Carried::default(),
            copies: Copies::default(),
            room: [Vec::new(), Vec::new()],
            losses: Losses::default(),
            interfaces: Vec::new(),
        }
    }

    /// The next file of a rotated set begins.
    pub fn start_file(&mut self) {
        self.table.start_file();
    }

    /// Takes one frame of that capture, seen at that point, with what it can be opened with.
    pub fn push(
        &mut self,
        frame: &Frame<'_>,
        capture: u16,
        point: PointId,
        keyring: &mut Keyring,
        sink: &mut impl FnMut(&Event<'_>),
    ) {
        let place = Place { at: frame.at, frame: FrameRef { capture, number: frame.number }, point, carrier: None };
        let interface = frame.interface as usize;
        if self.interfaces.len() <= interface {
            self.interfaces.resize(interface + 1, (point, Protocols::default()));
        }
        let Dissector { limits, decoder, table, losses, interfaces, carried, copies, room: [record, packet], .. } =
            self;
        let mut bench = Bench { limits, losses, keys: Keys { keyring, record, packet }, carried, copies };
        let Some((known, seen)) = interfaces.get_mut(interface) else { return };
        *known = point;
        let decoded = decoder.decode(frame, &mut |packet| {
            seen.note(&packet);
            take(table, &mut bench, place, &packet, sink);
        });
        if let Err(reason) = decoded {
            // A filter by host or for TCP lets no ARP or LLDP pass.
            if matches!(reason, Undecoded::NotIp | Undecoded::EtherType(_)) {
                (seen.ends, seen.beyond_tcp, seen.portless) = (CommonEnds::NONE, true, true);
            }
            *self.losses.undecoded.entry(reason).or_default() += 1;
        }
        if !self.carried.packets.is_empty() {
            self.push_inner(frame, place, sink);
        }
        while let Some(flow) = self.table.take_gone() {
            end(flow, &mut self.losses, sink);
        }
    }

    /// Takes the packets that a frame carried inside decrypted tunnels, as an inside capture would show them.
    #[cold]
    fn push_inner(&mut self, frame: &Frame<'_>, outer: Place, sink: &mut impl FnMut(&Event<'_>)) {
        let Some(point) = outer.point.inside() else { return };
        let Dissector { limits, inner_decoder, inner_table, losses, carried, copies, room: [record, packet], .. } =
            self;
        let Carried { bytes, packets } = std::mem::take(carried);
        // What is sealed inside the tunnel is nobody's business.
        let mut nothing = Keyring::new();
        let keys = Keys { keyring: &mut nothing, record, packet };
        let mut bench = Bench { limits, losses, keys, carried, copies };
        for (flow, direction, range) in &packets {
            let Some(data) = bytes.get(range.clone()) else { continue };
            sink(&outer.event(What::Inner(*flow, *direction, data)));
            let place = Place { point, carrier: Some(*flow), ..outer };
            let original_len = data.len() as u32;
            let inner = Frame { link: LinkType::RAW, data, original_len, ..*frame };
            // What is no IP packet in there is counted with the tunnel's packets.
            let _ = inner_decoder.decode(&inner, &mut |packet| take(inner_table, &mut bench, place, &packet, sink));
        }
        while let Some(flow) = self.inner_table.take_gone() {
            end(flow, &mut self.losses, sink);
        }
        let (mut bytes, mut packets) = (bytes, packets);
        bytes.clear();
        packets.clear();
        self.carried = Carried { bytes, packets };
    }

    /// Each interface's capture point and the protocols it showed.
    pub fn protocols(&self) -> impl Iterator<Item = (PointId, Protocols)> {
        self.interfaces.iter().copied()
    }

    /// The capture is over: tells what still waited, and the totals of every flow.
    pub fn finish(&mut self, sink: &mut impl FnMut(&Event<'_>)) -> Losses {
        let losses = &mut self.losses;
        self.table.finish(|flow| end(flow, losses, sink));
        self.inner_table.finish(|flow| end(flow, losses, sink));
        losses.evicted_flows = self.table.evicted() + self.inner_table.evicted();
        losses.fragments = self.decoder.fragment_losses();
        for incomplete in self.decoder.incomplete() {
            let point = self.interfaces.get(incomplete.interface as usize).map(|(point, _)| *point);
            let (frame, point) = (FrameRef::default(), point.unwrap_or_default());
            let place = Place { at: incomplete.first, frame, point, carrier: None };
            sink(&place.event(What::Incomplete(incomplete)));
        }
        std::mem::take(losses)
    }
}

fn take(
    table: &mut Table<State>,
    bench: &mut Bench<'_>,
    place: Place,
    packet: &Packet<'_>,
    sink: &mut impl FnMut(&Event<'_>),
) {
    let ip = &packet.ip;
    let point = u32::from(place.point.0);
    match &packet.transport {
        Transport::Tcp(segment) => {
            let (direction, flow) = table.tcp(point, place.at, ip, segment);
            let direction = count(&mut flow.state, place, packet, direction);
            // Apart from its flow, which is told of while its bytes are read.
            let mut tcp = match std::mem::take(&mut flow.state.body) {
                Body::Tcp(tcp) => tcp,
                _ => Box::default(),
            };
            stream::take(&mut tcp, &mut Told { flow, place, sink }, bench, packet, segment, direction);
            flow.state.body = Body::Tcp(tcp);
        }
        Transport::Udp(datagram) => {
            let (direction, mut flow) = table.udp(point, place.at, ip, datagram);
            if matches!(&flow.state.body, Body::Udp(udp) if udp.begins_anew(datagram)) {
                flow.state.seldom.get_or_insert_default().renewed = Some(place.at);
                let Some(renewed) = table.renew(point, place.at, ip, datagram) else { return };
                flow = renewed;
            }
            let is_dtls = matches!(&flow.state.body, Body::Udp(udp) if udp.is_dtls());
            if bench.copies.has_datagram(place.at, place.id(flow.id), direction, ip, datagram, is_dtls) {
                return;
            }
            let direction = count(&mut flow.state, place, packet, direction);
            let mut udp = match std::mem::take(&mut flow.state.body) {
                Body::Udp(udp) => udp,
                _ => datagram::Udp::default(),
            };
            datagram::take(&mut udp, &mut Told { flow, place, sink }, bench, packet, datagram, direction);
            flow.state.body = Body::Udp(udp);
        }
        // What a host tells itself, as on its loopback interface, never was on the wire.
        Transport::IcmpError(error) if ip.src != ip.dst => {
            if bench.copies.has_error(place.at, place.point, ip, error) {
                return;
            }
            let quotes = error.quoted.as_ref().and_then(|quoted| table.quoted(point, quoted));
            let quotes = quotes.map(|(direction, flow)| {
                let direction = if flow.state.swapped { direction.reverse() } else { direction };
                // Whoever a frag-needed is about is worth knowing.
                let mut told = Told { flow, place, sink };
                told.open();
                (told.id(), direction)
            });
            sink(&place.event(What::Icmp(IcmpSeen { error: *error, sender: ip.src, quotes })));
        }
        _ => {}
    }
}

/// Counts a packet and settles its direction.
fn count(state: &mut State, place: Place, packet: &Packet<'_>, direction: Direction) -> Direction {
    let direction = if state.swapped { direction.reverse() } else { direction };
    if state.packets == [0, 0] {
        (state.numbers[0], state.captures[0]) = (place.frame.number, place.frame.capture);
        if place.carrier.is_some() {
            state.seldom.get_or_insert_default().carrier = place.carrier;
        }
    }
    (state.numbers[1], state.captures[1]) = (place.frame.number, place.frame.capture);
    let packets = direction.of_mut(&mut state.packets);
    *packets = packets.saturating_add(1);
    let last = direction.of_mut(&mut state.last);
    *last = (*last).max(Some(place.at));
    let ttl = direction.of_mut(&mut state.ttl);
    if *ttl == 0 {
        *ttl = packet.ip.ttl;
    }
    if packet.from_adapter {
        state.seldom.get_or_insert_default().from_adapter.get_or_insert(direction);
    }
    direction
}

/// A flow, the frame that is about it, and who listens.
struct Told<'a, S> {
    flow: &'a mut Flow<State>,
    place: Place,
    sink: &'a mut S,
}

impl<S: FnMut(&Event<'_>)> Told<'_, S> {
    fn id(&self) -> FlowId {
        self.place.id(self.flow.id)
    }

    /// Makes the flow known above the waist, once.
    #[inline]
    fn open(&mut self) {
        if !self.flow.state.is_opened {
            self.introduce();
        }
    }

    #[cold]
    fn introduce(&mut self) {
        self.flow.state.is_opened = true;
        self.flow.keep_stream();
        let (id, opened) = (self.id(), self.opened(None));
        (self.sink)(&self.place.event(What::Opened(id, &opened)));
    }

    /// How the flow began, as far as it is known by now.
    fn opened(&self, handshake: Option<Box<TcpHandshake>>) -> Opened {
        let Endpoints { client, server } = self.flow.endpoints();
        let state = &self.flow.state;
        let (client, server) = if state.swapped { (server, client) } else { (client, server) };
        Opened {
            protocol: self.flow.protocol(),
            ends: Ends::new(Endpoints { client, server }),
            stream: self.flow.stream,
            first: self.flow.first,
            first_frame: state.first_frame(),
            handshake,
            ttl: state.ttl,
            from_adapter: state.seldom.as_ref().and_then(|seldom| seldom.from_adapter),
            carrier: state.carrier(),
        }
    }

    /// Tells an event about this flow.
    fn tell(&mut self, what: What<'_>) {
        self.open();
        (self.sink)(&self.place.event(what));
    }

    /// Tells a large DF packet.
    fn large(&mut self, ip: &IpHeader, direction: Direction, again: bool) {
        if ip.dont_fragment && ip.total_len >= LARGE {
            let large = Large { direction, ip_len: ip.total_len, again };
            self.tell(What::Large(self.id(), large));
        }
    }

    /// Tells what was read with keys.
    fn plain(&mut self, direction: Direction, plain: Plain<'_>, carried: &mut Carried) {
        let flow = self.id();
        match plain {
            Plain::Request(request) => self.tell(What::TunnelRequest(flow, &request)),
            Plain::Answer(answer) => self.tell(What::TunnelAnswer(flow, &answer)),
            Plain::Token(token) => self.tell(What::Token(flow, token)),
            Plain::Packet(kind, payload, ip) => {
                let len = payload.len() as u16;
                let packet = TunnelPacket { kind, len, payload: if ip.is_some() { &[] } else { payload } };
                self.tell(What::Tunnelled(flow, direction, packet));
                ip.into_iter().for_each(|ip| carried.add(flow, direction, ip));
            }
        }
    }
}

/// Was this packet put together by offload? It was never on the wire like that.
fn is_super_frame(ip: &IpHeader, payload_len: u32, mss: Option<u16>) -> bool {
    match mss {
        Some(mss) => payload_len > u32::from(mss),
        None => ip.total_len > ETHERNET_MTU,
    }
}

/// A flow leaves: the rest of its stream, then its totals.
fn end(mut flow: Flow<State>, losses: &mut Losses, sink: &mut impl FnMut(&Event<'_>)) {
    let point = PointId(flow.point as u16);
    let place = Place { at: flow.state.last(), frame: flow.state.last_frame(), point, carrier: None };
    let mut body = std::mem::take(&mut flow.state.body);
    let mut told = Told { flow: &mut flow, place, sink };
    let (unsealed, handshake) = match &mut body {
        Body::Tcp(tcp) => {
            stream::finish(tcp, &mut told, losses);
            (tcp.unsealed(), tcp.take_handshake())
        }
        Body::Udp(udp) => {
            losses.handshakes_dropped += udp.handshakes_dropped();
            (udp.unsealed(), None)
        }
        Body::New => (None, None),
    };
    if let Some(unsealed) = unsealed {
        told.tell(What::Unsealed(told.id(), unsealed));
    }
    let opened = told.opened(handshake);
    let state = &flow.state;
    if !state.is_opened {
        if let Some(refused) = refused(state, &body, &opened) {
            sink(&place.event(What::Refused(refused)));
        }
        return;
    }
    let mut ended = Ended {
        last: state.last(),
        last_frame: state.last_frame(),
        packets: state.packets,
        last_by_direction: state.last,
        ..Ended::default()
    };
    if let Body::Tcp(tcp) = &body {
        tcp.total(&opened, &mut ended);
    }
    losses.super_frames += state.seldom.as_ref().map_or(0, |seldom| u64::from(seldom.super_frames));
    sink(&place.event(What::Ended(place.id(flow.id), &opened, &ended)));
}

/// Was it a TCP connection on which nobody said anything, though somebody meant to?
fn refused(state: &State, body: &Body, opened: &Opened) -> Option<Refused> {
    /// Who only looks whether a port is open, as health checks and scanners do, closes it sooner, nanoseconds.
    const LOOK: i64 = 1_000_000_000;
    let Body::Tcp(tcp) = body else { return None };
    let (syn, is_answered) = (opened.syn()?, *Direction::ToClient.of(&state.packets) > 0);
    let how = match opened.syn_ack() {
        None if !is_answered => Rejection::Unanswered,
        None if tcp.is_closed() => Rejection::Reset,
        None => return None,
        Some(accepted) if tcp.is_closed() && state.last().nanos_since(accepted.at) < LOOK => return None,
        Some(_) if opened.third().is_none() => Rejection::Unacknowledged,
        Some(_) => Rejection::Wordless,
    };
    let Syn { at: first, frame, .. } = syn;
    Some(Refused { endpoints: opened.endpoints(), first, frame, last: state.last(), how })
}

/// A SYN's or SYN-ACK's facts.
fn syn(place: Place, segment: &TcpSegment<'_>) -> Syn {
    Syn { at: place.at, frame: place.frame, mss: segment.mss, timestamps: segment.timestamps }
}

/// The port a [`flow::Protocol`] number stands for in IP headers.
impl flow::Protocol {
    /// Protocol number in IP headers (IANA).
    pub fn number(self) -> u8 {
        match self {
            flow::Protocol::Tcp => 6,
            flow::Protocol::Udp => 17,
        }
    }
}
