//! Which slot holds which image: an order that follows from the secret key and a public tag.
//!
//! Somebody who evaluates and forges a slot of a reply does not learn whose scores that changed. So classes that are published, in
//! the order of the images, tell a forger nothing about single slots of the key.

use sordino_ckks::SlotTag;
use sordino_container::Digest;
use sordino_ring::sample::SecretRng;
use zeroize::Zeroizing;

use crate::key::public_bytes;
use crate::{Error, SecretKey};

/// Random bytes of a tag; the others authenticate them.
const RANDOM_BYTES: usize = 16;

impl SecretKey {
    /// A fresh tag for a request of so many images to a plan.
    ///
    /// # Errors
    /// [`Error::Ring`] if the operating system gives no random bytes.
    pub fn slot_tag(&self, plan: Digest, images: usize) -> Result<SlotTag, Error> {
        let mut tag = [0; 32];
        tag[..RANDOM_BYTES].copy_from_slice(&public_bytes::<RANDOM_BYTES>()?);
        let code = self.tag_code(&tag, plan, images);
        tag[RANDOM_BYTES..].copy_from_slice(&code.as_bytes()[RANDOM_BYTES..]);
        Ok(SlotTag(tag))
    }

    /// Checks that a tag was made with this key for so many images and this plan.
    ///
    /// # Errors
    /// [`Error::SlotTag`].
    pub fn check_slot_tag(&self, tag: &SlotTag, plan: Digest, images: usize) -> Result<(), Error> {
        // As long as the comparison of a whole hash takes, whatever differs.
        let mut expected = [0; 32];
        expected[..RANDOM_BYTES].copy_from_slice(&tag.0[..RANDOM_BYTES]);
        let code = self.tag_code(&expected, plan, images);
        expected[RANDOM_BYTES..].copy_from_slice(&code.as_bytes()[RANDOM_BYTES..]);
        match blake3::Hash::from_bytes(expected) == blake3::Hash::from_bytes(tag.0) {
            true => Ok(()),
            false => Err(Error::SlotTag),
        }
    }

    fn tag_code(&self, tag: &[u8; 32], plan: Digest, images: usize) -> blake3::Hash {
        let key = self.derived("sordino slot tag v1");
        blake3::Hasher::new_keyed(&key)
            .update(&tag[..RANDOM_BYTES])
            .update(plan.as_bytes())
            .update(&(images as u64).to_le_bytes())
            .finalize()
    }

    /// The slots of a part of the images of a request, out of `slots`: different ones, each order as likely as any other, and nothing
    /// to do with those of another part.
    ///
    /// # Panics
    /// If there are more images than slots, or 2^32 slots and more.
    pub fn slot_order(&self, tag: &SlotTag, part: usize, images: usize, slots: usize) -> Vec<u32> {
        assert!(
            images <= slots,
            "{images} images have no room in {slots} slots"
        );
        let key = self.derived("sordino slot order v1");
        let mut seed = blake3::Hasher::new_keyed(&key);
        seed.update(&tag.0).update(&(part as u64).to_le_bytes());
        some_of(slots, images, seed.finalize())
    }

    /// The slots of the check images of a block, out of `slots`: different ones, each order as likely as any other, and nothing to
    /// do with those of other blocks or with [`slot_order`](Self::slot_order).
    ///
    /// # Panics
    /// If there are more check images than slots, or 2^32 slots and more.
    pub fn check_slots(
        &self,
        tag: &SlotTag,
        block: usize,
        check_images: usize,
        slots: usize,
    ) -> Vec<u32> {
        assert!(
            check_images <= slots,
            "{check_images} check images have no room in {slots} slots"
        );
        let key = self.derived("sordino check slots v1");
        let mut seed = blake3::Hasher::new_keyed(&key);
        seed.update(&tag.0).update(&(block as u64).to_le_bytes());
        some_of(slots, check_images, seed.finalize())
    }

