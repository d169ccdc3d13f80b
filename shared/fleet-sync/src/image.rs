//! Images of releases: signed by the agency's release key, which nobody on the line has (ADR-0028).

use alloc::vec::Vec;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use wire::{Image, ImageLabel, WireError};

use crate::SignatureError;

/// What is signed of an image begins with it, so that no other signature can be shown for one.
const DOMAIN: &[u8] = b"tapline/1/release\0";

/// The content of an image's list: `packed` is the program that `label` describes, by gzip.
pub fn sign_image(
    label: &ImageLabel,
    packed: Vec<u8>,
    key: &SigningKey,
) -> Result<Vec<u8>, WireError> {
    let label = label.encode()?;
    let signature = key.sign(&[DOMAIN, &label].concat()).to_bytes();
    Image { label, signature, packed }.encode()
}

/// Reads an image, and checks that the holder of the release key signed its label. Whether the
/// packed program is the one that the label describes is for whoever unpacks it.
pub fn open_image(
    content: &[u8],
    key: &VerifyingKey,
) -> Result<(ImageLabel, Vec<u8>), SignatureError> {
    let Image { label, signature, packed } = Image::decode(content)?;
    key.verify_strict(&[DOMAIN, &label].concat(), &Signature::from_bytes(&signature))
        .map_err(|_| SignatureError::NotAuthentic)?;
    Ok((ImageLabel::decode(&label)?, packed))
}

#[cfg(test)]
mod tests {
    use alloc::{borrow::ToOwned, vec};

    use super::*;

    #[test]
    fn an_image_is_believed_only_under_the_key_and_for_the_label_that_were_signed() {
        let label = ImageLabel {
            version: "1.2.0".to_owned(),
            target: "pi".to_owned(),
            length: 3,
            hash: [7; 32],
        };
        let [key, other] = [1, 2].map(|n| SigningKey::from_bytes(&[n; 32]));
        let content = sign_image(&label, vec![1, 2, 3], &key).unwrap();
        let opened = open_image(&content, &key.verifying_key()).unwrap();
        assert_eq!(opened, (label.clone(), vec![1, 2, 3]));
        let forged = open_image(&content, &other.verifying_key());
        assert_eq!(forged, Err(SignatureError::NotAuthentic));
        let mut image = Image::decode(&content).unwrap();
        image.label = ImageLabel { version: "1.3.0".to_owned(), ..label }.encode().unwrap();
        let altered = open_image(&image.encode().unwrap(), &key.verifying_key());
        assert_eq!(altered, Err(SignatureError::NotAuthentic));
    }
}
