//! Words of the configuration as enums. Not here: reading them.

/// An enum whose variants have a name in the configuration: `CHOICES` for the reader, `as_str` for the template.
macro_rules! choices {
    ($(#[$meta:meta])* $name:ident { $($(#[$of_variant:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$of_variant])* $variant),+ }

        impl $name {
            /// Every choice by its name.
            pub const CHOICES: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];

            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}
pub(super) use choices;
