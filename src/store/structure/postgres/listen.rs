//! What others change in the memberships: notices of the triggers, over a connection of its own.
//!
//! The same question proves every few seconds that the connection lives and that the triggers stand. Without them, or
//! without a connection, it is the clock that says that something may have changed.

use std::future::poll_fn;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{AsyncMessage, Config, Connection, Error, Socket};

use super::super::Change;
use super::ANSWER;
use super::column::Columns;
use super::connect::Link;

/// A link that died silently is found within this time and [`ANSWER`].
pub(super) const CHECK: Duration = Duration::from_secs(5);
/// Before the first attempt to connect again; doubled up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Notices that wait for a slow asker; when there are more, the connection is not read until there is room, and
/// PostgreSQL keeps them.
const WAITING: usize = 1024;

const LISTEN: &str = "LISTEN alt_ws_members";
const TRIGGERS_STAND: &str = "SELECT count(*) = 2 FROM pg_trigger
    WHERE tgrelid = to_regclass('conversation_members') AND tgenabled IN ('O', 'A')
        AND tgname IN ('alt_ws_members_rows', 'alt_ws_members_truncated')";

/// The connection, when there is one.
#[derive(Debug)]
pub(super) struct Listener {
    ear: Option<Ear>,
    pause: Duration,
    /// Without an ear: when something may have changed unheard for too long.
    look_at: Instant,
}

#[derive(Debug)]
struct Ear {
    link: Link,
    notices: mpsc::Receiver<Change>,
    check_at: Instant,
}

impl Default for Listener {
    fn default() -> Self {
        Self { ear: None, pause: SHORTEST_PAUSE, look_at: Instant::now() + CHECK }
    }
}

impl Listener {
    /// The next change. First of all, and after every interruption, [`Change::Missed`]; during one, every [`CHECK`]: the
    /// pool may have connections where the ear gets none.
    pub(super) async fn next(&mut self, config: &Config, columns: Columns) -> Change {
        loop {
            let Some(ear) = &mut self.ear else {
                tokio::select! {
                    opened = open(config, columns, &mut self.pause) => if let Some(ear) = opened {
                        // What is not heard meanwhile waits: the next loss is answered as soon as the first.
                        self.pause = SHORTEST_PAUSE;
                        self.ear = Some(ear);
                        return Change::Missed;
                    },
                    () = sleep_until(self.look_at) => {
                        self.look_at = Instant::now() + CHECK;
                        return Change::Missed;
                    }
                }
                continue;
            };
            tokio::select! {
                notice = ear.notices.recv() => if let Some(change) = notice {
                    return change;
                },
                () = sleep_until(ear.check_at) => if let Ok(Ok(stand)) = timeout(ANSWER, ear.triggers_stand()).await {
                    ear.check_at = Instant::now() + CHECK;
                    if stand {
                        continue;
                    }
                    return Change::Missed;
                },
            }
            self.ear = None;
            self.look_at = Instant::now() + CHECK;
            self.pause().await;
        }
    }

    /// Waits before the next attempt.
    pub(super) async fn pause(&mut self) {
        wait(&mut self.pause).await;
    }
}

async fn wait(pause: &mut Duration) {
    sleep(*pause).await;
    *pause = (*pause * 2).min(LONGEST_PAUSE);
}

/// `None` after a pause when there is no connection to be had.
async fn open(config: &Config, columns: Columns, pause: &mut Duration) -> Option<Ear> {
    match timeout(ANSWER, Ear::open(config, columns)).await {
        Ok(Ok(ear)) => Some(ear),
        Ok(Err(_)) | Err(_) => {
            wait(pause).await;
            None
        }
    }
}

impl Ear {
    async fn open(config: &Config, columns: Columns) -> Result<Self, Error> {
        let (sender, notices) = mpsc::channel(WAITING);
        let link = Link::open(config, |connection| forward(connection, sender, columns)).await?;
        link.client.batch_execute(LISTEN).await?;
        Ok(Self { link, notices, check_at: Instant::now() + CHECK })
    }

    async fn triggers_stand(&self) -> Result<bool, Error> {
        self.link.client.query_one(TRIGGERS_STAND, &[]).await?.try_get(0)
    }
}

/// Reads the connection to its end.
async fn forward(mut connection: Connection<Socket, NoTlsStream>, sender: mpsc::Sender<Change>, columns: Columns) {
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notification(notice) = message
            && let Some(change) = change(notice.payload(), columns)
            && sender.send(change).await.is_err()
        {
            return;
        }
    }
}

/// What the trigger writes.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Notice {
    Added { room: String, user: String },
    Removed { room: String, user: String },
    Missed,
}

/// `None` for a seat that no client can name. What cannot be read may have meant anything.
fn change(payload: &str, columns: Columns) -> Option<Change> {
    let seat = |room: &str, user: &str| columns.room(room).zip(columns.user(user));
    match serde_json::from_str(payload) {
        Ok(Notice::Added { room, user }) => seat(&room, &user).map(Change::Added),
        Ok(Notice::Removed { room, user }) => seat(&room, &user).map(Change::Removed),
        Ok(Notice::Missed) | Err(_) => Some(Change::Missed),
    }
}
