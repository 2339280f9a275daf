//! What an import did, for the person who ran it.

use std::collections::BTreeSet;
use std::fmt;

use super::{Verdict, tables::TABLES};

/// What an import did.
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
    /// Fly tokens that moved from the settings to the secrets.
    pub fly_tokens_moved: usize,
    /// Fly tokens taken out of settings whose owner has a newer one here.
    pub fly_tokens_superseded: usize,
    /// Tables of the export that are not the earlier Porter's.
    pub other_tables: BTreeSet<String>,
    /// What the person should look at, a sentence each.
    pub notes: Vec<String>,
}

/// What became of the rows of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In the export.
    pub read: usize,
    /// New here.
    pub inserted: usize,
    /// Older here, and replaced.
    pub updated: usize,
    /// As old here, and left alone.
    pub unchanged: usize,
    /// Newer here, and left alone.
    pub newer_here: usize,
    /// Not written for another reason, which a note gives.
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
            Verdict::NewerHere => self.newer_here += 1,
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
