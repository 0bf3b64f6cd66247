//! Compressed packets: LZS (RFC 1974, ANSI X3.241), deflate (RFC 1951) with a running window, oc-lz4.
//!
//! Promises: never more than one IP packet of output, whatever the input claims.

use super::cstp::MAX_PACKET;

/// How packets of type 8 are compressed (X-CSTP-Content-Encoding).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Each packet by itself.
    Lzs,
    /// One stream per direction, flushed after each packet; an Adler-32 follows. TLS only.
    Deflate,
    /// Each packet an LZ4 block (openconnect and ocserv).
    Lz4,
}

impl Encoding {
    /// By the word in the header.
    pub fn from_name(name: &str) -> Option<Encoding> {
        Some(match name.trim() {
            "lzs" => Encoding::Lzs,
            "deflate" => Encoding::Deflate,
            "oc-lz4" | "lz4" => Encoding::Lz4,
            _ => return None,
        })
    }
}

/// Undoes one direction's compression over TLS.
#[derive(Debug)]
pub struct Inflater {
    encoding: Encoding,
    stream: Option<Box<flate2::Decompress>>,
}

impl Inflater {
    /// For a direction that just began.
    pub fn new(encoding: Encoding) -> Inflater {
        let stream = (encoding == Encoding::Deflate).then(|| Box::new(flate2::Decompress::new(false)));
        Inflater { encoding, stream }
    }

    /// One packet into `out`; false when it cannot be undone.
    pub fn push(&mut self, packed: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        match self.encoding {
            Encoding::Lzs => lzs(packed, out).is_some(),
            Encoding::Lz4 => lz4(packed, out).is_some(),
            Encoding::Deflate => {
                let done = self.stream.as_mut().is_some_and(|stream| inflate(stream, packed, out).is_some());
                if !done {
                    // The window is lost, and every later packet with it.
                    self.stream = None;
                }
                done
            }
        }
    }

    /// Packets are missing: a running window is lost with them.
    pub fn gap(&mut self) {
        self.stream = None;
    }
}

/// A packet over DTLS, where each is compressed by itself: whichever method gives a whole IP packet.
pub fn decompress_any(packed: &[u8], out: &mut Vec<u8>) -> bool {
    for method in [lzs, lz4] {
        out.clear();
        if method(packed, out).is_some() && is_ip(out) {
            return true;
        }
    }
    false
}

/// A whole IP packet: its length field says its length.
fn is_ip(bytes: &[u8]) -> bool {
    match bytes {
        [first, _, l1, l0, ..] if first >> 4 == 4 => usize::from(u16::from_be_bytes([*l1, *l0])) == bytes.len(),
        [first, _, _, _, l1, l0, ..] if first >> 4 == 6 => {
            usize::from(u16::from_be_bytes([*l1, *l0])) + 40 == bytes.len()
        }
        _ => false,
    }
}

fn inflate(stream: &mut flate2::Decompress, packed: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let packed = packed.get(..packed.len().checked_sub(4)?)?;
    out.reserve(MAX_PACKET);
    let before = stream.total_in();
    stream.decompress_vec(packed, out, flate2::FlushDecompress::Sync).ok()?;
    (stream.total_in() - before == packed.len() as u64 && out.len() <= MAX_PACKET).then_some(())
}

fn lz4(packed: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.resize(MAX_PACKET, 0);
    let length = lz4_flex::block::decompress_into(packed, out).ok()?;
    out.truncate(length);
    Some(())
}

/// ```text
///   0 | literal (8)                                     1 1 | offset (7), 0 = end | length
///   1 0 | offset (11) | length                          length: 2 bits 0-2 = 2-4, 2 more 0-2 = 5-7, then nibbles
/// ```
fn lzs(packed: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut bits = Bits { bytes: packed, at: 0 };
    loop {
        if bits.take(1)? == 0 {
            out.push(bits.take(8)? as u8);
        } else {
            let is_short = bits.take(1)? == 1;
            let offset = bits.take(if is_short { 7 } else { 11 })? as usize;
            if is_short && offset == 0 {
                return Some(());
            }
            let length = lzs_length(&mut bits)?;
            let from = out.len().checked_sub(offset).filter(|_| offset > 0)?;
            if out.len() + length > MAX_PACKET {
                return None;
            }
            for at in from..from + length {
                let byte = *out.get(at)?;
                out.push(byte);
            }
        }
        if out.len() > MAX_PACKET {
            return None;
        }
    }
}

