//! The command line: one file per command.
//!
//! Owns the words of the command line, what is printed where, and the exit code: 0 done, 1 something failed while
//! running, 2 the command line or the configuration is wrong, 3 the server to be put under load does not let the clients
//! in. Results go to standard output, complaints to standard error, one sentence each.

mod check_config;
mod health;
mod load;
mod members;
mod migrate;
mod revoke;
mod serve;
mod token;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use alt_ws::config::{ConfigError, Variables};
use alt_ws::server::settings::embedded_file;
use clap::{Parser, Subcommand};

/// A real-time chat server that official socket.io clients use as it is.
///
/// Settings come from the environment, then from the file .env of the working directory; .env.example lists them all.
#[derive(Debug, Parser)]
#[command(name = "alt-ws", version)]
struct Cli {
    /// Without a command the server is started.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server (the default).
    Serve,
    /// Print a token for a user, signed with JWT_SECRET.
    Token(token::Args),
    /// Say who may enter a conversation.
    #[command(subcommand)]
    Members(members::Action),
    /// Refuse a token, or all tokens of a user, from now on.
    Revoke(revoke::Args),
    /// Make the tables and indexes that the stores need; the server does the same when it starts.
    Migrate,
    /// Put a running server under load and count what comes back.
    Load(load::Args),
    /// Print every setting, its value and where it came from.
    CheckConfig,
    /// Ask the running server of these settings whether it is ready for clients: exit code 0 or 1.
    Health(health::Args),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The arguments are well-formed and wrong.
    #[error("{0}")]
    Usage(String),
    /// The server that was to be put under load does not let the clients in.
    #[error("{0}")]
    Unreachable(String),
    /// Something failed while running.
    #[error("{0}")]
    Runtime(String),
}

impl CliError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Usage(_) => ExitCode::from(2),
            Self::Runtime(_) => ExitCode::from(1),
            Self::Unreachable(_) => ExitCode::from(3),
        }
    }
}

/// Runs the command that the process was started with.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = Variables::load(Path::new("")).map_err(CliError::from).and_then(|variables| {
        match cli.command.unwrap_or(Command::Serve) {
            Command::Serve => serve::run(&variables),
            Command::Token(args) => token::run(&args, &variables),
            Command::Members(action) => members::run(&action, &variables),
            Command::Revoke(args) => revoke::run(args, &variables),
            Command::Migrate => migrate::run(&variables),
            Command::Load(args) => load::run(args, &variables),
            Command::CheckConfig => check_config::run(&variables),
            Command::Health(args) => health::run(&args, &variables),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            error.exit_code()
        }
    }
}

/// The embedded store's file in a folder. One made on the way would look like an answer when only the folder is the wrong
/// one.
fn existing_store(folder: &Path) -> Result<PathBuf, CliError> {
    let file = embedded_file(folder);
    if file.exists() {
        return Ok(file);
    }
    Err(CliError::Runtime(format!("there is no store {} yet; is DATA_DIR right?", file.display())))
}

/// Prints to standard output. Unlike `println!` it survives a reader that has gone, as in `alt-ws … | head`.
fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| CliError::Runtime(format!("standard output cannot be written: {error}")))
}

/// Prints one sentence to standard error. Nobody is left to be told when that fails.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "alt-ws: {text}");
}

/// The time on the wall, in seconds since the Unix epoch.
fn unix_time() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
