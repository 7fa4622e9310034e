//! The few questions this protocol asks of JSON text, answered without building values.
//!
//! One lexer serves them all. It accepts any text and never fails; whether the text is JSON at all is `serde_json`'s
//! word, asked once in [`check`]. Knows nothing of packets.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use crate::socketio::error::DecodeError;

/// Deepest nesting of arrays and objects in a payload, its own brackets included. No chat payload needs more than a
/// few; every reader behind this one may recurse that far and no further.
pub const MAX_DEPTH: usize = 32;

/// White space as JSON defines it (RFC 8259, section 2).
const WHITESPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// What a payload must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Array,
    Object,
}

/// Whether `text` is one JSON value of that shape, no deeper than [`MAX_DEPTH`], with nothing before or after it.
///
/// Unpaired surrogates, huge numbers and repeated keys pass: they are JSON by its grammar, and a reader that cares
/// finds them where it reads.
pub(super) fn check(text: &str, shape: Shape) -> Result<(), DecodeError> {
    let (open, close) = match shape {
        Shape::Array => ('[', ']'),
        Shape::Object => ('{', '}'),
    };
    if !text.starts_with(open) {
        return Err(DecodeError::Payload);
    }
    // Before serde_json, which may recurse. The lexer and serde_json agree on where strings end up to the first
    // error in the text, and serde_json stops there, so it never gets deeper than what was counted.
    if !is_shallow(text) {
        return Err(DecodeError::TooDeep);
    }
    let valid = text.ends_with(close) && serde_json::from_str::<IgnoredAny>(text).is_ok();
    valid.then_some(()).ok_or(DecodeError::Json)
}

fn is_shallow(text: &str) -> bool {
    let mut depth: usize = 0;
    Tokens(text).all(|token| {
        match token {
            Token::Array | Token::Object => depth += 1,
            Token::End => depth = depth.saturating_sub(1),
            Token::Comma | Token::Colon | Token::String(_) | Token::Word(_) => {}
        }
        depth <= MAX_DEPTH
    })
}

/// Splits the first value off a list of comma-separated values: the value and what follows its comma, both without
/// white space around them. The first is empty only when the list is.
pub(super) fn split_first(list: &str) -> (&str, &str) {
    let mut tokens = Tokens(list);
    let mut depth: usize = 0;
    while let Some(token) = tokens.next() {
        match token {
            Token::Array | Token::Object => depth += 1,
            Token::End => depth = depth.saturating_sub(1),
            Token::Comma if depth == 0 => {
                // By length, not by content: a list is split once per value and must cost linear time in all.
                let (value, _comma) = list.split_at_checked(list.len() - tokens.0.len() - 1).unwrap_or((list, ""));
                return (value.trim_matches(WHITESPACE), tokens.0.trim_matches(WHITESPACE));
            }
            Token::Comma | Token::Colon | Token::String(_) | Token::Word(_) => {}
        }
    }
    (list.trim_matches(WHITESPACE), "")
}

/// What a JSON string, quotes included, says; `None` when it is no string or not valid Unicode.
pub(super) fn unquote(token: &str) -> Option<Cow<'_, str>> {
    let inner = token.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(token).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// Whether the placeholders in valid JSON name each of `count` attachments exactly once.
///
/// A placeholder is an object in which `_placeholder` is `true`; it must have `num`, in plain digits, and no other key.
/// The reference takes more: extra keys, fractions of whole value, an attachment named twice or never. None of its
/// encoders writes such, and each would let two readers see two different things.
pub(super) fn placeholders_match(text: &str, count: usize) -> bool {
    let mut named = vec![false; count];
    let mut tokens = Tokens(text);
    let sound = tokens.next().is_none_or(|first| visit(&mut tokens, first, &mut named));
    sound && named.iter().all(|named| *named)
}

/// Walks one value. Recursion is bounded by [`MAX_DEPTH`], which [`check`] has seen to.
fn visit<'a>(tokens: &mut Tokens<'a>, first: Token<'a>, named: &mut [bool]) -> bool {
    match first {
        Token::Array => {
            while let Some(token) = tokens.next() {
                match token {
                    Token::End => break,
                    Token::Comma => {}
                    value => {
                        if !visit(tokens, value, named) {
                            return false;
                        }
                    }
                }
            }
            true
        }
        Token::Object => visit_object(tokens, named),
        Token::End | Token::Comma | Token::Colon | Token::String(_) | Token::Word(_) => true,
    }
}

