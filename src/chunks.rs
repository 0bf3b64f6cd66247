//! A list that grows without copying what it holds, and without holes: in chunks.

/// The list, in chunks of up to so many bytes; a place is never given up. Lists that end at different times had better have chunks
/// of different sizes: an allocator lays equal ones side by side, and gives memory back when all of them are free.
#[derive(Debug)]
pub(crate) struct Chunks<T, const BYTES: usize>(Vec<Vec<T>>);

impl<T, const BYTES: usize> Default for Chunks<T, BYTES> {
    fn default() -> Chunks<T, BYTES> {
        Chunks(Vec::new())
    }
}

impl<T, const BYTES: usize> Chunks<T, BYTES> {
    /// Items of a chunk.
    const ITEMS: usize = if size_of::<T>() < BYTES { BYTES / size_of::<T>() } else { 1 };

    pub(crate) fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * Self::ITEMS + last.len())
    }

    /// Adds an item; its place. The caller caps the count below 2^32.
    pub(crate) fn push(&mut self, item: T) -> u32 {
        let place = self.len();
        match self.0.last_mut() {
            Some(last) if last.len() < Self::ITEMS => last.push(item),
            _ => {
                let mut chunk = Vec::with_capacity(Self::ITEMS);
                chunk.push(item);
                self.0.push(chunk);
            }
        }
        place as u32
    }

    #[inline]
    pub(crate) fn get(&self, place: u32) -> Option<&T> {
        let (chunk, place) = Self::split(place);
        self.0.get(chunk)?.get(place)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        let (chunk, place) = Self::split(place);
        self.0.get_mut(chunk)?.get_mut(place)
    }

    /// The item at a place that [`Chunks::push`] gave out.
    #[inline]
    #[expect(
        clippy::indexing_slicing,
        reason = "places are given out by push and never given up; no input reaches them"
    )]
    pub(crate) fn existing(&mut self, place: u32) -> &mut T {
        let (chunk, place) = Self::split(place);
        &mut self.0[chunk][place]
    }

    /// The chunk and the place in it: 32 bits are divided faster than 64.
    #[inline]
    fn split(place: u32) -> (usize, usize) {
        let items = Self::ITEMS as u32;
        ((place / items) as usize, (place % items) as usize)
    }

    /// The items, in order; what was given is freed on the way.
    pub(crate) fn into_iter(self) -> impl Iterator<Item = T> {
        self.0.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_stay_where_they_were_put() {
        let mut list = Chunks::<u32, 1000>::default();
        let count = 2 * Chunks::<u32, 1000>::ITEMS as u32 + 3;
        for item in 0..count {
            assert_eq!((list.len(), list.push(item)), (item as usize, item));
        }
        assert!((0..count).all(|place| list.get(place) == Some(&place) && list.get_mut(place).copied() == Some(place)));
        assert_eq!(list.get(count), None);
        assert_eq!(list.get_mut(count), None);
        *list.existing(7) = 0;
        assert!(list.into_iter().eq((0..count).map(|item| if item == 7 { 0 } else { item })));
    }
}
