//! The configuration as a [`Registry`]: names become numbers.

use std::collections::HashMap;
use std::sync::Arc;

use model::{
    Connection, ConnectionId, Destination, DestinationId, Name, Policy, Registry, Source, SourceId,
};

use super::{Config, ConnectionEntry, DestinationEntry, SourceEntry};

impl Config {
    /// The registry that this configuration says, once each name has its number.
    ///
    /// # Errors
    /// Those of the closures, which ask the store. They get the names in the order of the file
    /// and must answer with as many numbers.
    pub fn to_registry<E>(
        &self,
        source_ids: impl FnOnce(&[Name]) -> Result<Vec<SourceId>, E>,
        destination_ids: impl FnOnce(&[Name]) -> Result<Vec<DestinationId>, E>,
        connection_ids: impl FnOnce(&[Name]) -> Result<Vec<ConnectionId>, E>,
    ) -> Result<Registry, E> {
        let names: Vec<Name> = self
            .sources
            .iter()
            .map(|entry| entry.name.clone())
            .collect();
        let sources = source_ids(&names)?;
        let of_source: HashMap<&Name, SourceId> = names.iter().zip(sources).collect();
        let names: Vec<Name> = self
            .destinations
            .iter()
            .map(|entry| entry.name.clone())
            .collect();
        let destinations = destination_ids(&names)?;
        let of_destination: HashMap<&Name, DestinationId> =
            names.iter().zip(destinations).collect();
        let names: Vec<Name> = self
            .connections
            .iter()
            .map(|entry| entry.name.clone())
            .collect();
        let connections = connection_ids(&names)?;
        // Neighbours in a file often say the same.
        let mut policy = Arc::new(Policy::default());
        let checked = "was checked when the configuration was read";
        Ok(Registry {
            sources: self
                .sources
                .iter()
                .map(|entry| entry.source(*of_source.get(&entry.name).expect(checked)))
                .collect(),
            destinations: self
                .destinations
                .iter()
                .map(|entry| {
                    let id = *of_destination.get(&entry.name).expect(checked);
                    Arc::new(entry.destination(id))
                })
                .collect(),
            connections: self
                .connections
                .iter()
                .zip(connections)
                .map(|(entry, id)| {
                    let source = *of_source.get(&entry.source).expect(checked);
                    let destination = *of_destination.get(&entry.destination).expect(checked);
                    if *policy != entry.policy {
                        policy = Arc::new(entry.policy.clone());
                    }
                    Arc::new(entry.connection(id, source, destination, &policy))
                })
                .collect(),
        })
    }
}

impl SourceEntry {
    fn source(&self, id: SourceId) -> Source {
        Source {
            id,
            name: self.name.clone(),
            write_keys: self.write_keys.clone(),
            enabled: self.enabled,
            rate_limit_per_s: self.rate_limit_per_s,
        }
    }
}

impl DestinationEntry {
    fn destination(&self, id: DestinationId) -> Destination {
        Destination {
            id,
            name: self.name.clone(),
            definition: self.definition.clone(),
            enabled: self.enabled,
            settings: self.settings.clone(),
        }
    }
}

impl ConnectionEntry {
    fn connection(
        &self,
        id: ConnectionId,
        source: SourceId,
        destination: DestinationId,
        policy: &Arc<Policy>,
    ) -> Connection {
        Connection {
            id,
            name: self.name.clone(),
            source,
            destination,
            enabled: self.enabled,
            filter: self.filter.clone(),
            transform: self.transform.clone(),
            policy: Arc::clone(policy),
        }
    }
}
