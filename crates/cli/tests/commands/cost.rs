//! What a network costs encrypted, before it is trained.

use serde_json::Value;

use crate::fixture::{folder, shared, sordino};

#[track_caller]
fn sum_of_layers(costs: &Value) -> f64 {
    let layers = costs["layers"].as_array().unwrap();
    layers
        .iter()
        .map(|layer| layer["seconds"].as_f64().unwrap())
        .sum()
}

#[test]
fn an_architecture_costs_what_its_trained_network_costs() {
    let shared = shared();
    let line = "cost digits --batch 300 --json --packing element-wise --activation element";
    let new = sordino(shared, line).good().json();
    let line = "cost model.safetensors --batch 300 --json --packing element-wise";
    let trained = sordino(shared, line).good().json();
    assert_eq!([&new["trained"], &trained["trained"]], [false, true]);
    for field in ["blocks", "packing", "batch", "upload_bytes"] {
        assert!(!new[field].is_null(), "{field}");
    }
    let names = |costs: &Value| -> Vec<String> {
        let layers = costs["layers"].as_array().unwrap();
        layers.iter().map(|l| l["name"].to_string()).collect()
    };
    assert_eq!(names(&new), names(&trained));
    for costs in [&new, &trained] {
        let all = costs["evaluate_seconds"].as_f64().unwrap();
        let layers = sum_of_layers(costs) * costs["blocks"].as_f64().unwrap();
        assert!((layers / all - 1.0).abs() < 0.02, "{layers} of {all}");
        let per_image = costs["seconds_per_image"].as_f64().unwrap();
        assert!((per_image * 300.0 / all - 1.0).abs() < 1e-9);
    }
    let [new, trained] = [&new, &trained].map(|costs| costs["evaluate_seconds"].as_f64().unwrap());
    assert!((0.5..2.0).contains(&(new / trained)), "{new} {trained}");
}

#[test]
fn a_layer_list_needs_the_shape_of_its_images() {
    let folder = folder("cost");
    let list = r#"
        name = "small"
        layers = [
            { type = "convolution", channels = 2, kernel = 3, stride = 2 },
            { type = "activation" },
            { type = "dense" },
        ]
    "#;
    std::fs::write(folder.join("small.toml"), list).unwrap();
    sordino(&folder, "cost small.toml").refused(2, &["--shape 3x32x32"]);
    sordino(&folder, "cost small.toml --shape 3x32").refused(2, &["channels, rows and columns"]);
    sordino(&folder, "cost nothing").refused(2, &["nothing", "cryptonets"]);
    let text = sordino(
        &folder,
        "cost small.toml --shape 1x9x9 --classes 3 --batch 100",
    )
    .good();
    for part in ["small: 100 images", "not trained", "share", "evaluation"] {
        assert!(text.stdout.contains(part), "no {part:?} in {text:?}");
    }
}
