//! What one core, or the store, says to another core.
//!
//! Owns the letters and the bound. A core never waits for another: letters are always taken, but a connection whose
//! letters would go into a full mailbox is not read until there is room again, and the store's thread pauses. So a
//! mailbox holds its watermark and, above it, at most what the connections were already being read for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::admission::AddressPass;
use super::outbox::SharedFrame;
use super::recovery::Letter;
use crate::auth::revocations::Revocations;
use crate::chat::effect::Outcome;
use crate::engineio::body::{Body, Form};
use crate::engineio::error::HandshakeError;
use crate::engineio::handshake::Query;
use crate::ids::{CoreId, Offset, RoomId, SessionId, SocketKey, UserId};

/// A packet for many sockets: its first frame, and those of the attachments that follow it.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    pub(crate) head: SharedFrame,
    pub(crate) attachments: Arc<[SharedFrame]>,
    pub(crate) is_volatile: bool,
    /// The last argument of the text, when clients may come back for the event: see [`super::recovery`].
    pub(crate) offset: Option<Offset>,
}

impl Frames {
    /// Bytes of all of them.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.attachments.iter().map(SharedFrame::len).sum::<usize>()
    }
}

/// What is said.
#[derive(Debug)]
pub(crate) enum Mail {
    /// To this core's sockets in a room, but for one.
    Room { room: RoomId, frames: Frames, except: Option<SocketKey> },
    /// To this core's sockets of these users.
    Users { users: Vec<UserId>, frames: Frames },
    /// To all of this core's sockets.
    All { frames: Frames },
    /// The store finished with a record of this core. What goes to the room after a join has an offset above its fence.
    Outcome { outcome: Outcome, fence: Option<Offset> },
    /// A user is no member of a room any more, and is to leave it.
    Removed { room: RoomId, user: UserId },
    /// These tokens are believed no more.
    Revoked(Arc<Revocations>),
    /// A request for a session of this core, received by another.
    Call(Call),
    /// The client gave up on a request before it was answered.
    Abort { sid: SessionId, request: Aborted },
    /// A WebSocket was opened, on another core, with the `sid` of a session of this core.
    Probe { sid: SessionId, stream: std::net::TcpStream, read_ahead: bytes::Bytes, pass: AddressPass, deflates: bool },
    /// Somebody comes back.
    Recovery(Box<Letter>),
    /// Tell the clients that the server goes away.
    Drain,
    /// Close every session.
    CloseAll,
}

/// A request that belongs to a session, with the way back.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) sid: SessionId,
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Answer>,
}

/// What a session is asked over HTTP.
#[derive(Debug)]
pub(crate) enum Request {
    /// GET: answered when there is something to say.
    Poll,
    /// POST, before its body is read.
    PostBegin,
    /// POST, its body.
    PostBody { body: bytes::Bytes, form: Form },
    /// Any request, before all else: does the session exist, and does it speak the request's revision?
    Exists(Query),
}

/// A request whose client went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aborted {
    Poll,
    Post,
}

/// What a session answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The body of a poll's answer.
    Payload(Body),
    /// It was done.
    Done,
    /// It was not.
    Refused(HandshakeError),
}

/// The sending end; cheap to clone and usable from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    sender: mpsc::UnboundedSender<Mail>,
    depth: Arc<AtomicUsize>,
}

/// The receiving end, on its core.
#[derive(Debug)]
pub(crate) struct Letters {
    receiver: mpsc::UnboundedReceiver<Mail>,
    depth: Arc<AtomicUsize>,
}

/// Letters in a mailbox from which on it counts as full: some milliseconds of work for a core.
const WATERMARK: usize = 16 * 1024;

/// Letters that a core reads before it writes out what they brought: enough to fill its vectored writes, and few enough
/// that no client's outbox of 1 MiB overflows with ordinary messages meanwhile.
const AT_ONCE: usize = 512;

/// How long a writer of letters pauses before it looks at a full mailbox again.
pub(crate) const PAUSE: Duration = Duration::from_millis(1);

