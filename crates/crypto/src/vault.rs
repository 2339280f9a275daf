//! Encryption at rest (main-spec §9). A [`Vault`] seals (encrypts and authenticates) a secret for one row of
//! the database, its [`Identity`]; the secret can be opened (decrypted) for that row only.
//!
//! | `key_version` | key | associated data |
//! |---|---|---|
//! | `v1`, of the earlier Porter; read only | SHA-256 of the root secret | none |
//! | `v2` | HKDF-SHA256 of the root secret | the identity |
//!
//! Both use AES-256-GCM with a random nonce of 12 bytes and a tag of 16 bytes, in standard base64. The caller
//! reads and writes the columns in the database.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::ids::UserId;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::{Key, NoRandomness, derive, mac, random};
pub use domain::sealed::{ALG, Sealed};

const V1: &str = "v1";
const V2: &str = "v2";

/// Seals with the current root secret, and opens with the current or a previous one.
pub struct Vault {
    root: SecretString,
    current: RootKeys,
    previous: Vec<RootKeys>,
}

struct RootKeys {
    v1: Key,
    v2: Key,
}

/// The row to which a secret belongs: its table and primary key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity<'a> {
    /// `user_secrets`: a user's key for a provider.
    UserSecret {
        /// The user's key.
        user_key: &'a str,
        /// The provider, such as `anthropic`.
        provider_id: &'a str,
        /// The environment variable, such as `ANTHROPIC_API_KEY`.
        env_key: &'a str,
    },
    /// `user_oauth_tokens`: the token that GitHub issued at sign-in.
    OauthToken {
        /// GitHub's id of the user.
        github_user_id: UserId,
    },
    /// `attempt_tokens`: the installation token of a running attempt.
    AttemptToken {
        /// The task's id.
        task_id: &'a str,
        /// The attempt's number, from 1.
        attempt: u32,
    },
    /// `instance_secrets`: a secret that Porter generated for itself.
    InstanceSecret {
        /// Its name.
        name: &'a str,
    },
}

/// Why a secret could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// No nonce can be generated.
    #[error("a secret could not be encrypted")]
    NoRandomness(#[from] NoRandomness),
    /// Longer than 64 GiB, the limit of AES-GCM for one nonce.
    #[error("a secret is too long to be encrypted")]
    TooLong,
}

/// Why a secret could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The columns do not have a format that Porter writes.
    #[error("the stored ciphertext is damaged: {0}")]
    Corrupt(&'static str),
    /// No configured root secret opens it for this row: it was sealed under another root secret, modified, or
    /// copied from another row.
    #[error("no configured encryption key opens it")]
    WrongKey,
}

impl Vault {
    /// A vault that seals with `root`, and opens with `root` and the `previous` root secrets.
    pub fn new(root: SecretString, previous: Vec<SecretString>) -> Self {
        let current = RootKeys::new(&root);
        Self { root, current, previous: previous.iter().map(RootKeys::new).collect() }
    }

    /// Seals `plaintext` for the row `identity`, in the newest format, with the current root secret.
    pub fn seal(&self, identity: &Identity, plaintext: &SecretString) -> Result<Sealed, SealError> {
        let nonce = random::<12>()?;
        let mut buffer = plaintext.expose_secret().as_bytes().to_vec();
        let tag = cipher(&self.current.v2)
            .encrypt_inout_detached(&Nonce::from(nonce), &identity.associated_data(), (&mut *buffer).into())
            .map_err(|_| SealError::TooLong)?;
        Ok(Sealed {
            encrypted_value: STANDARD.encode(buffer),
            iv: STANDARD.encode(nonce),
            tag: STANDARD.encode(tag),
            alg: ALG.to_owned(),
            key_version: V2.to_owned(),
        })
    }

    /// Opens the secret that was sealed for the row `identity`. The error contains nothing of the row.
    pub fn open(&self, identity: &Identity, sealed: &Sealed) -> Result<SecretString, OpenError> {
        self.open_with_root(identity, sealed).map(|(plaintext, _)| plaintext)
    }