fn visit_object(tokens: &mut Tokens<'_>, named: &mut [bool]) -> bool {
    let mut keys: usize = 0;
    let mut is_placeholder = false;
    let mut num = None;
    while let Some(token) = tokens.next() {
        let Token::String(key) = token else {
            if token == Token::End {
                break;
            }
            continue;
        };
        keys += 1;
        let Some(value) = tokens.find(|token| *token != Token::Colon) else { return false };
        match (unquote(key).as_deref(), value) {
            (Some("_placeholder"), Token::Word("true")) => is_placeholder = true,
            (Some("num"), Token::Word(word)) => num = index(word),
            _ => {}
        }
        if !visit(tokens, value, named) {
            return false;
        }
    }
    if !is_placeholder {
        return true;
    }
    match num.and_then(|num| named.get_mut(num)) {
        Some(slot) if keys == 2 && !*slot => {
            *slot = true;
            true
        }
        _ => false,
    }
}

/// A number in plain digits: no sign, no fraction, no exponent. JSON itself forbids leading zeros.
fn index(word: &str) -> Option<usize> {
    if word.bytes().all(|byte| byte.is_ascii_digit()) { word.parse().ok() } else { None }
}

/// The smallest meaningful pieces of JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// `[`
    Array,
    /// `{`
    Object,
    /// `]` or `}`
    End,
    Comma,
    Colon,
    /// A string with its quotes; without the closing one when the text ends first.
    String(&'a str),
    /// A number, `true`, `false`, `null`, or what is no JSON.
    Word(&'a str),
}

/// Cuts text into tokens, skipping white space. Holds what is still to be cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens<'a>(pub(super) &'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.0 = self.0.trim_start_matches(WHITESPACE);
        let first = *self.0.as_bytes().first()?;
        let length = match first {
            b'[' | b']' | b'{' | b'}' | b',' | b':' => 1,
            b'"' => string_length(self.0),
            _ => self.0.find(|c| WHITESPACE.contains(&c) || "[]{},:\"".contains(c)).unwrap_or(self.0.len()),
        };
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(match first {
            b'[' => Token::Array,
            b'{' => Token::Object,
            b']' | b'}' => Token::End,
            b',' => Token::Comma,
            b':' => Token::Colon,
            b'"' => Token::String(text),
            _ => Token::Word(text),
        })
    }
}

