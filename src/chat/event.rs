//! Server events: what each one carries and how it is written as JSON.
//!
//! Owns the field names and their order on the wire. Knows nothing of who receives an event.

use std::sync::Arc;

use serde::Serialize;

use super::command::Context;
use super::effect::{Joined, OutEvent, Page, Receipted};
use super::json::{self, Object};
use super::presence::Status;
use crate::ids::{MessageId, RoomId, Timestamp, UserId};

/// A stored message, as `message:new`, `missed` and the history show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The message's id.
    pub id: MessageId,
    /// The conversation, in the form its sender used.
    pub room: RoomId,
    /// The author.
    pub user: UserId,
    /// The author's name when it was sent.
    pub username: Arc<str>,
    /// The text.
    pub content: String,
    /// `text` or what the sender chose.
    pub kind: String,
    /// A JSON array.
    pub attachments: String,
    /// When it was stored.
    pub timestamp: Timestamp,
    /// Its place in the conversation: 1, 2, 3 …; 0, -1, -2 … back in time for the messages that the replaced service
    /// stored without one.
    pub seq: i64,
    /// Echo of the sender's `tempId`, raw JSON; not stored.
    pub temp_id: Option<String>,
    /// The sender's `clientMsgId`.
    pub client_msg_id: Option<String>,
    /// Whether somebody else received it.
    pub delivered: bool,
    /// Whether somebody else read it.
    pub read: bool,
}

/// The machine-readable part of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Not a member.
    AccessDenied,
    /// The payload is not what the event takes.
    BadRequest,
    /// No such message.
    NotFound,
    /// A limit on size.
    TooLarge,
    /// Too many events; `retryAfter` says when to come back.
    RateLimited,
    /// A queue is full; nothing was stored.
    Busy,
    /// A store is down; nothing was stored.
    Unavailable,
    /// The disk is full; nothing was stored.
    StorageFull,
    /// The token's time is over.
    TokenExpired,
    /// Our fault.
    Internal,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::AccessDenied,
        Self::BadRequest,
        Self::NotFound,
        Self::TooLarge,
        Self::RateLimited,
        Self::Busy,
        Self::Unavailable,
        Self::StorageFull,
        Self::TokenExpired,
        Self::Internal,
    ];

    /// As clients read it, and the counters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::BadRequest => "bad_request",
            Self::NotFound => "not_found",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::StorageFull => "storage_full",
            Self::TokenExpired => "token_expired",
            Self::Internal => "internal",
        }
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Who is there, for `room:joined`.
#[derive(Clone, Debug, Default)]
pub struct Online {
    /// Up to [`Online::MAX_LISTED`] members who are online, away or busy.
    pub listed: Vec<OnlineUser>,
    /// How many there are in all.
    pub count: usize,
}

impl Online {
    /// As many as the contract lists; a larger room gives the rest as a number.
    pub const MAX_LISTED: usize = 100;
}

/// One entry of [`Online`].
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OnlineUser {
    /// Who.
    pub user_id: UserId,
    /// Their name.
    pub username: Arc<str>,
    /// Their status.
    pub status: Status,
}

impl OutEvent {
    fn new(name: &'static str, args: Object) -> Self {
        Self { name: name.into(), args: args.finish(), attachments: Vec::new() }
    }
}

/// `room:joined`, to the one who joined.
#[must_use]
pub fn room_joined(joined: &Joined, online: &Online, at: Timestamp) -> OutEvent {
    OutEvent::new("room:joined", joined_fields(Object::with_capacity(256), joined, online, at))
}

/// The ack of `room:join`: the same fields after `ok`.
#[must_use]
pub fn joined_ack(joined: &Joined, online: &Online, at: Timestamp) -> String {
    joined_fields(Object::with_capacity(256).field("ok", &true), joined, online, at).finish()
}

fn joined_fields(object: Object, joined: &Joined, online: &Online, at: Timestamp) -> Object {
    let object = object
        .field("roomId", &joined.room)
        .field("timestamp", &at)
        .field("seq", &joined.seq)
        .field("unread", &joined.unread)
        .field("online", &online.listed)
        .field("onlineCount", &online.count);
    match &joined.missed {
        None => object,
        Some(missed) => {
            object.raw("missed", &message_array(&missed.messages)).field("missedComplete", &missed.complete)
        }
    }
}

/// `user:joined`, to the others in the room.
#[must_use]
pub fn user_joined(user: &UserId, username: &str, room: &RoomId, at: Timestamp) -> OutEvent {
    OutEvent::new("user:joined", user_fields(user, username).field("roomId", room).field("timestamp", &at))
}

/// `user:left`, to the others in the room.
#[must_use]
pub fn user_left(user: &UserId, username: &str, room: &RoomId, at: Timestamp) -> OutEvent {
    OutEvent::new("user:left", user_fields(user, username).field("roomId", room).field("timestamp", &at))
}

fn user_fields(user: &UserId, username: &str) -> Object {
    Object::with_capacity(128).field("userId", user).field("username", username)
}

