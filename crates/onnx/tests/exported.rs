//! Networks exported by PyTorch compute what PyTorch computes.

use std::fs;
use std::path::{Path, PathBuf};

use sordino_graph::{Graph, Op, OutputKind, execute};
use sordino_onnx::{Imported, Network, import};

struct Fixture {
    name: String,
    bytes: Vec<u8>,
    images: Vec<f32>,
    count: usize,
    /// What PyTorch's forward pass gave: logits, or probabilities where the network ends so.
    result: Vec<f32>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The networks of the tracing exporter, and with `.dynamo` of the compiling one.
fn fixtures() -> Vec<Fixture> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "onnx")
        })
        .collect();
    paths.sort();
    assert!(paths.len() >= 15, "{paths:?}");
    paths.iter().map(|path| fixture(path)).collect()
}

fn fixture(path: &Path) -> Fixture {
    let name = path.file_stem().unwrap().to_str().unwrap().to_string();
    let text = folder().join(format!("{}.txt", name.trim_end_matches(".dynamo")));
    let text = fs::read_to_string(text).unwrap();
    let (sizes, numbers) = text.split_once('\n').unwrap();
    let (count, logits) = sizes.split_once(' ').unwrap();
    let (count, logits): (usize, usize) = (count.parse().unwrap(), logits.parse().unwrap());
    let mut images: Vec<f32> = numbers.lines().map(|line| line.parse().unwrap()).collect();
    let result = images.split_off(images.len() - count * logits);
    Fixture {
        bytes: fs::read(path).unwrap(),
        name,
        images,
        count,
        result,
    }
}

fn softmax(row: &[f32]) -> Vec<f32> {
    let sum: f32 = row.iter().map(|value| value.exp()).sum();
    row.iter().map(|value| value.exp() / sum).collect()
}

fn assert_close(name: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let size = expected
        .iter()
        .fold(1e-3f32, |size, value| size.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= 1e-4 * size,
            "{name}: {found} and {expected}"
        );
    }
}

/// The graph's result in the form that the file gives it.
fn finished(imported: &Imported, images: &[f32], count: usize, name: &str) -> Vec<f32> {
    let logits = execute(&imported.graph, images, count).unwrap();
    if imported.output != OutputKind::Softmax {
        return logits;
    }
    let rows = logits.chunks(imported.graph.classes()).map(softmax);
    let log = name.starts_with("viewed");
    rows.flatten()
        .map(|p| if log { p.ln() } else { p })
        .collect()
}

#[test]
fn logits_are_those_of_pytorch() {
    for fixture in fixtures() {
        let imported =
            import(&fixture.bytes).unwrap_or_else(|error| panic!("{}: {error}", fixture.name));
        assert!(
            imported.producer.contains("pytorch"),
            "{}",
            imported.producer
        );
        let maximum = fixture.name.starts_with("lenet-max");
        assert_eq!(
            !imported.warnings.is_empty(),
            maximum,
            "{:?}",
            imported.warnings
        );
        for warning in &imported.warnings {
            assert!(
                warning.contains("maximum") && warning.contains("average"),
                "{warning}"
            );
        }
        let network = Network::from_bytes(&fixture.bytes).unwrap();
        network.check(&imported).unwrap();
        let found = finished(&imported, &fixture.images, fixture.count, &fixture.name);
        assert_close(&fixture.name, &found, &fixture.result);
    }
}

fn kinds(graph: &Graph) -> Vec<&'static str> {
    graph.nodes().iter().map(|node| node.op.kind()).collect()
}

#[test]
fn quadratics_have_the_coarsest_granularity_and_split_layers_are_one() {
    use sordino_graph::Granularity::{Channel, Element, Layer};
    for (name, expected) in [
        ("quadratic-layer", vec![Layer, Layer]),
        ("quadratic-channel", vec![Channel, Channel]),
        ("quadratic-element", vec![Element]),
    ] {
        for suffix in ["", ".dynamo"] {
            let path = folder().join(format!("{name}{suffix}.onnx"));
            let imported = import(&fs::read(path).unwrap()).unwrap();
            let found: Vec<_> = imported
                .graph
                .nodes()
                .iter()
                .filter_map(|node| match node.op {
                    Op::Quadratic { granularity, .. } => Some(granularity),
                    _ => None,
                })
                .collect();
            assert_eq!(found, expected, "{name}{suffix}");
        }
    }
    let mlp = import(&fs::read(folder().join("mlp.onnx")).unwrap()).unwrap();
    assert_eq!(
        kinds(&mlp.graph),
        ["input", "flatten", "dense", "relu", "dense"]
    );
    let viewed = import(&fs::read(folder().join("viewed.onnx")).unwrap()).unwrap();
    assert_eq!(
        kinds(&viewed.graph),
        ["input", "affine", "conv2d", "relu", "flatten", "dense"]
    );
}

#[test]
fn damaged_files_are_refused_without_a_panic() {
    let mut state = 0x1234_5678_9abc_def0u64;
    let mut random = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let mut refused = 0;
    for fixture in fixtures() {
        for _ in 0..200 {
            let mut bytes = fixture.bytes.clone();
            match random(3) {
                0 => bytes.truncate(random(bytes.len())),
                1 => {
                    for _ in 0..=random(4) {
                        let at = random(bytes.len());
                        bytes[at] = random(256) as u8;
                    }
                }
                _ => {
                    let (from, to) = (random(bytes.len()), random(bytes.len()));
                    let length = random(64).min(bytes.len() - from.max(to));
                    bytes.copy_within(from..from + length, to);
                }
            }
            refused += usize::from(import(&bytes).is_err());
        }
    }
    assert!(refused > 500, "{refused}");
}
