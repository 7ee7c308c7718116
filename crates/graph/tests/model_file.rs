//! The model file: what is written is read back, and everything else is refused.

mod networks;

use networks::{Coefficients, Random, Sketch, batch_norm, conv, images, quadratic};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sordino_container::{Digest, Overwrite};
use sordino_fault::{Classified, Fault};
use sordino_graph::{
    ColorPolicy, Error, Filter, Granularity, Graph, Model, Op, OperatingPoint, OperatingPoints,
    OutputKind, Preprocess, Shape, SizePolicy, Target, Tensor, Window, calibrate,
    to_half_precision,
};
use std::collections::HashMap;

/// A model with every operation.
fn model() -> Model {
    let random = &mut Random::new(1);
    let shape = Shape::map(2, 6, 6);
    let mut net = Sketch::new(shape);
    net.then(batch_norm(random, &shape));
    net.then(conv(random, [3, 2, 3, 3], [1, 1], [1, 1]));
    let shape = net.shape();
    let x = net.then(quadratic(
        random,
        &shape,
        Granularity::Channel,
        Coefficients::Ordinary,
    ));
    net.then(conv(random, [3, 3, 3, 3], [1, 1], [1, 1]));
    net.push(Op::SUM, &[net.last(), x]);
    net.then(quadratic(
        random,
        &shape,
        Granularity::Element,
        Coefficients::Ordinary,
    ));
    net.then(Op::AveragePool {
        kernel: [2, 2],
        stride: [2, 2],
    });
    let graph = net.finish(random, 3);
    let mut model = Model {
        preprocess: Preprocess {
            channels: 2,
            height: 6,
            width: 6,
            size: SizePolicy::Resize,
            input_range: (0.0, 255.0),
            mean: vec![0.1307, 0.5],
            std: vec![0.3081, 0.25],
            allowed: (0.0, 255.0),
            color: ColorPolicy::Refuse,
            window: None,
        },
        classes: ["a", "b", "ç"].map(String::from).to_vec(),
        graph,
        output: OutputKind::Softmax,
        name: "test".into(),
        dataset: "random".into(),
        calibration: None,
        operating_points: None,
        training: serde_json::json!({"seed": 7, "epochs": [1, 2.5], "note": "é\n"}),
    };
    let images = images(random, model.graph.input_shape(), 20);
    model.calibration = Some(calibrate(&model, &images, 20, &mut |_| ()).unwrap());
    model
}

fn refusal(bytes: &[u8]) -> Error {
    let error = Model::from_bytes(bytes).unwrap_err();
    assert_eq!(error.fault(), Fault::BadFile);
    error
}

#[test]
fn what_is_written_is_read_back_byte_for_byte() {
    let mut model = model();
    for calibrated in [true, false] {
        if !calibrated {
            model.calibration = None;
        }
        let bytes = model.to_bytes().unwrap();
        assert_eq!(bytes, model.to_bytes().unwrap());
        let read = Model::from_bytes(&bytes).unwrap();
        assert_eq!(read, model);
        assert_eq!(read.to_bytes().unwrap(), bytes);
        assert_eq!(model.digest().unwrap(), Digest::of_bytes(&bytes));
    }
}

#[test]
fn every_preprocessing_survives_and_older_ones_are_written_as_before() {
    let mut model = model();
    let before = Parts::of(&model);
    let fields = before.description["preprocess"].as_object().unwrap();
    assert_eq!(fields["size"], "resize");
    assert!(!fields.contains_key("color") && !fields.contains_key("window"));
    let filter = Filter::Area;
    for size in [
        SizePolicy::Refuse,
        SizePolicy::Stretch {
            filter,
            height: 8,
            width: 6,
        },
        SizePolicy::Crop { filter, shorter: 6 },
        SizePolicy::Pad { filter },
    ] {
        for window in [
            None,
            Some(Window::File),
            Some(Window::Given {
                center: -600.0,
                width: 1500.0,
            }),
        ] {
            model.preprocess.size = size;
            model.preprocess.color = ColorPolicy::Convert;
            model.preprocess.window = window;
            let bytes = model.to_bytes().unwrap();
            assert_eq!(Model::from_bytes(&bytes).unwrap(), model);
        }
    }
    for (center, width) in [(f64::NAN, 10.0), (0.0, 0.5), (0.0, f64::INFINITY)] {
        model.preprocess.window = Some(Window::Given { center, width });
        let message = model.validate().unwrap_err().to_string();
        assert!(message.contains("window"), "{message}");
    }
}

#[test]
fn a_teacher_with_relu_is_a_model_too() {
    let mut net = Sketch::new(Shape::map(2, 6, 6));
    net.then(Op::RELU);
    let mut model = model();
    model.graph = net.finish(&mut Random::new(2), 3);
    model.calibration = None;
    let bytes = model.to_bytes().unwrap();
    assert_eq!(Model::from_bytes(&bytes).unwrap(), model);
}

