//! Messages that the store refuses, among others that it takes.

use mongodb::bson::{Document, doc};

use super::harness::services::{Mongo, shared_postgres};
use super::harness::{new_message, once};
use super::world::*;
use alt_ws::chat::effect::{Committed, NewMessage, RecordBody, Refusal};
use alt_ws::store::StoreSettings;

/// A world whose collection was made by somebody who allows not everything.
fn choosy(mongo: &Mongo) -> World {
    let mut world = World::on(mongo, shared_postgres()).one_lane();
    let validator: Document = doc! {"content": {"$ne": "poison"}};
    world.command(doc! {"create": "messages", "validator": validator});
    world.settings.queue_bytes = 4 * StoreSettings::QUEUE_BYTES;
    world
}

fn message(room: &str, content: &str, client_msg_id: &str) -> RecordBody {
    once(room, "ann", content, client_msg_id, "1")
}

/// A seq, `again SEQ`, or the refusal.
fn word(told: &super::ledger::Told) -> String {
    match &told.answer {
        Ok(Committed::Message { message, duplicate: false }) => message.seq.to_string(),
        Ok(Committed::Message { message, duplicate: true }) => format!("again {}", message.seq),
        other => format!("{:?}", other.as_ref().err()),
    }
}

#[test]
fn what_is_refused_in_a_batch_is_refused_alone_also_when_the_batch_is_tried_again() {
    let mongo = Mongo::start();
    let world = choosy(&mongo);
    let desk = world.start();
    assert_eq!(word(&desk.ask(message("a", "first", "first"))), "1");
    let huge = "x".repeat(16 * 1024 * 1024);
    for (round, data) in
        [None, Some(doc! {"closeConnection": true}), Some(doc! {"errorCode": 11600})].iter().enumerate()
    {
        if let Some(data) = data {
            let mut data = data.clone();
            data.insert("failCommands", vec!["insert"]);
            mongo.fail_point(doc! {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data});
        }
        let id = |name: &str| format!("{name} {round}");
        let requests = desk.submit_together(vec![
            message("a", "one", &id("one")),
            message("a", "again", "first"),
            message("a", "poison", &id("poison")),
            message("b", "one", &id("b one")),
            message("a", &huge, &id("huge")),
            message("b", "poison", &id("b poison")),
            message("a", "two", &id("two")),
            message("b", "two", &id("b two")),
        ]);
        let answers = desk.answers(&requests);
        let outcomes: Vec<_> = answers.iter().map(|told| told.as_ref().map_or("silent".to_owned(), word)).collect();
        let [a, b] = [2 + 2 * round, 1 + 2 * round].map(|seq| [seq.to_string(), (seq + 1).to_string()]);
        let internal = format!("{:?}", Some(Refusal::Internal));
        let expected = [&a[0], "again 1", &internal, &b[0], &internal, &internal, &a[1], &b[1]];
        assert_eq!(outcomes, expected, "{data:?}");
    }
    assert_eq!(world.stored().len(), 13);
    world.check(&desk);
}

/// A message that no store of today takes, or takes only in part.
fn odd(attachments: String, client_msg_id: String) -> RecordBody {
    RecordBody::Message(NewMessage {
        attachments,
        client_msg_id: Some(client_msg_id),
        ..new_message("a", "ann", "odd")
    })
}

#[test]
fn a_record_that_is_always_refused_holds_up_neither_its_room_nor_its_lane() {
    let mongo = Mongo::start();
    let world = choosy(&mongo);
    let desk = world.start();
    desk.warm_up();
    let nested = format!("[{}{}]", "[".repeat(2000), "]".repeat(2000));
    let odd_ones = [nested, "[1e400]".to_owned(), r#"[{"$ref":1,"\u0000":2,"a.b":3}]"#.to_owned()];
    for round in 0..20 {
        let mut bodies = vec![message("a", "poison", &format!("poison {round}"))];
        bodies.extend(say(&format!("good {round}"), 6));
        bodies.extend(odd_ones.iter().enumerate().map(|(n, odd_one)| odd(odd_one.clone(), format!("odd {round} {n}"))));
        bodies.push(message("b", "poison", &format!("b poison {round}")));
        bodies.extend(say(&format!("more {round}"), 6));
        let poison = [0, bodies.len() - 7];
        let requests = desk.submit_together(bodies);
        for (at, told) in desk.answers(&requests).into_iter().enumerate() {
            let told = told.unwrap_or_else(|| panic!("record {at} of round {round} is silent"));
            assert!(told.after < AT_ONCE, "record {at} of round {round}: {told:?}");
            match poison.contains(&at) {
                true => assert_eq!(told.answer.map(|_| ()), Err(Refusal::Internal)),
                false => assert!(told.answer.is_ok(), "record {at} of round {round}: {told:?}"),
            }
        }
        assert!(desk.is_well(), "one refused record says nothing about the store");
    }
    world.check(&desk);
}

/// What a server cannot even work out fails, by its code, like a server that is broken.
#[test]
fn a_record_on_which_the_server_fails_holds_up_neither_its_room_nor_its_lane() {
    let mongo = Mongo::start();
    let world = World::on(&mongo, shared_postgres()).one_lane();
    world.command(doc! {"create": "messages", "validator": {"$expr": {"$gt": [{"$toInt": "$content"}, 0]}}});
    let desk = world.start();
    for round in 0..5 {
        let (name, number) = (|name: &str| format!("{name} {round}"), "7");
        let requests = desk.submit_together(vec![
            message("a", number, &name("one")),
            message("a", "no number", &name("poison")),
            message("a", number, &name("two")),
            message("b", number, &name("b")),
        ]);
        let answers = desk.answers(&requests);
        let outcomes: Vec<_> = answers.iter().map(|told| told.as_ref().map_or("silent".to_owned(), word)).collect();
        let internal = format!("{:?}", Some(Refusal::Internal));
        let seqs = [1 + 2 * round, 2 + 2 * round, 1 + round].map(|seq: i64| seq.to_string());
        assert_eq!(outcomes, [seqs[0].as_str(), &internal, &seqs[1], &seqs[2]], "round {round}");
        assert!(answers.iter().flatten().all(|told| told.after < AT_ONCE), "{}", words(&answers));
    }
    world.check(&desk);
}
