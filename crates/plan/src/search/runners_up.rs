//! The best plans of other kinds than the chosen one, and what ruled them out.

use sordino_ckks::Gadget;
use sordino_ckks::security::largest_log2_qp;

use super::SAME_COST;
use super::element_wise::{Candidate, Search};
use crate::alternatives::Alternative;
use crate::{primes, weights};

/// Kinds that are kept.
const MOST: usize = 10;

impl Search<'_> {
    /// The best candidate of every other kind, cheapest first. Candidates are sorted by cost.
    pub(super) fn runners_up(&self, chosen: usize) -> Vec<Alternative> {
        let mut alternatives: Vec<Alternative> = Vec::new();
        let mut seen = vec![chosen];
        for index in 0..self.candidates.len() {
            if alternatives.len() == MOST {
                break;
            }
            let kind = self.candidates[index].kind;
            if seen.iter().any(|&i| self.candidates[i].kind == kind) {
                continue;
            }
            seen.push(index);
            // Coarser and finer weights only for the chosen plan's kind, or every kind would be there many times.
            let winner = self.candidates[chosen].kind;
            let differs = [
                kind.ring_degree != winner.ring_degree,
                kind.rescale_first != winner.rescale_first,
                kind.places != winner.places,
                kind.digit_limbs != winner.digit_limbs,
                kind.network != winner.network,
            ];
            if differs.into_iter().filter(|&d| d).count() > 1 {
                continue;
            }
            alternatives.push(self.alternative(index, chosen));
        }
        for (&(degree, rescale_first), &bits) in self.closest.over_bound() {
            let known = |i: &usize| {
                let choice = &self.candidates[*i].choice;
                choice.ring_degree == degree && choice.rescale_first == rescale_first
            };
            let bound = largest_log2_qp(degree).unwrap_or(0);
            if !seen.iter().any(known) {
                alternatives.push(Alternative {
                    kind: rescaling(rescale_first).to_owned(),
                    ring_degree: degree,
                    log2_qp: f64::from(bits),
                    coefficient_bytes: primes::bytes_of(bits),
                    evaluate_seconds: 0.0,
                    precision_bits: -self.demand.target.log2(),
                    reason: format!("128-bit security allows {bound} bits of modulus"),
                });
            }
        }
        alternatives
    }

    /// The cheapest candidate of the same kind that meets the constraints, or the first one with what it misses.
    fn alternative(&self, first: usize, chosen: usize) -> Alternative {
        let kind = self.candidates[first].kind;
        let mut refusal = None;
        let alike = |&index: &usize| self.candidates[index].kind == kind;
        for index in (first..self.candidates.len()).filter(alike) {
            match self.refusal(index) {
                None => return self.described(index, chosen, None),
                Some(reason) => {
                    refusal.get_or_insert(reason);
                }
            }
        }
        self.described(first, chosen, refusal)
    }

    fn described(&self, index: usize, chosen: usize, refusal: Option<String>) -> Alternative {
        let (candidate, winner) = (&self.candidates[index], &self.candidates[chosen]);
        let ratio = candidate.seconds / winner.seconds;
        let reason = refusal.unwrap_or_else(|| {
            let [bytes, least] = [candidate, winner].map(|c| self.bytes_per_feature(c) as f64);
            if ratio > SAME_COST {
                format!("{ratio:.2} times the time")
            } else if bytes > least {
                format!("as fast, but {:.2} times the upload", bytes / least)
            } else {
                format!(
                    "as fast, but an error of noise and weight rounding of {:.4} instead of {:.4} rms",
                    candidate.rms_error, winner.rms_error
                )
            }
        });
        Alternative {
            kind: self.kind_in_words(candidate),
            ring_degree: candidate.choice.ring_degree,
            log2_qp: f64::from(candidate.log2_qp),
            coefficient_bytes: candidate.bytes,
            evaluate_seconds: candidate.seconds,
            precision_bits: self.demand.predicted_bits(&candidate.noise),
            reason,
        }
    }

    fn kind_in_words(&self, candidate: &Candidate) -> String {
        let relinearization = match candidate.gadget {
            None => "no relinearization".to_owned(),
            Some(gadget) => {
                let bits = gadget.special_bits;
                let gadget = match gadget.gadget {
                    Gadget::SpecialPrime => format!("special prime of {bits} bits"),
                    Gadget::WideDigits { limbs } => format!(
                        "digits of {limbs} limbs and {} special primes of {bits} bits",
                        gadget.special_primes
                    ),
                    Gadget::SmallDigits { digit_bits } => format!("digits of {digit_bits} bits"),
                };
                format!("{}, {gadget}", places_in_words(candidate.kind.places))
            }
        };
        let rounding = weights::rounding_error(&self.networks[candidate.kind.network]);
        format!(
            "{}, {relinearization}, weights rounded by {rounding:.3} rms",
            rescaling(candidate.choice.rescale_first)
        )
    }
}

fn rescaling(rescale_first: bool) -> &'static str {
    match rescale_first {
        true => "first layer rescaled",
        false => "first layer not rescaled",
    }
}

fn places_in_words(counts: [usize; 3]) -> String {
    let names = ["before the layer", "after the layer", "after its rescale"];
    let used = counts
        .into_iter()
        .zip(names)
        .filter(|&(count, _)| count > 0);
    let parts: Vec<String> = used
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    format!("relinearized {}", parts.join(", "))
}
