//! The virtual cards of the simulator, and the hand that holds them to the reader.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use card::{KeySet, Opening, VirtualCard};
use fare::Tariff;
use model::{
    CardId, CardLayout, CardProduct, CardProducts, Money, ProductKind, ProductLoad, ProductScope,
    RiderClass, Timestamp, ValidUntil,
};
use reader::{Cut, VirtualField};
use validation::Hotlist;

use super::{EMPTY, HELD};

type SharedCard = Arc<Mutex<VirtualCard>>;

/// What is held to the reader by one key.
pub(super) struct Item {
    pub(super) key: char,
    pub(super) name: &'static str,
    /// What a newcomer should look for.
    pub(super) hint: &'static str,
    cards: Vec<SharedCard>,
    /// The next time it is pulled away in mid-write.
    tears: Tears,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tears {
    Never,
    Next,
    NotNext,
}

/// All of them.
pub(super) struct Deck {
    items: Vec<Item>,
    currency: model::Currency,
    /// How a card is pulled away.
    tear: Cut,
}

/// What a rider might have on a card: some twenty of a currency with cents, twenty thousand of one
/// without.
fn credit(tariff: &Tariff) -> u32 {
    match tariff.currency().exponent() {
        0 => 20_000,
        exponent => 20 * 10_u32.pow(exponent.into()),
    }
}

/// Below it a balance is called low.
pub(super) fn low_of(tariff: &Tariff) -> u32 {
    credit(tariff) / 10
}

/// The commit is the seventh exchange, or the ninth on a card whose counters change. The card hears
/// it and its answer is lost: the tap is in doubt until the card is seen again.
fn commit_unanswered(layout: CardLayout) -> Cut {
    Cut { after: if layout == CardLayout::Counters { 8 } else { 6 }, heard: true }
}

impl Deck {
    /// Issues the cards, as a depot would.
    pub(super) fn issue(
        keys: &KeySet,
        tariff: &Tariff,
        now: Timestamp,
    ) -> Result<Self, card::IssueError> {
        let credit = credit(tariff);
        let letters = tariff.currency().letters().as_bytes();
        let mut currency = [0; 3];
        currency.copy_from_slice(letters);
        let at_s = u32::try_from(now.secs()).unwrap_or(u32::MAX);
        let (class, version) = (RiderClass(0), tariff.version());
        let layout = if tariff.needs_counters() { CardLayout::Counters } else { CardLayout::Plain };
        let opening = Opening {
            currency,
            class,
            balance: credit,
            at_s,
            tariff: version,
            layout,
            ..Opening::default()
        };
        let child = RiderClass(u8::from(tariff.classes().len() > 1));
        let openings = [
            ('1', "adult", "credit: green, one high beep", opening),
            (
                '2',
                "adult, little left",
                "amber band; then refused, code 24",
                Opening { balance: credit / 10, ..opening },
            ),
            (
                '3',
                "concession",
                "two beeps, so that staff hears it",
                Opening { class: child, ..opening },
            ),
            (
                '4',
                "monthly pass",
                "nothing is charged",
                Opening { products: monthly(at_s), ..opening },
            ),
            ('5', "on the hotlist", "refused, code 63", opening),
            (
                '6',
                "expired",
                "refused, code 11",
                Opening { valid_until: ValidUntil::Month(0), ..opening },
            ),
            ('7', "pulled away", "again! then not charged twice", opening),
        ];
        let mut items = Vec::new();
        for (number, (key, name, hint, opening)) in (1..).zip(openings) {
            let tears = if key == '7' { Tears::Next } else { Tears::Never };
            let cards = vec![issue(number, keys, &opening)?];
            items.push(Item { key, name, hint, cards, tears });
        }
        let two = vec![issue(8, keys, &opening)?, issue(9, keys, &opening)?];
        let (name, hint) = ("two cards at once", "neither is charged, code 41");
        items.push(Item { key: '8', name, hint, cards: two, tears: Tears::Never });
        let blank = VirtualCard::blank(CardId([4, 0, 0, 0, 0, 0, 10]), [10; 16]);
        let cards = vec![Arc::new(Mutex::new(blank))];
        let (name, hint) = ("somebody else's", "refused, code 10");
        items.push(Item { key: '9', name, hint, cards, tears: Tears::Never });
        Ok(Self { items, currency: tariff.currency(), tear: commit_unanswered(layout) })
    }

