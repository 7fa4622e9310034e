//! Why a side of a store did not do what it was asked, and so whether asking again can help.

use crate::chat::effect::Refusal;

/// What the databases' sides answer instead of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// Not reached, or no answer in time: what was asked may or may not have been done. Asked again, it is done once.
    #[error("{0}")]
    Down(&'static str),
    /// Its disk is full; nothing was done.
    #[error("the disk is full")]
    Full,
    /// It answered that it will not do this, and would again. Our fault; it is logged where it is found.
    #[error("the store refused")]
    Refused,
}

impl Fault {
    /// What a client is told when nothing more is tried.
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Down(_) => Refusal::Unavailable,
            Self::Full => Refusal::StorageFull,
            Self::Refused => Refusal::Internal,
        }
    }
}
