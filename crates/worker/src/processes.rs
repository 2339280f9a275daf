//! Ends what the agent started. Its own process group is easy; a process that left the group is found
//! because the worker is the subreaper of every process below it, so none can leave the tree.

use std::collections::HashMap;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid};

/// Makes this process the subreaper of its descendants, and closes its memory and environment
/// (`/proc/<pid>/mem`, `environ`) to other processes of the same user, unless that is root.
pub fn guard_this_process() {
    #[cfg(target_os = "linux")]
    for (what, done) in [
        ("become a subreaper", nix::sys::prctl::set_child_subreaper(true)),
        ("close its memory to others", nix::sys::prctl::set_dumpable(false)),
    ] {
        if let Err(error) = done {
            tracing::warn!(%error, "the worker could not {what}");
        }
    }
}

/// Sends `signal` to a whole process group; one that is gone already is no error.
pub fn signal_group(leader: Pid, signal: Signal) {
    killpg(leader, signal).ok();
}

/// Ends every descendant of this process, at once and for good. Call it only when none is the worker's own.
/// Returns false when some are still there after five seconds.
pub async fn end_descendants() -> bool {
    for round in 0..500 {
        let found = descendants();
        if found.iter().all(|process| process.dead) {
            reap(&found);
            return true;
        }
        // Stopped first, a process cannot start others faster than they are found.
        let signals: &[Signal] = if round % 2 == 0 { &[Signal::SIGSTOP] } else { &[Signal::SIGKILL] };
        for process in found.iter().filter(|process| !process.dead) {
            for signal in signals {
                kill(process.pid, *signal).ok();
            }
        }
        reap(&found);
        if round % 2 == 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    false
}

struct Process {
    pid: Pid,
    parent: Pid,
    dead: bool,
}

/// Every process below this one, from `/proc`; empty where there is no `/proc`.
fn descendants() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let all: Vec<Process> = entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            parse_stat(pid, &std::fs::read_to_string(entry.path().join("stat")).ok()?)
        })
        .collect();
    let parents: HashMap<Pid, Pid> = all.iter().map(|process| (process.pid, process.parent)).collect();
    let me = getpid();
    let below_me = |process: &Process| {
        let mut parent = Some(&process.parent);
        // A pid used anew while the list was read could close a circle.
        for _ in 0..parents.len() {
            match parent {
                Some(pid) if *pid == me => return true,
                Some(pid) => parent = parents.get(pid),
                None => return false,
            }
        }
        false
    };
    all.into_iter().filter(below_me).collect()
}

/// `pid (name) state parent …`, where the name may hold anything, parentheses too.
fn parse_stat(pid: i32, stat: &str) -> Option<Process> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let dead = matches!(fields.next()?, "Z" | "X");
    let parent = Pid::from_raw(fields.next()?.parse().ok()?);
    Some(Process { pid: Pid::from_raw(pid), parent, dead })
}

/// Reaps adopted children that have ended.
fn reap(found: &[Process]) {
    for process in found.iter().filter(|process| process.dead && process.parent == getpid()) {
        waitpid(process.pid, Some(WaitPidFlag::WNOHANG)).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_hides_nothing() {
        let seen = parse_stat(7, "7 (a) R 1 (b) S 42 7 7 0 -1 4194560").unwrap();
        assert_eq!((seen.parent, seen.dead), (Pid::from_raw(42), false));
        assert!(parse_stat(7, "7 (sh) Z 42 7 7").unwrap().dead);
        assert!(parse_stat(7, "nonsense").is_none());
    }

    #[test]
    fn a_child_is_found_below_this_process() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let seen = descendants().iter().any(|process| process.pid == pid);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen);
    }
}
