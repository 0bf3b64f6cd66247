//! With keys: every suite opens, what comes out is what went in, and key files that are wrong, cut or hostile get clear words.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot set itself up has failed")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use acpcap::analysis::{self, Options, Source};
use acpcap::capture::Item;
use acpcap::capture::reader::{Limits, Reader};
use acpcap::decrypt::Keyring;

#[path = "support/command.rs"]
mod command;

use command::{Folder, code, run, stderr, stdout};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn open(path: &Path) -> Source {
    let input = Box::new(File::open(path).unwrap());
    Source { path: path.to_string_lossy().into_owned(), vantage: None, input, continues: false }
}

/// All frames of a capture, times in nanoseconds.
fn frames(path: &Path) -> Vec<(i64, Vec<u8>)> {
    let mut all = Vec::new();
    let mut reader = Reader::new("capture", Box::new(File::open(path).unwrap()), Limits::default()).unwrap();
    let read = reader.for_each(|item| {
        if let Item::Frame(frame) = item {
            all.push((frame.at.nanos(), frame.data.to_vec()));
        }
        ControlFlow::Continue(())
    });
    read.unwrap();
    all
}

/// Packets inside the tunnels of a capture, with the number of the frame that carried each.
fn inside(path: &Path, keyring: &mut Keyring) -> Vec<(u32, Vec<u8>)> {
    let mut packets = Vec::new();
    let mut keep = |packet: analysis::InnerPacket<'_>| packets.push((packet.frame.number, packet.data.to_vec()));
    let sources = std::iter::once(Ok(open(path)));
    let outcome =
        analysis::decrypt(sources, &Options::default(), keyring, &mut keep, &mut |_| ControlFlow::Continue(()));
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    packets
}

fn with_key_log(path: &Path) -> Keyring {
    let mut keyring = Keyring::new();
    keyring.add_key_log(&fs::read(path).unwrap());
    keyring
}

fn count(packets: impl IntoIterator<Item = Vec<u8>>) -> BTreeMap<Vec<u8>, u32> {
    let mut counts = BTreeMap::new();
    for packet in packets {
        *counts.entry(packet).or_default() += 1;
    }
    counts
}

