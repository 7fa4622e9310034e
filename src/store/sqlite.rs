//! The embedded store: one SQLite file, one connection that writes, one transaction a batch.
//!
//! Owns the transaction and what its failure means. A batch has no shared fate: a record that SQLite refuses fails
//! alone; a full disk or a locked file refuses the writes of the batch and nothing is acknowledged, reads are served
//! all the same; a failed write or fsync ends writing for good, because the pages that the kernel dropped cannot be
//! synced by trying again. Commits are synced (WAL with `synchronous=FULL`), so an outcome means "on disk".
//!
//! A commit whose sync failed was refused and is not seen, yet the log may bring it back after a restart; a resend
//! with the same `clientMsgId` then finds it.
//!
//! What a record does inside the transaction is told in [`messages`], [`receipts`] and [`membership`].

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::stamp::Stamps;
use super::{Health, News, Seat, StoreError};
use crate::chat::effect::{Committed, RecordBody, Refusal};
use crate::ids::{RoomId, UserId};

pub(super) mod changes;
pub(super) mod file;
pub(super) mod membership;
pub(super) mod messages;
pub(super) mod readers;
pub(super) mod receipts;
pub(super) mod revocations;
pub(super) mod schema;
#[cfg(test)]
mod tests;

use membership::MemberCache;

/// How often edits of the members and revocations by another process are looked for. A look is a step in two indexes.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The open database of the one server that holds its lock.
#[derive(Debug)]
pub(super) struct Sqlite {
    connection: Connection,
    /// After the connection: it is closed first, then the next server may come.
    _lock: ServerLock,
    open_rooms: bool,
    stamps: Stamps,
    members: MemberCache,
    /// The latest edit of the members that was looked at, and when it was looked for.
    edits_seen: (i64, Instant),
    /// The number of the list of revocations that was told last.
    revocations_told: Option<i64>,
    revocations_unread: bool,
    health: Health,
}

/// How a batch is tried.
#[derive(Clone, Copy, Debug)]
enum Plan {
    /// As cheaply as possible.
    Together,
    /// A record failed: the same again, each record undone by itself if it fails.
    OneByOne,
    /// Nothing can be written: what only reads is answered, the rest is refused.
    ReadOnly(Refusal),
}

/// Who is to blame for an error of SQLite, and so what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// This record alone.
    Record,
    /// The moment: nothing of the batch can be written now.
    Batch(Refusal, &'static str),
    /// The file or the disk: nothing must be written any more.
    File(&'static str),
}

impl Blame {
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Batch(Refusal::StorageFull, "the disk is full"),
            Some(ErrorCode::SystemIoFailure) => Self::File("writing or syncing the database failed"),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::File("the database is damaged"),
            Some(ErrorCode::ReadOnly) => Self::File("the database cannot be written"),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
                Self::Batch(Refusal::Unavailable, "another process holds the database")
            }
            Some(ErrorCode::OutOfMemory | ErrorCode::CannotOpen | ErrorCode::OperationInterrupted) => {
                Self::Batch(Refusal::Unavailable, "the system is short of memory or files")
            }
            _ => Self::Record,
        }
    }

    /// An error outside of any record.
    fn of_transaction(error: &rusqlite::Error) -> Self {
        match Self::of(error) {
            Self::Record => Self::Batch(Refusal::Unavailable, "the transaction was refused"),
            blame => blame,
        }
    }
}

/// Why a record came to nothing.
#[derive(Debug, thiserror::Error)]
enum Fault {
    /// By the rules; nothing was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// By SQLite.
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
}

/// One attempt at one batch, inside its transaction.
#[derive(Debug)]
struct Attempt<'a> {
    connection: &'a Connection,
    stamps: &'a mut Stamps,
    members: &'a mut MemberCache,
    open_rooms: bool,
    plan: Plan,
}

impl Sqlite {
    /// Opens or makes the file, alone among servers.
    pub(super) fn open(path: &Path, open_rooms: bool, members: &[(RoomId, UserId)]) -> Result<Self, StoreError> {
        schema::make_directory(path)?;
        let lock = ServerLock::take(path)?;
        let mut connection = schema::connect(path)?;
        let mut stamps = Stamps::new()?;
        let now = stamps.now();
        let seeded = membership::add_all(&mut connection, members.iter().map(|(room, user)| (room, user)), now);
        seeded.map_err(|source| StoreError::Edit { path: path.into(), source })?;
        let edits = changes::last(&connection).map_err(|source| StoreError::Open { path: path.into(), source })?;
        Ok(Self {
            connection,
            _lock: lock,
            open_rooms,
            stamps,
            members: MemberCache::default(),
            edits_seen: (edits, Instant::now()),
            revocations_told: None,
            revocations_unread: false,
            health: Health::Ok,
        })
    }

