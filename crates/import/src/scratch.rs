//! Loads an SQL export into a SQLite database in memory and reads the four tables of the earlier Porter from
//! it.
//!
//! The export is untrusted. Three limits apply to it: only the kinds of statements that `wrangler d1 export`
//! and `sqlite3 .dump` write are executed ([`Action::of`]); SQLite's authorizer refuses every action except
//! creating tables and inserting values (`authorize`); and [`Limits`] bounds its size, memory and time. This
//! module never opens the real database. Called by `import`.
//!
//! sqlx has no authorizer, therefore this module uses rusqlite, on the same SQLite library.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::FromSql;
use rusqlite::{Connection, Error, ErrorCode, Row};

use crate::error::ExportError;
use crate::statements::{Action, Statement, Statements};
use crate::tables::{OauthToken, Secret, Settings, TABLES, User};
use crypto::vault::{ALG, Sealed};

/// The content of an export.
#[derive(Debug)]
pub struct Export {
    /// The rows of `users`.
    pub users: Vec<User>,
    /// The rows of `user_settings`.
    pub settings: Vec<Settings>,
    /// The rows of `user_secrets`.
    pub secrets: Vec<Secret>,
    /// The rows of `user_oauth_tokens`.
    pub oauth_tokens: Vec<OauthToken>,
    /// The names of all other tables.
    pub other_tables: BTreeSet<String>,
    /// Whether the export contains the last statement that its tool writes: `COMMIT` for `sqlite3`, the
    /// unique index of `user_oauth_tokens` for `wrangler`.
    pub has_end: bool,
}

/// Limits on an export.
pub struct Limits {
    /// Size of the export and of the database in memory, in MiB.
    pub mebibytes: u16,
    /// Time to load the export.
    pub time: Duration,
}

/// A row of accounts takes a few KiB, so this is more than 10,000 accounts.
pub const LIMITS: Limits = Limits { mebibytes: 128, time: Duration::from_secs(60) };

/// SQLite's default page size.
const PAGES_PER_MEBIBYTE: i64 = 256;
/// The functions that `sqlite3 .dump` writes for text with line breaks, and those that set a default time.
const VALUE_FUNCTIONS: [&str; 4] = ["replace", "char", "unistr", "datetime"];
/// The `updated_at` of rows without one: older than any real row.
const UNKNOWN_TIME: &str = "1970-01-01T00:00:00.000Z";

impl Limits {
    fn size_exceeded(&self) -> ExportError {
        ExportError::LimitExceeded(format!("{} MiB", self.mebibytes))
    }

    fn time_exceeded(&self) -> ExportError {
        ExportError::LimitExceeded(format!("{:?}", self.time))
    }
}

impl Export {
    /// Loads `sql` and reads its rows.
    pub fn load(sql: &str, limits: &Limits) -> Result<Self, ExportError> {
        let Loaded { scratch, other_tables, has_end } = load(sql, limits)?;
        Ok(Self {
            users: rows(&scratch, "users", user)?,
            settings: rows(&scratch, "user_settings", settings)?,
            secrets: rows(&scratch, "user_secrets", secret)?,
            oauth_tokens: rows(&scratch, "user_oauth_tokens", oauth_token)?,
            other_tables,
            has_end,
        })
    }
}

/// An export in a database in memory.
struct Loaded {
    scratch: Connection,
    other_tables: BTreeSet<String>,
    has_end: bool,
}

