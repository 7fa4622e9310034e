//! From what the server says to packets of MessagePack.
//!
//! Every function appends one whole packet to a buffer of the caller's, in the shortest formats, as notepack.io would.
//! Knows no connection and keeps no state. What is passed as JSON is trusted as in [`encode`](crate::socketio::encode);
//! text that is no JSON makes a packet that means nothing, but no panic.

use std::borrow::Cow;

use bytes::Bytes;

use crate::ids::SocketId;
use crate::socketio::ack::AckId;
use crate::socketio::json::{self, Token, Tokens};
use crate::socketio::packet::PacketKind;
use crate::socketio::revision::Revision;

/// CONNECT: the client has joined, under this id, which revision 4 does not tell.
pub(in crate::socketio) fn connect(out: &mut Vec<u8>, revision: Revision, namespace: &str, sid: SocketId) {
    let tells = revision == Revision::V5;
    head(out, PacketKind::Connect, namespace, None, tells);
    if tells {
        out.push(FIXMAP | 1);
        text(out, "sid");
        text(out, &sid.to_string());
    }
}

/// CONNECT_ERROR: the client may not join. `error` is JSON: an object that has a `message`, in revision 4 a string.
pub(in crate::socketio) fn connect_error(out: &mut Vec<u8>, namespace: &str, error: &str) {
    head(out, PacketKind::ConnectError, namespace, None, true);
    values(out, error, &[]);
}

/// DISCONNECT: the client has been put out of the namespace.
pub(in crate::socketio) fn disconnect(out: &mut Vec<u8>, namespace: &str) {
    head(out, PacketKind::Disconnect, namespace, None, false);
}

/// EVENT. `args` are JSON values with commas between them; each placeholder in them gives way to its attachment. `ack`
/// asks for an answer under that id.
pub(in crate::socketio) fn event(
    out: &mut Vec<u8>,
    namespace: &str,
    name: &str,
    args: &str,
    ack: Option<AckId>,
    attachments: &[Bytes],
) {
    head(out, PacketKind::Event, namespace, ack, true);
    let mut list = Open::new(out, Container::Array);
    text(out, name);
    list.items = 1 + values(out, args, attachments);
    list.close(out);
}

/// ACK: the answer to the event that came with `id`. `args` as in [`event`].
pub(in crate::socketio) fn ack(out: &mut Vec<u8>, namespace: &str, id: AckId, args: &str, attachments: &[Bytes]) {
    head(out, PacketKind::Ack, namespace, Some(id), true);
    let mut list = Open::new(out, Container::Array);
    list.items = values(out, args, attachments);
    list.close(out);
}

/// The packet's map up to the value of `data`, which the caller appends if it said that there is some.
fn head(out: &mut Vec<u8>, kind: PacketKind, namespace: &str, id: Option<AckId>, has_data: bool) {
    out.push(FIXMAP | (2 + u8::from(id.is_some()) + u8::from(has_data)));
    text(out, "type");
    out.push(kind.digit(false) - b'0');
    text(out, "nsp");
    text(out, namespace);
    if let Some(AckId(id)) = id {
        text(out, "id");
        unsigned(out, id);
    }
    if has_data {
        text(out, "data");
    }
}

const FIXMAP: u8 = 0x80;
const FIXARRAY: u8 = 0x90;
const FIXSTR: u8 = 0xa0;
const NIL: u8 = 0xc0;
const FALSE: u8 = 0xc2;
const TRUE: u8 = 0xc3;
const FLOAT64: u8 = 0xcb;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Array,
    Map,
}

/// An array or a map whose length is not known yet. One byte is kept free for its header, which nearly always suffices;
/// a longer one moves what was written since.
struct Open {
    at: usize,
    container: Container,
    /// Values written into it; keys count too.
    items: usize,
}

impl Open {
    fn new(out: &mut Vec<u8>, container: Container) -> Self {
        out.push(NIL);
        Self { at: out.len() - 1, container, items: 0 }
    }

    fn close(self, out: &mut Vec<u8>) {
        let (count, fixed, prefix16) = match self.container {
            Container::Array => (self.items, FIXARRAY, 0xdc),
            Container::Map => (self.items / 2, FIXMAP, 0xde),
        };
        let mut header = Vec::with_capacity(5);
        match (u8::try_from(count), u16::try_from(count)) {
            (Ok(count @ 0..16), _) => header.push(fixed | count),
            (_, Ok(count)) => {
                header.push(prefix16);
                header.extend_from_slice(&count.to_be_bytes());
            }
            (_, Err(_)) => {
                header.push(prefix16 + 1);
                header.extend_from_slice(&length32(count));
            }
        }
        drop(out.splice(self.at..=self.at, header));
    }
}

/// Writes JSON values with commas between them, and returns how many they are. Nesting costs memory of the heap only.
fn values(out: &mut Vec<u8>, json: &str, attachments: &[Bytes]) -> usize {
    let mut tokens = Tokens(json);
    let mut open: Vec<Open> = Vec::new();
    let mut outermost = 0;
    while let Some(token) = tokens.next() {
        match token {
            Token::Comma | Token::Colon => continue,
            Token::End => {
                if let Some(done) = open.pop() {
                    done.close(out);
                }
                continue;
            }
            _ => {}
        }
        *open.last_mut().map_or(&mut outermost, |parent| &mut parent.items) += 1;
        match token {
            Token::Array => open.push(Open::new(out, Container::Array)),
            Token::Object => match placeholder(tokens, attachments) {
                Some((data, rest)) => {
                    tokens = rest;
                    binary(out, data);
                }
                None => open.push(Open::new(out, Container::Map)),
            },
            Token::String(quoted) => text(out, &unquote(quoted)),
            Token::Word(word) => scalar(out, word),
            Token::Comma | Token::Colon | Token::End => {}
        }
    }
    while let Some(unclosed) = open.pop() {
        unclosed.close(out);
    }
    outermost
}