#[test]
fn files_without_a_statistic_of_inputs_are_models_as_before() {
    let mut model = model();
    model.calibration.as_mut().unwrap().input = None;
    let bytes = model.to_bytes().unwrap();
    assert_eq!(Model::from_bytes(&bytes).unwrap(), model);
    let mut parts = Parts::of(&model);
    assert!(parts.description["calibration"].get("input").is_none());
    assert!(
        !parts
            .tensors
            .iter()
            .any(|tensor| tensor.0.contains("input."))
    );
    // A description that promises one has to have its tensors.
    parts.description["calibration"]["input"] = serde_json::json!({"images": 1, "limits": []});
    let message = refusal(&parts.bytes()).to_string();
    assert!(message.contains("calibration/input.mean"), "{message}");
}

#[test]
fn operating_points_are_kept_and_files_without_are_models_as_before() {
    let mut model = model();
    model.output = OutputKind::Sigmoid;
    let plain = Parts::of(&model);
    assert!(plain.description.get("operating_points").is_none());
    let point = OperatingPoint {
        class: 1,
        threshold: -0.31,
        slope: 1.7,
        offset: 0.1,
        positives: 12,
        negatives: 30,
        sensitivity: 0.9,
        specificity: 0.8,
    };
    model.operating_points = Some(OperatingPoints {
        part: "validation".into(),
        images: 42,
        target: Target::Specificity(0.8),
        points: vec![point],
    });
    let read = Model::from_bytes(&model.to_bytes().unwrap()).unwrap();
    assert_eq!(read, model);
    // Points of a network without findings.
    let mut parts = Parts::of(&model);
    parts.description["output"] = "softmax".into();
    let message = refusal(&parts.bytes()).to_string();
    assert!(
        message.contains("class 1 is no finding") && message.contains("sordino thresholds"),
        "{message}"
    );
}

#[test]
fn files_are_written_whole_and_not_over_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let model = model();
    let digest = model.save(&path, Overwrite::Refuse).unwrap();
    assert_eq!(digest, Digest::of_bytes(&std::fs::read(&path).unwrap()));
    assert_eq!(Model::load(&path).unwrap(), model);
    let error = model.save(&path, Overwrite::Refuse).unwrap_err();
    assert_eq!(error.fault(), Fault::Usage);
    model.save(&path, Overwrite::Replace).unwrap();
    let missing = folder.path().join("missing.safetensors");
    let error = Model::load(&missing).unwrap_err();
    assert_eq!(error.fault(), Fault::Io);
    assert!(error.to_string().contains("missing.safetensors"));
    std::fs::write(&path, b"not a model").unwrap();
    let error = Model::load(&path).unwrap_err();
    assert!(matches!(&error, Error::ModelFile { .. }));
    assert!(error.to_string().contains("m.safetensors"), "{error}");
    // Only the length is looked at, nothing is read.
    let huge = std::fs::File::create(&path).unwrap();
    huge.set_len((512 << 20) + 1).unwrap();
    let error = Model::load(&path).unwrap_err();
    assert!(
        error.to_string().contains("at most 536870912 bytes"),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_bad_model_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let mut model = model();
    model.classes.pop();
    let error = model.save(&path, Overwrite::Refuse).unwrap_err();
    assert!(
        error.to_string().contains("3 logits and 2 class names"),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn every_truncation_is_refused() {
    let bytes = model().to_bytes().unwrap();
    let lengths = (0..200).chain((200..bytes.len()).step_by(97));
    for length in lengths.chain([bytes.len() - 1]) {
        refusal(&bytes[..length]);
    }
    let mut longer = bytes;
    longer.push(0);
    refusal(&longer);
}

#[test]
fn every_flipped_bit_that_changes_the_model_is_refused() {
    let model = model();
    let bytes = model.to_bytes().unwrap();
    let random = &mut Random::new(3);
    let mut refused = 0;
    for _ in 0..800 {
        let mut damaged = bytes.clone();
        let place = random.below(bytes.len());
        damaged[place] ^= 1 << random.below(8);
        match Model::from_bytes(&damaged) {
            // Such as 1e-5 written 1E-5.
            Ok(read) => assert_eq!(read, model),
            Err(error) => {
                assert_eq!(error.fault(), Fault::BadFile);
                refused += 1;
            }
        }
    }
    assert!(refused > 780, "{refused}");
    // A weight that is as good as the one before.
    let mut damaged = bytes;
    let last = damaged.len() - 4;
    damaged[last] ^= 1;
    let message = refusal(&damaged).to_string();
    assert!(message.contains("does not match its digest"), "{message}");
}

#[test]
fn oversized_headers_are_refused_before_they_are_parsed() {
    let bytes = model().to_bytes().unwrap();
    for length in [4 * 1024 * 1024 + 1, u64::MAX, 1 << 63] {
        let mut damaged = bytes.clone();
        damaged[..8].copy_from_slice(&u64::to_le_bytes(length));
        let message = refusal(&damaged).to_string();
        assert!(
            message.contains("header of at most 4194304 bytes"),
            "{message}"
        );
    }
    let mut damaged = bytes.clone();
    damaged[..8].copy_from_slice(&u64::to_le_bytes(bytes.len() as u64));
    let message = refusal(&damaged).to_string();
    assert!(message.contains("cut short"), "{message}");
}

/// Tensors and description of a file, to be changed and written again.
struct Parts {
    tensors: Vec<(String, Vec<usize>, Vec<u8>, Dtype)>,
    description: serde_json::Value,
}

impl Parts {
    fn of(model: &Model) -> Self {
        let bytes = model.to_bytes().unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let json = &metadata.metadata().as_ref().unwrap()["sordino"];
        Self {
            tensors: file
                .tensors()
                .into_iter()
                .map(|(name, view)| {
                    (
                        name,
                        view.shape().to_vec(),
                        view.data().to_vec(),
                        view.dtype(),
                    )
                })
                .collect(),
            description: serde_json::from_str(json).unwrap(),
        }
    }

    fn tensor(&mut self, wanted: &str) -> &mut (String, Vec<usize>, Vec<u8>, Dtype) {
        self.tensors
            .iter_mut()
            .find(|(name, ..)| name == wanted)
            .unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, shape, data, dtype)| {
            (
                name.as_str(),
                TensorView::new(*dtype, shape.clone(), data).unwrap(),
            )
        });
        let metadata = HashMap::from([("sordino".to_string(), self.description.to_string())]);
        safetensors::serialize(views, Some(metadata)).unwrap()
    }
}

