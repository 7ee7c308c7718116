//! The packings on the same images.

use sordino::plan::PackingKind;
use sordino::report::Record;

use super::measuring::{Session, one_image_plan, plan_for};
use super::state::Finished;
use super::subject::Subject;

/// Fewest runs of a single image.
const LATENCY_RUNS: usize = 5;

/// What was measured of one network.
pub(super) struct Packings {
    /// Element-wise packing of the network with a quadratic for every element.
    pub element_wise: Finished,
    /// The same packing of the network with one for every channel, if there is one.
    pub element_wise_channel: Option<Record>,
    /// One image a ciphertext.
    pub one_image: Record,
    /// As many images a ciphertext as the planner takes.
    pub filled: Record,
    /// One image with a plan for one.
    pub single: Record,
}

impl Packings {
    /// All of them, in the order of tables.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let element_wise = [&self.element_wise.record];
        let channel_wise = [&self.one_image, &self.filled, &self.single];
        let all = element_wise.into_iter().chain(channel_wise);
        all.chain(&self.element_wise_channel).cloned()
    }
}

pub(super) fn measure(subject: &Subject, session: &mut Session<'_>) -> anyhow::Result<Packings> {
    let count = session.settings.images.min(subject.set.test.len());
    let (element, channel) = (&subject.element, subject.channel_wise());
    let runs = session.settings.runs;

    session.note(format!("element-wise, {count} images"));
    let plan = plan_for(element, PackingKind::ElementWise, count)?;
    let element_wise = session.measured_in_time(subject, element, &plan, count, runs)?;
    let element_wise_channel = match &subject.channel {
        Some(model) => {
            session.note(format!("element-wise, {count} images, channel quadratics"));
            let plan = plan_for(model, PackingKind::ElementWise, count)?;
            let finished = session.measured_in_time(subject, model, &plan, count, runs)?;
            Some(finished.record)
        }
        None => None,
    };

    session.note("channel-wise, a single image");
    let plan = plan_for(channel, PackingKind::ChannelWise, 1)?;
    let single_runs = runs.max(LATENCY_RUNS);
    let mut single = session.single(subject, channel, &plan, single_runs)?.record;
    // Right or wrong is no accuracy.
    single.accuracy_plain = None;
    single.accuracy_integer = None;
    single.accuracy_encrypted = None;
    single.accuracy_teacher = None;

    session.note("channel-wise, one image a ciphertext");
    let plan = one_image_plan(channel, count)?;
    let one_image = session
        .measured_in_time(subject, channel, &plan, count, runs)?
        .record;

    session.note("channel-wise, filled");
    let plan = plan_for(channel, PackingKind::ChannelWise, count)?;
    let mut filled = session
        .measured_in_time(subject, channel, &plan, count, runs)?
        .record;
    filled.packing = "channel-wise-filled".to_owned();
    Ok(Packings {
        element_wise,
        element_wise_channel,
        one_image,
        filled,
        single,
    })
}
