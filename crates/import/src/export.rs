//! Reads an SQL export without trusting it: lets through only the statements that an export of the four
//! tables consists of, with literal values. Everything else is either of no interest (other tables, indexes,
//! the transaction around it) or refused by name and line. Nothing is executed here.
//!
//! Both `wrangler d1 export` and `sqlite3 .dump` are understood.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::tokens::{Token, Unfinished, split};

/// The tables of the earlier Porter, referenced before referencing.
pub const TABLES: [&str; 4] = ["users", "user_settings", "user_secrets", "user_oauth_tokens"];

/// What may be executed of an export, and what is left out.
#[derive(Debug, PartialEq, Eq)]
pub struct Export<'a> {
    /// `CREATE TABLE` and `INSERT INTO` of the four tables, in order.
    pub statements: Vec<Statement<'a>>,
    /// Tables of others in the export.
    pub other_tables: BTreeSet<String>,
    /// Whether the end of the export is seen for sure: its `COMMIT`, or the index of `user_oauth_tokens`, which
    /// `wrangler` writes after all rows.
    pub has_end: bool,
}

/// One statement.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The line it begins on, from 1.
    pub line: usize,
    /// What it does, without its values, such as `INSERT INTO users`.
    pub name: String,
    /// The whole of it.
    pub text: &'a str,
}

/// Why a file is no export that can be imported.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The file ends within a statement.
    #[error("the export ends within the statement that begins on line {line}; was it cut short?")]
    CutShort {
        /// Where the unfinished statement begins.
        line: usize,
    },
    /// `BEGIN` without `COMMIT`.
    #[error("the export begins a transaction and never commits it; was it cut short?")]
    NoCommit,
    /// No definition of one of the four tables.
    #[error("the export has no table `{0}`; is it complete, and of the earlier Porter?")]
    NoTable(&'static str),
    /// A statement that no export contains.
    #[error("line {line} of the export: {what} is not allowed there")]
    NotAllowed {
        /// Where it begins.
        line: usize,
        /// Its name, or the offending part.
        what: String,
    },
}

