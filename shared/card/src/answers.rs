//! What a card's answers mean, step by step: an authentic content, or a failure with its name.
//!
//! Invariants: an answer without its right MAC is never used; a refusal is a status and nothing
//! else; once the commit was sent, what is not known is in doubt.

use alloc::vec::Vec;

use model::{CardProof, CardRecord, Ctr, Currency};

use crate::apdu::{self, StatusWord, parse_answer};
use crate::failure::{CardFailure, CardStep, ExchangeError};
use crate::layout::{self, FILE_MODE};
use crate::session::{Authentication, CommMode, Session, SessionError};
use crate::transaction::Settlement;

/// An answer with a status, or why there is none.
fn answered(
    step: CardStep,
    response: Result<&[u8], ExchangeError>,
) -> Result<apdu::Answer<'_>, CardFailure> {
    let bytes = response.map_err(|error| CardFailure::Link { step, error })?;
    let answer = parse_answer(bytes).ok_or(CardFailure::Malformed(step))?;
    // A card's error is two bytes. With more before it, it is the end of an answer cut short, and
    // taking it for the card's word would call a commit refused that happened.
    if answer.status.is_card_error() && !answer.data.is_empty() {
        return Err(CardFailure::Malformed(step));
    }
    Ok(answer)
}

pub(crate) fn selected(response: Result<&[u8], ExchangeError>) -> Result<(), CardFailure> {
    let answer = answered(CardStep::Select, response)?;
    match (answer.status, answer.data) {
        (StatusWord::OK, []) => Ok(()),
        (StatusWord::OK, _) => Err(CardFailure::Malformed(CardStep::Select)),
        (status, _) => Err(CardFailure::NoApplication(status)),
    }
}

pub(crate) fn challenged(
    authentication: &mut Authentication,
    response: Result<&[u8], ExchangeError>,
) -> Result<[u8; 32], CardFailure> {
    let answer = answered(CardStep::Authenticate, response)?;
    expect_status(CardStep::Authenticate, answer.status, StatusWord::ADDITIONAL_FRAME)?;
    let challenge: &[u8; 16] =
        answer.data.try_into().map_err(|_| CardFailure::Malformed(CardStep::Authenticate))?;
    Ok(authentication.answer_challenge(challenge))
}

pub(crate) fn authenticated(
    authentication: Authentication,
    response: Result<&[u8], ExchangeError>,
) -> Result<Session, CardFailure> {
    let answer = answered(CardStep::Authenticate, response)?;
    if answer.status == StatusWord::AUTHENTICATION {
        return Err(CardFailure::NotAuthentic);
    }
    expect_status(CardStep::Authenticate, answer.status, StatusWord::OK)?;
    let answer: &[u8; 32] =
        answer.data.try_into().map_err(|_| CardFailure::Malformed(CardStep::Authenticate))?;
    authentication.finish_first(answer).ok_or(CardFailure::NotAuthentic)
}

/// The data of a successful answer outside any session.
pub(crate) fn plain(
    step: CardStep,
    response: Result<&[u8], ExchangeError>,
) -> Result<&[u8], CardFailure> {
    let answer = answered(step, response)?;
    expect_status(step, answer.status, StatusWord::OK)?;
    Ok(answer.data)
}

/// A refusal of the card is `91` and its code. Any other status that was not asked for is a piece
/// of an answer: the rider is told to hold the card again, not to see staff (ADR-0012).
fn expect_status(step: CardStep, got: StatusWord, want: StatusWord) -> Result<(), CardFailure> {
    match got {
        got if got == want => Ok(()),
        status if status.is_card_error() => Err(CardFailure::Refused { step, status }),
        _ => Err(CardFailure::Malformed(step)),
    }
}

/// The data of an authentic answer within the session.
pub(crate) fn opened(
    session: &mut Session,
    mode: CommMode,
    step: CardStep,
    response: Result<&[u8], ExchangeError>,
) -> Result<Vec<u8>, CardFailure> {
    let answer = answered(step, response)?;
    expect_status(step, answer.status, StatusWord::OK)?;
    session.open_answer(mode, answer.data).map_err(|error| match error {
        SessionError::Mac => CardFailure::AnswerNotAuthentic(step),
        SessionError::Length | SessionError::Padding | SessionError::Exhausted => {
            CardFailure::Malformed(step)
        }
    })
}

pub(crate) fn acknowledged(
    session: &mut Session,
    step: CardStep,
    response: Result<&[u8], ExchangeError>,
) -> Result<(), CardFailure> {
    match opened(session, FILE_MODE, step, response) {
        Ok(data) if data.is_empty() => Ok(()),
        Ok(_) => Err(CardFailure::Malformed(step)),
        Err(CardFailure::Refused { step: CardStep::Value, status: StatusWord::BOUNDARY }) => {
            Err(CardFailure::ValueLimit)
        }
        Err(failure) => Err(failure),
    }
}

pub(crate) fn newest_record(
    session: &mut Session,
    response: Result<&[u8], ExchangeError>,
) -> Result<CardRecord, CardFailure> {
    let data = match opened(session, FILE_MODE, CardStep::Read, response) {
        Err(CardFailure::Refused { status: StatusWord::BOUNDARY, .. }) => {
            return Err(CardFailure::NoRecord);
        }
        other => other?,
    };
    let bytes: &[u8; CardRecord::LEN] =
        data.as_slice().try_into().map_err(|_| CardFailure::Malformed(CardStep::Read))?;
    CardRecord::from_bytes(bytes).map_err(CardFailure::Record)
}

/// The so many bytes of a file.
pub(crate) fn read<const N: usize>(
    session: &mut Session,
    step: CardStep,
    response: Result<&[u8], ExchangeError>,
) -> Result<[u8; N], CardFailure> {
    let data = opened(session, FILE_MODE, step, response)?;
    data.try_into().map_err(|_| CardFailure::Malformed(step))
}

/// The currency of a purse, by the letters that the card's profile names.
pub(crate) fn purse(letters: [u8; 3]) -> Result<Currency, CardFailure> {
    layout::currency(letters).ok_or(CardFailure::Purse(letters))
}

/// `TMC(4) ‖ TMV(8)`, as the commit answers it and as the TMAC file holds it.
pub(crate) fn counter_and_proof(data: &[u8]) -> Option<(Ctr, CardProof)> {
    let data: &[u8; 12] = data.try_into().ok()?;
    let (ctr, proof) = data.split_first_chunk::<4>()?;
    Some((Ctr(u32::from_le_bytes(*ctr)), CardProof(proof.try_into().ok()?)))
}

/// Never an error: once the commit was sent, only an authentic answer says what happened. An error
/// status carries no MAC: whoever holds the radio link can put one in the place of the card's
/// answer (ADR-0012).
pub(crate) fn settled_commit(
    session: &mut Session,
    response: Result<&[u8], ExchangeError>,
) -> Settlement {
    let data = opened(session, CommMode::Mac, CardStep::Commit, response);
    match data.ok().as_deref().and_then(counter_and_proof) {
        Some((ctr, proof)) => Settlement::Committed { ctr, proof },
        None => Settlement::InDoubt,
    }
}
