//! Numbers of any width, packed into bytes, lowest bit first.

/// Bits that one word holds whatever its shift.
pub(crate) const CHUNK: usize = 56;

/// Reads `width` ≤ 56 bits at bit `at`; what is beyond the end is zero.
pub(crate) fn read(bytes: &[u8], at: usize, width: u32) -> u64 {
    word(bytes, at / 8) >> (at % 8) & mask(width)
}

/// Writes `width` ≤ 56 bits at bit `at`, where there were zeros.
pub(crate) fn write(bytes: &mut [u8], at: usize, width: u32, value: u64) {
    let placed = (value & mask(width)) << (at % 8);
    let from = at / 8;
    if let Some(eight) = bytes.get_mut(from..from + 8) {
        let there = u64::from_le_bytes((&*eight).try_into().expect("eight bytes"));
        eight.copy_from_slice(&(there | placed).to_le_bytes());
        return;
    }
    let touched = (at % 8 + width as usize).div_ceil(8);
    for (byte, bits) in bytes[from..].iter_mut().zip(placed.to_le_bytes()).take(touched) {
        *byte |= bits;
    }
}

/// Copies bits to where there were zeros: seven bytes at a time, whatever the shift.
pub(crate) fn copy(to: &mut [u8], to_at: usize, from: &[u8], from_at: usize, length: usize) {
    let mut done = 0;
    while done < length {
        let step = (length - done).min(CHUNK);
        let width = u32::try_from(step).unwrap_or_default();
        write(to, to_at + done, width, read(from, from_at + done, width));
        done += step;
    }
}

/// Eight bytes from `at` on; what is beyond the end is zero.
pub(crate) fn word(bytes: &[u8], at: usize) -> u64 {
    if let Some(eight) = bytes.get(at..at + 8) {
        return u64::from_le_bytes(eight.try_into().expect("eight bytes"));
    }
    let mut eight = [0; 8];
    let rest = bytes.get(at..).unwrap_or_default();
    eight[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(eight)
}

const fn mask(width: u32) -> u64 {
    (1 << width) - 1
}
