//! Whose name commits bear: the App's bot account when the server names it (main-spec §6), else the agent's.

use domain::agent::Agent;
use domain::assignment::Assignment;

use super::git::Git;

/// Author and committer of what Porter commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    author: Person,
    committer: Person,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Person {
    name: String,
    email: String,
}

impl Identity {
    /// The identity for this attempt.
    pub fn of(assignment: &Assignment, agent: &Agent) -> Self {
        if let Some(bot) = assignment.committer.as_deref().and_then(person) {
            return Self { author: bot.clone(), committer: bot };
        }
        // `.invalid` belongs to nobody (RFC 2606), so no account on GitHub gets the commits attributed.
        let author = Person { name: agent.name.clone(), email: format!("{}@porter.invalid", agent.id) };
        let committer = Person { name: "Porter".to_owned(), email: "porter@porter.invalid".to_owned() };
        Self { author, committer }
    }

    /// Git with this identity in its environment.
    pub fn applied_to(&self, git: Git) -> Git {
        git.with_variable("GIT_AUTHOR_NAME", &self.author.name)
            .with_variable("GIT_AUTHOR_EMAIL", &self.author.email)
            .with_variable("GIT_COMMITTER_NAME", &self.committer.name)
            .with_variable("GIT_COMMITTER_EMAIL", &self.committer.email)
    }

    /// The configuration of the agent's own git.
    pub fn configuration(&self) -> String {
        let Person { name, email } = &self.author;
        format!("[user]\n\tname = \"{}\"\n\temail = \"{}\"\n", escaped(name), escaped(email))
    }
}

/// Reads `Name <email>`.
fn person(text: &str) -> Option<Person> {
    let (name, rest) = text.trim().split_once('<')?;
    let (name, email) = (name.trim(), rest.strip_suffix('>')?.trim());
    let plain = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_control() || "<>".contains(c));
    (plain(name) && plain(email)).then(|| Person { name: name.to_owned(), email: email.to_owned() })
}

/// A value between quotation marks in git's configuration.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bot_account_is_read_with_its_brackets_and_digits() {
        let seen = person("porter-x[bot] <42+porter-x[bot]@users.noreply.github.com>").unwrap();
        assert_eq!(
            (seen.name.as_str(), seen.email.as_str()),
            ("porter-x[bot]", "42+porter-x[bot]@users.noreply.github.com")
        );
        for text in ["", "name", "name <>", "<a@b>", "a <b> <c>", "a\nb <c>"] {
            assert_eq!(person(text), None, "{text:?}");
        }
    }
}
