//! Work on rows: on all cores with feature `parallel`, else on the calling thread.

#[cfg(feature = "parallel")]
use rayon::prelude::*;

use crate::Error;

/// Calls `work(scratch, row, slices)` for every chunk of `per_row` slices, with scratch memory of the worker.
pub(crate) fn for_each_row<S>(
    slices: &mut [&mut [u8]],
    per_row: usize,
    scratch: impl Fn() -> S + Sync + Send,
    work: impl Fn(&mut S, usize, &mut [&mut [u8]]) -> Result<(), Error> + Sync + Send,
) -> Result<(), Error> {
    #[cfg(feature = "parallel")]
    return slices
        .par_chunks_exact_mut(per_row)
        .enumerate()
        .try_for_each_init(scratch, |scratch, (row, slices)| work(scratch, row, slices));
    #[cfg(not(feature = "parallel"))]
    {
        let mut scratch = scratch();
        slices
            .chunks_exact_mut(per_row)
            .enumerate()
            .try_for_each(|(row, slices)| work(&mut scratch, row, slices))
    }
}

/// The results of `work(scratch, row)` for `rows` rows in order.
pub(crate) fn collect_rows<S, T: Send>(
    rows: usize,
    scratch: impl Fn() -> S + Sync + Send,
    work: impl Fn(&mut S, usize) -> Result<T, Error> + Sync + Send,
) -> Result<Vec<T>, Error> {
    #[cfg(feature = "parallel")]
    return (0..rows).into_par_iter().map_init(scratch, work).collect();
    #[cfg(not(feature = "parallel"))]
    {
        let mut scratch = scratch();
        (0..rows).map(|row| work(&mut scratch, row)).collect()
    }
}