    pub(super) fn health(&self) -> Health {
        self.health
    }

    /// Stores a batch; one result for each record, in order. When it returns, what is stored is synced.
    pub(super) fn apply(&mut self, bodies: &[&RecordBody]) -> Vec<Result<Committed, Refusal>> {
        let mut plan = match self.health {
            Health::ReadOnly(_) | Health::Stopped => Plan::ReadOnly(Refusal::Unavailable),
            Health::Ok | Health::Degraded(_) => Plan::Together,
        };
        loop {
            let blame = match self.attempt(bodies, plan) {
                Ok(results) => return results,
                Err(blame) => blame,
            };
            self.roll_back();
            plan = match (plan, blame) {
                (Plan::Together, Blame::Record) => Plan::OneByOne,
                (Plan::Together | Plan::OneByOne, Blame::Batch(refusal, reason)) => {
                    self.degrade(reason);
                    Plan::ReadOnly(refusal)
                }
                (Plan::Together | Plan::OneByOne, Blame::File(reason)) => {
                    self.stop_writing(reason);
                    Plan::ReadOnly(Refusal::Unavailable)
                }
                (Plan::OneByOne, Blame::Record) => Plan::ReadOnly(Refusal::Internal),
                (Plan::ReadOnly(refusal), _) => return vec![Err(refusal); bodies.len()],
            };
        }
    }

    /// Keeps the log short.
    pub(super) fn tidy(&mut self) {
        if matches!(self.health, Health::ReadOnly(_)) {
            return;
        }
        match schema::shorten_log(&self.connection).map_err(|error| (Blame::of(&error), error)) {
            Ok(()) => {}
            Err((Blame::File(reason), _)) => self.stop_writing(reason),
            Err((Blame::Batch(..) | Blame::Record, error)) => {
                tracing::warn!(%error, "the write-ahead log could not be copied into the database; trying again later");
            }
        }
    }

    /// What another process did since this was asked last. Looked for once in [`LOOK_EVERY`] at most.
    pub(super) fn news(&mut self) -> Vec<News> {
        if self.edits_seen.1.elapsed() < LOOK_EVERY {
            return Vec::new();
        }
        let removed = self.removed();
        let mut news = Vec::new();
        news.extend((!removed.is_empty()).then_some(News::Removed(removed)));
        match self.revoked() {
            Ok(list) => {
                news.extend(list);
                self.revocations_unread = false;
            }
            Err(error) if !std::mem::replace(&mut self.revocations_unread, true) => {
                tracing::warn!(%error, "the revocations cannot be read; the last ones known count until they can");
            }
            Err(_) => {}
        }
        news
    }

    /// The revocations, if they are others than when this was asked last.
    pub(super) fn revoked(&mut self) -> rusqlite::Result<Option<News>> {
        // The number first: a list that is newer than its number is told again, and none is missed.
        let number = revocations::number(&self.connection)?;
        if self.revocations_told == Some(number) {
            return Ok(None);
        }
        let list = revocations::list(&self.connection)?;
        self.revocations_told = Some(number);
        Ok(Some(News::Revoked(Arc::new(list.into_iter().collect()))))
    }

    fn removed(&mut self) -> Vec<Seat> {
        let (last, _) = self.edits_seen;
        let mut removed = Vec::new();
        match changes::since(&self.connection, last) {
            Ok(changes) => {
                self.edits_seen = (changes.last, Instant::now());
                removed.extend(changes.seats.into_iter().filter(|(.., is_member)| !is_member));
            }
            Err(error) => {
                self.edits_seen = (last, Instant::now());
                tracing::warn!(%error, "the edits of members could not be read; trying again later");
            }
        }
        // Who came back since stays.
        removed.retain(|(room, user, _)| !matches!(membership::is_member(&self.connection, room, user), Ok(true)));
        removed.into_iter().map(|(room, user, _)| (room, user)).collect()
    }

    fn attempt(&mut self, bodies: &[&RecordBody], plan: Plan) -> Result<Vec<Result<Committed, Refusal>>, Blame> {
        let may_write = !matches!(plan, Plan::ReadOnly(_)) && bodies.iter().any(|body| writes(body, self.open_rooms));
        // A transaction that began as a reader cannot always become a writer; one that writes says so at once.
        let begin = if may_write { "BEGIN IMMEDIATE" } else { "BEGIN" };
        run(&self.connection, begin).map_err(|error| Blame::of_transaction(&error))?;
        self.members.follow(&self.connection).map_err(|error| Blame::of_transaction(&error))?;
        let mut attempt = Attempt {
            connection: &self.connection,
            stamps: &mut self.stamps,
            members: &mut self.members,
            open_rooms: self.open_rooms,
            plan,
        };
        let results: Result<Vec<_>, Blame> = bodies.iter().map(|body| attempt.settle(body)).collect();
        let results = results?;
        run(&self.connection, "COMMIT").map_err(|error| Blame::of_transaction(&error))?;
        if may_write && self.health != Health::Ok {
            tracing::info!("the store writes again");
            self.health = Health::Ok;
        }
        Ok(results)
    }

