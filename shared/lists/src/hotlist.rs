//! Cards to refuse: a million of them in less than 4 MB, exactly.
//!
//! Cards are grouped by their first byte, which names the chip's maker. The other 48 bits of a
//! group are coded after Elias and Fano: of `n` sorted numbers the low `b = 48 − ⌈log2 n⌉` bits
//! stand as they are, and the high bits as a row of as many zeros as there are high values, with a
//! one before a zero for each number that has it. That is 30 bits for each of a million cards where
//! a plain list takes 56, and nothing is lost: no filter, no false alarm. The bytes that travel are
//! those that are searched; only a coarse index is made when they are read.

mod splice;

use alloc::{collections::BTreeMap, sync::Arc, vec, vec::Vec};
use core::{fmt, iter};

use model::CardId;

use crate::{KEY, ListError, VERSION, bits, head, take};

const WIDTH: u32 = 48;
/// Zeros between two entries of the index.
const STRIDE: usize = 64;
/// Bytes of the head: version, number of groups.
const HEAD: usize = 5;
/// Bytes that say first byte and count of a group.
const GROUP: usize = 5;
const REMOVED: u8 = 0;

/// Why a card is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grade {
    /// For the time being: a debt that can be paid, a question that can be answered.
    Grey,
    /// For good: lost, stolen, forged.
    Black,
}

/// A set of cards with the grade of each. Clones share it.
#[derive(Clone)]
pub struct Hotlist {
    content: Arc<[u8]>,
    groups: Arc<[Group]>,
    len: usize,
}

/// Where the cards with one first byte stand.
#[derive(Debug)]
struct Group {
    first: u8,
    count: usize,
    low_bits: u32,
    high_at: usize,
    low_at: usize,
    grade_at: usize,
    /// The position of every [`STRIDE`]th zero of the high bits.
    zeros: Vec<u32>,
}

/// A number's place in a group.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Its one among the high bits.
    bit: usize,
    /// How many are before it.
    index: usize,
    /// Whether it is there.
    holds: bool,
}

/// Never the cards: this may stand in a log.
impl fmt::Debug for Hotlist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hotlist of {} cards", self.len)
    }
}

impl PartialEq for Hotlist {
    fn eq(&self, other: &Self) -> bool {
        self.content == other.content
    }
}
impl Eq for Hotlist {}

impl Default for Hotlist {
    fn default() -> Self {
        Self::build(iter::empty())
    }
}

impl Grade {
    const fn code(self) -> u8 {
        match self {
            Self::Grey => 1,
            Self::Black => 2,
        }
    }
}

impl Hotlist {
    /// From cards in any order, all of them black.
    pub fn new(cards: impl IntoIterator<Item = CardId>) -> Self {
        Self::build(cards.into_iter().map(|card| (card, Grade::Black)))
    }

    /// From cards in any order; of two grades of one card, black counts.
    pub fn build(entries: impl IntoIterator<Item = (CardId, Grade)>) -> Self {
        let mut sorted: Vec<(CardId, Grade)> = entries.into_iter().collect();
        // The darker one first, so that it is the one that stays.
        sorted.sort_unstable_by(|a, b| (a.0, b.1).cmp(&(b.0, a.1)));
        sorted.dedup_by_key(|(card, _)| *card);
        Self::from_sorted(|| sorted.iter().copied())
    }

    /// Reads a list; every entry is looked at once.
    pub fn parse(content: Vec<u8>) -> Result<Self, ListError> {
        let mut rest = content.as_slice();
        let count = head(&mut rest)? as usize;
        let mut known = Vec::new();
        for _ in 0..count.min(257) {
            let [first] = take(&mut rest)?;
            known.push((first, u32::from_le_bytes(take(&mut rest)?) as usize));
        }
        let ascending = known.is_sorted_by(|a, b| a.0 < b.0);
        if count > 256 || !ascending || known.iter().any(|(_, n)| *n == 0) {
            return Err(ListError::Order);
        }
        // Before anything is made of the counts.
        if known.iter().try_fold(size(known.len()), add).is_none_or(|n| n != content.len()) {
            return Err(ListError::Length);
        }
        let list = Self::index(content.into(), &known)?;
        // Exactly the bytes that these entries have, spare bits included.
        let rises = list.iter().is_sorted_by(|a, b| a.0 < b.0);
        if !rises || Self::from_sorted(|| list.iter()).content != list.content {
            return Err(ListError::Order);
        }
        Ok(list)
    }