    /// What to refuse.
    pub(super) fn hotlist(&self) -> Hotlist {
        let stolen = self.items.iter().filter(|item| item.key == '5');
        Hotlist::new(stolen.flat_map(|item| &item.cards).map(|card| lock(card).uid()))
    }

    /// The item of a key, by its place.
    pub(super) fn find(&self, key: char) -> Option<usize> {
        self.items.iter().position(|item| item.key == key)
    }

    /// In the order of their keys.
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// What is on the card of an item.
    pub(super) fn balance(&self, item: &Item) -> Option<Money> {
        let [card] = item.cards.as_slice() else { return None };
        let contents = lock(card).contents()?;
        Some(Money::new(i64::from(contents.balance), self.currency))
    }
}

fn lock(card: &SharedCard) -> std::sync::MutexGuard<'_, VirtualCard> {
    card.lock().unwrap_or_else(PoisonError::into_inner)
}

fn issue(number: u8, keys: &KeySet, opening: &Opening) -> Result<SharedCard, card::IssueError> {
    let uid = CardId([4, 0, 0, 0, 0, 0, number]);
    let (card, _) = VirtualCard::issue(uid, [number; 16], keys, opening)?;
    Ok(Arc::new(Mutex::new(card)))
}

fn monthly(at_s: u32) -> Option<ProductLoad> {
    let product = CardProduct {
        id: 1,
        kind: ProductKind::Pass,
        scope: ProductScope::EVERYTHING,
        serial: 1,
        from_s: at_s.saturating_sub(86_400),
        until_s: at_s.saturating_add(30 * 86_400),
    };
    ProductLoad::new(CardProducts::new([Some(product), None]).ok()?, 0).ok()
}

/// Puts items on the reader and takes them away, one after the other.
pub(super) struct Hand<F> {
    pub(super) field: F,
    held_until: Option<Duration>,
    /// The reader is empty until then.
    empty_until: Duration,
    next: Option<usize>,
}

impl Hand<VirtualField> {
    pub(super) fn new(field: VirtualField) -> Self {
        Self { field, held_until: None, empty_until: Duration::ZERO, next: None }
    }

    /// Somebody wants to tap; whoever is tapping goes first and at once.
    pub(super) fn handle_press(&mut self, now: Duration, place: usize) {
        self.next = Some(place);
        if self.held_until.is_some() {
            self.held_until = Some(now);
        }
    }

    pub(super) fn handle_time(&mut self, now: Duration, deck: &mut Deck) {
        if self.held_until.is_some_and(|until| until <= now) {
            self.field.clear();
            self.held_until = None;
            self.empty_until = now + EMPTY;
        }
        if self.held_until.is_some() || now < self.empty_until {
            return;
        }
        let Some(item) = self.next.take().and_then(|place| deck.items.get_mut(place)) else {
            return;
        };
        item.tears = match item.tears {
            Tears::Next => {
                self.field.cut(deck.tear);
                Tears::NotNext
            }
            Tears::NotNext => Tears::Next,
            Tears::Never => Tears::Never,
        };
        // After the cut is set: the reader takes a card the moment it is there.
        for card in &item.cards {
            self.field.place(Arc::clone(card));
        }
        self.held_until = Some(now + HELD);
    }

    /// When the hand moves next by itself.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        let next = self.next.map(|_| self.empty_until);
        self.held_until.or(next)
    }
}
