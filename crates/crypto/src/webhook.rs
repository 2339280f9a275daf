//! GitHub's signature of a webhook: `X-Hub-Signature-256: sha256=<hex of HMAC-SHA256 of the body>` (GitHub
//! documentation, "Validating webhook deliveries"; main-spec §5). `web` verifies it before it parses the
//! body.

use secrecy::{ExposeSecret, SecretString};

use super::{mac, same_digest};

const SCHEME: &str = "sha256=";

/// Whether `header` is the signature of this `body` under `secret`, in constant time. An empty secret is
/// always refused, because anyone can sign with it.
pub fn verify(secret: &SecretString, body: &[u8], header: &str) -> bool {
    let secret = secret.expose_secret();
    match header.strip_prefix(SCHEME) {
        Some(signature) if !secret.is_empty() => same_digest(&mac(secret.as_bytes(), &[body]), signature),
        _ => false,
    }
}

/// The value of the header for `body`.
pub fn sign(secret: &SecretString, body: &[u8]) -> String {
    format!("{SCHEME}{}", hex::encode(mac(secret.expose_secret().as_bytes(), &[body])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> SecretString {
        SecretString::from("It's a Secret to Everybody")
    }

    /// The example of GitHub's documentation.
    const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn the_example_of_githubs_documentation_verifies() {
        assert_eq!(sign(&secret(), b"Hello, World!"), SIGNATURE);
        assert!(verify(&secret(), b"Hello, World!", SIGNATURE));
    }

    #[test]
    fn upper_case_hex_verifies() {
        let upper = SIGNATURE.replace("sha256=", "").to_uppercase();
        assert!(verify(&secret(), b"Hello, World!", &format!("sha256={upper}")));
    }

    #[test]
    fn a_changed_body_or_another_secret_is_refused() {
        assert!(!verify(&secret(), b"Hello, World", SIGNATURE));
        assert!(!verify(&SecretString::from("another"), b"Hello, World!", SIGNATURE));
    }

    #[test]
    fn a_malformed_or_partial_signature_is_refused() {
        let hex = SIGNATURE.strip_prefix("sha256=").unwrap();
        let forged = [
            String::new(),
            "sha256=".to_owned(),
            hex.to_owned(),
            format!("sha1={hex}"),
            format!("SHA256={hex}"),
            format!("sha256={}", &hex[..62]),
            format!("sha256={hex}00"),
            format!("sha256={hex} "),
            format!(" sha256={hex}"),
            format!("sha256=sha256={hex}"),
            format!("sha256={}é", &hex[..62]),
            format!("sha256={}", "0".repeat(64)),
        ];
        for header in forged {
            assert!(!verify(&secret(), b"Hello, World!", &header), "{header:?} was accepted");
        }
    }

    #[test]
    fn an_empty_secret_never_verifies() {
        let empty = SecretString::from("");
        let signature = sign(&empty, b"body");
        assert!(!verify(&empty, b"body", &signature));
    }
}
