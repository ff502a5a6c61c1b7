use bascule_lease_model::Setup;
use stateright::{Checker, Model as _};
fn main() {
    let a: Vec<u32> = std::env::args().skip(1).map(|x| x.parse().unwrap()).collect();
    let mut s = Setup::new(2);
    if a.len() > 7 { s.paces[1] = bascule_lease_model::Pace(u64::from(a[7]), u64::from(a[8])); }
    s.ends = a[0]; s.switches = a[1] == 1; s.on_their_way = a[2] as usize; s.deletes = a[3]; s.lagging_watches = a[4] == 1; s.liveness = a[5] == 1;
    let t = std::time::Instant::now();
    let c = s.checker().threads(2).timeout(std::time::Duration::from_secs(u64::from(a[6]))).spawn_bfs();
    let c = c.join();
    println!("{a:?}: {} unique {} total depth {} done {} {:?}  {:?}", c.unique_state_count(), c.state_count(), c.max_depth(), c.is_done(), t.elapsed(), c.discoveries().keys().collect::<Vec<_>>());
}
