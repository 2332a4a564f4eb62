//! Cycles in a small graph.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A directed graph; each edge carries its reasons: the places in the sources that make it.
#[derive(Debug)]
pub struct Graph<N, R> {
    edges: BTreeMap<N, BTreeMap<N, Vec<R>>>,
}

impl<N, R> Default for Graph<N, R> {
    fn default() -> Self {
        Graph {
            edges: BTreeMap::new(),
        }
    }
}

impl<N: Ord + Clone, R> Graph<N, R> {
    /// Adds a reason why `from` needs `to`. A node that needs itself is no cycle here.
    pub fn add(&mut self, from: N, to: N, reason: R) {
        if from != to {
            let targets = self.edges.entry(from).or_default();
            targets.entry(to).or_default().push(reason);
        }
    }

    /// Why `from` needs `to`.
    pub fn reasons(&self, from: &N, to: &N) -> &[R] {
        let edge = self.edges.get(from).and_then(|targets| targets.get(to));
        edge.map_or(&[], Vec::as_slice)
    }

    /// Cycles that have to be cut until none is left: always the shortest one, after which its edge with the fewest
    /// reasons counts as removed. So each cycle of a tangle is named once, and the list stays short. Each cycle begins
    /// with the edge that has the fewest reasons.
    pub fn cycles(&self) -> Vec<Vec<N>> {
        let mut removed = BTreeSet::new();
        let mut found = Vec::new();
        while let Some(mut cycle) = self.shortest_cycle(&removed) {
            let weight = |at: usize| {
                let next = &cycle[(at + 1) % cycle.len()];
                self.reasons(&cycle[at], next).len()
            };
            let lightest = (0..cycle.len()).min_by_key(|at| weight(*at)).unwrap_or(0);
            cycle.rotate_left(lightest);
            removed.insert((cycle[0].clone(), cycle[1].clone()));
            found.push(cycle);
        }
        found
    }

    fn shortest_cycle(&self, removed: &BTreeSet<(N, N)>) -> Option<Vec<N>> {
        let cycles = self.edges.keys().filter_map(|node| self.way_back(node, removed));
        cycles.min_by_key(Vec::len)
    }

    /// The shortest way from `start` to itself: its nodes, `start` first.
    fn way_back(&self, start: &N, removed: &BTreeSet<(N, N)>) -> Option<Vec<N>> {
        let mut came_from: BTreeMap<&N, &N> = BTreeMap::new();
        let mut open = VecDeque::from([start]);
        while let Some(node) = open.pop_front() {
            let targets = self.edges.get(node).into_iter().flat_map(BTreeMap::keys);
            for target in targets {
                if removed.contains(&(node.clone(), target.clone())) {
                    continue;
                }
                if target == start {
                    return Some(way(start, node, &came_from));
                }
                if !came_from.contains_key(target) {
                    came_from.insert(target, node);
                    open.push_back(target);
                }
            }
        }
        None
    }
}

fn way<N: Ord + Clone>(start: &N, end: &N, came_from: &BTreeMap<&N, &N>) -> Vec<N> {
    let mut way = vec![end.clone()];
    let mut node = end;
    while node != start {
        node = came_from[node];
        way.push(node.clone());
    }
    way.reverse();
    way
}

#[cfg(test)]
mod tests {
    use super::Graph;

    fn graph(edges: &[(&'static str, &'static str, usize)]) -> Graph<&'static str, usize> {
        let mut graph = Graph::default();
        for (from, to, reasons) in edges {
            for reason in 0..*reasons {
                graph.add(*from, *to, reason);
            }
        }
        graph
    }

    #[test]
    fn a_tree_has_no_cycle() {
        let tree = graph(&[("a", "b", 1), ("a", "c", 1), ("b", "c", 1), ("c", "c", 1)]);
        assert!(tree.cycles().is_empty());
    }

    #[test]
    fn a_cycle_begins_with_its_lightest_edge() {
        let cycle = graph(&[("a", "b", 3), ("b", "c", 1), ("c", "a", 2)]);
        assert_eq!(cycle.cycles(), [["b", "c", "a"]]);
    }

    #[test]
    fn two_cycles_through_one_node_are_two() {
        let two = graph(&[
            ("a", "b", 1),
            ("b", "a", 2),
            ("a", "c", 2),
            ("c", "a", 1),
            ("c", "d", 1),
        ]);
        assert_eq!(two.cycles(), [["a", "b"], ["c", "a"]]);
    }
}
