//! WebSocket frames, in whatever pieces they arrive.
//!
//! Oracle: the same bytes whole, one by one and in odd pieces must be read the same; and messages that were written here
//! as a client writes them, masked, in fragments and with control frames in between, must come back.

use std::time::Instant;

use alt_ws_pure::engineio::error::FrameError;
use alt_ws_pure::engineio::frame::{self, Frame, FrameReader, MAX_CONTROL_PAYLOAD, MAX_FRAGMENTS, Opcode};
use arbitrary::{Arbitrary, Unstructured};
use flate2::{Compress, Compression, FlushCompress};

/// Longest message, by the second byte: less than a control frame may have, less and more than has a two-byte length.
const LIMITS: [usize; 4] = [16, 125, 1000, 70_000];

/// The first three bytes choose what the rest is, a reader's limit and how the bytes are cut.
pub fn check(input: &[u8]) {
    let Some(([choice, limit, cut], data)) = input.split_first_chunk() else { return };
    let (deflates, limit) = (choice & 2 != 0, LIMITS[usize::from(limit % 4)]);
    if choice & 1 == 0 {
        check_bytes(data, limit, deflates, *cut);
    } else if let Ok(messages) = Vec::<Message<'_>>::arbitrary_take_rest(Unstructured::new(data)) {
        check_messages(&messages, deflates, *cut);
    }
    check_written(data);
}

/// What a reader made of a stream.
#[derive(Debug, PartialEq)]
struct Reading {
    frames: Vec<Frame<'static>>,
    error: Option<FrameError>,
    is_unfinished: bool,
}

/// Reads it in pieces of the lengths that `lengths` gives.
fn read(stream: &[u8], limit: usize, deflates: bool, mut lengths: impl FnMut() -> usize) -> Reading {
    let now = Instant::now();
    let mut reader = FrameReader::new(limit, deflates);
    let mut reading = Reading { frames: Vec::new(), error: None, is_unfinished: false };
    let mut left = stream;
    while !left.is_empty() && reading.error.is_none() {
        let (piece, after) = left.split_at(lengths().clamp(1, left.len()));
        let mut piece = piece.to_vec();
        let mut at = 0;
        while at < piece.len() {
            let rest = piece[at..].len();
            match reader.read(&mut piece[at..], now) {
                Err(error) => {
                    reading.error = Some(error);
                    assert!(matches!(error.close_code(), 1002 | 1007 | 1008 | 1009));
                    break;
                }
                Ok((consumed, frame)) => {
                    assert!((1..=rest).contains(&consumed), "{consumed} bytes of {rest} were consumed");
                    at += consumed;
                    reading.frames.extend(frame.map(into_owned));
                }
            }
        }
        left = after;
    }
    reading.is_unfinished = reader.unfinished_since().is_some();
    let mut more = [0x81, 0x80, 0, 0, 0, 0];
    let is_over = reading.error.is_some() || matches!(reading.frames.last(), Some(Frame::Close(_)));
    assert!(!is_over || reader.read(&mut more, now) == Ok((6, None)), "read on after the end");
    reading
}

fn into_owned(frame: Frame<'_>) -> Frame<'static> {
    match frame {
        Frame::Text(text) => {
            assert!(str::from_utf8(text.as_bytes()).is_ok(), "a text that is not UTF-8");
            Frame::Text(text.into_owned().into())
        }
        Frame::Binary(bytes) => Frame::Binary(bytes.into_owned().into()),
        Frame::Ping(bytes) => Frame::Ping(bytes.into_owned().into()),
        Frame::Pong => Frame::Pong,
        Frame::Close(code) => Frame::Close(code),
    }
}

/// The same stream in three ways.
fn read_alike(stream: &[u8], limit: usize, deflates: bool, cut: u8) -> Reading {
    let whole = read(stream, limit, deflates, || stream.len());
    assert_eq!(whole, read(stream, limit, deflates, || 1), "byte by byte");
    let mut state = u32::from(cut);
    let odd = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 28) as usize
    };
    assert_eq!(whole, read(stream, limit, deflates, odd), "in odd pieces");
    whole
}

fn check_bytes(stream: &[u8], limit: usize, deflates: bool, cut: u8) {
    let reading = read_alike(stream, limit, deflates, cut);
    let mut bytes = 0;
    for frame in &reading.frames {
        let (length, most) = match frame {
            Frame::Text(text) => (text.len(), limit),
            Frame::Binary(data) => (data.len(), limit),
            Frame::Ping(data) => (data.len(), MAX_CONTROL_PAYLOAD),
            Frame::Pong | Frame::Close(None) => (0, 0),
            Frame::Close(Some(code)) => {
                assert!(matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999), "{code}");
                (0, 0)
            }
        };
        assert!(length <= most, "{length} bytes where {most} are allowed");
        bytes += length;
    }
    // A header with its mask has six bytes. What is inflated may be longer than it came.
    assert!(reading.frames.len() * 6 <= stream.len() && (deflates || bytes <= stream.len()));
    let closes = reading.frames.iter().position(|frame| matches!(frame, Frame::Close(_)));
    assert!(closes.is_none_or(|at| at + 1 == reading.frames.len() && reading.error.is_none()), "read on after a close");
}

