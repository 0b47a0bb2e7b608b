//! XGBoost documents that lie: every refusal of their reader, in JSON and in UBJSON, and what small bytes may not become.
//!
//! One honest document of two trees is changed in one place at a time; a small writer turns each into both forms, so
//! both readers are asked the same. Next: `door.rs`, where some of these are uploaded.

use rookery::error::Kind;
use rookery::runtime::{self, Prepared};
use rookery::tensor::Tensor;
use serde_json::{Value, json};

use super::{Why, Wrong, answers, prepared, set};
use crate::xgboost::fixture_folder;

const MODEL: &str = "/learner/gradient_booster/model";

/// Two trees over three columns, the first with a split on categories.
pub(super) fn honest() -> Value {
    let tree = |id: i32, left: Value, right: Value, features: Value, conditions: Value| {
        let zeros = vec![0; left.as_array().unwrap().len()];
        json!({
            "id": id, "left_children": left, "right_children": right, "split_indices": features, "split_conditions": conditions,
            "default_left": zeros, "split_type": zeros, "base_weights": [],
            "categories": [], "categories_nodes": [], "categories_segments": [], "categories_sizes": [],
            "tree_param": { "num_nodes": zeros.len().to_string(), "size_leaf_vector": "1" },
        })
    };
    let (left, right, conditions) = (json!([1, -1, 3, -1, -1]), json!([2, -1, 4, -1, -1]), json!([0.5, -0.25, 0.0, 0.75, 1.5]));
    let mut first = tree(0, left, right, json!([0, 0, 2, 0, 0]), conditions);
    first["split_type"] = json!([0, 0, 1, 0, 0]);
    first["categories"] = json!([1, 3]);
    first["categories_nodes"] = json!([2]);
    first["categories_segments"] = json!([0]);
    first["categories_sizes"] = json!([2]);
    let second = tree(1, json!([1, -1, -1]), json!([2, -1, -1]), json!([1, 0, 0]), json!([2.5, 0.125, -0.125]));
    json!({
        "learner": {
            "attributes": {}, "feature_names": [], "feature_types": [],
            "gradient_booster": { "name": "gbtree", "model": {
                "gbtree_model_param": { "num_parallel_tree": "1", "num_trees": "2" },
                "iteration_indptr": [0, 1, 2], "tree_info": [0, 0], "trees": [first, second],
            } },
            "learner_model_param": {
                "base_score": "[5E-1]", "boost_from_average": "1", "num_class": "0", "num_feature": "3", "num_target": "1",
            },
            "objective": { "name": "binary:logistic" },
        },
        "version": [3, 2, 0],
    })
}

/// The honest document with members replaced (`"@delete"` removes one).
pub(super) fn changed(changes: &[(&str, Value)]) -> Value {
    let mut document = honest();
    for (pointer, new) in changes {
        set(&mut document, pointer, new.clone());
    }
    document
}

/// JSON as XGBoost writes it, which has words for what is no number.
fn text(document: &Value) -> Vec<u8> {
    document.to_string().replace("\"@NaN\"", "NaN").replace("\"@Inf\"", "Infinity").into_bytes()
}

/// UBJSON as XGBoost writes it: typed arrays of numbers, 64-bit lengths.
fn binary(value: &Value) -> Vec<u8> {
    let word = |text: &str| [b"L", &(text.len() as i64).to_be_bytes()[..], text.as_bytes()].concat();
    let real = |value: f32| value.to_be_bytes();
    match value {
        Value::Object(members) => {
            let inner = members.iter().flat_map(|(key, value)| [word(key), binary(value)].concat());
            [vec![b'{'], inner.collect(), vec![b'}']].concat()
        }
        Value::Array(values) => {
            let length = (values.len() as i64).to_be_bytes();
            if !values.is_empty() && values.iter().all(|value| value.as_i64().is_some_and(|whole| i32::try_from(whole).is_ok())) {
                let raw = values.iter().flat_map(|value| (value.as_i64().unwrap() as i32).to_be_bytes());
                return [b"[$l#L", &length[..], &raw.collect::<Vec<_>>()].concat();
            }
            if !values.is_empty() && values.iter().all(Value::is_f64) {
                let raw = values.iter().flat_map(|value| real(value.as_f64().unwrap() as f32));
                return [b"[$d#L", &length[..], &raw.collect::<Vec<_>>()].concat();
            }
            [b"[#L", &length[..], &values.iter().flat_map(binary).collect::<Vec<_>>()].concat()
        }
        Value::String(text) if text == "@NaN" => [b"d", &real(f32::NAN)[..]].concat(),
        Value::String(text) if text == "@Inf" => [b"d", &real(f32::INFINITY)[..]].concat(),
        Value::String(text) => [b"S", &word(text)[..]].concat(),
        Value::Number(number) if number.is_f64() => [b"D", &number.as_f64().unwrap().to_be_bytes()[..]].concat(),
        Value::Number(number) => [b"L", &number.as_i64().unwrap().to_be_bytes()[..]].concat(),
        Value::Bool(true) => b"T".to_vec(),
        Value::Bool(false) => b"F".to_vec(),
        Value::Null => b"Z".to_vec(),
    }
}

