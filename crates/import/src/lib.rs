//! `porter import-d1`: takes over the accounts of the earlier Porter from an SQL export of its database
//! (contract §9). All or nothing, and twice is once.
//!
//! The export is never executed against the real database: `export` checks its statements, a database in
//! memory loads them, and its rows are copied by type. A row of the export is written when there is none here,
//! or an older one; whatever is as new or newer here stays. Ciphertexts are copied as they are, once each was
//! seen to open; Fly tokens move out of the settings (`fly_token`).

mod export;
mod fly_token;
mod report;
mod tables;
mod tokens;

use std::collections::HashMap;
use std::fmt;

use chrono::{DateTime, NaiveDateTime, Utc};

pub use self::export::ExportError;
pub use self::fly_token::adopt_fly_tokens;
use self::fly_token::{store_fly_token, take_fly_token};
pub use self::report::{Counts, Report};
use crate::tables::{self as db, Ciphertext, Connection, Key, Scratch, ScratchError, Target};
use crypto::vault::{Identity, OpenError, SealError, Sealed, Vault};

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is no complete export of the earlier Porter.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// SQLite cannot make sense of one of its statements.
    #[error("line {line} of the export, {name}")]
    Statement {
        /// Where it begins.
        line: usize,
        /// What it does.
        name: String,
        /// What is wrong.
        source: ScratchError,
    },
    /// Its rows cannot be read.
    #[error(transparent)]
    Rows(#[from] ScratchError),
    /// Settings that no Porter can have written.
    #[error("the settings of user {} in the export are no JSON object", user_key.escape_debug())]
    BadSettings {
        /// Whose.
        user_key: String,
    },
    /// A row of someone who is neither in the export nor here.
    #[error("the export holds {row}, but not that user; is it complete?")]
    NoUser {
        /// Which row.
        row: String,
    },
    /// Secrets that do not open.
    #[error(transparent)]
    Unopenable(#[from] Unopenable),
    /// A secret cannot be sealed anew.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The real database fails.
    #[error(transparent)]
    Database(#[from] db::Error),
}

/// Secrets of an export that no configured root secret opens, by row.
#[derive(Debug, thiserror::Error)]
pub struct Unopenable {
    rows: Vec<(String, OpenError)>,
    of: usize,
}

/// Imports the export `sql` in one transaction of its own.
///
/// # Errors
/// [`ImportError`]; then nothing was written.
pub async fn import(connection: &mut Connection, vault: &Vault, sql: &str) -> Result<Report, ImportError> {
    let export = export::read(sql.trim_start_matches('\u{feff}'))?;
    let mut scratch = Scratch::open().await?;
    for export::Statement { line, name, text } in &export.statements {
        let named = |source| ImportError::Statement { line: *line, name: name.clone(), source };
        scratch.execute(text).await.map_err(named)?;
    }
    let rows = Rows::read(&mut scratch).await?;
    rows.check_secrets(vault)?;

    let mut merge = Merge {
        target: Target::begin(connection).await?,
        vault,
        keys: HashMap::new(),
        report: Report { other_tables: export.other_tables, ..Report::default() },
    };
    merge.users(rows.users).await?;
    merge.settings(rows.settings).await?;
    merge.secrets(rows.secrets).await?;
    merge.oauth_tokens(rows.oauth_tokens).await?;
    merge.target.commit().await?;

    let mut report = merge.report;
    if !export.has_end {
        let note = "the export lacks the index on user_oauth_tokens that it should end with; \
            compare the numbers with the earlier database, in case it was cut short";
        report.notes.push(note.to_owned());
    }
    Ok(report)
}

/// The rows of an export.
struct Rows {
    users: Vec<db::User>,
    settings: Vec<db::Settings>,
    secrets: Vec<db::Secret>,
    oauth_tokens: Vec<db::OauthToken>,
}

impl Rows {
    async fn read(scratch: &mut Scratch) -> Result<Self, ScratchError> {
        Ok(Self {
            users: scratch.users().await?,
            settings: scratch.settings().await?,
            secrets: scratch.secrets().await?,
            oauth_tokens: scratch.oauth_tokens().await?,
        })
    }

    fn check_secrets(&self, vault: &Vault) -> Result<(), Unopenable> {
        let secrets = self.secrets.iter().map(|secret| (identity(secret), &secret.ciphertext));
        let tokens = self
            .oauth_tokens
            .iter()
            .map(|token| (Identity::OauthToken { github_user_id: token.github_user_id }, &token.ciphertext));
        let closed = secrets.chain(tokens).filter_map(|(identity, ciphertext)| {
            let error = vault.open(&identity, &sealed(ciphertext.clone())).err()?;
            Some((row_name(&identity), error))
        });
        let rows: Vec<_> = closed.collect();
        let of = self.secrets.len() + self.oauth_tokens.len();
        if rows.is_empty() { Ok(()) } else { Err(Unopenable { rows, of }) }
    }
}

/// What is to be done with a row of the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Insert,
    Update,
    Same,
    NewerHere,
}

impl Verdict {
    /// The newer row wins; on a tie, the one that is here.
    fn of(existing: Option<&str>, incoming: &str) -> Self {
        match existing.map(|existing| instant(incoming).cmp(&instant(existing))) {
            None => Self::Insert,
            Some(std::cmp::Ordering::Greater) => Self::Update,
            Some(std::cmp::Ordering::Equal) => Self::Same,
            Some(std::cmp::Ordering::Less) => Self::NewerHere,
        }
    }

    fn writes(self) -> bool {
        matches!(self, Self::Insert | Self::Update)
    }
}

/// The instant a column tells, as JavaScript or SQLite writes it; what is neither is older than all.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let sqlite = || NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").map(|time| time.and_utc());
    DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).or_else(|_| sqlite()).ok()
}

