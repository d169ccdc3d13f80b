//! The validators of the day, and what becomes of each of them.

use fleet_sync::{DepotName, SigningKey};
use model::{ClockQuality, Epoch, TapSeq, ValidatorId};
use validation::ValidatorContext;

use super::{
    city::{self, Kind},
    log::Log,
};
use crate::sim::dice::Dice;

/// The life of a `Said` that no life of the log holds: it was written over.
pub const NO_LIFE: usize = usize::MAX;
/// What a wrong clock is off by.
const YEAR_S: i64 = 365 * 86_400;

/// What becomes of a validator. Times are seconds since the day began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It delivers as it goes.
    Sound,
    /// It has no network before it is back in the garage.
    Garage,
    /// The same, and it comes back when the day is closed.
    Late,
    /// It burns, with what it had not delivered.
    Destroyed(u32),
    /// Its storage is made anew, with the next life of its log.
    Reimaged(u32),
    /// An older image of its storage is put back: it gives numbers a second time.
    Restored(u32),
}

/// What somebody does to what it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crime {
    /// Alters the amount of taps.
    Alters,
    /// Writes a tap down a second time.
    Repeats,
    /// Deletes entries.
    Deletes,
}

/// A validator.
#[derive(Debug)]
pub struct Device {
    /// Who.
    pub id: ValidatorId,
    /// What it is.
    pub kind: Kind,
    /// What it knows.
    pub context: ValidatorContext,
    /// Its clock, less the time.
    pub offset_s: i64,
    /// It goes by another table of fares.
    pub is_mispriced: bool,
    /// What becomes of it.
    pub fate: Fate,
    /// What is done to its entries.
    pub crime: Option<Crime>,
    /// Each life of its log.
    pub lives: Vec<Log>,
    /// Of each life, what reached the depot without a hole before it: through which entry, and
    /// when, as the network knows.
    pub arrivals: Vec<Vec<(TapSeq, u32)>>,
    /// Seconds between two batches.
    pub every_s: u32,
    /// When the next one is due.
    pub next_s: u32,
    /// Whether it takes cards.
    pub is_on: bool,
    /// An image of its storage, as it was once.
    pub image: Option<Log>,
    /// It works from an old image.
    pub is_restored: bool,
}

impl Device {
    /// The life of its log that it writes.
    pub fn log(&mut self) -> &mut Log {
        self.lives.last_mut().expect("a log has a life")
    }

    /// Where an entry stands that it writes.
    pub fn life(&self) -> usize {
        if self.is_restored { NO_LIFE } else { self.lives.len() - 1 }
    }

    /// Begins the next life of its log.
    pub fn begin_life(&mut self, depot: &DepotName) {
        let epoch = Epoch(u32::try_from(self.lives.len()).expect("few lives") + 1);
        self.lives.push(Log::new(self.id, epoch, signing(self.id), depot));
        self.arrivals.push(Vec::new());
        self.is_restored = false;
    }

    /// What was done to it, in words.
    pub fn faults(&self) -> Vec<&'static str> {
        let fate = match self.fate {
            Fate::Sound => None,
            Fate::Garage => Some("validators without a network until the night"),
            Fate::Late => Some("validators that come back when the day is closed"),
            Fate::Destroyed(_) => Some("validators destroyed"),
            Fate::Reimaged(_) => Some("validators made anew"),
            Fate::Restored(_) => Some("validators put back to an old image"),
        };
        let crime = self.crime.map(|crime| match crime {
            Crime::Alters => "validators that alter taps",
            Crime::Repeats => "validators that repeat taps",
            Crime::Deletes => "validators that lose entries",
        });
        let clock = (self.offset_s != 0).then_some("clocks a year off");
        let table = self.is_mispriced.then_some("validators with another fare table");
        [fate, crime, clock, table].into_iter().flatten().collect()
    }

    /// Through which entry a life has reached the depot.
    pub fn handed(&self, life: usize) -> TapSeq {
        self.arrivals[life].last().map_or(TapSeq(0), |(through, _)| *through)
    }

    /// When an entry reached the depot, seconds since the day began; `None` while it has not.
    pub fn arrived(&self, life: usize, seq: TapSeq) -> Option<u32> {
        let arrivals = self.arrivals.get(life)?;
        let at = arrivals.partition_point(|(through, _)| *through < seq);
        arrivals.get(at).map(|(_, at)| *at)
    }
}

