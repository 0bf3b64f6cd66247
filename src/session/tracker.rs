//! Folds events into facts, one tracker per capture. Bounded: see [`Limits`].

use super::facts::{
    AttemptFacts, Beside, Closed, DtlsFacts, FlowNotes, IcmpFacts, InsideTls, Known, MAX_ATTEMPTS, MAX_FRAMES,
    MessageKind, Packed, Packets, Random, RecordNumber, ServerHelloFacts, TlsFacts, View,
};
use super::meetings::{Meeting, Meetings};
use super::mtu::Protection;
use super::places::Places;
use crate::chunks::Chunks;
use crate::event::{
    ClientHello, Direction, DtlsMessage, DtlsRecordSeen, Ended, Event, FlowId, FrameRef, IcmpSeen, Incomplete, LARGE,
    Opened, PointId, Refused, Timestamp, Version, What,
};
use crate::maps::{HashMap, HashSet, hash};
use std::num::{NonZeroU16, NonZeroU32};

/// What a tracker may keep.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Flows remembered; further ones are counted and left out. About 0.4 KiB each, a TLS or DTLS flow about 0.9 KiB.
    pub max_flows: usize,
    /// Kinds of ICMP errors (sender, type, code, quoted flow) remembered. About 0.2 KiB each.
    pub max_icmp: usize,
    /// Refused TCP connections remembered. About 0.1 KiB each.
    pub max_refused: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_flows: 1_000_000, max_icmp: 200_000, max_refused: 10_000 }
    }
}

/// Everything one capture showed.
#[derive(Debug, Default)]
pub struct Facts {
    /// Flows in order of appearance.
    pub flows: Vec<View>,
    /// ICMP errors in order of appearance.
    pub icmp: Vec<IcmpFacts>,
    /// Between whom fragmented datagrams stayed incomplete, and where.
    pub incomplete: Vec<(PointId, Incomplete)>,
    /// TCP connections that nobody accepted, and where that was seen.
    pub refused: Vec<(PointId, Refused)>,
    /// Which flows' large packets began beside whose records.
    pub meetings: Vec<Meeting>,
    /// Flows left out because of [`Limits::max_flows`].
    pub flows_left_out: u64,
    /// ICMP errors left out because of [`Limits::max_icmp`].
    pub icmp_left_out: u64,
    /// Refused connections left out because of [`Limits::max_refused`].
    pub refused_left_out: u64,
    /// Of `meetings` left out because there were too many.
    pub meetings_left_out: u64,
}

/// Who sent what about which flow: the key ICMP errors are counted under.
type IcmpKey = (PointId, std::net::IpAddr, u8, u8, std::net::IpAddr, std::net::IpAddr, Option<(u16, u16)>, u8);

/// Listens to one capture's events.
#[derive(Debug)]
pub struct Tracker {
    limits: Limits,
    facts: Facts,
    /// What the flows show, in order of appearance.
    notes: Chunks<FlowNotes, 0x3000>,
    /// Where each flow stands in `notes`.
    places: Places,
    /// The flow asked for last and its place: events of one flow come in a row.
    last: Option<(FlowId, u32)>,
    /// Flows that ended, and their places.
    ended: Vec<(u32, View)>,
    icmp: HashMap<IcmpKey, usize>,
    /// Sessions that DTLS handshakes set up by themselves, hashed, at most [`MAX_GIVEN`].
    given: HashSet<u64>,
    meetings: Meetings,
}

/// DTLS sessions remembered as set up by DTLS.
const MAX_GIVEN: usize = 65_536;

impl Tracker {
    /// An empty tracker.
    pub fn new(limits: Limits) -> Tracker {
        Tracker {
            limits,
            facts: Facts::default(),
            notes: Chunks::default(),
            places: Places::default(),
            last: None,
            ended: Vec::new(),
            icmp: HashMap::default(),
            given: HashSet::default(),
            meetings: Meetings::default(),
        }
    }

