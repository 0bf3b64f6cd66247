//! Captures to measure with, made in memory: many AnyConnect sessions at once, and what else passes a gateway.
//!
//! Promises: the same mix and size give the same bytes; every session is told as one by the report.
//! Refuses: to encrypt. Records have the right type and length and hold noise.
#![allow(dead_code, reason = "each benchmark uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot set itself up has failed"
)]

#[path = "../support/frames.rs"]
pub mod frames;

use frames::{ACK, Capture, SYN};

/// Which packets the data phase has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Downloads: nearly all packets are as large as the tunnel lets them be.
    Large,
    /// Calls and terminals: 60 to 300 bytes, and three times as many sessions to the megabyte.
    Small,
}

impl Mix {
    pub const BOTH: [Mix; 2] = [Mix::Large, Mix::Small];

    pub fn name(self) -> &'static str {
        match self {
            Mix::Large => "large",
            Mix::Small => "small",
        }
    }

    /// Data packets of a session, one way and the other.
    fn packets(self) -> usize {
        match self {
            Mix::Large => 40,
            Mix::Small => 30,
        }
    }

    fn payload(self, rng: &mut Rng) -> usize {
        match self {
            Mix::Large => 1_300 + rng.below(90),
            Mix::Small => 60 + rng.below(240),
        }
    }
}

/// A capture and what is in it.
pub struct Traffic {
    pub capture: Vec<u8>,
    pub packets: u64,
    pub sessions: usize,
}

/// A capture with that many sessions.
pub fn make(mix: Mix, sessions: usize) -> Traffic {
    let mut packets = Vec::new();
    for number in 0..sessions {
        Session::new(mix, number).play(&mut packets);
    }
    packets.sort_by_key(|(at, ..)| *at);
    let mut capture = Capture::default();
    for (at, interface, packet) in &packets {
        capture.push_when(*interface, *at, packet);
    }
    Traffic { capture: capture.bytes(), packets: capture.frames(), sessions }
}

/// splitmix64: numbers that look like chance and are the same every time.
pub struct Rng(pub u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(len);
        bytes
    }
}

/// Interfaces of the capture.
const OUTSIDE: u32 = 0;
const INSIDE: u32 = 1;
/// Sessions that begin in one second.
const A_SECOND: u64 = 50;
const GATEWAY: &str = "203.0.113.2:443";
/// TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384.
const SUITE: [u8; 2] = [0xc0, 0x30];
/// What the suite and CSTP add to a packet in a record: explicit nonce, tag, header (bytes).
const SEALED: usize = 8 + 16 + 8;
const SERVER: &str = "10.48.66.200:80";

/// What becomes of the DTLS of a session.
#[derive(Clone, Copy, PartialEq)]
enum Dtls {
    Up,
    NoAnswer,
    NotTried,
}

struct Session {
    mix: Mix,
    rng: Rng,
    client: String,
    /// DTLS goes from a port of its own.
    dtls_client: String,
    inner: String,
    id: Vec<u8>,
    dtls: Dtls,
    has_large: bool,
    /// Microseconds since the capture began.
    at: u64,
    /// Next sequence numbers, client's and gateway's.
    seq: [u32; 2],
    /// Next DTLS sequence numbers, client's and gateway's.
    dtls_seq: [u64; 2],
}

impl Session {
    fn new(mix: Mix, number: usize) -> Session {
        let mut rng = Rng(number as u64 ^ 0xacbc << 32);
        let (high, low) = (number / 250 % 250, number % 250 + 1);
        Session {
            mix,
            client: format!("198.18.{high}.{low}:{}", 20_000 + number % 40_000),
            dtls_client: format!("198.18.{high}.{low}:{}", 20_001 + number % 40_000),
            inner: format!("10.10.{high}.{low}:{}", 30_000 + number % 30_000),
            id: rng.bytes(32),
            dtls: match number % 12 {
                3 => Dtls::NoAnswer,
                7 => Dtls::NotTried,
                _ => Dtls::Up,
            },
            has_large: number % 7 == 3,
            at: number as u64 * 1_000_000 / A_SECOND,
            seq: [1_000, 9_000],
            dtls_seq: [0, 0],
            rng,
        }
    }

    fn play(mut self, out: &mut Vec<(u64, u32, Vec<u8>)>) {
        self.log_in(out);
        if self.dtls != Dtls::NotTried {
            self.dtls_handshake(out);
        }
        let from = self.at;
        for turn in 0..self.mix.packets() as u64 {
            // Data goes on behind the tries of a DTLS that nobody answers.
            self.at = from + turn * 300_000 + self.rng.below(90_000) as u64;
            self.data(turn, out);
        }
    }