fn load(sql: &str, limits: &Limits) -> Result<Loaded, ExportError> {
    let (started, time) = (Instant::now(), limits.time);
    if sql.len() >> 20 >= limits.mebibytes.into() {
        return Err(limits.size_exceeded());
    }
    let scratch = open(limits)?;
    scratch.progress_handler(1000, Some(move || started.elapsed() > time))?;
    let (mut has_end, mut uncommitted) = (false, false);
    let mut other_tables = BTreeSet::new();
    for Statement { line, text } in Statements::of(sql) {
        let text = text.ok_or(ExportError::CutShort { line })?;
        match Action::of(text) {
            Action::Execute(name) => execute(&scratch, text, line, name, limits)?,
            Action::Skip => {}
            Action::SkipTable(name) => _ = other_tables.insert(name),
            Action::Begin => uncommitted = true,
            Action::Commit => (uncommitted, has_end) = (false, true),
            Action::LastIndex => has_end = true,
            Action::Refuse(what) => return Err(ExportError::NotAllowed { line, what }),
        }
        if started.elapsed() > time {
            return Err(limits.time_exceeded());
        }
    }
    if uncommitted {
        return Err(ExportError::NoCommit);
    }
    scratch.authorizer(None::<fn(AuthContext) -> Authorization>)?;
    other_tables.append(&mut created_tables(&scratch)?);
    for table in TABLES {
        let found = other_tables.extract_if(.., |name| name.eq_ignore_ascii_case(table)).next();
        found.ok_or(ExportError::NoTable(table))?;
    }
    Ok(Loaded { scratch, other_tables, has_end })
}

fn open(limits: &Limits) -> Result<Connection, Error> {
    let scratch = Connection::open_in_memory()?;
    scratch.pragma_update(None, "max_page_count", i64::from(limits.mebibytes) * PAGES_PER_MEBIBYTE)?;
    scratch.pragma_update(None, "temp_store", "MEMORY")?;
    scratch.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    scratch.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::from(limits.mebibytes).saturating_mul(1 << 20))?;
    scratch.set_limit(Limit::SQLITE_LIMIT_EXPR_DEPTH, 100)?;
    for (setting, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        // Rows can precede the rows that they reference. The import checks for missing users.
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
        // "a" in a list of values is a name, not a text.
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
    ] {
        scratch.set_db_config(setting, value)?;
    }
    Ok(scratch)
}

/// Executes one statement under the authorizer.
fn execute(
    scratch: &Connection,
    text: &str,
    line: usize,
    name: String,
    limits: &Limits,
) -> Result<(), ExportError> {
    let (denials, denied) = mpsc::channel();
    let mut table = None;
    let creates = name.starts_with("CREATE");
    let authorizer = move |context: AuthContext| match authorize(&context, creates, &mut table) {
        Ok(()) => Authorization::Allow,
        Err(what) => {
            // Fails only after the receiver below is dropped, when no statement is compiled any more.
            _ = denials.send(what);
            Authorization::Deny
        }
    };
    scratch.authorizer(Some(authorizer))?;
    let Err(error) = scratch.execute(text, []) else { return Ok(()) };
    let not_allowed = |what: &str| ExportError::NotAllowed { line, what: format!("{what} in {name}") };
    if let Ok(what) = denied.try_recv() {
        return Err(not_allowed(&what));
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => return Err(limits.time_exceeded()),
        Some(ErrorCode::DiskFull | ErrorCode::TooBig) => return Err(limits.size_exceeded()),
        _ => {}
    }
    let message = error.to_string();
    Err(match error {
        Error::ExecuteReturnedResults => not_allowed("RETURNING"),
        Error::InvalidParameterCount(..) => not_allowed("a parameter"),
        _ if message.starts_with("no such column") => not_allowed("a name"),
        _ if message.starts_with("unknown database") => {
            ExportError::NotAllowed { line, what: "a table of another database".to_owned() }
        }
        _ => ExportError::Refused { line, name, message: without_quoted_text(message) },
    })
}

/// SQLite's messages on syntax quote the statement, which can contain a secret.
fn without_quoted_text(message: String) -> String {
    let quotes = message.contains("near \"") || message.contains("token:");
    if quotes { "a syntax error".to_owned() } else { message }
}

