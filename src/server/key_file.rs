//! The file with the issuer's keys, read again when it changes.
//!
//! Owns when that is. Runs on a thread of its own: no core waits for a disk. What is in the file is the configuration's
//! to read, and a file that is broken leaves the keys as they were.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use super::core::Shared;
use crate::auth::Keys;
use crate::config::{ConfigError, read_key_file};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The thread that follows the file, until this is dropped.
#[derive(Debug)]
pub(super) struct Follower {
    _until: Sender<()>,
}

/// Follows a file whose keys the gate has.
pub(super) fn follow(path: PathBuf, shared: Arc<Shared>) -> io::Result<Follower> {
    let (until, dropped) = mpsc::channel();
    let mut file = KeyFile { path, ..KeyFile::default() };
    // Before anything changes it, unless that was since it was first read.
    let changed_early = file.look();
    std::thread::Builder::new().name("key-file".into()).spawn(move || {
        let mut change = changed_early;
        let mut is_first = true;
        loop {
            match change {
                Some(Ok(keys)) => {
                    if !std::mem::take(&mut is_first) {
                        tracing::info!(algorithms = keys.algorithms(), "the keys for tokens were read again");
                    }
                    shared.settings.gate.change_keys(keys);
                }
                Some(Err(error)) => tracing::error!(%error, "the keys for tokens stay as they were"),
                None => {}
            }
            if dropped.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            change = file.look();
        }
    })?;
    Ok(Follower { _until: until })
}

/// What changes when a file is written, or another takes its place.
type Looks = (u64, u64, u64, (i64, i64), (i64, i64));

#[derive(Debug, Default)]
struct KeyFile {
    path: PathBuf,
    /// How it looked when it was last read.
    seen: Option<Looks>,
    /// What was wrong with it last.
    told: Option<String>,
}

impl KeyFile {
    /// Its keys, if it changed since they were read, or what is wrong with it, if that is news. Looked at before it is
    /// read: what is written meanwhile is a change.
    fn look(&mut self) -> Option<Result<Keys, ConfigError>> {
        let looks = fs::metadata(&self.path).ok().map(|about| {
            let (written, changed) = ((about.mtime(), about.mtime_nsec()), (about.ctime(), about.ctime_nsec()));
            (about.dev(), about.ino(), about.len(), written, changed)
        });
        if looks.is_some() && looks == self.seen {
            return None;
        }
        let keys = read_key_file(&self.path);
        // What could not be read may be there the next time, looking as it does.
        self.seen = looks.filter(|_| keys.is_ok());
        let complaint = keys.as_ref().err().map(ToString::to_string);
        let is_known = complaint.is_some() && complaint == self.told;
        self.told = complaint;
        (!is_known).then_some(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"cKhqeXEgDdyKbI0GYc6yZZCEstIi0J00QILH4PxSb0Q"}]}"#;
    const OTHER: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"YSNzhqTOlcpEnFTOpunE5OKtnlgR0WenfQav_Vpmjps",
        "y":"9lPSj83SkJq9SN5qI8RR9uVYVqC16kuVCB687mmcLlo"}]}"#;

    #[test]
    fn the_file_is_read_again_when_it_changes_and_what_is_wrong_with_it_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        fs::write(&path, ONE).unwrap();
        let mut file = KeyFile { path: path.clone(), ..KeyFile::default() };
        let mut algorithms = || file.look().map(|keys| keys.map(|keys| keys.algorithms()).map_err(|e| e.to_string()));
        assert_eq!((algorithms(), algorithms()), (Some(Ok("EdDSA".into())), None));

        fs::write(&path, OTHER).unwrap();
        assert_eq!((algorithms(), algorithms()), (Some(Ok("ES256".into())), None), "written");

        let next = folder.path().join("next");
        fs::write(&next, ONE).unwrap();
        fs::rename(&next, &path).unwrap();
        assert_eq!((algorithms(), algorithms()), (Some(Ok("EdDSA".into())), None), "replaced");

        fs::write(&path, &ONE[..20]).unwrap();
        let error = algorithms().unwrap().unwrap_err();
        assert!(error.starts_with("JWT_JWKS_FILE names the file") && error.contains("JWK Set"), "{error}");
        assert_eq!(algorithms(), None, "told once");

        fs::remove_file(&path).unwrap();
        let error = algorithms().unwrap().unwrap_err();
        assert!(error.contains("cannot be read") && algorithms().is_none(), "{error}");
        fs::write(&path, ONE).unwrap();
        assert_eq!((algorithms(), algorithms()), (Some(Ok("EdDSA".into())), None), "back");
    }
}
