//! The same capture once more, with comments: pcapng blocks as they stand, classic pcap turned into pcapng.
//!
//! Promises: every packet byte for byte, with its time; of a pcapng every block and option, in its byte order; constant
//! memory; frames numbered as [`super::reader`] numbers them, up to the same damage. Refuses: to know what a comment says.
//!
//! Only two things change in a block that gets a comment: the comment stands behind its options, and its lengths count it. A
//! section's length is no longer told (draft-ietf-opsawg-pcapng §4.1), for it cannot be known beforehand.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;

use pcap_parser::{DSB_MAGIC, EPB_MAGIC, IDB_MAGIC, ISB_MAGIC, SHB_MAGIC, SPB_MAGIC};

use super::blocks::{self, Lane, Section, Sight};
use super::decompress::{self, Opened};
use super::fields::Order;
use super::framing::{self, Block, PCAP_HEADER, PcapFile, PcapFrame, SHORTEST_BLOCK};
use super::reader::Limits;
use super::window::Window;
use super::write::MAX_OPTION;
use super::{Frame, Timestamp};
use crate::error::Error;

/// The obsolete Packet Block: its numbers stand elsewhere, its data and options where an Enhanced Packet Block has them.
const PACKET_BLOCK: u32 = 2;
const OPT_END: u16 = 0;
const OPT_COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_TSRESOL: u16 = 9;
/// Where a section header's length and options begin, bytes from its start.
const SECTION_LENGTH: usize = 16;
const SECTION_OPTIONS: usize = 24;
/// Where a packet block's captured length and data begin, bytes from its start.
const CAPTURED: usize = 20;
const PACKET_DATA: usize = 28;

/// What is to become of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It is left out.
    Drop,
    /// It is copied, with these further comments; each one once, however often it is given or there already.
    Keep(Vec<String>),
}

/// What is copied besides packets, section headers and interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every block.
    All,
    /// Interface statistics, and nothing that may tell more than the packets: no secrets, names or unknown blocks.
    Extract,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Frames read.
    pub read: u64,
    /// Frames written.
    pub written: u64,
    /// Frames that got a comment.
    pub commented: u64,
    /// Frames that should have got one and have no place for it (Simple Packet Blocks).
    pub no_place: u64,
    /// Decryption Secrets Blocks met: copied or left out, as the [`Scope`] says.
    pub secrets: u64,
    /// Other blocks left out.
    pub left_out: u64,
    /// The file makes no sense behind the last frame; what is there is not copied.
    pub damaged: bool,
}

/// Why there is no copy.
#[derive(Debug)]
pub enum Failure {
    /// The capture could not be read (on).
    Read(Error),
    /// The copy could not be written.
    Write(io::Error),
    /// `choose` broke off.
    Stopped,
}

/// Copies a capture to `out`. `summary` becomes a comment of the first section header; `choose` sees every frame, with its
/// interface counted over all sections.
///
/// # Errors
///
/// See [`Failure`]; what was written by then is no whole file.
pub fn copy(
    path: &str,
    input: Box<dyn Read + Send>,
    limits: Limits,
    scope: Scope,
    summary: &str,
    choose: &mut dyn FnMut(&Frame<'_>) -> ControlFlow<(), Choice>,
    out: &mut dyn Write,
) -> Result<Copied, Failure> {
    let refused = |stop| refuse(path, stop);
    let opened = decompress::open(input).map_err(|error| refused(error.into()))?;
    let Opened { input, .. } = opened;
    let mut copier =
        Copier { window: Window::new(input), limits, scope, choose, out, number: 0, copied: Copied::default() };
    match copier.file(summary) {
        Err(Stop::Damage) if copier.copied.read == 0 && copier.window.consumed() == 0 => Err(refused(Stop::Damage)),
        Err(Stop::Damage) => {
            copier.copied.damaged = true;
            Ok(copier.copied)
        }
        Err(Stop::End) | Ok(()) => Ok(copier.copied),
        Err(stop) => Err(refused(stop)),
    }
}

/// Why there is no further step.
enum Stop {
    /// The file ends where it may.
    End,
    /// The file makes no sense from here on. The reader says why.
    Damage,
    Read(io::Error),
    Write(io::Error),
    Chosen,
}

impl From<framing::Stop> for Stop {
    fn from(stop: framing::Stop) -> Stop {
        match stop {
            framing::Stop::End => Stop::End,
            framing::Stop::Damage(_) => Stop::Damage,
            framing::Stop::Io(source) => Stop::Read(source),
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        framing::Stop::from(error).into()
    }
}

fn refuse(path: &str, stop: Stop) -> Failure {
    let path = path.to_owned();
    match stop {
        Stop::Read(source) => Failure::Read(Error::Io { path, operation: "read", source }),
        Stop::Write(source) => Failure::Write(source),
        Stop::Chosen => Failure::Stopped,
        Stop::End | Stop::Damage => {
            Failure::Read(Error::NotACapture { path, offset: 0, reason: "it ends inside its header".to_owned() })
        }
    }
}

struct Copier<'a> {
    window: Window,
    limits: Limits,
    scope: Scope,
    choose: &'a mut dyn FnMut(&Frame<'_>) -> ControlFlow<(), Choice>,
    out: &'a mut dyn Write,
    number: u64,
    copied: Copied,
}

