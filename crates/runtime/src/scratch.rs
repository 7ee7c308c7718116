use sordino_ckks::{Ciphertexts, Context};

use crate::Error;

/// What an earlier run has left of a block.
pub enum BlockState {
    /// Nothing.
    New,
    /// The number of units that are done. Every piece that was in memory at that point can be loaded.
    Units(usize),
    /// Its result.
    Finished(Ciphertexts),
}

/// Where pieces of feature maps wait outside memory, and where a later run finds what it needs to resume an evaluation.
///
/// A piece is named by the unit that made it, within the block that was begun last. It never changes. The methods with a default
/// are for stores that outlast the process, or that limit what they hold.
pub trait Scratch {
    /// Begins a block. Returns what an earlier run has left of it.
    ///
    /// # Errors
    /// When what is left cannot be read.
    fn begin_block(&mut self, _context: &Context, _block: usize) -> Result<BlockState, Error> {
        Ok(BlockState::New)
    }

    /// Takes a piece and keeps it until it is freed. There is nothing to do for a piece that was stored before. It may be written while
    /// the evaluation goes on, within [`Budget::transfer_bytes`](sordino_plan::Budget::transfer_bytes) of memory.
    ///
    /// # Errors
    /// When it, or a piece before it, cannot be written.
    fn store(&mut self, unit: usize, piece: Ciphertexts) -> Result<(), Error>;

    /// A piece that was stored is loaded soon: it may be read while the evaluation goes on, within as much memory again. Returns whether
    /// there is room for more.
    fn prefetch(&mut self, _context: &Context, _unit: usize) -> bool {
        false
    }

    /// Returns a piece that was stored.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was stored.
    fn load(&mut self, context: &Context, unit: usize) -> Result<Ciphertexts, Error>;

    /// These pieces are unused from now on; some of them may have been stored.
    ///
    /// # Errors
    /// When they cannot be removed.
    fn free(&mut self, _units: &[usize]) -> Result<(), Error> {
        Ok(())
    }

    /// The first `units` units of the block are done, and these pieces are in memory: the place to write what a later run needs to
    /// resume.
    ///
    /// # Errors
    /// When a checkpoint has to be written and cannot be.
    fn units_done(
        &mut self,
        units: usize,
        in_memory: &[(usize, &Ciphertexts)],
    ) -> Result<(), Error>;

    /// The block is done.
    ///
    /// # Errors
    /// As [`units_done`](Self::units_done).
    fn end_block(&mut self, _result: &Ciphertexts) -> Result<(), Error> {
        Ok(())
    }
}
