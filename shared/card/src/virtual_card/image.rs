//! The card as bytes: saving a fleet's cards and bringing them back.
//!
//! Image 2, integers LSB first, lists as a count and their items. Only what survives without
//! power is in it, with the keys: keep images as safe as the master keys. Image 1, which knew AES
//! applications and no card master key, is read as a card that still has its factory key.

use alloc::vec::Vec;

use model::CardId;

use crate::keys::Key;
use crate::legacy::{AnyKey, KeyKind};
use crate::session::CommMode;

use super::memory::{App, Body, CAPACITY, Configuration, File, IsoNames, Memory, StoredKey};

/// These bytes are no image that this version wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no card image of version 1 or 2")]
pub struct ImageError;

const VERSION: u8 = 2;

pub(super) fn write(memory: &Memory) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.push(VERSION);
    out.extend(memory.uid.0);
    out.push(memory.settings);
    out.extend(memory.random_key.0);
    out.extend(memory.drawn.to_le_bytes());
    write_key(&mut out, &memory.master);
    let Configuration { unformattable, random_uid, default_key, ats } = &memory.configuration;
    out.push(u8::from(*unformattable) | u8::from(*random_uid) << 1);
    out.extend(default_key.0);
    out.push(default_key.1);
    write_bytes(&mut out, ats);
    count(&mut out, memory.apps.len());
    for app in &memory.apps {
        out.extend(app.aid);
        out.extend([app.settings, app.kind.bits() | u8::from(app.iso.files)]);
        write_iso_id(&mut out, app.iso.id);
        write_bytes(&mut out, &app.iso.name);
        count(&mut out, app.keys.len());
        for stored in &app.keys {
            write_key(&mut out, stored);
        }
        count(&mut out, app.files.len());
        for file in &app.files {
            write_file(&mut out, file);
        }
    }
    out
}

fn write_key(out: &mut Vec<u8>, stored: &StoredKey) {
    out.push(stored.key.kind().bits());
    out.extend(stored.key.bytes());
    out.push(stored.version);
}

fn write_iso_id(out: &mut Vec<u8>, id: Option<u16>) {
    out.push(u8::from(id.is_some()));
    out.extend(id.unwrap_or(0).to_le_bytes());
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    count(out, bytes.len());
    out.extend(bytes);
}

fn write_file(out: &mut Vec<u8>, file: &File) {
    let mode = match file.mode {
        CommMode::Plain => 0,
        CommMode::Mac => 1,
        CommMode::Full => 3,
    };
    out.extend([file.no, mode, file.rights[0], file.rights[1], file.body.type_code()]);
    write_iso_id(out, file.iso_id);
    match &file.body {
        Body::Standard(data) | Body::Backup(data) => {
            write_bytes(out, data);
        }
        Body::Value { lower, upper, value, limited, options } => {
            for number in [lower, upper, value, limited] {
                out.extend(number.to_le_bytes());
            }
            out.push(*options);
        }
        Body::Records { size, max, data, .. } => {
            count(out, *size);
            count(out, *max);
            write_bytes(out, data);
        }
        Body::Tmac { key, version, limit, ctr, proof, reader_id } => {
            out.extend(key.0);
            out.push(*version);
            out.push(u8::from(limit.is_some()));
            out.extend(limit.unwrap_or(0).to_le_bytes());
            out.extend(ctr.to_le_bytes());
            out.extend(proof);
            out.extend(reader_id);
        }
    }
}

fn count(out: &mut Vec<u8>, n: usize) {
    out.extend(u32::try_from(n).expect("a card holds some kilobytes").to_le_bytes());
}

pub(super) fn read(bytes: &[u8]) -> Result<Memory, ImageError> {
    let mut input = Input { rest: bytes, version: 0 };
    input.version = input.byte()?;
    if !(1..=VERSION).contains(&input.version) {
        return Err(ImageError);
    }
    let uid = CardId(input.array()?);
    let settings = input.byte()?;
    let random_key = Key(input.array()?);
    let mut memory = Memory::factory(uid, random_key);
    memory.settings = settings;
    memory.drawn = u64::from_le_bytes(input.array()?);
    if input.version > 1 {
        memory.master = read_key(&mut input)?;
        memory.configuration = read_configuration(&mut input)?;
    }
    for _ in 0..input.count()? {
        memory.apps.push(read_app(&mut input)?);
    }
    if input.rest.is_empty() { Ok(memory) } else { Err(ImageError) }
}

