//! The structure side of a store: who belongs where, and how far each has received and read.
//!
//! Owns the choice between PostgreSQL and the embedded file. Knows nothing of messages.
//!
//! The file blocks whoever asks it. Most who ask are lanes, which have threads of their own; what the drivers' tasks ask
//! as well gives the thread's other tasks away meanwhile, so that one database's sockets do not wait for another's disk.

mod embedded;
mod postgres;

use tokio::task::block_in_place;

use super::Seat;
use super::fault::Fault;
use super::reader::Reader;
use crate::auth::revocations::Revocation;
#[cfg(doc)]
use crate::auth::revocations::Revocations;
use crate::ids::{RoomId, Timestamp, UserId};

pub(super) use embedded::Embedded;
pub use postgres::PostgresSettings;
pub(super) use postgres::{NotEdited, Postgres};

/// What somebody else changed in the memberships.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// They are a member now.
    Added(Seat),
    /// They are not any more.
    Removed(Seat),
    /// Changes may have been missed: everything that is believed is to be asked again.
    Missed,
}

/// Which of a reader's single receipts are asked for. Somebody who reads one by one above a message that stays unread
/// has ever more of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Singles<'a> {
    /// The newest, as many as counting unread messages looks at.
    Newest,
    /// What raising the watermarks looks at, and those of these messages, given as the seat's index and the seq.
    Lowest(&'a [(usize, i64)]),
}

/// Where the structure is.
#[derive(Debug)]
pub(super) enum Structure {
    Postgres(Box<Postgres>),
    Embedded(Box<Embedded>),
}

impl Structure {
    /// Brings the side up if it is not: connects, migrates, adds the members of the settings. Cheap once it succeeded.
    pub(super) async fn ready(&self) -> Result<(), Fault> {
        match self {
            Self::Postgres(postgres) => postgres.ready().await,
            Self::Embedded(embedded) => block_in_place(|| embedded.ready()),
        }
    }

    /// Asks for a sign of life: the number of the list of revocations, which is another when that is.
    pub(super) async fn ping(&self) -> Result<i64, Fault> {
        match self {
            Self::Postgres(postgres) => postgres.ping().await,
            Self::Embedded(embedded) => block_in_place(|| embedded.ping()),
        }
    }

    /// The tokens that are believed no more, newest first, at most [`Revocations::MOST`].
    pub(super) async fn revocations(&self) -> Result<Vec<Revocation>, Fault> {
        match self {
            Self::Postgres(postgres) => postgres.revocations().await,
            Self::Embedded(embedded) => block_in_place(|| embedded.revocations()),
        }
    }

    /// For each seat whether the user is a member, in one query.
    pub(super) async fn are_members(&self, seats: &[Seat]) -> Result<Vec<bool>, Fault> {
        match self {
            Self::Postgres(postgres) => postgres.are_members(seats).await,
            Self::Embedded(embedded) => block_in_place(|| embedded.are_members(seats)),
        }
    }

    /// Makes the user a member of a conversation that is open to everybody, creating it if there is none. `false` when
    /// it is closed, or the side has no open conversations.
    pub(super) async fn enter(&self, seat: &Seat) -> Result<bool, Fault> {
        match self {
            Self::Postgres(postgres) => postgres.enter(seat).await,
            Self::Embedded(embedded) => embedded.enter(seat),
        }
    }

    /// The user's conversations, most recently joined first, at most [`MAX_CONVERSATIONS`](super::MAX_CONVERSATIONS).
    pub(super) async fn conversations(&self, user: &UserId) -> Result<Vec<RoomId>, Fault> {
        match self {
            Self::Postgres(postgres) => postgres.conversations(user).await,
            Self::Embedded(embedded) => embedded.conversations(user),
        }
    }

    /// How far each user is with the room, in one query; a default [`Reader`] where nothing is stored. Of the single
    /// receipts, what `which` asks for.
    pub(super) async fn readers(&self, seats: &[Seat], which: Singles<'_>) -> Result<Vec<Reader>, Fault> {
        match self {
            Self::Postgres(postgres) => postgres.readers(seats, which).await,
            Self::Embedded(embedded) => embedded.readers(seats, which),
        }
    }

    /// Stores how far each user is with the room, and these single receipts besides those that are stored, all in one
    /// transaction. Nothing goes back; done again it changes nothing.
    pub(super) async fn save_readers(&self, readers: &[(Seat, Reader)], now: Timestamp) -> Result<(), Fault> {
        match self {
            Self::Postgres(postgres) => postgres.save_readers(readers, now).await,
            Self::Embedded(embedded) => embedded.save_readers(readers, now),
        }
    }

    /// Waits for the next change that somebody made to the memberships, here or elsewhere. The first answer, and the
    /// first after every interruption, is [`Change::Missed`]. One caller at a time.
    pub(super) async fn next_change(&self) -> Change {
        match self {
            Self::Postgres(postgres) => postgres.next_change().await,
            Self::Embedded(embedded) => embedded.next_change().await,
        }
    }
}
