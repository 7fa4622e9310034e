//! The structure side in PostgreSQL, in tables of our making or beside those of another service.
//!
//! Owns the pool, the migrations, and what an error means for the asker. Every question is one statement, so one round
//! trip, under a time bound; after any error its connection is closed and not used again. Keeps no answers.
//!
//! An id that the column cannot hold is nobody's: it is not asked for, and nothing is stored for it.

mod column;
mod connect;
mod listen;
mod members;
mod revocations;
mod setup;
mod statements;
#[cfg(test)]
mod tests;
mod trouble;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deadpool_postgres::{Object, Pool};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, Error, Row};

use super::{Change, Seat, Singles};
use crate::chat::effect::ReceiptStatus;
use crate::ids::{RoomId, Timestamp, UserId};
use crate::store::fault::Fault;
use crate::store::reader::{Reader, level, status};

use column::{Columns, Ids, Seats};
use listen::Listener;
use statements::Statements;
use trouble::{LATE, Operator};

pub use connect::PostgresSettings;
pub(in crate::store) use members::NotEdited;

/// For a question, waiting for a connection included.
const ANSWER: Duration = Duration::from_secs(3);
/// What the server has for a statement of it: less, so that it gives up first and says so.
const STATEMENT: Duration = Duration::from_millis(2500);
/// For connecting, migrating and looking around at the start.
const SET_UP: Duration = Duration::from_secs(10);
/// How often a statement is tried that collides with another transaction.
const TRIES: u32 = 4;

/// A PostgreSQL database. Made without asking it anything; see [`Postgres::ready`].
#[derive(Debug)]
pub(in crate::store) struct Postgres {
    settings: PostgresSettings,
    open_rooms: bool,
    /// Made members when the database is first reached.
    members: Vec<Seat>,
    up: OnceCell<Up>,
    listener: Mutex<Listener>,
    operator: Operator,
}

/// What is known once the database was reached.
#[derive(Debug)]
struct Up {
    pool: Pool,
    columns: Columns,
    statements: Statements,
}

type Parameter<'a> = &'a (dyn ToSql + Sync);

impl Postgres {
    /// `open_rooms` has no effect on the tables of another service.
    pub(in crate::store) fn new(settings: PostgresSettings, open_rooms: bool, members: &[Seat]) -> Self {
        Self {
            settings,
            open_rooms,
            members: members.to_vec(),
            up: OnceCell::new(),
            listener: Mutex::default(),
            operator: Operator::default(),
        }
    }

    /// See [`Structure::ready`](super::Structure::ready). Several may ask at once: one sets up, the others wait for it.
    /// What only the operator can mend is logged, once; it is tried again all the same.
    pub(super) async fn ready(&self) -> Result<(), Fault> {
        self.up().await.map(drop)
    }

    /// See [`Structure::are_members`](super::Structure::are_members).
    pub(super) async fn are_members(&self, seats: &[Seat]) -> Result<Vec<bool>, Fault> {
        let up = self.up().await?;
        let (asked, at) = up.asked(seats);
        let mut members = vec![false; seats.len()];
        if !at.is_empty() {
            let rows = up.ask_seats(&self.operator, &up.statements.are_members, &asked).await?;
            for row in &rows {
                if let Some(member) = place(&at, &mut members, read(row.try_get(0))?) {
                    *member = true;
                }
            }
        }
        Ok(members)
    }

    /// See [`Structure::enter`](super::Structure::enter). The rooms of another service are never open.
    pub(super) async fn enter(&self, seat: &Seat) -> Result<bool, Fault> {
        let up = self.up().await?;
        let Some(enter) = up.statements.enter.as_ref().filter(|_| self.open_rooms) else { return Ok(false) };
        if !up.columns.hold(seat) {
            return Ok(false);
        }
        let seat = Seats::new(up.columns, std::iter::once(seat));
        let rows = up.ask_seats(&self.operator, enter, &seat).await?;
        rows.first().map_or(Ok(false), |row| read(row.try_get(0)))
    }