    /// Takes note of one event.
    pub fn observe(&mut self, event: &Event<'_>) {
        let (at, frame) = (event.at, event.frame);
        match &event.what {
            What::Opened(flow, _) => self.open(*flow, event.point),
            What::Ended(flow, opened, ended) => self.end(*flow, opened, ended),
            What::Closed { flow, direction, alert, reset, ttl } => {
                if let Some(facts) = self.flow(*flow) {
                    let closed = Closed { at, frame, direction: *direction, by: *direction, reset: *reset, ttl: *ttl };
                    let silence = facts.tls.as_ref().and_then(|tls| tls.silence(Direction::ToServer, at));
                    facts.closed.get_or_insert_with(|| Box::new(closed.told_by(*alert, silence)));
                }
            }
            What::ClientHello(flow, hello) => {
                if let Some(tls) = self.tls(*flow) {
                    tls.client_hello.get_or_insert_with(|| (at, frame, hello.random.map(Random::new)));
                    tls.hello_shape = shape(hello);
                }
            }
            What::ServerHello(flow, hello) => {
                if let Some(tls) = self.tls(*flow) {
                    // A HelloRetryRequest is a ServerHello that settles nothing (RFC 8446 §4.1.4).
                    if let (Some(suite), false) = (hello.cipher_suite, hello.hello_retry) {
                        let (version, encrypt_then_mac) = (hello.version, hello.encrypt_then_mac());
                        tls.server_hello.get_or_insert(ServerHelloFacts {
                            at,
                            frame,
                            version,
                            suite,
                            encrypt_then_mac,
                        });
                    }
                }
            }
            What::TlsAlert(flow, direction, alert) => {
                if let Some(tls) = self.tls(*flow) {
                    tls.seldom_mut().alert.get_or_insert((at, frame, *direction, *alert));
                }
            }
            What::TlsData(flow, direction, length) => {
                self.meetings.record(at, (event.point, *flow));
                if let Some(tls) = self.tls(*flow) {
                    tls.add_data(at, frame, *direction, *length);
                }
            }
            What::ProxyConnect(flow, to) => {
                if let Some(tls) = self.tls(*flow) {
                    tls.seldom_mut().proxied_to = Some((*to).into());
                }
            }
            What::TunnelRequest(flow, request) => {
                if let Some(inside) = self.inside(*flow) {
                    request.token.into_iter().for_each(|token| inside.add_token(token));
                    if request.is_connect {
                        inside.request.get_or_insert_with(|| (at, frame, (*request).clone()));
                    }
                }
            }
            What::TunnelAnswer(flow, answer) => {
                if let Some(inside) = self.inside(*flow) {
                    answer.token.into_iter().for_each(|token| inside.add_token(token));
                    if answer.is_tunnel {
                        inside.answer.get_or_insert_with(|| (at, frame, (*answer).clone()));
                    }
                }
            }
            What::Token(flow, token) => {
                if let Some(inside) = self.inside(*flow) {
                    inside.add_token(*token);
                }
            }
            What::Tunnelled(flow, direction, packet) => {
                if let Some(packets) = self.packets(*flow) {
                    packets.add(at, frame, *direction, *packet);
                }
            }
            What::Unsealed(flow, unsealed) => {
                if (unsealed.opened > 0 || unsealed.failed > 0)
                    && let Some(packets) = self.packets(*flow)
                {
                    packets.unsealed = *unsealed;
                }
            }
            What::Inner(..) => {}
            What::TlsRenegotiation(flow, direction) => {
                if let Some(tls) = self.tls(*flow) {
                    direction.of_mut(&mut tls.seldom_mut().renegotiation).get_or_insert((at, frame));
                }
            }
            What::DtlsHandshake(flow, direction, sequence, message) => {
                if let Some(place) = self.place(*flow)
                    && let Some(notes) = self.notes.get_mut(place)
                {
                    let dtls = notes.dtls.get_or_insert_default();
                    observe_handshake(dtls, (at, frame), *direction, *sequence, message, &mut self.given);
                }
            }
            What::DtlsRecord(flow, direction, record) => {
                self.meetings.record(at, (event.point, *flow));
                if let Some(dtls) = self.dtls(*flow) {
                    observe_record(dtls, at, frame, *direction, record);
                }
            }
            What::DtlsAlert(flow, direction, alert) => {
                if let Some(dtls) = self.dtls(*flow)
                    && let Some(attempt) = dtls.attempts.last_mut()
                {
                    attempt.seldom.get_or_insert_default().alert.get_or_insert((at, frame, *direction, *alert));
                }
            }
            What::Media(flow) => {
                if let Some(facts) = self.flow(*flow) {
                    facts.media = true;
                }
            }
            What::Ike(flow) => {
                if let Some(facts) = self.flow(*flow) {
                    facts.ike = true;
                }
            }
            What::Incomplete(incomplete) => self.facts.incomplete.push((event.point, *incomplete)),
            What::Refused(_) if self.facts.refused.len() >= self.limits.max_refused => self.facts.refused_left_out += 1,
            What::Refused(refused) => self.facts.refused.push((event.point, *refused)),
            What::QuicInitial(flow, direction) => {
                if let Some(facts) = self.flow(*flow) {
                    let n = direction.of_mut(&mut facts.quic);
                    *n = n.saturating_add(1);
                }
            }
            What::Large(flow, large) => {
                if let Some(facts) = self.flow(*flow) {
                    let begins = facts.add_large(at, frame, *large);
                    // A record larger than a packet is told when its last byte came.
                    if facts.tls.is_some() || facts.dtls.is_some() {
                        self.meetings.record(at, (event.point, *flow));
                    } else if begins && !event.point.is_inside() {
                        self.meetings.begin(at, (event.point, *flow));
                    }
                }
            }
            What::Fragmentable(flow, large) => {
                if let Some(dtls) = self.flow(*flow).and_then(|facts| facts.dtls.as_deref_mut()) {
                    large.direction.of_mut(&mut dtls.seldom_mut().fragmentable).add(at, frame, *large);
                }
            }
            What::Icmp(seen) => self.icmp(at, frame, event.point, seen),
        }
    }

