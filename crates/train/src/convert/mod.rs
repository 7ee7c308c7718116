//! Quadratics in place of a trained network's activations, without training its weights.
//!
//! Each activation becomes the quadratic that is nearest, on what the layer sees in the network converted so far, to
//! what the original network has there. Then only the coefficients are trained, towards the original network's logits on
//! the same images ([`training`]). Labels take no part. Weights and batch normalizations stay as they are, bit for bit.

mod fitting;
mod moments;
mod quadratics;
mod training;

use std::collections::HashMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sordino_graph::{Granularity, Graph, Model, NodeId, Op, OutputKind, calibrate, execute};

use crate::batches::split_off;
use crate::export::{calibration_count, means_of_windows};
use crate::forward::argmax;
use crate::kernel::Layout;
use crate::network::{Activated, Network, StepKind};
use crate::{Error, student};

/// Fewest images to fit to.
const LEAST_IMAGES: usize = 32;

/// Share of the images that is held back, and the bounds of their number.
const HELD_BACK: f64 = 0.1;
const LEAST_HELD_BACK: usize = 8;
const MOST_HELD_BACK: usize = 2000;

/// Multiply-accumulates that the training of coefficients may take forward, and bounds of the images seen.
const TRAINING_COST: u64 = 400_000_000_000;
const TRAINING_IMAGES: std::ops::RangeInclusive<u64> = 8_000..=120_000;

/// Most passes over few images.
const MOST_EPOCHS: usize = 20;

/// How to convert a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConvertConfig {
    /// Which elements share the coefficients of a quadratic.
    pub granularity: Granularity,
    /// Passes over the images that train the coefficients, 0 for the fits alone; `None` for as many as a few minutes
    /// allow, by the size of the network.
    pub epochs: Option<usize>,
    /// Images per step.
    pub batch: usize,
    /// Largest step of a coefficient, as a share of the size of the activation's values.
    pub learning_rate: f64,
    /// Seed of the split and of the order of images.
    pub seed: u64,
}

impl Default for ConvertConfig {
    fn default() -> Self {
        Self {
            granularity: Granularity::Element,
            epochs: None,
            batch: 128,
            learning_rate: 0.03,
            seed: 1,
        }
    }
}

/// Where a conversion stands.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConvertProgress {
    /// What is being done.
    pub phase: ConvertPhase,
    /// Activations fitted, images seen or images recorded so far.
    pub done: usize,
    /// The same at the end of the phase.
    pub total: usize,
    /// Seconds since the phase began.
    pub seconds: f64,
    /// Share of the images held back with the class of the original network, after every pass.
    pub agreement: Option<f64>,
}

/// The phases of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvertPhase {
    /// Activations are replaced by fits, one after the other.
    Fit,
    /// Coefficients are trained.
    Train,
    /// Ranges of the converted network are recorded.
    Record,
}

/// How far a converted network is from the original one, on images that took no part in fits and training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Images compared.
    pub images: usize,
    /// Share of the images with the same greatest logit.
    pub agreement: f64,
    /// Mean size of the difference of a logit.
    pub mean_logit_difference: f64,
    /// Largest difference of a logit.
    pub worst_logit_difference: f64,
    /// Standard deviation of the original network's logits, to compare with.
    pub logit_deviation: f64,
}

/// A converted network.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Conversion {
    /// The model, with its activation ranges.
    pub model: Model,
    /// Distance from the original network.
    pub difference: Difference,
}

