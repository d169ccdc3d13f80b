//! Changes to a hotlist without coding it anew: between two changes all bits are copied.
//!
//! While the number of a group's entries stays between the same two powers of two, an entry more
//! or less is one bit in the high bits, one number in the low bits and one bit in the grades, and
//! moves what follows. Copying with a shift does that at seven bytes a step; only a group that
//! crosses a power of two, comes or goes is coded anew.

use alloc::{collections::BTreeMap, vec::Vec};
use core::iter;

use model::CardId;

use super::{Grade, Group, Hotlist, Place, bits, blank, layout, split};

/// A change: the card, and its new grade if it stays or comes.
type Change = (CardId, Option<Grade>);

/// The list with these changes, which are in order.
pub(super) fn apply(old: &Hotlist, changes: &[Change]) -> Hotlist {
    let mut by_first: BTreeMap<u8, &[Change]> = BTreeMap::new();
    for chunk in changes.chunk_by(|a, b| a.0.0[0] == b.0.0[0]) {
        by_first.insert(chunk[0].0.0[0], chunk);
    }
    let group_of = |first: u8| {
        let found = old.groups.binary_search_by_key(&first, |group| group.first);
        found.ok().map(|at| &old.groups[at])
    };
    let firsts = old.groups.iter().map(|group| group.first).chain(by_first.keys().copied());
    let mut firsts: Vec<u8> = firsts.collect();
    firsts.sort_unstable();
    firsts.dedup();
    let mut parts = Vec::new();
    for first in firsts {
        let part = Part::new(old, group_of(first), by_first.get(&first).copied().unwrap_or(&[]));
        if part.count > 0 {
            parts.push((first, part));
        }
    }
    let known: Vec<(u8, usize)> = parts.iter().map(|(first, part)| (*first, part.count)).collect();
    let mut content = blank(&known);
    for (group, (_, part)) in layout(&known).iter().zip(&parts) {
        part.write(old, group, &mut content);
    }
    Hotlist::index(content.into(), &known).expect("what was coded here reads back")
}

/// One group: what it was, and what changes in it.
struct Part<'a> {
    old: Option<&'a Group>,
    changes: &'a [Change],
    /// Of each change, in the old group.
    places: Vec<Place>,
    /// Entries afterwards.
    count: usize,
}

impl<'a> Part<'a> {
    fn new(list: &Hotlist, old: Option<&'a Group>, changes: &'a [Change]) -> Self {
        let seek = |change: &Change| {
            let found = old.and_then(|group| group.seek(&list.content, split(change.0).1));
            found.unwrap_or(Place { bit: 0, index: 0, holds: false })
        };
        let places: Vec<Place> = changes.iter().map(seek).collect();
        let both = || changes.iter().zip(&places);
        let added = both().filter(|((_, grade), place)| grade.is_some() && !place.holds).count();
        let gone = both().filter(|((_, grade), place)| grade.is_none() && place.holds).count();
        let count = old.map_or(0, |group| group.count) + added - gone;
        Self { old, changes, places, count }
    }

    fn write(&self, list: &Hotlist, new: &Group, content: &mut [u8]) {
        match self.old {
            Some(old) if old.low_bits == new.low_bits => self.splice(list, old, new, content),
            Some(old) => new.code(content, merged(old.iter(&list.content), self.changes)),
            None => new.code(content, merged(iter::empty(), self.changes)),
        }
    }

    fn splice(&self, list: &Hotlist, old: &Group, new: &Group, content: &mut [u8]) {
        let mut run = Run { list, old, new, from: (0, 0), to: (0, 0) };
        for ((card, grade), place) in self.changes.iter().zip(&self.places) {
            run.copy(content, place.bit, place.index);
            if let Some(grade) = grade {
                let (bit, index) = run.to;
                new.put(content, bit, index, split(*card).1, *grade);
                run.to = (bit + 1, index + 1);
            }
            if place.holds {
                run.from = (place.bit + 1, place.index + 1);
            }
        }
        run.copy(content, old.count + old.buckets(), old.count);
    }
}

/// Where reading and writing stand: bits among the high bits, and entries.
struct Run<'a> {
    list: &'a Hotlist,
    old: &'a Group,
    new: &'a Group,
    from: (usize, usize),
    to: (usize, usize),
}

impl Run<'_> {
    /// Copies everything before `bit` and the entry `index` of the old group.
    fn copy(&mut self, content: &mut [u8], bit: usize, index: usize) {
        let (bits_more, entries) = (bit - self.from.0, index - self.from.1);
        let (old, new, from) = (self.old, self.new, &self.list.content);
        let width = old.low_bits as usize;
        for (to_at, from_at, length) in [
            (8 * new.high_at + self.to.0, 8 * old.high_at + self.from.0, bits_more),
            (
                8 * new.low_at + self.to.1 * width,
                8 * old.low_at + self.from.1 * width,
                entries * width,
            ),
            (8 * new.grade_at + self.to.1, 8 * old.grade_at + self.from.1, entries),
        ] {
            bits::copy(content, to_at, from, from_at, length);
        }
        self.from = (bit, index);
        self.to = (self.to.0 + bits_more, self.to.1 + entries);
    }
}

/// An older list with changes, in order.
fn merged<'a>(
    old: impl Iterator<Item = (CardId, Grade)> + 'a,
    changes: &'a [(CardId, Option<Grade>)],
) -> impl Iterator<Item = (CardId, Grade)> + 'a {
    let (mut old, mut changes) = (old.peekable(), changes.iter().peekable());
    iter::from_fn(move || {
        loop {
            match (old.peek().copied(), changes.peek()) {
                (Some(entry), Some((card, _))) if entry.0 < *card => {
                    return old.next();
                }
                (Some(entry), None) => {
                    old.next();
                    return Some(entry);
                }
                (before, Some((card, grade))) => {
                    if before.is_some_and(|entry| entry.0 == *card) {
                        old.next();
                    }
                    changes.next();
                    if let Some(grade) = grade {
                        return Some((*card, *grade));
                    }
                }
                (None, None) => return None,
            }
        }
    })
}
