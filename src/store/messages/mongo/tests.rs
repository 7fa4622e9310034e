//! Against a real server: what is stored, in which order, and what happens when it fails.

use std::time::{Duration, Instant};

use mongodb::bson::{Bson, DateTime, Document, doc, oid::ObjectId};

use super::*;
use crate::chat::effect::{Missed, NewMessage, Page, PageRequest, ReceiptStatus};
use crate::chat::event::Message;
use crate::ids::{MessageId, RoomId, Timestamp, UserId};
use crate::store::messages::{Draft, Fate, LastSeqs, Mark, OldMark, Stamp, Which};
use crate::store::page::PageBuilder;
use crate::store::reader::Reader;
use crate::store::services;
use crate::store::stamp::Stamps;

fn room(id: &str) -> RoomId {
    RoomId::from_parts(id, true).unwrap()
}

fn user(id: &str) -> UserId {
    UserId::from_parts(id, true).unwrap()
}

/// A message of ann.
fn says(room_id: &str, content: &str) -> NewMessage {
    NewMessage {
        room: room(room_id),
        user: user("ann"),
        username: "Ann".into(),
        content: content.to_owned(),
        kind: "text".to_owned(),
        attachments: "[]".to_owned(),
        temp_id: Some("\"t\"".to_owned()),
        client_msg_id: None,
    }
}

fn resendable(room: &str, content: &str) -> NewMessage {
    NewMessage { client_msg_id: Some(content.to_owned()), ..says(room, content) }
}

/// A server of the chat: its side of the store, and the messages on their way into it.
struct Chat {
    mongo: Mongo,
    seqs: LastSeqs,
    stamps: Stamps,
}

impl Chat {
    fn new(uri: String) -> Self {
        let mongo = Mongo::new(&MongoSettings { uri }).unwrap();
        Self { mongo, seqs: LastSeqs::default(), stamps: Stamps::new().unwrap() }
    }

    /// On a database of its own.
    fn alone() -> Self {
        let server = services::shared_mongo();
        Self::new(server.uri(&server.database()))
    }

    fn stamp(&mut self) -> Stamp {
        let timestamp = self.stamps.now();
        Stamp { id: self.stamps.id(timestamp), timestamp, in_doubt: None }
    }

    fn stamped(&mut self, messages: Vec<NewMessage>) -> Vec<(NewMessage, Stamp)> {
        messages.into_iter().map(|new| (new, self.stamp())).collect()
    }

    async fn try_insert(&mut self, waiting: &mut [(NewMessage, Stamp)]) -> (Result<(), Fault>, Vec<Option<Fate>>) {
        let drafts = waiting.iter_mut().map(|(new, stamp)| Draft { new, stamp, fate: None });
        let mut drafts: Vec<Draft<'_>> = drafts.collect();
        let result = self.mongo.insert(&mut self.seqs, &mut drafts).await;
        (result, drafts.into_iter().map(|draft| draft.fate).collect())
    }

    /// Tries until the driver has found its server again, as a lane would.
    async fn insert_in_the_end(
        &mut self,
        waiting: &mut [(NewMessage, Stamp)],
    ) -> (Result<(), Fault>, Vec<Option<Fate>>) {
        let since = std::time::Instant::now();
        loop {
            let tried = self.try_insert(waiting).await;
            if tried.0.is_ok() || since.elapsed() > std::time::Duration::from_secs(10) {
                return tried;
            }
        }
    }

    /// Short words for what became of the messages: a seq, `again SEQ`, or the refusal.
    async fn insert(&mut self, messages: Vec<NewMessage>) -> Vec<String> {
        let mut waiting = self.stamped(messages);
        let (result, fates) = self.try_insert(&mut waiting).await;
        result.unwrap();
        assert!(waiting.iter().all(|(_, stamp)| stamp.in_doubt.is_none()));
        fates.into_iter().map(|fate| word(&fate.unwrap())).collect()
    }

    async fn collection(&self) -> Collection<Document> {
        self.mongo.messages().await.unwrap().clone_with_type()
    }

    async fn database(&self, command: Document) -> Document {
        let messages = self.collection().await;
        messages.client().database(&messages.namespace().db).run_command(command).await.unwrap()
    }