fn lzs_length(bits: &mut Bits<'_>) -> Option<usize> {
    match bits.take(2)? {
        3 => {}
        short => return Some(short as usize + 2),
    }
    match bits.take(2)? {
        3 => {}
        middle => return Some(middle as usize + 5),
    }
    let mut length = 8;
    loop {
        let nibble = bits.take(4)? as usize;
        length += nibble;
        if nibble < 15 {
            return Some(length);
        }
        if length > MAX_PACKET {
            return None;
        }
    }
}

/// Bits, the highest of each byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = u32::from(*self.bytes.get(self.at / 8)?);
            value = value << 1 | (byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A packer that finds its matches by looking everywhere.
    fn pack_lzs(plain: &[u8]) -> Vec<u8> {
        let mut bits: Vec<bool> = Vec::new();
        let mut put = |value: usize, count: usize| (0..count).rev().for_each(|i| bits.push(value >> i & 1 == 1));
        let mut at = 0;
        while at < plain.len() {
            let same =
                |offset: usize| plain[at..].iter().zip(&plain[at - offset..]).take_while(|(a, b)| a == b).count();
            let best = (1..=at.min(2047)).map(|offset| (same(offset), offset)).max_by_key(|(length, _)| *length);
            match best {
                Some((length, offset)) if length >= 2 => {
                    put(1, 1);
                    if offset < 128 {
                        put(1, 1);
                        put(offset, 7)
                    } else {
                        put(0, 1);
                        put(offset, 11)
                    }
                    match length {
                        2..=4 => put(length - 2, 2),
                        5..=7 => {
                            put(3, 2);
                            put(length - 5, 2)
                        }
                        _ => {
                            put(15, 4);
                            let mut rest = length - 8;
                            while rest >= 15 {
                                put(15, 4);
                                rest -= 15
                            }
                            put(rest, 4);
                        }
                    }
                    at += length;
                }
                _ => {
                    put(0, 1);
                    put(usize::from(plain[at]), 8);
                    at += 1
                }
            }
        }
        put(0b1_1000_0000, 9);
        bits.chunks(8)
            .map(|byte| byte.iter().enumerate().fold(0, |b, (i, bit)| b | u8::from(*bit) << (7 - i)))
            .collect()
    }

    #[test]
    fn one_stream_for_all_packets() {
        let mut packer = flate2::Compress::new(flate2::Compression::default(), false);
        let mut inflater = Inflater::new(Encoding::Deflate);
        let mut out = Vec::new();
        for i in 0..5_u8 {
            let plain = [&[i; 100][..], b"and the same words again and again"].concat();
            let mut packed = Vec::with_capacity(500);
            packer.compress_vec(&plain, &mut packed, flate2::FlushCompress::Sync).unwrap();
            packed.extend([0; 4]);
            assert!(inflater.push(&packed, &mut out), "{i}");
            assert_eq!(out, plain);
        }
        inflater.gap();
        assert!(!inflater.push(&[1, 2, 3, 4, 5, 6], &mut out));
    }

    #[test]
    fn bombs_are_stopped() {
        let mut out = Vec::new();
        // One literal, then a match that goes on for ever.
        let mut bits = vec![0x00, 0x60, 0x7f];
        bits.extend([0xff; 100_000]);
        assert_eq!(lzs(&bits, &mut out), None);
        assert!(out.len() <= MAX_PACKET);
        let bomb = {
            let mut packer = flate2::Compress::new(flate2::Compression::best(), false);
            let mut packed = Vec::with_capacity(1 << 20);
            packer.compress_vec(&vec![0; 50_000_000], &mut packed, flate2::FlushCompress::Sync).unwrap();
            packed
        };
        assert!(!Inflater::new(Encoding::Deflate).push(&bomb, &mut out));
        assert!(out.len() <= MAX_PACKET + 8);
    }

    proptest! {
        #[test]
        fn packets_come_out_as_they_went_in(words in prop::collection::vec(0u8..4, 0..2500), noise in prop::collection::vec(any::<u8>(), 0..300)) {
            let plain = [&words[..], &noise].concat();
            let mut out = Vec::new();
            prop_assert!(Inflater::new(Encoding::Lzs).push(&pack_lzs(&plain), &mut out));
            prop_assert_eq!(&out, &plain);
            prop_assert!(Inflater::new(Encoding::Lz4).push(&lz4_flex::block::compress(&plain), &mut out));
            prop_assert_eq!(&out, &plain);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let mut out = Vec::new();
            for encoding in [Encoding::Lzs, Encoding::Deflate, Encoding::Lz4] {
                Inflater::new(encoding).push(&bytes, &mut out);
                prop_assert!(out.len() <= MAX_PACKET + 8);
            }
            decompress_any(&bytes, &mut out);
        }
    }
}
