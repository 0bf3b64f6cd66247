//! Bombs, floods and lies: bounded memory, no panic, and a line in the report that says what was left out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot set itself up has failed"
)]

#[path = "support/command.rs"]
mod command;
#[path = "support/frames.rs"]
mod frames;

use acpcap::analysis::{self, Options, Source};
use acpcap::capture::{Frame, LinkType, Timestamp};
use acpcap::packet::{Decoder, Transport};
use acpcap::report::{Report, text};
use command::{Folder, program};
use frames::{ACK, SYN, tcp, udp, udp_pieces};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{self, Cursor, Read, Write};
use std::ops::ControlFlow;
use std::process::Stdio;

/// What a run may take at most, KiB: far below what any of these inputs claims or unpacks to.
const MOST: u64 = 96 << 10;

/// A classic pcap's header, raw IP.
fn header() -> Vec<u8> {
    [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 101].map(u32::to_le_bytes).concat()
}

fn record(nth: u64, packet: &[u8]) -> Vec<u8> {
    let (seconds, nanoseconds) = (1_700_000_000 + nth / 1_000_000, nth % 1_000_000 * 1000);
    let words = [seconds as u32, nanoseconds as u32, packet.len() as u32, packet.len() as u32];
    [&words.map(u32::to_le_bytes).concat(), packet].concat()
}

fn capture(packets: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut file = header();
    (0..).zip(packets).for_each(|(nth, packet)| file.extend(record(nth, &packet)));
    file
}

fn analyze_from(input: impl Read + Send + 'static, options: &Options) -> Report {
    let source = Source { path: "x".to_owned(), vantage: None, input: Box::new(input), continues: false };
    analysis::analyze([Ok(source)].into_iter(), options, &mut |_| ControlFlow::Continue(())).report
}

fn report(file: Vec<u8>, options: &Options) -> Report {
    analyze_from(Cursor::new(file), options)
}

/// The loss of that kind, which must be in the page that people read, too.
fn told(report: &Report, kind: &str) -> (u64, bool) {
    let loss = report.losses.iter().find(|loss| loss.kind == kind).unwrap_or_else(|| panic!("no {kind}"));
    let mut page = Vec::new();
    text::render(report, text::Look::default(), &mut page).unwrap();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let page = words(&String::from_utf8(page).unwrap());
    assert!(page.contains(&words(&loss.text)), "{} is not in {page}", loss.text);
    assert!(!report.complete || !loss.limit);
    (loss.count, loss.limit)
}

/// The program with this on standard input: its report, and the most memory it took, KiB, where the system tells.
fn fed(args: &[&OsStr], feed: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> (Value, u64) {
    let mut command = program();
    command.args(["analyze", "--format", "json"]).args(args).arg("-");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // Who stops reading early has a reason, and tells it.
    let _ = feed(&mut input);
    // It still waits for the end, so all but the report is behind it.
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    drop(input);
    let output = child.wait_with_output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap();
    (report, peak.unwrap_or(0))
}

/// What a printed report says of a loss of that kind.
fn said<'a>(report: &'a Value, kind: &str) -> &'a Value {
    report["losses"].as_array().unwrap().iter().find(|loss| loss["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

fn text_of<'a>(report: &'a Value, kind: &str) -> &'a str {
    said(report, kind)["text"].as_str().unwrap()
}

fn frames_of(report: &Value) -> u64 {
    report["captures"][0]["frames"].as_u64().unwrap()
}

/// `count` frames of 60 000 zeros, in `out`.
fn zeros(count: usize, out: &mut impl Write) {
    out.write_all(&header()).unwrap();
    let record = record(0, &[0; 60_000]);
    (0..count).for_each(|_| out.write_all(&record).unwrap());
}

#[test]
fn bombs_are_read_in_the_memory_of_a_window() {
    const FRAMES: usize = 5000;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zeros(FRAMES, &mut gzip);
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zeros(FRAMES, &mut zstd);
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    zeros(FRAMES, &mut lz4);
    for (name, bomb) in
        [("gzip", gzip.finish().unwrap()), ("zstd", zstd.finish().unwrap()), ("lz4", lz4.finish().unwrap())]
    {
        assert!(bomb.len() < 5 << 20, "{name}: 300 MB in {}", bomb.len());
        let (report, peak) = fed(&[], |input| input.write_all(&bomb));
        assert_eq!(frames_of(&report), FRAMES as u64, "{name}");
        assert_eq!(report["complete"], true, "{name}");
        assert!(peak < MOST, "{name}: {peak} KiB");
    }
}

