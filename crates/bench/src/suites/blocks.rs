//! The series of `bench mnist` over more and more full blocks.

use std::ops::RangeInclusive;

use anyhow::ensure;
use sordino::Model;
use sordino::compile;
use sordino::data::{DataSet, prepare};
use sordino::plan::{CompileOptions, PackingKind};

use crate::Error;
use crate::measure::{BlockSeries, MeasureOptions, measure_block_scaling};
use crate::record::Record;

/// No data set has images for more.
const MOST_BLOCKS: usize = 1024;

/// Numbers of full ciphertext blocks: `A..B`, both included, or one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocks(RangeInclusive<usize>);

impl std::str::FromStr for Blocks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = |detail: &str| {
            format!(
                "expected a number of blocks such as 2, or the first and last such as 1..4, found {text:?}: {detail}"
            )
        };
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (Ok(first), Ok(last)) = (first.parse(), last.parse()) else {
            return Err(refuse("give whole numbers"));
        };
        if first == 0 {
            return Err(refuse("give at least 1"));
        }
        if last < first {
            return Err(refuse("give the smaller number first"));
        }
        if last > MOST_BLOCKS {
            return Err(refuse(&format!("give at most {MOST_BLOCKS}")));
        }
        Ok(Self(first..=last))
    }
}

impl Blocks {
    /// Checks before anything is measured that there are images for that many blocks.
    pub(super) fn check(&self, model: &Model, batch: usize, set: &DataSet) -> anyhow::Result<()> {
        let options = CompileOptions::new(batch).with_packing(PackingKind::ElementWise);
        let plan = compile(model, &options)?;
        let (blocks, ring_degree) = (*self.0.end(), plan.server.parameters().ring_degree());
        let (expected, found) = (blocks * ring_degree, set.test.len() + set.train.len());
        let too_few = Error::TooFewImages {
            blocks,
            ring_degree,
            expected,
            found,
        };
        ensure!(expected <= found, too_few);
        Ok(())
    }
}

/// A network on numbers of full blocks: the test images first and, beyond them, training images, which take no part in
/// accuracy and agreement.
pub(super) fn over_blocks(
    model: &Model,
    set: &DataSet,
    blocks: &Blocks,
    ring_degree: usize,
    options: &MeasureOptions<'_>,
) -> anyhow::Result<Vec<Record>> {
    let needed = blocks.0.end() * ring_degree;
    let mut images = set.test.split_at(needed).0;
    let judged = images.len();
    let labels = images.labels.clone();
    if judged < needed {
        images.append(set.train.split_at(needed - judged).0)?;
    }
    let prepared = prepare(&images, &model.preprocess, None)?;
    let series = BlockSeries {
        blocks: blocks.0.clone(),
        ring_degree,
        images: &prepared,
        judged,
        labels: labels.as_deref(),
    };
    measure_block_scaling(model, &series, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_a_number_or_an_inclusive_range() {
        let parse = |text: &str| text.parse::<Blocks>();
        assert_eq!(parse("1..4"), Ok(Blocks(1..=4)));
        assert_eq!(parse("2"), Ok(Blocks(2..=2)));
        assert_eq!(parse("3..3"), Ok(Blocks(3..=3)));
        for (text, part) in [
            ("0", "at least 1"),
            ("0..4", "at least 1"),
            ("4..1", "smaller number first"),
            ("1..", "whole numbers"),
            ("..4", "whole numbers"),
            ("1..2..3", "whole numbers"),
            ("one", "whole numbers"),
            ("-1", "whole numbers"),
            ("1..99999", "at most 1024"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part) && error.contains("1..4"), "{error}");
        }
    }
}
