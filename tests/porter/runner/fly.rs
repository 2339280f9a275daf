//! Tests of the Fly runner with Fly's model: the requests, and that failures never create a second machine.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::agent::Registry;
use domain::assignment::{Assignment, MAX_PROMPT_ENV_BYTES, PROMPT_FILE};
use domain::settings::Settings;
use fly::{Api, Timeouts};
use futures_util::future::join_all;
use porter::runner::fly::{FlyMachines, FlyRunner};
use porter::runner::{Error, Holdings, LaunchSpec, Machine, MachineProvider, MachineState, Runner};
use secrecy::SecretString;
use serde_json::json;

use super::conformance::Place;
use super::{spec, task};
use crate::fake_fly::{Call, FakeFly, Fault, Happening};

pub const APP: &str = "porter-workers";
pub const TOKEN: &str = "fm2_lJPECAAAAAAAsecret";

/// A Fly model with one app.
pub struct AtFly {
    pub fly: FakeFly,
}

impl AtFly {
    pub async fn new() -> Self {
        let fly = FakeFly::start().await;
        fly.add_app(APP, "personal", TOKEN);
        Self { fly }
    }

    fn runner_with(&self, token: &str, app: &str) -> FlyRunner {
        let client = Api::new(self.fly.url()).and_then(|api| api.client(&SecretString::from(token)));
        FlyRunner::new(client.expect("a client"), app).pausing(Duration::ZERO)
    }

    pub async fn launch(&self, spec: LaunchSpec) -> Result<Machine, Error> {
        self.runner_with(TOKEN, APP).launch(spec).await
    }
}

impl Place for AtFly {
    fn runner(&self) -> Arc<dyn Runner> {
        Arc::new(self.runner_with(TOKEN, APP))
    }

    fn fitted(&self, spec: LaunchSpec) -> LaunchSpec {
        spec
    }

    fn begun(&self) -> usize {
        self.fly.machines().len()
    }
}

impl Drop for AtFly {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.fly.violations(), [""; 0], "requests that violate Fly's description");
        }
    }
}

fn assignment(prompt: String) -> Assignment {
    let agents = Registry::shipped().expect("the registry");
    let opencode = agents.find("opencode").expect("an agent");
    Assignment {
        task_id: "task_a".to_owned(),
        attempt: 2,
        repo_full_name: "octo/cat".to_owned(),
        repo_url: "https://github.com/octo/cat.git".to_owned(),
        issue_number: 7,
        agent: "opencode".to_owned(),
        agent_spec: agents.specification(opencode, None),
        model: None,
        prompt,
        branch: "porter/task_a".to_owned(),
        base_branch: "main".to_owned(),
        github_token: "ghs_token".to_owned(),
        callback_url: "https://porter.test/api/callbacks/complete".to_owned(),
        progress_url: "https://porter.test/api/callbacks/progress".to_owned(),
        callback_token: "callback".to_owned(),
        timeout_seconds: 600,
        requester: None,
        committer: None,
        token_url: None,
        bundle_url: None,
        provider_keys: [("ANTHROPIC_API_KEY".to_owned(), "sk-ant".to_owned())].into(),
    }
}

#[tokio::test]
async fn the_machine_is_requested_as_specified() {
    let place = AtFly::new().await;
    let assignment = assignment("Fix it.".to_owned());
    let spec = LaunchSpec::new(task("a"), &assignment, "registry.fly.io/w:1", 4, 4096);
    place.launch(spec.in_region(Some("ams".to_owned()))).await.expect("a machine");

    let requests = place.fly.requests();
    let create = requests.iter().find(|request| request.method == "POST").expect("a creation");
    assert_eq!(create.path, "/v1/apps/porter-workers/machines");
    assert_eq!(create.authorization.as_deref(), Some("FlyV1 fm2_lJPECAAAAAAAsecret"));
    assert_eq!(
        create.body,
        json!({
            "name": "porter-a-2",
            "region": "ams",
            "config": {
                "image": "registry.fly.io/w:1",
                "auto_destroy": true,
                "restart": {"policy": "no"},
                "guest": {"cpu_kind": "shared", "cpus": 4, "memory_mb": 4096},
                "metadata": {"porter_task": "task_a", "porter_attempt": "2"},
                "env": assignment.to_env().0,
                "stop_config": {"signal": "SIGTERM", "timeout": "120s"},
            }
        })
    );
}

