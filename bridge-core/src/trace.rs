//! Where a message went, step by step: a bounded ring for operators. No payloads, no secrets. Not here: logs.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::counters::Refusal;
use crate::feed::Feed;
use crate::id::{DeviceId, IntegrationName, MessageId};
use crate::message::Kind;
use crate::signal::lock;
use crate::time::Timestamp;
use crate::verdict::Verdict;

/// One message, or one refused request.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Increasing; set by [`Traces::keep`].
    pub number: u64,
    /// One per request; stands in the log lines of the request too.
    pub request: u64,
    /// When the request was complete.
    pub at: Timestamp,
    /// Which integration.
    pub integration: IntegrationName,
    /// The message id, as soon as there was one.
    pub message: Option<MessageId>,
    /// The device, as soon as it was known.
    pub device: Option<DeviceId>,
    /// What it was about.
    pub kind: Option<Kind>,
    /// The steps that were taken, with microseconds since the request was complete.
    pub steps: Steps,
    /// How it ended.
    pub end: End,
    /// Why, for people, where that is not plain.
    pub detail: Option<String>,
}

/// Which traces; empty means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceFilter {
    /// Only of this device.
    pub device: Option<DeviceId>,
    /// Only of this integration.
    pub integration: Option<IntegrationName>,
    /// Only of this message.
    pub message: Option<MessageId>,
}

impl TraceFilter {
    /// Whether it lets a trace through.
    pub fn matches(&self, trace: &Trace) -> bool {
        self.integration.as_ref().is_none_or(|wanted| *wanted == trace.integration)
            && (self.device.is_none() || self.device == trace.device)
            && (self.message.is_none() || self.message == trace.message)
    }
}

/// A step on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The request was complete.
    Received,
    /// Its secret was right.
    Authenticated,
    /// The connector understood it.
    Decoded,
    /// Its device is known.
    Resolved,
    /// It was not accepted before.
    Deduplicated,
    /// Its payload is decoded and its measurements normalised, by a codec of the bridge.
    Normalised,
    /// It is on its way to the hub, or to the outbox.
    Queued,
    /// The hub acknowledged it.
    Acknowledged,
    /// It is in the outbox.
    Stored,
}

/// Steps that were taken, each once: the place of a step is its place in `ALL`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steps([Option<NonZeroU32>; Step::ALL.len()]);

impl Steps {
    /// Steps with microseconds since the request was complete, in the order of the way.
    pub fn iter(&self) -> impl Iterator<Item = (Step, u32)> {
        Step::ALL.into_iter().filter_map(|step| Some((step, self.0[step as usize]?.get() - 1)))
    }

    fn take(&mut self, step: Step, micros: u32) {
        self.0[step as usize] = NonZeroU32::MIN.checked_add(micros).or(Some(NonZeroU32::MAX));
    }
}

impl Step {
    /// Every step, in the order of the way.
    pub const ALL: [Self; 9] = [
        Self::Received,
        Self::Authenticated,
        Self::Decoded,
        Self::Resolved,
        Self::Deduplicated,
        Self::Normalised,
        Self::Queued,
        Self::Acknowledged,
        Self::Stored,
    ];

    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Authenticated => "authenticated",
            Self::Decoded => "decoded",
            Self::Resolved => "resolved",
            Self::Deduplicated => "deduplicated",
            Self::Normalised => "normalised",
            Self::Queued => "queued",
            Self::Acknowledged => "acknowledged",
            Self::Stored => "stored",
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With a verdict.
    Verdict(Verdict),
    /// Before there was an uplink.
    Refused(Refusal),
}

/// A trace being written.
#[derive(Debug, Clone)]
pub struct Tracer {
    started: Instant,
    /// Boxed: it passes through many hands.
    trace: Box<Trace>,
}

impl Tracer {
    /// Starts with the step `Received`.
    pub fn start(request: u64, integration: IntegrationName, at: Timestamp, started: Instant) -> Self {
        let mut steps = Steps::default();
        steps.take(Step::Received, 0);
        let trace = Trace {
            number: 0,
            request,
            at,
            integration,
            message: None,
            device: None,
            kind: None,
            steps,
            end: End::Refused(Refusal::Malformed),
            detail: None,
        };
        Self { started, trace: Box::new(trace) }
    }