    /// A key for another purpose.
    fn derived(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let coefficients = self.coefficients.0.iter().map(|&s| s.to_le_bytes()[0]);
        let coefficients: Zeroizing<Vec<u8>> = Zeroizing::new(coefficients.collect());
        Zeroizing::new(blake3::derive_key(purpose, &coefficients))
    }
}

/// So many different numbers below `slots`, in an order that follows from a seed.
fn some_of(slots: usize, count: usize, seed: blake3::Hash) -> Vec<u32> {
    let mut rng = SecretRng::from_seed(*seed.as_bytes());
    let mut order: Vec<u32> = (0..u32::try_from(slots).expect("fewer than 2^32 slots")).collect();
    // Fisher and Yates. A remainder of 64 bits prefers some of 2^32 numbers by less than 2^-32.
    for place in 0..count {
        let mut bytes = [0; 8];
        rng.fill(&mut bytes);
        let other = u64::from_le_bytes(bytes) % (slots - place) as u64;
        order.swap(place, place + other as usize);
    }
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests {
    use sordino_ckks::{Context, Parameters};
    use sordino_ring::backend;

    use super::*;

    fn key() -> SecretKey {
        let parameters =
            Parameters::insecure_for_tests(16, vec![193], vec![], None).expect("parameters");
        let context = Context::new(parameters, backend::portable()).expect("a context");
        let mut rng = SecretRng::from_os().expect("randomness");
        SecretKey::generate(&context, &mut rng).expect("a key")
    }

    #[test]
    fn a_tag_holds_for_its_key_plan_and_count() {
        let (key, plan) = (key(), Digest::of_bytes(b"plan"));
        let tag = key.slot_tag(plan, 7).expect("a tag");
        key.check_slot_tag(&tag, plan, 7).expect("its own");
        let mut changed = [tag; 32];
        for (index, tag) in changed.iter_mut().enumerate() {
            tag.0[index] ^= 1;
            assert!(key.check_slot_tag(tag, plan, 7).is_err(), "byte {index}");
        }
        assert!(key.check_slot_tag(&tag, plan, 8).is_err());
        assert!(
            key.check_slot_tag(&tag, Digest::of_bytes(b"other"), 7)
                .is_err()
        );
        assert!(self::key().check_slot_tag(&tag, plan, 7).is_err());
        assert_ne!(key.slot_tag(plan, 7).expect("a tag"), tag);
    }

    #[test]
    fn every_image_has_a_slot_and_every_slot_its_share() {
        let (key, plan) = (key(), Digest::of_bytes(b"plan"));
        let mut counts = [0; 8];
        for _ in 0..4000 {
            let tag = key.slot_tag(plan, 3).expect("a tag");
            let order = key.slot_order(&tag, 0, 3, 8);
            assert_eq!(order, key.slot_order(&tag, 0, 3, 8));
            let mut sorted = order.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), 3, "{order:?}");
            counts[order[0] as usize] += 1;
        }
        // Of 4,000, 500 each; six deviations are 125.
        assert!(
            counts.iter().all(|count| (375..625).contains(count)),
            "{counts:?}"
        );
        let tag = key.slot_tag(plan, 4096).expect("a tag");
        let mut all = key.slot_order(&tag, 0, 4096, 4096);
        all.sort_unstable();
        assert!(all.iter().copied().eq(0..4096));
    }

    #[test]
    fn check_images_have_slots_of_their_own_in_every_block() {
        let key = key();
        let tag = key.slot_tag(Digest::of_bytes(b"plan"), 7).expect("a tag");
        let of_block = |block| key.check_slots(&tag, block, 16, 4096);
        assert_eq!(of_block(0), of_block(0));
        assert_ne!(of_block(0), of_block(1));
        assert_ne!(of_block(0), key.slot_order(&tag, 0, 16, 4096));
        let mut sorted = of_block(1);
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 16);
        assert!(sorted.iter().all(|&slot| slot < 4096));
    }
}
