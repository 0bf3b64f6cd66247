//! Captures as a stream of frames: pcap and pcapng, plain or compressed, from any source.
//!
//! Promises: constant memory, every frame before the damage, interfaces numbered over all sections of a file.
//! Refuses: to resynchronise by guessing, to seek, to look inside a frame.

use std::fmt;
use std::io::Read;
use std::ops::ControlFlow;

use super::blocks::{self, Lane, Packet, Section, Sight};
use super::decompress::{self, Opened};
use super::fields::Order;
use super::framing::{Block, PCAP_HEADER, PcapFile, Stop};
use super::window::Window;
use super::{Frame, Interface, Item, ReadAhead, Timestamp};
use crate::error::Error;

/// How much one capture may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest block or frame, bytes, its header included: more is damage. Default 64 MiB.
    pub max_block: usize,
    /// Most interfaces over all sections: more is damage. Default 16384, some 25 MB at worst.
    pub max_interfaces: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_block: 64 << 20, max_interfaces: 16_384 }
    }
}

/// Where and why a capture stops making sense; everything before was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Start of the damaged block or frame: bytes from the start of the decompressed file.
    pub offset: u64,
    /// `frame.number` of the last frame before it; 0 when there was none.
    pub frame: u64,
    /// What is wrong, one clause.
    pub reason: String,
}

/// Reads pcap and pcapng, each plain or inside gzip, zstd or lz4, told by magic numbers.
pub struct Reader {
    path: String,
    window: Window,
    compression: Option<&'static str>,
    layout: Layout,
    limits: Limits,
    interfaces: Vec<Interface>,
    /// Every interface description of a pcapng, over all sections: all the hot path needs.
    lanes: Vec<Lane>,
    /// By the same index as `lanes`: the interface in `interfaces`, and its number in its section.
    places: Vec<(usize, usize)>,
    count: Count,
    skipped: u64,
    damage: Option<Damage>,
    finished: bool,
}

impl Reader {
    /// Reads the file header. `path` is only for messages.
    ///
    /// # Errors
    /// [`Error::NotACapture`] when this is no capture or ends within its header, [`Error::Io`] when reading fails.
    pub fn new(path: &str, input: Box<dyn Read + Send>, limits: Limits) -> Result<Reader, Error> {
        Reader::ahead(path, input, limits, None)
    }

    /// The same; what has to be decompressed is read through `ahead`.
    ///
    /// # Errors
    /// As [`Reader::new`].
    pub fn ahead(
        path: &str,
        input: Box<dyn Read + Send>,
        limits: Limits,
        ahead: Option<ReadAhead>,
    ) -> Result<Reader, Error> {
        let opened = decompress::open(input);
        let Opened { input, compression } = opened.map_err(|error| refuse(path, 0, Stop::from(error)))?;
        let input = match ahead.filter(|_| compression.is_some()) {
            Some(ahead) => ahead(input),
            None => input,
        };
        let mut reader = Reader {
            path: path.to_owned(),
            window: Window::new(input),
            compression,
            layout: Layout::PcapNg(Section { order: Order::Little, first: 0 }),
            limits,
            interfaces: Vec::new(),
            places: Vec::new(),
            lanes: Vec::new(),
            count: Count::default(),
            skipped: 0,
            damage: None,
            finished: false,
        };
        let opening = reader.open();
        opening.map_err(|stop| refuse(path, reader.window.consumed(), stop))?;
        Ok(reader)
    }