    fn roll_back(&mut self) {
        self.members.clear();
        // SQLite ends the transaction by itself on some errors.
        if !self.connection.is_autocommit()
            && let Err(error) = run(&self.connection, "ROLLBACK")
        {
            tracing::error!(%error, "the transaction could not be rolled back");
        }
    }

    fn degrade(&mut self, reason: &'static str) {
        if self.health != Health::Degraded(reason) {
            tracing::warn!(reason, "the store refuses writes for the time being");
            self.health = Health::Degraded(reason);
        }
    }

    fn stop_writing(&mut self, reason: &'static str) {
        tracing::error!(reason, "the store is read-only from now on; check the disk, then start anew");
        self.health = Health::ReadOnly(reason);
        schema::keep_log_on_close(&self.connection);
    }
}

impl Attempt<'_> {
    /// The result of one record, or why the batch cannot go on.
    fn settle(&mut self, body: &RecordBody) -> Result<Result<Committed, Refusal>, Blame> {
        let result = match self.plan {
            Plan::Together | Plan::ReadOnly(_) => self.store(body),
            Plan::OneByOne => self.store_alone(body),
        };
        match (result, self.plan) {
            (Ok(committed), _) => Ok(Ok(committed)),
            (Err(Fault::Refused(refusal)), _) => Ok(Err(refusal)),
            (Err(Fault::Sql(error)), Plan::Together) => Err(Blame::of(&error)),
            (Err(Fault::Sql(error)), Plan::OneByOne) => match Blame::of(&error) {
                // Unless the error took the whole transaction with it.
                Blame::Record if !self.connection.is_autocommit() => {
                    tracing::error!(%error, "the store refused a record");
                    Ok(Err(Refusal::Internal))
                }
                blame => Err(blame),
            },
            (Err(Fault::Sql(error)), Plan::ReadOnly(refusal)) => {
                tracing::error!(%error, "reading from the store failed");
                Ok(Err(refusal))
            }
        }
    }

    fn store(&mut self, body: &RecordBody) -> Result<Committed, Fault> {
        match body {
            RecordBody::Message(message) => self.message(message),
            RecordBody::Receipt(receipt) => self.receipt(receipt).map(Committed::Receipt),
            RecordBody::Join(join) => self.join(join).map(Committed::Joined),
            RecordBody::History(history) => self.history(history),
            RecordBody::Access { room, user } => self.require_member(room, user).map(|()| Committed::Access),
            RecordBody::Conversations { user } => self.conversations(user).map(Committed::Conversations),
        }
    }

    fn store_alone(&mut self, body: &RecordBody) -> Result<Committed, Fault> {
        run(self.connection, "SAVEPOINT record")?;
        let result = self.store(body);
        if matches!(result, Err(Fault::Sql(_))) && !self.connection.is_autocommit() {
            self.members.clear();
            run(self.connection, "ROLLBACK TO record")?;
        }
        if !self.connection.is_autocommit() {
            run(self.connection, "RELEASE record")?;
        }
        result
    }

    /// Every record asks before its first write.
    fn writable(&self) -> Result<(), Refusal> {
        match self.plan {
            Plan::Together | Plan::OneByOne => Ok(()),
            Plan::ReadOnly(refusal) => Err(refusal),
        }
    }
}

/// Whether the record may need the write lock.
fn writes(body: &RecordBody, open_rooms: bool) -> bool {
    match body {
        RecordBody::Message(_) | RecordBody::Receipt(_) => true,
        RecordBody::Join(_) => open_rooms,
        RecordBody::History(_) | RecordBody::Access { .. } | RecordBody::Conversations { .. } => false,
    }
}

pub(super) fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// The advisory lock beside the file that one server at a time may hold; editing members needs none. The system frees
/// it when the process is killed.
#[derive(Debug)]
pub(super) struct ServerLock(File);

impl ServerLock {
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let name = PathBuf::from(name);
        let file = File::options().create(true).truncate(false).write(true).open(&name);
        let file = file.map_err(|source| StoreError::Lock { path: name.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.into() }),
            Err(TryLockError::Error(source)) => Err(StoreError::Lock { path: name, source }),
        }
    }
}

impl Drop for ServerLock {
    /// Closing alone would leave it held while a process that was forked at this moment has not yet become another.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock beside the database could not be freed");
        }
    }
}

/// SQLite keeps signed integers; a seq never gets near the limit, a `since` from the network might.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The other way; the schema forbids negative numbers.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
