//! Serving trust data: publications and reads, beside Debian's notary-server with its signer, in memory and in MariaDB;
//! then an unmodified docker that pushes and pulls with each of them. All run at the same time and are asked in turn.

mod docker;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::sync::Mutex;
use trust::format::tuf::Key;
use trust_tests::{Daemon, Registry, Setup};

use super::{LEFT_OUT, Plan};
use crate::certificates::{Certificates, free_port};
use crate::collection::Collection;
use crate::door::{Connection, Door};
use crate::load::{Measured, drive};
use crate::peer::{Backend, NotaryServer};
use crate::report::{Aim, Bound, Place, Point, Report, Row, Whose, Y};
use crate::spread::{count, paired};

const SUITE: &str = "content-trust";
const OURS: &str = "trustd";
const MEMORY: &str = "notary-server, memory";
const MARIADB: &str = "notary-server, MariaDB";
/// How often notary-server may end by itself in one case.
const ENDS_MAX: u32 = 50;
/// What is asked for at once.
const IN_FLIGHT: [usize; 2] = [1, 16];

/// Everybody, running.
struct Field {
    subjects: Vec<Subject>,
    registry: Registry,
    _ours: Daemon,
    _memory: NotaryServer,
    mariadb: NotaryServer,
}

/// A server, and a repository there for each that publishes at once.
struct Subject {
    name: &'static str,
    port: u16,
    door: Door,
    lanes: Vec<Arc<Mutex<Lane>>>,
}

/// A repository and a connection that is kept while a measurement lasts: servers end those on which nothing comes.
struct Lane {
    collection: Collection,
    connection: Option<Connection>,
}

impl Field {
    async fn start(directory: &Path) -> Result<Self> {
        let certificates = Certificates::make(directory)?;
        let memory = NotaryServer::start(&directory.join("memory"), Backend::Memory, &certificates)?;
        let mariadb = NotaryServer::start(&directory.join("database"), Backend::MariaDb, &certificates)?;
        let registry = Registry::debian()?;
        let (ours, port) = daemon(directory, &certificates, &registry.reference(""))?;
        let mut subjects = Vec::new();
        for (name, port) in [(OURS, port), (MEMORY, memory.port()), (MARIADB, mariadb.port())] {
            subjects.push(Subject::begin(name, port, &certificates).await.with_context(|| name.to_owned())?);
        }
        Ok(Self { subjects, registry, _ours: ours, _memory: memory, mariadb })
    }
}

fn daemon(directory: &Path, certificates: &Certificates, images: &str) -> Result<(Daemon, u16)> {
    let port = free_port()?;
    let more = format!(
        "[limits]\nrate_per_second = 1000000\nrate_burst = 1000000\n\
         [notary]\nlisten = \"127.0.0.1:{port}\"\ncertificate = \"{}\"\nkey = \"{}\"\n\
         auth = \"none\"\ngun_prefixes = [\"bench.example/\", \"{images}\"]\n",
        certificates.certificate("server").display(),
        certificates.key("server").display(),
    );
    let policy = Setup::ALLOW_ALL.to_owned();
    let setup = Setup { more, policy, below: Some(directory.to_owned()), ..Setup::default() };
    Ok((Daemon::with(&setup)?, port))
}

impl Subject {
    async fn begin(name: &'static str, port: u16, certificates: &Certificates) -> Result<Self> {
        let door = Door::open(port, certificates).await?;
        let mut lanes = Vec::new();
        for number in 0..IN_FLIGHT.into_iter().max().unwrap_or(1) {
            let mut connection = door.connect().await?;
            let gun = format!("bench.example/{number}");
            let mut keys = Vec::new();
            for role in ["snapshot", "timestamp"] {
                let served = connection.get(&format!("/v2/{gun}/_trust/tuf/{role}.key")).await?;
                keys.push(Key::read_served(&served)?);
            }
            let (Some(timestamp), Some(snapshot)) = (keys.pop(), keys.pop()) else { continue };
            let (collection, parts) = Collection::begin(&gun, snapshot, timestamp)?;
            connection.publish(&gun, &parts).await?;
            lanes.push(Arc::new(Mutex::new(Lane { collection, connection: None })));
        }
        Ok(Self { name, port, door, lanes })
    }

    async fn measure(&self, plan: &Plan, kind: Kind, in_flight: usize) -> Result<Measured> {
        let (door, lanes) = (self.door.clone(), self.lanes.clone());
        for lane in &lanes {
            lane.lock().await.connection = None;
        }
        let load = plan.load(in_flight);
        drive(load, move |number| {
            let (door, lane) = (door.clone(), lanes.get(number).cloned());
            async move {
                let lane = lane.context("too few repositories")?;
                // Nobody else's: each loop has its own.
                let mut lane = lane.lock().await;
                lane.once(&door, kind).await
            }
        })
        .await
    }
}

impl Lane {
    async fn once(&mut self, door: &Door, kind: Kind) -> Result<()> {
        let gun = self.collection.gun.clone();
        match kind {
            Kind::Publish => {
                let part = self.collection.next()?;
                self.kept(door).await?.publish(gun.as_str(), &[part]).await
            }
            Kind::Get(role) => self.kept(door).await?.get(&path(gun.as_str(), role)).await.map(drop),
            Kind::GetAnew(role) => door.connect().await?.get(&path(gun.as_str(), role)).await.map(drop),
        }
    }

