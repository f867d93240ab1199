//! Real SDKs against a log without room: they are answered 503, wait, come again, and nothing is
//! lost or doubled.

use crate::faults::failpoints::SMALL_LOG;
use crate::faults::{books, fill, steer};
use crate::harness::{LOOPBACK, Setup};
use crate::peer::Receiver;
use crate::sdk::{BROWSER, NODE, PYTHON, Sdk, answered};

#[test]
fn the_node_sdk_waits_for_room() {
    waits_for_room(&NODE);
}

#[test]
fn the_python_sdk_waits_for_room() {
    waits_for_room(&PYTHON);
}

#[test]
fn the_browser_sdk_waits_for_room() {
    waits_for_room(&BROWSER);
}

fn waits_for_room(sdk: &Sdk) {
    let (receiver, other) = (Receiver::ok(), Receiver::ok());
    let fairlane = Setup::default()
        .webhook("full", &other.url())
        .webhook("hook", &receiver.url())
        // Without the events that fill the log.
        .and("filter = '.event != \"E\"'\n")
        .and(LOOPBACK)
        .and(SMALL_LOG)
        .start();
    steer(&fairlane, "full", "hold");
    fill(&fairlane, "fill", &books());
    let before = answered(&fairlane, 503);
    let Some(mut running) = sdk.start(&fairlane) else {
        return;
    };
    while answered(&fairlane, 503) < before + 3 {
        running.assert_at_work();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(receiver.count(), 0, "nothing was taken so far");
    steer(&fairlane, "full", "resume");
    sdk.arrived(&receiver, &fairlane, running);
    println!(
        "answered 503 {} times, nothing lost or doubled",
        answered(&fairlane, 503) - before
    );
}
