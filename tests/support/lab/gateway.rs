//! The gateway: answers logins, carries packets between tunnel and inside, and drops what its scenario says.

use super::packet::{Body, Datagram, Packet};
use super::scenario::{Dtls, Scenario};
use super::tls::{self, DtlsEnd, Generation};
use super::{Event, MILLI, Message, Place, Rng, Role, Time, World, inside_address, seconds};
use std::collections::HashMap;
use std::net::SocketAddr;

pub struct Gateway {
    /// The TLS connection of the session.
    tunnel: Option<usize>,
    association: Option<Association>,
    /// The session DTLS must name.
    session_id: Vec<u8>,
    cookies: u64,
    /// Flights of a full handshake sent so far to that client, records each.
    flights: HashMap<SocketAddr, u64>,
    /// Nobody listens until then.
    down_until: Time,
}

/// The gateway's end of DTLS.
struct Association {
    peer: SocketAddr,
    local: SocketAddr,
    end: DtlsEnd,
    up: bool,
    /// Data goes this way rather than over TLS.
    active: bool,
    /// The flight that ends with its Finished, when it answers the client's.
    flight: Vec<Vec<u8>>,
}

pub enum Timer {
    /// A ClientHello is answered at last.
    Answer(SocketAddr, SocketAddr, Vec<u8>),
    FragNeeded(Box<Packet>),
    /// It hung, and reads now.
    Read(usize, Message),
}

impl Gateway {
    pub fn new(_: &Scenario) -> Gateway {
        Gateway {
            tunnel: None,
            association: None,
            session_id: Vec::new(),
            cookies: 0,
            flights: HashMap::new(),
            down_until: 0,
        }
    }

    /// Does nobody listen?
    pub fn is_down(&self, now: Time) -> bool {
        now < self.down_until
    }
}

impl World {
    fn gateway_says(&mut self, i: usize, plain: usize, message: Message) {
        let record = self.suite().tls_record(plain, &mut self.rng);
        self.write(i, &record, message);
    }

    /// Until when it hangs, if it does.
    fn hangs_until(&self) -> Option<Time> {
        let [from, until] = self.scenario.gateway.hangs.map(seconds);
        (from..until).contains(&self.now).then_some(until)
    }

    pub fn gateway_reads(&mut self, i: usize, message: Message) {
        if let Some(until) = self.hangs_until() {
            return self.at(until, Event::Gateway(Timer::Read(i, message)));
        }
        match message {
            // Not the gateway's, but a proxy's in its place.
            Message::Proxy(tries) => {
                let answer = match tries {
                    1 => "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 12\r\n\r\n<p>Who?</p>\n",
                    _ => "HTTP/1.1 200 Connection established\r\n\r\n",
                };
                self.write(i, answer.as_bytes(), Message::ProxyAnswer(tries));
            }
            Message::Hello => {
                let flight = tls::server_flight(&self.suite(), &mut self.rng);
                self.write(i, &flight, Message::ServerFlight);
            }
            Message::ClientFinish => {
                let finish = tls::server_finish(&self.suite(), &mut self.rng);
                self.write(i, &finish, Message::ServerFinish);
            }
            Message::Ask(n) => {
                self.gateway_says(i, 250, Message::Nothing);
                self.gateway_says(i, 620, Message::Answer(n));
            }
            Message::Connect => {
                self.gateway.tunnel = Some(i);
                self.gateway.association = None;
                self.gateway.session_id = self.rng.bytes(32);
                if !self.scenario.client.stale_session_id || self.client.session_id.is_empty() {
                    self.client.session_id = self.gateway.session_id.clone();
                }
                self.gateway_says(i, 1500, Message::Nothing);
                self.gateway_says(i, 1200, Message::Connected);
            }
            Message::Data(packet) => {
                if let Some(association) = &mut self.gateway.association {
                    association.active = false;
                }
                self.inside(*packet);
            }
            Message::Dpd(len) if !self.is_deaf() => self.gateway_says(i, 8 + len, Message::DpdAnswer(len)),
            Message::Goodbye => {
                let alert = tls::close_notify(&self.suite(), &mut self.rng);
                self.write(i, &alert, Message::Nothing);
                self.close(i);
            }
            Message::Renegotiate => {
                let record = tls::renegotiation(&self.suite(), &mut self.rng);
                self.write(i, &record, Message::Nothing);
            }
            _ => {}
        }
    }

