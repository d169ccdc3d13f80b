//! The validator's own share of a tap: the production daemon with its store on a real disk and
//! cards in memory, from the card's detection to the answer on the screen, less the time that the
//! card took. Two syncs are in it: the intent before the commit, the outcome before the green
//! light.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use card::{Key, KeySet, Opening, VirtualCard};
use fare::{Tariff, TariffSet};
use fleet_sync::SigningKey;
use model::{CardId, TapRole, ValidatorId};
use reader::{Reader, ReaderConfig, VirtualField};
use tokio::{sync::mpsc, time::timeout};
use validation::Passage;
use validator::{
    Daemon, Parts,
    clock::Clock,
    config::{self, Config},
    keys::DeviceKeys,
    screen::{RiderScreen, TapTiming},
    store::Durability,
};

use crate::{
    depot::depot_name,
    machine::PlainLog,
    measure::{Samples, headline, line, process_cpu, ratio, short},
};

/// Longer than any tap.
const PATIENCE: Duration = Duration::from_secs(30);

struct Told(mpsc::UnboundedSender<(bool, TapTiming)>, bool);

impl RiderScreen for Told {
    fn show(&mut self, passage: &Passage) {
        self.1 = passage.is_granted();
    }

    fn timing(&mut self, timing: TapTiming) {
        // Nobody listens once the figures are complete.
        let _ = self.0.send((self.1, timing));
    }

    fn out_of_service(&mut self, _: &str) {}
}

struct Desk {
    field: VirtualField,
    shown: mpsc::UnboundedReceiver<(bool, TapTiming)>,
    keys: KeySet,
}

/// Prints it.
pub(crate) fn run(scratch: &Path, quick: bool) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(scratch)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(folder.path(), if quick { 20 } else { 1_000 }))
}

async fn measure(folder: &Path, taps: u32) -> anyhow::Result<()> {
    let (daemon, mut desk) = start(folder).await?;
    let mut log = PlainLog::new(folder)?;
    let (mut own, mut cards, mut syncs) = <(Samples, Samples, Samples)>::default();
    let mut processor = Duration::ZERO;
    // The first taps warm caches and open files.
    let warm_up = taps / 20;
    for n in 0..warm_up + taps {
        let card = desk.issue(n)?;
        let before = process_cpu();
        let timing = desk.tap(card).await?;
        let spent = process_cpu().saturating_sub(before);
        // In turn with the taps, so that both meet the same disk.
        let (mut two, log) = (Samples::default(), &mut log);
        two.time(|| log.append().and_then(|()| log.append()))?;
        if n >= warm_up {
            own.push(timing.own);
            cards.push(timing.total.saturating_sub(timing.own));
            syncs.push(two.sum());
            processor += spent;
        }
    }
    let head = u64::from(warm_up + taps);
    anyhow::ensure!(daemon.log().borrow().live().head.0 == head, "every tap is in the log");
    daemon.stop().await;
    headline(
        "validator: its own share of a tap, card detected to answer shown, card time excluded",
    );
    line("own share", &own.to_string());
    line("two plain appends with fdatasync, in turn", &syncs.to_string());
    line("own share : two plain syncs, p50", &ratio(own.p50().as_nanos(), syncs.p50().as_nanos()));
    line("own share : two plain syncs, p99", &ratio(own.p99().as_nanos(), syncs.p99().as_nanos()));
    line("card in memory, 7 exchanges (excluded)", &cards.to_string());
    line("processor a tap, card in memory included", &short(processor / taps.max(1)));
    Ok(())
}

impl Desk {
    /// A card of its own for every tap, as in a rush hour.
    fn issue(&self, n: u32) -> anyhow::Result<VirtualCard> {
        let mut uid = [4; 7];
        uid[3..].copy_from_slice(&n.to_be_bytes());
        let opening = Opening { balance: 2_000, ..Opening::default() };
        Ok(VirtualCard::issue(CardId(uid), [1; 16], &self.keys, &opening)?.0)
    }

    async fn tap(&mut self, card: VirtualCard) -> anyhow::Result<TapTiming> {
        self.field.place(card);
        let answer = timeout(PATIENCE, self.shown.recv()).await.context("no answer in time")?;
        self.field.clear();
        let (granted, timing) = answer.context("the validator has stopped")?;
        anyhow::ensure!(granted, "a good card is granted");
        Ok(timing)
    }
}

/// A validator on a bus whose broker is out of reach.
async fn start(folder: &Path) -> anyhow::Result<(Daemon, Desk)> {
    let keys = KeySet::from_root(&Key([7; 16]));
    let (reader, field) = Reader::virtual_cards();
    let (tell, shown) = mpsc::unbounded_channel();
    let tariff = Tariff::parse(depot_server::workload::CITY)
        .map_err(|found| anyhow::anyhow!("the tariff: {found:?}"))?;
    let nowhere = PathBuf::from("/nonexistent");
    let config = Config {
        validator: config::Identity {
            id: ValidatorId::new(42).context("24 bits")?,
            role: TapRole::Board,
            place: "a".into(),
            route: Some("7".into()),
            depot: depot_name(),
            clock_kept_by: None,
            language: texts::Language::English,
        },
        state: config::State::in_folder(folder.join("state")),
        tariff: config::Tariffs { files: vec![nowhere.clone()] },
        scanner: None,
        gate: None,
        gnss: None,
        tickets: config::Tickets::default(),
        console: config::Console::default(),
        keys: config::Keys {
            signing: nowhere.clone(),
            card: nowhere.clone().into(),
            depot: nowhere,
        },
        reader: ReaderConfig::virtual_cards(),
        // The port of the discard service: nobody answers there.
        broker: config::Broker {
            host: "127.0.0.1".into(),
            port: 9,
            keep_alive_s: 5,
            protocol: link::Protocol::V5,
            payloads: validator::Payloads::Signed,
            tls: None,
        },
        lists: config::Lists::default(),
        rules: config::Rules::default(),
        rider: config::Rider::default(),
        release: config::Release::default(),
        metrics: config::Metrics::default(),
    };
    let parts = Parts {
        config,
        keys: DeviceKeys {
            signing: SigningKey::from_bytes(&[1; 32]),
            card: std::sync::Arc::new(keys.for_validator()),
            depot: vec![SigningKey::from_bytes(&[2; 32]).verifying_key()],
        },
        tariffs: TariffSet::new(tariff),
        reader,
        screen: Box::new(Told(tell, false)),
        clock: Clock::system(),
        durability: Durability::Synced,
    };
    Ok((Daemon::start(parts).await?, Desk { field, shown, keys }))
}
