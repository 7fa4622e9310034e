use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::auth::Claims;
use crate::chat::effect::{Joined, Page};
use crate::ids::{ConnectionKey, MessageId, NamespaceId, Timestamp};
use crate::socketio::Args;

const SETTINGS: Settings = Settings {
    limits: Limits { max_message_bytes: 1000 },
    rates: Rates { events: 50, bytes: 100_000 },
    rooms_per_socket: 3,
};

/// One core's chat with a store that does as it is told.
struct World {
    chat: Chat,
    start: Instant,
    elapsed: Duration,
}

impl World {
    fn new() -> Self {
        Self { chat: Chat::new(CoreId(0), SETTINGS), start: Instant::now(), elapsed: Duration::ZERO }
    }

    fn now(&self) -> Now {
        let wall = Timestamp(1_770_000_000_000 + u64::try_from(self.elapsed.as_millis()).unwrap());
        Now { instant: self.start + self.elapsed, wall }
    }

    fn connect(&mut self, index: u32, user: &str) -> SocketKey {
        self.connect_until(index, user, None)
    }

    fn connect_until(&mut self, index: u32, user: &str, expires_at: Option<u64>) -> SocketKey {
        let socket = SocketKey { connection: ConnectionKey { index, generation: 0 }, namespace: NamespaceId(0) };
        let claims = Claims { user: UserId::from_text(user).unwrap(), username: Arc::from(user), expires_at };
        let request = ConnectRequest { claims: Some(claims), payload: None };
        let mut out = Vec::new();
        self.chat.connect(socket, request, self.now(), &mut out);
        let record = only_record(out);
        self.answer(&record, Ok(Committed::Conversations(Vec::new())));
        socket
    }

    fn send(&mut self, socket: SocketKey, name: &str, args: &str) -> Vec<Effect> {
        self.send_with(socket, name, args, Some(AckId(1)))
    }

    fn send_with(&mut self, socket: SocketKey, name: &str, args: &str, ack: Option<AckId>) -> Vec<Effect> {
        let event = Event { name: name.into(), args: Args::from_raw(args), attachments: Vec::new() };
        let mut out = Vec::new();
        self.chat.event(socket, event, ack, self.now(), &mut out);
        out
    }

    fn answer(&mut self, record: &Record, result: Result<Committed, Refusal>) -> Vec<Effect> {
        let mut out = Vec::new();
        let outcome = Outcome { origin: record.origin, result };
        self.chat.outcome(outcome, Online::default(), self.now(), &mut out);
        out
    }

    fn join(&mut self, socket: SocketKey, room: &str) -> Vec<Effect> {
        let asked = self.send(socket, "room:join", &format!("{{\"roomId\":\"{room}\"}}"));
        let record = only_record(asked);
        let joined = joined(room, &self.chat.sockets[&socket].user);
        self.answer(&record, Ok(Committed::Joined(joined)))
    }

    fn disconnect(&mut self, socket: SocketKey) -> Vec<Effect> {
        let mut out = Vec::new();
        self.chat.disconnect(socket, self.now(), &mut out);
        out
    }

    fn pass(&mut self, time: Duration) -> Vec<Effect> {
        self.elapsed += time;
        let mut out = Vec::new();
        self.chat.timeout(self.now(), &mut out);
        out
    }
}

fn joined(room: &str, user: &UserId) -> Joined {
    Joined { room: RoomId::from_text(room).unwrap(), user: user.clone(), seq: 4, unread: 0, missed: None }
}

fn only_record(effects: Vec<Effect>) -> Record {
    let records: Vec<_> = effects
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Store(record) => Some(record),
            _ => None,
        })
        .collect();
    let [record] = records.try_into().unwrap();
    record
}

/// One word per effect. That a failure is counted has a test of its own.
fn summary(effects: &[Effect]) -> Vec<String> {
    let index = |socket: &SocketKey| socket.connection.index;
    effects
        .iter()
        .filter(|effect| !matches!(effect, Effect::Failed(_)))
        .map(|effect| match effect {
            Effect::Emit { to, event, .. } => format!("{} to {}", event.name, index(to)),
            Effect::Ack { to, args, .. } => format!("ack {} to {}", args.starts_with("{\"ok\":true"), index(to)),
            Effect::Broadcast { room, except, event, volatile } => {
                let except = except.as_ref().map(index);
                format!("{} in {room} but {except:?}{}", event.name, if *volatile { ", volatile" } else { "" })
            }
            Effect::Watch(room) => format!("watch {room}"),
            Effect::Unwatch(room) => format!("unwatch {room}"),
            Effect::Store(_) => "store".to_owned(),
            Effect::Presence { change, .. } => format!("{change:?}"),
            Effect::Restored { is_certain, .. } => format!("restored {is_certain}"),
            Effect::Failed(_) => String::new(),
            Effect::Disconnect { reason, .. } => format!("disconnect {reason}"),
        })
        .collect()
}

