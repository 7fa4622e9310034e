//! The process is killed while it writes to two databases, again and again.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use alt_ws::chat::effect::{Committed, RecordBody};
use alt_ws::store::StoreSettings;

use super::ledger::{Key, Stored};
use super::world::*;

const CHILD: &str = "ALT_WS_TEST_CHILD";

/// Runs a test of this suite as a process of its own; it sees by [`inherited`] that it is the child, and what for.
pub(crate) fn child(test: &str, what: &str, wrapper: &[&str]) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut words = wrapper.iter().map(std::ffi::OsStr::new).chain([this.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["--exact", "--nocapture", test]).env(CHILD, what);
    command
}

pub(crate) fn inherited() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// Messages of one batch.
const BATCH: usize = 24;

fn batch(number: usize) -> Vec<RecordBody> {
    say(&number.to_string(), BATCH)
}

/// Sends batch after batch, beginning with the one that the process before was killed in.
fn write_until_killed(settings: StoreSettings, from: usize) {
    let desk = Desk::open(settings);
    for number in from.. {
        let bodies = batch(number);
        let requests = desk.submit_all(bodies.clone());
        for (body, request) in bodies.into_iter().zip(requests) {
            let told = desk.ledger.wait(request);
            let told = if told.answer.is_ok() { told } else { desk.insist(body) };
            match told.answer {
                Ok(Committed::Message { message, .. }) => println!(
                    "acked\t{number}\t{}\t{}\t{}\t{}\t{}",
                    message.id,
                    message.room,
                    message.seq,
                    message.user,
                    message.client_msg_id.as_ref().unwrap()
                ),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A line of the child: the batch, and what it was told is stored.
fn acknowledged(line: &str) -> Option<(usize, Stored)> {
    let (_, told) = line.split_once("acked\t")?;
    let [batch, id, room, seq, user, client_msg_id] = told.split('\t').collect::<Vec<_>>().try_into().ok()?;
    let key = Key { user: user.into(), client_msg_id: client_msg_id.into() };
    Some((batch.parse().ok()?, Stored { id: id.into(), room: room.into(), seq: seq.parse().ok()?, key }))
}

#[test]
fn what_was_acknowledged_before_the_process_is_killed_is_there_after_it() {
    if let Some(what) = inherited() {
        let (from, address) = what.split_once(' ').unwrap();
        return write_until_killed(settings_at(address), from.parse().unwrap());
    }
    let name = "kill::what_was_acknowledged_before_the_process_is_killed_is_there_after_it";
    let world = World::shared();
    let mut told: HashMap<Key, Stored> = HashMap::new();
    let mut learn = |said: Stored| {
        let first = told.entry(said.key.clone()).or_insert_with(|| said.clone());
        assert_eq!(*first, said, "one message, told twice");
        told.len()
    };
    let (mut from, mut count) = (0, 0);
    for round in 0..rounds() {
        let mut process =
            child(name, &format!("{from} {}", world.address()), &[]).stdout(Stdio::piped()).spawn().unwrap();
        // At another point of a batch in each round.
        let enough = count + 5 * BATCH + 7 * round % BATCH;
        for line in BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok) {
            let Some((batch, said)) = acknowledged(&line) else { continue };
            (from, count) = (batch, learn(said));
            if count == enough {
                process.kill().unwrap();
            }
        }
        let status = process.wait().unwrap();
        assert!(!status.success() && count >= enough, "round {round}: {status}, {count} acknowledged");
        let stored = world.stored();
        assert!(stored.len() >= count, "{} stored, {count} acknowledged", stored.len());
    }
    // What the last one was killed in is sent again; then each message that is stored was acknowledged.
    let desk = world.start();
    for body in [from, from + 1].into_iter().flat_map(batch) {
        let message = desk.insist_on(body);
        let key = Key { user: message.user.to_string(), client_msg_id: message.client_msg_id.clone().unwrap() };
        learn(Stored { id: message.id.to_string(), room: message.room.to_string(), seq: message.seq, key });
    }
    let stored = world.stored();
    assert_eq!(stored.len(), told.len());
    for found in &stored {
        assert_eq!(told.get(&found.key), Some(found));
    }
    for room in ROOMS {
        let seqs: HashSet<i64> = stored.iter().filter(|found| found.room == room).map(|found| found.seq).collect();
        assert_eq!(seqs, (1..=stored.len() as i64 / 3).collect(), "{room}");
    }
}