    /// Lends every item to `sink` until it breaks, the file ends, or it is damaged (see [`Reader::damage`]).
    /// Goes on with the next item when called again after a break.
    ///
    /// # Errors
    /// [`Error::Io`] when reading fails midway: what was lent before stays valid.
    pub fn for_each(&mut self, mut sink: impl FnMut(Item<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        while !self.finished {
            let step = match self.layout {
                Layout::Pcap(file) => self.pcap_frame(file, &mut sink),
                Layout::PcapNg(section) => self.pcapng_block(section, &mut sink),
            };
            match step {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(()),
                Err(stop) => self.stop(stop)?,
            }
        }
        Ok(())
    }

    /// The interfaces seen so far; a classic pcap has one from the start. A later section that describes the interface
    /// of the same number alike means the same interface.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// `pcap` or `pcapng`, behind the compression when there is one: `zstd+pcap`.
    pub fn format(&self) -> String {
        let layout = match self.layout {
            Layout::Pcap(_) => "pcap",
            Layout::PcapNg(_) => "pcapng",
        };
        match self.compression {
            Some(compression) => format!("{compression}+{layout}"),
            None => layout.to_owned(),
        }
    }

    /// Bytes of the decompressed file consumed so far.
    pub fn bytes(&self) -> u64 {
        self.window.consumed()
    }

    /// Frames lent so far.
    pub fn frames(&self) -> u64 {
        self.count.frames
    }

    /// Where the file stopped making sense, when it did.
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// pcapng blocks of unknown type skipped so far; custom and journal blocks count, name resolution does not.
    pub fn skipped_blocks(&self) -> u64 {
        self.skipped
    }

    /// Whether there is nothing more to come: the file ended, is damaged, or could not be read on.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    fn open(&mut self) -> Result<(), Stop> {
        if !self.window.fill(1)? {
            return Err(Stop::Damage("it is empty".to_owned()));
        }
        self.window.fill(PCAP_HEADER)?;
        let data = self.window.data();
        match data.first_chunk() {
            Some([0x0a, 0x0d, 0x0d, 0x0a]) => {
                let section = Section { order: Order::Little, first: 0 };
                // The first block is a section header, so nothing is lent.
                return self.pcapng_block(section, &mut |_| ControlFlow::Continue(())).map(drop);
            }
            _ if !PcapFile::begins(data) => return Err(Stop::Damage(look_alike(data))),
            _ => {}
        }
        let file = PcapFile::read(data, self.limits)?;
        self.layout = Layout::Pcap(file);
        self.interfaces.push(Interface {
            name: None,
            description: None,
            filter: None,
            link: file.link,
            snap_len: file.snap_len,
            dropped: None,
        });
        self.window.consume(PCAP_HEADER);
        Ok(())
    }

    fn stop(&mut self, stop: Stop) -> Result<(), Error> {
        self.finished = true;
        match stop {
            Stop::End => {}
            Stop::Damage(reason) => {
                self.damage = Some(Damage { offset: self.window.consumed(), frame: self.count.number, reason });
            }
            Stop::Io(source) => {
                return Err(Error::Io { path: self.path.clone(), operation: "read", source });
            }
        }
        Ok(())
    }

