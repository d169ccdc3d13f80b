//! What a card is owed, as its page says it: by service day, why, and what became of it, in the
//! reader's language.

use texts::{DueText, Language, due_text, exchange_text, step_text};

use super::{
    parts::Cash,
    views::{AdjustedTap, Adjustment},
};

/// One service day.
pub(super) struct Line {
    pub(super) day: String,
    pub(super) owed: Cash,
    /// What became of it, part by part.
    pub(super) states: Vec<String>,
    /// Is there anything left to pay?
    pub(super) open: bool,
    pub(super) why: Vec<Why>,
}

/// One tap whose price is another.
pub(super) struct Why {
    pub(super) priced: String,
    /// What else was known of it.
    pub(super) repaired: Option<String>,
    pub(super) steps: Vec<(String, Cash)>,
    /// Of a purse in another currency: by which rates.
    pub(super) exchanged: Vec<String>,
}

impl Line {
    pub(super) fn new(of: &Adjustment, language: Language) -> Self {
        let states = [
            (of.open, DueText::Open(of.open)),
            (of.held, DueText::Held(of.held)),
            (of.paid, DueText::Paid(of.paid)),
            (of.forgiven, DueText::Forgiven(of.forgiven)),
        ];
        let some = states.iter().filter(|(amount, _)| amount.minor() != 0);
        Self {
            day: of.day.to_string(),
            owed: Cash(of.owed),
            states: some.map(|(_, say)| due_text(language, say)).collect(),
            open: of.open.minor() != 0,
            why: of.why.iter().map(|tap| Why::new(tap, language)).collect(),
        }
    }
}

impl Why {
    fn new(tap: &AdjustedTap, language: Language) -> Self {
        let AdjustedTap { charged, fare, steps, exchanged, repaired, not_passed } = tap;
        let repaired = repaired.as_ref().map(|repaired| {
            let (from, to) = (&*repaired.from, &*repaired.to);
            let (ended, of, days) = (repaired.ended, repaired.of, repaired.days);
            due_text(language, &DueText::Repaired { from, to, ended, of, days })
        });
        let repaired =
            repaired.or_else(|| not_passed.then(|| due_text(language, &DueText::NotPassed)));
        let steps = steps.iter().map(|step| (step_text(language, step), Cash(step.amount)));
        Self {
            priced: due_text(language, &DueText::Priced { charged: *charged, fare: *fare }),
            repaired,
            steps: steps.collect(),
            exchanged: exchanged.iter().map(|done| exchange_text(language, done)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clearing::Repaired;
    use model::{Currency, Money, ServiceDate};

    use super::*;

    #[test]
    fn a_day_says_in_both_languages_what_is_owed_why_and_what_became_of_it() {
        let eur = |minor| Money::new(minor, Currency::parse("EUR").unwrap());
        let (from, to) = ("Alpha".into(), "Beta".into());
        let repaired = Some(Repaired { entry: model::Ctr(8), from, to, ended: 3, of: 4, days: 30 });
        let (charged, fare, steps) = (eur(450), eur(350), Vec::new());
        let of = Adjustment {
            day: ServiceDate(20_780),
            owed: eur(100),
            open: eur(40),
            held: eur(0),
            paid: eur(60),
            forgiven: eur(0),
            why: vec![AdjustedTap {
                charged,
                fare,
                steps,
                exchanged: Vec::new(),
                repaired,
                not_passed: false,
            }],
        };
        let line = Line::new(&of, Language::English);
        assert_eq!((line.day.as_str(), line.open), ("2026-11-23", true));
        assert_eq!(
            line.states,
            ["0.40 EUR goes onto the card with its next top-up", "0.60 EUR was put on the card"]
        );
        let why = &line.why[0];
        assert_eq!(
            why.priced,
            "Charged 4.50 EUR; the fare is 3.50 EUR now that all taps are known"
        );
        assert_eq!(
            why.repaired.as_deref().unwrap(),
            "No tap-out after the tap-in at Alpha: 3 of 4 journeys from there in 30 days ended at \
             Beta, so this one is priced as if it had too"
        );
        let korean = Line::new(&of, Language::Korean);
        assert_eq!(
            korean.states,
            [
                "0.40 EUR 환급 예정: 다음 충전 때 카드에 들어갑니다",
                "0.60 EUR 카드에 환급되었습니다"
            ]
        );
        assert!(korean.why[0].repaired.as_deref().unwrap().contains("Beta에서 끝나"));
    }
}