    /// See [`Structure::conversations`](super::Structure::conversations). Of the tables of another service that does
    /// not tell when somebody joined, in any order.
    pub(super) async fn conversations(&self, user: &UserId) -> Result<Vec<RoomId>, Fault> {
        let up = self.up().await?;
        let mut users = Ids::none(up.columns.user);
        if !users.push(user.as_str()) {
            return Ok(Vec::new());
        }
        let rows = up.ask(&self.operator, &up.statements.conversations, &[users.parameter()]).await?;
        let rooms = rows.iter().map(|row| Ok(up.columns.room(&read(up.columns.room.read(row, 0))?)));
        Ok(rooms.collect::<Result<Vec<_>, Fault>>()?.into_iter().flatten().collect())
    }

    /// See [`Structure::readers`](super::Structure::readers).
    pub(super) async fn readers(&self, seats: &[Seat], which: Singles<'_>) -> Result<Vec<Reader>, Fault> {
        let up = self.up().await?;
        let (asked, at) = up.asked(seats);
        let mut readers = vec![Reader::default(); seats.len()];
        if at.is_empty() {
            return Ok(readers);
        }
        let rows = match which {
            Singles::Newest => up.ask_seats(&self.operator, &up.statements.newest, &asked).await?,
            Singles::Lowest(about) => {
                let (n, seqs) = positions(&at, about);
                let parameters: [Parameter<'_>; 4] = [asked.rooms.parameter(), asked.users.parameter(), &n, &seqs];
                up.ask(&self.operator, &up.statements.lowest, &parameters).await?
            }
        };
        for row in &rows {
            if let Some(place) = place(&at, &mut readers, read(row.try_get(0))?) {
                *place = read(reader(row))?;
            }
        }
        Ok(readers)
    }

    /// See [`Structure::save_readers`](super::Structure::save_readers).
    ///
    /// All or nothing, and no row can be refused by itself: the ids were found to fit their columns, the rest are
    /// numbers, and the tables refer to no others.
    pub(super) async fn save_readers(&self, readers: &[(Seat, Reader)], now: Timestamp) -> Result<(), Fault> {
        let up = self.up().await?;
        let readers: Vec<_> = readers.iter().filter(|(seat, _)| up.columns.hold(seat)).collect();
        if readers.is_empty() {
            return Ok(());
        }
        let saved = Saved::new(up.columns, &readers);
        up.ask(&self.operator, &up.statements.save_readers, &saved.parameters(&time(now))).await.map(drop)
    }

    /// See [`Structure::next_change`](super::Structure::next_change). Dropped while it waits it loses no change.
    ///
    /// Without the triggers (the table is another's) it says [`Change::Missed`] every 5 s, so that a removal is
    /// noticed within that time.
    pub(super) async fn next_change(&self) -> Change {
        let mut listener = self.listener.lock().await;
        loop {
            match self.up().await {
                Ok(up) => return listener.next(&self.config(), up.columns).await,
                Err(_) => listener.pause().await,
            }
        }
    }

    async fn up(&self) -> Result<&Up, Fault> {
        timeout(SET_UP, self.up.get_or_try_init(|| self.bring_up())).await.unwrap_or(Err(LATE))
    }

    async fn bring_up(&self) -> Result<Up, Fault> {
        let shape = setup::set_up(&self.settings, &self.members, &self.operator, SET_UP).await?;
        let pool = connect::pool(self.config()).map_err(|error| {
            tracing::error!(%error, "the connections to PostgreSQL cannot be managed");
            Fault::Refused
        })?;
        self.operator.all_is_well();
        Ok(Up { pool, columns: shape.columns, statements: Statements::new(shape) })
    }

    fn config(&self) -> Config {
        self.settings.config(STATEMENT)
    }
}

impl Up {
    /// Asks for rows, or has something done. A statement that collides with another transaction did nothing and is
    /// tried again.
    async fn ask(&self, operator: &Operator, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Fault> {
        let deadline = Instant::now() + ANSWER;
        let mut tries = 1;
        loop {
            let connection = timeout_at(deadline, self.pool.get()).await.map_err(|_| LATE)?;
            let connection = connection.map_err(|error| operator.no_connection(&error))?;
            let fault = match timeout_at(deadline, query(&connection, sql, parameters)).await {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) if trouble::is_collision(&error) && tries < TRIES => {
                    tries += 1;
                    continue;
                }
                Ok(Err(error)) => {
                    if trouble::is_lost(&error) {
                        // The others were lost with it, most likely; the next question is not to find out by itself.
                        self.pool.retain(|_, _| false);
                    }
                    trouble::answered(&error)
                }
                Err(_) => LATE,
            };
            // Closed: an answer that is still under way must not keep the next one waiting.
            drop(Object::take(connection));
            return Err(fault);
        }
    }

