//! A third kind of machine, in memory. It contains in one file everything that a new kind requires by
//! docs/ARCHITECTURE.md. The conformance tests run against it, and `service::other_machines` runs the whole
//! service with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use domain::task::TaskId;
use futures_util::future::BoxFuture;
use porter::runner::{Error, Holdings, LaunchSpec, Machine, MachineProvider, MachineState, Runner, Scope};
use serde_json::{Value, json};

use super::conformance::Place;

/// The name of the secret that a person must store for these machines.
pub const KEY: &str = "RACK_KEY";

/// Racks of simulated machines.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    machines: Vec<(String, Machine)>,
    environments: Vec<BTreeMap<String, String>>,
    refusal: Option<String>,
}

impl Memory {
    /// Returns the environment of every machine that was ever created.
    pub fn environments(&self) -> Vec<BTreeMap<String, String>> {
        self.state().environments.clone()
    }

    /// Returns the existing machines, each with its rack.
    pub fn machines(&self) -> Vec<(String, Machine)> {
        self.state().machines.clone()
    }

    /// Refuses to create machines from now on, with `why` as the reason.
    pub fn refuse(&self, why: &str) {
        self.state().refusal = Some(why.to_owned());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("the lock is not poisoned")
    }

    fn rack(&self, name: &str) -> Rack {
        Rack { memory: self.clone(), name: name.to_owned() }
    }
}

impl MachineProvider for Memory {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn missing(&self, holdings: &Holdings<'_>) -> Vec<String> {
        if holdings.has(KEY) { Vec::new() } else { vec!["key of the racks".to_owned()] }
    }

    fn scope(&self, holdings: &Holdings<'_>, place: Option<&str>) -> Result<Scope, Error> {
        let Some(key) = holdings.secret(KEY) else {
            return Err(Error::Refused { message: "The racks are locked.".to_owned() });
        };
        let chosen = || json!({ "rack": holdings.setting("rack").unwrap_or("first") });
        let place = place.map_or_else(chosen, |place| serde_json::from_str(place).expect("a place"));
        let rack = place["rack"].as_str().map(|name| self.rack(name)).expect("a rack");
        Ok(Scope {
            runner: Arc::new(rack),
            place: Some(Value::to_string(&place)),
            credential: Some(key.clone()),
        })
    }
}

/// The machines of one rack.
struct Rack {
    memory: Memory,
    name: String,
}

impl Rack {
    fn find_where(&self, is: impl Fn(&Machine) -> bool) -> Option<Machine> {
        let state = self.memory.state();
        let mut own = state.machines.iter().filter(|(rack, _)| *rack == self.name);
        own.find(|(_, machine)| is(machine)).map(|(_, machine)| machine.clone())
    }
}

/// Returns a future that is immediately ready.
fn at_once<'a, T: Send + 'a>(answer: Result<T, Error>) -> BoxFuture<'a, Result<T, Error>> {
    Box::pin(std::future::ready(answer))
}

impl Runner for Rack {
    fn launch(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Machine, Error>> {
        let mut state = self.memory.state();
        let is = |machine: &Machine| machine.task == spec.task && machine.attempt == spec.attempt;
        if let Some((_, machine)) = state.machines.iter().find(|(_, machine)| is(machine)) {
            return at_once(Ok(machine.clone()));
        }
        if let Some(message) = state.refusal.clone() {
            return at_once(Err(Error::Refused { message }));
        }
        let machine = Machine {
            id: format!("memory-{}", state.environments.len() + 1),
            task: spec.task,
            attempt: spec.attempt,
            state: MachineState::Running,
        };
        state.machines.push((self.name.clone(), machine.clone()));
        state.environments.push(spec.env);
        at_once(Ok(machine))
    }

    fn find<'a>(&'a self, task: &'a TaskId, attempt: u32) -> BoxFuture<'a, Result<Option<Machine>, Error>> {
        at_once(Ok(self.find_where(|machine| machine.task == *task && machine.attempt == attempt)))
    }

    fn find_by_id<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Machine>, Error>> {
        at_once(Ok(self.find_where(|machine| machine.id == id)))
    }

    fn stop<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        let mut state = self.memory.state();
        for (_, machine) in state.machines.iter_mut().filter(|(_, machine)| machine.id == id) {
            machine.state = MachineState::Gone;
        }
        at_once(Ok(()))
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        let gone = |(rack, machine): &(String, Machine)| *rack == self.name && machine.id == id;
        self.memory.state().machines.retain(|entry| !gone(entry));
        at_once(Ok(()))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Machine>, Error>> {
        let own = self.memory.machines().into_iter().filter(|(rack, _)| *rack == self.name);
        at_once(Ok(own.map(|(_, machine)| machine).collect()))
    }
}

impl Place for Memory {
    fn runner(&self) -> Arc<dyn Runner> {
        Arc::new(self.rack("first"))
    }

    fn fitted(&self, spec: LaunchSpec) -> LaunchSpec {
        spec
    }

    fn begun(&self) -> usize {
        self.state().environments.len()
    }
}
