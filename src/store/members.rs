//! Editing memberships from the command line, while the server runs or not.
//!
//! Owns a connection of its own to where the structure is. A running server learns of an edit within a second.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tokio::runtime::Runtime;

use super::sqlite::{membership, schema};
use super::stamp::Stamps;
use super::structure::{NotEdited, Postgres};
use super::{PostgresSettings, StoreError};
use crate::ids::{RoomId, UserId};

/// The memberships of a structure.
#[derive(Debug)]
pub struct Members(Place);

#[derive(Debug)]
enum Place {
    File { connection: Connection, path: PathBuf },
    Postgres { runtime: Runtime, postgres: Box<Postgres> },
}

impl Members {
    /// Opens the file of [`StoreKind::Sqlite`](super::StoreKind::Sqlite), or makes it, so that members can be added
    /// before the first start.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        schema::make_directory(path)?;
        Ok(Self(Place::File { connection: schema::connect(path)?, path: path.into() }))
    }

    /// Takes the tables of a PostgreSQL database, made if they are missing. It is reached with the first edit.
    ///
    /// # Errors
    /// [`StoreError::Thread`] when the system has no descriptors left.
    pub fn in_postgres(settings: PostgresSettings) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(StoreError::Thread)?;
        Ok(Self(Place::Postgres { runtime, postgres: Box::new(Postgres::new(settings, false, &[])) }))
    }

    /// Makes users members of a conversation, which is created closed if it is missing. Returns those who were not
    /// members before. All or nothing.
    ///
    /// # Errors
    /// [`StoreError::Edit`] when the file cannot be written, or is held by somebody else for 5 s;
    /// [`StoreError::EditDatabase`] when the database did not do it.
    pub fn add(&mut self, room: &RoomId, users: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        match &mut self.0 {
            Place::File { connection, path } => {
                let now = Stamps::new()?.now();
                let added = membership::add_all(connection, users.iter().map(|user| (room, user)), now);
                Ok(changed(users, &added.map_err(|source| failed(path, source))?))
            }
            Place::Postgres { runtime, postgres } => Ok(runtime.block_on(postgres.add_members(room, users))?),
        }
    }

    /// Ends the membership of users. Returns those who were members. All or nothing.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn remove(&mut self, room: &RoomId, users: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        match &mut self.0 {
            Place::File { connection, path } => {
                let removed = membership::remove_all(connection, room, users);
                Ok(changed(users, &removed.map_err(|source| failed(path, source))?))
            }
            Place::Postgres { runtime, postgres } => Ok(runtime.block_on(postgres.remove_members(room, users))?),
        }
    }

    /// The members of a conversation in the order of their ids; `None` when there is no such conversation.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn list(&self, room: &RoomId) -> Result<Option<Vec<UserId>>, StoreError> {
        match &self.0 {
            Place::File { connection, path } => {
                let members = membership::list(connection, room).map_err(|source| failed(path, source))?;
                Ok(members.map(|members| members.iter().filter_map(|user| UserId::from_text(user).ok()).collect()))
            }
            Place::Postgres { runtime, postgres } => Ok(runtime.block_on(postgres.list_members(room))?),
        }
    }
}

fn failed(path: &Path, source: rusqlite::Error) -> StoreError {
    StoreError::Edit { path: path.into(), source }
}

impl From<NotEdited> for StoreError {
    fn from(error: NotEdited) -> Self {
        Self::EditDatabase(error.to_string())
    }
}

/// Those of the users for whom something changed.
fn changed(users: &[UserId], changes: &[bool]) -> Vec<UserId> {
    users.iter().zip(changes).filter(|(_, changed)| **changed).map(|(user, _)| user.clone()).collect()
}