/// A mailbox and its letters.
pub(crate) fn mailbox() -> (Mailbox, Letters) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let depth = Arc::new(AtomicUsize::new(0));
    (Mailbox { sender, depth: Arc::clone(&depth) }, Letters { receiver, depth })
}

impl Mailbox {
    /// Posts a letter. A core that has stopped reads no letters any more, and they are dropped.
    pub(crate) fn post(&self, mail: Mail) {
        // Counted before it is there to be taken: counted after, a quick reader would take the count below zero.
        self.depth.fetch_add(1, Ordering::Relaxed);
        if self.sender.send(mail).is_err() {
            self.depth.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.depth.load(Ordering::Relaxed) >= WATERMARK && !self.sender.is_closed()
    }
}

impl Letters {
    /// Waits for the next letter.
    pub(crate) async fn next(&mut self) -> Option<Mail> {
        let mail = self.receiver.recv().await;
        self.taken(mail)
    }

    /// The next letter, if there is one already.
    pub(crate) fn try_next(&mut self) -> Option<Mail> {
        let mail = self.receiver.try_recv().ok();
        self.taken(mail)
    }

    /// The letters that are there, up to [`AT_ONCE`] of them, however fast more are coming.
    pub(crate) fn some(&mut self) -> impl Iterator<Item = Mail> {
        std::iter::from_fn(|| self.try_next()).take(AT_ONCE)
    }

    fn taken(&self, mail: Option<Mail>) -> Option<Mail> {
        if mail.is_some() {
            self.depth.fetch_sub(1, Ordering::Relaxed);
        }
        mail
    }
}

/// All cores' mailboxes, by core.
#[derive(Clone, Debug)]
pub(crate) struct Post(Arc<[Mailbox]>);

impl Post {
    pub(crate) fn new(boxes: Vec<Mailbox>) -> Self {
        Self(boxes.into())
    }

    /// A core's mailbox; `None` for a core that does not exist, which a `sid` from the network may name.
    pub(crate) fn of(&self, core: CoreId) -> Option<&Mailbox> {
        self.0.get(usize::from(core.0))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (CoreId, &Mailbox)> {
        (0..=u8::MAX).map(CoreId).zip(self.0.iter())
    }

    pub(crate) fn is_congested(&self) -> bool {
        self.0.iter().any(Mailbox::is_full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_counted_before_it_can_be_taken() {
        const LETTERS: usize = 200_000;
        let (mailbox, mut letters) = mailbox();
        let writer = std::thread::spawn(move || (0..LETTERS).for_each(|_| mailbox.post(Mail::Drain)));
        let mut taken = 0;
        while taken < LETTERS {
            taken += usize::from(letters.try_next().is_some());
            let counted = letters.depth.load(Ordering::Relaxed);
            assert!(counted <= LETTERS, "counted {counted} letters after {taken}");
        }
        writer.join().unwrap();
    }

    #[test]
    fn r6_a_core_that_is_written_to_without_end_still_turns() {
        let (mailbox, mut letters) = mailbox();
        mailbox.post(Mail::Drain);
        // For each letter that is read another is there, as when others write faster than this core reads.
        let read = letters.some().inspect(|_| mailbox.post(Mail::Drain)).count();
        assert_eq!(read, AT_ONCE);
        assert!(letters.try_next().is_some(), "the rest comes in the next turn");
    }

    #[test]
    fn a_mailbox_is_full_at_its_watermark_and_has_room_again_when_read() {
        let (mailbox, mut letters) = mailbox();
        for _ in 0..WATERMARK {
            assert!(!mailbox.is_full());
            mailbox.post(Mail::Drain);
        }
        assert!(mailbox.is_full());
        assert!(letters.try_next().is_some());
        assert!(!mailbox.is_full());
        drop(letters);
        assert!(!mailbox.is_full(), "nobody waits for a core that has stopped");
        mailbox.post(Mail::Drain);
    }
}
