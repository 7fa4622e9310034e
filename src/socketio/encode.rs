//! From what the server says to the text of packets.
//!
//! Every function appends one packet's UTF-8 text to a buffer of the caller's. Attachments are not written here: the
//! caller sends each as a binary message right after the text, with nothing in between. Knows no connection and keeps
//! no state. What is passed as JSON is trusted: the server wrote it, or checked it when it came in.

use std::fmt::Arguments;
use std::io::Write as _;

use crate::ids::{Offset, PrivateId, SocketId};
use crate::socketio::ack::AckId;
use crate::socketio::packet::PacketKind;
use crate::socketio::revision::Revision;

/// CONNECT: the client has joined, under this id, which revision 4 does not tell.
pub fn connect(out: &mut Vec<u8>, revision: Revision, namespace: &str, sid: SocketId) {
    head(out, PacketKind::Connect, 0, namespace, None);
    match revision {
        Revision::V4 => {}
        Revision::V5 => write(out, format_args!("{{\"sid\":\"{sid}\"}}")),
    }
}

/// CONNECT, with a private id beside the other: the client may come back for what it misses.
pub fn connect_recoverable(out: &mut Vec<u8>, namespace: &str, sid: SocketId, pid: PrivateId) {
    head(out, PacketKind::Connect, 0, namespace, None);
    write(out, format_args!("{{\"sid\":\"{sid}\",\"pid\":\"{pid}\"}}"));
}

/// CONNECT_ERROR, in revision 4 named ERROR: the client may not join. `error` is JSON: an object that has a `message`,
/// in revision 4 a string.
pub fn connect_error(out: &mut Vec<u8>, namespace: &str, error: &str) {
    head(out, PacketKind::ConnectError, 0, namespace, None);
    out.extend_from_slice(error.as_bytes());
}

/// DISCONNECT: the client has been put out of the namespace.
pub fn disconnect(out: &mut Vec<u8>, namespace: &str) {
    head(out, PacketKind::Disconnect, 0, namespace, None);
}

/// EVENT, or BINARY_EVENT when attachments follow. `args` are JSON values with commas between them, and have one
/// placeholder for each attachment; `ack` asks for an answer under that id.
pub fn event(out: &mut Vec<u8>, namespace: &str, name: &str, args: &str, ack: Option<AckId>, attachments: usize) {
    head(out, PacketKind::Event, attachments, namespace, ack);
    out.push(b'[');
    // A string always has a JSON form, and a Vec<u8> grows instead of failing.
    let _infallible = serde_json::to_writer(&mut *out, name);
    if !args.is_empty() {
        out.push(b',');
        out.extend_from_slice(args.as_bytes());
    }
    out.push(b']');
}

/// What [`offset`] adds, with the closing bracket: `,"<offset>"]`.
const OFFSET_BYTES: usize = Offset::LEN + 4;

/// Gives the event that was just written an offset: one more argument, the last.
pub fn offset(out: &mut Vec<u8>, offset: Offset) {
    // The event's closing bracket goes behind it.
    out.pop();
    write(out, format_args!(",\"{offset}\"]"));
}

/// Appends an event that has an offset, without it.
pub fn without_offset(event: &[u8], out: &mut Vec<u8>) {
    let kept = event.len().saturating_sub(OFFSET_BYTES);
    out.extend_from_slice(event.get(..kept).unwrap_or_default());
    out.push(b']');
}

/// ACK, or BINARY_ACK when attachments follow: the answer to the event that came with `id`. `args` as in [`event`].
pub fn ack(out: &mut Vec<u8>, namespace: &str, id: AckId, args: &str, attachments: usize) {
    head(out, PacketKind::Ack, attachments, namespace, Some(id));
    out.push(b'[');
    out.extend_from_slice(args.as_bytes());
    out.push(b']');
}

/// `<type>[<attachments>-][<namespace>,][<ack id>]`
fn head(out: &mut Vec<u8>, kind: PacketKind, attachments: usize, namespace: &str, id: Option<AckId>) {
    out.push(kind.digit(attachments > 0));
    if attachments > 0 {
        write(out, format_args!("{attachments}-"));
    }
    if namespace != "/" {
        out.extend_from_slice(namespace.as_bytes());
        out.push(b',');
    }
    if let Some(AckId(id)) = id {
        write(out, format_args!("{id}"));
    }
}

