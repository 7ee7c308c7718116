//! Where a measurement was made.

use std::fs;

use crate::bytes_text;

/// The machine and its load.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// Processor, cores, memory and system, such as `"Intel(R) Xeon(R) CPU, 2 cores, 7.8 GiB, linux x86_64"`.
    pub machine: String,
    /// Load average of the last minute; `None` where the system does not say.
    pub load: Option<f64>,
}

impl Environment {
    /// Reads what the system says; the rest stays empty.
    pub fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            machine: describe(&read("/proc/cpuinfo"), &read("/proc/meminfo"), cores),
            load: load(&read("/proc/loadavg")),
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
    let memory = kilobytes(meminfo, "MemTotal")
        .map_or(String::new(), |bytes| format!(", {}", bytes_text(bytes)));
    let (system, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{model}, {cores} core{plural}{memory}, {system} {architecture}")
}

fn load(loadavg: &str) -> Option<f64> {
    loadavg.split_whitespace().next()?.parse().ok()
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
}