/// A validator's key.
pub fn signing(id: ValidatorId) -> SigningKey {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&id.number().to_be_bytes());
    SigningKey::from_bytes(&seed)
}

/// How many of each fault are injected into a day of so many taps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Cards that are copied; as many are rolled back, brought along, given value, loaded.
    pub cards: u32,
    /// Validators of each fate and with each crime.
    pub validators: usize,
    /// Taps that are torn, of a thousand.
    pub torn: u32,
}

impl Faults {
    /// For a day of this size.
    pub fn of(taps: u32) -> Self {
        Self {
            cards: (taps / 25_000).max(3),
            validators: (taps / 250_000).max(1) as usize,
            torn: 3,
        }
    }
}

/// A fleet for so many taps, with fates and crimes dealt out.
pub fn fleet(taps: u32, faults: Faults, depot: &DepotName, dice: &mut Dice) -> Vec<Device> {
    let (right, wrong) = (city::tariffs(), city::wrong_tariffs());
    let buses = (taps / 1200).max(40);
    let gates = (taps / 6000).max(2);
    let ferries = (taps / 8000).max(4);
    let kinds = (0..buses).map(|_| Kind::Bus).chain((0..ferries).map(|_| Kind::Ferry));
    let stations = (0..city::STATIONS).flat_map(|s| [Kind::In(s), Kind::Out(s)]);
    let kinds = kinds.chain(stations.flat_map(|kind| (0..gates).map(move |_| kind)));
    let mut fleet: Vec<_> = kinds
        .zip(1..)
        .map(|(kind, number)| {
            let id = ValidatorId::new(number).expect("24 bits");
            let every_s = u32::try_from(dice.between(300, 1500)).expect("small");
            let mut device = Device {
                id,
                kind,
                context: city::context(id, kind, &right),
                offset_s: 0,
                is_mispriced: false,
                fate: Fate::Sound,
                crime: None,
                lives: Vec::new(),
                arrivals: Vec::new(),
                every_s,
                next_s: u32::try_from(dice.below(u64::from(every_s))).expect("small"),
                is_on: true,
                image: None,
                is_restored: false,
            };
            device.begin_life(depot);
            device
        })
        .collect();
    deal(&mut fleet, faults, dice);
    for device in fleet.iter_mut().filter(|device| device.is_mispriced) {
        device.context.tariffs = wrong.clone();
    }
    fleet
}

/// Deals out fates and crimes, one to a validator at most. One of each kind stays as it is.
fn deal(fleet: &mut [Device], faults: Faults, dice: &mut Dice) {
    let mut order: Vec<usize> = (0..fleet.len()).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, dice.index(at + 1));
    }
    let on_road = |device: &Device| matches!(device.kind, Kind::Bus | Kind::Ferry);
    let mut road: Vec<_> = order.iter().copied().filter(|at| on_road(&fleet[*at])).collect();
    let mut hour = |from: u64, to: u64| {
        u32::try_from(dice.between(from * 3600, to * 3600)).expect("a day is short")
    };
    for _ in 0..faults.validators {
        let mut next = || road.pop().expect("the fleet is big enough for its faults");
        for fate in [
            Fate::Garage,
            Fate::Late,
            Fate::Destroyed(hour(5, 15)),
            Fate::Destroyed(hour(5, 15)),
            Fate::Reimaged(hour(5, 15)),
            Fate::Restored(hour(5, 15)),
        ] {
            fleet[next()].fate = fate;
        }
        for crime in [Crime::Alters, Crime::Repeats, Crime::Deletes] {
            fleet[next()].crime = Some(crime);
        }
        for sign in [-1, 1] {
            let device = &mut fleet[next()];
            device.offset_s = sign * YEAR_S;
            device.context.clock = ClockQuality::Rtc;
        }
        fleet[next()].is_mispriced = true;
    }
    let gates = order.iter().filter(|at| matches!(fleet[**at].kind, Kind::In(_) | Kind::Out(_)));
    // A gate that is a year behind lets people in; the one that burns let them out.
    let gates: Vec<_> = gates.copied().take(faults.validators * 2).collect();
    for (n, at) in gates.into_iter().enumerate() {
        if n % 2 == 0 {
            fleet[at].fate = Fate::Destroyed(hour(5, 15));
        } else {
            fleet[at].fate = Fate::Late;
        }
    }
}
