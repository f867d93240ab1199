//! Whose turn it is: fairness among the lanes that could start an attempt now.
//!
//! ```text
//!   guaranteed:  lanes with nothing under way    first come, first served, one attempt each
//!   shared:      lanes with something under way  deficit round robin by bytes
//!   aside:       lanes of a group that has its share of the slots while other groups wait
//! ```
//!
//! Shreedhar and Varghese, *Efficient fair queuing using deficit round robin*, 1995: each turn
//! adds a quantum, each attempt takes its bytes; what is over-drawn is paid in later turns. The
//! last quarter of the slots is for the guaranteed ring, so that no crowd of greedy or hanging
//! lanes can keep a quiet lane from its one slot. All moves are O(1): the lists are linked through
//! the lanes' slots.

use std::collections::VecDeque;

const NONE: u32 = u32::MAX;
const GUARANTEED: u32 = 0;
const SHARED: u32 = 1;
const FIRST_ASIDE: u32 = 2;
/// Turns that a lane may be in debt for.
const DEBT_QUANTA: i64 = 16;

#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
    len: u32,
}

impl List {
    const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
        len: 0,
    };
}

/// A lane's place, by its slot.
#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
    list: u32,
    group: u32,
    /// It has nothing under way.
    idle: bool,
    deficit: i64,
}

impl Link {
    const fn ring(&self) -> u32 {
        if self.idle { GUARANTEED } else { SHARED }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    in_flight: u32,
    /// Lanes of the group in the guaranteed and shared rings.
    queued: u32,
    /// The group stands in `groups_aside`.
    listed: bool,
}

/// The limits that the turns keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots {
    pub(crate) all: u32,
    /// Those that the shared ring may use.
    pub(crate) shared: u32,
    /// Those that one group may use while others wait.
    pub(crate) group: u32,
    pub(crate) quantum_bytes: u32,
}

#[derive(Debug)]
pub(crate) struct Turns {
    slots: Slots,
    links: Vec<Link>,
    /// Guaranteed, shared, and one of lanes put aside for each group.
    lists: Vec<List>,
    groups: Vec<Share>,
    groups_aside: VecDeque<u32>,
    /// The head of the shared ring that has had its quantum.
    turn: u32,
}

impl Turns {
    pub(crate) fn new(slots: Slots) -> Self {
        Self {
            slots,
            links: Vec::new(),
            lists: vec![List::EMPTY, List::EMPTY],
            groups: Vec::new(),
            groups_aside: VecDeque::new(),
            turn: NONE,
        }
    }

    pub(crate) fn add_group(&mut self) -> u32 {
        self.groups.push(Share::default());
        self.lists.push(List::EMPTY);
        u32::try_from(self.groups.len() - 1).expect("fewer groups than lanes")
    }

    /// Makes the slot a lane's, of that group.
    pub(crate) fn add_lane(&mut self, slot: u32, group: u32) {
        let link = Link {
            before: NONE,
            after: NONE,
            list: NONE,
            group,
            idle: true,
            deficit: 0,
        };
        let place = index(slot);
        if self.links.len() <= place {
            self.links.resize(place + 1, link);
        }
        *self.link(slot) = link;
    }

    /// The lane could start an attempt; `idle`: it has none under way.
    pub(crate) fn enter(&mut self, slot: u32, idle: bool) {
        let link = self.link(slot);
        link.idle = idle;
        let list = link.list;
        if list == link.ring() || list >= FIRST_ASIDE && list != NONE {
            return;
        }
        if list != NONE {
            self.unlink(slot);
        }
        self.take_in(slot);
    }

    /// Gives the lane its place among those that wait.
    fn take_in(&mut self, slot: u32) {
        let ring = self.link(slot).ring();
        self.append(slot, ring);
    }

    /// The lane could start nothing now. What it did not use of its quantum is forfeit.
    pub(crate) fn leave(&mut self, slot: u32) {
        if self.link(slot).list != NONE {
            self.unlink(slot);
        }
        let link = self.link(slot);
        link.deficit = link.deficit.min(0);
    }

    /// The lane that may start one attempt now. It keeps its place until [`Self::started`].
    pub(crate) fn next(&mut self, in_flight: u32) -> Option<u32> {
        if in_flight >= self.slots.all {
            return None;
        }
        loop {
            let head = self.list(GUARANTEED).head;
            if head != NONE {
                if self.set_aside(head) {
                    continue;
                }
                return Some(head);
            }
            if in_flight >= self.slots.shared {
                return None;
            }
            let head = self.list(SHARED).head;
            if head == NONE {
                return self.next_aside();
            }
            if self.set_aside(head) {
                continue;
            }
            if self.has_deficit(head) {
                return Some(head);
            }
        }
    }

