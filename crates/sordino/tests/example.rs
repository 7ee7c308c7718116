//! The example runs, and its network is good under encryption.

#[path = "../examples/encrypt_evaluate_decrypt.rs"]
mod example;

#[test]
fn the_example_classifies_encrypted_digits() {
    let accuracy = example::run().expect("the example runs");
    assert!(accuracy > 0.95, "accuracy {accuracy}");
}
