//! Memory of the system and of this process, where the system tells.

/// Bytes that can be taken without swapping now.
pub fn available_bytes() -> Option<u64> {
    field("/proc/meminfo", "MemAvailable:")
}

/// Largest resident memory of this process so far.
pub fn peak_resident_bytes() -> Option<u64> {
    field("/proc/self/status", "VmHWM:")
}

/// Resident memory of this process now.
pub fn resident_bytes() -> Option<u64> {
    field("/proc/self/status", "VmRSS:")
}

/// A field in kibibytes of one of the system's tables.
fn field(table: &str, name: &str) -> Option<u64> {
    let table = std::fs::read_to_string(table).ok()?;
    let line = table.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn this_process_takes_some_of_what_there_is() {
        let kept = std::hint::black_box(vec![1u8; 32 << 20]);
        assert!(super::peak_resident_bytes().unwrap() >= kept.len() as u64);
        assert!(super::available_bytes().unwrap() > 0);
    }
}
