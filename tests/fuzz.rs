//! The fuzz targets without a fuzzer: every seed, every input that ever failed, and seeds damaged by a fixed generator.
//!
//! `ACPCAP_FUZZ_CORPUS=tests/fuzz/corpus cargo test --test fuzz seeds` keeps the seeds there for cargo-fuzz; captures of the folder
//! that `ACPCAP_SCENARIOS` names (see `tests/scenarios.rs`) become seeds too. `ACPCAP_FUZZ_ROUNDS=1000000` damages more of them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot set itself up has failed"
)]

#[path = "support/targets.rs"]
mod targets;

use acpcap::capture::Item;
use acpcap::capture::reader::{Limits, Reader};
use acpcap::packet::{Decoder, Transport};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Cursor, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use targets::{TARGETS, join};

/// Bytes of the longest capture taken as a seed: what is longer only slows the fuzzer down.
const LONGEST_SEED: usize = 96 << 10;
/// Damaged inputs for each target; a run takes seconds.
const ROUNDS: usize = 4000;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn is_capture(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "pcapng" || e == "pcap")
}

fn captures(folders: &[PathBuf]) -> Vec<Vec<u8>> {
    let paths = folders.iter().flat_map(|folder| files(folder)).filter(|path| is_capture(path));
    paths.map(|path| fs::read(path).unwrap()).filter(|bytes| bytes.len() <= LONGEST_SEED).collect()
}

/// Seeds by target: what the project keeps, in the form the target takes.
fn seeds() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let mut folders = vec![root("captures"), root("tests/sealed"), root("tests/other-traffic")];
    folders.extend(std::env::var_os("ACPCAP_SCENARIOS").map(PathBuf::from));
    let kept = captures(&folders);
    let mut seeds: BTreeMap<&str, Vec<Vec<u8>>> = TARGETS.iter().map(|(name, _)| (*name, Vec::new())).collect();
    for (i, file) in kept.iter().enumerate() {
        let mut add = |target, seed: Vec<u8>| seeds.get_mut(target).unwrap().push(seed);
        add("analyze", file.clone());
        add("sealed", file.clone());
        add("reader", [&[i as u8], &file[..file.len().min(16 << 10)]].concat());
        if i % 8 == 0 {
            packed(file).into_iter().for_each(|packed| add("reader", [&[i as u8], &packed[..]].concat()));
        }
        let Parts { frames, order, tls, dtls } = Parts::of(file);
        add("frames", frames.clone());
        add("decode", frames);
        [("order", order), ("tls", tls), ("dtls", dtls)].into_iter().for_each(|(target, seed)| add(target, seed));
    }
    seeds.get_mut("talk").unwrap().extend(talks());
    let secrets = files(&root("captures")).into_iter().chain(files(&root("tests/sealed")));
    let secrets = secrets.filter(|path| path.extension().is_some_and(|e| e == "log" || e == "pem"));
    seeds.get_mut("keylog").unwrap().extend(secrets.map(|path| fs::read(path).unwrap()));
    seeds
}

fn packed(plain: &[u8]) -> [Vec<u8>; 3] {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(plain).unwrap();
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(plain).unwrap();
    [gzip.finish().unwrap(), lz4.finish().unwrap(), zstd::encode_all(plain, 3).unwrap()]
}

/// One capture in the forms that targets below the file take.
struct Parts {
    frames: Vec<u8>,
    order: Vec<u8>,
    tls: Vec<u8>,
    dtls: Vec<u8>,
}

impl Parts {
    fn of(file: &[u8]) -> Parts {
        let (mut link, mut frames, mut order, mut tls, mut dtls) = (1, vec![], vec![], vec![], vec![]);
        let mut decoder = Decoder::new(Default::default());
        let mut reader = Reader::new("seed", Box::new(Cursor::new(file.to_vec())), Limits::default()).unwrap();
        let read = reader.for_each(|item| {
            let Item::Frame(frame) = item else { return ControlFlow::Continue(()) };
            link = frame.link.0;
            // Ten milliseconds apart.
            frames.push([&[0, 0, 10, 1], frame.data].concat());
            let _ = decoder.decode(&frame, &mut |packet| match packet.transport {
                Transport::Tcp(segment) => {
                    let from_server = u8::from(segment.src_port < segment.dst_port);
                    let flags = segment.flags & 3;
                    order.push([&segment.seq.to_le_bytes()[..], &[flags, 0], segment.payload].concat());
                    tls.push([&[from_server], segment.payload].concat());
                }
                Transport::Udp(datagram) => {
                    let from_server = u8::from(datagram.src_port < datagram.dst_port);
                    dtls.push([&[from_server], datagram.payload].concat());
                }
                _ => {}
            });
            ControlFlow::Continue(())
        });
        assert!(read.is_ok());
        let together = |pieces: &[Vec<u8>]| join(pieces.iter().map(Vec::as_slice));
        let frames = [&link.to_le_bytes()[..], &together(&frames)].concat();
        Parts { frames, order: together(&order), tls: together(&tls), dtls: together(&dtls) }
    }
}

