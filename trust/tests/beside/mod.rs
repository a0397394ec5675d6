//! What lies beside the repository: it may be absent in a user's clone, and must be there in CI.

use std::path::PathBuf;

/// A directory beside the repository; `None`, after saying so, where it is not.
pub(crate) fn beside(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(name);
    if path.is_dir() {
        return Some(path);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs {name}");
    println!("{name} is not here: its cases did not run");
    None
}
