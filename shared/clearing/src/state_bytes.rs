//! The stored form of a card's state, version 1: fixed fields, then counted lists. About 70 bytes
//! for a card with nothing unusual.
//!
//! Integers LSB first. Version 1, flags 1 (bit 0 registered, bit 1 has records, bit 2 has charges
//! without passage, bit 3 has miscounts, bit 4 its counters were read, bit 5 the currency of the
//! purse follows, bit 6 its issuer follows), origin 8; with bit 5 the ISO 4217 number of that
//! currency 2; with bit 6 the issuer's number 2; when it has records: first
//! counter 4, first balance before 8, newest 35, or 67 or 99 with what it counted;
//! then the number (2) and the items of gaps, differences, forks, doubts and voided entries and,
//! with bit 2, of charges without passage and, with bit 3, of miscounts (4). A doubt ends with its
//! flags: bit 0 voided, bit 1 the products file follows (32), bit 2 the rides found follow (4), bit
//! 3 the counters found follow (32), bit 4 the counters written follow (32), bit 5 the companions
//! follow (8), bit 6 the ISO 4217 number of the currency that was read follows (2). A charge is a
//! doubt, the amount due 8, the rides due 1, and whether the next tap's record follows (32) 1.

use alloc::vec::Vec;

use model::{
    CardCounters, CardProducts, CardRecord, Companions, CounterUse, Ctr, Currency, Epoch, IssuerId,
    OperatorId, ProductsFound, RecordError, RouteIx, TapSeq, Timestamp, ValidatorId,
};

use crate::{
    known::{KnownRecord, TapRef},
    state::{CardState, Chain, Difference, Doubt, Fork, Gap, Unserved},
};

const VERSION: u8 = 1;

/// Why a state has no bytes, or bytes are no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Written by a newer version.
    #[error("card state version {0} is not known here")]
    UnknownVersion(u8),
    /// Shorter or longer than its contents say, or a field out of range.
    #[error("the card state is damaged")]
    Damaged,
    /// A list is longer than its count can say.
    #[error("the card state has more than 65535 items of one kind")]
    TooMany,
    /// A record that no card could hold.
    #[error("the card state holds an impossible record")]
    Record(#[from] RecordError),
}

impl CardState {
    /// The stored form.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StateError> {
        let mut out = Vec::with_capacity(96);
        out.push(VERSION);
        let has_unserved = !self.unserved.is_empty();
        let has_miscounts = !self.miscounts.is_empty();
        let has_purse = self.purse.is_some();
        let flags = [self.registered, self.chain.is_some(), has_unserved, has_miscounts];
        let more = [self.counts, has_purse, self.issuer.is_some()];
        out.push(bits(&[flags.as_slice(), &more].concat()));
        out.extend(self.origin.to_le_bytes());
        out.extend(self.purse.iter().flat_map(|purse| purse.numeric().to_le_bytes()));
        out.extend(self.issuer.iter().flat_map(|issuer| issuer.0.to_le_bytes()));
        if let Some(chain) = &self.chain {
            chain.write(&mut out)?;
        }
        count(&mut out, self.doubts.len())?;
        for doubt in &self.doubts {
            doubt.write(&mut out)?;
        }
        count(&mut out, self.voided.len())?;
        self.voided.iter().for_each(|tap| write_tap(&mut out, tap));
        if has_unserved {
            count(&mut out, self.unserved.len())?;
            for charge in &self.unserved {
                charge.write(&mut out)?;
            }
        }
        if has_miscounts {
            count(&mut out, self.miscounts.len())?;
            self.miscounts.iter().for_each(|ctr| out.extend(ctr.0.to_le_bytes()));
        }
        Ok(out)
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let mut r = Reader(bytes);
        let [version, flags] = r.take()?;
        if version != VERSION {
            return Err(StateError::UnknownVersion(version));
        }
        if flags > 0b111_1111 {
            return Err(StateError::Damaged);
        }
        let origin = r.i64()?;
        let purse = if flags & 0b10_0000 == 0 { None } else { Some(r.currency()?) };
        let issuer = if flags & 0b100_0000 == 0 { None } else { Some(IssuerId(r.u16()?)) };
        let chain = if flags & 2 == 0 { None } else { Some(Chain::read(&mut r)?) };
        let doubts = r.list(Doubt::read)?;
        let voided = r.list(Reader::tap)?;
        let unserved = if flags & 4 == 0 { Vec::new() } else { r.list(Unserved::read)? };
        let counts = flags & 0b1_0000 != 0;
        let miscounts = if flags & 0b1000 == 0 { Vec::new() } else { r.list(Reader::ctr)? };
        if !r.0.is_empty() {
            return Err(StateError::Damaged);
        }
        let registered = flags & 1 == 1;
        Ok(Self {
            registered,
            purse,
            issuer,
            origin,
            chain,
            doubts,
            voided,
            unserved,
            counts,
            miscounts,
        })
    }
}

