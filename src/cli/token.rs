//! `alt-ws token`: a token for one user, for trying things out and for scripts.

use std::time::Duration;

use alt_ws::auth;
use alt_ws::config::{Variables, signing_secret};
use alt_ws::ids::UserId;

use super::{CliError, print, unix_time};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The user's id; whole numbers become JSON numbers.
    #[arg(long, value_name = "ID")]
    user: String,
    /// The name that others see.
    #[arg(long)]
    name: String,
    /// How long the token is good, like 30m, 1h or 7days.
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// Keep an id of digits as text.
    #[arg(long)]
    text_id: bool,
}

pub(super) fn run(args: &Args, variables: &Variables) -> Result<(), CliError> {
    let user =
        UserId::from_parts(&args.user, !args.text_id).map_err(|error| CliError::Usage(format!("--user: {error}")))?;
    let secret = signing_secret(variables)?;
    let token = auth::sign(&user, &args.name, secret.reveal(), unix_time(), args.ttl)
        .map_err(|error| CliError::Usage(format!("no token can be made: {error}")))?;
    print(&format!("{token}\n"))
}
