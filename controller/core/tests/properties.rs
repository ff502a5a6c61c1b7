//! Any sequence of edits, operations, hand-made damage and restarts: the invariants hold at every step (the world checks them),
//! and when it is over the Release comes to rest where the design says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

#[allow(dead_code, reason = "shared with the scenarios; each uses a part")]
mod world;

use bascule_core::Next;
use bascule_crds::ReleaseSpec;
use proptest::prelude::*;
use serde_json::json;
use world::{World, spec, spec_of};

#[derive(Clone, Debug)]
enum Event {
    Want { version: u8, behaviour: u8, replicas: i32 },
    Suspend(bool),
    Wait(bool),
    Pass(i64),
    Turn(u8),
    Restart,
    Abort,
    Retry,
    ReplaceService,
    ReapplyService,
    EditDeployment,
    ScaleDeployment(i32),
    Preview(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..4u8, 0..8u8, 1..5i32).prop_map(|(version, behaviour, replicas)| Event::Want { version, behaviour, replicas }),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => any::<bool>().prop_map(Event::Wait),
        4 => (1..50i64).prop_map(Event::Pass),
        6 => (1..9u8).prop_map(Event::Turn),
        2 => Just(Event::Restart),
        1 => Just(Event::Abort),
        1 => Just(Event::Retry),
        1 => Just(Event::ReplaceService),
        1 => Just(Event::ReapplyService),
        1 => Just(Event::EditDeployment),
        1 => (0..6i32).prop_map(Event::ScaleDeployment),
        1 => any::<bool>().prop_map(Event::Preview),
    ]
}

fn tag(version: u8, behaviour: u8) -> String {
    match behaviour {
        0 => format!("v{version}--never"),
        1 => format!("v{version}--dies5"),
        2 => format!("v{version}--dies40"),
        3 => format!("v{version}--refused"),
        _ => format!("v{version}"),
    }
}

fn want(world: &World, tag: &str, replicas: i32) -> ReleaseSpec {
    let mut wanted = spec(tag, replicas);
    wanted.suspend = world.release.spec.suspend;
    wanted.preview = world.release.spec.preview;
    wanted.strategy = world.release.spec.strategy.clone();
    wanted
}

fn happen(world: &mut World, event: &Event) {
    let mut changed = world.release.spec.clone();
    match event {
        Event::Want { version, behaviour, replicas } => changed = want(world, &tag(*version, *behaviour), *replicas),
        Event::Suspend(on) => changed.suspend = *on,
        Event::Preview(on) => changed.preview = *on,
        Event::Wait(on) => {
            let mode = if *on { "Wait" } else { "Replace" };
            let mut value = serde_json::to_value(&changed).unwrap();
            value["strategy"]["onSupersede"] = json!(mode);
            changed = spec_of(&value);
        }
        Event::Pass(secs) => world.pass(*secs),
        Event::Turn(count) => {
            for _ in 0..*count {
                world.run_one();
            }
        }
        Event::Restart => world.restart(),
        Event::Abort => world.operate(&json!({"release": "web", "type": "Abort", "by": "ada"})),
        Event::Retry => world.operate(&json!({"release": "web", "type": "Retry", "by": "ada"})),
        Event::ReplaceService => world.replace_service("web"),
        Event::ReapplyService => world.reapply_service("web"),
        Event::EditDeployment => on_active(world, |world, name| world.edit_by_hand(name, "r/web:hack")),
        Event::ScaleDeployment(replicas) => on_active(world, |world, name| world.scale_by_hand(name, *replicas)),
    }
    world.apply_spec(changed);
}

fn on_active(world: &mut World, act: impl Fn(&mut World, &str)) {
    if let Some((_, track)) = world.active() {
        let name = track.deployment("web");
        if world.deployments.contains_key(&name) {
            act(world, &name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// ESR: when faults cease and the input stays, traffic comes to rest on the wanted revision or on the last good one, and
    /// nothing more is written.
    #[test]
    fn it_always_comes_to_rest_where_it_should(policy in any::<bool>(), events in prop::collection::vec(event(), 1..40)) {
        let mut world = World::new(spec("v0", 2));
        world.policy_installed = policy;
        for event in &events {
            happen(&mut world, event);
        }
        let mut last = world.release.spec.clone();
        last.suspend = false;
        world.apply_spec(last);
        world.pass(2_000);

        // A refused template is asked about again and again, seldom: a question, not a write.
        let count = |world: &World| world.writes.iter().filter(|write| *write != "dry-run").count();
        let writes = count(&world);
        prop_assert_eq!(&world.plan().next, &Next::Rest);
        world.pass(2_000);
        prop_assert_eq!(count(&world), writes, "settled means no writes: {:?}", world.writes.last());
        world.restart();
        world.pass(2_000);
        prop_assert_eq!(count(&world), writes, "also after a restart: {:?}", world.writes.last());

        prop_assert_eq!(world.candidate(), None);
        let (ready, reason, message) = world.ready();
        let wanted_tag = world.release.spec.artifacts[0].image.reference.trim_start_matches("r/web:").to_owned();
        if let Some((version, track)) = world.active() {
            prop_assert_eq!(world.selected("web"), Some(track.as_str()));
            prop_assert_eq!(ready, version == wanted_tag && reason == "Settled", "{}: {}", reason, message);
            prop_assert_eq!(world.replicas(&track.other().deployment("web")), 0, "nothing idle keeps running");
        } else {
            prop_assert!(!ready);
            prop_assert_eq!(world.selected("web"), Some("none"));
        }
        if !wanted_tag.contains("--") {
            // Nothing is wrong with it: only a person's Abort, or pods that were edited away during the bake, may keep it out.
            prop_assert!(ready || reason == "Rejected", "{}: {}", reason, message);
        }
        for operation in &world.operations {
            prop_assert!(operation.answered, "{} was never answered", operation.name);
        }
    }
}
