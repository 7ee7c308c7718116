//! From a model to a plan.

use sordino_ckks::Parameters;
use sordino_graph::{Calibration, Folded, Model, fold, quantize};

use crate::alternatives::PackingComparison;
use crate::channel::noise::of_channel_wise;
use crate::check_images::{MOST_CHECK_IMAGES, Reserved};
use crate::containment::contained_images;
use crate::estimate::{Sizes, operation_seconds};
use crate::modulus::{GadgetChoice, Limbs, SizedSketch};
use crate::network::Network;
use crate::norms::with_norms;
use crate::options::MAX_BATCH;
use crate::precision::{Demand, NodeNoise};
use crate::primes::{self, Chain};
use crate::search::channel_wise::{
    self, Candidate, ChannelWinner, scale_weights, search as search_channel_wise,
};
use crate::search::element_wise::{Winner, search};
use crate::server_plan::{Content, ServerParents};
use crate::sketch::{Choice, Sketch};
use crate::{
    Budget, ChannelPlan, CheckImageCount, CheckImages, ClientParents, ClientPlan, CompileOptions,
    Error, Estimate, InputLayout, LEAST_CHECK_IMAGES, OutputLayout, Packing, PackingKind,
    PlanHeader, Schedule, ServerPlan, Step, USUAL_CHECK_IMAGES, integers, noise, schedule, weights,
};

/// Both halves of a compiled plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For the model owner.
    pub server: ServerPlan,
    /// For the data owner.
    pub client: ClientPlan,
}

/// Compiles a model: chooses packing, parameters, scales and places of rescaling and relinearization, rounds the weights.
///
/// The client's half has places for check images and lacks the images, whose logits only an engine can compute:
/// `sordino_runtime::compile` calls this function and adds them.
///
/// A pure function: the same model and options give the same plan, byte for byte.
///
/// # Errors
/// [`Error::MissingRanges`] for a model without calibration, [`Error::Impossible`] when nothing meets the
/// constraints, [`Error::Memory`] where feature maps do not fit the memory even in the smallest pieces, [`Error::Graph`] for
/// a network that cannot be folded (ReLU), [`Error::Overflow`] for values that no scale could hold, [`Error::Dead`] and
/// [`Error::ConstantLogits`] for a network that says the same of every image.
pub fn compile(model: &Model, options: &CompileOptions) -> Result<Plan, Error> {
    if options.batch == 0 || options.batch > MAX_BATCH {
        return Err(Error::Batch {
            found: options.batch,
            limit: MAX_BATCH,
        });
    }
    model.graph.check_polynomial()?;
    let calibration = model
        .calibration
        .as_ref()
        .filter(|calibration| !calibration.folded.is_empty())
        .ok_or_else(|| Error::MissingRanges {
            model: model.name.clone(),
        })?;
    let options = &CompileOptions {
        check_images: check_images(model, calibration, options.check_images)?,
        ..options.clone()
    };
    let folded = fold(&model.graph)?;
    check_alive(&folded, calibration)?;
    let mut server = find(model, &folded, calibration, options)?;
    if options.check_images == CheckImageCount::Auto && may_be_ruined(&server) {
        // One image may ruin all others of its block. Then that has to be found, even if it takes a further block.
        let options = &CompileOptions {
            check_images: CheckImageCount::Exactly(USUAL_CHECK_IMAGES),
            ..options.clone()
        };
        server = find(model, &folded, calibration, options).unwrap_or(server);
    }
    let logits = &model.graph.node(model.graph.output()).name;
    let range = calibration
        .nodes
        .get(logits)
        .ok_or_else(|| Error::StaleRanges {
            node: logits.clone(),
            detail: "the range of the logits is missing".into(),
        })?;
    let parents = ClientParents {
        plan: server.digest(),
        model: Some(server.model()),
    };
    let client = ClientPlan {
        header: server.header().clone(),
        parents,
        packing: match server.packing() {
            Packing::ElementWise => Packing::ElementWise,
            Packing::ChannelWise(channel) => {
                let degree = server.parameters().ring_degree();
                Packing::ChannelWise(channel.for_client(server.steps(), degree))
            }
        },
        preprocess: model.preprocess.clone(),
        class_names: model.classes.clone(),
        output_kind: model.output,
        logit_range: (range.min, range.max),
        estimate: server.estimate().clone(),
        input_statistic: calibration.input.clone(),
        views: calibration.views,
        operating_points: model.operating_points.clone(),
        check_images: None,
    };
    client.check().map_err(impossible)?;
    Ok(Plan { server, client })
}

