//! What the command line itself refuses: wrong flags, existing files, what the limits do not allow.

use std::fs;

use crate::fixture::{IMAGES, copies, evaluate_flags, folder, listing, shared, sordino};

#[test]
fn flags_that_make_no_sense() {
    let folder = folder("usage");
    for arguments in [
        "",
        "unknown",
        "compile",
        "compile model --batch many --out plan",
        "compile model --batch 4 --out plan --packing diagonal",
        "compile model --batch 4 --out plan --memory lots",
        "encrypt --plan a --key b --images c --out d --range 5..1",
        "train --data digits --arch digits --activation tanh --out model",
        "demo --threads 0",
        "bench speed",
    ] {
        let run = sordino(&folder, arguments);
        assert_eq!(run.code, 2, "{arguments}: {run:?}");
        assert!(
            run.stderr.contains("Usage") || run.stderr.contains("--help"),
            "{run:?}"
        );
    }
    sordino(&folder, "data list --backend abacus").refused(2, &["abacus", "portable"]);
    sordino(
        &folder,
        "train --data digits --arch transformer --out model",
    )
    .refused(2, &["transformer", "cryptonets"]);
    sordino(&folder, "train --data nowhere --arch digits --out model")
        .refused(2, &["nowhere", "SORDINO_DATA"]);
    sordino(&folder, "bench mnist --networks mlp")
        .refused(2, &["models/mlp-mnist.safetensors", "--models"]);
    sordino(&folder, "bench mnist --data nowhere --models .").refused(2, &["mlp"]);
    fs::write(
        folder.join("layers.toml"),
        "name = \"x\"\nlayers = [{ type = \"pool\" }]\n",
    )
    .unwrap();
    sordino(
        &folder,
        "train --data digits --arch layers.toml --out model",
    )
    .refused(3, &["layers.toml", "pool"]);
    assert_eq!(listing(&folder), ["layers.toml"]);
}

#[test]
fn existing_files_stay_without_force_and_secret_keys_with_it() {
    let shared = shared();
    let at = |file: &str| shared.join(file).display().to_string();
    let folder = folder("existing");
    let (client, secret) = (at("plan/client.plan"), at("keys/secret.key"));
    let compile = format!(
        "compile {} --batch {IMAGES} --out plan",
        at("model.safetensors")
    );
    sordino(&folder, &compile).good();
    sordino(&folder, &compile).refused(2, &["exists already", "--force"]);
    sordino(&folder, &format!("{compile} --force")).good();

    let encrypt = format!(
        "encrypt --plan {client} --key {secret} --images {} --out request",
        at("images/scan-00000.png")
    );
    fs::write(folder.join("request"), "precious").unwrap();
    sordino(&folder, &encrypt).refused(2, &["request", "exists already"]);
    assert_eq!(fs::read(folder.join("request")).unwrap(), b"precious");
    sordino(&folder, &format!("{encrypt} --force")).good();
    assert!(
        fs::read(folder.join("request"))
            .unwrap()
            .starts_with(b"SORDINO\0")
    );

    let keygen = format!("keygen --plan {client} --out keys");
    sordino(&folder, &keygen).good();
    let before: Vec<Vec<u8>> = listing(&folder.join("keys"))
        .iter()
        .map(|name| fs::read(folder.join("keys").join(name)).unwrap())
        .collect();
    for flag in ["", "--force"] {
        sordino(&folder, &format!("{keygen} {flag}")).refused(2, &["secret.key", "exists already"]);
        let after: Vec<Vec<u8>> = listing(&folder.join("keys"))
            .iter()
            .map(|name| fs::read(folder.join("keys").join(name)).unwrap())
            .collect();
        assert_eq!(before, after);
    }
}

#[test]
fn what_the_limits_do_not_allow() {
    let shared = shared();
    let folder = folder("limits");
    let model = shared.join("model.safetensors").display().to_string();
    let compile = |more: &str| {
        sordino(
            &folder,
            &format!("compile {model} --batch 100 --out plan {more}"),
        )
    };
    compile("--precision-bits 200").refused(4, &["128-bit security"]);
    compile("--memory 1K").refused(4, &["memory"]);
    compile("--packing channel-wise --block-images 3").refused(4, &["channel-wise"]);
    sordino(&folder, &format!("compile {model} --batch 0 --out plan")).refused(2, &["--batch"]);
    let server = copies("memory", &["server/server.plan", "server/request"]);
    if shared.join("keys/evaluation.key").exists() {
        fs::copy(
            shared.join("keys/evaluation.key"),
            server.join("evaluation.key"),
        )
        .unwrap();
        sordino(
            &server,
            "evaluate --plan server.plan --request request --out reply",
        )
        .refused(2, &["--keys", "evaluation.key"]);
    }
    let before = listing(&server);
    sordino(
        &server,
        &format!(
            "evaluate {} --out reply --memory 1M",
            evaluate_flags(shared)
        ),
    )
    .refused(4, &["MiB", "--memory"]);
    assert_eq!(listing(&server), before);
    sordino(
        &server,
        &format!(
            "evaluate {} --out reply --memory 8G",
            evaluate_flags(shared)
        ),
    )
    .good();
    assert!(listing(&folder).is_empty(), "{:?}", listing(&folder));
}

#[test]
fn networks_that_cannot_be_compiled() {
    let folder = folder("networks");
    sordino(
        &folder,
        "train --data digits --arch digits --activation relu --epochs 1 --out relu.safetensors",
    )
    .good();
    sordino(&folder, "compile relu.safetensors --batch 10 --out plan").refused(3, &[]);
    let mut model = sordino::Model::load(shared().join("model.safetensors")).unwrap();
    model.calibration = None;
    model
        .save(
            folder.join("bare.safetensors"),
            sordino::container::Overwrite::Refuse,
        )
        .unwrap();
    sordino(&folder, "compile bare.safetensors --batch 10 --out plan").refused(3, &["ranges"]);
    assert!(!folder.join("plan").exists());
    let run = sordino(&folder, "ranges bare.safetensors --data digits --json").good();
    assert!(run.json()["images"].as_u64().unwrap() > 1000);
    sordino(&folder, "compile bare.safetensors --batch 10 --out plan").good();
    assert_eq!(
        listing(&folder.join("plan")),
        ["client.plan", "server.plan"]
    );
}
