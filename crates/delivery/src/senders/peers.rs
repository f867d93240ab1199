//! What a sender keeps of the services that it lately sent to: one peer for each destination.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use model::DestinationId;
use tokio::time::Instant;

/// One shard's, of one sender.
pub(super) struct Peers<S, T> {
    max: usize,
    idle_max: Duration,
    kept: RefCell<HashMap<DestinationId, Rc<Peer<S, T>>>>,
}

/// One destination's, as long as its settings are the same.
pub(super) struct Peer<S, T> {
    /// What the settings say: where, as whom.
    pub(super) target: S,
    /// Connections, tokens, what was learnt.
    pub(super) state: T,
    used_at: Cell<Instant>,
}

impl<S, T> Peer<S, T> {
    pub(super) fn touch(&self, now: Instant) {
        self.used_at.set(now);
    }
}

impl<S: PartialEq, T> Peers<S, T> {
    /// Keeps at most `max` that nothing is under way with, and none that was not used for so long.
    pub(super) fn new(max: usize, idle_ms_max: u64) -> Self {
        Self {
            max: max.max(1),
            idle_max: Duration::from_millis(idle_ms_max),
            kept: RefCell::default(),
        }
    }

    pub(super) fn find(
        &self,
        destination: DestinationId,
        target: &S,
        now: Instant,
    ) -> Option<Rc<Peer<S, T>>> {
        let kept = self.kept.borrow();
        let peer = kept
            .get(&destination)
            .filter(|peer| peer.target == *target)?;
        peer.touch(now);
        Some(Rc::clone(peer))
    }

    /// One of other settings goes, when what is under way with it is done.
    pub(super) fn add(
        &self,
        destination: DestinationId,
        target: S,
        state: T,
        now: Instant,
    ) -> Rc<Peer<S, T>> {
        let peer = Rc::new(Peer {
            target,
            state,
            used_at: Cell::new(now),
        });
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= self.max && !kept.contains_key(&destination) {
            let unused = kept.iter().filter(|(_, peer)| Rc::strong_count(peer) == 1);
            let oldest = unused.min_by_key(|(_, peer)| peer.used_at.get());
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                kept.remove(&oldest);
            }
        }
        kept.insert(destination, Rc::clone(&peer));
        peer
    }

    /// Lets go of what has been idle too long; `tidy` sees what stays.
    pub(super) fn sweep(&self, now: Instant, mut tidy: impl FnMut(&Peer<S, T>)) {
        self.kept.borrow_mut().retain(|_, peer| {
            let idle = now.saturating_duration_since(peer.used_at.get());
            let stays = Rc::strong_count(peer) > 1 || idle < self.idle_max;
            if stays {
                tidy(peer);
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(id: u32) -> DestinationId {
        DestinationId(id)
    }

    #[test]
    fn a_peer_stays_as_long_as_its_settings_do_and_it_is_used() {
        let peers: Peers<&str, u32> = Peers::new(10, 1_000);
        let now = Instant::now();
        assert!(peers.find(id(1), &"a", now).is_none());
        drop(peers.add(id(1), "a", 1, now));
        let known = peers.find(id(1), &"a", now).expect("it was added");
        assert_eq!(known.state, 1);
        assert!(peers.find(id(1), &"b", now).is_none(), "of other settings");
        drop(peers.add(id(1), "b", 2, now));
        assert_eq!(known.state, 1, "what is under way keeps its own");

        let now = now + Duration::from_millis(1_000);
        let under_way = peers.find(id(1), &"b", now);
        drop(peers.add(id(2), "c", 3, now));
        let now = now + Duration::from_millis(1_000);
        let mut seen = Vec::new();
        peers.sweep(now, |peer| seen.push(peer.state));
        assert_eq!(seen, [2], "one is under way, the other idle");
        drop(under_way);
        peers.sweep(now, |_| ());
        assert!(peers.find(id(1), &"b", now).is_none());
    }

    #[test]
    fn the_one_used_longest_ago_makes_room() {
        let peers: Peers<(), ()> = Peers::new(2, 1_000);
        let mut now = Instant::now();
        let busy = peers.add(id(1), (), (), now);
        for next in 2..5 {
            now += Duration::from_millis(1);
            drop(peers.add(id(next), (), (), now));
        }
        let is_known = |one: &u32| peers.find(id(*one), &(), now).is_some();
        let known: Vec<u32> = (1..5).filter(is_known).collect();
        assert_eq!(known, [1, 4]);
        drop(busy);
    }
}
