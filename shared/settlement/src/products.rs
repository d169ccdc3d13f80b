//! Sharing what was paid for a product between those whose rides it paid (ADR-0025).
//!
//! Invariants: what the uses get and what nobody used add up to the price, to the unit; the answer
//! is a function of the set of taps, whatever their order.

use alloc::{collections::BTreeMap, vec::Vec};

use clearing::Rules;
use model::{CardProduct, OperatorId, ProductKind, ProductSale};

use crate::{
    runs::{Ride, between, leg},
    share::largest_remainder,
};

/// How a product's price is shared between the rides that it paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProductSplit {
    /// Each ride alike.
    Boarding,
    /// By the distance of each ride.
    Distance {
        /// Metres that a ride counts whose end is not known.
        unknown_m: u32,
    },
    /// By fixed weights of the operators, however many rides each has.
    Fixed(BTreeMap<OperatorId, u32>),
}

/// The rules for products.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductRules {
    /// Between rides.
    pub by: ProductSplit,
    /// Who gets what nobody used; `None` is the issuer.
    pub unused: Option<OperatorId>,
    /// Days after a product's end in which its taps may still arrive.
    pub wait_days: u32,
}

/// A ride that a product paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProductRide {
    /// The tap.
    pub ride: Ride,
    /// Whose, when that is known.
    pub operator: Option<OperatorId>,
    /// How long, when its end is known.
    pub distance_m: Option<u32>,
    /// Which product paid.
    pub product: CardProduct,
    /// Rides that were taken; of a pass 1.
    pub rides: u32,
}

/// The rides of one sale, with how many of each count for it.
pub type ProductRides = Vec<(ProductRide, u32)>;

/// The rides of one card that its products paid, in the order of its counter. Taps from which it
/// cannot be read which product paid are none: those that are known only as another tap's evidence.
pub fn product_rides(mut rides: Vec<Ride>, rules: &Rules) -> Vec<ProductRide> {
    rides.sort_unstable_by_key(|ride| (ride.card, ride.transaction.after.ctr, ride.tap));
    rides.dedup_by_key(|ride| (ride.card, ride.transaction.after.ctr));
    let mut found = Vec::new();
    for (at, ride) in rides.iter().enumerate() {
        let transaction = &ride.transaction;
        let (Some(held), Some(used)) = (transaction.products, transaction.after.products) else {
            continue;
        };
        let leg = leg(ride, rules);
        let next = rides.get(at + 1).filter(|next| next.card == ride.card);
        let distance_m =
            leg.distance_m.or_else(|| next.and_then(|next| between(ride, next, rules)));
        let pass = used.pass.and_then(|slot| held.file.slot(slot).ok().flatten());
        let pass = pass.filter(|product| product.kind == ProductKind::Pass).map(|pass| (pass, 1));
        let of_rides = (used.rides > 0).then(|| held.file.with_rides()).flatten();
        let of_rides = of_rides.map(|product| (product, u32::from(used.rides)));
        found.extend([pass, of_rides].into_iter().flatten().map(|(product, rides)| ProductRide {
            ride: *ride,
            operator: leg.operator,
            distance_m,
            product,
            rides,
        }));
    }
    found
}

/// Which rides belong to which of a card's sales, oldest first: of a pass to the first sale of that
/// pass for that time; rides of one product go to its sales in the order in which they were
/// bought, because a renewal adds to what is left. Answers each sale's rides with how many of them
/// count for it.
pub fn by_sale(sales: &[ProductSale], rides: &[ProductRide]) -> Vec<ProductRides> {
    let mut of: Vec<ProductRides> = sales.iter().map(|_| Vec::new()).collect();
    let mut left: Vec<u32> = sales.iter().map(|sale| u32::from(sale.rides)).collect();
    for ride in rides {
        let same = |sold: &CardProduct| {
            let CardProduct { id, kind, scope, .. } = ride.product;
            (sold.id, sold.kind, sold.scope) == (id, kind, scope)
        };
        let times = |product: &CardProduct| (product.from_s, product.until_s);
        let mut open = ride.rides;
        for (at, sale) in sales.iter().enumerate().filter(|(_, sale)| same(&sale.product)) {
            match sale.product.kind {
                ProductKind::Pass if times(&sale.product) == times(&ride.product) => {
                    of[at].push((*ride, 1));
                    break;
                }
                ProductKind::Pass => {}
                ProductKind::Rides => {
                    let taken = open.min(left[at]);
                    if taken > 0 {
                        of[at].push((*ride, taken));
                    }
                    (left[at], open) = (left[at] - taken, open - taken);
                }
            }
        }
    }
    of
}

