//! Every event there is × everybody who may not send it × the core they are on.

use super::*;

/// What an event leads to for somebody who has no right to the room that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The code of the `error` and of the ack.
    Refused(&'static str),
    /// `{ok:true}` and nothing more: there was nothing to do.
    Nothing,
    /// It is of no room.
    Roomless,
}

fn to_an_outsider(event: EventName) -> Expected {
    match event {
        EventName::RoomJoin | EventName::MessageSend | EventName::MessageHistory => Expected::Refused("access_denied"),
        EventName::MessageDelivered | EventName::MessageRead => Expected::Refused("access_denied"),
        EventName::TypingStart | EventName::TypingStop => Expected::Refused("access_denied"),
        EventName::RoomLeave => Expected::Nothing,
        EventName::PresenceUpdate | EventName::AuthRefresh => Expected::Roomless,
    }
}

fn to_a_bad_room_id(event: EventName) -> Expected {
    match to_an_outsider(event) {
        Expected::Refused(_) | Expected::Nothing => Expected::Refused("bad_request"),
        Expected::Roomless => Expected::Roomless,
    }
}

fn check(house: &mut House, seat: Seat, event: EventName, room_id: &str, expected: Expected) {
    house.heard.clear();
    house.send(seat, event.as_str(), &payload(event, room_id));
    let (own, others) = house.heard_by(seat);
    let shown: String = room_id.chars().take(60).collect();
    let what = format!("{} to {shown} on core {}: {own:?}", event.as_str(), seat.0);
    assert!(others.is_empty(), "somebody heard of {what}: {others:?}");
    assert!(!own.iter().any(|(_, args)| args.contains("secret") || args.contains("ada")), "{what}");
    let names: Vec<&str> = own.iter().map(|(name, _)| &**name).collect();
    match expected {
        Expected::Refused(code) => {
            assert_eq!(names, ["error", "ack"], "{what}");
            assert!(own.iter().all(|(_, args)| args.contains(&format!("\"code\":\"{code}\""))), "{what}");
        }
        Expected::Nothing => assert_eq!(own, [("ack".to_owned(), "{\"ok\":true}".to_owned())], "{what}"),
        Expected::Roomless => assert!(own.iter().all(|(_, args)| !args.contains("roomId")), "{what}"),
    }
}

/// How somebody comes to be on a core.
type WayIn = fn(&mut House, usize) -> Seat;