/// Refuses a network of which a layer is 0 for every image, or whose logits do not depend on the image.
fn check_alive(folded: &Folded, calibration: &Calibration) -> Result<(), Error> {
    let nodes = folded.nodes.iter().zip(&calibration.folded);
    let dead = nodes
        .skip(1)
        .find(|(_, statistics)| statistics.max_abs == 0.0);
    let last = folded.nodes.last().map(|node| &node.name);
    if let Some((node, _)) = dead {
        // A last layer of zeros is no fault of the images.
        if last == Some(&node.name) {
            return Err(Error::ConstantLogits);
        }
        return Err(Error::Dead {
            node: node.name.clone(),
        });
    }
    let input = &calibration.folded[0].sensitivity;
    if !input.is_empty() && input.iter().all(|&(_, gain)| gain == 0.0) {
        return Err(Error::ConstantLogits);
    }
    Ok(())
}

/// Whether one image may ruin others without being found, in a plan that has room for check images.
fn may_be_ruined(plan: &ServerPlan) -> bool {
    let header = plan.header();
    let places = header.block(plan.packing()).places;
    header.check_images == 0 && header.contained_images == 0 && places > USUAL_CHECK_IMAGES
}

/// The check images to plan for: none where nothing is known of the network's input and none were asked for.
fn check_images(
    model: &Model,
    calibration: &Calibration,
    asked: CheckImageCount,
) -> Result<CheckImageCount, Error> {
    match asked {
        CheckImageCount::Exactly(0) => Ok(asked),
        CheckImageCount::Exactly(found)
            if !(LEAST_CHECK_IMAGES..=MOST_CHECK_IMAGES).contains(&found) =>
        {
            Err(Error::CheckImageCount {
                found,
                least: LEAST_CHECK_IMAGES,
                most: MOST_CHECK_IMAGES,
            })
        }
        _ if calibration.input.is_some() => Ok(asked),
        CheckImageCount::Exactly(_) => Err(Error::NoInputStatistic {
            model: model.name.clone(),
        }),
        CheckImageCount::Auto => Ok(CheckImageCount::Exactly(0)),
    }
}

impl Plan {
    /// The plan with the check images of its blocks in the client's half, as many as the plan has places for.
    ///
    /// # Errors
    /// [`Error::AlikeCheckImages`] where their logits could be guessed, [`Error::Malformed`] for another number of values.
    pub fn with_check_images(self, images: CheckImages) -> Result<Self, Error> {
        let Self { server, client } = self;
        let (spread, estimate) = (images.spread(client.header.output.logits), &client.estimate);
        if !CheckImages::tells(spread, CheckImages::tolerance(estimate)) {
            let error = (-estimate.precision_bits).exp2();
            return Err(Error::AlikeCheckImages { spread, error });
        }
        let client = client.with_check_images(images)?;
        Ok(Self { server, client })
    }
}

/// What a reader of the plan would refuse, such as logits without bounds, with the advice of a compiler.
fn impossible(error: Error) -> Error {
    match error {
        Error::Malformed {
            what,
            expected,
            found,
            ..
        } => Error::Impossible {
            constraints: String::new(),
            closest: format!("{what} of {found}, where {expected} is expected"),
            hint: "scaling the weights of the last layers so that the logits are between 1 and 1000, or retraining".into(),
        },
        other => other,
    }
}

