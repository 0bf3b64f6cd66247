//! One capture in every file format, link layer and state of damage: the same verdict, as far as the damage allows.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot set itself up has failed")]

#[path = "support/hostile_frames.rs"]
mod hostile_frames;

use acpcap::analysis::{self, Options, Source};
use acpcap::report::{Report, json};
use hostile_frames::*;
use std::collections::BTreeSet;
use std::io::{Cursor, Write};
use std::ops::ControlFlow;
use std::process::{Command, Stdio};

/// What a report comes to.
#[derive(Clone, Debug, PartialEq)]
struct Verdict {
    complete: bool,
    frames: u64,
    /// Client and gateway of each session.
    sessions: Vec<(String, String)>,
    findings: BTreeSet<String>,
    client_hellos: u32,
    connections: usize,
}

impl Verdict {
    fn of(report: &Report) -> Verdict {
        let sessions = || report.sessions.iter();
        let streams: BTreeSet<u32> =
            sessions().flat_map(|s| &s.tunnels).filter(|t| t.kind == "tls").map(|t| t.stream).collect();
        Verdict {
            complete: report.complete,
            frames: report.captures.iter().map(|c| c.frames).sum(),
            sessions: sessions().map(|s| (s.client.clone(), s.gateway.clone())).collect(),
            findings: report.findings.iter().map(|f| f.detector.clone()).collect(),
            client_hellos: sessions().flat_map(|s| &s.dtls_attempts).map(|a| a.client_hellos).sum(),
            connections: streams.len(),
        }
    }

    fn with(&self, change: impl Fn(&mut Verdict)) -> Verdict {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }
}

fn report(files: impl IntoIterator<Item = Vec<u8>>) -> Report {
    let sources = files.into_iter().enumerate().map(|(i, bytes)| {
        Ok(Source { path: "client".to_owned(), vantage: None, input: Box::new(Cursor::new(bytes)), continues: i > 0 })
    });
    let outcome = analysis::analyze(sources, &Options::default(), &mut |_| ControlFlow::Continue(()));
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    outcome.report
}

fn verdict(bytes: Vec<u8>) -> Verdict {
    Verdict::of(&report([bytes]))
}

fn base() -> Vec<Wire> {
    frames(&kept("asa-anyconnect/client.pcapng"))
}

fn ng(frames: &[Wire]) -> Vec<u8> {
    pcapng(frames, ETHERNET, Ng::default())
}

#[test]
fn every_file_format_gives_the_same_report() {
    let frames = base();
    let usual = verdict(ng(&frames));
    assert_eq!(usual.sessions.len(), 1);
    assert_eq!((usual.client_hellos, usual.connections), (10, 3));
    assert!(usual.findings.contains("dtls-never-completes") && usual.findings.contains("reconnect-for-mtu"));
    let options = |change: &dyn Fn(&mut Ng)| {
        let mut options = Ng::default();
        change(&mut options);
        pcapng(&frames, ETHERNET, options)
    };
    let halves = frames.split_at(frames.len() / 2);
    let variants = [
        ("pcap, µs", pcap(&frames, ETHERNET, false, false)),
        ("pcap, ns", pcap(&frames, ETHERNET, true, false)),
        ("pcap, µs, big endian", pcap(&frames, ETHERNET, false, true)),
        ("pcap, ns, big endian", pcap(&frames, ETHERNET, true, true)),
        ("pcapng, big endian", options(&|o| o.big = true)),
        ("pcapng, obsolete packet block", options(&|o| o.block = Block::Obsolete)),
        ("pcapng, no if_tsresol: µs", options(&|o| o.resolution = None)),
        ("pcapng, if_tsresol 6", options(&|o| o.resolution = Some(6))),
        ("pcapng, if_tsresol 3", options(&|o| o.resolution = Some(3))),
        ("pcapng, if_tsresol 2^-20", options(&|o| o.resolution = Some(0x80 | 20))),
        ("pcapng, two sections", [ng(halves.0), ng(halves.1)].concat()),
    ];
    for (name, bytes) in variants {
        assert_eq!(verdict(bytes), usual, "{name}");
    }
}

