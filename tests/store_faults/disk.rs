//! The embedded store on a disk that is full.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use alt_ws::chat::effect::{Committed, PageRequest, ReceiptStatus, Refusal};
use alt_ws::store::{Health, StoreKind, StoreSettings};
use rusqlite::{Connection, OpenFlags};

use super::harness::{history, join, once, receipt};
use super::kill::{child, inherited};
use super::ledger::{Key, Stored};
use super::world::*;

fn settings(folder: &Path) -> StoreSettings {
    let mut settings = StoreSettings::new(StoreKind::Sqlite { path: folder.join("alt.db") });
    settings.members = everybody();
    settings.persist_timeout = PERSIST_TIMEOUT;
    settings
}

/// What the file has, and that it is whole.
fn dump(folder: &Path) -> Vec<Stored> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let file = Connection::open_with_flags(folder.join("alt.db"), flags).unwrap();
    let sound: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let mut all = file.prepare("SELECT lower(hex(id)), room, seq, user_id, client_msg_id FROM messages").unwrap();
    let stored = all.query_map([], |row| {
        let key = Key { user: row.get(3)?, client_msg_id: row.get(4)? };
        Ok(Stored { id: row.get(0)?, room: row.get(1)?, seq: row.get(2)?, key })
    });
    stored.unwrap().collect::<Result<_, _>>().unwrap()
}

/// Room that can be given back.
fn ballast(folder: &Path) -> PathBuf {
    let path = folder.join("ballast");
    std::fs::write(&path, vec![7; 512 * 1024]).unwrap();
    path
}

/// Sends until nothing more fits, however small. Returns how many were stored.
fn fill(desk: &Desk, name: &str) -> usize {
    let mut stored = 0;
    for size in [16 * 1024, 1024, 1] {
        for n in 0.. {
            let bodies = (0..4).map(|part| {
                let id = format!("{name} {size} {n} {part}");
                once(ROOMS[part % ROOMS.len()], "ann", &"x".repeat(size), &id, "1")
            });
            let requests = desk.submit_all(bodies);
            let answers = desk.answers(&requests);
            stored += accepted(&answers);
            assert_eq!(accepted(&answers) + refused_as(&answers, Refusal::StorageFull), 4, "{}", words(&answers));
            if accepted(&answers) == 0 {
                break;
            }
        }
    }
    stored
}

const FULL: Health = Health::Degraded("the disk is full");

fn on_a_small_disk(folder: &Path) {
    let reserve = ballast(folder);
    let desk = Desk::open(settings(folder));
    let first = desk.insist_on(once("a", "ann", "x", "first", "1"));
    let stored = fill(&desk, "fill");
    assert!(stored > 0);
    assert_eq!(desk.handle().health().messages, FULL);
    // Reads are served, writes are not, and say why.
    let page = PageRequest { before: None, after: Some(0), limit: 1 };
    match desk.ask(history("a", "bob", page)).answer {
        Ok(Committed::History { page, .. }) => assert_eq!(page.messages[0].id, first.id),
        other => panic!("{other:?}"),
    }
    let joined = |desk: &Desk| match desk.ask(join("a", "bob", None)).answer {
        Ok(Committed::Joined(joined)) => joined.seq,
        other => panic!("{other:?}"),
    };
    assert!(joined(&desk) >= 1);
    let read = || receipt("a", "bob", first.id, ReceiptStatus::Read, true);
    let last = once("a", "ann", &"x".repeat(64 * 1024), "last", "1");
    assert_eq!(desk.ask(last.clone()).answer.map(|_| ()), Err(Refusal::StorageFull));
    match desk.ask(read()).answer {
        Ok(Committed::Receipt(_)) | Err(Refusal::StorageFull) => {}
        other => panic!("{other:?}"),
    }
    // Somebody makes room.
    std::fs::remove_file(&reserve).unwrap();
    assert_eq!(desk.ask(last).answer.map(|_| ()), Ok(()));
    assert!(matches!(desk.ask(read()).answer, Ok(Committed::Receipt(_))));
    assert!(desk.is_well());
    let stored = stored + 2;
    // Full again, and now it ends full.
    let stored = stored + fill(&desk, "again");
    let ledger = Arc::clone(&desk.ledger);
    drop(desk);
    let found = dump(folder);
    assert_eq!(found.len(), stored);
    assert_eq!(ledger.check(&found, PERSIST_TIMEOUT), []);
    let desk = Desk::open(settings(folder));
    let next = found.iter().filter(|found| found.room == "a").count() as i64;
    assert_eq!(joined(&desk), next);
    println!("stored {stored} in all");
}

