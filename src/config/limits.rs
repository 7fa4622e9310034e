//! The numbers that are not settings: changing one changes the protocol or the memory a stranger can claim.

use std::time::Duration;

/// How often the server sends an Engine.IO ping. The default of the reference server since revision 4, and what the
/// replaced service advertised.
pub const PING_INTERVAL: Duration = Duration::from_millis(25_000);

/// How long a pong may take before the session counts as gone. The replaced service's number: three times the
/// reference's default, for phones that change networks.
pub const PING_TIMEOUT: Duration = Duration::from_millis(60_000);

/// `maxPayload`: the most bytes in one polling body or one WebSocket message from a client. The reference server's
/// `maxHttpBufferSize`, which the replaced service kept; a larger one is answered 413, or closed with 1009.
pub const MAX_PAYLOAD: usize = 1_000_000;

/// How long an upgrade may take from the WebSocket's opening to the packet `5`; then the WebSocket is closed and polling
/// goes on. The reference server's `upgradeTimeout`.
pub const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a new session may take to send CONNECT before it is closed. Well below the reference's 45 s: a session
/// without a user costs memory and can be opened by anybody.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The most sessions of one core that have been opened and not said yet who they are. When thousands lose their
/// connection at once and come back at once, the core takes so many of them at a time and asks the others to come again in a
/// second: enough to keep it busy, few enough that those who are in notice nothing, and a bound on what strangers can hold.
pub const MAX_NEWCOMERS: u32 = 1024;

/// How long the head of an HTTP request may take (slowloris), counted from the end of the request before it, so that it is
/// also how long a connection may be idle; then it is closed.
pub const HTTP_HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes in the head of an HTTP request, Node's default; a longer one is answered 431.
pub const MAX_HTTP_HEADER_BYTES: usize = 16 * 1024;

/// How long the body of a request may take: [`MAX_PAYLOAD`] at a slow phone's 33 KB/s.
pub const HTTP_BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may take to receive its HTTP answer, from the moment at which the kernel holds no more of it; then the
/// connection is reset. What stands still beyond it is at most [`MAX_PAYLOAD`], so it is as patient as the timeout of bodies.
pub const HTTP_ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes waiting for one client. Volatile frames go first; then the client is disconnected as too slow.
pub const MAX_OUTBOX_BYTES: usize = 1024 * 1024;

/// How long bytes may wait for a client that takes none, before it is disconnected as too slow.
pub const OUTBOX_TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes of events that are kept for clients who lost their connection, over all cores: two minutes of 1,000
/// events a second of ordinary size. An event counts on each core that has sockets of its room.
pub const RECOVERY_LOG_BYTES: usize = 32 * 1024 * 1024;

/// The most such events, over all cores: what one client's return may have to be searched in, some milliseconds.
pub const RECOVERY_LOG_ENTRIES: usize = 128 * 1024;

/// The most lost connections, and rooms that they were in, that are kept, over all cores: 20,000 clients in a dozen rooms
/// each, at about 60 bytes a seat.
pub const RECOVERY_SEATS: usize = 256 * 1024;

/// The most bytes that are replayed to one client: with as much that comes meanwhile they fit into its outbox. Who missed
/// more connects anew and asks page by page.
pub const MAX_REPLAYED_BYTES: usize = MAX_OUTBOX_BYTES / 2 - 4096;

/// How long a client that comes back waits for the store, before it is connected anew. Well below [`CONNECT_TIMEOUT`].
pub const RESTORE_TIMEOUT: Duration = Duration::from_secs(3);

/// The most rooms one socket may be in: far above what a chat page shows, far below what would make its leaving felt.
pub const MAX_ROOMS_PER_SOCKET: usize = 100;

/// The highest `MAX_MESSAGE_BYTES`. JSON may write one byte of text as six (`\u0001`), so that 128 KiB become 768 KiB at
/// worst, which leaves 200 KB of [`MAX_PAYLOAD`] for ten attachments of 4 KB and the envelope, and fits
/// [`MAX_OUTBOX_BYTES`].
pub const HIGHEST_MAX_MESSAGE_BYTES: usize = 128 * 1024;

const _: () = assert!(HIGHEST_MAX_MESSAGE_BYTES * 6 + 200_000 <= MAX_PAYLOAD && MAX_PAYLOAD <= MAX_OUTBOX_BYTES);
