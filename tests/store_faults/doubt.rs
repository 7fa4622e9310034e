//! Writes whose outcome is unknown: the answer is lost, the connection ends, or it is not known whether it will last.

use mongodb::bson::{Bson, Document, doc};

use super::harness::once;
use super::harness::services::{Mongo, shared_postgres};
use super::toxic::{Direction, Flow, Way};
use super::world::*;
use alt_ws::chat::effect::Refusal;

/// Enough for several commands in several lanes.
const MANY: usize = 30;

fn fail(mongo: &Mongo, mode: impl Into<Bson>, commands: &[&str], mut data: Document) {
    data.insert("failCommands", commands.to_vec());
    mongo.fail_point(doc! {"configureFailPoint": "failCommand", "mode": mode.into(), "data": data});
}

fn mend(mongo: &Mongo) {
    mongo.fail_point(doc! {"configureFailPoint": "failCommand", "mode": "off"});
}

#[test]
fn an_answer_that_was_swallowed_is_found_again_and_the_message_is_there_once() {
    let world = World::shared();
    let desk = world.start();
    let before = desk.warm_up();
    world.messages.swallow(Direction::ToClient);
    let requests = desk.submit_all(say("swallowed", MANY));
    world.wait_until_stored(before + 1);
    world.messages.heal();
    let answers = desk.answers(&requests);
    assert_eq!(accepted(&answers), MANY, "all in time: the network was well again long before");
    assert_eq!(world.stored().len(), before + MANY);
    world.check(&desk);
}

#[test]
fn what_is_not_known_in_time_is_told_so_and_a_resend_finds_it() {
    let world = World::shared();
    let desk = world.start();
    let before = desk.warm_up();
    world.messages.swallow(Direction::ToClient);
    let requests = desk.submit_all(say("swallowed", MANY));
    world.wait_until_stored(before + 1);
    let answers = desk.answers(&requests);
    let unavailable = refused_as(&answers, Refusal::Unavailable);
    world.messages.heal();
    for body in say("swallowed", MANY) {
        desk.insist_on(body);
    }
    assert_eq!(desk.ask(once("a", "ann", "x", "after", "1")).answer.map(|_| ()), Ok(()));
    assert_eq!(world.stored().len(), before + MANY + 1);
    world.check(&desk);
    assert_eq!(unavailable, MANY, "nothing was known, and nothing else was said");
}

#[test]
fn a_connection_that_closes_before_the_third_insert_costs_nobody_anything() {
    let mongo = Mongo::start();
    let world = World::on(&mongo, shared_postgres());
    let desk = world.start();
    let before = desk.warm_up();
    fail(&mongo, doc! {"skip": 2, "times": 1}, &["insert"], doc! {"closeConnection": true});
    let closed = world.messages.traffic().closed;
    for body in say("one", 10) {
        assert!(desk.ask(body).answer.is_ok());
    }
    assert!(world.messages.traffic().closed > closed, "the fail point was not reached");
    assert_eq!(world.stored().len(), before + 10);
    world.check(&desk);
}

/// Ten messages of 4 KB, which meet in one command.
fn large(name: &str) -> Vec<alt_ws::chat::effect::RecordBody> {
    (0..10).map(|n| once("a", "ann", &"x".repeat(4096), &format!("{name} {n}"), "1")).collect()
}

#[test]
fn a_connection_that_is_cut_in_half_a_command_or_half_an_answer_leaves_no_half_batch() {
    let world = World::shared().one_lane();
    let desk = world.start();
    let mut count = desk.warm_up();
    let cuts = [1, 15, 16, 300, 5_000, 39_000].map(|bytes| (Direction::ToServer, bytes));
    for (direction, bytes) in cuts.into_iter().chain([1, 16, 40].map(|bytes| (Direction::ToClient, bytes))) {
        let closed = world.messages.traffic().closed;
        world.messages.set(direction, Way { cut_after: Some(bytes), ..Way::default() });
        let bodies = large(&format!("{direction:?} {bytes}"));
        let requests = desk.submit_together(bodies.clone());
        world.messages.wait_until(|traffic| traffic.closed > closed);
        world.messages.heal();
        let answers = desk.answers(&requests);
        assert_eq!(accepted(&answers), bodies.len(), "{direction:?} {bytes}: {}", words(&answers));
        count += bodies.len();
        assert_eq!(world.stored().len(), count, "{direction:?} {bytes}");
        desk.wait_until_well();
    }
    world.check(&desk);
}

#[test]
fn a_write_that_is_not_durable_yet_is_settled_once_it_is() {
    let mongo = Mongo::start();
    let world = World::on(&mongo, shared_postgres());
    let desk = world.start();
    let before = desk.warm_up();
    let failed = doc! {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}};
    fail(&mongo, doc! {"times": 3}, &["insert"], failed);
    let requests = desk.submit_all(say("late", MANY));
    assert_eq!(accepted(&desk.answers(&requests)), MANY);
    assert_eq!(world.stored().len(), before + MANY);
    world.check(&desk);
}

#[test]
fn nothing_is_acknowledged_while_nobody_can_say_that_it_is_durable() {
    let mongo = Mongo::start();
    let world = World::on(&mongo, shared_postgres());
    let desk = world.start();
    let before = desk.warm_up();
    let failed = doc! {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}};
    fail(&mongo, "alwaysOn", &["insert"], failed);
    // Its answer is held back until nothing else would be answered either.
    world.messages.set(Direction::ToClient, Way { flow: Flow::Hold, ..Way::default() });
    let request = desk.submit(once("a", "ann", "x", "doubtful", "1"));
    world.wait_until_stored(before + 1);
    let none = doc! {"errorCode": 10107};
    fail(&mongo, "alwaysOn", &["insert", "find", "aggregate"], none);
    world.messages.heal();
    let answers = desk.answers(&[request]);
    mend(&mongo);
    assert_eq!(desk.insist_on(once("a", "ann", "x", "doubtful", "1")).seq, before as i64 / 3 + 1);
    assert_eq!(world.stored().len(), before + 1);
    world.check(&desk);
    assert_eq!(refused_as(&answers, Refusal::Unavailable), 1);
}
