//! Holds the advice in messages and guides to the command line: every option that they name is one, of the command that they name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};

use crate::arguments::Arguments;

/// Crates whose errors people read.
const CRATES: [&str; 14] = [
    "cli",
    "ckks",
    "client",
    "command",
    "container",
    "data",
    "evaluator",
    "onnx",
    "plan",
    "runtime",
    "secret",
    "server",
    "sordino",
    "train",
];

/// Files that are tests as a whole.
const TESTS: [&str; 2] = ["cli/src/advice.rs", "cli/src/reference.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The options of each command. Those of all of its own commands are a command's as well.
struct Options(Vec<(String, BTreeSet<String>)>);

impl Options {
    fn of_the_binary() -> Self {
        fn longs(command: &clap::Command, into: &mut BTreeSet<String>) {
            into.extend(
                command
                    .get_arguments()
                    .filter_map(|a| a.get_long().map(str::to_owned)),
            );
            command
                .get_subcommands()
                .for_each(|command| longs(command, into));
        }
        let mut binary = Arguments::command();
        binary.build();
        let options = |command: &clap::Command| {
            let mut found = BTreeSet::new();
            longs(command, &mut found);
            (command.get_name().to_owned(), found)
        };
        Self(binary.get_subcommands().map(options).collect())
    }

    fn any_has(&self, option: &str) -> bool {
        let all = |option| ["help", "version"].contains(&option);
        all(option) || self.0.iter().any(|(_, options)| options.contains(option))
    }

    fn of(&self, command: &str) -> Option<&BTreeSet<String>> {
        let mut all = self.0.iter();
        all.find(|(name, _)| name == command)
            .map(|(_, options)| options)
    }
}

/// The options in a text, and what stands before each of them in its part of the sentence.
fn named(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices("--").filter_map(|(at, _)| {
        let rest = &text[at + 2..];
        let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '-'));
        let option = rest[..end.unwrap_or(rest.len())].trim_end_matches('-');
        let before = &text[..at];
        let part = before.rsplit(['.', ';', ':', ',', '(']).next();
        (option.len() > 1 && !before.ends_with('-')).then(|| (option, part.unwrap_or(before)))
    })
}

/// The command whose option stands behind `before`: the last that is named in the same breath.
fn command_in<'a>(before: &'a str, options: &Options) -> Option<&'a str> {
    let words = before.split(|c: char| !(c.is_alphanumeric() || c == '-'));
    let mut words = words.filter(|word| !word.is_empty());
    // Verbs of the field that are no commands where they stand in a sentence.
    words.rfind(|word| options.of(word).is_some() && !["data", "verify", "ranges"].contains(word))
}

/// The lines of a source file that messages can be in: no comments, no tests.
fn code(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a source file");
    let text = text
        .split("#[cfg(test)]\nmod ")
        .next()
        .unwrap_or_default()
        .to_owned();
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"));
    lines.map(str::to_owned).collect()
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let tests = path
            .file_name()
            .is_some_and(|name| name == "tests" || name == "tests.rs");
        match path.is_dir() {
            _ if tests => {}
            true => sources(&path, into),
            false if path.extension().is_some_and(|end| end == "rs") => into.push(path),
            false => {}
        }
    }
}

#[test]
fn options_in_messages_exist_where_they_are_said_to() {
    let options = Options::of_the_binary();
    let (mut checked, mut with_command) = (0, 0);
    for name in CRATES {
        let mut files = Vec::new();
        sources(&root().join("crates").join(name).join("src"), &mut files);
        for path in files
            .iter()
            .filter(|path| !TESTS.iter().any(|test| path.ends_with(test)))
        {
            for line in code(path) {
                for (option, before) in named(&line) {
                    checked += 1;
                    let place = format!("{}: --{option} in {line}", path.display());
                    assert!(options.any_has(option), "{place}");
                    if let Some(command) = command_in(before, &options) {
                        with_command += 1;
                        let has = options.of(command).is_some_and(|all| all.contains(option));
                        assert!(has, "{place}: {command} has no such option");
                    }
                }
            }
        }
    }
    assert!(
        checked > 40 && with_command > 10,
        "{checked}, {with_command}"
    );
}

#[test]
fn commands_that_read_images_have_the_option_that_their_errors_name() {
    let options = Options::of_the_binary();
    for command in ["encrypt", "submit", "verify", "ranges", "train", "distill"] {
        assert!(
            options.of(command).is_some_and(|all| all.contains("range")),
            "{command}"
        );
    }
    for command in ["import", "distill"] {
        assert!(
            options
                .of(command)
                .is_some_and(|all| all.contains("input-range")),
            "{command}"
        );
    }
}

#[test]
fn an_option_that_a_command_lacks_would_be_found() {
    let options = Options::of_the_binary();
    let line = r#""compile for a smaller --batch, or `sordino keygen` with --batch, or --range""#;
    let found: Vec<_> = named(line)
        .map(|(option, before)| (option, command_in(before, &options)))
        .collect();
    let expected = [
        ("batch", Some("compile")),
        ("batch", Some("keygen")),
        ("range", None),
    ];
    assert_eq!(found, expected);
    assert!(
        options
            .of("compile")
            .is_some_and(|all| all.contains("batch"))
    );
    assert!(
        !options
            .of("keygen")
            .is_some_and(|all| all.contains("batch"))
    );
}

#[test]
fn commands_of_the_pages_about_images_are_well_formed() {
    let pages = ["images.md", "dicom.md"].map(|name| root().join("docs/guide").join(name));
    let page = pages.map(|path| fs::read_to_string(path).expect("the page"));
    let page = page.join("\n");
    let blocks = page.split("\n```sh\n").skip(1);
    let lines = blocks.flat_map(|rest| rest.split("\n```").next().unwrap_or(rest).lines());
    let mut count = 0;
    for line in lines {
        let parsed = Arguments::try_parse_from(line.split_whitespace());
        assert!(
            parsed.is_ok(),
            "{line}: {}",
            parsed.err().map_or_else(String::new, |e| e.to_string())
        );
        count += 1;
    }
    assert!(count >= 10, "{count}");
    let options = Options::of_the_binary();
    for (option, _) in page.lines().flat_map(named) {
        assert!(options.any_has(option), "--{option}");
    }
}
