//! JSON text to BSON and back, for attachments.
//!
//! BSON cannot carry all of JSON, nor tell `1.0` from `1`: what is stored is a copy for other services to read. Whoever
//! needs the exact text keeps it where [`from_bson`] would not give it back.

use std::fmt::{self, Write as _};

use mongodb::bson::{Array, Bson, Document, RawArray, RawArrayBuf, RawBson, RawBsonRef, RawDocument};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::ids::whole;
use crate::ids::Timestamp;

/// What is deeper is shown as `null`; mongod refuses documents beyond 200 levels.
const MAX_DEPTH: usize = 200;

/// The array that a JSON text stands for. `None` when BSON or a server would not take it: numbers beyond a double,
/// names with NUL or a leading `$`, more than 128 levels, or no array.
pub(super) fn to_bson(text: &str) -> Option<RawArrayBuf> {
    match serde_json::from_str(text).ok()? {
        Value(Bson::Array(array)) => {
            array.into_iter().map(|value| RawBson::try_from(value).ok()).collect::<Option<RawArrayBuf>>()
        }
        Value(_) => None,
    }
}

/// The JSON array for a stored value of any type; what is no array becomes its only element.
pub(super) fn from_bson(value: RawBsonRef<'_>) -> String {
    let mut text = String::new();
    match value {
        RawBsonRef::Array(items) => array(&mut text, items, 0),
        RawBsonRef::Null | RawBsonRef::Undefined => text.push_str("[]"),
        other => {
            text.push('[');
            json(&mut text, Some(other), 1);
            text.push(']');
        }
    }
    text
}

fn array(text: &mut String, items: &RawArray, depth: usize) {
    text.push('[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        json(text, item.ok(), depth + 1);
    }
    text.push(']');
}

fn object(text: &mut String, fields: &RawDocument, depth: usize) {
    text.push('{');
    for (index, field) in fields.iter_elements().map_while(Result::ok).enumerate() {
        if index > 0 {
            text.push(',');
        }
        string(text, field.key().as_str());
        text.push(':');
        json(text, field.value().ok(), depth + 1);
    }
    text.push('}');
}

/// As `JSON.stringify` writes what JavaScript's driver makes of the value, `null` where there is nothing to write.
fn json(text: &mut String, value: Option<RawBsonRef<'_>>, depth: usize) {
    match value {
        Some(RawBsonRef::Array(items)) if depth < MAX_DEPTH => array(text, items, depth),
        Some(RawBsonRef::Document(fields)) if depth < MAX_DEPTH => object(text, fields, depth),
        Some(RawBsonRef::String(value) | RawBsonRef::Symbol(value)) => string(text, value),
        Some(RawBsonRef::Boolean(value)) => display(text, value),
        Some(RawBsonRef::Int32(value)) => display(text, value),
        Some(RawBsonRef::Int64(value)) => display(text, value),
        Some(RawBsonRef::Double(value)) => match whole(value) {
            Some(value) => display(text, value),
            None => text.push_str(&serde_json::to_string(&value).unwrap_or_else(|_| "null".to_owned())),
        },
        Some(RawBsonRef::ObjectId(id)) => string(text, &id.to_hex()),
        Some(RawBsonRef::DateTime(time)) => {
            string(text, &Timestamp(u64::try_from(time.timestamp_millis()).unwrap_or(0)).to_string());
        }
        Some(RawBsonRef::Decimal128(value)) => string(text, &value.to_string()),
        _ => text.push_str("null"),
    }
}

fn string(text: &mut String, value: &str) {
    text.push_str(&serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()));
}

fn display(text: &mut String, value: impl fmt::Display) {
    // Writing to a string does not fail.
    let _ = write!(text, "{value}");
}

/// BSON for any JSON value, names in their order.
struct Value(Bson);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Bson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value that BSON can carry")
    }

    fn visit_unit<E: Error>(self) -> Result<Bson, E> {
        Ok(Bson::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Bson, E> {
        Ok(Bson::Boolean(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Bson, E> {
        Ok(i32::try_from(value).map_or(Bson::Int64(value), Bson::Int32))
    }

    #[allow(clippy::cast_precision_loss, reason = "the text is kept where the copy differs")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<Bson, E> {
        i64::try_from(value).map_or(Ok(Bson::Double(value as f64)), |value| self.visit_i64(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Bson, E> {
        Ok(Bson::Double(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Bson, E> {
        Ok(Bson::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Bson, E> {
        Ok(Bson::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Bson, A::Error> {
        let mut array = Array::new();
        while let Some(Value(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Bson::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Bson, A::Error> {
        let mut document = Document::new();
        while let Some((name, Value(value))) = fields.next_entry::<String, Value>()? {
            if name.starts_with('$') || name.contains('\0') {
                return Err(A::Error::custom("a name that documents cannot have"));
            }
            document.insert(name, value);
        }
        Ok(Bson::Document(document))
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::{DateTime, rawdoc};

    use super::*;

    fn back(text: &str) -> Option<String> {
        to_bson(text).map(|array| from_bson(RawBsonRef::Array(&array)))
    }

    #[test]
    fn what_clients_send_comes_back_as_it_was() {
        for text in [
            "[]",
            r#"[{"url":"/a.png","name":"a","size":120,"big":3000000000,"ratio":1.5,"ok":true,"none":null,"list":[1,[]]}]"#,
            r#"[{"z":1,"a":2,"a.b":3,"":4,"_id":5,"__proto__":{}}]"#,
            r#"["é\u0000\n\"😀",-7,9007199254740991,-9223372036854775808]"#,
        ] {
            assert_eq!(back(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_bson_carries_differently_or_not_at_all_is_noticed() {
        for text in ["[1.0]", "[1e3]", "[18446744073709551615]", "[12345678901234567890]", "[ 1]", r#"[{"a":1,"a":2}]"#]
        {
            assert_ne!(back(text).unwrap(), text);
        }
        let deep = "[".repeat(150) + &"]".repeat(150);
        for text in ["[1e400]", r#"[{"$id":1}]"#, r#"[{"a\u0000b":1}]"#, "{}", "[", &deep] {
            assert!(to_bson(text).is_none(), "{text}");
        }
    }

    #[test]
    fn values_that_only_other_hands_store_are_shown_as_javascript_would() {
        let id = ObjectId::from_bytes([1; 12]);
        let document = rawdoc! {
            "a": [id, DateTime::from_millis(1_770_091_506_789), f64::NAN, 5.0, {"x": 1_i64}],
            "b": {"x": 1},
            "c": null,
        };
        let shown = |name: &str| from_bson(document.get(name).unwrap().unwrap());
        let expected = format!(r#"["{id}","2026-02-03T04:05:06.789Z",null,5,{{"x":1}}]"#);
        assert_eq!(shown("a"), expected);
        assert_eq!(shown("b"), r#"[{"x":1}]"#);
        assert_eq!(shown("c"), "[]");
    }

    #[test]
    fn depth_without_end_is_cut_off() {
        let mut value = Bson::Null;
        for _ in 0..5000 {
            value = Bson::Array(vec![value]);
        }
        let mut deep = rawdoc! {};
        for _ in 0..3000 {
            deep = rawdoc! {"a": deep};
        }
        let text = from_bson(RawBsonRef::Document(&deep));
        assert!(text.contains("null") && text.len() < 2000);
    }
}
