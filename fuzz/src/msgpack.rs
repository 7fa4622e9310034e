//! Packets of MessagePack, arbitrary ones.
//!
//! Oracle: what was read, written again in either form of packets, must be read as the same packet.

use std::time::Instant;

use alt_ws_pure::socketio::{
    Decoder, Event, MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, MAX_DEPTH, MAX_NAMESPACE_BYTES, Packet, PacketKind, Parser,
    msgpack,
};
use bytes::Bytes;

use crate::json;

/// All of the input is a message.
pub fn check(input: &[u8]) {
    let message = Bytes::copy_from_slice(input);
    let result = msgpack::decode(&message);
    assert_eq!(result, msgpack::decode(&message), "the same message, twice");
    let Ok(packet) = result else { return };
    check_bounds(&packet, input.len());
    let (id, namespace) = (packet.id, packet.namespace.to_string());
    // In JSON's form a namespace ends at its first comma.
    let parsers = if namespace.contains(',') { &[Parser::MsgPack][..] } else { &[Parser::MsgPack, Parser::Json] };
    match packet.kind {
        PacketKind::Event => {
            let event = Event::try_from(packet.clone()).expect("an event has a name");
            for &parser in parsers {
                let mut out = Vec::new();
                parser.event(&mut out, &namespace, &event.name, event.args.raw(), id, &event.attachments);
                assert_eq!(read(parser, out, &packet.attachments), packet, "by {parser:?}");
            }
        }
        PacketKind::Ack => {
            // Without an id an ack is ignored, and the server writes none.
            let Some(id) = id else { return };
            let args = packet.data.strip_prefix('[').and_then(|data| data.strip_suffix(']')).expect("an array");
            for &parser in parsers {
                let mut out = Vec::new();
                parser.ack(&mut out, &namespace, id, args, &packet.attachments);
                assert_eq!(read(parser, out, &packet.attachments), packet, "by {parser:?}");
            }
        }
        PacketKind::Connect => {
            assert!(packet.data.is_empty() || packet.data.starts_with('{'));
            assert!(packet.attachments.is_empty() && id.is_none());
        }
        PacketKind::Disconnect => assert!(packet.data.is_empty() && packet.attachments.is_empty() && id.is_none()),
        PacketKind::ConnectError => panic!("a packet that only a server may send"),
    }
}

fn check_bounds(packet: &Packet<'_>, length: usize) {
    assert!(packet.namespace.starts_with('/') && packet.namespace.len() <= MAX_NAMESPACE_BYTES);
    assert!(packet.attachments.len() <= MAX_ATTACHMENTS);
    assert!(packet.attachments.iter().map(Bytes::len).sum::<usize>() <= MAX_ATTACHMENT_BYTES.min(length));
    assert!(packet.data.len() <= 6 * length + MAX_ATTACHMENTS * "{\"_placeholder\":true,\"num\":9}".len());
    if !packet.data.is_empty() {
        assert!(json::values(&packet.data).is_some_and(|values| values.len() == 1), "what was written out is no JSON");
        assert!(json::depth(&packet.data) <= MAX_DEPTH);
        assert!(!json::has_repeated_members(&packet.data), "a key that came twice in one map");
    }
}

fn read(parser: Parser, packet: Vec<u8>, attachments: &[Bytes]) -> Packet<'static> {
    if parser == Parser::MsgPack {
        return msgpack::decode(&packet.into()).expect("a packet of ours");
    }
    let now = Instant::now();
    let mut decoder = Decoder::default();
    let text = String::from_utf8(packet).expect("a packet is text");
    let mut packet = decoder.text(&text, now).expect("a packet of ours").map(Packet::into_owned);
    for data in attachments {
        packet = decoder.binary(data.clone(), now).expect("an attachment that is due");
    }
    packet.expect("a whole packet")
}
