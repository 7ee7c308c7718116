//! Every variant of every error has its fault, exit code and HTTP status written down in `docs/reference/errors.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sordino_command::exit;
use sordino_fault::{Classified, Fault};
use sordino_server::problem_kind;

const BEGIN: &str = "<!-- Written by crates/cli/tests/faults.rs with SORDINO_WRITE_ERRORS=1 -->\n";

fn codes(fault: Fault) -> (u8, u16) {
    (exit::code(fault), problem_kind(fault).status())
}

/// The table of faults and, for each crate, that of the variants of its error.
fn tables() -> String {
    let mut text = String::from("| fault | exit code | HTTP status |\n|---|---|---|\n");
    for fault in Fault::ALL {
        let (code, status) = codes(fault);
        writeln!(text, "| {fault} | {code} | {status} |").expect("text");
    }
    use sordino::onnx as sordino_onnx;
    macro_rules! tables {
        ($($name:ident),* $(,)?) => { $(table::<$name::Error>(stringify!($name), &mut text);)* };
    }
    tables!(
        sordino_container,
        sordino_ring,
        sordino_ckks,
        sordino_secret,
        sordino_graph,
        sordino_onnx,
        sordino_data,
        sordino_train,
        sordino_plan,
        sordino_protocol,
        sordino_runtime,
        sordino_client,
        sordino_evaluator,
        sordino_command,
        sordino_server,
        sordino_report,
        sordino,
        sordino_bench,
    );
    text
}

fn table<E: Classified>(name: &str, text: &mut String) {
    let name = name.replace('_', "-");
    write!(
        text,
        "\n## `{name}`\n\n| variant | fault | exit code | HTTP status |\n|---|---|---|---|\n"
    )
    .expect("text");
    let mut variants = E::FAULTS.to_vec();
    variants.sort_unstable_by_key(|&(variant, _)| variant);
    for (variant, fault) in variants {
        match fault {
            Some(fault) => {
                let (code, status) = codes(fault);
                writeln!(text, "| `{variant}` | {fault} | {code} | {status} |")
            }
            None => writeln!(text, "| `{variant}` | that of its cause | | |"),
        }
        .expect("text");
    }
}

#[test]
fn the_page_of_errors_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/errors.md");
    let page = fs::read_to_string(&path).expect("the page of errors");
    let (head, found) = page.split_once(BEGIN).expect("a mark before the tables");
    let expected = format!("\n{}", tables());
    if std::env::var_os("SORDINO_WRITE_ERRORS").is_some() {
        fs::write(&path, format!("{head}{BEGIN}{expected}")).expect("written");
    } else {
        assert!(
            found == expected,
            "{} is not current: run this test with SORDINO_WRITE_ERRORS=1 and read what changed",
            path.display()
        );
    }
}

#[test]
fn exit_codes_are_those_of_the_contract() {
    let codes = Fault::ALL.map(exit::code);
    assert_eq!(codes, [2, 3, 4, 1, 5, 2, 130, 70]);
    assert_eq!(exit::CHECK_FAILED, 1);
}

#[test]
fn the_reason_of_the_system_is_told_once() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("file"), "").expect("a file");
    for (arguments, reason) in [
        ("keygen --plan missing --out keys", "No such file"),
        (
            "encrypt --plan missing --key k --images i --out request",
            "No such file",
        ),
        (
            "evaluate --plan missing --request r --out reply",
            "No such file",
        ),
        (
            "submit --server http://127.0.0.1:1 --model m --keys k --images i --out p.csv --token-file missing",
            "No such file",
        ),
        ("train --data missing --arch mlp --out model", "missing"),
        ("keygen --plan file --out keys", "file"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_sordino"))
            .current_dir(folder.path())
            .args(arguments.split_whitespace())
            .output()
            .expect("the binary starts");
        let text = String::from_utf8_lossy(&output.stderr);
        let told = text.matches("os error").count();
        assert!(text.contains(reason) && told <= 1, "{arguments}: {text}");
    }
}