/// Searches the packings that the options ask for, and turns the cheapest candidate that can be one into a plan.
fn find(
    model: &Model,
    folded: &Folded,
    calibration: &Calibration,
    options: &CompileOptions,
) -> Result<ServerPlan, Error> {
    let element_wise = || search(&Network::new(folded, calibration)?, options);
    let channel_wise = || search_channel_wise(&model.graph, folded, calibration, options);
    let plan = |content: Content, other: Other| {
        let (comparison, impossible_packing) = other;
        let content = Content {
            comparison,
            impossible_packing,
            ..content
        };
        ServerPlan::new(content).map_err(impossible)
    };
    let of_element = |winner, other| plan(realize(model, folded, options, winner)?, other);
    let of_channel = |winner, other| plan(realize_channel_wise(model, options, winner)?, other);
    let alone = (None, None);
    match options.packing {
        Some(PackingKind::ElementWise) => element_wise()
            .and_then(|winner| of_element(winner, alone))
            .map_err(|error| with_hint(error, PackingKind::ChannelWise, channel_wise().map(drop))),
        Some(PackingKind::ChannelWise) => channel_wise()
            .and_then(|winner| of_channel(winner, alone.clone()))
            .map_err(|error| {
                let other = element_wise().and_then(|winner| of_element(winner, alone));
                with_hint(error, PackingKind::ElementWise, other.map(drop))
            }),
        None => {
            let (element, channel) = (element_wise(), channel_wise());
            let both = element.as_ref().ok().zip(channel.as_ref().ok());
            let comparison = both.map(|(element, channel)| {
                let candidate = &channel.candidate;
                let channel_images = candidate.choice.ring_degree / channel.geometry.slots;
                let element_images = element.reserved.left(element.choice.ring_degree);
                PackingComparison::new(
                    options.batch,
                    (element.seconds, element_images),
                    (candidate.seconds, channel.reserved.left(channel_images)),
                )
            });
            let channel_is_cheaper = comparison
                .is_some_and(|both| both.channel_wise_seconds < both.element_wise_seconds);
            let without = |other: PackingKind, why: Option<&Error>| {
                (comparison, why.map(|why| format!("{other}: {why}")))
            };
            let without_element = without(PackingKind::ElementWise, element.as_ref().err());
            let without_channel = without(PackingKind::ChannelWise, channel.as_ref().err());
            let element = |other| element.and_then(|winner| of_element(winner, other));
            let channel = |other| channel.and_then(|winner| of_channel(winner, other));
            if channel_is_cheaper {
                channel(without_element).or_else(|why| {
                    let other = without(PackingKind::ChannelWise, Some(&why));
                    element(other).map_err(|_| why)
                })
            } else {
                element(without_channel).or_else(|why| {
                    let other = without(PackingKind::ElementWise, Some(&why));
                    channel(other).map_err(|other| neither(why, other))
                })
            }
        }
    }
}

/// How a plan compares with the best one of the other packing, and why there is none.
type Other = (Option<PackingComparison>, Option<String>);

/// Why there is no plan of either packing.
fn neither(element_wise: Error, channel_wise: Error) -> Error {
    match (&element_wise, &channel_wise) {
        (Error::Impossible { .. }, Error::Memory { .. }) => channel_wise,
        _ => with_hint(element_wise, PackingKind::ChannelWise, Err(channel_wise)),
    }
}

/// An error about memory with what the other packing comes to.
fn with_hint(mut error: Error, packing: PackingKind, other: Result<(), Error>) -> Error {
    if let Error::Memory { hint, .. } = &mut error {
        *hint = match other {
            Ok(()) => format!(", or compile with --packing {packing}"),
            Err(Error::Memory { needed, .. }) => {
                let needed = needed.div_ceil(1 << 20);
                format!(" (with --packing {packing} it needs {needed} MiB)")
            }
            Err(_) => format!(" (with --packing {packing} there is no plan)"),
        };
    }
    error
}

