//! A load order: value that was paid for elsewhere and waits for its card (ADR-0015).
//!
//! The rule by which a reader applies one stands here, because validator, desk and the books'
//! model check must mean the same: an order fits exactly one load counter of its card, and ends.

use core::fmt;

use crate::{CardRecord, ClockQuality, Currency, LoadSeq, ProductSale, RecordKind, Timestamp};

/// The number of a load order, unique within the depot and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub u64);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One load that any reader may put on a card, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOrder {
    /// Which.
    pub id: OrderId,
    /// The card's load counter after it: it fits a card whose newest record says one less.
    pub load_seq: LoadSeq,
    /// How much value, minor units of the purse's currency; 1..=[`CardRecord::AMOUNT_MAX`], or 0
    /// of an order for a product.
    pub amount: u32,
    /// A product that it puts on the card, instead of value (ADR-0024).
    pub product: Option<ProductSale>,
    /// Which currency that is; `None` for the tariff's.
    pub purse: Option<Currency>,
    /// From this second on no reader applies it any more, seconds since 1970.
    pub not_after_s: u32,
}

/// Why an order is not applied to a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderMisfit {
    /// The card has had this load, or another under its number.
    Passed,
    /// Loads before it are missing on the card: the depot counted one that did not happen.
    Ahead,
    /// Its time is over.
    Over,
    /// Nobody has set the reader's clock, or the card has seen a later time: whether the order's
    /// time is over cannot be said.
    NoTime,
    /// The card is out of use.
    Retired,
    /// The card's purse is in another currency: the same number of units is another amount.
    OtherCurrency,
}

impl LoadOrder {
    /// Whether a reader whose clock says `now` may apply it to a card that ends with `newest` and
    /// whose profile says that its purse is in `purse`, when its records ask for that (REC-5 (b)).
    pub fn fits(
        &self,
        newest: &CardRecord,
        purse: Option<Currency>,
        now: Timestamp,
        clock: ClockQuality,
    ) -> Result<(), OrderMisfit> {
        if newest.kind == RecordKind::Retire {
            return Err(OrderMisfit::Retired);
        }
        if purse != self.purse {
            return Err(OrderMisfit::OtherCurrency);
        }
        if newest.load_seq >= self.load_seq {
            return Err(OrderMisfit::Passed);
        }
        if newest.load_seq.0.checked_add(1) != Some(self.load_seq.0) {
            return Err(OrderMisfit::Ahead);
        }
        match clock {
            ClockQuality::Unknown | ClockQuality::Saved => return Err(OrderMisfit::NoTime),
            ClockQuality::Rtc | ClockQuality::Ntp | ClockQuality::Gnss => {}
        }
        if now.secs() < newest.at().secs() {
            return Err(OrderMisfit::NoTime);
        }
        if now.secs() >= u64::from(self.not_after_s) {
            return Err(OrderMisfit::Over);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ctr, PlaceIx, RiderClass, TariffVersion, ValidUntil, ValidatorId};

    fn newest(kind: RecordKind, load_seq: u16) -> CardRecord {
        CardRecord {
            kind,
            ctr: Ctr(7),
            balance: 100,
            amount: 1,
            at_s: 1_000,
            validator: ValidatorId::DEPOT,
            place: PlaceIx::NONE,
            load_seq: LoadSeq(load_seq),
            tariff: TariffVersion(1),
            valid_until: ValidUntil::Always,
            class: RiderClass(0),
            run: None,
            products: None,
            layout: crate::CardLayout::Plain,
        }
    }

    #[test]
    fn rec_5_an_order_fits_one_load_counter_and_ends() {
        use ClockQuality::{Gnss, Ntp, Rtc, Saved, Unknown};
        use RecordKind::{Board, Retire};
        let order = LoadOrder {
            id: OrderId(9),
            load_seq: LoadSeq(3),
            amount: 500,
            product: None,
            purse: None,
            not_after_s: 2_000,
        };
        let table = [
            (Board, 2, 1_500, Ntp, Ok(())),
            (Board, 2, 1_000, Rtc, Ok(())),
            (Board, 2, 1_999, Gnss, Ok(())),
            (Board, 2, 2_000, Gnss, Err(OrderMisfit::Over)),
            (Board, 3, 1_500, Ntp, Err(OrderMisfit::Passed)),
            (Board, 4, 1_500, Ntp, Err(OrderMisfit::Passed)),
            (Board, 1, 1_500, Ntp, Err(OrderMisfit::Ahead)),
            (Board, u16::MAX, 1_500, Ntp, Err(OrderMisfit::Passed)),
            (Board, 2, 1_500, Saved, Err(OrderMisfit::NoTime)),
            (Board, 2, 1_500, Unknown, Err(OrderMisfit::NoTime)),
            (Board, 2, 999, Ntp, Err(OrderMisfit::NoTime)),
            (Retire, 2, 1_500, Ntp, Err(OrderMisfit::Retired)),
        ];
        for (kind, seq, now, clock, expected) in table {
            let found = order.fits(&newest(kind, seq), None, Timestamp::from_secs(now), clock);
            assert_eq!(found, expected, "{kind:?} {seq} {now} {clock:?}");
        }
    }

    #[test]
    fn an_order_fits_a_purse_in_its_own_currency_only() {
        let [francs, yen] = ["CHF", "JPY"].map(|letters| Currency::parse(letters).ok());
        let order = |purse| LoadOrder {
            id: OrderId(9),
            load_seq: LoadSeq(3),
            amount: 500,
            product: None,
            purse,
            not_after_s: 2_000,
        };
        for ordered in [None, francs, yen] {
            for purse in [None, francs, yen] {
                let now = Timestamp::from_secs(1_500);
                let newest = newest(RecordKind::Board, 2);
                let found = order(ordered).fits(&newest, purse, now, ClockQuality::Ntp);
                let fits = (ordered == purse).then_some(()).ok_or(OrderMisfit::OtherCurrency);
                assert_eq!(found, fits, "{ordered:?} {purse:?}");
            }
        }
    }
}
