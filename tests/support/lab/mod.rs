//! A laboratory: one client, one hop, one gateway, one server behind it, and a clock that nobody waits for.
//!
//! Promises: the same scenario gives the same bytes; packets are valid; what a place captures is what passed it.
//! Refuses: to encrypt. Records have the right type and length and hold noise; what they would say goes beside them.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test's own tool")]

mod capture;
mod client;
mod gateway;
mod packet;
pub mod scenario;
mod tcp;
mod tls;

use client::Client;
use gateway::Gateway;
use packet::{Body, Error, Packet, SYN, Segment};
use scenario::{Action, Rule, Scenario};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use tcp::Tcp;
use tls::Suite;

pub use capture::{Tap, pcapng};

/// Nanoseconds since the scenario began.
pub type Time = i64;

pub const MILLI: Time = 1_000_000;
pub const SECOND: Time = 1000 * MILLI;

pub fn seconds(s: f64) -> Time {
    if s >= 1e9 { Time::MAX / 4 } else { (s * 1e9) as Time }
}

/// SplitMix64: the same noise every time.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Letters: what no dissector takes for a protocol.
    pub fn text(&mut self, len: usize) -> Vec<u8> {
        self.bytes(len).into_iter().map(|b| b'a' + b % 26).collect()
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.number().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// What records say to who has the keys.
#[derive(Clone, Debug)]
pub enum Message {
    /// An HTTP CONNECT, first without and then with a password.
    Proxy(u32),
    ProxyAnswer(u32),
    Hello,
    ServerFlight,
    ClientFinish,
    ServerFinish,
    /// A request of the login, by number.
    Ask(u32),
    Answer(u32),
    Connect,
    Connected,
    Data(Box<Packet>),
    Dpd(usize),
    DpdAnswer(usize),
    Keepalive,
    Renegotiate,
    Nothing,
    Goodbye,
    /// Inner application: send me so many bytes; that was all.
    Get(usize),
    End,
    DtlsHello {
        random: Vec<u8>,
        id: Vec<u8>,
        cookie: Vec<u8>,
    },
    DtlsVerify {
        cookie: Vec<u8>,
    },
    /// The server's flight; `last` when its Finished (or Done) is in it.
    DtlsServerFlight {
        last: bool,
    },
    /// One datagram of a flight: its bit, the bits of all, and what the whole of it says.
    DtlsPart(u8, u8, Box<Message>),
    DtlsClientFinished,
    DtlsServerFinished,
    DtlsRekey,
    DtlsAlert,
}

/// Where a stack runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The client's physical interface.
    Client,
    /// The client's VPN adapter.
    Adapter,
    /// The gateway's outside.
    Gateway,
    /// Behind its inside.
    Server,
    /// Somewhere on the Internet.
    Elsewhere,
}

/// What a TCP connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Login,
    Tunnel,
    LoginAndTunnel,
    /// Opened by an application inside the tunnel.
    Inner {
        get: usize,
        put: usize,
    },
    Web,
}

/// One end of a TCP connection.
pub struct Conn {
    pub place: Place,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub tcp: Tcp,
    pub role: Role,
    /// Index into `World::pipes`.
    pipe: usize,
    opener: bool,
}

enum Event {
    Arrive(Place, Packet),
    /// A packet reaches the gateway's inside interface from behind.
    AtInside(Packet),
    TcpTimer(usize),
    Act(usize),
    Client(client::Timer),
    Gateway(gateway::Timer),
    /// A packet leaves a place.
    Leave(Place, Packet),
}

struct Queued(Time, u64, Event);

impl PartialEq for Queued {
    fn eq(&self, other: &Queued) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Queued) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Queued) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// A translation of the hop: when it was last used.
#[derive(Clone, Debug)]
struct Mapping {
    inside: SocketAddr,
    outside: SocketAddr,
    udp: bool,
    last: Time,
    /// Forgotten: datagrams of that inside end die here.
    dead: bool,
}

/// What a pipe carries one way: where each message ends, and the message.
type Pipe = VecDeque<(usize, Message)>;

