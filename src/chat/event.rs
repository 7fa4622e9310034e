//! Server events: what each one carries and how it is written as JSON.
//!
//! Owns the field names and their order on the wire. Knows nothing of who receives an event.

use std::sync::Arc;

use serde::Serialize;

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
    /// Its place in the conversation: 1, 2, 3 …
    pub seq: u64,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
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
