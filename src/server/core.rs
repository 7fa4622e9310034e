//! One core: a thread with everything that its connections need, and the loop that keeps it turning.
//!
//! Owns the core's state and the order of work: letters first, then what is due, then one flush of every connection
//! that has something to say. State is touched only between awaits, by one task at a time, so it needs no lock; no
//! method here blocks or waits for another core.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::{Mutex, Notify};

use super::admission::Limit;
use super::bundle::Bundle;
use super::compression::Compressor;
use super::connections::Connections;
use super::directory::Directory;
use super::mailbox::{Letters, Mail, Post};
use super::metrics::Metrics;
use super::newcomers::Newcomers;
use super::recovery::{Recovery, Registry};
use super::settings::Settings;
use super::shutdown::Phase;
use super::timers::Timers;
use super::websocket;
use crate::chat::application::{Application, Now};
use crate::chat::deadlines::Deadlines;
use crate::chat::effect::{Effect, Origin};
use crate::ids::{ConnectionKey, CoreId, Timestamp, UserId};
use crate::store::{Ticket, WriterHandle};

/// What all cores share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) post: Post,
    pub(crate) directory: Arc<Directory>,
    pub(crate) metrics: Arc<Metrics>,
    /// `None` for an application that stores nothing.
    pub(crate) writer: Option<WriterHandle>,
    /// `None` when nobody comes back.
    pub(crate) recovery: Option<Arc<Registry>>,
    pub(crate) phase: Phase,
    pub(crate) bundle: Bundle,
    pub(crate) addresses: Arc<Limit<std::net::IpAddr>>,
    pub(crate) newcomers: Newcomers,
    pub(crate) users: Arc<Limit<UserId>>,
    pub(crate) started: Instant,
}

/// A handle to one core, for the tasks on its thread.
pub(crate) struct Core<A>(Rc<Inner<A>>);

impl<A> Clone for Core<A> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

struct Inner<A> {
    id: CoreId,
    shared: Arc<Shared>,
    state: RefCell<State<A>>,
    /// All WebSockets of the core read into this one buffer; what they keep of it is only what is incomplete.
    buffer: RefCell<Box<[u8]>>,
    /// For whoever finds it free.
    compressor: Mutex<Compressor>,
    /// Wakes the loop when there is something to flush, or a deadline sooner than the one it sleeps until.
    work: Notify,
    armed: Cell<Option<Instant>>,
}

/// Bytes read from a WebSocket at a time.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// What a core knows. `inbound`, `outbound` and `presence` say what it does with it.
pub(crate) struct State<A> {
    pub(crate) id: CoreId,
    pub(crate) shared: Arc<Shared>,
    pub(crate) app: A,
    pub(crate) connections: Connections,
    pub(crate) timers: Timers,
    /// What the application asked for and is not done yet. Empty between calls.
    pub(crate) effects: Vec<Effect>,
    /// Connections with something to flush.
    pub(crate) dirty: Vec<ConnectionKey>,
    /// Connections whose outbox overflowed while others were being served. Empty between calls.
    pub(crate) overflowed: Vec<ConnectionKey>,
    /// Records that the store has, in the order of their deadlines. Bounded by the store's queue.
    pub(crate) persisting: VecDeque<(Instant, Origin, Ticket)>,
    /// Users whose last device left, in the order of their grace periods' ends. Bounded by the departures within one
    /// grace period.
    pub(crate) departures: VecDeque<(Instant, UserId)>,
    /// Users whose choice of a status waits to be told: at most one entry for a user and second.
    pub(crate) tellings: Deadlines<UserId>,
    /// What sockets left behind. `None` when nobody comes back.
    pub(crate) recovery: Option<Recovery>,
    /// Numbers the WebSockets of this core.
    pub(crate) next_serial: u32,
}

impl<A: Application> Core<A> {
    pub(crate) fn new(id: CoreId, shared: Arc<Shared>, app: A) -> Self {
        let recovery = shared.recovery.as_ref().zip(shared.settings.recovery.as_ref());
        let recovery =
            recovery.map(|(registry, settings)| Recovery::new(Arc::clone(registry), settings, shared.settings.cores));
        let state = State {
            id,
            shared: Arc::clone(&shared),
            app,
            connections: Connections::default(),
            timers: Timers::default(),
            effects: Vec::new(),
            dirty: Vec::new(),
            overflowed: Vec::new(),
            persisting: VecDeque::new(),
            departures: VecDeque::new(),
            tellings: Deadlines::default(),
            recovery,
            next_serial: 0,
        };
        Self(Rc::new(Inner {
            id,
            shared,
            state: RefCell::new(state),
            buffer: RefCell::new(vec![0; READ_BUFFER_BYTES].into()),
            compressor: Mutex::default(),
            work: Notify::new(),
            armed: Cell::new(None),
        }))
    }

