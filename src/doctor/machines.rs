//! Checks the runner: whether Fly accepts the shared token, and whether the shared app exists.

use super::Finding;
use crate::config::Config;

pub(super) fn local() -> Finding {
    Finding::ok("agents run on this machine, without isolation; for development only")
}

pub(super) async fn fly(config: &Config) -> Vec<Finding> {
    let api = match fly::Api::new(&config.fly.base_url) {
        Ok(api) => api,
        Err(error) => return vec![Finding::wrong(error.to_string(), "check FLY_API_BASE_URL")],
    };
    let Some(token) = &config.shared.fly_token else {
        return vec![Finding::ok("no shared token is set; each user needs a token in the settings")];
    };
    let client = match api.client(token) {
        Ok(client) => client,
        Err(error) => return vec![Finding::wrong(error.to_string(), "check PORTER_SHARED_FLY_TOKEN")],
    };
    let mut findings = vec![match client.tokens().await {
        Ok(_) => Finding::ok("the shared token is accepted"),
        Err(error) => {
            let fix =
                "create a token with `fly tokens create deploy -a APP`, and set PORTER_SHARED_FLY_TOKEN";
            Finding::wrong(format!("the shared token is not accepted: {error}"), fix)
        }
    }];
    findings.push(match &config.shared.fly_app {
        None => Finding::wrong(
            "the shared token is not used, because no shared app is set",
            "set PORTER_SHARED_FLY_APP",
        ),
        Some(app) => match client.app(app).await {
            Ok(_) => Finding::ok(format!("the app `{app}` exists")),
            Err(error) => {
                let fix = format!("create it with `fly apps create {app}`, or set PORTER_SHARED_FLY_APP");
                Finding::wrong(format!("the app `{app}` cannot be used: {error}"), fix)
            }
        },
    });
    findings
}
