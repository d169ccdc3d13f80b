//! A debit whose card answers anything: the machine ends settled, sends a commit only after it was
//! told to, and believes a commit only when the card's answer proves it.
//!
//! The input is a list of answers, each behind a byte: 0 lets the real card answer, 1 is silence,
//! 2 its answer with bytes changed, anything else so many bytes of the input.
#![no_main]

use std::sync::OnceLock;

use card::{
    CardKeys, CardOutput, DebitTransaction, ExchangeError, Key, KeySet, Opening, Settlement,
    VersionedKey, VirtualCard, apdu,
};
use libfuzzer_sys::fuzz_target;
use model::{CardId, CardRecord, Ctr, PlaceIx, ProductUse, RecordKind, ValidatorId};

const UID: CardId = CardId([4, 1, 2, 3, 4, 5, 6]);

fn set_up() -> &'static (VirtualCard, VersionedKey) {
    static SET_UP: OnceLock<(VirtualCard, VersionedKey)> = OnceLock::new();
    SET_UP.get_or_init(|| {
        let keys = KeySet::from_root(&Key([7; 16]));
        let opening = Opening { balance: 1_000, ..Opening::default() };
        let card = VirtualCard::issue(UID, [1; 16], &keys, &opening).expect("it is issued").0;
        (card, keys.debit_key(&UID).expect("there is a debit key"))
    })
}

fn charge(before: &CardRecord, amount: u32) -> CardRecord {
    CardRecord {
        kind: RecordKind::Board,
        ctr: Ctr(before.ctr.0.wrapping_add(1)),
        balance: before.balance.wrapping_sub(amount.cast_signed()),
        amount,
        validator: ValidatorId::new(42).expect("42 is a number of a validator"),
        place: PlaceIx(3),
        products: before.products.map(|_| ProductUse::default()),
        ..*before
    }
}

struct Answers<'a>(&'a [u8]);

impl Answers<'_> {
    fn next(&mut self, real: Vec<u8>) -> Result<Vec<u8>, ExchangeError> {
        let Some((&kind, rest)) = self.0.split_first() else { return Ok(real) };
        self.0 = rest;
        match kind {
            0 => Ok(real),
            1 => Err(ExchangeError::Timeout),
            2 => {
                let (changes, rest) = rest.split_at(rest.len().min(2));
                self.0 = rest;
                let mut changed = real;
                if let &[at, by] = changes {
                    let at = usize::from(at) % changed.len();
                    changed[at] ^= by;
                }
                Ok(changed)
            }
            len => {
                let (answer, rest) = rest.split_at(usize::from(len).min(rest.len()));
                self.0 = rest;
                Ok(answer.to_vec())
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&amount, rest)) = bytes.split_first() else { return };
    let (card, key) = set_up();
    let (mut card, amount) = (card.clone(), u32::from(amount));
    let mut answers = Answers(rest);
    let mut machine = DebitTransaction::new(UID, key.clone(), [5; 16]);
    let mut told = false;
    for _ in 0..64 {
        match machine.poll().expect("a debit always says what comes next") {
            CardOutput::Transmit(command) => {
                assert!(told || command[1] != apdu::cmd::COMMIT_TRANSACTION, "an early commit");
                let answer = answers.next(card.handle_apdu(&command));
                machine.handle_response(answer.as_deref().map_err(Clone::clone));
            }
            CardOutput::NeedKey { .. } => machine.handle_key(None, [6; 16]),
            CardOutput::Found(found) => {
                if machine.write(&charge(&found.record, amount)).is_err() {
                    machine.release();
                }
            }
            CardOutput::ReadyToCommit => {
                told = true;
                machine.commit();
            }
            CardOutput::Settled(settlement) => {
                let balance = card.contents().expect("it stays an issued card").balance;
                let taken = u32::try_from(1_000 - balance).expect("a debit adds no value");
                assert!(taken == 0 || taken == amount);
                if matches!(settlement, Settlement::Committed { .. }) {
                    assert!(told && taken == amount, "committed means taken");
                }
                assert!(told || taken == 0);
                return;
            }
        }
    }
    unreachable!("a debit ends");
});
