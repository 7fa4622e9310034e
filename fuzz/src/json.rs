//! What the targets need to know about JSON text, found out in another way than the code under test does.

use serde_json::Value;
use serde_json::value::RawValue;

/// How deeply arrays and objects are nested in text that is JSON.
pub fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut is_string) = (0_usize, 0, false);
    let mut characters = json.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if is_string => {
                characters.next();
            }
            '"' => is_string = !is_string,
            '[' | '{' if !is_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            ']' | '}' if !is_string => depth -= 1,
            _ => {}
        }
    }
    assert!(depth == 0 && !is_string, "brackets or quotes that are not closed");
    deepest
}

/// The texts of the values in a list without its brackets; `None` when it is no such list.
pub fn values(list: &str) -> Option<Vec<String>> {
    let array = format!("[{list}]");
    let values: Vec<&RawValue> = serde_json::from_str(&array).ok()?;
    Some(values.into_iter().map(|value| value.get().to_owned()).collect())
}

/// The numbers of all placeholders, in order of the numbers. `None` stands for one without a plain number.
pub fn placeholders(value: &Value) -> Vec<Option<u64>> {
    fn walk(value: &Value, found: &mut Vec<Option<u64>>) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
            Value::Object(members) if members.get("_placeholder") == Some(&Value::Bool(true)) => {
                found.push(members.get("num").and_then(Value::as_u64));
            }
            Value::Object(members) => members.values().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(value, &mut found);
    found.sort_unstable();
    found
}

/// Whether two values are the same but for the form of their numbers: `1.0` and `1`.
pub fn is_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(near), Value::Number(far)) => {
            one == other || (!(near.is_i64() && far.is_i64()) && near.as_f64() == far.as_f64())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| is_alike(value, other)))
        }
        _ => one == other,
    }
}

/// Whether serde_json leaves something out when it makes values of a list.
pub fn has_repeated_members(list: &str) -> bool {
    let members = |json: &str| {
        let (mut count, mut is_string) = (0, false);
        let mut characters = json.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' if is_string => drop(characters.next()),
                '"' => is_string = !is_string,
                ':' if !is_string => count += 1,
                _ => {}
            }
        }
        count
    };
    let array = format!("[{list}]");
    serde_json::from_str::<Value>(&array).is_ok_and(|value| members(&value.to_string()) != members(&array))
}
