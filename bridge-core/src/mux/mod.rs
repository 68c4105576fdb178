//! The multiplexer of virtual device connections: decides which link carries a message, when it is sent, when it goes
//! to the outbox, and what the sender is told. A state machine: no I/O, no clock, no locks. Not here: carrying the
//! decisions out ([`crate::delivery`]).
//!
//! # Protocol
//! Inputs are [`submit`](Mux::submit) and `handle_*`; after each, call [`poll_output`](Mux::poll_output) until it is
//! empty and carry the outputs out *in that order*. [`poll_timeout`](Mux::poll_timeout) says when
//! [`handle_timeout`](Mux::handle_timeout) is due and why. `now` never goes back.
//!
//! # Rules
//! 1. A message with a good link and no backlog of its lane is published at once. Its acknowledgement is its answer.
//! 2. Not acknowledged within `ack_wait`, link lost, or no link: it is appended to the outbox, and *that* is its answer.
//!    The entry takes over the publish that is in flight; it never becomes a second one beside it.
//! 3. While a lane has entries in the outbox, its newer messages go there too. Entries are published in the order of
//!    their `seq`. What was in flight on a lost link is published again, from the outbox alone.
//! 4. A lane is on one link as long as anything of it is queued or in flight there.
//! 5. Everything is bounded: waiting senders, entries in memory, publishes per link.

mod drain;
mod lane;
mod link;
mod outcome;
mod scaling;
mod strategy;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drain::Drain;
use lane::Lane;
use link::{Link, Source};
pub use outcome::{Outcome, Output, Stats};
pub use strategy::Strategy;

use crate::hash::QuickHash;
use crate::id::MessageId;
use crate::message::Message;
use crate::ports::{HubRefusal, LinkId, Seq, Token, TokenHash};

/// The settings of a mux.
#[derive(Debug, Clone)]
pub struct MuxConfig {
    /// How links are shared.
    pub strategy: Strategy,
    /// How long a sender waits for the hub before the outbox takes over.
    pub ack_wait: Duration,
    /// Every message goes to the outbox first.
    pub disk_first: bool,
    /// Senders that may wait at once.
    pub max_waiting: usize,
    /// Entries that the outbox may hold.
    pub max_stored: u64,
    /// Entries that are published again per second, at most; none for no limit of our own.
    pub drain_rate: Option<u32>,
}

/// The multiplexer. See the [module](self) for its protocol and rules.
#[derive(Debug)]
pub struct Mux {
    config: MuxConfig,
    links: BTreeMap<LinkId, Link>,
    lanes: HashMap<Arc<str>, Lane, QuickHash>,
    live: HashMap<Token, Live, TokenHash>,
    by_seq: HashMap<Seq, Token, QuickHash>,
    /// In flight, but their senders were told that they were not taken.
    disowned: HashMap<MessageId, Token, QuickHash>,
    /// Ends of `ack_wait`, in order; entries of settled messages are passed over.
    deadlines: VecDeque<(Instant, Token)>,
    outputs: VecDeque<Output>,
    waiting: usize,
    next_token: u64,
    last_seq: Seq,
    drain: Drain,
    /// When links were opened for the last time, or those came up.
    last_growth: Option<Instant>,
    load_checked: Option<Instant>,
    closing: bool,
}

/// One message in memory.
#[derive(Debug)]
struct Live {
    lane: Arc<str>,
    message: Arc<Message>,
    /// Its sender is still waiting for an answer.
    waiting: bool,
    /// Its place in the outbox, and whether it is safe there.
    entry: Option<(Seq, Entry)>,
    place: Place,
    /// It was read back from the outbox.
    loaded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// The append is under way.
    Pending,
    /// On disk.
    Safe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// On no link.
    Nowhere,
    /// Waits for the window of its lane's link.
    Queued(Source),
    /// Published.
    InFlight(Source),
    /// The hub has answered for it; only its pending append keeps it here.
    Settled,
}

/// How long a link rests after the hub asked for a pause.
const PAUSE: Duration = Duration::from_secs(1);

impl Mux {
    /// A mux over an outbox that holds `lanes` (entries per lane) and whose highest `seq` ever was `last_seq`.
    pub fn new(config: MuxConfig, lanes: Vec<(String, u64)>, last_seq: Seq, now: Instant) -> Self {
        let mut drain = Drain::default();
        let mut known = HashMap::with_capacity_and_hasher(lanes.len(), QuickHash::default());
        for (lane, stored) in lanes {
            drain.spilled += stored;
            known.insert(Arc::from(lane), Lane { stored, ..Lane::default() });
        }
        let mut mux = Self {
            links: BTreeMap::new(),
            lanes: known,
            live: HashMap::default(),
            by_seq: HashMap::default(),
            disowned: HashMap::default(),
            deadlines: VecDeque::new(),
            outputs: VecDeque::new(),
            waiting: 0,
            next_token: 0,
            last_seq,
            drain,
            last_growth: None,
            load_checked: Some(now),
            closing: false,
            config,
        };
        mux.open_links(mux.config.strategy.initial());
        mux
    }