fn score(prepared: &Prepared, row: &[f32]) -> f32 {
    let model = runtime::load("xgboost", &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64).unwrap();
    model.predict(&[Tensor::new(row.len(), row.to_vec()).unwrap().into()]).unwrap().scores.f32s().unwrap().values()[0]
}

#[test]
fn the_honest_document_answers_alike_in_both_forms() {
    let (json, ubjson) = (prepared(&text(&honest())).unwrap(), prepared(&binary(&honest())).unwrap());
    assert_eq!(json.bytes, ubjson.bytes);
    let sigmoid = |margin: f32| 1.0 / (1.0 + (-margin).exp());
    for (row, margin) in [([0.0, 0.0, 9.0], -0.25 + 0.125), ([1.0, 3.0, 1.0], 1.5 - 0.125), ([1.0, 0.0, 2.0], 0.75 + 0.125)] {
        assert!((score(&json, &row) - sigmoid(margin)).abs() < 1e-6, "{row:?}");
    }
}

/// Both splits of the first tree on two categories each.
fn sets(categories: Value, starts: Value) -> Vec<(&'static str, Value)> {
    const TREE: &str = "/learner/gradient_booster/model/trees/0";
    let mut tree = honest().pointer(TREE).unwrap().clone();
    tree["split_type"] = json!([1, 0, 1, 0, 0]);
    tree["categories"] = categories;
    tree["categories_nodes"] = json!([0, 2]);
    tree["categories_segments"] = starts;
    tree["categories_sizes"] = json!([2, 2]);
    vec![(TREE, tree)]
}