#[tokio::test]
async fn without_a_region_fly_chooses_one() {
    let place = AtFly::new().await;
    place.launch(spec("a", 1)).await.expect("a machine");
    let requests = place.fly.requests();
    let create = requests.iter().find(|request| request.method == "POST").expect("a creation");
    assert_eq!(create.body.get("region"), None);
}

#[tokio::test]
async fn a_long_prompt_is_passed_as_a_file() {
    let place = AtFly::new().await;
    let prompt = "é".repeat(MAX_PROMPT_ENV_BYTES);
    let spec = LaunchSpec::new(task("a"), &assignment(prompt.clone()), "image", 1, 256);
    place.launch(spec).await.expect("a machine");
    let machine = place.fly.machines().remove(0);
    assert_eq!(machine.env().get("PROMPT_FILE").map(String::as_str), Some(PROMPT_FILE));
    assert_eq!(machine.env().get("PROMPT"), None);
    assert_eq!(machine.files().get(PROMPT_FILE), Some(&prompt));
}

#[tokio::test]
async fn a_token_that_is_not_a_macaroon_is_sent_as_bearer() {
    let place = AtFly::new().await;
    place.fly.add_app("other", "personal", "fo1_token");
    place.runner_with("fo1_token", "other").launch(spec("a", 1)).await.expect("a machine");
    assert_eq!(place.fly.requests()[0].authorization.as_deref(), Some("Bearer fo1_token"));
}

/// The failures that leave the result of a creation unknown.
fn doubts() -> Vec<Fault> {
    let mut doubts = vec![Fault::Cut, Fault::CutAfterEffect];
    for status in [408, 500, 502, 503, 504] {
        doubts.extend([Fault::Status(status), Fault::StatusAfterEffect(status)]);
    }
    doubts
}

#[tokio::test]
async fn a_creation_with_unknown_result_makes_one_machine() {
    for fault in doubts() {
        let place = AtFly::new().await;
        place.fly.next(1, Call::Create, fault.clone());
        let machine = place.launch(spec("a", 1)).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        let machines = place.fly.machines();
        assert_eq!(machines.len(), 1, "{fault:?} left {machines:?}");
        assert_eq!(machine.id, machines[0].id, "{fault:?}");
    }
}

#[tokio::test]
async fn a_machine_from_a_creation_with_unknown_result_is_adopted() {
    let place = AtFly::new().await;
    place.fly.next(1, Call::Create, Fault::StatusAfterEffect(408));
    place.launch(spec("a", 1)).await.expect("a machine");
    assert_eq!(place.fly.count(Call::Create), 1);
}

