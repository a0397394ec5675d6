//! What is known of a PIN after each answer, and each that was lost.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;

const UNCOUNTED: Counted = Counted::None;

struct Scene {
    directory: TempDir,
}

impl Scene {
    fn with(pin: &str) -> Self {
        let scene = Self { directory: TempDir::new().unwrap() };
        scene.write(pin);
        scene
    }

    fn source(&self) -> PathBuf {
        self.directory.path().join("pin")
    }

    /// Written anew, as an editor or systemd does it.
    fn write(&self, pin: &str) {
        let new = self.directory.path().join("new");
        fs::write(&new, pin).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&new, self.source()).unwrap();
    }

    fn mark(&self) -> PathBuf {
        self.directory.path().join("hsm.wrong-pin")
    }

    fn keeper(&self) -> PinKeeper {
        self.keeper_of(Some(self.source()))
    }

    fn keeper_of(&self, source: Option<PathBuf>) -> PinKeeper {
        PinKeeper::new("hsm".parse().unwrap(), source, self.mark())
    }

    /// A daemon hands the PIN out and shows it to the token; what that answers, if it does, comes next.
    fn shown(&self, counted: Counted) -> Result<PinKeeper, TokenTrouble> {
        let mut keeper = self.keeper();
        drop(keeper.hand_out()?);
        keeper.show(counted).map(|()| keeper)
    }
}

fn is(pin: &Pin, text: &str) -> bool {
    pin.with(|bytes| bytes == text.as_bytes())
}

#[test]
fn a_refused_pin_is_not_handed_out_again_by_any_later_daemon() {
    let scene = Scene::with("1234\n");
    let mut keeper = scene.keeper();
    assert!(is(&keeper.hand_out().unwrap(), "1234"));
    keeper.refused();

    assert_eq!(keeper.hand_out().unwrap_err(), TokenTrouble::PinWrong);
    for _ in 0..3 {
        assert_eq!(scene.keeper().hand_out().unwrap_err(), TokenTrouble::PinWrong);
    }
    scene.write("1234");
    assert_eq!(keeper.hand_out().unwrap_err(), TokenTrouble::PinWrong);
    assert_eq!(scene.keeper().hand_out().unwrap_err(), TokenTrouble::PinWrong);
    scene.write("4321");
    assert!(is(&keeper.hand_out().unwrap(), "4321"));
    keeper.taken();
    assert!(is(&scene.keeper().hand_out().unwrap(), "4321"));
}

#[test]
fn a_proven_pin_is_kept_though_its_source_is_gone() {
    let scene = Scene::with("1234");
    let mut keeper = scene.keeper();
    drop(keeper.hand_out().unwrap());
    keeper.taken();
    fs::remove_file(scene.source()).unwrap();

    assert!(is(&keeper.hand_out().unwrap(), "1234"));
    keeper.refused();
    assert!(matches!(keeper.hand_out().unwrap_err(), TokenTrouble::Failed { .. }));
    scene.write("1234");
    assert_eq!(keeper.hand_out().unwrap_err(), TokenTrouble::PinWrong);
}

#[test]
fn a_new_pin_in_the_file_is_tried_when_the_token_refuses_the_old_one() {
    let scene = Scene::with("1234");
    let mut keeper = scene.keeper();
    assert!(is(&keeper.hand_out().unwrap(), "1234"));
    keeper.taken();

    // Changed in the token, then in the file, as it is done; noticed at the next login only.
    scene.write("5678");
    assert!(is(&keeper.hand_out().unwrap(), "1234"));
    keeper.refused();

    assert!(is(&keeper.hand_out().unwrap(), "5678"));
}

fn pin(text: &str) -> Pin {
    Pin::take(&mut text.as_bytes().to_vec()).unwrap()
}

