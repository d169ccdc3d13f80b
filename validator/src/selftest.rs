//! The self-test tap: a card in memory, made for the occasion, through the very rules, tariff and
//! card exchanges that riders' cards meet. Nothing is logged and no key of the fleet is used.
//!
//! A validator whose rules refuse everybody, or whose processor crawls, says so before riders do.

use std::time::Duration;

use card::{CardKeys, Key, KeyRole, KeySet, Opening, VirtualCard};
use model::{CardId, TapRole, TapSeq, Timestamp};
use validation::{Output, Passage, Presented, TapMachine, ValidatorContext, Verdict};

use crate::clock::Clock;

/// Not of any maker: no rider's card has it.
const NOBODY: CardId = CardId([0xff, 0, 0, 0, 0, 0, 0x01]);
/// More outputs than any tap has.
const STEPS_MAX: usize = 200;

/// Why the tap of nobody's card was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelfTestError {
    /// The system gives no random bytes, or the card could not be made.
    #[error("no card could be made for it: {0}")]
    NoCard(String),
    /// The rules refuse a card with credit that nothing is wrong with.
    #[error("a card with credit is refused here: {0}")]
    Refused(&'static str),
    /// The machine neither answered nor asked for anything.
    #[error("the tap came to no end")]
    NoEnd,
}

/// Makes the tap; how long it took.
pub fn tap(
    mut context: ValidatorContext,
    now: Timestamp,
    clock: Clock,
) -> Result<Duration, SelfTestError> {
    // Nobody's card is in no journey that it could end.
    if context.role == TapRole::Exit {
        context.role = TapRole::Entry;
    }
    let mut root = [0; 16];
    getrandom::fill(&mut root).map_err(|e| SelfTestError::NoCard(e.to_string()))?;
    let keys = KeySet::from_root(&Key(root));
    let tariff = context.tariffs.newest();
    let mut currency = [0; 3];
    currency.copy_from_slice(tariff.currency().letters().as_bytes());
    let opening = Opening {
        balance: 10_000_000,
        currency,
        at_s: u32::try_from(now.secs()).unwrap_or(u32::MAX).saturating_sub(86_400),
        tariff: context.tariff,
        ..Opening::default()
    };
    let (mut card, _) = VirtualCard::issue(NOBODY, root, &keys, &opening)
        .map_err(|e| SelfTestError::NoCard(e.to_string()))?;
    let began = clock.elapsed();
    let mut machine = TapMachine::new(context, []);
    let shown = drive(&mut machine, &mut card, &keys, now)?;
    let took = clock.elapsed().saturating_sub(began);
    match shown.verdict {
        Verdict::Granted => Ok(took),
        Verdict::TryAgain(reason) | Verdict::Refused(reason) => {
            Err(SelfTestError::Refused(reason.word()))
        }
        Verdict::OutOfService => Err(SelfTestError::NoEnd),
    }
}

fn drive(
    machine: &mut TapMachine,
    card: &mut VirtualCard,
    keys: &KeySet,
    now: Timestamp,
) -> Result<Passage, SelfTestError> {
    let key = keys.debit_key(&NOBODY).map_err(|e| SelfTestError::NoCard(e.to_string()))?;
    machine
        .handle_presented(now, Presented::Card { card: NOBODY, key, rnd_a: [7; 16], order: None });
    let mut shown = None;
    for _ in 0..STEPS_MAX {
        match machine.poll() {
            Some(Output::Transmit(apdu)) => {
                let answer = card.handle_apdu(&apdu);
                machine.handle_response(Ok(&answer), Duration::ZERO);
            }
            Some(Output::NeedKey { card, version }) => {
                let key = keys.card_key(KeyRole::Debit, version, &card).ok();
                machine.handle_key(key, [9; 16]);
            }
            Some(Output::LogOutcome { .. }) => machine.handle_outcome_durable(),
            Some(Output::Show(passage)) => shown = Some(passage),
            Some(Output::Done) => return shown.ok_or(SelfTestError::NoEnd),
            Some(
                Output::LogIntent { .. }
                | Output::LogResolution { .. }
                | Output::Late(_)
                | Output::Companions(_)
                | Output::PresentAgain,
            ) => {}
            // It waits for the intent, which nobody writes.
            None => machine.handle_intent_durable(TapSeq(1)),
        }
    }
    Err(SelfTestError::NoEnd)
}