#[tokio::test]
async fn unknown_results_make_one_machine_even_if_names_are_not_unique() {
    for fault in doubts() {
        let place = AtFly::new().await;
        place.fly.allow_equal_names();
        place.fly.next(1, Call::Create, fault.clone());
        place.launch(spec("a", 1)).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        place.launch(spec("a", 1)).await.expect("a machine");
        assert_eq!(place.fly.machines().len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_persistent_failure_is_left_to_the_next_launch() {
    for fault in doubts() {
        let place = AtFly::new().await;
        place.fly.next(2, Call::Create, fault.clone());
        let first = place.launch(spec("a", 1)).await;
        assert!(matches!(first, Ok(_) | Err(Error::Unavailable { .. })), "{fault:?} returned {first:?}");
        place.launch(spec("a", 1)).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(place.fly.machines().len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_machine_is_adopted_when_it_appears_in_the_list_late() {
    let place = AtFly::new().await;
    place.fly.lag(3);
    place.fly.next(1, Call::Create, Fault::StatusAfterEffect(408));
    let first = place.launch(spec("a", 1)).await;
    assert!(matches!(first, Err(Error::Unavailable { .. })), "{first:?}");
    let machine = place.launch(spec("a", 1)).await.expect("the machine");
    assert_eq!((machine.id, place.fly.machines().len()), (place.fly.machines()[0].id.clone(), 1));
}

#[tokio::test]
async fn random_failures_never_create_a_second_machine() {
    let mut faults = doubts();
    faults.extend([Fault::RateLimited(1), Fault::NoCapacity(503), Fault::NoCapacity(422)]);
    let place = AtFly::new().await;
    for seed in 0..60 {
        place.fly.chaos_run(seed, 60, &faults);
        let name = format!("storm-{seed}");
        for tries in 1.. {
            assert!(tries < 200, "no machine was created with seed {seed}");
            // Two launches at a time, as when two servers run at once.
            let results = join_all([place.launch(spec(&name, 1)), place.launch(spec(&name, 1))]).await;
            for error in results.iter().filter_map(|result| result.as_ref().err()) {
                assert!(error.is_temporary(), "seed {seed}: {error:?}");
            }
            if results.iter().any(Result::is_ok) {
                break;
            }
        }
        let machines = place.fly.machines();
        let made = machines
            .iter()
            .filter(|machine| machine.config["metadata"]["porter_task"] == task(&name).as_str());
        assert_eq!(made.count(), 1, "seed {seed}");
    }
}

#[tokio::test]
async fn a_rate_limit_returns_its_delay_without_another_request() {
    let place = AtFly::new().await;
    place.fly.next(1, Call::Create, Fault::RateLimited(7));
    let answer = place.launch(spec("a", 1)).await;
    let Err(Error::RateLimited { after, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!((after, place.fly.count(Call::Create)), (Duration::from_secs(7), 1));

    let runner = place.runner();
    for call in [Call::List, Call::Show, Call::Stop, Call::Destroy] {
        place.fly.next(1, call, Fault::RateLimited(3));
        let answer = match call {
            Call::List => runner.list().await.map(drop),
            Call::Show => runner.find_by_id("1").await.map(drop),
            Call::Stop => runner.stop("1").await,
            _ => runner.destroy("1").await,
        };
        let Err(Error::RateLimited { after, .. }) = answer else { panic!("{call:?}: {answer:?}") };
        assert_eq!(after, Duration::from_secs(3), "{call:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_taken_by_the_same_attempt_is_adopted() {
    let place = AtFly::new().await;
    // The list after the lost response does not contain the machine yet, so the second creation conflicts with
    // its name.
    place.fly.lag(1);
    place.fly.next(1, Call::Create, Fault::CutAfterEffect);
    let machine = place.launch(spec("a", 1)).await.expect("the machine");
    assert_eq!(place.fly.count(Call::Create), 2);
    let machines = place.fly.machines();
    assert_eq!((machine.id.as_str(), machines.len()), (machines[0].id.as_str(), 1));
}

#[tokio::test]
async fn a_name_conflict_with_a_foreign_machine_is_reported() {
    let place = AtFly::new().await;
    place.fly.make_machine(APP, "porter-a-1");
    let error = place.launch(spec("a", 1)).await.expect_err("a refusal");
    assert!(!error.is_temporary(), "{error:?}");
    assert!(error.to_string().contains("`porter-a-1` that is not Porter's"), "{error}");
}

#[tokio::test]
async fn refusals_are_distinguished() {
    let refused = |answer: &Result<Machine, Error>, words: &str| matches!(answer, Err(Error::Refused { message }) if message.contains(words));
    let place = AtFly::new().await;
    place.fly.add_token("personal", "fm2_readonly");
    let stranger = place.runner_with("fm2_unknown", APP).launch(spec("a", 1)).await;
    assert!(refused(&stranger, "did not accept the API token"), "{stranger:?}");
    let forbidden = place.runner_with("fm2_readonly", APP).launch(spec("a", 1)).await;
    assert!(refused(&forbidden, "may not manage machines of the app `porter-workers`"), "{forbidden:?}");
    let absent = place.runner_with(TOKEN, "nowhere").launch(spec("a", 1)).await;
    assert!(refused(&absent, "There is no Fly app `nowhere`"), "{absent:?}");
    for status in [400, 409, 412, 422, 503] {
        place.fly.next(1, Call::Create, Fault::NoCapacity(status));
        let full = place.launch(spec("a", 1)).await;
        assert!(matches!(full, Err(Error::NoCapacity { .. })), "{status}: {full:?}");
    }
    let image = place.launch(LaunchSpec { image: "no such image".to_owned(), ..spec("a", 1) }).await;
    assert!(refused(&image, "image"), "{image:?}");
    assert_eq!(place.fly.count(Call::Create), 6, "none of these requests is repeated");
    assert_eq!(place.fly.machines().len(), 0);
}

#[tokio::test]
async fn an_unreachable_fly_is_temporary() {
    let place = AtFly::new().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);
    let client = Api::new(&url.parse().expect("a URL")).expect("an API");
    let runner = FlyRunner::new(client.client(&SecretString::from(TOKEN)).expect("a client"), APP);
    let error = runner.launch(spec("a", 1)).await.expect_err("the server does not respond");
    assert!(error.is_temporary(), "{error:?}");
    assert_eq!(place.fly.machines().len(), 0);
}

#[tokio::test]
async fn a_machine_is_searched_for_after_a_creation_without_response() {
    let place = AtFly::new().await;
    let instant = Duration::from_millis(100);
    let timeouts = Timeouts { connect: instant, request: Duration::from_secs(10), create: instant };
    let api = Api::with_timeouts(place.fly.url(), timeouts).expect("an API");
    let client = api.client(&SecretString::from(TOKEN)).expect("a client");
    place.fly.next(1, Call::Create, Fault::SilenceAfterEffect);
    let runner = FlyRunner::new(client, APP).pausing(Duration::ZERO);
    let machine = runner.launch(spec("a", 1)).await.expect("the machine");
    assert_eq!(
        (machine.id.as_str(), place.fly.count(Call::Create)),
        (place.fly.machines()[0].id.as_str(), 1)
    );
}

#[tokio::test]
async fn no_error_shows_a_secret() {
    let place = AtFly::new().await;
    let mut spec = spec("a", 1);
    spec.env.insert("ANTHROPIC_API_KEY".to_owned(), "sk-ant-0123456789".to_owned());
    let words = format!("invalid config {{ANTHROPIC_API_KEY: sk-ant-0123456789}} {}", "x".repeat(5000));
    place.fly.next(1, Call::Create, Fault::Refused(words));
    let mut errors = vec![place.launch(spec.clone()).await.expect_err("refused")];
    place.fly.next(2, Call::Create, Fault::Cut);
    errors.push(place.launch(spec.clone()).await.expect_err("lost"));
    errors.push(place.runner_with("fm2_unknown-secret", APP).launch(spec).await.expect_err("unknown"));
    for error in errors {
        let shown = format!("{error} {error:?}");
        for secret in ["sk-ant-0123456789", "fm2_", "lJPEC", "unknown-secret"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(error.to_string().len() < 500, "{error}");
    }
}

#[tokio::test]
async fn stopping_sends_sigterm_and_waits_for_the_worker() {
    let place = AtFly::new().await;
    let happened = Arc::new(Mutex::new(Vec::new()));
    let notes = happened.clone();
    place.fly.on(move |happening| notes.lock().expect("a lock").push(happening));
    let runner = place.runner();
    let id = runner.launch(spec("a", 1)).await.expect("a machine").id;
    runner.stop(&id).await.expect("stopped");
    let signals: Vec<String> = happened
        .lock()
        .expect("a lock")
        .iter()
        .filter_map(|happening| match happening {
            Happening::Signalled { signal, .. } => Some(signal.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(signals, ["SIGTERM"]);
    let stopping = runner.find_by_id(&id).await.expect("an answer").expect("the machine");
    assert_eq!(stopping.state, MachineState::Running, "the worker still saves its work");
    place.fly.exited(&id);
    assert_eq!(runner.find_by_id(&id).await.expect("an answer"), None, "the machine destroyed itself");
}

#[tokio::test]
async fn a_destroyed_machine_that_fly_still_shows_is_gone() {
    let place = AtFly::new().await;
    place.fly.remember_destroyed();
    let runner = place.runner();
    let id = runner.launch(spec("a", 1)).await.expect("a machine").id;
    for _ in 0..2 {
        runner.destroy(&id).await.expect("destroyed");
        runner.stop(&id).await.expect("stopping a destroyed machine succeeds");
        let machine = runner.find_by_id(&id).await.expect("an answer").expect("shown");
        assert_eq!(machine.state, MachineState::Gone);
    }
}

#[tokio::test]
async fn every_state_of_fly_is_mapped() {
    let place = AtFly::new().await;
    place.fly.remember_destroyed();
    let runner = place.runner();
    let id = runner.launch(spec("a", 1)).await.expect("a machine").id;
    for (state, expected) in [
        ("created", MachineState::Starting),
        ("starting", MachineState::Starting),
        ("started", MachineState::Running),
        ("stopping", MachineState::Running),
        ("something new", MachineState::Running),
        ("stopped", MachineState::Gone),
        ("failed", MachineState::Gone),
        ("destroying", MachineState::Gone),
        ("destroyed", MachineState::Gone),
    ] {
        place.fly.set_state(&id, state);
        let machine = runner.find_by_id(&id).await.expect("an answer").expect("shown");
        assert_eq!(machine.state, expected, "{state}");
    }
}

#[tokio::test]
async fn failures_while_ending_are_temporary_and_can_be_retried() {
    for fault in doubts() {
        let place = AtFly::new().await;
        let runner = place.runner();
        let id = runner.launch(spec("a", 1)).await.expect("a machine").id;
        // One failure more than the number of the runner's own retries.
        place.fly.next(3, Call::Destroy, fault.clone());
        let error = runner.destroy(&id).await.expect_err("the result is unknown");
        assert!(error.is_temporary(), "{fault:?}: {error:?}");
        runner.destroy(&id).await.expect("destroyed");
        assert_eq!(place.fly.living().len(), 0, "{fault:?}");
    }
}

#[tokio::test]
async fn only_porters_machines_are_listed() {
    let place = AtFly::new().await;
    let foreign = place.fly.make_machine(APP, "web-1");
    let ours = place.launch(spec("a", 1)).await.expect("a machine");
    let listed = place.runner().list().await.expect("a list");
    assert_eq!(listed.iter().map(|machine| &machine.id).collect::<Vec<_>>(), [&ours.id]);
    let shown = place.runner().find_by_id(&foreign).await.expect("an answer");
    assert_eq!(shown, None, "a machine without Porter's metadata is ignored");
}

#[tokio::test]
async fn the_provider_returns_the_machines_of_each_persons_app() {
    let place = AtFly::new().await;
    place.fly.add_app("anothers", "elsewhere", "fm2_another");
    let provider = FlyMachines::new(Api::new(place.fly.url()).expect("an API"), None, None);
    let scope = |token: &str, app: &str| {
        let settings = Settings::parse(Some(&json!({ "flyAppName": app }).to_string()));
        let secrets = [("FLY_API_TOKEN".to_owned(), SecretString::from(token))].into();
        provider.scope(&Holdings::opened(&settings, &secrets), None).map(|scope| scope.runner)
    };
    let mine = scope(TOKEN, APP).expect("a runner");
    let anothers = scope("fm2_another", "anothers").expect("a runner");
    mine.launch(spec("a", 1)).await.expect("a machine");
    assert_eq!(anothers.list().await.expect("a list"), []);
    assert_eq!(mine.list().await.expect("a list").len(), 1);
    let refused = scope("", APP).err();
    let not_accepted = |message: &String| message.contains("did not accept the API token");
    assert!(matches!(&refused, Some(Error::Refused { message }) if not_accepted(message)), "{refused:?}");
}
