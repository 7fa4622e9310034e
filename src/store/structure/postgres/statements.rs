//! What PostgreSQL is asked, in the types of the columns. Each statement takes many seats and is one round trip.

use super::column::Columns;
use crate::store::MAX_CONVERSATIONS;
use crate::store::reader::{MAX_STEPS, MAX_UNREAD_STEPS};

/// What was found in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) columns: Columns,
    /// Whether `conversation_members` tells when somebody joined.
    pub(super) joined_at: bool,
    /// Whether `conversations` is of our making, so that rooms can be open.
    pub(super) open: bool,
}

/// The statements for one shape. Built once, prepared once a connection.
#[derive(Debug)]
pub(super) struct Statements {
    /// Rooms, users -> the positions (from 1) of the members.
    pub(super) are_members: String,
    /// Rooms, users of one seat -> whether the user is in now. `None` where no room is open.
    pub(super) enter: Option<String>,
    /// One user -> rooms.
    pub(super) conversations: String,
    /// Rooms, users -> position, watermarks, the newest single receipts (two arrays) of those that have any.
    pub(super) newest: String,
    /// Rooms, users; positions and seqs -> the same, of the lowest single receipts and those of the seqs.
    pub(super) lowest: String,
    /// Rooms, users, delivered, read; time; rooms, users, seqs, levels of single receipts.
    pub(super) save_readers: String,
    /// Rooms, users -> those that are new.
    pub(super) add: String,
    /// Rooms, users -> those that were members.
    pub(super) remove: String,
    /// One room -> users.
    pub(super) list: String,
    /// One room -> whether it is known without members.
    pub(super) is_known: Option<String>,
}

impl Statements {
    pub(super) fn new(shape: Shape) -> Self {
        let (room, user) = (shape.columns.room.sql(), shape.columns.user.sql());
        let asked = format!("unnest($1::{room}[], $2::{user}[]) WITH ORDINALITY AS asked (room, member, n)");
        let joined_at = if shape.joined_at { "ORDER BY joined_at DESC" } else { "" };
        Self {
            are_members: format!(
                "SELECT asked.n FROM {asked} WHERE EXISTS (SELECT FROM conversation_members AS m
                     WHERE m.conversation_id = asked.room AND m.user_id = asked.member)"
            ),
            enter: shape.open.then(|| enter(room, user)),
            conversations: format!(
                "SELECT conversation_id FROM conversation_members WHERE user_id = ($1::{user}[])[1]
                 {joined_at} LIMIT {MAX_CONVERSATIONS}"
            ),
            newest: readers(
                &asked,
                "",
                &format!(
                    "SELECT seq, level FROM read_receipts AS r WHERE {MINE} ORDER BY seq DESC LIMIT {MAX_UNREAD_STEPS}"
                ),
            ),
            lowest: readers(&asked, ABOUT, &lowest()),
            save_readers: save_readers(room, user),
            add: add(room, user, shape.open),
            remove: format!(
                "DELETE FROM conversation_members AS m USING {asked}
                 WHERE m.conversation_id = asked.room AND m.user_id = asked.member RETURNING m.user_id"
            ),
            list: format!(
                "SELECT user_id FROM conversation_members WHERE conversation_id = ($1::{room}[])[1] ORDER BY user_id"
            ),
            is_known: shape
                .open
                .then(|| format!("SELECT EXISTS (SELECT FROM conversations WHERE id = ($1::{room}[])[1])")),
        }
    }
}

/// Single receipts of a seat that is asked about.
const MINE: &str = "r.conversation_id = asked.room AND r.user_id = asked.member";

/// The seqs that are asked for besides, of each seat that has some.
const ABOUT: &str = "LEFT JOIN (SELECT n, array_agg(seq) AS seqs FROM unnest($3::int8[], $4::int8[]) AS about (n, seq)
    GROUP BY n) AS about ON about.n = asked.n";

fn readers(asked: &str, about: &str, single: &str) -> String {
    format!(
        "SELECT asked.n, s.delivered_seq, s.read_seq, r.seqs, r.levels FROM {asked}
         LEFT JOIN read_state AS s ON s.conversation_id = asked.room AND s.user_id = asked.member {about}
         CROSS JOIN LATERAL (SELECT array_agg(seq) AS seqs, array_agg(level) AS levels FROM ({single}) AS r) AS r
         WHERE s.read_seq IS NOT NULL OR r.seqs IS NOT NULL"
    )
}

/// Each part ends in the index: the first ones above either watermark, and one by one those asked for.
fn lowest() -> String {
    let above = |watermark: &str| {
        format!(
            "(SELECT seq, level FROM read_receipts AS r WHERE {MINE} AND seq > coalesce({watermark}, 0)
              ORDER BY seq LIMIT {MAX_STEPS})"
        )
    };
    format!(
        "{} UNION {} UNION SELECT seq, level FROM read_receipts AS r WHERE {MINE} AND seq = ANY (about.seqs)",
        above("s.read_seq"),
        above("s.delivered_seq")
    )
}