/// Everything.
pub struct World {
    pub now: Time,
    pub rng: Rng,
    pub scenario: Scenario,
    pub conns: Vec<Conn>,
    pub client: Client,
    pub gateway: Gateway,
    taps: [Tap; 4],
    pipes: Vec<[Pipe; 2]>,
    queue: BinaryHeap<Reverse<Queued>>,
    queued: u64,
    ids: HashMap<IpAddr, u16>,
    mappings: Vec<Mapping>,
    next_nat_port: u16,
    seen_by_rule: HashMap<usize, (Time, u32)>,
    asleep_until: Time,
}

/// Address of the hop between client and gateway.
fn hop_address(v4: bool) -> IpAddr {
    if v4 { IpAddr::from([192, 0, 2, 1]) } else { "2001:db8:ff::1".parse().unwrap() }
}

pub fn server_address(v4: bool) -> IpAddr {
    if v4 { IpAddr::from([10, 48, 66, 200]) } else { "2001:db8:66::200".parse().unwrap() }
}

pub fn inside_address(v4: bool) -> IpAddr {
    if v4 { IpAddr::from([10, 48, 66, 1]) } else { "2001:db8:66::1".parse().unwrap() }
}

/// Plays a scenario; the captures of all four places.
pub fn play(scenario: &Scenario) -> Vec<Tap> {
    let mut world = World::new(scenario.clone());
    if scenario.client.dials {
        world.client_starts();
    }
    for i in 0..scenario.actions.len() {
        world.at(seconds(scenario.actions[i].at), Event::Act(i));
    }
    let end = seconds(scenario.until);
    while let Some(Reverse(Queued(at, _, event))) = world.queue.pop() {
        if at > end {
            break;
        }
        world.now = at;
        world.handle(event);
    }
    world.taps.into_iter().map(|tap| tap.finish(scenario)).collect()
}

impl World {
    fn new(scenario: Scenario) -> World {
        World {
            now: 0,
            rng: Rng(u64::from(scenario.client.user - 1)),
            client: Client::new(&scenario),
            gateway: Gateway::new(&scenario),
            taps: ["client", "outside", "inside", "virtual-adapter"].map(Tap::new),
            scenario,
            conns: Vec::new(),
            pipes: Vec::new(),
            queue: BinaryHeap::new(),
            queued: 0,
            ids: HashMap::new(),
            mappings: Vec::new(),
            next_nat_port: 40_000,
            seen_by_rule: HashMap::new(),
            asleep_until: 0,
        }
    }

    fn at(&mut self, at: Time, event: Event) {
        self.queued += 1;
        self.queue.push(Reverse(Queued(at.max(self.now), self.queued, event)));
    }

    fn handle(&mut self, event: Event) {
        let asleep = self.now < self.asleep_until;
        match event {
            Event::Arrive(Place::Client | Place::Adapter, _) if asleep => {}
            Event::Arrive(place, packet) => self.arrive(place, packet),
            Event::AtInside(packet) => {
                self.tap(2, &packet);
                self.gateway_takes_inner(packet);
            }
            Event::TcpTimer(i) => {
                let mine = matches!(self.conns[i].place, Place::Client | Place::Adapter);
                if asleep && mine {
                    let wake = self.asleep_until;
                    self.conns[i].tcp.due = Some(wake);
                    self.at(wake, Event::TcpTimer(i));
                } else if self.conns[i].tcp.due == Some(self.now) {
                    let mut out = Vec::new();
                    self.conns[i].tcp.timeout(self.now, &mut out);
                    self.transmit(i, out);
                }
            }
            Event::Act(i) => {
                let action = self.scenario.actions[i].clone();
                self.act(&action);
            }
            Event::Client(timer) if asleep => {
                let wake = self.asleep_until;
                self.at(wake, Event::Client(timer));
            }
            Event::Client(timer) => self.client_timer(timer),
            Event::Gateway(timer) => self.gateway_timer(timer),
            Event::Leave(place, packet) => self.send(place, packet),
        }
    }

