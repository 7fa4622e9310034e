//! The messages side in the embedded SQLite file, for a store whose structure is elsewhere.
//!
//! Owns the one connection that writes. Calls block while the disk syncs: the lanes that call run on threads of their
//! own. What failures mean is told in [`OpenFile`]. A room needs no permission here: its row, which carries the last
//! seq, is made with its first message, closed, in case the file is one day used for the structure as well.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use rusqlite::{Connection, params};

use super::{Draft, Fate, Mark, Target, Which};
use crate::chat::effect::{Joined, Missed, Page, PageRequest, ReceiptStatus, Refusal};
use crate::ids::{MessageId, RoomId, Timestamp, UserId};
use crate::store::StoreError;
use crate::store::fault::Fault;
use crate::store::reader::{MAX_UNREAD_STEPS, Reader};
use crate::store::sqlite::file::{OpenFile, lock};
use crate::store::sqlite::{Blame, ServerLock, membership, messages, receipts, run, schema, signed};

const AUTHORS: &str = "SELECT seq, user_id, user_numeric FROM messages WHERE room = ?1 AND seq > ?2
    ORDER BY seq LIMIT ?3";
/// Of the newest, those of others.
const UNREAD: &str = "SELECT seq FROM (SELECT seq, user_id FROM messages WHERE room = ?1 AND seq > ?3
    ORDER BY seq DESC LIMIT ?4) WHERE user_id <> ?2";

/// The open file of the one server that holds its lock.
#[derive(Debug)]
pub(in crate::store) struct Embedded {
    file: Mutex<OpenFile>,
    /// After the connection: it is closed first, then the next server may come.
    _lock: ServerLock,
}

impl Embedded {
    /// Opens or makes the file, alone among servers.
    pub(in crate::store) fn open(path: &Path) -> Result<Self, StoreError> {
        schema::make_directory(path)?;
        let lock = ServerLock::take(path)?;
        let file = Mutex::new(OpenFile::new(schema::connect(path)?, "messages"));
        Ok(Self { file, _lock: lock })
    }

    /// Whether the file can still be written.
    pub(super) fn ready(&self) -> Result<(), Fault> {
        self.file().writable()
    }

    /// One transaction for all; if a draft spoils it, another in which each is undone by itself.
    pub(super) fn insert(&self, drafts: &mut [Draft<'_>]) -> Result<(), Fault> {
        let mut file = self.file();
        let mut fates = Vec::new();
        let mut done = file.write(|transaction| {
            drafts.iter().try_for_each(|draft| store(transaction, draft).map(|fate| fates.push(fate)))
        });
        if done == Err(Fault::Refused) {
            fates.clear();
            done = file.write(|transaction| {
                drafts.iter().try_for_each(|draft| store_alone(transaction, draft).map(|fate| fates.push(fate)))
            });
        }
        for (draft, fate) in drafts.iter_mut().zip(fates).filter(|(draft, _)| draft.fate.is_none()) {
            draft.stamp.in_doubt = None;
            match (&done, fate) {
                (Ok(()), fate) => draft.fate = Some(fate),
                // Rolled back, and its part of the log is written over.
                (Err(Fault::Full), _) => {}
                // A commit that failed may still be found in the log after a restart.
                (Err(_), Fate::Stored(seq)) => draft.stamp.in_doubt = Some(seq),
                (Err(_), Fate::Duplicate(_) | Fate::Refused(_)) => {}
            }
        }
        done
    }

    /// See [`Messages::targets`](super::Messages::targets).
    pub(super) fn targets(&self, wanted: &[(RoomId, MessageId)]) -> Result<Vec<Option<Target>>, Fault> {
        self.file().read(|connection| {
            let find = |(room, id): &(RoomId, MessageId)| {
                let message = messages::by_id(connection, room, *id)?;
                Ok(message.map(|message| Target {
                    seq: Some(message.seq),
                    user: message.user,
                    delivered: message.delivered,
                    read: message.read,
                    timestamp: message.timestamp,
                }))
            };
            wanted.iter().map(find).collect()
        })
    }

    /// See [`Messages::authors`](super::Messages::authors).
    pub(super) fn authors(&self, room: &RoomId, after: i64, limit: usize) -> Result<Vec<(i64, UserId)>, Fault> {
        self.file().read(|connection| {
            let mut statement = connection.prepare_cached(AUTHORS)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let authors = statement.query_map(params![room.as_str(), after, limit], |row| {
                let user = UserId::from_parts(&row.get::<_, String>(1)?, row.get(2)?);
                Ok((row.get(0)?, user.unwrap_or_else(|_| UserId::nobody())))
            })?;
            authors.collect()
        })
    }

    /// See [`Messages::mark`](super::Messages::mark).
    pub(super) fn mark(&self, marks: &[Mark], now: Timestamp) -> Result<(), Fault> {
        self.file().write(|transaction| marks.iter().try_for_each(|mark| store_mark(transaction, mark, now)))
    }

    /// See [`Messages::last_seq`](super::Messages::last_seq).
    pub(super) fn last_seq(&self, room: &RoomId) -> Result<i64, Fault> {
        self.file().read(|connection| Ok(messages::last_seq(connection, room)?.unwrap_or(0)))
    }

    /// See [`Messages::unread`](super::Messages::unread).
    pub(super) fn unread(&self, room: &RoomId, user: &UserId, reader: &Reader) -> Result<u64, Fault> {
        let read = reader.watermark(ReceiptStatus::Read);
        self.file().read(|connection| {
            let mut statement = connection.prepare_cached(UNREAD)?;
            let mut rows = statement.query(params![room.as_str(), user.as_str(), read, MAX_UNREAD_STEPS])?;
            let mut unread = 0;
            while unread < Joined::MAX_UNREAD
                && let Some(row) = rows.next()?
            {
                unread += u64::from(!reader.has_read(row.get(0)?));
            }
            Ok(unread)
        })
    }

    /// See [`Messages::missed`](super::Messages::missed).
    pub(super) fn missed(&self, room: &RoomId, since: i64, fence: i64) -> Result<Missed, Fault> {
        let (before, limit) = (Some(fence.saturating_add(1)), Missed::MAX_MESSAGES);
        let Page { messages, has_more } = self.page(room, &PageRequest { before, after: Some(since), limit })?;
        Ok(Missed { messages, complete: !has_more })
    }

    /// See [`Messages::page`](super::Messages::page).
    pub(super) fn page(&self, room: &RoomId, request: &PageRequest) -> Result<Page, Fault> {
        self.file().read(|connection| messages::page(connection, room, request))
    }

    fn file(&self) -> MutexGuard<'_, OpenFile> {
        lock(&self.file)
    }
}

