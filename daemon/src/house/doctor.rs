//! Measuring a token for an operator, and keeping what was found.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::info;
use trust::{Fault, FaultKind, Principal};
use trust_hsm::TokenName;
use trust_hsm::doctor::{Plan, Progress, Report};

use super::sealing::Administration;
use super::{House, blocking};
use crate::authorize::Action;
use crate::custody;
use crate::custody::profile::Profile;

/// What becomes of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The daemon uses what was found, from its next start or reload on.
    Profile,
    /// Only the caller reads it.
    Nothing,
}

/// What was found, and where it was kept.
#[derive(Debug)]
pub(crate) struct Examined {
    pub(crate) report: Report,
    pub(crate) profile: Option<PathBuf>,
}

impl House {
    /// Measures a token in a process of its own, and writes its profile when that is asked for. `progress` hears of each
    /// step; when nobody is left to hear it, the measurement ends.
    pub(crate) async fn examine_token(
        self: &Arc<Self>,
        principal: &Principal,
        token: &TokenName,
        plan: Plan,
        keep: Keep,
        deadline: Duration,
        progress: mpsc::Sender<Progress>,
    ) -> Result<Examined, Fault> {
        self.allow(principal, Action::MeasureToken)?;
        let Some(mounted) = self.custodians().token(token) else {
            self.note_refusal(principal, Action::MeasureToken, "token", None);
            return Err(Fault::new(FaultKind::Refused, format!("the daemon has no token with the name {token}")));
        };
        let worker = mounted.map_err(custody::told).map(|_| self.custodians().worker(token))?;
        let worker = worker.ok_or_else(|| Fault::internal("a mounted token without a worker"))?;
        let (house, name) = (Arc::clone(self), token.clone());
        let work = async move {
            // On one thread from beginning to end: the kernel ends the measuring process with the thread that started it.
            let examined = blocking(move || {
                worker.examine(&plan, &mut |step| match progress.try_send(step) {
                    // Whoever is slow misses a step.
                    Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => true,
                    Err(mpsc::error::TrySendError::Closed(_)) => false,
                })
            });
            let report = examined.await?.map_err(custody::told)?;
            info!(stage = "custody", token = name.as_str(), quirks = report.quirks.len(), "a token was measured");
            let profile = match keep {
                Keep::Nothing => None,
                Keep::Profile => Some(house.keep_profile(&name, &report).await?),
            };
            Ok(Examined { report, profile })
        };
        let measuring = Administration { operation: "token-doctor", custodian: Some(token.to_string()) };
        self.administer(principal, Action::MeasureToken, measuring, deadline, work).await
    }

    async fn keep_profile(&self, token: &TokenName, report: &Report) -> Result<PathBuf, Fault> {
        let path = self.config().token_profile(token);
        let profile = Profile::of(report, self.clock().now_unix_seconds());
        let place = path.clone();
        blocking(move || profile.write(&place)).await?.map_err(Fault::internal)?;
        Ok(path)
    }
}
