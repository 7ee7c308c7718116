//! Positions of a feature map's elements.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Where the elements of a feature map lie: which ciphertext, and which of the image's positions in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotLayout {
    /// Ciphertexts of the map.
    pub ciphertexts: usize,
    /// The positions repeat after this many: a power of two that divides the slots of an image.
    pub period: usize,
    /// For each element: ciphertext · slots + position, the position below the period. A server plan's metadata leaves them
    /// out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positions: Vec<u32>,
}

impl SlotLayout {
    /// Ciphertext and position of an element.
    pub fn place(&self, element: usize, slots: usize) -> (usize, usize) {
        let place = self.positions[element] as usize;
        (place / slots, place % slots)
    }

    pub(crate) fn check(
        &self,
        part: &'static str,
        elements: usize,
        slots: usize,
    ) -> Result<(), Error> {
        let require = |good, what: &str, expected: fmt::Arguments<'_>, found: usize| {
            Error::require(good, part, what, expected, found)
        };
        let (count, period, ciphertexts) = (self.positions.len(), self.period, self.ciphertexts);
        let one_each = format_args!("{elements}, one per element");
        require(count == elements, "positions", one_each, count)?;
        let good = period.is_power_of_two() && period <= slots;
        require(
            good,
            "period",
            format_args!("a power of two up to {slots}"),
            period,
        )?;
        let good = (1..=elements).contains(&ciphertexts);
        require(
            good,
            "ciphertexts",
            format_args!("1 to {elements}"),
            ciphertexts,
        )?;
        for &place in &self.positions {
            let place = place as usize;
            let good = place / slots < ciphertexts && place % slots < period;
            let inside = format_args!("below the period {period} of {ciphertexts} ciphertexts");
            require(good, "position", inside, place)?;
        }
        let mut places = self.positions.clone();
        places.sort_unstable();
        if let Some(pair) = places.windows(2).find(|pair| pair[0] == pair[1]) {
            let another = format_args!("another for every element");
            return require(false, "position", another, pair[0] as usize);
        }
        Ok(())
    }
}
