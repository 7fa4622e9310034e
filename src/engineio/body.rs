//! The body of one HTTP request or response, whichever revision its session speaks.
//!
//! Owns the choice of the framing: [`payload`] for revision 4, [`payload_v3`] for revision 3. Knows neither how long a
//! body may be nor how it travels.

use super::error::{PacketError, PayloadError};
use super::handshake::Revision;
use super::packet::ClientPacket;
use super::payload::{self, ServerPacket};
use super::payload_v3;

/// What a body is declared as. Revision 4 has text alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `text/plain`.
    Text,
    /// `application/octet-stream`.
    Binary,
}

/// The packets that a client has sent in one body, in order; ends after the first one that is no packet.
#[derive(Clone, Debug)]
pub enum Packets<'a> {
    /// Of revision 3.
    V3(payload_v3::Packets<'a>),
    /// Of revision 4.
    V4(payload::Packets<'a>),
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<ClientPacket<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::V3(packets) => packets.next(),
            Self::V4(packets) => packets.next(),
        }
    }
}

/// Takes the body of a POST apart, in time linear in its length and without a copy.
///
/// # Errors
/// [`PayloadError`] when the body as a whole is refused; then none of its packets counts.
pub fn decode(revision: Revision, form: Form, body: &[u8]) -> Result<Packets<'_>, PayloadError> {
    match (revision, form) {
        (Revision::V3, form) => payload_v3::decode(form, body).map(Packets::V3),
        (Revision::V4, Form::Text) => payload::decode(body).map(Packets::V4),
        (Revision::V4, Form::Binary) => Err(PayloadError::Binary),
    }
}

/// The body of an answer, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    revision: Revision,
    form: Form,
    bytes: Vec<u8>,
}

impl Body {
    /// An empty body. `form` means something in revision 3 only.
    #[must_use]
    pub fn new(revision: Revision, form: Form) -> Self {
        let form = match revision {
            Revision::V3 => form,
            Revision::V4 => Form::Text,
        };
        Self { revision, form, bytes: Vec::new() }
    }

    /// A body of one text packet.
    #[must_use]
    pub fn of(revision: Revision, packet: &str) -> Self {
        let mut body = Self::new(revision, Form::Text);
        body.append(ServerPacket::Text(packet.as_bytes()));
        body
    }

    /// Whether the body would have at most `most` bytes with another packet. The first one always fits.
    #[must_use]
    pub fn fits(&self, packet: ServerPacket<'_>, most: usize) -> bool {
        let length = match self.revision {
            Revision::V3 => payload_v3::len_with(self.form, self.bytes.len(), packet),
            Revision::V4 => payload::len_with(self.bytes.len(), packet),
        };
        self.bytes.is_empty() || length <= most
    }

    /// Appends a packet.
    pub fn append(&mut self, packet: ServerPacket<'_>) {
        match self.revision {
            Revision::V3 => payload_v3::append(self.form, &mut self.bytes, packet),
            Revision::V4 => payload::append(&mut self.bytes, packet),
        }
    }

    /// What to declare it as.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// The bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_revision_has_its_own_body() {
        let packets = [ServerPacket::Text(b"4a"), ServerPacket::Binary(&[4, 5])];
        for (revision, form, declared, expected) in [
            (Revision::V4, Form::Text, Form::Text, &b"4a\x1ebBAU="[..]),
            (Revision::V4, Form::Binary, Form::Text, b"4a\x1ebBAU="),
            (Revision::V3, Form::Text, Form::Text, b"2:4a6:b4BQ=="),
            (Revision::V3, Form::Binary, Form::Binary, b"\0\x02\xff4a\x01\x02\xff\x04\x05"),
        ] {
            let mut body = Body::new(revision, form);
            for packet in packets {
                body.append(packet);
            }
            assert_eq!(body.form(), declared);
            assert_eq!(body.into_bytes(), expected);
        }
        assert_eq!(Body::of(Revision::V3, "6").into_bytes(), b"1:6");
        assert_eq!(Body::of(Revision::V4, "6").into_bytes(), b"6");
    }

    #[test]
    fn a_body_is_filled_up_to_its_limit_and_takes_a_first_packet_of_any_size() {
        for (revision, length) in [(Revision::V4, 2 + 1 + 2), (Revision::V3, 4 + 4)] {
            let packet = ServerPacket::Text(b"4a");
            let mut body = Body::new(revision, Form::Text);
            assert!(body.fits(packet, 0));
            body.append(packet);
            assert!(body.fits(packet, length) && !body.fits(packet, length - 1), "{revision:?}");
        }
    }

    #[test]
    fn e1_a_binary_body_in_revision_4_is_refused() {
        assert_eq!(decode(Revision::V4, Form::Binary, b"4x").unwrap_err(), PayloadError::Binary);
        assert_eq!(decode(Revision::V3, Form::Binary, b"\0\x02\xff4x").unwrap().count(), 1);
        assert_eq!(decode(Revision::V3, Form::Text, b"2:4x").unwrap().count(), 1);
        assert_eq!(decode(Revision::V4, Form::Text, b"4x").unwrap().count(), 1);
    }
}
