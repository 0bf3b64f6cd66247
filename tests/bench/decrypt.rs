//! What opening records costs beside the cipher alone on the same bytes: `cargo bench --bench decrypt`.
//!
//! Promises: one connection per suite and record size, sealed here, opened with a key log line made here. The least of many
//! rounds counts: what disturbs only ever adds.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark that cannot set itself up has failed")]

mod clock;
mod sealing;
mod traffic;

use acpcap::analysis::{self, Options, Source};
use acpcap::decrypt::{Keyring, Side, TlsOpener};
use acpcap::tls::{ContentType, Handshake, HandshakeReader, RecordScanner, Version};
use sealing::{SUITES, Sealing, Suite};
use std::hint::black_box;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::time::Duration;
use traffic::frames::{self, ACK, Capture, SYN};
use traffic::{Rng, client_hello, message, record, server_hello};

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes of content in a record: what a tunnel's packet fills, and the most there may be (RFC 8446 §5.1).
const SIZES: [usize; 2] = [1_400, 1 << 14];
/// Bytes of content in a connection.
const CONTENT: usize = 8 << 20;
const ROUNDS: usize = 30;

/// One connection in which a gateway sends packets through the tunnel.
struct Connection {
    hellos: [Vec<u8>; 2],
    /// Record fragments of the gateway, in order.
    sealed: Vec<Vec<u8>>,
    keys: Sealing,
    key_log: String,
    capture: Vec<u8>,
    /// Bytes of IP packets in the tunnel.
    inside: usize,
}

fn main() {
    println!("| suite | record | cipher alone, MB/s | records opened | tunnel read |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for suite in &SUITES {
        for size in SIZES {
            let connection = Connection::new(suite, size);
            connection.check();
            let [alone, opened, with, without] = connection.measure();
            let per_second = CONTENT as f64 / 1e6 / alone.as_secs_f64();
            let times = |cost: Duration| cost.as_secs_f64() / alone.as_secs_f64();
            let (opened, read) = (times(opened), times(with.saturating_sub(without)));
            println!("| {} | {size} B | {per_second:.0} | {opened:.2} × | {read:.2} × |", suite.name);
        }
    }
}

impl Connection {
    fn new(suite: &Suite, size: usize) -> Connection {
        let mut rng = Rng(size as u64);
        let randoms = [rng.bytes(32), rng.bytes(32)];
        let (keys, key_log) = suite.keys(&randoms, &mut rng);
        let plain = packets(size, &mut rng);
        let sealed: Vec<Vec<u8>> =
            (0..(CONTENT / size) as u64).map(|number| keys.seal(number, &plain, &mut rng)).collect();
        let hello = server_hello(&randoms[1], &[], [3, 3], suite.id, suite.extensions());
        let hellos = [
            record(22, &message(1, &client_hello(&randoms[0], &[], &[], false))),
            [record(22, &message(2, &hello)), record(20, &[1])].concat(),
        ];
        let stream = sealed.iter().fold(hellos[1].clone(), |mut stream, fragment| {
            stream.extend(record(23, fragment));
            stream
        });
        let capture = capture(&hellos[0], &stream);
        let inside = (plain.len() - plain.len().div_ceil(PACKET) * 8) * sealed.len();
        Connection { hellos, sealed, keys, key_log, capture, inside }
    }

    /// What is measured does what it should.
    fn check(&self) {
        let (mut inside, mut keyring) = (0, self.keyring());
        let mut count = |packet: analysis::InnerPacket<'_>| inside += packet.data.len();
        let go_on = &mut |_| ControlFlow::Continue(());
        analysis::decrypt(self.sources(), &Options::default(), &mut keyring, &mut count, go_on);
        assert_eq!(inside, self.inside, "bytes inside the tunnel");
    }

