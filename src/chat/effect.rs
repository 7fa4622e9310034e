//! The two currencies between the application and the world: [`Effect`], what the application asks for, and
//! [`Outcome`], what became of a [`Record`] it asked to store.
//!
//! Owns the vocabulary only. Knows no transport, no database and no clock.

mod page;

use std::sync::Arc;

use crate::chat::bearer::BearerToken;
use crate::chat::event::{Code, Message};
use crate::chat::presence::PresenceChange;
use crate::ids::{CoreId, MessageId, RoomId, SocketKey, Timestamp, UserId};
use crate::socketio::AckId;
pub use page::{Missed, Page, PageRequest};

/// An event ready to be framed: its name and its arguments as JSON text without the enclosing brackets
/// (`{"roomId":5}` or `1,"2"`), and the binary attachments its placeholders name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutEvent {
    /// Name of the event, as the client listens for it.
    pub name: Arc<str>,
    /// Comma-separated JSON values.
    pub args: String,
    /// What `{"_placeholder":true,"num":N}` in `args` stands for, by index.
    pub attachments: Vec<bytes::Bytes>,
}

/// What the application asks the server to do, executed in order.
#[derive(Debug)]
pub enum Effect {
    /// One event to one socket. `ack` asks the client to answer under that id.
    Emit {
        /// The receiving socket.
        to: SocketKey,
        /// What it receives.
        event: OutEvent,
        /// Under which id the client is to acknowledge, if it is.
        ack: Option<AckId>,
    },
    /// The answer to an event that the client sent with an ack id.
    Ack {
        /// The socket that asked.
        to: SocketKey,
        /// The id it gave.
        id: AckId,
        /// Comma-separated JSON values.
        args: String,
        /// As in [`OutEvent::attachments`].
        attachments: Vec<bytes::Bytes>,
    },
    /// One event to every socket in a room, on every core, but for `except`.
    Broadcast {
        /// Where to.
        room: RoomId,
        /// The socket on this core that is left out.
        except: Option<SocketKey>,
        /// What the others receive.
        event: OutEvent,
        /// Volatile events are dropped first when a client is slow.
        volatile: bool,
    },
    /// This core now has a socket in the room, or is about to: commits of the room must be mailed to it.
    Watch(RoomId),
    /// This core has no socket in the room any more.
    Unwatch(RoomId),
    /// Hand to the store; its [`Outcome`] comes back to [`Origin`].
    Store(Record),
    /// Apply to the shared presence table and tell those who may know.
    Presence {
        /// Whose presence.
        user: UserId,
        /// The name they go by in the announcement.
        username: Arc<str>,
        /// The socket that caused it.
        socket: SocketKey,
        /// What happened.
        change: PresenceChange,
    },
    /// Check a token that a client sent; the verdict comes back through
    /// [`verified`](super::application::Application::verified), before anything else is asked of the application.
    Verify {
        /// The socket that sent it.
        socket: SocketKey,
        /// The id under which it wants an answer, if it does.
        ack: Option<AckId>,
        /// What it sent.
        token: BearerToken,
    },
    /// The store has answered for all the rooms of a socket that [comes back](super::application::Application::restore).
    Restored {
        /// The socket.
        socket: SocketKey,
        /// Whether it could say of all of them.
        is_certain: bool,
    },
    /// An event was answered with an error; to be counted.
    Failed(Code),
    /// Close the connection that carries the socket, after what was queued before.
    Disconnect {
        /// Which.
        socket: SocketKey,
        /// Why, for the log and the counters.
        reason: &'static str,
    },
}

/// Where a record came from and where its outcome goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The core that asked.
    pub core: CoreId,
    /// The socket that asked.
    pub socket: SocketKey,
    /// The application's own number for the request, never reused on a core.
    pub request: u64,
}

/// Work for the store. Messages and joins of one room are handled in the order they were submitted; receipts and
/// questions may be handled beside them.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where the outcome goes.
    pub origin: Origin,
    /// What is to be done.
    pub body: RecordBody,
}

/// What the store is asked.
#[derive(Clone, Debug)]
pub enum RecordBody {
    /// Insert a message, once per `client_msg_id` of its author, under the room's next seq.
    Message(NewMessage),
    /// Mark one message, or all up to it, delivered or read by a user.
    Receipt(NewReceipt),
    /// May the user enter, and where does the room stand? The answer is a fence: commits mailed before it have a
    /// seq up to [`Joined::seq`], commits mailed after it have a greater one.
    Join(Join),
    /// A part of what was said in a room, for one of its members.
    History(History),
    /// Is the user a member of the room?
    Access {
        /// Which room.
        room: RoomId,
        /// Which user.
        user: UserId,
    },
    /// Which conversations does the user belong to?
    Conversations {
        /// Which user.
        user: UserId,
    },
}

impl RecordBody {
    /// The room whose order the record takes part in; `None` for questions about a user.
    #[must_use]
    pub fn room(&self) -> Option<&RoomId> {
        match self {
            Self::Message(message) => Some(&message.room),
            Self::Receipt(receipt) => Some(&receipt.room),
            Self::Join(join) => Some(&join.room),
            Self::History(history) => Some(&history.room),
            Self::Access { room, .. } => Some(room),
            Self::Conversations { .. } => None,
        }
    }

    /// What the record weighs against a queue's bound, in bytes: its variable parts and a constant for the rest.
    #[must_use]
    pub fn weight(&self) -> usize {
        256 + match self {
            Self::Message(message) => message.content.len() + message.attachments.len(),
            _ => 0,
        }
    }
}

