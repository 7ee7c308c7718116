//! How far noise moves the values of every layer: what only the owner of the key can measure.

use sordino::Workflow;
use sordino::ckks::{Ciphertexts, Context};
use sordino::plan::{Schedule, Step};
use sordino::protocol::ReceivedRequest;
use sordino::runtime::{ClearEngine, Error as RuntimeError, Options, Scratch, walk};
use sordino::secret::{SecretKey, decrypt};

use crate::Error;

/// Ciphertexts of a piece that are decrypted.
const SAMPLED: usize = 16;

/// Evaluates a few images and compares values of every step with those of the clear engine: by step −log2 of the rms error, in the
/// value's own units, and `None` for steps whose values are never in memory. [`Step::predicted_bits`] is what the plan expects.
///
/// # Shapes
/// `images` is `[count, C, H, W]`, at most a block.
///
/// # Errors
/// Those of both engines; [`Error::ElementWiseOnly`] for a channel-wise plan, whose values are spread over slots.
pub fn measure_layers(workflow: &Workflow, images: &[f32]) -> anyhow::Result<Vec<Option<f64>>> {
    let evaluator = workflow.evaluator();
    let schedule = evaluator.prepare()?.ok_or(Error::ElementWiseOnly)?;
    let (steps, input) = (evaluator.plan().steps(), evaluator.plan().input());
    let count = images.len() / input.features.max(1);
    let clear = ClearEngine::new(evaluator.plan(), count);
    let mut values = vec![Vec::new(); steps.len()];
    let encoded = clear.encode(images, input.features, input.scale);
    let whole = evaluator.plan().whole_steps();
    walk(&clear, &whole, encoded, |step, value| {
        values[step] = value.clone();
    })?;
    let request = workflow.encrypt(images)?;
    let header = ReceivedRequest::from_bytes(&request, &workflow.client().request_shape())?.header;
    let secret = &workflow.keys().secret;
    let mut probe = Probe {
        places: workflow.client().places(secret, &header)?,
        schedule,
        steps,
        context: workflow.client().context(),
        secret,
        images: count,
        values,
        squares: vec![(0.0, 0); steps.len()],
    };
    let options = Options {
        scratch: Some(&mut probe),
        ..Options::default()
    };
    workflow.evaluate_with(&request, options)?;
    let bits =
        |&(sum, count): &(f64, usize)| (count > 0).then(|| -0.5 * (sum / count as f64).log2());
    Ok(probe.squares.iter().map(bits).collect())
}

/// Compares every piece when it is made, and keeps none.
struct Probe<'a> {
    schedule: &'a Schedule,
    steps: &'a [Step],
    context: &'a Context,
    secret: &'a SecretKey,
    /// Slots of the images.
    places: Vec<usize>,
    images: usize,
    /// By step: elements × images.
    values: Vec<Vec<i128>>,
    /// By step: sum of the squared errors, and how many there are.
    squares: Vec<(f64, usize)>,
}

impl Probe<'_> {
    /// Adds the errors of some ciphertexts of a unit's piece.
    fn compare(
        &mut self,
        unit: usize,
        piece: &Ciphertexts,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let unit = &self.schedule.units()[unit];
        let step = unit.last_step();
        let stride = piece.len().div_ceil(SAMPLED);
        let rows: Vec<usize> = (0..piece.len()).step_by(stride).collect();
        let slots = decrypt(self.context, self.secret, &piece.select(&rows)?)?;
        let scale = self.steps[step].scale;
        let (sum, count) = &mut self.squares[step];
        for (&row, slots) in rows.iter().zip(&slots) {
            let element = unit.piece()[row] as usize;
            let values = &self.values[step][element * self.images..][..self.images];
            for (&value, &place) in values.iter().zip(&self.places) {
                *sum += (slots[place] - value as f64 / scale).powi(2);
                *count += 1;
            }
        }
        Ok(())
    }
}

impl Scratch for Probe<'_> {
    fn store(&mut self, _: usize, _: Ciphertexts) -> Result<(), RuntimeError> {
        Ok(())
    }

    fn load(&mut self, _: &Context, _: usize) -> Result<Ciphertexts, RuntimeError> {
        let needed = self.schedule.scratch_bytes();
        Err(RuntimeError::NoScratch { needed })
    }

    fn units_done(
        &mut self,
        units: usize,
        in_memory: &[(usize, &Ciphertexts)],
    ) -> Result<(), RuntimeError> {
        match in_memory.iter().find(|(unit, _)| unit + 1 == units) {
            Some(&(unit, piece)) => self.compare(unit, piece).map_err(RuntimeError::Watched),
            None => Ok(()),
        }
    }
}
