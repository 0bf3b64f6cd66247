//! Where flows stand.

use crate::event::FlowId;

/// A place for each flow id. Ids are given out in a row, so that pages serve better than hashing; of a flood of flows few are
/// ever asked for, and a page without any takes eight bytes.
#[derive(Debug, Default)]
pub(super) struct Places {
    pages: Vec<Option<Box<[u32; PAGE]>>>,
}

/// Ids on a page.
const PAGE: usize = 256;
/// No place: no list is that long.
const NOWHERE: u32 = u32::MAX;

impl Places {
    pub(super) fn set(&mut self, id: FlowId, place: u32) {
        let (page, at) = Places::split(id);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        if let Some(slot) = self.pages.get_mut(page).map(|page| page.get_or_insert_with(|| Box::new([NOWHERE; PAGE])))
            && let Some(slot) = slot.get_mut(at)
        {
            *slot = place;
        }
    }

    pub(super) fn get(&self, id: FlowId) -> Option<u32> {
        let (page, at) = Places::split(id);
        self.pages.get(page)?.as_ref()?.get(at).copied().filter(|place| *place != NOWHERE)
    }

    fn split(id: FlowId) -> (usize, usize) {
        // Flows inside tunnels have every second id: hardly any of them or all are there, so that they have pages of their own.
        let (place, is_inner) = (id.0 as usize / 2, id.0 as usize % 2);
        (place / PAGE * 2 + is_inner, place % PAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_a_place_and_those_inside_tunnels_have_pages_of_their_own() {
        let mut places = Places::default();
        let ids = || (0..4 * PAGE as u32).filter(|id| id % 2 == 0 || *id == 5);
        ids().for_each(|id| places.set(FlowId(id), 10 * id));
        assert!(ids().all(|id| places.get(FlowId(id)) == Some(10 * id)));
        assert_eq!([1, 7, 4 * PAGE as u32].map(|id| places.get(FlowId(id))), [None; 3]);
        assert_eq!(places.pages.iter().flatten().count(), 3);
    }
}
