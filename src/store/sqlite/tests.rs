//! What only a look inside can show: failures of the disk, of single records, and the size of the tables.

use super::*;
use crate::chat::effect::{History, Join, NewMessage, NewReceipt, PageRequest, ReceiptStatus};
use crate::ids::MessageId;

fn room() -> RoomId {
    RoomId::from_text("5").unwrap()
}

fn user(name: &str) -> UserId {
    UserId::from_text(name).unwrap()
}

fn open() -> (tempfile::TempDir, PathBuf, Sqlite) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/er/alt.db");
    let members = [(room(), user("ann")), (room(), user("bob"))];
    let store = Sqlite::open(&path, false, &members).unwrap();
    (directory, path, store)
}

fn message(content: &str) -> RecordBody {
    RecordBody::Message(NewMessage {
        room: room(),
        user: user("ann"),
        username: "Ann".into(),
        content: content.into(),
        kind: "text".into(),
        attachments: "[]".into(),
        temp_id: None,
        client_msg_id: None,
    })
}

fn join() -> RecordBody {
    RecordBody::Join(Join { room: room(), user: user("bob"), since: Some(0) })
}

fn history() -> RecordBody {
    let request = PageRequest { before: None, after: None, limit: 50 };
    RecordBody::History(History { room: room(), user: user("bob"), request })
}

/// Short words for results: the seq of a message, `fence/missed` of a join, the length of a page, or the refusal.
fn apply(store: &mut Sqlite, bodies: &[RecordBody]) -> Vec<Result<Committed, Refusal>> {
    store.apply(&bodies.iter().collect::<Vec<_>>())
}

fn words(results: &[Result<Committed, Refusal>]) -> Vec<String> {
    let word = |result: &Result<Committed, Refusal>| match result {
        Ok(Committed::Message { message, .. }) => message.seq.to_string(),
        Ok(Committed::Joined(joined)) => format!("{}/{}", joined.seq, joined.missed.as_ref().unwrap().messages.len()),
        Ok(Committed::History { page, .. }) => format!("page of {}", page.messages.len()),
        Ok(other) => format!("{other:?}"),
        Err(refusal) => format!("{refusal:?}"),
    };
    results.iter().map(word).collect()
}

