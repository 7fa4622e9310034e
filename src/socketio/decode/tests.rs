//! The wire's cases, good and hostile. Names that begin with `s` and a number are those of the list of hostile inputs.

use super::*;
use DecodeError::{
    AckId as BadAckId, AttachmentCount, AttachmentsLate, AttachmentsTooLarge, EventName, Json, Namespace, Payload,
    Placeholder, ServerOnly, TooDeep, TooManyAttachments, UnexpectedBinary, UnexpectedText, UnknownType,
};

const PLACEHOLDER: &str = r#"{"_placeholder":true,"num":0}"#;

fn decode(text: &str) -> Result<Option<Packet<'_>>, DecodeError> {
    Decoder::default().text(text, Instant::now())
}

fn refused(cases: &[(&str, DecodeError)]) {
    for (text, error) in cases {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.text(text, Instant::now()), Err(*error), "{text:?}");
        assert!(!decoder.is_waiting(), "{text:?}: nothing may be kept");
    }
}

/// Text, type, namespace, id, payload, attachments.
type Case = (&'static str, PacketKind, &'static str, Option<u64>, &'static str, usize);

const CASES: &[Case] = &[
    // Every example of docs/socket.io-protocol/v5-current.md that a client may send.
    ("0", PacketKind::Connect, "/", None, "", 0),
    ("0/admin,", PacketKind::Connect, "/admin", None, "", 0),
    ("0/admin,{\"token\":\"123\"}", PacketKind::Connect, "/admin", None, "{\"token\":\"123\"}", 0),
    ("2[\"foo\"]", PacketKind::Event, "/", None, "[\"foo\"]", 0),
    ("2/admin,[\"bar\"]", PacketKind::Event, "/admin", None, "[\"bar\"]", 0),
    ("212[\"foo\"]", PacketKind::Event, "/", Some(12), "[\"foo\"]", 0),
    ("2/admin,1[\"tellme\"]", PacketKind::Event, "/admin", Some(1), "[\"tellme\"]", 0),
    ("3/admin,13[\"bar\"]", PacketKind::Ack, "/admin", Some(13), "[\"bar\"]", 0),
    ("1", PacketKind::Disconnect, "/", None, "", 0),
    ("1/admin,", PacketKind::Disconnect, "/admin", None, "", 0),
    (
        "51-[\"baz\",{\"_placeholder\":true,\"num\":0}]",
        PacketKind::Event,
        "/",
        None,
        "[\"baz\",{\"_placeholder\":true,\"num\":0}]",
        1,
    ),
    (
        "52-/admin,[\"baz\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]",
        PacketKind::Event,
        "/admin",
        None,
        "[\"baz\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]",
        2,
    ),
    (
        "61-15[\"bar\",{\"_placeholder\":true,\"num\":0}]",
        PacketKind::Ack,
        "/",
        Some(15),
        "[\"bar\",{\"_placeholder\":true,\"num\":0}]",
        1,
    ),
    // What the document leaves open and clients send.
    ("0/,{}", PacketKind::Connect, "/", None, "{}", 0),
    ("0/admin", PacketKind::Connect, "/admin", None, "", 0),
    ("1/admin", PacketKind::Disconnect, "/admin", None, "", 0),
    ("0{\"token\":\"a,b/c\"}", PacketKind::Connect, "/", None, "{\"token\":\"a,b/c\"}", 0),
    ("20[\"a\"]", PacketKind::Event, "/", Some(0), "[\"a\"]", 0),
    ("2[\"/a,b\",\"/,\"]", PacketKind::Event, "/", None, "[\"/a,b\",\"/,\"]", 0),
    ("218446744073709551615[\"a\"]", PacketKind::Event, "/", Some(u64::MAX), "[\"a\"]", 0),
    ("37[]", PacketKind::Ack, "/", Some(7), "[]", 0),
];

#[test]
fn every_kind_of_packet_is_read() {
    let now = Instant::now();
    for &(text, kind, namespace, id, data, attachments) in CASES {
        let mut decoder = Decoder::default();
        let mut packet = decoder.text(text, now).unwrap();
        for n in 0..attachments {
            assert_eq!(packet, None, "{text}");
            assert_eq!(decoder.deadline(), Some(now + ATTACHMENTS_TIMEOUT));
            packet = decoder.binary(Bytes::from(vec![n as u8]), now).unwrap();
        }
        let bytes = (0..attachments).map(|n| Bytes::from(vec![n as u8])).collect();
        let expected =
            Packet { kind, namespace: namespace.into(), id: id.map(AckId), data: data.into(), attachments: bytes };
        assert_eq!(packet, Some(expected), "{text}");
        assert!(!decoder.is_waiting() && decoder.deadline().is_none());
    }
}

#[test]
fn no_beginning_of_a_packet_and_no_longer_text_passes_for_it() {
    for (text, kind, ..) in CASES {
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let prefix = &text[..end];
            // What ends before its payload passes where the payload may be missing.
            let may_be_bare = matches!(kind, PacketKind::Connect | PacketKind::Disconnect | PacketKind::Ack);
            assert!(decode(prefix).is_err() || may_be_bare && !prefix.contains(['[', '{']), "{prefix}");
        }
        for tail in ["x", "\0", " ", "[]", "{", "\u{feff}"] {
            let longer = format!("{text}{tail}");
            let still_a_name =
                !text.contains(',') && text.contains('/') && matches!(tail, "x" | " " | "[]" | "{" | "\u{feff}");
            assert_eq!(decode(&longer).is_ok(), still_a_name, "{longer:?}");
        }
    }
}

