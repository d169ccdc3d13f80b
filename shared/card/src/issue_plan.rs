//! What is sent to a card to issue it: the files, their rights and the keys, for a blank card and
//! for one whose issue was torn (ADR-0008).
//!
//! A file that holds value or proofs is never taken over from an issue that did not end: what is
//! in it cannot be read with the issuer key, and a card that somebody else prepared must not bring
//! value or a proof key of its own along. Such files are deleted and made anew.

use alloc::{vec, vec::Vec};

use model::{CardId, ProductLoad, RecordError};

use crate::apdu::{cmd, span};
use crate::keys::{CardKeys, Key, KeyRole, KeyVersion, VersionedKey};
use crate::layout::{
    self, COUNTERS_LEN, FILE_COUNTERS, FILE_LOG, FILE_MODE, FILE_PRODUCTS, FILE_PROFILE,
    FILE_RIDES, FILE_TMAC, PRODUCTS_LEN, RECORD_LEN,
};
use crate::opening::{IssueError, Opening};
use crate::session::{CommMode, change_key_data};

/// One exchange of issuing, or two for a login.
#[derive(Debug)]
pub(crate) enum Step {
    Select([u8; 3]),
    /// Creates the application, or finds out that it is there.
    Claim,
    /// Asks for something outside any session.
    Look(Look),
    /// Decides by what the looks have found.
    Decide,
    /// Logs in with key 0, trying each candidate until one is right.
    LogInAsIssuer(Vec<IssuerKey>),
    LogIn {
        key_no: u8,
        key: Key,
        rnd_a: [u8; 16],
    },
    /// A command of which nothing but success is expected. The master key's own change ends the
    /// session without a MAC: `last`.
    Command {
        mode: CommMode,
        cmd: u8,
        header: Vec<u8>,
        data: Vec<u8>,
        last: bool,
    },
    /// The card is an issued one of ours.
    AlreadyIssued,
    Commit,
}

/// What is asked of a card whose application is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    KeySettings,
    KeyVersion(u8),
    FileIds,
    FileSettings(u8),
}

/// What key 0 may be: the one of a new application (`version` is `None`), or ours.
#[derive(Debug)]
pub(crate) struct IssuerKey {
    pub(crate) version: Option<KeyVersion>,
    pub(crate) key: Key,
    pub(crate) rnd_a: [u8; 16],
}

/// What the looks found on the card.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) key_settings: Vec<u8>,
    /// Versions of keys 0, 1 and 2.
    pub(crate) versions: [u8; 3],
    pub(crate) files: Vec<u8>,
    pub(crate) profile: Option<Vec<u8>>,
    pub(crate) log: Option<Vec<u8>>,
}

/// One file as it has to be.
struct FilePlan {
    no: u8,
    create: Step,
    /// The settings of such a file; `None` for files that are never taken over.
    keeps: Option<Vec<u8>>,
    /// Its content, where it is written at once.
    content: Option<Step>,
}

/// The plan for one card, with every key that may be needed.
#[derive(Debug)]
pub(crate) struct Plan {
    opening: Opening,
    issuer: VersionedKey,
    debit: VersionedKey,
    load: VersionedKey,
    tmac: VersionedKey,
    /// Older and newer versions, for cards whose issue began under another one.
    held: Vec<(KeyRole, VersionedKey)>,
    rnd_a: [[u8; 16]; 3],
}

impl Plan {
    pub(crate) fn new(
        card: CardId,
        keys: &dyn CardKeys,
        opening: Opening,
        rnd_a: [[u8; 16]; 3],
    ) -> Result<Self, IssueError> {
        let current = |role| keys.current_key(role, &card);
        let mut held = Vec::new();
        for role in [KeyRole::Issuer, KeyRole::Debit, KeyRole::Load] {
            for version in keys.versions(role) {
                let key = keys.card_key(role, version, &card)?;
                held.push((role, VersionedKey { version, key }));
            }
        }
        opening.record().to_bytes()?;
        if layout::currency(opening.currency).is_none() {
            return Err(IssueError::Purse(opening.currency));
        }
        Ok(Self {
            opening,
            issuer: current(KeyRole::Issuer)?,
            debit: current(KeyRole::Debit)?,
            load: current(KeyRole::Load)?,
            tmac: current(KeyRole::Tmac)?,
            held,
            rnd_a,
        })
    }

    /// How every issue begins.
    pub(crate) fn begin() -> Vec<Step> {
        vec![Step::Select([0; 3]), Step::Claim]
    }

