//! Secret key, key generation, encryption and decryption
