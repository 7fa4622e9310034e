//! Where messages and memberships are kept: `STORE`, `MONGO_URI`, `DB_*`, `DATA_DIR`.
//!
//! Owns what these variables mean together. Parses addresses and connects to nothing.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use mongodb::options::{ConnectionString, HostInfo};

use super::reader::Reader;
use super::{ConfigError, MASK, Secret};

/// What a connection string that names no database means to the Node driver, and so to the replaced service.
const NODE_DEFAULT_DATABASE: &str = "test";

/// Where everything is kept: `STORE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stores {
    /// `memory`: nowhere; for tests and benchmarks.
    Memory,
    /// `auto`: each side where the environment says.
    Kept {
        /// Who belongs where, and how far each has read.
        structure: Structure,
        /// What was said.
        messages: Messages,
    },
}

/// Where the structure is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Structure {
    /// Without `DB_HOST`: the SQLite file in [`Config::data_dir`](super::Config::data_dir).
    Embedded,
    /// With it.
    Postgres(PostgresSettings),
}

/// Where the messages are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Messages {
    /// Without `MONGO_URI`: the SQLite file in [`Config::data_dir`](super::Config::data_dir).
    Embedded,
    /// With it.
    Mongo(MongoSettings),
}

/// A PostgreSQL database. Its `Display` says where it is and holds no credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresSettings {
    /// `DB_HOST`: a name, an IP address, or the folder of a Unix socket.
    pub host: String,
    /// `DB_PORT`, 1..=65535, default 5432.
    pub port: u16,
    /// `DB_NAME`; it has no default, because a wrong database that happens to exist would be migrated.
    pub database: String,
    /// `DB_USER`; it has no default either.
    pub user: String,
    /// `DB_PASS`; without it the database must trust this host.
    pub password: Option<Secret>,
}

/// A MongoDB database. Its `Display` says where it is and holds no credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MongoSettings {
    /// `MONGO_URI`, which the driver has parsed without complaint.
    pub uri: Secret,
    /// The hosts in it, separated by commas, to be shown.
    pub hosts: String,
    /// The database in it, or `test`.
    pub database: String,
}

impl fmt::Display for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, database, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}/{database}") } else { write!(f, "{host}:{port}/{database}") }
    }
}

impl fmt::Display for MongoSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.hosts, self.database)
    }
}

/// The stores, and the folder of what is embedded.
pub(super) fn stores(reader: &mut Reader<'_>) -> Result<(Stores, PathBuf), ConfigError> {
    let is_memory = reader.one_of("STORE", &[("auto", false), ("memory", true)], false)?;
    let mongo = reader.secret("MONGO_URI")?;
    let postgres = reader.text("DB_HOST")?;
    if is_memory && let Some(name) = mongo.as_ref().map(|_| "MONGO_URI").or(postgres.as_ref().map(|_| "DB_HOST")) {
        return Err(ConfigError::Contradiction {
            first: "STORE=memory".into(),
            second: name.into(),
            instruction: "unset one of them, because a store in memory keeps nothing",
        });
    }
    let structure = structure(reader, postgres)?;
    let messages = messages(reader, mongo)?;
    let use_of_folder = match (&structure, &messages) {
        _ if is_memory => " (not used)",
        (Structure::Embedded, Messages::Embedded) => "",
        (Structure::Embedded, Messages::Mongo(_)) => " (structure only)",
        (Structure::Postgres(_), Messages::Embedded) => " (messages only)",
        (Structure::Postgres(_), Messages::Mongo(_)) => " (not used)",
    };
    let folder = |path: &str| Folder { path: path.to_owned(), used: use_of_folder };
    let folder = reader.parsed("DATA_DIR", "a path", folder("./data"), |text| Some(folder(text)))?;
    let stores = if is_memory { Stores::Memory } else { Stores::Kept { structure, messages } };
    Ok((stores, folder.path.into()))
}

/// A folder that is shown with what it is for.
struct Folder {
    path: String,
    used: &'static str,
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.path, self.used)
    }
}