#[test]
fn frames_without_a_time_are_read_and_nothing_is_made_of_their_times() {
    let frames = base();
    let usual = verdict(ng(&frames));
    let report = report([pcapng(&frames, ETHERNET, Ng { block: Block::Simple, ..Ng::default() })]);
    let simple = Verdict::of(&report);
    assert_eq!(simple, usual.with(|v| v.findings = simple.findings.clone()));
    assert!(!simple.findings.contains("reconnect-for-mtu"), "without times there is no minute");
    assert!(report.losses.iter().any(|l| l.kind == "no-times"));
}

#[test]
fn every_link_layer_gives_the_same_report() {
    let frames = base();
    let usual = verdict(ng(&frames));
    let ip = ip_only(&frames).len() as u64;
    let ip_verdict = usual.with(|v| v.frames = ip);
    let of = |frames: Vec<Wire>, link| pcap(&frames, link, true, false);
    let variants = [
        ("VLAN", of(vlan(&frames), ETHERNET), &usual),
        ("QinQ", of(qinq(&frames), ETHERNET), &usual),
        ("PPPoE", of(pppoe(&frames), ETHERNET), &ip_verdict),
        ("MPLS", of(mpls(&frames), ETHERNET), &ip_verdict),
        ("raw IP", of(raw(&frames), RAW), &ip_verdict),
        ("NULL", of(null(&frames), NULL), &ip_verdict),
        ("LOOP", of(openbsd_loop(&frames), LOOP), &ip_verdict),
        ("SLL", of(sll(&frames), SLL), &ip_verdict),
        ("SLL2", of(sll2(&frames), SLL2), &ip_verdict),
        ("GRE", of(gre(&frames), ETHERNET), &ip_verdict),
        ("security group tags", of(security_group(&frames), ETHERNET), &usual),
    ];
    for (name, bytes, expected) in variants {
        assert_eq!(verdict(bytes), *expected, "{name}");
    }
}

#[test]
fn frames_that_nobody_understands_are_told_where_they_could_hide_a_session() {
    let frames = base();
    let undecoded = |frames: &[Wire]| {
        let report = report([ng(frames)]);
        let losses = report.losses.iter().filter(|loss| loss.kind == "undecoded");
        (report.sessions.len(), losses.map(|loss| loss.text.clone()).collect::<Vec<_>>())
    };
    let sealed = macsec(&frames);
    let text = |count: usize, all: usize| {
        format!("{count} of {all} frames are of EtherType 0x88e5, which is not understood here")
    };
    assert_eq!(undecoded(&sealed), (0, vec![text(sealed.len(), sealed.len())]));
    let few = [&frames, &sealed[..10]].concat();
    assert_eq!(undecoded(&few), (1, vec![]), "there is a session, and few could hide more");
    let most = [&frames, &sealed[..], &sealed[..1]].concat();
    assert_eq!(undecoded(&most), (1, vec![text(sealed.len() + 1, most.len())]));
}

#[test]
fn damage_costs_only_what_it_hides() {
    let frames = base();
    let usual = verdict(ng(&frames));

    let cut = &frames[20..];
    let expected = usual.with(|v| {
        v.frames = cut.len() as u64;
        v.connections = 2;
    });
    assert_eq!(verdict(ng(cut)), expected, "the first 20 frames missing");

    let holes = without_every(&frames, 50);
    assert_eq!(verdict(ng(&holes)), usual.with(|v| v.frames = holes.len() as u64), "every 50th frame missing");

    let twice = verdict(ng(&duplicated(&frames)));
    let expected = usual.with(|v| {
        v.frames *= 2;
        v.client_hellos = twice.client_hellos;
    });
    assert_eq!(twice, expected, "every frame twice");
    assert!([10, 20].contains(&twice.client_hellos));

    assert_eq!(verdict(ng(&swapped(&frames))), usual, "neighbours swapped");

    let snapped = report([ng(&snap(&frames, 96))]);
    let verdict_96 = Verdict::of(&snapped);
    assert_eq!((&verdict_96.sessions, verdict_96.client_hellos), (&usual.sessions, 10), "cut to 96 bytes");
    assert!(verdict_96.findings.contains("dtls-never-completes"));
    assert!(snapped.losses.iter().any(|l| l.kind == "cut-frames"));

    let whole = ng(&frames);
    let truncated = verdict(whole[..whole.len() * 7 / 10].to_vec());
    assert!(!truncated.complete);
    assert_eq!(truncated, usual.with(|v| (v.complete, v.frames) = (false, truncated.frames)), "cut off at 70 %");
}

