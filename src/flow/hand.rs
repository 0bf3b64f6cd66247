//! Who has to make room when a list is full: a hand goes round it, and looks at a few at a time.

use crate::chunks::Chunks;

/// Neighbours compared: enough to hit an idle one, few enough to be constant time.
pub(super) const SAMPLE: usize = 16;

/// The place looked at next.
#[derive(Debug, Default)]
pub(super) struct Hand(usize);

impl Hand {
    /// The next few places of so many, to look for one that can be given up.
    pub(super) fn next_few(&mut self, len: usize) -> impl Iterator<Item = u32> + use<> {
        let len = len.max(1);
        let start = self.0 % len;
        self.0 = (start + SAMPLE) % len;
        (start..start + SAMPLE.min(len)).map(move |place| (place % len) as u32)
    }

    /// The place of the greatest age among the next few.
    pub(super) fn idlest<T, const BYTES: usize>(&mut self, all: &Chunks<T, BYTES>, age: impl Fn(&T) -> u32) -> u32 {
        self.next_few(all.len()).max_by_key(|&place| all.get(place).map(&age)).unwrap_or(0)
    }

    /// Looks behind that place next.
    pub(super) fn point_behind(&mut self, place: u32) {
        self.0 = place as usize + 1;
    }
}
