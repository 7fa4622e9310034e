//! MessagePack cut into tokens, in the dialect of notepack.io.
//!
//! Owns the formats' bytes. Knows no packet and keeps no nesting: an array or a map is a token that says how many
//! follow.

use crate::socketio::error::DecodeError;

/// One value, or the beginning of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Nil,
    Undefined,
    Boolean(bool),
    Unsigned(u64),
    /// In one of the signed formats, which does not say that it is negative.
    Signed(i64),
    Float(f64),
    /// Milliseconds since 1970, of either sign and any size.
    Date(i64),
    Text(&'a str),
    Binary(&'a [u8]),
    /// That many values follow.
    Array(usize),
    /// That many pairs follow.
    Map(usize),
}

/// What is still to be read.
#[derive(Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

/// The only type of extension in the dialect; what it stands for depends on its format.
const EXTENSION: i8 = 0;

impl<'a> Reader<'a> {
    pub(super) fn next(&mut self) -> Result<Token<'a>, DecodeError> {
        let [prefix] = self.bytes()?;
        match prefix {
            0x00..=0x7f => Ok(Token::Unsigned(prefix.into())),
            0x80..=0x8f => self.map(usize::from(prefix & 0x0f)),
            0x90..=0x9f => self.array(usize::from(prefix & 0x0f)),
            0xa0..=0xbf => self.text(usize::from(prefix & 0x1f)),
            0xc0 => Ok(Token::Nil),
            0xc2 => Ok(Token::Boolean(false)),
            0xc3 => Ok(Token::Boolean(true)),
            0xc4 => self.length8().and_then(|length| self.binary(length)),
            0xc5 => self.length16().and_then(|length| self.binary(length)),
            0xc6 => self.length32().and_then(|length| self.binary(length)),
            0xc7 => self.length8().and_then(|length| self.typed_array(length)),
            0xc8 => self.length16().and_then(|length| self.typed_array(length)),
            0xc9 => self.length32().and_then(|length| self.typed_array(length)),
            0xca => Ok(Token::Float(f32::from_be_bytes(self.bytes()?).into())),
            0xcb => Ok(Token::Float(f64::from_be_bytes(self.bytes()?))),
            0xcc => Ok(Token::Unsigned(u8::from_be_bytes(self.bytes()?).into())),
            0xcd => Ok(Token::Unsigned(u16::from_be_bytes(self.bytes()?).into())),
            0xce => Ok(Token::Unsigned(u32::from_be_bytes(self.bytes()?).into())),
            0xcf => Ok(Token::Unsigned(u64::from_be_bytes(self.bytes()?))),
            0xd0 => Ok(Token::Signed(i8::from_be_bytes(self.bytes()?).into())),
            0xd1 => Ok(Token::Signed(i16::from_be_bytes(self.bytes()?).into())),
            0xd2 => Ok(Token::Signed(i32::from_be_bytes(self.bytes()?).into())),
            0xd3 => Ok(Token::Signed(i64::from_be_bytes(self.bytes()?))),
            0xd4 => {
                self.extension()?;
                self.bytes::<1>().map(|_| Token::Undefined)
            }
            0xd7 => {
                self.extension()?;
                Ok(Token::Date(i64::from_be_bytes(self.bytes()?)))
            }
            0xd9 => self.length8().and_then(|length| self.text(length)),
            0xda => self.length16().and_then(|length| self.text(length)),
            0xdb => self.length32().and_then(|length| self.text(length)),
            0xdc => self.length16().and_then(|length| self.array(length)),
            0xdd => self.length32().and_then(|length| self.array(length)),
            0xde => self.length16().and_then(|length| self.map(length)),
            0xdf => self.length32().and_then(|length| self.map(length)),
            0xe0..=0xff => Ok(Token::Signed(i8::from_be_bytes([prefix]).into())),
            0xc1 | 0xd5 | 0xd6 | 0xd8 => Err(DecodeError::MsgPack),
        }
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(DecodeError::MsgPack)?;
        self.0 = rest;
        Ok(*head)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(DecodeError::MsgPack)?;
        self.0 = rest;
        Ok(head)
    }

    fn length8(&mut self) -> Result<usize, DecodeError> {
        Ok(u8::from_be_bytes(self.bytes()?).into())
    }

    fn length16(&mut self) -> Result<usize, DecodeError> {
        Ok(u16::from_be_bytes(self.bytes()?).into())
    }

    fn length32(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(u32::from_be_bytes(self.bytes()?)).map_err(|_| DecodeError::MsgPack)
    }

    fn text(&mut self, length: usize) -> Result<Token<'a>, DecodeError> {
        simdutf8::basic::from_utf8(self.take(length)?).map(Token::Text).map_err(|_| DecodeError::MsgPack)
    }

    fn binary(&mut self, length: usize) -> Result<Token<'a>, DecodeError> {
        self.take(length).map(Token::Binary)
    }

    fn typed_array(&mut self, length: usize) -> Result<Token<'a>, DecodeError> {
        self.extension()?;
        self.binary(length)
    }

    fn extension(&mut self) -> Result<(), DecodeError> {
        let kind = i8::from_be_bytes(self.bytes()?);
        (kind == EXTENSION).then_some(()).ok_or(DecodeError::MsgPack)
    }

    /// Each value has at least a byte, so a count that the bytes left cannot bear is refused at once.
    fn array(&mut self, count: usize) -> Result<Token<'a>, DecodeError> {
        (count <= self.0.len()).then_some(Token::Array(count)).ok_or(DecodeError::MsgPack)
    }

    fn map(&mut self, count: usize) -> Result<Token<'a>, DecodeError> {
        (count <= self.0.len() / 2).then_some(Token::Map(count)).ok_or(DecodeError::MsgPack)
    }
}
