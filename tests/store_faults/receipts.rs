//! Receipts while PostgreSQL loses sessions or dies: what was acknowledged stays, and both sides say the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::harness::services::{Postgres, shared_mongo};
use super::harness::{access, join, once, receipt};
use super::world::*;
use alt_ws::chat::effect::{Committed, ReceiptStatus, RecordBody};
use alt_ws::chat::event::Message;

/// What ann says in room `a` for bob to read.
fn talk(desk: &Desk, name: &str, count: usize) -> Vec<Arc<Message>> {
    let bodies = (0..count).map(|n| once("a", "ann", "x", &format!("{name} {n}"), "1"));
    bodies.map(|body| desk.insist_on(body)).collect()
}

fn read(message: &Message) -> RecordBody {
    receipt("a", "bob", message.id, ReceiptStatus::Read, true)
}

/// Bob reads on and on, each message when the one before is acknowledged, while `fault` happens; joins flow too.
/// `acknowledged` is the seq up to which he was told that it is stored.
fn while_bob_reads(desk: &Desk, messages: &[Arc<Message>], fault: impl FnOnce(&AtomicI64)) {
    let (acknowledged, over) = (AtomicI64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for message in messages {
                let told = desk.insist(read(message));
                assert!(matches!(told.answer, Ok(Committed::Receipt(_))), "{told:?}");
                acknowledged.store(message.seq, Ordering::Release);
            }
        });
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                let told = desk.insist(join("a", "bob", None));
                assert!(matches!(told.answer, Ok(Committed::Joined(_))), "{told:?}");
            }
        });
        let _ends_the_joins = Over(&over);
        fault(&acknowledged);
    });
}

/// Also when the test fails, or it would hang.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn read_seq(world: &World) -> i64 {
    let rows = world.sql("SELECT read_seq FROM read_state WHERE conversation_id = 'a' AND user_id = 'bob'");
    rows.first().map_or(0, |row| row[0].as_ref().unwrap().parse().unwrap())
}

/// Bob has read all: read state, marks, and the store say so.
#[track_caller]
fn all_is_read(world: &World, desk: &Desk, last: &Message) {
    assert_eq!(read_seq(world), last.seq);
    for document in world.documents().iter().filter(|found| found.get_str("room").unwrap() == "a") {
        if document.get_str("userId").unwrap() == "ann" {
            assert!(document.get_bool("delivered").unwrap() && document.get_bool("read").unwrap(), "{document}");
        }
    }
    match desk.insist(read(last)).answer {
        Ok(Committed::Receipt(receipted)) => assert!(!receipted.changed, "acknowledged, so known"),
        other => panic!("{other:?}"),
    }
    match desk.insist(join("a", "bob", None)).answer {
        Ok(Committed::Joined(joined)) => assert_eq!((joined.seq, joined.unread), (last.seq, 0)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_that_is_ended_while_it_saves_read_state_loses_nothing() {
    let world = World::shared();
    let desk = world.start();
    let messages = talk(&desk, "one", 60);
    while_bob_reads(&desk, &messages, |acknowledged| {
        // Two sessions: in a transaction the list of sessions stays as it was at first.
        let (admin, other) = (world.session(), world.session());
        for _ in 0..5 {
            let before = acknowledged.load(Ordering::Acquire);
            // Whoever saves read state now stops in the middle of it, until it is ended.
            admin.run("BEGIN; LOCK TABLE read_state IN SHARE MODE");
            let victims = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'alt-ws' AND wait_event_type = 'Lock'";
            until("nobody saves", || !other.run(victims).is_empty());
            admin.run("ROLLBACK");
            until("bob reads no further", || acknowledged.load(Ordering::Acquire) > before);
            assert!(read_seq(&world) > before);
        }
    });
    all_is_read(&world, &desk, messages.last().unwrap());
    world.check(&desk);
}

#[test]
fn receipts_that_were_acknowledged_before_postgres_is_killed_are_there_after_it() {
    let postgres = Postgres::start();
    let world = World::on(shared_mongo(), &postgres);
    let desk = world.start();
    desk.warm_up();
    for round in 0..rounds() {
        let messages = talk(&desk, &format!("round {round}"), 40);
        let first = messages[0].seq;
        while_bob_reads(&desk, &messages, |acknowledged| {
            until("bob does not read", || acknowledged.load(Ordering::Acquire) >= first + 5 * round as i64);
            postgres.kill();
            let told = acknowledged.load(Ordering::Acquire);
            // Who is known goes on.
            let said = desk.ask(once("b", "bob", "x", &format!("meanwhile {round}"), "1"));
            assert!(said.answer.is_ok(), "{said:?}");
            postgres.start_again();
            assert!(read_seq(&world) >= told, "{} < {told}", read_seq(&world));
        });
        all_is_read(&world, &desk, messages.last().unwrap());
        assert!(desk.ask(access("a", "ann")).answer.is_ok());
    }
    world.check(&desk);
}
