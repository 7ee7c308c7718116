//! Holds `docs/reference/cli.md` to the command line.
//!
//! `SORDINO_UPDATE=1 cargo test --release -p sordino-cli --bin sordino reference` writes the page again.

use std::path::Path;

use clap_markdown::MarkdownOptions;

use crate::arguments::Arguments;

/// What stands above the generated text.
const HEAD: &str = "\
<!-- Generated from the program's arguments; `cargo test` compares them. Edit the comments in crates/cli/src instead. -->

# Command line

`sordino VERB --help` shows the same. [What the commands do](commands.md) explains exit codes, limits, checkpoints and
outputs. `sordino-server` has `serve`, `token` and `evaluate` with the same flags.

";

#[test]
fn the_page_of_the_command_line_is_current() {
    let options = MarkdownOptions::new()
        .title(String::new())
        .show_footer(false);
    let generated = clap_markdown::help_markdown_custom::<Arguments>(&options);
    let body = generated
        .find("**Command Overview:**")
        .map_or(generated.as_str(), |start| &generated[start..]);
    let mut page = HEAD.to_owned() + body.trim_end() + "\n";
    while page.contains("\n\n\n") {
        page = page.replace("\n\n\n", "\n\n");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
    if std::env::var_os("SORDINO_UPDATE").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&path).expect("the page is there");
    assert!(
        written == page,
        "docs/reference/cli.md is out of date: SORDINO_UPDATE=1 cargo test --release -p sordino-cli --bin sordino reference"
    );
}
