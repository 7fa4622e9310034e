//! One Engine.IO packet: a type digit and its data.
//!
//! Text packets are the same in both revisions, but for the data of a ping and the form of bytes in text: `b` and base64
//! in revision 4, `b4` and base64 in revision 3. On a WebSocket a binary message of revision 4 is the data alone; in
//! revision 3 it is a packet too, whose first byte is its type.
//!
//! Owns what a client may send, as the closed set [`ClientPacket`], and the few constant packets a server sends. Knows
//! no session: whether a packet is welcome *now* is not decided here.
//!
//! Two rules are stricter than the reference server, which ignores both inputs: a client that sends `0` or `6` claims to
//! be a server, and base64 must be base64 (Node's decoder skips what it does not understand).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;

use super::error::PacketError;
use super::handshake::Revision;

/// Closes the session.
pub const CLOSE: &str = "1";
/// The heartbeat: in revision 4 servers ping and clients pong.
pub const PING: &str = "2";
/// In revision 3 clients ping, and this comes before the data of a ping that is answered.
pub const PONG: char = '3';
/// Answer to [`ClientPacket::Probe`].
pub const PONG_PROBE: &str = "3probe";
/// Type digit that precedes the text of a message.
pub const MESSAGE: char = '4';
/// Type byte that in revision 3 precedes the bytes of a message.
pub const MESSAGE_BYTE: u8 = 4;
/// Says nothing; ends a pending poll.
pub const NOOP: &str = "6";

