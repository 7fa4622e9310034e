//! The program as an operator meets it: arguments, environment and `.env` in; text and exit code out.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alt_ws::auth::{self, Keys};
use tempfile::TempDir;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Runs the program in `folder` with these variables and no others.
fn alt_ws(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_alt-ws"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: status.code(), out: text(stdout), err: text(stderr) }
}

impl Run {
    /// The program refused its configuration with one sentence, and did nothing.
    #[track_caller]
    fn refused(&self, words: &str) {
        assert_eq!((self.code, self.out.as_str()), (Some(2), ""), "{}", self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        assert!(self.err.starts_with("alt-ws: ") && self.err.contains(words), "{}", self.err);
    }

    #[track_caller]
    fn succeeded(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}", self.err);
        &self.out
    }

    /// The value and the source that `check-config` prints for a variable.
    #[track_caller]
    fn setting(&self, name: &str) -> (String, String) {
        let line = self.succeeded().lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
        let mut parts = line.split("  ").map(str::trim).filter(|part| !part.is_empty()).skip(1).map(str::to_owned);
        (parts.next().unwrap(), parts.next().unwrap())
    }
}

fn pair(value: &str, source: &str) -> (String, String) {
    (value.to_owned(), source.to_owned())
}

#[test]
fn check_config_shows_each_value_and_its_source_and_masks_secrets() {
    let folder = folder();
    let database = "DB_HOST=db\nDB_NAME=alt\nDB_USER=ada\nDB_PASS='hunter$2'\n";
    std::fs::write(folder.path().join(".env"), format!("JWT_SECRET={SECRET}\nWS_PORT=4000\n{database}")).unwrap();
    let run = alt_ws(folder.path(), &[("WS_PORT", "5000"), ("LOG_LEVEL", "")], &["check-config"]);
    assert_eq!(run.setting("WS_PORT"), pair("5000", "environment"), "the environment wins");
    assert_eq!(run.setting("JWT_SECRET"), pair("********", ".env"));
    assert_eq!(run.setting("DB_PASS"), pair("********", ".env"));
    assert_eq!(run.setting("NODE_ENV"), pair("production", "default"));
    assert_eq!(run.setting("LOG_LEVEL"), pair("info", "default"), "an empty variable is an unset one");
    assert_eq!(run.setting("CORS_ORIGIN"), pair("same origin only", "default"));
    assert!(!run.out.contains(SECRET) && !run.out.contains("hunter") && run.err.is_empty(), "{}{}", run.out, run.err);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "it only looks");
}

#[test]
fn check_config_warns_of_a_short_secret_without_showing_it() {
    let run = alt_ws(folder().path(), &[("JWT_SECRET", "p4ssphrase of mine")], &["check-config"]);
    run.succeeded();
    assert!(run.err.starts_with("alt-ws: warning: JWT_SECRET is shorter than the 32 bytes"), "{}", run.err);
    assert!(!run.out.contains("p4ss") && !run.err.contains("p4ss"));
}

#[test]
fn an_unknown_value_stops_every_start_with_one_sentence() {
    for arguments in [&[][..], &["serve"], &["check-config"]] {
        let run = alt_ws(folder().path(), &[("JWT_SECRET", SECRET), ("LOG_LEVEL", "loud")], arguments);
        run.refused("LOG_LEVEL is \"loud\"; it must be one of error, warn, info, debug");
    }
}

#[test]
fn production_does_not_start_without_a_secret_or_with_everybodys() {
    for environment in [&[][..], &[("NODE_ENV", "production")], &[("NODE_ENV", "test")]] {
        alt_ws(folder().path(), environment, &[]).refused("JWT_SECRET is not set; set it to");
        let everybodys = [environment, &[("JWT_SECRET", "your-secret-key")]].concat();
        alt_ws(folder().path(), &everybodys, &["serve"]).refused("JWT_SECRET is ********; it must be");
    }
}

