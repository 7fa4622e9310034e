//! `docs/security.md` says of each hostile input what happens and which test shows it: the tests it names exist, and no row
//! of the catalogue is missing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The rows that there must be, by section: its letter, the first and the last.
const ROWS: [(char, u32, u32); 6] = [('J', 1, 10), ('H', 1, 8), ('R', 1, 7), ('A', 1, 9), ('F', 1, 7), ('C', 1, 6)];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The cells of each row of a table that is about an id.
fn rows() -> Vec<Vec<String>> {
    let page = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let is_id = |cell: &str| {
        let (letter, number) = cell.split_at_checked(1).unwrap_or_default();
        letter.bytes().all(|byte| byte.is_ascii_uppercase()) && !number.is_empty() && number.parse::<u32>().is_ok()
    };
    page.lines().filter(|line| line.starts_with('|')).map(cells).filter(|cells| is_id(&cells[0])).collect()
}

/// All files below a folder with one of these endings.
fn files(folder: PathBuf, endings: &[&str], into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        if entry.is_dir() && name != "node_modules" && !name.starts_with('.') {
            files(entry, endings, into);
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            into.push(entry);
        }
    }
}

/// The test functions of Rust, the titles and texts of Node's tests, and the names of the files of both.
struct Tests {
    functions: BTreeSet<String>,
    node: String,
    names: Vec<String>,
}

impl Tests {
    fn read() -> Self {
        let (mut rust, mut node) = (Vec::new(), Vec::new());
        for folder in ["src", "tests"] {
            files(root().join(folder), &[".rs"], &mut rust);
        }
        files(root().join("protocol-tests"), &[".mjs"], &mut node);
        let function = |line: &str| {
            let (_, name) = line.split_once("fn ")?;
            Some(name.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()?.to_owned())
        };
        let text = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
        let functions =
            rust.iter().flat_map(|path| text(path).lines().filter_map(function).collect::<Vec<_>>()).collect();
        let name = |path: &PathBuf| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let names = rust.iter().chain(&node).map(name).collect();
        Self { functions, node: node.iter().map(text).collect(), names }
    }

    /// A file, or a folder of some; a function, or with `_` at its end the beginning of one; or a title of Node's.
    fn has(&self, name: &str) -> bool {
        if name.ends_with(".mjs") || name.ends_with(".rs") || name.starts_with("src/") {
            return self.names.iter().any(|file| file.ends_with(name) || file.starts_with(&format!("{name}/")));
        }
        if name.contains(' ') {
            return self.node.contains(name.trim_end_matches(['…', ' ']));
        }
        match name.strip_suffix('_') {
            Some(_) => self.functions.iter().any(|function| function.starts_with(name)),
            None => self.functions.contains(name),
        }
    }
}

#[test]
fn every_test_that_the_page_names_exists() {
    let tests = Tests::read();
    let mut count = 0;
    for row in rows() {
        let names: Vec<_> = row.last().unwrap().split('`').skip(1).step_by(2).map(str::to_owned).collect();
        for name in &names {
            assert!(tests.has(name), "{}: there is no {name}", row[0]);
        }
        let is_excused = row[2].contains("does not apply") || row.last().unwrap() == "the same";
        assert!(!names.is_empty() || is_excused, "{} names no test and does not say that it does not apply", row[0]);
        count += names.len();
    }
    assert!(count > 20, "{count}");
    assert!(!tests.has("a_test_that_nobody_wrote") && !tests.has("A1: a title of nobody") && !tests.has("nobody.rs"));
}

#[test]
fn every_row_of_the_catalogue_is_on_the_page() {
    let there: BTreeSet<_> = rows().into_iter().map(|row| row[0].clone()).collect();
    let wanted = ROWS.into_iter().flat_map(|(letter, first, last)| (first..=last).map(move |n| format!("{letter}{n}")));
    let missing: Vec<_> = wanted.filter(|id| !there.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
