//! JSON values, and names, made of arbitrary bytes.

use arbitrary::{Result, Unstructured};
use serde_json::{Map, Number, Value};

/// Any value that is nested at most `depth` deep.
pub fn any(u: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    Ok(match u.int_in_range(0..=if depth > 0 { 8 } else { 6 })? {
        0 => Value::Null,
        1 => Value::Bool(u.arbitrary()?),
        2 => Value::Number(u.arbitrary::<i64>()?.into()),
        3 => Value::Number(u.arbitrary::<u64>()?.into()),
        4 => Number::from_f64(u.arbitrary()?).map_or(Value::Null, Value::Number),
        5 => Value::Number(u.int_in_range(-300..=300)?.into()),
        6 => Value::String(u.arbitrary()?),
        7 => Value::Array((0..u.int_in_range(0..=20)?).map(|_| any(u, depth - 1)).collect::<Result<_>>()?),
        _ => {
            let mut members = Map::new();
            for _ in 0..u.int_in_range(0..=20)? {
                members.insert(u.arbitrary()?, any(u, depth - 1)?);
            }
            Value::Object(members)
        }
    })
}

/// Arbitrary text of at most `most` bytes.
pub fn text(u: &mut Unstructured<'_>, most: usize) -> Result<String> {
    let text: String = u.arbitrary()?;
    Ok(text[..text.floor_char_boundary(most)].to_owned())
}
