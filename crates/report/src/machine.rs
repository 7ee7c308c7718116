//! Where a measurement was made.

use std::fs;
use std::process::{Command, Stdio};

/// The machine, its load and the program's commit, for a [`Record`](crate::Record).
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// Processor, cores, memory and system, such as `"Intel(R) Xeon(R) CPU, 2 cores, 7.8 GiB, linux x86_64"`.
    pub machine: String,
    /// Load average of the last minute; `None` where the system does not tell.
    pub load: Option<f64>,
    /// Commit of the working folder's repository, `-dirty` where files were changed, or `unknown`.
    pub commit: String,
}

impl Environment {
    /// Looks around; what cannot be found out is left open.
    pub fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            machine: describe(&read("/proc/cpuinfo"), &read("/proc/meminfo"), cores),
            load: load(&read("/proc/loadavg")),
            commit: commit().unwrap_or_else(|| "unknown".into()),
        }
    }
}

/// The value behind `name:` in one of the system's lists.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name))
        .map(|(_, value)| value.trim())
}

/// A count of kB, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let count: u64 = value(text, name)?.strip_suffix("kB")?.trim().parse().ok()?;
    count.checked_mul(1024)
}

fn describe(cpuinfo: &str, meminfo: &str, cores: usize) -> String {
    let model = value(cpuinfo, "model name").unwrap_or("unknown processor");
    let plural = if cores == 1 { "" } else { "s" };
    let memory = kilobytes(meminfo, "MemTotal").map_or(String::new(), |bytes| {
        format!(", {:.1} GiB", bytes as f64 / f64::from(1 << 30))
    });
    let (system, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{model}, {cores} core{plural}{memory}, {system} {architecture}")
}

fn load(loadavg: &str) -> Option<f64> {
    loadavg.split_whitespace().next()?.parse().ok()
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).filter(|commit| !commit.is_empty())?;
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"])
        .is_some_and(|changes| !changes.is_empty());
    Some(if dirty {
        format!("{commit}-dirty")
    } else {
        commit
    })
}

/// The most resident memory that a process has had (VmHWM), in bytes; of this process where `process` is `None`.
///
/// `None` where the system does not tell, and for a process that has ended.
pub fn peak_rss_bytes(process: Option<u32>) -> Option<u64> {
    let process = process.map_or("self".into(), |process| process.to_string());
    kilobytes(
        &fs::read_to_string(format!("/proc/{process}/status")).ok()?,
        "VmHWM",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_system_are_understood() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nprocessor\t: 1\nmodel name\t: Other\n";
        let text = describe(cpuinfo, "MemTotal:        8388608 kB\nMemFree: 1 kB\n", 2);
        assert!(
            text.starts_with("Some CPU @ 2.00GHz, 2 cores, 8.0 GiB, "),
            "{text}"
        );
        assert!(describe("", "", 1).starts_with("unknown processor, 1 core, "));
        assert_eq!(load("0.25 0.50 1.00 1/100 12345\n"), Some(0.25));
        assert_eq!(load(""), None);
        assert_eq!(
            kilobytes("VmHWM:\t   1234 kB\n", "VmHWM"),
            Some(1234 * 1024)
        );
        assert_eq!(
            kilobytes("VmHWM:\t99999999999999999999 kB\n", "VmHWM"),
            None
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_grows_with_memory_in_use() {
        let before = peak_rss_bytes(None).unwrap();
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        let after = peak_rss_bytes(Some(std::process::id())).unwrap();
        assert!(
            after >= before + (32 << 20),
            "{before} {after} {}",
            block.len()
        );
        assert_eq!(peak_rss_bytes(Some(u32::MAX)), None);
    }
}
