//! XGBoost's binary form and pickled Boosters of 0.90 to 3.2: margins to the bit, answers to a millionth; and pickles that
//! mean harm.
//!
//! `tests/fixtures/make_xgboost_old.py` made models and expectations with the library itself, version by version.

use std::path::{Path, PathBuf};

use rookery::artifact::{Artifact, Limits};
use rookery::error::Result;
use rookery::runtime::{self, Model, Prepared};
use rookery::tensor::{Tensor, ValueKind};
use serde_json::Value as Json;

use crate::xgboost::numbers;

/// Transformed answers may differ by this much, relative.
const RELATIVE: f32 = 1e-6;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/xgboost_old")
}

fn files() -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end != "json"));
    paths.sort();
    paths
}

fn prepare(bytes: &[u8]) -> Result<Prepared> {
    runtime::prepare(Artifact::read(bytes, Limits::default())?)
}

fn loaded(prepared: &Prepared) -> Box<dyn Model> {
    runtime::load(&prepared.summary.format, &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64).unwrap()
}

fn refused(bytes: &[u8]) -> String {
    prepare(bytes).unwrap_err().message().to_owned()
}

#[test]
fn every_old_file_answers_as_the_library_did() {
    let mut failures = Vec::new();
    let mut compared = 0;
    for path in files() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let expected = folder().join(format!("{}.expected.json", name.trim_end_matches(".pkl").rsplit_once('.').unwrap().0));
        let expected = if name.ends_with(".bin") { folder().join(name.replace(".bin", ".expected.json")) } else { expected };
        let expected: Json = serde_json::from_str(&std::fs::read_to_string(expected).unwrap()).unwrap();
        let prepared = match prepare(&std::fs::read(&path).unwrap()) {
            Ok(prepared) => prepared,
            Err(error) => {
                failures.push(format!("{name}: refused: {error}"));
                continue;
            }
        };
        let model = loaded(&prepared);
        assert_eq!(model.weight(), prepared.summary.weight, "{name}");
        let rows = Tensor::new(expected["features"].as_u64().unwrap() as usize, numbers(&expected["rows"])).unwrap();
        let input = [rows.into()];
        let margins = model.raw(&input).unwrap();
        let margins = margins.f32s().unwrap().values();
        let wanted = numbers(&expected["margin"]);
        let off = margins.iter().zip(&wanted).filter(|(found, wanted)| found.to_bits() != wanted.to_bits()).count();
        if off > 0 || margins.len() != wanted.len() {
            failures.push(format!("{name}: {off} of {} margins differ, {:?} for {:?}", margins.len(), &margins[..4], &wanted[..4]));
        }
        let answer = model.predict(&input).unwrap();
        let answer = answer.scores.f32s().unwrap().values();
        let wanted = numbers(&expected["predict"]);
        if answer.len() != wanted.len() || answer.iter().zip(&wanted).any(|(a, b)| (a - b).abs() > RELATIVE * b.abs()) {
            failures.push(format!("{name}: answers {:?} for {:?}", &answer[..4], &wanted[..4]));
        }
        compared += 1;
    }
    println!("{compared} old XGBoost files compared");
    assert!(failures.is_empty(), "{} of {compared} differ:\n{}", failures.len(), failures.join("\n"));
    assert!(compared >= 250, "only {compared} fixtures were found");
}

/// The smallest file of each kind.
fn smallest() -> Vec<(String, Vec<u8>)> {
    let mut paths = files();
    paths.sort_by_key(|path| std::fs::metadata(path).unwrap().len());
    [("v0_90", ".bin"), ("v1_7_6", ".bin"), ("v0_90", "py2p0.pkl"), ("v1_2_1", "p4.pkl"), ("v1_5_2", ".pkl"), ("v3_2_0", ".pkl")]
        .map(|(version, end)| {
            let is = |path: &&PathBuf| {
                let name = path.file_name().unwrap().to_string_lossy();
                name.starts_with(version) && name.ends_with(end) && !name.contains("one_leaf") && !name.contains("gblinear")
            };
            let path = paths.iter().find(is).unwrap();
            (path.display().to_string(), std::fs::read(path).unwrap())
        })
        .into()
}