    /// Hands out what was gathered about the flows that ended, as all do when the capture does.
    pub fn finish(mut self) -> Facts {
        self.ended.sort_unstable_by_key(|(place, _)| *place);
        self.facts.flows = self.ended.into_iter().map(|(_, flow)| flow).collect();
        self.facts.meetings_left_out = self.meetings.left_out();
        self.facts.meetings = self.meetings.finish();
        self.facts
    }

    fn open(&mut self, flow: FlowId, point: PointId) {
        let known = self.notes.len();
        if known >= self.limits.max_flows {
            self.facts.flows_left_out += 1;
            return;
        }
        self.places.set(flow, known as u32);
        self.notes.push(FlowNotes::new(point));
    }

    fn end(&mut self, flow: FlowId, opened: &Opened, ended: &Ended) {
        if let Some(place) = self.place(flow)
            && let Some(notes) = self.notes.get_mut(place)
        {
            self.ended.push((place, Box::new(notes.take(flow, opened.clone(), ended.clone()))));
        }
    }

    fn place(&mut self, flow: FlowId) -> Option<u32> {
        let place = match self.last {
            Some((last, place)) if last == flow => place,
            _ => self.places.get(flow)?,
        };
        self.last = Some((flow, place));
        Some(place)
    }

    fn flow(&mut self, flow: FlowId) -> Option<&mut FlowNotes> {
        let place = self.place(flow)?;
        self.notes.get_mut(place)
    }

    fn tls(&mut self, flow: FlowId) -> Option<&mut TlsFacts> {
        Some(self.flow(flow)?.tls.get_or_insert_default())
    }

