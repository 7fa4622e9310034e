//! A bad network: a TCP proxy that stands before a server and does to its connections what it is told.
//!
//! It runs on a thread of its own, so that tests with and without a runtime can use it. A fault holds from the return of
//! the call that asks for it, for connections that are open and for those to come, until [`Toxic::heal`].
#![allow(dead_code, reason = "nobody uses all of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Longer than anything a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most bytes of one direction of a connection that wait here for their time; then no more are read.
const MOST_WAITING: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// What becomes of the bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Flow {
    #[default]
    Pass,
    /// They wait, as in a network that is down for a while: nothing is read, and all of it comes after healing.
    Hold,
    /// They are read and thrown away, and so is the end. Nothing can mend a connection that lost bytes: healing resets it.
    Swallow,
}

/// The state of one direction; by default it is healthy.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    pub(crate) flow: Flow,
    /// Every byte comes so much later; how many bytes come does not change.
    pub(crate) delay: Duration,
    /// Up to so much is added to the delay, the order kept.
    pub(crate) jitter: Duration,
    /// Bytes per second of each connection.
    pub(crate) rate: Option<u32>,
    /// One byte at a time.
    pub(crate) slices: bool,
    /// After so many bytes more, counted by each connection from when this was set, the connection is closed.
    pub(crate) cut_after: Option<u64>,
}

/// What went through so far, over all connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) to_server: Bytes,
    pub(crate) to_client: Bytes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes {
    pub(crate) passed: u64,
    pub(crate) swallowed: u64,
}

/// The proxy, and the handle that controls it. It ends with all its connections when dropped.
pub(crate) struct Toxic {
    address: SocketAddr,
    state: watch::Sender<State>,
    orders: Option<UnboundedSender<Order>>,
    traffic: Arc<Counter>,
    thread: Option<JoinHandle<()>>,
    /// Bound and never listening, so that the port stays ours, refusing, while nobody listens.
    _reserved: Socket,
}

/// What the connections look at.
#[derive(Clone, Copy)]
struct State {
    upstream: SocketAddr,
    to_server: Setting,
    to_client: Setting,
    /// How often the open connections were reset.
    resets: u64,
}

#[derive(Clone, Copy, Default)]
struct Setting {
    way: Way,
    /// How often the way was set: a cut counts its bytes from there.
    version: u64,
}

impl State {
    fn setting(&mut self, direction: Direction) -> &mut Setting {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }

    fn set(&mut self, direction: Direction, way: Way) {
        let setting = self.setting(direction);
        *setting = Setting { way, version: setting.version + 1 };
    }
}

/// What the thread is to do, after taking in every connection that a client has, and whom to tell when it is done.
struct Order {
    listen: Option<bool>,
    done: mpsc::Sender<()>,
}

#[derive(Default)]
struct Counter {
    traffic: Mutex<Traffic>,
    changed: Condvar,
}

impl Counter {
    fn count(&self, change: impl FnOnce(&mut Traffic)) {
        change(&mut self.traffic.lock().unwrap());
        self.changed.notify_all();
    }

    fn bytes(&self, direction: Direction, change: impl FnOnce(&mut Bytes)) {
        self.count(|traffic| match direction {
            Direction::ToServer => change(&mut traffic.to_server),
            Direction::ToClient => change(&mut traffic.to_client),
        });
    }
}

