//! Files that mean harm, or that are damaged.

use prost::Message;
use sordino_graph::execute;

use super::{bytes, dense, kinds, node, read};
use crate::proto::{AttributeProto, ModelProto, NodeProto, StringEntryProto};
use crate::{ImportOptions, Network};

#[test]
fn versions_and_hostile_sizes_are_refused() {
    let mut model = ModelProto::decode(&bytes(dense("image"), &[0, 2, 4, 4], 1)[..]).unwrap();
    for (version, good) in [(6, false), (7, true), (24, true), (25, false)] {
        model.opset_import[0].version = version;
        let network = Network::from_bytes(&model.encode_to_vec());
        assert_eq!(network.is_ok(), good, "{version}");
    }
    // A shape of petabytes in a file of bytes.
    let huge = |operator: &str, ints: &[i64]| {
        let target = NodeProto {
            attribute: vec![AttributeProto {
                name: "value_ints".to_string(),
                ints: ints.to_vec(),
                ..Default::default()
            }],
            ..node("Constant", "target", &[], "target")
        };
        let mut nodes = vec![
            target,
            node(operator, "huge", &["two", "target"], "y"),
            node("Add", "sum", &["image", "y"], "x"),
        ];
        nodes.extend(dense("x"));
        read(nodes)
    };
    let message = huge("Expand", &[1 << 20, 1 << 20, 1, 1])
        .unwrap_err()
        .to_string();
    assert!(message.contains("huge"), "{message}");
    let message = huge("Expand", &[i64::MAX, i64::MAX])
        .unwrap_err()
        .to_string();
    assert!(message.contains("huge"), "{message}");
}

#[test]
fn many_nodes_take_no_time() {
    // Each doubles a large constant's elements in turn: without a budget this would take hours.
    let mut nodes = vec![NodeProto {
        attribute: vec![AttributeProto {
            name: "value_ints".to_string(),
            ints: vec![1 << 12, 1 << 12],
            ..Default::default()
        }],
        ..node("Constant", "shape", &[], "shape")
    }];
    nodes.push(node("Expand", "expand", &["two", "shape"], "c0"));
    for step in 0..20_000 {
        nodes.push(node(
            "Add",
            "",
            &[&format!("c{step}"), "two"],
            &format!("c{}", step + 1),
        ));
    }
    nodes.push(node("Add", "last", &["image", "c20000"], "x"));
    nodes.extend(dense("x"));
    let start = std::time::Instant::now();
    let message = read(nodes).unwrap_err().to_string();
    assert!(message.contains("too much work"), "{message}");
    assert!(start.elapsed().as_secs() < 60);
    // Many small ones are read.
    let mut nodes = Vec::new();
    let mut last = "image".to_string();
    for step in 0..60_000 {
        let next = format!("v{step}");
        nodes.push(node("Identity", "", &[&last], &next));
        last = next;
    }
    nodes.extend(dense(&last));
    let start = std::time::Instant::now();
    assert_eq!(kinds(&read(nodes).unwrap()), ["input", "flatten", "dense"]);
    assert!(start.elapsed().as_secs() < 30);
}

#[test]
fn data_beside_the_file_stays_in_its_folder() {
    let folder = std::env::temp_dir().join(format!("sordino-onnx-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let weights: Vec<u8> = (0..96u32)
        .flat_map(|i| (i as f32 / 96.0).to_le_bytes())
        .collect();
    std::fs::write(folder.join("weights"), &weights).unwrap();
    let import = |entries: &[(&str, &str)]| {
        let mut model = ModelProto::decode(&bytes(dense("image"), &[0, 2, 4, 4], 1)[..]).unwrap();
        let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
        tensor.float_data.clear();
        tensor.data_location = 1;
        let entry = |&(key, value): &(&str, &str)| StringEntryProto {
            key: key.to_string(),
            value: value.to_string(),
        };
        tensor.external_data = entries.iter().map(entry).collect();
        std::fs::write(folder.join("net.onnx"), model.encode_to_vec()).unwrap();
        let network = Network::read(folder.join("net.onnx")).unwrap();
        network.import(&ImportOptions::default())
    };
    let imported = import(&[("location", "weights")]).unwrap();
    let image: Vec<f32> = (0..32).map(|i| i as f32).collect();
    let logits = execute(&imported.graph, &image, 1).unwrap();
    let expected: f32 = (0..32).map(|i| i as f32 * (3 * i + 1) as f32 / 96.0).sum();
    assert!((logits[1] - expected).abs() < 1e-2, "{logits:?} {expected}");
    for (entries, part) in [
        (
            vec![("location", "../weights")],
            "expected a file in the folder",
        ),
        (
            vec![("location", "/etc/hostname")],
            "expected a file in the folder",
        ),
        (
            vec![("location", "weights"), ("offset", "4")],
            "expected 384 bytes",
        ),
        (
            vec![("location", "weights"), ("length", "380")],
            "expected 384 bytes",
        ),
        (
            vec![
                ("location", "weights"),
                ("offset", "18446744073709551615"),
                ("length", "384"),
            ],
            "expected 384 bytes",
        ),
        (
            vec![("location", "weights"), ("offset", "x")],
            "expected a number",
        ),
        (
            vec![("location", "absent")],
            "keep the files of one export together",
        ),
    ] {
        let message = import(&entries).unwrap_err().to_string();
        assert!(message.contains(part), "no {part:?} in {message}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/etc/hostname", folder.join("link")).unwrap();
        let message = import(&[("location", "link")]).unwrap_err().to_string();
        assert!(message.contains("leads out of the folder"), "{message}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_is_common_to_several_images_is_refused() {
    let mixed = |reshape: &[i64]| {
        let target = NodeProto {
            attribute: vec![AttributeProto {
                name: "value_ints".to_string(),
                ints: reshape.to_vec(),
                ..Default::default()
            }],
            ..node("Constant", "target", &[], "target")
        };
        let mut nodes = vec![target, node("Reshape", "mixing", &["image", "target"], "x")];
        nodes.extend(dense("x"));
        read(nodes)
    };
    assert!(mixed(&[-1, 2, 16]).is_ok());
    assert!(mixed(&[0, 0, -1]).is_ok());
    // A batch of one, whatever the input says.
    assert!(mixed(&[1, 32]).unwrap().warnings[0].contains("read for one"));
    assert!(mixed(&[3, -1, 4, 4]).is_err());
}