    fn act(&mut self, action: &Action) {
        let v4 = !self.scenario.client.inner_v6;
        if action.get.is_some() || action.put.is_some() {
            self.open_inner(action.get.unwrap_or(0), action.put.unwrap_or(0));
        }
        let (server, inner) =
            (SocketAddr::new(server_address(v4), 7), SocketAddr::new(self.scenario.client.inner(v4), 50_007));
        let payload = |size: u16| usize::from(size) - if v4 { 28 } else { 48 };
        for i in 0..action.times.unwrap_or(1) {
            let later = SECOND * Time::from(i) / Time::from(action.times.unwrap_or(1));
            if let Some(size) = action.server_udp {
                let noise = self.rng.text(payload(size));
                self.at(self.now + later, Event::Leave(Place::Server, Packet::udp(server, inner, noise, Vec::new())));
            }
            if let Some(size) = action.client_udp {
                let noise = self.rng.text(payload(size));
                self.at(self.now + later, Event::Leave(Place::Adapter, Packet::udp(inner, server, noise, Vec::new())));
            }
        }
        if let Some(host) = action.quic {
            self.quic(host, action.answered);
        }
        if let Some(host) = action.ipsec {
            self.ipsec(host);
        }
        if action.rebind {
            self.mappings.retain(|mapping| !mapping.udp);
        }
        if let Some(address) = action.roam {
            self.client.address = address;
        }
        if let Some(length) = action.sleep {
            self.asleep_until = self.now + seconds(length);
            self.at(self.asleep_until, Event::Client(client::Timer::Wake));
        }
        if action.reset || action.gateway_reset {
            self.reset_tunnel(action.reset);
        }
        if let Some(mtu) = action.mtu {
            (self.scenario.gateway.tls_mtu, self.scenario.gateway.dtls_mtu) = (mtu, mtu);
            self.scenario.client.adapter_mtu = 0;
        }
        if let Some(gateway) = action.hop_to {
            self.scenario.gateway.address = gateway;
            self.client_leaves();
            self.client_starts();
        }
        if action.optimise {
            self.client_optimises();
        }
        if action.reconnect {
            self.client_reconnects(seconds(1.0));
        }
        if let Some(what) = &action.rekey {
            self.rekey(what, action.answered);
        }
        if let Some(length) = action.full {
            self.client_is_full(seconds(length));
        }
        if action.drops_dtls {
            self.client_drops_dtls();
        }
        if action.closes_dtls {
            self.closes_dtls();
        }
        if action.gateway_closes {
            self.gateway_closes();
        }
        if let Some(length) = action.gateway_dies {
            self.gateway_dies(seconds(length));
        }
        if action.bye {
            self.client_leaves();
        }
    }

    // ---- packets on their way

    fn tap(&mut self, which: usize, packet: &Packet) {
        let bytes = packet.bytes();
        self.taps[which].see(self.now, &bytes, self.now >= seconds(self.scenario.from));
    }

    /// A packet leaves a stack.
    pub fn send(&mut self, place: Place, mut packet: Packet) {
        if matches!(place, Place::Client | Place::Adapter) && self.now < self.asleep_until {
            return;
        }
        let id = self.ids.entry(packet.src).or_insert(1);
        packet.id = *id;
        *id = id.wrapping_add(1);
        match place {
            Place::Client => {
                self.tap(0, &packet);
                self.out(packet);
            }
            Place::Gateway => {
                packet.ttl = 255;
                self.tap(1, &packet);
                self.back(packet);
            }
            Place::Adapter => {
                packet.ttl = 128;
                self.tap(3, &packet);
                self.client_takes_inner(packet);
            }
            Place::Server => {
                let at = self.now + MILLI / 2;
                packet.ttl = 63;
                self.at(at, Event::AtInside(packet));
            }
            Place::Elsewhere => self.back(packet),
        }
    }

    fn delay(&self) -> Time {
        (self.scenario.link.delay_ms * 1e6) as Time
    }

    /// From the client over the hop.
    fn out(&mut self, mut packet: Packet) {
        let Some(extra) = self.rules(&packet, "out") else { return };
        packet.df &= !self.scenario.link.clears_df;
        if self.scenario.link.clamp_mss.is_some() {
            self.clamp(&mut packet);
        }
        let Some(pieces) = self.fits(&packet) else { return };
        if !self.translate_out(&mut packet) {
            return;
        }
        packet.ttl -= self.scenario.link.routers;
        let at = self.now + 2 * self.delay() + extra;
        let to = if packet.dst == self.scenario.gateway.address { Place::Gateway } else { Place::Elsewhere };
        self.deliver(at, to, packet, pieces);
    }

