//! The file computed in the clear, beside the graph that it was read into.

use std::collections::HashMap;
use std::collections::HashSet;
use std::rc::Rc;

use sordino_graph::{NodeId, execute};

use crate::Error;
use crate::array::{Array, Data};
use crate::attributes::Attributes;
use crate::element::Element;
use crate::evaluate::Evaluator;
use crate::import::live_nodes;
use crate::input::describe;
use crate::network::{Imported, Network};
use crate::outputs::Form;
use crate::proto::TensorProto;

/// Random images that an import is checked with.
const IMAGES: usize = 3;

/// Largest value of a network that is computed for the check: an operation holds some of sixteen images at once.
const LARGEST: usize = 1 << 22;

/// How far the two may be apart, as a share of the largest value.
pub const CHECK_TOLERANCE: f64 = 1e-4;

/// What the file computes of one image.
struct Computed {
    output: Vec<f32>,
    logits: Option<Vec<f32>>,
}

impl Network {
    /// Compares the imported network with the file, both in the clear, on random images.
    ///
    /// # Errors
    /// [`Error::Differs`] where they compute different numbers, and errors of computing the file.
    pub fn check(&self, imported: &Imported) -> Result<(), Error> {
        let elements = imported.graph.input_shape().elements();
        let nodes = 0..imported.graph.nodes().len();
        let largest = nodes
            .map(|node| imported.graph.shape(NodeId(node)).elements())
            .max();
        if largest.is_none_or(|largest| largest > LARGEST) {
            return Err(Error::Malformed {
                what: format!(
                    "a value of the network has more than {LARGEST} elements, which is too much to compute it beside the file: \
                     use smaller images, or --no-check"
                ),
            });
        }
        for image in 0..IMAGES {
            let values = random_image(elements, image, imported.takes_raw);
            let file = self.compute(imported, &values)?;
            let logits = execute(&imported.graph, &values, 1)?;
            if let Some(expected) = &file.logits {
                let found = match imported.form {
                    Form::Difference | Form::DifferenceSigmoid => vec![logits[1] - logits[0]],
                    _ => logits.clone(),
                };
                compare(image, &found, expected)?;
            }
            compare(image, &imported.file_output(&logits), &file.output)?;
        }
        Ok(())
    }

    /// The logits of images as the file itself computes them, in the form that the imported network has.
    ///
    /// Shapes: `images` is `[count, C, H, W]`, prepared as for the imported network; the result is `[count, classes]`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for another number of values, and errors of computing the file.
    pub fn logits(
        &self,
        imported: &Imported,
        images: &[f32],
        count: usize,
    ) -> Result<Vec<f32>, Error> {
        let elements = imported.graph.input_shape().elements();
        if images.len() != elements * count {
            return Err(Error::Malformed {
                what: format!("{} values for {count} images of {elements}", images.len()),
            });
        }
        let mut all = Vec::with_capacity(count * imported.graph.classes());
        for image in images.chunks_exact(elements) {
            let file = self.compute(imported, image)?;
            all.extend(imported.logits_of(&file));
        }
        Ok(all)
    }

    /// Runs the file on one image: channels, rows, columns.
    fn compute(&self, imported: &Imported, image: &[f32]) -> Result<Computed, Error> {
        let output = self.output(imported.options.output.as_deref())?.0;
        let live = live_nodes(&self.graph.node, output)?;
        let mut input = describe(self.input(&live)?, &imported.options)?;
        // A file for several images at once gets the same one in each place.
        let images = input.batch.unwrap_or(1);
        input.dims[0] = images;
        let [channels, height, width] = input.image;
        let repeated: Vec<f32> = image
            .iter()
            .copied()
            .cycle()
            .take(image.len() * images)
            .collect();
        let mut array = Array::floats_of(vec![images, channels, height, width], repeated);
        array.element = input.element;
        if input.element == Element::Uint8 {
            array.data = Data::Int(
                image
                    .iter()
                    .cycle()
                    .take(image.len() * images)
                    .map(|&v| v.round() as i64)
                    .collect(),
            );
        }
        let array = input.layout().apply(&array);
        let initializers: HashMap<&str, &TensorProto> = self
            .graph
            .initializer
            .iter()
            .map(|t| (&t.name[..], t))
            .collect();
        let mut values: HashMap<&str, Rc<Array>> = HashMap::new();
        values.insert(&input.name, Rc::new(array));
        // Only what follows from the image is computed without rounding.
        let mut moving: HashSet<&str> = HashSet::from([&input.name[..]]);
        let mut readers: HashMap<&str, usize> = HashMap::new();
        for name in live.iter().flat_map(|node| &node.input) {
            *readers.entry(name).or_default() += 1;
        }
        let wanted = imported.logits.as_deref();
        let mut logits = None;
        let evaluator = Evaluator::new(&self.beside);
        for &node in &live {
            let at = Attributes {
                node,
                opset: self.opset,
            };
            let mut inputs = Vec::with_capacity(node.input.len());
            for name in &node.input {
                let found = match (values.get(&name[..]), initializers.get(&name[..])) {
                    _ if name.is_empty() => None,
                    (Some(array), _) => Some(Rc::clone(array)),
                    (None, Some(tensor)) => Some(Rc::new(Array::read(tensor, &self.beside)?)),
                    (None, None) => return Err(at.wrong(format!("its input {name:?} is missing"))),
                };
                inputs.push(found);
            }
            let computed = node.input.iter().any(|name| moving.contains(&name[..]));
            let arrays: Vec<Option<&Array>> = inputs.iter().map(Option::as_deref).collect();
            let made = match computed {
                true => evaluator.evaluate_unrounded(at, &arrays)?,
                false => evaluator.evaluate(at, &arrays)?,
            };
            for name in &node.input {
                let left = readers.get_mut(&name[..]).map(|left| {
                    *left -= 1;
                    *left
                });
                if left == Some(0) {
                    if Some(&name[..]) == wanted {
                        logits = values.get(&name[..]).cloned();
                    }
                    values.remove(&name[..]);
                }
            }
            for (name, array) in node.output.iter().zip(made) {
                if computed {
                    moving.insert(name);
                }
                values.insert(name, Rc::new(array));
            }
        }
        let one = |array: &Rc<Array>| {
            let numbers = array.floats();
            numbers[..numbers.len() / images].to_vec()
        };
        let found = values.get(output).ok_or_else(|| Error::Malformed {
            what: format!("nothing computes the output {output:?}"),
        })?;
        let logits = logits.or_else(|| wanted.and_then(|wanted| values.get(wanted).cloned()));
        Ok(Computed {
            output: one(found),
            logits: logits.as_ref().map(one),
        })
    }
}