fn read_configuration(input: &mut Input<'_>) -> Result<Configuration, ImageError> {
    let flags = input.byte()?;
    if flags > 3 {
        return Err(ImageError);
    }
    Ok(Configuration {
        unformattable: flags & 1 != 0,
        random_uid: flags & 2 != 0,
        default_key: (input.array()?, input.byte()?),
        ats: input.bytes()?,
    })
}

fn read_key(input: &mut Input<'_>) -> Result<StoredKey, ImageError> {
    let kind = match input.version {
        1 => KeyKind::Aes,
        _ => KeyKind::from_bits(input.byte()?).ok_or(ImageError)?,
    };
    let key = AnyKey::new(kind, input.take(kind.key_len())?).ok_or(ImageError)?;
    Ok(StoredKey::new(key, input.byte()?))
}

fn read_app(input: &mut Input<'_>) -> Result<App, ImageError> {
    let (aid, settings) = (input.array()?, input.byte()?);
    let (mut kind, mut iso) = (KeyKind::Aes, IsoNames::default());
    if input.version > 1 {
        let bits = input.byte()?;
        kind = KeyKind::from_bits(bits).ok_or(ImageError)?;
        iso = IsoNames { files: bits & 1 != 0, id: read_iso_id(input)?, name: input.bytes()? };
    }
    let mut keys = Vec::new();
    for _ in 0..input.count()? {
        keys.push(read_key(input)?);
    }
    if keys.iter().any(|stored| stored.key.kind() != kind) {
        return Err(ImageError);
    }
    let mut files = Vec::new();
    for _ in 0..input.count()? {
        files.push(read_file(input)?);
    }
    Ok(App { aid, settings, kind, iso, keys, files })
}

fn read_iso_id(input: &mut Input<'_>) -> Result<Option<u16>, ImageError> {
    let (there, id) = (input.byte()?, u16::from_le_bytes(input.array()?));
    match there {
        0 => Ok(None),
        1 => Ok(Some(id)),
        _ => Err(ImageError),
    }
}

fn read_limit(input: &mut Input<'_>) -> Result<Option<u32>, ImageError> {
    let (there, limit) = (input.byte()?, u32::from_le_bytes(input.array()?));
    match there {
        0 => Ok(None),
        1 => Ok(Some(limit)),
        _ => Err(ImageError),
    }
}

fn read_file(input: &mut Input<'_>) -> Result<File, ImageError> {
    let [no, mode, r0, r1, kind] = input.array()?;
    let iso_id = if input.version > 1 { read_iso_id(input)? } else { None };
    let mode = match mode {
        0 => CommMode::Plain,
        1 => CommMode::Mac,
        3 => CommMode::Full,
        _ => return Err(ImageError),
    };
    let body = match kind {
        0 => Body::Standard(input.bytes()?),
        1 => Body::Backup(input.bytes()?),
        2 => Body::Value {
            lower: input.number()?,
            upper: input.number()?,
            value: input.number()?,
            limited: input.number()?,
            options: input.byte()?,
        },
        3 | 4 => {
            let (size, max) = (input.count()?, input.count()?);
            let data = input.bytes()?;
            if size == 0
                || max <= usize::from(kind == 4)
                || data.len() % size != 0
                || data.len() / size > max
            {
                return Err(ImageError);
            }
            Body::Records { cyclic: kind == 4, size, max, data }
        }
        5 => Body::Tmac {
            key: Key(input.array()?),
            version: input.byte()?,
            limit: if input.version > 1 { read_limit(input)? } else { None },
            ctr: u32::from_le_bytes(input.array()?),
            proof: input.array()?,
            reader_id: input.array()?,
        },
        _ => return Err(ImageError),
    };
    Ok(File { no, iso_id, mode, rights: [r0, r1], body })
}

struct Input<'a> {
    rest: &'a [u8],
    version: u8,
}

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], ImageError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(ImageError)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ImageError> {
        self.take(N)?.try_into().map_err(|_| ImageError)
    }

    fn byte(&mut self) -> Result<u8, ImageError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<i32, ImageError> {
        self.array().map(i32::from_le_bytes)
    }

    /// A count; nothing on a card is larger than its memory.
    fn count(&mut self) -> Result<usize, ImageError> {
        let n = usize::try_from(u32::from_le_bytes(self.array()?)).map_err(|_| ImageError)?;
        if n <= CAPACITY { Ok(n) } else { Err(ImageError) }
    }

    fn bytes(&mut self) -> Result<Vec<u8>, ImageError> {
        let n = self.count()?;
        Ok(self.take(n)?.to_vec())
    }
}
