//! A list of what lies close together, such as moments and frames: of each item only what tells it from the first is kept.

use super::few::Few;
use crate::event::{FrameRef, Timestamp};
use std::fmt;
use std::marker::PhantomData;

/// What is told by so many numbers.
pub trait Numbered<const N: usize>: Sized {
    /// Its numbers.
    fn numbers(&self) -> [i64; N];
    /// The item with these numbers, which an item had.
    fn of(numbers: [i64; N]) -> Self;
}

/// The list: every look at it reads it from the beginning, so that it must be short.
#[derive(Clone)]
pub struct Packed<T, const N: usize> {
    /// The first item's first number as it is, its others, then how far each number of the others lies from the first's: seven bits to
    /// a byte, the lowest first, the sign lowest of all; the last byte of a number lacks the eighth bit, and what is free behind the
    /// last item has nothing else.
    bytes: Few<u8>,
    items: PhantomData<T>,
}

impl<T, const N: usize> Default for Packed<T, N> {
    fn default() -> Packed<T, N> {
        Packed { bytes: Few::default(), items: PhantomData }
    }
}

impl<T: Numbered<N>, const N: usize> Packed<T, N> {
    /// Is it empty?
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        // In portions that a byte can count, many bytes at once: an item has as many last bytes as numbers, but the first one less.
        let last_bytes = |some: &[u8]| usize::from(some.iter().map(|byte| byte >> 7 ^ 1).sum::<u8>());
        let behind = self.bytes.get(FIRST..);
        behind.map_or(0, |bytes| (1 + bytes.chunks(255).map(last_bytes).sum::<usize>()) / N.max(1))
    }

    /// Are there fewer than so many? Most lists are too short for as many, which need not be counted.
    pub fn is_shorter_than(&self, count: usize) -> bool {
        self.bytes.len() < count * N || self.len() < count
    }

    /// The items, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        self.numbers().map(T::of)
    }

    /// The oldest item.
    pub fn first(&self) -> Option<T> {
        self.begin().map(|(first, _)| T::of(first))
    }

    /// Adds an item at the end.
    pub fn push(&mut self, item: &T) {
        let mut room = Room::default();
        let mut numbers = item.numbers().into_iter();
        let first = self.begin().map_or([0; N], |(first, _)| first);
        if self.is_empty() {
            room.begin(numbers.next().unwrap_or_default());
        }
        for (number, first) in numbers.zip(first) {
            room.write(number.wrapping_sub(first));
        }
        let written = room.written();
        let end = self.bytes.iter().rposition(|byte| byte & MORE == 0).map_or(0, |last| last + 1);
        let needed = end + written.len();
        if needed > self.bytes.len() {
            let more = needed.next_multiple_of(STEP) - self.bytes.len();
            self.bytes.extend(std::iter::repeat_n(MORE, more));
        }
        if let Some(free) = self.bytes.get_mut(end..needed) {
            free.copy_from_slice(written);
        }
    }

    /// Changes every item.
    pub fn change(&mut self, mut change: impl FnMut(&mut T)) {
        for mut item in std::mem::take(self).iter() {
            change(&mut item);
            self.push(&item);
        }
    }

    fn numbers(&self) -> impl Iterator<Item = [i64; N]> {
        self.begin().into_iter().flat_map(|(first, rest)| {
            let mut bytes = rest.iter();
            let others = std::iter::from_fn(move || {
                let mut numbers = first;
                for number in &mut numbers {
                    *number = number.wrapping_add(read(&mut bytes)?);
                }
                Some(numbers)
            });
            std::iter::once(first).chain(others)
        })
    }

    /// The first item's numbers, and the bytes of the others.
    fn begin(&self) -> Option<([i64; N], &[u8])> {
        let (start, rest) = self.bytes.split_first_chunk::<FIRST>()?;
        let (mut first, mut bytes) = ([0; N], rest.iter());
        let mut numbers = first.iter_mut();
        *numbers.next()? = i64::from_le_bytes(*start);
        for number in numbers {
            *number = read(&mut bytes)?;
        }
        Some((first, bytes.as_slice()))
    }
}

/// Bytes of the first item's first number.
const FIRST: usize = size_of::<i64>();
/// What is asked for comes in multiples of so many bytes anyway.
const STEP: usize = 16;
/// Another byte of the number follows.
const MORE: u8 = 0x80;

/// Room for the bytes of an item.
struct Room {
    bytes: [u8; Room::BYTES],
    len: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room { bytes: [0; Room::BYTES], len: 0 }
    }
}

impl Room {
    /// Eight numbers of ten bytes.
    const BYTES: usize = 80;

    fn begin(&mut self, number: i64) {
        self.len = self.bytes.iter_mut().zip(number.to_le_bytes()).map(|(byte, value)| *byte = value).count();
    }

    fn write(&mut self, difference: i64) {
        let mut left = (difference << 1 ^ difference >> 63) as u64;
        for byte in self.bytes.iter_mut().skip(self.len) {
            self.len += 1;
            if left < u64::from(MORE) {
                *byte = left as u8;
                return;
            }
            *byte = left as u8 | MORE;
            left >>= 7;
        }
    }

    fn written(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

fn read<'a>(bytes: &mut impl Iterator<Item = &'a u8>) -> Option<i64> {
    let (mut read, mut shift) = (0_u64, 0);
    loop {
        let byte = *bytes.next()?;
        read |= u64::from(byte & !MORE) << shift;
        if byte & MORE == 0 || shift > 56 {
            break;
        }
        shift += 7;
    }
    Some((read >> 1) as i64 ^ -((read & 1) as i64))
}

impl<T: Numbered<N> + fmt::Debug, const N: usize> fmt::Debug for Packed<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A frame's number.
pub(super) fn number_of(frame: FrameRef) -> i64 {
    i64::from(frame.capture) << 32 | i64::from(frame.number)
}

/// The frame of that number.
pub(super) fn frame_of(number: i64) -> FrameRef {
    FrameRef { capture: (number >> 32) as u16, number: number as u32 }
}

impl Numbered<2> for (FrameRef, Timestamp) {
    fn numbers(&self) -> [i64; 2] {
        [number_of(self.0), self.1.nanos()]
    }

    fn of([frame, at]: [i64; 2]) -> (FrameRef, Timestamp) {
        (frame_of(frame), Timestamp::from_nanos(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(items: Vec<(u16, u32, i64)>) {
            let frame = |(capture, number, nanos)| (FrameRef { capture, number }, Timestamp::from_nanos(nanos));
            let items: Vec<(FrameRef, Timestamp)> = items.into_iter().map(frame).collect();
            let mut list = Packed::default();
            items.iter().for_each(|item| list.push(item));
            prop_assert_eq!(list.len(), items.len());
            prop_assert_eq!(list.is_empty(), items.is_empty());
            prop_assert!(list.iter().eq(items.iter().copied()));
            list.change(|(frame, _)| frame.number ^= 1);
            prop_assert!(list.iter().zip(&items).all(|(new, old)| new.0.number == old.0.number ^ 1 && new.1 == old.1));
        }
    }

    #[test]
    fn items_that_lie_close_together_take_few_bytes() {
        let mut list = Packed::default();
        for n in 0..10 {
            let at = Timestamp::from_nanos(1_700_000_000_000_000_000 + i64::from(n) * 1_000_000);
            list.push(&(FrameRef { capture: 0, number: 1000 + n }, at));
        }
        assert!(list.bytes.len() <= 64, "{}", list.bytes.len());
    }
}
