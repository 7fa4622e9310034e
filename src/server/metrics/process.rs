//! What the operating system says about this process, from `/proc`.
//!
//! Owns the reading of those files. Where there are none, nothing is said.

use std::fs;

/// The kernel counts a process's time in hundredths of a second in what it shows to programs (`USER_HZ`), whatever its own
/// clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a scrape wants to know.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// Bytes of memory that are in use.
    pub(super) resident: Option<u64>,
    /// Seconds of processor time so far.
    pub(super) cpu: Option<f64>,
    /// Descriptors that are open.
    pub(super) open: Option<u64>,
    /// Descriptors that may be open.
    pub(super) most: Option<u64>,
}

impl Process {
    /// Reads it. Takes as long as the kernel needs to list the descriptors: not for a core's thread.
    pub(super) fn read() -> Self {
        let file = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
        Self {
            resident: file("status").as_deref().and_then(resident),
            cpu: file("stat").as_deref().and_then(cpu),
            open: fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64),
            most: file("limits").as_deref().and_then(most),
        }
    }
}

/// `VmRSS:     5120 kB`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The fields 14 and 15, `utime` and `stime`. The second, a name in brackets, may hold blanks and brackets.
fn cpu(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let [user, system] = [fields.next()?, fields.next()?].map(|field| field.parse::<u32>().ok());
    Some((f64::from(user?) + f64::from(system?)) / TICKS_PER_SECOND)
}

/// `Max open files            1024                 1048576              files`, of which the first counts.
fn most(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read_as_it_writes_them() {
        assert_eq!(resident("Name:\tx\nVmHWM:\t    9 kB\nVmRSS:\t    5120 kB\n"), Some(5120 * 1024));
        assert_eq!(resident("Name:\tx\n"), None, "a kernel thread");
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 4 0 1000 1 1";
        assert_eq!(cpu(stat), Some(2.0));
        assert_eq!(cpu("42 (x) S"), None);
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096 files\n";
        assert_eq!(most(limits), Some(1024));
        assert_eq!(most("Max open files            unlimited            unlimited            files\n"), None);
    }

    #[test]
    fn this_process_is_one_with_memory_and_descriptors() {
        let process = Process::read();
        assert!(process.resident.is_some_and(|bytes| bytes > 100_000), "{process:?}");
        assert!(process.open.is_some_and(|open| open >= 3), "{process:?}");
        assert!(process.cpu.is_some_and(|seconds| seconds >= 0.0), "{process:?}");
    }
}
