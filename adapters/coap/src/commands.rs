//! What devices are asked to do: commands that wait, asked for once or observed (RFC 7641), and what devices report on them. Not
//! here: notifications and their acknowledgements ([`crate::observe`]), mailboxes and the form of a command (`edge`).

use std::time::{Duration, Instant};

use bridge_core::DeviceId;
use bridge_core::command::{Command, CommandId};
use bridge_core::counters::Refusal;
use bridge_core::ports::BoxFuture;
use bridge_core::trace::Tracer;
use coap_proto::{Code, Request, Response, number};
use edge::mailbox::{self, Said, read_report};
use edge::waiters::{Crowded, Place};
use serde_json::json;

use crate::answer::{self, Refused};
use crate::api::{Answer, CoapApi, store_failed};
use crate::carrier::Caller;
use crate::resource::{JSON, Target};

/// An observer is told something at least that often, so that both sides learn when the other one has gone.
const TELL_EVERY: Duration = Duration::from_hours(1);
/// The longest that a notification may be on its way (RFC 7252 section 4.8.2, MAX_TRANSMIT_WAIT, and a little).
const ON_ITS_WAY: Duration = Duration::from_secs(100);
/// How often it is looked whether a command that was not reported on has to go out again.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// When to look again after the store has failed.
const LATER: Duration = Duration::from_secs(5);

/// What an observer of its commands has been told, and what it waits for.
pub(crate) struct Watch {
    device: DeviceId,
    /// With its token: whoever lost the right to ask is told nothing more.
    request: Request,
    target: Target,
    /// The commands that it was given and has not reported on, with their attempts.
    given: Vec<(CommandId, u32)>,
    /// Completes when there may be more.
    arrival: BoxFuture<'static, ()>,
    look_at: Instant,
    tell_at: Instant,
}

impl Watch {
    /// Waits until there may be something to tell.
    pub(crate) async fn wait(&mut self, place: &mut Place, api: &CoapApi) -> edge::waiters::Woken {
        place.wait(&mut self.arrival, self.look_at, &*api.pipeline().clock).await
    }

    fn note(&mut self, offered: &[Command], now: Instant) {
        self.given = offered.iter().map(|command| (command.id, command.attempts())).collect();
        self.look_at = if self.given.is_empty() { self.tell_at } else { self.tell_at.min(now + LOOK_AGAIN) };
    }
}

impl CoapApi {
    /// The commands of a device that asks; with what to wait for when it wants to observe.
    pub(crate) async fn answer_commands(
        &self,
        request: Request,
        caller: Caller,
        target: Target,
        observe: bool,
    ) -> Answer {
        let tracer = self.arrived();
        match self.hand_out(&request, caller, &target).await {
            Ok((device, arrival, commands)) => {
                let response = content(&commands, observe);
                let now = self.pipeline().clock.now();
                let watch = observe.then(|| {
                    let (given, tell_at) = (Vec::new(), now + TELL_EVERY);
                    let mut watch =
                        Watch { device, request, target, given, arrival, look_at: tell_at, tell_at };
                    watch.note(&commands, now);
                    Box::new(watch)
                });
                Answer { response, watch }
            }
            Err(refused) => self.refuse(tracer, refused).into(),
        }
    }

    /// Takes what a device reports on a command.
    pub(crate) async fn answer_report(
        &self,
        request: &Request,
        caller: Caller,
        (target, command): (Target, Option<CommandId>),
    ) -> Response {
        let tracer = self.arrived();
        match self.report(request, caller, &target, command).await {
            Ok(()) => Response::new(Code::CHANGED),
            Err(refused) => self.refuse(tracer, refused),
        }
    }

    /// A place for an observer among all that wait for their commands; the device's older one loses its own.
    pub(crate) fn enter(&self, watch: &Watch) -> Result<Place, Crowded> {
        self.mailbox().enter(&watch.device)
    }

