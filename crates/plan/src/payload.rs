//! The numbers of a server plan's steps as bytes; what describes them is in the metadata.

use sordino_container::{Builder, Reader};
use sordino_ring::linear::{LinearMap, Tile, WeightWidth};

use crate::{Error, Operation, Step, Term};

/// Appends the numbers of all steps.
pub(crate) fn write(steps: &[Step], out: &mut Builder) {
    for step in steps {
        match &step.operation {
            Operation::Linear { terms, bias } => {
                terms.iter().for_each(|term| write_term(term, out));
                out.vec_i128(bias);
            }
            Operation::Square { shift, .. } => {
                out.vec_i128(shift);
            }
            Operation::Input | Operation::Relinearize { .. } | Operation::Rescale { .. } => {}
        }
    }
}

fn write_term(term: &Term, out: &mut Builder) {
    match term {
        Term::Scaled { factors, .. } => {
            out.vec_i64(factors);
        }
        Term::Product { map, .. } => {
            out.count(map.tiles().len());
            for tile in map.tiles() {
                out.count(tile.outputs.len()).vec_u32(&tile.outputs);
                out.count(tile.inputs.len()).vec_u32(&tile.inputs);
                match map.weight_width() {
                    WeightWidth::Sixteen => out.vec_i16(&tile.weights),
                    // The map's constructor checks that such weights have 8 bits.
                    WeightWidth::Eight => {
                        out.vec_i8(&tile.weights.iter().map(|&w| w as i8).collect::<Vec<_>>())
                    }
                };
            }
        }
    }
}

/// Reads the numbers of steps whose descriptions were read, and whose numbers of elements were checked.
pub(crate) fn read(steps: &mut [Step], reader: &mut Reader<'_>) -> Result<(), Error> {
    for step in steps {
        let elements = step.elements;
        match &mut step.operation {
            Operation::Linear { terms, bias } => {
                for term in terms {
                    read_term(term, &step.name, elements, reader)?;
                }
                *bias = reader.vec_i128(elements)?;
            }
            Operation::Square { shift, .. } => *shift = reader.vec_i128(elements)?,
            Operation::Input | Operation::Relinearize { .. } | Operation::Rescale { .. } => {}
        }
    }
    Ok(())
}

fn read_term(
    term: &mut Term,
    step: &str,
    elements: usize,
    reader: &mut Reader<'_>,
) -> Result<(), Error> {
    match term {
        Term::Scaled { factors, .. } => *factors = reader.vec_i64(elements)?,
        Term::Product { map, .. } => {
            let (inputs, width) = (map.input_rows(), map.weight_width());
            // A tile takes 16 bytes of counts at least.
            let tiles = (0..reader.count(16)?).map(|_| read_tile(width, reader));
            let tiles = tiles.collect::<Result<_, Error>>()?;
            let read = LinearMap::new(inputs, elements, width, tiles);
            *map = read.map_err(|error| {
                let what = format!("weights of step \"{step}\"");
                Error::malformed("server", what, "a matrix that the kernels take", error)
            })?;
        }
    }
    Ok(())
}

fn read_tile(width: WeightWidth, reader: &mut Reader<'_>) -> Result<Tile, Error> {
    let outputs = reader.count(4).and_then(|n| reader.vec_u32(n))?;
    let inputs = reader.count(4).and_then(|n| reader.vec_u32(n))?;
    let weights = outputs.len().saturating_mul(inputs.len());
    let weights = match width {
        WeightWidth::Sixteen => reader.vec_i16(weights)?,
        WeightWidth::Eight => reader.vec_i8(weights)?.into_iter().map(i16::from).collect(),
    };
    Ok(Tile {
        outputs,
        inputs,
        weights,
    })
}
