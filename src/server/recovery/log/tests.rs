use std::num::NonZeroU64;
use std::sync::Arc;

use super::*;
use crate::ids::{ConnectionKey, NamespaceId};
use crate::server::outbox::SharedFrame;

const BOUNDS: Bounds = Bounds { bytes: 1_000_000, entries: 1000, age: Duration::from_secs(60) };

fn offset(number: u64) -> Offset {
    Offset::new(NonZeroU64::new(number).unwrap())
}

fn room(text: &str) -> RoomId {
    RoomId::from_text(text).unwrap()
}

fn socket(index: u32) -> SocketKey {
    SocketKey { connection: ConnectionKey { index, generation: 0 }, namespace: NamespaceId(0) }
}

fn frames(number: u64) -> Frames {
    frames_of(number, 0)
}

fn frames_of(number: u64, length: usize) -> Frames {
    let head = SharedFrame::from_text(&"x".repeat(length));
    Frames { head, attachments: Arc::default(), is_volatile: false, offset: Some(offset(number)) }
}

/// A log to which one thing a second happens. Socket 1 is the one that comes back.
struct World {
    log: Log,
    start: Instant,
    elapsed: Duration,
}

impl World {
    fn new(bounds: Bounds) -> Self {
        Self { log: Log::new(bounds), start: Instant::now(), elapsed: Duration::ZERO }
    }

    fn now(&self) -> Instant {
        self.start + self.elapsed
    }

    fn push(&mut self, what: What) {
        self.elapsed += Duration::from_secs(1);
        self.log.push(what, self.now());
    }

    fn say_in(&mut self, name: &str, number: u64) {
        self.push(What::Room { room: room(name), except: None, frames: frames(number) });
    }

    fn connected(&mut self, presented: Option<u64>) {
        self.push(What::Connected { socket: socket(1), presented: presented.map(offset), replayed: Box::default() });
    }

    /// The numbers of what was missed by one who left at `left`, having been given `last`.
    fn missed(&self, rooms: &[&str], last: Option<u64>, left: u64, claimed: Option<u64>) -> Option<Vec<u64>> {
        self.missed_before(1000, rooms, last, left, claimed)
    }

    fn missed_before(
        &self,
        fence: u64,
        rooms: &[&str],
        last: Option<u64>,
        left: u64,
        claimed: Option<u64>,
    ) -> Option<Vec<u64>> {
        let rooms = rooms.iter().map(|name| (room(name), offset(fence))).collect();
        let seeker = Seeker { socket: socket(1), rooms, side: Side::Before, last: last.map(offset), left };
        let missed = self.log.missed(seeker, claimed.map(offset), 100_000)?;
        Some(missed.iter().map(|given| number(&given.frames)).collect())
    }
}

fn number(frames: &Frames) -> u64 {
    (1..100).find(|number| frames.offset == Some(offset(*number))).unwrap()
}

#[test]
fn what_came_after_an_offset_is_found_in_order_and_nothing_of_others() {
    let mut world = World::new(BOUNDS);
    world.connected(None);
    for (name, number) in [("a", 1), ("b", 2), ("other", 3), ("a", 4)] {
        world.say_in(name, number);
    }
    world.push(What::Socket { socket: socket(2), frames: frames(5) });
    world.push(What::Socket { socket: socket(1), frames: frames(6) });
    world.push(What::Room { room: room("a"), except: Some(socket(1)), frames: frames(7) });
    let left = world.log.end();
    world.say_in("b", 8);
    world.say_in("other", 9);
    for (claimed, expected) in [
        (Some(6), Some(vec![8])),
        (Some(4), Some(vec![6, 8])),
        (Some(2), Some(vec![4, 6, 8])),
        (Some(3), Some(vec![4, 6, 8])),
        (None, Some(vec![1, 2, 4, 6, 8])),
        (Some(5), None),
        (Some(99), None),
    ] {
        assert_eq!(world.missed(&["a", "b"], Some(6), left, claimed), expected, "{claimed:?}");
    }
    assert_eq!(world.missed(&["a"], Some(6), left, Some(2)), Some(vec![4, 6]), "b may not be entered any more");
}

#[test]
fn one_who_received_nothing_presents_what_it_presented_before() {
    let mut world = World::new(BOUNDS);
    world.say_in("a", 1);
    world.say_in("a", 2);
    world.connected(Some(1));
    world.say_in("a", 3);
    let left = world.log.end();
    world.say_in("a", 4);
    assert_eq!(world.missed(&["a"], Some(3), left, Some(1)), Some(vec![3, 4]), "2 was before it connected");
    assert_eq!(world.missed(&["a"], Some(3), left, Some(2)), None, "it cannot have seen 2");
    assert_eq!(world.missed(&["a"], Some(3), left, None), None, "it would have presented 1");
    assert_eq!(world.missed(&["a"], Some(3), left, Some(4)), None, "nor what came when it was gone");
}