/// What a statement is.
enum Kind {
    Table(&'static str),
    Rows(&'static str),
    Index { of_tokens: bool },
    OtherTable(String),
    Begin,
    Commit,
    NoEffect,
}

/// Checks the text of an export, statement by statement.
///
/// # Errors
/// The first thing that makes it unfit.
pub fn read(sql: &str) -> Result<Export<'_>, ExportError> {
    let mut export = Export { statements: vec![], other_tables: BTreeSet::new(), has_end: false };
    let mut missing: BTreeSet<_> = TABLES.into();
    let mut uncommitted = false;
    let statements = split(sql).map_err(|Unfinished { line }| ExportError::CutShort { line })?;
    for statement in &statements {
        let line = statement.line;
        match classify(&statement.tokens).map_err(|what| ExportError::NotAllowed { line, what })? {
            Kind::Table(table) => {
                missing.remove(table);
                let name = format!("CREATE TABLE {table}");
                export.statements.push(Statement { line, name, text: statement.text });
            }
            Kind::Rows(table) => {
                let name = format!("INSERT INTO {table}");
                export.statements.push(Statement { line, name, text: statement.text });
            }
            Kind::OtherTable(name) => _ = export.other_tables.insert(name),
            Kind::Begin => uncommitted = true,
            Kind::Commit => (uncommitted, export.has_end) = (false, true),
            Kind::Index { of_tokens } => export.has_end |= of_tokens,
            Kind::NoEffect => {}
        }
    }
    if uncommitted {
        return Err(ExportError::NoCommit);
    }
    match TABLES.into_iter().find(|table| missing.contains(table)) {
        Some(table) => Err(ExportError::NoTable(table)),
        None => Ok(export),
    }
}

/// What the statement is, or the name of what is not allowed.
fn classify(tokens: &[Token]) -> Result<Kind, String> {
    let mut rest = Rest(tokens);
    match rest.keyword().as_str() {
        "BEGIN" => Ok(Kind::Begin),
        "COMMIT" | "END" => Ok(Kind::Commit),
        // Planner statistics, and how foreign keys are held while the file loads: neither is of use here.
        "ANALYZE" => Ok(Kind::NoEffect),
        "PRAGMA" => match rest.keyword().as_str() {
            "DEFER_FOREIGN_KEYS" | "FOREIGN_KEYS" => Ok(Kind::NoEffect),
            other => Err(format!("PRAGMA {other}")),
        },
        "DELETE" => match (rest.skip("FROM"), rest.name().as_deref()) {
            (true, Some("sqlite_sequence")) => Ok(Kind::NoEffect),
            _ => Err("DELETE".to_owned()),
        },
        "CREATE" => classify_definition(rest),
        "INSERT" => classify_rows(rest),
        other => Err(other.to_owned()),
    }
}

fn classify_definition(mut rest: Rest) -> Result<Kind, String> {
    match rest.keyword().as_str() {
        "TABLE" => {
            if rest.skip("IF") {
                rest.keyword();
                rest.keyword();
            }
            match rest.table()? {
                Ok(table) if rest.has_word("SELECT") => Err(format!("SELECT in CREATE TABLE {table}")),
                Ok(table) => Ok(Kind::Table(table)),
                Err(other) => Ok(Kind::OtherTable(other)),
            }
        }
        "INDEX" => Ok(Kind::Index { of_tokens: false }),
        "UNIQUE" if rest.skip("INDEX") => Ok(Kind::Index { of_tokens: rest.has_word("user_oauth_tokens") }),
        other => Err(format!("CREATE {other}")),
    }
}

fn classify_rows(mut rest: Rest) -> Result<Kind, String> {
    if rest.skip("OR") {
        rest.keyword();
    }
    if !rest.skip("INTO") {
        return Err("INSERT without INTO".to_owned());
    }
    let table = match rest.table()? {
        Ok(table) => table,
        Err(other) => return Ok(Kind::OtherTable(other)),
    };
    let values = rest.0.iter().position(|token| matches!(token, Token::Word(word) if is(word, "VALUES")));
    let (columns, values) = match values {
        Some(at) => rest.0.split_at(at),
        None => return Err(format!("INSERT INTO {table} without VALUES")),
    };
    let allowed_column =
        |token: &&Token| matches!(token, Token::Word(_) | Token::Name(_) | Token::Symbol('(' | ')' | ','));
    // What `.dump` writes for text with line breaks, besides literals: replace('a\nb','\n',char(10)), unistr(…).
    let allowed_value = |token: &&Token| match token {
        Token::Literal => true,
        Token::Symbol(symbol) => matches!(symbol, '(' | ')' | ',' | '-' | '+' | '.'),
        Token::Word(word) => ["VALUES", "NULL", "TRUE", "FALSE", "replace", "char", "unistr"]
            .iter()
            .any(|known| is(word, known)),
        Token::Name(_) => false,
    };
    let offending = columns
        .iter()
        .find(|token| !allowed_column(token))
        .or_else(|| values.iter().find(|token| !allowed_value(token)));
    match offending {
        Some(token) => Err(format!("{} in INSERT INTO {table}", shown(Some(token)))),
        None => Ok(Kind::Rows(table)),
    }
}

/// The tokens not looked at yet.
struct Rest<'a>(&'a [Token<'a>]);

impl<'a> Rest<'a> {
    fn next(&mut self) -> Option<&'a Token<'a>> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// Takes the next token; in upper case when it is a word, else a description.
    fn keyword(&mut self) -> String {
        shown(self.next())
    }

    /// Takes the next token if it is this word.
    fn skip(&mut self, keyword: &str) -> bool {
        let found = matches!(self.0.first(), Some(Token::Word(word)) if is(word, keyword));
        if found {
            self.next();
        }
        found
    }

    fn name(&mut self) -> Option<Cow<'a, str>> {
        match self.next()? {
            Token::Word(word) => Some(Cow::Borrowed(word)),
            Token::Name(name) => Some(name.clone()),
            _ => None,
        }
    }

    /// Takes a table's name: one of [`TABLES`], or another.
    fn table(&mut self) -> Result<Result<&'static str, String>, String> {
        let name = self.name().ok_or("a table without a name")?;
        if matches!(self.0.first(), Some(Token::Symbol('.'))) {
            return Err("a table of another database".to_owned());
        }
        Ok(TABLES.into_iter().find(|table| is(table, &name)).ok_or_else(|| name.into_owned()))
    }

    fn has_word(&self, wanted: &str) -> bool {
        self.0.iter().any(|token| match token {
            Token::Word(word) => is(word, wanted),
            Token::Name(name) => is(name, wanted),
            _ => false,
        })
    }
}

fn is(word: &str, keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword)
}

