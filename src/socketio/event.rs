//! An event as the application sees it: a name, and arguments left as the JSON text they came in.
//!
//! Knows no event by name and builds no values: the application reads each argument as the type it expects.

use std::borrow::Cow;

use bytes::Bytes;

use crate::socketio::error::DecodeError;
use crate::socketio::json;
use crate::socketio::packet::Packet;

/// Longest event name in bytes, escapes resolved. The reference has no limit; names are looked up, counted and logged.
pub const MAX_EVENT_NAME_BYTES: usize = 128;

/// An event that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its name, escapes resolved: any text up to [`MAX_EVENT_NAME_BYTES`], control characters included.
    pub name: Cow<'a, str>,
    /// Its arguments.
    pub args: Args<'a>,
    /// What `{"_placeholder":true,"num":N}` in the arguments stands for, by index.
    pub attachments: Vec<Bytes>,
}

impl<'a> TryFrom<Packet<'a>> for Event<'a> {
    type Error = DecodeError;

    /// Splits the payload of an event into name and arguments.
    ///
    /// # Errors
    /// [`DecodeError::Payload`] when the first element is no string, [`DecodeError::EventName`] when it is too long or
    /// not Unicode. A packet from [`Decoder`](crate::socketio::Decoder) that is an event has neither fault.
    fn try_from(packet: Packet<'a>) -> Result<Self, DecodeError> {
        let (name, args) = match packet.data {
            Cow::Borrowed(data) => {
                let (name, args) = split(data)?;
                (name, Cow::Borrowed(args))
            }
            Cow::Owned(data) => {
                let (name, args) = split(&data)?;
                (Cow::Owned(name.into_owned()), Cow::Owned(args.to_owned()))
            }
        };
        Ok(Self { name, args: Args(args), attachments: packet.attachments })
    }
}

/// The name and the text of the arguments of an event's payload.
pub(super) fn split(data: &str) -> Result<(Cow<'_, str>, &str), DecodeError> {
    let list = inside(data).ok_or(DecodeError::Payload)?;
    let (first, args) = json::split_first(list);
    if !first.starts_with('"') {
        return Err(DecodeError::Payload);
    }
    let name = json::unquote(first).filter(|name| name.len() <= MAX_EVENT_NAME_BYTES).ok_or(DecodeError::EventName)?;
    Ok((name, args))
}

fn inside(array: &str) -> Option<&str> {
    array.strip_prefix('[')?.strip_suffix(']')
}

/// Arguments of an event or of an ack: JSON values with commas between them, without enclosing brackets, as in
/// `1,"2",{"3":[true]}`. Empty text means no arguments.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Args<'a>(Cow<'a, str>);

impl<'a> Args<'a> {
    /// Arguments from text that is known to be JSON values with commas between them. It is not checked.
    #[must_use]
    pub fn from_raw(raw: impl Into<Cow<'a, str>>) -> Self {
        Self(raw.into())
    }

    /// The elements of an array; none when `array` is no array.
    pub(super) fn from_array(array: Cow<'a, str>) -> Self {
        Self(match array {
            Cow::Borrowed(array) => Cow::Borrowed(inside(array).unwrap_or_default()),
            Cow::Owned(array) => Cow::Owned(inside(&array).unwrap_or_default().to_owned()),
        })
    }

    /// The text itself, as the client wrote it.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.0
    }

    /// The JSON text of the first argument.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.iter().next()
    }

    /// The JSON text of each argument in turn.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.raw();
        std::iter::from_fn(move || {
            let (first, after) = json::split_first(rest);
            rest = after;
            (!first.is_empty()).then_some(first)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socketio::packet::PacketKind;

    fn event(data: Cow<'_, str>) -> Result<Event<'_>, DecodeError> {
        Event::try_from(Packet {
            kind: PacketKind::Event,
            namespace: "/".into(),
            id: None,
            data,
            attachments: vec![Bytes::from_static(b"x")],
        })
    }

    #[test]
    fn an_event_splits_into_name_and_arguments_borrowed_or_owned() {
        for (data, name, raw, args) in [
            ("[\"a\"]", "a", "", &[][..]),
            ("[ \"a\" ]", "a", "", &[]),
            ("[\"\"]", "", "", &[]),
            ("[\"a\",null]", "a", "null", &["null"]),
            (
                "[\"message\",1,\"2\",{\"3\":[true]}]",
                "message",
                "1,\"2\",{\"3\":[true]}",
                &["1", "\"2\"", "{\"3\":[true]}"],
            ),
            ("[\"a,\\\"]\", [1 , 2] , 3 ]", "a,\"]", "[1 , 2] , 3", &["[1 , 2]", "3"]),
            ("[\"\\u0061\\u000d\\u0000\",\"\\ud800\"]", "a\r\0", "\"\\ud800\"", &["\"\\ud800\""]),
            ("[\"é😀\",\"é,😀\"]", "é😀", "\"é,😀\"", &["\"é,😀\""]),
        ] {
            for text in [Cow::Borrowed(data), Cow::Owned(data.to_owned())] {
                let event = event(text).unwrap();
                assert_eq!(event.name, name, "{data}");
                assert_eq!(event.args.raw(), raw, "{data}");
                assert_eq!(event.args.iter().collect::<Vec<_>>(), args, "{data}");
                assert_eq!(event.args.first(), args.first().copied(), "{data}");
                assert_eq!(event.attachments.len(), 1);
            }
        }
    }

    #[test]
    fn nothing_is_copied_from_a_text_packet() {
        let event = event(Cow::Borrowed("[\"a\",1]")).unwrap();
        assert!(matches!((&event.name, &event.args.0), (Cow::Borrowed(_), Cow::Borrowed(_))));
    }

    #[test]
    fn names_are_bounded_after_their_escapes_are_resolved() {
        let fits = format!("[\"{}\"]", "\\u0061".repeat(MAX_EVENT_NAME_BYTES));
        assert_eq!(event(fits.into()).unwrap().name.len(), MAX_EVENT_NAME_BYTES);
        for name in ["a".repeat(129), "é".repeat(65), "\\u0061".repeat(129), "a".repeat(1_000_000), "\\udc00".into()] {
            assert_eq!(event(format!("[\"{name}\"]").into()), Err(DecodeError::EventName));
        }
    }

    #[test]
    fn what_is_no_event_is_refused_even_unchecked() {
        for data in ["", "[", "]", "[]", "[null]", "[1]", "{}", "\"a\"", "[[\"a\"]]", "[{\"a\":1}]", "[,\"a\"]"] {
            assert_eq!(event(data.into()), Err(DecodeError::Payload), "{data}");
        }
    }

    #[test]
    fn walking_half_a_million_arguments_takes_linear_time() {
        let raw = vec!["1"; 500_000].join(",");
        let start = std::time::Instant::now();
        assert_eq!(Args::from_raw(raw).iter().count(), 500_000);
        // Generous for linear time, even unoptimised; far too little for quadratic.
        assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
    }

    #[test]
    fn arguments_that_are_no_json_still_come_to_an_end() {
        for raw in [",", ",,", "1,", ",1", "[", "\"", "]]]", "\\", "{,}"] {
            assert!(Args::from_raw(raw).iter().count() <= raw.len(), "{raw}");
        }
    }
}
