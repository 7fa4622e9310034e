//! Who came and went lately, told by the table `membership_changes` that triggers fill, whoever writes.

use rusqlite::{Connection, params};

use crate::ids::{RoomId, UserId};

const LAST: &str = "SELECT coalesce(max(id), 0) FROM membership_changes";
const SINCE: &str = "SELECT id, conversation_id, user_id, member FROM membership_changes WHERE id > ?1
    ORDER BY id LIMIT ?2";

/// For the test that looks at the query plans.
#[cfg(test)]
pub(super) const QUERIES: &[&str] = &[LAST, SINCE];

/// Changes told at once; there may be more.
const MOST: i64 = 1000;

/// What the table tells.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct Changes {
    /// Older ones that were asked for are forgotten already: what is believed is to be asked again.
    pub(in crate::store) missed: bool,
    /// Oldest first, at most [`MOST`]; each with whether the user is a member since.
    pub(in crate::store) seats: Vec<(RoomId, UserId, bool)>,
    /// Where to go on.
    pub(in crate::store) last: i64,
}

/// The number of the latest change, 0 when there was none.
pub(in crate::store) fn last(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached(LAST)?.query_row([], |row| row.get(0))
}

/// What changed after the change of that number.
pub(in crate::store) fn since(connection: &Connection, last: i64) -> rusqlite::Result<Changes> {
    let mut statement = connection.prepare_cached(SINCE)?;
    let mut rows = statement.query(params![last, MOST])?;
    let mut changes = Changes { missed: false, seats: Vec::new(), last };
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        changes.missed |= id != changes.last + 1;
        changes.last = id;
        // An id that no client can name was put there by another hand; nobody asks for it.
        if let (Ok(room), Ok(user)) =
            (RoomId::from_text(row.get_ref(1)?.as_str()?), UserId::from_text(row.get_ref(2)?.as_str()?))
        {
            changes.seats.push((room, user, row.get(3)?));
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::super::{membership, schema};
    use super::*;
    use crate::ids::Timestamp;

    #[test]
    fn changes_are_told_in_order_from_where_one_was_and_a_gap_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let mut connection = schema::connect(&directory.path().join("alt.db")).unwrap();
        let room = RoomId::from_text("5").unwrap();
        let users: Vec<_> = (0..6000).map(|n| UserId::from_text(&n.to_string()).unwrap()).collect();
        let edit = |connection: &mut Connection, users: &[UserId]| {
            membership::add_all(connection, users.iter().map(|user| (&room, user)), Timestamp(0)).unwrap();
            membership::remove_all(connection, &room, users).unwrap();
        };
        edit(&mut connection, &users[..1]);
        edit(&mut connection, &users[..1]);
        assert_eq!(last(&connection).unwrap(), 4);
        let told = since(&connection, 2).unwrap();
        let seat = |member| (room.clone(), users[0].clone(), member);
        assert_eq!(told, Changes { missed: false, seats: vec![seat(true), seat(false)], last: 4 });
        assert_eq!(since(&connection, 4).unwrap(), Changes { missed: false, seats: vec![], last: 4 });

        edit(&mut connection, &users);
        let kept: i64 = connection.query_row("SELECT count(*) FROM membership_changes", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 10_000);
        let told = since(&connection, 4).unwrap();
        assert!(told.missed && told.seats.len() == 1000 && told.last == 3004, "{}", told.last);
        assert!(!since(&connection, told.last).unwrap().missed);
    }
}