#[test]
fn a_window_that_no_memory_holds_is_refused() {
    // A zstd frame whose window is 2 GiB (RFC 8878 §3.1.1.1.2), and an empty last block.
    let bytes = [0x28, 0xb5, 0x2f, 0xfd, 0x00, (31 - 10) << 3, 1, 0, 0];
    let source = Source { path: "x".to_owned(), vantage: None, input: Box::new(Cursor::new(bytes)), continues: false };
    let outcome = analysis::analyze([Ok(source)].into_iter(), &Options::default(), &mut |_| ControlFlow::Continue(()));
    let said = outcome.errors[0].to_string();
    assert!(said.contains("corrupt (Frame requires too much memory"), "{said}");
    told(&outcome.report, "unreadable");
}

#[test]
fn a_block_of_4_gib_is_damage_and_costs_nothing() {
    let mut file = frames::Capture::default();
    file.push(&udp("10.0.0.1:1", "10.0.0.2:2", b"good"));
    let good = file.bytes();
    for claim in [u32::MAX, u32::MAX - 3, 1 << 31, (64 << 20) + 4] {
        let block = [6_u32.to_le_bytes(), claim.to_le_bytes()].concat();
        let (report, peak) = fed(&[], |input| {
            input.write_all(&good)?;
            input.write_all(&block)?;
            (0..2000).try_for_each(|_| input.write_all(&[0; 60_000]))
        });
        let text = text_of(&report, "damaged");
        assert!(text.contains("larger than the limit of 67108864"), "{text}");
        assert_eq!(frames_of(&report), 1);
        assert!(peak < MOST, "{claim}: {peak} KiB");
    }
    // One that may be, of which nothing comes.
    let block = [6_u32.to_le_bytes(), (64_u32 << 20).to_le_bytes(), [0; 4]].concat();
    let (report, peak) = fed(&[], |input| input.write_all(&[&good[..], &block].concat()));
    let text = text_of(&report, "damaged");
    assert!(text.contains("ends 12 bytes into a block"), "{text}");
    assert!(peak < MOST / 2, "{peak} KiB");
}

/// SYNs, each of a flow of its own.
fn syns(count: u32) -> impl Iterator<Item = Vec<u8>> {
    let mut syn = tcp("10.0.0.1:1", "10.9.0.1:443", 7, 0, SYN, b"");
    (0..count).map(move |nth| {
        let [a, b, c, _] = (nth << 8).to_be_bytes();
        syn[13..16].copy_from_slice(&[a, b, c]);
        syn[20..22].copy_from_slice(&(nth as u16 | 1024).to_be_bytes());
        syn.clone()
    })
}

#[test]
fn a_flood_of_syns_keeps_as_many_flows_as_the_cap_says() {
    let mut options = Options::default();
    options.dissect.flows.max_flows = 1000;
    let report = report(capture(syns(30_000)), &options);
    assert_eq!(told(&report, "flow-cap"), (29_000, true));
    assert_eq!(told(&report, "refused-cap"), (20_000, true));
    assert_eq!(report.captures[0].frames, 30_000);
    assert!(report.sessions.is_empty());
}

#[test]
fn a_flood_that_goes_on_takes_no_more_memory() {
    let most = [OsStr::new("--max-flows"), OsStr::new("5000")];
    let peak = |count| {
        let file = capture(syns(count));
        let (report, peak) = fed(&most, |input| input.write_all(&file));
        let loss = said(&report, "flow-cap");
        assert_eq!((&loss["count"], &loss["limit"]), (&(count - 5000).into(), &true.into()));
        peak
    };
    let (some, many) = (peak(20_000), peak(200_000));
    assert!(many < MOST);
    assert!(many <= some + some / 4 + 1024, "{some} KiB for 20000, {many} KiB for 200000");
}

