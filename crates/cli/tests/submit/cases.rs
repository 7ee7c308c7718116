//! Networks with plans, keys, requests, replies and predictions, made by the commands on files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sordino_data::{Pixels, digits};

use crate::files::{Case, folder, run};

/// Images of a batch.
const IMAGES: usize = 300;

fn make(name: &'static str, train: &str, compile: &str, images: usize) -> Case {
    let folder = folder(name);
    if let Some(network) = train.strip_prefix("layers ") {
        fs::write(folder.join("network.toml"), network).expect("a network");
    }
    let arch = match train.starts_with("layers ") {
        true => "--arch network.toml --epochs 2",
        false => train,
    };
    write_pngs(&folder.join("images"), images);
    run(
        &folder,
        &format!("train --data digits {arch} --out model.safetensors"),
    )
    .good();
    of_model(
        name,
        folder,
        &format!("model.safetensors {compile}"),
        "images",
    )
}

/// Of a model file, which `compile` names with its flags.
pub(crate) fn of_model(name: &'static str, folder: PathBuf, compile: &str, images: &str) -> Case {
    run(&folder, &format!("compile {compile} --out .")).good();
    run(&folder, "keygen --plan client.plan --out .").good();
    let encrypt = "encrypt --plan client.plan --key secret.key --out request --images";
    run(&folder, &format!("{encrypt} {images}")).good();
    let key = fs::read(folder.join("evaluation.key")).ok();
    let keys = key.as_ref().map_or("", |_| "--keys evaluation.key");
    let evaluate = "evaluate --plan server.plan --request request --out reply";
    run(&folder, &format!("{evaluate} {keys}")).good();
    let decrypt = "decrypt --plan client.plan --key secret.key --reply reply";
    run(&folder, &format!("{decrypt} --out predictions.csv")).good();
    Case::read(name, folder)
}

/// One linear layer, which needs no key.
pub(crate) fn plain() -> &'static Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| {
        let network = "layers name = \"plain\"\n[[layers]]\ntype = \"dense\"\noutputs = 10\n";
        let compile = format!("--batch {IMAGES} --packing element-wise");
        let case = make("plain", network, &compile, IMAGES);
        assert!(case.key.is_none());
        case
    })
}

/// A small network with a small key, whose jobs take a fraction of a second.
pub(crate) fn shallow() -> &'static Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| {
        let compile = format!("--batch {IMAGES} --packing element-wise");
        let case = make("shallow", "--arch digits --epochs 12", &compile, IMAGES);
        assert!(case.key.is_some());
        case
    })
}

/// Three convolutions: a request of several chunks, a key, an evaluation with checkpoints.
pub(crate) fn deep() -> &'static Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| {
        let convolution = |stride: usize| {
            format!(
                "[[layers]]\ntype = \"convolution\"\nchannels = 4\nkernel = 3\npadding = 1\nstride = {stride}\n\
                 [[layers]]\ntype = \"activation\"\n"
            )
        };
        let network = [
            "layers name = \"deep\"\n".to_owned(),
            convolution(1),
            convolution(1),
            convolution(2),
            "[[layers]]\ntype = \"dense\"\noutputs = 10\n".to_owned(),
        ];
        let compile = format!("--batch {IMAGES} --packing element-wise");
        let case = make("deep", &network.concat(), &compile, IMAGES);
        assert!(case.key.is_some() && case.request.len() > 8 << 20);
        case
    })
}

/// The network of [`shallow`] with one image a ciphertext: a small request and a key for rotations.
pub(crate) fn rotated() -> &'static Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| {
        let model = shallow().path("model.safetensors");
        let folder = folder("rotated");
        write_pngs(&folder.join("images"), 1);
        let compile = format!("{} --batch 1 --packing channel-wise", model.display());
        let case = of_model("rotated", folder, &compile, "images");
        assert!(case.key.is_some());
        case
    })
}

/// Writes the first test images of the embedded digits as PNG files.
fn write_pngs(folder: &Path, count: usize) {
    fs::create_dir_all(folder).expect("a folder for images");
    let images = digits().test.split_at(count).0;
    let Pixels::U8(pixels) = &images.pixels else {
        panic!("8-bit images")
    };
    let (width, height) = (images.width as u32, images.height as u32);
    for (index, values) in pixels.chunks_exact(images.elements()).enumerate() {
        let image = image::GrayImage::from_raw(width, height, values.to_vec()).expect("a picture");
        let path = folder.join(format!("scan-{index:05}.png"));
        image.save(path).expect("a PNG file");
    }
}

/// Rows of a CSV without quotes, header first.
pub(crate) fn rows(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).expect("a table");
    let row = |line: &str| line.split(',').map(str::to_owned).collect();
    text.lines().map(row).collect()
}

/// Two encryptions of the same images differ in noise alone: the same names, nearly the same probabilities, and the same class but where
/// two are as good as equal.
#[track_caller]
pub(crate) fn assert_same_predictions(left: &Path, right: &Path) {
    let (left, right) = (rows(left), rows(right));
    assert_eq!(left.len(), right.len());
    assert_eq!(left[0], right[0]);
    for (a, b) in left[1..].iter().zip(&right[1..]) {
        assert_eq!(a[..2], b[..2]);
        let last = a.len() - 1;
        let score = |row: &[String], class: usize| row[4 + class].parse::<f64>().expect("a score");
        for class in 0..last - 4 {
            let difference = score(a, class) - score(b, class);
            assert!(difference.abs() < 0.03, "{a:?} {b:?}");
        }
        let [this, other] = [a, b].map(|row| row[2].parse().expect("a class"));
        assert!(score(a, this) - score(a, other) < 0.03, "{a:?} {b:?}");
    }
}
