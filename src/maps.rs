//! Hash maps: seeded, so that a crafted capture cannot flood them, and quicker than the standard ones.

use foldhash::fast::RandomState;
use foldhash::quality;
use std::hash::{BuildHasher, Hash};
use std::sync::LazyLock;

pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
pub(crate) type HashSet<K> = std::collections::HashSet<K, RandomState>;

/// What stands for a value that need not be kept: equal values have equal hashes, within this process only.
pub(crate) fn hash(value: impl Hash) -> u64 {
    static SEED: LazyLock<quality::RandomState> = LazyLock::new(quality::RandomState::default);
    SEED.hash_one(value)
}