impl Copier<'_> {
    fn file(&mut self, summary: &str) -> Result<(), Stop> {
        self.window.fill(PCAP_HEADER)?;
        match self.window.data() {
            data if PcapFile::begins(data) => self.pcap(PcapFile::read(data, self.limits)?, summary),
            // Read alike in both byte orders.
            data if data.starts_with(&SHB_MAGIC.to_le_bytes()) => self.pcapng(summary),
            _ => Err(Stop::Damage),
        }
    }

    // ---- classic pcap

    /// The byte order stays: some link types hold numbers in that of the machine that captured them.
    fn pcap(&mut self, file: PcapFile, summary: &str) -> Result<(), Stop> {
        let pen = Pen(file.order);
        let mut options = pen.comments(&[summary.to_owned()]);
        options.extend(pen.option(SHB_USERAPPL, b"acpcap"));
        let header = [pen.u32(0x1a2b_3c4d).to_vec(), pen.u16(1).to_vec(), pen.u16(0).to_vec(), vec![0xff; 8]].concat();
        self.write(&pen.block(SHB_MAGIC, &[&header, &pen.ended(options)]))?;
        let digits = if file.fraction == 1 { 9 } else { 6 };
        let resolution = pen.option(IF_TSRESOL, &[digits]);
        let header = [pen.u16(file.link.0), pen.u16(0)].concat();
        self.write(&pen.block(IDB_MAGIC, &[&header, &pen.u32(file.snap_len), &pen.ended(resolution)]))?;
        self.window.consume(PCAP_HEADER);
        loop {
            self.pcap_frame(file)?;
        }
    }

    fn pcap_frame(&mut self, file: PcapFile) -> Result<(), Stop> {
        let PcapFrame { at, original_len, data } = file.frame(&mut self.window)?;
        let (captured, whole) = (data.len() as u32, data.end);
        let data = self.window.data().get(data).unwrap_or_default();
        self.number += 1;
        self.copied.read += 1;
        let number = u32::try_from(self.number).unwrap_or(u32::MAX);
        let frame = Frame { number, at, interface: 0, link: file.link, original_len, data };
        if let Choice::Keep(comments) = chosen((self.choose)(&frame))? {
            let (pen, ticks) = (Pen(file.order), at.nanos() / file.fraction);
            let header = [0, (ticks >> 32) as u32, ticks as u32, captured, original_len].map(|n| pen.u32(n)).concat();
            let padding = [0; 3];
            let padding = padding.get(..data.len().next_multiple_of(4) - data.len()).unwrap_or_default();
            let options = pen.ended(pen.comments(&comments));
            self.copied.written += 1;
            self.copied.commented += u64::from(!options.is_empty());
            let block = pen.block(EPB_MAGIC, &[&header, data, padding, &options]);
            self.out.write_all(&block).map_err(Stop::Write)?;
        }
        self.window.consume(whole);
        Ok(())
    }

    // ---- pcapng

    fn pcapng(&mut self, summary: &str) -> Result<(), Stop> {
        let mut section = Section { order: Order::Little, first: 0 };
        let mut lanes = Vec::new();
        let mut last = Timestamp::default();
        let mut summary = Some(summary);
        loop {
            self.block(&mut section, &mut lanes, &mut last, &mut summary)?;
        }
    }

    fn block(
        &mut self,
        section: &mut Section,
        lanes: &mut Vec<Lane>,
        last: &mut Timestamp,
        summary: &mut Option<&str>,
    ) -> Result<(), Stop> {
        let Block { kind, order, claimed, whole } = Block::next(&mut self.window, section.order, self.limits)?;
        let block = self.window.data().get(..whole).unwrap_or_default();
        let repaired;
        let block = if whole == claimed {
            block
        } else {
            repaired = blocks::with_length(block, order, whole as u32);
            &repaired
        };
        let pen = Pen(order);
        let raw = self.window.data().get(..whole).unwrap_or_default();
        match blocks::sight(kind, block, order, *section, lanes).map_err(|_| Stop::Damage)? {
            Sight::Packet(packet) => {
                *last = packet.at.unwrap_or(*last);
                self.number += 1;
                self.copied.read += 1;
                let frame = Frame {
                    number: u32::try_from(self.number).unwrap_or(u32::MAX),
                    at: *last,
                    interface: (section.first + packet.interface) as u32,
                    link: packet.link,
                    original_len: packet.original_len,
                    data: packet.data,
                };
                if let Choice::Keep(comments) = chosen((self.choose)(&frame))? {
                    self.copied.written += 1;
                    let options = packet_options(kind, block, order);
                    let longer = options.and_then(|at| pen.with_comments(block, at, &comments, self.limits.max_block));
                    self.copied.commented += u64::from(longer.is_some() && !comments.is_empty());
                    self.copied.no_place += u64::from(longer.is_none() && !comments.is_empty());
                    let block = longer.as_deref().filter(|_| !comments.is_empty()).unwrap_or(raw);
                    self.out.write_all(block).map_err(Stop::Write)?;
                }
            }
            Sight::Section(next) => {
                *section = next;
                let comment = summary.take().map(str::to_owned);
                let open = pen.with_open_length(block);
                let longer = pen
                    .with_comments(&open, SECTION_OPTIONS, comment.as_slice(), self.limits.max_block)
                    .unwrap_or(open);
                self.out.write_all(&longer).map_err(Stop::Write)?;
            }
            Sight::Interface(_, lane) => {
                if lanes.len() >= self.limits.max_interfaces {
                    return Err(Stop::Damage);
                }
                lanes.push(lane);
                self.out.write_all(raw).map_err(Stop::Write)?;
            }
            other => {
                self.number += u64::from(matches!(other, Sight::NumberedUnknown));
                let is_secret = kind == DSB_MAGIC;
                self.copied.secrets += u64::from(is_secret);
                if self.scope == Scope::All || kind == ISB_MAGIC {
                    self.out.write_all(raw).map_err(Stop::Write)?;
                } else {
                    self.copied.left_out += u64::from(!is_secret);
                }
            }
        }
        self.window.consume(whole);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.out.write_all(bytes).map_err(Stop::Write)
    }
}

