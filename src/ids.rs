//! Every identifier and instant that crosses a module boundary, as a type of its own.
//!
//! Owns the textual forms (base64url session ids, hexadecimal message ids, chat ids that keep their JSON type,
//! ISO 8601 times). Knows nothing of sockets, packets or stores, and draws no randomness and reads no clock itself.

mod recovery;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use recovery::{Offset, PrivateId};

/// Index of the core (thread) that owns a connection. At most [`CoreId::MAX_CORES`] of them exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CoreId(pub u8);

impl CoreId {
    /// The directory keeps the cores of a room in one 64-bit mask.
    pub const MAX_CORES: usize = 64;
}

/// Names a connection on its core. The generation tells a reused slot from the connection that had it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey {
    /// Slot in the core's table.
    pub index: u32,
    /// Increases each time the slot is reused.
    pub generation: u32,
}

/// Index of a namespace in the server's fixed list; `0` is `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceId(pub u8);

/// A Socket.IO socket on its core: one connection joined to one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketKey {
    /// The connection that carries the socket.
    pub connection: ConnectionKey,
    /// The namespace it is connected to.
    pub namespace: NamespaceId,
}

/// Number of raw bytes in a [`SessionId`] or a [`SocketId`]: 20 base64url characters.
pub const TOKEN_BYTES: usize = 15;

/// The Engine.IO `sid`. It is a secret: whoever knows it can speak for the session, so it is never logged and never
/// shown to other clients. 14 random bytes, then the index of the owning core.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; TOKEN_BYTES]);

impl SessionId {
    /// Makes the id of a session owned by `core` from 14 bytes of a cryptographic random source.
    #[must_use]
    pub fn new(random: [u8; TOKEN_BYTES - 1], core: CoreId) -> Self {
        let mut bytes = [0; TOKEN_BYTES];
        let (head, tail) = bytes.split_at_mut(TOKEN_BYTES - 1);
        head.copy_from_slice(&random);
        tail.copy_from_slice(&[core.0]);
        Self(bytes)
    }