fn structure(reader: &mut Reader<'_>, host: Option<String>) -> Result<Structure, ConfigError> {
    let is_port_set = reader.raw("DB_PORT")?.is_some();
    let port = reader.number("DB_PORT", 1..=u16::MAX, 5432)?;
    let database = reader.text("DB_NAME")?;
    let user = reader.text("DB_USER")?;
    let password = reader.secret("DB_PASS")?;
    let Some(host) = host else {
        let set = [
            ("DB_PORT", is_port_set),
            ("DB_NAME", database.is_some()),
            ("DB_USER", user.is_some()),
            ("DB_PASS", password.is_some()),
        ];
        for (name, _) in set.iter().filter(|(_, is_set)| *is_set) {
            reader
                .warnings
                .push(format!("{name} does nothing without DB_HOST: the structure is not kept in PostgreSQL"));
        }
        return Ok(Structure::Embedded);
    };
    if !is_host(&host) {
        // Somebody put a whole connection string there, and that may hold a password.
        let allowed = "a host's name, an IP address or the absolute path of a socket's folder; the port goes into \
                       DB_PORT, the rest into DB_NAME, DB_USER and DB_PASS";
        let refused = ConfigError::value("DB_HOST", &host, allowed);
        let masked = ConfigError::Value { name: "DB_HOST".into(), value: MASK.into(), allowed: allowed.into() };
        return Err(if host.contains(['@', '=']) { masked } else { refused });
    }
    let missing =
        |name| ConfigError::Missing { name, instruction: "set it, because DB_HOST is set and it has no default" };
    let database = database.ok_or(missing("DB_NAME"))?;
    let user = user.ok_or(missing("DB_USER"))?;
    Ok(Structure::Postgres(PostgresSettings { host, port, database, user, password }))
}

fn is_host(text: &str) -> bool {
    let is_name = || text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    text.starts_with('/') || text.parse::<IpAddr>().is_ok() || is_name()
}

fn messages(reader: &mut Reader<'_>, uri: Option<Secret>) -> Result<Messages, ConfigError> {
    let Some(uri) = uri else { return Ok(Messages::Embedded) };
    let ConnectionString { host_info, default_database, .. } =
        ConnectionString::parse(uri.reveal()).map_err(|_| refusal(uri.reveal()))?;
    let hosts = match host_info {
        HostInfo::HostIdentifiers(hosts) => hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        HostInfo::DnsRecord(name) => name,
        _ => "(a host of a new kind)".to_owned(),
    };
    let database = default_database.unwrap_or_else(|| {
        let default = NODE_DEFAULT_DATABASE;
        reader.warnings.push(format!("MONGO_URI names no database: `{default}` is used, as Node's driver does"));
        default.to_owned()
    });
    Ok(Messages::Mongo(MongoSettings { uri, hosts, database }))
}

/// Why a connection string is refused. The driver's own complaint quotes what it stumbled over, which may be a part of
/// the password, so it is not shown.
fn refusal(uri: &str) -> ConfigError {
    let culprit =
        refused_option(uri).map_or_else(String::new, |name| format!("; the driver refuses its option {name}"));
    ConfigError::Value {
        name: "MONGO_URI".into(),
        value: MASK.into(),
        allowed: format!(
            "a connection string like mongodb://user:password@host:27017/database?replicaSet=rs0 or mongodb+srv://…, \
             percent-encoded where user or password have special characters{culprit}"
        ),
    }
}

/// The name of the first option with which a good connection string becomes a bad one.
fn refused_option(uri: &str) -> Option<&str> {
    let is_good = |end: usize| uri.get(..end).is_some_and(|start| ConnectionString::parse(start).is_ok());
    let (base, options) = uri.split_once('?')?;
    // An `@` here means that the `?` is a part of the password.
    if options.contains('@') || !is_good(base.len()) {
        return None;
    }
    let mut start = base.len() + 1;
    for option in options.split('&') {
        if !is_good(start + option.len()) {
            let name = option.split('=').next()?;
            return name.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(name);
        }
        start += option.len() + 1;
    }
    None
}