#[test]
fn joining_watches_the_room_first_and_tells_the_others_last() {
    let mut world = World::new();
    let ada = world.connect(1, "ada");
    let asked = world.send(ada, "room:join", "{\"roomId\":\"r\"}");
    assert_eq!(summary(&asked), ["watch r", "store"]);
    assert!(world.chat.members(&RoomId::from_text("r").unwrap()).is_empty(), "nobody is in before the store says so");
    let user = UserId::from_text("ada").unwrap();
    let answered = world.answer(&only_record(asked), Ok(Committed::Joined(joined("r", &user))));
    assert_eq!(summary(&answered), ["room:joined to 1", "ack true to 1", "user:joined in r but Some(1)"]);
    assert_eq!(world.chat.members(&RoomId::from_text("r").unwrap()), [ada]);
    assert_eq!(
        summary(&world.join(ada, "r")),
        ["room:joined to 1", "ack true to 1"],
        "again, and nobody is told twice"
    );
}

#[test]
fn a_refused_join_leaves_nothing_behind() {
    let mut world = World::new();
    let eve = world.connect(1, "eve");
    let asked = world.send(eve, "room:join", "{\"roomId\":\"r\"}");
    let answered = world.answer(&only_record(asked), Err(Refusal::NotMember));
    assert_eq!(summary(&answered), ["unwatch r", "error to 1", "ack false to 1"]);
    let Some(Effect::Emit { event, .. }) = answered.get(1) else { panic!("no error") };
    assert_eq!(
        event.args,
        r#"{"message":"Access denied to this room","code":"access_denied","event":"room:join","roomId":"r"}"#
    );
}

#[test]
fn whoever_leaves_before_the_store_answered_is_not_in() {
    let mut world = World::new();
    let ada = world.connect(1, "ada");
    let asked = world.send(ada, "room:join", "{\"roomId\":\"r\"}");
    assert_eq!(summary(&world.send(ada, "room:leave", "{\"roomId\":\"r\"}")), ["ack true to 1"]);
    let user = UserId::from_text("ada").unwrap();
    let answered = world.answer(&only_record(asked), Ok(Committed::Joined(joined("r", &user))));
    assert_eq!(summary(&answered), ["room:joined to 1", "ack true to 1", "unwatch r"]);
}

#[test]
fn whoever_is_no_member_any_more_is_out_at_once_on_every_device_and_told_so() {
    let mut world = World::new();
    let (one, other, bob) = (world.connect(1, "ada"), world.connect(2, "ada"), world.connect(3, "bob"));
    [one, other, bob].into_iter().for_each(|socket| drop(world.join(socket, "r")));
    world.send(one, "typing:start", "{\"roomId\":\"r\"}");
    let on_its_way = world.send(other, "room:join", "{\"roomId\":\"s\"}");
    let remove = |world: &mut World, room: &str| {
        let (room, user) = (RoomId::from_text(room).unwrap(), UserId::from_text("ada").unwrap());
        let mut out = Vec::new();
        world.chat.removed(&room, &user, world.now(), &mut out);
        out
    };
    let removed = remove(&mut world, "r");
    assert_eq!(
        summary(&removed),
        [
            "typing:user in r but Some(1), volatile",
            "user:left in r but Some(1)",
            "error to 1",
            "user:left in r but Some(2)",
            "error to 2"
        ]
    );
    let [.., Effect::Emit { event, .. }, Effect::Failed(_)] = &removed[..] else { panic!("no error") };
    assert!(event.args.contains("access_denied") && event.args.contains("\"roomId\":\"r\""), "{}", event.args);
    assert_eq!(world.chat.members(&RoomId::from_text("r").unwrap()), [bob]);
    assert!(remove(&mut world, "r").is_empty(), "told twice, done once");
    assert_eq!(summary(&remove(&mut world, "s")), ["error to 2"]);
    let joined = joined("s", &UserId::from_text("ada").unwrap());
    world.answer(&only_record(on_its_way), Ok(Committed::Joined(joined)));
    assert!(world.chat.members(&RoomId::from_text("s").unwrap()).is_empty(), "an answer from before lets nobody in");
}

