//! RS256 (RFC 7518, section 3.3), with which a GitHub App signs its tokens: RSASSA-PKCS1-v1_5 with SHA-256. What is
//! signed is put together by `github`; `config` tries the key at the start.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

/// An RSA private key that signs.
pub struct SigningKey(RsaKeyPair);

/// Why there is no signature. Nothing of the key is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no RSA private key in PEM form, or the key is damaged.
    #[error("it is no RSA private key in PEM form")]
    Key,
    /// The key cannot sign.
    #[error("it cannot sign")]
    Sign,
}

impl SigningKey {
    /// Takes PEM, in PKCS#1 (as GitHub hands it out) or PKCS#8. Lines outside the armour are ignored.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn from_pem(pem: &SecretString) -> Result<Self, Error> {
        let pem = pem.expose_secret();
        let pkcs1 = der(pem, "RSA PRIVATE KEY").map(|der| RsaKeyPair::from_der(&der));
        let key = pkcs1.or_else(|| der(pem, "PRIVATE KEY").map(|der| RsaKeyPair::from_pkcs8(&der)));
        key.and_then(Result::ok).map(Self).ok_or(Error::Key)
    }

    /// The signature of `message`.
    ///
    /// # Errors
    /// [`Error::Sign`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| Error::Sign)?;
        Ok(signature)
    }
}

/// What stands between the lines that begin and end `label`.
fn der(pem: &str, label: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (_, rest) = pem.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
    STANDARD.decode(body.as_bytes()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    const PEM: &str = include_str!("../../standin/src/app-key.pem");

    fn key(pem: &str) -> Result<SigningKey, Error> {
        SigningKey::from_pem(&SecretString::from(pem))
    }

    #[test]
    fn a_signature_is_the_one_that_openssl_makes() {
        let message = b"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjB9";
        let signature = key(PEM).unwrap().sign(message).unwrap();
        // openssl dgst -sha256 -sign app-key.pem message | sha256sum
        let expected = "3f10ce592463104830d8d1228267e5ee2c80d1d78b1967593a9c9877407d5576";
        assert_eq!(hex::encode(Sha256::digest(&signature)), expected);
    }

    #[test]
    fn a_key_with_windows_line_ends_or_in_one_line_is_the_same_key() {
        let expected = key(PEM).unwrap().sign(b"x").unwrap();
        for pem in [PEM.replace('\n', "\r\n"), PEM.replace('\n', " ")] {
            assert_eq!(key(&pem).unwrap().sign(b"x"), Ok(expected.clone()));
        }
    }

    #[test]
    fn what_is_no_whole_rsa_key_is_refused() {
        let middle = PEM.len() / 2;
        let flipped =
            PEM.replacen(&PEM[middle..=middle], if &PEM[middle..=middle] == "A" { "B" } else { "A" }, 1);
        for pem in ["", "x", &PEM[..middle], &flipped, &PEM.replace("PRIVATE KEY", "CERTIFICATE")] {
            assert_eq!(key(pem).err(), Some(Error::Key), "{pem}");
        }
    }
}
