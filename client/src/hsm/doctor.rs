//! `trustctl hsm doctor`: what a token really does.

use std::fmt::Write as _;

use serde::Serialize;
use trust_proto::v1;
use trust_proto::v1::doctor_response::Step;

use crate::command_line::hsm::HsmDoctor;
use crate::context::Context;
use crate::failure::{Failure, printable};
use crate::output::{Paint, Shown};

/// Runs `trustctl hsm doctor`.
pub(super) async fn run(context: &Context, arguments: HsmDoctor) -> Result<(), Failure> {
    let request = v1::DoctorRequest {
        token: arguments.token.clone(),
        sessions_max: arguments.sessions_max.into(),
        idle_seconds: arguments.idle.into(),
        write_profile: arguments.write_profile,
    };
    let daemon = context.daemon().await?;
    let remedied = |status: tonic::Status| {
        Failure::from(status).refusal_remedied_by(
            "`trustctl hsm list` shows the tokens and whether they serve; one that has not taken its PIN is not measured",
        )
    };
    let mut stream = daemon.hsm().doctor(request).await.map_err(remedied)?.into_inner();
    let bar = context.output.progress(0, "measuring");
    let mut report = None;
    while let Some(message) = stream.message().await.map_err(remedied)? {
        match message.step {
            Some(Step::Progress(progress)) => {
                bar.set_length(progress.total.into());
                bar.set_position(progress.done.into());
                bar.set_message(printable(&progress.what));
            }
            Some(Step::Report(found)) => report = Some(*found),
            None => {}
        }
    }
    bar.finish_and_clear();
    let report = report.ok_or_else(|| {
        Failure::other("the measurement did not come to its end", "run it again: it deletes first what this one left")
    })?;
    context.output.show(&Examined::read(arguments.token, report))
}

/// What was found.
#[derive(Debug, Serialize)]
struct Examined {
    token: String,
    label: String,
    serial: String,
    manufacturer: String,
    model: String,
    hardware: String,
    firmware: String,
    module: String,
    flags: Vec<String>,
    algorithms: Vec<Algorithm>,
    throughput: Throughput,
    sessions: Sessions,
    handles: Handles,
    quirks: Vec<String>,
    /// What a daemon should use; none where nothing could be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<Advice>,
    /// Objects of an earlier measurement that were deleted now.
    swept: u32,
    left_behind: Vec<String>,
    /// On the daemon's machine.
    #[serde(skip_serializing_if = "String::is_empty")]
    profile: String,
}

#[derive(Debug, Serialize)]
struct Advice {
    sessions: u32,
    hang_after_ms: u64,
}

#[derive(Debug, Serialize)]
struct Algorithm {
    algorithm: String,
    listed: bool,
    works: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<Latency>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Latency {
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    max_us: u64,
}

#[derive(Debug, Serialize)]
struct Throughput {
    algorithm: String,
    steps: Vec<ThroughputStep>,
    ended: String,
}

#[derive(Debug, Serialize)]
struct ThroughputStep {
    sessions: u32,
    per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<Latency>,
}

#[derive(Debug, Serialize)]
struct Sessions {
    opened: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    refused: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stated: Option<u64>,
}

/// same, gone: …, another-key, unknown: …
#[derive(Debug, Serialize)]
struct Handles {
    idle_seconds: u32,
    after_idle: String,
    after_others: String,
    after_logout: String,
}

fn latency(latency: Option<v1::DoctorLatency>) -> Option<Latency> {
    let v1::DoctorLatency { p50_us, p90_us, p99_us, max_us } = latency?;
    Some(Latency { p50_us, p90_us, p99_us, max_us })
}

impl Examined {
    fn read(token: String, report: v1::DoctorReport) -> Self {
        let algorithms = report.algorithms.into_iter().map(|found| Algorithm {
            algorithm: found.algorithm,
            listed: found.listed,
            works: found.works,
            why: found.why,
            generation_us: found.works.then_some(found.generation_us),
            signature: latency(found.latency),
        });
        let steps = report.throughput.into_iter().map(|step| ThroughputStep {
            sessions: step.sessions,
            per_second: step.per_second.round(),
            signature: latency(step.latency),
        });
        let is_measured = report.enough_sessions > 0;
        Self {
            token,
            label: report.label,
            serial: report.serial,
            manufacturer: report.manufacturer,
            model: report.model,
            hardware: report.hardware,
            firmware: report.firmware,
            module: report.module,
            flags: report.flags,
            algorithms: algorithms.collect(),
            throughput: Throughput {
                algorithm: report.throughput_algorithm,
                steps: steps.collect(),
                ended: report.throughput_ended,
            },
            sessions: Sessions {
                opened: report.sessions_opened,
                refused: report.sessions_refused,
                stated: Some(report.sessions_stated).filter(|stated| *stated > 0),
            },
            handles: Handles {
                idle_seconds: report.idle_seconds,
                after_idle: report.after_idle,
                after_others: report.after_others,
                after_logout: report.after_logout,
            },
            quirks: report.quirks,
            advice: is_measured
                .then_some(Advice { sessions: report.enough_sessions, hang_after_ms: report.hang_after_ms }),
            swept: report.swept,
            left_behind: report.left_behind,
            profile: report.profile,
        }
    }

