//! What the commands that only show something show.

use std::fs;

use serde_json::Value;

use crate::fixture::{IMAGES, copies, folder, shared, sordino, test_digits, write_pngs};

#[test]
fn explain_tells_parameters_costs_and_precision() {
    let shared = shared();
    let text = sordino(shared, "explain plan/server.plan").good().stdout;
    for part in [
        "ring degree",
        "log2 Q",
        "QP",
        "security",
        "bits",
        "levels",
        "scale",
        "precision",
        "memory",
        "upload",
        "evaluation key",
        "reply",
        "bytes per image",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let server = sordino(shared, "explain plan/server.plan --why --json")
        .good()
        .json();
    let client = sordino(shared, "explain plan/client.plan --json")
        .good()
        .json();
    for field in [
        "ring_degree",
        "log2_q",
        "log2_qp",
        "security_bits",
        "levels",
        "upload_bytes_per_image",
        "reply_bytes_per_image",
        "estimate",
        "batch",
        "packing",
    ] {
        assert!(!server[field].is_null(), "{field}");
        assert_eq!(server[field], client[field], "{field}");
    }
    assert!(
        server["steps"]
            .as_array()
            .unwrap()
            .iter()
            .all(|step| step["log2_scale"].is_f64())
    );
    assert!(client["steps"].is_null(), "the client's half has no steps");
    assert!(server["why"].as_array().unwrap().len() >= 3);
    assert!(client["why"].is_null());
    let alternatives = server["alternatives"].as_array().unwrap();
    assert!(!alternatives.is_empty(), "there are always larger rings");
    for plan in alternatives {
        assert!(!plan["reason"].as_str().unwrap().is_empty(), "{plan}");
        assert!(plan["coefficient_bytes"].as_u64().unwrap() > 0, "{plan}");
    }
    assert!(client["alternatives"].is_null());
    sordino(shared, "explain request")
        .refused(3, &["request", "expected a server plan or a client plan"]);
}

#[test]
fn explain_predicts_the_sizes_of_the_files() {
    let shared = shared();
    let estimate = sordino(shared, "explain plan/server.plan --json")
        .good()
        .json()["estimate"]
        .clone();
    for (field, file) in [
        ("upload_bytes", "request"),
        ("reply_bytes", "server/reply"),
        ("key_bytes", "keys/evaluation.key"),
    ] {
        let actual = fs::metadata(shared.join(file)).map_or(0, |data| data.len()) as f64;
        let predicted = estimate[field].as_f64().unwrap();
        assert!(
            (predicted - actual).abs() <= 0.01 * actual + 4096.0,
            "{field}: {predicted} for {actual}"
        );
    }
}

#[test]
fn inspect_recomputes_parameters_from_every_file() {
    let shared = shared();
    let inspect = |file: &str| {
        sordino(shared, &format!("inspect {file} --json"))
            .good()
            .json()
    };
    let plan = inspect("plan/server.plan");
    assert!(plan["security_bits"].as_u64().unwrap() >= 128);
    let files = [
        ("plan/server.plan", "server-plan"),
        ("plan/client.plan", "client-plan"),
        ("keys/secret.key", "secret-key"),
        ("keys/evaluation.key", "evaluation-key"),
        ("request", "request"),
        ("server/reply", "reply"),
    ];
    for (file, kind) in files {
        if !shared.join(file).exists() {
            assert_eq!(file, "keys/evaluation.key");
            continue;
        }
        let found = inspect(file);
        assert_eq!(found["kind"], kind);
        assert_eq!(found["version"], 1);
        assert_eq!(found["digest"].as_str().unwrap().len(), 64);
        for field in [
            "ring_degree",
            "primes",
            "special_primes",
            "log2_q",
            "log2_qp",
            "security_bits",
        ] {
            assert_eq!(found[field], plan[field], "{file}: {field}");
        }
        for field in ["parents", "scales", "shapes", "sizes"] {
            assert!(found[field].is_object(), "{file}: {field}");
        }
        let size = fs::metadata(shared.join(file)).unwrap().len();
        assert_eq!(found["sizes"]["file_bytes"], size, "{file}");
    }
    let log2: f64 = plan["primes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|q| q.as_f64().unwrap().log2())
        .sum();
    assert!((plan["log2_q"].as_f64().unwrap() - log2).abs() < 1e-9);
}

#[test]
fn files_name_what_they_were_made_from() {
    let shared = shared();
    let inspect = |file: &str| {
        sordino(shared, &format!("inspect {file} --json"))
            .good()
            .json()
    };
    let digest = |found: &Value| found["digest"].as_str().unwrap().to_owned();
    let (model, plan) = (inspect("model.safetensors"), inspect("plan/server.plan"));
    assert_eq!(
        (&model["kind"], &model["version"]),
        (&"model".into(), &1.into())
    );
    assert_eq!(model["shapes"]["logits"], 10);
    assert_eq!(plan["parents"]["model"], digest(&model));
    assert_eq!(
        inspect("plan/client.plan")["parents"]["plan"],
        digest(&plan)
    );
    let (request, reply) = (inspect("request"), inspect("server/reply"));
    assert_eq!(request["parents"]["plan"], digest(&plan));
    assert_eq!(reply["parents"]["plan"], digest(&plan));
    assert_eq!(reply["parents"]["request"], digest(&request));
    let key = inspect("keys/secret.key");
    assert_eq!(
        request["parents"]["parameters"],
        key["parents"]["parameters"]
    );
    for found in [&request, &reply] {
        assert_eq!(found["key_id"], key["key_id"]);
        assert_eq!(found["shapes"]["images"], IMAGES);
    }
    let names = serde_json::to_string(&request).unwrap();
    assert!(!names.contains("scan-"), "file names stay with the client");
}

#[test]
fn inspect_shows_no_secret_and_finds_damage() {
    let folder = copies(
        "inspect",
        &["keys/secret.key", "request", "model.safetensors"],
    );
    let text = sordino(&folder, "inspect secret.key").good().stdout;
    assert!(text.contains("secret-key") && text.len() < 2000, "{text}");
    for file in ["secret.key", "request", "model.safetensors"] {
        let mut bytes = fs::read(folder.join(file)).unwrap();
        let at = bytes.len() - 3;
        bytes[at] ^= 1;
        fs::write(folder.join(file), bytes).unwrap();
        sordino(&folder, &format!("inspect {file}")).refused(3, &["digest"]);
    }
    fs::write(folder.join("text"), "something else").unwrap();
    sordino(&folder, "inspect text").refused(3, &["expected a Sordino file"]);
    sordino(&folder, "inspect nowhere").refused(5, &["nowhere"]);
}

#[test]
fn data_lists_and_shows() {
    let folder = folder("data");
    let sets = sordino(&folder, "data list --json").good().json();
    assert!(
        sets.as_array()
            .unwrap()
            .iter()
            .any(|set| set["name"] == "digits" && set["path"] == "built in")
    );
    let set = sordino(&folder, "data show digits --json").good().json();
    assert_eq!(set["train"]["images"], 1198);
    assert_eq!(set["test"]["shape"], serde_json::json!([1, 8, 8]));
    write_pngs(&test_digits().split_at(3).0, &folder.join("images"));
    let images = sordino(&folder, "data show images --json").good().json();
    assert_eq!(images["images"]["images"], 3);
    assert_eq!(images["images"]["labels"], false);
    sordino(&folder, "data show nowhere").refused(2, &["nowhere"]);
}

#[test]
fn versions_and_help_name_back_ends_and_commands() {
    let folder = folder("version");
    let version = sordino(&folder, "--version").good().stdout;
    assert!(
        version.starts_with("sordino 0.") && version.contains("portable"),
        "{version}"
    );
    let help = sordino(&folder, "--help").good().stdout;
    for verb in [
        "demo", "data", "train", "ranges", "compile", "keygen", "encrypt", "evaluate", "decrypt",
        "verify", "explain", "inspect", "bench",
    ] {
        assert!(
            help.contains(&format!("\n  {verb} ")),
            "no {verb} in\n{help}"
        );
        let text = sordino(&folder, &format!("{verb} --help")).good().stdout;
        for flag in ["--threads", "--backend", "--quiet", "--json", "--force"] {
            assert!(text.contains(flag), "{verb}: no {flag} in\n{text}");
        }
    }
}
