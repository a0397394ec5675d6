//! Start-up of a daemon with many keys: how long until it answers, and how much memory it then has. The keys are made
//! through its own API, so store and log are as long as they would be.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use trust::Algorithm;
use trust_proto::v1;
use trust_proto::v1::admin_client::AdminClient;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::signing_client::SigningClient;
use trust_proto::words::Word as _;

use super::Plan;
use crate::certificates::Certificates;
use crate::load::{drive_count, now};
use crate::ours::Ours;
use crate::report::{Aim, Bound, Report, Row};
use crate::spread::number;
use crate::subject::blob;

const SUITE: &str = "start";
const SUBJECT: &str = "trustd";
/// Keys that are made at once.
const IN_FLIGHT: usize = 64;
/// With how many the project set itself a target.
pub(crate) const KEYS: u32 = 100_000;

/// Makes `keys` keys, then starts the daemon again and again.
///
/// # Errors
/// When it does not start, or a request fails.
pub(crate) async fn run(plan: &Plan, keys: u32, directory: &Path, report: &mut Report) -> Result<()> {
    let certificates = Certificates::make(directory)?;
    let mut ours = Ours::start(directory, &certificates)?;
    let case = format!("{keys} keys");
    let took = create(&ours, keys).await?;
    let row = |what: &str, unit, samples| Row::new(SUITE, format!("{case}{what}"), SUBJECT.to_owned(), unit, samples);
    report.add(row(", making one, 64 in flight", "1/s", vec![f64::from(keys) / took.as_secs_f64()]));
    for way in [Way::Index, Way::Rows] {
        let measured = start_again(plan, keys, way, &mut ours).await?;
        let Measured { seconds, cpu, daemon, peak, worker } = &measured;
        let name = way.name();
        report.add(row(&format!(", {name}, until it answers"), "s", seconds.clone()));
        report.add(row(&format!(", {name}, processor time until then"), "s", cpu.clone()));
        report.add(row(&format!(", {name}, resident memory"), "MB", daemon.clone()));
        report.add(row(&format!(", {name}, most resident memory while it started"), "MB", peak.clone()));
        report.add(row(&format!(", {name}, resident memory of the custody worker"), "MB", worker.clone()));
    }
    targets(report, keys);
    Ok(())
}

/// What the project set itself for as many keys; with fewer it is not the same.
fn targets(report: &mut Report, keys: u32) {
    for (what, unit, bound) in [
        ("until it answers", "s", Bound::AtMost(2.0)),
        ("most resident memory while it started", "MB", Bound::AtMost(400.0)),
    ] {
        let case = format!("{KEYS} keys, {}, {what}", Way::Index.name());
        let (subject, why) = (SUBJECT.to_owned(), format!("this run made {keys} keys"));
        report.aim_at(Aim { suite: SUITE, case, subject, unit, bound }, &why);
    }
}

/// What a start finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The file of the index, of a clean end.
    Index,
    /// No such file, as after a crash with a change before it: every row is read.
    Rows,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Index => "after a clean end",
            Self::Rows => "reading every row",
        }
    }
}

/// One sample of each for every start.
#[derive(Debug, Default)]
struct Measured {
    seconds: Vec<f64>,
    cpu: Vec<f64>,
    daemon: Vec<f64>,
    peak: Vec<f64>,
    worker: Vec<f64>,
}

async fn start_again(plan: &Plan, keys: u32, way: Way, ours: &mut Ours) -> Result<Measured> {
    let mut measured = Measured::default();
    for _ in 0..plan.rounds {
        tokio::task::block_in_place(|| ours.daemon.terminate())?;
        if way == Way::Rows {
            std::fs::remove_file(ours.daemon.data().join("index")).context("remove the file of the index")?;
        }
        let begun = now();
        tokio::task::block_in_place(|| ours.daemon.launch())?;
        let channel = ours.daemon.channel().await?;
        let status =
            AdminClient::new(channel.clone()).get_status(v1::GetStatusRequest {}).await.context("ask for status")?;
        let status = status.into_inner();
        measured.seconds.push(begun.elapsed().as_secs_f64());
        let id = ours.daemon.id()?;
        measured.cpu.push(cpu_seconds(id)?);
        ensure!(!status.sealed && status.health == "serving", "it does not serve: {}", status.health);
        let last = name(u64::from(keys.saturating_sub(1)));
        SigningClient::new(channel).sign(blob(&last, b"after a restart").as_ref().clone()).await.context("sign")?;
        measured.daemon.push(memory_mb(id, "VmRSS")?);
        measured.peak.push(memory_mb(id, "VmHWM")?);
        let workers =
            ours.daemon.workers()?.into_iter().map(|id| memory_mb(id, "VmRSS")).collect::<Result<Vec<_>>>()?;
        measured.worker.push(workers.iter().sum());
    }
    Ok(measured)
}

async fn create(ours: &Ours, keys: u32) -> Result<Duration> {
    let channel = ours.daemon.channel().await?;
    let begun = now();
    drive_count(IN_FLIGHT, keys.into(), move |number| {
        let mut client = KeysClient::new(channel.clone());
        async move {
            let request = v1::CreateKeyRequest {
                name: name(number),
                purpose: v1::Purpose::ReleaseBlob.into(),
                algorithm: Algorithm::EcdsaP256Sha256.to_wire(),
                scope: Vec::new(),
                forms: Vec::new(),
                idempotency_key: String::new(),
                token: String::new(),
            };
            client.create_key(request).await.with_context(|| format!("make key {number}"))?;
            Ok(())
        }
    })
    .await?;
    Ok(begun.elapsed())
}

fn name(number: u64) -> String {
    format!("start/key-{number}")
}

/// A line of `/proc/ID/status` that counts in KiB, in megabytes.
fn memory_mb(id: u32, field: &str) -> Result<f64> {
    let text =
        std::fs::read_to_string(format!("/proc/{id}/status")).with_context(|| format!("read /proc/{id}/status"))?;
    let line = text.lines().find(|line| line.starts_with(field)).with_context(|| format!("no {field} of {id}"))?;
    let kib: u64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).context("a size in KiB")?;
    Ok(number(kib) * 1024.0 / 1e6)
}

/// The processor time of a process so far (proc(5): fields 14 and 15 of its `stat`, in ticks).
fn cpu_seconds(id: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).with_context(|| format!("read /proc/{id}/stat"))?;
    // The name of the program, which stands before, may have blanks in it.
    let (_, fields) = text.rsplit_once(')').context("a stat without a name")?;
    let mut ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let (user, system) = (ticks.next().context("no user time")??, ticks.next().context("no system time")??);
    Ok(number(user.saturating_add(system)) / number(rustix::param::clock_ticks_per_second()))
}
