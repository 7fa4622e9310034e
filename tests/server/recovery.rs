//! Coming back after a lost connection: what is restored, what is replayed, and to whom it is not.

use std::net::SocketAddr;
use std::time::Duration;

use alt_ws::auth::revocations::Subject;
use alt_ws::server::Server;
use alt_ws::server::settings::{Recovery, Settings};
use alt_ws::store::revocations::RevocationList;
use alt_ws::store::{StoreKind, StoreSettings};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::poison;
use crate::support::chatter::Chatter;
use crate::support::raw::{Frame, Polling, Raw, UPGRADE, frame, http, text};
use crate::support::{settings, soon, start, start_with, token, token_for};

const RECOVERY: Recovery =
    Recovery { window: Duration::from_secs(60), bytes: 32 * 1024 * 1024, entries: 100_000, seats: 10_000 };

fn start_recovering(change: impl FnOnce(&mut Recovery)) -> Server {
    let mut recovery = RECOVERY;
    change(&mut recovery);
    start_with(|settings| settings.recovery = Some(recovery))
}

/// What a client keeps of a connection: the private id and the last offset.
#[derive(Clone, Debug, Default, PartialEq)]
struct Memory {
    pid: Option<String>,
    offset: Option<String>,
}

/// A socket on a WebSocket, as the reference client is one.
struct Visitor {
    raw: Raw,
    sid: String,
    memory: Memory,
}

/// Opens a WebSocket and says CONNECT.
async fn knock(address: SocketAddr, token: &str, memory: &Memory) -> Raw {
    let mut raw = Raw::open(address).await;
    raw.upgrade(None, b"").await;
    assert!(matches!(raw.frame().await, Frame::Text(open) if open.starts_with("0{")));
    let mut payload = json!({"token": token});
    for (name, value) in [("pid", &memory.pid), ("offset", &memory.offset)] {
        if let Some(value) = value {
            payload[name] = json!(value);
        }
    }
    raw.write(text(&format!("40{payload}"))).await;
    raw
}

async fn packet(raw: &mut Raw) -> String {
    match raw.frame().await {
        Frame::Text(packet) => packet,
        other => panic!("{other:?}"),
    }
}

/// Ends a connection without a word, and returns when the server has noticed.
async fn cut(mut raw: Raw) {
    raw.stream.shutdown().await.unwrap();
    while raw.frame().await != Frame::End {}
}

impl Visitor {
    async fn come(address: SocketAddr, user: &str, memory: &Memory) -> Self {
        let mut raw = knock(address, &token(user), memory).await;
        let answer = packet(&mut raw).await;
        let answer: Value = serde_json::from_str(answer.strip_prefix("40").unwrap()).unwrap();
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        let memory = Memory { pid: text("pid"), offset: memory.offset.clone() };
        Self { raw, sid: text("sid").unwrap(), memory }
    }

    async fn join(address: SocketAddr, user: &str, room: &str) -> Self {
        let mut visitor = Self::come(address, user, &Memory::default()).await;
        visitor.emit("room:join", json!({"roomId": room})).await;
        visitor.next("room:joined").await;
        visitor
    }

    async fn emit(&mut self, event: &str, payload: Value) {
        self.raw.write(text(&format!("42{}", json!([event, payload])))).await;
    }

    /// The next event: its name and its payload.
    async fn event(&mut self) -> (String, Value) {
        let packet = packet(&mut self.raw).await;
        let event: Vec<Value> = serde_json::from_str(packet.strip_prefix("42").unwrap()).unwrap();
        if let Some(Value::String(offset)) = event.get(2) {
            self.memory.offset = Some(offset.clone());
        }
        (event[0].as_str().unwrap().to_owned(), event[1].clone())
    }

    async fn next(&mut self, name: &str) -> Value {
        loop {
            let (event, payload) = self.event().await;
            if event == name {
                return payload;
            }
        }
    }

    /// Sends a message and returns everything that comes before it does.
    async fn everything_before(&mut self, room: &str) -> Vec<(String, Value)> {
        self.emit("message:send", json!({"roomId": room, "content": "barrier"})).await;
        let mut heard = Vec::new();
        loop {
            match self.event().await {
                (name, payload) if name == "message:new" && payload["content"] == "barrier" => return heard,
                event => heard.push(event),
            }
        }
    }

