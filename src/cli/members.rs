//! `alt-ws members`: who may enter a conversation, also while the server runs.

use std::path::Path;

use alt_ws::config::{Structure, Variables, structure};
use alt_ws::ids::{RoomId, UserId};
use alt_ws::server::settings::{embedded_file, postgres_settings};
use alt_ws::store::members::Members;

use super::{CliError, complain, existing_store, print};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Let users in; the conversation is created if there is none.
    Add {
        /// The conversation's id.
        #[arg(value_parser = room_id)]
        room: RoomId,
        /// The users' ids.
        #[arg(required = true, value_parser = user_id)]
        users: Vec<UserId>,
    },
    /// Shut users out.
    Remove {
        /// The conversation's id.
        #[arg(value_parser = room_id)]
        room: RoomId,
        /// The users' ids.
        #[arg(required = true, value_parser = user_id)]
        users: Vec<UserId>,
    },
    /// Print the members' ids, one a line.
    List {
        /// The conversation's id.
        #[arg(value_parser = room_id)]
        room: RoomId,
    },
}

fn room_id(text: &str) -> Result<RoomId, alt_ws::ids::InvalidId> {
    RoomId::from_parts(text, true)
}

fn user_id(text: &str) -> Result<UserId, alt_ws::ids::InvalidId> {
    UserId::from_parts(text, true)
}

pub(super) fn run(action: &Action, variables: &Variables) -> Result<(), CliError> {
    let (mut members, place) = match structure(variables)? {
        (Structure::Embedded, folder) => embedded(action, &folder)?,
        (Structure::Postgres(settings), _) => {
            let members = Members::in_postgres(postgres_settings(&settings));
            (members.map_err(|error| CliError::Runtime(error.to_string()))?, format!("PostgreSQL at {settings}"))
        }
    };
    let failed = |error| CliError::Runtime(format!("{place}: {error}"));
    match action {
        Action::Add { room, users } => {
            let new = members.add(room, users).map_err(failed)?;
            print(&each(users, |user| if new.contains(user) { "added" } else { "was a member already:" }))
        }
        Action::Remove { room, users } => {
            let gone = members.remove(room, users).map_err(failed)?;
            print(&each(users, |user| if gone.contains(user) { "removed" } else { "was no member:" }))
        }
        Action::List { room } => {
            let users = members.list(room).map_err(failed)?;
            match &users {
                None => complain("there is no such conversation"),
                Some(users) if users.is_empty() => complain("nobody is a member"),
                Some(_) => {}
            }
            let users = users.unwrap_or_default();
            print(&users.iter().map(|user| format!("{user}\n")).collect::<String>())
        }
    }
}

fn embedded(action: &Action, folder: &Path) -> Result<(Members, String), CliError> {
    let file = match action {
        Action::Add { .. } => {
            std::fs::create_dir_all(folder)
                .map_err(|error| CliError::Runtime(format!("{} cannot be created: {error}", folder.display())))?;
            embedded_file(folder)
        }
        Action::Remove { .. } | Action::List { .. } => existing_store(folder)?,
    };
    let place = format!("the store {}", file.display());
    let members = Members::open(&file).map_err(|error| CliError::Runtime(format!("{place}: {error}")))?;
    Ok((members, place))
}

fn each(users: &[UserId], what: impl Fn(&UserId) -> &'static str) -> String {
    users.iter().map(|user| format!("{} {user}\n", what(user))).collect()
}
