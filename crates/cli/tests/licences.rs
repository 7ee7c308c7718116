//! Checks the licence of every crate that a build on this machine contains against `deny.toml`.
//!
//! cargo-deny does the same in `.ci/run` for every target; this test needs nothing but cargo, so
//! the check also runs where cargo-deny cannot be had.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

struct Policy {
    allow: BTreeSet<String>,
    exceptions: BTreeMap<String, BTreeSet<String>>,
}

impl Policy {
    fn parse(text: &str) -> Self {
        fn names(value: &toml::Value) -> BTreeSet<String> {
            let list = value.as_array().expect("a list of licences");
            let name = |name: &toml::Value| name.as_str().expect("a licence").to_owned();
            list.iter().map(name).collect()
        }
        let table: toml::Table = text.parse().expect("deny.toml in TOML");
        let licenses = &table["licenses"];
        let exceptions = licenses["exceptions"].as_array().expect("a list");
        Self {
            allow: names(&licenses["allow"]),
            exceptions: exceptions
                .iter()
                .map(|exception| {
                    let name = exception["crate"].as_str().expect("a crate's name");
                    (name.to_owned(), names(&exception["allow"]))
                })
                .collect(),
        }
    }

    fn permits(&self, package: &str, licence: &str) -> bool {
        let excepted = self.exceptions.get(package);
        self.allow.contains(licence) || excepted.is_some_and(|list| list.contains(licence))
    }
}

type Permitted<'a> = &'a dyn Fn(&str) -> bool;

/// Whether an SPDX expression can be met by licences that `permitted` accepts. Understands OR,
/// AND, WITH, parentheses and the old "MIT/Apache-2.0"; AND binds tighter than OR.
fn satisfied(expression: &str, permitted: Permitted) -> Result<bool, String> {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut position = 0;
    let value = any_of(&tokens, &mut position, permitted)?;
    match tokens.get(position) {
        None => Ok(value),
        Some(token) => Err(format!("unexpected {token:?} in {expression:?}")),
    }
}

fn any_of(tokens: &[&str], at: &mut usize, permitted: Permitted) -> Result<bool, String> {
    let mut value = all_of(tokens, at, permitted)?;
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        value |= all_of(tokens, at, permitted)?;
    }
    Ok(value)
}

fn all_of(tokens: &[&str], at: &mut usize, permitted: Permitted) -> Result<bool, String> {
    let mut value = one_of(tokens, at, permitted)?;
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        value &= one_of(tokens, at, permitted)?;
    }
    Ok(value)
}

fn one_of(tokens: &[&str], at: &mut usize, permitted: Permitted) -> Result<bool, String> {
    let token = *tokens.get(*at).ok_or("a licence is missing at the end")?;
    *at += 1;
    match token {
        "(" => {
            let value = any_of(tokens, at, permitted)?;
            if tokens.get(*at) != Some(&")") {
                return Err("a parenthesis is not closed".to_owned());
            }
            *at += 1;
            Ok(value)
        }
        ")" | "OR" | "AND" | "WITH" => Err(format!("unexpected {token:?}")),
        licence if tokens.get(*at) == Some(&"WITH") => {
            let exception = *tokens.get(*at + 1).ok_or("nothing after WITH")?;
            *at += 2;
            Ok(permitted(&format!("{licence} WITH {exception}")))
        }
        licence => Ok(permitted(licence)),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `(package, licence expression)` of all that is compiled here, tests and build scripts included.
/// `cargo tree` resolves features as a build does; `cargo metadata` also lists crates that only a
/// feature nobody switched on would bring in.
fn packages() -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--offline", "--locked", "--workspace"])
        .args(["--edges", "normal,build,dev", "--prefix", "none"])
        .args(["--format", "{p}\t{l}"])
        .output()
        .expect("cargo tree runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {errors}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let rows = text.lines().filter(|line| !line.trim().is_empty());
    rows.map(|line| {
        let (package, licence) = line.split_once('\t').expect("two columns");
        let name = package.split(' ').next().unwrap_or_default();
        // "(*)" marks a package whose own dependencies were printed before.
        let licence = licence.trim_end_matches("(*)").trim_end();
        (name.to_owned(), licence.to_owned())
    })
    .collect()
}

fn policy() -> Policy {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    Policy::parse(&text)
}

#[test]
fn every_dependency_has_a_permitted_licence() {
    let policy = policy();
    let packages = packages();
    let mut names: BTreeSet<&str> = packages.iter().map(|(name, _)| name.as_str()).collect();
    assert!(
        names.len() > 100 && names.contains("blake3") && names.contains("tfhe-ntt"),
        "the tree is not the product's: {names:?}"
    );
    for (name, licence) in &packages {
        let met = satisfied(licence, &|one: &str| policy.permits(name, one));
        assert_eq!(
            met,
            Ok(true),
            "{name} is under {licence:?}, which deny.toml does not allow"
        );
    }
    // An exception that outlives its crate would quietly permit the next one of that name.
    names.retain(|name| policy.exceptions.contains_key(*name));
    assert_eq!(names.len(), policy.exceptions.len(), "of {names:?}");
}

#[test]
fn expressions_are_read_as_spdx_defines_them() {
    let permitted = |licence: &str| matches!(licence, "MIT" | "ISC" | "A WITH B");
    let check = |expression: &str| satisfied(expression, &permitted);
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "GPL-3.0 / MIT",
        "(GPL-3.0 OR MIT) AND ISC",
        "GPL-3.0 AND Zlib OR MIT",
        "A WITH B",
    ] {
        assert_eq!(check(good), Ok(true), "{good}");
    }
    for bad in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND GPL-3.0",
        "A",
        "MIT WITH B",
    ] {
        assert_eq!(check(bad), Ok(false), "{bad}");
    }
    for malformed in ["", "MIT OR", "(MIT", "MIT)", "MIT ISC", "A WITH"] {
        assert!(check(malformed).is_err(), "{malformed}");
    }
}
