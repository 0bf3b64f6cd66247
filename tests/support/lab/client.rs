//! The client: login, tunnel, DTLS beside it, DPD, keepalive, and what it does when something fails.

use super::packet::{Datagram, Packet};
use super::scenario::Scenario;
use super::tls::{self, DtlsEnd, Generation, Suite};
use super::{Event, MILLI, Message, Place, Role, SECOND, Time, World, seconds};
use acpcap::event::Version;
use std::net::{IpAddr, SocketAddr};

/// From the answer to CONNECT to the first ClientHello.
const ADAPTER_UP: Time = 300 * MILLI;

pub struct Client {
    pub address: IpAddr,
    pub adapter_mtu: u16,
    /// The TLS connection that carries the tunnel.
    pub tunnel: Option<usize>,
    /// What the gateway named in its answer to CONNECT.
    pub session_id: Vec<u8>,
    port: u16,
    dtls: Option<Dtls>,
    /// Counts set-ups of DTLS and of the tunnel: timers of earlier ones are stale.
    generation: u64,
    tls_heard: Time,
    tls_sent: Time,
    tls_dpds: u32,
    old: Option<usize>,
}

/// The client's end of DTLS.
struct Dtls {
    local: SocketAddr,
    end: DtlsEnd,
    random: Vec<u8>,
    id: Vec<u8>,
    cookie: Vec<u8>,
    finished: bool,
    up: bool,
    heard: Time,
    sent: Time,
    dpds: u32,
    probe: Option<usize>,
    /// The datagrams of the gateway's flight that came, a bit each.
    parts: u8,
    /// The flight that ends with its Finished.
    flight: Vec<u8>,
}

pub enum Timer {
    StartDtls(u64),
    Hello(u64),
    /// It sends the flight with its Finished again.
    Finished(u64),
    GiveUp(u64),
    /// Every second: DPD and keepalive.
    Check(u64),
    MtuReconnect(u64),
    Open(u64),
    Probe(u64, usize, u32),
    Wake,
    Empty(usize),
    CloseOld(usize),
    /// The goodbye was said: close_notify follows.
    Notify(usize),
}

impl Client {
    pub fn new(scenario: &Scenario) -> Client {
        Client {
            address: scenario.client.address,
            adapter_mtu: 1500,
            tunnel: None,
            session_id: Vec::new(),
            port: 52_000,
            dtls: None,
            generation: 0,
            tls_heard: 0,
            tls_sent: 0,
            tls_dpds: 0,
            old: None,
        }
    }

    pub fn next_port(&mut self) -> u16 {
        self.port += 2;
        self.port
    }
}

impl World {
    fn later(&mut self, after: Time, timer: Timer) {
        self.at(self.now + after, Event::Client(timer));
    }

    pub fn client_starts(&mut self) {
        let role = if self.scenario.client.separate_login { Role::Login } else { Role::LoginAndTunnel };
        self.dial(role);
    }

    fn dial(&mut self, role: Role) -> usize {
        let local = SocketAddr::new(self.client.address, self.client.next_port());
        let port = if self.scenario.client.proxy { 3128 } else { 443 };
        let remote = SocketAddr::new(self.scenario.gateway.address, port);
        let mss = self.scenario.client.mss;
        let i = self.connect(Place::Client, local, remote, mss, role);
        if role != Role::Login {
            self.client.tunnel = Some(i);
        }
        i
    }

    pub fn client_asks_proxy(&mut self, i: usize, tries: u32) {
        let password = if tries > 1 { "Proxy-Authorization: Basic dXNlcjpwbGFudGVkLXNlY3JldA==\r\n" } else { "" };
        let ask = format!("CONNECT vpn.example.com:443 HTTP/1.1\r\nHost: vpn.example.com:443\r\n{password}\r\n");
        self.write(i, ask.as_bytes(), Message::Proxy(tries));
    }

    pub fn client_says_hello(&mut self, i: usize) {
        let agent = self.conns[i].role == Role::Tunnel;
        let hello = tls::client_hello(&self.suite(), agent, &mut self.rng);
        self.write(i, &hello, Message::Hello);
    }

