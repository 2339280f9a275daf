//! The end of every test: no job is pending, and nothing unexpected happened.

use std::collections::BTreeSet;

use domain::ids::UserId;
use domain::task::TaskId;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use porter::tasks::fleet::Place;
use secrecy::ExposeSecret;

use super::{BOT, REPO, Testkit, logs};

impl Testkit {
    /// Waits until no job is pending, then fails on calls that GitHub would reject, on comments of Porter that the
    /// test did not read, and on any secret in any output.
    pub async fn close(mut self) {
        self.drained().await;
        self.remove_machines().await;
        let violations = self.github.violations();
        assert!(violations.is_empty(), "calls that GitHub would reject: {violations:#?}");
        let unread = self.unread_comments();
        assert!(unread.is_empty(), "comments of Porter that the test did not read: {unread:#?}");
        self.keep_tokens_secret();
        self.stop_porter().await;
        self.look_for_secrets();
        self.closed = true;
    }

    async fn remove_machines(&self) {
        let context = self.porter();
        let place = context.place_of_person(UserId::new(0)).await.expect("a keyring");
        let Some(Place { runner, .. }) = place else { return };
        for machine in runner.list().await.expect("machines") {
            runner.destroy(&machine.id).await.expect("the machine goes");
        }
    }

    fn unread_comments(&self) -> Vec<String> {
        let read = self.seen().comments.clone();
        let count = self.github.read(|state| state.issue_count(REPO)) + self.pulls().len();
        let all = (1..=count as u64).flat_map(|number| self.github.comments(REPO, number));
        all.filter(|comment| comment.author == BOT && !read.contains(&comment.id))
            .map(|comment| comment.body)
            .collect()
    }

    /// Registers the tokens that were issued: the installation tokens, and the callback tokens of all tasks.
    fn keep_tokens_secret(&self) {
        for token in self.github.issued_tokens() {
            self.keep_secret("an installation token", token.text.expose_secret());
        }
        let mut named: BTreeSet<TaskId> = BTreeSet::new();
        for text in self.emitted_over_http() {
            for (place, _) in text.match_indices("task_") {
                let id: String = text[place..].chars().take("task_".len() + 32).collect();
                named.extend(TaskId::parse(&id));
            }
        }
        for id in named {
            for attempt in 1..=3 {
                self.keep_secret("a callback token", &self.token(&id, attempt));
            }
        }
    }

    fn emitted_over_http(&self) -> Vec<String> {
        let mut emitted = self.seen().answers.clone();
        emitted.extend(self.github.deliveries().iter().map(|delivery| delivery.answer.to_string()));
        for request in self.github.requests() {
            let body = request.body.map(|body| body.to_string()).unwrap_or_default();
            emitted.push(format!("{} {}?{} {body}", request.method, request.path, request.query));
        }
        emitted
    }

    /// Returns all output of Porter, each part with a name.
    fn emitted(&self) -> Vec<(String, String)> {
        let over_http = ("an answer, or a call of GitHub".to_owned(), self.emitted_over_http().join("\n"));
        let mut places = vec![over_http, ("the logs".to_owned(), logs::so_far())];
        for entry in std::fs::read_dir(self.folder.path()).expect("the folder") {
            let path = entry.expect("a file").path();
            if path.is_file() {
                let bytes = std::fs::read(&path).expect("the file");
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                places.push((name, String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
        places
    }

    /// Returns the names of the outputs that contain this text.
    pub fn places_with(&self, text: &str) -> Vec<String> {
        let emitted = self.emitted().into_iter();
        emitted.filter(|(_, place)| place.contains(text)).map(|(name, _)| name).collect()
    }

    fn look_for_secrets(&self) {
        let secrets = self.seen().secrets.clone();
        let places = self.emitted();
        assert!(secrets.len() >= 4, "expected at least four secrets to look for, seen {}", secrets.len());
        for (name, secret) in secrets {
            assert!(secret.len() >= 8, "{name} is too short to be looked for");
            for (place, text) in &places {
                assert!(!text.contains(&secret), "{name} is in {place}");
            }
        }
    }
}

impl Drop for Testkit {
    fn drop(&mut self) {
        let machines = std::fs::read_dir(self.folder.path().join("porter.db.machines"));
        for machine in machines.into_iter().flatten().flatten() {
            let pid = std::fs::read_to_string(machine.path().join("pid")).ok();
            if let Some(pid) = pid.and_then(|pid| pid.trim().parse().ok()).filter(|pid| *pid > 1) {
                killpg(Pid::from_raw(pid), Signal::SIGKILL).ok();
            }
        }
        assert!(self.closed || std::thread::panicking(), "every test must end with Testkit::close");
    }
}
