//! Master keys in parts: each custodian holds one, and no number of them short of all says
//! anything about the key (`docs/keys.md`, the ceremony).

use card::{Key, KeyError};

/// A random key from the operating system.
pub fn random_key() -> Result<Key, KeyError> {
    let mut key = Key::ZERO;
    fill(&mut key.0)?;
    Ok(key)
}

pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), KeyError> {
    getrandom::fill(bytes)
        .map_err(|e| KeyError::Module(format!("the operating system gives no random bytes: {e}")))
}

/// The key whose parts these are.
pub fn combine(parts: &[Key]) -> Key {
    let mut key = Key::ZERO;
    for part in parts {
        xor(&mut key, part);
    }
    key
}

fn xor(key: &mut Key, part: &Key) {
    for (byte, p) in key.0.iter_mut().zip(part.0) {
        *byte ^= p;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_make_the_key_in_any_order_and_all_but_one_make_another() {
        let parts: Vec<Key> = (0..3).map(|_| random_key().unwrap()).collect();
        let key = combine(&parts);
        let mut turned = parts.clone();
        turned.rotate_left(1);
        assert_eq!(combine(&turned), key);
        for left_out in 0..parts.len() {
            let mut rest = parts.clone();
            rest.remove(left_out);
            assert_ne!(combine(&rest), key);
        }
    }
}