#[test]
fn unknown_and_server_side_types_are_refused() {
    refused(&[
        ("", UnknownType),
        ("7", UnknownType),
        ("9[\"a\"]", UnknownType),
        ("a", UnknownType),
        ("-1", UnknownType),
        (" 2[\"a\"]", UnknownType),
        ("\u{feff}2[\"a\"]", UnknownType),
        ("é", UnknownType),
        ("٢[\"a\"]", UnknownType),
        ("4", ServerOnly),
        ("4{\"message\":\"x\"}", ServerOnly),
    ]);
}

#[test]
fn s1_s2_the_number_of_attachments_is_judged_before_anything_is_buffered() {
    refused(&[
        ("5999999999999-[\"a\"]", TooManyAttachments),
        ("599999999999999999999999999999-[\"a\"]", TooManyAttachments),
        ("511-[\"a\"]", TooManyAttachments),
        ("611-1[]", TooManyAttachments),
        ("50-[\"a\"]", AttachmentCount),
        ("60-1[]", AttachmentCount),
        ("501-[\"a\"]", AttachmentCount),
        ("500-[\"a\"]", AttachmentCount),
    ]);
    let ten: Vec<String> = (0..10).map(|n| format!("{{\"_placeholder\":true,\"num\":{n}}}")).collect();
    assert_eq!(decode(&format!("510-[\"a\",{}]", ten.join(","))), Ok(None), "ten are allowed");
}

#[test]
fn s1_the_sum_of_the_attachments_is_capped() {
    let now = Instant::now();
    let text = r#"52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    for (sizes, expected) in [
        ([600_000, 400_000], Ok(true)),
        ([600_000, 400_001], Err(AttachmentsTooLarge)),
        ([MAX_ATTACHMENT_BYTES, 0], Ok(true)),
        ([0, MAX_ATTACHMENT_BYTES + 1], Err(AttachmentsTooLarge)),
    ] {
        let mut decoder = Decoder::default();
        decoder.text(text, now).unwrap();
        assert_eq!(decoder.binary(Bytes::from(vec![0; sizes[0]]), now), Ok(None));
        let last = decoder.binary(Bytes::from(vec![0; sizes[1]]), now);
        assert_eq!(last.map(|packet| packet.is_some()), expected, "{sizes:?}");
        assert!(!decoder.is_waiting(), "memory is given back either way");
    }
}

