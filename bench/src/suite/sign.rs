//! One signature per request: trustd with its durable log through both doors, beside notary-signer with both of its
//! backends. All of them run at the same time and are asked in turn, so that what the machine does meets all alike.

use std::path::Path;

use anyhow::{Context as _, Result};
use trust::Algorithm;
use trust_proto::v1::Purpose;

use super::{LEFT_OUT, Plan};
use crate::certificates::Certificates;
use crate::load::{Measured, drive};
use crate::ours::Ours;
use crate::peer::{Backend, Notary, create_key};
use crate::report::{Aim, Bound, Place, Point, Report, Row, Whose, Y};
use crate::spread::{count, paired};
use crate::subject::{Subject, Way, blob, image, message, raw};

const SUITE: &str = "sign";
const UNIX: &str = "trustd, Unix socket";
const MTLS: &str = "trustd, mTLS";
const MEMORY: &str = "notary-signer, memory";
const MARIADB: &str = "notary-signer, MariaDB";
/// The most connections a case has.
const CONNECTIONS_MAX: usize = 4;

/// In flight, over how many connections.
const CASES: [(usize, usize); 5] = [(1, 1), (16, 1), (16, 4), (64, 1), (64, 4)];
const CASES_QUICK: [(usize, usize); 2] = [(1, 1), (64, 1)];

/// Everybody, running.
struct Field {
    ours: Ours,
    memory: Notary,
    mariadb: Notary,
    certificates: Certificates,
}

impl Field {
    fn start(directory: &Path) -> Result<Self> {
        let certificates = Certificates::make(directory)?;
        let memory = Notary::start(&directory.join("memory"), Backend::Memory, &certificates)?;
        let mariadb = Notary::start(&directory.join("database"), Backend::MariaDb, &certificates)?;
        let ours = Ours::start(directory, &certificates)?;
        Ok(Self { ours, memory, mariadb, certificates })
    }

    /// Everybody with a key of `algorithm` and the way to ask for it.
    async fn subjects(&self, algorithm: Algorithm) -> Result<Vec<Subject>> {
        let request = if algorithm == Algorithm::Ed25519 {
            raw(&self.ours.create_key("sign/raw", Purpose::Raw, algorithm).await?, message())
        } else {
            blob(&self.ours.create_key("sign/blob", Purpose::ReleaseBlob, algorithm).await?, &message())
        };
        let (unix, mtls) = (self.ours.unix(CONNECTIONS_MAX).await?, self.ours.mtls(CONNECTIONS_MAX).await?);
        let mut subjects = vec![
            Subject { name: UNIX.to_owned(), channels: unix, way: Way::Trustd { request: request.clone() } },
            Subject { name: MTLS.to_owned(), channels: mtls, way: Way::Trustd { request } },
        ];
        for (name, notary) in [(MEMORY, &self.memory), (MARIADB, &self.mariadb)] {
            let mut channels = Vec::new();
            for _ in 0..CONNECTIONS_MAX {
                channels.push(self.certificates.connect(notary.port()).await?);
            }
            let channel = channels.first().cloned().context("no connection")?;
            let key = create_key(channel, algorithm.name(), algorithm).await?;
            subjects.push(Subject { name: name.to_owned(), channels, way: Way::Notary { key, message: message() } });
        }
        Ok(subjects)
    }
}

/// Measures all of it.
///
/// # Errors
/// When a program is not there or does not start, or a request fails.
pub(crate) async fn run(plan: &Plan, directory: &Path, report: &mut Report) -> Result<()> {
    let field = Field::start(directory)?;
    let ed25519 = field.subjects(Algorithm::Ed25519).await?;
    compare(plan, "Ed25519", &ed25519, report).await?;
    let p256 = field.subjects(Algorithm::EcdsaP256Sha256).await?;
    compare(plan, "ECDSA P-256", &p256, report).await?;

    let key = field.ours.create_key("sign/image", Purpose::Image, Algorithm::EcdsaP256Sha256).await?;
    let way = Way::Trustd { request: image(&key) };
    let channels = field.ours.unix(CONNECTIONS_MAX).await?;
    let images = [Subject { name: UNIX.to_owned(), channels, way }];
    compare(plan, "image, ECDSA P-256, two forms", &images, report).await?;
    targets(report);
    Ok(())
}