    fn say(&mut self, i: usize, plain: usize, message: Message) {
        let record = self.suite().tls_record(plain, &mut self.rng);
        self.client.tls_sent = self.now;
        self.write(i, &record, message);
    }

    pub fn client_reads(&mut self, i: usize, message: Message) {
        let role = self.conns[i].role;
        if self.client.tunnel == Some(i) {
            self.client.tls_heard = self.now;
        }
        match message {
            Message::ProxyAnswer(1) => self.client_asks_proxy(i, 2),
            Message::ProxyAnswer(_) => self.client_says_hello(i),
            Message::ServerFlight => {
                let finish = tls::client_finish(&self.suite(), &mut self.rng);
                self.write(i, &finish, Message::ClientFinish);
            }
            Message::ServerFinish if role == Role::Tunnel => self.say(i, 900, Message::Connect),
            Message::ServerFinish => self.say(i, 1050, Message::Ask(1)),
            Message::Answer(1) if role != Role::Web => self.say(i, 1060, Message::Ask(2)),
            Message::Answer(2) if role == Role::Login => {
                self.close(i);
                self.dial(Role::Tunnel);
            }
            Message::Answer(2) => self.say(i, 900, Message::Connect),
            Message::Answer(_) => self.close(i),
            Message::Connected => self.connected(),
            Message::Data(packet) => self.at(self.now, Event::Arrive(Place::Adapter, *packet)),
            Message::Dpd(len) => self.say(i, 8 + len, Message::DpdAnswer(len)),
            Message::DpdAnswer(_) => self.client.tls_dpds = 0,
            _ => {}
        }
    }

    /// The gateway accepted: the adapter comes up, DTLS begins.
    fn connected(&mut self) {
        self.client.generation += 1;
        let (generation, gateway) = (self.client.generation, self.scenario.gateway.clone());
        let told = self.scenario.client.adapter_mtu;
        let offered = self.scenario.client.dtls != Generation::Off;
        let mtu = if offered { gateway.tls_mtu.max(gateway.dtls_mtu) } else { gateway.tls_mtu };
        self.client.adapter_mtu = if told > 0 { told } else { mtu };
        self.client.tls_dpds = 0;
        if offered {
            self.later(ADAPTER_UP, Timer::StartDtls(generation));
        }
        self.later(SECOND, Timer::Check(generation));
        let minute = self.scenario.client.mtu_reconnect;
        if minute > 0.0 && gateway.tls_mtu != gateway.dtls_mtu {
            self.later(seconds(minute), Timer::MtuReconnect(generation));
        }
        if let Some(old) = self.client.old.take() {
            self.later(100 * MILLI, Timer::CloseOld(old));
        }
    }

    pub fn client_timer(&mut self, timer: Timer) {
        let current = self.client.generation;
        match timer {
            Timer::StartDtls(generation) if generation == current => self.start_dtls(),
            Timer::Hello(generation) if generation == current => self.dtls_hello(),
            Timer::Finished(generation) if generation == current && !self.dtls_is_up() => {
                let flight = self.client.dtls.as_ref().map(|dtls| dtls.flight.clone());
                flight.into_iter().for_each(|bytes| self.dtls_send(bytes, vec![Message::DtlsClientFinished]));
            }
            Timer::GiveUp(generation) if generation == current && !self.dtls_is_up() => {
                self.client.dtls = None;
                let again = self.scenario.client.again_after;
                if again > 0.0 {
                    self.later(seconds(again), Timer::StartDtls(generation));
                }
            }
            Timer::Check(generation) if generation == current => {
                self.later(SECOND, Timer::Check(generation));
                self.check();
            }
            Timer::Notify(i) => {
                let alert = tls::close_notify(&self.suite(), &mut self.rng);
                self.write(i, &alert, Message::Nothing);
            }
            Timer::MtuReconnect(generation) if generation == current && !self.dtls_is_up() => {
                self.scenario.client.mtu_reconnect = 0.0;
                self.scenario.client.adapter_mtu = self.scenario.gateway.tls_mtu;
                self.scenario.client.dtls = Generation::Off;
                self.client_reconnects(SECOND);
            }
            Timer::Open(generation) if generation == current => {
                self.dial(Role::Tunnel);
            }
            Timer::Probe(generation, size, tries) if generation == current => self.probe(size, tries),
            Timer::Wake => self.client_reconnects(300 * MILLI),
            Timer::Empty(i) => {
                self.conns[i].tcp.receive_window = 0xffff;
                self.announce_window(i);
            }
            Timer::CloseOld(i) => self.close(i),
            _ => {}
        }
    }

