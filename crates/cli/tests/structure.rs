//! Holds the workspace to its written rules: the dependency table of `docs/architecture.md`, the
//! boundary that keeps secrets away from the server, one crate with `unsafe`, short files, no
//! paths of somebody's machine, and links that lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

type Edges = BTreeMap<String, BTreeSet<String>>;

const LONGEST_FILE_LINES: usize = 600;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the workspace root exists")
}

/// The workspace's own crates. Their manifests are enough here, so no registry is asked.
fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("cargo metadata of the workspace")
}

/// `sordino-ring` is `ring` in the table; `sordino` itself keeps its name.
fn short_name(package: &str) -> String {
    let short = package.strip_prefix("sordino-");
    short.unwrap_or(package).to_owned()
}

/// Edges between workspace crates that end up in a build of the product. Optional and
/// platform-specific dependencies count: somebody may switch them on.
fn edges(metadata: &Metadata) -> Edges {
    let members: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    let mut edges = Edges::new();
    for package in &metadata.packages {
        let targets = edges.entry(short_name(&package.name)).or_default();
        for dependency in &package.dependencies {
            let shipped = dependency.kind != DependencyKind::Development;
            if shipped && members.contains(dependency.name.as_str()) {
                targets.insert(short_name(&dependency.name));
            }
        }
    }
    edges
}

/// Rows ``| `crate` | responsibility | `a`, `b` |`` of the table under "## Crates".
fn parse_table(markdown: &str) -> Result<Edges, String> {
    let section = markdown
        .split("\n## ")
        .find(|section| section.starts_with("Crates\n"))
        .ok_or("no section \"## Crates\"")?;
    let mut table = Edges::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, allowed] = cells[..] else {
            return Err(format!("expected three cells: {line}"));
        };
        let name = name.trim_matches('`').to_owned();
        let allowed = match allowed {
            "–" => BTreeSet::new(),
            list => list.split(", ").map(quoted).collect::<Result<_, _>>()?,
        };
        // Rows come in order, so a table that parses has no cycles.
        if let Some(later) = allowed.iter().find(|other| !table.contains_key(*other)) {
            return Err(format!(
                "{name} may depend on {later}, which stands below it"
            ));
        }
        if table.insert(name.clone(), allowed).is_some() {
            return Err(format!("two rows for {name}"));
        }
    }
    Ok(table)
}

fn quoted(cell: &str) -> Result<String, String> {
    let inner = cell.strip_prefix('`').and_then(|c| c.strip_suffix('`'));
    let inner = inner.ok_or(format!("expected a crate in back quotes: {cell}"))?;
    Ok(inner.to_owned())
}

fn violations(edges: &Edges, table: &Edges) -> Vec<String> {
    let mut found = Vec::new();
    for (from, targets) in edges {
        match table.get(from) {
            None => found.push(format!("{from} has no row")),
            Some(allowed) => {
                let outside = targets.difference(allowed);
                found.extend(outside.map(|to| format!("{from} depends on {to}")));
            }
        }
    }
    let missing = table.keys().filter(|name| !edges.contains_key(*name));
    found.extend(missing.map(|name| format!("{name} has a row and no crate")));
    found
}

