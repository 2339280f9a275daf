//! Setup of the state: accounts, repositories, installations, permissions, faults.
//!
//! Repositories are named `owner/name`. Installing and uninstalling the App sends a webhook, as on GitHub.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::actions::find;
use super::auth::{Access, opaque};
use super::faults::Fault;
use super::git::{File, Git};
use super::state::{
    Account, AccountKind, GithubState, Installation, Permission, Repository, RepositoryId, Selection,
};
use super::webhook::Outgoing;
use super::{Error, StandIn, payloads};

impl StandIn {
    /// Sets the receiver of webhooks. Without a receiver, webhooks are neither sent nor recorded.
    pub fn set_webhook_url(&self, url: impl Into<String>) {
        self.shared.state().webhook_url = Some(url.into());
    }

    /// Adds the account of a person with this id.
    pub fn add_user(&self, login: &str, id: u64) {
        self.add_account(login, id, AccountKind::User);
    }

    /// Adds an account of any kind.
    pub fn add_account(&self, login: &str, id: u64, kind: AccountKind) {
        let account = Account { login: login.to_owned(), id, kind };
        self.shared.state().accounts.insert(login.to_owned(), account);
        self.shared.changed();
    }

    /// Adds a private repository with one commit of `files` on its default branch. If the owner's account
    /// does not exist, it is added as an organization.
    pub async fn add_repository(
        &self,
        owner: &str,
        name: &str,
        files: &[File],
        default_branch: &str,
    ) -> Result<RepositoryId, Error> {
        let now = self.shared.clock.now();
        let path = self.shared.scratch.join("repositories").join(owner).join(format!("{name}.git"));
        let git = Git::create(path, default_branch).await?;
        git.commit((default_branch, None), files, (owner, "Initial commit"), now).await?;
        let mut state = self.shared.state();
        if state.find_account(owner).is_none() {
            let id = state.next_id();
            let account = Account { login: owner.to_owned(), id, kind: AccountKind::Organization };
            state.accounts.insert(owner.to_owned(), account);
        }
        let id = RepositoryId(state.next_id());
        state.repositories.push(Repository {
            id,
            owner: owner.to_owned(),
            name: name.to_owned(),
            default_branch: default_branch.to_owned(),
            drafts: true,
            git,
            permissions: BTreeMap::new(),
            issues: BTreeMap::new(),
            labels: BTreeMap::new(),
            created_at: now,
        });
        drop(state);
        self.shared.changed();
        Ok(id)
    }

    /// Commits files on a branch, without a webhook, and returns the commit's id. A new branch starts at the
    /// head of the default branch.
    pub async fn commit(
        &self,
        repository: &str,
        branch: &str,
        files: &[File],
        message: &str,
    ) -> Result<String, Error> {
        let repository = self.with(repository, |_, repository| Ok(repository.clone()))?;
        let git = &repository.git;
        let parent = match git.find_branch(branch).await? {
            Some(parent) => Some(parent),
            None => git.find_branch(&repository.default_branch).await?,
        };
        let place = (branch, parent.as_deref());
        let sha = git.commit(place, files, ("someone", message), self.shared.clock.now()).await?;
        self.shared.changed();
        Ok(sha)
    }

    /// Creates a branch at the head of another branch.
    pub async fn branch(&self, repository: &str, branch: &str, from: &str) -> Result<(), Error> {
        let git = self.with(repository, |_, repository| Ok(repository.git.clone()))?;
        Ok(git.branch(branch, from).await?)
    }

    /// Sets the `pre-receive` hook of the repository, with which the server can refuse a push; `None` removes
    /// it. The script starts with `#!`. It reads a line `<old id> <new id> <ref>` per updated ref, a failure
    /// refuses the push, and its output is shown to the pusher (githooks(5)).
    pub fn set_pre_receive_hook(&self, repository: &str, script: Option<&str>) -> Result<(), Error> {
        let git = self.with(repository, |_, repository| Ok(repository.git.clone()))?;
        Ok(git.set_pre_receive_hook(script)?)
    }

    /// Installs the App on an account, for all its repositories, and sends `installation.created`.
    pub async fn install(&self, account: &str) -> Result<u64, Error> {
        let (id, outgoing) = {
            let mut state = self.shared.state();
            let installation = Installation {
                id: state.next_id(),
                account: account.to_owned(),
                selection: Selection::All,
                permissions: state.app.permissions.clone(),
                suspended_at: None,
                created_at: self.shared.clock.now(),
            };
            let id = installation.id;
            state.installations.push(installation);
            (id, installation_event(&state, id, ("installation", "created"), "repositories"))
        };
        self.send_event(outgoing).await?;
        Ok(id)
    }

    /// Uninstalls the App from an account: revokes its tokens and sends `installation.deleted`.
    pub async fn uninstall(&self, account: &str) -> Result<(), Error> {
        let outgoing = {
            let mut state = self.shared.state();
            let id = installation_on(&state, account)?;
            let outgoing = installation_event(&state, id, ("installation", "deleted"), "repositories");
            state.installations.retain(|installation| installation.id != id);
            state.tokens.revoke_all(id);
            outgoing
        };
        self.send_event(outgoing).await
    }

