//! Who may have a connection, and who has to go for it. A table, no I/O.
//!
//! A connection is *quiet* while it has not sent a whole request, and again once it has its reply; quiet ones can be
//! sent away to make room, oldest first. Between the two it is *busy* and stays.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::limit_log::Limit;

/// Names a connection; later connections have greater ones.
pub(super) type Id = u64;

/// The connections that count. `W` is what wakes a connection that has to go.
#[derive(Debug)]
pub(super) struct Slots<W> {
    max: usize,
    per_address: usize,
    next: Id,
    open: HashMap<Id, Slot<W>>,
    quiet: BTreeSet<Id>,
    addresses: HashMap<IpAddr, Vec<Id>>,
}

#[derive(Debug)]
struct Slot<W> {
    address: IpAddr,
    wake: W,
}

/// What became of a connection that asked for a slot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission<W> {
    /// It has one, and this one has to go for it.
    Admitted { id: Id, instead_of: Option<W> },
    /// All slots are busy.
    Full,
    /// All slots of its address are busy.
    AddressFull,
}

impl<W: Clone> Slots<W> {
    pub(super) fn new(max: usize, per_address: usize) -> Self {
        Self { max, per_address, next: 0, open: HashMap::new(), quiet: BTreeSet::new(), addresses: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// How many addresses the connections come from.
    pub(super) fn addresses(&self) -> usize {
        self.addresses.len()
    }

    pub(super) fn per_address(&self) -> usize {
        self.per_address
    }

    /// The limit that a newcomer from this address meets.
    pub(super) fn limit_for(&self, address: IpAddr) -> Option<Limit> {
        let of_address = self.addresses.get(&address).map_or(0, Vec::len);
        if of_address >= self.per_address {
            Some(Limit::ConnectionsPerAddress)
        } else if self.open.len() >= self.max {
            Some(Limit::Connections)
        } else {
            None
        }
    }

    /// Gives a new, quiet connection a slot if there is or can be one.
    pub(super) fn admit(&mut self, address: IpAddr, wake: W) -> Admission<W> {
        let victim = match self.limit_for(address) {
            Some(Limit::ConnectionsPerAddress) => {
                let ids = self.addresses.get(&address).into_iter().flatten().copied();
                match ids.filter(|id| self.quiet.contains(id)).min() {
                    Some(id) => Some(id),
                    None => return Admission::AddressFull,
                }
            }
            Some(_) => match self.quiet.first() {
                Some(&id) => Some(id),
                None => return Admission::Full,
            },
            None => None,
        };
        let instead_of = victim.and_then(|id| self.release(id));
        let id = self.next;
        self.next += 1;
        self.open.insert(id, Slot { address, wake });
        self.quiet.insert(id);
        self.addresses.entry(address).or_default().push(id);
        Admission::Admitted { id, instead_of }
    }

    /// The connection has sent its request. False if it lost its slot before.
    pub(super) fn busy(&mut self, id: Id) -> bool {
        self.quiet.remove(&id)
    }

    /// The connection has its reply.
    pub(super) fn quiet(&mut self, id: Id) {
        if self.open.contains_key(&id) {
            self.quiet.insert(id);
        }
    }

    /// Takes the slot back; `None` if it was taken before.
    pub(super) fn release(&mut self, id: Id) -> Option<W> {
        let slot = self.open.remove(&id)?;
        self.quiet.remove(&id);
        if let Some(ids) = self.addresses.get_mut(&slot.address) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.addresses.remove(&slot.address);
            }
        }
        Some(slot.wake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    /// T7: the oldest connection without a whole request goes first.
    #[test]
    fn the_oldest_quiet_one_goes() {
        let mut slots = Slots::new(3, 3);
        for name in ["a", "b", "c"] {
            assert!(matches!(slots.admit(A, name), Admission::Admitted { instead_of: None, .. }));
        }
        assert!(slots.busy(0));
        assert_eq!(slots.admit(B, "d"), Admission::Admitted { id: 3, instead_of: Some("b") });
        assert!(!slots.busy(1), "it lost its slot");
        assert!(slots.busy(2) && slots.busy(3));
        assert_eq!(slots.admit(B, "e"), Admission::Full);
        assert_eq!(slots.limit_for(B), Some(Limit::Connections));
        slots.quiet(0);
        assert_eq!(slots.admit(B, "e"), Admission::Admitted { id: 4, instead_of: Some("a") });
        assert_eq!(slots.len(), 3);
    }

    #[test]
    fn one_address_only_displaces_its_own() {
        let mut slots = Slots::new(10, 2);
        assert!(matches!(slots.admit(B, "b"), Admission::Admitted { id: 0, .. }));
        for _ in 0..2 {
            slots.admit(A, "a");
        }
        assert_eq!(slots.admit(A, "a"), Admission::Admitted { id: 3, instead_of: Some("a") });
        assert!(slots.busy(2) && slots.busy(3));
        assert_eq!(slots.admit(A, "a"), Admission::AddressFull);
        assert_eq!((slots.limit_for(A), slots.limit_for(B)), (Some(Limit::ConnectionsPerAddress), None));
        assert_eq!(slots.release(2), Some("a"));
        assert_eq!(slots.release(2), None);
        assert!(matches!(slots.admit(A, "a"), Admission::Admitted { instead_of: None, .. }));
    }

    #[test]
    fn leaves_nothing_behind() {
        let mut slots = Slots::new(4, 4);
        for round in 0..100 {
            let Admission::Admitted { id, .. } = slots.admit(A, round) else { panic!("full") };
            slots.busy(id);
            slots.quiet(id);
            slots.release(id);
            slots.quiet(id);
        }
        assert_eq!((slots.len(), slots.quiet.len(), slots.addresses.len()), (0, 0, 0));
    }
}