fn closure(edges: &Edges, start: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![start.to_owned()];
    while let Some(name) = open.pop() {
        for next in &edges[&name] {
            if reached.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    reached
}

/// Every file of the checkout that people write; build outputs and downloads are left out.
fn written_files() -> Vec<PathBuf> {
    const SKIPPED: [&str; 6] = [
        ".git",
        "data",
        "target",
        "fuzz/artifacts",
        "fuzz/corpus",
        "fuzz/target",
    ];
    const WRITTEN: [&str; 7] = ["rs", "toml", "md", "txt", "json", "yml", "sh"];
    let root = root();
    let mut files = vec![root.join(".ci/run")];
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the checkout") {
            let path = entry.expect("an entry of the checkout").path();
            let skipped = SKIPPED.iter().any(|skipped| path == root.join(skipped));
            if path.is_dir() && !skipped {
                open.push(path);
            } else if let Some(extension) = path.extension()
                && path.is_file()
                && WRITTEN.iter().any(|written| extension == *written)
            {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() > 30, "found only {} files", files.len());
    files
}

fn read(path: &Path) -> String {
    let text = fs::read_to_string(path);
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn relative(path: &Path) -> String {
    let path = path.strip_prefix(root()).expect("inside the checkout");
    path.display().to_string()
}

#[test]
fn dependencies_follow_the_table() {
    let markdown = read(&root().join("docs/architecture.md"));
    let table = parse_table(&markdown).expect("a table of crates");
    let found = violations(&edges(&metadata()), &table);
    assert!(
        found.is_empty(),
        "against docs/architecture.md: {found:#?}\nremove the edge, or argue for it in the table"
    );
}

#[test]
fn an_edge_outside_the_table_is_found() {
    let table = "# A\n\n## Crates\n\n| crate | r | d |\n|---|---|---|\n| `a` | x | – |\n\
                 | `b` | y | `a` |\n\n## B\n| `c` | z | – |\n";
    let table = parse_table(table).expect("a well-formed table");
    assert_eq!(table.len(), 2);
    let edge = |from: &str, to: &str| (from.to_owned(), BTreeSet::from([to.to_owned()]));
    let good = Edges::from([("a".to_owned(), BTreeSet::new()), edge("b", "a")]);
    assert!(violations(&good, &table).is_empty());
    let bad = Edges::from([edge("a", "b"), edge("c", "a")]);
    assert_eq!(
        violations(&bad, &table),
        ["a depends on b", "c has no row", "b has a row and no crate"]
    );
    let upwards = "x\n## Crates\n| `a` | x | `b` |\n| `b` | y | – |\n";
    let error = parse_table(upwards).expect_err("a row that points down");
    assert!(error.contains("stands below"), "{error}");
}

#[test]
fn the_server_reaches_no_secret() {
    for server in ["evaluator", "server", "fhe-benchmark-server"] {
        let reached = closure(&edges(&metadata()), server);
        assert!(reached.contains("ckks"), "the closure is computed");
        for forbidden in ["secret", "train", "data", "client"] {
            assert!(
                !reached.contains(forbidden),
                "sordino-{server} reaches sordino-{forbidden}"
            );
        }
    }
}

#[test]
fn the_front_door_alone_compiles_no_training_service_or_command_line() {
    let tree = |features: &[&str]| {
        let output = Command::new(env!("CARGO"))
            .current_dir(root())
            .args([
                "tree",
                "--offline",
                "--package",
                "sordino",
                "--edges",
                "normal",
            ])
            .args(["--prefix", "none", "--format", "{p}"])
            .args(features)
            .output()
            .expect("cargo runs");
        let text = String::from_utf8(output.stdout).expect("names of packages");
        assert!(output.status.success(), "{:?}", output.stderr);
        text.lines()
            .filter_map(|line| line.split(' ').next().map(str::to_owned))
            .collect::<BTreeSet<String>>()
    };
    let unwanted = [
        "axum",
        "clap",
        "image",
        "object_store",
        "prost",
        "reqwest",
        "rusqlite",
        "sordino-train",
        "tokio",
    ];
    let (alone, whole) = (tree(&["--no-default-features"]), tree(&[]));
    assert!(alone.contains("sordino-ckks"), "{alone:?}");
    let found = |packages: &BTreeSet<String>| {
        unwanted
            .iter()
            .filter(|&&name| packages.contains(name))
            .count()
    };
    assert_eq!(found(&alone), 0, "{alone:?}");
    assert!(
        found(&whole) > 3,
        "the features bring what they are for: {whole:?}"
    );
}

/// The crate whose allocator has `unsafe`.
const ALLOCATOR_CRATE: &str = "sordino-command";

#[test]
fn only_ring_and_the_allocator_may_contain_unsafe_code() {
    let manifest = |path: &Path| -> toml::Table { read(path).parse().expect("TOML") };
    let workspace = manifest(&root().join("Cargo.toml"));
    let level = &workspace["workspace"]["lints"]["rust"]["unsafe_code"];
    assert_eq!(level.as_str(), Some("forbid"), "in the workspace's lints");
    for package in metadata().packages {
        let manifest = manifest(package.manifest_path.as_std_path());
        let inherits = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(toml::Value::as_bool);
        let own = ["sordino-ring", ALLOCATOR_CRATE].contains(&package.name.as_str());
        assert_eq!(
            inherits,
            (!own).then_some(true),
            "lints of {}",
            package.name
        );
        if package.name == ALLOCATOR_CRATE {
            let level = &manifest["lints"]["rust"]["unsafe_code"];
            assert_eq!(level.as_str(), Some("deny"));
        }
    }
    // The exception of that crate is one file.
    let sources = root().join("crates/command");
    for path in written_files() {
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        if is_source && path.starts_with(&sources) && !path.ends_with("src/allocator.rs") {
            assert!(!read(&path).contains("unsafe"), "{}", relative(&path));
        }
    }
}

#[test]
fn source_files_stay_short() {
    for path in written_files() {
        if path.extension().is_some_and(|extension| extension == "rs") {
            let lines = read(&path).lines().count();
            assert!(
                lines <= LONGEST_FILE_LINES,
                "{} has {lines} lines, at most {LONGEST_FILE_LINES}: split it by what it does",
                relative(&path)
            );
        }
    }
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    // Put together here, so that this file does not contain them.
    let patterns = [
        "/wo|rk/",
        "/ro|ot/",
        "/ho|me/",
        "/Us|ers/",
        "\\Us|ers\\",
        "/tm|p/",
    ]
    .map(|pattern| pattern.replace('|', ""));
    for path in written_files() {
        for (number, line) in read(&path).lines().enumerate() {
            for pattern in &patterns {
                assert!(
                    !line.contains(pattern),
                    "{}:{}: {pattern} in {line:?}",
                    relative(&path),
                    number + 1
                );
            }
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut checked = 0;
    for path in written_files() {
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let folder = path.parent().expect("a file is in a folder");
        for link in read(&path).split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            checked += 1;
            assert!(
                folder.join(target).exists(),
                "{}: nothing at {link}",
                relative(&path)
            );
        }
    }
    assert!(checked > 0, "no relative link was found");
}
