//! A file under its final name is always whole: interruptions, full disks and races.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use sordino_container::{
    Access, AtomicFile, Error, Kind, Limits, Overwrite, TEMPORARY_SUFFIX, read_file, write_file,
};
use sordino_fault::{Classified, Fault};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_name_appears_at_the_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan");
    let mut file = AtomicFile::create(&path, Overwrite::Refuse, Access::Shared).unwrap();
    file.write_all(b"content").unwrap();
    let during = names(folder.path());
    assert!(
        during.len() == 1 && during[0].ends_with(TEMPORARY_SUFFIX),
        "{during:?}"
    );
    file.commit().unwrap();
    assert_eq!(names(folder.path()), ["plan"]);
    assert_eq!(fs::read(&path).unwrap(), b"content");
}

#[test]
fn a_dropped_writer_leaves_nothing_and_an_old_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan");
    fs::write(&path, b"old").unwrap();
    let mut file = AtomicFile::create(&path, Overwrite::Replace, Access::Shared).unwrap();
    file.write_all(&vec![1; 1 << 20]).unwrap();
    drop(file);
    assert_eq!(names(folder.path()), ["plan"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn existing_files_are_refused_at_once_and_at_the_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret.key");
    let mut late = AtomicFile::create(&path, Overwrite::Refuse, Access::OwnerOnly).unwrap();
    late.write_all(b"late").unwrap();
    fs::write(&path, b"first").unwrap();
    let error = AtomicFile::create(&path, Overwrite::Refuse, Access::OwnerOnly).unwrap_err();
    assert!(
        matches!(error, Error::Exists { .. }) && error.fault() == Fault::Usage,
        "{error}"
    );
    let error = late.commit().unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"first");
    assert_eq!(names(folder.path()), ["secret.key"]);
    let mut replacing = AtomicFile::create(&path, Overwrite::Replace, Access::Shared).unwrap();
    replacing.write_all(b"second").unwrap();
    replacing.commit().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
}

#[cfg(unix)]
#[test]
fn owner_only_holds_from_the_first_moment() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let path = folder.path().join("secret.key");
    // Also when it takes the place of a file that everybody could read.
    fs::write(&path, b"old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = AtomicFile::create(&path, Overwrite::Replace, Access::OwnerOnly).unwrap();
    let temporary = names(folder.path())
        .into_iter()
        .find(|name| name.ends_with(TEMPORARY_SUFFIX))
        .unwrap();
    assert_eq!(mode(&folder.path().join(temporary)), 0o600);
    file.commit().unwrap();
    assert_eq!(mode(&path), 0o600);

    let shared = folder.path().join("plan");
    AtomicFile::create(&shared, Overwrite::Refuse, Access::Shared)
        .unwrap()
        .commit()
        .unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, b"").unwrap();
    assert_eq!(
        mode(&shared),
        mode(&plain),
        "a shared file follows the umask like any other"
    );
}

#[test]
fn folders_and_devices_are_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let error = AtomicFile::create(folder.path(), Overwrite::Replace, Access::Shared).unwrap_err();
    assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    if cfg!(target_os = "linux") {
        let error =
            AtomicFile::create("/dev/null", Overwrite::Replace, Access::Shared).unwrap_err();
        assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    }
    let missing = folder.path().join("no/such/folder");
    let error = AtomicFile::create(missing, Overwrite::Replace, Access::Shared).unwrap_err();
    assert_eq!(error.fault(), Fault::Io, "{error}");
}

#[test]
fn two_writers_of_one_name_both_end_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reply");
    let limits = Limits {
        metadata_bytes: 100,
        payload_bytes: 1 << 20,
    };
    std::thread::scope(|scope| {
        for byte in 0..4u8 {
            let path = &path;
            scope.spawn(move || {
                let payload = vec![byte; 300_000];
                write_file(
                    path,
                    Kind::Reply,
                    &byte,
                    &payload,
                    Overwrite::Replace,
                    Access::Shared,
                )
                .unwrap();
            });
        }
    });
    let contents = read_file::<u8>(&path, Kind::Reply, limits).unwrap();
    assert!(
        contents
            .payload
            .iter()
            .all(|&byte| byte == contents.metadata)
    );
    assert_eq!(names(folder.path()), ["reply"]);
}

// Set for a child process of this test binary: where to write.
const CHILD: &str = "SORDINO_TEST_CHILD_PATH";

/// Not a check by itself: the child process of the tests below, which writes 4 MiB and prints what happened.
#[test]
fn child_writes_four_mebibytes() {
    let Some(path) = std::env::var_os(CHILD).map(PathBuf::from) else {
        return;
    };
    let payload = vec![3; 4 << 20];
    match write_file(
        &path,
        Kind::Request,
        &"child",
        &payload,
        Overwrite::Refuse,
        Access::Shared,
    ) {
        Ok(_) => println!("outcome: written"),
        Err(error) => println!("outcome: {:?}: {error}", error.fault()),
    }
    println!("left: {:?}", names(path.parent().unwrap()));
}

/// Runs the child below a shell command line in which `exec "$0" "$@"` is the child.
#[cfg(target_os = "linux")]
fn run_child(shell: &str, folder: &Path) -> (bool, String) {
    let output = Command::new("sh")
        .args(["-c", shell])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child_writes_four_mebibytes",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, folder.join("request"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[cfg(target_os = "linux")]
#[test]
fn a_write_that_fails_half_way_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // The control: without a limit the child writes, so that the failures below come from the limit.
    let (_, text) = run_child("exec \"$0\" \"$@\"", folder.path());
    assert!(
        text.contains("outcome: written") && text.contains("[\"request\"]"),
        "{text}"
    );
    fs::remove_file(folder.path().join("request")).unwrap();
    // With the signal ignored, a write past the limit of 1 MiB fails like one to a full disk.
    let (success, text) = run_child(
        "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\"",
        folder.path(),
    );
    assert!(success && text.contains("outcome: Io"), "{text}");
    assert!(
        text.contains("request: cannot write") && text.contains("another disk"),
        "{text}"
    );
    assert!(text.contains("left: []"), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_writer_leaves_nothing_under_the_final_name() {
    let folder = tempfile::tempdir().unwrap();
    // Here the signal kills the child in the middle of a write, before it could clean up.
    let (success, text) = run_child("ulimit -f 2048; exec \"$0\" \"$@\"", folder.path());
    assert!(!success && !text.contains("outcome"), "{text}");
    let left = names(folder.path());
    assert!(
        left.len() == 1 && left[0].ends_with(TEMPORARY_SUFFIX),
        "{left:?}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mount = format!(
        "unshare -rm sh -c 'mount -t tmpfs -o size=1m none \"$1\" && shift && exec \"$0\" \"$@\"' \"$0\" {:?} \"$@\"",
        folder.path()
    );
    let (_, text) = run_child(&mount, folder.path());
    if !text.contains("outcome") {
        println!(
            "skipped: no small file system could be mounted here: {}",
            text.trim()
        );
        return;
    }
    assert!(
        text.contains("outcome: Io") && text.contains("free some space"),
        "{text}"
    );
    assert!(text.contains("left: []"), "{text}");
}