/// The UDP packets that every sealed capture carries: 10.10.10.1 to 10.48.66.200, port 4000 + i to 5000.
fn sent(i: u8) -> Vec<u8> {
    let len = [40u16, 200, 60][usize::from(i)];
    let mut packet = vec![0x45, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([0, i, 0x40, 0, 64, 17, 0, 0]);
    packet.extend([10, 10, 10, 1, 10, 48, 66, 200]);
    let sum = packet.chunks(2).fold(0u32, |sum, two| sum + u32::from(u16::from_be_bytes([two[0], two[1]])));
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend((4000 + u16::from(i)).to_be_bytes());
    packet.extend(5000u16.to_be_bytes());
    packet.extend((len - 20).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend((0..len - 28).map(|k| (u16::from(i) * 7 + k) as u8));
    packet
}

#[test]
fn every_suite_opens() {
    let mut seen = 0;
    let key = fs::read(root("tests/sealed/rsa-key.pem")).unwrap();
    for entry in fs::read_dir(root("tests/sealed")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.extension() != Some(OsStr::new("pcapng")) || name == "planted-secrets" {
            continue;
        }
        let mut keyring = Keyring::new();
        if name.starts_with("rsa-key") {
            keyring.add_rsa_key(&key).unwrap();
        }
        let found = count(inside(&path, &mut keyring).into_iter().map(|(_, packet)| packet));
        // Over DTLS the gateway echoes what it gets, and the last one is still on its way when it goes.
        let expected = match name.as_str() {
            name if name.starts_with("dtls") => count((0..2).flat_map(|i| [sent(i), sent(i)])),
            "rsa-key-resumed" => count((0..3).flat_map(|i| [sent(i), sent(i)])),
            _ => count((0..3).map(sent)),
        };
        assert_eq!(found, expected, "{name}");
        seen += 1;
    }
    assert!(seen >= 50, "only {seen} sealed captures");
}

#[test]
fn an_rsa_key_that_is_another_gateways_opens_nothing_and_says_so() {
    let other = "-----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8Qu\n-----END RSA PRIVATE KEY-----\n";
    assert!(Keyring::new().add_rsa_key(other.as_bytes()).is_err(), "half a key is none");
    let found = inside(&root("tests/sealed/rsa-key-ems.pcapng"), &mut Keyring::new());
    assert!(found.is_empty(), "without a key nothing is read");
}

#[test]
fn what_comes_out_of_the_tunnel_is_what_the_adapter_saw() {
    for case in ["healthy-dtls12", "healthy-legacy-dtls"] {
        let folder = root("captures").join(case);
        let found = inside(&folder.join("client.pcapng"), &mut with_key_log(&folder.join("keys.log")));
        let adapter = frames(&folder.join("cscotun0.pcapng"));
        assert!(found.len() > 100, "{case}: {} packets", found.len());
        let found = count(found.into_iter().map(|(_, packet)| packet));
        assert_eq!(found, count(adapter.into_iter().map(|(_, packet)| packet)), "{case}");
    }
}

#[test]
fn decrypt_writes_a_capture_that_names_the_outer_frames() {
    let folder = Folder::new("decrypt");
    let (capture, keys) = (root("captures/healthy-dtls12/client.pcapng"), root("captures/healthy-dtls12/keys.log"));
    let to = folder.0.join("inner.pcapng");
    let done = decrypt(&capture, &["--keylog".as_ref(), keys.as_ref(), "-o".as_ref(), to.as_ref()]);
    assert_eq!(code(&done), 0, "{}", stderr(&done));
    assert!(stderr(&done).contains("113 packets of 1 tunnel written"), "{}", stderr(&done));

    let outer = frames(&capture);
    let expected = inside(&capture, &mut with_key_log(&keys));
    let written = frames(&to);
    assert_eq!(written.len(), expected.len());
    for ((at, data), (frame, packet)) in written.iter().zip(&expected) {
        assert_eq!(data, packet);
        assert_eq!(*at, outer[*frame as usize - 1].0, "the time of frame {frame}");
    }
    let comment = format!("frame {}", expected[0].0);
    let bytes = fs::read(&to).unwrap();
    assert!(bytes.windows(comment.len()).any(|w| w == comment.as_bytes()), "a comment says `{comment}`");

    if let Some(lines) = tshark(&to, &["-T", "fields", "-e", "frame.comment", "-e", "frame.len"]) {
        assert_eq!(lines.len(), expected.len(), "tshark reads every packet");
        for (line, (frame, packet)) in lines.iter().zip(&expected) {
            assert_eq!(*line, format!("frame {frame}\t{}", packet.len()));
        }
    }
}

fn decrypt(capture: &Path, args: &[&OsStr]) -> std::process::Output {
    run([&["decrypt".as_ref(), capture.as_os_str()], args].concat())
}

/// Lines that tshark prints; `None` when there is none on this machine.
fn tshark(capture: &Path, args: &[&str]) -> Option<Vec<String>> {
    let Ok(output) = Command::new("tshark").arg("-r").arg(capture).args(args).output() else {
        println!("tshark is not installed: what it would read is not compared");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// What `keys` writes makes Wireshark open DTLS where the key log alone does not.
#[test]
fn keys_make_wireshark_open_dtls() {
    let folder = Folder::new("keys");
    for case in ["healthy-legacy-dtls", "healthy-dtls12-resume", "healthy-dtls12", "tls13"] {
        let here = root("captures").join(case);
        let (capture, log) = (here.join("client.pcapng"), here.join("keys.log"));
        let all = folder.0.join("all.log");
        let args: [&OsStr; 6] =
            ["keys".as_ref(), capture.as_ref(), "--keylog".as_ref(), log.as_ref(), "-o".as_ref(), all.as_ref()];
        let done = run(args);
        assert_eq!(code(&done), 0, "{case}: {}", stderr(&done));
        let lines = fs::read_to_string(&all).unwrap();
        assert!(lines.lines().any(|line| line.starts_with("CLIENT_RANDOM ")), "{case}: no line for DTLS");

        let report = run([
            &["analyze", "--format", "json", "--quiet", "--keylog"].map(OsStr::new)[..],
            &[log.as_ref(), capture.as_ref()],
        ]
        .concat());
        let report: serde_json::Value = serde_json::from_str(&stdout(&report)).unwrap();
        let tunnels = report["sessions"].as_array().unwrap().iter().flat_map(|s| s["tunnels"].as_array().unwrap());
        let opened: u64 =
            tunnels.filter(|t| t["kind"] == "dtls").filter_map(|t| t["packets"]["records_opened"].as_u64()).sum();
        assert!(opened > 50, "{case}: {opened} DTLS records opened");

        // Read with those keys, Wireshark shows the payload behind each record it could open.
        let with = format!("tls.keylog_file:{}", all.display());
        let filter = "dtls.record.content_type == 23 && data";
        let port = "udp.port==4433,dtls";
        let Some(seen) = tshark(&capture, &["-o", &with, "-d", port, "-Y", filter]) else { continue };
        assert!(seen.len() as u64 + 3 >= opened.saturating_sub(6), "{case}: tshark opens {} of {opened}", seen.len());
    }
}

#[test]
fn a_capture_of_tcp_alone_does_not_say_that_the_tunnel_runs_over_tls() {
    /// Offset of an IPv4 packet's protocol in an Ethernet frame, and TCP's number.
    const PROTOCOL: (usize, u8) = (23, 6);
    let capture = root("captures/healthy-dtls12");
    let all = frames(&capture.join("client.pcapng"));
    let verdict = |frames: &[(i64, Vec<u8>)]| {
        let input = Box::new(std::io::Cursor::new(pcap(frames)));
        let source = Source { path: "client.pcap".to_owned(), vantage: None, input, continues: false };
        let (mut keys, options) = (with_key_log(&capture.join("keys.log")), Options::default());
        let read = analysis::analyze_with_keys([Ok(source)].into_iter(), &options, &mut keys, &mut |_| {
            ControlFlow::Continue(())
        });
        read.report.sessions.iter().map(|session| session.verdict.clone()).collect::<Vec<_>>()
    };
    assert_eq!(verdict(&all), ["DTLS is up and carries the data. Nothing wrong was seen."]);
    let tcp: Vec<_> = all.into_iter().filter(|(_, frame)| frame.get(PROTOCOL.0) == Some(&PROTOCOL.1)).collect();
    let unseen = "Only its TLS was captured, and that was idle; whether DTLS carries the data cannot be told. Nothing wrong was seen.";
    assert_eq!(verdict(&tcp), [unseen]);
}

/// A classic capture of Ethernet frames, with times in nanoseconds.
fn pcap(frames: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let header: [u32; 6] = [0xa1b2_3c4d, 0x0004_0002, 0, 0, 0x0004_0000, 1];
    let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    for (nanos, frame) in frames {
        let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        let len = frame.len() as u32;
        bytes.extend([seconds as u32, rest as u32, len, len].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(frame);
    }
    bytes
}

#[test]
fn secrets_behind_the_frames_they_open_are_found_in_a_second_reading() {
    let folder = Folder::new("late");
    let bytes = fs::read(root("tests/sealed/tls12-aes-128-gcm.pcapng")).unwrap();
    let mut blocks = Vec::new();
    let mut rest = bytes.as_slice();
    while rest.len() >= 12 {
        let len = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
        blocks.push(&rest[..len]);
        rest = &rest[len..];
    }
    let (secrets, others): (Vec<_>, Vec<_>) = blocks.into_iter().partition(|b| b[..4] == 10u32.to_le_bytes());
    assert_eq!(secrets.len(), 1);
    let late = folder.file("late.pcapng", &[others.concat(), secrets.concat()].concat());
    let to = folder.0.join("inner.pcapng");
    let done = decrypt(&late, &["-o".as_ref(), to.as_ref()]);
    assert_eq!(code(&done), 0, "{}", stderr(&done));
    assert_eq!(frames(&to).len(), 3);
    let report = stdout(&run([OsStr::new("analyze"), late.as_ref()]));
    assert!(report.contains("1 TLS connection and 0 DTLS handshakes opened"), "{report}");
}

/// One bad key file after the other: what the user reads, and that nothing else comes of it.
#[test]
fn key_files_that_are_wrong_get_clear_words() {
    let folder = Folder::new("bad-keys");
    let capture = root("captures/healthy-dtls12/client.pcapng");
    let log = fs::read_to_string(root("captures/healthy-dtls12/keys.log")).unwrap();
    let swapped: String = log.chars().map(|c| if c == 'a' { 'b' } else { c }).collect();
    let (secret_cut, _) = log.trim_end().split_at(log.trim_end().len() - 7);
    let of_other_lines: String = log
        .lines()
        .map(|line| line.split_at(line.rfind(' ').unwrap() + 1))
        .map(|(head, tail)| format!("{head}{}\n", "0".repeat(tail.len())))
        .collect();
    let long = format!("CLIENT_RANDOM {} {}\n", "0".repeat(5_000_000), "1".repeat(5_000_000));
    let zeros = vec![0; 1 << 20];
    let cases: [(&str, &[u8], &str); 8] = [
        ("empty", b"", "holds no key"),
        ("of-another-capture", swapped.as_bytes(), "none of the 2 keys belongs to a connection"),
        ("cut", secret_cut.as_bytes(), "line 2 of"),
        ("wrong-secrets", of_other_lines.as_bytes(), "do not fit"),
        ("hostile", long.as_bytes(), "line 1 of"),
        ("zeros", &zeros, "holds no key"),
        ("html", b"<!DOCTYPE html>\n<html>404</html>\n", "2 lines of"),
        ("pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "3 lines of"),
    ];
    for (name, bytes, words) in cases {
        let path = folder.file(name, bytes);
        let report = run([OsStr::new("analyze"), capture.as_ref(), "--keylog".as_ref(), path.as_ref()]);
        assert!([0, 3].contains(&code(&report)), "{name}: {}", stderr(&report));
        let said = format!("{}{}", stdout(&report), stderr(&report)).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(words), "{name}: `{words}` not in\n{said}");
        assert!(said.contains("SESSION 1"), "{name}: the report is there all the same");
        let to = folder.0.join(format!("{name}.pcapng"));
        let done = decrypt(&capture, &["--keylog".as_ref(), path.as_ref(), "-o".as_ref(), to.as_ref()]);
        if name != "cut" {
            assert_eq!(code(&done), 3, "{name}");
            assert!(stderr(&done).contains("no packet could be decrypted"), "{name}: {}", stderr(&done));
            assert!(!to.exists(), "{name}: an empty capture is left behind");
        }
    }
    for (name, bytes, words) in [
        ("no.pem", &b"hello"[..], "no usable key: there is no RSA PRIVATE KEY"),
        ("cert.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no usable key"),
        ("cut.pem", b"-----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJBAKj3\n-----END RSA PRIVATE KEY-----\n", "cut.pem"),
    ] {
        let path = folder.file(name, bytes);
        let report = run([OsStr::new("analyze"), capture.as_ref(), "--rsa-key".as_ref(), path.as_ref()]);
        assert_eq!(code(&report), 3, "{name}");
        assert!(stderr(&report).contains(words), "{name}: `{words}` not in {}", stderr(&report));
    }
    let missing = run([OsStr::new("analyze"), capture.as_ref(), "--keylog".as_ref(), folder.0.join("none").as_ref()]);
    assert_eq!(code(&missing), 3);
    assert!(stderr(&missing).contains("none"), "{}", stderr(&missing));
}
