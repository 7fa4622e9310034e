//! Client events as commands.
//!
//! Oracle: the contract's bounds, looked up in serde_json's reading of the same object; and objects made within those
//! bounds, which have to become the command that they say.

use alt_ws_pure::chat::command::{self, Command, Context, EventName, Limits};
use alt_ws_pure::chat::effect::ReceiptStatus;
use alt_ws_pure::chat::event::Failure;
use arbitrary::{Result, Unstructured};
use serde_json::{Value, json};

use crate::{json, values};

const LIMITS: Limits = Limits { max_message_bytes: 64 };

/// The first byte chooses the event, or one that does not exist. The rest is its argument; or, with the highest bit set,
/// what a good argument is made of.
pub fn check(input: &[u8]) {
    let Some((choice, data)) = input.split_first() else { return };
    let event = EventName::ALL.get(usize::from(choice & 0x0f));
    if choice & 0x80 != 0
        && let Some(event) = event
    {
        let _data_was_enough = check_good(*event, &mut Unstructured::new(data));
    } else if let Ok(text) = str::from_utf8(data) {
        let name = event.map_or(text, |event| event.as_str());
        let (context, command) = command::parse(name, Some(text), &LIMITS);
        let again = command::parse(name, Some(text), &LIMITS);
        assert!(context == again.0 && verdict(&command) == verdict(&again.1), "the same event, twice");
        check_context(&context, text);
        match command {
            Ok(command) => check_command(name, &command, &context, text),
            Err(failure) => assert!(!failure.message.is_empty() && failure.retry_after_ms.is_none()),
        }
        assert!(command::parse(name, None, &LIMITS).1.is_err(), "an event without its argument");
    }
}

fn verdict(command: &std::result::Result<Command, Failure>) -> std::result::Result<&Command, String> {
    command.as_ref().map_err(|failure| format!("{failure:?}"))
}

fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn check_context(context: &Context, argument: &str) {
    assert!(context.event.chars().count() <= 64 && !context.event.chars().any(char::is_control));
    assert!(context.room.as_ref().is_none_or(|room| is_id(room.as_str())));
    if let Some(id) = &context.client_msg_id {
        assert!((1..=64).contains(&id.chars().count()) && !id.contains('\0'));
    }
    if let Some(temp_id) = &context.temp_id {
        let value: Value = serde_json::from_str(temp_id).expect("a tempId is written into JSON as it is");
        assert!((value.is_string() || value.is_number()) && temp_id.len() <= 256);
        assert!(argument.contains(temp_id.as_str()));
    }
}

fn check_command(name: &str, command: &Command, context: &Context, argument: &str) {
    // What may be a number too large, or half a surrogate pair, in a field that no command has.
    let object: Option<Value> = serde_json::from_str(argument).ok();
    let field = |name: &str| object.as_ref().and_then(|object| object.get(name)).filter(|value| !value.is_null());
    let room = field("roomId").or(field("conversationId"));
    let names = |id: &str| match room {
        Some(Value::String(text)) => text == id,
        Some(number) => number.as_i64().map(|number| number.to_string()).as_deref() == Some(id),
        None => object.is_none(),
    };
    match command {
        Command::Join { room, since } => {
            assert!(name == "room:join" && names(room.as_str()) && is_id(room.as_str()));
            assert!(since.is_none_or(|since| since >= 0));
        }
        Command::Leave { room } => assert!(name == "room:leave" && names(room.as_str()) && is_id(room.as_str())),
        Command::Typing { room, is_typing } => {
            assert_eq!(name, if *is_typing { "typing:start" } else { "typing:stop" });
            assert!(names(room.as_str()) && is_id(room.as_str()));
        }
        Command::History { room, request } => {
            assert!(name == "message:history" && names(room.as_str()) && is_id(room.as_str()));
            assert!((1..=200).contains(&request.limit));
        }
        Command::Receipt { room, message, status, up_to } => {
            let expected = if *status == ReceiptStatus::Read { "message:read" } else { "message:delivered" };
            assert!(name == expected && names(room.as_str()) && is_id(room.as_str()));
            if object.is_some() {
                let written = field("messageId").and_then(Value::as_str).expect("a receipt names its message");
                assert_eq!(written.to_lowercase(), message.to_string());
                assert_eq!(field("upTo").is_some_and(|up_to| *up_to == Value::Bool(true)), *up_to);
            }
        }
        Command::Presence(_) => assert_eq!(name, "presence:update"),
        Command::Refresh(token) => {
            assert_eq!(name, "auth:refresh");
            assert!(object.is_none() || field("token").and_then(Value::as_str) == Some(token.reveal()));
        }
        Command::Send(send) => {
            assert!(name == "message:send" && names(send.room.as_str()) && is_id(send.room.as_str()));
            check_send(send, context);
            if object.is_some() {
                assert_eq!(field("content").and_then(Value::as_str).unwrap_or_default(), send.content);
                assert_eq!(field("type").and_then(Value::as_str).unwrap_or("text"), send.kind);
                assert_eq!(field("clientMsgId").and_then(Value::as_str), send.client_msg_id.as_deref());
            }
        }
    }
}

