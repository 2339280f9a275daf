//! Checks the GitHub App: whether GitHub accepts its key, and whether its registration is what Porter needs.

use super::Finding;
use crate::config::Config;
use domain::clock::Clock;
use github::{AppInfo, Client, Error, Settings};

/// The permissions that Porter needs (main-spec §5).
const PERMISSIONS: [(&str, &str); 4] =
    [("contents", "write"), ("issues", "write"), ("pull_requests", "write"), ("metadata", "read")];
/// The events that Porter needs. GitHub sends `installation` and `installation_repositories` without a
/// subscription.
const EVENTS: [&str; 2] = ["issue_comment", "issues"];

pub(super) async fn check(config: &Config, clock: Clock) -> Vec<Finding> {
    let Some(app) = &config.github else {
        let fix = "set WEBHOOK_SECRET and the GITHUB_ variables (`porter serve --help` lists them)";
        return vec![Finding::wrong("no GitHub App is configured", fix)];
    };
    let settings = Settings {
        api_url: config.github_urls.api.clone(),
        app_id: app.app_id.to_string(),
        private_key: app.private_key.clone(),
        mutation_interval: config.github_urls.mutation_interval,
    };
    let client = match Client::new(settings, clock) {
        Ok(client) => client,
        Err(error) => return vec![Finding::wrong(error.to_string(), "check GITHUB_APP_PRIVATE_KEY")],
    };
    let info = match client.app().await {
        Ok(info) => info,
        Err(error) => return vec![request_failed(&error)],
    };
    let mut findings = vec![Finding::ok(format!("GitHub accepts the key of `{}`", info.slug))];
    if !info.slug.is_empty() && info.slug != app.slug {
        let what = format!("GITHUB_APP_SLUG is `{}`, but the App is called `{}`", app.slug, info.slug);
        findings.push(Finding::wrong(what, format!("set GITHUB_APP_SLUG={}", info.slug)));
    }
    findings.push(permissions(&info));
    findings.push(events(&info));
    findings.push(webhook(&client, config).await);
    findings.push(installations(&client, app.install_url.as_str()).await);
    findings
}

fn request_failed(error: &Error) -> Finding {
    let fix = match error {
        Error { kind: github::Kind::Unauthorized, .. } => {
            "GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY must belong to the same App; create a new key on the App's page"
        }
        Error { kind: github::Kind::NotFound, .. } => "check GITHUB_APP_ID and GITHUB_API_URL",
        _ => "check GITHUB_API_URL and the network, then try again",
    };
    Finding::wrong(error.to_string(), fix)
}

fn permissions(info: &AppInfo) -> Finding {
    let enough = |has: Option<&String>, level: &str| {
        has.is_some_and(|has| has == level || has == "write" || has == "admin")
    };
    let missing: Vec<String> = PERMISSIONS
        .iter()
        .filter(|(name, level)| !enough(info.permissions.get(*name), level))
        .map(|(name, level)| format!("{name}: {level}"))
        .collect();
    if missing.is_empty() {
        return Finding::ok("it has all permissions that Porter needs");
    }
    let fix = "grant them on the App's page, Permissions & events; each account must then accept";
    Finding::wrong(format!("permissions are missing: {}", missing.join(", ")), fix)
}

fn events(info: &AppInfo) -> Finding {
    let missing: Vec<&str> =
        EVENTS.into_iter().filter(|event| !info.events.iter().any(|has| has == event)).collect();
    if missing.is_empty() {
        return Finding::ok("it is subscribed to all events that Porter needs");
    }
    let fix = "subscribe to them on the App's page, Permissions & events";
    Finding::wrong(format!("events are not subscribed: {}", missing.join(", ")), fix)
}

async fn webhook(client: &Client, config: &Config) -> Finding {
    let wanted = format!("{}/api/webhooks/github", config.public_url.as_str().trim_end_matches('/'));
    let fix = format!("set the webhook URL on the App's page to {wanted}");
    match client.hook_config().await {
        Ok(hook) if hook.url.as_deref() == Some(wanted.as_str()) => {
            Finding::ok(format!("its webhook URL is {wanted}"))
        }
        Ok(hook) => {
            let current = hook.url.as_deref().unwrap_or("not set");
            Finding::wrong(format!("its webhook URL is {current}"), fix)
        }
        Err(error) => Finding::wrong(format!("its webhook URL cannot be read: {error}"), fix),
    }
}

async fn installations(client: &Client, install_url: &str) -> Finding {
    let fix = format!("install it at {install_url}");
    match client.list_installations().await {
        Ok(installations) if installations.is_empty() => {
            Finding::wrong("it is not installed on any account", fix)
        }
        Ok(installations) => Finding::ok(format!("it is installed on {} accounts", installations.len())),
        Err(error) => Finding::wrong(format!("its installations cannot be listed: {error}"), fix),
    }
}