/// The attachment that the object stands for whose members follow, and what comes after it; `None` when it is an object
/// like any other. Without attachments every object is.
fn placeholder<'j, 'a>(members: Tokens<'j>, attachments: &'a [Bytes]) -> Option<(&'a Bytes, Tokens<'j>)> {
    if attachments.is_empty() {
        return None;
    }
    let mut tokens = members;
    let (mut is_placeholder, mut num) = (false, None);
    loop {
        let Token::String(key) = tokens.next()? else { return None };
        let (Token::Colon, Token::Word(word)) = (tokens.next()?, tokens.next()?) else { return None };
        match json::unquote(key)?.as_ref() {
            "_placeholder" if word == "true" => is_placeholder = true,
            "num" => num = word.parse::<usize>().ok(),
            _ => return None,
        }
        match tokens.next()? {
            Token::Comma => {}
            Token::End => break,
            _ => return None,
        }
    }
    is_placeholder.then_some(())?;
    Some((attachments.get(num?)?, tokens))
}

/// A number, `true`, `false` or `null`. Whole numbers become integers, others, and those beyond 64 bits, doubles.
fn scalar(out: &mut Vec<u8>, word: &str) {
    match word {
        "null" => out.push(NIL),
        "true" => out.push(TRUE),
        "false" => out.push(FALSE),
        _ => match (word.parse::<u64>(), word.parse::<i64>()) {
            (Ok(number), _) => unsigned(out, number),
            (_, Ok(number @ ..0)) => negative(out, number),
            // Among them `-0`, and `1e400`, which is infinite in JavaScript too.
            _ => match word.parse::<f64>() {
                Ok(number) => {
                    out.push(FLOAT64);
                    out.extend_from_slice(&number.to_be_bytes());
                }
                Err(_) => out.push(NIL),
            },
        },
    }
}

fn unsigned(out: &mut Vec<u8>, number: u64) {
    if let Ok(number) = u8::try_from(number) {
        if number >= 0x80 {
            out.push(0xcc);
        }
        out.push(number);
    } else if let Ok(number) = u16::try_from(number) {
        out.push(0xcd);
        out.extend_from_slice(&number.to_be_bytes());
    } else if let Ok(number) = u32::try_from(number) {
        out.push(0xce);
        out.extend_from_slice(&number.to_be_bytes());
    } else {
        out.push(0xcf);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn negative(out: &mut Vec<u8>, number: i64) {
    if let Ok(number) = i8::try_from(number) {
        if number < -0x20 {
            out.push(0xd0);
        }
        out.extend_from_slice(&number.to_be_bytes());
    } else if let Ok(number) = i16::try_from(number) {
        out.push(0xd1);
        out.extend_from_slice(&number.to_be_bytes());
    } else if let Ok(number) = i32::try_from(number) {
        out.push(0xd2);
        out.extend_from_slice(&number.to_be_bytes());
    } else {
        out.push(0xd3);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(length @ 0..0x20) => out.push(FIXSTR | length),
        _ => sized(out, [0xd9, 0xda, 0xdb], text.len()),
    }
    out.extend_from_slice(text.as_bytes());
}

fn binary(out: &mut Vec<u8>, data: &[u8]) {
    sized(out, [0xc4, 0xc5, 0xc6], data.len());
    out.extend_from_slice(data);
}

/// A header whose length has 8, 16 or 32 bits.
fn sized(out: &mut Vec<u8>, [prefix8, prefix16, prefix32]: [u8; 3], length: usize) {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length), _) => out.extend_from_slice(&[prefix8, length]),
        (_, Ok(length)) => {
            out.push(prefix16);
            out.extend_from_slice(&length.to_be_bytes());
        }
        (_, Err(_)) => {
            out.push(prefix32);
            out.extend_from_slice(&length32(length));
        }
    }
}

/// No packet gets near 4 GiB: an outbox holds a megabyte.
fn length32(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// What a JSON string says. MessagePack's text is UTF-8, so half a surrogate pair, which JSON may hold, becomes U+FFFD, as
/// in JavaScript's own encoder.
fn unquote(quoted: &str) -> Cow<'_, str> {
    match json::unquote(quoted) {
        Some(text) => text,
        None => {
            json::unquote(&without_lone_surrogates(quoted)).map_or(Cow::Borrowed(""), |text| text.into_owned().into())
        }
    }
}

fn without_lone_surrogates(quoted: &str) -> String {
    let mut mended = String::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some((before, escape)) = rest.split_once('\\') {
        mended.push_str(before);
        let is_pair = matches!(unit(escape), Some(0xd800..=0xdbff))
            && matches!(escape.get(5..).and_then(|next| unit(next.strip_prefix('\\')?)), Some(0xdc00..=0xdfff));
        // Past the backslash: both halves of a pair, one half alone, or the one character that it escapes.
        let (length, replacement) = match unit(escape) {
            Some(_) if is_pair => (11, None),
            Some(0xd800..=0xdfff) => (5, Some("\u{fffd}")),
            _ => (escape.chars().next().map_or(0, char::len_utf8), None),
        };
        let (escaped, after) = escape.split_at_checked(length).unwrap_or((escape, ""));
        match replacement {
            Some(replacement) => mended.push_str(replacement),
            None => {
                mended.push('\\');
                mended.push_str(escaped);
            }
        }
        rest = after;
    }
    mended.push_str(rest);
    mended
}

/// The UTF-16 unit that `uXXXX` at the start of an escape stands for.
fn unit(escape: &str) -> Option<u16> {
    u16::from_str_radix(escape.strip_prefix('u')?.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests;
