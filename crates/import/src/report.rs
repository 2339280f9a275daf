//! The report of an import, printed by `porter import-d1`.

use std::collections::BTreeSet;
use std::fmt;

use super::{Verdict, tables::TABLES};

/// The result of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `users`.
    pub users: Counts,
    /// `user_settings`.
    pub settings: Counts,
    /// `user_secrets`, without the Fly tokens that were moved there.
    pub secrets: Counts,
    /// `user_oauth_tokens`.
    pub oauth_tokens: Counts,
    /// Number of Fly tokens moved from the settings to the secrets.
    pub fly_tokens_moved: usize,
    /// Number of Fly tokens removed from the settings of users who have a newer one stored.
    pub fly_tokens_superseded: usize,
    /// Tables of the export that are not imported.
    pub other_tables: BTreeSet<String>,
    /// Notes for the operator, one sentence each.
    pub notes: Vec<String>,
}

/// Numbers of rows of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows in the export.
    pub read: usize,
    /// Rows that did not exist.
    pub inserted: usize,
    /// Rows that replaced an older one.
    pub updated: usize,
    /// Rows with the same `updated_at` as the stored one.
    pub unchanged: usize,
    /// Rows older than the stored one.
    pub newer_here: usize,
    /// Rows not written for a reason that a note explains.
    pub left_out: usize,
}

impl Report {
    /// Whether the import changed anything.
    pub fn changed(&self) -> bool {
        let tables = [self.users, self.settings, self.secrets, self.oauth_tokens];
        tables.iter().any(|counts| counts.inserted + counts.updated > 0)
    }
}

impl Counts {
    pub(super) fn add(&mut self, verdict: Verdict) {
        self.read += 1;
        match verdict {
            Verdict::Insert => self.inserted += 1,
            Verdict::Update => self.updated += 1,
            Verdict::Same => self.unchanged += 1,
            Verdict::NewerStored => self.newer_here += 1,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [self.users, self.settings, self.secrets, self.oauth_tokens];
        for (table, counts) in TABLES.iter().zip(counts) {
            let Counts { read, inserted, updated, unchanged, newer_here, left_out } = counts;
            write!(f, "{table}: {read} read, {inserted} inserted, {updated} updated, {unchanged} unchanged")?;
            for (number, what) in [(newer_here, "newer here and kept"), (left_out, "left out")] {
                if number > 0 {
                    write!(f, ", {number} {what}")?;
                }
            }
            writeln!(f)?;
        }
        writeln!(f, "Fly tokens moved from user_settings to user_secrets: {}", self.fly_tokens_moved)?;
        if self.fly_tokens_superseded > 0 {
            let number = self.fly_tokens_superseded;
            writeln!(f, "Fly tokens not moved, because a newer one is here: {number}")?;
        }
        if !self.other_tables.is_empty() {
            let names: Vec<_> =
                self.other_tables.iter().map(|name| name.escape_debug().to_string()).collect();
            writeln!(f, "tables that are not Porter's, left out: {}", names.join(", "))?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        f.write_str(if self.changed() { "The import is complete." } else { "Nothing had to be changed." })
    }
}
