//! `trustctl status`: how the daemon is, and who we are to it.

use serde::Serialize;
use trust_proto::v1::{GetStatusRequest, GetStatusResponse};

use crate::context::Context;
use crate::failure::{Failure, printable};
use crate::output::{Paint, Shown};
use crate::time::rfc3339;

#[derive(Debug, Serialize)]
struct Status {
    address: String,
    version: String,
    sealed: bool,
    /// "serving", or "degraded: …".
    health: String,
    principal: String,
    log_origin: String,
    log_size: u64,
    policy_revision: String,
    started_at: String,
    /// Where the root key is.
    root_kek: String,
    custodians: Vec<Custodian>,
}

#[derive(Debug, Serialize)]
struct Custodian {
    name: String,
    state: String,
    restarts: u64,
}

impl Status {
    fn read(address: String, answer: GetStatusResponse) -> Self {
        let custodians = answer.custodians.into_iter().map(|custodian| Custodian {
            name: custodian.name,
            state: custodian.state,
            restarts: custodian.restarts,
        });
        Self {
            address,
            version: answer.version,
            sealed: answer.sealed,
            health: answer.health,
            principal: answer.principal,
            log_origin: answer.log_origin,
            log_size: answer.log_size,
            policy_revision: answer.policy_revision,
            started_at: rfc3339(answer.started_at_unix_seconds),
            root_kek: answer.root_kek,
            custodians: custodians.collect(),
        }
    }
}

impl Shown for Status {
    fn text(&self, paint: Paint) -> String {
        let state = if self.sealed {
            let why = self.health.split_once("; ").map(|(_, why)| format!(" ({})", printable(why))).unwrap_or_default();
            format!("{}: nothing is signed until `trustctl unseal`{why}", paint.bad("sealed"))
        } else if self.health == "serving" {
            paint.good("serving")
        } else {
            paint.bad(&self.health)
        };
        let mut lines = vec![
            format!("{}  {state}", paint.strong(&self.address)),
            format!("  trustd   {}, since {}", printable(&self.version), self.started_at),
            format!("  you are  {}", printable(&self.principal)),
            format!("  log      {}, {} leaves", printable(&self.log_origin), self.log_size),
            format!("  policy   {}", printable(&self.policy_revision)),
            format!("  root     {}", printable(&self.root_kek)),
        ];
        for custodian in &self.custodians {
            let restarts = match custodian.restarts {
                0 => String::new(),
                count => format!(", restarted {count} times"),
            };
            lines.push(format!("  keys     {}: {}{restarts}", printable(&custodian.name), printable(&custodian.state)));
        }
        lines.join("\n")
    }
}

/// Runs `trustctl status`.
pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let daemon = context.daemon().await?;
    let answer = daemon.admin().get_status(GetStatusRequest {}).await?.into_inner();
    context.output.show(&Status::read(daemon.address, answer))
}