/// Allows what creating a table and inserting values consist of; otherwise names what is not allowed. `table`
/// is the table into which this statement inserts, once that is known.
fn authorize(context: &AuthContext, creates: bool, table: &mut Option<String>) -> Result<(), String> {
    if context.database_name.is_some_and(|database| database != "main") {
        return Err("another database".to_owned());
    }
    let is_ours = |table: &str| TABLES.iter().any(|ours| ours.eq_ignore_ascii_case(table));
    match context.action {
        AuthAction::CreateTable { .. } | AuthAction::CreateIndex { .. } if creates => Ok(()),
        // Creating a table writes SQLite's list of tables.
        AuthAction::Insert { .. } | AuthAction::Update { table_name: "sqlite_master", .. } if creates => {
            Ok(())
        }
        AuthAction::Insert { table_name } => {
            *table = Some(table_name.to_owned());
            Ok(())
        }
        AuthAction::Read { .. } => Ok(()),
        // Several rows of values are compiled as a SELECT before the table is known, an actual SELECT after.
        AuthAction::Select if !creates && table.is_none() => Ok(()),
        AuthAction::Function { function_name: "load_extension" } => Err("LOAD_EXTENSION".to_owned()),
        AuthAction::Function { function_name } if table.as_deref().is_some_and(is_ours) => {
            let allowed = VALUE_FUNCTIONS.iter().any(|known| known.eq_ignore_ascii_case(function_name));
            if allowed { Ok(()) } else { Err(function_name.to_ascii_uppercase()) }
        }
        AuthAction::Function { .. } => Ok(()),
        AuthAction::Select | AuthAction::Recursive => Err("SELECT".to_owned()),
        AuthAction::Update { .. } => Err("UPDATE".to_owned()),
        AuthAction::Delete { .. } => Err("DELETE".to_owned()),
        _ => Err("this action".to_owned()),
    }
}

fn created_tables(scratch: &Connection) -> Result<BTreeSet<String>, Error> {
    let mut select = scratch.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    select.query_map([], |row| row.get(0))?.collect()
}

fn rows<T>(
    scratch: &Connection,
    table: &'static str,
    decode: fn(&Row) -> Result<T, Error>,
) -> Result<Vec<T>, ExportError> {
    let mut select = scratch.prepare(&format!("SELECT * FROM {table}"))?;
    let decoded = select.query_map([], |row| Ok(decode(row)))?.enumerate().map(|(index, row)| {
        row?.map_err(|error| match error {
            Error::InvalidColumnName(column) => ExportError::NoColumn { table, column },
            Error::InvalidColumnType(_, column, _) => {
                ExportError::BadValue { table, row: index + 1, column: column.to_ascii_lowercase() }
            }
            error => error.into(),
        })
    });
    decoded.collect()
}

/// The value of a column that an old export can lack.
fn optional<T: FromSql>(row: &Row, column: &str, substitute: impl Into<T>) -> Result<T, Error> {
    match row.get(column) {
        Err(Error::InvalidColumnName(_)) => Ok(substitute.into()),
        value => value,
    }
}

fn user(row: &Row) -> Result<User, Error> {
    Ok(User {
        user_key: row.get("user_key")?,
        github_user_id: optional(row, "github_user_id", None)?,
        github_login: optional(row, "github_login", None)?,
        created_at: optional(row, "created_at", UNKNOWN_TIME)?,
        updated_at: optional(row, "updated_at", UNKNOWN_TIME)?,
    })
}

fn settings(row: &Row) -> Result<Settings, Error> {
    Ok(Settings {
        user_key: row.get("user_key")?,
        config_json: row.get("config_json")?,
        updated_at: optional(row, "updated_at", UNKNOWN_TIME)?,
    })
}

fn secret(row: &Row) -> Result<Secret, Error> {
    Ok(Secret {
        user_key: row.get("user_key")?,
        provider_id: row.get("provider_id")?,
        env_key: row.get("env_key")?,
        sealed: sealed(row, "encrypted_value")?,
        updated_at: optional(row, "updated_at", UNKNOWN_TIME)?,
    })
}

fn oauth_token(row: &Row) -> Result<OauthToken, Error> {
    let github_login: String = row.get("github_login")?;
    Ok(OauthToken {
        github_user_id: row.get("github_user_id")?,
        github_login_norm: optional(row, "github_login_norm", github_login.to_ascii_lowercase())?,
        github_login,
        sealed: sealed(row, "encrypted_token")?,
        updated_at: optional(row, "updated_at", UNKNOWN_TIME)?,
    })
}

