//! A card that is somewhere else, behind a real reader: refused and not charged (SEC-5). The budget
//! itself is tested with injected times in `shared/validation`.

use std::{sync::Arc, time::Duration};

use model::{Refusal, TapEvent};
use reader::{Reader, ReaderConfig};
use tapline_tests::pn532::{Emulator, Fault};
use validation::Verdict;

use crate::{
    readers::bench::wired_kinds,
    validator::rig::{self, Depot, Rig},
};

/// More than a busy test machine adds to an honest card.
const SLACK_MS: u64 = 220;
/// Below the drivers' own time limit.
const DISTANCE: Duration = Duration::from_millis(420);

#[tokio::test]
async fn a_card_behind_a_relay_is_refused_and_not_charged_and_by_itself_it_is_served() {
    for (kind, helper) in wired_kinds() {
        let folder = tempfile::tempdir().unwrap();
        let emulator = Emulator::start(&folder.path().join("reader")).unwrap();
        let mut rig = Rig::new();
        rig.config.rules.relay_slack_ms = SLACK_MS;
        rig.config.reader = ReaderConfig { kind, helper, ..ReaderConfig::pn532(emulator.path()) };
        let mut depot = Depot::start(&mut rig).await;
        let reader = Reader::open_or_wait(&rig.config.reader).await.unwrap();
        let daemon = rig.start_with(reader).await.unwrap();
        let card = rig::issued(1, 900);

        emulator.fault(Fault::Relay(DISTANCE));
        emulator.place(Arc::clone(&card));
        for attempt in 1..=3 {
            let told = rig.told().await;
            assert_eq!(told.verdict, Verdict::TryAgain(Refusal::TooSlow), "{kind} {attempt}");
            let text = texts::refusal_text(texts::Language::English, Refusal::TooSlow);
            assert!(text.contains("hold the card itself"), "{kind}: {text}");
        }
        emulator.chip().clear();
        assert_eq!(card.lock().unwrap().contents().unwrap().balance, 900, "{kind}: no charge");
        assert_eq!(daemon.metrics().late_answers.with_label_values(&["before"]).get(), 3, "{kind}");
        depot.until(3).await;
        let refused =
            |event: &TapEvent| matches!(event, TapEvent::Refused { reason: Refusal::TooSlow, .. });
        assert!(depot.taps.iter().all(|tap| refused(&tap.event)), "{kind}: {:?}", depot.taps);

        emulator.chip().heal();
        // Another card between, so that the reader surely sees the first one leave.
        emulator.place(rig::issued(2, 900));
        assert!(rig.told().await.is_granted(), "{kind}");
        emulator.chip().clear();
        emulator.place(Arc::clone(&card));
        assert!(rig.told().await.is_granted(), "{kind}");
        assert_eq!(card.lock().unwrap().contents().unwrap().balance, 750, "{kind}");
        daemon.stop().await;
    }
}