/// What the contract says of a message.
fn check_send(send: &command::Send, context: &Context) {
    assert!(send.content.len() <= LIMITS.max_message_bytes && !send.content.contains('\0'));
    let kind_is_fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
    assert!((1..=32).contains(&send.kind.len()) && send.kind.bytes().all(kind_is_fine));
    let list = send.attachments.strip_prefix('[').and_then(|list| list.strip_suffix(']')).expect("an array");
    let attachments = json::values(list).expect("attachments are a JSON array");
    assert!(attachments.len() <= 10 && (!send.content.is_empty() || !attachments.is_empty()));
    for attachment in &attachments {
        let value: Value = serde_json::from_str(attachment).expect("an attachment is JSON");
        assert!(value.is_object() && !says_nul(&value) && attachment.len() <= 4096, "{attachment}");
    }
    assert_eq!((&send.temp_id, &send.client_msg_id), (&context.temp_id, &context.client_msg_id));
}

fn says_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(says_nul),
        Value::Object(members) => members.iter().any(|(key, value)| key.contains('\0') || says_nul(value)),
        _ => false,
    }
}

/// Makes an argument that the contract allows, with fields that mean nothing among those that do.
fn check_good(event: EventName, u: &mut Unstructured<'_>) -> Result<()> {
    let id = match values::text(u, 128)? {
        id if is_id(&id) => json!(id),
        _ => json!(u.arbitrary::<i64>()?),
    };
    let text = match &id {
        Value::String(text) => text.clone(),
        number => number.to_string(),
    };
    let mut object = json!({"roomId": id, "userId": "somebody else", "seq": 1, "timestamp": values::any(u, 3)?});
    if u.arbitrary()? {
        object["conversationId"] = object["roomId"].take();
    }
    let content = values::text(u, LIMITS.max_message_bytes)?.replace('\0', "0");
    let key: String = values::text(u, 256)?.replace('\0', "0").chars().take(64).collect();
    let message = u.arbitrary::<[u8; 12]>()?.map(|byte| format!("{byte:02x}")).concat();
    let (since, limit, flag) = (u.int_in_range(0..=i64::MAX)?, u.int_in_range(1..=200)?, u.arbitrary::<bool>()?);
    let attachments = (0..u.int_in_range(u8::from(content.is_empty())..=10)?)
        .map(|_| Ok(json!({"url": values::text(u, 100)?.replace('\0', "0")})))
        .collect::<Result<Vec<_>>>()?;
    let fields = json!({
        "content": content, "attachments": attachments, "tempId": since, "messageId": message, "since": since,
        "before": since, "after": null, "limit": limit, "upTo": flag, "status": "away", "type": null,
        "token": key,
    });
    object
        .as_object_mut()
        .into_iter()
        .zip(fields.as_object())
        .for_each(|(object, fields)| object.extend(fields.clone()));
    if !key.is_empty() {
        object["clientMsgId"] = json!(key);
    }

    let (context, command) = command::parse(event.as_str(), Some(&object.to_string()), &LIMITS);
    let command = command.unwrap_or_else(|failure| panic!("{failure:?} of {object}"));
    check_context(&context, &object.to_string());
    check_command(event.as_str(), &command, &context, &object.to_string());
    assert_eq!(context.temp_id, Some(since.to_string()));
    assert_eq!(context.client_msg_id.as_deref().unwrap_or_default(), key);
    assert!(context.room.is_none_or(|room| room.as_str() == text && room.is_numeric() == id.is_i64()));
    match command {
        Command::Send(send) => {
            assert_eq!(send.content, content);
            assert_eq!(serde_json::from_str::<Value>(&send.attachments).ok(), Some(json!(attachments)));
        }
        Command::Join { since: read, .. } => assert_eq!(read, Some(since)),
        Command::History { request, .. } => {
            assert_eq!((request.before, request.after, request.limit), (Some(since), None, limit));
        }
        Command::Receipt { message: read, up_to, .. } => assert_eq!((read.to_string(), up_to), (message, flag)),
        Command::Refresh(token) => assert_eq!(token.reveal(), key),
        Command::Leave { .. } | Command::Typing { .. } | Command::Presence(_) => {}
    }
    Ok(())
}
