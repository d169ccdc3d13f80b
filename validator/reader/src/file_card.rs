//! A virtual card that lives in a file: what a card remembers without power is in the file before
//! its answer is given, so that killing the program is like pulling the card away.
//!
//! The image holds the card's keys: the file can be read by its owner only.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use card::VirtualCard;
use model::CardId;

use super::medium::{Activation, Picc};

/// See the module's documentation.
pub struct FileCard {
    card: VirtualCard,
    path: PathBuf,
    saved: Vec<u8>,
}

impl FileCard {
    /// A blank card from the factory, in a new file.
    pub fn create(path: &Path, uid: CardId, seed: [u8; 16]) -> io::Result<Self> {
        let card = VirtualCard::blank(uid, seed);
        let saved = card.to_bytes();
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&saved)?;
        file.sync_all()?;
        Ok(Self { card, path: path.to_owned(), saved })
    }

    /// The card in this file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let saved = fs::read(path)?;
        let card = VirtualCard::from_bytes(&saved)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Self { card, path: path.to_owned(), saved })
    }

    /// The new image takes the old one's place whole or not at all.
    fn save(&mut self) -> io::Result<()> {
        let image = self.card.to_bytes();
        if image == self.saved {
            return Ok(());
        }
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let options =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).clone();
        let mut file = options.open(&beside)?;
        file.write_all(&image)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        self.saved = image;
        Ok(())
    }
}

impl Picc for FileCard {
    fn activation(&self) -> Activation {
        self.card.activation()
    }

    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        let answer = self.card.handle_apdu(apdu);
        // A card that cannot remember what it did must not say that it did it.
        self.save().is_ok().then_some(answer)
    }

    fn field_off(&mut self) {
        self.card.power_off();
    }
}

#[cfg(test)]
mod tests {
    use card::{Key, KeySet, Opening};

    use super::*;

    #[test]
    fn what_the_card_did_is_in_the_file_and_nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("card");
        let uid = CardId([4, 1, 2, 3, 4, 5, 6]);
        let mut card = FileCard::create(&path, uid, [1; 16]).unwrap();
        card.transceive(&[0x90, 0x5A, 0, 0, 3, 0, 0, 0, 0]).unwrap();
        let keys = KeySet::from_root(&Key([7; 16]));
        card.card.personalise(&keys, &Opening::default()).unwrap();
        card.transceive(&[0x90, 0x5A, 0, 0, 3, 0, 0, 0, 0]).unwrap();
        let again = FileCard::open(&path).unwrap();
        assert!(again.card.same_contents(&card.card) && again.card.contents().is_some());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(FileCard::create(&path, uid, [1; 16]).is_err(), "a card is never overwritten");
        fs::write(&path, b"no card").unwrap();
        assert_eq!(FileCard::open(&path).err().unwrap().kind(), io::ErrorKind::InvalidData);
    }
}
