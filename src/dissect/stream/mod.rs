//! TCP: segments to an ordered stream, the stream to TLS records and handshakes.

mod reading;
mod seldom;

use super::opened::Keys;
use super::{Bench, Carried, Limits, Losses, Place, Told, is_super_frame, syn};
use crate::decrypt::Keyring;
use crate::event::{
    Direction, Ended, Event, LARGE, ONE_PLACE, Opened, SeldomInEnded, Syn, TcpHandshake, Timestamp, Unsealed, Vanished,
    What,
};
use crate::flow::probe::{SizeProbe, SizesByDirection};
use crate::flow::tcp::{Kind, Mark, TcpStream};
use crate::packet::{Packet, TcpSegment};
use reading::{Reading, Seen, Tls, read};
use seldom::{Holes, Seldom};

/// A TCP flow.
#[derive(Debug, Default)]
pub(super) struct Tcp {
    /// What was seen of it: nothing of a connection that began before the capture.
    handshake: Option<Box<TcpHandshake>>,
    // What each packet asks of it lies here.
    /// SYN and SYN-ACK were seen.
    is_open: bool,
    /// The SYN-ACK was seen, and not what answers it.
    awaits_third: bool,
    /// The smaller MSS, when both sides told one: 0 otherwise.
    least_mss: u16,
    closed: bool,
    /// The way of the first alert that is encrypted: it ends the connection.
    alert: Option<Direction>,
    /// Segments sent again each way since anything came the other way, from the first small one on, until one side closes: no path MTU
    /// holds those up.
    unheard: [u8; 2],
    seldom: Option<Box<Seldom>>,
    streams: [TcpStream; 2],
    probes: [SizeProbe; 2],
    /// Segments sent again each way.
    again: [u32; 2],
    /// The last data segment each way.
    last: [Option<Sent>; 2],
    /// The TTL or hop limit of the last new data each way.
    ttl: [u8; 2],
    /// The longest silence, seconds: see [`Ended::silence`].
    silence: u16,
    /// TLS, or too early to tell.
    reading: Option<Box<Reading>>,
    /// Before that, so many bytes in the middle of something, without a record's beginning; more than [`PATIENCE`] are another protocol.
    hunted: u32,
}

/// A data segment, and which bytes of its direction are fresh.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Timestamp,
    /// Bytes from this sequence number on were first seen no more than `age` before `at`.
    fresh: u32,
    /// Microseconds.
    age: u16,
    /// IP id.
    id: u16,
}

impl Tcp {
    /// A segment was sent again that way. A large one may be too large for the path: it counts behind a small one, which would have been
    /// answered had it arrived.
    fn sent_again(&mut self, way: Direction, end: u32, size: u32, place: Place) {
        let deaf = way.of_mut(&mut self.seldom.get_or_insert_default().deaf);
        deaf.sent_again(way.of_mut(&mut self.unheard), end, size, place);
    }

    /// The side that sends that way heard something: what is acknowledged, if anything is.
    fn heard(&mut self, way: Direction, ack: Option<u32>, place: Place) {
        let resent = std::mem::take(way.of_mut(&mut self.unheard));
        let Some(seldom) = self.seldom.as_mut() else { return };
        if way.of_mut(&mut seldom.deaf).heard(resent, ack, place) && **seldom == Seldom::default() {
            self.seldom = None;
        }
    }

    /// What was seen of the handshake, when nothing more comes.
    pub(super) fn take_handshake(&mut self) -> Option<Box<TcpHandshake>> {
        self.handshake.take()
    }

