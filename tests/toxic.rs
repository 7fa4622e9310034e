//! The bad network is exactly as bad as it is told to be.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails, in its helpers too")]

#[path = "support/toxic.rs"]
mod toxic;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use toxic::{Bytes, Direction, Toxic, Way};

/// Longer than anything here takes, so that a test that would wait for ever fails instead.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long silence has to last to count as such.
const SILENCE: Duration = Duration::from_millis(100);

/// A server that does nothing by itself, and a network before it.
struct Net {
    server: TcpListener,
    toxic: Toxic,
}

impl Net {
    fn new() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let toxic = Toxic::before(server.local_addr().unwrap());
        Self { server, toxic }
    }

    /// Both sides of a new connection.
    fn connect(&self) -> (TcpStream, TcpStream) {
        let client = connect(self.toxic.address());
        let (server, _) = self.server.accept().unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        (client, server)
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_nodelay(true).unwrap();
    client
}

fn hear(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

#[track_caller]
fn assert_passes(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"hello").unwrap();
    assert_eq!(hear(to, 5), b"hello");
}

#[track_caller]
fn assert_silent(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
}

#[track_caller]
fn assert_reset(stream: &mut TcpStream) {
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_healthy_network_passes_everything_on_and_each_end_as_well() {
    let net = Net::new();
    let (mut client, mut server) = net.connect();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let mut heard = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            client.write_all(&sent).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        server.read_to_end(&mut heard).unwrap();
    });
    assert!(heard == sent);

    assert_passes(&mut server, &mut client);
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    net.toxic.wait_until(|traffic| traffic.closed == 1);
    let traffic = net.toxic.traffic();
    assert_eq!(traffic.to_server, Bytes { passed: 3_000_000, swallowed: 0 });
    assert_eq!(traffic.to_client, Bytes { passed: 5, swallowed: 0 });
}

#[test]
fn a_delay_makes_everything_later_and_nothing_slower() {
    const DELAY: Duration = Duration::from_millis(200);
    let net = Net::new();
    let (mut client, mut server) = net.connect();
    net.toxic.set(Direction::ToServer, Way { delay: DELAY, ..Way::default() });
    let start = Instant::now();
    assert_passes(&mut client, &mut server);
    assert!(start.elapsed() >= DELAY);

    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| client.write_all(&[7; 2_000_000]).unwrap());
        hear(&mut server, 2_000_000);
    });
    assert!(start.elapsed() < DELAY * 25, "the delays add up: {:?}", start.elapsed());
}

#[test]
fn jitter_keeps_the_order() {
    let net = Net::new();
    let (mut client, mut server) = net.connect();
    net.toxic.set_both(Way { jitter: Duration::from_millis(5), ..Way::default() });
    let sent: Vec<u8> = (0..200).collect();
    for byte in &sent {
        client.write_all(&[*byte]).unwrap();
    }
    assert_eq!(hear(&mut server, sent.len()), sent);
}

#[test]
fn a_rate_is_kept() {
    let net = Net::new();
    let (mut client, mut server) = net.connect();
    net.toxic.set(Direction::ToServer, Way { rate: Some(10_000), ..Way::default() });
    let start = Instant::now();
    client.write_all(&[7; 5_000]).unwrap();
    assert_eq!(hear(&mut server, 5_000), [7; 5_000]);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(450), "{took:?}");
}

#[test]
fn slices_are_of_one_byte() {
    let net = Net::new();
    let (mut client, mut server) = net.connect();
    // Slow enough that the other side reads each one before the next.
    net.toxic.set(Direction::ToServer, Way { slices: true, rate: Some(4), ..Way::default() });
    client.write_all(b"hello").unwrap();
    let mut buffer = [0; 16];
    assert_eq!(server.read(&mut buffer).unwrap(), 1);
    net.toxic.set(Direction::ToServer, Way { slices: true, ..Way::default() });
    assert_eq!(hear(&mut server, 4), b"ello");
}

