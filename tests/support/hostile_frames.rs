//! Frames in every dress: one small capture rewritten into other file formats, link layers and states of damage.

use acpcap::capture::Item;
use acpcap::capture::reader::{Limits, Reader};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

pub const ETHERNET: u16 = 1;
pub const NULL: u16 = 0;
pub const RAW: u16 = 101;
pub const LOOP: u16 = 108;
pub const SLL: u16 = 113;
pub const SLL2: u16 = 276;

/// One frame as it would be on the wire.
#[derive(Clone)]
pub struct Wire {
    /// Nanoseconds since 1970.
    pub at: i64,
    pub data: Vec<u8>,
    /// Length before any cut by a snap length.
    pub original: usize,
}

/// A capture kept with the project.
pub fn kept(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures").join(path)
}

/// All frames of an Ethernet capture.
pub fn frames(path: &Path) -> Vec<Wire> {
    frames_of(&fs::read(path).unwrap())
}

/// The same of one in memory.
pub fn frames_of(bytes: &[u8]) -> Vec<Wire> {
    let input = Box::new(std::io::Cursor::new(bytes.to_vec()));
    let mut reader = Reader::new("kept", input, Limits::default()).unwrap();
    let mut frames = Vec::new();
    reader
        .for_each(|item| {
            if let Item::Frame(frame) = item {
                assert_eq!(frame.link.0, ETHERNET);
                let original = frame.original_len as usize;
                frames.push(Wire { at: frame.at.nanos(), data: frame.data.to_vec(), original });
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    frames
}

fn u16_in(big: bool, n: u16) -> [u8; 2] {
    if big { n.to_be_bytes() } else { n.to_le_bytes() }
}

fn u32_in(big: bool, n: u32) -> [u8; 4] {
    if big { n.to_be_bytes() } else { n.to_le_bytes() }
}

/// A classic pcap.
pub fn pcap(frames: &[Wire], link: u16, nanoseconds: bool, big: bool) -> Vec<u8> {
    let u32 = |n: u32| u32_in(big, n);
    let magic = if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    let mut out = Vec::new();
    out.extend(u32(magic));
    out.extend(u16_in(big, 2));
    out.extend(u16_in(big, 4));
    out.extend(u32(0));
    out.extend(u32(0));
    out.extend(u32(262_144));
    out.extend(u32(u32::from(link)));
    for frame in frames {
        let fraction = (frame.at % 1_000_000_000) as u32;
        out.extend(u32((frame.at / 1_000_000_000) as u32));
        out.extend(u32(if nanoseconds { fraction } else { fraction / 1000 }));
        out.extend(u32(frame.data.len() as u32));
        out.extend(u32(frame.original as u32));
        out.extend(&frame.data);
    }
    out
}

/// Which block a pcapng keeps its packets in.
#[derive(Clone, Copy, PartialEq)]
pub enum Block {
    Enhanced,
    Obsolete,
    Simple,
}

/// How a pcapng is written.
#[derive(Clone, Copy)]
pub struct Ng {
    pub big: bool,
    pub block: Block,
    /// `if_tsresol`: a power of ten, or with the top bit a power of two.
    pub resolution: Option<u8>,
}

impl Default for Ng {
    fn default() -> Self {
        Ng { big: false, block: Block::Enhanced, resolution: Some(9) }
    }
}

/// A pcapng block of any type.
pub fn block(big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = u32_in(big, padded as u32 + 12);
    let mut out = Vec::new();
    out.extend(u32_in(big, kind));
    out.extend(length);
    out.extend(body);
    out.resize(8 + padded, 0);
    out.extend(length);
    out
}

/// One section of a pcapng with one interface.
pub fn pcapng(frames: &[Wire], link: u16, ng: Ng) -> Vec<u8> {
    let big = ng.big;
    let mut out = Vec::new();
    let mut body = Vec::new();
    body.extend(u32_in(big, 0x1a2b_3c4d));
    body.extend(u16_in(big, 1));
    body.extend([0; 2]);
    body.extend([0xff; 8]);
    out.extend(block(big, 0x0a0d_0d0a, &body));
    let mut body = Vec::new();
    body.extend(u16_in(big, link));
    body.extend([0; 2]);
    body.extend(u32_in(big, 0));
    if let Some(resolution) = ng.resolution {
        body.extend(u16_in(big, 9));
        body.extend(u16_in(big, 1));
        body.extend([resolution, 0, 0, 0, 0, 0, 0, 0]);
    }
    out.extend(block(big, 1, &body));
    for frame in frames {
        out.extend(packet(frame, ng));
    }
    out
}

fn packet(frame: &Wire, ng: Ng) -> Vec<u8> {
    let big = ng.big;
    let units = match ng.resolution.unwrap_or(6) {
        two if two & 0x80 != 0 => ((i128::from(frame.at) << (two & 0x7f)) / 1_000_000_000) as u64,
        ten => (frame.at / 10_i64.pow(9 - u32::from(ten))) as u64,
    };
    let mut body = Vec::new();
    match ng.block {
        Block::Enhanced => body.extend(u32_in(big, 0)),
        // Interface and drop count, 16 bits each.
        Block::Obsolete => body.extend([0; 4]),
        Block::Simple => {
            body.extend(u32_in(big, frame.original as u32));
            body.extend(&frame.data);
            return block(big, 3, &body);
        }
    }
    body.extend(u32_in(big, (units >> 32) as u32));
    body.extend(u32_in(big, units as u32));
    body.extend(u32_in(big, frame.data.len() as u32));
    body.extend(u32_in(big, frame.original as u32));
    body.extend(&frame.data);
    block(big, if ng.block == Block::Enhanced { 6 } else { 2 }, &body)
}

/// Puts `header` in place of the Ethernet header's last two bytes, keeping the addresses.
fn shim(frames: &[Wire], kind: u16, header: impl Fn(u16, usize) -> Vec<u8>) -> Vec<Wire> {
    let wrap = |frame: &Wire| {
        let kind_inside = u16::from_be_bytes([frame.data[12], frame.data[13]]);
        let header = header(kind_inside, frame.original - 14);
        let mut data = frame.data[..12].to_vec();
        data.extend(kind.to_be_bytes());
        data.extend(&header);
        data.extend(&frame.data[14..]);
        Wire { at: frame.at, original: frame.original + header.len(), data }
    };
    frames.iter().map(wrap).collect()
}

/// Frames with this in place of the Ethernet header; only IP.
fn bare(frames: &[Wire], header: impl Fn(&[u8]) -> Vec<u8>) -> Vec<Wire> {
    let wrap = |frame: &Wire| {
        let mut data = header(&frame.data[..14]);
        let original = frame.original - 14 + data.len();
        data.extend(&frame.data[14..]);
        Wire { at: frame.at, original, data }
    };
    ip_only(frames).iter().map(wrap).collect()
}

/// Frames whose EtherType is IPv4 or IPv6.
pub fn ip_only(frames: &[Wire]) -> Vec<Wire> {
    frames.iter().filter(|f| matches!(f.data[12..14], [0x08, 0x00] | [0x86, 0xdd])).cloned().collect()
}

fn family(header: &[u8]) -> u32 {
    if header[12..14] == [0x86, 0xdd] { 30 } else { 2 }
}

pub fn vlan(frames: &[Wire]) -> Vec<Wire> {
    shim(frames, 0x8100, |kind, _| [[0, 42], kind.to_be_bytes()].concat())
}

pub fn qinq(frames: &[Wire]) -> Vec<Wire> {
    shim(frames, 0x88a8, |kind, _| [[0, 7], [0x81, 0x00], [0, 42], kind.to_be_bytes()].concat())
}

pub fn pppoe(frames: &[Wire]) -> Vec<Wire> {
    shim(&ip_only(frames), 0x8864, |kind, length| {
        let ppp: u16 = if kind == 0x86dd { 0x57 } else { 0x21 };
        [[0x11, 0x00], [0x12, 0x34], (length as u16 + 2).to_be_bytes(), ppp.to_be_bytes()].concat()
    })
}

pub fn mpls(frames: &[Wire]) -> Vec<Wire> {
    shim(&ip_only(frames), 0x8847, |_, _| vec![0, 1, 0, 64, 0, 2, 1, 64])
}

/// Behind a security group tag, as TrustSec has it.
pub fn security_group(frames: &[Wire]) -> Vec<Wire> {
    shim(frames, 0x8909, |kind, _| [[1, 1], [0, 1], [0, 5], kind.to_be_bytes()].concat())
}

/// Sealed, as MACsec does: nobody can look into them.
pub fn macsec(frames: &[Wire]) -> Vec<Wire> {
    shim(frames, 0x88e5, |_, _| vec![0x2c, 0, 0, 0, 0, 1])
}

pub fn raw(frames: &[Wire]) -> Vec<Wire> {
    bare(frames, |_| Vec::new())
}

pub fn null(frames: &[Wire]) -> Vec<Wire> {
    bare(frames, |header| family(header).to_le_bytes().to_vec())
}

pub fn openbsd_loop(frames: &[Wire]) -> Vec<Wire> {
    bare(frames, |header| family(header).to_be_bytes().to_vec())
}

pub fn sll(frames: &[Wire]) -> Vec<Wire> {
    bare(frames, |header| [&[0, 0, 0, 1, 0, 6], &header[6..12], &[0, 0], &header[12..14]].concat())
}

pub fn sll2(frames: &[Wire]) -> Vec<Wire> {
    bare(frames, |header| [&header[12..14], &[0, 0], &[0, 0, 0, 2], &[0, 1], &[0, 6], &header[6..12], &[0, 0]].concat())
}

/// Every IPv4 packet inside IPv4 and GRE (RFC 2784).
pub fn gre(frames: &[Wire]) -> Vec<Wire> {
    let wrap = |frame: &Wire| {
        let mut data = frame.data[..14].to_vec();
        let total = (frame.original - 14 + 24) as u16;
        data.extend([0x45, 0]);
        data.extend(total.to_be_bytes());
        data.extend([0, 1, 0x40, 0, 64, 47, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        data.extend([0, 0, 0x08, 0x00]);
        data.extend(&frame.data[14..]);
        Wire { at: frame.at, original: frame.original + 24, data }
    };
    frames.iter().filter(|f| f.data[12..14] == [0x08, 0x00]).map(wrap).collect()
}

/// Every frame cut to that many bytes.
pub fn snap(frames: &[Wire], length: usize) -> Vec<Wire> {
    let cut = |frame: &Wire| Wire { data: frame.data[..frame.data.len().min(length)].to_vec(), ..frame.clone() };
    frames.iter().map(cut).collect()
}

pub fn without_every(frames: &[Wire], nth: usize) -> Vec<Wire> {
    frames.iter().enumerate().filter(|(i, _)| (i + 1) % nth != 0).map(|(_, f)| f.clone()).collect()
}

pub fn duplicated(frames: &[Wire]) -> Vec<Wire> {
    frames.iter().flat_map(|f| [f.clone(), f.clone()]).collect()
}

/// Every pair of neighbours closer than 10 ms the other way round, with its times.
pub fn swapped(frames: &[Wire]) -> Vec<Wire> {
    let mut frames = frames.to_vec();
    for pair in frames.chunks_mut(2) {
        if let [a, b] = pair
            && b.at - a.at < 10_000_000
        {
            pair.swap(0, 1);
        }
    }
    frames
}
