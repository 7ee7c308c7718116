//! What a submission takes and gives.

use std::path::PathBuf;
use std::sync::Arc;

use etcetera::{BaseStrategy, choose_base_strategy};
use sordino_container::Overwrite;
use sordino_data::Layout;
use sordino_protocol::api::{Id, Model};
use sordino_ring::backend::{self, Backend};

use crate::{Error, Passphrase, PredictionFormat, Predictions, UnusualPolicy, ViewCount};

/// What a submission reads and writes.
#[derive(Clone, Debug)]
pub struct SubmitOptions {
    /// The folder of the keys, which are made if there are none. What is needed to resume a submission is kept there too.
    ///
    /// `None` makes keys for this submission in `OUT.submission`, and removes them when the predictions are written. Where the
    /// evaluation key would be larger than the request, keys are kept in the state folder instead, and serve 64 replies.
    pub keys: Option<PathBuf>,
    /// The folder with what is kept between submissions: the plans that were seen, and keys; the user's own if `None`.
    pub state: Option<PathBuf>,
    /// What to do with images unlike those that the network is made for.
    pub unusual: UnusualPolicy,
    /// How many views of each image are encrypted.
    pub views: ViewCount,
    /// Whether a batch whose check images came back wrong is sent once more, without the few images that the reply names.
    pub resubmit: bool,
    /// What the secret key is encrypted with.
    pub passphrase: Option<Arc<Passphrase>>,
    /// Whether another plan than the one that was first seen of the model is accepted from now on.
    pub accept_plan: bool,
    /// Where to write the predictions.
    pub out: PathBuf,
    /// Their format.
    pub format: PredictionFormat,
    /// Whether to write rounded logits too.
    pub logits: bool,
    /// Whether predictions may be replaced.
    pub overwrite: Overwrite,
    /// Raw values of black and white, where they are not the network's own.
    pub range: Option<(f64, f64)>,
    /// Where arrays of images have their channels, if it is known.
    pub layout: Option<Layout>,
    /// Whether to leave the job on the server.
    pub keep_job: bool,
    /// The back end of the arithmetic.
    pub backend: &'static Backend,
}

impl SubmitOptions {
    /// Predictions at this place, and everything else as usual; the back end that `SORDINO_BACKEND` names, else the best.
    pub fn new(out: impl Into<PathBuf>) -> Self {
        let out = out.into();
        Self {
            keys: None,
            state: None,
            unusual: UnusualPolicy::default(),
            views: ViewCount::default(),
            resubmit: true,
            passphrase: None,
            accept_plan: false,
            format: PredictionFormat::of_path(&out),
            out,
            logits: false,
            overwrite: Overwrite::Refuse,
            range: None,
            layout: None,
            keep_job: false,
            backend: backend::select(None).unwrap_or(backend::portable()),
        }
    }

    /// The state folder.
    pub(super) fn state_folder(&self) -> Result<PathBuf, Error> {
        match &self.state {
            Some(folder) => Ok(folder.clone()),
            None => match choose_base_strategy() {
                Ok(folders) => Ok(folders.data_dir().join("sordino")),
                Err(_) => Err(Error::NoHome),
            },
        }
    }
}

/// What a submission came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Submitted {
    /// The model.
    pub model: Model,
    /// The job's name on the server.
    pub job: Id,
    /// The predictions, as they were written.
    pub predictions: Predictions,
    /// Smallest and largest logit seen in calibration.
    pub logit_range: (f64, f64),
    /// Bytes of the request.
    pub request_bytes: u64,
    /// Bytes of the reply.
    pub reply_bytes: u64,
    /// Whether keys were made.
    pub made_keys: bool,
    /// Whether an earlier run was resumed.
    pub resumed: bool,
    /// How long its parts took.
    pub times: SubmitTimes,
}

/// Seconds that the parts of a submission took. What an earlier run did is not in them, but for the server's own numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SubmitTimes {
    /// Making or reading keys.
    pub keys: f64,
    /// Encrypting, and writing the request.
    pub encrypt: f64,
    /// Uploading the evaluation key, if the server did not have it, and the request.
    pub upload: f64,
    /// From the start of the job to its end, as seen from here.
    pub wait: f64,
    /// Of that in the queue, by the server's clock.
    pub queue: f64,
    /// Of that being evaluated, by the server's clock.
    pub evaluate: f64,
    /// Downloading the reply.
    pub download: f64,
    /// Decrypting.
    pub decrypt: f64,
    /// All of it.
    pub total: f64,
}
