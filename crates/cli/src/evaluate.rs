//! `sordino evaluate`: the same function as `sordino-server evaluate`.

use sordino_server::command::{EvaluateArgs, GlobalArgs};

use crate::output::{Outcome, Output};

pub(crate) fn run(
    args: &EvaluateArgs,
    global: &GlobalArgs,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let evaluation = args.run(global)?;
    output.result(&evaluation, || evaluation.summary())?;
    Ok(Outcome::Good)
}