fn store(connection: &Connection, draft: &Draft<'_>) -> rusqlite::Result<Fate> {
    let (new, stamp) = (draft.new, &*draft.stamp);
    if let Some(fate) = &draft.fate {
        return Ok(fate.clone());
    }
    if stamp.in_doubt.is_some()
        && let Some(stored) = messages::by_id(connection, &new.room, stamp.id)?
    {
        return Ok(Fate::Stored(stored.seq));
    }
    if let Some(first) = messages::sent_before(connection, new)? {
        return Ok(Fate::Duplicate(Box::new(first)));
    }
    if let Some(seq) = messages::insert(connection, new, stamp.id, stamp.timestamp)? {
        return Ok(Fate::Stored(seq));
    }
    membership::create(connection, &new.room, false, stamp.timestamp)?;
    let seq = messages::insert(connection, new, stamp.id, stamp.timestamp)?;
    seq.map(Fate::Stored).ok_or(rusqlite::Error::QueryReturnedNoRows)
}

/// A draft that SQLite refuses leaves no trace, unless its error took the whole transaction with it.
fn store_alone(connection: &Connection, draft: &Draft<'_>) -> rusqlite::Result<Fate> {
    run(connection, "SAVEPOINT draft")?;
    let fate = match store(connection, draft) {
        Err(error) if Blame::of(&error) == Blame::Record && !connection.is_autocommit() => {
            tracing::error!(code = ?error.sqlite_error_code(), "the embedded file refused a message");
            run(connection, "ROLLBACK TO draft")?;
            Fate::Refused(Refusal::Internal)
        }
        result => result?,
    };
    run(connection, "RELEASE draft")?;
    Ok(fate)
}

fn store_mark(connection: &Connection, mark: &Mark, now: Timestamp) -> rusqlite::Result<()> {
    let seqs = match mark.which {
        Which::One(id) => messages::by_id(connection, &mark.room, id)?.map(|message| (message.seq, message.seq)),
        Which::Seqs(first, last) => Some((first, last)),
    };
    let Some(seqs) = seqs else { return Ok(()) };
    receipts::mark(connection, &mark.room, &mark.user, mark.status, seqs, signed(now.0))
}