#[test]
fn s3_the_number_of_attachments_is_digits_only() {
    refused(&[
        ("51e0-[\"a\"]", AttachmentCount),
        ("50x1-[\"a\"]", AttachmentCount),
        ("5 1-[\"a\"]", AttachmentCount),
        ("51 -[\"a\"]", AttachmentCount),
        ("5-1-[\"a\"]", AttachmentCount),
        ("5+1-[\"a\"]", AttachmentCount),
        ("51.5-[\"a\"]", AttachmentCount),
        ("5-[\"a\"]", AttachmentCount),
        ("51[\"a\"]", AttachmentCount),
        ("5", AttachmentCount),
        ("51", AttachmentCount),
        ("5[\"a\"]", AttachmentCount),
        ("5١-[\"a\"]", AttachmentCount),
    ]);
}

#[test]
fn s4_placeholders_match_the_attachments_or_the_text_is_refused_at_once() {
    for num in ["1", "-1", "0.5", "\"0\"", "\"splice\"", "null", "1e309", "{}", "18446744073709551616"] {
        let placeholder = format!("{{\"_placeholder\":true,\"num\":{num}}}");
        refused(&[(&format!("51-[\"a\",{placeholder}]"), Placeholder), (&format!("61-1[{placeholder}]"), Placeholder)]);
    }
    refused(&[
        ("51-[\"a\",{\"_placeholder\":true}]", Placeholder),
        ("51-[\"a\"]", Placeholder),
        ("51-[\"a\",{\"_placeholder\":true,\"num\":0,\"x\":1}]", Placeholder),
        (&format!("51-[\"a\",{PLACEHOLDER},{PLACEHOLDER}]"), Placeholder),
        (&format!("52-[\"a\",{PLACEHOLDER},{PLACEHOLDER}]"), Placeholder),
        (&format!("51-[{PLACEHOLDER}]"), Payload),
    ]);
}

#[test]
fn s4_attachments_keep_their_place_when_placeholders_are_swapped() {
    let now = Instant::now();
    let mut decoder = Decoder::default();
    let text = r#"52-["a",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;
    assert_eq!(decoder.text(text, now), Ok(None));
    assert_eq!(decoder.binary(Bytes::from_static(b"zero"), now), Ok(None));
    let packet = decoder.binary(Bytes::from_static(b"one"), now).unwrap().unwrap();
    assert_eq!(packet.attachments, [&b"zero"[..], b"one"]);
    assert_eq!(packet.data, &text[3..]);
}

#[test]
fn s5_placeholders_in_a_plain_event_are_inert() {
    let text = r#"2["a",{"_placeholder":true,"num":7},{"_placeholder":true,"num":"splice"}]"#;
    let packet = decode(text).unwrap().unwrap();
    assert_eq!(packet.data, &text[1..]);
    assert!(packet.attachments.is_empty());
}

#[test]
fn s6_text_and_binary_come_only_in_their_turn() {
    let now = Instant::now();
    let header = format!("51-[\"a\",{PLACEHOLDER}]");
    for text in [header.as_str(), "2[\"a\"]", "1", ""] {
        let mut decoder = Decoder::default();
        decoder.text(&header, now).unwrap();
        assert!(decoder.is_waiting());
        assert_eq!(decoder.text(text, now), Err(UnexpectedText), "{text}");
        assert!(!decoder.is_waiting());
    }
    let mut decoder = Decoder::default();
    assert_eq!(decoder.binary(Bytes::new(), now), Err(UnexpectedBinary));
    decoder.text(&header, now).unwrap();
    assert!(decoder.binary(Bytes::new(), now).unwrap().is_some());
    assert_eq!(decoder.binary(Bytes::new(), now), Err(UnexpectedBinary), "one too many");
}

