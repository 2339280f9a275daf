//! Sign-in with the App, and the access of a person's token.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::Digest;

const BACK: &str = "http://127.0.0.1:1/back?kept=1";

/// Opens the consent page without following redirects; returns the query of the redirect.
async fn consent(environment: &Environment, challenge: &str) -> std::collections::HashMap<String, String> {
    let browser = tls::client().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
    let app = environment.github.app();
    let mut url =
        url::Url::parse(&format!("{}/login/oauth/authorize", environment.github.web_url())).unwrap();
    url.query_pairs_mut()
        .append_pair("client_id", &app.client_id)
        .append_pair("redirect_uri", BACK)
        .append_pair("state", "st&te")
        .append_pair("code_challenge", challenge)
        .append_pair("code_challenge_method", "S256");
    let answer = browser.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 302);
    let location = url::Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
    assert!(location.as_str().starts_with(BACK), "{location}");
    location.query_pairs().into_owned().collect()
}

async fn exchange(environment: &Environment, fields: &[(&str, &str)]) -> Value {
    let app = environment.github.app();
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("client_id", &app.client_id)
        .append_pair("client_secret", app.client_secret.expose_secret());
    form.extend_pairs(fields);
    let request = environment
        .http
        .post(format!("{}/login/oauth/access_token", environment.github.web_url()))
        .header("accept", "application/json")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.finish());
    read(request.send().await.unwrap()).await.1
}

#[tokio::test]
async fn a_code_is_exchanged_once_and_only_with_its_verifier() {
    let environment = Environment::start().await;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest("verifier"));
    let denied = consent(&environment, &challenge).await;
    assert_eq!((denied["error"].as_str(), denied["state"].as_str()), ("access_denied", "st&te"));

    environment.github.sit_at_browser(Some("alice"));
    let stolen = consent(&environment, &challenge).await["code"].clone();
    let answer = exchange(&environment, &[("code", &stolen), ("code_verifier", "guessed")]).await;
    assert_eq!(answer["error"], "bad_verification_code");
    let answer = exchange(&environment, &[("code", &stolen), ("code_verifier", "verifier")]).await;
    assert_eq!(answer["error"], "bad_verification_code", "a code serves once");

    let returned = consent(&environment, &challenge).await;
    assert_eq!((returned["state"].as_str(), returned["kept"].as_str()), ("st&te", "1"));
    let fields = [("code", returned["code"].as_str()), ("code_verifier", "verifier"), ("redirect_uri", BACK)];
    let answer = exchange(&environment, &fields).await;
    let access = answer["access_token"].as_str().unwrap();
    assert!(access.starts_with("ghu_") && answer["expires_in"] == 28_800, "{answer}");
    let (status, user) = read(environment.request(Method::GET, "/user", access, None).await).await;
    assert_eq!((status, &user["login"], &user["id"]), (200, &json!("alice"), &json!(101)));
    assert_eq!(environment.github.violations(), [""; 0]);
}

#[tokio::test]
async fn a_refresh_revokes_both_old_tokens() {
    let environment = Environment::start().await;
    let old = environment.github.sign_in("alice").unwrap();
    let refresh = async || {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", old.refresh.expose_secret())];
        exchange(&environment, &fields).await
    };
    let see =
        async |token: &str| environment.request(Method::GET, "/user", token, None).await.status().as_u16();
    assert_eq!(see(old.access.expose_secret()).await, 200);
    let answer = refresh().await;
    let new = answer["access_token"].as_str().unwrap();
    assert_eq!((see(new).await, see(old.access.expose_secret()).await), (200, 401));
    assert_eq!(refresh().await["error"], "bad_refresh_token");
    environment.clock.advance(TimeDelta::hours(8));
    assert_eq!(see(new).await, 401);
}

#[tokio::test]
async fn a_person_sees_the_installations_and_repositories_shared_with_the_app() {
    let environment = Environment::start().await;
    let alice = environment.github.sign_in("alice").unwrap().access;
    let mallory = environment.github.sign_in("mallory").unwrap().access;
    let see =
        async |token: &str, path: &str| read(environment.request(Method::GET, path, token, None).await).await;
    let (_, installations) = see(alice.expose_secret(), "/user/installations").await;
    assert_eq!(installations["installations"][0]["id"], environment.installation, "{installations}");
    let path = format!("/user/installations/{}/repositories", environment.installation);
    let (_, repositories) = see(alice.expose_secret(), &path).await;
    assert_eq!(
        (&repositories["total_count"], &repositories["repositories"][0]["full_name"]),
        (&json!(1), &json!(REPOSITORY))
    );
    assert_eq!(see(alice.expose_secret(), "/user/orgs").await.1[0]["login"], "acme");
    assert_eq!(see(mallory.expose_secret(), "/user/installations").await.1["total_count"], 0);
    assert_eq!(see(mallory.expose_secret(), "/repos/acme/greeter").await.0, 404);

    let issues = format!("/repos/{REPOSITORY}/issues");
    let new = Some(json!({ "title": "From a page" }));
    let (status, issue) =
        read(environment.request(Method::POST, &issues, alice.expose_secret(), new).await).await;
    assert_eq!((status, &issue["user"]["login"]), (201, &json!("alice")));
    environment.github.revoke_sign_ins("alice");
    assert_eq!(see(alice.expose_secret(), "/user").await.0, 401);
}
