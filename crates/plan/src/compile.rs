//! From a model to a plan.

use sordino_ckks::{Gadget, Parameters};
use sordino_graph::{Folded, Model, Quantized, fold, quantize_with};

use crate::estimate::{Limbs, sizes};
use crate::network::Network;
use crate::options::MAX_BATCH;
use crate::parts::{ServerParents, ServerRecord};
use crate::precision::{Gains, rms_logit_error, worst_logit_error};
use crate::primes;
use crate::schedule::Sketch;
use crate::search::{Winner, search};
use crate::{
    ClientPlan, CompileOptions, Error, InputLayout, OutputLayout, Packing, ServerPlan, Step,
    integers, noise, parts, weights, wire,
};

/// Both halves of a compiled plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For the model owner.
    pub server: ServerPlan,
    /// For the data owner.
    pub client: ClientPlan,
}

/// Compiles a model: chooses parameters, scales and places of rescaling and relinearization, rounds the weights.
///
/// A pure function: the same model and options give the same plan, byte for byte.
///
/// # Errors
/// [`Error::MissingRanges`] for a model without calibration, [`Error::Impossible`] when nothing meets the
/// constraints, [`Error::Graph`] for a network that cannot be folded (ReLU), [`Error::Overflow`] for values that no
/// scale could hold.
pub fn compile(model: &Model, options: &CompileOptions) -> Result<Plan, Error> {
    if options.packing == Packing::ChannelWise {
        return Err(Error::UnsupportedPacking {
            packing: options.packing.to_string(),
        });
    }
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
    let winner = search(&Network::new(&folded, calibration)?, options)?;
    let quantized = quantize_with(&folded, &weights::formats(&winner.network))?;
    let (record, steps) = realize(model, &folded, &quantized, options, winner)?;
    let server = ServerPlan::new(record, steps)?;
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
        packing: Packing::ElementWise,
        parameters: server.parameters().clone(),
        batch: server.batch(),
        blocks: server.blocks(),
        input: server.input().clone(),
        output: server.output().clone(),
        preprocess: model.preprocess.clone(),
        class_names: model.classes.clone(),
        output_kind: model.output,
        logit_range: (range.min, range.max),
        estimate: server.estimate().clone(),
    };
    Ok(Plan { server, client })
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
    let degree = choice.ring_degree;
    let no_primes = || Error::Impossible {
        constraints: String::new(),
        closest: format!("too few primes for N = {degree}"),
        hint: "another --ring-degree or --precision-bits".into(),
    };
    let ideal = Sketch::draw(network, &choice, None);
    let group_bits: Vec<f64> = ideal.divisors.iter().map(|d| d.log2()).collect();
    let chain = primes::chain(ideal.base_bits, &group_bits, degree).ok_or_else(no_primes)?;
    let sketch = Sketch::draw(network, &choice, Some(&chain.divisors));
    let limbs = Limbs::of(&chain);
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

    let mut noise = noise::without_gadget(network, &choice, &sketch);
    if let Some(gadget) = gadget {
        noise::add_gadget(&mut noise, &choice, &sketch, gadget, &limbs);
    }
    let gains: Vec<Gains<'_>> = network.nodes.iter().map(|n| &n.gains[..]).collect();
    let steps = integers::steps(network, folded, quantized, &sketch, &chain, &limbs)?;
    let (first, last) = (&steps[0], &steps[steps.len() - 1]);
    let samples = (options.batch * last.elements) as f64;
    estimate.precision_bits = -worst_logit_error(&noise, &gains, samples).log2();
    estimate.rms_noise = rms_logit_error(&noise, &gains);
    let (upload, key, reply, memory) = sizes(network, &choice, &sketch, &limbs, gadget, blocks);
    (estimate.upload_bytes, estimate.key_bytes) = (upload, key);
    (estimate.reply_bytes, estimate.memory_bytes) = (reply, memory);

    let record = ServerRecord {
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
        alternatives,
        steps: wire::describe(&steps),
    };
    Ok((record, steps))
}
