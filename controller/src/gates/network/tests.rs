//! The hub and the network together, as they are in a process.

use std::{collections::BTreeMap, net::IpAddr, sync::Mutex};

use bascule_core::gate::{HttpAsk, Samples, Target, Verdict};
use bascule_crds::Method;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{sleep, timeout};

use super::{
    scene::{Scene, Server, answer, key, probe},
    *,
};
use crate::gates::{Gates, Wiring};

fn probe_of(server: &Server) -> Probe {
    let ask = HttpAsk {
        to: Target::Service { name: "web".into(), port: server.port },
        tls: false,
        method: Method::Get,
        path: "/".into(),
        headers: BTreeMap::new(),
        body: None,
        expect: "status == 200".into(),
    };
    Probe { every: SignedDuration::from_secs(1), ..probe(Ask::Http(ask)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_is_asked_until_nobody_wants_it_any_more() {
    let scene = Scene::default();
    let server = Server::does_each(vec![answer(503, ""), answer(200, ""), answer(200, "")]).await;
    scene.serves("web", &server);
    let told = Arc::new(Mutex::new(0));
    let tell = told.clone();
    let gates = Gates::new(Wiring {
        ask: Arc::new(scene.network()),
        now: Arc::new(|| Timestamp::UNIX_EPOCH),
        changed: Arc::new(move |_| *tell.lock().unwrap() += 1),
        counted: Arc::new(|_, _| {}),
    });
    gates.want(&key(), vec![probe_of(&server)]);
    let passed = async {
        loop {
            match gates.samples(&key()).as_slice() {
                [Samples { passes: 2, failures: 1, last: Verdict::Pass, .. }] => return,
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    timeout(Duration::from_secs(60), passed).await.expect("two good samples");
    gates.want(&key(), Vec::new());
    let asked = server.connections();
    sleep(Duration::from_millis(1_200)).await;
    assert_eq!((server.connections(), gates.samples(&key())), (asked, Vec::new()));
    assert!(*told.lock().unwrap() >= 3);
}

#[tokio::test]
async fn dns_is_asked_for_all_addresses_of_a_name() {
    let addresses = Dns.addresses("localhost").await.unwrap();
    assert!(!addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback));
}