/// Converts a trained network.
///
/// The result depends on network, images and configuration only, bit for bit on one machine, with any number of threads.
///
/// # Shapes
/// `images` is `[count, C, H, W]`, prepared as the network takes them.
///
/// # Errors
/// [`Error::NothingToConvert`], [`Error::FewImages`], [`Error::Overflow`] where quadratics leave the numbers,
/// [`Error::Config`], and [`Error::Data`] for images of another size or with values that are not finite.
pub fn convert(
    original: &Model,
    images: &[f32],
    config: &ConvertConfig,
    progress: &mut dyn FnMut(&ConvertProgress),
) -> Result<Conversion, Error> {
    config.check()?;
    let mut nodes = original.graph.nodes().iter();
    if !nodes.any(|node| is_replaced(&node.op)) {
        return Err(Error::NothingToConvert {
            network: original.name.clone(),
        });
    }
    let images = Images::new(original, images, config.seed)?;
    let exact = student::frozen(&original.graph);
    let mut network = exact.clone();
    student::replace_maxima(&mut network);
    let layers = fitting::fit(&exact, &mut network, &images, config.granularity, progress)?;
    let epochs = training::train(&exact, &mut network, layers, &images, config, progress);
    let graph = with_quadratics(&original.graph, &network)?;
    let difference =
        Difference::between(&original.graph, &graph, &images.gather(&images.held_back))?;
    if !difference.worst_logit_difference.is_finite() {
        return Err(Error::Overflow {
            layer: graph.node(graph.output()).name.clone(),
        });
    }
    let mut model = Model {
        graph,
        calibration: None,
        operating_points: None,
        training: json!({
            "converter": concat!("sordino-train ", env!("CARGO_PKG_VERSION")),
            "config": config,
            "epochs": epochs,
            "images": images.count(),
            "difference": difference,
            "original": {
                "digest": original.digest()?,
                "network": original.name,
                "training": original.training,
            },
        }),
        ..original.clone()
    };
    let count = calibration_count(&model.graph).min(images.count());
    let phase = (ConvertPhase::Record, Instant::now());
    let mut recorded = |done: usize| report(progress, phase, (done, count), None);
    // In random order: files are often sorted by class.
    let all = images.fitted.iter().chain(&images.held_back).copied();
    let few = images.gather(&all.take(count).collect::<Vec<_>>());
    model.calibration = Some(calibrate(&model, &few, count, &mut recorded)?);
    Ok(Conversion { model, difference })
}

impl ConvertConfig {
    fn check(&self) -> Result<(), Error> {
        let refuse = |field, found: String, expected| {
            Err(Error::Config {
                field,
                found,
                expected,
            })
        };
        if !(2..=65536).contains(&self.batch) {
            return refuse("batch", self.batch.to_string(), "2 to 65536");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return refuse(
                "learning_rate",
                self.learning_rate.to_string(),
                "above 0, at most 1",
            );
        }
        if self.epochs.is_some_and(|epochs| epochs > 1_000_000) {
            return refuse("epochs", format!("{:?}", self.epochs), "at most 1000000");
        }
        Ok(())
    }

    /// Passes over `count` images, and how many of them a pass takes.
    fn passes(&self, macs: u64, count: usize) -> (usize, usize) {
        let (least, most) = TRAINING_IMAGES.into_inner();
        let affordable = (TRAINING_COST / macs.max(1)).clamp(least, most) as usize;
        match self.epochs {
            Some(epochs) => (epochs, count),
            None => (
                (affordable / count).clamp(1, MOST_EPOCHS),
                count.min(affordable),
            ),
        }
    }
}

/// Whether an operation becomes a quadratic.
fn is_replaced(op: &Op) -> bool {
    matches!(op, Op::Activation(_))
}

/// The graph with the network's quadratics in place of its activations, and means in place of maxima.
fn with_quadratics(graph: &Graph, network: &Network) -> Result<Graph, Error> {
    let mut quadratics = HashMap::new();
    for step in &network.steps {
        if let StepKind::Normalize(normalization) = &step.kind
            && let Activated::Quadratic {
                granularity,
                coefficients,
            } = normalization.activation
        {
            let [a, b, c] = coefficients.map(|parameter| network.values(parameter).to_vec());
            let quadratic = Op::Quadratic {
                granularity,
                a,
                b,
                c,
            };
            quadratics.insert(step.name.as_str(), quadratic);
        }
    }
    let mut builder = Graph::builder(graph.input_shape());
    let mut places: Vec<NodeId> = Vec::new();
    for node in graph.nodes() {
        let mut inputs: Vec<NodeId> = node.inputs.iter().map(|input| places[input.0]).collect();
        let op = match (&node.op, quadratics.remove(node.name.as_str())) {
            (op, Some(quadratic)) if is_replaced(op) => quadratic,
            (
                Op::MaxPool {
                    kernel,
                    stride,
                    padding,
                    dilation,
                },
                _,
            ) => {
                let layout = Layout {
                    kernel: *kernel,
                    stride: *stride,
                    padding: *padding,
                    dilation: *dilation,
                    groups: 1,
                };
                let (from, to) = (
                    graph.shape(node.inputs[0]),
                    graph.shape(NodeId(places.len())),
                );
                let (input, op) =
                    means_of_windows(&mut builder, &node.name, inputs[0], layout, from, to);
                inputs = vec![input];
                op
            }
            (op, _) => op.clone(),
        };
        places.push(builder.push(node.name.clone(), op, &inputs));
    }
    Ok(builder.finish()?)
}