    /// Notes a SYN, a SYN-ACK or what answers that.
    #[cold]
    fn shake(&mut self, place: Place, segment: &TcpSegment<'_>, is_elsewhere: bool) {
        let handshake = self.handshake.get_or_insert_default();
        let way = if segment.has(TcpSegment::ACK) { Direction::ToClient } else { Direction::ToServer };
        let is_later = |first: Syn| place.at.nanos_since(first.at) >= ONE_PLACE;
        if segment.has(TcpSegment::SYN) && is_elsewhere && handshake.syn(way).is_some_and(is_later) {
            let syns = &mut self.seldom.get_or_insert_default().elsewhere.syns;
            *syns = syns.saturating_add(1);
        }
        match (segment.has(TcpSegment::SYN), segment.has(TcpSegment::ACK)) {
            (true, false) => handshake.note(Direction::ToServer, syn(place, segment)),
            (true, true) => handshake.note(Direction::ToClient, syn(place, segment)),
            (false, _) => _ = handshake.third.get_or_insert(place.at),
        }
        let syns = [Direction::ToServer, Direction::ToClient].map(|way| handshake.syn(way));
        let [is_asked, is_answered] = syns.map(|syn| syn.is_some());
        self.is_open = is_asked && is_answered;
        self.awaits_third = is_answered && handshake.third.is_none();
        self.least_mss = syns.map(|syn| syn.and_then(|syn| syn.mss).unwrap_or(0)).into_iter().min().unwrap_or(0);
    }

    /// The MSS that the receiver of such a segment told; any that is large enough, when that is known at once.
    fn mss(&self, direction: Direction, payload_len: u32) -> Option<u16> {
        if payload_len <= u32::from(self.least_mss) {
            return Some(self.least_mss);
        }
        self.handshake.as_ref()?.syn(direction.reverse())?.mss
    }

    /// Watches the holes of what goes that way, and what its receiver says of those of the other.
    fn watch_holes(&mut self, direction: Direction, segment: &TcpSegment<'_>, is_small: bool, place: Place) {
        let stream = direction.of(&self.streams);
        let hole = stream.next_seq().zip(stream.hole());
        let holes = &mut self.seldom.get_or_insert_default().holes;
        direction.of_mut(holes).stands(hole, place);
        direction.of_mut(holes).came(segment.seq, is_small, place);
        if segment.has(TcpSegment::ACK) {
            direction.reverse().of_mut(holes).acknowledged(segment.ack);
        }
    }

    /// Does a segment without data stand behind bytes that never came? It is forgotten when any of them do, or their receiver
    /// acknowledges one: then this point alone missed them, or they came late.
    fn watch_end(&mut self, direction: Direction, segment: &TcpSegment<'_>, place: Place) {
        /// The largest TCP window, bytes (RFC 7323 §2.3).
        const WINDOW: u32 = 1 << 30;
        let Some(next) = direction.of(&self.streams).next_seq() else { return };
        let known = self.seldom.as_ref().and_then(|seldom| *direction.of(&seldom.vanished));
        if known.is_some_and(|(first, _)| first != next) {
            *direction.of_mut(&mut self.seldom.get_or_insert_default().vanished) = None;
        }
        let ahead = segment.seq.wrapping_sub(next);
        let is_bare = segment.payload_len == 0 && segment.flags & (TcpSegment::SYN | TcpSegment::RST) == 0;
        let last = direction.of(&self.last).map(|sent| sent.at);
        if let Some(since) = last.filter(|_| is_bare && ahead > 0 && ahead <= WINDOW) {
            let vanished = direction.of_mut(&mut self.seldom.get_or_insert_default().vanished);
            let (_, vanished) =
                vanished.get_or_insert((next, Vanished { since, told: (place.at, place.frame), bytes: 0 }));
            vanished.bytes = vanished.bytes.max(ahead);
        }
    }

    /// Its receiver has one of the bytes that seemed to have vanished.
    fn came_all_the_same(&mut self, direction: Direction, ack: u32) {
        let Some(vanished) = self.seldom.as_mut().map(|seldom| direction.of_mut(&mut seldom.vanished)) else { return };
        if vanished.is_some_and(|(first, _)| (ack.wrapping_sub(first) as i32) > 0) {
            *vanished = None;
        }
    }