    /// The contents of a room in the order of their seqs, which have no holes.
    async fn contents(&self, id: &str) -> Vec<String> {
        let mut contents = Vec::new();
        loop {
            let after = i64::try_from(contents.len()).unwrap();
            let request = PageRequest { before: None, after: Some(after), limit: Page::MAX_MESSAGES };
            let page = self.mongo.page(&room(id), &request).await.unwrap();
            for message in page.messages {
                contents.push(message.content);
                assert_eq!(message.seq, i64::try_from(contents.len()).unwrap());
            }
            if !page.has_more {
                return contents;
            }
        }
    }
}

fn word(fate: &Fate) -> String {
    match fate {
        Fate::Stored(seq) => seq.to_string(),
        Fate::Duplicate(first) => format!("again {}", first.seq),
        Fate::Refused(refusal) => format!("{refusal:?}"),
    }
}

fn words(fates: &[Option<Fate>]) -> Vec<String> {
    fates.iter().map(|fate| fate.as_ref().map_or("?".to_owned(), word)).collect()
}

fn fail(server: &services::Mongo, times: i32, mut data: Document) {
    data.insert("failCommands", vec!["insert"]);
    server.fail_point(doc! {"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data});
}

#[tokio::test]
async fn messages_are_stored_as_other_services_expect_them_and_found_again() {
    let mut chat = Chat::alone();
    let attachments = r#"[{"url":"/a","size":12345678901234567890}]"#.to_owned();
    let first = NewMessage { attachments: attachments.clone(), ..resendable("5", "one\0") };
    assert_eq!(chat.insert(vec![first, says("6", "other"), says("5", "two")]).await, ["1", "1", "2"]);
    assert_eq!(chat.insert(vec![says("5", "three")]).await, ["3"]);
    let stored = chat.collection().await.find_one(doc! {"room": "5", "seq": 1}).await.unwrap().unwrap();
    let id = stored.get_object_id("_id").unwrap();
    assert_eq!(stored.get("conversationId"), Some(&Bson::Int32(5)));
    assert_eq!(stored.get("userId"), Some(&Bson::String("ann".into())));
    assert!(stored.get_datetime("timestamp").is_ok() && stored.get_array("attachments").unwrap().len() == 1);

    let page = chat.mongo.page(&room("5"), &PageRequest { before: None, after: None, limit: 2 }).await.unwrap();
    let contents = |messages: &[Message]| messages.iter().map(|m| m.content.clone()).collect::<Vec<_>>();
    assert_eq!((contents(&page.messages), page.has_more), (vec!["two".to_owned(), "three".to_owned()], true));
    let missed = chat.mongo.missed(&room("5"), 0, 2).await.unwrap();
    assert_eq!((contents(&missed.messages), missed.complete), (vec!["one\0".to_owned(), "two".to_owned()], true));
    assert_eq!(missed.messages[0].attachments, attachments);
    assert_eq!(missed.messages[0].client_msg_id.as_deref(), Some("one\0"));

    let id = MessageId(id.bytes());
    let wanted = [(room("5"), id), (room("6"), id), (room("5"), MessageId([7; 12]))];
    let targets = chat.mongo.targets(&wanted).await.unwrap();
    let target = targets[0].as_ref().unwrap();
    assert_eq!((target.seq, target.user.as_str(), target.delivered), (Some(1), "ann", false));
    assert!(targets[1].is_none() && targets[2].is_none());
    assert_eq!(chat.mongo.authors(&room("5"), 1, 1).await.unwrap(), [(2, user("ann"))]);
    assert_eq!(chat.mongo.authors(&room("5"), -7, 9).await.unwrap().len(), 3);
    let last = [chat.mongo.last_seq(&room("5")).await, chat.mongo.last_seq(&room("7")).await];
    assert_eq!(last, [Ok(3), Ok(0)]);
    let read_one = Reader::from_parts(1, 1, [(3, ReceiptStatus::Read)].into());
    for (name, reader, expected) in [("ann", Reader::default(), 0), ("bob", Reader::default(), 3), ("bob", read_one, 1)]
    {
        assert_eq!(chat.mongo.unread(&room("5"), &user(name), &reader).await, Ok(expected), "{name}");
    }
}

#[tokio::test]
async fn missed_messages_are_bounded_by_number_and_bytes() {
    let mut chat = Chat::alone();
    chat.insert((0..250).map(|n| says("many", &n.to_string())).collect()).await;
    chat.insert((0..12).map(|_| says("large", &"x".repeat(60_000))).collect()).await;
    for (id, since, fence, expected) in [
        ("many", 0, 250, (Missed::MAX_MESSAGES, false)),
        ("many", 50, 250, (200, true)),
        ("many", 10, 12, (2, true)),
        ("large", 0, 12, (3, false)),
        ("large", 12, 12, (0, true)),
        ("large", 99, 12, (0, true)),
    ] {
        let missed = chat.mongo.missed(&room(id), since, fence).await.unwrap();
        assert_eq!((missed.messages.len(), missed.complete), expected, "{id} {since}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_that_write_to_one_room_at_once_leave_no_hole_and_keep_each_order() {
    let server = services::shared_mongo();
    let database = server.database();
    let hammer = |name: &'static str| {
        let mut chat = Chat::new(server.uri(&database));
        tokio::spawn(async move {
            let mut told = Vec::new();
            for batch in 0..15 {
                let messages = (0..20).map(|n| resendable("5", &format!("{name} {batch} {n}"))).collect();
                told.extend(chat.insert(messages).await);
            }
            told.into_iter().map(|word| word.parse::<i64>().unwrap()).collect::<Vec<_>>()
        })
    };
    let (one, two) = (hammer("one"), hammer("two"));
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    assert!(one.is_sorted() && two.is_sorted(), "each server's messages keep their order");
    let mut all = [one, two].concat();
    all.sort_unstable();
    assert_eq!(all, (1..=600).collect::<Vec<i64>>());
    assert_eq!(Chat::new(server.uri(&database)).contents("5").await.len(), 600);
}

#[tokio::test]
async fn what_was_sent_before_is_answered_with_the_first_and_takes_no_number() {
    let mut chat = Chat::alone();
    assert_eq!(chat.insert(vec![resendable("5", "a"), resendable("5", "b")]).await, ["1", "2"]);
    let batch =
        vec![says("5", "c"), resendable("5", "b"), resendable("5", "d"), resendable("5", "d"), resendable("6", "a")];
    assert_eq!(chat.insert(batch).await, ["3", "again 2", "4", "again 4", "again 1"]);
    assert_eq!(chat.contents("5").await, ["a", "b", "c", "d"]);
    let mut other = NewMessage { user: user("7"), ..resendable("5", "a") };
    assert_eq!(chat.insert(vec![other.clone()]).await, ["5"], "the same name of another user");
    let mut waiting = chat.stamped(vec![other.clone()]);
    let (_, fates) = chat.try_insert(&mut waiting).await;
    let Some(Some(Fate::Duplicate(first))) = fates.first() else { panic!("{fates:?}") };
    assert!(first.user.is_numeric() && first.temp_id.is_none() && first.content == "a");
    other.content = "in the meantime edited".to_owned();
    assert_eq!(chat.insert(vec![other]).await, ["again 5"]);
    // After an outage everybody resends everything.
    let all = |n: usize| (0..n).map(|n| resendable("storm", &format!("s{n}"))).collect::<Vec<_>>();
    chat.insert(all(250)).await;
    let again = chat.insert(all(255)).await;
    assert_eq!((again[0].as_str(), again[249].as_str(), again[254].as_str()), ("again 1", "again 250", "255"));
}

#[tokio::test]
async fn a_number_that_another_server_took_is_taken_again_further_on() {
    let server = services::shared_mongo();
    let database = server.database();
    let (mut one, mut two) = (Chat::new(server.uri(&database)), Chat::new(server.uri(&database)));
    assert_eq!(one.insert(vec![says("5", "a"), says("6", "A")]).await, ["1", "1"]);
    assert_eq!(two.insert(vec![says("5", "b"), says("6", "B")]).await, ["2", "2"]);
    assert_eq!(
        one.insert(vec![says("7", "x"), says("5", "c"), says("6", "C"), says("5", "d")]).await,
        ["1", "3", "3", "4"]
    );
    assert_eq!(one.contents("5").await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_message_that_the_collection_does_not_take_fails_alone() {
    let mut chat = Chat::alone();
    chat.mongo.ready().await.unwrap();
    let poison = "poison".to_owned();
    chat.database(doc! {"collMod": COLLECTION, "validator": {"content": {"$ne": &poison}}}).await;
    let batch = || vec![says("5", "a"), says("5", "poison"), says("6", "poison"), says("5", "b")];
    assert_eq!(chat.insert(batch()).await, ["1", "Internal", "Internal", "2"]);
    chat.database(doc! {"collMod": COLLECTION, "validator": {}}).await;
    let own = doc! {"key": {"content": 1}, "name": "theirs", "unique": true};
    chat.database(doc! {"createIndexes": COLLECTION, "indexes": [own]}).await;
    assert_eq!(chat.insert(vec![says("5", "c"), says("5", "a"), says("5", "d")]).await, ["3", "Internal", "4"]);
    let large = says("5", &"x".repeat(16 * 1024 * 1024));
    assert_eq!(chat.insert(vec![says("5", "e"), large, says("5", "f")]).await, ["5", "Internal", "6"]);
    assert_eq!(chat.contents("5").await, ["a", "b", "c", "d", "e", "f"]);
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_the_next_call_without_a_second_copy() {
    let server = services::Mongo::start();
    let mut chat = Chat::new(server.uri("chat"));
    assert_eq!(chat.insert(vec![says("5", "a")]).await, ["1"]);
    let stepped_down = Fault::Down("MongoDB has no primary, or is going down");
    let not_done = [
        (doc! {"closeConnection": true}, Fault::Down("MongoDB is not reached")),
        (doc! {"errorCode": 10107}, stepped_down),
        (doc! {"errorCode": 11600}, stepped_down),
        (doc! {"errorCode": 14031}, Fault::Full),
        (doc! {"errorCode": 13}, Fault::Down("MongoDB needs the operator")),
    ];
    let done = doc! {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}};
    let done = (done, Fault::Down("MongoDB could not make it durable"));
    for (number, (data, fault)) in (0_i64..).zip(not_done.into_iter().chain([done])) {
        let mut waiting = chat.stamped(vec![resendable("5", &format!("b{number}")), says("5", "c"), says("6", "C")]);
        fail(&server, 1, data.clone());
        let (result, fates) = chat.try_insert(&mut waiting).await;
        assert_eq!((result, words(&fates).join(" ")), (Err(fault), "? ? ?".to_owned()), "{data}");
        let doubts: Vec<_> = waiting.iter().map(|(_, stamp)| stamp.in_doubt).collect();
        let seq = 2 + 2 * number;
        let is_doubted = fault != Fault::Full;
        let expected = [seq, seq + 1, number + 1].map(|seq| is_doubted.then_some(seq));
        assert_eq!(doubts, expected, "{data}: what has no room is known not to be there");
        // Somebody else's message arrives before the retry.
        waiting.extend(chat.stamped(vec![resendable("7", &format!("b{number}"))]));
        let (result, fates) = chat.insert_in_the_end(&mut waiting).await;
        let expected = [seq.to_string(), (seq + 1).to_string(), (number + 1).to_string(), format!("again {seq}")];
        assert_eq!((result, words(&fates)), (Ok(()), expected.to_vec()), "{data}");
    }
    assert_eq!(chat.contents("5").await.len(), 13);
    assert_eq!(chat.contents("6").await.len(), 6);
}

#[tokio::test]
async fn a_command_that_is_refused_as_a_whole_is_taken_apart() {
    let server = services::Mongo::start();
    let mut chat = Chat::new(server.uri("chat"));
    chat.mongo.ready().await.unwrap();
    fail(&server, 2, doc! {"errorCode": 2});
    let batch = |n: usize| (0..n).map(|n| says("5", &n.to_string())).collect::<Vec<_>>();
    assert_eq!(chat.insert(batch(5)).await, ["1", "2", "3", "4", "5"]);
    fail(&server, 3, doc! {"errorCode": 2});
    assert_eq!(chat.insert(batch(4)).await, ["Internal", "6", "7", "8"]);
}

#[tokio::test]
async fn an_insert_that_runs_long_after_it_was_given_up_changes_nothing() {
    let server = services::Mongo::start();
    let mut chat = Chat::new(server.uri("chat"));
    let mut other = Chat::new(server.uri("chat"));
    assert_eq!(chat.insert(vec![says("5", "a"), says("6", "A")]).await, ["1", "1"]);
    fail(&server, 1, doc! {"blockConnection": true, "blockTimeMS": 7000});
    let mut waiting = chat.stamped(vec![says("5", "b"), says("6", "B"), says("5", "c")]);
    let began = Instant::now();
    let (result, _) = chat.try_insert(&mut waiting).await;
    assert_eq!(result, Err(Fault::Late("MongoDB did not answer in time")));
    assert!(began.elapsed() < Duration::from_millis(6500), "{:?}", began.elapsed());
    assert_eq!(other.insert(vec![says("6", "between")]).await, ["2"]);
    let (result, fates) = chat.try_insert(&mut waiting).await;
    assert_eq!((result, words(&fates)), (Ok(()), vec!["2".to_owned(), "3".to_owned(), "3".to_owned()]));
    assert!(began.elapsed() < Duration::from_millis(6900), "the first attempt has run too early");
    tokio::time::sleep(Duration::from_millis(7500).saturating_sub(began.elapsed())).await;
    assert_eq!(chat.contents("5").await, ["a", "b", "c"]);
    assert_eq!(chat.contents("6").await, ["A", "between", "B"]);
    assert_eq!(chat.collection().await.count_documents(doc! {}).await.unwrap(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_told_in_time_and_used_again_when_it_is_back() {
    let server = services::Mongo::start();
    let mut chat = Chat::new(server.uri("chat"));
    assert_eq!(chat.insert(vec![says("5", "a")]).await, ["1"]);
    let mut waiting = chat.stamped(vec![says("5", "b")]);
    for (away, back) in [
        (services::Mongo::kill as fn(&services::Mongo), services::Mongo::start_again as fn(&services::Mongo)),
        (services::Mongo::pause, services::Mongo::resume),
    ] {
        away(&server);
        let began = Instant::now();
        assert!(matches!(chat.mongo.ping().await, Err(Fault::Down(_) | Fault::Late(_))));
        assert!(matches!(chat.mongo.last_seq(&room("5")).await, Err(Fault::Down(_) | Fault::Late(_))));
        assert!(matches!(chat.try_insert(&mut waiting).await.0, Err(Fault::Down(_) | Fault::Late(_))));
        assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
        back(&server);
        let began = Instant::now();
        while chat.mongo.ping().await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(10));
        }
        let (result, fates) = chat.try_insert(&mut waiting).await;
        let seq = chat.mongo.last_seq(&room("5")).await.unwrap();
        assert_eq!((result, words(&fates)), (Ok(()), vec![seq.to_string()]));
        waiting = chat.stamped(vec![says("5", "c")]);
    }
    assert_eq!(chat.contents("5").await, ["a", "b", "c"]);
    // Nobody there from the start.
    let away = Chat::new("mongodb://127.0.0.1:1/chat".to_owned());
    assert!(matches!(away.mongo.ready().await, Err(Fault::Down(_))));
}

/// The documents of the replaced service in all their forms, oldest first.
async fn old_documents(chat: &Chat, count: i64) -> Vec<String> {
    chat.mongo.ready().await.unwrap();
    let mut contents = Vec::new();
    let mut documents = Vec::new();
    for n in 0..count {
        let content = format!("old {n}");
        let conversation = match n % 4 {
            0 => Bson::String("5".into()),
            1 => Bson::Int32(5),
            2 => Bson::Double(5.0),
            _ => Bson::Int64(5),
        };
        // Two at a time share their moment.
        let time = DateTime::from_millis(1_600_000_000_000 + n / 2);
        let mut id = [0; 12];
        id[4..].copy_from_slice(&n.to_be_bytes());
        documents.push(doc! {
            "_id": ObjectId::from_bytes(id), "conversationId": conversation, "userId": n % 3, "username": "Old",
            "content": &content, "type": "text", "attachments": [], "timestamp": time, "delivered": false,
            "read": n % 5 == 0,
        });
        contents.push(content);
    }
    documents.push(doc! {"conversationId": "6", "content": "of another room"});
    chat.collection().await.insert_many(documents).await.unwrap();
    contents
}

#[tokio::test]
async fn the_history_goes_on_before_seq_1_with_the_messages_of_the_replaced_service() {
    let mut chat = Chat::alone();
    let old = old_documents(&chat, 117).await;
    chat.insert((1..=8).map(|n| says("5", &format!("new {n}"))).collect()).await;
    let new = (1..=8).map(|n| format!("new {n}"));
    let model: Vec<(i64, String)> = (-116..).zip(old.into_iter().chain(new)).collect();
    let bounds =
        [None, Some(-500), Some(-116), Some(-115), Some(-60), Some(-1), Some(0), Some(1), Some(2), Some(8), Some(9)];
    for before in bounds.into_iter().chain([Some(i64::MIN), Some(i64::MAX)]) {
        for after in bounds.into_iter().chain([Some(i64::MIN), Some(i64::MAX)]) {
            for limit in [1, 7, 200] {
                let request = PageRequest { before, after, limit };
                let page = chat.mongo.page(&room("5"), &request).await.unwrap();
                let shown = page.messages.iter().map(|message| (message.seq, message.content.clone()));
                assert_eq!((shown.collect(), page.has_more), expected(&model, &request), "{request:?}");
            }
        }
    }
    let missed = chat.mongo.missed(&room("5"), -3, 8).await.unwrap();
    assert_eq!((missed.messages.len(), missed.complete), (11, true));
    assert_eq!(chat.mongo.last_seq(&room("5")).await, Ok(8));
}

#[tokio::test]
async fn deep_in_an_old_room_a_page_begins_near_the_one_before() {
    let mut chat = Chat::alone();
    let old = old_documents(&chat, 900).await;
    chat.mongo.places.apart = 100;
    let all = |messages: &[(i64, String)]| messages.iter().map(|(_, content)| content.clone()).collect::<Vec<_>>();
    let mut seen: Vec<(i64, String)> = Vec::new();
    loop {
        let before = seen.first().map(|(seq, _)| *seq);
        let age = u64::try_from(-before.unwrap_or(1) + 1).unwrap();
        let passed = chat.mongo.walk_to(&room("5"), age).await.unwrap().skip(age);
        assert!(passed <= 170, "{passed} messages are passed over for the one of age {age}");
        let page = PageRequest { before, after: None, limit: 70 };
        let page = chat.mongo.page(&room("5"), &page).await.unwrap();
        seen.splice(0..0, page.messages.into_iter().map(|message| (message.seq, message.content)));
        if !page.has_more {
            break;
        }
    }
    assert_eq!(all(&seen), old);
    assert!(seen.iter().map(|(seq, _)| *seq).eq(-899..=0));
    for after in [-899, -500, -234, -101] {
        let page = PageRequest { before: None, after: Some(after), limit: 100 };
        let page = chat.mongo.page(&room("5"), &page).await.unwrap();
        let first = usize::try_from(after + 900).unwrap();
        let contents: Vec<_> = page.messages.into_iter().map(|message| message.content).collect();
        assert_eq!((&contents[..], page.has_more), (&old[first..first + 100], true), "{after}");
    }
}

#[tokio::test]
async fn a_place_that_is_far_from_every_known_one_is_walked_to_over_several_questions() {
    let mut chat = Chat::alone();
    let old = old_documents(&chat, 1250).await;
    (chat.mongo.places.stride, chat.mongo.places.apart) = (100, 20);
    let oldest = PageRequest { before: Some(-1240), after: None, limit: 50 };
    let upwards = PageRequest { before: None, after: Some(-1246), limit: 3 };
    let mut refused = 0;
    let page = loop {
        match chat.mongo.page(&room("5"), &oldest).await {
            Ok(page) => break page,
            Err(Fault::Late(_)) => refused += 1,
            Err(fault) => panic!("{fault:?}"),
        }
    };
    assert_eq!((refused, page.messages.len(), page.has_more), (2, 9, false), "500 messages a question");
    assert_eq!((page.messages[0].seq, &page.messages[0].content), (-1249, &old[0]));
    let page = chat.mongo.page(&room("5"), &upwards).await.unwrap();
    let seqs: Vec<i64> = page.messages.iter().map(|message| message.seq).collect();
    assert_eq!((seqs, page.has_more), (vec![-1245, -1244, -1243], true));
    assert_eq!(page.messages[0].content, old[4]);
    // Whatever another hand left without a date is the oldest.
    chat.collection().await.insert_one(doc! {"conversationId": 5, "content": "undated"}).await.unwrap();
    let page = chat.mongo.page(&room("5"), &oldest).await.unwrap();
    assert_eq!((page.messages.len(), page.messages[0].seq, &*page.messages[0].content), (10, -1250, "undated"));
    let from_it = PageRequest { before: None, after: Some(-1251), limit: 2 };
    let page = chat.mongo.page(&room("5"), &from_it).await.unwrap();
    let contents: Vec<_> = page.messages.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(contents, ["undated", "old 0"]);
    // Beyond the oldest there is nothing, however far.
    let beyond = PageRequest { before: Some(i64::MIN), after: None, limit: 50 };
    assert_eq!(chat.mongo.page(&room("5"), &beyond).await.unwrap().messages, []);
}

#[tokio::test]
async fn the_history_of_the_replaced_service_is_found_in_its_index() {
    let chat = Chat::alone();
    old_documents(&chat, 40).await;
    let place = place::Place::of(&mongodb::bson::rawdoc! {
        "_id": ObjectId::from_bytes([0; 12]), "timestamp": DateTime::from_millis(1_600_000_000_010),
    });
    let mut until = place::unnumbered(&room("5"));
    until.insert("timestamp", doc! {"$lte": DateTime::from_millis(1_600_000_000_010)});
    for filter in [place::unnumbered(&room("5")), place.unwrap().older(&room("5")), until] {
        let find =
            doc! {"find": COLLECTION, "filter": &filter, "sort": place::newest_first(), "limit": 5, "hint": UNNUMBERED};
        let plan = chat.database(doc! {"explain": find, "verbosity": "queryPlanner"}).await.to_string();
        assert!(plan.contains(UNNUMBERED) && !plan.contains("COLLSCAN"), "{filter}: {plan}");
    }
}

#[tokio::test]
async fn old_messages_are_marked_in_steps_and_a_bounded_number_of_them() {
    let chat = Chat::alone();
    old_documents(&chat, 300).await;
    let until = Timestamp(1_600_000_000_000 + 250 / 2);
    let mark = |name: &str, status| OldMark { room: room("5"), user: user(name), status, until };
    let marks = [mark("7", ReceiptStatus::Read), mark("8", ReceiptStatus::Delivered)];
    assert_eq!(chat.mongo.mark_in_steps(&marks, Timestamp(1), 25, 4).await, Ok(vec![true; 2]));
    // Up to 251, which shares the moment of 250, a hundred back; a busy machine may be out of time earlier.
    let marked = chat.collection().await.distinct("content", doc! {"readAt": {"$exists": true}}).await.unwrap();
    let number = |content: &Bson| content.as_str().unwrap().strip_prefix("old ").unwrap().parse::<i64>().unwrap();
    let mut marked: Vec<i64> = marked.iter().map(number).collect();
    marked.sort_unstable();
    let whole: Vec<i64> = (152..=251).filter(|n| n % 5 != 0).collect();
    assert!(whole.ends_with(&marked) && marked.len() >= 20, "{marked:?}");
    let count = async |filter| chat.collection().await.count_documents(filter).await.unwrap();
    assert_eq!(count(doc! {"readAt": {"$exists": true}, "delivered": true}).await, marked.len() as u64);
    // Again there is nothing to do so near, and the next step goes on from there.
    assert_eq!(chat.mongo.mark_in_steps(&marks[..1], Timestamp(2), 20, 1).await, Ok(vec![false]));
}

fn expected(model: &[(i64, String)], request: &PageRequest) -> (Vec<(i64, String)>, bool) {
    let (after, before) = (request.after.unwrap_or(i64::MIN), request.before.unwrap_or(i64::MAX));
    let mut within = model.iter().filter(|(seq, _)| *seq > after && *seq < before);
    let mut page = PageBuilder::new(request);
    let mut next = || if request.after.is_some() { within.next() } else { within.next_back() };
    while let Some((seq, content)) = next() {
        let message = says("5", content).stored(MessageId([0; 12]), *seq, Timestamp(0));
        if !page.push(message) {
            break;
        }
    }
    let page = page.finish();
    (page.messages.into_iter().map(|message| (message.seq, message.content)).collect(), page.has_more)
}

#[tokio::test]
async fn a_mark_is_made_once_and_never_on_ones_own() {
    let mut chat = Chat::alone();
    old_documents(&chat, 10).await;
    let by_bob = |content: &str| NewMessage { user: user("7"), ..says("5", content) };
    chat.insert(vec![says("5", "a"), by_bob("b"), says("5", "c"), says("5", "d")]).await;
    let mark = |name: &str, status, which| Mark { room: room("5"), user: user(name), status, which };
    let flags = async |chat: &Chat| {
        let page = PageRequest { before: None, after: Some(0), limit: 9 };
        let messages = chat.mongo.page(&room("5"), &page).await.unwrap().messages;
        let flag = |m: Message| format!("{}{}", if m.delivered { "d" } else { "" }, if m.read { "r" } else { "" });
        messages.into_iter().map(flag).collect::<Vec<_>>()
    };
    use ReceiptStatus::{Delivered, Read};
    let first = [mark("7", Delivered, Which::Seqs(1, 3))];
    assert_eq!(chat.mongo.mark(&first, Timestamp(1000)).await, Ok(()));
    assert_eq!(flags(&chat).await, ["d", "", "d", ""], "not bob's own");
    assert_eq!(chat.mongo.mark(&first, Timestamp(2000)).await, Ok(()));
    let several = [
        mark("7", Delivered, Which::Seqs(1, 3)),
        mark("7", Read, Which::Seqs(3, 4)),
        mark("8", Read, Which::Seqs(2, 2)),
        mark("ann", Read, Which::Seqs(1, 1)),
    ];
    assert_eq!(chat.mongo.mark(&several, Timestamp(3000)).await, Ok(()));
    assert_eq!(flags(&chat).await, ["d", "dr", "dr", "dr"]);
    assert_eq!(chat.mongo.mark(&[], Timestamp(3000)).await, Ok(()));
    let times = async |seq: i64| {
        let stored = chat.collection().await.find_one(doc! {"room": "5", "seq": seq}).await.unwrap().unwrap();
        ["deliveredAt", "readAt"].map(|name| stored.get_datetime(name).ok().map(|time| time.timestamp_millis()))
    };
    assert_eq!(times(1).await, [Some(1000), None]);
    assert_eq!(times(3).await, [Some(1000), Some(3000)], "when first set");
    assert_eq!(times(4).await, [Some(3000), Some(3000)]);

    // Of the replaced service's ten, 0, 3, 6 and 9 are by user 0; 0 and 5 are read.
    let mut id = [0; 12];
    id[11] = 4;
    let target = chat.mongo.targets(&[(room("5"), MessageId(id))]).await.unwrap().remove(0).unwrap();
    assert_eq!((target.seq, target.user.as_str(), target.read), (None, "1", false));
    let one = mark("0", Read, Which::One(MessageId(id)));
    let up_to = |name: &str| OldMark { room: room("5"), user: user(name), status: Read, until: target.timestamp };
    assert_eq!(chat.mongo.mark(&[one], Timestamp(1)).await, Ok(()));
    assert_eq!(chat.mongo.mark_old(&[up_to("0"), up_to("0"), up_to("1")], Timestamp(1)).await, Ok(vec![true; 3]));
    assert_eq!(chat.mongo.mark_old(&[up_to("0"), up_to("7")], Timestamp(1)).await, Ok(vec![false; 2]));
    let read = chat.collection().await.count_documents(doc! {"seq": null, "read": true}).await.unwrap();
    assert_eq!(read, 6, "0 and 5 were; 4 alone, then 1, 2 and, for another reader, 3 with it; 5 shares its moment");
}

#[tokio::test]
async fn indexes_that_the_collection_forbids_wait_for_the_operator() {
    let chat = Chat::alone();
    let messages = chat.collection().await;
    messages.insert_many([doc! {"room": "5", "seq": 1}, doc! {"room": "5", "seq": 1}]).await.unwrap();
    messages
        .create_index(
            mongodb::IndexModel::builder()
                .keys(doc! {"conversationId": 1, "timestamp": 1})
                .options(mongodb::options::IndexOptions::builder().name("theirs".to_owned()).build())
                .build(),
        )
        .await
        .unwrap();
    assert_eq!(chat.mongo.ready().await, Err(Fault::Down("MongoDB needs the operator")));
    messages.delete_one(doc! {"room": "5"}).await.unwrap();
    assert_eq!(chat.mongo.ready().await, Ok(()));
    let mut names = messages.list_index_names().await.unwrap();
    names.sort();
    assert_eq!(names, ["_id_", ROOM_SEQ, UNNUMBERED, USER_CLIENT_MSG_ID, "theirs"]);
}

#[test]
fn an_address_is_refused_without_repeating_it() {
    for uri in ["", "localhost", "http://a", "mongodb://", "mongodb://u:p@ss/w@h/db"] {
        let error = Mongo::new(&MongoSettings { uri: uri.to_owned() }).map(drop).unwrap_err();
        assert!(error.to_string().starts_with("MONGO_URI"), "{uri}");
    }
    let uri = "mongodb://user:secret@localhost/db".to_owned();
    let settings = MongoSettings { uri };
    assert!(!format!("{settings:?} {:?}", Mongo::new(&settings).unwrap()).contains("secret"));
}
