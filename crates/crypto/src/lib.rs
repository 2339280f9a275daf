//! Encryption at rest, signatures and tokens. Every key comes from a secret of the configuration; nothing
//! here reads the environment, the database or the clock.
//!
//! [`vault`] seals what the database keeps, [`webhook`] checks what GitHub signed, [`tokens`] makes and
//! checks what workers, comments and browsers present, [`rs256`] signs for the GitHub App. Types that hold a key implement neither `Debug` nor
//! `Serialize`, and wipe it when they are dropped.

pub mod rs256;
pub mod tokens;
pub mod vault;
pub mod webhook;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct NoRandomness(#[source] getrandom::Error);

/// A key of 256 bits.
struct Key(Zeroizing<[u8; 32]>);

/// A key that depends on the whole of `root` and on `label`, and tells nothing about either: HKDF-SHA256
/// (RFC 5869) without salt. Another label gives an unrelated key.
fn derive(root: &SecretString, label: &str) -> Key {
    let (pseudorandom_key, _) = Hkdf::<Sha256>::extract(None, root.expose_secret().as_bytes());
    let pseudorandom_key = Zeroizing::new(<[u8; 32]>::from(pseudorandom_key));
    // One block of output is one HMAC (section 2.3), which, unlike asking for any number of bytes, cannot fail.
    Key(Zeroizing::new(mac(&*pseudorandom_key, &[label.as_bytes(), &[1]])))
}

/// HMAC-SHA256 (RFC 2104) of the parts, one after the other. Where a part's end must show, the caller marks it.
fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // A key longer than the hash's block counts as its hash, a shorter one as if zeros followed.
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

/// Whether `presented` is `expected` in hex, of either case. How long this takes tells nothing about `expected`.
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
    fn a_key_of_exactly_one_block_is_used_as_it_is() {
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
            assert!(!same_digest(&digest, wrong), "{wrong:?} was taken for {}", "ab".repeat(32));
        }
    }
}