#[test]
fn a_file_made_of_its_own_parts_is_good() {
    let model = model();
    assert_eq!(
        Model::from_bytes(&Parts::of(&model).bytes()).unwrap(),
        model
    );
}

#[test]
fn bad_tensors_are_refused_by_name() {
    let model = model();
    let change = |change: &dyn Fn(&mut Parts)| {
        let mut parts = Parts::of(&model);
        change(&mut parts);
        refusal(&parts.bytes()).to_string()
    };
    let with_value = |index: usize, value: f32| {
        change(&|parts| {
            let data = &mut parts.tensor("conv2d2.weight").2;
            data[4 * index..][..4].copy_from_slice(&value.to_le_bytes());
        })
    };
    for value in [f32::NAN, f32::INFINITY] {
        let message = with_value(5, value);
        assert!(
            message.contains("\"conv2d2\"") && message.contains("index 5"),
            "{message}"
        );
    }
    let message = change(&|parts| parts.tensor("conv2d2.weight").1 = vec![2, 3, 3, 3]);
    assert!(
        message.contains("\"conv2d2\"") && message.contains("expects 3 channels, found 2"),
        "{message}"
    );
    let message = change(&|parts| parts.tensor("conv2d2.weight").1 = vec![54]);
    assert!(message.contains("[out, in, height, width]"), "{message}");
    let message = change(&|parts| parts.tensor("quadratic3.a").1 = vec![3, 1]);
    assert!(message.contains("one axis"), "{message}");
    let message = change(&|parts| {
        let tensor = parts.tensor("quadratic6.c");
        tensor.1 = vec![107];
        tensor.2.truncate(4 * 107);
    });
    assert!(message.contains("c needs 108 values"), "{message}");
    let message = change(&|parts| parts.tensor("conv2d2.bias").3 = Dtype::I32);
    assert!(message.contains("in f32 or f16, found I32"), "{message}");
    let message = change(&|parts| parts.tensors.retain(|(name, ..)| name != "dense9.bias"));
    assert!(
        message.contains("expected a tensor \"dense9.bias\""),
        "{message}"
    );
    let message = change(&|parts| {
        parts
            .tensors
            .push(("extra.weight".into(), vec![1], vec![0; 4], Dtype::F32));
    });
    assert!(
        message.contains("does not fit its own description"),
        "{message}"
    );
    let message = change(&|parts| {
        let data = &mut parts.tensor("calibration/1.mean_square").2;
        data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    assert!(message.contains("record the ranges again"), "{message}");
}

#[test]
fn bad_descriptions_are_refused() {
    let model = model();
    let change = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut parts = Parts::of(&model);
        change(&mut parts.description);
        refusal(&parts.bytes()).to_string()
    };
    for (path, value, expected) in [
        (
            "/format_version",
            serde_json::json!(2),
            "format version 1, found 2",
        ),
        ("/format_version", serde_json::json!("1"), "cannot be read"),
        ("/output", serde_json::json!("loud"), "cannot be read"),
        (
            "/preprocess/width",
            serde_json::json!(7),
            "preprocessing makes images of 2x6x7",
        ),
        (
            "/input",
            serde_json::json!({"map": {"channels": 4_000_000_000u64, "height": 4_000_000_000u64, "width": 4_000_000_000u64}}),
            "elements",
        ),
        (
            "/classes",
            serde_json::json!(["x"]),
            "3 logits and 1 class names",
        ),
        (
            "/classes/1",
            serde_json::json!("b\u{7}"),
            "control characters",
        ),
        ("/name", serde_json::json!("n".repeat(300)), "shorten it"),
        (
            "/preprocess/std/1",
            serde_json::json!(0.0),
            "must be positive",
        ),
        (
            "/preprocess/mean",
            serde_json::json!([0.5]),
            "1 values for 2 channels",
        ),
        (
            "/preprocess/allowed",
            serde_json::json!([1.0, 1.0]),
            "not an interval",
        ),
        (
            "/preprocess/height",
            serde_json::json!(-1),
            "cannot be read",
        ),
        (
            "/nodes/2/op/stride/0",
            serde_json::json!(0),
            "must be at least 1",
        ),
        (
            "/nodes/2/op/padding/0",
            serde_json::json!(u64::MAX),
            "does not fit",
        ),
        (
            "/nodes/2/op/kind",
            serde_json::json!("gru"),
            "cannot be read",
        ),
        (
            "/nodes/2/inputs",
            serde_json::json!([0, 1]),
            "reads 1 values",
        ),
        (
            "/nodes/2/inputs",
            serde_json::json!([77]),
            "order of evaluation",
        ),
        ("/nodes", serde_json::json!([]), "nodes"),
        (
            "/calibration/margin_bits",
            serde_json::json!(-1.0),
            "margin",
        ),
        (
            "/calibration/nodes/input/max",
            serde_json::json!(-9.0),
            "range of node \"input\"",
        ),
        (
            "/calibration/folded/0/max_abs",
            serde_json::json!(-1.0),
            "not finite and positive",
        ),
        (
            "/calibration/input/limits/0",
            serde_json::json!(-1.0),
            "expected positive numbers",
        ),
        (
            "/calibration/folded",
            serde_json::json!([]),
            "does not fit its own description",
        ),
    ] {
        let message = change(&|description| {
            *description.pointer_mut(path).unwrap() = value.clone();
        });
        assert!(
            message.contains(expected),
            "{path}: {message:?} lacks {expected:?}"
        );
    }
    for path in ["", "/preprocess", "/nodes/2", "/nodes/2/op", "/calibration"] {
        let message = change(&|description| {
            let object = description.pointer_mut(path).unwrap();
            object["surprise"] = serde_json::json!(1);
        });
        assert!(
            message.contains("unknown field `surprise`"),
            "{path}: {message}"
        );
    }
    let message = change(&|description| {
        description["calibration"]["nodes"]
            .as_object_mut()
            .unwrap()
            .remove("input");
    });
    assert!(
        message.contains("a range for each of 10 nodes, found 9"),
        "{message}"
    );
}

#[test]
fn weights_without_a_network_are_refused_with_advice() {
    let data = [0; 4];
    let view = TensorView::new(Dtype::F32, vec![1], &data).unwrap();
    let bytes = safetensors::serialize([("w", view)], None).unwrap();
    let message = refusal(&bytes).to_string();
    assert!(message.contains("weights without a network"), "{message}");
}

#[test]
fn values_of_half_precision_are_stored_in_two_bytes_and_nothing_is_lost() {
    let mut model = model();
    let full = model.to_bytes().unwrap().len();
    let halved = |op: &mut Op| match op {
        Op::Conv2d { weight, .. } | Op::Dense { weight, .. } => {
            let values = weight
                .data()
                .iter()
                .map(|&v| to_half_precision(v))
                .collect();
            *weight = Tensor::new(weight.shape(), values).unwrap();
        }
        _ => {}
    };
    let mut nodes = model.graph.nodes().to_vec();
    nodes.iter_mut().for_each(|node| halved(&mut node.op));
    let weights: usize = nodes
        .iter()
        .map(|node| match &node.op {
            Op::Conv2d { weight, .. } | Op::Dense { weight, .. } => weight.data().len(),
            _ => 0,
        })
        .sum();
    model.graph = Graph::new(model.graph.input_shape(), nodes).unwrap();
    let bytes = model.to_bytes().unwrap();
    assert!(
        bytes.len() + 2 * weights <= full + 64,
        "{} of {full}",
        bytes.len()
    );
    assert_eq!(Model::from_bytes(&bytes).unwrap(), model);
}
