//! The worker's own settings (main-spec §7), and the decision as whom the agent runs.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Gid, Uid, User};

use domain::agent::{Agent, Program};

/// An agent with a JSON stream prints its first line within seconds.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(3 * 60);

/// Publishing takes no longer than this (main-spec §7).
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Where the worker works and as whom its agent runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `PORTER_WORKSPACE`: each attempt makes a folder of its own in it.
    pub workspace: PathBuf,
    /// Whose process the agent is.
    pub runs_as: RunsAs,
    /// What the unprivileged user cannot reach, when that is why the agent runs as the worker's own.
    pub out_of_reach: Option<OutOfReach>,
    /// The `PATH` the agent gets; the worker resolves its own programs before the agent starts.
    pub path: String,
    /// The `LANG` the agent gets.
    pub lang: String,
    /// Git, as an absolute path: what an agent puts on the `PATH` later changes nothing.
    pub git: PathBuf,
    /// `find`, as an absolute path.
    pub find: PathBuf,
    /// `cp`, as an absolute path.
    pub cp: PathBuf,
    /// How long the agent may print nothing at all from its start.
    pub silence_limit: Duration,
    /// How long collecting and pushing the work may take.
    pub publish_limit: Duration,
}

/// As whom the agent runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunsAs {
    /// As this unprivileged user; the worker is root.
    User {
        /// Its number.
        uid: Uid,
        /// Its primary group; it gets no other.
        gid: Gid,
    },
    /// As the same user as the worker: no protection against an agent that reads the worker's files or
    /// memory. For development only.
    Same,
}

/// A path that the agent's user may not pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the user `{user}` cannot reach {} (its owner or mode keeps them out)", .path.display())]
pub struct OutOfReach {
    /// The user.
    pub user: String,
    /// The first folder or file on the way that keeps them out.
    pub path: PathBuf,
}

/// Why the worker does not begin.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The worker cannot change to another user.
    #[error(
        "the worker is not root, so it cannot run the agent as an unprivileged user; run it as root, or set \
         PORTER_ALLOW_SAME_USER=true (development only: the agent could then read the worker's secrets)"
    )]
    NotRoot,
    /// There is no user to change to.
    #[error(
        "there is no user `{0}` to run the agent as; create it (`useradd --create-home {0}`), name another \
         with PORTER_AGENT_USER, or set PORTER_ALLOW_SAME_USER=true (development only)"
    )]
    NoUser(String),
    /// The user could not work there.
    #[error(
        "{0}; choose a PORTER_WORKSPACE and a PATH that this user can reach, or set PORTER_ALLOW_SAME_USER=true \
         (development only)"
    )]
    OutOfReach(OutOfReach),
    /// The user to change to would be root again.
    #[error("PORTER_AGENT_USER names `{0}`, which is root; name an unprivileged user")]
    UserIsRoot(String),
    /// A program that the worker needs is not installed.
    #[error("`{0}` is not on the PATH; install it")]
    NoProgram(&'static str),
}

impl Settings {
    /// Reads the settings; `variable` tells the value of an environment variable, `agent` is who will run.
    ///
    /// # Errors
    /// [`Refusal`] when the agent could not be kept apart from the worker, or a program is missing.
    pub fn read(variable: impl Fn(&str) -> Option<String>, agent: &Agent) -> Result<Self, Refusal> {
        let seconds = |name: &str| variable(name)?.parse().ok().map(Duration::from_secs);
        let user = variable("PORTER_AGENT_USER").unwrap_or_else(|| "agent".to_owned());
        let allowed = variable("PORTER_ALLOW_SAME_USER").is_some_and(|value| value == "true" || value == "1");
        let found = User::from_name(&user).ok().flatten().map(|user| (user.uid, user.gid));
        let path = variable("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
        let workspace: PathBuf =
            variable("PORTER_WORKSPACE").unwrap_or_else(|| "/workspace".to_owned()).into();
        let agent = match agent.program() {
            Program::Named(name) => program(name, &path),
            // The worker puts its own program into the workspace for the agent.
            Program::Porter => None,
        };
        let out_of_reach = found
            .and_then(|(uid, gid)| {
                [Some(workspace.clone()), agent]
                    .iter()
                    .flatten()
                    .find_map(|path| first_closed(path, uid, gid))
            })
            .map(|path| OutOfReach { user: user.clone(), path });
        Ok(Self {
            workspace,
            runs_as: runs_as(&user, found, out_of_reach.as_ref(), Uid::effective().is_root(), allowed)?,
            out_of_reach,
            lang: variable("LANG").unwrap_or_else(|| "C.UTF-8".to_owned()),
            git: program("git", &path).ok_or(Refusal::NoProgram("git"))?,
            find: program("find", &path).ok_or(Refusal::NoProgram("find"))?,
            cp: program("cp", &path).ok_or(Refusal::NoProgram("cp"))?,
            silence_limit: seconds("PORTER_SILENCE_TIMEOUT_SECONDS").unwrap_or(SILENCE_TIMEOUT),
            publish_limit: seconds("PORTER_PUBLISH_TIMEOUT_SECONDS").unwrap_or(PUBLISH_TIMEOUT),
            path,
        })
    }
}

fn runs_as(
    name: &str,
    found: Option<(Uid, Gid)>,
    out_of_reach: Option<&OutOfReach>,
    root: bool,
    allowed: bool,
) -> Result<RunsAs, Refusal> {
    match (root, found) {
        (true, Some((uid, _))) if uid.is_root() && !allowed => Err(Refusal::UserIsRoot(name.to_owned())),
        (true, Some((uid, gid))) if !uid.is_root() => match out_of_reach {
            None => Ok(RunsAs::User { uid, gid }),
            Some(_) if allowed => Ok(RunsAs::Same),
            Some(closed) => Err(Refusal::OutOfReach(closed.clone())),
        },
        _ if allowed => Ok(RunsAs::Same),
        (true, _) => Err(Refusal::NoUser(name.to_owned())),
        (false, _) => Err(Refusal::NotRoot),
    }
}

/// The first of `path` and the folders above it that this user may not enter or execute. What is not there yet
/// will be made by the worker, open to the user.
fn first_closed(path: &Path, uid: Uid, gid: Gid) -> Option<PathBuf> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let all = path.ancestors().chain(real.ancestors());
    let mut closed: Vec<&Path> = all.filter(|part| !may_pass(part, uid, gid)).collect();
    closed.sort_by_key(|part| part.as_os_str().len());
    closed.first().map(|part| (*part).to_owned())
}