#[test]
fn s6_attachments_have_ten_seconds_from_the_text_to_the_last() {
    let start = Instant::now();
    let text = r#"52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    let deadline = start + ATTACHMENTS_TIMEOUT;
    let just_before = deadline - Duration::from_nanos(1);
    for (second, expected) in [(just_before, Ok(true)), (deadline, Err(AttachmentsLate))] {
        let mut decoder = Decoder::default();
        decoder.text(text, start).unwrap();
        assert_eq!(decoder.binary(Bytes::new(), just_before), Ok(None));
        assert_eq!(decoder.deadline(), Some(deadline), "no attachment buys time");
        assert_eq!(decoder.binary(Bytes::new(), second).map(|packet| packet.is_some()), expected);
    }
}

#[test]
fn s7_an_event_begins_with_its_name() {
    refused(&[
        ("2[{\"toString\":\"foo\"}]", Payload),
        ("2[]", Payload),
        ("2{}", Payload),
        ("2[null]", Payload),
        ("2[[\"a\"]]", Payload),
        ("2[1]", Payload),
        ("2[true]", Payload),
        ("2", Payload),
        ("21", Payload),
        ("2\"a\"", Payload),
        ("2null", Payload),
        ("2/admin", Payload),
        ("2/admin,", Payload),
        ("2/admin[\"a\"]", Payload),
    ]);
}

