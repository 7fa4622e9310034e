//! `alt-ws serve`: the server, and in development a greeting.

use std::net::IpAddr;
use std::time::Duration;

use alt_ws::config::{Config, Environment, Messages, Report, Stores, Structure, Variables};
use alt_ws::ids::UserId;
use alt_ws::{auth, logging, server};

use super::{CliError, print, unix_time};

/// How long the token in the greeting is good: a day of work, and no longer than the secret, which ends with the process.
const DEV_TOKEN_TTL: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn run(variables: &Variables) -> Result<(), CliError> {
    let Report { config, warnings, .. } = Report::from_variables(variables)?;
    logging::init(config.environment, config.log_level).map_err(|error| CliError::Runtime(error.to_string()))?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if config.environment == Environment::Development {
        // A server whose greeting nobody can read is a server all the same.
        let _ = print(&greeting(&config, unix_time())?);
    }
    server::run(config).map_err(|error| CliError::Runtime(format!("the server stopped: {error}")))
}

/// What somebody who tries the server out needs next. Not part of the log: it holds a token.
fn greeting(config: &Config, now: u64) -> Result<String, CliError> {
    let address = match (config.listen.port(), config.listen.ip()) {
        (0, _) => "on a free port; the log says which".to_owned(),
        (port, IpAddr::V6(ip)) if !ip.is_unspecified() && !ip.is_loopback() => format!("http://[{ip}]:{port}/"),
        (port, IpAddr::V4(ip)) if !ip.is_unspecified() && !ip.is_loopback() => format!("http://{ip}:{port}/"),
        (port, _) => format!("http://localhost:{port}/"),
    };
    let data = whereabouts(config);
    let mut text = format!("\n  alt-ws in development\n\n  open   {address}\n  data   {data}\n");
    if let Some(secret) = &config.made_up_secret {
        let token = UserId::from_text("dev")
            .map_err(|error| error.to_string())
            .and_then(|user| {
                auth::sign(&user, "Developer", secret.reveal(), now, DEV_TOKEN_TTL).map_err(|error| error.to_string())
            })
            .map_err(CliError::Runtime)?;
        text += &format!("  token  {token}\n         (user dev, for 24 hours or until the next start)\n");
    }
    text.push('\n');
    Ok(text)
}

/// Where the data goes, without credentials.
fn whereabouts(config: &Config) -> String {
    let folder = || std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    match &config.store {
        Stores::Memory => "in memory; gone when the server stops".to_owned(),
        Stores::Kept { structure: Structure::Embedded, messages: Messages::Embedded } => folder().display().to_string(),
        Stores::Kept { structure, messages } => {
            let messages = match messages {
                Messages::Embedded => folder().display().to_string(),
                Messages::Mongo(mongo) => format!("MongoDB at {mongo}"),
            };
            let structure = match structure {
                Structure::Embedded => folder().display().to_string(),
                Structure::Postgres(postgres) => format!("PostgreSQL at {postgres}"),
            };
            format!("messages in {messages}, structure in {structure}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        let all = [pairs, &[("NODE_ENV", "development")]].concat();
        let lookup = |name: &str| all.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Config::from_env(&lookup).unwrap()
    }

    #[test]
    fn the_greeting_says_where_to_go_and_its_token_is_good() {
        let config = config(&[]);
        let text = greeting(&config, 1000).unwrap();
        assert!(text.contains("http://localhost:3001/") && text.contains("/data\n"), "{text}");
        let token = text.split_whitespace().find(|word| word.starts_with("ey")).unwrap();
        let claims = auth::verify(token, &config.keys, 1000).unwrap();
        assert_eq!((claims.user.as_str(), claims.expires_at), ("dev", Some(1000 + 24 * 60 * 60)));
    }

    #[test]
    fn the_greeting_says_where_data_goes_and_tells_no_password() {
        let mongo = ("MONGO_URI", "mongodb://ada:hunter2@a,b:27018/chat?authSource=admin");
        let postgres = [("DB_HOST", "db"), ("DB_NAME", "alt"), ("DB_USER", "ada"), ("DB_PASS", "hunter2")];
        let cases = [
            (vec![mongo], &["messages in MongoDB at a:27017,b:27018/chat, structure in /", "/data\n"]),
            (postgres.to_vec(), &["messages in /", "/data, structure in PostgreSQL at db:5432/alt\n"]),
            (
                [&[mongo], postgres.as_slice()].concat(),
                &["messages in MongoDB at a:27017,b:27018/chat, ", "structure in PostgreSQL at db:5432/alt\n"],
            ),
        ];
        for (pairs, expected) in cases {
            let text = greeting(&config(&pairs), 1000).unwrap();
            assert!(expected.iter().all(|words| text.contains(words)) && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_secret_of_ones_own_makes_no_token() {
        for (pairs, expected) in [
            ([("WS_HOST", "192.0.2.1"), ("STORE", "memory")], ["http://192.0.2.1:3001/", "in memory"]),
            ([("WS_HOST", "2001:db8::1"), ("WS_PORT", "80")], ["http://[2001:db8::1]:80/", "data"]),
            ([("WS_HOST", "::"), ("WS_PORT", "0")], ["on a free port", "data"]),
        ] {
            let secret = ("JWT_SECRET", "0123456789abcdef0123456789abcdef");
            let text = greeting(&config(&[pairs.as_slice(), &[secret]].concat()), 1000).unwrap();
            assert!(expected.iter().all(|words| text.contains(words)) && !text.contains("token"), "{text}");
        }
    }
}