    async fn lose(self) -> Memory {
        cut(self.raw).await;
        self.memory
    }
}

async fn say(chatter: &mut Chatter, room: &str, content: &str) {
    assert_eq!(chatter.ask("message:send", json!({"roomId": room, "content": content})).await["ok"], true);
}

fn contents(heard: &[(String, Value)]) -> Vec<&str> {
    heard
        .iter()
        .filter(|(name, _)| name == "message:new")
        .map(|(_, payload)| payload["content"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn whoever_comes_back_is_the_same_socket_in_the_same_rooms_and_hears_what_it_missed() {
    let server = start_recovering(|_| ());
    let address = server.address();
    let mut bob = Chatter::join(address, "bob", "r").await;
    let ann = Visitor::join(address, "ann", "r").await;
    assert_eq!(bob.next("user:joined").await["userId"], "ann");
    let (sid, pid) = (ann.sid.clone(), ann.memory.pid.clone());
    let memory = ann.lose().await;
    for content in ["one", "two"] {
        say(&mut bob, "r", content).await;
    }
    let mut ann = Visitor::come(address, "ann", &memory).await;
    assert_eq!((&ann.sid, &ann.memory.pid), (&sid, &pid));
    say(&mut bob, "r", "three").await;
    let heard = ann.everything_before("r").await;
    assert_eq!(contents(&heard), ["one", "two", "three"]);
    assert!(heard.iter().all(|(name, _)| name == "message:new"), "{heard:?}");
    // What bob was told in the meantime: that she went and came, and not that she joined.
    ann.emit("room:leave", json!({"roomId": "r"})).await;
    let mut names = Vec::new();
    while names.last().is_none_or(|name| name != "user:left") {
        names.push(bob.next_event().await.0);
    }
    assert!(!names.contains(&"user:joined".to_owned()), "{names:?}");
}

#[tokio::test]
async fn the_answer_to_what_was_sent_last_is_not_lost() {
    let server = start_recovering(|_| ());
    let address = server.address();
    let mut ann = Visitor::join(address, "ann", "r").await;
    ann.emit("message:send", json!({"roomId": "r", "content": "last words", "tempId": 7})).await;
    let memory = ann.lose().await;
    let mut ann = Visitor::come(address, "ann", &memory).await;
    assert_eq!(ann.next("message:new").await["content"], "last words");
    assert_eq!(ann.next("message:ack").await["tempId"], 7);
}

#[tokio::test]
async fn whoever_received_nothing_since_it_connected_misses_everything_since_then() {
    let server = start_recovering(|_| ());
    let address = server.address();
    let mut bob = Chatter::join(address, "bob", "r").await;
    let live = Visitor::join(address, "ann", "r").await;
    assert_eq!(bob.next("user:joined").await["userId"], "ann");
    for stale in [Memory::default(), live.memory.clone()] {
        // The private id is of a socket that is still connected, so this one is new, and knows an older offset or none.
        let mut ann = Visitor::come(address, "ann", &stale).await;
        assert_ne!(ann.memory.pid, stale.pid);
        ann.emit("room:join", json!({"roomId": "r"})).await;
        assert_eq!(bob.next("user:joined").await["userId"], "ann");
        let memory = ann.lose().await;
        assert_eq!(memory.offset, stale.offset);
        say(&mut bob, "r", "hello").await;
        let mut back = Visitor::come(address, "ann", &memory).await;
        assert_eq!(back.memory.pid, memory.pid);
        let heard = back.everything_before("r").await;
        let names: Vec<_> = heard.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["room:joined", "message:new"], "what went to the room before it was there is not its own");
    }
}

#[tokio::test]
async fn no_event_is_lost_or_comes_twice_however_often_and_whenever_the_connection_is_cut() {
    const MESSAGES: u64 = 600;
    let server = start_recovering(|_| ());
    let address = server.address();
    let ann = Visitor::join(address, "ann", "r").await;
    let (sid, mut memory) = (ann.sid.clone(), ann.lose().await);
    let mut bob = Chatter::join(address, "bob", "r").await;
    let chat = tokio::spawn(async move {
        for number in 1..=MESSAGES {
            say(&mut bob, "r", &format!("{number} {}", "x".repeat(number as usize % 200))).await;
        }
    });
    let mut received = Vec::new();
    let mut cuts = 0;
    while received.len() < MESSAGES as usize {
        cuts += 1;
        if cuts % 4 == 0 {
            // Gone before it is told that it is back.
            cut(knock(address, &token("ann"), &memory).await).await;
            continue;
        }
        let mut ann = Visitor::come(address, "ann", &memory).await;
        assert_eq!(ann.sid, sid, "after {cuts} cuts and {} messages", received.len());
        let so_many = (cuts * 7) % 11;
        while received.len() < MESSAGES as usize && received.len() % 11 != so_many {
            let (name, payload) = ann.event().await;
            match name.as_str() {
                "message:new" => received.push(payload["seq"].as_u64().unwrap()),
                "user:joined" => {}
                other => panic!("{other} {payload}"),
            }
        }
        memory = ann.lose().await;
    }
    soon(chat).await.unwrap();
    let odd = received.iter().zip(1..).find(|(seq, expected)| **seq != *expected);
    assert_eq!((odd, received.len()), (None, MESSAGES as usize), "of {received:?} after {cuts} cuts");
    assert!(cuts > 50, "{cuts}");
}

#[tokio::test]
async fn e15_a_private_id_serves_its_user_once_at_a_time_and_nobody_else() {
    let server = start_recovering(|_| ());
    let address = server.address();
    let ann = Visitor::join(address, "ann", "r").await;
    let mut bob = Chatter::join(address, "bob", "r").await;
    let live = Visitor::come(address, "ann", &ann.memory).await;
    assert_ne!(live.memory.pid, ann.memory.pid, "its socket is connected");
    let sid = ann.sid.clone();
    let memory = ann.lose().await;
    say(&mut bob, "r", "secret").await;

    let mut eve = Visitor::come(address, "eve", &memory).await;
    assert!(eve.memory.pid != memory.pid && eve.sid != sid);
    assert!(eve.everything_before_joining("e").await.is_empty(), "another's session tells nothing");

    let mut raw = knock(address, "not a token", &memory).await;
    assert!(packet(&mut raw).await.starts_with("44{\"message\":\"Invalid token\""));
    cut(raw).await;

    for (name, value) in [("offset", "AAAAAAAAAAE"), ("offset", "__proto__"), ("pid", "AAAAAAAAAAAAAAAAAAAA")] {
        let mut wrong = memory.clone();
        *(if name == "pid" { &mut wrong.pid } else { &mut wrong.offset }) = Some(value.to_owned());
        if name == "pid" || value == "__proto__" {
            assert_ne!(Visitor::come(address, "ann", &wrong).await.sid, sid, "{name} {value}");
        }
    }
    let ann = Visitor::come(address, "ann", &memory).await;
    assert_eq!(ann.sid, sid, "none of them had it");
    let again = Visitor::come(address, "ann", &memory).await;
    assert_ne!(again.sid, sid, "it is back already");
}

#[tokio::test]
async fn an_offset_that_is_not_known_begins_anew_and_ends_the_old_session() {
    let server = start_recovering(|_| ());
    let address = server.address();
    let ann = Visitor::join(address, "ann", "r").await;
    let sid = ann.sid.clone();
    let memory = ann.lose().await;
    let wrong = Memory { offset: Some("AAAAAAAAAAE".to_owned()), ..memory.clone() };
    let mut anew = Visitor::come(address, "ann", &wrong).await;
    assert_ne!(anew.sid, sid);
    anew.emit("room:join", json!({"roomId": "r"})).await;
    anew.next("room:joined").await;
    assert_ne!(Visitor::come(address, "ann", &memory).await.sid, sid);
}

#[tokio::test]
async fn leaving_on_purpose_leaves_nothing_to_come_back_to() {
    let server = start_recovering(|_| ());
    let address = server.address();
    let mut ann = Visitor::join(address, "ann", "r").await;
    ann.raw.write(text("41")).await;
    let (sid, memory) = (ann.sid.clone(), ann.lose().await);
    assert_ne!(Visitor::come(address, "ann", &memory).await.sid, sid);

    let mut ann = Visitor::join(address, "ann", "r").await;
    ann.raw.write(text("4")).await;
    let sid = ann.sid.clone();
    assert_eq!(ann.raw.close_code().await, Some(1002));
    assert_ne!(Visitor::come(address, "ann", &ann.memory).await.sid, sid, "nor does breaking the protocol");
}

#[tokio::test]
async fn a_session_on_polling_is_kept_when_its_client_closes_the_engine() {
    let server = start_recovering(|_| ());
    let address = server.address();
    let mut bob = Chatter::join(address, "bob", "r").await;
    let polling = Polling::open(address).await;
    polling.post(&format!("40{{\"token\":\"{}\"}}\x1e42[\"room:join\",{{\"roomId\":\"r\"}}]", token("ann"))).await;
    let mut heard = String::new();
    while !heard.contains("room:joined") {
        heard += &polling.poll().await;
    }
    assert_eq!(bob.next("user:joined").await["userId"], "ann");
    let (_, connected) = heard.split_once("\"pid\":\"").unwrap();
    let (_, joined) = heard.split_once("room:joined").unwrap();
    let end = joined.split_once("\"]").map_or(joined, |(head, _)| head);
    let memory = Memory { pid: Some(connected[..20].to_owned()), offset: Some(end[end.len() - 11..].to_owned()) };
    polling.post("1").await;
    say(&mut bob, "r", "hello").await;
    let mut ann = Visitor::come(address, "ann", &memory).await;
    assert_eq!(ann.memory.pid, memory.pid);
    assert_eq!(ann.event().await.1["content"], "hello");
}

#[tokio::test]
async fn clients_that_know_nothing_of_offsets_are_given_none() {
    let server = start_recovering(|_| ());
    let address = server.address();
    let ann = Visitor::join(address, "ann", "r").await;
    assert!(ann.memory.pid.is_some() && ann.memory.offset.is_some());
    for (path, agent) in [
        ("/socket.io/?transport=websocket&EIO=4", ""),
        ("/socket.io/?EIO=4&transport=websocket", "User-Agent: Python/3.12 aiohttp/3.9\r\n"),
        ("/socket.io/?EIO=4&transport=websocket", "User-Agent: Dart/3.4 (dart:io)\r\n"),
    ] {
        let mut raw = Raw::open(address).await;
        raw.write(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{agent}{UPGRADE}\r\n")).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
        raw.write(text(&format!("40{}", json!({"token": token("bob"), "pid": ann.memory.pid})))).await;
        packet(&mut raw).await;
        assert!(!packet(&mut raw).await.contains("pid"));
        raw.write(text("42[\"room:join\",{\"roomId\":\"r\"}]")).await;
        assert!(packet(&mut raw).await.ends_with("}]"));
        raw.write(text("42[\"message:send\",{\"roomId\":\"r\",\"content\":\"hello\"}]")).await;
        for name in ["message:new", "message:ack"] {
            let packet = packet(&mut raw).await;
            assert!(packet.starts_with(&format!("42[\"{name}\",{{")) && packet.ends_with("}]"), "{packet}");
            assert!(serde_json::from_str::<(String, Value)>(&packet[2..]).is_ok(), "{packet}");
        }
    }
}

#[tokio::test]
async fn a_server_that_keeps_nothing_gives_neither_a_private_id_nor_offsets() {
    let server = start();
    let ann = Visitor::join(server.address(), "ann", "r").await;
    assert_eq!(ann.memory, Memory::default());
    let (sid, memory) = (ann.sid.clone(), Memory { pid: Some("A".repeat(20)), offset: None });
    cut(ann.raw).await;
    assert_ne!(Visitor::come(server.address(), "ann", &memory).await.sid, sid);
}

#[tokio::test]
async fn nobody_comes_back_after_the_window() {
    let window = Duration::from_millis(300);
    let server = start_recovering(|recovery| recovery.window = window);
    let address = server.address();
    let ann = Visitor::join(address, "ann", "r").await;
    let (sid, memory) = (ann.sid.clone(), ann.lose().await);
    tokio::time::sleep(window).await;
    assert_ne!(Visitor::come(address, "ann", &memory).await.sid, sid);
}

#[tokio::test]
async fn a_flood_beyond_the_bound_makes_lost_connections_new_ones() {
    let server = start_recovering(|recovery| recovery.bytes = 200_000);
    let address = server.address();
    let mut bob = Chatter::join(address, "bob", "r").await;
    for (messages, is_back) in [(10, true), (40, false)] {
        let ann = Visitor::join(address, "ann", "r").await;
        let (sid, memory) = (ann.sid.clone(), ann.lose().await);
        for _ in 0..messages {
            say(&mut bob, "r", &"x".repeat(4000)).await;
        }
        let back = Visitor::come(address, "ann", &memory).await;
        assert_eq!(back.sid == sid, is_back, "{messages}");
    }
}

#[tokio::test]
async fn too_much_for_the_outbox_is_not_replayed() {
    let server = start_recovering(|_| ());
    let address = server.address();
    let mut bob = Chatter::join(address, "bob", "r").await;
    let ann = Visitor::join(address, "ann", "r").await;
    let (sid, memory) = (ann.sid.clone(), ann.lose().await);
    for _ in 0..10 {
        say(&mut bob, "r", &"x".repeat(60_000)).await;
    }
    let mut back = Visitor::come(address, "ann", &memory).await;
    assert_ne!(back.sid, sid);
    assert!(back.everything_before_joining("other").await.is_empty());
}

#[tokio::test]
async fn the_rooms_of_many_lost_connections_are_bounded() {
    let server = start_recovering(|recovery| recovery.seats = 2 * 4);
    let address = server.address();
    let mut lost = Vec::new();
    for number in 0..20 {
        let user = format!("user{number}");
        let visitor = Visitor::join(address, &user, "r").await;
        lost.push((user, visitor.sid.clone(), visitor.lose().await));
    }
    let (mut back, mut here) = (0, Vec::new());
    for (user, sid, memory) in lost {
        let visitor = Visitor::come(address, &user, &memory).await;
        back += usize::from(visitor.sid == sid);
        here.push(visitor);
    }
    assert!((1..=4).contains(&back), "{back}: each core keeps two sockets with a room");
}

impl Visitor {
    /// Joins another room, and returns everything that comes before it is in.
    async fn everything_before_joining(&mut self, room: &str) -> Vec<(String, Value)> {
        self.emit("room:join", json!({"roomId": room})).await;
        let mut heard = Vec::new();
        loop {
            match self.event().await {
                (name, _) if name == "room:joined" => return heard,
                event => heard.push(event),
            }
        }
    }
}

#[tokio::test]
async fn a_restored_socket_may_do_what_it_could_before() {
    let server = start_recovering(|_| ());
    let address = server.address();
    let mut bob = Chatter::join(address, "bob", "r").await;
    let memory = Visitor::join(address, "ann", "r").await.lose().await;
    let mut ann = Visitor::come(address, "ann", &memory).await;
    ann.emit("typing:start", json!({"roomId": "r"})).await;
    let typing = bob.next("typing:user").await;
    assert_eq!((&typing["userId"], &typing["isTyping"]), (&json!("ann"), &json!(true)));
    let (_, live) = http(address, "GET", "/health", "").await;
    assert!(live.contains("\"sockets\":2"), "{live}");
    cut(ann.raw).await;
    assert_eq!(bob.next("typing:user").await["isTyping"], false);
    let (_, left) = http(address, "GET", "/health", "").await;
    assert!(left.contains("\"sockets\":1"), "{left}");
}

/// Ann's connection, on which she says something and leaves before the store can have answered; then come the `others`,
/// each of whom leaves for the next. Returns once the store's answer is on the core, or would be.
async fn hand_on(address: SocketAddr, others: &[&str], last: &[u8]) -> Visitor {
    let mut carl = Chatter::join(address, "carl", "r").await;
    let mut ann = Visitor::join(address, "ann", "r").await;
    let message = json!(["message:send", {"roomId": "r", "content": "last words", "tempId": 7}]);
    let mut said = text(&format!("420{message}"));
    for user in others {
        said.extend([text("41"), text(&format!("40{}", json!({"token": token(user)})))].concat());
    }
    // In one segment, which the core reads at once.
    ann.raw.write([&said, last].concat()).await;
    assert_eq!(carl.next("message:new").await["content"], "last words");
    assert_eq!(carl.ask("room:leave", json!({"roomId": "r"})).await["ok"], true);
    ann
}

#[tokio::test]
async fn a6_whoever_comes_back_is_not_told_what_another_had_asked_for_on_the_same_connection() {
    const CLOSE: u8 = 0x88;
    let server = start_with(|settings| (settings.cores, settings.recovery) = (1, Some(RECOVERY)));
    let mut bob = hand_on(server.address(), &["bob"], &frame(CLOSE, &[])).await;
    let mut connected = packet(&mut bob.raw).await;
    while !connected.starts_with("40") {
        connected = packet(&mut bob.raw).await;
    }
    let connected: Value = serde_json::from_str(&connected[2..]).unwrap();
    let memory = Memory { pid: connected["pid"].as_str().map(str::to_owned), offset: None };
    let mut bob = Visitor::come(server.address(), "bob", &memory).await;
    assert_eq!(bob.sid, connected["sid"], "bob is back");
    let heard = bob.everything_before_joining("another").await;
    assert!(heard.is_empty(), "{heard:?}");
}

#[tokio::test]
async fn a6_nobody_on_a_connection_is_told_what_one_had_asked_for_who_is_gone_with_the_next_one() {
    let server = start_with(|settings| (settings.cores, settings.recovery) = (1, Some(RECOVERY)));
    let mut dan = hand_on(server.address(), &["bob"], &text("41")).await;
    dan.raw.write(text(&format!("40{}", json!({"token": token("dan")})))).await;
    for user in ["bob", "dan"] {
        let mut heard = packet(&mut dan.raw).await;
        while !heard.starts_with("40") {
            assert!(heard.starts_with("42[\"message:new\"") || heard.starts_with("42[\"user:"), "{user} heard {heard}");
            heard = packet(&mut dan.raw).await;
        }
    }
}

#[tokio::test]
async fn j8_whoever_is_revoked_on_the_way_back_does_not_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alt.db");
    let store = StoreSettings { open_rooms: true, ..StoreSettings::new(StoreKind::Sqlite { path: path.clone() }) };
    let server = poison::start_with(Settings { recovery: Some(RECOVERY), store: Some(store), ..settings() });
    let ann = Visitor::join(server.address(), "ann", "poison:restore").await;
    let memory = ann.lose().await;
    let mut raw = knock(server.address(), &token("ann"), &memory).await;
    RevocationList::open(&path).unwrap().add(Subject::from_parts("user", "ann").unwrap(), None).unwrap();
    loop {
        match raw.frame().await {
            Frame::Text(packet) => assert!(!packet.starts_with("40"), "{packet}"),
            Frame::End => break,
            _ => {}
        }
    }
}

#[tokio::test]
async fn whoever_comes_back_with_a_token_that_ends_soon_is_told_once_it_is_back() {
    let server = start_recovering(|_| ());
    let token = token_for("ann", Duration::from_secs(30));
    let mut memory = Memory::default();
    let mut sids = Vec::new();
    for _ in 0..3 {
        let mut raw = knock(server.address(), &token, &memory).await;
        let answer = packet(&mut raw).await;
        let answer: Value = serde_json::from_str(answer.strip_prefix("40").expect("CONNECT comes first")).unwrap();
        sids.push(answer["sid"].clone());
        memory.pid = answer["pid"].as_str().map(str::to_owned);
        let told = packet(&mut raw).await;
        let told: Value = serde_json::from_str(told.strip_prefix("42").unwrap()).unwrap();
        assert!(told[0] == "auth:expiring" && (1..=30).contains(&told[1]["in"].as_u64().unwrap()), "{told}");
        memory.offset = told[2].as_str().map(str::to_owned);
        cut(raw).await;
    }
    assert_eq!((&sids[1], &sids[2]), (&sids[0], &sids[0]), "the same socket each time");
}
