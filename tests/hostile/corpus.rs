//! Reads the corpus: one malformed input a line, as text with escapes, with the row of the catalogue that it is of and
//! what it must get.
//!
//! ```text
//! # a comment
//! E4   400   GET /socket.io/?EIO=4&transport=__proto__ HTTP/1.1\r\nHost: x\r\n\r\n
//! ```
//!
//! `\r \n \t \0 \\ \xNN` are what they are in Rust, and `\|` begins the next message where an input is several.
//! `<<3|ab>>` is `ababab`; `<<token>>`, `<<sid>>` and `<<room>>` are filled in when the input is sent.

use std::path::Path;

/// One input.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// The row of the catalogue.
    pub(crate) id: String,
    /// What it must get; what the words mean is the group's.
    pub(crate) verdict: String,
    /// The bytes, with placeholders.
    text: String,
    /// Where it is written.
    pub(crate) place: String,
}

/// What placeholders stand for.
pub(crate) struct Names<'n> {
    pub(crate) token: &'n str,
    pub(crate) sid: &'n str,
    pub(crate) room: &'n str,
}

/// The inputs of one file of `tests/hostile/`.
pub(crate) fn read(name: &str) -> Vec<Input> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let inputs = lines.map(|(at, line)| {
        let place = format!("{name}:{}", at + 1);
        let mut words = line.splitn(2, char::is_whitespace);
        let id = words.next().unwrap().to_owned();
        let rest = words.next().unwrap_or_else(|| panic!("{place} says no verdict")).trim_start();
        let (verdict, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        Input { id, verdict: verdict.to_owned(), text: text.trim_start().to_owned(), place }
    });
    inputs.collect()
}

impl Input {
    /// The messages of the input, one unless it says otherwise.
    pub(crate) fn messages(&self, names: &Names<'_>) -> Vec<Vec<u8>> {
        let mut text = self.text.clone();
        for (name, value) in [("<<token>>", names.token), ("<<sid>>", names.sid), ("<<room>>", names.room)] {
            text = text.replace(name, value);
        }
        text.split("\\|").map(|message| self.bytes(message)).collect()
    }

    /// Whether it needs what a placeholder stands for.
    pub(crate) fn mentions(&self, placeholder: &str) -> bool {
        self.text.contains(placeholder)
    }

    /// All of it in one piece.
    pub(crate) fn whole(&self, names: &Names<'_>) -> Vec<u8> {
        self.messages(names).concat()
    }

    fn bytes(&self, text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("<<") {
            let (count, after) = after.split_once('|').unwrap_or_else(|| panic!("{}: <<count|text>>", self.place));
            let (repeated, after) = after.split_once(">>").unwrap_or_else(|| panic!("{}: no >>", self.place));
            bytes.extend(self.unescaped(before));
            bytes.extend(self.unescaped(repeated).repeat(count.parse().unwrap()));
            rest = after;
        }
        bytes.extend(self.unescaped(rest));
        bytes
    }

    fn unescaped(&self, text: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('\\') {
            bytes.extend_from_slice(before.as_bytes());
            let (byte, length) = match after.chars().next() {
                Some('r') => (b'\r', 1),
                Some('n') => (b'\n', 1),
                Some('t') => (b'\t', 1),
                Some('0') => (0, 1),
                Some('\\') => (b'\\', 1),
                Some('x') => (u8::from_str_radix(after.get(1..3).unwrap(), 16).unwrap(), 3),
                other => panic!("{}: \\ before {other:?}", self.place),
            };
            bytes.push(byte);
            rest = &after[length..];
        }
        bytes.extend_from_slice(rest.as_bytes());
        bytes
    }
}

#[test]
fn an_input_is_read_as_it_is_written() {
    let input = |text: &str| Input {
        id: "W1".to_owned(),
        verdict: "1002".to_owned(),
        text: text.to_owned(),
        place: "here:1".to_owned(),
    };
    let names = Names { token: "T", sid: "S", room: "R" };
    assert_eq!(input("a\\r\\n\\0\\xff\\\\<<3|x\\x01>>b").whole(&names), b"a\r\n\0\xff\\x\x01x\x01x\x01b");
    assert_eq!(input("<<sid>> <<token>>\\|<<room>>").messages(&names), [b"S T".to_vec(), b"R".to_vec()]);
    for (name, least) in crate::GROUPS {
        let inputs = read(name);
        assert!(inputs.len() >= least, "{name} has {}", inputs.len());
        assert!(inputs.iter().all(|input| !input.whole(&names).is_empty()), "{name}");
    }
}
