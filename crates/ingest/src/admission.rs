//! Who is let in, and how much of it: open connections and bytes in flight.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts open connections, in all and by address.
#[derive(Debug)]
pub(crate) struct Connections {
    open: AtomicUsize,
    by_network: Mutex<HashMap<IpAddr, usize>>,
    max: usize,
    per_ip_max: usize,
}

impl Connections {
    pub(crate) fn new(max: usize, per_ip_max: usize) -> Self {
        Self {
            open: AtomicUsize::new(0),
            by_network: Mutex::default(),
            max,
            per_ip_max,
        }
    }

    /// `None` when there are too many, in all or from this address: close the connection.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Admitted> {
        let network = network_of(ip);
        let mut by_network = self.by_network();
        let mine = by_network.get(&network).copied().unwrap_or(0);
        if self.open.load(Relaxed) >= self.max || mine >= self.per_ip_max {
            return None;
        }
        by_network.insert(network, mine + 1);
        self.open.fetch_add(1, Relaxed);
        Some(Admitted {
            connections: Arc::clone(self),
            network,
        })
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    fn by_network(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_network
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open connection; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Admitted {
    connections: Arc<Connections>,
    network: IpAddr,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Relaxed);
        let mut by_network = self.connections.by_network();
        if let Some(count) = by_network.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                by_network.remove(&self.network);
            }
        }
    }
}

/// What counts as one address: an IPv6 customer commands a whole /64.
pub(crate) fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        ip => ip,
    }
}

/// Bytes of bodies that are in memory.
#[derive(Debug)]
pub(crate) struct InFlight {
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl InFlight {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            bytes_max,
        }
    }

    pub(crate) fn reserve(self: &Arc<Self>) -> Reservation {
        Reservation {
            in_flight: Arc::clone(self),
            bytes: 0,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }
}

/// The share of one request; dropping it gives the share back.
#[derive(Debug)]
pub(crate) struct Reservation {
    in_flight: Arc<InFlight>,
    bytes: usize,
}

impl Reservation {
    /// Takes `more` bytes. False when there is no room: refuse the request.
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        let before = self.in_flight.bytes.fetch_add(more, Relaxed);
        self.bytes += more;
        before.saturating_add(more) <= self.in_flight.bytes_max
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.in_flight.bytes.fetch_sub(self.bytes, Relaxed);
    }
}