/// Nobody may open a conversation that has members and is merely not listed. The update that changes nothing makes the
/// loser of two that create the same one at once see what the other made.
fn enter(room: &str, user: &str) -> String {
    format!(
        "WITH asked AS (SELECT ($1::{room}[])[1] AS room, ($2::{user}[])[1] AS member),
         created AS (
             INSERT INTO conversations AS c (id, open) SELECT room, true FROM asked
             WHERE NOT EXISTS (SELECT FROM conversations AS k WHERE k.id = room)
                 AND NOT EXISTS (SELECT FROM conversation_members AS m WHERE m.conversation_id = room)
             ON CONFLICT (id) DO UPDATE SET open = c.open RETURNING c.id, c.open),
         allowed AS (
             SELECT id FROM created WHERE open
             UNION SELECT k.id FROM conversations AS k JOIN asked ON k.id = room WHERE k.open),
         joined AS (
             INSERT INTO conversation_members (conversation_id, user_id) SELECT id, member FROM allowed, asked
             ON CONFLICT DO NOTHING)
         SELECT EXISTS (SELECT FROM allowed)"
    )
}

/// Rows of `read_state` are locked in one order by every server, and single receipts only under such a lock, so two
/// servers cannot wait for each other. A row can be touched once in a statement: what is raised is not deleted.
///
/// What it costs goes by what is given and what the watermarks pass, not by what is stored: below a stored watermark
/// there is nothing left to delete, and a look begins there.
fn save_readers(room: &str, user: &str) -> String {
    format!(
        "WITH given AS (
             SELECT room, member, max(delivered) AS delivered, max(read) AS read
             FROM unnest($1::{room}[], $2::{user}[], $3::int8[], $4::int8[]) AS g (room, member, delivered, read)
             GROUP BY room, member),
         single AS (
             SELECT room, member, seq, max(level) AS level
             FROM unnest($6::{room}[], $7::{user}[], $8::int8[], $9::int2[]) AS s (room, member, seq, level)
             GROUP BY room, member, seq),
         before AS (
             SELECT room, member, r.delivered_seq FROM given
             JOIN read_state AS r ON r.conversation_id = room AND r.user_id = member),
         saved AS (
             INSERT INTO read_state AS r (conversation_id, user_id, delivered_seq, read_seq, updated_at)
             SELECT room, member, delivered, read, $5::timestamptz FROM given ORDER BY room, member
             ON CONFLICT (conversation_id, user_id) DO UPDATE
             SET delivered_seq = greatest(r.delivered_seq, excluded.delivered_seq),
                 read_seq = greatest(r.read_seq, excluded.read_seq), updated_at = excluded.updated_at
             RETURNING conversation_id, user_id, delivered_seq, read_seq),
         raised AS (
             INSERT INTO read_receipts AS r (conversation_id, user_id, seq, level)
             SELECT s.room, s.member, s.seq, s.level
             FROM single AS s JOIN saved AS w ON w.conversation_id = s.room AND w.user_id = s.member
             WHERE s.seq > w.read_seq AND (s.seq > w.delivered_seq OR s.level = 2)
             ON CONFLICT (conversation_id, user_id, seq) DO UPDATE SET level = excluded.level
                 WHERE r.level < excluded.level),
         read_through AS (
             DELETE FROM read_receipts AS r USING saved AS w
             WHERE r.conversation_id = w.conversation_id AND r.user_id = w.user_id AND r.seq <= w.read_seq)
         DELETE FROM read_receipts AS r USING saved AS w
             LEFT JOIN before AS b ON b.room = w.conversation_id AND b.member = w.user_id
         WHERE r.conversation_id = w.conversation_id AND r.user_id = w.user_id AND r.level = 1
             AND r.seq > greatest(w.read_seq, b.delivered_seq) AND r.seq <= w.delivered_seq
             AND NOT EXISTS (SELECT FROM single AS s WHERE s.level = 2
                 AND s.room = r.conversation_id AND s.member = r.user_id AND s.seq = r.seq)"
    )
}

/// Another service's table need not have the unique index that `ON CONFLICT` looks at.
fn add(room: &str, user: &str, open: bool) -> String {
    let created = if open {
        ", created AS (
             INSERT INTO conversations (id, open) SELECT DISTINCT room, false FROM given ORDER BY room
             ON CONFLICT DO NOTHING)"
    } else {
        ""
    };
    format!(
        "WITH given AS (SELECT DISTINCT room, member FROM unnest($1::{room}[], $2::{user}[]) AS g (room, member))
         {created}
         INSERT INTO conversation_members (conversation_id, user_id)
         SELECT room, member FROM given WHERE NOT EXISTS (SELECT FROM conversation_members AS m
             WHERE m.conversation_id = room AND m.user_id = member)
         ORDER BY room, member ON CONFLICT DO NOTHING RETURNING user_id"
    )
}