    /// Marks a segment that waits behind a hole; does one that fills it come so late that it was sent again?
    fn comes_late(
        &mut self,
        direction: Direction,
        segment: &TcpSegment<'_>,
        id: u16,
        at: Timestamp,
        kind: Kind,
        waiting: Option<(usize, Mark)>,
    ) -> bool {
        let mark = Mark { at: Some(at), tsval: segment.tsval, id };
        match kind {
            Kind::OutOfOrder => direction.of_mut(&mut self.streams).mark(segment.seq, mark),
            Kind::New => return fills_hole(waiting, mark, || self.round_trip()),
            _ => {}
        }
        false
    }

    /// How long the handshake took, seconds.
    fn round_trip(&self) -> Option<f64> {
        let handshake = self.handshake.as_ref()?;
        Some(handshake.third?.seconds_since(handshake.syn(Direction::ToServer)?.at))
    }

    /// Forgets how its bytes are read when both sides have said all of theirs: there may be many such connections.
    fn close(&mut self) {
        if self.closed
            && self.reading.as_ref().is_some_and(|reading| reading.opened.is_none())
            && self.streams.iter().all(|stream| stream.closed() && !stream.has_hole())
        {
            (self.reading, self.hunted) = (None, u32::MAX);
        }
    }

    /// Was a FIN or RST seen?
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Has neither side said anything?
    pub(super) fn is_silent(&self) -> bool {
        self.streams.iter().all(|stream| stream.position() == 0)
    }

    /// Notes how long nobody had said anything before this new segment, if it is longer than any alert.
    fn silence(&mut self, payload_len: u32, at: Timestamp) {
        /// The longest record of an alert, bytes: with SHA-384, padded to 64, behind a header and an IV (RFC 5246 §6.2.3.2).
        const ALERT: u32 = 5 + 16 + 64;
        if payload_len > ALERT
            && let Some(before) = self.last.iter().flatten().map(|sent| sent.at).max()
        {
            let seconds = at.nanos_since(before) / 1_000_000_000;
            self.silence = self.silence.max(u16::try_from(seconds.max(0)).unwrap_or(u16::MAX));
        }
    }

    /// Is this segment a frame seen just before, captured a second time (a span of two ports, a doubled file, a routed copy)? Its bytes
    /// are fresh, and its sender has not counted its IP id on; where ids say nothing, hardly any time has passed.
    fn captured_twice(
        &mut self,
        direction: Direction,
        segment: &TcpSegment<'_>,
        id: u16,
        at: Timestamp,
        is_new: bool,
    ) -> bool {
        /// No retransmission comes this soon (µs): the least timeout in use is 0.2 s.
        const AT_ONCE: u16 = 10_000;
        /// Nor does one that answers duplicate acknowledgments, of whatever id, across any path (µs).
        const NEXT: u16 = 1_000;
        if segment.payload_len == 0 {
            return false;
        }
        let last = direction.of_mut(&mut self.last);
        let Some(known) = last else {
            *last = Some(Sent { at, fresh: segment.seq, age: 0, id });
            return false;
        };
        let passed = u16::try_from(at.nanos_since(known.at).max(0) / 1000).unwrap_or(u16::MAX);
        let age = known.age.saturating_add(passed);
        let is_fresh = (segment.seq.wrapping_sub(known.fresh) as i32) >= 0;
        let is_copy = age < NEXT || (known.id.wrapping_sub(id) as i16) >= 0;
        let twice = !is_new && is_fresh && age < AT_ONCE && is_copy;
        let (fresh, age) = if is_new && age >= AT_ONCE { (segment.seq, 0) } else { (known.fresh, age) };
        *last = Some(Sent { at, fresh, age, id: if twice { known.id } else { id } });
        twice
    }

    pub(super) fn unsealed(&self) -> Option<Unsealed> {
        let opened = self.reading.as_ref()?.opened.as_ref()?;
        let counts = opened.counts();
        Some(Unsealed { opened: counts.opened, failed: counts.failed, misframed: opened.misframed() })
    }

