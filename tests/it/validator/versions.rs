//! Which version of messages a running validator speaks to which depot (ADR-0029).

use validator::Payloads;
use wire::{MessageVersion, Versions};

use super::rig::{Depot, Rig, issued};

#[tokio::test]
async fn a_validator_that_has_to_seal_waits_for_a_depot_that_opens_and_then_sends_all() {
    let mut rig = Rig::new();
    rig.config.broker.payloads = Payloads::Sealed;
    let mut depot = Depot::start(&mut rig).await;
    let daemon = rig.start().await.unwrap();
    for n in 1..=3 {
        assert!(rig.tap(&issued(n, 900)).await.is_granted(), "riders are served");
    }
    depot.until_writes(None).await;
    // A depot from before sealing, or one that somebody plays to it: it is not spoken down to.
    depot.says(1, Versions::FIRST);
    let mut log = daemon.log();
    drop(log.wait_for(|status| status.live().head.0 == 3).await.unwrap());
    depot.until_fault("does not open what is sealed").await;
    assert_eq!((depot.taps.len(), &depot.versions[..]), (0, &[][..]));
    assert_eq!(daemon.metrics().message_version.get(), 0);

    depot.says(2, Versions::ALL);
    depot.until(3).await;
    depot.until_writes(Some(MessageVersion::V3)).await;
    assert!(depot.versions.iter().all(|version| *version == MessageVersion::V3));
    // An older word that comes late changes nothing.
    depot.says(1, Versions::FIRST);
    assert!(rig.tap(&issued(4, 900)).await.is_granted());
    depot.until(4).await;
    assert!(depot.versions.iter().all(|version| *version == MessageVersion::V3));
    assert_eq!(daemon.metrics().message_version.get(), 3);
    daemon.stop().await;
    depot.until_asleep().await;
}

#[tokio::test]
async fn a_validator_names_its_keys_to_a_depot_that_reads_them_and_speaks_the_first_to_others() {
    let mut rig = Rig::new();
    let mut depot = Depot::start(&mut rig).await;
    let daemon = rig.start().await.unwrap();
    assert!(rig.tap(&issued(1, 900)).await.is_granted());
    depot.until(1).await;
    assert!(depot.versions.iter().all(|version| *version == MessageVersion::V1));
    depot.says(1, Versions::ALL);
    depot.until_writes(Some(MessageVersion::V2)).await;
    assert!(rig.tap(&issued(2, 900)).await.is_granted());
    depot.until(2).await;
    assert_eq!(depot.versions.last(), Some(&MessageVersion::V2));
    daemon.stop().await;
    depot.until_asleep().await;
}