#[test]
fn the_example_of_a_dotenv_file_is_read_and_names_every_variable() {
    let folder = folder();
    let example = include_str!("../.env.example");
    std::fs::write(folder.path().join(".env"), example).unwrap();
    let run = alt_ws(folder.path(), &[("NODE_ENV", "development")], &["check-config"]);
    for line in run.succeeded().lines() {
        let name = line.split_whitespace().next().unwrap();
        assert!(example.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{name}="))), "{name}");
    }
    // With every line that gives a default made active, nothing changes but the environment.
    let active: String = example
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| is_setting(rest)).unwrap_or(line))
        .filter(|line| !line.contains("_FILE="))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(folder.path().join(".env"), active).unwrap();
    let variables = [("JWT_SECRET", SECRET)];
    let explicit = alt_ws(folder.path(), &variables, &["check-config"]);
    let default = alt_ws(tempfile::tempdir().unwrap().path(), &variables, &["check-config"]);
    for line in default.succeeded().lines() {
        let name = line.split_whitespace().next().unwrap();
        assert_eq!(explicit.setting(name).0, default.setting(name).0, "{name}");
    }
}

fn is_setting(line: &str) -> bool {
    line.split_once('=').is_some_and(|(name, _)| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
}

#[test]
fn a_malformed_dotenv_line_is_named_and_not_shown() {
    let folder = folder();
    std::fs::write(folder.path().join(".env"), "WS_PORT=1\nJWT_SECRET=two words\n").unwrap();
    let run = alt_ws(folder.path(), &[], &["check-config"]);
    run.refused("\".env\" is malformed in line 2");
    assert!(!run.err.contains("two words"));
}

#[test]
fn a_secret_comes_from_a_file_or_from_the_variable_not_from_both() {
    let folder = folder();
    std::fs::write(folder.path().join("jwt"), format!("{SECRET}\n")).unwrap();
    let run = alt_ws(folder.path(), &[("JWT_SECRET_FILE", "jwt")], &["check-config"]);
    assert_eq!(run.setting("JWT_SECRET"), pair("********", "file jwt"));
    let both = [("JWT_SECRET_FILE", "jwt"), ("JWT_SECRET", SECRET)];
    alt_ws(folder.path(), &both, &["check-config"]).refused("JWT_SECRET and JWT_SECRET_FILE are both set");
    alt_ws(folder.path(), &[("JWT_SECRET_FILE", "none")], &[]).refused("JWT_SECRET_FILE names the file \"none\"");
}

#[test]
fn databases_are_shown_without_their_passwords() {
    let variables = [
        ("JWT_SECRET", SECRET),
        ("MONGO_URI", "mongodb://ada:hunter2@db/?authSource=admin"),
        ("DB_HOST", "db"),
        ("DB_NAME", "alt"),
        ("DB_USER", "ada"),
        ("DB_PASS", "hunter2"),
    ];
    let run = alt_ws(folder().path(), &variables, &["check-config"]);
    assert_eq!(run.setting("MONGO_URI"), pair("********", "environment"));
    assert_eq!(run.setting("DB_HOST"), pair("db", "environment"));
    assert_eq!(run.setting("DB_PORT"), pair("5432", "default"));
    assert_eq!(run.setting("DATA_DIR"), pair("./data (not used)", "default"));
    assert_eq!(run.err, "alt-ws: warning: MONGO_URI names no database: `test` is used, as Node's driver does\n");
    assert!(!run.out.contains("hunter2"), "{}", run.out);
}

#[test]
fn a_database_that_cannot_be_meant_stops_the_start() {
    let secret = ("JWT_SECRET", SECRET);
    for (variables, words) in [
        (&[("MONGO_URI", "mongo://u:hunter2@db")][..], "MONGO_URI is ********; it must be a connection string"),
        (&[("DB_HOST", "postgres://u:hunter2@db")], "DB_HOST is ********; it must be a host's name"),
        (&[("DB_HOST", "db"), ("DB_USER", "ada")], "DB_NAME is not set"),
        (&[("DB_HOST", "db"), ("STORE", "memory")], "STORE=memory and DB_HOST are both set"),
        (&[("MONGO_URI", "mongodb://db"), ("STORE", "memory")], "STORE=memory and MONGO_URI are both set"),
    ] {
        let run = alt_ws(folder().path(), &[variables, &[secret]].concat(), &[]);
        run.refused(words);
        assert!(!run.err.contains("hunter2"));
    }
}

fn verify(token: &str, secret: &str) -> Result<auth::Claims, auth::AuthError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    auth::verify(token, &Keys::from_secret(secret).unwrap().with_required_exp(true), now)
}

