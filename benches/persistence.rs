//! What batching brings: messages acknowledged per second through the writer, beside one write per message, on the same
//! servers with the same number of messages on their way. `cargo bench --bench persistence` prints a table.
//!
//! The servers are started by this program, in a temporary folder; see `tests/support/services.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on has failed"
)]

#[path = "../tests/support/services.rs"]
mod services;

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use alt_ws::chat::effect::{NewMessage, Origin, Record, RecordBody};
use alt_ws::ids::{ConnectionKey, CoreId, NamespaceId, RoomId, SocketKey, UserId};
use alt_ws::store::{
    MessagesKind, MongoSettings, News, PostgresSettings, StoreKind, StoreSettings, StructureKind, Writer,
};

/// Messages on their way at a time, over all rooms: several hundred people who wait for their acks.
const IN_FLIGHT: u64 = 512;
const ROOMS: u64 = 16;
/// Bytes of content.
const CONTENT: usize = 100;
/// How long each row is measured, after a start that does not count.
const MEASURED: Duration = Duration::from_secs(5);
const WARM_UP: Duration = Duration::from_secs(1);

fn main() {
    // `cargo test --all-targets` runs this program, too; only `cargo bench` asks for figures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sqlite = |name: &str| StoreKind::Sqlite { path: folder.path().join(name) };
    let (postgres, mongo) = (services::shared_postgres(), services::shared_mongo());
    let databases = || StoreKind::Split {
        structure: StructureKind::Postgres(PostgresSettings {
            host: "127.0.0.1".into(),
            port: postgres.port(),
            database: postgres.database(),
            user: "postgres".into(),
            password: None,
        }),
        messages: MessagesKind::Mongo(MongoSettings { uri: mongo.uri(&mongo.database()) }),
    };
    println!("| store | one write per message | batched | gain | p99 of an ack, one by one | p99, batched |");
    println!("|---|---|---|---|---|---|");
    for (name, single, batched) in [
        ("SQLite", sqlite("single.db"), sqlite("batched.db")),
        ("PostgreSQL and MongoDB's protocol", databases(), databases()),
    ] {
        let single = measure(StoreSettings { batch_records: 1, ..StoreSettings::new(single) });
        let batched = measure(StoreSettings::new(batched));
        println!(
            "| {name} | {:.0}/s | {:.0}/s | {:.1} × | {:.0} ms | {:.0} ms |",
            single.per_second,
            batched.per_second,
            batched.per_second / single.per_second,
            single.p99_ms,
            batched.p99_ms
        );
    }
}

struct Measured {
    per_second: f64,
    p99_ms: f64,
}

fn measure(mut settings: StoreSettings) -> Measured {
    let author = UserId::from_text("author").unwrap();
    let rooms: Vec<RoomId> = (0..ROOMS).map(|room| RoomId::from_text(&format!("room-{room}")).unwrap()).collect();
    settings.members = rooms.iter().map(|room| (room.clone(), author.clone())).collect();
    let (done, acked) = channel();
    let done = Mutex::new(done);
    let writer = Writer::start(settings, move |news| {
        let News::Outcomes(outcomes) = news else { return };
        let done = done.lock().unwrap();
        for outcome in outcomes {
            let _ = done.send((outcome.origin.request, outcome.result.is_ok()));
        }
    })
    .unwrap();
    let submit = |request: u64| {
        let room = rooms[usize::try_from(request % ROOMS).unwrap()].clone();
        writer.handle().submit(record(request, room, author.clone())).unwrap();
    };
    let mut since: Vec<Instant> = Vec::new();
    let send = |since: &mut Vec<Instant>| {
        submit(u64::try_from(since.len()).unwrap());
        since.push(Instant::now());
    };
    (0..IN_FLIGHT).for_each(|_| send(&mut since));
    let mut run = |for_how_long: Duration, waited: &mut Vec<Duration>| {
        let start = Instant::now();
        while start.elapsed() < for_how_long {
            let request = next(&acked);
            waited.push(since[usize::try_from(request).unwrap()].elapsed());
            send(&mut since);
        }
        start.elapsed()
    };
    run(WARM_UP, &mut Vec::new());
    let mut waited = Vec::new();
    let took = run(MEASURED, &mut waited);
    writer.shutdown(Instant::now() + Duration::from_secs(60));
    waited.sort_unstable();
    Measured {
        per_second: waited.len() as f64 / took.as_secs_f64(),
        p99_ms: waited[waited.len() * 99 / 100].as_secs_f64() * 1000.0,
    }
}

/// The next acknowledged request; a refusal ends the run.
fn next(acked: &Receiver<(u64, bool)>) -> u64 {
    match acked.recv_timeout(Duration::from_secs(60)) {
        Ok((request, true)) => request,
        other => panic!("not stored: {other:?}"),
    }
}

fn record(request: u64, room: RoomId, user: UserId) -> Record {
    let connection = ConnectionKey { index: 0, generation: 0 };
    let origin = Origin { core: CoreId(0), socket: SocketKey { connection, namespace: NamespaceId(0) }, request };
    let message = NewMessage {
        room,
        user,
        username: "Author".into(),
        content: "x".repeat(CONTENT),
        kind: "text".into(),
        attachments: "[]".into(),
        temp_id: None,
        client_msg_id: Some(format!("message-{request}")),
    };
    Record { origin, body: RecordBody::Message(message) }
}
