//! Who waits for a turn at a repository that somebody crowds.

use std::time::Duration;

use trust_tests::wait::{soon, until};

use super::owner;
use super::scene::{Plan, Scene};
use super::workshop::{self, TestKey};

const GUN: &str = "ex.io/crowded";
/// More than there are places.
const CROWD: usize = 80;
/// Of one address.
const PLACES: usize = 16;

fn scene() -> Scene {
    // Nothing is over before the test is: what hangs, hangs until it is let go.
    let tables = "[limits]\nrequest_ms_max = 600000\n[custody]\nhang_after_ms = 600000\n".to_owned();
    Scene::started(&Plan { tables, ..Plan::open() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_from_one_address_keeps_no_owner_out() {
    let scene = scene();
    let (user, caller) = (scene.daemon.user().unwrap(), scene.daemon.caller().await.unwrap());
    user.run(&["trust", "init", GUN]).unwrap().ok().unwrap();
    let upload = workshop::file(&owner::targets(2), &[&TestKey::ed25519(1)]);
    let witness = || user.run(&["trust", "witness", GUN, "targets"]).unwrap().ok().map(drop);
    let refused = format!("trustd_notary_requests_total{{operation=\"publish\",status=\"429\"}} {}\n", CROWD - PLACES);

    let before = caller.status().await.unwrap().log_size;
    scene.daemon.stop_workers().unwrap();
    let statuses = std::thread::scope(|threads| {
        // Its intent is in the log, so it has the turn, and keeps it as long as the workers stand still.
        let first = threads.spawn(witness);
        let runtime = tokio::runtime::Handle::current();
        let log_size = || tokio::task::block_in_place(|| runtime.block_on(caller.status())).unwrap().log_size;
        soon("the first has the turn", || log_size() > before).unwrap();
        let publish = || scene.publish(GUN, &[("targets", &upload)]).status;
        let crowd: Vec<_> = (0..CROWD).map(|_| threads.spawn(publish)).collect();
        soon("all but as many as may wait are refused", || scene.ask("GET /metrics").text().contains(&refused))
            .unwrap();

        let second = threads.spawn(witness);
        let answered = until("an answer", Duration::from_secs(1), || Ok(second.is_finished().then_some(())));
        assert!(answered.is_err(), "it does not wait: {:?}", second.join());
        scene.daemon.continue_workers().unwrap();

        first.join().unwrap().unwrap();
        second.join().unwrap().unwrap();
        crowd.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });

    let of = |status: u16| statuses.iter().filter(|found| **found == status).count();
    assert_eq!((of(400), of(429)), (PLACES, CROWD - PLACES), "{statuses:?}");
}
