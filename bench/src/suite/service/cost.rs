//! What an item costs the daemon that gets it in a stream, beside the function alone in this process: the same items under
//! the same key, which is prepared on both sides, on as many threads, in turn.
//!
//! Counted is processor time of the whole process, as the kernel accounts for it, over a fixed number of items.

use anyhow::{Context as _, Result, ensure};
use trust::verify::batch::{Input, Item, Key, Table, chunk};

use super::{BATCHES, SUITE, Scene, stream};
use crate::machine::cpu_us;
use crate::report::{Aim, Bound, Report, Row, TIMES_AS_DEAR};
use crate::spread::{count, paired};
use crate::suite::verify::{Batch, ITEMS, request};
use crate::suite::{LEFT_OUT, Plan};

pub(super) const CASE: &str = "Ed25519, 1024 items, one stream, processor time of an item";
pub(super) const SUBJECT: &str = "trustd, VerifyStream, Unix socket ÷ in process";
const DAEMON: &str = "trustd, VerifyStream, Unix socket";
const HERE: &str = "in process";
/// Turns of each side in one measurement: what the machine does from one second to the next is more than what is sought.
const TURNS: usize = 8;
/// Batches of one turn. The kernel counts hundredths of a second: with as many, that is little.
const SENT: usize = 32;
const SENT_QUICK: usize = 16;
/// Before anything counts; the key has its table then.
const WARM_UP: usize = 16;

/// Measures both in every round.
///
/// # Errors
/// When a request fails, or a verdict is wrong.
pub(super) async fn run(plan: &Plan, scene: &Scene, report: &mut Report) -> Result<()> {
    if CASE.contains(&plan.case) {
        let sent = plan.cases(&[SENT], &[SENT_QUICK]).pop().context("no batches")?;
        let (mut daemon, mut here) = (Vec::new(), Vec::new());
        of_daemon(scene, WARM_UP).await?;
        for _ in 0..plan.rounds {
            let (mut of_it, mut of_us) = (0.0, 0.0);
            for turn in 0..TURNS {
                for place in Plan::order(turn, 2) {
                    if place == 0 {
                        of_it += of_daemon(scene, sent).await?;
                    } else {
                        of_us += tokio::task::block_in_place(|| in_process(&scene.batch, sent))?;
                    }
                }
            }
            daemon.push(of_it / count(TURNS));
            here.push(of_us / count(TURNS));
        }
        let ratios = paired(&daemon, &here);
        let row = |subject: &str, unit, samples| Row::new(SUITE, CASE.to_owned(), subject.to_owned(), unit, samples);
        report.add(row(DAEMON, "µs of processor/item", daemon));
        report.add(row(HERE, "µs of processor/item", here));
        report.add(row(SUBJECT, TIMES_AS_DEAR, ratios));
    }
    let (case, subject, bound) = (CASE.to_owned(), SUBJECT.to_owned(), Bound::AtMost(1.15));
    report.aim_at(Aim { suite: SUITE, case, subject, unit: TIMES_AS_DEAR, bound }, LEFT_OUT);
    Ok(())
}

/// Of one item, in microseconds.
async fn of_daemon(scene: &Scene, batches: usize) -> Result<f64> {
    let (_, channel) = scene.doors.first().context("no door")?;
    let id = scene.ours.daemon.id()?;
    let before = cpu_us(id)?;
    stream::send(channel.clone(), request(&scene.batch)?, batches, BATCHES).await?;
    Ok((cpu_us(id)? - before) / count(batches * ITEMS))
}

/// The same by the function, on as many threads as the daemon has processors: where two of them share a core, both sides
/// pay for that.
fn in_process(batch: &Batch, batches: usize) -> Result<f64> {
    let table = Table::new(&batch.public_key).context("a key of Ed25519")?;
    let pairs = batch.messages.chunks(32).zip(batch.signatures.chunks(64));
    let items: Vec<Item<'_>> = pairs
        .map(|(message, signature)| Item { key: Key::Known(&table), input: Input::Message(message), signature })
        .collect();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let each = batches.div_ceil(threads);
    let id = std::process::id();
    let before = cpu_us(id)?;
    std::thread::scope(|scope| -> Result<()> {
        let work = || (0..each).all(|_| chunk(&items).iter().all(Result::is_ok));
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in running {
            ensure!(thread.join().is_ok_and(|is_good| is_good), "a good signature counts as bad");
        }
        Ok(())
    })?;
    Ok((cpu_us(id)? - before) / count(each * threads * items.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_case_says_how_many_items_a_batch_has() {
        assert!(CASE.contains(&format!("{ITEMS} items")));
    }
}
