//! Which arithmetic of curve25519-dalek a build of this program has.

/// How curve25519-dalek was told to compute when a program was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// With AVX-512 IFMA where the processor has it, else as the default.
    Avx512,
    /// With AVX2 where the processor has it; who sets nothing has this.
    Default,
}

impl Backend {
    pub(crate) const ALL: [Self; 2] = [Self::Avx512, Self::Default];
    /// That of this program.
    pub(crate) const HERE: Self = if cfg!(curve25519_dalek_backend = "avx512") { Self::Avx512 } else { Self::Default };

    /// Its word, in the greeting and in names.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Default => "default",
        }
    }
}
