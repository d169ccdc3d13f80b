//! Riders on the holder's card. Each pays what a card of its category would that rides for the
//! first time and has no counters: discounts and surcharges hold, and it takes no transfer, pass,
//! ride or cap. So the holder's own price and counters are those of riding alone.

use alloc::{sync::Arc, vec::Vec};

use model::{CardRecord, Companions, Money, RiderClass, TapRole};

use crate::{FareRefusal, FareTap, Journey, Step, StepKind, Tariff, TariffSet, products::Wallet};

use super::{Bill, board};

/// What the companions of a tap cost: a step for each category.
pub fn companions(set: &TariffSet, tap: &FareTap) -> Result<Vec<Step>, FareRefusal> {
    let tariff = set.get(tap.tariff).ok_or(FareRefusal::UnknownTariff(tap.tariff))?;
    priced(set, tariff, tap)
}

/// The companions' steps. A tap that opens or ends a journey at gates takes none: there each rider
/// passes alone.
pub(super) fn priced(
    set: &TariffSet,
    tariff: &Tariff,
    tap: &FareTap,
) -> Result<Vec<Step>, FareRefusal> {
    if tap.companions.is_empty() {
        return Ok(Vec::new());
    }
    let terms = tariff.terms().companions.as_ref();
    let allowed = tap.role == TapRole::Board && terms.is_some_and(|t| t.allow(tap.companions));
    if !allowed {
        return Err(FareRefusal::Companions);
    }
    tap.companions.iter().map(|(class, riders)| step(set, tariff, tap, (class, riders))).collect()
}

fn step(
    set: &TariffSet,
    tariff: &Tariff,
    tap: &FareTap,
    (class, riders): (RiderClass, u8),
) -> Result<Step, FareRefusal> {
    let known = tariff.classes().get(usize::from(class.0)).ok_or(FareRefusal::Companions)?;
    let mut bill = Bill {
        charge: Money::zero(tariff.currency()),
        steps: Vec::new(),
        wallet: Wallet::new(None),
        counters: None,
    };
    let alone = FareTap { class, companions: Companions::NONE, ..*tap };
    board(&mut bill, set, &Journey::default(), &alone)?;
    let each = bill.charge;
    let rule = bill.steps.first().map_or_else(|| Arc::from("companions"), |s| Arc::clone(&s.rule));
    let amount = each.minor().checked_mul(riders.into()).ok_or(FareRefusal::Companions)?;
    let kind = StepKind::Companions { class: known.name.as_str().into(), riders, each };
    Ok(Step { kind, rule, amount: bill.money(amount) })
}

impl Bill {
    /// After the holder's own steps. Refused when the card's record cannot hold the sum.
    pub(super) fn add_companions(&mut self, steps: Vec<Step>) -> Result<(), FareRefusal> {
        for step in steps {
            let sum = self.charge.minor().checked_add(step.amount.minor());
            if sum.is_none_or(|sum| sum > i64::from(CardRecord::AMOUNT_MAX)) {
                return Err(FareRefusal::Companions);
            }
            self.add(step.kind, &step.rule, step.amount);
        }
        Ok(())
    }
}
