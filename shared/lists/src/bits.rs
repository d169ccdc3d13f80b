//! Numbers of any width, packed into bytes, lowest bit first.

/// Reads `width` ≤ 48 bits at bit `at`. Eight bytes behind the last must be readable.
pub(crate) fn read(bytes: &[u8], at: usize, width: u32) -> u64 {
    word(bytes, at / 8) >> (at % 8) & mask(width)
}

/// Writes `width` ≤ 48 bits at bit `at`, where there were zeros.
pub(crate) fn write(bytes: &mut [u8], at: usize, width: u32, value: u64) {
    let placed = (value & mask(width)) << (at % 8);
    let touched = (at % 8 + width as usize).div_ceil(8);
    for (byte, bits) in bytes[at / 8..].iter_mut().zip(placed.to_le_bytes()).take(touched) {
        *byte |= bits;
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
