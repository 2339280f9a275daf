//! Log output: to stderr, filtered by `RUST_LOG`, in the format of `LOG_FORMAT`. Started once by `main`. Each
//! module logs with `tracing`.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::config;

/// The default filter of `porter serve`: Porter's own events, and warnings of its libraries.
pub const SERVICE: &str = "porter=info,warn";

/// The default filter of the other commands, which print their own output.
pub const COMMAND: &str = "warn";

/// The reason logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `RUST_LOG` is not a valid tracing filter.
    #[error("RUST_LOG is {0:?}; it must be a filter such as info or porter=debug,warn")]
    Filter(String),
    /// `LOG_FORMAT` is neither `pretty` nor `json`.
    #[error("LOG_FORMAT is {0:?}; valid are: pretty, json")]
    Format(String),
}

/// Starts logging with `default_filter`, unless `RUST_LOG` is set. A second call has no effect.
///
/// # Errors
/// `RUST_LOG` or `LOG_FORMAT` is invalid.
pub fn start(default_filter: &str) -> Result<(), Error> {
    let filter = filter(config::variable("RUST_LOG"), default_filter)?;
    let on_terminal = std::io::stderr().is_terminal();
    let json = wants_json(config::variable("LOG_FORMAT"), on_terminal)?;
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let filtered = tracing_subscriber::registry().with(filter);
    // Already started (several tests in one process): the first one stays.
    let _ = if json {
        let logs = logs.json().flatten_event(true).with_span_list(false);
        tracing::subscriber::set_global_default(filtered.with(logs))
    } else {
        tracing::subscriber::set_global_default(filtered.with(logs.with_ansi(on_terminal)))
    };
    Ok(())
}

fn filter(rust_log: Option<String>, default_filter: &str) -> Result<Targets, Error> {
    let text = rust_log.unwrap_or_else(|| default_filter.to_owned());
    text.parse().map_err(|_| Error::Filter(text))
}

fn wants_json(log_format: Option<String>, on_terminal: bool) -> Result<bool, Error> {
    match log_format.as_deref() {
        None => Ok(!on_terminal),
        Some("json") => Ok(true),
        Some("pretty") => Ok(false),
        Some(other) => Err(Error::Format(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_filter_is_an_error_and_not_a_panic() {
        let error = filter(Some("porter=loud".to_owned()), SERVICE).map(drop).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"RUST_LOG is "porter=loud"; it must be a filter such as info or porter=debug,warn"#
        );
    }

    #[test]
    fn the_default_filters_are_valid_and_rust_log_takes_precedence() {
        for (rust_log, default, seen) in
            [(None, SERVICE, "porter=info,warn"), (None, COMMAND, "warn"), (Some("trace"), COMMAND, "trace")]
        {
            let filter = filter(rust_log.map(str::to_owned), default).unwrap();
            assert_eq!(filter.to_string(), seen);
        }
    }

    #[test]
    fn logs_are_json_unless_on_a_terminal_or_configured_otherwise() {
        let text = |value: &str| Some(value.to_owned());
        assert!(wants_json(None, false).unwrap());
        assert!(!wants_json(None, true).unwrap());
        assert!(!wants_json(text("pretty"), false).unwrap());
        assert!(wants_json(text("json"), true).unwrap());
        assert!(wants_json(text("xml"), true).unwrap_err().to_string().contains("pretty, json"));
    }
}
