//! Transparent gzip, zstd and lz4-frame, told by their magic numbers.
//!
//! Promises: bounded memory whatever the data claims, and a read error of the source kept apart from bad data.
//! Refuses: dictionaries, one compression inside another, and zstd windows above [`ZSTD_WINDOW_LOG`].

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::{Decompress, FlushDecompress, Status};
use lz4_flex::frame::FrameDecoder;

/// Largest zstd window accepted, as a power of two in bytes: 128 MiB, what `zstd --ultra -22` writes and `zstd -d` accepts.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Compressed bytes asked of the source at a time.
const CHUNK: usize = 128 << 10;

/// Anything bytes come from.
pub(super) type Input = Box<dyn Read + Send>;

/// The decompressed stream, and the name of the compression when there is one.
pub(super) struct Opened {
    /// Yields the capture file's own bytes.
    pub(super) input: Input,
    /// `gzip`, `zstd` or `lz4`; `None` for a plain file.
    pub(super) compression: Option<&'static str>,
}

/// Looks at the first four bytes and puts the fitting decompressor in between.
pub(super) fn open(input: Input) -> io::Result<Opened> {
    let mut source = Source(input);
    let mut magic = [0u8; 4];
    let mut known = 0;
    while let Some(space) = magic.get_mut(known..).filter(|space| !space.is_empty()) {
        match source.read(space)? {
            0 => break,
            n => known += n,
        }
    }
    let start = magic.get(..known).unwrap_or_default().to_vec();
    let whole = Cursor::new(start).chain(source);
    let buffered = |whole| BufReader::with_capacity(CHUNK, whole);
    let (input, compression): (Input, _) = match magic {
        [0x1f, 0x8b, ..] => (Box::new(Gzip::new(buffered(whole))), Some("gzip")),
        // pzstd and seekable zstd open with a skippable frame (RFC 8878 §3.1.2).
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
            let mut decoder = zstd::Decoder::with_buffer(buffered(whole))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            (Box::new(decoder), Some("zstd"))
        }
        [0x04, 0x22, 0x4d, 0x18] => (Box::new(Lz4(FrameDecoder::new(buffered(whole)))), Some("lz4")),
        _ => (Box::new(whole), None),
    };
    Ok(Opened { input, compression })
}

/// Who is to blame for a failed read.
#[derive(Debug)]
pub(super) enum Blame {
    /// The operating system: the file could not be read.
    Source(io::Error),
    /// The bytes: truncated or corrupt compressed data; one clause.
    Data(String),
}

/// Tells a failing source from failing data behind a decompressor.
pub(super) fn blame(error: io::Error) -> Blame {
    match error.downcast::<SourceError>() {
        Ok(SourceError(source)) => Blame::Source(source),
        Err(data) if data.kind() == io::ErrorKind::UnexpectedEof => {
            Blame::Data("the compressed data ends early".to_owned())
        }
        Err(data) => Blame::Data(format!("the compressed data is corrupt ({data})")),
    }
}

/// Retries interrupted reads and marks every other error as the source's own.
struct Source(Input);

impl Read for Source {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(space) {
                Ok(n) => return Ok(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io::Error::other(SourceError(error))),
            }
        }
    }
}

/// Marks an error of the source on its way through a decompressor.
#[derive(Debug)]
struct SourceError(io::Error);

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SourceError {}

/// Every member of a gzip file (RFC 1952 §2.2). What a damaged member gave before its damage is handed out, and the error with the
/// next read: in which pieces the bytes arrive changes nothing.
struct Gzip<R> {
    input: R,
    member: Decompress,
    /// The member before has ended, the next has not begun.
    between: bool,
    corrupt: bool,
}

impl<R: BufRead> Gzip<R> {
    fn new(input: R) -> Gzip<R> {
        // 2^15 bytes is the largest window of deflate.
        Gzip { input, member: Decompress::new_gzip(15), between: true, corrupt: false }
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        while !space.is_empty() && !self.corrupt {
            let packed = self.input.fill_buf()?;
            if packed.is_empty() {
                return if self.between { Ok(0) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            if std::mem::take(&mut self.between) {
                self.member.reset(true);
            }
            let (read, written) = (self.member.total_in(), self.member.total_out());
            let status = self.member.decompress(packed, space, FlushDecompress::None);
            let used = (self.member.total_in() - read) as usize;
            let got = (self.member.total_out() - written) as usize;
            self.input.consume(used);
            self.between = matches!(status, Ok(Status::StreamEnd));
            // With room and bytes at hand there is always something to do.
            self.corrupt = status.is_err() || (used == 0 && got == 0 && !self.between);
            if got > 0 {
                return Ok(got);
            }
        }
        if self.corrupt {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "corrupt deflate stream"));
        }
        Ok(0)
    }
}

/// Goes on after the end of a frame: the decoder answers 0 there, though another frame may follow.
struct Lz4<R: Read>(FrameDecoder<R>);

impl<R: Read> Read for Lz4<R> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self.0.read(space)? {
            0 => self.0.read(space),
            n => Ok(n),
        }
    }
}
