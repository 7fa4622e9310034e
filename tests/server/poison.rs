//! A panic in the application costs the connection that it happened for, wherever it happens, and nobody else anything.

use std::time::Instant;

use alt_ws::auth::revocations::Revocations;
use alt_ws::auth::{AuthError, Claims};
use alt_ws::chat::app::Chat;
use alt_ws::chat::application::{Application, ConnectRequest, Departure, Now};
use alt_ws::chat::effect::{Effect, Origin, Outcome, Record, RecordBody};
use alt_ws::chat::event::Online;
use alt_ws::ids::{CoreId, RoomId, SocketKey, UserId};
use alt_ws::server::Server;
use alt_ws::server::settings::Settings;
use alt_ws::socketio::{AckId, Event};
use serde_json::{Value, json};

use crate::support::chatter::{Chatter, Heard};
use crate::support::raw::{HANDSHAKE, Polling, http};
use crate::support::{chat, settings, soon, token};

/// The chat, and some events that are too much for it.
struct Delicate {
    chat: Chat,
    core: CoreId,
    /// Whose leaving is too much.
    dreaded: Vec<SocketKey>,
    /// When time is too much.
    doom: Option<Instant>,
}

/// No request of the chat has this number.
const POISON: u64 = u64::MAX;

impl Application for Delicate {
    fn connect(&mut self, socket: SocketKey, request: ConnectRequest<'_>, now: Now, out: &mut Vec<Effect>) {
        let is_poison = request.payload.is_some_and(|payload| payload.contains("poison"));
        self.chat.connect(socket, request, now, out);
        assert!(!is_poison, "connect");
    }

    fn restore(
        &mut self,
        socket: SocketKey,
        request: ConnectRequest<'_>,
        rooms: Vec<RoomId>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        // Who was in this room never gets an answer.
        if !rooms.iter().any(|room| room.as_str() == "poison:restore") {
            self.chat.restore(socket, request, rooms, now, out);
        }
    }

    fn event(&mut self, socket: SocketKey, event: Event<'_>, ack: Option<AckId>, now: Now, out: &mut Vec<Effect>) {
        match &*event.name {
            "poison:event" => panic!("event"),
            // Half done: the room is watched, and the store will be asked.
            "poison:halfway" => {
                let event = Event { name: "room:join".into(), ..event };
                self.chat.event(socket, event, ack, now, out);
                panic!("halfway");
            }
            "poison:outcome" => {
                let origin = Origin { core: self.core, socket, request: POISON };
                let body = RecordBody::Conversations { user: UserId::from_text("nobody").unwrap() };
                out.push(Effect::Store(Record { origin, body }));
            }
            "poison:goodbye" => {
                self.dreaded.push(socket);
                panic!("goodbye");
            }
            "poison:timer" => self.doom = Some(now.instant),
            _ => self.chat.event(socket, event, ack, now, out),
        }
    }

    fn acknowledged(&mut self, socket: SocketKey, id: AckId, answer: Event<'_>, now: Now, out: &mut Vec<Effect>) {
        self.chat.acknowledged(socket, id, answer, now, out);
    }

    fn disconnect(&mut self, socket: SocketKey, departure: Departure, now: Now, out: &mut Vec<Effect>) {
        self.chat.disconnect(socket, departure, now, out);
        assert!(!self.dreaded.contains(&socket), "goodbye again");
    }

    fn outcome(&mut self, outcome: Outcome, online: Online, now: Now, out: &mut Vec<Effect>) {
        assert!(outcome.origin.request != POISON, "outcome");
        self.chat.outcome(outcome, online, now, out);
    }

    fn removed(&mut self, room: &RoomId, user: &UserId, now: Now, out: &mut Vec<Effect>) {
        self.chat.removed(room, user, now, out);
    }

    fn verified(
        &mut self,
        socket: SocketKey,
        ack: Option<AckId>,
        verdict: Result<Claims, AuthError>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.chat.verified(socket, ack, verdict, now, out);
    }

    fn revoked(&mut self, list: &Revocations, now: Now, out: &mut Vec<Effect>) {
        self.chat.revoked(list, now, out);
    }

    fn timeout(&mut self, now: Now, out: &mut Vec<Effect>) {
        assert!(self.doom.take().is_none(), "timer");
        self.chat.timeout(now, out);
    }

    fn deadline(&self) -> Option<Instant> {
        self.doom.into_iter().chain(self.chat.deadline()).min()
    }

    fn members(&self, room: &RoomId) -> &[SocketKey] {
        self.chat.members(room)
    }

    fn seat_of(&self, socket: SocketKey) -> Option<(&UserId, &[RoomId])> {
        self.chat.seat_of(socket)
    }

    fn sockets_of(&self, user: &UserId) -> &[SocketKey] {
        self.chat.sockets_of(user)
    }
}

fn start() -> Server {
    start_with(settings())
}

