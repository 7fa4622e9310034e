//! The wire's cases, good and hostile. The golden bytes were written by notepack.io 2.2.0, its build for Node.

use proptest::prelude::*;

use super::*;
use crate::socketio::decode::MAX_NAMESPACE_BYTES;
use DecodeError::{
    AckId as BadAckId, AttachmentsTooLarge, EventName, MsgPack, Namespace, Payload, Placeholder, ServerOnly, TooDeep,
    TooManyAttachments, UnknownType,
};

pub(in crate::socketio::msgpack) fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

pub(in crate::socketio::msgpack) fn read(message: &[u8]) -> Result<Packet<'static>, DecodeError> {
    decode(&Bytes::copy_from_slice(message))
}

/// An event `e` with one argument, given in MessagePack.
pub(in crate::socketio::msgpack) fn event_of(argument: &[u8]) -> Vec<u8> {
    [b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e", argument].concat()
}

/// The JSON text that one argument in MessagePack becomes.
pub(in crate::socketio::msgpack) fn argument(bytes: &[u8]) -> Result<String, DecodeError> {
    let data = read(&event_of(bytes))?.data.into_owned();
    Ok(data.strip_prefix("[\"e\",").unwrap().strip_suffix(']').unwrap().to_owned())
}

/// Message, type, namespace, id, payload, attachments.
type Case = (&'static str, PacketKind, &'static str, Option<u64>, &'static str, &'static [&'static [u8]]);

const PLACEHOLDER: &str = r#"["b",{"_placeholder":true,"num":0}]"#;

const CASES: &[Case] = &[
    // { type: 0, data: undefined, nsp: "/" }
    ("83a47479706500a464617461d40000a36e7370a12f", PacketKind::Connect, "/", None, "", &[]),
    // { type: 0, data: { token: "123" }, nsp: "/admin" }
    (
        "83a47479706500a46461746181a5746f6b656ea3313233a36e7370a62f61646d696e",
        PacketKind::Connect,
        "/admin",
        None,
        r#"{"token":"123"}"#,
        &[],
    ),
    ("82a47479706501a36e7370a12f", PacketKind::Disconnect, "/", None, "", &[]),
    // { type: 2, data: ["hey", 1, -1, 1.5], options: { compress: true }, nsp: "/" }
    (
        "84a47479706502a46461746194a368657901ffcb3ff8000000000000a76f7074696f6e7381a8636f6d7072657373c3a36e7370a12f",
        PacketKind::Event,
        "/",
        None,
        r#"["hey",1,-1,1.5]"#,
        &[],
    ),
    // { type: 2, data: ["hey"], options: { compress: true }, id: 300, nsp: "/" }
    (
        "85a47479706502a46461746191a3686579a76f7074696f6e7381a8636f6d7072657373c3a26964cd012ca36e7370a12f",
        PacketKind::Event,
        "/",
        Some(300),
        r#"["hey"]"#,
        &[],
    ),
    // { type: 3, id: 13, data: ["bar"], nsp: "/admin" }
    (
        "84a47479706503a269640da46461746191a3626172a36e7370a62f61646d696e",
        PacketKind::Ack,
        "/admin",
        Some(13),
        r#"["bar"]"#,
        &[],
    ),
    // ["b", Buffer 1 2 3], which is what an ArrayBuffer becomes in a browser
    ("83a47479706502a46461746192a162c403010203a36e7370a12f", PacketKind::Event, "/", None, PLACEHOLDER, &[&[1, 2, 3]]),
    // ["b", Uint8Array 1 2 3]
    (
        "83a47479706502a46461746192a162c70300010203a36e7370a12f",
        PacketKind::Event,
        "/",
        None,
        PLACEHOLDER,
        &[&[1, 2, 3]],
    ),
    // ["u", undefined, { a: undefined, b: 1, c: undefined }, [undefined]]
    (
        "83a47479706502a46461746194a175d4000083a161d40000a16201a163d4000091d40000a36e7370a12f",
        PacketKind::Event,
        "/",
        None,
        r#"["u",null,{"b":1},[null]]"#,
        &[],
    ),
    // ["d", new Date(1770091446789), new Date(-1)]
    (
        "83a47479706502a46461746193a164d7000000019c21ac0205d700ffffffffffffffffa36e7370a12f",
        PacketKind::Event,
        "/",
        None,
        r#"["d","2026-02-03T04:04:06.789Z","1969-12-31T23:59:59.999Z"]"#,
        &[],
    ),
    // ["n", NaN, Infinity, -Infinity, -0]
    (
        "83a47479706502a46461746195a16ecb7ff8000000000000cb7ff0000000000000cbfff000000000000000a36e7370a12f",
        PacketKind::Event,
        "/",
        None,
        r#"["n",null,null,null,0]"#,
        &[],
    ),
    // Whole numbers on either side of every format's bounds.
    (
        "83a47479706502a464617461dc0013a1697fcc80ccffcd0100cdffffce00010000ceffffffffcf0000000100000000cf001fffffffffffffe0\
         d0dfd080d1ff7fd18000d2ffff7fffd280000000d3ffffffff7fffffffd3ffe0000000000001a36e7370a12f",
        PacketKind::Event,
        "/",
        None,
        "[\"i\",127,128,255,256,65535,65536,4294967295,4294967296,9007199254740991,-32,-33,-128,-129,-32768,-32769,\
         -2147483648,-2147483649,-9007199254740991]",
        &[],
    ),
];

#[test]
fn what_clients_send_is_read() {
    for &(hex, kind, namespace, id, data, attachments) in CASES {
        let expected = Packet {
            kind,
            namespace: namespace.into(),
            id: id.map(AckId),
            data: data.into(),
            attachments: attachments.iter().map(|data| Bytes::from_static(data)).collect(),
        };
        assert_eq!(read(&unhex(hex)), Ok(expected), "{hex}");
    }
}

#[test]
fn s13_no_beginning_of_a_packet_and_no_longer_message_passes_for_it() {
    for (hex, ..) in CASES {
        let message = unhex(hex);
        for end in 0..message.len() {
            assert_eq!(read(&message[..end]).map(|_| end), Err(MsgPack), "{hex}");
        }
        assert_eq!(read(&[&message[..], &[0xc0]].concat()), Err(MsgPack), "{hex}");
    }
}

#[test]
fn numbers_are_written_as_javascript_has_them() {
    for (bytes, expected) in [
        (&b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"[..], "18446744073709551615"),
        (b"\xd3\x80\0\0\0\0\0\0\0", "-9223372036854775808"),
        (b"\xd3\0\0\0\0\0\0\0\x01", "1"),
        (b"\xcd\0\x05", "5"),
        (b"\xca\x3f\x80\0\0", "1"),
        (b"\xca\x3d\xcc\xcc\xcd", "0.10000000149011612"),
        (b"\xca\x7f\xc0\0\0", "null"),
        (b"\xcb\x80\0\0\0\0\0\0\0", "0"),
    ] {
        assert_eq!(argument(bytes).as_deref(), Ok(expected), "{bytes:x?}");
    }
    for (number, expected) in [
        (42.0, "42"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (1e20, "100000000000000000000"),
        (1e21, "1e21"),
        (-1e300, "-1e300"),
        (0.000_001, "0.000001"),
        (0.000_000_1, "1e-7"),
        (123_456_789_012_345_680_000.0, "123456789012345680000"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e308"),
    ] {
        let bytes = [&[0xcb][..], &f64::to_be_bytes(number)].concat();
        assert_eq!(argument(&bytes).as_deref(), Ok(expected));
    }
}

#[test]
fn a_date_that_is_none_is_null() {
    assert_eq!(argument(b"\xd7\0\x7f\xff\xff\xff\xff\xff\xff\xff").as_deref(), Ok("null"));
    assert_eq!(argument(b"\xd7\0\x80\0\0\0\0\0\0\0").as_deref(), Ok("null"));
}

#[test]
fn text_is_escaped_where_json_needs_it() {
    assert_eq!(argument(b"\xa6a\"\\\n\0\x1b").as_deref(), Ok(r#""a\"\\\n\u0000\u001b""#));
    assert_eq!(argument("\u{ac}é😀\u{2028}\x7f".as_bytes()), Err(MsgPack), "a length that cuts a character");
    assert_eq!(argument("\u{ab}".as_bytes().get(1..).unwrap()), Err(MsgPack), "no UTF-8");
    for bytes in [&b"\xa1\xff"[..], b"\xa2\xc3\x28", b"\xa3\xed\xa0\x80", b"\xa1\xc3"] {
        assert_eq!(argument(bytes), Err(MsgPack), "{bytes:x?}");
    }
}

#[test]
fn s13_what_is_no_value_of_the_dialect_is_refused() {
    for bytes in [
        &b""[..],
        b"\xc1",
        // ext types that nobody writes, and formats of the one that has no meaning in them
        b"\xd4\x01\0",
        b"\xd5\0\0\0",
        b"\xd6\0\0\0\0\0",
        b"\xd6\xff\0\0\0\0",
        b"\xd7\x01\0\0\0\0\0\0\0\0",
        b"\xd8\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\xc7\x01\x05\0",
        b"\xc7\x0c\xff\0\0\0\0\0\0\0\0\0\0\0\0",
        // keys
        b"\x81\x01\x01",
        b"\x81\xc0\x01",
        b"\x81\xc4\x01a\x01",
        b"\x82\xa1a\x01\xa1a\x01",
        b"\x83\xa1a\x01\xa1b\x01\xa1a\xd4\0\0",
    ] {
        assert_eq!(argument(bytes), Err(MsgPack), "{bytes:x?}");
    }
    assert_eq!(argument(b"\x82\xa1a\x81\xa1a\x01\xa1b\x81\xa1a\x01").as_deref(), Ok(r#"{"a":{"a":1},"b":{"a":1}}"#));
}

#[test]
fn s13_declared_lengths_are_not_believed() {
    for bytes in [
        &b"\xdb\xff\xff\xff\xff"[..],
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\0",
        b"\xdd\xff\xff\xff\xff",
        b"\xdd\x7f\xff\xff\xff\xc0\xc0",
        b"\xdf\xff\xff\xff\xff",
        b"\xdf\x80\0\0\0\xa0\xc0",
        b"\xde\xff\xff\xa0\xc0",
        b"\xdc\xff\xff\xc0",
    ] {
        assert_eq!(argument(bytes), Err(MsgPack), "{bytes:x?}");
        assert_eq!(read(bytes), Err(MsgPack), "{bytes:x?}");
    }
}

#[test]
fn s13_nesting_is_bounded_for_arrays_and_maps() {
    for open in [&b"\x91"[..], b"\x81\xa1a"] {
        // The list of the event is the first level.
        let nested = |depth: usize| [&open.repeat(depth - 1)[..], &[1]].concat();
        assert!(argument(&nested(MAX_DEPTH)).is_ok());
        for depth in [MAX_DEPTH + 1, 1_000, 100_000] {
            assert_eq!(argument(&nested(depth)), Err(TooDeep), "{depth}");
            assert_eq!(argument(&open.repeat(depth)), Err(TooDeep), "{depth}, unfinished");
            let beside = [b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1e\xa1x", &nested(depth + 1)[..]].concat();
            assert_eq!(read(&beside), Err(TooDeep), "{depth}, in a key that is read over");
        }
    }
}

#[test]
fn s13_an_attachment_nests_as_deep_as_the_placeholder_that_it_becomes() {
    let nested = |arrays: usize| [&b"\x91".repeat(arrays)[..], b"\xc4\x01x"].concat();
    // The list of the event is the first level, the placeholder the last.
    assert!(argument(&nested(MAX_DEPTH - 2)).is_ok());
    assert_eq!(argument(&nested(MAX_DEPTH - 1)), Err(TooDeep));
}

#[test]
fn s1_attachments_are_bounded_in_number_and_bytes() {
    let binaries = |count: usize, header: &[u8]| argument(&[header, &b"\xc4\x01x".repeat(count)].concat());
    assert!(binaries(MAX_ATTACHMENTS, b"\x9a").is_ok());
    assert_eq!(binaries(MAX_ATTACHMENTS + 1, b"\x9b"), Err(TooManyAttachments));
    assert_eq!(binaries(10_000, b"\xdc\x27\x10"), Err(TooManyAttachments));
    let large = |length: usize| {
        let half = u32::try_from(length / 2).unwrap().to_be_bytes();
        let binary = [&[0xc6][..], &half, &vec![0; length / 2]].concat();
        read(&event_of(&[&[0x92][..], &binary, &binary].concat())).map(|packet| packet.attachments.len())
    };
    assert_eq!(large(MAX_ATTACHMENT_BYTES), Ok(2));
    assert_eq!(large(MAX_ATTACHMENT_BYTES + 2), Err(AttachmentsTooLarge));
}

#[test]
fn attachments_share_the_memory_of_their_message() {
    let message = Bytes::from(event_of(b"\xc4\x03abc"));
    let packet = decode(&message).unwrap();
    let range = message.as_ptr_range();
    assert!(range.contains(&packet.attachments[0].as_ptr()));
}

#[test]
fn s4_s5_an_object_that_looks_like_a_placeholder_never_becomes_an_attachment() {
    let written = b"\x82\xac_placeholder\xc3\xa3num\x00";
    assert_eq!(argument(written).as_deref(), Ok(r#"{"_placeholder":true,"num":0}"#));
    assert!(read(&event_of(written)).unwrap().attachments.is_empty());
    for order in [[&written[..], b"\xc4\x01x"], [b"\xc4\x01x", &written[..]]] {
        assert_eq!(argument(&[&[0x92], order[0], order[1]].concat()), Err(Placeholder));
    }
}

/// A packet's map out of keys and values.
fn map(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut message = vec![0x80 | u8::try_from(members.len()).unwrap()];
    for (key, value) in members {
        message.push(0xa0 | u8::try_from(key.len()).unwrap());
        message.extend_from_slice(key.as_bytes());
        message.extend_from_slice(value);
    }
    message
}

#[test]
fn a_packet_has_the_keys_that_the_reference_checks() {
    const ROOT: &[u8] = b"\xa1/";
    const DATA: &[u8] = b"\x91\xa1e";
    for (members, error) in [
        (&[][..], UnknownType),
        (&[("nsp", ROOT), ("data", DATA)][..], UnknownType),
        (&[("type", b"\x05"), ("nsp", ROOT), ("data", DATA)], UnknownType),
        (&[("type", b"\x06"), ("nsp", ROOT), ("data", DATA)], UnknownType),
        (&[("type", b"\xff"), ("nsp", ROOT), ("data", DATA)], UnknownType),
        (&[("type", b"\xcb\x40\0\0\0\0\0\0\0"), ("nsp", ROOT), ("data", DATA)], UnknownType),
        (&[("type", b"\xa12"), ("nsp", ROOT), ("data", DATA)], UnknownType),
        (&[("type", b"\x91\x02"), ("nsp", ROOT), ("data", DATA)], UnknownType),
        (&[("type", b"\x04"), ("nsp", ROOT), ("data", b"\xa1x")], ServerOnly),
        (&[("type", b"\x02"), ("data", DATA)], Namespace),
        (&[("type", b"\x02"), ("nsp", b"\xc0"), ("data", DATA)], Namespace),
        (&[("type", b"\x02"), ("nsp", b"\xa0"), ("data", DATA)], Namespace),
        (&[("type", b"\x02"), ("nsp", b"\xa1a"), ("data", DATA)], Namespace),
        (&[("type", b"\x02"), ("nsp", b"\xa4/a?b"), ("data", DATA)], Namespace),
        (&[("type", b"\x02"), ("nsp", b"\xa3/\r\n"), ("data", DATA)], Namespace),
        (&[("type", b"\x02"), ("nsp", ROOT)], Payload),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", b"\xd4\0\0")], Payload),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", b"\xc0")], Payload),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", b"\x90")], Payload),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", b"\x91\x01")], Payload),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", b"\x91\xc4\x01e")], Payload),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", b"\x91\xd4\0\0")], Payload),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", b"\x81\xa1e\x01")], Payload),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", b"\xa5[\"e\"]")], Payload),
        (&[("type", b"\x03"), ("nsp", ROOT), ("id", b"\x01")], Payload),
        (&[("type", b"\x03"), ("nsp", ROOT), ("id", b"\x01"), ("data", b"\xc4\x01e")], Payload),
        (&[("type", b"\x00"), ("nsp", ROOT), ("data", b"\xc0")], Payload),
        (&[("type", b"\x00"), ("nsp", ROOT), ("data", b"\x90")], Payload),
        (&[("type", b"\x00"), ("nsp", ROOT), ("data", b"\xc4\x01e")], Payload),
        (&[("type", b"\x00"), ("nsp", ROOT), ("data", b"\x81\xa1a\xc4\x01e")], Payload),
        (&[("type", b"\x01"), ("nsp", ROOT), ("data", b"\xc0")], Payload),
        (&[("type", b"\x01"), ("nsp", ROOT), ("data", b"\x80")], Payload),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", DATA), ("options", b"\xc4\x01x")], Payload),
        (&[("type", b"\x00"), ("nsp", ROOT), ("id", b"\x01")], BadAckId),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", DATA), ("id", b"\xc0")], BadAckId),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", DATA), ("id", b"\xff")], BadAckId),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", DATA), ("id", b"\xa11")], BadAckId),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", DATA), ("id", b"\xcb\x3f\xf0\0\0\0\0\0\0")], BadAckId),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", DATA), ("data", DATA)], MsgPack),
        (&[("type", b"\x02"), ("type", b"\x02"), ("nsp", ROOT), ("data", DATA)], MsgPack),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", DATA), ("x", b"\x82\xa1a\x01\xa1a\x01")], MsgPack),
    ] {
        assert_eq!(read(&map(members)), Err(error), "{members:x?}");
    }
    for (members, id) in [
        (&[("data", DATA), ("nsp", ROOT), ("type", b"\x02")][..], None),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", DATA), ("id", b"\xd4\0\0")], None),
        (&[("type", b"\xd0\x02"), ("nsp", ROOT), ("data", DATA), ("id", b"\xd1\0\x07")], Some(AckId(7))),
        (&[("type", b"\x02"), ("nsp", ROOT), ("data", DATA), ("id", b"\x00")], Some(AckId(0))),
        (
            &[("type", b"\x02"), ("nsp", ROOT), ("data", DATA), ("id", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff")],
            Some(AckId(u64::MAX)),
        ),
        (&[("attachments", b"\x05"), ("type", b"\x02"), ("nsp", ROOT), ("x", b"\xa1y"), ("data", DATA)], None),
    ] {
        let packet = read(&map(members)).unwrap();
        assert_eq!((packet.kind, packet.id, &*packet.data), (PacketKind::Event, id, "[\"e\"]"), "{members:x?}");
    }
}

#[test]
fn s8_s11_names_are_bounded() {
    let named = |namespace: &str, event: &str| {
        let long =
            |text: &str| [&[0xda][..], &u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat();
        read(&map(&[("type", b"\x02"), ("nsp", &long(namespace)), ("data", &[&[0x91][..], &long(event)].concat())]))
    };
    assert!(named(&format!("/{}", "a".repeat(MAX_NAMESPACE_BYTES - 1)), &"é".repeat(64)).is_ok());
    assert_eq!(named(&format!("/{}", "a".repeat(MAX_NAMESPACE_BYTES)), "e"), Err(Namespace));
    for event in ["a".repeat(129), "é".repeat(65), "a".repeat(60_000)] {
        assert_eq!(named("/", &event), Err(EventName));
    }
}

#[test]
fn s13_a_megabyte_of_keys_takes_no_time() {
    let mut members: Vec<u8> = (0..200_000).flat_map(|n| format!("\u{0}{n:05x}\u{0}").into_bytes()).collect();
    members.chunks_mut(7).for_each(|member| member[0] = 0xa5);
    let start = std::time::Instant::now();
    let map = |members: &[u8]| argument(&[&[0xdf][..], &200_000u32.to_be_bytes(), members].concat());
    assert!(map(&members).is_ok());
    // The last key is the first one again.
    let end = members.len();
    members[end - 6..end - 1].copy_from_slice(b"00000");
    assert_eq!(map(&members), Err(MsgPack));
    // Generous even unoptimised; far too little for a comparison of each with each.
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

proptest! {
    #[test]
    fn a_float_keeps_its_value(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
        let text = argument(&[&[0xcb][..], &number.to_be_bytes()].concat()).unwrap();
        prop_assert_eq!(text.parse::<f64>().unwrap(), number, "{}", text);
        prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic_and_what_it_takes_is_json(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x80..0xc0u8, 0xc0..0xe0u8, Just(0u8)], 0..40),
    ) {
        for message in [bytes.clone(), event_of(&bytes)] {
            if let Ok(packet) = read(&message)
                && !packet.data.is_empty()
            {
                prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&packet.data).is_ok(), "{}", packet.data);
            }
        }
    }
}
