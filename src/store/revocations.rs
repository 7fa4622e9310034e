//! Revoking tokens from the command line, while servers run or not.
//!
//! Owns a connection of its own to where the structure is. Running servers learn of it within a second.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tokio::runtime::Runtime;

use super::fault::Fault;
use super::sqlite::{revocations, schema};
use super::stamp::Stamps;
use super::structure::Postgres;
use super::{PostgresSettings, StoreError};
use crate::auth::revocations::{Revocation, Subject};
use crate::ids::Timestamp;

/// The list of a structure.
#[derive(Debug)]
pub struct RevocationList(Place);

#[derive(Debug)]
enum Place {
    File { connection: Connection, path: PathBuf },
    Postgres { runtime: Runtime, postgres: Box<Postgres> },
}

impl RevocationList {
    /// Opens the file of [`StoreKind::Sqlite`](super::StoreKind::Sqlite).
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self(Place::File { connection: schema::connect(path)?, path: path.into() }))
    }

    /// Takes the table of a PostgreSQL database, made if it is missing. It is reached with the first edit.
    ///
    /// # Errors
    /// [`StoreError::Thread`] when the system has no descriptors left.
    pub fn in_postgres(settings: PostgresSettings) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(StoreError::Thread)?;
        Ok(Self(Place::Postgres { runtime, postgres: Box::new(Postgres::new(settings, false, &[])) }))
    }

    /// Revokes what was made until now, by this machine's clock, and says when that is. `until`: when the revocation may
    /// be forgotten. One that is there already gets later, and ends no sooner than it did.
    ///
    /// # Errors
    /// [`StoreError::TooManyRevocations`]; [`StoreError::Revoke`] when the file cannot be written, or is held by somebody
    /// else for 5 s; [`StoreError::RevokeInDatabase`] when the database did not do it.
    pub fn add(&mut self, subject: Subject, until: Option<Timestamp>) -> Result<Timestamp, StoreError> {
        let at = Stamps::new()?.now();
        let revocation = Revocation { subject, at, until };
        let is_added = match &mut self.0 {
            Place::File { connection, path } => {
                revocations::add(connection, &revocation).map_err(|source| failed(path, source))?
            }
            Place::Postgres { runtime, postgres } => runtime.block_on(postgres.revoke(&revocation)).map_err(refused)?,
        };
        is_added.then_some(at).ok_or(StoreError::TooManyRevocations)
    }

    /// Takes a revocation back. Whether there was one.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn remove(&mut self, subject: &Subject) -> Result<bool, StoreError> {
        match &mut self.0 {
            Place::File { connection, path } => {
                revocations::remove(connection, subject).map_err(|source| failed(path, source))
            }
            Place::Postgres { runtime, postgres } => runtime.block_on(postgres.unrevoke(subject)).map_err(refused),
        }
    }

    /// What is revoked, newest first.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn list(&self) -> Result<Vec<Revocation>, StoreError> {
        match &self.0 {
            Place::File { connection, path } => revocations::list(connection).map_err(|source| failed(path, source)),
            Place::Postgres { runtime, postgres } => runtime.block_on(postgres.revocations()).map_err(refused),
        }
    }
}

fn failed(path: &Path, source: rusqlite::Error) -> StoreError {
    StoreError::Revoke { path: path.into(), source }
}

fn refused(fault: Fault) -> StoreError {
    StoreError::RevokeInDatabase(match fault {
        Fault::Down(reason) | Fault::Late(reason) => reason,
        Fault::Full => "the disk is full",
        Fault::Refused => "it refused; see the log",
    })
}