    /// Takes a message. Its answer comes as [`Output::Answer`] with this token: a new one, or that of a publish in flight
    /// whose sender was told [`Outcome::Unavailable`] and sends it again.
    pub fn submit(&mut self, message: Arc<Message>, now: Instant) -> Token {
        let full = self.waiting >= self.config.max_waiting || self.stored() >= self.config.max_stored;
        let closed = self.closing || full;
        if !closed && let Some(flying) = self.disowned.remove(&message.id) {
            self.own(flying, now);
            return flying;
        }
        let token = Token(self.next_token);
        self.next_token += 1;
        if closed {
            self.outputs.push_back(Output::Answer { token, outcome: Outcome::Unavailable });
            return token;
        }
        let lane_name = message.lane();
        let lane = self.lanes.entry(lane_name.clone()).or_default();
        let direct = lane.stored == 0 && !self.config.disk_first;
        self.waiting += 1;
        let live = Live {
            lane: lane_name,
            message,
            waiting: true,
            entry: None,
            place: Place::Nowhere,
            loaded: false,
        };
        self.live.insert(token, live);
        if direct && let Some(link) = self.queue(token) {
            self.deadlines.push_back((now + self.config.ack_wait, token));
            self.pump(link, now);
            self.grow_if_crowded(now);
        } else {
            self.store(token);
        }
        token
    }

