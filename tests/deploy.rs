//! What is deployed agrees with what is built: the image, the services beside it, and the settings they are given.
//!
//! Reads the files as lines of text: they are ours, and written so.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The instructions of the Dockerfile, each in one line, comments left out.
fn instructions() -> Vec<String> {
    let text = read("Dockerfile");
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    joined.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|l| !l.is_empty()).collect()
}

fn of<'a>(instructions: &'a [String], name: &str) -> Vec<&'a str> {
    instructions.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).collect()
}

/// The variables that `.env.example` documents, the `_FILE` forms among them.
fn variables() -> BTreeSet<String> {
    let may_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let is_name = |name: &str| name.bytes().all(may_name);
    let example = read(".env.example");
    let names = example.lines().filter_map(|line| line.trim_start_matches('#').split_once('=').map(|(name, _)| name));
    names.filter(|name| is_name(name)).map(str::to_owned).collect()
}

/// The default that `.env.example` gives.
fn default(name: &str) -> String {
    let example = read(".env.example");
    let line = example.lines().find_map(|line| line.strip_prefix(&format!("#{name}=")));
    line.unwrap().to_owned()
}

/// The lines of a service of `compose.yaml`, or of a block in one, without their indentation.
fn block(text: &str, name: &str) -> String {
    let mut lines = text.lines().skip_while(|line| line.trim() != format!("{name}:"));
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let depth = indentation(lines.next().unwrap());
    let inside = lines.take_while(|line| line.trim().is_empty() || indentation(line) > depth);
    inside.map(|line| format!("{}\n", line.get(depth + 2..).unwrap_or_default())).collect()
}

#[test]
fn what_the_image_copies_is_there_and_let_through() {
    let ignore = read(".dockerignore");
    let let_through: Vec<_> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(ignore.lines().any(|line| line == "*"), "everything else is left out");
    let mut copied = Vec::new();
    for arguments in of(&instructions(), "COPY") {
        let words: Vec<_> = arguments.split(' ').filter(|word| !word.starts_with("--")).map(str::to_owned).collect();
        if !arguments.contains("--from=") {
            copied.extend_from_slice(&words[..words.len() - 1]);
        }
    }
    assert!(copied.len() > 3, "{copied:?}");
    for source in &copied {
        assert!(path(source).exists() && let_through.contains(&source.as_str()), "{source}");
    }
    assert_eq!(let_through.len(), copied.len(), "what is let through is copied");
    // The manifest names these besides what is copied.
    let run = instructions().join("\n");
    let manifest = read("Cargo.toml");
    let benches: Vec<_> =
        manifest.split("\n[[bench]]\nname = \"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(benches.len(), manifest.matches("\n[[bench]]").count());
    for bench in benches {
        assert!(run.contains(&format!("benches/{bench}.rs")), "{bench}");
    }
}

#[test]
fn the_image_is_built_as_the_repository_is() {
    let instructions = instructions();
    let toolchain = read("rust-toolchain.toml");
    let version = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
    let from = of(&instructions, "FROM");
    let release = from[0].strip_prefix(&format!("rust:{version}-")).expect(version).strip_suffix(" AS build").unwrap();
    assert_eq!(from[1], format!("debian:{release}-slim"), "one C library for both");
    let runs = of(&instructions, "RUN").join(" && ");
    let builds: Vec<_> = runs.split("&&").map(str::trim).filter(|command| command.starts_with("cargo ")).collect();
    assert_eq!(builds, ["cargo build --locked --release --bin alt-ws"; 2]);
}

#[test]
fn the_image_runs_as_nobody_and_asks_the_program_how_it_is() {
    let instructions = instructions();
    let user = of(&instructions, "USER")[0];
    assert!(user.split(':').all(|id| id.parse::<u32>().unwrap() > 0));
    assert!(of(&instructions, "COPY").iter().any(|copy| copy.contains(&format!("--chown={user} /data /data"))));
    assert_eq!(of(&instructions, "VOLUME"), ["/data"]);
    assert_eq!(of(&instructions, "ENV"), ["DATA_DIR=/data WS_HOST=0.0.0.0"]);
    assert_eq!(of(&instructions, "EXPOSE"), [default("WS_PORT")]);
    assert_eq!(of(&instructions, "STOPSIGNAL"), ["SIGTERM"]);
    assert!(of(&instructions, "HEALTHCHECK")[0].ends_with("CMD [\"alt-ws\", \"health\", \"--live\"]"));
    assert_eq!(of(&instructions, "ENTRYPOINT"), ["[\"alt-ws\"]"]);
}

#[test]
fn the_services_are_given_variables_that_the_server_knows() {
    let (compose, known) = (read("compose.yaml"), variables());
    let code: Vec<_> = compose.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let code = code.join("\n");
    for (at, _) in code.match_indices("${") {
        let name = code[at + 2..].split([':', '}']).next().unwrap();
        assert!(known.contains(name), "{name}");
    }
    let given = block(&block(&code, "alt-ws"), "environment");
    assert!(given.lines().count() > 5, "{given}");
    for line in given.lines() {
        assert!(known.contains(line.split(':').next().unwrap()), "{line}");
    }
    assert!(known.iter().all(|name| !name.is_empty()) && known.contains("JWT_SECRET_FILE"), "{known:?}");
}

#[test]
fn the_program_is_content_with_what_it_is_given() {
    let given = block(&block(&read("compose.yaml"), "alt-ws"), "environment");
    let variables = given.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        let value = value.trim_matches('"');
        let value = match value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
            None => value,
            Some(rest) if rest.contains(":?") => "0123456789abcdef0123456789abcdef",
            Some(rest) => rest.split_once(":-").unwrap().1,
        };
        (name, value)
    });
    let folder = tempfile::tempdir().unwrap();
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_alt-ws"));
    let output = program.arg("check-config").env_clear().envs(variables).current_dir(folder.path()).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""));
    assert!(out.lines().any(|line| line.starts_with("DATA_DIR ") && line.contains("(not used)")), "{out}");
}

#[test]
fn no_secret_is_written_into_the_services() {
    let compose = read("compose.yaml");
    let secrets = ["JWT_SECRET:", "DB_PASS:", "POSTGRES_PASSWORD:"];
    let lines: Vec<_> =
        compose.lines().map(str::trim).filter(|line| secrets.iter().any(|s| line.starts_with(s))).collect();
    assert_eq!(lines.len(), secrets.len());
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let variable = if name == "POSTGRES_PASSWORD" { "DB_PASS" } else { name };
        assert!(value.starts_with(&format!("\"${{{variable}:?set it to ")), "{line}");
    }
    assert!(!block(&compose, "alt-ws").contains("://alt:"), "no password in MONGO_URI");
}

#[test]
fn the_server_starts_after_its_databases_and_is_given_time_to_stop() {
    let compose = read("compose.yaml");
    let server = block(&compose, "alt-ws");
    for database in ["postgres", "mongo"] {
        assert!(server.contains(&format!("{database}: {{ condition: service_healthy }}")));
        assert!(!block(&block(&compose, database), "healthcheck").is_empty());
    }
    let grace = server.lines().find_map(|line| line.strip_prefix("stop_grace_period: ")?.strip_suffix('s')).unwrap();
    let drain: u64 = default("DRAIN_TIMEOUT_MS").parse().unwrap();
    assert!(grace.parse::<u64>().unwrap() * 1000 > drain);
    let volumes = block(&compose, "volumes");
    for volume in ["alt-ws", "postgres", "mongo", "mongo-config"] {
        assert!(volumes.lines().any(|line| line == format!("{volume}:")), "{volume}");
    }
}
