//! A measurement, from the wire and onto it.

use std::time::Duration;

use trust::{Fault, FaultKind};
use trust_hsm::doctor::{AlgorithmFinding, Handle, Latency, Plan, Progress, Report, ThroughputStep, Works};
use trust_proto::v1;

use crate::house::{Examined, Keep};

/// What is to be measured, and what becomes of it.
pub(super) fn read(request: &v1::DoctorRequest) -> Result<(Plan, Keep), Fault> {
    let sessions = usize::try_from(request.sessions_max).unwrap_or(usize::MAX);
    let idle = Duration::from_secs(request.idle_seconds.into());
    let plan = Plan::new(sessions, idle, Plan::STEP).map_err(|error| {
        Fault::new(FaultKind::Malformed, "sessions_max: 1 to 256; idle_seconds: at most 3600").because(error)
    })?;
    Ok((plan, if request.write_profile { Keep::Profile } else { Keep::Nothing }))
}

pub(super) fn progress_to_wire(progress: Progress) -> v1::DoctorResponse {
    let Progress { done, total, what } = progress;
    step(v1::doctor_response::Step::Progress(v1::DoctorProgress { done, total, what }))
}

pub(super) fn report_to_wire(examined: Examined) -> v1::DoctorResponse {
    let Examined { report, profile } = examined;
    let hang_after_ms = report.hang_after().map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let enough_sessions = report.sessions().unwrap_or(0);
    let Report { identity, flags, algorithms, throughput, session_limit, stability, quirks, swept, left_behind } =
        report;
    let (throughput_algorithm, steps, throughput_ended) =
        throughput.map(|throughput| (throughput.algorithm, throughput.steps, throughput.ended)).unwrap_or_default();
    let (idle_seconds, after_idle, after_others, after_logout) = stability
        .map(|found| {
            let idle = u32::try_from(found.idle.as_secs()).unwrap_or(u32::MAX);
            (idle, handle(&found.after_idle), handle(&found.after_others), handle(&found.after_logout))
        })
        .unwrap_or_default();
    step(v1::doctor_response::Step::Report(Box::new(v1::DoctorReport {
        label: identity.label,
        serial: identity.serial,
        manufacturer: identity.manufacturer,
        model: identity.model,
        hardware: identity.hardware,
        firmware: identity.firmware,
        module: identity.module,
        flags,
        algorithms: algorithms.into_iter().map(algorithm_to_wire).collect(),
        throughput_algorithm,
        throughput: steps.into_iter().map(throughput_to_wire).collect(),
        throughput_ended,
        enough_sessions,
        hang_after_ms,
        sessions_opened: session_limit.opened,
        sessions_refused: session_limit.refused.unwrap_or_default(),
        sessions_stated: session_limit.stated.unwrap_or_default(),
        idle_seconds,
        after_idle,
        after_others,
        after_logout,
        quirks: quirks.into_iter().map(|quirk| quirk.name().to_owned()).collect(),
        swept,
        left_behind,
        profile: profile.map(|path| path.display().to_string()).unwrap_or_default(),
    })))
}

fn step(step: v1::doctor_response::Step) -> v1::DoctorResponse {
    v1::DoctorResponse { step: Some(step) }
}

fn algorithm_to_wire(finding: AlgorithmFinding) -> v1::DoctorAlgorithm {
    let AlgorithmFinding { algorithm, is_listed: listed, works } = finding;
    match works {
        Works::Yes { signatures, generation_us, latency } => v1::DoctorAlgorithm {
            algorithm,
            listed,
            works: true,
            why: String::new(),
            signatures,
            latency: Some(latency_to_wire(latency)),
            generation_us,
        },
        Works::No { why } => v1::DoctorAlgorithm { algorithm, listed, why, ..v1::DoctorAlgorithm::default() },
    }
}

fn throughput_to_wire(step: ThroughputStep) -> v1::DoctorThroughput {
    let ThroughputStep { sessions, per_second, latency } = step;
    v1::DoctorThroughput { sessions, per_second, latency: Some(latency_to_wire(latency)) }
}

const fn latency_to_wire(latency: Latency) -> v1::DoctorLatency {
    let Latency { p50_us, p90_us, p99_us, max_us } = latency;
    v1::DoctorLatency { p50_us, p90_us, p99_us, max_us }
}

fn handle(handle: &Handle) -> String {
    match handle {
        Handle::Same => "same".to_owned(),
        Handle::Gone(what) => format!("gone: {what}"),
        Handle::AnotherKey => "another-key".to_owned(),
        Handle::Unknown(what) => format!("unknown: {what}"),
    }
}
