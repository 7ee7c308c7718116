//! The packings on the same images.

use sordino::plan::{CompileOptions, PackingKind};

use super::measuring::{Case, Session};
use super::state::Finished;
use super::subject::Subject;
use crate::record::Record;

/// Fewest runs of a single image.
const LATENCY_RUNS: usize = 5;

/// The measurements of one network.
pub(super) struct Packings {
    /// Element-wise packing of the network with a quadratic per element.
    pub element_wise: Finished,
    /// Element-wise packing of the network with a quadratic per channel, if there is one.
    pub element_wise_channel: Option<Record>,
    /// One image per ciphertext.
    pub one_image: Record,
    /// As many images per ciphertext as the planner chooses.
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
    let case = Case::new(subject, element, PackingKind::ElementWise, count)?;
    let element_wise = session.measured_in_time(&case, count, runs)?;
    let element_wise_channel = match &subject.channel {
        Some(model) => {
            session.note(format!("element-wise, {count} images, channel quadratics"));
            let case = Case::new(subject, model, PackingKind::ElementWise, count)?;
            Some(session.measured_in_time(&case, count, runs)?.record)
        }
        None => None,
    };

    session.note("channel-wise, a single image");
    let case = Case::new(subject, channel, PackingKind::ChannelWise, 1)?;
    let single = Record {
        // A single image has no accuracy.
        accuracy_plain: None,
        accuracy_integer: None,
        accuracy_encrypted: None,
        accuracy_teacher: None,
        ..session.single(&case, runs.max(LATENCY_RUNS))?.record
    };

    session.note("channel-wise, one image per ciphertext");
    let options = CompileOptions {
        block_images: Some(1),
        ..CompileOptions::new(count).with_packing(PackingKind::ChannelWise)
    };
    let case = Case::with_options(subject, channel, &options)?;
    let one_image = session.measured_in_time(&case, count, runs)?.record;

    session.note("channel-wise, filled");
    let case = Case::new(subject, channel, PackingKind::ChannelWise, count)?;
    let filled = Record {
        packing: "channel-wise-filled".to_owned(),
        ..session.measured_in_time(&case, count, runs)?.record
    };
    Ok(Packings {
        element_wise,
        element_wise_channel,
        one_image,
        filled,
        single,
    })
}
