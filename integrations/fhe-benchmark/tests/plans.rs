//! The plans that the programs carry are what the committed network compiles to, so they cannot go stale.

use std::path::Path;

use sordino_fhe_benchmark::{client_plan, client_plan_bytes};
use sordino_fhe_benchmark_server::{Size, server_plan, server_plan_bytes};
use sordino_graph::Model;
use sordino_plan::{CompileOptions, PackingKind};
use sordino_runtime::compile;

/// How the plan of a size is compiled; README.md has the commands and the measurements behind the packings.
fn options(size: Size) -> CompileOptions {
    CompileOptions::new(size.images()).with_packing(PackingKind::ElementWise)
}

#[test]
fn the_committed_network_compiles_to_the_same_bytes() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let model = Model::load(models.join("mlp-mnist.safetensors")).unwrap();
    for size in Size::ALL {
        let plan = compile(&model, &options(size)).unwrap();
        let name = size.name();
        assert!(
            plan.server.to_bytes().unwrap() == server_plan_bytes(size),
            "{name}: the server plan differs: compile it again as README.md says"
        );
        assert!(
            plan.client.to_bytes().unwrap() == client_plan_bytes(size),
            "{name}: the client plan differs: compile it again as README.md says"
        );
    }
}

#[test]
fn both_halves_belong_together_and_are_secure() {
    for size in Size::ALL {
        let (server, client) = (server_plan(size).unwrap(), client_plan(size).unwrap());
        assert_eq!(client.parents.plan, server.digest(), "{}", size.name());
        assert_eq!(&client.header.parameters, server.parameters());
        assert_eq!(server.batch(), size.images());
        assert!(client.header.parameters.security_bits() >= 128);
        // The suite compares labels as text.
        let digits: Vec<String> = (0..10).map(|digit| digit.to_string()).collect();
        assert_eq!(client.class_names, digits);
    }
}

/// Cargo knows dependencies of packages only, and this package has the client's: so the programs of the server may name no other crate
/// than the server's, whose dependencies `crates/cli/tests/structure.rs` checks.
#[test]
fn the_servers_programs_use_the_servers_crate_alone() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin");
    let mut found = 0;
    for entry in std::fs::read_dir(programs).unwrap() {
        let path = entry.unwrap().path();
        if !path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("server_")
        {
            continue;
        }
        found += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        for name in text.split("sordino_").skip(1) {
            assert!(
                name.starts_with("fhe_benchmark_server::"),
                "{}: uses sordino_{}",
                path.display(),
                name.lines().next().unwrap_or_default()
            );
        }
    }
    assert_eq!(found, 2);
}