fn count(store: &Sqlite, table: &str) -> i64 {
    store.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn a_poison_record_fails_alone_and_takes_no_seq() {
    let (_directory, _path, mut store) = open();
    store
        .connection
        .execute_batch(
            "CREATE TRIGGER poison AFTER INSERT ON messages WHEN new.content = 'poison'
             BEGIN SELECT raise(ABORT, 'no'); END",
        )
        .unwrap();
    let batch = [message("a"), message("poison"), message("b"), join(), message("poison"), message("c")];
    assert_eq!(words(&apply(&mut store, &batch)), ["1", "Internal", "2", "2/2", "Internal", "3"]);
    assert_eq!(words(&apply(&mut store, &[message("poison")])), ["Internal"]);
    assert_eq!(words(&apply(&mut store, &[message("d")])), ["4"]);
    assert_eq!(store.health(), Health::Ok);
}

#[test]
fn a_record_that_takes_the_transaction_with_it_leaves_nothing_half_stored() {
    let (_directory, _path, mut store) = open();
    let trigger = "CREATE TRIGGER poison AFTER INSERT ON messages WHEN new.content = 'poison'
                   BEGIN SELECT raise(ROLLBACK, 'no'); END";
    store.connection.execute_batch(trigger).unwrap();
    let batch = [message("a"), message("poison"), message("b"), join()];
    assert_eq!(words(&apply(&mut store, &batch)), ["Internal", "Internal", "Internal", "0/0"]);
    assert_eq!(words(&apply(&mut store, &[message("a")])), ["1"]);
}

#[test]
fn a_full_disk_refuses_every_write_of_the_batch_serves_reads_and_recovers() {
    let (_directory, _path, mut store) = open();
    assert_eq!(words(&apply(&mut store, &[message("a")])), ["1"]);
    store.connection.pragma_update(None, "max_page_count", 30).unwrap();
    let big = "x".repeat(60_000);
    let batch = [message("small"), message(&big), join(), message(&big)];
    assert_eq!(words(&apply(&mut store, &batch)), ["StorageFull", "StorageFull", "1/1", "StorageFull"]);
    assert_eq!(store.health(), Health::Degraded("the disk is full"));
    let outsider = RecordBody::Access { room: room(), user: user("eve") };
    assert_eq!(words(&apply(&mut store, &[join(), outsider, history()])), ["1/1", "NotMember", "page of 1"]);
    assert_eq!(store.health(), Health::Degraded("the disk is full"), "reading proves nothing");
    store.connection.pragma_update(None, "max_page_count", 10_000).unwrap();
    assert_eq!(words(&apply(&mut store, &batch)), ["2", "3", "3/3", "4"]);
    assert_eq!(store.health(), Health::Ok);
}

#[test]
fn after_a_failed_sync_nothing_is_written_and_everything_is_read() {
    let (_directory, path, mut store) = open();
    assert_eq!(words(&apply(&mut store, &[message("a")])), ["1"]);
    store.stop_writing("test");
    assert_eq!(words(&apply(&mut store, &[message("b"), join()])), ["Unavailable", "1/1"]);
    assert_eq!(words(&apply(&mut store, &[message("c")])), ["Unavailable"]);
    assert_eq!(store.health(), Health::ReadOnly("test"));
    drop(store);
    assert!(path.with_extension("db-wal").exists(), "closing must not copy the log and sync again");
    let mut store = Sqlite::open(&path, false, &[]).unwrap();
    assert_eq!(words(&apply(&mut store, &[join(), message("d")])), ["1/1", "2"]);
}

#[test]
fn a_locked_file_is_unavailable_for_writing_and_still_readable() {
    let (_directory, path, mut store) = open();
    store.connection.busy_timeout(std::time::Duration::from_millis(10)).unwrap();
    let other = schema::connect(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(words(&apply(&mut store, &[message("a"), join()])), ["Unavailable", "0/0"]);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(words(&apply(&mut store, &[message("a"), join()])), ["1", "1/1"]);
}

#[test]
fn errors_are_blamed_on_the_record_the_moment_or_the_file() {
    use rusqlite::ffi;
    let full = Blame::Batch(Refusal::StorageFull, "the disk is full");
    let held = Blame::Batch(Refusal::Unavailable, "another process holds the database");
    let failed = Blame::File("writing or syncing the database failed");
    let cases = [
        (ffi::SQLITE_FULL, full, full),
        (ffi::SQLITE_BUSY_SNAPSHOT, held, held),
        (ffi::SQLITE_IOERR_FSYNC, failed, failed),
        (ffi::SQLITE_IOERR_WRITE, failed, failed),
        (ffi::SQLITE_CORRUPT, Blame::File("the database is damaged"), Blame::File("the database is damaged")),
        (
            ffi::SQLITE_CONSTRAINT_UNIQUE,
            Blame::Record,
            Blame::Batch(Refusal::Unavailable, "the transaction was refused"),
        ),
    ];
    for (code, blame, of_transaction) in cases {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        assert_eq!(Blame::of(&error), blame, "{code}");
        assert_eq!(Blame::of_transaction(&error), of_transaction, "{code}");
    }
}

#[test]
fn one_server_at_a_time() {
    let (_directory, path, store) = open();
    assert!(matches!(Sqlite::open(&path, false, &[]), Err(StoreError::InUse { .. })));
    drop(store);
    Sqlite::open(&path, false, &[]).unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let (_directory, path, _store) = open();
    let error = Sqlite::open(&path.join("below/alt.db"), false, &[]).unwrap_err();
    assert!(matches!(error, StoreError::Directory { .. }), "{error}");
}

#[test]
fn acknowledging_one_by_one_leaves_no_rows_and_marks_the_messages() {
    let (_directory, _path, mut store) = open();
    let ids: Vec<MessageId> = (0..20)
        .map(|_| match apply(&mut store, &[message("a")]).remove(0) {
            Ok(Committed::Message { message, .. }) => message.id,
            other => panic!("{other:?}"),
        })
        .collect();
    let receipt = |message: MessageId, status| {
        RecordBody::Receipt(NewReceipt { room: room(), user: user("bob"), message, status, up_to: false })
    };
    for id in &ids {
        apply(&mut store, &[receipt(*id, ReceiptStatus::Read)]).remove(0).unwrap();
        assert_eq!(count(&store, "receipts"), 0);
    }
    assert_eq!(count(&store, "messages WHERE read = 1 AND delivered = 1 AND delivered_at = read_at"), 20);
    assert_eq!(count(&store, "read_state WHERE read_seq = 20 AND delivered_seq = 20"), 1);
}

#[test]
fn a_long_log_is_copied_into_the_database_outside_of_commits() {
    let (_directory, _path, mut store) = open();
    let waiting = |store: &Sqlite| schema::waiting_pages(&store.connection, "PRAGMA wal_checkpoint(NOOP)").unwrap();
    let big = message(&"x".repeat(65_536));
    while waiting(&store) < schema::CHECKPOINT_PAGES {
        let before = waiting(&store);
        apply(&mut store, &vec![big.clone(); 16]).into_iter().for_each(|result| drop(result.unwrap()));
        assert!(waiting(&store) > before, "no commit copies the log");
    }
    store.tidy();
    assert_eq!(waiting(&store), 0);
    assert_eq!(store.health(), Health::Ok);
}
