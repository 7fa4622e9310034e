//! WebSockets: from an upgraded TCP stream to a task that waits for it.
//!
//! Owns the handing over of streams and the one task per connection, which reads into the core's shared buffer and
//! waits for writability when the kernel takes no more. What is read goes to `inbound`; the writing is `outbound`'s.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::admission::AddressPass;
use super::connections::{WebSocket, Wire};
use super::core::{Core, State};
use super::mailbox::{Mail, PAUSE};
use super::newcomers::Newcomer;
use super::outbox::{Outbox, SharedFrame};
use super::recovery::Standing;
use crate::chat::application::{Application, Now};
use crate::engineio::handshake::Dialect;
use crate::engineio::session::Transport;
use crate::ids::SessionId;

/// How long a closed connection is still read, so that its last words are not lost to a reset.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// An upgraded stream and what had been read of it before it was known to be a WebSocket.
pub(crate) struct Upgraded {
    pub(crate) stream: TcpStream,
    pub(crate) read_ahead: Bytes,
    pub(crate) pass: AddressPass,
    /// permessage-deflate was agreed on.
    pub(crate) deflates: bool,
}

/// What the handshake said, for a session that begins.
pub(crate) struct Handshake {
    pub(crate) sid: SessionId,
    pub(crate) dialect: Dialect,
    pub(crate) is_echo: bool,
    pub(crate) authorization: Option<Box<str>>,
    pub(crate) standing: Standing,
    pub(crate) newcomer: Newcomer,
}

/// A session that begins on a WebSocket; it belongs to the core that accepted it.
pub(crate) fn begin<A: Application>(core: &Core<A>, upgraded: Upgraded, handshake: Handshake) {
    let Upgraded { stream, read_ahead, pass, deflates } = upgraded;
    let (read, write) = stream.into_split();
    let wire = core.with(|state, now| {
        let sid = handshake.sid;
        let key = state.open(handshake, Transport::WebSocket, now)?;
        let websocket = state.new_websocket(write, deflates);
        let wire = Wire { key, serial: websocket.serial };
        state.connections.get_mut(key)?.websocket = Some(websocket);
        let open = state.open_packet(sid, Transport::WebSocket);
        state.push(key, SharedFrame::from_text(&open), now);
        state.welcome(key, now);
        Some(wire)
    });
    if let Some(wire) = wire {
        tokio::task::spawn_local(drive(core.clone(), wire, read, read_ahead, pass));
    }
}

/// A WebSocket for the session `sid`, wherever that lives.
pub(crate) fn probe<A: Application>(core: &Core<A>, sid: SessionId, upgraded: Upgraded) {
    if sid.core() == core.id() {
        return attach(core, &sid, upgraded);
    }
    let Upgraded { stream, read_ahead, pass, deflates } = upgraded;
    // The stream moves to the session, never the session to the stream.
    match (stream.into_std(), core.shared().post.of(sid.core())) {
        (Ok(stream), Some(mailbox)) => mailbox.post(Mail::Probe { sid, stream, read_ahead, pass, deflates }),
        _ => tracing::warn!("an upgraded connection could not be handed to its core"),
    }
}

/// A WebSocket that another core accepted for a session of this one.
pub(crate) fn adopt<A: Application>(
    core: &Core<A>,
    sid: SessionId,
    stream: std::net::TcpStream,
    read_ahead: Bytes,
    pass: AddressPass,
    deflates: bool,
) {
    match TcpStream::from_std(stream) {
        Ok(stream) => {
            let core = core.clone();
            tokio::task::spawn_local(async move {
                // A stream that is new to this core's reactor takes no bytes until the reactor has heard of it, and what
                // is written past the outbox would be lost.
                let _ = stream.writable().await;
                attach(&core, &sid, Upgraded { stream, read_ahead, pass, deflates });
            });
        }
        Err(error) => tracing::warn!(%error, "an upgraded connection could not be taken over"),
    }
}

fn attach<A: Application>(core: &Core<A>, sid: &SessionId, upgraded: Upgraded) {
    let Upgraded { stream, read_ahead, pass, deflates } = upgraded;
    let (read, write) = stream.into_split();
    match core.with(|state, now| state.attach_probe(sid, write, deflates, now)) {
        Some(wire) => tokio::task::spawn_local(drive(core.clone(), wire, read, read_ahead, pass)),
        None => tokio::task::spawn_local(linger(read, pass)),
    };
}