    /// Back to the client over the hop.
    fn back(&mut self, mut packet: Packet) {
        let Some(extra) = self.rules(&packet, "back") else { return };
        packet.df &= !self.scenario.link.clears_df;
        if self.scenario.link.clamp_mss.is_some() {
            self.clamp(&mut packet);
        }
        let Some(pieces) = self.fits(&packet) else { return };
        if !self.translate_back(&mut packet) {
            return;
        }
        packet.ttl -= self.scenario.link.routers;
        let at = self.now + 2 * self.delay() + extra;
        self.deliver(at, Place::Client, packet, pieces);
    }

    /// Does the link carry it? In how many pieces; a drop is told where it should be.
    fn fits(&mut self, packet: &Packet) -> Option<u32> {
        let mtu = self.scenario.link.mtu;
        if packet.len() <= mtu {
            return Some(0);
        }
        if !packet.df && packet.src.is_ipv4() {
            return Some(mtu);
        }
        if self.scenario.link.icmp {
            let error = Packet::too_big(hop_address(packet.src.is_ipv4()), mtu, packet);
            self.hop_says(error);
        }
        None
    }

    /// A message of the hop itself.
    fn hop_says(&mut self, packet: Packet) {
        let to_client = packet.dst == self.client.address;
        let at = self.now + 2 * self.delay();
        let to = if to_client { Place::Client } else { Place::Gateway };
        self.deliver(at, to, packet, 0);
    }

    fn deliver(&mut self, at: Time, to: Place, packet: Packet, mtu: u32) {
        if mtu == 0 {
            return self.at(at, Event::Arrive(to, packet));
        }
        // In pieces: a place captures each, its stack takes the whole.
        let pieces = packet.pieces(mtu);
        let last = self.scenario.rule.iter().any(|rule| rule.what == "fragments");
        let which = if to == Place::Client { 0 } else { 1 };
        for piece in pieces.iter().take(if last { 1 } else { pieces.len() }) {
            self.taps[which].see(at, piece, at >= seconds(self.scenario.from));
        }
        if !last {
            let mut packet = packet;
            packet.id = 0xffff;
            self.at(at, Event::Arrive(to, packet));
        }
    }

    /// Extra delay, or `None` when a rule drops it.
    fn rules(&mut self, packet: &Packet, way: &str) -> Option<Time> {
        let mut extra = 0;
        for i in 0..self.scenario.rule.len() {
            let rule = self.scenario.rule[i].clone();
            if !self.applies(&rule, i, packet, way) {
                continue;
            }
            if rule.delay_ms > 0.0 {
                extra += (rule.delay_ms * 1e6) as Time;
                continue;
            }
            if let Some(code) = rule.refuse {
                let kind = if packet.src.is_ipv4() { (3, code) } else { (1, 1) };
                let error = Packet::error(hop_address(packet.src.is_ipv4()), kind, 0, packet);
                self.hop_says(error);
            }
            return None;
        }
        Some(extra)
    }

    fn applies(&mut self, rule: &Rule, index: usize, packet: &Packet, way: &str) -> bool {
        let what = match &packet.body {
            Body::Tcp(_) => "tcp",
            Body::Udp(_) => "udp",
            Body::Icmp(_) => "icmp",
        };
        let port = packet.ends().map(|(src, dst)| if way == "out" { dst.port() } else { src.port() });
        let matches = (rule.what == "all" || rule.what == what)
            && rule.way.as_deref().is_none_or(|wanted| wanted == way)
            && (rule.port.is_none() || rule.port == port)
            && rule.host.is_none_or(|host| host == packet.src || host == packet.dst)
            && self.now >= seconds(rule.from)
            && self.now < seconds(rule.until)
            && packet.len() > rule.above
            && rule.begins.is_none_or(|byte| matches!(&packet.body, Body::Udp(d) if d.payload.first() == Some(&byte)));
        if !matches {
            return false;
        }
        let second = self.now / SECOND * SECOND;
        let (since, seen) = self.seen_by_rule.entry(index).or_insert((second, 0));
        *seen += 1;
        if rule.above_rate > 0 {
            if *since != second {
                (*since, *seen) = (second, 1);
            }
            return *seen > rule.above_rate;
        }
        rule.every == 0 || seen.is_multiple_of(rule.every)
    }

