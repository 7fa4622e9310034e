//! The servers that other tests rely on do what those tests rely on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails, in its helpers too")]

#[path = "support/services.rs"]
mod services;

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use services::{Mongo, Postgres};

/// Longer than anything here takes, so that a test that would wait for ever fails instead.
const PATIENCE: Duration = Duration::from_secs(30);

/// Shorter than anything that waits for a paused server.
const SHORT: Duration = Duration::from_millis(300);

async fn postgres(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn numbers(url: &str) -> Vec<i32> {
    let rows = postgres(url).await.query("SELECT n FROM numbers ORDER BY n", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn mongo(uri: &str) -> mongodb::Collection<Document> {
    mongodb::Client::with_uri_str(uri).await.unwrap().default_database().unwrap().collection("numbers")
}

#[tokio::test]
async fn postgres_keeps_what_it_committed_however_it_ends() {
    let server = Postgres::start();
    let database = server.database();
    let url = server.url(&database);
    server.execute(&database, "CREATE TABLE numbers (n int); INSERT INTO numbers VALUES (1)");

    let cut_off = postgres(&url).await;
    server.kill();
    assert!(cut_off.batch_execute("INSERT INTO numbers VALUES (2)").await.is_err());
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_err(), "it is down");
    server.start_again();
    assert_eq!(numbers(&url).await, [1]);

    server.execute(&database, "INSERT INTO numbers VALUES (3)");
    server.stop_immediately();
    server.start_again();
    assert_eq!(numbers(&url).await, [1, 3]);
}

#[tokio::test]
async fn postgres_says_nothing_while_it_is_paused() {
    let server = Postgres::start();
    let database = server.database();
    let client = postgres(&server.url(&database)).await;
    server.pause();
    let mut answer = Box::pin(client.simple_query("SELECT 1"));
    assert!(tokio::time::timeout(SHORT, &mut answer).await.is_err(), "a paused server answered");
    server.resume();
    tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap();

    server.pause();
    server.kill();
    server.start_again();
}

#[test]
fn every_database_is_another_and_a_shared_server_is_one() {
    let (one, same) = (services::shared_postgres(), services::shared_postgres());
    assert!(std::ptr::eq(one, same));
    let (a, b) = (one.database(), one.database());
    one.execute(&a, "CREATE TABLE only_here (n int)");
    one.execute(&b, "CREATE TABLE only_here (n int)");

    let mongo = services::shared_mongo();
    assert!(std::ptr::eq(mongo, services::shared_mongo()));
    assert_ne!(mongo.database(), mongo.database());
}

#[tokio::test]
async fn mongo_keeps_what_it_acknowledged_when_killed() {
    let server = Mongo::start();
    let uri = server.uri(&server.database());
    mongo(&uri).await.insert_one(doc! {"_id": 1}).await.unwrap();
    server.kill();
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_err(), "it is down");
    server.start_again();
    let found = mongo(&uri).await.find_one(doc! {}).await.unwrap();
    assert_eq!(found, Some(doc! {"_id": 1}));
}

#[tokio::test]
async fn mongo_says_nothing_while_it_is_paused() {
    let server = Mongo::start();
    let numbers = mongo(&server.uri(&server.database())).await;
    numbers.insert_one(doc! {"_id": 1}).await.unwrap();
    server.pause();
    let mut answer = Box::pin(async { numbers.insert_one(doc! {"_id": 2}).await });
    assert!(tokio::time::timeout(SHORT, &mut answer).await.is_err(), "a paused server answered");
    server.resume();
    tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap();
}

#[tokio::test]
async fn mongo_fails_as_it_is_told() {
    let server = Mongo::start();
    let numbers = mongo(&(server.uri(&server.database()) + "&retryWrites=false")).await;
    let fail_once = |data: Document| {
        server.fail_point(doc! {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data});
    };

    fail_once(doc! {"failCommands": ["insert"], "errorCode": 50});
    let error = numbers.insert_one(doc! {"_id": 1}).await.unwrap_err();
    assert!(error.to_string().contains("50"), "{error}");
    numbers.insert_one(doc! {"_id": 1}).await.unwrap();

    fail_once(doc! {"failCommands": ["insert"], "closeConnection": true});
    assert!(numbers.insert_one(doc! {"_id": 2}).await.is_err());
    assert_eq!(numbers.count_documents(doc! {}).await.unwrap(), 1);
}

/// This test is also the process that it kills: that one says where its servers are, and waits.
#[test]
fn servers_die_with_the_process_that_started_them() {
    const NAME: &str = "servers_die_with_the_process_that_started_them";
    const MARK: &str = "server at ";
    if std::env::var_os("DIE_WITH_SERVERS").is_some() {
        for port in [services::shared_postgres().port(), services::shared_mongo().port()] {
            eprintln!("{MARK}{port}");
        }
        loop {
            std::thread::park();
        }
    }
    let folders = tempfile::tempdir().unwrap();
    // PostgreSQL's user has to come through.
    std::fs::set_permissions(folders.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap());
    victim.args(["--exact", NAME, "--nocapture"]).env("DIE_WITH_SERVERS", "1").env("TMPDIR", folders.path());
    victim.env_remove("PG_URL").env_remove("MONGO_URI");
    let mut victim = victim.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(victim.stderr.take().unwrap()).lines().map(Result::unwrap);
    let ports = lines.filter_map(|line| Some(line.strip_prefix(MARK)?.parse::<u16>().unwrap()));
    let ports: Vec<_> = ports.take(2).collect();
    assert_eq!(ports.len(), 2, "the servers did not start");
    assert!(ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()));
    victim.kill().unwrap();
    victim.wait().unwrap();

    let deadline = Instant::now() + PATIENCE;
    let empty = |folder: &Path| folder.read_dir().unwrap().next().is_none();
    while !empty(folders.path()) || ports.iter().any(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
        assert!(Instant::now() < deadline, "something is left of the servers");
        std::thread::sleep(Duration::from_millis(10));
    }
}
