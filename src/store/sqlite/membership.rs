//! Who belongs where: the membership that every record is checked against, entering a room, and the edits that the
//! command line makes.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{Attempt, Fault, messages};
use crate::chat::effect::{Join, Joined, Refusal};
use crate::ids::{RoomId, Timestamp, UserId};
use crate::store::MAX_CONVERSATIONS;

const IS_MEMBER: &str = "SELECT 1 FROM conversation_members WHERE conversation_id = ?1 AND user_id = ?2";
const ROOM: &str = "SELECT open FROM conversations WHERE id = ?1";
const CONVERSATIONS: &str = "SELECT conversation_id FROM conversation_members WHERE user_id = ?1
    ORDER BY joined_at DESC LIMIT ?2";
const MEMBERS: &str = "SELECT user_id FROM conversation_members WHERE conversation_id = ?1 ORDER BY user_id";
const CREATE: &str = "INSERT INTO conversations (id, open, created_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
const ADD: &str = "INSERT INTO conversation_members (conversation_id, user_id, joined_at) VALUES (?1, ?2, ?3)
    ON CONFLICT DO NOTHING";
const REMOVE: &str = "DELETE FROM conversation_members WHERE conversation_id = ?1 AND user_id = ?2";

/// For the test that looks at the query plans.
#[cfg(test)]
pub(super) const QUERIES: &[&str] = &[IS_MEMBER, ROOM, CONVERSATIONS, MEMBERS, REMOVE];

/// Answers to "is the user a member?", so that most records need no query. Emptied when it holds
/// [`MemberCache::CAPACITY`] answers, when a transaction is rolled back and when another connection has written.
#[derive(Debug, Default)]
pub(super) struct MemberCache {
    known: HashMap<(RoomId, UserId), bool>,
    data_version: Option<i64>,
}

impl MemberCache {
    /// About 20 MB at most with ids of the greatest length.
    const CAPACITY: usize = 100_000;

    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    /// To be called first in every transaction: forgets what another connection may have changed.
    pub(super) fn follow(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let version = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if self.data_version.replace(version) != Some(version) {
            self.clear();
        }
        Ok(())
    }

    fn insert(&mut self, key: (RoomId, UserId), member: bool) {
        if self.known.len() >= Self::CAPACITY {
            self.clear();
        }
        self.known.insert(key, member);
    }
}

impl Attempt<'_> {
    /// The user is a member, or the record is refused.
    pub(super) fn require_member(&mut self, room: &RoomId, user: &UserId) -> Result<(), Fault> {
        if self.is_member(room, user)? { Ok(()) } else { Err(Refusal::NotMember.into()) }
    }

    fn is_member(&mut self, room: &RoomId, user: &UserId) -> rusqlite::Result<bool> {
        let key = (room.clone(), user.clone());
        if let Some(member) = self.members.known.get(&key) {
            return Ok(*member);
        }
        let member = is_member(self.connection, room, user)?;
        self.members.insert(key, member);
        Ok(member)
    }

    /// Lets the user in, as a new member if the room is open to everybody, and says where the room stands at this
    /// point of the batch: messages before it are counted, messages after it are not.
    pub(super) fn join(&mut self, join: &Join) -> Result<Joined, Fault> {
        if !self.is_member(&join.room, &join.user)? {
            self.enter(&join.room, &join.user)?;
        }
        let seq = messages::last_seq(self.connection, &join.room)?.ok_or(Refusal::NotMember)?;
        Ok(Joined {
            room: join.room.clone(),
            user: join.user.clone(),
            seq,
            unread: self.unread(&join.room, &join.user)?,
            missed: join.since.map(|since| self.missed(&join.room, since)).transpose()?,
        })
    }

    fn enter(&mut self, room: &RoomId, user: &UserId) -> Result<(), Fault> {
        if !self.open_rooms {
            return Err(Refusal::NotMember.into());
        }
        if !is_open(self.connection, room)? {
            return Err(Refusal::NotMember.into());
        }
        self.writable()?;
        let now = self.stamps.now();
        enter(self.connection, room, user, now)?;
        self.members.insert((room.clone(), user.clone()), true);
        Ok(())
    }

    /// The user's conversations, most recently joined first.
    pub(super) fn conversations(&self, user: &UserId) -> Result<Vec<RoomId>, Fault> {
        Ok(conversations(self.connection, user)?)
    }
}

