//! What a worker is told: the environment of the machine (contract §7). The server writes it with
//! [`Assignment::to_env`], `porter worker` reads it back with [`Assignment::from_env`]; one type, so that
//! the names cannot drift apart.

use std::collections::BTreeMap;

/// A prompt longer than this goes as a file: the kernel refuses one environment string over 128 KiB
/// (`MAX_ARG_STRLEN`), and the contract draws the line at 96 KiB.
pub const MAX_PROMPT_ENV_BYTES: usize = 96 * 1024;

/// Where the prompt file lies inside the machine.
pub const PROMPT_FILE: &str = "/run/porter/prompt.md";

/// One attempt, as the worker needs to know it. Holds secrets: it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Assignment {
    /// `TASK_ID`.
    pub task_id: String,
    /// `PORTER_ATTEMPT`: which run of the task this is, from 1.
    pub attempt: u32,
    /// `REPO_FULL_NAME`: `owner/name`.
    pub repo_full_name: String,
    /// `REPO_URL`: where to clone from; carries no credential.
    pub repo_url: String,
    /// `ISSUE_NUMBER`.
    pub issue_number: u64,
    /// `AGENT`: an id of the registry.
    pub agent: String,
    /// `MODEL`, when the person chose one.
    pub model: Option<String>,
    /// `PROMPT`, or the content of the file that `PROMPT_FILE` names.
    pub prompt: String,
    /// `BRANCH`: the only branch the worker may push.
    pub branch: String,
    /// `BASE_BRANCH`: what it starts from.
    pub base_branch: String,
    /// `GITHUB_TOKEN`: an installation token for this repository alone, `contents:write`.
    pub github_token: String,
    /// `CALLBACK_URL`.
    pub callback_url: String,
    /// `PROGRESS_URL`.
    pub progress_url: String,
    /// `CALLBACK_TOKEN`: proves that a report is about this attempt.
    pub callback_token: String,
    /// `TIMEOUT_SECONDS`: how long the agent may run.
    pub timeout_seconds: u64,
    /// `REQUESTER`: `Name <email>` of the person who asked, for the commit's trailer.
    pub requester: Option<String>,
    /// The agent's provider keys, by their own names.
    pub provider_keys: BTreeMap<String, String>,
}

impl Assignment {
    /// The environment of the machine, and the prompt when it is too long to be in it.
    pub fn to_env(&self) -> (BTreeMap<String, String>, Option<String>) {
        let mut env = self.provider_keys.clone();
        let mut put = |name: &str, value: &str| {
            env.insert(name.to_owned(), value.to_owned());
        };
        put("TASK_ID", &self.task_id);
        put("PORTER_ATTEMPT", &self.attempt.to_string());
        put("REPO_FULL_NAME", &self.repo_full_name);
        put("REPO_URL", &self.repo_url);
        put("ISSUE_NUMBER", &self.issue_number.to_string());
        put("AGENT", &self.agent);
        put("BRANCH", &self.branch);
        put("BASE_BRANCH", &self.base_branch);
        put("GITHUB_TOKEN", &self.github_token);
        put("CALLBACK_URL", &self.callback_url);
        put("PROGRESS_URL", &self.progress_url);
        put("CALLBACK_TOKEN", &self.callback_token);
        put("TIMEOUT_SECONDS", &self.timeout_seconds.to_string());
        if let Some(model) = &self.model {
            put("MODEL", model);
        }
        if let Some(requester) = &self.requester {
            put("REQUESTER", requester);
        }
        if self.prompt.len() > MAX_PROMPT_ENV_BYTES {
            put("PROMPT_FILE", PROMPT_FILE);
            (env, Some(self.prompt.clone()))
        } else {
            put("PROMPT", &self.prompt);
            (env, None)
        }
    }

    /// Reads an assignment back. `lookup` tells a variable's value; `read` a file's content;
    /// `provider_keys` names the variables the agent of this name may be given.
    ///
    /// # Errors
    /// Every variable that is missing or malformed, by name, all at once.
    pub fn from_env(
        lookup: impl Fn(&str) -> Option<String>,
        read: impl Fn(&str) -> std::io::Result<String>,
        provider_keys: impl Fn(&str) -> Vec<String>,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut need = |name: &str| {
            lookup(name).filter(|value| !value.is_empty()).unwrap_or_else(|| {
                problems.push(format!("{name} is not set"));
                String::new()
            })
        };
        let task_id = need("TASK_ID");
        let repo_full_name = need("REPO_FULL_NAME");
        let repo_url = need("REPO_URL");
        let issue_number = need("ISSUE_NUMBER");
        let agent = need("AGENT");
        let branch = need("BRANCH");
        let base_branch = need("BASE_BRANCH");
        let github_token = need("GITHUB_TOKEN");
        let callback_url = need("CALLBACK_URL");
        let progress_url = need("PROGRESS_URL");
        let callback_token = need("CALLBACK_TOKEN");
        let timeout_seconds = need("TIMEOUT_SECONDS");
        let prompt = match (lookup("PROMPT"), lookup("PROMPT_FILE")) {
            (Some(prompt), _) => prompt,
            (None, Some(path)) => read(&path).unwrap_or_else(|error| {
                problems.push(format!("PROMPT_FILE names {path}, which cannot be read: {error}"));
                String::new()
            }),
            (None, None) => {
                problems.push("neither PROMPT nor PROMPT_FILE is set".to_owned());
                String::new()
            }
        };
        let mut number = |name: &str, text: &str| {
            text.parse::<u64>().unwrap_or_else(|_| {
                if !text.is_empty() {
                    problems.push(format!("{name} is {text:?}, not a number"));
                }
                0
            })
        };
        let issue_number = number("ISSUE_NUMBER", &issue_number);
        let timeout_seconds = number("TIMEOUT_SECONDS", &timeout_seconds);
        let attempt_text = lookup("PORTER_ATTEMPT").unwrap_or_else(|| "1".to_owned());
        let attempt = u32::try_from(number("PORTER_ATTEMPT", &attempt_text)).unwrap_or(1).max(1);
        if !problems.is_empty() {
            return Err(problems);
        }
        let provider_keys = provider_keys(&agent)
            .into_iter()
            .filter_map(|name| lookup(&name).map(|value| (name, value)))
            .collect();
        Ok(Self {
            task_id,
            attempt,
            repo_full_name,
            repo_url,
            issue_number,
            model: lookup("MODEL").filter(|model| !model.is_empty()),
            requester: lookup("REQUESTER").filter(|requester| !requester.is_empty()),
            agent,
            prompt,
            branch,
            base_branch,
            github_token,
            callback_url,
            progress_url,
            callback_token,
            timeout_seconds,
            provider_keys,
        })
    }
}