/// A sketch with real primes.
struct Realized {
    chain: Chain,
    sketch: Sketch,
    limbs: Limbs,
    parameters: Parameters,
}

impl Realized {
    /// Finds primes for a choice that a search made with ideal primes.
    fn new(
        network: &Network,
        choice: &Choice,
        gadget: Option<GadgetChoice>,
    ) -> Result<Self, Error> {
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
        let sizes = gadget.into_iter().flat_map(GadgetChoice::special_sizes);
        let special = primes::special(sizes, degree, &chain.primes).ok_or_else(no_primes)?;
        let gadget = gadget.map(|g| g.gadget);
        Ok(Self {
            limbs: Limbs::of(&chain),
            parameters: Parameters::new(degree, chain.primes.clone(), special, gadget)?,
            chain,
            sketch,
        })
    }

    fn sized<'a>(&'a self, network: &'a Network, gadget: Option<GadgetChoice>) -> SizedSketch<'a> {
        SizedSketch {
            network,
            sketch: &self.sketch,
            limbs: &self.limbs,
            gadget,
        }
    }
}

/// Finds the primes and turns the winning sketch into steps with integers.
fn realize(
    model: &Model,
    folded: &Folded,
    options: &CompileOptions,
    winner: Winner,
) -> Result<Content, Error> {
    let (network, reserved) = (&winner.network, winner.reserved);
    let blocks = reserved.blocks;
    let realized = Realized::new(network, &winner.choice, winner.gadget)?;
    let sized = realized.sized(network, winner.gadget);
    let noise = noise::of_sketch(&sized);
    let quantized = quantize(folded, &weights::formats(network))?;
    let mut steps = integers::steps(&sized, &realized.chain, folded, &quantized, 1.0)?;
    noise::set_rms_noise(&mut steps, &sized);
    set_seconds(&mut steps, operation_seconds(&sized, &options.cost));
    let contained = contained_images(
        &realized.parameters,
        &OutputLayout::of(&steps),
        &steps,
        &model.preprocess,
        largest_logit(model),
    );
    if contained == 0 && reserved.check_images > 0 {
        // What the check images find, these values may explain.
        steps = with_norms(steps)?;
    }
    let elements = |node: usize| network.nodes[node].elements;
    let mut sizes = Sizes::of_files(&sized, blocks, 1, elements);
    sizes.add_norms(&OutputLayout::of(&steps));
    let mut estimate = estimate(network, options, winner.seconds, &noise, sizes);
    let other = schedule::other_bytes(&steps, &estimate, blocks);
    let budget = Budget {
        memory_bytes: options.memory_bytes,
        scratch_bytes: Budget::USUAL_SCRATCH_BYTES,
    };
    let schedule = Schedule::new(&steps, &realized.parameters, other, budget)?;
    estimate.memory_bytes = schedule.memory_bytes();
    estimate.scratch_bytes = schedule.scratch_bytes();
    Ok(Content {
        alternatives: winner.alternatives,
        ..content(
            model,
            options,
            realized.parameters,
            reserved,
            contained,
            estimate,
            steps,
        )?
    })
}