    /// Notes a step.
    pub fn step(&mut self, step: Step, now: Instant) {
        let micros = now.saturating_duration_since(self.started).as_micros();
        self.trace.steps.take(step, u32::try_from(micros).unwrap_or(u32::MAX));
    }

    /// What the trace holds so far.
    pub fn trace_mut(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// When the request was complete.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Ends it.
    #[must_use]
    pub fn end(mut self, end: End, detail: Option<String>) -> Box<Trace> {
        self.trace.end = end;
        self.trace.detail = detail;
        self.trace
    }
}

/// The ring.
#[derive(Debug)]
pub struct Traces {
    ring: Mutex<(VecDeque<Box<Trace>>, u64)>,
    keep: usize,
    requests: AtomicU64,
    feed: Feed,
}

impl Traces {
    /// A ring of that many traces.
    pub fn new(keep: usize) -> Self {
        Self { ring: Mutex::default(), keep: keep.max(1), requests: AtomicU64::new(0), feed: Feed::default() }
    }

    /// A number for a request, from 1: whichever edge took it.
    pub fn next_request(&self) -> u64 {
        self.requests.fetch_add(1, Relaxed) + 1
    }

    /// The live flow of them.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Adds a trace; the oldest goes when the ring is full.
    pub fn keep(&self, mut trace: Box<Trace>) {
        let gone = {
            let mut ring = lock(&self.ring);
            ring.1 += 1;
            trace.number = ring.1;
            // Under the lock, so that everybody hears them in the order of their numbers.
            self.feed.publish(&trace);
            let gone = if ring.0.len() >= self.keep { ring.0.pop_front() } else { None };
            ring.0.push_back(trace);
            gone
        };
        drop(gone);
    }

    /// Up to `limit` traces with a number above `after` that match, in order. With none given, the newest.
    pub fn after(&self, filter: &TraceFilter, after: Option<u64>, limit: usize) -> Vec<Trace> {
        let ring = lock(&self.ring);
        let skip = after.map_or(0, |after| ring.0.partition_point(|trace| trace.number <= after));
        let matching = ring.0.range(skip..).map(Box::as_ref).filter(|trace| filter.matches(trace));
        if after.is_some() {
            return matching.take(limit).cloned().collect();
        }
        let mut newest: Vec<Trace> = matching.rev().take(limit).cloned().collect();
        newest.reverse();
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stand_at_their_index_and_keep_their_time() {
        for (n, step) in Step::ALL.into_iter().enumerate() {
            assert_eq!(step as usize, n);
        }
        let mut steps = Steps::default();
        steps.take(Step::Queued, 7);
        steps.take(Step::Received, 0);
        steps.take(Step::Stored, u32::MAX);
        let all: Vec<_> = steps.iter().collect();
        assert_eq!(all, [(Step::Received, 0), (Step::Queued, 7), (Step::Stored, u32::MAX - 1)]);
    }

    #[test]
    fn the_ring_keeps_the_newest() {
        let traces = Traces::new(3);
        let farm = IntegrationName::parse("farm").unwrap();
        for n in 0..5 {
            let tracer = Tracer::start(n, farm.clone(), Timestamp::from_seconds(0).unwrap(), Instant::now());
            traces.keep(tracer.end(End::Verdict(Verdict::Delivered), None));
        }
        let numbers = |traces: Vec<Trace>| traces.iter().map(|t| t.number).collect::<Vec<_>>();
        let all = TraceFilter::default();
        assert_eq!(numbers(traces.after(&all, None, 2)), [4, 5]);
        assert_eq!(numbers(traces.after(&all, Some(0), 10)), [3, 4, 5]);
        assert_eq!(numbers(traces.after(&all, Some(4), 10)), [5]);
        let city = TraceFilter { integration: IntegrationName::parse("city").ok(), ..all.clone() };
        assert_eq!(numbers(traces.after(&city, None, 2)), [0; 0]);
        let device = TraceFilter { device: DeviceId::parse("d").ok(), ..all };
        assert_eq!(numbers(traces.after(&device, Some(0), 2)), [0; 0]);
    }
}
