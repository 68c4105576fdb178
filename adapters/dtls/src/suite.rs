//! The cipher suites. Not here: what they do (`protect`), or which a server takes (`config`).

/// A cipher suite of this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CipherSuite {
    /// TLS_PSK_WITH_AES_128_CCM_8 (RFC 6655), what RFC 7925 and LwM2M ask of every device.
    PskAes128Ccm8,
    /// TLS_PSK_WITH_AES_128_CCM (RFC 6655).
    PskAes128Ccm,
    /// TLS_PSK_WITH_AES_128_GCM_SHA256 (RFC 5487).
    PskAes128GcmSha256,
    /// TLS_PSK_WITH_AES_128_CBC_SHA256 (RFC 5487), with encrypt-then-MAC (RFC 7366) only: a client that does not offer that
    /// does not get this suite, as MAC-then-encrypt leaks its padding by time.
    PskAes128CbcSha256,
    /// TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8 (RFC 7251).
    EcdheEcdsaAes128Ccm8,
    /// TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 (RFC 5289).
    EcdheEcdsaAes128GcmSha256,
}

/// How records are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cipher {
    Ccm8,
    Ccm,
    Gcm,
    CbcThenMac,
}

impl CipherSuite {
    /// All of them, the preferred ones first.
    pub const ALL: [CipherSuite; 6] = [
        CipherSuite::EcdheEcdsaAes128Ccm8,
        CipherSuite::EcdheEcdsaAes128GcmSha256,
        CipherSuite::PskAes128Ccm8,
        CipherSuite::PskAes128Ccm,
        CipherSuite::PskAes128GcmSha256,
        CipherSuite::PskAes128CbcSha256,
    ];

    /// Its number at IANA.
    pub fn code(self) -> u16 {
        match self {
            CipherSuite::PskAes128Ccm8 => 0xc0a8,
            CipherSuite::PskAes128Ccm => 0xc0a4,
            CipherSuite::PskAes128GcmSha256 => 0x00a8,
            CipherSuite::PskAes128CbcSha256 => 0x00ae,
            CipherSuite::EcdheEcdsaAes128Ccm8 => 0xc0ae,
            CipherSuite::EcdheEcdsaAes128GcmSha256 => 0xc02b,
        }
    }

    /// The suite of that number.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.code() == code)
    }

    /// Whether client and server prove themselves with a key that both know.
    pub fn is_psk(self) -> bool {
        !matches!(self, CipherSuite::EcdheEcdsaAes128Ccm8 | CipherSuite::EcdheEcdsaAes128GcmSha256)
    }

    pub(crate) fn cipher(self) -> Cipher {
        match self {
            CipherSuite::PskAes128Ccm8 | CipherSuite::EcdheEcdsaAes128Ccm8 => Cipher::Ccm8,
            CipherSuite::PskAes128Ccm => Cipher::Ccm,
            CipherSuite::PskAes128GcmSha256 | CipherSuite::EcdheEcdsaAes128GcmSha256 => Cipher::Gcm,
            CipherSuite::PskAes128CbcSha256 => Cipher::CbcThenMac,
        }
    }
}
