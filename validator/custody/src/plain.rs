//! Plain key files: `role = "32 hexadecimal digits"`, a line each, all of version 1.
//!
//! For tests, the demo and first trials. Nothing protects these keys but the file's mode.

use std::path::Path;

use card::{Key, KeyRole, KeySet, KeyVersion};
use serde::Deserialize;
use zeroize::Zeroize;

use crate::file::{FileError, read_private};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainKeys {
    issuer: Option<String>,
    debit: Option<String>,
    load: Option<String>,
    tmac: Option<String>,
}

impl Drop for PlainKeys {
    fn drop(&mut self) {
        for text in [&mut self.issuer, &mut self.debit, &mut self.load, &mut self.tmac] {
            text.zeroize();
        }
    }
}

pub(crate) fn load(path: &Path) -> Result<KeySet, FileError> {
    let bytes = read_private(path)?;
    std::str::from_utf8(&bytes).ok().and_then(parse).ok_or_else(|| FileError::Contents {
        path: path.to_owned(),
        expected: "lines such as debit = \"…\" with 32 hexadecimal digits, \
                   for issuer, debit, load or tmac"
            .into(),
    })
}

fn parse(text: &str) -> Option<KeySet> {
    let file: PlainKeys = toml::from_str(text).ok()?;
    let mut keys = KeySet::default();
    for (role, text) in [
        (KeyRole::Issuer, &file.issuer),
        (KeyRole::Debit, &file.debit),
        (KeyRole::Load, &file.load),
        (KeyRole::Tmac, &file.tmac),
    ] {
        if let Some(text) = text {
            keys = keys.with(role, KeyVersion::FIRST, Key::from_hex(text)?);
        }
    }
    Some(keys)
}
