//! Hash maps of this room: seeded, so that a crafted capture cannot flood them, and quicker than the standard ones.

use foldhash::fast::RandomState;

pub(super) type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
pub(super) type HashSet<K> = std::collections::HashSet<K, RandomState>;