/// Needs leave to mount: root, or user namespaces. The mount is seen by the child alone and goes with it.
#[test]
fn a_full_disk_is_told_and_costs_nothing_that_was_acknowledged() {
    if let Some(folder) = inherited() {
        return on_a_small_disk(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut namespace = vec!["unshare", "--mount", "--propagation", "private"];
    if !rustix::process::getuid().is_root() {
        namespace.push("--map-root-user");
    }
    let may = Command::new(namespace[0]).args(&namespace[1..]).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
    let may = may.expect("this test needs unshare: apt-get install util-linux");
    assert!(may.status.success(), "this test needs leave to mount a tmpfs, as root or in a user namespace: {may:?}");
    let mount = r#"mount -t tmpfs -o size=4m none "$0" && exec "$@""#;
    namespace.extend(["sh", "-c", mount, folder.path().to_str().unwrap()]);
    let name = "disk::a_full_disk_is_told_and_costs_nothing_that_was_acknowledged";
    let output = child(name, folder.path().to_str().unwrap(), &namespace).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("stored "), "the child ran no test: {text}");
}

fn through_a_quota(folder: &Path) {
    let desk = Desk::open(settings(folder));
    let (mut full, mut stored) = (0, 0);
    // Until the quota was met and is behind.
    for round in 0.. {
        assert!(round < 1000, "the quota was not met");
        let refused = send_twelve(&desk, round);
        full += refused;
        stored += 12 - refused;
        if full > 0 && refused == 0 {
            break;
        }
    }
    assert!(desk.is_well());
    let ledger = Arc::clone(&desk.ledger);
    drop(desk);
    let found = dump(folder);
    assert_eq!(found.len(), stored);
    assert_eq!(ledger.check(&found, PERSIST_TIMEOUT), []);
    println!("refused {full} stored {stored} in all");
}

/// In one batch. Returns how many were refused.
fn send_twelve(desk: &Desk, round: usize) -> usize {
    let bodies = (0..12).map(|n| once(ROOMS[n % ROOMS.len()], "ann", &"x".repeat(2048), &format!("{round} {n}"), "1"));
    let requests = desk.submit_together(bodies.collect());
    let answers = desk.answers(&requests);
    let full = refused_as(&answers, Refusal::StorageFull);
    assert_eq!(accepted(&answers) + full, 12, "{}", words(&answers));
    assert!(full == 0 || full == 12, "what is written in one go fails together: {}", words(&answers));
    full
}

/// Needs `strace` and leave to trace a child. The first write of a commit fails, or one in the middle of it.
#[test]
fn a_quota_that_is_met_in_the_middle_of_a_commit_undoes_all_of_it() {
    if let Some(folder) = inherited() {
        return through_a_quota(Path::new(&folder));
    }
    let traces = Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success());
    assert!(traces, "this test needs strace and leave to use it: apt-get install strace");
    for first in [80, 83] {
        let folder = tempfile::tempdir().unwrap();
        Desk::open(settings(folder.path()));
        let log = folder.path().join("strace");
        let inject = format!("inject=pwrite64:error=ENOSPC:when={first}..{}", first + 4);
        let strace = ["strace", "-f", "-qq", "-e", "trace=pwrite64", "-o", log.to_str().unwrap(), "-e", &inject];
        let name = "disk::a_quota_that_is_met_in_the_middle_of_a_commit_undoes_all_of_it";
        let output = child(name, folder.path().to_str().unwrap(), &strace).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("refused "), "the child ran no test: {text}");
        let injected = std::fs::read_to_string(&log).unwrap().matches("(INJECTED)").count();
        assert!(injected > 0, "no write failed");
    }
}
