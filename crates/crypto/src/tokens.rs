//! Tokens that are presented to Porter: the callback token of a worker (main-spec §7), the proof in a status
//! comment that Porter wrote it, and the session id of a browser. All are compared in constant time. The
//! database stores no value that could be presented.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::{NoRandomness, derive, mac, random, same_digest};
use domain::task::TaskId;

/// The keys behind callback tokens and comment proofs.
pub struct Keys {
    callback: SigningKeys,
    comment: SecretSlice<u8>,
}

/// The key that signs, and older keys that still verify.
struct SigningKeys {
    current: SecretSlice<u8>,
    previous: Vec<SecretSlice<u8>>,
}

impl Keys {
    /// Derives the keys from the root secret of encryption at rest; `CALLBACK_SECRET`, if set, is the key of
    /// callback tokens. Tokens issued under a `previous` root secret still verify, so that running machines
    /// survive a rotation.
    pub fn new(
        root: &SecretString,
        previous: &[SecretString],
        callback_secret: Option<&SecretString>,
    ) -> Self {
        Self {
            callback: match callback_secret {
                Some(secret) => SigningKeys {
                    current: secret.expose_secret().as_bytes().to_vec().into(),
                    previous: vec![],
                },
                None => SigningKeys::derive(root, previous, "porter callback token"),
            },
            comment: SecretSlice::from(derive(root, "porter comment proof").0.to_vec()),
        }
    }

    /// The callback token of an attempt: hex HMAC-SHA256 of `<task id>` for attempt 1, and of `<task
    /// id>:<attempt>` for later attempts.
    pub fn callback_token(&self, task: &TaskId, attempt: u32) -> SecretString {
        SecretString::from(hex::encode(callback_mac(&self.callback.current, task, attempt)))
    }

    /// Whether `presented` is the callback token of this attempt. The task does not have to exist.
    pub fn verify_callback_token(&self, task: &TaskId, attempt: u32, presented: &str) -> bool {
        self.callback.any(|key| same_digest(&callback_mac(key, task, attempt), presented))
    }

    /// 16 hex characters for the marker in Porter's comment about a task, or in its answer to a comment. Only
    /// Porter can compute them, so a marker written by another person is not recognised as Porter's.
    pub fn comment_proof(&self, about: &str) -> String {
        hex::encode(comment_mac(&self.comment, about))
    }
}

impl SigningKeys {
    fn derive(root: &SecretString, previous: &[SecretString], label: &str) -> Self {
        let key = |root| SecretSlice::from(derive(root, label).0.to_vec());
        Self { current: key(root), previous: previous.iter().map(key).collect() }
    }

    fn any(&self, verifies: impl Fn(&SecretSlice<u8>) -> bool) -> bool {
        std::iter::once(&self.current).chain(&self.previous).any(verifies)
    }
}

fn callback_mac(key: &SecretSlice<u8>, task: &TaskId, attempt: u32) -> [u8; 32] {
    // A task id contains no colon, so two attempts never sign the same text.
    let suffix = if attempt == 1 { String::new() } else { format!(":{attempt}") };
    mac(key.expose_secret(), &[task.as_str().as_bytes(), suffix.as_bytes()])
}

fn comment_mac(key: &SecretSlice<u8>, about: &str) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = mac(key.expose_secret(), &[about.as_bytes()]);
    [a, b, c, d, e, f, g, h]
}

/// A new session id for the cookie: 256 random bits in base64url.
pub fn new_session_id() -> Result<SecretString, NoRandomness> {
    let bytes = Zeroizing::new(random::<32>()?);
    Ok(SecretString::from(URL_SAFE_NO_PAD.encode(*bytes)))
}

