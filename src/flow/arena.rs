//! What flows and conversations are kept in.

/// How many neighbours are compared when one must go: enough to hit an idle one, few enough to be constant time.
const EVICTION_SAMPLE: usize = 16;

/// Growing storage in chunks, so that growing neither copies nor leaves holes; a slot is never given up.
#[derive(Debug)]
pub(super) struct Arena<T> {
    chunks: Vec<Vec<T>>,
}

impl<T> Default for Arena<T> {
    fn default() -> Arena<T> {
        Arena { chunks: Vec::new() }
    }
}

impl<T> Arena<T> {
    const CHUNK: usize = 256;

    pub(super) fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * Self::CHUNK + last.len())
    }

    /// Adds an item; its slot. The caller caps the count below 2^32.
    pub(super) fn push(&mut self, item: T) -> u32 {
        let slot = self.len();
        match self.chunks.last_mut() {
            Some(last) if last.len() < Self::CHUNK => last.push(item),
            _ => {
                let mut chunk = Vec::with_capacity(Self::CHUNK);
                chunk.push(item);
                self.chunks.push(chunk);
            }
        }
        slot as u32
    }

    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        let slot = slot as usize;
        self.chunks.get(slot / Self::CHUNK)?.get(slot % Self::CHUNK)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        let slot = slot as usize;
        self.chunks.get_mut(slot / Self::CHUNK)?.get_mut(slot % Self::CHUNK)
    }

    /// The item of a slot that [`Arena::push`] gave out.
    #[inline]
    #[expect(
        clippy::indexing_slicing,
        reason = "slots are given out by push and never given up; no input reaches them"
    )]
    pub(super) fn existing(&mut self, slot: u32) -> &mut T {
        let slot = slot as usize;
        &mut self.chunks[slot / Self::CHUNK][slot % Self::CHUNK]
    }

    /// All items, in the order of their slots.
    pub(super) fn into_iter(self) -> impl Iterator<Item = T> {
        self.chunks.into_iter().flatten()
    }

    /// The slot of the greatest age among the next few; the hand goes round.
    pub(super) fn idlest(&self, hand: &mut usize, age: impl Fn(&T) -> u32) -> u32 {
        let len = self.len().max(1);
        let start = *hand % len;
        *hand = (start + EVICTION_SAMPLE) % len;
        let sample = (start..start + EVICTION_SAMPLE.min(len)).map(|slot| (slot % len) as u32);
        sample.max_by_key(|&slot| self.get(slot).map(&age)).unwrap_or(0)
    }
}
