//! From a model to a plan.

use sordino_ckks::{Gadget, Parameters};
use sordino_graph::{Calibration, Folded, Model, Quantized, fold, quantize_with};

use crate::alternatives::PackingComparison;
use crate::channel::search::{ChannelWinner, Sizes, scale_weights, search as search_channel_wise};
use crate::channel::{ChannelPlan, noise as channel_noise};
use crate::estimate::{GadgetChoice, Limbs, sizes};
use crate::network::Network;
use crate::options::MAX_BATCH;
use crate::parts::{ServerParents, ServerRecord};
use crate::precision::{Gains, NodeNoise, rms_logit_error, worst_logit_error};
use crate::primes::{self, Chain};
use crate::schedule::{Choice, Sketch};
use crate::search::{Winner, search};
use crate::{
    Budget, ClientPlan, CompileOptions, Error, Estimate, InputLayout, OutputLayout, Packing,
    Schedule, ServerPlan, Step, integers, noise, parts, units, weights, wire,
};

/// Both halves of a compiled plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For the model owner.
    pub server: ServerPlan,
    /// For the data owner.
    pub client: ClientPlan,
}

/// What the searches found: one of the packings, or the cheaper of both.
enum Found {
    ElementWise(Winner),
    ChannelWise(ChannelWinner),
}

/// Compiles a model: chooses packing, parameters, scales and places of rescaling and relinearization, rounds the weights.
///
/// A pure function: the same model and options give the same plan, byte for byte.
///
/// # Errors
/// [`Error::MissingRanges`] for a model without calibration, [`Error::Impossible`] when nothing meets the
/// constraints, [`Error::Memory`] where feature maps do not fit the memory even in the smallest pieces, [`Error::Graph`] for a network that cannot be folded (ReLU), [`Error::Overflow`] for values that no
/// scale could hold.
pub fn compile(model: &Model, options: &CompileOptions) -> Result<Plan, Error> {
    if options.batch == 0 || options.batch > MAX_BATCH {
        return Err(Error::Batch {
            found: options.batch,
            limit: MAX_BATCH,
        });
    }
    let calibration = model
        .calibration
        .as_ref()
        .filter(|calibration| !calibration.folded.is_empty())
        .ok_or_else(|| Error::MissingRanges {
            model: model.name.clone(),
        })?;
    let folded = fold(&model.graph)?;
    let (found, comparison) = find(model, &folded, calibration, options)?;
    let (mut record, steps, channel) = match found {
        Found::ElementWise(winner) => {
            let quantized = quantize_with(&folded, &weights::formats(&winner.network))?;
            let (record, steps) = realize(model, &folded, &quantized, options, winner)?;
            (record, steps, None)
        }
        Found::ChannelWise(winner) => {
            let quantized = quantize_with(&winner.folded, &weights::formats(&winner.network))?;
            let (record, steps, channel) =
                realize_channel_wise(model, &quantized, options, winner)?;
            (record, steps, Some(channel))
        }
    };
    record.comparison = comparison;
    let server = ServerPlan::new(record, steps, channel)?;
    let logits = &model.graph.node(model.graph.output()).name;
    let range = calibration
        .nodes
        .get(logits)
        .ok_or_else(|| Error::StaleRanges {
            node: logits.clone(),
            detail: "the range of the logits is missing".into(),
        })?;
    let client = ClientPlan {
        network: model.name.clone(),
        dataset: model.dataset.clone(),
        parents: parts::ClientParents {
            plan: server.digest(),
        },
        packing: server.packing(),
        parameters: server.parameters().clone(),
        batch: server.batch(),
        blocks: server.blocks(),
        input: server.input().clone(),
        output: server.output().clone(),
        channel: server
            .channel()
            .map(|channel| channel.for_client(server.steps(), server.parameters().ring_degree())),
        preprocess: model.preprocess.clone(),
        class_names: model.classes.clone(),
        output_kind: model.output,
        logit_range: (range.min, range.max),
        estimate: server.estimate().clone(),
    };
    Ok(Plan { server, client })
}