/// The transaction in which rows are merged, table by table.
struct Merge<'a> {
    target: Target<'a>,
    vault: &'a Vault,
    /// The key here of each user of the export. Another than in the export when the person already signed in
    /// here under another root secret.
    keys: HashMap<String, String>,
    report: Report,
}

impl Merge<'_> {
    async fn users(&mut self, mut rows: Vec<db::User>) -> Result<(), ImportError> {
        rows.sort_by(|one, other| one.user_key.cmp(&other.user_key));
        for mut user in rows {
            if let Some(id) = user.github_user_id
                && let Some(key) = self.target.find_user_key(id, &user.user_key).await?
                && key != user.user_key
            {
                let note = format!("GitHub user {id} is known here under another key; both became one");
                self.report.notes.push(note);
                self.keys.insert(std::mem::replace(&mut user.user_key, key.clone()), key);
            } else {
                self.keys.insert(user.user_key.clone(), user.user_key.clone());
            }
            let existing = self.target.find_time(Key::User(&user.user_key)).await?;
            let verdict = Verdict::of(existing.as_deref(), &user.updated_at);
            if verdict.writes() {
                self.target.store_user(&user).await?;
            }
            self.report.users.add(verdict);
        }
        Ok(())
    }

    async fn settings(&mut self, rows: Vec<db::Settings>) -> Result<(), ImportError> {
        for settings in rows {
            let row = || format!("the settings of user {}", settings.user_key.escape_debug());
            let user_key = self.user_key(&settings.user_key, row).await?;
            let (config_json, fly_token) = take_fly_token(&settings.config_json)
                .ok_or_else(|| ImportError::BadSettings { user_key: settings.user_key.clone() })?;
            let existing = self.target.find_time(Key::Settings(&user_key)).await?;
            let verdict = Verdict::of(existing.as_deref(), &settings.updated_at);
            self.report.settings.add(verdict);
            if !verdict.writes() {
                continue;
            }
            let settings = db::Settings { user_key, config_json, ..settings };
            self.target.store_settings(&settings).await?;
            if let Some(token) = fly_token {
                let (key, time) = (&settings.user_key, &settings.updated_at);
                let stored = store_fly_token(&mut self.target, self.vault, key, &token, time).await?;
                self.report.fly_tokens_moved += usize::from(stored);
                self.report.fly_tokens_superseded += usize::from(!stored);
            }
        }
        Ok(())
    }

    async fn secrets(&mut self, rows: Vec<db::Secret>) -> Result<(), ImportError> {
        for secret in rows {
            let user_key = self.user_key(&secret.user_key, || row_name(&identity(&secret))).await?;
            let key = Key::Secret(&user_key, &secret.provider_id, &secret.env_key);
            let existing = self.target.find_time(key).await?;
            let verdict = Verdict::of(existing.as_deref(), &secret.updated_at);
            self.report.secrets.add(verdict);
            if verdict.writes() {
                let secret = self.rekeyed(secret, user_key)?;
                self.target.store_secret(&secret).await?;
            }
        }
        Ok(())
    }

    async fn oauth_tokens(&mut self, rows: Vec<db::OauthToken>) -> Result<(), ImportError> {
        for token in rows {
            let id = token.github_user_id;
            match self.target.find_login_owner(&token.github_login_norm).await? {
                // A login belongs to one account at a time; it was renamed, and whose it is now only GitHub knows.
                Some(owner) if owner != id => {
                    let login = token.github_login_norm.escape_debug();
                    let note = format!(
                        "GitHub user {id} must sign in anew: the login {login} belongs to user {owner} here"
                    );
                    self.report.notes.push(note);
                    self.report.oauth_tokens.read += 1;
                    self.report.oauth_tokens.left_out += 1;
                }
                _ => {
                    let existing = self.target.find_time(Key::OauthToken(id)).await?;
                    let verdict = Verdict::of(existing.as_deref(), &token.updated_at);
                    if verdict.writes() {
                        self.target.store_oauth_token(&token).await?;
                    }
                    self.report.oauth_tokens.add(verdict);
                }
            }
        }
        Ok(())
    }

    /// The key here of the user who has `exported` as key in the export.
    async fn user_key(
        &mut self,
        exported: &str,
        row: impl FnOnce() -> String,
    ) -> Result<String, ImportError> {
        match self.keys.get(exported) {
            Some(key) => Ok(key.clone()),
            None if self.target.find_time(Key::User(exported)).await?.is_some() => Ok(exported.to_owned()),
            None => Err(ImportError::NoUser { row: row() }),
        }
    }

    /// The secret as that of the user `user_key`; sealed anew when that is another row than it was sealed for.
    fn rekeyed(&self, secret: db::Secret, user_key: String) -> Result<db::Secret, ImportError> {
        if secret.user_key == user_key {
            return Ok(secret);
        }
        let name = row_name(&identity(&secret));
        let plaintext = self
            .vault
            .open(&identity(&secret), &sealed(secret.ciphertext.clone()))
            .map_err(|error| Unopenable { rows: vec![(name, error)], of: 1 })?;
        let moved = db::Secret { user_key, ..secret };
        let ciphertext = ciphertext(self.vault.seal(&identity(&moved), &plaintext)?);
        Ok(db::Secret { ciphertext, ..moved })
    }
}

