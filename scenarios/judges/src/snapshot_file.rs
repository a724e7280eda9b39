//! Whether a snapshot on a disk is whole (zookeeper.md §9.4): a torn one is no copy of anything.

use jute::data::{Acl, StatPersisted};
use jute::{Buffer, from_prefix};

const MAGIC: i32 = 0x5a4b_534e;

/// Sums of everything so far: each seal of the file holds one.
struct Adler {
    a: u32,
    b: u32,
}

impl Adler {
    fn add(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(5_552) {
            for &byte in chunk {
                self.a += u32::from(byte);
                self.b += self.a;
            }
            self.a %= 65_521;
            self.b %= 65_521;
        }
    }

    fn sum(&self) -> i64 {
        i64::from(self.b << 16 | self.a)
    }
}

/// Whether the bytes are a snapshot up to its first seal, and the seal fits.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    body_len(bytes).is_some_and(|len| {
        let (body, mut seal) = bytes.split_at(len);
        let mut adler = Adler { a: 1, b: 0 };
        adler.add(body);
        let sum: Option<i64> = from_prefix(&mut seal).ok();
        let mark: Option<String> = from_prefix(&mut seal).ok();
        sum == Some(adler.sum()) && mark.as_deref() == Some("/")
    })
}

/// The length of header, sessions, access control lists and nodes.
fn body_len(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let (magic, _version, _database): (i32, i32, i64) = from_prefix(&mut rest).ok()?;
    if magic != MAGIC {
        return None;
    }
    let sessions: i32 = from_prefix(&mut rest).ok()?;
    for _ in 0..sessions {
        let _: (i64, i32) = from_prefix(&mut rest).ok()?;
    }
    let lists: i32 = from_prefix(&mut rest).ok()?;
    for _ in 0..lists {
        let _: (i64, Vec<Acl>) = from_prefix(&mut rest).ok()?;
    }
    loop {
        let path: String = from_prefix(&mut rest).ok()?;
        if path == "/" {
            return Some(bytes.len() - rest.len());
        }
        let _: (Buffer, i64, StatPersisted) = from_prefix(&mut rest).ok()?;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use jute::to_bytes;

    use super::*;

    /// A snapshot of one session and the root alone.
    pub(crate) fn snapshot() -> Vec<u8> {
        let mut bytes = to_bytes(&(MAGIC, 2_i32, -1_i64)).to_vec();
        bytes.extend_from_slice(&to_bytes(&(1_i32, (7_i64, 4_000_i32))));
        bytes.extend_from_slice(&to_bytes(&(0_i32, String::new(), (Buffer::NULL, -1_i64, StatPersisted::default()))));
        bytes.extend_from_slice(&to_bytes(&"/".to_owned()));
        let mut adler = Adler { a: 1, b: 0 };
        adler.add(&bytes);
        bytes.extend_from_slice(&to_bytes(&(adler.sum(), "/".to_owned())));
        bytes
    }

    #[test]
    fn snapshot_is_whole_until_a_byte_is_lost_or_changed() {
        let bytes = snapshot();
        assert!(is_whole(&bytes));
        for len in 0..bytes.len() {
            assert!(!is_whole(&bytes[..len]), "cut to {len} bytes");
        }
        let mut torn = bytes.clone();
        torn[30] ^= 1;
        assert!(!is_whole(&torn));
    }
}