impl ProductRules {
    /// What each of a sale's rides gets of its price, and what nobody used.
    ///
    /// Of a pass that is the price, when no ride is known. Each of so many rides is worth its part
    /// of the price, used or not.
    pub fn share(
        &self,
        price: i64,
        sale: &ProductSale,
        rides: &[(ProductRide, u32)],
    ) -> (Vec<i64>, i64) {
        let known = |(ride, _): &&(ProductRide, u32)| ride.operator.is_some();
        let used: u64 = rides.iter().filter(known).map(|(_, count)| u64::from(*count)).sum();
        let used_part = match sale.product.kind {
            _ if used == 0 => 0,
            ProductKind::Pass => price,
            ProductKind::Rides => {
                let sold = u64::from(sale.rides);
                largest_remainder(price, &[used, sold.saturating_sub(used)])[0]
            }
        };
        let weight = |(ride, count): &(ProductRide, u32)| match (&self.by, ride.operator) {
            (_, None) => 0,
            (ProductSplit::Boarding, _) => u64::from(*count),
            (ProductSplit::Distance { unknown_m }, _) => {
                u64::from(*count) * u64::from(ride.distance_m.unwrap_or(*unknown_m))
            }
            (ProductSplit::Fixed(weights), Some(operator)) => {
                weights.get(&operator).copied().unwrap_or(0).into()
            }
        };
        let weights: Vec<u64> = rides.iter().map(weight).collect();
        // Nobody has weight: nobody's ride is worth anything by the rule.
        if weights.iter().all(|weight| *weight == 0) {
            return (alloc::vec![0; rides.len()], price);
        }
        let shares = match self.by {
            ProductSplit::Fixed(_) => fixed(used_part, rides, &weights),
            ProductSplit::Boarding | ProductSplit::Distance { .. } => {
                largest_remainder(used_part, &weights)
            }
        };
        (shares, price - used_part)
    }
}

