//! The caps of replies that are held back: one in all, and one for each address whose clients have no certificate, so
//! that a stranger cannot take all places of those who belong. A table, no I/O.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limit_log::Limit;

/// The places for held-back replies.
#[derive(Debug)]
pub(super) struct HeldPlaces {
    max: usize,
    per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    uncertified: HashMap<IpAddr, usize>,
}

/// One place; given back when dropped.
#[derive(Debug)]
pub(super) struct HeldPlace {
    places: Arc<HeldPlaces>,
    address: Option<IpAddr>,
}

impl HeldPlaces {
    pub(super) fn new(max: usize, per_address: usize) -> Self {
        Self { max, per_address, taken: Mutex::default() }
    }

    /// A place; `address` is the one of a client without a certificate.
    pub(super) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Result<HeldPlace, Limit> {
        let mut taken = self.taken();
        if taken.all >= self.max {
            return Err(Limit::Held);
        }
        if let Some(address) = address {
            if taken.uncertified.get(&address).copied().unwrap_or_default() >= self.per_address {
                return Err(Limit::HeldPerAddress);
            }
            *taken.uncertified.entry(address).or_default() += 1;
        }
        taken.all += 1;
        Ok(HeldPlace { places: Arc::clone(self), address })
    }

    pub(super) fn per_address(&self) -> usize {
        self.per_address
    }

    pub(super) fn len(&self) -> usize {
        self.taken().all
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldPlace {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(address) = self.address
            && let Some(of_address) = taken.uncertified.get_mut(&address)
        {
            *of_address -= 1;
            if *of_address == 0 {
                taken.uncertified.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn strangers_leave_places_for_those_who_belong() {
        let places = Arc::new(HeldPlaces::new(4, 2));
        let of_a = [places.take(Some(A)).unwrap(), places.take(Some(A)).unwrap()];
        assert_eq!(places.take(Some(A)).unwrap_err(), Limit::HeldPerAddress);
        let others = [places.take(Some(B)).unwrap(), places.take(None).unwrap()];
        assert_eq!(places.take(None).unwrap_err(), Limit::Held);
        assert_eq!(places.take(Some(A)).unwrap_err(), Limit::Held);
        drop(of_a);
        assert_eq!(places.len(), 2);
        let again = places.take(Some(A)).unwrap();
        drop((others, again));
        assert_eq!((places.len(), places.taken().uncertified.len()), (0, 0), "nothing is left behind");
    }
}
