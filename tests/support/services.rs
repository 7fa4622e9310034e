//! Real servers for tests: PostgreSQL, and SecantusDB, which speaks MongoDB's protocol.
//!
//! Each is a process of its own on a free port of 127.0.0.1, with its data in a temporary folder. Whichever way the test
//! process ends, killed included, the server dies with it and the folder goes. `PG_URL` and `MONGO_URI` name running
//! servers to use instead: those lend a database, which stays behind, and cannot be killed, stopped or paused. A missing
//! program fails the test with the command that installs it.
//!
//! This file uses nothing of its crate, so that unit tests can include it by path. Include it once per crate: a second
//! copy would have shared servers of its own.
#![allow(dead_code, reason = "nobody uses all of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use mongodb::bson::{Document, doc};
use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, Socket, Type};

/// How long a server may take to start, recovery included, on a busy machine.
const START: Duration = Duration::from_secs(60);

/// Between two looks at something that tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(10);

/// The PostgreSQL that all tests of this process share. Leave it alive: others are using it.
pub(crate) fn shared_postgres() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(Postgres::start)
}

/// The MongoDB that all tests of this process share. Leave it alive and without fail points: others are using it.
pub(crate) fn shared_mongo() -> &'static Mongo {
    static SHARED: OnceLock<Mongo> = OnceLock::new();
    SHARED.get_or_init(Mongo::start)
}

/// A PostgreSQL server with `fsync` on. Its user is `postgres`, without a password.
pub(crate) struct Postgres(Server);

