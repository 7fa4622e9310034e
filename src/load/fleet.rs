//! All clients and their connections: one epoll, one read buffer.
//!
//! Owns the sockets and carries bytes between them and the clients. What the clients say is [`Client`]'s, when they begin
//! and end is the driver's.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::client::{Channel, Client, Failure, Stage};
use super::options::Options;
use super::script::Script;
use super::socket::{Read, Socket};
use super::tally::Tally;

/// How long one wait for events may take, so that time and progress are looked at.
const TURN: Duration = Duration::from_millis(20);

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

/// The same when something is to be done at a rate.
const SHORT_TURN: Duration = Duration::from_millis(1);

/// A client and its connections.
struct Seat {
    client: Client,
    main: Option<Socket>,
    /// Made when there is something to post: a server may close it when it has been idle.
    post: Option<Socket>,
    /// Reads no more once it has joined; then its connection is only kept, in `stalled`.
    is_stalled: bool,
    stalled: Option<Socket>,
}

/// The end of a connection of a client that comes back.
pub(super) struct Fallen {
    pub(super) seat: usize,
    /// Whether it had come as far as its room.
    pub(super) was_in: bool,
    pub(super) failure: Failure,
}

/// The clients of a run or wave.
pub(super) struct Fleet {
    pub(super) script: Script,
    pub(super) tally: Tally,
    /// Whether a client that fails ends the run: until all have connected.
    pub(super) is_strict: bool,
    /// The failure that ends it.
    pub(super) failure: Option<Failure>,
    /// Whether the server is expected to send the clients away.
    pub(super) expects_end: bool,
    /// Clients that may lose their connection and have lost it.
    pub(super) fallen: Vec<Fallen>,
    turn: Duration,
    address: SocketAddr,
    started: Instant,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    seats: Vec<Seat>,
    /// Seats with connections that are read.
    open: usize,
    /// Clients that take part; those after them stall.
    active: usize,
}

fn token(seat: usize, channel: Channel) -> Token {
    Token(seat * 2 + usize::from(channel == Channel::Post))
}

fn seat_of(token: Token) -> (usize, Channel) {
    (token.0 / 2, if token.0.is_multiple_of(2) { Channel::Main } else { Channel::Post })
}

fn connect(poll: &Poll, address: SocketAddr, token: Token, is_stalled: bool) -> io::Result<Socket> {
    let mut socket = Socket::connect(address, is_stalled)?;
    socket.register(poll.registry(), token)?;
    Ok(socket)
}

