//! Every reader of uploaded bytes against bytes made to break it: archives, stored ZIPs, linear learners, XGBoost files.
//!
//! The many go through the library in this process; some of each kind go through the door, where nothing of them may
//! stay; and those that ask for absurd memory go to a server that has little. Payloads of predictions: `payloads.rs`.

mod documents;
pub(crate) mod door;

use std::io::{Read as _, Write as _};
use std::time::Duration;

use rookery::artifact::{Artifact, Limits};
use rookery::error::{Kind, Result};
use rookery::runtime::{self, Prepared, pipeline};
use rookery::tensor::Tensor;
use serde_json::{Value, json};

use crate::support::{city, own_time};
use crate::xgboost::fixture_folder;

/// Why something is to be refused: parts of the sentence.
type Why = &'static [&'static str];

fn within(bytes: &[u8], limits: Limits) -> Result<Prepared> {
    runtime::prepare(Artifact::read(bytes, limits)?)
}

fn prepared(bytes: &[u8]) -> Result<Prepared> {
    within(bytes, Limits::default())
}

/// Gathers what went wrong in a table, so that one run shows all of it.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn refused<T>(&mut self, what: &str, result: Result<T>, kind: Kind, why: &[&str]) {
        let Err(error) = result else { return self.0.push(format!("{what}: was taken")) };
        let message = error.message();
        let is_sentence = message.len() < 600 && !message.chars().any(char::is_control);
        if error.kind() != kind || !is_sentence || why.iter().any(|part| !message.contains(part)) {
            self.0.push(format!("{what}: wanted {kind:?} {why:?}, found {error:?}"));
        }
    }

    fn end(&self) {
        assert!(self.0.is_empty(), "{} wrong:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// Runs a model as callers do, with values at the ends of what they may send. Whatever comes out is finite.
fn answers(prepared: &Prepared) -> bool {
    let features = prepared.summary.features;
    if features > 1_000 {
        return false;
    }
    let model = runtime::load(&prepared.summary.format, &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64).unwrap();
    let mut any = false;
    for value in [f32::NAN, -1e30, 0.0, 0.7, 1e30] {
        if value.is_nan() && !model.schema().missing {
            continue;
        }
        let input = [Tensor::new(features, vec![value; features * 2]).unwrap().into()];
        if let Ok(output) = pipeline::run(&[pipeline::Step::model("hostile", model.as_ref())], input.into(), false) {
            assert!(output.scores.not_finite().is_none());
            any = true;
        }
    }
    any
}

// ---------------------------------------------------------------- archives

fn header(name: &[u8], kind: u8, size: &[u8; 12], magic: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(size);
    block[156] = kind;
    block[257..257 + magic.len()].copy_from_slice(magic);
    sign(block)
}

fn sign(mut block: Vec<u8>) -> Vec<u8> {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn octal(size: usize) -> [u8; 12] {
    format!("{size:011o}\0").into_bytes().try_into().unwrap()
}

const USTAR: &[u8] = b"ustar\x0000";
const GNU: &[u8] = b"ustar  \0";

fn typed(name: &[u8], kind: u8, data: &[u8]) -> Vec<u8> {
    let mut out = header(name, kind, &octal(data.len()), USTAR);
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

pub(crate) fn file(name: &str, data: &[u8]) -> Vec<u8> {
    typed(name.as_bytes(), b'0', data)
}

pub(crate) fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut out = entries.concat();
    out.resize(out.len() + 1024, 0);
    out
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A pax record: its length, counted with itself, a key, a value.
fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..).find(|&all| all == rest + all.to_string().len()).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

fn model() -> Vec<u8> {
    city(1, 100.0)
}

#[test]
fn archives_that_hold_more_than_plain_files_are_refused_by_entry_and_reason() {
    let (model, long) = (model(), vec![b'n'; 256]);
    let mut sparse = header(b"s", b'S', &octal(0), GNU);
    sparse[483..495].copy_from_slice(&octal(0));
    let one = |entry: Vec<u8>| vec![entry];
    let cases: Vec<(&str, Vec<Vec<u8>>, Why)> = vec![
        ("symbolic link", one(typed(b"xgboost-model", b'2', b"")), &["entry `xgboost-model` is a symbolic link", "plain files"]),
        ("hard link", one(typed(b"m", b'1', b"")), &["entry `m` is a hard link"]),
        ("character device", one(typed(b"m", b'3', b"")), &["entry `m` is a device"]),
        ("block device", one(typed(b"m", b'4', b"")), &["entry `m` is a device"]),
        ("pipe", one(typed(b"m", b'6', b"")), &["entry `m` is a pipe"]),
        ("sparse file", one(sign(sparse)), &["entry `s` is a sparse file"]),
        ("sparse file that is no GNU one", one(typed(b"m", b'S', b"")), &["damaged"]),
        ("volume label", one(typed(b"m", b'V', b"")), &["entry `m` is of an unknown kind"]),
        ("absolute", one(file("/etc/passwd", &model)), &["entry `/etc/passwd` has an absolute name"]),
        ("climbing", one(file("../m", &model)), &["entry `../m` climbs out of the archive with `..`"]),
        ("climbing inside", one(file("a/../../m", &model)), &["entry `a/../../m` climbs"]),
        ("climbing directory", one(typed(b"a/..", b'5', b"")), &["entry `a/..` climbs"]),
        ("climbing link", one(typed(b"..", b'2', b"")), &["entry `..` climbs"]),
        ("backslash", one(file("a\\b", &model)), &["entry `a\\\\b` has", "backslash"]),
        ("bell", one(file("a\u{7}b", &model)), &["entry `a\\u{7}b` has", "control character"]),
        ("line end", one(file("a\nb", &model)), &["entry `a\\nb` has", "control character"]),
        ("no UTF-8", one(typed(b"m\xff\xfe", b'0', &model)), &["entry `m\u{fffd}\u{fffd}` has a name that is not UTF-8"]),
        ("long GNU name", vec![typed(b"L", b'L', &long), file("m", &model)], &["has a name of 256 bytes; at most 255 are allowed"]),
        ("long pax name", vec![typed(b"x", b'x', &pax("path", &long)), file("m", &model)], &["has a name of 256 bytes"]),
        ("zero byte in a pax name", vec![typed(b"x", b'x', &pax("path", b"a\0b")), file("m", &model)], &["entry `a\\0b` has"]),
        ("climbing pax name", vec![typed(b"x", b'x', &pax("path", b"../m")), file("m", &model)], &["entry `../m` climbs"]),
        ("climbing GNU name", vec![typed(b"L", b'L', b"../m\0"), file("m", &model)], &["entry `../m` climbs"]),
        ("twice", vec![file("m", &model), file("m", &model)], &["entry `m` is in the archive twice"]),
        ("twice in two spellings", vec![file("m", &model), file("././m", &model)], &["entry `m` is in the archive twice"]),
        ("hidden twice", vec![file(".m", b""), file(".m", b""), file("m", &model)], &["entry `.m` is in the archive twice"]),
        ("several models", vec![file("a", &model), file("b", b"PK\x03\x04mx-mod-symbol.json")], &["several models (`a`, `b`)", "own path"]),
        ("only directories", vec![typed(b"a/", b'5', b""), typed(b"a/b/", b'5', b"")], &["the archive holds no file"]),
        ("only hidden files", vec![file("._m", &model), file("a/.b", &model)], &["the archive holds no file"]),
        (
            "no model",
            vec![file("readme.txt", b"hello")],
            &["no member of the archive is a known model format (it holds `readme.txt`)", "XGBoost"],
        ),
        (
            "a bad model",
            vec![file("a/m", br#"{"learner":{}}"#)],
            &["member `a/m`: the XGBoost model has no `learner.gradient_booster.name`"],
        ),
        ("two GNU names for one file", vec![typed(b"L", b'L', b"a\0"), typed(b"L", b'L', b"b\0"), file("m", &model)], &["damaged"]),
        ("two pax headers for one file", vec![typed(b"x", b'x', b""), typed(b"x", b'x', b""), file("m", &model)], &["damaged"]),
        ("a GNU name for nothing", one(typed(b"L", b'L', b"a\0")), &["damaged"]),
        ("a huge pax size", vec![typed(b"x", b'x', &pax("size", b"18446744073709551615")), file("m", &model)], &["damaged"]),
        ("a pax size past the end", vec![typed(b"x", b'x', &pax("size", b"9999999")), file("m", &model)], &["entry `m` is cut off"]),
        ("a size past the end", one(header(b"m", b'0', &octal(1 << 32), USTAR)), &["entry `m` is cut off: the archive is truncated"]),
        ("a size of 2^64 - 1", one(header(b"m", b'0', &[0xff; 12], USTAR)), &["damaged"]),
        ("a name of 2^63 bytes", one(header(b"L", b'L', b"\x80\0\0\0\x80\0\0\0\0\0\0\0", GNU)), &["damaged"]),
        ("a size that is no number", vec![file("a", b""), header(b"m", b'0', b"eight bytes\0", USTAR)], &["damaged"]),
        ("garbage after an entry", vec![file("a", b""), vec![7; 512]], &["damaged"]),
    ];
    let mut wrong = Wrong::default();
    for (what, entries, why) in &cases {
        let plain = tar(entries);
        wrong.refused(what, prepared(&plain), Kind::Validation, why);
        wrong.refused(&format!("{what}, gzipped"), prepared(&gz(&plain)), Kind::Validation, why);
    }
    println!("{} archives refused", cases.len() * 2);
    wrong.end();
}

#[test]
fn archives_of_every_honest_kind_are_taken() {
    let model = model();
    let old = |entry: Vec<u8>| {
        let mut block = entry;
        block[257..265].fill(0);
        let rest = block.split_off(512);
        [sign(block), rest].concat()
    };
    let name = "d/".repeat(100) + "xgboost-model";
    let (half, rest) = model.split_at(model.len() / 2);
    let good: Vec<(&str, Vec<u8>)> = vec![
        ("bare", model.clone()),
        ("bare, gzipped", gz(&model)),
        ("tar", tar(&[file("m", &model)])),
        ("tar.gz", gz(&tar(&[file("xgboost-model", &model)]))),
        ("tar without an end", file("m", &model)),
        ("tar of before 1988", tar(&[old(file("m", &model))])),
        ("tar.gz of before 1988", gz(&tar(&[old(file("m", &model))]))),
        ("GNU name", gz(&tar(&[typed(b"././@LongLink", b'L', &[name.as_bytes(), b"\0"].concat()), file("m", &model)]))),
        ("pax name", gz(&tar(&[typed(b"x", b'x', &pax("path", name.as_bytes())), file("m", &model)]))),
        ("name of 255 bytes", tar(&[typed(b"x", b'x', &pax("path", &[b'n'; 255])), file("m", &model)])),
        ("global pax header", tar(&[typed(b"g", b'g', &pax("comment", b"hello")), file("m", &model)])),
        ("dot and directories", gz(&tar(&[typed(b"./", b'5', b""), typed(b"./a/", b'5', b""), file("./a/m", &model)]))),
        ("hidden files beside", gz(&tar(&[file("._m", &model), file("m", &model), file(".DS_Store", b"x")]))),
        ("other files beside", gz(&tar(&[file("code/inference.py", b"pass"), file("m", &model), file("empty", b"")]))),
        ("contiguous file", tar(&[typed(b"m", b'7', &model)])),
        ("two gzip members", [gz(half), gz(rest)].concat()),
        ("100,000 empty gzip members first", [gz(b"").repeat(100_000), gz(&model)].concat()),
        ("bytes after the tar's end", gz(&[tar(&[file("m", &model)]), vec![b'x'; 3000]].concat())),
        ("accents in a name", tar(&[file("modèle/é", &model)])),
    ];
    for (what, bytes) in &good {
        let prepared = prepared(bytes).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(prepared.summary.format, "xgboost", "{what}");
    }
}

#[test]
fn bombs_stop_at_the_limit_they_meet_and_name_it() {
    let limits = Limits { unpacked: 100_000, entries: 3, name: 255 };
    let (zeros, huge) = (vec![0; 8 << 20], vec![b'n'; 1 << 20]);
    let files = |count: usize| (0..count).map(|at| file(&at.to_string(), b"")).collect::<Vec<_>>();
    let folders: Vec<_> = (0..4).map(|at| typed(format!("{at}/").as_bytes(), b'5', b"")).collect();
    let bytes: Why = &["the archive unpacks to more bytes than allowed"];
    let entries: Why = &["the archive has more than 3 entries"];
    let cases: Vec<(&str, Vec<u8>, Why)> = vec![
        ("gzipped zeros", gz(&zeros), bytes),
        ("bare", huge.clone(), bytes),
        ("a member of zeros", gz(&tar(&[file("m", &zeros)])), bytes),
        ("a member in a plain tar", tar(&[file("m", &huge)]), bytes),
        ("a hidden member", gz(&tar(&[file(".m", &zeros)])), bytes),
        ("a directory with content", gz(&tar(&[typed(b"d/", b'5', &zeros), file("m", b"")])), bytes),
        ("a GNU name of a megabyte", gz(&tar(&[typed(b"L", b'L', &huge), file("m", b"")])), bytes),
        ("a GNU link name of a megabyte", gz(&tar(&[typed(b"K", b'K', &huge), file("m", b"")])), bytes),
        ("a pax header of a megabyte", gz(&tar(&[typed(b"x", b'x', &pax("comment", &huge)), file("m", b"")])), bytes),
        ("a global pax header of a megabyte", gz(&tar(&[typed(b"g", b'g', &pax("comment", &huge)), file("m", b"")])), bytes),
        ("zeros after the end", gz(&[tar(&[file("m", b"")]), zeros.clone()].concat()), bytes),
        ("a member more than allowed", tar(&files(4)), entries),
        ("a directory more than allowed", gz(&tar(&folders)), entries),
        ("global pax headers", tar(&(0..4).map(|_| typed(b"g", b'g', b"")).collect::<Vec<_>>()), entries),
    ];
    let mut wrong = Wrong::default();
    for (what, bomb, why) in &cases {
        wrong.refused(what, within(bomb, limits), Kind::TooLarge, why);
    }
    wrong.end();
    assert!(within(&gz(&tar(&files(3))), limits).unwrap_err().message().contains("no member"), "three entries are as many as allowed");
    // The limit itself is still allowed.
    let exact = Limits { unpacked: model().len() as u64, ..limits };
    assert!(within(&gz(&model()), exact).is_ok());
    assert!(within(&gz(&model()), Limits { unpacked: exact.unpacked - 1, ..limits }).is_err());
}

#[test]
fn damaged_and_empty_files_are_refused() {
    let whole = gz(&tar(&[file("m", &model())]));
    let with = |at: usize, xor: u8| {
        let mut bytes = whole.clone();
        bytes[at] ^= xor;
        bytes
    };
    let end = whole.len();
    let cases: Vec<(&str, Vec<u8>, Why)> = vec![
        ("nothing", vec![], &["the file is empty"]),
        ("gzip of nothing", gz(b""), &["the file is empty"]),
        ("one byte", b"{".to_vec(), &["not a known model format"]),
        ("text", b"hello, model".to_vec(), &["the file is not a known model format", "save_model", ".tar.gz"]),
        ("a pickle", b"\x80\x04\x95\x00".to_vec(), &["the pickle is damaged"]),
        ("gzip of gzip", gz(&gz(&model())), &["not a known model format"]),
        ("a wrong gzip checksum", with(end - 8, 1), &["the archive is damaged"]),
        ("a wrong gzip length", with(end - 4, 1), &["the archive is damaged"]),
        ("an unknown gzip method", with(2, 1), &["the archive is damaged"]),
        ("bytes after the gzip's end", [whole.clone(), b"garbage".to_vec()].concat(), &["the archive is"]),
        ("a cut second gzip member", [whole.clone(), gz(b"more")[..12].to_vec()].concat(), &["the archive is truncated"]),
    ];
    let mut wrong = Wrong::default();
    for (what, bytes, why) in &cases {
        wrong.refused(what, prepared(bytes), Kind::Validation, why);
    }
    for cut in 1..end {
        let result = prepared(&whole[..cut]);
        let why: Why = if cut < 2 { &["not a known model format"] } else { &["the archive is truncated", "tar czf"] };
        wrong.refused(&format!("cut at {cut}"), result, Kind::Validation, why);
    }
    wrong.end();
}

#[test]
fn an_archive_of_nothing_is_said_to_be_empty() {
    // What `tar czf x.tgz --files-from /dev/null` writes: end blocks alone.
    let mut wrong = Wrong::default();
    for (what, bytes) in [("plain", vec![0; 10_240]), ("gzipped", gz(&vec![0; 10_240]))] {
        wrong.refused(what, prepared(&bytes), Kind::Validation, &["the archive holds no file"]);
    }
    wrong.end();
}

// ---------------------------------------------------------------- stored ZIPs and linear learners

fn stored(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in members {
        let mut crc = flate2::Crc::new();
        crc.update(data);
        let (size, length) = ((data.len() as u32).to_le_bytes(), (name.len() as u16).to_le_bytes());
        // From the flags on, the local record and the directory's begin alike.
        let facts = [&[0; 8], &crc.sum().to_le_bytes()[..], &size, &size, &length, &[0; 2]].concat();
        let at = (out.len() as u32).to_le_bytes();
        out.extend([b"PK\x03\x04\x14\x00", &facts[..], name.as_bytes(), data].concat());
        directory.extend([b"PK\x01\x02\x14\x00\x14\x00", &facts[..], &[0; 10], &at, name.as_bytes()].concat());
    }
    let count = (members.len() as u16).to_le_bytes();
    let (size, at) = ((directory.len() as u32).to_le_bytes(), (out.len() as u32).to_le_bytes());
    out.extend([&directory[..], b"PK\x05\x06\0\0\0\0", &count, &count, &size, &at, &[0; 2]].concat());
    out
}

fn symbol(output: &str) -> Value {
    let variable = |name: &str| json!({ "op": "null", "name": name, "inputs": [] });
    json!({ "nodes": [
        variable("data"), variable("fc0_weight"), { "op": "dot", "name": "dot0", "inputs": [[0, 0, 0], [1, 0, 0]] },
        variable("fc0_bias"), { "op": "broadcast_add", "name": "sum", "inputs": [[2, 0, 0], [3, 0, 0]] },
        variable("out_label"), { "op": output, "name": "out", "inputs": [[4, 0, 0], [5, 0, 0]] },
    ], "heads": [[6, 0, 0]] })
}

fn array(shape: &[i64], values: &[f32]) -> Vec<u8> {
    let mut out = [&0xF993_FAC9_u32.to_le_bytes()[..], &[0; 4], &(shape.len() as u32).to_le_bytes()].concat();
    out.extend(shape.iter().flat_map(|side| side.to_le_bytes()));
    out.extend([1u32, 0, 0].iter().flat_map(|word| word.to_le_bytes()));
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    out
}

fn arrays(named: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let long = |value: usize| (value as u64).to_le_bytes();
    let mut out = [long(0x112), long(0), long(named.len())].concat();
    out.extend(named.iter().flat_map(|(_, array)| array.clone()));
    out.extend(long(named.len()));
    named.iter().for_each(|(name, _)| out.extend([&long(name.len())[..], name.as_bytes()].concat()));
    out
}

/// A linear learner's three members, to be spoiled one at a time.
#[derive(Clone)]
struct Linear {
    symbol: Value,
    arrays: Vec<u8>,
    parameters: Value,
}

impl Linear {
    fn new(output: &str, predictor: &str, features: usize, outputs: usize) -> Self {
        let weight: Vec<f32> = (0..features * outputs).map(|at| at as f32 * 0.25 - 0.5).collect();
        let bias = array(&[1, outputs as i64], &vec![0.125; outputs]);
        let weight = array(&[features as i64, outputs as i64], &weight);
        let arrays = arrays(&[("arg:fc0_bias", bias), ("arg:fc0_weight", weight)]);
        Self { symbol: symbol(output), arrays, parameters: json!({ "predictor_type": predictor, "threshold": 0.5 }) }
    }

    fn binary() -> Self {
        Self::new("LogisticRegressionOutput", "binary_classifier", 3, 1)
    }

    fn members(&self) -> Vec<(&'static str, Vec<u8>)> {
        vec![
            ("mx-mod-symbol.json", self.symbol.to_string().into_bytes()),
            ("mx-mod-0000.params", self.arrays.clone()),
            ("manifest.json", br#"{"version":1}"#.to_vec()),
            ("additional-params.json", self.parameters.to_string().into_bytes()),
        ]
    }

    fn zip(&self) -> Vec<u8> {
        stored(&self.members())
    }

    fn spoiled(mut self, spoil: impl FnOnce(&mut Self)) -> Vec<u8> {
        spoil(&mut self);
        self.zip()
    }
}

#[test]
fn stored_zips_with_any_trick_are_refused_by_member_and_reason() {
    let good = Linear::binary().zip();
    assert!(answers(&prepared(&good).unwrap()));
    let records: Vec<usize> = (0..good.len() - 4).filter(|&at| good[at..].starts_with(b"PK\x01\x02")).collect();
    let end = good.len() - 22;
    let patch = |changes: &[(usize, &[u8])]| {
        let mut bytes = good.clone();
        for (at, new) in changes {
            bytes[*at..at + new.len()].copy_from_slice(new);
        }
        bytes
    };
    let first = records[0];
    // A second directory entry for the first one's bytes, under its own name.
    let facts = &good[first + 16..first + 28];
    let overlap = patch(&[(records[2] + 16, facts), (records[2] + 42, &good[first + 42..first + 46])]);
    let renamed = |name: &'static str| {
        let mut members = Linear::binary().members();
        members[0].0 = name;
        stored(&members)
    };
    let long: &'static str = "n".repeat(256).leak();
    let mut twice = Linear::binary().members();
    twice.push(twice[1].clone());
    let many: Vec<_> = (0..10_001).map(|_| ("m", Vec::new())).collect();
    let cases: Vec<(&str, Vec<u8>, Why)> = vec![
        ("encrypted", patch(&[(first + 8, &[1, 0])]), &["ZIP member `mx-mod-symbol.json` is encrypted"]),
        ("deflated", patch(&[(first + 10, &[8, 0])]), &["ZIP member `mx-mod-symbol.json` is compressed", "zip -0"]),
        ("two sizes", patch(&[(first + 20, &[1])]), &["`mx-mod-symbol.json` is compressed"]),
        ("checksum", patch(&[(first + 16, &[0; 4])]), &["ZIP member `mx-mod-symbol.json` does not have its checksum"]),
        ("cut off", patch(&[(first + 20, &[0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f])]), &["`mx-mod-symbol.json` is cut off"]),
        ("elsewhere", patch(&[(first + 42, &[1])]), &["`mx-mod-symbol.json` is not where the directory says"]),
        ("outside", patch(&[(first + 42, &[0xff; 4])]), &["`mx-mod-symbol.json` is not where the directory says"]),
        ("overlapping", overlap, &["the ZIP has members that overlap"]),
        ("no directory", patch(&[(first, b"PK\x09\x09")]), &["the ZIP has a broken directory"]),
        ("directory outside", patch(&[(end + 16, &[0xff, 0xff, 0xff, 0x7f])]), &["the ZIP has a broken directory"]),
        ("more announced than there", patch(&[(end + 10, &[5, 0])]), &["the ZIP has a broken directory"]),
        ("name past the end", patch(&[(first + 28, &[0xff, 0xff])]), &["the ZIP is truncated"]),
        ("zip64", patch(&[(end + 10, &[0xff, 0xff])]), &["the ZIP has too many members"]),
        ("10,001 members", stored(&many), &["the ZIP has too many members"]),
        ("no end record", good[..end].to_vec(), &["the ZIP is truncated: it has no end record"]),
        ("a head alone", b"PK\x03\x04".to_vec(), &["the ZIP is truncated: it has no end record"]),
        ("twice", stored(&twice), &["ZIP member `mx-mod-0000.params` is there twice"]),
        ("absolute", renamed("/mx-mod-symbol.json"), &["entry `/mx-mod-symbol.json` has an absolute name"]),
        ("climbing", renamed("../mx-mod-symbol.json"), &["entry `../mx-mod-symbol.json` climbs"]),
        ("backslash", renamed("a\\b"), &["backslash"]),
        ("control character", renamed("a\u{1}b"), &["control character"]),
        ("long name", renamed(long), &["has a name of 256 bytes"]),
        ("no UTF-8", patch(&[(first + 46, &[0xff])]), &["not UTF-8"]),
    ];
    let mut wrong = Wrong::default();
    for (what, bytes, why) in &cases {
        wrong.refused(what, prepared(bytes), Kind::Validation, why);
        let inner = gz(&tar(&[file("model_algo-1", bytes)]));
        wrong.refused(&format!("{what}, in a tar"), prepared(&inner), Kind::Validation, &["member `model_algo-1`: ", why[0]]);
    }
    println!("{} ZIPs refused", cases.len() * 2);
    wrong.end();
    let comment = [&good[..good.len() - 2], b"\x05\0hello"].concat();
    assert!(prepared(&comment).is_ok(), "a comment after the end record is part of the format");
}

#[test]
fn a_zip_of_one_span_under_many_names_is_refused_before_its_bytes_are_summed_again_and_again() {
    // 2 MiB uploaded can unpack to 2 GiB, and 10,000 directory entries over that span are hours of checksums.
    let span = 2 << 20;
    let mut bytes = stored(&[("0000", vec![0; span])]);
    let at = bytes.len() - 22 - 50;
    let (record, mut end) = (bytes[at..at + 50].to_vec(), bytes.split_off(at + 50));
    bytes.truncate(at);
    for name in 0..10_000 {
        bytes.extend_from_slice(&record[..46]);
        bytes.extend_from_slice(format!("{name:04}").as_bytes());
    }
    end[10..12].copy_from_slice(&10_000u16.to_le_bytes());
    bytes.extend(end);
    let before = own_time();
    let error = prepared(&bytes).unwrap_err();
    let took = own_time() - before;
    assert!(error.message().contains("overlap"), "{error:?}");
    // All of them are 20 GiB.
    assert!(took < Duration::from_millis(500), "{took:?} for {} MiB", bytes.len() >> 20);
}

fn set(value: &mut Value, pointer: &str, new: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match (value.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}")), new) {
        (Value::Object(members), Value::String(word)) if word == "@delete" => drop(members.remove(key)),
        (Value::Object(members), new) => drop(members.insert(key.to_owned(), new)),
        (Value::Array(elements), new) => elements[key.parse::<usize>().unwrap()] = new,
        _ => panic!("{pointer}"),
    }
}

#[test]
fn linear_learners_whose_graph_or_parameters_do_not_fit_are_refused() {
    let cases: Vec<(&str, &str, Value, Why)> = vec![
        (
            "symbol",
            "/nodes/6/op",
            json!("Custom"),
            &["`mx-mod-symbol.json`: the graph has operator `Custom` where a linear learner has none"],
        ),
        ("symbol", "/nodes/4/op", json!("elemwise_mul"), &["operator `elemwise_mul`"]),
        ("symbol", "/nodes/2/op", json!("FullyConnected"), &["operator `FullyConnected`"]),
        ("symbol", "/nodes/0/op", json!("relu"), &["operator `relu`"]),
        ("symbol", "/nodes/1/op", json!("BlockGrad"), &["operator `BlockGrad`"]),
        ("symbol", "/nodes/3/op", json!("_copy"), &["operator `_copy`"]),
        ("symbol", "/nodes/0/name", json!("x"), &["the graph multiplies `x` instead of `data`"]),
        ("symbol", "/nodes/1/name", json!("gone"), &["there is no array `arg:gone`"]),
        ("symbol", "/nodes/3/name", json!("gone"), &["there is no array `arg:gone`"]),
        ("symbol", "/nodes", json!([]), &["the graph has no node"]),
        ("symbol", "/nodes", json!("@delete"), &["the graph has no node"]),
        ("symbol", "/nodes", json!({}), &["`mx-mod-symbol.json`: ", "an array is expected, at byte"]),
        ("symbol", "/nodes/6/inputs", json!([]), &["node `out` lacks input 0"]),
        ("symbol", "/nodes/6/inputs", json!([[99, 0, 0]]), &["node `out` lacks input 0"]),
        ("symbol", "/nodes/4/inputs", json!([[2, 0, 0]]), &["node `sum` lacks input 1"]),
        ("symbol", "/nodes/4/inputs", json!([[4, 0, 0], [4, 0, 0]]), &["operator `broadcast_add`"]),
        ("symbol", "/nodes/2/inputs", json!([[-1, 0, 0], [1, 0, 0]]), &["an input names no node"]),
        ("symbol", "/nodes/2/inputs", json!([[]]), &["an input names no node"]),
        ("symbol", "/nodes/2/inputs", json!([[1.5, 0, 0]]), &["`1.5` is no whole number"]),
        ("symbol", "/nodes/2/op", json!(7), &["a string is expected"]),
        ("parameters", "/predictor_type", json!("ranker"), &["predictor_type `ranker` is not known"]),
        ("parameters", "/predictor_type", json!("@delete"), &["`additional-params.json`: it has no `predictor_type`"]),
        ("parameters", "/predictor_type", json!(3), &["`additional-params.json`: ", "a string is expected"]),
        ("parameters", "/predictor_type", json!("regressor"), &["the graph does not fit predictor_type `regressor`"]),
        (
            "parameters",
            "/predictor_type",
            json!("multiclass_classifier"),
            &["the graph does not fit predictor_type `multiclass_classifier`"],
        ),
        ("parameters", "/threshold", json!(1e39), &["threshold is no finite number"]),
    ];
    let mut wrong = Wrong::default();
    for (member, pointer, new, why) in &cases {
        let bytes = Linear::binary().spoiled(|linear| {
            set(if *member == "symbol" { &mut linear.symbol } else { &mut linear.parameters }, pointer, new.clone());
        });
        wrong.refused(&format!("{pointer} {new}"), prepared(&bytes), Kind::Validation, why);
    }
    for (output, predictor, outputs) in [
        ("SoftmaxOutput", "binary_classifier", 1),
        ("LogisticRegressionOutput", "binary_classifier", 2),
        ("LinearRegressionOutput", "regressor", 2),
    ] {
        let bytes = Linear::new(output, predictor, 2, outputs).zip();
        wrong.refused(&format!("{output} {predictor} {outputs}"), prepared(&bytes), Kind::Validation, &["does not fit predictor_type"]);
    }
    for gone in [0, 1, 3] {
        let mut members = Linear::binary().members();
        let (name, _) = members.remove(gone);
        wrong.refused(name, prepared(&stored(&members)), Kind::Validation, &["the ZIP has no member", name]);
    }
    wrong.end();
    // A hinge loss leaves the sum as it is.
    assert!(answers(&prepared(&Linear::new("LinearRegressionOutput", "binary_classifier", 2, 1).zip()).unwrap()));
    assert!(answers(&prepared(&Linear::new("SoftmaxOutput", "multiclass_classifier", 2, 3).zip()).unwrap()));
}

#[test]
fn linear_learners_whose_arrays_are_not_what_they_say_are_refused() {
    let (bias, weight) = (array(&[1, 1], &[0.5]), array(&[3, 1], &[0.5; 3]));
    let both = |bias: Vec<u8>, weight: Vec<u8>| arrays(&[("arg:fc0_bias", bias), ("arg:fc0_weight", weight)]);
    let weight_with = |at: usize, new: &[u8]| {
        let mut weight = weight.clone();
        weight[at..at + new.len()].copy_from_slice(new);
        both(bias.clone(), weight)
    };
    let list_with = |at: usize, new: &[u8]| {
        let mut list = both(bias.clone(), weight.clone());
        list[at..at + new.len()].copy_from_slice(new);
        list
    };
    let whole = both(bias.clone(), weight.clone());
    let names = 24 + bias.len() + weight.len();
    let side = |value: i64| value.to_le_bytes();
    let wide = |a: i64, b: i64| both(bias.clone(), array(&[a, b], &[0.5; 3]));
    let cases: Vec<(&str, Vec<u8>, Why)> = vec![
        ("list magic", list_with(0, &[0x13]), &["`mx-mod-0000.params`: it is no list of arrays"]),
        ("reserved word", list_with(8, &[1]), &["it is no list of arrays"]),
        ("65 arrays", list_with(16, &[65]), &["it holds 65 arrays"]),
        ("2^64 - 1 arrays", list_with(16, &[0xff; 8]), &["it holds 18446744073709551615 arrays"]),
        ("three arrays of two", list_with(16, &[3]), &["an array does not begin like one"]),
        ("one name for two", list_with(names, &[1]), &["it names 1 of its 2 arrays"]),
        ("a name of 2^64 - 1 bytes", list_with(names + 8, &[0xff; 8]), &["it is truncated"]),
        ("another name", list_with(names + 16, b"aux"), &["there is no array `arg:fc0_bias`"]),
        ("array magic", weight_with(0, &[0]), &["an array does not begin like one"]),
        ("sparse", weight_with(4, &[1]), &["an array is sparse"]),
        ("nine dimensions", weight_with(8, &[9]), &["an array has 9 dimensions"]),
        ("half floats", weight_with(36, &[2]), &["an array does not hold 32-bit floats"]),
        ("a side of 2^40", weight_with(12, &side(1 << 40)), &["an array is too large"]),
        ("a side of -1", weight_with(12, &side(-1)), &["an array is too large"]),
        ("2^32 × 2^32", wide(1 << 32, 1 << 32), &["an array is too large"]),
        ("0 × 2^62", both(bias.clone(), array(&[0, 1 << 62], &[])), &["4611686018427387904"]),
        ("more than there is", wide(1 << 20, 1 << 8), &["it is truncated"]),
        ("one dimension", both(bias.clone(), array(&[3], &[0.5; 3])), &["array `fc0_weight` has 1 dimension; it takes 2"]),
        ("no dimension", both(bias.clone(), array(&[], &[0.5])), &["array `fc0_weight` has 0 dimensions"]),
        ("no feature", both(bias.clone(), array(&[0, 1], &[])), &["weight is 0 × 1"]),
        ("no output", both(array(&[1, 0], &[]), array(&[3, 0], &[])), &["weight is 3 × 0"]),
        ("two biases", both(array(&[1, 2], &[0.5; 2]), weight.clone()), &["weight is 3 × 1 and bias 2 long; they do not fit"]),
        ("no bias", both(array(&[0], &[]), weight.clone()), &["bias 0 long"]),
        ("NaN weight", both(bias.clone(), array(&[3, 1], &[0.5, f32::NAN, 0.5])), &["a weight, bias or threshold is no finite number"]),
        ("infinite bias", both(array(&[1, 1], &[f32::INFINITY]), weight.clone()), &["no finite number"]),
        ("bytes after", [whole.clone(), vec![0; 3]].concat(), &["3 bytes follow its last array"]),
    ];
    let mut wrong = Wrong::default();
    for (what, bytes, why) in &cases {
        let zip = Linear::binary().spoiled(|linear| linear.arrays.clone_from(bytes));
        wrong.refused(what, prepared(&zip), Kind::Validation, why);
    }
    for cut in 0..whole.len() {
        let zip = Linear::binary().spoiled(|linear| linear.arrays = whole[..cut].to_vec());
        wrong.refused(&format!("cut at {cut}"), prepared(&zip), Kind::Validation, &["`mx-mod-0000.params`: it is truncated"]);
    }
    wrong.end();
}

#[test]
fn what_follows_a_linear_learners_json_and_a_threshold_in_quotes_are_refused() {
    let mut wrong = Wrong::default();
    for at in [0, 3] {
        let mut members = Linear::binary().members();
        members[at].1.extend_from_slice(b"}{ and more");
        wrong.refused(members[at].0, prepared(&stored(&members)), Kind::Validation, &[members[at].0, "the end is expected"]);
    }
    // Taken as 0.5 without a word, it would label rows wrongly.
    let quoted = Linear::binary().spoiled(|linear| linear.parameters["threshold"] = json!("0.9"));
    wrong.refused("a quoted threshold", prepared(&quoted), Kind::Validation, &["additional-params.json"]);
    // The only class is 0; the label would be 1.
    let lonely = Linear::new("SoftmaxOutput", "multiclass_classifier", 2, 1).zip();
    wrong.refused("one class", prepared(&lonely), Kind::Validation, &["multiclass_classifier"]);
    wrong.end();
}

#[test]
fn a_linear_learner_wider_than_any_request_is_refused() {
    // It could be uploaded and loaded, and every request would be told to send fewer rows.
    let features = pipeline::CELLS_MAX + 1;
    let weights = array(&[features as i64, 1], &vec![0.5; features]);
    let bytes = Linear::binary().spoiled(|linear| {
        linear.arrays = arrays(&[("arg:fc0_bias", array(&[1, 1], &[0.5])), ("arg:fc0_weight", weights)]);
    });
    let mut wrong = Wrong::default();
    wrong.refused("16,777,217 columns", prepared(&bytes), Kind::Validation, &["16777217"]);
    wrong.end();
}

fn linear_fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixture_folder().join("../linear_learner").join(name)).unwrap()
}

/// The tar inside a fixture, and the ZIP inside that.
fn layers(packed: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut tar).unwrap();
    let zip = Artifact::read(packed, Limits::default()).unwrap().members()[0].bytes.to_vec();
    (tar, zip)
}

#[test]
fn every_cut_of_a_linear_learner_is_refused() {
    for name in ["regressor.tar.gz", "multiclass_classifier.tar.gz"] {
        let packed = linear_fixture(name);
        let (tar, zip) = layers(&packed);
        let content = 512 + zip.len();
        assert!(prepared(&tar[..content.next_multiple_of(512)]).is_ok(), "end blocks are not asked for, as tar itself does not");
        for (whole, upto) in [(&packed, packed.len()), (&zip, zip.len()), (&tar, content)] {
            for cut in 0..upto {
                assert!(prepared(&whole[..cut]).is_err(), "{name}: cut at {cut} of {}", whole.len());
            }
        }
    }
    // Each member cut alone, in a ZIP that is whole again.
    let members = Linear::binary().members();
    for at in [0, 1, 3] {
        for cut in 0..members[at].1.len() {
            let mut members = members.clone();
            members[at].1.truncate(cut);
            assert!(prepared(&stored(&members)).is_err(), "{} cut at {cut}", members[at].0);
        }
    }
}

#[test]
fn every_flipped_byte_of_a_linear_learner_is_refused_or_answers_finite_numbers() {
    let flips = [0x01, 0x02, 0x10, 0x80, 0xff];
    let (mut tried, mut answered) = (0, 0);
    let mut count = |bytes: &[u8]| {
        tried += 1;
        answered += usize::from(prepared(bytes).is_ok_and(|prepared| answers(&prepared)));
    };
    for name in ["regressor.tar.gz", "binary_classifier.tar.gz", "multiclass_classifier.tar.gz"] {
        let packed = linear_fixture(name);
        let (tar, zip) = layers(&packed);
        for whole in [packed, tar, zip] {
            for at in 0..whole.len() {
                for flip in flips {
                    let mut hostile = whole.clone();
                    hostile[at] ^= flip;
                    count(&hostile);
                }
            }
        }
    }
    // Past the checksums: a member's bytes flipped, the ZIP made whole again.
    for linear in [Linear::binary(), Linear::new("SoftmaxOutput", "multiclass_classifier", 3, 3)] {
        let members = linear.members();
        for member in [0, 1, 3] {
            for at in 0..members[member].1.len() {
                for flip in flips {
                    let mut members = members.clone();
                    members[member].1[at] ^= flip;
                    count(&stored(&members));
                }
            }
        }
    }
    println!("{tried} flips, {answered} of them still answer");
    assert!(answered > 0);
}