pub(in crate::store) fn is_member(connection: &Connection, room: &RoomId, user: &UserId) -> rusqlite::Result<bool> {
    connection.prepare_cached(IS_MEMBER)?.exists([room.as_str(), user.as_str()])
}

/// Whether the room lets everybody in: it is open, or there is none.
pub(in crate::store) fn is_open(connection: &Connection, room: &RoomId) -> rusqlite::Result<bool> {
    let open = connection.prepare_cached(ROOM)?.query_row([room.as_str()], |row| row.get(0)).optional()?;
    Ok(open.unwrap_or(true))
}

/// Makes the user a member; a missing conversation is created open.
pub(in crate::store) fn enter(
    connection: &Connection,
    room: &RoomId,
    user: &UserId,
    now: Timestamp,
) -> rusqlite::Result<()> {
    add(connection, room, user, true, now).map(drop)
}

/// The user's conversations, most recently joined first.
pub(in crate::store) fn conversations(connection: &Connection, user: &UserId) -> rusqlite::Result<Vec<RoomId>> {
    let mut statement = connection.prepare_cached(CONVERSATIONS)?;
    let limit = i64::try_from(MAX_CONVERSATIONS).unwrap_or(i64::MAX);
    let rooms = statement.query_map(params![user.as_str(), limit], |row| row.get::<_, String>(0))?;
    // An id that no client can name was put there by another hand; it hides nothing from anybody.
    let rooms: rusqlite::Result<Vec<_>> = rooms.map(|room| Ok(RoomId::from_text(&room?).ok())).collect();
    Ok(rooms?.into_iter().flatten().collect())
}

fn add(connection: &Connection, room: &RoomId, user: &UserId, open: bool, now: Timestamp) -> rusqlite::Result<bool> {
    create(connection, room, open, now)?;
    let now = super::signed(now.0);
    Ok(connection.prepare_cached(ADD)?.execute(params![room.as_str(), user.as_str(), now])? > 0)
}

/// Makes a conversation, unless it is there.
pub(in crate::store) fn create(
    connection: &Connection,
    room: &RoomId,
    open: bool,
    now: Timestamp,
) -> rusqlite::Result<()> {
    connection.prepare_cached(CREATE)?.execute(params![room.as_str(), open, super::signed(now.0)]).map(drop)
}

/// Makes users members, in one transaction; missing conversations are created closed. Tells for each whether it is new.
pub(in crate::store) fn add_all<'a>(
    connection: &mut Connection,
    members: impl Iterator<Item = (&'a RoomId, &'a UserId)>,
    now: Timestamp,
) -> rusqlite::Result<Vec<bool>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let added = members.map(|(room, user)| add(&transaction, room, user, false, now)).collect::<Result<_, _>>()?;
    transaction.commit()?;
    Ok(added)
}

/// Ends memberships, in one transaction. Tells for each whether it was one.
pub(in crate::store) fn remove_all(
    connection: &mut Connection,
    room: &RoomId,
    users: &[UserId],
) -> rusqlite::Result<Vec<bool>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let remove = |user: &UserId| transaction.execute(REMOVE, [room.as_str(), user.as_str()]).map(|rows| rows > 0);
    let removed = users.iter().map(remove).collect::<Result<_, _>>()?;
    transaction.commit()?;
    Ok(removed)
}

/// The members of a conversation in the order of their ids, as text; `None` when there is no such conversation.
pub(in crate::store) fn list(connection: &Connection, room: &RoomId) -> rusqlite::Result<Option<Vec<String>>> {
    if !connection.prepare_cached(ROOM)?.exists([room.as_str()])? {
        return Ok(None);
    }
    connection
        .prepare_cached(MEMBERS)?
        .query_map([room.as_str()], |row| row.get(0))?
        .collect::<Result<_, _>>()
        .map(Some)
}