    fn inside(&mut self, flow: FlowId) -> Option<&mut InsideTls> {
        Some(self.tls(flow)?.seldom_mut().inside.get_or_insert_default())
    }

    /// The tunnel packets of a TLS or DTLS flow.
    fn packets(&mut self, flow: FlowId) -> Option<&mut Packets> {
        let facts = self.flow(flow)?;
        match &mut facts.dtls {
            Some(dtls) => Some(dtls.seldom_mut().inside.get_or_insert_default()),
            None => Some(&mut facts.tls.get_or_insert_default().seldom_mut().inside.get_or_insert_default().packets),
        }
    }

    fn dtls(&mut self, flow: FlowId) -> Option<&mut DtlsFacts> {
        Some(self.flow(flow)?.dtls.get_or_insert_default())
    }

    fn icmp(&mut self, at: Timestamp, frame: FrameRef, point: PointId, seen: &IcmpSeen) {
        let Some(quoted) = seen.error.quoted else { return };
        let error = seen.error;
        let key =
            (point, seen.sender, error.icmp_type, error.code, quoted.src, quoted.dst, quoted.ports, quoted.protocol);
        if let Some(facts) = self.icmp.get(&key).and_then(|i| self.facts.icmp.get_mut(*i)) {
            facts.count = facts.count.saturating_add(1);
            facts.last = facts.last.max(at);
            facts.refused = facts.refused.min(quoted.total_len);
            if facts.frames.len() < MAX_FRAMES {
                facts.frames.push(frame);
            }
            if let Some(mtu) = error.next_hop_mtu
                && !facts.mtus.contains(&mtu)
                && facts.mtus.len() < 16
            {
                facts.mtus.push(mtu);
            }
            return;
        }
        if self.facts.icmp.len() >= self.limits.max_icmp {
            self.facts.icmp_left_out += 1;
            return;
        }
        self.icmp.insert(key, self.facts.icmp.len());
        self.facts.icmp.push(IcmpFacts {
            point,
            error,
            quoted,
            quotes: seen.quotes,
            sender: seen.sender,
            count: 1,
            mtus: error.next_hop_mtu.into_iter().collect(),
            refused: quoted.total_len,
            first: at,
            last: at,
            frames: vec![frame],
        });
    }
}