/// A message as its author sent it: everything the store does not decide.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The conversation, in the form the sender used.
    pub room: RoomId,
    /// The author, in the form of their token.
    pub user: UserId,
    /// The author's name at the time.
    pub username: Arc<str>,
    /// The text.
    pub content: String,
    /// `[a-z0-9_.-]{1,32}`, `text` by default.
    pub kind: String,
    /// A JSON array, `[]` when there are none.
    pub attachments: String,
    /// The client's own name for the message, echoed: raw JSON, a string or a number.
    pub temp_id: Option<String>,
    /// Makes a resend harmless: at most one message is stored per user and id.
    pub client_msg_id: Option<String>,
}

impl NewMessage {
    /// The message, with what the store decided.
    #[must_use]
    pub fn stored(&self, id: MessageId, seq: i64, timestamp: Timestamp) -> Message {
        Message {
            id,
            room: self.room.clone(),
            user: self.user.clone(),
            username: Arc::clone(&self.username),
            content: self.content.clone(),
            kind: self.kind.clone(),
            attachments: self.attachments.clone(),
            timestamp,
            seq,
            temp_id: self.temp_id.clone(),
            client_msg_id: self.client_msg_id.clone(),
            delivered: false,
            read: false,
        }
    }
}

/// How far a receipt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReceiptStatus {
    /// Reached the user's device.
    Delivered,
    /// Seen by the user; implies delivered.
    Read,
}

impl ReceiptStatus {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }
}

/// A receipt as a client sent it.
#[derive(Clone, Debug)]
pub struct NewReceipt {
    /// The room the message must be of.
    pub room: RoomId,
    /// Who received or read it.
    pub user: UserId,
    /// Which message.
    pub message: MessageId,
    /// How far.
    pub status: ReceiptStatus,
    /// Everything up to that message, not only it.
    pub up_to: bool,
}

impl NewReceipt {
    /// The receipt as stored; `changed` as in [`Receipted::changed`].
    #[must_use]
    pub fn stored(&self, timestamp: Timestamp, changed: bool) -> Receipted {
        Receipted {
            room: self.room.clone(),
            user: self.user.clone(),
            message: self.message,
            status: self.status,
            up_to: self.up_to,
            timestamp,
            changed,
        }
    }
}

/// A request to enter a room.
#[derive(Clone, Debug)]
pub struct Join {
    /// Which room.
    pub room: RoomId,
    /// Who.
    pub user: UserId,
    /// The last seq the client has; `Some` asks for what came after it.
    pub since: Option<i64>,
}

/// A question for what was said in a room.
#[derive(Clone, Debug)]
pub struct History {
    /// Which room.
    pub room: RoomId,
    /// Who asks.
    pub user: UserId,
    /// Which part.
    pub request: PageRequest,
}

/// What became of a record.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Where it came from.
    pub origin: Origin,
    /// The result. An error means that nothing was stored.
    pub result: Result<Committed, Refusal>,
}

/// What the store did.
#[derive(Clone, Debug)]
pub enum Committed {
    /// A message is on disk. `duplicate`: it already was, under the same `client_msg_id`, and must not be broadcast.
    Message {
        /// The message as stored, with its id, seq and time.
        message: Arc<Message>,
        /// Whether an earlier send stored it.
        duplicate: bool,
    },
    /// A receipt is on disk.
    Receipt(Receipted),
    /// The user may enter.
    Joined(Joined),
    /// What was said.
    History {
        /// The room, in the form the request used.
        room: RoomId,
        /// The part that was asked for.
        page: Page,
    },
    /// The user is a member.
    Access,
    /// The user's conversations.
    Conversations(Vec<RoomId>),
}

/// A stored receipt.
#[derive(Clone, Debug)]
pub struct Receipted {
    /// The room, in the form the receipt used.
    pub room: RoomId,
    /// Who.
    pub user: UserId,
    /// Which message.
    pub message: MessageId,
    /// How far.
    pub status: ReceiptStatus,
    /// Whether it covered everything up to the message.
    pub up_to: bool,
    /// When it was stored.
    pub timestamp: Timestamp,
    /// `false` when an earlier receipt already said as much: acknowledged, not broadcast.
    pub changed: bool,
}

/// Where a room stands for someone who enters it.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The room, in the form the request used.
    pub room: RoomId,
    /// Who may enter.
    pub user: UserId,
    /// Seq of its latest message, 0 when it has none.
    pub seq: i64,
    /// Messages of others that the user has not read, counted up to [`Joined::MAX_UNREAD`].
    pub unread: u64,
    /// What came after `since`, oldest first; `None` when `since` was not given.
    pub missed: Option<Missed>,
}

impl Joined {
    /// Counting stops here, so that entering a room with a long backlog costs no more than this many index steps.
    pub const MAX_UNREAD: u64 = 1000;
}

/// Why the store did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user is not a member of the room, or there is no such room. The client's fault.
    #[error("not a member")]
    NotMember,
    /// The room has no such message. The client's fault.
    #[error("no such message in this room")]
    NoSuchMessage,
    /// A receipt for one's own message. The client's fault.
    #[error("a receipt needs a message of somebody else")]
    OwnMessage,
    /// The queue before the store is full. Nobody's fault; try later.
    #[error("the store's queue is full")]
    Busy,
    /// The store is down or did not answer in time.
    #[error("the store is unavailable")]
    Unavailable,
    /// The disk is full.
    #[error("the disk is full")]
    StorageFull,
    /// The store refused this one record; our fault.
    #[error("the store refused the record")]
    Internal,
}

impl Refusal {
    /// The code a client is told.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::NotMember => Code::AccessDenied,
            Self::NoSuchMessage => Code::NotFound,
            Self::OwnMessage => Code::BadRequest,
            Self::Busy => Code::Busy,
            Self::Unavailable => Code::Unavailable,
            Self::StorageFull => Code::StorageFull,
            Self::Internal => Code::Internal,
        }
    }
}