    /// TCP and TLS handshake, CONNECT, its answer.
    fn log_in(&mut self, out: &mut Vec<(u64, u32, Vec<u8>)>) {
        let (client, gateway) = (self.client.clone(), GATEWAY);
        out.push((self.tick(), OUTSIDE, frames::tcp(&client, gateway, 999, 0, SYN, &[])));
        out.push((self.tick(), OUTSIDE, frames::tcp(gateway, &client, 8_999, 1_000, SYN | ACK, &[])));
        out.push((self.tick(), OUTSIDE, frames::tcp(&client, gateway, 1_000, 9_000, ACK, &[])));
        let hello = client_hello(&self.rng.bytes(32), &[], &[], false);
        self.stream(0, &record(22, &message(1, &hello)), out);
        let certificate = self.rng.bytes(2_600);
        let chain = vector24(&vector24(&certificate));
        let hello = server_hello(&self.rng.bytes(32), &self.rng.bytes(32), [3, 3], SUITE, &[]);
        let flight = [message(2, &hello), message(11, &chain), message(14, &[])];
        self.stream(1, &flight.map(|message| record(22, &message)).concat(), out);
        for (side, exchange) in [(0, 262), (1, 0)] {
            let exchange = if exchange > 0 { record(22, &message(16, &self.rng.bytes(exchange))) } else { Vec::new() };
            let finished = [exchange, record(20, &[1]), record(22, &self.rng.bytes(80))].concat();
            self.stream(side, &finished, out);
        }
        for (side, len) in [(0, 900), (1, 1_600)] {
            let said = self.rng.bytes(len);
            self.stream(side, &record(23, &said), out);
        }
    }

    fn dtls_handshake(&mut self, out: &mut Vec<(u64, u32, Vec<u8>)>) {
        let random = self.rng.bytes(32);
        if self.dtls == Dtls::NoAnswer {
            let from = self.at;
            for wait in [0, 1, 3, 7, 15] {
                self.at = from + wait * 1_000_000;
                self.datagram(0, &[(22, 0, dtls_message(1, 0, &client_hello(&random, &self.id, &[], true)))], out);
            }
            self.at = from;
            return;
        }
        let cookie = self.rng.bytes(20);
        let verify = [&[0xfe, 0xff][..], &vector8(&cookie)].concat();
        self.datagram(0, &[(22, 0, dtls_message(1, 0, &client_hello(&random, &self.id, &[], true)))], out);
        self.datagram(1, &[(22, 0, dtls_message(3, 0, &verify))], out);
        self.datagram(0, &[(22, 0, dtls_message(1, 1, &client_hello(&random, &self.id, &cookie, true)))], out);
        let hello = server_hello(&self.rng.bytes(32), &self.id, [0xfe, 0xfd], SUITE, &[]);
        let finished = self.rng.bytes(64);
        self.datagram(1, &[(22, 0, dtls_message(2, 1, &hello)), (20, 0, vec![1]), (22, 1, finished)], out);
        let finished = self.rng.bytes(64);
        self.datagram(0, &[(20, 0, vec![1]), (22, 1, finished)], out);
    }

    /// One packet of the data phase, perhaps what the inside shows of it, perhaps somebody else's packet.
    fn data(&mut self, turn: u64, out: &mut Vec<(u64, u32, Vec<u8>)>) {
        let side = usize::from(!turn.is_multiple_of(4));
        let len = self.mix.payload(&mut self.rng);
        let sealed = self.rng.bytes(len);
        if self.dtls == Dtls::Up {
            self.datagram(side, &[(23, 1, sealed)], out);
        } else {
            // The client acknowledges what it is sent, and keeps the tunnel alive: that is how one is known.
            let sealed = if side == 0 { self.rng.bytes(SEALED + 52) } else { sealed };
            self.stream(side, &record(23, &sealed), out);
            if turn % 10 == 9 {
                let keepalive = self.rng.bytes(SEALED);
                self.stream(0, &record(23, &keepalive), out);
            }
        }
        let (server, inner) = (SERVER, self.inner.clone());
        if turn.is_multiple_of(3) {
            let payload = self.rng.bytes(len - 40);
            let packet = frames::tcp(server, &inner, 5_000 + turn as u32 * 1_400, 1, ACK, &payload);
            out.push((self.tick(), INSIDE, packet));
        }
        if self.has_large && turn < 6 {
            let packet = frames::tcp(server, &inner, 90_000 + turn as u32 * 1_378, 1, ACK, &self.rng.bytes(1_378));
            let gone = frames::icmp("10.48.66.1", "10.48.66.200", (3, 4), 1_347, &packet[..28]);
            out.push((self.tick(), INSIDE, packet));
            out.push((self.tick(), INSIDE, gone));
        }
        if turn.is_multiple_of(8) {
            let noise = self.noise(turn);
            out.push((self.tick(), OUTSIDE, noise));
        }
    }

