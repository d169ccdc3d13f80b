//! Tests of the crate as a whole: published vectors, golden conversations, tearing, properties.

use alloc::vec::Vec;

use model::{
    CardId, CardRecord, LoadSeq, PlaceIx, RecordKind, RiderClass, TariffVersion, ValidUntil,
    ValidatorId,
};

use crate::{
    CardKeys, CardOutput, DebitTransaction, Duty, ExchangeError, Key, KeyRole, KeySet,
    LoadTransaction, Opening, RetireTransaction, Settlement, ValueTransaction, VirtualCard,
};

mod command_set;
mod counters;
mod debit;
mod golden;
mod inspect;
mod issue;
mod load;
mod old_schemes;
mod products;
mod properties;
mod purse;
mod rekey;
mod sales;
mod tearing;
mod vectors;
mod versions;
mod virtual_card;

pub(crate) const UID: CardId = CardId([0x04, 0xA1, 0xB2, 0xC3, 0xD4, 0xE5, 0xF6]);

/// Bytes of hexadecimal text; spaces are skipped.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).expect("a hexadecimal digit")).unwrap())
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub(crate) fn bytes<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().expect("the length that the test says")
}

pub(crate) fn key(text: &str) -> Key {
    Key(bytes(text))
}

pub(crate) fn keys() -> KeySet {
    KeySet::from_root(&Key([0x5A; 16]))
}

/// An issued card with 10.00 on it.
pub(crate) fn issued_card() -> VirtualCard {
    issued_with(1000)
}

pub(crate) fn issued_with(balance: u32) -> VirtualCard {
    let opening = Opening { balance, at_s: 1_795_000_000, ..Opening::default() };
    VirtualCard::issue(UID, [1; 16], &keys(), &opening).expect("a blank card can be issued").0
}

/// The opening record of a card with `balance`.
pub(crate) fn issued_record(balance: u32) -> CardRecord {
    issued_with(balance).contents().expect("an issued card").records[0]
}

/// The record that charges `amount` after `before`.
pub(crate) fn charge(before: &CardRecord, amount: u32) -> CardRecord {
    CardRecord {
        kind: RecordKind::Board,
        ctr: model::Ctr(before.ctr.0 + 1),
        balance: before.balance - i32::try_from(amount).unwrap(),
        amount,
        at_s: before.at_s + 60,
        validator: ValidatorId::new(42).unwrap(),
        place: PlaceIx(3),
        load_seq: LoadSeq(0),
        tariff: TariffVersion(1),
        valid_until: ValidUntil::Always,
        class: RiderClass(0),
        run: None,
        products: before.products.map(|_| model::ProductUse::default()),
        layout: before.layout,
    }
}

pub(crate) fn start(card: &VirtualCard) -> DebitTransaction {
    DebitTransaction::new(card.uid(), keys().debit_key(&card.uid()).unwrap(), [0x11; 16])
}

pub(crate) fn start_load(card: &VirtualCard) -> LoadTransaction {
    let key = keys().current_key(KeyRole::Load, &card.uid()).unwrap();
    LoadTransaction::new(card.uid(), key, [0x12; 16])
}

pub(crate) fn start_retire(card: &VirtualCard) -> RetireTransaction {
    RetireTransaction::new(card.uid(), keys().debit_key(&card.uid()).unwrap(), [0x13; 16])
}

/// The link to the card: what comes back for an APDU.
pub(crate) type Link<'a> = &'a mut dyn FnMut(&[u8]) -> Result<Vec<u8>, ExchangeError>;

/// Runs the machine until it wants anything but an exchange or a key. `exchange` is the link.
pub(crate) fn run<D: Duty>(machine: &mut ValueTransaction<D>, exchange: Link<'_>) -> CardOutput {
    run_with(&keys(), machine, exchange)
}

/// The same for a reader that holds `keys`.
pub(crate) fn run_with<D: Duty>(
    keys: &KeySet,
    machine: &mut ValueTransaction<D>,
    exchange: Link<'_>,
) -> CardOutput {
    loop {
        match machine.poll().expect("the machine wants something") {
            CardOutput::Transmit(apdu) => {
                let response = exchange(&apdu);
                machine.handle_response(response.as_deref().map_err(Clone::clone));
            }
            CardOutput::NeedKey { role, version } => {
                machine.handle_key(keys.card_key(role, version, &machine.uid()).ok(), [0x12; 16]);
            }
            output
            @ (CardOutput::Found(_) | CardOutput::ReadyToCommit | CardOutput::Settled(_)) => {
                return output;
            }
        }
    }
}

/// A whole debit of `amount` over `exchange`.
pub(crate) fn debit(machine: &mut DebitTransaction, amount: u32, exchange: Link<'_>) -> Settlement {
    transact(machine, &|before| charge(before, amount), exchange)
}

/// A whole transaction that writes what `after` makes of the newest record.
pub(crate) fn transact<D: Duty>(
    machine: &mut ValueTransaction<D>,
    after: &dyn Fn(&CardRecord) -> CardRecord,
    exchange: Link<'_>,
) -> Settlement {
    loop {
        match run(machine, exchange) {
            CardOutput::Found(found) => machine.write(&after(&found.record)).unwrap(),
            CardOutput::ReadyToCommit => machine.commit(),
            CardOutput::Settled(settlement) => return settlement,
            CardOutput::Transmit(_) | CardOutput::NeedKey { .. } => {
                unreachable!("run() serves these")
            }
        }
    }
}

/// The newest record, read through the production machine by a fresh presentation.
pub(crate) fn newest(card: &mut VirtualCard) -> CardRecord {
    card.power_off();
    let mut machine = start(card);
    let CardOutput::Found(found) = run(&mut machine, &mut |apdu| Ok(card.handle_apdu(apdu))) else {
        panic!("an issued card is found");
    };
    card.power_off();
    found.record
}
