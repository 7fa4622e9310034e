//! The real program as a process of its own: its descriptors, its memory, its signals and its log.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What it signs and checks tokens with.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Longer than it takes to do anything that is asked of it.
const PATIENCE: Duration = Duration::from_secs(20);

/// No limit that many clients from one address would meet.
pub(crate) const NO_LIMITS: [(&str, &str); 4] = [
    ("RATE_LIMIT_EVENTS", "0"),
    ("RATE_LIMIT_BYTES", "0"),
    ("MAX_CONNECTIONS_PER_IP", "0"),
    ("MAX_CONNECTIONS_PER_USER", "0"),
];

/// The program in production, with a store in memory and open rooms, on a free port until it is dropped.
pub(crate) struct Program {
    process: Child,
    pub(crate) address: SocketAddr,
    /// Its log, line by line. It is always read: whoever stopped would stop the program at its next line.
    pub(crate) log: Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Program {
    /// With these settings besides.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_alt-ws")), settings)
    }

    /// With no more descriptors than that.
    pub(crate) fn start_with_descriptors(most: u32, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={most}:{most}")).arg(env!("CARGO_BIN_EXE_alt-ws"));
        Self::run(command, settings)
    }

    fn run(mut command: Command, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs([("JWT_SECRET", SECRET), ("WS_HOST", "127.0.0.1"), ("WS_PORT", "0"), ("STORE", "memory")])
            .envs([("OPEN_ROOMS", "true"), ("CORES", "2"), ("LOG_LEVEL", "info")])
            .envs(settings.iter().copied())
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (sender, log) = channel();
        std::thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
        let mut program = Self { process, address: ([0; 4], 0).into(), log, _folder: folder };
        let event: Value = serde_json::from_str(&program.until("\"listening\"")).unwrap();
        program.address = event["address"].as_str().unwrap().parse().unwrap();
        program
    }

    /// The next line of the log that contains some words.
    pub(crate) fn until(&self, words: &str) -> String {
        let late = Instant::now() + PATIENCE;
        loop {
            let line = self.log.recv_timeout(late.saturating_duration_since(Instant::now())).unwrap();
            if line.contains(words) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Its exit code, once it has ended, and how long that took.
    pub(crate) fn ends(&mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        while self.process.try_wait().unwrap().is_none() && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        (self.process.try_wait().unwrap().and_then(|status| status.code()), started.elapsed())
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

    /// Ends it in good order; its log must know of no panic and nothing worse than a warning.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ends().0, Some(0));
        let bad: Vec<_> =
            self.log.iter().filter(|line| line.contains("panicked") || line.contains("\"ERROR\"")).collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
