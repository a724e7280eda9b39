//! Passwords of sessions.

use crate::SessionId;

/// Returns the password of a session: the first 16 bytes of `java.util.Random`, seeded with the id (zookeeper.md §7.1).
/// No server keeps it, every server can verify it.
pub fn session_password(session: SessionId) -> [u8; 16] {
    const SECRET: u64 = 0xb341_5c00;
    const MULTIPLIER: u64 = 0x5_deec_e66d;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = (session.value().cast_unsigned() ^ SECRET ^ MULTIPLIER) & MASK;
    let mut password = [0; 16];
    for chunk in password.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xb) & MASK;
        let output = u32::try_from(state >> 16).expect("32 of 48 bits are left");
        chunk.copy_from_slice(&output.to_le_bytes());
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_that_of_a_real_server() {
        let password = session_password(SessionId::new(0x0100_000f_c934_0000));
        assert_eq!(u128::from_be_bytes(password), 0x6e95_ed45_63a5_662c_fc28_9019_e423_264d);
    }
}