fn chosen(choice: ControlFlow<(), Choice>) -> Result<Choice, Stop> {
    match choice {
        ControlFlow::Continue(choice) => Ok(choice),
        ControlFlow::Break(()) => Err(Stop::Chosen),
    }
}

/// Where the options of a packet block begin; `None` where the block has none.
fn packet_options(kind: u32, block: &[u8], order: Order) -> Option<usize> {
    if kind == SPB_MAGIC || (kind != EPB_MAGIC && kind != PACKET_BLOCK) {
        return None;
    }
    let captured = order.u32(block, CAPTURED)? as usize;
    let at = PACKET_DATA + captured.next_multiple_of(4);
    (at <= block.len().checked_sub(4)?).then_some(at)
}

/// Writes in one byte order.
#[derive(Clone, Copy)]
struct Pen(Order);

impl Pen {
    fn u16(self, number: u16) -> [u8; 2] {
        match self.0 {
            Order::Little => number.to_le_bytes(),
            Order::Big => number.to_be_bytes(),
        }
    }

    fn u32(self, number: u32) -> [u8; 4] {
        self.0.bytes(number)
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let mut option = [self.u16(code), self.u16(value.len() as u16)].concat();
        option.extend_from_slice(value);
        option.resize(option.len().next_multiple_of(4), 0);
        option
    }

