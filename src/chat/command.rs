//! Client events: the one place where their JSON becomes a [`Command`].
//!
//! Owns the field names, the synonyms and the limits of what a client may send. Knows nothing of who may do it.
//! Fields that name an author, a time or an id are not even looked at.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::bearer::BearerToken;
use super::effect::{Page, PageRequest, ReceiptStatus};
use super::event::{Code, Failure};
use super::presence::Status;
use crate::ids::{MessageId, RoomId};

macro_rules! client_events {
    ($($variant:ident = $name:literal,)*) => {
        /// The name of an event that a client may send.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EventName {
            $(#[doc = concat!("`", $name, "`.")] $variant,)*
        }

        impl EventName {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            fn parse(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

// Who may do what is tested over this list, so that an event of which nobody said who may send it is not one.
client_events! {
    RoomJoin = "room:join",
    RoomLeave = "room:leave",
    MessageSend = "message:send",
    MessageHistory = "message:history",
    MessageDelivered = "message:delivered",
    MessageRead = "message:read",
    TypingStart = "typing:start",
    TypingStop = "typing:stop",
    PresenceUpdate = "presence:update",
    AuthRefresh = "auth:refresh",
}

/// What a client asks for, one variant per event (two where an event comes in a pair).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `room:join`.
    Join {
        /// Which room.
        room: RoomId,
        /// The last seq the client has.
        since: Option<i64>,
    },
    /// `room:leave`.
    Leave {
        /// Which room.
        room: RoomId,
    },
    /// `message:send`.
    Send(Send),
    /// `message:history`.
    History {
        /// Of which room.
        room: RoomId,
        /// Which part.
        request: PageRequest,
    },
    /// `typing:start` and `typing:stop`.
    Typing {
        /// Where.
        room: RoomId,
        /// Start or stop.
        is_typing: bool,
    },
    /// `message:delivered` and `message:read`.
    Receipt {
        /// The room of the message.
        room: RoomId,
        /// Which message.
        message: MessageId,
        /// Delivered or read.
        status: ReceiptStatus,
        /// Everything up to that message.
        up_to: bool,
    },
    /// `presence:update`.
    Presence(Status),
    /// `auth:refresh`.
    Refresh(BearerToken),
}

/// The fields of `message:send`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// Where to.
    pub room: RoomId,
    /// The text; empty only with attachments.
    pub content: String,
    /// `text` when not given.
    pub kind: String,
    /// A JSON array of objects.
    pub attachments: String,
    /// Raw JSON, a string or a number.
    pub temp_id: Option<String>,
    /// The key of idempotency.
    pub client_msg_id: Option<String>,
}

/// What an `error` event repeats, so that the client knows what it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The client's event.
    pub event: String,
    /// Its room, when it named one.
    pub room: Option<RoomId>,
    /// Its `tempId`, raw JSON.
    pub temp_id: Option<String>,
    /// Its `clientMsgId`.
    pub client_msg_id: Option<String>,
}

/// The limits that a deployment may set.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest `content`, in bytes of UTF-8.
    pub max_message_bytes: usize,
}

/// Attachments of one message: as many as the contract allows.
pub const MAX_ATTACHMENTS: usize = 10;
/// JSON text of one attachment, in bytes.
pub const MAX_ATTACHMENT_BYTES: usize = 4096;
/// JSON text of a `tempId`, in bytes; it is only echoed.
pub const MAX_TEMP_ID_BYTES: usize = 256;
/// Characters of a `clientMsgId`.
pub const MAX_CLIENT_MSG_ID_CHARS: usize = 64;
/// Characters of a message's `type`.
pub const MAX_KIND_CHARS: usize = 32;
/// Messages that `message:history` gives when the client names no number.
pub const DEFAULT_PAGE_MESSAGES: usize = 50;

/// Every field that any event takes, unread.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    #[serde(borrow)]
    room_id: Option<&'a RawValue>,
    #[serde(borrow)]
    conversation_id: Option<&'a RawValue>,
    #[serde(borrow)]
    since: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    attachments: Option<&'a RawValue>,
    #[serde(borrow)]
    temp_id: Option<&'a RawValue>,
    #[serde(borrow)]
    client_msg_id: Option<&'a RawValue>,
    #[serde(borrow)]
    message_id: Option<&'a RawValue>,
    #[serde(borrow)]
    up_to: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
    #[serde(borrow)]
    limit: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
}

impl Failure {
    /// The client's event is not what the contract says.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self { code: Code::BadRequest, message: message.into(), retry_after_ms: None }
    }

    fn too_large(message: String) -> Self {
        Self { code: Code::TooLarge, message, retry_after_ms: None }
    }
}