    /// Name service, a web page in mid-stream, QUIC.
    fn noise(&mut self, turn: u64) -> Vec<u8> {
        let (host, _) = self.client.rsplit_once(':').unwrap_or_default();
        match turn % 3 {
            0 => frames::udp(&format!("{host}:5353"), "192.0.2.53:53", &self.rng.bytes(48)),
            1 => {
                frames::tcp("192.0.2.80:80", &format!("{host}:41000"), turn as u32 * 900, 1, ACK, &self.rng.bytes(900))
            }
            _ => {
                let packet = [vec![0x4f], self.rng.bytes(400)].concat();
                frames::udp(&format!("{host}:42000"), "192.0.2.44:443", &packet)
            }
        }
    }

    fn tick(&mut self) -> u64 {
        self.at += 700;
        self.at
    }

    /// Bytes of the client (0) or the gateway (1) in segments, and their acknowledgment.
    fn stream(&mut self, side: usize, bytes: &[u8], out: &mut Vec<(u64, u32, Vec<u8>)>) {
        let client = self.client.clone();
        let (from, to) = if side == 0 { (client.as_str(), GATEWAY) } else { (GATEWAY, client.as_str()) };
        for segment in bytes.chunks(1_380) {
            let packet = frames::tcp(from, to, self.seq[side], self.seq[1 - side], ACK, segment);
            self.seq[side] += segment.len() as u32;
            out.push((self.tick(), OUTSIDE, packet));
        }
        let acknowledgment = frames::tcp(to, from, self.seq[1 - side], self.seq[side], ACK, &[]);
        out.push((self.tick(), OUTSIDE, acknowledgment));
    }

    /// Records (type, epoch, fragment) in one datagram.
    fn datagram(&mut self, side: usize, records: &[(u8, u16, Vec<u8>)], out: &mut Vec<(u64, u32, Vec<u8>)>) {
        let mut payload = Vec::new();
        for (kind, epoch, fragment) in records {
            let number = u64::from(*epoch) << 48 | self.dtls_seq[side];
            self.dtls_seq[side] += 1;
            payload.extend([&[*kind, 0xfe, 0xfd][..], &number.to_be_bytes(), &vector16(fragment)].concat());
        }
        let client = self.dtls_client.clone();
        let (from, to) = if side == 0 { (client.as_str(), GATEWAY) } else { (GATEWAY, client.as_str()) };
        out.push((self.tick(), OUTSIDE, frames::udp(from, to, &payload)));
    }
}

/// A TLS 1.2 record.
pub fn record(kind: u8, fragment: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &vector16(fragment)].concat()
}

/// A TLS handshake message.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &vector24(body)].concat()
}

/// A DTLS handshake message in one piece.
fn dtls_message(kind: u8, number: u16, body: &[u8]) -> Vec<u8> {
    let len = &(body.len() as u32).to_be_bytes()[1..];
    [&[kind][..], len, &number.to_be_bytes(), &[0, 0, 0], len, body].concat()
}

/// Body of a ClientHello: a name in the clear over TLS, a cookie over DTLS.
pub fn client_hello(random: &[u8], id: &[u8], cookie: &[u8], is_dtls: bool) -> Vec<u8> {
    let version = if is_dtls { [0xfe, 0xfd] } else { [3, 3] };
    let cookie = if is_dtls { vector8(cookie) } else { Vec::new() };
    let suites = vector16(&[0xc0, 0x30, 0xc0, 0x2f, 0x00, 0x35, 0x00, 0x2f]);
    let name = [&[0][..], &vector16(b"vpn.example.com")].concat();
    let name = [&[0, 0][..], &vector16(&vector16(&name))].concat();
    [&version, random, &vector8(id), &cookie, &suites, &vector8(&[0]), &vector16(&name)].concat()
}

/// Body of a ServerHello; extensions with their length, or nothing.
pub fn server_hello(random: &[u8], id: &[u8], version: [u8; 2], suite: [u8; 2], extensions: &[u8]) -> Vec<u8> {
    [&version, random, &vector8(id), &suite, &[0], extensions].concat()
}

pub fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8][..], bytes].concat()
}

pub fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn vector24(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[1..], bytes].concat()
}