    /// A comment each; text that is too long is cut at a character.
    fn comments(self, comments: &[String]) -> Vec<u8> {
        let mut options = Vec::new();
        for comment in comments {
            options.extend(self.option(OPT_COMMENT, bounded(comment).as_bytes()));
        }
        options
    }

    /// Options and their end; nothing when there are none.
    fn ended(self, mut options: Vec<u8>) -> Vec<u8> {
        if !options.is_empty() {
            options.extend([0; 4]);
        }
        options
    }

    fn block(self, kind: u32, body: &[&[u8]]) -> Vec<u8> {
        let length: usize = body.iter().map(|part| part.len()).sum();
        let length = self.u32((length + SHORTEST_BLOCK) as u32);
        let mut block = [self.u32(kind), length].concat();
        body.iter().for_each(|part| block.extend_from_slice(part));
        block.extend(length);
        block
    }

    /// A section header that does not tell its section's length.
    fn with_open_length(self, block: &[u8]) -> Vec<u8> {
        let mut block = block.to_vec();
        if let Some(length) = block.get_mut(SECTION_LENGTH..SECTION_OPTIONS) {
            length.fill(0xff);
        }
        block
    }

    /// The block with these comments behind the options that begin at `at`, each one once; `None` when it would pass `most`
    /// bytes.
    fn with_comments(self, block: &[u8], at: usize, comments: &[String], most: usize) -> Option<Vec<u8>> {
        let end = block.len().checked_sub(4)?;
        let options = Options::new(self.0, block.get(at..end)?);
        let mut fresh: Vec<String> = Vec::new();
        for comment in comments {
            let there = options.comments.contains(&bounded(comment).as_bytes()) || fresh.contains(comment);
            if !there {
                fresh.push(comment.clone());
            }
        }
        let mut added = self.comments(&fresh);
        if options.unended && !added.is_empty() {
            added = self.ended(added);
        }
        if block.len() + added.len() > most {
            return None;
        }
        let (before, behind) = block.get(8..end)?.split_at_checked(at - 8 + options.length)?;
        Some(self.block(self.0.u32(block, 0)?, &[before, &added, behind]))
    }
}

/// At most as much of a comment as an option holds.
fn bounded(comment: &str) -> &str {
    let mut end = comment.len().min(MAX_OPTION);
    while !comment.is_char_boundary(end) {
        end -= 1;
    }
    comment.get(..end).unwrap_or_default()
}