#[test]
fn token_prints_a_token_and_nothing_else() {
    let folder = folder();
    std::fs::write(folder.path().join(".env"), format!("JWT_SECRET='{SECRET}'")).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for (arguments, text, numeric, ttl) in [
        (&["--user", "42", "--name", "Ada"][..], "42", true, 3600),
        (&["--user", "42", "--name", "Ada", "--text-id"], "42", false, 3600),
        (&["--user", "007", "--name", "Ada", "--ttl", "1day"], "007", false, 86_400),
        (&["--user=-7", "--name", "Ada", "--ttl", "90s"], "-7", true, 90),
    ] {
        let run = alt_ws(folder.path(), &[], &[&["token"], arguments].concat());
        let token = run.succeeded().strip_suffix('\n').unwrap();
        assert!(run.err.is_empty() && !token.contains(char::is_whitespace));
        let claims = verify(token, SECRET).unwrap();
        assert_eq!((claims.user.as_str(), claims.user.is_numeric(), &*claims.username), (text, numeric, "Ada"));
        let left = Duration::from_secs(claims.expires_at.unwrap() - now).as_secs();
        assert!((ttl..ttl + 60).contains(&left), "{left}");
        assert!(verify(token, OTHER).is_err());
    }
}

#[test]
fn the_environments_secret_signs_before_the_one_in_dotenv() {
    let folder = folder();
    std::fs::write(folder.path().join(".env"), format!("JWT_SECRET={SECRET}\n")).unwrap();
    let arguments = ["token", "--user", "ada", "--name", "Ada"];
    let run = alt_ws(folder.path(), &[("JWT_SECRET", OTHER)], &arguments);
    assert!(verify(run.succeeded().trim(), OTHER).is_ok());
    // dotenvy alone would read `$` as the start of a variable's name.
    std::fs::write(folder.path().join(".env"), "JWT_SECRET=pa$$word-with-$HOME-in-it-0123456789\n").unwrap();
    let run = alt_ws(folder.path(), &[("HOME", "/root")], &arguments);
    assert!(verify(run.succeeded().trim(), "pa$$word-with-$HOME-in-it-0123456789").is_ok());
}

#[test]
fn no_token_is_made_of_nothing() {
    let good = ["token", "--user", "ada", "--name", "Ada"];
    alt_ws(folder().path(), &[], &good).refused("JWT_SECRET is not set");
    alt_ws(folder().path(), &[("NODE_ENV", "development")], &good).refused("JWT_SECRET is not set");
    alt_ws(folder().path(), &[("JWT_SECRET", "secret")], &good).refused("JWT_SECRET is ********");
    alt_ws(folder().path(), &[("JWT_PUBLIC_KEY", "key.pem")], &good).refused("JWT_PUBLIC_KEY");
    let secret = [("JWT_SECRET", SECRET)];
    alt_ws(folder().path(), &secret, &["token", "--user", "", "--name", "Ada"]).refused("--user: an id is");
    alt_ws(folder().path(), &secret, &["token", "--user", "a", "--name", "A\nB"]).refused("no token can be made");
}

