//! What each visit goes by, and what is said where it is not believed.

use trust::format::tuf::RoleName;
use trust::format::tuf::client::Distrust;

use crate::failure::Failure;
use crate::time::now_unix_seconds;

/// The roles that sign for docker, in the order in which it asks them.
pub(super) fn roles() -> [RoleName; 2] {
    [RoleName::releases(), RoleName::Targets]
}

/// When it is.
pub(super) fn now() -> i64 {
    i64::try_from(now_unix_seconds()).unwrap_or(i64::MAX)
}

/// Why the files of a server are not believed, and what to do.
pub(super) fn distrusted(why: Distrust) -> Failure {
    let remedy = match &why {
        Distrust::Expired(_) => "its owner has to sign it anew; is this machine's clock right?",
        Distrust::NotPinned => "ask its owner which root is right: docker trust inspect REPOSITORY shows its keys",
        _ => "what was believed before is kept; whoever answers for the repository has to say what happened",
    };
    Failure::refused("the trust data is not believed", remedy).because(why)
}
