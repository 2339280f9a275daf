//! (to be written)

/// Help.
pub const HELP: &str = "";
/// Help.
pub const DATABASE_HELP: &str = "";

/// The value of an environment variable; nothing when it is unset, empty, or not UTF-8.
pub fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Reads `.env` from this folder or one above it, where there is one; what is already set wins.
pub fn load_dotenv() {
    dotenvy::dotenv().ok();
}
