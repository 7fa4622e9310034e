//! What an error of PostgreSQL means: ask again, the disk is full, or never. And what the operator is told, once.

use std::error::Error as _;
use std::sync::{Mutex, PoisonError};

use deadpool_postgres::PoolError;
use tokio_postgres::Error;

use crate::store::fault::Fault;

pub(super) const LATE: Fault = Fault::Late("PostgreSQL did not answer in time");
const UNREACHED: Fault = Fault::Down("PostgreSQL cannot be reached");
const CREDENTIALS: Fault = Fault::Down("PostgreSQL refuses the user or the password");
const NO_DATABASE: Fault = Fault::Down("PostgreSQL has no such database");
pub(super) const UNFIT: Fault = Fault::Down("the database cannot be used as it is");

/// Tells the operator what only they can mend: once, not at each of the retries.
#[derive(Debug, Default)]
pub(super) struct Operator(Mutex<Option<String>>);

impl Operator {
    /// Everything is well: the next trouble is told again.
    pub(super) fn all_is_well(&self) {
        *self.told() = None;
    }

    /// Tells it, unless it was the last that was told.
    pub(super) fn tell(&self, trouble: String) {
        let mut told = self.told();
        if told.as_ref() != Some(&trouble) {
            tracing::error!("{trouble}");
            *told = Some(trouble);
        }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an error means that came while connecting or setting up. Never final: an operator can mend it meanwhile.
    pub(super) fn hindered(&self, error: &Error) -> Fault {
        let (fault, advice) = match (error.code().map(|code| code.code()), fault(error)) {
            (_, fault @ (Fault::Down(_) | Fault::Late(_) | Fault::Full)) => return fault,
            (Some(code), Fault::Refused) if code.starts_with("28") => {
                (CREDENTIALS, "check DB_USER and DB_PASS, and what the server allows from here without TLS")
            }
            (Some("3D000"), Fault::Refused) => (NO_DATABASE, "create the database, or check DB_NAME"),
            (Some("42501" | "3F000"), Fault::Refused) => (
                UNFIT,
                "grant DB_USER USAGE and CREATE on the schema, and SELECT on conversation_members and on alt-ws's own tables",
            ),
            (Some(_), Fault::Refused) => (UNFIT, "make its tables fit, or use another database"),
            // The server asks for a password and there is none, or in a way that is not known here.
            (None, Fault::Refused) => (CREDENTIALS, "check DB_PASS and the server's authentication method"),
        };
        self.tell(format!("PostgreSQL: {}; {advice}", words(error)));
        fault
    }

    /// The same for an error of the pool.
    pub(super) fn no_connection(&self, error: &PoolError) -> Fault {
        match error {
            PoolError::Backend(error) => self.hindered(error),
            PoolError::Timeout(_) => LATE,
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => UNREACHED,
        }
    }
}

/// What an error of a question means; a refusal is logged.
pub(super) fn answered(error: &Error) -> Fault {
    let fault = fault(error);
    if fault == Fault::Refused {
        let table = error.as_db_error().and_then(|error| error.table());
        let constraint = error.as_db_error().and_then(|error| error.constraint());
        tracing::error!(error = words(error), table, constraint, "PostgreSQL refused a question");
    }
    fault
}

/// Whether another transaction was in the way, and the same again may succeed at once.
pub(super) fn is_collision(error: &Error) -> bool {
    matches!(error.code().map(|code| code.code()), Some("40001" | "40P01"))
}

/// Whether the connection is gone, not only the answer.
pub(super) fn is_lost(error: &Error) -> bool {
    match error.code() {
        Some(code) => code.code().starts_with("57P") || code.code().starts_with("08"),
        None => fault(error) == UNREACHED,
    }
}

fn fault(error: &Error) -> Fault {
    let Some(code) = error.code() else {
        let io = error.source().is_some_and(|source| source.is::<std::io::Error>());
        return if io || error.is_closed() { UNREACHED } else { Fault::Refused };
    };
    match code.code() {
        "53100" => Fault::Full,
        // statement_timeout, or cancelled by an administrator; lock_timeout.
        "57014" | "55P03" => LATE,
        "25006" => Fault::Down("PostgreSQL is read-only"),
        // The tables or the connection's prepared statements are not what they were; a new connection sees them.
        "0A000" | "26000" => Fault::Down("PostgreSQL has forgotten a statement"),
        code => match code.get(..2) {
            Some("08") => UNREACHED,
            Some("57") => Fault::Down("PostgreSQL is starting or stopping"),
            Some("53" | "58") => Fault::Down("PostgreSQL is short of connections, memory or files"),
            Some("40") => Fault::Late("PostgreSQL is busy with the same rows"),
            _ => Fault::Refused,
        },
    }
}

/// The error for the log. Other messages of the server may quote values; these name tables, users and types.
fn words(error: &Error) -> String {
    match error.as_db_error() {
        Some(refusal) => {
            let code = refusal.code().code();
            let harmless = ["28", "3D", "3F", "42"].iter().any(|class| code.starts_with(class));
            if harmless { format!("{} ({code})", refusal.message()) } else { format!("error {code}") }
        }
        None => error.to_string(),
    }
}
