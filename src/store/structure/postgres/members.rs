//! Editing memberships from the command line, while servers run or not.

use std::collections::HashSet;

use super::column::{Column, Ids, Seats};
use super::{Postgres, Up, read};
use crate::ids::{RoomId, UserId};
use crate::store::fault::Fault;
use crate::store::structure::Seat;

/// Why memberships were not edited; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum NotEdited {
    /// An id that the table cannot hold, as its column says it.
    #[error("{id:?} cannot be in a column of the type {column}")]
    NoSuchId {
        /// The id.
        id: String,
        /// PostgreSQL's name of the type.
        column: &'static str,
    },
    /// The database did not do it.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Postgres {
    /// Makes users members of a conversation, which is created closed if it is missing and the table of conversations
    /// is ours. Returns those who were not members before. All or nothing.
    pub(in crate::store) async fn add_members(
        &self,
        room: &RoomId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, NotEdited> {
        let up = self.up().await?;
        self.edit(up, &up.statements.add, room, users).await
    }

    /// Ends the membership of users. Returns those who were members. All or nothing.
    pub(in crate::store) async fn remove_members(
        &self,
        room: &RoomId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, NotEdited> {
        let up = self.up().await?;
        self.edit(up, &up.statements.remove, room, users).await
    }

    /// The members of a conversation in the order of their ids; `None` when there is no such conversation.
    pub(in crate::store) async fn list_members(&self, room: &RoomId) -> Result<Option<Vec<UserId>>, NotEdited> {
        let up = self.up().await?;
        let mut rooms = Ids::none(up.columns.room);
        if !rooms.push(room.as_str()) {
            return Ok(None);
        }
        let rows = up.ask(&self.operator, &up.statements.list, &[rooms.parameter()]).await?;
        let users = rows.iter().map(|row| Ok(up.columns.user(&read(up.columns.user.read(row, 0))?)));
        let users: Vec<UserId> = users.collect::<Result<Vec<_>, Fault>>()?.into_iter().flatten().collect();
        let known = match &up.statements.is_known {
            Some(is_known) if users.is_empty() => {
                let rows = up.ask(&self.operator, is_known, &[rooms.parameter()]).await?;
                rows.first().map_or(Ok(false), |row| read(row.try_get(0)))?
            }
            Some(_) | None => !users.is_empty(),
        };
        Ok(known.then_some(users))
    }

    /// The users for whom something changed, in the order given, each once.
    async fn edit(&self, up: &Up, edit: &str, room: &RoomId, users: &[UserId]) -> Result<Vec<UserId>, NotEdited> {
        let seats = Seats::new(up.columns, up.seats(room, users)?.iter());
        let rows = up.ask_seats(&self.operator, edit, &seats).await?;
        let changed: Result<HashSet<String>, Fault> =
            rows.iter().map(|row| read(up.columns.user.read(row, 0))).collect();
        let mut changed = changed?;
        Ok(users.iter().filter(|user| changed.remove(user.as_str())).cloned().collect())
    }
}

impl Up {
    fn seats(&self, room: &RoomId, users: &[UserId]) -> Result<Vec<Seat>, NotEdited> {
        let holds = |column: Column, id: &str| {
            let missing = || NotEdited::NoSuchId { id: id.to_owned(), column: column.sql() };
            column.holds(id).then_some(()).ok_or_else(missing)
        };
        holds(self.columns.room, room.as_str())?;
        users.iter().try_for_each(|user| holds(self.columns.user, user.as_str()))?;
        Ok(users.iter().map(|user| (room.clone(), user.clone())).collect())
    }
}
