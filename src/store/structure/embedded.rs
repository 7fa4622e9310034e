//! The structure side in the embedded SQLite file, for a store whose messages are elsewhere.
//!
//! Owns the one connection that writes. Calls are short and block, for seconds when another program has the file: the
//! lanes that call run on threads of their own. A failed write or sync ends writing for good, as in the [embedded store](crate::store::sqlite); reading goes on.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::task::block_in_place;

use super::{Change, Seat, Singles};
use crate::auth::revocations::Revocation;
use crate::ids::{RoomId, Timestamp, UserId};
use crate::store::StoreError;
use crate::store::fault::Fault;
use crate::store::reader::Reader;
use crate::store::sqlite::file::{OpenFile, lock};
use crate::store::sqlite::{ServerLock, changes, membership, readers, revocations, schema};
use crate::store::stamp::Stamps;

/// How often the table of changes is looked at. A look is one step in an index.
const POLL: Duration = Duration::from_millis(500);

/// The open file of the one server that holds its lock.
#[derive(Debug)]
pub(in crate::store) struct Embedded {
    file: Mutex<OpenFile>,
    stamps: Mutex<Stamps>,
    told: Mutex<Told>,
    /// After the connection: it is closed first, then the next server may come.
    _lock: ServerLock,
    open_rooms: bool,
}

/// What [`Embedded::next_change`] has told. Bounded by what one look brings.
#[derive(Debug, Default)]
struct Told {
    /// The last change that was looked at; `None` before the first look.
    last: Option<i64>,
    waiting: VecDeque<Change>,
}

impl Embedded {
    /// Opens or makes the file, alone among servers, and adds the members of the settings.
    pub(in crate::store) fn open(path: &Path, open_rooms: bool, members: &[Seat]) -> Result<Self, StoreError> {
        schema::make_directory(path)?;
        let lock = ServerLock::take(path)?;
        let mut connection = schema::connect(path)?;
        let mut stamps = Stamps::new()?;
        let now = stamps.now();
        let seeded = membership::add_all(&mut connection, members.iter().map(|(room, user)| (room, user)), now);
        seeded.map_err(|source| StoreError::Edit { path: path.into(), source })?;
        let file = Mutex::new(OpenFile::new(connection, "memberships"));
        Ok(Self { file, stamps: Mutex::new(stamps), told: Mutex::default(), _lock: lock, open_rooms })
    }

    /// Whether the file can still be written.
    pub(super) fn ready(&self) -> Result<(), Fault> {
        self.file().writable()
    }

    /// See [`Structure::ping`](super::Structure::ping).
    pub(super) fn ping(&self) -> Result<i64, Fault> {
        self.file().read(revocations::number)
    }

    /// See [`Structure::revocations`](super::Structure::revocations).
    pub(super) fn revocations(&self) -> Result<Vec<Revocation>, Fault> {
        self.file().read(revocations::list)
    }

    /// See [`Structure::are_members`](super::Structure::are_members).
    pub(super) fn are_members(&self, seats: &[Seat]) -> Result<Vec<bool>, Fault> {
        self.file()
            .read(|connection| seats.iter().map(|(room, user)| membership::is_member(connection, room, user)).collect())
    }

    /// See [`Structure::enter`](super::Structure::enter).
    pub(super) fn enter(&self, (room, user): &Seat) -> Result<bool, Fault> {
        if !self.open_rooms {
            return Ok(false);
        }
        let now = lock(&self.stamps).now();
        self.file().write(|transaction| {
            let open = membership::is_open(transaction, room)?;
            if open {
                membership::enter(transaction, room, user, now)?;
            }
            Ok(open)
        })
    }

    /// See [`Structure::conversations`](super::Structure::conversations).
    pub(super) fn conversations(&self, user: &UserId) -> Result<Vec<RoomId>, Fault> {
        self.file().read(|connection| membership::conversations(connection, user))
    }

    /// See [`Structure::readers`](super::Structure::readers).
    pub(super) fn readers(&self, seats: &[Seat], which: Singles<'_>) -> Result<Vec<Reader>, Fault> {
        self.file().read(|connection| {
            let Singles::Lowest(about) = which else {
                return seats.iter().map(|(room, user)| readers::newest(connection, room, user)).collect();
            };
            let mut seqs: HashMap<usize, Vec<i64>> = HashMap::new();
            about.iter().for_each(|(index, seq)| seqs.entry(*index).or_default().push(*seq));
            let lowest = |(index, (room, user)): (usize, &Seat)| {
                readers::lowest(connection, room, user, seqs.get(&index).map_or(&[], Vec::as_slice))
            };
            seats.iter().enumerate().map(lowest).collect()
        })
    }

    /// See [`Structure::save_readers`](super::Structure::save_readers).
    pub(super) fn save_readers(&self, readers: &[(Seat, Reader)], now: Timestamp) -> Result<(), Fault> {
        self.file().write(|transaction| {
            readers.iter().try_for_each(|((room, user), reader)| readers::save(transaction, room, user, reader, now))
        })
    }