/// Reads the event `name` with its first argument. The context is filled in as far as the payload could be read, also
/// when the command could not.
///
/// # Errors
/// A [`Failure`] that says which field is wrong and what it takes; the fault is the client's.
pub fn parse(name: &str, argument: Option<&str>, limits: &Limits) -> (Context, Result<Command, Failure>) {
    let mut context = Context { event: shown_name(name), ..Context::default() };
    let command = read(name, argument, limits, &mut context);
    (context, command)
}

/// A name from the network, short and harmless enough to be echoed and logged.
fn shown_name(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn read(name: &str, argument: Option<&str>, limits: &Limits, context: &mut Context) -> Result<Command, Failure> {
    let event =
        EventName::parse(name).ok_or_else(|| Failure::bad_request(format!("Unknown event {}", context.event)))?;
    let payload: Payload<'_> = argument
        .filter(|text| text.starts_with('{'))
        .and_then(|text| serde_json::from_str(text).ok())
        .ok_or_else(|| Failure::bad_request(format!("{name} takes one object with each field at most once")))?;
    let echoes = echoes(&payload, context);
    let mut room = || -> Result<RoomId, Failure> {
        let room = room(&payload)?;
        context.room = Some(room.clone());
        echoes.clone().map(|()| room)
    };
    match event {
        EventName::RoomJoin => Ok(Command::Join { room: room()?, since: since(payload.since)? }),
        EventName::RoomLeave => Ok(Command::Leave { room: room()? }),
        EventName::TypingStart => Ok(Command::Typing { room: room()?, is_typing: true }),
        EventName::TypingStop => Ok(Command::Typing { room: room()?, is_typing: false }),
        EventName::MessageHistory => Ok(Command::History { room: room()?, request: page_request(&payload)? }),
        EventName::MessageDelivered => receipt(&payload, room()?, ReceiptStatus::Delivered),
        EventName::MessageRead => receipt(&payload, room()?, ReceiptStatus::Read),
        EventName::MessageSend => {
            let room = room()?;
            send(&payload, room, limits, context).map(Command::Send)
        }
        EventName::PresenceUpdate => {
            echoes?;
            status(payload.status).map(Command::Presence)
        }
        EventName::AuthRefresh => {
            echoes?;
            required(payload.token, "token", "a string").map(|token| Command::Refresh(BearerToken::new(token)))
        }
    }
}

/// A JSON `null` counts as a field not given, as JavaScript clients send both for "nothing".
fn given(field: Option<&RawValue>) -> Option<&str> {
    field.map(RawValue::get).filter(|text| *text != "null")
}

fn optional<'a, T: Deserialize<'a>>(
    field: Option<&'a RawValue>,
    name: &str,
    takes: &str,
) -> Result<Option<T>, Failure> {
    given(field)
        .map(|text| serde_json::from_str(text).map_err(|_| Failure::bad_request(format!("{name} must be {takes}"))))
        .transpose()
}

fn required<'a, T: Deserialize<'a>>(field: Option<&'a RawValue>, name: &str, takes: &str) -> Result<T, Failure> {
    optional(field, name, takes)?.ok_or_else(|| Failure::bad_request(format!("{name} is missing: it must be {takes}")))
}

fn room(payload: &Payload<'_>) -> Result<RoomId, Failure> {
    let field = if given(payload.room_id).is_some() { payload.room_id } else { payload.conversation_id };
    required(field, "roomId", "a string of 1 to 128 bytes without control characters, or an integer")
}

fn since(field: Option<&RawValue>) -> Result<Option<i64>, Failure> {
    const TAKES: &str = "a seq, 0 or greater";
    let since = optional(field, "since", TAKES)?;
    if since.is_some_and(|since| since < 0) {
        return Err(Failure::bad_request(format!("since must be {TAKES}")));
    }
    Ok(since)
}

fn page_request(payload: &Payload<'_>) -> Result<PageRequest, Failure> {
    const SEQ: &str = "a seq, an integer";
    const LIMIT: &str = "an integer from 1 to 200";
    let before = optional(payload.before, "before", SEQ)?;
    let after = optional(payload.after, "after", SEQ)?;
    let limit = optional(payload.limit, "limit", LIMIT)?.unwrap_or(DEFAULT_PAGE_MESSAGES);
    if !(1..=Page::MAX_MESSAGES).contains(&limit) {
        return Err(Failure::bad_request(format!("limit must be {LIMIT}")));
    }
    Ok(PageRequest { before, after, limit })
}

fn status(field: Option<&RawValue>) -> Result<Status, Failure> {
    required(field, "status", "one of online, away, busy, offline")
}

fn echoes(payload: &Payload<'_>, context: &mut Context) -> Result<(), Failure> {
    if let Some(text) = given(payload.temp_id) {
        let is_scalar = text.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
        if !is_scalar || text.len() > MAX_TEMP_ID_BYTES || !is_valid_unicode(text) {
            let takes = format!("tempId must be a string or a number of at most {MAX_TEMP_ID_BYTES} bytes");
            return Err(Failure::bad_request(takes));
        }
        context.temp_id = Some(text.to_owned());
    }
    let id: Option<String> = optional(payload.client_msg_id, "clientMsgId", "a string of 1 to 64 characters")?;
    if let Some(id) = id {
        let length = id.chars().count();
        if length == 0 || length > MAX_CLIENT_MSG_ID_CHARS || id.contains('\0') {
            return Err(Failure::bad_request("clientMsgId must be a string of 1 to 64 characters"));
        }
        context.client_msg_id = Some(id);
    }
    Ok(())
}

/// Raw JSON may hold escaped lone surrogates, which are no text and which no database would take.
fn is_valid_unicode(json: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(json).is_ok()
}

fn receipt(payload: &Payload<'_>, room: RoomId, status: ReceiptStatus) -> Result<Command, Failure> {
    const TAKES: &str = "the 24 hexadecimal digits of a message id";
    let text: String = required(payload.message_id, "messageId", TAKES)?;
    let message = MessageId::parse(&text).ok_or_else(|| Failure::bad_request(format!("messageId must be {TAKES}")))?;
    let up_to = optional(payload.up_to, "upTo", "true or false")?.unwrap_or(false);
    Ok(Command::Receipt { room, message, status, up_to })
}

fn send(payload: &Payload<'_>, room: RoomId, limits: &Limits, context: &Context) -> Result<Send, Failure> {
    let kind: String = optional(payload.kind, "type", "a string")?.unwrap_or_else(|| "text".to_owned());
    let kind_is_fine = (1..=MAX_KIND_CHARS).contains(&kind.len())
        && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b));
    if !kind_is_fine {
        return Err(Failure::bad_request("type must be 1 to 32 characters of a-z, 0-9, _ . -"));
    }
    let (attachments, count) = attachments(payload.attachments)?;
    let content: String = optional(payload.content, "content", "a string of valid Unicode")?.unwrap_or_default();
    if content.len() > limits.max_message_bytes {
        let most = limits.max_message_bytes;
        return Err(Failure::too_large(format!("content is longer than {most} bytes")));
    }
    if content.contains('\0') {
        return Err(Failure::bad_request("content must not contain the NUL character"));
    }
    if content.is_empty() && count == 0 {
        return Err(Failure::bad_request("content must not be empty unless there are attachments"));
    }
    let Context { temp_id, client_msg_id, .. } = context.clone();
    Ok(Send { room, content, kind, attachments, temp_id, client_msg_id })
}

