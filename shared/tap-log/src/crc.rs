//! CRC-32C (Castagnoli): tells a damaged row from a good one. No protection against intent.

const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "i < 256")]
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// The checksum of the parts, one after the other.
pub(crate) fn crc32c(parts: &[&[u8]]) -> u32 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    !bytes.fold(!0, |crc, b| crc >> 8 ^ TABLE[usize::from(crc.to_le_bytes()[0] ^ b)])
}

/// The four bytes that stand before `rest`, given the checksum of all: with a checksum that is
/// right there is exactly one answer, and with a wrong one it is noise.
pub(crate) fn four_before(rest: &[&[u8]], crc: u32) -> [u8; 4] {
    let bytes = rest.iter().rev().flat_map(|part| part.iter().rev());
    let after = bytes.fold(!crc, |state, byte| step_back(state) ^ u32::from(*byte));
    // What four zeros must begin with to arrive there, against what the checksum begins with.
    let before = (0..4).fold(after, |state, _| step_back(state));
    (before ^ !0).to_le_bytes()
}

/// The state before a zero byte.
fn step_back(state: u32) -> u32 {
    let top = state >> 24;
    // The upper bytes of the table are a permutation, so one row is found.
    let index = TABLE.iter().position(|row| row >> 24 == top).unwrap_or_default();
    let low = u32::try_from(index).unwrap_or_default();
    (state ^ TABLE[index]) << 8 | low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_is_found_from_the_checksum() {
        for before in [[0; 4], [0x6a, 0xfd, 0x86, 0xc0], [255; 4], [1, 2, 3, 4]] {
            for rest in [&b""[..], b"x", b"123456789"] {
                let crc = crc32c(&[&before, rest]);
                assert_eq!(four_before(&[rest], crc), before, "{rest:?}");
                assert_ne!(four_before(&[rest], crc ^ 1), before, "{rest:?}");
            }
        }
    }

    #[test]
    fn published_check_values() {
        // RFC 3720 B.4 and the catalogue's check value.
        assert_eq!(crc32c(&[b"123456789"]), 0xe306_9283);
        assert_eq!(crc32c(&[&[0; 16], &[0; 16]]), 0x8a91_36aa);
        assert_eq!(crc32c(&[&[0xff; 32]]), 0x62a8_ab43);
    }
}
