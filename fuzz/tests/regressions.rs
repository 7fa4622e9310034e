//! What was once found, and every seed, by the targets' own functions, with stable Rust.

use std::fs;
use std::path::{Path, PathBuf};

use alt_ws_fuzz::TARGETS;

fn names(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).map(|entries| entries.map(|entry| entry.unwrap().path()).collect()).unwrap_or_default()
}

/// Says which file it was when a target panics.
struct Named<'a>(&'a Path);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with the input {}", self.0.display());
        }
    }
}

#[test]
fn every_target_is_replayed() {
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus-seeds"), targets, "each target has seeds, and no others have");
}

#[test]
fn what_was_found_is_not_found_again() {
    let regressions = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for folder in files(&regressions).iter().filter(|path| path.is_dir()) {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let (_, check) = TARGETS.iter().find(|(target, _)| *target == name).expect("a folder is named as its target");
        for path in files(folder) {
            let _named = Named(&path);
            check(&fs::read(&path).unwrap());
        }
    }
}

#[test]
fn every_seed_passes() {
    for (name, check) in TARGETS {
        let seeds = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus-seeds").join(name));
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for path in seeds {
            let _named = Named(&path);
            check(&fs::read(&path).unwrap());
        }
    }
}
