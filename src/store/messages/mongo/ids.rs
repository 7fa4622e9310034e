//! Ids of the chat in BSON: the form that is written, and the forms that are looked for.
//!
//! Other services and the replaced one wrote the same id as text, as a number or as an ObjectId.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, RawBsonRef};

use crate::ids::{MessageId, RoomId, UserId};

/// An id as its client wrote it: text, or the number as JavaScript's driver stores it.
pub(super) fn written(text: &str, numeric: bool) -> Bson {
    match text.parse::<i64>() {
        Ok(number) if numeric => i32::try_from(number).map_or(Bson::Int64(number), Bson::Int32),
        _ => Bson::String(text.to_owned()),
    }
}

/// Every form in which the same id may have been stored. Numbers of all types compare as one.
pub(super) fn forms(text: &str) -> Vec<Bson> {
    let mut forms = vec![Bson::String(text.to_owned())];
    if let Ok(number) = text.parse::<i64>()
        && number.to_string() == text
    {
        forms.push(Bson::Int64(number));
    }
    if let Some(MessageId(bytes)) = MessageId::parse(text) {
        forms.push(Bson::ObjectId(ObjectId::from_bytes(bytes)));
    }
    forms
}

/// The text of a stored id, and whether it is a number.
fn read(value: RawBsonRef<'_>) -> Option<(String, bool)> {
    match value {
        RawBsonRef::String(text) => Some((text.to_owned(), false)),
        RawBsonRef::Int32(number) => Some((number.to_string(), true)),
        RawBsonRef::Int64(number) => Some((number.to_string(), true)),
        RawBsonRef::Double(number) => whole(number).map(|number| (number.to_string(), true)),
        RawBsonRef::ObjectId(id) => Some((id.to_hex(), false)),
        _ => None,
    }
}

pub(super) fn room(value: RawBsonRef<'_>) -> Option<RoomId> {
    read(value).and_then(|(text, numeric)| RoomId::from_parts(&text, numeric).ok())
}

pub(super) fn user(value: RawBsonRef<'_>) -> Option<UserId> {
    read(value).and_then(|(text, numeric)| UserId::from_parts(&text, numeric).ok())
}

/// A number of any type, if it is an integer.
pub(super) fn integer(value: RawBsonRef<'_>) -> Option<i64> {
    match value {
        RawBsonRef::Int32(number) => Some(number.into()),
        RawBsonRef::Int64(number) => Some(number),
        RawBsonRef::Double(number) => whole(number),
        _ => None,
    }
}

/// A double as the integer that JavaScript would print for it, within the range where it has them all.
#[allow(clippy::cast_possible_truncation, reason = "the range is checked")]
pub(super) fn whole(number: f64) -> Option<i64> {
    const SAFE: f64 = 9_007_199_254_740_991.0;
    (number.fract() == 0.0 && number.abs() <= SAFE).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_in_the_form_of_its_client_and_looked_for_in_all() {
        assert_eq!(written("5", true), Bson::Int32(5));
        assert_eq!(written("5", false), Bson::String("5".into()));
        assert_eq!(written("3000000000", true), Bson::Int64(3_000_000_000));
        assert_eq!(forms("5"), [Bson::String("5".into()), Bson::Int64(5)]);
        assert_eq!(forms("05"), [Bson::String("05".into())], "a number never changes its text");
        let hex = "65b0f1a2c3d4e5f601020304";
        assert_eq!(forms(hex), [Bson::String(hex.into()), Bson::ObjectId(ObjectId::parse_str(hex).unwrap())]);
    }

    #[test]
    fn a_stored_id_is_read_in_any_form() {
        for (value, text, numeric) in [
            (RawBsonRef::String("a"), "a", false),
            (RawBsonRef::Int32(-5), "-5", true),
            (RawBsonRef::Int64(5), "5", true),
            (RawBsonRef::Double(5e9), "5000000000", true),
        ] {
            let id = room(value).unwrap();
            assert_eq!((id.as_str(), id.is_numeric()), (text, numeric));
        }
        for hopeless in [RawBsonRef::Null, RawBsonRef::Double(0.5), RawBsonRef::String(""), RawBsonRef::Double(1e300)] {
            assert!(user(hopeless).is_none(), "{hopeless:?}");
        }
    }
}
