//! The two identifiers of connection state recovery: who comes back, and what it has seen last.

use std::fmt;
use std::num::NonZeroU64;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::{SocketId, TOKEN_BYTES, decode_token};

/// The Socket.IO `pid`: whoever knows it, and is the same user, takes up what a socket left behind. As secret as a
/// [`SessionId`](super::SessionId). The socket's public id is made of it, so that a connection keeps one of the two.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PrivateId([u8; TOKEN_BYTES]);

impl PrivateId {
    /// Makes an id from 15 bytes of a cryptographic random source.
    #[must_use]
    pub fn new(random: [u8; TOKEN_BYTES]) -> Self {
        Self(random)
    }

    /// Reads the 20 characters of a CONNECT payload; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        decode_token(text).map(Self)
    }

    /// The id that everybody may know: the same each time, and no way back.
    #[must_use]
    pub fn public(&self) -> SocketId {
        let hash: [u8; 32] = Sha256::digest(self.0).into();
        let mut bytes = [0; TOKEN_BYTES];
        for (byte, hashed) in bytes.iter_mut().zip(hash) {
            *byte = hashed;
        }
        SocketId::new(bytes)
    }
}

impl fmt::Display for PrivateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for PrivateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateId(..)")
    }
}

/// Names an event that clients may have missed; the same for all who receive it, and never given twice. A later one is
/// greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(NonZeroU64);

impl Offset {
    /// Characters of its text.
    pub const LEN: usize = 11;

    /// The offset with this number.
    #[must_use]
    pub fn new(number: NonZeroU64) -> Self {
        Self(number)
    }

    /// Reads the text form; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != Self::LEN {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        NonZeroU64::new(u64::from_be_bytes(bytes)).map(Self)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.get().to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_id_survives_its_text_stays_out_of_logs_and_has_one_public_id() {
        let id = PrivateId::new([7; TOKEN_BYTES]);
        let text = id.to_string();
        assert_eq!(PrivateId::parse(&text), Some(id));
        assert!(!format!("{id:?}").contains(&text));
        assert_eq!(id.public(), PrivateId::parse(&text).unwrap().public());
        assert_ne!(id.public(), PrivateId::new([8; TOKEN_BYTES]).public());
        assert_ne!(id.public().to_string(), text);
        for text in ["", "x", "constructor", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAA="] {
            assert_eq!(PrivateId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_offset_is_eleven_characters_and_nothing_else_is_one() {
        for number in [1, 1_770_000_000_000_000, u64::MAX] {
            let offset = Offset::new(NonZeroU64::new(number).unwrap());
            let text = offset.to_string();
            assert_eq!((text.len(), Offset::parse(&text)), (Offset::LEN, Some(offset)));
        }
        for text in ["", "AAAAAAAAAAA", "AAAAAAAAAAB", "AAAAAAAAAA=", "AAAAAAAAAAAA", "é123456789"] {
            assert_eq!(Offset::parse(text), None, "{text}");
        }
    }
}
