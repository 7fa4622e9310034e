//! The types that a column of ids may have, and ids as parameters of such a type.
//!
//! Parameters are bound as what the column is, so that its index is used; the column is never cast.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use super::super::Seat;
use crate::ids::{RoomId, UserId};

/// The type of a column of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Int2,
    Int4,
    Int8,
    Uuid,
    Text,
}

impl Column {
    /// By the name that PostgreSQL's `format_type` gives; `None` for a type that cannot hold ids here.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "smallint" => Self::Int2,
            "integer" => Self::Int4,
            "bigint" => Self::Int8,
            "uuid" => Self::Uuid,
            "text" | "character varying" => Self::Text,
            _ => return None,
        })
    }

    /// The type as the parameters are cast to.
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Int2 => "int2",
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Uuid => "uuid",
            Self::Text => "text",
        }
    }

    /// Whether clients know its ids as JSON numbers.
    pub(super) fn is_numeric(self) -> bool {
        match self {
            Self::Int2 | Self::Int4 | Self::Int8 => true,
            Self::Uuid | Self::Text => false,
        }
    }

    /// Whether the column can hold the id, and would give it back in the same words: `05` and an upper-case uuid would
    /// name what another id names already.
    pub(super) fn holds(self, id: &str) -> bool {
        Ids::none(self).push(id)
    }

    /// An id out of a row.
    pub(super) fn read(self, row: &Row, index: usize) -> Result<String, Error> {
        Ok(match self {
            Self::Int2 => row.try_get::<_, i16>(index)?.to_string(),
            Self::Int4 => row.try_get::<_, i32>(index)?.to_string(),
            Self::Int8 => row.try_get::<_, i64>(index)?.to_string(),
            Self::Uuid => row.try_get::<_, Uuid>(index)?.to_string(),
            Self::Text => row.try_get(index)?,
        })
    }
}

/// Ids of one column: the parameter `$n::type[]`.
#[derive(Debug)]
pub(super) enum Ids {
    Int2(Vec<i16>),
    Int4(Vec<i32>),
    Int8(Vec<i64>),
    Uuid(Vec<Uuid>),
    Text(Vec<String>),
}

impl Ids {
    pub(super) fn none(column: Column) -> Self {
        match column {
            Column::Int2 => Self::Int2(Vec::new()),
            Column::Int4 => Self::Int4(Vec::new()),
            Column::Int8 => Self::Int8(Vec::new()),
            Column::Uuid => Self::Uuid(Vec::new()),
            Column::Text => Self::Text(Vec::new()),
        }
    }

    /// Adds an id; `false` when the column cannot hold it.
    pub(super) fn push(&mut self, id: &str) -> bool {
        match self {
            Self::Int2(ids) => push(ids, id.parse().ok(), id),
            Self::Int4(ids) => push(ids, id.parse().ok(), id),
            Self::Int8(ids) => push(ids, id.parse().ok(), id),
            Self::Uuid(ids) => push(ids, Uuid::try_parse(id).ok(), id),
            // The only character that a text cannot have.
            Self::Text(ids) => push(ids, (!id.contains('\0')).then(|| id.to_owned()), id),
        }
    }

    pub(super) fn parameter(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Int2(ids) => ids,
            Self::Int4(ids) => ids,
            Self::Int8(ids) => ids,
            Self::Uuid(ids) => ids,
            Self::Text(ids) => ids,
        }
    }
}

fn push<T: ToString>(ids: &mut Vec<T>, parsed: Option<T>, id: &str) -> bool {
    let same = parsed.filter(|parsed| parsed.to_string() == id);
    let fits = same.is_some();
    ids.extend(same);
    fits
}

/// The two columns that name a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) room: Column,
    pub(super) user: Column,
}

impl Columns {
    pub(super) fn hold(self, (room, user): &Seat) -> bool {
        self.room.holds(room.as_str()) && self.user.holds(user.as_str())
    }

    /// The id of a room as the columns keep it; `None` when no client can name it, as another hand put it there.
    pub(super) fn room(self, text: &str) -> Option<RoomId> {
        RoomId::from_parts(text, self.room.is_numeric()).ok()
    }

    /// The same for a user.
    pub(super) fn user(self, text: &str) -> Option<UserId> {
        UserId::from_parts(text, self.user.is_numeric()).ok()
    }
}

/// Seats as two parameters of equal length.
#[derive(Debug)]
pub(super) struct Seats {
    pub(super) rooms: Ids,
    pub(super) users: Ids,
}

impl Seats {
    /// Of those that the columns hold. Others cannot be asked for.
    pub(super) fn new<'a>(columns: Columns, seats: impl Iterator<Item = &'a Seat>) -> Self {
        let (mut rooms, mut users) = (Ids::none(columns.room), Ids::none(columns.user));
        for (room, user) in seats.filter(|seat| columns.hold(seat)) {
            rooms.push(room.as_str());
            users.push(user.as_str());
        }
        Self { rooms, users }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_held_only_in_the_words_that_the_column_gives_back() {
        let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        let cases: [(Column, &[&str], &[&str]); 5] = [
            (Column::Int2, &["5", "-3", "32767"], &["32768", "05", "+5", "-0", "", " 5", "5.0", "five"]),
            (Column::Int4, &["0", "2147483647"], &["2147483648", "00", uuid]),
            (Column::Int8, &["9223372036854775807"], &["9223372036854775808", "1e3"]),
            (
                Column::Uuid,
                &[uuid],
                &[
                    "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
                    "a0eebc999c0b4ef8bb6d6bb9bd380a11",
                    "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
                    "5",
                ],
            ),
            (Column::Text, &["5", "05", uuid, "é ' \" \\ --"], &["a\0b"]),
        ];
        for (column, held, others) in cases {
            assert!(held.iter().all(|id| column.holds(id)), "{column:?}");
            for id in others {
                assert!(!column.holds(id), "{column:?} {id}");
            }
        }
    }
}
