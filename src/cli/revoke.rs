//! `alt-ws revoke`: tokens that are believed no more, also while servers run.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alt_ws::auth::revocations::{Revocation, Subject};
use alt_ws::config::{Structure, Variables, structure};
use alt_ws::ids::Timestamp;
use alt_ws::server::settings::postgres_settings;
use alt_ws::store::revocations::RevocationList;

use super::{CliError, complain, existing_store, print};

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["jti", "user", "list"])))]
pub(super) struct Args {
    /// Refuse the token with this jti.
    #[arg(long, value_name = "ID", value_parser = |text: &str| subject("jti", text))]
    jti: Option<Subject>,
    /// Refuse all tokens of this user that were made until now, and those that do not say when they were made (iat).
    #[arg(long, value_name = "ID", value_parser = |text: &str| subject("user", text))]
    user: Option<Subject>,
    /// Print what is revoked: kind, id, since when and until when.
    #[arg(long)]
    list: bool,
    /// Take the revocation back.
    #[arg(long, conflicts_with = "list")]
    undo: bool,
    /// Forget the revocation after this time, when all such tokens have ended anyway: 24h, 7days. By default it is kept.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with_all = ["list", "undo"])]
    forget_in: Option<Duration>,
    /// The same as a point in time: 2026-12-31T00:00:00Z.
    #[arg(long, value_name = "WHEN", value_parser = point, conflicts_with_all = ["list", "undo", "forget_in"])]
    until: Option<Timestamp>,
}

fn subject(kind: &str, text: &str) -> Result<Subject, String> {
    Subject::from_parts(kind, text).ok_or_else(|| "no token can have such an id".to_owned())
}

fn point(text: &str) -> Result<Timestamp, String> {
    let time = humantime::parse_rfc3339_weak(text).map_err(|error| error.to_string())?;
    timestamp(time).ok_or_else(|| "it is before 1970".to_owned())
}

fn timestamp(time: SystemTime) -> Option<Timestamp> {
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok().map(Timestamp)
}

pub(super) fn run(args: Args, variables: &Variables) -> Result<(), CliError> {
    let Args { jti, user, list: _, undo, forget_in, until } = args;
    let now = timestamp(SystemTime::now()).ok_or_else(|| CliError::Runtime("the clock is before 1970".to_owned()))?;
    let forget_in = forget_in.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let until = until.or_else(|| forget_in.map(|time| Timestamp(now.0.saturating_add(time))));
    if until.is_some_and(|until| until <= now) {
        return Err(CliError::Usage("the revocation would be over already".to_owned()));
    }
    let (mut list, place) = open(variables)?;
    let failed = |error| CliError::Runtime(format!("{place}: {error}"));
    let Some(subject) = jti.or(user) else {
        let lines = list.list().map_err(failed)?;
        if lines.is_empty() {
            complain("nothing is revoked");
        }
        return print(&lines.iter().map(line).collect::<String>());
    };
    let name = format!("{} {}", subject.kind(), subject.value());
    if undo {
        let was_there = list.remove(&subject).map_err(failed)?;
        return print(&format!("{} {name}\n", if was_there { "believed again:" } else { "was not revoked:" }));
    }
    let at = list.add(subject, until).map_err(failed)?;
    print(&format!("revoked {name} since {at}\n"))
}

fn line(Revocation { subject, at, until }: &Revocation) -> String {
    let until = until.map_or_else(|| "for ever".to_owned(), |until| format!("until {until}"));
    format!("{:4}  {}  since {at}  {until}\n", subject.kind(), subject.value())
}

/// The list, and what to call the place where it is.
fn open(variables: &Variables) -> Result<(RevocationList, String), CliError> {
    let runtime = |error: &dyn std::fmt::Display| CliError::Runtime(error.to_string());
    match structure(variables)? {
        (Structure::Embedded, folder) => {
            let file = existing_store(&folder)?;
            let place = format!("the store {}", file.display());
            let list = RevocationList::open(&file).map_err(|error| runtime(&format!("{place}: {error}")))?;
            Ok((list, place))
        }
        (Structure::Postgres(settings), _) => {
            let list = RevocationList::in_postgres(postgres_settings(&settings)).map_err(|error| runtime(&error))?;
            Ok((list, format!("PostgreSQL at {settings}")))
        }
    }
}
