//! A message as a document of the collection `messages`, and any document of that collection as a message.
//!
//! Writes exactly what other services expect to read. Reads whatever it is given: the replaced service's documents,
//! and those that some other hand spoilt, which are shown with empty fields rather than hidden.

use std::sync::Arc;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::raw::{RawElement, cstr};
use mongodb::bson::{DateTime, RawBson, RawBsonRef, RawDocument, RawDocumentBuf};

use super::{ids, json};
use crate::chat::effect::NewMessage;
use crate::chat::event::Message;
use crate::ids::{MessageId, RoomId, Timestamp, UserId};
use crate::store::messages::Stamp;

/// The document of a new message.
pub(super) fn encode(new: &NewMessage, stamp: &Stamp, seq: i64) -> RawDocumentBuf {
    let mut document = RawDocumentBuf::new();
    document.append(cstr!("_id"), object_id(stamp.id));
    for (name, id) in [
        (cstr!("conversationId"), ids::written(new.room.as_str(), new.room.is_numeric())),
        (cstr!("userId"), ids::written(new.user.as_str(), new.user.is_numeric())),
    ] {
        // Text and integers always convert.
        document.append(name, RawBson::try_from(id).unwrap_or(RawBson::Null));
    }
    document.append(cstr!("username"), &*new.username);
    document.append(cstr!("content"), &*new.content);
    document.append(cstr!("type"), &*new.kind);
    let attachments = json::to_bson(&new.attachments).unwrap_or_default();
    let exact = json::from_bson(RawBsonRef::Array(&attachments)) == new.attachments;
    document.append(cstr!("attachments"), attachments);
    if !exact {
        document.append(cstr!("attachmentsJson"), &*new.attachments);
    }
    document.append(cstr!("timestamp"), date(stamp.timestamp));
    document.append(cstr!("delivered"), false);
    document.append(cstr!("read"), false);
    document.append(cstr!("seq"), seq);
    if let Some(id) = &new.client_msg_id {
        document.append(cstr!("clientMsgId"), &**id);
    }
    document.append(cstr!("room"), new.room.as_str());
    document
}

/// The message that a document of this room stands for. Its seq is 0 when the document has none.
pub(super) fn decode(document: &RawDocument, room: &RoomId) -> Message {
    let mut message = Message {
        id: MessageId([0; 12]),
        room: room.clone(),
        user: UserId::nobody(),
        username: Arc::from(""),
        content: String::new(),
        kind: "text".to_owned(),
        attachments: "[]".to_owned(),
        timestamp: Timestamp(0),
        seq: 0,
        temp_id: None,
        client_msg_id: None,
        delivered: false,
        read: false,
    };
    let mut time = None;
    let mut exact = None;
    // What cannot even be walked to its end is shown as far as it goes.
    for element in document.iter_elements().map_while(Result::ok) {
        let value = element.value().ok();
        match element.key().as_str() {
            "_id" => message.id = value.and_then(message_id).unwrap_or(message.id),
            "conversationId" => message.room = value.and_then(ids::room).unwrap_or(message.room),
            "userId" => message.user = value.and_then(ids::user).unwrap_or(message.user),
            "username" => message.username = text(&element).unwrap_or_default().into(),
            "content" => message.content = text(&element).unwrap_or_default(),
            "type" => message.kind = text(&element).unwrap_or(message.kind),
            "attachments" => message.attachments = value.map_or(message.attachments, json::from_bson),
            "attachmentsJson" => exact = text(&element),
            "timestamp" => time = value.and_then(timestamp),
            "delivered" => message.delivered = value == Some(RawBsonRef::Boolean(true)),
            "read" => message.read = value == Some(RawBsonRef::Boolean(true)),
            "seq" => message.seq = value.and_then(ids::integer).unwrap_or(0),
            "clientMsgId" => message.client_msg_id = text(&element),
            _ => {}
        }
    }
    if let Some(exact) = exact {
        message.attachments = exact;
    }
    message.timestamp = time.unwrap_or_else(|| created(message.id));
    message
}

/// When a document says it was stored, by its date or else by its id.
pub(super) fn time(document: &RawDocument) -> Timestamp {
    let id = || document.get("_id").ok().flatten().and_then(message_id).map_or(Timestamp(0), created);
    document.get("timestamp").ok().flatten().and_then(timestamp).unwrap_or_else(id)
}

pub(super) fn object_id(id: MessageId) -> ObjectId {
    ObjectId::from_bytes(id.0)
}

pub(super) fn date(time: Timestamp) -> DateTime {
    DateTime::from_millis(i64::try_from(time.0).unwrap_or(i64::MAX))
}

pub(super) fn message_id(value: RawBsonRef<'_>) -> Option<MessageId> {
    match value {
        RawBsonRef::ObjectId(id) => Some(MessageId(id.bytes())),
        RawBsonRef::String(text) => MessageId::parse(text),
        _ => None,
    }
}

fn timestamp(value: RawBsonRef<'_>) -> Option<Timestamp> {
    let millis = match value {
        RawBsonRef::DateTime(time) => time.timestamp_millis(),
        RawBsonRef::String(text) => DateTime::parse_rfc3339_str(text).ok()?.timestamp_millis(),
        other => ids::integer(other)?,
    };
    Some(Timestamp(u64::try_from(millis).unwrap_or(0)))
}

