//! Editing memberships from the command line, while the server runs or not.
//!
//! Owns a connection of its own to the embedded store's file. A running server notices the edit with its next batch.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::StoreError;
use super::sqlite::{membership, schema};
use super::stamp::Stamps;
use crate::ids::{RoomId, UserId};

/// The memberships in one SQLite file.
#[derive(Debug)]
pub struct Members {
    connection: Connection,
    path: PathBuf,
}

impl Members {
    /// Opens the file of [`StoreKind::Sqlite`](super::StoreKind::Sqlite), or makes it, so that members can be added before the first start.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        schema::make_directory(path)?;
        Ok(Self { connection: schema::connect(path)?, path: path.into() })
    }

    /// Makes users members of a conversation, which is created closed if it is missing. Returns those who were not
    /// members before. All or nothing.
    ///
    /// # Errors
    /// [`StoreError::Edit`] when the file cannot be written, or is held by somebody else for 5 s.
    pub fn add(&mut self, room: &RoomId, users: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        let now = Stamps::new()?.now();
        let added = membership::add_all(&mut self.connection, users.iter().map(|user| (room, user)), now);
        Ok(changed(users, &added.map_err(|source| self.failed(source))?))
    }

    /// Ends the membership of users. Returns those who were members. All or nothing.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn remove(&mut self, room: &RoomId, users: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        let removed = membership::remove_all(&mut self.connection, room, users);
        Ok(changed(users, &removed.map_err(|source| self.failed(source))?))
    }

    /// The members of a conversation in the order of their ids; `None` when there is no such conversation.
    ///
    /// # Errors
    /// [`StoreError::Edit`] when the file cannot be read.
    pub fn list(&self, room: &RoomId) -> Result<Option<Vec<UserId>>, StoreError> {
        let members = membership::list(&self.connection, room).map_err(|source| self.failed(source))?;
        Ok(members.map(|members| members.iter().filter_map(|user| UserId::from_text(user).ok()).collect()))
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Edit { path: self.path.clone(), source }
    }
}

/// Those of the users for whom something changed.
fn changed(users: &[UserId], changes: &[bool]) -> Vec<UserId> {
    users.iter().zip(changes).filter(|(_, changed)| **changed).map(|(user, _)| user.clone()).collect()
}
