//! The bytes that the floor reads and writes: the handshake, frames, and the five packets of the load generator.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// The request line and headers, as far as they matter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    /// Bytes up to and including the empty line.
    pub(crate) len: usize,
    /// `Sec-WebSocket-Key`.
    pub(crate) key: Option<&'a [u8]>,
}

/// Reads a request's head once it is whole.
pub(crate) fn read_request(input: &[u8]) -> Option<Request<'_>> {
    let len = find(input, b"\r\n\r\n")? + 4;
    let key = input[..len].split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(b"sec-websocket-key:".len())?;
        name.eq_ignore_ascii_case(b"sec-websocket-key:").then(|| value.trim_ascii())
    });
    Some(Request { len, key })
}

/// The answer to the handshake, and the open packet behind it.
pub(crate) fn accept(key: &[u8], index: usize) -> Vec<u8> {
    let hash = Sha1::new().chain_update(key).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        STANDARD.encode(hash)
    );
    // It never pings, so the interval is one that no run lives to see.
    let open = format!(
        r#"0{{"sid":"{index}","upgrades":[],"pingInterval":3600000,"pingTimeout":60000,"maxPayload":1000000}}"#
    );
    [head.into_bytes(), frame(&[open.as_bytes()])].concat()
}

/// An unmasked text frame of these pieces.
pub(crate) fn frame(pieces: &[&[u8]]) -> Vec<u8> {
    let len = pieces.iter().map(|piece| piece.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(10 + len);
    bytes.push(0x81);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ ..=125), _) => bytes.push(short),
        (_, Ok(medium)) => {
            bytes.push(126);
            bytes.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
    bytes
}

/// `message:new` with the fields of alt-ws. Ids, time and seq are made up: nobody counts what they cost.
pub(crate) fn message_new(room: &[u8], content: &[u8]) -> Vec<u8> {
    frame(&[
        br#"42["message:new",{"_id":"6b03b7ce1d197bd9c6540d30","id":"6b03b7ce1d197bd9c6540d30","conversationId":""#,
        room,
        br#"","userId":"u100","username":"u100","content":""#,
        content,
        br#"","type":"text","attachments":[],"timestamp":"2026-02-03T04:05:06.789Z","delivered":false,"read":false,"seq":1000}]"#,
    ])
}

/// A frame of a client, unmasked.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    /// Bytes of the whole frame.
    pub(crate) len: usize,
    opcode: u8,
    payload: &'a [u8],
}

/// Reads a frame once it is whole, unmasking it in place. Clients mask and the generator does not fragment.
pub(crate) fn read_frame(input: &mut [u8]) -> Option<Frame<'_>> {
    let (opcode, payload) = frame_bounds(input)?;
    let len = payload.end;
    let mask: [u8; 4] = *input.get(payload.start - 4..payload.start)?.first_chunk()?;
    let payload = input.get_mut(payload)?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    Some(Frame { len, opcode, payload })
}

fn frame_bounds(input: &[u8]) -> Option<(u8, Range<usize>)> {
    let (&[first, second], rest) = input.split_first_chunk()?;
    let (len, header) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let start: usize = header + 4;
    let end = start.checked_add(len)?;
    (end <= input.len()).then_some((first & 0x0f, start..end))
}

/// What the generator says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// `40…`
    Connect,
    /// `42<ack>["room:join",{"roomId":"…"}]`
    Join { room: &'a [u8], ack: &'a [u8] },
    /// `42<ack>["message:send",{"roomId":"…","content":"…"}]`
    Send { room: &'a [u8], content: &'a [u8], ack: &'a [u8] },
    /// Anything else; it needs no answer here.
    Other,
}

/// `None` when the client says good-bye.
pub(crate) fn read_packet<'a>(frame: &Frame<'a>) -> Option<Packet<'a>> {
    match frame.opcode {
        1 => {}
        8 => return None,
        _ => return Some(Packet::Other),
    }
    if frame.payload.starts_with(b"40") {
        return Some(Packet::Connect);
    }
    Some(read_event(frame.payload).unwrap_or(Packet::Other))
}

fn read_event(payload: &[u8]) -> Option<Packet<'_>> {
    let rest = payload.strip_prefix(b"42")?;
    let (ack, event) = rest.split_at(rest.iter().position(|byte| *byte == b'[')?);
    let room = string_field(event, br#""roomId":""#)?;
    if event.starts_with(br#"["room:join""#) {
        return Some(Packet::Join { room, ack });
    }
    let content = string_field(event, br#""content":""#)?;
    event.starts_with(br#"["message:send""#).then_some(Packet::Send { room, content, ack })
}

/// The text between `key` and the next quotation mark: the generator writes nothing that needs escaping.
fn string_field<'a>(json: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let value = json.get(find(json, key)? + key.len()..)?;
    value.get(..value.iter().position(|byte| *byte == b'"')?)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    fn masked(text: &str) -> Vec<u8> {
        let mut bytes = frame(&[text.as_bytes()]);
        let header = if text.len() < 126 { 2 } else { 4 };
        bytes[1] |= 0x80;
        let mask = [1, 2, 3, 4];
        bytes[header..].iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        bytes.splice(header..header, mask);
        bytes
    }

    #[test]
    fn a_handshake_is_read_when_it_is_whole_and_answered_as_the_rfc_says() {
        let request = b"GET /socket.io/ HTTP/1.1\r\nHost: x\r\nsec-websocket-KEY: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nrest";
        assert_eq!(read_request(&request[..60]), None);
        let read = read_request(request).unwrap();
        assert_eq!(read.len, request.len() - 4);
        let answer = accept(read.key.unwrap(), 7);
        assert!(find(&answer, b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81").is_some());
    }

    #[test]
    fn packets_are_read_from_whole_frames_only() {
        let long = "x".repeat(300);
        let send = format!(r#"42["message:send",{{"roomId":"bench-1","content":"{long}"}}]"#);
        for (text, packet) in [
            (r#"40{"token":"t"}"#, Packet::Connect),
            (r#"420["room:join",{"roomId":"bench-1"}]"#, Packet::Join { room: b"bench-1", ack: b"0" }),
            (&send, Packet::Send { room: b"bench-1", content: long.as_bytes(), ack: b"" }),
            (
                r#"4217["message:send",{"roomId":"r","content":"c"}]"#,
                Packet::Send { room: b"r", content: b"c", ack: b"17" },
            ),
            ("3", Packet::Other),
            (r#"42["other",{"roomId":"r"}]"#, Packet::Other),
        ] {
            let bytes = masked(text);
            for end in 0..bytes.len() {
                assert!(read_frame(&mut bytes[..end].to_vec()).is_none(), "{text} up to {end}");
            }
            let mut bytes = [bytes.as_slice(), b"next"].concat();
            let frame = read_frame(&mut bytes).unwrap();
            assert_eq!(read_packet(&frame), Some(packet));
            assert_eq!(frame.len, masked(text).len());
        }
        let mut close = [0x88, 0x80, 0, 0, 0, 0];
        assert_eq!(read_packet(&read_frame(&mut close).unwrap()), None);
    }
}
