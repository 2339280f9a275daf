//! Runs workers as child processes on this computer, for development and the demo.
//!
//! A machine is a folder `<state>/<name>/`. It outlives the server, even after `kill -9`:
//!
//! | file | content |
//! |---|---|
//! | `machine.json` | the task and the attempt; present from the start, because the folder is created by a rename |
//! | `alive.lock` | a lock (`flock`) that the worker holds through its standard input: a machine is alive exactly while the lock is held, which does not depend on clean exits or process ids |
//! | `pid` | the worker's process id, which the new process writes just before it becomes the worker; without it, the worker was never started |
//! | `worker.log` | the worker's output |
//! | `files/`, `home/`, `workspace/` | the prompt, the worker's home directory and its checkout |
//!
//! Every operation holds the lock of the whole state folder, so operations never overlap, within one process or
//! across several. The environment, which contains the secrets, is passed to the process and never written to disk.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::name::machine_name;
use super::{Error, Holdings, LaunchSpec, Machine, MachineProvider, MachineState, Runner, Scope, processes};
use domain::task::TaskId;

/// Writes its process id and then becomes the worker (`$2`). The shell's own variables are not passed on.
const START: &str = r#"set -e; echo $$ > "$1"; unset PWD OLDPWD SHLVL; exec "$2" worker"#;
/// The interval between checks for the effect of a signal or a start.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
const MAX_LOOKS: u32 = 500;

/// Runs workers as child processes, each in its own process group.
#[derive(Clone)]
pub struct LocalRunner {
    root: PathBuf,
    program: PathBuf,
    search_path: String,
}

/// The content of `machine.json`, which includes no secret.
#[derive(Serialize, Deserialize)]
struct Label {
    task: TaskId,
    attempt: u32,
}

impl LocalRunner {
    /// Returns a runner that stores machines as folders of `root`, which is created if missing. Each machine runs
    /// `program worker` with `search_path` as its `PATH`.
    ///
    /// # Errors
    /// An error when `root` cannot be created or a path cannot be made absolute.
    pub fn new(root: &Path, program: &Path, search_path: &str) -> io::Result<Self> {
        make_private(root)?;
        Ok(Self {
            root: root.canonicalize()?,
            program: std::path::absolute(program)?,
            search_path: search_path.to_owned(),
        })
    }

    /// Runs `verb` on a blocking thread while holding the lock of the state folder.
    fn alone<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Error>> {
        let runner = self.clone();
        let work = move || {
            let door = open_lock(&runner.root.join(".lock"))?;
            door.lock()?;
            verb(&runner)
        };
        Box::pin(async move {
            let result = tokio::task::spawn_blocking(work).await;
            result.map_err(io::Error::other).flatten().map_err(unavailable)
        })
    }

    fn launch_now(&self, spec: LaunchSpec) -> io::Result<Machine> {
        let id = machine_name(&spec.task, spec.attempt);
        let folder = self.root.join(&id);
        if !folder.exists() {
            self.make(&folder, &Label { task: spec.task.clone(), attempt: spec.attempt })?;
        }
        let machine = |state| Machine { id, task: spec.task.clone(), attempt: spec.attempt, state };
        for _ in 0..MAX_LOOKS {
            let (lock, begun) = (free_lock(&folder)?, noted_pid(&folder)?.is_some());
            match lock {
                Some(lock) if begun => {
                    lock.unlock()?;
                    return Ok(machine(MachineState::Gone));
                }
                Some(lock) => {
                    self.start(&folder, lock, &spec)?;
                    return Ok(machine(MachineState::Running));
                }
                None if begun => return Ok(machine(MachineState::Running)),
                // A server that was killed a moment ago started it; it will write its process id or exit.
                None => thread::sleep(LOOK_INTERVAL),
            }
        }
        Err(io::Error::other("a process holds the machine's lock without being its worker"))
    }

    /// Creates a machine's folder atomically.
    fn make(&self, folder: &Path, label: &Label) -> io::Result<()> {
        let new = self.root.join(".new");
        remove(&new)?;
        for part in ["", "files", "home", "workspace"] {
            make_private(&new.join(part))?;
        }
        fs::write(new.join("machine.json"), serde_json::to_vec(label)?)?;
        File::create(new.join("alive.lock"))?;
        fs::rename(new, folder)
    }

    fn start(&self, folder: &Path, lock: File, spec: &LaunchSpec) -> io::Result<()> {
        let mut env = spec.env.clone();
        for (number, (guest_path, content)) in spec.files.iter().enumerate() {
            let file = folder.join("files").join(number.to_string());
            fs::write(&file, content)?;
            // The worker receives the file's actual path.
            for value in env.values_mut().filter(|value| *value == guest_path) {
                *value = file.display().to_string();
            }
        }
        let log = OpenOptions::new().create(true).append(true).open(folder.join("worker.log"))?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", START, "porter"])
            .arg(folder.join("pid"))
            .arg(&self.program)
            .current_dir(folder)
            .env_clear()
            .env("PATH", &self.search_path)
            .env("HOME", folder.join("home"))
            .env("LANG", "C.UTF-8")
            .envs(env)
            .env("PORTER_ALLOW_SAME_USER", "true")
            .env("PORTER_WORKSPACE", folder.join("workspace"))
            .stdin(Stdio::from(lock))
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let mut child = command.spawn()?;
        // The command holds a copy of the lock, which would make the machine appear alive.
        drop(command);
        // Only to reap the process; the lock determines whether the machine is alive.
        tokio::spawn(async move { child.wait().await });
        Ok(())
    }