impl Fleet {
    /// A fleet without clients.
    pub(super) fn new(options: &Options, address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            script: Script::new(options),
            tally: Tally::default(),
            is_strict: true,
            failure: None,
            expects_end: false,
            fallen: Vec::new(),
            turn: if options.rate > 0 || options.comers() > 0 { SHORT_TURN } else { TURN },
            address,
            started: Instant::now(),
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            buffer: Vec::new(),
            seats: Vec::new(),
            open: 0,
            active: options.clients,
        })
    }

    /// How many clients there are, gone ones included.
    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    /// How many clients are there and read.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Nanoseconds of the run, also for the tally.
    pub(super) fn clock(&mut self) -> u64 {
        self.tally.now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.tally.now
    }

    /// Adds a client and begins to connect it.
    pub(super) fn add(&mut self, credentials: Option<Box<str>>) -> io::Result<()> {
        let index = self.seats.len();
        let is_stalled = index >= self.active && !self.script.is_comer(index);
        let main = Some(connect(&self.poll, self.address, token(index, Channel::Main), is_stalled)?);
        let client = Client::new(index, credentials, &self.script);
        self.seats.push(Seat { client, main, post: None, is_stalled, stalled: None });
        self.open += 1;
        Ok(())
    }

    /// Takes a client's connection away without a word, and begins another one for it.
    pub(super) fn reconnect(&mut self, index: usize, credentials: Option<Box<str>>) -> io::Result<()> {
        let Some(seat) = self.seats.get_mut(index) else { return Ok(()) };
        if seat.main.take().is_none() {
            self.open += 1;
        }
        seat.client = Client::new(index, credentials, &self.script);
        seat.main = Some(connect(&self.poll, self.address, token(index, Channel::Main), false)?);
        Ok(())
    }

    /// Waits for events, a moment at most, and serves them. Says how many there were.
    pub(super) fn turn(&mut self) -> io::Result<usize> {
        match self.poll.poll(&mut self.events, Some(self.turn)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            Err(error) => return Err(error),
        }
        // Serving needs all of `self`; an `Events` without capacity costs nothing.
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let mut count = 0;
        for event in &events {
            let (seat, channel) = seat_of(event.token());
            self.serve(seat, channel, event.is_read_closed() || event.is_error());
            count += 1;
        }
        self.events = events;
        Ok(count)
    }

    /// Reads what there is on one connection, and writes what there is to say.
    fn serve(&mut self, index: usize, channel: Channel, is_ending: bool) {
        loop {
            let Some(seat) = self.seats.get_mut(index) else { return };
            let socket = match channel {
                Channel::Main => &mut seat.main,
                Channel::Post => &mut seat.post,
            };
            let Some(socket) = socket else { return };
            let read = match socket.read(&mut self.buffer, is_ending) {
                Ok(read) => read,
                Err(error) => return self.ended(index, channel, Failure::Network(error.kind())),
            };
            let (Read::Some(count) | Read::Last(count)) = read else {
                if read == Read::End {
                    return self.ended(index, channel, Failure::Closed);
                }
                break;
            };
            self.tally.now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let input = self.buffer.get(..count).unwrap_or_default();
            let used = match seat.client.receive(channel, input, &self.script, &mut self.tally) {
                Ok(used) => used,
                Err(failure) => return self.dismiss(index, failure),
            };
            if !socket.keep(input.get(used..).unwrap_or_default()) {
                return self.dismiss(index, Failure::Protocol("a frame of more than 4 MB"));
            }
            if matches!(read, Read::Last(_)) {
                break;
            }
        }
        self.tend(index, |_, _, _| {});
    }

    /// Lets a client that is still there do something, and writes what that leads to.
    pub(super) fn tend(&mut self, index: usize, act: impl FnOnce(&mut Client, &Script, &mut Tally)) {
        let Some(seat) = self.seats.get_mut(index) else { return };
        let Some(main) = &mut seat.main else { return };
        act(&mut seat.client, &self.script, &mut self.tally);
        let mut written = main.write(seat.client.output(Channel::Main));
        let posts = seat.client.output(Channel::Post);
        if written.is_ok() && !posts.is_empty() {
            written = match &mut seat.post {
                Some(post) => post.write(posts),
                // What waits is written when the connection is there.
                None => connect(&self.poll, self.address, token(index, Channel::Post), false)
                    .map(|socket| seat.post = Some(socket)),
            };
        }
        if let Err(error) = written {
            return self.dismiss(index, Failure::Network(error.kind()));
        }
        if seat.client.stage() == Stage::Closed {
            return self.dismiss(index, Failure::Closed);
        }
        if seat.is_stalled && seat.client.stage() == Stage::Joined {
            // From here on it is the server's to find out.
            seat.stalled = seat.main.take();
            self.open -= 1;
        }
    }

    /// A connection is over. For a client that was waiting for nothing there that is no failure.
    fn ended(&mut self, index: usize, channel: Channel, failure: Failure) {
        match self.seats.get_mut(index) {
            Some(seat) if channel == Channel::Post && !seat.client.is_posting() => seat.post = None,
            _ => self.dismiss(index, failure),
        }
    }

    /// Closes a client's connections. That is a failure unless it has said goodbye.
    fn dismiss(&mut self, index: usize, failure: Failure) {
        let Some(seat) = self.seats.get_mut(index).filter(|seat| seat.main.is_some()) else { return };
        (seat.main, seat.post) = (None, None);
        self.open -= 1;
        if seat.client.stage() >= Stage::Closing {
            return;
        }
        if self.is_strict {
            self.failure.get_or_insert(failure);
        } else if self.script.is_comer(index) {
            self.fallen.push(Fallen { seat: index, was_in: seat.client.stage() == Stage::Joined, failure });
        } else if self.expects_end && seat.client.is_told() {
            self.tally.let_go += 1;
        } else {
            self.tally.disconnected += 1;
            self.tally.fail(&failure.to_string());
        }
    }

    /// Counts what has not arrived, whether its receiver is still there or not. Those who stall owe nothing.
    pub(super) fn close_ledgers(&mut self) {
        for seat in self.seats.iter().filter(|seat| !seat.is_stalled) {
            seat.client.close_ledgers(&self.script, &mut self.tally);
        }
        self.tally.close();
    }

    /// Closes whatever is still open.
    pub(super) fn clear(&mut self) {
        self.seats.clear();
        self.open = 0;
    }
}