impl Postgres {
    /// Starts a server, and returns when it answers.
    pub(crate) fn start() -> Self {
        if let Some(url) = variable("PG_URL") {
            return Self(Server::Given { url, variable: "PG_URL" });
        }
        let folder = Folder::new();
        let data = folder.path.join("data");
        let mut initdb = postgres_program("initdb", &folder.path);
        initdb.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]).arg(&data);
        succeed(&mut initdb);
        let command = move |folder: &Path, port: u16| {
            let mut command = postgres_program("postgres", folder);
            command.arg("-D").arg(&data).arg("-k").arg(folder).args(["-p", &port.to_string()]);
            command.args(["-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=32MB", "-c", "fsync=on"]);
            command
        };
        let answers = |port| complete(statements(&postgres_url(port, "postgres"), "SELECT 1")).is_ok();
        Self(Server::Own(Own::start("PostgreSQL", folder, command, answers)))
    }

    /// The port of 127.0.0.1 that it listens on, also while it is down. Not for a server given by `PG_URL`.
    pub(crate) fn port(&self) -> u16 {
        self.0.own().port()
    }

    /// The address of a database, for clients.
    pub(crate) fn url(&self, database: &str) -> String {
        match &self.0 {
            Server::Own(own) => postgres_url(own.port(), database),
            Server::Given { url, .. } => with_database(url, database),
        }
    }

    /// Creates an empty database that nobody else uses, and returns its name.
    pub(crate) fn database(&self) -> String {
        let name = unique_name();
        self.execute("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// Runs SQL statements in a database, on a connection of their own.
    pub(crate) fn execute(&self, database: &str, sql: &str) {
        complete(statements(&self.url(database), sql)).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Ends as `pg_ctl stop -m immediate` does: every session is cut off, and the next start recovers from the log.
    pub(crate) fn stop_immediately(&self) {
        self.0.own().end(Signal::QUIT);
    }

    /// SIGKILL to the server and every process of it.
    pub(crate) fn kill(&self) {
        self.0.own().kill();
    }

    /// Starts again what was stopped or killed, on the same port and with the same data.
    pub(crate) fn start_again(&self) {
        self.0.own().run();
    }

    /// SIGSTOP to the server and every process of it: connections stay open and nothing answers.
    pub(crate) fn pause(&self) {
        self.0.own().stop();
    }

    pub(crate) fn resume(&self) {
        self.0.own().resume();
    }
}

/// A SecantusDB server that syncs each commit. It poses as a replica set of one.
pub(crate) struct Mongo(Server);

impl Mongo {
    /// Starts a server, and returns when it answers.
    pub(crate) fn start() -> Self {
        if let Some(url) = variable("MONGO_URI") {
            return Self(Server::Given { url, variable: "MONGO_URI" });
        }
        let program = secantusd();
        let command = move |folder: &Path, port: u16| {
            let mut command = Command::new(&program);
            command
                .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--storage-path"])
                .arg(folder.join("data"));
            command.args(["--sync-on-commit", "--enable-test-commands", "--log-level", "WARNING"]);
            command
        };
        let answers = |port| {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
                && complete(run_command(&mongo_uri(port, "admin"), doc! {"ping": 1})).is_ok()
        };
        Self(Server::Own(Own::start("SecantusDB", Folder::new(), command, answers)))
    }

    /// The port of 127.0.0.1 that it listens on, also while it is down. Not for a server given by `MONGO_URI`.
    pub(crate) fn port(&self) -> u16 {
        self.0.own().port()
    }

    /// The address of a database, for clients.
    pub(crate) fn uri(&self, database: &str) -> String {
        match &self.0 {
            Server::Own(own) => mongo_uri(own.port(), database),
            Server::Given { url, .. } => with_database(url, database),
        }
    }

    /// The name of a database that nobody else uses. It exists from the first write on.
    pub(crate) fn database(&self) -> String {
        unique_name()
    }

    /// Runs an administrator's `configureFailPoint` command, such as
    /// `{configureFailPoint: "failCommand", mode: {times: 1}, data: {failCommands: ["insert"], closeConnection: true}}`.
    ///
    /// `mode` is `alwaysOn`, `off`, `{times}` or `{skip, times}`; `data` has `errorCode`, `writeConcernError`,
    /// `closeConnection` (before the command runs) or `blockConnection` with `blockTimeMS`, and `appName` to fail one
    /// client's commands only. SecantusDB has one `failCommand` at a time, a new one replaces it, and it ignores fail
    /// points that it does not know.
    pub(crate) fn fail_point(&self, command: Document) {
        let uri = mongo_uri(self.0.own().port(), "admin");
        complete(run_command(&uri, command)).unwrap();
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        self.0.own().kill();
    }

    /// Starts again what was killed, on the same port and with the same data, without fail points.
    pub(crate) fn start_again(&self) {
        self.0.own().run();
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub(crate) fn pause(&self) {
        self.0.own().stop();
    }

    pub(crate) fn resume(&self) {
        self.0.own().resume();
    }
}

enum Server {
    Own(Own),
    Given { url: String, variable: &'static str },
}

impl Server {
    fn own(&self) -> &Own {
        match self {
            Self::Own(own) => own,
            Self::Given { variable, .. } => panic!("this test needs a server of its own: unset {variable}"),
        }
    }
}

/// The command that runs a server in this folder and on this port.
type Program = dyn Fn(&Path, u16) -> Command + Send + Sync;

/// A server that is ours to start and to kill.
struct Own {
    name: &'static str,
    /// Bound and never listening: the port stays ours while the server is down.
    reserved: Socket,
    command: Box<Program>,
    answers: fn(u16) -> bool,
    child: Mutex<Option<Child>>,
    folder: Folder,
}

impl Own {
    fn start(
        name: &'static str,
        folder: Folder,
        command: impl Fn(&Path, u16) -> Command + Send + Sync + 'static,
        answers: fn(u16) -> bool,
    ) -> Self {
        let reserved = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        reserved.set_reuse_address(true).unwrap();
        reserved.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let own = Self { name, reserved, command: Box::new(command), answers, child: Mutex::new(None), folder };
        own.run();
        own
    }

    fn port(&self) -> u16 {
        self.reserved.local_addr().unwrap().as_socket().unwrap().port()
    }

    /// Starts the process, and waits until it answers.
    fn run(&self) {
        let mut running = self.child();
        assert!(running.is_none(), "{} is running", self.name);
        let log = self.folder.path.join("log");
        let mut command = (self.command)(&self.folder.path, self.port());
        // A group of its own, so that Ctrl-C in a terminal reaches only the test; the server ends with it.
        command.current_dir(&self.folder.path).process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::options().create(true).append(true).open(&log).unwrap());
        let child = running.insert(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
        self.folder.keep_for(Some(Pid::from_child(child)));
        let deadline = Instant::now() + START;
        while !(self.answers)(self.port()) {
            let ended = child.try_wait().unwrap().is_some();
            if ended || Instant::now() > deadline {
                panic!("{} did not start: {command:?}\n{}", self.name, fs::read_to_string(&log).unwrap_or_default());
            }
            thread::sleep(LOOK);
        }
    }

    fn kill(&self) {
        let family = self.stop();
        family.iter().for_each(|pid| send(*pid, Signal::KILL));
        self.reap();
        // Processes whose parent died first are nobody's to wait for, and may still hold the data.
        self.wait_until("die", || family.iter().all(|pid| matches!(state(*pid), None | Some('Z' | 'X'))));
    }

    /// Ends by a signal that the server obeys.
    fn end(&self, signal: Signal) {
        send(self.pid(), signal);
        self.reap();
    }

    fn reap(&self) {
        self.child().take().unwrap().wait().unwrap();
        self.folder.keep_for(None);
    }

    /// Stops the server's process, which from then on has no more children, and then the children. Each of them leads a
    /// process group of its own in PostgreSQL, so one signal would not reach all.
    fn stop(&self) -> Vec<Pid> {
        let server = self.pid();
        let stopped = |pid: &Pid| matches!(state(*pid), None | Some('T' | 'Z' | 'X'));
        send(server, Signal::STOP);
        self.wait_until("stop", || stopped(&server));
        let family = family(server);
        family.iter().for_each(|pid| send(*pid, Signal::STOP));
        self.wait_until("stop", || family.iter().all(stopped));
        family
    }

    fn resume(&self) {
        family(self.pid()).iter().for_each(|pid| send(*pid, Signal::CONT));
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child().as_ref().unwrap_or_else(|| panic!("{} is not running", self.name)))
    }

    fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + START;
        while !done() {
            assert!(Instant::now() < deadline, "{} does not {what}", self.name);
            thread::sleep(LOOK);
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        // Also after a start that failed and panicked, so that the test ends with that panic and no other.
        self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if self.child().is_some() {
            self.kill();
        }
    }
}

/// A temporary folder that goes when this is dropped or the test process is no more.
struct Folder {
    path: PathBuf,
    /// Waits for the end of its input, which comes however this process ends, and cleans up.
    keeper: Child,
    input: Mutex<Option<ChildStdin>>,
}

/// Reads the number of the server's process, or an empty line when there is none; at the end kills it and its children.
const KEEPER: &str = r#"
trap '' HUP INT TERM
while read -r server; do last=$server; done
[ -z "$last" ] || kill -KILL "$last" $(cat "/proc/$last/task/$last/children")
for attempt in 1 2 3 4 5; do rm -rf -- "$1" && break; sleep 0.2; done
"#;

impl Folder {
    fn new() -> Self {
        let path = tempfile::Builder::new().prefix("alt-ws-").tempdir().unwrap().keep();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(&path).process_group(0);
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut keeper = keeper.spawn().unwrap();
        let input = Mutex::new(keeper.stdin.take());
        Self { path, keeper, input }
    }

    /// Says which process to kill with the folder.
    fn keep_for(&self, server: Option<Pid>) {
        let line = server.map(|pid| pid.to_string()).unwrap_or_default();
        writeln!(self.input.lock().unwrap().as_ref().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.input.lock().unwrap().take());
        let _ = self.keeper.wait();
    }
}

/// A program of PostgreSQL, run by somebody it accepts: it refuses to be run by root.
fn postgres_program(name: &str, folder: &Path) -> Command {
    let named = variable("PG_BIN").map(PathBuf::from);
    let configured = || {
        let output = Command::new("pg_config").arg("--bindir").output().ok()?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
    };
    let packaged = || {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("postgres").exists()).max()
    };
    let bin = named.or_else(|| configured().filter(|bin| bin.join("postgres").exists())).or_else(packaged);
    let program = bin.map(|bin| bin.join(name)).filter(|program| program.exists()).unwrap_or_else(|| {
        panic!("{name} of PostgreSQL is missing: apt-get install postgresql (or set PG_BIN, or PG_URL to a server)")
    });
    if !rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    succeed(Command::new("chown").arg("postgres:").arg(folder));
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
    command
}

/// SecantusDB's program: where `scripts/test.sh` puts it, or `SECANTUSD`.
fn secantusd() -> PathBuf {
    const PLACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/protocol-tests/.services/bin/secantusd-py");
    let program = variable("SECANTUSD").unwrap_or_else(|| PLACE.to_owned());
    assert!(
        Path::new(&program).exists(),
        "{program} is missing: python3 -m venv protocol-tests/.services && protocol-tests/.services/bin/pip install -r \
         protocol-tests/python/services.txt (or set SECANTUSD, or MONGO_URI to a server)"
    );
    program.into()
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A server's process and then its children.
fn family(server: Pid) -> Vec<Pid> {
    let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| Pid::from_raw(child.parse().ok()?));
    std::iter::once(server).chain(children).collect()
}

/// To a process that may have ended.
fn send(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

/// The letter that the kernel gives the state of a process.
fn state(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn unique_name() -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let time = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    format!("alt_ws_{time}_{}_{number}", std::process::id())
}

fn postgres_url(port: u16, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{database}")
}

fn mongo_uri(port: u16, database: &str) -> String {
    format!("mongodb://127.0.0.1:{port}/{database}?directConnection=true")
}

/// The same URL for another database.
fn with_database(url: &str, database: &str) -> String {
    let (url, options) = url.split_once('?').map_or((url, String::new()), |(url, rest)| (url, format!("?{rest}")));
    let authority = url.find("://").map_or(0, |at| at + 3);
    let server = url[authority..].find('/').map_or(url, |slash| &url[..authority + slash]);
    format!("{server}/{database}{options}")
}

async fn statements(url: &str, sql: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute(sql).await
}

async fn run_command(uri: &str, command: Document) -> mongodb::error::Result<Document> {
    mongodb::Client::with_uri_str(uri).await?.database("admin").run_command(command).await
}

/// Runs something to its end on a thread and a runtime of its own: the caller may or may not be in another.
fn complete<T: Send>(work: impl Future<Output = T> + Send) -> T {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}
