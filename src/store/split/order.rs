//! In which order the records of a batch are done: as many together as their rooms allow.
//!
//! Pure. Records of one room are done in the order they came, so that a join stands between the messages around it;
//! rooms do not wait for each other. A stage is what can be done in one go: the neighbouring messages, receipts or
//! questions of every room.

use std::collections::HashMap;

use crate::chat::effect::RecordBody;
use crate::ids::RoomId;

/// What can be done together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Message,
    Receipt,
    /// Joins and pages: where the room stands when they are asked.
    Question,
    /// Nothing of a room's order is asked or changed.
    Unordered,
}

impl Class {
    pub(super) fn of(body: &RecordBody) -> Self {
        match body {
            RecordBody::Message(_) => Self::Message,
            RecordBody::Receipt(_) => Self::Receipt,
            RecordBody::Join(_) | RecordBody::History(_) => Self::Question,
            RecordBody::Access { .. } | RecordBody::Conversations { .. } => Self::Unordered,
        }
    }
}

/// The stage of each record, counted from 0.
pub(super) fn stages<'a>(bodies: impl Iterator<Item = &'a RecordBody>) -> Vec<usize> {
    let mut rooms: HashMap<&RoomId, (Class, usize)> = HashMap::new();
    let stage = |body: &'a RecordBody| {
        let class = Class::of(body);
        let Some(room) = body.room().filter(|_| class != Class::Unordered) else { return 0 };
        let (latest, stage) = rooms.entry(room).or_insert((class, 0));
        if *latest != class {
            (*latest, *stage) = (class, *stage + 1);
        }
        *stage
    };
    bodies.map(stage).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chat::effect::{Join, NewMessage, NewReceipt, ReceiptStatus};
    use crate::ids::{MessageId, UserId};

    /// `m5` is a message in room 5, `r5` a receipt, `j5` a join, `a5` a question for access.
    fn body(word: &str) -> RecordBody {
        let (kind, room) = word.split_at(1);
        let (room, user) = (RoomId::from_text(room).unwrap(), UserId::from_text("ann").unwrap());
        match kind {
            "m" => RecordBody::Message(NewMessage {
                room,
                user,
                username: Arc::from("Ann"),
                content: String::new(),
                kind: String::new(),
                attachments: String::new(),
                temp_id: None,
                client_msg_id: None,
            }),
            "r" => RecordBody::Receipt(NewReceipt {
                room,
                user,
                message: MessageId([0; 12]),
                status: ReceiptStatus::Read,
                up_to: false,
            }),
            "j" => RecordBody::Join(Join { room, user, since: None }),
            "a" => RecordBody::Access { room, user },
            _ => RecordBody::Conversations { user },
        }
    }

    #[test]
    fn neighbours_of_one_class_share_a_stage_and_rooms_do_not_wait_for_each_other() {
        let cases: [(&str, &[usize]); 6] = [
            ("m1 m1 m2 m1", &[0, 0, 0, 0]),
            ("j1 m1 m2 j1 m1 m1 j1", &[0, 1, 0, 2, 3, 3, 4]),
            ("m1 r1 r1 m1 j2 m2", &[0, 1, 1, 2, 0, 1]),
            ("m1 a1 m1 a1 r1 a1", &[0, 0, 0, 0, 1, 0]),
            ("c1 m1 c1", &[0, 0, 0]),
            ("m1 r2 j3 m1 r2 j3", &[0; 6]),
        ];
        for (words, expected) in cases {
            let bodies: Vec<_> = words.split(' ').map(body).collect();
            assert_eq!(stages(bodies.iter()), expected, "{words}");
        }
    }
}
