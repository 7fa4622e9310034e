//! The client's scripts that the server gives out: `CLIENT_BUNDLE_DIR`.
//!
//! Owns the closed list of names and their reading, once, at the start. No path that a request brings reaches the file
//! system.

use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

/// What the npm packages `socket.io-client` (in `dist`) and `socket.io` (in `client-dist`) hold for browsers.
const NAMES: [&str; 8] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

/// The most bytes in one of them; the largest, a source map, has 300 KB.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// The scripts of one folder, in memory.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientBundle(Vec<(&'static str, Arc<[u8]>)>);

impl ClientBundle {
    /// Reads what there is of the scripts and their source maps.
    ///
    /// # Errors
    /// What is wrong with the folder, for a sentence that begins with its name: it cannot be read, holds no script, or one
    /// that is too large.
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        if let Err(error) = std::fs::read_dir(folder) {
            return Err(format!("cannot be read: {error}"));
        }
        let mut files = Vec::new();
        for name in NAMES {
            match read(&folder.join(name)) {
                Ok(bytes) => files.push((name, bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("holds {name}, which cannot be read: {error}")),
            }
        }
        if !files.iter().any(|(name, _)| !name.ends_with(".map")) {
            return Err(
                "holds no socket.io script; it must be the folder `dist` of the npm package socket.io-client".into()
            );
        }
        Ok(Self(files))
    }

    /// The names and contents.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &Arc<[u8]>)> {
        self.0.iter().map(|(name, bytes)| (*name, bytes))
    }
}

fn read(path: &Path) -> io::Result<Arc<[u8]>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(io::Error::other("it is longer than 4 MB"));
    }
    Ok(bytes.into())
}

impl fmt::Debug for ClientBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.files().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_names_are_read_and_something_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
        let missing = ClientBundle::read(&folder.path().join("missing")).unwrap_err();
        assert!(missing.starts_with("cannot be read: "), "{missing}");
        write("index.js", b"x");
        write("socket.io.js.map", b"{}");
        let none = ClientBundle::read(folder.path()).unwrap_err();
        assert!(none.starts_with("holds no socket.io script; it must be"), "{none}");
        write("socket.io.esm.min.js", b"export {}");
        let bundle = ClientBundle::read(folder.path()).unwrap();
        let files: Vec<_> = bundle.files().map(|(name, bytes)| (name, bytes.to_vec())).collect();
        assert_eq!(files, [("socket.io.js.map", b"{}".to_vec()), ("socket.io.esm.min.js", b"export {}".to_vec())]);
        assert_eq!(format!("{bundle:?}"), r#"["socket.io.js.map", "socket.io.esm.min.js"]"#, "not the contents");

        std::fs::create_dir(folder.path().join("socket.io.js")).unwrap();
        let unreadable = ClientBundle::read(folder.path()).unwrap_err();
        assert!(unreadable.starts_with("holds socket.io.js, which cannot be read: "), "{unreadable}");
        std::fs::remove_dir(folder.path().join("socket.io.js")).unwrap();
        write("socket.io.js", &vec![b'x'; 4 * 1024 * 1024 + 1]);
        let large = ClientBundle::read(folder.path()).unwrap_err();
        assert!(large.ends_with("it is longer than 4 MB"), "{large}");
    }
}
