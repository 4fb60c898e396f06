//! Carries out the steps of a plan: tracks side by side, the steps of one track in order. A step that failed is
//! reported with its error; whether it had an effect all the same is for the next observation to say.

use super::observe::{Hands, docker_point};
use super::plan::Plan;
use super::step::{Step, Track};
use crate::failpoint;
use crate::providers::mounts::{BrickError, GlusterMount, MountError};
use crate::providers::swarm::SwarmError;

/// Why a step failed. It may have had an effect: look again.
#[derive(Debug, thiserror::Error)]
#[error("could not {step}")]
pub struct StepError {
    pub step: String,
    #[source]
    pub cause: StepCause,
}

/// What went wrong in a step.
#[derive(Debug, thiserror::Error)]
pub enum StepCause {
    #[error(transparent)]
    Swarm(#[from] SwarmError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Brick(#[from] BrickError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("it went well and changed nothing")]
    NoEffect,
}

/// Carries out `plan`; returns what was done, and the first error of each track.
pub async fn apply(hands: &Hands, plan: &Plan) -> (Vec<Step>, Vec<StepError>) {
    let (swarm, storage) = tokio::join!(run_track(hands, plan, Track::Swarm), run_track(hands, plan, Track::Storage));
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (steps, error) in [swarm, storage] {
        done.extend(steps);
        failed.extend(error);
    }
    (done, failed)
}

async fn run_track(hands: &Hands, plan: &Plan, track: Track) -> (Vec<Step>, Option<StepError>) {
    let mut done = Vec::new();
    for step in plan.steps.iter().filter(|step| step.track() == track) {
        tracing::info!("{step}");
        if let Err(cause) = carry_out(hands, step).await {
            return (done, Some(StepError { step: step.to_string(), cause }));
        }
        done.push(step.clone());
    }
    (done, None)
}

async fn carry_out(hands: &Hands, step: &Step) -> Result<(), StepCause> {
    match step {
        Step::AbandonPendingJoin | Step::LeaveBrokenSwarm { .. } => Ok(hands.engine.leave(true).await?),
        Step::JoinSwarm(join) => {
            docker_point("J8").await?;
            hands.engine.join(join).await?;
            Ok(docker_point("J8").await?)
        }
        Step::PrepareBrick { path, volume } => {
            hands.records.add(path, volume)?;
            failpoint::pass("J10").await?;
            hands.bricks.prepare(path).await?;
            Ok(failpoint::pass("J10").await?)
        }
        Step::ResetBrick { path, mark } => Ok(hands.bricks.clear_mark(path, mark).await?),
        Step::Unmount { point } => Ok(hands.mounter.unmount_lazy(point).await?),
        Step::Mount(spec) => {
            failpoint::pass("J15").await.map_err(MountError::Table)?;
            hands.mounter.mount_gluster(&GlusterMount::from(spec)).await?;
            Ok(failpoint::pass("J15").await.map_err(MountError::Table)?)
        }
        Step::PersistMount(spec) => Ok(hands.persistence.set(&GlusterMount::from(spec)).await?),
    }
}
