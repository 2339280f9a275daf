//! The environment of a worker's machine (main-spec §7). The server writes it with [`Assignment::to_env`], and
//! `porter worker` reads it with [`Assignment::from_env`]. Both use one type so that the names of the variables
//! stay equal.

use std::collections::BTreeMap;

use super::agent::Specification;

/// The maximum length of a prompt in the environment, in bytes; a longer prompt is passed as a file. The kernel
/// rejects an environment string over 128 KiB (`MAX_ARG_STRLEN`), and main-spec §7 sets the limit to 96 KiB.
pub const MAX_PROMPT_ENV_BYTES: usize = 96 * 1024;

/// The path of the prompt file in the machine.
pub const PROMPT_FILE: &str = "/run/porter/prompt.md";

/// The machine's variables that are reserved for Porter, in addition to those with the prefix `PORTER_`.
const OWN_VARIABLES: [&str; 23] = [
    "TASK_ID",
    "REPO_FULL_NAME",
    "REPO_URL",
    "ISSUE_NUMBER",
    "AGENT",
    "AGENT_SPEC",
    "MODEL",
    "PROMPT",
    "PROMPT_FILE",
    "BRANCH",
    "BASE_BRANCH",
    "GITHUB_TOKEN",
    "CALLBACK_URL",
    "PROGRESS_URL",
    "CALLBACK_TOKEN",
    "TIMEOUT_SECONDS",
    "REQUESTER",
    "COMMITTER",
    "TOKEN_URL",
    "BUNDLE_URL",
    "HOME",
    "PATH",
    "LANG",
];

/// Returns whether a variable of this name is reserved for Porter and therefore cannot be an agent's key.
pub fn is_own_variable(name: &str) -> bool {
    name.starts_with("PORTER_") || OWN_VARIABLES.contains(&name)
}

/// One attempt, as the worker needs it. It contains secrets and therefore does not implement `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Assignment {
    /// `TASK_ID`: the task's id.
    pub task_id: String,
    /// `PORTER_ATTEMPT`: the attempt's number, from 1.
    pub attempt: u32,
    /// `REPO_FULL_NAME`: `owner/name`.
    pub repo_full_name: String,
    /// `REPO_URL`: the URL to clone from, without credentials.
    pub repo_url: String,
    /// `ISSUE_NUMBER`: the issue's number.
    pub issue_number: u64,
    /// `AGENT`: the agent's id in the registry.
    pub agent: String,
    /// `AGENT_SPEC`: the agent's specification, as JSON.
    pub agent_spec: Specification,
    /// `MODEL`: the model, if the person chose one.
    pub model: Option<String>,
    /// `PROMPT`, or the contents of the file that `PROMPT_FILE` names.
    pub prompt: String,
    /// `BRANCH`: the only branch that the worker may push.
    pub branch: String,
    /// `BASE_BRANCH`: the branch that the work starts from.
    pub base_branch: String,
    /// `GITHUB_TOKEN`: an installation token with `contents:write` for this repository only.
    pub github_token: String,
    /// `CALLBACK_URL`: the URL for the completion report.
    pub callback_url: String,
    /// `PROGRESS_URL`: the URL for progress reports.
    pub progress_url: String,
    /// `CALLBACK_TOKEN`: authenticates reports about this attempt.
    pub callback_token: String,
    /// `TIMEOUT_SECONDS`: the agent's time limit, in seconds.
    pub timeout_seconds: u64,
    /// `REQUESTER`: `Name <email>` of the requester, for the commit's trailer.
    pub requester: Option<String>,
    /// `COMMITTER`: `Name <email>` of the App's bot account, the author and committer of Porter's commits.
    pub committer: Option<String>,
    /// `TOKEN_URL`: the URL that issues a new installation token for this attempt.
    pub token_url: Option<String>,
    /// `BUNDLE_URL`: the URL that receives the work as a git bundle when it cannot be pushed.
    pub bundle_url: Option<String>,
    /// The agent's provider keys, by variable name.
    pub provider_keys: BTreeMap<String, String>,
}

