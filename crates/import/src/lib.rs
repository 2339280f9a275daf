//! `porter import-d1`: imports the accounts of the earlier Porter from an SQL export of its database
//! (main-spec §9). The import is one transaction, and a second import of the same file changes nothing.
//!
//! The export is not executed on Porter's database: `scratch` loads it into a database in memory and reads
//! its rows. A row is written if Porter has no such row or an older one. Ciphertexts are copied unchanged,
//! after a check that every one of them can be decrypted. Fly tokens are moved from the settings to the
//! secrets (`fly_token`).
//!
//! Called by `app`, for the command and at each start ([`adopt_fly_tokens`]).

mod error;
mod fly_token;
mod report;
mod scratch;
mod statements;
mod tables;

use std::collections::HashMap;

use chrono::{DateTime, NaiveDateTime, Utc};

pub use self::error::{ExportError, ImportError, Unopenable};
pub use self::fly_token::adopt_fly_tokens;
use self::fly_token::{store_fly_token, take_fly_token};
pub use self::report::{Counts, Report};
use self::scratch::{Export, LIMITS};
use self::tables::{Key, OauthToken, Secret, Settings, Target, User};
use crypto::vault::{Identity, Vault};
use sqlx::SqliteConnection;

/// Imports the export `sql` in one transaction. After an error nothing is written. Loading the export blocks
/// the calling thread for up to a minute.
pub async fn import(
    connection: &mut SqliteConnection,
    vault: &Vault,
    sql: &str,
) -> Result<Report, ImportError> {
    let export = Export::load(sql.trim_start_matches('\u{feff}'), &LIMITS)?;
    check_secrets(&export, vault)?;

    let mut merge = Merge {
        target: Target::begin(connection).await?,
        vault,
        keys: HashMap::new(),
        report: Report { other_tables: export.other_tables, ..Report::default() },
    };
    merge.users(export.users).await?;
    merge.settings(export.settings).await?;
    merge.secrets(export.secrets).await?;
    merge.oauth_tokens(export.oauth_tokens).await?;
    merge.target.commit().await?;

    let mut report = merge.report;
    if !export.has_end {
        let note = "the export lacks the index on user_oauth_tokens that it should end with; \
            compare the numbers with the earlier database, in case it was cut short";
        report.notes.push(note.to_owned());
    }
    Ok(report)
}

/// Checks that every secret of the export can be decrypted, before anything is written.
fn check_secrets(export: &Export, vault: &Vault) -> Result<(), Unopenable> {
    let secrets = export.secrets.iter().map(|secret| (identity(secret), &secret.sealed));
    let tokens = export
        .oauth_tokens
        .iter()
        .map(|token| (Identity::OauthToken { github_user_id: token.github_user_id.into() }, &token.sealed));
    let failed = secrets.chain(tokens).filter_map(|(identity, sealed)| {
        let error = vault.open(&identity, sealed).err()?;
        Some((row_name(&identity), error))
    });
    let rows: Vec<_> = failed.collect();
    let of = export.secrets.len() + export.oauth_tokens.len();
    if rows.is_empty() { Ok(()) } else { Err(Unopenable { rows, of }) }
}

/// What the import does with a row of the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Insert,
    Update,
    Same,
    NewerStored,
}

impl Verdict {
    /// Compares `updated_at` of the stored row and of the row in the export.
    fn of(existing: Option<&str>, incoming: &str) -> Self {
        match existing.map(|existing| instant(incoming).cmp(&instant(existing))) {
            None => Self::Insert,
            Some(std::cmp::Ordering::Greater) => Self::Update,
            Some(std::cmp::Ordering::Equal) => Self::Same,
            Some(std::cmp::Ordering::Less) => Self::NewerStored,
        }
    }

    fn writes(self) -> bool {
        matches!(self, Self::Insert | Self::Update)
    }
}

/// Parses a time as JavaScript or SQLite writes it. `None`, for any other text, is less than every time.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let sqlite = || NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").map(|time| time.and_utc());
    DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).or_else(|_| sqlite()).ok()
}

/// The transaction that merges the rows, table by table.
struct Merge<'a> {
    target: Target<'a>,
    vault: &'a Vault,
    /// Porter's key of each user, by the key in the export. They differ if the person already signed in to
    /// this Porter under another root secret.
    keys: HashMap<String, String>,
    report: Report,
}

impl Merge<'_> {
    async fn users(&mut self, mut rows: Vec<User>) -> Result<(), ImportError> {
        rows.sort_by(|one, other| one.user_key.cmp(&other.user_key));
        for mut user in rows {
            if let Some(id) = user.github_user_id
                && let Some(key) = self.target.find_user_key(id, &user.user_key).await?
                && key != user.user_key
            {
                let note = format!("GitHub user {id} already exists under another key; the two were merged");
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

    async fn settings(&mut self, rows: Vec<Settings>) -> Result<(), ImportError> {
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
            let settings = Settings { user_key, config_json, ..settings };
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

    async fn secrets(&mut self, rows: Vec<Secret>) -> Result<(), ImportError> {
        for secret in rows {
            let user_key = self.user_key(&secret.user_key, || row_name(&identity(&secret))).await?;
            let Secret { provider_id, env_key, .. } = &secret;
            let key = Key::Secret { user_key: &user_key, provider_id, env_key };
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

    async fn oauth_tokens(&mut self, rows: Vec<OauthToken>) -> Result<(), ImportError> {
        for token in rows {
            let id = token.github_user_id;
            match self.target.find_login_owner(&token.github_login_norm).await? {
                // An account was renamed and another one has its old login. Only GitHub knows the current
                // owner.
                Some(owner) if owner != id => {
                    let login = token.github_login_norm.escape_debug();
                    let note = format!(
                        "GitHub user {id} must sign in again: the login {login} belongs to user {owner} here"
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

    /// Porter's key of the user with the key `exported` in the export.
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

    /// The secret with the user's key `user_key`. It is encrypted again if the key changes, because the key
    /// is part of the authenticated data.
    fn rekeyed(&self, secret: Secret, user_key: String) -> Result<Secret, ImportError> {
        if secret.user_key == user_key {
            return Ok(secret);
        }
        let name = row_name(&identity(&secret));
        let plaintext = self
            .vault
            .open(&identity(&secret), &secret.sealed)
            .map_err(|error| Unopenable { rows: vec![(name, error)], of: 1 })?;
        let moved = Secret { user_key, ..secret };
        let sealed = self.vault.seal(&identity(&moved), &plaintext)?;
        Ok(Secret { sealed, ..moved })
    }
}

fn identity(secret: &Secret) -> Identity<'_> {
    let Secret { user_key, provider_id, env_key, .. } = secret;
    Identity::UserSecret { user_key, provider_id, env_key }
}

/// The table and the primary key of a row, for messages.
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