#[test]
fn what_is_swallowed_never_comes_and_only_in_that_direction() {
    let net = Net::new();
    let (mut client, mut server) = net.connect();
    net.toxic.swallow(Direction::ToClient);
    assert_passes(&mut client, &mut server);
    server.write_all(b"done").unwrap();
    net.toxic.wait_until(|traffic| traffic.to_client.swallowed == 4);
    assert_silent(&mut client);
    assert_passes(&mut client, &mut server);

    net.toxic.heal();
    assert_reset(&mut client);
    let (mut client, mut server) = net.connect();
    assert_passes(&mut server, &mut client);
}

#[test]
fn swallowing_nothing_leaves_the_connection_whole() {
    let net = Net::new();
    let (mut client, mut server) = net.connect();
    net.toxic.swallow(Direction::ToClient);
    assert_passes(&mut client, &mut server);
    net.toxic.heal();
    assert_passes(&mut server, &mut client);
}

#[test]
fn a_black_hole_holds_everything_back_until_it_is_healed() {
    let net = Net::new();
    let (mut client, mut server) = net.connect();
    assert_passes(&mut client, &mut server);
    net.toxic.blackhole();
    client.write_all(b"there?").unwrap();
    server.write_all(b"here!").unwrap();
    let mut late = connect(net.toxic.address());
    late.write_all(b"me too").unwrap();
    assert_silent(&mut server);
    assert_silent(&mut client);
    net.server.set_nonblocking(true).unwrap();
    assert_eq!(net.server.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    net.server.set_nonblocking(false).unwrap();

    net.toxic.heal();
    assert_eq!(hear(&mut server, 6), b"there?");
    assert_eq!(hear(&mut client, 5), b"here!");
    let (mut server, _) = net.server.accept().unwrap();
    assert_eq!(hear(&mut server, 6), b"me too");
}

#[test]
fn a_reset_ends_what_is_open_and_nothing_later() {
    let net = Net::new();
    let (mut client, mut server) = net.connect();
    net.toxic.reset();
    assert_reset(&mut client);
    assert_reset(&mut server);

    net.toxic.blackhole();
    let mut waiting = connect(net.toxic.address());
    net.toxic.wait_until(|traffic| traffic.opened == 2);
    net.toxic.reset();
    assert_reset(&mut waiting);

    net.toxic.heal();
    let (mut client, mut server) = net.connect();
    assert_passes(&mut client, &mut server);
}

#[test]
fn a_cut_comes_after_exactly_so_many_bytes() {
    let net = Net::new();
    let (mut client, mut server) = net.connect();
    assert_passes(&mut client, &mut server);
    assert_passes(&mut server, &mut client);
    net.toxic.set(Direction::ToClient, Way { cut_after: Some(3), ..Way::default() });
    assert_passes(&mut client, &mut server);
    server.write_all(b"answer").unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"ans");

    let (mut client, mut server) = net.connect();
    server.write_all(b"ans").unwrap();
    client.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"ansans", "each connection has its own count");
    net.toxic.heal();
    let (mut client, mut server) = net.connect();
    assert_passes(&mut server, &mut client);
}

#[test]
fn refused_connections_leave_the_open_ones_alone() {
    let net = Net::new();
    let (mut client, mut server) = net.connect();
    for _ in 0..3 {
        net.toxic.refuse();
        let refused = TcpStream::connect(net.toxic.address()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert_passes(&mut client, &mut server);
        net.toxic.heal();
        let (mut client, mut server) = net.connect();
        assert_passes(&mut server, &mut client);
    }
}

#[test]
fn another_server_gets_what_connects_from_then_on() {
    let (net, other) = (Net::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (mut client, mut server) = net.connect();
    net.toxic.retarget(other.local_addr().unwrap());
    let mut late = connect(net.toxic.address());
    let (mut elsewhere, _) = other.accept().unwrap();
    assert_passes(&mut late, &mut elsewhere);
    assert_passes(&mut client, &mut server);

    let address = other.local_addr().unwrap();
    drop(other);
    net.toxic.retarget(address);
    assert_reset(&mut connect(net.toxic.address()));
}

#[test]
fn without_its_handle_the_network_is_gone() {
    let Net { server: listener, toxic } = Net::new();
    let mut client = connect(toxic.address());
    let (mut server, _) = listener.accept().unwrap();
    assert_passes(&mut client, &mut server);
    let address = toxic.address();
    drop(toxic);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
