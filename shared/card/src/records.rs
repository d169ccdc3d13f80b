//! The records that a desk writes: what a card that ends with one record is given next.
//!
//! Invariants: a load changes nothing but the value, the counters and the age of a running transfer
//! right, so a journey or a right that is open stays open; a retired card carries no value, is
//! expired, and is given nothing more.

use model::{
    CardRecord, Ctr, LoadSeq, PlaceIx, ProductUse, RecordKind, TransferRun, ValidUntil, ValidatorId,
};

/// Why no such record can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordImpossible {
    /// It was taken out of use.
    #[error("the card is retired")]
    Retired,
    /// A load of nothing.
    #[error("a load of 0 moves no value")]
    NothingToLoad,
    /// A record holds amounts below 2^24.
    #[error("the amount is more than one record can hold")]
    AmountTooBig,
    /// The balance would not fit.
    #[error("the balance would be more than a card can hold")]
    BalanceTooBig,
    /// All counters that a record can hold were used, or all 65,535 loads.
    #[error("the card's counters are used up: replace the card")]
    CountersUsedUp,
}

/// The record of a load of `amount` onto a card that ends with `before`.
pub fn load_record(
    before: &CardRecord,
    amount: u32,
    at_s: u32,
) -> Result<CardRecord, RecordImpossible> {
    if amount == 0 {
        return Err(RecordImpossible::NothingToLoad);
    }
    next_load(before, amount, at_s)
}

/// The record that stands behind a product which is put on a card that ends with `before`: a load
/// of no value, from which on the card carries products.
pub fn sale_record(before: &CardRecord, at_s: u32) -> Result<CardRecord, RecordImpossible> {
    let carrying = CardRecord { products: Some(ProductUse::default()), ..*before };
    next_load(&carrying, 0, at_s)
}

fn next_load(before: &CardRecord, amount: u32, at_s: u32) -> Result<CardRecord, RecordImpossible> {
    if before.kind == RecordKind::Retire {
        return Err(RecordImpossible::Retired);
    }
    if amount > before.amount_max() {
        return Err(RecordImpossible::AmountTooBig);
    }
    let balance = i64::from(before.balance) + i64::from(amount);
    let balance = i32::try_from(balance).map_err(|_| RecordImpossible::BalanceTooBig)?;
    let load_seq = before.load_seq.0.checked_add(1).ok_or(RecordImpossible::CountersUsedUp)?;
    let next = CardRecord {
        ctr: next_ctr(before)?,
        balance,
        amount,
        load_seq: LoadSeq(load_seq),
        products: unused(before),
        ..*before
    };
    if before.kind.is_in_journey() {
        // The open journey goes on: its place and its time are the entry's.
        return Ok(CardRecord { kind: RecordKind::LoadInJourney, ..next });
    }
    Ok(CardRecord {
        kind: RecordKind::Load,
        // A desk's clock that runs behind the validator's never makes a right younger.
        at_s: at_s.max(before.at_s),
        validator: ValidatorId::DEPOT,
        place: PlaceIx::NONE,
        run: before.run.map(|run| aged(run, at_s.saturating_sub(before.at_s))),
        ..next
    })
}

/// The record that takes a card out of use, with the whole value that is left on it.
pub fn retire_record(before: &CardRecord, at_s: u32) -> Result<CardRecord, RecordImpossible> {
    if before.kind == RecordKind::Retire {
        return Err(RecordImpossible::Retired);
    }
    let amount = u32::try_from(before.balance.max(0)).unwrap_or_default();
    if amount > CardRecord::AMOUNT_MAX {
        return Err(RecordImpossible::AmountTooBig);
    }
    Ok(CardRecord {
        kind: RecordKind::Retire,
        ctr: next_ctr(before)?,
        // What is owed stays owed.
        balance: before.balance.min(0),
        amount,
        at_s: at_s.max(before.at_s),
        validator: ValidatorId::DEPOT,
        place: PlaceIx::NONE,
        // January 2025: expired for every validator, also for one that looks at nothing else.
        valid_until: ValidUntil::Month(0),
        run: None,
        products: unused(before),
        ..*before
    })
}

fn next_ctr(before: &CardRecord) -> Result<Ctr, RecordImpossible> {
    let next = before.ctr.0.checked_add(1).filter(|next| *next <= before.ctr_max());
    next.map(Ctr).ok_or(RecordImpossible::CountersUsedUp)
}

/// A desk uses no products; the card goes on carrying them.
fn unused(before: &CardRecord) -> Option<ProductUse> {
    before.products.map(|_| ProductUse::default())
}

/// The right as it stands later. It saturates as the fares' own ageing does.
fn aged(run: TransferRun, by_s: u32) -> TransferRun {
    let age_s = u32::from(run.age_s).saturating_add(by_s);
    TransferRun { age_s: u16::try_from(age_s).unwrap_or(u16::MAX), ..run }
}

#[cfg(test)]
mod tests {
    use model::ServiceDate;

    use super::*;
    use crate::tests::issued_record;

