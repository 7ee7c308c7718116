//! The same network and images in both packings.

use std::fs;

use crate::fixture::{folder, shared, sordino};

/// Images of a batch.
const BATCH: usize = 5;

#[test]
fn channel_wise_and_element_wise_give_the_same_classes() {
    let shared = shared();
    let folder = folder("packings");
    let model = shared.join("model.safetensors").display().to_string();
    let images = folder.join("images");
    fs::create_dir(&images).unwrap();
    for index in 0..BATCH {
        let name = format!("scan-{index:05}.png");
        fs::copy(shared.join("images").join(&name), images.join(&name)).unwrap();
    }
    let mut classes = Vec::new();
    for packing in ["element-wise", "channel-wise"] {
        let run = |line: &str| sordino(&folder, &line.replace("PACKING", packing)).good();
        run(&format!(
            "compile {model} --batch {BATCH} --packing PACKING --out PACKING"
        ));
        run("keygen --plan PACKING/client.plan --out PACKING/keys");
        run(
            "encrypt --plan PACKING/client.plan --key PACKING/keys/secret.key --images images --out PACKING/request",
        );
        let keys = match folder.join(packing).join("keys/evaluation.key").exists() {
            true => "--keys PACKING/keys/evaluation.key",
            false => "",
        };
        run(&format!(
            "evaluate --plan PACKING/server.plan {keys} --request PACKING/request --out PACKING/reply"
        ));
        run(
            "decrypt --plan PACKING/client.plan --key PACKING/keys/secret.key --reply PACKING/reply --out PACKING/predictions.csv",
        );
        run(&format!(
            "verify --model {model} --plan PACKING/server.plan --images images --predictions PACKING/predictions.csv"
        ));
        let text = fs::read_to_string(folder.join(packing).join("predictions.csv")).unwrap();
        let class = |line: &str| line.split(',').nth(2).unwrap().to_owned();
        classes.push(text.lines().skip(1).map(class).collect::<Vec<_>>());
    }
    assert_eq!(classes[0].len(), BATCH);
    assert_eq!(classes[0], classes[1]);

    // What the plans and the key say of themselves.
    let inspected = |file: &str| sordino(&folder, &format!("inspect {file} --json")).json();
    let plan = inspected("channel-wise/client.plan");
    let key = inspected("channel-wise/keys/evaluation.key");
    assert_eq!(plan["packing"], "channel-wise");
    assert!(!plan["rotations"].as_array().unwrap().is_empty());
    assert_eq!(plan["rotations"], key["key_set"]["rotations"]);
    let explained = sordino(&folder, "explain channel-wise/server.plan --json").json();
    assert!(explained["galois_keys"].as_u64().unwrap() > 0);
    let rotations = |step: &serde_json::Value| step["rotations"].as_u64().unwrap();
    assert!(
        explained["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(rotations)
            .sum::<u64>()
            > 0
    );
}

#[test]
fn auto_takes_the_faster_packing_and_says_from_where_on_the_other_is() {
    let folder = folder("auto");
    let model = shared().join("model.safetensors").display().to_string();
    for (batch, packing) in [(1, "channel-wise"), (20_000, "element-wise")] {
        let line = format!("compile {model} --batch {batch} --out plan --force --json");
        let explanation = sordino(&folder, &line).good().json()["explanation"].clone();
        let seconds = |name: &str| explanation["comparison"][name].as_f64().unwrap();
        let faster = match seconds("channel_wise_seconds") < seconds("element_wise_seconds") {
            true => "channel-wise",
            false => "element-wise",
        };
        assert_eq!(explanation["packing"], faster);
        assert_eq!(faster, packing, "a batch of {batch}");
        let break_even = explanation["comparison"]["break_even_batch"]
            .as_u64()
            .unwrap();
        assert!((2..20_000).contains(&break_even), "{break_even}");
    }
}