fn observe_handshake(
    dtls: &mut DtlsFacts,
    (at, frame): (Timestamp, FrameRef),
    direction: Direction,
    sequence: u16,
    message: &DtlsMessage<'_>,
    given: &mut HashSet<u64>,
) {
    dtls.known = None;
    if let DtlsMessage::ClientHello(hello, version) = message {
        let random = Random::new(hello.random.unwrap_or_default());
        // A client that starts over with a new random while nothing came back is still at the same attempt.
        let unanswered = |a: &AttemptFacts| a.is_unanswered() && a.session_id == hello.session_id;
        let same = dtls.attempts.iter().position(|a| a.random == random);
        let same = same
            .or_else(|| dtls.attempts.len().checked_sub(1).filter(|i| dtls.attempts.get(*i).is_some_and(unanswered)));
        let place = same.unwrap_or(dtls.attempts.len());
        if place >= MAX_ATTEMPTS {
            return;
        }
        if place == dtls.attempts.len() {
            let attempt = AttemptFacts {
                random,
                session_id: hello.session_id,
                is_own: hello.has_ticket || given.contains(&hash(hello.session_id)),
                version: *version,
                hello_version: hello.version,
                suites: (hello.cipher_suites.first().copied().unwrap_or_default(), hello.cipher_suites.len() as u16),
                first: at,
                hellos: 0,
                with_cookie: 0,
                cookies: 0,
                echoed: 0,
                cookie: 0,
                suite: None,
                server_version: None,
                resumed: false,
                certificate: false,
                unfinished: false,
                server_messages: 0,
                largest_flight: 0,
                server_done: false,
                ccs: [false, false],
                noted: Packed::default(),
                kinds: 0,
                seldom: None,
            };
            dtls.attempts.push(attempt);
        }
        let Some(attempt) = dtls.attempts.get_mut(place) else { return };
        attempt.first = attempt.first.min(at);
        attempt.hellos = attempt.hellos.saturating_add(1);
        // Its number tells, where the snap length cut the cookie off (RFC 6347 §4.2.2).
        let has_cookie = !hello.cookie.is_empty() || hello.partial && sequence > 0;
        attempt.with_cookie = attempt.with_cookie.saturating_add(u32::from(has_cookie));
        let echoes = !hello.cookie.is_empty() && hash(&hello.cookie) == attempt.cookie;
        attempt.echoed = attempt.echoed.saturating_add(u16::from(echoes));
        let kind = if has_cookie { MessageKind::HelloWithCookie } else { MessageKind::CLIENT_HELLO };
        if !attempt.note(kind, direction, at, frame) && attempt.hellos as usize <= MAX_FRAMES {
            attempt.seldom.get_or_insert_default().hellos.push(&(frame, at));
        }
        return;
    }
    let Some(attempt) = dtls.attempts.last_mut() else {
        if direction == Direction::ToClient {
            let unasked = &mut dtls.seldom_mut().unasked;
            unasked.0 = unasked.0.saturating_add(1);
            unasked.1.get_or_insert((at, frame));
        }
        return;
    };
    if direction == Direction::ToClient {
        attempt.server_messages |= 1_u32.checked_shl(u32::from(sequence)).unwrap_or_default();
    }
    attempt.note(kind_of(message), direction, at, frame);
    match message {
        DtlsMessage::ClientHello(..) => {}
        DtlsMessage::HelloVerifyRequest(cookie) => {
            let cookie = hash(cookie);
            if attempt.cookies == 0 || attempt.cookie != cookie {
                attempt.cookies = attempt.cookies.saturating_add(1);
                attempt.cookie = cookie;
            }
        }
        DtlsMessage::ServerHello(hello) => {
            attempt.suite = hello.cipher_suite;
            attempt.server_version = Some(hello.version);
            if attempt.session_id.is_empty() && !hello.session_id.is_empty() && given.len() < MAX_GIVEN {
                given.insert(hash(hello.session_id));
            }
            attempt.resumed = !attempt.session_id.is_empty() && hello.session_id == attempt.session_id;
        }
        DtlsMessage::Certificate => attempt.certificate |= direction == Direction::ToClient,
        DtlsMessage::Other(14) => attempt.server_done = true,
        DtlsMessage::Other(_) => {}
    }
}

fn kind_of(message: &DtlsMessage<'_>) -> MessageKind {
    match message {
        DtlsMessage::ClientHello(..) => MessageKind::CLIENT_HELLO,
        DtlsMessage::HelloVerifyRequest(_) => MessageKind::HELLO_VERIFY,
        DtlsMessage::ServerHello(_) => MessageKind::SERVER_HELLO,
        DtlsMessage::Certificate => MessageKind::CERTIFICATE,
        DtlsMessage::Other(kind) => MessageKind::Handshake(*kind),
    }
}

