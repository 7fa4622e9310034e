//! The things that can happen, and what holds after each of them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use alt_ws_pure::auth::revocations::{Revocation, Revocations, Subject};
use alt_ws_pure::auth::{AuthError, Claims};
use alt_ws_pure::chat::app::{Chat, Settings};
use alt_ws_pure::chat::application::{Application as _, ConnectRequest, Departure, Now};
use alt_ws_pure::chat::command::Limits;
use alt_ws_pure::chat::effect::{Committed, Origin, Outcome, Refusal};
use alt_ws_pure::chat::event::Online;
use alt_ws_pure::chat::limit::Rates;
use alt_ws_pure::ids::{CoreId, RoomId, SocketKey, Timestamp, UserId};
use alt_ws_pure::socketio::{AckId, Args, Event};

use super::Script;
use super::effects::Cause;
use super::people::{NAMESPACES, PLACES, People, State};
use super::store::Store;

pub(super) const CORE: CoreId = CoreId(3);

const SETTINGS: Settings = Settings {
    limits: Limits { max_message_bytes: 100 },
    // Little, so that a script of some lines comes to all verdicts of the limiter.
    rates: Rates { events: 5, bytes: 10_000 },
    rooms_per_socket: 2,
};

/// As clients write them. The last two are one room.
const ROOMS: [&str; 5] = ["\"r\"", "\"s\"", "\"t\"", "5", "\"5\""];

/// In this time a token is over, if it says when.
const TOKEN_LIFE: Duration = Duration::from_secs(5);