    /// Reads the 20 characters of a `sid` query parameter; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        decode_token(text).map(Self)
    }

    /// The core named inside the id. It may not exist: the id comes from the network.
    #[must_use]
    pub fn core(&self) -> CoreId {
        let [.., core] = self.0;
        CoreId(core)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for SessionId {
    /// Secrets stay out of logs even when a struct that holds one is printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

/// The Socket.IO `sid` that a client sees after CONNECT. Public, unlike [`SessionId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId([u8; TOKEN_BYTES]);

impl SocketId {
    /// Makes an id from 15 random bytes.
    #[must_use]
    pub fn new(random: [u8; TOKEN_BYTES]) -> Self {
        Self(random)
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

fn decode_token(text: &str) -> Option<[u8; TOKEN_BYTES]> {
    if text.len() != 20 {
        return None;
    }
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// A conversation or user id: text, and whether it was written as a JSON number.
///
/// Two ids are the same when their text is the same, whatever their form: `5` and `"5"` name one room.
#[derive(Clone)]
struct ChatId {
    text: Arc<str>,
    numeric: bool,
}

/// Why a text is no room or user id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is a non-empty string of at most 128 bytes without control characters, or an integer")]
pub struct InvalidId;

/// Longest room or user id, in bytes: long enough for any uuid, short enough for an index key.
pub const MAX_CHAT_ID_BYTES: usize = 128;

impl ChatId {
    fn text(text: &str) -> Result<Self, InvalidId> {
        let fine = !text.is_empty() && text.len() <= MAX_CHAT_ID_BYTES && !text.chars().any(char::is_control);
        fine.then(|| Self { text: text.into(), numeric: false }).ok_or(InvalidId)
    }

    fn from_parts(text: &str, numeric: bool) -> Result<Self, InvalidId> {
        let id = Self::text(text)?;
        Ok(Self { numeric: numeric && text.parse::<i64>().is_ok_and(|n| n.to_string() == text), ..id })
    }
}

impl PartialEq for ChatId {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for ChatId {}

impl Hash for ChatId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Serialize for ChatId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.text.parse::<i64>() {
            Ok(number) if self.numeric => serializer.serialize_i64(number),
            _ => serializer.serialize_str(&self.text),
        }
    }
}

impl<'de> Deserialize<'de> for ChatId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ChatId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an integer")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ChatId, E> {
                ChatId::text(text).map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<ChatId, E> {
                Ok(ChatId { text: number.to_string().into(), numeric: true })
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<ChatId, E> {
                i64::try_from(number).map_err(|_| E::custom(InvalidId)).and_then(|n| self.visit_i64(n))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

macro_rules! chat_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(ChatId);

        impl $name {
            /// An id in its string form.
            ///
            /// # Errors
            /// [`InvalidId`] when empty, longer than [`MAX_CHAT_ID_BYTES`] or with control characters.
            pub fn from_text(text: &str) -> Result<Self, InvalidId> {
                ChatId::text(text).map(Self)
            }

            /// An id as a store keeps it: its text and whether the client wrote a JSON number.
            ///
            /// # Errors
            /// [`InvalidId`] as for [`Self::from_text`].
            pub fn from_parts(text: &str, numeric: bool) -> Result<Self, InvalidId> {
                ChatId::from_parts(text, numeric).map(Self)
            }

            /// The id as text, the same for both JSON forms.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0.text
            }

            /// Whether it was written as a JSON number.
            #[must_use]
            pub fn is_numeric(&self) -> bool {
                self.0.numeric
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.as_str())
            }
        }
    };
}

chat_id! {
    /// Names a conversation. Keeps the JSON form its sender used.
    RoomId
}
chat_id! {
    /// Names a user. Keeps the JSON form of the token's claim.
    UserId
}

impl UserId {
    /// The author of a stored message that names none: empty, so unlike every id that a client can have.
    #[must_use]
    pub fn nobody() -> Self {
        Self(ChatId { text: "".into(), numeric: false })
    }
}

/// A message's id: 12 bytes, shown as 24 hexadecimal digits, laid out as a MongoDB ObjectId (seconds, 5 random bytes
/// of the process, a counter).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub [u8; 12]);

impl MessageId {
    /// Reads 24 hexadecimal digits; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 24 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let number = u128::from_str_radix(text, 16).ok()?;
        let [_, _, _, _, id @ ..] = number.to_be_bytes();
        Some(Self(id))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Wall-clock time in milliseconds since the Unix epoch, shown as ISO 8601 UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // humantime prints up to the year 9999 and panics beyond; no clock of ours gets there, a bad row might.
        let millis = self.0.min(253_402_300_799_999);
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(millis);
        write!(f, "{}", humantime::format_rfc3339_millis(time))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_survives_its_text_and_names_its_core() {
        let id = SessionId::new([7; 14], CoreId(3));
        let text = id.to_string();
        assert_eq!(text.len(), 20);
        assert_eq!(SessionId::parse(&text), Some(id));
        assert_eq!(id.core(), CoreId(3));
        assert!(!format!("{id:?}").contains(&text));
    }

    #[test]
    fn foreign_session_ids_are_refused() {
        for text in
            ["", "__proto__", "%00", "test", "é123456789012345678", "====================", "123456789012345678901"]
        {
            assert_eq!(SessionId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn chat_ids_keep_their_json_form_and_compare_by_text() {
        for (json, text) in [("5", "5"), ("\"5\"", "5"), ("-3", "-3"), ("\"a b\"", "a b")] {
            let id: RoomId = serde_json::from_str(json).unwrap();
            assert_eq!(id.as_str(), text);
            assert_eq!(serde_json::to_string(&id).unwrap(), json);
            assert_eq!(id, RoomId::from_text(text).unwrap());
            assert_eq!(RoomId::from_parts(text, id.is_numeric()).unwrap().is_numeric(), id.is_numeric());
        }
    }

    #[test]
    fn hostile_chat_ids_are_refused() {
        let long = format!("\"{}\"", "x".repeat(MAX_CHAT_ID_BYTES + 1));
        for json in [
            "\"\"",
            "null",
            "1.5",
            "1e3",
            "true",
            "[1]",
            "{\"$ne\":null}",
            "\"a\\u0000b\"",
            "18446744073709551615",
            &long,
        ] {
            assert!(serde_json::from_str::<RoomId>(json).is_err(), "{json}");
        }
        assert!(!RoomId::from_parts("007", true).unwrap().is_numeric(), "a number never changes its text");
    }

    #[test]
    fn message_ids_are_24_hexadecimal_digits() {
        let text = "65b0f1a2c3d4e5f601020304";
        assert_eq!(MessageId::parse(text).unwrap().to_string(), text);
        for bad in ["", "65b0f1a2c3d4e5f60102030", "65b0f1a2c3d4e5f60102030g", "+5b0f1a2c3d4e5f601020304"] {
            assert_eq!(MessageId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_are_iso_8601_with_milliseconds() {
        assert_eq!(Timestamp(1_770_091_506_789).to_string(), "2026-02-03T04:05:06.789Z");
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert!(Timestamp(u64::MAX).to_string().starts_with("9999-"));
    }
}