/// Length in bytes of the string at the start of `text`, both quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize, open: &str, close: &str) -> String {
        format!("{}0{}", open.repeat(depth), close.repeat(depth))
    }

    #[test]
    fn s13_nesting_is_bounded_for_arrays_and_objects() {
        for (open, close, shape) in [("[", "]", Shape::Array), ("{\"a\":", "}", Shape::Object)] {
            for depth in [1, 2, 31, 32] {
                assert_eq!(check(&nested(depth, open, close), shape), Ok(()), "{open} {depth}");
            }
            for depth in [33, 101, 127, 129, 100_000] {
                assert_eq!(check(&nested(depth, open, close), shape), Err(DecodeError::TooDeep), "{open} {depth}");
                assert_eq!(check(&open.repeat(depth), shape), Err(DecodeError::TooDeep), "unclosed {open} {depth}");
            }
        }
    }

    #[test]
    fn brackets_in_strings_neither_add_to_the_depth_nor_hide_it() {
        let deep = nested(33, "[", "]");
        for (text, expected) in [
            (format!("[\"{}\"]", "[".repeat(500)), Ok(())),
            (format!("[{{\"{}\":1}}]", "{[".repeat(500)), Ok(())),
            (format!("[\"\\\"{}\"]", "[".repeat(500)), Ok(())),
            (format!("[\"\\\\\",\"{}\"]", "[".repeat(500)), Ok(())),
            // Strings that look as if they went on, or as if they closed what they do not.
            (format!("[\"\\\\\",{deep}]"), Err(DecodeError::TooDeep)),
            (format!("[\"\\\\\\\\\",{deep}]"), Err(DecodeError::TooDeep)),
            (format!("[\"{}\",{deep}]", "]".repeat(500)), Err(DecodeError::TooDeep)),
            (format!("[\"\\\"{}\",{deep}]", "]".repeat(500)), Err(DecodeError::TooDeep)),
            (format!("[{}{deep}]", "]".repeat(500)), Err(DecodeError::TooDeep)),
            // A stray escape or quote is an error wherever the lexer believes to be.
            (format!("[\\\"{}\"]", "[".repeat(500)), Err(DecodeError::Json)),
            (format!("[\"a{}]", "[".repeat(500)), Err(DecodeError::Json)),
        ] {
            assert_eq!(check(&text, Shape::Array), expected, "{text}");
        }
    }

    #[test]
    fn a_payload_is_exactly_one_valid_value() {
        for good in ["[]", "[ ]", "[\"\\ud800\"]", "[1e400,-0]", "[{\"a\":1,\"a\":2}]", "[\"\\u0000\"]", "[\"😀\"]"] {
            assert_eq!(check(good, Shape::Array), Ok(()), "{good}");
        }
        assert_eq!(check(&format!("[{}]", "9".repeat(1_000_000)), Shape::Array), Ok(()));
        assert_eq!(check("{\"a\":[]}", Shape::Object), Ok(()));
        for bad in ["", "null", "\"[]\"", "{}", " []", "\u{feff}[]", "1"] {
            assert_eq!(check(bad, Shape::Array), Err(DecodeError::Payload), "{bad}");
        }
        for bad in [
            "[",
            "[]x",
            "[][]",
            "[] ",
            "[1,]",
            "[,]",
            "[01]",
            "[NaN]",
            "[\"\n\"]",
            "[\"\\x\"]",
            "[}",
            "[\u{a0}]",
            "[\"]",
        ] {
            assert_eq!(check(bad, Shape::Array), Err(DecodeError::Json), "{bad}");
        }
    }

    #[test]
    fn lists_are_split_at_their_own_commas_only() {
        for (list, first, rest) in [
            ("", "", ""),
            (" ", "", ""),
            ("1", "1", ""),
            ("1,2,3", "1", "2,3"),
            (" 1 , 2 ", "1", "2"),
            ("\"a,b\",2", "\"a,b\"", "2"),
            ("\"\\\",\",2", "\"\\\",\"", "2"),
            ("[1,[2,3]],{\"a\":1,\"b\":2}", "[1,[2,3]]", "{\"a\":1,\"b\":2}"),
            ("{\"a\":[1,2]},\"é,é\"", "{\"a\":[1,2]}", "\"é,é\""),
        ] {
            assert_eq!(split_first(list), (first, rest), "{list}");
        }
    }

    #[test]
    fn strings_are_unquoted_only_when_they_are_unicode() {
        for (token, expected) in [
            ("\"\"", Some("")),
            ("\"a\"", Some("a")),
            ("\"\\u0061\\n\"", Some("a\n")),
            ("\"\\ud83d\\ude00\"", Some("😀")),
            ("\"\\ud800\"", None),
            ("\"", None),
            ("a", None),
        ] {
            assert_eq!(unquote(token).as_deref(), expected, "{token}");
        }
    }

    #[test]
    fn s4_each_attachment_has_one_placeholder() {
        let p = |num: &str| format!("{{\"_placeholder\":true,\"num\":{num}}}");
        let good = [
            (format!("[{}]", p("0")), 1),
            (format!("[{},{}]", p("1"), p("0")), 2),
            (format!("[{{\"a\":[{{\"b\":{}}}]}},{}]", p("1"), p("0")), 2),
            ("[ { \"num\" : 0 , \"_placeholder\" : true } ]".into(), 1),
            ("[{\"\\u005fplaceholder\":true,\"nu\\u006d\":0}]".into(), 1),
            (format!("[\"{{_placeholder\",{}]", p("0")), 1),
            ("[{\"_placeholder\":false,\"num\":9},{\"_placeholder\":1},{\"_placeholder\":\"true\"},{}]".into(), 0),
            (format!("[{{\"\\ud800\":{}}}]", p("0")), 1),
        ];
        for (text, count) in good {
            check(&text, Shape::Array).unwrap();
            assert!(placeholders_match(&text, count), "{text}");
        }
        for num in [
            "1",
            "-1",
            "0.5",
            "0.0",
            "-0",
            "0e0",
            "\"0\"",
            "\"splice\"",
            "null",
            "1e309",
            "[0]",
            "{}",
            "99999999999999999999",
        ] {
            assert!(!placeholders_match(&format!("[{}]", p(num)), 1), "{num}");
        }
        for (text, count) in [
            ("[]".into(), 1),
            (format!("[{}]", p("0")), 2),
            (format!("[{},{}]", p("0"), p("0")), 1),
            (format!("[{},{}]", p("0"), p("0")), 2),
            ("[{\"_placeholder\":true}]".into(), 1),
            ("[{\"_placeholder\":true,\"num\":0,\"extra\":1}]".into(), 1),
            ("[{\"_placeholder\":true,\"num\":0,\"num\":0}]".into(), 1),
            ("[{\"_placeholder\":true,\"_placeholder\":true,\"num\":0}]".into(), 1),
            ("[{\"_placeholder\":true,\"num\":5,\"num\":0}]".into(), 1),
            (format!("[{{\"_placeholder\":{},\"num\":0}}]", p("1")), 1),
        ] {
            assert!(!placeholders_match(&text, count), "{text}");
        }
    }
}
