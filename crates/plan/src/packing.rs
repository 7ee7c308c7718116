//! The two ways in which feature maps lie in ciphertexts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ChannelLayout, ChannelPlan, SlotLayout};

/// The name of a packing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackingKind {
    /// One ciphertext per element of a feature map, one image per slot.
    ElementWise,
    /// The channels of an image side by side in few ciphertexts.
    ChannelWise,
}

impl fmt::Display for PackingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// How feature maps lie in ciphertexts, with what a half of the plan knows about it.
///
/// Files name the packing in the field `packing` and have the positions in the field `channel`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "packing", content = "channel", rename_all = "kebab-case")]
pub enum Packing<Channel> {
    /// One ciphertext per element of a feature map, one image per slot.
    ElementWise,
    /// The channels of an image side by side in few ciphertexts, at the positions that the plan lists.
    ChannelWise(Channel),
}

impl<Channel> Packing<Channel> {
    /// The packing's name.
    pub fn kind(&self) -> PackingKind {
        match self {
            Packing::ElementWise => PackingKind::ElementWise,
            Packing::ChannelWise(_) => PackingKind::ChannelWise,
        }
    }

    /// The positions, `None` for element-wise packing.
    pub fn channel(&self) -> Option<&Channel> {
        match self {
            Packing::ElementWise => None,
            Packing::ChannelWise(channel) => Some(channel),
        }
    }
}

/// What both halves of a plan know about channel-wise packing.
pub(crate) trait Ends {
    /// Positions per image, layout of a request, layout of a reply.
    fn ends(&self) -> (usize, &SlotLayout, &SlotLayout);
}

impl Ends for ChannelPlan {
    fn ends(&self) -> (usize, &SlotLayout, &SlotLayout) {
        let last = &self.layouts[self.layouts.len() - 1];
        (self.slots, &self.layouts[0], last)
    }
}

impl Ends for ChannelLayout {
    fn ends(&self) -> (usize, &SlotLayout, &SlotLayout) {
        (self.slots, &self.input, &self.output)
    }
}
