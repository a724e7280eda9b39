//! From a wide vocabulary back to a narrow one.

/// What a machine's enum of messages or work gives back to one of its members.
///
/// A trait of ours, because `TryFrom` has its error fixed to `Infallible` by the standard library's blanket
/// implementation as soon as the two types are equal.
pub trait Narrow<Wide>: Sized {
    /// Takes the wide value if it is one of ours.
    ///
    /// # Errors
    /// Gives the value back if it belongs to somebody else.
    fn narrow(wide: Wide) -> Result<Self, Wide>;
}

impl<T> Narrow<T> for T {
    fn narrow(wide: T) -> Result<Self, T> {
        Ok(wide)
    }
}
