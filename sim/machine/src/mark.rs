//! Marks: rare branches and situations that a good campaign must reach ("sometimes" properties).

use std::fmt::Debug;

/// A catalogue of marks: one enum per package, with the list of all its values, so that "never reached" can be said.
pub trait Mark: Copy + Debug + 'static {
    /// Every mark of the catalogue.
    const ALL: &'static [Self];

    /// The mark's name, unique over all catalogues of a world.
    fn name(self) -> &'static str;

    /// What it means, as its documentation says.
    fn about(self) -> &'static str;
}

/// Declares a catalogue of marks.
///
/// ```
/// machine::marks! {
///     /// What a counter may meet.
///     pub enum CounterMark {
///         /// It wrapped around.
///         Wrapped => "counter-wrapped",
///     }
/// }
/// use machine::Mark;
/// assert_eq!(CounterMark::ALL[0].name(), "counter-wrapped");
/// assert_eq!(CounterMark::ALL[0].about(), "It wrapped around.");
/// ```
#[macro_export]
macro_rules! marks {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[doc = $about:literal])+ $variant:ident => $text:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        $vis enum $name { $($(#[doc = $about])+ $variant),* }

        impl $crate::Mark for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),*];

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($about),+).trim_ascii()),* }
            }
        }
    };
}
