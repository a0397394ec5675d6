//! By which paths a test verifies.

use trust::verify::batch::Path;

/// Those that this processor has. With `TRUSTD_TEST_PATH=ifma` it is that one only, which then has to be there: an
/// emulated processor is slow, and it is emulated for that path alone.
pub(crate) fn paths() -> Vec<Path> {
    let wanted = std::env::var("TRUSTD_TEST_PATH").ok();
    let is_wanted = |path: &Path| wanted.as_ref().is_none_or(|name| format!("{path:?}").eq_ignore_ascii_case(name));
    let paths: Vec<_> = Path::ALL.into_iter().filter(|path| path.is_here()).filter(is_wanted).collect();
    assert!(!paths.is_empty(), "this processor has no path {wanted:?}");
    paths
}
