//! The steps of the demo. Prints each step with its time, then the pull request, its diff and the status
//! comment.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::environment::{Environment, PERSON, REPOSITORY};
use domain::event::TaskEvent;
use domain::task::{Phase, Status, Task, TaskId};
use standin::sample;

/// Opens the issue, asks for the agent and prints the progress until the task has ended. Returns its status;
/// fails if the task is not accepted or does not end within `timeout`.
pub async fn run(demo: &Environment, agent: &str, timeout: Duration) -> anyhow::Result<Status> {
    let github = &demo.github;
    println!("Porter  {}", demo.porter_url);
    println!("GitHub  {} (a stand-in on this machine)\n", github.web_url());
    let issue = github.open_issue(REPOSITORY, PERSON, sample::ISSUE_TITLE, sample::ISSUE_BODY).await?;
    println!("         {PERSON} opens {REPOSITORY}#{issue}: {}", sample::ISSUE_TITLE);

    let ask = format!("@porter {agent} --priority=high Make ./test.sh pass.");
    let printer = Printer { began: Instant::now() };
    printer.print(&format!("{PERSON} comments: {ask}"));
    let delivery = github.comment(REPOSITORY, issue, PERSON, &ask).await?;
    let id = delivery.answer["taskId"].as_str().and_then(TaskId::parse).with_context(|| {
        format!("Porter answered the webhook {:?} with {}", delivery.status, delivery.answer)
    })?;
    printer.print(&format!("webhook answered in {} ms: {}", delivery.duration.as_millis(), delivery.answer));

    let task = tokio::time::timeout(timeout, printer.follow(demo, &id))
        .await
        .with_context(|| format!("the task did not end within {} s", timeout.as_secs()))??;
    match task.status {
        Status::Success => printer.print_result(demo, &task, issue).await?,
        _ => println!(
            "\nThe task ended as {}: {}",
            task.status.as_str(),
            task.attempt.error_message.as_deref().unwrap_or("no reason was recorded")
        ),
    }
    Ok(task.status)
}

/// Prints the URLs that the demo serves until it is stopped.
pub fn print_urls(demo: &Environment) {
    println!("\nThe servers run until Ctrl-C:");
    println!("  the issue         {}/{REPOSITORY}/issues/1", demo.github.web_url());
    println!("  the pull request  {}/{REPOSITORY}/pull/2", demo.github.web_url());
    println!("  Porter's health   {}/api/startup/check", demo.porter_url);
}

struct Printer {
    began: Instant,
}

impl Printer {
    fn print(&self, what: &str) {
        println!("{:6.2} s  {what}", self.began.elapsed().as_secs_f64());
    }

    /// Prints the events of the task until it has ended and its issue shows the end.
    async fn follow(&self, demo: &Environment, id: &TaskId) -> anyhow::Result<Task> {
        let porter = &demo.porter;
        let mut changes = porter.store().follow();
        let (mut last_event, mut phase) = (0, None);
        loop {
            let mut connection = porter.store().read().await?;
            let task = db::tasks::find(&mut connection, id).await?.context("the task was deleted")?;
            for event in db::events::list_after(&mut connection, id, last_event, 1000).await? {
                last_event = event.seq;
                match &event.event {
                    TaskEvent::Output { text } => self.print(&format!("  {} | {text}", task.agent)),
                    TaskEvent::Status { status, .. } => self.print(&format!("task {}", status.as_str())),
                    _ => {}
                }
            }
            drop(connection);
            if task.phase != phase {
                phase = task.phase;
                self.print_phase(&task);
            }
            if task.status.is_terminal() && issue_shows_end(demo, &task) {
                return Ok(task);
            }
            // Every change of the database notifies. The timeout is for changes on the stand-in, which do
            // not.
            let _ = tokio::time::timeout(Duration::from_millis(50), changes.recv()).await;
        }
    }

    fn print_phase(&self, task: &Task) {
        match task.phase {
            Some(Phase::Launching) => self.print("checking permission, keys and branch; starting a machine"),
            Some(Phase::Working) => {
                let machine = task.attempt.machine_id.as_deref().unwrap_or("?");
                self.print(&format!("machine {machine} runs `porter worker`"));
            }
            Some(Phase::Publishing) => {
                let branch = task.attempt.branch.as_deref().unwrap_or("?");
                self.print(&format!("branch {branch} is pushed; opening the pull request"));
            }
            None => {}
        }
    }

    async fn print_result(&self, demo: &Environment, task: &Task, issue: u64) -> anyhow::Result<()> {
        let url = task.pr_url.as_deref().context("the task has no pull request")?;
        let number = task
            .pr_number
            .and_then(|number| u64::try_from(number.get()).ok())
            .context("the task has no pull request number")?;
        let took = task.attempt.completed_at.context("the task has no end time")? - task.created_at;
        let seconds = took.as_seconds_f64();
        println!("\nFrom the comment to the open pull request in {seconds:.2} s:\n  {url}\n");
        println!("{}", demo.github.diff(REPOSITORY, number).await?);
        for comment in demo.github.comments(REPOSITORY, issue).iter().filter(|c| c.author != PERSON) {
            println!("The status comment on the issue:\n");
            for line in comment.body.lines() {
                println!("  {line}");
            }
        }
        println!("\nLabels: {}", demo.github.labels(REPOSITORY, issue).join(", "));
        Ok(())
    }
}

/// Whether the issue has the label of the task's status.
fn issue_shows_end(demo: &Environment, task: &Task) -> bool {
    let Ok(number) = u64::try_from(task.issue.number.get()) else { return true };
    let label = format!("porter:{}", task.status.as_str());
    demo.github.labels(REPOSITORY, number).contains(&label)
}
