//! Sharing one amount, to the unit, and the rules by which operators share fares (REC-12).

use alloc::{collections::BTreeMap, vec::Vec};

use model::{Currency, OperatorId, ServiceDate};

use crate::products::ProductRules;

/// Parts in which fixed shares are given.
pub const WHOLE: u32 = 1000;

/// How the fares of rides that one transfer ties together are shared between their legs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Split {
    /// Each leg keeps what was paid at it.
    Own,
    /// By what each leg would have cost alone.
    Fare,
    /// By the distance of each leg.
    Distance {
        /// Metres that a leg counts whose end is not known: a boarding with no ride after it.
        unknown_m: u32,
    },
    /// Each leg alike.
    Boarding,
    /// By fixed weights of the operators, however many legs each has.
    Fixed(BTreeMap<OperatorId, u32>),
}

/// The rules of one period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareRules {
    /// The first service day to which they apply.
    pub valid_from: ServiceDate,
    /// Between the legs of a transfer.
    pub transfer: Split,
    /// Legs of an operator that are shared with others, in parts of [`WHOLE`].
    pub legs: BTreeMap<OperatorId, Vec<(OperatorId, u32)>>,
    /// What the clearing house keeps of an operator's share, in thousandths, rounded down.
    pub fee_per_mille: u32,
    /// What it keeps for each ride, minor units of the tariff's currency.
    pub fee_per_ride: i64,
    /// The same of a ride that was paid in another currency, in its minor units: there is no rate
    /// in the books by which it could be worked out (ADR-0019).
    pub fees_in: BTreeMap<Currency, i64>,
    /// What was paid for products; `None`: it is not shared.
    pub products: Option<ProductRules>,
}

/// Rides were paid in a currency of which the rules do not say what is kept for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("rides were paid in {0}, and the share rules say no fee for each in {0}")]
pub struct NoFee(pub Currency);

/// One leg of a run of rides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leg {
    /// Whose, when that is known.
    pub operator: Option<OperatorId>,
    /// What was paid at it, minor units.
    pub paid: i64,
    /// How much of that was paid for companions, minor units. They take no transfer, so it is the
    /// leg's own and not shared.
    pub companions: i64,
    /// What it would have cost its holder alone, minor units.
    pub alone: i64,
    /// How long it is, when its end is known.
    pub distance_m: Option<u32>,
}

/// Shares `total` by weights: each gets its exact part rounded down, and what is left goes, unit by
/// unit, to the largest remainders; among equal ones to the first. A negative total is shared as
/// its opposite. Without any weight all are alike.
///
/// The shares add up to `total` for every input that is not empty, and each is less than one unit
/// from its exact part.
pub fn largest_remainder(total: i64, weights: &[u64]) -> Vec<i64> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let count = u128::try_from(weights.len()).unwrap_or(0);
    let (whole, negative) = (u128::from(total.unsigned_abs()), total < 0);
    let mut shares = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    let mut left = whole;
    for (at, weight) in weights.iter().enumerate() {
        let (weight, sum) = if sum == 0 { (1, count) } else { (u128::from(*weight), sum) };
        // 63 bits by 64 bits fit 128.
        let (part, remainder) = (whole * weight / sum, whole * weight % sum);
        shares.push(part);
        remainders.push((core::cmp::Reverse(remainder), at));
        left -= part;
    }
    remainders.sort_unstable();
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    for (_, at) in remainders.into_iter().take(left) {
        shares[at] += 1;
    }
    let signed = |share: u128| {
        let share = i64::try_from(share).unwrap_or(i64::MAX);
        if negative { -share } else { share }
    };
    shares.into_iter().map(signed).collect()
}

impl ShareRules {
    /// The rules for what was paid in this currency, where the tariff's is `tariffs`.
    pub fn within(&self, currency: Currency, tariffs: Currency) -> Result<Self, NoFee> {
        let fee_per_ride = match self.fees_in.get(&currency) {
            _ if currency == tariffs => self.fee_per_ride,
            Some(fee) => *fee,
            None if self.fee_per_ride == 0 => 0,
            None => return Err(NoFee(currency)),
        };
        Ok(Self { fee_per_ride, ..self.clone() })
    }

    /// What each leg of a run gets of all that was paid in it.
    pub fn of_legs(&self, run: &[Leg]) -> Vec<i64> {
        let own = run.iter().map(|leg| leg.companions);
        self.of_holder(run).into_iter().zip(own).map(|(share, own)| share + own).collect()
    }

