//! One Engine.IO packet: a type digit and its data.
//!
//! Owns what a client may send, as the closed set [`ClientPacket`], and the few constant packets a server sends. Knows
//! no session: whether a packet is welcome *now* is not decided here.
//!
//! Two rules are stricter than the reference server, which ignores both inputs: a client that sends `0` or `6` claims to
//! be a server, and base64 must be base64 (Node's decoder skips what it does not understand).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::error::PacketError;

/// Closes the session.
pub const CLOSE: &str = "1";
/// The heartbeat: in revision 4 servers ping and clients pong.
pub const PING: &str = "2";
/// Answer to [`ClientPacket::Probe`].
pub const PONG_PROBE: &str = "3probe";
/// Type digit that precedes the text of a message.
pub const MESSAGE: char = '4';
/// Says nothing; ends a pending poll.
pub const NOOP: &str = "6";

/// The standard alphabet, with its padding or without; unused bits of the last character must be zero, so that no two
/// texts mean the same bytes.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A packet that a client may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientPacket<'a> {
    /// `1`: the session ends.
    Close,
    /// `2`: a heartbeat in the direction of revision 3; a session of revision 4 refuses it.
    Ping,
    /// `2probe`: asks on a new WebSocket whether the session may move there.
    Probe,
    /// `3`: answers the server's ping.
    Pong,
    /// `4`: text for the layer above, without the digit.
    Message(&'a str),
    /// `b` and base64, or a binary WebSocket message: bytes for the layer above.
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
    pub fn decode(text: &'a str) -> Result<Self, PacketError> {
        let mut characters = text.chars();
        let packet_type = characters.next().ok_or(PacketError::Empty)?;
        let data = characters.as_str();
        match packet_type {
            '1' => Ok(Self::Close),
            '2' => match data {
                "" => Ok(Self::Ping),
                "probe" => Ok(Self::Probe),
                _ => Err(PacketError::PingData),
            },
            '3' => Ok(Self::Pong),
            MESSAGE => Ok(Self::Message(data)),
            '5' => Ok(Self::Upgrade),
            'b' => match BASE64.decode(data) {
                Ok(bytes) => Ok(Self::Binary(bytes.into())),
                Err(_) => Err(PacketError::Base64),
            },
            '0' | '6' => Err(PacketError::ServerOnly),
            _ => Err(PacketError::UnknownType),
        }
    }
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
            ("2", Ping),
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
            assert_eq!(ClientPacket::decode(text), Ok(packet), "{text}");
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
            ("bAQ\nID", PacketError::Base64),
            ("b_-8=", PacketError::Base64),
            ("b=", PacketError::Base64),
            ("b€", PacketError::Base64),
        ] {
            assert_eq!(ClientPacket::decode(text), Err(error), "{text}");
        }
    }

    #[test]
    fn e10_a_megabyte_of_base64_is_three_quarters_of_a_megabyte() {
        let text = format!("b{}", "A".repeat(1_000_000));
        assert_eq!(ClientPacket::decode(&text), Ok(ClientPacket::Binary(vec![0; 750_000].into())));
    }
}
