//! What content trust promised from the first day, told with an unmodified docker.

use crate::cli::Cli;

/// A push signs, a pull verifies, what is unsigned is neither pulled nor run; with content trust off it is.
pub fn seed(docker: &Cli) {
    let signed = docker.built("signed", "hello from a signed image");

    let pushed = docker.run("1", &["push", &signed]).ok().unwrap();
    docker.says(&pushed, "Signing and pushing trust metadata");
    docker.says(&pushed, &format!("Successfully signed {signed}"));
    let pulled = docker.pulls_afresh(&signed).ok().unwrap();
    docker.says(&pulled, "@sha256:");
    assert!(docker.engine.holds(&signed).unwrap());
    let ran = docker.run("1", &["run", "--rm", "--network", "none", &signed]).ok().unwrap();
    assert!(ran.stdout.contains("hello from a signed image"), "{ran}");

    // Pushed with trust off: it leaves nothing.
    let unsigned = docker.built("unsigned", "hello from nobody");
    docker.run("0", &["push", &unsigned]).ok().unwrap();
    let refused = docker.pulls_afresh(&unsigned).exited(1).unwrap();
    docker.says(&refused, "No valid trust data for unsigned");
    let refused = docker.run("1", &["run", "--rm", "--network", "none", &unsigned]).exited(125).unwrap();
    docker.says(&refused, "No valid trust data for unsigned");
    assert!(!docker.engine.holds(&unsigned).unwrap());
    docker.run("0", &["pull", &unsigned]).ok().unwrap();
    assert!(docker.engine.holds(&unsigned).unwrap());

    // A repository that nobody ever signed.
    let other = docker.registry.reference("team/other:1");
    docker.engine.build(&other, "hello from elsewhere").unwrap();
    docker.run("0", &["push", &other]).ok().unwrap();
    let refused = docker.pulls_afresh(&other).exited(1).unwrap();
    docker.says(&refused, "does not have trust data for");
    for reference in [&signed, &unsigned] {
        docker.engine.forget(reference).unwrap();
    }
}
