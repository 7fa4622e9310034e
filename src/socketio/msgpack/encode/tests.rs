//! What is written, byte by byte and read back. The golden bytes were written by notepack.io 2.2.0.

use proptest::prelude::*;

use super::*;
use crate::socketio::msgpack::decode::tests::{argument, event_of, read, unhex};

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = b"before".to_vec();
    write(&mut out);
    out.strip_prefix(b"before").expect("appends, never overwrites").to_vec()
}

#[test]
fn what_a_server_sends_is_what_notepack_would_have_written() {
    let sid = SocketId::new([0; 15]);
    let bin = |data: &'static [u8]| Bytes::from_static(data);
    for (message, expected) in [
        (
            written(|out| connect(out, Revision::V5, "/admin", sid)),
            "83a47479706500a36e7370a62f61646d696ea46461746181a3736964b44141414141414141414141414141414141414141",
        ),
        (written(|out| connect(out, Revision::V4, "/admin", sid)), "82a47479706500a36e7370a62f61646d696e"),
        (
            written(|out| {
                connect_error(out, "/", r#"{"message":"Not authorized","data":{"code":"x"}}"#);
            }),
            "83a47479706504a36e7370a12fa46461746182a76d657373616765ae4e6f7420617574686f72697a6564a46461746181a4636f6465a178",
        ),
        (written(|out| disconnect(out, "/admin")), "82a47479706501a36e7370a62f61646d696e"),
        (
            written(|out| {
                event(out, "/", "hey", r#""Jude",1,[],{},{"a":[true,false,null]}"#, None, &[]);
            }),
            "83a47479706502a36e7370a12fa46461746196a3686579a44a75646501908081a16193c3c2c0",
        ),
        (
            written(|out| event(out, "/", "foo", "", Some(AckId(7)), &[])),
            "84a47479706502a36e7370a12fa2696407a46461746191a3666f6f",
        ),
        (
            written(|out| {
                let args = r#"{"_placeholder":true,"num":0},{"a":{"num":1,"_placeholder":true}}"#;
                event(out, "/", "baz", args, None, &[bin(&[1, 2, 3]), bin(&[4])]);
            }),
            "83a47479706502a36e7370a12fa46461746193a362617ac40301020381a161c40104",
        ),
        (written(|out| ack(out, "/", AckId(12), "", &[])), "84a47479706503a36e7370a12fa269640ca46461746190"),
        (
            written(|out| {
                ack(out, "/admin", AckId(65536), r#"{"_placeholder":true,"num":0}"#, &[bin(&[])]);
            }),
            "84a47479706503a36e7370a62f61646d696ea26964ce00010000a46461746191c400",
        ),
    ] {
        assert_eq!(message, unhex(expected), "{expected}");
    }
}

/// One argument in JSON, as it is written.
fn encoded(json: &str) -> Vec<u8> {
    let message = written(|out| event(out, "/", "e", json, None, &[]));
    message.strip_prefix(&event_of(b"")[..]).expect("one argument").to_vec()
}

#[test]
fn json_numbers_become_integers_where_they_are_some() {
    for (json, expected) in [
        ("0", &b"\0"[..]),
        ("-0", b"\xcb\x80\0\0\0\0\0\0\0"),
        ("127", b"\x7f"),
        ("128", b"\xcc\x80"),
        ("-32", b"\xe0"),
        ("-33", b"\xd0\xdf"),
        ("-129", b"\xd1\xff\x7f"),
        ("-32769", b"\xd2\xff\xff\x7f\xff"),
        ("-2147483649", b"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"),
        ("65536", b"\xce\0\x01\0\0"),
        ("18446744073709551615", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("18446744073709551616", b"\xcb\x43\xf0\0\0\0\0\0\0"),
        ("1.0", b"\xcb\x3f\xf0\0\0\0\0\0\0"),
        ("1e400", b"\xcb\x7f\xf0\0\0\0\0\0\0"),
    ] {
        assert_eq!(encoded(json), expected, "{json}");
    }
}

#[test]
fn json_strings_lose_their_escapes_and_halves_of_surrogate_pairs() {
    for (json, expected) in [
        (r#""a\"\\\/\n\u00e9\ud83d\ude00""#, "a\"\\/\né😀"),
        (r#""\ud800""#, "\u{fffd}"),
        (r#""\udc00\ud800""#, "\u{fffd}\u{fffd}"),
        (r#""x\ud800\ud83d\ude00\udc00y\\ud800""#, "x\u{fffd}😀\u{fffd}y\\ud800"),
        (r#""\ud800\n\ud800\u0041""#, "\u{fffd}\n\u{fffd}A"),
    ] {
        let length = u8::try_from(expected.len()).unwrap();
        assert_eq!(encoded(json), [&[0xa0 | length], expected.as_bytes()].concat(), "{json}");
    }
}

#[test]
fn containers_have_the_shortest_header_and_keep_what_is_in_them() {
    for (count, header) in
        [(15, &b"\x9f"[..]), (16, b"\xdc\0\x10"), (65_535, b"\xdc\xff\xff"), (65_536, b"\xdd\0\x01\0\0")]
    {
        let json = format!("[{}]", vec!["7"; count].join(","));
        assert_eq!(encoded(&json), [header, &vec![7; count]].concat(), "{count}");
        assert_eq!(argument(&encoded(&json)), Ok(json));
        let args = vec!["7"; count].join(",");
        let message = written(|out| ack(out, "/", AckId(1), &args, &[]));
        assert!(message.ends_with(&[header, &vec![7; count]].concat()), "{count}");
    }
    for (count, header) in [(15, &b"\x8f"[..]), (16, b"\xde\0\x10"), (70_000, b"\xdf\0\x01\x11\x70")] {
        let members: Vec<String> = (0..count).map(|n| format!("\"{n}\":{{}}")).collect();
        let json = format!("{{{}}}", members.join(","));
        assert!(encoded(&json).starts_with(header), "{count}");
        assert_eq!(argument(&encoded(&json)), Ok(json));
    }
}

#[test]
fn without_attachments_a_placeholder_is_an_object() {
    assert_eq!(encoded(r#"{"_placeholder":true,"num":0}"#), b"\x82\xac_placeholder\xc3\xa3num\0");
    let attachments = [Bytes::from_static(b"x")];
    for plain in [
        r#"{"_placeholder":true,"num":1}"#,
        r#"{"_placeholder":true}"#,
        r#"{"_placeholder":false,"num":0}"#,
        r#"{"_placeholder":true,"num":0,"x":1}"#,
        r#"{"_placeholder":true,"num":"0"}"#,
    ] {
        let message = written(|out| event(out, "/", "e", plain, None, &attachments));
        assert_eq!(message, event_of(&encoded(plain)), "{plain}");
    }
}

#[test]
fn text_that_is_no_json_makes_no_panic() {
    for text in [
        "]",
        "}}}",
        "[",
        "{",
        "[[[",
        "{\"a\"",
        "{\"a\":",
        "\"",
        "\"\\",
        "\"\\u",
        "\"\\ud800",
        ",",
        ":",
        "\\",
        "nope",
        "--1",
    ] {
        written(|out| event(out, "/", "e", text, None, &[Bytes::new()]));
        written(|out| connect_error(out, "/", text));
    }
    encoded(&"[".repeat(100_000));
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        // Not whole, or it would come back as an integer; short, because serde_json rounds the last digit of long ones.
        any::<i32>().prop_map(|number| (f64::from(number) + 0.125).into()),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..18).prop_map(Into::into),
            prop::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_comes_back_from_messagepack_the_same(
        namespace in "/[a-z]{0,8}",
        name in "\\PC{0,30}|[\\x00-\\x7f]{0,30}",
        values in prop::collection::vec(json(), 0..4),
        id in proptest::option::of(any::<u64>()),
        attachments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from), 0..10),
    ) {
        let placeholders = (0..attachments.len()).map(|num| serde_json::json!({"_placeholder": true, "num": num}));
        let values: Vec<serde_json::Value> = values.into_iter().chain(placeholders).collect();
        let args = values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let id = id.map(AckId);

        let packet = read(&written(|out| event(out, &namespace, &name, &args, id, &attachments))).unwrap();
        prop_assert_eq!((packet.kind, &*packet.namespace, packet.id), (PacketKind::Event, &*namespace, id));
        prop_assert_eq!(&packet.attachments, &attachments);
        let mut expected = vec![serde_json::Value::from(name)];
        expected.extend(values.iter().cloned());
        prop_assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&packet.data).unwrap(), expected);

        let id = id.unwrap_or(AckId(0));
        let packet = read(&written(|out| ack(out, &namespace, id, &args, &attachments))).unwrap();
        prop_assert_eq!((packet.kind, packet.id, packet.attachments), (PacketKind::Ack, Some(id), attachments));
        prop_assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&packet.data).unwrap(), values);
    }
}