fn observe_record(dtls: &mut DtlsFacts, at: Timestamp, frame: FrameRef, direction: Direction, record: &DtlsRecordSeen) {
    if dtls.version.replace(record.version) != Some(record.version) {
        dtls.known = None;
    }
    let largest = direction.of_mut(&mut dtls.largest_datagram);
    if let Some(bytes) = NonZeroU32::new(record.ip_len)
        && largest.is_none_or(|(most, _)| most < bytes)
    {
        *largest = Some((bytes, frame));
    }
    // With options or padding packets that fill the tunnel differ by a few bytes.
    let is_as_large = |(most, _): (NonZeroU32, FrameRef)| record.ip_len >= most.get() - most.get() / 16;
    let is_large = record.ip_len >= LARGE && largest.is_some_and(is_as_large);
    if record.epoch == 0 {
        let Some(attempt) = dtls.attempts.last_mut() else { return };
        if record.cut_behind {
            attempt.seldom.get_or_insert_default().is_cut = true;
        }
        if direction == Direction::ToClient && record.content_type == 22 {
            attempt.unfinished = record.unfinished;
            attempt.largest_flight = attempt.largest_flight.max(record.ip_len);
        }
        if record.content_type == 20 {
            *direction.of_mut(&mut attempt.ccs) = true;
            attempt.note(MessageKind::ChangeCipherSpec, direction, at, frame);
        }
        return;
    }
    let number = RecordNumber::new(record.epoch, record.sequence);
    let before = direction.of(&dtls.heard).map(|(at, _)| at);
    let beside = Beside { before, others: dtls.last_word.of_other(direction, at), is_large };
    let sequence = direction.of_mut(&mut dtls.sequence);
    // A handshake message may be sent again as it was.
    if record.content_type == 23 && sequence.is_copy(number) {
        return;
    }
    sequence.note(at, number, record.ip_len, beside);
    if record.content_type == 21 {
        dtls.seldom_mut().sealed_alert.get_or_insert((at, frame, direction));
    }
    if record.content_type == 22 {
        // A gateway may send data before the client has its Finished, and that again.
        let is_first = *Direction::ToServer.of(&dtls.records) == 0 && Direction::ToServer.of(&dtls.heard).is_some();
        if direction.of(&dtls.records) > &0 && !is_first {
            direction.of_mut(&mut dtls.seldom_mut().renegotiation).get_or_insert((at, frame));
        } else if let Some(attempt) = dtls.attempts.last_mut() {
            attempt.note(MessageKind::Finished, direction, at, frame);
        }
    }
    let mut known = dtls.known.unwrap_or_else(|| known_of(dtls, record.version));
    let control = known.control.is_some_and(|length| length.get() == record.length);
    if record.content_type == 23 {
        dtls.seldom.iter_mut().for_each(|seldom| *direction.of_mut(&mut seldom.last) = None);
    } else if *direction.of(&dtls.records) > 0 {
        let last = *direction.of(&dtls.last());
        *direction.of_mut(&mut dtls.seldom_mut().last) = last;
    }
    dtls.hear(at, frame, direction, control);
    if !std::mem::replace(direction.of_mut(&mut known.protected), true) {
        direction.of_mut(&mut dtls.protected).get_or_insert(at);
        if let Some(attempt) = dtls.attempts.last_mut() {
            attempt.protect(direction, at, frame);
        }
    }
    dtls.known = Some(known);
    if record.content_type != 23 {
        return;
    }
    let records = direction.of_mut(&mut dtls.records);
    *records = records.saturating_add(1);
    let largest = direction.of_mut(&mut dtls.largest);
    *largest = (*largest).max(record.length);
    direction.of_mut(&mut dtls.first).get_or_insert((at, frame));
    dtls.probe(at, frame, direction, record.length, record.ip_len);
    if !control {
        dtls.activity.add(at, frame, direction, record.length);
    }
}

/// What the last attempt settled, for records of that version.
fn known_of(dtls: &DtlsFacts, version: Version) -> Known {
    let suite = dtls.attempts.last().and_then(|attempt| attempt.suite);
    let sealed = suite.and_then(|suite| Some(Protection::new(suite.class()?, version, false)));
    let control = sealed.and_then(|sealed| NonZeroU16::new(u16::try_from(sealed.dtls_record_len(0)).ok()?));
    Known { control, protected: [false; 2] }
}