fn sealed(row: &Row, value: &str) -> Result<Sealed, Error> {
    Ok(Sealed {
        encrypted_value: row.get(value)?,
        iv: row.get("iv")?,
        tag: row.get("tag")?,
        alg: optional(row, "alg", ALG)?,
        key_version: optional(row, "key_version", "v1")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES_SQL: &str =
        "CREATE TABLE users (a,b,c,d,e);CREATE TABLE IF NOT EXISTS \"user_settings\" (a);
CREATE TABLE `user_secrets` (a);CREATE TABLE [USER_OAUTH_TOKENS] (a);\n";

    fn load_all(sql: &str) -> Result<(i64, BTreeSet<String>), ExportError> {
        let loaded = load(&format!("{TABLES_SQL}{sql}"), &LIMITS)?;
        let rows = loaded.scratch.query_one("SELECT count(*) FROM users", [], |row| row.get(0)).unwrap();
        Ok((rows, loaded.other_tables))
    }

    #[track_caller]
    fn assert_refused(sql: &str, expected: &ExportError) {
        let seen = load_all(sql).expect_err(sql);
        assert_eq!(format!("{seen:?}"), format!("{expected:?}"), "{sql}");
    }

    #[test]
    fn rows_of_the_four_tables_are_loaded_in_every_form_that_a_dump_writes() {
        for (sql, rows) in [
            ("INSERT INTO users VALUES('a',1,NULL,-2.5e+3,X'00');", 1),
            ("INSERT INTO \"users\" (\"a\",b) VALUES (1,'x'),(2,'y');", 2),
            ("insert or ignore into users(a) values(replace('a\\nb','\\n',char(10)));", 1),
            ("INSERT INTO users(a) VALUES(unistr('\\u000a'));", 1),
            ("/* a; b */ INSERT INTO users(a) -- c;\n VALUES('d;''e\n;');;\n-- the end", 1),
        ] {
            assert_eq!(load_all(sql).unwrap(), (rows, BTreeSet::new()), "{sql}");
        }
    }

    #[test]
    fn other_tables_are_named() {
        let sql = "CREATE TABLE d1_migrations(id INTEGER, at DEFAULT CURRENT_TIMESTAMP);
            INSERT INTO d1_migrations VALUES(1, datetime('now'));
            CREATE TABLE _cf_KV (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
            DELETE FROM sqlite_sequence; INSERT INTO sqlite_sequence VALUES('d1_migrations',1);";
        let others = ["d1_migrations", "_cf_KV", "sqlite_sequence"].map(str::to_owned).into();
        assert_eq!(load_all(sql).unwrap(), (0, others));
    }

    #[test]
    fn statements_around_the_rows_have_no_effect() {
        let sql = "PRAGMA defer_foreign_keys=TRUE; PRAGMA foreign_keys=OFF; BEGIN TRANSACTION; ANALYZE x;
            CREATE INDEX i ON users(a); CREATE UNIQUE INDEX j ON users(a); COMMIT;";
        assert_eq!(load_all(sql).unwrap(), (0, BTreeSet::new()));
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
            ("INSERT INTO other(a) VALUES(1) ON CONFLICT DO UPDATE SET a = 1", "UPDATE in INSERT INTO other"),
            ("INSERT INTO users(a) VALUES(?1)", "a parameter in INSERT INTO users"),
            ("INSERT INTO users(a) VALUES(load_extension('x'))", "LOAD_EXTENSION in INSERT INTO users"),
            ("INSERT INTO other(a) VALUES(load_extension('x'))", "LOAD_EXTENSION in INSERT INTO other"),
            ("INSERT INTO users(a) VALUES('a\0b')", "a NUL character"),
            ("CREATE TABLE temp.users (a)", "another database in CREATE TABLE temp"),
            ("EXPLAIN SELECT 1", "EXPLAIN"),
            ("VACUUM INTO 'x'", "VACUUM"),
            ("ROLLBACK", "ROLLBACK"),
            ("CREATE TRIGGER t AFTER INSERT ON users BEGIN SELECT 1", "CREATE TRIGGER"),
            ("CREATE VIEW v AS SELECT 1", "CREATE VIEW"),
            ("CREATE VIRTUAL TABLE v USING fts5(a)", "CREATE VIRTUAL"),
            ("CREATE TEMP TABLE users (a)", "CREATE TEMP"),
            ("CREATE TABLE third AS SELECT 1", "SELECT in CREATE TABLE third"),
            ("CREATE TABLE other.users (a)", "a table of another database"),
            ("INSERT INTO users(a) SELECT 1", "SELECT in INSERT INTO users"),
            ("INSERT INTO users(a) VALUES((SELECT 1))", "SELECT in INSERT INTO users"),
            ("INSERT INTO users(a) VALUES(randomblob(9))", "RANDOMBLOB in INSERT INTO users"),
            ("INSERT INTO users(a) VALUES(1) RETURNING a", "RETURNING in INSERT INTO users"),
            ("INSERT INTO users(a) VALUES(\"a\")", "a name in INSERT INTO users"),
            (".read x", "'.'"),
        ] {
            let expected = ExportError::NotAllowed { line: 3, what: what.to_owned() };
            assert_refused(&format!("CREATE TABLE other(a UNIQUE);{sql};"), &expected);
        }
    }

    #[test]
    fn an_export_that_was_cut_short_is_refused() {
        for unfinished in
            ["SELECT 1", "SELECT 'a", "SELECT \"a", "SELECT `a", "SELECT [a", "SELECT 1 /* ;", "/* ;", "x'0"]
        {
            assert_refused(&format!("\n{unfinished}"), &ExportError::CutShort { line: 4 });
        }
        assert_refused("INSERT INTO users(a) VALUES('a", &ExportError::CutShort { line: 3 });
        assert_refused("BEGIN; INSERT INTO users(a) VALUES(1);", &ExportError::NoCommit);
        let seen = load("", &LIMITS).err().unwrap();
        assert_eq!(format!("{seen:?}"), format!("{:?}", ExportError::NoTable("users")));
        let three = TABLES_SQL.replace("[USER_OAUTH_TOKENS]", "other");
        let seen = load(&three, &LIMITS).err().unwrap();
        assert_eq!(format!("{seen:?}"), format!("{:?}", ExportError::NoTable("user_oauth_tokens")));
    }

    #[test]
    fn an_export_that_exceeds_a_limit_is_refused() {
        let slow = Limits { time: Duration::ZERO, ..LIMITS };
        let seen = load(TABLES_SQL, &slow).err().unwrap().to_string();
        assert!(seen.contains("more than 0ns"), "{seen}");

        let small = Limits { mebibytes: 1, ..LIMITS };
        let text = format!("{TABLES_SQL}INSERT INTO users(a) VALUES('{}');", "x".repeat(1 << 20));
        let grown =
            format!("INSERT INTO users(a) VALUES(replace('1111111111','1','{}'));", "x".repeat(100_000));
        let grown = format!("{TABLES_SQL}{grown}{grown}");
        let nested =
            (0..9).fold("'xx'".to_owned(), |text, _| format!("replace('{}','x',{text})", "x".repeat(9)));
        for sql in [text, grown, format!("{TABLES_SQL}INSERT INTO users(a) VALUES({nested});")] {
            let seen = load(&sql, &small).err().unwrap().to_string();
            assert!(seen.contains("more than 1 MiB"), "{seen}");
        }
    }

    #[test]
    fn an_error_of_sqlite_never_quotes_a_value() {
        for sql in [
            "INSERT INTO users(a) VALUES(sk-secret);",
            "INSERT INTO users(a) VALUES(\"sk-secret\");",
            "INSERT INTO users(a) VALUES('x' 'sk-secret');",
            "INSERT INTO users(a) VALUES(1sk-secret);",
        ] {
            let seen = load_all(sql).unwrap_err().to_string();
            assert!(seen.starts_with("line 3 of the export") && !seen.contains("sk"), "{seen}");
        }
    }

    #[test]
    fn the_end_is_recognised_by_the_commit_or_by_the_last_index() {
        let has_end = |sql: &str| load(&format!("{TABLES_SQL}{sql}"), &LIMITS).unwrap().has_end;
        assert!(!has_end(""));
        assert!(!has_end("CREATE INDEX i ON users(a);"));
        assert!(has_end("CREATE UNIQUE INDEX i ON user_oauth_tokens(github_login_norm);"));
        assert!(has_end("BEGIN; COMMIT;"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(sql in "[a-z0-9xé'\"`\\[\\];/*\\-. \n\u{0}+]{0,40}") {
            let _ = load_all(&sql);
        }
    }
}