    /// For an application that was created just now.
    pub(crate) fn fresh(&self) -> Result<Vec<Step>, RecordError> {
        let mut steps = vec![
            Step::Select(layout::AID),
            Step::LogIn { key_no: layout::KEY_ISSUER, key: Key::ZERO, rnd_a: self.rnd_a[0] },
        ];
        for file in self.files() {
            steps.push(file.create);
            steps.extend(file.content);
        }
        steps.push(change_key(layout::KEY_DEBIT, &self.debit, &Key::ZERO));
        steps.push(change_key(layout::KEY_LOAD, &self.load, &Key::ZERO));
        steps.push(self.change_issuer_key());
        steps.extend(self.open_books()?);
        Ok(steps)
    }

    /// What to ask of an application that is there.
    pub(crate) fn look() -> Vec<Step> {
        let looks = [
            Look::KeySettings,
            Look::KeyVersion(layout::KEY_ISSUER),
            Look::KeyVersion(layout::KEY_DEBIT),
            Look::KeyVersion(layout::KEY_LOAD),
            Look::FileIds,
        ];
        let select = [Step::Select(layout::AID)].into_iter();
        select.chain(looks.map(Step::Look)).chain([Step::Decide]).collect()
    }

    /// What key 0 may be, the likeliest first. A torn change of it leaves either; the version that
    /// the card names only says which to try first.
    pub(crate) fn issuer_keys(&self, named: u8) -> Vec<IssuerKey> {
        let [fresh, _, ours] = self.rnd_a;
        let zero = IssuerKey { version: None, key: Key::ZERO, rnd_a: fresh };
        let held = self.held(KeyRole::Issuer, named).unwrap_or(&self.issuer);
        let held = IssuerKey { version: Some(held.version), key: held.key.clone(), rnd_a: ours };
        if named == 0 { vec![zero, held] } else { vec![held, zero] }
    }

    /// The rest, for one who is logged in as issuer on a card with an empty log. `None` when a key
    /// has a version that is not held.
    pub(crate) fn resume(
        &self,
        seen: &Seen,
        logged_in: Option<KeyVersion>,
    ) -> Result<Option<Vec<Step>>, RecordError> {
        let mut steps = Vec::new();
        let files = self.files();
        let keeps = |no: u8| {
            let settings = match no {
                FILE_PROFILE => seen.profile.as_ref(),
                FILE_LOG => seen.log.as_ref(),
                _ => None,
            };
            files.iter().any(|f| f.no == no && f.keeps.is_some() && f.keeps.as_ref() == settings)
        };
        let (kept, gone): (Vec<u8>, Vec<u8>) = seen.files.iter().partition(|no| keeps(**no));
        // The proof file first: without it nothing written below counts for a transaction.
        let last_first = gone.iter().rev();
        steps.extend(last_first.map(|no| command(CommMode::Mac, cmd::DELETE_FILE, &[&[*no]], &[])));
        for file in files {
            if !kept.contains(&file.no) {
                steps.push(file.create);
            }
            steps.extend(file.content);
        }
        for (key_no, role, new) in [
            (layout::KEY_DEBIT, KeyRole::Debit, &self.debit),
            (layout::KEY_LOAD, KeyRole::Load, &self.load),
        ] {
            // Changing a key to itself proves that it is ours: the card compares a checksum.
            let old = match seen.versions[usize::from(key_no)] {
                0 => Key::ZERO,
                named => match self.held(role, named) {
                    Some(held) => held.key.clone(),
                    None => return Ok(None),
                },
            };
            steps.push(change_key(key_no, new, &old));
        }
        if logged_in != Some(self.issuer.version) {
            steps.push(self.change_issuer_key());
        }
        steps.extend(self.open_books()?);
        Ok(Some(steps))
    }

    fn held(&self, role: KeyRole, version: u8) -> Option<&VersionedKey> {
        let found = self.held.iter().find(|(r, key)| *r == role && key.version.0 == version);
        found.map(|(_, key)| key)
    }

    fn change_issuer_key(&self) -> Step {
        Step::Command {
            mode: CommMode::Full,
            cmd: cmd::CHANGE_KEY,
            header: vec![layout::KEY_ISSUER],
            data: change_key_data(&self.issuer.key, self.issuer.version.0, None).to_vec(),
            last: true,
        }
    }

    /// The one transaction that makes a card of it: opening value, products and Issue record.
    fn open_books(&self) -> Result<Vec<Step>, RecordError> {
        let (key_no, key) = (layout::KEY_LOAD, self.load.key.clone());
        let mut steps = vec![Step::LogIn { key_no, key, rnd_a: self.rnd_a[1] }];
        if self.opening.balance > 0 {
            let amount = self.opening.balance.to_le_bytes();
            let file = layout::value_file(self.opening.layout);
            steps.push(command(FILE_MODE, cmd::CREDIT, &[&[file]], &amount));
        }
        if let Some(load) = &self.opening.products {
            steps.extend(load_products(load));
        }
        let record = self.opening.record().to_bytes()?;
        let header = span(FILE_LOG, 0, RECORD_LEN);
        steps.push(command(FILE_MODE, cmd::WRITE_RECORD, &[&header], &record));
        steps.push(Step::Commit);
        Ok(steps)
    }