    /// When its client last said something, if its server heard that and was never heard to say anything.
    fn unanswered(&self, ended: &Ended) -> Option<Timestamp> {
        let [asked, said] = &self.last;
        let asked = asked.filter(|_| self.is_open && said.is_none())?.at;
        Direction::ToClient.of(&ended.last_by_direction).is_some_and(|heard| heard >= asked).then_some(asked)
    }

    pub(super) fn total(&self, opened: &Opened, ended: &mut Ended) {
        ended.retransmissions = self.again;
        ended.unheard = self.unheard;
        let is_whole = self.closed && opened.syn().is_some();
        ended.numbers = (!is_whole).then(|| Box::new(self.streams.each_ref().map(TcpStream::numbers)));
        let mut shown = SeldomInEnded { unanswered: self.unanswered(ended), ..SeldomInEnded::default() };
        if let Some(seldom) = &self.seldom {
            let zero_windows = seldom.closed.map(|closed| closed.total(ended.last));
            let lapses = seldom.deaf.map(|deaf| deaf.longest);
            ended.in_vain = seldom.deaf.map(|deaf| deaf.in_vain);
            let holes = seldom.holes.map(Holes::total);
            let vanished = seldom.vanished.map(|vanished| vanished.map(|(_, vanished)| vanished));
            let two_places = seldom.elsewhere.is_sure(ended.packets.iter().sum());
            let unseen = seldom.unseen;
            shown = SeldomInEnded { zero_windows, lapses, holes, vanished, unseen, two_places, ..shown };
        }
        ended.add(shown);
        ended.silence = u32::from(self.silence);
        ended.sizes = SizesByDirection::of(&self.probes);
    }
}

/// Does it fill a hole, and had its sender taken it for lost? Where the receiver stands the first sending never showed. `waiting` is how
/// much waited behind the hole, and the mark of what is next to it.
fn fills_hole(waiting: Option<(usize, Mark)>, segment: Mark, round_trip: impl FnOnce() -> Option<f64>) -> bool {
    /// So many segments behind one make a sender send it again (RFC 5681 §3.2).
    const LOST: usize = 3;
    waiting.is_some_and(|(behind, next)| behind >= LOST && left_after(segment, next, round_trip()))
}

/// Did a segment leave after another that was captured before it? If not, the two only came in another order.
fn left_after(segment: Mark, other: Mark, round_trip: Option<f64>) -> bool {
    /// A sender that counts its IP ids counts no further between two segments of one flight.
    const NEAR: u16 = 256;
    /// Without a round trip to go by, and at most: Wireshark's measure, and half of the least timeout in use (seconds).
    const AT_ONCE: f64 = 0.003;
    const EVER: f64 = 0.1;
    if let (Some(own), Some(others)) = (segment.tsval, other.tsval) {
        return (own.wrapping_sub(others) as i32) > 0;
    }
    if (1..NEAR).contains(&other.id.wrapping_sub(segment.id)) {
        return false;
    }
    // Its receiver's word that it was missing, and the answer to that, take a round trip; that of the handshake may have been a slow one.
    let soonest = round_trip.map_or(AT_ONCE, |trip| (trip / 2.0).min(EVER));
    let (Some(own), Some(others)) = (segment.at, other.at) else { return true };
    own.seconds_since(others) >= soonest
}