/// Somebody who has no right to the room `r`, on a core.
fn outsiders() -> [(&'static str, WayIn); 4] {
    [
        ("non-member", |house, core| house.connect(core, "eve")),
        ("member of another room", |house, core| house.inside(core, "eve", "another")),
        ("ex-member removed while in the room", |house, core| {
            let seat = house.inside(core, "eve", "r");
            house.send(seat, "typing:start", "{\"roomId\":\"r\"}");
            house.remove("r", "eve");
            seat
        }),
        ("ex-member with a second device that was never in the room", |house, core| {
            house.inside(1 - core, "eve", "r");
            let seat = house.connect(core, "eve");
            house.remove("r", "eve");
            seat
        }),
    ]
}

#[test]
fn a1_what_a_member_in_the_room_sends_is_done_and_the_others_hear_of_it() {
    for event in EventName::ALL {
        let mut house = busy_room();
        let eve = house.inside(1, "eve", "r");
        house.send(eve, "typing:start", "{\"roomId\":\"r\"}");
        house.heard.clear();
        house.send(eve, event.as_str(), &payload(*event, "\"r\""));
        let (own, others) = house.heard_by(eve);
        let others: Vec<_> = others.iter().map(|(seat, name, _)| (seat.0, &**name)).collect();
        let is_heard: &[&str] = match event {
            EventName::RoomLeave => &["typing:user", "user:left"],
            EventName::MessageSend => &["message:new"],
            EventName::MessageDelivered | EventName::MessageRead => &["message:status"],
            EventName::TypingStop => &["typing:user"],
            // Within three seconds of the first, and joined before.
            EventName::TypingStart | EventName::RoomJoin | EventName::MessageHistory => &[],
            // The audience of presence is the server's to find.
            EventName::PresenceUpdate => &[],
            EventName::AuthRefresh => &[],
        };
        let expected: Vec<_> = is_heard.iter().flat_map(|name| [(0, *name), (1, *name)]).collect();
        assert_eq!(others, expected, "{event:?}");
        assert!(own.iter().any(|(name, args)| name == "ack" && args.contains("\"ok\":true")), "{event:?} {own:?}");
    }
}

#[test]
fn a1_nobody_without_a_right_to_the_room_does_anything_to_it_or_learns_anything_of_it() {
    for (who, enter) in outsiders() {
        for core in [0, 1] {
            for event in EventName::ALL {
                let mut house = busy_room();
                let seat = enter(&mut house, core);
                check(&mut house, seat, *event, "\"r\"", to_an_outsider(*event));
                house.heard.clear();
                // Whatever they tried, they hear nothing of what is said from now on.
                let ada = house.inside(0, "ada", "r");
                house.send(ada, "message:send", r#"{"roomId":"r","content":"another secret"}"#);
                house.send(ada, "typing:start", r#"{"roomId":"r"}"#);
                let (heard, _) = house.heard_by(seat);
                assert_eq!(heard, [], "{who} after {event:?}");
            }
        }
    }
}

#[test]
fn a1_a_room_id_that_is_none_is_refused_before_the_store_hears_of_it() {
    let long = format!("\"{}\"", "r".repeat(1_000_000));
    let bad = [
        "null",
        "true",
        "1.5",
        "1e3",
        "1e400",
        "18446744073709551616",
        "[]",
        "[\"r\"]",
        "{}",
        "{\"$ne\":1}",
        "{\"$gt\":\"\"}",
        "{\"toString\":\"r\"}",
        "\"\"",
        "\"r\\u0000\"",
        "\"\\u0000\"",
        "\"r\\n\"",
        "\"\\ud800\"",
        &long,
    ];
    for room_id in bad {
        for core in [0, 1] {
            for event in EventName::ALL {
                let mut house = busy_room();
                let member = house.inside(core, "eve", "r");
                let asked = house.asked;
                check(&mut house, member, *event, room_id, to_a_bad_room_id(*event));
                assert_eq!(house.asked, asked, "{event:?} {room_id:.60}");
            }
        }
    }
}

#[test]
fn a8_a_room_that_is_closed_and_one_that_does_not_exist_are_answered_alike_by_the_same_way_through_the_store() {
    for event in EventName::ALL {
        let answer = |room: &str| {
            let mut house = busy_room();
            let eve = house.connect(0, "eve");
            let asked = house.asked;
            house.heard.clear();
            house.send(eve, event.as_str(), &payload(*event, &format!("\"{room}\"")));
            let (own, _) = house.heard_by(eve);
            let own: Vec<_> =
                own.into_iter().map(|(name, args)| (name, args.replace(&format!("\"{room}\""), "it"))).collect();
            (own, house.asked - asked)
        };
        assert_eq!(answer("r"), answer("nowhere"), "{event:?}");
    }
}

#[test]
fn a2_the_id_of_a_socket_or_of_a_user_is_no_room() {
    let mut house = busy_room();
    let (eve, bob) = (house.connect(0, "eve"), house.connect(0, "bob"));
    let socket_id = crate::ids::SocketId::new([7; crate::ids::TOKEN_BYTES]).to_string();
    for (seat, room_id) in [(eve, socket_id.as_str()), (eve, "bob"), (bob, "bob"), (eve, "eve"), (eve, "/"), (eve, "*")]
    {
        for event in EventName::ALL {
            check(&mut house, seat, *event, &format!("\"{room_id}\""), to_an_outsider(*event));
        }
    }
}

#[test]
fn a3_fields_that_name_an_author_a_time_an_id_or_a_rank_change_nothing() {
    let lies = r#""userId":"ada","user":"ada","username":"Ada","id":"lie","_id":"0101010101010101010101ff","timestamp":1,
        "createdAt":1,"seq":999,"role":"admin","isAdmin":true,"delivered":true,"read":true,"__proto__":{"role":"admin"},
        "constructor":{"prototype":{}},"members":["eve"],"joined":true"#;
    for event in EventName::ALL {
        let all_that_is_heard = |lie: bool| {
            let mut house = busy_room();
            let eve = house.inside(0, "eve", "r");
            house.heard.clear();
            let honest = payload(*event, "\"r\"");
            let told = if lie { format!("{{{lies},{}", &honest[1..]) } else { honest };
            house.send(eve, event.as_str(), &told);
            house.heard
        };
        let (honest, lying) = (all_that_is_heard(false), all_that_is_heard(true));
        assert!(!honest.is_empty());
        assert_eq!(lying, honest, "{event:?}");
    }
}

#[test]
fn a4_a_receipt_is_for_a_message_of_that_room_and_of_somebody_else_and_in_ones_own_name() {
    let mut house = busy_room();
    let mallory = house.inside(0, "mallory", "another");
    house.send(mallory, "message:send", r#"{"roomId":"another","content":"bait"}"#);
    let of_another = MessageId([2; 12]);
    let eve = house.inside(1, "eve", "r");
    house.send(eve, "message:send", r#"{"roomId":"r","content":"my own"}"#);
    let own = MessageId([3; 12]);
    for status in ["delivered", "read"] {
        for (message, more, code) in [
            (of_another, "", "not_found"),
            (MessageId([0xee; 12]), "", "not_found"),
            (own, "", "bad_request"),
            (own, ",\"userId\":\"ada\"", "bad_request"),
            (of_another, ",\"conversationId\":\"another\"", "not_found"),
        ] {
            house.heard.clear();
            let receipt = format!("{{\"roomId\":\"r\",\"messageId\":\"{message}\",\"upTo\":true{more}}}");
            house.send(eve, &format!("message:{status}"), &receipt);
            let (heard, others) = house.heard_by(eve);
            assert_eq!(others, [], "{receipt}");
            assert!(heard.iter().all(|(_, args)| args.contains(code)), "{receipt} {heard:?}");
        }
        let receipt = format!("{{\"roomId\":\"r\",\"messageId\":\"{}\",\"userId\":\"bob\"}}", MessageId([1; 12]));
        house.send(eve, &format!("message:{status}"), &receipt);
        let (_, others) = house.heard_by(eve);
        assert_eq!(others.len(), 2);
        assert!(others.iter().all(|(_, _, args)| args.contains("\"userId\":\"eve\"")), "{others:?}");
    }
}