impl Doubt {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), StateError> {
        write_tap(out, &self.tap);
        out.extend(self.before.to_bytes()?);
        out.extend(self.after.to_bytes()?);
        out.extend(self.route.map_or(u16::MAX, |route| route.0).to_le_bytes());
        out.extend(self.operator.map_or(u16::MAX, |operator| operator.0).to_le_bytes());
        out.extend(self.tapped_at.0.to_le_bytes());
        write_files(out, self);
        Ok(())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, StateError> {
        let doubt = Self {
            tap: r.tap()?,
            before: CardRecord::from_bytes(&r.take()?)?,
            after: CardRecord::from_bytes(&r.take()?)?,
            route: Some(r.u16()?).filter(|n| *n != u16::MAX).map(RouteIx),
            operator: Some(r.u16()?).filter(|n| *n != u16::MAX).map(OperatorId),
            tapped_at: Timestamp(u64::from_le_bytes(r.take()?)),
            voided: false,
            products: None,
            counters: None,
            companions: Companions::NONE,
            purse: None,
        };
        r.files(doubt)
    }
}

impl Unserved {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), StateError> {
        self.doubt.write(out)?;
        out.extend(self.amount.to_le_bytes());
        out.extend([self.rides, u8::from(self.next.is_some())]);
        out.extend(self.next.map(|next| next.to_bytes()).transpose()?.iter().flatten());
        Ok(())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, StateError> {
        let (doubt, amount) = (Doubt::read(r)?, r.i64()?);
        let (rides, next) = match r.take()? {
            [rides, 0] => (rides, None),
            [rides, 1] => (rides, Some(CardRecord::from_bytes(&r.take()?)?)),
            _ => return Err(StateError::Damaged),
        };
        Ok(Self { doubt, next, amount, rides })
    }
}

impl Chain {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), StateError> {
        out.extend(self.first.0.to_le_bytes());
        out.extend(self.first_before.to_le_bytes());
        out.extend(self.newest.to_bytes()?);
        count(out, self.gaps.len())?;
        for gap in &self.gaps {
            out.extend(gap.first.0.to_le_bytes());
            out.extend(gap.last.0.to_le_bytes());
            out.extend(gap.balance_before.to_le_bytes());
            out.extend(gap.balance_after.to_le_bytes());
        }
        count(out, self.differences.len())?;
        for difference in &self.differences {
            out.extend(difference.ctr.0.to_le_bytes());
            out.extend(difference.net.to_le_bytes());
        }
        count(out, self.forks.len())?;
        for fork in &self.forks {
            out.extend(fork.kept.to_bytes()?);
            count(out, fork.others.len())?;
            for other in &fork.others {
                out.extend(other.to_bytes()?);
            }
        }
        Ok(())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, StateError> {
        Ok(Self {
            first: r.ctr()?,
            first_before: r.i64()?,
            newest: r.known()?,
            gaps: r.list(|r| {
                let (first, last) = (r.ctr()?, r.ctr()?);
                let (balance_before, balance_after) = (r.i64()?, r.i64()?);
                Ok(Gap { first, last, balance_before, balance_after })
            })?,
            differences: r.list(|r| Ok(Difference { ctr: r.ctr()?, net: r.i64()? }))?,
            forks: r.list(|r| Ok(Fork { kept: r.known()?, others: r.list(Reader::known)? }))?,
        })
    }
}

/// Flags as a byte, the first in bit 0.
fn bits(flags: &[bool]) -> u8 {
    flags.iter().rev().fold(0, |byte, flag| byte << 1 | u8::from(*flag))
}

fn count(out: &mut Vec<u8>, len: usize) -> Result<(), StateError> {
    out.extend(u16::try_from(len).map_err(|_| StateError::TooMany)?.to_le_bytes());
    Ok(())
}