    fn clamp(&self, packet: &mut Packet) {
        if let Body::Tcp(segment) = &mut packet.body
            && let Some(mss) = &mut segment.mss
        {
            *mss = (*mss).min(self.scenario.link.clamp_mss.unwrap_or(u16::MAX));
        }
    }

    // ---- address translation

    fn translate_out(&mut self, packet: &mut Packet) -> bool {
        let Some(nat) = self.scenario.nat.clone() else { return true };
        let Some((src, _)) = packet.ends() else {
            packet.src = nat.address;
            return true;
        };
        let udp = matches!(packet.body, Body::Udp(_));
        let now = self.now;
        let old = nat.forgets_after;
        for mapping in &mut self.mappings {
            mapping.dead |= mapping.udp && old > 0.0 && now - mapping.last > seconds(old);
        }
        if nat.stubborn && self.mappings.iter().any(|m| m.dead && m.inside == src && m.udp == udp) {
            return false;
        }
        self.mappings.retain(|m| !m.dead || nat.stubborn);
        let known = self.mappings.iter_mut().find(|m| m.inside == src && m.udp == udp && !m.dead);
        let outside = match known {
            Some(mapping) => {
                mapping.last = now;
                mapping.outside
            }
            None => {
                self.next_nat_port += 1;
                let outside = SocketAddr::new(nat.address, self.next_nat_port);
                self.mappings.push(Mapping { inside: src, outside, udp, last: now, dead: false });
                outside
            }
        };
        packet.set_src(outside);
        true
    }

    fn translate_back(&mut self, packet: &mut Packet) -> bool {
        if self.scenario.nat.is_none() {
            return true;
        }
        let udp = match &packet.body {
            Body::Icmp(Error { about, .. }) => matches!(about.body, Body::Udp(_)),
            body => matches!(body, Body::Udp(_)),
        };
        let to = match &packet.body {
            Body::Icmp(error) => error.about.ends().map(|(src, _)| src),
            _ => packet.ends().map(|(_, dst)| dst),
        };
        let mapping = self.mappings.iter().find(|m| Some(m.outside) == to && m.udp == udp && !m.dead);
        let Some(inside) = mapping.map(|m| m.inside) else { return false };
        match &mut packet.body {
            Body::Icmp(error) => {
                error.about.set_src(inside);
                packet.dst = inside.ip();
            }
            _ => packet.set_dst(inside),
        }
        true
    }

    // ---- stacks

    fn arrive(&mut self, place: Place, packet: Packet) {
        let whole = packet.id != 0xffff;
        match place {
            Place::Client if whole => self.tap(0, &packet),
            Place::Gateway if whole => self.tap(1, &packet),
            Place::Adapter => self.tap(3, &packet),
            _ => {}
        }
        match &packet.body {
            Body::Tcp(segment) => self.take_segment(place, &packet, segment),
            Body::Udp(datagram) => match place {
                Place::Gateway => self.gateway_takes_dtls(&packet, datagram),
                Place::Client => self.client_takes_dtls(&packet, datagram),
                Place::Server => {
                    let (src, dst) = packet.ends().unwrap();
                    let answer = self.rng.text(72);
                    self.send(Place::Server, Packet::udp(dst, src, answer, Vec::new()));
                }
                _ => {}
            },
            Body::Icmp(error) => self.take_error(place, error),
        }
    }

    fn take_error(&mut self, place: Place, error: &Error) {
        let Some((src, dst)) = error.about.ends() else { return };
        let too_big = matches!(error.kind, (3, 4) | (2, 0));
        if too_big && let Some(i) = self.find(place, src, dst) {
            // No IPv6 host sends less than 1280 (RFC 8200 §5), whatever a router says.
            let (headers, least) = if src.is_ipv4() { (40, 68) } else { (60, 1280) };
            let mut out = Vec::new();
            if error.mtu > headers {
                self.conns[i].tcp.shrink((error.mtu.max(least) - headers) as u16, self.now, &mut out);
            }
            self.transmit(i, out);
        }
        if place == Place::Client && matches!(error.about.body, Body::Udp(_)) {
            self.client_is_refused(too_big.then_some(error.mtu));
        }
    }