    /// Limits an installation to these repositories (`owner/name`) and sends `installation_repositories` for
    /// the added and for the removed ones.
    pub async fn select_repositories(&self, account: &str, repositories: &[&str]) -> Result<(), Error> {
        let outgoing = {
            let mut state = self.shared.state();
            let id = installation_on(&state, account)?;
            let mut selected = Vec::new();
            for name in repositories {
                selected.push(find(&state, name)?.id);
            }
            let (before, after): (Vec<_>, Vec<_>) = {
                let installation = state.find_installation(id).cloned();
                let covered = |r: &&Repository| installation.as_ref().is_some_and(|i| i.covers(r));
                let before = state.repositories.iter().filter(covered).cloned().collect();
                (before, state.repositories.iter().filter(|r| selected.contains(&r.id)).cloned().collect())
            };
            if let Some(installation) = state.installations.iter_mut().find(|i| i.id == id) {
                installation.selection = Selection::Selected(selected);
            }
            let lists = [
                ("added", "repositories_added", without(&after, &before)),
                ("removed", "repositories_removed", without(&before, &after)),
            ];
            lists.map(|(action, key, list)| {
                let list: Vec<_> = list.into_iter().map(payloads::short_repository).collect();
                (!list.is_empty()).then(|| {
                    let mut body = installation_body(&state, id, action);
                    body["repositories_added"] = json!([]);
                    body["repositories_removed"] = json!([]);
                    body["repository_selection"] = json!("selected");
                    body[key] = Value::Array(list);
                    Outgoing::raw("installation_repositories", body.to_string().into_bytes())
                })
            })
        };
        for outgoing in outgoing.into_iter().flatten() {
            self.send_event(outgoing).await?;
        }
        Ok(())
    }

    /// Makes a person a collaborator of a repository.
    pub fn grant(&self, repository: &str, login: &str, permission: Permission) -> Result<(), Error> {
        self.with(repository, |state, found| {
            let held = state.repository_mut(found.id).ok_or_else(|| Error::Unknown(repository.to_owned()))?;
            held.permissions.insert(login.to_owned(), permission);
            Ok(())
        })
    }

    /// Removes a person from a repository's collaborators.
    pub fn revoke(&self, repository: &str, login: &str) -> Result<(), Error> {
        self.with(repository, |state, found| {
            state.repository_mut(found.id).map(|held| held.permissions.remove(login));
            Ok(())
        })
    }

    /// Sets whether the repository's plan supports draft pull requests. The default is that it does.
    pub fn allow_drafts(&self, repository: &str, allowed: bool) -> Result<(), Error> {
        self.with(repository, |state, found| {
            if let Some(held) = state.repository_mut(found.id) {
                held.drafts = allowed;
            }
            Ok(())
        })
    }

    /// A code of the App manifest flow, as GitHub passes it to Porter's `/setup`. It can be used once.
    pub fn register_manifest(&self) -> Result<String, Error> {
        let code = opaque(30)?;
        self.shared.state().manifest_codes.push(code.clone());
        Ok(code)
    }

    /// Sets a permission of the App and of its installations; `None` removes it.
    pub fn set_app_permission(&self, kind: &str, access: Option<Access>) {
        let mut state = self.shared.state();
        let change = |permissions: &mut BTreeMap<String, Access>| match access {
            Some(access) => permissions.insert(kind.to_owned(), access),
            None => permissions.remove(kind),
        };
        change(&mut state.app.permissions);
        for installation in &mut state.installations {
            change(&mut installation.permissions);
        }
    }

    /// Sets the events in the App's registration. This does not filter the webhooks that are sent.
    pub fn set_app_events(&self, events: &[&str]) {
        self.shared.state().app.events = events.iter().map(|&event| event.to_owned()).collect();
    }

    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        self.shared.state().faults.plan(fault);
    }

    /// Applies random faults to `per_mille` of a thousand requests: error responses and lost responses,
    /// before or after the effect.
    pub fn inject_chaos(&self, seed: u64, per_mille: u16) {
        self.shared.state().faults.start_chaos(seed, per_mille);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.shared.state().faults.clear();
    }

    /// Sets the number of remaining calls of the primary rate limit, and the time until it resets.
    pub fn set_rate_limit(&self, remaining: u64, resets_in: TimeDelta) {
        let mut state = self.shared.state();
        state.rate.used = state.rate.limit.saturating_sub(remaining);
        state.rate.reset = self.shared.clock.now() + resets_in;
    }
}

fn installation_on(state: &GithubState, account: &str) -> Result<u64, Error> {
    let found = state.installations.iter().find(|i| i.account.eq_ignore_ascii_case(account));
    found.map(|i| i.id).ok_or_else(|| Error::Unknown(format!("installation on {account}")))
}

fn installation_body(state: &GithubState, id: u64, action: &str) -> Value {
    let installation = state.find_installation(id);
    let sender = installation.map_or(Value::Null, |i| payloads::account(state, &i.account));
    json!({
        "action": action, "installation": installation.map(|i| payloads::installation(state, i)),
        "sender": sender, "requester": null,
    })
}

fn installation_event(state: &GithubState, id: u64, (event, action): (&str, &str), key: &str) -> Outgoing {
    let mut body = installation_body(state, id, action);
    let covered =
        state.repositories.iter().filter(|r| state.find_installation(id).is_some_and(|i| i.covers(r)));
    body[key] = Value::Array(covered.map(payloads::short_repository).collect());
    Outgoing::raw(event, body.to_string().into_bytes())
}

fn without<'a>(these: &'a [Repository], those: &[Repository]) -> Vec<&'a Repository> {
    these.iter().filter(|one| !those.iter().any(|other| other.id == one.id)).collect()
}
