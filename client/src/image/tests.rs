//! Images against registries that lie.