    #[inline]
    fn pcap_frame(&mut self, file: PcapFile, sink: &mut impl FnMut(Item<'_>) -> ControlFlow<()>) -> Step {
        let frame = file.frame(&mut self.window)?;
        let data = self.window.data().get(frame.data.clone()).unwrap_or_default();
        let packet = Packet {
            interface: 0,
            at: Some(frame.at),
            link: file.link,
            original_len: frame.original_len,
            data,
            lost: None,
        };
        let flow = sink(self.count.frame(packet, 0));
        self.window.consume(frame.data.end);
        Ok(flow)
    }

    #[inline]
    fn pcapng_block(&mut self, section: Section, sink: &mut impl FnMut(Item<'_>) -> ControlFlow<()>) -> Step {
        let plain = blocks::plain_packet(self.window.data(), section, &self.lanes, self.limits.max_block);
        let Some((packet, whole)) = plain else { return self.any_block(section, sink) };
        let interface = place(&self.places, section.first + packet.interface);
        let flow = sink(self.count.frame(packet, interface));
        self.window.consume(whole);
        Ok(flow)
    }

    fn any_block(&mut self, section: Section, sink: &mut impl FnMut(Item<'_>) -> ControlFlow<()>) -> Step {
        let Block { kind, order, claimed, whole } = Block::next(&mut self.window, section.order, self.limits)?;
        let block = self.window.data().get(..whole).unwrap_or_default();
        let repaired;
        let block = if whole == claimed {
            block
        } else {
            repaired = blocks::with_length(block, order, whole as u32);
            &repaired
        };
        let mut flow = ControlFlow::Continue(());
        match blocks::sight(kind, block, order, section, &self.lanes).map_err(Stop::Damage)? {
            Sight::Packet(packet) => {
                let interface = place(&self.places, section.first + packet.interface);
                if let Some(lost) = packet.lost {
                    lose(self.interfaces.get_mut(interface), |dropped| dropped.saturating_add(lost));
                }
                flow = sink(self.count.frame(packet, interface));
            }
            Sight::Section(section) => self.layout = Layout::PcapNg(section),
            Sight::Interface(interface, lane) => {
                if self.lanes.len() >= self.limits.max_interfaces {
                    return Err(Stop::Damage(format!("more than {} interfaces", self.limits.max_interfaces)));
                }
                let (first, local) = (section.first, self.lanes.len() - section.first);
                let like = |(at, number): &(usize, usize)| {
                    *number == local && self.interfaces.get(*at).is_some_and(|known| is_same(known, &interface))
                };
                let known = self.places.get(..first).unwrap_or_default().iter().find(|p| like(p)).map(|(at, _)| *at);
                self.places.push((known.unwrap_or(self.interfaces.len()), local));
                self.lanes.push(lane);
                if known.is_none() {
                    self.interfaces.push(*interface);
                }
            }
            Sight::Secrets(kind, data) => flow = sink(Item::Secrets(kind, data)),
            // Statistics count from the start of the capture, so they take in what single packets said.
            Sight::Dropped(interface, total) => {
                let interface = place(&self.places, section.first.saturating_add(interface));
                lose(self.interfaces.get_mut(interface), |dropped| dropped.max(total));
            }
            Sight::NumberedUnknown => {
                // Wireshark gives these a frame number, so we leave one free.
                self.count.number += 1;
                self.skipped += 1;
            }
            Sight::Unknown => self.skipped += 1,
            Sight::Nothing => {}
        }
        self.window.consume(whole);
        Ok(flow)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("path", &self.path)
            .field("format", &self.format())
            .field("bytes", &self.bytes())
            .field("frames", &self.frames())
            .finish_non_exhaustive()
    }
}

/// What one step of the loop comes to.
type Step = Result<ControlFlow<()>, Stop>;

/// The two families of files.
#[derive(Clone, Copy)]
enum Layout {
    Pcap(PcapFile),
    PcapNg(Section),
}

fn lose(interface: Option<&mut Interface>, count: impl FnOnce(u64) -> u64) {
    if let Some(interface) = interface {
        interface.dropped = Some(count(interface.dropped.unwrap_or(0)));
    }
}

/// How far the frames have come.
#[derive(Default)]
struct Count {
    last: Timestamp,
    number: u64,
    frames: u64,
}

impl Count {
    /// The next frame, of that interface of all.
    #[inline]
    fn frame<'a>(&mut self, packet: Packet<'a>, interface: usize) -> Item<'a> {
        // A packet without a time came no earlier than the one before it.
        self.last = packet.at.unwrap_or(self.last);
        self.number += 1;
        self.frames += 1;
        Item::Frame(Frame {
            // Wireshark's numbers are 32 bits wide too; beyond, they stay at the last.
            number: u32::try_from(self.number).unwrap_or(u32::MAX),
            at: self.last,
            interface: interface as u32,
            link: packet.link,
            original_len: packet.original_len,
            data: packet.data,
        })
    }
}

fn refuse(path: &str, offset: u64, stop: Stop) -> Error {
    let path = path.to_owned();
    match stop {
        Stop::Io(source) => Error::Io { path, operation: "read", source },
        Stop::Damage(reason) => Error::NotACapture { path, offset, reason },
        Stop::End => Error::NotACapture { path, offset, reason: "it ends at once".to_owned() },
    }
}

/// What the first bytes of a file that is no capture look like, so that the user knows what to do.
fn look_alike(data: &[u8]) -> String {
    let known = match data {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("xz data: unpack it first"),
        [b'B', b'Z', b'h', ..] => Some("bzip2 data: unpack it first"),
        [b'P', b'K', 3, 4, ..] => Some("a zip archive: unpack it first"),
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x04, 0x22, 0x4d, 0x18, ..] => {
            Some("compressed twice: unpack it once first")
        }
        [b's', b'n', b'o', b'o', b'p', 0, ..] => Some("a snoop capture: convert it with editcap"),
        _ => None,
    };
    if let Some(known) = known {
        return format!("it looks like {known}");
    }
    let start = data.get(..8).unwrap_or(data);
    if start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        return "it looks like text".to_owned();
    }
    let hex: Vec<String> = start.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("its first bytes, {}, are of no known format", hex.join(" "))
}

/// Where an interface of that number, counted over all sections, stands in `interfaces`.
fn place(places: &[(usize, usize)], interface: usize) -> usize {
    places.get(interface).map_or(usize::MAX, |(at, _)| *at)
}

