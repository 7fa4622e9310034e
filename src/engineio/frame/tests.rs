//! RFC 6455's examples and the published attacks, each whole, in small chunks and byte by byte.

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 100_000;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame as a client sends it, with `first` as its first byte.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut head = [0; MAX_HEADER];
    let head_len = header(Opcode::Text, payload.len(), &mut head);
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key);
    [&[first, head[1] | 0x80], &head[2..head_len], &MASK, &masked.collect::<Vec<u8>>()].concat()
}

fn client_frames(frames: &[(u8, &[u8])]) -> Vec<u8> {
    frames.iter().flat_map(|(first, payload)| client_frame(*first, payload)).collect()
}

fn text(text: &str) -> Frame<'static> {
    Frame::Text(text.to_owned().into())
}

fn binary(bytes: &[u8]) -> Frame<'static> {
    Frame::Binary(bytes.to_owned().into())
}

fn ping(bytes: &[u8]) -> Frame<'static> {
    Frame::Ping(bytes.to_owned().into())
}

fn into_owned(frame: Frame<'_>) -> Frame<'static> {
    match frame {
        Frame::Text(text) => Frame::Text(text.into_owned().into()),
        Frame::Binary(bytes) => Frame::Binary(bytes.into_owned().into()),
        Frame::Ping(bytes) => Frame::Ping(bytes.into_owned().into()),
        Frame::Pong => Frame::Pong,
        Frame::Close(code) => Frame::Close(code),
    }
}

/// What a new reader makes of `chunks`: the frames before the first error, and the error.
fn read_all<'c>(chunks: impl Iterator<Item = &'c [u8]>) -> (Vec<Frame<'static>>, Option<FrameError>) {
    let (mut reader, now, mut frames) = (FrameReader::new(LIMIT, false), Instant::now(), Vec::new());
    for chunk in chunks {
        let mut input = chunk.to_vec();
        let mut rest = input.as_mut_slice();
        while !rest.is_empty() {
            match reader.read(rest, now) {
                Ok((consumed, frame)) => {
                    frames.extend(frame.map(into_owned));
                    assert!(consumed > 0, "no progress");
                    rest = &mut rest[consumed..];
                }
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(reader.partial.len() <= LIMIT + 14);
    }
    (frames, None)
}

fn check(name: &str, bytes: &[u8], frames: &[Frame<'static>], error: Option<FrameError>) {
    for size in [bytes.len(), 3, 1] {
        let seen = read_all(bytes.chunks(size));
        assert!(seen == (frames.to_vec(), error), "{name} in chunks of {size}: {:?} {:?}", seen.1, seen.0.len());
    }
}

#[test]
fn valid_frames_are_read_whatever_pieces_they_arrive_in() {
    let long = "x".repeat(LIMIT);
    for (name, bytes, frames) in [
        (
            "RFC 6455 5.7, masked Hello",
            vec![0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58],
            vec![text("Hello")],
        ),
        ("empty messages", client_frames(&[(0x81, b""), (0x82, b"")]), vec![text(""), binary(b"")]),
        ("fragments", client_frames(&[(0x01, b"Hel"), (0x80, b"lo")]), vec![text("Hello")]),
        ("empty fragments", client_frames(&[(0x02, b""), (0x00, b"x"), (0x80, b"")]), vec![binary(b"x")]),
        (
            "control frames between fragments",
            client_frames(&[(0x01, b"a"), (0x89, b"p"), (0x00, b"b"), (0x8a, b"q"), (0x80, b"c")]),
            vec![ping(b"p"), Frame::Pong, text("abc")],
        ),
        (
            "16-bit lengths",
            client_frames(&[(0x82, &[7; 125]), (0x82, &[7; 126]), (0x82, &[7; 65535])]),
            vec![binary(&[7; 125]), binary(&[7; 126]), binary(&[7; 65535])],
        ),
        ("64-bit length", client_frame(0x82, &[7; 65536]), vec![binary(&[7; 65536])]),
        (
            "length in a longer form than needed",
            [&[0x82, 0xfe, 0, 1], &MASK[..], &[1 ^ MASK[0]]].concat(),
            vec![binary(&[1])],
        ),
        ("at the limit", client_frame(0x81, long.as_bytes()), vec![text(&long)]),
        ("at the limit in fragments", client_frames(&[(0x01, &long.as_bytes()[1..]), (0x80, b"x")]), vec![text(&long)]),
        ("longest ping", client_frame(0x89, &[9; 125]), vec![ping(&[9; 125])]),
        ("W7 code point across fragments", client_frames(&[(0x01, b"\xe2\x82"), (0x80, b"\xac")]), vec![text("€")]),
        (
            "W4 as many fragments as allowed",
            [client_frame(1, b"x"), client_frame(0, b"x").repeat(1022), client_frame(0x80, b"x")].concat(),
            vec![text(&"x".repeat(1024))],
        ),
        ("close without a code", client_frame(0x88, b""), vec![Frame::Close(None)]),
        ("close with a reason", client_frame(0x88, b"\x03\xe8bye"), vec![Frame::Close(Some(1000))]),
        (
            "W8 data after close",
            [client_frames(&[(0x81, b"a"), (0x88, b""), (0x81, b"b")]), b"test".to_vec()].concat(),
            vec![text("a"), Frame::Close(None)],
        ),
    ] {
        check(name, &bytes, &frames, None);
    }
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999_u16] {
        check("close code", &client_frame(0x88, &code.to_be_bytes()), &[Frame::Close(Some(code))], None);
    }
}

#[test]
fn hostile_frames_fail_the_connection_with_the_right_code() {
    use FrameError::*;
    let too_many_empty = [client_frame(1, b""), client_frame(0, b"").repeat(2000)].concat();
    let too_many = [client_frame(1, b"x"), client_frame(0, b"x").repeat(131_000)].concat();
    let one_too_many = [client_frame(1, b"x"), client_frame(0, b"x").repeat(1023), client_frame(0x80, b"x")].concat();
    let over = vec![0; LIMIT + 1];
    for (name, bytes, error, code) in [
        ("W1 text after the upgrade", b"test".to_vec(), ReservedBits, 1002),
        ("W1 reserved bits", client_frame(0xf1, b""), ReservedBits, 1002),
        ("second reserved bit", client_frame(0xa1, b""), ReservedBits, 1002),
        ("third reserved bit", client_frame(0x91, b""), ReservedBits, 1002),
        ("W14 compressed text", client_frame(0xc1, b"x"), ReservedBits, 1002),
        ("W14 compressed ping", client_frame(0xc9, b"x"), ReservedBits, 1002),
        ("W14 compressed continuation", client_frames(&[(1, b"x"), (0xc0, b"x")]), ReservedBits, 1002),
        ("W3 2^63-1 bytes", [&[0x82, 0xff, 0x7f], &[0xff; 7][..], &MASK].concat(), MessageTooBig, 1009),
        ("W3 2^64-1 bytes", [&[0x82, 0xff], &[0xff; 8][..], &MASK].concat(), MessageTooBig, 1009),
        ("W3 declared, not sent", client_frame(0x82, &over)[..10].to_vec(), MessageTooBig, 1009),
        ("over the limit in fragments", client_frames(&[(2, &over[2..]), (0, b"xx")]), MessageTooBig, 1009),
        ("W4 one-byte fragments", too_many, TooManyFragments, 1008),
        ("W4 one fragment too many", one_too_many, TooManyFragments, 1008),
        ("W5 empty fragments", too_many_empty, TooManyFragments, 1008),
        ("W6 unmasked", vec![0x81, 0x05, b'H', b'e', b'l', b'l', b'o'], Unmasked, 1002),
        ("W6 long ping", client_frame(0x89, &[0; 126]), ControlTooLong, 1002),
        ("W6 fragmented ping", client_frame(0x09, b""), FragmentedControl, 1002),
        ("W6 fragmented close", client_frame(0x08, b""), FragmentedControl, 1002),
        ("W6 text inside a message", client_frames(&[(1, b"x"), (0x81, b"y")]), InterleavedMessage, 1002),
        ("W6 binary inside a message", client_frames(&[(1, b"x"), (2, b"y")]), InterleavedMessage, 1002),
        ("W6 orphan continuation", client_frame(0x80, b"x"), OrphanContinuation, 1002),
        ("W6 orphan fragment", client_frame(0x00, b"x"), OrphanContinuation, 1002),
        ("W7 bad continuation byte", client_frame(0x81, b"\xc3\x28"), InvalidUtf8, 1007),
        ("W7 overlong", client_frame(0x81, b"\xc0\xaf"), InvalidUtf8, 1007),
        ("W7 surrogate", client_frame(0x81, b"\xed\xa0\x80"), InvalidUtf8, 1007),
        ("W7 truncated", client_frame(0x81, b"ok\xe2\x82"), InvalidUtf8, 1007),
        ("W7 truncated in fragments", client_frames(&[(1, b"\xe2"), (0x80, b"\x82")]), InvalidUtf8, 1007),
        ("W8 one-byte close", client_frame(0x88, b"\x03"), InvalidClose, 1002),
        ("W8 bad reason", client_frame(0x88, b"\x03\xe8\xc3\x28"), InvalidUtf8, 1007),
        ("W8 long close", client_frame(0x88, &[3; 126]), ControlTooLong, 1002),
    ] {
        check(name, &bytes, &[], Some(error));
        assert_eq!(error.close_code(), code, "{name}");
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        check("W6 reserved opcode", &client_frame(0x80 | opcode, b""), &[], Some(ReservedOpcode));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535_u16] {
        check("W8 close code", &client_frame(0x88, &code.to_be_bytes()), &[], Some(InvalidClose));
    }
}

#[test]
fn what_came_before_a_violation_is_still_delivered() {
    let bytes = client_frames(&[(0x81, b"a"), (0x89, b"b"), (0xf1, b"c"), (0x81, b"d")]);
    check("violation after frames", &bytes, &[text("a"), ping(b"b")], Some(FrameError::ReservedBits));
}

#[test]
fn after_an_error_everything_is_ignored_and_nothing_is_kept() {
    let mut reader = FrameReader::new(LIMIT, false);
    let now = Instant::now();
    let mut bytes = client_frames(&[(1, &[b'x'; 5000]), (0x81, b"y")]);
    let (consumed, frame) = reader.read(&mut bytes, now).unwrap();
    assert_eq!(frame, None);
    assert_eq!(reader.read(&mut bytes[consumed..], now), Err(FrameError::InterleavedMessage));
    assert_eq!(reader.read(&mut client_frame(0x81, b"z"), now), Ok((7, None)));
    assert!(reader.fragmented.is_none() && reader.partial.capacity() == 0);
    assert_eq!(reader.unfinished_since(), None);
}

#[test]
fn whole_frames_are_borrowed_and_idle_readers_hold_no_memory() {
    assert!(size_of::<FrameReader>() <= 64);
    let mut reader = FrameReader::new(LIMIT, false);
    let now = Instant::now();
    let mut bytes = client_frame(0x81, b"Hello");
    assert!(matches!(reader.read(&mut bytes, now), Ok((11, Some(Frame::Text(Cow::Borrowed("Hello")))))));
    for mut piece in client_frames(&[(0x01, b"Hel"), (0x80, b"lo")]).chunks(3).map(<[u8]>::to_vec) {
        reader.read(&mut piece, now).unwrap();
    }
    assert!(reader.partial.capacity() == 0 && reader.fragmented.is_none());
}

#[test]
fn w3_memory_follows_the_bytes_that_arrived_not_those_declared() {
    let mut reader = FrameReader::new(1_000_000, false);
    let mut bytes = client_frame(0x82, &[0; 1_000_000]);
    reader.read(&mut bytes[..100], Instant::now()).unwrap();
    assert!(reader.partial.capacity() <= 200);
}

#[test]
fn w4_an_unfinished_message_tells_since_when() {
    let mut reader = FrameReader::new(LIMIT, false);
    let start = Instant::now();
    let mut read = |mut bytes: Vec<u8>, second: u64| {
        reader.read(&mut bytes, start + Duration::from_secs(second)).unwrap();
        reader.unfinished_since().map(|since| (since - start).as_secs())
    };
    assert_eq!(read(client_frame(0x81, b"whole"), 0), None);
    assert_eq!(read(client_frame(0x01, b"first"), 1), Some(1));
    assert_eq!(read(client_frame(0x89, b"ping"), 2), Some(1), "a control frame is no progress");
    assert_eq!(read(client_frame(0x00, b"more"), 3), Some(1));
    assert_eq!(read(client_frame(0x80, b"last"), 4), None);
    let frame = client_frame(0x81, b"slow");
    assert_eq!(read(frame[..1].to_vec(), 5), Some(5));
    assert_eq!(read(frame[1..8].to_vec(), 6), Some(5));
    assert_eq!(read(frame[8..].to_vec(), 7), None);
}

#[test]
fn server_frames_have_the_shortest_header_and_no_mask() {
    for (opcode, len, head) in [
        (Opcode::Text, 0, &[0x81, 0][..]),
        (Opcode::Text, 125, &[0x81, 125]),
        (Opcode::Binary, 126, &[0x82, 126, 0, 126]),
        (Opcode::Binary, 256, &[0x82, 126, 1, 0]),
        (Opcode::Text, 65535, &[0x81, 126, 0xff, 0xff]),
        (Opcode::Text, 65536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let payload = vec![b'x'; len];
        assert_eq!(encode(opcode, &payload), [head, &payload].concat());
        assert_eq!(split(&encode(opcode, &payload)), Some((opcode, &payload[..])));
    }
    assert_eq!(pong(b"Hello"), b"\x8a\x05Hello".as_slice());
    assert_eq!(close(1002, ""), [0x88, 2, 0x03, 0xea].as_slice());
    assert_eq!(close(1000, "bye"), b"\x88\x05\x03\xe8bye".as_slice());
    let long = close(1000, &"€".repeat(100));
    assert_eq!((long[1], long.len()), (2 + 123, 2 + 2 + 123));
    assert_eq!(close(1000, &format!("x{}", "€".repeat(100)))[1], 2 + 121, "cut before the character that does not fit");
}

fn any_message() -> impl Strategy<Value = Frame<'static>> {
    prop_oneof![
        "\\PC{0,300}".prop_map(|text| Frame::Text(text.into())),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Frame::Binary(bytes.into())),
    ]
}

proptest! {
    #[test]
    fn any_messages_in_any_fragments_and_any_chunks_come_out_whole(
        messages in prop::collection::vec((any_message(), prop::collection::vec(any::<prop::sample::Index>(), 0..5)), 0..8),
        chunks in prop::collection::vec(1..40_usize, 1..50),
    ) {
        let (mut wire, mut expected) = (Vec::new(), Vec::new());
        for (message, cuts) in messages {
            let (opcode, payload) = match &message {
                Frame::Text(text) => (Opcode::Text, text.as_bytes()),
                Frame::Binary(bytes) => (Opcode::Binary, &bytes[..]),
                other => unreachable!("{other:?}"),
            };
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
            ends.sort_unstable();
            ends.push(payload.len());
            let (mut start, last) = (0, ends.len() - 1);
            for (index, end) in ends.into_iter().enumerate() {
                let opcode = if index == 0 { opcode } else { Opcode::Continuation };
                wire.extend(client_frame(opcode as u8 | u8::from(index == last) << 7, &payload[start..end]));
                start = end;
                if index != last {
                    wire.extend(client_frame(0x89, b"between"));
                    expected.push(ping(b"between"));
                }
            }
            expected.push(message);
        }
        let (mut rest, mut pieces) = (&wire[..], Vec::new());
        for size in chunks.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(rest.len().min(*size));
            pieces.push(piece);
            rest = after;
        }
        prop_assert_eq!(read_all(pieces.into_iter()), (expected, None));
    }

    #[test]
    fn random_bytes_are_read_or_refused_alike_in_any_chunks(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        size in 1..20_usize,
    ) {
        prop_assert_eq!(read_all(bytes.chunks(size)), read_all([&bytes[..]].into_iter()));
    }
}