/// A packet that a client may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientPacket<'a> {
    /// `1`: the session ends.
    Close,
    /// `2`: a heartbeat in the direction of revision 3, with the data that its answer repeats. A session of revision 4
    /// refuses it.
    Ping(&'a str),
    /// `2probe`: asks on a new WebSocket whether the session may move there.
    Probe,
    /// `3`: answers the server's ping.
    Pong,
    /// `4`: text for the layer above, without the digit.
    Message(&'a str),
    /// `b` and base64 (revision 3: `b4`), or a binary WebSocket message: bytes for the layer above.
    Binary(Bytes),
    /// `5`: the session moves to the WebSocket that was probed.
    Upgrade,
}

impl<'a> ClientPacket<'a> {
    /// Reads one text packet: a text WebSocket message, or one piece of a polling payload. Data after `1`, `3` and `5`
    /// is ignored, as the reference server does.
    ///
    /// A binary packet has at most three quarters of the text's length; the caller bounds that.
    ///
    /// # Errors
    /// [`PacketError`] when no client may send this.
    pub fn decode(text: &'a str, revision: Revision) -> Result<Self, PacketError> {
        let mut characters = text.chars();
        let packet_type = characters.next().ok_or(PacketError::Empty)?;
        let data = characters.as_str();
        match packet_type {
            '1' => Ok(Self::Close),
            '2' => match (data, revision) {
                ("probe", _) => Ok(Self::Probe),
                ("", _) | (_, Revision::V3) => Ok(Self::Ping(data)),
                (_, Revision::V4) => Err(PacketError::PingData),
            },
            '3' => Ok(Self::Pong),
            MESSAGE => Ok(Self::Message(data)),
            '5' => Ok(Self::Upgrade),
            'b' => match revision {
                Revision::V3 => Self::decode_base64_v3(data),
                Revision::V4 => Ok(Self::Binary(decode_base64(data)?)),
            },
            '0' | '6' => Err(PacketError::ServerOnly),
            _ => Err(PacketError::UnknownType),
        }
    }

    /// Reads one binary packet of revision 3: a binary WebSocket message, or a piece of a binary payload. Its first byte
    /// is the type; of what follows only a message's is looked at.
    ///
    /// # Errors
    /// [`PacketError`] when no client may send this.
    pub fn decode_binary_v3(bytes: &[u8]) -> Result<Self, PacketError> {
        let (packet_type, data) = bytes.split_first().ok_or(PacketError::Empty)?;
        Self::typed_v3((*packet_type).into(), || Ok(Bytes::copy_from_slice(data)))
    }

    /// A type digit and base64.
    fn decode_base64_v3(text: &str) -> Result<Self, PacketError> {
        let mut characters = text.chars();
        let digit = characters.next().and_then(|digit| digit.to_digit(10)).ok_or(PacketError::UnknownType)?;
        Self::typed_v3(digit, || decode_base64(characters.as_str()))
    }

    fn typed_v3(packet_type: u32, data: impl FnOnce() -> Result<Bytes, PacketError>) -> Result<Self, PacketError> {
        match packet_type {
            1 => Ok(Self::Close),
            2 => Ok(Self::Ping("")),
            3 => Ok(Self::Pong),
            4 => Ok(Self::Binary(data()?)),
            5 => Ok(Self::Upgrade),
            0 | 6 => Err(PacketError::ServerOnly),
            _ => Err(PacketError::UnknownType),
        }
    }
}

/// The standard alphabet, with all of its padding or without any; unused bits of the last character must be zero, so that
/// but for the padding no two texts mean the same bytes.
fn decode_base64(text: &str) -> Result<Bytes, PacketError> {
    let engine = if text.ends_with('=') { STANDARD } else { STANDARD_NO_PAD };
    engine.decode(text).map(Bytes::from).map_err(|_| PacketError::Base64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_a_client_may_send_is_read() {
        use ClientPacket::{Binary, Close, Message, Ping, Pong, Probe, Upgrade};
        for (text, packet) in [
            ("1", Close),
            ("1bye", Close),
            ("2", Ping("")),
            ("2probe", Probe),
            ("3", Pong),
            ("3probe", Pong),
            ("4", Message("")),
            ("4hello", Message("hello")),
            ("40{\"token\":\"t\"}", Message("0{\"token\":\"t\"}")),
            ("4€", Message("€")),
            ("5", Upgrade),
            ("5x", Upgrade),
            ("b", Binary(Bytes::new())),
            ("bAQIDBA==", Binary(Bytes::from_static(&[1, 2, 3, 4]))),
            ("bAQIDBA", Binary(Bytes::from_static(&[1, 2, 3, 4]))),
            ("b+/8=", Binary(Bytes::from_static(&[0xfb, 0xff]))),
        ] {
            assert_eq!(ClientPacket::decode(text, Revision::V4), Ok(packet.clone()), "{text}");
            if !text.starts_with('b') {
                assert_eq!(ClientPacket::decode(text, Revision::V3), Ok(packet), "{text} in revision 3");
            }
        }
    }

    #[test]
    fn pings_and_bytes_have_another_form_in_revision_3() {
        use ClientPacket::{Binary, Close, Ping, Pong, Upgrade};
        let bytes = |data: &'static [u8]| Binary(Bytes::from_static(data));
        for (text, packet) in [
            ("2prob", Ping("prob")),
            ("2probes", Ping("probes")),
            ("2€", Ping("€")),
            ("b4", bytes(&[])),
            ("b4AQIDBA==", bytes(&[1, 2, 3, 4])),
            ("b4AQIDBA", bytes(&[1, 2, 3, 4])),
            ("b1", Close),
        ] {
            assert_eq!(ClientPacket::decode(text, Revision::V3), Ok(packet), "{text}");
        }
        for (message, packet) in [
            (&[4][..], bytes(&[])),
            (&[4, 1, 2], bytes(&[1, 2])),
            (&[4, 4], bytes(&[4])),
            (&[1], Close),
            (&[2], Ping("")),
            (&[2, b'p'], Ping("")),
            (&[3, 3], Pong),
            (&[5], Upgrade),
        ] {
            assert_eq!(ClientPacket::decode_binary_v3(message), Ok(packet), "{message:?}");
        }
    }

    #[test]
    fn e10_what_no_client_of_revision_3_may_send_is_refused() {
        for (text, error) in [
            ("", PacketError::Empty),
            ("7", PacketError::UnknownType),
            ("a", PacketError::UnknownType),
            ("0{\"sid\":\"x\"}", PacketError::ServerOnly),
            ("6", PacketError::ServerOnly),
            ("b", PacketError::UnknownType),
            ("bAQIDBA==", PacketError::UnknownType),
            ("b7AQID", PacketError::UnknownType),
            ("b0AQID", PacketError::ServerOnly),
            ("b4A", PacketError::Base64),
            ("b4_-8=", PacketError::Base64),
            ("b4€", PacketError::Base64),
            ("b€", PacketError::UnknownType),
        ] {
            assert_eq!(ClientPacket::decode(text, Revision::V3), Err(error), "{text}");
        }
        for (message, error) in [
            (&[][..], PacketError::Empty),
            (&[0, b'{'], PacketError::ServerOnly),
            (&[6], PacketError::ServerOnly),
            (&[7], PacketError::UnknownType),
            (b"4x", PacketError::UnknownType),
            (&[255], PacketError::UnknownType),
        ] {
            assert_eq!(ClientPacket::decode_binary_v3(message), Err(error), "{message:?}");
        }
    }

    #[test]
    fn e10_what_no_client_may_send_is_refused() {
        for (text, error) in [
            ("", PacketError::Empty),
            ("7", PacketError::UnknownType),
            ("a", PacketError::UnknownType),
            ("abc", PacketError::UnknownType),
            (" 4", PacketError::UnknownType),
            ("é", PacketError::UnknownType),
            ("\u{feff}4x", PacketError::UnknownType),
            ("0", PacketError::ServerOnly),
            ("0{\"sid\":\"x\"}", PacketError::ServerOnly),
            ("6", PacketError::ServerOnly),
            ("2prob", PacketError::PingData),
            ("2probes", PacketError::PingData),
            ("bA", PacketError::Base64),
            ("bAB", PacketError::Base64),
            ("bAA=A", PacketError::Base64),
            ("bAAA==", PacketError::Base64),
            ("bAA=", PacketError::Base64),
            ("byA=", PacketError::Base64),
            ("bAQ\nID", PacketError::Base64),
            ("b_-8=", PacketError::Base64),
            ("b=", PacketError::Base64),
            ("b€", PacketError::Base64),
        ] {
            assert_eq!(ClientPacket::decode(text, Revision::V4), Err(error), "{text}");
        }
    }

    #[test]
    fn e10_a_megabyte_of_base64_is_three_quarters_of_a_megabyte() {
        let text = format!("b{}", "A".repeat(1_000_000));
        assert_eq!(ClientPacket::decode(&text, Revision::V4), Ok(ClientPacket::Binary(vec![0; 750_000].into())));
    }
}