    /// What each leg gets of what was paid for the card's holder.
    fn of_holder(&self, run: &[Leg]) -> Vec<i64> {
        let paid = |leg: &Leg| leg.paid - leg.companions;
        let total = run.iter().map(paid).sum();
        let amount = |minor: i64| u64::try_from(minor).unwrap_or(0);
        let weights: Vec<u64> = match &self.transfer {
            Split::Own => return run.iter().map(paid).collect(),
            Split::Fare => run.iter().map(|leg| amount(leg.alone)).collect(),
            Split::Distance { unknown_m } => {
                run.iter().map(|leg| leg.distance_m.unwrap_or(*unknown_m).into()).collect()
            }
            Split::Boarding => run.iter().map(|_| 1).collect(),
            Split::Fixed(weights) => return fixed(run, total, weights),
        };
        largest_remainder(total, &weights)
    }

    /// Who gets what of a leg's share.
    pub fn of_operators(
        &self,
        operator: Option<OperatorId>,
        share: i64,
    ) -> Vec<(Option<OperatorId>, i64)> {
        let Some(parts) = operator.and_then(|operator| self.legs.get(&operator)) else {
            return alloc::vec![(operator, share)];
        };
        let weights: Vec<u64> = parts.iter().map(|(_, weight)| u64::from(*weight)).collect();
        let shares = largest_remainder(share, &weights);
        parts.iter().zip(shares).map(|((operator, _), share)| (Some(*operator), share)).collect()
    }

    /// What the clearing house keeps of a share.
    pub fn fee(&self, share: i64, rides: u64) -> i64 {
        let share = i128::from(share.max(0));
        let part = share * i128::from(self.fee_per_mille) / i128::from(WHOLE);
        let rides = i128::from(rides) * i128::from(self.fee_per_ride);
        i64::try_from((part + rides).min(share)).unwrap_or(0)
    }
}