    fn riding(kind: RecordKind) -> CardRecord {
        CardRecord {
            kind,
            ctr: Ctr(7),
            at_s: 1_795_000_000,
            validator: ValidatorId::new(42).unwrap(),
            place: PlaceIx(3),
            load_seq: LoadSeq(2),
            run: Some(TransferRun { legs: 1, paid: 150, age_s: 600, group: 4 }),
            ..issued_record(1000)
        }
    }

    #[test]
    fn a_load_after_a_ride_keeps_the_transfer_right_and_ages_it() {
        let before = riding(RecordKind::Board);
        let after = load_record(&before, 500, before.at_s + 60).unwrap();
        assert_eq!((after.kind, after.balance, after.ctr.0), (RecordKind::Load, 1500, 8));
        assert_eq!((after.load_seq, after.validator), (LoadSeq(3), ValidatorId::DEPOT));
        assert_eq!(after.run.unwrap(), TransferRun { age_s: 660, ..before.run.unwrap() });
        assert_eq!(after.tariff, before.tariff, "the right is numbered by its own tariff");
    }

    #[test]
    fn a_load_during_a_journey_leaves_the_entry_as_it_is() {
        let before = riding(RecordKind::Entry);
        let first = load_record(&before, 500, before.at_s + 60).unwrap();
        let second = load_record(&first, 500, before.at_s + 120).unwrap();
        for after in [first, second] {
            assert_eq!(after.kind, RecordKind::LoadInJourney);
            assert_eq!((after.place, after.at_s), (before.place, before.at_s));
            assert_eq!((after.validator, after.run), (before.validator, before.run));
        }
        assert_eq!((second.balance, second.ctr.0, second.load_seq.0), (2000, 9, 4));
    }

    #[test]
    fn a_desk_uses_no_products_and_the_card_goes_on_carrying_them() {
        let used = Some(ProductUse { rides: 1, ..ProductUse::default() });
        let before = CardRecord { products: used, ..riding(RecordKind::Board) };
        let carried = Some(ProductUse::default());
        assert_eq!(load_record(&before, 500, before.at_s).unwrap().products, carried);
        assert_eq!(retire_record(&before, before.at_s).unwrap().products, carried);
        assert_eq!(load_record(&riding(RecordKind::Board), 500, 0).unwrap().products, None);
        let worn = CardRecord { ctr: Ctr((1 << 20) - 1), ..before };
        assert_eq!(load_record(&worn, 500, 0), Err(RecordImpossible::CountersUsedUp));
    }

    #[test]
    fn a_clock_that_runs_behind_makes_no_right_younger_and_age_saturates() {
        let before = riding(RecordKind::Board);
        let early = load_record(&before, 1, before.at_s - 99).unwrap();
        assert_eq!((early.at_s, early.run), (before.at_s, before.run));
        let late = load_record(&before, 1, before.at_s + 70_000).unwrap();
        assert_eq!(late.run.unwrap().age_s, u16::MAX);
    }

    #[test]
    fn a_retired_card_carries_nothing_is_expired_and_is_given_nothing_more() {
        let before = riding(RecordKind::Board);
        let after = retire_record(&before, before.at_s + 60).unwrap();
        assert_eq!((after.balance, after.amount, after.run), (0, 1000, None));
        assert!(!after.valid_until.allows(ServiceDate::parse("2025-02-01").unwrap()));
        assert_eq!(retire_record(&after, 0), Err(RecordImpossible::Retired));
        assert_eq!(load_record(&after, 1, 0), Err(RecordImpossible::Retired));
        let owing = CardRecord { balance: -80, ..before };
        let after = retire_record(&owing, before.at_s).unwrap();
        assert_eq!((after.balance, after.amount), (-80, 0), "what is owed stays owed");
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let before = riding(RecordKind::Board);
        let refused = |before: CardRecord, amount| load_record(&before, amount, 0).unwrap_err();
        assert_eq!(refused(before, 0), RecordImpossible::NothingToLoad);
        assert_eq!(refused(before, 1 << 24), RecordImpossible::AmountTooBig);
        let ends = ValidUntil::day(ServiceDate::parse("2026-12-24").unwrap()).unwrap();
        let visitor = CardRecord { valid_until: ends, ..before };
        let most = load_record(&visitor, visitor.amount_max(), 0).unwrap();
        assert_eq!(CardRecord::from_bytes(&most.to_bytes().unwrap()), Ok(most));
        assert_eq!(refused(visitor, most.amount + 1), RecordImpossible::AmountTooBig);
        let full = CardRecord { balance: 1 << 20, ..visitor };
        let retired = retire_record(&full, 0).unwrap();
        assert_eq!(retired.amount, 1 << 20, "all of it: a retired card ends with a month");
        assert!(retired.to_bytes().is_ok());
        let rich = CardRecord { balance: i32::MAX, ..before };
        assert_eq!(refused(rich, 1), RecordImpossible::BalanceTooBig);
        assert_eq!(retire_record(&rich, 0), Err(RecordImpossible::AmountTooBig));
        let worn = CardRecord { ctr: Ctr((1 << 24) - 1), ..before };
        assert_eq!(refused(worn, 1), RecordImpossible::CountersUsedUp);
        let loaded = CardRecord { load_seq: LoadSeq(u16::MAX), ..before };
        assert_eq!(refused(loaded, 1), RecordImpossible::CountersUsedUp);
    }
}