fn write(out: &mut Vec<u8>, text: Arguments<'_>) {
    // A Vec<u8> grows instead of failing.
    let _infallible = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::socketio::decode::Decoder;
    use crate::socketio::event::Event;
    use crate::socketio::packet::Packet;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"4".to_vec();
        write(&mut out);
        let text = String::from_utf8(out).unwrap();
        text.strip_prefix('4').expect("appends, never overwrites").to_owned()
    }

    fn decode(text: &str, attachments: &[Bytes]) -> Packet<'static> {
        let now = Instant::now();
        let mut decoder = Decoder::default();
        let mut packet = decoder.text(text, now).unwrap().map(Packet::into_owned);
        for data in attachments {
            assert_eq!(packet, None);
            packet = decoder.binary(data.clone(), now).unwrap();
        }
        packet.unwrap()
    }

    #[test]
    fn an_offset_is_one_more_argument_and_can_be_taken_away_again() {
        let given = Offset::parse("AAAAAAAAAAE").unwrap();
        for (name, args, attachments) in [("a", "", 0), ("a", "{\"b\":[1,\"]\"]}", 0), ("a", "1,\"2\"", 2)] {
            let plain = text(|out| event(out, "/", name, args, None, attachments));
            let with = text(|out| {
                event(out, "/", name, args, None, attachments);
                offset(out, given);
            });
            assert_eq!(with, format!("{},\"AAAAAAAAAAE\"]", &plain[..plain.len() - 1]));
            assert_eq!(text(|out| without_offset(with.as_bytes(), out)), plain);
        }
        assert_eq!(text(|out| without_offset(b"", out)), "]", "what is none is no reason to panic");
    }

    #[test]
    fn every_packet_a_server_sends_has_the_form_of_the_protocol_document() {
        let sid = SocketId::new([0; 15]);
        let placeholder = r#"{"_placeholder":true,"num":0}"#;
        for (text, expected) in [
            (text(|out| connect(out, Revision::V5, "/", sid)), r#"0{"sid":"AAAAAAAAAAAAAAAAAAAA"}"#),
            (text(|out| connect(out, Revision::V5, "/admin", sid)), r#"0/admin,{"sid":"AAAAAAAAAAAAAAAAAAAA"}"#),
            (
                text(|out| connect_recoverable(out, "/", sid, PrivateId::new([1; 15]))),
                r#"0{"sid":"AAAAAAAAAAAAAAAAAAAA","pid":"AQEBAQEBAQEBAQEBAQEB"}"#,
            ),
            (text(|out| connect(out, Revision::V4, "/", sid)), "0"),
            (text(|out| connect(out, Revision::V4, "/admin", sid)), "0/admin,"),
            (
                text(|out| connect_error(out, "/", r#"{"message":"Not authorized"}"#)),
                r#"4{"message":"Not authorized"}"#,
            ),
            (text(|out| connect_error(out, "/x", r#"{"message":"no"}"#)), r#"4/x,{"message":"no"}"#),
            (text(|out| disconnect(out, "/")), "1"),
            (text(|out| disconnect(out, "/admin")), "1/admin,"),
            (text(|out| event(out, "/", "foo", "", None, 0)), r#"2["foo"]"#),
            (text(|out| event(out, "/", "hey", r#""Jude",1"#, None, 0)), r#"2["hey","Jude",1]"#),
            (text(|out| event(out, "/admin", "bar", "", Some(AckId(0)), 0)), r#"2/admin,0["bar"]"#),
            (
                text(|out| event(out, "/", "a\"\\\n\u{1b}é", "", Some(AckId(u64::MAX)), 0)),
                r#"218446744073709551615["a\"\\\n\u001bé"]"#,
            ),
            (text(|out| event(out, "/", "baz", placeholder, None, 1)), r#"51-["baz",{"_placeholder":true,"num":0}]"#),
            (
                text(|out| event(out, "/admin", "baz", placeholder, Some(AckId(9)), 1)),
                r#"51-/admin,9["baz",{"_placeholder":true,"num":0}]"#,
            ),
            (text(|out| ack(out, "/", AckId(12), "", 0)), "312[]"),
            (text(|out| ack(out, "/admin", AckId(13), r#""bar""#, 0)), r#"3/admin,13["bar"]"#),
            (text(|out| ack(out, "/admin", AckId(1), placeholder, 1)), r#"61-/admin,1[{"_placeholder":true,"num":0}]"#),
        ] {
            assert_eq!(text, expected);
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::vec((any::<String>(), inner), 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_the_same(
            namespace in "/[a-z]{0,8}",
            name in "\\PC{0,30}|[\\x00-\\x7f]{0,30}",
            values in prop::collection::vec(json(), 0..5),
            id in proptest::option::of(any::<u64>()),
            attachments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5).prop_map(Bytes::from), 0..10),
        ) {
            let placeholders = (0..attachments.len()).map(|num| serde_json::json!({"_placeholder": true, "num": num}));
            let values: Vec<String> = values.into_iter().chain(placeholders).map(|value| value.to_string()).collect();
            let args = values.join(",");
            let id = id.map(AckId);

            let packet = decode(&text(|out| event(out, &namespace, &name, &args, id, attachments.len())), &attachments);
            prop_assert_eq!((packet.kind, &*packet.namespace, packet.id), (PacketKind::Event, &*namespace, id));
            let read = Event::try_from(packet).unwrap();
            prop_assert_eq!((&*read.name, read.args.raw()), (&*name, &*args));
            prop_assert_eq!(read.args.iter().collect::<Vec<_>>(), values);
            prop_assert_eq!(&read.attachments, &attachments);

            let id = id.unwrap_or(AckId(0));
            let packet = decode(&text(|out| ack(out, &namespace, id, &args, attachments.len())), &attachments);
            prop_assert_eq!((packet.kind, &*packet.namespace, packet.id), (PacketKind::Ack, &*namespace, Some(id)));
            prop_assert_eq!((packet.data, packet.attachments), (format!("[{args}]").into(), attachments));

            let packet = decode(&text(|out| disconnect(out, &namespace)), &[]);
            prop_assert_eq!((packet.kind, &*packet.namespace), (PacketKind::Disconnect, &*namespace));
            let packet = decode(&text(|out| connect(out, Revision::V5, &namespace, SocketId::new([7; 15]))), &[]);
            prop_assert_eq!((packet.kind, &*packet.namespace), (PacketKind::Connect, &*namespace));
        }

        #[test]
        fn no_text_makes_the_decoder_panic_or_hold_on_to_a_bad_packet(
            text in "[0-6][0-9]{0,2}-?(/[a-z]{0,2},)?[0-9]{0,2}[\\[\\]{}\",:0-9a\\\\ _]{0,20}|\\PC{0,20}",
        ) {
            let mut decoder = Decoder::default();
            match decoder.text(&text, Instant::now()) {
                Ok(None) => prop_assert!(decoder.is_waiting()),
                Ok(Some(packet)) => {
                    prop_assert!(packet.kind != PacketKind::Event || Event::try_from(packet).is_ok());
                }
                Err(_) => prop_assert!(!decoder.is_waiting()),
            }
        }
    }
}
