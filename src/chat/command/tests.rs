use super::*;

const LIMITS: Limits = Limits { max_message_bytes: 100 };

fn command(name: &str, json: &str) -> Result<Command, Code> {
    parse(name, Some(json), &LIMITS).1.map_err(|failure| failure.code)
}

fn room(text: &str) -> RoomId {
    RoomId::from_text(text).unwrap()
}

fn text_message(content: &str) -> Send {
    Send {
        room: room("r"),
        content: content.to_owned(),
        kind: "text".to_owned(),
        attachments: "[]".to_owned(),
        temp_id: None,
        client_msg_id: None,
    }
}

#[test]
fn every_event_of_the_contract_becomes_its_command() {
    let id = "65b0f1a2c3d4e5f601020304";
    let message = MessageId::parse(id).unwrap();
    let receipt = |status, up_to| Command::Receipt { room: room("r"), message, status, up_to };
    let history =
        |before, after, limit| Command::History { room: room("r"), request: PageRequest { before, after, limit } };
    let cases = [
        ("room:join", r#"{"roomId":"r"}"#.to_owned(), Command::Join { room: room("r"), since: None }),
        ("room:join", r#"{"roomId":5,"since":7}"#.to_owned(), Command::Join { room: room("5"), since: Some(7) }),
        ("message:history", r#"{"roomId":"r"}"#.to_owned(), history(None, None, 50)),
        (
            "message:history",
            r#"{"conversationId":"r","before":-3,"after":null,"limit":1}"#.to_owned(),
            history(Some(-3), None, 1),
        ),
        (
            "message:history",
            r#"{"roomId":"r","before":9223372036854775807,"after":-9223372036854775808,"limit":200}"#.to_owned(),
            history(Some(i64::MAX), Some(i64::MIN), 200),
        ),
        ("room:leave", r#"{"conversationId":"r"}"#.to_owned(), Command::Leave { room: room("r") }),
        ("typing:start", r#"{"roomId":"r"}"#.to_owned(), Command::Typing { room: room("r"), is_typing: true }),
        ("typing:stop", r#"{"roomId":"r"}"#.to_owned(), Command::Typing { room: room("r"), is_typing: false }),
        ("message:send", r#"{"roomId":"r","content":"hi"}"#.to_owned(), Command::Send(text_message("hi"))),
        (
            "message:delivered",
            format!(r#"{{"roomId":"r","messageId":"{id}"}}"#),
            receipt(ReceiptStatus::Delivered, false),
        ),
        (
            "message:read",
            format!(r#"{{"roomId":"r","messageId":"{id}","upTo":true}}"#),
            receipt(ReceiptStatus::Read, true),
        ),
        ("presence:update", r#"{"status":"busy"}"#.to_owned(), Command::Presence(Status::Busy)),
    ];
    for (name, json, expected) in cases {
        assert_eq!(command(name, &json), Ok(expected), "{name} {json}");
    }
}

#[test]
fn room_id_wins_over_its_synonym_and_null_counts_as_absent() {
    for json in [r#"{"roomId":"r","conversationId":"x"}"#, r#"{"roomId":null,"conversationId":"r"}"#] {
        assert_eq!(command("room:leave", json), Ok(Command::Leave { room: room("r") }), "{json}");
    }
}

#[test]
fn a_message_keeps_its_attachments_and_echoes_as_they_came() {
    let json = r#"{"roomId":"r","attachments":[{"url":"u","size":1.50}],"tempId":1e2,"clientMsgId":"c","userId":9}"#;
    let Ok(Command::Send(send)) = command("message:send", json) else { panic!("no send") };
    assert_eq!(send.attachments, r#"[{"url":"u","size":1.50}]"#);
    assert_eq!(send.temp_id.as_deref(), Some("1e2"));
    assert_eq!(send.client_msg_id.as_deref(), Some("c"));
    // A backslash and five characters, which are no NUL.
    let json = r#"{"roomId":"r","attachments":[{"path":"C:\\u0000"}]}"#;
    assert!(matches!(command("message:send", json), Ok(Command::Send(_))));
}

#[test]
fn what_the_contract_does_not_take_is_refused_with_its_code() {
    let long = "x".repeat(101);
    let many = ["{}"; 11].join(",");
    let cases = [
        ("message:send", r#"{"roomId":"r"}"#.to_owned(), Code::BadRequest),
        ("message:send", r#"{"roomId":"r","content":""}"#.to_owned(), Code::BadRequest),
        ("message:send", r#"{"roomId":"r","content":5}"#.to_owned(), Code::BadRequest),
        ("message:send", r#"{"roomId":"r","content":"\ud800"}"#.to_owned(), Code::BadRequest),
        ("message:send", r#"{"roomId":"r","content":"a\u0000"}"#.to_owned(), Code::BadRequest),
        ("message:send", format!(r#"{{"roomId":"r","content":"{long}"}}"#), Code::TooLarge),
        ("message:send", r#"{"roomId":"r","content":"a","type":"A"}"#.to_owned(), Code::BadRequest),
        ("message:send", r#"{"roomId":"r","content":"a","type":""}"#.to_owned(), Code::BadRequest),
        ("message:send", r#"{"roomId":"r","content":"a","tempId":{}}"#.to_owned(), Code::BadRequest),
        ("message:send", r#"{"roomId":"r","content":"a","tempId":"\udfff"}"#.to_owned(), Code::BadRequest),
        ("message:send", r#"{"roomId":"r","content":"a","clientMsgId":""}"#.to_owned(), Code::BadRequest),
        ("message:send", format!(r#"{{"roomId":"r","content":"a","clientMsgId":"{long}"}}"#), Code::BadRequest),
        ("message:send", r#"{"roomId":"r","attachments":["x"]}"#.to_owned(), Code::BadRequest),
        ("message:send", r#"{"roomId":"r","attachments":[{"a":"\u0000"}]}"#.to_owned(), Code::BadRequest),
        ("message:send", r#"{"roomId":"r","attachments":[{"a":"\u0000","a":1}]}"#.to_owned(), Code::BadRequest),
        ("message:send", r#"{"roomId":"r","attachments":[{"b":{"\u0000":1}}]}"#.to_owned(), Code::BadRequest),
        (
            "message:send",
            r#"{"roomId":"r","attachments":[{"data":{"_placeholder":true,"num":0}}]}"#.to_owned(),
            Code::BadRequest,
        ),
        ("message:send", format!(r#"{{"roomId":"r","attachments":[{many}]}}"#), Code::TooLarge),
        ("message:send", format!(r#"{{"roomId":"r","attachments":[{{"a":"{}"}}]}}"#, "y".repeat(5000)), Code::TooLarge),
        ("room:join", "{}".to_owned(), Code::BadRequest),
        ("room:join", r#"{"roomId":{"$ne":1}}"#.to_owned(), Code::BadRequest),
        ("room:join", r#"{"roomId":"r","since":-1}"#.to_owned(), Code::BadRequest),
        ("room:join", r#"{"roomId":"r","roomId":"s"}"#.to_owned(), Code::BadRequest),
        ("room:join", r#"["r"]"#.to_owned(), Code::BadRequest),
        ("message:read", r#"{"roomId":"r","messageId":"5"}"#.to_owned(), Code::BadRequest),
        ("presence:update", r#"{"status":"asleep"}"#.to_owned(), Code::BadRequest),
        ("message:history", "{}".to_owned(), Code::BadRequest),
        ("auth:refresh", "{}".to_owned(), Code::BadRequest),
        ("auth:refresh", r#"{"token":null}"#.to_owned(), Code::BadRequest),
        ("auth:refresh", r#"{"token":5}"#.to_owned(), Code::BadRequest),
        ("auth:refresh", r#"{"token":{"$ne":null}}"#.to_owned(), Code::BadRequest),
        ("auth:refresh", r#"{"token":"a","token":"b"}"#.to_owned(), Code::BadRequest),
        ("__proto__", "{}".to_owned(), Code::BadRequest),
    ];
    for (name, json, code) in cases {
        assert_eq!(command(name, &json), Err(code), "{name} {json}");
    }
    assert!(parse("room:join", None, &LIMITS).1.is_err(), "no argument at all");
}

#[test]
fn a_page_takes_whole_numbers_and_the_refusal_says_which() {
    for (field, takes) in [
        (r#""before":"5""#, "before must be a seq, an integer"),
        (r#""before":1.5"#, "before must be a seq, an integer"),
        (r#""after":9223372036854775808"#, "after must be a seq, an integer"),
        (r#""after":[]"#, "after must be a seq, an integer"),
        (r#""limit":0"#, "limit must be an integer from 1 to 200"),
        (r#""limit":201"#, "limit must be an integer from 1 to 200"),
        (r#""limit":-1"#, "limit must be an integer from 1 to 200"),
        (r#""limit":"50""#, "limit must be an integer from 1 to 200"),
    ] {
        let json = format!(r#"{{"roomId":"r",{field}}}"#);
        assert_eq!(parse("message:history", Some(&json), &LIMITS).1, Err(Failure::bad_request(takes)), "{json}");
    }
}

#[test]
fn the_context_tells_what_an_error_is_about() {
    let json = r#"{"roomId":"r","content":"","tempId":"t","clientMsgId":"c"}"#;
    let (context, result) = parse("message:send", Some(json), &LIMITS);
    assert!(result.is_err());
    assert_eq!(context.room, Some(room("r")));
    assert_eq!(context.temp_id.as_deref(), Some("\"t\""));
    assert_eq!(context.client_msg_id.as_deref(), Some("c"));
    let (context, _) = parse("a\r\n\u{1b}[31mb", None, &LIMITS);
    assert_eq!(context.event, "a[31mb");
}
