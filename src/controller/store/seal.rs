//! A checksum in front of each stored record, so that a flipped bit is an error and never a different state.
//!
//! FNV-1a, folded to 32 bits: against rot, not against forgery. The database checks its own pages only when it repairs.

/// `record` with its checksum, bound to the key under which it is stored.
pub(super) fn seal(key: &str, record: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(4 + record.len());
    sealed.extend_from_slice(&checksum(key, record).to_le_bytes());
    sealed.extend_from_slice(record);
    sealed
}

/// The record inside `sealed`, or `None` if it is damaged.
pub(super) fn unseal<'a>(key: &str, sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, record) = sealed.split_first_chunk::<4>()?;
    (u32::from_le_bytes(*sum) == checksum(key, record)).then_some(record)
}

fn checksum(key: &str, record: &[u8]) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in key.bytes().chain([0]).chain(record.iter().copied()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let folded = (hash >> 32) ^ (hash & 0xffff_ffff);
    u32::try_from(folded).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_flipped_bit() {
        let sealed = seal("node/h1", b"\x01some record");
        assert_eq!(unseal("node/h1", &sealed), Some(b"\x01some record".as_slice()));
        assert_eq!(unseal("node/h2", &sealed), None);
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal("node/h1", &flipped), None, "bit {bit}");
        }
        assert_eq!(unseal("", b"abc"), None);
    }
}
