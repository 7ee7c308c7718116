//! Which switching keys an evaluation needs, and which a key file has.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::security::LARGEST_RING_DEGREE;

/// The switching keys of an evaluation key: the one for relinearization, and one for every rotation.
///
/// Rotations are by numbers of steps to the left in rotation order, sorted, distinct and at least 1; whether they
/// are below the ring degree is checked where parameters are known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Record", into = "Record")]
pub struct KeySet {
    relinearization: bool,
    rotations: Vec<usize>,
}

/// A key set as it stands in a file, before any check.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    relinearization: bool,
    rotations: Vec<usize>,
}

impl KeySet {
    /// The most rotations of a set: their keys are large.
    pub const MAX_ROTATIONS: usize = 1024;

    /// A set of keys; it may be empty.
    ///
    /// # Errors
    /// [`Error::Rotations`] if the rotations are not sorted and distinct, one is 0 or not below the largest ring
    /// degree, or there are more than [`MAX_ROTATIONS`](Self::MAX_ROTATIONS).
    pub fn new(relinearization: bool, rotations: Vec<usize>) -> Result<Self, Error> {
        let refuse = |steps, reason| Err(Error::Rotations { steps, reason });
        if rotations.len() > Self::MAX_ROTATIONS {
            let last = rotations[Self::MAX_ROTATIONS];
            return refuse(last, "is one more than the 1024 rotations that are allowed");
        }
        if rotations.first() == Some(&0) {
            return refuse(0, "needs no key");
        }
        if let Some(pair) = rotations.windows(2).find(|pair| pair[0] >= pair[1]) {
            return refuse(pair[1], "is not above the one before it");
        }
        let set = Self {
            relinearization,
            rotations,
        };
        set.check(LARGEST_RING_DEGREE)?;
        Ok(set)
    }

    /// The key for relinearization alone.
    pub fn relinearization_only() -> Self {
        Self {
            relinearization: true,
            rotations: Vec::new(),
        }
    }

    /// Whether there is a key for relinearization.
    pub fn relinearization(&self) -> bool {
        self.relinearization
    }

    /// The steps of the rotations, in rising order.
    pub fn rotations(&self) -> &[usize] {
        &self.rotations
    }

    /// The number of switching keys.
    pub fn len(&self) -> usize {
        usize::from(self.relinearization) + self.rotations.len()
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is the set that key files leave out.
    pub(crate) fn is_relinearization_only(&self) -> bool {
        self.relinearization && self.rotations.is_empty()
    }

    /// All rotations are by fewer steps than there are slots.
    ///
    /// # Errors
    /// [`Error::Rotations`].
    pub fn check(&self, ring_degree: usize) -> Result<(), Error> {
        match self.rotations.last() {
            Some(&steps) if steps >= ring_degree => Err(Error::Rotations {
                steps,
                reason: "is not below the ring degree",
            }),
            _ => Ok(()),
        }
    }

    /// Everything in another set is in this one.
    ///
    /// # Errors
    /// [`Error::MissingRelinearization`] or [`Error::MissingRotation`] for the first key that is not.
    pub fn check_covers(&self, needed: &Self) -> Result<(), Error> {
        if needed.relinearization && !self.relinearization {
            return Err(Error::MissingRelinearization);
        }
        match needed
            .rotations
            .iter()
            .find(|steps| self.position(**steps).is_none())
        {
            Some(&steps) => Err(Error::MissingRotation { steps }),
            None => Ok(()),
        }
    }

    /// The place of a rotation among the switching keys.
    pub(crate) fn position(&self, steps: usize) -> Option<usize> {
        let place = self.rotations.binary_search(&steps).ok()?;
        Some(usize::from(self.relinearization) + place)
    }
}

impl TryFrom<Record> for KeySet {
    type Error = Error;

    fn try_from(record: Record) -> Result<Self, Error> {
        Self::new(record.relinearization, record.rotations)
    }
}

impl From<KeySet> for Record {
    fn from(set: KeySet) -> Self {
        Self {
            relinearization: set.relinearization,
            rotations: set.rotations,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sorted_distinct_rotations_in_range() {
        let set = KeySet::new(true, vec![1, 5, 32767]).unwrap();
        assert_eq!(
            (set.len(), set.position(5), set.position(2)),
            (4, Some(2), None)
        );
        assert!(set.check(32768).is_ok() && set.check(16384).is_err());
        for bad in [vec![0], vec![0, 1], vec![2, 1], vec![1, 1], vec![1 << 15]] {
            assert!(matches!(
                KeySet::new(true, bad),
                Err(Error::Rotations { .. })
            ));
        }
        assert!(KeySet::new(false, (1..=1024).collect()).is_ok());
        assert!(KeySet::new(false, (1..=1025).collect()).is_err());
    }

    #[test]
    fn what_covers_what() {
        let [all, some] = [vec![1, 2, 3], vec![2]].map(|r| KeySet::new(false, r).unwrap());
        all.check_covers(&some).unwrap();
        assert!(matches!(
            some.check_covers(&all),
            Err(Error::MissingRotation { steps: 1 })
        ));
        assert!(matches!(
            all.check_covers(&KeySet::relinearization_only()),
            Err(Error::MissingRelinearization)
        ));
    }

    #[test]
    fn text_and_back() {
        let set = KeySet::new(true, vec![3, 7]).unwrap();
        let json = serde_json::to_string(&set).unwrap();
        assert_eq!(json, r#"{"relinearization":true,"rotations":[3,7]}"#);
        assert_eq!(serde_json::from_str::<KeySet>(&json).unwrap(), set);
        for bad in [
            r#"{"relinearization":true,"rotations":[7,3]}"#,
            r#"{"relinearization":true}"#,
            r#"{"relinearization":true,"rotations":[],"x":1}"#,
            r#"{"relinearization":true,"rotations":[-1]}"#,
        ] {
            assert!(serde_json::from_str::<KeySet>(bad).is_err(), "{bad}");
        }
    }
}
