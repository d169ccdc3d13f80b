//! Clocks that disagree: a card's counter says which of two taps came first, their times say the
//! other (REC-17). No money follows from it: what is wrong is a clock.
//!
//! Invariants: what is found is a function of the set of entries, whatever their order or
//! repetition (REC-1); the chain says that two clocks disagree and never which of them is wrong, so
//! a validator is named only when more validators contradict it than contradict the other one.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::{cmp::Ordering, fmt};

use model::{
    CardId, CardRecord, RecordKind, ServiceDate, TapEvent, TapRecord, Timestamp, ValidatorId,
};

use crate::{
    TapRef,
    exception::{
        Evidence, Exception, ExceptionChange, ExceptionId, ExceptionKind, default_reason,
        difference,
    },
};

/// Two clocks that somebody set may be so far apart, seconds: each half of it off, and a tap's time
/// is that of its beginning.
pub const CLOCKS_APART_S: u32 = 600;

const DAY_S: u32 = 86_400;
/// Pairs that an item shows, those furthest apart.
const SHOWN: usize = 3;

/// Two validators whose clocks disagree, on the day that the clock behind says (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClockPair {
    /// Which day.
    pub day: ServiceDate,
    /// Whose time is later.
    pub ahead: ValidatorId,
    /// Whose time is earlier, although its tap came after.
    pub behind: ValidatorId,
}

/// One tap that lies before the tap whose record it found on the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockGap {
    /// Whose taps.
    pub card: CardId,
    /// The entry that shows it.
    pub tap: TapRef,
    /// What the tap found on the card: written by the clock that is ahead.
    pub found: CardRecord,
    /// What it wrote: by the clock that is behind.
    pub wrote: CardRecord,
}

impl ClockGap {
    /// Bytes of the stored form.
    pub const LEN: usize = 7 + TapRef::LEN + 2 * CardRecord::LEN;

    /// What an entry that the card proves shows of two clocks; `None` when it shows nothing.
    ///
    /// Only of a clock that somebody set: of another it is known that its time means nothing. A
    /// confirmation tells of a tap of another moment, and a load in a journey has that journey's
    /// time.
    pub fn of(tap: &TapRecord) -> Option<Self> {
        let (TapEvent::Committed { transaction, .. }, Some(card)) = (&tap.event, tap.card) else {
            return None;
        };
        let (found, wrote) = (transaction.before, transaction.after);
        let apart = found.at_s.saturating_sub(wrote.at_s) > CLOCKS_APART_S;
        let by_two = found.validator != wrote.validator && found.ctr < wrote.ctr;
        let gap = Self { card, tap: TapRef::of(tap), found, wrote };
        (tap.clock.is_set() && apart && by_two && is_ride(&found) && is_ride(&wrote)).then_some(gap)
    }

    /// Whose clocks, and on which day.
    pub const fn pair(&self) -> ClockPair {
        let day = ServiceDate(self.wrote.at_s / DAY_S);
        ClockPair { day, ahead: self.found.validator, behind: self.wrote.validator }
    }

    /// How far the two times are apart, seconds.
    pub const fn apart_s(&self) -> u32 {
        self.found.at_s.saturating_sub(self.wrote.at_s)
    }

    /// Whether it is the one to keep of a pair: the further apart, whatever came first.
    pub fn outranks(&self, other: &Self) -> bool {
        let rank = |gap: &Self| (u32::MAX - gap.apart_s(), gap.card, gap.wrote.ctr, gap.tap);
        rank(self) < rank(other)
    }

    /// The stored form: card 7, entry 16, the records found and written 32 each. A record that no
    /// card could hold has none.
    pub fn to_bytes(&self) -> Option<[u8; Self::LEN]> {
        let records = [self.found.to_bytes().ok()?, self.wrote.to_bytes().ok()?].concat();
        let bytes = [self.card.0.as_slice(), &self.tap.to_bytes(), &records].concat();
        bytes.first_chunk().copied()
    }

    /// Reads the stored form; `None` when these are not such bytes.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let (card, rest) = bytes.split_first_chunk()?;
        let (tap, rest) = rest.split_first_chunk()?;
        let (found, rest) = rest.split_first_chunk()?;
        Some(Self {
            card: CardId(*card),
            tap: TapRef::from_bytes(tap)?,
            found: CardRecord::from_bytes(found).ok()?,
            wrote: CardRecord::from_bytes(rest.first_chunk()?).ok()?,
        })
    }
}

const fn is_ride(record: &CardRecord) -> bool {
    match record.kind {
        RecordKind::Board | RecordKind::Entry | RecordKind::Exit => true,
        RecordKind::Issue | RecordKind::Load | RecordKind::LoadInJourney | RecordKind::Retire => {
            false
        }
    }
}

/// What one day's taps say of clocks, of each pair the gap that outranks the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClockDay(BTreeMap<ClockPair, ClockGap>);

/// Who is named for a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Suspect {
    Ahead(ValidatorId),
    Behind(ValidatorId),
    /// As many contradict the one as the other.
    Either(ClockPair),
}

impl ClockDay {
    /// From what is stored of one day.
    pub fn new(gaps: impl IntoIterator<Item = ClockGap>) -> Self {
        let mut day = Self::default();
        for gap in gaps {
            day.learn(gap);
        }
        day
    }