#[test]
fn s8_reserved_and_hostile_names_are_left_to_the_application() {
    for name in ["error", "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]
        .into_iter()
        .chain(["__proto__", "constructor", "a\\r\\n\\u0000\\u001b[31m", ""])
    {
        let text = format!("2[\"{name}\"]");
        assert!(decode(&text).unwrap().is_some(), "{name}");
    }
    refused(&[
        (&format!("2[\"{}\"]", "a".repeat(129)), EventName),
        (&format!("2[\"{}\"]", "a".repeat(1_000_000)), EventName),
        ("2[\"\\ud800\"]", EventName),
        ("2[\"a\0\"]", Json),
    ]);
}

#[test]
fn s9_acks_carry_an_array() {
    refused(&[("37", Payload), ("3{}", Payload), ("37{}", Payload), ("37\"a\"", Payload), ("3null", Payload)]);
    for text in ["3", "3[]", "3[1]"] {
        assert_eq!(decode(text).unwrap().unwrap().id, None, "{text}: no error, but nothing it could answer");
    }
}

#[test]
fn s10_ack_ids_are_plain_64_bit_numbers() {
    refused(&[
        ("218446744073709551616[\"a\"]", BadAckId),
        ("2100000000000000000000[\"a\"]", BadAckId),
        (&format!("2{}[\"a\"]", "9".repeat(400)), BadAckId),
        (&format!("2{}[\"a\"]", "9".repeat(1_000_000)), BadAckId),
        ("200[\"a\"]", BadAckId),
        ("2007[\"a\"]", BadAckId),
        ("3007[]", BadAckId),
        ("2 [\"a\"]", Payload),
        ("2\n[\"a\"]", Payload),
        ("2 1[\"a\"]", Payload),
        ("21 [\"a\"]", Payload),
        ("2-1[\"a\"]", Payload),
        ("2+1[\"a\"]", Payload),
        ("21.5[\"a\"]", Payload),
        ("21e3[\"a\"]", Payload),
        ("2١[\"a\"]", Payload),
        ("07{}", BadAckId),
        ("17", BadAckId),
    ]);
}

#[test]
fn s11_namespaces_are_bounded_and_printable() {
    refused(&[
        (&format!("0/{}", "a".repeat(1_000_000)), Namespace),
        (&format!("0/{}", "a".repeat(MAX_NAMESPACE_BYTES)), Namespace),
        (&format!("2/{},[\"a\"]", "a".repeat(MAX_NAMESPACE_BYTES)), Namespace),
        ("0/a?x=1", Namespace),
        ("0/?token=1,", Namespace),
        ("0/a\0,", Namespace),
        ("0/a\r\n", Namespace),
        ("0/\u{1b}[31m", Namespace),
        ("0/\u{85}", Namespace),
    ]);
    // Well-formed and unknown: the connection answers those, whatever they look like.
    let longest = format!("/{}", "a".repeat(MAX_NAMESPACE_BYTES - 1));
    for name in ["//", "/../", "/\u{202e}nimda", "/__proto__", "/%00", longest.as_str()] {
        let text = format!("0{name}");
        assert_eq!(decode(&text).unwrap().unwrap().namespace, name);
    }
}

#[test]
fn s12_connect_and_disconnect_carry_an_object_or_nothing() {
    refused(&[
        ("0[]", Payload),
        ("0\"x\"", Payload),
        ("0null", Payload),
        ("0true", Payload),
        ("0/admin,[]", Payload),
        ("0{", Json),
        ("0{}{}", Json),
        ("0{} ", Json),
        ("0{\"token\":}", Json),
        ("1{}", Payload),
        ("1[]", Payload),
        ("1\"x\"", Payload),
        ("1/admin,{}", Payload),
    ]);
    let hostile = r#"0{"token":{"$ne":null}}"#;
    assert_eq!(decode(hostile).unwrap().unwrap().data, &hostile[1..], "an object; the token is for others to judge");
}

#[test]
fn s13_json_is_valid_shallow_and_alone() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let event = |depth: usize| format!("2[\"a\",{}1{}]", open.repeat(depth - 1), close.repeat(depth - 1));
        assert!(decode(&event(32)).unwrap().is_some());
        for depth in [33, 101, 127, 129, 100_000] {
            assert_eq!(decode(&event(depth)), Err(TooDeep), "{depth}");
        }
    }
    let auth = format!("0{}1{}", "{\"a\":".repeat(33), "}".repeat(33));
    assert_eq!(decode(&auth), Err(TooDeep));
    let brackets = format!("2[\"a\",\"{}\"]", "[{".repeat(1_000));
    assert!(decode(&brackets).unwrap().is_some(), "brackets in a string are text");
    refused(&[
        ("2[\"a\"]x", Json),
        ("2[\"a\"] ", Json),
        ("2[\"a\"]\n", Json),
        ("2[\"a\"][\"b\"]", Json),
        ("2[\"a\",]", Json),
        ("2[\"a\" \"b\"]", Json),
        ("2[\"a\",01]", Json),
        ("2[\"a\",NaN]", Json),
        ("2[\"a\",\"\t\"]", Json),
        ("2[\"a\",undefined]", Json),
        ("2[\"a\"", Json),
        ("2\u{feff}[\"a\"]", Payload),
        ("2[\u{feff}\"a\"]", Json),
    ]);
}

#[test]
fn s13_s14_odd_but_valid_json_is_passed_on_as_it_is() {
    let keys: Vec<String> = (0..100_000).map(|n| format!("\"{n}\":0")).collect();
    for args in [
        "1e400".to_owned(),
        "-0".to_owned(),
        "9".repeat(1_000_000),
        format!("{{{}}}", keys.join(",")),
        r#"{"a":1,"a":2}"#.to_owned(),
        r#""\ud800""#.to_owned(),
        r#""\u0000""#.to_owned(),
        r#"{"$where":1,"a.b":2,"__proto__":{}}"#.to_owned(),
    ] {
        let text = format!("2[\"a\",{args}]");
        let event = event::Event::try_from(decode(&text).unwrap().unwrap()).unwrap();
        assert_eq!(event.args.raw(), args);
        assert_eq!(event.args.iter().count(), 1);
    }
}

#[test]
fn an_idle_decoder_is_one_pointer() {
    assert_eq!(size_of::<Decoder>(), size_of::<usize>());
}
