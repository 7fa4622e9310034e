//! Events and acks that the server writes, read again.
//!
//! Oracle: the values that were written. What the encoder trusts is given to it as the server does: checked JSON, with a
//! placeholder for each attachment.

use std::time::Instant;

use alt_ws_pure::socketio::{
    AckId, Args, Decoder, Event, MAX_ATTACHMENTS, MAX_DEPTH, MAX_EVENT_NAME_BYTES, MAX_NAMESPACE_BYTES, Packet,
    PacketKind, Parser, msgpack,
};
use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{json, values};

/// What is written.
#[derive(Debug)]
struct Said {
    namespace: String,
    /// `None` for an ack.
    name: Option<String>,
    args: Vec<Value>,
    id: Option<AckId>,
    attachments: Vec<Bytes>,
}

/// The input is whatever `arbitrary` makes of it.
pub fn check(input: &[u8]) {
    let Ok(said) = said(&mut Unstructured::new(input)) else { return };
    for parser in [Parser::Json, Parser::MsgPack] {
        let packet = travel(parser, &said);
        assert_eq!(packet.namespace, said.namespace);
        assert_eq!(packet.id, said.id);
        assert_eq!(packet.attachments.len(), said.attachments.len());
        // MessagePack has no numbers: there they come in the order of their places.
        let attachments = packet.attachments.clone();
        assert!(parser == Parser::MsgPack || attachments == said.attachments);
        let args = match &said.name {
            Some(name) => {
                assert_eq!(packet.kind, PacketKind::Event);
                let event = Event::try_from(packet).expect("an event has a name");
                assert_eq!(event.name, *name);
                event.args
            }
            None => {
                assert_eq!(packet.kind, PacketKind::Ack);
                let list = packet.data.strip_prefix('[').and_then(|data| data.strip_suffix(']'));
                Args::from_raw(list.expect("an array").to_owned())
            }
        };
        assert!(args.iter().count() == said.args.len());
        for (read, written) in args.iter().zip(&said.args) {
            let value = serde_json::from_str(read).expect("arguments are JSON");
            let (value, written) = (resolved(value, &attachments), resolved(written.clone(), &said.attachments));
            assert!(json::is_alike(&value, &written), "{written} became {value} by {parser:?}");
        }
    }
}

/// From the server's encoder to the decoder for what clients send: the forms are the same.
fn travel(parser: Parser, said: &Said) -> Packet<'static> {
    let args: Vec<String> = said.args.iter().map(Value::to_string).collect();
    let args = args.join(",");
    let mut out = Vec::new();
    match (&said.name, said.id) {
        (Some(name), id) => parser.event(&mut out, &said.namespace, name, &args, id, &said.attachments),
        (None, Some(id)) => parser.ack(&mut out, &said.namespace, id, &args, &said.attachments),
        (None, None) => unreachable!("an ack has an id"),
    }
    match parser {
        Parser::MsgPack => {
            assert!(parser.after(&said.attachments).is_empty());
            msgpack::decode(&out.into()).expect("a packet of ours")
        }
        Parser::Json => {
            let now = Instant::now();
            let mut decoder = Decoder::default();
            let text = String::from_utf8(out).expect("a packet is text");
            let mut packet = decoder.text(&text, now).expect("a packet of ours").map(Packet::into_owned);
            for data in parser.after(&said.attachments) {
                assert!(packet.is_none() && decoder.is_waiting());
                packet = decoder.binary(data.clone(), now).expect("an attachment that is due");
            }
            assert!(!decoder.is_waiting());
            packet.expect("a whole packet")
        }
    }
}

fn said(u: &mut Unstructured<'_>) -> Result<Said> {
    let is_event = u.arbitrary()?;
    let namespace = match values::text(u, MAX_NAMESPACE_BYTES - 1)? {
        // Which names a server offers is its own choice, among those that can be written.
        name if name.contains(|c: char| matches!(c, ',' | '?') || c.is_control()) => "/".to_owned(),
        name => format!("/{name}"),
    };
    let name = if is_event { Some(values::text(u, MAX_EVENT_NAME_BYTES)?) } else { None };
    let id = if is_event { u.arbitrary::<Option<u64>>()? } else { Some(u.arbitrary()?) };
    let attachments: Vec<Bytes> = (0..u.int_in_range(0..=MAX_ATTACHMENTS)?)
        .map(|_| u.arbitrary::<Vec<u8>>().map(Bytes::from))
        .collect::<Result<_>>()?;
    let mut args = (0..u.int_in_range(0..=5)?).map(|_| values::any(u, MAX_DEPTH - 3)).collect::<Result<Vec<_>>>()?;
    if !attachments.is_empty() {
        args.iter_mut().for_each(forget_placeholders);
    }
    for num in 0..attachments.len() {
        let placeholder = json!({"_placeholder": true, "num": num});
        let place = u.choose_index(args.len() + 1)?;
        match args.get_mut(place) {
            Some(Value::Array(values)) => values.push(placeholder),
            Some(Value::Object(members)) if !members.contains_key("_placeholder") => {
                drop(members.insert(format!("attachment {num}"), placeholder))
            }
            _ => args.insert(place, placeholder),
        }
    }
    Ok(Said { namespace, name, args, id: id.map(AckId), attachments })
}

/// The value with each attachment in the place of its placeholder.
fn resolved(mut value: Value, attachments: &[Bytes]) -> Value {
    match &mut value {
        Value::Array(values) => values.iter_mut().for_each(|value| *value = resolved(value.take(), attachments)),
        Value::Object(members) if members.contains_key("_placeholder") && !attachments.is_empty() => {
            let num = members["num"].as_u64().and_then(|num| usize::try_from(num).ok()).expect("a number");
            return json!({"bytes": attachments[num].to_vec()});
        }
        Value::Object(members) => {
            members.values_mut().for_each(|value| *value = resolved(value.take(), attachments));
        }
        _ => {}
    }
    value
}

/// With attachments, what looks like a placeholder is one.
fn forget_placeholders(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(forget_placeholders),
        Value::Object(members) => {
            members.remove("_placeholder");
            members.values_mut().for_each(forget_placeholders);
        }
        _ => {}
    }
}