impl Toxic {
    /// A healthy network before a server.
    pub(crate) fn before(upstream: SocketAddr) -> Self {
        let reserved = socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let address = reserved.local_addr().unwrap().as_socket().unwrap();
        let healthy = State { upstream, to_server: Setting::default(), to_client: Setting::default(), resets: 0 };
        let (state, seen) = watch::channel(healthy);
        let (orders, received) = unbounded_channel();
        let traffic = Arc::new(Counter::default());
        let counter = Arc::clone(&traffic);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let thread = std::thread::spawn(move || runtime.block_on(accept(address, received, seen, counter)));
        let toxic = Self { address, state, orders: Some(orders), traffic, thread: Some(thread), _reserved: reserved };
        toxic.order(Some(true));
        toxic
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets one direction, and leaves the other as it is.
    pub(crate) fn set(&self, direction: Direction, way: Way) {
        self.state.send_modify(|state| state.set(direction, way));
    }

    /// Sets both directions.
    pub(crate) fn set_both(&self, way: Way) {
        self.state.send_modify(|state| {
            state.set(Direction::ToServer, way);
            state.set(Direction::ToClient, way);
        });
    }

    /// Throws away what one direction carries, and leaves the other as it is.
    pub(crate) fn swallow(&self, direction: Direction) {
        self.set(direction, Way { flow: Flow::Swallow, ..Way::default() });
    }

    /// Keeps connections open and forwards nothing; new ones are accepted, and do not reach the server.
    pub(crate) fn blackhole(&self) {
        self.set_both(Way { flow: Flow::Hold, ..Way::default() });
    }

    /// Ends every open connection with RST on both sides.
    pub(crate) fn reset(&self) {
        self.order(None);
        self.state.send_modify(|state| state.resets += 1);
    }

    /// Refuses new connections, and leaves the open ones as they are.
    pub(crate) fn refuse(&self) {
        self.order(Some(false));
    }

    /// Leads new connections elsewhere, and leaves the open ones as they are.
    pub(crate) fn retarget(&self, upstream: SocketAddr) {
        self.state.send_modify(|state| state.upstream = upstream);
    }

    /// Healthy again: both directions pass, and connections are accepted.
    pub(crate) fn heal(&self) {
        self.set_both(Way::default());
        self.order(Some(true));
    }

    pub(crate) fn traffic(&self) -> Traffic {
        *self.traffic.traffic.lock().unwrap()
    }

    /// Blocks until the traffic is as wanted; in a test with a runtime of one thread, call it through `spawn_blocking`.
    #[track_caller]
    pub(crate) fn wait_until(&self, mut wanted: impl FnMut(&Traffic) -> bool) {
        let traffic = self.traffic.traffic.lock().unwrap();
        let waited = self.traffic.changed.wait_timeout_while(traffic, PATIENCE, |traffic| !wanted(traffic));
        let (traffic, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "not reached: {traffic:?}");
    }

    fn order(&self, listen: Option<bool>) {
        let (done, wait) = mpsc::channel();
        assert!(self.orders.as_ref().unwrap().send(Order { listen, done }).is_ok(), "the proxy is gone");
        wait.recv().expect("the proxy is gone");
    }
}

impl Drop for Toxic {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.thread.take().unwrap().join();
    }
}