pub(super) struct World {
    pub(super) chat: Chat,
    pub(super) people: People,
    pub(super) store: Store,
    pub(super) watched: HashSet<RoomId>,
    pub(super) last_request: u64,
    /// Places whose connections the chat wants closed.
    pub(super) to_lose: Vec<usize>,
    /// Visits that could not be restored.
    pub(super) to_begin_anew: Vec<usize>,
    rooms: [RoomId; ROOMS.len()],
    users: [UserId; 3],
    start: Instant,
    elapsed: Duration,
    /// What the store said last.
    last_outcome: Option<Outcome>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            chat: Chat::new(CORE, SETTINGS),
            people: People::default(),
            store: Store::default(),
            watched: HashSet::new(),
            last_request: 0,
            to_lose: Vec::new(),
            to_begin_anew: Vec::new(),
            rooms: ROOMS.map(|room| serde_json::from_str(room).expect("an id")),
            users: ["ada", "bob", "eve"].map(|user| UserId::from_text(user).expect("an id")),
            start: Instant::now(),
            elapsed: Duration::ZERO,
            last_outcome: None,
        }
    }

    fn now(&self) -> Now {
        let ms = u64::try_from(self.elapsed.as_millis()).expect("a script is short");
        Now { instant: self.start + self.elapsed, wall: Timestamp(1_770_000_000_000 + ms) }
    }

    /// One thing happens.
    pub(super) fn act(&mut self, letter: u8, script: &mut Script<'_>) {
        match letter {
            // Coming and going: place, then user.
            b'c' => self.connect(script.choose(PLACES), &self.user(script), None),
            b'C' => self.connect(script.choose(PLACES), &self.user(script), Some(TOKEN_LIFE)),
            b'r' => self.restore(script.choose(PLACES), &self.user(script), script.choose(1 << ROOMS.len())),
            b'l' => self.leave(script.choose(PLACES)),
            b'b' => self.begin_anew(script.choose(PLACES)),
            b'x' => self.lose(script.choose(PLACES)),
            // What clients say: place, then room.
            b'j' => self.say_to(script, "room:join", "", true),
            b'J' => self.say_to(script, "room:join", ",\"since\":0", true),
            b'v' => self.say_to(script, "room:leave", "", true),
            b'm' => self.say_to(script, "message:send", ",\"content\":\"x\",\"userId\":\"eve\"", true),
            b'M' => self.say_to(script, "message:send", ",\"content\":\"x\",\"tempId\":1", false),
            b'h' => self.say_to(script, "message:history", "", true),
            b'H' => self.say_to(script, "message:history", "", false),
            b't' => self.say_to(script, "typing:start", "", true),
            b'T' => self.say_to(script, "typing:stop", "", true),
            b'd' => self.say_to(script, "message:read", ",\"messageId\":\"010101010101010101010101\"", true),
            b'e' => self.say_to(script, "message:send", "", true),
            b'u' => {
                let whose = ["ada", "bob", "eve", "", "none"][script.choose(5)];
                self.say_to(script, "auth:refresh", &format!(",\"token\":\"{whose}\""), true);
            }
            b'U' => self.revoke(&self.user(script)),
            b'p' => self.say_to(script, "presence:update", ",\"status\":\"busy\"", true),
            // The store: which of what it was asked.
            b'k' => self.answer(script.choose(10), |store, asked| store.answer(asked, false)),
            b'K' => self.answer(script.choose(10), |store, asked| store.answer(asked, true)),
            b'n' => {
                let which = script.choose(10);
                let refusal = REFUSALS[script.choose(REFUSALS.len())];
                self.answer(which, |_, _| Err(refusal));
            }
            b'D' => self.answer_again(),
            // Memberships: room, then user.
            b'+' => {
                let room = self.room(script);
                self.store.add(room, self.user(script));
            }
            b'-' => self.remove(&self.room(script), &self.user(script)),
            // Time passes, and timers fire when they should, or all at the end of it.
            b'0'..=b'9' => self.pass(TIMES[usize::from(letter - b'0')]),
            b'w' => {
                self.elapsed += TIMES[script.choose(TIMES.len())];
                self.tick();
            }
            _ => return,
        }
        self.follow_up();
        self.check();
    }

    fn room(&self, script: &mut Script<'_>) -> RoomId {
        self.rooms[script.choose(ROOMS.len())].clone()
    }

    fn user(&self, script: &mut Script<'_>) -> UserId {
        self.users[script.choose(self.users.len())].clone()
    }

    /// What the server does because of what the chat said.
    fn follow_up(&mut self) {
        while let Some(place) = self.to_lose.pop() {
            self.lose(place);
        }
        while let Some(visit) = self.to_begin_anew.pop() {
            self.begin_anew(self.people.visits[visit].place);
        }
    }

    fn claims(&self, user: &UserId, life: Option<Duration>) -> Claims {
        let expires_at = life.map(|life| self.now().wall.0 / 1000 + life.as_secs());
        Claims { expires_at, ..Claims::new(user.clone(), user.as_str().into()) }
    }

    fn connect(&mut self, place: usize, user: &UserId, life: Option<Duration>) {
        if self.people.at_place(place).is_some() {
            return;
        }
        let visit = self.people.begin(place, user.clone(), State::Here);
        let request = ConnectRequest { claims: Some(self.claims(user, life)), payload: None };
        let (key, now, mut out) = (self.people.key(place), self.now(), Vec::new());
        self.chat.connect(key, request, now, &mut out);
        self.perform(out, &Cause::Own(visit));
    }

    fn restore(&mut self, place: usize, user: &UserId, rooms: usize) {
        if self.people.at_place(place).is_some() {
            return;
        }
        let visit = self.people.begin(place, user.clone(), State::Restoring);
        let request = ConnectRequest { claims: Some(self.claims(user, None)), payload: None };
        // The last is the one before it in another form, and nobody leaves the same room behind twice.
        let rooms = (0..ROOMS.len() - 1)
            .filter(|index| rooms & (1 << index) != 0)
            .map(|index| self.rooms[index].clone())
            .collect();
        let (key, now, mut out) = (self.people.key(place), self.now(), Vec::new());
        self.chat.restore(key, request, rooms, now, &mut out);
        self.perform(out, &Cause::Own(visit));
    }

    /// The client leaves the namespace, and its connection stays.
    fn leave(&mut self, place: usize) {
        if let Some(visit) = self.people.at_place(place)
            && self.people.visits[visit].state == State::Here
        {
            self.end(visit, State::Left);
        }
    }

    /// Whoever is coming back has waited for long enough, or is told that it cannot be.
    fn begin_anew(&mut self, place: usize) {
        if let Some(visit) = self.people.at_place(place)
            && self.people.visits[visit].state == State::Restoring
        {
            self.end(visit, State::Left);
            let user = self.people.visits[visit].user.clone();
            self.connect(place, &user, None);
        }
    }

    /// The connection of a place is over, for all who are on it.
    fn lose(&mut self, place: usize) {
        let connection = place / NAMESPACES;
        for place in (0..PLACES).filter(|place| place / NAMESPACES == connection) {
            if let Some(visit) = self.people.at_place(place) {
                let is_restoring = self.people.visits[visit].state == State::Restoring;
                self.end(visit, if is_restoring { State::Left } else { State::Lost });
            }
        }
        self.people.renew(connection);
    }

    fn end(&mut self, index: usize, state: State) {
        self.people.end(index, state);
        let departure = if state == State::Lost { Departure::Lost } else { Departure::Left };
        let (key, now, mut out) = (self.people.visits[index].key, self.now(), Vec::new());
        self.chat.disconnect(key, departure, now, &mut out);
        self.perform(out, &Cause::End(index));
        let visit = &self.people.visits[index];
        assert!(!visit.has_arrived && visit.typing.is_empty(), "gone, and still seen: {visit:?}");
    }

    fn say_to(&mut self, script: &mut Script<'_>, name: &str, more: &str, wants_ack: bool) {
        let (place, room) = (script.choose(PLACES), ROOMS[script.choose(ROOMS.len())]);
        let Some(visit) = self.people.at_place(place) else { return };
        let here = &mut self.people.visits[visit];
        if here.state != State::Here {
            return;
        }
        let ack = wants_ack.then(|| {
            here.last_ack += 1;
            here.asked.insert(here.last_ack);
            AckId(here.last_ack)
        });
        let args = format!("{{\"roomId\":{room}{more}}}");
        let event = Event { name: name.into(), args: Args::from_raw(&args), attachments: Vec::new() };
        let (key, now, mut out) = (here.key, self.now(), Vec::new());
        self.chat.event(key, event, ack, now, &mut out);
        self.perform(out, &Cause::Own(visit));
    }

    fn answer<F>(&mut self, which: usize, result: F)
    where
        F: FnOnce(&Store, &super::store::Asked) -> Result<Committed, Refusal>,
    {
        if self.store.waiting.is_empty() {
            return;
        }
        let asked = self.store.waiting.remove(which % self.store.waiting.len());
        let outcome = Outcome { origin: asked.record.origin, result: result(&self.store, &asked) };
        let visit = &mut self.people.visits[asked.visit];
        let is_unsure = outcome.result.as_ref().is_err_and(|refusal| *refusal != Refusal::NotMember);
        visit.is_in_doubt |= visit.state == State::Restoring && is_unsure;
        self.last_outcome = Some(outcome.clone());
        let (now, mut out) = (self.now(), Vec::new());
        self.chat.outcome(outcome, Online::default(), now, &mut out);
        self.perform(out, &Cause::Outcome(asked.visit));
    }

    /// The store says the same again, and something about what nobody asked for.
    fn answer_again(&mut self) {
        let Some(outcome) = self.last_outcome.clone() else { return };
        let unknown = Outcome { origin: Origin { request: u64::MAX, ..outcome.origin }, ..outcome.clone() };
        for outcome in [outcome, unknown] {
            let (now, mut out) = (self.now(), Vec::new());
            self.chat.outcome(outcome, Online::default(), now, &mut out);
            assert!(out.is_empty(), "answered twice: {out:?}");
        }
    }

    fn remove(&mut self, room: &RoomId, user: &UserId) {
        self.store.remove(room, user);
        let (now, mut out) = (self.now(), Vec::new());
        self.chat.removed(room, user, now, &mut out);
        self.perform(out, &Cause::Removed(user.clone()));
    }

    /// What the server says of a token: here it is a user's name, and good if there is that user.
    pub(super) fn verify(&mut self, socket: SocketKey, ack: Option<AckId>, token: &str, cause: &Cause) {
        let user = self.users.iter().find(|user| user.as_str() == token);
        let verdict = user.map(|user| self.claims(user, Some(TOKEN_LIFE))).ok_or(AuthError::Invalid("nobody's"));
        let (now, mut out) = (self.now(), Vec::new());
        self.chat.verified(socket, ack, verdict, now, &mut out);
        self.perform(out, cause);
    }

    /// All tokens of a user are revoked, none of which says when it was made: nobody with one of them stays.
    fn revoke(&mut self, user: &UserId) {
        let subject = Subject::from_parts("user", user.as_str()).expect("a user");
        let list: Revocations = [Revocation { subject, at: self.now().wall, until: None }].into_iter().collect();
        let (now, mut out) = (self.now(), Vec::new());
        self.chat.revoked(&list, now, &mut out);
        self.perform(out, &Cause::Removed(user.clone()));
        self.follow_up();
        assert!(self.people.visits.iter().all(|visit| visit.user != *user || !visit.is_there()), "{user} stays");
    }

    fn pass(&mut self, time: Duration) {
        let end = self.elapsed + time;
        for _ in 0..1000 {
            match self.chat.deadline().filter(|at| *at <= self.start + end) {
                Some(at) => self.elapsed = self.elapsed.max(at - self.start),
                None => break,
            }
            self.tick();
            self.follow_up();
        }
        self.elapsed = end;
    }

    fn tick(&mut self) {
        let (now, mut out) = (self.now(), Vec::new());
        self.chat.timeout(now, &mut out);
        self.perform(out, &Cause::Time);
        assert!(self.chat.deadline().is_none_or(|at| at > now.instant), "waited for in a hot loop");
    }

    /// What holds after everything that happened.
    fn check(&self) {
        for room in &self.rooms {
            let members = self.chat.members(room);
            let is_watched = !members.is_empty() || self.store.awaits(room);
            assert_eq!(self.watched.contains(room), is_watched, "{room} is watched for nobody, or not for somebody");
            for (index, member) in members.iter().enumerate() {
                assert!(!members[..index].contains(member), "in a room twice");
                let visit = self.people.at(*member).expect("a member without a socket");
                let user = &self.people.visits[visit].user;
                assert!(self.store.is_member(room, user), "{user} is in {room}, and no member of it");
                assert!(self.chat.seat_of(*member).is_some_and(|(_, rooms)| rooms.contains(room)));
            }
        }
        for place in 0..PLACES {
            let there = self.people.at_place(place).map(|visit| &self.people.visits[visit]);
            let seat = self.chat.seat_of(self.people.key(place));
            assert_eq!(seat.map(|(user, _)| user), there.map(|visit| &visit.user));
            let Some((_, rooms)) = seat else { continue };
            assert!(rooms.len() <= SETTINGS.rooms_per_socket, "in too many rooms");
            assert!(rooms.iter().all(|room| self.chat.members(room).contains(&self.people.key(place))));
        }
        for user in &self.users {
            let known = self.chat.sockets_of(user);
            let there = || self.people.there().filter(|visit| visit.user == *user);
            assert!(known.len() == there().count() && there().all(|visit| known.contains(&visit.key)), "{known:?}");
        }
        for visit in self.people.there() {
            let may_type = visit.typing.iter().all(|room| self.store.is_member(room, &visit.user));
            assert!(may_type, "seen typing, and no member: {visit:?}");
        }
        assert_eq!(
            self.chat.waiting(),
            self.store.waiting.len(),
            "a request without a record, or the other way around"
        );
    }

    /// Everything is answered, time passes, and all go.
    pub(super) fn finish(&mut self) {
        while !self.store.waiting.is_empty() {
            self.answer(0, |store, asked| store.answer(asked, false));
            self.follow_up();
            self.check();
        }
        for visit in self.people.there() {
            assert!(visit.asked.is_empty(), "never answered: {visit:?}");
            assert!(visit.state == State::Here && visit.has_arrived, "never there: {visit:?}");
        }
        self.pass(Duration::from_secs(60));
        assert!(self.people.there().all(|visit| visit.typing.is_empty()), "typing for ever");
        (0..PLACES).for_each(|place| self.lose(place));
        self.check();
        assert!(self.watched.is_empty() && self.chat.deadline().is_none() && self.chat.waiting() == 0);
    }
}

const REFUSALS: [Refusal; 7] = [
    Refusal::Busy,
    Refusal::NotMember,
    Refusal::Unavailable,
    Refusal::StorageFull,
    Refusal::Internal,
    Refusal::NoSuchMessage,
    Refusal::OwnMessage,
];

/// How long the digits take.
const TIMES: [Duration; 10] = [
    Duration::from_millis(1),
    Duration::from_millis(200),
    Duration::from_millis(999),
    Duration::from_secs(1),
    Duration::from_millis(2999),
    Duration::from_secs(3),
    Duration::from_secs(6),
    Duration::from_secs(5),
    Duration::from_secs(11),
    Duration::from_secs(60),
];
