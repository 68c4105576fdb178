//! One life of the bridge's core over a store that outlives it: everything of the pipeline, its tasks polled by hand. Not
//! here: when they are polled, and what is asserted.

use std::pin::Pin;
use std::sync::Arc;

use bridge_core::counters::IntegrationCounters;
use bridge_core::dedup::{DedupConfig, Deduplicator};
use bridge_core::delivery::Delivery;
use bridge_core::mux::MuxConfig;
use bridge_core::pipeline::{Intake, Integration, Pipeline, States};
use bridge_core::ports::{NoCodecs, RawRequest};
use bridge_core::registrar::{DeviceRule, Register, Registrar};
use bridge_core::testing::{FakeHub, Faulty, ManualClock, MemoryStore, block_on};
use bridge_core::trace::{Tracer, Traces};
use bridge_core::twin::{TwinKeeper, TwinLimits};
use bridge_core::{Decoded, IntegrationName, Uplink, Verdict};

pub(crate) type Store = Faulty<MemoryStore>;
/// An acceptance under way.
pub(crate) type Accepting = Pin<Box<dyn Future<Output = Vec<Verdict>>>>;

/// See the module.
pub(crate) struct Life {
    pub(crate) hub: Arc<FakeHub>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) delivery: Arc<Delivery>,
    integration: Arc<Integration>,
    /// First those that never end: the store's, the timer's, the writer of message ids.
    pub(crate) tasks: Vec<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Life {
    /// Begins over what the store holds; the first links are asked for.
    pub(crate) fn begin(
        (mux, dedup): (MuxConfig, DedupConfig),
        register: Register,
        store: &Arc<Store>,
        clock: &Arc<ManualClock>,
    ) -> Self {
        let hub = Arc::new(FakeHub::default());
        let dedup = Arc::new(block_on(Deduplicator::open(dedup, store.clone(), clock.clone())).unwrap());
        let late = dedup.clone();
        let delivery = Delivery::open(
            mux,
            hub.clone(),
            store.clone(),
            store.clone(),
            clock.clone(),
            Box::new(move |id| late.remember(id)),
        );
        let delivery = Arc::new(block_on(delivery).unwrap());
        let pipeline = Arc::new(Pipeline {
            registrar: block_on(Registrar::open(store.clone())).unwrap(),
            dedup: dedup.clone(),
            codecs: Arc::new(NoCodecs),
            archive: None,
            listener: None,
            twins: Some(Arc::new(TwinKeeper::new(store.clone(), clock.clone(), TwinLimits::default()))),
            delivery: delivery.clone(),
            dead_letters: store.clone(),
            traces: Arc::new(Traces::new(100)),
            clock: clock.clone(),
            states: States::default(),
        });
        let integration = Arc::new(Integration {
            name: IntegrationName::parse("farm").unwrap(),
            source: "test",
            devices: DeviceRule { register, ..DeviceRule::default() },
            counters: Arc::new(IntegrationCounters::default()),
        });
        delivery.start();
        let (storing, timing) = (delivery.clone(), delivery.clone());
        Self {
            hub,
            pipeline,
            delivery,
            integration,
            tasks: vec![
                Box::pin(async move { storing.run_store().await }),
                Box::pin(async move { timing.run_timer().await }),
                Box::pin(async move { dedup.run().await }),
            ],
        }
    }

    /// One request with these uplinks; nothing happens before it is polled.
    pub(crate) fn accept(&self, uplinks: Vec<Uplink>) -> Accepting {
        let (pipeline, integration) = (self.pipeline.clone(), self.integration.clone());
        Box::pin(async move {
            let (received_at, now) = (pipeline.clock.wall(), pipeline.clock.now());
            let intake = Intake {
                integration: &integration,
                decoded: Decoded { uplinks, problems: Vec::new() },
                received_at,
                request: &|| RawRequest { body: b"kept".to_vec(), ..RawRequest::default() },
                replayed: false,
                tracer: Tracer::start(1, integration.name.clone(), received_at, now),
            };
            pipeline.accept(intake).await
        })
    }
}
