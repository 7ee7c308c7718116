//! Runs the transcripts of the documentation and compares what they show with what the program prints.
//!
//! `TRYCMD=overwrite cargo test --release -p sordino-cli --test transcripts` writes the present output into the page.

use std::path::Path;

#[cfg(unix)]
#[test]
fn the_documentation_shows_what_the_program_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("transcripts");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for the transcripts");
    let root = root.canonicalize().expect("the repository");
    std::os::unix::fs::symlink(root.join("models"), folder.join("models")).expect("a link");
    // The only test of this process, so no other one sees the change.
    std::env::set_current_dir(&folder).expect("the folder is there");
    trycmd::TestCases::new()
        .register_bin(
            "sordino",
            Path::new(env!("CARGO_BIN_EXE_sordino")).to_path_buf(),
        )
        .case(root.join("docs/guide/transcripts.md"))
        .run();
    std::fs::remove_dir_all(&folder).expect("the folder is this test's own");
}
