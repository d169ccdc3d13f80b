//! Riders: a card each, a home, a place to go to, and habits. One seed plans the same days.

use std::sync::{Arc, Mutex};

use card::{CardKeys, IssueError, Opening, VirtualCard};
use fare::Tariff;
use model::{
    CardId, CardLayout, CardProduct, CardProducts, CardRecord, PlaceIx, ProductKind, ProductLoad,
    ProductScope, RiderClass, Timestamp, ValidUntil,
};

use super::lines::Lines;
use crate::sim::dice::Dice;

/// A card that the rider and a reader both get at.
pub type SharedCard = Arc<Mutex<VirtualCard>>;

/// One part of a journey, paid by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// Through gates.
    Rail {
        /// Tap-in.
        from: PlaceIx,
        /// Tap-out.
        to: PlaceIx,
    },
    /// On a bus, paid at boarding.
    Bus {
        /// Which line.
        line: usize,
        /// Boards at this stop of it.
        from: usize,
        /// Leaves at this one.
        to: usize,
    },
}

/// When somebody rides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    Early,
    Commuter,
    Errands,
    /// To and fro all day: the ones whom the caps are for.
    Courier,
}

/// A courier begins a ride so often: just longer than a transfer lasts.
const ROUND_S: (u64, u64) = (3_700, 4_000);
/// Nobody begins a ride after this, seconds since midnight.
const EVENING_S: u64 = 75_600;

/// Somebody with a card.
pub struct Rider {
    /// The card.
    pub card: SharedCard,
    /// Its category.
    pub class: RiderClass,
    /// There.
    pub out: Vec<Leg>,
    /// And back.
    pub back: Vec<Leg>,
    habit: Habit,
}

/// Cards with the opening records that the depot must know.
pub struct Issued {
    /// In the order of the riders.
    pub cards: Vec<SharedCard>,
    /// Number and opening record.
    pub records: Vec<(CardId, CardRecord)>,
}

/// Issues cards through their own commands. Some begin nearly empty.
pub fn issue(
    count: u32,
    keys: &dyn CardKeys,
    tariff: &Tariff,
    at: Timestamp,
    dice: &mut Dice,
) -> Result<Issued, IssueError> {
    let dearest = tariff.parts().products.iter().map(|p| p.price.minor()).max().unwrap_or(1).max(1);
    let mut letters = [0; 3];
    letters.copy_from_slice(tariff.currency().letters().as_bytes());
    let mut issued = Issued { cards: Vec::new(), records: Vec::new() };
    for n in 0..count {
        // Scattered as a factory's numbers are, and all different.
        let (noise, count) = (dice.bytes16(), n.to_be_bytes());
        let uid = CardId([4, noise[0], count[1], noise[1], count[2], noise[2], count[3]]);
        // The first cards are for what the demo shows at once.
        let low = n > 10 && dice.chance(30);
        let low_value = dice.below(dearest.unsigned_abs());
        let value = dearest.unsigned_abs() * dice.between(20, 60);
        let classes = tariff.classes().len().max(1);
        let dealt = if dice.chance(700) { 0 } else { dice.index(classes) };
        // The card whose charge is shown at once has a discount, where the tariff gives one.
        let class = if n == 1 { classes.min(3) - 1 } else { dealt };
        let opening = Opening {
            currency: letters,
            class: RiderClass(u8::try_from(class).unwrap_or(0)),
            valid_until: ValidUntil::Always,
            balance: u32::try_from(if low { low_value } else { value }).unwrap_or(u32::MAX >> 8),
            at_s: u32::try_from(at.secs()).unwrap_or(u32::MAX),
            tariff: tariff.version(),
            products: products(n, at),
            layout: CardLayout::Counters,
            ..Opening::default()
        };
        let (card, paper) = VirtualCard::issue(uid, dice.bytes16(), keys, &opening)?;
        issued.cards.push(Arc::new(Mutex::new(card)));
        issued.records.push((paper.card, paper.record));
    }
    Ok(issued)
}

/// Every eighth rider has a monthly pass, and every eighth some rides bought together.
fn products(n: u32, at: Timestamp) -> Option<ProductLoad> {
    let at_s = u32::try_from(at.secs()).unwrap_or(u32::MAX);
    let (kind, rides, until_s) = match n % 8 {
        3 => (ProductKind::Pass, 0, at_s.saturating_add(30 * 86_400)),
        6 => (ProductKind::Rides, 10, 0),
        _ => return None,
    };
    let (scope, from_s) = (ProductScope::EVERYTHING, at_s.saturating_sub(86_400));
    let product = CardProduct { id: 1, kind, scope, serial: 1, from_s, until_s };
    ProductLoad::new(CardProducts::new([Some(product), None]).ok()?, rides).ok()
}

