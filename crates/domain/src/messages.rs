//! Error texts of tasks: why an attempt ended without a result, or why a request cannot be executed. The status
//! comment (in a block of text), the API and the task's page display them, so they are plain text with names in
//! backticks. The functions are pure; `tasks` calls them.
//!
//! [`comment`](super::comment) writes whole comments. Each runner writes the messages about its own machines.

use super::comment::Refusal;
use super::ids::RepositoryName;

/// The task's agent is no longer in the registry.
pub fn agent_is_gone(agent: &str) -> String {
    format!("There is no agent called `{agent}` any more.")
}

/// The person has no push permission for the repository.
pub fn may_not_push(repository: &RepositoryName, login: &str) -> String {
    format!(
        "Only people who may push to {repository} can start an agent, and {login} may not. Ask a maintainer for write \
         access, or to ask Porter for you."
    )
}

/// Keys or settings that the launch requires are missing.
pub fn missing_credentials(missing: Vec<String>, settings_url: &str) -> String {
    let why = Refusal::MissingCredentials { missing, settings_url: settings_url.to_owned() }.why();
    format!("{why} Add what is missing at {settings_url}, then `@porter retry`.")
}

/// The base branch does not exist.
pub fn no_such_branch(branch: &str, repository: &RepositoryName) -> String {
    format!("There is no branch `{branch}` in {repository}. Name one with `--base=…`.")
}

/// The launch was retried until its deadline; `last` is the last error.
pub fn launch_gave_up(last: &str) -> String {
    let last = last.trim_end_matches('.');
    format!("Porter tried for an hour to start a machine ({last}). `@porter retry` tries again.")
}

/// The launch exceeded its deadline for an unknown reason.
pub fn launch_overdue() -> String {
    "Porter could not start a machine within an hour. `@porter retry` tries again.".to_owned()
}

/// The repository is not visible to the App.
pub fn repository_not_visible() -> String {
    "Porter cannot see this repository. Is the App still installed on it?".to_owned()
}

/// The App was uninstalled from the account.
pub fn app_not_installed() -> String {
    "Porter's App is no longer installed here. Install it again, then `@porter retry`.".to_owned()
}

/// GitHub rejected a call as forbidden; `message` is GitHub's.
pub fn github_forbids(message: &str) -> String {
    format!("GitHub does not let Porter do this ({message}). Check the App's permissions.")
}

/// GitHub rejected a call as invalid; `message` is GitHub's.
pub fn github_refuses(message: &str) -> String {
    format!("GitHub refused: {}.", message.trim_end_matches('.'))
}

/// GitHub refused to create a token with push permission; `message` is GitHub's.
pub fn no_push_token(message: &str) -> String {
    format!(
        "GitHub gives Porter no token to push with ({}). Check the App's permissions: it needs \"Contents: read and \
         write\".",
        message.trim_end_matches('.')
    )
}

/// The attempt's deadline passed without a report.
pub fn ran_out_of_time() -> String {
    "The task ran out of time and its machine did not report.".to_owned()
}

/// The machine has sent nothing for the permitted time.
pub fn machine_is_silent() -> String {
    "The machine has not been heard for three minutes.".to_owned()
}

/// The machine no longer exists, and no report arrived.
pub fn machine_ended() -> String {
    "The machine ended without a report.".to_owned()
}

/// The pull request was not opened before the deadline.
pub fn publishing_overdue(branch: &str) -> String {
    format!(
        "Porter could not open the pull request within a day; the work is on `{branch}`. `@porter retry` tries again."
    )
}

/// The branch contains nothing to merge. The status comment recognizes this text by its first words.
pub fn no_changes() -> String {
    "no changes: the branch has no commits beyond its base".to_owned()
}

/// The App has no permission to open pull requests.
pub fn may_not_open_pulls(branch: &str) -> String {
    format!(
        "Porter may not open pull requests here; the work is on `{branch}`. Grant the App \"Pull requests: read and \
         write\", then `@porter retry`."
    )
}

/// GitHub rejected the pull request; `reason` is GitHub's.
pub fn pull_refused(reason: &str, branch: &str) -> String {
    format!("GitHub refused the pull request ({reason}); the work is on `{branch}`.")
}

/// A person stopped the task.
pub fn stopped_by(login: &str) -> String {
    format!("Stopped by {login}.")
}

/// A person closed the task's issue.
pub fn issue_closed_by(login: &str) -> String {
    format!("Stopped: the issue was closed by {login}.")
}

/// A retry failed because another task of the issue and agent is active.
pub fn another_is_active() -> String {
    "Another task of this issue and agent is active; stop it first.".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_for_which_attempts_end() {
        let all = [
            agent_is_gone("codex"),
            may_not_push(&RepositoryName::new("acme", "shop"), "eve"),
            missing_credentials(
                vec!["ANTHROPIC_API_KEY".into(), "Fly token".into()],
                "https://porter.example/settings",
            ),
            no_such_branch("next", &RepositoryName::new("acme", "shop")),
            launch_gave_up("Fly's Machines API did not answer."),
            launch_overdue(),
            repository_not_visible(),
            app_not_installed(),
            github_forbids("Resource not accessible by integration"),
            github_refuses("Validation failed."),
            no_push_token("The permissions requested are not granted."),
            ran_out_of_time(),
            machine_is_silent(),
            machine_ended(),
            publishing_overdue("porter/task_1"),
            no_changes(),
            may_not_open_pulls("porter/task_1"),
            pull_refused("GitHub answered 422", "porter/task_1"),
            stopped_by("ada"),
            issue_closed_by("bob"),
            another_is_active(),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        There is no agent called `codex` any more.
        Only people who may push to acme/shop can start an agent, and eve may not. Ask a maintainer for write access, or to ask Porter for you.
        I cannot start yet: `ANTHROPIC_API_KEY` and `Fly token` are missing. Add what is missing at https://porter.example/settings, then `@porter retry`.
        There is no branch `next` in acme/shop. Name one with `--base=…`.
        Porter tried for an hour to start a machine (Fly's Machines API did not answer). `@porter retry` tries again.
        Porter could not start a machine within an hour. `@porter retry` tries again.
        Porter cannot see this repository. Is the App still installed on it?
        Porter's App is no longer installed here. Install it again, then `@porter retry`.
        GitHub does not let Porter do this (Resource not accessible by integration). Check the App's permissions.
        GitHub refused: Validation failed.
        GitHub gives Porter no token to push with (The permissions requested are not granted). Check the App's permissions: it needs "Contents: read and write".
        The task ran out of time and its machine did not report.
        The machine has not been heard for three minutes.
        The machine ended without a report.
        Porter could not open the pull request within a day; the work is on `porter/task_1`. `@porter retry` tries again.
        no changes: the branch has no commits beyond its base
        Porter may not open pull requests here; the work is on `porter/task_1`. Grant the App "Pull requests: read and write", then `@porter retry`.
        GitHub refused the pull request (GitHub answered 422); the work is on `porter/task_1`.
        Stopped by ada.
        Stopped: the issue was closed by bob.
        Another task of this issue and agent is active; stop it first.
        "#);
    }
}
