//! A JSON object written field by field, in the order of the calls.
//!
//! Owns nothing but the punctuation; serde_json escapes the values.

use serde::Serialize;

/// An object under construction.
#[derive(Debug)]
pub struct Object(Vec<u8>);

impl Object {
    /// An empty object, with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.push(b'{');
        Self(bytes)
    }

    /// Appends a field. Keys are ours and need no escaping.
    #[must_use]
    pub fn field<T: Serialize + ?Sized>(mut self, key: &str, value: &T) -> Self {
        self.key(key);
        let start = self.0.len();
        if serde_json::to_writer(&mut self.0, value).is_err() {
            // Only a map with keys that are no strings fails to serialise; none of our values is one.
            self.0.truncate(start);
            self.0.extend_from_slice(b"null");
        }
        self
    }

    /// Appends a field when there is a value.
    #[must_use]
    pub fn optional<T: Serialize>(self, key: &str, value: Option<&T>) -> Self {
        match value {
            Some(value) => self.field(key, value),
            None => self,
        }
    }

    /// Appends a field whose value is JSON text already.
    #[must_use]
    pub fn raw(mut self, key: &str, json: &str) -> Self {
        self.key(key);
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    /// Appends a field with JSON text when there is one.
    #[must_use]
    pub fn optional_raw(self, key: &str, json: Option<&str>) -> Self {
        match json {
            Some(json) => self.raw(key, json),
            None => self,
        }
    }

    /// The finished object as text.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.0.push(b'}');
        String::from_utf8(self.0).unwrap_or_default()
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }
}

/// A JSON array of values that are JSON text already.
#[must_use]
pub fn array<I: IntoIterator<Item = String>>(items: I) -> String {
    let mut text = String::from("[");
    for item in items {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&item);
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_order_and_are_escaped() {
        let text = Object::with_capacity(8)
            .field("a", "q\"\n")
            .raw("b", "[1]")
            .optional("c", None::<&u8>)
            .optional("d", Some(&7))
            .finish();
        assert_eq!(text, r#"{"a":"q\"\n","b":[1],"d":7}"#);
        assert_eq!(Object::with_capacity(0).finish(), "{}");
        assert_eq!(array(["1".to_owned(), "{}".to_owned()]), "[1,{}]");
        assert_eq!(array([]), "[]");
    }
}
