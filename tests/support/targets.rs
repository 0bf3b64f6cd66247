//! What is fuzzed: bytes into a public function, and what must hold whatever they are. `tests/fuzz` gives them random bytes,
//! `tests/fuzz.rs` seeds, damaged seeds and everything that ever failed.
#![allow(dead_code, reason = "each fuzz target uses its part")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what is wrong by panicking")]

use acpcap::analysis::{self, Options, Outcome, Source};
use acpcap::anyconnect::{Bye, Encoding, Inflater, MAX_PACKET, PacketKind, Said, Talk, datagram, decompress_any};
use acpcap::capture::reader::{self, Reader};
use acpcap::capture::{Frame, Item, LinkType, Timestamp, write};
use acpcap::decrypt::{DtlsOpener, Keyring, Side, TlsOpener};
use acpcap::flow::tcp::{self, Chunk, TcpStream};
use acpcap::packet::{self, Decoder, Transport};
use acpcap::report::{Report, json, note, text};
use acpcap::tls::dtls::{DtlsHandshakeReader, DtlsMessage, looks_like_dtls, parse_datagram};
use acpcap::tls::handshake::{Handshake, HandshakeReader};
use acpcap::tls::lookalike::{is_ike, is_quic_initial, is_stun};
use acpcap::tls::record::{Record, RecordScanner};
use std::io::{self, Cursor, Read, Write};
use std::ops::ControlFlow;

/// A target's name and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them; each has a file in `tests/fuzz/targets`.
pub const TARGETS: &[Target] = &[
    ("reader", reader),
    ("decode", decode),
    ("order", order),
    ("tls", tls),
    ("dtls", dtls),
    ("talk", talk),
    ("keylog", keylog),
    ("analyze", analyze),
    ("frames", frames),
    ("sealed", sealed),
];

/// Keys of captures kept with the project, so that mutated ones open.
const KEYS: &[&str] = &[
    include_str!("../../captures/asa-anyconnect/keys.log"),
    include_str!("../../captures/healthy-dtls12/keys.log"),
    include_str!("../../captures/healthy-legacy-dtls/keys.log"),
    include_str!("../../captures/tls13/keys.log"),
];
const RSA_KEY: &[u8] = include_bytes!("../sealed/rsa-key.pem");

/// Small caps: what is to happen beyond them happens in small inputs.
pub fn small() -> Options {
    let mut options = Options { max_sessions: Some(8), ..Options::default() };
    options.reader = reader::Limits { max_block: 1 << 20, max_interfaces: 8 };
    options.dissect.fragments = packet::Limits { datagrams: 4, bytes: 8192, timeout_seconds: 30 };
    options.dissect.flows.max_flows = 16;
    options.dissect.flows.max_conversations = 16;
    options.dissect.tcp.max_out_of_order_bytes = 4096;
    options.tracker.max_flows = 12;
    options.tracker.max_icmp = 4;
    options.tracker.max_refused = 4;
    options
}

/// Bytes cut into pieces: two bytes of length, then so many.
pub fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (piece, after) = after.split_at(length);
        rest = after;
        Some(piece)
    })
}

/// The other way: a seed of [`pieces`].
pub fn join<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let piece = &piece[..piece.len().min(usize::from(u16::MAX))];
        bytes.extend((piece.len() as u16).to_le_bytes());
        bytes.extend_from_slice(piece);
    }
    bytes
}

/// A reader that gives so many bytes at a time.
struct Slow(Cursor<Vec<u8>>, usize);

impl Read for Slow {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let most = self.1.max(1).min(space.len());
        self.0.read(&mut space[..most])
    }
}

/// A capture file: the first byte says in which pieces it arrives.
pub fn reader(bytes: &[u8]) {
    let Some((chunk, file)) = bytes.split_first() else { return };
    let whole = read_all(Box::new(Cursor::new(file.to_vec())));
    let slow = read_all(Box::new(Slow(Cursor::new(file.to_vec()), usize::from(*chunk))));
    assert_eq!(whole, slow, "pieces change nothing");
}