#[test]
fn w14_compressed_messages_are_read_where_agreed_on_and_refused_elsewhere() {
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let (first, last) = hello.split_at(3);
    let mut bomb = Vec::with_capacity(64);
    let mut state = flate2::Compress::new(flate2::Compression::best(), false);
    state.compress_vec(&[b'4'; 4096], &mut bomb, flate2::FlushCompress::Finish).unwrap();
    let read = |deflates: bool, frames: &[(u8, &[u8])]| {
        let mut reader = FrameReader::new(30, deflates);
        let mut bytes = client_frames(frames);
        let mut at = 0;
        let mut found = Vec::new();
        while at < bytes.len() {
            let (consumed, frame) = reader.read(&mut bytes[at..], Instant::now())?;
            at += consumed;
            found.extend(frame.map(|frame| format!("{frame:?}")));
        }
        Ok(found.join(" "))
    };
    let text = "Text(\"Hello\")".to_owned();
    for (frames, expected) in [
        (&[(0xc1, &hello[..])][..], Ok(text.clone())),
        (&[(0xc2, &hello)], Ok("Binary([72, 101, 108, 108, 111])".into())),
        (&[(0x81, b"Hello")], Ok(text.clone())),
        (&[(0x41, first), (0x80, last)], Ok(text.clone())),
        (&[(0x41, first), (0x00, b""), (0x89, b""), (0x80, last)], Ok(format!("Ping([]) {text}"))),
        (&[(0xc1, &hello), (0xc1, &hello)], Ok(format!("{text} {text}"))),
        (&[(0x41, first), (0xc0, last)], Err(FrameError::ReservedBits)),
        (&[(0xc9, b"x")], Err(FrameError::ReservedBits)),
        (&[(0xc8, b"")], Err(FrameError::ReservedBits)),
        (&[(0xe1, &hello)], Err(FrameError::ReservedBits)),
        (&[(0xc1, first)], Err(FrameError::InvalidDeflate)),
        (&[(0xc1, &bomb)], Err(FrameError::MessageTooBig)),
        (&[(0xc1, &[0x00, 0x01, 0x00, 0xfe, 0xff, 0xff, 0x00])], Err(FrameError::InvalidUtf8)),
    ] {
        assert_eq!(read(true, frames), expected, "{frames:x?}");
        let unasked = if frames[0].0 & 0x40 == 0 { Ok(text.clone()) } else { Err(FrameError::ReservedBits) };
        assert_eq!(read(false, frames), unasked, "{frames:x?}");
    }
}
