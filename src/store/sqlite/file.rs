//! The file as one side of a store of two: a connection that reads and writes, and what its failures mean.
//!
//! Knows nothing of what is in it. Calls block. A failed write or sync ends writing for good, as in the
//! [embedded store](super); reading goes on.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{Blame, schema};
use crate::chat::effect::Refusal;
use crate::store::fault::Fault;

/// See the module's text.
#[derive(Debug)]
pub(in crate::store) struct OpenFile {
    connection: Connection,
    /// What it is used for, for the log.
    what: &'static str,
    /// Why nothing is written any more.
    broken: Option<&'static str>,
}

/// A panic elsewhere leaves no half-done work behind: SQLite rolls back what is not committed.
pub(in crate::store) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpenFile {
    /// Over a connection from [`schema::connect`].
    pub(in crate::store) fn new(connection: Connection, what: &'static str) -> Self {
        Self { connection, what, broken: None }
    }

    /// Whether the file can still be written.
    pub(in crate::store) fn writable(&self) -> Result<(), Fault> {
        self.broken.map_or(Ok(()), |reason| Err(Fault::Down(reason)))
    }

    /// Asks of one snapshot.
    pub(in crate::store) fn read<T>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        let answer = self.connection.unchecked_transaction().and_then(|snapshot| question(&snapshot));
        answer.map_err(|error| match Blame::of(&error) {
            Blame::Batch(_, reason) | Blame::File(reason) => Fault::Down(reason),
            Blame::Record => self.refused(&error),
        })
    }

    /// Works in one transaction, which is synced when this returns.
    pub(in crate::store) fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        self.writable()?;
        let behavior = TransactionBehavior::Immediate;
        let done = self.connection.transaction_with_behavior(behavior).and_then(|transaction| {
            let done = work(&transaction)?;
            transaction.commit().map(|()| done)
        });
        let done = done.map_err(|error| self.failed(&error))?;
        if let Err(error) = schema::shorten_log(&self.connection) {
            match Blame::of(&error) {
                Blame::File(_) => drop(self.failed(&error)),
                Blame::Batch(..) | Blame::Record => {
                    tracing::warn!(%error, "the write-ahead log could not be copied into the database");
                }
            }
        }
        Ok(done)
    }

    pub(in crate::store) fn failed(&mut self, error: &rusqlite::Error) -> Fault {
        match Blame::of(error) {
            Blame::Batch(Refusal::StorageFull, _) => Fault::Full,
            Blame::Batch(_, reason) => Fault::Down(reason),
            Blame::File(reason) => {
                let what = self.what;
                tracing::error!(reason, "{what} are read-only from now on; check the disk, then start anew");
                self.broken = Some(reason);
                schema::keep_log_on_close(&self.connection);
                Fault::Down(reason)
            }
            Blame::Record => self.refused(error),
        }
    }

    /// For tests that make it fail.
    #[cfg(test)]
    pub(in crate::store) fn connection(&self) -> &Connection {
        &self.connection
    }

    fn refused(&self, error: &rusqlite::Error) -> Fault {
        let what = self.what;
        tracing::error!(code = ?error.sqlite_error_code(), "the embedded file refused a question about {what}");
        Fault::Refused
    }
}
