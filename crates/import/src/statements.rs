//! Divides an SQL export into statements and decides by the first words of each what to do with it. Nothing
//! is executed here. Called by `scratch`.

/// One statement of an export.
pub struct Statement<'a> {
    /// The line on which it begins, from 1.
    pub line: usize,
    /// Its text, with the semicolon; `None` if the export ends before it.
    pub text: Option<&'a str>,
}

/// Divides an export at its semicolons, so that an error has a line and SQLite compiles one statement at a
/// time.
pub struct Statements<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Statements<'a> {
    pub fn of(sql: &'a str) -> Self {
        Self { rest: sql, line: 1 }
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }
}

impl<'a> Iterator for Statements<'a> {
    type Item = Statement<'a>;

    fn next(&mut self) -> Option<Statement<'a>> {
        self.take(gap_length(self.rest));
        let line = self.line;
        if self.rest.is_empty() {
            return None;
        }
        let end = statement_length(self.rest);
        let taken = self.take(end.unwrap_or(self.rest.len()));
        Some(Statement { line, text: end.map(|_| taken) })
    }
}

/// The length of the blanks, comments and empty statements at the beginning of `sql`. An unfinished comment
/// is none of these.
fn gap_length(sql: &str) -> usize {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ';');
        rest = if rest.starts_with("--") {
            rest.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some((_, after)) = rest.strip_prefix("/*").and_then(|comment| comment.split_once("*/"))
        {
            after
        } else {
            return sql.len() - rest.len();
        }
    }
}

/// The length of the first statement with its semicolon; `None` if it has no end. A doubled quote in a text
/// ends one quoted part and begins the next.
fn statement_length(sql: &str) -> Option<usize> {
    let mut position = 0;
    loop {
        position += sql[position..].find([';', '\'', '"', '`', '[', '-', '/'])?;
        let rest = &sql[position..];
        position += match rest.as_bytes()[0] {
            b';' => return Some(position + 1),
            b'\'' => rest[1..].find('\'')? + 2,
            b'"' => rest[1..].find('"')? + 2,
            b'`' => rest[1..].find('`')? + 2,
            b'[' => rest.find(']')? + 1,
            b'-' if rest.starts_with("--") => rest.find('\n')?,
            b'/' if rest.starts_with("/*") => rest[2..].find("*/")? + 4,
            _ => 1,
        };
    }
}

/// What to do with a statement.
pub enum Action {
    /// Execute it; its name for messages.
    Execute(String),
    /// It has no effect on the rows of the four tables.
    Skip,
    /// It concerns one of SQLite's own tables.
    SkipTable(String),
    Begin,
    Commit,
    /// Without effect here; `wrangler` writes it after all rows.
    LastIndex,
    /// No export contains it; its name for messages.
    Refuse(String),
}

impl Action {
    pub fn of(text: &str) -> Self {
        let upper: Vec<String> = words(text).take(6).map(str::to_ascii_uppercase).collect();
        let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
        match upper[..] {
            _ if !text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                Self::Refuse(format!("{:?}", text.chars().next().unwrap_or_default()))
            }
            // SQLite ignores the text after a NUL character.
            _ if text.contains('\0') => Self::Refuse("a NUL character".to_owned()),
            ["BEGIN", ..] => Self::Begin,
            ["COMMIT" | "END", ..] => Self::Commit,
            ["ANALYZE", ..] | ["PRAGMA", "DEFER_FOREIGN_KEYS" | "FOREIGN_KEYS", ..] => Self::Skip,
            ["DELETE", "FROM", "SQLITE_SEQUENCE"] => Self::Skip,
            ["CREATE", "UNIQUE", "INDEX", ..] if words(text).any(|word| word == "user_oauth_tokens") => {
                Self::LastIndex
            }
            ["CREATE", "INDEX", ..] | ["CREATE", "UNIQUE", "INDEX", ..] => Self::Skip,
            ["CREATE", "TABLE", "IF", "NOT", "EXISTS", table] | ["CREATE", "TABLE", table, ..] => {
                Self::on_table("CREATE TABLE", table)
            }
            ["INSERT", "OR", _, "INTO", table, ..] | ["INSERT", "INTO", table, ..] => {
                Self::on_table("INSERT INTO", table)
            }
            [first @ ("CREATE" | "PRAGMA"), second, ..] => Self::Refuse(format!("{first} {second}")),
            [first, ..] if first.len() <= 20 => Self::Refuse(first.to_owned()),
            _ => Self::Refuse("a name".to_owned()),
        }
    }

    fn on_table(verb: &str, table: &str) -> Self {
        let table = table.to_ascii_lowercase();
        if table.starts_with("sqlite_") {
            Self::SkipTable(table)
        } else {
            Self::Execute(format!("{verb} {table}"))
        }
    }
}

/// The keywords, names and numbers of `text`, without quotes and punctuation.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}
