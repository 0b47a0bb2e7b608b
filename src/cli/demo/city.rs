//! House-price models made up on the spot, in XGBoost's own JSON: what a data scientist would have trained, one a city.
//!
//! The demo needs models before anyone has trained one, and benchmarks need thousands. Knows nothing of the server.

use std::fmt::Write as _;

/// The columns, as in AWS's housing example.
pub const COLUMNS: [&str; 8] =
    ["YEAR_BUILT", "SQUARE_FEET", "NUM_BEDROOMS", "NUM_BATHROOMS", "LOT_ACRES", "GARAGE_SPACES", "FRONT_PORCH", "DECK"];
/// Where each column's thresholds lie.
const RANGES: [(f32, f32); 8] =
    [(1900.0, 2020.0), (600.0, 4200.0), (1.0, 6.0), (1.0, 5.0), (0.05, 2.5), (0.0, 3.0), (0.0, 1.0), (0.0, 1.0)];

/// SplitMix64 (Steele et al., 2014): the same numbers in every build.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// A number of 0 to 1.
    pub(super) fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        #[expect(clippy::cast_precision_loss, reason = "24 bits fit an f32 exactly")]
        let unit = ((z ^ (z >> 31)) >> 40) as f32 / 16_777_216.0;
        unit
    }

    /// A whole number of `low` to `high`.
    pub(super) fn whole(&mut self, low: f32, high: f32) -> f32 {
        (low + self.unit() * (high - low + 1.0)).floor().min(high)
    }
}

/// A `reg:squarederror` model of `trees` complete trees, `depth` deep, that answers prices around `level` dollars. The
/// same arguments make the same bytes.
pub fn model(seed: u64, level: f32, trees: usize, depth: u32) -> String {
    let mut dice = Dice(seed);
    let inner = (1usize << depth) - 1;
    let nodes = inner * 2 + 1;
    let mut text = String::with_capacity(trees * nodes * 60);
    let names = COLUMNS.map(|name| format!("\"{name}\"")).join(",");
    let types = ["\"float\""; 8].join(",");
    let _ = write!(
        text,
        r#"{{"learner":{{"attributes":{{}},"feature_names":[{names}],"feature_types":[{types}],"gradient_booster":{{"model":{{"gbtree_model_param":{{"num_parallel_tree":"1","num_trees":"{trees}"}},"iteration_indptr":[{}],"tree_info":[{}],"trees":["#,
        list(0..=trees, |at| at.to_string()),
        list(0..trees, |_| "0".to_owned()),
    );
    for tree in 0..trees {
        if tree > 0 {
            text.push(',');
        }
        one_tree(&mut text, &mut dice, tree, inner, nodes, level / (trees as f32).max(1.0));
    }
    let _ = write!(
        text,
        r#"]}},"name":"gbtree"}},"learner_model_param":{{"base_score":"[{level:E}]","boost_from_average":"0","num_class":"0","num_feature":"8","num_target":"1"}},"objective":{{"name":"reg:squarederror","reg_loss_param":{{"scale_pos_weight":"1"}}}}}},"version":[3,2,0]}}"#
    );
    text
}

fn list(range: impl Iterator<Item = usize>, write: impl Fn(usize) -> String) -> String {
    range.map(write).collect::<Vec<_>>().join(",")
}

fn one_tree(text: &mut String, dice: &mut Dice, tree: usize, inner: usize, nodes: usize, scale: f32) {
    let child = |step: usize| move |at: usize| if at < inner { (at * 2 + step).to_string() } else { "-1".to_owned() };
    let mut features = Vec::with_capacity(nodes);
    let mut conditions = Vec::with_capacity(nodes);
    for at in 0..nodes {
        let feature = (dice.unit() * 8.0) as usize;
        let (low, high) = RANGES.get(feature).copied().unwrap_or((0.0, 1.0));
        if at < inner {
            features.push(feature.to_string());
            conditions.push((low + dice.unit() * (high - low)).to_string());
        } else {
            features.push("0".to_owned());
            conditions.push(((dice.unit() - 0.5) * scale).to_string());
        }
    }
    let _ = write!(
        text,
        r#"{{"base_weights":[],"categories":[],"categories_nodes":[],"categories_segments":[],"categories_sizes":[],"default_left":[{}],"id":{tree},"left_children":[{}],"right_children":[{}],"split_conditions":[{}],"split_indices":[{}],"split_type":[{}],"tree_param":{{"num_deleted":"0","num_feature":"8","num_nodes":"{nodes}","size_leaf_vector":"1"}}}}"#,
        list(0..nodes, |at| (at % 2).to_string()),
        list(0..nodes, child(1)),
        list(0..nodes, child(2)),
        conditions.join(","),
        features.join(","),
        list(0..nodes, |_| "0".to_owned()),
    );
}