pub(super) fn take(
    tcp: &mut Tcp,
    told: &mut Told<'_, impl FnMut(&Event<'_>)>,
    bench: &mut Bench<'_>,
    packet: &Packet<'_>,
    segment: &TcpSegment<'_>,
    direction: Direction,
) {
    let place = told.place;
    let (is_syn, is_ack) = (segment.has(TcpSegment::SYN), segment.has(TcpSegment::ACK));
    if is_syn || tcp.awaits_third && is_ack && direction == Direction::ToServer {
        let first_ttl = *direction.of(&told.flow.state.ttl);
        tcp.shake(place, segment, packet.ip.ttl != first_ttl);
    }
    let whole = packet.fragments == 0;
    let super_frame = is_super_frame(&packet.ip, segment.payload_len, tcp.mss(direction, segment.payload_len));
    if whole && !super_frame {
        direction.of_mut(&mut tcp.probes).sent(
            segment.seq,
            segment.payload_len,
            packet.ip.total_len,
            place.frame.number,
            place.at,
        );
    }
    if is_ack {
        direction.reverse().of_mut(&mut tcp.probes).acknowledged(
            segment.ack,
            segment.sacked,
            segment.payload_len == 0,
            place.at,
        );
    }
    let Bench { limits, losses, keys, carried, copies } = bench;
    let flow = told.id();
    let mut seen = Seen { told, losses, alert: None, carried };
    // It acknowledges what did not show here: its sender hears more than this point.
    let theirs = direction.reverse().of(&tcp.streams).next_seq();
    let hears_more = theirs.is_some_and(|next| (segment.ack.wrapping_sub(next) as i32) > 0);
    let waiting = direction.of(&tcp.streams).waiting();
    let kind = feed(tcp, limits, segment, direction, keys, &mut seen);
    let is_new = kind != Kind::Retransmission;
    if is_new {
        tcp.silence(segment.payload_len, place.at);
    }
    if let Some(seldom) = tcp.seldom.as_mut().filter(|_| is_new && segment.payload_len > 0) {
        direction.reverse().of_mut(&mut seldom.deaf).in_vain = 0;
    }
    let twice = tcp.captured_twice(direction, segment, packet.ip.id, place.at, is_new);
    let is_old = !is_new && segment.payload_len > 0 && !twice;
    let may_be_copy = match kind {
        Kind::Retransmission => is_old,
        Kind::OutOfOrder => true,
        // Whoever does not count ids may well send the same acknowledgment twice at once.
        Kind::Empty => packet.ip.id != 0,
        Kind::New | Kind::KeepAlive => false,
    };
    let twice = twice || may_be_copy && copies.has_segment(place.at, flow, direction, segment, packet.ip.id);
    let ttl = direction.of_mut(&mut tcp.ttl);
    // Nobody sends again with another TTL than what is new: it was captured on another place of its way.
    let is_elsewhere = is_old && !twice && *ttl != 0 && *ttl != packet.ip.ttl;
    if is_new && segment.payload_len > 0 {
        *ttl = packet.ip.ttl;
    }
    if is_elsewhere {
        let data = &mut tcp.seldom.get_or_insert_default().elsewhere.data;
        *data = data.saturating_add(1);
    }
    let twice = twice || is_elsewhere;
    if twice {
        let packets = direction.of_mut(&mut seen.told.flow.state.packets);
        *packets = packets.saturating_sub(1);
    }
    let again = is_old && !twice;
    let is_late = segment.payload_len > 0 && tcp.comes_late(direction, segment, packet.ip.id, place.at, kind, waiting);
    let resent = direction.of_mut(&mut tcp.again);
    *resent = resent.saturating_add(u32::from(again || is_late));
    let is_small = packet.ip.total_len < LARGE;
    // What a client has left need not answer it; a gateway's FIN is answered wherever there is a client.
    let is_awaited = !tcp.closed || direction == Direction::ToClient;
    if again && is_awaited {
        tcp.sent_again(direction, segment.seq.wrapping_add(segment.payload_len), packet.ip.total_len, place);
    }
    if !twice && (tcp.seldom.is_some() || direction.of(&tcp.streams).has_hole()) {
        tcp.watch_holes(direction, segment, is_small, place);
    }
    if is_ack {
        tcp.watch_end(direction, segment, place);
        tcp.came_all_the_same(direction.reverse(), segment.ack);
    }
    tcp.heard(direction.reverse(), is_ack.then_some(segment.ack), place);
    if is_ack && hears_more {
        tcp.heard(direction, None, place);
    }
    let is_shut = segment.window == 0 && !segment.has(TcpSegment::RST) && !is_syn;
    if is_shut || tcp.seldom.is_some() {
        direction.of_mut(&mut tcp.seldom.get_or_insert_default().closed).announced(is_shut, place.at);
    }
    let closing = segment.flags & (TcpSegment::FIN | TcpSegment::RST) != 0 && !tcp.closed;
    tcp.closed |= closing;
    tcp.close();
    tcp.alert = tcp.alert.or(seen.alert);
    if super_frame {
        told.flow.state.add_super_frame();
    }
    if whole && !super_frame && !twice {
        told.large(&packet.ip, direction, again);
    }
    if tcp.is_open && segment.payload_len > 0 {
        // A connection that spoke is known with its MSS, whatever it speaks.
        told.open();
    }
    if closing && told.flow.state.is_opened {
        let (flow, alert, reset, ttl) = (told.id(), tcp.alert, segment.has(TcpSegment::RST), packet.ip.ttl);
        told.tell(What::Closed { flow, direction, alert, reset, ttl });
    }
}