/// The stored form of a session id: hex HMAC-SHA256 under `SESSION_SECRET`. With the database alone, an
/// attacker can neither use a session nor create one.
pub fn session_digest(session_secret: &SecretString, id: &SecretString) -> String {
    // The same secret signs OAuth states; the label separates the two uses.
    hex::encode(mac(
        session_secret.expose_secret().as_bytes(),
        &[b"porter session\0", id.expose_secret().as_bytes()],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(text: &str) -> TaskId {
        TaskId::parse(text).unwrap()
    }

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    fn keys(root: &str, previous: &[&str]) -> Keys {
        let previous: Vec<_> = previous.iter().copied().map(secret).collect();
        Keys::new(&secret(root), &previous, None)
    }

    #[test]
    fn the_token_of_the_first_attempt_is_that_of_the_earlier_porter() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/fixtures/d1-export/vectors.json")).unwrap();
        let callback = |name: &str| vectors["callback"][name].as_str().unwrap();
        let keys = Keys::new(&secret("root"), &[], Some(&secret(callback("callback_secret"))));
        let task = task(callback("execution_id"));
        assert_eq!(keys.callback_token(&task, 1).expose_secret(), callback("token"));
        assert!(keys.verify_callback_token(&task, 1, callback("token")));
    }

    #[test]
    fn the_token_of_a_later_attempt_includes_its_number() {
        let keys = Keys::new(&secret("root"), &[], Some(&secret("callback")));
        let expected = hex::encode(mac(b"callback", &[b"task_1:2"]));
        assert_eq!(keys.callback_token(&task("task_1"), 2).expose_secret(), expected);
    }

    #[test]
    fn a_token_is_valid_for_one_attempt_of_one_task() {
        let keys = keys("root", &[]);
        let token = keys.callback_token(&task("task_1"), 2);
        assert!(keys.verify_callback_token(&task("task_1"), 2, token.expose_secret()));
        for (id, attempt) in [("task_1", 1), ("task_1", 3), ("task_12", 2), ("task_2", 2)] {
            let accepted = keys.verify_callback_token(&task(id), attempt, token.expose_secret());
            assert!(!accepted, "the token of task_1, attempt 2 was accepted for {id}, attempt {attempt}");
        }
        assert!(!keys.verify_callback_token(&task("task_1"), 2, ""));
    }

    #[test]
    fn keys_of_different_use_and_of_different_roots_are_different() {
        let (one, other) = (keys("one", &[]), keys("other", &[]));
        let task = task("task_1");
        let token = one.callback_token(&task, 1);
        assert_ne!(token.expose_secret(), other.callback_token(&task, 1).expose_secret());
        assert!(!token.expose_secret().starts_with(&one.comment_proof(task.as_str())));
        assert!(!other.verify_callback_token(&task, 1, token.expose_secret()));
    }

    #[test]
    fn a_token_signed_under_a_previous_root_secret_still_verifies() {
        let (old, new) = (keys("old", &[]), keys("new", &["old"]));
        let task = task("task_1");
        assert!(new.verify_callback_token(&task, 1, old.callback_token(&task, 1).expose_secret()));
    }

    #[test]
    fn a_comment_proof_is_16_hex_characters_for_one_task() {
        let keys = keys("root", &[]);
        let proof = keys.comment_proof("task_1");
        assert!(proof.len() == 16 && proof.chars().all(|c| c.is_ascii_hexdigit()), "{proof}");
        assert_eq!(proof, keys.comment_proof("task_1"));
        assert_ne!(proof, keys.comment_proof("task_2"));
    }

    #[test]
    fn session_ids_are_256_bits_for_a_cookie_and_do_not_repeat() {
        let (one, other) = (new_session_id().unwrap(), new_session_id().unwrap());
        assert_ne!(one.expose_secret(), other.expose_secret());
        assert_eq!(URL_SAFE_NO_PAD.decode(one.expose_secret()).unwrap().len(), 32);
    }

    #[test]
    fn a_session_digest_depends_on_the_id_and_on_the_secret() {
        let digest = session_digest(&secret("one"), &secret("id"));
        assert_eq!(digest, session_digest(&secret("one"), &secret("id")));
        assert_ne!(digest, session_digest(&secret("other"), &secret("id")));
        assert_ne!(digest, session_digest(&secret("one"), &secret("id2")));
    }
}