/// As [`realize`], for channel-wise packing.
fn realize_channel_wise(
    model: &Model,
    options: &CompileOptions,
    winner: ChannelWinner,
) -> Result<Content, Error> {
    let (network, geometry, reserved) = (&winner.network, &winner.geometry, winner.reserved);
    let blocks = reserved.blocks;
    let Candidate {
        choice,
        plaintext_bits,
        gadget,
        seconds,
        ..
    } = winner.candidate;
    let scaled = scale_weights(network, plaintext_bits);
    let realized = Realized::new(&scaled, &choice, Some(gadget))?;
    let sized = realized.sized(&scaled, Some(gadget));
    let noise = of_channel_wise(&sized, gadget, geometry);
    let quantized = quantize(&winner.folded, &weights::formats(network))?;
    let factor = f64::from(plaintext_bits).exp2();
    // Integer weights are those of the network without the plaintexts' factor.
    let unscaled = SizedSketch { network, ..sized };
    let (chain, folded) = (&realized.chain, &winner.folded);
    let mut steps = integers::steps(&unscaled, chain, folded, &quantized, factor)?;
    let by_operation = channel_wise::operation_seconds(&sized, geometry, &options.cost);
    set_seconds(&mut steps, by_operation);
    let nodes = || sized.sketch.operations.iter().map(|op| op.node);
    let schedules = steps.iter().zip(nodes()).map(|(step, node)| {
        let counts = geometry.counts[node].filter(|_| !step.terms().is_empty());
        counts.map(|counts| counts.schedule)
    });
    let channel = ChannelPlan {
        slots: geometry.slots,
        plaintext_bits,
        layouts: nodes().map(|node| geometry.layouts[node].clone()).collect(),
        schedules: schedules.collect(),
    };
    let rotations = channel.rotations(&steps, sized.ring_degree()).len();
    let sizes = geometry.sizes(&sized, blocks, rotations, options.memory_bytes);
    let estimate = estimate(network, options, seconds, &noise, sizes);
    // An image alone in its ciphertexts harms no other. Nothing is proven where several share them.
    let contained = usize::from(realized.parameters.ring_degree() == channel.slots);
    Ok(Content {
        packing: Packing::ChannelWise(channel),
        ..content(
            model,
            options,
            realized.parameters,
            reserved,
            contained,
            estimate,
            steps,
        )?
    })
}

fn set_seconds(steps: &mut [Step], seconds: impl Iterator<Item = f64>) {
    for (step, seconds) in steps.iter_mut().zip(seconds) {
        step.seconds = Some(seconds);
    }
}

/// The search's estimate, with sizes and precision as predicted for the real primes.
fn estimate(
    network: &Network,
    options: &CompileOptions,
    seconds: f64,
    noise: &[NodeNoise],
    sizes: Sizes,
) -> Estimate {
    let demand = Demand::new(network, options);
    Estimate {
        evaluate_seconds: seconds,
        memory_bytes: sizes.memory,
        scratch_bytes: 0,
        upload_bytes: sizes.upload,
        key_bytes: sizes.key,
        reply_bytes: sizes.reply,
        precision_bits: demand.predicted_bits(noise),
        rms_noise: demand.rms(noise),
        rms_weight_rounding: weights::rounding_error(network),
    }
}

/// Largest magnitude of a logit of the calibration images; infinite if it was not recorded.
fn largest_logit(model: &Model) -> f64 {
    let calibration = model.calibration.as_ref();
    let logits = calibration.and_then(|calibration| calibration.folded.last());
    logits.map_or(f64::INFINITY, |logits| logits.max_abs)
}

/// The content of an element-wise plan without alternatives.
fn content(
    model: &Model,
    options: &CompileOptions,
    parameters: Parameters,
    reserved: Reserved,
    contained_images: usize,
    estimate: Estimate,
    steps: Vec<Step>,
) -> Result<Content, Error> {
    let header = PlanHeader {
        network: model.name.clone(),
        dataset: model.dataset.clone(),
        parameters,
        batch: options.batch,
        blocks: reserved.blocks,
        check_images: reserved.check_images,
        contained_images,
        input: InputLayout::of(&steps[0]),
        output: OutputLayout::of(&steps),
    };
    let model = model.digest()?;
    Ok(Content {
        header,
        parents: ServerParents { model },
        packing: Packing::ElementWise,
        estimate,
        alternatives: vec![],
        comparison: None,
        impossible_packing: None,
        steps,
    })
}