#[test]
fn a_wrong_command_line_is_explained_with_exit_code_2() {
    for arguments in [
        &["fly"][..],
        &["token"],
        &["token", "--user", "a", "--name", "b", "--ttl", "soon"],
        &["members"],
        &["members", "add", "general"],
        &["members", "add", "general", "\u{1b}"],
    ] {
        let run = alt_ws(folder().path(), &[("JWT_SECRET", SECRET)], arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}");
        assert!(run.out.is_empty() && !run.err.is_empty());
    }
    assert!(alt_ws(folder().path(), &[], &["--help"]).succeeded().contains("check-config"));
    assert!(alt_ws(folder().path(), &[], &["--version"]).succeeded().starts_with("alt-ws "));
}

#[test]
fn health_says_how_a_server_is_and_that_there_is_none() {
    let folder = folder();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port().to_string();
    let variables = [("JWT_SECRET", SECRET), ("STORE", "memory"), ("WS_PORT", &port)];
    // The port is enough: whoever asks needs no secret.
    let health = |arguments: &[&str]| {
        let run = alt_ws(folder.path(), &[("WS_PORT", &port)], &[&["health"], arguments].concat());
        (run.code, run.out, run.err)
    };
    let (code, out, err) = health(&[]);
    assert_eq!((code, &*out, err.lines().count()), (Some(1), "", 1));
    assert!(err.starts_with(&format!("alt-ws: http://127.0.0.1:{port}/readyz does not answer: ")), "{err}");

    let mut server = Command::new(env!("CARGO_BIN_EXE_alt-ws"))
        .env_clear()
        .envs(variables)
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let late = Instant::now() + Duration::from_secs(10);
    while health(&[]).0 != Some(0) && Instant::now() < late {
        std::thread::sleep(Duration::from_millis(20));
    }
    let (ready, live) = (health(&[]), health(&["--live"]));
    server.kill().unwrap();
    server.wait().unwrap();
    let well = |how: &str| (Some(0), format!("the server at http://127.0.0.1:{port} is {how}\n"), String::new());
    assert_eq!((ready, live), (well("ready"), well("alive")));
    assert_eq!(health(&["--live"]).0, Some(1));
    alt_ws(folder.path(), &[("WS_PORT", "0")], &["health"]).refused("WS_PORT is 0");
}

#[test]
fn health_is_not_taken_in_by_what_else_may_listen_and_does_not_wait_for_it() {
    for (answer, words) in [
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"reason\":\"store\"}", "503 Service Unavailable"),
        ("SSH-2.0 200 \u{1b}[2J\r\n", "answers SSH-2.0 200 \\u{1b}[2J"),
        ("", "answers "),
        ("HTTP/1.1 200 OK\r\n\r\nand never an end", "does not answer: not within 2 s"),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            if answer.contains("never") {
                std::thread::sleep(Duration::from_secs(4));
            }
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let start = Instant::now();
        let run = alt_ws(folder().path(), &[("WS_PORT", &port)], &["health"]);
        assert!(start.elapsed() < Duration::from_secs(4));
        assert_eq!((run.code, &*run.out, run.err.lines().count()), (Some(1), "", 1), "{}", run.err);
        assert!(run.err.contains(words) && !run.err.contains('\u{1b}'), "{}", run.err);
        assert!(peer.join().unwrap().starts_with("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:"));
    }
}

#[test]
fn members_come_and_go() {
    let folder = folder();
    // The stores' settings are enough: whoever mends a store needs no secret.
    let members =
        |arguments: &[&str]| alt_ws(folder.path(), &[("DATA_DIR", "kept")], &[&["members"], arguments].concat());
    let list = || {
        let run = members(&["list", "general"]);
        let mut users: Vec<_> = run.succeeded().lines().map(str::to_owned).collect();
        users.sort();
        users.join(" ")
    };
    let run = members(&["list", "general"]);
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
    assert!(run.err.contains("alt.db"), "{}", run.err);
    assert!(!folder.path().join("kept").exists(), "asking creates nothing");

    assert_eq!(members(&["add", "general", "42", "ada"]).succeeded(), "added 42\nadded ada\n");
    assert!(folder.path().join("kept/alt.db").exists());
    assert_eq!(members(&["add", "general", "42", "bob"]).succeeded(), "was a member already: 42\nadded bob\n");
    assert_eq!(list(), "42 ada bob");
    assert_eq!(members(&["add", "5", "eve"]).succeeded(), "added eve\n");
    assert_eq!(members(&["remove", "general", "ada", "eve"]).succeeded(), "removed ada\nwas no member: eve\n");
    assert_eq!(list(), "42 bob");
    assert_eq!(members(&["list", "5"]).succeeded(), "eve\n");
    let nobody = members(&["list", "nowhere"]);
    assert_eq!((nobody.succeeded(), nobody.err.as_str()), ("", "alt-ws: there is no such conversation\n"));
}