pub(super) fn start_with(settings: Settings) -> Server {
    Server::start(settings, |core| Delicate { chat: Chat::new(core, chat()), core, dreaded: Vec::new(), doom: None })
        .unwrap()
}

/// Sockets enough that each core has some.
const CROWD: usize = 8;

/// Everybody hears what everybody says, on all cores.
async fn all_still_chat(crowd: &mut [Chatter]) {
    for speaker in 0..crowd.len() {
        let sent = crowd[speaker].ask("message:send", json!({"roomId": "r", "content": "still here"})).await;
        assert_eq!(sent["ok"], true, "{sent}");
        for listener in &mut *crowd {
            assert_eq!(listener.next("message:new").await["seq"], sent["seq"]);
        }
    }
}

async fn crowd(server: &Server) -> Vec<Chatter> {
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        crowd.push(Chatter::join(server.address(), &format!("user{number}"), "r").await);
    }
    crowd
}

/// How many sockets the server counts.
async fn sockets(server: &Server) -> Value {
    let (_, health) = http(server.address(), "GET", "/health", "").await;
    serde_json::from_str::<Value>(&health).unwrap()["sockets"].clone()
}

/// How many poisoned events of each kind the server swallows.
const DOSES: u64 = 200;

/// Sends the poison `DOSES` times, each over a connection of its own.
async fn poison(event: &str, panics_each: u64) {
    let server = start();
    let mut crowd = crowd(&server).await;
    for dose in 0..DOSES {
        let mut eve = Chatter::connect(server.address(), "eve").await;
        eve.emit_with_ack(event, json!({"roomId": "r"})).await;
        let end = eve.everything_left().await;
        assert!(matches!(end.last(), Some(Heard::End(_))), "{end:?}");
        assert!(!end.iter().any(|heard| matches!(heard, Heard::Ack(..))), "{end:?}");
        assert_eq!(server.panics(), (dose + 1) * panics_each);
    }
    all_still_chat(&mut crowd).await;
    assert_eq!(sockets(&server).await, CROWD);
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_panic_at_an_event_ends_its_connection_alone() {
    poison("poison:event", 1).await;
}

#[tokio::test]
async fn a_panic_in_the_middle_of_an_event_leaves_the_room_to_the_others() {
    poison("poison:halfway", 1).await;
}

#[tokio::test]
async fn a_panic_at_the_answer_of_the_store_ends_the_connection_that_asked_alone() {
    poison("poison:outcome", 1).await;
}

#[tokio::test]
async fn a_panic_at_the_goodbye_as_well_leaves_nothing_behind() {
    poison("poison:goodbye", 2).await;
}

#[tokio::test]
async fn a_panic_when_time_has_passed_ends_nobody() {
    let server = start();
    let mut crowd = crowd(&server).await;
    for dose in 1..=DOSES {
        let mut eve = Chatter::connect(server.address(), "eve").await;
        eve.emit_with_ack("poison:timer", json!({})).await;
        soon(async {
            while server.panics() < dose {
                tokio::task::yield_now().await
            }
        })
        .await;
        assert_eq!(eve.ask("presence:update", json!({"status": "away"})).await["ok"], true);
    }
    all_still_chat(&mut crowd).await;
}

#[tokio::test]
async fn a_panic_at_connect_ends_that_connection_alone() {
    let server = start();
    let mut crowd = crowd(&server).await;
    for dose in 1..=DOSES {
        let session = Polling::open(server.address()).await;
        let packet = format!("40{}", json!({"token": token("eve"), "poison": true}));
        let (status, _) = http(server.address(), "POST", &format!("{HANDSHAKE}&sid={}", session.sid), &packet).await;
        assert_eq!(status, 400, "whoever posted it is told that the session is over");
        assert!(session.is_gone().await);
        assert_eq!(server.panics(), dose);
    }
    all_still_chat(&mut crowd).await;
    assert_eq!(sockets(&server).await, CROWD);
}

#[tokio::test]
async fn a_panic_at_a_post_that_another_core_received_ends_that_session_alone() {
    let server = start();
    let mut crowd = crowd(&server).await;
    for dose in 1..=DOSES {
        // Each request is a new TCP connection, which the kernel gives to any core.
        let session = Polling::join(server.address(), "eve", "r").await;
        let packet = "42[\"poison:event\",{}]\x1e42[\"presence:update\",{\"status\":\"away\"}]";
        let (status, _) = http(server.address(), "POST", &session.path(), packet).await;
        assert_eq!(status, 400);
        assert!(session.is_gone().await);
        assert_eq!(server.panics(), dose);
    }
    for listener in &mut crowd {
        for _ in 0..DOSES {
            while listener.next("user:joined").await["userId"] != "eve" {}
        }
    }
    all_still_chat(&mut crowd).await;
    assert_eq!(sockets(&server).await, CROWD);
}
