//! The stored networks are complete: what the index says is what the files have.

mod zoo_files;

use std::collections::BTreeMap;

use zoo_files::{cases, networks, tests};

#[test]
fn fifty_networks_are_listed_with_their_numbers() {
    let mut by_exporter = BTreeMap::new();
    let networks = networks(&tests().join("zoo"));
    for network in &networks {
        *by_exporter.entry(&network.exporter[..]).or_insert(0) += 1;
        assert!(network.path.exists(), "{}", network.name);
        assert!(!network.tags.is_empty(), "{}", network.name);
        assert!(
            network.images == 8 && network.refused.is_none(),
            "{}",
            network.name
        );
        assert!((9..=24).contains(&network.opset), "{}", network.name);
        assert!(
            network
                .batch
                .is_none_or(|batch| network.images % batch == 0),
            "{}",
            network.name
        );
        assert_eq!(
            network.planes().len(),
            network.inputs.len(),
            "{}",
            network.name
        );
        let first = &network.outputs[0];
        let rows: Vec<&[f32]> = first.values.chunks(first.size).collect();
        assert!(
            rows.iter().any(|row| row != &rows[0]),
            "{}: the outputs are constant",
            network.name
        );
        assert!(
            !first.name.is_empty() && !first.end.is_empty(),
            "{}",
            network.name
        );
    }
    let expected = [
        ("keras", 10),
        ("skl2onnx", 5),
        ("tf2onnx", 5),
        ("torch-compiling", 15),
        ("torch-tracing", 15),
    ];
    assert_eq!(by_exporter, BTreeMap::from(expected));
    assert!(networks.iter().filter(|network| network.polynomial).count() >= 12);
}

#[test]
fn usual_blocks_are_listed_with_their_numbers() {
    let blocks = networks(&tests().join("zoo/blocks"));
    for block in &blocks {
        assert!(block.path.exists(), "{}", block.name);
        assert_eq!(block.layout, "NCHW", "{}", block.name);
        assert_eq!(
            (block.images, block.outputs.len()),
            (4, 1),
            "{}",
            block.name
        );
        assert!(
            block.tolerance.is_none_or(|tolerance| tolerance < 0.2),
            "{}",
            block.name
        );
    }
    let refused = blocks
        .iter()
        .filter(|block| block.refused.is_some())
        .count();
    assert_eq!((blocks.len(), refused), (66, 20));
}

#[test]
fn operator_cases_are_complete() {
    let cases = cases();
    assert!(cases.len() > 2000, "{}", cases.len());
    for case in &cases {
        let name = format!("{}-{}: {}", case.operator, case.opset, case.attributes);
        assert!((7..=24).contains(&case.opset), "{name}");
        assert!(
            ["plain", "trap", "batch"].contains(&&case.kind[..]),
            "{name}"
        );
        assert_eq!(
            case.images * case.image.iter().product::<usize>(),
            case.inputs.len(),
            "{name}"
        );
        assert_eq!(
            case.output.iter().product::<usize>(),
            case.outputs.len(),
            "{name}"
        );
        assert!(
            case.kind == "batch" || case.output[0] == case.images && case.output.len() == 2,
            "{name}"
        );
        assert!(
            !case.evaluators.is_empty() && !case.model.is_empty(),
            "{name}"
        );
        assert!(case.note.as_deref() != Some(""), "{name}");
    }
}
