//! The file: how it is opened, its tables, and how an older one is brought up to date.
//!
//! Owns the pragmas and `PRAGMA user_version`. Any connection to the file comes from [`connect`], the server's as well
//! as the command line's.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};

use crate::store::StoreError;

/// How long a connection waits for another one that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// One step each from version `n` to `n + 1`. Never edited once released, only added to.
const MIGRATIONS: [&str; 3] = [
    // Times are milliseconds since the Unix epoch. Ids are text, so that 5 and "5" name the same room; the *_numeric
    // columns keep the form the client used. What lists and counts need stands before the columns that can be long.
    "CREATE TABLE conversations (
        id TEXT NOT NULL PRIMARY KEY,
        open INTEGER NOT NULL CHECK (open IN (0, 1)),
        last_seq INTEGER NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
        created_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE conversation_members (
        conversation_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        role TEXT NOT NULL DEFAULT 'member',
        joined_at INTEGER NOT NULL,
        PRIMARY KEY (conversation_id, user_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX conversation_members_by_user ON conversation_members (user_id, joined_at DESC);

    CREATE TABLE messages (
        id BLOB NOT NULL UNIQUE CHECK (length(id) = 12),
        room TEXT NOT NULL,
        seq INTEGER NOT NULL CHECK (seq > 0),
        user_id TEXT NOT NULL,
        delivered INTEGER NOT NULL DEFAULT 0 CHECK (delivered IN (0, 1)),
        read INTEGER NOT NULL DEFAULT 0 CHECK (read IN (0, 1)),
        delivered_at INTEGER,
        read_at INTEGER,
        created_at INTEGER NOT NULL,
        room_numeric INTEGER NOT NULL,
        user_numeric INTEGER NOT NULL,
        client_msg_id TEXT,
        kind TEXT NOT NULL,
        username TEXT NOT NULL,
        content TEXT NOT NULL,
        attachments TEXT NOT NULL,
        UNIQUE (room, seq)
    ) STRICT;
    CREATE UNIQUE INDEX messages_by_client_msg_id ON messages (user_id, client_msg_id)
        WHERE client_msg_id IS NOT NULL;

    CREATE TABLE read_state (
        conversation_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        delivered_seq INTEGER NOT NULL CHECK (delivered_seq >= read_seq),
        read_seq INTEGER NOT NULL CHECK (read_seq >= 0),
        updated_at INTEGER NOT NULL,
        PRIMARY KEY (conversation_id, user_id)
    ) STRICT, WITHOUT ROWID;

    -- Receipts for single messages above the watermarks of read_state. level: 1 delivered, 2 read.
    CREATE TABLE receipts (
        room TEXT NOT NULL,
        user_id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        level INTEGER NOT NULL CHECK (level IN (1, 2)),
        PRIMARY KEY (room, user_id, seq)
    ) STRICT, WITHOUT ROWID;",
    // Who came and went lately, whoever wrote it: a server learns here what the command line did. Only the latest
    // 10,000 are kept; the ids have no gaps, so whoever is further behind sees it.
    "CREATE TABLE membership_changes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        conversation_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        member INTEGER NOT NULL CHECK (member IN (0, 1))
    ) STRICT;
    CREATE TRIGGER conversation_members_added AFTER INSERT ON conversation_members BEGIN
        INSERT INTO membership_changes (conversation_id, user_id, member)
            VALUES (new.conversation_id, new.user_id, 1);
    END;
    CREATE TRIGGER conversation_members_removed AFTER DELETE ON conversation_members BEGIN
        INSERT INTO membership_changes (conversation_id, user_id, member)
            VALUES (old.conversation_id, old.user_id, 0);
    END;
    CREATE TRIGGER membership_changes_pruned AFTER INSERT ON membership_changes BEGIN
        DELETE FROM membership_changes WHERE id <= new.id - 10000;
    END;",
    // Tokens that are believed no more. The number tells a server that the list is another one, whoever wrote it.
    "CREATE TABLE revocations (
        kind TEXT NOT NULL CHECK (kind IN ('jti', 'user')),
        value TEXT NOT NULL,
        revoked_at INTEGER NOT NULL,
        expires_at INTEGER,
        PRIMARY KEY (kind, value)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE revocation_changes (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        number INTEGER NOT NULL
    ) STRICT;
    INSERT INTO revocation_changes VALUES (1, 0);
    CREATE TRIGGER revocations_added AFTER INSERT ON revocations BEGIN
        UPDATE revocation_changes SET number = number + 1;
    END;
    CREATE TRIGGER revocations_changed AFTER UPDATE ON revocations BEGIN
        UPDATE revocation_changes SET number = number + 1;
    END;
    CREATE TRIGGER revocations_removed AFTER DELETE ON revocations BEGIN
        UPDATE revocation_changes SET number = number + 1;
    END;",
];

/// Makes the directory that the file is to be in.
pub(in crate::store) fn make_directory(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            std::fs::create_dir_all(parent).map_err(|source| StoreError::Directory { path: parent.into(), source })
        }
        _ => Ok(()),
    }
}

/// Opens the file, or makes it, and brings its schema up to date.
pub(in crate::store) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let failed = |source| StoreError::Open { path: path.into(), source };
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Looked at before anything is changed: the file may be somebody else's.
    check_owner(&connection, path)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(StoreError::NoWriteAheadLog { path: path.into(), mode });
    }
    // FULL: every commit syncs the log. Checkpoints are the lane's own business, outside of commits.
    connection
        .execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; PRAGMA wal_autocheckpoint = 0;
             PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;",
        )
        .map_err(failed)?;
    migrate(&mut connection).map_err(failed)?;
    Ok(connection)
}

