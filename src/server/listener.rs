//! Accepting TCP connections: one listening socket per core on the same port, and HTTP on every connection.
//!
//! Owns the sockets' options and what happens when accepting fails. The kernel spreads connections over the cores.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::core::Core;
use super::http::{self, Peer};
use super::patience::Patience;
use crate::chat::application::Application;
use crate::config::limits::MAX_HTTP_HEADER_BYTES;

/// Connections that the kernel keeps for us while we are busy; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// What the kernel holds of a client that does not read, before its outbox begins to fill; accepted connections inherit
/// it, and the kernel doubles it. Left to itself the kernel grows it to megabytes: a thousand stalled readers held 828 MB
/// that no bound of ours saw. On a path of 100 ms it still lets through 2.5 MB a second.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// After a failed accept (no descriptors left, most likely) it is tried again this much later.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The log says it once in this time: while descriptors are short it fails ten times a second, or works now and then.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// One listening socket per core. The first is bound without sharing, so that a port that somebody else uses is an
/// error and not half of the connections lost to them.
pub(crate) fn bind(address: SocketAddr, cores: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let probe = socket(address, false)?;
    let address = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    (0..cores)
        .map(|_| {
            let socket = socket(address, true)?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        })
        .collect()
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    if !shared {
        // Binding alone does not show a port on which somebody listens with the same options.
        socket.listen(1)?;
    }
    Ok(socket)
}

/// Accepts until told to stop. Connections that are there then finish the answer they are at, and end.
pub(crate) async fn accept<A: Application>(
    core: Core<A>,
    listener: std::net::TcpListener,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut complained = None::<Instant>;
    let mut is_failing = false;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                if std::mem::take(&mut is_failing) {
                    tracing::info!("connections are accepted again");
                }
                core.shared().metrics.accepted.increment();
                serve(&core, stream, address, stop.clone());
            }
            // A client that left before it was accepted; the next one may be there.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                core.shared().metrics.accept_errors.increment();
                if complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
                    tracing::warn!(%error, "accepting a connection failed; trying again");
                    complained = Some(Instant::now());
                    is_failing = true;
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn serve<A: Application>(core: &Core<A>, stream: TcpStream, address: SocketAddr, mut stop: watch::Receiver<bool>) {
    let Some(peer) = Peer::admit(core.shared(), address.ip()) else {
        core.shared().metrics.http_refused.increment("address");
        tracing::debug!(address = %address.ip(), "too many connections of one address");
        return;
    };
    // Frames are small and written whole: waiting to fill a segment would only delay them.
    let _ = stream.set_nodelay(true);
    let core = core.clone();
    tokio::task::spawn_local(async move {
        let _open = core.shared().metrics.connections.hold();
        let times = core.shared().settings.http;
        let service = service_fn(|request| http::answer(core.clone(), peer.clone(), request));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(times.head)
            .max_buf_size(MAX_HTTP_HEADER_BYTES)
            .serve_connection(TokioIo::new(Patience::new(stream, times.answer)), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = stop.wait_for(|stop| *stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            if let Some(reason) = refusal(&error) {
                core.shared().metrics.http_refused.increment(reason);
            }
            tracing::debug!(%error, "http connection ended");
        }
    });
}

/// Which of our limits, or of HTTP's rules, ended a connection; `None` when the client did.
fn refusal(error: &hyper::Error) -> Option<&'static str> {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    // The kernel's own timeout, of a client that has vanished, has a number.
    if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut && cause.raw_os_error().is_none()) {
        Some("answer_late")
    } else if error.is_timeout() {
        Some("head_late_or_idle")
    } else if error.is_parse_too_large() {
        Some("head_too_large")
    } else if error.is_parse() {
        Some("malformed")
    } else {
        None
    }
}
