//! The wheel against plain lists of deadlines.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

#[derive(Debug, Default)]
struct Toy {
    armed: Armed,
    number: usize,
}

impl Timed for Toy {
    fn armed(&self) -> &Armed {
        &self.armed
    }
}

fn toys(many: usize) -> Vec<Arc<Toy>> {
    let toy = |number| Toy {
        number,
        ..Toy::default()
    };
    (0..many).map(toy).map(Arc::new).collect()
}

fn told(deadlines: &Deadlines<Toy>, now: Instant) -> Vec<usize> {
    let mut told = Vec::new();
    deadlines.sweep(now, |toy| told.push(toy.number));
    told.sort_unstable();
    told
}

#[test]
fn each_is_told_once_at_the_first_sweep_after_its_deadline() {
    for seed in 0..50 {
        let (mut dice, start) = (SmallRng::seed_from_u64(seed), Instant::now());
        let (deadlines, toys) = (Deadlines::new(start), toys(20));
        let mut due: Vec<Option<u64>> = vec![None; toys.len()];
        let (mut now, mut next) = (start, 0);
        for _ in 0..400 {
            for (toy, due) in toys.iter().zip(&mut due) {
                if dice.random_ratio(1, 10) {
                    // over some turns of the wheel, and into the past
                    let at = start + Duration::from_millis(dice.random_range(0..300_000));
                    let at = dice.random_ratio(9, 10).then_some(at);
                    deadlines.arm(toy, at);
                    *due = at.map(|at| deadlines.slots_until(at).max(next));
                }
            }
            // at times nobody sweeps for longer than a turn
            let longest = if dice.random_ratio(1, 50) {
                100_000
            } else {
                800
            };
            now += Duration::from_millis(dice.random_range(0..longest));
            let last = deadlines.slots_passed(now);
            let is_due = |number: &usize| due[*number].is_some_and(|slot| slot <= last);
            let expected: Vec<usize> = (0..toys.len()).filter(is_due).collect();
            assert_eq!(told(&deadlines, now), expected, "seed {seed}");
            next = next.max(last + 1);
            for number in expected {
                due[number] = None;
            }
        }
    }
}

#[test]
fn who_is_gone_is_forgotten() {
    let start = Instant::now();
    let (deadlines, mut toys) = (Deadlines::new(start), toys(2));
    for toy in &toys {
        deadlines.arm(toy, Some(start + Duration::from_secs(1)));
    }
    toys.pop();
    assert_eq!(told(&deadlines, start + Duration::from_secs(2)), [0]);
    let planned: usize = (0..SLOTS as u64).map(|at| deadlines.slot(at).len()).sum();
    assert_eq!(planned, 0);
}