impl Assignment {
    /// Returns the machine's environment, and the prompt if it is too long for the environment.
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
        put("AGENT_SPEC", &self.agent_spec.to_json());
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
        if let Some(committer) = &self.committer {
            put("COMMITTER", committer);
        }
        if let Some(url) = &self.token_url {
            put("TOKEN_URL", url);
        }
        if let Some(url) = &self.bundle_url {
            put("BUNDLE_URL", url);
        }
        if self.prompt.len() > MAX_PROMPT_ENV_BYTES {
            put("PROMPT_FILE", PROMPT_FILE);
            (env, Some(self.prompt.clone()))
        } else {
            put("PROMPT", &self.prompt);
            (env, None)
        }
    }

    /// Parses an assignment. `lookup` returns the value of a variable, `read` the contents of a file.
    ///
    /// # Errors
    /// All missing or malformed variables, by name.
    pub fn from_env(
        lookup: impl Fn(&str) -> Option<String>,
        read: impl Fn(&str) -> std::io::Result<String>,
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
        let agent_spec = need("AGENT_SPEC");
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
        let agent_spec: Option<Specification> = serde_json::from_str(&agent_spec)
            .map_err(|error| {
                if !agent_spec.is_empty() {
                    problems.push(format!("AGENT_SPEC cannot be read: {error}"));
                }
            })
            .ok();
        let Some(agent_spec) = agent_spec.filter(|_| problems.is_empty()) else { return Err(problems) };
        let provider_keys = agent_spec
            .env_keys()
            .filter(|name| !is_own_variable(name))
            .filter_map(|name| lookup(name).map(|value| (name.to_owned(), value)))
            .collect();
        Ok(Self {
            task_id,
            attempt,
            repo_full_name,
            repo_url,
            issue_number,
            model: lookup("MODEL").filter(|model| !model.is_empty()),
            requester: lookup("REQUESTER").filter(|requester| !requester.is_empty()),
            committer: lookup("COMMITTER").filter(|committer| !committer.is_empty()),
            token_url: lookup("TOKEN_URL").filter(|url| !url.is_empty()),
            bundle_url: lookup("BUNDLE_URL").filter(|url| !url.is_empty()),
            agent,
            agent_spec,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Registry;

    fn environment() -> BTreeMap<String, String> {
        let registry = Registry::shipped().unwrap();
        let text = |text: &str| text.to_owned();
        let assignment = Assignment {
            task_id: text("task_1"),
            attempt: 2,
            repo_full_name: text("octo/cat"),
            repo_url: text("https://github.test/octo/cat.git"),
            issue_number: 7,
            agent: text("claude-code"),
            agent_spec: registry.specification(registry.find("claude").unwrap(), None),
            model: None,
            prompt: text("Fix it."),
            branch: text("porter/task_1"),
            base_branch: text("main"),
            github_token: text("ghs_token"),
            callback_url: text("https://porter.test/complete"),
            progress_url: text("https://porter.test/progress"),
            callback_token: text("callback"),
            timeout_seconds: 600,
            requester: None,
            committer: Some(text("porter[bot] <1+porter[bot]@users.noreply.github.com>")),
            token_url: Some(text("https://porter.test/token")),
            bundle_url: Some(text("https://porter.test/bundle")),
            provider_keys: [(text("ANTHROPIC_API_KEY"), text("sk-ant"))].into(),
        };
        assignment.to_env().0
    }

    fn read(env: &BTreeMap<String, String>) -> Result<Assignment, Vec<String>> {
        Assignment::from_env(|name| env.get(name).cloned(), |_| Err(std::io::ErrorKind::NotFound.into()))
    }

    #[test]
    fn the_worker_reads_what_the_server_wrote() {
        let env = environment();
        let assignment = read(&env).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(assignment.to_env().0, env);
    }

    #[test]
    fn a_missing_agent_specification_is_reported() {
        let mut env = environment();
        env.remove("AGENT_SPEC");
        env.remove("BRANCH");
        let problems = read(&env).err().unwrap();
        assert_eq!(problems, ["AGENT_SPEC is not set", "BRANCH is not set"]);
        let mut env = environment();
        env.insert("AGENT_SPEC".to_owned(), "{}".to_owned());
        let problems = read(&env).err().unwrap();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("AGENT_SPEC cannot be read: missing field"), "{problems:?}");
    }

    #[test]
    fn no_specification_gives_the_agent_one_of_porters_own_variables() {
        let mut env = environment();
        let spec = env["AGENT_SPEC"].replace("CLAUDE_CODE_OAUTH_TOKEN", "GITHUB_TOKEN");
        env.insert("AGENT_SPEC".to_owned(), spec);
        let assignment = read(&env).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(assignment.provider_keys.into_keys().collect::<Vec<_>>(), ["ANTHROPIC_API_KEY"]);
    }

    #[test]
    fn every_variable_of_an_assignment_counts_as_porters_own() {
        for name in environment().keys().filter(|name| *name != "ANTHROPIC_API_KEY") {
            assert!(is_own_variable(name), "{name}");
        }
    }
}
