//! Several views of each image: recorded, compiled, encrypted, averaged and verified.

use crate::fixture::{copies, sordino};

#[test]
fn views_are_encrypted_where_the_model_knows_them_and_verify_reckons_with_them() {
    let folder = copies("views", &["model.safetensors"]);
    let good = |arguments: &str| sordino(&folder, arguments).good();
    let images = crate::fixture::shared().join("images");
    let images = images.display();
    good("compile model.safetensors --batch 300 --precision-bits 12 --out before");
    sordino(
        &folder,
        &format!("encrypt --plan before/client.plan --images {images} --views 2 --out request"),
    )
    .refused(4, &["1 view", "sordino ranges"]);

    let ranges = "ranges model.safetensors --data digits --inputs-only --views";
    sordino(&folder, &format!("{ranges} mirrored")).refused(2, &["mirror, turn or shift:N"]);
    let recorded = good(&format!("{ranges} shift:1 --json"));
    assert!(
        recorded.stderr.contains("no validation part"),
        "{recorded:?}"
    );
    let recorded = recorded.json();
    assert_eq!(recorded["views"]["changes"]["shift"], 1);
    let trials = recorded["tried_views"].as_array().unwrap();
    assert_eq!(trials.len(), 5);
    // Ranges that are recorded again without a word about views leave them.
    let again = good("ranges model.safetensors --data digits --inputs-only --json").json();
    assert_eq!(again["views"], recorded["views"]);

    good("compile model.safetensors --batch 300 --precision-bits 12 --out plan");
    let plan = good("inspect plan/client.plan --json").json();
    assert_eq!(plan["views"], recorded["views"]);
    let request = good(&format!(
        "encrypt --plan plan/client.plan --images {images} --views 3 --out request --json"
    ));
    assert_eq!(request.json()["views"], 3);
    let keys = match folder.join("request.evaluation.key").exists() {
        true => "--keys request.evaluation.key",
        false => "",
    };
    good(&format!(
        "evaluate --plan plan/server.plan {keys} --request request --out reply"
    ));
    good("decrypt --plan plan/client.plan --key request.key --reply reply --logits --out out.csv");
    let verify = |views: &str| {
        let arguments = format!(
            "verify --model model.safetensors --plan plan/server.plan --images {images} --predictions out.csv --json {views}"
        );
        sordino(&folder, &arguments)
    };
    let verified = verify("--views 3").good().json();
    assert_eq!(
        (&verified["views"], &verified["passed"]),
        (&3.into(), &true.into())
    );
    // Other scores than those of the images alone.
    let alone = verify("--views 1");
    assert_eq!(alone.code, 1, "{alone:?}");
}
