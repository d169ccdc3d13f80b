//! A virtual card whose memory is a file: whatever it remembers is on the disk before it answers,
//! as on the real one.
//!
//! A change is written beside the file, forced to the disk and renamed over it, so that the file
//! is always one whole card: the one before the change or the one after it.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use card::{ImageError, VirtualCard};
use reader::{Activation, Picc};

/// Why there is no card.
#[derive(Debug, thiserror::Error)]
pub enum CardFileError {
    /// Nothing is there yet.
    #[error("there is no card in {}: make one with --blank UID or --issue UID", .0.display())]
    Missing(PathBuf),
    /// Something is there that must not be overwritten.
    #[error("{} is there already: leave --blank and --issue out, or remove it", .0.display())]
    Taken(PathBuf),
    /// It is something else.
    #[error("{} is no card that this program wrote: name another file", .0.display())]
    Foreign(PathBuf, #[source] ImageError),
    /// The disk refuses.
    #[error("cannot use {}", .0.display())]
    Io(PathBuf, #[source] io::Error),
}

/// The card.
#[derive(Clone)]
pub struct FiledCard {
    card: VirtualCard,
    file: PathBuf,
    written: Vec<u8>,
}

impl FiledCard {
    /// Puts a new card into a file that is not there yet.
    pub fn create(card: VirtualCard, file: &Path) -> Result<Self, CardFileError> {
        if file.exists() {
            return Err(CardFileError::Taken(file.to_path_buf()));
        }
        let mut this = Self { card, file: file.to_path_buf(), written: Vec::new() };
        this.save().map_err(|error| CardFileError::Io(file.to_path_buf(), error))?;
        Ok(this)
    }

    /// The card of this file.
    pub fn load(file: &Path) -> Result<Self, CardFileError> {
        let path = file.to_path_buf();
        let bytes = match fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CardFileError::Missing(path));
            }
            Err(error) => return Err(CardFileError::Io(path, error)),
        };
        match VirtualCard::from_bytes(&bytes) {
            Ok(card) => Ok(Self { card, file: path, written: bytes }),
            Err(error) => Err(CardFileError::Foreign(path, error)),
        }
    }

    /// The card itself.
    pub const fn card(&self) -> &VirtualCard {
        &self.card
    }

    fn save(&mut self) -> io::Result<()> {
        let bytes = self.card.to_bytes();
        if bytes == self.written {
            return Ok(());
        }
        let mut beside = self.file.clone().into_os_string();
        beside.push(".new");
        let mut fresh = File::create(&beside)?;
        fresh.write_all(&bytes)?;
        fresh.sync_all()?;
        fs::rename(&beside, &self.file)?;
        let folder = self.file.parent().filter(|path| !path.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        self.written = bytes;
        Ok(())
    }
}

impl Picc for FiledCard {
    fn activation(&self) -> Activation {
        self.card.activation()
    }

    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        let answer = self.card.transceive(apdu);
        // A card whose memory fails falls silent.
        self.save().ok().and(answer)
    }

    fn field_off(&mut self) {
        self.card.field_off();
        // A random UID that could not be remembered is only shown once more.
        let _ = self.save();
    }

    fn deselected(&mut self) {
        self.card.deselected();
    }
}

#[cfg(test)]
mod tests {
    use card::apdu::{cmd, wrap};
    use model::CardId;

    use super::*;

    const UID: CardId = CardId([4, 1, 2, 3, 4, 5, 6]);

    #[test]
    fn what_the_card_answers_is_in_the_file_before_the_answer_is_out() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("card");
        let mut card = FiledCard::create(VirtualCard::blank(UID, [0; 16]), &file).unwrap();
        let create = wrap(cmd::CREATE_APPLICATION, &[1, 2, 3, 0x0F, 0x81]);
        assert_eq!(card.transceive(&create), Some(vec![0x91, 0x00]));
        let loaded = FiledCard::load(&file).unwrap();
        assert!(loaded.card().same_contents(card.card()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        // The folder is gone: the card can remember nothing, so it promises nothing.
        drop(dir);
        assert_eq!(
            card.transceive(&wrap(cmd::DELETE_APPLICATION, &[9; 3])),
            Some(vec![0x91, 0xA0])
        );
        let another = wrap(cmd::CREATE_APPLICATION, &[4, 5, 6, 0x0F, 0x81]);
        assert_eq!(card.transceive(&another), None);
    }

    #[test]
    fn a_wrong_file_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("card");
        let said = |error: CardFileError| error.to_string();
        let missing = said(FiledCard::load(&file).err().unwrap());
        assert!(missing.contains("--blank UID or --issue UID"), "{missing}");
        fs::write(&file, "my thesis").unwrap();
        let foreign = said(FiledCard::load(&file).err().unwrap());
        assert!(foreign.contains("is no card that this program wrote"), "{foreign}");
        let blank = VirtualCard::blank(UID, [0; 16]);
        let taken = said(FiledCard::create(blank, &file).err().unwrap());
        assert!(taken.contains("is there already"), "{taken}");
        assert_eq!(fs::read(&file).unwrap(), b"my thesis");
    }
}
