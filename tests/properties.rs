//! Whatever the bytes: no panic, no silence about damage, evidence that exists, a report that can be printed, and the
//! same report for the same bytes however they arrive.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot set itself up has failed")]

#[path = "support/hostile_frames.rs"]
#[allow(dead_code, reason = "shared with the tests of formats")]
mod hostile_frames;

use acpcap::analysis::{self, Options, Outcome, Source};
use acpcap::report::{Report, json, text};
use hostile_frames::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::io::{self, Cursor, Read};
use std::ops::ControlFlow;
use std::sync::OnceLock;

/// A reader that hands out its bytes in pieces of these lengths, over and over.
struct Pieces {
    bytes: Cursor<Vec<u8>>,
    lengths: Vec<usize>,
    next: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.lengths[self.next % self.lengths.len()].min(buffer.len());
        self.next += 1;
        self.bytes.read(&mut buffer[..length])
    }
}

fn run(input: impl Read + Send + 'static) -> Outcome {
    let source = Source { path: "hostile".to_owned(), vantage: None, input: Box::new(input), continues: false };
    analysis::analyze(std::iter::once(Ok(source)), &Options::default(), &mut |_| ControlFlow::Continue(()))
}

fn to_json(report: &Report) -> Vec<u8> {
    let mut out = Vec::new();
    json::render(report, &mut out).unwrap();
    out
}

/// Everything that holds for every input; the report for what holds only for some.
fn sound(bytes: &[u8]) -> Outcome {
    let outcome = run(Cursor::new(bytes.to_vec()));
    let report = &outcome.report;
    let first = to_json(report);
    assert!(serde_json::from_slice::<serde_json::Value>(&first).is_ok());
    assert_eq!(first, to_json(&run(Cursor::new(bytes.to_vec())).report), "two runs differ");
    for why in [false, true] {
        let mut page = Vec::new();
        text::render(report, text::Look { why, ..text::Look::default() }, &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        assert!(!page.chars().any(|c| c.is_control() && c != '\n'), "control characters in {page:?}");
    }
    for capture in &report.captures {
        assert!(!capture.truncated || capture.damage.is_some());
        assert!(!capture.truncated || report.losses.iter().any(|l| l.kind == "damaged"));
    }
    assert!(report.complete || !report.losses.is_empty() || !outcome.errors.is_empty());
    for finding in &report.findings {
        assert!(report.sessions.iter().any(|s| s.id == finding.session));
        assert!(!finding.evidence.is_empty(), "{} without evidence", finding.detector);
        for evidence in &finding.evidence {
            let frames = report.captures[usize::from(evidence.capture)].frames;
            let exist = evidence.frames.iter().all(|f| *f >= 1 && u64::from(*f) <= frames);
            assert!(exist, "{}: {:?} of {frames} frames", finding.detector, evidence.frames);
            assert!(evidence.frames.is_sorted());
        }
    }
    outcome
}

/// Frames to damage: those of a capture kept with the project, whose path is one of several.
fn kept_frames() -> &'static [Wire] {
    static FRAMES: OnceLock<Vec<Wire>> = OnceLock::new();
    FRAMES.get_or_init(|| {
        let mut all = Vec::new();
        for path in
            ["asa-anyconnect/client.pcapng", "asa-dtls-stalls-after-hvr/client.pcapng", "healthy-dtls12/client.pcapng"]
        {
            all.extend(frames(&kept(path)).into_iter().take(400));
        }
        all
    })
}

fn flagship() -> &'static [Wire] {
    let frames = kept_frames();
    &frames[..frames.len().min(248)]
}

fn ng(frames: &[Wire]) -> Vec<u8> {
    pcapng(frames, ETHERNET, Ng::default())
}