/// Orders the bytes and cuts them into records.
fn feed(
    tcp: &mut Tcp,
    limits: &Limits,
    segment: &TcpSegment<'_>,
    direction: Direction,
    keys: &mut Keys<'_>,
    seen: &mut Seen<'_, '_, impl FnMut(&Event<'_>)>,
) -> Kind {
    let Tcp { streams, reading, hunted, .. } = tcp;
    let mut tls = Tls { reading, hunted };
    let [to_server, to_client] = streams;
    let (mine, other) = if direction == Direction::ToServer { (to_server, to_client) } else { (to_client, to_server) };
    let mut unseen = u32::from(segment.payload_len > 0 && mine.is_behind_acknowledged(segment.seq));
    let kind = {
        let from_start = |stream: &TcpStream| stream.from_start() || segment.has(TcpSegment::SYN);
        let start = from_start(mine);
        mine.push(
            segment.seq,
            segment.has(TcpSegment::SYN),
            segment.has(TcpSegment::FIN),
            segment.payload,
            segment.payload_len,
            &limits.tcp,
            &mut |chunk| {
                read(&mut tls, direction, start, &chunk, keys, seen);
            },
        )
    };
    if segment.has(TcpSegment::ACK) {
        let start = other.from_start();
        unseen += other.acknowledged(segment.ack, &mut |chunk| {
            read(&mut tls, direction.reverse(), start, &chunk, keys, seen);
        });
    }
    if unseen > 0 {
        let known = &mut tcp.seldom.get_or_insert_default().unseen;
        *known = known.saturating_add(unseen);
    }
    kind
}

/// End of the capture: what still waits behind holes.
pub(super) fn finish(tcp: &mut Tcp, told: &mut Told<'_, impl FnMut(&Event<'_>)>, losses: &mut Losses) {
    if tcp.streams.iter().all(TcpStream::is_finished) {
        return;
    }
    // Behind holes that nobody filled by now nothing is opened any more.
    let (mut nothing, mut record, mut packet, mut carried) =
        (Keyring::new(), Vec::new(), Vec::new(), Carried::default());
    let mut keys = Keys { keyring: &mut nothing, record: &mut record, packet: &mut packet };
    let mut seen = Seen { told, losses, alert: None, carried: &mut carried };
    let Tcp { streams, reading, hunted, .. } = tcp;
    let mut tls = Tls { reading, hunted };
    for (stream, direction) in streams.iter_mut().zip([Direction::ToServer, Direction::ToClient]) {
        let start = stream.from_start();
        stream.finish(&mut |chunk| read(&mut tls, direction, start, &chunk, &mut keys, &mut seen));
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::flow::table::Flow;

    #[test]
    fn what_is_kept_of_each_connection_is_small() {
        // As large as the facts about a flow, which take its room when the capture ends.
        assert!(size_of::<Flow<State>>() <= 120, "{}", size_of::<Flow<State>>());
        assert!(size_of::<Tcp>() <= 192, "{}", size_of::<Tcp>());
        assert!(size_of::<TcpHandshake>() <= 48, "{}", size_of::<TcpHandshake>());
    }

    #[test]
    fn a_silence_ends_with_bytes_that_are_no_alert() {
        let at = |seconds: f64| Timestamp::default().plus_seconds(seconds);
        let mut tcp = Tcp::default();
        tcp.silence(1000, at(900.0));
        assert_eq!(tcp.silence, 0, "nothing was said before");
        let sent = |seconds| Some(Sent { at: at(seconds), fresh: 1, age: 0, id: 1 });
        tcp.last = [sent(10.0), sent(20.0)];
        tcp.silence(85, at(400.0));
        assert_eq!(tcp.silence, 0, "an alert");
        tcp.silence(86, at(400.9));
        assert_eq!(tcp.silence, 380);
        for earlier in [30.0, 5.0] {
            tcp.silence(1000, at(earlier));
        }
        assert_eq!(tcp.silence, 380, "the longest counts, and no clock that jumped back");
    }

    #[test]
    fn bytes_that_never_came_show_in_a_later_segment_without_data() {
        let place = Place::at;
        let segment = |seq: u32, payload_len: u32, flags: u8| TcpSegment {
            src_port: 443,
            dst_port: 50_000,
            seq,
            ack: 1,
            flags,
            mss: None,
            window: 1000,
            timestamps: false,
            tsval: None,
            sacked: None,
            payload: &[],
            payload_len,
        };
        let way = Direction::ToClient;
        let vanished = |later: &[(f64, TcpSegment<'_>)], acked: u32| {
            let mut tcp = Tcp::default();
            for (seconds, segment) in [(1.0, segment(1000, 500, TcpSegment::ACK))].iter().chain(later) {
                let is_fin = segment.has(TcpSegment::FIN);
                let bytes = vec![0; segment.payload_len as usize];
                let stream = way.of_mut(&mut tcp.streams);
                stream.push(segment.seq, false, is_fin, &bytes, segment.payload_len, &Default::default(), &mut |_| {});
                if segment.payload_len > 0 {
                    let sent = Sent { at: place(*seconds).at, fresh: 1, age: 0, id: 1 };
                    *way.of_mut(&mut tcp.last) = Some(sent);
                }
                tcp.watch_end(way, segment, place(*seconds));
            }
            tcp.came_all_the_same(way, acked);
            let (_, vanished) = (*way.of(&tcp.seldom?.vanished))?;
            Some((vanished.bytes, vanished.seconds().round()))
        };
        let (ack, fin) = (TcpSegment::ACK, TcpSegment::ACK | TcpSegment::FIN);
        let behind = (9.0, segment(9500, 0, ack));
        assert_eq!(vanished(&[behind], 1500), Some((8000, 8.0)));
        assert_eq!(vanished(&[(9.0, segment(9500, 0, fin))], 1500), Some((8000, 8.0)));
        assert_eq!(vanished(&[(9.0, segment(1500, 0, ack))], 1500), None, "nothing is missing");
        assert_eq!(vanished(&[(9.0, segment(1499, 0, ack))], 1500), None, "a keep-alive");
        assert_eq!(vanished(&[(9.0, segment(9500, 0, TcpSegment::RST))], 1500), None, "whose number may be any");
        assert_eq!(vanished(&[behind], 9500), None, "the capture alone missed them");
        assert_eq!(vanished(&[behind, (9.2, segment(1500, 800, ack))], 2300), None, "they were late");
    }

    #[test]
    fn large_segments_sent_again_tell_of_silence_behind_a_small_one_alone() {
        let place = Place::at(0.0);
        let (large, small) = (1420, 100);
        let unheard = |resent: &[u32], heard_behind: usize| {
            let mut tcp = Tcp::default();
            for (n, size) in resent.iter().enumerate() {
                tcp.sent_again(Direction::ToClient, 1000, *size, place);
                if n == heard_behind {
                    tcp.heard(Direction::ToClient, None, place);
                }
            }
            tcp.unheard
        };
        assert_eq!(unheard(&[small, large, large, large], 9), [0, 4]);
        assert_eq!(unheard(&[large, large, large, large], 9), [0, 0], "they may be too large for the path");
        assert_eq!(unheard(&[small, large, large, large], 0), [0, 0], "the small one was answered");
        assert_eq!(unheard(&[large, small, large], 9), [0, 2]);
    }

    #[test]
    fn large_segments_alone_tell_of_a_lost_path_once_one_gets_through() {
        let place = Place::at;
        let way = Direction::ToClient;
        let lapse = |sizes: &[u32], answers: &[(f64, Option<u32>)]| {
            let mut tcp = Tcp::default();
            for (at, size) in [1.0, 3.0, 7.0, 15.0].into_iter().zip(sizes) {
                tcp.sent_again(way, 2380, *size, place(at));
                let answers = answers.iter().filter(|(then, _)| (at..2.0 * at + 1.0).contains(then));
                answers.for_each(|(then, ack)| tcp.heard(way, *ack, place(*then)));
            }
            let seldom = tcp.seldom?;
            way.of(&seldom.deaf).longest.map(|lapse| (lapse.resent, lapse.seconds().round(), lapse.is_large))
        };
        let acknowledged = [(15.1, Some(2380))];
        assert_eq!(lapse(&[1420; 4], &acknowledged), Some((4, 14.0, true)));
        assert_eq!(lapse(&[1420; 4], &[(15.1, Some(1000))]), None, "an answer, and not to it");
        assert_eq!(lapse(&[1420; 4], &[(15.1, None)]), None);
        assert_eq!(
            lapse(&[1420; 4], &[(7.5, Some(1000)), (15.1, Some(2380))]),
            Some((3, 7.0, true)),
            "one came before"
        );
        assert_eq!(lapse(&[1420; 4], &[(3.5, Some(1000)), (15.1, Some(2380))]), None, "small ones come all the time");
        assert_eq!(lapse(&[1420, 1420, 1420, 1300], &acknowledged), None, "a smaller one got through");
        assert_eq!(lapse(&[1420, 1420, 1420, 100], &acknowledged), None);
    }

    #[test]
    fn what_fills_a_hole_was_sent_again_when_it_left_after_what_waits_behind_it() {
        let mark = |seconds: f64, tsval: Option<u32>, id: u16| Mark {
            at: Some(Timestamp::default().plus_seconds(seconds)),
            tsval,
            id,
        };
        let filled = |behind: usize, segment: Mark, trip: Option<f64>| {
            fills_hole(Some((behind, mark(0.0, segment.tsval.map(|_| u32::MAX), 1000))), segment, || trip)
        };
        let (lost, late) = (mark(0.05, Some(30), 1010), mark(0.05, Some(u32::MAX), 999));
        assert!(filled(3, lost, None));
        assert!(!filled(2, lost, None), "too few for a sender to take it for lost");
        assert!(!filled(9, late, None), "it left no later: packets in another order");
        assert!(!fills_hole(None, lost, || None), "no hole");
        let bare = |seconds, id| mark(seconds, None, id);
        assert!(!filled(9, bare(0.05, 998), None), "its id was counted before");
        assert!(filled(9, bare(0.05, 1003), Some(0.04)));
        assert!(!filled(9, bare(0.015, 0), Some(0.04)), "nobody answers so soon");
        assert!(filled(9, bare(0.25, 0), Some(3.0)), "a SYN that was resent tells no round trip");
    }
}
