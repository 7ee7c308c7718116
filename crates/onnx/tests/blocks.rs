//! The usual blocks of torchvision and timm are imported, or refused where they cannot be computed under encryption.

mod common;
#[allow(dead_code, reason = "it reads more than the blocks")]
mod zoo_files;

use common::distance;
use sordino_graph::execute;
use sordino_onnx::{ImportOptions, Network};
use zoo_files::{networks, tests};

#[test]
fn blocks_compute_what_their_libraries_say_or_are_refused() {
    let blocks = networks(&tests().join("zoo/blocks"));
    let mut faults = Vec::new();
    let mut imported = 0;
    for block in &blocks {
        let network = Network::read(&block.path).unwrap();
        let found = network.import(&ImportOptions::default());
        let found = match (found, &block.refused) {
            (Ok(found), None) => found,
            (Err(error), Some(_)) => {
                // The reason is said, and where.
                assert!(
                    error.to_string().contains("node"),
                    "{}: {error}",
                    block.name
                );
                continue;
            }
            (Ok(_), Some(reason)) => {
                faults.push(format!("{} is accepted, expected: {reason}", block.name));
                continue;
            }
            (Err(error), None) => {
                faults.push(format!("{}: {error}", block.name));
                continue;
            }
        };
        imported += 1;
        let logits = execute(&found.graph, &block.planes(), block.images).unwrap();
        let rows = logits.chunks(found.graph.classes());
        let values: Vec<f32> = rows.flat_map(|row| found.file_output(row)).collect();
        let worst = distance(&values, &block.outputs[0].values);
        if worst > block.tolerance.unwrap_or(1e-4) {
            faults.push(format!("{}: {worst}", block.name));
        }
        if let Err(error) = network.check(&found) {
            faults.push(format!("{}: {error}", block.name));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(imported >= 25, "{imported} of {}", blocks.len());
}

#[test]
fn inputs_without_values_are_named() {
    let path = tests().join("zoo/blocks/keras-normalization.onnx");
    let error = Network::read(path)
        .unwrap()
        .import(&ImportOptions::default());
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("2 inputs") && message.contains("constants"),
        "{message}"
    );
}