    /// The bytes that travel.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Bytes in memory.
    pub fn resident(&self) -> usize {
        let index = |group: &Group| size_of::<Group>() + 4 * group.zeros.len();
        self.content.len() + self.groups.iter().map(index).sum::<usize>()
    }

    /// How a card is listed, if it is.
    pub fn find(&self, card: CardId) -> Option<Grade> {
        let (first, number) = split(card);
        let at = self.groups.binary_search_by_key(&first, |group| group.first).ok()?;
        let group = &self.groups[at];
        let place = group.seek(&self.content, number)?;
        place.holds.then(|| group.grade(&self.content, place.index))
    }

    /// Whether a card is to be refused.
    pub fn contains(&self, card: CardId) -> bool {
        self.find(card).is_some()
    }

    /// How many cards.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no card is to be refused.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries in the order of the cards.
    pub fn iter(&self) -> impl Iterator<Item = (CardId, Grade)> + '_ {
        self.groups.iter().flat_map(|group| group.iter(&self.content))
    }

    /// What leads from this list to `newer`: 8 bytes for each entry that differs.
    pub fn delta(&self, newer: &Self) -> Vec<u8> {
        let (mut old, mut new) = (self.iter().peekable(), newer.iter().peekable());
        let (mut changes, mut count) = (Vec::new(), 0_u32);
        let mut change = |(card, code): (CardId, u8)| {
            changes.extend_from_slice(&card.0);
            changes.push(code);
            count += 1;
        };
        loop {
            match (old.peek().copied(), new.peek().copied()) {
                (Some(a), Some(b)) if a.0 == b.0 => {
                    if a.1 != b.1 {
                        change((b.0, b.1.code()));
                    }
                    (_, _) = (old.next(), new.next());
                }
                (Some(a), b) if b.is_none_or(|b| a.0 < b.0) => {
                    change((a.0, REMOVED));
                    old.next();
                }
                (_, Some(b)) => {
                    change((b.0, b.1.code()));
                    new.next();
                }
                (Some(_) | None, None) => break,
            }
        }
        [&[VERSION], &count.to_le_bytes()[..], &changes].concat()
    }

    /// The list that a delta leads to.
    pub fn apply(&self, delta: &[u8]) -> Result<Self, ListError> {
        let mut rest = delta;
        let count = head(&mut rest)? as usize;
        if rest.len() != count.checked_mul(KEY + 1).ok_or(ListError::Length)? {
            return Err(ListError::Length);
        }
        let mut changes = Vec::with_capacity(count);
        for chunk in rest.chunks_exact(KEY + 1) {
            let card = CardId(chunk[..KEY].try_into().expect("seven bytes"));
            let grade = match chunk[KEY] {
                REMOVED => None,
                1 => Some(Grade::Grey),
                2 => Some(Grade::Black),
                code => return Err(ListError::Code(code)),
            };
            changes.push((card, grade));
        }
        if !changes.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(ListError::Order);
        }
        Ok(splice::apply(self, &changes))
    }

    /// The list with these cards graded anew, or without them.
    #[must_use]
    pub fn with(&self, changes: &BTreeMap<CardId, Option<Grade>>) -> Self {
        let changes: Vec<_> = changes.iter().map(|(card, grade)| (*card, *grade)).collect();
        splice::apply(self, &changes)
    }

    /// Codes entries that come in order, each card once; they are asked for twice.
    fn from_sorted<I: Iterator<Item = (CardId, Grade)>>(entries: impl Fn() -> I) -> Self {
        let mut counts = BTreeMap::<u8, usize>::new();
        for (card, _) in entries() {
            *counts.entry(split(card).0).or_default() += 1;
        }
        let known: Vec<(u8, usize)> = counts.into_iter().collect();
        let mut content = blank(&known);
        let mut entries = entries();
        for group in layout(&known) {
            group.code(&mut content, entries.by_ref().take(group.count));
        }
        Self::index(content.into(), &known).expect("what was coded here reads back")
    }

    /// Makes the index over content whose length was checked.
    fn index(content: Arc<[u8]>, known: &[(u8, usize)]) -> Result<Self, ListError> {
        let mut groups = layout(known);
        for group in &mut groups {
            if group.count_zeros(&content)? != group.buckets() {
                return Err(ListError::Length);
            }
        }
        let len = known.iter().map(|(_, n)| n).sum();
        Ok(Self { content, groups: groups.into(), len })
    }
}

