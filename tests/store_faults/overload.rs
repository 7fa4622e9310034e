//! MongoDB slow, still or gone, and more to store than may wait.

use std::time::{Duration, Instant};

use mongodb::bson::doc;

use super::harness::services::{Mongo, Postgres, shared_postgres};
use super::harness::{access, conversations, once};
use super::ledger::{GRACE, Told};
use super::world::*;
use alt_ws::chat::effect::Refusal;

/// Records that may wait, and ten times as many.
const BOUND: usize = 200;
const BURST: usize = 10 * BOUND;

fn bounded(mongo: &Mongo, postgres: &Postgres) -> World {
    let mut world = World::on(mongo, postgres);
    world.settings.queue_records = BOUND;
    world
}

/// Asks for more than may wait while `fault` holds, and says what became of it.
fn burst(desk: &Desk, name: &str) -> Vec<u64> {
    let handle = desk.handle();
    let (began, mut requests) = (Instant::now(), Vec::with_capacity(BURST));
    for body in say(name, BURST) {
        let weight = body.weight();
        requests.push(desk.submit(body));
        let (records, bytes) = handle.queued();
        assert!(records <= BOUND && bytes <= BOUND * weight, "{records} records, {bytes} bytes wait");
    }
    assert!(began.elapsed() < Duration::from_secs(1), "submitting waits for nothing: {:?}", began.elapsed());
    requests
}

/// Every record is answered: those beyond the bound as busy at once, the others in the end as unavailable. Then what
/// may be there is sent again.
fn settle(world: &World, desk: &Desk, requests: &[u64], within: Duration, recover: impl FnOnce()) {
    let answers = desk.answers(requests);
    let busy = answers.iter().flatten().filter(|told| told.answer.as_ref().err() == Some(&Refusal::Busy));
    let slowest = busy.map(|told| told.after).max().unwrap();
    recover();
    let since = Instant::now();
    desk.insist_on(once("a", "ann", "x", "after", "1"));
    let recovery = since.elapsed();
    let is_busy =
        |told: &Option<Told>| matches!(told, Some(told) if told.answer.as_ref().err() == Some(&Refusal::Busy));
    let all = say("burst", BURST).into_iter().zip(&answers);
    for (body, _) in all.filter(|(_, told)| !is_busy(told)) {
        desk.insist_on(body);
    }
    world.check(desk);
    assert!(refused_as(&answers, Refusal::Busy) >= BURST - BOUND, "{}", refused_as(&answers, Refusal::Busy));
    assert!(refused_as(&answers, Refusal::Unavailable) > 0);
    assert_eq!(accepted(&answers), 0);
    assert!(slowest < GRACE, "busy was told after {slowest:?}");
    assert!(recovery < within, "the first acknowledgement came {recovery:?} after the fault");
    assert_eq!(desk.handle().queued(), (0, 0));
}

/// What only PostgreSQL is asked goes on being answered while a few messages wait.
fn structure_is_unaffected(desk: &Desk) {
    desk.submit_all(say("wait", 12));
    for round in 0..5 {
        for room in ROOMS {
            let told = desk.ask(access(room, "ann"));
            assert!(told.answer.is_ok() && told.after < AT_ONCE, "round {round}: access to {room}: {told:?}");
        }
        for person in PEOPLE {
            let told = desk.ask(conversations(person));
            assert!(told.answer.is_ok() && told.after < AT_ONCE, "round {round}: conversations of {person}: {told:?}");
        }
    }
}

fn block(mongo: &Mongo) {
    mongo.fail_point(doc! {"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": {
        "failCommands": ["insert"], "blockConnection": true, "blockTimeMS": 10_000,
    }});
}

fn unblock(mongo: &Mongo) {
    mongo.fail_point(doc! {"configureFailPoint": "failCommand", "mode": "off"});
}

fn questions_go_on(fault: fn(&Mongo), recover: fn(&Mongo)) {
    let mongo = Mongo::start();
    let world = bounded(&mongo, shared_postgres());
    let desk = world.start();
    desk.warm_up();
    fault(&mongo);
    structure_is_unaffected(&desk);
    recover(&mongo);
    for body in say("wait", 12) {
        desk.insist_on(body);
    }
    world.check(&desk);
}

#[test]
fn questions_to_postgres_go_on_while_mongo_stands_still() {
    questions_go_on(Mongo::pause, Mongo::resume);
}

#[test]
fn questions_to_postgres_go_on_while_mongo_is_slow() {
    questions_go_on(block, unblock);
}

fn overloaded(fault: fn(&Mongo), recover: fn(&Mongo), within: Duration) {
    let mongo = Mongo::start();
    let world = bounded(&mongo, shared_postgres());
    let desk = world.start();
    desk.warm_up();
    fault(&mongo);
    let requests = burst(&desk, "burst");
    settle(&world, &desk, &requests, within, || recover(&mongo));
}

#[test]
fn a_burst_while_mongo_stands_still_is_told_busy_at_once() {
    overloaded(Mongo::pause, Mongo::resume, RECOVERY);
}

#[test]
fn a_burst_while_mongo_is_slow_is_told_busy_at_once() {
    // What the server has begun with goes on being slow; it is given up after 5 s.
    overloaded(block, unblock, RECOVERY + Duration::from_secs(5));
}

#[test]
fn a_burst_while_both_databases_are_gone_leaves_nobody_without_an_answer() {
    let (mongo, postgres) = (Mongo::start(), Postgres::start());
    let world = bounded(&mongo, &postgres);
    let desk = world.start();
    desk.warm_up();
    mongo.kill();
    postgres.kill();
    let requests = burst(&desk, "burst");
    settle(&world, &desk, &requests, RECOVERY, || {
        postgres.start_again();
        mongo.start_again();
    });
    assert!(desk.ask(access("a", "ann")).answer.is_ok());
    desk.wait_until_well();
}
