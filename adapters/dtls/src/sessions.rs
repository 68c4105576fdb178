//! All associations: by name, address, Connection ID, and by when they were heard. Not here: what they do.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Instant;

use crate::association::Association;
use crate::event::Identity;

#[derive(Default)]
pub(crate) struct Sessions {
    by_id: HashMap<u64, Association>,
    /// Those without a Connection ID of ours, which their address alone tells apart.
    by_address: HashMap<SocketAddr, u64>,
    by_cid: HashMap<u64, u64>,
    /// The last one with a Connection ID at an address: to find a device that begins anew.
    cid_at: HashMap<SocketAddr, u64>,
    /// The one that was silent longest first.
    order: BTreeMap<u64, u64>,
    turn: u64,
}

impl Sessions {
    pub(crate) fn insert(&mut self, id: u64, mut association: Association) {
        self.turn += 1;
        association.turn = self.turn;
        self.order.insert(self.turn, id);
        match association.own_cid {
            Some(cid) => {
                self.by_cid.insert(cid, id);
                self.cid_at.insert(association.peer, id);
            }
            None => {
                self.by_address.insert(association.peer, id);
            }
        }
        self.by_id.insert(id, association);
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Association> {
        let association = self.by_id.remove(&id)?;
        self.order.remove(&association.turn);
        if let Some(cid) = association.own_cid {
            self.by_cid.remove(&cid);
        }
        for at in [&mut self.by_address, &mut self.cid_at] {
            if at.get(&association.peer) == Some(&id) {
                at.remove(&association.peer);
            }
        }
        Some(association)
    }

    /// Notes that the device was heard.
    pub(crate) fn heard(&mut self, id: u64, now: Instant) {
        let Some(association) = self.by_id.get_mut(&id) else { return };
        self.turn += 1;
        self.order.remove(&association.turn);
        self.order.insert(self.turn, id);
        association.turn = self.turn;
        association.last = now;
    }

    /// Moves an association with a Connection ID; others do not move.
    pub(crate) fn relocate(&mut self, id: u64, to: SocketAddr) {
        let Some(association) = self.by_id.get_mut(&id) else { return };
        if self.cid_at.get(&association.peer) == Some(&id) {
            self.cid_at.remove(&association.peer);
        }
        association.peer = to;
        self.cid_at.insert(to, id);
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Association> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Association> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn at_address(&self, address: SocketAddr) -> Option<u64> {
        self.by_address.get(&address).copied()
    }

    pub(crate) fn with_cid(&self, cid: u64) -> Option<u64> {
        self.by_cid.get(&cid).copied()
    }

    pub(crate) fn with_cid_at(&self, address: SocketAddr) -> Option<u64> {
        self.cid_at.get(&address).copied()
    }

    /// The one that was silent longest.
    pub(crate) fn oldest(&self) -> Option<(u64, Instant)> {
        let (_, id) = self.order.first_key_value()?;
        self.by_id.get(id).map(|association| (*id, association.last))
    }

    pub(crate) fn of(&self, identity: &Identity) -> Vec<u64> {
        self.iter().filter(|(_, association)| association.identity == *identity).map(|(id, _)| id).collect()
    }

    /// All, the one that was silent longest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Association)> {
        self.order.values().filter_map(|id| Some((*id, self.by_id.get(id)?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}