fn write_tap(out: &mut Vec<u8>, tap: &TapRef) {
    out.extend(tap.validator.number().to_le_bytes());
    out.extend(tap.epoch.0.to_le_bytes());
    out.extend(tap.seq.0.to_le_bytes());
}

/// Whether it was voided, and what it found and wrote beside its record.
fn write_files(out: &mut Vec<u8>, doubt: &Doubt) {
    let Doubt { voided, products, counters, companions, purse, .. } = doubt;
    let rides = products.and_then(|found| found.rides);
    let written = counters.and_then(|used| used.written);
    let files = [products.is_some(), rides.is_some(), counters.is_some(), written.is_some()];
    let with_others = !companions.is_empty();
    let flags = [[*voided].as_slice(), &files, &[with_others, purse.is_some()]].concat();
    out.push(bits(&flags));
    out.extend(products.iter().flat_map(|found| found.file.to_bytes()));
    out.extend(rides.iter().flat_map(|rides| rides.to_le_bytes()));
    out.extend(counters.iter().flat_map(|used| used.found.to_bytes()));
    out.extend(written.iter().flat_map(CardCounters::to_bytes));
    if with_others {
        out.extend(companions.number().to_le_bytes());
    }
    out.extend(purse.iter().flat_map(|purse| purse.numeric().to_le_bytes()));
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (head, tail) = self.0.split_first_chunk().ok_or(StateError::Damaged)?;
        self.0 = tail;
        Ok(*head)
    }

    fn u16(&mut self) -> Result<u16, StateError> {
        self.take().map(u16::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, StateError> {
        self.take().map(i64::from_le_bytes)
    }

    fn currency(&mut self) -> Result<Currency, StateError> {
        Currency::from_numeric(self.u16()?).map_err(|_| StateError::Damaged)
    }

    fn ctr(&mut self) -> Result<Ctr, StateError> {
        self.take().map(|b| Ctr(u32::from_le_bytes(b)))
    }

    fn known(&mut self) -> Result<KnownRecord, StateError> {
        let (known, rest) = KnownRecord::split_first(self.0).ok_or(StateError::Damaged)?;
        self.0 = rest;
        Ok(known)
    }

    fn files(&mut self, doubt: Doubt) -> Result<Doubt, StateError> {
        let [flags] = self.take()?;
        let rides_alone = flags & 0b0_0110 == 0b0_0100;
        let written_alone = flags & 0b1_1000 == 0b1_0000;
        if flags > 0b111_1111 || rides_alone || written_alone {
            return Err(StateError::Damaged);
        }
        let mut doubt = Doubt { voided: flags & 1 == 1, ..doubt };
        if flags & 2 != 0 {
            let file = CardProducts::from_bytes(self.take()?);
            let rides = if flags & 4 == 0 { None } else { Some(u32::from_le_bytes(self.take()?)) };
            doubt.products = Some(ProductsFound { file, rides });
        }
        if flags & 0b0_1000 != 0 {
            let found = self.counters()?;
            let written = if flags & 0b1_0000 == 0 { None } else { Some(self.counters()?) };
            doubt.counters = Some(CounterUse { found, written });
        }
        if flags & 0b10_0000 != 0 {
            let companions = Companions::from_number(u64::from_le_bytes(self.take()?));
            doubt.companions = companions.map_err(|_| StateError::Damaged)?;
        }
        if flags & 0b100_0000 != 0 {
            doubt.purse = Some(self.currency()?);
        }
        Ok(doubt)
    }

    fn counters(&mut self) -> Result<CardCounters, StateError> {
        CardCounters::from_bytes(&self.take()?).map_err(|_| StateError::Damaged)
    }

    fn tap(&mut self) -> Result<TapRef, StateError> {
        let number = u32::from_le_bytes(self.take()?);
        let validator = ValidatorId::new(number).ok_or(StateError::Damaged)?;
        let epoch = Epoch(u32::from_le_bytes(self.take()?));
        Ok(TapRef { validator, epoch, seq: TapSeq(u64::from_le_bytes(self.take()?)) })
    }

    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, StateError>,
    ) -> Result<Vec<T>, StateError> {
        let len = self.u16()?;
        (0..len).map(|_| item(self)).collect()
    }
}
