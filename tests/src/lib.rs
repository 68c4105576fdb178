//! Shared by the whole-system tests: the bridge, brokers and sources as real processes on loopback. Not here: assertions.
