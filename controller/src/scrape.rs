//! What a scrape gets: what the controller does, and, from the leader, how each Release stands.
//!
//! In: the shell as it is at this moment. Out: text. It reads the cache in small pieces, so that no decision waits for it.

use crate::{
    metrics::fleet::{Fleet, Labels},
    queue::Key,
    shell::Shell,
};

/// Releases that are looked at while the cache is held: well below a millisecond.
const AT_ONCE: usize = 256;

pub(crate) fn text(shell: &Shell) -> String {
    let (synced, keys) = {
        let cache = shell.cache();
        (cache.releases.synced(), cache.keys())
    };
    if synced {
        shell.metrics.keep_only(&keys);
    }
    // A standby knows as much, and two who say the same would double every sum.
    let fleet = shell.leadership.leads_now().then(|| fleet(shell, &keys));
    let mut text = shell.metrics.text(&shell.queue.figures(), shell.sources.oldest_answer());
    if let Some(fleet) = fleet {
        fleet.write(&mut text);
        if shell.metrics_per_release {
            shell.metrics.outcomes(&mut text);
        }
    }
    text
}

fn fleet(shell: &Shell, keys: &[Key]) -> Fleet {
    let mut fleet = Fleet::new(shell.metrics_per_release);
    let now = shell.clock.now();
    for keys in keys.chunks(AT_ONCE) {
        let cache = shell.cache();
        for key in keys {
            let Some(release) = cache.releases.get(&key.namespace, &key.name) else { continue };
            let labels = Labels { key, environment: cache.environment_of(&key.namespace) };
            fleet.add(&labels, &release.standing, cache.failing_since(key, now));
            if release.standing.has_candidate {
                shell.metrics.is_on_its_way(key, labels.environment);
            }
        }
    }
    fleet
}