/// The options a block has already.
struct Options<'a> {
    /// Bytes of them, up to their end mark or to what makes no sense.
    length: usize,
    /// They are not followed by an end mark, nor by anything else.
    unended: bool,
    comments: Vec<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn new(order: Order, bytes: &'a [u8]) -> Options<'a> {
        let mut options = Options { length: 0, unended: false, comments: Vec::new() };
        while let (Some(code), Some(length)) = (order.u16(bytes, options.length), order.u16(bytes, options.length + 2))
        {
            let value = bytes.get(options.length + 4..).and_then(|rest| rest.get(..usize::from(length)));
            let (Some(value), true) = (value, code != OPT_END) else { return options };
            if code == OPT_COMMENT {
                options.comments.push(value);
            }
            options.length = (options.length + 4 + value.len().next_multiple_of(4)).min(bytes.len());
        }
        options.unended = options.length == bytes.len();
        options
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::super::Item;
    use super::super::reader::Reader;
    use super::*;

    const LITTLE: Pen = Pen(Order::Little);
    const BIG: Pen = Pen(Order::Big);

    /// What a frame is: all but the bytes of its block.
    type Kept = (u32, i64, u32, u16, u32, Vec<u8>);

    fn kept(frame: &Frame<'_>) -> Kept {
        (frame.number, frame.at.nanos(), frame.interface, frame.link.0, frame.original_len, frame.data.to_vec())
    }

    fn read(bytes: &[u8]) -> Option<(Vec<Kept>, bool)> {
        let mut reader = Reader::new("x", Box::new(Cursor::new(bytes.to_vec())), Limits::default()).ok()?;
        let mut frames = Vec::new();
        let sink = |item: Item<'_>| {
            if let Item::Frame(frame) = item {
                frames.push(kept(&frame));
            }
            ControlFlow::Continue(())
        };
        reader.for_each(sink).unwrap();
        Some((frames, reader.damage().is_some()))
    }

    fn copied(bytes: &[u8], scope: Scope, choose: impl Fn(u32) -> Choice) -> Option<(Vec<u8>, Copied, Vec<Kept>)> {
        let (mut out, mut seen) = (Vec::new(), Vec::new());
        let input = Box::new(Cursor::new(bytes.to_vec()));
        let mut each = |frame: &Frame<'_>| {
            seen.push(kept(frame));
            ControlFlow::Continue(choose(frame.number))
        };
        match copy("x", input, Limits::default(), scope, "what was found", &mut each, &mut out) {
            Ok(copied) => Some((out, copied, seen)),
            Err(Failure::Read(_)) => None,
            Err(other) => panic!("{other:?}"),
        }
    }

    fn all(number: u32) -> Choice {
        Choice::Keep(vec![format!("comment {number}")])
    }

    fn plain(_: u32) -> Choice {
        Choice::Keep(Vec::new())
    }

    fn section(pen: Pen, length: u64, options: &[u8]) -> Vec<u8> {
        let length = match pen.0 {
            Order::Little => length.to_le_bytes(),
            Order::Big => length.to_be_bytes(),
        };
        let head = [&pen.u32(0x1a2b_3c4d)[..], &pen.u16(1), &pen.u16(0), &length].concat();
        pen.block(SHB_MAGIC, &[&head, options])
    }

    fn interface(pen: Pen, resolution: u8) -> Vec<u8> {
        let head = [&pen.u16(1)[..], &pen.u16(0), &pen.u32(0)].concat();
        pen.block(IDB_MAGIC, &[&head, &pen.ended(pen.option(IF_TSRESOL, &[resolution]))])
    }

    fn packet(pen: Pen, kind: u32, data: &[u8], options: &[u8]) -> Vec<u8> {
        let length = data.len() as u32;
        let ids = if kind == EPB_MAGIC { pen.u32(0).to_vec() } else { [pen.u16(0), pen.u16(9)].concat() };
        let head = [&ids[..], &pen.u32(1), &pen.u32(77), &pen.u32(length), &pen.u32(length + 5)].concat();
        let padding = vec![0; data.len().next_multiple_of(4) - data.len()];
        pen.block(kind, &[&head, data, &padding, options])
    }

    fn secrets(pen: Pen) -> Vec<u8> {
        pen.block(DSB_MAGIC, &[&pen.u32(0x544c_534b), &pen.u32(4), b"KEYS"])
    }

    /// One of everything, in two sections, each in a byte order of its own.
    fn pcapng() -> Vec<u8> {
        let mut file = Vec::new();
        for pen in [LITTLE, BIG] {
            let options = [pen.option(OPT_COMMENT, b"theirs"), pen.option(4, &[1; 8]), vec![0; 4]].concat();
            file.extend(section(pen, 4096, &pen.ended(pen.option(SHB_USERAPPL, b"dumpcap"))));
            file.extend(interface(pen, 9));
            file.extend(interface(pen, 0x80 | 20));
            file.extend(secrets(pen));
            file.extend(packet(pen, EPB_MAGIC, b"first", &options));
            file.extend(packet(pen, EPB_MAGIC, b"no options", b""));
            file.extend(packet(pen, PACKET_BLOCK, b"old one", &options));
            file.extend(pen.block(0xbad, &[&pen.u32(1), b"cust"]));
            file.extend(pen.block(SPB_MAGIC, &[&pen.u32(4), b"SPB1"]));
            file.extend(pen.block(4, &[&[0; 4]]));
            file.extend(pen.block(0x1234, &[b"whatever"]));
            file.extend(packet(pen, EPB_MAGIC, b"unended", &pen.option(OPT_COMMENT, b"unended")));
            file.extend(pen.block(ISB_MAGIC, &[&pen.u32(0), &pen.u32(0), &pen.u32(0)]));
        }
        file
    }

    fn pcap(pen: Pen, magic: u32) -> Vec<u8> {
        let extra = if magic == 0xa1b2_cd34 { 8 } else { 0 };
        let head = [magic, 0x0004_0002, 0, 0, 96, 1].map(|n| pen.u32(n)).concat();
        let mut file = head;
        if pen.0 == Order::Big {
            file.splice(4..8, [pen.u16(2), pen.u16(4)].concat());
        }
        for (seconds, fraction, data) in [(1, 999_999, &b"one"[..]), (u32::MAX, u32::MAX, &[7; 200]), (0, 0, b"")] {
            let length = data.len() as u32;
            file.extend([seconds, fraction, length, length + 9].map(|n| pen.u32(n)).concat());
            file.extend(vec![0xee; extra]);
            file.extend(data);
        }
        file
    }

    fn pcaps() -> Vec<Vec<u8>> {
        let little = [0xa1b2_c3d4, 0xa1b2_3c4d, 0xa1b2_cd34].map(|magic| pcap(LITTLE, magic));
        let big = [0xa1b2_c3d4, 0xa1b2_3c4d].map(|magic| pcap(BIG, magic));
        little.into_iter().chain(big).collect()
    }

    #[test]
    fn without_comments_every_block_stays_as_it_is() {
        let file = pcapng();
        let (copy, said, _) = copied(&file, Scope::All, plain).unwrap();
        let header = |pen: Pen| section(pen, 4096, &pen.ended(pen.option(SHB_USERAPPL, b"dumpcap")));
        let options = [LITTLE.option(SHB_USERAPPL, b"dumpcap"), LITTLE.option(OPT_COMMENT, b"what was found")].concat();
        let first = section(LITTLE, u64::MAX, &LITTLE.ended(options));
        let mut expected = [&first, &file[header(LITTLE).len()..]].concat();
        // The second section's length is no longer told either.
        let second = header(BIG);
        let second = expected.windows(second.len()).position(|window| window == second).unwrap();
        expected[second + SECTION_LENGTH..][..8].fill(0xff);
        assert!(copy == expected);
        assert_eq!((said.read, said.written, said.commented, said.secrets, said.left_out), (10, 10, 0, 2, 0));
        assert!(!said.damaged);
    }

    #[test]
    fn a_comment_comes_behind_those_that_are_there_and_only_once() {
        let pen = BIG;
        let theirs = [pen.option(OPT_COMMENT, b"theirs"), pen.option(4, &[1; 8]), vec![0; 4]].concat();
        let file = [section(pen, u64::MAX, b""), interface(pen, 9), packet(pen, EPB_MAGIC, b"first", &theirs)].concat();
        let twice = |_| Choice::Keep(vec!["ours".to_owned(), "ours".to_owned(), "theirs".to_owned()]);
        let (copy, said, _) = copied(&file, Scope::All, twice).unwrap();
        let both = [&theirs[..theirs.len() - 4], &pen.option(OPT_COMMENT, b"ours"), &[0; 4]].concat();
        assert!(copy.ends_with(&packet(pen, EPB_MAGIC, b"first", &both)));
        assert_eq!(said.commented, 1);
        assert!(copied(&copy, Scope::All, twice).unwrap().0 == copy, "the second time nothing is added");
    }

    #[test]
    fn the_frames_are_the_same_whatever_the_format() {
        for file in pcaps().into_iter().chain([pcapng()]) {
            let (copy, said, seen) = copied(&file, Scope::All, all).unwrap();
            let (before, damaged) = read(&file).unwrap();
            assert_eq!(seen.len() as u64, said.written);
            assert_eq!((&read(&copy).unwrap().0, damaged), (&before, false));
            assert_eq!(said.commented + said.no_place, said.written);
        }
    }

    #[test]
    fn a_classic_pcap_keeps_its_byte_order_and_resolution() {
        for (file, digits) in pcaps().iter().zip([6, 9, 6, 6, 9]) {
            let (copy, ..) = copied(file, Scope::All, plain).unwrap();
            let pen = if file[0] == 0xa1 { BIG } else { LITTLE };
            assert!(copy[8..12] == pen.u32(0x1a2b_3c4d));
            let resolution = pen.option(IF_TSRESOL, &[digits]);
            assert!(copy.windows(resolution.len()).any(|window| window == resolution));
        }
    }

    #[test]
    fn an_extract_has_no_secrets_and_keeps_its_interfaces() {
        let some = |number: u32| if number == 3 { all(number) } else { Choice::Drop };
        let (copy, said, _) = copied(&pcapng(), Scope::Extract, some).unwrap();
        assert!(!copy.windows(4).any(|window| [&b"KEYS"[..], b"cust", b"ever"].contains(&window)));
        assert_eq!((said.read, said.written, said.secrets, said.left_out), (10, 1, 2, 6));
        let frames = read(&copy).unwrap().0;
        assert_eq!(frames.len(), 1);
        assert_eq!((frames[0].2, &frames[0].5[..]), (0, &b"old one"[..]));
    }

    #[test]
    fn a_comment_that_is_too_long_is_cut_at_a_character() {
        let long = |_| Choice::Keep(vec!["ä".repeat(40_000)]);
        let (copy, said, _) = copied(&pcap(LITTLE, 0xa1b2_c3d4), Scope::All, long).unwrap();
        assert_eq!(said.commented, 3);
        assert_eq!(read(&copy).unwrap().0.len(), 3);
    }

    #[test]
    fn a_stop_and_a_full_disk_are_told_apart() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let input = || Box::new(Cursor::new(pcapng()));
        let mut keep = |_: &Frame<'_>| ControlFlow::Continue(Choice::Drop);
        let full = copy("x", input(), Limits::default(), Scope::All, "", &mut keep, &mut Full);
        assert!(matches!(full, Err(Failure::Write(error)) if error.kind() == io::ErrorKind::StorageFull));
        let mut stop = |_: &Frame<'_>| ControlFlow::Break(());
        let stopped = copy("x", input(), Limits::default(), Scope::All, "", &mut stop, &mut Vec::new());
        assert!(matches!(stopped, Err(Failure::Stopped)));
        assert!(copied(b"just words, no capture", Scope::All, plain).is_none());
    }

    proptest! {
        /// Cut anywhere, changed anywhere: the same frames as the reader sees, up to the same damage, and a whole file.
        #[test]
        fn damage_ends_the_copy_where_it_ends_the_reading(
            which in 0..6_usize,
            cut in any::<prop::sample::Index>(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let mut file = pcaps().into_iter().chain([pcapng()]).nth(which).unwrap();
            for (at, value) in changes {
                let at = at.index(file.len());
                file[at] = value;
            }
            file.truncate(cut.index(file.len() * 3 / 2).min(file.len()));
            match (read(&file), copied(&file, Scope::All, all)) {
                (Some((frames, damaged)), Some((copy, said, seen))) => {
                    let bare = |frames: &[Kept]| frames.iter().map(|k| (k.0, k.1, k.3, k.4, k.5.clone())).collect::<Vec<_>>();
                    prop_assert_eq!(bare(&frames), bare(&seen));
                    prop_assert_eq!(said.damaged, damaged);
                    let (again, damaged) = read(&copy).unwrap();
                    prop_assert_eq!(bare(&frames), bare(&again));
                    prop_assert!(!damaged);
                }
                (None, None) => {}
                (reader, copy) => prop_assert!(false, "{:?} {:?}", reader, copy.map(|c| c.1)),
            }
        }
    }
}
