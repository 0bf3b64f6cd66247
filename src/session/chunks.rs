//! A list that grows without copying what it holds: in chunks.

/// The list; a place is never given up.
#[derive(Debug)]
pub(super) struct Chunks<T>(Vec<Vec<T>>);

/// Items of a chunk.
const CHUNK: usize = 256;

impl<T> Default for Chunks<T> {
    fn default() -> Chunks<T> {
        Chunks(Vec::new())
    }
}

impl<T> Chunks<T> {
    pub(super) fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * CHUNK + last.len())
    }

    pub(super) fn push(&mut self, item: T) {
        match self.0.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(item),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(item);
                self.0.push(chunk);
            }
        }
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.0.get_mut(place / CHUNK)?.get_mut(place % CHUNK)
    }

    /// The items, in order; what was given is freed on the way.
    pub(super) fn into_iter(self) -> impl Iterator<Item = T> {
        self.0.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_stay_where_they_were_put() {
        let mut list = Chunks::default();
        let count = 2 * CHUNK + 3;
        for item in 0..count {
            assert_eq!(list.len(), item);
            list.push(item);
        }
        assert!((0..count).all(|place| list.get_mut(place).copied() == Some(place)));
        assert_eq!(list.get_mut(count), None);
        assert!(list.into_iter().eq(0..count));
    }
}
