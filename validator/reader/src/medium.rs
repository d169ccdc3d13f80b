//! What answers in the field, before any application is spoken with.
//!
//! `Activation` is what ISO 14443-3 and -4 tell of a medium; `Picc` is a medium made of software,
//! which the virtual reader holds directly and the chip emulator of the tests holds behind a
//! serial line.

use std::sync::{Arc, Mutex, PoisonError};

use card::VirtualCard;
use model::CardId;

use super::Presence;

/// SAK bit of a medium that speaks ISO 14443-4, without which there are no APDUs.
const SAK_ISO_DEP: u8 = 0x20;

/// What a medium says of itself when it is woken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    /// `SENS_RES`, high byte first as the PN532 reports it.
    pub atqa: [u8; 2],
    /// `SEL_RES`.
    pub sak: u8,
    /// 4, 7 or 10 bytes; four bytes may be random.
    pub uid: Vec<u8>,
    /// Answer to select from its length byte on; empty without ISO 14443-4.
    pub ats: Vec<u8>,
}

impl Activation {
    /// A DESFire with a fixed UID and FSC 64.
    pub fn desfire(uid: CardId) -> Self {
        let ats = vec![6, 0x75, 0x77, 0x81, 2, 0x80];
        Self { atqa: [3, 0x44], sak: SAK_ISO_DEP, uid: uid.0.to_vec(), ats }
    }

    /// The fastest of 212 and 424 kbit/s, up to `wanted`, that it says it can in both directions.
    pub(super) fn kbps(&self, wanted: u32) -> Option<u32> {
        // TL, T0, then TA when T0 says so: DR in the low bits, DS in the high ones.
        let [_, format, speeds, ..] = self.ats[..] else { return None };
        let can = |bits: u8| format & 0x10 != 0 && speeds & bits == bits;
        [(424, 0x22), (212, 0x11)]
            .into_iter()
            .find(|(kbps, bits)| *kbps <= wanted && can(*bits))
            .map(|(kbps, _)| kbps)
    }

    /// The card it may be; `None` for media that cannot be ours.
    pub(super) fn card(&self) -> Option<CardId> {
        let uid = <[u8; 7]>::try_from(self.uid.as_slice()).ok()?;
        (self.sak & SAK_ISO_DEP != 0).then_some(CardId(uid))
    }
}

/// What a list of activations means; `None` is an empty field.
pub(super) fn presence(media: &[Activation]) -> Option<Presence> {
    match media {
        [] => None,
        [one] => Some(one.card().map_or(Presence::Foreign, Presence::Card)),
        [_, _, ..] => Some(Presence::Several),
    }
}

/// A medium made of software.
pub trait Picc: Send {
    /// What it says when woken.
    fn activation(&self) -> Activation;
    /// Its answer to an APDU; `None` when it stays silent.
    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>>;
    /// The field is gone: sessions and uncommitted transactions end.
    fn field_off(&mut self);
    /// A reader has put it to sleep: as without a field, but a random UID stays what it is.
    fn deselected(&mut self) {
        self.field_off();
    }
}

impl Picc for VirtualCard {
    fn activation(&self) -> Activation {
        let (uid, ats) = (self.shown_uid(), self.ats().to_vec());
        Activation { uid, ats, ..Activation::desfire(self.uid()) }
    }

    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        Some(self.handle_apdu(apdu))
    }

    fn field_off(&mut self) {
        self.power_off();
    }

    fn deselected(&mut self) {
        self.deselect();
    }
}

/// A medium that the test keeps a hand on while it lies on the reader.
impl<P: Picc> Picc for Arc<Mutex<P>> {
    fn activation(&self) -> Activation {
        self.lock().unwrap_or_else(PoisonError::into_inner).activation()
    }

    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        self.lock().unwrap_or_else(PoisonError::into_inner).transceive(apdu)
    }

    fn field_off(&mut self) {
        self.lock().unwrap_or_else(PoisonError::into_inner).field_off();
    }

    fn deselected(&mut self) {
        self.lock().unwrap_or_else(PoisonError::into_inner).deselected();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_spoken_with_as_fast_as_both_can() {
        let with = |ats: &[u8]| Activation {
            ats: ats.to_vec(),
            ..Activation::desfire(CardId([4, 1, 2, 3, 4, 5, 6]))
        };
        let desfire = with(&[6, 0x75, 0x77, 0x81, 2, 0x80]);
        assert_eq!((desfire.kbps(424), desfire.kbps(212)), (Some(424), Some(212)));
        assert_eq!(desfire.kbps(106), None);
        assert_eq!(with(&[6, 0x75, 0x11, 0x81, 2, 0x80]).kbps(424), Some(212));
        assert_eq!(with(&[6, 0x75, 0x20, 0x81, 2, 0x80]).kbps(424), None, "one way only");
        assert_eq!(with(&[5, 0x65, 0x77, 0x81, 2]).kbps(424), None, "no TA: that byte is TB");
        assert_eq!(with(&[1]).kbps(424), None);
        assert_eq!(with(&[]).kbps(424), None);
    }

    #[test]
    fn only_one_medium_with_apdus_and_a_fixed_uid_is_a_card() {
        let card = CardId([4, 1, 2, 3, 4, 5, 6]);
        let ours = Activation::desfire(card);
        let classic = Activation { sak: 8, ats: vec![], ..ours.clone() };
        let random = Activation { uid: vec![8, 1, 2, 3], ..ours.clone() };
        assert_eq!(presence(&[]), None);
        assert_eq!(presence(std::slice::from_ref(&ours)), Some(Presence::Card(card)));
        assert_eq!(presence(std::slice::from_ref(&classic)), Some(Presence::Foreign));
        assert_eq!(presence(&[random]), Some(Presence::Foreign));
        assert_eq!(presence(&[ours, classic]), Some(Presence::Several));
    }
}