/// The token for a message, which must show no value of a row: a keyword-like word, else what sort it is.
fn shown(token: Option<&Token>) -> String {
    match token {
        Some(Token::Word(word)) if word.len() <= 20 => word.to_ascii_uppercase(),
        Some(Token::Symbol(symbol)) => format!("{symbol:?}"),
        Some(Token::Word(_) | Token::Name(_)) => "a name".to_owned(),
        Some(Token::Literal) => "a value".to_owned(),
        None => "nothing more".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES_SQL: &str = "CREATE TABLE users (a);CREATE TABLE IF NOT EXISTS \"user_settings\" (a);
CREATE TABLE `user_secrets` (a);CREATE TABLE [USER_OAUTH_TOKENS] (a);\n";

    fn read_with(sql: &str) -> Result<(Vec<String>, BTreeSet<String>), ExportError> {
        let text = format!("{TABLES_SQL}{sql}");
        let export = read(&text)?;
        let names = export.statements.into_iter().skip(4).map(|statement| statement.name).collect();
        Ok((names, export.other_tables))
    }

    #[test]
    fn rows_of_the_four_tables_are_let_through_in_every_form_a_dump_writes() {
        for sql in [
            "INSERT INTO users VALUES('a',1,NULL,-2.5e+3,X'00');",
            "INSERT INTO \"users\" (\"a\",b) VALUES (1,'x'),(2,'y');",
            "insert or ignore into users values(replace('a\\nb','\\n',char(10)));",
            "INSERT INTO users VALUES(unistr('\\u000a'));",
        ] {
            assert_eq!(read_with(sql), Ok((vec!["INSERT INTO users".to_owned()], BTreeSet::new())), "{sql}");
        }
    }

    #[test]
    fn other_tables_are_named_and_left_alone() {
        let sql = "CREATE TABLE d1_migrations(id INTEGER, at DEFAULT CURRENT_TIMESTAMP);
            INSERT INTO d1_migrations VALUES(1, datetime('now'));
            CREATE TABLE _cf_KV (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
            DELETE FROM sqlite_sequence; INSERT INTO sqlite_sequence VALUES('d1_migrations',1);";
        let others = ["d1_migrations", "_cf_KV", "sqlite_sequence"].map(str::to_owned).into();
        assert_eq!(read_with(sql), Ok((vec![], others)));
    }

    #[test]
    fn what_surrounds_the_rows_is_passed_over() {
        let sql = "PRAGMA defer_foreign_keys=TRUE; PRAGMA foreign_keys=OFF; BEGIN TRANSACTION; ANALYZE x;
            CREATE INDEX i ON users(a); CREATE UNIQUE INDEX j ON users(a); COMMIT;";
        assert_eq!(read_with(sql), Ok((vec![], BTreeSet::new())));
    }

    #[test]
    fn statements_that_no_export_contains_are_refused_by_name_and_line() {
        for (sql, what) in [
            ("ATTACH 'porter.db' AS p", "ATTACH"),
            ("attach database 'x' as y", "ATTACH"),
            ("DETACH p", "DETACH"),
            ("PRAGMA writable_schema=ON", "PRAGMA WRITABLE_SCHEMA"),
            ("DROP TABLE users", "DROP"),
            ("DELETE FROM users", "DELETE"),
            ("UPDATE users SET a=1", "UPDATE"),
            ("REPLACE INTO users VALUES(1)", "REPLACE"),
            ("SELECT load_extension('x')", "SELECT"),
            ("WITH x AS (SELECT 1) INSERT INTO users SELECT * FROM x", "WITH"),
            ("VACUUM INTO 'x'", "VACUUM"),
            ("ROLLBACK", "ROLLBACK"),
            ("CREATE TRIGGER t AFTER INSERT ON users BEGIN SELECT 1", "CREATE TRIGGER"),
            ("CREATE VIEW v AS SELECT 1", "CREATE VIEW"),
            ("CREATE VIRTUAL TABLE v USING fts5(a)", "CREATE VIRTUAL"),
            ("CREATE TEMP TABLE users (a)", "CREATE TEMP"),
            ("CREATE TABLE users AS SELECT 1", "SELECT in CREATE TABLE users"),
            ("CREATE TABLE other.users (a)", "a table of another database"),
            ("INSERT INTO users SELECT 1", "INSERT INTO users without VALUES"),
            ("INSERT INTO users VALUES((SELECT 1))", "SELECT in INSERT INTO users"),
            ("INSERT INTO users VALUES(randomblob(9))", "RANDOMBLOB in INSERT INTO users"),
            ("INSERT INTO users VALUES(1) RETURNING a", "RETURNING in INSERT INTO users"),
            ("INSERT INTO users VALUES(\"a\")", "a name in INSERT INTO users"),
            (".read x", "'.'"),
        ] {
            let what = what.to_owned();
            assert_eq!(
                read_with(&format!("{sql};")),
                Err(ExportError::NotAllowed { line: 3, what }),
                "{sql}"
            );
        }
    }

    #[test]
    fn an_export_that_was_cut_short_is_refused() {
        assert_eq!(read_with("INSERT INTO users VALUES('a"), Err(ExportError::CutShort { line: 3 }));
        assert_eq!(read_with("BEGIN; INSERT INTO users VALUES(1);"), Err(ExportError::NoCommit));
        assert_eq!(read(""), Err(ExportError::NoTable("users")));
        let three = TABLES_SQL.replace("[USER_OAUTH_TOKENS]", "other");
        assert_eq!(read(&three), Err(ExportError::NoTable("user_oauth_tokens")));
    }

    #[test]
    fn the_end_is_seen_by_the_commit_or_by_the_last_index() {
        let has_end = |sql: &str| read(&format!("{TABLES_SQL}{sql}")).unwrap().has_end;
        assert!(!has_end(""));
        assert!(!has_end("CREATE INDEX i ON users(a);"));
        assert!(has_end("CREATE UNIQUE INDEX i ON user_oauth_tokens(github_login_norm);"));
        assert!(has_end("BEGIN; COMMIT;"));
    }
}
