//! The floor: how little a fan-out can cost on this kernel.
//!
//! One thread, one epoll loop, one encoded frame per message, one `write` per recipient. It knows just enough of the
//! protocol for the load generator to take it for a chat: no authentication, no store, no heartbeat, no limits but one.
//! With `--corked` the messages of one turn of the loop wait for its end, and each recipient gets all of them in one
//! vectored `write`: the least that a loaded server can spend.
//!
//! `floor PORT [--corked]`

mod connection;
mod wire;

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::rc::Rc;

use connection::Connection;
use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use wire::Packet;

const LISTENER: Token = Token(usize::MAX);

/// What is read at once, into one buffer for all connections.
const READ_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Room {
    members: Vec<usize>,
    /// Corked: the messages of this turn.
    pending: Vec<Rc<[u8]>>,
}

struct Floor {
    connections: Slab<Connection>,
    room_ids: HashMap<Vec<u8>, usize>,
    rooms: Vec<Room>,
    /// Corked: rooms with pending messages.
    dirty: Vec<usize>,
    corked: bool,
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // The client has gone already.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let entry = self.connections.vacant_entry();
            poll.registry().register(&mut stream, Token(entry.key()), Interest::READABLE | Interest::WRITABLE)?;
            entry.insert(Connection::new(stream));
        }
    }

    fn serve(&mut self, index: usize, event: &Event, buffer: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if event.is_writable() {
            connection.flush();
        }
        if !event.is_readable() && !event.is_read_closed() {
            return;
        }
        loop {
            let Some(connection) = self.connections.get_mut(index) else { return };
            match connection.stream.read(buffer) {
                Ok(0) => return self.drop_connection(index),
                Ok(count) => {
                    if !self.take(index, &mut buffer[..count]) {
                        return self.drop_connection(index);
                    }
                    // A short read has emptied the socket; what comes later is a new event.
                    if count < buffer.len() && !event.is_read_closed() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.drop_connection(index),
            }
        }
    }

    /// Handles what arrived; `false` when the connection is to be closed.
    fn take(&mut self, index: usize, input: &mut [u8]) -> bool {
        let Some(connection) = self.connections.get_mut(index) else { return false };
        if connection.partial.is_empty() {
            let Some(consumed) = self.take_whole(index, input) else { return false };
            if let Some(connection) = self.connections.get_mut(index) {
                connection.partial.extend_from_slice(&input[consumed..]);
            }
            return true;
        }
        let mut bytes = std::mem::take(&mut connection.partial);
        bytes.extend_from_slice(input);
        let Some(consumed) = self.take_whole(index, &mut bytes) else { return false };
        if let Some(connection) = self.connections.get_mut(index)
            && consumed < bytes.len()
        {
            bytes.drain(..consumed);
            connection.partial = bytes;
        }
        true
    }

    /// Handles everything that is whole and returns how many bytes that was; `None` when the connection is to be closed.
    fn take_whole(&mut self, index: usize, input: &mut [u8]) -> Option<usize> {
        let mut consumed = 0;
        if !self.connections.get(index)?.is_open {
            let Some(request) = wire::read_request(input) else { return Some(0) };
            let answer = wire::accept(request.key?, index);
            consumed = request.len;
            let connection = self.connections.get_mut(index)?;
            connection.is_open = true;
            connection.send(&answer.into());
        }
        while let Some(frame) = wire::read_frame(&mut input[consumed..]) {
            consumed += frame.len;
            match wire::read_packet(&frame)? {
                Packet::Connect => self.reply(index, format!("40{{\"sid\":\"{index}\"}}").as_bytes()),
                Packet::Join { room, ack } => {
                    self.join(index, room);
                    self.acknowledge(index, ack);
                }
                Packet::Send { room, content, ack } => {
                    self.broadcast(room, wire::message_new(room, content));
                    self.acknowledge(index, ack);
                }
                Packet::Other => {}
            }
        }
        Some(consumed)
    }

    fn reply(&mut self, index: usize, packet: &[u8]) {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.send(&wire::frame(&[packet]).into());
        }
    }

    fn acknowledge(&mut self, index: usize, ack: &[u8]) {
        if !ack.is_empty() {
            self.reply(index, &[b"43", ack, br#"[{"ok":true}]"#].concat());
        }
    }

    fn join(&mut self, index: usize, name: &[u8]) {
        let id = *self.room_ids.entry(name.to_vec()).or_insert_with(|| {
            self.rooms.push(Room::default());
            self.rooms.len() - 1
        });
        self.leave(index);
        if let Some(connection) = self.connections.get_mut(index) {
            connection.room = Some(id);
            self.rooms[id].members.push(index);
        }
    }

    fn leave(&mut self, index: usize) {
        let room = self.connections.get_mut(index).and_then(|connection| connection.room.take());
        if let Some(room) = room.and_then(|id| self.rooms.get_mut(id))
            && let Some(position) = room.members.iter().position(|member| *member == index)
        {
            room.members.swap_remove(position);
        }
    }

    fn broadcast(&mut self, room: &[u8], frame: Vec<u8>) {
        let Some(&id) = self.room_ids.get(room) else { return };
        let room = &mut self.rooms[id];
        let frame = frame.into();
        if self.corked {
            if room.pending.is_empty() {
                self.dirty.push(id);
            }
            room.pending.push(frame);
            return;
        }
        for &member in &room.members {
            if let Some(connection) = self.connections.get_mut(member) {
                connection.send(&frame);
            }
        }
    }

    /// Corked: the end of a turn.
    fn flush_rooms(&mut self) {
        for id in self.dirty.drain(..) {
            let room = &mut self.rooms[id];
            let slices: Vec<IoSlice<'_>> = room.pending.iter().map(|frame| IoSlice::new(frame)).collect();
            for &member in &room.members {
                if let Some(connection) = self.connections.get_mut(member) {
                    connection.send_all(&room.pending, &slices);
                }
            }
            room.pending.clear();
        }
    }

    fn drop_connection(&mut self, index: usize) {
        self.leave(index);
        // Closing the socket takes it out of epoll.
        self.connections.try_remove(index);
    }
}

fn run(port: u16, corked: bool) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut floor =
        Floor { connections: Slab::new(), room_ids: HashMap::new(), rooms: Vec::new(), dirty: Vec::new(), corked };
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept(&listener, &poll)?,
                Token(index) => floor.serve(index, event, &mut buffer),
            }
        }
        floor.flush_rooms();
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (port, corked) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [port] => (port.parse(), false),
        [port, "--corked"] => (port.parse(), true),
        _ => {
            eprintln!("usage: floor PORT [--corked]");
            return ExitCode::from(2);
        }
    };
    let Ok(port) = port else {
        eprintln!("floor: the port is a number up to 65535");
        return ExitCode::from(2);
    };
    match run(port, corked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}
