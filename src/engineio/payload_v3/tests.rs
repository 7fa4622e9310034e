//! One table for reader and writer, what is refused, and the properties that hold for any packets and any bytes.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use ClientPacket::{Binary, Close, Message, Ping, Probe, Upgrade};

fn read(form: Form, body: &[u8]) -> Result<Vec<Result<ClientPacket<'_>, PacketError>>, PayloadError> {
    decode(form, body).map(Iterator::collect)
}

fn written(form: Form, packets: &[ServerPacket<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for packet in packets {
        let announced = len_with(form, body.len(), *packet);
        append(form, &mut body, *packet);
        assert_eq!(body.len(), announced, "as long as announced");
    }
    body
}

fn bytes(data: &'static [u8]) -> ClientPacket<'static> {
    Binary(Bytes::from_static(data))
}

/// A form, packets as they are on a WebSocket, the body that they make, and what a reader makes of that.
type Case = (Form, &'static [ServerPacket<'static>], &'static [u8], Vec<ClientPacket<'static>>);

/// Among them every example of the protocol document.
fn cases() -> Vec<Case> {
    use Form::{Binary as InBytes, Text as InText};
    const fn text(packet: &'static str) -> ServerPacket<'static> {
        ServerPacket::Text(packet.as_bytes())
    }
    const DATA: ServerPacket<'static> = ServerPacket::Binary(&[4, 1, 2, 3, 4]);
    vec![
        (InText, const { &[text("4hello")] }, b"6:4hello", vec![Message("hello")]),
        (
            InText,
            const { &[text("4hello"), text("4world"), text("2probe")] },
            b"6:4hello6:4world6:2probe",
            vec![Message("hello"), Message("world"), Probe],
        ),
        (InText, const { &[text("4")] }, b"1:4", vec![Message("")]),
        (InText, const { &[text("410:x")] }, b"5:410:x", vec![Message("10:x")]),
        // Two bytes and one unit; three bytes and one unit; four bytes and two units.
        (InText, const { &[text("4é€")] }, "3:4é€".as_bytes(), vec![Message("é€")]),
        (InText, const { &[text("4👩‍🚀"), text("2")] }, "6:4👩‍🚀1:2".as_bytes(), vec![Message("👩‍🚀"), Ping("")]),
        (
            InText,
            const { &[text("4hello"), DATA] },
            b"6:4hello10:b4AQIDBA==",
            vec![Message("hello"), bytes(&[1, 2, 3, 4])],
        ),
        (InText, const { &[ServerPacket::Binary(&[4])] }, b"2:b4", vec![bytes(&[])]),
        (InText, const { &[text("1"), text("5")] }, b"1:11:5", vec![Close, Upgrade]),
        (InBytes, const { &[text("4hello")] }, b"\0\x06\xff4hello", vec![Message("hello")]),
        (
            InBytes,
            const { &[DATA, text("4€")] },
            b"\x01\x05\xff\x04\x01\x02\x03\x04\0\x04\xff4\xe2\x82\xac",
            vec![bytes(&[1, 2, 3, 4]), Message("€")],
        ),
        (
            InBytes,
            const { &[ServerPacket::Binary(&[4, 255, 0, 255])] },
            b"\x01\x04\xff\x04\xff\0\xff",
            vec![bytes(&[255, 0, 255])],
        ),
        (InBytes, const { &[text("4abcdefghij")] }, b"\0\x01\x01\xff4abcdefghij", vec![Message("abcdefghij")]),
    ]
}

#[test]
fn payloads_are_written_and_read_back() {
    for (form, packets, body, expected) in cases() {
        assert_eq!(written(form, packets), body, "{form:?} {packets:?}");
        assert_eq!(read(form, body), Ok(expected.into_iter().map(Ok).collect()), "{form:?} {packets:?}");
    }
}

#[test]
fn a_payload_that_is_cut_off_is_refused_unless_the_cut_is_between_two_packets() {
    for (form, packets, body, expected) in cases() {
        let whole: Vec<usize> = (0..packets.len()).map(|count| written(form, &packets[..count]).len()).collect();
        for cut in 0..body.len() {
            let read = read(form, &body[..cut]);
            match whole.iter().position(|end| *end == cut) {
                Some(count) if count > 0 => {
                    assert_eq!(read, Ok(expected[..count].iter().cloned().map(Ok).collect()), "{body:?} to {cut}");
                }
                _ => assert!(read.is_err(), "{body:?} to {cut}: {read:?}"),
            }
        }
    }
}

#[test]
fn e10_lengths_that_no_client_writes_are_refused_with_all_that_came_before_them() {
    for body in [
        "",
        ":",
        ":4",
        "4",
        "x",
        "4hello",
        "d=6%3A4hello",
        "0:",
        "00:",
        "01:4",
        "1:40:",
        " 1:4",
        "1 :4",
        "+1:4",
        "-1:4",
        "1.0:4",
        "1e0:4",
        "0x1:4",
        "1;4",
        "2:4",
        "1:4x",
        "6:4hello6",
        "6:4hello7:4world",
        "99999999999999999999:4",
        "18446744073709551617:4",
        "4294967297:4",
        "4\x1e4",
        // A character of one unit counted in bytes, one of two counted as one, and one cut in two.
        "4:4€",
        "2:4😀",
        "2:4😀1:2",
        "2:😀:",
    ] {
        assert_eq!(read(Form::Text, body.as_bytes()), Err(PayloadError::Length), "{body}");
    }
    for (body, error) in [
        (&b""[..], PayloadError::Length),
        (b"\0", PayloadError::Length),
        (b"\0\xff", PayloadError::Length),
        (b"\0\0\xff", PayloadError::Length),
        (b"\0\0\x01\xff4", PayloadError::Length),
        (b"\0\x0a\xff4", PayloadError::Length),
        (b"\x001:4", PayloadError::Length),
        (b"\0\x02\xff4", PayloadError::Length),
        (b"\0\x01\xff4\x01", PayloadError::Length),
        (
            b"\x01\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff\x04",
            PayloadError::Length,
        ),
        (b"\x02\x01\xff4", PayloadError::Kind),
        (b"\xff\x01\xff4", PayloadError::Kind),
        (b"1:4", PayloadError::Length),
        (b"\0\x02\xff4\xc3", PayloadError::NotUtf8),
        (b"\0\x04\xff4\xed\xa0\x80", PayloadError::NotUtf8),
    ] {
        assert_eq!(read(Form::Binary, body), Err(error), "{body:?}");
    }
    for body in [&b"2:4\xc3"[..], b"\xff", b"4:4\xed\xa0\x80"] {
        assert_eq!(read(Form::Text, body), Err(PayloadError::NotUtf8), "{body:?}");
    }
}

#[test]
fn e10_a_bad_packet_ends_the_payload_and_what_came_before_counts() {
    for (form, body, error) in [
        (Form::Text, &b"2:4x1:72:4y"[..], PacketError::UnknownType),
        (Form::Text, b"2:4x1:6", PacketError::ServerOnly),
        (Form::Text, b"2:4x2:0{", PacketError::ServerOnly),
        (Form::Text, b"2:4x3:b4!2:4y", PacketError::Base64),
        (Form::Text, b"2:4x1:b", PacketError::UnknownType),
        (Form::Binary, b"\0\x02\xff4x\x01\x01\xff\x07", PacketError::UnknownType),
        (Form::Binary, b"\0\x02\xff4x\x01\x01\xff4", PacketError::UnknownType),
        (Form::Binary, b"\0\x02\xff4x\x01\x01\xff\x06\0\x02\xff4y", PacketError::ServerOnly),
    ] {
        assert_eq!(read(form, body), Ok(vec![Ok(Message("x")), Err(error)]), "{body:?}");
    }
}

#[test]
fn e3_a_payload_of_too_many_packets_is_refused_whole() {
    for (form, piece) in [(Form::Text, &b"2:4x"[..]), (Form::Text, b"1:2"), (Form::Binary, b"\x01\x01\xff\x04")] {
        assert_eq!(read(form, &piece.repeat(MAX_PACKETS)).unwrap().len(), MAX_PACKETS);
        for repeats in [MAX_PACKETS + 1, 1_000_000 / piece.len()] {
            assert_eq!(read(form, &piece.repeat(repeats)), Err(PayloadError::TooManyPackets));
        }
    }
}

#[test]
fn e3_a_megabyte_is_read_in_linear_time_whatever_is_in_it() {
    let start = std::time::Instant::now();
    for (form, body) in [
        (Form::Text, b"1".repeat(1_000_000)),
        (Form::Text, b"0".repeat(1_000_000)),
        (Form::Text, b":".repeat(1_000_000)),
        (Form::Text, [b"999998:".to_vec(), "é".repeat(499_996).into_bytes()].concat()),
        (Form::Binary, [vec![1], vec![0; 999_999]].concat()),
        (Form::Binary, vec![1; 1_000_000]),
        (Form::Binary, vec![255; 1_000_000]),
        (Form::Binary, b"\0\x09\x09\x09\x09\x09\x09\xff".repeat(125_000)),
    ] {
        assert!(read(form, &body).is_err());
    }
    // Generous for linear time, even unoptimised; far too little for quadratic.
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
}

/// A message, as text or as bytes.
fn message() -> impl Strategy<Value = Result<String, Vec<u8>>> {
    prop_oneof![
        "\\PC{0,20}|[\\x00-\\x7f]{0,20}|[😀-😏é€:0-9]{0,20}".prop_map(Ok),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Err),
    ]
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![Just(Form::Text), Just(Form::Binary)]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_the_same(form in form(), messages in prop::collection::vec(message(), 1..20)) {
        let packets: Vec<Result<String, Vec<u8>>> = messages
            .iter()
            .map(|message| match message {
                Ok(text) => Ok(format!("4{text}")),
                Err(data) => Err([&[4], data.as_slice()].concat()),
            })
            .collect();
        let packets: Vec<ServerPacket<'_>> = packets
            .iter()
            .map(|packet| match packet {
                Ok(text) => ServerPacket::Text(text.as_bytes()),
                Err(data) => ServerPacket::Binary(data),
            })
            .collect();
        let body = written(form, &packets);
        let expected = messages
            .iter()
            .map(|message| Ok(match message {
                Ok(text) => Message(text),
                Err(data) => Binary(Bytes::copy_from_slice(data)),
            }))
            .collect();
        prop_assert_eq!(read(form, &body), Ok(expected));
    }

    #[test]
    fn lengths_are_counted_as_in_javascript(text in "\\PC{0,40}|[😀-😏é€a]{0,40}") {
        prop_assert_eq!(utf16_len(text.as_bytes()), text.encode_utf16().count());
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_read_more_than_there_is(
        form in form(),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            prop::collection::vec(prop_oneof![Just(0), Just(1), Just(2), Just(255), Just(b'4')], 0..30),
            "([0-9]{0,2}:?[0-7b]?\\PC?){0,12}".prop_map(String::into_bytes),
        ],
    ) {
        if let Ok(packets) = decode(form, &body) {
            prop_assert!(packets.count() <= body.len());
        }
    }
}