fn few() -> ProptestConfig {
    ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn any_truncation_is_told_and_what_came_before_is_kept(at in any::<Index>(), classic: bool) {
        let frames = flagship();
        let whole = if classic { pcap(frames, ETHERNET, true, false) } else { ng(frames) };
        let cut = &whole[..at.index(whole.len())];
        let outcome = sound(cut);
        let Some(capture) = outcome.report.captures.first() else {
            prop_assert!(!outcome.errors.is_empty(), "no capture and no error");
            return Ok(());
        };
        // Only a cut between two frames goes unseen.
        let read = capture.frames as usize;
        let prefix = if classic { pcap(&frames[..read], ETHERNET, true, false) } else { ng(&frames[..read]) };
        prop_assert_eq!(capture.truncated, prefix.len() != cut.len());
        let undamaged = sound(&prefix);
        let ids = |r: &Report| r.findings.iter().map(|f| f.detector.clone()).collect::<Vec<_>>();
        prop_assert_eq!(ids(&outcome.report), ids(&undamaged.report));
        prop_assert_eq!(outcome.report.sessions.len(), undamaged.report.sessions.len());
    }

    #[test]
    fn flipped_bits(flips in vec((any::<Index>(), 0..8u8), 1..64), classic: bool) {
        let frames = flagship();
        let mut bytes = if classic { pcap(frames, ETHERNET, false, true) } else { ng(frames) };
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        sound(&bytes);
    }

    #[test]
    fn flipped_bits_in_packets_only(flips in vec((any::<Index>(), any::<Index>(), 0..8u8), 1..400), early: bool) {
        let mut frames = kept_frames().to_vec();
        for (frame, at, bit) in flips {
            let place = frame.index(frames.len());
            let data = &mut frames[place].data;
            // The headers have the lengths worth lying about.
            let at = at.index(if early { data.len().min(120) } else { data.len() });
            data[at] ^= 1 << bit;
        }
        sound(&ng(&frames));
    }

    #[test]
    fn lost_doubled_and_shuffled_frames(
        doubled in vec(any::<Index>(), 0..30),
        moves in vec((any::<Index>(), any::<Index>()), 0..60),
        lost in vec(any::<Index>(), 0..30),
    ) {
        let mut frames = kept_frames().to_vec();
        for at in doubled {
            let at = at.index(frames.len());
            frames.insert(at, frames[at].clone());
        }
        for (a, b) in moves {
            let (a, b) = (a.index(frames.len()), b.index(frames.len()));
            frames.swap(a, b);
        }
        for at in lost {
            frames.remove(at.index(frames.len()));
        }
        sound(&ng(&frames));
    }

    #[test]
    fn any_times(steps in vec(-4_000_000_000_000_i64..4_000_000_000_000, 1..50), wild: bool, seed: u64) {
        let mut frames = flagship().to_vec();
        let mut at = frames[0].at;
        for (i, frame) in frames.iter_mut().enumerate() {
            at = at.saturating_add(steps[i % steps.len()]).max(0);
            let random = seed.wrapping_mul(6_364_136_223_846_793_005).rotate_left((i % 64) as u32).wrapping_add(i as u64);
            frame.at = if wild { (random >> 1) as i64 } else { at };
        }
        sound(&ng(&frames));
    }

    #[test]
    fn random_bytes_as_a_file(bytes in vec(any::<u8>(), 0..4096), magic in 0..6usize) {
        let magics: [&[u8]; 6] = [
            b"", b"\xd4\xc3\xb2\xa1\x02\0\x04\0", b"\x0a\x0d\x0d\x0a", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18",
        ];
        let outcome = sound(&[magics[magic], &bytes].concat());
        prop_assert!(outcome.report.sessions.is_empty());
    }

    #[test]
    fn random_bytes_as_packets(packets in vec((0..4u8, vec(any::<u8>(), 0..300)), 1..60), link in any::<Index>()) {
        let links = [NULL, ETHERNET, RAW, LOOP, SLL, SLL2, 9, 12, 14, 105, 127, 147, 228, 229, 50];
        let link = links[link.index(links.len())];
        let frame = |(i, (kind, bytes)): (usize, &(u8, Vec<u8>))| {
            let mut data = match kind {
                0 => Vec::new(),
                1 => [&[2; 12][..], &[0x08, 0x00, 0x45, 0, 0, 200, 0, 0, 0x40, 0, 64, 6, 0, 0]].concat(),
                2 => vec![0x45, 0, 0, 200, 0, 0, 0x40, 0, 64, 17, 0, 0],
                _ => [&[2; 12][..], &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 90, 0, 64]].concat(),
            };
            data.extend(bytes);
            Wire { at: 1_700_000_000_000_000_000 + i as i64, original: data.len() + usize::from(*kind) * 40, data }
        };
        let frames: Vec<Wire> = packets.iter().enumerate().map(frame).collect();
        let outcome = sound(&pcap(&frames, link, true, false));
        prop_assert_eq!(outcome.report.captures[0].frames, frames.len() as u64);
    }

    #[test]
    fn absurd_lengths_are_damage(lengths in vec((any::<u32>(), any::<u32>()), 1..8), at in any::<Index>(), classic: bool) {
        let frames = flagship();
        let split = at.index(frames.len());
        let mut bytes = if classic { pcap(&frames[..split], ETHERNET, true, false) } else { ng(&frames[..split]) };
        for (a, b) in lengths {
            bytes.extend(if classic { [1, 1, a | 0x8000_0000, b] } else { [6, a | 0x8000_0000, 0, b] }.map(u32::to_le_bytes).concat());
        }
        let outcome = sound(&bytes);
        let capture = &outcome.report.captures[0];
        prop_assert!(capture.truncated && !outcome.report.complete);
        prop_assert_eq!(capture.frames, split as u64);
    }

    #[test]
    fn pieces_of_any_size_give_the_same_report(lengths in vec(1..700usize, 1..8), classic: bool) {
        let frames = flagship();
        let bytes = if classic { pcap(frames, ETHERNET, true, false) } else { ng(frames) };
        let pieces = Pieces { bytes: Cursor::new(bytes.clone()), lengths, next: 0 };
        prop_assert_eq!(to_json(&run(pieces).report), to_json(&run(Cursor::new(bytes)).report));
    }
}

#[test]
fn secrets_and_names_never_reach_a_report() {
    let canary = "5ec4e7c0ffee";
    let keys = format!("CLIENT_RANDOM {} {}\n", "00".repeat(32), canary.repeat(8));
    let mut body = 0x544c_534b_u32.to_le_bytes().to_vec();
    body.extend((keys.len() as u32).to_le_bytes());
    body.extend(keys.as_bytes());
    let whole = [ng(&[]), block(false, 10, &body), ng(flagship())].concat();
    let start = ng(&[]).len();
    let lied = {
        let mut lied = whole.clone();
        lied[start + 12] = 0xff;
        lied
    };
    // Whole, cut inside the secrets, with a false inner length, and as something that is no capture at all.
    for bytes in [&whole[..], &whole[..start + 90], &lied, keys.as_bytes()] {
        let outcome = sound(bytes);
        let mut shown = String::from_utf8(to_json(&outcome.report)).unwrap();
        shown.extend(outcome.errors.iter().map(|e| format!("{e} {e:?}")));
        assert!(!shown.contains(canary) && !shown.contains("CLIENT_RANDOM"), "{shown}");
    }
}