impl Group {
    const fn buckets(&self) -> usize {
        1 << (WIDTH - self.low_bits)
    }

    /// Writes one entry: with its high value, its place among the others and its grade.
    fn put(&self, content: &mut [u8], bit: usize, index: usize, number: u64, grade: Grade) {
        bits::write(content, 8 * self.high_at + bit, 1, 1);
        let low_at = 8 * self.low_at + index * self.low_bits as usize;
        bits::write(content, low_at, self.low_bits, number);
        let grey = u64::from(grade == Grade::Grey);
        bits::write(content, 8 * self.grade_at + index, 1, grey);
    }

    /// Writes all of the group's entries, which come in order.
    fn code(&self, content: &mut [u8], entries: impl Iterator<Item = (CardId, Grade)>) {
        for (index, (card, grade)) in entries.enumerate() {
            let number = split(card).1;
            let high = usize::try_from(number >> self.low_bits).unwrap_or(0);
            self.put(content, high + index, index, number, grade);
        }
    }

    /// Where a number stands, or would stand.
    fn seek(&self, content: &[u8], number: u64) -> Option<Place> {
        let (high, low) = (number >> self.low_bits, number & ((1 << self.low_bits) - 1));
        let high = usize::try_from(high).ok()?;
        // All numbers before this one's zeros are ones.
        let mut bit = if high == 0 { 0 } else { self.zero(content, high - 1)? + 1 };
        while bits::read(content, 8 * self.high_at + bit, 1) == 1 {
            let index = bit - high;
            let found = self.low(content, index);
            if found >= low {
                return Some(Place { bit, index, holds: found == low });
            }
            bit += 1;
        }
        Some(Place { bit, index: bit - high, holds: false })
    }

    /// Makes the index of the high bits' zeros, and counts them: 56 bits at a time.
    fn count_zeros(&mut self, content: &[u8]) -> Result<usize, ListError> {
        let length = self.count + self.buckets();
        let (mut bit, mut zeros) = (0_usize, 0_usize);
        while bit < length {
            let width = u32::try_from((length - bit).min(bits::CHUNK)).unwrap_or_default();
            let ones = bits::read(content, 8 * self.high_at + bit, width);
            let mut holes = !ones & ((1 << width) - 1);
            let here = holes.count_ones() as usize;
            let wanted = zeros.next_multiple_of(STRIDE);
            if wanted < zeros + here {
                for _ in zeros..wanted {
                    holes &= holes - 1;
                }
                let found = bit + holes.trailing_zeros() as usize;
                self.zeros.push(u32::try_from(found).map_err(|_| ListError::Length)?);
            }
            zeros += here;
            bit += width as usize;
        }
        Ok(zeros)
    }

    fn low(&self, content: &[u8], index: usize) -> u64 {
        let at = 8 * self.low_at + index * self.low_bits as usize;
        bits::read(content, at, self.low_bits)
    }

    fn grade(&self, content: &[u8], index: usize) -> Grade {
        let grey = bits::read(content, 8 * self.grade_at + index, 1) == 1;
        if grey { Grade::Grey } else { Grade::Black }
    }

    /// The position of zero number `which` in the high bits.
    fn zero(&self, content: &[u8], which: usize) -> Option<usize> {
        let mut bit = *self.zeros.get(which / STRIDE)? as usize;
        let mut left = which % STRIDE;
        loop {
            // 56 bits from here on; what lies before them is no zero of ours.
            let at = 8 * self.high_at + bit;
            let zeros = !(bits::word(content, at / 8) >> (at % 8)) & ((1 << 56) - 1);
            let here = zeros.count_ones() as usize;
            if left < here {
                let mut zeros = zeros;
                for _ in 0..left {
                    zeros &= zeros - 1;
                }
                return Some(bit + zeros.trailing_zeros() as usize);
            }
            left -= here;
            bit += 56;
        }
    }

    /// The position of the first one in the high bits from `bit` on; there must be one.
    fn next_one(&self, content: &[u8], mut bit: usize) -> usize {
        loop {
            let at = 8 * self.high_at + bit;
            match bits::read(content, at, 56) {
                0 => bit += bits::CHUNK,
                ones => return bit + ones.trailing_zeros() as usize,
            }
        }
    }