    fn announce_window(&mut self, i: usize) {
        let mut out = Vec::new();
        self.conns[i].tcp.announce(&mut out);
        self.transmit(i, out);
    }

    /// The client's receive buffer stays full.
    pub fn client_is_full(&mut self, length: Time) {
        let Some(i) = self.client.tunnel else { return };
        self.conns[i].tcp.receive_window = 0;
        self.announce_window(i);
        self.later(length, Timer::Empty(i));
    }

    // ---- DTLS

    pub fn dtls_is_up(&self) -> bool {
        self.client.dtls.as_ref().is_some_and(|dtls| dtls.up)
    }

    /// Gives DTLS up without a word.
    pub fn client_drops_dtls(&mut self) {
        self.client.dtls = None;
    }

    fn dtls_suite(&self) -> Suite {
        let version = match self.scenario.client.dtls {
            Generation::Legacy => Version::DTLS_0_9,
            _ => Version::DTLS_1_2,
        };
        Suite::new(&self.scenario.gateway.dtls_cipher, version)
    }

    fn start_dtls(&mut self) {
        let generation = self.client.generation;
        let how = self.scenario.client.clone();
        let port = self.scenario.client.dtls_local_port.unwrap_or_else(|| self.client.next_port());
        let local = SocketAddr::new(self.client.address, port);
        let (random, id) = (self.rng.bytes(32), self.client.session_id.clone());
        let end = DtlsEnd::new(self.dtls_suite(), how.dtls, true);
        let now = self.now;
        self.client.dtls = Some(Dtls {
            local,
            end,
            random,
            id,
            cookie: Vec::new(),
            finished: false,
            up: false,
            heard: now,
            sent: now,
            dpds: 0,
            probe: None,
            parts: 0,
            flight: Vec::new(),
        });
        for after in how.hellos.iter().filter(|after| **after < how.patience) {
            self.later(seconds(*after), Timer::Hello(generation));
        }
        self.later(seconds(how.patience), Timer::GiveUp(generation));
    }

    fn dtls_hello(&mut self) {
        let generation = self.scenario.client.dtls;
        let Some(dtls) = self.client.dtls.as_mut().filter(|dtls| !dtls.finished) else { return };
        let (random, id, cookie) = (dtls.random.clone(), dtls.id.clone(), dtls.cookie.clone());
        let bytes = dtls.end.client_hello(generation, &random, &id, &cookie);
        self.dtls_send(bytes, vec![Message::DtlsHello { random, id, cookie }]);
    }

    fn dtls_send(&mut self, bytes: Vec<u8>, note: Vec<Message>) {
        let Some(dtls) = &mut self.client.dtls else { return };
        dtls.local.set_ip(self.client.address);
        dtls.sent = self.now;
        let remote = SocketAddr::new(self.scenario.gateway.address, self.scenario.gateway.dtls_port);
        let mut packet = Packet::udp(dtls.local, remote, bytes, note);
        packet.df = self.scenario.client.udp_df;
        self.send(Place::Client, packet);
    }

    fn dtls_say(&mut self, payload: usize, message: Message) {
        let Some(dtls) = &mut self.client.dtls else { return };
        let bytes = dtls.end.data(payload, &mut self.rng);
        self.dtls_send(bytes, vec![message]);
    }

