//! `porter doctor`: checks the configuration and every service that it refers to, and prints a line for each:
//! ok, or the problem and its solution. It changes nothing. Called by `main`.

mod github;
mod image;
mod machines;
mod storage;

use std::process::ExitCode;

use crate::config::{Config, Environment, RunnerKind};
use domain::clock::Clock;

/// The result of one check.
pub(crate) enum Finding {
    /// No problem.
    Ok(String),
    /// A problem and its solution.
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

/// Prints the results of all checks. The exit code is 1 if there is a problem; there are no errors.
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
    report.print("configuration", vec![Finding::ok("all variables are valid")]);
    for warning in config.warnings() {
        println!("note   {warning}");
    }
    report.print("database", storage::check(&config).await);
    report.print("GitHub App", github::check(&config, Clock::system()).await);
    match config.runner {
        RunnerKind::Local => report.print("machines", vec![machines::local()]),
        RunnerKind::Fly => {
            report.print("Fly", machines::fly(&config).await);
            report.print("worker image", vec![image::check(&config).await]);
        }
    }
    Ok(if report.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Report {
    wrong: usize,
}

impl Report {
    fn print(&mut self, about: &str, findings: Vec<Finding>) {
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