#[test]
fn a_socket_that_vanished_while_joining_is_in_no_room() {
    let mut world = World::new();
    let ada = world.connect(1, "ada");
    let asked = world.send(ada, "room:join", "{\"roomId\":\"r\"}");
    assert_eq!(summary(&world.disconnect(ada)), ["Left"]);
    let user = UserId::from_text("ada").unwrap();
    let answered = world.answer(&only_record(asked), Ok(Committed::Joined(joined("r", &user))));
    assert_eq!(summary(&answered), ["unwatch r"]);
    assert!(world.chat.sockets.is_empty() && world.chat.users.is_empty() && world.chat.requests.is_empty());
}

#[test]
fn a_message_is_answered_when_it_is_stored_and_echoes_its_names() {
    let mut world = World::new();
    let ada = world.connect(1, "ada");
    world.join(ada, "r");
    let asked = world.send(
        ada,
        "message:send",
        r#"{"roomId":"r","content":"hi","tempId":7,"clientMsgId":"c","userId":"eve","timestamp":1}"#,
    );
    assert_eq!(summary(&asked), ["store"], "nothing is said before the commit");
    let record = only_record(asked);
    let RecordBody::Message(new) = &record.body else { panic!("no message") };
    assert_eq!(new.user.as_str(), "ada", "the payload names no author");
    let message = new.stored(MessageId([1; 12]), 5, Timestamp(0));
    let committed = Committed::Message { message: Arc::new(message), duplicate: false };
    let answered = world.answer(&record, Ok(committed.clone()));
    assert_eq!(summary(&answered), ["message:ack to 1", "ack true to 1"]);
    let Some(Effect::Emit { event, .. }) = answered.first() else { panic!("no ack") };
    assert_eq!(
        event.args,
        r#"{"tempId":7,"messageId":"010101010101010101010101","timestamp":"1970-01-01T00:00:00.000Z","seq":5,"clientMsgId":"c","roomId":"r"}"#
    );
    assert!(world.answer(&record, Ok(committed)).is_empty(), "a second answer to one request says nothing");
}