    fn facts(&self, text: &mut String, paint: Paint) {
        let Self { label, serial, manufacturer, model, hardware, firmware, module, .. } = self;
        let facts =
            format!("{label:?}, serial {serial}, {manufacturer} {model}, hardware {hardware}, firmware {firmware}");
        let _ = writeln!(text, "{}", paint.strong(&self.token)); // a String takes everything
        let _ = writeln!(text, "  token      {}", printable(&facts));
        let _ = writeln!(text, "  module     {}", printable(module));
        let _ = writeln!(text, "  flags      {}", printable(&self.flags.join(" ").to_lowercase()));
    }

    fn algorithms(&self, text: &mut String, paint: Paint) {
        let _ = writeln!(text, "\n{:22} {:>8} {}  µs per signature", "algorithm", "key, ms", COLUMNS);
        for found in &self.algorithms {
            let (name, makes) = (printable(&found.algorithm), found.generation_us.unwrap_or_default() / 1000);
            let _ = match (found.signature.filter(|_| found.works), found.listed) {
                (Some(latency), _) => {
                    writeln!(text, "{name:22} {makes:>8} {}  {}", columns(latency), paint.good("works"))
                }
                (None, true) => {
                    writeln!(text, "{name:22} {}: {}", paint.bad("listed, and does not work"), printable(&found.why))
                }
                (None, false) => writeln!(text, "{name:22} {}: {}", paint.faint("not there"), printable(&found.why)),
            };
        }
    }

    fn throughput(&self, text: &mut String, paint: Paint) {
        if self.throughput.steps.is_empty() {
            return;
        }
        let enough = self.advice.as_ref().map_or(0, |advice| advice.sessions);
        let _ =
            writeln!(text, "\n{:22} {:>8} {}  {}", "sessions", "per s", COLUMNS, printable(&self.throughput.algorithm));
        for step in &self.throughput.steps {
            let mark = if step.sessions == enough { paint.good("enough") } else { String::new() };
            let latency = step.signature.map(columns).unwrap_or_default();
            let _ = writeln!(text, "{:22} {:>8.0} {latency}  {mark}", step.sessions, step.per_second);
        }
        let _ = writeln!(text, "  {}", printable(&self.throughput.ended));
    }

