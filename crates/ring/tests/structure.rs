//! Nothing that works on a back end can find another one: only [`sordino_ring::backend`] names what it chooses from.

use std::fs;
use std::path::{Path, PathBuf};

/// Rust sources under a folder of the workspace's crates, without their tests.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(folder),
    ];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                let lines = code
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"));
                found.push((path, lines.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    found
}

#[test]
fn operations_reach_no_back_end_but_the_one_they_are_given() {
    let choices = [
        "backend::select",
        "available()",
        "portable()",
        "Lock<&'static Backend>",
    ];
    let mut files = 0;
    for folder in ["ring/src", "ckks/src", "secret/src"] {
        for (path, code) in sources(folder) {
            files += 1;
            if path.ends_with("ring/src/backend/mod.rs") {
                continue;
            }
            for choice in choices {
                assert!(!code.contains(choice), "{}: {choice}", path.display());
            }
        }
    }
    assert!(files > 40, "only {files} files");
}

#[test]
fn instructions_of_some_processors_stand_behind_the_registry_alone() {
    for (path, code) in sources("ring/src") {
        // Prefetching is part of every x86-64 processor and computes nothing.
        let allowed = path.components().any(|part| part.as_os_str() == "backend")
            || path.ends_with("strip.rs");
        for name in ["std::arch", "target_feature", "is_x86_feature_detected"] {
            assert!(
                allowed || !code.contains(name),
                "{}: {name}",
                path.display()
            );
        }
    }
}
