//! What reaches whoever was in the room, or would have been.

use super::*;

#[test]
fn a6_nothing_of_a_burst_is_delivered_to_whoever_was_removed_in_the_middle_of_it() {
    for core in [0, 1] {
        let mut house = busy_room();
        let (eve, ada) = (house.inside(core, "eve", "r"), house.inside(0, "ada", "r"));
        for number in 0..100 {
            if number == 50 {
                house.remove("r", "eve");
                let (heard, _) = house.heard_by(eve);
                assert_eq!(heard.iter().filter(|(name, _)| name == "message:new").count(), 50);
            }
            house.send(ada, "message:send", r#"{"roomId":"r","content":"a secret"}"#);
        }
        house.send(eve, "room:join", r#"{"roomId":"r","since":0}"#);
        house.send(eve, "message:history", r#"{"roomId":"r"}"#);
        let (heard, others) = house.heard_by(eve);
        assert!(heard.iter().all(|(_, args)| args.contains("access_denied")), "{heard:?}");
        assert_eq!(others.iter().filter(|(_, name, _)| name == "message:new").count(), 50 * 3, "everybody else does");
    }
}

#[test]
fn a6_what_the_store_had_said_before_somebody_was_removed_is_not_told_afterwards() {
    let mut house = busy_room();
    house.member("r", "eve");
    let (core, eve) = house.connect(1, "eve");
    for leaves in [false, true] {
        let event = Event {
            name: "room:join".into(),
            args: Args::from_raw(r#"{"roomId":"r","since":0}"#),
            attachments: vec![],
        };
        let (now, mut out) = (house.now(), Vec::new());
        house.chats[core].event(eve, event, Some(AckId(1)), now, &mut out);
        let record = out.iter().find_map(|effect| if let Effect::Store(record) = effect { Some(record) } else { None });
        let origin = record.unwrap().origin;
        house.remove("r", "eve");
        if leaves {
            house.send((core, eve), "room:leave", r#"{"roomId":"r"}"#);
        }
        house.heard.clear();
        let message = house.messages[&MessageId([1; 12])].clone();
        let missed = Missed { messages: vec![Message::clone(&message)], complete: true };
        let (room, user) = (RoomId::from_text("r").unwrap(), UserId::from_text("eve").unwrap());
        let joined = Joined { room, user, seq: 1, unread: 1, missed: Some(missed) };
        let (now, mut out) = (house.now(), Vec::new());
        let outcome = Outcome { origin, result: Ok(Committed::Joined(joined)) };
        house.chats[core].outcome(outcome, Online::default(), now, &mut out);
        house.perform(core, out);
        let (heard, others) = house.heard_by((core, eve));
        assert_eq!(
            heard,
            [(
                "ack".to_owned(),
                r#"{"ok":false,"error":{"code":"access_denied","message":"Access denied to this room"}}"#.to_owned()
            )]
        );
        assert_eq!(others, []);
    }
    assert!(house.chats[core].requests.is_empty() && house.chats[core].sockets[&eve].joining.is_empty());
}

#[test]
fn a6_typing_without_having_joined_ends_with_the_membership() {
    let mut house = busy_room();
    house.member("r", "eve");
    let eve = house.connect(1, "eve");
    house.send(eve, "typing:start", r#"{"roomId":"r"}"#);
    house.heard.clear();
    house.remove("r", "eve");
    let (_, others) = house.heard_by(eve);
    assert_eq!(others.len(), 2);
    assert!(others.iter().all(|(_, name, args)| name == "typing:user" && args.contains("\"isTyping\":false")));
}

/// The same connection, left and entered again with another token before the store had answered.
#[test]
fn a6_what_one_user_asked_for_is_not_given_to_the_next_one_on_the_same_connection() {
    for (asked, committed) in
        [("room:join", "joined"), ("typing:start", "access"), ("message:history", "page"), ("message:send", "refusal")]
    {
        let mut house = busy_room();
        house.member("r", "eve");
        let (core, socket) = house.connect(0, "eve");
        let raw = payload(if asked == "room:join" { EventName::RoomJoin } else { EventName::MessageSend }, "\"r\"");
        let event = Event { name: asked.into(), args: Args::from_raw(&raw), attachments: vec![] };
        let (now, mut out) = (house.now(), Vec::new());
        house.chats[core].event(socket, event, Some(AckId(1)), now, &mut out);
        let record = out.into_iter().find_map(|effect| match effect {
            Effect::Store(record) => Some(record),
            _ => None,
        });
        let record = record.unwrap();

        let mut out = Vec::new();
        house.chats[core].disconnect(socket, Departure::Left, now, &mut out);
        let claims = Claims::new(UserId::from_text("mallory").unwrap(), Arc::from("m"));
        house.chats[core].connect(socket, ConnectRequest { claims: Some(claims), payload: None }, now, &mut out);
        house.perform(core, out);
        house.heard.clear();

        let result = match committed {
            "refusal" => Err(Refusal::Busy),
            _ => house.answer(&record.body),
        };
        let mut out = Vec::new();
        let outcome = Outcome { origin: record.origin, result };
        house.chats[core].outcome(outcome, Online::default(), now, &mut out);
        house.perform(core, out);
        assert_eq!(house.heard, [], "{asked}");
        let ada = house.inside(1, "ada", "r");
        house.send(ada, "message:send", r#"{"roomId":"r","content":"a secret"}"#);
        let (heard, _) = house.heard_by((core, socket));
        assert_eq!(heard, [], "mallory, who is no member, is in the room after {asked}");
        assert!(house.chats[core].requests.is_empty());
        assert!(house.chats[core].members(&RoomId::from_text("r").unwrap()).iter().all(|member| *member != socket));
    }
}

#[test]
fn a6_what_one_user_asked_for_is_told_to_nobody_when_the_next_one_is_gone_as_well() {
    let asked = [EventName::RoomJoin, EventName::MessageSend, EventName::MessageHistory, EventName::TypingStart];
    for (asked, goes) in asked.into_iter().flat_map(|asked| [(asked, Departure::Left), (asked, Departure::Lost)]) {
        let mut house = busy_room();
        house.member("r", "eve");
        let (core, socket) = house.connect(0, "eve");
        let raw = payload(asked, "\"r\"");
        let event = Event { name: asked.as_str().into(), args: Args::from_raw(&raw), attachments: vec![] };
        let (now, mut out) = (house.now(), Vec::new());
        house.chats[core].event(socket, event, Some(AckId(1)), now, &mut out);
        let record = out.iter().find_map(|effect| if let Effect::Store(record) = effect { Some(record) } else { None });
        let record = record.unwrap().clone();
        let claims = Claims::new(UserId::from_text("mallory").unwrap(), Arc::from("m"));
        house.chats[core].disconnect(socket, Departure::Left, now, &mut out);
        house.chats[core].connect(socket, ConnectRequest { claims: Some(claims), payload: None }, now, &mut out);
        house.chats[core].disconnect(socket, goes, now, &mut out);

        let (mut out, result) = (Vec::new(), house.answer(&record.body));
        house.chats[core].outcome(Outcome { origin: record.origin, result }, Online::default(), now, &mut out);
        assert!(!out.iter().any(|effect| matches!(effect, Effect::Ack { .. } | Effect::Emit { .. })), "{out:?}");
        house.heard.clear();
        house.perform(core, out);
        assert_eq!(house.heard, [], "{asked:?}");
    }
}

#[test]
fn whoever_lost_the_connection_is_still_told_what_they_asked_for() {
    let mut house = busy_room();
    let (core, socket) = house.inside(0, "eve", "r");
    let raw = payload(EventName::MessageSend, "\"r\"");
    let event = Event { name: "message:send".into(), args: Args::from_raw(&raw), attachments: vec![] };
    let (now, mut out) = (house.now(), Vec::new());
    house.chats[core].event(socket, event, None, now, &mut out);
    house.chats[core].disconnect(socket, Departure::Lost, now, &mut out);
    house.heard.clear();
    house.perform(core, out);
    let (heard, _) = house.heard_by((core, socket));
    assert_eq!(heard.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["message:ack"], "{heard:?}");
}

#[test]
fn a6_a_user_who_comes_on_a_connection_of_another_is_not_shown_to_their_contacts() {
    let mut house = House::new();
    let socket = SocketKey { connection: ConnectionKey { index: 9, generation: 0 }, namespace: NamespaceId(0) };
    let (now, mut asked) = (house.now(), Vec::new());
    for user in ["eve", "mallory"] {
        let claims = Claims::new(UserId::from_text(user).unwrap(), Arc::from(user));
        house.chats[0].connect(socket, ConnectRequest { claims: Some(claims), payload: None }, now, &mut asked);
        if user == "eve" {
            house.chats[0].disconnect(socket, Departure::Left, now, &mut asked);
        }
    }
    let origins =
        asked.iter().filter_map(|effect| if let Effect::Store(record) = effect { Some(record.origin) } else { None });
    let [of_eve, of_mallory] = origins.collect::<Vec<_>>().try_into().unwrap();
    let mut arrivals = |origin, room: &str| {
        let rooms = vec![RoomId::from_text(room).unwrap()];
        let outcome = Outcome { origin, result: Ok(Committed::Conversations(rooms.clone())) };
        let mut out = Vec::new();
        house.chats[0].outcome(outcome, Online::default(), now, &mut out);
        out.into_iter().map(|effect| format!("{effect:?}")).collect::<Vec<_>>()
    };
    assert_eq!(arrivals(of_eve, "eves room"), [] as [String; 0]);
    let arrived = arrivals(of_mallory, "mallorys room");
    assert_eq!(arrived.len(), 1);
    assert!(arrived[0].contains("mallorys room") && arrived[0].contains("UserId(\"mallory\")"), "{arrived:?}");
}

#[test]
fn a6_a_removal_before_the_conversations_are_known_is_not_undone_by_an_answer_from_before() {
    let mut house = House::new();
    let socket = SocketKey { connection: ConnectionKey { index: 9, generation: 0 }, namespace: NamespaceId(0) };
    let (now, mut out) = (house.now(), Vec::new());
    let claims = Claims::new(UserId::from_text("eve").unwrap(), Arc::from("eve"));
    house.chats[0].connect(socket, ConnectRequest { claims: Some(claims), payload: None }, now, &mut out);
    let Some(Effect::Store(record)) = out.pop() else { panic!("nothing was asked") };
    house.remove("r", "eve");
    let rooms = ["r", "s"].map(|room| RoomId::from_text(room).unwrap()).to_vec();
    let outcome = Outcome { origin: record.origin, result: Ok(Committed::Conversations(rooms)) };
    house.chats[0].outcome(outcome, Online::default(), now, &mut out);
    let [Effect::Presence { change: PresenceChange::Arrived { conversations }, .. }] = &out[..] else {
        panic!("{out:?}")
    };
    assert_eq!(conversations.iter().map(RoomId::as_str).collect::<Vec<_>>(), ["s"]);
}