#[test]
fn members_of_a_store_in_memory_cannot_be_changed_from_outside() {
    let run = alt_ws(folder().path(), &[("STORE", "memory")], &["members", "list", "general"]);
    run.refused("STORE is \"memory\"; it must be auto");
}

#[test]
fn j8_revocations_come_and_go() {
    let folder = folder();
    let revoke =
        |arguments: &[&str]| alt_ws(folder.path(), &[("DATA_DIR", "kept")], &[&["revoke"], arguments].concat());
    let run = revoke(&["--user", "ada"]);
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
    assert!(run.err.contains("alt.db yet; is DATA_DIR right?"), "{}", run.err);
    assert!(!folder.path().join("kept").exists(), "no list is made in the wrong place");

    alt_ws(folder.path(), &[("DATA_DIR", "kept")], &["members", "add", "general", "ada"]).succeeded();
    let run = revoke(&["--list"]);
    assert_eq!((run.succeeded(), run.err.as_str()), ("", "alt-ws: nothing is revoked\n"));
    assert!(revoke(&["--user", "42"]).succeeded().starts_with("revoked user 42 since 20"));
    assert!(revoke(&["--jti", "t1", "--for", "24h"]).succeeded().starts_with("revoked jti t1 since 20"));
    assert!(revoke(&["--jti", "t2", "--until", "2999-01-01T00:00:00Z"]).succeeded().starts_with("revoked jti t2"));
    let run = revoke(&["--list"]);
    let lines: Vec<_> = run.succeeded().lines().collect();
    assert_eq!(lines.len(), 3, "{}", run.out);
    assert!(lines[0].starts_with("jti   t2  since 20") && lines[0].ends_with("  until 2999-01-01T00:00:00.000Z"));
    assert!(lines[1].starts_with("jti   t1  since 20") && lines[1].contains("  until 20"));
    assert!(lines[2].starts_with("user  42  since 20") && lines[2].ends_with("  for ever"));
    assert_eq!(revoke(&["--user", "42", "--undo"]).succeeded(), "believed again: user 42\n");
    assert_eq!(revoke(&["--user", "42", "--undo"]).succeeded(), "was not revoked: user 42\n");
    assert_eq!(revoke(&["--list"]).succeeded().lines().count(), 2);

    for wrong in [
        &[][..],
        &["--user", "a", "--jti", "b"],
        &["--list", "--user", "a"],
        &["--list", "--undo"],
        &["--user", "a", "--for", "1h", "--until", "2999-01-01T00:00:00Z"],
        &["--user", "a", "--undo", "--for", "1h"],
        &["--user", ""],
        &["--jti", "a\nb"],
        &["--user", "a", "--for", "soon"],
        &["--user", "a", "--until", "2001-01-01T00:00:00Z"],
        &["--user", "a", "--for", "0s"],
    ] {
        let run = revoke(wrong);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{wrong:?} {}", run.err);
    }
    assert_eq!(revoke(&["--list"]).succeeded().lines().count(), 2, "what was wrong did nothing");
    let run = alt_ws(folder.path(), &[("STORE", "memory")], &["revoke", "--user", "ada"]);
    run.refused("STORE is \"memory\"; it must be auto");
}
