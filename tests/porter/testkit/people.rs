//! The people of the tests and their actions.

use crypto::vault::{Identity, Vault};
use db::secrets::UserSecret;
use db::users::User;
use domain::task::{Task, TaskId};
use porter::accounts::sign_in;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use standin::Delivery;

use super::{REPO, Testkit};

/// A person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person {
    pub login: &'static str,
    pub id: i64,
}

/// Has push permission and has signed in.
pub const ADA: Person = Person { login: "ada", id: 101 };
/// Has push permission and has signed in.
pub const BOB: Person = Person { login: "bob", id: 102 };
/// Has push permission, but has never signed in.
pub const CAROL: Person = Person { login: "carol", id: 103 };
/// Has signed in, but has only read permission.
pub const EVE: Person = Person { login: "eve", id: 104 };

impl Testkit {
    fn vault(&self) -> Vault {
        let root = self.environment.get("PORTER_SECRET_ENCRYPTION_KEY").expect("a root secret");
        Vault::new(root.into(), Vec::new())
    }

    /// Signs a person in, like the web pages.
    pub async fn sign_in(&self, person: Person) -> User {
        let tokens = self.github.sign_in(person.login).expect("a person");
        self.keep_secret("a user token", tokens.access.expose_secret());
        self.keep_secret("a refresh token", tokens.refresh.expose_secret());
        let (db, now) = (self.db(), self.clock.now());
        sign_in::record(db, &self.vault(), person.id.into(), person.login, &tokens.access, now)
            .await
            .expect("the sign-in is recorded")
    }

    /// Creates a session and returns the cookie's value.
    pub async fn session(&self, person: Person) -> String {
        let user = User {
            user_key: self.vault().user_key(person.id.into()),
            github_id: person.id.into(),
            login: person.login.to_owned(),
        };
        let session = self.sessions().begin(&user).await.expect("a session");
        self.keep_secret("a session", session.expose_secret());
        session.expose_secret().to_owned()
    }

    /// Stores a person's settings, like the settings page.
    pub async fn set(&self, person: Person, settings: &Value) {
        let (db, now) = (self.db(), self.clock.now());
        let mut write = db.begin().await.expect("a write");
        let user_key = self.vault().user_key(person.id.into());
        db::users::store_settings(&mut write, &user_key, &settings.to_string(), now).await.expect("stored");
        write.commit().await.expect("stored");
    }

    /// Stores a person's key, like the settings page.
    pub async fn store_key(&self, person: Person, provider: &str, name: &str, value: &str) {
        self.keep_secret(name, value);
        let vault = self.vault();
        let user_key = vault.user_key(person.id.into());
        let identity = Identity::UserSecret { user_key: &user_key, provider_id: provider, env_key: name };
        let sealed = vault.seal(&identity, &value.into()).expect("a sealed key");
        let secret = UserSecret { provider_id: provider.to_owned(), env_key: name.to_owned(), sealed };
        let (db, now) = (self.db(), self.clock.now());
        let mut write = db.begin().await.expect("a write");
        db::secrets::store_of_user(&mut write, &user_key, &secret, now).await.expect("stored");
        write.commit().await.expect("stored");
    }

    /// Opens a pull request as a person through GitHub's API; returns its number.
    pub async fn open_pull(&self, who: Person, head: &str, title: &str) -> u64 {
        let token = self.github.sign_in(who.login).expect("a person").access;
        let request = self
            .http
            .post(format!("{}/repos/{REPO}/pulls", self.github.api_url()))
            .header("user-agent", "a browser")
            .bearer_auth(token.expose_secret())
            .json(&json!({ "title": title, "head": head, "base": "main" }));
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        answer["number"].as_u64().unwrap_or_else(|| panic!("no pull request was opened: {answer}"))
    }

    /// Opens an issue about the sample project.
    pub async fn issue(&self) -> u64 {
        let (title, body) = ("The greeting has a hole", "`./greet.sh` prints `Hello, !`.");
        self.github.open_issue(REPO, BOB.login, title, body).await.expect("an issue")
    }

    /// Adds a comment and waits for Porter's response to the webhook.
    pub async fn say(&self, issue: u64, who: Person, text: &str) -> Delivery {
        self.github.comment(REPO, issue, who.login, text).await.expect("a comment")
    }

    /// Returns the id of the installation that covers the repository, from an issue's webhook.
    pub async fn installation_of(&self, issue: u64) -> i64 {
        let delivery = self.say(issue, BOB, "Nobody is spoken to.").await;
        let payload = self.github.payload(&delivery.guid).expect("the payload was kept");
        let payload: Value = serde_json::from_slice(&payload).expect("JSON");
        payload["installation"]["id"].as_i64().expect("an installation")
    }

    /// Adds a comment that must create a task, and returns the task's id.
    pub async fn ask(&self, issue: u64, who: Person, text: &str) -> TaskId {
        accepted(&self.say(issue, who, text).await)
    }

    /// Creates an issue and a task of Ada's on it, and waits until its machine works.
    pub async fn at_work(&self) -> (u64, Task) {
        let issue = self.issue().await;
        let id = self.ask(issue, ADA, "@porter mock").await;
        (issue, self.working(&id).await)
    }
}

/// Returns the id of the task that this delivery created.
pub fn accepted(delivery: &Delivery) -> TaskId {
    assert_eq!(
        (delivery.status, delivery.answer["status"].as_str()),
        (Some(202), Some("accepted")),
        "the answer was {}",
        delivery.answer
    );
    let id = delivery.answer["taskId"].as_str().expect("a task");
    TaskId::parse(id).expect("a task id")
}

/// Returns the id of the comment in this delivery.
pub fn comment_of(delivery: &Delivery) -> u64 {
    delivery.comment_id.expect("a comment")
}