    fn find(&self, place: Place, local: SocketAddr, remote: SocketAddr) -> Option<usize> {
        let same = |c: &Conn| c.place == place && c.local == local && c.remote == remote && !c.tcp.is_gone();
        self.conns.iter().rposition(same)
    }

    /// Opens a TCP connection from a place.
    pub fn connect(&mut self, place: Place, local: SocketAddr, remote: SocketAddr, mss: u16, role: Role) -> usize {
        let iss = self.rng.number() as u32;
        let (tcp, syn) = Tcp::open(mss, iss, self.now);
        self.pipes.push([Pipe::new(), Pipe::new()]);
        let pipe = self.pipes.len() - 1;
        self.conns.push(Conn { place, local, remote, tcp, role, pipe, opener: true });
        let i = self.conns.len() - 1;
        self.transmit(i, vec![syn]);
        i
    }

    fn take_segment(&mut self, place: Place, packet: &Packet, segment: &Segment) {
        let (src, dst) = packet.ends().unwrap();
        let known = self.find(place, dst, src);
        let i = match known {
            Some(i) => i,
            None if segment.flags & SYN != 0 && matches!(place, Place::Gateway | Place::Server | Place::Elsewhere) => {
                let mss = match place {
                    Place::Gateway => self.scenario.gateway.mss,
                    _ => 1460,
                };
                if place == Place::Gateway && self.gateway.is_down(self.now) {
                    return self.send(place, Packet::tcp(dst, src, segment.refusal()));
                }
                let iss = self.rng.number() as u32;
                let (tcp, answer) = Tcp::accept(mss, iss, segment);
                // The opener's newest connection with these ends has the pipe; a NAT may have changed its ends.
                let opener = self.conns.iter().rfind(|c| c.opener && c.remote == dst && self.is_seen_as(c, src));
                let Some(Conn { pipe, role, .. }) = opener else { return };
                let (pipe, role) = (*pipe, *role);
                self.conns.push(Conn { place, local: dst, remote: src, tcp, role, pipe, opener: false });
                let i = self.conns.len() - 1;
                self.transmit(i, vec![answer]);
                return;
            }
            None => return,
        };
        let mut out = Vec::new();
        let change = self.conns[i].tcp.take(segment, self.now, &mut out);
        self.transmit(i, out);
        if change.opened && self.conns[i].opener {
            self.opened(i);
        }
        let from = usize::from(self.conns[i].opener);
        let pipe = self.conns[i].pipe;
        while let Some((end, _)) = self.pipes[pipe][from].front()
            && *end <= self.conns[i].tcp.received()
        {
            let (_, message) = self.pipes[pipe][from].pop_front().unwrap();
            self.read(i, message);
        }
        if change.closed {
            self.closed(i);
        }
    }

    fn is_seen_as(&self, conn: &Conn, src: SocketAddr) -> bool {
        conn.local == src || self.mappings.iter().any(|m| !m.udp && m.inside == conn.local && m.outside == src)
    }

    /// Queues bytes with what they say.
    pub fn write(&mut self, i: usize, bytes: &[u8], message: Message) {
        let conn = &mut self.conns[i];
        conn.tcp.write(bytes);
        let end = conn.tcp.written();
        self.pipes[conn.pipe][usize::from(!conn.opener)].push_back((end, message));
        let mut out = Vec::new();
        self.conns[i].tcp.pump(self.now, &mut out);
        self.transmit(i, out);
    }

    pub fn close(&mut self, i: usize) {
        self.conns[i].tcp.close();
        let mut out = Vec::new();
        self.conns[i].tcp.pump(self.now, &mut out);
        self.transmit(i, out);
    }

    /// Sends segments and arms the timer.
    pub fn transmit(&mut self, i: usize, segments: Vec<Segment>) {
        let (place, local, remote) = (self.conns[i].place, self.conns[i].local, self.conns[i].remote);
        for segment in segments {
            self.send(place, Packet::tcp(local, remote, segment));
        }
        if let Some(due) = self.conns[i].tcp.due {
            self.at(due, Event::TcpTimer(i));
        }
    }

    // ---- applications