fn identity(secret: &db::Secret) -> Identity<'_> {
    let db::Secret { user_key, provider_id, env_key, .. } = secret;
    Identity::UserSecret { user_key, provider_id, env_key }
}

fn sealed(columns: Ciphertext) -> Sealed {
    let Ciphertext { value, iv, tag, alg, key_version } = columns;
    Sealed { encrypted_value: value, iv, tag, alg, key_version }
}

fn ciphertext(sealed: Sealed) -> Ciphertext {
    let Sealed { encrypted_value, iv, tag, alg, key_version } = sealed;
    Ciphertext { value: encrypted_value, iv, tag, alg, key_version }
}

/// A row's table and key for a message.
fn row_name(identity: &Identity) -> String {
    let name = match identity {
        Identity::UserSecret { user_key, provider_id, env_key } => {
            format!("user_secrets ({user_key}, {provider_id}, {env_key})")
        }
        Identity::OauthToken { github_user_id } => format!("user_oauth_tokens ({github_user_id})"),
        Identity::AttemptToken { task_id, attempt } => format!("attempt_tokens ({task_id}, {attempt})"),
        Identity::InstanceSecret { name } => format!("instance_secrets ({name})"),
    };
    name.escape_debug().to_string()
}

impl fmt::Display for Unopenable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, of } = self;
        write!(f, "{} of {of} secrets of the export do not open", rows.len())?;
        if rows.iter().any(|(_, error)| *error == OpenError::WrongKey) {
            f.write_str(if rows.len() == *of {
                "; is PORTER_SECRET_ENCRYPTION_KEY the earlier Porter's (there: PORTER_OAUTH_TOKEN_SECRET)?"
            } else {
                "; were they made under an older root secret (PORTER_SECRET_ENCRYPTION_KEY_PREVIOUS), or altered?"
            })?;
        }
        for (row, error) in rows {
            write!(f, "\n  {row}: {error}")?;
        }
        Ok(())
    }
}