/// Serves one WebSocket until it ends.
async fn drive<A: Application>(
    core: Core<A>,
    wire: Wire,
    mut read: OwnedReadHalf,
    mut read_ahead: Bytes,
    pass: AddressPass,
) {
    let _open = core.shared().metrics.connections.hold();
    if !read_ahead.is_empty() {
        let mut early = Vec::from(std::mem::take(&mut read_ahead));
        core.with(|state, now| state.handle_input(wire, &mut early, now));
    }
    loop {
        while core.shared().post.is_congested() {
            // Boxed, as is the goodbye below: what is rare must not make every idle connection's task larger.
            Box::pin(tokio::time::sleep(PAUSE)).await;
        }
        match std::future::poll_fn(|context| turn(&core, wire, &mut read, context)).await {
            Turn::Read => {}
            // A client that sends without end is read a buffer at a time, with turns for others between: also for the
            // core, to write out what it is answered.
            Turn::Filled => Box::pin(tokio::task::yield_now()).await,
            Turn::Ended => break core.with(|state, now| state.handle_disconnect(wire, now)),
            Turn::Dropped => break Box::pin(linger(read, pass)).await,
        }
    }
}

/// What a turn of a WebSocket's task came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Something was read and handled.
    Read,
    /// The same, and there was more of it than the buffer takes.
    Filled,
    /// The client is gone.
    Ended,
    /// The core has let go of the connection.
    Dropped,
}

fn turn<A: Application>(core: &Core<A>, wire: Wire, read: &mut OwnedReadHalf, context: &mut Context<'_>) -> Poll<Turn> {
    let Some(is_blocked) = core.with(|state, _| state.wait(wire, context)) else {
        return Poll::Ready(Turn::Dropped);
    };
    if is_blocked && read.as_ref().poll_write_ready(context).is_ready() {
        core.with(|state, _| state.unblock(wire));
    }
    core.with_buffer(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        let result = ready!(Pin::new(read).poll_read(context, &mut buffer));
        if result.is_err() || buffer.filled().is_empty() {
            return Poll::Ready(Turn::Ended);
        }
        core.with(|state, now| state.handle_input(wire, buffer.filled_mut(), now));
        Poll::Ready(if buffer.remaining() == 0 { Turn::Filled } else { Turn::Read })
    })
}

/// Reads and forgets what a client still sends after the server said goodbye: closing with unread bytes would reset the
/// connection, and the goodbye would be lost with it.
async fn linger(mut read: OwnedReadHalf, pass: AddressPass) {
    let mut scratch = [0; 1024];
    let drained = async {
        while let Ok(1..) = read.read(&mut scratch).await {}
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(LINGER, drained).await;
    drop(pass);
}

impl<A: Application> State<A> {
    /// Gives a session a WebSocket to be upgraded to. `None` when the session does not want it: it is upgraded already,
    /// being upgraded by another one, or over. Then the WebSocket is closed; clients take that better than an HTTP error.
    fn attach_probe(&mut self, sid: &SessionId, write: OwnedWriteHalf, deflates: bool, now: Now) -> Option<Wire> {
        let mut websocket = self.new_websocket(write, deflates);
        let wire = self.connections.find(sid).and_then(|key| {
            let connection = self.connections.get_mut(key)?;
            connection.session.handle_probe_opened(now.instant).ok()?;
            Some(Wire { key, serial: websocket.serial })
        });
        match wire.and_then(|wire| self.connections.get_mut(wire.key)) {
            Some(connection) => connection.websocket = Some(websocket),
            None => websocket.close(&mut Outbox::default()),
        }
        if let Some(wire) = wire {
            self.settle(wire.key, now);
        }
        wire
    }

    fn new_websocket(&mut self, write: OwnedWriteHalf, deflates: bool) -> WebSocket {
        self.next_serial = self.next_serial.wrapping_add(1);
        WebSocket::new(write, self.next_serial, self.shared.settings.max_payload, deflates)
    }

    /// Notes who is to be woken for the connection, and says whether it waits to be writable. `None` when it is gone.
    fn wait(&mut self, wire: Wire, context: &Context<'_>) -> Option<bool> {
        let websocket = self.websocket(wire)?;
        if !websocket.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            websocket.waker = Some(context.waker().clone());
        }
        Some(websocket.is_blocked)
    }

    /// The kernel takes more.
    fn unblock(&mut self, wire: Wire) {
        if let Some(websocket) = self.websocket(wire) {
            websocket.is_blocked = false;
            self.mark_dirty(wire.key);
        }
    }
}
