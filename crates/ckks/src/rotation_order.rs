//! Slots in the order in which rotations are cyclic shifts.

use std::fmt;

/// The order of slots in which the rotations of ciphertexts are cyclic shifts to the left.
///
/// Entry p of a vector in rotation order is slot `order[p]`. Rotation by s steps moves entry p + s, modulo N, to
/// entry p.
#[derive(Clone, PartialEq, Eq)]
pub struct RotationOrder {
    order: Vec<u32>,
}

impl fmt::Debug for RotationOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RotationOrder(N = {})", self.order.len())
    }
}

impl RotationOrder {
    /// The order of N slots.
    ///
    /// # Panics
    /// If N is not a power of two from 2^4 to 2^16.
    pub fn new(ring_degree: usize) -> Self {
        Self {
            order: sordino_ring::rotation_order(ring_degree),
        }
    }

    /// The number of slots N.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Never: there are at least 16 slots.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The slot of every entry.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Moves values from rotation order to the natural order of slots, which encoding and encryption take.
    ///
    /// # Panics
    /// If a slice is not N long.
    pub fn to_slots_into<T: Copy>(&self, values: &[T], slots: &mut [T]) {
        self.check(values);
        self.check(slots);
        for (&slot, &value) in self.order.iter().zip(values) {
            slots[slot as usize] = value;
        }
    }

    /// [`to_slots_into`](Self::to_slots_into) a new vector.
    ///
    /// # Panics
    /// If there are not N values.
    pub fn to_slots<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let mut slots = values.to_vec();
        self.to_slots_into(values, &mut slots);
        slots
    }

    /// The values of slots in their natural order, which decryption gives, in rotation order.
    ///
    /// # Panics
    /// If there are not N slots.
    pub fn from_slots<T: Copy>(&self, slots: &[T]) -> Vec<T> {
        self.check(slots);
        self.order
            .iter()
            .map(|&slot| slots[slot as usize])
            .collect()
    }

    #[track_caller]
    fn check<T>(&self, vector: &[T]) {
        assert_eq!(
            vector.len(),
            self.len(),
            "a vector has as many entries as there are slots"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let order = RotationOrder::new(16);
        let values: Vec<u32> = (100..116).collect();
        let slots = order.to_slots(&values);
        assert_eq!(slots[order.order()[3] as usize], 103);
        assert_eq!(order.from_slots(&slots), values);
    }

    #[test]
    #[should_panic(expected = "as many entries")]
    fn another_length_is_a_mistake() {
        RotationOrder::new(16).to_slots(&[0; 8]);
    }
}