impl Imported {
    /// What the file gives for these logits.
    /// What the file gives where the network gives these logits.
    pub fn file_output(&self, logits: &[f32]) -> Vec<f32> {
        let sigmoid = |x: f32| (1.0 / (1.0 + f64::from(-x).exp())) as f32;
        match self.form {
            Form::Logits => logits.to_vec(),
            Form::Sigmoid => logits.iter().map(|&x| sigmoid(x)).collect(),
            Form::Difference => vec![logits[1] - logits[0]],
            Form::DifferenceSigmoid => vec![sigmoid(logits[1] - logits[0])],
            Form::Softmax | Form::LogSoftmax => {
                let largest = logits
                    .iter()
                    .fold(f64::NEG_INFINITY, |m, &x| m.max(f64::from(x)));
                let total: f64 = logits.iter().map(|&x| (f64::from(x) - largest).exp()).sum();
                let log = logits.iter().map(|&x| f64::from(x) - largest - total.ln());
                match self.form {
                    Form::LogSoftmax => log.map(|x| x as f32).collect(),
                    _ => log.map(|x| x.exp() as f32).collect(),
                }
            }
        }
    }

    /// Logits of this network's form from what the file computes.
    fn logits_of(&self, file: &Computed) -> Vec<f32> {
        let halves = |z: f32| vec![-z / 2.0, z / 2.0];
        let logit = |p: f32| {
            let p = f64::from(p).clamp(1e-30, 1.0 - 1e-16);
            (p / (1.0 - p)).ln() as f32
        };
        match (&file.logits, self.form) {
            (Some(logits), Form::Difference | Form::DifferenceSigmoid) => halves(logits[0]),
            (Some(logits), _) => logits.clone(),
            (None, Form::Difference) => halves(file.output[0]),
            (None, Form::DifferenceSigmoid) => halves(logit(file.output[0])),
            (None, Form::Sigmoid) => file.output.iter().map(|&p| logit(p)).collect(),
            (None, Form::Softmax) => file
                .output
                .iter()
                .map(|&p| f64::from(p).max(1e-30).ln() as f32)
                .collect(),
            (None, Form::Logits | Form::LogSoftmax) => file.output.clone(),
        }
    }
}

fn compare(input: usize, found: &[f32], expected: &[f32]) -> Result<(), Error> {
    if found.len() != expected.len() {
        return Err(Error::Malformed {
            what: format!(
                "the file gives {} numbers, the imported network {}",
                expected.len(),
                found.len()
            ),
        });
    }
    let largest = expected
        .iter()
        .fold(0.0f64, |m, &x| m.max(f64::from(x).abs()));
    let differs = |(x, y): (&f32, &f32)| {
        let distance = (f64::from(*x) - f64::from(*y)).abs();
        // Not a number is not close to anything.
        distance.is_nan() || distance > CHECK_TOLERANCE * largest + 1e-6
    };
    match found.iter().zip(expected).position(differs) {
        None => Ok(()),
        Some(output) => Err(Error::Differs {
            input,
            output,
            found: f64::from(found[output]),
            expected: f64::from(expected[output]),
        }),
    }
}

/// Values as images have them: whole numbers from 0 to 255, or numbers around 0.
fn random_image(elements: usize, image: usize, raw: bool) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(image as u64 + 1);
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..elements)
        .map(|_| match raw {
            true => (next() * 255.0).round(),
            // The first image is of 0 to 1, the others reach below zero.
            false if image == 0 => next(),
            false => 4.0 * next() - 2.0,
        })
        .collect()
}
