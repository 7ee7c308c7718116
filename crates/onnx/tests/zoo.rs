//! Fifty networks as people export them compute what their exporters say, or are refused for a stated reason.

mod common;

use std::fs;

use common::{distance, folder, numbers};
use serde_json::Value;
use sordino_graph::execute;
use sordino_onnx::{Error, ImportOptions, Imported, Network};

/// Networks that are refused, with a part of the reason.
const REFUSED: &[(&str, &str)] = &[];

struct Entry {
    name: String,
    image: [usize; 3],
    images: usize,
    layout: String,
    keras: bool,
    polynomial: bool,
    /// Inputs, channels first.
    inputs: Vec<f32>,
    /// Name, form and values of each output that is no label.
    outputs: Vec<(String, String, Vec<f32>)>,
}

fn entries() -> Vec<Entry> {
    let text = fs::read_to_string(folder("zoo").join("zoo.json")).unwrap();
    let list: Vec<Value> = serde_json::from_str(&text).unwrap();
    list.iter().map(entry).collect()
}

fn entry(value: &Value) -> Entry {
    let name = value["name"].as_str().unwrap().to_string();
    let sides: Vec<usize> = value["image"]
        .as_array()
        .unwrap()
        .iter()
        .map(|side| side.as_u64().unwrap() as usize)
        .collect();
    let image = [sides[0], sides[1], sides[2]];
    let images = value["images"].as_u64().unwrap() as usize;
    let mut values = numbers(&folder("zoo").join(format!("{name}.f32")));
    let elements: usize = image.iter().product();
    let mut rest = values.split_off(images * elements);
    let layout = value["layout"].as_str().unwrap().to_string();
    let inputs = match &layout[..] {
        "NHWC" => values
            .chunks(elements)
            .flat_map(|one| channels_first(one, image))
            .collect(),
        _ => values,
    };
    let mut outputs = Vec::new();
    for output in value["outputs"].as_array().unwrap() {
        let shape = output["shape"].as_array().unwrap().iter();
        let size: usize = shape.map(|side| side.as_u64().unwrap() as usize).product();
        let next = rest.split_off(images * size);
        let end = output["end"].as_str().unwrap().to_string();
        if end != "label" {
            outputs.push((output["name"].as_str().unwrap().to_string(), end, rest));
        }
        rest = next;
    }
    assert!(rest.is_empty(), "{name}");
    let exporter = value["exporter"].as_str().unwrap();
    Entry {
        image,
        images,
        layout,
        keras: exporter == "keras",
        polynomial: value["polynomial"].as_bool().unwrap(),
        inputs,
        outputs,
        name,
    }
}

fn channels_first(image: &[f32], [channels, height, width]: [usize; 3]) -> Vec<f32> {
    let element = |c: usize, at: usize| image[at * channels + c];
    (0..channels)
        .flat_map(|c| (0..height * width).map(move |at| element(c, at)))
        .collect()
}

fn import(entry: &Entry, network: &Network, output: &str) -> Result<Imported, Error> {
    network.import(&ImportOptions {
        output: Some(output.to_string()),
        input_shape: (entry.layout == "flat").then_some(entry.image),
        layout: None,
    })
}

#[test]
fn networks_compute_what_their_exporters_say() {
    let entries = entries();
    assert_eq!(entries.len(), 50);
    let (mut imported, mut keras, mut refused) = (0, 0, Vec::new());
    for entry in &entries {
        let network = Network::read(folder("zoo").join(format!("{}.onnx", entry.name))).unwrap();
        let mut all = true;
        for (output, end, expected) in &entry.outputs {
            let found = match import(entry, &network, output) {
                Ok(found) => found,
                Err(error) => {
                    refused.push((entry.name.clone(), error.to_string()));
                    all = false;
                    continue;
                }
            };
            let classes = found.graph.classes();
            let logits = execute(&found.graph, &entry.inputs, entry.images).unwrap();
            let values: Vec<f32> = logits
                .chunks(classes)
                .flat_map(|row| found.file_output(row))
                .collect();
            let worst = distance(&values, expected);
            assert!(worst < 1e-4, "{} {output} ({end}): {worst}", entry.name);
            network
                .check(&found)
                .unwrap_or_else(|error| panic!("{} {output}: {error}", entry.name));
            let teacher = found
                .graph
                .nodes()
                .iter()
                .any(|node| node.op.is_teacher_only());
            if entry.polynomial {
                assert!(!teacher, "{} {output}", entry.name);
            }
        }
        imported += usize::from(all);
        keras += usize::from(all && entry.keras);
    }
    for (name, error) in &refused {
        let reason = REFUSED.iter().find(|(refused, _)| refused == name);
        assert!(
            reason.is_some_and(|(_, reason)| error.contains(reason)),
            "{name}: {error}"
        );
    }
    assert_eq!(refused.len(), REFUSED.len());
    assert!(imported >= 45, "{imported} of 50");
    assert!(keras >= 9, "{keras} of 10");
}
