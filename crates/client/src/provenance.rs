//! Where predictions come from: a small file beside them, without anything about a single image.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sordino_container::{Access, Digest, Error as FileError, Overwrite, write_atomic};
use sordino_graph::OperatingPoints;
use sordino_plan::ClientPlan;

use crate::{Error, Predictions};

/// Digests, operating points and counts that belong to predictions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Provenance {
    /// Name and version of the program.
    program: &'static str,
    /// Name of the network.
    network: String,
    /// Digest of the model file; `None` where the plan does not say.
    model: Option<Digest>,
    /// Digest of the server plan, which names the plan.
    plan: Digest,
    /// Digest of the request.
    request: Digest,
    /// Digest of the reply.
    reply: Digest,
    /// Operating points of the findings, where there are any.
    operating_points: Option<OperatingPoints>,
    /// Bits after the binary point that logits were rounded to.
    released_bits: i32,
    /// Images of the batch.
    images: usize,
    /// Images that have a prediction.
    answered: usize,
    /// Images that are unlike those of calibration.
    unusual: usize,
    /// Unusual images that were left out, and have no prediction.
    refused: usize,
    /// Images with a logit outside of the range of calibration.
    out_of_range: usize,
    /// Decisions of every finding.
    findings: Vec<FindingCounts>,
    /// Check images that came back right.
    check_images: usize,
}

/// Decisions of one finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct FindingCounts {
    name: String,
    decided: usize,
    close: usize,
}

impl Provenance {
    /// Of predictions, and of the request and the reply that they come from.
    pub fn new(
        plan: &ClientPlan,
        predictions: &Predictions,
        request: Digest,
        reply: Digest,
    ) -> Self {
        let marks = predictions.marks();
        let counts = predictions.decided().into_iter();
        let outside = predictions
            .out_of_range()
            .iter()
            .filter(|&&outside| outside);
        Self {
            program: concat!("sordino ", env!("CARGO_PKG_VERSION")),
            network: plan.header.network.clone(),
            model: plan.parents.model,
            plan: plan.plan(),
            request,
            reply,
            operating_points: predictions.operating_points().cloned(),
            released_bits: predictions.released_bits(),
            images: marks.images(),
            answered: predictions.len(),
            unusual: marks.unusual().len(),
            refused: marks.left_out(),
            out_of_range: outside.count(),
            findings: counts
                .map(|(class, decided, close)| FindingCounts {
                    name: predictions.class_names()[class].clone(),
                    decided,
                    close,
                })
                .collect(),
            check_images: predictions.check().map_or(0, |check| check.images),
        }
    }

    /// The digests, by what they are of.
    pub fn digests(&self) -> Vec<(String, String)> {
        let model = self.model.map(|model| ("model", model));
        let others = [
            ("server plan", self.plan),
            ("request", self.request),
            ("reply", self.reply),
        ];
        let all = model.into_iter().chain(others);
        all.map(|(what, digest)| (what.to_owned(), digest.to_string()))
            .collect()
    }

    /// The file beside predictions: `PREDICTIONS.csv.provenance.json` for `PREDICTIONS.csv`.
    pub fn beside(predictions: &Path) -> PathBuf {
        let mut name = predictions.file_name().unwrap_or_default().to_os_string();
        name.push(".provenance.json");
        predictions.with_file_name(name)
    }

    /// Writes the file, complete or not at all.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, path: &Path, overwrite: Overwrite) -> Result<(), Error> {
        let json = serde_json::to_string_pretty(self);
        let json = json.map_err(|error| FileError::io(path, "write", error.into()))? + "\n";
        Ok(write_atomic(path, json, overwrite, Access::OwnerOnly)?)
    }
}
