//! What a store of databases promises beyond the contract of every store: who is removed is out although nobody asks for
//! him, receipts cost by what they say, and a room of the replaced service is no burden.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, in its helpers too"
)]

#[path = "store/harness.rs"]
#[allow(dead_code, unreachable_pub, reason = "each suite takes what it needs")]
mod harness;

use std::time::{Duration, Instant};

use alt_ws::chat::effect::ReceiptStatus::{Delivered, Read};
use alt_ws::chat::effect::{Committed, PageRequest, RecordBody};
use alt_ws::ids::MessageId;
use alt_ws::store::{MessagesKind, Seat, StoreKind, StructureKind};
use harness::*;
use mongodb::bson::{DateTime, Document, doc, oid::ObjectId};

fn seat(room_id: &str, user_id: &str) -> Seat {
    (room(room_id), user(user_id))
}

/// Runs SQL in the subject's database.
fn sql(subject: &Subject, statements: &str) {
    let StoreKind::Split { structure: StructureKind::Postgres(settings), .. } = &subject.settings.kind else {
        panic!("not in PostgreSQL")
    };
    shared_postgres().execute(&settings.database, statements);
}

/// Waits until the user is told to be out; says who else was told before.
fn until_out(store: &Running, who: &Seat) -> Vec<Seat> {
    let mut told = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(12);
    while !told.contains(who) {
        let left = deadline.saturating_duration_since(Instant::now());
        told.extend(store.removed.recv_timeout(left).unwrap_or_else(|_| panic!("{who:?} is not told out")));
    }
    told
}

#[test]
fn a_silent_reader_who_is_removed_unheard_is_out_whatever_became_of_the_cache() {
    let subject = Subject::postgres_and_sqlite().members(&[("r", "ann"), ("r", "bob"), ("r", "eve")]);
    let store = subject.start();
    store.join("r", "bob", None).unwrap();
    let again = "DELETE FROM conversation_members WHERE user_id = 'bob';
        INSERT INTO conversation_members VALUES ('r', 'bob')";
    sql(&subject, &format!("BEGIN; {again}; COMMIT; DELETE FROM conversation_members WHERE user_id = 'eve'"));
    let told = until_out(&store, &seat("r", "eve"));
    assert!(!told.contains(&seat("r", "bob")), "bob is a member again");
    // Both announcements were taken in, so no answer about bob is kept; and nobody announces what comes now.
    sql(&subject, "ALTER TABLE conversation_members DISABLE TRIGGER USER");
    sql(&subject, "DELETE FROM conversation_members WHERE user_id = 'bob'");
    until_out(&store, &seat("r", "bob"));
}

#[test]
fn many_removals_together_are_asked_about_together() {
    const MANY: usize = 3000;
    let subject = Subject::postgres_and_sqlite().members(&[("r", "ann")]);
    let store = subject.start();
    sql(&subject, &format!("INSERT INTO conversation_members SELECT 'big', n FROM generate_series(1, {MANY}) AS n"));
    sql(&subject, "DELETE FROM conversation_members WHERE conversation_id = 'big'");
    let (mut told, mut questions) = (0, 0);
    while told < MANY {
        told += store.removed.recv_timeout(Duration::from_secs(20)).unwrap().len();
        questions += 1;
    }
    assert_eq!(told, MANY);
    assert!(questions <= MANY / 10, "{questions} questions for {MANY} removals");
}