    pub(crate) fn id(&self) -> CoreId {
        self.0.id
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Works on the state, does what the application asked for meanwhile, and has the loop flush what came of it.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut State<A>, Now) -> R) -> R {
        let mut state = self.0.state.borrow_mut();
        let now = now();
        let result = work(&mut state, now);
        state.execute(now);
        let is_sooner = state.deadline().is_some_and(|at| self.0.armed.get().is_none_or(|armed| at < armed));
        if !state.dirty.is_empty() || is_sooner {
            self.0.work.notify_one();
        }
        result
    }

    /// As [`Self::with`], with the core's read buffer.
    pub(crate) fn with_buffer<R>(&self, work: impl FnOnce(&mut [u8]) -> R) -> R {
        work(&mut self.0.buffer.borrow_mut())
    }

    pub(crate) fn compressor(&self) -> &Mutex<Compressor> {
        &self.0.compressor
    }

    /// Runs until the mailbox is closed, which is never before the thread ends.
    pub(crate) async fn run(self, mut letters: Letters) {
        loop {
            let deadline = self.0.state.borrow().deadline();
            self.0.armed.set(deadline);
            let due = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                mail = letters.next() => match mail {
                    Some(mail) => self.open(mail),
                    None => return,
                },
                () = self.0.work.notified() => {}
                () = due => {}
            }
            self.drain(&mut letters);
            // The cork: while more work is ready, let it add to the outboxes before anything is written. Two turns of
            // the reactor cost nothing when idle, and turn many messages into one write when busy.
            for _ in 0..2 {
                tokio::task::yield_now().await;
                self.drain(&mut letters);
            }
            self.with(|state, now| {
                state.handle_timeouts(now);
                state.flush(now);
            });
        }
    }

    /// Reads what has come, but not for ever: while others write faster than this core reads, what it has read is to be
    /// written out all the same, and what is due is to be done.
    fn drain(&self, letters: &mut Letters) {
        for mail in letters.some() {
            self.open(mail);
        }
    }

    fn open(&self, mail: Mail) {
        match mail {
            Mail::Probe { sid, stream, read_ahead, pass, deflates } => {
                websocket::adopt(self, sid, stream, read_ahead, pass, deflates);
            }
            Mail::Room { room, frames, except } => {
                self.with(|state, now| state.send_to_room(&room, &frames, except, now));
            }
            Mail::Users { users, frames } => self.with(|state, now| state.send_to_users(&users, &frames, now)),
            Mail::All { frames } => self.with(|state, now| state.send_to_all(&frames, None, now)),
            Mail::Outcome { outcome, fence } => self.with(|state, now| state.handle_outcome(outcome, fence, now)),
            Mail::Removed { room, user } => self.with(|state, now| {
                state.survive(|state| {
                    state.app.removed(&room, &user, now, &mut state.effects);
                    state.execute(now);
                });
            }),
            Mail::Call(call) => self.with(|state, now| state.handle_call(call, now)),
            Mail::Abort { sid, request } => self.with(|state, now| state.handle_abort(&sid, request, now)),
            Mail::Recovery(letter) => self.with(|state, now| {
                state.survive(|state| {
                    state.handle_letter(*letter, now);
                    state.execute(now);
                });
            }),
            Mail::Drain => self.with(State::drain_clients),
            Mail::CloseAll => self.with(State::close_all),
        }
    }
}

impl<A: Application> State<A> {
    /// When something is due that no letter and no client will bring.
    fn deadline(&self) -> Option<Instant> {
        let persisting = self.persisting.front().map(|(at, ..)| *at);
        let departures = self.departures.front().map(|(at, _)| *at);
        let recovery = self.recovery.as_ref().and_then(Recovery::deadline);
        let tellings = self.tellings.deadline();
        let all = [self.timers.deadline(), self.app.deadline(), persisting, departures, tellings, recovery];
        all.into_iter().flatten().min()
    }

    fn handle_timeouts(&mut self, now: Now) {
        self.survive(|state| {
            if state.app.deadline().is_some_and(|at| at <= now.instant) {
                state.app.timeout(now, &mut state.effects);
            }
            state.execute(now);
        });
        self.survive(|state| {
            state.expire_records(now);
            state.expire_departures(now);
            state.tell_choices(now);
            state.expire_recovery(now);
            state.execute(now);
        });
        // All that is due now, each once: what is due again at once waits for the next turn, and others get theirs.
        let due: Vec<_> = std::iter::from_fn(|| self.timers.pop_due(now.instant)).collect();
        for (at, key) in due {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            if connection.scheduled == Some(at) {
                connection.scheduled = None;
                self.contain(key, now, |state| state.handle_timeout(key, now));
            }
        }
    }
}

/// Reads both clocks.
pub(crate) fn now() -> Now {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { instant: Instant::now(), wall: Timestamp(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)) }
}