    fn iter<'a>(&'a self, content: &'a [u8]) -> impl Iterator<Item = (CardId, Grade)> + 'a {
        let (mut bit, mut index) = (0, 0);
        iter::from_fn(move || {
            if index == self.count {
                return None;
            }
            bit = self.next_one(content, bit);
            let high = (bit - index) as u64;
            let number = high << self.low_bits | self.low(content, index);
            let entry = (join(self.first, number), self.grade(content, index));
            (bit, index) = (bit + 1, index + 1);
            Some(entry)
        })
    }
}

fn split(card: CardId) -> (u8, u64) {
    let mut number = [0; 8];
    number[2..].copy_from_slice(&card.0[1..]);
    (card.0[0], u64::from_be_bytes(number))
}

fn join(first: u8, number: u64) -> CardId {
    let mut card = [first; KEY];
    card[1..].copy_from_slice(&number.to_be_bytes()[2..]);
    CardId(card)
}

/// The low bits of `count` numbers: the fewest high values that are as many as the numbers.
const fn low_bits(count: usize) -> u32 {
    WIDTH - count.next_power_of_two().trailing_zeros()
}

/// Bytes of the head with so many groups.
const fn size(groups: usize) -> usize {
    HEAD + GROUP * groups
}

/// The length with one group more.
fn add(length: usize, (_, count): &(u8, usize)) -> Option<usize> {
    if *count > u32::MAX as usize / 4 {
        return None;
    }
    let [high, low, grade] = parts(*count);
    length.checked_add(high)?.checked_add(low)?.checked_add(grade)
}

/// Bytes of the high bits, the low bits and the grades.
const fn parts(count: usize) -> [usize; 3] {
    let low = low_bits(count);
    let high = count + (1 << (WIDTH - low));
    [high.div_ceil(8), (count * low as usize).div_ceil(8), count.div_ceil(8)]
}

/// Content of the right length with only its head written.
fn blank(known: &[(u8, usize)]) -> Vec<u8> {
    let length = known.iter().try_fold(size(known.len()), add).unwrap_or(0);
    let mut content = vec![0; length];
    content[0] = VERSION;
    let groups = u32::try_from(known.len()).expect("at most 256");
    content[1..HEAD].copy_from_slice(&groups.to_le_bytes());
    for (place, (first, n)) in content[HEAD..].chunks_exact_mut(GROUP).zip(known) {
        place[0] = *first;
        let n = u32::try_from(*n).unwrap_or(u32::MAX);
        place[1..].copy_from_slice(&n.to_le_bytes());
    }
    content
}

