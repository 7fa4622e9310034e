//! Why a side of a store did not do what it was asked, and so whether asking again can help.

use crate::chat::effect::Refusal;

/// What the databases' sides answer instead of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// Not reached: what was asked may or may not have been done. Asked again, it is done once. Others who ask now would
    /// hear the same.
    #[error("{0}")]
    Down(&'static str),
    /// No answer in time to this question; otherwise as [`Self::Down`]. Says nothing about the questions of others, unless
    /// it was for a sign of life.
    #[error("{0}")]
    Late(&'static str),
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
            Self::Down(_) | Self::Late(_) => Refusal::Unavailable,
            Self::Full => Refusal::StorageFull,
            Self::Refused => Refusal::Internal,
        }
    }

    /// What it means for a side that was asked for a sign of life.
    pub(super) fn without_patience(self) -> Self {
        match self {
            Self::Late(reason) => Self::Down(reason),
            Self::Down(_) | Self::Full | Self::Refused => self,
        }
    }
}