    /// The files in the order of making them.
    fn files(&self) -> Vec<FilePlan> {
        const MAC: u8 = 0x01;
        let lower = -i64::from(self.opening.negative_limit);
        let lower = i32::try_from(lower).unwrap_or(i32::MIN);
        let profile_len = span(0, 0, RECORD_LEN);
        let record_sizes = span(0, RECORD_LEN, layout::LOG_RECORDS + 1);
        let create = |cmd, parts: &[&[u8]]| command(CommMode::Mac, cmd, parts, &[]);
        let value = |no, rights: &[u8], lower: i32, upper: i32| {
            let limits = [lower.to_le_bytes(), upper.to_le_bytes(), [0; 4]].concat();
            let create = create(cmd::CREATE_VALUE_FILE, &[&[no, MAC], rights, &limits, &[0]]);
            FilePlan { no, create, keeps: None, content: None }
        };
        let backup = |no, rights: &[u8], len| {
            let head = [&[no, MAC], rights].concat();
            let create = create(cmd::CREATE_BACKUP_DATA_FILE, &[&head, &span(0, 0, len)[4..]]);
            FilePlan { no, create, keeps: None, content: None }
        };
        let settings = |kind: u8, rights: [u8; 2], rest: &[u8]| {
            Some([&[kind, MAC][..], &rights, rest].concat())
        };
        let profile = self.opening.profile().to_bytes();
        let profile_rights = layout::rights_profile(self.opening.layout);
        let mut files = vec![
            FilePlan {
                no: FILE_PROFILE,
                create: create(
                    cmd::CREATE_STD_DATA_FILE,
                    &[&[FILE_PROFILE, MAC], &profile_rights, &profile_len[4..]],
                ),
                keeps: settings(0x00, profile_rights, &profile_len[4..]),
                content: Some(command(
                    FILE_MODE,
                    cmd::WRITE_DATA,
                    &[&span(FILE_PROFILE, 0, RECORD_LEN)],
                    &profile,
                )),
            },
            value(layout::value_file(self.opening.layout), &layout::RIGHTS_VALUE, lower, i32::MAX),
            backup(FILE_PRODUCTS, &layout::RIGHTS_PRODUCTS, PRODUCTS_LEN),
            value(FILE_RIDES, &layout::RIGHTS_RIDES, 0, layout::RIDES_MAX),
            FilePlan {
                no: FILE_LOG,
                create: create(
                    cmd::CREATE_CYCLIC_RECORD_FILE,
                    &[&[FILE_LOG, MAC], &layout::RIGHTS_LOG, &record_sizes[1..]],
                ),
                // Size, places and, at the end, no record.
                keeps: settings(0x04, layout::RIGHTS_LOG, &[&record_sizes[1..], &[0; 3]].concat()),
                content: None,
            },
        ];
        if self.opening.layout.has_counters() {
            files.push(backup(FILE_COUNTERS, &layout::RIGHTS_COUNTERS, COUNTERS_LEN));
        }
        files.push(FilePlan {
            no: FILE_TMAC,
            create: command(
                CommMode::Full,
                cmd::CREATE_TRANSACTION_MAC_FILE,
                &[&[FILE_TMAC, MAC], &layout::RIGHTS_TMAC, &[0x02]],
                &[&self.tmac.key.0[..], &[self.tmac.version.0]].concat(),
            ),
            keeps: None,
            content: None,
        });
        files
    }
}

fn load_products(load: &ProductLoad) -> impl Iterator<Item = Step> {
    let header = span(FILE_PRODUCTS, 0, PRODUCTS_LEN);
    let file = command(FILE_MODE, cmd::WRITE_DATA, &[&header], &load.file().to_bytes());
    let rides = load.rides().to_le_bytes();
    let rides = command(FILE_MODE, cmd::CREDIT, &[&[FILE_RIDES]], &rides);
    [file].into_iter().chain((load.rides() > 0).then_some(rides))
}

/// Records that a log's settings say it holds; `None` when these are no log's settings.
pub(crate) fn records_in(settings: &[u8]) -> Option<u32> {
    let rest = settings.strip_prefix(&[0x04])?;
    let [a, b, c] = *rest.get(9..12)?.first_chunk()?;
    Some(u32::from_le_bytes([a, b, c, 0]))
}

fn change_key(key_no: u8, new: &VersionedKey, old: &Key) -> Step {
    let data = change_key_data(&new.key, new.version.0, Some(old));
    command(CommMode::Full, cmd::CHANGE_KEY, &[&[key_no]], &data)
}

fn command(mode: CommMode, cmd: u8, header: &[&[u8]], data: &[u8]) -> Step {
    Step::Command { mode, cmd, header: header.concat(), data: data.to_vec(), last: false }
}
