//! Parts of what was said in a room, and how long they may be.

use crate::chat::event::Message;

/// The messages that someone missed.
#[derive(Clone, Debug)]
pub struct Missed {
    /// Oldest first, bounded by [`Missed::MAX_MESSAGES`] and [`Missed::MAX_BYTES`] (at least one if there is one).
    pub messages: Vec<Message>,
    /// Whether that is all up to [`Joined::seq`](super::Joined::seq).
    pub complete: bool,
}

impl Missed {
    /// As many as one page of history at most.
    pub const MAX_MESSAGES: usize = 200;
    /// Content and attachments together, as JSON. A join tells them twice, in the event and in the ack, and that is to
    /// fit a slow client's queue of 1 MiB with room to spare.
    pub const MAX_BYTES: usize = 192 * 1024;
}

/// A question for a part of a room's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Only messages with a lower seq.
    pub before: Option<i64>,
    /// Only messages with a greater seq. Given, the page begins with the oldest of them; otherwise it ends with the
    /// newest before [`Self::before`].
    pub after: Option<i64>,
    /// At most so many, 1 to [`Page::MAX_MESSAGES`].
    pub limit: usize,
}

/// A part of a room's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Oldest first, bounded by [`PageRequest::limit`] and [`Page::MAX_BYTES`] (at least one if there is one).
    pub messages: Vec<Message>,
    /// Whether there are more in the direction that was asked for, within the bounds given.
    pub has_more: bool,
}

impl Page {
    /// The most that one request may ask for.
    pub const MAX_MESSAGES: usize = 200;
    /// Content and attachments together, as in [`Missed::MAX_BYTES`].
    pub const MAX_BYTES: usize = Missed::MAX_BYTES;
}