    fn opened(&mut self, i: usize) {
        match self.conns[i].role {
            Role::Login | Role::Tunnel | Role::LoginAndTunnel if self.scenario.client.proxy => {
                self.client_asks_proxy(i, 1)
            }
            Role::Login | Role::Tunnel | Role::LoginAndTunnel | Role::Web => self.client_says_hello(i),
            Role::Inner { get, put } => {
                let (request, message) =
                    if put > 0 { (self.rng.text(put), Message::End) } else { (self.rng.text(100), Message::Get(get)) };
                self.write(i, &request, message);
            }
        }
    }

    fn read(&mut self, i: usize, message: Message) {
        match (self.conns[i].place, message) {
            (Place::Server, Message::Get(len)) => {
                let bytes = self.rng.text(len);
                self.write(i, &bytes, Message::End);
            }
            (Place::Server, Message::End) => {
                let bytes = self.rng.text(100);
                self.write(i, &bytes, Message::End);
            }
            (Place::Adapter, Message::End) => self.close(i),
            (Place::Client, message) => self.client_reads(i, message),
            (Place::Gateway | Place::Elsewhere, message) => self.gateway_reads(i, message),
            _ => {}
        }
    }

    fn closed(&mut self, i: usize) {
        match self.conns[i].place {
            Place::Client => self.client_lost_connection(i),
            _ => self.close(i),
        }
    }

    fn open_inner(&mut self, get: usize, put: usize) {
        let v4 = !self.scenario.client.inner_v6;
        let headers = if v4 { 40 } else { 60 };
        let mss = self.client.adapter_mtu.saturating_sub(headers);
        let port = self.client.next_port();
        let local = SocketAddr::new(self.scenario.client.inner(v4), port);
        let remote = SocketAddr::new(server_address(v4), 80);
        self.connect(Place::Adapter, local, remote, mss, Role::Inner { get, put });
    }

    /// A browser's QUIC Initial, thrice when nobody answers.
    fn quic(&mut self, host: SocketAddr, answered: bool) {
        let from = SocketAddr::new(self.client.address, self.client.next_port());
        let initial = |rng: &mut Rng| {
            let mut bytes = vec![0xc3, 0, 0, 0, 1, 8];
            bytes.extend(rng.bytes(8));
            bytes.extend([0, 0, 0x44, 0xb0]);
            bytes.extend(rng.bytes(1200));
            bytes.truncate(1200);
            bytes
        };
        for (i, after) in [0, 300, 900].into_iter().enumerate() {
            if answered && i > 0 {
                break;
            }
            let bytes = initial(&mut self.rng);
            let packet = Packet::udp(from, host, bytes, Vec::new());
            self.at(self.now + after * MILLI, Event::Leave(Place::Client, packet));
        }
        if answered {
            let bytes = initial(&mut self.rng);
            let at = self.now + 20 * MILLI;
            self.at(at, Event::Leave(Place::Elsewhere, Packet::udp(host, from, bytes, Vec::new())));
        }
    }

    /// IKE_SA_INIT both ways, then ESP in UDP.
    fn ipsec(&mut self, host: IpAddr) {
        let client = self.client.address;
        for (i, port) in [500_u16, 500, 4500, 4500, 4500, 4500].into_iter().enumerate() {
            let out = i % 2 == 0;
            let (from, to) = (SocketAddr::new(client, port), SocketAddr::new(host, port));
            let mut bytes = self.rng.bytes(200);
            if port == 500 {
                bytes[8..16].fill(0);
                bytes[16..20].copy_from_slice(&[40, 0x20, 34, if out { 0x08 } else { 0x20 }]);
                bytes[20..24].fill(0);
                bytes[24..28].copy_from_slice(&200_u32.to_be_bytes());
                // One payload, a nonce, fills the message.
                bytes[28..32].copy_from_slice(&[0, 0, 0, 172]);
            }
            let at = self.now + (i as Time) * 20 * MILLI;
            if out {
                self.at(at, Event::Leave(Place::Client, Packet::udp(from, to, bytes, Vec::new())));
            } else {
                self.at(at, Event::Leave(Place::Elsewhere, Packet::udp(to, from, bytes, Vec::new())));
            }
        }
    }

    /// The suite of TLS connections.
    pub fn suite(&self) -> Suite {
        Suite::new(&self.scenario.gateway.cipher, acpcap::event::Version::TLS_1_2)
    }
}