#[test]
fn what_was_replayed_is_replayed_again_as_far_as_needed() {
    let mut world = World::new(BOUNDS);
    world.say_in("a", 2);
    let given = |name: &str, number| Given { room: Some(room(name)), frames: frames(number) };
    world.push(What::Connected {
        socket: socket(1),
        presented: Some(offset(1)),
        replayed: [given("a", 2), given("b", 3), given("a", 4)].into(),
    });
    world.push(What::Connected {
        socket: socket(2),
        presented: Some(offset(2)),
        replayed: [given("a", 3), given("a", 4)].into(),
    });
    world.say_in("a", 5);
    let left = world.log.end();
    for (claimed, rooms, expected) in [
        (1, &["a", "b"][..], vec![2, 3, 4, 5]),
        (3, &["a", "b"], vec![4, 5]),
        (4, &["a", "b"], vec![5]),
        (5, &["a", "b"], vec![]),
        (1, &["a"], vec![2, 4, 5]),
    ] {
        assert_eq!(world.missed(rooms, Some(5), left, Some(claimed)), Some(expected), "{claimed}");
    }
}

#[test]
fn what_went_to_a_room_before_the_socket_entered_is_not_its_own() {
    let mut world = World::new(BOUNDS);
    world.connected(None);
    world.say_in("a", 1);
    world.push(What::Entered { socket: socket(2), room: room("a") });
    world.push(What::Entered { socket: socket(1), room: room("a") });
    world.say_in("a", 2);
    let left = world.log.end();
    assert_eq!(world.missed(&["a"], Some(2), left, None), Some(vec![2]));
}

#[test]
fn one_who_has_seen_everything_needs_no_old_entries() {
    let mut world = World::new(Bounds { entries: 3, ..BOUNDS });
    world.connected(None);
    for number in 1..=4 {
        world.say_in("a", number);
    }
    let left = world.log.end();
    let after = |world: &World, claimed| world.missed(&["a"], Some(4), left, claimed);
    world.say_in("a", 5);
    world.say_in("a", 6);
    assert_eq!(after(&world, Some(4)), Some(vec![5, 6]));
    world.say_in("a", 7);
    assert_eq!(after(&world, Some(4)), Some(vec![5, 6, 7]), "the entry of 4 is gone, and not needed");
    assert_eq!(after(&world, Some(3)), None);
    world.say_in("a", 8);
    assert_eq!(after(&world, Some(4)), None, "5 is gone");
}

#[test]
fn the_oldest_entries_go_by_bytes_by_number_and_by_age() {
    let mut world = World::new(Bounds { bytes: 10_000, ..BOUNDS });
    for number in 1..=20 {
        world.push(What::Room { room: room("a"), except: None, frames: frames_of(number, 900) });
    }
    assert!(world.log.bytes <= 10_000, "{}", world.log.bytes);
    assert!((8..=10).contains(&world.log.entries.len()), "{}", world.log.entries.len());
    world.push(What::Room { room: room("a"), except: None, frames: frames_of(21, 20_000) });
    assert_eq!((world.log.entries.len(), world.log.bytes), (0, 0), "what is too large by itself is not kept");
    assert_eq!(world.log.end(), 21, "and counts all the same");

    let mut world = World::new(BOUNDS);
    for number in 1..=80 {
        world.say_in("a", number);
    }
    assert_eq!(world.log.entries.len(), 61, "a minute, at one a second");
    assert_eq!(world.log.deadline(), Some(world.start + Duration::from_secs(20 + 60) + SLACK));
    world.log.expire(world.now() + Duration::from_secs(61));
    assert_eq!((world.log.deadline(), world.log.bytes, world.log.entries.capacity()), (None, 0, 0));
}

#[test]
fn a_search_ends_where_the_answer_is_too_large() {
    let mut world = World::new(BOUNDS);
    world.connected(None);
    for number in 1..=3 {
        world.push(What::Room { room: room("a"), except: None, frames: frames_of(number, 30_000) });
    }
    let left = world.log.end();
    assert_eq!(world.missed(&["a"], Some(3), left, None).map(|missed| missed.len()), Some(3));
    world.push(What::Room { room: room("a"), except: None, frames: frames_of(4, 30_000) });
    assert_eq!(world.missed(&["a"], Some(3), left, None), None);
    assert_eq!(world.missed(&["a"], Some(3), left, Some(1)).map(|missed| missed.len()), Some(3));
}

#[test]
fn a_fence_parts_what_the_old_core_gives_from_what_the_new_one_does() {
    let mut world = World::new(BOUNDS);
    world.connected(None);
    world.say_in("a", 1);
    let left = world.log.end();
    // As other threads may have it, not all in the order of their offsets.
    for number in [2, 5, 3, 7, 6] {
        world.say_in("a", number);
    }
    assert_eq!(world.missed_before(4, &["a"], Some(1), left, Some(1)), Some(vec![2, 3]));
    let rooms = HashMap::from([(room("a"), offset(4))]);
    let seeker = Seeker { socket: socket(9), rooms, side: Side::After, last: None, left };
    let rest = world.log.missed(seeker, None, 100_000).unwrap();
    assert_eq!(rest.iter().map(|given| number(&given.frames)).collect::<Vec<_>>(), [5, 7, 6]);
}
