//! Keys for a plan, encryption and decryption of batches