    fn look(&self, id: &str) -> io::Result<Option<Machine>> {
        let Some(folder) = self.folder(id) else { return Ok(None) };
        let label: Label = match fs::read(folder.join("machine.json")) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // A folder whose worker was never started also counts as gone; only a launch can change that.
        let state = if is_alive(&folder)? { MachineState::Running } else { MachineState::Gone };
        Ok(Some(Machine { id: id.to_owned(), task: label.task, attempt: label.attempt, state }))
    }

    fn list_now(&self) -> io::Result<Vec<Machine>> {
        let mut machines = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            if let Some(id) = entry?.file_name().to_str()
                && let Some(machine) = self.look(id)?
            {
                machines.push(machine);
            }
        }
        Ok(machines)
    }

    fn stop_now(&self, id: &str) -> io::Result<()> {
        let Some(folder) = self.folder(id) else { return Ok(()) };
        for _ in 0..MAX_LOOKS {
            if !folder.exists() || !is_alive(&folder)? {
                return Ok(());
            }
            // Without a process id, the new process is about to write it.
            if let Some(pid) = noted_pid(&folder)? {
                if holds_lock(pid, &folder)? {
                    processes::terminate(pid);
                }
                return Ok(());
            }
            thread::sleep(LOOK_INTERVAL);
        }
        Err(io::Error::other("its process cannot be found"))
    }

    fn destroy_now(&self, id: &str) -> io::Result<()> {
        let Some(folder) = self.folder(id).filter(|folder| folder.exists()) else { return Ok(()) };
        for _ in 0..MAX_LOOKS {
            let alive = is_alive(&folder)?;
            let pid = match noted_pid(&folder)? {
                Some(pid) if alive && holds_lock(pid, &folder)? => Some(pid),
                _ => None,
            };
            if processes::end_all(pid, &folder) == 0 && !alive {
                // Renamed first, so that a partly removed folder does not look like one whose worker was never
                // started.
                let gone = self.root.join(".gone");
                remove(&gone)?;
                fs::rename(folder, &gone)?;
                return remove(&gone);
            }
            thread::sleep(LOOK_INTERVAL);
        }
        Err(io::Error::other("its processes do not end"))
    }

    /// Returns the folder of a machine with this id, or `None` when the id is invalid.
    fn folder(&self, id: &str) -> Option<PathBuf> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (!id.is_empty() && id.chars().all(plain)).then(|| self.root.join(id))
    }
}

impl Runner for LocalRunner {
    fn launch(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Machine, Error>> {
        self.alone(|runner| runner.launch_now(spec))
    }

    fn find<'a>(&'a self, task: &'a TaskId, attempt: u32) -> BoxFuture<'a, Result<Option<Machine>, Error>> {
        let id = machine_name(task, attempt);
        self.alone(move |runner| runner.look(&id))
    }

    fn find_by_id<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Machine>, Error>> {
        let id = id.to_owned();
        self.alone(move |runner| runner.look(&id))
    }

    fn stop<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        let id = id.to_owned();
        self.alone(move |runner| runner.stop_now(&id))
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        let id = id.to_owned();
        self.alone(move |runner| runner.destroy_now(&id))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Machine>, Error>> {
        self.alone(LocalRunner::list_now)
    }
}

impl MachineProvider for LocalRunner {
    fn kind(&self) -> &'static str {
        "local"
    }

    fn missing(&self, _: &Holdings<'_>) -> Vec<String> {
        Vec::new()
    }

    /// Every person's machines run on this computer.
    fn scope(&self, _: &Holdings<'_>, _: Option<&str>) -> Result<Scope, Error> {
        Ok(Scope { runner: Arc::new(self.clone()), place: None, credential: None })
    }
}

/// Takes the machine's lock, or returns `None` while its worker holds it.
fn free_lock(folder: &Path) -> io::Result<Option<File>> {
    let lock = open_lock(&folder.join("alive.lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Returns whether the machine's worker holds its lock.
fn is_alive(folder: &Path) -> io::Result<bool> {
    match free_lock(folder)? {
        // Closing is not enough: a process that the server is starting may briefly have a copy.
        Some(lock) => lock.unlock().map(|()| false),
        None => Ok(true),
    }
}

/// Returns the process id that the machine's process wrote, if any.
fn noted_pid(folder: &Path) -> io::Result<Option<i32>> {
    match fs::read_to_string(folder.join("pid")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => Ok(text?.trim().parse().ok().filter(|pid| *pid > 1)),
    }
}

/// Returns whether that process is still the worker; its id may have been reused.
fn holds_lock(pid: i32, folder: &Path) -> io::Result<bool> {
    Ok(processes::reads_from(pid, &File::open(folder.join("alive.lock"))?))
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}

fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn unavailable(error: io::Error) -> Error {
    Error::Unavailable {
        message: "The local machine could not be started, found or ended.".to_owned(),
        source: Some(error.into()),
    }
}