    /// Seals a secret again if it was sealed with a previous root secret or in an older format; `None` if it
    /// is up to date. The previous root secrets can be removed from the configuration after this was applied
    /// to every row.
    pub fn reseal(&self, identity: &Identity, sealed: &Sealed) -> Result<Option<Sealed>, ResealError> {
        match self.open_with_root(identity, sealed)? {
            (_, Root::Current) if sealed.key_version == V2 => Ok(None),
            (plaintext, _) => Ok(Some(self.seal(identity, &plaintext)?)),
        }
    }

    /// The key of a GitHub user in `users`: hex HMAC-SHA256 of `github:<id>` under the current root secret.
    ///
    /// For new rows only: a row that was created under a previous root secret keeps its key. Find existing
    /// users by `users.github_user_id`.
    pub fn user_key(&self, github_user_id: UserId) -> String {
        let name = format!("github:{github_user_id}");
        hex::encode(mac(self.root.expose_secret().as_bytes(), &[name.as_bytes()]))
    }

    fn open_with_root(
        &self,
        identity: &Identity,
        sealed: &Sealed,
    ) -> Result<(SecretString, Root), OpenError> {
        if sealed.alg != ALG {
            return Err(OpenError::Corrupt("its algorithm is unknown"));
        }
        let (key, associated_data): (fn(&RootKeys) -> &Key, _) = match sealed.key_version.as_str() {
            V1 => (|root| &root.v1, vec![]),
            V2 => (|root| &root.v2, identity.associated_data()),
            _ => return Err(OpenError::Corrupt("its key version is unknown")),
        };
        let ciphertext = STANDARD
            .decode(&sealed.encrypted_value)
            .map_err(|_| OpenError::Corrupt("its value is not base64"))?;
        let nonce = decode::<12>(&sealed.iv).ok_or(OpenError::Corrupt("its iv is not 12 bytes in base64"))?;
        let tag = decode::<16>(&sealed.tag).ok_or(OpenError::Corrupt("its tag is not 16 bytes in base64"))?;

        let roots = std::iter::once((&self.current, Root::Current))
            .chain(self.previous.iter().map(|root| (root, Root::Previous)));
        for (keys, root) in roots {
            let mut buffer = Zeroizing::new(ciphertext.clone());
            let opened = cipher(key(keys)).decrypt_inout_detached(
                &Nonce::from(nonce),
                &associated_data,
                (&mut **buffer).into(),
                &Tag::from(tag),
            );
            if opened.is_ok() {
                let text =
                    std::str::from_utf8(&buffer).map_err(|_| OpenError::Corrupt("it holds no text"))?;
                return Ok((SecretString::from(text), root));
            }
        }
        Err(OpenError::WrongKey)
    }
}

/// Why a secret could not be sealed again.
#[derive(Debug, thiserror::Error)]
pub enum ResealError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// The root secret with which a ciphertext was sealed.
enum Root {
    Current,
    Previous,
}

impl RootKeys {
    fn new(root: &SecretString) -> Self {
        let digest = Sha256::digest(root.expose_secret().as_bytes());
        Self { v1: Key(Zeroizing::new(digest.into())), v2: derive(root, "porter encryption at rest v2") }
    }
}

impl Identity<'_> {
    /// An unambiguous encoding of the identity: each part is preceded by its length.
    fn associated_data(&self) -> Vec<u8> {
        let mut data = Vec::new();
        let mut add = |part: &str| {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part.as_bytes());
        };
        match *self {
            Self::UserSecret { user_key, provider_id, env_key } => {
                ["user_secrets", user_key, provider_id, env_key].into_iter().for_each(add);
            }
            Self::OauthToken { github_user_id } => {
                add("user_oauth_tokens");
                add(&github_user_id.to_string());
            }
            Self::AttemptToken { task_id, attempt } => {
                add("attempt_tokens");
                add(task_id);
                add(&attempt.to_string());
            }
            Self::InstanceSecret { name } => {
                add("instance_secrets");
                add(name);
            }
        }
        data
    }
}

fn cipher(key: &Key) -> Aes256Gcm {
    Aes256Gcm::new((&*key.0).into())
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests;
