//! How the device is, by work that it did: a tap of nobody's card through rules and keys, a durable
//! write, the reader's last card; and what the machine says of itself.
//!
//! The self-test runs every quarter of an hour between taps. What it finds goes to the depot with
//! the validator's state, to the metrics and to the log; it takes nobody out of service, because a
//! validator that serves although its fan died is better than one that does not.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    sync::{mpsc::UnboundedSender, oneshot, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use wire::Health;

use crate::{
    clock::Clock,
    log_keeper::{LogKeeper, Reply, Request},
    metrics::Metrics,
    room, selftest,
    tap_loop::Event,
};

/// How often the machine is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Every so many looks a self-test; the first look makes one.
const LOOKS_A_TEST: u64 = 15;
/// How long a self-test may wait for the tap loop and the disk.
const TEST_MAX: Duration = Duration::from_secs(20);
/// A processor that is as hot is about to slow down, degrees Celsius.
const HOT: i16 = 80;
/// Storage that is as used is to be replaced, percent.
const WORN: u8 = 90;
/// What a fault may say, bytes.
const FAULT_MAX: usize = 200;

/// What is looked at.
pub(crate) struct Doctor {
    pub(crate) state: PathBuf,
    /// Where `/sys` is.
    pub(crate) system: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) keeper: LogKeeper,
    pub(crate) events: UnboundedSender<Event>,
    pub(crate) metrics: Metrics,
    pub(crate) health: watch::Sender<Option<Health>>,
}

impl Doctor {
    /// Looks until the tap loop is gone.
    pub(crate) async fn run(self) {
        let started = self.clock.now();
        let mut looks = interval(self.clock.lasting(LOOK_EVERY));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut health = Health { started, ..Health::default() };
        let mut failed = None;
        for look in 0_u64.. {
            looks.tick().await;
            if self.events.is_closed() {
                return;
            }
            if look % LOOKS_A_TEST == 0 {
                failed = self.test(&mut health).await;
            }
            self.look(&mut health);
            let fault = failed.clone().or_else(|| machine_fault(&health)).unwrap_or_default();
            if fault != health.fault && !fault.is_empty() {
                tracing::warn!(fault, "the device is not well");
            }
            health.fault = shortened(fault);
            self.metrics.device_well.set(i64::from(health.fault.is_empty()));
            // Whoever published it may have stopped.
            self.health.send_replace(Some(health.clone()));
        }
    }

    /// Why the self-test failed, if it did.
    async fn test(&self, health: &mut Health) -> Option<String> {
        let done = timeout(TEST_MAX, async {
            let (tell, told) = oneshot::channel();
            // A loop that has ended drops what it is asked.
            let _ = self.events.send(Event::SelfTest(tell));
            let context = told.await.map_err(|_| "the tap loop does not answer".to_owned())?;
            let (now, clock) = (self.clock.now(), self.clock);
            let tapped = tokio::task::spawn_blocking(move || selftest::tap(context, now, clock));
            let took = tapped.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
            Ok::<_, String>(took + self.probe().await?)
        });
        match done.await {
            Ok(Ok(took)) => {
                health.self_tested = Some(self.clock.now());
                health.self_test_ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
                self.metrics.self_test_seconds.set(took.as_secs_f64());
                None
            }
            Ok(Err(why)) => Some(format!("self-test: {why}")),
            Err(_) => Some(format!("self-test: no answer within {} s", TEST_MAX.as_secs())),
        }
    }

    /// One durable write.
    async fn probe(&self) -> Result<Duration, String> {
        let (tell, told) = oneshot::channel();
        let reply = Reply::new(move |done| {
            let _ = tell.send(done);
        });
        let before = self.clock.elapsed();
        self.keeper.ask(Request::Probe(reply));
        let done = told.await.map_err(|_| "the tap log does not answer".to_owned())?;
        done.map_err(|e| crate::chain(&e))?;
        Ok(self.clock.elapsed().saturating_sub(before))
    }

    fn look(&self, health: &mut Health) {
        let mib = |bytes: u64| u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
        health.free_mib = room::free_bytes(&self.state).map(mib);
        health.store_mib = folder_bytes(&self.state.join("store")).map(mib);
        health.set_aside = set_aside(&self.state);
        health.last_read = self.metrics.last_read();
        health.temperature = temperature(&self.system);
        health.undervoltage = undervoltage(&self.system);
        health.wear = wear(&self.system);
        health.looked = Some(self.clock.now());
        let seconds = |at: model::Timestamp| i64::try_from(at.secs()).unwrap_or(i64::MAX);
        self.metrics.device_looked.set(health.looked.map_or(0, seconds));
        self.metrics.self_tested.set(health.self_tested.map_or(0, seconds));
    }
}