    /// Takes in what a tap shows; answers whether it is to be kept.
    pub fn learn(&mut self, gap: ClockGap) -> bool {
        let known = self.0.get(&gap.pair());
        let keep = known.is_none_or(|known| gap.outranks(known));
        if keep {
            self.0.insert(gap.pair(), gap);
        }
        keep
    }

    /// Every pair.
    pub fn gaps(&self) -> impl Iterator<Item = &ClockGap> {
        self.0.values()
    }

    /// The work items that open, change and resolve from here to `after`.
    pub fn changes(&self, after: &Self, now: Timestamp) -> Vec<ExceptionChange> {
        difference(&self.open(now), after.open(now), now, |item| default_reason(item.kind))
    }

    /// Every work item: one a validator that is named, and one a pair of which neither is.
    pub fn open(&self, now: Timestamp) -> Vec<Exception> {
        let mut of: BTreeMap<Suspect, Vec<&ClockGap>> = BTreeMap::new();
        let (mut ahead_of, mut behind) = (BTreeMap::new(), BTreeMap::new());
        for pair in self.0.keys() {
            *ahead_of.entry(pair.ahead).or_default() += 1;
            *behind.entry(pair.behind).or_default() += 1;
        }
        let (named, ties): (Vec<_>, Vec<_>) = self
            .0
            .iter()
            .map(|(pair, gap)| (suspect(*pair, &ahead_of, &behind), gap))
            .partition(|(suspect, _)| !matches!(suspect, Suspect::Either(_)));
        for (suspect, gap) in named {
            of.entry(suspect).or_default().push(gap);
        }
        for (suspect, gap) in ties {
            // One that is named for others explains this pair, too.
            let pair = gap.pair();
            let known = [Suspect::Ahead(pair.ahead), Suspect::Behind(pair.behind)];
            let known = known.into_iter().find(|known| of.contains_key(known));
            of.entry(known.unwrap_or(suspect)).or_default().push(gap);
        }
        of.into_iter().map(|(suspect, gaps)| item(suspect, gaps, now)).collect()
    }
}

/// The one of a pair that more validators contradict than the other, on its side: who is ahead of
/// many is ahead, and who is ahead of one and behind many is right towards that one.
fn suspect(
    pair: ClockPair,
    ahead_of: &BTreeMap<ValidatorId, u32>,
    behind: &BTreeMap<ValidatorId, u32>,
) -> Suspect {
    match ahead_of.get(&pair.ahead).cmp(&behind.get(&pair.behind)) {
        Ordering::Greater => Suspect::Ahead(pair.ahead),
        Ordering::Less => Suspect::Behind(pair.behind),
        Ordering::Equal => Suspect::Either(pair),
    }
}

fn item(suspect: Suspect, mut gaps: Vec<&ClockGap>, now: Timestamp) -> Exception {
    gaps.sort_by_key(|gap| (u32::MAX - gap.apart_s(), gap.pair()));
    let widest = gaps[0];
    let (day, apart) = (widest.pair().day, Span(widest.apart_s()));
    let others = |many: usize| match many {
        1 => String::from("another validator"),
        many => format!("{many} other validators"),
    };
    let (named, key, what) = match suspect {
        Suspect::Ahead(id) => {
            let key = [day.0.to_be_bytes().as_slice(), &[1]].concat();
            (id, key, format!("its clock is {apart} ahead of that of {}", others(gaps.len())))
        }
        Suspect::Behind(id) => {
            let key = [day.0.to_be_bytes().as_slice(), &[0]].concat();
            (id, key, format!("its clock is {apart} behind that of {}", others(gaps.len())))
        }
        Suspect::Either(ClockPair { ahead, behind, .. }) => {
            let key = [day.0.to_be_bytes(), ahead.number().to_be_bytes()].concat();
            let what = format!(
                "its clock is {apart} behind that of {ahead}, and nobody else says which is right"
            );
            (behind, key, what)
        }
    };
    let ClockGap { found, wrote, .. } = widest;
    let finding = format!(
        "{what}: record {} says {} and was on a card when record {} was written at {}",
        found.ctr,
        Moment(found.at_s),
        wrote.ctr,
        Moment(wrote.at_s)
    );
    let pieces = gaps.iter().take(SHOWN).flat_map(|gap| {
        let of = |title, tap, record| Evidence { title, tap, record: Some(record) };
        [
            of("record found, by the clock ahead", None, gap.found),
            of("record written, by the clock behind", Some(gap.tap), gap.wrote),
        ]
    });
    let kind = ExceptionKind::ClockWrong;
    Exception {
        id: ExceptionId::new(kind, &named.number().to_be_bytes(), &key),
        kind,
        card: None,
        validator: Some(named),
        amount: None,
        opened_at: now,
        finding,
        evidence: pieces.collect(),
    }
}

/// A moment by a validator's clock, as UTC.
struct Moment(u32);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, of_day) = (ServiceDate(self.0 / DAY_S), self.0 % DAY_S);
        let (hours, minutes, seconds) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{day} {hours:02}:{minutes:02}:{seconds:02} UTC")
    }
}

/// A span of time in its largest unit.
struct Span(u32);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds if seconds >= 2 * DAY_S => write!(f, "{} days", seconds / DAY_S),
            seconds if seconds >= 7200 => write!(f, "{} hours", seconds / 3600),
            seconds => write!(f, "{} minutes", seconds / 60),
        }
    }
}
