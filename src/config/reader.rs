//! Reads variables one by one, each into its type, and keeps a list of what came from where.
//!
//! Owns the forms that a value may have (numbers, booleans, words, secrets and their files). Knows no variable by name.

use std::fmt::Display;
use std::io::Read;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{ConfigError, MASK, Secret, Source};

/// The most bytes in a file that a variable names. No key is longer; `/dev/zero` is.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// One variable as it took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The variable.
    pub name: &'static str,
    /// Its value, fit to be printed: [`MASK`] for a secret.
    pub value: String,
    /// Where the value came from.
    pub source: Source,
}

/// Looks a variable up.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<(String, Source)>;

pub(super) struct Reader<'a> {
    lookup: Lookup<'a>,
    pub(super) settings: Vec<Setting>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: Lookup<'a>) -> Self {
        Self { lookup, settings: Vec::new(), warnings: Vec::new() }
    }

    /// The text of a variable. Blank counts as unset: `NAME=` in a compose file means "not given".
    pub(super) fn raw(&self, name: &str) -> Result<Option<(String, Source)>, ConfigError> {
        match (self.lookup)(name) {
            Some((value, _)) if value.contains(char::REPLACEMENT_CHARACTER) => {
                Err(ConfigError::Value { name: name.into(), value: MASK.into(), allowed: "valid UTF-8".into() })
            }
            found => Ok(found.filter(|(value, _)| !value.trim().is_empty())),
        }
    }

    fn note(&mut self, name: &'static str, value: impl Display, source: Source) {
        self.settings.push(Setting { name, value: value.to_string(), source });
    }

    /// A value of any type; `allowed` ends the sentence "it must be …".
    pub(super) fn parsed<T: Display>(
        &mut self,
        name: &'static str,
        allowed: &str,
        default: T,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let (value, source) = match self.raw(name)? {
            None => (default, Source::Default),
            Some((text, source)) => (parse(&text).ok_or_else(|| ConfigError::value(name, &text, allowed))?, source),
        };
        self.note(name, &value, source);
        Ok(value)
    }

    /// A whole number in decimal digits.
    pub(super) fn number<T>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<T>,
        default: T,
    ) -> Result<T, ConfigError>
    where
        T: FromStr + PartialOrd + Display,
    {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        self.parsed(name, &allowed, default, |text| parse_digits(text).filter(|number| range.contains(number)))
    }

    /// A limit that 0 turns off.
    pub(super) fn limit(
        &mut self,
        name: &'static str,
        highest: u32,
        default: u32,
    ) -> Result<Option<NonZeroU32>, ConfigError> {
        let allowed = format!("a whole number from 1 to {highest}, or 0 for no limit");
        self.parsed(name, &allowed, default, |text| parse_digits(text).filter(|number| *number <= highest))
            .map(NonZeroU32::new)
    }

    /// One of a closed set of words; of two words for one value the first is shown.
    pub(super) fn one_of<T: Copy + PartialEq>(
        &mut self,
        name: &'static str,
        words: &[(&'static str, T)],
        default: T,
    ) -> Result<T, ConfigError> {
        let (value, source) = match self.raw(name)? {
            None => (default, Source::Default),
            Some((text, source)) => match words.iter().find(|(word, _)| *word == text) {
                Some((_, value)) => (*value, source),
                None => {
                    let allowed: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                    return Err(ConfigError::value(name, &text, format!("one of {}", allowed.join(", "))));
                }
            },
        };
        let shown = words.iter().find(|(_, meaning)| *meaning == value).map_or("", |(word, _)| word);
        self.note(name, shown, source);
        Ok(value)
    }

    pub(super) fn boolean(&mut self, name: &'static str, default: bool) -> Result<bool, ConfigError> {
        self.one_of(name, &[("true", true), ("false", false), ("1", true), ("0", false)], default)
    }

    /// Any text, or nothing.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, ConfigError> {
        let found = self.raw(name)?;
        let (shown, source) = found.clone().unwrap_or_else(|| ("(not set)".into(), Source::Default));
        self.note(name, shown.escape_debug(), source);
        Ok(found.map(|(text, _)| text))
    }

    /// A value of any type that has no default; `allowed` ends the sentence "it must be …".
    pub(super) fn optional<T: Display>(
        &mut self,
        name: &'static str,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((text, source)) = self.raw(name)? else {
            self.note(name, "(not set)", Source::Default);
            return Ok(None);
        };
        let value = parse(&text).ok_or_else(|| ConfigError::value(name, &text, allowed))?;
        self.note(name, &value, source);
        Ok(Some(value))
    }

    /// What is in a folder. `read` takes it or says what is wrong, after the folder's name.
    pub(super) fn folder<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Path) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((text, source)) = self.raw(name)? else {
            self.note(name, "(not set)", Source::Default);
            return Ok(None);
        };
        let path = PathBuf::from(&text);
        let value = read(&path).map_err(|complaint| ConfigError::Folder { name: name.into(), path, complaint })?;
        self.note(name, text.escape_debug(), source);
        Ok(Some(value))
    }

    /// A secret, given in the variable itself or in the file that `NAME_FILE` names, whose line end is not part of it.
    pub(super) fn secret(&mut self, name: &'static str) -> Result<Option<Secret>, ConfigError> {
        let file_name = format!("{name}_FILE");
        let (secret, source) = match (self.raw(name)?, self.raw(&file_name)?) {
            (Some(_), Some(_)) => {
                let instruction = "unset one of them";
                return Err(ConfigError::Contradiction { first: name.into(), second: file_name, instruction });
            }
            (Some((text, source)), None) => (text, source),
            (None, Some((path, _))) => {
                let path = PathBuf::from(path);
                let text = read_file(&file_name, &path)?.trim_end_matches(['\r', '\n']).to_owned();
                if text.trim().is_empty() {
                    return Err(ConfigError::File { name: file_name, path, complaint: "is empty".into() });
                }
                (text, Source::File(path))
            }
            (None, None) => {
                self.note(name, "(not set)", Source::Default);
                return Ok(None);
            }
        };
        self.note(name, MASK, source);
        Ok(Some(Secret::new(secret)))
    }

    /// A text that begins with `marker`, or the path of a file that holds one. `read` makes the value or says what is
    /// wrong with the text, which is never shown; the value's `Display` is.
    pub(super) fn text_or_file<T>(
        &mut self,
        name: &'static str,
        marker: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
        show: impl FnOnce(&T) -> String,
    ) -> Result<Option<T>, ConfigError> {
        let Some((text, source)) = self.raw(name)? else {
            self.note(name, "(not set)", Source::Default);
            return Ok(None);
        };
        let (value, source) = if text.contains(marker) {
            // One-line files of variables (docker's, for one) write line ends as `\n`.
            let value = read(&text.replace("\\n", "\n")).map_err(|allowed| ConfigError::Value {
                name: name.into(),
                value: MASK.into(),
                allowed,
            })?;
            (value, source)
        } else {
            let path = PathBuf::from(text);
            (parse_file(name, &path, read)?, Source::File(path))
        };
        self.note(name, show(&value), source);
        Ok(Some(value))
    }

    /// As [`Self::text_or_file`] for what is in a file always; with the file's path.
    pub(super) fn file<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
        show: impl FnOnce(&T) -> String,
    ) -> Result<Option<(T, PathBuf)>, ConfigError> {
        let Some((path, _)) = self.raw(name)? else {
            self.note(name, "(not set)", Source::Default);
            return Ok(None);
        };
        let path = PathBuf::from(path);
        let value = parse_file(name, &path, read)?;
        self.note(name, show(&value), Source::File(path.clone()));
        Ok(Some((value, path)))
    }
}

/// The value in a file that the variable `name` names. `read` says what it must be.
pub(super) fn parse_file<T>(
    name: &str,
    path: &Path,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, ConfigError> {
    let text = read_file(name, path)?;
    read(&text).map_err(|allowed| ConfigError::File {
        name: name.into(),
        path: path.into(),
        complaint: format!("must be {allowed}"),
    })
}

/// Digits only: neither a sign nor blanks, which `FromStr` would take in part.
fn parse_digits<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn read_file(name: &str, path: &Path) -> Result<String, ConfigError> {
    let complain = |complaint: String| ConfigError::File { name: name.to_owned(), path: path.to_owned(), complaint };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| complain(format!("cannot be read: {error}")))?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| complain(format!("cannot be read: {error}")))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(complain("is longer than 64 KB".into()));
    }
    Ok(text)
}
