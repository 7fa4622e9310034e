//! A text that is never shown.

use std::fmt;

/// What stands in the place of a secret wherever settings are printed.
pub const MASK: &str = "********";

/// A secret. Its `Debug` is a mask, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` to itself.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one who needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it is one of the values that examples, tutorials and templates give: the first that are tried.
    pub(super) fn is_well_known(&self) -> bool {
        let plain: String = self.0.chars().filter(char::is_ascii_alphanumeric).collect();
        WELL_KNOWN.contains(&plain.to_ascii_lowercase().as_str())
    }
}

/// Compared without case and punctuation: `Your-Secret-Key` is `your_secret_key`.
const WELL_KNOWN: [&str; 30] = [
    "secret",
    "mysecret",
    "supersecret",
    "secretkey",
    "changeme",
    "changemeinproduction",
    "default",
    "jwtsecret",
    "jwtsecretkey",
    "password",
    "yoursecret",
    "yoursecretkey",
    "yourjwtsecret",
    "yourjwtsecretkey",
    "yoursupersecretjwtkey",
    "your256bitsecret",
    "yoursecretkeyhere",
    "yoursecrethere",
    "yoursupersecretkey",
    "yourjwtsecrethere",
    "mysecretkey",
    "mysupersecretkey",
    "supersecretkey",
    "supersecretjwtkey",
    "replacethiswithyoursecret",
    "replaceme",
    "keyboardcat",
    "shhhhh",
    "averylongsecretkey",
    "thisisasecretkey",
];

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_secrets_are_known_in_every_spelling() {
        for text in [
            "secret",
            "SECRET",
            "change-me",
            "changeme",
            "your-secret-key",
            "your_jwt_secret",
            "your-256-bit-secret",
            "Super_Secret-JWT.key",
        ] {
            assert!(Secret::new(text.into()).is_well_known(), "{text}");
        }
        for text in ["secret2f8a", "", "correct horse battery staple"] {
            assert!(!Secret::new(text.into()).is_well_known(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2".into()))), format!("Some({MASK})"));
    }
}
