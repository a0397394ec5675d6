//! What a principal may be allowed to do.

use std::str::FromStr as _;
use std::sync::LazyLock;

use cedar_policy::{EntityId, EntityTypeName, EntityUid};

/// An action of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    AdoptKey,
    AdoptTrust,
    Backup,
    CancelDestroyKey,
    CreateKey,
    DeleteTrust,
    DestroyKey,
    DisableKey,
    DistrustKey,
    EnableKey,
    GetKey,
    ImportKey,
    ListKeys,
    ListTokens,
    ListTrust,
    LoginToken,
    ManageKek,
    MeasureToken,
    Publish,
    ReadLog,
    ReadStatus,
    ReadTrust,
    RetireKey,
    RotateKey,
    RotateTrustKey,
    Seal,
    SignBlob,
    SignImage,
    SignMetadata,
    SignRaw,
    SignRelease,
    SignTrust,
    Unseal,
    Verify,
}

static ACTION: LazyLock<Option<EntityTypeName>> = LazyLock::new(|| EntityTypeName::from_str("Action").ok());

impl Action {
    /// Every action.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 34] = [
        Self::AdoptKey,
        Self::AdoptTrust,
        Self::Backup,
        Self::CancelDestroyKey,
        Self::CreateKey,
        Self::DeleteTrust,
        Self::DestroyKey,
        Self::DisableKey,
        Self::DistrustKey,
        Self::EnableKey,
        Self::GetKey,
        Self::ImportKey,
        Self::ListKeys,
        Self::ListTokens,
        Self::ListTrust,
        Self::LoginToken,
        Self::ManageKek,
        Self::MeasureToken,
        Self::Publish,
        Self::ReadLog,
        Self::ReadStatus,
        Self::ReadTrust,
        Self::RetireKey,
        Self::RotateKey,
        Self::RotateTrustKey,
        Self::Seal,
        Self::SignBlob,
        Self::SignImage,
        Self::SignMetadata,
        Self::SignRaw,
        Self::SignRelease,
        Self::SignTrust,
        Self::Unseal,
        Self::Verify,
    ];

    /// Its name in policies, leaves and logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AdoptKey => "adopt-key",
            Self::AdoptTrust => "adopt-trust",
            Self::Backup => "backup",
            Self::CancelDestroyKey => "cancel-destroy-key",
            Self::CreateKey => "create-key",
            Self::DeleteTrust => "delete-trust",
            Self::DestroyKey => "destroy-key",
            Self::DisableKey => "disable-key",
            Self::DistrustKey => "distrust-key",
            Self::EnableKey => "enable-key",
            Self::GetKey => "get-key",
            Self::ImportKey => "import-key",
            Self::ListKeys => "list-keys",
            Self::ListTokens => "list-tokens",
            Self::ListTrust => "list-trust",
            Self::LoginToken => "login-token",
            Self::ManageKek => "manage-kek",
            Self::MeasureToken => "measure-token",
            Self::Publish => "publish",
            Self::ReadLog => "read-log",
            Self::ReadStatus => "read-status",
            Self::ReadTrust => "read-trust",
            Self::RetireKey => "retire-key",
            Self::RotateKey => "rotate-key",
            Self::RotateTrustKey => "rotate-trust-key",
            Self::Seal => "seal",
            Self::SignBlob => "sign-blob",
            Self::SignImage => "sign-image",
            Self::SignMetadata => "sign-metadata",
            Self::SignRaw => "sign-raw",
            Self::SignRelease => "sign-release",
            Self::SignTrust => "sign-trust",
            Self::Unseal => "unseal",
            Self::Verify => "verify",
        }
    }

    /// True for an action on a key; the others are on the daemon, or on a repository of trust data.
    #[cfg(test)]
    pub(crate) const fn is_on_key(self) -> bool {
        !matches!(
            self,
            Self::AdoptTrust
                | Self::Backup
                | Self::DeleteTrust
                | Self::ListKeys
                | Self::ListTokens
                | Self::ListTrust
                | Self::LoginToken
                | Self::ManageKek
                | Self::MeasureToken
                | Self::Publish
                | Self::ReadLog
                | Self::ReadStatus
                | Self::ReadTrust
                | Self::RotateTrustKey
                | Self::Seal
                | Self::SignTrust
                | Self::Unseal
                | Self::Verify
        )
    }

    /// True for an action on a repository of trust data.
    #[cfg(test)]
    pub(crate) const fn is_on_gun(self) -> bool {
        matches!(
            self,
            Self::AdoptTrust
                | Self::DeleteTrust
                | Self::Publish
                | Self::ReadTrust
                | Self::RotateTrustKey
                | Self::SignTrust
        )
    }

    pub(super) fn uid(self) -> EntityUid {
        let id = EntityId::new(self.name());
        match &*ACTION {
            Some(kind) => EntityUid::from_type_name_and_id(kind.clone(), id),
            // "Action" is a name; should it ever not be, no policy speaks of this entity and all is denied.
            None => super::facts::nobody(),
        }
    }
}
