//! Who may, while PostgreSQL is silent, gone, or asked about ids that it cannot hold.

use std::time::{Duration, Instant};

use super::harness::services::{shared_mongo, shared_postgres};
use super::harness::{access, conversations, join, new_message, once, receipt, room, user};
use super::ledger::Told;
use super::world::*;
use alt_ws::chat::effect::{Committed, Join, NewMessage, ReceiptStatus, RecordBody, Refusal};
use alt_ws::chat::event::Message;
use alt_ws::ids::{RoomId, UserId};

/// Within what time a silent PostgreSQL is found to be down: as long as a question to it may take. What shares a lane with
/// that question waits as long, once.
const NOTICED: Duration = Duration::from_secs(4);

/// Longer than that, and than the store has for a record.
const OUTAGE: Duration = Duration::from_secs(8);

fn silent(world: &World) {
    world.structure.blackhole();
}

fn gone(world: &World) {
    world.structure.refuse();
    world.structure.reset();
}

/// Members that are known go on; nobody else is let in or out by guess.
fn nobody_is_guessed_about(fault: fn(&World)) {
    let mut world = World::shared();
    world.settings.open_rooms = true;
    world.settings.members.extend([(room("a"), user("dan")), (room("d"), user("dan"))]);
    let desk = world.start();
    world.wait_until_it_listens();
    desk.warm_up();
    assert_eq!(desk.ask(access("a", "eve")).answer.map(|_| ()), Err(Refusal::NotMember));
    fault(&world);
    let since = Instant::now();
    let (mut members, mut strangers, mut slowest) = (Vec::new(), Vec::new(), Duration::ZERO);
    let ask = |round: usize| {
        // Never asked about, a member in truth; no member; and rooms that are open to everybody.
        let dan = once("d", "dan", "x", &format!("dan {round}"), "1");
        [dan, access("b", "fay"), join("open", "fay", None), join("open", "ann", None), access("a", "dan")]
    };
    for round in 0.. {
        if since.elapsed() > OUTAGE {
            break;
        }
        strangers.extend(desk.submit_all(ask(round)));
        let requests = desk.submit_all(say(&format!("outage {round}"), 6));
        let answers = desk.answers(&requests);
        let slowest_now = answers.iter().flatten().map(|told| told.after).max().unwrap_or(OUTAGE);
        if since.elapsed() > NOTICED + slowest_now {
            slowest = slowest.max(slowest_now);
        }
        members.extend(answers);
        // As fast as people type.
        std::thread::sleep(Duration::from_millis(100));
    }
    let strangers = desk.answers(&strangers);
    world.structure.heal();
    assert_eq!(accepted(&members), members.len(), "members who are known go on: {}", words(&members));
    assert_eq!(refused_as(&strangers, Refusal::Unavailable), strangers.len(), "{}", words(&strangers));
    desk.wait_until_well();
    assert_eq!(desk.insist(access("b", "fay")).answer.map(|_| ()), Err(Refusal::NotMember));
    assert!(matches!(desk.insist(join("open", "fay", None)).answer, Ok(Committed::Joined(_))));
    let dan = desk.insist_on(once("d", "dan", "x", "dan at last", "1"));
    assert_eq!(dan.user, user("dan"));
    world.check(&desk);
    assert!(slowest < AT_ONCE, "a member waited {slowest:?} for others");
}

#[test]
fn members_go_on_and_nobody_is_guessed_about_while_postgres_is_silent() {
    nobody_is_guessed_about(silent);
}

#[test]
fn members_go_on_and_nobody_is_guessed_about_while_postgres_is_gone() {
    nobody_is_guessed_about(gone);
}

/// Messages of a room whose other records wait for PostgreSQL.
fn the_room_goes_on(fault: fn(&World), others: fn(&Message) -> [RecordBody; 3]) {
    let world = World::shared();
    let desk = world.start();
    world.wait_until_it_listens();
    let count = desk.warm_up() as i64 / 3;
    let first = desk.insist_on(once("a", "ann", "x", "first", "1"));
    assert!(desk.ask(join("a", "bob", None)).answer.is_ok());
    fault(&world);
    let (mut messages, mut behind) = (Vec::new(), Vec::new());
    for round in 0..3 {
        let said = |n: usize| once("a", PEOPLE[n % 2], "x", &format!("{round} {n}"), "1");
        messages.push(desk.submit(said(0)));
        for (n, other) in others(&first).into_iter().enumerate() {
            behind.push(desk.submit(other));
            messages.push(desk.submit(said(n + 1)));
        }
        desk.answers(&messages);
    }
    let (messages, behind) = (desk.answers(&messages), desk.answers(&behind));
    world.structure.heal();
    assert_eq!(refused_as(&behind, Refusal::Unavailable), behind.len(), "{}", words(&behind));
    match desk.insist(join("a", "bob", Some(first.seq))).answer {
        Ok(Committed::Joined(joined)) => {
            assert_eq!(joined.missed.unwrap().messages.len() as i64, joined.seq - count - 1)
        }
        other => panic!("{other:?}"),
    }
    let read = || receipt("a", "bob", first.id, ReceiptStatus::Read, true);
    assert!(matches!(desk.insist(read()).answer, Ok(Committed::Receipt(_))));
    match desk.ask(read()).answer {
        Ok(Committed::Receipt(receipted)) => assert!(!receipted.changed),
        other => panic!("{other:?}"),
    }
    world.check(&desk);
    assert_eq!(accepted(&messages), messages.len(), "{}", words(&messages));
    let slowest = messages.iter().flatten().map(|told| told.after).max().unwrap();
    assert!(slowest < NOTICED, "a message waited behind another record: {}", words(&messages));
    let after = messages.last().unwrap().as_ref().unwrap().after;
    assert!(after < AT_ONCE, "a message waited behind another record of a side that is known to be down: {after:?}");
}

