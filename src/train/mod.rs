//! Making small models from a table: nearest neighbours, random cut forests, linear learners.
//!
//! Each trainer takes a `table::Table` and its settings and gives the artifact, a `.tar.gz` that the reader of its
//! format in `runtime/` takes. The same table, settings and seed give the same bytes. Pure computing: it must not know
//! where tables and artifacts are kept or who watches. Next: `table.rs`, then any trainer.

pub(crate) mod archive;
pub(crate) mod knn;
pub(crate) mod linear_learner;
pub(crate) mod loss;
pub(crate) mod random_cut_forest;
mod solver;
pub(crate) mod table;

/// SplitMix64 (Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, 2014): the same numbers in
/// every build.
struct Dice(u64);

impl Dice {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `[0, 1)`.
    fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number below `end`, which is not 0. Off from even by less than one part in 2^32.
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.word()) * end as u128) >> 64) as usize
    }

    /// `count` different numbers below `end`, which is at least as many, in ascending order.
    fn sample(&mut self, count: usize, end: usize) -> Vec<usize> {
        // Selection sampling (Knuth, *The Art of Computer Programming* 2, §3.4.2, algorithm S).
        let mut left = count;
        let mut chosen = Vec::with_capacity(count);
        for at in 0..end {
            if left == 0 {
                break;
            }
            if self.below(end - at) < left {
                chosen.push(at);
                left -= 1;
            }
        }
        chosen
    }
}