/// First between operators by their weights, then by rides between each one's.
fn fixed(part: i64, rides: &[(ProductRide, u32)], weights: &[u64]) -> Vec<i64> {
    let mut of: BTreeMap<Option<OperatorId>, (u64, Vec<usize>)> = BTreeMap::new();
    for (at, ((ride, _), weight)) in rides.iter().zip(weights).enumerate() {
        let (known, places) = of.entry(ride.operator).or_default();
        *known = *weight;
        places.push(at);
    }
    let weights: Vec<u64> = of.values().map(|(weight, _)| *weight).collect();
    let mut shares = alloc::vec![0; rides.len()];
    for ((_, places), share) in of.values().zip(largest_remainder(part, &weights)) {
        let counts: Vec<u64> = places.iter().map(|at| u64::from(rides[*at].1)).collect();
        for (at, own) in places.iter().zip(largest_remainder(share, &counts)) {
            shares[*at] = own;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use clearing::TapRef;
    use model::{
        CardId, CardLayout, CardRecord, CardTransaction, Companions, Ctr, Epoch, LoadSeq, PlaceIx,
        ProductScope, RecordKind, RiderClass, TapSeq, TariffVersion, ValidUntil, ValidatorId,
    };
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Orders do not know the serial; the time tells passes of one product apart.
    fn product(id: u16, kind: ProductKind, month: u16) -> CardProduct {
        let (scope, serial) = (ProductScope::EVERYTHING, 0);
        let until_s = if kind == ProductKind::Pass { u32::from(month) } else { 0 };
        CardProduct { id, kind, scope, serial, from_s: 0, until_s }
    }

    fn sale(id: u16, month: u16, rides: u16) -> ProductSale {
        let kind = if rides > 0 { ProductKind::Rides } else { ProductKind::Pass };
        ProductSale { product: product(id, kind, month), rides }
    }

    fn ridden(
        ctr: u32,
        (product, rides): (CardProduct, u32),
        operator: Option<u16>,
        distance_m: Option<u32>,
    ) -> ProductRide {
        let record = CardRecord {
            kind: RecordKind::Board,
            ctr: Ctr(ctr),
            balance: 0,
            amount: 0,
            at_s: 0,
            validator: ValidatorId::new(1).unwrap(),
            place: PlaceIx(0),
            load_seq: LoadSeq(0),
            tariff: TariffVersion(1),
            valid_until: ValidUntil::Always,
            class: RiderClass(0),
            run: None,
            products: None,
            layout: CardLayout::Plain,
        };
        let transaction = CardTransaction {
            before: record,
            after: record,
            products: None,
            loaded: None,
            counters: None,
            companions: Companions::NONE,
            purse: None,
        };
        let tap =
            TapRef { validator: record.validator, epoch: Epoch(1), seq: TapSeq(u64::from(ctr)) };
        let card = CardId([1; 7]);
        let ride = Ride { tap, card, issuer: None, transaction, route: None };
        ProductRide { ride, operator: operator.map(OperatorId), distance_m, product, rides }
    }

    fn split() -> impl Strategy<Value = ProductSplit> {
        prop_oneof![
            Just(ProductSplit::Boarding),
            (0..5_000_u32).prop_map(|unknown_m| ProductSplit::Distance { unknown_m }),
            Just(ProductSplit::Fixed([(OperatorId(0), 700), (OperatorId(1), 300)].into())),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever is sold and ridden: what is given and what nobody used are the price (REC-12),
        /// no ride counts for more than was taken, and no sale for more than was sold.
        #[test]
        fn rec_12_shares_of_any_sales_and_rides_add_up_to_what_was_paid(
            sold in vec((0..3_u16, prop_oneof![Just(0_u16), 1..12_u16], 1..100_000_i64), 1..6),
            rode in vec(
                (0..3_u16, any::<bool>(), 0..6_u16, 1..4_u32, proptest::option::of(0..3_u16),
                 proptest::option::of(0..20_000_u32)),
                0..40,
            ),
            by in split(),
        ) {
            let sales = (1..).zip(&sold).map(|(n, (id, rides, _))| sale(*id, n, *rides));
            let sales: Vec<_> = sales.collect();
            let rides: Vec<_> = (1..)
                .zip(&rode)
                .map(|(ctr, (id, pass, serial, count, operator, distance))| {
                    let kind = if *pass { ProductKind::Pass } else { ProductKind::Rides };
                    let count = if *pass { 1 } else { *count };
                    ridden(ctr, (product(*id, kind, *serial), count), *operator, *distance)
                })
                .collect();
            let rules = ProductRules { by, unused: None, wait_days: 0 };
            let of = by_sale(&sales, &rides);
            let mut counted: BTreeMap<Ctr, u32> = BTreeMap::new();
            for ((sale, (.., price)), own) in sales.iter().zip(&sold).zip(&of) {
                let (shares, unused) = rules.share(*price, sale, own);
                prop_assert_eq!(shares.iter().sum::<i64>() + unused, *price);
                prop_assert!(unused >= 0 && shares.iter().all(|share| *share >= 0));
                prop_assert_eq!(shares.len(), own.len());
                for ((ride, _), share) in own.iter().zip(&shares) {
                    prop_assert!(ride.operator.is_some() || *share == 0, "nobody's ride");
                }
                let used: u32 = own.iter().map(|(_, count)| count).sum();
                let is_pass = sale.product.kind == ProductKind::Pass;
                prop_assert!(is_pass || used <= u32::from(sale.rides));
                for (ride, count) in own {
                    *counted.entry(ride.ride.transaction.after.ctr).or_default() += count;
                }
            }
            for ride in &rides {
                let of = counted.get(&ride.ride.transaction.after.ctr).copied().unwrap_or(0);
                prop_assert!(of <= ride.rides);
            }
        }
    }

    #[test]
    fn rides_of_a_renewed_product_are_those_bought_first_and_a_pass_has_its_own() {
        let sales = [sale(20, 1, 2), sale(20, 2, 3), sale(31, 3, 0), sale(31, 4, 0)];
        let kinds =
            [(20, ProductKind::Rides, 2); 4].into_iter().chain([(31, ProductKind::Pass, 4)]);
        let rides: Vec<_> = (1..)
            .zip(kinds)
            .map(|(ctr, (id, kind, serial))| {
                ridden(ctr, (product(id, kind, serial), 1), Some(0), None)
            })
            .collect();
        let counts: Vec<Vec<u32>> = by_sale(&sales, &rides)
            .iter()
            .map(|own| own.iter().map(|(ride, _)| ride.ride.transaction.after.ctr.0).collect())
            .collect();
        assert_eq!(counts, [alloc::vec![1, 2], alloc::vec![3, 4], alloc::vec![], alloc::vec![5]]);
    }
}
