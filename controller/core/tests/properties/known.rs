//! What the ranking of progress leaves out, by name, and why: two detours that are meant.

use crate::world::World;

/// A new version with fewer replicas starts with as many as serve now, as the design has it, and is made smaller together with them: one
/// write more than the shortest way, and never too few pods for the traffic.
pub fn starts_more_than_it_needs(world: &World, wanted: Option<&str>) -> bool {
    let (spec, status) = (&world.release.spec, &world.release.status);
    let Some(active) = status.active.as_ref().filter(|it| Some(it.revision.as_str()) != wanted) else { return false };
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
