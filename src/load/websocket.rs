//! WebSocket frames as a client writes and reads them (RFC 6455).
//!
//! Owns the handshake request, masks and lengths. Refuses what no server under load sends (fragments, extensions) rather
//! than misread it.

use super::client::Failure;

/// The handshake. The key is RFC 6455's own example: nobody between us and the server needs to be kept from caching.
pub(super) fn handshake(out: &mut Vec<u8>, authority: &str) {
    out.extend_from_slice(b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: ");
    out.extend_from_slice(authority.as_bytes());
    out.extend_from_slice(
        b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
}

/// What a client writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    Text = 0x81,
    Close = 0x88,
    Pong = 0x8a,
}

/// What a server sent, its payload where it lies in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame<'b> {
    Text(&'b [u8]),
    /// Binary or pong: nothing that is asked for.
    Other,
    Ping(&'b [u8]),
    /// With the status code, if there is one.
    Close(Option<u16>),
}

/// Appends a masked frame.
pub(super) fn write(out: &mut Vec<u8>, kind: Outgoing, mask: [u8; 4], payload: &[u8]) {
    out.push(kind as u8);
    match payload.len() {
        len @ ..126 => out.push(0x80 | len as u8),
        len @ ..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Reads the frame at the front of `bytes` and says how long it is; `None` while it is incomplete.
///
/// # Errors
/// [`Failure::Protocol`] for what a server must not send (RFC 6455, 5.1 and 5.2), and for fragments.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Failure> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    let (payload_len, rest) = match second {
        len @ ..126 => (u64::from(len), rest),
        126 => match rest.split_first_chunk() {
            Some((len, rest)) => (u16::from_be_bytes(*len).into(), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((len, rest)) => (u64::from_be_bytes(*len), rest),
            None => return Ok(None),
        },
        _ => return Err(Failure::Protocol("a masked frame from the server")),
    };
    let Some(payload) = usize::try_from(payload_len).ok().and_then(|len| rest.get(..len)) else { return Ok(None) };
    let frame = match first {
        0x81 => Frame::Text(payload),
        0x82 | 0x8a => Frame::Other,
        0x88 => Frame::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
        0x89 => Frame::Ping(payload),
        _ => return Err(Failure::Protocol("a fragmented or extended WebSocket frame")),
    };
    Ok(Some((frame, bytes.len() - rest.len() + payload.len())))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A frame as a server writes it.
    pub(in crate::load) fn from_server(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            len @ ..126 => frame.push(len as u8),
            len @ ..=0xffff => frame.extend([&[126][..], &(len as u16).to_be_bytes()].concat()),
            len => frame.extend([&[127][..], &(len as u64).to_be_bytes()].concat()),
        }
        [&frame, payload].concat()
    }

    /// The payload of a frame that a client wrote, and what follows it.
    pub(in crate::load) fn from_client(frame: &[u8]) -> (u8, Vec<u8>, &[u8]) {
        let (len, at) = match frame[1] & 0x7f {
            126 => (usize::from(u16::from_be_bytes([frame[2], frame[3]])), 4),
            127 => (u64::from_be_bytes(frame[2..10].try_into().unwrap()) as usize, 10),
            len => (usize::from(len), 2),
        };
        assert_eq!(frame[1] & 0x80, 0x80, "a client masks");
        let (mask, rest) = frame[at..].split_at(4);
        let (payload, rest) = rest.split_at(len);
        (frame[0], payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect(), rest)
    }

    #[test]
    fn frames_of_every_length_are_waited_for_and_read() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let payload = vec![b'a'; len];
            let frame = from_server(0x81, &payload);
            for end in [0, 1, 2, 3, 9, 10, frame.len() - 1].into_iter().filter(|end| *end < frame.len()) {
                assert_eq!(read(&frame[..end]), Ok(None), "{end} of {len}");
            }
            let followed = [frame.as_slice(), b"next"].concat();
            assert_eq!(read(&followed), Ok(Some((Frame::Text(&payload), frame.len()))));
            let mut written = Vec::new();
            write(&mut written, Outgoing::Text, [1, 2, 3, 4], &payload);
            assert_eq!(from_client(&written), (0x81, payload, &[][..]));
        }
    }

    #[test]
    fn control_frames_and_what_no_server_sends() {
        for (first, payload, expected) in [
            (0x88, &b""[..], Frame::Close(None)),
            (0x88, b"\x03\xe8bye", Frame::Close(Some(1000))),
            (0x89, b"hi", Frame::Ping(b"hi")),
            (0x8a, b"", Frame::Other),
            (0x82, b"abc", Frame::Other),
        ] {
            let frame = from_server(first, payload);
            assert_eq!(read(&frame), Ok(Some((expected, frame.len()))));
        }
        for wrong in [&[0x01, 0][..], &[0x80, 0], &[0xc1, 0], &[0x83, 0], &[0x81, 0x80]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(read(&[0x81, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, b'x']), Ok(None));
    }
}