fn layout(known: &[(u8, usize)]) -> Vec<Group> {
    let mut at = size(known.len());
    let group = |(first, count): &(u8, usize)| {
        let [high, low, grade] = parts(*count);
        let (high_at, low_at, grade_at) = (at, at + high, at + high + low);
        at += high + low + grade;
        let (first, count, low_bits) = (*first, *count, low_bits(*count));
        Group { first, count, low_bits, high_at, low_at, grade_at, zeros: Vec::new() }
    };
    known.iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    fn card() -> impl Strategy<Value = CardId> {
        prop_oneof![
            any::<[u8; 7]>().prop_map(CardId),
            any::<[u8; 6]>().prop_map(|[a, b, c, d, e, f]| CardId([4, a, b, c, d, e, f])),
            (0..4_u8, 0..4_u8).prop_map(|(a, b)| CardId([4, 0, 0, 0, 0, a, b])),
            (0..3_u8).prop_map(|a| CardId([255, 255, 255, 255, 255, 255, 253 + a])),
        ]
    }

    fn grade() -> impl Strategy<Value = Grade> {
        prop_oneof![Just(Grade::Grey), Just(Grade::Black)]
    }

    proptest! {
        #[test]
        fn a_hotlist_holds_exactly_its_cards_and_reads_back(
            entries in btree_map(card(), grade(), 0..300),
            others in proptest::collection::vec(card(), 0..100),
        ) {
            let list = Hotlist::build(entries.clone());
            prop_assert_eq!(list.len(), entries.len());
            prop_assert!(list.iter().eq(entries.iter().map(|(card, grade)| (*card, *grade))));
            for (card, grade) in &entries {
                prop_assert_eq!(list.find(*card), Some(*grade));
            }
            for card in others {
                prop_assert_eq!(list.find(card), entries.get(&card).copied());
            }
            let again = Hotlist::parse(list.content().to_vec()).unwrap();
            prop_assert_eq!(again, list);
        }

        #[test]
        fn a_delta_leads_to_the_very_bytes_of_the_newer_list(
            old in btree_map(card(), grade(), 0..120),
            new in btree_map(card(), grade(), 0..120),
            kept in 0..100_u8,
        ) {
            let mut both = new;
            both.extend(old.iter().take(usize::from(kept)).map(|(card, grade)| (*card, *grade)));
            let (old, new) = (Hotlist::build(old), Hotlist::build(both));
            let delta = old.delta(&new);
            prop_assert_eq!(old.apply(&delta), Ok(new.clone()));
            prop_assert!(delta.len() <= 5 + 8 * (old.len() + new.len()));
            prop_assert_eq!(new.delta(&new).len(), 5);
        }

        #[test]
        fn a_delta_over_a_power_of_two_and_over_whole_groups_is_exact_too(
            cards in btree_map(0..600_u16, grade(), 1..600),
            changes in btree_map(0..600_u16, proptest::option::of(grade()), 0..600),
            shift in 0..40_u32,
        ) {
            let card = |n: u16| join(4 + u8::from(n >= 500), u64::from(n % 500) << shift);
            let old = Hotlist::build(cards.iter().map(|(n, grade)| (card(*n), *grade)));
            let mut after = cards;
            for (n, grade) in changes {
                match grade {
                    Some(grade) => drop(after.insert(n, grade)),
                    None => drop(after.remove(&n)),
                }
            }
            let new = Hotlist::build(after.iter().map(|(n, grade)| (card(*n), *grade)));
            prop_assert_eq!(old.apply(&old.delta(&new)), Ok(new));
        }

        #[test]
        fn no_bytes_make_a_list_panic(
            entries in btree_map(card(), grade(), 1..40),
            at in any::<prop::sample::Index>(),
            with in any::<u8>(),
            noise in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let list = Hotlist::build(entries);
            let mut bytes = list.content().to_vec();
            let at = at.index(bytes.len());
            let is_changed = bytes[at] != with;
            bytes[at] = with;
            // Whatever reads is canonical: other bytes are another list or none.
            if let Ok(other) = Hotlist::parse(bytes.clone()) {
                prop_assert_eq!(other == list, !is_changed);
                prop_assert_eq!(other.content(), &bytes[..]);
            }
            bytes.truncate(at);
            prop_assert!(Hotlist::parse(bytes).is_err());
            let _ = Hotlist::parse(noise.clone());
            let _ = list.apply(&noise);
            let _ = list.apply(&[&[VERSION, 1, 0, 0, 0], &noise[..]].concat());
        }
    }

    #[test]
    fn a_card_in_doubt_is_black_and_a_newer_format_is_named() {
        let card = CardId([4; 7]);
        for pair in [[Grade::Grey, Grade::Black], [Grade::Black, Grade::Grey]] {
            let list = Hotlist::build(pair.map(|grade| (card, grade)));
            assert_eq!((list.len(), list.find(card)), (1, Some(Grade::Black)));
        }
        assert_eq!(Hotlist::parse(vec![9, 0, 0, 0, 0]), Err(ListError::Version(9)));
        let hostile = [&[VERSION, 1, 0, 0, 0, 4][..], &u32::MAX.to_le_bytes()].concat();
        assert_eq!(Hotlist::parse(hostile), Err(ListError::Length));
    }

    #[test]
    fn a_million_cards_fit_four_megabytes_and_a_thousand_changes_twenty_kilobytes() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            join(4, state ^ state >> 29)
        };
        let list = Hotlist::new((0..1_000_000).map(|_| next()));
        assert!(list.len() > 999_990);
        assert!(list.resident() <= 4_000_000, "{} bytes", list.resident());
        let newer =
            Hotlist::build(list.iter().skip(500).chain((0..500).map(|_| (next(), Grade::Grey))));
        let delta = list.delta(&newer);
        assert!(delta.len() <= 20_000, "{} bytes", delta.len());
        assert_eq!(list.apply(&delta), Ok(newer));
    }
}