#[test]
fn names_only_help() {
    let report_of = |path: &str, bytes: Vec<u8>| {
        let input = Box::new(Cursor::new(bytes));
        let source = Source { path: path.to_owned(), vantage: None, input, continues: false };
        let options = Options::default();
        analysis::analyze([Ok(source)].into_iter(), &options, &mut |_| ControlFlow::Continue(())).report
    };
    let vantages =
        |report: &Report| -> Vec<String> { report.captures[0].interfaces.iter().map(|i| i.vantage.clone()).collect() };
    let mut bytes = std::fs::read(kept("asa-anyconnect/all.pcapng")).unwrap();
    let named = report_of("all.pcapng", bytes.clone());
    for name in ["cscotun0", "outside", "inside", "phys0"] {
        let at: Vec<usize> =
            (0..bytes.len() - name.len()).filter(|i| bytes[*i..].starts_with(name.as_bytes())).collect();
        assert_eq!(at.len(), 1, "{name}");
        bytes[at[0]..][..name.len()].fill(b'x');
    }
    let nameless = report_of("x.pcapng", bytes);
    assert_eq!(vantages(&nameless), vantages(&named));
    assert_eq!(Verdict::of(&nameless), Verdict::of(&named));

    // The MTU that falls after the trouble gives an inside capture away; packets that get stuck only ask for its label.
    let inside = |case: &str| std::fs::read(kept(&format!("{case}/inside.pcapng"))).unwrap();
    let called = |name: &str, case: &str| report_of(name, pcap(&frames_of(&inside(case)), ETHERNET, true, false));
    let anonymous = |case: &str| called("x.pcap", case);
    let known = anonymous("asa-anyconnect");
    assert_eq!(vantages(&known), ["inside"]);
    assert!(Verdict::of(&known).findings.contains("missing-frag-needed"));
    let unknown = anonymous("mtu-blackhole-icmp-ignored");
    assert_eq!((vantages(&unknown), unknown.sessions.len()), (vec!["unknown".to_owned()], 0));
    assert_eq!(unknown.next_captures[0].command, "acpcap analyze inside:x.pcap");
    let denied = called("outside.pcap", "mtu-blackhole-icmp-ignored");
    assert!(denied.next_captures.is_empty(), "a file that is called outside is not asked whether it is an inside one");
}

#[test]
fn compressed_captures_are_opened() {
    let frames = base();
    let plain = ng(&frames);
    let usual = verdict(plain.clone());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(&plain).unwrap();
    let variants = [
        ("gzip", gzip.finish().unwrap()),
        ("zstd", zstd::encode_all(&plain[..], 1).unwrap()),
        ("lz4", lz4.finish().unwrap()),
    ];
    for (name, bytes) in variants {
        let found = report([bytes]);
        assert_eq!(Verdict::of(&found), usual, "{name}");
        assert_eq!(found.captures[0].format, format!("{name}+pcapng"));
    }
}

#[test]
fn a_rotated_set_is_one_capture() {
    let frames = base();
    let usual = verdict(ng(&frames));
    let files: Vec<Vec<u8>> = frames.chunks(frames.len().div_ceil(3)).map(ng).collect();
    assert_eq!(files.len(), 3);
    assert_eq!(Verdict::of(&report(files)), usual);
}

#[test]
fn standard_input_is_read_like_a_file() {
    let frames = base();
    let bytes = ng(&frames);
    let mut program = Command::new(env!("CARGO_BIN_EXE_acpcap"))
        .args(["analyze", "--quiet", "--format", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    program.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = program.wait_with_output().unwrap();
    assert!(output.status.success());
    let mut expected = Vec::new();
    let mut report = report([bytes]);
    report.captures[0].path = "-".to_owned();
    json::render(&report, &mut expected).unwrap();
    let findings = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap()["findings"].clone();
    assert_eq!(findings(&output.stdout), findings(&expected));
}
