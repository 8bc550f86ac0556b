//! Sessions by what several of them may share.

use std::borrow::Borrow;
use std::hash::Hash;

use parlour_msrp::table::{HashKeys, Table};
use smallvec::SmallVec;

use crate::io::SessionId;

/// The sessions under each key. A key without any is forgotten.
#[derive(Debug)]
pub(crate) struct Groups<K> {
    table: Table<K, SmallVec<[SessionId; 2]>>,
}

impl<K: Hash + Eq> Groups<K> {
    pub(crate) fn new(keys: HashKeys) -> Self {
        Groups { table: Table::new(keys) }
    }

    pub(crate) fn add(&mut self, key: K, id: SessionId) {
        match self.table.get_mut(&key) {
            Some(ids) => ids.push(id),
            None => {
                self.table.insert(key, SmallVec::from_slice(&[id]));
            }
        }
    }

    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q, id: SessionId)
    where
        K: Borrow<Q>,
    {
        let Some(ids) = self.table.get_mut(key) else { return };
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            self.table.remove(key);
        }
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> &[SessionId]
    where
        K: Borrow<Q>,
    {
        self.table.get(key).map_or(&[], |ids| ids.as_slice())
    }
}