    /// A link came up.
    pub fn handle_link_up(&mut self, link: LinkId, window: usize, now: Instant) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.window = Some(window.max(1));
        state.paused_until = None;
        // A step of growth is one when its links are there: lanes stay on theirs while something is in flight.
        self.last_growth = self.last_growth.map(|_| now);
        self.load_if_due(now);
    }

    /// A link went down: what was on it goes on from the outbox.
    pub fn handle_link_down(&mut self, link: LinkId, now: Instant) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.window = None;
        let fresh = state.fresh.drain(..).map(|token| (token, Source::Sender));
        let stored = state.stored.drain(..).map(|token| (token, Source::Outbox));
        // Not what left these queues: taken over, it may be on another link by now.
        let queued = fresh.chain(stored).filter(|(token, source)| {
            self.live.get(token).is_some_and(|live| live.place == Place::Queued(*source))
        });
        let queued: Vec<Token> = queued.map(|(token, _)| token).collect();
        let mut tokens: Vec<Token> = state.in_flight.drain().chain(queued).collect();
        if state.retiring {
            self.links.remove(&link);
            self.outputs.push_back(Output::Close { link });
        }
        // Tokens are given out in order of submission, so this is the order of every lane.
        tokens.sort_unstable();
        for token in tokens {
            self.take_off_link(token);
            self.park(token);
        }
        self.load_if_due(now);
    }

    /// The hub acknowledged a publish.
    pub fn handle_acknowledged(&mut self, token: Token, now: Instant) {
        let Some((lane, link)) = self.leave_flight(token) else { return };
        self.settle(token, Outcome::Delivered);
        self.pump(link, now);
        self.forget_if_idle(&lane);
        self.close_if_retired();
        self.load_if_due(now);
    }

    /// The hub said no to a publish.
    pub fn handle_refused(&mut self, token: Token, refusal: HubRefusal, now: Instant) {
        let Some((lane, _)) = self.leave_flight(token) else { return };
        match refusal {
            HubRefusal::Never(detail) => self.settle(token, Outcome::Refused(detail)),
            HubRefusal::Later(_) => {
                if let Some(link) = self.lanes.get(&lane).and_then(|lane| lane.link)
                    && let Some(link) = self.links.get_mut(&link)
                {
                    link.paused_until = Some(now + PAUSE);
                }
                self.park(token);
                self.spill_queued(&lane);
            }
        }
        self.pump_lane(&lane, now);
        self.forget_if_idle(&lane);
        self.load_if_due(now);
    }

    /// An append ended: durable when `ok`. Otherwise it is taken back when the store works again, should it be there all
    /// the same. In the order of the appends.
    pub fn handle_appended(&mut self, seq: Seq, ok: bool, now: Instant) {
        let Some(&token) = self.by_seq.get(&seq) else { return };
        let Some(live) = self.live.get_mut(&token) else { return };
        let lane = live.lane.clone();
        let (id, place) = (live.message.id, live.place);
        if ok {
            live.entry = Some((seq, Entry::Safe));
            self.answer(token, Outcome::Stored);
            self.take_back_doubtful();
            match place {
                Place::Settled => {
                    self.drop_entry(token, seq);
                    self.live.remove(&token);
                }
                Place::Queued(_) | Place::InFlight(_) => {}
                Place::Nowhere => self.keep_or_spill(token),
            }
        } else {
            live.entry = None;
            self.by_seq.remove(&seq);
            self.drain.doubt(seq);
            self.drain.resident -= 1;
            if let Some(lane) = self.lanes.get_mut(&lane) {
                lane.stored -= 1;
                lane.resident -= 1;
            }
            self.answer(token, Outcome::Unavailable);
            if matches!(place, Place::Nowhere | Place::Settled) {
                self.live.remove(&token);
            } else {
                self.disowned.insert(id, token);
            }
        }
        self.pump_lane(&lane, now);
        self.forget_if_idle(&lane);
        self.load_if_due(now);
    }

    /// Does what is due: see [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, token)) = self.deadlines.front() {
            let open = self.live.get(&token).is_some_and(|live| live.waiting && live.entry.is_none());
            if open && at > now {
                break;
            }
            self.deadlines.pop_front();
            if open {
                self.take_over_lane_of(token);
            }
        }
        let due: Vec<LinkId> = self
            .links
            .iter_mut()
            .filter(|(_, link)| link.paused_until.is_some_and(|until| until <= now))
            .map(|(id, link)| {
                link.paused_until = None;
                *id
            })
            .collect();
        for link in due {
            self.pump(link, now);
        }
        if self.drain.not_before.is_some_and(|at| at <= now) {
            self.drain.not_before = None;
        }
        self.shrink_if_idle(now);
        self.load_if_due(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due next, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let mut first = self.deadlines.front().map(|(at, _)| (*at, "acknowledgement late"));
        // After every step: so without a list.
        let mut consider = |at: Instant, why| {
            if first.is_none_or(|(first, _)| at < first) {
                first = Some((at, why));
            }
        };
        for link in self.links.values() {
            if let Some(at) = link.paused_until {
                consider(at, "pause ends");
            }
        }
        if let Some(at) = self.drain.not_before {
            consider(at, "outbox pace");
        }
        if let Some(at) = self.load_checked
            && self.links.len() > self.config.strategy.initial() as usize
        {
            consider(at + strategy::SHRINK_AFTER, "load check");
        }
        first
    }

    /// The next thing to carry out.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes no more messages, sends nothing more from the outbox, and lets what is in flight end.
    pub fn close(&mut self) {
        self.closing = true;
    }

    /// Ends the wait of a [`close`](Self::close): everything that is still open goes to the outbox.
    pub fn close_now(&mut self) {
        let lanes: Vec<Arc<str>> = self
            .lanes
            .iter()
            .filter(|(_, lane)| !lane.fresh.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        for lane in lanes {
            self.take_over(&lane);
        }
    }

    /// Nobody waits for an answer and nothing is on a link.
    pub fn is_quiet(&self) -> bool {
        self.waiting == 0 && self.links.values().all(Link::is_empty)
    }

    /// Counts for operators.
    pub fn stats(&self) -> Stats {
        Stats {
            waiting: self.waiting,
            in_flight: self.links.values().map(|link| link.in_flight.len()).sum(),
            stored: self.stored(),
            resident: self.drain.resident,
            links_open: self.links.len(),
            links_up: self.links.values().filter(|link| link.window.is_some()).count(),
        }
    }

    fn stored(&self) -> u64 {
        self.drain.spilled + self.drain.resident as u64
    }

    // --- one message ---

    /// Puts a message on its lane's link, or on the link that the strategy chooses: which it is. None when no link is up.
    fn queue(&mut self, token: Token) -> Option<LinkId> {
        let live = self.live.get_mut(&token)?;
        let lane = self.lanes.entry(live.lane.clone()).or_default();
        let chosen = match lane.link.filter(|_| lane.on_link > 0) {
            Some(link) => Some(link),
            None => {
                let up = self.links.iter().filter(|(_, link)| link.is_routable()).map(|(id, _)| *id);
                self.config.strategy.choose(&live.lane, up)
            }
        };
        let id = chosen?;
        let link = self.links.get_mut(&id)?;
        lane.link = Some(id);
        lane.on_link += 1;
        let (queue, source) = match live.entry {
            None => {
                lane.fresh.push(token);
                (&mut link.fresh, Source::Sender)
            }
            Some(_) => (&mut link.stored, Source::Outbox),
        };
        live.place = Place::Queued(source);
        queue.push_back(token);
        Some(id)
    }

    /// A sender waits again for what is in flight already.
    fn own(&mut self, token: Token, now: Instant) {
        let Some(live) = self.live.get_mut(&token) else { return };
        live.waiting = true;
        self.waiting += 1;
        self.deadlines.push_back((now + self.config.ack_wait, token));
        self.lanes.entry(live.lane.clone()).or_default().fresh.push(token);
    }

    /// Appends a message to the outbox.
    fn store(&mut self, token: Token) {
        let Some(live) = self.live.get_mut(&token) else { return };
        self.last_seq += 1;
        let seq = self.last_seq;
        live.entry = Some((seq, Entry::Pending));
        self.by_seq.insert(seq, token);
        self.drain.resident += 1;
        let lane = self.lanes.entry(live.lane.clone()).or_default();
        lane.stored += 1;
        lane.resident += 1;
        self.outputs.push_back(Output::Append {
            seq,
            lane: live.lane.clone(),
            message: live.message.clone(),
        });
    }

    /// A stored message that is on no link: queued when the order allows it, else left to the outbox.
    fn keep_or_spill(&mut self, token: Token) {
        let room = self.drain.resident <= self.keep_limit();
        let in_order = self
            .live
            .get(&token)
            .and_then(|live| self.lanes.get(&live.lane))
            .is_some_and(|lane| lane.spilled() == 0);
        if self.closing || !room || !in_order || self.queue(token).is_none() {
            self.spill(token);
        }
    }

    /// A message that lost its link: on to the outbox, by whatever way is left.
    fn park(&mut self, token: Token) {
        let Some(live) = self.live.get(&token) else { return };
        match live.entry {
            None if live.waiting => self.take_over_lane_of(token),
            // Its sender was told that it was not taken.
            None => {
                let (lane, id) = (live.lane.clone(), live.message.id);
                self.disowned.remove(&id);
                self.live.remove(&token);
                self.forget_if_idle(&lane);
            }
            Some((_, Entry::Pending)) => {}
            Some((_, Entry::Safe)) => self.spill(token),
        }
    }

    /// Forgets a stored message; the outbox has it.
    fn spill(&mut self, token: Token) {
        let Some(live) = self.live.remove(&token) else { return };
        let Some((seq, _)) = live.entry else { return };
        self.by_seq.remove(&seq);
        self.drain.resident -= 1;
        self.drain.loaded -= usize::from(live.loaded);
        self.drain.spilled += 1;
        self.rewind(seq - 1);
        if let Some(lane) = self.lanes.get_mut(&live.lane) {
            lane.resident -= 1;
        }
    }

    /// Hands what waits for its window back to the outbox, where an earlier entry of the lane has just gone: it may not be
    /// overtaken.
    fn spill_queued(&mut self, lane: &Arc<str>) {
        let Some(link) = self.lanes.get(lane).and_then(|lane| lane.link) else { return };
        let Some(link) = self.links.get(&link) else { return };
        let waits = |live: &Live| live.lane == *lane && live.place == Place::Queued(Source::Outbox);
        let queued = link.stored.iter().copied().filter(|token| self.live.get(token).is_some_and(waits));
        let queued: Vec<Token> = queued.collect();
        for token in queued {
            self.take_off_link(token);
            self.spill(token);
        }
    }

    fn take_over_lane_of(&mut self, token: Token) {
        if let Some(lane) = self.live.get(&token).map(|live| live.lane.clone()) {
            self.take_over(&lane);
        }
    }

    /// Stores all of a lane that is not stored yet, in order. What is in flight stays in flight; what waits for its window
    /// goes behind the outbox of its lane from now on.
    fn take_over(&mut self, lane: &Arc<str>) {
        let fresh = self.lanes.get_mut(lane).map(|lane| std::mem::take(&mut lane.fresh)).unwrap_or_default();
        for token in fresh {
            if self.live.get(&token).is_some_and(|live| matches!(live.place, Place::Queued(_))) {
                self.take_off_link(token);
            }
            self.store(token);
        }
    }

    /// The hub has decided about a message.
    fn settle(&mut self, token: Token, outcome: Outcome) {
        let Some(live) = self.live.get_mut(&token) else { return };
        if let Some(lane) = self.lanes.get_mut(&live.lane) {
            lane.fresh.remove(token);
        }
        let was_waiting = live.waiting;
        match (live.entry, outcome) {
            (None, outcome) => {
                let accepted = (!was_waiting && outcome == Outcome::Delivered).then_some(live.message.id);
                self.disowned.remove(&live.message.id);
                self.answer(token, outcome);
                self.live.remove(&token);
                self.outputs.extend(accepted.map(Output::LateDelivery));
            }
            (Some((_, Entry::Pending)), outcome) => {
                live.place = Place::Settled;
                self.answer(token, outcome);
            }
            (Some((seq, Entry::Safe)), Outcome::Refused(detail)) => {
                let message = live.message.clone();
                self.outputs.push_back(Output::Bury { seq, message, detail });
                self.account_removed(token, seq);
                self.live.remove(&token);
            }
            (Some((seq, Entry::Safe)), _) => {
                self.drop_entry(token, seq);
                self.live.remove(&token);
            }
        }
    }

    fn drop_entry(&mut self, token: Token, seq: Seq) {
        self.outputs.push_back(Output::Remove { seq });
        self.account_removed(token, seq);
    }

    fn account_removed(&mut self, token: Token, seq: Seq) {
        self.by_seq.remove(&seq);
        self.drain.resident -= 1;
        if let Some(loading) = &mut self.drain.loading {
            loading.removed.insert(seq);
        }
        let Some(live) = self.live.get(&token) else { return };
        self.drain.loaded -= usize::from(live.loaded);
        if let Some(lane) = self.lanes.get_mut(&live.lane) {
            lane.stored -= 1;
            lane.resident -= 1;
        }
    }

    fn answer(&mut self, token: Token, outcome: Outcome) {
        if let Some(live) = self.live.get_mut(&token)
            && std::mem::take(&mut live.waiting)
        {
            self.waiting -= 1;
            self.outputs.push_back(Output::Answer { token, outcome });
        }
    }

    // --- links ---

    /// Takes a message out of flight; its lane and that lane's link, when it was in flight at all.
    fn leave_flight(&mut self, token: Token) -> Option<(Arc<str>, LinkId)> {
        let live = self.live.get_mut(&token)?;
        let Place::InFlight(source) = live.place else { return None };
        let lane = self.lanes.get_mut(&live.lane)?;
        let id = lane.link?;
        let link = self.links.get_mut(&id)?;
        link.in_flight.remove(&token);
        link.stored_in_flight -= usize::from(source == Source::Outbox);
        lane.on_link -= 1;
        live.place = Place::Nowhere;
        Some((live.lane.clone(), id))
    }

    fn take_off_link(&mut self, token: Token) {
        let Some(live) = self.live.get_mut(&token) else { return };
        let place = std::mem::replace(&mut live.place, Place::Nowhere);
        let Some(lane) = self.lanes.get_mut(&live.lane) else { return };
        match place {
            Place::Queued(_) => lane.on_link -= 1,
            Place::InFlight(source) => {
                lane.on_link -= 1;
                if let Some(link) = lane.link.and_then(|link| self.links.get_mut(&link)) {
                    link.stored_in_flight -= usize::from(source == Source::Outbox);
                }
            }
            Place::Nowhere | Place::Settled => live.place = place,
        }
    }

    fn pump_lane(&mut self, lane: &Arc<str>, now: Instant) {
        if let Some(link) = self.lanes.get(lane).and_then(|lane| lane.link) {
            self.pump(link, now);
        }
    }

    /// Publishes what fits the window of a link.
    fn pump(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.links.get_mut(&id) else { return };
        while link.has_room(now) {
            let Some((queue, source)) = link.next_queue() else { break };
            let Some(token) = queue.pop_front() else { break };
            // Not if it left this queue: settled, or taken over and queued once more in the other one.
            let live = self.live.get_mut(&token).filter(|live| live.place == Place::Queued(source));
            let Some(live) = live else { continue };
            live.place = Place::InFlight(source);
            link.stored_in_flight += usize::from(source == Source::Outbox);
            link.in_flight.insert(token);
            link.peak = link.peak.max(link.in_flight.len());
            self.outputs.push_back(Output::Publish { link: id, token, message: live.message.clone() });
        }
        // The front of the deadlines is kept short as acknowledgements come in.
        while let Some((_, token)) = self.deadlines.front()
            && !self.live.get(token).is_some_and(|live| live.waiting && live.entry.is_none())
        {
            self.deadlines.pop_front();
        }
    }

    fn forget_if_idle(&mut self, lane: &Arc<str>) {
        if self.lanes.get(lane).is_some_and(Lane::is_idle) {
            self.lanes.remove(lane);
        }
    }
}
