//! The parameters of a plan, as reports show them.

use sordino::plan::ServerPlan;
use sordino_report::{Cell, Table};

/// A plan's parameters as a table of one column.
pub(crate) fn parameters(plan: &ServerPlan) -> Table {
    let found = plan.parameters();
    let primes = |primes: &[u64]| {
        let texts: Vec<String> = primes.iter().map(u64::to_string).collect();
        Cell::words(texts.join(" · "))
    };
    let mut table = Table::single(
        format!("{} for {}", plan.network(), plan.dataset()),
        plan.packing().kind().to_string(),
        [
            ("ring_degree", Cell::from(found.ring_degree() as u64)),
            ("log2_q", found.log2_q().into()),
            ("log2_qp", found.log2_qp().into()),
            ("security_bits", u64::from(found.security_bits()).into()),
            ("log2_scale", plan.input().scale.log2().into()),
            ("log2_output_scale", plan.output().scale.log2().into()),
            ("primes", primes(found.primes())),
            ("special_primes", primes(found.special_primes())),
            ("batch", (plan.batch() as u64).into()),
            ("macs_per_image", plan.multiply_accumulates().into()),
            ("precision_bits", plan.estimate().precision_bits.into()),
        ],
    );
    // Not every plan has special primes.
    table.rows.retain(|row| !row.is_empty());
    table
}
