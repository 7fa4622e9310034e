//! Tokens that are believed no more: the table `revocations`, and the number by which a change of it is seen.

use rusqlite::{Connection, TransactionBehavior, params};

use super::signed;
use crate::auth::revocations::{Revocation, Revocations, Subject};
use crate::ids::Timestamp;

const NUMBER: &str = "SELECT number FROM revocation_changes WHERE id = 1";
const LIST: &str = "SELECT kind, value, revoked_at, expires_at FROM revocations
    WHERE expires_at IS NULL OR expires_at > unixepoch('subsec') * 1000 ORDER BY revoked_at DESC LIMIT ?1";
const FORGET: &str = "DELETE FROM revocations WHERE expires_at <= ?1";
const IS_FULL: &str = "SELECT count(*) >= ?3 FROM revocations WHERE (kind, value) <> (?1, ?2)";
/// Said again, it holds for what was made until now, and for as long as either said.
const ADD: &str = "INSERT INTO revocations (kind, value, revoked_at, expires_at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (kind, value) DO UPDATE SET revoked_at = max(revoked_at, excluded.revoked_at),
        expires_at = max(expires_at, excluded.expires_at)";
const REMOVE: &str = "DELETE FROM revocations WHERE kind = ?1 AND value = ?2";

/// For the test that looks at the query plans: what is asked all the time.
#[cfg(test)]
pub(super) const QUERIES: &[&str] = &[NUMBER, ADD, REMOVE];

/// Another number is another list.
pub(in crate::store) fn number(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached(NUMBER)?.query_row([], |row| row.get(0))
}

/// The revocations that count, newest first, at most [`Revocations::MOST`].
pub(in crate::store) fn list(connection: &Connection) -> rusqlite::Result<Vec<Revocation>> {
    let mut statement = connection.prepare_cached(LIST)?;
    let mut rows = statement.query([i64::try_from(Revocations::MOST).unwrap_or(i64::MAX)])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        // What no token can name was put there by another hand; it revokes nothing.
        if let Some(subject) = Subject::from_parts(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?) {
            let time = |at: i64| Timestamp(u64::try_from(at).unwrap_or(0));
            let until: Option<i64> = row.get(3)?;
            list.push(Revocation { subject, at: time(row.get(2)?), until: until.map(time) });
        }
    }
    Ok(list)
}

/// Writes a revocation. `false` when there are as many already as a server keeps. Forgets those that are over.
pub(in crate::store) fn add(connection: &mut Connection, revocation: &Revocation) -> rusqlite::Result<bool> {
    let Revocation { subject, at, until } = revocation;
    let (kind, value) = (subject.kind(), subject.value());
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute(FORGET, [signed(at.0)])?;
    let most = i64::try_from(Revocations::MOST).unwrap_or(i64::MAX);
    if transaction.query_row(IS_FULL, params![kind, value, most], |row| row.get(0))? {
        return Ok(false);
    }
    transaction.execute(ADD, params![kind, value, signed(at.0), until.map(|until| signed(until.0))])?;
    transaction.commit()?;
    Ok(true)
}

/// Takes a revocation back. Whether there was one.
pub(in crate::store) fn remove(connection: &Connection, subject: &Subject) -> rusqlite::Result<bool> {
    connection.execute(REMOVE, [subject.kind(), subject.value()]).map(|removed| removed > 0)
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    const NOW: u64 = 4_000_000_000_000;

    fn revocation(kind: &str, value: &str, at: u64, until: Option<u64>) -> Revocation {
        let subject = Subject::from_parts(kind, value).unwrap();
        Revocation { subject, at: Timestamp(at), until: until.map(Timestamp) }
    }

    fn open() -> (tempfile::TempDir, Connection) {
        let directory = tempfile::tempdir().unwrap();
        let connection = schema::connect(&directory.path().join("alt.db")).unwrap();
        (directory, connection)
    }

    #[test]
    fn the_list_is_what_was_written_and_its_number_changes_with_it() {
        let (_directory, mut connection) = open();
        let mut numbers = vec![number(&connection).unwrap()];
        assert!(list(&connection).unwrap().is_empty());
        let (ada, token) = (revocation("user", "ada", NOW, None), revocation("jti", "t'1", NOW + 1, Some(NOW + 9)));
        for one in [&ada, &token] {
            assert!(add(&mut connection, one).unwrap());
            numbers.push(number(&connection).unwrap());
        }
        assert_eq!(list(&connection).unwrap(), [token.clone(), ada.clone()], "newest first");
        assert!(remove(&connection, &ada.subject).unwrap() && !remove(&connection, &ada.subject).unwrap());
        numbers.push(number(&connection).unwrap());
        assert_eq!(list(&connection).unwrap(), [token]);
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    }

    #[test]
    fn said_again_it_holds_for_later_tokens_and_no_shorter() {
        for (first, second, until) in [
            (None, Some(NOW + 9), None),
            (Some(NOW + 9), None, None),
            (Some(NOW + 9), Some(NOW + 5), Some(NOW + 9)),
            (Some(NOW + 5), Some(NOW + 9), Some(NOW + 9)),
        ] {
            let (_directory, mut connection) = open();
            add(&mut connection, &revocation("user", "ada", NOW, first)).unwrap();
            add(&mut connection, &revocation("user", "ada", NOW + 3, second)).unwrap();
            assert_eq!(list(&connection).unwrap(), [revocation("user", "ada", NOW + 3, until)]);
        }
    }

    #[test]
    fn what_is_over_is_forgotten_and_the_list_is_bounded() {
        let (_directory, mut connection) = open();
        add(&mut connection, &revocation("jti", "old", 1000, Some(2000))).unwrap();
        assert!(list(&connection).unwrap().is_empty(), "over long ago");
        connection
            .execute(
                "INSERT INTO revocations (kind, value, revoked_at)
                 WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < ?1) SELECT 'jti', n, n FROM n",
                [i64::try_from(Revocations::MOST).unwrap() - 1],
            )
            .unwrap();
        assert!(add(&mut connection, &revocation("user", "ada", NOW, None)).unwrap(), "the old one made room");
        assert!(!add(&mut connection, &revocation("user", "bob", NOW, None)).unwrap(), "one too many");
        assert!(add(&mut connection, &revocation("user", "ada", NOW + 1, None)).unwrap(), "is there already");
        assert_eq!(list(&connection).unwrap().len(), Revocations::MOST);
    }
}
