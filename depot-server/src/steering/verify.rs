//! The journal of steering booked again: the lists are what it says.

use super::{SteeringError, current, hash_of};
use crate::store::{Store, StoreError};

/// Books the journal again and says the first difference. Answers how many lists there are.
pub fn verify(store: &Store) -> Result<u64, SteeringError> {
    let steering = current(store)?;
    for (number, image) in &steering.images {
        let content = store.release_image(*number)?;
        if content.is_none_or(|content| hash_of(&content) != image.hash) {
            let what = format!("image {number} is not what the journal of steering says");
            return Err(StoreError::damaged(what).into());
        }
    }
    let (booked, given) = (steering.lists, store.steering_lists()?);
    for (kind, list) in &booked {
        if given.get(kind) != Some(list) {
            let kind = kind.word().unwrap_or("unknown");
            let what = format!("the list of kind {kind} is not what the journal of steering says");
            return Err(StoreError::damaged(what).into());
        }
    }
    if given.len() != booked.len() {
        let what = "there is a list that the journal of steering does not know".to_owned();
        return Err(StoreError::damaged(what).into());
    }
    Ok(booked.len() as u64)
}