    async fn ask_seats(&self, operator: &Operator, sql: &str, seats: &Seats) -> Result<Vec<Row>, Fault> {
        self.ask(operator, sql, &[seats.rooms.parameter(), seats.users.parameter()]).await
    }

    /// The seats that can be asked for, and where in the question each stood.
    fn asked(&self, seats: &[Seat]) -> (Seats, Vec<usize>) {
        let held = |(_, seat): &(usize, &Seat)| self.columns.hold(seat);
        let at = seats.iter().enumerate().filter(held).map(|(at, _)| at).collect();
        (Seats::new(self.columns, seats.iter()), at)
    }
}

async fn query(connection: &Object, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
    let statement = connection.prepare_cached(sql).await?;
    connection.query(&statement, parameters).await
}

/// A column of a row. That it is of another type would be our mistake.
fn read<T>(column: Result<T, Error>) -> Result<T, Fault> {
    column.map_err(|error| trouble::answered(&error))
}

/// The place of the answer that tells position `n` (from 1) of what was asked.
fn place<'a, T>(at: &[usize], answers: &'a mut [T], n: i64) -> Option<&'a mut T> {
    let at = at.get(usize::try_from(n).ok()?.checked_sub(1)?)?;
    answers.get_mut(*at)
}

/// The opposite of [`place`], for seqs of seats by their index: two arrays.
fn positions(at: &[usize], about: &[(usize, i64)]) -> (Vec<i64>, Vec<i64>) {
    let position = |index: &usize| at.binary_search(index).ok().and_then(|n| i64::try_from(n + 1).ok());
    about.iter().filter_map(|(index, seq)| position(index).map(|n| (n, *seq))).unzip()
}

/// A row of [`Statements::newest`] or [`Statements::lowest`].
fn reader(row: &Row) -> Result<Reader, Error> {
    let delivered: Option<i64> = row.try_get(1)?;
    let read: Option<i64> = row.try_get(2)?;
    let seqs: Option<Vec<i64>> = row.try_get(3)?;
    let levels: Option<Vec<i16>> = row.try_get(4)?;
    let single: BTreeMap<i64, ReceiptStatus> =
        seqs.into_iter().flatten().zip(levels.into_iter().flatten().map(status)).collect();
    Ok(Reader::from_parts(delivered.unwrap_or(0), read.unwrap_or(0), single))
}

/// The parameters of [`Statements::save_readers`].
struct Saved {
    seats: Seats,
    delivered: Vec<i64>,
    read: Vec<i64>,
    single: Seats,
    seqs: Vec<i64>,
    levels: Vec<i16>,
}

impl Saved {
    fn new(columns: Columns, readers: &[&(Seat, Reader)]) -> Self {
        let watermarks = |status| readers.iter().map(|(_, reader)| reader.watermark(status)).collect();
        let single = || readers.iter().flat_map(|(seat, reader)| reader.single().iter().map(move |one| (seat, one)));
        Self {
            seats: Seats::new(columns, readers.iter().map(|(seat, _)| seat)),
            delivered: watermarks(ReceiptStatus::Delivered),
            read: watermarks(ReceiptStatus::Read),
            single: Seats::new(columns, single().map(|(seat, _)| seat)),
            seqs: single().map(|(_, (seq, _))| *seq).collect(),
            levels: single().map(|(_, (_, status))| level(*status)).collect(),
        }
    }

    fn parameters<'a>(&'a self, time: &'a SystemTime) -> [Parameter<'a>; 9] {
        [
            self.seats.rooms.parameter(),
            self.seats.users.parameter(),
            &self.delivered,
            &self.read,
            time,
            self.single.rooms.parameter(),
            self.single.users.parameter(),
            &self.seqs,
            &self.levels,
        ]
    }
}

/// No clock of ours is past the year 9999, and no time beyond it can be stored.
fn time(timestamp: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(timestamp.0.min(253_402_300_799_999))
}