/// One place changed, and the sentence that is due.
fn lies() -> Vec<(Vec<(&'static str, Value)>, Why)> {
    const FEATURES: &str = "/learner/learner_model_param/num_feature";
    const CLASSES: &str = "/learner/learner_model_param/num_class";
    const BASE: &str = "/learner/learner_model_param/base_score";
    const NAME: &str = "/learner/gradient_booster/name";
    const OBJECTIVE: &str = "/learner/objective/name";
    const LEFT: &str = "/learner/gradient_booster/model/trees/0/left_children";
    const RIGHT: &str = "/learner/gradient_booster/model/trees/0/right_children";
    const INDICES: &str = "/learner/gradient_booster/model/trees/0/split_indices";
    const CONDITIONS: &str = "/learner/gradient_booster/model/trees/0/split_conditions";
    const CATEGORIES: &str = "/learner/gradient_booster/model/trees/0/categories";
    const BEST: &str = "/learner/attributes/best_iteration";
    const INFO: &str = "/learner/gradient_booster/model/tree_info";
    const DROP: &str = "/learner/gradient_booster/weight_drop";
    const CYCLE: &str = "the tree has a cycle";
    let one = |pointer: &'static str, new: Value, why: Why| (vec![(pointer, new)], why);
    let linear = |weights: Value, why: Why| (vec![(NAME, json!("gblinear")), (MODEL, json!({ "weights": weights }))], why);
    vec![
        // Members that must be there, or be known.
        one("/learner", json!({}), &["the XGBoost model has no `learner.gradient_booster.name`"]),
        one("/learner/gradient_booster", json!("@delete"), &["the XGBoost model has no `learner.gradient_booster.name`"]),
        one(NAME, json!("@delete"), &["no `learner.gradient_booster.name`"]),
        one(NAME, json!("gbforest"), &["the XGBoost booster `gbforest` is not known"]),
        one(NAME, json!("gblinear"), &["no `learner.gradient_booster.model.weights`"]),
        one(MODEL, json!({}), &["no `learner.gradient_booster.model.trees`"]),
        one("/learner/objective", json!("@delete"), &["no `learner.objective.name`"]),
        one(OBJECTIVE, json!("reg:cubederror"), &["the XGBoost objective `reg:cubederror` is not known"]),
        one(OBJECTIVE, json!(3), &["at byte"]),
        one("/version", json!([3_000_000_000_i64]), &["`3000000000` does not fit 32 bits"]),
        // Shape.
        one(FEATURES, json!("@delete"), &["the model has 0 features; 1 to 16777216 can be served"]),
        one(FEATURES, json!("0"), &["the model has 0 features"]),
        one(FEATURES, json!("16777217"), &["the model has 16777217 features"]),
        one(FEATURES, json!("18446744073709551615"), &["the model has 18446744073709551615 features"]),
        one(FEATURES, json!("18446744073709551616"), &["`num_feature` is `18446744073709551616`, no count"]),
        one(FEATURES, json!("-1"), &["`num_feature` is `-1`, no count"]),
        one(FEATURES, json!("three"), &["`num_feature` is `three`, no count"]),
        one(FEATURES, json!("2.5"), &["`num_feature` is `2.5`, no count"]),
        one(FEATURES, json!(""), &["`num_feature` is ``, no count"]),
        one(FEATURES, json!(3), &["at byte"]),
        one(FEATURES, json!("2"), &["tree 0: node 2 splits on feature 2; the model has 2"]),
        one(CLASSES, json!("65537"), &["the model has 65537 outputs; at most 65536 can be served"]),
        one(CLASSES, json!("18446744073709551615"), &["the model has 18446744073709551615 outputs"]),
        one(CLASSES, json!("-2"), &["`num_class` is `-2`, no count"]),
        one("/learner/learner_model_param/num_target", json!("99999999999"), &["the model has 99999999999 outputs"]),
        one("/learner/feature_names", json!(["a", "b"]), &["the model names 2 of its 3 features"]),
        one("/learner/feature_names", json!(["a", "b", "c", "d"]), &["the model names 4 of its 3 features"]),
        one("/learner/feature_names", json!(["a", 2, "c"]), &["at byte"]),
        // Base score.
        one(BASE, json!("abc"), &["the base score `abc` is no number"]),
        one(BASE, json!(""), &["the base score `` is no number"]),
        one(BASE, json!("[5E-1"), &["the base score `[5E-1` is no number"]),
        one(BASE, json!("[]"), &["the base score `[]` is no number"]),
        one(BASE, json!("nan"), &["the base score `nan` is no number"]),
        one(BASE, json!("0.5x"), &["the base score `0.5x` is no number"]),
        one(BASE, json!("[5E-1,5E-1]"), &["the model has 2 base scores for 1 output"]),
        (vec![(BASE, json!("-1")), ("/version", json!([2, 0, 0]))], &["the base score [-1.0] has no finite margin"]),
        (vec![(BASE, json!("1E99")), (OBJECTIVE, json!("reg:squarederror"))], &["the base score [inf] has no finite margin"]),
        (vec![(BASE, json!("-1")), (OBJECTIVE, json!("count:poisson"))], &["has no finite margin"]),
        // Which trees count, and how much.
        one(BEST, json!("soon"), &["best_iteration is `soon`, no count"]),
        one(BEST, json!("2"), &["best_iteration is 2; the model has 2 trees"]),
        one(BEST, json!("9223372036854775807"), &["best_iteration is 9223372036854775807; the model has 2 trees"]),
        (vec![(BEST, json!("5")), ("/learner/gradient_booster/model/iteration_indptr", json!([]))], &["best_iteration is 5"]),
        (vec![(BEST, json!("0")), ("/learner/gradient_booster/model/iteration_indptr", json!([0, -1, 2]))], &["best_iteration is 0"]),
        (vec![(BEST, json!("0")), ("/learner/gradient_booster/model/iteration_indptr", json!([0, 9, 2]))], &["best_iteration is 0"]),
        one("/learner/gradient_booster/model/gbtree_model_param/num_parallel_tree", json!("x"), &["`num_parallel_tree` is `x`, no count"]),
        one(INFO, json!([0]), &["tree 1 has no output in `tree_info`"]),
        one(INFO, json!("@delete"), &["tree 0 has no output in `tree_info`"]),
        one(INFO, json!([0, -1]), &["tree 1 has no output in `tree_info`"]),
        one(INFO, json!([0, 1]), &["tree 1: it adds to output 1; the model has 1"]),
        one(INFO, json!([0, 0.5]), &["whole number", "at byte"]),
        one(DROP, json!([0.5]), &["tree 1 has no finite weight in `weight_drop`"]),
        one(DROP, json!([0.5, "@NaN"]), &["tree 1 has no finite weight in `weight_drop`"]),
        one(DROP, json!(["@Inf", 0.5]), &["tree 0 has no finite weight in `weight_drop`"]),
        one(DROP, json!([3e38, 1.0]), &["tree 0: leaf 4 is no finite number"]),
        // Linear boosters.
        linear(json!([1.0, 2.0, 3.0]), &["the linear booster does not hold 4 finite weights"]),
        linear(json!([1.0, 2.0, 3.0, "@NaN"]), &["the linear booster does not hold 4 finite weights"]),
        linear(json!([1.0, 2.0, 3.0, "four"]), &["at byte"]),
        // Nodes.
        one("/learner/gradient_booster/model/trees/1/id", json!(0), &["tree 1 has another id"]),
        one("/learner/gradient_booster/model/trees/1/id", json!(-1), &["tree 1 has another id"]),
        one(LEFT, json!([1, -1, 3, -1]), &["a tree's arrays differ in length"]),
        one(RIGHT, json!([2, -1, 4, -1]), &["a tree's arrays differ in length"]),
        one(INDICES, json!([0, 0, 2]), &["a tree's arrays differ in length"]),
        one(CONDITIONS, json!([0.5, -0.25, 0.0, 0.75]), &["a tree's arrays differ in length"]),
        one("/learner/gradient_booster/model/trees/0/default_left", json!([]), &["a tree's arrays differ in length"]),
        one("/learner/gradient_booster/model/trees/0", json!({ "id": 0 }), &["tree 0", "has no node", "at byte"]),
        // Refused where it stands: thousands of such trees would take many times their bytes.
        one("/learner/gradient_booster/model/trees/0", json!({ "id": 0, "left_children": [0] }), &["differ in length", "at byte"]),
        (vec![(LEFT, json!([0, -1, 3, -1, -1])), (RIGHT, json!([1, -1, 4, -1, -1]))], &["tree 0: node 0 is reached twice", CYCLE]),
        (vec![(LEFT, json!([1, -1, 1, -1, -1])), (RIGHT, json!([2, -1, 2, -1, -1]))], &["tree 0: node 1 is reached twice", CYCLE]),
        (vec![(LEFT, json!([1, -1, 9, -1, -1])), (RIGHT, json!([2, -1, 10, -1, -1]))], &["tree 0: node 9 is outside the tree of 5 nodes"]),
        (vec![(LEFT, json!([1, -1, 4, -1, -1])), (RIGHT, json!([2, -1, 5, -1, -1]))], &["tree 0: node 5 is outside the tree of 5 nodes"]),
        (vec![(LEFT, json!([1, -1, -2, -1, -1])), (RIGHT, json!([2, -1, -1, -1, -1]))], &["tree 0: node 2 has child -2"]),
        (vec![(LEFT, json!([1, -1, 2_147_483_647, -1, -1]))], &["tree 0: node 2 has children 2147483647 and 4; they must be neighbours"]),
        one(LEFT, json!([1, -1, 3_000_000_000_i64, -1, -1]), &["`3000000000` does not fit 32 bits"]),
        one(RIGHT, json!([3, -1, 4, -1, -1]), &["tree 0: node 0 has children 1 and 3; they must be neighbours"]),
        one(INDICES, json!([3, 0, 2, 0, 0]), &["tree 0: node 0 splits on feature 3; the model has 3"]),
        one(INDICES, json!([-1, 0, 2, 0, 0]), &["tree 0: node 0 splits on feature -1"]),
        one(INDICES, json!([16_777_216, 0, 2, 0, 0]), &["tree 0: node 0 splits on feature 16777216"]),
        one(CONDITIONS, json!(["@NaN", -0.25, 0.0, 0.75, 1.5]), &["tree 0: node 0 splits at a threshold that is no number"]),
        one(CONDITIONS, json!([0.5, "@NaN", 0.0, 0.75, 1.5]), &["tree 0: leaf 1 is no finite number"]),
        one(CONDITIONS, json!([0.5, -0.25, 0.0, 0.75, "@Inf"]), &["tree 0: leaf 4 is no finite number"]),
        one(CONDITIONS, json!([0.5, -0.25, 0.0, 0.75, 1e39]), &["tree 0: leaf 4 is no finite number"]),
        one(CONDITIONS, json!([0.5, null, 0.0, 0.75, 1.5]), &["at byte"]),
        // Categories.
        one(CATEGORIES, json!([1]), &["tree 0: node 2 splits on categories that are not in the file"]),
        one(CATEGORIES, json!([1, -1]), &["tree 0: node 2 has category -1; categories are 0 to 16777215"]),
        one(CATEGORIES, json!([1, 16_777_216]), &["tree 0: node 2 has category 16777216"]),
        one(
            "/learner/gradient_booster/model/trees/0/categories_nodes",
            json!([]),
            &["node 2 splits on categories that are not in the file"],
        ),
        one(
            "/learner/gradient_booster/model/trees/0/categories_nodes",
            json!([1]),
            &["node 2 splits on categories that are not in the file"],
        ),
        one("/learner/gradient_booster/model/trees/0/categories_segments", json!([]), &["node 2 splits on categories"]),
        one("/learner/gradient_booster/model/trees/0/categories_segments", json!([-1]), &["node 2 splits on categories"]),
        one("/learner/gradient_booster/model/trees/0/categories_segments", json!([2_147_483_647]), &["node 2 splits on categories"]),
        (sets(json!([1, 3]), json!([0, 0])), &["tree 0: node 2 splits on categories that other nodes have"]),
        (sets(json!([1, 3, 5]), json!([0, 1])), &["tree 0: node 2 splits on categories that other nodes have"]),
        one("/learner/gradient_booster/model/trees/0/categories_sizes", json!([3]), &["node 2 splits on categories"]),
        one("/learner/gradient_booster/model/trees/0/categories_sizes", json!([-1]), &["node 2 splits on categories"]),
    ]
}

#[test]
fn a_document_with_one_lie_is_refused_in_both_forms_with_the_same_reason() {
    let mut wrong = Wrong::default();
    let lies = lies();
    for (changes, why) in &lies {
        let document = changed(changes);
        let what = changes.iter().map(|(pointer, new)| format!("{pointer} {new}")).collect::<Vec<_>>().join(", ");
        wrong.refused(&what, prepared(&text(&document)), Kind::Validation, why);
        wrong.refused(&format!("{what}, as UBJSON"), prepared(&binary(&document)), Kind::Validation, why);
    }
    println!("{} documents refused", lies.len() * 2);
    wrong.end();
    assert!(answers(&prepared(&text(&changed(&sets(json!([1, 3, 0, 2]), json!([0, 2]))))).unwrap()), "sets one behind the other");
}

#[test]
fn vector_leaves_that_are_not_there_or_not_as_wide_as_the_model_are_refused() {
    const TREE: &str = "/learner/gradient_booster/model/trees/1";
    let vectors = |width: &str, right: Value, weights: Value, rows: Value| {
        let tree = json!({
            "id": 1, "left_children": [1, -1, -1], "right_children": right, "split_indices": [0, 0, 0], "split_conditions": [0.5, 0.0, 0.0],
            "default_left": [0, 0, 0], "base_weights": weights, "leaf_weights": rows, "tree_param": { "size_leaf_vector": width },
        });
        let mut document = changed(&[
            ("/learner/learner_model_param/num_target", json!("2")),
            ("/learner/objective/name", json!("reg:squarederror")),
            (TREE, tree.clone()),
        ]);
        let mut first = tree;
        first["id"] = json!(0);
        set(&mut document, "/learner/gradient_booster/model/trees/0", first);
        document
    };
    let six = json!([0.5, 0.5, 1.0, 2.0, 3.0, 4.0]);
    let four = json!([1.0, 2.0, 3.0, 4.0]);
    assert!(answers(&prepared(&text(&vectors("2", json!([2, -1, -1]), six.clone(), json!([])))).unwrap()), "leaves by node");
    assert!(answers(&prepared(&text(&vectors("2", json!([2, 0, 1]), json!([]), four.clone()))).unwrap()), "leaves by row");
    let mut mixed = vectors("2", json!([2, -1, -1]), six.clone(), json!([]));
    set(&mut mixed, TREE, honest().pointer(TREE).unwrap().clone());
    let mut bare = vectors("2", json!([2, -1, -1]), six.clone(), json!([]));
    let tree = bare.pointer_mut(TREE).unwrap().as_object_mut().unwrap();
    tree.remove("base_weights");
    tree.remove("leaf_weights");
    let cases: Vec<(&str, Value, Why)> = vec![
        ("no weights", bare, &["a tree with vector leaves holds no weights"]),
        ("empty weights", vectors("2", json!([2, -1, -1]), json!([]), json!([])), &["tree 0: node 1 is outside its arrays"]),
        (
            "cut weights",
            vectors("2", json!([2, -1, -1]), json!([0.5, 0.5, 1.0, 2.0, 3.0]), json!([])),
            &["tree 0: node 2 is outside its arrays"],
        ),
        ("a row past the end", vectors("2", json!([2, 0, 2]), json!([]), four.clone()), &["tree 0: node 2 is outside its arrays"]),
        ("a negative row", vectors("2", json!([2, 0, -1]), json!([]), four), &["tree 0: node 2 is outside its arrays"]),
        ("too wide", vectors("3", json!([2, -1, -1]), six.clone(), json!([])), &["a tree's leaves are 3 wide; the model has 2 outputs"]),
        (
            "absurdly wide",
            vectors("18446744073709551615", json!([2, -1, -1]), six.clone(), json!([])),
            &["leaves are 18446744073709551615 wide"],
        ),
        ("a width that is no count", vectors("wide", json!([2, -1, -1]), six, json!([])), &["`size_leaf_vector` is `wide`, no count"]),
        (
            "NaN",
            vectors("2", json!([2, -1, -1]), json!([0, 0, 1, "@NaN", 3, 4]), json!([])),
            &["tree 0: leaf 1 does not hold 2 finite numbers"],
        ),
        ("single and vector leaves", mixed, &["tree 1: single and vector leaves are mixed"]),
    ];
    let mut wrong = Wrong::default();
    for (what, document, why) in &cases {
        wrong.refused(what, prepared(&text(document)), Kind::Validation, why);
        wrong.refused(&format!("{what}, as UBJSON"), prepared(&binary(document)), Kind::Validation, why);
    }
    wrong.end();
}

#[test]
fn documents_that_nest_or_announce_without_end_are_refused_at_once() {
    let honest = text(&honest());
    // An unknown member is passed over, to the same depth as all others.
    let inside = |member: &[u8]| [&honest[..honest.len() - 1], b",\"x\":", member, b"}"].concat();
    let nested = |depth: usize| inside(&[b"[".repeat(depth), b"]".repeat(depth)].concat());
    assert!(prepared(&nested(63)).is_ok());
    let binary = binary(&super::documents::honest());
    let member = |value: &[u8]| [b"{U\x01x", value, &binary[1..]].concat();
    let typed_nest = [&b"[$[#U\x01".repeat(100)[..], b"]"].concat();
    let huge = 0x7fff_ffff_ffff_ffff_i64.to_be_bytes();
    let with = |head: &[u8]| member(&[head, &huge].concat());
    let cases: Vec<(&str, Vec<u8>, Why)> = vec![
        ("64 below the root", nested(64), &["the JSON nests deeper than 64, at byte"]),
        ("a million lists", inside(&b"[".repeat(1_000_000)), &["the JSON nests deeper than 64"]),
        ("a million objects", inside(&b"{\"a\":".repeat(1_000_000)), &["the JSON nests deeper than 64"]),
        ("bytes after", [&honest[..], b" {}"].concat(), &["where the end is expected"]),
        ("a cut word", inside(b"tru"), &["true or false is expected"]),
        ("a leading zero", inside(b"01"), &["at byte"]),
        ("a bare control character", inside(b"\"\n\""), &["a string holds a bare control character"]),
        ("an unknown escape", inside(b"\"\\x41\""), &["a string holds an unknown escape"]),
        ("half a surrogate pair", inside(b"\"\\ud800\""), &["a string holds an unpaired surrogate"]),
        ("no UTF-8", inside(b"\"\xff\""), &["a string is not UTF-8"]),
        ("UBJSON: 1,000 lists", member(&b"[".repeat(1000)), &["the UBJSON nests deeper than 64"]),
        ("UBJSON: 1,000 objects", member(&b"{U\x01a".repeat(1000)), &["the UBJSON nests deeper than 64"]),
        ("UBJSON: typed lists of lists", member(&typed_nest), &["the UBJSON nests deeper than 64"]),
        ("UBJSON: 2^63 numbers", with(b"[$d#L"), &["the UBJSON announces 9223372036854775807 elements, more than the bytes left"]),
        ("UBJSON: 2^63 words", with(b"[$l#L"), &["more than the bytes left"]),
        ("UBJSON: 2^63 lists", with(b"[$[#L"), &["more than the bytes left"]),
        ("UBJSON: 2^63 of anything", with(b"[#L"), &["more than the bytes left"]),
        ("UBJSON: 2^63 members", with(b"{#L"), &["more than the bytes left"]),
        ("UBJSON: 2^63 nulls", with(b"[$Z#L"), &["a UBJSON container of type `Z` is not taken"]),
        ("UBJSON: 2^63 nothings", with(b"[$N#L"), &["a UBJSON container of type `N` is not taken"]),
        ("UBJSON: 2^63 truths", with(b"[$T#L"), &["a UBJSON container of type `T` is not taken"]),
        ("UBJSON: a string of 2^63", with(b"SL"), &["the UBJSON ends, 9223372036854775807 more bytes are announced"]),
        ("UBJSON: a string of -1", member(b"Si\xff"), &["the UBJSON announces a length of -1"]),
        ("UBJSON: -1 elements", member(b"[#i\xff"), &["the UBJSON announces a length of -1"]),
        ("UBJSON: a type without a count", member(b"[$dU\x01"), &["a typed UBJSON container has no count"]),
        ("UBJSON: an unknown marker", member(b"Q"), &["marker `Q`"]),
        ("UBJSON: a string that is not UTF-8", [b"{U\x01\xff", &binary[1..]].concat(), &["a string is not UTF-8"]),
        ("UBJSON: bytes after", [&binary[..], b"NN"].concat(), &["2 bytes follow the UBJSON document"]),
        ("UBJSON: nothings without end", [b"{U\x01x".to_vec(), b"N".repeat(1_000_000)].concat(), &["the UBJSON ends"]),
    ];
    let mut wrong = Wrong::default();
    for (what, bytes, why) in &cases {
        wrong.refused(what, prepared(bytes), Kind::Validation, why);
    }
    wrong.end();
}

/// A tree that is one long stair: every right child splits again.
fn stair(depth: i32) -> Value {
    let nodes = depth * 2 + 1;
    let child = |step: i32| (0..nodes).map(move |at| if at % 2 == 0 && at < nodes - 1 { at + step } else { -1 }).collect::<Vec<_>>();
    let zeros = vec![0; nodes as usize];
    json!({
        "id": 0, "left_children": child(1), "right_children": child(2), "split_indices": zeros, "split_conditions": zeros,
        "default_left": zeros, "split_type": zeros,
    })
}

#[test]
fn a_tree_is_as_deep_as_4096_levels_and_no_deeper() {
    let document = |depth: i32| {
        let rounds = ("/learner/gradient_booster/model/iteration_indptr", json!([0, 1]));
        changed(&[("/learner/gradient_booster/model/trees", json!([stair(depth)])), rounds])
    };
    assert!(answers(&prepared(&text(&document(4096))).unwrap()));
    let mut wrong = Wrong::default();
    wrong.refused("4097", prepared(&text(&document(4097))), Kind::Validation, &["tree 0: it is deeper than 4096 levels"]);
    wrong.refused("50000", prepared(&binary(&document(50_000))), Kind::Validation, &["tree 0: it is deeper than 4096 levels"]);
    wrong.end();
}

#[test]
fn more_rows_than_a_minute_takes_are_refused_before_any_is_answered() {
    let trees = 20_000;
    let stump = |id: usize| {
        json!({
            "id": id, "left_children": [1, -1, -1], "right_children": [2, -1, -1], "split_indices": [0, 0, 0],
            "split_conditions": [0.5, 0.25, -0.25], "default_left": [0, 0, 0], "sum_hessian": [2.0, 1.0, 1.0],
        })
    };
    let many = changed(&[
        ("/learner/learner_model_param/num_feature", json!("1")),
        ("/learner/gradient_booster/model/iteration_indptr", json!([])),
        ("/learner/gradient_booster/model/tree_info", json!(vec![0; trees])),
        ("/learner/gradient_booster/model/trees", (0..trees).map(stump).collect()),
    ]);
    let prepared = prepared(&binary(&many)).unwrap();
    let model = runtime::load("xgboost", &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64).unwrap();
    let rows = |count: usize| [Tensor::new(1, vec![0.0f32; count]).unwrap().into()];
    let mut wrong = Wrong::default();
    let why: Why = &["1100000 rows are too much work for this model; send fewer rows at once"];
    wrong.refused("answers", model.predict(&rows(1_100_000)), Kind::TooLarge, why);
    wrong.refused("raw scores", model.raw(&rows(1_100_000)), Kind::TooLarge, why);
    wrong.refused("explanations", model.explain(&rows(1_100_000)), Kind::TooLarge, why);
    wrong.end();
    assert!(model.predict(&rows(20)).is_ok() && model.explain(&rows(20)).is_ok());
}

#[test]
fn vector_leaves_are_explained_whichever_output_their_tree_names() {
    let tree = json!({
        "id": 0, "left_children": [1, -1, -1], "right_children": [2, -1, -1], "split_indices": [0, 0, 0],
        "split_conditions": [0.5, 0.0, 0.0], "default_left": [0, 0, 0], "sum_hessian": [2.0, 1.0, 1.0],
        "base_weights": [0.5, 0.5, 1.0, 2.0, 3.0, 5.0], "tree_param": { "size_leaf_vector": "2" },
    });
    let explained = |output: i32| {
        let document = changed(&[
            ("/learner/learner_model_param/num_target", json!("2")),
            ("/learner/objective/name", json!("reg:squarederror")),
            ("/learner/gradient_booster/model/iteration_indptr", json!([0, 1])),
            ("/learner/gradient_booster/model/tree_info", json!([output])),
            ("/learner/gradient_booster/model/trees", json!([tree])),
        ]);
        let prepared = prepared(&text(&document)).unwrap();
        let model = runtime::load("xgboost", &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64).unwrap();
        model.explain(&[Tensor::new(3, vec![0.0f32; 3]).unwrap().into()]).unwrap().f32s().unwrap().values().to_vec()
    };
    assert_eq!(explained(0), [-1.0, 0.0, 0.0, 2.5, -1.5, 0.0, 0.0, 4.0]);
    assert_eq!(explained(1), explained(0));
}

#[test]
fn vector_leaves_count_as_work() {
    let leaf = json!({
        "id": 0, "left_children": [-1], "right_children": [-1], "split_indices": [0], "split_conditions": [0.0],
        "default_left": [0], "base_weights": vec![0.5; 500], "tree_param": { "size_leaf_vector": "500" },
    });
    let wide = changed(&[
        ("/learner/learner_model_param/num_target", json!("500")),
        ("/learner/objective/name", json!("reg:squarederror")),
        ("/learner/gradient_booster/model/iteration_indptr", json!([0, 1])),
        ("/learner/gradient_booster/model/trees", json!([leaf])),
    ]);
    let prepared = prepared(&text(&wide)).unwrap();
    let model = runtime::load("xgboost", &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64).unwrap();
    assert!(model.cost(1) >= 500, "{}", model.cost(1));
}

#[test]
fn what_upload_takes_can_be_loaded() {
    // A prepared form's head is read up to 64 MiB. In it a control character takes six bytes, in UBJSON one.
    let name = "\u{1}".repeat(12 << 20);
    let mut document = changed(&[("/learner/feature_names", json!(["@long", "b", "c"]))]);
    set(&mut document, "/learner/feature_types", json!([]));
    let bytes = binary(&document);
    let short = [b"SL", &5i64.to_be_bytes()[..], b"@long"].concat();
    let at = bytes.windows(short.len()).position(|window| window == short).unwrap();
    let long = [b"SL", &(name.len() as i64).to_be_bytes()[..], name.as_bytes()].concat();
    let bytes = [&bytes[..at], &long, &bytes[at + short.len()..]].concat();
    if let Ok(prepared) = prepared(&bytes) {
        let loaded = runtime::load("xgboost", &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64);
        assert!(loaded.is_ok(), "taken at upload, then: {:?}", loaded.err());
    }
}

#[test]
fn every_cut_of_the_honest_document_is_refused() {
    for whole in [text(&honest()), binary(&honest())] {
        for cut in 0..whole.len() {
            assert!(prepared(&whole[..cut]).is_err(), "cut at {cut} of {}", whole.len());
        }
    }
}

#[test]
fn every_flipped_byte_of_rare_shapes_is_refused_or_answers_finite_numbers() {
    // Shapes that the smallest fixtures, which xgboost.rs flips, do not have.
    let fixture = |name: &str| std::fs::read(fixture_folder().join(name)).unwrap();
    let shapes = [text(&honest()), binary(&honest()), fixture("v3_2_0-one_leaf_vector.json"), fixture("v3_4_1-gblinear_multi.ubj")];
    let (mut answered, mut tried) = (0, 0);
    for bytes in shapes {
        for at in 0..bytes.len() {
            for flip in [0x01, 0x02, 0x10, 0x80, 0xff] {
                let mut hostile = bytes.clone();
                hostile[at] ^= flip;
                tried += 1;
                answered += usize::from(prepared(&hostile).is_ok_and(|prepared| answers(&prepared)));
            }
        }
    }
    println!("{tried} flips, {answered} of them still answer");
    assert!(answered > 0);
}