fn receipts(first: &Message) -> [RecordBody; 3] {
    [(ReceiptStatus::Delivered, false), (ReceiptStatus::Read, false), (ReceiptStatus::Read, true)]
        .map(|(status, up_to)| receipt("a", "bob", first.id, status, up_to))
}

fn joins(_: &Message) -> [RecordBody; 3] {
    [None, Some(0), None].map(|since| join("a", "bob", since))
}

#[test]
fn a_receipt_does_not_hold_up_its_room_while_postgres_is_silent() {
    the_room_goes_on(silent, receipts);
}

#[test]
fn a_join_does_not_hold_up_its_room_while_postgres_is_silent() {
    the_room_goes_on(silent, joins);
}

#[test]
fn a_receipt_does_not_hold_up_its_room_while_postgres_is_gone() {
    the_room_goes_on(gone, receipts);
}

#[test]
fn a_join_does_not_hold_up_its_room_while_postgres_is_gone() {
    the_room_goes_on(gone, joins);
}

/// Who cannot be asked about now waits by himself.
fn a_stranger_holds_nobody_up(fault: fn(&World)) {
    let world = World::shared();
    let desk = world.start();
    world.wait_until_it_listens();
    desk.warm_up();
    fault(&world);
    let (mut strangers, mut members) = (Vec::new(), Vec::new());
    for round in 0..4 {
        let stranger = once("a", "eve", "x", &format!("eve {round}"), "1");
        let mut requests = desk.submit_all([vec![stranger], say(&format!("member {round}"), 6)].concat());
        strangers.push(requests.remove(0));
        let answers = desk.answers(&requests);
        let slowest = answers.iter().flatten().map(|told| told.after).max().unwrap();
        members.push((round, accepted(&answers), slowest));
    }
    let strangers = desk.answers(&strangers);
    world.structure.heal();
    desk.wait_until_well();
    assert_eq!(refused_as(&strangers, Refusal::Unavailable), strangers.len(), "{}", words(&strangers));
    world.check(&desk);
    let held_up = |(round, stored, slowest): &&(i32, usize, Duration)| {
        *stored < 6 || *slowest > if *round == 0 { NOTICED } else { AT_ONCE }
    };
    let held_up: Vec<_> = members.iter().filter(held_up).collect();
    assert!(held_up.is_empty(), "rounds, how many of 6 were stored, and the slowest answer: {held_up:?}");
}

#[test]
fn a_message_of_a_stranger_does_not_hold_up_the_room_while_postgres_is_silent() {
    a_stranger_holds_nobody_up(silent);
}

#[test]
fn a_message_of_a_stranger_does_not_hold_up_the_room_while_postgres_is_gone() {
    a_stranger_holds_nobody_up(gone);
}

/// Ids of another service that are numbers.
#[test]
fn an_id_that_its_column_cannot_hold_is_no_member_and_harms_nobody_beside_it() {
    assert!(
        RoomId::from_text("a\0").is_err()
            && UserId::from_text("a\0").is_err()
            && RoomId::from_parts("5\0", true).is_err()
    );
    let mut world = World::on(shared_mongo(), shared_postgres()).one_lane();
    world.settings.members.clear();
    world.sql(
        "CREATE TABLE conversation_members (conversation_id integer NOT NULL, user_id smallint NOT NULL);
         INSERT INTO conversation_members VALUES (5, 7), (5, 8)",
    );
    let desk = world.start();
    let five = || RoomId::from_parts("5", true).unwrap();
    let say = |who: &str, id: String| {
        let user = UserId::from_parts(who, true).unwrap();
        RecordBody::Message(NewMessage { room: five(), user, client_msg_id: Some(id), ..new_message("5", "7", "x") })
    };
    let first = desk.insist_on(say("8", "first".into()));
    let poison = ["abc", "32768", "07", "7.0", "1e1", "-0", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "é'; --", "９"];
    for round in 0..3 {
        let mut bodies = Vec::new();
        for (at, id) in poison.iter().enumerate() {
            bodies.push(say("7", format!("good {round} {at}")));
            bodies.push(once("5", id, "x", &format!("poison {round}"), "1"));
            bodies.push(once(id, "7", "x", &format!("no room {round} {at}"), "1"));
            bodies.push(receipt("5", id, first.id, ReceiptStatus::Read, true));
            bodies.push(access("5", id));
            bodies.push(access(id, "7"));
            bodies.push(RecordBody::Join(Join { room: five(), user: user(id), since: Some(0) }));
        }
        let count = bodies.len();
        let requests = desk.submit_together(bodies);
        for (at, told) in desk.answers(&requests).into_iter().enumerate() {
            let Told { answer, after } = told.unwrap_or_else(|| panic!("record {at} of {count} is silent"));
            assert!(after < AT_ONCE, "record {at}: {after:?}");
            match at % 7 {
                0 => assert!(answer.is_ok(), "{answer:?}"),
                _ => assert_eq!(answer.map(|_| ()), Err(Refusal::NotMember), "record {at}: {}", poison[at / 7]),
            }
        }
        assert!(desk.is_well());
    }
    for id in poison {
        match desk.ask(conversations(id)).answer {
            Ok(Committed::Conversations(rooms)) => assert_eq!(rooms, []),
            other => panic!("{other:?}"),
        }
    }
    let read = receipt("5", "7", first.id, ReceiptStatus::Read, true);
    assert!(matches!(desk.ask(read).answer, Ok(Committed::Receipt(_))));
    assert_eq!(world.sql("SELECT count(*) FROM read_state"), [[Some("1".to_owned())]]);
    assert_eq!(world.stored().len(), 1 + 3 * poison.len());
}
