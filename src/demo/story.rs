//! What the demo tells: each step with its time, as it happens, then the pull request, its diff and the status
//! comment.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::stage::{PERSON, REPOSITORY, Stage};
use domain::event::TaskEvent;
use domain::task::{Phase, Status, Task, TaskId};
use standin::sample;

/// Files the issue, asks for the agent, and tells what follows until the task has ended.
///
/// # Errors
/// When the story takes another course than it should, as a sentence.
pub async fn tell(stage: &Stage, agent: &str, patience: Duration) -> anyhow::Result<Status> {
    let github = &stage.github;
    println!("Porter  {}", stage.porter_url);
    println!("GitHub  {} (a stand-in on this machine)\n", github.web_url());
    let issue = github.open_issue(REPOSITORY, PERSON, sample::ISSUE_TITLE, sample::ISSUE_BODY).await?;
    println!("         {PERSON} opens {REPOSITORY}#{issue}: {}", sample::ISSUE_TITLE);

    let ask = format!("@porter {agent} --priority=high Make ./test.sh pass.");
    let narrator = Narrator { began: Instant::now() };
    narrator.say(&format!("{PERSON} comments: {ask}"));
    let delivery = github.comment(REPOSITORY, issue, PERSON, &ask).await?;
    let id = delivery.answer["taskId"].as_str().and_then(TaskId::parse).with_context(|| {
        format!("Porter answered the webhook {:?} with {}", delivery.status, delivery.answer)
    })?;
    narrator.say(&format!("webhook answered in {} ms: {}", delivery.duration.as_millis(), delivery.answer));

    let task = tokio::time::timeout(patience, narrator.follow(stage, &id))
        .await
        .with_context(|| format!("the task did not end within {} s", patience.as_secs()))??;
    match task.status {
        Status::Success => narrator.show_work(stage, &task, issue).await?,
        _ => println!(
            "\nThe task ended as {}: {}",
            task.status.as_str(),
            task.attempt.error_message.as_deref().unwrap_or("nothing was said")
        ),
    }
    Ok(task.status)
}

/// Says where to look, for as long as the demo serves.
pub fn point_around(stage: &Stage) {
    println!("\nStill serving, until Ctrl-C. Look at");
    println!("  the issue         {}/{REPOSITORY}/issues/1", stage.github.web_url());
    println!("  the pull request  {}/{REPOSITORY}/pull/2", stage.github.web_url());
    println!("  Porter's health   {}/api/startup/check", stage.porter_url);
}

struct Narrator {
    began: Instant,
}

impl Narrator {
    fn say(&self, what: &str) {
        println!("{:6.2} s  {what}", self.began.elapsed().as_secs_f64());
    }

    /// Tells what happens to the task, until it has ended and its issue says so.
    async fn follow(&self, stage: &Stage, id: &TaskId) -> anyhow::Result<Task> {
        let porter = &stage.porter;
        let mut changes = porter.store().follow();
        let (mut told, mut phase) = (0, None);
        loop {
            let mut connection = porter.store().read().await?;
            let task = db::tasks::find(&mut connection, id).await?.context("the task is there")?;
            for event in db::events::list_after(&mut connection, id, told, 1000).await? {
                told = event.seq;
                match &event.event {
                    TaskEvent::Output { text } => self.say(&format!("  {} | {text}", task.agent)),
                    TaskEvent::Status { status, .. } => self.say(&format!("task {}", status.as_str())),
                    _ => {}
                }
            }
            drop(connection);
            if task.phase != phase {
                phase = task.phase;
                self.say_phase(&task);
            }
            if task.status.is_terminal() && told_on_issue(stage, &task) {
                return Ok(task);
            }
            // Every change notifies; the pause is for what is only seen on GitHub's side.
            let _ = tokio::time::timeout(Duration::from_millis(50), changes.recv()).await;
        }
    }

    fn say_phase(&self, task: &Task) {
        match task.phase {
            Some(Phase::Launching) => self.say("checking permission, keys and branch; starting a machine"),
            Some(Phase::Working) => {
                let machine = task.attempt.machine_id.as_deref().unwrap_or("?");
                self.say(&format!("machine {machine} runs `porter worker`"));
            }
            Some(Phase::Publishing) => {
                let branch = task.attempt.branch.as_deref().unwrap_or("?");
                self.say(&format!("branch {branch} is pushed; opening the pull request"));
            }
            None => {}
        }
    }

    async fn show_work(&self, stage: &Stage, task: &Task, issue: u64) -> anyhow::Result<()> {
        let url = task.pr_url.as_deref().context("a successful task has a pull request")?;
        let number = task.pr_number.and_then(|number| u64::try_from(number).ok()).context("its number")?;
        let took = task.attempt.completed_at.context("it has ended")? - task.created_at;
        let seconds = took.as_seconds_f64();
        println!("\nFrom the comment to the open pull request in {seconds:.2} s:\n  {url}\n");
        println!("{}", stage.github.diff(REPOSITORY, number).await?);
        for comment in stage.github.comments(REPOSITORY, issue).iter().filter(|c| c.author != PERSON) {
            println!("The status comment on the issue:\n");
            for line in comment.body.lines() {
                println!("  {line}");
            }
        }
        println!("\nLabels: {}", stage.github.labels(REPOSITORY, issue).join(", "));
        Ok(())
    }
}

/// Whether the issue shows how the task ended: its status comment and its label.
fn told_on_issue(stage: &Stage, task: &Task) -> bool {
    let Ok(number) = u64::try_from(task.issue.number) else { return true };
    let label = format!("porter:{}", task.status.as_str());
    stage.github.labels(REPOSITORY, number).contains(&label)
}
