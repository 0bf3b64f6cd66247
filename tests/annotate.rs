//! `acpcap annotate` as Wireshark's own tools read it: the same frames, bytes and times, and comments that select the evidence.
//!
//! Reads every capture under `captures/` and under the directory `ACPCAP_ORACLE_DIR` names. Without tshark on the path only what our own
//! reader sees is compared.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot set itself up has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

#[path = "support/command.rs"]
mod command;
#[path = "support/hostile_frames.rs"]
#[allow(dead_code, reason = "this test uses its part")]
mod hostile_frames;

use command::{Folder, code, program, run, stderr, stdout};
use hostile_frames::{Block, ETHERNET, Ng, block, frames, frames_of, kept, pcap, pcapng};
use serde_json::Value;

fn annotate(from: &Path, to: &Path, more: &[&str]) -> Output {
    let all = [OsStr::new("annotate"), from.as_os_str(), "-o".as_ref(), to.as_os_str()];
    run(all.into_iter().chain(more.iter().map(OsStr::new)))
}

/// Lines that tshark prints; `None` when there is none on this machine.
fn tshark(capture: &Path, args: &[&str]) -> Option<Vec<String>> {
    let Ok(output) = Command::new("tshark").args(["-n", "-r"]).arg(capture).args(args).output() else {
        println!("skipped: tshark is not on the path");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Everything of the frames that a copy has to keep.
fn fields(capture: &Path) -> Option<Vec<String>> {
    let names = [
        "frame.number",
        "frame.time_epoch",
        "frame.len",
        "frame.cap_len",
        "frame.encap_type",
        "frame.interface_id",
        "frame.interface_name",
        "frame.interface_description",
        "frame.packet_flags",
        "frame.md5_hash",
        "frame.protocols",
    ];
    let mut args = vec!["-o", "frame.generate_md5_hash:TRUE", "-T", "fields"];
    args.extend(names.iter().flat_map(|name| ["-e", name]));
    tshark(capture, &args)
}

/// What an interface calls itself is new where a classic pcap had none.
fn without_interfaces(lines: Vec<String>) -> Vec<String> {
    let keep = |line: &String| {
        let cells = line.split('\t').enumerate().filter(|(at, _)| !(5..8).contains(at));
        cells.map(|(_, cell)| cell).collect::<Vec<_>>().join("\t")
    };
    lines.iter().map(keep).collect()
}

/// Evidence frames of the report on this capture, by detector.
fn evidence(capture: &Path) -> BTreeMap<String, BTreeSet<u64>> {
    let output = run([OsStr::new("analyze"), "--format".as_ref(), "json".as_ref(), capture.as_os_str()]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for finding in report["findings"].as_array().unwrap() {
        let frames = finding["evidence"].as_array().unwrap().iter().flat_map(|e| e["frames"].as_array().unwrap());
        let numbers = frames.map(|frame| frame.as_u64().unwrap());
        found.entry(finding["detector"].as_str().unwrap().to_owned()).or_default().extend(numbers);
    }
    found
}

/// Frames whose comment has this in it, as Wireshark's filter sees it.
fn selected(capture: &Path, words: &str) -> Option<BTreeSet<u64>> {
    let filter = format!("frame.comment contains \"{words}\"");
    let lines = tshark(capture, &["-Y", &filter, "-T", "fields", "-e", "frame.number"])?;
    Some(lines.iter().map(|line| line.parse().unwrap()).collect())
}

/// The copy holds what the capture held, and its comments select the evidence of every detector.
fn assert_copy(capture: &Path, copy: &Path, same_interfaces: bool) {
    assert_kept(capture, copy, same_interfaces);
    assert_selects(capture, copy);
}

fn assert_kept(capture: &Path, copy: &Path, same_interfaces: bool) {
    let shown = capture.display();
    if let (Some(before), Some(after)) = (fields(capture), fields(copy)) {
        let strip = |lines| if same_interfaces { lines } else { without_interfaces(lines) };
        let (before, after) = (strip(before), strip(after));
        assert_eq!(before.len(), after.len(), "{shown}");
        let differs = before.iter().zip(&after).find(|(a, b)| a != b);
        assert!(differs.is_none(), "{shown}: {differs:?}");
    }
}

fn assert_selects(capture: &Path, copy: &Path) {
    let shown = capture.display();
    let Some(comments) = comments(copy) else { return };
    let found = evidence(capture);
    for detector in acpcap::detect::DETECTORS {
        let expected = found.get(detector.id).cloned().unwrap_or_default();
        let selected = comments.iter().filter(|(_, text)| text.contains(detector.id)).map(|(number, _)| *number);
        assert_eq!(selected.collect::<BTreeSet<_>>(), expected, "{shown}: {}", detector.id);
    }
}

/// The comments of every frame that has some, as Wireshark reads them.
fn comments(capture: &Path) -> Option<Vec<(u64, String)>> {
    let lines = tshark(capture, &["-Y", "frame.comment", "-T", "fields", "-e", "frame.number", "-e", "frame.comment"])?;
    let split = |line: &String| {
        let (number, text) = line.split_once('\t').unwrap();
        (number.parse().unwrap(), text.to_owned())
    };
    Some(lines.iter().map(split).collect())
}

fn captures_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            captures_below(&path, found);
        } else if path.extension().is_some_and(|e| e == "pcapng" || e == "pcap") {
            found.push(path);
        }
    }
    found.sort();
}