/// Frames, a sum over them, bytes, damage and skipped blocks of a file.
fn read_all(input: Box<dyn Read + Send>) -> Option<(u64, u64, u64, Option<reader::Damage>, u64)> {
    let limits = small().reader;
    let mut reader = Reader::new("fuzz", input, limits).ok()?;
    let (mut frames, mut total, mut last, mut sum) = (0_u64, 0_u64, 0, 0_u64);
    let result = reader.for_each(|item| {
        if let Item::Frame(frame) = item {
            assert!(frame.number > last, "frame numbers grow");
            last = frame.number;
            frames += 1;
            total += frame.data.len() as u64;
            sum = sum.rotate_left(5) ^ frame.at.nanos() as u64 ^ u64::from(frame.interface) ^ frame.data.len() as u64;
        }
        // A bomb that unpacks to frames without end is read without end, in constant memory: not here.
        if total > 64 << 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(result.is_ok(), "memory does not fail");
    assert_eq!(reader.frames(), frames);
    assert!(total <= reader.bytes(), "no byte comes twice");
    assert!(reader.interfaces().len() <= limits.max_interfaces);
    if let Some(damage) = reader.damage() {
        assert!(damage.offset <= reader.bytes() && !damage.reason.is_empty());
    }
    Some((frames, sum, reader.bytes(), reader.damage().cloned(), reader.skipped_blocks()))
}

/// Frames of one interface: two bytes of link type, then pieces, each with four bytes of how much was cut off and of time.
pub fn decode(bytes: &[u8]) {
    let Some((link, rest)) = bytes.split_first_chunk::<2>() else { return };
    let mut decoder = Decoder::new(small().dissect.fragments);
    each_frame(LinkType(u16::from_le_bytes(*link)), rest, &mut |frame| {
        let mut packets = 0;
        let _ = decoder.decode(frame, &mut |packet| {
            packets += 1;
            let (payload, length) = match &packet.transport {
                Transport::Tcp(tcp) => (tcp.payload, tcp.payload_len),
                Transport::Udp(udp) => (udp.payload, udp.payload_len),
                _ => return,
            };
            assert!(payload.len() <= length as usize, "more payload than there was");
        });
        assert!(packets <= 64, "a frame is not that many packets");
    });
    let _ = (decoder.fragment_losses(), decoder.incomplete());
}

fn each_frame(link: LinkType, bytes: &[u8], sink: &mut impl FnMut(&Frame<'_>)) {
    let mut at = 1_700_000_000_000_000_000_i64;
    for (number, piece) in (1..).zip(pieces(bytes)) {
        let Some(([cut, beyond, steps, unit], data)) = piece.split_first_chunk::<4>() else { continue };
        // Milliseconds to days, and backwards.
        at = at.saturating_add(i64::from(*steps as i8) * 10_i64.pow(5 + u32::from(unit % 10)));
        let original_len = (data.len() + usize::from(*cut) + (usize::from(*beyond) << 8)) as u32;
        sink(&Frame { number, at: Timestamp::from_nanos(at), interface: 0, link, original_len, data });
    }
}

/// Segments of one direction: sequence number, flags and claimed excess of length, then the payload.
pub fn order(bytes: &[u8]) {
    let limits = tcp::Limits { max_out_of_order_bytes: 2048 };
    let mut stream = TcpStream::default();
    let mut told = 0_u64;
    let mut count = |chunk: Chunk<'_>| {
        told += match chunk {
            Chunk::Data(data) => data.len() as u64,
            Chunk::Missing(count) => u64::from(count),
        };
    };
    for piece in pieces(bytes) {
        let Some(([a, b, c, d, flags, excess], payload)) = piece.split_first_chunk::<6>() else { continue };
        let seq = u32::from_le_bytes([*a, *b, *c, *d]);
        if flags & 4 != 0 {
            stream.acknowledged(seq, &mut count);
        } else {
            let length = payload.len() as u32 + (u32::from(*excess) << (flags >> 4));
            stream.push(seq, flags & 2 != 0, flags & 1 != 0, payload, length, &limits, &mut count);
        }
    }
    stream.finish(&mut count);
    assert_eq!(told, stream.position(), "every position once");
}

/// A TLS connection's bytes, both ways: the first byte of a piece says whose they are and whether some are missing before.
pub fn tls(bytes: &[u8]) {
    let mut keyring = keyring(bytes);
    let mut opener = TlsOpener::new(&keyring);
    let midway = bytes.len() % 2 == 1;
    let scanner = || if midway { RecordScanner::midway() } else { RecordScanner::new() };
    let mut ways =
        [(Side::Client, scanner(), HandshakeReader::new()), (Side::Server, scanner(), HandshakeReader::new())];
    ways.iter_mut().for_each(|(_, scanner, _)| scanner.keep_data());
    let mut out = Vec::new();
    for piece in pieces(bytes) {
        let Some(([whose], data)) = piece.split_first_chunk::<1>() else { continue };
        let (side, scanner, hellos) = &mut ways[usize::from(whose & 1)];
        let side = *side;
        let mut take = |record: Record<'_>| {
            let Some(fragment) = record.fragment else { return opener.skip(side, usize::from(record.length)) };
            assert!(fragment.len() <= usize::from(record.length));
            if opener.is_sealed(side, record.content_type) {
                if let Some((_, range)) =
                    opener.open(side, record.content_type, record.version, fragment, &mut out, &mut keyring)
                {
                    assert!(range.end <= out.len() && range.start <= range.end);
                }
                return;
            }
            if record.content_type.0 == 20 {
                opener.change_cipher(side);
            }
            opener.clear_handshake(side, fragment, &keyring);
            hellos.push(&record, &mut |message| match message {
                Handshake::ClientHello(hello) => opener.client_hello(&hello),
                Handshake::ServerHello(hello) => drop(opener.server_hello(&hello, &keyring)),
                _ => {}
            });
        };
        if whose & 6 == 6 {
            scanner.missing(u32::from(*whose) << (whose >> 4), &mut take);
        }
        scanner.push(data, &mut take);
        if whose & 6 == 4 {
            opener.gap(side);
        }
    }
    for (_, scanner, _) in &mut ways {
        scanner.finish(&mut |_| {});
    }
    let _ = (opener.export("EXPERIMENTAL", 32, &keyring), opener.counts(), keyring.export());
}

/// Datagrams of a DTLS flow; the first byte of a piece says whose it is.
pub fn dtls(bytes: &[u8]) {
    let mut keyring = keyring(bytes);
    let mut opener = DtlsOpener::default();
    let mut readers = [DtlsHandshakeReader::new(), DtlsHandshakeReader::new()];
    let mut out = Vec::new();
    for piece in pieces(bytes) {
        let Some(([whose], payload)) = piece.split_first_chunk::<1>() else { continue };
        let side = if whose & 1 == 0 { Side::Client } else { Side::Server };
        let _ = (looks_like_dtls(payload, payload.len() + usize::from(whose >> 1)), is_quic_initial(payload));
        let _ = (is_stun(payload), is_ike(4500, payload), is_ike(500, payload));
        let mut read = 0;
        parse_datagram(payload, &mut |record| {
            read += record.fragment.len();
            let _ = (record.alert(), record.is_change_cipher_spec());
            if record.epoch > 0 {
                if let Some(range) = opener.open(side, &record, &mut out, &mut keyring) {
                    let content = &out[range];
                    let _ = datagram(content);
                }
                return;
            }
            readers[usize::from(whose & 1)].push_raw(&record, &mut |message, whole| {
                match &message.message {
                    DtlsMessage::ClientHello(hello) => opener.client_hello(hello),
                    DtlsMessage::ServerHello(hello) => opener.server_hello(hello),
                    _ => {}
                }
                opener.clear_handshake(side, whole, &keyring);
            });
        });
        assert!(read <= payload.len(), "no byte is in two records");
    }
    let _ = opener.counts();
}

/// Plaintext of a connection: the first byte of a piece says whose it is, or that something is missing.
pub fn talk(bytes: &[u8]) {
    let mut talk = Talk::default();
    let mut inflaters = [Encoding::Lzs, Encoding::Deflate, Encoding::Lz4].map(Inflater::new);
    let mut out = Vec::new();
    for piece in pieces(bytes) {
        let Some(([whose], plain)) = piece.split_first_chunk::<1>() else { continue };
        let from_client = whose & 1 == 0;
        if whose & 6 == 6 {
            talk.gap(from_client);
        }
        talk.push(from_client, plain, &mut |said| match said {
            Said::Packet(PacketKind::Compressed, packed) => {
                for inflater in &mut inflaters {
                    inflater.push(packed, &mut out);
                    assert!(out.len() <= MAX_PACKET + 8, "a bomb went off");
                }
                decompress_any(packed, &mut out);
                assert!(out.len() <= MAX_PACKET + 8, "a bomb went off");
            }
            Said::Packet(PacketKind::Disconnect | PacketKind::Terminate, payload) => {
                let bye = Bye::parse(payload);
                assert!(bye.text.len() <= 1024 && !bye.meaning().is_empty());
            }
            other => drop(format!("{other:?}")),
        });
    }
    let _ = talk.misframed();
}

/// A key log, and the same bytes as a private key.
pub fn keylog(bytes: &[u8]) {
    let mut keyring = Keyring::new();
    let lines = keyring.add_key_log(bytes);
    assert!(lines.secrets + lines.unused + lines.malformed <= bytes.len() as u64);
    assert_eq!(lines.malformed > 0, lines.first_malformed.is_some());
    assert_eq!(lines.left_out, 0);
    assert!(keyring.export().is_empty(), "nothing was opened, nothing is handed out");
    let before = keyring.len();
    let added = keyring.add_rsa_key(bytes).is_ok();
    assert_eq!(keyring.len(), before + usize::from(added));
}

/// A capture file, as it is, to all reports.
pub fn analyze(bytes: &[u8]) {
    let outcome = analysis::analyze(source(bytes), &small(), &mut patience());
    sound(&outcome);
}

/// Frames without a file around them, two bytes of link type first: as for [`decode`], to all reports.
pub fn frames(bytes: &[u8]) {
    sound(&analysis::analyze(source(&file_of(bytes)), &small(), &mut patience()));
}

/// A capture file of the frames that [`frames`] means.
pub fn file_of(bytes: &[u8]) -> Vec<u8> {
    let Some((link, rest)) = bytes.split_first_chunk::<2>() else { return Vec::new() };
    let link = LinkType(u16::from_le_bytes(*link));
    let mut file = [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, u32::from(link.0)].map(u32::to_le_bytes).concat();
    each_frame(link, rest, &mut |frame| {
        let time = frame.at.nanos().max(0);
        let (seconds, rest) = ((time / 1_000_000_000) as u32, (time % 1_000_000_000) as u32);
        file.extend([seconds, rest, frame.data.len() as u32, frame.original_len].map(u32::to_le_bytes).concat());
        file.extend_from_slice(frame.data);
    });
    file
}

/// A capture file with what opens it: the packets inside are written, read again and reported.
pub fn sealed(bytes: &[u8]) {
    let mut keyring = keyring(bytes);
    let mut inner = Vec::new();
    write::section("fuzz", None, &mut inner).unwrap();
    write::interface(LinkType::RAW, "inner", "", &mut inner).unwrap();
    let empty = inner.len();
    let mut count = 0_u64;
    let mut sink = |packet: analysis::InnerPacket<'_>| {
        count += 1;
        let comment = format!("{} {}", packet.tunnel_name(), packet.tunnel_ends());
        write::packet(0, packet.at, packet.data, &comment, &mut inner).unwrap();
    };
    let outcome = analysis::decrypt(source(bytes), &small(), &mut keyring, &mut sink, &mut patience());
    sound(&outcome);
    let _ = keyring.export();
    let again = analysis::analyze(source(&inner), &small(), &mut patience());
    assert!(again.errors.is_empty());
    assert_eq!(again.report.captures[0].frames, count, "what is written is read again");
    assert_eq!(inner.len() > empty, count > 0);
    assert!(again.report.captures[0].damage.is_none());
}