    fn is_deaf(&self) -> bool {
        self.now >= seconds(self.scenario.gateway.deaf_to_dpd_from)
    }

    /// A packet out of the tunnel.
    fn inside(&mut self, packet: Packet) {
        self.tap(2, &packet);
        let at = self.now + MILLI / 2;
        self.at(at, Event::Arrive(Place::Server, packet));
    }

    /// A packet from behind, for the client.
    pub fn gateway_takes_inner(&mut self, packet: Packet) {
        let how = self.scenario.gateway.clone();
        if packet.dst != self.scenario.client.inner(packet.dst.is_ipv4()) || self.hangs_until().is_some() {
            return;
        }
        let by_dtls = self.gateway.association.as_ref().is_some_and(|a| a.up && a.active);
        let limit = u32::from(if by_dtls { how.dtls_mtu } else { how.tls_mtu });
        let whole = packet.df || packet.src.is_ipv6();
        if how.drops_oversized && whole && packet.len() > limit {
            if how.frag_needed && !matches!(packet.body, Body::Icmp(_)) {
                let mtu = how.frag_needed_mtu.unwrap_or(limit);
                let error = Packet::too_big(inside_address(packet.src.is_ipv4()), mtu, &packet);
                let at = self.now + MILLI / 20 + seconds(how.frag_needed_after);
                self.at(at, Event::Gateway(Timer::FragNeeded(Box::new(error))));
            }
            return;
        }
        self.tunnel(packet, by_dtls);
    }

    fn tunnel(&mut self, packet: Packet, by_dtls: bool) {
        let len = packet.len() as usize;
        if by_dtls {
            return self.gateway_dtls_says(len, Message::Data(Box::new(packet)));
        }
        if let Some(i) = self.gateway.tunnel.filter(|i| self.conns[*i].tcp.is_open()) {
            self.gateway_says(i, 8 + len, Message::Data(Box::new(packet)));
        }
    }