/// What the machine says that somebody should see to.
fn machine_fault(health: &Health) -> Option<String> {
    if health.undervoltage == Some(true) {
        return Some("its supply is too weak: look at cable and converter".into());
    }
    if let Some(degrees) = health.temperature.filter(|degrees| *degrees >= HOT) {
        return Some(format!("its processor has {degrees} degrees: look at its fan and its place"));
    }
    if let Some(percent) = health.wear.filter(|percent| *percent >= WORN) {
        return Some(format!("{percent} % of its storage's life is used: replace it"));
    }
    None
}

/// Cut at a character, so that it fits a state message.
pub(crate) fn shortened(mut text: String) -> String {
    let mut end = text.len().min(FAULT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The first thermal zone, in thousandths of a degree there.
fn temperature(system: &Path) -> Option<i16> {
    let text = read(&system.join("class/thermal/thermal_zone0/temp"))?;
    i16::try_from(text.parse::<i32>().ok()? / 1000).ok()
}

/// The Raspberry Pi's supply monitor (driver `rpi_volt`): 1 while the supply is too weak.
fn undervoltage(system: &Path) -> Option<bool> {
    let monitors = fs::read_dir(system.join("class/hwmon")).ok()?;
    monitors.filter_map(|entry| Some(entry.ok()?.path())).find_map(|monitor| {
        let ours = read(&monitor.join("name"))? == "rpi_volt";
        let alarm = read(&monitor.join("in0_lcrit_alarm")).filter(|_| ours)?;
        Some(alarm == "1")
    })
}

/// The worse of the two estimates of an eMMC or SD card, in steps of 10 % (JEDEC 84-B51, `EXT_CSD`
/// 268 and 269: `0x01` is up to 10 %).
fn wear(system: &Path) -> Option<u8> {
    let disks = fs::read_dir(system.join("block")).ok()?;
    disks.filter_map(|entry| Some(entry.ok()?.path())).find_map(|disk| {
        let text = read(&disk.join("device/life_time"))?;
        let steps = text.split_whitespace().filter_map(|word| {
            u8::from_str_radix(word.trim_start_matches("0x"), 16).ok().filter(|step| *step > 0)
        });
        steps.max().map(|step| step.saturating_mul(10).min(110))
    })
}

fn folder_bytes(folder: &Path) -> Option<u64> {
    let entries = fs::read_dir(folder).ok()?;
    Some(entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|file| file.len()).sum())
}

fn set_aside(state: &Path) -> u32 {
    let Ok(entries) = fs::read_dir(state.join("quarantine")) else { return 0 };
    let stores = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("store-"));
    u32::try_from(stores.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(system: &Path, file: &str, text: &str) {
        let path = system.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_machine_says_how_it_is_as_far_as_it_can_tell() {
        let system = tempfile::tempdir().unwrap();
        let at = system.path();
        assert_eq!((temperature(at), undervoltage(at), wear(at)), (None, None, None));
        write(at, "class/thermal/thermal_zone0/temp", "51234\n");
        write(at, "class/hwmon/hwmon0/name", "cpu_thermal\n");
        write(at, "class/hwmon/hwmon1/name", "rpi_volt\n");
        write(at, "class/hwmon/hwmon1/in0_lcrit_alarm", "0\n");
        write(at, "block/mmcblk0/device/life_time", "0x02 0x03\n");
        assert_eq!(
            (temperature(at), undervoltage(at), wear(at)),
            (Some(51), Some(false), Some(30))
        );
        write(at, "class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
        assert_eq!(undervoltage(at), Some(true));
    }

    #[test]
    fn the_worst_fault_is_said_with_what_to_do() {
        let well = Health { temperature: Some(79), wear: Some(89), ..Health::default() };
        assert_eq!(machine_fault(&well), None);
        let rows: [(Health, &str); 3] = [
            (Health { undervoltage: Some(true), temperature: Some(99), ..well.clone() }, "supply"),
            (Health { temperature: Some(80), ..well.clone() }, "80 degrees"),
            (Health { wear: Some(90), ..well }, "replace it"),
        ];
        for (health, words) in rows {
            let said = machine_fault(&health).unwrap();
            assert!(said.contains(words) && said.len() <= FAULT_MAX, "{said}");
        }
        assert_eq!(shortened("é".repeat(150)).len(), 200);
    }
}
