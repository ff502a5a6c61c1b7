//! What the ranking of progress leaves out, by name, and why: three detours that are meant.

use bascule_crds::{OperationType, Step as Stage};

use crate::world::World;

/// A new version with fewer replicas starts with as many as serve now, as the design has it, and is made smaller together with them: one
/// write more than the shortest way, and never too few pods for the traffic.
pub fn starts_more_than_it_needs(world: &World, wanted: Option<&str>) -> bool {
    let (spec, status) = (&world.release.spec, &world.release.status);
    // A person may be about to want another one.
    let is_certain = unheard(world).next().is_none();
    let stays = |active: &&bascule_crds::Version| is_certain && Some(active.revision.as_str()) == wanted;
    let Some(active) = status.active.as_ref().filter(|it| !stays(it)) else { return false };
    let fewer = |it: &bascule_crds::Workload| {
        it.replicas.or(spec.replicas).unwrap_or(1) < world.replicas(&active.track.deployment(&it.name))
    };
    spec.workloads.iter().any(fewer)
}

/// A status that was wiped, and no Service tells what had traffic: nobody can know which of what runs was good, so it ends before something
/// is begun again.
pub fn was_wiped(world: &World) -> bool {
    let status = &world.release.status;
    status.active.is_none() && status.candidate.is_none() && world.deployments.values().any(|it| it.replicas > 0)
}

/// A person returns from a version during its bake, and somebody takes that back before it is done: one after the other, so traffic goes back
/// and then forward again.
pub fn returns_and_comes_again(world: &World) -> bool {
    let baking = world.release.status.candidate.as_ref().is_some_and(|it| it.step == Stage::Baking);
    let mut unheard = unheard(world);
    baking && unheard.any(|kind| kind == OperationType::Rollback) && unheard.next().is_some()
}

fn unheard(world: &World) -> impl Iterator<Item = OperationType> {
    let heard = |uid: &String| world.release.status.operations.iter().any(|record| record.uid == *uid);
    world.operations.iter().filter(move |it| !it.answered && !heard(&it.uid)).map(|it| it.spec.kind)
}