fn attachments(field: Option<&RawValue>) -> Result<(String, usize), Failure> {
    let list: Vec<&RawValue> = optional(field, "attachments", "an array of objects")?.unwrap_or_default();
    if list.len() > MAX_ATTACHMENTS {
        return Err(Failure::too_large(format!("a message takes at most {MAX_ATTACHMENTS} attachments")));
    }
    for item in &list {
        if item.get().len() > MAX_ATTACHMENT_BYTES {
            return Err(Failure::too_large(format!(
                "an attachment takes at most {MAX_ATTACHMENT_BYTES} bytes of JSON"
            )));
        }
        match serde_json::from_str(item.get()) {
            Ok(serde_json::Value::Object(object)) if !object.contains_key("_placeholder") && !says_nul(item.get()) => {
                if object.get("data").is_some_and(|data| data.get("_placeholder").is_some()) {
                    return Err(Failure::bad_request(
                        "attachments with binary data are not available in this version of the server: send a url",
                    ));
                }
            }
            _ => return Err(Failure::bad_request("attachments must be an array of objects without NUL characters")),
        }
    }
    Ok((super::json::array(list.iter().map(|item| item.get().to_owned())), list.len()))
}

/// Whether a string in JSON text has the NUL character, which can only be written as an escape there. The text is looked
/// at, because of several members with one name a value keeps the last alone.
fn says_nul(json: &str) -> bool {
    let mut rest = json;
    while let Some((_, escape)) = rest.split_once('\\') {
        if escape.starts_with("u0000") {
            return true;
        }
        let mut characters = escape.chars();
        characters.next();
        rest = characters.as_str();
    }
    false
}

#[cfg(test)]
mod tests;
