//! Keys in a token: the whole way (request, intent on the disk, worker, token, verification) beside a bare loop over the
//! same module with as many sessions, in turn, so that what the machine does meets both.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use trust::Algorithm;
use trust_proto::v1::Purpose;
use trust_tests::{Daemon, Setup};

use super::{Effort, LEFT_OUT, Plan};
use crate::load::{drive, now};
use crate::machine::ticks;
use crate::ours::create_key_at;
use crate::report::{Aim, Bound, Report, Row, Whose};
use crate::spread::{number, paired};
use crate::subject::{Subject, Way, message, raw};
use crate::token::{Pace, Token};

const SUITE: &str = "token";
const OURS: &str = "trustd, Unix socket";
const BARE: &str = "bare loop";
/// What a signature takes longer in a token that waits as an HSM does.
const WAIT: Duration = Duration::from_millis(5);
/// Sessions of the token that waits.
const SESSIONS: [usize; 3] = [1, 4, 8];
/// The sessions of one that burns our own processors: as many as this machine has.
const SESSIONS_BARE: usize = 2;
/// Requests in flight for each session: with too few of them a session would wait for the next request.
const IN_FLIGHT: usize = 4;
/// What of the bare loop the whole way must reach where the token waits.
const SHARE: f64 = 0.95;

/// One token under one name with so many sessions.
struct Case<'a> {
    what: String,
    token: &'a Token,
    name: String,
    sessions: usize,
    algorithm: Algorithm,
}

/// Measures all of it.
///
/// # Errors
/// When a program is not there, or a signature fails.
pub(crate) async fn run(plan: &Plan, directory: &Path, report: &mut Report) -> Result<()> {
    let waiting = Token::make(&directory.join("waiting"), Pace::Waiting(WAIT))?;
    let bare = Token::make(&directory.join("bare"), Pace::Bare)?;
    let mut cases: Vec<Case<'_>> = SESSIONS
        .into_iter()
        .map(|sessions| Case {
            what: format!("P-256, {} ms a signature, {sessions} sessions", WAIT.as_millis()),
            token: &waiting,
            name: format!("waiting-{sessions}"),
            sessions,
            algorithm: Algorithm::EcdsaP256Sha256,
        })
        .collect();
    for (what, algorithm) in [
        ("Ed25519", Algorithm::Ed25519),
        ("P-256", Algorithm::EcdsaP256Sha256),
        ("P-384", Algorithm::EcdsaP384Sha384),
        ("RSA-3072", Algorithm::Rsa3072Pkcs1Sha256),
        ("RSA-4096", Algorithm::Rsa4096Pkcs1Sha256),
    ] {
        let (what, name) = (format!("{what}, SoftHSM, {SESSIONS_BARE} sessions"), "bare".to_owned());
        cases.push(Case { what, token: &bare, name, sessions: SESSIONS_BARE, algorithm });
    }

    let mut more = "[limits]\nrate_per_second = 1000000\nrate_burst = 1000000\n".to_owned();
    for sessions in SESSIONS {
        more.push_str(&waiting.configuration(&format!("waiting-{sessions}"), sessions)?);
    }
    more.push_str(&bare.configuration("bare", SESSIONS_BARE)?);
    let daemon = Daemon::with(&Setup { more, below: Some(directory.to_owned()), ..Setup::allowing_raw() })?;
    // In haste one token that waits and one that does not.
    let is_wanted = |case: &&Case<'_>| {
        plan.effort == Effort::Whole
            || (case.algorithm == Algorithm::EcdsaP256Sha256 && [2, 4].contains(&case.sessions))
    };
    for case in cases.iter().filter(|case| case.what.contains(&plan.case)).filter(is_wanted) {
        compare(plan, &daemon, case, report).await.with_context(|| case.what.clone())?;
    }
    targets(report);
    Ok(())
}

async fn compare(plan: &Plan, daemon: &Daemon, case: &Case<'_>, report: &mut Report) -> Result<()> {
    let name = format!("bench/{}-{}", case.name, case.algorithm.name());
    create_key_at(daemon, &name, Purpose::Raw, case.algorithm, &case.name).await?;
    let channels = vec![daemon.channel().await?];
    let subject = Subject { name: OURS.to_owned(), channels, way: Way::Trustd { request: raw(&name, message()) } };
    subject.prove().await?;
    let load = plan.load(case.sessions.saturating_mul(IN_FLIGHT));
    let (mut whole, mut whole_cpu, mut loops, mut loops_cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut latencies = Vec::new();
    for round in 0..plan.rounds {
        for place in Plan::order(round, 2) {
            if place == 0 {
                let subject = subject.clone();
                let (before, begun) = (cpu_us(daemon)?, now());
                let measured = drive(load, move |_| {
                    let subject = subject.clone();
                    async move { subject.sign(0, 1).await }
                })
                .await?;
                let signed = measured.per_second * begun.elapsed().as_secs_f64();
                whole_cpu.push((cpu_us(daemon)? - before) / signed);
                whole.push(measured.per_second);
                latencies.push(measured.latency());
            } else {
                let bare = tokio::task::block_in_place(|| case.token.bare(case.algorithm, case.sessions, load))?;
                loops.push(bare.per_second);
                loops_cpu.push(bare.cpu_us);
            }
        }
    }
    let ratio = paired(&whole, &loops);
    let row = |subject: &str, unit, samples| Row::new(SUITE, case.what.clone(), subject.to_owned(), unit, samples);
    report.add(row(OURS, "1/s", whole).with_latencies(latencies));
    report.add(row(BARE, "1/s", loops).of(Whose::Peers));
    report.add(row(&format!("{OURS} ÷ {BARE}"), "×", ratio));
    report.add(row(OURS, "µs of processor", whole_cpu));
    report.add(row(BARE, "µs of processor", loops_cpu).of(Whose::Peers));
    Ok(())
}

/// Processor time of the daemon and its workers, in microseconds.
fn cpu_us(daemon: &Daemon) -> Result<f64> {
    let mut all: u64 = 0;
    for process in std::iter::once(daemon.id()?).chain(daemon.workers()?) {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).context("read processor time")?;
        all = all.saturating_add(ticks(&stat));
    }
    if all == 0 {
        bail!("the daemon has used no time at all");
    }
    Ok(number(all) * 1e6 / number(rustix::param::clock_ticks_per_second()))
}

/// Where the token waits, what we add must not be noticed.
fn targets(report: &mut Report) {
    for sessions in SESSIONS {
        let case = format!("P-256, {} ms a signature, {sessions} sessions", WAIT.as_millis());
        let subject = format!("{OURS} ÷ {BARE}");
        report.aim_at(Aim { suite: SUITE, case, subject, unit: "×", bound: Bound::AtLeast(SHARE) }, LEFT_OUT);
    }
}
