//! Findings that are not mended yet: each is shown by a test in `found.rs`, and left out here by name so that the properties go on
//! looking for others. Empty is how this room should be.

use crate::world::World;

/// A new version with fewer replicas is started with as many as serve, and then made smaller with them.
pub fn starts_more_than_it_needs(world: &World, wanted: Option<&str>) -> bool {
    let (spec, status) = (&world.release.spec, &world.release.status);
    let Some(active) = status.active.as_ref().filter(|it| Some(it.revision.as_str()) != wanted) else { return false };
    let fewer = |it: &bascule_crds::Workload| {
        it.replicas.or(spec.replicas).unwrap_or(1) < world.replicas(&active.track.deployment(&it.name))
    };
    spec.workloads.iter().any(fewer)
}

/// A status that was wiped with nothing to read it back from: what runs is ended before something is begun again.
pub fn was_wiped(world: &World) -> bool {
    let status = &world.release.status;
    status.active.is_none() && status.candidate.is_none() && world.deployments.values().any(|it| it.replicas > 0)
}
