//! Networks with plans, keys, requests and replies, made by the commands on files: what the service is compared with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use sordino::container::{Digest, inspect_file};
use sordino::data::{Pixels, digits};

/// Images of a batch.
pub(crate) const IMAGES: usize = 300;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The command did what it was asked to.
    #[track_caller]
    pub(crate) fn good(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// The command was refused with this exit code and a message that has all these parts.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in {self:?}");
        }
        self
    }
}

/// The binary, in a folder, ready for arguments.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sordino"));
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_remove("SORDINO_BACKEND")
        .env_remove("SORDINO_TOKEN");
    command
}

/// Runs the binary in a folder; arguments are separated by blanks.
pub(crate) fn sordino(folder: &Path, arguments: &str) -> Run {
    let output = command(folder).args(arguments.split_whitespace()).output();
    Run::of(output.expect("the binary starts"))
}

/// The folder that holds the tests' files; emptied when a test run starts.
fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("served");
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).expect("a folder for the tests");
        root
    })
}

/// An empty folder of a test's own.
pub(crate) fn folder(name: &str) -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = root().join(format!("{number:03}-{name}"));
    fs::create_dir_all(&path).expect("a folder for a test");
    path
}

/// Every file below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        // What a server removes meanwhile is no error.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// A network that a server can be given, and a client's files for it.
#[derive(Debug)]
pub(crate) struct Case {
    /// Its name in configurations.
    pub(crate) name: &'static str,
    /// `server.plan`, `client.plan`, `secret.key`, perhaps `evaluation.key`, `images/`, `request`, `reply`, `predictions.csv`.
    pub(crate) folder: PathBuf,
    pub(crate) plan: Digest,
    pub(crate) parameters: Digest,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) request: Vec<u8>,
    /// What `evaluate` answers to the request.
    pub(crate) reply: Vec<u8>,
    pub(crate) images: u64,
}

impl Case {
    fn make(name: &'static str, train: &str, compile: &str, images: usize) -> Self {
        let folder = folder(name);
        if let Some(network) = train.strip_prefix("layers ") {
            fs::write(folder.join("network.toml"), network).expect("a network");
        }
        let arch = match train.starts_with("layers ") {
            true => "--arch network.toml --epochs 2",
            false => train,
        };
        write_pngs(&folder.join("images"), images);
        sordino(
            &folder,
            &format!("train --data digits {arch} --out model.safetensors"),
        )
        .good();
        Self::of_model(
            name,
            folder,
            &format!("model.safetensors {compile}"),
            "images",
        )
    }

    /// Of a model file, which `compile` names with its flags.
    pub(crate) fn of_model(
        name: &'static str,
        folder: PathBuf,
        compile: &str,
        images: &str,
    ) -> Self {
        sordino(&folder, &format!("compile {compile} --out .")).good();
        sordino(&folder, "keygen --plan client.plan --out .").good();
        let encrypt = "encrypt --plan client.plan --key secret.key --out request --images";
        sordino(&folder, &format!("{encrypt} {images}")).good();
        let key = fs::read(folder.join("evaluation.key")).ok();
        let keys = key.as_ref().map_or("", |_| "--keys evaluation.key");
        let evaluate = "evaluate --plan server.plan --request request --out reply";
        sordino(&folder, &format!("{evaluate} {keys}")).good();
        let decrypt = "decrypt --plan client.plan --key secret.key --reply reply";
        sordino(&folder, &format!("{decrypt} --out predictions.csv")).good();
        let header = inspect_file(folder.join("request"))
            .expect("a request")
            .metadata;
        let digest = |name: &str| {
            header["parents"][name]
                .as_str()
                .and_then(|d| d.parse().ok())
        };
        let read = |name: &str| fs::read(folder.join(name)).expect(name);
        let (request, reply) = (read("request"), read("reply"));
        println!(
            "{name}: request of {} bytes, key of {:?}, reply of {}",
            request.len(),
            key.as_ref().map(Vec::len),
            reply.len()
        );
        Self {
            name,
            plan: digest("plan").expect("a plan's digest"),
            parameters: digest("parameters").expect("a digest of parameters"),
            images: header["images"].as_u64().expect("images"),
            folder,
            key,
            request,
            reply,
        }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }
}

/// One linear layer, which needs no key.
pub(crate) fn plain() -> &'static Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| {
        let network = "layers name = \"plain\"\n[[layers]]\ntype = \"dense\"\noutputs = 10\n";
        let compile = format!("--batch {IMAGES} --packing element-wise");
        let case = Case::make("plain", network, &compile, IMAGES);
        assert!(case.key.is_none());
        case
    })
}

/// A small network with a small key, whose jobs take a fraction of a second.
pub(crate) fn shallow() -> &'static Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| {
        let compile = format!("--batch {IMAGES} --packing element-wise");
        let case = Case::make("shallow", "--arch digits --epochs 12", &compile, IMAGES);
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
        let case = Case::make("deep", &network.concat(), &compile, IMAGES);
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
        let case = Case::of_model("rotated", folder, &compile, "images");
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
