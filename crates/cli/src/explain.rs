//! `sordino explain`

use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;
use sordino::ckks::{Gadget, Parameters, security};
use sordino::container::{Kind, inspect_file};
use sordino::plan::{ClientPlan, Explanation, ServerPlan};

use crate::exit::Mismatch;
use sordino_command::{Outcome, Output};

/// Arguments of `explain`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A server plan or a client plan
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
    /// Also say what decided the parameters
    #[arg(long)]
    why: bool,
}

pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<Outcome> {
    let kind = inspect_file(&args.plan)?.kind;
    let (explanation, parameters) = match kind {
        Kind::ServerPlan => {
            let plan = ServerPlan::read(&args.plan)?;
            (plan.explain(), plan.parameters().clone())
        }
        Kind::ClientPlan => {
            let plan = ClientPlan::read(&args.plan)?;
            (plan.explain(), plan.header.parameters)
        }
        kind => {
            let path = args.plan.display();
            bail!(Mismatch(format!(
                "{path}: this is a {kind}, expected a server plan or a client plan: give a file that `sordino compile` wrote, or use `sordino inspect`"
            )));
        }
    };
    let mut value = serde_json::to_value(&explanation)?;
    let mut text = explanation.to_string();
    if args.why {
        let reasons = reasons(&explanation, &parameters);
        for reason in &reasons {
            text += &format!("\n  - {reason}");
        }
        if !explanation.alternatives.is_empty() {
            text += &runners_up(&explanation);
        }
        value["why"] = json!(reasons);
    }
    output.show(&value, || text)?;
    Ok(Outcome::Good)
}

/// The plans that were not chosen, as a table.
fn runners_up(explanation: &Explanation) -> String {
    let mut text = format!(
        "\n  runners-up:\n  {:>6} {:>7} {:>6} {:>9} {:>10}  what, and what ruled it out",
        "N", "log2 QP", "bytes", "time", "precision"
    );
    for plan in &explanation.alternatives {
        let time = match plan.evaluate_seconds {
            seconds if seconds > 0.0 => format!("{seconds:.3} s"),
            _ => "-".to_owned(),
        };
        text.push_str(&format!(
            "\n  {:>6} {:>7.1} {:>6} {time:>9} {:>10.1}  {}: {}",
            plan.ring_degree,
            plan.log2_qp,
            plan.coefficient_bytes,
            plan.precision_bits,
            plan.kind,
            plan.reason
        ));
    }
    text
}

/// What decided the parameters, from the plan itself.
fn reasons(explanation: &Explanation, parameters: &Parameters) -> Vec<String> {
    let degree = explanation.ring_degree;
    let qp = explanation.log2_qp;
    let mut reasons = Vec::new();
    if let Some(bound) = security::largest_log2_qp(degree) {
        reasons.push(format!(
            "N = {degree}: 128-bit security allows log2 QP up to {bound}, the plan takes {qp:.1}"
        ));
    }
    match security::largest_log2_qp(degree / 2) {
        Some(bound) if qp > f64::from(bound) => reasons.push(format!(
            "N = {} would allow {bound} bits, {:.1} too few for this precision",
            degree / 2,
            qp - f64::from(bound)
        )),
        Some(bound) => reasons.push(format!(
            "N = {} would allow {bound} bits and suffice for security, but costs more for {} images",
            degree / 2,
            explanation.batch
        )),
        None => reasons.push("this is the smallest ring degree that is supported".to_owned()),
    }
    reasons.push(match parameters.gadget() {
        None => "products are never relinearized: the client decrypts replies of three components, and there is no evaluation key".to_owned(),
        Some(Gadget::SpecialPrime) => format!(
            "products are relinearized with a special prime of {:.1} bits: cheaper than small digits where the security bound has room for it",
            qp - explanation.log2_q
        ),
        Some(Gadget::WideDigits { limbs }) => format!(
            "products are relinearized with digits of {limbs} primes and {} special primes of {:.1} bits together: cheaper than narrower digits where the security bound has room for them",
            parameters.special_primes().len(),
            qp - explanation.log2_q
        ),
        Some(Gadget::SmallDigits { digit_bits }) => format!(
            "products are relinearized with digits of {digit_bits} bits: the security bound has no room for a special prime, or it would cost more"
        ),
    });
    if explanation.reply_components == 3 && parameters.gadget().is_some() {
        reasons.push("the last product stays at three components: relinearizing it would cost more than it saves in the reply".to_owned());
    }
    let bits = explanation.estimate.precision_bits;
    reasons.push(format!(
        "the worst logit error is predicted to stay under 2^{:.1}; released logits are rounded to 2^{}",
        -bits,
        2 - bits.floor() as i64
    ));
    reasons
}
