//! The state of a run between two epochs, and the file that resumes it, replaced after each epoch.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sordino_container::{Access, AtomicFile, Error as FileError, Overwrite};

use crate::Error;
use crate::network::Network;
use crate::optimizer::State;
use crate::score::Measure;

/// Metadata key of the description, and the version of the format.
const KEY: &str = "sordino-checkpoint-1";

/// Longest file that is read.
const MAX_BYTES: u64 = 8 << 30;

/// A run between two epochs.
pub(crate) struct Position {
    /// Epochs done.
    pub(crate) epoch: usize,
    /// Seconds that they took.
    pub(crate) seconds: f64,
    pub(crate) network: Network,
    pub(crate) optimizer: State,
    pub(crate) best: Option<Best>,
}

/// The network of a run's best epoch.
#[derive(Clone)]
pub(crate) struct Best {
    pub(crate) network: Network,
    /// From 1.
    pub(crate) epoch: usize,
    /// What the score is.
    pub(crate) measure: Measure,
    /// Score on the images held back; `None` without any.
    pub(crate) validation_score: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct Description {
    run: BTreeMap<String, Value>,
    epoch: usize,
    seconds: f64,
    steps: i32,
    best: Option<(usize, Option<f64>)>,
}

/// The lists of numbers of a position, under their names in the file.
fn lists(position: &mut Position) -> Vec<(String, &mut Vec<f32>)> {
    fn of_network<'a>(
        prefix: &'a str,
        network: &'a mut Network,
    ) -> Vec<(String, &'a mut Vec<f32>)> {
        let mut lists = Vec::new();
        for (index, parameter) in network.parameters.iter_mut().enumerate() {
            lists.push((format!("{prefix}.parameter.{index}"), &mut parameter.values));
        }
        for (index, statistics) in network.statistics.iter_mut().enumerate() {
            lists.push((format!("{prefix}.mean.{index}"), &mut statistics.mean));
            lists.push((
                format!("{prefix}.variance.{index}"),
                &mut statistics.variance,
            ));
        }
        lists
    }
    let mut all = of_network("network", &mut position.network);
    if let Some(best) = &mut position.best {
        all.extend(of_network("best", &mut best.network));
    }
    let [first, second] = position.optimizer.lists();
    for (name, lists) in [("first", first), ("second", second)] {
        for (index, list) in lists.iter_mut().enumerate() {
            all.push((format!("optimizer.{name}.{index}"), list));
        }
    }
    all
}

/// Writes the position in one step: complete or not at all. `run` identifies the run.
pub(crate) fn save(
    path: &Path,
    run: &BTreeMap<String, Value>,
    position: &mut Position,
) -> Result<(), Error> {
    let description = Description {
        run: run.clone(),
        epoch: position.epoch,
        seconds: position.seconds,
        steps: position.optimizer.steps,
        best: position
            .best
            .as_ref()
            .map(|best| (best.epoch, best.validation_score)),
    };
    let bytes: Vec<(String, Vec<u8>)> = lists(position)
        .into_iter()
        .map(|(name, list)| (name, list.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, bytes)| {
        let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes);
        (name.as_str(), view.expect("four bytes a number"))
    });
    let text = serde_json::to_string(&description).expect("plain numbers and text");
    let file = serialize(views, Some(HashMap::from([(KEY.to_string(), text)])))
        .expect("names differ and shapes fit");
    let mut output = AtomicFile::create(path, Overwrite::Replace, Access::Shared)?;
    output
        .write_all(&file)
        .map_err(|error| FileError::io(path, "write", error))?;
    output.commit()?;
    Ok(())
}

/// Reads a position back into `position`, which has the run's layout; does nothing when there is no file. `measure` is the run's.
pub(crate) fn load(
    path: &Path,
    run: &BTreeMap<String, Value>,
    measure: Measure,
    position: &mut Position,
) -> Result<(), Error> {
    let io = |error| FileError::io(path, "read", error);
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error).into()),
    };
    let wrong = |expected: &str, found: String| Error::Checkpoint {
        path: path.display().to_string(),
        expected: expected.to_string(),
        found,
    };
    if length > MAX_BYTES {
        return Err(wrong("a checkpoint", format!("{length} bytes")));
    }
    let bytes = fs::read(path).map_err(io)?;
    let damaged = |detail: String| wrong("a checkpoint of a training run", detail);
    let (_, header) =
        SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
    let text = header
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(KEY))
        .ok_or_else(|| damaged("a file without a description".to_string()))?;
    let description: Description =
        serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
    for (field, value) in run {
        let found = description.run.get(field).unwrap_or(&Value::Null);
        if found != value {
            return Err(wrong(&format!("{field} {value}"), found.to_string()));
        }
    }
    position.epoch = description.epoch;
    position.seconds = description.seconds;
    position.optimizer.steps = description.steps;
    position.best = description.best.map(|(epoch, validation_score)| Best {
        network: position.network.clone(),
        epoch,
        measure,
        validation_score,
    });
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    for (name, list) in lists(position) {
        let view = tensors
            .tensor(&name)
            .map_err(|error| damaged(error.to_string()))?;
        if view.dtype() != Dtype::F32 || view.shape() != [list.len()] {
            return Err(wrong(
                &format!("{} numbers in {name}", list.len()),
                format!("{:?}", view.shape()),
            ));
        }
        for (value, bytes) in list.iter_mut().zip(view.data().chunks_exact(4)) {
            *value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
    }
    Ok(())
}
