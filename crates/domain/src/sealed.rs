//! A sealed secret in the form of its columns. `crypto::vault` seals and opens it, and `db` stores it.

/// A sealed secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Base64 of the ciphertext (`encrypted_token` in `user_oauth_tokens`).
    pub encrypted_value: String,
    /// Base64 of the nonce, 12 bytes.
    pub iv: String,
    /// Base64 of the authentication tag, 16 bytes.
    pub tag: String,
    /// [`ALG`].
    pub alg: String,
    /// `v1` or `v2` (main-spec §9).
    pub key_version: String,
}

/// The only algorithm there is.
pub const ALG: &str = "aes-256-gcm";
