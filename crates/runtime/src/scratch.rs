use sordino_ckks::{Ciphertexts, Context};

use crate::Error;

/// What is known of a block from a run that was ended.
pub enum BlockState {
    /// Nothing.
    New,
    /// So many of its units are done. Every piece that was in memory then can be loaded.
    Units(usize),
    /// Its result.
    Finished(Ciphertexts),
}

/// Where pieces of feature maps wait outside of memory, and where an evaluation that was ended can go on.
///
/// A piece is named by the unit that made it, within the block that was begun last. It never changes. What has a default is for
/// stores that outlast the process, or that care how much they hold.
pub trait Scratch {
    /// Begins a block; says what a run before this one left of it.
    ///
    /// # Errors
    /// When that cannot be read.
    fn begin_block(&mut self, _context: &Context, _block: usize) -> Result<BlockState, Error> {
        Ok(BlockState::New)
    }

    /// Keeps a piece until it is freed; nothing to do where it was stored before.
    ///
    /// # Errors
    /// When it cannot be written.
    fn store(&mut self, unit: usize, piece: &Ciphertexts) -> Result<(), Error>;

    /// A piece that was stored.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was stored.
    fn load(&mut self, context: &Context, unit: usize) -> Result<Ciphertexts, Error>;

    /// Nobody reads these pieces any more, of which some may have been stored.
    ///
    /// # Errors
    /// When they cannot be removed.
    fn free(&mut self, _units: &[usize]) -> Result<(), Error> {
        Ok(())
    }

    /// So many units of the block are done, and these pieces are in memory: the place to write what a later run can go on from.
    ///
    /// # Errors
    /// When that cannot be written and has to be.
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
