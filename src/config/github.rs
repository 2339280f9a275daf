//! GitHub: the App's credentials and GitHub's URLs.

use std::time::Duration;

use crypto::rs256::SigningKey;
use secrecy::SecretString;
use url::Url;

use super::reader::Reader;

/// The GitHub App's settings.
#[derive(Clone, Debug)]
pub struct GithubApp {
    /// `GITHUB_APP_ID`.
    pub app_id: u64,
    /// `GITHUB_APP_PRIVATE_KEY` or the content of `GITHUB_APP_PRIVATE_KEY_FILE`: PEM with real newlines, checked
    /// by signing.
    pub private_key: SecretString,
    /// `GITHUB_APP_SLUG`: the App's name in URLs.
    pub slug: String,
    /// `GITHUB_CLIENT_ID`.
    pub client_id: String,
    /// `GITHUB_CLIENT_SECRET`.
    pub client_secret: SecretString,
    /// `GITHUB_APP_INSTALL_URL`: the page on which a person installs the App. Does not end in `/`.
    pub install_url: Url,
}

/// GitHub's URLs and the interval between mutations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GithubUrls {
    /// `GITHUB_API_URL`; ends in `/`.
    pub api: Url,
    /// `GITHUB_WEB_URL`; ends in `/`.
    pub web: Url,
    /// `PORTER_GITHUB_MUTATION_INTERVAL_MS`: the minimum time between two mutations of one installation.
    pub mutation_interval: Duration,
}

impl GithubUrls {
    /// Returns the installation page of the App `slug`, which applies if `GITHUB_APP_INSTALL_URL` is unset.
    ///
    /// # Errors
    /// The slug does not form a valid URL.
    pub fn install_url(&self, slug: &str) -> Result<Url, url::ParseError> {
        self.web.join(&format!("apps/{slug}/installations/new"))
    }
}

/// The variables that describe the App; either all of them or none must be set.
const GROUP: [&str; 6] = [
    "WEBHOOK_SECRET",
    "GITHUB_APP_ID",
    "GITHUB_APP_PRIVATE_KEY",
    "GITHUB_APP_SLUG",
    "GITHUB_CLIENT_ID",
    "GITHUB_CLIENT_SECRET",
];

pub(super) fn urls(reader: &mut Reader<'_>) -> Option<GithubUrls> {
    let (api_set, web_set) =
        (reader.own_text("GITHUB_API_URL").is_some(), reader.own_text("GITHUB_WEB_URL").is_some());
    for (name, is_set, other) in
        [("GITHUB_API_URL", api_set, "GITHUB_WEB_URL"), ("GITHUB_WEB_URL", web_set, "GITHUB_API_URL")]
    {
        if api_set != web_set && !is_set {
            reader.problem(
                name,
                format_args!("is not set, but {other} is; set both for GitHub Enterprise Server, or neither"),
            );
        }
    }
    let api = reader.url("GITHUB_API_URL");
    let web = reader.url("GITHUB_WEB_URL");
    let interval = reader.number("PORTER_GITHUB_MUTATION_INTERVAL_MS", 0..=60_000);
    Some(GithubUrls { api: api?, web: web?, mutation_interval: Duration::from_millis(u64::from(interval?)) })
}

/// Reads the App and the webhook secret. `None` if none of the variables is set, or a problem was recorded.
pub(super) fn app(reader: &mut Reader<'_>, urls: Option<&GithubUrls>) -> Option<(GithubApp, SecretString)> {
    let install_url = reader.url("GITHUB_APP_INSTALL_URL").map(without_last_slash);
    let pem = private_key_text(reader);
    let is_set = |name: &str| match name {
        "GITHUB_APP_PRIVATE_KEY" => !matches!(pem, Ok(None)),
        name => reader.own_text(name).is_some(),
    };
    let (set, unset): (Vec<&str>, Vec<&str>) = GROUP.iter().partition(|name| is_set(name));
    if set.is_empty() {
        reader.mention_unset(&GROUP);
        return None;
    }
    for name in unset {
        reader.missing(name);
    }
    let private_key = match pem {
        Ok(pem) => pem.and_then(|pem| signing_key(reader, &pem)),
        Err(what) => {
            reader.problem("GITHUB_APP_PRIVATE_KEY_FILE", what);
            None
        }
    };
    let app_id = app_id(reader);
    let slug = slug(reader);
    let webhook_secret = reader.secret("WEBHOOK_SECRET")?;
    let (private_key, app_id, slug) = (private_key?, app_id?, slug?);
    let app = GithubApp {
        install_url: install_url.or_else(|| urls?.install_url(&slug).ok())?,
        app_id,
        private_key,
        slug,
        client_id: reader.own_text("GITHUB_CLIENT_ID")?.to_owned(),
        client_secret: reader.secret("GITHUB_CLIENT_SECRET")?,
    };
    Some((app, webhook_secret))
}

fn app_id(reader: &mut Reader<'_>) -> Option<u64> {
    let text = reader.own_text("GITHUB_APP_ID")?;
    let id = text.parse::<u64>().ok().filter(|id| *id > 0);
    if id.is_none() {
        reader.problem(
            "GITHUB_APP_ID",
            format_args!("is {text:?}; it must be the number shown as App ID on the App's settings page"),
        );
    }
    id
}

fn slug(reader: &mut Reader<'_>) -> Option<String> {
    let text = reader.own_text("GITHUB_APP_SLUG")?;
    let fits = text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
    if !fits {
        reader.problem(
            "GITHUB_APP_SLUG",
            format_args!("is {text:?}; it must be the last part of https://github.com/apps/<slug>"),
        );
    }
    fits.then(|| text.to_owned())
}

/// Reads the key from either variable; the error is the rest of a sentence about a file that cannot be read.
fn private_key_text(reader: &Reader<'_>) -> Result<Option<String>, String> {
    if let Some(pem) = reader.own_text("GITHUB_APP_PRIVATE_KEY") {
        return Ok(Some(pem.replace("\\n", "\n")));
    }
    let Some(path) = reader.own_text("GITHUB_APP_PRIVATE_KEY_FILE") else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path);
    text.map(Some).map_err(|error| format!("names {path:?}, which cannot be read: {error}"))
}

/// Checks that the key can sign a JWT.
fn signing_key(reader: &mut Reader<'_>, pem: &str) -> Option<SecretString> {
    let pem = SecretString::from(format!("{}\n", pem.trim()));
    if SigningKey::from_pem(&pem).and_then(|key| key.sign(b"x")).is_err() {
        let name = match reader.own_text("GITHUB_APP_PRIVATE_KEY") {
            Some(_) => "GITHUB_APP_PRIVATE_KEY",
            None => "GITHUB_APP_PRIVATE_KEY_FILE",
        };
        reader.problem(
            name,
            "is not an RSA private key in PEM form. Generate one on the App's settings page under Private \
             keys; newlines may be written as \\n",
        );
        return None;
    }
    Some(pem)
}

fn without_last_slash(mut url: Url) -> Url {
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    url
}