#[test]
fn without_a_source_an_operator_gives_the_pin_and_it_is_kept_once_it_succeeded() {
    let scene = Scene::with("unused");
    let mut keeper = scene.keeper_of(None);
    assert_eq!(keeper.hand_out().unwrap_err(), TokenTrouble::PinMissing { token: "hsm".to_owned() });
    assert_eq!(keeper.state(), PinState::Missing);

    keeper.give(pin("1234")).unwrap();
    assert!(matches!(keeper.give(pin("5678")), Err(CustodyError::Unavailable { .. })));
    assert!(is(&keeper.hand_out().unwrap(), "1234"));
    keeper.taken();

    assert_eq!(keeper.end_login(), Some(Ok(())));
    assert_eq!(keeper.state(), PinState::Proven);
    for _ in 0..2 {
        assert!(is(&keeper.hand_out().unwrap(), "1234"));
    }
    assert!(scene.keeper_of(None).hand_out().is_err(), "on no disk");
}

#[test]
fn an_operators_pin_is_tried_once_whatever_becomes_of_it() {
    let scene = Scene::with("unused");
    for trouble in [TokenTrouble::PinWrong, TokenTrouble::Failed { what: "the worker died".to_owned() }] {
        let mut keeper = scene.keeper_of(None);
        keeper.give(pin("1234")).unwrap();
        assert!(is(&keeper.hand_out().unwrap(), "1234"));

        if trouble == TokenTrouble::PinWrong {
            keeper.refused();
        }
        keeper.not_proven(&trouble);

        assert!(keeper.has_refusal());
        assert_eq!(keeper.end_login(), Some(Err(trouble)));
        assert!(matches!(keeper.hand_out(), Err(TokenTrouble::PinMissing { .. })));
        keeper.give(pin("1234")).unwrap();
        assert!(is(&keeper.hand_out().unwrap(), "1234"), "asked for again, it is tried again");
    }
}

#[test]
fn a_login_with_the_marked_pin_clears_the_mark_and_one_with_another_does_not() {
    let scene = Scene::with("1234");
    let mut keeper = scene.keeper();
    drop(keeper.hand_out().unwrap());
    keeper.refused();

    keeper.give(pin("5678")).unwrap();
    assert!(is(&keeper.hand_out().unwrap(), "5678"));
    keeper.taken();
    assert_eq!(scene.keeper().hand_out().unwrap_err(), TokenTrouble::PinWrong, "the file still has the wrong one");

    let mut keeper = scene.keeper();
    assert_eq!(keeper.hand_out().unwrap_err(), TokenTrouble::PinWrong);
    assert_eq!(keeper.state(), PinState::Refused);
    keeper.give(pin("1234")).unwrap();
    assert!(is(&keeper.hand_out().unwrap(), "1234"));
    keeper.taken();
    assert!(is(&scene.keeper().hand_out().unwrap(), "1234"));
}

#[test]
fn an_operators_wrong_pin_leaves_the_files_mark_and_what_was_proven() {
    let scene = Scene::with("1234");
    let mut keeper = scene.keeper();
    drop(keeper.hand_out().unwrap());
    keeper.refused();
    let mark = fs::read(scene.mark()).unwrap();

    keeper.give(pin("5678")).unwrap();
    drop(keeper.hand_out().unwrap());
    keeper.refused();

    assert_eq!(fs::read(scene.mark()).unwrap(), mark);
    assert_eq!(keeper.hand_out().unwrap_err(), TokenTrouble::PinWrong);
}

#[test]
fn a_login_that_nobody_waits_for_is_forgotten() {
    let scene = Scene::with("unused");
    let mut keeper = scene.keeper_of(None);
    keeper.give(pin("1234")).unwrap();

    assert_eq!(keeper.end_login(), None);

    assert!(matches!(keeper.hand_out(), Err(TokenTrouble::PinMissing { .. })));
}