#[test]
fn a_run_with_little_memory_stays_near_it_and_tells_what_it_left_out() {
    const MEMORY: u64 = 48 << 20;
    const FLOWS: u32 = 300_000;
    let cap = Options::default().within(MEMORY).dissect.flows.max_flows as u64;
    assert!(cap < u64::from(FLOWS) / 4);
    let file = capture(syns(FLOWS));
    let (report, peak) = fed(&["--max-memory".as_ref(), "48M".as_ref()], |input| input.write_all(&file));
    let loss = said(&report, "flow-cap");
    assert_eq!((&loss["count"], &loss["limit"]), (&(u64::from(FLOWS) - cap).into(), &true.into()));
    assert_eq!(report["complete"], false);
    assert!(peak <= MEMORY >> 10, "{peak} KiB");
    let (_, usual) = fed(&[], |input| input.write_all(&file));
    assert!(usual == 0 || usual > peak, "{usual} KiB without a limit, {peak} KiB with it");
}

fn decode(packet: &[u8], link: LinkType) -> Vec<(u8, usize)> {
    let mut seen = Vec::new();
    let original_len = packet.len() as u32;
    let frame = Frame { number: 1, at: Timestamp::from_nanos(0), interface: 0, link, original_len, data: packet };
    let _ = Decoder::new(Default::default()).decode(&frame, &mut |packet| {
        seen.push(match packet.transport {
            Transport::Udp(datagram) => (17, datagram.payload.len()),
            Transport::Other(protocol) => (protocol, 0),
            _ => (0, 0),
        });
    });
    seen
}

#[test]
fn extension_headers_without_end_end_with_the_packet() {
    let chain = |count: usize, last: u8| {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, 60, 64];
        packet.extend([[0x20, 1, 0xd, 0xb8], [0; 4], [0; 4], [0, 0, 0, 1]].concat().repeat(2));
        for nth in 1..=count {
            packet.extend([if nth == count { last } else { 60 }, 0, 1, 4, 0, 0, 0, 0]);
        }
        let datagram = [4, 0, 4, 1, 0, 12, 0, 0, 1, 2, 3, 4];
        packet.extend(datagram);
        let length = (packet.len() - 40) as u16;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        packet
    };
    assert_eq!(
        decode(&chain(8000, 17), LinkType::RAW),
        [(17, 4)],
        "eight thousand headers, and the datagram behind them"
    );
    // All of them, and then one that is not there.
    let cut = chain(8000, 60);
    assert_eq!(decode(&cut[..cut.len() - 12], LinkType::RAW), [(60, 0)]);

    // IP in IP in IP: depth is limited, and said to be.
    let mut packet = udp("10.0.0.1:1", "10.0.0.2:2", b"x");
    for _ in 0..500 {
        packet = frames::ip("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap(), 4, &packet);
    }
    let report = report(capture([packet]), &Options::default());
    assert_eq!(told(&report, "undecoded").0, 1);
    assert!(report.losses[0].text.contains("tunnels are nested too deep"), "{:?}", report.losses);
}

#[test]
fn fragments_that_overlap_or_never_end_are_given_up_at_the_cap() {
    let mut packets = Vec::new();
    for id in 0..5000_u16 {
        let mut pieces = udp_pieces("10.0.0.1:1", "10.0.0.2:2", &[7; 1000], id, 200);
        // The last is missing; the others come twice, and once a little shifted.
        pieces.pop();
        let mut shifted = pieces[1].clone();
        shifted[7] += 3;
        packets.extend(pieces.clone());
        packets.push(shifted);
        packets.extend(pieces);
    }
    let report = report(capture(packets), &Options::default());
    let (given_up, limit) = told(&report, "fragments");
    assert!(limit && (3900..=5000).contains(&given_up), "{given_up} of 5000, 1024 kept");
}

/// A TLS record of that type.
fn tls_record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3], &(body.len() as u16).to_be_bytes()[..], body].concat()
}

#[test]
fn a_handshake_message_of_16_mib_is_passed_over() {
    let (client, server) = ("10.0.0.1:50000", "10.0.0.2:443");
    for kind in [1, 2, 11] {
        let (from, to) = if kind == 1 { (client, server) } else { (server, client) };
        let (report, peak) = fed(&[], |input| {
            input.write_all(&header())?;
            let mut packet = |nth: u64, bytes: &[u8]| input.write_all(&record(nth, bytes));
            packet(0, &tcp(client, server, 99, 0, SYN, b""))?;
            packet(1, &tcp(server, client, 99, 100, SYN | ACK, b""))?;
            let start = tls_record(22, &[&[kind, 0xff, 0xff, 0xff][..], &[3; 16_000]].concat());
            let rest = tls_record(22, &[3; 16_004]);
            let mut seq = 100_u32;
            for nth in 0..1050 {
                let record = if nth == 0 { &start } else { &rest };
                for (piece, bytes) in (0..).zip(record.chunks(1400)) {
                    packet(2 + nth * 20 + piece, &tcp(from, to, seq, 100, ACK, bytes))?;
                    seq = seq.wrapping_add(bytes.len() as u32);
                }
            }
            Ok(())
        });
        assert!(frames_of(&report) > 12_000 && report["captures"][0]["truncated"] == false);
        assert!(peak < MOST, "{kind}: {peak} KiB");
    }
}