#[test]
fn a_page_of_history_is_the_answer_and_nothing_else() {
    let mut world = World::new();
    let ada = world.connect(1, "ada");
    let asked = world.send(ada, "message:history", r#"{"roomId":5,"before":9,"userId":"eve"}"#);
    assert_eq!(summary(&asked), ["store"], "also where she has not joined: the store knows who is a member");
    let record = only_record(asked);
    let RecordBody::History(history) = &record.body else { panic!("no question") };
    assert_eq!(history.user.as_str(), "ada", "the payload names nobody");
    assert_eq!(history.request, PageRequest { before: Some(9), after: None, limit: 50 });
    let new = NewMessage {
        room: history.room.clone(),
        user: history.user.clone(),
        username: "Ada".into(),
        content: "hi".into(),
        kind: "text".into(),
        attachments: "[]".into(),
        temp_id: None,
        client_msg_id: None,
    };
    let page = Page { messages: vec![new.stored(MessageId([1; 12]), -2, Timestamp(0))], has_more: true };
    let answered = world.answer(&record, Ok(Committed::History { room: history.room.clone(), page }));
    let [Effect::Ack { to, id: AckId(1), args, .. }] = &answered[..] else { panic!("{answered:?}") };
    assert_eq!(*to, ada);
    assert_eq!(
        args,
        r#"{"ok":true,"roomId":5,"messages":[{"_id":"010101010101010101010101","id":"010101010101010101010101","conversationId":5,"userId":"ada","username":"Ada","content":"hi","type":"text","attachments":[],"timestamp":"1970-01-01T00:00:00.000Z","delivered":false,"read":false,"seq":-2}],"hasMore":true}"#
    );
}

#[test]
fn history_without_a_callback_or_a_membership_is_refused() {
    let mut world = World::new();
    let eve = world.connect(1, "eve");
    let asked = world.send_with(eve, "message:history", r#"{"roomId":"r"}"#, None);
    let [Effect::Emit { event, .. }, Effect::Failed(_)] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(
        event.args,
        r#"{"message":"message:history needs an acknowledgement callback","code":"bad_request","event":"message:history","roomId":"r"}"#
    );
    let asked = world.send(eve, "message:history", r#"{"roomId":"r"}"#);
    let answered = world.answer(&only_record(asked), Err(Refusal::NotMember));
    assert_eq!(summary(&answered), ["error to 1", "ack false to 1"]);
    assert!(world.chat.requests.is_empty());
}

#[test]
fn refusals_of_the_store_keep_the_old_texts_and_say_when_to_come_back() {
    for (refusal, text) in [
        (
            Refusal::Busy,
            r#""message":"Failed to send message","code":"busy","event":"message:send","roomId":"r","tempId":"t","retryAfter":1000}"#,
        ),
        (
            Refusal::Unavailable,
            r#""code":"unavailable","event":"message:send","roomId":"r","tempId":"t","retryAfter":5000}"#,
        ),
        (Refusal::StorageFull, r#""code":"storage_full""#),
        (Refusal::Internal, r#""code":"internal","event":"message:send","roomId":"r","tempId":"t"}"#),
        (Refusal::NotMember, r#""message":"Access denied to this room","code":"access_denied""#),
    ] {
        let mut world = World::new();
        let ada = world.connect(1, "ada");
        let asked = world.send(ada, "message:send", r#"{"roomId":"r","content":"hi","tempId":"t"}"#);
        let answered = world.answer(&only_record(asked), Err(refusal));
        assert_eq!(summary(&answered), ["error to 1", "ack false to 1"]);
        let Some(Effect::Emit { event, .. }) = answered.first() else { panic!("no error") };
        assert!(event.args.contains(text), "{}", event.args);
    }
}

#[test]
fn typing_is_told_to_the_others_stops_by_itself_and_stops_with_the_socket() {
    let mut world = World::new();
    let ada = world.connect(1, "ada");
    world.join(ada, "r");
    let start = "{\"roomId\":\"r\"}";
    let told = "typing:user in r but Some(1), volatile";
    assert_eq!(summary(&world.send(ada, "typing:start", start)), [told, "ack true to 1"]);
    assert_eq!(summary(&world.send(ada, "typing:start", start)), ["ack true to 1"], "within 3 s");
    assert!(world.pass(Duration::from_millis(5999)).is_empty());
    assert_eq!(summary(&world.pass(Duration::from_millis(1))), [told]);
    assert_eq!(summary(&world.send(ada, "typing:stop", start)), ["ack true to 1"], "it had stopped");
    world.send(ada, "typing:start", start);
    assert_eq!(summary(&world.disconnect(ada)), [told, "unwatch r", "Left"]);
    assert!(world.pass(Duration::from_secs(60)).is_empty());
    assert_eq!(world.chat.deadline(), None);
}

#[test]
fn typing_where_one_has_not_joined_asks_the_store_first() {
    let mut world = World::new();
    let ada = world.connect(1, "ada");
    let asked = world.send(ada, "typing:start", "{\"roomId\":\"r\"}");
    let answered = world.answer(&only_record(asked), Ok(Committed::Access));
    assert_eq!(summary(&answered), ["typing:user in r but Some(1), volatile", "ack true to 1"]);
    let asked = world.send(ada, "typing:start", "{\"roomId\":\"s\"}");
    let answered = world.answer(&only_record(asked), Err(Refusal::NotMember));
    assert_eq!(summary(&answered), ["error to 1", "ack false to 1"]);
}

#[test]
fn a_token_that_ends_ends_the_connection_and_a_closed_one_leaves_no_timer() {
    let mut world = World::new();
    let ada = world.connect_until(1, "ada", Some(1_770_000_060));
    let bob = world.connect_until(2, "bob", Some(1_770_000_030));
    world.disconnect(bob);
    assert!(world.pass(Duration::from_millis(59_999)).is_empty(), "bob is gone already");
    assert_eq!(summary(&world.pass(Duration::from_millis(1))), ["error to 1", "disconnect token_expired"]);
    world.disconnect(ada);
    assert_eq!(world.chat.deadline(), None);
}

#[test]
fn rooms_per_socket_are_bounded_and_joins_on_their_way_count() {
    let mut world = World::new();
    let ada = world.connect(1, "ada");
    world.join(ada, "a");
    world.join(ada, "b");
    world.send(ada, "room:join", "{\"roomId\":\"c\"}");
    assert_eq!(summary(&world.send(ada, "room:join", "{\"roomId\":\"d\"}")), ["error to 1", "ack false to 1"]);
    assert_eq!(summary(&world.join(ada, "a")), ["room:joined to 1", "ack true to 1"], "one already in is no new one");
}

#[test]
fn too_many_events_are_refused_and_at_last_end_the_connection() {
    let mut world = World::new();
    let ada = world.connect(1, "ada");
    let mut last = Vec::new();
    for _ in 0..120 {
        last = world.send(ada, "presence:update", "{\"status\":\"busy\"}");
    }
    assert_eq!(summary(&last), ["error to 1", "ack false to 1"]);
    let Some(Effect::Emit { event, .. }) = last.first() else { panic!("no error") };
    assert!(
        event.args.contains(r#""code":"rate_limited""#) && event.args.contains(r#""retryAfter":"#),
        "{}",
        event.args
    );
    for _ in 0..1200 {
        world.pass(Duration::from_millis(10));
        last = world.send(ada, "presence:update", "{\"status\":\"busy\"}");
        if summary(&last) == ["error to 1", "ack false to 1", "disconnect rate_limited"] {
            return;
        }
    }
    panic!("never disconnected");
}

#[test]
fn every_failure_is_counted_once_by_its_code() {
    let mut world = World::new();
    let ada = world.connect(1, "ada");
    let counted = |effects: Vec<Effect>| {
        let codes = effects.iter().filter_map(|effect| match effect {
            Effect::Failed(code) => Some(code.as_str()),
            _ => None,
        });
        codes.collect::<Vec<_>>()
    };
    assert_eq!(counted(world.join(ada, "r")), [""; 0], "what succeeds is no failure");
    assert_eq!(counted(world.send(ada, "no:such", "{}")), ["bad_request"]);
    let content = "x".repeat(1001);
    let too_large = world.send(ada, "message:send", &format!("{{\"roomId\":\"r\",\"content\":\"{content}\"}}"));
    assert_eq!(counted(too_large), ["too_large"]);
    let asked = world.send(ada, "message:send", "{\"roomId\":\"r\",\"content\":\"x\"}");
    assert_eq!(counted(world.answer(&only_record(asked), Err(Refusal::Busy))), ["busy"]);
    let limited = (0..120).map(|_| world.send(ada, "presence:update", "{\"status\":\"busy\"}")).last();
    assert_eq!(counted(limited.unwrap()), ["rate_limited"]);
}

#[test]
fn a_store_that_is_down_does_not_keep_anybody_out() {
    let mut world = World::new();
    let socket = SocketKey { connection: ConnectionKey { index: 1, generation: 0 }, namespace: NamespaceId(0) };
    let claims = Claims { user: UserId::from_text("ada").unwrap(), username: Arc::from("Ada"), expires_at: None };
    let mut out = Vec::new();
    world.chat.connect(socket, ConnectRequest { claims: Some(claims), payload: None }, world.now(), &mut out);
    let answered = world.answer(&only_record(out), Err(Refusal::Unavailable));
    assert_eq!(summary(&answered), ["Arrived { conversations: [] }"]);
}

#[test]
fn a_server_without_claims_lets_nobody_in() {
    let mut world = World::new();
    let socket = SocketKey { connection: ConnectionKey { index: 1, generation: 0 }, namespace: NamespaceId(0) };
    let mut out = Vec::new();
    world.chat.connect(socket, ConnectRequest { claims: None, payload: None }, world.now(), &mut out);
    assert_eq!(summary(&out), ["disconnect no_claims"]);
}

#[test]
fn a_status_chosen_before_the_conversations_are_known_is_announced_on_arrival() {
    let mut world = World::new();
    let socket = SocketKey { connection: ConnectionKey { index: 1, generation: 0 }, namespace: NamespaceId(0) };
    let claims = Claims { user: UserId::from_text("ada").unwrap(), username: Arc::from("Ada"), expires_at: None };
    let mut out = Vec::new();
    world.chat.connect(socket, ConnectRequest { claims: Some(claims), payload: None }, world.now(), &mut out);
    let early = world.send(socket, "presence:update", "{\"status\":\"away\"}");
    assert_eq!(summary(&early), ["ack true to 1"]);
    let answered = world.answer(&only_record(out), Ok(Committed::Conversations(Vec::new())));
    assert_eq!(summary(&answered), ["Arrived { conversations: [] }", "Chose(Away)"]);
}

mod clock;
mod restoring;
mod rules;