    pub fn client_takes_dtls(&mut self, packet: &Packet, datagram: &Datagram) {
        let to = SocketAddr::new(packet.dst, datagram.ports.1);
        let is_dropped = self.now >= seconds(self.scenario.client.drops_udp_from);
        let gateway = SocketAddr::new(self.scenario.gateway.address, self.scenario.gateway.dtls_port);
        if SocketAddr::new(packet.src, datagram.ports.0) != gateway || is_dropped {
            return;
        }
        let Some(dtls) = self.client.dtls.as_mut().filter(|dtls| dtls.local == to) else { return };
        dtls.heard = self.now;
        dtls.dpds = 0;
        for message in datagram.note.clone() {
            self.dtls_reads(message);
        }
    }

    fn dtls_reads(&mut self, message: Message) {
        let generation = self.scenario.client.dtls;
        let Some(dtls) = &mut self.client.dtls else { return };
        match message {
            Message::DtlsVerify { cookie } if !dtls.finished => {
                dtls.cookie = cookie;
                self.dtls_hello();
            }
            Message::DtlsServerFlight { last: true } if !dtls.finished => {
                dtls.finished = true;
                let mut bytes = Vec::new();
                dtls.end.version = if generation == Generation::Legacy { [1, 0] } else { [0xfe, 0xfd] };
                if generation == Generation::Psk {
                    bytes.extend(dtls.end.psk_exchange());
                }
                let (change, finished) = dtls.end.finish(&mut self.rng);
                bytes.extend([change, finished].concat());
                dtls.flight = bytes.clone();
                self.dtls_send(bytes, vec![Message::DtlsClientFinished]);
                let current = self.client.generation;
                for after in self.scenario.client.finished_again.clone() {
                    self.later(seconds(after), Timer::Finished(current));
                }
                if generation != Generation::Psk {
                    self.dtls_up();
                }
            }
            Message::DtlsPart(part, all, whole) => {
                dtls.parts |= part;
                if dtls.parts == all {
                    dtls.parts = 0;
                    self.dtls_reads(*whole);
                }
            }
            Message::DtlsServerFinished => self.dtls_up(),
            Message::DtlsAlert => self.client.dtls = None,
            Message::Data(packet) => self.at(self.now, Event::Arrive(Place::Adapter, *packet)),
            Message::Dpd(len) => self.dtls_say(len, Message::DpdAnswer(len)),
            Message::DpdAnswer(len) if dtls.probe.is_some_and(|size| size == len) => {
                dtls.probe = None;
                self.client.adapter_mtu = self.client.adapter_mtu.min(len as u16);
            }
            _ => {}
        }
    }

    fn dtls_up(&mut self) {
        let Some(dtls) = &mut self.client.dtls else { return };
        dtls.up = true;
        if self.scenario.client.probes {
            self.probe(usize::from(self.client.adapter_mtu), 0);
        }
    }

    /// Full-size DPDs, six of each size, fifty milliseconds apart.
    fn probe(&mut self, size: usize, tries: u32) {
        const STEP: usize = 32;
        let generation = self.client.generation;
        let Some(dtls) = self.client.dtls.as_mut().filter(|dtls| dtls.up) else { return };
        if tries > 0 && dtls.probe != Some(size) {
            return;
        }
        let (size, tries) = if tries == 6 { (size - STEP, 0) } else { (size, tries) };
        dtls.probe = Some(size);
        self.dtls_say(size, Message::Dpd(size));
        self.later(50 * MILLI, Timer::Probe(generation, size, tries + 1));
    }

    /// An ICMP error came back for a DTLS packet.
    pub fn client_is_refused(&mut self, mtu: Option<u32>) {
        match (mtu, &self.client.dtls) {
            (Some(mtu), _) => {
                let fits = self
                    .dtls_suite()
                    .sealed
                    .dtls_mtu(acpcap::session::mtu::LinkMtu(mtu as u16), acpcap::session::mtu::OuterIp::V4);
                if let Some(terms) = fits {
                    self.client.adapter_mtu = self.client.adapter_mtu.min(terms.result.0);
                }
            }
            (None, Some(dtls)) if !dtls.up => self.client.dtls = None,
            _ => {}
        }
    }