    pub fn gateway_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Answer(peer, local, id) => self.gateway_flight(peer, local, &id),
            Timer::Read(i, message) => self.gateway_reads(i, message),
            Timer::FragNeeded(error) => {
                self.tap(2, &error);
                if !self.scenario.gateway.frag_needed_filtered {
                    self.at(self.now + MILLI / 10, Event::Arrive(Place::Server, *error));
                }
            }
        }
    }

    // ---- DTLS

    fn gateway_sends(&mut self, peer: SocketAddr, mut local: SocketAddr, bytes: Vec<u8>, note: Vec<Message>) {
        if let Some(other) = self.scenario.gateway.answers_from {
            local.set_ip(other);
        }
        if let Some(port) = self.scenario.gateway.answers_from_port {
            local.set_port(port);
        }
        let mut packet = Packet::udp(local, peer, bytes, note);
        packet.df = self.scenario.gateway.udp_df;
        self.send(Place::Gateway, packet);
    }

    fn gateway_dtls_says(&mut self, payload: usize, message: Message) {
        let Some(association) = &mut self.gateway.association else { return };
        let (peer, local) = (association.peer, association.local);
        let bytes = association.end.data(payload, &mut self.rng);
        self.gateway_sends(peer, local, bytes, vec![message]);
    }

    pub fn gateway_takes_dtls(&mut self, packet: &Packet, datagram: &Datagram) {
        let (peer, local) = packet.ends().unwrap();
        let how = self.scenario.gateway.clone();
        if how.dtls == Dtls::Refuses || local.port() != how.dtls_port {
            let kind = if packet.src.is_ipv4() { (3, 3) } else { (1, 4) };
            let mut error = Packet::error(how.address, kind, 0, packet);
            error.ttl = 255;
            return self.send(Place::Gateway, error);
        }
        if self.hangs_until().is_some() {
            return;
        }
        let is_deaf = self.is_deaf();
        for message in datagram.note.clone() {
            if let Message::DtlsHello { random: _, id, cookie } = message {
                self.gateway_takes_hello(peer, local, id, cookie);
                continue;
            }
            let Some(association) = &mut self.gateway.association else { continue };
            if association.peer != peer {
                if !how.follows_moves {
                    continue;
                }
                association.peer = peer;
            }
            match message {
                Message::Data(_) | Message::Dpd(_) if how.dtls == Dtls::IgnoresFinished => {}
                Message::DtlsClientFinished => self.gateway_finishes(peer, local),
                Message::Data(packet) => {
                    association.active = true;
                    self.inside(*packet);
                }
                Message::Dpd(len) if !is_deaf => self.gateway_dtls_says(len, Message::DpdAnswer(len)),
                Message::DtlsRekey => {
                    let bytes = association.end.rehandshake(&mut self.rng);
                    association.end.epoch += 1;
                    association.end.sequence = 0;
                    self.gateway_sends(peer, local, bytes, vec![Message::Nothing]);
                }
                _ => {}
            }
        }
    }

    fn gateway_takes_hello(&mut self, peer: SocketAddr, local: SocketAddr, id: Vec<u8>, cookie: Vec<u8>) {
        let how = self.scenario.gateway.clone();
        let generation = self.scenario.client.dtls;
        let stalls = how.dtls == Dtls::StallsAfterHelloVerify && !cookie.is_empty();
        if stalls {
            return;
        }
        let asks = how.hello_verify && cookie.is_empty() || how.dtls == Dtls::VerifiesForEver;
        if asks {
            self.gateway.cookies += 1;
            let mut cookie = self.gateway.cookies.to_be_bytes().to_vec();
            cookie.resize(20, 7);
            let mut end = DtlsEnd::new(self.dtls_suite_of_gateway(), generation, false);
            let bytes = end.hello_verify_request(&cookie);
            return self.gateway_sends(peer, local, bytes, vec![Message::DtlsVerify { cookie }]);
        }
        // A repeated hello starts the flight anew; an association that is up stays.
        if self.gateway.association.as_ref().is_some_and(|a| (a.up || how.answers_once) && a.peer == peer) {
            return;
        }
        let at = self.now + seconds(how.slow);
        self.at(at, Event::Gateway(Timer::Answer(peer, local, id)));
    }

    fn dtls_suite_of_gateway(&self) -> tls::Suite {
        let version = match self.scenario.client.dtls {
            Generation::Legacy => acpcap::event::Version::DTLS_0_9,
            _ => acpcap::event::Version::DTLS_1_2,
        };
        tls::Suite::new(&self.scenario.gateway.dtls_cipher, version)
    }

    /// ServerHello and what belongs to it.
    fn gateway_flight(&mut self, peer: SocketAddr, local: SocketAddr, id: &[u8]) {
        let (how, generation) = (self.scenario.gateway.clone(), self.scenario.client.dtls);
        let mut end = DtlsEnd::new(self.dtls_suite_of_gateway(), generation, false);
        if how.hello_verify {
            // The HelloVerifyRequest was record 0 and message 0.
            let _ = end.hello_verify_request(&[]);
        }
        if how.dtls == Dtls::Alert || id != self.gateway.session_id {
            let bytes = end.alert(40, &mut self.rng);
            return self.gateway_sends(peer, local, bytes, vec![Message::DtlsAlert]);
        }
        // The same flight again says the same, in records of new numbers.
        let mut rng = Rng(u64::from(peer.port()));
        end.sequence += *self.gateway.flights.get(&peer).unwrap_or(&0);
        let before = end.sequence;
        let random = rng.bytes(32);
        let full = how.dtls == Dtls::FullHandshake;
        let fresh = full || generation == Generation::Psk;
        let id = if fresh { rng.bytes(32) } else { id.to_vec() };
        let hello = end.server_hello(&random, &id);
        let last = how.dtls != Dtls::StallsAfterServerHello && !full;
        if full {
            self.gateway_sends(peer, local, hello, vec![Message::DtlsServerFlight { last: false }]);
            for record in end.certificate(how.fragment, &mut rng) {
                self.gateway_sends(peer, local, record, vec![Message::DtlsServerFlight { last: false }]);
            }
            let done = end.done();
            self.gateway_sends(peer, local, done, vec![Message::DtlsServerFlight { last: false }]);
        } else {
            let mut parts = vec![hello];
            if generation == Generation::Psk {
                parts.push(end.done());
            } else if last {
                let (change, finished) = end.finish(&mut self.rng);
                parts.extend([change, finished]);
            }
            self.gateway_sends_parts(peer, local, parts, Message::DtlsServerFlight { last });
        }
        if end.epoch == 0 {
            *self.gateway.flights.entry(peer).or_default() += end.sequence - before;
        }
        self.gateway.association = Some(Association { peer, local, end, up: false, active: true, flight: Vec::new() });
    }

    fn gateway_finishes(&mut self, peer: SocketAddr, local: SocketAddr) {
        let psk = self.scenario.client.dtls == Generation::Psk;
        let rejects = self.scenario.gateway.dtls == Dtls::RejectsFinished;
        if self.scenario.gateway.dtls == Dtls::IgnoresFinished {
            let id = self.gateway.session_id.clone();
            for after in [1.0, 3.0, 7.0, 15.0, 31.0] {
                self.at(self.now + seconds(after), Event::Gateway(Timer::Answer(peer, local, id.clone())));
            }
            return;
        }
        let Some(association) = &mut self.gateway.association else { return };
        if rejects {
            let bytes = association.end.alert(20, &mut self.rng);
            return self.gateway_sends(peer, local, bytes, vec![Message::DtlsAlert]);
        }
        association.up = true;
        if psk {
            if association.flight.is_empty() {
                let (change, finished) = association.end.finish(&mut self.rng);
                association.flight = vec![change, finished];
            }
            let parts = association.flight.clone();
            self.gateway_sends_parts(peer, local, parts, Message::DtlsServerFinished);
        }
    }

    /// A flight: in one datagram, or each message in its own.
    fn gateway_sends_parts(&mut self, peer: SocketAddr, local: SocketAddr, parts: Vec<Vec<u8>>, whole: Message) {
        if !self.scenario.gateway.apart {
            return self.gateway_sends(peer, local, parts.concat(), vec![whole]);
        }
        let all = u8::MAX >> (8 - parts.len());
        for (i, bytes) in parts.into_iter().enumerate() {
            let part = Message::DtlsPart(1 << i, all, Box::new(whole.clone()));
            self.gateway_sends(peer, local, bytes, vec![part]);
        }
    }

    /// Ends DTLS with a last word.
    pub fn closes_dtls(&mut self) {
        let Some(association) = &mut self.gateway.association else { return };
        let (peer, local) = (association.peer, association.local);
        let bytes = association.end.alert(0, &mut self.rng);
        association.active = false;
        self.gateway_sends(peer, local, bytes, vec![Message::DtlsAlert]);
    }

    /// Ends the tunnel connection, with a last word.
    pub fn gateway_closes(&mut self) {
        let Some(i) = self.gateway.tunnel else { return };
        self.gateway_says(i, 8 + 17, Message::Nothing);
        self.close(i);
    }

    /// Its service is gone: the system closes its connections and refuses new ones.
    pub fn gateway_dies(&mut self, length: Time) {
        self.gateway.down_until = self.now + length;
        self.gateway.association = None;
        if let Some(i) = self.gateway.tunnel.take() {
            self.close(i);
        }
    }

    /// RST: the gateway's own, or forged both ways by a box in the middle.
    pub fn reset_tunnel(&mut self, forged: bool) {
        let Some(i) = self.gateway.tunnel else { return };
        if !forged {
            let segment = self.conns[i].tcp.reset();
            return self.transmit(i, vec![segment]);
        }
        for j in 0..self.conns.len() {
            let is_tunnel = matches!(self.conns[j].role, Role::Tunnel | Role::LoginAndTunnel);
            if !is_tunnel || self.conns[j].tcp.is_gone() {
                continue;
            }
            let (from, to) = (self.conns[j].local, self.conns[j].remote);
            let mut packet = Packet::tcp(from, to, self.conns[j].tcp.forged_reset());
            (packet.ttl, packet.id) = (57, 0x3039);
            let at = self.now + 2 * MILLI;
            let place = if self.conns[j].place == Place::Gateway { Place::Client } else { Place::Gateway };
            self.at(at, Event::Arrive(place, packet));
        }
    }
}