fn may_pass(path: &Path, uid: Uid, gid: Gid) -> bool {
    let Ok(meta) = path.metadata() else { return true };
    let bit = match () {
        () if meta.uid() == uid.as_raw() => 0o100,
        () if meta.gid() == gid.as_raw() => 0o010,
        () => 0o001,
    };
    meta.mode() & bit != 0
}

/// The first executable file called `name` in the folders of `path`; relative folders are passed over.
pub fn program(name: &str, path: &str) -> Option<PathBuf> {
    path.split(':').map(Path::new).filter(|folder| folder.is_absolute()).map(|folder| folder.join(name)).find(
        |file| file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOMEONE: Option<(Uid, Gid)> = Some((Uid::from_raw(1000), Gid::from_raw(1000)));
    const ROOT: Option<(Uid, Gid)> = Some((Uid::from_raw(0), Gid::from_raw(0)));

    #[test]
    fn root_runs_the_agent_as_the_agents_user_even_when_it_need_not() {
        for allowed in [false, true] {
            let seen = runs_as("agent", SOMEONE, None, true, allowed);
            assert_eq!(seen, Ok(RunsAs::User { uid: Uid::from_raw(1000), gid: Gid::from_raw(1000) }));
        }
    }

    #[test]
    fn without_a_user_to_change_to_the_worker_refuses_unless_that_is_allowed() {
        assert_eq!(runs_as("agent", None, None, true, false), Err(Refusal::NoUser("agent".into())));
        assert_eq!(runs_as("root", ROOT, None, true, false), Err(Refusal::UserIsRoot("root".into())));
        assert_eq!(runs_as("agent", SOMEONE, None, false, false), Err(Refusal::NotRoot));
        assert_eq!(runs_as("agent", None, None, true, true), Ok(RunsAs::Same));
        assert_eq!(runs_as("root", ROOT, None, true, true), Ok(RunsAs::Same));
        assert_eq!(runs_as("agent", SOMEONE, None, false, true), Ok(RunsAs::Same));
    }

    #[test]
    fn a_user_that_cannot_reach_the_workspace_is_not_changed_to() {
        let closed = OutOfReach { user: "agent".into(), path: "/root".into() };
        let refused = runs_as("agent", SOMEONE, Some(&closed), true, false);
        assert_eq!(refused, Err(Refusal::OutOfReach(closed.clone())));
        assert_eq!(runs_as("agent", SOMEONE, Some(&closed), true, true), Ok(RunsAs::Same));
    }

    #[test]
    fn the_way_to_a_folder_is_closed_where_its_owner_closed_it() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("private/open/not-there-yet");
        std::fs::create_dir_all(below.parent().unwrap()).unwrap();
        let chmod = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let (uid, gid) = (Uid::from_raw(54_321), Gid::from_raw(54_321));
        chmod(folder.path(), 0o711);
        chmod(&folder.path().join("private"), 0o755);
        assert_eq!(first_closed(&below, uid, gid), None);
        chmod(&folder.path().join("private"), 0o750);
        assert_eq!(first_closed(&below, uid, gid), Some(folder.path().join("private")));
    }

    #[test]
    fn a_program_is_looked_for_in_absolute_folders_only() {
        assert!(program("sh", ".:relative:/usr/bin:/bin").is_some_and(|path| path.is_absolute()));
        assert_eq!(program("sh", ".:bin"), None);
        assert_eq!(program("no-such-program-anywhere", "/usr/bin:/bin"), None);
    }
}
