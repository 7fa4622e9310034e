//! Why the server does not start.

use std::path::PathBuf;

/// A setting that is missing, unknown or contradictory. Always the operator's fault, and always one sentence that names
/// the variable, its value (never a secret's) and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value that the variable does not take.
    #[error("{name} is {value}; it must be {allowed}")]
    Value {
        /// The variable.
        name: String,
        /// What it was set to, quoted and shortened, or [`super::MASK`].
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// A variable without which the server is not safe to run.
    #[error("{name} is not set; {instruction}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What to do.
        instruction: &'static str,
    },
    /// Settings that exclude each other.
    #[error("{first} and {second} are both set; {instruction}")]
    Contradiction {
        /// One variable.
        first: String,
        /// The other.
        second: String,
        /// What to do.
        instruction: &'static str,
    },
    /// A file that a variable names.
    #[error("{name} names the file {path:?}, which {complaint}")]
    File {
        /// The variable.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        complaint: String,
    },
    /// A folder that a variable names.
    #[error("{name} names the folder {path:?}, which {complaint}")]
    Folder {
        /// The variable.
        name: String,
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        complaint: String,
    },
    /// `.env` is there and cannot be read.
    #[error("{path:?} cannot be read: {complaint}")]
    DotEnv {
        /// The file.
        path: PathBuf,
        /// Why.
        complaint: String,
    },
    /// A line of `.env`. The line itself is not shown: it may hold a secret.
    #[error("{path:?} is malformed in line {line}: a line is NAME=value, with quotes around a value that has spaces")]
    DotEnvLine {
        /// The file.
        path: PathBuf,
        /// The last line read, counted from 1; an open quote runs on to the end of the file.
        line: usize,
    },
    /// The operating system has no random bytes for the development secret.
    #[error("JWT_SECRET is not set and no random one can be made: {0}")]
    Random(String),
}

impl ConfigError {
    /// A refused value, shown so that it can neither flood nor steer a terminal.
    pub(super) fn value(name: &str, value: &str, allowed: impl Into<String>) -> Self {
        let shown: String = value.chars().take(100).collect();
        let more = if shown.len() < value.len() { "…" } else { "" };
        Self::Value { name: name.to_owned(), value: format!("{shown:?}{more}"), allowed: allowed.into() }
    }
}