/// Searches the packings that the options ask for.
fn find(
    model: &Model,
    folded: &Folded,
    calibration: &Calibration,
    options: &CompileOptions,
) -> Result<(Found, Option<PackingComparison>), Error> {
    let element_wise = || search(&Network::new(folded, calibration)?, options);
    let channel_wise = || search_channel_wise(&model.graph, folded, calibration, options);
    match options.packing {
        Packing::ElementWise => Ok((Found::ElementWise(element_wise()?), None)),
        Packing::ChannelWise => Ok((Found::ChannelWise(channel_wise()?), None)),
        Packing::Auto => match (element_wise(), channel_wise()) {
            (Ok(element), Ok(channel)) => {
                let comparison = PackingComparison::new(
                    options.batch,
                    (
                        element.estimate.evaluate_seconds,
                        element.choice.ring_degree,
                    ),
                    (
                        channel.estimate.evaluate_seconds,
                        channel.choice.ring_degree / channel.geometry.slots,
                    ),
                );
                let found = if channel.estimate.evaluate_seconds < element.estimate.evaluate_seconds
                {
                    Found::ChannelWise(channel)
                } else {
                    Found::ElementWise(element)
                };
                Ok((found, Some(comparison)))
            }
            (Ok(element), Err(Error::Impossible { .. })) => Ok((Found::ElementWise(element), None)),
            (Err(Error::Impossible { .. }), Ok(channel)) => Ok((Found::ChannelWise(channel), None)),
            (Err(error), _) | (_, Err(error)) => Err(error),
        },
    }
}

/// Primes for a choice, and the sketch drawn with them.
struct Drawn {
    chain: Chain,
    sketch: Sketch,
    limbs: Limbs,
    parameters: Parameters,
}

/// Finds primes for what a search chose on ideal ones.
fn draw(network: &Network, choice: &Choice, gadget: Option<GadgetChoice>) -> Result<Drawn, Error> {
    let degree = choice.ring_degree;
    let no_primes = || Error::Impossible {
        constraints: String::new(),
        closest: format!("too few primes for N = {degree}"),
        hint: "another --ring-degree or --precision-bits".into(),
    };
    let ideal = Sketch::draw(network, choice, None);
    let group_bits: Vec<f64> = ideal.divisors.iter().map(|d| d.log2()).collect();
    let chain = primes::chain(ideal.base_bits, &group_bits, degree).ok_or_else(no_primes)?;
    let sketch = Sketch::draw(network, choice, Some(&chain.divisors));
    let special = match gadget {
        Some(g) if g.gadget == Gadget::SpecialPrime => {
            vec![primes::special(g.special_bits, degree, &chain.primes).ok_or_else(no_primes)?]
        }
        _ => vec![],
    };
    let parameters = Parameters::new(
        degree,
        chain.primes.clone(),
        special,
        gadget.map(|g| g.gadget),
    )?;
    Ok(Drawn {
        limbs: Limbs::of(&chain),
        chain,
        sketch,
        parameters,
    })
}

/// Finds the primes and turns the winning sketch into steps with integers.
fn realize(
    model: &Model,
    folded: &Folded,
    quantized: &Quantized,
    options: &CompileOptions,
    winner: Winner,
) -> Result<(ServerRecord, Vec<Step>), Error> {
    let Winner {
        network,
        choice,
        gadget,
        blocks,
        mut estimate,
        alternatives,
    } = winner;
    let network = &network;
    let drawn = draw(network, &choice, gadget)?;
    let Drawn {
        chain,
        sketch,
        limbs,
        ..
    } = &drawn;
    let mut noise = noise::without_gadget(network, &choice, sketch);
    if let Some(gadget) = gadget {
        noise::add_gadget(&mut noise, &choice, sketch, gadget, limbs);
    }
    let mut steps = integers::steps(network, folded, quantized, sketch, chain, limbs, 1.0)?;
    noise::set_rms_noise(&mut steps, network, &choice, sketch, gadget, limbs);
    set_precision(&mut estimate, network, &noise, options);
    let (upload, key, reply) = sizes(network, &choice, sketch, limbs, gadget, blocks);
    (estimate.upload_bytes, estimate.key_bytes) = (upload, key);
    estimate.reply_bytes = reply;
    let beside = units::beside_bytes(&steps, &estimate, blocks);
    let budget = Budget {
        memory_bytes: options.memory_bytes,
        scratch_bytes: Budget::USUAL_SCRATCH_BYTES,
    };
    let schedule = Schedule::new(&steps, &drawn.parameters, beside, budget)?;
    estimate.memory_bytes = schedule.memory_bytes();
    estimate.scratch_bytes = schedule.scratch_bytes();
    let mut record = record(model, options, drawn.parameters, blocks, estimate, &steps)?;
    record.alternatives = alternatives;
    Ok((record, steps))
}

