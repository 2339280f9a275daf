//! Reads single variables and collects their problems, so that one message lists all of them. Never puts a
//! secret's value into a message.

use std::fmt;
use std::ops::RangeInclusive;

use secrecy::SecretString;
use url::Url;

use super::environment::Environment;
use super::variables;

/// The reasons the configuration is not valid.
#[derive(Debug)]
pub struct ConfigErrors {
    /// All problems, in the order of the table in main-spec §3.
    pub problems: Vec<Problem>,
    /// Unset variables that are not required for the start, but for accepting webhooks.
    pub also_unset: Vec<&'static str>,
}

/// A problem with one variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable's name.
    pub variable: String,
    /// A sentence that starts with the variable's name and states how to fix the problem.
    pub message: String,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(out, "Porter cannot start: {count} {noun} in its configuration.")?;
        for problem in &self.problems {
            write!(out, "\n  - {}", problem.message)?;
        }
        if !self.also_unset.is_empty() {
            write!(
                out,
                "\nAlso not set: {}. Porter starts without them, but answers no comment until they are set.",
                self.also_unset.join(", ")
            )?;
        }
        write!(out, "\nEvery variable is explained by: porter serve --help")
    }
}

impl std::error::Error for ConfigErrors {}

/// Reads variables of one environment and collects problems.
pub(super) struct Reader<'a> {
    environment: &'a Environment,
    problems: Vec<Problem>,
    also_unset: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(environment: &'a Environment) -> Self {
        Self { environment, problems: Vec::new(), also_unset: Vec::new() }
    }

    /// Returns whether there is no problem so far.
    pub(super) fn is_content(&self) -> bool {
        self.problems.is_empty()
    }

    /// Returns the collected problems.
    pub(super) fn into_errors(self) -> ConfigErrors {
        ConfigErrors { problems: self.problems, also_unset: self.also_unset }
    }

    /// Adds names of unset variables that are listed if there is a problem.
    pub(super) fn mention_unset(&mut self, names: &[&'static str]) {
        self.also_unset.extend(names);
    }

    /// Records a problem of `name`; `what` is the rest of a sentence that starts with the name.
    pub(super) fn problem(&mut self, name: &str, what: impl fmt::Display) {
        self.problems.push(Problem { variable: name.to_owned(), message: format!("{name} {what}") });
    }

    /// Records that `name` is not set, with the table's advice.
    pub(super) fn missing(&mut self, name: &str) {
        let advice = variables::find(name).map_or("", |variable| variable.advice);
        self.problem(name, format_args!("is not set. {advice}"));
    }

    /// Returns the variables whose names start with `prefix`, with the prefix removed.
    pub(super) fn with_prefix(&self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.environment.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value)))
    }

    /// Returns a value that is not secret, trimmed; the table's default if it is unset.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.own_text(name).or_else(|| variables::find(name).and_then(|variable| variable.default))
    }

    /// Returns a value that is not secret, trimmed, without a default.
    pub(super) fn own_text(&self, name: &str) -> Option<&'a str> {
        self.environment.get(name).map(str::trim)
    }

    /// Returns a secret unchanged.
    pub(super) fn secret(&self, name: &str) -> Option<SecretString> {
        self.environment.get(name).map(SecretString::from)
    }

    /// Returns an integer within `bounds`; `None` if it is unset without a default, or invalid.
    pub(super) fn number(&mut self, name: &str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let text = self.text(name)?;
        match text.parse::<u32>() {
            Ok(number) if bounds.contains(&number) => Some(number),
            _ => {
                let (low, high) = bounds.into_inner();
                self.problem(
                    name,
                    format_args!("is {text:?}; it must be a whole number from {low} to {high}"),
                );
                None
            }
        }
    }

    /// Returns `true` or `false`; unset is false.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.text(name) {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(other) => {
                self.problem(name, format_args!("is {other:?}; valid are: true, false"));
                false
            }
        }
    }

    /// Returns an absolute http(s) URL without query, fragment or credentials, ending in `/`.
    /// `None` if it is unset without a default, or invalid.
    pub(super) fn url(&mut self, name: &str) -> Option<Url> {
        let text = self.text(name)?;
        match base_url(text) {
            Ok(url) => Some(url),
            Err(UrlFault::Credentials) => {
                self.problem(name, "contains a user name or password; leave it out");
                None
            }
            Err(UrlFault::Shape) => {
                self.problem(
                    name,
                    format_args!(
                        "is {text:?}; it must be an absolute http:// or https:// URL without ? and #"
                    ),
                );
                None
            }
        }
    }
}

enum UrlFault {
    Shape,
    Credentials,
}

fn base_url(text: &str) -> Result<Url, UrlFault> {
    let mut url = Url::parse(text).map_err(|_| match text.contains('@') {
        // A URL that cannot be parsed may also contain a password, so it is not quoted.
        true => UrlFault::Credentials,
        false => UrlFault::Shape,
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlFault::Credentials);
    }
    let web = matches!(url.scheme(), "http" | "https") && url.has_host();
    if !web || url.query().is_some() || url.fragment().is_some() {
        return Err(UrlFault::Shape);
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}
