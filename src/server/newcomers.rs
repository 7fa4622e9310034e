//! How many there may be who have not said yet who they are: the bound that a reconnect storm meets.
//!
//! Owns the counts of sessions from their handshake to their first accepted CONNECT, by core and by address. What one
//! too many is answered is `http`'s.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::admission::{AddressPass, Limit, Pass};
use crate::ids::CoreId;

/// The places for newcomers, shared by all cores. A full one concerns nobody who is in already.
#[derive(Debug)]
pub(crate) struct Newcomers {
    cores: Arc<Limit<CoreId>>,
    /// Sessions of long-polling need no connection of their own, so the limit of connections does not hold them.
    addresses: Arc<Limit<IpAddr>>,
}

/// One newcomer's place, until it is dropped: when the CONNECT is accepted, or with the session.
#[derive(Debug)]
pub(crate) struct Newcomer {
    _core: Pass<CoreId>,
    _address: AddressPass,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crowded {
    /// The core has as many newcomers as it takes at a time.
    Core,
    /// One address has as many as one may.
    Address,
}

impl Crowded {
    /// A label for counters.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Core => "storm",
            Self::Address => "address",
        }
    }
}

impl Newcomers {
    pub(crate) fn new(per_core: Option<NonZeroU32>, per_address: Option<NonZeroU32>) -> Self {
        Self { cores: Limit::new(per_core), addresses: Limit::new(per_address) }
    }

    /// A place for one more.
    pub(crate) fn admit(&self, core: CoreId, address: IpAddr) -> Result<Newcomer, Crowded> {
        // The address first: those whom it refuses take no place from others for even a moment.
        let address = self.addresses.admit(&address).ok_or(Crowded::Address)?;
        let core = self.cores.admit(&core).ok_or(Crowded::Core)?;
        Ok(Newcomer { _core: core, _address: address })
    }

    /// How many there are now; 0 without a limit per core, because then nothing is counted.
    pub(crate) fn count(&self) -> u64 {
        self.cores.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn r1_one_address_cannot_take_every_place_of_a_core() {
        let newcomers = Newcomers::new(NonZeroU32::new(3), NonZeroU32::new(2));
        let held: Vec<_> = (0..2).map(|_| newcomers.admit(CoreId(0), ONE).unwrap()).collect();
        assert_eq!(newcomers.admit(CoreId(0), ONE).unwrap_err(), Crowded::Address);
        assert_eq!(newcomers.admit(CoreId(1), ONE).unwrap_err(), Crowded::Address, "on whichever core");
        let third = newcomers.admit(CoreId(0), OTHER).unwrap();
        assert_eq!(newcomers.admit(CoreId(0), OTHER).unwrap_err(), Crowded::Core);
        assert_eq!(newcomers.count(), 3, "who is refused takes no place");
        drop(third);
        assert!(newcomers.admit(CoreId(0), OTHER).is_ok());
        drop(held);
        assert_eq!(newcomers.count(), 0);
    }
}