/// A socket bound to an address that others of ours are bound to.
fn socket(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

/// Accepts connections while it is to listen, until the handle is gone.
async fn accept(
    address: SocketAddr,
    mut orders: UnboundedReceiver<Order>,
    state: watch::Receiver<State>,
    counter: Arc<Counter>,
) {
    let open = |client| {
        let (state, counter) = (state.clone(), Arc::clone(&counter));
        let resets = state.borrow().resets;
        counter.count(|traffic| traffic.opened += 1);
        tokio::spawn(async move {
            connection(client, state, resets, &counter).await;
            counter.count(|traffic| traffic.closed += 1);
        });
    };
    let mut listener: Option<TcpListener> = None;
    loop {
        tokio::select! {
            biased;
            order = orders.recv() => {
                let Some(order) = order else { return };
                // The kernel is asked itself: the runtime may not have heard yet of who has just connected.
                while let Some(Ok((client, _))) = listener.as_ref().map(|listener| SockRef::from(listener).accept()) {
                    client.set_nonblocking(true).unwrap();
                    open(TcpStream::from_std(client.into()).unwrap());
                }
                match (order.listen, &listener) {
                    (Some(true), None) => {
                        let socket = socket(address);
                        socket.listen(1024).unwrap();
                        listener = Some(TcpListener::from_std(socket.into()).unwrap());
                    }
                    (Some(false), _) => listener = None,
                    (Some(true), Some(_)) | (None, _) => (),
                }
                let _ = order.done.send(());
            }
            accepted = async { listener.as_ref().unwrap().accept().await }, if listener.is_some() => {
                if let Ok((client, _)) = accepted {
                    open(client);
                }
            }
        }
    }
}

/// How a connection ends before both its sides have ended it.
enum End {
    /// FIN to both sides.
    Cut,
    /// RST to both sides.
    Reset,
}

/// One connection from its beginning to its end. When the server cannot be reached the client gets an RST.
async fn connection(client: TcpStream, mut state: watch::Receiver<State>, resets: u64, counter: &Counter) {
    let mut watching = state.clone();
    let mut server = None;
    let work = async {
        let passes = |state: &State| state.to_server.way.flow != Flow::Hold;
        let upstream = state.wait_for(passes).await.map_err(|_| End::Cut)?.upstream;
        let server = server.insert(reach(upstream).await.map_err(|_| End::Reset)?);
        client.set_nodelay(true).map_err(|_| End::Reset)?;
        tokio::try_join!(
            pump(&client, server, Direction::ToServer, state.clone(), counter),
            pump(server, &client, Direction::ToClient, state.clone(), counter),
        )
    };
    let end = tokio::select! {
        biased;
        _ = watching.wait_for(|state| state.resets != resets) => Err(End::Reset),
        end = work => end,
    };
    if matches!(end, Err(End::Reset)) {
        for side in [Some(&client), server.as_ref()].into_iter().flatten() {
            let _ = side.set_zero_linger();
        }
    }
}

async fn reach(upstream: SocketAddr) -> io::Result<TcpStream> {
    let socket = if upstream.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    // A reset that comes now shall be one for a server that has accepted already.
    socket.set_zero_linger()?;
    let server = socket.connect(upstream).await?;
    SockRef::from(&server).set_linger(None)?;
    Ok(server)
}

/// Carries one direction of a connection until its end, which it passes on.
async fn pump(
    from: &TcpStream,
    to: &TcpStream,
    direction: Direction,
    mut state: watch::Receiver<State>,
    counter: &Counter,
) -> Result<(), End> {
    let mut buffer = vec![0; 16 * 1024];
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let (mut length, mut ended, mut lost) = (0, false, false);
    // What is written next: not before this moment, and the bytes since the version that says where to cut.
    let (mut not_before, mut passed, mut version) = (Instant::now(), 0, 0);
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    loop {
        let mut now = *state.borrow_and_update();
        let Setting { way, version: current } = *now.setting(direction);
        if version != current {
            (version, passed) = (current, 0);
        }
        match way.flow {
            Flow::Swallow => {
                counter.bytes(direction, |bytes| bytes.swallowed += length as u64);
                lost |= ended || length > 0;
                length = 0;
                waiting.clear();
            }
            Flow::Pass | Flow::Hold if lost => return Err(End::Reset),
            Flow::Pass if way.cut_after.is_some_and(|most| passed >= most) => return Err(End::Cut),
            Flow::Pass if ended && waiting.is_empty() => {
                let _ = SockRef::from(to).shutdown(Shutdown::Write);
                return Ok(());
            }
            Flow::Pass | Flow::Hold => (),
        }
        let due = waiting.front().map_or(not_before, |(due, _)| not_before.max(*due));
        // What changed comes first: bytes that follow upon a change are treated by it.
        tokio::select! {
            biased;
            changed = state.changed() => changed.map_err(|_| End::Cut)?,
            writable = async { sleep_until(due).await; to.writable().await }, if way.flow == Flow::Pass && length > 0 => {
                writable.map_err(|_| End::Reset)?;
                let Some((_, bytes)) = waiting.front_mut() else { continue };
                let left = way.cut_after.map_or(usize::MAX, |most| usize::try_from(most - passed).unwrap());
                let piece = bytes.len().min(left).min(way.piece());
                let Some(written) = tried(to.try_write(&bytes[..piece]))? else { continue };
                bytes.drain(..written);
                if bytes.is_empty() {
                    waiting.pop_front();
                }
                length -= written;
                passed += written as u64;
                not_before = Instant::now() + way.pause(written);
                counter.bytes(direction, |bytes| bytes.passed += written as u64);
            }
            readable = from.readable(), if way.flow != Flow::Hold && !ended && length < MOST_WAITING => {
                readable.map_err(|_| End::Reset)?;
                let Some(read) = tried(from.try_read(&mut buffer))? else { continue };
                ended = read == 0;
                if read > 0 {
                    let due = Instant::now() + way.delay + way.jitter.mul_f64(chance.next());
                    let due = waiting.back().map_or(due, |(last, _)| due.max(*last));
                    waiting.push_back((due, buffer[..read].to_vec()));
                    length += read;
                }
            }
        }
    }
}

impl Way {
    /// The most bytes to write at once: those of ten milliseconds, so that a rate is one all along.
    fn piece(&self) -> usize {
        match (self.slices, self.rate) {
            (true, _) => 1,
            (false, Some(rate)) => (rate / 100).max(1) as usize,
            (false, None) => usize::MAX,
        }
    }

    /// How long to wait after writing so many bytes.
    fn pause(&self, written: usize) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(written as f64 / f64::from(rate)))
    }
}

/// Nothing when the socket was not ready after all.
fn tried(result: io::Result<usize>) -> Result<Option<usize>, End> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(_) => Err(End::Reset),
    }
}

/// Numbers from 0 to 1, the same in every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from((self.0 >> 32) as u32) / f64::from(u32::MAX)
    }
}