    /// See [`Structure::next_change`](super::Structure::next_change). Changes are told within half a second. Dropped
    /// while it waits it loses none.
    pub(super) async fn next_change(&self) -> Change {
        loop {
            if let Some(change) = block_in_place(|| self.look()) {
                return change;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The next change, if there is one by now.
    fn look(&self) -> Option<Change> {
        let mut told = lock(&self.told);
        if told.waiting.is_empty() {
            let last = told.last;
            let found = self.file().read(|connection| match last {
                Some(last) => changes::since(connection, last),
                None => Ok(changes::Changes { missed: true, seats: Vec::new(), last: changes::last(connection)? }),
            });
            // A file that cannot be read is told of by everybody else who reads it.
            let found = found.ok()?;
            told.last = Some(found.last);
            told.waiting.extend(found.missed.then_some(Change::Missed));
            told.waiting.extend(found.seats.into_iter().map(|(room, user, member)| {
                if member { Change::Added((room, user)) } else { Change::Removed((room, user)) }
            }));
        }
        told.waiting.pop_front()
    }

    fn file(&self) -> MutexGuard<'_, OpenFile> {
        lock(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::effect::ReceiptStatus::{Delivered, Read};
    use crate::store::Members;

    fn seat(room: &str, user: &str) -> Seat {
        (RoomId::from_text(room).unwrap(), UserId::from_text(user).unwrap())
    }

    fn open(open_rooms: bool) -> (tempfile::TempDir, std::path::PathBuf, Embedded) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alt.db");
        let side = Embedded::open(&path, open_rooms, &[seat("5", "ann")]).unwrap();
        (directory, path, side)
    }

    #[test]
    fn members_enter_open_rooms_only_and_are_told_theirs() {
        let (_directory, path, side) = open(true);
        assert_eq!(side.are_members(&[seat("5", "bob"), seat("5", "ann")]).unwrap(), [false, true]);
        assert!(!side.enter(&seat("5", "bob")).unwrap(), "made by the operator, so closed");
        // Latest first, which takes two different times.
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(side.enter(&seat("6", "bob")).unwrap() && side.enter(&seat("6", "ann")).unwrap());
        assert_eq!(side.conversations(&seat("6", "ann").1).unwrap(), [seat("6", "ann").0, seat("5", "ann").0]);
        assert!(matches!(Embedded::open(&path, true, &[]), Err(StoreError::InUse { .. })));
        let (_directory, _path, closed) = open(false);
        assert!(!closed.enter(&seat("6", "bob")).unwrap());
    }

    #[test]
    fn readers_never_go_back_and_covered_single_receipts_go() {
        let (_directory, _path, side) = open(false);
        let ann = seat("5", "ann");
        let far = Reader::from_parts(6, 3, [(5, Read), (9, Delivered)].into());
        side.save_readers(&[(ann.clone(), far.clone())], Timestamp(1)).unwrap();
        side.save_readers(&[(ann.clone(), Reader::from_parts(4, 2, [(5, Delivered)].into()))], Timestamp(2)).unwrap();
        assert_eq!(side.readers(&[seat("5", "bob"), ann.clone()], Singles::Newest).unwrap(), [Reader::default(), far]);
        side.save_readers(&[(ann.clone(), Reader::from_parts(9, 5, [(8, Read)].into()))], Timestamp(3)).unwrap();
        assert_eq!(side.readers(&[ann], Singles::Newest).unwrap(), [Reader::from_parts(9, 5, [(8, Read)].into())]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_edits_of_another_process_are_told_within_a_second() {
        let (_directory, path, side) = open(true);
        assert_eq!(side.next_change().await, Change::Missed);
        let mut members = Members::open(&path).unwrap();
        let (room, ann) = seat("5", "ann");
        let began = tokio::time::Instant::now();
        let edit = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            members.remove(&room, std::slice::from_ref(&ann)).unwrap();
        };
        let (told, ()) = tokio::join!(side.next_change(), edit);
        assert_eq!(told, Change::Removed(seat("5", "ann")));
        assert!(began.elapsed() < Duration::from_secs(1));
        side.enter(&seat("6", "bob")).unwrap();
        assert_eq!(side.next_change().await, Change::Added(seat("6", "bob")), "one's own too");
    }

    #[test]
    fn a_file_that_is_held_holds_up_none_of_the_drivers_tasks() {
        let (_directory, _path, side) = open(true);
        let side = std::sync::Arc::new(super::super::Structure::Embedded(Box::new(side)));
        let super::super::Structure::Embedded(file) = &*side else { panic!() };
        let held = file.file();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (asks, asking) = std::sync::mpsc::channel();
        for question in 0..3 {
            let (side, asks) = (std::sync::Arc::clone(&side), asks.clone());
            runtime.spawn(async move {
                asks.send(()).unwrap();
                match question {
                    0 => side.ready().await.unwrap(),
                    1 => drop(side.next_change().await),
                    _ => drop(side.are_members(&[seat("5", "ann")]).await.unwrap()),
                }
                asks.send(()).unwrap();
            });
        }
        for _ in 0..3 {
            asking.recv_timeout(Duration::from_secs(10)).expect("a question waits for the thread of another");
        }
        let (answers, answered) = std::sync::mpsc::channel();
        runtime.spawn(async move { answers.send(()).unwrap() });
        answered.recv_timeout(Duration::from_secs(10)).expect("the drivers' threads are blocked");
        drop(held);
        for _ in 0..3 {
            asking.recv_timeout(Duration::from_secs(10)).unwrap();
        }
    }

    #[test]
    fn a_full_disk_is_told_and_passes_a_broken_one_is_only_read() {
        let (_directory, _path, side) = open(true);
        side.file().connection().pragma_update(None, "max_page_count", 1).unwrap();
        let many: Vec<_> =
            (0..3000).map(|n| (seat(&n.to_string(), "ann"), Reader::from_parts(1, 1, [].into()))).collect();
        assert_eq!(side.save_readers(&many, Timestamp(1)), Err(Fault::Full));
        side.file().connection().pragma_update(None, "max_page_count", 100_000).unwrap();
        side.save_readers(&many, Timestamp(1)).unwrap();

        let sync = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC), None);
        side.file().failed(&sync);
        let down = Fault::Down("writing or syncing the database failed");
        assert_eq!((side.ready(), side.enter(&seat("6", "bob"))), (Err(down), Err(down)));
        assert_eq!(side.are_members(&[seat("5", "ann")]).unwrap(), [true]);
    }
}
