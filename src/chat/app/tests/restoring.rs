//! Coming back after a lost connection.

use super::*;

impl World {
    fn restore(&mut self, index: u32, user: &str, rooms: &[&str]) -> (SocketKey, Vec<Effect>) {
        let socket = SocketKey { connection: ConnectionKey { index, generation: 0 }, namespace: NamespaceId(0) };
        let claims = Claims::new(UserId::from_text(user).unwrap(), Arc::from(user));
        let request = ConnectRequest { claims: Some(claims), payload: None };
        let rooms = rooms.iter().map(|room| self::room(room)).collect();
        let mut out = Vec::new();
        self.chat.restore(socket, request, rooms, self.now(), &mut out);
        (socket, out)
    }

    fn let_in(&mut self, record: &Record) -> Vec<Effect> {
        let RecordBody::Join(join) = &record.body else { panic!("{record:?}") };
        assert_eq!(join.since, None);
        let joined = joined(join.room.as_str(), &join.user);
        self.answer(record, Ok(Committed::Joined(joined)))
    }
}

fn room(text: &str) -> RoomId {
    RoomId::from_text(text).unwrap()
}

fn records(effects: Vec<Effect>) -> Vec<Record> {
    let records = effects.into_iter().filter_map(|effect| match effect {
        Effect::Store(record) => Some(record),
        _ => None,
    });
    records.collect()
}

#[test]
fn whoever_comes_back_is_in_the_rooms_that_the_store_lets_in_and_nobody_hears_of_it() {
    let mut world = World::new();
    let (ada, asked) = world.restore(1, "ada", &["a", "b", "c"]);
    assert_eq!(summary(&asked), ["watch a", "store", "watch b", "store", "watch c", "store"]);
    let [a, b, c] = records(asked).try_into().unwrap();
    assert!(world.let_in(&a).is_empty());
    assert_eq!(world.chat.members(&room("a")), [ada], "from the store's answer on");
    assert_eq!(summary(&world.answer(&b, Err(Refusal::NotMember))), ["unwatch b"]);
    let done = world.let_in(&c);
    assert_eq!(summary(&done), ["store", "restored true"]);
    let (user, rooms) = world.chat.seat_of(ada).unwrap();
    assert_eq!((user.as_str(), rooms), ("ada", &[room("a"), room("c")][..]));
    let arrival = only_record(done);
    assert_eq!(
        summary(&world.answer(&arrival, Ok(Committed::Conversations(Vec::new())))),
        ["Arrived { conversations: [] }"]
    );
    assert_eq!(summary(&world.join(ada, "d")), ["room:joined to 1", "ack true to 1", "user:joined in d but Some(1)"]);
    let fourth = world.send(ada, "room:join", "{\"roomId\":\"e\"}");
    assert_eq!(summary(&fourth), ["error to 1", "ack false to 1"], "the rooms of before count");
    assert!(world.chat.requests.is_empty() && world.chat.restorations.is_empty());
}

#[test]
fn without_rooms_there_is_nothing_to_ask_for() {
    let mut world = World::new();
    let (_, out) = world.restore(1, "ada", &[]);
    assert_eq!(summary(&out), ["store", "restored true"]);
}

#[test]
fn a_store_that_cannot_say_restores_nothing() {
    for refusal in [Refusal::Busy, Refusal::Unavailable, Refusal::StorageFull, Refusal::Internal] {
        let mut world = World::new();
        let (ada, asked) = world.restore(1, "ada", &["a", "b"]);
        let [a, b] = records(asked).try_into().unwrap();
        assert_eq!(summary(&world.answer(&a, Err(refusal))), ["unwatch a"]);
        assert_eq!(summary(&world.let_in(&b)), ["restored false"]);
        assert_eq!(summary(&world.disconnect(ada)), ["unwatch b"]);
    }
}

#[test]
fn a_membership_that_ends_on_the_way_back_is_not_restored() {
    let mut world = World::new();
    let (_, asked) = world.restore(1, "ada", &["a"]);
    let record = only_record(asked);
    let mut out = Vec::new();
    let user = UserId::from_text("ada").unwrap();
    world.chat.removed(&room("a"), &user, world.now(), &mut out);
    assert_eq!(summary(&out), ["error to 1"]);
    assert_eq!(summary(&world.let_in(&record)), ["unwatch a", "store", "restored true"]);
}

#[test]
fn answers_to_an_earlier_attempt_of_the_same_socket_are_not_for_the_next() {
    let mut world = World::new();
    let (ada, first) = world.restore(1, "ada", &["a", "b"]);
    let [a, b] = records(first).try_into().unwrap();
    assert!(world.disconnect(ada).is_empty());
    let (_, second) = world.restore(1, "ada", &["a"]);
    assert_eq!(summary(&second), ["store"], "the first attempt's join still has the room watched");
    assert!(world.let_in(&a).is_empty());
    assert!(world.chat.members(&room("a")).is_empty());
    assert_eq!(summary(&world.answer(&b, Err(Refusal::Unavailable))), ["unwatch b"]);
    let done = world.let_in(&only_record(second));
    assert_eq!(summary(&done), ["store", "restored true"]);
    assert_eq!(world.chat.members(&room("a")), [ada]);
    assert_eq!(summary(&world.disconnect(ada)), ["unwatch a"]);
}

#[test]
fn one_who_asked_twice_who_may_see_it_arrives_once() {
    let mut world = World::new();
    let (ada, out) = world.restore(1, "ada", &[]);
    let early = only_record(out);
    world.disconnect(ada);
    world.connect(1, "ada");
    assert!(world.answer(&early, Ok(Committed::Conversations(Vec::new()))).is_empty());
    assert_eq!(summary(&world.disconnect(ada)), ["Left"]);
}