/// What a client sends, with how it is cut into fragments.
#[derive(Arbitrary, Debug)]
enum Message<'a> {
    Text { text: &'a str, fragments: Fragments },
    Binary { bytes: &'a [u8], fragments: Fragments },
    Ping { payload: &'a [u8], mask: [u8; 4] },
    Pong { payload: &'a [u8], mask: [u8; 4] },
}

#[derive(Arbitrary, Debug)]
struct Fragments {
    /// Bytes in each; none beyond the first when zero.
    length: u16,
    mask: [u8; 4],
    /// A ping after each fragment but the last.
    with_pings: bool,
    deflated: bool,
}

fn check_messages(messages: &[Message<'_>], deflates: bool, cut: u8) {
    let (mut stream, mut expected, mut most_fragments) = (Vec::new(), Vec::new(), 0);
    for message in messages {
        match message {
            Message::Text { text, fragments } => {
                let frame = Frame::Text((*text).to_owned().into());
                let count = write_message(&mut stream, &mut expected, 1, text.as_bytes(), fragments, deflates, frame);
                most_fragments = most_fragments.max(count);
            }
            Message::Binary { bytes, fragments } => {
                let frame = Frame::Binary(bytes.to_vec().into());
                let count = write_message(&mut stream, &mut expected, 2, bytes, fragments, deflates, frame);
                most_fragments = most_fragments.max(count);
            }
            Message::Ping { payload, mask } => {
                let payload = &payload[..payload.len().min(MAX_CONTROL_PAYLOAD)];
                write_frame(&mut stream, 0x89, payload, *mask);
                expected.push(Frame::Ping(payload.to_vec().into()));
            }
            Message::Pong { payload, mask } => {
                write_frame(&mut stream, 0x8a, &payload[..payload.len().min(MAX_CONTROL_PAYLOAD)], *mask);
                expected.push(Frame::Pong);
            }
        }
    }
    let reading = read_alike(&stream, 1 << 20, deflates, cut);
    if most_fragments > usize::from(MAX_FRAGMENTS) {
        return assert_eq!(reading.error, Some(FrameError::TooManyFragments));
    }
    assert_eq!(reading, Reading { frames: expected, error: None, is_unfinished: false });
}

/// Returns the number of fragments.
fn write_message(
    stream: &mut Vec<u8>,
    expected: &mut Vec<Frame<'static>>,
    opcode: u8,
    payload: &[u8],
    fragments: &Fragments,
    deflates: bool,
    frame: Frame<'static>,
) -> usize {
    let deflated = (deflates && fragments.deflated).then(|| deflate(payload));
    let payload = deflated.as_deref().unwrap_or(payload);
    let mut pieces: Vec<&[u8]> = match fragments.length {
        0 => Vec::new(),
        length => payload.chunks(length.into()).collect(),
    };
    if pieces.is_empty() {
        pieces.push(payload);
    }
    let last = pieces.len() - 1;
    for (at, piece) in pieces.iter().enumerate() {
        let mut first = if at == 0 { opcode } else { 0 };
        if at == 0 && deflated.is_some() {
            first |= 0x40;
        }
        if at == last {
            first |= 0x80;
        }
        write_frame(stream, first, piece, fragments.mask);
        if fragments.with_pings && at != last {
            write_frame(stream, 0x89, b"", fragments.mask);
            expected.push(Frame::Ping(Vec::new().into()));
        }
    }
    expected.push(frame);
    pieces.len()
}

/// A frame as a client writes it (RFC 6455, 5.2).
fn write_frame(stream: &mut Vec<u8>, first: u8, payload: &[u8], mask: [u8; 4]) {
    stream.push(first);
    match payload.len() {
        length @ ..=125 => stream.push(0x80 | length as u8),
        length @ ..=0xffff => {
            stream.push(0x80 | 126);
            stream.extend((length as u16).to_be_bytes());
        }
        length => {
            stream.push(0x80 | 127);
            stream.extend((length as u64).to_be_bytes());
        }
    }
    stream.extend(mask);
    stream.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
}

/// As RFC 7692, 7.2.1 has it: a flushed stream without the four bytes that a flush ends with.
fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 1024);
    let mut state = Compress::new(Compression::fast(), false);
    state.compress_vec(payload, &mut out, FlushCompress::Sync).expect("memory is enough");
    assert_eq!(state.total_in(), payload.len() as u64);
    out.truncate(out.len() - 4);
    out
}

/// What the server writes is what it takes apart again.
fn check_written(payload: &[u8]) {
    let frame = frame::encode(Opcode::Binary, payload);
    assert_eq!(frame::split(&frame), Some((Opcode::Binary, payload)));
    let pong = frame::pong(payload);
    let echoed = &payload[..payload.len().min(MAX_CONTROL_PAYLOAD)];
    assert_eq!(frame::split(&pong), Some((Opcode::Pong, echoed)));
    let close = frame::close(1000, &String::from_utf8_lossy(payload));
    let Some((Opcode::Close, body)) = frame::split(&close) else { panic!("not a close frame") };
    assert!(body.len() <= MAX_CONTROL_PAYLOAD && str::from_utf8(&body[2..]).is_ok());
    let _no_panic = frame::split(payload);
}
