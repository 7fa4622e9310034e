//! Once a process: the migrations, the triggers, and a look at what the tables are like.
//!
//! Servers that start together take turns by an advisory lock.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::FutureExt as _;
use refinery::{Migration, embed_migrations};
use tokio::time::timeout;
use tokio_postgres::{Client, Error};

use super::super::Seat;
use super::column::{Column, Columns, Seats};
use super::connect::{Link, PostgresSettings};
use super::statements::{Shape, Statements};
use super::trouble::{LATE, Operator, UNFIT};
use super::{ANSWER, Saved, revocations};
use crate::store::fault::Fault;

embed_migrations!("src/store/structure/postgres/migrations");

/// Where refinery keeps what was migrated; its usual name may be taken by another service.
const HISTORY: &str = "alt_ws_migrations";
const HAS_HISTORY: &str = "SELECT to_regclass($1::text) IS NOT NULL";
/// `alt-ws` in ASCII: taken by whoever sets up, and freed when its connection ends.
const LOCK: &str = "SELECT pg_advisory_lock(x'616c742d7773'::bigint)";
const TRIGGERS: &str = include_str!("triggers.sql");
const TYPES: &str = "SELECT c.relname || '.' || a.attname, format_type(a.atttypid, NULL)
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
    WHERE a.attrelid IN (to_regclass('conversation_members'), to_regclass('conversations'))
        AND a.attnum > 0 AND NOT a.attisdropped";
const ENCODING: &str = "SELECT current_setting('server_encoding')";

/// Why the database cannot be used.
enum Trouble {
    /// It took the connection and said nothing.
    Silent,
    Postgres(Error),
    Migration(refinery::Error),
    /// What the operator has to change.
    Unfit(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Postgres(error)
    }
}

/// Brings the database up to date and says what it is like, within `bound`.
pub(super) async fn set_up(
    settings: &PostgresSettings,
    members: &[Seat],
    operator: &Operator,
    bound: Duration,
) -> Result<Shape, Fault> {
    let done = async {
        let config = settings.config(bound);
        let open = Link::open(&config, |connection| connection.map(drop));
        let Ok(link) = timeout(ANSWER, open).await else { return Err(Trouble::Silent) };
        prepare(&mut link?.client, members).await
    };
    match timeout(bound, done).await {
        Err(_) | Ok(Err(Trouble::Silent)) => Err(LATE),
        Ok(Ok(shape)) => Ok(shape),
        Ok(Err(Trouble::Postgres(error))) => Err(operator.hindered(&error)),
        Ok(Err(Trouble::Unfit(advice))) => {
            operator.tell(format!("PostgreSQL: {advice}"));
            Err(UNFIT)
        }
        Ok(Err(Trouble::Migration(error))) => {
            let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Error>());
            Err(source.map_or_else(
                || {
                    operator
                        .tell(format!("PostgreSQL: {error}; start the alt-ws that made these tables, or a newer one"));
                    UNFIT
                },
                |error| operator.hindered(error),
            ))
        }
    }
}

async fn prepare(client: &mut Client, members: &[Seat]) -> Result<Shape, Trouble> {
    let encoding: String = client.query_one(ENCODING, &[]).await?.try_get(0)?;
    // Any other could refuse a text, and with it all that was asked together with it.
    if encoding != "UTF8" && encoding != "SQL_ASCII" {
        return Err(Trouble::Unfit(format!("the database has the encoding {encoding}; make one with UTF8")));
    }
    client.batch_execute(LOCK).await?;
    migrate(client).await?;
    client.batch_execute(TRIGGERS).await?;
    let shape = look(client).await?;
    let statements = Statements::new(shape);
    rehearse(client, shape.columns, &statements).await?;
    seed(client, shape.columns, &statements, members).await?;
    Ok(shape)
}

/// Makes what is missing. Where nothing is, the runner is left alone: it begins with `CREATE TABLE IF NOT EXISTS`, for
/// which PostgreSQL asks for the right to create even when the table exists.
async fn migrate(client: &mut Client) -> Result<(), Trouble> {
    let mut runner = migrations::runner();
    if is_current(client, runner.get_migrations()).await? {
        return Ok(());
    }
    runner.set_migration_table_name(HISTORY);
    // A newer server may have migrated further; what it adds does not disturb an older one beside it.
    runner.set_abort_missing(false).run_async(client).await.map(drop).map_err(Trouble::Migration)
}

/// Whether each of the migrations was made as it is here.
async fn is_current(client: &Client, migrations: &[Migration]) -> Result<bool, Error> {
    if !client.query_one(HAS_HISTORY, &[&HISTORY]).await?.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    let made = format!("SELECT version::int8, name::text, checksum::text FROM {HISTORY}");
    let rows = client.query(&made, &[]).await?;
    let rows = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)));
    let made: HashSet<(i64, String, String)> = rows.collect::<Result<_, Error>>()?;
    let key = |one: &Migration| (i64::from(one.version()), one.name().to_owned(), one.checksum().to_string());
    Ok(migrations.iter().all(|migration| made.contains(&key(migration))))
}

async fn look(client: &Client) -> Result<Shape, Trouble> {
    let rows = client.query(TYPES, &[]).await?;
    let types = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let types: HashMap<String, String> = types.collect::<Result<_, Error>>()?;
    let column = |name: &str| {
        let found = types.get(name).map(String::as_str);
        found.and_then(Column::named).ok_or_else(|| {
            let found = found.unwrap_or("missing");
            Trouble::Unfit(format!("{name} is {found}; it must be an integer, uuid, text or varchar"))
        })
    };
    let columns = Columns {
        room: column("conversation_members.conversation_id")?,
        user: column("conversation_members.user_id")?,
    };
    let open = types.get("conversations.open").is_some_and(|open| open == "boolean");
    Ok(Shape {
        columns,
        joined_at: types.contains_key("conversation_members.joined_at"),
        open: open && column("conversations.id").is_ok_and(|id| id == columns.room),
    })
}

/// Asks for nobody and saves nothing, to see that the tables have the columns and that we may.
async fn rehearse(client: &Client, columns: Columns, statements: &Statements) -> Result<(), Error> {
    let nobody = Seats::new(columns, std::iter::empty());
    let nobody = [nobody.rooms.parameter(), nobody.users.parameter()];
    client.query(&statements.are_members, &nobody).await?;
    client.query(&statements.newest, &nobody).await?;
    let nothing: Vec<i64> = Vec::new();
    let [rooms, user] = nobody;
    client.query(&statements.lowest, &[rooms, user, &nothing, &nothing]).await?;
    client.query(&statements.conversations, &[user]).await?;
    client.query(revocations::NUMBER, &[]).await?;
    client.query(revocations::LIST.as_str(), &[]).await?;
    let nothing = Saved::new(columns, &[]);
    client.query(&statements.save_readers, &nothing.parameters(&std::time::UNIX_EPOCH)).await?;
    Ok(())
}

/// Adds the members of the settings.
async fn seed(client: &Client, columns: Columns, statements: &Statements, members: &[Seat]) -> Result<(), Error> {
    if members.is_empty() {
        return Ok(());
    }
    for (room, user) in members.iter().filter(|seat| !columns.hold(seat)) {
        let types = format!("{} and {}", columns.room.sql(), columns.user.sql());
        tracing::error!(%room, %user, types, "cannot be a member: an id does not fit its column");
    }
    let members = Seats::new(columns, members.iter());
    client.query(&statements.add, &[members.rooms.parameter(), members.users.parameter()]).await.map(drop)
}