#[test]
fn single_receipts_above_an_unread_message_cost_one_row_each() {
    const MANY: i64 = 2000;
    let subject = Subject::postgres_and_sqlite().members(&[("r", "ann"), ("r", "bob")]);
    let store = subject.start();
    sql(
        &subject,
        "CREATE SEQUENCE rows;
         CREATE FUNCTION count_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM nextval('rows');
             RETURN coalesce(NEW, OLD);
         END $$;
         CREATE TRIGGER count_row BEFORE INSERT OR UPDATE OR DELETE ON read_receipts
             FOR EACH ROW EXECUTE FUNCTION count_row()",
    );
    let written = |rows: i64| {
        sql(
            &subject,
            &format!(
                "DO $$ BEGIN IF (SELECT last_value FROM rows) <> {rows} THEN
                     RAISE EXCEPTION '% rows were written', (SELECT last_value FROM rows);
                 END IF; END $$"
            ),
        );
    };
    let sent: Vec<_> = store.ask_all((0..=MANY).map(|_| text("r", "ann", "x")).collect());
    let sent: Vec<_> = sent.into_iter().map(stored).collect();
    let read = |message: MessageId| receipt("r", "bob", message, Read, false);
    for messages in sent[1..].chunks(20) {
        for answer in store.ask_all(messages.iter().map(|message| read(message.id)).collect()) {
            assert!(matches!(answer, Ok(Committed::Receipt(receipt)) if receipt.changed));
        }
    }
    written(MANY);
    for message in [&sent[1], &sent[1000], &sent[2000]] {
        assert!(!store.receipt("bob", message, Read, false).unwrap().changed);
        assert!(!store.receipt("bob", message, Delivered, false).unwrap().changed);
    }
    assert_eq!(store.join("r", "bob", None).unwrap().unread, 1);
    written(MANY);
    assert!(store.receipt("bob", &sent[0], Read, false).unwrap().changed);
    assert_eq!(store.join("r", "bob", None).unwrap().unread, 0);
    assert!(store.receipt("bob", &sent[2000], Read, true).unwrap().changed, "{MANY} in a row are more than one look");
    assert!(!store.receipt("bob", &sent[2000], Read, true).unwrap().changed);
}

/// Puts messages of the replaced service into the room, by ann, at the first milliseconds of 2020; their ids.
fn old_messages(subject: &Subject, room: &str, count: u32) -> Vec<MessageId> {
    let StoreKind::Split { messages: MessagesKind::Mongo(settings), .. } = &subject.settings.kind else {
        panic!("not in MongoDB")
    };
    let id = |n: u32| {
        let mut id = [0; 12];
        id[8..].copy_from_slice(&n.to_be_bytes());
        MessageId(id)
    };
    let old = |n: u32| {
        doc! {
            "_id": ObjectId::from_bytes(id(n).0), "conversationId": room, "userId": "ann", "username": "Ann",
            "content": "old", "type": "text", "attachments": [], "delivered": false, "read": false,
            "timestamp": DateTime::from_millis(1_577_836_800_000 + i64::from(n)),
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = mongodb::Client::with_uri_str(&settings.uri).await.unwrap();
        let messages = client.default_database().unwrap().collection::<Document>("messages");
        messages.insert_many((0..count).map(old)).await.unwrap();
    });
    (0..count).map(id).collect()
}

#[test]
fn a_repeated_receipt_for_a_message_of_the_replaced_service_changes_nothing() {
    let subject = Subject::sqlite_and_mongo().members(&[("r", "ann"), ("r", "bob"), ("r", "eve")]);
    let store = subject.start();
    let old = old_messages(&subject, "r", 4);
    let changed = |receipts: Vec<RecordBody>| -> Vec<bool> {
        let changed = |answer| match answer {
            Ok(Committed::Receipt(receipt)) => receipt.changed,
            other => panic!("{other:?}"),
        };
        store.ask_all(receipts).into_iter().map(changed).collect()
    };
    let up_to = |user, n: usize, status| receipt("r", user, old[n], status, true);
    let one = |user, n: usize, status| receipt("r", user, old[n], status, false);
    assert_eq!(changed(vec![one("bob", 2, Read), one("bob", 2, Read), one("eve", 2, Delivered)]), [true, false, true]);
    assert_eq!(changed(vec![up_to("bob", 2, Read)]), [true], "the ones before it are not read yet");
    assert_eq!(changed(vec![up_to("bob", 2, Read), up_to("bob", 1, Delivered), one("eve", 0, Read)]), [false; 3]);
    assert_eq!(changed(vec![up_to("bob", 3, Read), up_to("bob", 3, Read)]), [true, false]);
    assert_eq!(changed(vec![up_to("bob", 3, Read), up_to("eve", 3, Read)]), [false; 2]);
}

#[test]
fn the_first_message_that_is_read_up_to_takes_the_old_ones_with_it() {
    let subject = Subject::sqlite_and_mongo().members(&[("r", "ann"), ("r", "bob")]);
    let store = subject.start();
    old_messages(&subject, "r", 700);
    let new = store.send("r", "ann", "new");
    assert!(store.receipt("bob", &new, Read, true).unwrap().changed);
    // Those of the first step; how far it goes on depends on the time.
    for before in [1, -150, -290] {
        let page = PageRequest { before: Some(before), after: None, limit: 200 };
        let page = store.page("r", "bob", page).unwrap();
        assert!(page.messages.len() == 200 && page.messages.iter().all(|message| message.read), "{before}");
    }
}
