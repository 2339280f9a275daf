//! `porter doctor`: looks at the configuration and at everything it points to, and says a line each: ok, or
//! what is wrong and how to mend it. It changes nothing. Called by `main`.

mod github;
mod image;
mod machines;
mod storage;

use std::process::ExitCode;

use crate::config::{Config, Environment, RunnerKind};
use domain::clock::Clock;

/// What one look found.
pub(crate) enum Finding {
    /// As it should be.
    Ok(String),
    /// Wrong: what, and how to mend it.
    Wrong { what: String, fix: String },
}

impl Finding {
    fn ok(what: impl Into<String>) -> Self {
        Self::Ok(what.into())
    }

    fn wrong(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Wrong { what: what.into(), fix: fix.into() }
    }
}

/// Prints what is wrong; exit code 1 if anything is.
///
/// # Errors
/// Never: what goes wrong is what it is there to say.
pub async fn run() -> anyhow::Result<ExitCode> {
    let environment = Environment::process();
    let config = match Config::load(&environment) {
        Ok(config) => config,
        Err(errors) => {
            for problem in &errors.problems {
                println!("wrong  {}: {}", problem.variable, problem.message);
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut report = Report { wrong: 0 };
    report.say("configuration", vec![Finding::ok("every variable has a usable value")]);
    for warning in config.warnings() {
        println!("note   {warning}");
    }
    report.say("database", storage::check(&config).await);
    report.say("GitHub App", github::check(&config, Clock::system()).await);
    match config.runner {
        RunnerKind::Local => report.say("machines", vec![machines::local()]),
        RunnerKind::Fly => {
            report.say("Fly", machines::fly(&config).await);
            report.say("worker image", vec![image::check(&config).await]);
        }
    }
    Ok(if report.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Report {
    wrong: usize,
}

impl Report {
    fn say(&mut self, about: &str, findings: Vec<Finding>) {
        for finding in findings {
            match finding {
                Finding::Ok(what) => println!("ok     {about}: {what}"),
                Finding::Wrong { what, fix } => {
                    self.wrong += 1;
                    println!("wrong  {about}: {what}\n       {fix}");
                }
            }
        }
    }
}