#[test]
fn every_cut_of_an_old_file_is_refused() {
    for (name, bytes) in smallest() {
        assert!(prepare(&bytes).is_ok(), "{name}");
        for end in 0..bytes.len() {
            assert!(prepare(&bytes[..end]).is_err(), "{name} cut at {end} was taken");
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        assert!(prepare(&longer).is_err(), "{name} with a byte more was taken");
    }
}

#[test]
fn every_flipped_byte_is_refused_or_answers_finite_numbers() {
    let mut answered = 0;
    for (name, bytes) in smallest() {
        for at in 0..bytes.len() {
            for flip in [0x01, 0x40, 0x80, 0xff] {
                let mut hostile = bytes.clone();
                hostile[at] ^= flip;
                let Ok(prepared) = prepare(&hostile) else { continue };
                if prepared.summary.features > 1_000 {
                    continue;
                }
                let model = loaded(&prepared);
                let columns = prepared.summary.features;
                for value in [f32::NAN, -1e30, 0.0, 1e30] {
                    let input = [Tensor::new(columns, vec![value; columns]).unwrap().into()];
                    if let Ok(contributions) = model.explain(&input) {
                        // Finite leaves may still add up to more than an f32 holds, but never to a NaN.
                        assert!(contributions.f32s().unwrap().values().iter().all(|value| !value.is_nan()), "{name} {at}");
                    }
                    if let Ok(output) =
                        runtime::pipeline::run(&[runtime::pipeline::Step::model("flipped", model.as_ref())], input.into(), false)
                    {
                        assert!(output.scores.not_finite().is_none());
                        answered += 1;
                    }
                }
            }
        }
    }
    assert!(answered > 0, "no flip left a model that answers; the test shows nothing");
}

#[test]
fn pickles_of_anything_else_are_refused_by_name() {
    let booster = std::fs::read(folder().join("v1_2_1-logistic.p2.pkl")).unwrap();
    let swap = |from: &[u8], to: &[u8]| {
        let at = booster.windows(from.len()).position(|window| window == from).unwrap();
        [&booster[..at], to, &booster[at + from.len()..]].concat()
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"cposix\nsystem\n(S'id'\ntR.".to_vec(), "`posix.system`"),
        (b"cos\nsystem\np0\n(Vid\ntR.".to_vec(), "`os.system`"),
        (b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.".to_vec(), "`posix.system`"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.".to_vec(), "`posix.system`"),
        (b"\x80\x02cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R.".to_vec(), "`builtins.eval`"),
        (b"\x80\x02cbuiltins\ngetattr\n.".to_vec(), "`builtins.getattr`"),
        (b"\x80\x02(X\x02\x00\x00\x00idios\nsystem\n.".to_vec(), "`os.system`"),
        (b"\x80\x02(cxgboost.core\nBooster\no.".to_vec(), "`OBJ`"),
        (b"\x80\x04cxgboost.core\nBooster\n)}\x92.".to_vec(), "`NEWOBJ_EX`"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.".to_vec(), "`PERSID`"),
        (b"\x80\x02\x82\x01.".to_vec(), "`EXT`"),
        (b"\x80\x05\x97.".to_vec(), "`NEXT_BUFFER`"),
        (b"\x80\x02cxgboost.core\nBooster\n)R.".to_vec(), "`xgboost.core.Booster` in another way"),
        (b"\x80\x02cxgboost.core\nBooster\n.".to_vec(), "a class, not an object"),
        (b"\x80\x02ccopy_reg\n_reconstructor\ncxgboost.core\nBooster\ncxgboost.core\nBooster\nN\x87R.".to_vec(), "`object`"),
        (b"\x80\x02csklearn.linear_model\nLinearRegression\n)\x81.".to_vec(), "`sklearn.linear_model.LinearRegression`"),
        (b"\x80\x02}.".to_vec(), "a dict"),
        (b"\x80\x02].".to_vec(), "a list"),
        (b"\x80\x02K\x01.".to_vec(), "a number"),
        (b"\x80\x02cxgboost.core\nBooster\n)\x81.".to_vec(), "`handle`"),
        (b"\x80\x02cxgboost.core\nBooster\n)\x81}X\x06\x00\x00\x00handleNsb.".to_vec(), "nothing, not bytes"),
        (b"\x80\x02cxgboost.core\nBooster\n)\x81}X\x06\x00\x00\x00handleX\x03\x00\x00\x00\xe2\x82\xacsb.".to_vec(), "not Latin-1"),
        (b"\x80\x02cxgboost.core\nBooster\n)\x81}X\x06\x00\x00\x00handleC\x03abcsb.".to_vec(), "in the pickled Booster"),
        (b"\x80\x02cxgboost.sklearn\nXGBClassifier\n)\x81}b.".to_vec(), "no trained Booster"),
        (b"\x80\x02X\xff\xff\xff\xffabc.".to_vec(), "are left"),
        (b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.".to_vec(), "are left"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.".to_vec(), "are left"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.".to_vec(), "are left"),
        (b"\x80\x02h\x07.".to_vec(), "memo 7"),
        (b"\x80\x020.".to_vec(), "not there"),
        (b"\x80\x02t.".to_vec(), "mark"),
        (b"\x80\x02NNa.".to_vec(), "no list"),
        (b"\x80\x02(N}d.".to_vec(), "a dict"),
        (b"\x80\x02(Nd.".to_vec(), "no value"),
        (b"\x80\x02ccsv".to_vec(), "does not end"),
        (swap(b"xgboost.core\nBooster", b"xgboost.corf\nBooster"), "`xgboost.corf.Booster`"),
        (swap(b"_codecs\nencode", b"_codecs\ndecode"), "`_codecs.decode`"),
        (swap(b"latin1", b"utf-16"), "Latin-1"),
    ];
    for (bytes, reason) in cases {
        let message = refused(&bytes);
        assert!(message.contains(reason), "{:?}: {message}", String::from_utf8_lossy(&bytes[..bytes.len().min(80)]));
    }
}

#[test]
fn pickles_that_grow_are_refused_in_time() {
    let before = crate::support::own_time();
    let wrap = |inside: &[u8]| [b"\x80\x02".as_slice(), inside, b"."].concat();
    // Ten million values; ten million memos; a tuple in a tuple in a tuple; a list that holds itself.
    assert!(refused(&wrap(&b"N".repeat(10_000_000))).contains("steps"));
    let memos: Vec<u8> = (0..3_000_000u32).flat_map(|key| [b"r".as_slice(), &key.to_le_bytes()].concat()).collect();
    assert!(!refused(&wrap(&[b"N".as_slice(), &memos].concat())).is_empty());
    assert!(refused(&wrap(&[b")".to_vec(), b"\x85".repeat(3_000_000)].concat())).contains("a tuple"));
    assert!(refused(&wrap(b"]q\x00h\x00a")).contains("a list"));
    // One text of a megabyte, decoded as often as a pickle can name it.
    let text = [b"X\x00\x00\x10\x00".as_slice(), &[b'a'; 1 << 20], b"q\x000"].concat();
    let calls = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R0".repeat(50_000);
    assert!(!refused(&wrap(&[text.as_slice(), &calls, b"N"].concat())).is_empty());
    let booster = b"cxgboost.core\nBooster\n)\x81}(X\x06\x00\x00\x00handleC\x00X\x0d\x00\x00\x00feature_names](";
    let names = [booster.as_slice(), &b"h\x00".repeat(1_000_000), b"eub"].concat();
    assert!(!refused(&wrap(&[text.as_slice(), &names].concat())).is_empty());
    // A class with a name of a megabyte, as escaped and as plain text, mentioned a thousand times.
    let name = [b"XGB".as_slice(), &[b'a'; 1 << 20]].concat();
    let escaped = [b"V".as_slice(), &name, b"\n"].concat();
    let plain = [b"\x8d".as_slice(), &(name.len() as u64).to_le_bytes(), &name].concat();
    let line = [b"cxgboost.sklearn\n".as_slice(), &name, b"\n"].concat();
    let mention = b"h\x00h\x01\x930".repeat(1_000);
    for inside in [&escaped, &plain].map(|name| [b"\x8c\x0fxgboost.sklearnq\x000", name.as_slice(), b"q\x010", &mention].concat()) {
        let message = refused(&wrap(&inside));
        assert!(message.contains("names `xgboost.sklearn.XGBaaa") && message.len() < 1_000, "{message}");
    }
    assert!(refused(&wrap(&line)).len() < 1_000);
    // Escapes stand for no known name, and a known one may be mentioned as often as there are steps.
    assert!(refused(&wrap(b"\x8c\x0cxgboost.coreV\\u0042ooster\n\x93")).contains("names `xgboost.core.\\\\u0042ooster`"));
    let known = [b"\x8c\x0cxgboost.coreq\x000\x8c\x07Boosterq\x010".as_slice(), &b"h\x00h\x01\x930".repeat(800_000), b"N"].concat();
    assert!(refused(&wrap(&known)).contains("holds nothing"));
    let took = crate::support::own_time() - before;
    assert!(took.as_secs() < 20, "{took:?}");
}

#[test]
fn counts_of_a_binary_model_are_checked_before_they_are_believed() {
    let whole = std::fs::read(folder().join("v1_7_6-softprob.bin")).unwrap();
    // Behind `binf` and the head: two names, then trees, then a tree's nodes.
    let forest = 4 + 136 + 8 + "multi:softprob".len() + 8 + "gbtree".len();
    let set = |at: usize, value: [u8; 4]| {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&value);
        refused(&bytes)
    };
    assert!(set(forest, i32::MAX.to_le_bytes()).contains("cut off"));
    assert!(set(forest, (-1i32).to_le_bytes()).contains("-1 trees"));
    assert!(set(forest + 160 + 4, i32::MAX.to_le_bytes()).contains("are left"));
    assert!(set(forest + 160 + 4, [0; 4]).contains("no node"));
    assert!(set(forest + 160, 9i32.to_le_bytes()).contains("9 roots"));
    assert!(set(8, u32::MAX.to_le_bytes()).contains("features"));
    assert!(set(12, i32::MAX.to_le_bytes()).contains("the model has"));
    assert!(set(4, f32::NAN.to_le_bytes()).contains("base score"));
    assert!(set(24, 500i32.to_le_bytes()).contains("version"));
    // A node whose children go around in a circle.
    assert!(set(forest + 160 + 148 + 4, [0; 4]).contains("cycle"));
}

/// A plain tar of `members`.
fn archive(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn several_models_in_one_archive_answer_as_one() {
    let read = |name: &str| std::fs::read(folder().join(name)).unwrap();
    let ask = |bytes: &[u8], values: Vec<f32>| {
        let prepared = prepare(bytes).unwrap();
        let model = loaded(&prepared);
        assert_eq!(model.weight(), prepared.summary.weight);
        let output = model.predict(&[Tensor::new(4, values).unwrap().into()]).unwrap();
        (
            output.scores.f32s().unwrap().values().to_vec(),
            output.labels.map(|labels| labels.to(ValueKind::F32).unwrap().f32s().unwrap().values().to_vec()),
        )
    };
    let values: Vec<f32> = (0..40).map(|at| (at * 37 % 17) as f32 - 8.0).collect();
    // Means, of a binary file, a pickle and a hidden file that is none of them.
    for (one, two) in [("v1_7_6-logistic.bin", "v0_90-logistic_default.bin"), ("v1_2_1-softprob.bin", "v1_7_6-dart_multi.bin")] {
        let together = archive(&[("xgboost-model-1", read(two)), ("xgboost-model-0", read(one)), (".hidden", b"x".to_vec())]);
        let ((a, _), (b, _)) = (ask(&read(one), values.clone()), ask(&read(two), values.clone()));
        let (found, labels) = ask(&together, values.clone());
        let wanted: Vec<f32> = a.iter().zip(&b).map(|(a, b)| (a + b) / 2.0).collect();
        assert_eq!(found, wanted);
        assert_eq!(labels.unwrap().len(), 10);
    }
    // The class of a mean of raw margins is told by their sign.
    let raw = ["v1_7_6-logitraw.bin", "v0_90-logitraw.bin"].map(read);
    let (found, labels) = ask(&archive(&[("a", raw[0].clone()), ("b", raw[1].clone())]), values.clone());
    assert!(found.iter().any(|&margin| margin > 0.0 && margin < 0.5) && found.iter().any(|&margin| margin < 0.0), "{found:?}");
    assert_eq!(labels.unwrap(), found.iter().map(|&margin| f32::from(u8::from(margin > 0.0))).collect::<Vec<_>>());
    // Votes: two against one, and of three unlike ones the smallest.
    let names = ["v0_90-softmax.bin", "v1_7_6-softmax.bin", "v1_5_2-softmax.bin"];
    let members: Vec<_> = ["a", "b", "c"].into_iter().zip(names.map(read)).collect();
    let (found, labels) = ask(&archive(&members), values.clone());
    let votes = names.map(|name| ask(&read(name), values.clone()).0);
    for (row, found) in found.iter().enumerate() {
        let mut given = votes.each_ref().map(|votes| votes[row]);
        given.sort_by(f32::total_cmp);
        assert_eq!(*found, if given[1] == given[2] { given[1] } else { given[0] });
    }
    assert_eq!(labels.unwrap(), found);
    // Unlike ones are refused, by the file's name.
    let message = refused(&archive(&[("first", read("v1_7_6-softmax.bin")), ("second", read("v1_7_6-logistic.bin"))]));
    assert!(message.contains("`second`") && message.contains("multi:softmax"), "{message}");
    let hostile = b"\x80\x02cxgboost.core\nBooster\ncposix\nsystem\n.".to_vec();
    let message = refused(&archive(&[("first", read("v1_7_6-softmax.bin")), ("second", hostile)]));
    assert!(message.contains("`second`") && message.contains("`posix.system`"), "{message}");
}

#[test]
fn many_models_in_one_archive_are_added_up_one_by_one_and_counted() {
    let read = |name: &str| std::fs::read(folder().join(name)).unwrap();
    let together = |name: &str, count: usize| {
        let names: Vec<String> = (0..count).map(|member| format!("model-{member:03}")).collect();
        archive(&names.iter().map(|member| (member.as_str(), read(name))).collect::<Vec<_>>())
    };
    // The sum of many is as exact as the order of `f32` additions makes it, not a mean of means.
    let alone = loaded(&prepare(&read("v1_7_6-logistic.bin")).unwrap());
    let seven = loaded(&prepare(&together("v1_7_6-logistic.bin", 7)).unwrap());
    let input = [Tensor::new(4, (0..40).map(|at| (at * 37 % 17) as f32 - 8.0).collect()).unwrap().into()];
    let answer = |model: &dyn Model| model.predict(&input).unwrap().scores.f32s().unwrap().values().to_vec();
    let mean = |one: &f32| std::iter::repeat_n(*one, 6).fold(*one, |sum, one| sum + one) / 7.0;
    assert_eq!(answer(seven.as_ref()), answer(alone.as_ref()).iter().map(mean).collect::<Vec<_>>());
    // What a row spreads into on the way holds every vote, and one member's margins where there are none.
    let spread = |name: &str, count: usize| loaded(&prepare(&together(name, count)).unwrap()).schema().spread;
    assert_eq!(spread("v1_7_6-softmax.bin", 20), 20);
    assert_eq!(spread("v1_7_6-softprob.bin", 20), spread("v1_7_6-softprob.bin", 2));
    let message = refused(&together("v1_7_6-one_leaf.bin", 257));
    assert!(message.contains("257 models") && message.contains("256"), "{message}");
}

#[test]
fn what_lies_beside_a_model_is_not_taken_for_one() {
    let model = std::fs::read(folder().join("v1_7_6-logistic.bin")).unwrap();
    let pickle =
        b"\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00\x8c\x1bsklearn.preprocessing._data\x8c\x0eStandardScaler\x93)\x81.".to_vec();
    let arrays = [b"PK\x03\x04\x14\0\0\0\0\0".as_slice(), &[0; 20], b"arr_0.npy"].concat();
    let template = b"{# the page that shows answers #}".to_vec();
    let beside = [("preprocessor.pkl", pickle.clone()), ("data.npz", arrays.clone()), ("page.j2", template)];
    for (name, bytes) in beside.clone() {
        let taken = prepare(&archive(&[("xgboost-model", model.clone()), (name, bytes)])).unwrap();
        assert_eq!(taken.bytes, prepare(&model).unwrap().bytes, "{name}");
    }
    assert!(prepare(&archive(&[beside.as_slice(), &[("xgboost-model", model.clone())]].concat())).is_ok());
    // What lies in folders is no member where a model lies at the top; else all are, as they were archived.
    let other = std::fs::read(folder().join("v0_90-logistic_default.bin")).unwrap();
    for top in ["xgboost-model", "./xgboost-model"] {
        let members = [(top, model.clone()), ("checkpoints/xgboost-checkpoint.0", other.clone()), ("code/test/model.json", other.clone())];
        assert_eq!(prepare(&archive(&members)).unwrap().bytes, prepare(&model).unwrap().bytes, "{top}");
    }
    let top = [("a", model.clone()), ("b", other.clone()), ("old/c", other.clone())];
    assert_eq!(prepare(&archive(&top)).unwrap().bytes, prepare(&archive(&top[..2])).unwrap().bytes);
    let below = prepare(&archive(&[("model/a", model.clone()), ("model/b", other.clone())])).unwrap();
    assert!(below.summary.kind.starts_with("mean of 2"), "{}", below.summary.kind);
    // Alone such a file is told what is wrong with it, and two models stay two.
    assert!(refused(&archive(&[("preprocessor.pkl", pickle)])).contains("names `sklearn.preprocessing._data.StandardScaler`"));
    assert!(refused(&archive(&[("data.npz", arrays)])).contains("ZIP"));
    let trees = std::fs::read(folder().join("../lightgbm/v4_7_0-binary.txt")).unwrap();
    assert!(refused(&archive(&[("a", model.clone()), ("b", trees)])).contains("several models"));
    // A pickle that names a Booster is meant as a model, also where it is cut.
    let booster = std::fs::read(folder().join("v1_7_6-logistic.p4.pkl")).unwrap();
    let cut = booster[..booster.len() / 2].to_vec();
    assert!(refused(&archive(&[("a", model), ("b", cut)])).contains("`b`"));
}

#[test]
fn names_of_columns_take_no_more_than_the_pickle_that_holds_them() {
    let model = std::fs::read(folder().join("v0_90-logistic.bin")).unwrap();
    let pickle = |names: &[u8]| {
        let handle = [b"X\x06\x00\x00\x00handleB".as_slice(), &(model.len() as u32).to_le_bytes(), &model].concat();
        [b"\x80\x03cxgboost.core\nBooster\n)\x81}(", handle.as_slice(), b"X\x0d\x00\x00\x00feature_names](", names, b"eub."].concat()
    };
    let features = prepare(&model).unwrap().summary.features;
    let word = |word: &str| [b"X".as_slice(), &(word.len() as u32).to_le_bytes(), word.as_bytes()].concat();
    let named: Vec<u8> = (0..features).flat_map(|column| word(&format!("column {column}"))).collect();
    assert_eq!(prepare(&pickle(&named)).unwrap().summary.names.len(), features);
    // One long text that stands for every column.
    let same = [word(&"a".repeat(model.len())), b"q\x00".to_vec(), b"h\x00".repeat(features - 1)].concat();
    assert_eq!(prepare(&pickle(&same)).unwrap().summary.names.len(), 0);
}
