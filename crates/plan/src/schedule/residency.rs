//! Which pieces are in memory at which point: which leave for scratch, and which come back.

use std::collections::BTreeSet;

use super::{Sizes, Unit};
use crate::{Step, unread};

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

/// The steps whose values the reply reads.
fn for_reply(steps: &[Step]) -> Vec<bool> {
    let mut for_reply = vec![false; steps.len()];
    unread(steps)
        .into_iter()
        .for_each(|step| for_reply[step] = true);
    for_reply
        .last_mut()
        .into_iter()
        .for_each(|last| *last = true);
    for_reply
}

/// Least bytes in memory while units are computed: the input while it is read, the logits, what a unit reads and what it makes.
///
/// `bytes` are those of the pieces, `makes` those that each unit takes in addition to what it reads.
fn least_bytes(units: &[Unit], steps: &[Step], bytes: &[u64], makes: &[u64]) -> u64 {
    let for_reply = for_reply(steps);
    let (mut pinned, mut least) = (0, 0);
    for (index, unit) in units.iter().enumerate() {
        let read = unit.from.iter().filter(|&&from| from != 0);
        let read: u64 = read.map(|&from| bytes[from]).sum();
        least = least.max(pinned + read + makes[index]);
        if index == 0 || for_reply[unit.last_step()] {
            pinned += bytes[index];
        }
        if unit.frees.contains(&0) {
            pinned -= bytes[0];
        }
    }
    least
}

/// Places the pieces of all units in `room` bytes. The piece that is read again last leaves first, which is optimal when all
/// reads are known (Belady 1966). The input and the logits stay.
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
    let bytes: Vec<u64> = units.iter().map(|unit| sizes.piece(steps, unit)).collect();
    let makes =
        units
            .iter()
            .zip(&bytes)
            .map(|(unit, &bytes)| match unit.takes_over(units, steps) {
                true => 0,
                false => bytes,
            });
    let makes: Vec<u64> = makes.collect();
    let least = least_bytes(units, steps, &bytes, &makes);
    if least > room {
        return Err(least);
    }
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); units.len()];
    for (index, unit) in units.iter().enumerate().rev() {
        unit.from.iter().for_each(|&from| readers[from].push(index));
    }
    let for_reply = for_reply(steps);
    let movable = |unit: usize| unit != 0 && !for_reply[units[unit].last_step()];
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
        let load = unit.from.iter().copied().filter(|&from| !in_memory[from]);
        let load: Vec<usize> = load.collect();
        let loaded: u64 = load.iter().map(|&unit| bytes[unit]).sum();
        let makes = makes[index];
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
