//! Connections: how they are made, in the pool and outside of it.

use std::fmt;
use std::time::Duration;

use deadpool_postgres::{BuildError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{Client, Config, Connection, Error, NoTls, Socket};

/// Connections for questions; one more waits [`CONNECT`] for one that is free and then is told that it is late.
const CONNECTIONS: usize = 8;
/// For a connection to be made, and for one to become free.
const CONNECT: Duration = Duration::from_secs(2);

/// How to reach PostgreSQL.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    /// A name, an address, or the folder of a Unix socket.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// Which database.
    pub database: String,
    /// Who asks.
    pub user: String,
    /// `None` when the server trusts this host.
    pub password: Option<String>,
}

impl fmt::Debug for PostgresSettings {
    /// All but the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresSettings({}@{}:{}/{})", self.user, self.host, self.port, self.database)
    }
}

impl PostgresSettings {
    /// A connection that gives a statement so much time. A peer that is silent is noticed within about 10 s even when
    /// nothing is asked, and within 5 s when something is.
    pub(super) fn config(&self, statement: Duration) -> Config {
        let mut config = Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .dbname(&self.database)
            .user(&self.user)
            .application_name("alt-ws")
            .ssl_mode(SslMode::Disable)
            .connect_timeout(CONNECT)
            .tcp_user_timeout(Duration::from_secs(5))
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(2)
            // A lock is waited for less long than everything else, so that others do not queue behind us.
            .options(format!(
                "-c statement_timeout={0} -c lock_timeout={1}",
                statement.as_millis(),
                CONNECT.as_millis()
            ));
        if let Some(password) = &self.password {
            config.password(password);
        }
        config
    }
}

/// A pool that makes its connections when they are needed.
pub(super) fn pool(config: Config) -> Result<Pool, BuildError> {
    let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    let timeouts = Timeouts { wait: Some(CONNECT), create: Some(CONNECT), recycle: Some(CONNECT) };
    Pool::builder(manager).max_size(CONNECTIONS).timeouts(timeouts).runtime(Runtime::Tokio1).build()
}

/// A connection of its own, driven by a task that ends with it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: Client,
    task: JoinHandle<()>,
}

impl Link {
    /// Connects; `drive` is to poll the connection until it ends.
    pub(super) async fn open<F>(
        config: &Config,
        drive: impl FnOnce(Connection<Socket, NoTlsStream>) -> F,
    ) -> Result<Self, Error>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (client, connection) = config.connect(NoTls).await?;
        Ok(Self { client, task: tokio::spawn(drive(connection)) })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}
