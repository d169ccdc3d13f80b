//! Keys of an input line that nothing reads.
//!
//! Most are meant to ride along: notes, expected prices. But a misspelt optional key would silently
//! price something else, so each key is said once, with the name that it is near to, and `--strict`
//! refuses the lines that have such a one. A key that begins with `_` is nobody's mistake.

use std::{cell::RefCell, collections::BTreeSet};

use crate::cli::warn;

/// Keys said at most; whoever has more has been told.
const SAID_MAX: usize = 20;

/// What is read in one kind of object.
pub(super) struct Keys {
    /// What the object is called.
    of: &'static str,
    /// Nothing can be priced without them, so that a misspelling shows by itself.
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

/// A line of input.
pub(super) const LINE: Keys = Keys {
    of: "a line",
    required: &["id", "legs", "taps", "date"],
    optional: &["rider", "medium", "card"],
};
const LEG: Keys =
    Keys { of: "a leg", required: &["route", "from", "to", "dep", "arr"], optional: &[] };
const TAP: Keys = Keys {
    of: "a tap",
    required: &["kind", "place", "at"],
    optional: &["route", "amount", "companions"],
};
const CARD: Keys =
    Keys { of: "the card", required: &[], optional: &["balance", "currency", "products"] };
const PRODUCT: Keys = Keys {
    of: "a product",
    required: &["kind"],
    optional: &["id", "scope", "from", "until", "rides"],
};

impl Keys {
    /// Of the objects under this key.
    pub(super) fn under(key: &str) -> Option<&'static Self> {
        match key {
            "legs" => Some(&LEG),
            "taps" => Some(&TAP),
            "card" => Some(&CARD),
            "products" => Some(&PRODUCT),
            _ => None,
        }
    }

    fn holds(&self, key: &str) -> bool {
        self.required.contains(&key) || self.optional.contains(&key)
    }

    /// The name that is meant, when the object lacks it and the key is near to it.
    fn meant(&self, key: &str, has: &dyn Fn(&str) -> bool) -> Option<&'static str> {
        let key = key.to_lowercase();
        let near = |name: &&&'static str| {
            let far_max = if name.len() < 5 { 1 } else { 2 };
            let part = name.len() >= 5 && key.split(['_', '-', ' ']).any(|part| part == **name);
            !has(name) && (part || distance(&key, name) <= far_max)
        };
        let names = self.optional.iter().filter(near);
        names.min_by_key(|name| distance(&key, name)).copied()
    }
}

/// What was said of keys so far, and whether a misspelt one is an error.
#[derive(Default)]
pub(super) struct Spelling {
    strict: bool,
    said: RefCell<BTreeSet<String>>,
}

impl Spelling {
    pub(super) fn new(strict: bool) -> Self {
        Self { strict, said: RefCell::default() }
    }

    /// Looks at the keys of one object.
    pub(super) fn check<'k>(
        &self,
        keys: &Keys,
        found: impl Iterator<Item = &'k str>,
        has: &dyn Fn(&str) -> bool,
    ) -> Result<(), String> {
        for key in found.filter(|key| !keys.holds(key) && !key.starts_with('_')) {
            let of = keys.of;
            let text = match keys.meant(key, has) {
                Some(name) if self.strict => {
                    return Err(format!("key {key:?} of {of} is not read: write {name:?}"));
                }
                Some(name) => format!("key {key:?} of {of} is not read: did you mean {name:?}?"),
                None => format!("key {key:?} of {of} is not read"),
            };
            self.say_once(text);
        }
        Ok(())
    }

    fn say_once(&self, text: String) {
        let mut said = self.said.borrow_mut();
        if said.len() < SAID_MAX && !said.contains(&text) {
            warn(&text);
            said.insert(text);
        }
    }
}

/// Letters to put in, leave out, change or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_optional_key_is_named_with_what_is_meant_and_a_note_is_not() {
        for (keys, key, meant) in [
            (&LINE, "ryder", Some("rider")),
            (&LINE, "Rider", Some("rider")),
            (&LINE, "rider_category", Some("rider")),
            (&LINE, "fare-medium", Some("medium")),
            (&LINE, "meduim", Some("medium")),
            (&LINE, "cards", Some("card")),
            (&TAP, "rout", Some("route")),
            (&TAP, "ammount", Some("amount")),
            (&CARD, "balence", Some("balance")),
            (&CARD, "curency", Some("currency")),
            (&CARD, "purse_currency", Some("currency")),
            (&PRODUCT, "untill", Some("until")),
            (&LINE, "expected", None),
            (&LINE, "comment", None),
            (&LINE, "note", None),
            (&LINE, "total", None),
            (&LINE, "currency", None),
            (&LINE, "fare", None),
            (&LINE, "tags", None),
            (&LINE, "products", None),
            (&LEG, "headsign", None),
        ] {
            assert_eq!(keys.meant(key, &|_| false), meant, "{key}");
        }
        assert_eq!(LINE.meant("ryder", &|name| name == "rider"), None, "it is there as well");
    }

    #[test]
    fn strict_refuses_what_is_near_to_a_name_and_nothing_else() {
        let check =
            |strict, key: &str| Spelling::new(strict).check(&LINE, [key].into_iter(), &|_| false);
        assert_eq!(check(false, "ryder"), Ok(()));
        let why = "key \"ryder\" of a line is not read: write \"rider\"";
        assert_eq!(check(true, "ryder"), Err(why.to_owned()));
        for rides_along in ["expected", "_rider", "rider", "id"] {
            assert_eq!(check(true, rides_along), Ok(()), "{rides_along}");
        }
    }

    #[test]
    fn a_key_is_said_once_and_endless_ones_end() {
        let spelling = Spelling::new(false);
        for n in 0..1_000 {
            let key = format!("note-{}", n / 2);
            spelling.check(&LINE, [key.as_str()].into_iter(), &|_| false).unwrap();
        }
        assert_eq!(spelling.said.borrow().len(), SAID_MAX);
    }
}