    // ---- life of the tunnel

    fn check(&mut self) {
        let how = self.scenario.client.clone();
        let now = self.now;
        let due = |heard: Time, dpds: u32| now - heard >= seconds(how.dpd) * Time::from(dpds + 1);
        if let Some(dtls) = self.client.dtls.as_mut().filter(|dtls| dtls.up) {
            if due(dtls.heard, dtls.dpds) {
                if dtls.dpds >= how.dpd_tries {
                    self.client.dtls = None;
                    let generation = self.client.generation;
                    self.later(100 * MILLI, Timer::StartDtls(generation));
                } else {
                    dtls.dpds += 1;
                    self.dtls_say(0, Message::Dpd(0));
                }
            } else if now - dtls.sent >= seconds(how.keepalive) {
                self.dtls_say(0, Message::Keepalive);
            }
        }
        let Some(i) = self.client.tunnel.filter(|i| self.conns[*i].tcp.is_open()) else { return };
        if due(self.client.tls_heard, self.client.tls_dpds) {
            if self.client.tls_dpds >= how.dpd_tries {
                self.conns[i].tcp.forget();
                self.client_reconnects(SECOND);
            } else {
                self.client.tls_dpds += 1;
                self.say(i, 8, Message::Dpd(0));
            }
        } else if now - self.client.tls_sent >= seconds(how.keepalive) {
            self.say(i, 8, Message::Keepalive);
        }
    }

    /// Ends the tunnel and opens another after `gap`.
    pub fn client_reconnects(&mut self, gap: Time) {
        if let Some(i) = self.client.tunnel.take()
            && self.conns[i].tcp.is_open()
        {
            if self.scenario.client.polite {
                self.say(i, 8 + 17, Message::Goodbye);
                self.later(MILLI, Timer::Notify(i));
            } else {
                self.close(i);
            }
        }
        self.client.dtls = None;
        self.client.generation += 1;
        let generation = self.client.generation;
        self.later(gap, Timer::Open(generation));
    }

    /// A second tunnel beside the first, which then goes.
    pub fn client_optimises(&mut self) {
        self.client.old = self.client.tunnel;
        self.dial(Role::Tunnel);
    }

    pub fn client_leaves(&mut self) {
        if let Some(i) = self.client.tunnel.take() {
            self.say(i, 8 + 17, Message::Nothing);
            self.close(i);
        }
        self.client.dtls = None;
        self.client.generation += 1;
    }

    pub fn client_lost_connection(&mut self, i: usize) {
        let mine = self.client.tunnel == Some(i);
        self.close(i);
        if mine {
            self.client_reconnects(SECOND);
        }
    }

    /// A packet of an application: into the tunnel.
    pub fn client_takes_inner(&mut self, packet: Packet) {
        let len = packet.len() as usize;
        if self.dtls_is_up() {
            return self.dtls_say(len, Message::Data(Box::new(packet)));
        }
        if let Some(i) = self.client.tunnel.filter(|i| self.conns[*i].tcp.is_open()) {
            self.say(i, 8 + len, Message::Data(Box::new(packet)));
        }
    }

    pub fn rekey(&mut self, what: &str, answered: bool) {
        match (what, self.client.tunnel) {
            ("tls", Some(i)) => {
                let record = tls::renegotiation(&self.suite(), &mut self.rng);
                self.write(i, &record, if answered { Message::Renegotiate } else { Message::Nothing });
            }
            ("dtls", _) => {
                let Some(dtls) = &mut self.client.dtls else { return };
                let bytes = dtls.end.rehandshake(&mut self.rng);
                if answered {
                    dtls.end.epoch += 1;
                    dtls.end.sequence = 0;
                }
                self.dtls_send(bytes, vec![if answered { Message::DtlsRekey } else { Message::Nothing }]);
            }
            _ => {}
        }
    }
}