/// As [`realize`], for channel-wise packing.
fn realize_channel_wise(
    model: &Model,
    quantized: &Quantized,
    options: &CompileOptions,
    winner: ChannelWinner,
) -> Result<(ServerRecord, Vec<Step>, ChannelPlan), Error> {
    let ChannelWinner {
        folded,
        network,
        geometry,
        choice,
        plaintext_bits,
        gadget,
        blocks,
        mut estimate,
        energies,
    } = winner;
    let degree = choice.ring_degree;
    let scaled = scale_weights(&network, plaintext_bits);
    let drawn = draw(&scaled, &choice, Some(gadget))?;
    let Drawn {
        chain,
        sketch,
        limbs,
        ..
    } = &drawn;
    let noise = channel_noise::of_sketch(
        &scaled, &geometry, &choice, sketch, gadget, limbs, &energies,
    );
    let factor = f64::from(plaintext_bits).exp2();
    let steps = integers::steps(&network, &folded, quantized, sketch, chain, limbs, factor)?;
    set_precision(&mut estimate, &network, &noise, options);
    let node_of = |step: usize| sketch.operations[step].node;
    let is_linear = |step: usize| matches!(steps[step].operation, crate::Operation::Linear { .. });
    let channel = ChannelPlan {
        slots: geometry.slots,
        plaintext_bits,
        layouts: (0..steps.len())
            .map(|step| geometry.layouts[node_of(step)].clone())
            .collect(),
        schedules: (0..steps.len())
            .map(|step| {
                is_linear(step)
                    .then(|| geometry.schedules[node_of(step)])
                    .flatten()
            })
            .collect(),
    };
    let rotations = channel.rotations(&steps, degree).len();
    let sizes = Sizes::new(&geometry, degree, sketch, limbs, gadget, blocks, rotations);
    (estimate.upload_bytes, estimate.key_bytes) = (sizes.upload, sizes.key);
    (estimate.reply_bytes, estimate.memory_bytes) = (sizes.reply, sizes.memory);
    let record = record(model, options, drawn.parameters, blocks, estimate, &steps)?;
    Ok((record, steps, channel))
}

/// Precision as predicted with the primes that were found.
fn set_precision(
    estimate: &mut Estimate,
    network: &Network,
    noise: &[NodeNoise],
    options: &CompileOptions,
) {
    let gains: Vec<Gains<'_>> = network.nodes.iter().map(|n| &n.gains[..]).collect();
    let logits = network.nodes.last().map_or(1, |n| n.elements);
    let samples = (options.batch * logits) as f64;
    estimate.precision_bits = -worst_logit_error(noise, &gains, samples).log2();
    estimate.rms_noise = rms_logit_error(noise, &gains);
}

fn record(
    model: &Model,
    options: &CompileOptions,
    parameters: Parameters,
    blocks: usize,
    estimate: Estimate,
    steps: &[Step],
) -> Result<ServerRecord, Error> {
    let (first, last) = (&steps[0], &steps[steps.len() - 1]);
    Ok(ServerRecord {
        network: model.name.clone(),
        dataset: model.dataset.clone(),
        parents: ServerParents {
            model: model.digest()?,
        },
        packing: Packing::ElementWise,
        parameters,
        batch: options.batch,
        blocks,
        input: InputLayout {
            features: first.elements,
            limbs: first.limbs,
            scale: first.scale,
        },
        output: OutputLayout {
            logits: last.elements,
            components: last.components,
            limbs: last.limbs,
            scale: last.scale,
        },
        estimate,
        alternatives: vec![],
        comparison: None,
        channel: None,
        steps: wire::describe(steps),
    })
}