    /// The lane named by [`Self::next`] has started an attempt of so many bytes.
    pub(crate) fn started(&mut self, slot: u32, bytes: u64) {
        let owed = i64::try_from(bytes).unwrap_or(i64::MAX);
        // A lane that lives on guaranteed slots may owe more and more: bounded, so that its turn
        // is not passed over for ever.
        let debt_max = (DEBT_QUANTA * i64::from(self.slots.quantum_bytes)).max(owed);
        let link = self.link(slot);
        link.deficit = link.deficit.saturating_sub(owed).max(-debt_max);
        let group = link.group;
        self.share(group).in_flight += 1;
    }

    /// An attempt of a lane of this group has finished.
    pub(crate) fn finished(&mut self, group: u32) {
        let cap = self.slots.group;
        let share = self.share(group);
        share.in_flight -= 1;
        if share.in_flight < cap {
            let head = self.list(group + FIRST_ASIDE).head;
            if head != NONE {
                self.unlink(head);
                self.take_in(head);
            }
        }
    }

    /// Gives the head of the shared ring its quantum if its turn begins; else ends a turn that is
    /// used up. True where the head may start something.
    fn has_deficit(&mut self, head: u32) -> bool {
        let quantum = i64::from(self.slots.quantum_bytes);
        let begins = self.turn != head;
        let link = self.link(head);
        if begins {
            link.deficit = link.deficit.saturating_add(quantum).min(quantum);
        }
        if link.deficit > 0 {
            self.turn = head;
            return true;
        }
        self.unlink(head);
        self.append(head, SHARED);
        false
    }

    /// Puts a lane aside whose group has its share while lanes of other groups wait.
    fn set_aside(&mut self, slot: u32) -> bool {
        let group = self.link(slot).group;
        let waiting = self.list(GUARANTEED).len + self.list(SHARED).len;
        let cap = self.slots.group;
        let share = self.share(group);
        if share.in_flight < cap || waiting == share.queued {
            return false;
        }
        let listed = std::mem::replace(&mut share.listed, true);
        if !listed {
            self.groups_aside.push_back(group);
        }
        self.unlink(slot);
        self.append(slot, group + FIRST_ASIDE);
        true
    }

    /// Nobody else waits: a group may have more than its share.
    fn next_aside(&mut self) -> Option<u32> {
        while let Some(group) = self.groups_aside.front().copied() {
            let head = self.list(group + FIRST_ASIDE).head;
            if head != NONE {
                self.unlink(head);
                self.take_in(head);
                return Some(head);
            }
            self.groups_aside.pop_front();
            self.share(group).listed = false;
        }
        None
    }

    fn append(&mut self, slot: u32, list: u32) {
        let tail = self.list(list).tail;
        let link = self.link(slot);
        link.before = tail;
        link.after = NONE;
        link.list = list;
        let group = link.group;
        if tail != NONE {
            self.link(tail).after = slot;
        }
        let ends = self.list(list);
        ends.tail = slot;
        ends.len += 1;
        if tail == NONE {
            ends.head = slot;
        }
        if list < FIRST_ASIDE {
            self.share(group).queued += 1;
        }
    }

    fn unlink(&mut self, slot: u32) {
        if self.turn == slot {
            self.turn = NONE;
        }
        let Link {
            before,
            after,
            list,
            group,
            ..
        } = *self.link(slot);
        if before != NONE {
            self.link(before).after = after;
        }
        if after != NONE {
            self.link(after).before = before;
        }
        let ends = self.list(list);
        ends.len -= 1;
        if before == NONE {
            ends.head = after;
        }
        if after == NONE {
            ends.tail = before;
        }
        self.link(slot).list = NONE;
        if list < FIRST_ASIDE {
            self.share(group).queued -= 1;
        }
    }

    fn link(&mut self, slot: u32) -> &mut Link {
        self.links
            .get_mut(index(slot))
            .expect("every lane's slot was added")
    }

    fn list(&mut self, list: u32) -> &mut List {
        self.lists
            .get_mut(index(list))
            .expect("every group has a list")
    }

    fn share(&mut self, group: u32) -> &mut Share {
        self.groups
            .get_mut(index(group))
            .expect("groups are added and never removed")
    }
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).expect("usize has at least 32 bits")
}

#[cfg(test)]
mod tests;