#[test]
fn every_capture_stays_what_it_was() {
    let folder = Folder::new("annotate-all");
    let mut captures = Vec::new();
    captures_below(&kept(""), &mut captures);
    if let Some(more) = std::env::var_os("ACPCAP_ORACLE_DIR") {
        captures_below(Path::new(&more), &mut captures);
    }
    assert!(captures.len() > 20);
    for capture in captures {
        let copy = folder.0.join("copy.pcapng");
        let output = annotate(&capture, &copy, &[]);
        assert!([0, 4].contains(&code(&output)), "{}: {}", capture.display(), stderr(&output));
        let (before, after) = (fs::read(&capture).unwrap(), fs::read(&copy).unwrap());
        assert_kept(&capture, &copy, before.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]));
        if !stderr(&output).contains("Simple Packet Blocks") {
            assert_selects(&capture, &copy);
        }
        // By our own reader, which is there without tshark too.
        if code(&output) == 0 {
            assert_frames(&before, &after);
        }
    }
}

fn assert_frames(before: &[u8], after: &[u8]) {
    let of = |bytes: &[u8]| frames_any(bytes);
    assert!(of(before) == of(after));
}

/// Number, time, interface, length and bytes of every frame.
fn frames_any(bytes: &[u8]) -> Vec<(u32, i64, u32, u32, Vec<u8>)> {
    use acpcap::capture::{Item, reader};
    let input = Box::new(std::io::Cursor::new(bytes.to_vec()));
    let mut reader = reader::Reader::new("kept", input, reader::Limits::default()).unwrap();
    let mut frames = Vec::new();
    reader
        .for_each(|item| {
            if let Item::Frame(f) = item {
                frames.push((f.number, f.at.nanos(), f.interface, f.original_len, f.data.to_vec()));
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    frames
}

#[test]
fn every_file_format_is_annotated() {
    let folder = Folder::new("annotate-formats");
    let all = frames(&kept("asa-anyconnect/client.pcapng"));
    let ng = |change: &dyn Fn(&mut Ng)| {
        let mut options = Ng::default();
        change(&mut options);
        pcapng(&all, ETHERNET, options)
    };
    let halves = all.split_at(all.len() / 2);
    let sections = |big| {
        let options = Ng { big, resolution: Some(6), ..Ng::default() };
        [pcapng(halves.0, ETHERNET, Ng::default()), pcapng(halves.1, ETHERNET, options)].concat()
    };
    let whole = ng(&|_| {});
    let variants = [
        ("pcap, µs", pcap(&all, ETHERNET, false, false)),
        ("pcap, ns", pcap(&all, ETHERNET, true, false)),
        ("pcap, µs, big endian", pcap(&all, ETHERNET, false, true)),
        ("pcap, ns, big endian", pcap(&all, ETHERNET, true, true)),
        ("pcapng", whole.clone()),
        ("pcapng, big endian", ng(&|o| o.big = true)),
        ("pcapng, obsolete packet block", ng(&|o| o.block = Block::Obsolete)),
        ("pcapng, no if_tsresol: µs", ng(&|o| o.resolution = None)),
        ("pcapng, if_tsresol 3", ng(&|o| o.resolution = Some(3))),
        ("pcapng, if_tsresol 2^-20", ng(&|o| o.resolution = Some(0x80 | 20))),
        ("pcapng, two sections", sections(false)),
        ("pcapng, two sections of both byte orders", sections(true)),
    ];
    for (name, bytes) in variants {
        let (capture, copy) = (folder.file("capture", &bytes), folder.0.join("copy.pcapng"));
        let output = annotate(&capture, &copy, &[]);
        assert_eq!(code(&output), 0, "{name}: {}", stderr(&output));
        assert_frames(&bytes, &fs::read(&copy).unwrap());
        assert!(!evidence(&capture)["dtls-never-completes"].is_empty(), "{name}");
        assert_copy(&capture, &copy, !name.starts_with("pcap,"));
    }
    for (name, bytes) in
        [("gzip", gzip(&whole)), ("zstd", zstd::encode_all(&whole[..], 1).unwrap()), ("lz4", lz4(&whole))]
    {
        let (capture, copy) = (folder.file("capture", &bytes), folder.0.join("copy.pcapng"));
        assert_eq!(code(&annotate(&capture, &copy, &[])), 0, "{name}");
        assert_frames(&whole, &fs::read(&copy).unwrap());
    }
}

#[test]
fn simple_packet_blocks_stay_and_their_want_of_room_is_told() {
    let folder = Folder::new("annotate-simple");
    let all = frames(&kept("asa-anyconnect/client.pcapng"));
    let capture = folder.file("simple.pcapng", &pcapng(&all, ETHERNET, Ng { block: Block::Simple, ..Ng::default() }));
    let copy = folder.0.join("copy.pcapng");
    let output = annotate(&capture, &copy, &[]);
    let due = evidence(&capture).values().flatten().collect::<BTreeSet<_>>().len();
    assert!(due > 1);
    assert!(stderr(&output).contains(&format!("{due} frames without the comment due")), "{}", stderr(&output));
    assert_kept(&capture, &copy, true);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(bytes).unwrap();
    lz4.finish().unwrap()
}

#[test]
fn a_damaged_capture_is_copied_up_to_the_damage() {
    let folder = Folder::new("annotate-damage");
    let whole = fs::read(kept("asa-anyconnect/client.pcapng")).unwrap();
    let cut = folder.file("cut.pcapng", &whole[..whole.len() * 7 / 10]);
    let mut broken = whole.clone();
    let at = whole.len() * 8 / 10;
    broken[at..at + 4000].fill(0x41);
    let broken = folder.file("broken.pcapng", &broken);
    for capture in [cut, broken] {
        let copy = folder.0.join("copy.pcapng");
        let output = annotate(&capture, &copy, &[]);
        assert_eq!(code(&output), 4, "{}", stderr(&output));
        assert!(stderr(&output).contains("nothing from behind the damage is in the copy"), "{}", stderr(&output));
        let (before, after) = (frames_of(&fs::read(&capture).unwrap()), frames_of(&fs::read(&copy).unwrap()));
        assert!(before.len() > 100 && before.len() == after.len());
        assert!(before.iter().zip(&after).all(|(a, b)| (a.at, &a.data) == (b.at, &b.data)));
        // The copy itself is whole.
        assert_eq!(code(&run([OsStr::new("analyze"), copy.as_os_str()])), 0);
        if let Some(selected) = selected(&copy, "dtls-never-completes") {
            assert_eq!(selected, evidence(&capture)["dtls-never-completes"]);
        }
    }
}

#[test]
fn the_evidence_alone_is_small_and_tells_its_numbers() {
    let folder = Folder::new("annotate-evidence");
    let (capture, copy) = (kept("asa-anyconnect/all.pcapng"), folder.0.join("evidence.pcapng"));
    let output = annotate(&capture, &copy, &["--only-evidence"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let (whole, part) = (frames_any(&fs::read(&capture).unwrap()), frames_any(&fs::read(&copy).unwrap()));
    assert!(part.len() * 4 < whole.len(), "{} of {}", part.len(), whole.len());
    let Some(lines) =
        tshark(&copy, &["-T", "fields", "-E", "aggregator=|", "-e", "frame.comment", "-e", "tcp.flags.syn"])
    else {
        return;
    };
    assert_eq!(lines.len(), part.len());
    let mut originals = BTreeMap::new();
    for (line, frame) in lines.iter().zip(&part) {
        let comments = line.split('\t').next().unwrap();
        let (_, number) = comments.rsplit_once("original frame ").unwrap_or_else(|| panic!("no number: {line}"));
        let original = &whole[number.parse::<usize>().unwrap() - 1];
        assert_eq!((original.1, original.2, &original.4), (frame.1, frame.2, &frame.4), "{line}");
        originals.insert(u64::from(original.0), comments.to_owned());
    }
    // All the evidence is there, and what is beside it does not pass for evidence.
    let found = evidence(&capture);
    for (detector, frames) in &found {
        let begins = |comments: &String| comments.split('|').any(|c| c.starts_with(&format!("{detector}: ")));
        let marked: BTreeSet<u64> =
            originals.iter().filter(|(_, comments)| begins(comments)).map(|(number, _)| *number).collect();
        assert_eq!(marked, *frames, "{detector}");
    }
    assert!(originals.values().any(|comments| comments.starts_with("context: handshake of")));
    assert!(lines.iter().any(|line| line.ends_with('1') || line.ends_with("True")), "SYNs of the connections");

    let healthy = kept("healthy-dtls12/client.pcapng");
    let output = annotate(&healthy, &folder.0.join("none.pcapng"), &["--only-evidence"]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("no evidence to write"), "{}", stderr(&output));
    assert!(!folder.0.join("none.pcapng").exists());
}

/// A capture with secrets, names, and a block nobody knows.
fn with_secrets() -> Vec<u8> {
    let mut bytes = fs::read(kept("asa-anyconnect/client.pcapng")).unwrap();
    let key = [&0x544c_534b_u32.to_le_bytes()[..], &12_u32.to_le_bytes(), b"# SECRETWORD"].concat();
    bytes.extend(block(false, 10, &key));
    bytes.extend(block(false, 4, b"\x01\x00\x0f\x00\x0a\x00\x00\x01HIDDENNAME\0\0\0\0\0\0"));
    bytes.extend(block(false, 0x0bad, &[&1_u32.to_le_bytes()[..], b"CUSTOMDATA"].concat()));
    bytes
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

#[test]
fn secrets_stay_in() {
    let folder = Folder::new("annotate-secrets");
    let capture = folder.file("secret.pcapng", &with_secrets());
    let copy = folder.0.join("copy.pcapng");
    let output = annotate(&capture, &copy, &[]);
    assert!(stderr(&output).contains("1 Decryption Secrets Block copied"), "{}", stderr(&output));
    let bytes = fs::read(&copy).unwrap();
    assert!(["SECRETWORD", "HIDDENNAME", "CUSTOMDATA"].iter().all(|word| holds(&bytes, word)));

    let output = annotate(&capture, &copy, &["--only-evidence"]);
    assert!(stderr(&output).contains("1 Decryption Secrets Block left out"), "{}", stderr(&output));
    assert!(stderr(&output).contains("2 other blocks left out"), "{}", stderr(&output));
    let bytes = fs::read(&copy).unwrap();
    assert!(!["SECRETWORD", "HIDDENNAME", "CUSTOMDATA"].iter().any(|word| holds(&bytes, word)));

    // A key log on the command line opens the tunnel and is not written either.
    let log = kept("asa-anyconnect/keys.log");
    let outside = kept("asa-anyconnect/outside.pcapng");
    let output = annotate(&outside, &copy, &["--keylog", log.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let secret = fs::read_to_string(&log).unwrap();
    let secret = secret.lines().find(|line| line.starts_with("CLIENT_RANDOM")).unwrap().rsplit(' ').next().unwrap();
    assert!(!holds(&fs::read(&copy).unwrap(), secret));
}

fn piped(args: &[&OsStr], input: &[u8]) -> Output {
    let mut child =
        program().args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn standard_input_is_read_twice_and_standard_output_written() {
    let folder = Folder::new("annotate-stdin");
    let capture = kept("asa-anyconnect/client.pcapng");
    let bytes = fs::read(&capture).unwrap();
    let copy = folder.0.join("copy.pcapng");
    assert_eq!(code(&annotate(&capture, &copy, &[])), 0);
    for input in [bytes.clone(), gzip(&bytes)] {
        let output = piped(&["annotate", "-q", "client:-", "-o", "-"].map(OsStr::new), &input);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert!(output.stderr.is_empty());
        assert_frames(&fs::read(&copy).unwrap(), &output.stdout);
    }
    let named = program()
        .args(["annotate", "client:-", "-o"])
        .arg(&copy)
        .stdin(fs::File::open(&capture).unwrap())
        .output()
        .unwrap();
    assert_eq!(code(&named), 0, "{}", stderr(&named));
}

#[test]
fn nothing_is_replaced_by_half_a_file_nor_the_capture_by_its_copy() {
    let folder = Folder::new("annotate-safe");
    let bytes = fs::read(kept("asa-anyconnect/client.pcapng")).unwrap();
    let capture = folder.file("c.pcapng", &bytes);
    assert_eq!(code(&annotate(&capture, &capture, &[])), 2);
    #[cfg(unix)]
    {
        let redirected = program()
            .args(["annotate", "-", "-o"])
            .arg(&capture)
            .stdin(fs::File::open(&capture).unwrap())
            .output()
            .unwrap();
        assert_eq!(code(&redirected), 2, "{}", stderr(&redirected));
        let link = folder.0.join("link.pcapng");
        std::os::unix::fs::symlink(&capture, &link).unwrap();
        assert_eq!(code(&annotate(&capture, &link, &[])), 2);
        fs::remove_file(link).unwrap();
    }
    assert!(fs::read(&capture).unwrap() == bytes);
    let beside = ["--beside", capture.to_str().unwrap()];
    assert_eq!(code(&annotate(&kept("asa-anyconnect/outside.pcapng"), &capture, &beside)), 2);

    let to = folder.0.join("out.pcapng");
    let not = folder.file("words", b"this is not a capture, just words\n");
    assert_eq!(code(&annotate(&not, &to, &[])), 3);
    assert_eq!(code(&annotate(&folder.0.join("missing"), &to, &[])), 3);
    #[cfg(target_os = "linux")]
    {
        let output = annotate(&capture, Path::new("/dev/full"), &[]);
        assert_eq!(code(&output), 3);
        assert!(stderr(&output).contains("No space left"), "{}", stderr(&output));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let unread = program().arg("annotate").arg(&capture).args(["-o", "-"]).stdout(writer).output().unwrap();
        assert_eq!((code(&unread), stderr(&unread).as_str()), (0, ""), "whoever reads may go away");
    }
    let mut names: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["c.pcapng", "words"], "nothing half-written stays");
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_nothing_behind() {
    let folder = Folder::new("annotate-interrupt");
    let all = frames(&kept("asa-anyconnect/client.pcapng"));
    let some = pcap(&all, ETHERNET, true, false);
    let to = folder.0.join("out.pcapng");
    let mut child = program()
        .args(["annotate", "-", "-o"])
        .arg(&to)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let id = child.id().to_string();
    let feeder = std::thread::spawn(move || {
        let mut sent = input.write_all(&some);
        // The header once; then frames without end, until nobody reads them.
        for round in 0..100_000 {
            if sent.is_err() {
                return;
            }
            if round == 20 {
                let _ = Command::new("kill").args(["-INT", &id]).status();
            }
            sent = input.write_all(&some[24..]);
        }
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert_eq!(code(&output), 130, "{}", stderr(&output));
    assert!(stderr(&output).contains("nothing was written"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
}

#[test]
fn capinfos_sees_the_same_capture() {
    let folder = Folder::new("annotate-capinfos");
    let (capture, copy) = (kept("asa-anyconnect/all.pcapng"), folder.0.join("copy.pcapng"));
    assert_eq!(code(&annotate(&capture, &copy, &[])), 0);
    let told = |path: &Path| {
        let output = Command::new("capinfos")
            .args(["-T", "-M", "-c", "-d", "-a", "-e", "-S", "-D", "-o", "-E", "-r"])
            .arg(path)
            .output()
            .ok()?;
        let table = String::from_utf8(output.stdout).unwrap();
        Some(table.split_once('\t').unwrap().1.to_owned())
    };
    let (Some(before), Some(after)) = (told(&capture), told(&copy)) else {
        println!("skipped: capinfos is not on the path");
        return;
    };
    assert_eq!(before.replace(capture.to_str().unwrap(), ""), after.replace(copy.to_str().unwrap(), ""));
    let comment = Command::new("capinfos").args(["-k"]).arg(&copy).output().unwrap();
    let comment = stdout(&comment);
    assert!(comment.contains("Session 1, 198.51.100.10 to 203.0.113.2:443: HIGH"), "{comment}");
    assert!(comment.contains("frame.comment contains \"dtls-never-completes\""), "{comment}");
}

#[test]
fn another_capture_beside_it_tells_more() {
    let folder = Folder::new("annotate-beside");
    let (client, outside) = (kept("asa-anyconnect/client.pcapng"), kept("asa-anyconnect/outside.pcapng"));
    let beside = format!("outside:{}", outside.display());
    let copy = folder.0.join("copy.pcapng");
    let output = annotate(&client, &copy, &["--beside", &beside]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_frames(&fs::read(&client).unwrap(), &fs::read(&copy).unwrap());
    let page = run([OsStr::new("analyze"), "--format".as_ref(), "json".as_ref(), client.as_ref(), beside.as_ref()]);
    let report: Value = serde_json::from_slice(&page.stdout).unwrap();
    let mut expected = BTreeSet::new();
    for finding in report["findings"].as_array().unwrap().iter().filter(|f| f["detector"] == "dtls-never-completes") {
        for evidence in finding["evidence"].as_array().unwrap().iter().filter(|e| e["capture"] == 0) {
            expected.extend(evidence["frames"].as_array().unwrap().iter().map(|frame| frame.as_u64().unwrap()));
        }
    }
    if let Some(selected) = selected(&copy, "dtls-never-completes") {
        assert_eq!(selected, expected);
    }
}