/// An ObjectId begins with the second in which it was made.
fn created(MessageId([a, b, c, d, ..]): MessageId) -> Timestamp {
    Timestamp(u64::from(u32::from_be_bytes([a, b, c, d])) * 1000)
}

/// Text, with replacement characters where it is no UTF-8.
fn text(element: &RawElement<'_>) -> Option<String> {
    match element.value() {
        Ok(RawBsonRef::String(text) | RawBsonRef::Symbol(text)) => Some(text.to_owned()),
        Ok(_) => None,
        Err(_) => match element.value_utf8_lossy() {
            Ok(RawBson::String(text)) => Some(text),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::rawdoc;

    use super::*;

    fn new() -> NewMessage {
        NewMessage {
            room: RoomId::from_parts("5", true).unwrap(),
            user: UserId::from_text("ann").unwrap(),
            username: "Ann\0".into(),
            content: "hi\0 😀".to_owned(),
            kind: "text".to_owned(),
            attachments: "[]".to_owned(),
            temp_id: None,
            client_msg_id: Some("c-1".to_owned()),
        }
    }

    fn stamp() -> Stamp {
        let id = MessageId::parse("65b0f1a2c3d4e5f601020304").unwrap();
        Stamp { id, timestamp: Timestamp(1_770_091_506_789), in_doubt: None }
    }

    #[test]
    fn a_document_has_the_fields_that_other_services_read() {
        let document = encode(&new(), &stamp(), 7);
        let expected = rawdoc! {
            "_id": ObjectId::parse_str("65b0f1a2c3d4e5f601020304").unwrap(),
            "conversationId": 5,
            "userId": "ann",
            "username": "Ann\0",
            "content": "hi\0 😀",
            "type": "text",
            "attachments": [],
            "timestamp": DateTime::from_millis(1_770_091_506_789),
            "delivered": false,
            "read": false,
            "seq": 7_i64,
            "clientMsgId": "c-1",
            "room": "5",
        };
        assert_eq!(document, expected);
    }

    #[test]
    fn a_message_comes_back_as_it_was_sent() {
        for attachments in [
            "[]",
            r#"[{"url":"/a.png","size":1}]"#,
            "[1.0,1e400]",
            r#"[{"$where":"x"}]"#,
            r#"[{"a\u0000":12345678901234567890}]"#,
        ] {
            let new = NewMessage { attachments: attachments.to_owned(), ..new() };
            let elsewhere = RoomId::from_text("elsewhere").unwrap();
            let message = decode(&encode(&new, &stamp(), 7), &elsewhere);
            assert_eq!(message, new.stored(stamp().id, 7, stamp().timestamp), "{attachments}");
            assert!(message.room.is_numeric() && !message.user.is_numeric());
        }
    }

    #[test]
    fn a_document_of_the_replaced_service_is_read() {
        let id = ObjectId::parse_str("65b0f1a2c3d4e5f601020304").unwrap();
        let room = RoomId::from_text("5").unwrap();
        let mut document = rawdoc! {
            "_id": id, "conversationId": 5.0, "userId": id, "username": "Bob", "content": "old", "type": "image",
            "attachments": [{"url": "/x"}], "delivered": true, "read": true, "__v": 0,
        };
        let message = decode(&document, &room);
        assert_eq!((message.room.as_str(), message.user.as_str()), ("5", "65b0f1a2c3d4e5f601020304"));
        assert_eq!((&*message.username, &*message.content, &*message.kind), ("Bob", "old", "image"));
        assert_eq!(message.attachments, r#"[{"url":"/x"}]"#);
        assert_eq!(message.timestamp, Timestamp(0x65b0_f1a2 * 1000), "from the id");
        assert_eq!(time(&document), message.timestamp);
        assert!(message.delivered && message.read && message.seq == 0 && message.client_msg_id.is_none());
        document.append(cstr!("timestamp"), "2026-02-03T04:05:06.789Z");
        assert_eq!(decode(&document, &room).timestamp, Timestamp(1_770_091_506_789));
        assert_eq!(time(&document), Timestamp(1_770_091_506_789));
    }

    #[test]
    fn a_hopeless_document_is_shown_with_empty_fields() {
        let room = RoomId::from_text("5").unwrap();
        let hopeless = rawdoc! {
            "_id": "not an id", "conversationId": {}, "userId": [], "username": 1, "content": 5, "type": null,
            "attachments": "none", "timestamp": "yesterday", "delivered": "yes", "seq": "x",
        };
        let mut torn = encode(&new(), &stamp(), 7).into_bytes();
        // The first byte of the content becomes one that UTF-8 does not have.
        let at = torn.windows(2).position(|pair| pair == b"hi").unwrap();
        torn[at] = 0xff;
        let torn = RawDocumentBuf::from_bytes(torn).unwrap();
        for document in [rawdoc! {}, hopeless] {
            let message = decode(&document, &room);
            assert_eq!(
                (message.id, message.user, message.timestamp),
                (MessageId([0; 12]), UserId::nobody(), Timestamp(0))
            );
            assert_eq!((message.room, &*message.username, &*message.content), (room.clone(), "", ""));
        }
        let message = decode(&torn, &room);
        assert_eq!(message.content, "\u{fffd}i\0 😀");
        assert_eq!((message.seq, message.client_msg_id.as_deref()), (7, Some("c-1")), "the rest is read");
    }
}
