//! What is left of a frame once the outer headers are taken off: the captured bytes and the length on the wire.

use super::Undecoded;

/// The captured bytes of one layer and how many it had on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layer<'a> {
    /// Captured bytes, never more than `wire_len`.
    pub bytes: &'a [u8],
    /// Bytes on the wire.
    pub wire_len: u32,
}

impl<'a> Layer<'a> {
    /// A layer that was captured whole.
    pub fn whole(bytes: &'a [u8]) -> Layer<'a> {
        Layer { bytes, wire_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }
    }

    /// Takes `N` bytes off the front; [`Undecoded::Cut`] when they were not all captured.
    pub fn take<const N: usize>(self) -> Result<(&'a [u8; N], Layer<'a>), Undecoded> {
        let (head, bytes) = self.bytes.split_first_chunk().ok_or(Undecoded::Cut)?;
        let wire_len = self.wire_len.saturating_sub(N as u32);
        Ok((head, Layer { bytes, wire_len }))
    }

    /// Drops `count` bytes from the front; [`Undecoded::Cut`] when they were not all captured.
    pub fn skip(self, count: usize) -> Result<Layer<'a>, Undecoded> {
        let bytes = self.bytes.get(count..).ok_or(Undecoded::Cut)?;
        let wire_len = self.wire_len.saturating_sub(count as u32);
        Ok(Layer { bytes, wire_len })
    }

    /// The same layer with the length its header tells: what lies behind it is padding.
    pub fn with_wire_len(self, wire_len: u32) -> Layer<'a> {
        let bytes = self.bytes.get(..wire_len as usize).unwrap_or(self.bytes);
        Layer { bytes, wire_len }
    }

    /// Nothing was cut off by the snap length.
    pub fn is_whole(self) -> bool {
        self.bytes.len() as u64 == u64::from(self.wire_len)
    }
}
