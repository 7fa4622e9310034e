//! Where settings come from: the process environment, then the file `.env` of the working directory.
//!
//! Owns the order of the two and the reading of `.env`. Never changes the process environment. Knows no variable by name.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::ConfigError;

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The process environment.
    Environment,
    /// The file `.env`.
    DotEnv,
    /// The file that the variable's `_FILE` form names.
    File(PathBuf),
    /// Nowhere.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("environment"),
            Self::DotEnv => f.write_str(".env"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Every variable there is, with what the environment says before what `.env` says.
pub struct Variables(HashMap<String, (String, Source)>);

impl Variables {
    /// Reads the process environment and `.env` in `directory`, if there is one.
    ///
    /// # Errors
    /// [`ConfigError::DotEnv`] and [`ConfigError::DotEnvLine`].
    pub fn load(directory: &Path) -> Result<Self, ConfigError> {
        let path = directory.join(".env");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(ConfigError::DotEnv { path, complaint: error.to_string() }),
        };
        let file = parse_dotenv(&text).map_err(|line| ConfigError::DotEnvLine { path, line })?;
        // What is not UTF-8 keeps a replacement character, by which its reader knows and refuses it.
        let environment = std::env::vars_os().map(|(name, value)| (lossy(name), (lossy(value), Source::Environment)));
        let file = file.into_iter().map(|(name, value)| (name, (value, Source::DotEnv)));
        Ok(Self(file.chain(environment).collect()))
    }

    /// The value of a variable and where it was found.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(String, Source)> {
        self.0.get(name).cloned()
    }
}

fn lossy(text: std::ffi::OsString) -> String {
    text.to_string_lossy().into_owned()
}

/// The pairs of a `.env` file in their order (of two with one name the last counts, as in Node's dotenv), or the line,
/// counted from 1, that is not one.
///
/// Unlike dotenvy, and like Node's dotenv, a `$` stands for itself: a secret that contains one must not change when the
/// server does.
fn parse_dotenv(text: &str) -> Result<Vec<(String, String)>, usize> {
    const DOLLAR: char = '\0';
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if let Some((before, _)) = text.split_once(DOLLAR) {
        return Err(before.matches('\n').count() + 1);
    }
    let mut hidden = String::with_capacity(text.len() + 1);
    let mut escaped = false;
    for char in text.chars() {
        // dotenvy reads `\$` as a dollar by itself.
        hidden.push(if char == '$' && !escaped { DOLLAR } else { char });
        escaped = char == '\\' && !escaped;
    }
    // dotenvy takes trailing blanks for an open value unless a line end follows.
    hidden.push('\n');

    let line = Cell::new(0);
    dotenvy::from_read_iter(Lines { rest: hidden.as_bytes(), line: &line })
        .map(|pair| pair.map(|(name, value)| (name, value.replace(DOLLAR, "$"))).map_err(|_| line.get()))
        .collect()
}

/// Hands out one line at a time and counts, because dotenvy does not say in which line it failed.
struct Lines<'a> {
    rest: &'a [u8],
    line: &'a Cell<usize>,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').map_or(self.rest.len(), |at| at + 1);
        let (line, _) = self.rest.split_at_checked(end.min(buffer.len())).unwrap_or((self.rest, &[]));
        let read = Read::read(&mut { line }, buffer)?;
        self.line.set(self.line.get() + usize::from(line.ends_with(b"\n")));
        self.rest = self.rest.get(read..).unwrap_or_default();
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> Option<String> {
        parse_dotenv(line).unwrap().pop().map(|(_, value)| value)
    }

    #[test]
    fn quotes_and_comments_are_not_part_of_a_value_and_a_dollar_is() {
        let cases = [
            ("A=1", "1"),
            ("A = 1 ", "1"),
            ("export A=1\r\n", "1"),
            ("\u{FEFF}A=1", "1"),
            ("A=1 # comment", "1"),
            ("A=a#b", "a#b"),
            ("A=", ""),
            ("A=\"a b\"", "a b"),
            ("A='a\\nb'", "a\\nb"),
            ("A=\"a\\nb\"", "a\nb"),
            ("A=\"a\nb\"", "a\nb"),
            ("A=pa$$word$HOME${HOME}", "pa$$word$HOME${HOME}"),
            ("A='pa$HOME'", "pa$HOME"),
            ("A=\"pa$HOME\"", "pa$HOME"),
            ("A=a\\$b", "a$b"),
            ("A=1\nA=2", "2"),
            ("# it's\nA=1", "1"),
        ];
        for (text, expected) in cases {
            assert_eq!(value(text).as_deref(), Some(expected), "{text:?}");
        }
        assert_eq!(value("\n# nothing\n  \n"), None);
    }

    #[test]
    fn a_malformed_line_is_named_by_its_number() {
        let long = format!("A={}\nB\n", "x".repeat(20_000));
        for (text, line) in [
            ("A=1\nB\nC=3\n", 2),
            ("A=1\n\nB=two words\n", 3),
            ("=1", 1),
            ("A=1\n5B=2", 2),
            ("A=\"a\nb\"\nB C=1\n", 3),
            ("A=1\nB=\0", 2),
            (&long, 2),
        ] {
            assert_eq!(parse_dotenv(text).unwrap_err(), line, "{text:.40?}");
        }
        assert!(parse_dotenv("A='open\nB=2\n").is_err());
    }
}