/// `message:new`, to everyone in the room.
#[must_use]
pub fn message_new(message: &Message) -> OutEvent {
    OutEvent::new("message:new", message_object(message))
}

/// The ack of `message:history`.
#[must_use]
pub fn history_ack(room: &RoomId, page: &Page) -> String {
    Object::with_capacity(256)
        .field("ok", &true)
        .field("roomId", room)
        .raw("messages", &message_array(&page.messages))
        .field("hasMore", &page.has_more)
        .finish()
}

fn message_array(messages: &[Message]) -> String {
    json::array(messages.iter().map(|message| message_object(message).finish()))
}

fn message_object(message: &Message) -> Object {
    Object::with_capacity(384 + message.content.len() + message.attachments.len())
        .field("_id", &message.id)
        .field("id", &message.id)
        .field("conversationId", &message.room)
        .field("userId", &message.user)
        .field("username", &*message.username)
        .field("content", &message.content)
        .field("type", &message.kind)
        .raw("attachments", &message.attachments)
        .field("timestamp", &message.timestamp)
        .field("delivered", &message.delivered)
        .field("read", &message.read)
        .field("seq", &message.seq)
        .optional_raw("tempId", message.temp_id.as_deref())
        .optional("clientMsgId", message.client_msg_id.as_ref())
}

/// `message:ack`, to the sender.
#[must_use]
pub fn message_ack(message: &Message) -> OutEvent {
    OutEvent::new("message:ack", message_ack_fields(Object::with_capacity(192), message))
}

/// The ack of `message:send`: the same fields after `ok`.
#[must_use]
pub fn message_ack_reply(message: &Message) -> String {
    message_ack_fields(Object::with_capacity(192).field("ok", &true), message).finish()
}

fn message_ack_fields(object: Object, message: &Message) -> Object {
    object
        .optional_raw("tempId", message.temp_id.as_deref())
        .field("messageId", &message.id)
        .field("timestamp", &message.timestamp)
        .field("seq", &message.seq)
        .optional("clientMsgId", message.client_msg_id.as_ref())
        .field("roomId", &message.room)
}

/// `message:status`, to the others in the room.
#[must_use]
pub fn message_status(receipt: &Receipted) -> OutEvent {
    OutEvent::new(
        "message:status",
        Object::with_capacity(192)
            .field("messageId", &receipt.message)
            .field("status", receipt.status.as_str())
            .field("timestamp", &receipt.timestamp)
            .field("roomId", &receipt.room)
            .field("userId", &receipt.user)
            .optional("upTo", receipt.up_to.then_some(&true)),
    )
}

/// `typing:user`, to the others in the room.
#[must_use]
pub fn typing_user(user: &UserId, username: &str, room: &RoomId, is_typing: bool) -> OutEvent {
    OutEvent::new("typing:user", user_fields(user, username).field("roomId", room).field("isTyping", &is_typing))
}

/// `user:online`: the user's first device is here.
#[must_use]
pub fn user_online(user: &UserId, username: &str, at: Timestamp) -> OutEvent {
    OutEvent::new("user:online", user_fields(user, username).field("timestamp", &at))
}

/// `user:offline`: the user's last device is gone.
#[must_use]
pub fn user_offline(user: &UserId, username: &str, at: Timestamp) -> OutEvent {
    OutEvent::new("user:offline", user_fields(user, username).field("timestamp", &at))
}

/// `presence:changed`: the user chose a status.
#[must_use]
pub fn presence_changed(user: &UserId, username: &str, status: Status, at: Timestamp) -> OutEvent {
    OutEvent::new("presence:changed", user_fields(user, username).field("status", &status).field("timestamp", &at))
}

/// `server:draining`: come back in so many milliseconds.
#[must_use]
pub fn server_draining(reconnect_in_ms: u64) -> OutEvent {
    OutEvent::new("server:draining", Object::with_capacity(32).field("reconnectIn", &reconnect_in_ms))
}

/// What went wrong with a client's event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: String,
    /// In how many milliseconds a retry makes sense.
    pub retry_after_ms: Option<u64>,
}

/// `error`, to the sender of the event named in `context`.
#[must_use]
pub fn error(failure: &Failure, context: &Context) -> OutEvent {
    OutEvent::new(
        "error",
        Object::with_capacity(192)
            .field("message", &failure.message)
            .field("code", &failure.code)
            .field("event", &*context.event)
            .optional("roomId", context.room.as_ref())
            .optional_raw("tempId", context.temp_id.as_deref())
            .optional("clientMsgId", context.client_msg_id.as_ref())
            .optional("retryAfter", failure.retry_after_ms.as_ref()),
    )
}

/// The ack of an event that failed.
#[must_use]
pub fn error_ack(failure: &Failure) -> String {
    let error = Object::with_capacity(128)
        .field("code", &failure.code)
        .field("message", &failure.message)
        .optional("retryAfter", failure.retry_after_ms.as_ref())
        .finish();
    Object::with_capacity(160).field("ok", &false).raw("error", &error).finish()
}
