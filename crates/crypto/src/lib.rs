//! Encryption at rest, signatures and tokens. All keys are derived from secrets of the configuration, which
//! the caller passes. This crate does not read the environment, the database or the clock.
//!
//! [`vault`] encrypts secrets for the database, [`webhook`] verifies GitHub's signatures, [`tokens`] creates
//! and verifies the tokens of workers, comments and browsers. Types that contain a key implement neither
//! `Debug` nor `Serialize`, and erase it when they are dropped.

pub mod rs256;
pub mod tokens;
pub mod vault;
pub mod webhook;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// The operating system's random number generator failed.
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random number generator failed")]
pub struct NoRandomness(#[source] getrandom::Error);

/// A key of 256 bits.
struct Key(Zeroizing<[u8; 32]>);

/// Derives a key from `root` and `label` with HKDF-SHA256 (RFC 5869) without salt. Keys of different labels
/// are independent.
fn derive(root: &SecretString, label: &str) -> Key {
    let (pseudorandom_key, _) = Hkdf::<Sha256>::extract(None, root.expose_secret().as_bytes());
    let pseudorandom_key = Zeroizing::new(<[u8; 32]>::from(pseudorandom_key));
    // The first block of output is one HMAC (RFC 5869, section 2.3). `Hkdf::expand` can fail, this cannot.
    Key(Zeroizing::new(mac(&*pseudorandom_key, &[label.as_bytes(), &[1]])))
}

/// HMAC-SHA256 (RFC 2104) of the concatenated parts. The caller adds separators where the boundaries matter.
fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // RFC 2104: a key longer than the hash's block is replaced by its hash, a shorter one is padded with
    // zeros.
    let mut block = Zeroizing::new([0; 64]);
    match block.get_mut(..key.len()) {
        Some(start) => start.copy_from_slice(key),
        None => block[..32].copy_from_slice(&Sha256::digest(key)),
    }
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Whether `presented` is `expected` in hex, in upper or lower case. Runs in constant time with respect to
/// `expected`.
fn same_digest(expected: &[u8], presented: &str) -> bool {
    use subtle::ConstantTimeEq;

    hex::decode(presented).is_ok_and(|presented| expected.ct_eq(&presented).into())
}

fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_agrees_with_rfc_4231() {
        let case_2 = mac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex::encode(case_2), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let case_6 = mac(&[0xaa; 131], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(hex::encode(case_6), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn a_key_of_exactly_one_block_is_not_hashed() {
        let whole = Hmac::<Sha256>::new_from_slice(&[7; 64]).unwrap().chain_update(b"x").finalize();
        assert_eq!(mac(&[7; 64], &[b"x"])[..], whole.into_bytes()[..]);
    }

    #[test]
    fn derive_agrees_with_hkdf() {
        let root = SecretString::from("some root secret");
        let mut expected = [0; 32];
        Hkdf::<Sha256>::new(None, b"some root secret").expand(b"a label", &mut expected).unwrap();
        assert_eq!(*derive(&root, "a label").0, expected);
    }

    #[test]
    fn digests_are_compared_whole_and_in_either_case() {
        let digest = [0xab; 32];
        assert!(same_digest(&digest, &"ab".repeat(32)));
        assert!(same_digest(&digest, &"AB".repeat(32)));
        for wrong in ["", "ab", &"ab".repeat(31), &"ab".repeat(33), &"ac".repeat(32), &"zz".repeat(32)] {
            assert!(!same_digest(&digest, wrong), "{wrong:?} was accepted as {}", "ab".repeat(32));
        }
    }
}