/// Prepared images, divided at random into those to fit to and those held back.
struct Images<'a> {
    pixels: &'a [f32],
    /// Values of an image.
    elements: usize,
    /// Multiply-accumulates of the network for one image.
    macs: u64,
    /// Whether the network's logits stand for one class of several.
    one_of_several: bool,
    seed: u64,
    fitted: Vec<usize>,
    held_back: Vec<usize>,
}

impl<'a> Images<'a> {
    fn new(model: &Model, pixels: &'a [f32], seed: u64) -> Result<Self, Error> {
        let elements = model.graph.input_shape().elements();
        let count = pixels.len() / elements;
        if count * elements != pixels.len() {
            return Err(Error::Data {
                expected: format!("images of {elements} values"),
                found: format!("{} values", pixels.len()),
            });
        }
        if let Some(position) = pixels.iter().position(|value| !value.is_finite()) {
            return Err(Error::Data {
                expected: "finite values".to_string(),
                found: format!("{} in image {}", pixels[position], position / elements),
            });
        }
        if count < LEAST_IMAGES {
            return Err(Error::FewImages {
                expected: LEAST_IMAGES,
                found: count,
            });
        }
        let held_back = (count as f64 * HELD_BACK) as usize;
        let held_back = held_back.clamp(LEAST_HELD_BACK, MOST_HELD_BACK);
        let (fitted, held_back) = split_off((0..count).collect(), held_back, seed);
        Ok(Self {
            pixels,
            elements,
            macs: model.graph.multiply_accumulates(),
            one_of_several: model.output != OutputKind::Sigmoid && model.graph.classes() > 1,
            seed,
            fitted,
            held_back,
        })
    }

    fn count(&self) -> usize {
        self.pixels.len() / self.elements
    }

    fn gather(&self, indices: &[usize]) -> Vec<f32> {
        let images = indices
            .iter()
            .map(|index| &self.pixels[index * self.elements..][..self.elements]);
        images.flatten().copied().collect()
    }
}

impl Difference {
    /// The difference of two networks on images.
    fn between(original: &Graph, converted: &Graph, images: &[f32]) -> Result<Self, Error> {
        let count = images.len() / original.input_shape().elements();
        let expected = execute(original, images, count)?;
        let found = execute(converted, images, count)?;
        Ok(Self::of(&expected, &found, original.classes()))
    }

    /// The difference of logits `[images][classes]`.
    fn of(expected: &[f32], found: &[f32], classes: usize) -> Self {
        let rows = expected
            .chunks_exact(classes)
            .zip(found.chunks_exact(classes));
        let images = rows.len();
        let same = rows.filter(|(expected, found)| argmax(expected) == argmax(found));
        let off = || {
            expected
                .iter()
                .zip(found)
                .map(|(x, y)| (f64::from(*x) - f64::from(*y)).abs())
        };
        Self {
            images,
            agreement: same.count() as f64 / images as f64,
            mean_logit_difference: off().sum::<f64>() / expected.len() as f64,
            // Not a number stays one.
            worst_logit_difference: off()
                .fold(0.0, |worst, off| if off <= worst { worst } else { off }),
            logit_deviation: deviation(expected),
        }
    }
}

/// Standard deviation.
fn deviation(values: &[f32]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let squares: f64 = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum();
    (squares / count).sqrt()
}

/// Shows the progress of a phase that began at `start`.
fn report(
    progress: &mut dyn FnMut(&ConvertProgress),
    (phase, start): (ConvertPhase, Instant),
    (done, total): (usize, usize),
    agreement: Option<f64>,
) {
    progress(&ConvertProgress {
        phase,
        done,
        total,
        seconds: start.elapsed().as_secs_f64(),
        agreement,
    });
}
