//! What an error of the driver, or a code in a server's answer, means for the request that got it.

use mongodb::error::{Error, ErrorKind};

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The moment's: not reached, no primary, going down, or an answer that leaves open what was done.
    Down(&'static str),
    /// This request's: it took too long, or lost too many races.
    Late(&'static str),
    /// The disk's.
    Full,
    /// The operator's: who we are, or what the database already holds.
    Operator(&'static str),
    /// Another document has one of the keys.
    Duplicate,
    /// The request's: the same again would be refused again.
    Refused,
}

pub(super) const DUPLICATE_KEY: i32 = 11000;

/// Of an index: one with these keys or this name is there, with other options.
pub(super) const INDEX_CONFLICTS: [i32; 2] = [85, 86];

impl Verdict {
    pub(super) fn of(error: &Error) -> Self {
        match &*error.kind {
            ErrorKind::Command(command) => match Self::of_code(command.code) {
                // The server knows best whether it would do it another time.
                Self::Refused
                    if ["RetryableWriteError", "RetryableError", "TransientTransactionError"]
                        .iter()
                        .any(|label| error.contains_label(label)) =>
                {
                    Self::Down("MongoDB cannot do it now")
                }
                verdict => verdict,
            },
            ErrorKind::Authentication { .. } => Self::UNAUTHORIZED,
            ErrorKind::InvalidTlsConfig { .. } => {
                Self::Operator("the TLS options in MONGO_URI cannot be used; correct the files that they name")
            }
            ErrorKind::InvalidArgument { .. } | ErrorKind::Bson(_) | ErrorKind::IncompatibleServer { .. } => {
                Self::Refused
            }
            // The network, the selection of a server, the pool, a reply that is none.
            _ => Self::Down("MongoDB is not reached"),
        }
    }

    /// Codes of commands, write errors and write concern errors.
    pub(super) fn of_code(code: i32) -> Self {
        match code {
            DUPLICATE_KEY | 11001 | 12582 => Self::Duplicate,
            14031 => Self::Full,
            13 | 18 | 8000 => Self::UNAUTHORIZED,
            // Hosts not reached, sockets, stepping down, shutting down, not the primary (any more).
            6 | 7 | 89 | 91 | 189 | 262 | 279 | 384 | 9001 | 10058 | 10107 | 11600 | 11601 | 11602 | 13435 | 13436 => {
                Self::Down("MongoDB has no primary, or is going down")
            }
            // Out of time or lost in a race on the server, write or read concern not reached, cursor gone.
            24 | 43 | 50 | 64 | 79 | 100 | 112 | 133 | 134 | 146 | 202 | 237 => {
                Self::Late("MongoDB did not answer in time")
            }
            // Internal and unknown errors: the server failed, whatever it was asked. SecantusDB, which has no code for a
            // full disk, says this when its disk is full.
            1 | 8 => Self::Down("MongoDB failed"),
            _ => Self::Refused,
        }
    }

    const UNAUTHORIZED: Self = Self::Operator(
        "MongoDB refuses the user of MONGO_URI; correct the password, or give the user readWrite on the database",
    );
}
