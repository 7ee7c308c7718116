//! The channel-wise part of a server plan as bytes: sizes in the metadata, positions in the payload.

use serde::{Deserialize, Serialize};
use sordino_container::{Builder, Reader};

use super::{ChannelPlan, RotationSchedule, SlotLayout};
use crate::{Error, Step};

/// A channel-wise plan without its positions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChannelRecord {
    pub slots: usize,
    pub plaintext_bits: u32,
    pub layouts: Vec<LayoutRecord>,
    pub schedules: Vec<Option<RotationSchedule>>,
}

/// A layout without its positions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LayoutRecord {
    pub ciphertexts: usize,
    pub period: usize,
}

impl ChannelRecord {
    pub(crate) fn of(plan: &ChannelPlan) -> Self {
        let layout = |layout: &SlotLayout| LayoutRecord {
            ciphertexts: layout.ciphertexts,
            period: layout.period,
        };
        Self {
            slots: plan.slots,
            plaintext_bits: plan.plaintext_bits,
            layouts: plan.layouts.iter().map(layout).collect(),
            schedules: plan.schedules.clone(),
        }
    }
}

/// Appends the positions of every layout.
pub(crate) fn encode(plan: &ChannelPlan, out: &mut Builder) {
    for layout in &plan.layouts {
        out.vec_u32(&layout.positions);
    }
}

/// Reads the positions; layouts and schedules are checked against the steps later.
pub(crate) fn decode(
    record: &ChannelRecord,
    steps: &[Step],
    reader: &mut Reader<'_>,
) -> Result<ChannelPlan, Error> {
    if record.layouts.len() != steps.len() {
        return Err(Error::malformed(
            "server",
            "layouts",
            format!("{}, one a step", steps.len()),
            record.layouts.len(),
        ));
    }
    let layouts = record.layouts.iter().zip(steps).map(|(layout, step)| {
        Ok(SlotLayout {
            ciphertexts: layout.ciphertexts,
            period: layout.period,
            positions: reader.vec_u32(step.elements)?,
        })
    });
    Ok(ChannelPlan {
        slots: record.slots,
        plaintext_bits: record.plaintext_bits,
        layouts: layouts.collect::<Result<_, Error>>()?,
        schedules: record.schedules.clone(),
    })
}
