//! What every store promises: one suite, run against each. A store joins with a constructor of [`harness::Subject`] and
//! a line at [`suite!`]'s use below.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, in its helpers too"
)]

#[path = "store/harness.rs"]
#[allow(dead_code, unreachable_pub, reason = "each suite takes what it needs")]
mod harness;

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use alt_ws::auth::{Claims, revocations};
use alt_ws::chat::effect::ReceiptStatus::{Delivered, Read};
use alt_ws::chat::effect::{Committed, Joined, Missed, NewMessage, Page, PageRequest, RecordBody, Refusal};
use alt_ws::ids::{RoomId, Timestamp, UserId};
use alt_ws::store::Health;
use harness::*;

macro_rules! suite {
    ($($test:ident)*) => {
        suite!(@store memory, $($test)*);
        suite!(@store sqlite, $($test)*);
        suite!(@store databases, $($test)*);
        suite!(@store postgres_and_sqlite, $($test)*);
        suite!(@store sqlite_and_mongo, $($test)*);
    };
    (@store $store:ident, $($test:ident)*) => {
        mod $store {
            $(#[test] fn $test() { super::$test(super::Subject::$store()); })*
        }
    };
}

suite! {
    seqs_are_gapless_in_each_room_over_batches_and_refusals
    a_message_comes_back_as_it_was_sent_with_an_id_and_a_time
    a_client_id_stores_one_message_and_echoes_the_new_temp_id
    client_ids_belong_to_their_user_and_hold_over_rooms
    only_members_may_do_anything
    a_room_and_a_user_are_the_same_in_either_json_form
    receipts_change_something_once_and_read_implies_delivered
    up_to_covers_everything_before_and_single_receipts_do_not
    receipts_need_a_message_of_somebody_else_in_that_room
    a_join_is_a_fence_between_the_messages_around_it
    missed_is_what_came_after_since_and_bounded
    a_page_lies_within_its_bounds_and_says_whether_there_is_more
    a_page_of_big_messages_is_bounded_in_bytes
    pages_lead_through_the_whole_history_in_either_direction
    a_page_shows_messages_as_they_are_at_its_place_in_the_batch
    unread_counts_messages_of_others_up_to_a_bound
    open_rooms_admit_whoever_joins_and_closed_ones_do_not
    conversations_are_listed_latest_first
    a_full_queue_is_busy_by_count_and_by_weight_and_recovers
    questions_leave_half_of_the_queue_to_what_is_to_be_stored
    a_cancelled_record_is_never_stored_nor_answered
    a_record_that_waited_too_long_is_unavailable
    shutdown_stores_what_is_queued_and_then_refuses
    j8_what_is_revoked_is_told_at_the_start_and_within_a_second_of_each_change
}

fn pair(subject: Subject) -> Subject {
    subject.members(&[("r", "ann"), ("r", "bob"), ("s", "ann"), ("s", "bob")])
}

fn seqs_are_gapless_in_each_room_over_batches_and_refusals(subject: Subject) {
    let store = pair(subject).start();
    let mut next = [("r", 0), ("s", 0)];
    for batch in 0..5 {
        let rooms: Vec<usize> = (0..40).map(|n| (n * n + batch) % 2).collect();
        let mut bodies: Vec<_> = rooms.iter().map(|n| text(next[*n].0, "ann", "x")).collect();
        bodies.push(text("r", "eve", "x"));
        let mut answers = store.ask_all(bodies);
        assert_eq!(refused(answers.pop().unwrap()), Refusal::NotMember);
        for (n, answer) in rooms.into_iter().zip(answers) {
            next[n].1 += 1;
            let message = stored(answer);
            assert_eq!((message.room.as_str(), message.seq), next[n]);
        }
    }
    assert_eq!(next[0].1 + next[1].1, 200);
}

fn a_message_comes_back_as_it_was_sent_with_an_id_and_a_time(subject: Subject) {
    let store = pair(subject).start();
    let new = NewMessage {
        username: "Ann \u{202e}\u{0} 🦀".into(),
        content: "tab\t nul\u{0} quote\" 🦀".into(),
        kind: "image".into(),
        attachments: r#"[{"url":"x","n":1e400}]"#.into(),
        temp_id: Some("1.50".into()),
        client_msg_id: Some("c'1".into()),
        ..new_message("r", "ann", "")
    };
    let (first, second) = (stored(store.ask(RecordBody::Message(new.clone()))), store.send("r", "ann", ""));
    let fields = (&*first.username, &*first.content, &*first.kind, &*first.attachments);
    assert_eq!(fields, (&*new.username, &*new.content, &*new.kind, &*new.attachments));
    assert_eq!((&first.temp_id, &first.client_msg_id), (&new.temp_id, &new.client_msg_id));
    assert!(!first.delivered && !first.read);
    assert!(first.id != second.id && first.timestamp <= second.timestamp && first.timestamp.0 > 1_700_000_000_000);
    let missed = store.join("r", "bob", Some(0)).unwrap().missed.unwrap();
    let mut as_stored = (*first).clone();
    as_stored.temp_id = None;
    assert_eq!(missed.messages, [as_stored, (*second).clone()]);
}

fn a_client_id_stores_one_message_and_echoes_the_new_temp_id(subject: Subject) {
    let store = pair(subject).start();
    let mut answers = store.ask_all(vec![
        once("r", "ann", "first", "c", "1"),
        once("r", "ann", "second", "c", "\"2\""),
        text("r", "ann", "other"),
    ]);
    assert_eq!(stored(answers.remove(2)).seq, 2);
    let again = [answers.remove(1), store.ask(once("r", "ann", "third", "c", "3"))].map(duplicate);
    let first = stored(answers.remove(0));
    for (again, temp_id) in again.iter().zip(["\"2\"", "3"]) {
        assert_eq!((again.id, again.seq, again.timestamp), (first.id, 1, first.timestamp));
        assert_eq!((again.content.as_str(), again.temp_id.as_deref()), ("first", Some(temp_id)));
    }
    assert_eq!(store.join("r", "bob", None).unwrap().seq, 2);
}

fn client_ids_belong_to_their_user_and_hold_over_rooms(subject: Subject) {
    let store = pair(subject).start();
    let ann = stored(store.ask(once("r", "ann", "a", "c", "1")));
    let bob = stored(store.ask(once("r", "bob", "b", "c", "1")));
    assert_eq!((ann.seq, bob.seq, bob.content.as_str()), (1, 2, "b"));
    let elsewhere = duplicate(store.ask(once("s", "ann", "a", "c", "1")));
    assert_eq!((elsewhere.id, elsewhere.room.as_str()), (ann.id, "r"));
    assert_eq!(store.join("s", "ann", None).unwrap().seq, 0);
    assert_eq!(refused(store.ask(once("t", "ann", "a", "c", "1"))), Refusal::NotMember);
}

fn only_members_may_do_anything(subject: Subject) {
    let store = pair(subject).start();
    let message = store.send("r", "ann", "x");
    for (room, user) in [("r", "eve"), ("unknown", "ann"), ("R", "ann"), ("r", "ann "), ("'; --", "%")] {
        let bodies = vec![
            text(room, user, "x"),
            receipt(room, user, message.id, Read, false),
            join(room, user, Some(0)),
            history(room, user, NEWEST),
            access(room, user),
        ];
        for answer in store.ask_all(bodies) {
            assert_eq!(refused(answer), Refusal::NotMember, "{user} in {room}");
        }
    }
    assert!(matches!(store.ask(access("r", "bob")), Ok(Committed::Access)));
}

fn a_room_and_a_user_are_the_same_in_either_json_form(subject: Subject) {
    let store = subject.members(&[("5", "42"), ("5", "bob")]).start();
    let forms = [(false, false), (true, true), (true, false)];
    for ((room, user), seq) in forms.into_iter().zip(1..) {
        let (room, user) = (RoomId::from_parts("5", room).unwrap(), UserId::from_parts("42", user).unwrap());
        let new = NewMessage { room, user, ..new_message("5", "42", "x") };
        assert_eq!(stored(store.ask(RecordBody::Message(new))).seq, seq);
    }
    let missed = store.join("5", "bob", Some(0)).unwrap().missed.unwrap();
    let came_back: Vec<_> = missed.messages.iter().map(|m| (m.room.is_numeric(), m.user.is_numeric())).collect();
    assert_eq!(came_back, forms);
    let own = store.receipt("42", &missed.messages[0], Read, false);
    assert_eq!(own.unwrap_err(), Refusal::OwnMessage);
}

fn receipts_change_something_once_and_read_implies_delivered(subject: Subject) {
    let store = pair(subject).start();
    // (status, upTo) steps on a fresh message, and whether each changes something.
    let cases: [&[(_, bool, bool)]; 6] = [
        &[(Delivered, false, true), (Delivered, false, false), (Read, false, true), (Read, false, false)],
        &[(Read, false, true), (Delivered, false, false), (Delivered, true, false), (Read, true, false)],
        &[(Delivered, true, true), (Delivered, false, false), (Read, true, true), (Delivered, true, false)],
        &[(Read, true, true), (Read, false, false), (Delivered, true, false)],
        &[(Delivered, false, true), (Read, true, true)],
        &[(Delivered, true, true), (Read, false, true)],
    ];
    for (case, room) in cases.into_iter().zip(["r", "s"].into_iter().cycle()) {
        let message = store.send(room, "ann", "x");
        for (status, up_to, changed) in case {
            let receipted = store.receipt("bob", &message, *status, *up_to).unwrap();
            assert_eq!(receipted.changed, *changed, "{status:?} upTo {up_to} of {case:?}");
            assert_eq!((receipted.status, receipted.up_to, receipted.message), (*status, *up_to, message.id));
            let missed = store.join(room, "ann", Some(message.seq - 1)).unwrap().missed.unwrap();
            let read = receipted.status == Read || missed.messages[0].read;
            assert_eq!((missed.messages[0].delivered, missed.messages[0].read), (true, read));
        }
    }
}

fn up_to_covers_everything_before_and_single_receipts_do_not(subject: Subject) {
    let store = pair(subject).start();
    let sent: Vec<_> = ["ann", "bob", "ann", "ann", "ann", "ann"].map(|user| store.send("r", user, "x")).into();
    let read = || -> Vec<bool> {
        store.join("r", "ann", Some(0)).unwrap().missed.unwrap().messages.iter().map(|message| message.read).collect()
    };
    let unread = || store.join("r", "bob", None).unwrap().unread;
    assert_eq!(unread(), 5);
    assert!(store.receipt("bob", &sent[3], Read, false).unwrap().changed);
    assert_eq!((read(), unread()), (vec![false, false, false, true, false, false], 4));
    assert!(store.receipt("bob", &sent[4], Read, true).unwrap().changed);
    assert_eq!((read(), unread()), (vec![true, false, true, true, true, false], 1));
    assert!(!store.receipt("bob", &sent[0], Read, false).unwrap().changed);
    assert!(!store.receipt("bob", &sent[2], Read, true).unwrap().changed);
    assert!(store.receipt("bob", &sent[5], Read, false).unwrap().changed);
    assert_eq!((read().into_iter().filter(|read| *read).count(), unread()), (5, 0));
    assert!(!store.receipt("bob", &sent[5], Read, true).unwrap().changed, "all of them are read one by one");
    assert_eq!(store.join("r", "ann", None).unwrap().unread, 1, "receipts are each user's own");
}

fn receipts_need_a_message_of_somebody_else_in_that_room(subject: Subject) {
    let store = pair(subject).start();
    let message = store.send("r", "ann", "x");
    for status in [Delivered, Read] {
        for up_to in [false, true] {
            let own = store.receipt("ann", &message, status, up_to);
            assert_eq!(own.unwrap_err(), Refusal::OwnMessage);
            let elsewhere = store.ask(receipt("s", "bob", message.id, status, up_to));
            assert_eq!(refused(elsewhere), Refusal::NoSuchMessage);
            let unknown = alt_ws::ids::MessageId([0; 12]);
            assert_eq!(refused(store.ask(receipt("r", "bob", unknown, status, up_to))), Refusal::NoSuchMessage);
        }
    }
    assert_eq!(store.join("r", "bob", None).unwrap().unread, 1);
}

fn a_join_is_a_fence_between_the_messages_around_it(subject: Subject) {
    let store = pair(subject).start();
    let bodies = vec![
        join("r", "bob", Some(0)),
        text("r", "ann", "1"),
        text("s", "ann", "elsewhere"),
        join("r", "bob", Some(0)),
        text("r", "ann", "2"),
        text("r", "ann", "3"),
        join("r", "bob", Some(1)),
    ];
    let joined = |answer| match answer {
        Ok(Committed::Joined(joined)) => Some(joined),
        Ok(Committed::Message { .. }) => None,
        other => panic!("{other:?}"),
    };
    let fences: Vec<_> = store.ask_all(bodies).into_iter().filter_map(joined).collect();
    let seen: Vec<_> = fences
        .iter()
        .map(|joined| {
            let missed = joined.missed.as_ref().unwrap();
            assert!(missed.complete);
            (joined.seq, joined.unread, missed.messages.iter().map(|message| message.seq).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(seen, [(0, 0, vec![]), (1, 1, vec![1]), (3, 3, vec![2, 3])]);
}

fn missed_is_what_came_after_since_and_bounded(subject: Subject) {
    let store = pair(subject).start();
    store.ask_all((0..250).map(|_| text("r", "ann", "x")).collect());
    // (since, first seq, how many, complete)
    let cases = [
        (0, Some(1), 200, false),
        (49, Some(50), 200, false),
        (50, Some(51), 200, true),
        (249, Some(250), 1, true),
        (250, None, 0, true),
        (251, None, 0, true),
        (i64::MAX, None, 0, true),
    ];
    for (since, first, count, complete) in cases {
        let missed = store.join("r", "bob", Some(since)).unwrap().missed.unwrap();
        let seqs: Vec<_> = missed.messages.iter().map(|message| message.seq).collect();
        let expected: Vec<_> = (0..count).map(|n| first.unwrap() + n).collect();
        assert_eq!((seqs, missed.complete), (expected, complete), "since {since}");
    }
    assert!(store.join("r", "bob", None).unwrap().missed.is_none());
    let sizes = [Missed::MAX_BYTES / 2 - 2, Missed::MAX_BYTES / 2 - 2, 0, Missed::MAX_BYTES + 1, 5];
    store.ask_all(sizes.map(|size| text("s", "ann", &"x".repeat(size))).into());
    for (since, count, complete) in [(0, 2, false), (2, 1, false), (3, 1, false), (4, 1, true)] {
        let missed = store.join("s", "bob", Some(since)).unwrap().missed.unwrap();
        assert_eq!((missed.messages.len(), missed.complete), (count, complete), "since {since}");
    }
}

/// What a client gets that names nothing but the room.
const NEWEST: PageRequest = PageRequest { before: None, after: None, limit: 50 };

/// Seqs of a page and whether there is more.
fn seqs(page: &Page) -> (Vec<i64>, bool) {
    (page.messages.iter().map(|message| message.seq).collect(), page.has_more)
}

fn a_page_lies_within_its_bounds_and_says_whether_there_is_more(subject: Subject) {
    const ENDS: (i64, i64) = (i64::MIN, i64::MAX);
    let store = pair(subject).start();
    store.ask_all((0..250).map(|_| text("r", "ann", "x")).collect());
    let nothing = RangeInclusive::new(1, 0);
    // (before, after, limit, seqs, more)
    let cases = [
        (None, None, 50, 201..=250, true),
        (None, None, 200, 51..=250, true),
        (None, None, 1, 250..=250, true),
        (Some(ENDS.1), None, 1, 250..=250, true),
        (Some(251), None, 3, 248..=250, true),
        (Some(250), None, 3, 247..=249, true),
        (Some(5), None, 3, 2..=4, true),
        (Some(5), None, 4, 1..=4, false),
        (Some(5), None, 50, 1..=4, false),
        (Some(2), None, 50, 1..=1, false),
        (Some(1), None, 50, nothing.clone(), false),
        (Some(-7), None, 50, nothing.clone(), false),
        (Some(ENDS.0), None, 50, nothing.clone(), false),
        (None, Some(ENDS.0), 3, 1..=3, true),
        (None, Some(-1), 3, 1..=3, true),
        (None, Some(0), 200, 1..=200, true),
        (None, Some(246), 3, 247..=249, true),
        (None, Some(247), 3, 248..=250, false),
        (None, Some(249), 50, 250..=250, false),
        (None, Some(250), 50, nothing.clone(), false),
        (None, Some(ENDS.1), 50, nothing.clone(), false),
        (Some(20), Some(10), 50, 11..=19, false),
        (Some(20), Some(10), 9, 11..=19, false),
        (Some(20), Some(10), 8, 11..=18, true),
        (Some(12), Some(10), 1, 11..=11, false),
        (Some(11), Some(10), 50, nothing.clone(), false),
        (Some(10), Some(10), 50, nothing.clone(), false),
        (Some(10), Some(20), 50, nothing.clone(), false),
        (Some(ENDS.0), Some(ENDS.1), 50, nothing.clone(), false),
    ];
    for (before, after, limit, expected, more) in cases {
        let request = PageRequest { before, after, limit };
        let page = store.page("r", "bob", request).unwrap();
        assert_eq!(seqs(&page), (expected.collect(), more), "{request:?}");
        assert_eq!(seqs(&store.page("s", "bob", request).unwrap()), (vec![], false), "an empty room: {request:?}");
    }
}

fn a_page_of_big_messages_is_bounded_in_bytes(subject: Subject) {
    let store = pair(subject).start();
    // Attachments count, and these have the two bytes of an empty list.
    let (half, whole) = (Page::MAX_BYTES / 2 - 2, Page::MAX_BYTES - 2);
    let sizes = [whole, half, half, half + 1, whole + 1, 5];
    store.ask_all(sizes.map(|size| text("r", "ann", &"x".repeat(size))).into());
    // (before, after, seqs, more)
    let cases: [(_, _, &[i64], _); 10] = [
        (None, None, &[6], true),
        (Some(6), None, &[5], true),
        (Some(5), None, &[4], true),
        (Some(4), None, &[2, 3], true),
        (Some(2), None, &[1], false),
        (None, Some(0), &[1], true),
        (None, Some(1), &[2, 3], true),
        (Some(4), Some(1), &[2, 3], false),
        (None, Some(4), &[5], true),
        (None, Some(5), &[6], false),
    ];
    for (before, after, expected, more) in cases {
        let request = PageRequest { before, after, limit: Page::MAX_MESSAGES };
        assert_eq!(seqs(&store.page("r", "bob", request).unwrap()), (expected.into(), more), "{request:?}");
    }
}

fn pages_lead_through_the_whole_history_in_either_direction(subject: Subject) {
    let store = pair(subject).start();
    store.ask_all((0..120).map(|n| text(["r", "s"][n % 2], "ann", "x")).collect());
    let (mut newest_first, mut oldest_first) = (Vec::new(), Vec::new());
    let mut request = PageRequest { before: None, after: None, limit: 20 };
    loop {
        let (page, more) = seqs(&store.page("r", "bob", request).unwrap());
        request.before = page.first().copied();
        newest_first.splice(0..0, page);
        if !more {
            break;
        }
    }
    request = PageRequest { before: None, after: Some(0), limit: 7 };
    loop {
        let (page, more) = seqs(&store.page("r", "bob", request).unwrap());
        request.after = page.last().copied();
        oldest_first.extend(page);
        if !more {
            break;
        }
    }
    let all: Vec<i64> = (1..=60).collect();
    assert_eq!((newest_first, oldest_first), (all.clone(), all));
}

fn a_page_shows_messages_as_they_are_at_its_place_in_the_batch(subject: Subject) {
    let store = pair(subject).start();
    let first = stored(store.ask(once("r", "ann", "one", "c", "7")));
    let answers = store.ask_all(vec![
        history("r", "ann", NEWEST),
        receipt("r", "bob", first.id, Read, false),
        text("r", "bob", "two"),
        history("r", "ann", NEWEST),
    ]);
    let pages = answers.into_iter().filter_map(|answer| match answer {
        Ok(Committed::History { page, .. }) => Some(page.messages),
        _ => None,
    });
    let pages: Vec<_> = pages.collect();
    let mut as_stored = (*first).clone();
    as_stored.temp_id = None;
    assert_eq!(pages[0], [as_stored.clone()]);
    (as_stored.delivered, as_stored.read) = (true, true);
    assert_eq!((pages[1].len(), &pages[1][0], pages[1][1].content.as_str()), (2, &as_stored, "two"));
}

fn unread_counts_messages_of_others_up_to_a_bound(subject: Subject) {
    let store = pair(subject).start();
    let send = |count, user| store.ask_all((0..count).map(|_| text("r", user, "x")).collect());
    let unread = || store.join("r", "bob", None).unwrap().unread;
    (0..10).for_each(|_| drop((send(9, "ann"), send(1, "bob"))));
    assert_eq!(unread(), 90);
    (0..4).for_each(|_| drop(send(250, "ann")));
    assert_eq!(unread(), Joined::MAX_UNREAD);
}

fn open_rooms_admit_whoever_joins_and_closed_ones_do_not(subject: Subject) {
    let subject = subject.members(&[("closed", "ann")]).open_rooms();
    let store = subject.start();
    assert_eq!(refused(store.ask(text("new", "eve", "x"))), Refusal::NotMember, "only joining creates");
    assert_eq!(store.page("new", "eve", NEWEST).unwrap_err(), Refusal::NotMember, "only joining creates");
    assert_eq!(store.join("new", "eve", Some(0)).unwrap().seq, 0);
    store.send("new", "eve", "x");
    assert_eq!(refused(store.ask(text("new", "bob", "x"))), Refusal::NotMember);
    assert_eq!(store.page("new", "bob", NEWEST).unwrap_err(), Refusal::NotMember);
    assert_eq!(store.join("new", "bob", None).unwrap().unread, 1);
    store.send("new", "bob", "x");
    assert_eq!(store.join("closed", "eve", None).unwrap_err(), Refusal::NotMember);
    assert!(store.join("closed", "ann", None).is_ok());
}

fn conversations_are_listed_latest_first(subject: Subject) {
    let store = subject.members(&[("closed", "ann")]).open_rooms().start();
    for room in ["b", "a", "c", "a"] {
        std::thread::sleep(Duration::from_millis(2));
        store.join(room, "ann", None).unwrap();
    }
    let listed = |user| match store.ask(conversations(user)) {
        Ok(Committed::Conversations(rooms)) => rooms.iter().map(ToString::to_string).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(listed("ann"), ["c", "a", "b", "closed"]);
    assert!(listed("nobody").is_empty());
}

fn a_full_queue_is_busy_by_count_and_by_weight_and_recovers(subject: Subject) {
    let mut subject = pair(subject);
    (subject.settings.queue_records, subject.settings.queue_bytes) = (10, 10_000);
    let store = subject.start();
    let handle = store.writer.handle();
    let fill = |size: usize| {
        // Room is made after the sink returned, so the last outcome is seen a moment before.
        while handle.queued() != (0, 0) {
            std::thread::yield_now();
        }
        let hold = store.hold();
        let submit = |request| handle.submit(record(request, text("r", "ann", &"x".repeat(size))));
        let taken = (0..100).take_while(|request| submit(*request).is_ok()).count() as u64;
        assert_eq!(submit(100).unwrap_err(), Refusal::Busy);
        drop(hold);
        (0..taken).for_each(|request| drop(stored(store.next(request))));
        taken
    };
    assert_eq!(fill(1), 9, "the held record is the tenth");
    assert_eq!(fill(2990), 3, "256 bytes for the held record, 258 and the content for each");
    assert_eq!(fill(1), 9);
    assert!(store.is_quiet());
}

fn questions_leave_half_of_the_queue_to_what_is_to_be_stored(subject: Subject) {
    let mut subject = pair(subject);
    subject.settings.queue_records = 10;
    let store = subject.start();
    let handle = store.writer.handle();
    let hold = store.hold();
    let ask = |request| handle.submit(record(request, conversations("ann")));
    assert_eq!((0..100).take_while(|request| ask(*request).is_ok()).count(), 4, "the held record is the fifth");
    assert!(handle.submit(record(4, text("r", "ann", "x"))).is_ok());
    drop(hold);
    for request in 0..5 {
        assert!(store.next(request).is_ok());
    }
}

fn a_cancelled_record_is_never_stored_nor_answered(subject: Subject) {
    let store = pair(subject).start();
    let handle = store.writer.handle();
    let hold = store.hold();
    let tickets: Vec<_> =
        (0..3).map(|request| handle.submit(record(request, text("r", "ann", "x"))).unwrap()).collect();
    assert!(tickets[1].cancel());
    assert!(!tickets[0].is_done() && tickets[1].is_done());
    drop(hold);
    assert_eq!(stored(store.next(0)).seq, 1);
    assert_eq!(stored(store.next(2)).seq, 2);
    assert!(tickets.iter().all(|ticket| ticket.is_done() && !ticket.cancel()));
    assert_eq!(store.join("r", "bob", None).unwrap().seq, 2);
}

fn a_record_that_waited_too_long_is_unavailable(subject: Subject) {
    let mut subject = pair(subject);
    subject.settings.persist_timeout = Duration::from_millis(200);
    let store = subject.start();
    let handle = store.writer.handle();
    let hold = store.hold();
    handle.submit(record(0, text("r", "ann", "late"))).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    handle.submit(record(1, text("r", "ann", "in time"))).unwrap();
    drop(hold);
    assert_eq!(refused(store.next(0)), Refusal::Unavailable);
    let message = stored(store.next(1));
    assert_eq!((message.seq, message.content.as_str()), (1, "in time"));
}

fn shutdown_stores_what_is_queued_and_then_refuses(subject: Subject) {
    let subject = pair(subject);
    let store = subject.start();
    let handle = store.writer.handle();
    assert_eq!(handle.health().messages, Health::Ok);
    for request in 0..2000 {
        handle.submit(record(request, text("r", "ann", "x"))).unwrap();
    }
    assert_eq!(store.shut_down().into_iter().map(stored).map(|message| message.seq).max(), Some(2000));
    assert_eq!(handle.health().messages, Health::Stopped);
    assert_eq!(handle.submit(record(0, access("r", "ann"))).unwrap_err(), Refusal::Unavailable);
}

fn j8_what_is_revoked_is_told_at_the_start_and_within_a_second_of_each_change(subject: Subject) {
    let Some(mut list) = subject.revocation_list() else {
        assert!(subject.start().revoked.try_recv().is_err(), "a store in memory knows of nothing");
        return;
    };
    let of = |kind, value| revocations::Subject::from_parts(kind, value).unwrap();
    let at = list.add(of("user", "ann"), None).unwrap();
    let store = subject.start();
    // The server's clock, a little later.
    let now = Timestamp(at.0 + 1000);
    let told = |what: &str, ann: bool, token: bool| {
        let since = Instant::now();
        loop {
            let left = Duration::from_secs(1).saturating_sub(since.elapsed());
            let list = store.revoked.recv_timeout(left).unwrap_or_else(|_| panic!("{what} was not told"));
            let revokes = |user_id: &str, token_id: Option<&str>| {
                let token_id = token_id.map(Into::into);
                list.revokes(&Claims { token_id, ..Claims::new(user(user_id), "Name".into()) }, now)
            };
            assert!(!revokes("bob", None) && !revokes("bob", Some("t2")));
            if (revokes("ann", None), revokes("bob", Some("t1"))) == (ann, token) {
                return;
            }
        }
    };
    told("what was revoked before the start", true, false);
    list.add(of("jti", "t1"), Some(Timestamp(at.0 + 60_000))).unwrap();
    told("a revocation", true, true);
    assert!(list.remove(&of("user", "ann")).unwrap());
    told("one that was taken back", false, true);
    assert_eq!(list.list().unwrap().iter().map(|line| line.subject.value()).collect::<Vec<_>>(), ["t1"]);
}
