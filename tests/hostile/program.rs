//! The real program, so that its descriptors and its memory are nobody else's.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::SECRET;
use crate::support::raw::http;

/// A server with a store in memory, open rooms, and no limit that many connections from one address would meet.
pub(crate) struct Program {
    process: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
    _folder: tempfile::TempDir,
}

impl Program {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_alt-ws"))
            .env_clear()
            .envs([
                ("JWT_SECRET", SECRET),
                ("WS_HOST", "127.0.0.1"),
                ("WS_PORT", "0"),
                ("STORE", "memory"),
                ("OPEN_ROOMS", "true"),
                ("CORES", "2"),
                ("RATE_LIMIT_EVENTS", "0"),
                ("RATE_LIMIT_BYTES", "0"),
                ("MAX_CONNECTIONS_PER_IP", "0"),
                ("MAX_CONNECTIONS_PER_USER", "0"),
                ("LOG_LEVEL", "info"),
            ])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.by_ref().find_map(|line| {
            let event: Value = serde_json::from_str(&line).ok()?;
            event["address"].as_str()?.parse().ok()
        });
        let log = Arc::new(Mutex::new(String::new()));
        let (written, address) = (Arc::clone(&log), address.unwrap());
        std::thread::spawn(move || lines.for_each(|line| *written.lock().unwrap() += &(line + "\n")));
        Self { process, address, log, _folder: folder }
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// What it holds of the machine's memory, in KiB.
    pub(crate) fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How many sockets it counts; it must be well.
    pub(crate) async fn sockets(&self) -> u64 {
        let (status, body) = http(self.address, "GET", "/health", "").await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["sockets"].as_u64().unwrap()
    }

    /// Ends it in good order; its log must know of no panic and nothing worse than a warning.
    pub(crate) fn stop(mut self) {
        Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap();
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
        let log = self.log.lock().unwrap();
        let bad: Vec<_> = log.lines().filter(|line| line.contains("panicked") || line.contains("\"ERROR\"")).collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
