//! The one buffer: a window on the file that moves forward, grows for a long block, and never beyond its limit.
//!
//! Promises: at least the bytes asked for, or the end; memory that bytes really read pay for, not a length field's claim.
//! Refuses: to know what the bytes mean.

use std::io::{self, Read};

use super::decompress::Input;

/// Bytes held at first: large enough for rare reads, small enough to stay in the L2 cache.
const INITIAL: usize = 256 << 10;

/// A moving window on a byte stream.
pub(super) struct Window {
    input: Input,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    consumed: u64,
    at_end: bool,
}

impl Window {
    /// An empty window; nothing is read yet.
    pub(super) fn new(input: Input) -> Window {
        Window { input, buffer: vec![0; INITIAL], start: 0, end: 0, consumed: 0, at_end: false }
    }

    /// Makes at least `wanted` bytes visible; `false` when the stream ends before. After an error the stream has ended.
    #[inline]
    pub(super) fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.end - self.start >= wanted {
            return Ok(true);
        }
        self.read_until(wanted)
    }

    /// The visible bytes, beginning with the first not consumed.
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Moves past `count` visible bytes.
    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.consumed += count as u64;
    }

    /// Bytes consumed since the start of the stream.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    #[cold]
    fn read_until(&mut self, wanted: usize) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < wanted && !self.at_end {
            if self.end == self.buffer.len() {
                // Doubling only when full: a length field alone must not cost memory.
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
            let space = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.input.read(space) {
                Ok(0) => self.at_end = true,
                Ok(n) => self.end += n.min(space.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.at_end = true;
                    return Err(error);
                }
            }
        }
        Ok(self.end >= wanted)
    }
}