/// The write-ahead log is copied into the database when this many of its pages (4 KiB each) wait for it: long enough
/// that pages written again and again are copied once, short enough that a restart reads it in a moment.
pub(super) const CHECKPOINT_PAGES: i64 = 4000;

/// Copies the log into the database when it has grown long. To be called outside of commits, inside of which SQLite
/// would ignore that it failed.
pub(in crate::store) fn shorten_log(connection: &Connection) -> rusqlite::Result<()> {
    if waiting_pages(connection, "PRAGMA wal_checkpoint(NOOP)")? >= CHECKPOINT_PAGES {
        waiting_pages(connection, "PRAGMA wal_checkpoint(PASSIVE)")?;
    }
    Ok(())
}

/// Pages of the log that are not in the database yet.
pub(super) fn waiting_pages(connection: &Connection, checkpoint: &str) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare_cached(checkpoint)?;
    let (logged, copied) = statement.query_row([], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))?;
    Ok(logged - copied)
}

/// After a failed sync: closing must not copy the log and sync once more.
pub(in crate::store) fn keep_log_on_close(connection: &Connection) {
    if let Err(error) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
        tracing::error!(%error, "the log will be copied at the end");
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn check_owner(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Open { path: path.into(), source };
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    // One snapshot: another process may be making the tables right now, and they come with the version.
    let snapshot = connection.unchecked_transaction().map_err(failed)?;
    let found = version(&snapshot).map_err(failed)?;
    let tables = "SELECT count(*), coalesce(sum(name IN ('conversations', 'messages')), 0)
                  FROM sqlite_schema WHERE type = 'table'";
    let tables = snapshot.query_row(tables, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
    match tables.map_err(failed)? {
        (0, _) if found == 0 => Ok(()),
        (_, ours) if found < 1 || ours < 2 => Err(StoreError::Foreign { path: path.into() }),
        _ if found > known => Err(StoreError::Newer { path: path.into(), found, known }),
        _ => Ok(()),
    }
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    // Nothing to do is the usual case and needs no write lock; otherwise asked again once the lock is held.
    if usize::try_from(version(connection)?).is_ok_and(|version| version >= MIGRATIONS.len()) {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from = usize::try_from(version(&transaction)?).unwrap_or(0);
    for step in MIGRATIONS.iter().skip(from) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX))?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alt.db");
        (directory, path)
    }

    #[test]
    fn a_new_file_is_durable_and_opening_it_again_changes_nothing() {
        let (_directory, path) = file();
        drop(connect(&path).unwrap());
        let connection = connect(&path).unwrap();
        assert_eq!(version(&connection).unwrap(), 3);
        for (pragma, expected) in
            [("synchronous", 2), ("foreign_keys", 0), ("wal_autocheckpoint", 0), ("busy_timeout", 5000)]
        {
            let value: i64 = connection.pragma_query_value(None, pragma, |row| row.get(0)).unwrap();
            assert_eq!(value, expected, "{pragma}");
        }
    }

    #[test]
    fn the_file_of_a_newer_version_is_refused_untouched() {
        let (_directory, path) = file();
        connect(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
        let error = connect(&path).unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 7, known: 3, .. }), "{error}");
    }

    #[test]
    fn a_file_of_the_first_version_keeps_its_rows_and_learns_to_tell_changes() {
        let (_directory, path) = file();
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        let add = "INSERT INTO conversation_members (conversation_id, user_id, joined_at) VALUES ('5', ?1, 0)";
        old.execute(add, ["ann"]).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        let connection = connect(&path).unwrap();
        assert_eq!(version(&connection).unwrap(), 3);
        connection.execute(add, ["bob"]).unwrap();
        let count = |table: &str| -> i64 {
            connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!((count("conversation_members"), count("membership_changes")), (2, 1));
    }

    #[test]
    fn a_foreign_database_and_a_foreign_file_are_refused() {
        let (_directory, path) = file();
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE recipes (id)").unwrap();
        assert!(matches!(connect(&path), Err(StoreError::Foreign { .. })));
        std::fs::write(&path, "no database at all, though long enough to look like one".repeat(100)).unwrap();
        assert!(matches!(connect(&path), Err(StoreError::Open { .. })));
    }

    #[test]
    fn every_hot_query_uses_an_index() {
        let (_directory, path) = file();
        let connection = connect(&path).unwrap();
        let plan = |sql: &str| -> String {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let nulls = vec![rusqlite::types::Null; statement.parameter_count()];
            let lines = statement.query_map(rusqlite::params_from_iter(nulls), |row| row.get::<_, String>(3)).unwrap();
            lines.map(|line| line.unwrap() + "\n").collect()
        };
        let queries = [
            super::super::messages::QUERIES,
            super::super::receipts::QUERIES,
            super::super::membership::QUERIES,
            super::super::changes::QUERIES,
            super::super::readers::QUERIES,
            super::super::revocations::QUERIES,
        ];
        for sql in queries.concat() {
            let plan = plan(sql);
            // What is scanned is the bounded subquery of the unread count.
            let scans = plan.lines().filter(|line| line.starts_with("SCAN"));
            assert!(scans.clone().all(|line| line == "SCAN m" || line.starts_with("SCAN (subquery")), "{sql}\n{plan}");
            assert!(scans.count() == 0 || sql.contains("count(*)"), "{sql}\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
        }
    }
}