#[test]
fn a_mark_says_nothing_and_a_damaged_one_lets_nothing_through() {
    let scene = Scene::with("1234");
    let mut keeper = scene.keeper();
    drop(keeper.hand_out().unwrap());
    keeper.refused();
    let mark = fs::read(scene.mark()).unwrap();

    assert_eq!(fs::metadata(scene.mark()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!mark.windows(4).any(|window| window == b"1234"));
    fs::write(scene.mark(), &mark[..20]).unwrap();
    assert!(matches!(scene.keeper().hand_out().unwrap_err(), TokenTrouble::Failed { .. }));
}

#[test]
fn an_unproven_pin_whose_answer_was_lost_is_shown_once_more_where_nothing_was_counted_and_never_again() {
    let scene = Scene::with("1234");
    drop(scene.shown(UNCOUNTED).unwrap());

    assert_eq!(scene.shown(Counted::Some).err(), Some(TokenTrouble::PinUnanswered));
    assert_eq!(scene.shown(Counted::Some).err(), Some(TokenTrouble::PinUnanswered));
    drop(scene.shown(UNCOUNTED).unwrap());

    for _ in 0..3 {
        assert_eq!(scene.shown(UNCOUNTED).err(), Some(TokenTrouble::PinUnanswered));
    }
    scene.write("4321");
    drop(scene.shown(Counted::Some).unwrap());
}

#[test]
fn the_same_holds_for_one_daemon_whose_workers_die() {
    let scene = Scene::with("1234");
    let mut keeper = scene.shown(UNCOUNTED).unwrap();
    drop(keeper.hand_out().unwrap());
    keeper.show(UNCOUNTED).unwrap();

    assert_eq!(keeper.hand_out().unwrap_err(), TokenTrouble::PinUnanswered);
}

#[test]
fn a_pin_that_was_taken_once_is_shown_again_whatever_crashes() {
    let scene = Scene::with("1234");
    let mut keeper = scene.shown(UNCOUNTED).unwrap();
    keeper.taken();
    for _ in 0..5 {
        drop(keeper.hand_out().unwrap());
        keeper.show(Counted::Some).unwrap();
        drop(scene.shown(Counted::Some).unwrap());
    }

    scene.shown(UNCOUNTED).unwrap().refused();
    assert_eq!(scene.shown(UNCOUNTED).err(), Some(TokenTrouble::PinWrong));
}

#[test]
fn a_pin_that_the_token_did_not_judge_stands_as_before() {
    let scene = Scene::with("1234");
    for _ in 0..3 {
        scene.shown(UNCOUNTED).unwrap().unjudged();
        assert!(!scene.mark().exists());
    }
    drop(scene.shown(UNCOUNTED).unwrap());
    for _ in 0..3 {
        scene.shown(UNCOUNTED).unwrap().unjudged();
    }

    assert_eq!(scene.shown(Counted::Some).err(), Some(TokenTrouble::PinUnanswered));
}

#[test]
fn a_pin_that_cannot_be_marked_is_not_shown_and_may_be_later() {
    let scene = Scene::with("1234");
    let mut keeper = PinKeeper::new(
        "hsm".parse().unwrap(),
        Some(scene.source()),
        scene.directory.path().join("nowhere/hsm.wrong-pin"),
    );
    for _ in 0..3 {
        drop(keeper.hand_out().unwrap());
        assert!(matches!(keeper.show(UNCOUNTED), Err(TokenTrouble::Failed { .. })));
    }
    fs::create_dir(scene.directory.path().join("nowhere")).unwrap();

    drop(keeper.hand_out().unwrap());
    keeper.show(UNCOUNTED).unwrap();
}

#[test]
fn of_a_right_pin_one_byte_is_kept_and_a_mark_of_the_older_format_is_read() {
    let scene = Scene::with("1234");
    scene.shown(UNCOUNTED).unwrap().refused();
    let refused = fs::read(scene.mark()).unwrap();
    fs::write(scene.mark(), [&[1], &refused[2..]].concat()).unwrap();
    assert_eq!(scene.shown(UNCOUNTED).err(), Some(TokenTrouble::PinWrong));

    scene.write("4321");
    scene.shown(UNCOUNTED).unwrap().taken();

    assert_eq!(fs::read(scene.mark()).unwrap().len(), 2 + 16 + 1);
}

#[test]
fn a_loose_missing_empty_or_long_pin_file_is_named() {
    let scene = Scene::with("");
    let refused = |expected: &str| {
        let refused = examine(&scene.source()).unwrap_err().to_string();
        assert!(refused.contains(expected) && refused.contains("PIN file"), "{refused}");
    };

    refused("1 to 255 bytes");
    scene.write(&"1".repeat(256));
    refused("1 to 255 bytes");
    scene.write(&format!("{}\n", "1".repeat(255)));
    examine(&scene.source()).unwrap();
    fs::set_permissions(scene.source(), fs::Permissions::from_mode(0o640)).unwrap();
    refused("mode 0640");
    fs::remove_file(scene.source()).unwrap();
    refused("No such file");
}