/// Every case of every subject in each round.
async fn compare(plan: &Plan, what: &str, subjects: &[Subject], report: &mut Report) -> Result<()> {
    for subject in subjects {
        subject.prove().await.with_context(|| format!("{what}, {}", subject.name))?;
    }
    for (in_flight, connections) in plan.cases(&CASES, &CASES_QUICK) {
        let case = case(what, in_flight, connections);
        if !case.contains(&plan.case) {
            continue;
        }
        let mut measured: Vec<Vec<Measured>> = vec![Vec::new(); subjects.len()];
        for round in 0..plan.rounds {
            for place in Plan::order(round, subjects.len()) {
                let (Some(subject), Some(found)) = (subjects.get(place), measured.get_mut(place)) else { continue };
                let subject = subject.clone();
                let name = subject.name.clone();
                let one = drive(plan.load(in_flight), move |number| {
                    let subject = subject.clone();
                    async move { subject.sign(number, connections).await }
                });
                found.push(one.await.with_context(|| format!("{what}, {in_flight} in flight, {name}"))?);
            }
        }
        for (subject, found) in subjects.iter().zip(&measured) {
            let one_connection = (connections == 1).then_some(in_flight);
            add(report, what, &case, one_connection, &subject.name, found);
        }
        compare_pairs(report, &case);
    }
    Ok(())
}

fn case(what: &str, in_flight: usize, connections: usize) -> String {
    let over = if connections == 1 { "1 connection".to_owned() } else { format!("{connections} connections") };
    format!("{what}, {in_flight} in flight, {over}")
}

/// Adds a row; those with one connection are seen by load.
fn add(
    report: &mut Report,
    what: &str,
    case: &str,
    one_connection: Option<usize>,
    subject: &str,
    measured: &[Measured],
) {
    let samples = measured.iter().map(|one| one.per_second).collect();
    let latencies = measured.iter().map(Measured::latency).collect();
    let whose = if [MEMORY, MARIADB].contains(&subject) { Whose::Peers } else { Whose::Ours };
    let row = Row::new(SUITE, case.to_owned(), subject.to_owned(), "1/s", samples).with_latencies(latencies).of(whose);
    let Some(in_flight) = one_connection else { return report.add(row) };
    let place = |seen: &str, y| {
        let title = format!("{what}, one signature a request, one connection: {seen}");
        Place::new(title, "in flight (requests)", Point::Number(count(in_flight)), y)
    };
    report.add(
        row.at(place("throughput by load", Y::Value))
            .at(place("median latency by load", Y::P50))
            .at(place("99th percentile of latency by load", Y::P99)),
    );
}

/// Ours over theirs, each measurement with its neighbour.
fn compare_pairs(report: &mut Report, case: &str) {
    for ours in [UNIX, MTLS] {
        for theirs in [MEMORY, MARIADB] {
            let pair = (report.samples(SUITE, case, ours, "1/s"), report.samples(SUITE, case, theirs, "1/s"));
            if let (Some(of_us), Some(of_them)) = pair {
                let samples = paired(of_us, of_them);
                let subject = format!("{ours} ÷ {theirs}");
                report.add(Row::new(SUITE, case.to_owned(), subject, "×", samples));
            }
        }
    }
}

/// What the project set itself: over the Unix socket, with one connection as a client has it.
fn targets(report: &mut Report) {
    for (in_flight, theirs, bound) in [(64, MARIADB, 10.0), (64, MEMORY, 0.6), (1, MARIADB, 2.0)] {
        for ours in [UNIX, MTLS] {
            let (case, subject) = (case("Ed25519", in_flight, 1), format!("{ours} ÷ {theirs}"));
            report.aim_at(Aim { suite: SUITE, case, subject, unit: "×", bound: Bound::AtLeast(bound) }, LEFT_OUT);
        }
    }
}
