//! The interface between the units of a plan and an arithmetic.

use sordino_ckks::{Ciphertexts, SeededCiphertexts};
use sordino_plan::{Schedule, Unit};

use crate::Error;

/// Arithmetic that computes the units of a schedule, each from pieces that earlier units made.
pub trait Engine {
    /// The values that a unit makes.
    type Piece;

    /// Computes a unit. `pieces` holds what is in memory, by unit; a piece that the unit frees may be taken.
    ///
    /// # Errors
    /// When a source does not fit the step, or an evaluation key is missing.
    fn compute(
        &self,
        index: usize,
        unit: &Unit,
        pieces: &mut [Option<Self::Piece>],
    ) -> Result<Computed<Self::Piece>, Error>;
}

/// What a unit made.
pub struct Computed<Piece> {
    /// The values.
    pub piece: Piece,
    /// How the time divides: a share for reading the source, then one for each step of the unit.
    pub shares: Vec<u64>,
}

impl<Piece> Computed<Piece> {
    /// The piece of a unit of one step.
    pub(crate) fn by_one_step(piece: Piece) -> Self {
        let shares = vec![0, 1];
        Self { piece, shares }
    }
}

/// An engine on ciphertexts.
pub(crate) trait EncryptedEngine: Engine<Piece = Piece> {
    /// The units that the engine computes.
    fn schedule(&self) -> &Schedule;

    /// The first unit's piece.
    fn input(&self, block: SeededCiphertexts) -> Result<Piece, Error>;

    /// The reply, when all units are done.
    fn result(&self, pieces: &mut [Option<Piece>]) -> Result<Ciphertexts, Error>;
}

/// The ciphertexts that a unit made.
#[derive(Clone, Debug)]
pub enum Piece {
    /// The input as it came: the uniform half is still a seed.
    Fresh(SeededCiphertexts),
    /// All components.
    Expanded(Ciphertexts),
}

impl Piece {
    /// The ciphertexts of a piece that the engine made, or that it expanded because a reader cannot use a seed.
    pub(crate) fn expanded(&self) -> &Ciphertexts {
        match self {
            Self::Expanded(map) => map,
            Self::Fresh(_) => unreachable!("expanded unless every reader can read seeds"),
        }
    }
}

/// Computes one unit and drops the pieces that no later unit reads. Returns how the time divides.
pub(crate) fn advance<E: Engine + ?Sized>(
    engine: &E,
    schedule: &Schedule,
    index: usize,
    pieces: &mut [Option<E::Piece>],
) -> Result<Vec<u64>, Error> {
    let unit = &schedule.units()[index];
    let computed = engine.compute(index, unit, pieces)?;
    pieces[index] = Some(computed.piece);
    unit.frees.iter().for_each(|&freed| pieces[freed] = None);
    Ok(computed.shares)
}

/// Computes all units of one block and returns the last piece. Calls `after` with every unit and its piece.
///
/// # Errors
/// Those of the engine.
pub fn walk<E: Engine>(
    engine: &E,
    schedule: &Schedule,
    input: E::Piece,
    mut after: impl FnMut(usize, &E::Piece),
) -> Result<E::Piece, Error> {
    let mut pieces: Vec<Option<E::Piece>> = schedule.units().iter().map(|_| None).collect();
    pieces[0] = Some(input);
    for index in 0..pieces.len() {
        if index > 0 {
            advance(engine, schedule, index, &mut pieces)?;
        }
        after(index, live(&pieces, index));
    }
    Ok(pieces
        .pop()
        .flatten()
        .expect("a plan has at least one step"))
}

/// The piece of a unit.
pub(crate) fn live<Piece>(pieces: &[Option<Piece>], unit: usize) -> &Piece {
    pieces[unit]
        .as_ref()
        .expect("a piece lives until its last reader")
}

/// The piece of a unit that another one works on: the piece itself where nothing else reads it, else a copy.
pub(crate) fn take<Piece: Clone>(
    pieces: &mut [Option<Piece>],
    source: usize,
    unit: &Unit,
) -> Piece {
    let held = match unit.frees.contains(&source) {
        true => pieces[source].take(),
        false => None,
    };
    held.unwrap_or_else(|| live(pieces, source).clone())
}
