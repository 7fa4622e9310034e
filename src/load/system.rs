//! What a run asks of the operating system besides sockets: an address, descriptors, and its own CPU time.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::LoadError;
use super::options::{Options, Target, Transport};

/// How long to wait for the first connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// Descriptors that are no client's.
const SPARE_DESCRIPTORS: u64 = 32;

/// The first address of the target that somebody listens on. A name may stand for several, and a server listen on one.
pub(super) fn reach(target: &Target) -> Result<SocketAddr, LoadError> {
    let unreachable = |error: io::Error| LoadError::Unreachable(format!("{target} cannot be reached: {error}"));
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (target.host.as_str(), target.port).to_socket_addrs().map_err(unreachable)? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_) => return Ok(address),
            Err(error) => failure = error,
        }
    }
    Err(unreachable(failure))
}

/// Asks for as many descriptors as the clients take: a process begins with fewer than the system lets it have.
pub(super) fn raise_descriptor_limit(options: &Options) -> Result<(), LoadError> {
    let each = match options.transport {
        Transport::WebSocket => 1,
        Transport::Polling => 2,
    };
    let clients = options.clients.saturating_add(options.stalled).saturating_add(options.comers()) as u64;
    let needed = clients.saturating_mul(each).saturating_add(SPARE_DESCRIPTORS);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(maximum) = maximum.filter(|maximum| *maximum < needed) {
        let complaint = format!("so many clients need {needed} open files; the limit is {maximum} (ulimit -Hn)");
        return Err(LoadError::Options(complaint));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })
        .map_err(|errno| LoadError::System(errno.into()))
}

/// The CPU time that this process has used so far.
pub(super) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
