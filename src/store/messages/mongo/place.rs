//! Where a message without a seq stands among those of its room: by (timestamp, _id), in the index made for them.

use mongodb::bson::{Bson, DateTime, Document, RawDocument, doc};
use mongodb::options::Hint;

use super::{UNNUMBERED, ids};
use crate::ids::RoomId;

/// The order of these messages, the newest first.
pub(super) fn newest_first() -> Document {
    doc! {"timestamp": -1, "_id": -1}
}

/// The index for these questions. Named in each, so that no planner chooses to sort a whole room instead.
pub(super) fn index() -> Hint {
    Hint::Name(UNNUMBERED.to_owned())
}

/// All of a room.
pub(super) fn unnumbered(room: &RoomId) -> Document {
    doc! {"conversationId": {"$in": ids::forms(room.as_str())}, "seq": null}
}

/// The place of one of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    time: DateTime,
    id: Bson,
}

impl Place {
    /// `None` for a message that some other hand left without a date; those stand after all that have one.
    pub(super) fn of(document: &RawDocument) -> Option<Self> {
        let time = document.get_datetime("timestamp").ok()?;
        let id = document.get("_id").ok().flatten().and_then(|id| Bson::try_from(id).ok())?;
        Some(Self { time, id })
    }

    /// Those of the room that are older and have a date.
    pub(super) fn older(&self, room: &RoomId) -> Document {
        self.beyond(room, doc! {"$lte": self.time})
    }

    /// All that are older, those without a date, which come last, among them. MongoDB finds the bounds
    /// of the inverted condition in the index as well, other servers may not: for the end of a room.
    pub(super) fn older_or_undated(&self, room: &RoomId) -> Document {
        self.beyond(room, doc! {"$not": {"$gt": self.time}})
    }

    fn beyond(&self, room: &RoomId, time: Document) -> Document {
        let mut older = unnumbered(room);
        older.insert("timestamp", time);
        older.insert("$nor", vec![doc! {"timestamp": self.time, "_id": {"$gte": &self.id}}]);
        older
    }
}