impl Rider {
    /// Gives a card a life. `None` when nothing is served.
    pub fn new(
        card: SharedCard,
        class: RiderClass,
        lines: &Lines,
        dice: &mut Dice,
    ) -> Option<Self> {
        let out = (0..20).find_map(|_| journey(lines, dice))?;
        let back = way_back(lines, &out).unwrap_or_default();
        // A ride through gates is over before the next one begins, whatever the timetable.
        let rail = matches!((&*out, &*back), ([Leg::Rail { .. }], [Leg::Rail { .. }]));
        let habit = match dice.below(10) {
            0 => Habit::Early,
            1 if rail => Habit::Courier,
            1..=7 => Habit::Commuter,
            _ => Habit::Errands,
        };
        Some(Self { card, class, out, back, habit })
    }

    /// When a day's ways begin, seconds since midnight, and which of them lead back. `now_s` is
    /// when planning happens; nothing is planned before it.
    pub fn day(&self, now_s: u64, dice: &mut Dice) -> Vec<(bool, u64)> {
        let mut hump = |from: u64, width: u64| from + dice.below(width / 2) + dice.below(width / 2);
        let (out, back) = match self.habit {
            Habit::Early => (hump(23_400, 2_400), hump(52_000, 7_000)),
            Habit::Commuter => (hump(23_460, 9_600), hump(57_600, 13_000)),
            Habit::Errands => {
                let out = hump(30_000, 24_000);
                (out, hump(out + 3_600, 14_000))
            }
            Habit::Courier => return courier_day(now_s, dice),
        };
        vec![(false, out.max(now_s + dice.below(60))), (true, back.max(now_s + 3_600))]
    }
}

fn courier_day(now_s: u64, dice: &mut Dice) -> Vec<(bool, u64)> {
    let mut ways = Vec::new();
    let mut at = now_s.max(23_400) + dice.below(300);
    while at < EVENING_S {
        ways.push((ways.len() % 2 == 1, at));
        at += dice.between(ROUND_S.0, ROUND_S.1);
    }
    ways
}

fn journey(lines: &Lines, dice: &mut Dice) -> Option<Vec<Leg>> {
    let kinds = [(!lines.rides_s.is_empty(), 55), (!lines.lines.is_empty(), 25)];
    let transfer = if lines.walks.is_empty() || lines.rides_s.is_empty() { 0 } else { 20 };
    let weights = kinds.map(|(served, weight)| if served { weight } else { 0 });
    let sum = weights[0] + weights[1] + transfer;
    if sum == 0 {
        return None;
    }
    let roll = dice.below(sum);
    if roll < weights[0] {
        let nth = dice.index(lines.rides_s.len());
        let (from, to) = *lines.rides_s.keys().nth(nth)?;
        return Some(vec![Leg::Rail { from, to }]);
    }
    if roll < weights[0] + weights[1] {
        let line = dice.index(lines.lines.len());
        let stops = lines.lines[line].places.len();
        let from = dice.index(stops - 1);
        let to = from + 1 + dice.index(stops - 1 - from);
        return Some(vec![Leg::Bus { line, from, to }]);
    }
    let (line, to, station) = lines.walks[dice.index(lines.walks.len())];
    let from = to.checked_sub(1).map(|_| dice.index(to))?;
    let ends: Vec<PlaceIx> =
        lines.rides_s.keys().filter(|(a, _)| *a == station).map(|(_, b)| *b).collect();
    if ends.is_empty() {
        return None;
    }
    let end = ends[dice.index(ends.len())];
    Some(vec![Leg::Bus { line, from, to }, Leg::Rail { from: station, to: end }])
}

/// The same way in the other direction, when every part of it runs.
fn way_back(lines: &Lines, out: &[Leg]) -> Option<Vec<Leg>> {
    out.iter()
        .rev()
        .map(|leg| match *leg {
            Leg::Rail { from, to } => {
                lines.rides_s.contains_key(&(to, from)).then_some(Leg::Rail { from: to, to: from })
            }
            Leg::Bus { line, from, to } => {
                lines.back(line, from, to).map(|(line, from, to)| Leg::Bus { line, from, to })
            }
        })
        .collect()
}
