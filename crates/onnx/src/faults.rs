//! All nodes that cannot be read, told at once.

use std::collections::{BTreeMap, HashSet};

use crate::Error;
use crate::attributes::Attributes;

/// Nodes that cannot be read, by what is said of them.
#[derive(Default)]
pub(crate) struct Faults {
    first: Option<Error>,
    count: usize,
    /// By operator and advice: how many nodes, and the names of the first.
    kinds: BTreeMap<(String, String), (usize, Vec<String>)>,
    seen: HashSet<String>,
}

/// Most kinds that are listed.
const MAX_KINDS: usize = 32;

impl Faults {
    /// Notes a node. Errors that are not about a node end the import at once.
    pub(crate) fn add(&mut self, at: Attributes, error: Error) -> Result<(), Error> {
        let what = match &error {
            Error::Unsupported { advice, .. } => format!("not supported: {advice}"),
            Error::Node { what, .. } => what.clone(),
            _ => return Err(error),
        };
        self.count += 1;
        self.first.get_or_insert(error);
        let kind = (at.operator().to_string(), what);
        if self.kinds.len() < MAX_KINDS || self.kinds.contains_key(&kind) {
            let (count, names) = self.kinds.entry(kind).or_default();
            *count += 1;
            if names.len() < 3 && self.seen.insert(at.name().to_string()) {
                names.push(at.name().to_string());
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<(), Error> {
        match (self.count, self.first) {
            (0, _) | (_, None) => Ok(()),
            (1, Some(error)) => Err(error),
            (count, _) => {
                let lines = self.kinds.iter().map(|((operator, what), (count, names))| {
                    format!("{count} x {operator} ({:?}): {what}", names.join(", "))
                });
                Err(Error::Several {
                    count,
                    list: lines.collect::<Vec<_>>().join("\n"),
                })
            }
        }
    }
}
