//! The tests that every runner must pass, run against a [`Place`].

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use porter::runner::{LaunchSpec, MachineState, Runner};

use super::{eventually, spec, task};

/// An environment in which machines can be started.
pub trait Place {
    /// Returns a runner without cached state, as a server has after its start.
    fn runner(&self) -> Arc<dyn Runner>;
    /// Returns the specification, adapted to this place.
    fn fitted(&self, spec: LaunchSpec) -> LaunchSpec;
    /// Returns the number of workers that were started in total.
    fn begun(&self) -> usize;
}

macro_rules! every_runner {
    ($($name:ident),* $(,)?) => {
        mod at_fly { $(
            #[tokio::test]
            async fn $name() { super::$name(&crate::runner::fly::AtFly::new().await).await }
        )* }
        mod in_memory { $(
            #[tokio::test]
            async fn $name() { super::$name(&crate::runner::memory::Memory::default()).await }
        )* }
        mod locally { $(
            #[tokio::test]
            async fn $name() { super::$name(&crate::runner::local::Here::new()).await }
        )* }
    };
}

every_runner![
    a_machine_is_found_by_attempt_by_id_and_in_the_list,
    launching_again_adopts_the_machine,
    concurrent_launches_make_one_machine,
    a_restarted_server_adopts_the_machine,
    each_attempt_has_its_own_machine,
    an_unknown_machine_is_not_found,
    stopping_ends_the_worker_and_may_be_repeated,
    destroying_removes_the_machine_and_may_be_repeated,
    ending_an_unknown_machine_succeeds,
    concurrent_destroys_all_succeed,
    destroying_one_leaves_the_others,
];

async fn a_machine_is_found_by_attempt_by_id_and_in_the_list(place: &impl Place) {
    let runner = place.runner();
    let machine = runner.launch(place.fitted(spec("a", 3))).await.expect("a machine");
    assert_eq!((&machine.task, machine.attempt), (&task("a"), 3));
    assert_ne!(machine.state, MachineState::Gone);

    let found = runner.find(&task("a"), 3).await.expect("an answer").expect("the machine");
    let by_id = runner.find_by_id(&machine.id).await.expect("an answer").expect("the machine");
    assert_eq!((&found.id, found.state), (&machine.id, MachineState::Running));
    assert_eq!(by_id, found);
    assert_eq!(runner.list().await.expect("a list"), [found]);
}

async fn launching_again_adopts_the_machine(place: &impl Place) {
    let runner = place.runner();
    let first = runner.launch(place.fitted(spec("a", 1))).await.expect("a machine");
    let second = runner.launch(place.fitted(spec("a", 1))).await.expect("a machine");
    assert_eq!(first.id, second.id);
    eventually("one worker was started", || async { place.begun() == 1 }).await;
    assert_eq!(runner.list().await.expect("a list").len(), 1);
}

async fn concurrent_launches_make_one_machine(place: &impl Place) {
    let runners = [place.runner(), place.runner()];
    let launches = (0..8).map(|n| runners[n % 2].launch(place.fitted(spec("a", 1))));
    let machines = try_join_all(launches).await.expect("a machine for each");
    assert!(machines.iter().all(|machine| machine.id == machines[0].id), "{machines:?}");
    eventually("a worker was started", || async { place.begun() > 0 }).await;
    assert_eq!((place.begun(), runners[0].list().await.expect("a list").len()), (1, 1));
}

async fn a_restarted_server_adopts_the_machine(place: &impl Place) {
    let first = place.runner().launch(place.fitted(spec("a", 1))).await.expect("a machine");
    let runner = place.runner();
    let found = runner.find(&task("a"), 1).await.expect("an answer");
    assert_eq!(found.map(|machine| machine.id), Some(first.id.clone()));
    let second = runner.launch(place.fitted(spec("a", 1))).await.expect("a machine");
    assert_eq!(second.id, first.id);
    eventually("one worker was started", || async { place.begun() == 1 }).await;
}

async fn each_attempt_has_its_own_machine(place: &impl Place) {
    let runner = place.runner();
    let first = runner.launch(place.fitted(spec("a", 1))).await.expect("a machine");
    let second = runner.launch(place.fitted(spec("a", 2))).await.expect("a machine");
    let other = runner.launch(place.fitted(spec("b", 1))).await.expect("a machine");
    assert!(first.id != second.id && first.id != other.id && second.id != other.id);
    let found = runner.find(&task("a"), 2).await.expect("an answer");
    assert_eq!(found.map(|machine| machine.id), Some(second.id));
    eventually("three workers were started", || async { place.begun() == 3 }).await;
}

async fn an_unknown_machine_is_not_found(place: &impl Place) {
    let runner = place.runner();
    runner.launch(place.fitted(spec("a", 1))).await.expect("a machine");
    assert_eq!(runner.find(&task("a"), 2).await.expect("an answer"), None);
    assert_eq!(runner.find(&task("aa"), 1).await.expect("an answer"), None);
    for id in ["porter-b-1", "", ".", "..", "../..", "a/b", "A b?c#d"] {
        assert_eq!(runner.find_by_id(id).await.expect("an answer"), None, "{id:?}");
    }
}

async fn stopping_ends_the_worker_and_may_be_repeated(place: &impl Place) {
    let runner = place.runner();
    let id = runner.launch(place.fitted(spec("a", 1))).await.expect("a machine").id;
    for _ in 0..3 {
        runner.stop(&id).await.expect("stopped");
    }
    eventually("the machine does not exist", || async {
        let machine = runner.find_by_id(&id).await.expect("an answer");
        machine.is_none_or(|machine| machine.state == MachineState::Gone)
    })
    .await;
    runner.stop(&id).await.expect("stopping an ended machine succeeds");
}

async fn destroying_removes_the_machine_and_may_be_repeated(place: &impl Place) {
    let runner = place.runner();
    let id = runner.launch(place.fitted(spec("a", 1))).await.expect("a machine").id;
    for _ in 0..2 {
        runner.destroy(&id).await.expect("destroyed");
        assert_eq!(runner.find_by_id(&id).await.expect("an answer"), None);
        assert_eq!(runner.find(&task("a"), 1).await.expect("an answer"), None);
        assert_eq!(runner.list().await.expect("a list"), []);
    }
    runner.stop(&id).await.expect("stopping a destroyed machine succeeds");
}

async fn ending_an_unknown_machine_succeeds(place: &impl Place) {
    let runner = place.runner();
    for id in ["porter-b-1", "", "..", "../.."] {
        runner.stop(id).await.unwrap_or_else(|error| panic!("stopping {id:?}: {error}"));
        runner.destroy(id).await.unwrap_or_else(|error| panic!("destroying {id:?}: {error}"));
    }
}

async fn concurrent_destroys_all_succeed(place: &impl Place) {
    let runners = [place.runner(), place.runner()];
    let id = runners[0].launch(place.fitted(spec("a", 1))).await.expect("a machine").id;
    let ends = (0..6).map(|n| runners[n % 2].destroy(&id));
    let failed: Vec<_> = join_all(ends).await.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(runners[0].list().await.expect("a list"), []);
}

async fn destroying_one_leaves_the_others(place: &impl Place) {
    let runner = place.runner();
    let first = runner.launch(place.fitted(spec("a", 1))).await.expect("a machine");
    let second = runner.launch(place.fitted(spec("a", 2))).await.expect("a machine");
    runner.destroy(&first.id).await.expect("destroyed");
    let left = runner.find_by_id(&second.id).await.expect("an answer");
    assert_eq!(left.map(|machine| machine.state), Some(MachineState::Running));
}
