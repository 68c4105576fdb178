//! Codecs: which there are, one tried, the past decoded again. Not here: what that means ([`crate::tryout`],
//! [`crate::replay`]).

use axum::extract::{Path, State};
use bridge_core::ports::Clock;

use super::body::{Answer, Body, Declined};
use super::{Admin, done};
use crate::replay::{ReplayBody, ReplayRequest};
use crate::tryout::{self, Trial};

/// The codecs, and what those on trial made otherwise.
pub(super) async fn list(State(admin): State<Admin>) -> Answer {
    done(&tryout::overview(&admin.0.codecs))
}

/// What a codec makes of a payload, step by step; nothing is sent anywhere.
pub(super) async fn try_one(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    Body(trial): Body<Trial>,
) -> Answer {
    let Some(codec) = admin.0.codecs.table().codecs.get(&name).cloned() else {
        let why = "There is no codec of this name in the configuration.";
        return Err(Declined::unknown("unknown-codec", "Unknown codec", why));
    };
    trial.check()?;
    done(&trial.run(&codec, crate::clock::SystemClock.wall()).await)
}

/// Runs the codecs of now over payloads of the past.
pub(super) async fn replay(State(admin): State<Admin>, Body(body): Body<ReplayBody>) -> Answer {
    let request = ReplayRequest::of(&body)?;
    if admin.0.pipeline.archive.is_none() {
        let why = "No payloads are kept: set archive.keep in the configuration.";
        return Err(Declined::conflict("no-archive", "No archive", why));
    }
    done(&request.run(&admin.0.pipeline).await?)
}