/// Do two descriptions mean the same interface?
fn is_same(a: &Interface, b: &Interface) -> bool {
    (&a.name, &a.description, &a.filter, a.link, a.snap_len) == (&b.name, &b.description, &b.filter, b.link, b.snap_len)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::io::{self, Cursor, Write};

    use pcap_parser::SHB_MAGIC;
    use proptest::prelude::*;

    use super::*;

    /// An item without its loan.
    #[derive(Clone, Debug, PartialEq)]
    enum Kept {
        Frame { number: u32, at: i64, interface: u32, link: u16, original_len: u32, data: Vec<u8> },
        Secrets(u32, Vec<u8>),
    }

    fn keep(item: Item<'_>) -> Kept {
        match item {
            Item::Frame(frame) => Kept::Frame {
                number: frame.number,
                at: frame.at.nanos(),
                interface: frame.interface,
                link: frame.link.0,
                original_len: frame.original_len,
                data: frame.data.to_vec(),
            },
            Item::Secrets(kind, data) => Kept::Secrets(kind, data.to_vec()),
        }
    }

    fn open(input: impl Read + Send + 'static) -> Result<Reader, Error> {
        Reader::new("test", Box::new(input), Limits::default())
    }

    fn open_bytes(bytes: &[u8]) -> Result<Reader, Error> {
        open(Cursor::new(bytes.to_vec()))
    }

    fn drain(reader: &mut Reader) -> Vec<Kept> {
        let mut items = Vec::new();
        reader
            .for_each(|item| {
                items.push(keep(item));
                ControlFlow::Continue(())
            })
            .unwrap();
        items
    }

    fn times(items: &[Kept]) -> Vec<i64> {
        items
            .iter()
            .filter_map(|item| match item {
                Kept::Frame { at, .. } => Some(*at),
                Kept::Secrets(..) => None,
            })
            .collect()
    }

    fn reason(reader: &Reader) -> &str {
        reader.damage().map_or("", |damage| &damage.reason)
    }

    fn refusal(bytes: &[u8]) -> String {
        open_bytes(bytes).unwrap_err().to_string()
    }

    /// Writes numbers in one byte order.
    #[derive(Clone, Copy)]
    struct Pen(Order);

    impl Pen {
        fn u16(self, number: u16) -> Vec<u8> {
            match self.0 {
                Order::Little => number.to_le_bytes().to_vec(),
                Order::Big => number.to_be_bytes().to_vec(),
            }
        }

        fn u32(self, number: u32) -> Vec<u8> {
            self.0.bytes(number).to_vec()
        }

        fn u64(self, number: u64) -> Vec<u8> {
            match self.0 {
                Order::Little => number.to_le_bytes().to_vec(),
                Order::Big => number.to_be_bytes().to_vec(),
            }
        }

        fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
            let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
            [self.u16(code), self.u16(value.len() as u16), value.to_vec(), padding].concat()
        }

        fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
            let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
            let length = self.u32((body.len() + padding.len() + 12) as u32);
            [self.u32(kind), length.clone(), body.to_vec(), padding, length].concat()
        }

        fn section(self) -> Vec<u8> {
            let body = [self.u32(0x1a2b_3c4d), self.u16(1), self.u16(0), self.u64(u64::MAX)];
            self.block(SHB_MAGIC, &body.concat())
        }

        fn interface(self, link: u16, snap_len: u32, options: &[u8]) -> Vec<u8> {
            let body = [self.u16(link), self.u16(0), self.u32(snap_len), options.to_vec()];
            self.block(1, &body.concat())
        }

        fn enhanced(self, interface: u32, ticks: u64, data: &[u8], options: &[u8]) -> Vec<u8> {
            let padding = vec![0; data.len().next_multiple_of(4) - data.len()];
            let body = [
                self.u32(interface),
                self.u32((ticks >> 32) as u32),
                self.u32(ticks as u32),
                self.u32(data.len() as u32),
                self.u32(data.len() as u32 + 100),
                data.to_vec(),
                padding,
                options.to_vec(),
            ];
            self.block(6, &body.concat())
        }

        fn simple(self, original: u32, data: &[u8]) -> Vec<u8> {
            self.block(3, &[self.u32(original), data.to_vec()].concat())
        }

        fn obsolete(self, interface: u16, drops: u16, ticks: u64, data: &[u8]) -> Vec<u8> {
            let body = [
                self.u16(interface),
                self.u16(drops),
                self.u32((ticks >> 32) as u32),
                self.u32(ticks as u32),
                self.u32(data.len() as u32),
                self.u32(data.len() as u32),
                data.to_vec(),
            ];
            self.block(2, &body.concat())
        }

        fn statistics(self, interface: u32, options: &[u8]) -> Vec<u8> {
            let body = [self.u32(interface), self.u64(0), options.to_vec()];
            self.block(5, &body.concat())
        }

        fn secrets(self, data: &[u8]) -> Vec<u8> {
            let body = [self.u32(0x544c_534b), self.u32(data.len() as u32), data.to_vec()];
            self.block(10, &body.concat())
        }

        fn pcap_header(self, magic: u32, snap_len: u32, network: u32) -> Vec<u8> {
            let version = [self.u16(2), self.u16(4)].concat();
            let zone = self.u64(0);
            [self.u32(magic), version, zone, self.u32(snap_len), self.u32(network)].concat()
        }

        fn pcap_frame(self, seconds: u32, fraction: u32, data: &[u8]) -> Vec<u8> {
            let length = data.len() as u32;
            let header = [self.u32(seconds), self.u32(fraction), self.u32(length), self.u32(length)];
            [header.concat(), data.to_vec()].concat()
        }

        fn pcap(self, magic: u32) -> Vec<u8> {
            [
                self.pcap_header(magic, 96, 0xf400_0001),
                self.pcap_frame(1, 5, b"one"),
                self.pcap_frame(u32::MAX, u32::MAX, &[7; 200]),
                self.pcap_frame(0, 0, b""),
            ]
            .concat()
        }

        /// One of everything.
        fn pcapng(self) -> Vec<u8> {
            let names = [
                self.option(2, b"eth0"),
                self.option(3, b"uplink"),
                self.option(11, b"\0udp port 443"),
                self.option(9, &[9]),
                self.option(14, &self.u64((-3i64) as u64)),
                self.option(0, b""),
                self.option(2, b"not a name: behind the end"),
            ];
            [
                self.section(),
                self.block(10, &[self.u32(1), self.u32(3), b"key".to_vec()].concat()),
                self.interface(1, 0, &names.concat()),
                self.interface(101, 64, &self.option(9, &[0x80 | 4])),
                self.enhanced(0, 5_000_000_007, b"first", &self.option(4, &self.u64(2))),
                self.enhanced(1, 40, &[3; 33], b""),
                self.block(0x1234_5678, b"who knows"),
                self.block(0xbad, b"\x00\x00\x00\x01custom"),
                self.obsolete(1, 3, 48, b"old"),
                self.obsolete(1, 0xffff, 56, b"older"),
                self.simple(6, b"simple"),
                self.secrets(b"CLIENT_RANDOM"),
                self.block(4, b"\0\0\0\0"),
                self.block(0x8000_0001, b""),
                self.statistics(0, &[self.option(5, &self.u64(4)), self.option(7, &self.u64(1))].concat()),
                self.statistics(9, &self.option(5, &self.u64(4))),
            ]
            .concat()
        }
    }

    const LITTLE: Pen = Pen(Order::Little);
    const BIG: Pen = Pen(Order::Big);

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    fn lz4(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Small files of every kind.
    fn files() -> Vec<Vec<u8>> {
        let sections = [LITTLE.pcapng(), BIG.pcapng(), LITTLE.pcapng()].concat();
        vec![
            LITTLE.pcap(0xa1b2_c3d4),
            BIG.pcap(0xa1b2_3c4d),
            LITTLE.pcapng(),
            sections.clone(),
            gzip(&sections),
            zstd(&sections),
            lz4(&sections),
        ]
    }

    /// Gives at most so many bytes per read, taking turns; now and then it is interrupted.
    struct Slow {
        bytes: Cursor<Vec<u8>>,
        sizes: Vec<usize>,
        turn: usize,
    }

    impl Read for Slow {
        fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
            self.turn += 1;
            if self.turn.is_multiple_of(5) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let size = self.sizes[self.turn % self.sizes.len()].min(space.len());
            self.bytes.read(&mut space[..size])
        }
    }

    /// Fails where the bytes end.
    struct Failing(Cursor<Vec<u8>>);

    impl Read for Failing {
        fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
            match self.0.read(space)? {
                0 => Err(io::ErrorKind::ConnectionReset.into()),
                n => Ok(n),
            }
        }
    }

    #[test]
    fn classic_pcap_in_both_resolutions_and_byte_orders() {
        for pen in [LITTLE, BIG] {
            for (magic, unit) in [(0xa1b2_c3d4, 1000), (0xa1b2_3c4d, 1)] {
                let mut reader = open_bytes(&pen.pcap(magic)).unwrap();
                let items = drain(&mut reader);
                let far = i64::from(u32::MAX);
                assert_eq!(times(&items), [1_000_000_000 + 5 * unit, far * 1_000_000_000 + far * unit, 0]);
                assert!(matches!(&items[1], Kept::Frame { number: 2, link: 1, data, .. } if data.len() == 200));
                assert_eq!((reader.format().as_str(), reader.frames()), ("pcap", 3));
                assert_eq!(reader.interfaces().len(), 1);
                assert_eq!(reader.interfaces()[0].snap_len, 96);
                assert_eq!(reader.damage(), None);
            }
        }
    }

    #[test]
    fn modified_pcap_has_longer_frame_headers() {
        let frame = LITTLE.pcap_frame(1, 2, b"");
        let frame = [&frame[..8], &LITTLE.u32(3), &LITTLE.u32(3), &[0; 8], b"abc"].concat();
        let bytes = [LITTLE.pcap_header(0xa1b2_cd34, 96, 113), frame].concat();
        let items = drain(&mut open_bytes(&bytes).unwrap());
        assert!(matches!(&items[..], [Kept::Frame { link: 113, data, .. }] if data == b"abc"));
    }

    #[test]
    fn every_block_of_a_pcapng() {
        for pen in [LITTLE, BIG] {
            let mut reader = open_bytes(&pen.pcapng()).unwrap();
            assert_eq!(reader.interfaces().len(), 0);
            let items = drain(&mut reader);
            let frame = |number, at, interface, link, original_len, data: &[u8]| Kept::Frame {
                number,
                at,
                interface,
                link,
                original_len,
                data: data.to_vec(),
            };
            let expected = [
                Kept::Secrets(1, b"key".to_vec()),
                frame(1, 2_000_000_007, 0, 1, 105, b"first"),
                frame(2, 2_500_000_000, 1, 101, 133, &[3; 33]),
                // Number 3 is the custom block's.
                frame(4, 3_000_000_000, 1, 101, 3, b"old"),
                frame(5, 3_500_000_000, 1, 101, 5, b"older"),
                frame(6, 3_500_000_000, 0, 1, 6, b"simple"),
                Kept::Secrets(0x544c_534b, b"CLIENT_RANDOM".to_vec()),
            ];
            assert_eq!(items, expected);
            assert_eq!(reader.damage(), None);
            assert_eq!((reader.frames(), reader.skipped_blocks()), (5, 2));
            assert_eq!(reader.bytes(), pen.pcapng().len() as u64);
            let first = &reader.interfaces()[0];
            assert_eq!(first.name.as_deref(), Some("eth0"));
            assert_eq!(first.description.as_deref(), Some("uplink"));
            assert_eq!(first.filter.as_deref(), Some("udp port 443"));
            assert_eq!(first.dropped, Some(5));
            assert_eq!(reader.interfaces()[1].dropped, Some(3));
            assert!(reader.is_finished());
        }
    }

    #[test]
    fn sections_renumber_interfaces_and_change_byte_order() {
        let bytes = [LITTLE.pcapng(), BIG.pcapng(), LITTLE.section(), LITTLE.interface(228, 0, b"")].concat();
        let mut reader = open_bytes(&[bytes, LITTLE.enhanced(0, 1, b"last", b"")].concat()).unwrap();
        let items = drain(&mut reader);
        assert_eq!(reader.interfaces().len(), 3, "the second section describes the same two interfaces");
        let one = drain(&mut open_bytes(&LITTLE.pcapng()).unwrap());
        assert_eq!(items.len(), 2 * one.len() + 1);
        assert!(matches!(items.last(), Some(Kept::Frame { number: 13, interface: 2, link: 228, at: 1000, .. })));
        assert!(matches!(items[one.len() + 1], Kept::Frame { number: 7, interface: 0, .. }));
    }

    #[test]
    fn a_simple_packet_is_cut_by_the_snap_length_of_interface_0() {
        let bytes = [LITTLE.section(), LITTLE.interface(1, 5, b""), LITTLE.simple(99, b"12345")].concat();
        let items = drain(&mut open_bytes(&bytes).unwrap());
        assert!(matches!(&items[..], [Kept::Frame { original_len: 99, data, at: 0, .. }] if data == b"12345"));
    }

    #[test]
    fn a_block_length_without_its_padding_is_understood() {
        let mut odd = LITTLE.enhanced(0, 1, b"12345", b"");
        let end = odd.len() - 4;
        odd[4] -= 3;
        odd[end] -= 3;
        let bytes = [LITTLE.section(), LITTLE.interface(1, 0, b""), odd.clone(), odd].concat();
        let mut reader = open_bytes(&bytes).unwrap();
        assert_eq!(drain(&mut reader).len(), 2);
        assert_eq!(reader.damage(), None);
    }

    #[test]
    fn compression_is_told_by_its_magic() {
        let plain = BIG.pcapng();
        let expected = drain(&mut open_bytes(&plain).unwrap());
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9], &zstd(&plain)[..]].concat();
        let (a, b) = plain.split_at(111);
        for (name, bytes) in [
            ("gzip+pcapng", gzip(&plain)),
            ("zstd+pcapng", zstd(&plain)),
            ("lz4+pcapng", lz4(&plain)),
            ("zstd+pcapng", skippable),
            ("gzip+pcapng", [gzip(a), gzip(b)].concat()),
            ("zstd+pcapng", [zstd(a), zstd(b)].concat()),
            ("lz4+pcapng", [lz4(a), lz4(b)].concat()),
        ] {
            let mut reader = open_bytes(&bytes).unwrap();
            assert_eq!(drain(&mut reader), expected);
            assert_eq!(reader.damage(), None);
            assert_eq!(reader.format(), name);
            assert_eq!(reader.bytes(), plain.len() as u64);
        }
    }

    #[test]
    fn what_is_no_capture_is_refused_with_a_reason() {
        assert_eq!(refusal(b""), "test: not a capture file at offset 0: it is empty");
        assert!(refusal(b"ASA capture, 12 packets").contains("looks like text"));
        assert!(refusal(&[0xfd, b'7', b'z', b'X', b'Z', 0]).contains("xz"));
        assert!(refusal(&gzip(b"")).contains("empty"));
        assert!(refusal(&gzip(&gzip(&LITTLE.pcapng()))).contains("twice"));
        assert!(refusal(&[1, 2, 3]).contains("01 02 03"));
        assert!(refusal(&LITTLE.pcapng()[..20]).contains("ends 20 bytes into a block"));
        assert!(refusal(&LITTLE.pcap(0xa1b2_c3d4)[..20]).contains("ends inside the pcap file header"));
        let mut version = LITTLE.section();
        version[12] = 2;
        assert!(refusal(&version).contains("version 2.0"));
    }

    #[test]
    fn damage_names_its_place_and_keeps_what_came_before() {
        let good = [LITTLE.section(), LITTLE.interface(1, 0, b""), LITTLE.enhanced(0, 1, b"good", b"")].concat();
        let mut short = LITTLE.enhanced(0, 1, b"1234", b"");
        short[20] = 5;
        let mut trailer = LITTLE.enhanced(0, 1, b"1234", b"");
        trailer[32] ^= 4;
        let mut lie = LITTLE.obsolete(0, 0, 1, b"1234");
        lie[20] = 0xff;
        for (bad, why) in [
            (short, "contradict"),
            (trailer, "differ"),
            (lie, "contradict"),
            (LITTLE.enhanced(7, 1, b"1234", b""), "names interface 7"),
            (LITTLE.obsolete(7, 0, 1, b"1234"), "names interface 7"),
            (LITTLE.simple(5, b"1234"), "contradict"),
            (LITTLE.block(6, b"short"), "contradict"),
            (LITTLE.block(10, b"short"), "contradict"),
            ([LITTLE.u32(6), LITTLE.u32(8), LITTLE.u32(8)].concat(), "shorter than any block"),
            ([LITTLE.u32(6), LITTLE.u32(u32::MAX), LITTLE.u32(8)].concat(), "larger than the limit"),
            ([0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 1, 2, 3, 4].to_vec(), "without byte-order magic"),
            (vec![0; 12], "shorter than any block"),
            (vec![0], "ends 1 byte into a block"),
        ] {
            let mut reader = open_bytes(&[good.clone(), bad, good.clone()].concat()[..]).unwrap();
            if why.starts_with("ends") {
                reader = open_bytes(&[good.clone(), vec![0]].concat()).unwrap();
            }
            assert_eq!(drain(&mut reader).len(), 1, "{why}");
            let damage = reader.damage().unwrap();
            assert_eq!((damage.offset, damage.frame), (good.len() as u64, 1));
            assert!(damage.reason.contains(why), "{} / {why}", damage.reason);
            assert!(drain(&mut reader).is_empty());
        }
    }

    #[test]
    fn an_unbelievable_frame_length_in_a_pcap_is_damage() {
        let mut bytes = LITTLE.pcap(0xa1b2_c3d4);
        bytes[24 + 10] = 0x10;
        let mut reader = open_bytes(&bytes).unwrap();
        assert!(drain(&mut reader).is_empty());
        assert!(reason(&reader).contains("larger than the limit of 262144"));
    }

    #[test]
    fn long_blocks_are_read_up_to_the_limit() {
        let long = vec![9; 3 << 20];
        let bytes = [LITTLE.section(), LITTLE.interface(1, 0, b""), LITTLE.enhanced(0, 1, &long, b"")].concat();
        assert_eq!(drain(&mut open_bytes(&bytes).unwrap()).len(), 1);
        let limits = Limits { max_block: 1 << 20, ..Limits::default() };
        let mut reader = Reader::new("test", Box::new(Cursor::new(bytes)), limits).unwrap();
        assert!(drain(&mut reader).is_empty());
        assert!(reason(&reader).contains("larger than the limit of 1048576"));
    }

    #[test]
    fn interfaces_are_limited() {
        let interface = LITTLE.interface(1, 0, b"");
        let bytes = [LITTLE.section(), interface.clone(), interface.clone(), interface].concat();
        let limits = Limits { max_interfaces: 2, ..Limits::default() };
        let mut reader = Reader::new("test", Box::new(Cursor::new(bytes)), limits).unwrap();
        assert!(drain(&mut reader).is_empty());
        assert_eq!(reason(&reader), "more than 2 interfaces");
    }

    #[test]
    fn a_break_loses_nothing() {
        for bytes in files() {
            let all = drain(&mut open_bytes(&bytes).unwrap());
            let mut reader = open_bytes(&bytes).unwrap();
            let mut items = Vec::new();
            while !reader.is_finished() {
                reader
                    .for_each(|item| {
                        items.push(keep(item));
                        ControlFlow::Break(())
                    })
                    .unwrap();
            }
            assert_eq!(items, all);
        }
    }

    #[test]
    fn a_failing_source_is_an_error_after_all_it_gave() {
        for bytes in files() {
            let all = drain(&mut open_bytes(&bytes).unwrap());
            let mut reader = open(Failing(Cursor::new(bytes))).unwrap();
            let mut items = Vec::new();
            let result = reader.for_each(|item| {
                items.push(keep(item));
                ControlFlow::Continue(())
            });
            assert!(matches!(result, Err(Error::Io { operation: "read", .. })), "{result:?}");
            assert_eq!(items, all);
            assert_eq!(reader.damage(), None);
        }
        assert!(matches!(open(Failing(Cursor::new(Vec::new()))), Err(Error::Io { .. })));
    }

    #[test]
    fn every_truncation_gives_a_prefix() {
        for bytes in files() {
            let all = drain(&mut open_bytes(&bytes).unwrap());
            for cut in 0..bytes.len() {
                let Ok(mut reader) = open_bytes(&bytes[..cut]) else {
                    continue;
                };
                let items = drain(&mut reader);
                assert_eq!(items, all[..items.len()], "cut at {cut}");
                match reader.damage() {
                    Some(damage) => assert_eq!(damage.offset, reader.bytes()),
                    None if reader.format().contains('+') => {
                        assert_eq!(items.len(), all.len(), "cut at {cut}")
                    }
                    None => assert_eq!(reader.bytes(), cut as u64),
                }
            }
        }
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(file in 0..7usize, sizes in proptest::collection::vec(1..40usize, 1..6)) {
            let bytes = files().swap_remove(file);
            let mut whole = open_bytes(&bytes).unwrap();
            let mut slow = open(Slow { bytes: Cursor::new(bytes), sizes, turn: 0 }).unwrap();
            prop_assert_eq!(drain(&mut slow), drain(&mut whole));
            prop_assert_eq!(slow.damage(), None);
            prop_assert_eq!(slow.interfaces(), whole.interfaces());
        }

        #[test]
        fn flipped_bytes_never_panic(
            file in 0..7usize,
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut bytes = files().swap_remove(file);
            for (at, value) in flips {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(mut reader) = open_bytes(&bytes) {
                drain(&mut reader);
            }
        }

        #[test]
        fn anything_behind_a_good_start_never_panics(
            big in any::<bool>(),
            kind in prop_oneof![0..12u32, Just(SHB_MAGIC), Just(0xbad), Just(0x8000_0001), any::<u32>()],
            body in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            let pen = if big { BIG } else { LITTLE };
            let bytes = [pen.section(), pen.interface(1, 0, b""), pen.block(kind, &body)].concat();
            drain(&mut open_bytes(&bytes).unwrap());
        }
    }
}