/// What one program's ClientHellos have in common.
fn shape(hello: &ClientHello) -> u64 {
    hash((hello.version.0, &hello.cipher_suites, &hello.extensions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{CipherSuite, Endpoints, Protocol, ServerHello, SessionId};
    use crate::session::attempt::fingerprint;

    /// How sure a resuming hello that offers those suites makes that it is AnyConnect's.
    fn sure(suites: &[u16]) -> Option<super::super::Confidence> {
        let hello = ClientHello { cipher_suites: suites.iter().map(|n| CipherSuite(*n)).collect(), ..resuming(1, 7) };
        let mut dtls = DtlsFacts::default();
        let message = DtlsMessage::ClientHello(&hello, Version::DTLS_1_2);
        let place = (Timestamp::default(), FrameRef::default());
        observe_handshake(&mut dtls, place, Direction::ToServer, 0, &message, &mut HashSet::default());
        dtls.attempts.first().and_then(fingerprint).map(|(_, sure)| sure)
    }

    #[test]
    fn suites_of_things_are_not_anyconnects() {
        use super::super::Confidence::High;
        assert_eq!(sure(&[0xc030]), Some(High));
        assert_eq!(sure(&[0x00a9, 0xccab, 0xc0a5]), Some(High), "openconnect's PSK");
        assert_eq!(sure(&[0xc0a8]), None, "CoAP with PSK");
        assert_eq!(sure(&[0xc0ae, 0x00ff]), None, "CoAP with a certificate");
        assert_eq!(sure(&[0x00a9]), Some(High), "openconnect's, where it offers one");
    }

    /// A ClientHello as AnyConnect sends it: one suite, the id of a session.
    fn resuming(random: u8, id: u8) -> ClientHello {
        ClientHello {
            version: Version::DTLS_1_2,
            random: Some([random; 32]),
            session_id: SessionId::new(&[id; 32]).unwrap_or_default(),
            cipher_suites: vec![CipherSuite(0x35)],
            ..ClientHello::default()
        }
    }

    /// Is the last attempt AnyConnect's, after those messages on a flow each?
    fn is_anyconnect(messages: &[(Direction, DtlsMessage<'_>)]) -> bool {
        let mut tracker = Tracker::new(Limits::default());
        let frame = FrameRef { capture: 0, number: 1 };
        let mut tell = |what| tracker.observe(&Event { at: Timestamp::default(), frame, point: PointId(0), what });
        let ends = Endpoints { client: ([192, 0, 2, 1], 5000).into(), server: ([192, 0, 2, 2], 443).into() };
        let opened = Opened::bare(Protocol::Udp, ends, Timestamp::default());
        tell(What::Opened(FlowId(0), &opened));
        for (direction, message) in messages {
            let message = match message {
                DtlsMessage::ClientHello(hello, version) => DtlsMessage::ClientHello(hello, *version),
                DtlsMessage::ServerHello(hello) => DtlsMessage::ServerHello(hello),
                _ => DtlsMessage::Certificate,
            };
            tell(What::DtlsHandshake(FlowId(0), *direction, 0, message));
        }
        tell(What::Ended(FlowId(0), &opened, &Ended::default()));
        let flows = tracker.finish().flows;
        flows.iter().filter_map(|f| f.dtls.as_ref()?.attempts.last()).any(|a| fingerprint(a).is_some())
    }

    #[test]
    fn a_session_dtls_set_up_itself_is_not_anyconnects() {
        let hello = |hello| (Direction::ToServer, DtlsMessage::ClientHello(hello, Version::DTLS_1_2));
        let again = resuming(2, 7);
        assert!(is_anyconnect(&[hello(&again)]));

        let with_ticket = ClientHello { has_ticket: true, ..resuming(2, 7) };
        assert!(!is_anyconnect(&[hello(&with_ticket)]));

        let first = ClientHello { session_id: SessionId::default(), ..resuming(1, 0) };
        let given = ServerHello { session_id: again.session_id, ..ServerHello::default() };
        let answer = (Direction::ToClient, DtlsMessage::ServerHello(&given));
        assert!(!is_anyconnect(&[
            hello(&first),
            answer,
            (Direction::ToClient, DtlsMessage::Certificate),
            hello(&again)
        ]));
    }

    #[test]
    fn the_first_sealed_record_is_the_finished_unless_another_came_before() {
        let sealed = |content_types: [u8; 2]| {
            let mut dtls = DtlsFacts::default();
            let (hello, mut given) = (resuming(1, 7), HashSet::default());
            let message = DtlsMessage::ClientHello(&hello, Version::DTLS_1_2);
            let frame = |number| FrameRef { capture: 0, number };
            let place = (Timestamp::default(), frame(1));
            observe_handshake(&mut dtls, place, Direction::ToServer, 0, &message, &mut given);
            for (number, content_type) in (2..).zip(content_types) {
                let record = DtlsRecordSeen {
                    content_type,
                    version: Version::DTLS_1_2,
                    epoch: 1,
                    sequence: u64::from(number),
                    length: 40,
                    ip_len: 100,
                    unfinished: false,
                    cut_behind: false,
                };
                observe_record(&mut dtls, Timestamp::default(), frame(number), Direction::ToServer, &record);
            }
            let attempt = dtls.attempts.first()?;
            Some((attempt.protected()[0]?.1.number, attempt.seldom.is_some()))
        };
        assert_eq!(sealed([22, 23]), Some((2, false)));
        assert_eq!(sealed([21, 22]), Some((2, true)), "an alert");
    }

    #[test]
    fn records_count_for_the_attempt_and_the_version_before_them() {
        let suites = [CipherSuite(0x0035), CipherSuite(0xc030)];
        let empty = |suite: CipherSuite, version| {
            let length = suite.class().map_or(0, |class| Protection::new(class, version, false).dtls_record_len(0));
            DtlsRecordSeen {
                content_type: 23,
                version,
                epoch: 1,
                sequence: 1,
                length: length as u16,
                ip_len: 100,
                unfinished: false,
                cut_behind: false,
            }
        };
        let mut dtls = DtlsFacts::default();
        let mut seconds = 0.0;
        let mut told = |dtls: &mut DtlsFacts, what: Result<DtlsMessage<'_>, DtlsRecordSeen>| {
            seconds += 1.0;
            let (at, frame) = (Timestamp::default().plus_seconds(seconds), FrameRef::default());
            match what {
                Ok(message) => {
                    observe_handshake(dtls, (at, frame), Direction::ToServer, 0, &message, &mut HashSet::default());
                }
                Err(record) => {
                    let record = DtlsRecordSeen { sequence: seconds as u64, ..record };
                    observe_record(dtls, at, frame, Direction::ToServer, &record);
                }
            }
            dtls.unanswered(Direction::ToServer).control
        };
        for (n, suite) in (1..).zip(suites) {
            let hello = resuming(n, n);
            let answer =
                ServerHello { version: Version::DTLS_1_2, cipher_suite: Some(suite), ..ServerHello::default() };
            told(&mut dtls, Ok(DtlsMessage::ClientHello(&hello, Version::DTLS_1_2)));
            told(&mut dtls, Ok(DtlsMessage::ServerHello(&answer)));
            assert_eq!(told(&mut dtls, Err(empty(suite, Version::DTLS_1_2))), u32::from(n), "its own empty records");
        }
        let [_, last] = suites;
        assert_eq!(told(&mut dtls, Err(empty(suites[0], Version::DTLS_1_2))), 2, "those of the attempt before");
        assert_eq!(told(&mut dtls, Err(empty(last, Version::DTLS_1_0))), 3, "of another version");
        let protected = dtls.attempts.iter().map(|attempt| attempt.protected().map(|first| first.is_some()));
        assert_eq!(protected.collect::<Vec<_>>(), [[true, false]; 2]);
    }
}
