//! What the embedded store promises beyond the contract of every store: it is there after a restart, even after a kill,
//! members can be edited beside a running server, and a failed fsync ends writing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, in its helpers too"
)]

#[path = "store/harness.rs"]
#[allow(dead_code, unreachable_pub, reason = "each suite takes what it needs")]
mod harness;

use std::path::Path;
use std::process::{Command, Stdio};

use alt_ws::chat::effect::{Committed, ReceiptStatus, Refusal};
use alt_ws::store::{Health, Members, StoreError, StoreKind, Writer};
use harness::*;

fn path(subject: &Subject) -> &Path {
    match &subject.settings.kind {
        StoreKind::Sqlite { path } => path,
        StoreKind::Memory | StoreKind::Split { .. } => panic!("not on disk"),
    }
}

#[test]
fn a_restart_keeps_messages_seqs_client_ids_receipts_and_members() {
    let subject = Subject::sqlite().members(&[("r", "ann"), ("r", "bob")]).open_rooms();
    let store = subject.start();
    let first = stored(store.ask(once("r", "ann", "first", "c", "1")));
    let second = store.send("r", "ann", "second");
    store.receipt("bob", &first, ReceiptStatus::Read, false).unwrap();
    store.receipt("bob", &second, ReceiptStatus::Delivered, false).unwrap();
    store.join("opened", "ann", None).unwrap();
    store.shut_down();

    let store = subject.start();
    assert_eq!(duplicate(store.ask(once("r", "ann", "again", "c", "2"))).id, first.id);
    assert!(!store.receipt("bob", &first, ReceiptStatus::Read, true).unwrap().changed);
    assert!(!store.receipt("bob", &second, ReceiptStatus::Delivered, true).unwrap().changed);
    let joined = store.join("r", "bob", Some(0)).unwrap();
    assert_eq!((joined.seq, joined.unread), (2, 1));
    let missed = joined.missed.unwrap().messages;
    let flags: Vec<_> = missed.iter().map(|message| (&*message.content, message.delivered, message.read)).collect();
    assert_eq!(flags, [("first", true, true), ("second", true, false)]);
    assert_eq!(store.send("r", "bob", "third").seq, 3);
    assert_eq!(store.send("opened", "ann", "x").seq, 1);
}

#[test]
fn members_are_edited_beside_a_running_server_which_notices_at_once() {
    let subject = Subject::sqlite();
    let store = subject.start();
    let mut members = Members::open(path(&subject)).unwrap();
    let (ann, bob) = (user("ann"), user("bob"));
    assert_eq!(refused(store.ask(text("r", "ann", "x"))), Refusal::NotMember);
    assert_eq!(members.list(&room("r")).unwrap(), None);
    assert_eq!(members.add(&room("r"), &[bob.clone(), ann.clone(), ann.clone()]).unwrap(), [bob.clone(), ann.clone()]);
    assert_eq!(store.send("r", "ann", "x").seq, 1);
    assert_eq!(members.add(&room("r"), std::slice::from_ref(&ann)).unwrap(), []);
    assert_eq!(members.list(&room("r")).unwrap(), Some(vec![ann.clone(), bob.clone()]));
    assert_eq!(members.remove(&room("r"), &[ann.clone(), user("eve")]).unwrap(), [ann]);
    assert_eq!(refused(store.ask(text("r", "ann", "x"))), Refusal::NotMember);
    assert_eq!(refused(store.ask(join("r", "ann", None))), Refusal::NotMember);
    match store.ask(conversations("bob")) {
        Ok(Committed::Conversations(rooms)) => assert_eq!(rooms, [room("r")]),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.send("r", "bob", "x").seq, 2);
}

#[test]
fn rooms_made_by_an_operator_stay_closed_when_rooms_are_open() {
    let mut subject = Subject::sqlite().open_rooms();
    Members::open(path(&subject)).unwrap().add(&room("r"), &[user("ann")]).unwrap();
    let store = subject.start();
    assert_eq!(store.join("r", "bob", None).unwrap_err(), Refusal::NotMember);
    store.join("opened", "bob", None).unwrap();
    store.shut_down();
    subject.settings.open_rooms = false;
    let store = subject.start();
    assert_eq!(store.join("opened", "ann", None).unwrap_err(), Refusal::NotMember, "no longer open");
    store.join("opened", "bob", None).unwrap();
}