#[test]
fn dtls_messages_that_never_end_are_given_up_and_counted() {
    let fragment = |message: u16, offset: u32| {
        let [_, o2, o1, o0] = offset.to_be_bytes();
        let head = [&[1, 0, 0x40, 0][..], &message.to_be_bytes(), &[o2, o1, o0, 0, 4, 0]].concat();
        let body = [&head[..], &[3; 1024]].concat();
        let sequence = [&[0, 0, 0, 0], &message.to_be_bytes()[..], &[0, 0]].concat();
        [&[22, 0xfe, 0xfd], &sequence[..], &(body.len() as u16).to_be_bytes(), &body].concat()
    };
    // The first piece of each is missing.
    let packets = (0..2000).map(|n| {
        let piece = fragment(n % 100, 1024 + u32::from(n) % 8 * 1024);
        udp("10.0.0.1:50000", "10.0.0.2:443", &piece)
    });
    let report = report(capture(packets), &Options::default());
    let (given_up, limit) = told(&report, "handshake-cap");
    assert!(limit && given_up > 100, "{given_up}");
}

#[test]
fn a_key_log_line_of_1_gib_is_one_mistake() {
    let folder = Folder::new("long-line");
    let log = folder.0.join("keys.log");
    // No line ends in it; where the file system can, it takes no room either.
    std::fs::File::create(&log).unwrap().set_len(1 << 30).unwrap();
    let file = capture([udp("10.0.0.1:1", "10.0.0.2:2", b"x")]);
    let (report, peak) = fed(&["--keylog".as_ref(), log.as_ref()], |input| {
        // More than a pipe holds: when it is written, the key log was read.
        input.write_all(&file)?;
        (0..200).try_for_each(|nth| input.write_all(&record(nth, &[0; 1000])))
    });
    let text = text_of(&report, "key-log");
    assert!(text.contains("line 1 of") && text.contains("the line is too long"), "{text}");
    assert!(peak < MOST, "{peak} KiB");
}

#[test]
fn times_that_go_back_are_told() {
    let packets: Vec<Vec<u8>> = (0..100).map(|_| udp("10.0.0.1:1", "10.0.0.2:2", b"x")).collect();
    let mut file = header();
    for (nth, packet) in (0..100_u64).rev().zip(packets) {
        file.extend(record(nth * 5_000_000, &packet));
    }
    assert_eq!(told(&report(file, &Options::default()), "backwards"), (99, false));
}

#[test]
fn more_interfaces_than_there_are_capture_points_are_left_out_and_counted() {
    let file = || {
        let mut file = frames::Capture::default();
        file.push(&udp("10.0.0.1:1", "10.0.0.2:2", b"x"));
        let bytes = file.bytes();
        let section = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
        let (start, rest) = bytes.split_at(section);
        // Sixteen thousand interfaces that nobody uses, behind the one that is used.
        let link =
            [&1_u32.to_le_bytes()[..], &20_u32.to_le_bytes(), &[101, 0, 0, 0], &[0; 4], &20_u32.to_le_bytes()].concat();
        [start, rest, &link.repeat(16_000)].concat()
    };
    let sources = (0..5).map(|i| {
        let (path, input) = (format!("{i}"), Box::new(Cursor::new(file())));
        Ok(Source { path, vantage: None, input, continues: false })
    });
    let outcome = analysis::analyze(sources, &Options::default(), &mut |_| ControlFlow::Continue(()));
    assert!(outcome.report.captures.iter().all(|capture| capture.damage.is_none()), "{:?}", outcome.report.losses);
    assert_eq!(outcome.report.captures.iter().map(|capture| capture.frames).sum::<u64>(), 5);
    let left_out: u64 = outcome.report.losses.iter().filter(|l| l.kind == "point-cap").map(|l| l.count).sum();
    assert_eq!(left_out, 2, "three captures have points");
    assert!(!outcome.report.complete);
}
