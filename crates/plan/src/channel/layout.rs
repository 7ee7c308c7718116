//! Positions of a feature map's elements.

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
        let wrong = |what: &str, expected: String, found: usize| {
            Err(Error::malformed(part, what, expected, found))
        };
        if self.positions.len() != elements {
            return wrong(
                "positions",
                format!("{elements}, one per element"),
                self.positions.len(),
            );
        }
        if !self.period.is_power_of_two() || self.period > slots {
            return wrong(
                "period",
                format!("a power of two up to {slots}"),
                self.period,
            );
        }
        if self.ciphertexts == 0 || self.ciphertexts > elements {
            return wrong("ciphertexts", format!("1 to {elements}"), self.ciphertexts);
        }
        for element in 0..elements {
            let (ciphertext, position) = self.place(element, slots);
            if ciphertext >= self.ciphertexts || position >= self.period {
                return wrong(
                    "position",
                    format!(
                        "below the period {} of {} ciphertexts",
                        self.period, self.ciphertexts
                    ),
                    self.positions[element] as usize,
                );
            }
        }
        let mut places = self.positions.clone();
        places.sort_unstable();
        if let Some(pair) = places.windows(2).find(|pair| pair[0] == pair[1]) {
            return wrong(
                "position",
                "another for every element".into(),
                pair[0] as usize,
            );
        }
        Ok(())
    }
}