    async fn kept(&mut self, door: &Door) -> Result<&mut Connection> {
        Ok(match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(door.connect().await?),
        })
    }
}

fn path(gun: &str, role: &str) -> String {
    format!("/v2/{gun}/_trust/tuf/{role}.json")
}

/// What is done.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// The next targets, each loop for its own repository.
    Publish,
    /// What is current, over a connection that is kept.
    Get(&'static str),
    /// The same over a new connection each, as docker asks.
    GetAnew(&'static str),
}

/// Each with its name in the report, and what the project set itself against (MariaDB, memory).
const KINDS: [(Kind, &str, [Option<f64>; 2]); 5] = [
    (Kind::Publish, "publish targets", [Some(4.0), Some(1.0)]),
    (Kind::Get("timestamp"), "GET timestamp", [None, Some(2.0)]),
    (Kind::Get("targets"), "GET targets", [None, Some(2.0)]),
    (Kind::GetAnew("timestamp"), "GET timestamp, a new connection each", [None, Some(1.5)]),
    (Kind::GetAnew("targets"), "GET targets, a new connection each", [None, Some(1.5)]),
];

/// Measures all of it.
///
/// # Errors
/// When a program is not there or does not start, or a request fails.
pub(crate) async fn run(plan: &Plan, directory: &Path, report: &mut Report) -> Result<()> {
    let mut field = Field::start(directory).await?;
    for (kind, what, aims) in KINDS {
        for in_flight in plan.cases(&IN_FLIGHT, &[16]) {
            let case = format!("{what}, {in_flight} in flight");
            if case.contains(&plan.case) {
                compare(plan, &mut field, (kind, what, in_flight), &case, report).await?;
                ratios(report, &case);
            }
        }
        for in_flight in IN_FLIGHT {
            targets(report, &format!("{what}, {in_flight} in flight"), aims);
        }
    }
    let servers: Vec<(&'static str, u16)> = field.subjects.iter().map(|subject| (subject.name, subject.port)).collect();
    tokio::task::block_in_place(|| docker::run(plan, &field.registry, &servers, report))
}

async fn compare(
    plan: &Plan,
    field: &mut Field,
    (kind, what, in_flight): (Kind, &str, usize),
    case: &str,
    report: &mut Report,
) -> Result<()> {
    let mut measured: Vec<Vec<Measured>> = vec![Vec::new(); field.subjects.len()];
    let mut ends = 0;
    for round in 0..plan.rounds {
        for place in Plan::order(round, field.subjects.len()) {
            let (Some(subject), Some(found)) = (field.subjects.get(place), measured.get_mut(place)) else { continue };
            let mut one = subject.measure(plan, kind, in_flight).await;
            // What it served before it ended by itself does not count; what it has in its database stays.
            while one.is_err() && subject.name == MARIADB && ends < ENDS_MAX && field.mariadb.revive()? {
                ends += 1;
                one = subject.measure(plan, kind, in_flight).await;
            }
            found.push(one.with_context(|| format!("{case}, {}", subject.name))?);
        }
    }
    if ends > 0 {
        let subject = format!("{MARIADB}: ended by itself");
        report.add(Row::new(SUITE, case.to_owned(), subject, "times", vec![f64::from(ends)]).of(Whose::Peers));
    }
    for (subject, found) in field.subjects.iter().zip(&measured) {
        let samples = found.iter().map(|one| one.per_second).collect();
        let latencies = found.iter().map(Measured::latency).collect();
        let row = Row::new(SUITE, case.to_owned(), subject.name.to_owned(), "1/s", samples);
        let place = |seen: &str, y| {
            Place::new(format!("{what}: {seen}"), "in flight (requests)", Point::Number(count(in_flight)), y)
        };
        report.add(
            row.with_latencies(latencies)
                .of(whose(subject.name))
                .at(place("throughput by load", Y::Value))
                .at(place("median latency by load", Y::P50)),
        );
    }
    Ok(())
}

/// Whose code a server is.
fn whose(name: &str) -> Whose {
    if name == OURS { Whose::Ours } else { Whose::Peers }
}

/// Ours over theirs, each measurement with its neighbour.
fn ratios(report: &mut Report, case: &str) {
    for theirs in [MARIADB, MEMORY] {
        let pair = (report.samples(SUITE, case, OURS, "1/s"), report.samples(SUITE, case, theirs, "1/s"));
        let (Some(of_us), Some(of_them)) = pair else { continue };
        let samples = paired(of_us, of_them);
        report.add(Row::new(SUITE, case.to_owned(), beside(theirs), "×", samples));
    }
}

/// What the ratios were to be.
fn targets(report: &mut Report, case: &str, aims: [Option<f64>; 2]) {
    for (theirs, aim) in [MARIADB, MEMORY].into_iter().zip(aims) {
        let Some(bound) = aim.map(Bound::AtLeast) else { continue };
        let (case, subject) = (case.to_owned(), beside(theirs));
        report.aim_at(Aim { suite: SUITE, case, subject, unit: "×", bound }, LEFT_OUT);
    }
}

fn beside(theirs: &str) -> String {
    format!("{OURS} ÷ {theirs}")
}