    /// Cipher alone, records opened, analysis with keys, analysis without.
    fn measure(&self) -> [Duration; 4] {
        let mut least = [Duration::MAX; 4];
        for _ in 0..ROUNDS {
            let round = [self.alone(), self.opened(), self.analysed(self.keyring()), self.analysed(Keyring::new())];
            for (least, now) in least.iter_mut().zip(round) {
                *least = now.min(*least);
            }
        }
        least
    }

    fn alone(&self) -> Duration {
        let mut sealed = self.sealed.clone();
        let start = clock::now();
        for (number, fragment) in (0..).zip(&mut sealed) {
            self.keys.open(number, fragment);
        }
        let took = clock::now() - start;
        black_box(sealed);
        took
    }

    fn opened(&self) -> Duration {
        let mut keyring = self.keyring();
        let mut opener = self.opener(&keyring);
        let (mut out, data) = (Vec::new(), ContentType::APPLICATION_DATA);
        let start = clock::now();
        for fragment in &self.sealed {
            let opened = opener.open(Side::Server, data, Version::TLS_1_2, fragment, &mut out, &mut keyring);
            assert!(opened.is_some());
        }
        clock::now() - start
    }

    /// Hellos done, keys made.
    fn opener(&self, keyring: &Keyring) -> TlsOpener {
        let mut opener = TlsOpener::new(keyring);
        for hello in &self.hellos {
            let mut reader = HandshakeReader::new();
            RecordScanner::new().push(hello, &mut |record| {
                reader.push(&record, &mut |message| match message {
                    Handshake::ClientHello(hello) => opener.client_hello(&hello),
                    Handshake::ServerHello(hello) => assert!(opener.server_hello(&hello, keyring)),
                    _ => {}
                });
            });
        }
        opener.change_cipher(Side::Server);
        opener
    }

    fn analysed(&self, mut keyring: Keyring) -> Duration {
        let sources = self.sources();
        let start = clock::now();
        let go_on = &mut |_| ControlFlow::Continue(());
        let outcome = analysis::analyze_with_keys(sources, &Options::default(), &mut keyring, go_on);
        let took = clock::now() - start;
        assert!(outcome.errors.is_empty());
        took
    }

    fn keyring(&self) -> Keyring {
        let mut keyring = Keyring::new();
        assert_eq!(keyring.add_key_log(self.key_log.as_bytes()).secrets, 1);
        keyring
    }

    fn sources(&self) -> impl Iterator<Item = Result<Source, acpcap::error::Error>> + use<> {
        let input = Box::new(Cursor::new(self.capture.clone()));
        std::iter::once(Ok(Source { path: "memory".to_owned(), vantage: None, input, continues: false }))
    }
}

/// Most bytes of a packet of the tunnel, its header of eight counted.
const PACKET: usize = 1_400;

/// A record's content: CSTP data packets, each with a UDP packet in it.
fn packets(size: usize, rng: &mut Rng) -> Vec<u8> {
    let mut content = Vec::new();
    while content.len() < size {
        let len = PACKET.min(size - content.len()) - 8;
        let packet = frames::udp("10.48.66.200:5000", "10.10.10.1:5000", &rng.bytes(len - 28));
        content.extend([b"STF\x01", &(len as u16).to_be_bytes()[..], &[0, 0], &packet].concat());
    }
    content
}

fn capture(hello: &[u8], stream: &[u8]) -> Vec<u8> {
    let (client, gateway) = ("198.51.100.10:50000", "203.0.113.2:443");
    let mut capture = Capture::default();
    capture.push(&frames::tcp(client, gateway, 0, 0, SYN, &[]));
    capture.push(&frames::tcp(gateway, client, 0, 1, SYN | ACK, &[]));
    capture.push(&frames::tcp(client, gateway, 1, 1, ACK, hello));
    let mut seq = 1;
    for segment in stream.chunks(1_380) {
        capture.push(&frames::tcp(gateway, client, seq, 1 + hello.len() as u32, ACK, segment));
        seq += segment.len() as u32;
    }
    capture.bytes()
}
