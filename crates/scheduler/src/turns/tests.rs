//! Deficit round robin: shares by bytes.

use super::*;

/// Lanes that always have work, each with attempts of one size; attempts finish in the order in
/// which they started.
struct Rig {
    turns: Turns,
    lanes: Vec<(u32, u64)>,
    under_way: VecDeque<u32>,
    in_flight_of: Vec<u32>,
    bytes: Vec<u64>,
}

impl Rig {
    /// `lanes` are (group, bytes of an attempt).
    fn new(all: u32, shared: u32, group: u32, groups: u32, lanes: &[(u32, u64)]) -> Self {
        let slots = Slots {
            all,
            shared,
            group,
            quantum_bytes: 64 * 1024,
        };
        let mut turns = Turns::new(slots);
        for _ in 0..groups {
            turns.add_group();
        }
        for (slot, (group, _)) in (0..).zip(lanes) {
            turns.add_lane(slot, *group);
            turns.enter(slot, true);
        }
        Self {
            turns,
            lanes: lanes.to_vec(),
            under_way: VecDeque::new(),
            in_flight_of: vec![0; lanes.len()],
            bytes: vec![0; lanes.len()],
        }
    }

    fn fill(&mut self) {
        while let Some(slot) = self
            .turns
            .next(u32::try_from(self.under_way.len()).unwrap())
        {
            let place = usize::try_from(slot).unwrap();
            self.turns.started(slot, self.lanes[place].1);
            self.in_flight_of[place] += 1;
            self.bytes[place] += self.lanes[place].1;
            self.turns.enter(slot, false);
            self.under_way.push_back(slot);
        }
    }

    fn run(&mut self, finished: usize) {
        for _ in 0..finished {
            self.fill();
            let Some(slot) = self.under_way.pop_front() else {
                return;
            };
            let place = usize::try_from(slot).unwrap();
            self.in_flight_of[place] -= 1;
            self.turns.finished(self.lanes[place].0);
            self.turns.enter(slot, self.in_flight_of[place] == 0);
        }
    }
}

#[test]
fn lanes_share_by_bytes_not_by_attempts() {
    // Enough slots that no lane's share of the bytes is less than its guaranteed slot.
    let mut rig = Rig::new(
        256,
        192,
        256,
        3,
        &[(0, 1_024), (1, 32 * 1024), (2, 8 * 1024)],
    );
    rig.run(100_000);
    let most = *rig.bytes.iter().max().unwrap() as f64;
    let least = *rig.bytes.iter().min().unwrap() as f64;
    assert!(most / least < 1.05, "{:?}", rig.bytes);
}

#[test]
fn a_group_gets_at_most_its_share_while_others_wait() {
    // Nine lanes of one tenant, one of another; half of the slots each.
    let mut lanes = vec![(0, 1_000); 9];
    lanes.push((1, 1_000));
    let mut rig = Rig::new(20, 20, 10, 2, &lanes);
    rig.run(10_000);
    let quiet = rig.bytes[9] as f64 / rig.bytes.iter().sum::<u64>() as f64;
    assert!((0.48..0.52).contains(&quiet), "{quiet}");
}

#[test]
fn a_group_alone_gets_all() {
    let mut rig = Rig::new(20, 20, 10, 1, &[(0, 1_000), (0, 1_000)]);
    rig.fill();
    assert_eq!(rig.under_way.len(), 20);
}

#[test]
fn the_last_slots_are_for_lanes_with_nothing_under_way() {
    let mut rig = Rig::new(8, 6, 8, 2, &[(0, 1_000)]);
    rig.fill();
    assert_eq!(
        rig.under_way.len(),
        6,
        "one greedy lane cannot have them all"
    );
    for slot in 1..4 {
        rig.turns.add_lane(slot, 1);
        rig.turns.enter(slot, true);
        rig.lanes.push((1, 1_000));
        rig.in_flight_of.push(0);
        rig.bytes.push(0);
    }
    rig.fill();
    assert_eq!(rig.in_flight_of, [6, 1, 1, 0]);
}

#[test]
fn a_lane_put_aside_gets_its_guaranteed_slot_when_it_has_nothing_under_way() {
    // Three lanes of a group that comes first, and has all slots; then one of another group.
    let mut rig = Rig::new(8, 6, 4, 2, &[(0, 1_000), (0, 1_000), (0, 1_000)]);
    rig.run(100);
    rig.turns.add_lane(3, 1);
    rig.turns.enter(3, true);
    rig.lanes.push((1, 1_000));
    rig.in_flight_of.push(0);
    rig.bytes.push(0);
    let before = rig.bytes.clone();
    // Less than one turn of the others: whoever waits for that starves.
    rig.run(50);
    for (lane, bytes) in rig.bytes.iter().enumerate() {
        let before = before.get(lane).copied().unwrap_or(0);
        assert!(bytes - before >= 5_000, "lane {lane}: {:?}", rig.bytes);
    }
}

#[test]
fn lanes_may_leave_from_anywhere() {
    let mut rig = Rig::new(10, 10, 5, 2, &[(0, 1_000), (0, 1_000), (1, 1_000)]);
    rig.fill();
    for slot in [1, 0, 2] {
        rig.turns.leave(slot);
        rig.turns.leave(slot);
    }
    assert_eq!(rig.turns.next(0), None);
    rig.turns.enter(1, true);
    assert_eq!(rig.turns.next(0), Some(1));
}