    fn rest(&self, text: &mut String, paint: Paint) {
        let Sessions { opened, refused, stated } = &self.sessions;
        let stated = stated.map(|stated| format!("; the token states {stated}")).unwrap_or_default();
        let _ = match refused.as_str() {
            "" => writeln!(text, "\n  sessions   {opened} opened, which was all that was asked for{stated}"),
            refused => writeln!(text, "\n  sessions   {opened} opened, then {}{stated}", printable(refused)),
        };
        let Handles { idle_seconds, after_idle, after_others, after_logout } = &self.handles;
        if !after_idle.is_empty() {
            let _ = writeln!(text, "  handle     {}, after {idle_seconds} s of idleness", handle(after_idle, paint));
            let _ = writeln!(text, "             {}, after other sessions came and went", handle(after_others, paint));
            let _ = writeln!(text, "             {}, after another session logged out", handle(after_logout, paint));
        }
        let quirks = if self.quirks.is_empty() { "none".to_owned() } else { self.quirks.join(", ") };
        let _ = writeln!(text, "  quirks     {}", printable(&quirks));
        if self.swept > 0 {
            let _ = writeln!(text, "  deleted    {} objects that an earlier measurement had left", self.swept);
        }
        for id in &self.left_behind {
            let _ = writeln!(text, "  {}: object {}", paint.bad("could not be deleted"), printable(id));
        }
        match &self.advice {
            Some(Advice { sessions, hang_after_ms }) => {
                let _ = writeln!(text, "  advice     sessions = {sessions}, hang_after_ms = {hang_after_ms}");
            }
            None if self.algorithms.iter().any(|found| found.works) => {
                let why = "sessions, rate and handles: it gave a new key the number of another";
                let _ = writeln!(text, "  {} {why}", paint.bad("not measured"));
            }
            None => {
                let _ = writeln!(text, "  {}: no key can be used in this token", paint.bad("nothing works"));
            }
        }
        if !self.profile.is_empty() {
            let place = printable(&self.profile);
            let _ = writeln!(text, "  profile    {place}: used from the daemon's next start or reload on");
        }
    }
}

const COLUMNS: &str = "     p50      p90      p99      max";

fn columns(latency: Latency) -> String {
    format!("{:>8} {:>8} {:>8} {:>8}", latency.p50_us, latency.p90_us, latency.p99_us, latency.max_us)
}

fn handle(said: &str, paint: Paint) -> String {
    match said {
        "same" => paint.good("the same key"),
        "another-key" => paint.bad("ANOTHER KEY"),
        other => printable(other),
    }
}

impl Shown for Examined {
    fn text(&self, paint: Paint) -> String {
        let mut text = String::new();
        self.facts(&mut text, paint);
        self.algorithms(&mut text, paint);
        self.throughput(&mut text, paint);
        self.rest(&mut text, paint);
        // A column that is empty leaves nothing behind it.
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> v1::DoctorReport {
        let latency = Some(v1::DoctorLatency { p50_us: 5100, p90_us: 5200, p99_us: 6000, max_us: 9000 });
        v1::DoctorReport {
            label: "release\u{1b}[31m".to_owned(),
            algorithms: vec![
                v1::DoctorAlgorithm {
                    algorithm: "ecdsa-p256-sha256".to_owned(),
                    listed: true,
                    works: true,
                    signatures: 100,
                    latency,
                    generation_us: 12_000,
                    ..v1::DoctorAlgorithm::default()
                },
                v1::DoctorAlgorithm {
                    algorithm: "ed25519".to_owned(),
                    listed: true,
                    why: "sign: CKR_MECHANISM_INVALID".to_owned(),
                    ..v1::DoctorAlgorithm::default()
                },
            ],
            throughput_algorithm: "ecdsa-p256-sha256".to_owned(),
            throughput: vec![v1::DoctorThroughput { sessions: 4, per_second: 780.4, latency }],
            throughput_ended: "8 sessions do no more than fewer".to_owned(),
            enough_sessions: 4,
            hang_after_ms: 5000,
            sessions_opened: 7,
            sessions_refused: "CKR_SESSION_COUNT".to_owned(),
            idle_seconds: 5,
            after_idle: "another-key".to_owned(),
            after_others: "same".to_owned(),
            after_logout: "gone: CKR_KEY_HANDLE_INVALID".to_owned(),
            quirks: vec!["handles-change".to_owned()],
            left_behind: vec!["7472".to_owned()],
            profile: "/var/lib/trustd/tokens/hsm.profile".to_owned(),
            ..v1::DoctorReport::default()
        }
    }

    #[test]
    fn people_read_what_works_what_does_not_and_what_is_dangerous() {
        let text = Examined::read("hsm".to_owned(), report()).text(Paint::default());

        for expected in [
            "ecdsa-p256-sha256            12     5100     5200     6000     9000  works",
            "listed, and does not work: sign: CKR_MECHANISM_INVALID",
            "7 opened, then CKR_SESSION_COUNT",
            "ANOTHER KEY, after 5 s of idleness",
            "the same key, after other sessions",
            "could not be deleted: object 7472",
            "advice     sessions = 4, hang_after_ms = 5000",
            "/var/lib/trustd/tokens/hsm.profile: used from",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}') && !text.contains(" \n") && !text.ends_with('\n'), "{text}");
    }

    #[test]
    fn a_token_in_which_nothing_works_or_numbers_repeat_gets_no_advice() {
        let mut report = v1::DoctorReport { throughput: Vec::new(), enough_sessions: 0, ..report() };
        let repeats = Examined::read("hsm".to_owned(), report.clone());
        report.algorithms.retain(|found| !found.works);
        let nothing = Examined::read("hsm".to_owned(), report);

        assert!(nothing.text(Paint::default()).contains("nothing works"));
        let text = repeats.text(Paint::default());
        assert!(text.contains("not measured") && !text.contains("nothing works"), "{text}");
        for examined in [nothing, repeats] {
            assert!(serde_json::to_value(&examined).unwrap().get("advice").is_none());
        }
    }
}
