//! The card as bytes: saving a fleet's cards and bringing them back.
//!
//! Image 1, integers LSB first, lists as a count and their items. Only what survives without
//! power is in it, with the keys: keep images as safe as the master keys.

use alloc::{collections::VecDeque, vec::Vec};

use model::CardId;

use crate::keys::Key;
use crate::session::CommMode;

use super::memory::{App, Body, CAPACITY, File, Memory, StoredKey};

/// These bytes are no image that this version wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no card image of version 1")]
pub struct ImageError;

const VERSION: u8 = 1;

pub(super) fn write(memory: &Memory) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.push(VERSION);
    out.extend(memory.uid.0);
    out.push(memory.settings);
    out.extend(memory.random_key.0);
    out.extend(memory.drawn.to_le_bytes());
    count(&mut out, memory.apps.len());
    for app in &memory.apps {
        out.extend(app.aid);
        out.push(app.settings);
        count(&mut out, app.keys.len());
        for stored in &app.keys {
            out.extend(stored.key.0);
            out.push(stored.version);
        }
        count(&mut out, app.files.len());
        for file in &app.files {
            write_file(&mut out, file);
        }
    }
    out
}

fn write_file(out: &mut Vec<u8>, file: &File) {
    let mode = match file.mode {
        CommMode::Plain => 0,
        CommMode::Mac => 1,
        CommMode::Full => 3,
    };
    out.extend([file.no, mode, file.rights[0], file.rights[1], file.body.type_code()]);
    match &file.body {
        Body::Standard(data) | Body::Backup(data) => {
            count(out, data.len());
            out.extend(data);
        }
        Body::Value { lower, upper, value, limited, options } => {
            for number in [lower, upper, value, limited] {
                out.extend(number.to_le_bytes());
            }
            out.push(*options);
        }
        Body::Records { size, max, data, .. } => {
            for number in [*size, *max, data.len()] {
                count(out, number);
            }
            out.extend(data);
        }
        Body::Tmac { key, version, ctr, proof, reader_id } => {
            out.extend(key.0);
            out.push(*version);
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
    let mut input = Input(bytes);
    if input.byte()? != VERSION {
        return Err(ImageError);
    }
    let uid = CardId(input.array()?);
    let settings = input.byte()?;
    let random_key = Key(input.array()?);
    let drawn = u64::from_le_bytes(input.array()?);
    let mut apps = Vec::new();
    for _ in 0..input.count()? {
        apps.push(read_app(&mut input)?);
    }
    if !input.0.is_empty() {
        return Err(ImageError);
    }
    Ok(Memory { uid, settings, apps, random_key, drawn, dictated: VecDeque::new() })
}

fn read_app(input: &mut Input<'_>) -> Result<App, ImageError> {
    let (aid, settings) = (input.array()?, input.byte()?);
    let mut keys = Vec::new();
    for _ in 0..input.count()? {
        keys.push(StoredKey { key: Key(input.array()?), version: input.byte()? });
    }
    let mut files = Vec::new();
    for _ in 0..input.count()? {
        files.push(read_file(input)?);
    }
    Ok(App { aid, settings, keys, files })
}

fn read_file(input: &mut Input<'_>) -> Result<File, ImageError> {
    let [no, mode, r0, r1, kind] = input.array()?;
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
            ctr: u32::from_le_bytes(input.array()?),
            proof: input.array()?,
            reader_id: input.array()?,
        },
        _ => return Err(ImageError),
    };
    Ok(File { no, mode, rights: [r0, r1], body })
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], ImageError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(ImageError)?;
        self.0 = rest;
        Ok(*head)
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
        let (head, rest) = self.0.split_at_checked(n).ok_or(ImageError)?;
        self.0 = rest;
        Ok(head.to_vec())
    }
}
