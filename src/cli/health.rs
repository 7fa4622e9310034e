//! `alt-ws health`: asks a running server how it is, for health checks in images that have no curl.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use alt_ws::config::{Variables, listen_address};

use super::{CliError, print};

/// How long asking may take in all. A server that needs longer to say that it is well is not.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most that is read of an answer, in bytes; alt-ws says less than a tenth of it.
const MAX_ANSWER: usize = 4 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Ask only whether the server answers, not whether it is ready for clients.
    #[arg(long)]
    live: bool,
}

pub(super) fn run(args: &Args, variables: &Variables) -> Result<(), CliError> {
    let address = reachable(listen_address(variables)?);
    if address.port() == 0 {
        return Err(CliError::Usage("WS_PORT is 0, any free port: nobody knows which one to ask".to_owned()));
    }
    let (path, well) = if args.live { ("/livez", "is alive") } else { ("/readyz", "is ready") };
    let answer = ask(address, path)
        .map_err(|error| CliError::Runtime(format!("http://{address}{path} does not answer: {error}")))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") if head.starts_with("HTTP/1.1 ") => print(&format!("the server at http://{address} {well}\n")),
        _ => {
            // Escaped, because it may not be alt-ws that listens there.
            let said: String = head.lines().take(1).chain([body]).flat_map(str::escape_debug).take(300).collect();
            Err(CliError::Runtime(format!("http://{address}{path} answers {said}")))
        }
    }
}

/// Where a server that listens on `address` is reached from its own machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The whole answer, head and body, within [`PATIENCE`].
fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("not within {} s", PATIENCE.as_secs()));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 512];
    loop {
        // A timeout of zero would be none.
        let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()).ok_or_else(late)?;
        stream.set_read_timeout(Some(left))?;
        let read = match stream.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(late()),
            read => read?,
        };
        answer.extend(chunk.iter().take(read));
        if read == 0 || answer.len() > MAX_ANSWER {
            return Ok(String::from_utf8_lossy(&answer).into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_everywhere_is_asked_at_home() {
        for (listens, asked) in [
            ("0.0.0.0:3001", "127.0.0.1:3001"),
            ("[::]:3001", "[::1]:3001"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), asked);
        }
    }
}
