//! Lists of hardly any items, of one, or of none: there are many such lists, and each takes as much room as it holds.

use std::ops::{Deref, DerefMut};

/// The list; every change moves it to where it fits, so that it must be short.
#[derive(Clone, Debug)]
pub struct Few<T>(Box<[T]>);

impl<T> Few<T> {
    /// Adds an item at the end.
    pub fn push(&mut self, item: T) {
        self.extend([item]);
    }

    /// Takes the item at that place out, which there must be.
    pub fn remove(&mut self, place: usize) {
        let mut list = std::mem::take(&mut self.0).into_vec();
        list.remove(place);
        self.0 = list.into_boxed_slice();
    }

    /// Adds items at the end.
    pub fn extend(&mut self, items: impl IntoIterator<Item = T>) {
        let items = items.into_iter();
        // Room made anew costs half of what room that grows does, which moves as well.
        let mut list = Vec::with_capacity(self.len() + items.size_hint().0);
        list.append(&mut std::mem::take(&mut self.0).into_vec());
        list.extend(items);
        self.0 = list.into_boxed_slice();
    }
}

impl<T> Default for Few<T> {
    fn default() -> Few<T> {
        Few(Box::default())
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(list: Vec<T>) -> Few<T> {
        Few(list.into_boxed_slice())
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

/// A list of one item nearly everywhere, which lies in it: whoever walks many such lists waits for each that lies elsewhere.
#[derive(Clone, Debug)]
pub enum Sole<T> {
    /// The one.
    One(T),
    /// None, or several.
    Others(Few<T>),
}

impl<T> Sole<T> {
    /// Adds an item at the end.
    pub fn push(&mut self, item: T) {
        match self.is_empty() {
            true => *self = Sole::One(item),
            false => self.extend([item]),
        }
    }

    /// Takes the item at that place out, which there must be.
    pub fn remove(&mut self, place: usize) {
        self.change(|list| drop(list.remove(place)));
    }

    /// Adds items at the end.
    pub fn extend(&mut self, items: impl IntoIterator<Item = T>) {
        self.change(|list| list.extend(items));
    }

    fn change(&mut self, change: impl FnOnce(&mut Vec<T>)) {
        let mut list = std::mem::take(self).into_iter().collect();
        change(&mut list);
        *self = list.into();
    }
}

impl<T> Default for Sole<T> {
    fn default() -> Sole<T> {
        Sole::Others(Few::default())
    }
}

impl<T> From<Vec<T>> for Sole<T> {
    fn from(mut list: Vec<T>) -> Sole<T> {
        match list.pop() {
            Some(item) if list.is_empty() => Sole::One(item),
            last => {
                list.extend(last);
                Sole::Others(list.into())
            }
        }
    }
}

impl<T> Deref for Sole<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Sole::One(item) => std::slice::from_ref(item),
            Sole::Others(few) => few,
        }
    }
}

impl<T> DerefMut for Sole<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Sole::One(item) => std::slice::from_mut(item),
            Sole::Others(few) => few,
        }
    }
}

impl<T> IntoIterator for Sole<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, others) = match self {
            Sole::One(item) => (Some(item), Few::default()),
            Sole::Others(few) => (None, few),
        };
        one.into_iter().chain(others)
    }
}

/// A list that is empty nearly everywhere, and takes no more than a pointer then.
#[derive(Clone, Debug)]
pub struct Rare<T>(Option<Box<Held<T>>>);

#[derive(Clone, Debug)]
struct Held<T>(Vec<T>);

impl<T> Rare<T> {
    /// Adds an item at the end.
    pub fn push(&mut self, item: T) {
        self.extend([item]);
    }

    /// Adds items at the end.
    pub fn extend(&mut self, items: impl IntoIterator<Item = T>) {
        let mut items = items.into_iter();
        let Some(first) = items.next() else { return };
        let Held(list) = &mut **self.0.get_or_insert_with(|| Box::new(Held(Vec::with_capacity(1))));
        // Hardly one has several, and they are large.
        if list.len() == list.capacity() {
            list.reserve_exact(list.len() / 2 + 1);
        }
        list.push(first);
        list.extend(items);
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Rare<T> {
        Rare(None)
    }
}

impl<T> From<Vec<T>> for Rare<T> {
    fn from(list: Vec<T>) -> Rare<T> {
        Rare((!list.is_empty()).then(|| Box::new(Held(list))))
    }
}

impl<T> Deref for Rare<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_ref().map_or(&[], |held| &held.0)
    }
}

impl<T> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.0.as_mut().map_or(&mut [], |held| &mut held.0)
    }
}

impl<T> IntoIterator for Rare<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.map_or_else(Vec::new, |held| held.0).into_iter()
    }
}

/// Whoever walks such a list by reference walks a slice.
macro_rules! walk_as_slice {
    ($($list:ident),*) => {$(
        impl<'a, T> IntoIterator for &'a $list<T> {
            type Item = &'a T;
            type IntoIter = std::slice::Iter<'a, T>;

            fn into_iter(self) -> Self::IntoIter {
                self.iter()
            }
        }

        impl<'a, T> IntoIterator for &'a mut $list<T> {
            type Item = &'a mut T;
            type IntoIter = std::slice::IterMut<'a, T>;

            fn into_iter(self) -> Self::IntoIter {
                self.iter_mut()
            }
        }
    )*};
}

walk_as_slice!(Few, Sole, Rare);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_stand_in_the_order_they_came() {
        let mut list = Few::default();
        (0..5).for_each(|item| list.push(item));
        list.remove(1);
        list.iter_mut().for_each(|item| *item += 10);
        assert_eq!(*list, [10, 12, 13, 14]);
        assert!((&list).into_iter().eq(&[10, 12, 13, 14]));
        assert_eq!(size_of_val(&list), 16);
    }

    #[test]
    fn a_sole_item_lies_in_its_list() {
        let mut list = Sole::default();
        assert!(list.is_empty());
        list.push(Box::new(1));
        assert!(matches!(list, Sole::One(_)) && size_of_val(&list) == 16);
        list.extend([2, 3].map(Box::new));
        list.iter_mut().for_each(|item| **item += 10);
        assert!((&list).into_iter().map(|item| **item).eq([11, 12, 13]));
        list.remove(1);
        list.remove(0);
        assert!(matches!(&list, Sole::One(item) if **item == 13));
        assert!(list.into_iter().map(|item| *item).eq([13]));
        assert!(matches!(Sole::from(vec![1, 2]), Sole::Others(_)));
    }

    #[test]
    fn a_rare_list_takes_a_pointer() {
        let mut list = Rare::default();
        assert!(list.is_empty() && size_of_val(&list) == 8);
        list.push(1);
        list.extend([2, 3]);
        list.iter_mut().for_each(|item| *item += 10);
        assert_eq!(*list, [11, 12, 13]);
        assert!((&list).into_iter().eq(&[11, 12, 13]) && list.into_iter().eq([11, 12, 13]));
    }
}