#[test]
fn a_second_server_on_the_same_file_is_told_so() {
    let subject = Subject::sqlite();
    let store = subject.start();
    let error = Writer::start(subject.settings.clone(), |_| ()).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }));
    assert!(error.to_string().contains("stop that one first"), "{error}");
    store.shut_down();
    subject.start();
}

/// Runs a test of this file as a process of its own; it sees by [`inherited`] that it is the child.
fn child(test: &str, file: &Path, wrapper: &[&str]) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut words = wrapper.iter().map(std::ffi::OsStr::new).chain([this.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["--exact", "--nocapture", test]).env("ALT_WS_TEST_FILE", file);
    command
}

/// The same file, in the child process.
fn inherited() -> Option<Subject> {
    let path = std::env::var_os("ALT_WS_TEST_FILE")?.into();
    let mut subject = Subject::memory().members(&[("r", "ann"), ("r", "bob")]);
    subject.settings.kind = StoreKind::Sqlite { path };
    Some(subject)
}

fn write_until_killed(subject: &Subject) {
    let store = subject.start();
    for n in 1.. {
        let message = stored(store.ask(once("r", "ann", "x", &n.to_string(), "1")));
        println!("acked {n} {}", message.id);
    }
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_after_it() {
    use std::io::{BufRead, BufReader};
    if let Some(subject) = inherited() {
        return write_until_killed(&subject);
    }
    let subject = Subject::sqlite().members(&[("r", "ann"), ("r", "bob")]);
    let mut process = child("what_was_acknowledged_before_a_kill_is_there_after_it", path(&subject), &[])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acked = Vec::new();
    for line in BufReader::new(process.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((number, id)) = line.split_once("acked ").and_then(|(_, rest)| rest.split_once(' ')) else { continue };
        acked.push((number.parse::<i64>().unwrap(), id.to_owned()));
        if acked.len() == 100 {
            process.kill().unwrap();
        }
    }
    process.wait().unwrap();
    assert!(acked.len() >= 100);
    let store = subject.start();
    let seq = store.join("r", "bob", None).unwrap().seq;
    assert!(seq >= acked.len() as i64);
    for (number, id) in acked {
        let message = duplicate(store.ask(once("r", "ann", "x", &number.to_string(), "1")));
        assert_eq!((message.seq, message.id.to_string()), (number, id));
    }
    assert_eq!(store.send("r", "ann", "next").seq, seq + 1);
}

fn write_through_a_failing_fsync(subject: &Subject) {
    let store = subject.start();
    let mut acked = 0;
    let refusal = loop {
        match store.ask(text("r", "ann", "x")) {
            Ok(_) => acked += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, Refusal::Unavailable);
    assert!(matches!(store.writer.handle().health().messages, Health::ReadOnly(_)));
    assert_eq!(refused(store.ask(text("r", "ann", "x"))), Refusal::Unavailable);
    assert_eq!(store.join("r", "bob", None).unwrap().seq, acked, "what was refused is not seen");
    store.shut_down();
    println!("acked {acked} in all");
}

/// Needs `strace` and leave to trace a child.
#[test]
fn a_failed_fsync_ends_writing_and_is_not_tried_again() {
    if let Some(subject) = inherited() {
        return write_through_a_failing_fsync(&subject);
    }
    let subject = Subject::sqlite().members(&[("r", "ann"), ("r", "bob")]);
    subject.start().shut_down();
    let log = path(&subject).with_extension("strace");
    let inject = ["strace", "-f", "-qq", "-e", "trace=fdatasync,fsync", "-o", log.to_str().unwrap()];
    let inject = [&inject[..], &["-e", "inject=fdatasync,fsync:error=EIO:when=8+"]].concat();
    let traces = Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success());
    assert!(traces, "this test needs strace and leave to use it: apt-get install strace");
    let output = child("a_failed_fsync_ends_writing_and_is_not_tried_again", path(&subject), &inject).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let acked = text.split("acked ").nth(1).unwrap().split(' ').next().unwrap().parse::<i64>().unwrap();
    let failed = std::fs::read_to_string(&log).unwrap().matches("(INJECTED)").count();
    assert_eq!(failed, 1, "one fsync failed and no other was tried");
    let store = subject.start();
    assert!(store.join("r", "bob", None).unwrap().seq >= acked && acked > 0);
}