    /// What an observer has to be told now; nothing when it knows all of it. An error ends the observation.
    pub(crate) async fn news(&self, watch: &mut Watch, caller: Caller) -> Option<Response> {
        watch.arrival = self.mailbox().arrival(&watch.device);
        let now = self.pipeline().clock.now();
        let offered = async {
            let device = self.identify(&watch.request, caller, &watch.target).await?;
            self.offer(&device).await
        };
        match offered.await {
            Ok(offered) => {
                let known = |command: &Command| watch.given.contains(&(command.id, command.attempts()));
                let fresh: Vec<Command> = offered.iter().filter(|command| !known(command)).cloned().collect();
                let is_due = now >= watch.tell_at;
                let tells = is_due || !fresh.is_empty();
                if tells {
                    watch.tell_at = now + TELL_EVERY;
                }
                watch.note(&offered, now);
                tells.then(|| content(&fresh, true))
            }
            // The bridge's own trouble is none of the observer's.
            Err(refused) if refused.refusal == Refusal::Unavailable => {
                watch.look_at = now + LATER;
                None
            }
            Err(refused) => Some(refused.response),
        }
    }

    async fn hand_out(
        &self,
        request: &Request,
        caller: Caller,
        target: &Target,
    ) -> Result<(DeviceId, BoxFuture<'static, ()>, Vec<Command>), Refused> {
        if request.code != Code::GET {
            return Err(answer::method());
        }
        request.negotiate(&[JSON]).map_err(answer::not_acceptable)?;
        let device = self.identify(request, caller, target).await?;
        self.within_rate(&device)?;
        // Asked for before the look: what comes in between is not missed.
        let arrival = self.mailbox().arrival(&device);
        let commands = self.offer(&device).await?;
        Ok((device, arrival, commands))
    }

    async fn offer(&self, device: &DeviceId) -> Result<Vec<Command>, Refused> {
        self.registered(device, self.now()).await?;
        self.mailbox().offer(device).await.map_err(|error| store_failed(&error))
    }

    async fn report(
        &self,
        request: &Request,
        caller: Caller,
        target: &Target,
        command: Option<CommandId>,
    ) -> Result<(), Refused> {
        if request.code != Code::POST {
            return Err(answer::method());
        }
        let device = self.identify(request, caller, target).await?;
        self.within_rate(&device)?;
        if request.content_format().is_some_and(|format| format != JSON) {
            return Err(answer::format());
        }
        self.within_limit(request)?;
        let report = read_report(&request.body).map_err(|fault| answer::faulty(&fault))?;
        self.registered(&device, self.now()).await?;
        let command = command.ok_or_else(answer::unknown_command)?;
        let said = self.mailbox().report(&device, command, report).await;
        match said.map_err(|error| store_failed(&error))? {
            Said::Taken => Ok(()),
            Said::Unknown => Err(answer::unknown_command()),
            Said::TooLate(command) => Err(answer::too_late(&mailbox::too_late(&command))),
        }
    }

    /// A request about commands has come.
    fn arrived(&self) -> Tracer {
        self.counters().received.add(1);
        let pipeline = self.pipeline();
        Tracer::start(
            pipeline.traces.next_request(),
            self.source(),
            pipeline.clock.wall(),
            pipeline.clock.now(),
        )
    }
}

/// Commands as the HTTP API writes them. Nothing may answer for the bridge, and an observer knows when it should have heard of
/// it again (RFC 7641 section 3.3.1).
fn content(commands: &[Command], observed: bool) -> Response {
    let body = json!({ "commands": mailbox::write(commands) }).to_string();
    let fresh = if observed { TELL_EVERY + ON_ITS_WAY } else { Duration::ZERO };
    let seconds = u32::try_from(fresh.as_secs()).unwrap_or(u32::MAX);
    Response::content(JSON, body).with_uint(number::MAX_AGE, seconds)
}