/// First between operators, then alike between each one's legs.
fn fixed(run: &[Leg], total: i64, weights: &BTreeMap<OperatorId, u32>) -> Vec<i64> {
    let mut legs: BTreeMap<Option<OperatorId>, Vec<usize>> = BTreeMap::new();
    for (at, leg) in run.iter().enumerate() {
        legs.entry(leg.operator).or_default().push(at);
    }
    let weight = |operator: &Option<OperatorId>| {
        operator.as_ref().and_then(|operator| weights.get(operator)).copied().unwrap_or(0).into()
    };
    let weights: Vec<u64> = legs.keys().map(weight).collect();
    let mut shares = alloc::vec![0; run.len()];
    for (places, share) in legs.values().zip(largest_remainder(total, &weights)) {
        for (at, part) in places.iter().zip(largest_remainder(share, &alloc::vec![1; places.len()]))
        {
            shares[*at] = part;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn rules(transfer: Split) -> ShareRules {
        let legs = BTreeMap::from([(
            OperatorId(1),
            alloc::vec![(OperatorId(1), 900), (OperatorId(9), 100)],
        )]);
        let valid_from = ServiceDate(0);
        ShareRules {
            valid_from,
            transfer,
            legs,
            fee_per_mille: 15,
            fee_per_ride: 1,
            fees_in: BTreeMap::new(),
            products: None,
        }
    }

    fn leg(operator: u16, paid: i64, alone: i64, distance_m: Option<u32>) -> Leg {
        Leg { operator: Some(OperatorId(operator)), paid, companions: 0, alone, distance_m }
    }

    #[test]
    fn rec_12_what_companions_paid_stays_with_the_leg_that_they_rode() {
        // Two children at 1.00 each on the first bus, one on the free second; the holder paid 2.00
        // for both buses.
        let first = Leg { companions: 200, ..leg(0, 400, 200, None) };
        let second = Leg { companions: 100, ..leg(1, 100, 200, None) };
        for (split, shares) in [
            (Split::Own, [400, 100]),
            (Split::Fare, [300, 200]),
            (Split::Boarding, [300, 200]),
            (Split::Fixed(BTreeMap::from([(OperatorId(1), 1)])), [200, 300]),
        ] {
            assert_eq!(rules(split.clone()).of_legs(&[first, second]), shares, "{split:?}");
        }
    }

    #[test]
    fn rec_12_each_rule_shares_a_transfer_as_it_says() {
        // A bus ride for 2.00 to a ferry of 4.00, which the transfer makes 2.50; then a free bus.
        let run =
            [leg(0, 200, 200, Some(3000)), leg(1, 250, 400, Some(9000)), leg(0, 0, 200, None)];
        let fixed = Split::Fixed(BTreeMap::from([(OperatorId(0), 1), (OperatorId(1), 2)]));
        for (split, shares) in [
            (Split::Own, [200, 250, 0]),
            (Split::Fare, [113, 225, 112]),
            (Split::Distance { unknown_m: 3000 }, [90, 270, 90]),
            (Split::Boarding, [150, 150, 150]),
            (fixed, [75, 300, 75]),
        ] {
            assert_eq!(rules(split.clone()).of_legs(&run), shares, "{split:?}");
        }
    }

    #[test]
    fn rec_12_the_remainder_goes_to_the_largest_and_among_equals_to_the_first() {
        for (total, weights, shares) in [
            (100, &[1, 1, 1][..], &[34, 33, 33][..]),
            (101, &[1, 1, 1], &[34, 34, 33]),
            (10, &[0, 0], &[5, 5]),
            (1, &[1, 2], &[0, 1]),
            (-100, &[1, 1, 1], &[-34, -33, -33]),
            (7, &[], &[]),
        ] {
            assert_eq!(largest_remainder(total, weights), shares);
        }
    }

    #[test]
    fn a_legs_share_is_split_and_the_fee_is_never_more_than_the_share() {
        let rules = rules(Split::Own);
        let shares = rules.of_operators(Some(OperatorId(1)), 405);
        assert_eq!(shares, [(Some(OperatorId(1)), 365), (Some(OperatorId(9)), 40)]);
        assert_eq!(rules.of_operators(None, 7), [(None, 7)]);
        let fees = [(10_000, 3), (100, 0), (2, 50), (-500, 0), (0, 9)];
        assert_eq!(fees.map(|(share, rides)| rules.fee(share, rides)), [153, 1, 2, 0, 0]);
    }

    /// Operator, paid, alone, metres.
    fn any_leg() -> impl Strategy<Value = (Option<u16>, i64, i64, Option<u32>)> {
        let amount = 1_i64 << 24;
        (proptest::option::of(0_u16..4), 0..amount, -9..amount, any::<Option<u32>>())
    }

    fn any_split() -> impl Strategy<Value = Split> {
        let fixed =
            proptest::collection::btree_map((0_u16..4).prop_map(OperatorId), 0..9_u32, 0..4);
        prop_oneof![
            Just(Split::Own),
            Just(Split::Fare),
            Just(Split::Boarding),
            any::<u32>().prop_map(|unknown_m| Split::Distance { unknown_m }),
            fixed.prop_map(Split::Fixed),
        ]
    }

    proptest! {
        #[test]
        fn rec_12_shares_add_up_to_the_fare_for_all_inputs(
            legs in vec((any_leg(), 0_i64..1 << 24), 1..8),
            split in any_split(),
        ) {
            let run: Vec<Leg> = legs
                .into_iter()
                .map(|((operator, paid, alone, distance_m), companions)| Leg {
                    operator: operator.map(OperatorId),
                    paid,
                    companions: companions.min(paid),
                    alone,
                    distance_m,
                })
                .collect();
            let paid: i64 = run.iter().map(|leg| leg.paid).sum();
            let rules = rules(split);
            let shares = rules.of_legs(&run);
            prop_assert_eq!(shares.iter().sum::<i64>(), paid);
            for (leg, share) in run.iter().zip(shares) {
                prop_assert!(share >= 0);
                let operators = rules.of_operators(leg.operator, share);
                prop_assert_eq!(operators.iter().map(|(_, part)| part).sum::<i64>(), share);
            }
        }

        #[test]
        fn rec_12_each_share_is_less_than_a_unit_from_its_exact_part(
            total in any::<i64>(),
            weights in vec(any::<u64>(), 1..9),
        ) {
            prop_assume!(total != i64::MIN);
            let shares = largest_remainder(total, &weights);
            prop_assert_eq!(shares.iter().map(|s| i128::from(*s)).sum::<i128>(), i128::from(total));
            let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
            prop_assume!(sum > 0);
            for (share, weight) in shares.iter().zip(&weights) {
                let exact = u128::from(total.unsigned_abs()) * u128::from(*weight);
                let share = u128::from(share.unsigned_abs());
                prop_assert!(exact / sum <= share && share <= exact.div_ceil(sum));
            }
        }
    }
}
