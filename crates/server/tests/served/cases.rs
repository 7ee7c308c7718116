//! Networks with plans, keys, requests and replies; the replies are those of the command `evaluate`.

use std::path::Path;
use std::sync::OnceLock;

use sordino_client::{Client, Keys};
use sordino_container::Overwrite;
use sordino_graph::Model;
use sordino_plan::{ClientPlan, CompileOptions, PackingKind};
use sordino_ring::backend;
use sordino_runtime::compile;

use crate::files::{Case, folder, run};
use crate::network::Layer::{self, Activation, Convolution, Dense};
use crate::network::{images, model};

/// Images of a batch.
const IMAGES: usize = 300;
/// Rows and columns of an image.
const SIDE: usize = 8;

/// Compiles, makes keys, encrypts, and evaluates with the binary.
fn make(name: &'static str, model: &Model, count: usize, packing: PackingKind) -> Case {
    let folder = folder(name);
    let options = CompileOptions {
        packing: Some(packing),
        ..CompileOptions::new(count)
    };
    let plan = compile(model, &options).expect("a plan");
    plan.server
        .write(folder.join("server.plan"), Overwrite::Refuse)
        .expect("a server plan");
    plan.client
        .write(folder.join("client.plan"), Overwrite::Refuse)
        .expect("a client plan");
    let client =
        Client::new(plan.client, backend::select(None).expect("a back end")).expect("a client");
    let keys = client.generate_keys().expect("keys");
    if let Some(key) = &keys.evaluation {
        key.write_file(folder.join("evaluation.key"), Overwrite::Refuse)
            .expect("a key");
    }
    answer(&client, &keys, count, &folder, &folder);
    Case::read(name, folder)
}

/// Writes a request of the first images into a folder, and the reply that the binary makes with the files of a case.
fn answer(client: &Client, keys: &Keys, count: usize, of: &Path, folder: &Path) {
    let request = client.encrypt(&keys.secret, &images(count, SIDE));
    request
        .and_then(|request| Ok(request.write_file(folder.join("request"), Overwrite::Refuse)?))
        .expect("a request");
    let key = of.join("evaluation.key");
    let flag = match key.exists() {
        true => format!("--keys {}", key.display()),
        false => String::new(),
    };
    let plan = of.join("server.plan").display().to_string();
    run(
        folder,
        &format!("evaluate --plan {plan} {flag} --request request --out reply"),
    )
    .good();
}

/// A client with keys of its own for a case.
pub(crate) fn stranger(case: &Case) -> (Client, Keys) {
    let plan = ClientPlan::read(case.path("client.plan")).expect("a plan");
    let client = Client::new(plan, backend::select(None).expect("a back end")).expect("a client");
    let keys = client.generate_keys().expect("keys");
    (client, keys)
}

/// A case with fewer images than its plan has room for; it needs no key.
pub(crate) fn fewer(case: &Case, count: usize, name: &'static str) -> Case {
    assert!(case.key.is_none());
    let (client, keys) = stranger(case);
    let folder = folder(name);
    answer(&client, &keys, count, &case.folder, &folder);
    Case {
        name: case.name,
        ..Case::read(name, folder)
    }
}

/// One linear layer, which needs no key.
pub(crate) fn plain() -> &'static Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| {
        let model = model("plain", SIDE, &[Dense { outputs: 10 }], IMAGES);
        let case = make("plain", &model, IMAGES, PackingKind::ElementWise);
        assert!(case.key.is_none());
        case
    })
}

const SHALLOW: [Layer; 5] = [
    Convolution {
        channels: 8,
        stride: 1,
    },
    Activation,
    Dense { outputs: 32 },
    Activation,
    Dense { outputs: 10 },
];

/// A small network with a small key, whose jobs take a fraction of a second.
pub(crate) fn shallow() -> &'static Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| {
        let model = model("shallow", SIDE, &SHALLOW, IMAGES);
        let case = make("shallow", &model, IMAGES, PackingKind::ElementWise);
        assert!(case.key.is_some());
        case
    })
}

/// Three convolutions: a request of several chunks, a key, an evaluation with checkpoints.
pub(crate) fn deep() -> &'static Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| {
        let convolution = |stride| Convolution {
            channels: 4,
            stride,
        };
        let layers = [
            convolution(1),
            Activation,
            convolution(1),
            Activation,
            convolution(2),
            Activation,
            Dense { outputs: 10 },
        ];
        let model = model("deep", SIDE, &layers, IMAGES);
        let case = make("deep", &model, IMAGES, PackingKind::ElementWise);
        assert!(case.key.is_some() && case.request.len() > 8 << 20);
        case
    })
}

/// The network of [`shallow`] with one image a ciphertext: a small request and a key for rotations.
pub(crate) fn rotated() -> &'static Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| {
        let model = model("rotated", SIDE, &SHALLOW, IMAGES);
        let case = make("rotated", &model, 1, PackingKind::ChannelWise);
        assert!(case.key.is_some());
        case
    })
}
