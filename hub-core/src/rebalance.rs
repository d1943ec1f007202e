//! Who sends devices away after nodes were added: a node that holds more than its share, at a bounded rate, until it does not.
//!
//! Connections live for days, so a new node stays empty until somebody moves. The rule is that of the field's brokers (EMQX: absolute
//! 1000, relative 1.1): a node is above its share while it holds more than both an absolute number and a multiple of the mean. Whoever is sent
//! away connects where the load balancer has least. Nobody is above the mean unless somebody is below, so there is always a place to go; and
//! who receives stays below the mean, so nobody is sent on.

/// How far nodes may differ, and how fast that is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A node that holds no more than this is left alone.
    pub absolute: u32,
    /// A node that holds no more than this many percent of the mean is left alone; 100 counts as the least.
    pub relative_percent: u32,
    /// Devices that one node sends away a second at most.
    pub per_second: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            absolute: 1_000,
            relative_percent: 110,
            per_second: 50,
        }
    }
}

impl Rules {
    /// How many devices a node may hold when so many nodes hold that many together.
    #[must_use]
    pub fn threshold(&self, total: u64, nodes: u64) -> u64 {
        let percent = u64::from(self.relative_percent.max(100));
        let share = total.saturating_mul(percent).div_ceil(100 * nodes.max(1));
        share.max(self.absolute.into())
    }

    /// How many devices a node sends away within a second, when it holds `own` and the other nodes that take devices hold these.
    /// A node that takes none itself must not ask.
    #[must_use]
    pub fn shed(&self, own: u64, others: &[u64]) -> u64 {
        if others.is_empty() {
            return 0;
        }
        let total = others.iter().fold(own, |sum, one| sum.saturating_add(*one));
        let threshold = self.threshold(total, others.len() as u64 + 1);
        own.saturating_sub(threshold).min(self.per_second.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules {
        absolute: 10,
        relative_percent: 110,
        per_second: 5,
    };

    #[test]
    fn a_node_is_left_alone_up_to_the_larger_of_both_bounds() {
        assert_eq!(RULES.shed(100, &[]), 0, "there is nowhere to go");
        assert_eq!(RULES.shed(10, &[0, 0]), 0, "few are no matter");
        assert_eq!(RULES.shed(11, &[0, 0]), 1);
        assert_eq!(RULES.shed(110, &[100, 90]), 0);
        assert_eq!(RULES.shed(111, &[100, 89]), 1);
        assert_eq!(RULES.shed(1_000, &[0]), 5, "no faster than that");
    }

    proptest! {
        #[test]
        fn nobody_goes_below_the_mean_and_numbers_cannot_overflow(own: u64, others: Vec<u64>, absolute: u32, relative_percent: u32, per_second: u32) {
            let rules = Rules { absolute, relative_percent, per_second };
            let shed = rules.shed(own, &others);
            prop_assert!(shed <= own && shed <= u64::from(per_second));
            let total = others.iter().fold(u128::from(own), |sum, one| sum + u128::from(*one));
            if shed > 0 && total < u128::from(u64::MAX) / 1_000 && relative_percent < 1_000 {
                let mean = total / (others.len() as u128 + 1);
                prop_assert!(u128::from(own - shed) >= mean);
            }
        }

        /// Each second every node sheds by what the others held a moment ago, and whoever was sent away goes to the emptiest.
        #[test]
        fn nodes_become_level_and_stay_so(held in proptest::collection::vec(0_u64..500, 2..6)) {
            let (mut now, total) = (held.clone(), held.iter().sum::<u64>());
            let threshold = RULES.threshold(total, held.len() as u64);
            let seconds = total / u64::from(RULES.per_second) + 1;
            let mut moved = 0;
            for second in 0..2 * seconds {
                let before = now.clone();
                for node in 0..now.len() {
                    let mut others = before.clone();
                    others.remove(node);
                    let shed = RULES.shed(now[node], &others);
                    now[node] -= shed;
                    moved += shed;
                    for _ in 0..shed {
                        let emptiest = (0..now.len()).min_by_key(|at| now[*at]).unwrap();
                        now[emptiest] += 1;
                    }
                    prop_assert!(second < seconds || shed == 0, "{held:?} {now:?}");
                }
            }
            prop_assert!(now.iter().all(|held| *held <= threshold), "{held:?} {now:?}");
            let above: u64 = held.iter().map(|held| held.saturating_sub(threshold)).sum();
            prop_assert_eq!(moved, above, "no device moves twice");
        }
    }
}
