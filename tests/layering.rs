//! The house keeps its order: modules use each other in one direction, and the pure ones stay pure.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom. `chat` uses of `auth` only what a token says or why it is none, `store` of `chat` only the vocabulary.
const MAY_USE: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("engineio", &["ids"]),
    ("socketio", &["ids"]),
    ("auth", &["ids"]),
    ("chat", &["ids", "socketio", "auth::Claims", "auth::AuthError", "auth::revocations"]),
    ("store", &["ids", "auth::revocations", "chat::effect", "chat::event"]),
    ("config", &["ids", "auth"]),
    ("logging", &["config"]),
    ("load", &["ids", "auth"]),
    ("server", &["ids", "engineio", "socketio", "auth", "chat", "store", "config"]),
];

/// Modules that a test drives with arguments alone.
const PURE: &[&str] = &["ids", "engineio", "socketio", "auth", "chat"];

/// What a pure module must not name: runtimes, I/O, locks, clocks, randomness.
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "rusqlite",
    "dashmap",
    "getrandom",
    "std::net",
    "std::fs",
    "std::thread",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::atomic",
    "Mutex<",
    "RwLock<",
    "Instant::now",
    "SystemTime::now",
    "thread_rng",
];

/// Lines of a file that are too many for one idea.
const MOST_LINES: usize = 450;

/// A source file: its module's name, its path, its code without comments and tests.
struct Source {
    module: String,
    path: PathBuf,
    code: String,
    lines: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let relative = path.strip_prefix(&root).unwrap();
                let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
                let module = first.trim_end_matches(".rs").to_owned();
                let code = text.split("#[cfg(test)]").next().unwrap();
                let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>();
                sources.push(Source { module, path, code: code.join("\n"), lines: text.lines().count() });
            }
        }
    }
    assert!(sources.len() > 40, "the sources were not found");
    sources
}

/// Every path after `crate::` in the code, with groups `{a, b}` written out.
fn crate_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, marker) in code.match_indices("crate::") {
        let rest = &code[at + marker.len()..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        let path = rest[..end].trim_end_matches(':');
        match rest[end..].strip_prefix('{').and_then(|group| group.split_once('}')) {
            Some((group, _)) => paths.extend(group.split(',').map(|item| format!("{path}::{}", item.trim()))),
            None => paths.push(path.to_owned()),
        }
    }
    paths
}

#[test]
fn modules_use_each_other_in_one_direction() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some((_, allowed)) = MAY_USE.iter().find(|(module, _)| *module == source.module) else { continue };
        for path in crate_paths(&source.code) {
            let own = path.split("::").next() == Some(source.module.as_str());
            let fine = allowed.iter().any(|prefix| path == *prefix || path.starts_with(&format!("{prefix}::")));
            if !own && !fine {
                wrong.push(format!("{}: crate::{path}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_has_its_place_in_the_order() {
    for source in sources() {
        let known = MAY_USE.iter().any(|(module, _)| *module == source.module);
        assert!(known || ["lib", "main", "cli"].contains(&source.module.as_str()), "{}", source.path.display());
    }
}

#[test]
fn pure_modules_name_no_runtime_no_lock_and_no_clock() {
    for source in sources().iter().filter(|source| PURE.contains(&source.module.as_str())) {
        for word in IMPURE {
            assert!(!source.code.contains(word), "{} names {word}", source.path.display());
        }
    }
}

#[test]
fn a_file_is_one_idea() {
    for source in sources() {
        assert!(source.lines <= MOST_LINES, "{} has {} lines", source.path.display(), source.lines);
    }
}

#[test]
fn the_paths_of_a_use_line_are_all_seen() {
    let code = "use crate::a::b;\nuse crate::c::{d, e::f};\nlet x = crate::g::h(crate::i);";
    assert_eq!(crate_paths(code), ["a::b", "c::d", "c::e::f", "g::h", "i"]);
}