/// Conversations over a tunnel connection, compressed packets among them.
fn talks() -> Vec<Vec<u8>> {
    let cstp = |kind: u8, payload: &[u8]| {
        [b"\x01STF\x01", &(payload.len() as u16).to_be_bytes()[..], &[kind, 0], payload].concat()
    };
    let mut deflate = flate2::Compress::new(flate2::Compression::best(), false);
    let mut deflated = Vec::with_capacity(1 << 16);
    deflate.compress_vec(&[7; 1400], &mut deflated, flate2::FlushCompress::Sync).unwrap();
    deflated.extend([0; 4]);
    let login = [
        &b"\x00POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 3\r\n\r\nxml"[..],
        b"\x01HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n<session-token>abc</session-token>",
    ];
    let connect = [
        &b"\x00CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\nCookie: webvpn=x\r\nX-CSTP-MTU: 1399\r\nX-DTLS-Master-Secret: 00\r\n\r\n"[..],
        b"\x01HTTP/1.1 200 CONNECTED\r\nX-CSTP-MTU: 1347\r\nX-DTLS-Session-ID: 00\r\nX-CSTP-Content-Encoding: lzs\r\n\r\n",
    ];
    let packets = [
        cstp(8, &deflated),
        cstp(8, &[0x22, 0x40, 0x60, 0x7f, 0xff, 0xff, 0x80, 0]),
        cstp(8, &lz4_flex::block::compress(&[9; 1400])),
        cstp(5, b"\xb0bye"),
        cstp(3, b""),
    ];
    let packets = || packets.iter().map(Vec::as_slice);
    vec![join(login.into_iter().chain(connect).chain(packets())), join(connect), join(packets())]
}

#[test]
fn every_seed_is_survived() {
    let folder = std::env::var_os("ACPCAP_FUZZ_CORPUS").map(PathBuf::from);
    for (name, run) in TARGETS {
        let seeds = &seeds()[name];
        assert!(seeds.iter().any(|seed| seed.len() > 100), "{name} has no seed");
        for (i, seed) in seeds.iter().enumerate() {
            run(seed);
            if let Some(folder) = &folder {
                fs::create_dir_all(folder.join(name)).unwrap();
                fs::write(folder.join(name).join(format!("seed-{i:03}")), seed).unwrap();
            }
        }
    }
}

#[test]
fn what_once_failed_is_survived() {
    for path in files(&root("tests/fuzz/regressions")).into_iter().filter(|path| path.extension().is_none()) {
        let folder = path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let (_, run) = TARGETS.iter().find(|(name, _)| *name == folder).unwrap();
        run(&fs::read(&path).unwrap());
    }
}

#[test]
fn every_target_is_one_for_cargo_fuzz() {
    let told: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stem = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    let there: BTreeSet<String> = files(&root("tests/fuzz/targets")).into_iter().map(stem).collect();
    let manifest: toml::Table = fs::read_to_string(root("tests/fuzz/Cargo.toml")).unwrap().parse().unwrap();
    let bins = manifest["bin"].as_array().unwrap().iter();
    let bins: BTreeSet<String> = bins.map(|bin| bin["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, there);
    assert_eq!(told, bins);
}

#[test]
fn damaged_seeds_are_survived() {
    let rounds = std::env::var("ACPCAP_FUZZ_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    for (name, run) in TARGETS {
        let mut seeds = seeds().remove(name).unwrap();
        seeds.retain(|seed| !seed.is_empty() && seed.len() <= 24 << 10);
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for _ in 0..rounds {
            let seed = &seeds[dice.below(seeds.len())];
            let input = damage(seed, &mut dice);
            if std::panic::catch_unwind(|| run(&input)).is_err() {
                let kept = std::env::temp_dir().join(format!("acpcap-fuzz-{name}"));
                fs::write(&kept, input).unwrap();
                panic!("{name}: mend it, and keep {} as a regression", kept.display());
            }
        }
    }
}

/// Numbers that are the same in every run: xorshift64* (Vigna 2016).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() >> 16) as usize % most.max(1)
    }
}

/// Bits flipped, numbers replaced by extremes, stretches doubled, moved, left out; sometimes the end is missing.
fn damage(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    const EXTREMES: [&[u8]; 8] = [
        b"\0",
        b"\xff",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\xff\xff\xff\x7f",
        b"\x80\0\0\0",
        b"\xff\xff",
    ];
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.below(6) {
        let at = dice.below(bytes.len());
        let length = (1 << dice.below(11)).min(bytes.len() - at);
        match dice.below(7) {
            0 | 1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
            2 => {
                let extreme = EXTREMES[dice.below(EXTREMES.len())];
                let length = extreme.len().min(bytes.len() - at);
                bytes[at..at + length].copy_from_slice(&extreme[..length]);
            }
            3 => {
                let stretch = bytes[at..at + length].to_vec();
                let to = dice.below(bytes.len());
                bytes.splice(to..to, stretch);
            }
            4 => drop(bytes.drain(at..at + length)),
            5 => bytes[at..at + length].reverse(),
            _ => bytes.truncate(at.max(8)),
        }
    }
    bytes
}
