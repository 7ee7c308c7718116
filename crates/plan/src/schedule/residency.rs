//! Which pieces are in memory when: what leaves for scratch, and what comes back.

use std::collections::BTreeSet;

use super::{Sizes, Unit};
use crate::Step;

/// What moves between memory and scratch before a unit is computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfers {
    /// Units whose pieces leave memory; each is read again later. Pieces do not change: one that was on scratch before is there still.
    pub evict: Vec<usize>,
    /// Units whose pieces come back.
    pub load: Vec<usize>,
}

/// Where the pieces of a schedule are while it is worked through.
pub(super) struct Residency {
    /// By unit; empty where nothing leaves memory.
    pub transfers: Vec<Transfers>,
    /// Most bytes in memory after and during each unit.
    pub live: Vec<u64>,
    /// Most bytes on scratch.
    pub scratch_bytes: u64,
    /// Bytes written and read back.
    pub moved_bytes: u64,
}

impl Residency {
    /// Most bytes in memory.
    pub(super) fn peak_bytes(&self) -> u64 {
        self.live.iter().copied().max().unwrap_or(0)
    }
}

/// Bytes in memory that a unit cannot do without: the input while it is read, the logits, what the unit reads and what it makes.
fn least_bytes(units: &[Unit], steps: &[Step], sizes: &Sizes) -> u64 {
    let bytes = |unit: usize| sizes.piece(steps, &units[unit]);
    let last_step = steps.len() - 1;
    let mut pinned = 0;
    let mut least = 0;
    for (index, unit) in units.iter().enumerate() {
        let read: u64 = unit
            .from
            .iter()
            .filter(|&&u| u != 0)
            .map(|&u| bytes(u))
            .sum();
        let makes = if unit.takes_over(units, steps) {
            0
        } else {
            bytes(index)
        };
        least = least.max(pinned + read + makes);
        if index == 0 || unit.last_step() == last_step {
            pinned += bytes(index);
        }
        if unit.frees.contains(&0) {
            pinned -= bytes(0);
        }
    }
    least
}

/// Works through the units with `room` bytes for pieces: whatever has to leave is what is read again last, which is the best
/// there is when all reads are known (Belady 1966). The input, which can be read again from the request, and the logits stay.
///
/// # Errors
/// The bytes that are needed at least.
pub(super) fn residency(
    units: &[Unit],
    steps: &[Step],
    sizes: &Sizes,
    room: Option<u64>,
) -> Result<Residency, u64> {
    let room = room.unwrap_or(u64::MAX);
    let least = least_bytes(units, steps, sizes);
    if least > room {
        return Err(least);
    }
    let bytes: Vec<u64> = units.iter().map(|unit| sizes.piece(steps, unit)).collect();
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); units.len()];
    for (index, unit) in units.iter().enumerate().rev() {
        unit.from.iter().for_each(|&from| readers[from].push(index));
    }
    let movable = |unit: usize| unit != 0 && units[unit].last_step() + 1 < steps.len();
    // What could leave: by its next reader.
    let mut resident: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut in_memory = vec![false; units.len()];
    let mut on_scratch = vec![false; units.len()];
    let (mut live, mut scratch) = (0, 0);
    let mut result = Residency {
        transfers: Vec::with_capacity(units.len()),
        live: Vec::with_capacity(units.len()),
        scratch_bytes: 0,
        moved_bytes: 0,
    };
    for (index, unit) in units.iter().enumerate() {
        let load: Vec<usize> = unit
            .from
            .iter()
            .copied()
            .filter(|&u| !in_memory[u])
            .collect();
        let loaded: u64 = load.iter().map(|&u| bytes[u]).sum();
        let takes_over = unit.takes_over(units, steps);
        let makes = if takes_over { 0 } else { bytes[index] };
        let mut evict = Vec::new();
        while live + loaded + makes > room {
            // What this unit reads has the nearest next reader: it is never the last.
            let (_, victim) = resident.pop_last().expect("the least that is needed fits");
            in_memory[victim] = false;
            live -= bytes[victim];
            if !on_scratch[victim] {
                on_scratch[victim] = true;
                scratch += bytes[victim];
                result.moved_bytes += bytes[victim];
            }
            evict.push(victim);
        }
        result.scratch_bytes = result.scratch_bytes.max(scratch);
        for &unit in &load {
            in_memory[unit] = true;
            resident.insert((index, unit));
        }
        live += loaded;
        result.moved_bytes += loaded;
        result.live.push(live + makes);
        result.transfers.push(Transfers { evict, load });
        for &from in &unit.from {
            resident.remove(&(index, from));
            readers[from].pop();
            if let Some(&next) = readers[from].last()
                && movable(from)
            {
                resident.insert((next, from));
            }
        }
        for &freed in &unit.frees {
            in_memory[freed] = false;
            live -= bytes[freed];
            scratch -= if on_scratch[freed] { bytes[freed] } else { 0 };
        }
        in_memory[index] = true;
        live += bytes[index];
        if let Some(&next) = readers[index].last()
            && movable(index)
        {
            resident.insert((next, index));
        }
    }
    if result.moved_bytes == 0 {
        result.transfers.clear();
    }
    Ok(result)
}