fn keyring(bytes: &[u8]) -> Keyring {
    let mut keyring = Keyring::new();
    for log in KEYS {
        keyring.add_key_log(log.as_bytes());
    }
    // Checking an RSA key takes longer than all the rest: one input in four has to do with it.
    if bytes.len().is_multiple_of(4) {
        keyring.add_rsa_key(RSA_KEY).unwrap();
    }
    keyring
}

fn source(bytes: &[u8]) -> std::iter::Once<Result<Source, acpcap::error::Error>> {
    let input = Box::new(Cursor::new(bytes.to_vec()));
    std::iter::once(Ok(Source { path: "fuzz".to_owned(), vantage: None, input, continues: false }))
}

/// Lets go of a bomb after 64 MiB: it is read in constant memory, and the fuzzer has better things to do.
fn patience() -> impl FnMut(analysis::Tick) -> ControlFlow<()> {
    |tick| if tick.bytes > 64 << 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// What holds for every outcome.
pub fn sound(outcome: &Outcome) {
    let report = &outcome.report;
    let page = pages(report);
    assert!(!page.chars().any(|c| c.is_control() && c != '\n'), "control characters in {page:?}");
    assert!(
        report.complete || !report.losses.is_empty() || !outcome.errors.is_empty(),
        "incomplete, and nobody says why"
    );
    for capture in &report.captures {
        assert!(!capture.truncated || report.losses.iter().any(|l| l.kind == "damaged"), "damage that is not told");
    }
    for finding in &report.findings {
        assert!(!finding.evidence.is_empty(), "{} without evidence", finding.detector);
        for evidence in &finding.evidence {
            let frames = report.captures[usize::from(evidence.capture)].frames;
            let exist = evidence.frames.iter().all(|f| *f >= 1 && u64::from(*f) <= frames + report_gaps(report));
            assert!(exist, "{}: {:?} of {frames} frames", finding.detector, evidence.frames);
        }
    }
}

/// Frame numbers that blocks of unknown type took, as Wireshark counts them.
fn report_gaps(report: &Report) -> u64 {
    report.losses.iter().filter(|loss| loss.kind == "skipped-blocks").map(|loss| loss.count).sum()
}

/// Text, note and JSON one after the other.
fn pages(report: &Report) -> String {
    let mut page = Vec::new();
    text::render(report, text::Look { why: true, ..text::Look::default() }, &mut page).unwrap();
    page.write_all(b"\n").unwrap();
    note::render(report, &mut page).unwrap();
    json::render(report, &mut page).unwrap();
    String::from_utf8(page).unwrap()
}
