//! What the interrupt handler relies on; a process of its own, since it ends every writer of the process.

use std::fs;
use std::io::Write;

use sordino_container::{Access, AtomicFile, Overwrite, remove_unfinished};
use sordino_fault::{Classified, Fault};

#[test]
fn unfinished_files_go_and_finished_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let create = |name: &str| {
        let mut file =
            AtomicFile::create(folder.path().join(name), Overwrite::Replace, Access::Shared)
                .unwrap();
        file.write_all(name.as_bytes()).unwrap();
        file
    };
    create("finished").commit().unwrap();
    let running = [create("a"), create("b")];
    let count = || fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(count(), 3);
    remove_unfinished();
    assert_eq!(count(), 1);
    for file in running {
        let error = file.commit().unwrap_err();
        assert_eq!(error.fault(), Fault::Io, "{error}");
    }
    assert_eq!(
        fs::read(folder.path().join("finished")).unwrap(),
        b"finished"
    );
    assert_eq!(count(), 1);
    create("later").commit().unwrap();
    assert_eq!(count(), 2);
}
